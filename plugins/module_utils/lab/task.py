# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Ansible side of the lab: its options, and how it answers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.lab import converge, registry, topology

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

_TEXT: dict[str, Any] = {"type": "str", "required": True}
_TEXTS: dict[str, Any] = {"type": "list", "elements": "str"}


def _items(options: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "list", "elements": "dict", "options": options, **more}


ARGUMENT_SPEC: dict[str, Any] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "nodes": _items(
        {
            "name": _TEXT,
            "hostname": {"type": "str"},
            "sysctl": {"type": "dict"},
            "routes": _items({"to": _TEXT, "via": _TEXT}),
        },
        default=[],
    ),
    "bridges": _items({"node": _TEXT, "name": _TEXT, "addresses": _TEXTS}, default=[]),
    "links": _items(
        {
            "node": _TEXT,
            "interface": _TEXT,
            "addresses": _TEXTS,
            "mtu": {"type": "int"},
            "peer": {
                "type": "dict",
                "required": True,
                "options": {"node": _TEXT, "interface": _TEXT, "bridge": {"type": "str"}, "addresses": _TEXTS},
            },
        },
        default=[],
    ),
    "run_dir": {"type": "path", "default": registry.RUN_DIR},
}


def run_task(module: AnsibleModule) -> None:
    """Do what the task asks and end the module."""
    run_dir, check = Path(module.params["run_dir"]), module.check_mode
    if os.geteuid() != 0:
        module.fail_json(msg="namespaces are made by root only: run ansible-playbook as root, or this task with become")
    try:
        with registry.locked(run_dir):
            if module.params["state"] == "absent":
                outcome = converge.absent([node["name"] for node in module.params["nodes"]], run_dir, check=check)
            else:
                wanted = topology.parse(module.params, list(converge.living(run_dir)))
                outcome = converge.present(wanted, run_dir, check=check)
    except PodnetError as error:
        module.fail_json(msg=str(error))
    result: dict[str, Any] = dict(outcome._asdict())
    if module._diff:
        result["diff"] = {"before": outcome.before, "after": outcome.after}
    module.exit_json(**result)
