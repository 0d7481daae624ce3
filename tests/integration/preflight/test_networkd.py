# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real systemd-networkd deletes routes and rules of ours, but for the drop-in of our cure; preflight knows both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.preflight.checks import examine
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.seen import Seen, Wanted

TOP = Path(__file__).resolve().parents[3]
NETWORKD = Path("/lib/systemd/systemd-networkd")
SETTINGS = ("ManageForeignRoutes", "ManageForeignRoutingPolicyRules")
# networkd waits for udev where /sys can be written to, and there is no udev. Configuring a link makes it clean up.
SCRIPT = """\
set -eu
mount -t sysfs -o ro sysfs /sys
for folder in /run/systemd /etc/systemd; do mkdir -p $folder; mount -t tmpfs none $folder; done
mkdir -p /run/systemd/netif /run/systemd/network
chown systemd-network: /run/systemd/netif
printf '[Match]\\nName=eth0\\n[Network]\\nAddress=192.0.2.1/24\\n' > /run/systemd/network/10-eth0.network
ip link set lo up
ip link add podnet-vx type vxlan id 84 dstport 4789
ip link set podnet-vx alias podnet:vxlan up
ip route add blackhole 10.244.0.0/24 proto 84
ip route add 10.244.1.0/24 dev podnet-vx proto 84
ip rule add to 10.9.0.0/16 table 98 priority 9800
sh -c "$CURE"
/lib/systemd/systemd-networkd 2> /run/systemd/log & daemon=$!
trap 'kill $daemon; wait' EXIT
for _ in $(seq 200); do ! grep -q 'Enumeration completed' /run/systemd/log || break; sleep 0.1; done
ip link add eth0 type veth peer name far
ip link set far up
for _ in $(seq 200); do ! ip -4 address show dev eth0 | grep -q 192.0.2.1 || break; sleep 0.1; done
"$PYTHON" -c '
import json, subprocess
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.daemons import networkd_deletes, running
ip = lambda *what: subprocess.run(["ip", *what], capture_output=True, text=True, check=True).stdout.splitlines()
routes = [line.split(" scope")[0].strip() for line in ip("route", "show", "proto", "84")]
rules = [line.split()[0] for line in ip("rule") if "10.9.0.0" in line]
addresses = [line.split()[3] for line in ip("-4", "-o", "address", "show", "dev", "eth0")]
print(json.dumps([routes, rules, addresses, sorted(running()), networkd_deletes()]))
'
"""


@pytest.mark.skipif(not NETWORKD.exists(), reason="systemd-networkd is not installed here")
@pytest.mark.parametrize("cured", [False, True], ids=["as it comes", "with our drop-in"])
def test_networkd_deletes_what_preflight_says_it_does(cured: bool) -> None:
    told = [each for each in examine(Seen(networkd_deletes=SETTINGS), Wanted())[1] if "networkd" in each.found]
    cure = told[0].cure.rpartition("; ")[0]  # without the restart
    folder = {"PYTHON": sys.executable, "PYTHONPATH": str(TOP / "collections"), "CURE": cure if cured else ":"}
    # What `timeout` ends it ends with all of its children.
    argv = ["timeout", "50", "unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", SCRIPT]
    done = subprocess.run(argv, env={**os.environ, **folder}, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    routes, rules, addresses, runs, deletes = json.loads(done.stdout)
    assert (addresses, runs) == (["192.0.2.1/24"], ["systemd-networkd"])
    if cured:
        assert (routes, rules, deletes) == (["blackhole 10.244.0.0/24", "10.244.1.0/24 dev podnet-vx"], ["9800:"], [])
    else:
        # A route through a device that it does not manage stays; what has no device goes.
        assert (routes, rules, deletes) == (["10.244.1.0/24 dev podnet-vx"], [], list(SETTINGS))
