# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files and answers of tools are read for what they mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.errors import InvalidInput
from ansible_collections.podnet.fabric.plugins.module_utils.preflight import daemons, plugins, rulesets
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.facts import wanted_of
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.seen import Firewall, Wanted

DEVICES = ("podnet0", "podnet-vx")
OPTIONS: dict[str, Any] = {
    "underlay": None,
    "towards": [],
    "pools": [],
    "bridge_name": "podnet0",
    "dataplane": "vxlan",
    "devices": [],
    "port": None,
    "tcp_port": None,
    "vni": None,
    "mtu": "auto",
    "nexthop_objects": "auto",
    "forward_accept": "auto",
    "policy_backend": "nftables",
    "service_backend": "none",
    "cni_bin_dir": "auto",
    "cni_conf_dir": "/etc/cni/net.d",
    "cni_network": "podnet",
    "cni_version": "1.0.0",
    "cni_plugins": [],
}


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """A file with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


@pytest.fixture
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the place of /etc."""
    monkeypatch.setattr(daemons, "_CONFIGURATION", (tmp_path,))
    return tmp_path


@pytest.mark.parametrize(
    ("file", "text", "left_by"),
    [
        (
            "NetworkManager/conf.d/podnet.conf",
            "[keyfile]\nunmanaged-devices=mac:00:11:22:33:44:55;interface-name:podnet*\n",
            {"NetworkManager"},
        ),
        ("NetworkManager/NetworkManager.conf", "[keyfile]\nunmanaged-devices=interface-name:podnet0\n", set()),
        ("NetworkManager/conf.d/podnet.conf", "#unmanaged-devices=interface-name:podnet*\n", set()),
        (
            "systemd/network/05-podnet.network",
            "[Match]\nName=podnet0 podnet-vx\n\n[Link]\nUnmanaged=yes\n",
            {"systemd-networkd"},
        ),
        ("systemd/network/05-all.network", "[Match]\nName=*\n\n[Network]\nDHCP=yes\n", set()),
    ],
)
def test_a_daemon_leaves_devices_alone_when_told_so(
    configuration: Path, file: str, text: str, left_by: set[str]
) -> None:
    write(configuration / file, text)
    assert daemons.left_alone_by(DEVICES) == left_by


def test_a_chain_drops_by_hook_and_policy_and_ours_is_not_told() -> None:
    chains = [
        {"family": "ip", "table": "filter", "name": "FORWARD", "hook": "forward", "policy": "drop"},
        {"family": "ip", "table": "filter", "name": "INPUT", "hook": "input", "policy": "drop"},
        {"family": "ip6", "table": "filter", "name": "FORWARD", "hook": "forward", "policy": "accept"},
        {"family": "inet", "table": "podnet", "name": "forward", "hook": "forward", "policy": "drop"},
        {"family": "inet", "table": "fw", "name": "no_hook"},
    ]
    answer = json.dumps({"nftables": [{"metainfo": {}}, *({"chain": chain} for chain in chains)]})
    chains = rulesets.nft_chains(answer)
    policy = Firewall("nftables", "ip filter", "FORWARD")
    assert list(rulesets.dropping_chains(chains, lambda _chain: False)) == [policy]
    by_rule = Firewall("nftables", "ip6 filter", "FORWARD")
    assert list(rulesets.dropping_chains(chains, lambda _chain: True)) == [policy, by_rule]


@pytest.mark.parametrize(
    ("rule", "drops"),
    [
        ([{"reject": None}], True),
        ([{"counter": {}}, {"log": {}}, {"drop": None}], True),
        ([{"match": {}}, {"drop": None}], False),
        ([{"jump": {"target": "x"}}], False),
        ([], False),
    ],
)
def test_a_rule_without_a_condition_drops_everything(rule: list[dict[str, Any]], drops: bool) -> None:
    chain = [[{"accept": None}], rule]
    assert rulesets.ends_with_drop(json.dumps({"nftables": [{"rule": {"expr": each}} for each in chain]})) is drops


@pytest.mark.parametrize("answer", ["", "no json", "{}"])
def test_an_answer_without_chains_is_none(answer: str) -> None:
    assert rulesets.nft_chains(answer) == []


NEITHER = "ManageForeignRoutes=no\nManageForeignRoutingPolicyRules=no\n"


