# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node knows of its services' backends by checking them, and what follows from one more check.

It is kept in /run, apart from what is declared: a backend that is out is no drift. Backends that are well are not
noted down, and a note that cannot be read is none, so that all backends are in after a reboot until checks fail.
"""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.declaration import RUN, write_atomically
from ansible_collections.podnet.fabric.plugins.module_utils.errors import MALFORMED
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import packed_ip
from ansible_collections.podnet.fabric.plugins.module_utils.service.compiler import (
    Backend,
    families,
    full_name,
    living,
    probed,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.service.compiler import Out, World
    from ansible_collections.podnet.fabric.plugins.module_utils.service.documents import Probe, Service

NOTE = RUN / "service-health.json"
EARLY = 0.9
"""Part of a period after which the next check is due: timers are not exact."""

Place = tuple[int, Backend]
"""Family, address and port that are asked."""


class Condition(NamedTuple):
    """How a backend is that is not just well: ``streak`` checks in a row said otherwise than whether it is ``out``;
    ``why`` is what the last one that failed has found.
    """

    out: bool
    streak: int
    why: str


class Record(NamedTuple):
    """Of a service: when its backends were checked, by the clock of ``time.monotonic``."""

    checked: float
    places: Mapping[Place, Condition]


Health = dict[str, Record]
"""By the full names of services."""


class Asked(NamedTuple):
    """A service that asks for checks, and where."""

    probe: Probe
    places: frozenset[Place]


def asked(services: Iterable[Service], world: World) -> dict[str, Asked]:
    """The services that ask for checks of backends which may get connections."""
    return {
        full_name(service): Asked(service.probe, frozenset(_places(service, service.probe, world)))
        for service in services
        if service.probe is not None
    }


def _places(service: Service, probe: Probe, world: World) -> Iterator[Place]:
    for port in service.ports:
        for family in families(service):
            for backend, each in world.candidates(service, port, family):
                if each.ready or (each.serving and each.terminating):
                    yield family, probed(probe, backend)


def due(health: Health, name: str, period: float, now: float) -> bool:
    """Whether a service's period has passed. A time to come is one of before a reboot."""
    return name not in health or not 0 <= now - health[name].checked < EARLY * period


def advance(
    health: Health, wanted: Mapping[str, Asked], outcomes: Mapping[str, Mapping[Place, str]], now: float
) -> Health:
    """What is known after one more check; of services and places that nobody asks for any more it is forgotten.

    :param outcomes: what was wrong, empty where nothing was, by the services that were checked
    """
    found: Health = {}
    for name, (probe, places) in wanted.items():
        before = health[name].places if name in health else {}
        if name in outcomes:
            told = outcomes[name]
            after = {place: _next(before.get(place, WELL), told.get(place), probe) for place in places}
            found[name] = Record(now, {place: condition for place, condition in after.items() if condition != WELL})
        elif name in health:
            left = {place: condition for place, condition in before.items() if place in places}
            found[name] = Record(health[name].checked, left)
    return found


WELL = Condition(False, 0, "")


def _next(before: Condition, why: str | None, probe: Probe) -> Condition:
    """:param why: what was wrong; None where there was no time for the check, which changes nothing."""
    if why is None:
        return before
    if bool(why) == before.out:
        return before._replace(streak=0, why=why)
    streak = before.streak + 1
    if streak < (probe.successes if before.out else probe.failures):
        return before._replace(streak=streak, why=why or before.why)
    return Condition(bool(why), 0, why)


def out(health: Health) -> Out:
    """Where checks fail."""
    found = {name: {place for place, each in record.places.items() if each.out} for name, record in health.items()}
    return {name: places for name, places in found.items() if places}


def undecided(health: Health) -> set[str]:
    """The services with backends of which the last checks said otherwise than those before, but not often enough."""
    return {name for name, record in health.items() if any(each.streak for each in record.places.values())}


def sentences(services: Iterable[Service], world: World, health: Health) -> list[str]:
    """A line for each backend that is out, or would be if another were left."""
    gone = out(health)
    found: dict[tuple[str, Place], str] = {}
    for service in services:
        name = full_name(service)
        if service.probe is None or name not in gone:
            continue
        for port in service.ports:
            for family in families(service):
                candidates = list(world.candidates(service, port, family))
                stays = living(service, family, candidates, gone) is candidates
                for backend, _each in candidates:
                    place = (family, probed(service.probe, backend))
                    if place in gone[name]:
                        why = health[name].places[place].why
                        told = (
                            f"fails its checks ({why}), but stays, as no other is left" if stays else f"is out: {why}"
                        )
                        found[name, place] = f"service {name}: backend {text(place)} {told}"
    return [found[each] for each in sorted(found)]


def text(place: Place) -> str:
    """An address and a port as they are written."""
    family, (address, port) = place
    packed = address.to_bytes(4 if family == 4 else 16, "big")
    if family == 4:
        return f"{socket.inet_ntop(socket.AF_INET, packed)}:{port}"
    return f"[{socket.inet_ntop(socket.AF_INET6, packed)}]:{port}"


def read() -> Health:
    """What is noted down."""
    try:
        noted = json.loads(NOTE.read_text(encoding="utf-8"))
        return {str(name): _record(record) for name, record in noted.items()}
    except (OSError, *MALFORMED):
        return {}


def _record(noted: Mapping[str, Any]) -> Record:
    places = {
        _place(where): Condition(bool(each["out"]), int(each["streak"]), str(each["why"]))
        for where, each in noted["backends"].items()
    }
    return Record(float(noted["checked"]), places)


def _place(where: str) -> Place:
    address, _colon, port = where.rpartition(":")
    packed = packed_ip(address.strip("[]"))
    if packed is None:
        raise ValueError(where)
    return 4 if len(packed) == 4 else 6, Backend(int.from_bytes(packed, "big"), int(port))


def write(health: Health) -> None:
    """Note it down; without anything to tell the note goes."""
    if not health:
        with suppress(FileNotFoundError):
            NOTE.unlink()
        return
    noted = {
        name: {
            "checked": record.checked,
            "backends": {text(place): each._asdict() for place, each in sorted(record.places.items())},
        }
        for name, record in health.items()
    }
    write_atomically(NOTE, json.dumps(noted, indent=1, sort_keys=True) + "\n", 0o600)
