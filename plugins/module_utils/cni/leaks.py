# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses that host-local holds for pods that are gone: found by looking into every network namespace.

An address is leaked only when everything could be looked at and nobody has it. Where that is not so, it is unknown.
"""

from __future__ import annotations

import fcntl
import json
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.cni import netns, record
from ansible_collections.podnet.fabric.plugins.module_utils.command import ToolError, run
from ansible_collections.podnet.fabric.plugins.module_utils.errors import HostError, PodnetError, taking_apart
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.address_stores import BOOKKEEPING
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import declared_network, packed_ip

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.cni.record import Record

HELD, LEAKED, UNKNOWN = "held", "leaked", "unknown"


class Reservation(NamedTuple):
    """A file of host-local: address, who asked for it (empty when damaged), seconds since it was written."""

    address: str
    container_id: str
    ifname: str
    age: float


class Interface(NamedTuple):
    """An interface of a namespace: index, index of its peer (0 for none), name of its bridge, packed addresses."""

    position: int
    peer: int
    master: str
    kind: str
    name: str
    addresses: frozenset[bytes]


class Sight(NamedTuple):
    """What was seen of the machine: interfaces by the path of their namespace, and what could not be looked into."""

    host: Sequence[Interface]
    others: Mapping[str, Sequence[Interface]]
    blind: Sequence[str] = ()


def judge(entry: Reservation, bridge: str, sight: Sight, records: Collection[Record], grace: float) -> tuple[str, str]:
    """A verdict on one reservation, and its reason.

    :param records: those of our own attachments in its network
    :param grace: seconds for which a new reservation may be without an interface
    """
    ours = next((one for one in records if (one.container_id, one.ifname) == (entry.container_id, entry.ifname)), None)
    ports = [link for link in sight.host if link.master == bridge and link.kind == "veth"]
    found = _found(entry, ports, sight, ours)
    if found:
        return found
    doubt = _doubt(entry, ours, sight) or _hidden(ports, sight)
    if not doubt and entry.age < grace:
        doubt = f"reserved {max(entry.age, 0):.0f} s ago, and its pod may be on its way"
    return (UNKNOWN, doubt) if doubt else (LEAKED, "no network namespace has it")


def _found(entry: Reservation, ports: Sequence[Interface], sight: Sight, ours: Record | None) -> tuple[str, str] | None:
    """The verdict on an address that some interface has."""
    address = packed_ip(entry.address)
    pairs = {(port.peer, port.position) for port in ports}
    for path, links in sight.others.items():
        if any(address in link.addresses for link in links):
            if any((link.position, link.peer) in pairs for link in links) or (ours is not None and ours.netns == path):
                return HELD, f"an interface in {path} has it"
            return UNKNOWN, f"{path} has it, but is not behind a port of the bridge"
    if any(address in link.addresses for link in sight.host):
        return UNKNOWN, "the node itself has it"
    return None


def _doubt(entry: Reservation, ours: Record | None, sight: Sight) -> str:
    """Why an address that nobody was seen to have may be somebody's, empty for nothing."""
    if not entry.container_id:
        return "the reservation names no container"
    if ours is not None and ours.result is None:
        return "its pod's attachment was interrupted; the next run of module pod undoes that"
    if ours is not None and ours.netns in sight.others:
        return f"{ours.netns} is there without it; module pod repairs that"
    return ""


def _hidden(ports: Sequence[Interface], sight: Sight) -> str:
    """What could not be looked into, empty for nothing.

    A namespace matters where a pair can lead to it: from our bridge or, when some may not be looked into, from none.
    """
    seen = {(link.position, link.peer) for links in sight.others.values() for link in links}
    loose = [link for link in sight.host if sight.blind and link.kind == "veth" and not link.master]
    hidden = [link.name for link in (*ports, *loose) if (link.peer, link.position) not in seen]
    why = f" ({sight.blind[0]})" if sight.blind else ""
    return f"the namespace at the other end of {hidden[0]} cannot be looked into{why}" if hidden else ""


def capacity(cidr: str, gateway: str) -> int:
    """Addresses that host-local gives away in a block (plugins/ipam/host-local/backend/allocator/range.go).

    All but the first one, the gateway and, in IPv4, the broadcast address.
    """
    prefix = declared_network(cidr)
    first = int.from_bytes(prefix.address, "big")
    count = 1 << (8 * len(prefix.address) - prefix.prefixlen)
    last = first + count - (2 if len(prefix.address) == 4 else 1)
    inside = first < int.from_bytes(packed_ip(gateway) or b"", "big") <= last
    return last - first - inside


def holds(cidr: str, address: str) -> bool:
    """Whether a block holds an address."""
    prefix, packed = declared_network(cidr), packed_ip(address)
    if packed is None or len(packed) != len(prefix.address):
        return False
    spare = 8 * len(packed) - prefix.prefixlen
    return int.from_bytes(packed, "big") >> spare == int.from_bytes(prefix.address, "big") >> spare


