# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which implementation handles an address of a service, by the entries that name it, of ours and of others.

What is asked for is looked for in everything that could send it on: the maps of nftables, the rules of iptables in both
flavours, IPVS' list, and the service maps of BPF. An entry is one of ours, or has the form that its maker's sources
give it: kube-proxy pkg/proxy/nftables, Cilium bpf/lib/common.h (lb4_key, lb6_key), Calico felix/bpf-gpl/nat_types.h.
"""

from __future__ import annotations

import ipaddress
import json
import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.bpf import maps, syscall
from ansible_collections.podnet.fabric.plugins.module_utils.bpf.syscall import BpfError
from ansible_collections.podnet.fabric.plugins.module_utils.errors import MALFORMED
from ansible_collections.podnet.fabric.plugins.module_utils.evidence import bpf
from ansible_collections.podnet.fabric.plugins.module_utils.evidence.services import NONE, OURS
from ansible_collections.podnet.fabric.plugins.module_utils.evidence.traces import output
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.iptables_tools import AHEAD
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import service_ebpf
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.ebpf import NAMES, PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.evidence.traces import Traces

_WANTED = re.compile(
    r"(?:\[(?P<six>[^]]+)\]|(?P<four>[^:/]+)|(?P<bare>[^/]+))(?::(?P<port>\d+)(?:/(?P<protocol>\w+))?)?"
)
_MOST_SHOWN = 4  # entries of a service that is known by its address alone
# Of sets and maps of nftables; the sets have addresses alone.
_OURS = {"service-frontends": "map", "service-frontends-inside": "map", "service-unserved-frontends": "map",
         "service-addresses": "set"}  # fmt: skip
_KUBE_PROXYS = {"service-ips": "map", "no-endpoint-services": "map", "cluster-ips": "set"}
_IPVS = re.compile(
    r"(?P<protocol>TCP|UDP|SCTP)\s+(?:\[(?P<six>[0-9a-fA-F:]+)\]|(?P<four>[0-9A-F]{8})):(?P<port>[0-9A-F]{4})\s+(?P<how>\S+)"
)
_RULE = re.compile(r"-A (?P<chain>\S+) (?:.* )?-d (?P<address>[0-9a-fA-F:.]+)(?:/(?:32|128))? .*-[jg] ")
_HOOKS = ("PREROUTING", "OUTPUT")


class Vip(NamedTuple):
    """What is asked for."""

    text: str
    address: str
    port: int | None = None
    protocol: str | None = None


class Entry(NamedTuple):
    """What somebody has for an address. Without a port it is for all of them."""

    implementation: str
    owner: str
    address: str
    port: int | None
    protocol: str | None
    text: str


def read(texts: Sequence[str]) -> list[Vip]:
    """What is asked for: ADDRESS, ADDRESS:PORT or ADDRESS:PORT/PROTOCOL, IPv6 in brackets before a port.

    InvalidInput with everything that is none of these.
    """
    inspection = Inspection()
    found = []
    for position, text in enumerate(texts):
        path = f"vips[{position}]"
        match = _WANTED.fullmatch(text)
        if match is None:
            inspection.refuse(path, repr(text), "give ADDRESS, ADDRESS:PORT or ADDRESS:PORT/PROTOCOL")
            continue
        address = match["six"] or match["four"] or match["bare"]
        inspection.ip(path, address)
        port = None if match["port"] is None else int(match["port"])
        if port is not None:
            inspection.integer(path, port, 1, 65535)
        protocol = match["protocol"] and match["protocol"].lower()
        if protocol is not None and protocol not in PROTOCOLS:
            inspection.refuse(path, protocol, f"known are {', '.join(PROTOCOLS)}")
        found.append(Vip(text, address, port, protocol))
    inspection.conclude()
    return [each._replace(address=str(ipaddress.ip_address(each.address))) for each in found]


def ask(vips: Sequence[Vip], traces: Traces, root: Path, unknown: list[str]) -> list[dict[str, Any]]:
    """Who handles each, as the module returns it.

    :param root: where the files are
    :param unknown: gets what could not be looked at, and why
    """
    if not vips:
        return []
    wanted = {each.address for each in vips}
    # As packets meet them: at the interface, before they are routed, and where they have arrived.
    readers = (
        _our_programs(root),
        _foreign_maps(root),
        _nftables(traces, unknown),
        _iptables(traces, unknown),
        _ipvs(),
    )
    entries = [entry for reader in readers for entry in reader if entry.address in wanted]
    return [_told(each, [entry for entry in entries if _is_for(entry, each)]) for each in vips]


def _is_for(entry: Entry, vip: Vip) -> bool:
    return (
        entry.address == vip.address
        and (vip.port is None or entry.port in (None, vip.port))
        and (vip.protocol is None or entry.protocol in (None, vip.protocol))
    )


def _told(vip: Vip, entries: Sequence[Entry]) -> dict[str, Any]:
    first = entries[0] if entries else Entry(NONE, "", vip.address, None, None, "")
    mine = [each for each in entries if each[:2] == first[:2]]
    beside = [each for each in entries if each[:2] != first[:2]]
    more = len(mine) - _MOST_SHOWN
    return {
        "to": vip.text,
        "implementation": first.implementation,
        "owner": first.owner or None,
        "evidence": [each.text for each in mine[:_MOST_SHOWN]] + ([f"and {more} more"] if more > 0 else []),
        "also": [f"{each.implementation} of {each.owner}: {each.text}" for each in beside[:_MOST_SHOWN]],
    }


def _our_programs(root: Path) -> Iterator[Entry]:
    """Elements of the maps that our programs ask (facilities/service_pins.py)."""
    at_sockets = bool(bpf.at_sockets())
    for pin in sorted((root / "sys/fs/bpf/podnet/service").glob(f"*/{service_ebpf.FRONTENDS}")):
        for key, value in _elements(pin, service_ebpf.FRONTEND_KEY.size).items():
            packed, port, protocol, ipv6 = service_ebpf.FRONTEND_KEY.unpack(key)
            found = _of_map(pin, root, "podnet.fabric", packed if ipv6 else packed[:4], port, protocol)
            _list, _count, affinity = service_ebpf.FRONTEND.unpack(value)
            if at_sockets and found.protocol == "tcp" and not affinity:
                found = found._replace(text=f"{found.text}, for the node's own sockets, too")
            yield found


def _foreign_maps(root: Path) -> Iterator[Entry]:
    """Cilium's and Calico's."""
    for pin in sorted((root / "sys/fs/bpf/tc/globals").glob("cilium_lb[46]_services_v2")):
        layout = struct.Struct(">4sHHBB2x" if "lb4" in pin.name else ">16sHHBB2x")
        for key in _elements(pin, layout.size):
            packed, port, slot, protocol, _scope = layout.unpack(key)
            if not slot:  # the others are its backends
                yield _of_map(pin, root, "Cilium", packed, port, protocol)
    for pin in sorted((root / "sys/fs/bpf/tc/globals").glob("cali_v[46]_nat_fe3")):
        size = 4 if "_v4_" in pin.name else 16
        # Bits of the key, the address, the port as the machine has it, the protocol; the client's prefix behind it.
        layout = struct.Struct(f"=I{size}sHB{size}sx")
        for key in _elements(pin, layout.size):
            _bits, packed, port, protocol, _client = layout.unpack(key)
            yield _of_map(pin, root, "Calico", packed, port, protocol)


def _of_map(pin: Path, root: Path, owner: str, packed: bytes, port: int, protocol: int) -> Entry:
    address = str(ipaddress.ip_address(packed))
    name = NAMES.get(protocol)
    where = f"/{pin.relative_to(root)}"
    return Entry("ebpf", owner, address, port or None, name, f"{_shown(address, port, name)} in BPF map {where}")


def _elements(pin: Path, size: int) -> dict[bytes, bytes]:
    try:
        with syscall.pinned(str(pin)) as handle:
            # Of another version of its maker.
            return maps.elements(handle) if maps.shape_of(handle).key_size == size else {}
    except (BpfError, OSError):  # it has gone, or is no map
        return {}


def _ipvs() -> Iterator[Entry]:
    """What /proc/net/ip_vs lists (net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_info_seq_show)."""
    try:
        text = Path("/proc/thread-self/net/ip_vs").read_text(encoding="ascii", errors="replace")
    except OSError:
        return
    yield from virtual_services(text)


def virtual_services(text: str) -> Iterator[Entry]:
    """The entries of IPVS' list."""
    for match in _IPVS.finditer(text):
        address = str(ipaddress.ip_address(match["six"] or bytes.fromhex(match["four"])))
        port, protocol = int(match["port"], 16), match["protocol"].lower()
        shown = f"{_shown(address, port, protocol)} in /proc/net/ip_vs, scheduler {match['how']}"
        yield Entry("ipvs", "somebody", address, port, protocol, shown)


