# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The compiler means by random policies what their documents say; packets ask the same in tests/integration/policy."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, given, settings

from tests.conformance import drawn, naive
from tests.conformance.answers import compiled, told


@settings(
    max_examples=40,
    deadline=None,
    phases=[Phase.generate],  # a smaller example takes minutes to find
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(drawn.clusters(("n0", "n1")))
def test_the_compiler_agrees_with_the_documents(cluster: naive.Cluster) -> None:
    for family in drawn.FAMILIES:
        expected = told(cluster, family, drawn.every_cell())
        assert compiled(cluster, family, list(expected)) == expected
