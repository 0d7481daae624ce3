# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node for a test: network and mount namespace of its own, an empty /run, an /etc whose changes nobody sees.

The plugins are the real ones of Debian; where one has to fail or to dawdle, a script stands in and writes down what
it was asked.
"""

from __future__ import annotations

import ctypes
import importlib
import io
import json
import os
import signal
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any, NamedTuple

PLUGINS = Path("/usr/lib/cni")
MODULES = "ansible_collections.podnet.fabric.plugins.modules"
BLOCKS = [
    {"cidr": "10.244.3.0/24", "gateway": "10.244.3.1"},
    {"cidr": "fd00:10:244:3::/64", "gateway": "fd00:10:244:3::1"},
]
SETUP = """
set -e
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/log
mkdir -p /run/etc/upper /run/etc/work /run/netns
mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/etc/upper,workdir=/run/etc/work /etc
rm -rf /etc/cni /etc/podnet
ip link set lo up
ip link add podnet0 address 02:00:00:00:00:01 mtu 1450 type bridge
ip address add 10.244.3.1/24 dev podnet0
ip address add fd00:10:244:3::1/64 dev podnet0 nodad
ip link set podnet0 up
echo ready
exec sleep infinity
"""


class Failed(AssertionError):
    """A module that failed, with its result."""

    def __init__(self, result: dict[str, Any]) -> None:
        self.result = result
        self.message: str = result["msg"]
        super().__init__(json.dumps(result, indent=1))


class Unheard(AssertionError):
    """A module that ended without a result."""


class Run(NamedTuple):
    """A module that is running."""

    pid: int
    output: int

    def result(self) -> dict[str, Any]:
        """Wait for its end and give its result; raises Failed when it failed."""
        text = self.wait()
        if not text:
            raise Unheard("the module ended without a result")
        result: dict[str, Any] = json.loads(text)
        if result.get("failed"):
            raise Failed(result)
        return result

    def kill(self) -> None:
        """Kill it at once, and only it: the plugin that it runs goes on."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.output)

    def wait(self) -> str:
        """What it prints."""
        with os.fdopen(self.output) as output:
            text = output.read()
        os.waitpid(self.pid, 0)
        return text


