# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node tells of its dataplane is what the kernel does, and what is missing on a way is named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils import dataplane
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.errors import DeclarationError, InvalidInput
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host

if TYPE_CHECKING:
    from pathlib import Path

    from ansible_collections.podnet.fabric.tests.integration.conftest import Namespace
from ansible_collections.podnet.fabric.plugins.module_utils.evidence.inquiry import Probing

MAC = "02:00:00:00:00:02"
NODE = f"""\
link add eth0 type veth peer name wire0
address add 192.0.2.1/24 dev eth0
link set eth0 up
link set wire0 up
link add podnet-vx address 02:00:00:00:00:01 mtu 1450 type vxlan id 84 dstport 4789 local 192.0.2.1 nolearning
link set podnet-vx alias podnet:vxlan
address add 10.244.1.0/32 dev podnet-vx
link set podnet-vx up
link add podnet0 mtu 1450 type bridge
link set podnet0 alias podnet:bridge
address add 10.244.1.1/24 dev podnet0
link set podnet0 up
neigh add 10.244.2.0 lladdr {MAC} dev podnet-vx nud permanent
nexthop add id 1409286144 via 10.244.2.0 dev podnet-vx onlink protocol 84
route add 10.244.2.0/24 nhid 1409286144 protocol 84
route add blackhole 10.244.9.0/24 protocol 84
route add default via 192.0.2.254
"""
DECLARED: dict[str, dict[str, dict[str, Any]]] = {
    "ipam_block": {"node": {"blocks": ["10.244.1.0/24"], "made": []}},
    "ipam_pool": {"node": {"pools": [{"name": "default", "cidr": "10.244.0.0/16", "nat_outgoing": True}]}},
    "vxlan": {
        "podnet-vx": {
            "vni": 84,
            "port": 4789,
            "local": "192.0.2.1",
            "underlay": "eth0",
            "mac": "02:00:00:00:00:01",
            "mtu": 1450,
            "addresses": [],
            "nexthop_objects": "auto",
            "peers": [{"name": "node2", "underlay": "192.0.2.2", "mac": MAC, "blocks": ["10.244.2.0/24"]}],
        }
    },
}


