# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Process 1 of the guest: lays a memory over the host's files, runs the job, writes its exit status, switches off.

    /usr/bin/python3 -ISB guest.py EXCHANGE

EXCHANGE is a folder of the host that holds job.json and gets `started` and `status`. A job that is for a machine with
systemd is run by a unit of it: then process 1 becomes systemd, and this file is what the unit starts.

Only Debian's own interpreter is certain to be seen in the guest, without site packages; hence the standard library,
Python 3.9, and calls of libc in place of programs, each of which would cost a user-mode kernel 10 ms.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import termios
import time
import traceback
from pathlib import Path
from typing import Any

# linux/mount.h, linux/reboot.h
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_MOVE = 1, 2, 4, 8, 4096, 8192
POWER_OFF = 0x4321FEDC
NEW_ROOT = "/run/root"
# Under systemd: what the guest has written, which the next boot finds again.
WRITTEN = "/run/podnet-vm/written"
TAR = ("/usr/bin/tar", "--xattrs", "--xattrs-include=*")
CGROUPS = Path("/sys/fs/cgroup")
UNITS = "/run/systemd/system"
JOB_UNIT = """[Unit]
Description=The job of tests/vm/run
After=multi-user.target

[Service]
Environment=HOME=/root
ExecStart=/usr/bin/python3 -ISB {program} {exchange}
"""
# One command, as a unit that is still being started is a job itself.
LATE_UNIT = """[Unit]
Description=Tells what a boot waits for that does not come to its job
DefaultDependencies=no

[Service]
ExecStart=/bin/sh -c 'sleep 150; [ -e {exchange}/started ] || {{ \\
  timeout 20 systemctl --no-pager list-jobs; ps -eo pid,stat,wchan:32,args; \\
  timeout 20 journalctl --no-pager -b -n 60; \\
  }} >/dev/console 2>&1'
"""
TARGET = """[Unit]
Description=A machine with the job of tests/vm/run
Requires=multi-user.target
Wants=podnet-vm-job.service podnet-vm-late.service
AllowIsolate=yes
"""
LIBC = ctypes.CDLL(None, use_errno=True)


def mount(kind: str, target: str, *, source: str = "none", flags: int = 0, options: str = "") -> None:
    """mount(2) on a folder that is made first."""
    Path(target).mkdir(parents=True, exist_ok=True)
    if LIBC.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode()) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount -t {kind} -o {options} {source}: {os.strerror(number)}", target)


def lay_memory_over_host(job: dict[str, Any]) -> None:
    """Make `/` the host's files with everything written to them kept in memory, except in the job's folders.

    Raises OSError where the kernel lacks a file system.
    """
    mount("tmpfs", "/run", options="mode=755,size=80%")
    for folder in ("upper", "work"):
        Path("/run", folder).mkdir()
    lower = "/"
    if job["layer"]:
        lower = f"{mounted_layer(job)}:/"
        if Path(job["disk"]).exists():
            # Without it the C library cannot change the mode of what may be a link.
            mount("proc", "/proc", source="proc", flags=MS_NOSUID | MS_NODEV | MS_NOEXEC)
            archive("-C", "/run/upper", "-xpf", job["disk"])
    mount("overlay", NEW_ROOT, options=f"lowerdir={lower},upperdir=/run/upper,workdir=/run/work")
    written = os.open("/run/upper", os.O_PATH | os.O_CLOEXEC)
    for folder in job["folders"]:
        if job["share"] == "hostfs":
            mount("hostfs", NEW_ROOT + folder, options=folder)
        else:
            mount("none", NEW_ROOT + folder, source=job["share"] + folder, flags=MS_BIND)
    if job["modules"]:
        mount("none", f"{NEW_ROOT}/usr/lib/modules", source=job["share"] + job["modules"], flags=MS_BIND)
    # As switch_root does it, so that the guest's processes may unshare and pivot.
    os.chdir(NEW_ROOT)
    mount("none", "/", source=".", flags=MS_MOVE)
    os.chroot(".")
    os.chdir("/")
    quiet = MS_NOSUID | MS_NODEV | MS_NOEXEC
    mount("proc", "/proc", source="proc", flags=quiet)
    mount("sysfs", "/sys", source="sysfs", flags=quiet)
    mount("devtmpfs", "/dev", source="devtmpfs", flags=MS_NOSUID, options="mode=755")
    mount("devpts", "/dev/pts", source="devpts", flags=MS_NOSUID | MS_NOEXEC, options="ptmxmode=666,mode=620,gid=5")
    mount("tmpfs", "/dev/shm", source="shm", flags=MS_NOSUID | MS_NODEV, options="mode=1777,size=80%")  # noqa: S108
    mount("tmpfs", "/run", source="run", flags=MS_NOSUID | MS_NODEV, options="mode=755")
    Path("/run/lock").mkdir()
    mount("none", WRITTEN, source=f"/proc/self/fd/{written}", flags=MS_BIND)
    os.close(written)
    if job["fresh_tmp"]:
        mount("tmpfs", "/tmp", source="tmp", options="mode=1777,size=80%")  # noqa: S108
    mount("cgroup2", "/sys/fs/cgroup", source="cgroup2", flags=quiet)
    mount("bpf", "/sys/fs/bpf", source="bpf", flags=quiet, options="mode=700")
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        link = Path("/dev", name)
        if not link.is_symlink():
            link.symlink_to(target)


