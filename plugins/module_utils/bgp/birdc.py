# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Speaks to BIRD over its control socket, and reads what it says.

Each line of an answer begins with four digits and a minus sign, or with a space when the digits are those of the line
before; digits and a space begin the last one. Codes from 8000 on are errors (doc/reply_codes in BIRD's source).
"""

from __future__ import annotations

import re
import socket
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from typing_extensions import Self

TIMEOUT = 10.0
"""Seconds for an answer."""

LARGEST = 256 << 20
"""Bytes of an answer; that about 1,000,000 routes has 150 million."""

_LINE = re.compile(r"(\d{4})([ -])(.*)\Z")
_ERRORS = 8000
_PROTOCOL, _DETAIL, _ROUTES, _STATUS, _READING = 1002, 1006, 1007, 1011, 2
_WORDS_OF_A_PROTOCOL = 4  # name, protocol, table, state
_COUNTS = re.compile(r"(\d+) (imported|exported|preferred)")
# 'Table master4:', '10.244.2.0/24  unicast [node2.v4 02:19:14.017] * (100) [i]', a tab and 'via 10.0.0.2 on eth0'.
_ROUTE = re.compile(r"(\S+/\d+)?\s+(\w+) \[(\S+) (.+?)\] (\* )?\(")
_VIA = re.compile(r"via (\S+) on (\S+)")


class NoAnswer(PodnetError):
    """No BIRD behind the socket, or one that does not answer."""


class Refused(PodnetError):
    """BIRD's own words why it does not do what it was told."""


class Line(NamedTuple):
    """A line of an answer."""

    code: int
    text: str


class Protocol(NamedTuple):
    """One of BIRD's protocols: a BGP session, a kernel's table."""

    name: str
    proto: str
    state: str
    since: str
    info: str
    details: dict[str, str]
    channels: dict[str, dict[str, int]]  # ipv4 or ipv6: imported, exported, preferred


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


class Reader:
    """Takes answers out of a stream of bytes.

    :param name: what errors call it
    :param receive: gives at most as many bytes as it is asked for, none at the end
    """

    def __init__(self, name: str, receive: Callable[[int], bytes]) -> None:
        self._name = name
        self._receive = receive
        self._rest = b""

    def answer(self) -> Iterator[Line]:
        """The lines of the next answer.

        :raises NoAnswer: it does not come to an end
        """
        code, size = 0, 0
        while True:
            text = self._line(LARGEST - size)
            size += len(text) + 1
            found = _LINE.match(text)
            if found is None:
                yield Line(code, text[1:])
                continue
            code = int(found[1])
            yield Line(code, found[3])
            if found[2] == " ":
                return

    def _line(self, room: int) -> str:
        """The next line; one that does not end within ``room`` bytes is nobody's answer."""
        while b"\n" not in self._rest and len(self._rest) < room:
            received = self._receive(65536)
            if not received:
                raise NoAnswer(f"{self._name}: BIRD closed the connection")
            self._rest += received
        line, newline, self._rest = self._rest.partition(b"\n")
        if not newline or room <= 0:
            raise NoAnswer(f"{self._name}: more than {LARGEST} bytes without an end are no answer of BIRD's")
        return line.decode("utf-8", "replace")


class Control:
    """An open control socket; a context manager."""

    def __init__(self, path: str, timeout: float = TIMEOUT) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        self._reader = Reader(path, self._socket.recv)
        try:
            self._socket.connect(path)
            list(self._reader.answer())  # the greeting
        except (OSError, NoAnswer) as error:
            self._socket.close()
            raise NoAnswer(f"{path}: no BIRD answers there ({_reason(error)})") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def ask(self, command: str) -> list[Line]:
        """Give a command and wait for the whole answer.

        :raises Refused: BIRD does not carry it out
        :raises NoAnswer: BIRD ended, or took too long
        """
        try:
            self._socket.sendall(command.encode() + b"\n")
            answer = list(self._reader.answer())
        except OSError as error:
            raise NoAnswer(f"{self._path}: BIRD does not answer to '{command}' ({_reason(error)})") from error
        refusals = [line.text for line in answer if line.code >= _ERRORS]
        if refusals:
            raise Refused(f"bird: {command}: {'; '.join(refusals)}")
        return answer


def reconfigured_at(answer: Sequence[Line]) -> str:
    """When BIRD has read its configuration, out of the answer to `show status`; empty when it does not say."""
    key = "Last reconfiguration on "
    return next((line.text[len(key) :] for line in answer if line.text.startswith(key)), "")


def is_same_reading(one: str, other: str) -> bool:
    """Whether two of these times are of the same reading.

    BIRD works the time out for each answer, from clocks that it has read at different moments (tm_format_time in
    sysdep/unix/io.c), so on a busy machine it is some milliseconds off.
    """
    try:
        apart = datetime.fromisoformat(one) - datetime.fromisoformat(other)
    except ValueError:  # of another form than ours
        return one == other
    return abs(apart.total_seconds()) < 0.5


def is_reconfiguring(answer: Sequence[Line]) -> bool:
    """Whether BIRD is between two configurations, by `show status` (cmd_show_status in nest/cmds.c)."""
    return any(line.text == "Reconfiguration in progress" for line in answer)


def is_recovering(answer: Sequence[Line]) -> bool:
    """Whether BIRD still waits for neighbours after a restart, by `show status` (graceful_restart_show_status)."""
    return any(line.text.startswith("Graceful restart recovery in progress") for line in answer)


def read_protocols(answer: Sequence[Line]) -> list[Protocol]:
    """The answer to `show protocols all`."""
    found: list[Protocol] = []
    counts: dict[str, int] = {}
    for code, text in answer:
        if code == _PROTOCOL:
            if len(text.split()) < _WORDS_OF_A_PROTOCOL:
                continue  # no line of that table
            # The time of "since" is one word or, when it was not today, two.
            name, proto, _table, state, *rest = text.split()
            dated = len(rest) > 1 and "-" in rest[0] and ":" in rest[1]
            since = " ".join(rest[: 2 if dated else 1])
            found.append(Protocol(name, proto, state, since, " ".join(rest[2 if dated else 1 :]), {}, {}))
        elif code == _DETAIL and found:
            key, _colon, value = text.strip().partition(":")
            if key.startswith("Channel "):
                counts = found[-1].channels.setdefault(key.partition(" ")[2].strip(), {})
            elif key == "Routes":
                counts.update((word, int(number)) for number, word in _COUNTS.findall(value))
            elif value:
                found[-1].details.setdefault(key, value.strip())
    return found


def read_routes(answer: Sequence[Line]) -> list[dict[str, Any]]:
    """The answer to `show route`: prefix, type, protocol, whether it is the best, next hops."""
    routes: list[dict[str, Any]] = []
    prefix = ""
    for code, text in answer:
        if code != _ROUTES:
            continue
        found = _ROUTE.match(text)
        if found:
            prefix = found[1] or prefix
            routes.append({"dst": prefix, "type": found[2], "session": found[3], "best": bool(found[5]), "via": []})
            continue
        way = _VIA.search(text)
        if way and routes:
            routes[-1]["via"].append({"via": way[1], "dev": way[2]})
    return routes
