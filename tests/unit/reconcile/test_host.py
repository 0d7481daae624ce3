# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host as a reconcile sees it."""

from __future__ import annotations

import gc

from ansible_collections.podnet.fabric.plugins.module_utils.host import Host


def test_the_collector_rests_while_the_host_is_open_and_only_then() -> None:
    assert gc.isenabled()
    with Host():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_a_collector_that_rests_already_is_left_so() -> None:
    gc.disable()
    try:
        with Host():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()
