# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""WireGuard's keys, devices and peers. What is compared and shown is public; private keys stand in files only."""

from __future__ import annotations

import base64
import errno
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils import wireguard_keys
from ansible_collections.podnet.fabric.plugins.module_utils.errors import ApplyError, PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.netlink_objects import ip_text
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.errors import NetlinkError
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.generic import family_id, open_generic
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.wireguard import (
    FAMILY,
    KEY_LENGTH,
    PeerChange,
    encode_device,
    encode_peer,
    get_device,
)
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import (
    CREATE,
    DELETE,
    REPLACE,
    Operation,
    Reference,
    line,
)

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.wireguard import Device, Prefix


class Interface(NamedTuple):
    """What a device has of WireGuard: its key, told by the public one (base64), its UDP port, and its mark."""

    dev: str
    public_key: str
    port: int
    fwmark: int = 0


class Peer(NamedTuple):
    """A peer of a device; endpoint packed, keys in base64, prefixes sorted."""

    dev: str
    public_key: str
    endpoint: bytes
    port: int
    allowed_ips: tuple[Prefix, ...]
    keepalive: int = 0
    preshared: bool = False


class KeyFacility:
    """Makes and removes the files with the private keys."""

    name = "wireguard_keys"
    deletes_first = False

    def parents(self, obj: wireguard_keys.Key) -> Sequence[Reference]:
        return ()

    def immutable(self, before: wireguard_keys.Key, after: wireguard_keys.Key) -> bool:
        return False

    def describe(self, obj: wireguard_keys.Key) -> dict[str, Any]:
        fields = {"path": str(wireguard_keys.path(obj.name)), "mode": f"{obj.mode:04o}", "public_key": obj.public_key}
        return {key: value for key, value in fields.items() if value}

    def apply(self, operations: Sequence[Operation], host: Host) -> None:
        for operation in operations:
            name = (operation.after or operation.before).name
            try:
                if operation.verb == DELETE:
                    wireguard_keys.remove(name)
                elif operation.verb == CREATE:
                    wireguard_keys.make(name)
                else:
                    wireguard_keys.path(name).chmod(wireguard_keys.MODE)
            except (PodnetError, OSError) as error:
                raise ApplyError([f"{self.name}: {operation.verb} {name}: {error}"]) from error


class InterfaceFacility:
    """Gives a device its private key and its port."""

    name = "wireguard"
    deletes_first = False

    def parents(self, obj: Interface) -> Sequence[Reference]:
        return (("links", obj.dev),)

    def immutable(self, before: Interface, after: Interface) -> bool:
        return False

    def describe(self, obj: Interface) -> dict[str, Any]:
        fields = {"interface": obj.dev, "public_key": obj.public_key, "listen_port": obj.port, "fwmark": obj.fwmark}
        return {key: value for key, value in fields.items() if value}

    def apply(self, operations: Sequence[Operation], host: Host) -> None:
        failures: list[str] = []
        wanted: list[Interface] = [operation.after for operation in operations if operation.after is not None]
        with open_generic() as generic:
            family = family_id(generic, FAMILY)
            messages = [
                encode_device(family, one.dev, wireguard_keys.private_key(one.dev), one.port, one.fwmark)
                for one in wanted
            ]
            for position, error in generic.batch(messages):
                one = wanted[position]
                taken = error.errno == errno.EADDRINUSE
                advice = f"; UDP port {one.port} is taken, choose another podnet_wireguard_port" if taken else ""
                failures.append(f"{self.name}: set up {one.dev}: {error}{advice}")
        if failures:
            raise ApplyError(failures)


