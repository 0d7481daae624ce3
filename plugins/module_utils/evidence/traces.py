# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What others have left on the node, gathered without judging it: devices, routes, chains, files, BPF.

Only lists are read, of chains and never of rules, so a host of 50,000 rules answers as any other. A tool that is
missing or too slow is noted, not an error.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.command import ToolError, run
from ansible_collections.podnet.fabric.plugins.module_utils.errors import MALFORMED
from ansible_collections.podnet.fabric.plugins.module_utils.evidence import bpf
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.netlink_objects import ip_text
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import AF_INET, AF_INET6
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.address import dump_addresses
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.route import dump_routes
from ansible_collections.podnet.fabric.plugins.module_utils.ownership import marked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host

ROOT = Path("/")
# Routes of these owners are looked at (rt_protos): BIRD, kube-router, Calico.
PROTOCOLS = (12, 17, 80)
_FILES = ("run/flannel/subnet.env", "var/run/calico", "var/lib/calico/nodename", "run/cilium", "run/antrea", "run/ovn")
_BPF_FOLDERS = ("", "tc/globals", "cilium", "calico")
_CONFLISTS = "etc/cni/net.d"
_CNI_SUFFIXES = (".conf", ".conflist", ".json")
_MOST = 4096  # names of a folder, files of CNI: more is no answer to anything
_LARGEST = 1 << 16  # bytes of a CNI configuration
_SECONDS = 10.0  # that a tool may take
# Looking for programs on the pods' hundreds of devices is not worth a second.
_DEVICES_WITH_PROGRAMS = 64
# The file tells which tables are loaded; the tool itself would load them.
_LEGACY = {"ip": ("iptables-legacy-save", "ip_tables_names"), "ip6": ("ip6tables-legacy-save", "ip6_tables_names")}


class Device(NamedTuple):
    """A link that is not ours."""

    name: str
    kind: str
    vni: int | None
    port: int | None
    addresses: tuple[str, ...]


class Chain(NamedTuple):
    """A chain of a packet filter."""

    flavour: str  # "nft" (what iptables-nft writes is among it) or "legacy"
    family: str
    table: str
    name: str


class Conflist(NamedTuple):
    """A CNI configuration."""

    file: str
    types: tuple[str, ...]  # of its plugins


class Traces(NamedTuple):
    """All of it. The defaults are those of a host on which there is nothing."""

    devices: tuple[Device, ...] = ()
    routes: frozenset[tuple[int, str]] = frozenset()  # protocol and device of the routes of PROTOCOLS
    chains: frozenset[Chain] = frozenset()
    virtual_services: int | None = None  # of IPVS; None: the kernel has no IPVS
    files: frozenset[str] = frozenset()
    conflists: tuple[Conflist, ...] = ()
    pins: frozenset[str] = frozenset()  # paths below /sys/fs/bpf
    programs: tuple[tuple[str, str], ...] = ()  # device and name of BPF programs at tcx and clsact
    sockets: tuple[str, ...] = ()  # names of ours at the root of control groups
    unknown: tuple[str, ...] = ()  # what could not be looked at, and why


def gather(host: Host, root: Path = ROOT) -> Traces:
    """Look at everything.

    :param root: where the files are
    """
    unknown: list[str] = []
    chains = {*_nft_chains(unknown), *_legacy_chains(unknown)}
    names, index = host.names, host.index
    devices = tuple(_devices(host))
    looked_at = {index[device.name]: device.name for device in devices[:_DEVICES_WITH_PROGRAMS]}
    return Traces(
        devices=devices,
        routes=frozenset(
            (protocol, route.dev)
            for protocol in PROTOCOLS
            for family in (AF_INET, AF_INET6)
            for route in dump_routes(host.netlink, names, family, protocol)
        ),
        chains=frozenset(chains),
        virtual_services=virtual_services(_text(Path("/proc/thread-self/net/ip_vs"))),
        files=frozenset(file for file in _FILES if (root / file).exists()),
        conflists=tuple(_conflists(root / _CONFLISTS)),
        pins=frozenset(_pins(root / "sys/fs/bpf")),
        programs=tuple((looked_at[at], name) for at, name in bpf.attached(looked_at, host.netlink)),
        sockets=tuple(bpf.at_sockets()),
        unknown=tuple(unknown),
    )


