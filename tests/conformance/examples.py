# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How random examples are drawn that a kernel has to judge."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings


def in_turn(number: int) -> settings:
    """So many, the same in every run with a seed.

    Each comes in the place of the former one: a smaller one need not fail where a larger one has, so none is sought.
    """
    return settings(
        max_examples=number,
        deadline=None,
        database=None,
        derandomize=False,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