class PeerFacility:
    """Adds, changes and removes peers. A change keeps the session and leaves no prefix without a peer meanwhile."""

    name = "wireguard_peers"
    deletes_first = False

    def parents(self, obj: Peer) -> Sequence[Reference]:
        return (("links", obj.dev),)

    def immutable(self, before: Peer, after: Peer) -> bool:
        return False

    def describe(self, obj: Peer) -> dict[str, Any]:
        fields = {"peer": obj.public_key, "dev": obj.dev, "endpoint": endpoint_text(obj.endpoint, obj.port)}
        fields["allowed_ips"] = ",".join(f"{ip_text(address)}/{length}" for _family, address, length in obj.allowed_ips)
        fields["keepalive"] = str(obj.keepalive or "")
        fields["preshared_key"] = "(hidden)" if obj.preshared else ""
        return {key: value for key, value in fields.items() if value}

    def apply(self, operations: Sequence[Operation], host: Host) -> None:
        failures: list[str] = []
        steps = [
            *((operation.after or operation.before, operation.verb, change(operation)) for operation in operations),
            *_abandoned(operations),
        ]
        with open_generic() as generic:
            family = family_id(generic, FAMILY)
            messages: list[bytes] = []
            owners: list[int] = []
            for position, (peer, _verb, wanted) in enumerate(steps):
                encoded = encode_peer(family, peer.dev, wanted)
                messages += encoded
                owners += [position] * len(encoded)
            for position, error in generic.batch(messages):
                peer, verb, _wanted = steps[owners[position]]
                if verb == DELETE and error.errno == errno.ENODEV:
                    continue
                failures.append(f"{self.name}: {verb} {line(self, peer)}: {error}")
        if failures:
            raise ApplyError(failures)


def change(operation: Operation) -> PeerChange:
    """What the kernel is to be told so that a peer becomes what it should be."""
    if operation.verb == DELETE:
        return PeerChange(base64.b64decode(operation.before.public_key), remove=True)
    before: Peer | None = operation.before
    after: Peer = operation.after
    had = before or after._replace(endpoint=b"", allowed_ips=(), preshared=False)
    moved = (had.endpoint, had.port) != (after.endpoint, after.port)
    return PeerChange(
        base64.b64decode(after.public_key),
        update_only=before is not None,
        endpoint=(after.endpoint, after.port) if moved else None,
        keepalive=after.keepalive,
        drop_preshared=had.preshared,
        allowed_ips=tuple(sorted(set(after.allowed_ips).difference(had.allowed_ips))),
    )


def _abandoned(operations: Sequence[Operation]) -> Iterator[tuple[Peer, str, PeerChange]]:
    """How prefixes leave a peer that stays: a peer of nobody takes them over and goes with them.

    Replacing the peer's whole list instead would leave it without any prefix for a moment, in which packets are lost.
    """
    kept: dict[str, set[Prefix]] = {}
    left: dict[str, set[Prefix]] = {}
    for operation in operations:
        if operation.verb == DELETE:
            continue
        kept.setdefault(operation.after.dev, set()).update(operation.after.allowed_ips)
        if operation.verb == REPLACE:
            left.setdefault(operation.after.dev, set()).update(operation.before.allowed_ips)
    for dev, prefixes in left.items():
        gone = sorted(prefixes - kept[dev])
        if gone:
            nobody = os.urandom(KEY_LENGTH)
            shown = Peer(dev, base64.b64encode(nobody).decode(), b"", 0, tuple(gone))
            yield shown, "take prefixes from peers by", PeerChange(nobody, allowed_ips=gone)
            yield shown, "take prefixes from peers by", PeerChange(nobody, remove=True)


def endpoint_text(address: bytes, port: int) -> str:
    """An endpoint as ``wg`` writes it; empty for none."""
    if not address:
        return ""
    return f"{ip_text(address)}:{port}" if len(address) == 4 else f"[{ip_text(address)}]:{port}"


def devices(names: Iterable[str]) -> list[Device]:
    """Devices as the kernel describes them; none of them when it has no WireGuard."""
    wanted = list(names)
    if not wanted:
        return []
    try:
        with open_generic() as generic:
            family = family_id(generic, FAMILY)
            return [get_device(generic, family, name) for name in wanted]
    except NetlinkError as error:
        raise PodnetError(f"WireGuard device {' or '.join(wanted)} cannot be read: {error}") from error


def observe(names: Iterable[str]) -> tuple[dict[Hashable, Interface], dict[Hashable, Peer]]:
    """Our devices and their peers, by key."""
    interfaces: dict[Hashable, Interface] = {}
    peers: dict[Hashable, Peer] = {}
    for device in devices(names):
        own = base64.b64encode(device.public_key).decode()
        interfaces[device.name] = Interface(device.name, own, device.listen_port, device.fwmark)
        for peer in device.peers:
            key = base64.b64encode(peer.public_key).decode()
            peers[device.name, key] = Peer(
                device.name, key, peer.endpoint, peer.port, peer.allowed_ips, peer.keepalive, peer.preshared
            )
    return interfaces, peers


KEYS = KeyFacility()
INTERFACES = InterfaceFacility()
PEERS = PeerFacility()
