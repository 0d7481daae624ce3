# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes by BGP (RFC 4271): a BIRD of our own tells the node's blocks and puts what it hears into the kernel.

Passwords are no part of the declaration; they come with the module's call, and from the file that an earlier one wrote.
"""

from __future__ import annotations

import hashlib
import ipaddress
import time
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.bgp import instance, speakers
from ansible_collections.podnet.fabric.plugins.module_utils.bgp.birdc import Control, is_recovering, read_protocols
from ansible_collections.podnet.fabric.plugins.module_utils.bgp.config import (
    families,
    family_of,
    render,
    render_secrets,
)
from ansible_collections.podnet.fabric.plugins.module_utils.bgp.listeners import strangers
from ansible_collections.podnet.fabric.plugins.module_utils.bgp.signature import signs
from ansible_collections.podnet.fabric.plugins.module_utils.errors import Conflict, PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import files
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.bird import (
    BIRD_FILES,
    INSTANCES,
    SECRETS,
    Instance,
    Secrets,
    bird_routes,
    constants,
    observe_secrets,
)
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.files import File
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.netlink_objects import ROUTES, RTN_UNICAST
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import (
    AF_INET,
    Inspection,
    declared_ip,
    declared_network,
    packed_ip,
)
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.address import dump_addresses
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Target
from ansible_collections.podnet.fabric.plugins.module_utils.resources.routing import observe

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Items
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.route import Route
    from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Facility

SHARED_SECRET = "podnet_password"  # noqa: S105 - the name of a constant

_LOOKS = (0.0, 0.2, 0.4, 0.8)
"""Seconds before each look at routes that seem to be missing."""


class Bgp:
    """See the module's documentation for the parameters.

    :param given: passwords by the names of their constants; None when this call brings none and those of the file stay
    """

    name = "bgp"
    rank = 40
    # The routes come first: they are taken away last, when BIRD has ended.
    facilities: Sequence[Facility] = (ROUTES, SECRETS, BIRD_FILES, INSTANCES)

    def __init__(self, given: Mapping[str, str] | None = None) -> None:
        self._given = given

    def normalise(
        self, name: str, params: Mapping[str, Any], former: dict[str, Any] | None, host: Host
    ) -> dict[str, Any]:
        inspection = Inspection()
        inspection.integer("asn", params["asn"], 1, speakers.MAX_AS)
        inspection.integer("port", params["port"], 1, 65535)
        for path in ("router_id", "cluster_id"):
            if params.get(path) and len((packed_ip(params[path]) or b"").strip(b"\0")) not in range(1, 5):
                inspection.refuse(path, params[path], "give four numbers such as 192.0.2.1")
        for path in ("blocks", "pools"):
            if not params[path]:
                inspection.refuse(path, "empty", "give at least one prefix")
            for position, text in enumerate(params[path]):
                inspection.network(f"{path}[{position}]", text)
        here = self._here(inspection, params, host)
        peers = speakers.inspect_peers(inspection, params["peers"], params["asn"])
        for position, neighbour in enumerate(params["neighbours"]):
            inspection.ip(f"neighbours[{position}].address", neighbour["address"])
            inspection.integer(f"neighbours[{position}].asn", neighbour["asn"], 1, speakers.MAX_AS)
        _inspect_passwords(inspection, params)
        inspection.conclude()
        sessions = speakers.sessions_of(inspection, here, peers, params["neighbours"])
        inspection.conclude()
        for session in sessions:
            session["secret"] = _secret_for(session["address"], self._given or {})
        return {
            "router_id": params.get("router_id") or _router_id(here.locals),
            "asn": params["asn"],
            "mode": params["mode"],
            "reflector": here.reflector,
            "cluster_id": params.get("cluster_id") or "",
            "port": params["port"],
            "routed": here.routed,
            "standby": bool(params.get("standby")),
            "blocks": list(params["blocks"]),
            "pools": list(params["pools"]),
            "sessions": sorted(sessions, key=lambda session: str(session["name"])),
            "peers": [{"name": peer["name"], "blocks": peer["blocks"]} for peer in peers],
            "made": former["made"] if former else files.missing_directories(str(instance.CONFIG)),
        }

    def _here(self, inspection: Inspection, params: Mapping[str, Any], host: Host) -> speakers.Here:
        held = [address for address in dump_addresses(host.netlink, host.names) if address.dev != "lo"]
        local: dict[int, str] = {}
        for path in ("local", "second_local"):
            text = params.get(path)
            packed = inspection.ip(path, text) if text else None
            if text is None or packed is None:
                continue
            if packed not in [address.address for address in held]:
                known = ", ".join(sorted(host.links))
                inspection.refuse(path, f"{text} is on no interface of this node", f"searched were {known}")
            local[family_of(text)] = text
        subnets = [speakers.subnet(address.address, address.prefixlen) for address in held]
        reflector = params["mode"] == speakers.REFLECTORS and bool(params["reflector"])
        return speakers.Here(
            params["asn"],
            params["mode"],
            reflector,
            local,
            subnets,
            params["blocks"],
            bool(params["routed"]),
            params["port"],
        )

    def target(self, items: Items, former: Items, host: Host) -> Target:
        item = next(iter(items.values()), None)
        made: list[str] = next((each["made"] for each in [*items.values(), *former.values()]), [])
        text, secrets = ("", {}) if item is None else self._wanted(item, made)
        paths = [str(path) for path in (instance.CONFIG, instance.UNIT)]
        wanted: dict[Hashable, File] = {}
        if item is not None:
            wanted[paths[0]] = File(paths[0], text, 0o644, tuple(made))
            if instance.supervised():
                wanted[paths[1]] = File(paths[1], instance.unit(), 0o644)
        routes = bird_routes(host)
        current: dict[str, Any] = {
            "secrets": observe_secrets(made),
            "files": files.observe({paths[0]: made, paths[1]: ()}),
            "instances": _observe(host, text, secrets, families(item["blocks"]) if item else []),
            "routes": _leftovers(routes, former) if item is None else _overtaken(host, item, routes),
        }
        config = str(instance.CONFIG)
        desired: dict[str, Any] = {
            "secrets": secrets,
            "files": wanted,
            "instances": {config: Instance(config)} if item else {},
            "routes": {},
        }
        return Target(current, desired, self._conflicts(item, [str(path) for path in wanted]))

    def _wanted(self, item: Mapping[str, Any], made: Sequence[str]) -> tuple[str, dict[Hashable, Secrets]]:
        """The text of the configuration, and the file with the passwords that it needs."""
        path = str(instance.SECRETS)
        text = render(speakers.speaker_of(item, path))
        names = {session["secret"] for session in item["sessions"] if session["secret"]}
        if not names:
            return text, {}
        there = next(iter(observe_secrets(made).values()), None)
        known: Mapping[str, str] = self._given if self._given is not None else constants(there.text if there else "")
        lacking = sorted(names - set(known))
        if lacking:
            raise Conflict(
                [f"{path}: lacks {name}, which a session needs; run the playbook that knows it" for name in lacking]
            )
        owner = instance.owner()
        content = render_secrets({name: known[name] for name in names})
        return text, {path: Secrets(path, content, 0o600, owner, tuple(made))}

    def _conflicts(self, item: Mapping[str, Any] | None, paths: Sequence[str]) -> list[str]:
        if item is None:
            return []
        found = files.conflicts([*paths, str(instance.SECRETS)])
        addresses = {declared_ip(session["local"]) for session in item["sessions"]}
        found += [
            f"{who} listens on port {item['port']}, where BGP neighbours call; end it, or set another podnet_bgp.port"
            for who in strangers(item["port"], addresses, instance.processes())
        ]
        return found


def family_of_route(route: Route) -> int:
    """4 or 6."""
    return 4 if route.family == AF_INET else 6


def _observe(
    host: Host, text: str, secrets: Mapping[Hashable, Secrets], wanted: Sequence[int]
) -> dict[Hashable, Instance]:
    seen = instance.status(instance.digest(text, "".join(entry.text for entry in secrets.values())))
    if not seen.running:
        return {}
    missing = _missing(host, wanted) if seen.answers else ()
    config = str(instance.CONFIG)
    return {config: Instance(config, seen.answers, seen.current, missing)}


def _missing(host: Host, wanted: Sequence[int]) -> tuple[int, ...]:
    """The families of which BIRD has given more routes to the kernel than are there.

    BIRD and the kernel are asked one after the other, so what comes and goes in between may look so, but not for long.
    """
    found: tuple[int, ...] = ()
    for pause in _LOOKS:
        time.sleep(pause)
        try:
            with Control(str(instance.SOCKET)) as control:
                if is_recovering(control.ask("show status")):
                    return ()  # it gives its routes to the kernel at the end of that
                protocols = {protocol.name: protocol for protocol in read_protocols(control.ask("show protocols all"))}
        except PodnetError:
            return ()
        installed = [family_of_route(route) for route in bird_routes(host).values()]
        given = {
            family: protocols[name].channels.get(f"ipv{family}", {}).get("exported", 0)
            for family in wanted
            if (name := f"podnet_kernel{family}") in protocols
        }
        found = tuple(family for family, count in given.items() if count > installed.count(family))
        if not found:
            return ()
    return found


def _leftovers(routes: Mapping[Hashable, Route], former: Items) -> dict[Hashable, Route]:
    """What a killed BIRD has left in the kernel; a running one takes it along when it ends."""
    pools = [ipaddress.ip_network(pool) for item in former.values() for pool in item["pools"]]
    if not pools:
        return dict(routes)
    return {key: route for key, route in routes.items() if _inside(route, pools)}


def _inside(route: Route, pools: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    prefix = ipaddress.ip_network((route.dst, route.prefixlen))
    return any(
        prefix.subnet_of(pool)  # type: ignore[arg-type]
        for pool in pools
        if pool.version == prefix.version
    )


def _overtaken(host: Host, item: Mapping[str, Any], routes: Mapping[Hashable, Route]) -> dict[Hashable, Route]:
    """Routes of ours to peers' blocks, by another dataplane, to which BIRD has a route by now: it takes over."""
    if item["standby"]:
        return {}
    blocks = {declared_network(block)[:3] for peer in item["peers"] for block in peer["blocks"]}
    heard = {route[:3] for route in routes.values()} & blocks
    if not heard:
        return {}
    return {
        key: route for key, route in observe(host).routes.items() if route.type == RTN_UNICAST and route[:3] in heard
    }


