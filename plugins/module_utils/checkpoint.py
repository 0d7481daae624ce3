# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A way back: the declarations before a change, and a watchdog that reconciles to them when nobody confirms in time.

``/run/podnet/checkpoint/node.d`` holds the former declarations, ``armed.json`` beside it says which checkpoint it is
and when it ends. Whoever takes that file away under the node's lock has decided: confirmed, or gone back.

The watchdog is a process of the node's own: it holds nothing of the connection that armed it and needs neither the
controller nor an init system. A reboot ends it, and with it the kernel's state that it would take back.
"""

from __future__ import annotations

import json
import shutil
import time
import uuid
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils import detached, node_archive, stored
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import (
    RUN,
    Declarations,
    node_lock,
    write_atomically,
)
from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.policy import told as told_pods
from ansible_collections.podnet.fabric.plugins.module_utils.resources.policy import KIND as POLICIES
from ansible_collections.podnet.fabric.plugins.module_utils.resources.service import KIND as SERVICES
from ansible_collections.podnet.fabric.plugins.module_utils.restore import Restored, restore
from ansible_collections.podnet.fabric.plugins.module_utils.service import known as known_services
from ansible_collections.podnet.fabric.plugins.module_utils.service import told as told_services

TOLD = {POLICIES.name: told_pods, SERVICES.name: told_services}
"""What a node is told of beside its declarations, by their kinds."""

COMM = "podnet-watchdog"
DAMAGED = "damaged"
"""The id of a checkpoint whose record cannot be read: nobody can confirm it, so its watchdog goes back."""

DIRECTORY = RUN / "checkpoint"
LOG = Path("/var/log/podnet-checkpoint.log")
LOG_BYTES = 1 << 20
"""The log is begun anew, the former one kept beside it, when it has grown over this size."""

LONGEST = 10 * 365 * 86400.0
"""Seconds between now and a deadline, at most: what is more was not written by us."""

LOOK = 1.0
"""Seconds between two looks of the watchdog whether it is still needed."""

PATIENCE = 600.0
"""Seconds that a watchdog waits for a run that holds the node's lock, before it says so in the log and waits again."""


class Armed(NamedTuple):
    """An armed checkpoint.

    :param deadline: seconds of CLOCK_BOOTTIME, which goes on while the machine sleeps
    :param pid: of the watchdog; 0 while it is being started
    :param start: when that process started, in clock ticks since boot
    """

    id: str
    deadline: float
    pid: int
    start: int


_TYPES: stored.Types = {"id": str, "deadline": stored.NUMBER, "pid": int, "start": int}


class CheckpointError(PodnetError):
    """A checkpoint that is not there any more, or a way back that was not walked to its end."""


