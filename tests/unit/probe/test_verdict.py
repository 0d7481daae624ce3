# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who asks whom, and what an answer is worth."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.errors import InvalidInput
from ansible_collections.podnet.fabric.plugins.module_utils.probe import prober, question, session, verdict
from ansible_collections.podnet.fabric.plugins.module_utils.probe.decode import Encapsulation

PODS = [
    {"name": "a", "netns": "a", "addresses": ["10.0.0.2/24", "fd00::2/64"]},
    {"name": "b", "netns": "b", "addresses": ["10.0.0.3/24"]},
]
TUNNEL = Encapsulation("vxlan", 84, b"\xc0\0\x02\x01", b"\xc0\0\x02\x02", 4789)
WANTED = {"type": "vxlan", "vni": 84, "outer_src": "192.0.2.1", "outer_dst": "192.0.2.2", "port": 4789}


def _asked(*targets: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one.pod.name, one.target.name) for one in question.questions(PODS, targets, 8484)]


def test_a_pod_asks_others_of_its_own_families_and_not_itself() -> None:
    assert _asked({"name": "c", "address": "10.0.1.2"}) == [("a", "c"), ("b", "c")]
    assert _asked({"name": "c", "address": "fd00:1::2"}) == [("a", "c")]
    assert _asked({"name": "b", "address": "10.0.0.3/24"}) == [("a", "b")]


def test_a_target_may_be_meant_for_some_pods_only() -> None:
    assert _asked({"name": "c", "address": "10.0.1.2", "from": ["b"]}) == [("b", "c")]
    assert _asked({"name": "c", "address": "10.0.1.2", "from": []}) == []


def _answer(target: dict[str, Any] | None = None, **changes: Any) -> prober.Answer:
    (asked, *_rest) = question.questions(PODS, [target or {"name": "c", "address": "10.0.1.2"}], 8484)
    good = prober.Answer(
        question=asked,
        mtu=1450,
        own_mtu=1450,
        udp=True,
        tcp=True,
        udp_error="",
        tcp_error="",
        source="10.0.0.2",
        udp_source="10.0.0.2",
        tcp_source="10.0.0.2",
        rtt=0.0012,
        full=True,
        over=False,
        observed=prober.Observed((TUNNEL,)),
        missed=0,
    )
    return good._replace(**changes)


def _judged(answer: prober.Answer, *, check_mtu: bool = True) -> dict[str, Any]:
    return verdict.judge(answer, lambda address: address == "192.0.2.1", 5.0, "eth0", check_mtu)


def test_a_good_answer_has_no_failures() -> None:
    target = {"name": "c", "address": "10.0.1.2", "encapsulation": WANTED}
    result = _judged(_answer(target))
    assert result == {
        "from": "a",
        "to": "c",
        "address": "10.0.1.2",
        "family": "ipv4",
        "reachable": True,
        "udp": True,
        "tcp": True,
        "source": "10.0.0.2",
        "source_seen": "10.0.0.2",
        "nat": False,
        "rtt_ms": 1.2,
        "mtu": 1450,
        "mtu_ok": True,
        "over_mtu_blocked": True,
        "expected": "vxlan",
        "encapsulation": WANTED,
        "plain_on_underlay": False,
        "fragmented": False,
        "failures": [],
    }


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({**WANTED, "vni": 85}, "left eth0 in vxlan VNI 84 from 192.0.2.1 to 192.0.2.2 port 4789, wanted vxlan VNI 85"),
        ({**WANTED, "port": 8472}, "wanted vxlan VNI 84 from 192.0.2.1 to 192.0.2.2 port 8472"),
        ({**WANTED, "outer_src": "192.0.2.9"}, "wanted vxlan VNI 84 from 192.0.2.9"),
        ({**WANTED, "outer_dst": "2001:db8::2"}, "to 2001:db8::2"),
        ({"type": "plain"}, "wanted no tunnel"),
        ({"type": "local"}, "wanted no tunnel"),
    ],
)
def test_every_part_of_the_outside_counts(wanted: dict[str, Any], says: str) -> None:
    (failure,) = _judged(_answer({"name": "c", "address": "10.0.1.2", "encapsulation": wanted}))["failures"]
    assert failure.startswith("a -> c (10.0.1.2): left eth0 in vxlan")
    assert says in failure


