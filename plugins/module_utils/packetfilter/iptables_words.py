# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is rendered for iptables: IP sets, and the rules that look into them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ipsets import IpSet
    from ansible_collections.podnet.fabric.plugins.module_utils.facilities.iptables_objects import Objects

SET_FAMILIES = {4: "inet", 6: "inet6"}


class Rendering(NamedTuple):
    """Sets by name, in the order in which elements come to them, and chains and jumps by their keys.

    Where pods may come one by one, ``ways`` names by family and guard the sets that a pod's address leads there by.
    """

    sets: dict[str, IpSet]
    rules: Objects
    ways: dict[tuple[int, str], list[str]]
