# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Links of every kind that we make: what pyroute2 and iproute2 read of them is what we said."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.netlink.errors import NetlinkError
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.link import (
    IN6_ADDR_GEN_MODE_EUI64,
    IN6_ADDR_GEN_MODE_NONE,
    Link,
    Settings,
    dump_links,
    encode_link,
)
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.link_data import IP6_TNL_F_IGN_ENCAP_LIMIT
from ansible_collections.podnet.fabric.tests.integration.netlink.oracle import mac, packed
from tests.integration.kinds import needs_link_kind

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.tests.integration.netlink.conftest import Node

NAME = "made"
MAC = "02:00:00:00:00:01"
VXLAN = Settings(
    NAME,
    "vxlan",
    1400,
    mac(MAC),
    group=84,
    parent="v0",
    data={"id": 4242, "local": packed("192.0.2.1"), "port": 4799, "learning": False, "ttl": 9, "udp_csum": True},
)
BRIDGE = Settings(NAME, "bridge", 0, mac(MAC), group=84, data={"ageing_time": 1000, "priority": 7, "stp_state": 1})
GENEVE = Settings(NAME, "geneve", 1400, mac(MAC), group=84, data={"external": True, "port": 6099})
GENEVE_OVER_IPV6 = GENEVE._replace(data={**GENEVE.data, "udp_zero_csum6_rx": True})
IPIP = Settings(NAME, "ipip", 1400, group=84, data={"local": packed("192.0.2.1"), "ttl": 64, "pmtudisc": True})
IPIP_INHERITING = IPIP._replace(data={"local": packed("192.0.2.1"), "ttl": 0, "pmtudisc": False})
IP6TNL = Settings(
    NAME, "ip6tnl", 1400, group=84, data={"external": True, "proto": 41, "flags": IP6_TNL_F_IGN_ENCAP_LIMIT}
)
WIREGUARD = Settings(NAME, "wireguard", 1400, group=84)


def on_kernels_with(kind: str, *values: Any) -> Any:
    return pytest.param(*values, marks=needs_link_kind(kind))


# Settings, and what `ip -details link` shows of the kind's attributes.
MADE = [
    pytest.param(
        VXLAN,
        {"id": 4242, "local": "192.0.2.1", "link": "v0", "port": 4799, "learning": False, "ttl": 9, "udp_csum": True},
        id="vxlan",
    ),
    pytest.param(
        VXLAN._replace(data={**VXLAN.data, "local": packed("2001:db8::1"), "udp_zero_csum6_rx": True}),
        {"id": 4242, "local6": "2001:db8::1", "udp_zero_csum6_rx": True, "port": 4799},
        id="vxlan over IPv6",
    ),
    pytest.param(
        VXLAN._replace(parent="", data={"external": True, "port": 4800}),
        {"external": True, "port": 4800},
        id="external vxlan",
    ),
    pytest.param(BRIDGE, {"ageing_time": 1000, "priority": 7, "stp_state": 1}, id="bridge"),
    on_kernels_with("geneve", GENEVE, {"external": True, "port": 6099}),
    on_kernels_with("geneve", GENEVE_OVER_IPV6, {"external": True, "port": 6099, "udp_zero_csum6_rx": True}),
    on_kernels_with("ipip", IPIP, {"remote": "any", "local": "192.0.2.1", "ttl": 64, "pmtudisc": True}),
    on_kernels_with("ipip", IPIP_INHERITING, {"remote": "any", "local": "192.0.2.1", "pmtudisc": False}),
    on_kernels_with("ip6tnl", IP6TNL, {"external": True, "proto": "ip6ip6", "ip6_tnl_f_ign_encap_limit": True}),
    on_kernels_with("wireguard", WIREGUARD, None),
]


def read(node: Node) -> Link:
    (link,) = [link for link in dump_links(node.nl) if link.name == NAME]
    return link


def make(node: Node, settings: Settings) -> None:
    node.apply(encode_link("create", settings, node.index_of))


