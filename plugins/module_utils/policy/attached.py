# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pods of this node as their attachments tell them: those of module pod, and those that libcni has cached.

Container runtimes attach pods by libcni, which keeps each result (containernetworking/cni, libcni/api.go). It knows no
labels; namespace and name are there when the runtime gives K8S_POD_NAMESPACE and K8S_POD_NAME, as the kubelet has it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.cni import record
from ansible_collections.podnet.fabric.plugins.module_utils.errors import MALFORMED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

CACHE = Path("/var/lib/cni/results")
CACHED = "cniCacheV1"


def endpoints(networks: set[str], cache: Path = CACHE) -> list[dict[str, Any]]:
    """Pods with namespace, name, labels and addresses, in the order of their names.

    :param networks: the names of our networks
    """
    found = {(pod["namespace"], pod["name"]): pod for pod in (*_cached(networks, cache), *_recorded(networks))}
    return [found[key] for key in sorted(found)]


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
            wiring = [each for each in document["result"].get("interfaces") or () if isinstance(each, dict)]
        except (OSError, *MALFORMED):
            continue  # half written, gone meanwhile, or not a result
        yield _pod(str(arguments.get("K8S_POD_NAMESPACE") or "default"), str(name), {}, addresses, wiring)


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
