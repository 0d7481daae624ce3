# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one loop: observe the host, diff against what is declared, apply in order, observe again.

A *kind* (bridge, vxlan, route ...) says which objects its declaration asks for and which of the host's are in its
charge; a *facility* (links, addresses, routes, files ...) knows how one sort of object is changed. Nothing here knows
any of them by name.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ansible_collections.podnet.fabric.plugins.module_utils.errors import (
    ApplyError,
    Conflict,
    HostError,
    VerificationError,
    in_words,
)

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations, Items
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host

Objects = Mapping[Any, Any]
State = Mapping[str, Objects]
Reference = tuple[str, Hashable]

LONGEST = 2000
"""Characters of an object in an error."""

CREATE, REPLACE, RECREATE, DELETE = "create", "replace", "recreate", "delete"


class Operation(NamedTuple):
    """One change of one object."""

    facility: str
    verb: str
    before: Any
    after: Any


class Facility(Protocol):
    """How one sort of object is changed and shown.

    ``name`` is the plural key in before and after. Objects are immutable and compare equal when nothing has to be done.
    """

    name: str
    deletes_first: bool

    def parents(self, obj: Any) -> Sequence[Reference]:
        """The objects with which this one vanishes (a route with its device)."""

    def immutable(self, before: Any, after: Any) -> bool:
        """Whether getting from one to the other takes a re-create."""

    def apply(self, operations: Sequence[Operation], host: Host) -> None:
        """Carry out operations of one direction in one batch; raises ApplyError with a line per failure."""

    def describe(self, obj: Any) -> dict[str, Any]:
        """The object's fields in the vocabulary of its tool, the identifying one first."""


class Target(NamedTuple):
    """What a kind found and what it wants, restricted to what is in its charge."""

    current: State
    desired: State
    conflicts: Sequence[str] = ()
    notes: Sequence[str] = ()


class Kind(Protocol):
    """One resource kind. A kind is set up after those of lower ``rank`` and taken down before them."""

    name: str
    rank: int

    @property
    def facilities(self) -> Sequence[Facility]:
        """The sorts of objects that it is made of, in the order in which they are made."""

    def normalise(
        self, name: str, params: Mapping[str, Any], former: dict[str, Any] | None, host: Host
    ) -> dict[str, Any]:
        """A declaration's item out of a module's parameters, completed with what the host alone knows.

        What undoing needs (a former value, a directory that did not exist) comes from ``former`` or is recorded now.

        :raises InvalidInput: with every finding
        """

    def target(self, items: Items, former: Items, host: Host) -> Target:
        """Observe the host and say what these items ask for; ``former`` are the items declared before this run."""


class Result(NamedTuple):
    """The outcome for a kind: what it has in its charge before and after (in check mode: as predicted)."""

    changed: bool
    before: State
    after: State
    operations: Sequence[Operation]
    declaration: tuple[str, str]
    notes: Sequence[str]


def diff(facilities: Sequence[Facility], target: Target) -> list[Operation]:
    """The operations that lead from current to desired, in the order in which they are applied."""
    first: list[Operation] = []
    upward: list[Operation] = []
    downward: list[Operation] = []
    gone: set[Reference] = set()
    for facility in facilities:
        name = facility.name
        current, desired = target.current.get(name, {}), target.desired.get(name, {})
        if gone:
            lost = {key for key, obj in current.items() if not gone.isdisjoint(facility.parents(obj))}
            gone.update((name, key) for key in lost)
            current = {key: obj for key, obj in current.items() if key not in lost}
        if current == desired:
            continue
        for key, after in desired.items():
            before = current.get(key)
            if before is None:
                upward.append(Operation(name, CREATE, None, after))
            elif before != after:
                immutable = facility.immutable(before, after)
                upward.append(Operation(name, RECREATE if immutable else REPLACE, before, after))
                if immutable:
                    gone.add((name, key))
        deletions = [Operation(name, DELETE, obj, None) for key, obj in current.items() if key not in desired]
        if facility.deletes_first:
            first += deletions
            gone.update((name, key) for key in current if key not in desired)
        else:
            downward[:0] = deletions
    return first + upward + downward


def apply(facilities: Sequence[Facility], operations: Sequence[Operation], host: Host) -> None:
    """Carry operations out, a batch per facility and direction."""
    known = {facility.name: facility for facility in facilities}
    position = 0
    while position < len(operations):
        name, deletes = operations[position].facility, operations[position].verb == DELETE
        end = position
        while (
            end < len(operations) and operations[end].facility == name and (operations[end].verb == DELETE) == deletes
        ):
            end += 1
        _apply(known[name], operations[position:end], host)
        position = end


