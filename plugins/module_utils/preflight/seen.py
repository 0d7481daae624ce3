# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node looks like before anything is done to it, and what the network will want of it: plain data."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import NamedTuple, Union

from ansible_collections.podnet.fabric.plugins.module_utils.evidence.foreign import Network

IPAddress = Union[IPv4Address, IPv6Address]
IPInterface = Union[IPv4Interface, IPv6Interface]
IPNetwork = Union[IPv4Network, IPv6Network]


class Finding(NamedTuple):
    """One thing about a node that the operator should know."""

    check: str  # the name of the check, as in a log search
    severity: str  # "error" stops the run, "warning" is shown, "info" is only returned
    found: str
    wanted: str
    cure: str
    package: str = ""  # the Debian package that cures it, when one does

    def __str__(self) -> str:
        return f"{self.check}: found {self.found}; wanted {self.wanted}; cure: {self.cure}"


class Wanted(NamedTuple):
    """What the network will ask of the node."""

    interface: str = "auto"
    address: str = "auto"
    second: str = "auto"  # the address of the other family: auto, none or an address
    towards: tuple[IPAddress, ...] = ()  # the underlay addresses of the peers, as far as known
    bridge_name: str = "podnet0"
    dataplane: str = "vxlan"  # one of carrier.CARRIERS
    devices: tuple[str, ...] = ("podnet-vx",)  # names, in the order of the dataplane's variables
    port: int | None = 4789  # UDP
    tcp_port: int | None = None  # None: the default of the dataplane (carrier.CARRIERS)
    vni: int | None = 84
    mtu: int = 0  # 0: as large as fits
    pools: tuple[str, ...] = ()
    nexthop_objects: str = "auto"
    forward_accept: str = "auto"
    policy_backend: str = "nftables"  # none where there are no policies
    service_backend: str = "none"  # where there are no services
    cni_bin_dir: str = "auto"
    cni_conf_dir: str = "/etc/cni/net.d"
    cni_conf_file: str = "10-podnet.conflist"
    cni_version: str = "1.0.0"
    cni_plugins: tuple[str, ...] = ("bridge", "host-local")

    def pools_of(self, family: int) -> list[str]:
        """The pools of an address family, 4 or 6."""
        return [pool for pool in self.pools if (":" in pool) == (family == 6)]

    @property
    def families(self) -> list[int]:
        """The address families that the pools have."""
        return [family for family in (4, 6) if self.pools_of(family)]


class Interface(NamedTuple):
    """A network device."""

    name: str
    kind: str = ""
    mtu: int = 1500
    up: bool = True
    ours: bool = False
    vni: int | None = None
    port: int | None = None


class HeldAddress(NamedTuple):
    """An address that an interface holds."""

    interface: str
    address: IPInterface
    secondary: bool = False  # a later address of its subnet (IPv4), a temporary one (IPv6)
    usable: bool = True  # neither deprecated nor tentative nor a duplicate; of global scope


class Trial(NamedTuple):
    """Whether the kernel does something, found out by having it done in a scratch namespace."""

    works: bool | None  # None: it could not be tried
    reason: str = ""


class CniDirectory(NamedTuple):
    """The folder of CNI plugins that will be used, and what is in it."""

    path: str = ""
    plugins: Mapping[str, str] = {}
    versions: Mapping[str, tuple[str, ...]] = {}  # of the plugins that the network needs
    conflists: tuple[str, ...] = ()  # configuration files of others' networks, in the order that runtimes read them


class Firewall(NamedTuple):
    """A chain that sees forwarded packets and drops those that nobody accepts."""

    backend: str  # "nftables", "iptables-nft" or "iptables-legacy"
    table: str
    chain: str
    tool: str = ""  # of iptables, where that can add rules to the chain


class HeldRoute(NamedTuple):
    """A route that is not ours, in the main table."""

    dst: IPNetwork
    interface: str  # empty for one without, a blackhole for example
    protocol: int


class Seen(NamedTuple):
    """A node, as observed. The defaults are those of a host on which nothing is in the way."""

    root: bool = True
    interfaces: tuple[Interface, ...] = ()
    addresses: tuple[HeldAddress, ...] = ()
    routes: tuple[HeldRoute, ...] = ()  # of others, those that have a destination in one of the pools
    networks: tuple[Network, ...] = ()  # of others, and what they have left
    # Address asked for -> the source address that the kernel would use, None when there is no route.
    sources: Mapping[IPAddress, IPAddress | None] = {}
    ra_uplinks: tuple[str, ...] = ()  # interfaces whose IPv6 default route came by router advertisement
    trials: Mapping[str, Trial] = {}
    tools: Mapping[str, str | None] = {}
    executable: str = "/usr/bin/python3"
    python: str = ""
    cni: CniDirectory = CniDirectory()
    sysctl: Mapping[str, str] = {}
    processes: frozenset[str] = frozenset()
    leaves_us_alone: frozenset[str] = frozenset()  # network daemons that are configured not to touch our devices
    networkd_deletes: tuple[str, ...] = ()  # settings by which it deletes what it has not made, where it runs or will
    firewalld: frozenset[tuple[str, str]] = frozenset()  # what its zones are told, permanently: ("interface", NAME) ...
    ifupdown: frozenset[str] = frozenset()  # interfaces that /etc/network/interfaces configures
    udp_ports: frozenset[int] = frozenset()  # ports that some socket holds
    tcp_ports: frozenset[int] = frozenset()  # ports that some program listens on
    dataplanes: tuple[str, ...] = ()  # that the node declares, or whose daemon of ours runs
    dropping: tuple[Firewall, ...] = ()
    filters: frozenset[str] = frozenset()  # flavours of iptables that hold rules: "legacy", "nft"

    def interface(self, name: str) -> Interface | None:
        """The interface of that name."""
        return next((each for each in self.interfaces if each.name == name), None)
