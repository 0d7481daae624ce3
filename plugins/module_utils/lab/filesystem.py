# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file tree of a node: this machine's files under a private overlay, and kernel file systems of its own.

Runs as process 1 of the node, in a mount namespace that the node alone has.
"""

from __future__ import annotations

import os
import socket

from ansible_collections.podnet.fabric.plugins.module_utils.lab import namespaces as ns
from ansible_collections.podnet.fabric.plugins.module_utils.lab.mounts import Mount, cgroups, read_mounts, to_copy

DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "kmsg", "fuse", "net/tun")
DEVICE_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
# Nothing in a kernel's file system is a program or a device.
INERT = ns.MS_NOSUID | ns.MS_NODEV | ns.MS_NOEXEC
# Not of any namespace: a write would reach the whole machine.
WHOLE_MACHINE = ("/proc/sys", "/proc/sysrq-trigger")


def furnish(staging: str, hostname: str) -> None:
    """Turn this mount namespace into the node's and enter its root.

    :param staging: an empty folder of the machine, hidden under a mount from now on
    :param hostname: becomes the UTS name, /etc/hostname and a line of /etc/hosts
    :raises OSError: a mount that a node cannot do without is refused
    """
    ns.mount("none", "/", flags=ns.MS_REC | ns.MS_PRIVATE)
    mounts = read_mounts()
    ns.mount("podnet-lab", staging, "tmpfs", data="mode=0755")
    root = os.path.join(staging, "root")
    _overlay("/", root, os.path.join(staging, "layer"))
    for number, mount in enumerate(to_copy(mounts)):
        _copy(mount, root + mount.target, os.path.join(staging, f"layer{number}"))
    _kernel_filesystems(root)
    _devices(root + "/dev")
    _control_groups(root, cgroups(mounts))
    ns.pivot_root(root)
    _protect_the_machine()
    _name(hostname)


def _overlay(lower: str, target: str, layer: str) -> None:
    upper, work = os.path.join(layer, "upper"), os.path.join(layer, "work")
    for folder in (target, upper, work):
        os.makedirs(folder, exist_ok=True)
    # The merged root of the overlay takes its mode and owner from the upper folder (/tmp is 1777).
    status = os.stat(lower)
    os.chmod(upper, status.st_mode & 0o7777)
    os.chown(upper, status.st_uid, status.st_gid)
    ns.mount("overlay", target, "overlay", data=f"lowerdir={lower},upperdir={upper},workdir={work}")


def _copy(mount: Mount, target: str, layer: str) -> None:
    # Single files (a container's /etc/resolv.conf) and places that the node cannot have are left out.
    if not os.path.isdir(mount.target) or not os.path.isdir(target):
        return
    try:
        if any(character in mount.target for character in ",:\\"):
            raise OSError("an overlay takes no such path")
        _overlay(mount.target, target, layer)
    except OSError:
        ns.bind(mount.target, target, read_only=True)


def _kernel_filesystems(root: str) -> None:
    ns.mount("proc", root + "/proc", "proc", INERT)
    ns.mount("sysfs", root + "/sys", "sysfs", INERT)
    ns.mount("tmpfs", root + "/run", "tmpfs", ns.MS_NOSUID | ns.MS_NODEV, "mode=0755")
    os.mkdir(root + "/run/lock")
    os.chmod(root + "/run/lock", 0o1777)
    try:
        ns.mount("bpf", root + "/sys/fs/bpf", "bpf", INERT, "mode=0700")
    except OSError:
        pass  # a kernel without BPF; what needs it says so itself


def _devices(folder: str) -> None:
    ns.mount("tmpfs", folder, "tmpfs", ns.MS_NOSUID, "mode=0755")
    for name in ("pts", "shm", "net"):
        os.mkdir(os.path.join(folder, name))
    for name in DEVICES:
        source, target = os.path.join("/dev", name), os.path.join(folder, name)
        if os.path.exists(source):
            with open(target, "wb"):
                pass
            ns.bind(source, target)
    for name, destination in DEVICE_LINKS.items():
        os.symlink(destination, os.path.join(folder, name))
    ns.mount(
        "devpts", folder + "/pts", "devpts", ns.MS_NOSUID | ns.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"
    )
    ns.mount("tmpfs", folder + "/shm", "tmpfs", ns.MS_NOSUID | ns.MS_NODEV, "mode=1777")


def _control_groups(root: str, hierarchies: list[Mount]) -> None:
    top = root + "/sys/fs/cgroup"
    if not hierarchies or not os.path.isdir(top):
        return
    if not any(hierarchy.target == "/sys/fs/cgroup" for hierarchy in hierarchies):
        ns.mount("tmpfs", top, "tmpfs", INERT, "mode=0755")
    for hierarchy in hierarchies:
        os.makedirs(root + hierarchy.target, exist_ok=True)
        # Version 1 names its controllers among the options.
        words = [word for word in hierarchy.options.split(",") if word not in ("rw", "ro")]
        data = ",".join(words) if hierarchy.fstype == "cgroup" else ""
        try:
            ns.mount(hierarchy.fstype, root + hierarchy.target, hierarchy.fstype, data=data)
        except OSError:
            pass  # container engines say what they miss


def _protect_the_machine() -> None:
    for path in WHOLE_MACHINE:
        if os.path.exists(path):
            ns.bind(path, path)
            ns.remount(path, INERT | ns.MS_RDONLY)
    # /proc/sys/net is the node's own: a mount of its own over the read-only one, made writable again.
    ns.bind("/proc/sys/net", "/proc/sys/net")
    ns.remount("/proc/sys/net", INERT)


def _name(hostname: str) -> None:
    socket.sethostname(hostname)
    with open("/etc/hostname", "w", encoding="utf-8") as file:
        file.write(hostname + "\n")
    with open("/etc/hosts", "w", encoding="utf-8") as file:
        file.write(f"127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n127.0.1.1 {hostname}\n")
