# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who speaks with whom: from a node's peers and neighbours to its sessions, one per neighbour and address family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.bgp.config import (
    CLIENT,
    EXTERNAL,
    INTERNAL,
    PORT,
    Session,
    Speaker,
    families,
    family_of,
    symbol,
)
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import network, packed_ip

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection

MESH, REFLECTORS, TOP_OF_RACK = MODES = ("mesh", "reflectors", "top_of_rack")
MAX_AS = (1 << 32) - 1
MAX_PASSWORD = 80
"""Bytes (TCP_MD5SIG_MAXKEYLEN of linux/tcp.h)."""

PEER_FIELDS = ("name", "underlay", "blocks")
# "mac" and "direct" are in what the filter peers gives, and mean nothing here.
_PEER_EXTRAS = ("second", "asn", "reflector", "mac", "direct")
_SHOWN = 4


class Here(NamedTuple):
    """The node itself."""

    asn: int
    mode: str
    reflector: bool
    locals: Mapping[int, str]  # its underlay addresses, by family
    subnets: Sequence[tuple[int, int, int]]  # that are on-link: bits of an address, prefix length, number
    blocks: Sequence[str]
    routed: bool  # whether routers know the blocks
    port: int = PORT

    def on_link(self, address: str) -> bool:
        """Whether an address is in a subnet of the node."""
        packed = packed_ip(address) or b""
        number = int.from_bytes(packed, "big")
        return any(
            bits == 8 * len(packed) and number >> (bits - length) == prefix for bits, length, prefix in self.subnets
        )


def subnet(address: bytes, length: int) -> tuple[int, int, int]:
    """A subnet as Here has it."""
    bits = 8 * len(address)
    return bits, length, int.from_bytes(address, "big") >> (bits - length)


def inspect_peers(inspection: Inspection, peers: Any, own_asn: int) -> list[dict[str, Any]]:
    """The other nodes in their normal form, by name; what is wrong is noted."""
    if not isinstance(peers, list):
        inspection.refuse("peers", type(peers).__name__, "give a list of peers")
        return []
    normal = []
    for position, peer in enumerate(peers):
        path = f"peers[{position}]"
        if not isinstance(peer, Mapping) or any(field not in peer for field in PEER_FIELDS):
            inspection.refuse(path, repr(peer)[:80], f"give a peer with {', '.join(PEER_FIELDS)}")
            continue
        inspection.unknown(path, peer, (*PEER_FIELDS, *_PEER_EXTRAS))
        addresses = {}
        for key in ("underlay", "second"):
            if peer.get(key) is not None and inspection.ip(f"{path}.{key}", peer[key]) is not None:
                addresses[family_of(peer[key])] = peer[key]
        blocks = peer["blocks"] if isinstance(peer["blocks"], list) else []
        for number, block in enumerate(blocks):
            inspection.network(f"{path}.blocks[{number}]", block)
        asn = peer.get("asn") or own_asn
        inspection.integer(f"{path}.asn", asn, 1, MAX_AS)
        normal.append(
            {
                "name": str(peer["name"]),
                "addresses": addresses,
                "asn": asn,
                "reflector": bool(peer.get("reflector")),
                "blocks": [block for block in blocks if network(block)],
            }
        )
    return sorted(normal, key=lambda peer: str(peer["name"]))


