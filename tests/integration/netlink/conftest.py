# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A namespace with devices, our connection to it, and pyroute2's."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
from pyroute2 import IPRoute

from ansible_collections.podnet.fabric.plugins.module_utils.netlink.connection import Netlink
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.link import device_names_of, dump_links

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ansible_collections.podnet.fabric.tests.integration.conftest import Namespace


class Node(NamedTuple):
    """A namespace with the devices vx (VXLAN over IPv4), vx6 (over IPv6), br0, and v0 (a veth) with 192.0.2.1/24."""

    netns: Namespace
    nl: Netlink
    ipr: IPRoute
    names: dict[int, str]
    index_of: dict[str, int]

    def apply(self, *messages: bytes) -> None:
        """Send messages that have to succeed."""
        failures = self.nl.batch(messages)
        assert failures == []


_DEVICES = """\
link add vx type vxlan id 84 dstport 4789 local 192.0.2.1 nolearning
link add vx6 type vxlan id 85 dstport 4790 local 2001:db8::1 nolearning
link add br0 type bridge
link add v0 type veth peer name v1
address add 192.0.2.1/24 dev v0
link set v1 up
link set v0 up
link set vx up
link set vx6 up
link set br0 up
"""


@pytest.fixture
def node(netns: Namespace) -> Iterator[Node]:
    """The devices and the two connections."""
    # Without duplicate address detection and router solicitations nothing moves behind the test's back.
    netns.run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.default.router_solicitations=0")
    netns.run("ip", "-batch", "-", stdin=_DEVICES)
    with Netlink() as nl, IPRoute() as ipr:
        names = device_names_of(dump_links(nl))
        yield Node(netns, nl, ipr, names, {name: index for index, name in names.items()})
