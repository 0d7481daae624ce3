# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""WireGuard: a device with a key made on the node, its peers by their public keys, and routes through the device.

Which peer a packet goes to, and whose packets are let in, is told by the peers' prefixes (cryptokey routing), so the
routes need no gateway and all share one next hop.

Keys are changed by a second device that takes turns with the first: devices of odd generation bear the name alone and
the port as given, devices of even generation a 2 behind the name and the next port. The one of the highest generation
that does not stand by carries the packets; both receive.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils import wireguard_keys
from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.links import LINKS, Device, name_conflicts, owned
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.netlink_objects import (
    ADDRESSES,
    NEXTHOPS,
    ROUTES,
    RT_TABLE_MAIN,
)
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.wireguard import (
    INTERFACES,
    KEYS,
    PEERS,
    Interface,
    Peer,
    observe,
)
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.wireguard import KEY_LENGTH
from ansible_collections.podnet.fabric.plugins.module_utils.overhead import BYTES
from ansible_collections.podnet.fabric.plugins.module_utils.ownership import alias
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Target
from ansible_collections.podnet.fabric.plugins.module_utils.resources import peers as peering
from ansible_collections.podnet.fabric.plugins.module_utils.resources import tunnel
from ansible_collections.podnet.fabric.plugins.module_utils.resources.bridge import (
    inspect_addresses,
    interface_addresses,
    wanted_addresses,
)

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Items
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
    from ansible_collections.podnet.fabric.plugins.module_utils.resources.routing import Via

NAME = "wireguard"


class Wireguard:
    """See the module's documentation for the parameters."""

    name = NAME
    rank = 40
    facilities = (KEYS, LINKS, INTERFACES, PEERS, ADDRESSES, NEXTHOPS, ROUTES)

    def normalise(
        self, name: str, params: Mapping[str, Any], former: dict[str, Any] | None, host: Host
    ) -> dict[str, Any]:
        inspection = Inspection()
        inspection.interface("name", name)
        inspection.integer("port", params["port"], 1, 65535)
        inspection.integer("generation", params["generation"], 1, 2**31)
        # With one next hop for all routes there is nothing to gain by an object for it.
        item = {
            **tunnel.normal(inspection, {**params, "nexthop_objects": "never"}, BYTES[NAME], host),
            "port": params["port"],
            "generation": params["generation"],
            "addresses": inspect_addresses(inspection, params.get("addresses") or []),
        }
        _add_keys(inspection, item["peers"], params.get("public_keys") or {}, former or {})
        inspection.conclude()
        return item

    def target(self, items: Items, former: Items, host: Host) -> Target:
        links = owned(host, NAME)
        keys = wireguard_keys.observe(items)
        interfaces, peers = observe(links)
        current: dict[str, Any] = {
            KEYS.name: {**{name: wireguard_keys.Key(name, "") for name in wireguard_keys.names()}, **keys},
            "links": links,
            INTERFACES.name: interfaces,
            PEERS.name: peers,
            "addresses": interface_addresses(host, list(links)),
        }
        desired: dict[str, Any] = {facility.name: {} for facility in self.facilities}
        conflicts = name_conflicts(host, NAME, list(items), "podnet_wireguard_device")
        for name, item in items.items():
            public = keys[name].public_key if name in keys else ""
            desired[KEYS.name][name] = wireguard_keys.Key(name, public)
            desired["links"][name] = Device(name, NAME, alias(NAME), item["mtu"], "", True, "", ())
            desired[INTERFACES.name][name] = Interface(name, public, item["port"])
            desired[PEERS.name].update(_peers(name, item))
            desired["addresses"].update(wanted_addresses(name, item["addresses"]))
            conflicts += _clones(item, public)
        name, item = carrying(items)
        vias = _vias(name, item) if item else []
        found = tunnel.routing(host, NAME, {*links, *items}, {name: item} if item else items, vias)
        return Target(
            {**current, **found.current},
            {**desired, **found.desired},
            [*conflicts, *found.conflicts],
            [*found.notes, *_strangers(items)],
        )


def device_of(name: str, generation: int) -> str:
    """The name of the device of a generation."""
    return name if generation % 2 else f"{name}2"


def port_of(port: int, generation: int) -> int:
    """The UDP port of the device of a generation."""
    return port if generation % 2 else port + 1


