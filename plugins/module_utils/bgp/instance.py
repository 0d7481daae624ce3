# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The BIRD that is ours: found by its configuration file among the processes, started, told to read, ended.

The distribution's own BIRD has another configuration and another socket, and is none of our business.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pwd
import shutil
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.bgp.birdc import (
    Control,
    NoAnswer,
    is_reconfiguring,
    is_same_reading,
    reconfigured_at,
)
from ansible_collections.podnet.fabric.plugins.module_utils.command import run
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import ETC, RUN, write_atomically
from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.ownership import FILE_HEADER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CONFIG = ETC / "bird" / "bird.conf"
SECRETS = ETC / "bird" / "secrets.conf"
SOCKET = RUN / "bird.ctl"
PID_FILE = RUN / "bird.pid"
LOADED = RUN / "bird.loaded"
"""What the running BIRD was told to read, and when it read it."""

UNIT = Path("/etc/systemd/system/podnet-bird.service")
USER = "bird"
"""Debian's package makes it; where it is missing BIRD stays root."""

PATIENCE = 15.0
"""Seconds for BIRD to start or to end."""

_SYSTEMD = Path("/run/systemd/system")  # sd_booted(3)
_PROC = Path("/proc")


class Status(NamedTuple):
    """How our BIRD is."""

    running: bool
    answers: bool = False
    current: bool = False  # it works by the configuration that was asked about


def digest(config: str, secrets: str) -> str:
    """What stands for a configuration with its passwords."""
    return hashlib.sha256(f"{config}\0{secrets}".encode()).hexdigest()


def processes() -> list[int]:
    """Our BIRDs in this network namespace: whether or not one has a socket or a pid file, it has its command line."""
    here = _namespace("thread-self")
    return sorted(pid for pid in _birds() if _reads_our_config(pid) and _namespace(str(pid)) == here)


def _birds() -> Iterator[int]:
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "comm").read_text(encoding="utf-8", errors="replace").rstrip("\n") == "bird":
                    yield int(entry.name)
            except OSError:  # it has ended meanwhile
                continue


def _reads_our_config(pid: int) -> bool:
    try:
        words = (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return str(CONFIG).encode() in words


def _namespace(process: str) -> str:
    try:
        return str(Path(f"/proc/{process}/ns/net").readlink())
    except OSError:
        return ""


def status(wanted: str) -> Status:
    """Look at our BIRD.

    :param wanted: digest of the configuration that it should work by
    """
    if not processes():
        return Status(running=False)
    try:
        with Control(str(SOCKET)) as control:
            since = _read_at(control)
    except PodnetError:
        return Status(running=True)
    loaded = _loaded()
    current = loaded.get("digest") == wanted and is_same_reading(str(loaded.get("since", "")), since)
    return Status(running=True, answers=True, current=current)


def _read_at(control: Control) -> str:
    """When BIRD has read what it works by.

    A configuration that is read while BIRD is still leaving a former one has to wait, and counts only then.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        answer = control.ask("show status")
        if not is_reconfiguring(answer) or time.monotonic() > deadline:
            return reconfigured_at(answer)
        time.sleep(0.05)


def _loaded() -> dict[str, object]:
    try:
        noted = json.loads(LOADED.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return noted if isinstance(noted, dict) else {}


def check(path: Path) -> None:
    """Have BIRD read a configuration without using it; raises ToolError with BIRD's words."""
    run([_bird(), "-p", "-c", str(path)])


def _bird() -> str:
    found = shutil.which("bird", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]))
    if found is None:
        raise PodnetError(
            "bird is not installed on this node; install Debian's bird2, or let role preflight do it "
            "(podnet_install_packages: true)"
        )
    return found


