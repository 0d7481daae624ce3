# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Links: what pyroute2 makes and reads is what we read."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.netlink.link import Link, dump_links
from ansible_collections.podnet.fabric.tests.integration.netlink.oracle import mac, packed

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.tests.integration.netlink.conftest import Node


def _links(node: Node) -> dict[str, Link]:
    return {link.name: link for link in dump_links(node.nl)}


def test_links_read_as_pyroute2_reads_them(node: Node) -> None:
    node.ipr.link("set", index=node.index_of["vx"], master=node.index_of["br0"], ifalias="podnet:vxlan")
    read = _links(node)
    theirs = {link.get_attr("IFLA_IFNAME"): link for link in node.ipr.get_links()}
    assert set(read) == set(theirs)
    for name, link in theirs.items():
        info = link.get_attr("IFLA_LINKINFO")
        assert read[name].index == link["index"]
        assert read[name].kind == (info.get_attr("IFLA_INFO_KIND") if info else "")
        assert read[name].mtu == link.get_attr("IFLA_MTU")
        assert read[name].mac == mac(link.get_attr("IFLA_ADDRESS"))
        assert read[name].alias == (link.get_attr("IFLA_IFALIAS") or "")
        assert read[name].up == bool(link["flags"] & 1)
        assert read[name].carrier == bool(link.get_attr("IFLA_CARRIER"))
        assert read[name].master == node.names.get(link.get_attr("IFLA_MASTER"), "")
        assert read[name].parent == node.names.get(link.get_attr("IFLA_LINK"), "")
        assert read[name].group == link.get_attr("IFLA_GROUP")
    assert (read["vx"].master, read["vx"].alias) == ("br0", "podnet:vxlan")


def test_a_vxlan_device_shows_what_it_was_made_of(node: Node) -> None:
    node.ipr.link(
        "add",
        ifname="podnet-vx",
        kind="vxlan",
        address="02:00:00:00:00:01",
        mtu=1430,
        vxlan_id=4242,
        vxlan_link=node.index_of["v0"],
        vxlan_local6="2001:db8::1",
        vxlan_port=4799,
        vxlan_learning=0,
        vxlan_ttl=9,
    )
    link = _links(node)["podnet-vx"]
    assert (link.kind, link.mac, link.mtu) == ("vxlan", mac("02:00:00:00:00:01"), 1430)
    assert (link.parent, link.up) == ("v0", False)
    shown = {key: link.data[key] for key in ("id", "link", "local", "port", "learning", "ttl", "external")}
    assert shown == {
        "id": 4242,
        "link": node.index_of["v0"],
        "local": packed("2001:db8::1"),
        "port": 4799,
        "learning": False,
        "ttl": 9,
        "external": False,
    }


def test_a_collect_metadata_vxlan_and_a_group_are_told(node: Node) -> None:
    node.netns.ip("link", "add", "x0", "type", "vxlan", "external", "dstport", "4801")
    node.netns.ip("link", "add", "x1", "type", "vxlan", "id", "9", "group", "239.1.1.1", "dev", "v0", "dstport", "4802")
    links = _links(node)
    assert links["x0"].data["external"] is True
    assert links["x1"].data["remote"] == packed("239.1.1.1")
    assert links["x1"].data["learning"] is True


def test_a_bridge_shows_its_settings(node: Node) -> None:
    node.netns.ip("link", "set", "br0", "type", "bridge", "stp_state", "0", "ageing_time", "1000", "priority", "7")
    data = _links(node)["br0"].data
    assert (data["stp_state"], data["ageing_time"], data["priority"]) == (0, 1000, 7)


def test_a_veth_whose_peer_is_in_another_namespace_has_no_parent(node: Node) -> None:
    assert _links(node)["v0"].parent == "v1"
    with subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE) as other:
        try:
            _wait_until_elsewhere(other.pid)
            node.netns.ip("link", "set", "v1", "netns", str(other.pid))
            assert _links(node)["v0"].parent == ""
        finally:
            assert other.stdin
            other.stdin.close()


def _wait_until_elsewhere(pid: int) -> None:
    here = Path("/proc/self/ns/net").readlink()
    for _attempt in range(1000):
        if Path(f"/proc/{pid}/ns/net").readlink() != here:
            return
        time.sleep(0.005)
    raise AssertionError(f"process {pid} did not get a namespace of its own")
