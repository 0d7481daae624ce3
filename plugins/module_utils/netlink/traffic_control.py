# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The queueing discipline clsact and the BPF filters at its two hooks (linux/pkt_sched.h, linux/pkt_cls.h)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.netlink import clsact_numbers as numbers
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.attributes import (
    NLM_F_CREATE,
    NLM_F_REQUEST,
    VERBS,
    attribute,
    attributes,
    message,
    number,
    number_of,
    text,
    text_of,
)
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.connection import Netlink

HOOKS = INGRESS, EGRESS = numbers.INGRESS, numbers.EGRESS

_BODY = struct.Struct(numbers.BODY)
_ETH_P_ALL = struct.unpack("=H", struct.pack("!H", 3))[0]


class Filter(NamedTuple):
    """A filter at a hook. ``name`` and ``program``, the program's id, are those of BPF filters."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody calls on a filter
    hook: int
    priority: int
    handle: int
    kind: str
    name: str
    program: int


def clsact_devices(nl: Netlink) -> set[int]:
    """The interfaces, by index, that have clsact."""
    return {
        index
        for index, _handle, parent, _info, kind, _options in _dump(nl, numbers.RTM_GETQDISC, 0, 0)
        if kind == "clsact" and parent == numbers.CLSACT_PARENT
    }


def add_clsact(index: int) -> bytes:
    """The message that gives an interface clsact; refused when it has it."""
    body = _BODY.pack(0, index, numbers.CLSACT_HANDLE, numbers.CLSACT_PARENT, 0) + text(numbers.TCA_KIND, "clsact")
    return message(numbers.RTM_NEWQDISC, VERBS["create"], body)


def delete_clsact(index: int) -> bytes:
    """The message that takes it away, with all filters at it."""
    return message(
        numbers.RTM_DELQDISC, NLM_F_REQUEST, _BODY.pack(0, index, numbers.CLSACT_HANDLE, numbers.CLSACT_PARENT, 0)
    )


def dump_filters(nl: Netlink, index: int, hook: int) -> list[Filter]:
    """The filters at a hook of an interface."""
    found = []
    for _index, handle, _parent, info, kind, options in _dump(nl, numbers.RTM_GETTFILTER, index, hook):
        had = attributes(options) if kind == "bpf" else {}
        name, program = text_of(had.get(numbers.TCA_BPF_NAME)), number_of(had.get(numbers.TCA_BPF_ID))
        # A filter's priority is told once more without a handle, before those that have it.
        if handle or kind != "bpf":
            found.append(Filter(index, hook, info >> 16, handle, kind, name, program))
    return found


def put_filter(wanted: Filter, descriptor: int) -> bytes:
    """The message that makes a BPF filter of a program, or puts the program into the one that is there."""
    options = (
        number(numbers.TCA_BPF_FD, descriptor)
        + text(numbers.TCA_BPF_NAME, wanted.name)
        + number(numbers.TCA_BPF_FLAGS, numbers.ACT_DIRECT)
    )
    body = _filter(wanted) + text(numbers.TCA_KIND, "bpf") + attribute(numbers.TCA_OPTIONS, options)
    return message(numbers.RTM_NEWTFILTER, NLM_F_REQUEST | NLM_F_CREATE, body)


def delete_filter(gone: Filter) -> bytes:
    """The message that removes a filter."""
    return message(numbers.RTM_DELTFILTER, NLM_F_REQUEST, _filter(gone) + text(numbers.TCA_KIND, gone.kind))


def _filter(each: Filter) -> bytes:
    return _BODY.pack(0, each.index, each.handle, each.hook, each.priority << 16 | _ETH_P_ALL)


def _dump(nl: Netlink, kind: int, index: int, parent: int) -> Iterator[tuple[int, int, int, int, str, bytes]]:
    for block in nl.dump(kind, _BODY.pack(0, index, 0, parent, 0)):
        if block.length < 16 + _BODY.size:
            raise ProtocolError(f"message {block.kind} of traffic control has {block.length} bytes")
        for offset in range(0, len(block.data), block.stride):
            _family, found, handle, above, info = _BODY.unpack_from(block.data, offset + 16)
            had = attributes(block.data, offset + 16 + _BODY.size, offset + block.length)
            yield found, handle, above, info, text_of(had.get(numbers.TCA_KIND)), had.get(numbers.TCA_OPTIONS, b"")
