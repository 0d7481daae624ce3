# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods: network namespaces of this node that are attached to the pod network, each with its own addresses."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.cni import attachment, conflist, netns, record
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.attachments import (
    ATTACHMENTS,
    Attachment,
    hindrances,
    key_of,
    observe,
    pairs,
)
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Target

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Items
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
    from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Facility

# RFC 1123 labels, as Kubernetes wants the names of namespaces and (dots allowed) of pods.
NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?\Z")
POD = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?\Z")
NAME_BYTES = 63
KEYS = ("name", "namespace", "netns", "ifname", "labels", "args", "port_mappings", "runtime_config")
PORT_KEYS = {"host_port": "hostPort", "container_port": "containerPort", "protocol": "protocol", "host_ip": "hostIP"}


class Pod:
    """See the module's documentation for the parameters.

    :param predict: say what keeps pods from being attached as notes, not as conflicts: in check mode, the network that
        is missing may be what an earlier task would have made
    """

    name = "pod"
    rank = 70
    facilities: Sequence[Facility] = (ATTACHMENTS,)

    def __init__(self, predict: bool = False) -> None:
        self.predict = predict

    def normalise(
        self, name: str, params: Mapping[str, Any], former: dict[str, Any] | None, host: Host
    ) -> dict[str, Any]:
        network = {"network": params["network"], "conf_dir": params["conf_dir"], "bin_dir": params["bin_dir"]}
        return items_of([{key: value for key, value in params.items() if key in KEYS}], network)[name]

    def target(self, items: Items, former: Items, host: Host) -> Target:
        desired: dict[Hashable, Attachment] = {key_of(obj): obj for obj in map(_desired, items.values())}
        current = observe(host, desired)
        conflicts = _shared_interfaces(desired.values())
        hindering = hindrances((obj for key, obj in desired.items() if obj != current.get(key)), host)
        notes = _outdated(desired)
        if self.predict:
            notes = hindering + notes
        else:
            conflicts += hindering
        return Target({"attachments": dict(current)}, {"attachments": dict(desired)}, conflicts, notes)


def items_of(pods: Any, network: Mapping[str, str]) -> Items:
    """Declared items out of a list of pods as the operator wrote it.

    :param network: network, conf_dir and bin_dir, the same for all
    :raises InvalidInput: with every finding
    """
    inspection = Inspection()
    items: Items = {}
    for position, pod in enumerate(pods):
        path = f"pods[{position}]"
        if not isinstance(pod, dict):
            inspection.refuse(path, repr(pod), "give a mapping with at least name")
            continue
        item = {**_item(inspection, path, pod), **network}
        name = item_name(item)
        if name in items:
            inspection.refuse(path, f"{item['namespace']}/{item['name']} again", "each pod stands in the list once")
        items[name] = item
    inspection.conclude()
    return items


def item_name(item: Mapping[str, str]) -> str:
    """The name of an item in the declaration."""
    return f"{item['network']}/{item['namespace']}/{item['name']}"


def outcome(names: Iterable[str]) -> list[dict[str, Any]]:
    """What a pod's user wants to know of it, in the order of the items named; those not attached are left out."""
    entries = {"/".join(key_of(entry)): entry for entry in record.read_all() if entry.result is not None}
    return [
        {
            "name": entry.name,
            "namespace": entry.namespace,
            "network": entry.network,
            "labels": dict(entry.labels),
            "netns": entry.netns,
            "interface": entry.ifname,
            "mac": entry.mac,
            "addresses": [ip["address"] for ip in entry.ips],
            "gateways": [ip["gateway"] for ip in entry.ips if ip.get("gateway")],
        }
        for entry in (entries[name] for name in names if name in entries)
    ]


