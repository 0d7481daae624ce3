# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One pod on one network: attached, examined, detached, so that a run killed at any point is made good by the next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.cni import conflist, netns, network, record
from ansible_collections.podnet.fabric.plugins.module_utils.cni.network import AttachError
from ansible_collections.podnet.fabric.plugins.module_utils.cni.plugin import CniError, directories, executor
from ansible_collections.podnet.fabric.plugins.module_utils.command import ToolError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.cni.record import Record
    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.link import Link

ATTACHED = "attached"
INTERRUPTED = "interrupted while it was attached"


def load(conf_dir: str, name: str) -> dict[str, Any] | None:
    """A network's configuration list, as libcni finds it: the first file in order of names that defines it."""
    for path in sorted(Path(conf_dir).glob("*.conflist")):
        found = conflist.parse(path.read_text(encoding="utf-8", errors="replace"))
        if found is not None and found["name"] == name:
            return found
    return None


def attach(wanted: Record, former: Record | None, lock: int) -> None:
    """Attach a pod, making its named network namespace when there is none.

    :param wanted: the record to be, with the configuration to use
    :param former: the record of the attachment that this one replaces, detached already
    :param lock: see record.plugins_lock
    :raises AttachError: a plugin failed
    :raises ToolError: the network namespace could not be made
    """
    stands = netns.is_alive(wanted.netns)
    ours = not stands or (former is not None and former.netns == wanted.netns and former.netns_made)
    intent = wanted._replace(netns_made=ours, kept=_kept(wanted, former), result=None)
    record.write(intent)
    if not stands:
        netns.make(wanted.netns)
    if ours:
        netns.settle(wanted.netns)
    execute = executor(directories(wanted.bin_dir), keep_open=[lock])
    try:
        result = network.add(wanted.conflist, intent.runtime(wanted.netns), execute)
    except AttachError as error:
        # What has been attached before may hold processes, so its namespace and the intent stay for the next run.
        if error.undone and former is None:
            _forget(intent)
        raise
    record.write(intent._replace(result=result))


def _kept(wanted: Record, former: Record | None) -> tuple[str, ...]:
    """The addresses that a pod keeps when its attachment is repaired: all, for as long as the network is the same."""
    if former is None or former.conflist != wanted.conflist or "ips" not in network.capabilities(wanted.conflist):
        return ()
    return tuple(ip["address"] for ip in former.ips)


def detach(found: Record, lock: int, keep_netns: bool = False) -> None:
    """Detach a pod with the configuration that attached it; its namespace goes when we made it.

    :param keep_netns: leave namespace and record, because it is attached anew at once
    :param lock: see record.plugins_lock
    :raises CniError: a plugin failed; the record stays, so that the next run tries again
    :raises ToolError: the network namespace could not be removed
    """
    execute = executor(directories(found.bin_dir), keep_open=[lock])
    present = found.netns if netns.is_alive(found.netns) else ""
    network.delete(found.conflist, found.runtime(present), found.result, execute)
    if not keep_netns:
        _forget(found)


def _forget(found: Record) -> None:
    if found.netns_made:
        netns.delete(found.netns)
    record.remove(found)


def condition(found: Record, links: Mapping[str, Link]) -> str:
    """Whether an attachment is as ADD left it: ``attached``, or what is wrong with it."""
    if found.result is None:
        return INTERRUPTED
    if not netns.is_alive(found.netns):
        return f"network namespace {found.netns} is gone"
    return _in_the_pod(found) or _on_the_node(found, links) or ATTACHED


def _in_the_pod(found: Record) -> str:
    """What CHECK finds wrong, empty for nothing."""
    if found.result is None or not network.has_check(found.conflist):
        return _lost(found)
    execute = executor(directories(found.bin_dir))
    try:
        network.check(found.conflist, found.runtime(found.netns), found.result, execute)
    except CniError as error:
        return str(error)
    return ""


def _on_the_node(found: Record, links: Mapping[str, Link]) -> str:
    """What is wrong with the node's end of the pair; the bridge plugin's CHECK does not look whether it is up."""
    bridges = conflist.bridges(found.conflist)
    for name in found.host_interfaces:
        link = links.get(name)
        if link is None:
            return f"interface {name} of the node is gone"
        if link.kind == "veth" and not link.up:
            return f"interface {name} of the node is down"
        if link.kind == "veth" and bridges and link.master not in bridges:
            return f"interface {name} of the node is not on bridge {bridges[0]}"
    return ""


def _lost(found: Record) -> str:
    """What a pod has lost of its interface and addresses, for networks whose plugins may not be asked."""
    try:
        present = netns.addresses(found.netns, found.ifname)
    except ToolError as error:
        return str(error)
    if present is None:
        return f"interface {found.ifname} is gone or down"
    gone = [ip["address"] for ip in found.ips if ip["address"] not in present]
    return f"address {gone[0]} is gone" if gone else ""