def test_a_direct_way_is_seen_and_in_no_tunnel() -> None:
    direct = {"name": "c", "address": "10.0.1.2", "encapsulation": {"type": "direct"}}
    assert _judged(_answer(direct, observed=prober.Observed(plain=True)))["failures"] == []
    (failure,) = _judged(_answer(direct))["failures"]
    assert "left eth0 in vxlan VNI 84 from 192.0.2.1 to 192.0.2.2 port 4789, wanted no tunnel; the direct" in failure
    (failure,) = _judged(_answer(direct, observed=prober.Observed()))["failures"]
    assert "not seen on eth0, wanted it there without a tunnel; it takes another interface" in failure


def test_what_is_sealed_must_go_to_the_peer_and_nothing_beside_it() -> None:
    sealed = Encapsulation("wireguard", None, b"\xc0\0\x02\x01", b"\xc0\0\x02\x02", 51820)
    wanted = {"type": "wireguard", "port": 51820, "outer_src": "192.0.2.1", "outer_dst": "192.0.2.2"}
    target = {"name": "c", "address": "10.0.1.2", "encapsulation": wanted}
    result = _judged(_answer(target, observed=prober.Observed((sealed,))))
    assert result["failures"] == []
    assert result["encapsulation"] == {**wanted, "vni": None}
    (failure,) = _judged(_answer(target, observed=prober.Observed()))["failures"]
    assert "not seen on eth0, wanted wireguard from 192.0.2.1 to 192.0.2.2 port 51820 there" in failure
    (failure,) = _judged(_answer(target, observed=prober.Observed((sealed,), plain=True)))["failures"]
    assert "left eth0 without a tunnel, wanted wireguard" in failure
    (failure,) = _judged(_answer(target, observed=prober.Observed((sealed._replace(port=7),))))["failures"]
    assert "left eth0 in wireguard from 192.0.2.1 to 192.0.2.2 port 7, wanted" in failure


def test_what_a_capture_lost_is_said() -> None:
    answer = _answer(
        {"name": "c", "address": "10.0.1.2", "encapsulation": WANTED}, observed=prober.Observed(), missed=3
    )
    assert "the capture lost 3 packets" in _judged(answer)["failures"][0]


def test_without_a_capture_nothing_is_said_about_tunnels() -> None:
    result = _judged(_answer({"name": "c", "address": "10.0.1.2", "encapsulation": WANTED}, observed=None))
    assert result["encapsulation"] is None
    assert result["plain_on_underlay"] is None
    assert result["failures"] == []


def test_sizes_count_only_when_asked_for() -> None:
    answer = _answer(full=False, over=None, own_mtu=1400)
    (failure,) = _judged(answer)["failures"]
    assert "(the pod's route takes 1400)" in failure
    assert _judged(answer, check_mtu=False)["failures"] == []
    assert _judged(answer, check_mtu=False)["mtu_ok"] is False


