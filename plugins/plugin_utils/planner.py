# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the hosts' variables to the plan; pure, but for the ledger that is handed in."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.plugin_utils import (
    bgp_check,
    crosscheck,
    dataplane_check,
    ledger_growth,
    ledger_nodes,
    ledger_pins,
    node_check,
    policy_check,
    pool_check,
    service_check,
)
from ansible_collections.podnet.fabric.plugins.plugin_utils.allotment import VARIABLE as SERVICES
from ansible_collections.podnet.fabric.plugins.plugin_utils.allotment import Needs, complete
from ansible_collections.podnet.fabric.plugins.plugin_utils.allotment import settle as settle_services
from ansible_collections.podnet.fabric.plugins.plugin_utils.cluster import (
    Documents,
    Draft,
    Network,
    Plan,
    Pool,
    ServiceRange,
)
from ansible_collections.podnet.fabric.plugins.plugin_utils.dataplanes import DATAPLANES
from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger import (
    Entry,
    Ledger,
    Settlement,
    Shortage,
    blocks_by_node,
    reserved_by_pool,
    settle,
    usage_by_pool,
)
from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger_services import time_text
from ansible_collections.podnet.fabric.plugins.plugin_utils.problem import Problem, names
from ansible_collections.podnet.fabric.plugins.plugin_utils.schema import PREFIX, is_secret
from ansible_collections.podnet.fabric.plugins.plugin_utils.settings import Host, settle_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SLICES = "podnet_endpoint_slices"
BLOCK_SIZE = {4: 24, 6: 64}


class Drafted(NamedTuple):
    """The draft, None when there are problems; warnings do not stop it."""

    draft: Draft | None
    cluster: dict[str, Any]  # the cluster-wide variables that are valid, by full name
    problems: list[Problem]
    warnings: list[str]


def draft(hosts: Sequence[Host]) -> Drafted:
    """Check the inventory, whole, and draw the plan up to the blocks."""
    if not hosts:
        cure = "add hosts to the inventory's group podnet, or to the inventory when it has no such group"
        return Drafted(None, {}, [Problem("group podnet", "no hosts", "one node or more", cure)], [])
    settings = settle_settings(hosts)
    cluster = settings.cluster
    problems = list(settings.problems)
    nodes, node_problems = node_check.read_nodes(hosts, settings.node)
    pools = _pools(settings.stated["podnet_pools"], hosts)
    services = _services(settings.stated["podnet_service_cidrs"])
    problems += node_problems
    wants = _of_nodes(settings.node, "podnet_blocks")
    pool_problems = crosscheck.pool_problems(pools)
    if "podnet_pools" in cluster and not pool_problems:
        pool_problems = pool_check.reservation_problems(pools)
        pool_problems += pool_check.selector_problems(cluster["podnet_pools"], pools, hosts)
    if "podnet_pools" in cluster and not pool_problems:
        pool_problems = crosscheck.capacity_problems(pools, len(hosts), sum(wants.values()))
    pins = ledger_pins.read(_of_nodes(settings.node, "podnet_node_blocks"))
    if "podnet_pools" in cluster and not pool_problems:
        pool_problems = ledger_pins.problems(pins, pools)
    problems += pool_problems
    problems += crosscheck.range_problems(pools, services, nodes)
    problems += crosscheck.outside_problems(cluster.get("podnet_verify_outside", []), pools)
    problems += crosscheck.device_problems(cluster, nodes)
    problems += dataplane_check.problems(cluster, nodes, pools)
    problems += policy_check.problems(cluster, settings.node)
    problems += service_check.problems(cluster, services)
    speakers = bgp_check.speakers(cluster, settings.node)
    problems += bgp_check.problems(cluster, speakers, nodes, pools)
    problems += node_check.identity_problems(str(cluster.get("podnet_cluster", "")), nodes)
    families = {pool.family for pool in pools}
    dataplane = DATAPLANES[cluster.get("podnet_dataplane", "vxlan")]
    overhead = dataplane.overhead(nodes[0].underlay.address.version if nodes else 4, families)
    mtu, mtu_problems, warnings = node_check.choose_mtu(
        cluster.get("podnet_mtu", "auto"), dataplane.name, overhead, nodes, 6 in families
    )
    problems += mtu_problems
    if problems:
        return Drafted(None, cluster, problems, warnings)
    short = {name.removeprefix(PREFIX): value for name, value in cluster.items() if not is_secret(name)}
    short["pools"] = [{key: pool.as_dict()[key] for key in pool.as_dict() if key != "family"} for pool in pools]
    for each in (SERVICES, SLICES):
        del short[each.removeprefix(PREFIX)]  # there may be many: they travel as text (cluster.Plan)
    documents = Documents(tuple(cluster[SERVICES]), tuple(cluster[SLICES]), services)
    growth = _of_nodes(settings.node, "podnet_growth")
    reports = {host.name: ledger_growth.read(host.facts, growth[host.name]) for host in hosts}
    ends = {
        "labels": _of_nodes(settings.node, "podnet_node_labels"),
        "host_interfaces": _of_nodes(settings.node, "podnet_host_interfaces"),
    }
    base = (short["cluster"], short, pools, tuple(nodes), mtu, overhead)
    drawn = Draft(*base, speakers, wants, pins, reports, documents, ends)
    return Drafted(drawn, cluster, [], warnings)


