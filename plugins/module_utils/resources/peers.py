# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The other nodes as a tunnel sees them: underlay address, VTEP MAC, blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from socket import inet_pton
from typing import Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.errors import DeclarationError
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import AF_INET, AF_INET6, Inspection, packed_ip

FIELDS = ("name", "underlay", "mac", "blocks")


class Packed(NamedTuple):
    """Peers ready for the kernel, a column per field; in ``blocks`` a row per block.

    A row has address family, packed address, prefix length, packed gateway (the address of the peer's first block of
    that family) and the peer's packed MAC.
    """

    underlays: list[bytes]
    macs: list[bytes]
    blocks: list[tuple[int, bytes, int, bytes, bytes]]


def inspect(inspection: Inspection, peers: Any, local: Any) -> list[dict[str, Any]]:
    """Note what is wrong with a list of peers and give it in its normal form, sorted by name.

    :param local: the node's own underlay address: a peer has another one, of the same family
    """
    if not isinstance(peers, list):
        inspection.refuse("peers", f"{type(peers).__name__}", "give a list of peers")
        return []
    seen: dict[tuple[str, Any], str] = {}
    normal = []
    own = packed_ip(local) or b""
    for position, peer in enumerate(peers):
        path = f"peers[{position}]"
        if not isinstance(peer, Mapping) or any(field not in peer for field in FIELDS):
            inspection.refuse(path, repr(peer)[:80], f"give a peer with {', '.join(FIELDS)}")
            continue
        inspection.unknown(path, peer, FIELDS)
        underlay = inspection.ip(f"{path}.underlay", peer["underlay"])
        if underlay is not None and own and len(underlay) != len(own):
            inspection.refuse(
                f"{path}.underlay", str(peer["underlay"]), f"the node's own {local} is of the other family"
            )
        mac = inspection.mac(f"{path}.mac", peer["mac"])
        blocks = peer["blocks"] if isinstance(peer["blocks"], list) else []
        if not blocks:
            inspection.refuse(f"{path}.blocks", repr(peer["blocks"]), "give a list of at least one prefix")
        for number, block in enumerate(blocks):
            if inspection.network(f"{path}.blocks[{number}]", block):
                _once(inspection, seen, f"{path}.blocks[{number}]", "block", block)
        _once(inspection, seen, f"{path}.name", "name", peer["name"])
        if underlay is not None:
            if underlay == own:
                inspection.refuse(f"{path}.underlay", str(peer["underlay"]), "this is the node's own address (local)")
            _once(inspection, seen, f"{path}.underlay", "underlay", peer["underlay"])
        _once(inspection, seen, f"{path}.mac", "mac", mac)
        normal.append({"name": peer["name"], "underlay": peer["underlay"], "mac": mac, "blocks": list(blocks)})
    return sorted(normal, key=lambda peer: str(peer["name"]))


def _once(inspection: Inspection, seen: dict[tuple[str, Any], str], path: str, sort: str, value: Any) -> None:
    first = seen.setdefault((sort, str(value)), path)
    if first != path:
        inspection.refuse(path, str(value), f"the same as {first}")


def pack(peers: Sequence[Mapping[str, Any]]) -> Packed:
    """Peers in their normal form, ready for the kernel.

    :raises DeclarationError: somebody has edited the declaration since they were inspected
    """
    try:
        macs = [bytes.fromhex(peer["mac"].replace(":", "")) for peer in peers]
        underlays = [_packed_ip(peer["underlay"]) for peer in peers]
        blocks: list[tuple[int, bytes, int, bytes, bytes]] = []
        for mac, peer in zip(macs, peers):
            gateway4 = gateway6 = b""
            for text in peer["blocks"]:
                head, _slash, length = text.partition("/")
                if ":" in head:
                    address = inet_pton(AF_INET6, head)
                    gateway6 = gateway6 or address
                    blocks.append((AF_INET6, address, int(length), gateway6, mac))
                else:
                    address = inet_pton(AF_INET, head)
                    gateway4 = gateway4 or address
                    blocks.append((AF_INET, address, int(length), gateway4, mac))
    except (KeyError, ValueError, TypeError, AttributeError, OSError) as error:
        raise DeclarationError(f"the declaration holds a bad peer ({error!r}); run the playbook again") from error
    return Packed(underlays, macs, blocks)


def _packed_ip(text: str) -> bytes:
    return inet_pton(AF_INET6 if ":" in text else AF_INET, text)
