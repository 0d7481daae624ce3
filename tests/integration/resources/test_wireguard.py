# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The WireGuard kind on a real kernel: keys, prediction, drift, blocks that move, ownership, secrecy."""

from __future__ import annotations

import base64
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils import wireguard_keys
from ansible_collections.podnet.fabric.plugins.module_utils.errors import Conflict, InvalidInput, PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import present
from ansible_collections.podnet.fabric.plugins.module_utils.resources.wireguard import KIND, own_key
from tests.integration.kinds import needs_link_kind

from .conftest import shown

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Node

pytestmark = needs_link_kind("wireguard")

DEVICE = "podnet-wg"
PORT = 51820


def made_up_key(number: int) -> str:
    return base64.b64encode(bytes((number,)) * 32).decode()


def peer(number: int) -> dict[str, Any]:
    return {
        "name": f"node{number}",
        "underlay": f"192.0.2.{number}",
        "mac": f"02:00:00:00:01:{number:02x}",
        "blocks": [f"10.244.{number}.0/24", f"fd00:10:244:{number:x}::/64"],
    }


def params(*numbers: int, **changes: Any) -> dict[str, Any]:
    wanted = {
        "port": PORT,
        "generation": 1,
        "local": "192.0.2.1",
        "underlay": "auto",
        "addresses": ["10.244.1.0/32", "fd00:10:244:1::/128"],
        "peers": [peer(number) for number in numbers],
        "public_keys": {f"node{number}": made_up_key(number) for number in numbers},
    }
    return {**wanted, **changes}


def counts(result: Any) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for operation in result.operations:
        found[operation.facility, operation.verb] = found.get((operation.facility, operation.verb), 0) + 1
    return found


def allowed(node: Node) -> dict[str, set[str]]:
    """Public key to prefixes, as `wg` tells."""
    lines = node.namespace.run("wg", "show", DEVICE, "allowed-ips").splitlines()
    return {key: set(prefixes.split()) for key, prefixes in (line.split("\t") for line in lines)}


def configuration(node: Node) -> list[list[str]]:
    """A device and its peers, as `wg` tells; the private key comes first and is left out."""
    own, *peers = node.namespace.run("wg", "show", DEVICE, "dump").splitlines()
    fields = sorted(line.split("\t") for line in peers)
    return [own.split("\t")[1:], *([*peer[:3], *sorted(peer[3].split(",")), peer[-1]] for peer in fields)]


@pytest.fixture(autouse=True)
def _keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wireguard_keys, "DIRECTORY", tmp_path / "podnet" / "wireguard")


def test_the_prediction_is_what_follows_and_a_second_run_changes_nothing(node: Node) -> None:
    before = node.snapshot()
    fresh = node.declare(KIND, DEVICE, params(2, 3), check=True)
    assert (node.snapshot(), wireguard_keys.names()) == (before, [])
    assert counts(fresh)["wireguard_keys", "create"] == 1
    wireguard_keys.make(DEVICE)
    predicted = node.declare(KIND, DEVICE, params(2, 3), check=True)
    real = node.declare(KIND, DEVICE, params(2, 3))
    assert shown(KIND, predicted) == shown(KIND, real)
    again = node.declare(KIND, DEVICE, params(2, 3))
    assert (again.changed, again.operations) == (False, [])
    (device,) = node.namespace.ip_json("link", "show", DEVICE)
    assert (device["mtu"], device["ifalias"], device["linkinfo"]["info_kind"]) == (
        1440,
        "podnet:wireguard",
        "wireguard",
    )
    public = subprocess.run(
        ["wg", "pubkey"], input=wireguard_keys.path(DEVICE).read_bytes(), capture_output=True, check=True
    ).stdout.decode()
    assert configuration(node) == [
        [public.strip(), str(PORT), "off"],
        [made_up_key(2), "(none)", "192.0.2.2:51820", "10.244.2.0/24", "fd00:10:244:2::/64", "off"],
        [made_up_key(3), "(none)", "192.0.2.3:51820", "10.244.3.0/24", "fd00:10:244:3::/64", "off"],
    ]
    routes = node.namespace.ip_json("route", "show", "proto", "84") + node.namespace.ip_json(
        "-6", "route", "show", "proto", "84"
    )
    assert [(route["dst"], route["dev"]) for route in routes] == [
        (block, DEVICE) for block in ("10.244.2.0/24", "10.244.3.0/24", "fd00:10:244:2::/64", "fd00:10:244:3::/64")
    ]


def test_withdrawing_leaves_the_host_as_it_was(node: Node) -> None:
    before = node.snapshot()
    node.declare(KIND, DEVICE, params(2, 3))
    assert node.snapshot() != before
    assert wireguard_keys.names() == [DEVICE]
    assert node.withdraw(KIND, DEVICE).changed
    assert node.snapshot() == before
    assert not node.declarations.directory.parent.exists()
    assert not node.withdraw(KIND, DEVICE).changed


