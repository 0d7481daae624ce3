# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/dataplane.yml on a lab of its own: every node's table, and an error where packets contradict."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from .test_site import FIFTH, Site

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    lab = Site(f"d{os.getpid() % 100000}-", tmp_path_factory.mktemp("site"))
    try:
        lab.play("lab")
        lab.play("site")
        yield lab
    finally:
        lab.play("lab", *FIFTH, "-e", "lab_state=absent", check=False)


@pytest.mark.slow
def test_the_table_says_what_the_packets_do(site: Site) -> None:
    sound = site.play("dataplane")
    for number in (1, 2, 3, 4):
        assert (
            f"node{number}: VXLAN is declared; all 6 ways that were looked at are without contradiction."
            in sound.output
        )
    found = sound.results["Gather the evidence", "node1"]
    assert {probe["left"].partition(" to ")[0] for probe in found["capture"]["probes"]} == {"VXLAN, VNI 84, port 4789"}
    assert all(probe["answered"] for probe in found["capture"]["probes"])
    assert found["changed"] is False

    quiet = site.play("dataplane", "-e", "dataplane_packets=false")
    assert quiet.results["Gather the evidence", "node1"]["capture"] is None

    # The tables, asked for the address alone, keep saying that all is well.
    for words in (
        "route add blackhole 10.244.0.0/16 table 99",
        "rule add from 10.244.0.0/16 to 10.244.0.0/16 lookup 99",
    ):
        site.inside("node2", "ip", *words.split())
    broken = site.play("dataplane", check=False)
    assert broken.status != 0
    assert "node2: node1 (10.244." in broken.output
    assert "node1: VXLAN is declared; all 6 ways" in broken.output
