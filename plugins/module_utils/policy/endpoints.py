# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods as the policies' endpoints: inspected as they are given, read as they are declared."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.errors import DeclarationError
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import declared_ip, packed_ip
from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import Endpoint
from ansible_collections.podnet.fabric.plugins.module_utils.policy.documents import MAX_PORT
from ansible_collections.podnet.fabric.plugins.module_utils.policy.inspection import (
    LABEL,
    PORT_NAME,
    PROTOCOLS,
    SUBDOMAIN,
    inspect_labels,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection

KEYS = ("namespace", "name", "labels", "addresses", "ports", "node", "stated", "interfaces", "mac")
_KEYS = frozenset(KEYS)
# What is declared of each.
_LEAST: Mapping[str, Any] = {"namespace": "default", "node": "", "labels": {}, "addresses": [], "ports": []}
PORT_KEYS = ("name", "protocol", "port")
# dev_valid_name() of net/core/dev.c. A quotation mark would end the name in a rule, and to iptables + is any ending.
INTERFACE = re.compile(r"[^\s/:\"\\,+]{1,15}\Z")
MAC = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}\Z")


def inspect_endpoints(
    inspection: Inspection, path: str, endpoints: Any, declared: Sequence[dict[str, Any]] = ()
) -> list[dict[str, Any]]:
    """The endpoints as they are declared; an address belongs to one of them.

    :param declared: those of before, each of which has been inspected then (see standing.py)
    """
    if not isinstance(endpoints, list):
        inspection.refuse(path, repr(endpoints), "give a list of endpoints")
        return []
    found = []
    before = {(item["namespace"], item["name"]): item for item in declared}
    holders: dict[bytes, str] = {}
    names: dict[tuple[str, str], str] = {}
    for position, endpoint in enumerate(endpoints):
        here = f"{path}[{position}]"
        if not isinstance(endpoint, dict):
            inspection.refuse(here, repr(endpoint), f"give a mapping with {', '.join(KEYS)}")
            continue
        whole = {**_LEAST, **endpoint}
        item = before.get((str(whole["namespace"]), str(whole.get("name"))), {})
        if item != whole:
            if not endpoint.keys() <= _KEYS:
                inspection.unknown(here, map(str, endpoint), KEYS)
            item = _item(inspection, here, endpoint)
        whose = (item["namespace"], item["name"])
        if whose in names:
            inspection.refuse(here, f"{'/'.join(whose)} again", f"{names[whose]} is that already")
        names.setdefault(whose, here)
        for number, text in enumerate(item["addresses"]):
            packed = packed_ip(text)
            if packed is None:
                inspection.ip(f"{here}.addresses[{number}]", text)
            elif holders.setdefault(packed, here) != here:
                inspection.refuse(f"{here}.addresses[{number}]", text, f"{holders[packed]} has it already")
        found.append(item)
    return found


