# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client, a node that forwards and a pod on its bridge, with so many rules on the way, ours or by hand.

    client (192.0.2.2) -- node -- podnet0 -- pod (10.244.1.2)

A rule lets one prefix reach one port of the pod: an ipBlock with a port in a NetworkPolicy that selects it, or a line
of iptables. The client is what the last of them lets through, and a packet that none lets through is dropped. Prefixes
are of 30 bits and do not touch: no two become one, and sets must be of intervals, which are slower than those of
addresses. The flow whose round trips are timed is let in by a rule more, the first.
"""

from __future__ import annotations

import ipaddress
import os
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.benchmarks import traffic
from ansible_collections.podnet.fabric.benchmarks.network import Network, enter_node, run
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Kind, reconcile
from ansible_collections.podnet.fabric.plugins.module_utils.resources.policy import KIND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

CLIENT, POD = "192.0.2.2", "10.244.1.2"
PLAIN, NFTABLES, EBPF = "plain", "nftables", "ebpf"
LEGACY, NFT, IPSET = "iptables-legacy", "iptables-nft", "ipset"
OURS = (NFTABLES, EBPF)
BY_HAND = (LEGACY, NFT, IPSET)
_FIRST = int(ipaddress.ip_address("10.64.0.0"))


class Ground(NamedTuple):
    """Its network, and the process that keeps what is pinned."""

    network: Network
    holder: int


def prefixes(count: int, last: str = CLIENT) -> Iterator[str]:
    """So many, the last one of one address."""
    for number in range(count - 1):
        yield f"{ipaddress.ip_address(_FIRST + 8 * number)}/30"
    yield f"{last}/32"


def parameters(backend: str, count: int) -> dict[str, Any]:
    """Of the module policy: one policy with so many blocks."""
    peers = [{"ipBlock": {"cidr": prefix}} for prefix in prefixes(count)]
    ingress = [{"from": peers, "ports": [{"port": traffic.CONNECTIONS}]}]
    standing = [{"port": traffic.TRANSFER}, {"port": traffic.ECHO, "protocol": "UDP"}]
    ingress.append({"from": [{"ipBlock": {"cidr": f"{CLIENT}/32"}}], "ports": standing})
    spec = {"podSelector": {"matchLabels": {"app": "web"}}, "ingress": ingress}
    return {
        "backend": backend,
        "node": "here",
        "policies": [{"metadata": {"name": "web"}, "spec": spec}],
        "endpoints": [{"name": "web", "node": "here", "labels": {"app": "web"}, "addresses": [POD]}],
    }


def build(number: int, how: str, count: int) -> Ground:
    """Make the namespaces, wire them, and put the rules in the way."""
    network = Network(f"pnp{os.getpid()}-{number}", "")
    wire(
        network,
        (
            f"link add uplink type veth peer name eth0 netns {network.netns('client')}",
            "address add 192.0.2.1/24 dev uplink",
            "link set uplink up",
            f"link add pod type veth peer name eth0 netns {network.netns('pod')}",
            "link set pod master podnet0 up",
        ),
        {"client": (CLIENT, "192.0.2.1"), "pod": (POD, "10.244.1.1")},
    )
    if how in OURS:
        return Ground(network, on_node(network.netns("node"), lambda: declare(parameters(how, count))))
    if how in BY_HAND:
        _by_hand(network, how, count)
    return Ground(network, 0)


def wire(network: Network, links: Iterable[str], ends: Mapping[str, tuple[str, str]]) -> None:
    """Make the namespaces of a client, a pod and a node with a bridge between them.

    :param links: lines of `ip -batch` for the node's own ends
    :param ends: the address and the gateway of each of the others
    """
    for where in ("node", *ends):
        run("ip", "netns", "add", network.netns(where))
    network.inside("node", "sysctl", "-qw", "net.ipv4.ip_forward=1")
    bridge = ("link add podnet0 type bridge", "address add 10.244.1.1/24 dev podnet0", "link set podnet0 up")
    network.ip("node", "link set lo up", *bridge, *links)
    for where, (own, gateway) in ends.items():
        lines = (f"address add {own}/24 dev eth0", "link set lo up", "link set eth0 up")
        network.ip(where, *lines, f"route add default via {gateway}")


def destroy(ground: Ground) -> None:
    """All of it."""
    if ground.holder:
        os.kill(ground.holder, 9)
        os.waitpid(ground.holder, 0)
    for where in ("client", "node", "pod"):
        run("ip", "netns", "delete", ground.network.netns(where))


def declare(params: dict[str, Any], kind: Kind = KIND) -> None:
    """As the module does, with declarations of its own."""
    with Host() as host:
        item = kind.normalise("podnet", params, None, host)
        reconcile(kind, {"podnet": item}, host, Declarations(folder()))


def folder() -> Path:
    """For declarations, on the node's own /run."""
    return Path(tempfile.mkdtemp(dir="/run"))


def on_node(netns: str, call: Callable[[], None]) -> int:
    """Call in a process that is on a node, has a bpffs and a /run of its own, and then stays there; its pid."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            enter(netns)
            call()
            os.write(writer, b".")
            os.close(writer)
            signal.pause()
        except BaseException:  # noqa: BLE001
            print(traceback.format_exc()[:3000], file=sys.stderr)
        finally:
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        if pipe.read(1) != b".":
            raise SystemExit(f"{netns}: what was to be declared there was not; the error stands above")
    return child


def enter(netns: str) -> None:
    """Go to a node, with a file system for BPF of one's own."""
    enter_node(netns)
    run("mount", "-t", "bpf", "none", "/sys/fs/bpf")


def _by_hand(network: Network, how: str, count: int) -> None:
    """What a person would write: what stands passes, then the rules, then nothing."""
    ports = f"-p tcp -m tcp --dport {traffic.CONNECTIONS}"
    wanted = [f"-A FORWARD -s {prefix} -d {POD} {ports} -j ACCEPT" for prefix in prefixes(count)]
    restore = f"{LEGACY if how == LEGACY else NFT}-restore"
    if how == IPSET:
        lines = [f"create allowed hash:net hashsize 4096 maxelem {max(65536, count)}"]
        lines += [f"add allowed {prefix}" for prefix in prefixes(count)]
        network.inside("node", "ipset", "restore", stdin="\n".join(lines) + "\n")
        wanted = [f"-A FORWARD -m set --match-set allowed src -d {POD} {ports} -j ACCEPT"]
        restore = f"{LEGACY}-restore"
    lines = ["*filter", "-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT"]
    for protocol, port in (("tcp", traffic.TRANSFER), ("udp", traffic.ECHO)):
        lines.append(f"-A FORWARD -s {CLIENT} -d {POD} -p {protocol} -m {protocol} --dport {port} -j ACCEPT")
    lines += wanted
    lines += [f"-A FORWARD -d {POD} -j DROP", "COMMIT"]
    network.inside("node", restore, stdin="\n".join(lines) + "\n")
