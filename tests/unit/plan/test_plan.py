# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a sound inventory, and the views that roles and people get of it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.podnet.fabric.plugins.plugin_utils import plan_table, plan_view, planning, schema
from ansible_collections.podnet.fabric.plugins.plugin_utils.hardware_address import bridge_mac, vtep_mac


@pytest.fixture
def plan(tmp_path: Path, host: Any) -> dict[str, Any]:
    """The plan of two nodes; the first one has been asked."""
    second = {"address": "2001:db8::11", "prefixlen": 64}
    told = {"interface": "eth0", "address": "192.0.2.11", "prefixlen": 24, "mtu": 1500, "second": second}
    hosts = [host("b-node", "192.0.2.11", told), host("a-node", "192.0.2.12", underlay={"interface": "eth1"})]
    outcome = planning.run(hosts, [], str(tmp_path), allocate=True)
    assert outcome.problems == []
    assert outcome.warnings == [
        "podnet_mtu: worked out from 1 of 2 nodes, since the others have not been asked; run without --limit, or set "
        "podnet_mtu"
    ]
    assert outcome.plan is not None
    return outcome.plan


def test_defaults_make_a_two_line_inventory_work(plan: dict[str, Any], tmp_path: Path) -> None:
    assert plan["cluster"] == "podnet"
    assert (plan["mtu"], plan["overhead"]) == (1450, 50)
    assert plan["ledger"] == str(tmp_path / ".podnet-ledger.json")
    assert plan["pools"] == [
        {
            "name": "default",
            "cidr": "10.244.0.0/16",
            "family": 4,
            "block_size": 24,
            "nat_outgoing": True,
            "blocks": {"total": 256, "held": 2, "resting": 0, "reserved": 0},
        },
        {
            "name": "default6",
            "cidr": "fd00:10:244::/48",
            "family": 6,
            "block_size": 64,
            "nat_outgoing": True,
            "blocks": {"total": 65536, "held": 2, "resting": 0, "reserved": 0},
        },
    ]
    assert list(plan["nodes"]) == ["b-node", "a-node"]
    assert plan["nodes"]["b-node"] == {
        "name": "b-node",
        "underlay": {
            "address": "192.0.2.11",
            "interface": "eth0",
            "source": "node",
            "second": {"address": "2001:db8::11", "prefixlen": 64},
        },
        "subnets": ["192.0.2.0/24", "2001:db8::/64"],
        "family": 4,
        "vtep_mac": vtep_mac("podnet", "b-node"),
        "bridge_mac": bridge_mac("podnet", "b-node"),
        "blocks": [
            {"cidr": "10.244.0.0/24", "pool": "default", "family": 4, "gateway": "10.244.0.1"},
            {"cidr": "fd00:10:244::/64", "pool": "default6", "family": 6, "gateway": "fd00:10:244::1"},
        ],
    }
    assert plan["nodes"]["a-node"]["underlay"] == {
        "address": "192.0.2.12",
        "interface": "eth1",
        "source": "ansible_host",
        "second": None,
    }


def test_the_plan_survives_the_way_to_the_hosts(plan: dict[str, Any]) -> None:
    assert json.loads(json.dumps(plan)) == plan


def test_settings_hold_every_cluster_wide_variable(plan: dict[str, Any]) -> None:
    told = {name for name in schema.cluster_wide() if not schema.is_secret(name)}
    # Of which there may be thousands travels as text.
    told -= {"podnet_services", "podnet_endpoint_slices"}
    assert {f"podnet_{name}" for name in plan["settings"]} == told
    assert plan["settings"]["vxlan_vni"] == 84
    assert (plan["settings"]["ledger"]["store"], plan["settings"]["ledger"]["path"]) == ("file", "auto")


def test_a_node_sees_itself(plan: dict[str, Any]) -> None:
    node = plan_view.node(plan, "a-node")
    assert node["bridge_addresses"] == ["10.244.1.1/24", "fd00:10:244:1::1/64"]
    assert node["vtep_addresses"] == ["10.244.1.0/32", "fd00:10:244:1::/128"]
    assert {key: node[key] for key in plan["nodes"]["a-node"]} == plan["nodes"]["a-node"]


def test_a_node_sees_its_peers_by_name(plan: dict[str, Any]) -> None:
    assert plan_view.peers(plan, "b-node") == [
        {
            "name": "a-node",
            "underlay": "192.0.2.12",
            "second": None,
            "direct": False,
            "mac": vtep_mac("podnet", "a-node"),
            "blocks": ["10.244.1.0/24", "fd00:10:244:1::/64"],
        }
    ]
    assert [peer["name"] for peer in plan_view.peers(plan, "a-node")] == ["b-node"]


