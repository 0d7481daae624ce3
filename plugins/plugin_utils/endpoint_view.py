# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""All pods of the cluster as endpoints of policies: what the nodes' attachments tell, and what the inventory adds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEFAULT_NAMESPACE = "default"


def endpoints(
    attached: Mapping[str, Sequence[Mapping[str, Any]]], stated: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The endpoints, by namespace and name.

    :param attached: what the module endpoint_info returned, by node
    :param stated: podnet_endpoints, whose labels and ports count more than those of an attachment
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for node, pods in attached.items():
        for pod in pods:
            found[pod["namespace"], pod["name"]] = {**pod, "node": node}
    for pod in stated:
        whose = (str(pod.get("namespace") or DEFAULT_NAMESPACE), str(pod["name"]))
        known = found.get(whose, {"namespace": whose[0], "name": whose[1], "labels": {}, "addresses": []})
        added: dict[str, Any] = {
            key: pod[key] for key in ("addresses", "node", "ports", "interfaces", "mac") if pod.get(key)
        }
        labels = pod.get("labels") or {}
        if labels:
            added["stated"] = dict(labels)
        found[whose] = {**known, **added, "labels": {**known["labels"], **labels}}
    return [found[whose] for whose in sorted(found)]
