# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Links as a facility: what goes wrong is said of the link it went wrong with, what can change keeps its link."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.errors import ApplyError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.links import LINKS, Device, observed
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import (
    CREATE,
    DELETE,
    RECREATE,
    REPLACE,
    Operation,
)
from tests.integration.kinds import needs_link_kind

if TYPE_CHECKING:
    from tests.integration.conftest import Namespace

MAC = "02:00:00:00:00:01"
BRIDGE = Device("b0", "bridge", "podnet:bridge", 1400, MAC, True, "", ())
VXLAN_DATA = (("id", 84), ("learning", False), ("local", "192.0.2.1"), ("port", 4789))
VXLAN = Device("x0", "vxlan", "podnet:vxlan", 1400, MAC, True, "", VXLAN_DATA)
VXLAN_IPV6 = VXLAN._replace(data=(("id", 85), ("learning", False), ("local", "2001:db8::1"), ("port", 4789)))
GENEVE = Device("g0", "geneve", "podnet:geneve", 1400, MAC, True, "", (("external", True), ("port", 6099)))
IPIP = Device("i0", "ipip", "podnet:ipip", 1400, "", True, "", (("local", "192.0.2.1"),))
IP6TNL = Device("i1", "ip6tnl", "podnet:ipip", 1400, "", True, "", (("external", True), ("proto", 41)))
WIREGUARD = Device("w0", "wireguard", "podnet:wireguard", 1400, "", True, "", ())
DEVICES = [
    pytest.param(BRIDGE, id="bridge"),
    pytest.param(VXLAN, id="vxlan"),
    pytest.param(VXLAN_IPV6, id="vxlan over IPv6"),
    pytest.param(GENEVE, id="geneve", marks=needs_link_kind("geneve")),
    pytest.param(IPIP, id="ipip", marks=needs_link_kind("ipip")),
    pytest.param(IP6TNL, id="ip6tnl", marks=needs_link_kind("ip6tnl")),
    pytest.param(WIREGUARD, id="wireguard", marks=needs_link_kind("wireguard")),
]


def carry_out(host: Host, *operations: tuple[str, Device | None, Device | None]) -> None:
    LINKS.apply([Operation("links", *operation) for operation in operations], host)


@pytest.mark.parametrize("device", DEVICES)
def test_a_device_is_observed_as_declared_and_goes(netns: Namespace, device: Device) -> None:
    with Host() as host:
        before = set(host.links)
        carry_out(host, (CREATE, None, device))
        assert observed(host.links[device.name]) == device
        assert netns.ip_json("link", "show", device.name)[0]["group"] == "84"
        carry_out(host, (DELETE, device, None))
        # A kind's own devices (tunl0, ip6tnl0) come with its first.
        assert device.name not in host.links
        assert {host.links[name].kind for name in set(host.links) - before} <= {device.kind}


@pytest.mark.parametrize("device", DEVICES)
def test_what_can_change_changes_on_the_same_link(netns: Namespace, device: Device) -> None:
    changed = device._replace(mtu=1380, up=False, mac="02:00:00:00:00:02" if device.mac else "")
    with Host() as host:
        carry_out(host, (CREATE, None, device))
        index = host.links[device.name].index
        assert not LINKS.immutable(device, changed)
        carry_out(host, (REPLACE, device, changed))
        assert (observed(host.links[device.name]), host.links[device.name].index) == (changed, index)
        carry_out(host, (RECREATE, changed, device))
        assert observed(host.links[device.name]) == device
        assert host.links[device.name].index != index


@needs_link_kind("ipip")
def test_an_ipip_device_moves_to_another_local_address_as_it_stands(netns: Namespace) -> None:
    moved = IPIP._replace(data=(("local", "192.0.2.9"),))
    with Host() as host:
        carry_out(host, (CREATE, None, IPIP))
        index = host.links["i0"].index
        assert not LINKS.immutable(IPIP, moved)
        carry_out(host, (REPLACE, IPIP, moved))
        assert (observed(host.links["i0"]), host.links["i0"].index) == (moved, index)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (GENEVE, GENEVE._replace(data=(("external", True), ("port", 6100)))),
        (GENEVE, GENEVE._replace(data=(("external", None), ("port", 6099)))),
        (VXLAN, VXLAN_IPV6),
        (IPIP, IPIP._replace(kind="ip6tnl")),
        (VXLAN, VXLAN._replace(parent="eth0")),
    ],
)
def test_what_cannot_change_makes_the_link_anew(before: Device, after: Device) -> None:
    assert LINKS.immutable(before, after)


def test_a_link_without_ipv6_needs_no_word_about_link_local_addresses(netns: Namespace) -> None:
    small = VXLAN._replace(mtu=1200)
    with Host() as host:
        carry_out(host, (CREATE, None, small))
        assert observed(host.links["x0"]) == small
    assert netns.ip_json("address", "show", "x0")[0]["addr_info"] == []


def test_every_refusal_names_its_link_and_has_the_kernels_words_once(netns: Namespace) -> None:
    wrong = VXLAN._replace(name="x1", data=(("id", 1 << 24), *VXLAN_DATA[1:]))
    with Host() as host:
        with pytest.raises(ApplyError) as refused:
            carry_out(
                host,
                (CREATE, None, wrong),
                (CREATE, None, BRIDGE),
                (CREATE, None, BRIDGE._replace(name="b1", mtu=60)),
                (CREATE, None, BRIDGE._replace(name="n0", kind="nosuchkind")),
            )
        assert refused.value.failures == [
            "links: create x1 (vxlan): Numerical result out of range: VXLAN ID must be lower than 16777216",
            "links: create b1 (bridge): Invalid argument: mtu less than device minimum",
            "links: create n0 (nosuchkind): Operation not supported: Unknown device type",
        ]
        # What was fine is there, and the host has looked again.
        assert observed(host.links["b0"]) == BRIDGE


def test_a_missing_underlay_is_named(netns: Namespace) -> None:
    with Host() as host, pytest.raises(ApplyError, match=r"create x0 \(vxlan\): No such device: .*'eth9'"):
        carry_out(host, (CREATE, None, VXLAN._replace(parent="eth9")))


def test_a_link_that_went_by_itself_is_gone(netns: Namespace) -> None:
    with Host() as host:
        carry_out(host, (CREATE, None, VXLAN))
        assert "x0" in host.links
        netns.ip("link", "del", "x0")
        carry_out(host, (DELETE, VXLAN, None))
        assert "x0" not in host.links


def test_a_device_is_described_in_iproute2s_words() -> None:
    assert LINKS.describe(IP6TNL) == {
        "name": "i1",
        "type": "ip6tnl",
        "mtu": 1400,
        "alias": "podnet:ipip",
        "state": "up",
        "external": True,
        "proto": 41,
    }
