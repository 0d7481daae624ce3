# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the declarations say of an address: whose it is, and how packets to it should travel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.netlink_objects import ip_text
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import declared_network, packed_ip
from ansible_collections.podnet.fabric.plugins.module_utils.ownership import DATAPLANES
from ansible_collections.podnet.fabric.plugins.module_utils.resources.peers import pack

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Items

PLAIN = "plain"
"""Without a tunnel: the packet is on the underlay as the pod has made it."""


class Claim(NamedTuple):
    """What is declared of one block of a peer."""

    kind: str  # one of DATAPLANES
    item: str  # its name in the declaration
    peer: str
    tunnel: str  # as probe/decode.py names it, or PLAIN
    outer: str  # where the outer packet should go: the peer's underlay address; empty when nobody says
    vni: int | None
    port: int | None
    underlay: str  # interface


class Claims(NamedTuple):
    """All of them. A block has two while a node moves from one dataplane to another."""

    # By address length in bytes, prefix length, and the prefix as a number without its host bits.
    blocks: Mapping[tuple[int, int, int], Sequence[Claim]]
    lengths: Mapping[int, Sequence[int]]  # the prefix lengths there are, longest first, by address length
    peers: Mapping[str, str]  # names, by the address that packets to them should go to


def active(declared: Mapping[str, Items]) -> dict[str, Items]:
    """The dataplanes that are declared to carry packets: not those that stand by."""
    found = {
        kind: {name: item for name, item in declared.get(kind, {}).items() if not item.get("standby")}
        for kind in DATAPLANES
    }
    return {kind: items for kind, items in found.items() if items}


def describe(declared: Mapping[str, Items]) -> list[dict[str, Any]]:
    """Every declared dataplane: kind, name, whether it stands by, peers, VNI, port, underlay, local."""
    return [
        {
            "kind": kind,
            "name": name,
            "standby": bool(item.get("standby")),
            "peers": len(item.get("peers") or ()),
            "vni": item.get("vni"),
            "port": item.get("port"),
            "underlay": item.get("underlay") or None,
            "local": item.get("local"),
        }
        for kind in DATAPLANES
        for name, item in sorted(declared.get(kind, {}).items())
    ]


def index(declared: Mapping[str, Items]) -> Claims:
    """Every block of every peer.

    :raises DeclarationError: somebody has edited a declaration
    """
    found: dict[tuple[int, int, int], list[Claim]] = {}
    for kind, items in active(declared).items():
        for name, item in items.items():
            for peer in item.get("peers") or ():
                for key, claim in _of_peer(kind, name, item, peer):
                    found.setdefault(key, []).append(claim)
    lengths = {
        size: sorted({length for of_size, length, _prefix in found if of_size == size}, reverse=True)
        for size in (4, 16)
    }
    return Claims(found, lengths, {claim.outer: claim.peer for each in found.values() for claim in each if claim.outer})


def _of_peer(kind: str, name: str, item: Mapping[str, Any], peer: Any) -> Iterator[tuple[tuple[int, int, int], Claim]]:
    underlay = str(item.get("underlay") or "")
    if kind == "bgp":
        # Where a BGP route leads is the routers' business, so nothing is declared of it.
        for _family, dst, length in map(declared_network, peer.get("blocks") or ()):
            claim = Claim(kind, name, str(peer.get("name")), PLAIN, "", None, None, underlay)
            yield (len(dst), length, _prefix(dst, length)), claim
        return
    for block in pack([peer]):
        size = len(block.dst)
        direct = block.direct or kind == "host_gw"
        tunnel = PLAIN if direct else "ip6ip6" if kind == "ipip" and size == 16 else kind
        # Direct routes and IP in IP go to the peer's address of the block's own family.
        outer = block.outer if direct or kind == "ipip" else block.underlay
        numbers = (None, None) if direct else (item.get("vni"), item.get("port"))
        claim = Claim(kind, name, str(peer["name"]), tunnel, ip_text(outer), *numbers, underlay)
        yield (size, block.length, _prefix(block.dst, block.length)), claim


def of(claims: Claims, address: str) -> Sequence[Claim]:
    """The claims of the longest block that the address lies in."""
    packed = packed_ip(address) or b""
    keys = ((len(packed), length, _prefix(packed, length)) for length in claims.lengths.get(len(packed), ()))
    return next((claims.blocks[key] for key in keys if key in claims.blocks), ())


def gateways(claims: Claims) -> Iterator[str]:
    """The address of each block that its node's bridge bears: the first one behind the network's own."""
    for size, length, prefix in claims.blocks:
        if length < 8 * size:
            yield ip_text(((prefix << (8 * size - length)) + 1).to_bytes(size, "big"))


def in_pool(address: str, declared: Mapping[str, Items]) -> bool:
    """Whether an address is of the pod network."""
    packed = packed_ip(address) or b""
    pools = [
        declared_network(pool["cidr"]) for item in declared.get("ipam_pool", {}).values() for pool in item["pools"]
    ]
    return any(
        len(pool.address) == len(packed) and _prefix(packed, pool.prefixlen) == _prefix(pool.address, pool.prefixlen)
        for pool in pools
    )


def _prefix(packed: bytes, length: int) -> int:
    return int.from_bytes(packed, "big") >> (8 * len(packed) - length)
