# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls the witnesses: declarations, the kernel's tables, packets, the traces of others; and lets them be compared."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.evidence import (
    claims,
    compare,
    foreign,
    services,
    sieve,
    traces,
    trail,
    vips,
    ways,
)
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.netlink_objects import ip_text
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.address import dump_addresses

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Items
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host

LOOKED_UP = 256
"""At most so many of the peers' blocks are looked up: a node of thousands of peers answers within a second."""


class Probing(NamedTuple):
    """What packets to send."""

    to: tuple[str, ...] = ()  # empty: to the bridges of the declared peers
    source: tuple[str, ...] = ()  # empty: from the node's own bridge
    seconds: float = 2.0
    interface: str = ""  # empty: all are watched


def inquire(
    host: Host,
    declared: Mapping[str, Items],
    asked: Sequence[ways.Way],
    kernel: ways.Kernel,
    claimed: claims.Claims,
    probing: Probing | None,
    root: Path = traces.ROOT,
    virtual: Sequence[vips.Vip] = (),
) -> dict[str, Any]:
    """The evidence and the verdict, as the module returns them.

    :param asked: the ways that the caller wants to be among them
    :param virtual: addresses of services to look for
    """
    gateways = list(islice(claims.gateways(claimed), LOOKED_UP))
    targets = [] if probing is None else list(probing.to) or gateways[: sieve.SLOTS]
    found = {way.to: way for way in asked}
    for address in (*targets, *gateways):
        if address not in found:
            found[address] = ways.find(host, kernel, address)
    inner = {name for name, link in kernel.links.items() if link.kind in ways.TUNNELS or link.kind == "bridge"}
    kinds = claims.active(declared)
    if "bgp" in kinds:
        # BIRD marks the routes with its own number; while BGP is declared here, they are those of our BIRD.
        found = {to: way._replace(ours=way.ours or way.carrier == "bgp") for to, way in found.items()}
    left = traces.gather(host, root)
    networks = foreign.recognise(left)
    trails = {} if probing is None else _follow(host, kernel, probing, targets, inner)
    cases = [
        compare.Case(to, claims.of(claimed, to), way, trails.get(to), _owner(way, networks))
        for to, way in found.items()
    ]
    findings = [compare.judge(case, inner) for case in cases]
    unknown = list(left.unknown)
    return {
        "declarations": claims.describe(declared),
        "kernel": _kernel(kernel, cases, len(claimed.blocks), len(gateways)),
        "capture": None if probing is None else _capture(trails, probing, inner),
        "foreign": [network._asdict() for network in networks],
        "services": services.recognise(left)._asdict(),
        "vips": vips.ask(virtual, left, root, unknown),
        "unknown": unknown,
        "verdict": compare.summarise(findings, list(kinds), [network.name for network in networks]),
    }


def _owner(way: ways.Way, networks: Sequence[foreign.Network]) -> str:
    return "" if way.ours else foreign.owner(way.dev, way.protocol, networks)


def _follow(
    host: Host, kernel: ways.Kernel, probing: Probing, targets: Sequence[str], inner: set[str]
) -> dict[str, trail.Trail]:
    sources = {6 if ":" in address else 4: address for address in probing.source} or _bridge_addresses(host, kernel)
    found = trail.follow(targets, sources, seconds=probing.seconds, interface=probing.interface, inner=inner)
    return {one.to: one for one in found}


def _bridge_addresses(host: Host, kernel: ways.Kernel) -> dict[int, str]:
    """The addresses of our bridge, by IP version: packets from there go where the pods' go."""
    found: dict[int, str] = {}
    for address in dump_addresses(host.netlink, host.names):
        text = ip_text(address.address)
        if kernel.kinds.get(address.dev) == "bridge" and not text.startswith("fe80:"):
            found.setdefault(6 if ":" in text else 4, text)
    return found


def _kernel(kernel: ways.Kernel, cases: Sequence[compare.Case], blocks: int, looked_up: int) -> dict[str, Any]:
    carriers: dict[str, dict[str, int]] = {}
    for case in cases:
        family = carriers.setdefault("ipv6" if ":" in case.to else "ipv4", {})
        family[case.way.carrier or "none"] = family.get(case.way.carrier or "none", 0) + 1
    return {
        "carriers": carriers,
        "ways": [_way(case) for case in cases],
        "left_out": blocks - looked_up,
        "tunnels": [
            {
                "name": link.name,
                "kind": link.kind,
                "ours": link.name in kernel.kinds,
                "vni": link.data.get("id"),
                "port": link.data.get("port"),
                "up": link.up,
            }
            for link in kernel.links.values()
            if link.kind in ways.TUNNELS
        ],
    }


def _way(case: compare.Case) -> dict[str, Any]:
    way = case.way
    texts = ("carrier", "dev", "kind", "via", "lladdr", "outer", "problem")
    shown = {**way._asdict(), **{field: getattr(way, field) or None for field in texts}}
    shown["owner"] = "podnet" if way.ours else case.foreign or None
    return shown


def _capture(trails: Mapping[str, trail.Trail], probing: Probing, inner: set[str]) -> dict[str, Any]:
    return {
        "interface": probing.interface or None,
        "probes": [
            {
                "to": one.to,
                "source": one.source or None,
                "sent": one.sent,
                "answered": one.answered,
                "error": one.error or None,
                "left": compare.words(compare.of_trail(one, inner)),
                "sights": [sight._asdict() for sight in one.sights],
            }
            for one in trails.values()
        ],
    }