def carrying(items: Items) -> tuple[str, dict[str, Any]]:
    """The item through whose device the routes lead, with its name; empty ones when all stand by."""
    active = [(item["generation"], name) for name, item in items.items() if not item["standby"]]
    if not active:
        return "", {}
    name = max(active)[1]
    return name, items[name]


def own_key(name: str, generation: int | None, items: Items, check: bool) -> tuple[bool, int, wireguard_keys.Key]:
    """Make the private key of a device where it has none: whether it had none, the generation, what may be known of it.

    :param generation: None for that of the device that carries the packets; the first one where none does
    :param check: make nothing; the public key of what is not there is empty
    """
    if generation is None:
        generation = carrying(items)[1].get("generation", 1)
    device = device_of(name, generation)
    holding = items.get(device, {}).get("generation", generation)
    if holding != generation:
        raise PodnetError(
            f"{device} still holds the keys of generation {holding}, where those of generation {generation} should go; "
            "run role wireguard on all nodes first: it ends the change of keys that was broken off"
        )
    found = wireguard_keys.observe([device])
    missing = device not in found
    if missing and not check:
        wireguard_keys.make(device)
        found = wireguard_keys.observe([device])
    return missing, generation, found.get(device) or wireguard_keys.Key(device, "")


def _add_keys(inspection: Inspection, peers: list[dict[str, Any]], told: Any, former: Mapping[str, Any]) -> None:
    """Put the peers' public keys to them: those told now, and for peers that were not asked the ones known before."""
    if isinstance(told, str):
        told = _parsed(told)
    if not isinstance(told, dict):
        inspection.refuse("public_keys", f"{told!r:.80}", "give a mapping from node to public key")
        told = {}
    known = {peer.get("name"): peer.get("public_key") for peer in former.get("peers", ())}
    seen: dict[str, str] = {}
    for position, peer in enumerate(peers):
        name = str(peer["name"])
        if peer.get("direct"):
            inspection.refuse(f"peers[{position}].direct", "true", "packets that go past the tunnel are not encrypted")
        key = told.get(name) or known.get(name)
        if not key:
            continue
        if _unpacked(key) is None:
            inspection.refuse(f"public_keys.{name}", f"{key!r:.80}", "give 32 bytes in base64, as wg pubkey does")
            continue
        peer["public_key"] = key
        if seen.setdefault(key, name) != name:
            inspection.refuse(f"public_keys.{name}", f"the key of {seen[key]}", _clone_advice(name))


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _unpacked(key: Any) -> bytes | None:
    try:
        packed = base64.b64decode(key, validate=True)
    except (binascii.Error, TypeError, ValueError):
        return None
    return packed if len(packed) == KEY_LENGTH and base64.b64encode(packed).decode() == key else None


def _clone_advice(name: str) -> str:
    return (
        f"one of them is a copy of the other's disk: remove {wireguard_keys.DIRECTORY} on {name} and run the playbook "
        "on all nodes"
    )


def _clones(item: Mapping[str, Any], public: str) -> list[str]:
    return [
        f"peer {peer['name']} has this node's own public key {public}; {_clone_advice(peer['name'])}"
        for peer in item["peers"]
        if public and peer.get("public_key") == public
    ]


def _strangers(items: Items) -> list[str]:
    """A note on the peers that nobody knows a key of: they are left out, for packets to them would have no way."""
    names = sorted({str(peer["name"]) for item in items.values() for peer in item["peers"] if "public_key" not in peer})
    if not names:
        return []
    return [
        f"left out, as their public keys are not known yet: {', '.join(names)}; the run that sets them up together "
        "with this node brings them in"
    ]


def _peers(name: str, item: Mapping[str, Any]) -> dict[Hashable, Peer]:
    """A peer per node that a key is known of, with its blocks as prefixes."""
    wanted: dict[Hashable, Peer] = {}
    for peer in item["peers"]:
        if "public_key" in peer:
            blocks = peering.pack([peer])
            prefixes = tuple(sorted(block[:3] for block in blocks))
            endpoint = blocks[0].underlay
            wanted[name, peer["public_key"]] = Peer(name, peer["public_key"], endpoint, item["port"], prefixes)
    return wanted


def _vias(name: str, item: Mapping[str, Any]) -> list[Via]:
    known = [peer for peer in item["peers"] if "public_key" in peer]
    return [
        (family, dst, length, b"", name, 0, 0, RT_TABLE_MAIN, None)
        for family, dst, length, *_rest in peering.pack(known)
    ]


KIND = Wireguard()