def test_a_node_sees_the_pools(plan: dict[str, Any]) -> None:
    assert plan_view.pools(plan) == [
        {"name": "default", "cidr": "10.244.0.0/16", "nat_outgoing": True},
        {"name": "default6", "cidr": "fd00:10:244::/48", "nat_outgoing": True},
    ]


@pytest.mark.parametrize("view", [plan_view.node, plan_view.peers])
def test_a_host_outside_the_plan(plan: dict[str, Any], view: Any) -> None:
    with pytest.raises(plan_view.NotInPlan) as caught:
        view(plan, "c-node")
    assert str(caught.value) == (
        "c-node: found no such node among the 2 of the plan, wanted a host of the inventory's group podnet, or any "
        "host when there is no such group; did you mean b-node?"
    )
    with pytest.raises(plan_view.NotInPlan, match=r"^podnet_plan: found no plan"):
        view({}, "a-node")


def test_the_table_shows_nodes_pools_and_mtu(plan: dict[str, Any]) -> None:
    one, other = vtep_mac("podnet", "b-node"), vtep_mac("podnet", "a-node")
    assert plan_table.lines({**plan, "ledger": "podnet-ledger.json"}) == [
        "cluster podnet: 2 nodes, vxlan, VNI 84, UDP port 4789, encapsulation always",
        "MTU of the pods: 1450 (the dataplane takes 50 bytes)",
        "ledger: podnet-ledger.json",
        "",
        "pool      range             blocks of  owned       resting  reserved  free   NAT outward",
        "--------  ----------------  ---------  ----------  -------  --------  -----  -----------",
        "default   10.244.0.0/16     /24        2 of 256    0        0         254    yes",
        "default6  fd00:10:244::/48  /64        2 of 65536  0        0         65534  yes",
        "",
        "node    underlay    interface  second        block               gateway           tunnel end",
        "------  ----------  ---------  ------------  ------------------  ----------------  -----------------",
        f"b-node  192.0.2.11  eth0       2001:db8::11  10.244.0.0/24       10.244.0.1        {one}",
        "                                             fd00:10:244::/64    fd00:10:244::1",
        f"a-node  192.0.2.12  eth1                     10.244.1.0/24       10.244.1.1        {other}",
        "                                             fd00:10:244:1::/64  fd00:10:244:1::1",
    ]


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"dataplane": "host_gw"}, "cluster podnet: 1 nodes, host_gw"),
        ({"dataplane": "wireguard"}, "cluster podnet: 1 nodes, wireguard, UDP port 51820, encapsulation always"),
        (
            {"dataplane": "ipip", "encapsulation": "cross_subnet"},
            "cluster podnet: 1 nodes, ipip, encapsulation cross_subnet",
        ),
    ],
)
def test_the_table_tells_the_dataplane(tmp_path: Path, host: Any, settings: dict[str, Any], line: str) -> None:
    plan = planning.run([host("node1", "192.0.2.11", **settings)], [], str(tmp_path), allocate=False).plan
    assert plan is not None
    assert plan_table.lines(plan)[0] == line


def test_hardware_addresses_are_stable_local_and_unicast() -> None:
    # Peers keep them in permanent neighbours: another release must not change them.
    assert vtep_mac("podnet", "node1") == "f2:b6:ba:c0:d4:3e"
    for number in range(500):
        for mac in (vtep_mac("podnet", f"n{number}"), bridge_mac("podnet", f"n{number}")):
            assert int(mac[:2], 16) & 0x03 == 0x02


def test_an_underlay_of_ipv6(tmp_path: Path, host: Any) -> None:
    told = {"interface": "eth0", "address": "2001:db8::11", "prefixlen": 64, "mtu": 1500}
    plan = planning.run([host("node1", "2001:db8::11", told)], [], str(tmp_path), allocate=False).plan
    assert plan is not None
    assert (plan["mtu"], plan["overhead"], plan["nodes"]["node1"]["family"]) == (1430, 70, 6)


def test_an_address_of_the_operator_beats_what_the_node_told(tmp_path: Path, host: Any) -> None:
    told = {"interface": "eth0", "address": "192.0.2.11", "prefixlen": 24, "mtu": 1500}
    asked = host("node1", "203.0.113.5", told, underlay={"address": "198.51.100.1"})
    plan = planning.run([asked], [], str(tmp_path), allocate=False).plan
    assert plan is not None
    # The MTU was another interface's.
    assert plan["mtu"] is None
    underlay = {"address": "198.51.100.1", "interface": "auto", "source": "podnet_underlay", "second": None}
    assert plan["nodes"]["node1"]["underlay"] == underlay


