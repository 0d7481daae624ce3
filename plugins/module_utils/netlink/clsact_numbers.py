# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers of clsact and the BPF filters at its hooks (linux/pkt_sched.h, linux/pkt_cls.h).

They are for who has all of Python, and for who has next to nothing of it (attach/filters.py).
"""

from __future__ import annotations

INGRESS, EGRESS = 0xFFFFFFF2, 0xFFFFFFF3  # TC_H_CLSACT with TC_H_MIN_INGRESS, TC_H_MIN_EGRESS

RTM_NEWQDISC = 36
RTM_DELQDISC = 37
RTM_GETQDISC = 38
RTM_NEWTFILTER = 44
RTM_DELTFILTER = 45
RTM_GETTFILTER = 46
# struct tcmsg: family, (padding), interface, handle, parent, and of a filter its priority and protocol.
BODY = "=BxxxiIII"
CLSACT_HANDLE, CLSACT_PARENT = 0xFFFF0000, 0xFFFFFFF1
TCA_KIND = 1
TCA_OPTIONS = 2
TCA_BPF_FD = 6
TCA_BPF_NAME = 7
TCA_BPF_FLAGS = 8
TCA_BPF_ID = 11
ACT_DIRECT = 1  # TCA_BPF_FLAG_ACT_DIRECT: what the program returns is the verdict

# Filters of ours: policies see backends, so what sends requests to services on comes before, what answers after them.
HANDLE = 84  # as our routes' protocol
TRANSLATES, JUDGES, CONCLUDES = 1, 2, 3
"""Their priorities."""
