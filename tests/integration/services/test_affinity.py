# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients that come back to their backend, and the table in which the kernel remembers them."""

from __future__ import annotations

import socket
import struct
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import maps, syscall
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import nft_objects, nft_reading, service_pins
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.conntrack import open_netfilter
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.nf_tables import UnknownForm
from ansible_collections.podnet.fabric.plugins.module_utils.probe import namespace
from tests.conformance import service_cases as scene
from tests.integration.services.clients import Attempt, Clients
from tests.integration.services.ground import netns, node_says
from tests.integration.services.offered import ADDRESSES, PODS, endpoints, service, to_service

if TYPE_CHECKING:
    from tests.integration.services.conftest import Declarer


def is_remembered(declarer: Declarer, client: str, seconds: int) -> bool:
    """Whether a client of IPv4 comes back to its backend by what the kernel remembers."""
    if declarer.backend.startswith("iptables"):
        return client in node_says("ipset", "save")
    if declarer.backend == "nftables":
        shown = node_says("nft", "list", "ruleset")
        return client in shown[shown.index("map service-sticky4 ") :].split("\n\t}")[0]

    def read() -> dict[bytes, bytes]:
        (folder,) = service_pins.datapaths()
        with syscall.pinned(str(folder / service_pins.CLIENTS)) as handle:
            return maps.elements(handle)

    # struct client_key and struct client of ebpf/translations.h
    times = [
        struct.unpack_from("=Q", value)[0]
        for key, value in declarer.node.run(read).items()
        if key[:16] == socket.inet_aton(client) + bytes(12)
    ]
    return any(time.monotonic_ns() - when < seconds * 10**9 for when in times)


@pytest.mark.parametrize(
    ("declarer", "protocol"),
    [
        *(("nftables", "tcp"), ("nftables", "udp"), ("iptables-nft", "udp"), ("iptables-legacy", "tcp")),
        *(("ebpf", "tcp"), ("ebpf", "udp")),
    ],
    indirect=["declarer"],
)
def test_clients_come_back_to_their_backend_until_it_goes_or_time_has_passed(
    declarer: Declarer, clients: Clients, protocol: str
) -> None:
    def declare(seconds: int, *pods: str) -> None:
        config = {"clientIP": {"timeoutSeconds": seconds}}
        sticky = service(type="NodePort", sessionAffinity="ClientIP", sessionAffinityConfig=config)
        for number, port in enumerate(sticky["spec"]["ports"], 30090):
            port["nodePort"] = number
        declarer.declare([sticky], endpoints=endpoints(*pods))

    declare(600, *PODS)
    for family in ADDRESSES:
        chosen: dict[str, str] = {}
        for client in ("pod", "outside", "one"):
            first = clients.attempt([to_service(client, family, protocol)])[0].backend
            assert {each.backend for each in clients.attempt([to_service(client, family, protocol)] * 25)} == {first}
            chosen[client] = first
        by_port = Attempt("outside", family, protocol, scene.NODES["a"][family], {"tcp": 30090, "udp": 30091}[protocol])
        first = clients.attempt([by_port])[0].backend
        assert {each.backend for each in clients.attempt([by_port] * 25)} == {first}
        # Others come and go: it stays. It goes: another one, and that for good.
        gone = chosen["pod"]
        rest = [pod for pod in PODS if pod != gone]
        other = next(client for client, backend in chosen.items() if client != "pod")
        declare(600, *rest)
        after = {each.backend for each in clients.attempt([to_service("pod", family, protocol)])}
        assert len(after) == 1
        assert gone not in after
        again = {each.backend for each in clients.attempt([to_service("pod", family, protocol)] * 25)}
        assert again == after
        if chosen[other] != gone:
            assert clients.attempt([to_service(other, family, protocol)])[0].backend == chosen[other]
        declare(600, *PODS)
        assert {each.backend for each in clients.attempt([to_service("pod", family, protocol)] * 25)} == after
    declare(1, *PODS)
    seen: set[str] = set()
    limit = time.monotonic() + 20
    while len(seen) < 2 and time.monotonic() < limit:
        seen.update(each.backend for each in clients.attempt([to_service("pod", 4, protocol)]))
        while is_remembered(declarer, scene.pod_address("pod", 4), 1) and time.monotonic() < limit:
            time.sleep(0.1)
    assert len(seen) > 1


@pytest.mark.parametrize("declarer", ["nftables"], indirect=True)
def test_the_table_is_read_from_the_kernel_as_nft_tells_it(declarer: Declarer, clients: Clients) -> None:
    documents = [case.documents("TCP", "SCTP") for case in scene.cases()]
    sticky = service(sessionAffinity="ClientIP")
    slices = [each for _service, found in documents for each in found]
    declarer.declare([*(each for each, _slices in documents), sticky], slices, endpoints=endpoints(*PODS))
    for family in ADDRESSES:
        clients.attempt([to_service("pod", family), to_service("outside", family, "udp")])
    with namespace.inside(netns("a")):
        with open_netfilter() as nl:
            found = nft_reading.read(nl)  # without asking nft
        assert found == nft_objects.observe()[0]
        assert {len(found["map", f"service-sticky{family}"].elements) for family in ADDRESSES} == {2}
        assert len(found["set", "service-sources4"].elements) > 2
        # What packets add is seen at the next look.
        clients_before = found["map", "service-sticky4"].elements
    clients.attempt([to_service("one", 4)])
    with namespace.inside(netns("a")):
        assert nft_reading.observe()[0]["map", "service-sticky4"].elements > clients_before
        # With a comment an element is more than we make, and nft has to tell it.
        line = 'add element inet podnet service-frontends4 { 10.96.7.9 . tcp . 80 comment "theirs" : drop }'
        subprocess.run(["nft", line], check=True, timeout=60)
        with open_netfilter() as nl, pytest.raises(UnknownForm):
            nft_reading.read(nl)
        assert nft_reading.observe() == nft_objects.observe()
