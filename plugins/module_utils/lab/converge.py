# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings the lab of this machine to what a topology asks for, or takes nodes of it away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.errors import ApplyError, Conflict, VerificationError
from ansible_collections.podnet.fabric.plugins.module_utils.lab import cgroup, life, registry, wiring
from ansible_collections.podnet.fabric.plugins.module_utils.lab.hostname import read_hostname, write_hostname

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from ansible_collections.podnet.fabric.plugins.module_utils.lab.registry import Record
    from ansible_collections.podnet.fabric.plugins.module_utils.lab.topology import Interface, Link, Node, Topology

# Node name -> facts of it, as the operator reads them in a diff.
State = dict[str, dict[str, Any]]


class Outcome(NamedTuple):
    """What one call did, or in check mode would do."""

    changed: bool
    before: State
    after: State
    processes: Mapping[str, int]


def living(run_dir: Path) -> dict[str, Record]:
    """Give the nodes that were made to the end and still run."""
    records = (registry.read(run_dir, name) for name in registry.names(run_dir))
    return {record.name: record for record in records if record and record.ready and registry.is_alive(record)}


def _interfaces(topology: Topology) -> dict[str, list[Interface]]:
    result: dict[str, list[Interface]] = {}
    for bridge in topology.bridges:
        result.setdefault(bridge.node, []).append(bridge.interface)
    for link in topology.links:
        result.setdefault(link.node, []).append(link.interface)
        result.setdefault(link.peer_node, []).append(link.peer)
    return result


def _described(alias: str, addresses: Sequence[str], mtu: Any, master: str, up: bool) -> dict[str, Any]:
    described: dict[str, Any] = {"end": alias.partition(":")[2], "addresses": list(addresses), "up": up}
    if mtu is not None:
        described["mtu"] = mtu
    if master:
        described["bridge"] = master
    return described


def wanted(topology: Topology) -> State:
    """Say what the lab will be."""
    state: State = {}
    nodes = {node.name: node for node in topology.nodes}
    interfaces = _interfaces(topology)
    for name in sorted({*nodes, *interfaces}):
        state[name] = {
            "interfaces": {
                i.name: _described(i.alias, i.addresses, i.mtu, i.master, True) for i in interfaces.get(name, ())
            }
        }
        if name in nodes:
            node = nodes[name]
            state[name]["hostname"] = node.hostname
            state[name]["sysctl"] = dict(node.sysctl)
            state[name]["routes"] = [f"{route.to} via {route.via}" for route in node.routes]
    return state


def found(topology: Topology, records: Mapping[str, Record]) -> State:
    """Say what the lab is, as far as the topology speaks of it."""
    state: State = {}
    nodes = {node.name: node for node in topology.nodes}
    interfaces = _interfaces(topology)
    for name in sorted({*nodes, *interfaces} & set(records)):
        pid = records[name].pid
        network = wiring.observe(pid)
        state[name] = {"interfaces": {}}
        for interface in interfaces.get(name, ()):
            device = network.devices.get(interface.name)
            if device is not None:
                state[name]["interfaces"][device.name] = _described(
                    device.alias,
                    device.addresses,
                    device.mtu if interface.mtu is not None else None,
                    device.master,
                    device.up,
                )
        if name in nodes:
            node = nodes[name]
            read = {key: wiring.read_sysctl(pid, key) for key, _value in node.sysctl}
            state[name]["hostname"] = read_hostname(pid)
            state[name]["sysctl"] = {key: value for key, value in read.items() if value is not None}
            state[name]["routes"] = [f"{r.to} via {r.via}" for r in node.routes if r in network.routes]
    return state


def _refuse_foreign(nodes: Iterable[Node], records: Mapping[str, Record]) -> None:
    conflicts = [
        f"{registry.NETNS_DIR}/{node.name} is a network namespace that this lab did not make: "
        f"remove it (ip netns delete {node.name}) or give the lab a name prefix (lab_prefix)"
        for node in nodes
        if node.name not in records and registry.is_foreign(node.name)
    ]
    if conflicts:
        raise Conflict(conflicts)


def _make_nodes(topology: Topology, records: dict[str, Record], run_dir: Path) -> None:
    for node in topology.nodes:
        if node.name not in records:
            life.unmake(run_dir, node.name)
            records[node.name] = life.make(run_dir, node.name, node.hostname)
            wiring.batch(records[node.name].pid, ["link set dev lo up"])
        record = records[node.name]
        if not registry.is_published(record):
            registry.publish(record)
        if read_hostname(record.pid) != node.hostname:
            write_hostname(record.pid, node.hostname)


