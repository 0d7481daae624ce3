# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which addresses belong behind which interface, and what attachments tell of both."""

from __future__ import annotations

import ipaddress
import json
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.cni import record
from ansible_collections.podnet.fabric.plugins.module_utils.errors import DeclarationError
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection
from ansible_collections.podnet.fabric.plugins.module_utils.policy import attached, denials, endpoints
from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import Endpoint
from ansible_collections.podnet.fabric.plugins.module_utils.policy.senders import Sender, link_local, senders

if TYPE_CHECKING:
    from pathlib import Path

MAC = "0a:58:0a:f4:01:02"
LOCAL = int(ipaddress.ip_address("fe80::858:aff:fef4:102"))


def test_a_mac_address_makes_a_link_local_one() -> None:
    assert link_local(MAC) == LOCAL


def test_an_interface_has_the_addresses_of_all_that_claim_it() -> None:
    pods = [
        Endpoint("default", "a", {}, {4: (1,), 6: (2,)}, (), ("podnet0", "veth1"), MAC),
        Endpoint("default", "b", {}, {4: (3,)}, (), ("veth2",)),
        Endpoint("default", "b2", {}, {4: (4,)}, (), ("veth2",), MAC),
        # Nobody knows what it may send; it is on another bridge; it has gone.
        Endpoint("default", "c", {}, {}, (), ("veth3",)),
        Endpoint("default", "d", {}, {4: (5,)}, (), ("veth4",)),
    ]
    assert senders(pods, ["veth1", "veth2", "veth3", "uplink"]) == [
        Sender("veth1", {4: (1,), 6: (2, LOCAL)}, False),
        Sender("veth2", {4: (3, 4), 6: (LOCAL,)}, True),
    ]


def test_attachments_tell_the_interfaces_of_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "DIRECTORY", tmp_path / "none")
    wiring = [
        {"name": "podnet0", "mac": "0a:00:00:00:00:01"},
        {"name": "veth1"},
        {"name": "eth0", "mac": MAC, "sandbox": "/run/netns/a"},
    ]
    result = {"interfaces": wiring, "ips": [{"address": "10.0.0.1/24", "interface": 2}]}
    document = {"kind": attached.CACHED, "networkName": "podnet", "containerId": "a", "result": result}
    (tmp_path / "a").write_text(json.dumps(document), encoding="utf-8")
    (found,) = attached.endpoints({"podnet"}, tmp_path)
    assert (found["interfaces"], found["mac"]) == (["podnet0", "veth1"], MAC)
    inspection = Inspection()
    (item,) = endpoints.inspect_endpoints(inspection, "endpoints", [found])
    inspection.conclude()
    assert endpoints.read(item)[-2:] == (("podnet0", "veth1"), MAC)


@pytest.mark.parametrize("wrong", [{"interfaces": ['veth"1']}, {"interfaces": "veth1"}, {"mac": "0a:58"}])
def test_what_is_no_interface_is_refused(wrong: dict[str, Any]) -> None:
    inspection = Inspection()
    endpoints.inspect_endpoints(inspection, "endpoints", [{"name": "a", **wrong}])
    assert [finding.path for finding in inspection.findings] == [f"endpoints[0].{next(iter(wrong))}"]


@pytest.mark.parametrize("edited", [{"rate": "much", "burst": 1}, {"burst": 0}, ["10/second"]])
def test_a_declared_log_that_somebody_has_edited_is_refused(edited: Any) -> None:
    with pytest.raises(DeclarationError, match="holds no log"):
        denials.read({"log": edited})


def test_a_declared_mac_that_somebody_has_edited_is_refused() -> None:
    (item,) = endpoints.inspect_endpoints(Inspection(), "endpoints", [{"name": "a", "mac": MAC}])
    with pytest.raises(DeclarationError, match="holds no endpoint"):
        endpoints.read({**item, "mac": "0a:58"})
