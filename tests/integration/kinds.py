# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kinds of links that not every kernel has: their tests run where it has them, and in the guest of `make test-vm`."""

from __future__ import annotations

import functools
import os
import subprocess

import pytest

_ARGUMENTS = {"geneve": ["external"], "ip6tnl": ["external"], "ipip": ["local", "192.0.2.1"]}


@functools.cache
def has_link_kind(kind: str) -> bool:
    """Whether this kernel makes links of a kind, tried in a namespace that goes with the trial."""
    words = ["unshare", "--net", "ip", "link", "add", "trial", "type", kind, *_ARGUMENTS.get(kind, [])]
    return subprocess.run(words, capture_output=True, check=False, timeout=60).returncode == 0


def needs_link_kind(kind: str) -> pytest.MarkDecorator:
    """Skip where the kernel lacks the kind; in the guest, which was made for it, the test fails then."""
    lacking = os.environ.get("PODNET_VM") != "1" and not has_link_kind(kind)
    return pytest.mark.skipif(
        lacking, reason=f"this kernel makes no {kind} links; `make test-vm` runs it on one that does"
    )