def of_others(
    former: Mapping[str, Any] | None, asked: Collection[str] | None, known: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The endpoints declared before on nodes that have not been asked this time; what is known by now counts more.

    :param asked: the nodes of which all endpoints are known; None for all nodes
    """
    if former is None or asked is None:
        return []
    names = {(item["namespace"], item["name"]) for item in known}
    addresses = {address for item in known for address in item["addresses"]}
    return [
        item
        for item in former["endpoints"]
        if item["node"]
        and item["node"] not in asked
        and (item["namespace"], item["name"]) not in names
        and addresses.isdisjoint(item["addresses"])
    ]


def without(item: Mapping[str, Any], lost: Collection[str]) -> Mapping[str, Any] | None:
    """A declared endpoint that no longer has these addresses; None where it had others and has none any more."""
    left = [address for address in item["addresses"] if address not in lost]
    if len(left) == len(item["addresses"]):
        return item
    return {**item, "addresses": left} if left else None


def read(item: Mapping[str, Any]) -> Endpoint:
    """An endpoint out of a declaration.

    :raises DeclarationError: somebody has edited it since
    """
    addresses: dict[int, tuple[int, ...]] = {}
    try:
        for text in item["addresses"]:
            packed = declared_ip(text)
            family = 4 if len(packed) == 4 else 6
            addresses[family] = (*addresses.get(family, ()), int.from_bytes(packed, "big"))
        ports = tuple((port["name"], port["protocol"], int(port["port"])) for port in item["ports"])
        # A declaration of an earlier version says nothing of these.
        interfaces, mac = tuple(map(str, item.get("interfaces", ()))), str(item.get("mac", ""))
        if mac and not MAC.match(mac):
            raise ValueError(f"mac: {mac!r} is none")  # noqa: TRY301
        return Endpoint(item["namespace"], item["name"], dict(item["labels"]), addresses, ports, interfaces, mac)
    except (KeyError, TypeError, ValueError) as error:
        raise DeclarationError(f"the declaration holds no endpoint ({error}); run the playbook again") from error


def _item(inspection: Inspection, path: str, endpoint: Mapping[str, Any]) -> dict[str, Any]:
    name, namespace = endpoint.get("name"), endpoint.get("namespace") or "default"
    if not isinstance(name, str) or not SUBDOMAIN.match(name):
        inspection.refuse(f"{path}.name", repr(name), "give lower-case letters, digits, '-' and '.'")
    if not isinstance(namespace, str) or not LABEL.match(namespace):
        inspection.refuse(f"{path}.namespace", repr(namespace), "give at most 63 lower-case letters, digits and '-'")
    for key in ("labels", "stated"):
        inspect_labels(inspection, f"{path}.{key}", endpoint.get(key))
    addresses = endpoint.get("addresses") or []
    if not isinstance(addresses, list):
        inspection.refuse(f"{path}.addresses", repr(addresses), "give a list of addresses")
        addresses = []
    return {
        "namespace": str(namespace),
        "name": str(name),
        "node": str(endpoint.get("node") or ""),
        "labels": dict(endpoint["labels"]) if isinstance(endpoint.get("labels"), dict) else {},
        # As attachments tell them, with the length of the prefix.
        "addresses": [text.partition("/")[0] if isinstance(text, str) else text for text in addresses],
        "ports": _ports(inspection, f"{path}.ports", endpoint.get("ports") or []),
        # Those of the labels that hold for whichever pod has this name next.
        **({"stated": dict(endpoint["stated"])} if isinstance(endpoint.get("stated"), dict) else {}),
        **_wiring(inspection, path, endpoint),
    }


def _wiring(inspection: Inspection, path: str, endpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The node's interfaces that belong to a pod, and its MAC address; nothing where nothing is given."""
    found: dict[str, Any] = {}
    interfaces, mac = endpoint.get("interfaces"), endpoint.get("mac")
    if interfaces:
        if isinstance(interfaces, list) and all(isinstance(each, str) and INTERFACE.match(each) for each in interfaces):
            found["interfaces"] = list(interfaces)
        else:
            inspection.refuse(f"{path}.interfaces", repr(interfaces), "give a list of names of interfaces of its node")
    if mac:
        if isinstance(mac, str) and MAC.match(mac):
            found["mac"] = mac.lower()
        else:
            inspection.refuse(f"{path}.mac", repr(mac), "give a MAC address, six bytes with ':' between")
    return found


def _ports(inspection: Inspection, path: str, ports: Any) -> list[dict[str, Any]]:
    """Named ports, which policies may refer to."""
    if not isinstance(ports, list):
        inspection.refuse(path, repr(ports), "give a list of ports with name, protocol and port")
        return []
    found = []
    for position, port in enumerate(ports):
        here = f"{path}[{position}]"
        if not isinstance(port, dict):
            inspection.refuse(here, repr(port), f"give a mapping with {', '.join(PORT_KEYS)}")
            continue
        inspection.unknown(here, map(str, port), PORT_KEYS)
        name, protocol = port.get("name"), port.get("protocol") or "TCP"
        if not isinstance(name, str) or not PORT_NAME.match(name):
            inspection.refuse(f"{here}.name", repr(name), "give at most 15 lower-case letters, digits and '-'")
        if protocol not in PROTOCOLS:
            inspection.refuse(f"{here}.protocol", repr(protocol), f"give {', '.join(PROTOCOLS)}")
        inspection.integer(f"{here}.port", port.get("port"), 1, MAX_PORT)
        found.append({"name": name, "protocol": str(protocol).lower(), "port": port.get("port")})
    return found
