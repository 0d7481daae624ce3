# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration list on a node: written, kept, refused, taken away."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from ansible_collections.podnet.fabric.tests.integration.cni.node import BLOCKS, Failed

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.tests.integration.cni.node import FakePlugins, Node

PATH = "/etc/cni/net.d/10-podnet.conflist"


def test_it_is_written_once_and_taken_away_with_its_directories(node: Node) -> None:
    predicted = node.network(check=True)
    assert node.run("find", "/etc", "-path", "/etc/cni*") == ""
    first = node.network()
    assert first["changed"]
    assert first["after"] == predicted["after"]
    assert json.loads(node.read(PATH))["name"] == "podnet"
    assert node.run("stat", "-c", "%a", PATH) == "644\n"
    assert not node.network()["changed"]
    assert node.module("cni_network", state="absent")["changed"]
    assert not node.module("cni_network", state="absent")["changed"]
    assert node.run("find", "/etc", "-path", "/etc/cni*", "-o", "-path", "/etc/podnet*") == ""


def test_a_change_made_by_hand_is_put_right(node: Node) -> None:
    node.network()
    written = node.read(PATH)
    node.write(PATH, written.replace("1450", "9000"))
    assert node.network()["operations"] == {"files": {"replace": 1}}
    assert node.read(PATH) == written


def test_a_foreign_file_of_that_name_is_named_and_left_alone(node: Node) -> None:
    foreign = '{"cniVersion": "1.0.0", "name": "mine", "plugins": [{"type": "ptp"}]}'
    node.write(PATH, foreign)
    with pytest.raises(Failed, match=f"{PATH}: exists and was not written by podnet.fabric"):
        node.network()
    assert node.read(PATH).strip() == foreign


def test_another_file_with_the_same_network_is_an_error_and_one_read_before_ours_a_warning(node: Node) -> None:
    node.write("/etc/cni/net.d/05-other.conflist", '{"cniVersion": "1.0.0", "name": "o", "plugins": [{"type": "ptp"}]}')
    assert "05-other.conflist: read before 10-podnet.conflist" in str(node.network()["warnings"])
    node.write("/etc/cni/net.d/99-podnet.conf", '{"cniVersion": "1.0.0", "name": "podnet", "type": "ptp"}')
    with pytest.raises(Failed, match=r"99-podnet.conf: defines a network named podnet too"):
        node.network()


def test_a_missing_plugin_and_a_wrong_version_are_both_reported_and_nothing_is_written(
    node: Node, fakes: FakePlugins
) -> None:
    (fakes.directory / "host-local").unlink()
    fakes.add("bridge", versions='"0.3.1", "0.4.0"')
    params = {"bin_dir": str(fakes.directory), "plugins": [{"type": "absent-one"}]}
    with pytest.raises(Failed) as caught:
        node.network(**params)
    for part in (
        f"plugins[0].type: {fakes.directory}/bridge does not speak CNI 1.0.0, only 0.3.1, 0.4.0; set cni_version",
        f"plugins[0].ipam.type: CNI plugin host-local is not in {fakes.directory}; install it",
        f"plugins[1].type: CNI plugin absent-one is not in {fakes.directory}",
    ):
        assert part in caught.value.message
    assert node.run("find", "/etc", "-path", "/etc/cni*", "-o", "-path", "/etc/podnet*") == ""
    assert node.network(**params, verify_plugins=False, check=True)["changed"]


def test_a_version_that_the_installed_plugins_do_not_speak_is_refused(node: Node) -> None:
    with pytest.raises(Failed, match=r"/bridge does not speak CNI 1.1.0, only "):
        node.network(cni_version="1.1.0")
    assert node.network(cni_version="0.4.0")["changed"]
    node.pods("a")
    assert len(node.addresses("a")) == 2
    assert not node.pods("a")["changed"]


def test_bad_blocks_are_refused_all_at_once(node: Node) -> None:
    blocks = [
        {"cidr": "10.0.0.1/24", "gateway": "10.0.0.1"},
        {"cidr": "10.1.0.0/24", "gateway": "10.2.0.1"},
        {"cidr": "10.1.0.128/25", "gateway": "10.1.0.129"},
        {"cidr": "10.3.0.0/31", "gateway": "10.3.0.1"},
        {"cidr": "fd00::/64"},
    ]
    with pytest.raises(Failed) as caught:
        node.network(blocks=blocks)
    for part in (
        "blocks[0].cidr: 10.0.0.1/24 has bits set",
        "blocks[1].gateway: 10.2.0.1; give an address in 10.1.0.0/24",
        "blocks[2].cidr: 10.1.0.128/25; overlaps blocks[1].cidr 10.1.0.0/24",
        "blocks[3].cidr: 10.3.0.0/31; too small",
        "blocks[4]:",
    ):
        assert part in caught.value.message
    with pytest.raises(Failed, match="blocks: none; give at least one"):
        node.network(blocks=[])


def test_a_pod_takes_its_address_out_of_any_block_of_a_family(node: Node) -> None:
    node.run("ip", "address", "add", "10.244.9.1/30", "dev", "podnet0")
    small = [{"cidr": "10.244.9.0/30", "gateway": "10.244.9.1"}, *BLOCKS]
    node.network(blocks=small)
    pods = node.pods("a", "b")["pods"]
    assert [pod["addresses"][0] for pod in pods] == ["10.244.9.2/30", "10.244.3.2/24"]
    assert [pod["gateways"][0] for pod in pods] == ["10.244.9.1", "10.244.3.1"]
    assert not node.pods("a", "b")["changed"]


def test_a_network_with_pods_on_it_stays_unless_forced(node: Node) -> None:
    node.network()
    node.pods("a")
    of_podman = "/run/podnet/ipam/podnet/10.244.3.9"
    node.run("sh", "-c", f"printf '%s\\r\\neth0' {'0e' * 32} >{of_podman}")
    with pytest.raises(Failed, match="/run/podnet/ipam/podnet: addresses are still taken") as caught:
        node.module("cni_network", state="absent")
    # A container as its runtime calls it, so that it can be found there; podman shows 12 digits.
    for part in (": 10.244.3.2, fd00:10:244:3::2", "; 0e0e0e0e0e0e: 10.244.3.9)"):
        assert part in caught.value.message
    assert node.read(PATH)
    assert node.module("cni_network", state="absent", force=True)["changed"]
    assert node.run("find", "/run/podnet", "-path", "*ipam*") == ""
    node.pods("a", state="absent")
    assert node.ports() == node.records() == []
