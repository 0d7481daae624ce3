# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nodes have reported of themselves (ansible_facts.podnet_node), which a fact cache may have kept for years."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.plugin_utils.problem import Problem, show

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.plugin_utils.settings import Host

FACT = "ansible_facts.podnet_node"
CURE = "run the role preflight on that node, or clear the fact cache (ansible-playbook --flush-cache)"


def usable(hosts: Sequence[Host]) -> tuple[list[Host], list[Problem]]:
    """Return the hosts, those whose reports cannot be used without them, and a problem for each of these."""
    problems = [problem for host in hosts for problem in _problems(host)]
    odd = {problem.path for problem in problems}
    if not odd:
        return list(hosts), []
    return [host._replace(facts={}) if _path(host) in odd else host for host in hosts], problems


def _problems(host: Host) -> list[Problem]:
    found = _odd(host.facts)
    wanted = "what podnet.fabric.node_facts reports"
    return [Problem(_path(host), f"{key} {show(value)}", wanted, CURE) for key, value in found[:1]]


def _path(host: Host) -> str:
    return f"{FACT} ({host.name})"


def _odd(facts: Any) -> list[tuple[str, Any]]:
    """Return what the plan reads of a report and cannot use, by its key."""
    if not isinstance(facts, dict):
        return [("a report that is", facts)]
    blocks = facts.get("blocks")
    if blocks is not None and not (isinstance(blocks, list) and all(map(_is_block, blocks))):
        return [("blocks", blocks)]
    underlay = facts.get("underlay")
    if underlay is None:
        return []
    if not isinstance(underlay, dict):
        return [("underlay", underlay)]
    second = underlay.get("second")
    if second is not None and not isinstance(second, dict):
        return [("underlay.second", second)]
    interface = underlay.get("interface")
    odd = [] if interface is None or isinstance(interface, str) else [("underlay.interface", interface)]
    odd += _odd_foothold("underlay", underlay) + _odd_foothold("underlay.second", second or {})
    mtu = underlay.get("mtu")
    return odd if mtu is None or _is_number(mtu, 1 << 31) else [*odd, ("underlay.mtu", mtu)]


def _is_block(told: Any) -> bool:
    if not isinstance(told, dict) or not isinstance(told.get("block"), str):
        return False
    try:
        size = ipaddress.ip_network(told["block"]).num_addresses
    except ValueError:
        return False
    return all(_is_number(told.get(key), size) for key in ("used", "capacity"))


def _odd_foothold(path: str, told: Mapping[str, Any]) -> list[tuple[str, Any]]:
    address, length = told.get("address"), told.get("prefixlen")
    try:
        bits = 128 if address is None else ipaddress.ip_address(str(address)).max_prefixlen
    except ValueError:
        return [(f"{path}.address", address)]
    return [] if length is None or _is_number(length, bits) else [(f"{path}.prefixlen", length)]


def _is_number(value: Any, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most
