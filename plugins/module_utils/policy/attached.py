# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pods of this node as their attachments tell them.

They are told by the chained plugin podnet-attach, by the module pod, and by the cache of libcni, by which container
runtimes attach pods and which keeps each result (containernetworking/cni, libcni/api.go). That knows no labels;
namespace and name are there when the runtime gives K8S_POD_NAMESPACE and K8S_POD_NAME, as the kubelet has it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.attach import record as attached
from ansible_collections.podnet.fabric.plugins.module_utils.cni import record
from ansible_collections.podnet.fabric.plugins.module_utils.errors import MALFORMED, HostError
from ansible_collections.podnet.fabric.plugins.module_utils.policy.endpoints import without

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

CACHE = Path("/var/lib/cni/results")
CACHED = "cniCacheV1"


def endpoints(networks: set[str], cache: Path = CACHE) -> list[dict[str, Any]]:
    """Pods with namespace, name, labels and addresses, in the order of their names.

    :param networks: the names of our networks
    """
    told = (*_cached(networks, cache), *_chained(networks), *_recorded(networks))
    found = {(pod["namespace"], pod["name"]): pod for pod in told}
    return [found[key] for key in sorted(found)]


def present(declared: Sequence[Mapping[str, Any]], node: str, known: bool) -> list[Mapping[str, Any]]:
    """The declared endpoints as they are by now on this node, by what the chained plugin has seen since.

    A pod that it has attached has its labels and addresses from there, and from the declaration what the inventory says
    of it. One that it has detached is not there any more.

    :param declared: of the policy's declaration
    :param node: the name of this node
    :param known: whether that declaration was there when pods have gone, and not made by who has asked since
    """
    pods = {(pod["namespace"], pod["name"]): pod for pod in _chained()}
    gone = attached.gone() if known else {}
    taken = {address for pod in pods.values() for address in pod["addresses"]}
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for entry in declared:
        whose = (entry["namespace"], entry["name"])
        pod = pods.pop(whose, None)
        if pod is not None:
            found[whose] = _with_declared(pod, entry, node)
            continue
        lost = taken | gone.get(whose, set()) if entry["node"] == node else taken
        left = without(entry, lost)
        if left is not None:
            found[whose] = left
        elif entry.get("ports"):
            # What the inventory says of it holds when it comes back.
            found[whose] = {**entry, "addresses": [], "labels": entry.get("stated", {})}
    found.update((whose, _with_declared(pod, {}, node)) for whose, pod in pods.items())
    return [found[whose] for whose in sorted(found)]


def _with_declared(pod: Mapping[str, Any], entry: Mapping[str, Any], node: str) -> dict[str, Any]:
    labels = {**pod["labels"], **entry.get("stated", {})}
    return {**pod, "labels": labels, "node": node, "ports": entry.get("ports", [])}


def _chained(networks: set[str] | None = None) -> Iterator[dict[str, Any]]:
    """What the chained plugin has seen; a pod with several interfaces is one."""
    try:
        seen = attached.read_all()
    except attached.Damaged as error:
        raise HostError(str(error)) from error
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for each in seen:
        if networks is None or each.network in networks:
            own = _pod(each.namespace, each.name, dict(each.labels), [], each.wiring)
            pod = found.setdefault((each.namespace, each.name), own)
            if pod is not own:
                pod["interfaces"] = [*pod.get("interfaces", ()), *own.get("interfaces", ())]
                pod.pop("mac", None)
            pod["addresses"] += each.addresses
    yield from found.values()


def _recorded(networks: set[str]) -> Iterator[dict[str, Any]]:
    for entry in record.read_all():
        if entry.result is not None and entry.network in networks:
            addresses = [ip["address"].partition("/")[0] for ip in entry.ips]
            yield _pod(entry.namespace, entry.name, dict(entry.labels), addresses, entry.result.get("interfaces") or ())


def _cached(networks: set[str], cache: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(cache.glob("*")):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            if document["kind"] != CACHED or document["networkName"] not in networks:
                continue
            arguments = dict(document.get("cniArgs") or ())
            name = arguments.get("K8S_POD_NAME") or document["containerId"]
            addresses = [ip["address"].partition("/")[0] for ip in document["result"].get("ips") or ()]
            wiring = document["result"].get("interfaces") or ()
            found = _pod(str(arguments.get("K8S_POD_NAMESPACE") or "default"), str(name), {}, addresses, wiring)
        except (OSError, *MALFORMED):
            continue  # half written, gone meanwhile, or not a result
        yield found


def _pod(
    namespace: str, name: str, labels: dict[str, str], addresses: list[str], wiring: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """A pod.

    :param wiring: the interfaces of a result: those in a sandbox are the pod's, the others the node's
    """
    found = {"namespace": namespace, "name": name, "labels": labels, "addresses": addresses}
    of_node = [str(each["name"]) for each in wiring if each.get("name") and not each.get("sandbox")]
    macs = {str(each["mac"]) for each in wiring if each.get("mac") and each.get("sandbox")}
    return {
        **found,
        **({"interfaces": of_node} if of_node else {}),
        # With several it is not known which of them is behind which interface.
        **({"mac": macs.pop()} if len(macs) == 1 else {}),
    }
