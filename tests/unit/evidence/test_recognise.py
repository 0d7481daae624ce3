# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Traces that this machine cannot make are recognised as they were recorded, and the reading of lists is exact."""

from __future__ import annotations

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.evidence import foreign, services, traces
from ansible_collections.podnet.fabric.plugins.module_utils.evidence.traces import Chain, Conflist, Device, Traces

# The form of ip_vs_info_seq_show (net/netfilter/ipvs/ip_vs_ctl.c): two services and a server of each.
IP_VS = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A600001:01BB rr
  -> C0000202:192B      Masq    1      0          0
UDP  0A60000A:0035 rr
  -> 0AF40102:0035      Masq    1      0          0
"""
HEADER_ONLY = "".join(IP_VS.splitlines(keepends=True)[:3])


def _device(name: str, kind: str = "", vni: int | None = None, *addresses: str) -> Device:
    return Device(name, kind, vni, None, addresses)


def test_virtual_services_are_counted() -> None:
    assert traces.virtual_services(IP_VS) == 2
    assert traces.virtual_services(HEADER_ONLY) == 0
    assert traces.virtual_services(None) is None


def test_ipvs_wins_over_the_chain_that_it_keeps_and_iptables_over_none() -> None:
    entry = Chain("nft", "ip", "nat", "KUBE-SERVICES")
    per_service = Chain("nft", "ip", "nat", "KUBE-SVC-X")
    by_ipvs = services.recognise(Traces(virtual_services=2, chains=frozenset({entry})))
    assert (by_ipvs.implementation, by_ipvs.also) == ("ipvs", ())
    assert by_ipvs.evidence == ("2 virtual services in /proc/net/ip_vs",)
    both = services.recognise(Traces(virtual_services=2, chains=frozenset({entry, per_service})))
    assert both.implementation == "ipvs"
    assert both.also[0].startswith("iptables: chain KUBE-SERVICES in ip nat (iptables-nft)")
    assert services.recognise(Traces(virtual_services=0, chains=frozenset({entry}))).implementation == "iptables"
    assert services.recognise(Traces()).implementation == "none"


def test_our_services_are_told_and_policies_are_none() -> None:
    ours = {Chain("nft", "inet", "podnet", name) for name in ("policy-forward", "podnet.fabric")}
    assert services.recognise(Traces(chains=frozenset(ours))).implementation == "none"
    found = services.recognise(Traces(chains=frozenset({*ours, Chain("nft", "inet", "podnet", "service-forward")})))
    assert found == ("nftables", ("chains service-* of podnet.fabric in nft table inet podnet",), ())
    chains = {Chain(flavour, "ip", "nat", "PODNET-SERVICE-LOOKUP") for flavour in ("nft", "legacy")}
    policies = {Chain("nft", "ip", "filter", "PODNET-POLICY-FORWARD")}
    text = "chains PODNET-SERVICE-* of podnet.fabric in ip nat (iptables-{})"
    assert services.recognise(Traces(chains=frozenset(policies))).implementation == "none"
    found = services.recognise(Traces(chains=frozenset({*policies, *chains})))
    assert found == ("iptables", (text.format("legacy"), text.format("nft")), ())
    forward = frozenset({Chain("nft", "inet", "podnet", "service-forward")})
    before = services.recognise(
        Traces(chains=forward, programs=(("veth1", "podnet_requests"), ("veth1", "podnet_sends")))
    )
    assert before.implementation == "ebpf"
    assert before.evidence == ("programs podnet_requests of podnet.fabric at 1 interfaces",)
    assert before.also == ("nftables: chains service-* of podnet.fabric in nft table inet podnet",)
    sockets = services.recognise(Traces(programs=(("veth1", "podnet_requests"),), sockets=("podnet_connect4",)))
    where = "programs podnet_connect4 of podnet.fabric at the node's own sockets"
    assert (sockets.implementation, sockets.evidence) == ("ebpf", (*before.evidence, where))
    past = services.recognise(Traces(programs=tuple(("veth1", f"podnet_{each}") for each in ("requests", "forwards"))))
    what = "which send what goes between pods past the host"
    assert past.evidence == (
        *before.evidence,
        f"programs podnet_forwards of podnet.fabric at 1 interfaces, {what}",
    )


@pytest.mark.parametrize(
    ("found", "name", "dataplane"),
    [
        (Traces(devices=(_device("cilium_vxlan", "vxlan"), _device("cilium_host", "veth"))), "Cilium", "vxlan"),
        (Traces(devices=(_device("cilium_wg0", "wireguard"),)), "Cilium", "wireguard"),
        (Traces(pins=frozenset({"tc/globals/cilium_ipcache_v2"})), "Cilium", None),
        (Traces(conflists=(Conflist("05-cilium.conflist", ("cilium-cni",)),)), "Cilium", None),
        (Traces(devices=(_device("wireguard.cali", "wireguard"),)), "Calico", "wireguard"),
        (
            Traces(devices=(_device("tunl0", "ipip", None, "10.244.0.0/32"),), routes=frozenset({(12, "tunl0")})),
            "Calico",
            "ipip",
        ),
        (Traces(conflists=(Conflist("10-calico.conflist", ("calico", "portmap")),)), "Calico", None),
        (Traces(devices=(_device("flannel-wg", "wireguard"),)), "flannel", "wireguard"),
        (Traces(devices=(_device("kube-bridge", "bridge"),), routes=frozenset({(17, "eth0")})), "kube-router", "bgp"),
        (Traces(devices=(_device("weave", "bridge"), _device("vxlan-6784", "vxlan"))), "Weave", "vxlan"),
        (Traces(devices=(_device("antrea-tun0", "geneve"),)), "Antrea", "geneve"),
        (Traces(devices=(_device("ovn-k8s-mp0"),)), "OVN-Kubernetes", None),
    ],
)
def test_networks_are_known_by_any_one_of_their_traces(found: Traces, name: str, dataplane: str | None) -> None:
    (network,) = foreign.recognise(found)
    assert (network.name, network.dataplane) == (name, dataplane)
    assert network.evidence


def test_what_others_have_too_is_nobodys_network() -> None:
    # A module that was loaded brings tunl0; podman and Docker have bridges; a BIRD may be the operator's own.
    bare = (_device("tunl0", "ipip"), _device("docker0", "bridge"), _device("cni0", "bridge"), _device("eth0"))
    assert foreign.recognise(Traces(devices=bare, routes=frozenset({(12, "eth0")}))) == []


def test_the_lists_of_the_packet_filters_are_read() -> None:
    saved = (
        "# Generated\n*nat\n:PREROUTING ACCEPT [0:0]\n:KUBE-SERVICES - [0:0]\n-A PREROUTING -j KUBE-SERVICES\nCOMMIT\n"
    )
    assert list(traces.saved_chains(saved, "ip")) == [
        Chain("legacy", "ip", "nat", "PREROUTING"),
        Chain("legacy", "ip", "nat", "KUBE-SERVICES"),
    ]
    answer = '{"nftables": [{"metainfo": {}}, {"chain": {"family": "inet", "table": "t", "name": "c", "handle": 1}}]}'
    assert list(traces.nft_chains(answer)) == [Chain("nft", "inet", "t", "c")]
