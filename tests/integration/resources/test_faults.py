# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every single operation of a run fails in turn: one clear message, and the next run ends as if nothing had been."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils import wireguard_keys
from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError, in_words
from ansible_collections.podnet.fabric.plugins.module_utils.resources import (
    bridge,
    cni_network,
    host_gw,
    ipam_block,
    ipam_pool,
    route,
    sysctl,
    tunnel_filter,
    vxlan,
    wireguard,
)
from tests.integration.faults import Faults, inject, positions
from tests.integration.kinds import needs_link_kind

from . import test_direct_routes, test_tunnels, test_vxlan, test_wireguard
from .conftest import VOLATILE, _without
from .test_edited_declarations import NETWORK
from .test_kinds import BLOCKS, BRIDGE, POOLS, ROUTES, SETTINGS, TUNNEL

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Kind

    from .conftest import Node


class Case(NamedTuple):
    """A kind with two realistic declarations of one item."""

    kind: Kind
    item: str
    first: dict[str, Any]
    second: dict[str, Any]


def direct(*numbers: int) -> dict[str, Any]:
    return test_direct_routes.params(*map(test_direct_routes.peer, numbers))


def geneve_and_ipip(name: str) -> Case:
    kind, item = test_tunnels.KINDS[name]
    return Case(kind, item, test_tunnels.params(name, 2, 3), test_tunnels.params(name, 3, 4))


CASES = [
    Case(bridge.KIND, "podnet0", BRIDGE, {**BRIDGE, "mtu": 1400, "addresses": ["10.244.9.1/24"]}),
    Case(ipam_pool.KIND, "node", POOLS, {"pools": POOLS["pools"][1:]}),
    Case(ipam_block.KIND, "node", BLOCKS, {"blocks": ["10.244.1.0/24", "10.244.7.0/24"]}),
    Case(route.KIND, "peers", ROUTES, {"routes": [*ROUTES["routes"][2:], {**ROUTES["routes"][0], "via": "192.0.2.9"}]}),
    Case(sysctl.KIND, "node", SETTINGS, {"settings": {"net.ipv4.ip_forward": 1, "net.ipv4.conf.all.rp_filter": 2}}),
    Case(tunnel_filter.KIND, "vxlan", TUNNEL, {**TUNNEL, "port": 4790, "peers": ["192.0.2.3", "192.0.2.4"]}),
    Case(vxlan.KIND, "podnet-vx", test_vxlan.params(2, 3), test_vxlan.params(3, 4, vni=85)),
    Case(host_gw.KIND, "host_gw", direct(2, 3), direct(3, 4)),
    Case(cni_network.KIND, "podnet", NETWORK, {**NETWORK, "mtu": 1400}),
]
PARAMETERS = [
    *(pytest.param(case, id=case.kind.name) for case in CASES),
    pytest.param(geneve_and_ipip("geneve"), id="geneve", marks=needs_link_kind("geneve")),
    pytest.param(geneve_and_ipip("ipip"), id="ipip", marks=[needs_link_kind("ipip"), needs_link_kind("ip6tnl")]),
    pytest.param(
        Case(
            wireguard.KIND,
            test_wireguard.DEVICE,
            test_wireguard.params(2, 3),
            test_wireguard.params(3, 4, port=51821),
        ),
        id="wireguard",
        marks=needs_link_kind("wireguard"),
    ),
]
FOREIGN = "table inet foreign {\nchain c {\ntype filter hook input priority 0\n}\n}\n"
OF_A_FAMILY = "neigh show nud permanent\nroute show table all\nrule\n"
SHOWN = {"-4": f"link\naddress\nnexthop\n{OF_A_FAMILY}", "-6": f"address\n{OF_A_FAMILY}"}


