# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes the pod network come back after a reboot: the node program, and what systemd and others are told.

The units and drop-ins are plain files, so that they are seen, compared and removed as all that this collection makes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils import node_archive
from ansible_collections.podnet.fabric.plugins.module_utils.errors import DeclarationError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import files
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.files import File
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.programs import (
    ENABLEMENTS,
    PROGRAMS,
    SYSTEM,
    UNIT_FILES,
    Program,
    Wanted,
    observe_program,
    observe_wanted,
)
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection
from ansible_collections.podnet.fabric.plugins.module_utils.ownership import FILE_HEADER
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Items
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
    from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Facility

PROGRAM = "/usr/local/sbin/podnet-node"
RESTORE, RETURN, HEAL, HEAL_TIMER, HEALTH, HEALTH_TIMER = (
    f"{SYSTEM}/podnet-{name}"
    for name in ("restore.service", "return.service", "heal.service", "heal.timer", "health.service", "health.timer")
)
WAITING = 120
"""Seconds that the restoring at boot waits for the underlay."""

# What starts containers, and has to find the network there; and what empties packet filters when it starts.
RUNTIMES = "docker.service containerd.service crio.service podman-restart.service kubelet.service nomad.service"
FILTERS = "nftables.service netfilter-persistent.service iptables.service firewalld.service ufw.service"
# Before version 256 networkd, when it starts again, takes nexthops away over links that it manages, and for a moment
# their addresses, with which the kernel drops all routes over them.
TAKERS = f"systemd-networkd.service NetworkManager.service {FILTERS}"
# It has read its links' files by the time that it counts as started, and goes through the links thereafter.
_ONLINE = "/lib/systemd/systemd-networkd-wait-online"
NETWORKD_DONE = f"/bin/sh -c 'systemctl --quiet is-active systemd-networkd && {_ONLINE} --timeout=30'"

UNITS = {
    RESTORE: f"""[Unit]
Description=Pod network of podnet.fabric
Documentation=man:systemd.unit(5)
ConditionPathExists={PROGRAM}
ConditionDirectoryNotEmpty=/etc/podnet/node.d
Wants=network-online.target
After=network-online.target {FILTERS}
Before={RUNTIMES}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={PROGRAM} restore --wait {WAITING}

[Install]
WantedBy=multi-user.target
""",
    RETURN: f"""[Unit]
Description=Bring the pod network of podnet.fabric back when something has started that may take it away
ConditionDirectoryNotEmpty=/etc/podnet/node.d
After=podnet-restore.service {TAKERS}

[Service]
Type=oneshot
ExecStartPre=-{NETWORKD_DONE}
ExecStart={PROGRAM} restore

[Install]
WantedBy={TAKERS}
""",
    HEAL: f"""[Unit]
Description=Bring the pod network of podnet.fabric back to what is declared
ConditionDirectoryNotEmpty=/etc/podnet/node.d
After=podnet-restore.service

[Service]
Type=oneshot
ExecStart={PROGRAM} restore
""",
    HEALTH: f"""[Unit]
Description=Check the backends of the services of podnet.fabric
ConditionPathExists=/etc/podnet/node.d/service.json
After=podnet-restore.service

[Service]
Type=oneshot
ExecStart={PROGRAM} health
""",
}
TIMERS = {"self_heal": (HEAL, HEAL_TIMER, 10), "service_health": (HEALTH, HEALTH_TIMER, 1)}
"""By the option with their seconds: what they start, themselves, and the fewest seconds."""


