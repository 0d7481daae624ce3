# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods' packets pass where iptables drops what is forwarded: Docker's policy, a firewall that ends with a REJECT.

An accept in a table of ours does not overrule a drop in another one, so the chain stands in iptables' own FORWARD. It
stands last there, before what drops everything: a rule by which somebody forbids something to pods still holds.

The kind asks the host, each time anew, whether FORWARD drops. A Docker that is started later is drift, then, and the
next run mends it; one that goes takes the need for the chain along.
"""

from __future__ import annotations

import re
from socket import inet_ntop
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.errors import DeclarationError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.iptables_forward import (
    BUILT_IN,
    FORWARD_RULES,
    AcceptChain,
    AcceptJump,
    Objects,
    filters,
    observe,
)
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.iptables_tools import OURS
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection, declared_network
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Target

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Items
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host

CHAIN = OURS + BUILT_IN
MODES = ("auto", "always", "never")

# It is written into rules: a trailing + would stand for several interfaces, white space would end the word.
_INTERFACE = re.compile(r"[A-Za-z0-9_.@-]{1,15}\Z")


class ForwardAccept:
    """See the module's documentation for the parameters."""

    name = "forward_accept"
    rank = 25
    facilities = (FORWARD_RULES,)

    def normalise(
        self, name: str, params: Mapping[str, Any], former: dict[str, Any] | None, host: Host
    ) -> dict[str, Any]:
        inspection = Inspection()
        inspection.interface("bridge", name)
        if not inspection.findings and not _INTERFACE.match(name):
            inspection.refuse("bridge", f"{name!r} is special in iptables", "give letters, digits, _ . @ and -")
        pools = params["pools"] or []
        if not pools:
            inspection.refuse("pools", "empty", "give at least one pool")
        for position, pool in enumerate(pools):
            inspection.network(f"pools[{position}]", pool)
        inspection.conclude()
        return {"mode": params["mode"], "pools": list(pools)}

    def target(self, items: Items, former: Items, host: Host) -> Target:
        tables = list(filters())
        desired: Objects = {}
        for table in tables:
            rules = tuple(
                rule
                for bridge, item in sorted(items.items())
                if (table.used if item["mode"] == "always" else table.drops and item["mode"] == "auto")
                for rule in _rules(bridge, item, table.family)
            )
            if rules:
                desired["chain", table.tool, CHAIN] = AcceptChain(table.tool, CHAIN, rules)
                desired["jump", table.tool, CHAIN] = AcceptJump(table.tool, CHAIN)
        return Target({"iptables": dict(observe(tables, CHAIN))}, {"iptables": dict(desired)})


def _rules(bridge: str, item: Mapping[str, Any], family: int) -> list[str]:
    """In the order and the spelling of iptables-save, by which they are compared.

    :raises DeclarationError: somebody has edited what is about to be written into a rule
    """
    if not _INTERFACE.match(bridge) or item["mode"] not in MODES:
        raise DeclarationError(
            f"the declaration holds bridge {bridge!r} with mode {item['mode']!r}; run the playbook again"
        )
    networks = [network for network in map(declared_network, item["pools"]) if network.family == family]
    pools = [f"{inet_ntop(family, network.address)}/{network.prefixlen}" for network in networks]
    if not pools:
        return []
    return [
        # What is bridged between pods is forwarded, too, where br_netfilter is on: IPv6 needs its link-local packets.
        f"-i {bridge} -o {bridge} -j ACCEPT",
        *(f"-s {pool} -i {bridge} -j ACCEPT" for pool in pools),
        *(f"-d {pool} -o {bridge} -j ACCEPT" for pool in pools),
    ]


KIND = ForwardAccept()