def _nftables(traces: Traces, unknown: list[str]) -> Iterator[Entry]:
    """Elements of our maps, and of kube-proxy's."""
    tables = {(chain.family, chain.table) for chain in traces.chains if chain.flavour == "nft"}
    if OURS in tables:
        for name, sort in _OURS.items():
            for family in "46":
                yield from _of_nft((sort, *OURS, f"{name}{family}"), "podnet.fabric", unknown)
    for family in ("ip", "ip6"):
        if (family, "kube-proxy") in tables:
            for name, sort in _KUBE_PROXYS.items():
                yield from _of_nft((sort, family, "kube-proxy", name), "kube-proxy", unknown)


def _of_nft(which: tuple[str, str, str, str], owner: str, unknown: list[str]) -> Iterator[Entry]:
    told = output(["nft", "-j", "list", *which], unknown, "No such file or directory")
    try:
        found = [each for part in json.loads(told or '{"nftables": []}')["nftables"] for each in _of_part(part)]
    except MALFORMED as error:
        unknown.append(f"nft -j list {' '.join(which)}: an answer that is none ({error})")
        return
    _sort, *table, name = which
    for key, verdict in found:
        concat = key.get("concat") if isinstance(key, dict) else None
        address, protocol, port = (str(concat[0]), str(concat[1]), int(concat[2])) if concat else (str(key), None, None)
        leads = f"leads to {verdict}" if verdict else "is an address of services"
        text = f"{_shown(address, port, protocol)} {leads} in {name} of nft table {' '.join(table)}"
        yield Entry("nftables", owner, address, port, protocol, text)


