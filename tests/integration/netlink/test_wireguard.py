# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""WireGuard: our view of the kernel, that of `wg` and that of pyroute2 are the same."""

from __future__ import annotations

import base64
import errno
import subprocess
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import pytest
from pyroute2 import WireGuard

from ansible_collections.podnet.fabric.plugins.module_utils import wireguard_keys
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.errors import NetlinkError
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.generic import family_id, open_generic
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.scratch import NoScratch, in_scratch_namespace
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.wireguard import (
    PeerChange,
    encode_device,
    encode_peer,
    get_device,
)
from tests.integration.kinds import needs_link_kind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.connection import Netlink
    from ansible_collections.podnet.fabric.tests.integration.conftest import Namespace

pytestmark = needs_link_kind("wireguard")

SECRET = bytes((16, *range(1, 31), 64))
# A peer's prefixes in several messages of a dump, whose datagrams hold 4 KiB and more.
MANY = tuple((2, bytes((10, number >> 8, number & 255, 0)), 24) for number in range(1500))
FEW = ((2, bytes((172, 16, 0, 0)), 12), (10, b"\xfd" + bytes(15), 8))


def key(number: int) -> bytes:
    return bytes((number,)) * 32


@pytest.fixture
def wg(netns: Namespace) -> Iterator[tuple[Netlink, int]]:
    """A device called wg that is up, the connection, and the family's number."""
    netns.ip("link", "add", "wg", "type", "wireguard")
    netns.ip("link", "set", "wg", "up")
    with open_generic() as nl:
        family = family_id(nl, "wireguard")
        assert nl.batch([encode_device(family, "wg", SECRET, 51820, 7)]) == []
        yield nl, family


def write(connection: tuple[Netlink, int], *changes: PeerChange) -> None:
    nl, family = connection
    assert nl.batch([each for change in changes for each in encode_peer(family, "wg", change)]) == []


def test_what_is_written_is_read_by_us_by_wg_and_by_pyroute2(netns: Namespace, wg: tuple[Netlink, int]) -> None:
    v6 = bytes.fromhex("20010db8000000000000000000000002")
    write(
        wg,
        PeerChange(key(2), endpoint=(bytes((192, 0, 2, 2)), 51820), keepalive=25, allowed_ips=MANY),
        PeerChange(key(3), endpoint=(v6, 51821), allowed_ips=FEW),
    )
    device = get_device(*wg, "wg")
    assert (device.name, device.listen_port, device.fwmark) == ("wg", 51820, 7)
    assert [(peer.public_key, peer.endpoint, peer.port, peer.keepalive) for peer in device.peers] == [
        (key(2), bytes((192, 0, 2, 2)), 51820, 25),
        (key(3), v6, 51821, 0),
    ]
    assert [peer.allowed_ips for peer in device.peers] == [MANY, FEW]
    own, *peers = (line.split("\t") for line in netns.run("wg", "show", "wg", "dump").splitlines())
    assert own[1:] == [base64.b64encode(device.public_key).decode(), "51820", "0x7"]
    assert {(peer[0], peer[2], *sorted(peer[3].split(","))) for peer in peers} == {
        (
            base64.b64encode(peer.public_key).decode(),
            "192.0.2.2:51820" if peer.public_key == key(2) else "[2001:db8::2]:51821",
            *sorted(_text(prefix) for prefix in peer.allowed_ips),
        )
        for peer in device.peers
    }
    assert _by_pyroute2() == {
        base64.b64encode(peer.public_key): {_text(prefix) for prefix in peer.allowed_ips} for peer in device.peers
    }


def _text(prefix: tuple[int, bytes, int]) -> str:
    _family, address, length = prefix
    return str(ip_network((address, length)))


def _by_pyroute2() -> dict[bytes, set[str]]:
    found: dict[bytes, set[str]] = {}
    with WireGuard() as theirs:
        for part in theirs.info("wg"):
            for peer in part.get_attr("WGDEVICE_A_PEERS") or ():
                prefixes = found.setdefault(peer.get_attr("WGPEER_A_PUBLIC_KEY"), set())
                prefixes |= {_pyroute2_text(entry) for entry in peer.get_attr("WGPEER_A_ALLOWEDIPS") or ()}
    return found


def _pyroute2_text(entry: Any) -> str:
    return str(entry["addr"])


def test_a_prefix_moves_to_the_peer_that_gets_it_and_a_peer_goes(wg: tuple[Netlink, int]) -> None:
    write(wg, PeerChange(key(2), allowed_ips=FEW), PeerChange(key(3), allowed_ips=FEW[:1]))
    assert [peer.allowed_ips for peer in get_device(*wg, "wg").peers] == [FEW[1:], FEW[:1]]
    write(wg, PeerChange(key(2), remove=True), PeerChange(key(9), update_only=True, allowed_ips=FEW))
    assert [(peer.public_key, peer.allowed_ips) for peer in get_device(*wg, "wg").peers] == [(key(3), FEW[:1])]


def test_a_preshared_key_is_noticed_and_dropped(netns: Namespace, wg: tuple[Netlink, int]) -> None:
    write(wg, PeerChange(key(2)))
    netns.run(
        "wg",
        "set",
        "wg",
        "peer",
        base64.b64encode(key(2)).decode(),
        "preshared-key",
        "/dev/stdin",
        stdin="A" * 43 + "=\n",
    )
    assert [peer.preshared for peer in get_device(*wg, "wg").peers] == [False]
    netns.run(
        "wg",
        "set",
        "wg",
        "peer",
        base64.b64encode(key(2)).decode(),
        "preshared-key",
        "/dev/stdin",
        stdin=netns.run("wg", "genpsk"),
    )
    assert [peer.preshared for peer in get_device(*wg, "wg").peers] == [True]
    write(wg, PeerChange(key(2), drop_preshared=True))
    assert [peer.preshared for peer in get_device(*wg, "wg").peers] == [False]


def test_what_is_no_device_of_wireguard_is_refused(wg: tuple[Netlink, int]) -> None:
    nl, family = wg
    for name, number in (("lo", errno.EOPNOTSUPP), ("none", errno.ENODEV)):
        with pytest.raises(NetlinkError) as refusal:
            get_device(nl, family, name)
        assert refusal.value.errno == number
        ((_position, error),) = nl.batch([encode_device(family, name, SECRET, 1)])
        assert error.errno == number
    with pytest.raises(NetlinkError, match=r"this kernel has no nonesuch"):
        family_id(nl, "nonesuch")


def test_the_kernel_tells_the_public_key_that_wg_tells(
    netns: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wireguard_keys, "DIRECTORY", tmp_path)
    for name in ("a", "b"):
        wireguard_keys.make(name)
    links = netns.ip("-o", "link")
    found = wireguard_keys.observe(["a", "b", "none"])
    told = [
        subprocess.run(["wg", "pubkey"], input=wireguard_keys.path(name).read_bytes(), capture_output=True, check=True)
        for name in ("a", "b")
    ]
    assert [found[name].public_key for name in found] == [each.stdout.decode().strip() for each in told]
    assert netns.ip("-o", "link") == links


def test_a_scratch_namespace_passes_answers_and_failures_on() -> None:
    assert in_scratch_namespace(lambda: {"a": [1]}) == {"a": [1]}

    def fail() -> None:
        raise NetlinkError(errno.ENODEV, "gone")

    with pytest.raises(NoScratch, match=r"netlink: No such device: gone"):
        in_scratch_namespace(fail)