def test_numbers_and_booleans_given_on_the_command_line_count(tmp_path: Path, host: Any) -> None:
    given = {"vxlan_vni": "85", "mtu": "1400", "verify": "no", "install_packages": "True"}
    plan = planning.run([host("node1", "192.0.2.11", **given)], [], str(tmp_path), allocate=False).plan
    assert plan is not None
    found = plan["settings"]
    assert (found["vxlan_vni"], found["mtu"], found["verify"], found["install_packages"]) == (85, 1400, False, True)
    assert plan["mtu"] == 1400


def test_blocks_of_a_pool_smaller_than_the_usual_block(tmp_path: Path, host: Any) -> None:
    pools = [{"name": "small", "cidr": "10.0.0.0/25"}, {"name": "small6", "cidr": "fd00::/120"}]
    plan = planning.run([host("node1", "192.0.2.11", pools=pools)], [], str(tmp_path), allocate=False).plan
    assert plan is not None
    assert [block["cidr"] for block in plan["nodes"]["node1"]["blocks"]] == ["10.0.0.0/25", "fd00::/120"]


def test_a_ledger_beside_the_inventory_or_where_the_operator_says(tmp_path: Path, host: Any) -> None:
    def ledger(path: str, folder: str | None) -> Any:
        outcome = planning.run([host("node1", "192.0.2.11", ledger={"path": path})], [], folder, allocate=False)
        return outcome.ledger or [str(problem) for problem in outcome.problems]

    assert ledger("auto", str(tmp_path)) == str(tmp_path / ".podnet-ledger.json")
    assert ledger("state/l.json", str(tmp_path)) == str(tmp_path / "state" / "l.json")
    assert ledger(str(tmp_path / "l.json"), None) == str(tmp_path / "l.json")
    assert ledger("auto", None) == [
        "podnet_ledger.path: found 'auto', while the inventory has no folder, wanted an absolute path; set "
        "podnet_ledger.path, or keep the inventory in a file"
    ]


def test_a_pool_that_changes_under_owned_blocks_stops_the_plan(tmp_path: Path, host: Any) -> None:
    def run(*pools: dict[str, Any]) -> list[str]:
        outcome = planning.run([host("node1", "192.0.2.11", pools=list(pools))], [], str(tmp_path), allocate=True)
        return [str(problem) for problem in outcome.problems]

    was = {"name": "default", "cidr": "10.0.0.0/16"}
    assert run(was) == []
    before = (tmp_path / ".podnet-ledger.json").read_bytes()
    for now in ({**was, "cidr": "10.1.0.0/16"}, {**was, "block_size": 25}, {**was, "name": "other"}):
        assert run(now) == [
            f"podnet_pools: found no pool 'default' that the owned blocks fit which {tmp_path}/.podnet-ledger.json "
            "has: 10.0.0.0/24 of node1, wanted each owned block inside its pool, with the pool's block_size; put the "
            "pool back as it was and add a new one beside it; to move a block, take its node out of the inventory, "
            "tear it down, and add it again"
        ]
        assert (tmp_path / ".podnet-ledger.json").read_bytes() == before
    assert run(was, {"name": "second", "cidr": "10.1.0.0/16"}) == []


def test_a_pool_whose_free_blocks_all_rest(tmp_path: Path, host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_000_000.0)
    pools = [{"name": "default", "cidr": "10.0.0.0/23"}]

    def run(*names: str, rest: int = 3600) -> list[str]:
        hosts = [host(name, f"192.0.2.{ord(name)}", pools=pools, block_rest=rest) for name in names]
        return [str(problem) for problem in planning.run(hosts, [], str(tmp_path), allocate=True).problems]

    assert run("a", "b") == []
    assert run("b") == []
    before = (tmp_path / ".podnet-ledger.json").read_bytes()
    assert run("b", "c") == [
        "podnet_pools: found no free IPv4 block for c (1 owned, 1 resting, the first until 1970-01-12T14:46:40Z), "
        "wanted a free one for each of them; add an IPv4 pool, or set podnet_block_rest to fewer seconds if nothing "
        "uses the resting blocks' addresses any more"
    ]
    assert (tmp_path / ".podnet-ledger.json").read_bytes() == before
    assert run("b", "c", rest=0) == []
