# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever stands where we read what others write, we read it or say what is wrong with it: nothing else is raised."""

from __future__ import annotations

import contextlib
import copy
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.podnet.fabric.plugins.module_utils.bgp import birdc
from ansible_collections.podnet.fabric.plugins.module_utils.cni import conflist, leaks, plugin
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.declared_shapes import SHAPES
from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.attributes import MESSAGE
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.errors import ProtocolError
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.table import Block, tables
from ansible_collections.podnet.fabric.plugins.module_utils.policy import attached, documents, endpoints
from ansible_collections.podnet.fabric.plugins.module_utils.policy.inspection import inspect_policies
from ansible_collections.podnet.fabric.plugins.plugin_utils import ledger_text, planning
from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger_text import LedgerError
from ansible_collections.podnet.fabric.plugins.plugin_utils.settings import Host

if TYPE_CHECKING:
    from collections.abc import Callable

DEEP = "[" * 100_000
TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["10.0.0.0/8", "10.0.0.1", "fd00::/64", "::1%eth0", "\u0661\u0660", "a\0b", "\ud800"]),
    st.sampled_from(["x" * 300, "all", "1e999"]),
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([2**64, -1, 10**400]),
    st.floats(),
    TEXTS,
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=8
)


@st.composite
def damaged(draw: st.DrawFn, document: Any) -> Any:
    """A document with one or two of its values replaced, left out or doubled."""
    found = copy.deepcopy(document)
    for _time in range(draw(st.integers(1, 2))):
        here: Any = found
        steps: list[tuple[Any, Any]] = []
        while isinstance(here, (dict, list)) and here and (not steps or draw(st.integers(0, 3))):
            keys = list(here) if isinstance(here, dict) else list(range(len(here)))
            key = draw(st.sampled_from(keys))
            steps.append((here, key))
            here = here[key]
        if not steps:
            return draw(VALUES)
        holder, key = steps[-1]
        act = draw(st.sampled_from(["replace", "remove", "double"]))
        if act == "remove":
            del holder[key]
        elif act == "double" and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        elif act == "double":
            holder[draw(TEXTS)] = copy.deepcopy(holder[key])
        else:
            holder[key] = draw(VALUES)
    return found


def written(document: Any) -> str:
    """As JSON, with what JSON does not know as Python writes it."""
    return json.dumps(document)


POLICY: dict[str, Any] = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "one", "namespace": "x"},
    "spec": {
        "podSelector": {
            "matchLabels": {"a": "b"},
            "matchExpressions": [{"key": "c", "operator": "In", "values": ["d"]}],
        },
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}], "ports": [{"port": 80}]},
        ],
        "egress": [
            {"to": [{"namespaceSelector": {}, "podSelector": {}}], "ports": [{"port": "http", "protocol": "UDP"}]},
        ],
    },
}
POD: dict[str, Any] = {
    "name": "a",
    "namespace": "x",
    "node": "node1",
    "labels": {"a": "b"},
    "addresses": ["10.0.0.1"],
    "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
}
LEDGER: dict[str, Any] = {
    "format": 1,
    "cluster": "podnet",
    "blocks": {
        "10.244.0.0/24": {"pool": "default", "node": "node1", "order": 0},
        "10.244.1.0/24": {"pool": "default", "node": "node2", "order": 0, "released": "2026-01-01T00:00:00Z"},
    },
}
INVENTORY: dict[str, Any] = {
    "podnet_pools": [{"name": "default", "cidr": "10.244.0.0/16", "block_size": 24, "nat_outgoing": True}],
    "podnet_dataplane": "vxlan",
    "podnet_underlay": {"interface": "auto", "address": "192.0.2.1"},
    "podnet_verify_outside": ["192.0.2.99"],
    "podnet_policies": [POLICY],
    "podnet_namespaces": {"x": {"a": "b"}},
    "podnet_endpoints": [POD],
    "podnet_bgp": {"asn": 64512},
}
CONFLIST: dict[str, Any] = {
    "cniVersion": "1.0.0",
    "name": "podnet",
    "plugins": [
        {"type": "bridge", "bridge": "podnet0", "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.0.0.0/24"}]]}}
    ],
}
CACHED: dict[str, Any] = {
    "kind": "cniCacheV1",
    "containerId": "one",
    "networkName": "podnet",
    "cniArgs": [["K8S_POD_NAME", "a"]],
    "result": {"ips": [{"address": "10.0.0.1/24"}]},
}


@given(damaged([POLICY, POLICY]))
def test_policies(given_policies: Any) -> None:
    inspection = Inspection()
    inspect_policies(inspection, "policies", given_policies)
    if not inspection.findings:
        for document in given_policies:
            documents.read(document)
    for document in given_policies if isinstance(given_policies, list) else ():
        if isinstance(document, dict):
            with contextlib.suppress(PodnetError):
                documents.read(document)


@given(damaged([POD]))
def test_endpoints(given_pods: Any) -> None:
    inspection = Inspection()
    known = endpoints.inspect_endpoints(inspection, "endpoints", given_pods)
    for item in known:
        with contextlib.suppress(PodnetError):
            endpoints.read(item)


