# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drift is told by object and field, and a node goes back by itself where nobody confirms a change."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .test_site import FIFTH, NODES, TOP, Site, differences

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 60.0
PEER = "192.168.101.12"
# Traffic to node2's underlay address goes to a neighbour that is not there.
CUT = {"name": "cut", "routes": [{"dst": f"{PEER}/32", "via": "192.168.101.99", "dev": "eth0"}]}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    lab = Site(f"w{os.getpid() % 100000}-", tmp_path_factory.mktemp("site"))
    try:
        lab.play("lab")
        lab.play("site")
        yield lab
    finally:
        lab.play("lab", *FIFTH, "-e", "lab_state=absent", check=False)


def call(site: Site, module: str, **params: Any) -> dict[str, Any]:
    """One module on node1, by a controller of its own that has ended when this returns."""
    command = ["ansible", "node1", "-i", "inventories/lab/hosts.yml", "-e", f"lab_prefix={site.prefix}", "-o"]
    command += ["-m", f"podnet.fabric.{module}", "-a", json.dumps(params)]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(TOP / "ansible.cfg")}
    done = subprocess.run(command, cwd=TOP, env=environment, capture_output=True, text=True, check=False, timeout=120)
    found = re.search(r"=> (\{.*\})", done.stdout)
    assert found, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(found[1])
    return answer


def reaches_peer(site: Site) -> bool:
    # Nobody listens there: the peer's refusal is its answer, and without one the attempt takes longer than it may.
    attempt = f"timeout 1 bash -c 'exec 3<>/dev/tcp/{PEER}/9' 2>&1; exit 0"
    return "refused" in site.inside("node1", "sh", "-c", attempt)


def log(site: Site) -> str:
    return site.inside("node1", "cat", "/var/log/podnet-checkpoint.log")


def watchdogs(site: Site) -> list[str]:
    """The ids of those on the nodes of this lab: a node's processes are this machine's, too."""
    spaces = {Path(f"/proc/{site.process(node)}/ns/net").readlink() for node in NODES}
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            name = (folder / "comm").read_text(encoding="utf-8").strip()
            if name == "podnet-watchdog" and (folder / "ns" / "net").readlink() in spaces:
                found.append(folder.name)
    return found


def test_status_lists_what_differs_and_ends_with_an_error(site: Site) -> None:
    assert "node1: as declared (" in site.play("status").output

    site.inside("node2", "ip", "link", "set", "podnet0", "mtu", "1300")
    site.inside("node3", "ip", "route", "delete", "10.244.0.0/24")
    site.inside("node4", "ip", "route", "add", "10.97.0.0/16", "dev", "podnet-vx", "proto", "84")
    found = site.play("status", check=False)
    assert found.status != 0
    assert "node1: as declared (" in found.output
    assert "bridge: links podnet0: mtu: declared 1450, found 1300" in found.output
    assert "vxlan: routes 10.244.0.0/24: missing" in found.output
    assert "vxlan: routes 10.97.0.0/16 dev podnet-vx: not declared" in found.output
    assert found.changed()["node2"] == 0

    site.play("site")
    assert site.play("status").status == 0


def test_a_damaged_declaration_is_drift_and_not_a_traceback(site: Site) -> None:
    path = "/etc/podnet/node.d/bridge.json"
    site.inside("node1", "sh", "-c", f"cp {path} /root/kept; echo '{{' > {path}")
    found = site.play("status", check=False)
    site.inside("node1", "cp", "/root/kept", path)
    assert found.status != 0
    assert f"{path}: not a declaration" in found.output
    assert site.play("status").status == 0


def test_a_change_that_cuts_the_underlay_is_taken_back(site: Site) -> None:
    before = site.pictures("node1")
    assert reaches_peer(site)
    checkpoint = call(site, "checkpoint", timeout=5)
    assert checkpoint["armed"]
    assert not checkpoint["changed"]
    cut = call(site, "route", **CUT)
    assert cut["changed"], cut
    assert not reaches_peer(site)

    limit = time.monotonic() + PATIENCE
    while not reaches_peer(site):
        assert time.monotonic() < limit, log(site)
        time.sleep(0.2)
    while "went back" not in log(site):
        assert time.monotonic() < limit, log(site)
        time.sleep(0.2)
    assert f"{checkpoint['id']}: goes back: nobody confirmed in time" in log(site)
    assert f"delete routes: {PEER}" in log(site)
    assert differences(before, site.pictures("node1")) == {}
    assert site.play("status").status == 0

    late = call(site, "checkpoint", state="confirmed", id=checkpoint["id"])
    assert "armed" not in late
    assert "went back" in late["msg"]


