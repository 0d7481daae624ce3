# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Generic netlink: subsystems that the kernel numbers when they are loaded (linux/genetlink.h)."""

from __future__ import annotations

import errno
import struct

from ansible_collections.podnet.fabric.plugins.module_utils.netlink.attributes import (
    MESSAGE,
    attribute,
    attributes,
    number_of,
    text,
)
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.connection import Netlink
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.errors import NetlinkError, ProtocolError

NETLINK_GENERIC = 16  # linux/netlink.h; the socket module does not know it
NLA_F_NESTED = 0x8000
# struct genlmsghdr: command, version, (reserved).
BODY = struct.Struct("=BBH")

_GENL_ID_CTRL = 16
_CTRL_CMD_GETFAMILY = 3
_CTRL_ATTR_FAMILY_ID = 1
_CTRL_ATTR_FAMILY_NAME = 2


def open_generic() -> Netlink:
    """A generic netlink socket, for any of the families."""
    return Netlink(NETLINK_GENERIC)


def family_id(nl: Netlink, name: str) -> int:
    """The number of a family; the kernel loads its module where it can.

    Raises NetlinkError (ENOENT) when this kernel does not have the family.
    """
    body = BODY.pack(_CTRL_CMD_GETFAMILY, 1, 0) + text(_CTRL_ATTR_FAMILY_NAME, name)
    try:
        answer = nl.get(_GENL_ID_CTRL, body)
    except NetlinkError as error:
        if error.errno == errno.ENOENT:
            raise NetlinkError(errno.ENOENT, f"this kernel has no {name}") from None
        raise
    found = attributes(answer.data, MESSAGE.size + BODY.size, answer.length)
    number = number_of(found.get(_CTRL_ATTR_FAMILY_ID))
    if not number:
        raise ProtocolError(f"the kernel told no number for {name}")
    return number


def nested(kind: int, *parts: bytes) -> bytes:
    """One attribute that holds attributes; it says so, which generic netlink's strict policies ask for."""
    return attribute(kind | NLA_F_NESTED, b"".join(parts))
