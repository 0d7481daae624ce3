# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods attached to a network by its CNI plugins, and the records that remember them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.cni import attachment, conflist, netns, network, record
from ansible_collections.podnet.fabric.plugins.module_utils.cni.plugin import directories
from ansible_collections.podnet.fabric.plugins.module_utils.cni.record import Record
from ansible_collections.podnet.fabric.plugins.module_utils.errors import ApplyError, PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import (
    DELETE,
    RECREATE,
    REPLACE,
    Operation,
    Reference,
)

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host

Pairs = tuple[tuple[str, str], ...]


class Attachment(NamedTuple):
    """A pod on a network. ``capability_args`` is JSON text, so that it compares; ``state`` tells how it was found."""

    network: str
    namespace: str
    name: str
    netns: str
    ifname: str
    labels: Pairs
    args: Pairs
    capability_args: str
    conf_dir: str
    bin_dir: str
    state: str = attachment.ATTACHED


def key_of(obj: Attachment | Record) -> tuple[str, str, str]:
    """What identifies an attachment."""
    return (obj.network, obj.namespace, obj.name)


def pairs(mapping: Mapping[str, str]) -> Pairs:
    """A mapping that compares, in one order."""
    return tuple(sorted(mapping.items()))


def observe(host: Host, examined: Iterable[Hashable]) -> dict[Hashable, Attachment]:
    """The attachments of this node, by key; those in ``examined`` with what CHECK says of them."""
    wanted = set(examined)
    found: dict[Hashable, Attachment] = {}
    for entry in record.read_all():
        state = attachment.condition(entry, host.links) if key_of(entry) in wanted else attachment.ATTACHED
        found[key_of(entry)] = Attachment(
            *key_of(entry),
            entry.netns,
            entry.ifname,
            pairs(entry.labels),
            pairs(entry.args),
            json.dumps(entry.capability_args, sort_keys=True),
            entry.conf_dir,
            entry.bin_dir,
            state,
        )
    return found


def hindrances(wanted: Iterable[Attachment], host: Host) -> list[str]:
    """What keeps pods from being attached, all of it, each with its cure."""
    found: list[str] = []
    capabilities: dict[tuple[str, str, str], Sequence[str]] = {}
    for obj in wanted:
        place = (obj.conf_dir, obj.network, obj.bin_dir)
        if place not in capabilities:
            config = attachment.load(obj.conf_dir, obj.network)
            # Without a list there is nothing to say about a pod's own wishes.
            capabilities[place] = (
                list(json.loads(obj.capability_args)) if config is None else network.capabilities(config)
            )
            found += [f"network {obj.network}: {line}" for line in _of_network(config, obj, host)]
        pod = f"pod {obj.namespace}/{obj.name}"
        found += [
            f"{pod}: no plugin of network {obj.network} has the capability {name}; chain one with podnet_cni_plugins "
            "(for portMappings: portmap)"
            for name in sorted(set(json.loads(obj.capability_args)).difference(capabilities[place]))
        ]
        if not netns.is_alive(obj.netns) and not netns.name_of(obj.netns):
            found.append(f"{pod}: {obj.netns} is no network namespace; make it first, or give a name to have one made")
    return found


def _of_network(config: Mapping[str, Any] | None, obj: Attachment, host: Host) -> list[str]:
    if config is not None and conflist.is_drained(config) and not host.force:
        return ["this node is drained and takes no new pods; end that by playbooks/drain.yml -e drained=false"]
    if config is None:
        return [f"no configuration list of that name in {obj.conf_dir}; write it first (module cni_network, role cni)"]
    # The plugin would make the bridge itself, without addresses and without our mark.
    bridges = [
        f"bridge {name} does not exist; make it first (module bridge, role bridge)"
        for name in conflist.bridges(config)
        if name not in host.links
    ]
    return [*map(str, conflist.missing(config, directories(obj.bin_dir))), *bridges]


class AttachmentFacility:
    """Runs the plugins of a network, pod by pod; one that fails does not keep the others from being attached."""

    name = "attachments"
    # An address or an interface's name that one pod gives up may be what another one wants.
    deletes_first = True

    def parents(self, obj: Attachment) -> Sequence[Reference]:
        return ()

    def immutable(self, before: Attachment, after: Attachment) -> bool:
        """Labels and directories are notes of ours; everything else was told to the plugins."""
        return before._replace(labels=after.labels, conf_dir=after.conf_dir, bin_dir=after.bin_dir) != after

    def describe(self, obj: Attachment) -> dict[str, Any]:
        fields = {"pod": f"{obj.namespace}/{obj.name}", "network": obj.network, "netns": obj.netns, "dev": obj.ifname}
        fields.update(labels=_joined(obj.labels), args=_joined(obj.args), state=obj.state)
        if obj.capability_args != "{}":
            fields["runtime_config"] = obj.capability_args
        return {name: value for name, value in fields.items() if value}

    def apply(self, operations: Sequence[Operation], host: Host) -> None:
        failures: list[str] = []
        with record.plugins_lock() as lock:
            known = {key_of(entry): entry for entry in record.read_all()}
            for operation in operations:
                obj = operation.after or operation.before
                try:
                    _carry_out(operation.verb, obj, known.get(key_of(obj)), lock, host.force)
                except PodnetError as error:
                    failures.append(f"{self.name}: {operation.verb} {obj.namespace}/{obj.name}: {error}")
        host.forget()
        if failures:
            raise ApplyError(failures)


def _carry_out(verb: str, obj: Attachment, former: Record | None, lock: int, force: bool) -> None:
    if verb == DELETE:
        if former is not None:
            attachment.detach(former, lock)
        return
    if verb == REPLACE and former is not None:
        record.write(former._replace(labels=dict(obj.labels), conf_dir=obj.conf_dir, bin_dir=obj.bin_dir))
        return
    config = attachment.load(obj.conf_dir, obj.network)
    if config is None:
        raise PodnetError(f"network {obj.network} has no configuration list in {obj.conf_dir}")
    wanted = Record(
        *key_of(obj),
        obj.netns,
        False,
        obj.ifname,
        dict(obj.labels),
        dict(obj.args),
        json.loads(obj.capability_args),
        conflist.undrained(config) if force else config,
        obj.conf_dir,
        obj.bin_dir,
    )
    if verb == RECREATE and former is not None:
        same_place = former.netns == obj.netns
        attachment.detach(former, lock, keep_netns=same_place)
        former = former if same_place else None
    attachment.attach(wanted, former, lock)


def _joined(values: Pairs) -> str:
    return ",".join(f"{name}={value}" for name, value in values)


ATTACHMENTS = AttachmentFacility()
