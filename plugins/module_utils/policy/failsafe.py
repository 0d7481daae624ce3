# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports that no policy of nodes can close, so that nobody locks himself out, and what the network itself needs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.errors import DeclarationError
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection
from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import PortRange
from ansible_collections.podnet.fabric.plugins.module_utils.policy.documents import MAX_PORT

if TYPE_CHECKING:
    from collections.abc import Mapping

DIRECTIONS = ("inbound", "outbound")
NONE = "none"
"""The word without which no list is empty."""
IPIP = "ipip"
"""IP in IP, IPv4 or IPv6 inside, which has no ports."""
DEFAULTS = {
    # SSH, and the answers of DHCP (RFC 2131, RFC 8415), which may come from elsewhere than the question went.
    "inbound": ["tcp/22", "udp/68", "udp/546"],
    # DNS, DHCP and NTP.
    "outbound": ["tcp/53", "udp/53", "udp/67", "udp/547", "udp/123"],
}
_PORT = re.compile(r"(tcp|udp|sctp)/([0-9]{1,5})\Z")


class Needs(NamedTuple):
    """What the network needs between its nodes: ports of tunnels, and whether IP in IP."""

    ports: tuple[PortRange, ...]
    ipip: bool


def inspect_failsafe(inspection: Inspection, path: str, given: Any) -> dict[str, list[str]]:
    """The ports as they are declared; a direction that is left out has its defaults."""
    if not isinstance(given, dict):
        inspection.refuse(path, repr(given), f"give a mapping with {' and '.join(DIRECTIONS)}")
        return {}
    inspection.unknown(path, map(str, given), DIRECTIONS)
    found = {}
    for direction in DIRECTIONS:
        ports, here = given.get(direction, DEFAULTS[direction]), f"{path}.{direction}"
        if ports == NONE:
            ports = []
        elif ports in ([], None, ""):
            wanted = f"name ports, or write {direction}: {NONE} if a policy may close every one of them"
            inspection.refuse(here, "no ports", wanted)
            ports = []
        found[direction] = inspect_ports(inspection, here, ports)
    return found


def inspect_ports(inspection: Inspection, path: str, ports: Any) -> list[str]:
    """A list of ports such as tcp/22."""
    if not isinstance(ports, list):
        inspection.refuse(path, repr(ports), f"give a list of ports such as tcp/22, or the word {NONE}")
        return []
    for position, text in enumerate(ports):
        if _port(text) is None:
            wanted = f"write it as tcp/22: tcp, udp or sctp, and 1 to {MAX_PORT}"
            inspection.refuse(f"{path}[{position}]", repr(text), wanted)
    return list(map(str, ports))


def inspect_needs(inspection: Inspection, path: str, needs: Any) -> list[str]:
    """Ports of tunnels such as udp/4789, and ipip."""
    if not isinstance(needs, list):
        inspection.refuse(path, repr(needs), f"give a list of ports such as udp/4789, and {IPIP}")
        return []
    for position, text in enumerate(needs):
        if text != IPIP and _port(text) is None:
            inspection.refuse(f"{path}[{position}]", repr(text), f"write it as udp/4789, or as {IPIP}")
    return list(map(str, needs))


def read(item: Mapping[str, Any]) -> tuple[dict[str, tuple[PortRange, ...]], Needs]:
    """The failsafe ports by direction, and what the network needs, of a declaration.

    :raises DeclarationError: somebody has edited it since
    """
    try:
        ports = {direction: _ranges(item["failsafe"][direction]) for direction in DIRECTIONS}
        return ports, Needs(_ranges(each for each in item["needs"] if each != IPIP), IPIP in item["needs"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DeclarationError(f"the declaration holds no failsafe ports ({error}); run the playbook again") from error


def _ranges(texts: Any) -> tuple[PortRange, ...]:
    found = set()
    for text in texts:
        port = _port(text)
        if port is None:
            raise ValueError(f"{text!r} is no port")
        found.add(port)
    return tuple(sorted(found))


def _port(text: Any) -> PortRange | None:
    match = _PORT.match(text) if isinstance(text, str) else None
    if match is None or not 1 <= int(match[2]) <= MAX_PORT:
        return None
    return PortRange(match[1], int(match[2]), int(match[2]))
