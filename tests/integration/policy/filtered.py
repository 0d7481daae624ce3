# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node that has iptables rules and sets of others, and policies for two pods on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.resources.policy import KIND

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Result
    from tests.integration.resources.conftest import Node

FAMILIES = {"iptables": "10.0.0.0/8", "ip6tables": "fd00::/16"}
POLICIES = [
    {
        "metadata": {"name": "web"},
        "spec": {
            "podSelector": {"matchLabels": {"app": "web"}},
            "ingress": [
                {"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}], "ports": [{"port": 80}]},
                {"from": [{"ipBlock": {"cidr": "fd00::/16"}}], "ports": [{"port": 8000, "endPort": 8100}]},
                {"from": [{"podSelector": {}}]},
            ],
        },
    },
    {
        "metadata": {"name": "shut"},
        "spec": {"podSelector": {"matchLabels": {"app": "shut"}}, "policyTypes": ["Ingress", "Egress"]},
    },
]
ENDPOINTS = [
    {"name": name, "node": "here", "labels": {"app": name}, "addresses": [f"10.244.1.{last}", f"fd00:244::{last}"]}
    for last, name in ((2, "web"), (3, "shut"))
]
WORLD: dict[str, Any] = {"node": "here", "namespaces": {}, "policies": POLICIES, "endpoints": ENDPOINTS}


class Filtered(NamedTuple):
    """A node whose iptables are of one flavour."""

    node: Node
    flavour: str

    @property
    def world(self) -> dict[str, Any]:
        return {**WORLD, "backend": "iptables", "iptables_flavour": self.flavour}

    def declare(self, *, check: bool = False) -> Result:
        return self.node.declare(KIND, "podnet", self.world, check=check)

    def iptables(self, line: str, program: str = "iptables") -> str:
        return self.node.namespace.run(f"{program}-{self.flavour}", *line.split())

    def rules(self) -> list[str]:
        """All rules and chains of both families, in their order, without counters and times."""
        return [line for program in FAMILIES for line in self.saved(program)]

    def saved(self, program: str) -> list[str]:
        """Those of one family."""
        lines = self.node.namespace.run(f"{program}-{self.flavour}-save").splitlines()
        return [line.partition(" [")[0] for line in lines if line[0] in ":-*"]

    def sets(self) -> list[str]:
        """All sets and their elements."""
        run = self.node.namespace.run
        names = run("ipset", "list", "-n").split()
        return sorted(
            line.partition(" initval")[0] for name in names for line in run("ipset", "save", name).split("\n")
        )