def _apply(facility: Facility, operations: Sequence[Operation], host: Host) -> None:
    """A batch whose way to the kernel breaks down has failed as a whole: nobody knows how far it came."""
    try:
        facility.apply(operations, host)
    except OSError as error:
        verb, before, after = operations[0][1:]
        more = f" and {len(operations) - 1} more" if len(operations) > 1 else ""
        obj = line(facility, before if after is None else after)
        raise ApplyError([f"{facility.name}: {verb} {obj}{more}: {in_words(error)}"]) from error


def reconcile(
    kind: Kind,
    items: Items,
    host: Host,
    declarations: Declarations,
    check: bool = False,
    declared: Callable[[], None] | None = None,
) -> Result:
    """Bring the host to what a kind's items ask for and verify it by reading back; in check mode only say what changes.

    :param declared: what follows once they are declared, before anything of the host changes
    :raises Conflict: something foreign is in the way; nothing has changed
    :raises ApplyError: the kernel or a tool refused; the next run converges
    :raises VerificationError: the host took the change but reads back differently
    :raises HostError: the host cannot be read; the next run converges
    """
    try:
        return _reconcile(kind, items, host, declarations, check, declared)
    except OSError as error:
        raise HostError(f"{kind.name}: {in_words(error)}") from error


def _reconcile(
    kind: Kind,
    items: Items,
    host: Host,
    declarations: Declarations,
    check: bool,
    declared: Callable[[], None] | None,
) -> Result:
    former = declarations.read(kind.name)
    host.declarations = declarations
    target = kind.target(items, former, host)
    if target.conflicts:
        raise Conflict(target.conflicts)
    operations = diff(kind.facilities, target)
    texts = (declarations.text(kind.name), declarations.rendered(kind.name, items))
    after = target.desired
    if not check:
        # What is removed stays declared until it is gone: a declaration may hold what undoing needs.
        meanwhile = {**former, **items}
        interim = texts[1] if former.keys() <= items.keys() else declarations.rendered(kind.name, meanwhile)
        if texts[0] != interim:
            declarations.write(kind.name, meanwhile, "nothing was changed", interim)
        if declared is not None:
            declared()
        if operations:
            apply(kind.facilities, operations, host)
            after = _settled(kind, items, former, host)
        if interim != texts[1]:
            declarations.write(kind.name, items, "all else is done, and the next run will write it", texts[1])
        elif not items:
            declarations.tidy()
    return Result(bool(operations) or texts[0] != texts[1], target.current, after, operations, texts, target.notes)


def _settled(kind: Kind, items: Items, former: Items, host: Host) -> State:
    """Observe again; what the kernel dragged along is mended once, what then differs is an error."""
    for attempt in range(2):
        host.forget()
        target = kind.target(items, former, host)
        left = diff(kind.facilities, target)
        if not left:
            return target.current
        if attempt == 0:
            apply(kind.facilities, left, host)
    known = {facility.name: facility for facility in kind.facilities}
    raise VerificationError(difference(operation, known[operation.facility]) for operation in left)


def difference(operation: Operation, facility: Facility) -> str:
    """One line on what is not as declared: ``route 10.0.0.0/24 ...: desired ..., found nothing``."""
    wanted, found = (
        "nothing" if obj is None else _cut(line(facility, obj)) for obj in (operation.after, operation.before)
    )
    return f"{facility.name}: desired {wanted}; found {found}"


def _cut(text: str) -> str:
    """What a person reads of it: a set may have tens of thousands of elements."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text)} characters)"


def line(facility: Facility, obj: Any) -> str:
    """An object on one line, as its tool would print it."""
    words: list[str] = []
    for position, (key, value) in enumerate(facility.describe(obj).items()):
        if value is True:
            words.append(key)
        elif value is not None and value is not False and value != "":
            words.append(str(value) if position == 0 else f"{key} {value}")
    return " ".join(words)


def present(facilities: Sequence[Facility], state: State) -> dict[str, list[dict[str, Any]]]:
    """A state as plain data for a module's result: facility to its objects, sorted by their identifying fields."""
    return {
        facility.name: [facility.describe(obj) for dummy, obj in _ordered(state.get(facility.name, {}))]
        for facility in facilities
    }


def lines(facilities: Sequence[Facility], state: State) -> str:
    """A state as text for a diff: a line per object."""
    return "".join(
        f"{facility.name}: {line(facility, obj)}\n"
        for facility in facilities
        for dummy, obj in _ordered(state.get(facility.name, {}))
    )


def _ordered(objects: Objects) -> list[tuple[Hashable, Any]]:
    return sorted(objects.items(), key=itemgetter(0))
