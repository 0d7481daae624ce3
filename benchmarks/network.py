# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a network of two nodes stands: its namespaces, its addresses, and how commands get into it."""

from __future__ import annotations

import ctypes
import os
import subprocess
from typing import NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.overhead import BYTES
from ansible_collections.podnet.fabric.plugins.module_utils.probe import namespace

CABLE_MTU = 1500
DATAPLANES = ("vxlan", "geneve", "ipip", "wireguard", "host_gw", "bgp")
# The link kinds that a kernel must have for each.
LINK_KINDS = {"vxlan": ("vxlan",), "geneve": ("geneve",), "ipip": ("ipip", "ip6tnl"), "wireguard": ("wireguard",)}
POOLS = ("10.244.0.0/16", "fd00:10:244::/48")
NUMBERS = (1, 2)
UNSHARE_MOUNTS = 0x20000  # CLONE_NEWNS, linux/sched.h

OURS, HAND, UNFILTERED, ROUTED = "ours", "by hand", "unfiltered", "routed"
# What a tunnel packet is, for nft.
TUNNELS = {
    "vxlan": "udp dport 4789",
    "geneve": "udp dport 6081",
    "ipip": "meta l4proto { 4, 41 }",
    "wireguard": "udp dport 51820",
}


class Network(NamedTuple):
    """The namespaces of one network, under names that no other has."""

    prefix: str
    dataplane: str

    def netns(self, name: str) -> str:
        return f"{self.prefix}{name}"

    def ip(self, where: str, *batch: str) -> None:
        run("ip", "-n", self.netns(where), "-batch", "-", stdin="\n".join(batch) + "\n")

    def inside(self, where: str, *argv: str, stdin: str | None = None) -> str:
        return run("nsenter", f"--net=/run/netns/{self.netns(where)}", *argv, stdin=stdin)

    @property
    def mtu(self) -> int:
        by_family = BYTES.get(self.dataplane, {4: 0})
        # IP in IP has one MTU for both families.
        return CABLE_MTU - (max(by_family.values()) if self.dataplane == "ipip" else by_family[4])


def run(*argv: str, stdin: str | None = None) -> str:
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise SystemExit(f"{' '.join(argv)}: {done.stderr.strip()}\n{stdin or ''}")
    return done.stdout


def enter_node(netns: str) -> None:
    """Go to a node, with a mount namespace and a /run of this process's own."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(namespace.path_of(netns), os.O_RDONLY)
    for outcome in (libc.setns(descriptor, 0x40000000), libc.unshare(UNSHARE_MOUNTS)):
        if outcome:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    run("mount", "--make-rprivate", "/")
    run("mount", "-t", "tmpfs", "none", "/run")
