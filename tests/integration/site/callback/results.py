# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes each task's result as a line of JSON, for the tests that compare results."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: results
type: notification
short_description: Results as lines of JSON
description: Appends each task's result to the file that PODNET_TEST_RESULTS names.
"""


class CallbackModule(CallbackBase):
    """See the documentation."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "results"
    CALLBACK_NEEDS_ENABLED = True

    def v2_runner_on_ok(self, result: Any) -> None:
        """Write a success."""
        self._write(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Write a failure."""
        self._write(result)

    def _write(self, result: Any) -> None:
        entry = {"host": result._host.name, "task": result._task.get_name(), "result": result._result}
        with Path(os.environ["PODNET_TEST_RESULTS"]).open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(entry, default=str) + "\n")