@given(st.one_of(st.text(), damaged(LEDGER).map(written)))
def test_ledgers(text: str) -> None:
    with contextlib.suppress(LedgerError):
        ledger_text.parse(text, "the ledger", "podnet")


@given(damaged(INVENTORY))
def test_inventories(variables: Any) -> None:
    """A plan, or problems with their paths."""
    if not isinstance(variables, dict):
        return
    named = {key: value for key, value in variables.items() if key.startswith("podnet_") and value is not None}
    hosts = [Host(name, named, address) for name, address in (("node1", "192.0.2.1"), ("node2", "192.0.2.2"))]
    with tempfile.TemporaryDirectory() as folder:
        outcome = planning.run(hosts, [], folder, allocate=False)
    assert (outcome.plan is None) == bool(outcome.problems)
    assert all(problem.path for problem in outcome.problems)


@given(st.one_of(st.text(), damaged(CONFLIST).map(written)))
def test_network_configurations(text: str) -> None:
    conflist.name_of(text)
    found = conflist.parse(text)
    if found is not None:
        assert all(isinstance(name, str) for name, _path in conflist.executables(found))
        assert all(isinstance(name, str) for name in conflist.bridges(found))


@given(st.one_of(st.text(), damaged({"code": 7, "msg": "no", "details": "x"}).map(written)))
def test_what_plugins_print(text: str) -> None:
    for command in ("ADD", "DEL", "VERSION"):
        with contextlib.suppress(PodnetError):
            plugin._parse_result("bridge", command, text)
        assert str(plugin.parse_error("bridge", command, 1, text, ""))


def test_json_that_is_nested_too_deep() -> None:
    with pytest.raises(LedgerError):
        ledger_text.parse(DEEP, "the ledger", "podnet")
    with pytest.raises(PodnetError):
        plugin._parse_result("bridge", "ADD", DEEP)
    assert str(plugin.parse_error("bridge", "ADD", 1, DEEP, ""))
    assert conflist.parse(DEEP) is None
    with tempfile.TemporaryDirectory() as folder:
        declarations = Declarations(Path(folder))
        declarations.path("bridge").write_text(DEEP, encoding="utf-8")
        with pytest.raises(PodnetError):
            declarations.read("bridge")


@given(damaged(CACHED), st.booleans())
def test_the_cache_of_runtimes(document: Any, cut: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "podnet-one-eth0").write_text(written(document)[: 40 if cut else None], encoding="utf-8")
        (Path(folder) / "a-folder").mkdir()
        for pod in attached._cached({"podnet"}, Path(folder)):
            assert all(isinstance(address, str) for address in pod["addresses"])


@given(st.lists(st.tuples(st.sampled_from([1002, 1006, 1007, 1008, 0, 13]), st.text(max_size=40)), max_size=6))
def test_what_bird_answers(answer: list[tuple[int, str]]) -> None:
    for read in (birdc.read_protocols, birdc.read_routes):
        with contextlib.suppress(PodnetError):
            read(answer)  # type: ignore[arg-type]


@given(st.sampled_from(["Channel ", "  Channel ", "x BGP", "a b c d", ""]))
def test_lines_of_bird_that_are_cut(text: str) -> None:
    with contextlib.suppress(PodnetError):
        birdc.read_protocols([(1002, "one BGP --- up 10:00"), (1006, text), (1002, text)])  # type: ignore[list-item]


@given(st.binary(max_size=200), st.integers(0, 64))
def test_netlink_messages(data: bytes, body: int) -> None:
    padded = data + bytes(-len(data) & 3)
    if len(padded) < MESSAGE.size:
        return
    with contextlib.suppress(ProtocolError):
        for table in tables([Block(16, len(data), len(padded), padded)], body):
            for attribute in table.places:
                list(table.payloads(attribute))


def test_stores_of_addresses_with_odd_things_in_them(tmp_path: Path) -> None:
    (tmp_path / "10.0.0.1").mkdir()
    (tmp_path / "10.0.0.2").write_bytes(b"\xff\0")
    (tmp_path / "10.0.0.3").symlink_to("/nowhere")
    assert [entry.address for entry in leaks.reservations(tmp_path)] == ["10.0.0.2"]


@given(st.one_of(st.text(), VALUES.map(written)), st.sampled_from(sorted(SHAPES)))
def test_declarations(text: str, kind: str) -> None:
    _declared(kind, lambda path: path.write_text(text, encoding="utf-8", errors="surrogatepass"))


@given(st.binary(max_size=100), st.sampled_from(sorted(SHAPES)))
def test_declarations_that_are_no_text(data: bytes, kind: str) -> None:
    _declared(kind, lambda path: path.write_bytes(data))


@given(VALUES, st.sampled_from(sorted(SHAPES)))
def test_declarations_with_other_items(value: Any, kind: str) -> None:
    document = {"podnet": {"kind": kind, "version": 1}, "items": {"one": value}}
    _declared(kind, lambda path: path.write_text(written(document), encoding="utf-8"))


def _declared(kind: str, write: Callable[[Path], Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        declarations = Declarations(Path(folder))
        write(declarations.path(kind))
        with contextlib.suppress(PodnetError):
            declarations.read(kind)