@pytest.fixture
def declarations(netns: Namespace, tmp_path: Path) -> Declarations:
    netns.run("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
    netns.run("ip", "-batch", "-", stdin=NODE)
    netns.run("bridge", "fdb", "append", MAC, "dev", "podnet-vx", "dst", "192.0.2.2", "self", "permanent")
    declared = Declarations(tmp_path / "node.d")
    for kind, items in DECLARED.items():
        declared.write(kind, items)
    return declared


def _described(declarations: Declarations, *to: str) -> dict[str, Any]:
    with Host() as host:
        return dataplane.describe(host, declarations, to)


def _looked_up(declarations: Declarations, to: str) -> dict[str, Any]:
    (found,) = _described(declarations, to)["lookups"]
    assert isinstance(found, dict)
    return found


def test_what_is_ours_is_told_and_nothing_else(declarations: Declarations) -> None:
    found = _described(declarations)
    assert found["dataplane"] == "vxlan"
    assert found["declared"] == DECLARED
    assert found["blocks"] == ["10.244.1.0/24"]
    assert found["mtu"] == 1450
    assert {link["name"] for link in found["links"]} == {"podnet-vx", "podnet0"}
    assert {address["address"] for address in found["addresses"]} == {"10.244.1.0/32", "10.244.1.1/24"}
    assert [route["dst"] for route in found["routes"]] == ["10.244.2.0/24", "10.244.9.0/24"]
    assert [nexthop["via"] for nexthop in found["nexthops"]] == ["10.244.2.0"]
    assert [near["lladdr"] for near in found["neighbours"]] == [MAC]
    assert [(entry["mac"], entry["dst"]) for entry in found["fdb"]] == [(MAC, "192.0.2.2")]


def test_the_way_to_a_pod_of_another_node_is_followed_to_its_end(declarations: Declarations) -> None:
    assert _looked_up(declarations, "10.244.2.7") == {
        "to": "10.244.2.7",
        "dataplane": "vxlan",
        "dev": "podnet-vx",
        "via": "10.244.2.0",
        "lladdr": MAC,
        "underlay": "192.0.2.2",
        "peer": "node2",
        "route": {"dst": "10.244.2.0/24", "nhid": 1409286144, "proto": "podnet"},
        "problem": None,
    }


@pytest.mark.parametrize(
    ("to", "means", "dev", "problem"),
    [
        ("10.244.1.5", "bridge", "podnet0", None),
        ("10.244.1.1", "local", None, None),
        ("203.0.113.9", "other", "eth0", None),
        ("10.244.7.7", "other", "eth0", "an address of the pod network, but no route of ours leads to it"),
        ("10.244.9.9", None, None, "blackhole"),
        ("2001:db8::1", None, None, "no route"),
    ],
)
def test_every_other_way_is_named(
    declarations: Declarations, to: str, means: str | None, dev: str | None, problem: str | None
) -> None:
    found = _looked_up(declarations, to)
    assert (found["dataplane"], found["dev"], found["problem"]) == (means, dev, problem)


def test_what_is_missing_on_the_way_is_named(declarations: Declarations, netns: Namespace) -> None:
    netns.run("bridge", "fdb", "delete", MAC, "dev", "podnet-vx", "dst", "192.0.2.2", "self")
    assert f"no FDB entry for {MAC} on podnet-vx" in _looked_up(declarations, "10.244.2.7")["problem"]
    netns.run("bridge", "fdb", "append", MAC, "dev", "podnet-vx", "dst", "192.0.2.99", "self", "permanent")
    assert "no declared peer has the underlay address 192.0.2.99" in _looked_up(declarations, "10.244.2.7")["problem"]
    netns.ip("neigh", "delete", "10.244.2.0", "dev", "podnet-vx")
    assert "no neighbour entry for 10.244.2.0 on podnet-vx" in _looked_up(declarations, "10.244.2.7")["problem"]


def test_a_route_of_somebody_else_into_our_tunnel_is_named(declarations: Declarations, netns: Namespace) -> None:
    netns.ip("route", "add", "10.244.2.128/25", "via", "10.244.2.0", "dev", "podnet-vx", "onlink")
    assert "a route of protocol 3 leads there" in _looked_up(declarations, "10.244.2.200")["problem"]


def test_a_node_without_a_network_has_none(netns: Namespace, tmp_path: Path) -> None:
    found = _described(Declarations(tmp_path / "node.d"), "10.244.2.7")
    assert (found["dataplane"], found["mtu"], found["links"], found["routes"]) == (None, None, [], [])
    assert found["lookups"][0]["problem"] == "no route"


def test_what_is_no_address_is_refused_all_at_once() -> None:
    assert dataplane.addresses_of(["10.0.0.1/24", "fd00::1"]) == ["10.0.0.1", "fd00::1"]
    with pytest.raises(InvalidInput) as caught:
        dataplane.addresses_of(["pod", "10.0.0.1", "10.0.0.256"])
    assert len(caught.value.findings) == 2


def test_what_cannot_be_probed_is_refused_all_at_once() -> None:
    sound = {"to": ["10.0.0.1/24"], "source": [], "seconds": 2.0, "underlay": "auto"}
    assert dataplane.probing_of(None) is None
    assert dataplane.probing_of(sound) == Probing(("10.0.0.1",), (), 2.0, "")
    with pytest.raises(InvalidInput) as caught:
        dataplane.probing_of({"to": ["pod"], "source": ["here"], "seconds": 0.0, "underlay": "a/b"})
    assert [finding.path for finding in caught.value.findings] == [
        "probe.to[0]",
        "probe.source[0]",
        "probe.seconds",
        "probe.underlay",
    ]
    with pytest.raises(InvalidInput, match="at most 48"):
        dataplane.probing_of({**sound, "to": ["10.0.0.1"] * 49})


@pytest.mark.parametrize(
    ("kind", "item"),
    [
        ("vxlan", {**DECLARED["vxlan"]["podnet-vx"], "peers": [7]}),
        ("vxlan", {**DECLARED["vxlan"]["podnet-vx"], "peers": [{"name": "node2", "mac": MAC, "blocks": []}]}),
        ("ipam_pool", {"pools": [{"name": "default", "cidr": "here", "nat_outgoing": True}]}),
    ],
    ids=["no peer", "peer without underlay", "no prefix"],
)
def test_an_edited_declaration_is_refused_with_a_message(
    declarations: Declarations, kind: str, item: dict[str, Any]
) -> None:
    declarations.write(kind, {"edited": item})
    with pytest.raises(DeclarationError):
        _described(declarations, "10.244.2.7", "10.244.7.7")
