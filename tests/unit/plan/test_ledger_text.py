# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger as people read it, and what is said of one that is damaged, newer or another cluster's."""

from __future__ import annotations

import ipaddress

import pytest

from ansible_collections.podnet.fabric.plugins.plugin_utils import ledger_text
from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger import Entry, Ledger

GOOD = """{
  "format": 1,
  "cluster": "lab",
  "blocks": {
    "10.244.0.0/24": {"pool": "default", "node": "node1", "order": 0},
    "10.244.1.0/24": {"pool": "default", "node": "node2", "order": 0, "released": "2026-01-31T12:00:00Z"},
    "10.244.10.0/24": {"pool": "default", "node": "node3", "order": 0},
    "fd00:10:244::/64": {"pool": "default6", "node": "node1", "order": 0}
  }
}
"""
RESTORE = "restore the file from version control or a backup; do not delete it while nodes run"


def test_a_block_to_a_line_in_the_order_of_addresses() -> None:
    ledger = ledger_text.parse(GOOD, "ledger", "lab")
    assert ledger.entries[1] == Entry(ipaddress.ip_network("10.244.1.0/24"), "default", "node2", 0, 1769860800)
    assert ledger_text.render(ledger) == GOOD


def test_an_empty_ledger() -> None:
    text = ledger_text.render(Ledger("lab"))
    assert text == '{\n  "format": 1,\n  "cluster": "lab",\n  "blocks": {}\n}\n'
    assert ledger_text.parse(text, "ledger", "lab") == Ledger("lab")


DAMAGED = {
    "empty": ("", [f"L: found an empty file, wanted a ledger of podnet.fabric; {RESTORE}"]),
    "cut": (
        GOOD[:100],
        [
            "L: found damaged JSON (Expecting value: line 5 column 50 (char 100)), wanted a ledger of "
            f"podnet.fabric; {RESTORE}"
        ],
    ),
    "merge markers": (
        GOOD.replace('    "10.244.1.0/24"', '<<<<<<< HEAD\n    "10.244.1.0/24"'),
        [
            "L: found damaged JSON (Expecting property name enclosed in double quotes: line 6 column 1 (char 122)), "
            f"wanted a ledger of podnet.fabric; {RESTORE}"
        ],
    ),
    "a block twice": (
        GOOD.replace("10.244.1.0/24", "10.244.0.0/24"),
        [f"L: found damaged JSON (the key 10.244.0.0/24 twice), wanted a ledger of podnet.fabric; {RESTORE}"],
    ),
    "another file": ("[1]", [f"L: found JSON without the key format, wanted a ledger of podnet.fabric; {RESTORE}"]),
    "newer": (
        GOOD.replace('"format": 1', '"format": 3, "kind": "new"'),
        [
            "L: found format 3, of a newer version, wanted format 2; run a podnet.fabric at least as new as the one "
            "that wrote the file"
        ],
    ),
    "no blocks": (
        '{"format": 1, "cluster": "lab"}',
        [f"L: found the keys format, cluster, wanted format, cluster and blocks; {RESTORE}"],
    ),
    "another cluster": (
        GOOD.replace('"lab"', '"production"'),
        [
            "L: found the ledger of cluster 'production', wanted that of podnet_cluster 'lab'; set podnet_ledger.path "
            "to this cluster's own file, or podnet_cluster back to the ledger's name"
        ],
    ),
    "many blocks at once": (
        GOOD.replace("10.244.0.0/24", "10.244.0.0/33")
        .replace("2026-01-31T12:00:00Z", "yesterday")
        .replace('"node3", "order": 0', '"node3", "order": -1')
        .replace('"pool": "default6", ', ""),
        [
            "L: blocks[\"10.244.0.0/33\"]: found a wrong network ('10.244.0.0/33' does not appear to be an IPv4 or "
            f"IPv6 network), wanted one such as 10.244.0.0/24; {RESTORE}",
            f"L: blocks[\"10.244.1.0/24\"].released: found 'yesterday', wanted a time such as 2026-01-31T12:00:00Z; "
            f"{RESTORE}",
            f'L: blocks["10.244.10.0/24"].order: found -1, wanted a whole number, 0 or more; {RESTORE}',
            'L: blocks["fd00:10:244::/64"]: found a mapping with the keys node and order, wanted a mapping with pool, '
            f"node, order and perhaps released and identity; {RESTORE}",
        ],
    ),
    "blocks that overlap": (
        GOOD.replace("10.244.0.0/24", "10.244.0.0/20"),
        [
            "L: blocks: found 10.244.1.0/24 of node2, which overlaps 10.244.0.0/20 of node1, wanted blocks that are "
            f"apart; {RESTORE}",
            "L: blocks: found 10.244.10.0/24 of node3, which overlaps 10.244.0.0/20 of node1, wanted blocks that are "
            f"apart; {RESTORE}",
        ],
    ),
    "two first blocks": (
        GOOD.replace("node3", "node1"),
        [
            "L: blocks: found 10.244.0.0/24 and 10.244.10.0/24 both of node1 with order 0, wanted an order of its "
            f"own for each; {RESTORE}"
        ],
    ),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_ledger_that_cannot_be_used_says_why_and_what_to_do(case: str) -> None:
    text, expected = DAMAGED[case]
    with pytest.raises(ledger_text.LedgerError) as caught:
        ledger_text.parse(text, "L", "lab")
    assert [str(problem) for problem in caught.value.problems] == expected
