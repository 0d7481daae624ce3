# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine with systemd that these tests run on, as root; they change it, and another boot sees what they left."""

from __future__ import annotations

import difflib
import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

TOP = Path(__file__).resolve().parents[3]
KEPT = Path("/var/lib/podnet-boot")
WRITTEN = ("/etc/podnet-boot-number", "/var/lib/podnet-boot/number")
PATIENCE = 180.0
NETWORK = (
    *("link: ", "address: ", "route: ", "rule: ", "nexthop: ", "neighbour: ", "fdb: ", "nft: "),
    *("iptables-save: ", "ip6tables-save: ", "sysctl: net.ipv4.ip_forward "),
)
"""What of a picture is the network's; the rest holds what changes with every boot."""


class Machine:
    """What can be asked of a machine and done with it."""

    def run(self, *argv: str, check: bool = True) -> str:
        """What a command prints, on both channels."""
        done = subprocess.run(
            argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=PATIENCE
        )
        assert done.returncode == 0 or not check, f"{' '.join(argv)}: exit status {done.returncode}: {done.stdout}"
        return done.stdout

    def ip(self, line: str) -> str:
        """Run `ip`, with words that a blank separates."""
        return self.run("ip", *line.split())

    def property(self, unit: str, name: str) -> str:
        """A property of a unit, as systemd tells it."""
        return self.run("systemctl", "show", "--property", name, "--value", unit).strip()

    def picture(self, name: str) -> list[str]:
        """What a pod network could change here; it is kept for the next boot."""
        file = KEPT / name
        self.run("sh", str(TOP / "molecule/resources/files/picture.sh"), str(file))
        return self.kept(name)

    def kept(self, name: str) -> list[str]:
        """A picture that was taken, without what is not of the network and changes with every boot."""
        lines = (KEPT / name).read_text().splitlines()
        return sorted(line for line in lines if line.startswith(NETWORK))

    def until(self, what: str, condition: Callable[[], bool]) -> None:
        """Wait for a condition; fail when it does not come."""
        limit = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < limit, f"not so after {PATIENCE:g} s: {what}"
            time.sleep(0.2)

    def becomes(self, wanted: list[str]) -> None:
        """Wait until the picture is that; fail with the difference when it does not get so."""
        limit = time.monotonic() + PATIENCE
        while (found := self.picture("now")) != wanted:
            difference = "\n".join(difflib.unified_diff(wanted, found, "wanted", "found", n=0, lineterm=""))
            assert time.monotonic() < limit, f"not so after {PATIENCE:g} s:\n{difference}"

    def bird_has_routes(self) -> None:
        """Our BIRD runs under systemd, speaks with the router, and has put what it heard into the kernel."""
        self.until("10.244.200.0/24 from the router", lambda: "via 192.0.2.12" in self.ip("route show 10.244.200.0/24"))
        assert (self.property("podnet-bird", "ActiveState"), self.property("podnet-bird", "NRestarts")) == (
            "active",
            "0",
        )
        assert "Established" in self.run("birdc", "-s", "/run/podnet/bird.ctl", "show", "protocols")

    def has_no_failed_unit(self) -> None:
        """Systemd has come up, and nothing has failed."""
        assert self.run("systemctl", "list-units", "--failed", "--no-legend", "--plain") == ""
        assert self.run("systemctl", "is-system-running", "--wait").strip() == "running"


@pytest.fixture
def machine() -> Machine:
    """This machine. Elsewhere it would be damaged, so there it fails."""
    assert os.environ.get("PODNET_VM_BOOT"), "run it by tests/vm/run --boots"
    assert Path("/proc/1/comm").read_text() == "systemd\n"
    return Machine()
