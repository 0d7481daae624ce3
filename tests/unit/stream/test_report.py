# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Both ends' counts become a verdict, and what only one end knows is never a flow without loss."""

from __future__ import annotations

from typing import Any

from ansible_collections.podnet.fabric.plugins.plugin_utils.stream_report import Counts, Limits, report

WAY = {"token": "t1", "from": "a", "to": "node2/c", "family": "ipv4"}
SENT_UDP = {
    **WAY,
    "protocol": "udp",
    "address": "10.244.2.2",
    "sent": 10001,
    "seconds": 10.0,
    "wanted_rate": 1000.0,
    "pause_ms": 1.2,
    "stood_ms": 0.0,
    "queue_full": 0,
    "errors": {},
}
HEARD_UDP = {
    **WAY,
    "protocol": "udp",
    "received": 10001,
    "expected": 10001,
    "missing": 0,
    "holes": [],
    "all_holes": True,
    "duplicates": 0,
    "reordered": 0,
    "gap_ms": 3.21,
    "gap_before": 17,
    "told": 10001,
    "overflown": 0,
}
SENT_TCP = {
    **WAY,
    "token": "t2",
    "protocol": "tcp",
    "address": "10.244.2.2",
    "sent": 12_500_000,
    "seconds": 10.0,
    "wanted_rate": 10.0,
    "pause_ms": 0.8,
    "acknowledged": 12_500_000,
    "error": "",
}
HEARD_TCP = {
    **WAY,
    "token": "t2",
    "protocol": "tcp",
    "received": 12_500_000,
    "stall_ms": 12.3,
    "standstill_ms": 0.0,
    "finished": True,
    "error": "",
}


def _report(sent: list[dict[str, Any]], heard: list[dict[str, Any]], limits: Limits | None = None) -> dict[str, Any]:
    return report({"node1": Counts(sent, [])}, {"node2": Counts(heard, [])}, limits or Limits())


def test_a_good_run_in_full() -> None:
    found = _report([SENT_UDP, SENT_TCP], [HEARD_UDP, HEARD_TCP])
    assert found["failures"] == []
    assert found["table"] == [
        "flow                         sent      lost  rate         longest gap  stall    sender paused",
        "---------------------------  --------  ----  -----------  -----------  -------  -------------",
        "node1/a -> node2/c ipv4 udp  10001     0     1000/s       3.2 ms                1.2 ms",
        "node1/a -> node2/c ipv4 tcp  12500000        10.0 Mbit/s               12.3 ms  0.8 ms",
    ]


def test_holes_and_what_never_came_behind_them_are_lost() -> None:
    heard = {**HEARD_UDP, "received": 9980, "expected": 9995, "missing": 15, "holes": [[5, 5], [100, 113]]}
    found = _report([SENT_UDP], [heard])
    (flow,) = found["flows"]
    assert flow["lost"] == 21
    assert flow["holes"] == [[5, 5], [100, 113], [9995, 10000]]
    (failure,) = found["failures"]
    assert failure == (
        "node1/a -> node2/c (10.244.2.2, udp): 21 of 10001 packets lost, allowed are 0; they are 5, 100-113, 9995-10000"
    )
    assert _report([SENT_UDP], [heard], Limits(lost=21))["failures"] == []


def test_what_was_sent_after_the_sender_was_asked_does_not_count() -> None:
    heard = {**HEARD_UDP, "received": 10090, "expected": 10100, "missing": 10, "holes": [[9999, 10008]]}
    (flow,) = _report([SENT_UDP], [heard])["flows"]
    assert flow["lost"] == 2
    assert flow["holes"] == [[9999, 10000]]


def test_more_holes_than_are_reported_are_all_counted() -> None:
    heard = {**HEARD_UDP, "received": 5000, "missing": 5001, "holes": [[1, 1]], "all_holes": False}
    (flow,) = _report([SENT_UDP], [heard])["flows"]
    assert flow["lost"] == 5001


def test_many_holes_are_named_in_short() -> None:
    holes = [[n, n] for n in range(1, 30, 2)]
    heard = {**HEARD_UDP, "received": 10001 - 15, "missing": 15, "holes": holes}
    (failure,) = _report([SENT_UDP], [heard])["failures"]
    assert failure.endswith("they are 1, 3, 5, 7, 9, 11, 13, 15 and 7 more ranges")


def test_a_stall_over_the_limit_fails_and_one_at_it_does_not() -> None:
    # The sender waited 0.8 ms for its turn.
    assert _report([SENT_TCP], [{**HEARD_TCP, "stall_ms": 200.8}])["failures"] == []
    (failure,) = _report([SENT_TCP], [{**HEARD_TCP, "stall_ms": 201.0}])["failures"]
    assert "no progress at the receiver for 201 ms, allowed are 200 ms; the sender itself" in failure