class Node:
    """The node, and what a test does on it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.enter = ["nsenter", f"--target={pid}", "--mount", "--net"]

    def run(self, *argv: str, stdin: str | None = None) -> str:
        """What a command that has to succeed prints."""
        done = subprocess.run(
            [*self.enter, *argv], input=stdin, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, f"{' '.join(argv)}: exit status {done.returncode}: {done.stderr.strip()}"
        return done.stdout

    def start(self, name: str, /, check: bool = False, uid: int = 0, **params: Any) -> Run:
        """Start a module on the node: parameters on standard input, result on standard output, as Ansible does.

        In a fork of this process, which has Ansible's code loaded: an interpreter for each would take most of the time.
        """
        internal = {"_ansible_check_mode": check, "_ansible_diff": True}
        given = json.dumps({"ANSIBLE_MODULE_ARGS": {**params, **internal}}).encode()
        main = importlib.import_module(f"{MODULES}.{name}").main
        reader, writer = os.pipe()
        pid = os.fork()
        if pid:
            os.close(writer)
            return Run(pid, reader)
        # Never back into pytest, whatever happens.
        try:
            os.close(reader)
            self._enter(uid)
            sys.argv = [name]
            sys.stdin = io.TextIOWrapper(io.BytesIO(given))
            sys.stdout = os.fdopen(writer, "w")
            main()
        except SystemExit:
            sys.stdout.close()
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            os._exit(0)

    def _enter(self, uid: int) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        files = [os.open(f"/proc/{self.pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in ("net", "mnt")]
        for file in files:
            if libc.setns(file, 0) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        if uid:
            os.setgroups([])
            os.setresuid(uid, uid, 0)
            # Files as root all the same: modules import late from the checkout, which may lie in a folder of root's.
            libc.setfsuid(0)

    def module(self, name: str, /, **params: Any) -> dict[str, Any]:
        """A module's result; raises Failed when it fails."""
        return self.start(name, **params).result()

    def network(self, **params: Any) -> dict[str, Any]:
        """The pod network, dual stack."""
        return self.module("cni_network", **{"mtu": 1450, "blocks": BLOCKS, **params})

    def pods(self, *names: str, **params: Any) -> dict[str, Any]:
        """Pods by their names alone."""
        return self.module("pod", pods=[{"name": name} for name in names], **params)

    def namespaces(self) -> list[str]:
        """The named network namespaces."""
        return sorted(line.split()[0] for line in self.run("ip", "netns", "list").splitlines())

    def addresses(self, namespace: str, interface: str = "eth0") -> list[str]:
        """The addresses in a pod, without the link-local one."""
        (found,) = json.loads(self.run("ip", "-n", namespace, "-json", "address", "show", "dev", interface))
        return [f"{entry['local']}/{entry['prefixlen']}" for entry in found["addr_info"] if entry["scope"] == "global"]

    def ports(self) -> list[str]:
        """The interfaces attached to the bridge."""
        return [link["ifname"] for link in json.loads(self.run("ip", "-json", "link", "show", "master", "podnet0"))]

    def taken(self, network: str = "podnet") -> list[str]:
        """The addresses that host-local has given away."""
        listing = self.run("find", "/run/podnet", "-path", f"*/ipam/{network}/*", "-printf", "%f\\n").split()
        return sorted(name for name in listing if name != "lock" and not name.startswith("last_reserved_ip"))

    def records(self) -> list[str]:
        """The attachments on record."""
        return sorted(self.run("find", "/run/podnet", "-path", "*/attachments/*", "-printf", "%f\\n").split())

    def read(self, path: str) -> str:
        return self.run("cat", path)

    def write(self, path: str, text: str) -> None:
        self.run("mkdir", "-p", str(Path(path).parent))
        self.run("tee", path, stdin=text)

    def reach(self, source: str, destination: str, address: str) -> str:
        """Connect from one pod to another one's address: the source address that the other one sees."""
        server = subprocess.Popen(
            [*self.enter, "ip", "netns", "exec", destination, sys.executable, "-c", SERVER, address],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "listening\n"
            self.run("ip", "netns", "exec", source, sys.executable, "-c", CLIENT, address)
            return server.communicate(timeout=10)[0].strip()
        finally:
            server.kill()
            server.wait()


SERVER = """
import socket, sys
server = socket.create_server((sys.argv[1], 8484), family=socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
server.settimeout(10)
print("listening", flush=True)
print(server.accept()[1][0])
"""
CLIENT = "import socket, sys; socket.create_connection((sys.argv[1], 8484), timeout=5)"


class FakePlugins:
    """A directory of plugins: the real ones, and scripts that write down each call and then do as told."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "calls"
        self.log.touch()
        for plugin in PLUGINS.iterdir():
            (directory / plugin.name).symlink_to(plugin)

    def add(self, name: str, body: str = "", versions: str = '"0.4.0", "1.0.0"') -> None:
        """A plugin that runs a shell text, in which $CNI_COMMAND tells the occasion, and passes the result through."""
        about = f'{{"cniVersion":"1.0.0","supportedVersions":[{versions}]}}'
        script = self.directory / name
        script.unlink(missing_ok=True)
        script.write_text(
            "#!/bin/sh\n"
            "config=$(cat)\n"
            f"[ \"$CNI_COMMAND\" = VERSION ] && echo '{about}' && exit\n"
            f'echo "$CNI_COMMAND {name}" >> {self.log}\n'
            f"{body}\n"
            f'[ "$CNI_COMMAND" = ADD ] && echo "$config" | {sys.executable} -c '
            "'import json,sys; print(json.dumps(json.load(sys.stdin)[\"prevResult\"]))'\n"
            "exit 0\n",
            encoding="utf-8",
        )
        script.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        return self.log.read_text(encoding="utf-8").splitlines()