def now() -> float:
    """Seconds since boot, sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def armed() -> Armed | None:
    """The armed checkpoint of this node, if there is one; a damaged record is one that nobody can confirm."""
    try:
        return read((DIRECTORY / "armed.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return Armed(DAMAGED, 0.0, 0, 0)


def read(text: str) -> Armed:
    """The checkpoint that a record tells of; a deadline that is no time, or no day away, is none.

    :raises ValueError: not a record
    """
    found = Armed(**stored.checked(stored.load(text), _TYPES))
    if not now() - LONGEST < found.deadline < now() + LONGEST or found.pid < 0:
        raise ValueError("a deadline or a process that cannot be")
    return found


def arm(timeout: int) -> Armed:
    """Keep the declarations and start the watchdog. The caller holds the node's lock.

    A checkpoint that is armed already belongs to a run that did not come to its end: its declarations are the last that
    were known to be good, so they are kept, and its watchdog is replaced.

    :param timeout: seconds until the node goes back by itself
    """
    # The watchdog outlives the archive that this code comes in, out of which the node program is built.
    node_archive.program()
    former = armed()
    if former is not None:
        _dismiss(former)
    if former is None:
        _keep(Declarations())
    checkpoint = Armed(uuid.uuid4().hex[:12], now() + timeout, 0, 0)
    _write(checkpoint)
    pid = detached.detach(lambda: _watch(checkpoint.id, checkpoint.deadline), (), COMM)
    checkpoint = checkpoint._replace(pid=pid, start=detached.start_time(pid, COMM) or 0)
    _write(checkpoint)
    log(f"{checkpoint.id}: armed, {timeout} s" + (f"; {former.id} was not confirmed" if former else ""))
    return checkpoint


def confirm(identity: str) -> None:
    """Keep the changes. The caller holds the node's lock.

    :raises CheckpointError: the node has gone back by itself, or another run has armed a checkpoint since
    """
    checkpoint = _asked_for(identity)
    _dismiss(checkpoint)
    _remove()
    log(f"{identity}: confirmed")


def roll_back(identity: str) -> Restored:
    """Go back now. The caller holds the node's lock.

    :raises CheckpointError: as `confirm`
    """
    checkpoint = _asked_for(identity)
    _dismiss(checkpoint)
    return _go_back(identity, "asked to")


def _asked_for(identity: str) -> Armed:
    checkpoint = armed()
    if checkpoint is not None and checkpoint.id == DAMAGED:
        raise CheckpointError(
            f"checkpoint {identity}: {DIRECTORY / 'armed.json'} cannot be read or is damaged; the node goes back by "
            f"itself at the deadline; see {LOG}, and run the playbook again"
        )
    if checkpoint is None or checkpoint.id != identity:
        last = next((text for text in reversed(_logged()) if f" {identity}: " in text), "nothing is in the log of it")
        raise CheckpointError(
            f"checkpoint {identity} is not armed on this node ({last}); see {LOG}, and run the playbook again"
        )
    return checkpoint


def _keep(declarations: Declarations) -> None:
    """Copy the declarations as they are; what is damaged is refused now, not when it is needed."""
    making = DIRECTORY.with_name("checkpoint.new")
    shutil.rmtree(making, ignore_errors=True)
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    (making / "node.d").mkdir(parents=True, mode=0o700)
    for kind in declarations.kinds():
        items = declarations.read(kind)
        text = declarations.text(kind)
        if kind in TOLD and TOLD[kind].RECORDS.read_all():
            # What it was told of beside them may be forgotten by the time it goes back.
            text = declarations.rendered(kind, {name: TOLD[kind].included(item) for name, item in items.items()})
        write_atomically(making / "node.d" / f"{kind}.json", text, 0o600)
    making.rename(DIRECTORY)


def _write(checkpoint: Armed) -> None:
    write_atomically(DIRECTORY / "armed.json", json.dumps(checkpoint._asdict()) + "\n", 0o600)


def _dismiss(checkpoint: Armed) -> None:
    """End the watchdog: we hold the lock, so it has not begun to go back."""
    if checkpoint.pid:
        detached.end(checkpoint.pid, checkpoint.start, COMM, f"the watchdog of checkpoint {checkpoint.id}")


def _remove() -> None:
    (DIRECTORY / "armed.json").unlink(missing_ok=True)
    shutil.rmtree(DIRECTORY, ignore_errors=True)


def _watch(identity: str, deadline: float) -> None:
    """The watchdog's life."""
    try:
        while (left := deadline - now()) > 0:
            time.sleep(min(left, LOOK))
            if not _needed(identity):
                return
        while _needed(identity):
            try:
                with node_lock(check=False, timeout=PATIENCE):
                    if _needed(identity):
                        _go_back(identity, "nobody confirmed in time")
            except PodnetError as error:
                log(f"{identity}: {error}")
    except Exception as error:  # nobody else hears of it
        log(f"{identity}: the watchdog failed: {type(error).__name__}: {error}")
        raise


def _needed(identity: str) -> bool:
    checkpoint = armed()
    return checkpoint is not None and checkpoint.id in (identity, DAMAGED)


def _go_back(identity: str, why: str) -> Restored:
    log(f"{identity}: goes back: {why}")
    try:
        # What services were then is in the copy; of pods what was told since is as true as before.
        known_services.put_aside()
        told_services.RECORDS.forget_all()
        with Host() as host:
            done = restore(host, Declarations(), Declarations(DIRECTORY / "node.d"))
    except PodnetError as error:
        done = Restored([], str(error).splitlines())
    for text in done.changes:
        log(f"{identity}: {text}")
    for text in done.problems:
        log(f"{identity}: not brought back: {text}")
    _remove()
    log(f"{identity}: went back, {len(done.changes)} changes, {len(done.problems)} problems")
    return done


def log(text: str) -> None:
    """Append a line; a log that cannot be written keeps nobody from going back."""
    try:
        if LOG.exists() and LOG.stat().st_size > LOG_BYTES:
            LOG.replace(LOG.with_suffix(".log.1"))
        with LOG.open("a", encoding="utf-8") as handle:
            handle.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {text}\n")
    except OSError:
        return


def _logged() -> list[str]:
    try:
        return LOG.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def describe(checkpoint: Armed | None) -> dict[str, Any]:
    """For a module's result."""
    if checkpoint is None:
        return {"armed": False, "id": "", "seconds_left": 0}
    return {"armed": True, "id": checkpoint.id, "seconds_left": max(0, round(checkpoint.deadline - now()))}
