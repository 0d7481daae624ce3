# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What podnet_ledger may say, and which store comes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.podnet.fabric.plugins.plugin_utils import ledger_store, schema


def choose(folder: str | None, password: str = "", **ledger: Any) -> tuple[Any, list[str]]:
    """Return the store and the problems, as the operator reads them."""
    settings = schema.complete("podnet_ledger", ledger)
    variables = {"podnet_cluster": "lab", "podnet_ledger": settings, "podnet_ledger_password": password}
    store, problems = ledger_store.choose(variables, folder)
    return store, [str(problem) for problem in problems]


@pytest.mark.parametrize(
    ("ledger", "name"),
    [
        ({}, "/inventory/.podnet-ledger.json"),
        ({"path": "ledgers/lab.json"}, "/inventory/ledgers/lab.json"),
        ({"path": "/var/lib/lab.json"}, "/var/lib/lab.json"),
        (
            {"store": "etcd", "endpoints": ["http://192.0.2.1:2379", "https://[2001:db8::1]:2379"], "prefix": "/nets/"},
            "etcd http://192.0.2.1:2379, https://[2001:db8::1]:2379 /nets/lab/ledger",
        ),
    ],
)
def test_the_store_that_is_chosen(ledger: dict[str, Any], name: str) -> None:
    store, problems = choose("/inventory", **ledger)
    assert (store.name, problems) == (name, [])


def test_everything_that_is_wrong_with_etcd_is_told_at_once(tmp_path: Path) -> None:
    ledger = {"store": "etcd", "ca_file": "ca.pem", "cert_file": "/nonexistent/cert.pem"}
    store, problems = choose(str(tmp_path), "told to nobody", **ledger)
    assert store is None
    wanted = "wanted a file in PEM format; mend the path, or put the file there"
    assert problems == [
        "podnet_ledger.endpoints: found an empty list, wanted one URL or more; write the URLs of etcd's members",
        "podnet_ledger.username: found nothing, but a password, wanted the username too; set both of them, or neither",
        "podnet_ledger.key_file: found nothing, wanted the other half of the pair; set cert_file and key_file, or "
        "neither",
        f"podnet_ledger.ca_file: found no file {tmp_path}/ca.pem, {wanted}",
        f"podnet_ledger.cert_file: found no file /nonexistent/cert.pem, {wanted}",
    ]


def test_a_user_without_password_and_files_without_a_folder() -> None:
    store, problems = choose(
        None, store="etcd", endpoints=["http://192.0.2.1:2379"], username="podnet", ca_file="ca.pem"
    )
    assert store is None
    assert problems == [
        "podnet_ledger_password: found nothing, but a username, wanted the password too; set both of them, or neither",
        "podnet_ledger.ca_file: found 'ca.pem', while the inventory has no folder, wanted an absolute path; write an "
        "absolute path, or keep the inventory in a file",
    ]


@pytest.mark.parametrize("endpoint", ["192.0.2.1:2379", "https://user:secret@192.0.2.1:2379", "ftp://192.0.2.1", 2379])
def test_an_endpoint_that_is_no_url(report: Any, host: Any, endpoint: Any) -> None:
    (problem,) = report([host("node1", "192.0.2.11", ledger={"store": "etcd", "endpoints": [endpoint]})])
    assert problem.startswith("podnet_ledger.endpoints[0]: found ")
    assert ", wanted a URL such as https://192.0.2.1:2379; " in problem
