# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration list as rendered, and what is said when the plugins cannot carry it out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.cni import conflist
from ansible_collections.podnet.fabric.plugins.module_utils.cni.conflist import Block, Network

if TYPE_CHECKING:
    from pathlib import Path

V4 = Block("10.244.3.0/24", "10.244.3.1")
V4_MORE = Block("10.244.9.0/24", "10.244.9.1")
V6 = Block("fd00:10:244:3::/64", "fd00:10:244:3::1")
DUAL = Network("podnet", "podnet0", (V4, V6, V4_MORE), mtu=1450)

ANSWERS = '{"cniVersion": "1.0.0", "supportedVersions": %s}'


def executable(directory: Path, name: str, versions: str = '["0.4.0", "1.0.0"]') -> None:
    path = directory / name
    path.write_text(f"#!/bin/sh\ncat >/dev/null\necho '{ANSWERS % versions}'\n", encoding="utf-8")
    path.chmod(0o755)


def test_bridge_leaves_addresses_and_nat_to_us() -> None:
    bridge = conflist.render(DUAL)["plugins"][0]
    assert bridge["bridge"] == "podnet0"
    assert (bridge["isGateway"], bridge["ipMasq"], bridge["hairpinMode"], bridge["mtu"]) == (False, False, True, 1450)


def test_a_pod_gets_one_address_per_family_however_many_blocks_there_are() -> None:
    ipam = conflist.render(DUAL)["plugins"][0]["ipam"]
    assert ipam["ranges"] == [
        [{"subnet": V4.cidr, "gateway": V4.gateway}, {"subnet": V4_MORE.cidr, "gateway": V4_MORE.gateway}],
        [{"subnet": V6.cidr, "gateway": V6.gateway}],
    ]
    assert ipam["routes"] == [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
    assert ipam["dataDir"] == "/run/podnet/ipam"


def test_single_stack_has_no_default_route_of_the_other_family() -> None:
    ipam = conflist.render(DUAL._replace(blocks=(V6,)))["plugins"][0]["ipam"]
    assert ipam["routes"] == [{"dst": "::/0"}]
    assert len(ipam["ranges"]) == 1


def test_extra_plugins_follow_the_bridge_in_the_order_given() -> None:
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    rendered = conflist.render(DUAL._replace(plugins=(portmap, {"type": "tuning"})))
    assert [plugin["type"] for plugin in rendered["plugins"]] == ["bridge", "portmap", "tuning"]
    assert rendered["plugins"][1] == portmap


def test_check_is_disabled_where_it_cannot_be_relied_upon_or_as_the_operator_says() -> None:
    portmap = DUAL._replace(plugins=({"type": "portmap"},))
    assert "disableCheck" not in conflist.render(DUAL)
    assert conflist.render(portmap)["disableCheck"] is True
    assert "disableCheck" not in conflist.render(portmap._replace(disable_check=False))
    assert conflist.render(DUAL._replace(disable_check=True))["disableCheck"] is True


def test_mtu_is_left_out_when_it_is_not_known() -> None:
    assert "mtu" not in conflist.render(DUAL._replace(mtu=None))["plugins"][0]


def test_the_text_carries_our_mark_and_reads_back() -> None:
    rendered = conflist.render(DUAL)
    assert conflist.parse(conflist.text(rendered)) == rendered
    assert json.loads(conflist.text(rendered))["podnet"]["kind"] == "cni_network"


def test_a_drained_list_has_ranges_of_the_gateway_alone_and_turns_back() -> None:
    drained = conflist.render(DUAL._replace(drained=True))
    ranges = [block for family in drained["plugins"][0]["ipam"]["ranges"] for block in family]
    assert [block["subnet"] for block in ranges] == [V4.cidr, V4_MORE.cidr, V6.cidr]
    assert all(block["rangeStart"] == block["rangeEnd"] == block["gateway"] for block in ranges)
    assert conflist.is_drained(drained)
    assert conflist.undrained(drained) == conflist.render(DUAL) == conflist.undrained(conflist.render(DUAL))
    assert not conflist.is_drained(conflist.render(DUAL))
    edited = {**drained, "plugins": [{"type": "ptp"}]}
    assert conflist.undrained(edited)["plugins"] == [{"type": "ptp"}]


def test_what_is_no_configuration_list_is_not_parsed() -> None:
    for content in (
        "",
        "[]",
        "{}",
        '{"name": 1, "plugins": []}',
        '{"name": "x", "plugins": [{}]}',
        '{"name": "x", "type": "bridge"}',
        "{",
    ):
        assert conflist.parse(content) is None


def test_every_executable_is_named_once_with_its_ipam_plugin() -> None:
    rendered = conflist.render(DUAL._replace(plugins=({"type": "tuning"}, {"type": "tuning"})))
    assert conflist.executables(rendered) == [
        ("bridge", "plugins[0].type"),
        ("host-local", "plugins[0].ipam.type"),
        ("tuning", "plugins[1].type"),
    ]


def test_all_unusable_plugins_are_reported_at_once_with_place_and_cure(tmp_path: Path) -> None:
    executable(tmp_path, "bridge", '["0.3.1", "0.4.0"]')
    (tmp_path / "tuning").write_text("#!/bin/sh\necho oh no >&2; exit 3\n", encoding="utf-8")
    (tmp_path / "tuning").chmod(0o755)
    rendered = conflist.render(DUAL._replace(plugins=({"type": "tuning"},)))
    findings = [str(finding) for finding in conflist.missing(rendered, ["/nonexistent", str(tmp_path)])]
    assert len(findings) == 3
    assert findings[0].startswith("plugins[0].type: ")
    assert "does not speak CNI 1.0.0, only 0.3.1, 0.4.0" in findings[0]
    assert f"plugins[0].ipam.type: CNI plugin host-local is not in /nonexistent, {tmp_path}" in findings[1]
    assert "apt-get install containernetworking-plugins" in findings[1]
    assert "bin_dir" in findings[1]
    assert "exit status 3 without an error object: oh no" in findings[2]


def test_usable_plugins_are_no_finding(tmp_path: Path) -> None:
    executable(tmp_path, "bridge")
    executable(tmp_path, "host-local")
    assert conflist.missing(conflist.render(DUAL), [str(tmp_path)]) == []
