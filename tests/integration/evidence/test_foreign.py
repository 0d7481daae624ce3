# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What others build is recognised by the real things: devices, routes, chains of every flavour, pins, programs."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils import dataplane
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.evidence.inquiry import Probing
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from tests.integration.kinds import needs_link_kind

from . import programs

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Namespace

KUBE_PROXY = """\
*nat
:KUBE-SERVICES - [0:0]
:KUBE-SVC-ERIFXISQEP7F7OF4 - [0:0]
-A PREROUTING -j KUBE-SERVICES
-A KUBE-SERVICES -d 10.96.0.10/32 -p udp -m udp --dport 53 -j KUBE-SVC-ERIFXISQEP7F7OF4
COMMIT
"""
# What a kubelet makes on its own, which handles no service.
KUBELET = "*mangle\n:KUBE-KUBELET-CANARY - [0:0]\nCOMMIT\n*filter\n:KUBE-FIREWALL - [0:0]\nCOMMIT\n"


def _found(tmp_path: Path, probing: Probing | None = None, *to: str) -> dict[str, Any]:
    with Host() as host:
        return dataplane.describe(host, Declarations(tmp_path / "node.d"), to, probing, tmp_path / "root")


def _file(tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / "root" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def _underlay(netns: Namespace) -> None:
    batch = ["link add eth0 type veth peer name cable", "link set cable up", "link set eth0 up"]
    netns.run("ip", "-batch", "-", stdin="\n".join([*batch, "address add 192.0.2.1/24 dev eth0", ""]))


def test_a_bare_host_has_nobodys_network(netns: Namespace, tmp_path: Path) -> None:
    found = _found(tmp_path)
    assert (found["foreign"], found["services"]["implementation"], found["unknown"]) == ([], "none", [])
    assert found["verdict"]["summary"] == "No dataplane is declared; no way was looked at."


def test_flannel_is_known_by_what_flanneld_makes_and_followed_as_far_as_ours(netns: Namespace, tmp_path: Path) -> None:
    _underlay(netns)
    netns.run(
        "ip",
        "-batch",
        "-",
        stdin="""\
link add flannel.1 type vxlan id 1 dstport 8472 local 192.0.2.1 dev eth0 nolearning
address add 10.42.0.0/32 dev flannel.1
link set flannel.1 up
link add cni0 type bridge
address add 10.42.0.1/24 dev cni0
link set cni0 up
neigh add 10.42.1.0 lladdr 02:00:00:00:00:42 dev flannel.1 nud permanent
neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev eth0 nud permanent
route add 10.42.1.0/24 via 10.42.1.0 dev flannel.1 onlink
""",
    )
    netns.run("bridge", "fdb", "append", "02:00:00:00:00:42", "dev", "flannel.1", "dst", "192.0.2.2", "self")
    _file(tmp_path, "run/flannel/subnet.env", "FLANNEL_NETWORK=10.42.0.0/16\nFLANNEL_SUBNET=10.42.0.1/24\n")
    conflist = {"cniVersion": "0.3.1", "name": "cbr0", "plugins": [{"type": "flannel"}, {"type": "portmap"}]}
    _file(tmp_path, "etc/cni/net.d/10-flannel.conflist", json.dumps(conflist))
    netns.run("iptables-nft", "-t", "nat", "-N", "FLANNEL-POSTRTG")
    found = _found(tmp_path, Probing(to=("10.42.1.1",), source=("10.42.0.1",), seconds=3.0), "10.42.1.1")
    (network,) = found["foreign"]
    assert (network["name"], network["dataplane"]) == ("flannel", "vxlan")
    assert network["evidence"] == (
        "device flannel.1 (vxlan, VNI 1, port 8472)",
        "bridge cni0",
        "CNI plugin flannel in /etc/cni/net.d/10-flannel.conflist",
        "/run/flannel/subnet.env",
        "chain FLANNEL-POSTRTG (nft)",
    )
    assert found["verdict"]["findings"][0]["text"] == (
        "10.42.1.1: VXLAN, VNI 1, port 8472 to 192.0.2.2 (by flannel); "
        "in the kernel's tables through flannel.1 and seen on eth0."
    )
    assert "Other pod networks are here: flannel." in found["verdict"]["summary"]
    assert found["links"] == []


def test_flannel_without_a_tunnel_is_known_by_its_files(netns: Namespace, tmp_path: Path) -> None:
    _file(tmp_path, "run/flannel/subnet.env", "FLANNEL_NETWORK=10.42.0.0/16\n")
    assert [(one["name"], one["dataplane"]) for one in _found(tmp_path)["foreign"]] == [("flannel", "host-gw")]


def test_calico_is_known_by_devices_routes_and_chains(netns: Namespace, tmp_path: Path) -> None:
    _underlay(netns)
    ip = netns.ip
    ip("link", "add", "cali0123456789a", "type", "veth", "peer", "name", "pod")
    ip("link", "set", "cali0123456789a", "up")
    ip("link", "add", "vxlan.calico", "type", "vxlan", "id", "4096", "dstport", "4789", "local", "192.0.2.1")
    ip("link", "set", "vxlan.calico", "up")
    ip("route", "add", "10.244.9.9/32", "dev", "cali0123456789a", "proto", "80")
    netns.run("iptables-nft", "-N", "cali-FORWARD")
    (network,) = _found(tmp_path)["foreign"]
    assert (network["name"], network["dataplane"]) == ("Calico", "vxlan")
    assert "routes of protocol 80 through cali0123456789a" in network["evidence"]
    assert "chain cali-FORWARD (nft)" in network["evidence"]


def test_calico_by_bgp_has_routes_of_bird(netns: Namespace, tmp_path: Path) -> None:
    _underlay(netns)
    netns.ip("link", "add", "cali0123456789a", "type", "veth", "peer", "name", "pod")
    netns.ip("route", "add", "10.244.1.0/26", "via", "192.0.2.2", "proto", "bird")
    found = _found(tmp_path, None, "10.244.1.7")
    assert [(one["name"], one["dataplane"]) for one in found["foreign"]] == [("Calico", "bgp")]
    (way,) = found["kernel"]["ways"]
    assert (way["carrier"], way["owner"], way["outer"]) == ("bgp", "Calico", "192.0.2.2")


@needs_link_kind("ipip")
def test_calico_by_ip_in_ip_uses_the_kernels_own_tunnel(netns: Namespace, tmp_path: Path) -> None:
    _underlay(netns)
    ip = netns.ip
    # tunl0 comes by itself where the namespace may have fallback tunnels, and cannot be made where it may not.
    subprocess.run(["ip", "link", "add", "tunl0", "type", "ipip"], check=False, capture_output=True)
    if not any(link["ifname"] == "tunl0" for link in netns.ip_json("link")):
        pytest.fail("the kernel makes no tunl0 in this namespace")
    ip("link", "set", "tunl0", "up")
    ip("address", "add", "10.244.0.0/32", "dev", "tunl0")
    ip("route", "add", "10.244.1.0/26", "via", "192.0.2.2", "dev", "tunl0", "onlink", "proto", "bird")
    found = _found(tmp_path, Probing(to=("10.244.1.1",), source=("10.244.0.0",), seconds=1.0), "10.244.1.1")
    assert [(one["name"], one["dataplane"]) for one in found["foreign"]] == [("Calico", "ipip")]
    (way,) = found["kernel"]["ways"]
    assert (way["carrier"], way["owner"], way["outer"]) == ("ipip", "Calico", "192.0.2.2")


@pytest.mark.parametrize(
    ("tool", "evidence"),
    [
        ("iptables-nft-restore", "chain KUBE-SERVICES in ip nat (iptables-nft)"),
        ("ip6tables-nft-restore", "chain KUBE-SERVICES in ip6 nat (iptables-nft)"),
        ("iptables-legacy-restore", "chain KUBE-SERVICES in ip nat (iptables-legacy)"),
    ],
)
def test_kube_proxy_with_iptables_is_known_in_every_flavour(
    netns: Namespace, tmp_path: Path, tool: str, evidence: str
) -> None:
    rules = KUBE_PROXY if tool.startswith("iptables") else KUBE_PROXY.replace("10.96.0.10/32", "fd00:96::a/128")
    netns.run(tool, stdin=rules)
    services = _found(tmp_path)["services"]
    assert services["implementation"] == "iptables"
    assert services["evidence"] == (evidence, "1 chains of services (KUBE-SVC-)")


def test_the_kubelets_own_chains_are_no_service_proxy(netns: Namespace, tmp_path: Path) -> None:
    netns.run("iptables-nft-restore", stdin=KUBELET)
    assert _found(tmp_path)["services"]["implementation"] == "none"


def test_kube_proxy_with_nftables_is_known_by_its_tables(netns: Namespace, tmp_path: Path) -> None:
    netns.run(
        "nft", "-f", "-", stdin="table ip kube-proxy { chain services { }; }\ntable ip6 kube-proxy { chain c { }; }"
    )
    services = _found(tmp_path)["services"]
    assert services["implementation"] == "nftables"
    assert services["evidence"] == ("nft table ip kube-proxy", "nft table ip6 kube-proxy")


@needs_link_kind("dummy")
def test_kube_proxy_with_ipvs_is_known_by_its_device_although_it_has_the_chain(
    netns: Namespace, tmp_path: Path
) -> None:
    netns.ip("link", "add", "kube-ipvs0", "type", "dummy")
    netns.ip("address", "add", "10.96.0.10/32", "dev", "kube-ipvs0")
    netns.run("iptables-nft-restore", stdin="*nat\n:KUBE-SERVICES - [0:0]\nCOMMIT\n")
    services = _found(tmp_path)["services"]
    assert services["implementation"] == "ipvs"
    assert services["evidence"][0] == "device kube-ipvs0 of kube-proxy with 1 addresses"
    assert services["also"] == ()


def test_the_programs_of_cilium_are_known_by_name(netns: Namespace, tmp_path: Path) -> None:
    _underlay(netns)
    with programs.attached_by_tcx("eth0", "cil_from_netdev"):
        (network,) = _found(tmp_path)["foreign"]
    assert (network["name"], network["evidence"]) == ("Cilium", ("BPF program cil_from_netdev on eth0",))
    assert _found(tmp_path)["foreign"] == []


def test_the_pinned_maps_of_cilium_are_its_services(netns: Namespace, tmp_path: Path, bpffs: Path) -> None:
    globals_ = bpffs / "tc" / "globals"
    globals_.mkdir(parents=True)
    programs.pin_map(globals_ / "cilium_lb4_services_v2")
    found = _found(tmp_path)
    assert found["services"]["implementation"] == "ebpf"
    assert found["services"]["evidence"] == ("BPF map /sys/fs/bpf/tc/globals/cilium_lb4_services_v2",)
    assert [one["name"] for one in found["foreign"]] == ["Cilium"]


def test_tools_that_are_not_there_are_told(netns: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_words, **_options: None)
    assert "nft is not installed, so its rules were not looked at" in _found(tmp_path)["unknown"]