def _lay_cable(link: Link, records: Mapping[str, Record]) -> None:
    """Make a cable anew when either end is missing or leads elsewhere."""
    ends = ((link.node, link.interface), (link.peer_node, link.peer))
    devices = [wiring.observe(records[node].pid).devices.get(interface.name) for node, interface in ends]
    if all(device and device.alias == interface.alias for device, (_node, interface) in zip(devices, ends)):
        return
    foreign = [
        f"{node} has an interface {device.name} ({device.kind or 'physical'}) that this lab did not make: rename it"
        for device, (node, _interface) in zip(devices, ends)
        if device and not device.alias.startswith("podnet-lab:") and device.kind != "veth"
    ]
    if foreign:
        raise Conflict(foreign)
    for node, interface in ends:
        # Read again: with the first end its other end, perhaps the second, has gone.
        if interface.name in wiring.observe(records[node].pid).devices:
            wiring.remove_device(records[node].pid, interface.name)
    wiring.make_cable(
        records[link.node].pid, link.node, link.interface, records[link.peer_node].pid, link.peer_node, link.peer
    )


def _wire(topology: Topology, records: Mapping[str, Record]) -> None:
    for bridge in topology.bridges:
        device = wiring.observe(records[bridge.node].pid).devices.get(bridge.interface.name)
        if device is None:
            wiring.make_bridge(records[bridge.node].pid, bridge.node, bridge.interface)
        elif device.kind != "bridge":
            raise Conflict([f"{bridge.node} has a {device.kind} {device.name} where a bridge belongs: remove it"])
    for link in topology.links:
        _lay_cable(link, records)

    failures = []
    nodes = {node.name: node for node in topology.nodes}
    interfaces = _interfaces(topology)
    # Interfaces of all nodes before routes of any: a gateway answers only once it has its address.
    for name, pid in ((name, record.pid) for name, record in records.items() if name in interfaces):
        devices = wiring.observe(pid).devices
        lines = [line for i in interfaces[name] for line in wiring.settle_device(i, devices[i.name])]
        failures += [f"node {name}: {words}" for words in wiring.batch(pid, lines)]
    for name, node in nodes.items():
        pid = records[name].pid
        for key, value in node.sysctl:
            if wiring.read_sysctl(pid, key) != value:
                wiring.write_sysctl(pid, key, value)
        lines = wiring.settle_routes(node.routes, wiring.observe(pid).routes)
        failures += [f"node {name}: {words}" for words in wiring.batch(pid, lines)]
    if failures:
        raise ApplyError(failures)


def present(topology: Topology, run_dir: Path, *, check: bool) -> Outcome:
    """Make what is missing of a lab and mend what differs.

    :raises Conflict: something foreign has a name of ours
    :raises ApplyError: the kernel refused
    :raises VerificationError: what was made is not what was asked for
    """
    records = living(run_dir)
    _refuse_foreign(topology.nodes, records)
    before, after = found(topology, records), wanted(topology)
    unpublished = [name for name, record in records.items() if name in after and not registry.is_published(record)]
    changed = before != after or bool(unpublished)
    if changed and not check:
        _make_nodes(topology, records, run_dir)
        _wire(topology, records)
        real = found(topology, records)
        wrong = [
            f"{name}: wanted {after[name]}, found {real.get(name)}" for name in after if real.get(name) != after[name]
        ]
        if wrong:
            raise VerificationError(wrong)
    return Outcome(changed, before, after, {name: record.pid for name, record in records.items() if name in after})


def absent(names: Sequence[str], run_dir: Path, *, check: bool) -> Outcome:
    """Remove nodes with all that lives in them."""
    recorded = set(registry.names(run_dir))
    before: State = {}
    for name in sorted(set(names) & recorded):
        record = registry.read(run_dir, name)
        before[name] = {"pid": record.pid if record and registry.is_alive(record) else None}
    if not check:
        for name in before:
            _pull_cables(registry.read(run_dir, name))
            life.unmake(run_dir, name)
        for name in names:
            # Of a node whose maker was killed before it had written a record.
            cgroup.remove(name)
    return Outcome(bool(before), before, {}, {})


def _pull_cables(record: Any) -> None:
    """Delete the cables now: the kernel clears a dead namespace later, and until then the far ends hold their names."""
    if record is None or not record.ready or not registry.is_alive(record):
        return
    for device in wiring.observe(record.pid).devices.values():
        if device.kind == "veth" and device.alias.startswith("podnet-lab:"):
            wiring.remove_device(record.pid, device.name)