def _of_part(part: dict[str, Any]) -> Iterator[tuple[Any, str]]:
    """Keys and where they lead, of a set or a map as nft prints it."""
    for sort in ("set", "map"):
        for each in part.get(sort, {}).get("elem", ()):
            if sort == "map":
                key, verdict = each
                (word, target), *_more = verdict.items() if isinstance(verdict, dict) else [("", verdict)]
                yield key, str(target["target"]) if isinstance(target, dict) else word or str(target)
            else:
                yield each, ""


def _iptables(traces: Traces, unknown: list[str]) -> Iterator[Entry]:
    """Rules that name an address."""
    loaded = {(chain.flavour, chain.family) for chain in traces.chains if chain.table in ("nat", "filter")}
    for flavour, family in sorted(loaded):
        if family in ("ip", "ip6"):
            tool = f"{family}tables-{flavour}"
            yield from rules(output([f"{tool}-save"], unknown), tool)


def rules(saved: str, tool: str) -> Iterator[Entry]:
    """The rules in what iptables-save prints that send an address of a service on, or refuse it."""
    table = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:]
        match = _RULE.match(line)
        owner = _owner(match["chain"], table) if match else ""
        if match is None or not owner:
            continue
        protocol, port = re.search(r" -p (\w+)", line), re.search(r" --dport (\d+)", line)
        yield Entry(
            "iptables",
            owner,
            str(ipaddress.ip_address(match["address"])),
            int(port[1]) if port else None,
            protocol[1] if protocol else None,
            f"{line} ({tool}, table {table})",
        )


def _owner(chain: str, table: str) -> str:
    """Whose chain it is; empty for one that has nothing to do with services."""
    if chain.startswith("KUBE-"):
        return "kube-proxy"
    if chain.startswith(AHEAD):
        return "podnet.fabric"
    return "somebody" if table == "nat" and chain in _HOOKS else ""


def _shown(address: str, port: int | None, protocol: str | None) -> str:
    if not port:
        return address
    return f"[{address}]:{port}/{protocol}" if ":" in address else f"{address}:{port}/{protocol}"
