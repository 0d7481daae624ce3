# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recognises the pod networks of others by what they leave on a node.

The names are those in the sources of each: flannel pkg/backend, Calico felix/rules and confd, Cilium pkg/defaults,
kube-router pkg/controllers, Weave net/bridge.go, Antrea pkg/agent/config, OVN-Kubernetes go-controller/pkg/types.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.evidence.traces import Device, Traces

DEVICES = {
    "Cilium": re.compile(r"cilium_|lxc[0-9a-f]{8,}|lxc_health"),
    "Calico": re.compile(r"cali[0-9a-f]{9,}|vxlan(-v6)?\.calico|wireguard\.cali|wg-v6\.cali|bpfin\.cali|bpfout\.cali"),
    "flannel": re.compile(r"flannel[.-]"),
    "kube-router": re.compile(r"kube-bridge|kube-dummy-if"),
    "Weave": re.compile(r"weave|vxlan-6784|vethwe-"),
    "Antrea": re.compile(r"antrea-"),
    "OVN-Kubernetes": re.compile(r"ovn-k8s-mp\d|ovn-k8s-gw\d"),
}
"""Devices by which another pod network is known (re.match)."""

_CHAINS = {
    "Calico": re.compile(r"cali-"),
    "Cilium": re.compile(r"CILIUM_"),
    "flannel": re.compile(r"FLANNEL-"),
    "kube-router": re.compile(r"KUBE-ROUTER-|KUBE-POD-FW-|KUBE-NWPLCY-"),
    "Weave": re.compile(r"WEAVE"),
    "Antrea": re.compile(r"ANTREA-"),
}
_PLUGINS = {
    "flannel": "flannel",
    "calico": "Calico",
    "cilium-cni": "Cilium",
    "weave-net": "Weave",
    "antrea": "Antrea",
    "ovn-k8s-cni-overlay": "OVN-Kubernetes",
}
_FILES = {
    "run/flannel/subnet.env": "flannel",
    "var/run/calico": "Calico",
    "var/lib/calico/nodename": "Calico",
    "run/cilium": "Cilium",
    "run/antrea": "Antrea",
}
_PINS = {"Cilium": re.compile(r"(tc/globals/)?cilium_|cilium/"), "Calico": re.compile(r"tc/globals/cali_|calico/")}
_PROGRAMS = {"Cilium": re.compile(r"cil_"), "Calico": re.compile(r"cali_|calico_")}
_PROTOCOLS = {80: "Calico", 17: "kube-router"}
_SHOWN = 4  # names in one piece of evidence


class Network(NamedTuple):
    """A pod network that is not ours."""

    name: str
    evidence: tuple[str, ...]
    dataplane: str | None  # "vxlan", "ipip", "wireguard", "geneve", "host-gw", "bgp", ...; None when it does not show


def recognise(traces: Traces) -> list[Network]:
    """The pod networks that have left traces, by name."""
    evidence: dict[str, list[str]] = {}
    for name, text in _pieces(traces):
        evidence.setdefault(name, []).append(text)
    return [Network(name, tuple(texts), _dataplane(name, traces)) for name, texts in sorted(evidence.items())]


def owner(dev: str, protocol: int, networks: Sequence[Network]) -> str:
    """Whose way leads through a device, or has this protocol on its route; empty when that does not tell."""
    for name, pattern in DEVICES.items():
        if pattern.match(dev):
            return name
    if protocol in _PROTOCOLS:
        return _PROTOCOLS[protocol]
    # Calico's routes come by its own BIRD where it does not run with routes of Felix's; its devices tell.
    names = [network.name for network in networks]
    if (protocol == 12 or dev == "tunl0") and "Calico" in names:
        return "Calico"
    return "flannel" if dev == "cni0" and "flannel" in names else ""


def _pieces(traces: Traces) -> Iterator[tuple[str, str]]:
    """Names of networks, each with a piece of evidence."""
    yield from _devices(traces)
    for protocol, name in _PROTOCOLS.items():
        through = sorted(dev for number, dev in traces.routes if number == protocol)
        yield from _told(name, f"routes of protocol {protocol} through", [dev for dev in through if dev])
    for conflist in traces.conflists:
        for kind in conflist.types:
            if kind in _PLUGINS:
                yield _PLUGINS[kind], f"CNI plugin {kind} in /etc/cni/net.d/{conflist.file}"
    for file in sorted(traces.files):
        if file in _FILES:
            yield _FILES[file], f"/{file}"
    chains = {chain.name: f"{chain.name} ({chain.flavour})" for chain in traces.chains}
    pins = {pin: f"/sys/fs/bpf/{pin}" for pin in traces.pins}
    programs = {program: f"{program} on {dev}" for dev, program in traces.programs}
    for what, patterns, texts in (
        ("chain", _CHAINS, chains),
        ("BPF pin", _PINS, pins),
        ("BPF program", _PROGRAMS, programs),
    ):
        for name, pattern in patterns.items():
            yield from _told(name, what, [texts[key] for key in sorted(texts) if pattern.match(key)])


def _devices(traces: Traces) -> Iterator[tuple[str, str]]:
    for name, pattern in DEVICES.items():
        yield from _told(
            name, "device", [_described(device) for device in traces.devices if pattern.match(device.name)]
        )
    if any(device.name == "cni0" for device in traces.devices) and _has_flannel(traces):
        yield "flannel", "bridge cni0"
    by_calico = any((protocol, "tunl0") in traces.routes for protocol in (80, 12))
    for device in traces.devices:
        # Every namespace has a tunl0 where the module is loaded; Calico's has an address, and its routes lead there.
        if device.name == "tunl0" and device.addresses and by_calico:
            yield "Calico", f"device tunl0 with {', '.join(device.addresses)}"


def _told(name: str, what: str, found: Sequence[str]) -> Iterator[tuple[str, str]]:
    if found:
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        yield name, f"{what} {', '.join(found[:_SHOWN])}{more}"


def _described(device: Device) -> str:
    facts = [device.kind] if device.kind else []
    facts += [f"VNI {device.vni}"] if device.vni is not None else []
    facts += [f"port {device.port}"] if device.port is not None else []
    return f"{device.name} ({', '.join(facts)})" if facts else device.name


def _has_flannel(traces: Traces) -> bool:
    plugins = {kind for conflist in traces.conflists for kind in conflist.types}
    links = any(DEVICES["flannel"].match(device.name) for device in traces.devices)
    return "flannel" in plugins or "run/flannel/subnet.env" in traces.files or links


def _dataplane(name: str, traces: Traces) -> str | None:
    """How it carries packets between nodes, as far as its devices and routes show."""
    pattern = DEVICES.get(name)
    kinds = {device.kind for device in traces.devices if pattern and pattern.match(device.name)}
    for kind in ("wireguard", "vxlan", "geneve", "ipip"):
        if kind in kinds:
            return kind
    if name == "Calico":
        through = {dev for protocol, dev in traces.routes if protocol in (80, 12)}
        physical = through - {device.name for device in traces.devices if DEVICES["Calico"].match(device.name)}
        return "ipip" if "tunl0" in through else "bgp" if any(physical) else None
    if name == "flannel" and "run/flannel/subnet.env" in traces.files:
        return "host-gw"  # the only backend that makes no device (flannel pkg/backend/hostgw)
    if name == "kube-router":
        tunnels = [device for device in traces.devices if device.name.startswith("tun-") and device.kind == "ipip"]
        return "ipip" if tunnels else "bgp" if any(protocol == 17 for protocol, _dev in traces.routes) else None
    return None
