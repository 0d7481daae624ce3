# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each dataplane takes from the underlay's MTU, and that schema and table speak of the same dataplanes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.overhead import BYTES, overhead
from ansible_collections.podnet.fabric.plugins.plugin_utils import dataplanes, planning, schema

FOUR, SIX, BOTH = [4], [6], [4, 6]


@pytest.mark.parametrize(
    ("dataplane", "underlay", "pods", "taken"),
    [
        ("vxlan", 4, BOTH, 50),
        ("vxlan", 6, BOTH, 70),
        ("geneve", 4, SIX, 50),
        ("geneve", 6, FOUR, 70),
        ("wireguard", 4, BOTH, 60),
        ("wireguard", 6, BOTH, 80),
        # The outer packets are of the pods' family, whichever the first address of the node is.
        ("ipip", 4, FOUR, 20),
        ("ipip", 6, FOUR, 20),
        ("ipip", 4, SIX, 40),
        ("ipip", 4, BOTH, 40),
        ("host_gw", 4, BOTH, 0),
        ("bgp", 6, BOTH, 0),
    ],
)
def test_the_overhead(dataplane: str, underlay: int, pods: list[int], taken: int) -> None:
    assert overhead(dataplane, underlay, pods) == taken


@pytest.mark.parametrize("dataplane", dataplanes.DATAPLANES)
@pytest.mark.parametrize("encapsulation", ["always", "cross_subnet"])
def test_the_mtu_leaves_room_for_the_tunnel_even_where_it_is_not_always_taken(
    tmp_path: Path, host: Any, dataplane: str, encapsulation: str
) -> None:
    told = {
        "interface": "eth0",
        "address": "192.0.2.11",
        "prefixlen": 24,
        "mtu": 1500,
        "second": {"address": "2001:db8::11", "prefixlen": 64},
    }
    settings = {"dataplane": dataplane, "encapsulation": encapsulation}
    plan = planning.run([host("node1", "192.0.2.11", told, **settings)], [], str(tmp_path), allocate=False).plan
    if plan is None:
        assert encapsulation == "cross_subnet"
        assert not dataplanes.DATAPLANES[dataplane].cross_subnet
    else:
        assert plan["overhead"] == overhead(dataplane, 4, BOTH)
        assert plan["mtu"] == 1500 - plan["overhead"]


def test_schema_overheads_and_table_agree() -> None:
    variables = schema.variables()
    names = list(dataplanes.DATAPLANES)
    assert variables["podnet_dataplane"]["enum"] == names
    assert set(names) <= set(schema.load()["x-role-descriptions"])
    assert names == list(BYTES)
    for dataplane in dataplanes.DATAPLANES.values():
        for setting in (*dataplane.devices, dataplane.port, dataplane.vni):
            assert setting is None or dataplane.name in variables[f"podnet_{setting}"]["x-roles"]
