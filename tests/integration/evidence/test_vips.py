# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who handles an address of a service is told by real entries such as others make; those of ours: ../services."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils import dataplane
from ansible_collections.podnet.fabric.plugins.module_utils.bpf import maps, syscall
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.evidence import vips
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Namespace

VIP = "10.96.0.10"
RULE = f"-A KUBE-SERVICES -d {VIP}/32 -p udp -m udp --dport 53 -j KUBE-SVC-ERIFXISQEP7F7OF4"
KUBE_PROXY = f"""\
*nat
:KUBE-SERVICES - [0:0]
:KUBE-SVC-ERIFXISQEP7F7OF4 - [0:0]
-A PREROUTING -j KUBE-SERVICES
{RULE}
-A KUBE-SERVICES -d 10.96.0.101/32 -p udp -m udp --dport 53 -j KUBE-SVC-ERIFXISQEP7F7OF4
COMMIT
"""
# The objects of kube-proxy's nftables mode (pkg/proxy/nftables/proxier.go).
KUBE_PROXY_NFT = """\
table ip kube-proxy {
    set cluster-ips { type ipv4_addr; elements = { 10.96.0.10 } }
    chain service-ULMVA6XW-kube-system/kube-dns/udp/dns { }
    chain reject-chain {
        reject
    }
    map service-ips {
        type ipv4_addr . inet_proto . inet_service : verdict
        elements = { 10.96.0.10 . udp . 53 : goto service-ULMVA6XW-kube-system/kube-dns/udp/dns }
    }
    map no-endpoint-services {
        type ipv4_addr . inet_proto . inet_service : verdict
        elements = { 10.96.0.10 . tcp . 9153 : goto reject-chain, 10.96.0.10 . tcp . 9154 : drop }
    }
}
"""


def _told(tmp_path: Path, *texts: str) -> list[dict[str, Any]]:
    with Host() as host:
        found = dataplane.describe(
            host, Declarations(tmp_path / "node.d"), [], root=tmp_path / "root", virtual=vips.read(texts)
        )
    assert found["unknown"] == []
    told: list[dict[str, Any]] = found["vips"]
    return told


@pytest.mark.parametrize("flavour", ["nft", "legacy"])
def test_rules_of_kube_proxy_are_told(netns: Namespace, tmp_path: Path, flavour: str) -> None:
    netns.run(f"iptables-{flavour}-restore", stdin=KUBE_PROXY)
    named, other = _told(tmp_path, f"{VIP}:53/udp", f"{VIP}:53/tcp")
    assert named == {
        "to": f"{VIP}:53/udp",
        "implementation": "iptables",
        "owner": "kube-proxy",
        "evidence": [f"{RULE} (iptables-{flavour}, table nat)"],
        "also": [],
    }
    assert other["implementation"] == "none"


def test_maps_of_kube_proxy_are_told_before_rules_of_somebody(netns: Namespace, tmp_path: Path) -> None:
    netns.run("nft", "-f", "-", stdin=KUBE_PROXY_NFT)
    rule = f"-A PREROUTING -d {VIP}/32 -p tcp -m tcp --dport 9153 -j DNAT --to-destination 192.0.2.1"
    dropped = f"-A INPUT -d {VIP}/32 -j DROP"
    netns.run("iptables-nft-restore", stdin=f"*nat\n{rule}\nCOMMIT\n*filter\n{dropped}\nCOMMIT\n")
    dns, metrics, other = _told(tmp_path, f"{VIP}:53/udp", f"{VIP}:9153", f"{VIP}:9154/tcp")
    assert (dns["implementation"], dns["owner"], dns["also"]) == ("nftables", "kube-proxy", [])
    assert dns["evidence"][0] == (
        f"{VIP}:53/udp leads to service-ULMVA6XW-kube-system/kube-dns/udp/dns in service-ips of nft table ip kube-proxy"
    )
    assert metrics["evidence"][0].startswith(f"{VIP}:9153/tcp leads to reject-chain in no-endpoint-services")
    assert metrics["also"] == [f"iptables of somebody: {rule} (iptables-nft, table nat)"]
    assert other["evidence"][0].startswith(f"{VIP}:9154/tcp leads to drop")


def test_service_maps_of_cilium_are_told_before_rules(netns: Namespace, tmp_path: Path, bpffs: Path) -> None:
    netns.run("iptables-nft-restore", stdin=KUBE_PROXY)
    folder = bpffs / "tc" / "globals"
    folder.mkdir(parents=True)
    made = {
        # struct lb4_key: address, port, slot, protocol, scope; slots above 0 are backends.
        "cilium_lb4_services_v2": [
            struct.pack(">4sHHBB2x", socket.inet_aton(VIP), 53, slot, socket.IPPROTO_UDP, 0) for slot in (0, 1)
        ],
        "cilium_lb6_services_v2": [
            struct.pack(">16sHHBB2x", socket.inet_pton(socket.AF_INET6, "fd00::a"), 443, 0, socket.IPPROTO_TCP, 0)
        ],
    }
    for name, keys in made.items():
        with maps.create("services", maps.Shape(maps.HASH, len(keys[0]), 12, 16)) as handle:
            for key in keys:
                maps.put(handle, key, bytes(12))
            syscall.pin(handle, str(folder / name))
    four, six = _told(tmp_path, VIP, "[fd00::a]:443")
    assert (four["implementation"], four["owner"]) == ("ebpf", "Cilium")
    assert four["evidence"] == [f"{VIP}:53/udp in BPF map /sys/fs/bpf/tc/globals/cilium_lb4_services_v2"]
    assert four["also"] == [f"iptables of kube-proxy: {RULE} (iptables-nft, table nat)"]
    assert six["evidence"] == ["[fd00::a]:443/tcp in BPF map /sys/fs/bpf/tc/globals/cilium_lb6_services_v2"]
