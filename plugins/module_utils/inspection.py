# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inspects a module's values and gathers every finding before anything is done."""

from __future__ import annotations

import re
import socket
from typing import Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.errors import DeclarationError, Finding, InvalidInput

# As plain numbers: the kernel's answers hold such, and members of an enumeration are slow to compare with them.
AF_INET, AF_INET6 = int(socket.AF_INET), int(socket.AF_INET6)

IFNAMSIZ = 16
"""Bytes of an interface name with its terminating zero (linux/if.h)."""

_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\Z")


class Network(NamedTuple):
    """A prefix: address family, packed address, length in bits."""

    family: int
    address: bytes
    prefixlen: int


def packed_ip(text: Any) -> bytes | None:
    """An address of either family as bytes; None when it is none."""
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except (OSError, TypeError, ValueError):
        return None


class _Texts(dict[bytes, str]):
    """Addresses as the kernel's tools print them, by their packed form: each is made once."""

    def __missing__(self, packed: bytes) -> str:
        found = self[packed] = socket.inet_ntop(AF_INET if len(packed) == 4 else AF_INET6, packed)
        return found


IP_TEXTS = _Texts()


def network(text: Any) -> Network | None:
    """Parse ``address/length``, the address with or without host bits; None when it is none."""
    if not isinstance(text, str):
        return None
    head, _dummy, length = text.partition("/")
    address = packed_ip(head)
    if address is None or not (length.isascii() and length.isdigit()) or int(length) > 8 * len(address):
        return None
    return Network(AF_INET if len(address) == 4 else AF_INET6, address, int(length))


def declared_network(text: Any) -> Network:
    """A prefix out of a declaration, where it was inspected before.

    :raises DeclarationError: somebody has edited it since
    """
    found = network(text)
    if found is None:
        raise DeclarationError(f"the declaration holds {text!r} where a prefix should be; run the playbook again")
    return found


def declared_ip(text: Any) -> bytes:
    """An address out of a declaration, packed; see declared_network."""
    packed = packed_ip(text)
    if packed is None:
        raise DeclarationError(f"the declaration holds {text!r} where an address should be; run the playbook again")
    return packed


def has_host_bits(prefix: Network) -> bool:
    """Whether bits right of the prefix are set."""
    spare = 8 * len(prefix.address) - prefix.prefixlen
    return bool(int.from_bytes(prefix.address, "big") & ((1 << spare) - 1))


class Inspection:
    """Collects findings; ``conclude`` raises them all."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def refuse(self, path: str, found: Any, wanted: str) -> None:
        """Note a finding about the value at a path."""
        self.findings.append(Finding(path, found if isinstance(found, str) else repr(found), wanted))

    def interface(self, path: str, value: Any) -> None:
        """An interface name: 1 to 15 bytes, no slash, no white space (dev_valid_name, net/core/dev.c)."""
        if not isinstance(value, str) or not value or value in (".", ".."):
            self.refuse(path, f"{value!r} is no interface name", "give one of 1 to 15 bytes")
        elif len(value.encode()) >= IFNAMSIZ:
            self.refuse(path, f"{value} has {len(value.encode())} bytes", "an interface name has at most 15")
        elif any(letter.isspace() or letter in "/:" for letter in value):
            self.refuse(path, f"{value!r} holds a slash, a colon or white space", "an interface name holds none")

    def integer(self, path: str, value: Any, low: int, high: int) -> None:
        """A whole number within bounds."""
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.refuse(path, f"{value!r} is not allowed", f"give a whole number from {low} to {high}")

    def mac(self, path: str, value: Any) -> str:
        """A unicast link-layer address, in lower case with colons."""
        text = value.lower() if isinstance(value, str) else ""
        if not _MAC.match(text) or int(text[1], 16) & 1 or text == "00:00:00:00:00:00":
            self.refuse(path, f"{value!r} is no unicast MAC address", "write it as 02:00:5e:10:00:01")
        return text

    def ip(self, path: str, value: Any) -> bytes | None:
        """An address of either family."""
        packed = packed_ip(value)
        if packed is None:
            self.refuse(path, f"{value!r} is no IP address", "write it as 192.0.2.1 or 2001:db8::1")
        return packed

    def network(self, path: str, value: Any, host_bits: bool = False) -> Network | None:
        """A prefix in CIDR notation.

        :param host_bits: whether the address may lie inside the prefix (an interface's address)
        """
        found = network(value)
        if found is None:
            self.refuse(path, f"{value!r} is no prefix", "write it as 10.244.1.0/24 or fd00:10:244:1::/64")
            return None
        if not host_bits and has_host_bits(found):
            self.refuse(path, f"{value} has bits set right of its prefix length", "give the network's own address")
            return None
        return found

    def unknown(self, path: str, keys: Any, known: Any) -> None:
        """Keys that nobody reads."""
        for key in sorted(set(keys) - set(known)):
            self.refuse(f"{path}.{key}", "unknown", f"known are {', '.join(sorted(known))}")

    def conclude(self) -> None:
        """Raise all that was found.

        :raises InvalidInput:
        """
        if self.findings:
            raise InvalidInput(self.findings)
