# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bridge, routes, pools, blocks and sysctls on a real kernel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils import reconcile
from ansible_collections.podnet.fabric.plugins.module_utils.errors import ApplyError, Conflict, InvalidInput
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.resources import (
    bridge,
    host_policy,
    ipam_block,
    ipam_pool,
    route,
    sysctl,
    tunnel_filter,
)

from .conftest import shown

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Kind

    from .conftest import Node

BRIDGE = {"mtu": 1450, "mac": "02:00:00:00:00:10", "addresses": ["10.244.1.1/24", "fd00:10:244:1::1/64"]}
POOLS = {
    "pools": [
        {"name": "default", "cidr": "10.244.0.0/16", "nat_outgoing": True},
        {"name": "default6", "cidr": "fd00:10:244::/48", "nat_outgoing": True},
        {"name": "routed", "cidr": "10.100.0.0/16", "nat_outgoing": False},
    ]
}
BLOCKS = {"blocks": ["10.244.1.0/24", "fd00:10:244:1::/64"]}
ROUTES: dict[str, Any] = {
    "routes": [
        {"dst": "10.244.2.0/24", "via": "192.0.2.2", "dev": "eth0"},
        {"dst": "10.244.3.0/24", "via": "192.0.2.3", "dev": "eth0", "metric": 30, "table": 1000},
        {"dst": "fd00:10:244:2::/64", "via": "2001:db8::2", "dev": "eth0"},
        {"dst": "10.244.9.0/24", "via": "203.0.113.9", "dev": "eth0", "onlink": True},
    ]
}
TUNNEL = {"protocol": "udp", "port": 4789, "bridge": "podnet0", "peers": ["192.0.2.2", "192.0.2.3", "2001:db8::2"]}
SETTINGS = {"settings": {"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1}}

HOST_POLICY: dict[str, Any] = {
    "node": "here",
    "bridge": "podnet0",
    "interfaces": ["eth0"],
    "needs": ["udp/4789", "ipip"],
    "nodes": [
        {"name": "here", "labels": {"role": "worker"}, "addresses": ["192.0.2.1", "2001:db8::1"]},
        {"name": "there", "labels": {}, "addresses": ["192.0.2.2"]},
    ],
    "endpoints": [{"name": "web", "node": "there", "labels": {"app": "web"}, "addresses": ["10.244.2.2"]}],
    "policies": [
        {
            "metadata": {"name": "workers"},
            "spec": {
                "podSelector": {"matchLabels": {"role": "worker"}},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [{"from": [{"nodeSelector": {}}, {"namespaceSelector": {}}], "ports": [{"port": 9100}]}],
                "egress": [{"to": [{"ipBlock": {"cidr": "198.51.100.0/24"}}, {"ipBlock": {"cidr": "2001:db8::/32"}}]}],
            },
        }
    ],
}
KINDS: list[tuple[Kind, str, dict[str, Any]]] = [
    (bridge.KIND, "podnet0", BRIDGE),
    (host_policy.KIND, "podnet", HOST_POLICY),
    (ipam_pool.KIND, "node", POOLS),
    (ipam_block.KIND, "node", BLOCKS),
    (route.KIND, "peers", ROUTES),
    (sysctl.KIND, "node", SETTINGS),
    (tunnel_filter.KIND, "vxlan", TUNNEL),
]
every_kind = pytest.mark.parametrize(
    ("kind", "name", "params"), KINDS, ids=[kind.name for kind, _name, _params in KINDS]
)


def whole(node: Node) -> list[str]:
    """The host, its rulesets, settings and files included."""
    folder = node.declarations.directory.parent.parent
    settings = sorted(Path("/proc/sys/net").glob("ipv[46]/**/*"))
    ignored = {"flush", "stable_secret"}
    return [
        *node.snapshot(),
        node.namespace.run("nft", "list", "ruleset"),
        *(
            f"{path}={path.read_text(encoding='ascii')}"
            for path in settings
            if path.is_file() and path.name not in ignored
        ),
        *(f"{path} {path.is_file() and path.read_bytes()!r}" for path in sorted(folder.rglob("*"))),
    ]


@every_kind
def test_the_prediction_is_what_follows_a_second_run_changes_nothing_and_an_undo_leaves_no_trace(
    node: Node, kind: Kind, name: str, params: dict[str, Any]
) -> None:
    node.namespace.run(
        "nft", "-f", "-", stdin="table inet foreign {\nchain c {\ntype filter hook input priority 0\n}\n}\n"
    )
    before = whole(node)
    predicted = node.declare(kind, name, params, check=True)
    assert whole(node) == before
    real = node.declare(kind, name, params)
    assert real.operations == predicted.operations != []
    assert shown(kind, predicted) == shown(kind, real)
    assert whole(node) != before
    again = node.declare(kind, name, params)
    assert (again.changed, again.operations) == (False, [])
    assert node.withdraw(kind, name).changed
    assert whole(node) == before
    assert not node.withdraw(kind, name).changed


DRIFTS: list[tuple[Kind, str, dict[str, Any], str]] = [
    (bridge.KIND, "podnet0", BRIDGE, "ip link del podnet0"),
    (bridge.KIND, "podnet0", BRIDGE, "ip address del 10.244.1.1/24 dev podnet0"),
    (bridge.KIND, "podnet0", BRIDGE, "ip address add 10.9.9.9/24 dev podnet0"),
    (bridge.KIND, "podnet0", BRIDGE, "ip link set podnet0 mtu 1400 down"),
    (host_policy.KIND, "podnet", HOST_POLICY, "nft delete element inet podnet host-nodes4 { 192.0.2.2 }"),
    (host_policy.KIND, "podnet", HOST_POLICY, "nft insert rule inet podnet host-input accept"),
    (host_policy.KIND, "podnet", HOST_POLICY, "nft flush chain inet podnet host-output"),
    (ipam_pool.KIND, "node", POOLS, "nft delete table inet podnet"),
    (ipam_pool.KIND, "node", POOLS, "nft flush chain inet podnet nat-postrouting"),
    (ipam_pool.KIND, "node", POOLS, "nft add rule inet podnet nat-postrouting accept"),
    (ipam_pool.KIND, "node", POOLS, "nft delete element inet podnet nat4 { 10.244.0.0/16 }"),
    (ipam_pool.KIND, "node", POOLS, "nft add element inet podnet pools6 { fd99::/64 }"),
    (ipam_block.KIND, "node", BLOCKS, "ip route del blackhole 10.244.1.0/24 metric 65535"),
    (ipam_block.KIND, "node", BLOCKS, "ip route add blackhole 10.99.0.0/24 proto 84"),
    (route.KIND, "peers", ROUTES, "ip route del 10.244.3.0/24 table 1000"),
    (route.KIND, "peers", ROUTES, "ip -6 route del fd00:10:244:2::/64"),
    (route.KIND, "peers", ROUTES, "ip route replace 10.244.2.0/24 via 192.0.2.99 proto 84"),
    (route.KIND, "peers", ROUTES, "ip nexthop del id 1409286144"),
    (tunnel_filter.KIND, "vxlan", TUNNEL, "nft delete table inet podnet"),
    (tunnel_filter.KIND, "vxlan", TUNNEL, "nft delete element inet podnet tunnel-vxlan-peers4 { 192.0.2.2 }"),
    (tunnel_filter.KIND, "vxlan", TUNNEL, "nft add element inet podnet tunnel-vxlan-peers6 { 2001:db8::66 }"),
    (tunnel_filter.KIND, "vxlan", TUNNEL, "nft flush chain inet podnet tunnel-input"),
    (tunnel_filter.KIND, "vxlan", TUNNEL, "nft insert rule inet podnet tunnel-pods accept"),
    (tunnel_filter.KIND, "vxlan", TUNNEL, "nft add chain inet podnet tunnel-more"),
    (sysctl.KIND, "node", SETTINGS, "sysctl -q -w net.ipv6.conf.all.forwarding=0"),
]


@pytest.mark.parametrize(("kind", "name", "params", "drift"), DRIFTS, ids=[f"{d[0].name}: {d[3]}" for d in DRIFTS])
def test_one_run_repairs(node: Node, kind: Kind, name: str, params: dict[str, Any], drift: str) -> None:
    node.declare(kind, name, params)
    before = node.snapshot(), node.namespace.run("nft", "list", "ruleset")
    node.namespace.run(*drift.split())
    assert node.declare(kind, name, params).operations
    assert (node.snapshot(), node.namespace.run("nft", "list", "ruleset")) == before
    assert node.declare(kind, name, params).operations == []


def test_a_bridge_with_pods_on_it_is_not_taken_away_without_the_word(node: Node) -> None:
    node.declare(bridge.KIND, "podnet0", BRIDGE)
    node.namespace.ip("link", "add", "veth1", "type", "veth", "peer", "name", "pod1")
    node.namespace.ip("link", "set", "veth1", "master", "podnet0")
    before = node.snapshot()
    with pytest.raises(Conflict, match="bridge podnet0 still carries veth1"):
        node.withdraw(bridge.KIND, "podnet0")
    assert node.snapshot() == before
    assert node.withdraw(bridge.KIND, "podnet0", force=True).changed


def test_a_bridge_keeps_its_mtu_when_its_last_pod_leaves(node: Node) -> None:
    node.declare(bridge.KIND, "podnet0", BRIDGE)
    node.namespace.ip("link", "add", "veth1", "type", "veth", "peer", "name", "pod1")
    node.namespace.ip("link", "set", "veth1", "master", "podnet0")
    node.namespace.ip("link", "del", "veth1")
    assert node.declare(bridge.KIND, "podnet0", BRIDGE).operations == []


def test_a_table_or_file_of_that_name_that_is_not_ours_is_named_and_kept(node: Node) -> None:
    node.namespace.run("nft", "add", "table", "inet", "podnet")
    names_file = Path(ipam_block.NAMES_FILE)
    names_file.parent.mkdir()
    names_file.write_text("85 other\n", encoding="ascii")
    node.namespace.ip("route", "add", "blackhole", "10.244.1.0/24", "metric", "65535")
    before = whole(node)
    with pytest.raises(Conflict, match="nftables: table inet podnet exists and is not ours"):
        node.declare(ipam_pool.KIND, "node", POOLS)
    with pytest.raises(Conflict, match="nftables: table inet podnet exists and is not ours"):
        node.declare(tunnel_filter.KIND, "vxlan", TUNNEL)
    with pytest.raises(Conflict) as refused:
        node.declare(ipam_block.KIND, "node", BLOCKS)
    assert len(refused.value.conflicts) == 2
    assert whole(node) == before


def test_an_undo_puts_back_what_each_interface_had(node: Node) -> None:
    node.namespace.run("sysctl", "-q", "-w", "net.ipv4.conf.eth0.forwarding=1", "net.ipv6.conf.foreign.forwarding=1")
    node.namespace.run("sysctl", "-q", "-w", "net.ipv4.conf.all.accept_redirects=0")
    before = whole(node)
    node.declare(sysctl.KIND, "node", SETTINGS)
    node.declare(sysctl.KIND, "node", {"settings": {"net.ipv4.ip_forward": 1}})
    node.declare(sysctl.KIND, "node", SETTINGS)
    node.withdraw(sysctl.KIND, "node")
    assert whole(node) == before


def test_a_default_route_by_router_advertisement_outlives_forwarding(node: Node) -> None:
    route_by_ra = ["default", "via", "2001:db8::fe", "dev", "eth0", "proto", "ra", "expires", "600"]
    node.namespace.ip("-6", "route", "add", *route_by_ra)
    before = whole(node)
    node.declare(sysctl.KIND, "node", {"settings": {**SETTINGS["settings"], "net.ipv6.conf.eth0.accept_ra": 2}})
    assert "default" in node.namespace.ip("-6", "route", "show", "proto", "ra")
    node.withdraw(sysctl.KIND, "node")
    assert [line for line in whole(node) if "expires" not in line] == [line for line in before if "expires" not in line]


def test_wrong_values_are_named_all_at_once(node: Node) -> None:
    before = whole(node)
    with pytest.raises(InvalidInput) as refused:
        node.declare(
            bridge.KIND, "a/b", {"mtu": 1279, "mac": "01:00:5e:00:00:01", "addresses": ["10.0.0.1", "::1/129"]}
        )
    assert [finding.path for finding in refused.value.findings] == [
        "name",
        "mtu",
        "mac",
        "addresses[0]",
        "addresses[1]",
    ]
    pools = [
        {"name": str(n), "cidr": cidr, "nat_outgoing": True}
        for n, cidr in enumerate(("10.0.0.0/8", "10.9.0.0/16", "x"))
    ]
    with pytest.raises(InvalidInput) as refused:
        node.declare(ipam_pool.KIND, "node", {"pools": pools})
    assert [str(finding) for finding in refused.value.findings] == [
        "pools[1].cidr: 10.9.0.0/16 overlaps pools[0].cidr 10.0.0.0/8; give pools without common addresses",
        "pools[2].cidr: 'x' is no prefix; write it as 10.244.1.0/24 or fd00:10:244:1::/64",
    ]
    with pytest.raises(InvalidInput) as refused:
        node.declare(ipam_block.KIND, "node", {"blocks": ["10.244.1.0/24", "10.244.1.0/24", "10.244.1.1/24"]})
    assert [finding.path for finding in refused.value.findings] == ["blocks[1]", "blocks[2]"]
    with pytest.raises(InvalidInput) as refused:
        node.declare(sysctl.KIND, "node", {"settings": {"kernel.hostname": "x", "net.ipv4.nonsense": 1}})
    assert [finding.path for finding in refused.value.findings] == [
        "settings['kernel.hostname']",
        "settings['net.ipv4.nonsense']",
    ]
    routes = [
        {"dst": "10.0.0.0/8", "via": "::1", "dev": "eth7"},
        {"dst": "10.0.0.0/8", "via": "192.0.2.2"},
        {"dst": "10.1.0.0/16", "via": "192.0.2.2", "dev": "eth0"},
        {"dst": "10.1.0.0/16", "via": "192.0.2.3", "dev": "eth0", "metric": -1},
    ]
    with pytest.raises(InvalidInput) as refused:
        node.declare(route.KIND, "peers", {"routes": routes})
    assert [finding.path for finding in refused.value.findings] == [
        "routes[0].via", "routes[0].dev", "routes[1]", "routes[3].metric"
    ]  # fmt: skip
    assert whole(node) == before


def test_a_route_moves_between_kinds_of_ours_in_place(node: Node) -> None:
    node.declare(route.KIND, "peers", ROUTES)
    moved = {"routes": [{**entry, "via": "192.0.2.42"} for entry in ROUTES["routes"][:1]]}
    result = node.declare(route.KIND, "peers", moved)
    verbs = {(operation.facility, operation.verb) for operation in result.operations}
    assert ("routes", "replace") in verbs
    assert ("routes", "create") not in verbs


def test_what_gives_way_to_another_stays_declared_until_it_is_gone(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.declare(bridge.KIND, "podnet0", BRIDGE)
    with Host() as host:
        items = {"pods": bridge.KIND.normalise("pods", BRIDGE, None, host)}
        with monkeypatch.context() as patch:

            def refuse(*_arguments: Any) -> None:
                raise ApplyError(["links: delete podnet0: no"])

            patch.setattr(reconcile, "apply", refuse)
            with pytest.raises(ApplyError):
                reconcile.reconcile(bridge.KIND, items, host, node.declarations)
        assert sorted(node.declarations.read("bridge")) == ["podnet0", "pods"]
        reconcile.reconcile(bridge.KIND, items, host, node.declarations)
    assert sorted(node.declarations.read("bridge")) == ["pods"]
    assert "podnet0" not in [link["ifname"] for link in node.namespace.ip_json("link")]