def test_a_sender_that_was_too_slow_proves_nothing() -> None:
    (failure,) = _report([{**SENT_UDP, "seconds": 12.0, "queue_full": 7}], [HEARD_UDP])["failures"]
    assert "only 833 packets a second were sent, wanted at least 90% of 1000" in failure
    assert "full 7 times" in failure


def test_the_time_for_which_a_sender_had_no_turn_is_no_part_of_its_rate() -> None:
    slow = {**SENT_UDP, "seconds": 15.0, "pause_ms": 450.0}
    (failure,) = _report([{**slow, "stood_ms": 3000.0}], [HEARD_UDP])["failures"]
    assert "only 833 packets a second were sent" in failure
    found = _report([{**slow, "stood_ms": 5000.0}], [HEARD_UDP])
    assert found["failures"] == []
    assert "667/s" in found["table"][2]  # what is shown is what was sent


def test_a_sender_that_stood_still_for_most_of_the_time_proves_nothing() -> None:
    (failure,) = _report([{**SENT_UDP, "seconds": 21.0, "stood_ms": 11000.0}], [HEARD_UDP])["failures"]
    assert "the sender stood still for 11.0 of 21.0 s, so this is no measurement" in failure
    # Waits that it made up for took nothing away.
    assert _report([{**SENT_UDP, "seconds": 10.5, "stood_ms": 7000.0}], [HEARD_UDP])["failures"] == []


def test_a_receiver_that_was_too_slow_proves_nothing() -> None:
    (failure,) = _report([SENT_UDP], [{**HEARD_UDP, "overflown": 3}])["failures"]
    assert "did not fetch 3 packets in time" in failure


def test_packets_that_the_own_network_refused_are_told() -> None:
    (failure,) = _report([{**SENT_UDP, "errors": {"EPERM": 4}}], [HEARD_UDP])["failures"]
    assert "refused 4 packets (EPERM)" in failure


def test_a_broken_connection_is_a_failure_at_either_end() -> None:
    found = _report(
        [{**SENT_TCP, "error": "Broken pipe"}], [{**HEARD_TCP, "finished": False, "error": "Connection reset by peer"}]
    )
    assert len(found["failures"]) == 2
    assert "broke at the sender: Broken pipe" in found["failures"][0]
    assert "broke at the receiver: Connection reset by peer" in found["failures"][1]


def test_bytes_that_did_not_arrive_are_a_failure() -> None:
    (failure,) = _report([SENT_TCP], [{**HEARD_TCP, "received": 12_000_000}])["failures"]
    assert "12000000 bytes arrived of 12500000 sent" in failure


def test_nothing_sent_and_nothing_arrived_are_failures() -> None:
    nothing = {**HEARD_UDP, "received": 0, "expected": 0, "told": 0}
    found = _report([{**SENT_UDP, "sent": 0, "seconds": 0.0}, SENT_TCP], [nothing, {**HEARD_TCP, "received": 0}])
    assert len(found["failures"]) == 2
    assert "nothing was sent" in found["failures"][0]
    assert "nothing arrived" in found["failures"][1]


def test_a_flow_that_no_receiver_counted_is_a_failure() -> None:
    (failure,) = _report([SENT_UDP], [])["failures"]
    assert "no receiver counted it" in failure


def test_a_flow_that_no_sender_counted_is_a_failure() -> None:
    found = _report([], [HEARD_UDP])
    (failure,) = found["failures"]
    assert "its sender left no counts" in failure
    assert found["flows"][0]["sent"] is None


def test_a_flow_that_ended_before_the_sender_was_started_anew_is_over_and_done_with() -> None:
    former = {**HEARD_UDP, "token": "t0"}
    assert _report([SENT_UDP], [former, HEARD_UDP])["failures"] == []
    (failure,) = _report([SENT_UDP], [{**former, "told": None}, HEARD_UDP])["failures"]
    assert "its sender left no counts" in failure


def test_a_node_that_told_nothing_and_a_process_that_is_gone_are_failures() -> None:
    found = report(
        {"node1": None, "node2": Counts([], ["sender a: process 7 left no counts"])},
        {"node2": Counts([], [])},
        Limits(),
    )
    assert found["failures"] == [
        "node1: its senders told nothing, see the errors above",
        "node2: sender a: process 7 left no counts",
    ]


def test_no_stream_at_all_is_a_failure() -> None:
    (failure,) = _report([], [])["failures"]
    assert "no stream was counted at all" in failure
