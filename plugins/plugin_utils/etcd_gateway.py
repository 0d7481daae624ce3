# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests to etcd v3 by its HTTP gateway: several endpoints, TLS, authentication, and what an error means."""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etcd3gw.client import Etcd3Client

LIBRARY = "etcd3gw"
TIMEOUT = 5.0  # seconds for a request; etcd itself gives up a proposal after 7
API_PATH = "/v3/"  # etcd 3.4 and newer

# Codes of gRPC (google.golang.org/grpc/codes) with which etcd says that it has done nothing and never will.
INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED, RESOURCE_EXHAUSTED = 3, 5, 7, 8
FAILED_PRECONDITION, OUT_OF_RANGE, UNIMPLEMENTED, UNAUTHENTICATED = 9, 11, 12, 16
FINAL = {
    INVALID_ARGUMENT,
    NOT_FOUND,
    PERMISSION_DENIED,
    RESOURCE_EXHAUSTED,
    FAILED_PRECONDITION,
    OUT_OF_RANGE,
    UNIMPLEMENTED,
    UNAUTHENTICATED,
}
# etcd's api/v3rpc/rpctypes/error.go: a token dies with the member that gave it, and with every change of a role.
STALE_TOKEN = ("invalid auth token", "revision of auth store is old")
NO_AUTHENTICATION = "authentication is not enabled"


class Unanswered(Exception):
    """No answer, or none that says whether the request was carried out."""


class Refused(Exception):
    """etcd, or TLS, has refused the request: it was not carried out."""


class MissingLibrary(Exception):
    """The Python library of that name is not installed."""


@dataclass(frozen=True)
class Access:
    """Where etcd is and as whom to speak to it."""

    endpoints: tuple[str, ...]  # URLs: http://192.0.2.1:2379
    username: str = ""
    password: str = field(default="", repr=False)
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""


class Gateway:
    """The endpoints of one etcd, of which one is spoken to until it fails."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._clients = [_client(endpoint, access) for endpoint in access.endpoints]
        self._turn = 0
        self._token = ""

    def transaction(self, compare: Sequence[Any], success: Sequence[Any]) -> dict[str, Any]:
        """Carry out a transaction; return etcd's answer. Raises Unanswered and Refused."""
        return self._object(self._call("kv/txn", {"compare": list(compare), "success": list(success)}))

    def _object(self, answer: Any) -> dict[str, Any]:
        if not isinstance(answer, dict):
            raise Refused(f"{self._clients[self._turn].base_url} answers what etcd's gateway does not; who is it?")
        return answer

    def _call(self, path: str, body: dict[str, Any]) -> Any:
        if self.access.username and not self._token:
            self._authenticate()
        try:
            return self._post(path, body)
        except Refused as error:
            if not self._token or not any(text in str(error) for text in STALE_TOKEN):
                raise
        self._authenticate()
        return self._post(path, body)

    def _authenticate(self) -> None:
        self._token = ""
        try:
            answer = self._post("auth/authenticate", {"name": self.access.username, "password": self.access.password})
        except Refused as error:
            # As etcdctl does: who may come in without a name may come in with one.
            if NO_AUTHENTICATION not in str(error):
                raise
        else:
            self._token = str(self._object(answer).get("token", ""))
            if not self._token:
                raise Refused(f"{self._clients[self._turn].base_url} gave no token")

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        import requests
        from etcd3gw.exceptions import Etcd3Exception

        client = self._clients[self._turn]
        headers = {"Authorization": self._token} if self._token else {}
        try:
            return client.post(client.get_url(path), json=body, headers=headers)
        except Etcd3Exception as error:
            raise self._meaning(error) from None
        except (requests.exceptions.RequestException, ValueError, RecursionError) as error:
            # An answer that was cut in the middle, which etcd3gw lets through.
            self._next()
            raise Unanswered(f"{client.base_url} has broken off its answer ({_root(error)})") from None
        except OSError as error:
            # requests looks for the files of certificates when it connects.
            raise Refused(f"a certificate or key that cannot be read ({error})") from None

    def _meaning(self, error: Any) -> Exception:
        base = self._clients[self._turn].base_url
        root = _root(error.__context__) if error.__context__ is not None else None
        # A connection that ends is etcd going down; all else that TLS complains of stays as it is until it is mended.
        if isinstance(root, ssl.SSLError) and not isinstance(root, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
            return Refused(f"{base} and this machine do not come to terms about TLS ({root})")
        code, message = None, str(root or error.detail_text)
        if root is None:
            try:
                told = json.loads(message)
                code, message = told["code"], told["message"]
            except (ValueError, KeyError, TypeError, RecursionError):
                pass  # not from etcd but from something before it
        if isinstance(code, int) and code in FINAL:
            return Refused(f"{base} says: {message}")
        self._next()
        return Unanswered(f"{base} does not answer ({message})")

    def _next(self) -> None:
        self._turn = (self._turn + 1) % len(self._clients)


def _root(error: BaseException) -> BaseException:
    """Return what went wrong below requests and urllib3, whose own texts bury it."""
    inner = error
    while True:
        wrapped = [getattr(inner, "reason", None), *inner.args, inner.__cause__]
        found = next((item for item in wrapped if isinstance(item, BaseException)), None)
        if found is None:
            return inner
        inner = found


def _client(endpoint: str, access: Access) -> Etcd3Client:
    try:
        import requests
        from etcd3gw.client import Etcd3Client
    except ImportError:
        raise MissingLibrary(LIBRARY) from None
    session = requests.Session()
    # Or REQUESTS_CA_BUNDLE would go before ca_file, and a .netrc before the token (requests, Session.trust_env).
    session.trust_env = False
    if access.ca_file:
        session.verify = access.ca_file
    if access.cert_file:
        session.cert = (access.cert_file, access.key_file)
    url = urlsplit(endpoint)
    return Etcd3Client(
        host=url.hostname or "",
        port=url.port or 2379,
        protocol=url.scheme,
        timeout=TIMEOUT,
        api_path=API_PATH,
        session=session,
    )
