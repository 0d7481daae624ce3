# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be proven: from which pod, to which target, and what the packets should look like on the way."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KEPT = "kept"  # the receiver sees the pod's own address
NODE = "node"  # the receiver sees an address of the pod's node: outgoing NAT
ANY = "any"

LOCAL = "local"  # the underlay sees nothing of it: pods of one node
PLAIN = "plain"  # it travels without a tunnel, by whichever interface: to the world outside
DIRECT = "direct"  # it travels without a tunnel, and the underlay sees it: to a pod of another node
WIREGUARD = "wireguard"  # the underlay sees that something travels to the peer, and nothing of what


class Pod(NamedTuple):
    """A network namespace to ask from."""

    name: str
    netns: str
    addresses: tuple[str, ...]  # without prefix length


class Tunnel(NamedTuple):
    """How packets to a target should travel on the underlay; what is None may be anything."""

    type: str  # a tunnel of decode.py, LOCAL, PLAIN, DIRECT or ANY
    vni: int | None = None
    outer_src: str | None = None
    outer_dst: str | None = None
    port: int | None = None


class Target(NamedTuple):
    """An address with a responder behind it."""

    name: str
    address: str
    port: int
    source: str  # KEPT, NODE or ANY
    tunnel: Tunnel
    check_mtu: bool = True


class Question(NamedTuple):
    """One pod asks one target."""

    pod: Pod
    target: Target

    @property
    def family(self) -> int:
        return family_of(self.target.address)


def family_of(address: str) -> int:
    """AF_INET or AF_INET6."""
    return socket.AF_INET if ip_address(address).version == 4 else socket.AF_INET6


def questions(pods: Sequence[Mapping[str, Any]], targets: Sequence[Mapping[str, Any]], port: int) -> list[Question]:
    """Every pod asks every target that is meant for it and of whose address family it has an address.

    :param pods: dicts with name, netns, addresses (with or without prefix length)
    :param targets: dicts with name, address and the rest as the module's options say
    :param port: of targets that do not say theirs
    """
    known = [
        Pod(pod["name"], pod["netns"], tuple(text.partition("/")[0] for text in pod.get("addresses") or ()))
        for pod in pods
    ]
    asked = []
    for target in targets:
        address = target["address"].partition("/")[0]
        wanted = Target(
            name=target["name"],
            address=address,
            port=target.get("port") or port,
            source=target.get("source") or KEPT,
            tunnel=_tunnel(target.get("encapsulation") or {}),
            check_mtu=target.get("check_mtu", True),
        )
        askers = target.get("from")
        for pod in known:
            if askers is not None and pod.name not in askers:
                continue
            if address in pod.addresses or not any(family_of(own) == family_of(address) for own in pod.addresses):
                continue
            asked.append(Question(pod, wanted))
    return asked


def _tunnel(wanted: Mapping[str, Any]) -> Tunnel:
    return Tunnel(
        type=wanted.get("type") or ANY,
        vni=wanted.get("vni"),
        outer_src=wanted.get("outer_src"),
        outer_dst=wanted.get("outer_dst"),
        port=wanted.get("port"),
    )
