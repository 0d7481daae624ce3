# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS with certificates on both sides, and users with roles."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.podnet.fabric.plugins.plugin_utils.etcd_gateway import Access
from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger import Entry, Ledger
from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger_etcd import EtcdStore
from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger_text import LedgerError
from ansible_collections.podnet.fabric.tests.integration.ledger.etcd import Etcd
from ansible_collections.podnet.fabric.tests.integration.ledger.test_etcd import with_node

PASSWORD = "correct horse battery staple"  # noqa: S105 - of an etcd that lives as long as the test


class Authority:
    """Signs certificates with openssl."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.certificate, self._key = folder / f"{name}.pem", folder / f"{name}.key"
        self._openssl("req", "-x509", "-subj", f"/CN={name}", "-out", str(self.certificate), "-keyout", str(self._key))

    def sign(self, name: str, usage: str) -> tuple[str, str]:
        """Return the files of a certificate and its key."""
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        self._openssl(
            *("req", "-x509", "-subj", f"/O={name}", "-CA", str(self.certificate), "-CAkey", str(self._key)),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-addext", f"extendedKeyUsage={usage}"),
            *("-addext", "basicConstraints=critical,CA:FALSE", "-out", str(certificate), "-keyout", str(key)),
        )
        return str(certificate), str(key)

    def _openssl(self, *arguments: str) -> None:
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
        subprocess.run(["openssl", *arguments, *key], check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The one that etcd and its clients trust."""
    return Authority(tmp_path_factory.mktemp("authority"), "authority")


@pytest.fixture(scope="module")
def locked(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    """An etcd that wants a certificate of its clients and, but for root, has the user podnet with a role."""
    # etcd's gateway shows the server's certificate to the server, so it has to be good for both ends.
    certificate, key = authority.sign("server", "serverAuth,clientAuth")
    mine, my_key = authority.sign("client", "clientAuth")
    trusted = str(authority.certificate)
    member = Etcd(
        tmp_path_factory.mktemp("locked"),
        ("--cert-file", certificate, "--key-file", key, "--client-cert-auth", "--trusted-ca-file", trusted),
        "https",
        ("--cacert", trusted, "--cert", mine, "--key", my_key),
    )
    member.start()
    for command in (
        ("user", "add", "root:top"),
        ("user", "grant-role", "root", "root"),
        ("role", "add", "podnet"),
        ("role", "grant-permission", "podnet", "readwrite", "/podnet/", "--prefix"),
        ("user", "add", f"podnet:{PASSWORD}"),
        ("user", "grant-role", "podnet", "podnet"),
        ("auth", "enable"),
    ):
        member.ctl(*command)
    yield member
    member.kill()


@pytest.fixture
def access(locked: Etcd, authority: Authority) -> Access:
    """All that it takes to get in."""
    files = [str(authority.folder / f"client.{kind}") for kind in ("pem", "key")]
    return Access((locked.url,), "podnet", PASSWORD, str(authority.certificate), *files)


def check_refused(access: Access, *reasons: str, prefix: str = "/podnet") -> None:
    """Check that neither a reader nor a writer gets in, and that both are told one of the reasons, and no password."""
    kept = EtcdStore(access, prefix, "test", patience=1)
    for attempt in (kept.read, lambda: kept.update(lambda _ledger: Ledger("test", ENTRIES))):
        with pytest.raises(LedgerError) as caught:
            attempt()
        assert any(reason in str(caught.value) for reason in reasons), str(caught.value)
        assert PASSWORD not in str(caught.value)


ENTRIES: tuple[Entry, ...] = with_node("node1")(Ledger("test")).entries


def test_who_has_certificate_and_password_gets_in(access: Access) -> None:
    _before, after = EtcdStore(access, "/podnet", "test").update(with_node("node1"))
    assert EtcdStore(access, "/podnet", "test").read() == after


def test_a_token_that_has_died_is_renewed(access: Access, locked: Etcd) -> None:
    kept = EtcdStore(access, "/podnet", "renewed")
    kept.update(with_node("node1"))
    # A role that changes makes all tokens old; a member that starts anew forgets them.
    root = ("--user", "root:top")
    locked.ctl(*root, "role", "grant-permission", "podnet", "readwrite", "/other/", "--prefix")
    kept.update(with_node("node2"))
    locked.kill()
    locked.start(*root)
    kept.update(with_node("node3"))
    assert {entry.node for entry in kept.read().entries} == {"node1", "node2", "node3"}


def test_who_lacks_something_does_not(access: Access, authority: Authority, tmp_path: Path) -> None:
    says = f"{access.endpoints[0]} says: etcdserver:"
    wrong = f"{says} authentication failed, invalid user ID or password"
    check_refused(replace(access, password=PASSWORD[:-1]), wrong)
    check_refused(replace(access, username="", password=""), f"{says} user name is empty")
    check_refused(access, f"{says} permission denied", prefix="/elsewhere")
    terms = "do not come to terms about TLS"
    stranger = Authority(tmp_path, "stranger")
    check_refused(replace(access, ca_file=str(stranger.certificate)), terms)
    # etcd says that it does not like a client's certificate and hangs up, and the client may see but the latter.
    hung_up = "certificates of podnet_ledger"
    check_refused(replace(access, cert_file="", key_file=""), terms, hung_up)
    mine, key = stranger.sign("client", "clientAuth")
    check_refused(replace(access, cert_file=mine, key_file=key), terms, hung_up)
    check_refused(replace(access, key_file=str(authority.certificate)), terms)
    unreadable = "a certificate or key that cannot be read"
    check_refused(replace(access, key_file=str(tmp_path / "none.key")), unreadable)


def test_a_password_where_none_is_asked_for(etcd: Etcd) -> None:
    kept = EtcdStore(replace(etcd.access, username="podnet", password=PASSWORD), "/podnet", "test")
    _before, after = kept.update(with_node("node1"))
    assert EtcdStore(etcd.access, "/podnet", "test").read() == after


def test_the_password_is_in_no_representation(access: Access) -> None:
    assert PASSWORD not in repr(access)
