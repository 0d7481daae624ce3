# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Datagrams without a pause while something changes: what is lost, and what comes through."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.policy.conftest import Ground

DGRAM = socket.SOCK_DGRAM


@contextmanager
def streams(ground: Ground, family: int = 4) -> Iterator[tuple[list[int], list[int]]]:
    """Pods 2 and 4 send to pod 0 while the body runs; what each has sent, and what has arrived of it by the end."""
    sent, heard, done = [0, 0], [0, 0], threading.Event()
    with (
        ground.socket(2, DGRAM, family) as one,
        ground.socket(4, DGRAM, family) as other,
        ground.socket(0, DGRAM, family) as hearing,
    ):
        hearing.settimeout(2)

        def stream() -> None:
            while not done.is_set():
                for nth, each in enumerate((one, other)):
                    each.sendto(bytes([nth]), hearing.getsockname())
                    sent[nth] += 1
                time.sleep(0.001)

        def hear() -> None:
            while not done.is_set() or sum(heard) < sent[0]:
                try:
                    heard[hearing.recv(1)[0]] += 1
                except TimeoutError:
                    return

        both = [threading.Thread(target=each) for each in (stream, hear)]
        for each in both:
            each.start()
        try:
            yield sent, heard
        finally:
            done.set()
            for each in both:
                each.join()
