# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of a node's addresses carries the tunnels. Pure: it chooses among what was observed, or says why it cannot."""

from __future__ import annotations

from ipaddress import ip_address
from typing import NamedTuple, Union

from ansible_collections.podnet.fabric.plugins.module_utils.preflight.seen import (
    Finding,
    HeldAddress,
    Interface,
    Seen,
    Wanted,
)

# Kinds of devices that other networks put on a host; their addresses are not the host's.
_VIRTUAL = frozenset({"bridge", "vxlan", "dummy", "geneve", "ipip", "sit", "ip6tnl", "gre", "tun", "wireguard"})


class Second(NamedTuple):
    """The address of the other family on the same interface."""

    address: str
    prefixlen: int


class Underlay(NamedTuple):
    """The interface and addresses by which the node reaches the others."""

    interface: str
    address: str
    family: int
    prefixlen: int
    mtu: int
    second: Second | None = None


Choice = Union[Underlay, Finding]


def choose(seen: Seen, wanted: Wanted) -> Choice:
    """The underlay of the node, or the finding that says what is wrong with the request."""
    first = _first(seen, wanted)
    return _with_second(seen, wanted.second, first) if isinstance(first, Underlay) else first


def _with_second(seen: Seen, wanted: str, first: Underlay) -> Choice:
    if wanted == "none":
        return first
    here = [
        held
        for held in seen.addresses
        if held.interface == first.interface and held.address.version != first.family and held.usable
    ]
    if wanted != "auto":
        stated = [held for held in here if held.address.ip == ip_address(wanted)]
        if not stated:
            return _error(
                f"{wanted} not among the addresses of the other family on {first.interface} "
                f"(there are: {_listed(here) or 'none'})",
                f"podnet_underlay.second_address on the interface that holds {first.address}",
                f"set it to an address of {first.interface} that is of another family than {first.address}, to auto, "
                "or to none",
            )
        return first._replace(second=_second(stated[0]))
    # One with a subnet if there is one, and always the same one: the peers know it.
    lasting = [held for held in here if not held.secondary]
    lasting.sort(key=lambda held: (held.address.network.num_addresses == 1, int(held.address.ip)))
    return first._replace(second=_second(lasting[0])) if lasting else first


def _second(held: HeldAddress) -> Second:
    return Second(str(held.address.ip), held.address.network.prefixlen)


def _first(seen: Seen, wanted: Wanted) -> Choice:
    if wanted.interface != "auto" and seen.interface(wanted.interface) is None:
        names = ", ".join(each.name for each in seen.interfaces if each.name != "lo") or "none"
        return _error(
            f"no interface {wanted.interface} (there are: {names})",
            "the interface that podnet_underlay.interface names",
            "name one of these interfaces in podnet_underlay.interface, or leave it at auto",
        )
    if wanted.address != "auto":
        return _by_address(seen, wanted)
    if wanted.interface != "auto":
        return _by_interface(seen, wanted.interface)
    return _by_route(seen, wanted)


def _by_address(seen: Seen, wanted: Wanted) -> Choice:
    address = ip_address(wanted.address)
    holders = [held for held in seen.addresses if held.address.ip == address]
    if wanted.interface != "auto":
        on_it = [held for held in holders if held.interface == wanted.interface]
        if holders and not on_it:
            return _error(
                f"{address} on {_listed(holders)}, not on {wanted.interface}",
                "podnet_underlay.address on podnet_underlay.interface",
                f"set podnet_underlay.interface to {holders[0].interface}, or to auto",
            )
        holders = on_it
    if not holders:
        return _error(
            f"{address} on no interface (there are: {_listed(_candidates(seen)) or 'none'})",
            "podnet_underlay.address on one of the node's interfaces",
            "set podnet_underlay.address to an address of this node, or to auto",
        )
    if len(holders) > 1:
        return _error(
            f"{address} on several interfaces: {_listed(holders)}",
            "one interface with the underlay's address",
            "name the interface in podnet_underlay.interface",
        )
    return _underlay(seen, holders[0])


def _by_interface(seen: Seen, name: str) -> Choice:
    candidates = [held for held in _candidates(seen, virtual=True) if held.interface == name]
    # IPv4 where there is both: its header is 20 bytes shorter. A host address (a virtual IP of a load balancer, say)
    # gives way to one that has a subnet.
    for family in (4, 6):
        of_family = [held for held in candidates if held.address.version == family]
        with_subnet = [held for held in of_family if held.address.network.num_addresses > 1]
        of_family = with_subnet or of_family
        if len(of_family) > 1:
            return _error(
                f"several addresses on {name}: {_listed(of_family)}",
                "one address that can be meant",
                "choose one in podnet_underlay.address",
            )
        if of_family:
            return _underlay(seen, of_family[0])
    return _error(
        f"no usable address on {name}",
        "an address of global scope, neither tentative nor deprecated",
        f"give {name} an address, or name another interface in podnet_underlay.interface",
    )


def _by_route(seen: Seen, wanted: Wanted) -> Choice:
    """The address that packets to the peers leave from; without peers, that of the default route."""
    own = {held.address.ip for held in seen.addresses}
    asked = [address for address in wanted.towards if address not in own] or [
        address for address in seen.sources if address not in wanted.towards
    ]
    found = {address: source for address in asked if (source := seen.sources.get(address)) is not None}
    sources = set(found.values())
    if len({source.version for source in sources}) > 1 and not wanted.towards:
        sources = {source for source in sources if source.version == 4}
    if len(sources) > 1:
        ways = ", ".join(f"{address} from {source}" for address, source in sorted(found.items(), key=str))
        return _error(
            f"different source addresses towards the peers: {ways}",
            "one address that reaches every peer",
            "choose it in podnet_underlay.address",
        )
    holders = [held for held in seen.addresses if held.address.ip in sources]
    if len(holders) == 1:
        return _underlay(seen, holders[0])
    candidates = _candidates(seen)
    if not sources and len(candidates) == 1:
        return _underlay(seen, candidates[0])
    return _error(
        f"no route that tells which address to use (there are: {_listed(candidates) or 'none'})",
        "a route to the peers, a default route, or a single address",
        "choose the address in podnet_underlay.address",
    )


def _candidates(seen: Seen, virtual: bool = False) -> list[HeldAddress]:
    def counts(interface: Interface | None) -> bool:
        return interface is not None and interface.name != "lo" and (virtual or interface.kind not in _VIRTUAL)

    return [
        held for held in seen.addresses if held.usable and not held.secondary and counts(seen.interface(held.interface))
    ]


def _underlay(seen: Seen, held: HeldAddress) -> Choice:
    interface = seen.interface(held.interface)
    if interface is None or interface.ours:
        return _error(
            f"{held.address} on {held.interface}, a device of the pod network",
            "an address of the network below it",
            "choose another one in podnet_underlay.address",
        )
    return Underlay(
        interface=held.interface,
        address=str(held.address.ip),
        family=held.address.version,
        prefixlen=held.address.network.prefixlen,
        mtu=interface.mtu,
    )


def _listed(addresses: list[HeldAddress]) -> str:
    return ", ".join(f"{held.address} on {held.interface}" for held in addresses)


def _error(found: str, wanted: str, cure: str) -> Finding:
    return Finding("underlay", "error", found, wanted, cure)