def change(node: Node, **changes: Any) -> None:
    node.apply(encode_link("change", Settings(NAME, **changes), {}))


@pytest.mark.parametrize(("settings", "shown"), MADE)
def test_a_link_of_ours_is_what_iproute2_reads(node: Node, settings: Settings, shown: dict[str, Any] | None) -> None:
    make(node, settings)
    (theirs,) = node.netns.ip_json("link", "show", NAME)
    assert theirs["linkinfo"]["info_kind"] == settings.kind
    info = theirs["linkinfo"].get("info_data", {})
    if shown is None:
        assert info == {}
    else:
        assert {key: info.get(key) for key in shown} == shown
    assert theirs["mtu"] == (settings.mtu or 1500)
    assert theirs["group"] == "84"
    assert theirs["flags"].count("UP") == 0
    if settings.mac:
        assert theirs["address"] == MAC


@pytest.mark.parametrize(("settings", "shown"), MADE)
def test_a_link_of_ours_reads_back_as_written(node: Node, settings: Settings, shown: dict[str, Any] | None) -> None:
    make(node, settings)
    link = read(node)
    assert {name: link.data.get(name) for name in settings.data} == settings.data
    made = (link.kind, link.mtu, link.group, link.alias, link.up, link.parent)
    assert made == (settings.kind, settings.mtu or 1500, 84, "", False, settings.parent)


@pytest.mark.parametrize("settings", [VXLAN, BRIDGE], ids=["vxlan", "bridge"])
def test_a_link_of_ours_is_what_pyroute2_reads(node: Node, settings: Settings) -> None:
    make(node, settings)
    (theirs,) = node.ipr.get_links(ifname=NAME)
    info = theirs.get_attr("IFLA_LINKINFO")
    data = info.get_attr("IFLA_INFO_DATA")
    assert info.get_attr("IFLA_INFO_KIND") == settings.kind
    assert (theirs.get_attr("IFLA_ADDRESS"), theirs.get_attr("IFLA_GROUP")) == (MAC, 84)
    if settings is VXLAN:
        names = ("ID", "LOCAL", "PORT", "LEARNING", "TTL", "UDP_CSUM", "LINK")
        found = [data.get_attr(f"IFLA_VXLAN_{name}") for name in names]
        assert found == [4242, "192.0.2.1", 4799, 0, 9, 1, node.index_of["v0"]]
    else:
        found = [data.get_attr(f"IFLA_BR_{name}") for name in ("AGEING_TIME", "PRIORITY", "STP_STATE")]
        assert found == [1000, 7, 1]


MADE_BY_IPROUTE2 = [
    on_kernels_with(
        "geneve", "geneve external dstport 6099", {"external": True, "port": 6099, "udp_zero_csum6_rx": True}
    ),
    on_kernels_with(
        "geneve",
        "geneve id 7 remote 2001:db8::2 udp6zerocsumrx",
        {"id": 7, "remote": packed("2001:db8::2"), "udp_zero_csum6_rx": True, "port": 6081, "external": None},
    ),
    on_kernels_with(
        "ipip",
        "ipip local 192.0.2.1 remote 192.0.2.2 ttl 5",
        {"local": packed("192.0.2.1"), "remote": packed("192.0.2.2"), "ttl": 5, "pmtudisc": True, "external": None},
    ),
    on_kernels_with("ipip", "ipip external", {"external": True}),
    on_kernels_with("ip6tnl", "ip6tnl mode ip6ip6 external", {"external": True, "proto": 41}),
    on_kernels_with(
        "ip6tnl",
        "ip6tnl mode any local 2001:db8::1 remote 2001:db8::2 hoplimit 3 encaplimit 2",
        {"local": packed("2001:db8::1"), "remote": packed("2001:db8::2"), "ttl": 3, "encap_limit": 2, "proto": 0},
    ),
    pytest.param("vxlan external gbp dstport 4801", {"external": True, "gbp": True}, id="vxlan external gbp"),
]


