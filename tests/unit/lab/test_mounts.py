# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node copies of this machine's mounts."""

from __future__ import annotations

from ansible_collections.podnet.fabric.plugins.module_utils.lab.mounts import cgroups, parse_mountinfo, to_copy

MOUNTINFO = r"""
21 1 254:0 / / rw,relatime - ext4 /dev/vda rw
22 21 0:21 / /proc rw,nosuid shared:12 - proc proc rw
23 21 0:22 / /sys rw - sysfs sysfs rw
24 23 0:23 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
25 24 0:24 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct
26 24 0:25 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
27 21 0:26 / /run rw - tmpfs tmpfs rw
28 21 0:27 / /runtime rw - ext4 /dev/vdb rw
29 21 0:28 / /home/a\040b rw shared:1 master:2 - btrfs /dev/vdc rw,subvol=/home
30 21 0:29 / /dev rw - devtmpfs udev rw
31 30 0:30 / /dev/shm rw - tmpfs tmpfs rw
32 21 0:31 / /home rw - ext4 /dev/vdd rw
33 21 0:32 / /home rw - xfs /dev/vde rw
""".strip()


def test_the_mount_on_top_is_the_one_that_counts() -> None:
    fstypes = {mount.target: mount.fstype for mount in parse_mountinfo(MOUNTINFO)}
    assert fstypes["/home"] == "xfs"


def test_names_with_spaces_are_read() -> None:
    assert "/home/a b" in [mount.target for mount in parse_mountinfo(MOUNTINFO)]


def test_a_node_sees_other_file_systems_parents_first_and_none_of_the_kernels() -> None:
    assert [mount.target for mount in to_copy(parse_mountinfo(MOUNTINFO))] == ["/home", "/home/a b", "/runtime"]


def test_control_groups_of_both_versions_are_found() -> None:
    found = cgroups(parse_mountinfo(MOUNTINFO))
    assert [(mount.fstype, mount.options) for mount in found] == [
        ("cgroup", "rw,cpu,cpuacct"),
        ("cgroup2", "rw,nsdelegate"),
    ]
