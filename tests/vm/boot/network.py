# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pod network on this machine: at least one object of all that has to come back after a boot.

Declared as the modules do it, and in the order of site.yml, but in one process: seven runs of Ansible would take longer
than both boots.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations, node_lock
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Kind, reconcile
from ansible_collections.podnet.fabric.plugins.module_utils.resources import (
    bgp,
    bridge,
    persist,
    route,
    sysctl,
    tunnel_filter,
    vxlan,
)

PEERS = [
    {
        "name": "node2",
        "underlay": "192.0.2.12",
        "mac": "02:5e:10:00:00:12",
        "blocks": ["10.244.1.0/24", "fd00:10:244:1::/64"],
    }
]
# What systemd-networkd may take for its own to remove: it is over the link that networkd manages.
FAR = {
    "routes": [
        {"dst": "10.244.201.0/24", "via": "192.0.2.12", "dev": "uplink"},
        {"dst": "fd00:10:244:201::/64", "via": "2001:db8::12", "dev": "uplink"},
    ],
    "nexthop_objects": "never",
}
WANTED: tuple[tuple[Kind, str, dict[str, Any]], ...] = (
    (persist.KIND, "node", {"interfaces": ["podnet0", "podnet-vx"], "self_heal": 10}),
    (sysctl.KIND, "node", {"settings": {"net.ipv4.ip_forward": 1}}),
    (bridge.KIND, "podnet0", {"mtu": 1450, "mac": None, "addresses": ["10.244.0.1/24", "fd00:10:244::1/64"]}),
    (tunnel_filter.KIND, "vxlan", {"protocol": "udp", "port": 4789, "bridge": "podnet0", "peers": PEERS}),
    (
        vxlan.KIND,
        "podnet-vx",
        {
            "vni": 84,
            "port": 4789,
            "local": "192.0.2.11",
            "underlay": "auto",
            "mac": "02:5e:10:00:00:11",
            "addresses": ["10.244.0.0/32", "fd00:10:244::/128"],
            "nexthop_objects": "auto",
            "peers": PEERS,
        },
    ),
    (
        bgp.KIND,
        "bird",
        {
            "mode": "top_of_rack",
            "asn": 64512,
            "port": 179,
            "reflector": False,
            "local": "192.0.2.11",
            "blocks": ["10.244.0.0/24"],
            "pools": ["10.244.0.0/16"],
            "peers": [],
            "neighbours": [{"name": "router", "address": "192.0.2.12", "asn": 64513, "port": 179}],
            "routed": False,
            "standby": True,
        },
    ),
    (route.KIND, "far", FAR),
)


def declare() -> None:
    """Bring the machine to it. Raises PodnetError."""
    declarations = Declarations()
    for kind, name, params in WANTED:
        with node_lock(check=False), Host() as host:
            items = declarations.read(kind.name)
            items[name] = kind.normalise(name, params, items.get(name), host)
            reconcile(kind, items, host, declarations)
