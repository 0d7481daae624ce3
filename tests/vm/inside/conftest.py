# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two nodes on one wire: namespaces `podnet-in-a` and `podnet-in-b`, joined by the link `wire` on both sides."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLONE_NEWNET = 0x40000000  # linux/sched.h
_ETH_P_ALL = 3  # linux/if_ether.h


@dataclasses.dataclass(frozen=True)
class Node:
    """A namespace; number 1 has 192.0.2.1 and 2001:db8::1 on the wire, and 10.64.1.1 and fd64:1::1 as a pod would."""

    name: str
    number: int

    def run(self, *argv: str, stdin: str | None = None) -> str:
        """What a command that has to succeed prints."""
        words = ["ip", "netns", "exec", self.name, *argv]
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, f"{' '.join(words)}: exit status {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    def ip(self, line: str) -> str:
        """Run `ip` here, with words that a blank separates."""
        return self.run("ip", *line.split())

    def pings(self, address: str) -> bool:
        """Whether one of five packets comes back."""
        words = ["ip", "netns", "exec", self.name, "ping", "-n", "-i", "0.2", "-c", "5", "-W", "1", address]
        return subprocess.run(words, capture_output=True, check=False, timeout=60).returncode == 0

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Sockets that are made meanwhile belong to this namespace."""
        libc = ctypes.CDLL(None, use_errno=True)
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        own = os.open(f"/run/netns/{self.name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            assert libc.setns(own, _CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            yield
        finally:
            assert libc.setns(before, _CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            os.close(own)
            os.close(before)

    @contextlib.contextmanager
    def capture(self) -> Iterator[Capture]:
        """What goes over the wire from now on."""
        with self.inside():
            tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
        with tap:
            tap.bind(("wire", _ETH_P_ALL))
            yield Capture(tap)


@dataclasses.dataclass(frozen=True)
class Capture:
    """A packet socket."""

    tap: socket.socket

    def packets(self) -> list[bytes]:
        """The IP packets that have come by, each from its IP header on."""
        self.tap.settimeout(0.2)
        seen = []
        until = time.monotonic() + 10
        while time.monotonic() < until:
            try:
                seen.append(self.tap.recv(65536))
            except TimeoutError:
                return seen
        return seen


@pytest.fixture
def nodes() -> Iterator[tuple[Node, Node]]:
    """Both nodes, with addresses, and without any tunnel."""
    pair = (Node("podnet-in-a", 1), Node("podnet-in-b", 2))
    with contextlib.ExitStack() as stack:
        for node in pair:
            subprocess.run(["ip", "netns", "add", node.name], check=True)
            stack.callback(subprocess.run, ["ip", "netns", "delete", node.name], check=True)
        first, second = pair
        first.ip(f"link add wire type veth peer name wire netns {second.name}")
        for node in pair:
            for line in (
                "link set lo up",
                f"address add 192.0.2.{node.number}/24 dev wire",
                f"address add 2001:db8::{node.number}/64 dev wire nodad",
                "link set wire up",
                f"address add 10.64.{node.number}.1/32 dev lo",
                f"address add fd64:{node.number}::1/128 dev lo nodad",
            ):
                node.ip(line)
        assert Path("/run/netns", first.name).exists()
        yield pair
