# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether iptables and nftables see what goes from one pod of a bridge to another (the module br_netfilter)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

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