def _router_id(local: Mapping[int, str]) -> str:
    """The IPv4 address of the node, or four bytes out of its IPv6 address (RFC 6286: any number but zero)."""
    if 4 in local:
        return local[4]
    digest = hashlib.sha256(local[6].encode()).digest()
    return str(ipaddress.IPv4Address(bytes([digest[0] | 1]) + digest[1:4]))


def _inspect_passwords(inspection: Inspection, params: Mapping[str, Any]) -> None:
    """What is said of a password must not tell it."""
    passwords = {"password": params.get("password")}
    passwords.update((f"passwords['{address}']", text) for address, text in (params.get("passwords") or {}).items())
    for path, password in passwords.items():
        text = str(password or "")
        if '"' in text or not text.isprintable():
            inspection.refuse(path, "a quotation mark or a control character", "BIRD takes neither in a password")
        elif len(text.encode()) > speakers.MAX_PASSWORD:
            inspection.refuse(path, f"{len(text.encode())} bytes", f"give at most {speakers.MAX_PASSWORD}")
        elif text and not signs():
            inspection.refuse(path, "this kernel signs no TCP segments", "get one with CONFIG_TCP_MD5SIG, or use none")


def secrets_of(params: Mapping[str, Any]) -> dict[str, str]:
    """The passwords of a module's parameters, by the names of their constants; empty ones say that there is none."""
    found = {SHARED_SECRET: str(params.get("password") or "")}
    found.update((_constant(address), str(text or "")) for address, text in (params.get("passwords") or {}).items())
    return found


def _constant(address: str) -> str:
    return SHARED_SECRET + "_" + "".join(letter if letter.isalnum() else "_" for letter in address)


def _secret_for(address: str, given: Mapping[str, str]) -> str:
    """The constant for a neighbour: its own, else the one that all share; empty without a password."""
    name = _constant(address) if _constant(address) in given else SHARED_SECRET
    return name if given.get(name) else ""


KIND = Bgp()
