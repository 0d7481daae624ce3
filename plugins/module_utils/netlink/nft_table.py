# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether there is an nftables table (linux/netfilter/nf_tables.h): nft takes a hundred times as long to say so."""

from __future__ import annotations

import errno
import struct

from ansible_collections.podnet.fabric.plugins.module_utils.netlink.attributes import attribute
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.conntrack import open_netfilter
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.errors import NetlinkError

_GET_TABLE = 10 << 8 | 1  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETTABLE
_BODY = struct.Struct("=BBH")  # struct nfgenmsg: family, version, resource id
_NAME = 1  # NFTA_TABLE_NAME
_FAMILIES = {"inet": 1, "bridge": 7}  # NFPROTO_INET, NFPROTO_BRIDGE of linux/netfilter.h


def exists(table: str) -> bool:
    """Whether a table is there, or the kernel says something else than no: then nft has to tell.

    :param table: family (inet, bridge) and name, as nft has them
    """
    family, name = table.split(" ")
    try:
        with open_netfilter() as nl:
            nl.get(_GET_TABLE, _BODY.pack(_FAMILIES[family], 0, 0) + attribute(_NAME, name.encode() + b"\0"))
    except NetlinkError as error:
        return error.errno != errno.ENOENT
    return True