@pytest.mark.parametrize(
    ("files", "deleting"),
    [
        ({}, ("ManageForeignRoutes", "ManageForeignRoutingPolicyRules")),
        ({"networkd.conf": "[Network]\nManageForeignRoutes=no\n"}, ("ManageForeignRoutingPolicyRules",)),
        ({"networkd.conf": "[Network]\n#ManageForeignRoutes=no\nManageForeignRoutingPolicyRules=off\n"},
         ("ManageForeignRoutes",)),
        ({"networkd.conf.d/84-podnet.conf": f"[Network]\n{NEITHER}"}, ()),
        ({"networkd.conf": NEITHER,
          "networkd.conf.d/90-later.conf": "ManageForeignRoutes=yes\n",
          "networkd.conf.d/10-earlier.conf": "ManageForeignRoutes=no\n"}, ("ManageForeignRoutes",)),
    ],
    ids=["silent", "routes", "comment", "drop-in", "a later drop-in"],
)  # fmt: skip
def test_networkd_deletes_what_no_file_tells_it_to_leave(
    configuration: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], deleting: tuple[str, ...]
) -> None:
    wants = configuration / "networkd.service"
    monkeypatch.setattr(daemons, "_STARTS", (wants,))
    for name, text in files.items():
        write(configuration / "systemd" / name, text)
    assert daemons.networkd_deletes() == ()
    write(wants, "")
    assert daemons.networkd_deletes() == deleting


def test_firewalls_zones_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemons, "_FIREWALLD", tmp_path)
    write(
        tmp_path / "trusted.xml",
        '<?xml version="1.0" encoding="utf-8"?>\n<zone target="ACCEPT">\n  <interface name="podnet0"/>\n'
        '  <source address="10.244.0.0/16"/>\n</zone>\n',
    )
    write(
        tmp_path / "public.xml", '<zone>\n  <port port="4789" protocol="udp"/>\n  <interface name="eth0"/>\n</zone>\n'
    )
    assert daemons.firewalld_admits() == {
        ("interface", "podnet0"),
        ("source", "10.244.0.0/16"),
        ("port", "4789/udp"),
    }


def test_the_folder_with_every_plugin_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "opt", tmp_path / "lib"
    monkeypatch.setattr(plugins, "_DIRECTORIES", (str(first), str(second)))
    answer = '#!/bin/sh\necho \'{"cniVersion": "1.0.0", "supportedVersions": ["0.4.0", "1.0.0"]}\'\n'
    write(first / "bridge", answer, 0o755)
    write(first / "README", "not a plugin")
    assert plugins.look_for_plugins(Wanted()).path == str(first)
    for name in ("bridge", "host-local"):
        write(second / name, answer, 0o755)
    found = plugins.look_for_plugins(Wanted(cni_conf_dir=str(tmp_path / "none")))
    assert found.path == str(second)
    assert found.versions == {"bridge": ("0.4.0", "1.0.0"), "host-local": ("0.4.0", "1.0.0")}
    assert found.conflists == ()


@pytest.mark.parametrize("answer", ["#!/bin/sh\nexit 1\n", "#!/bin/sh\necho no json\n", "not a program"])
def test_a_plugin_that_does_not_answer_speaks_no_version(tmp_path: Path, answer: str) -> None:
    write(tmp_path / "bridge", answer, 0o755)
    found = plugins.look_for_plugins(Wanted(cni_bin_dir=str(tmp_path), cni_plugins=("bridge",)))
    assert found.versions == {"bridge": ()}


def test_configurations_are_in_the_order_of_the_runtimes(tmp_path: Path) -> None:
    for name in ("87-podman.conflist", "10-podnet.conflist", "05-old.conf", "README"):
        write(tmp_path / name, "{}")
    write(tmp_path / "10-former.conflist", '{"podnet": {}}')  # ours
    found = plugins.look_for_plugins(Wanted(cni_bin_dir=str(tmp_path), cni_conf_dir=str(tmp_path)))
    assert found.conflists == ("05-old.conf", "10-podnet.conflist", "87-podman.conflist")


def test_options_that_cannot_be_used_are_all_told() -> None:
    options = {
        **OPTIONS,
        "underlay": {"address": "10.0.0"},
        "towards": ["192.0.2.1", "node2"],
        "pools": ["10.244.0.0/33"],
    }
    with pytest.raises(InvalidInput) as told:
        wanted_of(options)
    assert [finding.path for finding in told.value.findings] == ["underlay.address", "towards[1]", "pools[0]"]


def test_the_configuration_of_a_network_bears_its_name() -> None:
    assert wanted_of({**OPTIONS, "cni_network": "other"}).cni_conf_file == "10-other.conflist"


def test_plugins_asked_for_join_those_that_the_network_needs() -> None:
    wanted = wanted_of({**OPTIONS, "mtu": "1400", "cni_plugins": ["bandwidth", "bridge"]})
    assert wanted.cni_plugins == ("bridge", "host-local", "bandwidth")
    assert wanted.mtu == 1400
