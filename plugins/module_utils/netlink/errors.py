# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong between us and the kernel."""

from __future__ import annotations

import errno
import os


class NetlinkError(OSError):
    """The kernel refused a message: `errno`, and the kernel's own words (extended ack) where it gave some.

    ``doing`` says what it was asked for, where the one who asked does not say it.
    """

    def __init__(self, number: int, extack: str = "") -> None:
        super().__init__(number, os.strerror(number))
        self.extack = extack
        self.doing = ""

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.doing, self.strerror, self.extack)))


class ProtocolError(NetlinkError):
    """The kernel's answer does not have the shape that netlink promises."""

    def __init__(self, complaint: str) -> None:
        super().__init__(errno.EBADMSG, complaint)


class DumpInterrupted(NetlinkError):
    """A table kept changing while it was being read, so no consistent copy of it could be had."""

    def __init__(self, attempts: int) -> None:
        super().__init__(errno.EAGAIN, f"the table changed during each of {attempts} attempts to read it")
