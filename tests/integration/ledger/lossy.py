# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A way to etcd on which requests and answers get lost, when and as the test says."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# What happens to a request: it passes, it never arrives, its answer never does, or half of the answer does.
PASS, LOSE_REQUEST, LOSE_ANSWER, CUT_ANSWER = "pass", "lose request", "lose answer", "cut answer"


def writes(body: dict[str, Any]) -> bool:
    """Whether a request is a commit."""
    return any("request_put" in operation for operation in body.get("success", ()))


@contextmanager
def lossy(
    port: int, verdict: Callable[[dict[str, Any]], str], after: Callable[[], None] = lambda: None
) -> Iterator[str]:
    """Give the URL of a way to a port; verdict is asked for each request, after is called when one has been lost."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"]))
            fate = verdict(json.loads(text))
            if fate != LOSE_REQUEST:
                upstream = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
                try:
                    upstream.request("POST", self.path, text, {"Content-Type": "application/json"})
                    answer = upstream.getresponse()
                    content = answer.read()
                except OSError:
                    fate = LOSE_REQUEST
                finally:
                    upstream.close()
            if fate in (PASS, CUT_ANSWER):
                self.send_response(answer.status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content if fate == PASS else content[: len(content) // 2])
            if fate != PASS:
                self.close_connection = True
                self.wfile.flush()
                after()
                self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, *_arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