@pytest.mark.parametrize(("words", "data"), MADE_BY_IPROUTE2)
def test_a_link_of_iproute2_is_what_we_read(node: Node, words: str, data: dict[str, Any]) -> None:
    node.netns.ip("link", "add", NAME, "type", *words.split())
    link = read(node)
    assert link.kind == words.split(maxsplit=1)[0]
    assert {name: link.data.get(name) for name in data} == data


@pytest.mark.parametrize("settings", [VXLAN, BRIDGE], ids=["vxlan", "bridge"])
def test_what_can_change_changes(node: Node, settings: Settings) -> None:
    make(node, settings)
    change(node, mtu=1380, mac=mac("02:00:00:00:00:02"), alias="podnet:test")
    change(node, up=True)
    link = read(node)
    assert (link.mtu, link.mac, link.alias, link.up) == (1380, mac("02:00:00:00:00:02"), "podnet:test", True)
    change(node, alias="podnet:other")
    assert read(node) == link._replace(alias="podnet:other", carrier=read(node).carrier)
    change(node, up=False)
    assert not read(node).up
    (theirs,) = node.netns.ip_json("link", "show", NAME)
    assert theirs["ifalias"] == "podnet:other"


@pytest.mark.parametrize(
    ("mode", "shown", "addresses"), [(IN6_ADDR_GEN_MODE_NONE, "none", 0), (IN6_ADDR_GEN_MODE_EUI64, "eui64", 1)]
)
def test_a_link_has_a_link_local_address_where_it_is_to_have_one(
    node: Node, mode: int, shown: str, addresses: int
) -> None:
    make(node, VXLAN)
    change(node, addr_gen_mode=mode)
    change(node, up=True)
    (theirs,) = node.netns.ip_json("link", "show", NAME)
    assert theirs["inet6_addr_gen_mode"] == shown
    (theirs,) = node.netns.ip_json("address", "show", NAME)
    assert len(theirs["addr_info"]) == addresses


@needs_link_kind("ipip")
def test_an_ipip_device_changes_its_end_and_keeps_its_index(node: Node) -> None:
    make(node, IPIP)
    before = read(node)
    change(node, kind="ipip", data={**IPIP.data, "local": packed("192.0.2.9")})
    after = read(node)
    assert (after.index, after.data["local"], after.data["ttl"]) == (before.index, packed("192.0.2.9"), 64)


def test_a_link_goes(node: Node) -> None:
    make(node, VXLAN)
    index_of = {NAME: read(node).index}
    node.apply(encode_link("delete", Settings(NAME), index_of))
    assert NAME not in {link.name for link in dump_links(node.nl)}
    ((_nth, error),) = node.nl.batch([encode_link("delete", Settings(NAME), index_of)])
    assert error.errno == errno.ENODEV


def test_a_refusal_has_the_kernels_words(node: Node) -> None:
    refused = [
        encode_link("create", VXLAN._replace(data={"id": 1 << 24}), node.index_of),
        encode_link("create", Settings(NAME, "nosuchkind"), node.index_of),
        encode_link("create", Settings("br0", "bridge"), node.index_of),
        encode_link("change", Settings("br0", mtu=1), node.index_of),
    ]
    failures = node.nl.batch(refused)
    assert [nth for nth, _error in failures] == [0, 1, 2, 3]
    said = [str(error) for _nth, error in failures]
    assert said[0] == "Numerical result out of range: VXLAN ID must be lower than 16777216"
    assert said[1] == "Operation not supported: Unknown device type"
    assert said[2] == "File exists"
    assert said[3] == "Invalid argument: mtu less than device minimum"


def test_a_parent_that_is_not_there_is_named(node: Node) -> None:
    with pytest.raises(NetlinkError, match="there is no device 'eth9'"):
        encode_link("create", VXLAN._replace(parent="eth9"), node.index_of)
