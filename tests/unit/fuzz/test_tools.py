# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tools print is read, or named as not understood: the tool may be another one, or newer."""

from __future__ import annotations

import contextlib
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.podnet.fabric.plugins.module_utils.bgp import birdc
from ansible_collections.podnet.fabric.plugins.module_utils.cni import leaks, netns
from ansible_collections.podnet.fabric.plugins.module_utils.errors import MALFORMED, PodnetError, taking_apart
from ansible_collections.podnet.fabric.plugins.module_utils.evidence import traces
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import (
    ipsets,
    iptables_forward,
    iptables_objects,
    nft_objects,
)
from ansible_collections.podnet.fabric.plugins.module_utils.preflight import rulesets

from .raw import raw, text

CHAIN: dict[str, Any] = {"family": "inet", "table": "podnet", "name": "podnet.fabric", "handle": 1}
FORWARD = {**CHAIN, "name": "forward", "type": "filter", "hook": "forward", "prio": -5, "policy": "accept"}
RULES: dict[str, Any] = {
    "nftables": [
        {"metainfo": {"version": "1.0.6"}},
        {"table": {"family": "inet", "name": "podnet"}},
        {"chain": CHAIN},
        {"chain": FORWARD},
        {
            "set": {
                "name": "a",
                "type": "ipv4_addr",
                "flags": ["interval"],
                "elem": [{"prefix": {"addr": "10.0.0.0", "len": 8}}],
            }
        },
        {"set": {"name": "b", "type": "ipv4_addr", "elem": ["10.0.0.1", {"elem": {"val": "10.0.0.2"}}]}},
        {
            "map": {
                "name": "m",
                "type": "ipv4_addr",
                "map": "verdict",
                "elem": [["10.0.0.1", {"jump": {"target": "x"}}]],
            }
        },
        {
            "map": {
                "name": "n",
                "type": {
                    "typeof": {"concat": [{"meta": {"key": "l4proto"}}, {"numgen": {"mode": "random", "mod": 2}}]}
                },
                "map": "ipv4_addr . inet_service",
                "flags": ["timeout"],
                "elem": [
                    [{"elem": {"val": {"concat": ["tcp", 0]}, "timeout": 9}}, {"concat": ["10.0.0.1", 80]}],
                    [{"concat": [6, 1]}, {"concat": ["10.0.0.1", 80]}],
                ],
            }
        },
        {
            "rule": {
                **CHAIN,
                "chain": "forward",
                "comment": "podnet:0123456789ab",
                "expr": [{"counter": {}}, {"drop": None}],
            }
        },
    ]
}
SAVED = b"""*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:PODNET-A - [0:0]
-A FORWARD -m comment --comment "podnet:0123456789ab" -j PODNET-A
-A FORWARD -m comment --comment "it's a \\"name" -j DROP
-A PODNET-A -s 10.0.0.0/8 -m comment --comment podnet:0123456789ab -j ACCEPT
COMMIT
"""
SETS = b"""ipset> create podnet-a hash:net family inet hashsize 1024 maxelem 65536
add podnet-a 10.0.0.0/8
add podnet-a 10.0.0.1
create podnet-b hash:ip family inet6
"""
LINKS = [
    {
        "ifindex": 2, "link_index": 3, "ifname": "veth1", "master": "podnet0", "linkinfo": {"info_kind": "veth"},
        "addr_info": [{"family": "inet", "local": "10.0.0.1", "prefixlen": 24}],
    },
    {},
]  # fmt: skip
BIRD = b"""0001 BIRD 2.0.12 ready.
2002-Name       Proto      Table      State  Since         Info
1002-node2      BGP        ---        up     10:00:00.000  Established
1006-  BGP state:          Established
   Channel ipv4
     Routes:         1 imported, 2 exported, 1 preferred
1007-Table master4:
 10.244.2.0/24        unicast [node2 10:00:00.000] * (100) [i]
 \tvia 10.0.0.2 on eth0
0000\x20
"""


@raw(json.dumps(RULES).encode(), b'{"nftables": []}', b"[" * 100_000)
def test_what_nft_prints(data: bytes) -> None:
    said = text(data)
    with contextlib.suppress(PodnetError):
        objects, conflicts = nft_objects.read(said)
        assert objects or conflicts
    for chain in rulesets.nft_chains(said):
        assert isinstance(chain["name"], str)
    list(rulesets.dropping_chains(rulesets.nft_chains(said), lambda _chain: False))
    rulesets.ends_with_drop(said)
    with contextlib.suppress(*MALFORMED):
        list(traces.nft_chains(said))


@raw(SAVED)
def test_what_iptables_prints(data: bytes) -> None:
    said = text(data)
    iptables_objects.parse("nft", 4, "PODNET-", said)
    with contextlib.suppress(PodnetError):
        found = iptables_forward.parse("iptables-nft", 2, said)
        assert 0 <= found.end <= len(found.rules)
        iptables_forward.observe([found], "PODNET-A")
    list(traces.saved_chains(said, "ip"))
    traces.virtual_services(said)


@raw(SETS)
def test_what_ipset_prints(data: bytes) -> None:
    with contextlib.suppress(PodnetError):
        ipsets.parse(text(data))


@raw(json.dumps(LINKS).encode(), b"", b"[null]")
def test_what_ip_prints(data: bytes) -> None:
    said = text(data)
    with contextlib.suppress(PodnetError), taking_apart("ip"):
        for link in leaks.interfaces(said):
            assert isinstance(link.position, int)
            assert isinstance(link.name, str)
    with contextlib.suppress(PodnetError), taking_apart("ip"):
        netns.addresses_of("veth1", said)


@raw(BIRD, b"0000 \n", b"9001 no\n")
def test_what_bird_says(data: bytes) -> None:
    with contextlib.suppress(PodnetError):
        answer = list(birdc.Reader("bird.ctl", io.BytesIO(data).read).answer())
        birdc.read_protocols(answer)
        birdc.read_routes(answer)
        birdc.reconfigured_at(answer)


def test_an_answer_of_bird_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(birdc, "LARGEST", 1 << 20)
    for endless in (b"x" * 60_000, b"1007-x\n" * 9_000):
        given = 0

        def more(most: int, piece: bytes = endless) -> bytes:
            nonlocal given
            given += len(piece)
            assert given < 4 << 20
            return piece[:most]

        with pytest.raises(birdc.NoAnswer, match="without an end"):
            list(birdc.Reader("bird.ctl", more).answer())


@given(st.lists(st.tuples(st.sampled_from([1002, 1006, 1007, 1008, 0, 13]), st.text(max_size=40)), max_size=6))
def test_answers_of_bird(answer: list[tuple[int, str]]) -> None:
    for read in (birdc.read_protocols, birdc.read_routes):
        with contextlib.suppress(PodnetError):
            read(answer)  # type: ignore[arg-type]


@given(st.sampled_from(["Channel ", "  Channel ", "x BGP", "a b c d", ""]))
def test_lines_of_bird_that_are_cut(text: str) -> None:
    with contextlib.suppress(PodnetError):
        birdc.read_protocols([(1002, "one BGP --- up 10:00"), (1006, text), (1002, text)])  # type: ignore[list-item]
