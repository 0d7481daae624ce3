# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report at the end shows what was proven, and everything that was not."""

from __future__ import annotations

from typing import Any

from ansible_collections.podnet.fabric.plugins.plugin_utils import reachability_table

TUNNEL = {"type": "vxlan", "vni": 84, "outer_src": "192.0.2.1", "outer_dst": "192.0.2.2", "port": 4789}


def _result(asking: str, asked: str, /, **changes: Any) -> dict[str, Any]:
    good = {
        "from": asking,
        "to": asked,
        "address": "10.0.0.2",
        "family": "ipv4",
        "reachable": True,
        "source_seen": "10.0.0.1",
        "nat": False,
        "rtt_ms": 0.5,
        "mtu": 1450,
        "mtu_ok": True,
        "over_mtu_blocked": True,
        "expected": "vxlan",
        "encapsulation": TUNNEL,
        "plain_on_underlay": False,
        "fragmented": False,
        "failures": [],
    }
    return {**good, **changes}


LOST: dict[str, Any] = {
    "reachable": False,
    "nat": None,
    "rtt_ms": None,
    "mtu_ok": None,
    "over_mtu_blocked": None,
    "encapsulation": None,
    "failures": ["one -> node1/one (10.0.0.2): not reached within 5 s (UDP: no answer, TCP: no answer); look"],
}


def test_a_good_network_in_full() -> None:
    outside: dict[str, Any] = {"to": "outside", "address": "203.0.113.2", "nat": True, "encapsulation": None}
    results = {
        "node1": [
            _result("one", "node2/one"),
            _result("one", "node2/one", family="ipv6", rtt_ms=1.5),
            _result("one", "node1/two", encapsulation=None),
            _result("one", "outside", **{**outside, "source_seen": "192.0.2.1"}),
        ],
        "node2": [
            _result("one", "node1/one", rtt_ms=2.0),
            _result("one", "outside", **{**outside, "source_seen": "192.0.2.2"}),
        ],
    }
    assert reachability_table.lines(results) == [
        "from / to  node1/one  node1/two  node2/one",
        "---------  ---------  ---------  ---------",
        "node1/one  .          4          4 6",
        "node1/two             .",
        "node2/one  4                     .",
        "",
        "4, 6: reached over IPv4, IPv6; !: reached, but not as it should be; -: not reached; blank: not asked",
        "",
        "from / to  node1  node2",
        "---------  -----  -----",
        "node1      .      vxlan",
        "node2      vxlan  .",
        "",
        "seen leaving for another node's pods: the tunnel, or direct without one; -: nothing; 4:, 6: in IPv4, IPv6",
        "",
        "reached by UDP and TCP                        4 of 4",
        "source address kept (no NAT)                  4 of 4",
        "full-size packet with DF (1450 bytes) passes  4 of 4",
        "one byte more does not                        4 of 4",
        "on the underlay in VXLAN VNI 84 port 4789     3",
        "not on the underlay at all                    1",
        "round trip, median                            1.00 ms",
        "outside 203.0.113.2: reached by 2 of 2 pods, 2 through NAT; it saw 192.0.2.1, 192.0.2.2",
    ]
    assert reachability_table.failures(results) == []


def test_a_broken_network_shows_where() -> None:
    wrong: dict[str, Any] = {
        "nat": True,
        "failures": ["one -> node3/one (10.0.0.2): by UDP and TCP the receiver saw 10.0.0.9 ..."],
    }
    results = {
        "node1": [_result("one", "node2/one", **LOST), _result("one", "node3/one", family="ipv6", **wrong)],
        "node2": [_result("one", "node1/one", plain_on_underlay=True, encapsulation=None, fragmented=True)],
    }
    table = reachability_table.lines(results, ["node3"])
    assert "node1/one  .          -          6!" in table
    told = [" ".join(line.split()) for line in table]
    assert "node2 direct ." in told
    assert "reached by UDP and TCP 2 of 3" in told
    assert "source address kept (no NAT) 1 of 3" in told
    assert "on the underlay without a tunnel, against the plan 1" in told
    assert "in fragments on the underlay 1" in told
    assert table[-1] == "node3: no result, see its errors above"
    assert reachability_table.failures(results, ["node3"]) == [
        "node1/one -> node1/one (10.0.0.2): not reached within 5 s (UDP: no answer, TCP: no answer); look",
        "node1/one -> node3/one (10.0.0.2): by UDP and TCP the receiver saw 10.0.0.9 ...",
        "node3: its pods asked nobody, see the errors above",
    ]


def test_every_pair_of_nodes_tells_how_its_packets_travelled() -> None:
    ipip = {"type": "ipip", "vni": None, "outer_src": "192.0.2.1", "outer_dst": "192.0.2.3", "port": None}
    direct: dict[str, Any] = {"expected": "direct", "encapsulation": None, "plain_on_underlay": True}
    results = {
        "node1": [
            _result("one", "node1/two", expected="local", encapsulation=None),
            _result("one", "node2/one", **direct),
            _result("two", "node2/one", **direct),
            _result("one", "node3/one", expected="ipip", encapsulation=ipip),
            _result("one", "node3/one", expected="ip6ip6", family="ipv6", encapsulation={**ipip, "type": "ip6ip6"}),
        ],
        "node2": [
            _result("one", "node1/one", **direct),
            _result("one", "node1/one", family="ipv6", expected="vxlan"),
            _result("one", "node3/one", **{**direct, "plain_on_underlay": False}),
        ],
    }
    table = reachability_table.lines(results)
    start = table.index("from / to  node1             node2   node3")
    assert table[start + 2 : start + 5] == [
        "node1      .                 direct  4:ipip 6:ip6ip6",
        "node2      4:direct 6:vxlan  .       -",
        "node3                                .",
    ]
    told = [" ".join(line.split()) for line in table]
    assert "on the underlay as they are 3" in told
    assert "on the underlay in IPIP 1" in told
    assert "not on the underlay at all 2" in told
    assert not any("against the plan" in line for line in told)


def test_many_nodes_have_a_line_each_in_the_order_of_their_numbers() -> None:
    results = {f"node{n}": [_result("one", f"node{n % 14 + 1}/one", **(LOST if n == 3 else {}))] for n in range(1, 15)}
    table = reachability_table.lines(results)
    assert table[0] == "node    asked  reached  as it should be"
    assert table[4] == "node3   1      0        0"
    assert [line.split()[0] for line in table[2:16]] == [f"node{n}" for n in range(1, 15)]


def test_nothing_watched_nothing_claimed() -> None:
    results = {"node1": [_result("one", "node2/one", plain_on_underlay=None, fragmented=None, encapsulation=None)]}
    assert not any("underlay" in line for line in reachability_table.lines(results))


def test_nobody_outside_answers() -> None:
    results = {"node1": [_result("one", "outside", **LOST)]}
    assert reachability_table.lines(results) == ["outside 10.0.0.2: reached by 0 of 1 pods"]


def test_no_results_at_all() -> None:
    assert reachability_table.lines({}) == ["nothing was asked"]
