# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger in a real etcd: answers that get lost, members that are gone, TLS, authentication, and errors in words."""

from __future__ import annotations

import ipaddress
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.podnet.fabric.plugins.plugin_utils import ledger_etcd
from ansible_collections.podnet.fabric.plugins.plugin_utils.cluster import Pool
from ansible_collections.podnet.fabric.plugins.plugin_utils.etcd_gateway import Access
from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger import Ledger, blocks_by_node, settle
from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger_etcd import EtcdStore
from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger_text import LedgerError
from ansible_collections.podnet.fabric.tests.integration.ledger.etcd import Etcd, free_port
from ansible_collections.podnet.fabric.tests.integration.ledger.lossy import (
    CUT_ANSWER,
    LOSE_ANSWER,
    LOSE_REQUEST,
    PASS,
    lossy,
    writes,
)

POOLS = [
    Pool("four", ipaddress.ip_network("10.0.0.0/12"), 24, True),
    Pool("six", ipaddress.ip_network("fd00::/48"), 64, True),
]
KEY = "/podnet/test/ledger"


def store(*urls: str, patience: float = 10) -> EtcdStore:
    """A store without TLS and authentication."""
    return EtcdStore(Access(urls), "/podnet", "test", patience)


def with_node(name: str) -> Callable[[Ledger], Ledger]:
    """The transition that gives one more node its blocks."""
    return lambda ledger: settle(ledger, [*blocks_by_node(ledger), name], POOLS, 0, 100).ledger


def nodes(etcd: Etcd) -> list[str]:
    """The nodes in the ledger, by their blocks."""
    return list(blocks_by_node(store(etcd.url).read()))


def version(etcd: Etcd) -> int:
    """How often the ledger has been written."""
    found = etcd.found(KEY)
    return 0 if found is None else int(found["version"])


class Fate:
    """Does something to the first commits, and lets all else pass."""

    def __init__(self, *fates: str) -> None:
        self.fates = list(fates)

    def __call__(self, body: dict[str, Any]) -> str:
        """Tell what happens to a request."""
        return self.fates.pop(0) if writes(body) and self.fates else PASS


def test_what_is_written_is_read(etcd: Etcd) -> None:
    before, after = store(etcd.url).update(with_node("node1"))
    assert before == Ledger("test")
    assert store(etcd.url).read() == after
    assert [str(block.network) for block in blocks_by_node(after)["node1"]] == ["10.0.0.0/24", "fd00::/64"]


def test_nothing_is_written_when_nothing_changes_or_the_transition_fails(etcd: Etcd) -> None:
    def fails(_ledger: Ledger) -> Ledger:
        raise RuntimeError

    store(etcd.url).update(with_node("node1"))
    at = etcd.revision()
    store(etcd.url).read()
    store(etcd.url).update(lambda ledger: ledger)
    with pytest.raises(RuntimeError):
        store(etcd.url).update(fails)
    assert etcd.revision() == at


def test_clusters_and_prefixes_are_apart(etcd: Etcd) -> None:
    EtcdStore(etcd.access, "/podnet", "one").update(with_node("a"))
    EtcdStore(etcd.access, "/podnet", "two").update(with_node("b"))
    EtcdStore(etcd.access, "/", "one").update(with_node("c"))
    keys = etcd.ctl("get", "/", "--prefix", "--keys-only").split()
    assert keys == [
        f"{folder}/{key}" for folder in ("/one", "/podnet/one", "/podnet/two") for key in ("commits", "ledger")
    ]


@pytest.mark.parametrize(
    "fates",
    [
        [LOSE_ANSWER],
        [CUT_ANSWER],
        [LOSE_REQUEST],
        [LOSE_REQUEST, LOSE_ANSWER],
        [LOSE_REQUEST, LOSE_REQUEST, LOSE_REQUEST, CUT_ANSWER],
    ],
    ids=" then ".join,
)
def test_a_commit_whose_answer_is_lost_is_made_once(etcd: Etcd, fates: list[str]) -> None:
    store(etcd.url).update(with_node("before"))
    fate = Fate(*fates)
    with lossy(etcd.port, fate) as url:
        _before, after = store(url).update(with_node("mine"))
    assert fate.fates == []
    assert store(etcd.url).read() == after
    assert (nodes(etcd), version(etcd)) == (["before", "mine"], 2)


@pytest.mark.parametrize(("fate", "commits"), [(LOSE_ANSWER, 3), (LOSE_REQUEST, 3)])
@pytest.mark.parametrize("first", [False, True])
def test_others_that_write_before_the_loss_is_seen(etcd: Etcd, fate: str, commits: int, first: bool) -> None:
    if not first:
        store(etcd.url).update(with_node("before"))

    def others() -> None:
        store(etcd.url).update(with_node("other1"))
        store(etcd.url).update(with_node("other2"))

    calls: list[int] = []

    def transition(ledger: Ledger) -> Ledger:
        calls.append(len(ledger.entries))
        return with_node("mine")(ledger)

    with lossy(etcd.port, Fate(fate), others) as url:
        _before, after = store(url).update(transition)
    # Carried out, it came before the others and is not worked out again; not carried out, it comes after them.
    earlier = [] if first else ["before"]
    in_order = [*earlier, "mine", "other1", "other2"] if fate == LOSE_ANSWER else [*earlier, "other1", "other2", "mine"]
    assert nodes(etcd) == in_order
    assert len(calls) == (1 if fate == LOSE_ANSWER else 2)
    assert version(etcd) == commits + len(earlier)
    mine = {entry.network for entry in after.entries if entry.node == "mine"}
    assert mine == {entry.network for entry in store(etcd.url).read().entries if entry.node == "mine"}


