# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How BGP is on a node: its sessions, the routes it heard, and what is missing of both."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.bgp import instance
from ansible_collections.podnet.fabric.plugins.module_utils.bgp.birdc import Control, read_protocols, read_routes
from ansible_collections.podnet.fabric.plugins.module_utils.bgp.config import family_of
from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.bird import bird_routes
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.netlink_objects import RTN_UNICAST
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import declared_network

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.bgp.birdc import Protocol
    from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.route import Route

ESTABLISHED = "Established"
_PAUSE = 0.2


def wait(host: Host, declarations: Declarations, seconds: float) -> dict[str, Any]:
    """Look until all that is declared is there, or for so long; gives what was seen last."""
    deadline = time.monotonic() + seconds
    while True:
        seen = describe(host, declarations)
        if not seen["problems"] or time.monotonic() >= deadline:
            return seen
        time.sleep(_PAUSE)


def describe(host: Host, declarations: Declarations) -> dict[str, Any]:
    """What the module returns; see its documentation."""
    item = next(iter(declarations.read("bgp").values()), None)
    running, protocols, routes, trouble = _ask()
    found = {protocol.name: protocol for protocol in protocols}
    declared = item["sessions"] if item else []
    sessions = [_session(entry, found.get(entry["name"])) for entry in declared]
    missing = _missing(item, bird_routes(host).values()) if item else []
    problems = [trouble] if trouble and item else []
    if not problems:
        problems += [_down(session) for session in sessions if session["state"] != ESTABLISHED]
        problems += [f"no route to {entry['block']} of {entry['peer']} has come by BGP" for entry in missing]
    return {
        "declared": item is not None,
        "running": running,
        "router_id": item["router_id"] if item else None,
        "asn": item["asn"] if item else None,
        "sessions": sessions,
        "routes": [route for route in routes if route["session"] in {entry["name"] for entry in declared}],
        "missing": missing,
        "problems": problems,
    }


def _ask() -> tuple[bool, list[Protocol], list[dict[str, Any]], str]:
    """Whether our BIRD runs, its protocols, its routes, and why these two are empty."""
    if not instance.processes():
        return False, [], [], "BIRD does not run; run site.yml"
    try:
        with Control(str(instance.SOCKET)) as control:
            protocols = read_protocols(control.ask("show protocols all"))
            routes = read_routes(control.ask("show route"))
    except PodnetError as error:
        return True, [], [], str(error)
    return True, protocols, routes, ""


def _session(entry: Mapping[str, Any], found: Protocol | None) -> dict[str, Any]:
    family = family_of(entry["address"])
    details = found.details if found else {}
    counts = found.channels.get(f"ipv{family}", {}) if found else {}
    return {
        "name": entry["name"],
        "peer": entry["peer"],
        "neighbour": entry["address"],
        "family": family,
        "asn": entry["asn"],
        "relation": entry["relation"],
        "state": details.get("BGP state", "absent"),
        "since": found.since if found else None,
        "imported": counts.get("imported", 0),
        "exported": counts.get("exported", 0),
        "password": bool(entry["secret"]),
        "error": details.get("Last error"),
    }


def _down(session: Mapping[str, Any]) -> str:
    why = f", last error: {session['error']}" if session["error"] else ""
    return f"session {session['name']} with {session['peer']} ({session['neighbour']}) is {session['state']}{why}"


def _missing(item: Mapping[str, Any], routes: Iterable[Route]) -> list[dict[str, str]]:
    """The peers' blocks that no route of BIRD in the kernel covers."""
    covered: dict[tuple[int, int], set[int]] = {}
    for route in routes:
        if route.type == RTN_UNICAST:
            key = (route.family, route.prefixlen)
            covered.setdefault(key, set()).add(_number(route.dst, route.prefixlen))
    return [
        {"peer": peer["name"], "block": block}
        for peer in item["peers"]
        for block in peer["blocks"]
        if not _covers(covered, *declared_network(block))
    ]


def _covers(covered: Mapping[tuple[int, int], set[int]], family: int, address: bytes, length: int) -> bool:
    return any(
        _number(address, shorter) in numbers
        for (other, shorter), numbers in covered.items()
        if other == family and shorter <= length
    )


def _number(address: bytes, length: int) -> int:
    return int.from_bytes(address, "big") >> (8 * len(address) - length)
