# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What streams count is what happened: nothing on a good network, exactly the packets that were lost on a bad one."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.errors import InvalidInput
from ansible_collections.podnet.fabric.plugins.module_utils.stream import process
from ansible_collections.podnet.fabric.plugins.module_utils.stream.flow import StreamError

from .conftest import flow_of, wait

if TYPE_CHECKING:
    from .conftest import Streams

# The number of a datagram stands behind magic, version, kind and token: 14 bytes after the UDP header; its lower half
# 32 bits further. The type is at byte 5, and 3 is data.
DATA = "udp dport 8485 @th,104,8 3"
NUMBER = "@th,208,32"
NFT = {"ipv4": "ip", "ipv6": "ip6"}


def _filter(streams: Streams, family: str, rule: str) -> None:
    """What node2 does with packets that it forwards."""
    text = f"table {family} test {{\nchain in {{\ntype filter hook forward priority 0;\n{rule}\n}}\n}}\n"
    streams.fabric.run("node2", "nft", "-f", "-", stdin=text)


def _gone(pid: int, within: float) -> bool:
    limit = time.monotonic() + within
    while time.monotonic() < limit:
        try:
            if Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False


def test_nothing_is_lost_on_a_good_network(streams: Streams) -> None:
    streams.start()
    wait(2)
    report = streams.report()
    assert report["failures"] == []
    assert len(report["flows"]) == 4
    for family in ("ipv4", "ipv6"):
        numbers = flow_of(report, family, "udp")
        assert numbers["lost"] == numbers["duplicates"] == numbers["reordered"] == 0
        assert numbers["received"] == numbers["sent"] >= 1800
        assert 950 <= numbers["rate"] <= 1001
        assert 0 < numbers["gap_ms"] < 200
        transfer = flow_of(report, family, "tcp")
        assert transfer["received"] == transfer["sent"] > 1_000_000
        assert 0 < transfer["stall_ms"] < 200
    assert not streams.folder.exists()


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_exactly_the_packets_that_a_filter_drops_are_found_lost(streams: Streams, family: str) -> None:
    _filter(streams, NFT[family], f"{DATA} {NUMBER} {{ 100, 105-107, 500-699 }} drop")
    streams.start(tcp_rate=0)
    wait(1.5)
    report = streams.report()
    hit = flow_of(report, family, "udp")
    other = flow_of(report, "ipv4" if family == "ipv6" else "ipv6", "udp")
    assert hit["lost"] == 204
    assert hit["holes"] == [[100, 100], [105, 107], [500, 699]]
    assert hit["received"] == hit["sent"] - 204
    assert hit["gap_ms"] >= 195
    assert other["lost"] == 0
    (failure,) = report["failures"]
    assert failure.startswith("node1/a -> node2/c (")
    assert "204 of" in failure
    assert "they are 100, 105-107, 500-699" in failure
    assert "allowed are 0" in failure


def test_packets_lost_at_the_end_are_lost(streams: Streams) -> None:
    streams.start(tcp_rate=0)
    wait(0.5)
    _filter(streams, "ip", f"{DATA} drop")
    wait(0.5)
    numbers = flow_of(streams.report(), "ipv4", "udp")
    assert 300 <= numbers["lost"] <= 700
    (hole,) = numbers["holes"]
    assert hole[1] == numbers["sent"] - 1


def test_duplicates_are_no_gain(streams: Streams) -> None:
    _filter(streams, "ip", f'{DATA} {NUMBER} {{ 50 }} drop; {DATA} {NUMBER} {{ 60-69 }} dup to 10.244.2.2 device "br0"')
    streams.start(tcp_rate=0)
    wait(0.5)
    numbers = flow_of(streams.report(), "ipv4", "udp")
    assert numbers["duplicates"] == 10
    assert numbers["lost"] == 1
    assert numbers["received"] == numbers["sent"] - 1