def test_a_loss_that_cannot_be_cleared_up_is_told(etcd: Etcd) -> None:
    store(etcd.url).update(with_node("before"))

    def many() -> None:
        for number in range(ledger_etcd.COMMITS_KEPT):
            store(etcd.url).update(with_node(f"other{number}"))

    with lossy(etcd.port, Fate(LOSE_ANSWER), many) as url, pytest.raises(LedgerError) as caught:
        store(url).update(with_node("mine"))
    assert str(caught.value) == (
        f"etcd {url} {KEY}: found 100 commits or more of other runs since the answer to this one's was lost, wanted "
        "fewer, to find it in /podnet/test/commits; look at the ledger, then run again"
    )
    assert nodes(etcd).count("mine") == 1


def test_the_list_of_commits_does_not_grow(etcd: Etcd) -> None:
    for number in range(ledger_etcd.COMMITS_KEPT + 5):
        store(etcd.url).update(with_node(f"n{number}"))
    commits = json.loads(etcd.ctl("get", "/podnet/test/commits", "--print-value-only"))
    assert len(commits) == ledger_etcd.COMMITS_KEPT
    assert len({commit["token"] for commit in commits}) == len(commits)


def test_an_etcd_that_is_away_for_a_while_is_waited_for(own_etcd: Etcd) -> None:
    store(own_etcd.url).update(with_node("before"))

    def outage() -> None:
        own_etcd.kill()
        time.sleep(0.5)
        own_etcd.start()

    with lossy(own_etcd.port, Fate(LOSE_ANSWER), outage) as url:
        store(url, patience=30).update(with_node("mine"))
    assert (nodes(own_etcd), version(own_etcd)) == (["before", "mine"], 2)


def test_an_etcd_that_stays_away_is_told_and_the_next_run_finds_what_was_written(own_etcd: Etcd) -> None:
    with lossy(own_etcd.port, Fate(LOSE_ANSWER), own_etcd.kill) as url, pytest.raises(LedgerError) as caught:
        store(url, patience=1).update(with_node("mine"))
    told = str(caught.value)
    assert told.startswith(f"etcd {url} {KEY}: found {url} does not answer (")
    assert told.endswith(
        "wanted an answer within 1 seconds; bring etcd back, or mend the endpoints or certificates of podnet_ledger; "
        "then run again"
    )
    own_etcd.start()
    _before, after = store(own_etcd.url).update(with_node("mine"))
    assert (nodes(own_etcd), len(after.entries), version(own_etcd)) == (["mine"], 2, 1)


def test_members_that_are_gone_are_passed_over(etcd: Etcd) -> None:
    with pytest.raises(LedgerError) as caught:
        store("http://127.0.0.1:1", patience=0.2).read()
    assert "http://127.0.0.1:1 does not answer ([Errno 111] Connection refused), wanted" in str(caught.value)
    gone = [f"http://127.0.0.1:{free_port()}" for _number in range(2)]
    kept = store(*gone, etcd.url)
    kept.update(with_node("mine"))
    assert nodes(etcd) == ["mine"]
    began = time.monotonic()
    kept.update(with_node("more"))  # the one that answered is asked again
    assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    ("key", "damage", "found"),
    [
        (KEY, "{", "damaged JSON"),
        (KEY, "\n", "an empty file"),
        (KEY, '{"format": 1, "cluster": "other", "blocks": {}}', "the ledger of cluster 'other'"),
        ("/podnet/test/commits", "{}", "no list of commits in /podnet/test/commits"),
        ("/podnet/test/commits", "}", "no list of commits in /podnet/test/commits"),
    ],
)
def test_a_damaged_key_stops_the_run_and_stays(etcd: Etcd, key: str, damage: str, found: str) -> None:
    store(etcd.url).update(with_node("mine"))
    etcd.ctl("put", key, stdin=damage)
    at = etcd.revision()
    with pytest.raises(LedgerError, match=found):
        store(etcd.url).update(with_node("more"))
    assert etcd.revision() == at


def test_a_ledger_that_is_put_back_from_a_backup_goes_on(etcd: Etcd) -> None:
    store(etcd.url).update(with_node("mine"))
    text = etcd.ctl("get", KEY, "--print-value-only")
    etcd.ctl("del", "/podnet", "--prefix")
    etcd.ctl("put", KEY, stdin=text)
    store(etcd.url).update(with_node("more"))
    assert nodes(etcd) == ["mine", "more"]
