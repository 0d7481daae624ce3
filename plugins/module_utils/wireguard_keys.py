# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The private keys of WireGuard: ``/etc/podnet/wireguard/<device>.key``, made on the node, which they never leave.

Only ``make``, ``private_key`` and those who hand its answer to the kernel touch one. Nothing that is raised, compared
or shown does: what is known of a key is the public key that belongs to it, and that one the kernel tells.
"""

from __future__ import annotations

import base64
import binascii
import errno
import os
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.declaration import ETC, remove_empty, write_atomically
from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.connection import Netlink
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.errors import NetlinkError
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.generic import family_id, open_generic
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.link import Settings, encode_link
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.scratch import NoScratch, in_scratch_namespace
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.wireguard import (
    FAMILY,
    KEY_LENGTH,
    encode_device,
    get_device,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

DIRECTORY = ETC / "wireguard"
MODE = 0o600
_SUFFIX = ".key"
_SCRATCH = "key"


class Key(NamedTuple):
    """What may be known of a private key."""

    name: str  # of the device
    public_key: str  # base64
    mode: int = MODE


def path(name: str) -> Path:
    """The file with the private key of a device."""
    return DIRECTORY / f"{name}{_SUFFIX}"


def names() -> list[str]:
    """The devices that have a key."""
    return sorted(found.name[: -len(_SUFFIX)] for found in DIRECTORY.glob(f"*{_SUFFIX}"))


def make(name: str) -> None:
    """Make a private key and write it as ``wg genkey`` does."""
    key = bytearray(os.urandom(KEY_LENGTH))
    # What X25519 ignores or needs set (RFC 7748, section 5); the kernel would do it too.
    key[0] &= 248
    key[31] = (key[31] & 127) | 64
    try:
        DIRECTORY.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(path(name), base64.b64encode(key).decode() + "\n", MODE)
    except OSError as error:
        raise PodnetError(f"{path(name)}: {error.strerror}") from error


def private_key(name: str) -> bytes:
    """The private key of a device, for the kernel and nobody else.

    :raises PodnetError: there is none, or the file holds something else
    """
    try:
        text = path(name).read_bytes()
    except OSError as error:
        raise PodnetError(f"{path(name)}: {error.strerror}") from error
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != KEY_LENGTH:
        raise PodnetError(
            f"{path(name)}: not a WireGuard key (32 bytes in base64); move the file away and run the playbook "
            "on all nodes again: it makes a new one and tells the peers"
        )
    return key


def remove(name: str) -> None:
    """Remove a device's private key, and with the last one the directories."""
    try:
        path(name).unlink(missing_ok=True)
    except OSError as error:
        raise PodnetError(f"{path(name)}: {error.strerror}") from error
    remove_empty(DIRECTORY, DIRECTORY.parent)


def observe(devices: Iterable[str]) -> dict[str, Key]:
    """What may be known of the keys of those of the devices that have one.

    :raises PodnetError: a file holds no key, or the kernel has no WireGuard to tell the public one
    """
    there = set(names())
    had = [name for name in devices if name in there]
    if not had:
        return {}
    secrets = [private_key(name) for name in had]
    try:
        public = in_scratch_namespace(lambda: _public_keys(secrets))
    except NoScratch as error:
        raise PodnetError(f"the kernel does not tell the public keys of {DIRECTORY}: {error}") from error
    return {name: Key(name, key, path(name).stat().st_mode & 0o7777) for name, key in zip(had, public)}


def _public_keys(secrets: Sequence[bytes]) -> list[str]:
    """The public keys: that of a device follows from its private one, and the kernel works it out."""

    public = []
    with Netlink() as routing, open_generic() as generic:
        for _nth, error in routing.batch([encode_link("create", Settings(_SCRATCH, FAMILY), {})]):
            raise NetlinkError(error.errno or errno.EOPNOTSUPP, "this kernel has no WireGuard")
        family = family_id(generic, FAMILY)
        for secret in secrets:
            for _nth, error in generic.batch([encode_device(family, _SCRATCH, secret, 0)]):
                raise error
            public.append(base64.b64encode(get_device(generic, family, _SCRATCH).public_key).decode())
    return public
