# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which implementation turns a service's address into an endpoint's, by the traces of ours and of others."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf_hooks import PASSING, TRANSLATING
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.iptables_tools import AHEAD

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.plugins.module_utils.evidence.traces import Traces

NONE = "none"
OURS = ("inet", "podnet")
_SERVICE_DEVICES = {"kube-ipvs0": "kube-proxy", "kube-dummy-if": "kube-router"}


class Services(NamedTuple):
    """What handles services. ``also`` lists what others have left beside it."""

    implementation: str  # "iptables", "ipvs", "nftables", "ebpf" or NONE
    evidence: tuple[str, ...]
    also: tuple[str, ...]


def recognise(traces: Traces) -> Services:
    """The implementation with the strongest traces.

    kube-proxy in IPVS mode keeps a chain KUBE-SERVICES too, but no chain per service (KUBE-SVC-); and the kubelet makes
    chains of its own (KUBE-FIREWALL, KUBE-KUBELET-CANARY), which handle no service.
    """
    found = {
        "ipvs": _ipvs(traces),
        "nftables": _nftables(traces),
        "iptables": _iptables(traces),
        "ebpf": _ebpf(traces),
    }
    found = {name: evidence for name, evidence in found.items() if evidence}
    if _our_programs(traces):
        # They come before our maps of nftables, or chains of iptables, to which they leave the rest.
        found = {"ebpf": found.pop("ebpf"), **found}
    if not found:
        return Services(NONE, ("no chain, table, device or BPF map of a service proxy",), ())
    chosen = next(iter(found))
    return Services(
        chosen,
        tuple(found[chosen]),
        tuple(f"{name}: {'; '.join(texts)}" for name, texts in found.items() if name != chosen),
    )


def _ipvs(traces: Traces) -> list[str]:
    texts = [
        f"device {device.name} of {_SERVICE_DEVICES[device.name]} with {len(device.addresses)} addresses"
        for device in traces.devices
        if device.name in _SERVICE_DEVICES
    ]
    if traces.virtual_services:
        texts.append(f"{traces.virtual_services} virtual services in /proc/net/ip_vs")
    return texts


def _nftables(traces: Traces) -> list[str]:
    tables = sorted({(chain.family, chain.table) for chain in traces.chains if chain.table == "kube-proxy"})
    ours = any((chain.family, chain.table) == OURS and chain.name.startswith("service-") for chain in traces.chains)
    texts = [f"nft table {family} {table}" for family, table in tables]
    return [*texts, f"chains service-* of podnet.fabric in nft table {' '.join(OURS)}"] if ours else texts


def _iptables(traces: Traces) -> list[str]:
    nat = [chain for chain in traces.chains if chain.table == "nat" and chain.family in ("ip", "ip6")]
    entries = sorted((chain.flavour, chain.family) for chain in nat if chain.name == "KUBE-SERVICES")
    per_service = sum(chain.name.startswith(("KUBE-SVC-", "KUBE-EXT-")) for chain in nat)
    ours = sorted((chain.flavour, chain.family) for chain in nat if chain.name == f"{AHEAD}LOOKUP")
    found = [f"chains {AHEAD}* of podnet.fabric in {family} nat (iptables-{flavour})" for flavour, family in ours]
    by_ipvs = bool(_ipvs(traces)) and not per_service
    if not entries or by_ipvs:
        return found
    texts = [f"chain KUBE-SERVICES in {family} nat (iptables-{flavour})" for flavour, family in entries]
    return [*texts, *([f"{per_service} chains of services (KUBE-SVC-)"] if per_service else []), *found]


def _ebpf(traces: Traces) -> list[str]:
    maps = ("cilium_lb4_services_v2", "cilium_lb6_services_v2", "cali_v4_nat_fe3", "cali_v6_nat_fe3")
    return _our_programs(traces) + [
        f"BPF map /sys/fs/bpf/{pin}" for pin in sorted(traces.pins) if pin.rpartition("/")[2] in maps
    ]


def _our_programs(traces: Traces) -> list[str]:
    texts = {TRANSLATING: "", PASSING: ", which send what goes between pods past the host"}
    found = []
    for program, what in texts.items():
        number = sum(name == program for _device, name in traces.programs)
        found += [f"programs {program} of podnet.fabric at {number} interfaces{what}"] * bool(number)
    if traces.sockets:
        found.append(f"programs {', '.join(traces.sockets)} of podnet.fabric at the node's own sockets")
    return found