def test_what_is_confirmed_stays_and_no_watchdog_is_left(site: Site) -> None:
    checkpoint = call(site, "checkpoint", timeout=30)
    cut = call(site, "route", **CUT)
    assert cut["changed"], cut
    assert watchdogs(site)
    kept = call(site, "checkpoint", state="confirmed", id=checkpoint["id"])
    assert (kept["armed"], kept["changed"]) == (False, False)
    assert not watchdogs(site)
    assert not reaches_peer(site)
    assert call(site, "route", name="cut", state="absent")["changed"]
    assert reaches_peer(site)


def test_a_checkpoint_left_behind_keeps_the_declarations_before_it(site: Site) -> None:
    call(site, "checkpoint", timeout=300)
    cut = call(site, "route", **CUT)
    assert cut["changed"], cut
    # The controller of that run is gone. The next one arms again, and what it goes back to is from before both.
    second = call(site, "checkpoint", timeout=300)
    assert len(watchdogs(site)) == 1
    back = call(site, "checkpoint", state="rolled_back", id=second["id"])
    assert back["changed"]
    assert any(PEER in change for change in back["changes"])
    assert reaches_peer(site)
    assert not watchdogs(site)
    assert site.play("status").status == 0


ROLLBACK = ("-e", '{"podnet_rollback": true}')
OTHER_PORT = ("-e", "podnet_vxlan_port=4790")
HURDLE = "table inet hurdle { chain input { type filter hook input priority -300; udp dport 4790 drop; }; }"


def configuration(picture: list[str]) -> list[str]:
    """A picture without what pods that came and went leave: a bridge's carrier, host-local's last address."""
    carrier = re.compile(r"NO-CARRIER,|,LOWER_UP| linkdown| state (UP|DOWN)")
    return [carrier.sub("", line) for line in picture if "/last_reserved_ip." not in line]


def test_a_verification_that_fails_on_one_node_takes_all_of_them_back(site: Site) -> None:
    # The first pod changes a bridge: it gets a carrier, its address, and sysctls of the bridge plugin.
    site.play("verify")
    before = {node: configuration(lines) for node, lines in site.pictures().items()}
    site.inside("node3", "nft", HURDLE)
    try:
        run = site.play("site", *OTHER_PORT, *ROLLBACK, "-e", '{"podnet_verify": true}', check=False)
    finally:
        site.inside("node3", "nft", "delete", "table", "inet", "hurdle")
    assert run.status != 0
    for node in NODES:
        answer = run.results["Say where the node stands", node]["msg"]
        assert "Went back to what was declared before (" in answer, run.output[-6000:]
    found = differences(before, {node: configuration(lines) for node, lines in site.pictures().items()})
    assert found == {}, json.dumps(found, indent=1)
    assert not watchdogs(site)
    assert site.play("status").status == 0


def test_a_controller_that_is_killed_in_the_middle_leaves_nodes_that_go_back(site: Site) -> None:
    before = site.pictures()
    command = ["ansible-playbook", "-i", "inventories/lab/hosts.yml", "playbooks/site.yml"]
    command += ["-e", f"lab_prefix={site.prefix}", *OTHER_PORT, "-e", "podnet_checkpoint_timeout=30"]
    command += ["-e", json.dumps({"podnet_ledger": {"store": "file", "path": str(site.folder / "ledger.json")}})]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(TOP / "ansible.cfg")}
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=TOP, env=environment, stdout=quiet, stderr=quiet, start_new_session=True) as run:
        limit = time.monotonic() + PATIENCE
        while "4790" not in site.inside("node4", "ip", "-details", "link", "show", "type", "vxlan"):
            assert time.monotonic() < limit
            assert run.poll() is None
            time.sleep(0.1)
        os.killpg(run.pid, signal.SIGKILL)
    limit = time.monotonic() + PATIENCE
    while watchdogs(site):
        assert time.monotonic() < limit, log(site)
        time.sleep(0.5)
    assert log(site).rstrip().endswith("0 problems")
    assert differences(before, site.pictures()) == {}
    assert site.play("status").status == 0
