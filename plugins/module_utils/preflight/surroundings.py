# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of what else lives on the node: kernel settings, network daemons, packet filters, other pod networks."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansible_collections.podnet.fabric.plugins.module_utils.evidence.foreign import DEVICES
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.carrier import CARRIERS
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.seen import Finding, Seen, Wanted
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.underlay import Choice, Underlay

# Devices by which another pod network is known.
_LEFTOVERS = {
    **DEVICES,
    "a CNI bridge": re.compile(r"cni\d+|cni-podman\d+"),
    "kube-proxy": re.compile(r"kube-ipvs0"),
}
# A daemon that takes network devices over -> how to keep it from ours.
_MANAGERS = {
    "NetworkManager": ("unmanaged-devices={matches} in section [keyfile] of a file in /etc/NetworkManager/conf.d"),
    "systemd-networkd": (
        "a .network file in /etc/systemd/network with [Match] Name={names} and [Link] Unmanaged=yes, "
        "and ManageForeignRoutes=no, ManageForeignRoutingPolicyRules=no in networkd.conf"
    ),
}
_FIREWALLS = {
    "firewalld": "firewall-cmd --permanent --zone=trusted {added}",
    "ufw": "ufw allow in on {bridge}; ufw route allow in on {bridge}",
}
# What the outer packets are -> what lets them in. The names of IP protocols are those of /etc/protocols.
_LET_IN = {
    "firewalld": {
        "UDP port": "firewall-cmd --permanent --add-port={}/udp",
        "TCP port": "firewall-cmd --permanent --add-port={}/tcp",
        "IP protocol": "firewall-cmd --permanent --add-protocol={}",
    },
    "ufw": {
        "UDP port": "ufw allow {}/udp",
        "TCP port": "ufw allow {}/tcp",
        "IP protocol": "-A ufw-before-input -p {} -j ACCEPT in /etc/ufw/before.rules (ipv6: ufw6-..., before6.rules)",
    },
}
_PROTOCOLS = {4: "ipencap", 41: "ipv6"}


