# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the packet filters of others: what they drop of the pods' packets, and the commands that open them."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.podnet.fabric.plugins.module_utils.preflight.carrier import CARRIERS
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.seen import Finding, Firewall, Seen, Wanted
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.underlay import Choice

# What the outer packets are -> what lets them in. The names of IP protocols are those of /etc/protocols.
_UFW = {
    "UDP port": "ufw allow {}/udp",
    "TCP port": "ufw allow {}/tcp",
    "IP protocol": "-A ufw-before-input -p {} -j ACCEPT in /etc/ufw/before.rules (ipv6: ufw6-..., before6.rules)",
}
_FIREWALLD = {"UDP port": ("port", "{}/udp"), "TCP port": ("port", "{}/tcp"), "IP protocol": ("protocol", "{}")}
_PROTOCOLS = {4: "ipencap", 41: "ipv6"}
_FAMILIES = {"ip": [4], "ip6": [6]}


def check_firewalls(seen: Seen, wanted: Wanted, choice: Choice) -> Iterator[Finding]:
    """firewalld and ufw, and what each is not told yet."""
    outer = _outer(wanted)
    accepted = " and ".join(["pod traffic", *(f"{sort} {value}" for sort, value in outer)]) + " accepted by it"
    if "firewalld" in seen.processes:
        wants = [("interface", name) for name in (wanted.bridge_name, *wanted.devices)]
        wants += [("source", pool) for pool in wanted.pools]
        wants += [(_FIREWALLD[sort][0], _FIREWALLD[sort][1].format(value)) for sort, value in outer]
        # A firewall-cmd takes options of one sort.
        missing: dict[str, list[str]] = {}
        for option, value in wants:
            if (option, value) not in seen.firewalld:
                missing.setdefault(option, []).append(f"--add-{option}={value}")
        commands = [
            f"firewall-cmd --permanent {'--zone=trusted ' if sort in ('interface', 'source') else ''}{' '.join(added)}"
            for sort, added in missing.items()
        ]
        if commands:
            yield Finding(
                "managers", "warning", "firewalld is active", accepted, "; ".join([*commands, "firewall-cmd --reload"])
            )
    if "ufw" in seen.processes:
        bridge = f"ufw allow in on {wanted.bridge_name}; ufw route allow in on {wanted.bridge_name}"
        cure = "; ".join([bridge, *(_UFW[sort].format(value) for sort, value in outer)])
        yield Finding("managers", "warning", "ufw is active", accepted, cure)


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
        families = _FAMILIES.get(chain.table.split()[0], [4, 6])
        pools = [pool for family in families for pool in wanted.pools_of(family)]
        # firewalld's own words open its table (check_firewalls); a rule added to it would not outlive a reload.
        if not pools or (chain.table == "inet firewalld" and "firewalld" in seen.processes):
            continue
        found = f"the {chain.backend} chain {chain.table} {chain.chain} drops what no rule accepts" + (
            " (bridged packets too: br_netfilter is on)" if bridged else ""
        )
        if chain.tool and wanted.forward_accept != "never":
            cure = "none needed: the role bridge has a chain PODNET-FORWARD there, and teardown takes it off"
            yield Finding("packet_filters", "info", found, "the pods' packets accepted there", cure)
        else:
            cure = _accepting(chain, pools, wanted, "dockerd" in seen.processes)
            yield Finding("packet_filters", "warning", found, "the pods' packets accepted there", cure)
    if len(seen.filters) > 1:
        yield Finding(
            "packet_filters",
            "warning",
            "rules in iptables-legacy and in iptables-nft",
            "one flavour: with two, each drops what the other accepts",
            "see both (iptables-legacy-save, iptables-nft-save, and those of ip6tables); have all programs use one "
            "(update-alternatives --config iptables), then flush the other: for t in filter nat mangle raw; do "
            "iptables-legacy -t $t -F; iptables-legacy -t $t -X; done; iptables-legacy -P FORWARD ACCEPT",
        )


def _accepting(chain: Firewall, pools: list[str], wanted: Wanted, docker: bool) -> str:
    """The commands that accept the pods' packets in a chain."""
    bridge = wanted.bridge_name
    if chain.tool:
        # Docker empties FORWARD's head at every start, but leaves its own user chain alone.
        user = "DOCKER-USER" if docker else "FORWARD"
        rules = [
            f"{chain.tool} -I {user} {way} {pool} {side} {bridge} -j ACCEPT"
            for pool in pools
            for way, side in (("-s", "-i"), ("-d", "-o"))
        ]
        return "podnet_forward_accept: auto, or " + "; ".join(rules)
    rules = [f"nft insert rule {chain.table} {chain.chain} {side} {bridge} accept" for side in ("iifname", "oifname")]
    return "; ".join(rules) + ", and the same where that ruleset is written down (/etc/nftables.conf)"
