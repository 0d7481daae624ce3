# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs before an interface that nobody else has anything at: clsact and filters.

They are those that facilities/ebpf_filters.py makes, without its imports.
"""

from __future__ import annotations

import _socket
import errno
import os
from _struct import pack

from ansible_collections.podnet.fabric.plugins.module_utils.attach import wire
from ansible_collections.podnet.fabric.plugins.module_utils.netlink import clsact_numbers as numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

MARKERS = "/sys/fs/bpf/podnet/clsact"
NAME = b"podnet_"
ALL = _socket.htons(3)  # ETH_P_ALL
CHANGE = wire.REQUEST | wire.ACK | wire.CREATE


def put(index: int, programs: Sequence[tuple[str, int, int, int]]) -> None:
    """Give an interface clsact and filters.

    :param programs: names, hooks and priorities, and the programs' descriptors
    :raises OSError: the kernel has refused
    :raises ValueError: somebody else has clsact or the like there, so that it takes more than filters to be the first
    """
    marker = f"{MARKERS}/{index}"
    os.makedirs(marker, mode=0o700, exist_ok=True)
    kind = wire.attribute(numbers.TCA_KIND, b"clsact\0")
    made = pack(numbers.BODY, 0, index, numbers.CLSACT_HANDLE, numbers.CLSACT_PARENT, 0) + kind
    try:
        _tell([wire.message(numbers.RTM_NEWQDISC, CHANGE | wire.EXCLUSIVE, 1, made)])
    except OSError as error:
        os.rmdir(marker)
        if error.errno != errno.EEXIST:
            raise
        raise ValueError("there is somebody's clsact") from error
    _tell(
        [
            wire.message(numbers.RTM_NEWTFILTER, CHANGE, number, _filter(index, *each))
            for number, each in enumerate(programs, 1)
        ]
    )


def _filter(index: int, name: str, hook: int, priority: int, program: int) -> bytes:
    options = (
        wire.attribute(numbers.TCA_BPF_FD, pack("=I", program))
        + wire.attribute(numbers.TCA_BPF_NAME, NAME + name.encode() + b"\0")
        + wire.attribute(numbers.TCA_BPF_FLAGS, pack("=I", numbers.ACT_DIRECT))
    )
    return (
        pack(numbers.BODY, 0, index, numbers.HANDLE, hook, priority << 16 | ALL)
        + wire.attribute(numbers.TCA_KIND, b"bpf\0")
        + wire.attribute(numbers.TCA_OPTIONS, options)
    )


def _tell(messages: Sequence[bytes]) -> None:
    for _told in wire.exchange(_socket.NETLINK_ROUTE, messages, set(range(1, len(messages) + 1))):
        continue
