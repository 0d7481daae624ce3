# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which service has which cluster addresses and node ports: pure transitions of what the ledger keeps of that.

What holds after every transition: nothing is two services'; a service keeps what it has been given; what one that has
left had rests before another gets it, and goes back to it if it returns first. What a document itself names comes
before all that.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.service.documents import (
    EXTERNAL_TYPES,
    LOAD_BALANCER,
    given_addresses,
    programmed,
)
from ansible_collections.podnet.fabric.plugins.plugin_utils.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.plugin_utils.cluster import Address, Network, ServiceRange

FAMILIES = {"IPv4": 4, "IPv6": 6}
VARIABLE = "podnet_services"


class Allotment(NamedTuple):
    """A cluster address, or a node port as protocol/number, and whose it is; ``port`` names the service's port."""

    what: str
    service: str
    port: str = ""
    released: int | None = None  # seconds since 1970 when the service left; None while it has it


class Needs(NamedTuple):
    """What can be given out: ranges of addresses, and first and last node port."""

    ranges: Sequence[ServiceRange]
    node_ports: tuple[int, int]


class Wanted(NamedTuple):
    """What a service has to have. ``fixed`` is what it names itself; what it does not name has a family or a port."""

    path: str
    service: str
    fixed: tuple[tuple[str, str, str], ...]  # path, what, the name of the port
    families: tuple[int, ...]
    ports: tuple[tuple[str, str], ...]  # protocol, the name of the port


def settle(
    held: Sequence[Allotment], documents: Sequence[Mapping[str, Any]], needs: Needs, now: int, rest: int
) -> tuple[tuple[Allotment, ...], list[Problem]]:
    """Give each service what it has to have; what nobody wants any more rests."""
    wanted = [_wanted(position, document, needs) for position, document in enumerate(documents)]
    problems: list[Problem] = []
    taken: dict[str, Allotment] = {}
    for each in wanted:
        for path, what, port in each.fixed:
            problems += _misplaced(path, what, needs)
            taken[what] = Allotment(what, each.service, port)
    owners = {each.what: each for each in held if each.released is None}
    for each in wanted:
        for path, what, _port in each.fixed:
            owner = owners.get(what)
            if owner is not None and owner.service != each.service and _keeps(owner, wanted):
                found = f"{what}, which {owner.service} has been given"
                problems.append(Problem(path, found, "one that is free", "give another one, or none to get one"))
    own: dict[str, list[Allotment]] = {}
    for allotment in held:
        own.setdefault(allotment.service, []).append(allotment)
    resting = {each.what: each for each in held if each.released is None or now - each.released < rest}
    free = _Free(needs, taken, resting)
    for each in wanted:
        problems += _fill(each, own.get(each.service, ()), taken, free, needs)
    left = [
        each._replace(released=now if each.released is None else each.released)
        for each in resting.values()
        if each.what not in taken
    ]
    return tuple(sorted([*taken.values(), *left], key=_order)), problems


def complete(documents: Sequence[Mapping[str, Any]], allotments: Sequence[Allotment]) -> list[dict[str, Any]]:
    """The documents with all their cluster addresses and node ports, and without what no node reads."""
    own: dict[str, list[Allotment]] = {}
    for allotment in allotments:
        if allotment.released is None:
            own.setdefault(allotment.service, []).append(allotment)
    return [_complete(document, own.get(name_of(document), ())) for document in documents]


def name_of(document: Mapping[str, Any]) -> str:
    """Namespace and name of a service, as the ledger has them."""
    metadata = document["metadata"]
    return f"{metadata.get('namespace') or 'default'}/{metadata['name']}"


def _complete(document: Mapping[str, Any], own: Sequence[Allotment]) -> dict[str, Any]:
    spec = dict(document["spec"])
    # Annotations of a document that has been read out of a cluster may be longer than all the rest.
    metadata = {key: document["metadata"][key] for key in ("name", "namespace") if key in document["metadata"]}
    short = {"metadata": metadata, "spec": spec}
    if (document.get("status") or {}).get("loadBalancer"):
        short["status"] = {"loadBalancer": document["status"]["loadBalancer"]}
    if not programmed(spec):
        return short
    addresses = [each.what for each in own if "/" not in each.what]
    # The first address stays the first: it is the service's own family.
    stated = given_addresses(spec)
    spec["clusterIPs"] = [*stated, *_in_order([each for each in addresses if each not in map(_same, stated)], spec)]
    spec.pop("clusterIP", None)
    ports = {each.port: int(each.what.partition("/")[2]) for each in own if "/" in each.what}
    spec["ports"] = [
        {**port, "nodePort": ports[port_name(port)]} if port_name(port) in ports else port for port in spec["ports"]
    ]
    return short


def _in_order(addresses: Sequence[str], spec: Mapping[str, Any]) -> list[str]:
    first = FAMILIES.get((spec.get("ipFamilies") or ["IPv4"])[0], 4)
    return sorted(addresses, key=lambda each: (ipaddress.ip_address(each).version != first, each))


def port_name(port: Mapping[str, Any]) -> str:
    """What the ledger calls a port of a service."""
    return str(port.get("name") or f"{str(port.get('protocol') or 'TCP').lower()}-{port['port']}")


