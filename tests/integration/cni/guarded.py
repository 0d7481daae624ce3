# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node whose pods are under policies from their ADD on, and what tells so in them."""

from __future__ import annotations

import select
import subprocess
import sys
from typing import Any

from tests.integration.cni.node import BLOCKS, FakePlugins, Node
from tests.integration.cni.runtime import Runtime

BACKENDS: dict[str, dict[str, Any]] = {
    "nftables": {"backend": "nftables"},
    "iptables-nft": {"backend": "iptables", "iptables_flavour": "nft"},
    "iptables-legacy": {"backend": "iptables", "iptables_flavour": "legacy"},
    "ebpf": {"backend": "ebpf", "flows": 1024, "fragments": 64},
}
POLICY: dict[str, Any] = {
    "metadata": {"name": "database"},
    "spec": {
        "podSelector": {"matchLabels": {"app": "db"}},
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}],
    },
}
DB, WEB, OTHER = ({"app": name} for name in ("db", "web", "other"))
TABLE = "/run/podnet/policy.table"

LISTEN = """
import select, socket, sys
found = []
for address in sys.argv[1:]:
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((address, 8484))
    found.append(made)
print("listening", flush=True)
while True:
    for each in select.select(found, [], [])[0]:
        print(each.recv(99).decode(), flush=True)
"""
SEND = """
import socket, sys
for address in sys.argv[2:]:
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    made.sendto(f"{sys.argv[1]} {6 if ':' in address else 4}".encode(), (address, 8484))
"""
ECHO = """
import socket, struct, sys
six = ":" in sys.argv[1]
made = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_RAW, 58 if six else 1)
made.settimeout(1)
made.connect((sys.argv[1], 0))
body = struct.pack(">BBHHH", 128 if six else 8, 0, 0, 4242, 1)
if not six:
    body = struct.pack(">BBHHH", 8, 0, 0xFFFF - sum(struct.unpack(">4H", body)), 4242, 1)
for line in sys.stdin:
    told = "silent"
    try:
        made.send(body)
        while told != "answered":
            heard = made.recv(99)
            if (heard if six else heard[20:])[0] == (129 if six else 0):
                told = "answered"
    except OSError:
        pass
    print(told, flush=True)
"""


class Guarded:
    """A node with the network and with policies, and a runtime on it."""

    def __init__(self, node: Node, fakes: FakePlugins, backend: dict[str, Any]) -> None:
        self.node = node
        self.fakes = fakes
        self.backend = backend
        self.runtime = Runtime(node, str(fakes.directory))

    def network(self, **more: Any) -> dict[str, Any]:
        given = {"blocks": BLOCKS, "mtu": 1450, "bin_dir": str(self.fakes.directory), "attach": True, **more}
        return self.node.module("cni_network", **given)

    def policies(self, **more: Any) -> dict[str, Any]:
        """The module's parameters, as the role policy gives them."""
        found = self.node.module("endpoint_info")["endpoints"]
        endpoints = [{**each, "node": "here"} for each in found]
        return {"node": "here", "policies": [POLICY], "endpoints": endpoints, **self.backend, **more}

    def declare(self, **more: Any) -> dict[str, Any]:
        return self.node.module("policy", **self.policies(**more))

    def differences(self) -> list[dict[str, Any]]:
        """Drift of the policies, but for what is left of an interface that has gone: the next ADD collects it."""
        found = self.node.module("drift_info")
        assert not found["problems"]
        policies = [each for each in found["differences"] if each["kind"] == "policy"]
        return [each for each in policies if "at no interface" not in each["object"]]

    def records(self) -> list[str]:
        """Of the pods that the plugin knows."""
        found = self.node.run("find", "/run/podnet", "-path", "*/attached/*", "-name", "*@*", "-printf", "%f\\n")
        return sorted(found.split())

    def state(self) -> str:
        """All that the backends have in the kernel."""
        script = "nft -s list ruleset; ipset save; iptables-legacy-save; find /sys/fs/bpf -type d"
        lines = self.node.run("sh", "-c", f"({script}) 2>/dev/null").splitlines()
        return "\n".join(line for line in sorted(lines) if line[:1] != "#").partition(" [")[0]

    def plugin(self) -> dict[str, Any]:
        found: dict[str, Any] = self.runtime.conflist()["plugins"][-1]
        assert found["type"] == "podnet-attach"
        return found


class Listener:
    """Takes datagrams in a pod."""

    def __init__(self, node: Node, pod: str, addresses: list[str]) -> None:
        argv = [*node.enter, "ip", "netns", "exec", pod, sys.executable, "-c", LISTEN, *addresses]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, bufsize=0)
        assert self.process.stdout is not None
        # Without a buffer, in which select would not see what waits.
        assert self.process.stdout.readline() == b"listening\n"

    def heard_until(self, last: set[str]) -> set[str]:
        """What comes in until all of these words have."""
        heard: set[str] = set()
        assert self.process.stdout is not None
        while not last <= heard:
            ready, _writable, _failed = select.select([self.process.stdout], [], [], 60)
            assert ready, f"heard {heard}, not all of {last}"
            heard.add(self.process.stdout.readline().decode().strip())
        return heard

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


class Ping:
    """Asks an address for an echo when told to, in one flow."""

    def __init__(self, node: Node, pod: str, address: str) -> None:
        argv = [*node.enter, "ip", "netns", "exec", pod, sys.executable, "-c", ECHO, address]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)

    def is_answered(self) -> bool:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(b"ask\n")
        return self.process.stdout.readline() == b"answered\n"

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


def policy(name: str, labels: dict[str, str], peers: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    ingress = [{"from": peers, **more}]
    return {"metadata": {"name": name}, "spec": {"podSelector": {"matchLabels": labels}, "ingress": ingress}}


def addresses(result: dict[str, Any]) -> list[str]:
    return [ip["address"].partition("/")[0] for ip in result["ips"]]


def send(node: Node, pod: str, word: str, to: list[str]) -> None:
    """A datagram to each address, the first thing that a pod does."""
    node.run("ip", "netns", "exec", pod, sys.executable, "-c", SEND, word, *to)


def prepared(node: Node, fakes: FakePlugins, backend: str) -> Guarded:
    node.run("mkdir", "-p", "/run/local/upper", "/run/local/work")
    overlay = "lowerdir=/usr/local,upperdir=/run/local/upper,workdir=/run/local/work"
    node.run("mount", "-t", "overlay", "overlay", "-o", overlay, "/usr/local")
    node.run("mount", "-t", "bpf", "bpf", "/sys/fs/bpf")
    made = Guarded(node, fakes, BACKENDS[backend])
    made.network()
    return made
