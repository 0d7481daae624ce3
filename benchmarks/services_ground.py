# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pod, its node and a pod of another node, with so many services on the way, ours or chains as kube-proxy's.

    pod (10.244.1.2) -- podnet0 -- node -- uplink -- pod elsewhere (10.244.2.2)

A service has an address of its own and one backend, a pod that no other service has. The last one's backend is the pod
elsewhere; it is asked for by the pod here, so no address is hidden. By hand there are a chain per service and one per
backend, and a rule per service that leads there from one chain, the last one's at its end: what kube-proxy writes in
its iptables mode (syncProxyRules() in pkg/proxy/iptables/proxier.go), without its comments and probabilities.

Where policies stand beside services, the pod here may send to as many prefixes as there are services, of which the pod
elsewhere is the last (policy_ground.py). With the bypass, packets between the two go past the node's bridge, routing
and netfilter.
"""

from __future__ import annotations

import ipaddress
import os
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.benchmarks import policy_ground, traffic
from ansible_collections.podnet.fabric.benchmarks.network import Network
from ansible_collections.podnet.fabric.benchmarks.policy_ground import Ground
from ansible_collections.podnet.fabric.plugins.module_utils.resources.policy import KIND as POLICY
from ansible_collections.podnet.fabric.plugins.module_utils.resources.service import KIND

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HERE, ELSEWHERE = "10.244.1.2", "10.244.2.2"
PODS, BLOCK, RANGE = "10.0.0.0/8", "10.244.1.0/24", "10.96.0.0/12"
PLAIN = "direct"
LEGACY, NFT = "chains-legacy", "chains-nft"
RESTORE = {LEGACY: "iptables-legacy-restore", NFT: "iptables-nft-restore"}
NFTABLES, EBPF = policy_ground.NFTABLES, policy_ground.EBPF
GUARDED, BYPASSING = "ebpf+policies", "ebpf+policies+bypass"
OURS: Mapping[str, Mapping[str, Any]] = {
    NFTABLES: {"backend": NFTABLES},
    **{f"sets-{flavour}": {"backend": "iptables", "iptables_flavour": flavour} for flavour in ("legacy", "nft")},
    EBPF: {"backend": EBPF},
}
"""What is measured of ours, by name: the module's parameters that choose it."""
BESIDE_POLICIES: Mapping[str, Mapping[str, Any]] = {
    GUARDED: {"backend": EBPF},
    BYPASSING: {"backend": EBPF, "bypass": True},
}
"""The same where as many rules of policies by eBPF stand beside it."""
CONNECT = "ebpf+connect"
AT_SOCKETS: Mapping[str, Mapping[str, Any]] = {CONNECT: {"backend": EBPF, "connect": True}}
"""The same for what the node itself asks for (services_connect.py)."""
MOST = {"sets-nft": 10_000}
"""With 50,000 services iptables-nft-restore takes longer than the minute that the module gives a tool."""

_FIRST_SERVICE = int(ipaddress.ip_address("10.96.0.1"))
_FIRST_POD = int(ipaddress.ip_address("10.128.0.2"))


def address(number: int) -> str:
    """That of a service."""
    return str(ipaddress.ip_address(_FIRST_SERVICE + number))


def backend(number: int, count: int) -> str:
    """That of its pod."""
    return ELSEWHERE if number == count - 1 else str(ipaddress.ip_address(_FIRST_POD + number))


def parameters(how: str, count: int, changed: int | None = None) -> dict[str, Any]:
    """Of the module service.

    :param changed: the service whose pods listen at another port
    """
    port = traffic.CONNECTIONS
    services = [
        {
            "metadata": {"name": f"service{number}"},
            "spec": {
                "clusterIP": address(number),
                "selector": {"app": f"app{number}"},
                "ports": [{"port": port, "targetPort": port + (number == changed)}],
            },
        }
        for number in range(count)
    ]
    endpoints = [
        {
            "name": f"pod{number}",
            "node": "elsewhere",
            "labels": {"app": f"app{number}"},
            "addresses": [backend(number, count)],
        }
        for number in range(count)
    ]
    where = {"node": "here", "pods": [PODS], "blocks": [BLOCK], "ranges": [RANGE]}
    chosen = {**OURS, **BESIDE_POLICIES, **AT_SOCKETS}[how]
    return {**where, **chosen, "services": services, "slices": [], "endpoints": endpoints}