def picture(node: Node, folder: Path, facilities: set[str]) -> list[str]:
    """Links, addresses, routes ..., packet filter and files, a line each, by few processes: it is drawn often."""
    lines = [node.namespace.run("nft", "list", "ruleset")] if "nftables" in facilities else []
    texts = [
        node.namespace.run("ip", family, "-details", "-json", "-batch", "-", stdin=commands)
        for family, commands in SHOWN.items()
    ]
    if "fdb" in facilities:
        texts.append(node.namespace.run("bridge", "-json", "fdb", "show"))
    hidden = VOLATILE | {"id", "nhid"}
    for text in texts:
        position, decoder = 0, json.JSONDecoder()
        while position < len(text):
            entries, position = decoder.raw_decode(text, position)
            lines += [json.dumps(_without(hidden, entry), sort_keys=True) for entry in entries if entry]
            while text[position : position + 1].isspace():
                position += 1
    lines += [
        f"{path} {path.read_text(encoding='utf-8') if path.is_file() and path.suffix != '.key' else ''}"
        for path in sorted(folder.rglob("*"))
    ]
    return sorted(lines)


def outcome(faults: Faults, run: Callable[[], Any]) -> str:
    """The message of a run that failed, as modules tell it; empty when it came to its end all the same."""
    try:
        run()
    except PodnetError as error:
        return str(error)
    except OSError as error:
        return in_words(error)
    except Exception as error:
        raise AssertionError(f"{faults.injected}: a traceback: {type(error).__name__}: {error}") from error
    return ""


def clear_away_empty_directories(folder: Path) -> None:
    """That is all that a directory which cannot be removed may leave."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def clear(message: str, faults: Faults) -> None:
    """Says what was done to what, and why it failed, and nothing in Python's words."""
    assert faults.reason in message, f"{faults.injected}: {message}"
    for word in ("Errno", "Error(", "Traceback", "NetlinkError", "None"):
        assert word not in message, f"{faults.injected}: {message}"
    for line in message.splitlines():
        assert ": " in line, f"{faults.injected}: {message}"
    assert len(message) < 4000


@pytest.mark.parametrize("case", PARAMETERS)
def test_a_run_with_a_fault_at_any_operation_is_completed_by_the_next(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: Case
) -> None:
    monkeypatch.setattr(wireguard_keys, "DIRECTORY", tmp_path / "podnet" / "wireguard")
    kind, item, first, second = case
    if kind is cni_network.KIND:
        first, second = ({**wanted, "conf_dir": str(tmp_path / "cni" / "net.d")} for wanted in (first, second))
    node.namespace.run("nft", "-f", "-", stdin=FOREIGN)
    facilities = {facility.name for facility in kind.facilities}
    nothing = picture(node, tmp_path, {"nftables", "fdb"})

    def apply() -> Any:
        return node.declare(kind, item, first)

    def change() -> Any:
        return node.declare(kind, item, second)

    def remove() -> Any:
        return node.withdraw(kind, item)

    seen = 0
    for start, run in ((remove, apply), (apply, change), (change, remove)):
        start()
        run()
        time.sleep(0.1)
        wanted = picture(node, tmp_path, facilities)
        for at in positions():
            start()
            with inject(at, at + seen, [str(tmp_path), "/proc/sys"]) as faults:
                message = outcome(faults, run)
            if not faults.injected:
                assert message == ""
                break
            story = f"{run.__name__}, {faults.injected}: {message}"
            if message:
                clear(message, faults)
                run()
            elif faults.injected.startswith("rmdir"):
                clear_away_empty_directories(tmp_path)
            shown = picture(node, tmp_path, facilities)
            limit = time.monotonic() + 2
            while shown != wanted and time.monotonic() < limit:  # an IPv6 address gets its route a little later
                shown = picture(node, tmp_path, facilities)
            assert shown == wanted, story
            assert not run().changed, story
        seen += at
    assert seen > 20
    # What was there before is in each of these pictures: nobody could put it back.
    assert picture(node, tmp_path, {"nftables", "fdb"}) == nothing
