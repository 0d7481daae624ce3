# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger in etcd v3: read, work out, and write on the condition that nobody else has written since.

One key holds the ledger as text, a second one the tokens of the last commits; each commit writes both in one
transaction. A commit whose answer was lost is found, or not, by its token: it is neither lost nor made twice.
"""

from __future__ import annotations

import json
import os
import random
import socket
import time
import uuid
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.errors import MALFORMED
from ansible_collections.podnet.fabric.plugins.plugin_utils import ledger_text
from ansible_collections.podnet.fabric.plugins.plugin_utils.etcd_gateway import Access, Gateway, Refused, Unanswered
from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger import Ledger
from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger_text import LedgerError
from ansible_collections.podnet.fabric.plugins.plugin_utils.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 30.0  # seconds that a read, or an update, goes on trying
SHORTEST_PAUSE, DOUBLED = 0.005, 6  # seconds, and how often: the longest one is 0.32 s
COMMITS_KEPT = 100
RESTORE = "restore the key from a backup (etcdctl put); do not delete it while nodes run"


class Version(NamedTuple):
    """The ledger at a moment: what a commit is conditional on."""

    ledger: Ledger
    revision: int  # etcd's mod_revision of the ledger's key, 0 when there is none yet
    commits: tuple[dict[str, Any], ...]  # the last ones, the newest first

    @property
    def tokens(self) -> list[Any]:
        """The tokens of the last commits, the newest first."""
        return [commit.get("token") for commit in self.commits]


class EtcdStore:
    """A ledger in etcd, below a prefix of its own for each cluster."""

    def __init__(self, access: Access, prefix: str, cluster: str, patience: float = PATIENCE) -> None:
        """Raises MissingLibrary."""
        self.cluster = cluster
        self.patience = patience
        folder = f"{prefix.rstrip('/')}/{cluster}"
        self.ledger_key, self.commits_key = f"{folder}/ledger", f"{folder}/commits"
        self._endpoints = access.endpoints
        self._gateway = Gateway(access)

    @property
    def name(self) -> str:
        """The endpoints and the key."""
        return f"etcd {', '.join(self._endpoints)} {self.ledger_key}"

    def read(self) -> Ledger:
        """Return the ledger, an empty one when there is no key yet. Raises LedgerError."""
        return self._read(time.monotonic() + self.patience).ledger

    def update(self, transition: Callable[[Ledger], Ledger]) -> tuple[Ledger, Ledger]:
        """Apply a transition with nobody in between; return the ledger before and after. Raises LedgerError."""
        deadline = time.monotonic() + self.patience
        lost = 0
        while True:
            version = self._read(deadline)
            after = transition(version.ledger)
            if after == version.ledger or self._commit(version, after, deadline):
                return version.ledger, after
            lost += 1
            if time.monotonic() >= deadline:
                found = f"{lost} commits of other runs that came before this one's"
                wanted = f"a commit within {self.patience:g} seconds"
                raise self._error(found, wanted, "let fewer runs write at a time; then run again")
            _pause(lost)

    def _read(self, deadline: float) -> Version:
        tries = 0
        while True:
            try:
                answer = self._gateway.transaction([], [_get(self.ledger_key), _get(self.commits_key)])
                break
            except Refused as error:
                raise self._refused(error) from None
            except Unanswered as error:
                tries += 1
                if time.monotonic() >= deadline:
                    raise self._unreachable(error) from None
                _pause(tries)
        return self.version_in(answer)

    def version_in(self, answer: dict[str, Any]) -> Version:
        """Return what an answer to the two requests holds. Raises LedgerError."""
        try:
            ledger, commits = (_value(response) for response in answer["responses"])
        except MALFORMED as error:
            found = f"an answer that cannot be understood ({type(error).__name__}: {str(error)[:80]})"
            cure = "see that podnet_ledger.endpoints lead to etcd 3.4 or newer itself"
            raise self._error(found, "one of etcd's gateway", cure) from None
        text, revision = (None, 0) if ledger is None else ledger
        try:
            parsed = [] if commits is None else json.loads(commits[0])
        except (ValueError, RecursionError):
            parsed = None
        if not isinstance(parsed, list) or not all(isinstance(item, dict) for item in parsed):
            raise self._error(f"no list of commits in {self.commits_key}", "the one that podnet.fabric wrote", RESTORE)
        return Version(
            Ledger(self.cluster) if text is None else ledger_text.parse(text, self.name, self.cluster),
            revision,
            tuple(parsed),
        )

    def _commit(self, version: Version, after: Ledger, deadline: float) -> bool:
        """Return whether the ledger was written, False when another commit came first."""
        token = uuid.uuid4().hex
        commit = {"token": token, "by": f"process {os.getpid()} on {socket.gethostname()}", "at": int(time.time())}
        compare = [
            {
                "key": _coded(self.ledger_key),
                "target": "MOD",
                "result": "EQUAL",
                "mod_revision": str(version.revision),
            }
        ]
        success = [
            _put(self.ledger_key, ledger_text.render(after)),
            _put(self.commits_key, json.dumps([commit, *version.commits][:COMMITS_KEPT])),
        ]
        tries = 0
        while True:
            try:
                answer = self._gateway.transaction(compare, success)
            except Refused as error:
                raise self._refused(error) from None
            except Unanswered:
                tries += 1
            else:
                if answer.get("succeeded"):
                    return True
                if not tries:
                    return False
            # An earlier try may have been carried out, or may be so yet: as long as nobody has written, this very
            # commit is sent again, which etcd carries out once at most.
            landed = self._landed(version, token, deadline)
            if landed is not None:
                return landed
            _pause(tries)

    def _landed(self, version: Version, token: str, deadline: float) -> bool | None:
        """Return whether a commit is in the ledger; None when nothing has been written since."""
        now = self._read(deadline)
        if token in now.tokens:
            return True
        if now.revision == version.revision:
            if time.monotonic() >= deadline:
                raise self._unreachable(Unanswered("it answers reads, but no commit"))
            return None
        complete = len(now.tokens) < COMMITS_KEPT if not version.tokens else version.tokens[0] in now.tokens
        if complete:
            return False
        found = f"{COMMITS_KEPT} commits or more of other runs since the answer to this one's was lost"
        raise self._error(found, f"fewer, to find it in {self.commits_key}", "look at the ledger, then run again")

    def _refused(self, error: Refused) -> LedgerError:
        cure = "mend podnet_ledger, podnet_ledger_password, or the user's role in etcd"
        return self._error(str(error), "a request that is accepted", cure)

    def _unreachable(self, error: Unanswered) -> LedgerError:
        cure = "bring etcd back, or mend the endpoints or certificates of podnet_ledger; then run again"
        return self._error(str(error), f"an answer within {self.patience:g} seconds", cure)

    def _error(self, found: str, wanted: str, cure: str) -> LedgerError:
        return LedgerError([Problem(self.name, found, wanted, cure)])


def _pause(tries: int) -> None:
    # Random, so that writers which collided do not do so again.
    time.sleep(random.uniform(0, SHORTEST_PAUSE * 2 ** min(tries, DOUBLED)))


def _coded(text: str) -> str:
    return b64encode(text.encode()).decode()


def _get(key: str) -> dict[str, Any]:
    return {"request_range": {"key": _coded(key)}}


def _put(key: str, value: str) -> dict[str, Any]:
    return {"request_put": {"key": _coded(key), "value": _coded(value)}}


def _value(response: dict[str, Any]) -> tuple[str, int] | None:
    """Return a key's value and mod_revision. The gateway leaves out what is empty or zero."""
    for found in response["response_range"].get("kvs", ()):
        return b64decode(found.get("value", "")).decode(errors="replace"), int(found["mod_revision"])
    return None