def start(recovering: bool) -> None:
    """Start BIRD on the configuration file and wait until it answers.

    :param recovering: its routes of before are still in the kernel, and stay until the neighbours have told theirs;
        without neighbours that answer that takes GRACEFUL_RESTART_WAIT seconds, during which no route is added
    """
    bird = _bird()
    text = json.dumps({"digest": _digest_of_files()})
    if supervised():
        run(["systemctl", "daemon-reload"])
        run(["systemctl", "enable", "--now", UNIT.name])
    else:
        # BIRD gives its rights up before it writes the file.
        PID_FILE.touch(mode=0o644)
        if _has_user():
            shutil.chown(str(PID_FILE), USER)
        run([bird, *arguments(), "-P", str(PID_FILE), *(["-R"] if recovering else [])])
    _note(text)


def arguments() -> list[str]:
    """What every start of our BIRD has on its command line."""
    user = ["-u", USER, "-g", USER] if _has_user() else []
    return ["-c", str(CONFIG), "-s", str(SOCKET), *user]


def _has_user() -> bool:
    try:
        pwd.getpwnam(USER)
    except KeyError:
        return False
    return True


def owner() -> str:
    """Who has to be able to read the passwords: BIRD has given its rights up when it reads them."""
    return USER if _has_user() else "root"


def configure() -> None:
    """Have the running BIRD read its configuration; sessions that stay the same go on.

    :raises Refused: it found something wrong, and goes on with what it had
    """
    text = json.dumps({"digest": _digest_of_files()})
    with Control(str(SOCKET)) as control:
        control.ask("configure")
    _note(text)


def export_again(families: Iterable[int]) -> None:
    """Have BIRD write its routes into the kernel again, where some are missing."""
    with Control(str(SOCKET)) as control:
        for family in families:
            control.ask(f"reload out podnet_kernel{family}")


def stop() -> None:
    """Clear away what our BIRD has in /run and end it, which takes its routes out of the kernel."""
    # The process goes last: as long as it runs the next run knows that something is left to do.
    for path in (SOCKET, PID_FILE, LOADED):
        path.unlink(missing_ok=True)
    if supervised() and UNIT.exists():
        run(["systemctl", "disable", "--now", UNIT.name])
    _end(signal.SIGTERM)


def abandon() -> None:
    """Kill our BIRD, which does not answer, so that the routes stay in the kernel and with the neighbours."""
    _end(signal.SIGKILL)


def _end(how: signal.Signals) -> None:
    deadline = time.monotonic() + PATIENCE
    left = processes()
    for pid in left:
        _kill(pid, how)
    while left and time.monotonic() < deadline:
        time.sleep(0.02)
        left = [pid for pid in processes() if pid in left]
    for pid in left:
        _kill(pid, signal.SIGKILL)


def _kill(pid: int, how: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
        os.kill(pid, how)


def _digest_of_files() -> str:
    secrets = SECRETS.read_text(encoding="utf-8") if SECRETS.exists() else ""
    return digest(CONFIG.read_text(encoding="utf-8"), secrets)


def _note(text: str) -> None:
    """Write down what was read and when, which tells later whether somebody else had BIRD read something."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with Control(str(SOCKET)) as control:
                since = _read_at(control)
            break
        except NoAnswer:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    write_atomically(LOADED, json.dumps({**json.loads(text), "since": since}), 0o600)


def supervised() -> bool:
    """Whether systemd runs this node, and so our BIRD."""
    return _SYSTEMD.is_dir()


def unit() -> str:
    """The unit that keeps our BIRD running under systemd; after a crash neighbours and kernel keep the routes."""
    command = " ".join(["/usr/sbin/bird", "-f", *arguments(), "-R"])
    return f"""\
{FILE_HEADER.rstrip()}
[Unit]
Description=BGP of the pod network (podnet.fabric)
After=network-online.target
Wants=network-online.target

[Service]
RuntimeDirectory=podnet
RuntimeDirectoryPreserve=yes
ExecStartPre=/usr/sbin/bird -p -c {CONFIG}
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=1

[Install]
WantedBy=multi-user.target
"""