def survey(name: str, item: Mapping[str, Any], sight: Sight, grace: float) -> dict[str, Any]:
    """A network with its blocks and who has what.

    :param item: its declaration of the kind cni_network
    """
    records = [one for one in record.read_all() if one.network == name]
    pods = {(one.container_id, one.ifname): one for one in records}
    entries = reservations(store(name, item))
    blocks = []
    for block in item["blocks"]:
        addresses = []
        for entry in (one for one in entries if holds(block["cidr"], one.address)):
            pod = pods.get((entry.container_id, entry.ifname))
            verdict, reason = judge(entry, item["bridge"], sight, records, grace)
            shown: dict[str, Any] = {
                "address": entry.address,
                "container_id": entry.container_id,
                "ifname": entry.ifname,
            }
            shown.update(pod=pod.name if pod else None, namespace=pod.namespace if pod else None)
            addresses.append({**shown, "verdict": verdict, "reason": reason})
        size = capacity(block["cidr"], block["gateway"])
        figures = {"capacity": size, "used": len(addresses), "percent": round(100 * len(addresses) / max(size, 1), 1)}
        blocks.append({"block": block["cidr"], **figures, "addresses": addresses})
    return {"network": name, "bridge": item["bridge"], "blocks": blocks}


def leaked(network: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The leaked addresses of a network that was surveyed."""
    every = (entry for block in network["blocks"] for entry in block["addresses"])
    return [{"network": network["network"], **entry} for entry in every if entry["verdict"] == LEAKED]


def store(name: str, item: Mapping[str, Any]) -> Path:
    """host-local's directory of a network."""
    return Path(item["data_dir"]) / name


def reservations(path: Path) -> list[Reservation]:
    """What host-local holds in a store; nothing when there is none."""
    found = []
    for entry in sorted(path.glob("*")):
        if entry.name.startswith(BOOKKEEPING) or packed_ip(entry.name) is None or not entry.is_file():
            continue
        try:
            lines = entry.read_text(encoding="utf-8", errors="replace").split()
            age = time.time() - entry.stat().st_mtime
        except FileNotFoundError:
            continue  # given back meanwhile
        container, ifname = [*lines, "", ""][:2]
        found.append(Reservation(entry.name, container, ifname, age))
    return found


@contextmanager
def store_lock(path: Path, timeout: float = 30.0) -> Iterator[None]:
    """host-local's own lock (plugins/ipam/host-local/backend/disk/lock.go): nothing is reserved meanwhile.

    :raises PodnetError: a plugin has not given it back for ``timeout`` seconds
    """
    with (path / "lock").open("a", encoding="utf-8") as handle:
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise PodnetError(f"{path}/lock: host-local has held it for {timeout:g} s") from None
                time.sleep(0.02)
        yield


def free(name: str, item: Mapping[str, Any], grace: float) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Free the leaked addresses of a network, all judged under the lock. The survey before, and what was freed."""
    path = store(name, item)
    with store_lock(path):
        before = survey(name, item, look(), grace)
        gone = leaked(before)
        for entry in gone:
            (path / entry["address"]).unlink()
    return before, gone


def look() -> Sight:
    """See the interfaces of every network namespace that a process or a mount of this node keeps alive."""
    own = Path("/proc/self/ns/net").stat()
    places: dict[tuple[int, int], list[str]] = {}
    blind = []
    for path in _paths():
        try:
            found = Path(path).stat()
        except (FileNotFoundError, ProcessLookupError):
            continue
        except OSError as error:
            blind.append(f"{path} ({error.strerror})")
            continue
        if found.st_dev == own.st_dev and found.st_ino != own.st_ino:
            places.setdefault((found.st_dev, found.st_ino), []).append(path)
    others: dict[str, Sequence[Interface]] = {}
    for paths in places.values():
        try:
            links = _interfaces(["nsenter", f"--net={paths[0]}", "--"])
        except (ToolError, HostError) as error:
            if any(netns.is_alive(path) for path in paths):
                blind.append(str(error))
            continue
        others.update(dict.fromkeys(paths, links))
    return Sight(_interfaces([]), others, tuple(blind))


def _paths() -> Iterator[str]:
    """Mounted namespaces first: their paths say more than a process's."""
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        if " - nsfs " in line:
            yield line.split()[4].replace("\\040", " ")
    for one in record.read_all():
        yield one.netns
    for process in Path("/proc").glob("[0-9]*"):
        yield f"{process}/ns/net"


def _interfaces(enter: Sequence[str]) -> list[Interface]:
    argv = [*enter, "ip", "-json", "-details", "address", "show"]
    printed = run(argv)
    with taking_apart(" ".join(argv)):
        return interfaces(printed)


def interfaces(printed: str) -> list[Interface]:
    """The interfaces in what `ip -json -details address show` prints; raises what MALFORMED names."""
    shown = json.loads(printed or "[]")
    return [
        Interface(
            int(link["ifindex"]),
            int(link.get("link_index") or 0),
            str(link.get("master", "")),
            str(link.get("linkinfo", {}).get("info_kind", "")),
            str(link["ifname"]),
            frozenset(filter(None, (packed_ip(entry.get("local")) for entry in link.get("addr_info", [])))),
        )
        for link in shown
        if link
    ]