def sessions_of(
    inspection: Inspection, here: Here, peers: Sequence[Mapping[str, Any]], neighbours: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The sessions, as the declaration has them; what keeps them from being is noted."""
    found: list[dict[str, Any]] = []
    wanted = families(here.blocks)
    for family in wanted:
        if family not in here.locals:
            inspection.refuse(
                "second_local",
                f"none, and the node has blocks of IPv{family} but no underlay address of that family",
                f"give the node an IPv{family} address on the underlay (podnet_underlay.second_address), or take the "
                f"IPv{family} pools away: BGP has one session per family",
            )
    spoken_to = [peer for peer in peers if _speaks(here, peer)]
    _refuse_lonely(inspection, here, peers, neighbours, spoken_to)
    for peer in spoken_to:
        for family in wanted:
            if family in peer["addresses"] and family in here.locals:
                found.append(
                    _session(here, peer["name"], peer["addresses"][family], peer["asn"], _relation(here, peer))
                )
            elif family in families(peer["blocks"]):
                inspection.refuse(
                    "peers",
                    f"{peer['name']} has blocks of IPv{family} but no underlay address of that family",
                    "set its podnet_underlay.second_address",
                )
    for neighbour in neighbours:
        if family_of(neighbour["address"]) in here.locals:
            relation = INTERNAL if neighbour["asn"] == here.asn else EXTERNAL
            entry = _session(here, neighbour["name"], neighbour["address"], neighbour["asn"], relation)
            entry["port"] = neighbour.get("port") or PORT
            found.append(entry)
    if here.mode != TOP_OF_RACK and not here.routed:
        _refuse_far(inspection, here, peers)
    _refuse_twins(inspection, found)
    return found


def _refuse_twins(inspection: Inspection, sessions: Sequence[Mapping[str, Any]]) -> None:
    """BIRD takes one session of a name; and two with one address would take turns."""
    for key, cure in (("name", "rename one of them"), ("address", "take one of them out")):
        seen: set[str] = set()
        for session in sessions:
            if session[key] in seen:
                inspection.refuse(
                    "neighbours", f"{session['peer']} has the {key} {session[key]} of another session", cure
                )
            seen.add(session[key])


def _speaks(here: Here, peer: Mapping[str, Any]) -> bool:
    if here.mode == REFLECTORS:
        return here.reflector or bool(peer["reflector"])
    return here.mode == MESH


def _relation(here: Here, peer: Mapping[str, Any]) -> str:
    if peer["asn"] != here.asn:
        return EXTERNAL
    return CLIENT if here.mode == REFLECTORS and here.reflector and not peer["reflector"] else INTERNAL


def _session(here: Here, name: str, address: str, asn: int, relation: str) -> dict[str, Any]:
    family = family_of(address)
    return {
        "name": symbol(name, family),
        "peer": name,
        "local": here.locals[family],
        "address": address,
        "asn": asn,
        "relation": relation,
        "on_link": here.on_link(address),
        "secret": "",
        "port": here.port,
    }


def _refuse_lonely(
    inspection: Inspection,
    here: Here,
    peers: Sequence[Mapping[str, Any]],
    neighbours: Sequence[Mapping[str, Any]],
    spoken_to: Sequence[Mapping[str, Any]],
) -> None:
    if here.mode == REFLECTORS and peers and not spoken_to:
        inspection.refuse(
            "mode",
            "reflectors, and neither this node nor one of its peers is one",
            "set podnet_bgp_node.reflector: true on one node, better on two",
        )
    if here.mode == TOP_OF_RACK:
        for family in families(here.blocks):
            if family not in families([neighbour["address"] for neighbour in neighbours]):
                inspection.refuse(
                    "neighbours",
                    f"none with an IPv{family} address",
                    f"name the routers that this node tells its IPv{family} blocks to (podnet_bgp_node.peers)",
                )


def _refuse_far(inspection: Inspection, here: Here, peers: Sequence[Mapping[str, Any]]) -> None:
    """Routers between two nodes drop what they have no route for."""
    far = [
        f"{peer['name']} ({address})"
        for peer in peers
        for family, address in peer["addresses"].items()
        if family in here.locals and not here.on_link(address)
    ]
    if far:
        shown = ", ".join(far[:_SHOWN]) + (f" and {len(far) - _SHOWN} more" if len(far) > _SHOWN else "")
        inspection.refuse(
            "peers",
            f"{shown}: in no subnet of this node, whose routers know nothing of the pods",
            "set podnet_bgp.mode to top_of_rack and name the routers in podnet_bgp_node.peers; or, when the routers "
            "have routes to all blocks, set podnet_bgp.routed: true; or choose podnet_dataplane vxlan, geneve, ipip or "
            "wireguard",
        )


def speaker_of(item: Mapping[str, Any], secrets_file: str) -> Speaker:
    """What a declared item has BIRD do."""
    sessions = tuple(
        Session(
            entry["name"],
            entry["local"],
            entry["address"],
            entry["asn"],
            entry["relation"],
            entry["on_link"],
            entry["secret"],
            entry["port"],
        )
        for entry in item["sessions"]
    )
    return Speaker(
        item["router_id"],
        item["asn"],
        tuple(item["blocks"]),
        tuple(item["pools"]),
        sessions,
        item["reflector"],
        item["cluster_id"],
        item["port"],
        item["routed"],
        secrets_file if any(session.secret for session in sessions) else "",
    )
