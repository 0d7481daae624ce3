# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Named network namespaces, as ``ip netns`` keeps them."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from ansible_collections.podnet.fabric.plugins.module_utils.command import ToolError, run
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import RUN, remove_empty, write_atomically
from ansible_collections.podnet.fabric.plugins.module_utils.errors import taking_apart

DIRECTORY = "/run/netns"
MADE = RUN / "netns-made"
"""Tells that the directory, which ``ip netns add`` makes and mounts but never removes, was not there before us."""


def path_of(name: str) -> str:
    """The path of a namespace given by name or by path."""
    return name if name.startswith("/") else f"{DIRECTORY}/{name}"


def name_of(path: str) -> str:
    """The name of a namespace among the named ones; empty when the path leads elsewhere."""
    found = Path(path)
    return found.name if str(found.parent) in (DIRECTORY, "/var/run/netns") else ""


def is_alive(path: str) -> bool:
    """Whether a namespace stands there. A file from which one was unmounted is none, and plugins fail over it."""
    try:
        return Path(path).stat().st_dev == Path("/proc/self/ns/net").stat().st_dev
    except OSError:
        return False


def make(path: str) -> None:
    """Make a named namespace.

    :raises ToolError:
    """
    if not Path(DIRECTORY).exists():
        write_atomically(MADE, f"{DIRECTORY}\n", 0o600)
    run(["ip", "netns", "add", name_of(path)])


def settle(path: str) -> None:
    """What a pod's new namespace needs before the first plugin: loopback up, no duplicate address detection.

    The bridge plugin turns the detection off by itself where hairpin mode is on; other plugins wait one to two seconds
    for each address that is still tentative (https://github.com/containernetworking/plugins/issues/680).

    :raises ToolError:
    """
    enter = ["nsenter", f"--net={path}", "--"]
    run([*enter, "ip", "link", "set", "lo", "up"])
    if Path("/proc/sys/net/ipv6").is_dir():
        run([*enter, "tee", "/proc/sys/net/ipv6/conf/default/accept_dad"], stdin="0\n")


def addresses(path: str, interface: str) -> list[str] | None:
    """The addresses of an interface that is up, in CIDR notation; None when there is no such interface.

    :raises ToolError: the namespace is gone
    """
    argv = ["nsenter", f"--net={path}", "--", "ip", "-json", "address", "show", "up"]
    printed = run(argv)
    with taking_apart(" ".join(argv)):
        return addresses_of(interface, printed)


def addresses_of(interface: str, printed: str) -> list[str] | None:
    """The same out of what `ip -json address show` prints; raises what MALFORMED names."""
    for link in json.loads(printed or "[]"):
        if link.get("ifname") == interface:
            return [f"{entry['local']}/{entry['prefixlen']}" for entry in link["addr_info"]]
    return None


def delete(path: str) -> None:
    """Remove the name of a namespace; the namespace goes with its last process.

    :raises ToolError:
    """
    if Path(path).exists():
        run(["ip", "netns", "delete", name_of(path)])
    if MADE.exists() and not any(Path(DIRECTORY).glob("*")):
        with suppress(ToolError):  # a bind mount of itself; whether it is one, only the mount table could tell
            run(["umount", DIRECTORY])
        remove_empty(Path(DIRECTORY))
        MADE.unlink()