def _wanted(position: int, document: Mapping[str, Any], needs: Needs) -> Wanted:
    spec, path = document["spec"], f"{VARIABLE}[{position}].spec"
    if not programmed(spec):
        return Wanted(path, name_of(document), (), (), ())
    key = "clusterIPs" if spec.get("clusterIPs") else "clusterIP"
    stated = given_addresses(spec)
    fixed = [(f"{path}.{key}", _same(text), "") for text in stated]
    given = [ipaddress.ip_address(text).version for text in stated]
    ports: list[tuple[str, str]] = []
    allocated = spec.get("type") != LOAD_BALANCER or spec.get("allocateLoadBalancerNodePorts") is not False
    for number, port in enumerate(spec["ports"]):
        protocol = str(port.get("protocol") or "TCP").lower()
        if port.get("nodePort"):
            what = f"{protocol}/{port['nodePort']}"
            fixed.append((f"{path}.ports[{number}].nodePort", what, port_name(port)))
        elif spec.get("type") in EXTERNAL_TYPES and allocated:
            ports.append((protocol, port_name(port)))
    families = tuple(family for family in _families(spec, given, needs) if family not in given)
    return Wanted(path, name_of(document), tuple(fixed), families, tuple(ports))


def _families(spec: Mapping[str, Any], given: Sequence[int], needs: Needs) -> list[int]:
    """As the API server settles them (defaultOnRead and its like in pkg/registry/core/service)."""
    there = list(dict.fromkeys(each.network.version for each in needs.ranges)) or [4]
    named = [FAMILIES[each] for each in spec.get("ipFamilies") or ()]
    first = [*given, *named, *there][0]
    dual = spec.get("ipFamilyPolicy") or ("RequireDualStack" if len({*given, *named}) > 1 else "SingleStack")
    if dual == "SingleStack":
        return [first]
    other = 10 - first
    return [first, other] if dual == "RequireDualStack" or other in there or other in named else [first]


def _keeps(owner: Allotment, wanted: Sequence[Wanted]) -> bool:
    """Whether who was given something still wants it, and not something that it names itself in its place."""
    for each in wanted:
        if each.service == owner.service:
            if "/" in owner.what:
                return any(name == owner.port for _protocol, name in each.ports)
            return ipaddress.ip_address(owner.what).version in each.families
    return False


def _misplaced(path: str, what: str, needs: Needs) -> list[Problem]:
    if "/" in what:
        return []  # an operator may have reasons for any port
    address = ipaddress.ip_address(what)
    if any(address in each.network for each in needs.ranges):
        return []
    cure = "give an address from there, or add a range"
    return [Problem(path, what, "an address in podnet_service_cidrs", cure)]


def _fill(
    wanted: Wanted, own: Sequence[Allotment], taken: dict[str, Allotment], free: _Free, needs: Needs
) -> list[Problem]:
    """What a service does not name: what it had, else something new."""
    problems = []
    for family in wanted.families:
        had = [each for each in own if "/" not in each.what and _is_in(each.what, family, needs)]
        found = next((each.what for each in had if each.what not in taken), None) or free.address(family)
        if found is None:
            short = f"no free IPv{family} address in podnet_service_cidrs"
            cure = "add a range of that family, or make one larger"
            problems.append(Problem(f"{wanted.path}.clusterIP", short, "a free one", cure))
        else:
            taken[found] = Allotment(found, wanted.service)
    for protocol, port in wanted.ports:
        had = [each for each in own if each.port == port and each.what.startswith(f"{protocol}/")]
        found = next((each.what for each in had if each.what not in taken), None) or free.node_port(protocol)
        if found is None:
            short, cure = "no free node port", "make podnet_service_node_ports larger"
            problems.append(Problem(f"{wanted.path}.ports", short, "a free one", cure))
        else:
            taken[found] = Allotment(found, wanted.service, port)
    return problems


class _Free:
    """What is free, lowest first, but for the lowest: people choose those themselves (KEP-3070, KEP-3668)."""

    def __init__(self, needs: Needs, taken: Mapping[str, Allotment], resting: Mapping[str, Allotment]) -> None:
        self._taken, self._resting = taken, resting
        first, last = needs.node_ports
        size = last - first + 1
        self._numbers = _upper_first(first, last, min(max(16, size // 32), 128))
        self._addresses = {family: _of_family(needs.ranges, family) for family in (4, 6)}

    def address(self, family: int) -> str | None:
        """An address of a family."""
        texts = map(str, self._addresses[family])
        return next((text for text in texts if text not in self._taken and text not in self._resting), None)

    def node_port(self, protocol: str) -> str | None:
        """A node port, which no other protocol has either."""
        for number in self._numbers:
            keys = [f"{each}/{number}" for each in ("tcp", "udp", "sctp")]
            if not any(key in self._taken or key in self._resting for key in keys):
                return f"{protocol}/{number}"
        return None


def _of_family(ranges: Sequence[ServiceRange], family: int) -> Iterator[Address]:
    for each in ranges:
        if each.network.version == family:
            yield from _hosts(each.network)


def _hosts(network: Network) -> Iterator[Address]:
    # Neither the network's own address nor, in IPv4, the last one is a service's.
    first, last = int(network.network_address) + 1, int(network.broadcast_address) - (network.version == 4)
    for number in _upper_first(first, last, min(max(16, network.num_addresses // 16), 256)):
        yield network[number - int(network.network_address)]


def _upper_first(first: int, last: int, band: int) -> Iterator[int]:
    yield from range(first + band, last + 1)
    yield from range(first, min(first + band, last + 1))


def _is_in(what: str, family: int, needs: Needs) -> bool:
    address = ipaddress.ip_address(what)
    return address.version == family and any(address in each.network for each in needs.ranges)


def _same(text: str) -> str:
    return str(ipaddress.ip_address(text))


def _order(allotment: Allotment) -> tuple[int, int, str]:
    if "/" in allotment.what:
        protocol, _slash, number = allotment.what.partition("/")
        return (7, int(number), protocol)
    address = ipaddress.ip_address(allotment.what)
    return (address.version, int(address), "")
