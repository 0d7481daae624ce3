# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The interfaces on a bridge of pods, and whether iptables and nftables see what goes between them (br_netfilter)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host

TOOLS = {4: "iptables", 6: "ip6tables"}


def unseen(families: Collection[int], so: str) -> list[str]:
    """A line when they do not.

    :param families: 4 and 6, as far as they matter
    :param so: what follows from it
    """
    blind = [
        f"net.bridge.bridge-nf-call-{tool}"
        for family, tool in TOOLS.items()
        if family in families and _setting(f"/proc/sys/net/bridge/bridge-nf-call-{tool}") != "1"
    ]
    return [
        f"{' and '.join(blind)}: not 1, so {so}; load the module br_netfilter (modprobe, and a line in "
        "/etc/modules-load.d) and set it to 1"
    ] * bool(blind)


def _setting(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""


def ports(bridge: str, host: Host) -> list[str]:
    """The interfaces on a bridge; none when there is no such bridge."""
    return sorted(name for name, link in host.links.items() if link.master == bridge)
