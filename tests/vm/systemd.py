# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's systemd and udev for a guest, and what manages networks there besides, without installing them here.

It is a folder to lay over the host's files.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from ansible_collections.podnet.fabric.tests.vm import cache, debian

PACKAGES = ("systemd", "systemd-sysv", "udev", "kmod", "dbus", "network-manager", "firewalld")
# Debian has one tree since bookworm; packages of then name both.
_MERGED = ("bin", "lib", "lib64", "sbin")


def ready() -> Path:
    """The folder, filled when there is none yet. Raises Unavailable."""
    wanted = debian.to_install(PACKAGES)
    digest = hashlib.sha256("\n".join(wanted).encode()).hexdigest()
    name = f"systemd-{digest[:12]}"
    with cache.being_made(name) as folder:
        if folder is not None:
            for short in _MERGED:
                (folder / "usr" / short).mkdir(parents=True)
                (folder / short).symlink_to(f"usr/{short}")
            debian.unpack([line.split()[0] for line in wanted], folder)
    return cache.FOLDER / name
