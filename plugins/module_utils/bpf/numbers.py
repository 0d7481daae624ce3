# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers of bpf(2) (linux/bpf.h), for who has all of Python and for who has next to nothing of it (attach/bpf.py)."""

from __future__ import annotations

# The system call's own: arch/x86/entry/syscalls/syscall_64.tbl, and asm-generic for the newer architectures.
SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "loongarch64": 280, "ppc64le": 361, "s390x": 351}

# enum bpf_cmd
MAP_CREATE = 0
MAP_LOOKUP_ELEM = 1
MAP_UPDATE_ELEM = 2
MAP_DELETE_ELEM = 3
MAP_GET_NEXT_KEY = 4
PROG_LOAD = 5
OBJ_PIN = 6
OBJ_GET = 7
PROG_TEST_RUN = 10
PROG_GET_FD_BY_ID = 13
MAP_GET_FD_BY_ID = 14
OBJ_GET_INFO_BY_FD = 15
PROG_QUERY = 16
MAP_FREEZE = 22
MAP_LOOKUP_BATCH = 24
MAP_UPDATE_BATCH = 26
MAP_DELETE_BATCH = 27
LINK_CREATE = 28
LINK_UPDATE = 29
LINK_DETACH = 34

# enum bpf_attach_type
TCX_INGRESS, TCX_EGRESS = 46, 47
CGROUP_INET4_CONNECT, CGROUP_INET6_CONNECT = 10, 11
CGROUP_INET4_GETPEERNAME, CGROUP_INET6_GETPEERNAME = 29, 30

BEFORE = 8  # BPF_F_BEFORE: without a relative, the first of all
AFTER = 16  # BPF_F_AFTER: without a relative, the last of all
NOEXIST = 1  # BPF_NOEXIST
