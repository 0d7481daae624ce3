# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A full disk and a read-only /etc: nothing is half done, the message says why, and the cure is to run again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.tests.integration.cni.node import Failed

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.tests.integration.cni.node import Node

FULL = "No space left on device"
READ_ONLY = "Read-only file system"
BRIDGE: dict[str, Any] = {
    "name": "podnet1",
    "mtu": 1450,
    "mac": "02:00:00:00:00:11",
    "addresses": ["10.244.8.1/24"],
}


def fill(node: Node, folder: str) -> None:
    """A disk of its own for a folder, with what is in it, and not a byte free."""
    script = (
        f"mkdir -p {folder} /run/kept; cp -a {folder}/. /run/kept; mount -t tmpfs -o size=128k tmpfs {folder}; "
        f"cp -a /run/kept/. {folder}; rm -r /run/kept; dd if=/dev/zero of={folder}/ballast bs=4k 2> /dev/null || true"
    )
    node.run("sh", "-c", script)


def free(node: Node, folder: str) -> None:
    node.run("rm", f"{folder}/ballast")


def mtu(node: Node) -> int:
    (link,) = json.loads(node.run("ip", "-json", "link", "show", "podnet1"))
    return int(link["mtu"])


def links(node: Node) -> list[str]:
    return [link["ifname"] for link in json.loads(node.run("ip", "-json", "link"))]


def test_a_full_disk_keeps_the_network_as_it_is_and_lets_it_be_taken_away(node: Node) -> None:
    fill(node, "/etc/podnet")
    before = links(node)
    with pytest.raises(Failed) as refused:
        node.module("bridge", **BRIDGE)
    assert refused.value.message == (f"/etc/podnet/node.d/bridge.json: cannot be written: {FULL}; nothing was changed")
    assert links(node) == before
    free(node, "/etc/podnet")
    assert node.module("bridge", **BRIDGE)["changed"]

    node.run("sh", "-c", "dd if=/dev/zero of=/etc/podnet/ballast bs=4k 2> /dev/null || true")
    assert not node.module("bridge", **BRIDGE)["changed"]
    with pytest.raises(Failed, match=FULL):
        node.module("bridge", **{**BRIDGE, "mtu": 1400})
    assert mtu(node) == 1450
    assert node.module("bridge", name="podnet1", state="absent")["changed"]
    assert links(node) == before
    assert node.run("find", "/etc/podnet", "-type", "f").split() == ["/etc/podnet/ballast"]


def test_a_full_disk_of_the_runtimes_is_named_and_the_next_run_writes_the_network(node: Node) -> None:
    fill(node, "/etc/cni/net.d")
    with pytest.raises(Failed) as refused:
        node.network()
    assert refused.value.message.startswith("files: create /etc/cni/net.d/")
    assert refused.value.message.endswith(FULL)
    assert node.run("ls", "-A", "/etc/cni/net.d").split() == ["ballast"]
    free(node, "/etc/cni/net.d")
    assert node.network()["changed"]
    assert not node.network()["changed"]


def test_a_read_only_etc_is_named_and_what_needs_no_change_still_succeeds(node: Node) -> None:
    node.module("bridge", **BRIDGE)
    node.network()
    node.run("mount", "--bind", "/etc", "/etc")
    node.run("mount", "-o", "remount,bind,ro", "/etc")
    assert not node.module("bridge", **BRIDGE)["changed"]
    assert not node.network()["changed"]
    assert not node.module("purge", check=True, kinds=["vxlan"])["changed"]
    wanted = {"bridge": {**BRIDGE, "mtu": 1400}, "sysctl": {"settings": {"net.ipv4.ip_forward": 1}}}
    wanted["ipam_block"] = {"blocks": ["10.244.8.0/24"]}
    wanted["bgp"] = {"local": "10.244.3.1", "blocks": ["10.244.8.0/24"], "pools": ["10.244.0.0/16"], "peers": []}
    for module, params in wanted.items():
        with pytest.raises(Failed) as refused:
            node.module(module, **params)
        file = f"/etc/podnet/node.d/{module}.json"
        assert refused.value.message == f"{file}: cannot be written: {READ_ONLY}; nothing was changed"
    assert mtu(node) == 1450
    with pytest.raises(Failed, match=f"{READ_ONLY}; all else is done"):
        node.module("bridge", name="podnet1", state="absent")
    node.run("umount", "/etc")
    assert node.module("bridge", name="podnet1", state="absent")["changed"]
    assert not node.module("bridge", name="podnet1", state="absent")["changed"]
