# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The loop without a kernel: operations, their order, what vanishes with what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import (
    Operation,
    Target,
    diff,
    line,
    lines,
    present,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
    from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Reference


class Thing(NamedTuple):
    """A thing that stands on another and has a value; a negative value cannot be changed to."""

    name: str
    on: str
    value: int


class Shelf:
    """A facility that keeps things in a dictionary."""

    def __init__(self, name: str, below: str = "", *, deletes_first: bool = False) -> None:
        self.name = name
        self.below = below
        self.deletes_first = deletes_first

    def parents(self, obj: Thing) -> Sequence[Reference]:
        return ((self.below, obj.on),) if self.below else ()

    def immutable(self, before: Thing, after: Thing) -> bool:
        return after.value < 0

    def apply(self, operations: Sequence[Operation], host: Host) -> None:
        raise NotImplementedError

    def describe(self, obj: Thing) -> dict[str, Any]:
        return {"name": obj.name, "on": obj.on, "value": obj.value, "odd": obj.value % 2 == 1}


LINKS, ROUTES = Shelf("links", deletes_first=True), Shelf("routes", "links")
SHELVES = (LINKS, ROUTES)


def things(*entries: Thing) -> dict[str, Thing]:
    return {entry.name: entry for entry in entries}


def target(current: Mapping[str, Any], desired: Mapping[str, Any]) -> Target:
    return Target(current, desired)


def test_what_is_right_takes_no_operation() -> None:
    state = {"links": things(Thing("a", "", 1)), "routes": things(Thing("r", "a", 1))}
    assert diff(SHELVES, target(state, state)) == []


def test_creations_go_up_and_deletions_come_down() -> None:
    up = diff(SHELVES, target({}, {"links": things(Thing("a", "", 1)), "routes": things(Thing("r", "a", 1))}))
    assert [(operation.facility, operation.verb) for operation in up] == [("links", "create"), ("routes", "create")]
    before = {"links": things(Thing("a", "", 1)), "routes": things(Thing("r", "a", 1), Thing("s", "a", 1))}
    after = {"links": things(Thing("a", "", 1)), "routes": things(Thing("t", "a", 1))}
    down = diff(SHELVES, target(before, after))
    assert [operation.verb for operation in down] == ["create", "delete", "delete"]


def test_what_stood_on_a_recreated_link_is_made_again() -> None:
    before = {"links": things(Thing("a", "", 1)), "routes": things(Thing("r", "a", 1), Thing("s", "b", 1))}
    after = {"links": things(Thing("a", "", -1)), "routes": things(Thing("r", "a", 1), Thing("s", "b", 1))}
    operations = diff(SHELVES, target(before, after))
    assert [(operation.facility, operation.verb) for operation in operations] == [
        ("links", "recreate"),
        ("routes", "create"),
    ]


def test_what_stood_on_a_deleted_link_takes_no_operation_of_its_own() -> None:
    before = {"links": things(Thing("a", "", 1)), "routes": things(Thing("r", "a", 1))}
    assert diff(SHELVES, target(before, {})) == [Operation("links", "delete", Thing("a", "", 1), None)]


def test_a_link_makes_room_before_another_is_made() -> None:
    operations = diff(SHELVES, target({"links": things(Thing("a", "", 1))}, {"links": things(Thing("b", "", 1))}))
    assert [operation.verb for operation in operations] == ["delete", "create"]


def carried_out(current: Mapping[str, Any], operations: Sequence[Operation]) -> dict[str, dict[str, Thing]]:
    """A host that behaves as the kernel: what stands on a link goes with it."""
    state = {shelf.name: dict(current.get(shelf.name, {})) for shelf in SHELVES}
    for facility, verb, before, after in operations:
        shelf = state[facility]
        if verb in ("delete", "recreate"):
            assert before.name in shelf, f"deletes {before}, which is not there"
            del shelf[before.name]
            if facility == "links":
                state["routes"] = {name: route for name, route in state["routes"].items() if route.on != before.name}
        if verb in ("create", "recreate"):
            assert after.name not in state[facility], f"makes {after}, which is there"
        if after is not None:
            assert facility == "links" or after.on in state["links"], f"{after} would stand on nothing"
            state[facility][after.name] = after
    return state


def states() -> st.SearchStrategy[dict[str, dict[str, Thing]]]:
    values = st.integers(-1, 2)
    links = st.dictionaries(st.sampled_from("abc"), values, max_size=3)

    def with_routes(values_by_link: dict[str, int]) -> st.SearchStrategy[dict[str, dict[str, Thing]]]:
        made = {"links": things(*(Thing(name, "", value) for name, value in values_by_link.items()))}
        if not values_by_link:
            return st.just({**made, "routes": {}})
        route = st.builds(Thing, st.sampled_from("rstu"), st.sampled_from(sorted(values_by_link)), st.integers(0, 2))
        return st.lists(route, max_size=4).map(lambda routes: {**made, "routes": things(*routes)})

    return links.flatmap(with_routes)


@given(states(), states())
def test_the_operations_lead_from_any_state_to_any_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    operations = diff(SHELVES, target(before, after))
    assert carried_out(before, operations) == after
    assert diff(SHELVES, target(after, after)) == []


def test_an_object_reads_like_its_tool_prints_it() -> None:
    assert line(LINKS, Thing("a", "", 3)) == "a value 3 odd"
    assert line(LINKS, Thing("a", "b", 0)) == "a on b value 0"


def test_states_are_shown_in_a_stable_order() -> None:
    state = {"links": things(Thing("b", "", 1), Thing("a", "", 2))}
    assert [entry["name"] for entry in present(SHELVES, state)["links"]] == ["a", "b"]
    assert lines(SHELVES, state) == "links: a value 2\nlinks: b value 1 odd\n"
