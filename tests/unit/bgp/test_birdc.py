# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a BIRD 2.0.12 said on its control socket (recorded/*.txt), read back. A real one is asked in integration."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.bgp.birdc import (
    Control,
    NoAnswer,
    Refused,
    is_same_reading,
    read_protocols,
    read_routes,
    reconfigured_at,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ansible_collections.podnet.fabric.plugins.module_utils.bgp.birdc import Line

RECORDED = Path(__file__).parent / "recorded"
GREETING = b"0001 BIRD 2.0.12 ready.\n"


@contextlib.contextmanager
def replaying(path: Path, answer: bytes) -> Iterator[str]:
    """A socket where each command gets what was recorded, a few bytes at a time."""

    def serve() -> None:
        connection = server.accept()[0]
        with connection:
            connection.sendall(GREETING)
            while connection.recv(4096):
                for position in range(0, len(answer), 7):
                    connection.sendall(answer[position : position + 7])
                if not answer:
                    return

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        yield str(path)
        thread.join(timeout=5)


def asked(tmp_path: Path, recording: str) -> list[Line]:
    answer = (RECORDED / f"{recording}.txt").read_bytes()
    with replaying(tmp_path / "ctl", answer) as path, Control(path) as control:
        return control.ask("show")


def test_sessions_their_states_errors_and_counts(tmp_path: Path) -> None:
    protocols = {protocol.name: protocol for protocol in read_protocols(asked(tmp_path, "protocols"))}
    up = protocols["node-10.0.0.2.v4"]
    assert (up.proto, up.state, up.since, up.info) == ("BGP", "up", "02:43:45.761", "Established")
    assert up.channels == {"ipv4": {"imported": 1, "exported": 2, "preferred": 1}}
    assert (up.details["Neighbor address"], up.details["Neighbor AS"]) == ("10.0.0.2", "64512")
    down = protocols["node4.v4"]
    assert (down.info, down.details["Last error"]) == (
        "Active Socket: Network is unreachable",
        "Socket: Network is unreachable",
    )
    assert protocols["podnet_kernel4"].channels["ipv4"]["exported"] == 1


def test_a_session_that_is_up_since_another_day(tmp_path: Path) -> None:
    line = b"1002-node2.v4   BGP        ---        up     2026-11-24 02:43:45  Established   \n0000 \n"
    with replaying(tmp_path / "ctl", line) as path, Control(path) as control:
        (protocol,) = read_protocols(control.ask("show protocols all"))
    assert (protocol.since, protocol.info) == ("2026-11-24 02:43:45", "Established")


def test_routes_with_one_way_two_ways_and_none(tmp_path: Path) -> None:
    assert read_routes(asked(tmp_path, "routes")) == [
        {"dst": "10.244.1.0/24", "type": "blackhole", "session": "podnet_blocks4", "best": True, "via": []},
        {
            "dst": "10.244.2.0/24",
            "type": "unicast",
            "session": "node-10.0.0.2.v4",
            "best": True,
            "via": [{"via": "10.0.0.2", "dev": "v1"}],
        },
        {
            "dst": "10.244.9.0/24",
            "type": "unicast",
            "session": "two",
            "best": True,
            "via": [{"via": "10.0.0.2", "dev": "v1"}, {"via": "10.0.0.7", "dev": "v1"}],
        },
    ]


def test_when_the_configuration_was_read(tmp_path: Path) -> None:
    assert reconfigured_at(asked(tmp_path, "status")) == "2026-11-25 02:43:44.832"


def test_a_refusal_is_an_error_in_birds_own_words(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"bird: show: syntax error, unexpected CF_SYM_UNDEFINED"):
        asked(tmp_path, "refusal")


def test_a_bird_that_ends_in_the_middle(tmp_path: Path) -> None:
    with replaying(tmp_path / "ctl", b"") as path, Control(path) as control, pytest.raises(NoAnswer):
        control.ask("show status")


def test_no_bird_at_all(tmp_path: Path) -> None:
    with pytest.raises(NoAnswer, match="no BIRD answers there"):
        Control(str(tmp_path / "ctl"))


def test_a_reading_is_known_again_though_its_time_is_told_some_milliseconds_off() -> None:
    told = "2026-11-25 02:43:44.832"
    assert is_same_reading(told, told)
    assert is_same_reading(told, "2026-11-25 02:43:44.829")
    assert not is_same_reading(told, "2026-11-25 02:43:45.832")
    assert not is_same_reading("", told)
    assert is_same_reading("a", "a")
