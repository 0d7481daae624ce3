# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random clusters as inventories for playbooks/lab.yml: subnets with nodes, a router, a host outside, and settings.

What is drawn together works together: a dataplane without a tunnel has one subnet, whose nodes have an address of every
family that pods have.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import yaml

LAB = Path(__file__).resolve().parents[2] / "inventories/lab"
OUTSIDE = {4: "203.0.113.2", 6: "2001:db8:113::2"}
_POOLS = {4: ("10.77.0.0/16", "172.20.0.0/20", "100.64.0.0/18"), 6: ("fd77::/48", "fd00:88::/56")}
_BLOCKS = {4: (24, 25, 26, 28), 6: (64, 112, 122)}
_SERVICES = {4: "10.96.0.0/16", 6: "fd00:10:96::/112"}
_FAMILIES = ((4,), (6,), (4, 6), (4, 6))
_BACKENDS = ("nftables", "iptables", "ebpf")


def cluster(seed: int) -> dict[str, Any]:
    """An inventory, the same one for a seed each time."""
    chance = random.Random(seed)
    dataplane = chance.choice(("vxlan", "vxlan", "host_gw", "bgp"))
    pods = chance.choice(_FAMILIES)
    underlay = chance.choice(_FAMILIES) if dataplane == "vxlan" else pods
    subnets = chance.randint(1, 3) if dataplane == "vxlan" else 1
    first = chance.choice(underlay)
    settings = _settings(chance, dataplane, pods)
    settings["podnet_verify_outside"] = [OUTSIDE[family] for family in pods if family in underlay]

    nodes: dict[str, dict[str, Any]] = {}
    for subnet in range(1, subnets + 1):
        for _node in range(chance.randint(1, 2) if subnets > 1 else chance.randint(2, 4)):
            name = f"{chance.choice(('node', 'n-', 'w.', 'host'))}{len(nodes) + 1}"
            addresses = {family: _address(family, subnet, 10 + len(nodes)) for family in underlay}
            nodes[name] = {
                "podnet_underlay": {"address": addresses[first]},
                "lab_bridge": f"subnet{subnet}",
                "lab_addresses": [f"{text}/{_length(family)}" for family, text in addresses.items()],
                "lab_routes": [{"to": "default", "via": _address(family, subnet, 1)} for family in underlay],
            }
    return {
        "lab": {
            "children": {"podnet": None, "lab_infrastructure": None},
            "vars": {**_vars("lab"), "lab_prefix": f"top{seed}-", "lab_mtu": chance.choice((1400, 1500, 1500, 9000))},
        },
        "podnet": {"hosts": nodes, "vars": {**_vars("podnet"), **settings}},
        "lab_outside": {"hosts": {"outside": None}},
        "lab_infrastructure": {"hosts": _infrastructure(underlay, subnets)},
    }


def told(inventory: dict[str, Any]) -> str:
    """A cluster in a line."""
    nodes, settings = inventory["podnet"]["hosts"], inventory["podnet"]["vars"]
    subnets = {node["lab_bridge"] for node in nodes.values()}
    families = "+".join("6" if ":" in pool["cidr"] else "4" for pool in settings["podnet_pools"])
    (underlay,) = {":" in node["podnet_underlay"]["address"] for node in nodes.values()}
    return (
        f"{settings['podnet_dataplane']}, {len(nodes)} nodes on {len(subnets)} subnets, "
        f"underlay IPv{6 if underlay else 4}, pods IPv{families}, MTU {inventory['lab']['vars']['lab_mtu']}, "
        f"policies by {settings['podnet_policy_backend']}, services by {settings['podnet_service_backend']}"
    )


def _settings(chance: random.Random, dataplane: str, pods: tuple[int, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "podnet_dataplane": dataplane,
        "podnet_encapsulation": chance.choice(("always", "cross_subnet")) if dataplane == "vxlan" else "always",
        "podnet_pools": [
            {
                "name": f"pool{family}",
                "cidr": chance.choice(_POOLS[family]),
                "block_size": chance.choice(_BLOCKS[family]),
                "nat_outgoing": True,
            }
            for family in pods
        ],
        "podnet_nexthop_objects": chance.choice(("auto", "never")),
        "podnet_policy_backend": chance.choice(_BACKENDS),
        "podnet_service_backend": chance.choice(_BACKENDS),
        # The tables of the other flavour are the kernel's own, and stay.
        "podnet_iptables_flavour": "nft",
        "podnet_service_cidrs": [_SERVICES[family] for family in pods],
        "podnet_services": [
            {
                "metadata": {"name": "web"},
                "spec": {"type": "NodePort", "selector": {"app": "web"}, "ports": [{"port": 80}]},
            }
        ],
        "podnet_policies": [
            {
                "metadata": {"name": "isolated", "namespace": "locked"},
                "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
            }
        ],
    }
    if chance.randint(0, 2) == 0:
        found["podnet_bridge_name"] = "pods-br"
    if chance.randint(0, 2) == 0:
        found |= {
            "podnet_vxlan_device": "vx.pods",
            "podnet_vxlan_vni": chance.randint(1, 2**24 - 1),
            "podnet_vxlan_port": chance.randint(2000, 30000),
        }
    return found


def _infrastructure(underlay: tuple[int, ...], subnets: int) -> dict[str, Any]:
    """The lab's router and host outside, for these subnets."""
    hosts: dict[str, Any] = _read(LAB / "hosts.yml")["lab_infrastructure"]["hosts"]
    numbers = range(1, subnets + 1)
    hosts["router"]["lab_bridges"] = [
        {
            "node": "{{ lab_name }}",
            "name": f"subnet{subnet}",
            "addresses": [f"{_address(family, subnet, 1)}/{_length(family)}" for family in underlay],
        }
        for subnet in numbers
    ]
    back = {4: "203.0.113.1", 6: "2001:db8:113::1"}
    hosts["outside"]["lab_routes"] = [
        {"to": f"{_address(family, subnet, 0)}/{_length(family)}", "via": back[family]}
        for subnet in numbers
        for family in underlay
    ]
    return hosts


def _address(family: int, subnet: int, host: int) -> str:
    if family == 4:
        return f"192.168.{100 + subnet}.{host}"
    return f"fd00:{100 + subnet}::{host or ''}"


def _length(family: int) -> int:
    return 24 if family == 4 else 64


def _vars(group: str) -> dict[str, Any]:
    return _read(LAB / f"group_vars/{group}.yml")


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found
