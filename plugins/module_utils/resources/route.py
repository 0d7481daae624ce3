# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes through gateways, in named groups: host-gateway routes and whatever else an operator wants kept."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.netlink_objects import (
    NEXTHOPS,
    ROUTES,
    RT_TABLE_MAIN,
)
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Target
from ansible_collections.podnet.fabric.plugins.module_utils.resources.charge import route_via, share_of
from ansible_collections.podnet.fabric.plugins.module_utils.resources.routing import (
    NO_NEXTHOP_OBJECTS,
    desire,
    foreign_in_the_way,
    metric,
    observe,
)

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Items
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host

FIELDS = ("dst", "via", "dev", "onlink", "metric", "table")


class RouteKind:
    """See the module's documentation for the parameters."""

    name = "route"
    rank = 50
    facilities = (NEXTHOPS, ROUTES)

    def normalise(
        self, name: str, params: Mapping[str, Any], former: dict[str, Any] | None, host: Host
    ) -> dict[str, Any]:
        inspection = Inspection()
        routes: list[dict[str, Any]] = []
        seen: dict[Hashable, str] = {}
        given = params["routes"]
        if not isinstance(given, list):
            inspection.refuse("routes", type(given).__name__, "give a list of routes")
            given = []
        for position, route in enumerate(given):
            path = f"routes[{position}]"
            normal = _normal(inspection, path, route, host)
            if normal:
                key = (normal["dst"], normal["metric"], normal["table"])
                if seen.setdefault(key, path) != path:
                    inspection.refuse(path, str(normal["dst"]), f"the same dst, metric and table as {seen[key]}")
                routes.append(normal)
        inspection.conclude()
        return {"routes": routes, "nexthop_objects": params.get("nexthop_objects") or "auto"}

    def target(self, items: Items, former: Items, host: Host) -> Target:
        vias = [route_via(route) for item in items.values() for route in item["routes"]]
        tables = {route["table"] for item in [*items.values(), *former.values()] for route in item["routes"]}
        observed = observe(host, {RT_TABLE_MAIN, *tables})
        objects = host.has_nexthop_objects and all(item["nexthop_objects"] != "never" for item in items.values())
        nexthops, routes = desire(vias, observed, objects)
        # What leads through a device of ours is in the charge of that device's kind.
        share = share_of(host, self.name, set(), observed, nexthops, routes)
        notes = [NO_NEXTHOP_OBJECTS] if vias and not host.has_nexthop_objects else []
        return Target(
            {"nexthops": dict(share.nexthops), "routes": dict(share.routes)},
            {"nexthops": dict(nexthops), "routes": dict(routes)},
            foreign_in_the_way(host, share.routes, routes),
            notes,
        )


def _normal(inspection: Inspection, path: str, route: Any, host: Host) -> dict[str, Any] | None:
    if not isinstance(route, Mapping) or any(field not in route for field in ("dst", "via", "dev")):
        inspection.refuse(path, repr(route)[:80], "give a route with dst, via and dev")
        return None
    inspection.unknown(path, route, FIELDS)
    dst = inspection.network(f"{path}.dst", route["dst"])
    via = inspection.ip(f"{path}.via", route["via"])
    if dst and via and len(dst.address) != len(via):
        inspection.refuse(f"{path}.via", str(route["via"]), f"dst {route['dst']} is of the other family")
    if route["dev"] not in host.links:
        found = f"interface {route['dev']} does not exist on this node"
        inspection.refuse(f"{path}.dev", found, f"found are {', '.join(sorted(host.links))}")
    inspection.integer(f"{path}.metric", route.get("metric", 0), 0, 2**32 - 1)
    inspection.integer(f"{path}.table", route.get("table", RT_TABLE_MAIN), 1, 2**32 - 1)
    if not (dst and via):
        return None
    return {
        "dst": route["dst"],
        "via": route["via"],
        "dev": route["dev"],
        "onlink": bool(route.get("onlink", False)),
        "metric": metric(dst.family, route.get("metric", 0)),
        "table": route.get("table", RT_TABLE_MAIN),
    }


KIND = RouteKind()
