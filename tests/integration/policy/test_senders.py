# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pod sends from its own addresses only, whoever would receive it, with each backend."""

from __future__ import annotations

import functools
import ipaddress
import socket
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.command import run
from ansible_collections.podnet.fabric.plugins.module_utils.policy.senders import link_local
from ansible_collections.podnet.fabric.plugins.module_utils.probe import namespace
from tests.conformance.declare import BACKENDS
from tests.conformance.nodes import GATEWAYS
from tests.integration.policy import frames
from tests.integration.policy.conftest import apply, isolate

if TYPE_CHECKING:
    from tests.integration.policy.conftest import Ground

    Words = dict[bytes, bytes]

# p2 sends, p0 is beside it on the bridge and p1 on the other node. p4 is whom it claims to be.
SERVER, REMOTE, SENDER, CLAIMED = 0, 1, 2, 4
# IP_TRANSPARENT of linux/in.h, IPV6_TRANSPARENT of linux/in6.h: the source need not be an address of one's own.
TRANSPARENT = {4: (socket.IPPROTO_IP, 19), 6: (socket.IPPROTO_IPV6, 75)}


def mac_of(ground: Ground, place: int) -> str:
    with namespace.inside(ground.built.pods[place]):
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    with opened:
        opened.bind(("eth0", 0))
        return str(opened.getsockname()[4].hex(":"))


def declare(ground: Ground, backend: str, known: bool = True, mac: bool = True, **settings: Any) -> bool:
    """Declare on both nodes which interfaces the pods have, and one policy, which is not about the sender."""
    changed = False
    for node in ground.built.nodes:
        params = ground.parameters(node, isolate(6, [0]), **BACKENDS[backend]._asdict(), **settings)
        for place, endpoint in enumerate(params["endpoints"]):
            if known:
                endpoint.update(interfaces=["podnet0", f"pod{place}"], mac=mac_of(ground, place) if mac else "")
        changed |= ground.on(node, functools.partial(apply, params, ground.folder / node)).changed
    return changed


def words(ground: Ground) -> tuple[Words, Words, Words, bytes]:
    """Frames out of the sender: honest ones, with another's address, in disguise; the last word."""
    mac, there = mac_of(ground, SENDER), mac_of(ground, SERVER)
    own, foreign = ({family: ground.address(place, family) for family in (4, 6)} for place in (SENDER, CLAIMED))
    server = {family: ground.address(SERVER, family) for family in (4, 6)}
    of_its_own, of_another = (
        str(ipaddress.IPv6Address(link_local(mac_of(ground, place)))) for place in (SENDER, CLAIMED)
    )
    counter = iter(range(1000))

    def frame(kind: int, payload: Any, destination: str = frames.BROADCAST) -> tuple[bytes, bytes]:
        word = b"w%07d" % next(counter)
        data = payload(word) if callable(payload) else payload + word
        return word, frames.ether(mac, destination, kind, data)

    def all_of(address: dict[int, str], local: str) -> Words:
        return dict(
            [
                frame(frames.ETH_IPV4, lambda word: frames.ipv4(address[4], server[4], word), there),
                frame(frames.ETH_IPV6, lambda word: frames.neighbour(address[6], 135, server[6], word)),
                frame(frames.ETH_IPV6, lambda word: frames.neighbour(local, 135, server[6], word)),
                frame(frames.ETH_IPV6, lambda word: frames.neighbour(local, 136, local, word)),
            ]
        )

    honest = {**all_of(own, of_its_own), **dict([
        frame(frames.ETH_IPV6, lambda word: frames.neighbour("::", 135, foreign[6], word)),
        frame(frames.ETH_ARP, frames.arp(mac, "0.0.0.0", foreign[4])),
        frame(frames.ETH_ARP, frames.arp(mac, own[4], server[4])),
    ])}  # fmt: skip
    disguised = dict(
        [
            frame(frames.ETH_ARP, frames.arp(mac, foreign[4], server[4])),
            frame(frames.ETH_IPV6, lambda word: frames.neighbour(own[6], 136, foreign[6], word)),
            frame(frames.ETH_IPV6, lambda word: frames.neighbour(of_its_own, 136, foreign[6], word)),
            frame(
                frames.ETH_VLAN,
                lambda word: frames.tagged(frames.ETH_IPV4, frames.ipv4(foreign[4], server[4], word)),
                there,
            ),
        ]
    )
    return honest, all_of(foreign, of_another), disguised, max(honest)


def claims(ground: Ground, family: int, receiver: socket.socket) -> set[bytes]:
    """Which of two datagrams arrive, the first one from an address of another's, the second one from the own."""
    found: set[bytes] = set()
    for whose, word in ((CLAIMED, b"claimed"), (SENDER, b"own")):
        with namespace.inside(ground.built.pods[SENDER]):
            opened = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
        with opened:
            opened.setsockopt(*TRANSPARENT[family], 1)
            opened.bind((ground.address(whose, family), 0))
            opened.sendto(word, receiver.getsockname()[:2])
    receiver.settimeout(5)
    while b"own" not in found:
        found.add(receiver.recv(64))
    return found


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_pod_sends_from_its_own_addresses_only(ground: Ground, backend: str) -> None:
    honest, spoofed, disguised, last = words(ground)
    everything = {**honest, **spoofed, **disguised}

    def arriving() -> set[bytes]:
        return frames.heard(ground.built.pods[SENDER], ground.built.pods[SERVER], everything, last)

    # Without it, and of a port that nobody knows, all of it passes but what eBPF never lets through: frames with a tag.
    for setting in ({"antispoofing": False}, {"known": False}):
        declare(ground, backend, **setting)
        assert arriving() >= honest.keys() | spoofed.keys()
    # Whose link-local address nobody knows may have any, which the last two of another's are about.
    declare(ground, backend, mac=False)
    assert arriving() == honest.keys() | set(list(spoofed)[-2:])
    assert declare(ground, backend)
    assert arriving() == honest.keys()
    assert not declare(ground, backend)

    for family in (4, 6):
        with ground.socket(REMOTE, socket.SOCK_DGRAM, family) as routed:
            assert claims(ground, family, routed) == {b"own"}
        with namespace.inside(ground.built.nodes[0]):
            opened = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
        with opened as of_the_node:
            of_the_node.bind((GATEWAYS[family], 0))
            assert claims(ground, family, of_the_node) == {b"own"}


def test_what_it_has_made_goes_with_it(ground: Ground) -> None:
    for backend in BACKENDS:
        # Each takes over from the one before.
        declare(ground, backend)
    ground.withdraw()
    assert ground.on(ground.built.nodes[0], _left) == []


def _left() -> list[str]:
    return [
        *(line for line in run(["nft", "list", "ruleset"]).splitlines() if "podnet" in line),
        *run(["ipset", "list", "-n"]).splitlines(),
        *(line for line in run(["iptables-legacy-save"]).splitlines() if "PODNET" in line),
    ]
