# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel settings that a pod network needs: set now, kept in a file of ours for the next boot, put back by an undo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.files import (
    FILES,
    File,
    conflicts,
    missing_directories,
)
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.files import observe as observe_files
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.sysctls import (
    SYSCTLS,
    Sysctl,
    expand,
    path,
    read,
)
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection
from ansible_collections.podnet.fabric.plugins.module_utils.ownership import FILE_HEADER
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Target

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Items
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host

SETTINGS_FILE = "/etc/sysctl.d/84-podnet.conf"

SIDE_EFFECTS = {
    # inet_forward_change in net/ipv4/devinet.c: interfaces follow; accept_redirects of "all" becomes the opposite.
    "net.ipv4.ip_forward": ("net.ipv4.conf.*.forwarding", "net.ipv4.conf.all.accept_redirects"),
    # addrconf_fixup_forwarding in net/ipv6/addrconf.c: every interface follows.
    "net.ipv6.conf.all.forwarding": ("net.ipv6.conf.*.forwarding",),
}


class SysctlKind:
    """See the module's documentation for the parameters."""

    name = "sysctl"
    rank = 5
    facilities = (FILES, SYSCTLS)

    def normalise(
        self, name: str, params: Mapping[str, Any], former: dict[str, Any] | None, host: Host
    ) -> dict[str, Any]:
        inspection = Inspection()
        settings = {key: " ".join(str(value).split()) for key, value in (params["settings"] or {}).items()}
        for key, value in settings.items():
            where = f"settings['{key}']"
            if not key.startswith("net.") or ".." in key or "*" in key:
                inspection.refuse(
                    where, "is not below net.", "only the network's settings are per node and in our charge"
                )
            elif read(key) is None:
                inspection.refuse(
                    where, f"this kernel has no {path(key)}", "take it out, or load the module that brings it"
                )
            elif not value:
                inspection.refuse(where, "empty", "give the value as a number or text")
        inspection.conclude()
        kept: dict[str, str] = dict(former["former"]) if former else {}
        for key in settings:
            if key not in kept:
                kept.update({key: read(key) or "" for key in affected(key) if key not in kept})
        made = former["made"] if former else missing_directories(SETTINGS_FILE)
        return {"settings": settings, "former": kept, "made": made}

    def target(self, items: Items, former: Items, host: Host) -> Target:
        desired: dict[Hashable, Sysctl] = {}
        settings: dict[str, str] = {}
        for item in items.values():
            settings.update(item["settings"])
        covered = {key for setting in settings for key in affected(setting)}
        # What is no longer asked for goes back, the general setting before those that it drags along.
        for item in {**former, **items}.values():
            for key, value in sorted(item["former"].items(), key=lambda entry: entry[0] not in SIDE_EFFECTS):
                if key not in covered and read(key) is not None:
                    desired[key] = Sysctl(key, value)
        # accept_ra comes before forwarding, which would drop the routes that it keeps (rt6_purge_dflt_routers).
        ordered = sorted(settings.items(), key=lambda entry: entry[0] in SIDE_EFFECTS)
        desired.update((key, Sysctl(key, value)) for key, value in ordered)
        current: dict[Hashable, Sysctl] = {
            key: Sysctl(wanted.key, read(wanted.key) or "") for key, wanted in desired.items()
        }
        text = FILE_HEADER + "".join(f"{key} = {value}\n" for key, value in sorted(settings.items()))
        made: list[str] = next((item["made"] for item in [*items.values(), *former.values()]), [])
        files: dict[Hashable, File] = {SETTINGS_FILE: File(SETTINGS_FILE, text, 0o644, tuple(made))} if settings else {}
        return Target(
            {"files": observe_files({SETTINGS_FILE: made}), "sysctls": dict(current)},
            {"files": files, "sysctls": dict(desired)},
            conflicts(list(files)),  # type: ignore[arg-type]
        )


def affected(key: str) -> dict[str, None]:
    """The setting and those that the kernel changes along with it, in order."""
    return dict.fromkeys([key, *(name for pattern in SIDE_EFFECTS.get(key, ()) for name in expand(pattern))])


KIND = SysctlKind()
