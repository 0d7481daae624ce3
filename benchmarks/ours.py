# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same network of two nodes by the kinds of this collection."""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.benchmarks.by_hand import key, mac, public_key
from ansible_collections.podnet.fabric.benchmarks.network import NUMBERS, POOLS, TUNNELS, Network, enter_node, run
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import node_lock
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import reconcile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Kind, name and parameters of an item.
Wanted = tuple[Any, str, dict[str, Any]]


def build(network: Network, number: int) -> None:
    """Reconciles in a process with files of its own, as the modules do on a node."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            _as_a_node(network.netns(f"node{number}"))
            for kind, name, params in _wanted(network, number):
                with node_lock(False), Host() as host:
                    reconcile(kind, {name: kind.normalise(name, params, None, host)}, host, host.declarations)
            status = 0
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            os._exit(status)
    _pid, status = os.waitpid(child, 0)
    if status:
        raise SystemExit(f"{network.dataplane}: node{number} was not built; its error stands above")


def _as_a_node(netns: str) -> None:
    enter_node(netns)
    for name in ("upper", "work"):
        Path("/run", name).mkdir()
    run("mount", "-t", "overlay", "none", "-o", "lowerdir=/etc,upperdir=/run/upper,workdir=/run/work", "/etc")


def _wanted(network: Network, number: int) -> Iterator[Wanted]:
    """Kind, name and parameters, in the order of site.yml."""
    from ansible_collections.podnet.fabric.plugins.module_utils.resources import bridge, ipam_pool

    pools = [{"name": f"p{place}", "cidr": cidr, "nat_outgoing": True} for place, cidr in enumerate(POOLS)]
    yield ipam_pool.KIND, "pools", {"pools": pools}
    yield (
        bridge.KIND,
        "podnet0",
        {
            "mtu": network.mtu,
            "mac": f"02:00:00:00:02:0{number}",
            "addresses": [f"10.244.{number}.1/24", f"fd00:10:244:{number}::1/64"],
        },
    )
    yield from _dataplane(network, number)


def _dataplane(network: Network, number: int) -> Iterator[Wanted]:
    other = 3 - number
    peer = {
        "name": f"node{other}",
        "underlay": f"192.0.2.{other}",
        "second": f"fd00:192::{other}",
        "mac": mac(other),
        "blocks": [f"10.244.{other}.0/24", f"fd00:10:244:{other}::/64"],
        "direct": network.dataplane in {"host_gw", "bgp"},
    }
    common: dict[str, Any] = {
        "local": f"192.0.2.{number}",
        "second_local": f"fd00:192::{number}",
        "underlay": "eth0",
        "mtu": network.mtu,
        "addresses": [f"10.244.{number}.0/32", f"fd00:10:244:{number}::/128"],
        "nexthop_objects": "auto",
        "peers": [peer],
        "standby": False,
    }
    if network.dataplane in TUNNELS:
        from ansible_collections.podnet.fabric.plugins.module_utils.resources import tunnel_filter

        protocol, port = _FILTERED[network.dataplane]
        yield (
            tunnel_filter.KIND,
            network.dataplane,
            {
                "protocol": protocol,
                "port": port,
                "bridge": "podnet0",
                "peers": [peer],
            },
        )
    yield from _KINDS[network.dataplane](common, number)


def _vxlan(common: dict[str, Any], number: int) -> Iterator[Wanted]:
    from ansible_collections.podnet.fabric.plugins.module_utils.resources import vxlan

    yield vxlan.KIND, "podnet-vx", {**common, "vni": 84, "port": 4789, "mac": mac(number)}


def _geneve(common: dict[str, Any], number: int) -> Iterator[Wanted]:
    from ansible_collections.podnet.fabric.plugins.module_utils.resources import geneve

    yield geneve.KIND, "podnet-gnv", {**common, "vni": 84, "port": 6081, "mac": mac(number)}


def _ipip(common: dict[str, Any], _number: int) -> Iterator[Wanted]:
    from ansible_collections.podnet.fabric.plugins.module_utils.resources import ipip

    yield ipip.KIND, "podnet-ip4", {**common, "device6": "podnet-ip6"}


def _wireguard(common: dict[str, Any], number: int) -> Iterator[Wanted]:
    from ansible_collections.podnet.fabric.plugins.module_utils import wireguard_keys
    from ansible_collections.podnet.fabric.plugins.module_utils.resources import wireguard

    # A key that both nodes know of beforehand takes the place of the one that the module makes.
    file = wireguard_keys.path("podnet-wg")
    file.parent.mkdir(mode=0o700, parents=True)
    file.write_text(key(number) + "\n", encoding="utf-8")
    file.chmod(wireguard_keys.MODE)
    public = {f"node{other}": public_key(other) for other in NUMBERS}
    yield wireguard.KIND, "podnet-wg", {**common, "port": 51820, "generation": 1, "public_keys": public}


def _host_gw(common: dict[str, Any], _number: int) -> Iterator[Wanted]:
    from ansible_collections.podnet.fabric.plugins.module_utils.resources import host_gw

    yield host_gw.KIND, "host_gw", common


def _bgp(common: dict[str, Any], number: int) -> Iterator[Wanted]:
    from ansible_collections.podnet.fabric.plugins.module_utils.resources import bgp

    yield (
        bgp.KIND,
        "bgp",
        {
            **{key: common[key] for key in ("local", "second_local", "peers", "standby")},
            "mode": "mesh",
            "port": 179,
            "routed": False,
            "asn": 64512,
            "reflector": False,
            "blocks": [f"10.244.{number}.0/24", f"fd00:10:244:{number}::/64"],
            "pools": list(POOLS),
            "neighbours": [],
        },
    )


_FILTERED = {
    "vxlan": ("udp", 4789),
    "geneve": ("udp", 6081),
    "ipip": ("ipip", None),
    "wireguard": ("udp", 51820),
}
_KINDS: dict[str, Callable[[dict[str, Any], int], Iterator[Wanted]]] = {
    "vxlan": _vxlan,
    "geneve": _geneve,
    "ipip": _ipip,
    "wireguard": _wireguard,
    "host_gw": _host_gw,
    "bgp": _bgp,
}