class Persist:
    """See the module's documentation for the parameters."""

    name = "persist"
    # After all that it brings back; what starts at boot is taken away first.
    rank = 90
    facilities: Sequence[Facility] = (PROGRAMS, UNIT_FILES, ENABLEMENTS)

    def normalise(
        self, name: str, params: Mapping[str, Any], former: dict[str, Any] | None, host: Host
    ) -> dict[str, Any]:
        inspection = Inspection()
        for position, interface in enumerate(params["interfaces"]):
            inspection.interface(f"interfaces[{position}]", interface)
            if isinstance(interface, str) and set(interface) & set("*?[]!;,\"'\\"):
                inspection.refuse(f"interfaces[{position}]", interface, "give a name without special characters")
        for option, (_unit, _timer, fewest) in TIMERS.items():
            if params.get(option):
                inspection.integer(option, params[option], fewest, 86400)
        inspection.conclude()
        item = {
            "interfaces": sorted(set(params["interfaces"])),
            **{option: params.get(option, 0) for option in TIMERS},
            "systemd": Path(SYSTEM).is_dir(),
            "network_manager": Path("/etc/NetworkManager").is_dir(),
        }
        known = former["made"] if former else {}
        return {**item, "made": {path: known.get(path, files.missing_directories(path)) for path in _paths(item)}}

    def target(self, items: Items, former: Items, host: Host) -> Target:
        item = next(iter(items.values()), None)
        made: dict[str, list[str]] = {PROGRAM: []}
        for each in (*former.values(), *items.values()):
            made.update(each["made"])
        texts = {} if item is None else _texts(item)
        links = _links(made)
        desired: dict[str, Any] = {
            "programs": {},
            "files": {path: File(path, text, 0o644, tuple(made.get(path, ()))) for path, text in texts.items()},
            "enablements": {path: link for path, link in links.items() if link.unit in texts},
        }
        if item is not None:
            digest = PROGRAMS.content(node_archive.program())
            desired["programs"] = {PROGRAM: Program(PROGRAM, digest, 0o755, tuple(made[PROGRAM]))}
        watched = {path: made.get(path, []) for path in _every_path()}
        current: dict[str, Any] = {
            "programs": dict(observe_program(PROGRAM, made[PROGRAM])),
            "files": files.observe(watched),
            "enablements": dict(observe_wanted(links)),
        }
        conflicts = files.conflicts(list(texts)) if texts else []
        if item is not None and Path(PROGRAM).exists() and not current["programs"]:
            conflicts.append(f"{PROGRAM}: exists and was not made by podnet.fabric; move it away")
        return Target(current, desired, conflicts)


def _texts(item: Mapping[str, Any]) -> dict[str, str]:
    """The files by path."""
    names = item["interfaces"]
    if any(not isinstance(name, str) or set(name) & set(" \n;,*?[]!\"'\\") for name in names):
        raise DeclarationError(f"the declaration holds {names!r} where interfaces should be; run the playbook again")
    found: dict[str, str] = {}
    if item["systemd"]:
        found.update({path: UNITS[path] for path in (RESTORE, RETURN)})
        for option, (unit, timer, _fewest) in TIMERS.items():
            seconds = item.get(option, 0)  # a declaration of before the option has none
            if seconds not in range(86401):
                raise DeclarationError(f"the declaration holds {option} {seconds!r}; run the playbook again")
            if seconds:
                found[unit] = UNITS[unit]
                found[timer] = (
                    "[Unit]\nDescription=Look after the pod network of podnet.fabric\n\n[Timer]\n"
                    f"OnActiveSec={seconds}\nOnUnitInactiveSec={seconds}\n"
                    # By default systemd puts a timer off for up to a minute (systemd.timer(5)).
                    "AccuracySec=1s\n\n"
                    "[Install]\nWantedBy=timers.target\n"
                )
        matched = f"[Match]\nOriginalName={' '.join(names)}\n\n[Link]\nNamePolicy=\nMACAddressPolicy=none\n"
        found["/etc/systemd/network/00-podnet.link"] = matched
        found["/etc/systemd/network/00-podnet.network"] = f"[Match]\nName={' '.join(names)}\n\n[Link]\nUnmanaged=yes\n"
        found["/etc/systemd/networkd.conf.d/podnet.conf"] = (
            "# Routes, rules and (since systemd 256) nexthops that networkd has not made are not its to remove.\n"
            "[Network]\nManageForeignRoutes=no\nManageForeignRoutingPolicyRules=no\nManageForeignNextHops=no\n"
        )
    if item["network_manager"]:
        devices = ";".join(f"interface-name:{name}" for name in names)
        found["/etc/NetworkManager/conf.d/podnet.conf"] = f"[keyfile]\nunmanaged-devices+={devices}\n"
    return {path: FILE_HEADER + text for path, text in found.items()}


def _every_path() -> list[str]:
    """All files that there may be."""
    return list(_texts({"interfaces": [], "systemd": True, "network_manager": True, **dict.fromkeys(TIMERS, 1)}))


def _paths(item: Mapping[str, Any]) -> list[str]:
    texts = _texts(item)
    return [PROGRAM, *texts, *(path for path, link in _links({}).items() if link.unit in texts)]


def _links(made: Mapping[str, Sequence[str]]) -> dict[str, Wanted]:
    """What is started at boot, or with something else, by the path of its link."""
    found = {
        f"{SYSTEM}/multi-user.target.wants/{Path(RESTORE).name}": RESTORE,
        **{f"{SYSTEM}/timers.target.wants/{Path(timer).name}": timer for _unit, timer, _fewest in TIMERS.values()},
        **{f"{SYSTEM}/{each}.wants/{Path(RETURN).name}": RETURN for each in TAKERS.split()},
    }
    return {path: Wanted(path, unit, tuple(made.get(path, ()))) for path, unit in found.items()}


KIND = Persist()
