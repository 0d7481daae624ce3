# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's step: inventory in, plan out; the documentation is in plugins/modules/plan.py."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.module_utils.basic import missing_required_lib
from ansible.plugins.action import ActionBase

from ansible_collections.podnet.fabric.plugins.plugin_utils import etcd_gateway, hostvars, planning, problem
from ansible_collections.podnet.fabric.plugins.plugin_utils.node_request import Request


class ActionModule(ActionBase):
    """Never opens a connection: all it reads is the inventory, the facts and the ledger."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Validate, allocate, plan."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _spec, arguments = self.validate_argument_spec(
            {
                "allocate": {"type": "bool", "default": True},
                "expected": {"type": "list", "elements": "str", "default": []},
                "renamed": {"type": "dict", "default": {}},
            }
        )
        # The validation imports it; here the task can fail on it.
        if find_spec("jsonschema") is None:
            raise AnsibleActionFail(missing_required_lib("jsonschema"))
        hosts, problems = hostvars.gather(task_vars or {}, self._templar.template)
        allocate = arguments["allocate"] and not self._task.check_mode
        renames = {str(former): str(name) for former, name in arguments["renamed"].items()}
        request = Request(tuple(arguments["expected"]), renames, hostvars.removed(task_vars or {}))
        try:
            outcome = planning.run(hosts, problems, hostvars.inventory_folder(task_vars or {}), allocate, request)
        except etcd_gateway.MissingLibrary as error:
            reason = "for podnet_ledger.store etcd"
            raise AnsibleActionFail(missing_required_lib(str(error), reason=reason)) from None
        result["warnings"] = outcome.warnings
        if outcome.plan is None:
            return {**result, "failed": True, "msg": problem.render(outcome.problems)}
        # Without allocate nothing is going to change; check mode tells what would.
        result["changed"] = arguments["allocate"] and outcome.before != outcome.after
        result["diff"] = {
            "before": outcome.before,
            "after": outcome.after,
            "before_header": outcome.ledger,
            "after_header": outcome.ledger,
        }
        result["ansible_facts"] = {"podnet_plan": outcome.plan}
        return result