def check_forwarding(seen: Seen, wanted: Wanted, choice: Choice) -> Iterator[Finding]:
    """Forwarding, which the roles switch on; told so that nobody is surprised."""
    names = {4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding"}
    for family in wanted.families:
        if seen.sysctl.get(names[family]) == "0":
            yield Finding(
                "forwarding", "info", f"{names[family]} = 0", "1", "nothing to do: the roles set it, teardown undoes it"
            )


def check_ipv6(seen: Seen, wanted: Wanted, choice: Choice) -> Iterator[Finding]:
    """IPv6 is there when pods or tunnels use it."""
    over_it = isinstance(choice, Underlay) and choice.family == 6
    if 6 not in wanted.families and not over_it:
        return
    if "net.ipv6.conf.all.disable_ipv6" not in seen.sysctl:
        yield Finding(
            "disable_ipv6",
            "error",
            "a kernel without IPv6",
            "IPv6, which podnet_pools has a pool of",
            "boot without ipv6.disable=1, or leave IPv6 pools out of podnet_pools",
        )
        return
    for scope in ("all", "default"):
        name = f"net.ipv6.conf.{scope}.disable_ipv6"
        if seen.sysctl.get(name) == "1":
            yield Finding(
                "disable_ipv6",
                "error",
                f"{name} = 1",
                "0: new devices, pods' too, take it over",
                f"sysctl -w {name}=0 (and where it is set in /etc/sysctl.d), or leave IPv6 pools out of podnet_pools",
            )


def check_accept_ra(seen: Seen, wanted: Wanted, choice: Choice) -> Iterator[Finding]:
    """A host that forwards IPv6 no longer takes its default route from router advertisements."""
    if 6 not in wanted.families:
        return
    for uplink in seen.ra_uplinks:
        name = f"net.ipv6.conf.{uplink}.accept_ra"
        if seen.sysctl.get(name) == "1":
            yield Finding(
                "accept_ra",
                "info",
                f"{name} = 1, and the IPv6 default route comes by router advertisement",
                "2: with forwarding on, the kernel would let that route expire",
                "none needed: the role bridge sets it before it turns forwarding on, and teardown puts it back",
            )


def check_rp_filter(seen: Seen, wanted: Wanted, choice: Choice) -> Iterator[Finding]:
    """Strict reverse path filtering drops what takes another way back; the kernel takes max(all, interface)."""
    if 4 not in wanted.families:
        return
    everywhere = "net.ipv4.conf.all.rp_filter"
    # New devices begin with the default; of several the first one carries IPv4.
    names = {"net.ipv4.conf.default.rp_filter": wanted.devices[0]} if wanted.devices else {}
    if isinstance(choice, Underlay) and choice.family == 4:
        names[f"net.ipv4.conf.{choice.interface.replace('.', '/')}.rp_filter"] = choice.interface
    general = _number(seen.sysctl.get(everywhere))
    strict = {name: device for name, device in names.items() if max(general, _number(seen.sysctl.get(name))) == 1}
    if strict:
        causes = [name for name in (everywhere, *strict) if _number(seen.sysctl.get(name)) == 1]
        yield Finding(
            "rp_filter",
            "warning",
            f"{' and '.join(causes)} = 1, so the filter on {' and '.join(strict.values())} is strict",
            "0 or 2: else a host's own process that talks to another node's pod from the underlay address is dropped",
            f"sysctl -w {' '.join(f'{name}=2' for name in strict)} (loose wins over strict), the same in /etc/sysctl.d",
        )


def check_managers(seen: Seen, wanted: Wanted, choice: Choice) -> Iterator[Finding]:
    """Daemons that configure or delete devices and routes that they have not made."""
    devices = [wanted.bridge_name, *wanted.devices]
    names = [*devices, "veth*"]
    for daemon, cure in _MANAGERS.items():
        if daemon in seen.processes and daemon not in seen.leaves_us_alone:
            yield Finding(
                "managers",
                "warning",
                f"{daemon} runs and is not told to leave our devices alone",
                f"{', '.join(devices)} and the pods' devices unmanaged",
                cure.format(names=" ".join(names), matches=";".join(f"interface-name:{name}" for name in names)),
            )
    outer = _outer(wanted)
    added = " ".join(f"--add-interface={name}" for name in devices)
    for daemon, cure in _FIREWALLS.items():
        if daemon in seen.processes:
            yield Finding(
                "managers",
                "warning",
                f"{daemon} is active",
                " and ".join(["pod traffic", *(f"{sort} {value}" for sort, value in outer)]) + " accepted by it",
                "; ".join(
                    [
                        cure.format(bridge=wanted.bridge_name, added=added),
                        *(_LET_IN[daemon][sort].format(value) for sort, value in outer),
                    ]
                ),
            )


def _outer(wanted: Wanted) -> list[tuple[str, int | str]]:
    """What carries the pods' packets from node to node, as firewalls name it."""
    carrier = CARRIERS[wanted.dataplane]
    found: list[tuple[str, int | str]] = []
    if wanted.port is not None:
        found.append(("UDP port", wanted.port))
    tcp_port = wanted.tcp_port or carrier.tcp_port
    if tcp_port is not None:
        found.append(("TCP port", tcp_port))
    protocols = [carrier.protocols[family] for family in wanted.families if family in carrier.protocols]
    return found + [("IP protocol", _PROTOCOLS[protocol]) for protocol in protocols]


def check_packet_filters(seen: Seen, wanted: Wanted, choice: Choice) -> Iterator[Finding]:
    """Filters that drop forwarded packets: an accept in a table of ours does not overrule them."""
    bridged = any(seen.sysctl.get(f"net.bridge.bridge-nf-call-{tool}") == "1" for tool in ("iptables", "ip6tables"))
    for chain in seen.dropping:
        families = {"ip": [4], "ip6": [6]}.get(chain.table.split()[0], [4, 6])
        pools = [pool for family in families for pool in wanted.pools_of(family)]
        if not pools:
            continue
        example = ""
        if chain.chain == "FORWARD":
            tool = ("iptables" if families == [4] else "ip6tables") + chain.backend.partition("iptables")[2]
            # Docker empties FORWARD's head at every start, but leaves its own user chain alone.
            user = "DOCKER-USER" if "dockerd" in seen.processes else "FORWARD"
            example = f", for example {tool} -I {user} -s {pools[0]} -j ACCEPT"
        yield Finding(
            "packet_filters",
            "warning",
            f"the {chain.backend} chain {chain.table} {chain.chain} drops what no rule accepts"
            + (" (bridged packets too: br_netfilter is on)" if bridged else ""),
            "the pods' packets accepted there",
            f"accept {' and '.join(pools)} there as source and as destination{example}",
        )
    if len(seen.filters) > 1:
        yield Finding(
            "packet_filters",
            "warning",
            "rules in iptables-legacy and in iptables-nft",
            "one flavour: with two, each drops what the other accepts",
            "see both with iptables-legacy-save and iptables-nft-save, and flush the one that is not used",
        )


def check_other_networks(seen: Seen, wanted: Wanted, choice: Choice) -> Iterator[Finding]:
    """What another pod network has put, or left, here."""
    for network, pattern in _LEFTOVERS.items():
        names = sorted(each.name for each in seen.interfaces if pattern.match(each.name) and not each.ours)
        if names:
            yield Finding(
                "other_networks",
                "warning",
                f"devices of {network}: {', '.join(names[:4])}" + (f" and {len(names) - 4} more" if names[4:] else ""),
                "one pod network on a host, or two that know of each other",
                f"when {network} is gone from this host, remove them (ip link del NAME) and its iptables rules",
            )
    first = [name for name in seen.cni.conflists if name < wanted.cni_conf_file]
    if first:
        yield Finding(
            "other_networks",
            "warning",
            f"{', '.join(first)} in {wanted.cni_conf_dir}",
            f"{wanted.cni_conf_file} as the first: container runtimes take the first network as the default",
            "remove or rename the files of a network that is not used any more",
        )


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0