def mounted_layer(job: dict[str, Any]) -> str:
    """Where the folder is that lies between host and memory: not below the host's files, or overlayfs refuses it."""
    if job["share"] == "hostfs":
        mount("hostfs", "/run/layer", options=job["layer"])
    else:
        mount("tmpfs", "/run/layer", options="mode=755")
        shutil.copytree(job["share"] + job["layer"], "/run/layer", symlinks=True, dirs_exist_ok=True)
    return "/run/layer"


def become_systemd(exchange: Path, job: dict[str, Any]) -> None:
    """Replace this process by systemd, on a machine where nothing is enabled but what the job enables."""
    if not Path(job["disk"]).exists():
        shutil.rmtree("/etc/systemd/system")
        for folder in (*Path("/etc").glob("rc?.d"), Path("/etc/systemd/network")):
            shutil.rmtree(folder, ignore_errors=True)
        Path("/etc/systemd/system").mkdir()
        Path("/etc/systemd/network").mkdir()
        # The job may be somewhere below /tmp, which is emptied at boot.
        emptying = Path("/etc/tmpfiles.d/tmp.conf")
        emptying.parent.mkdir(exist_ok=True)
        emptying.unlink(missing_ok=True)
        emptying.symlink_to("/dev/null")
        Path("/etc/fstab").write_text("")
        # Without one, this would be the first boot of a machine, which asks for a password.
        Path("/etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
        Path("/etc/hostname").write_text(job["hostname"] + "\n")
    units = Path(UNITS)
    units.mkdir(parents=True)
    (units / "podnet-vm-job.service").write_text(JOB_UNIT.format(program=__file__, exchange=exchange))
    (units / "podnet-vm-late.service").write_text(LATE_UNIT.format(exchange=exchange))
    (units / "podnet-vm.target").write_text(TARGET)
    (units / "default.target").symlink_to("podnet-vm.target")
    # There is nobody to log in.
    for name in ("getty.target", "systemd-logind.service", "systemd-user-sessions.service"):
        (units / name).symlink_to("/dev/null")
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TERM": "dumb"}
    os.execve("/lib/systemd/systemd", ["/lib/systemd/systemd"], environment)  # noqa: S606 - that is what this is for


def stop_all_others() -> None:
    """Freeze every process but this one, systemd and what it starts included. TimeoutError if one does not stop."""
    (CGROUPS / "cgroup.procs").write_text(str(os.getpid()))
    groups = [file.parent for file in CGROUPS.glob("*/cgroup.freeze")]
    for group in groups:
        (group / "cgroup.freeze").write_text("1")
    limit = time.monotonic() + 60
    while moving := [group.name for group in groups if "frozen 1" not in (group / "cgroup.events").read_text()]:
        if time.monotonic() > limit:
            raise TimeoutError(f"does not stop: {', '.join(moving)}")
        time.sleep(0.01)


def keep_disk(job: dict[str, Any]) -> None:
    """Have the next boot find what was written, as if the power went off now: nobody writes while it is copied."""
    stop_all_others()
    os.sync()
    archive("--sparse", "-C", WRITTEN, "-cf", job["disk"], ".")


def archive(*words: str) -> None:
    """Run tar. Process 1 may have no open descriptor at all, and what tar opened first would be its standard input."""
    done = subprocess.run([*TAR, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"tar {' '.join(words)}: {done.stderr}")


def switch_loopback_on() -> None:
    """As every booted machine has it."""
    import fcntl
    import socket
    import struct

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        # SIOCSIFFLAGS of IFF_UP on struct ifreq, netdevice(7)
        fcntl.ioctl(control, 0x8914, struct.pack("16sh22x", b"lo", 1))


def start(job: dict[str, Any], output: int) -> int:
    """The process id of the job, whose output goes to a descriptor."""
    child = os.fork()
    if child:
        return child
    try:
        os.setsid()
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        for number in (1, 2):
            os.dup2(output, number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(job["cwd"])
        # The kernel's threads, which encrypt WireGuard's packets, come first, as on a node that does not run the
        # playbook for all others. To be nicer than they are is not enough: that is a share, and no order.
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        os.execvpe(job["argv"][0], job["argv"], job["environment"])  # noqa: S606 - that is what this is for
    except OSError as error:
        os.write(2, f"tests/vm/run: {job['argv'][0]}: {error.strerror}\n".encode())
        os._exit(127 if error.errno == errno.ENOENT else 126)


def pass_on(source: int, console: int) -> None:
    """Everything that a pipe holds right now, to the console."""
    while True:
        try:
            data = os.read(source, 65536)
        except BlockingIOError:
            return
        if not data:
            return
        while data:
            data = data[os.write(console, data) :]


def drain(wake: int) -> None:
    """Forget what woke us."""
    try:
        os.read(wake, 4096)
    except BlockingIOError:
        return


def run(job: dict[str, Any], console: int) -> int:
    """The exit status of the job as a shell gives it, once it has ended; its orphans are reaped meanwhile."""
    wake, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    signal.set_wakeup_fd(woken)
    source, output = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(source, False)
    child = start(job, output)
    while True:
        select.select([source, wake], [], [], 1)
        pass_on(source, console)
        drain(wake)
        while True:
            try:
                ended, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if not ended:
                break
            if ended == child:
                pass_on(source, console)
                code = os.waitstatus_to_exitcode(status)
                return 128 - code if code < 0 else code


def raw_console(device: str) -> int:
    """A terminal that changes nothing in what is written to it."""
    console = os.open(device, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)
    attributes = termios.tcgetattr(console)
    attributes[1] &= ~termios.OPOST
    termios.tcsetattr(console, termios.TCSANOW, attributes)
    return console


def main(exchange: Path) -> None:
    """Run the job of a folder of exchange."""
    job = json.loads((exchange / "job.json").read_text())
    if os.getpid() == 1:
        lay_memory_over_host(job)
        if job["layer"]:
            become_systemd(exchange, job)
        Path("/proc/sys/kernel/hostname").write_text(job["hostname"])
        switch_loopback_on()
    (exchange / "started").write_text("")
    console = raw_console(job["console"])
    status = run(job, console)
    termios.tcdrain(console)
    if job["layer"]:
        keep_disk(job)
    (exchange / "status").write_text(str(status))
    # What was written through to the host's folders lies in the guest's memory still.
    os.sync()


def tell_kernel_log(text: str) -> None:
    """The host keeps what the kernel prints; `quiet` lets errors pass, which are of priority 3."""
    with contextlib.suppress(OSError), Path("/dev/kmsg").open("w", buffering=1) as log:
        log.writelines(f"<3>{line}\n" for line in text.splitlines())


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except Exception:  # noqa: BLE001 - without process 1 the kernel panics, and what it says then helps nobody
        tell_kernel_log(traceback.format_exc())
    finally:
        LIBC.reboot(POWER_OFF)
