# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which packet filter a node takes for what was chosen: of iptables a flavour."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import iptables_tools

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT = "nftables"
EBPF_NAME = "ebpf"


def has_programs(item: Mapping[str, Any]) -> bool:
    """Whether services are declared to be sent on at the pods' interfaces. Former declarations say nothing of it."""
    return item["backend"] == EBPF_NAME or bool(item.get("programs"))


def chosen(params: Mapping[str, Any], former: Mapping[str, Any] | None) -> str:
    """The name under which a backend is declared.

    :param params: a module's ``backend``, ``iptables_flavour`` and ``antispoofing``
    :param former: what was declared before
    :raises PodnetError: the node lacks its tools
    """
    name: str = params.get("backend") or DEFAULT
    if name != "iptables":
        return name
    if shutil.which("ipset") is None:
        raise PodnetError("ipset is not installed on this node; install it, or set backend: nftables")
    if params.get("antispoofing") and shutil.which("nft") is None:
        raise PodnetError(
            "nft is not installed on this node, and antispoofing takes it with iptables, too; install nftables, or set "
            "antispoofing: false"
        )
    flavour = params.get("iptables_flavour") or "auto"
    if flavour == "auto":
        had = str(former["backend"]).partition("-")[2] if former else ""
        flavour = iptables_tools.choose(had or None)
    return f"{name}-{flavour}"


def passes_by(item: Mapping[str, Any]) -> bool:
    """Whether packets between pods are declared to go past the host."""
    return has_programs(item) and bool(item.get("bypass"))


def sees_nothing(policies: Mapping[str, Mapping[str, Any]], services: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line where what goes past the host would go past policies, too.

    :param policies: the items that declare them
    """
    names = sorted({str(item["backend"]) for item in policies.values() if item["backend"] != EBPF_NAME})
    if not names or not any(map(passes_by, services.values())):
        return []
    return [
        f"service: bypass is true, and policies are by {' and '.join(names)}, which sees nothing of what goes past the "
        "host; declare policies with backend: ebpf or take them back, or declare services with bypass: false first"
    ]
