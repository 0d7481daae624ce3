# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""First boot: a machine of networkd's, on which somebody's own rules for links lie in wait, gets the pod network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from . import network
from .conftest import KEPT, WRITTEN, Machine

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE = Path(__file__).parent
FILES: Mapping[str, str] = {
    "/etc/systemd/network/50-uplink.network": "[Match]\nName=uplink\n\n[Network]\nAddress=192.0.2.11/24\n"
    "Address=2001:db8::11/64\nIPv6AcceptRA=no\nIPv6DuplicateAddressDetection=0\n",
    # What an operator may have who thinks of other bridges and tunnels.
    "/etc/systemd/network/60-mine.link": "[Match]\nKind=bridge vxlan\n\n[Link]\nNamePolicy=\nName=captured0\n"
    "MACAddressPolicy=random\n",
    "/etc/systemd/system/uplink.service": "[Unit]\nAfter=systemd-networkd.service\nBefore=network-online.target\n\n"
    "[Service]\nType=oneshot\nRemainAfterExit=yes\nKillMode=process\n"
    f"ExecStart=/bin/sh {HERE / 'uplink.sh'}\n\n[Install]\nWantedBy=multi-user.target\n",
}
# The same for networkd, which reads it at the next boot, and our files then, too.
MINE = "[Match]\nKind=bridge vxlan\n\n[Network]\nAddress=198.51.100.1/32\nLinkLocalAddressing=no\n"
# What stands for a runtime: it starts by looking whether the network is there.
RUNTIME = """[Unit]
After=network.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'ip -brief address show podnet0 >/run/seen-by-%N && ip route show proto 84 >>/run/seen-by-%N'

[Install]
WantedBy=multi-user.target
"""
# It writes a number to one file and then to the other, and the next number, until the power goes off.
WRITER = f"""
import itertools, os
first, second = (os.open(path, os.O_WRONLY | os.O_CREAT) for path in {WRITTEN!r})
for number in itertools.count():
    os.pwrite(first, b"%020d" % number, 0)
    os.pwrite(second, b"%020d" % number, 0)
"""
RUNTIMES = ("containerd", "docker", "crio", "kubelet")


def test_the_network_is_made_and_will_come_back(machine: Machine) -> None:
    KEPT.mkdir()
    for name, text in FILES.items():
        Path(name).write_text(text)
    for name in RUNTIMES:
        Path(f"/etc/systemd/system/{name}.service").write_text(RUNTIME)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "enable", *RUNTIMES)
    machine.run("systemctl", "enable", "--now", "systemd-networkd", "uplink")
    machine.run("systemctl", "start", "network-online.target")
    machine.picture("bare")

    network.declare()
    ours = sorted(str(path) for path in Path("/etc/systemd/system").glob("podnet-*"))
    assert machine.run("systemd-analyze", "verify", *ours) == ""
    assert machine.run("podnet-node", "diff") == ""
    machine.bird_has_routes()
    machine.has_no_failed_unit()
    machine.picture("whole")
    Path("/etc/systemd/network/60-mine.network").write_text(MINE)


def test_somebody_writes_until_the_power_goes_off(machine: Machine) -> None:
    machine.run("systemd-run", "--unit=writer", "/usr/bin/python3", "-ISc", WRITER)
    machine.until("it writes", lambda: all(Path(path).is_file() for path in WRITTEN))
