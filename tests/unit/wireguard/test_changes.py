# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is decided about keys, generations and changes of peers without a kernel."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils import wireguard_keys
from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.wireguard import (
    PEERS,
    Peer,
    change,
    endpoint_text,
)
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.wireguard import PeerChange
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Operation
from ansible_collections.podnet.fabric.plugins.module_utils.resources.wireguard import (
    carrying,
    device_of,
    own_key,
    port_of,
)

if TYPE_CHECKING:
    from pathlib import Path

RAW = bytes(range(32))
KEY = base64.b64encode(RAW).decode()
NET1, NET2, NET3 = ((2, bytes((10, number, 0, 0)), 24) for number in (1, 2, 3))
PEER = Peer("podnet-wg", KEY, bytes((192, 0, 2, 2)), 51820, (NET1, NET2))


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wireguard_keys, "DIRECTORY", tmp_path / "podnet" / "wireguard")


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (
            None,
            PEER,
            PeerChange(RAW, endpoint=(PEER.endpoint, 51820), keepalive=0, allowed_ips=(NET1, NET2)),
        ),
        (PEER, None, PeerChange(RAW, remove=True)),
        # A prefix that is left out here is taken away by a peer of nobody: the others stay where they are.
        (PEER, PEER._replace(allowed_ips=(NET1,)), PeerChange(RAW, update_only=True, keepalive=0)),
        (
            PEER,
            PEER._replace(allowed_ips=(NET1, NET3)),
            PeerChange(RAW, update_only=True, keepalive=0, allowed_ips=(NET3,)),
        ),
        (
            PEER._replace(port=1, keepalive=9, preshared=True),
            PEER,
            PeerChange(RAW, update_only=True, endpoint=(PEER.endpoint, 51820), keepalive=0, drop_preshared=True),
        ),
    ],
)
def test_a_peer_is_told_what_differs_and_nothing_else(
    before: Peer | None, after: Peer | None, told: PeerChange
) -> None:
    verb = "create" if before is None else "delete" if after is None else "replace"
    assert change(Operation(PEERS.name, verb, before, after)) == told


def test_generations_take_turns() -> None:
    assert [device_of("podnet-wg", generation) for generation in (1, 2, 3)] == ["podnet-wg", "podnet-wg2", "podnet-wg"]
    assert [port_of(51820, generation) for generation in (1, 2, 3)] == [51820, 51821, 51820]


@pytest.mark.parametrize(
    ("items", "name"),
    [
        ({}, ""),
        ({"a": {"generation": 1, "standby": True}}, ""),
        ({"a": {"generation": 1, "standby": False}, "a2": {"generation": 2, "standby": True}}, "a"),
        ({"a": {"generation": 1, "standby": False}, "a2": {"generation": 2, "standby": False}}, "a2"),
        ({"a": {"generation": 3, "standby": False}, "a2": {"generation": 2, "standby": False}}, "a"),
    ],
)
def test_the_highest_generation_that_does_not_stand_by_carries_the_packets(
    items: dict[str, dict[str, Any]], name: str
) -> None:
    assert carrying(items) == (name, items.get(name, {}))


def test_a_key_is_made_for_its_owner_alone_and_in_the_form_of_x25519() -> None:
    for name in ("a", "b"):
        wireguard_keys.make(name)
        key = wireguard_keys.private_key(name)
        assert (key[0] & 7, key[31] >> 6) == (0, 1)
        assert wireguard_keys.path(name).stat().st_mode & 0o7777 == 0o600
        assert wireguard_keys.path(name).read_text(encoding="utf-8") == base64.b64encode(key).decode() + "\n"
    assert wireguard_keys.DIRECTORY.stat().st_mode & 0o7777 == 0o700
    assert wireguard_keys.private_key("a") != wireguard_keys.private_key("b")
    assert wireguard_keys.names() == ["a", "b"]
    wireguard_keys.remove("a")
    wireguard_keys.remove("b")
    assert not wireguard_keys.DIRECTORY.parent.exists()


@pytest.mark.parametrize("text", ["", "c2VjcmV0\n", "not base64!\n", KEY + KEY])
def test_a_file_that_holds_no_key_is_refused_and_not_quoted(text: str) -> None:
    wireguard_keys.make("a")
    wireguard_keys.path("a").write_text(text, encoding="utf-8")
    with pytest.raises(PodnetError, match=r"a\.key: not a WireGuard key") as refusal:
        wireguard_keys.private_key("a")
    assert not text or text.strip() not in str(refusal.value)


def test_keys_that_are_in_use_are_not_taken_for_the_next_ones() -> None:
    items = {"podnet-wg": {"generation": 1, "standby": False}, "podnet-wg2": {"generation": 2, "standby": False}}
    with pytest.raises(PodnetError, match=r"podnet-wg still holds the keys of generation 1"):
        own_key("podnet-wg", 3, items, True)


def test_in_check_mode_no_key_is_made() -> None:
    assert own_key("podnet-wg", None, {}, True) == (True, 1, wireguard_keys.Key("podnet-wg", ""))
    assert wireguard_keys.names() == []


def test_endpoints_read_as_wg_writes_them() -> None:
    assert endpoint_text(bytes((192, 0, 2, 2)), 51820) == "192.0.2.2:51820"
    assert endpoint_text(bytes.fromhex("20010db8000000000000000000000002"), 51820) == "[2001:db8::2]:51820"
    assert endpoint_text(b"", 0) == ""
