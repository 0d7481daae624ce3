# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The names of the IP sets (linux/netfilter/ipset/ip_set.h)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.netlink.attributes import (
    MESSAGE,
    attribute,
    attributes,
    text_of,
)

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.connection import Netlink

_LIST = 6 << 8 | 7  # NFNL_SUBSYS_IPSET, IPSET_CMD_LIST
_BODY = b"\2\0\0\0"  # struct nfgenmsg: AF_INET, version, resource id
_PROTOCOL, _NAME, _FLAGS = 1, 2, 6
_OLDEST = b"\6"  # IPSET_PROTOCOL_MIN
_NAMES_ONLY = (2).to_bytes(4, "big")  # IPSET_FLAG_LIST_SETNAME
_BIG_ENDIAN = 0x4000  # NLA_F_NET_BYTEORDER


def dump_names(nl: Netlink) -> list[str]:
    """All of them, of a netfilter socket."""
    asked = attribute(_PROTOCOL, _OLDEST) + attribute(_FLAGS | _BIG_ENDIAN, _NAMES_ONLY)
    return [
        text_of(attributes(block.data, start + MESSAGE.size + len(_BODY), start + block.length).get(_NAME))
        for block in nl.dump(_LIST, _BODY + asked)
        for start in range(0, len(block.data), block.stride)
    ]