def _item(inspection: Inspection, path: str, pod: Mapping[str, Any]) -> dict[str, Any]:
    inspection.unknown(path, pod, KEYS)
    name, namespace = pod.get("name"), pod.get("namespace") or "default"
    _inspect_name(inspection, f"{path}.name", name, POD)
    _inspect_name(inspection, f"{path}.namespace", namespace, NAMESPACE)
    ifname = pod.get("ifname") or "eth0"
    inspection.interface(f"{path}.ifname", ifname)
    place = pod.get("netns") or (name if namespace == "default" else f"{namespace}_{name}")
    if not isinstance(place, str) or (not place.startswith("/") and "/" in place) or place in (".", ".."):
        inspection.refuse(f"{path}.netns", repr(place), "give a name below /run/netns or an absolute path")
        place = ""
    values = dict(_inspect_mapping(inspection, f"{path}.runtime_config", pod.get("runtime_config")))
    ports = _inspect_ports(inspection, f"{path}.port_mappings", pod.get("port_mappings") or [])
    if ports:
        values["portMappings"] = ports
    labels = _inspect_mapping(inspection, f"{path}.labels", pod.get("labels"))
    args = {key: str(value) for key, value in _inspect_mapping(inspection, f"{path}.args", pod.get("args")).items()}
    for key, value in args.items():
        if ";" in f"{key}{value}" or "=" in key:
            inspection.refuse(f"{path}.args.{key}", value, "CNI_ARGS has no way to write ';', nor '=' in a name")
    return {
        "name": name,
        "namespace": namespace,
        "netns": netns.path_of(place),
        "ifname": ifname,
        "labels": {key: str(value) for key, value in labels.items()},
        "args": args,
        "runtime_config": values,
    }


def _inspect_name(inspection: Inspection, path: str, value: Any, pattern: re.Pattern[str]) -> None:
    if not isinstance(value, str) or not pattern.match(value) or len(value) > NAME_BYTES:
        wanted = "lower-case letters, digits and '-' make one, at most 63, as in Kubernetes"
        inspection.refuse(path, repr(value), wanted)


def _inspect_mapping(inspection: Inspection, path: str, value: Any) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        inspection.refuse(path, repr(value), "give a mapping")
        return {}
    return value


def _inspect_ports(inspection: Inspection, path: str, mappings: Any) -> list[dict[str, Any]]:
    """Port mappings in the words of the capability portMappings (CNI CONVENTIONS.md)."""
    if not isinstance(mappings, list) or not all(isinstance(entry, dict) for entry in mappings):
        inspection.refuse(path, repr(mappings), "give a list of mappings with host_port and container_port")
        return []
    for position, entry in enumerate(mappings):
        here = f"{path}[{position}]"
        inspection.unknown(here, entry, PORT_KEYS)
        for key in ("host_port", "container_port"):
            inspection.integer(f"{here}.{key}", entry.get(key), 1, 65535)
        if entry.get("protocol", "tcp") not in ("tcp", "udp", "sctp"):
            inspection.refuse(f"{here}.protocol", repr(entry["protocol"]), "give tcp, udp or sctp")
        if entry.get("host_ip"):
            inspection.ip(f"{here}.host_ip", entry["host_ip"])
    return [
        {"protocol": "tcp", **{PORT_KEYS[key]: value for key, value in entry.items() if key in PORT_KEYS}}
        for entry in mappings
    ]


def _desired(item: Mapping[str, Any]) -> Attachment:
    return Attachment(
        item["network"],
        item["namespace"],
        item["name"],
        item["netns"],
        item["ifname"],
        pairs(item["labels"]),
        pairs(item["args"]),
        json.dumps(item["runtime_config"], sort_keys=True),
        item["conf_dir"],
        item["bin_dir"],
    )


def _shared_interfaces(wanted: Iterable[Attachment]) -> list[str]:
    """Pods that want the same interface of the same network namespace."""
    holders: dict[tuple[str, str], list[str]] = {}
    for obj in wanted:
        holders.setdefault((obj.netns, obj.ifname), []).append(f"{obj.namespace}/{obj.name} ({obj.network})")
    return [
        f"pods {' and '.join(names)} both want interface {ifname} in {place}; give one of them another netns or ifname"
        for (place, ifname), names in holders.items()
        if len(names) > 1
    ]


def _outdated(desired: Iterable[Hashable]) -> list[str]:
    """Pods whose network has another configuration by now. They stay: attaching anew would cut their connections."""
    wanted: set[Hashable] = set(desired)
    lists: dict[tuple[str, str], Any] = {}
    names: list[str] = []
    for entry in record.read_all():
        if key_of(entry) in wanted and entry.result is not None:
            place = (entry.conf_dir, entry.network)
            if place not in lists:
                found = attachment.load(*place)
                lists[place] = None if found is None else conflist.undrained(found)
            if lists[place] not in (None, conflist.undrained(entry.conflist)):
                names.append(f"{entry.namespace}/{entry.name}")
    return [_outdated_note(names)] if names else []


def _outdated_note(names: Sequence[str]) -> str:
    return (
        f"the network's configuration has changed since these pods were attached: {', '.join(names)}; "
        "detach and attach them for the change to reach them"
    )


KIND = Pod()
