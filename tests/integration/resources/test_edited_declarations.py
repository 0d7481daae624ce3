# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declarations that somebody has edited: whatever stands in them, the operator gets a message and never a traceback."""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.declared_shapes import SHAPES
from ansible_collections.podnet.fabric.plugins.module_utils.errors import DeclarationError, PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.kinds import KINDS as ALL_KINDS
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import reconcile
from ansible_collections.podnet.fabric.plugins.module_utils.resources import bridge, cni_network, pod, service, vxlan

from .test_kinds import BRIDGE, KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Kind

    from .conftest import Node

PEERS = [{"name": "b", "underlay": "192.0.2.2", "mac": "02:00:00:00:00:02", "blocks": ["10.244.2.0/24"]}]
VXLAN = {"vni": 84, "port": 4789, "local": "192.0.2.1", "peers": PEERS, "addresses": ["10.244.1.0/32"]}
NETWORK = {
    "bridge": "podnet0",
    "mtu": 1450,
    "blocks": [{"cidr": "10.244.1.0/24", "gateway": "10.244.1.1"}],
    "plugins": [{"type": "portmap", "capabilities": {"portMappings": True}}],
    "cni_version": "1.0.0",
    "bin_dir": "auto",
    "verify_plugins": False,
}
POD = {"name": "web", "network": "podnet", "conf_dir": "/nowhere", "bin_dir": "/nowhere", "labels": {"app": "web"}}
SERVICE: dict[str, Any] = {
    "node": "a",
    "pods": ["10.244.0.0/16"],
    "ranges": [],
    "services": [
        {
            "metadata": {"name": "web"},
            "spec": {
                "type": "NodePort",
                "clusterIP": "10.96.0.9",
                "sessionAffinity": "ClientIP",
                "ports": [{"port": 80, "nodePort": 30080}],
            },
        }
    ],
    "slices": [
        {
            "metadata": {"labels": {"kubernetes.io/service-name": "web"}, "name": "web"},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.244.1.2"]}],
            "ports": [{"port": 8080}],
        }
    ],
    "endpoints": [],
}
EVERY_KIND: list[tuple[Kind, str, dict[str, Any]]] = [
    *KINDS,
    (vxlan.KIND, "podnet-vx", VXLAN),
    (cni_network.KIND, "podnet", NETWORK),
    (pod.Pod(predict=True), "podnet/default/web", POD),
    (service.KIND, "podnet", SERVICE),
]
STRANGE: list[Any] = [None, -5, 2**40, "x", [], [None], {}, {"": [1]}]
GONE = object()


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to each value inside a value; of a list the first entries are enough."""
    if path:
        yield path
    if isinstance(value, (dict, list)):
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))[:2]
        for key in keys:
            yield from places(value[key], (*path, key))


def edited(document: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy with one value replaced, or gone."""
    whole = copy.deepcopy(document)
    inner = whole
    for key in path[:-1]:
        inner = inner[key]
    if new is GONE:
        del inner[path[-1]]
    else:
        inner[path[-1]] = new
    return whole


@pytest.mark.parametrize(("kind", "name", "params"), EVERY_KIND, ids=[kind.name for kind, _name, _params in EVERY_KIND])
def test_no_edit_ends_in_a_traceback(node: Node, tmp_path: Path, kind: Kind, name: str, params: dict[str, Any]) -> None:
    if kind is cni_network.KIND:
        params = {**params, "conf_dir": str(tmp_path / "net.d")}
    with Host() as host:
        item = kind.normalise(name, params, None, host)
    node.declarations.write(kind.name, {name: item})
    file = node.declarations.path(kind.name)
    document = json.loads(file.read_text(encoding="utf-8"))
    assert node.declarations.read(kind.name) == {name: item}
    for path in places(document):
        for new in (GONE, *STRANGE):
            file.write_text(json.dumps(edited(document, path, new)), encoding="utf-8")
            with suppress(PodnetError):
                node.declare(kind, name, params, check=True)
            with suppress(PodnetError), Host() as host:
                # As where another item of the kind is declared, and where all of it is taken off the node.
                reconcile(kind, node.declarations.read(kind.name), host, node.declarations, check=True)
                reconcile(kind, {}, host, node.declarations, check=True)


def test_every_kind_has_its_shape() -> None:
    assert SHAPES.keys() == {kind.name for kind in ALL_KINDS}


def test_all_that_was_edited_is_told_at_once_with_a_cure(node: Node) -> None:
    node.declare(bridge.KIND, "podnet0", BRIDGE)
    file = node.declarations.path("bridge")
    document = json.loads(file.read_text(encoding="utf-8"))
    document["items"]["podnet0"].update(mtu="big", addresses=["10.244.1.1/24", 7])
    del document["items"]["podnet0"]["mac"]
    file.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(DeclarationError) as caught:
        node.declare(bridge.KIND, "podnet0", BRIDGE)
    for words in (
        str(file),
        "items.podnet0.mtu: 'big' where a whole number from 68 to 65535 should be",
        "items.podnet0.addresses[1]: 7 where text should be",
        "items.podnet0.mac: nothing where text should be",
        "move the file away",
    ):
        assert words in str(caught.value)
