# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node reduced to a network namespace with an underlay, and the reconcile loop on it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Kind, Result, present, reconcile
from ansible_collections.podnet.fabric.plugins.module_utils.resources import ipam_block, sysctl

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Namespace


class Node:
    """Declares on the namespace that the test is in; files go below a directory of the test's."""

    def __init__(self, namespace: Namespace, declarations: Declarations) -> None:
        self.namespace = namespace
        self.declarations = declarations

    def declare(self, kind: Kind, name: str, params: dict[str, Any], *, check: bool = False) -> Result:
        """What the module does with `state: present`."""
        with Host() as host:
            items = self.declarations.read(kind.name)
            items[name] = kind.normalise(name, params, items.get(name), host)
            return reconcile(kind, items, host, self.declarations, check)

    def withdraw(self, kind: Kind, name: str, *, force: bool = False) -> Result:
        """What the module does with `state: absent`."""
        with Host(force) as host:
            items = self.declarations.read(kind.name)
            items.pop(name, None)
            return reconcile(kind, items, host, self.declarations)

    def snapshot(self, *, ids: bool = True) -> list[str]:
        """Everything that `ip` and `bridge` show, a line for each object.

        Without indices and times, which a re-created link cannot keep.

        :param ids: with the numbers of nexthop objects; which one a peer gets depends on those that were there
        """
        hidden = VOLATILE | (set() if ids else {"id", "nhid"})
        ip = self.namespace.ip_json
        links = [link["ifname"] for link in ip("link")]
        state = {
            "link": ip("link"),
            "address": ip("address"),
            "neighbour": [
                *ip("-4", "neigh", "show", "nud", "permanent"),
                *ip("-6", "neigh", "show", "nud", "permanent"),
            ],
            "fdb": [
                entry
                for link in links
                for entry in json.loads(self.namespace.run("bridge", "-j", "fdb", "show", "dev", link))
            ],
            "nexthop": ip("nexthop"),
            "route": [*ip("-4", "route", "show", "table", "all"), *ip("-6", "route", "show", "table", "all")],
            "rule": [*ip("-4", "rule"), *ip("-6", "rule")],
        }
        return sorted(
            f"{name} {json.dumps(_without(hidden, entry), sort_keys=True)}"
            for name, entries in state.items()
            for entry in entries
        )


# What the kernel finds out about a link's carrier, up to a second after the link is up (net/core/link_watch.c).
CARRIER = {"NO-CARRIER", "LOWER_UP", "linkdown"}
VOLATILE = {
    "root_id",
    "bridge_id",
    "ifindex",
    "link_index",
    "updated",
    "used",
    "confirmed",
    "valid_life_time",
    "operstate",
    "permaddr",
}


def _without(hidden: set[str], entry: Any) -> Any:
    if isinstance(entry, dict):
        return {
            key: _without(hidden, value)
            for key, value in entry.items()
            if key not in hidden and not key.endswith("_timer")
        }
    if isinstance(entry, list):
        return [_without(hidden, value) for value in entry if not (isinstance(value, str) and value in CARRIER)]
    return entry


@pytest.fixture
def node(netns: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    """A node with `eth0` 192.0.2.1/24 and 2001:db8::1/64, MTU 1500, and routes, links and neighbours of its own."""
    monkeypatch.setattr(ipam_block, "NAMES_FILE", str(tmp_path / "rt_protos.d" / "podnet.conf"))
    monkeypatch.setattr(sysctl, "SETTINGS_FILE", str(tmp_path / "sysctl.d" / "84-podnet.conf"))
    netns.ip("link", "add", "eth0", "type", "veth", "peer", "name", "cable")
    for device in ("eth0", "cable"):
        # No link-local address, whose duplicate address detection would end in the middle of a test.
        netns.ip("link", "set", device, "addrgenmode", "none")
        netns.ip("link", "set", device, "up")
    netns.ip("address", "add", "192.0.2.1/24", "dev", "eth0")
    netns.ip("address", "add", "2001:db8::1/64", "dev", "eth0", "nodad")
    netns.ip("route", "add", "198.51.100.0/24", "via", "192.0.2.254")
    netns.ip("link", "add", "foreign", "type", "bridge")
    netns.ip("neigh", "add", "192.0.2.77", "lladdr", "02:00:00:00:00:77", "dev", "eth0", "nud", "permanent")
    netns.ip("nexthop", "add", "id", "7", "via", "192.0.2.254", "dev", "eth0")
    return Node(netns, Declarations(tmp_path / "podnet" / "node.d"))


def shown(kind: Kind, result: Result) -> tuple[Any, Any]:
    """Before and after as the module returns them."""
    return present(kind.facilities, result.before), present(kind.facilities, result.after)
