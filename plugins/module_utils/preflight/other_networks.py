# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of what another pod network has put, or left, on the node: an error where it collides, a warning elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_network

from ansible_collections.podnet.fabric.plugins.module_utils.preflight.seen import Finding, Seen, Wanted
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.underlay import Choice

# Devices that several networks make, so that they do not tell by which one.
_SHARED = {"a CNI bridge": re.compile(r"cni\d+|cni-podman\d+"), "kube-proxy": re.compile(r"kube-ipvs0")}

_WITHOUT = "for t in iptables ip6tables; do $t-save | grep -v {} | $t-restore; done"
# How to take off what a network leaves behind. Both keep their chains, and Calico its routes, when their pods are gone.
_CURES = {
    "flannel": (
        "ip link del flannel.1; ip link del cni0; rm -rf /run/flannel /etc/cni/net.d/10-flannel.conflist; "
        + _WITHOUT.format("FLANNEL-")
    ),
    "Calico": (
        "ip route flush proto 80; ip -6 route flush proto 80; ip link del vxlan.calico; ip address flush dev tunl0; "
        "ip link del each cali* device; "
        + _WITHOUT.format("cali")
        + "; ipset list -n | grep ^cali | xargs -rn 1 ipset destroy; rm -f /etc/cni/net.d/10-calico.conflist"
    ),
}
_SHOWN = 4  # routes in one finding

# linux/rtnetlink.h: what the kernel makes for an address, which is a finding of its own.
_RTPROT_KERNEL = 2


def check_other_networks(seen: Seen, wanted: Wanted, choice: Choice) -> Iterator[Finding]:
    """Devices, chains, files, routes by which another network is known."""
    for network in seen.networks:
        yield Finding(
            "other_networks",
            "warning",
            f"traces of {network.name}: {'; '.join(network.evidence)}",
            "one pod network on a host, or two that know of each other",
            f"when {network.name} is gone from this host: "
            + _CURES.get(network.name, "remove its devices (ip link del NAME), iptables chains and CNI configuration"),
        )
    for owner, pattern in _SHARED.items():
        names = sorted(each.name for each in seen.interfaces if pattern.match(each.name) and not each.ours)
        if names:
            yield Finding(
                "other_networks",
                "warning",
                f"devices of {owner}: {', '.join(names)}",
                "one pod network on a host, or two that know of each other",
                f"when their network is gone from this host: {'; '.join(f'ip link del {name}' for name in names)}",
            )
    first = [name for name in seen.cni.conflists if name < wanted.cni_conf_file]
    if first:
        yield Finding(
            "other_networks",
            "error",
            f"{', '.join(first)} in {wanted.cni_conf_dir}",
            f"{wanted.cni_conf_file} as the first: container runtimes take the first network as the default",
            "; ".join(f"mv {wanted.cni_conf_dir}/{name} {wanted.cni_conf_dir}/99-{name}" for name in first)
            + ", or remove the files of a network that is not used any more",
        )


def check_routes(seen: Seen, wanted: Wanted) -> Iterator[Finding]:
    """No route of somebody else leads into a pool: it would go before ours, or be in their place."""
    ours = {each.name for each in seen.interfaces if each.ours}
    for text in wanted.pools:
        pool = ip_network(text, strict=False)
        inside = [
            route
            for route in seen.routes
            if route.dst.version == pool.version
            and route.dst.subnet_of(pool)  # type: ignore[arg-type]  # of one version by now
            and route.protocol != _RTPROT_KERNEL
            and route.interface not in ours
        ]
        if not inside:
            continue
        six = "-6 " if pool.version == 6 else ""
        shown = [_described(route.dst, route.interface, route.protocol) for route in inside[:_SHOWN]]
        more = f" and {len(inside) - _SHOWN} more" if inside[_SHOWN:] else ""
        yield Finding(
            "pools",
            "error",
            f"routes that podnet.fabric has not made lead into the pool {text}: {', '.join(shown)}{more}",
            "pools of addresses that nothing else uses",
            "; ".join(f"ip {six}route del {route.dst}" for route in inside[:_SHOWN])
            + " when they are left of another network (see who makes them: ip route show proto NUMBER),"
            + " or choose another range in podnet_pools",
        )


def _described(dst: object, interface: str, protocol: int) -> str:
    return f"{dst} {f'dev {interface} ' if interface else ''}proto {protocol}"