@pytest.mark.parametrize(
    ("wanted", "observed", "says"),
    [
        (WANTED, prober.Observed(), "nothing of it leaves eth0: look at the route to it, its neighbour"),
        (
            WANTED,
            prober.Observed((TUNNEL,)),
            "it leaves eth0 in vxlan VNI 84 from 192.0.2.1 to 192.0.2.2 port 4789: look",
        ),
        (WANTED, prober.Observed(plain=True), "it leaves eth0 without a tunnel: the route to it is missing"),
        (WANTED, None, "look at the route to it"),
        ({"type": "local"}, prober.Observed(), "both are on this node: look at the bridge"),
        ({"type": "direct"}, prober.Observed(plain=True), "it leaves eth0 as it is: look for a packet filter"),
        (
            {"type": "direct"},
            prober.Observed((TUNNEL,)),
            "it leaves eth0 in vxlan VNI 84 from 192.0.2.1 to 192.0.2.2 port 4789: the direct route to it is missing",
        ),
        (
            {"type": "wireguard"},
            prober.Observed((Encapsulation("wireguard", None, b"\xc0\0\x02\x01", b"\xc0\0\x02\x02", 51820),)),
            "packets leave eth0 in wireguard from 192.0.2.1 to 192.0.2.2 port 51820, whether it is among them cannot",
        ),
    ],
)
def test_an_unreachable_target_has_one_failure_that_says_where_to_look(
    wanted: dict[str, Any], observed: prober.Observed | None, says: str
) -> None:
    answer = _answer(
        {"name": "c", "address": "10.0.1.2", "encapsulation": wanted},
        udp=False,
        tcp=False,
        udp_source="",
        tcp_source="",
        tcp_error="Connection refused",
        full=None,
        over=None,
        observed=observed,
    )
    (failure,) = _judged(answer)["failures"]
    start = "a -> c (10.0.1.2): not reached within 5 s (UDP: no answer, TCP: Connection refused); "
    assert failure.startswith(start + says)
    assert _judged(answer)["nat"] is None


@pytest.mark.parametrize(
    ("wanted", "udp", "tcp", "says"),
    [
        ("kept", "192.0.2.1", "192.0.2.1", ["by UDP and TCP the receiver saw 192.0.2.1 as the source, wanted the pod"]),
        ("kept", "10.0.0.2", "192.0.2.1", ["by TCP the receiver saw 192.0.2.1 as the source, wanted the pod"]),
        ("node", "192.0.2.1", "192.0.2.1", []),
        ("node", "10.0.0.2", "192.0.2.1", ["by UDP the receiver saw the pod's own address 10.0.0.2"]),
        (
            "node",
            "192.0.2.1",
            "192.0.2.9",
            ["by TCP the receiver saw 192.0.2.9 as the source, wanted an address of this"],
        ),
        ("any", "192.0.2.1", "10.0.0.2", []),
    ],
)
def test_the_source_that_the_receiver_saw_counts(wanted: str, udp: str, tcp: str, says: list[str]) -> None:
    target = {"name": "c", "address": "10.0.1.2", "source": wanted}
    result = _judged(_answer(target, udp_source=udp, tcp_source=tcp))
    told = [text.removeprefix("a -> c (10.0.1.2): ") for text in result["failures"]]
    assert len(told) == len(says)
    assert all(text.startswith(start) for text, start in zip(told, says, strict=True))
    assert result["nat"]


def test_wrong_parameters_are_all_told_at_once() -> None:
    params = {
        "pods": [{"name": "a", "netns": "a", "addresses": ["10.0.0.300"]}],
        "targets": [{"name": "b", "address": "example", "encapsulation": {"outer_src": "x", "outer_dst": None}}],
        "port": 0,
        "run": "test",
        "lifetime": 0,
        "timeout": -1.0,
        "mtu": 100,
        "check_mtu": True,
        "underlay_interface": None,
    }
    with pytest.raises(InvalidInput) as caught:
        session.ask(params, False)
    assert str(caught.value).splitlines() == [
        "port: 0; wanted 1 to 65535",
        "lifetime: 0; wanted at least 1 second",
        "timeout: -1.0; wanted more than 0 seconds",
        "mtu: 100; wanted 576 to 65535 bytes",
        "pods[0].addresses[0]: '10.0.0.300'; wanted an IP address",
        "targets[0].address: 'example'; wanted an IP address",
        "targets[0].encapsulation.outer_src: 'x'; wanted an IP address",
    ]
