# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which network daemons run on the node, and whether they are told to leave our devices alone."""

from __future__ import annotations

import re
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
_FIREWALLD = Path("/etc/firewalld/zones")
# firewalld.zone(5): elements without content, as firewall-cmd writes them.
_ELEMENT = re.compile(r"<(interface|source|port|protocol)\s+([^<>]*?)/?>")
_ATTRIBUTE = re.compile(r"(\w+)=[\"']([^\"']*)[\"']")
_STARTS = tuple(
    Path("/etc/systemd/system", name)
    for name in ("multi-user.target.wants/systemd-networkd.service", "dbus-org.freedesktop.network1.service")
)
# Both on by default (networkd.conf(5), since 246 and 249); nexthops go with their routes in newer ones.
_DELETING = ("ManageForeignRoutes", "ManageForeignRoutingPolicyRules")


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


def networkd_deletes() -> tuple[str, ...]:
    """The settings by which systemd-networkd deletes what it has not made, where it runs or starts at boot.

    All are on unless networkd.conf(5) or a drop-in says otherwise; of the drop-ins the last by name has the say.
    """
    starts = any(link.is_symlink() or link.exists() for link in _STARTS)
    if not starts and "systemd-networkd" not in running():
        return ()
    files: dict[str, Path] = {}
    for folder in reversed(_CONFIGURATION):
        files.update({file.name: file for file in folder.joinpath("systemd", "networkd.conf.d").glob("*.conf")})
    main = next((file for file in (f / "systemd/networkd.conf" for f in _CONFIGURATION) if file.is_file()), None)
    said: dict[str, str] = {}
    for file in [*([main] if main else []), *(files[name] for name in sorted(files))]:
        for line in _lines(file):
            key, equals, value = line.partition("=")
            if equals:
                said[key.strip()] = value.strip().lower()
    return tuple(name for name in _DELETING if said.get(name, "yes") in ("yes", "true", "on", "1", ""))


def firewalld_admits() -> frozenset[tuple[str, str]]:
    """What firewalld is told for good: interfaces and sources to trust, ports and protocols that some zone lets in."""
    found: set[tuple[str, str]] = set()
    for file in _FIREWALLD.glob("*.xml"):
        for element, attributes in _ELEMENT.findall("\n".join(_lines(file))):
            said = dict(_ATTRIBUTE.findall(attributes))
            if element == "port":
                found.add((element, f"{said.get('port')}/{said.get('protocol')}"))
            elif element == "protocol":
                found.add((element, said.get("value", "")))
            elif file.stem == "trusted":
                found.add((element, said.get("name" if element == "interface" else "address", "")))
    return frozenset(found)


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
