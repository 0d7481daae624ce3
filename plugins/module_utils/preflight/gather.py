# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at a node: out of netlink, /proc and /sys, with as few processes started as can be. It changes nothing."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

from ansible_collections.podnet.fabric.plugins.module_utils.bgp.config import METRIC
from ansible_collections.podnet.fabric.plugins.module_utils.bgp.instance import processes
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.evidence.foreign import recognise
from ansible_collections.podnet.fabric.plugins.module_utils.evidence.traces import gather as look_for_traces
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.bird import RTPROT_BIRD
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.address import Address, dump_addresses
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.connection import Netlink
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.link import Link, device_names_of, dump_links
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.route import dump_routes
from ansible_collections.podnet.fabric.plugins.module_utils.ownership import DATAPLANES, PROTOCOL, marked
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.carrier import kinds_of
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.daemons import (
    firewalld_admits,
    ifupdown_interfaces,
    left_alone_by,
    networkd_deletes,
    running,
)
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.plugins import look_for_plugins
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.rulesets import look_at_rulesets
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.seen import (
    HeldAddress,
    HeldRoute,
    Interface,
    IPAddress,
    Seen,
    Wanted,
)
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.trial import try_features

_KINDS = ("bridge", "veth")
_TOOLS = (
    *("ip", "nft", "iptables", "iptables-legacy", "ip6tables-legacy", "ipset"),
    *("conntrack", "nsenter", "apt-get", "bird"),
)
# Reserved (RFC 1112, section 4) and for discarding (RFC 6666): only a default route leads there, and nothing is sent.
_ANYWHERE: tuple[IPAddress, ...] = (ip_address("240.0.0.1"), ip_address("100::1"))
# linux/if_addr.h
_SECONDARY, _DADFAILED, _DEPRECATED, _TENTATIVE = 0x01, 0x08, 0x20, 0x40
# linux/rtnetlink.h
_RTPROT_RA = 9
# net/tcp_states.h: TCP_LISTEN, as /proc/net/tcp writes it.
_LISTEN = "0A"
_PROC_SYS = Path("/proc/sys")


def gather(wanted: Wanted) -> Seen:
    """Everything that the checks look at."""
    root = os.geteuid() == 0
    with Netlink() as netlink:
        links = dump_links(netlink)
        names = device_names_of(links)
        addresses = dump_addresses(netlink, names)
        advertised = (
            dump_routes(netlink, names, socket.AF_INET6, _RTPROT_RA) if Path("/proc/net/if_inet6").exists() else []
        )
        routes = tuple(_routes_into(netlink, names, wanted))
    with Host() as host:
        networks = tuple(recognise(look_for_traces(host))) if root else ()
    ra_uplinks = tuple(sorted({route.dev for route in advertised if not route.prefixlen and route.dev}))
    tools = {tool: shutil.which(tool, path=_search_path()) for tool in _TOOLS}
    dropping, filters = look_at_rulesets(tools) if root else ((), frozenset())
    devices = (wanted.bridge_name, *wanted.devices)
    kinds = (*_KINDS, *kinds_of(wanted.dataplane, wanted.families))
    return Seen(
        root=root,
        interfaces=tuple(_interface(link) for link in links),
        addresses=tuple(_held(address) for address in addresses),
        routes=routes,
        networks=networks,
        sources={address: source_towards(address) for address in (*wanted.towards, *_ANYWHERE)},
        ra_uplinks=ra_uplinks,
        trials=try_features(kinds, tools["nft"]),
        tools=tools,
        executable=sys.executable,
        python=".".join(str(part) for part in sys.version_info[:3]),
        cni=look_for_plugins(wanted),
        sysctl=_sysctls(_of_interest(links, {address.dev for address in addresses})),
        processes=running(),
        leaves_us_alone=left_alone_by(devices),
        networkd_deletes=networkd_deletes(),
        firewalld=firewalld_admits(),
        ifupdown=ifupdown_interfaces(),
        udp_ports=frozenset(_ports("udp")),
        tcp_ports=frozenset(_ports("tcp", _LISTEN)),
        dataplanes=_dataplanes(wanted),
        dropping=dropping,
        filters=filters,
    )


