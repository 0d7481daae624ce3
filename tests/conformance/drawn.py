# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random policies, endpoints and probes, for a ground of pods, their nodes and a host outside."""

from __future__ import annotations

import ipaddress
import random
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from tests.conformance import naive
from tests.conformance.prober import NUMBERS
from tests.conformance.surroundings import PLACES, PODS, address_of, own_node

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.conformance.prober import Cell

NAMESPACES = ("x", "y", "z")
NAMES = ("web", "dns", "alt")
PROTOCOLS = ("TCP", "UDP", "SCTP")
FAMILIES = (4, 6)
LABELS = {"app": ("a", "b", "c"), "tier": ("a", "b"), "env": ("a",)}
NAMESPACE_LABELS = {"team": ("a", "b"), "ns": ("x", "y"), "kubernetes.io/metadata.name": NAMESPACES}
LENGTHS = {4: (0, 1, 8, 24, 27, 28, 29, 30, 31, 32), 6: (0, 1, 32, 64, 112, 120, 124, 126, 127, 128)}
_MOSTLY = st.sampled_from((True, True, True, False))
_NEARLY_ALWAYS = st.sampled_from((*[True] * 7, False))
_CROWDED = st.sampled_from(("x", "x", *NAMESPACES))
CELLS = 260
"""How many probes of the hundreds that are possible are sent for each example and family."""


def labels(keys: dict[str, tuple[str, ...]]) -> st.SearchStrategy[dict[str, str]]:
    """Some of the keys, each with one of its values."""
    return st.fixed_dictionaries({}, optional={key: st.sampled_from(values) for key, values in keys.items()})


