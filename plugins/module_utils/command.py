# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a tool by its argument vector. No shell, so no name can become a command."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class ToolError(PodnetError):
    """A tool that is missing, cannot be started, failed (``stderr``) or ran too long (``returncode`` is None)."""

    def __init__(self, argv: Sequence[str], returncode: int | None, stderr: str, missing: bool = False) -> None:
        self.argv = list(argv)
        self.returncode = returncode
        self.stderr = stderr.strip()
        self.missing = missing
        super().__init__(f"{' '.join(self.argv)}: {self.stderr or f'exit status {returncode}'}")


def run(
    argv: Sequence[str],
    *,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 60,
) -> str:
    """Run a tool and give its standard output.

    :param argv: the tool and its arguments
    :param stdin: text for its standard input
    :param env: its whole environment; None inherits ours
    :param timeout: seconds
    :raises ToolError: missing, not to be started, failed or out of time
    """
    try:
        done = subprocess.run(
            list(argv),
            input=stdin if stdin is not None else "",
            capture_output=True,
            env=dict(env) if env is not None else None,
            timeout=timeout,
            check=False,
            encoding="utf-8",
            errors="replace",
        )
    except FileNotFoundError:
        raise ToolError(argv, None, f"{argv[0]} is not installed on this node", missing=True) from None
    except OSError as error:
        raise ToolError(argv, None, f"cannot be started: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise ToolError(argv, None, f"no end within {timeout:g} s") from None
    if done.returncode != 0:
        raise ToolError(argv, done.returncode, done.stderr or done.stdout)
    return done.stdout
