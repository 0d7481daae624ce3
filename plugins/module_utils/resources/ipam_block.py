# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The node's blocks: a blackhole route behind each, so that a packet to an address without a pod does not loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.files import (
    FILES,
    File,
    conflicts,
    missing_directories,
)
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.files import observe as observe_files
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.netlink_objects import (
    ROUTES,
    RT_TABLE_MAIN,
    RTN_UNICAST,
)
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection, declared_network
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.route import Route
from ansible_collections.podnet.fabric.plugins.module_utils.ownership import FILE_HEADER, PROTOCOL
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Target
from ansible_collections.podnet.fabric.plugins.module_utils.resources.routing import foreign_in_the_way, observe

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Items
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host

RTN_BLACKHOLE = 6

METRIC = 65535
"""Behind the connected route of the pod bridge, which takes over while the bridge is there."""

NAMES_FILE = "/etc/iproute2/rt_protos.d/podnet.conf"
"""Makes ``ip route`` print our protocol as a name."""


class IpamBlock:
    """See the module's documentation for the parameters."""

    name = "ipam_block"
    rank = 20
    facilities = (FILES, ROUTES)

    def normalise(
        self, name: str, params: Mapping[str, Any], former: dict[str, Any] | None, host: Host
    ) -> dict[str, Any]:
        inspection = Inspection()
        blocks = params["blocks"] or []
        if not blocks:
            inspection.refuse("blocks", "empty", "give at least one prefix")
        for position, text in enumerate(blocks):
            inspection.network(f"blocks[{position}]", text)
            if text in blocks[:position]:
                inspection.refuse(f"blocks[{position}]", text, f"the same as blocks[{blocks.index(text)}]")
        inspection.conclude()
        made = former["made"] if former else missing_directories(NAMES_FILE)
        return {"blocks": list(blocks), "made": made}

    def target(self, items: Items, former: Items, host: Host) -> Target:
        current = {key: route for key, route in observe(host).routes.items() if route.type != RTN_UNICAST}
        desired: dict[Hashable, Route] = {}
        for item in items.values():
            for text in item["blocks"]:
                route = blackhole(text)
                desired[route[:6]] = route
        made = {name: item["made"] for name, item in {**former, **items}.items()}
        directories: list[str] = next(iter(made.values()), [])
        files = {NAMES_FILE: File(NAMES_FILE, f"{FILE_HEADER}{PROTOCOL} podnet\n", 0o644, tuple(directories))}
        return Target(
            {"files": observe_files({NAMES_FILE: directories}), "routes": dict(current)},
            {"files": dict(files) if items else {}, "routes": dict(desired)},
            conflicts([NAMES_FILE] if items else []) + foreign_in_the_way(host, current, desired),
        )


def blackhole(text: str) -> Route:
    """The route that swallows what nothing more specific takes."""
    family, dst, length = declared_network(text)
    return Route(family, dst, length, 0, METRIC, RT_TABLE_MAIN, PROTOCOL, RTN_BLACKHOLE, 0, "", b"", 0, 0)


KIND = IpamBlock()
