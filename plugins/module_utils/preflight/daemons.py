# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which network daemons run on the node, and whether they are told to leave our devices alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

# Name as the kernel keeps it (15 characters) -> the daemon's own.
_DAEMONS = {
    "NetworkManager": "NetworkManager",
    "systemd-network": "systemd-networkd",
    "firewalld": "firewalld",
    "dockerd": "dockerd",
}
_PROC = Path("/proc")
_CONFIGURATION = (Path("/etc"), Path("/run"), Path("/usr/lib"))
_UFW = Path("/etc/ufw/ufw.conf")


def running() -> frozenset[str]:
    """The daemons that work in this network namespace."""
    here = _namespace("self")
    found = {_DAEMONS[name] for pid, name in _processes() if name in _DAEMONS and _namespace(pid) == here}
    if "ENABLED=yes" in _lines(_UFW):
        found.add("ufw")
    return frozenset(found)


def left_alone_by(devices: Sequence[str]) -> frozenset[str]:
    """The daemons whose configuration says that all these devices are none of their business."""
    patterns = {"NetworkManager": set(_network_manager_leaves()), "systemd-networkd": set(_networkd_leaves())}
    return frozenset(
        daemon
        for daemon, left in patterns.items()
        if all(any(fnmatchcase(device, pattern) for pattern in left) for device in devices)
    )


def ifupdown_interfaces() -> frozenset[str]:
    """Interfaces that interfaces(5) configures."""
    files = [Path("/etc/network/interfaces"), *sorted(Path("/etc/network/interfaces.d").glob("*"))]
    words = (line.split() for file in files for line in _lines(file))
    return frozenset(word[1] for word in words if len(word) > 1 and word[0] in ("iface", "auto", "allow-hotplug"))


def _network_manager_leaves() -> Iterator[str]:
    for line in _all_lines("NetworkManager", ("NetworkManager.conf", "conf.d/*.conf")):
        key, _equals, value = line.partition("=")
        if key.strip() == "unmanaged-devices":
            for device in value.replace(",", ";").split(";"):
                match, _colon, pattern = device.strip().partition(":")
                if match == "interface-name":
                    yield pattern.lstrip("=")


def _networkd_leaves() -> Iterator[str]:
    for folder in _CONFIGURATION:
        for file in sorted(folder.joinpath("systemd", "network").glob("*.network")):
            pairs = [line.partition("=") for line in _lines(file)]
            settings = [(key.strip(), value.strip()) for key, _equals, value in pairs]
            if any(key == "Unmanaged" and value in ("yes", "true", "1") for key, value in settings):
                for key, value in settings:
                    if key == "Name":
                        yield from value.split()


def _all_lines(subfolder: str, patterns: Iterable[str]) -> Iterator[str]:
    for folder in _CONFIGURATION:
        for pattern in patterns:
            for file in sorted(folder.joinpath(subfolder).glob(pattern)):
                yield from _lines(file)


def _lines(file: Path) -> list[str]:
    try:
        return [line.strip() for line in file.read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError:
        return []


def _processes() -> Iterator[tuple[str, str]]:
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            for line in _lines(folder / "comm")[:1]:
                yield folder.name, line


def _namespace(pid: str) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    except OSError:
        return ""
