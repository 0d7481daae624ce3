# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions between WireGuard's peers: which there are, and how to have them before the first packet needs one."""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.errors import ApplyError, PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.wireguard import devices, endpoint_text
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.generic import family_id, open_generic
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.wireguard import FAMILY, PeerChange, encode_peer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Items
    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.wireguard import Device, Peer

REJECT_AFTER_SECONDS = 180
"""A session of that age carries nothing any more (REJECT_AFTER_TIME, drivers/net/wireguard/messages.h)."""

_LOOK_SECONDS = 0.2
_KEEPALIVE_SECONDS = 1


class Session(NamedTuple):
    """A peer of a device, and how things stand with it."""

    dev: str
    name: str  # the node's; the public key where no declaration knows it
    peer: Peer
    age: float | None  # seconds since the last handshake; None for never

    @property
    def stands(self) -> bool:
        return self.age is not None and self.age < REJECT_AFTER_SECONDS


def sessions(names: Iterable[str], items: Items) -> list[Session]:
    """All peers of these devices.

    :param items: the declaration, which knows the peers' names
    """
    found = devices(names)
    now = time.time()
    return sorted(
        (_session(device, peer, items.get(device.name, {}), now) for device in found for peer in device.peers),
        key=lambda session: session[:2],
    )


def _session(device: Device, peer: Peer, item: dict[str, Any], now: float) -> Session:
    key = text_of(peer)
    name = next((str(known["name"]) for known in item.get("peers", ()) if known.get("public_key") == key), key)
    return Session(device.name, name, peer, max(0.0, now - peer.last_handshake) if peer.last_handshake else None)


def text_of(peer: Peer) -> str:
    """A peer's public key as WireGuard's tools write it."""
    return base64.b64encode(peer.public_key).decode()


def establish(names: Sequence[str], items: Items, seconds: float) -> list[Session]:
    """Have a session with every peer: ask for a handshake where there is none, and wait.

    :raises PodnetError: some peers gave no answer in time
    """
    deadline = time.monotonic() + seconds
    found = sessions(names, items)
    missing = asked = [session for session in found if not session.stands]
    if not missing:
        return found
    # A peer that is to be kept alive is sent a packet at once, and that takes a handshake.
    _keep_alive(asked, _KEEPALIVE_SECONDS)
    try:
        while missing and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
            found = sessions(names, items)
            missing = [session for session in found if not session.stands]
    finally:
        _keep_alive(asked, 0)
    if missing:
        raise PodnetError(
            f"no WireGuard session within {seconds:g} s with "
            + ", ".join(f"{one.name} ({endpoint_text(one.peer.endpoint, one.peer.port)})" for one in missing)
            + "; see that the node is up, that UDP to that port gets there, and that both were in the same run"
        )
    return found


def _keep_alive(wanted: Iterable[Session], seconds: int) -> None:
    with open_generic() as generic:
        family = family_id(generic, FAMILY)
        messages = [
            encoded
            for one in wanted
            for encoded in encode_peer(
                family, one.dev, PeerChange(one.peer.public_key, update_only=True, keepalive=seconds)
            )
        ]
        failures = [str(error) for _position, error in generic.batch(messages)]
    if failures:
        raise ApplyError(failures)
