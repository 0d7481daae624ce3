# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a command as root in a kernel that has ipip, ip6tnl, geneve and wireguard.

    tests/vm/run [--provider auto|native|uml|tcg] [--timeout SECONDS] [--cpu N] [--writable DIR]... [--boots N]
                 -- COMMAND...

The command sees the host's files; what it writes stays in the guest's memory and is gone with it, except in the folders
named with --writable. It gets the current folder, PATH, ANSIBLE_CONFIG, LANG, PODNET_* and PODNET_VM=1. Its output,
both channels in one, comes out here as it is written, and its exit status is this command's; 124 is "the time was up",
125 is "no kernel could be started". `auto` takes the first that starts:

  native  this machine's kernel, if it makes links of all these kinds; the command then runs in place, not read-only
  uml     user-mode Linux; built at first use, which takes five minutes, and kept in ~/.cache/podnet.fabric
  tcg     qemu without KVM and Debian's cloud kernel; slow, for a handful of checks

With --boots N the guest boots N times with Debian's systemd as process 1. Each time it is up the command runs, with
PODNET_VM_BOOT=1 to N, as long as it ends with 0; then the power goes off. What is written stays for the next boot, as
on a disk. Nothing of the host is enabled there. `native` cannot do that.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import math
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.tests.vm import cpus, native, systemd, tcg, uml, watch
from ansible_collections.podnet.fabric.tests.vm import job as jobs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ansible_collections.podnet.fabric.tests.vm.job import Job

EXPIRED, NO_KERNEL = 124, 125
COMES_UP = 240.0
"""Seconds within which a guest runs its command; with systemd 15 s, and five times that on a busy machine."""
GUESTS: dict[str, Any] = {"uml": uml, "tcg": tcg}
ORDER = ("native", *GUESTS)


def main(arguments: list[str]) -> int:
    """Run the command of a command line; its exit status."""
    options = parse(arguments)
    if os.geteuid() != 0:
        return complain("run as root: it makes namespaces and mounts")
    watch.listen()
    job = jobs.Job(
        argv=tuple(options.command),
        cwd=Path.cwd(),
        writable=tuple(path.resolve() for path in options.writable),
        seconds=options.timeout,
        cpu=options.cpu,
        boots=options.boots,
    )
    for path in job.writable:
        path.mkdir(parents=True, exist_ok=True)
    try:
        return first_that_starts(ORDER if options.provider == "auto" else (options.provider,), job)
    except watch.Expired as expired:
        complain(f"not done after {expired.seconds:g} s, and killed: {' '.join(job.argv)}")
        return EXPIRED
    except watch.Stopped as stopped:
        complain(f"stopped by {stopped}; the command was killed")
        return 128 + stopped.number


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options of a command line. Ends the process with status 2 on a wrong one."""
    parser = argparse.ArgumentParser(
        prog="tests/vm/run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage=argparse.SUPPRESS,
    )
    parser.add_argument("--provider", choices=("auto", *ORDER), default="auto")
    parser.add_argument("--timeout", type=positive, default=3600.0, metavar="SECONDS", help="of the command; 3600")
    parser.add_argument("--cpu", type=int, metavar="N", help="the processor to stay on; one that no other guest is on")
    parser.add_argument("--writable", type=Path, action="append", default=[], metavar="DIR", help="made when missing")
    parser.add_argument("--boots", type=int, default=0, metavar="N", help="with systemd, so often; 0, which is without")
    parser.add_argument("command", nargs="+", metavar="COMMAND")
    return parser.parse_args(arguments)


def positive(text: str) -> float:
    """A number of seconds."""
    seconds = float(text)
    if math.isnan(seconds) or seconds <= 0:
        raise argparse.ArgumentTypeError(f"{text}: more than 0 is wanted")
    return seconds


def first_that_starts(providers: tuple[str, ...], job: Job) -> int:
    """The exit status of the job under the first provider that starts. Raises watch.Expired and watch.Stopped."""
    reasons: list[str] = []
    for provider in providers:
        try:
            job = dataclasses.replace(job, environment=jobs.environment(os.environ, provider))
            if provider == "native":
                native.prepare(job)
                return native.run(job)
            return run_in_guest(provider, job)
        except jobs.Unavailable as error:
            reasons.append(f"{provider}: {error}")
    return complain("no kernel could be started\n" + "\n".join(reasons))


def run_in_guest(provider: str, job: Job) -> int:
    """The exit status of the job in a guest. Raises job.Unavailable when it does not come up."""
    kernel = GUESTS[provider].prepare()
    layer = systemd.ready() if job.boots else None
    with exchange() as folder, cpus.reserved(job.cpu) as cpu:
        for boot in range(1, max(job.boots, 1) + 1):
            if job.boots:
                job = dataclasses.replace(job, environment={**job.environment, "PODNET_VM_BOOT": str(boot)})
            forget_all_but(jobs.DISK, folder)
            status = boot_once(provider, job, folder, Boot(kernel, cpu, layer))
            if status:
                return status
    return 0


class Boot(NamedTuple):
    """What a guest boots with: a provider's kernel, a processor of the host, the folder with systemd if any."""

    kernel: Path
    cpu: int
    layer: Path | None


def boot_once(provider: str, job: Job, folder: Path, boot: Boot) -> int:
    """The exit status of the job in a guest that exchanges with a folder. Raises job.Unavailable, watch.Expired."""
    guest = GUESTS[provider]
    modules = guest.modules(boot.kernel)

    def is_up(pid: int) -> None:
        if not jobs.started(folder):
            said = (folder / "boot.log").read_text(errors="replace")
            complain(
                f"{provider}: the guest did not come up:\n{said}\nits processes on this machine:\n{watch.states(pid)}"
            )
            raise watch.Expired(min(COMES_UP, job.seconds))

    jobs.write(job, folder, share=guest.SHARE, console=guest.CONSOLE, modules=modules, layer=boot.layer)
    with (folder / "boot.log").open("wb") as log:
        watch.run(
            lambda output: guest.argv(boot.kernel, folder, boot.cpu, output),
            seconds=job.seconds,
            log=log.fileno(),
            check=watch.Check(COMES_UP, is_up),
        )
    status = jobs.status(folder)
    if status is not None:
        return status
    said = (folder / "boot.log").read_text(errors="replace")
    if not jobs.started(folder):
        raise jobs.Unavailable(f"the guest did not come up:\n{said}")
    complain(f"{provider}: the guest ended without an exit status of the command:\n{said}")
    return NO_KERNEL


def forget_all_but(kept: str, folder: Path) -> None:
    """Remove what a former boot has left in a folder, its kernel's files among it."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != kept:
            path.unlink()


@contextlib.contextmanager
def exchange() -> Iterator[Path]:
    """A folder for host and guest, which goes with the guest."""
    folder = Path(tempfile.mkdtemp(prefix="podnet-vm-", dir="/var/tmp"))  # /tmp may be the guest's own
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def complain(text: str) -> int:
    """Say what is wrong; the status of a run that could not begin."""
    sys.stderr.write(f"tests/vm/run: {text}\n")
    return NO_KERNEL


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