def _routes_into(netlink: Netlink, names: Mapping[int, str], wanted: Wanted) -> Iterator[HeldRoute]:
    """The routes of others that lead into the pools. Those of our BIRD have its protocol and a metric of ours."""
    for family in wanted.families:
        # In numbers, since there may be a hundred thousand routes.
        pools = [
            (int(pool.network_address) >> (pool.max_prefixlen - pool.prefixlen), pool.prefixlen)
            for pool in (ip_network(text, strict=False) for text in wanted.pools_of(family))
        ]
        for route in dump_routes(netlink, names, socket.AF_INET if family == 4 else socket.AF_INET6):
            if route.protocol == PROTOCOL or (route.protocol == RTPROT_BIRD and route.metric == METRIC):
                continue
            number, bits = int.from_bytes(route.dst, "big"), 8 * len(route.dst)
            if any(route.prefixlen >= length and number >> (bits - length) == head for head, length in pools):
                yield HeldRoute(ip_network((route.dst, route.prefixlen)), route.dev, route.protocol)


def _dataplanes(wanted: Wanted) -> tuple[str, ...]:
    found = [kind for kind in Declarations().kinds() if kind in DATAPLANES]
    # A BIRD of ours whose declaration has been lost is ours all the same, and so is the port that it has.
    if wanted.dataplane == "bgp" and "bgp" not in found and processes():
        found.append("bgp")
    return tuple(found)


def source_towards(address: IPAddress) -> IPAddress | None:
    """The source address of packets to `address`, None without a route. Connecting a UDP socket sends nothing."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))
            return ip_address(probe.getsockname()[0].partition("%")[0])
    except OSError:
        return None


def _interface(link: Link) -> Interface:
    return Interface(
        name=link.name,
        kind=link.kind,
        mtu=link.mtu,
        up=link.up,
        ours=marked(link),
        vni=link.data.get("id"),
        port=link.data.get("port"),
    )


def _held(address: Address) -> HeldAddress:
    return HeldAddress(
        interface=address.dev,
        address=ip_interface((address.address, address.prefixlen)),
        secondary=bool(address.flags & _SECONDARY),
        usable=address.scope == 0 and not address.flags & (_DADFAILED | _DEPRECATED | _TENTATIVE),
    )


def _search_path() -> str:
    # An ordinary user's PATH, and that of some connections, lacks the folders that the tools are in.
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/bin", "/bin"])


def _of_interest(links: Iterable[Link], with_address: set[str]) -> list[str]:
    # The host's ends of pods are many, and none of them is an uplink.
    return [link.name for link in links if link.kind != "veth" or link.name in with_address]


def _sysctls(devices: Iterable[str]) -> dict[str, str]:
    """The kernel settings that the checks and the roles ask about, of all devices at once."""
    names = [
        "net.ipv4.ip_forward",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.conf.default.rp_filter",
        "net.ipv4.conf.all.rp_filter",
        "net.ipv6.conf.all.forwarding",
        "net.ipv6.conf.all.disable_ipv6",
        "net.ipv6.conf.default.disable_ipv6",
        "net.bridge.bridge-nf-call-iptables",
        "net.bridge.bridge-nf-call-ip6tables",
    ]
    found = {name: _read(name.split(".")) for name in names}
    for device in devices:
        # A device's name may hold dots (eth0.100): sysctl writes them as slashes.
        escaped = device.replace(".", "/")
        found[f"net.ipv4.conf.{escaped}.rp_filter"] = _read(["net", "ipv4", "conf", device, "rp_filter"])
        found[f"net.ipv6.conf.{escaped}.accept_ra"] = _read(["net", "ipv6", "conf", device, "accept_ra"])
    return {name: value for name, value in found.items() if value is not None}


def _read(parts: Iterable[str]) -> str | None:
    try:
        return _PROC_SYS.joinpath(*parts).read_text(encoding="ascii").strip()
    except OSError:
        return None


def _ports(protocol: str, state: str = "") -> set[int]:
    """The ports of this namespace's sockets; the fields of a line are number, local address, remote address, state."""
    ports: set[int] = set()
    for table in (f"/proc/net/{protocol}", f"/proc/net/{protocol}6"):
        try:
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        fields = (line.split(None, 4) for line in lines)
        ports.update(
            int(local.rpartition(":")[2], 16) for _n, local, _to, found, _rest in fields if state in ("", found)
        )
    return ports
