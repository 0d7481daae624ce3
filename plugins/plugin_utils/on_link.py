# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which nodes share a subnet of the underlay, so that one can send to the other without a router."""

from __future__ import annotations

import functools
import ipaddress


def share(one: tuple[str, str], other: tuple[str, str]) -> bool:
    """Whether two interfaces reach each other directly: each one's address lies in the other's subnet.

    :param one: address and subnet as text; an empty subnet is one that is not known
    :param other: as one
    """
    if not one[1] or not other[1]:
        return False
    # Of a thousand peers nearly all have the node's own subnet, or one that is nowhere near it.
    if one[1] == other[1]:
        return True
    if _apart(*sorted((one[1], other[1]))):
        return False
    return _holds(one[1], other[0]) and _holds(other[1], one[0])


@functools.lru_cache(maxsize=65536)
def _apart(one: str, other: str) -> bool:
    first, second = ipaddress.ip_network(one), ipaddress.ip_network(other)
    return first.version != second.version or not first.overlaps(second)


def _holds(subnet: str, address: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(subnet)