def virtual_services(table: str | None) -> int | None:
    """How many virtual services /proc/net/ip_vs lists (net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_info_seq_show)."""
    if table is None:
        return None
    return sum(line.split(" ", 1)[0] in ("TCP", "UDP", "SCTP", "FWM") for line in table.splitlines())


def nft_chains(answer: str) -> Iterator[Chain]:
    """The chains in what `nft -j list chains` prints."""
    for each in json.loads(answer)["nftables"]:
        if "chain" in each:
            yield Chain("nft", each["chain"]["family"], each["chain"]["table"], each["chain"]["name"])


def saved_chains(saved: str, family: str) -> Iterator[Chain]:
    """The chains in what iptables-save prints: `*table`, then `:CHAIN policy [counters]`."""
    table = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith(":"):
            yield Chain("legacy", family, table, line[1:].partition(" ")[0])


def output(argv: Sequence[str], unknown: list[str], absent: str = "") -> str:
    """What a tool prints; nothing where that could not be had, which is noted.

    :param unknown: gets what could not be looked at, and why
    :param absent: words of an error that says that what was asked for is not there, which is no news
    """
    # Modules run with whatever PATH the connection has; the tools are in sbin.
    tool = shutil.which(argv[0], path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if tool is None:
        unknown.append(f"{argv[0]} is not installed, so its rules were not looked at")
        return ""
    try:
        return run([tool, *argv[1:]], timeout=_SECONDS)
    except ToolError as error:
        if not absent or absent not in error.stderr:
            unknown.append(str(error))
        return ""


def _nft_chains(unknown: list[str]) -> list[Chain]:
    answer = output(["nft", "-j", "list", "chains"], unknown)
    try:
        return list(nft_chains(answer)) if answer else []
    except MALFORMED as error:
        unknown.append(f"nft -j list chains: an answer that is none ({error})")
        return []


def _legacy_chains(unknown: list[str]) -> Iterator[Chain]:
    for family, (tool, tables) in _LEGACY.items():
        if _text(Path("/proc/thread-self/net", tables)):
            yield from saved_chains(output([tool], unknown), family)


def _devices(host: Host) -> Iterator[Device]:
    addresses: dict[str, list[str]] = {}
    for address in dump_addresses(host.netlink, host.names):
        addresses.setdefault(address.dev, []).append(f"{ip_text(address.address)}/{address.prefixlen}")
    for link in host.links.values():
        if not marked(link):
            held = tuple(addresses.get(link.name, ()))
            yield Device(link.name, link.kind, link.data.get("id"), link.data.get("port"), held)


def _conflists(folder: Path) -> Iterator[Conflist]:
    for name in sorted(_entries(folder)):
        if name.endswith(_CNI_SUFFIXES):
            yield Conflist(name, tuple(_plugin_types(folder / name)))


def _plugin_types(file: Path) -> list[str]:
    try:
        with file.open(encoding="utf-8") as stream:
            found = json.loads(stream.read(_LARGEST))
        return [str(plugin["type"]) for plugin in found.get("plugins", [found])]
    except (OSError, *MALFORMED):
        return []


def _pins(folder: Path) -> Iterator[str]:
    for below in _BPF_FOLDERS:
        for name in _entries(folder / below):
            yield f"{below}/{name}" if below else name


def _entries(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry, _nth in zip(entries, range(_MOST))]
    except OSError:
        return []


def _text(file: Path) -> str | None:
    try:
        return file.read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
