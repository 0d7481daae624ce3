# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Provider `native`: this machine's own kernel, where it has every tunnel."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.tests.vm.job import Unavailable
from ansible_collections.podnet.fabric.tests.vm.watch import Expired

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.tests.vm.job import Job

KINDS = ("geneve", "ipip", "ip6tnl", "wireguard")
# What a link of a kind cannot be made without.
_NEEDS = {"geneve": ("external", "dstport", "6081"), "ipip": ("external",), "ip6tnl": ("external",)}


def lacking() -> list[str]:
    """The kinds that this kernel has not, found out by making each in a namespace that goes at once."""
    return [kind for kind in KINDS if not has(kind)]


def has(kind: str) -> bool:
    """Whether this kernel makes links of a kind. A module may be loaded by the question, as by any use of it."""
    add = ("ip", "link", "add", "name", "trial", "type", kind, *_NEEDS.get(kind, ()))
    return subprocess.run(["unshare", "--net", *add], capture_output=True, check=False, timeout=60).returncode == 0


def prepare(job: Job) -> None:
    """Raises Unavailable unless all kinds are there, and for a job that wants a machine that boots."""
    if job.boots:
        raise Unavailable("this machine is up already, and is not going to boot for a test")
    if kinds := lacking():
        raise Unavailable(f"this kernel has no {', '.join(kinds)}")


def run(job: Job) -> int:
    """The exit status of the job as a shell gives it. Raises watch.Expired and watch.Stopped; the job is gone then."""
    pinned = () if job.cpu is None else ("taskset", "--cpu-list", str(job.cpu))
    process = subprocess.Popen([*pinned, *job.argv], cwd=job.cwd, env=dict(job.environment), process_group=0)
    try:
        status = process.wait(job.seconds)
    except subprocess.TimeoutExpired:
        raise Expired(job.seconds) from None
    finally:
        # Its children too, which are in its group unless they left it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return 128 - status if status < 0 else status