def test_a_transfer_that_stalls_is_timed(streams: Streams) -> None:
    streams.start(rate=0)
    wait(0.5)
    _filter(streams, "ip", "meta l4proto tcp drop")
    wait(0.6)
    streams.fabric.run("node2", "nft", "delete", "table", "ip", "test")
    wait(1.5)
    report = streams.report()
    stalled = flow_of(report, "ipv4", "tcp")
    assert 550 <= stalled["stall_ms"] <= 1800
    assert stalled["received"] == stalled["sent"]
    assert flow_of(report, "ipv6", "tcp")["stall_ms"] < 200
    (failure,) = report["failures"]
    assert "no progress at the receiver for" in failure


def test_a_transfer_goes_in_bursts_of_twenty_milliseconds(streams: Streams) -> None:
    counters = "".join(f"tcp dport 8485 meta length > {bytes_} counter accept\n" for bytes_ in (5400, 2600))
    _filter(streams, "ip", counters)
    streams.start(rate=0, tcp_rate=2)
    wait(1)
    told = streams.fabric.run("node2", "nft", "list", "table", "ip", "test")
    longer, shorter = (int(packets) for packets in re.findall(r"packets (\d+)", told))
    assert longer == 0
    assert shorter > 0
    assert streams.report()["failures"] == []


def test_a_stall_that_lasts_is_seen_while_it_lasts(streams: Streams) -> None:
    streams.start(rate=0)
    _filter(streams, "ip", "meta l4proto tcp drop")
    wait(0.5)
    assert flow_of(streams.report("counted"), "ipv4", "tcp")["stall_ms"] >= 400


def test_a_machine_that_stands_still_is_no_stall_of_the_network(streams: Streams) -> None:
    streams.start(rate=0)
    wait(0.5)
    pids = [streams.pid("sender", "a"), streams.pid("receiver", "c")]
    for order, seconds in ((signal.SIGSTOP, 1.0), (signal.SIGCONT, 0.5)):
        for pid in pids:
            os.kill(pid, order)
        wait(seconds)
    report = streams.report()
    transfer = flow_of(report, "ipv4", "tcp")
    assert 900 <= transfer["standstill_ms"] <= 1300
    assert transfer["pause_ms"] >= 900
    assert transfer["stall_ms"] < 200
    assert report["failures"] == []


def test_a_sender_without_a_turn_sends_less_and_that_is_not_the_networks_doing(streams: Streams) -> None:
    streams.start(tcp_rate=0)
    pid = streams.pid("sender", "a")
    for _time in range(2):
        wait(0.5)
        os.kill(pid, signal.SIGSTOP)
        wait(0.4)
        os.kill(pid, signal.SIGCONT)
    wait(0.2)
    report = streams.report(rate=0.9)
    numbers = flow_of(report, "ipv4", "udp")
    assert numbers["rate"] < 900
    assert numbers["lost"] == 0
    assert report["failures"] == []


def test_a_stall_of_the_network_beside_a_standstill_is_still_seen(streams: Streams) -> None:
    streams.start(rate=0)
    wait(0.3)
    _filter(streams, "ip", "meta l4proto tcp drop")
    pid = streams.pid("receiver", "c")
    os.kill(pid, signal.SIGSTOP)
    wait(0.3)
    os.kill(pid, signal.SIGCONT)
    wait(0.7)
    streams.fabric.run("node2", "nft", "delete", "table", "ip", "test")
    wait(1.5)
    transfer = flow_of(streams.report(), "ipv4", "tcp")
    assert transfer["standstill_ms"] >= 250
    assert transfer["stall_ms"] >= 600


def test_counting_in_between_disturbs_nothing(streams: Streams) -> None:
    streams.start()
    seen = 0
    for _round in range(5):
        wait(0.2)
        report = streams.report("counted")
        assert report["failures"] == []
        sent = flow_of(report, "ipv4", "udp")["sent"]
        assert sent > seen
        seen = sent
    report = streams.report()
    assert report["failures"] == []
    assert flow_of(report, "ipv4", "udp")["sent"] > seen


def test_starting_up_is_no_loss(streams: Streams) -> None:
    """The first packet of all waits for the resolution of addresses, and some get lost; the greeting bears it."""
    _filter(streams, "ip", "udp dport 8485 @th,104,8 1 numgen inc mod 4 < 3 drop")
    streams.start(tcp_rate=0)
    wait(0.3)
    report = streams.report()
    assert report["failures"] == []
    assert flow_of(report, "ipv4", "udp")["holes"] == []


