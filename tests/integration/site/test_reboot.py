# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node that has lost what a reboot takes comes back by the program that it keeps, alone and by the system's Python.

node1 has systemd's and NetworkManager's folders, as a Debian host has; node2 has neither.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from .test_site import Site, differences

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = "/usr/local/sbin/podnet-node"
NODES = ("node1", "node2")
LIMIT = ("--limit", ",".join(NODES))
FOLDERS = ("/etc/systemd/system", "/etc/NetworkManager")
# The kernel's part of a node: links with their addresses and routes, nexthops, packet filters, sysctls; and /run.
REBOOT = r"""
for pid in $(ip netns pids podnet 2>/dev/null); do kill $pid; done
nft flush ruleset
for link in $(ip -o link show | sed -nE 's/^[0-9]+: ([^@:]+).*/\1/p'); do
  case $link in lo|eth*|tunl0|sit0|ip6tnl0|gre*|erspan0) ;; *) ip link delete "$link" 2>/dev/null || true ;; esac
done
for family in -4 -6; do ip $family route flush proto 84; done
ip nexthop flush proto 84
for key in net.ipv4.ip_forward net.ipv6.conf.all.forwarding; do sysctl -qw "$key=0"; done
rm -rf /run/podnet
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    lab = Site(f"r{os.getpid() % 100000}-", tmp_path_factory.mktemp("site"))
    hosts = ("-e", "lab_hosts=router,outside,node1,node2")
    try:
        lab.play("lab", *hosts)
        for folder in FOLDERS:
            lab.inside("node1", "mkdir", "-p", folder)
            lab.inside("node2", "rm", "-rf", folder)
        yield lab
    finally:
        lab.play("lab", *hosts, "-e", "lab_state=absent", check=False)


def program(site: Site, node: str, *words: str) -> tuple[int, str]:
    """Run the program as an init system would, with nothing of Ansible's environment."""
    argv = ["nsenter", "--target", str(site.process(node)), "--all", "--"]
    argv += ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
    done = subprocess.run([*argv, PROGRAM, *words], capture_output=True, text=True, check=False, timeout=120)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def test_a_node_comes_back_after_a_reboot(site: Site) -> None:
    before = site.pictures(*NODES)
    site.play("site", *LIMIT)
    whole = site.pictures(*NODES)
    for node in NODES:
        assert program(site, node, "diff") == (0, "")
        site.inside(node, "sh", "-c", REBOOT)
        status, told = program(site, node, "diff")
        assert status == 1
        assert "bridge: links podnet0: missing" in told
        checked = program(site, node, "restore", "--check")
        assert (checked[0], sorted(checked[1].splitlines())) == (1, sorted(told.splitlines()))
        status, told = program(site, node, "restore", "--wait", "10")
        assert (status, told.splitlines()[-1].endswith(" changes, 0 problems")) == (0, True), told
        assert program(site, node, "restore") == (0, "0 changes, 0 problems\n")
    assert differences(whole, site.pictures(*NODES)) == {}
    assert set(site.play("site", *LIMIT).changed().values()) == {0}
    assert site.play("status", *LIMIT).status == 0

    # What a person, or a daemon of the host's, does to it is told by object and field, and mended.
    site.inside("node2", "ip", "link", "set", "podnet0", "mtu", "1300")
    assert program(site, "node2", "diff") == (1, "bridge: links podnet0: mtu: declared 1450, found 1300\n")
    status, told = program(site, "node2", "status")
    assert (status, "differences: 1, see podnet-node diff" in told) == (1, True)
    assert program(site, "node2", "restore")[0] == 0
    site.inside("node2", "sh", "-c", "echo '{' > /etc/podnet/node.d/bridge.json")
    status, told = program(site, "node2", "restore")
    assert status == 1
    assert "not restored: bridge: /etc/podnet/node.d/bridge.json: not a declaration" in told

    site.inside("node2", "rm", "/etc/podnet/node.d/bridge.json")
    site.play("site", *LIMIT)
    site.play("teardown", *LIMIT)
    assert differences(before, site.pictures(*NODES)) == {}


def test_units_and_drop_ins_are_there_where_somebody_reads_them(site: Site) -> None:
    site.play("site", *LIMIT, "-e", "podnet_self_heal=300", "-e", "podnet_service_health=5")
    wants = "/etc/systemd/system/multi-user.target.wants/podnet-restore.service"
    assert site.inside("node1", "readlink", wants).strip() == "/etc/systemd/system/podnet-restore.service"
    unit = site.inside("node1", "cat", "/etc/systemd/system/podnet-restore.service")
    assert f"ExecStart={PROGRAM} restore --wait" in unit
    assert "containerd.service" in next(line for line in unit.splitlines() if line.startswith("Before="))
    assert "OnUnitInactiveSec=300" in site.inside("node1", "cat", "/etc/systemd/system/podnet-heal.timer")
    assert "OnUnitInactiveSec=5\n" in site.inside("node1", "cat", "/etc/systemd/system/podnet-health.timer")
    assert f"ExecStart={PROGRAM} health\n" in site.inside("node1", "cat", "/etc/systemd/system/podnet-health.service")
    timers = site.inside("node1", "ls", "/etc/systemd/system/timers.target.wants").split()
    assert {"podnet-heal.timer", "podnet-health.timer"} <= set(timers)
    assert "Name=podnet-vx podnet0" in site.inside("node1", "cat", "/etc/systemd/network/00-podnet.network")
    manager = site.inside("node1", "cat", "/etc/NetworkManager/conf.d/podnet.conf")
    assert "unmanaged-devices+=interface-name:podnet-vx;interface-name:podnet0" in manager
    for folder in FOLDERS:
        assert site.inside("node2", "sh", "-c", f"ls -d {folder} || true") == ""

    run = site.play("site", *LIMIT)
    assert run.results["Have the node bring its pod network back after a reboot", "node1"]["operations"] == {
        "files": {"delete": 4},
        "enablements": {"delete": 2},
    }
    site.play("site", *LIMIT, "-e", "podnet_persist=false")
    assert site.inside("node1", "sh", "-c", "find /etc/systemd /etc/NetworkManager /usr/local -name '*podnet*'") == ""


def test_the_program_takes_the_network_off(site: Site) -> None:
    site.play("site", *LIMIT)
    status, told = program(site, "node1", "purge")
    assert status == 0
    assert "delete links: podnet0" in told
    assert "nothing was removed" in told
    assert program(site, "node1", "diff") == (0, "")
    assert program(site, "node1", "purge", "--yes")[0] == 0
    assert "podnet0" not in site.inside("node1", "ip", "link")
    assert site.inside("node1", "sh", "-c", f"ls -d /etc/podnet /run/podnet {PROGRAM} || true") == ""