def build(number: int, how: str, count: int) -> Ground:
    """Make the namespaces, wire them, and put the services in the way."""
    network = Network(f"pns{os.getpid()}-{number}", "")
    policy_ground.wire(
        network,
        (
            f"link add here type veth peer name eth0 netns {network.netns('client')}",
            "link set here master podnet0 up",
            f"link add uplink type veth peer name eth0 netns {network.netns('pod')}",
            "address add 10.244.2.1/24 dev uplink",
            "link set uplink up",
        ),
        {"client": (HERE, "10.244.1.1"), "pod": (ELSEWHERE, "10.244.2.1")},
    )
    if how in OURS or how in BESIDE_POLICIES or how in AT_SOCKETS:
        return Ground(network, policy_ground.on_node(network.netns("node"), lambda: _declare(how, count)))
    if how in RESTORE:
        network.inside("node", RESTORE[how], stdin=chains(count))
    return Ground(network, 0)


def _declare(how: str, count: int) -> None:
    policy_ground.declare(parameters(how, count), KIND)
    if how in BESIDE_POLICIES:
        policy_ground.declare(guarding(count), POLICY)


def guarding(count: int) -> dict[str, Any]:
    """Parameters of the module policy: where the pod here may send to, by so many rules."""
    peers = [{"ipBlock": {"cidr": prefix}} for prefix in policy_ground.prefixes(count, ELSEWHERE)]
    egress = [{"to": peers, "ports": [{"port": traffic.CONNECTIONS}]}]
    spec = {"podSelector": {"matchLabels": {"app": "client"}}, "policyTypes": ["Egress"], "egress": egress}
    return {
        "backend": EBPF,
        "node": "here",
        "policies": [{"metadata": {"name": "client"}, "spec": spec}],
        "endpoints": [{"name": "client", "node": "here", "labels": {"app": "client"}, "addresses": [HERE]}],
    }


def asked(how: str, count: int) -> str:
    """What the client connects to."""
    return ELSEWHERE if how == PLAIN else address(count - 1)


def chains(count: int) -> str:
    """All services, for iptables-restore."""
    lines = ["*nat", ":KUBE-SERVICES - [0:0]", ":KUBE-MARK-MASQ - [0:0]", ":KUBE-POSTROUTING - [0:0]"]
    rules = [
        "-A PREROUTING -j KUBE-SERVICES",
        "-A OUTPUT -j KUBE-SERVICES",
        "-A POSTROUTING -j KUBE-POSTROUTING",
        "-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000",
        "-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN",
        "-A KUBE-POSTROUTING -j MASQUERADE --random-fully",
    ]
    ports = f"-p tcp -m tcp --dport {traffic.CONNECTIONS}"
    for number in range(count):
        lines += _declared(number)
        rules.append(f"-A KUBE-SERVICES -d {address(number)}/32 {ports} -j KUBE-SVC-{number}")
        rules += service_rules(number, count, traffic.CONNECTIONS)
    return "\n".join([*lines, *rules, "COMMIT", ""])


def one_changed(number: int, count: int) -> str:
    """The pods of one service listen at another port: its own chains anew, for iptables-restore --noflush."""
    rules = service_rules(number, count, traffic.CONNECTIONS + 1)
    return "\n".join(["*nat", *_declared(number), *rules, "COMMIT", ""])


def service_rules(number: int, count: int, port: int) -> Iterator[str]:
    """What stands in the chains of a service and of its backend."""
    pod = backend(number, count)
    ports = f"-p tcp -m tcp --dport {traffic.CONNECTIONS}"
    yield f"-A KUBE-SVC-{number} ! -s {PODS} -d {address(number)}/32 {ports} -j KUBE-MARK-MASQ"
    yield f"-A KUBE-SVC-{number} -j KUBE-SEP-{number}"
    yield f"-A KUBE-SEP-{number} -s {pod}/32 -j KUBE-MARK-MASQ"
    yield f"-A KUBE-SEP-{number} -p tcp -m tcp -j DNAT --to-destination {pod}:{port}"


def _declared(number: int) -> list[str]:
    return [f":KUBE-SVC-{number} - [0:0]", f":KUBE-SEP-{number} - [0:0]"]