def test_what_is_disturbed_is_mended(node: Node) -> None:
    node.declare(KIND, DEVICE, params(2, 3))
    whole = configuration(node)
    run = node.namespace.run
    wireguard_keys.path(DEVICE).chmod(0o644)
    run("wg", "set", DEVICE, "private-key", "/dev/stdin", stdin=run("wg", "genkey"))
    run("wg", "set", DEVICE, "listen-port", "1234", "fwmark", "7")
    run("wg", "set", DEVICE, "peer", made_up_key(2), "endpoint", "192.0.2.99:1", "persistent-keepalive", "9")
    run("wg", "set", DEVICE, "peer", made_up_key(2), "preshared-key", "/dev/stdin", stdin=run("wg", "genpsk"))
    run("wg", "set", DEVICE, "peer", made_up_key(3), "remove")
    run("wg", "set", DEVICE, "peer", made_up_key(9), "allowed-ips", "10.244.2.0/24")
    mended = node.declare(KIND, DEVICE, params(2, 3))
    assert counts(mended) == {
        ("wireguard_keys", "replace"): 1,
        ("wireguard", "replace"): 1,
        ("wireguard_peers", "replace"): 1,
        ("wireguard_peers", "create"): 1,
        ("wireguard_peers", "delete"): 1,
    }
    assert configuration(node) == whole
    assert wireguard_keys.path(DEVICE).stat().st_mode & 0o7777 == 0o600


def test_blocks_move_from_peer_to_peer_and_leave(node: Node) -> None:
    node.declare(KIND, DEVICE, params(2, 3))
    second, third = peer(2), peer(3)
    third["blocks"] = [*third["blocks"], second["blocks"].pop()]
    second["blocks"].append("10.244.77.0/24")
    moved = node.declare(KIND, DEVICE, params(2, 3, peers=[second, third]))
    assert set(counts(moved)) == {("wireguard_peers", "replace"), ("routes", "create")}
    assert allowed(node) == {made_up_key(2): set(second["blocks"]), made_up_key(3): set(third["blocks"])}
    third["blocks"] = third["blocks"][:1]
    node.declare(KIND, DEVICE, params(2, 3, peers=[second, third]))
    assert allowed(node) == {made_up_key(2): set(second["blocks"]), made_up_key(3): set(third["blocks"])}


def test_a_peer_that_was_not_asked_keeps_its_key_and_one_without_a_key_is_left_out(node: Node) -> None:
    node.declare(KIND, DEVICE, params(2, 3))
    result = node.declare(KIND, DEVICE, params(2, 3, 4, public_keys={"node3": made_up_key(33), "node4": None}))
    assert set(allowed(node)) == {made_up_key(2), made_up_key(33)}
    assert "10.244.4.0/24" not in node.namespace.ip("route")
    assert [note for note in result.notes if "node4" in note and "node2" not in note]


def test_what_cannot_be_is_refused_and_nothing_happens(node: Node) -> None:
    keys = {"node2": made_up_key(2), "node3": made_up_key(2), "node4": "no key"}
    with pytest.raises(InvalidInput) as refusal:
        node.declare(
            KIND, DEVICE, params(2, 3, 4, peers=[{**peer(2), "direct": True}, peer(3), peer(4)], public_keys=keys)
        )
    assert {finding.path for finding in refusal.value.findings} == {
        "peers[0].direct",
        "public_keys.node3",
        "public_keys.node4",
    }
    _missing, _generation, own = own_key(DEVICE, None, {}, False)
    with pytest.raises(Conflict, match=r"node2 has this node's own public key"):
        node.declare(KIND, DEVICE, params(2, public_keys={"node2": own.public_key}))
    wireguard_keys.path(DEVICE).write_text("garbage garbage\n", encoding="utf-8")
    with pytest.raises(PodnetError, match=r"not a WireGuard key") as broken:
        node.declare(KIND, DEVICE, params(2))
    assert "garbage" not in str(broken.value)
    node.namespace.ip("link", "add", "theirs", "type", "wireguard")
    node.namespace.run("wg", "set", "theirs", "listen-port", str(PORT))
    node.namespace.ip("link", "set", "theirs", "up")
    wireguard_keys.remove(DEVICE)
    with pytest.raises(PodnetError, match=rf"UDP port {PORT} is taken"):
        node.declare(KIND, DEVICE, params(2))


def test_no_private_key_is_in_what_the_kind_tells_or_declares(node: Node) -> None:
    result = node.declare(KIND, DEVICE, params(2))
    secret = wireguard_keys.path(DEVICE).read_text(encoding="utf-8").strip()
    raw = base64.b64decode(secret)
    told = [str(result), str(present(KIND.facilities, result.after)), node.declarations.text(KIND.name)]
    assert not [text for text in told if secret in text or raw.hex() in text or str(raw) in text]