def place(drawn: Draft, ledger: Ledger, now: int) -> Settlement:
    """Return the ledger with the blocks of each family for every node."""
    nodes = [node.name for node in drawn.nodes]
    grown = ledger_growth.more(ledger, drawn.reports)
    return settle(ledger, nodes, drawn.pools, now, drawn.settings["block_rest"], drawn.wants, grown, dict(drawn.pins))


def _of_nodes(settled: Mapping[str, Mapping[str, Any]], variable: str) -> dict[str, Any]:
    """Return a variable of the nodes that have a valid value of it."""
    return {name: values[variable] for name, values in settled.items() if variable in values}


def place_services(drawn: Draft, ledger: Ledger, now: int) -> tuple[Ledger, list[Problem]]:
    """Return the ledger with cluster addresses and node ports for every service, and why there are none for some."""
    needs = Needs(drawn.documents.ranges, service_check.node_ports(drawn.settings["service_node_ports"]))
    documents, rest = drawn.documents.services, drawn.settings["block_rest"]
    services, problems = settle_services(ledger.services, documents, needs, now, rest)
    return replace(ledger, services=services), problems


def finish(drawn: Draft, ledger: Ledger, now: int) -> Plan:
    """Return the plan with the blocks that the settled ledger gives."""
    rest = drawn.settings["block_rest"]
    usage, reserved = usage_by_pool(ledger, now, rest), reserved_by_pool(ledger, drawn.pools, now, rest)
    services = complete(drawn.documents.services, ledger.services)
    return Plan(drawn, blocks_by_node(ledger), usage, ledger_nodes.identities(ledger), reserved, tuple(services))


def placement_problems(settlement: Settlement, ledger_name: str, rest: int) -> list[Problem]:
    """Return why blocks could not be given: pools changed under owned blocks, nothing free, or another node's.

    :param rest: seconds for which blocks rest
    """
    strays: dict[str, list[Entry]] = {}
    for entry in settlement.strays:
        strays.setdefault(entry.pool, []).append(entry)
    return [
        *(_stray(pool, found, ledger_name) for pool, found in strays.items()),
        *(_short(shortage) for shortage in settlement.shortages),
        *ledger_pins.taken_problems(settlement.taken, lambda released: time_text(released + rest)),
    ]


def _pools(values: Any, hosts: Sequence[Host]) -> tuple[Pool, ...]:
    """Return the pools, without those that the schema has refused."""
    pools = []
    for position, value in enumerate(values if isinstance(values, list) else ()):
        if not isinstance(value, dict):
            continue
        network = _network(value.get("cidr"))
        if network is not None:
            size = value.get("block_size", max(BLOCK_SIZE[network.version], network.prefixlen))
            if isinstance(size, int) and isinstance(value.get("name"), str):
                reserved = [part for text in value["reserved"] if (part := _network(text)) is not None]
                nodes = pool_check.chosen(value["nodes"], hosts)
                nat = value["nat_outgoing"] is True
                pools.append(Pool(value["name"], network, size, nat, position, tuple(reserved), nodes))
    return tuple(pools)


def _services(values: Any) -> tuple[ServiceRange, ...]:
    networks = [_network(value) for value in (values if isinstance(values, list) else ())]
    return tuple(ServiceRange(network, position) for position, network in enumerate(networks) if network is not None)


def _network(text: Any) -> Network | None:
    try:
        return ipaddress.ip_network(text) if isinstance(text, str) and "/" in text else None
    except ValueError:
        return None


def _stray(pool: str, entries: Sequence[Entry], ledger_name: str) -> Problem:
    owned = names([f"{entry.network} of {entry.node}" for entry in entries])
    found = f"no pool '{pool}' that the owned blocks fit which {ledger_name} has: {owned}"
    wanted = "each owned block inside its pool, with the pool's block_size"
    cure = (
        "put the pool back as it was and add a new one beside it; to move a block, take its node out of the inventory, "
        "tear it down, and add it again"
    )
    return Problem("podnet_pools", found, wanted, cure)


def _short(shortage: Shortage) -> Problem:
    usage = f"{shortage.held} owned, {shortage.resting} resting"
    if shortage.rested is not None:
        usage += f", the first until {time_text(shortage.rested)}"
    found = f"no free IPv{shortage.family} block for {names(shortage.nodes)} ({usage})"
    cure = f"add an IPv{shortage.family} pool"
    if shortage.resting:
        cure += ", or set podnet_block_rest to fewer seconds if nothing uses the resting blocks' addresses any more"
    return Problem("podnet_pools", found, "a free one for each of them", cure)
