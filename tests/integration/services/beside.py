# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What else a host may have beside ours: a chain that counts what passes it, and a tunnel between nodes.

The chain drops what connection tracking takes for a half of a flow, as many hosts do.
"""

from __future__ import annotations

import ctypes
import fcntl
import re
import socket
import struct
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.probe import namespace
from tests.conformance import service_cases as scene
from tests.integration.services.ground import forget_ways, netns, node_says
from tests.integration.services.offered import ADDRESSES, PODS

if TYPE_CHECKING:
    from collections.abc import Iterator

SIOCETHTOOL, ETHTOOL_STXCSUM = 0x8946, 0x17  # linux/sockios.h, linux/ethtool.h
CHAIN = """
table inet foreign {
  chain forward {
    type filter hook forward priority -10
    ct state invalid counter drop comment "invalid"
    meta l4proto tcp counter comment "tcp"
    meta l4proto udp counter comment "udp"
  }
}
"""


@contextmanager
def foreign_chain() -> Iterator[None]:
    argv = ["ip", "netns", "exec", netns("a"), "nft"]
    subprocess.run([*argv, "-f", "-"], input=CHAIN, text=True, check=True, timeout=60)
    try:
        yield
    finally:
        subprocess.run([*argv, "delete", "table", "inet", "foreign"], check=True, timeout=60)


def counted(what: str) -> int:
    """Packets that the host has forwarded."""
    found = re.search(rf'packets (\d+) .*comment "{what}"', node_says("nft", "list", "table", "inet", "foreign"))
    assert found
    return int(found[1])


def meet() -> None:
    """Have the node know its neighbours: what goes to one that it does not know is the kernel's."""
    for family in ADDRESSES:
        for pod in ("pod", *PODS):
            node_says("ping", "-c1", "-W5", scene.pod_address(pod, family))


@contextmanager
def tunnel(summed: bool = False) -> Iterator[None]:
    """VXLAN between the nodes, through which less fits than the pods believe.

    :param summed: whether its checksums are worked out before a packet leaves, from which the other end has the sum of
        all that is in it
    """
    names = {"a": ("b", "1", "2"), "b": ("a", "2", "1")}
    try:
        for node, (other, own, far) in names.items():
            ends = f"local {scene.NODES[node][4]} remote {scene.NODES[other][4]}"
            _offload_checksums(node, not summed)
            _ip(node, f"link add tun0 type vxlan id 7 {ends} dstport 4789{' udpcsum' * summed}")
            _ip(node, "link set tun0 up mtu 1450")
            for flag, address, block in (
                ("-4", "192.0.3.{}/24", f"10.244.{far}.0/24"),
                ("-6", "2001:db8:3::{}/64", f"fd00:10:244:{far}::/64"),
            ):
                _ip(node, f"{flag} address add {address.format(own)} dev tun0{' nodad' * (flag == '-6')}")
                way = address.format(far).partition("/")[0]
                # As our dataplanes have it: the routes of a peer are by an object of its own.
                number = flag.removeprefix("-")
                _ip(node, f"nexthop add id {number} via {way} dev tun0 onlink")
                _ip(node, f"{flag} route replace {block} nhid {number}")
        yield
    finally:
        for node, (other, _own, far) in names.items():
            for family, block in ((4, f"10.244.{far}.0/24"), (6, f"fd00:10:244:{far}::/64")):
                _ip(node, f"-{family} route replace {block} via {scene.NODES[other][family]}")
            _ip(node, "link delete tun0")
            _offload_checksums(node, True)
        forget_ways()


def _offload_checksums(node: str, leave: bool) -> None:
    """Whether a node leaves checksums to its underlay, as `ethtool -K under0 tx on` does it."""
    value = ctypes.create_string_buffer(struct.pack("=II", ETHTOOL_STXCSUM, leave))
    with namespace.inside(netns(node)):
        control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with control:
        fcntl.ioctl(control, SIOCETHTOOL, struct.pack("@16sP", b"under0", ctypes.addressof(value)).ljust(40, b"\0"))


def _ip(node: str, line: str) -> None:
    subprocess.run(["ip", "-n", netns(node), *line.split()], check=True, timeout=60)
