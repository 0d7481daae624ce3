# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node's dataplane is, read off the kernel and the declarations: for reports, for status, for 3 a.m.

Nothing is changed here, and nothing that is not ours is told, but for the routes that were asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.evidence import claims as claiming
from ansible_collections.podnet.fabric.plugins.module_utils.evidence import ways
from ansible_collections.podnet.fabric.plugins.module_utils.evidence.inquiry import Probing, inquire
from ansible_collections.podnet.fabric.plugins.module_utils.evidence.sieve import SLOTS
from ansible_collections.podnet.fabric.plugins.module_utils.evidence.traces import ROOT
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.links import LINKS, observed
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.netlink_objects import (
    ADDRESSES,
    FDB,
    NEIGHBOURS,
    NEXTHOPS,
    ROUTES,
)
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.address import dump_addresses
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.route import dump_routes
from ansible_collections.podnet.fabric.plugins.module_utils.ownership import DATAPLANES, PROTOCOL
from ansible_collections.podnet.fabric.plugins.module_utils.resources.routing import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations, Items
    from ansible_collections.podnet.fabric.plugins.module_utils.evidence.claims import Claims
    from ansible_collections.podnet.fabric.plugins.module_utils.evidence.vips import Vip
    from ansible_collections.podnet.fabric.plugins.module_utils.evidence.ways import Kernel, Way
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host

LONGEST = 60
"""Seconds that packets may be watched for: whoever waits for the module should not take it for dead."""

# What the ways of ours are called after the dataplane that makes them; the others are called after themselves.
_DATAPLANE_OF = {"ip6ip6": "ipip"}


def addresses_of(texts: Sequence[str]) -> list[str]:
    """The addresses to look up, without prefix lengths; raises InvalidInput with every one that is none."""
    inspection = Inspection()
    bare = [text.partition("/")[0] for text in texts]
    for position, text in enumerate(bare):
        inspection.ip(f"to[{position}]", text)
    inspection.conclude()
    return bare


def probing_of(option: Mapping[str, Any] | None) -> Probing | None:
    """What packets to send; raises InvalidInput with everything that cannot be."""
    if option is None:
        return None
    inspection = Inspection()
    to, source = ([text.partition("/")[0] for text in option[field]] for field in ("to", "source"))
    for field, texts in (("to", to), ("source", source)):
        for position, text in enumerate(texts):
            inspection.ip(f"probe.{field}[{position}]", text)
    if len(to) > SLOTS:
        inspection.refuse("probe.to", f"{len(to)} addresses", f"give at most {SLOTS}")
    if not 0 < option["seconds"] <= LONGEST:
        inspection.refuse("probe.seconds", str(option["seconds"]), f"give more than 0 and at most {LONGEST}")
    interface = "" if option["underlay"] == "auto" else option["underlay"]
    if interface:
        inspection.interface("probe.underlay", interface)
    inspection.conclude()
    return Probing(tuple(to), tuple(source), option["seconds"], interface)


def describe(
    host: Host,
    declarations: Declarations,
    to: Sequence[str],
    probing: Probing | None = None,
    root: Path = ROOT,
    virtual: Sequence[Vip] = (),
) -> dict[str, Any]:
    """The node's dataplane as the module returns it: entry by entry, and the evidence of which one it is.

    :param to: addresses to look up, checked
    :param probing: packets to send; None sends none
    :param root: where the files of others are
    :param virtual: addresses of services to look for
    """
    declared = {kind: declarations.read(kind) for kind in declarations.kinds()}
    kernel = ways.read(host)
    claims = claiming.index(declared)
    asked = [ways.find(host, kernel, address) for address in to]
    return {
        **_entries(host, declared, kernel),
        "lookups": [look_up(kernel, declared, claims, way) for way in asked],
        **inquire(host, declared, asked, kernel, claims, probing, root, virtual),
    }


def _entries(host: Host, declared: Mapping[str, Items], kernel: Kernel) -> dict[str, Any]:
    """Everything of ours."""
    names = host.names
    links = [observed(link) for link in host.links.values() if link.name in kernel.kinds]
    addresses = [address for address in dump_addresses(host.netlink, names) if address.dev in kernel.kinds]
    routes = [route for family in FAMILIES for route in dump_routes(host.netlink, names, family, PROTOCOL)]
    return {
        "dataplane": _dataplane(declared, kernel),
        "declared": declared,
        "blocks": [block for item in declared.get("ipam_block", {}).values() for block in item["blocks"]],
        "mtu": min((link.mtu for link in links), default=None),
        "links": [LINKS.describe(link) for link in links],
        "addresses": [ADDRESSES.describe(address) for address in addresses],
        "nexthops": [NEXTHOPS.describe(hop) for hop in kernel.nexthops.values() if hop.protocol == PROTOCOL],
        "routes": [ROUTES.describe(route) for route in routes],
        "neighbours": [NEIGHBOURS.describe(near) for near in kernel.neighbours.values() if near.dev in kernel.kinds],
        "fdb": [FDB.describe(entry) for entry in kernel.entries if entry.dev in kernel.kinds],
    }


def _dataplane(declared: Mapping[str, Items], kernel: Kernel) -> str | None:
    """The declared one; where nothing is declared, the one that is there all the same."""
    carrying = claiming.active(declared)
    if carrying:
        return next(iter(carrying))
    return next((kind for kind in kernel.kinds.values() if kind in DATAPLANES), None)


def look_up(kernel: Kernel, declared: Mapping[str, Items], claims: Claims, way: Way) -> dict[str, Any]:
    """Where the kernel sends a packet to this address, and which dataplane that is.

    `dataplane` is one of DATAPLANES (to another node's pod), "bridge" (to a pod of this node), "local" (the node
    itself), "other" (a way that is not ours) or None (nowhere); `problem` says what is missing on the way.
    """
    carrier = _DATAPLANE_OF.get(way.carrier, way.carrier)
    ours = way.ours and carrier in DATAPLANES
    dataplane = (
        carrier if ours or carrier in ("local", "bgp") else kernel.kinds.get(way.dev, "other") if way.dev else ""
    )
    tunnel = ours and way.dev in kernel.kinds
    return {
        "to": way.to,
        "dataplane": dataplane or None,
        "dev": way.dev or None,
        "via": way.via or None,
        "lladdr": way.lladdr or None if tunnel else None,
        "underlay": way.outer or None if tunnel else None,
        "peer": claims.peers.get(way.outer) if ours else None,
        "route": way.route,
        "problem": _problem(declared, claims, way, dataplane, tunnel) or None,
    }


def _problem(declared: Mapping[str, Items], claims: Claims, way: Way, dataplane: str, tunnel: bool) -> str:
    if way.problem:
        return way.problem
    if tunnel and way.outer and way.outer not in claims.peers:
        return f"no declared peer has the underlay address {way.outer}; run site.yml"
    if tunnel and way.protocol != PROTOCOL:
        return f"a route of protocol {way.protocol} leads there, none of ours"
    if dataplane == "other" and claiming.in_pool(way.to, declared):
        return "an address of the pod network, but no route of ours leads to it"
    return ""
