# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attachments on record: read back as written, refused when they cannot be relied upon."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.cni import record
from ansible_collections.podnet.fabric.plugins.module_utils.cni.record import Record, RecordError

if TYPE_CHECKING:
    from pathlib import Path

RESULT = {
    "interfaces": [
        {"name": "podnet0", "mac": "02:00:00:00:00:01"},
        {"name": "veth1", "mac": "02:00:00:00:00:02"},
        {"name": "eth0", "mac": "02:00:00:00:00:03", "sandbox": "/run/netns/web"},
    ],
    "ips": [
        {"address": "10.244.3.2/24", "gateway": "10.244.3.1", "interface": 2},
        {"address": "192.0.2.9/24", "interface": 1},
        {"address": "fd00::2/64"},
    ],
}
WEB = Record(
    network="podnet",
    namespace="shop",
    name="web",
    netns="/run/netns/web",
    netns_made=True,
    ifname="eth0",
    labels={"app": "web"},
    args={"MAC": "02:00:00:00:00:03"},
    capability_args={"portMappings": []},
    conflist={"name": "podnet", "cniVersion": "1.0.0", "plugins": [{"type": "bridge"}]},
    conf_dir="/etc/cni/net.d",
    bin_dir="auto",
    kept=["10.244.3.2/24"],
    result=RESULT,
)


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "DIRECTORY", tmp_path / "attachments")


def test_records_read_back_as_written_in_order_of_their_files() -> None:
    intent = WEB._replace(namespace="a", result=None)
    record.write(WEB)
    record.write(intent)
    assert record.read_all() == [intent, WEB]
    assert record.path(WEB).stat().st_mode & 0o777 == 0o600
    assert record.path(WEB).name == "shop_web@podnet.json"


def test_the_directory_goes_with_the_last_record() -> None:
    record.write(WEB)
    record.remove(WEB)
    record.remove(WEB)
    assert not record.DIRECTORY.exists()
    assert record.read_all() == []


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"podnet": {"version": 1}}', '{"podnet": {"version": 1}, "name": "x", "more": 1}']
)
def test_a_damaged_record_is_named_with_what_to_do(content: str) -> None:
    record.DIRECTORY.mkdir()
    record.path(WEB).write_text(content, encoding="utf-8")
    with pytest.raises(
        RecordError, match=r"shop_web@podnet.json: not the record of an attachment .* detach that pod by"
    ):
        record.read_all()


def test_a_record_of_a_newer_version_is_refused() -> None:
    record.write(WEB)
    held = json.loads(record.path(WEB).read_text(encoding="utf-8"))
    held["podnet"]["version"] = 2
    record.path(WEB).write_text(json.dumps(held), encoding="utf-8")
    with pytest.raises(RecordError, match=r"written in format 2, this version of podnet.fabric knows up to 1"):
        record.read_all()


def test_what_belongs_to_the_pods_interface_is_told_from_the_rest() -> None:
    assert [ip["address"] for ip in WEB.ips] == ["10.244.3.2/24", "fd00::2/64"]
    assert WEB.mac == "02:00:00:00:00:03"
    assert WEB.host_interfaces == ["podnet0", "veth1"]


def test_the_plugins_are_told_of_the_pod_as_by_the_kubelet() -> None:
    runtime = WEB.runtime("")
    assert runtime.container_id == "shop_web"
    assert runtime.args == (
        ("IgnoreUnknown", "1"),
        ("K8S_POD_NAMESPACE", "shop"),
        ("K8S_POD_NAME", "web"),
        ("MAC", "02:00:00:00:00:03"),
    )
    assert runtime.capability_args == {"ips": ["10.244.3.2/24"], "portMappings": []}


def test_addresses_of_ones_own_choice_win_over_kept_ones() -> None:
    assert WEB._replace(capability_args={"ips": ["10.244.3.9"]}).runtime("").capability_args == {"ips": ["10.244.3.9"]}