@st.composite
def selectors(draw: st.DrawFn, keys: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    """By labels, by expressions, by both; seldom everything."""
    found: dict[str, Any] = {}
    parts = draw(st.sampled_from([("matchExpressions",)] * 4 + [("matchLabels",)] * 3 + [_PARTS, ()]))
    if "matchLabels" in parts:
        key = draw(st.sampled_from([*keys]))
        found["matchLabels"] = {key: draw(st.sampled_from(keys[key]))}
    if "matchExpressions" in parts:
        found["matchExpressions"] = draw(st.lists(_expressions(keys), min_size=1, max_size=2))
    return found


_PARTS = ("matchLabels", "matchExpressions")


@st.composite
def _expressions(draw: st.DrawFn, keys: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    key = draw(st.sampled_from([*keys, "absent"]))
    operator = draw(st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"]))
    if operator in ("Exists", "DoesNotExist"):
        return {"key": key, "operator": operator}
    values = draw(st.lists(st.sampled_from(keys.get(key, ("a",))), min_size=1, max_size=2, unique=True))
    return {"key": key, "operator": operator, "values": values}


@st.composite
def blocks(draw: st.DrawFn) -> dict[str, Any]:
    """A prefix around one of the addresses that are probed, less some that are around others."""
    family = draw(st.sampled_from(FAMILIES))
    around = st.sampled_from([address_of(place, family) for place in range(PLACES)])
    network = ipaddress.ip_network(f"{draw(around)}/{draw(st.sampled_from(LENGTHS[family]))}", strict=False)
    found: dict[str, Any] = {"cidr": str(network)}
    longer = [length for length in LENGTHS[family] if length > network.prefixlen]
    less_some: bool = draw(st.booleans())
    if longer and less_some:
        less = [
            ipaddress.ip_network(f"{draw(around)}/{draw(st.sampled_from(longer))}", strict=False) for _time in range(3)
        ]
        inside = [str(each) for each in less if int(each.network_address) & int(network.netmask) == int(network[0])]
        if inside:
            found["except"] = inside
    return {"ipBlock": found}


@st.composite
def _selected(draw: st.DrawFn) -> dict[str, Any]:
    which = draw(st.sampled_from(["pods", "namespaces", "both"]))
    found = {}
    if which != "pods":
        found["namespaceSelector"] = draw(selectors(NAMESPACE_LABELS))
    if which != "namespaces":
        found["podSelector"] = draw(selectors(LABELS))
    return found


@st.composite
def _ports(draw: st.DrawFn) -> dict[str, Any]:
    found: dict[str, Any] = {}
    protocol = draw(st.sampled_from([None, *PROTOCOLS]))
    if protocol:
        found["protocol"] = protocol
    sort = draw(st.sampled_from(["every", "name", "number", "number", "range"]))
    if sort == "name":
        found["port"] = draw(st.sampled_from(NAMES))
    elif sort != "every":
        found["port"] = draw(st.sampled_from([1, 79, 80, 81]))
        if sort == "range":
            found["endPort"] = draw(st.sampled_from([last for last in (79, 80, 81, 65535) if last >= found["port"]]))
    return found


@st.composite
def _rules(draw: st.DrawFn, peers: str) -> dict[str, Any]:
    found = {}
    if draw(_NEARLY_ALWAYS):
        found[peers] = draw(_some(st.one_of(_selected(), blocks())))
    if draw(_MOSTLY):
        found["ports"] = draw(_some(_ports()))
    return found


def _some(each: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """One to three, and now and then none, which means everything."""
    return _NEARLY_ALWAYS.flatmap(lambda some: st.lists(each, min_size=int(some), max_size=3 * int(some)))


@st.composite
def policies(draw: st.DrawFn, name: str) -> dict[str, Any]:
    spec: dict[str, Any] = {"podSelector": draw(st.one_of(st.just({}), selectors(LABELS)))}
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        if draw(_MOSTLY):
            spec[direction] = draw(st.lists(_rules(peers), max_size=2))
    types = draw(st.sampled_from([None, None, ["Ingress"], ["Egress"], ["Ingress", "Egress"]]))
    if types:
        spec["policyTypes"] = types
    return {"metadata": {"name": name, "namespace": draw(_CROWDED)}, "spec": spec}


@st.composite
def _endpoints(draw: st.DrawFn, place: int, nodes: Sequence[str]) -> dict[str, Any]:
    families = draw(st.sampled_from([FAMILIES, FAMILIES, FAMILIES, (4,), (6,)]))
    named = draw(
        st.lists(
            st.tuples(st.sampled_from(NAMES), st.sampled_from(PROTOCOLS), st.sampled_from((*NUMBERS, 443))),
            max_size=4,
            unique_by=lambda port: port[:2],
        )
    )
    return {
        "namespace": draw(_CROWDED),
        "name": f"p{place}",
        "node": nodes[own_node(place)],
        "labels": draw(labels(LABELS)),
        "addresses": [address_of(place, family) for family in families],
        "ports": [{"name": name, "protocol": protocol, "port": number} for name, protocol, number in named],
    }


@st.composite
def clusters(draw: st.DrawFn, nodes: Sequence[str]) -> naive.Cluster:
    """Policies and endpoints. Now and then a pod is nobody's endpoint, and a namespace's labels are not known."""
    known = [place for place in range(PODS) if draw(_NEARLY_ALWAYS)]
    namespaces = {name: draw(labels({"team": ("a", "b"), "ns": ("x", "y")})) for name in NAMESPACES if draw(_MOSTLY)}
    return naive.Cluster(
        [draw(policies(f"policy{number}")) for number in range(draw(st.integers(2, 6)))],
        [draw(_endpoints(place, nodes)) for place in known],
        namespaces,
    )


def cells(family: int, seed: int) -> list[Cell]:
    """Some of the probes that have a pod at one end, other ones for each seed."""
    return random.Random(f"{seed} {family}").sample(every_cell(), CELLS)


def every_cell() -> list[Cell]:
    """All probes that have a pod at one end."""
    return [
        (protocol.lower(), number, source, destination)
        for protocol in PROTOCOLS
        for number in NUMBERS
        for source in range(PLACES)
        for destination in range(PLACES)
        if source < PODS or destination < PODS
    ]