def test_a_killed_sender_is_an_error_and_not_a_flow_without_loss(streams: Streams) -> None:
    streams.start()
    wait(0.3)
    pid = streams.pid("sender", "a")
    os.kill(pid, signal.SIGKILL)
    assert _gone(pid, 2)
    report = streams.report()
    assert f"node1: sender a: process {pid} left no counts, it is gone" in report["failures"][0]
    orphans = [flow for flow in report["flows"] if flow["sent"] is None]
    assert len(orphans) == 4
    assert all("its sender left no counts" in text for text in report["failures"][1:])
    assert len(report["failures"]) == 5


def test_a_killed_receiver_is_an_error_and_not_a_flow_without_loss(streams: Streams) -> None:
    streams.start()
    wait(0.3)
    pid = streams.pid("receiver", "c")
    os.kill(pid, signal.SIGKILL)
    assert _gone(pid, 2)
    report = streams.report()
    assert any(f"node2: receiver c: process {pid} left no counts" in text for text in report["failures"])
    assert sum("no receiver counted it" in text for text in report["failures"]) == 4


def test_without_a_receiver_nothing_begins(streams: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_GREETING", 0.4)
    with pytest.raises(StreamError, match=r"a -> node2/c \(10.244.2.2\): no receiver answered by UDP on port 8485"):
        streams.call("sender", "started", "a")
    assert not streams.folder.exists()


def test_receivers_of_another_run_do_not_answer(streams: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_GREETING", 0.4)
    streams.call("receiver", "started", "c", run="another")
    for only in ({"tcp_rate": 0}, {"rate": 0}):
        with pytest.raises(StreamError, match="no receiver answered"):
            streams.call("sender", "started", "a", **only)


def test_a_second_start_finds_it_there_and_other_settings_are_refused(streams: Streams) -> None:
    streams.start(tcp_rate=0)
    pid = streams.pid("sender", "a")
    assert streams.call("sender", "started", "a", tcp_rate=0)["changed"] is False
    with pytest.raises(StreamError, match="sender a: runs with other settings"):
        streams.call("sender", "started", "a", tcp_rate=0, rate=100)
    assert streams.pid("sender", "a") == pid


def test_streams_end_by_themselves_and_keep_their_counts(streams: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LINGER", 2.0)
    streams.start(lifetime=1)
    pids = [streams.pid("sender", "a"), streams.pid("receiver", "c")]
    assert all(_gone(pid, 6) for pid in pids)
    report = streams.report()
    assert report["failures"] == []
    assert flow_of(report, "ipv4", "udp")["sent"] == pytest.approx(1000, rel=0.1)


def test_streams_whose_records_were_taken_away_end(streams: Streams) -> None:
    streams.start()
    pids = [streams.pid("sender", "a"), streams.pid("receiver", "c")]
    for path in streams.folder.iterdir():
        path.unlink()
    assert all(_gone(pid, 10) for pid in pids)
    assert list(streams.folder.iterdir()) == []


def test_the_rate_holds_on_a_busy_machine(streams: Streams) -> None:
    """With more to do than there are CPUs."""
    burners = []
    try:
        for _number in range((os.cpu_count() or 1) + 1):
            child = os.fork()
            if child == 0:
                while True:
                    pass
            burners.append(child)
        streams.start()
        wait(3)
        cpu = _cpu_seconds(streams.pid("sender", "a"))
        report = streams.report()
    finally:
        for child in burners:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    assert report["failures"] == []
    assert flow_of(report, "ipv4", "udp")["rate"] >= 950
    assert cpu < 1.0


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_wrong_values_are_named_all_at_once(streams: Streams) -> None:
    with pytest.raises(InvalidInput) as caught:
        streams.call("sender", "started", "c", rate=20000, size=5, port=0)
    assert [finding.path for finding in caught.value.findings] == ["port", "rate", "size"]
    with pytest.raises(InvalidInput, match=r"pods\[0\]: c has no target"):
        streams.call("sender", "started", "c")
