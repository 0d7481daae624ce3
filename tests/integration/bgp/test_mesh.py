# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Full mesh: what the nodes tell each other, and what a run does when something is not as it was left."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from ansible_collections.podnet.fabric.tests.integration.bgp.fabric import (
    CONFIG,
    PASSWORD,
    POOLS,
    SECRETS,
    SOCKET,
    Speaker,
    eventually,
)
from ansible_collections.podnet.fabric.tests.integration.cni.node import Failed

if TYPE_CHECKING:
    from typing import Any


def _mesh(nodes: list[Speaker], **params: Any) -> None:
    for node in nodes:
        node.bgp(nodes, **params)
    for node in nodes:
        node.info(wait=30, required=True)


def test_every_node_hears_every_block_of_both_families(nodes: list[Speaker]) -> None:
    one, two, three = nodes
    _mesh(nodes)
    assert one.routes() == {
        "10.244.2.0/24": two.local,
        "10.244.3.0/24": three.local,
        "fd00:10:244:2::/64": two.second,
        "fd00:10:244:3::/64": three.second,
    }
    for node in nodes:
        for other in nodes:
            if node is not other:
                node.reaches(other)

    seen = one.info()
    assert {(session["name"], session["state"]) for session in seen["sessions"]} == {
        (f"node{number}.v{family}", "Established") for number in (2, 3) for family in (4, 6)
    }
    assert all((session["imported"], session["exported"]) == (1, 1) for session in seen["sessions"])
    assert {route["dst"] for route in seen["routes"]} == set(one.routes())
    assert (seen["router_id"], seen["missing"], seen["problems"]) == (one.local, [], [])


def test_a_second_run_does_nothing(nodes: list[Speaker]) -> None:
    _mesh(nodes)
    before = [node.birds() for node in nodes]
    for node in nodes:
        assert not node.bgp(nodes)["changed"]
    assert before == [node.birds() for node in nodes]


def test_check_mode_tells_and_changes_nothing(nodes: list[Speaker]) -> None:
    one = nodes[0]
    said = one.bgp(nodes, check=True)
    assert said["changed"]
    assert said["operations"] == {"files": {"create": 1}, "instances": {"create": 1}}
    assert one.birds() == []
    assert "podnet" not in one.run("ls", "/etc", "/run")
    assert one.bgp(nodes)["after"] == said["after"]


def test_a_peer_more_leaves_the_other_sessions_as_they_are(nodes: list[Speaker]) -> None:
    one, two, three = nodes
    _mesh([one, two])
    before = one.connections()
    said = one.bgp(nodes)
    assert said["operations"] == {"files": {"replace": 1}, "instances": {"replace": 1}}
    two.bgp(nodes)
    three.bgp(nodes)
    assert len(one.info(wait=30, required=True)["sessions"]) == 4
    # By their ports: BIRD works out anew, for each answer, since when a session is, and may be a millisecond off.
    kept = before & one.connections()
    assert {peer for _local, peer in kept} == {"192.0.2.2", "2001:db8::2"}


def test_a_session_that_begins_while_its_address_is_away_comes_up_when_that_is_back(nodes: list[Speaker]) -> None:
    one, two, _three = nodes
    own = json.loads(one.run("ip", "-4", "-json", "address", "show", "to", one.local))
    (device,) = (each["ifname"] for each in own if each.get("addr_info"))
    one.run("ip", "address", "delete", f"{one.local}/24", "dev", device)

    def appear() -> None:
        # Hops away, as far as addresses tell: on the link BIRD waits for the interface by itself, most of the time.
        one.run("ip", "address", "add", f"{one.local}/32", "dev", device)
        one.run("ip", "route", "replace", "192.0.2.0/24", "dev", device)

    appear()
    _mesh([one, two], routed=True)
    assert one.routes()["10.244.2.0/24"] == two.local
    one.run("ip", "address", "delete", f"{one.local}/32", "dev", device)
    one.run("birdc", "-s", SOCKET, "restart", "all")
    assert eventually(lambda: "10.244.2.0/24" not in one.routes())
    appear()
    assert eventually(lambda: one.routes().get("10.244.2.0/24") == two.local)


def test_a_killed_bird_loses_no_route_here_nor_there(nodes: list[Speaker]) -> None:
    one, two, _three = nodes
    _mesh(nodes)
    watching = [node.watch("ip", "-o", "monitor", "route") for node in nodes]
    (pid,) = one.birds()
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: not one.birds())
    seen = one.info()
    assert (seen["running"], seen["problems"]) == (False, ["BIRD does not run; run site.yml"])
    assert one.bgp(nodes)["operations"] == {"instances": {"create": 1}}
    one.info(wait=30, required=True)
    # The end of the recovery, when what is stale would be swept.
    assert eventually(lambda: _recovered(one))
    assert len(one.routes()) == len(two.routes()) == 4
    for watch in watching:
        watch.kill()
        lost = [line for line in watch.communicate()[0].splitlines() if line.startswith("Deleted ") and "bird" in line]
        assert lost == []
    assert not one.bgp(nodes)["changed"]


def _recovered(node: Speaker) -> bool:
    return "recovery" not in node.run("birdc", "-s", SOCKET, "show", "status").lower()


def test_a_bird_without_its_socket_is_ours_all_the_same(nodes: list[Speaker]) -> None:
    one = nodes[0]
    _mesh(nodes)
    (before,) = one.birds()
    one.run("rm", SOCKET)
    said = one.bgp(nodes)
    assert said["before"]["instances"] == [{"config": CONFIG, "state": "does not answer", "configuration": "outdated"}]
    (after,) = one.birds()
    assert after != before
    one.info(wait=40, required=True)
    assert not one.bgp(nodes)["changed"]


def test_what_somebody_had_bird_read_is_put_right(nodes: list[Speaker]) -> None:
    one = nodes[0]
    _mesh(nodes)
    text = one.read(CONFIG)
    one.write(CONFIG, text.replace("hold time 90", "hold time 33"))
    one.run("birdc", "-s", SOCKET, "configure")
    assert "hold time 90" not in one.read(CONFIG)
    assert one.bgp(nodes)["operations"] == {"files": {"replace": 1}, "instances": {"replace": 1}}
    assert one.read(CONFIG) == text
    one.info(wait=30, required=True)
    assert not one.bgp(nodes)["changed"]


def test_a_lost_route_comes_back(nodes: list[Speaker]) -> None:
    one = nodes[0]
    _mesh(nodes)
    before = one.routes()
    one.run("ip", "route", "delete", "10.244.2.0/24")
    said = one.bgp(nodes)
    assert said["before"]["instances"][0]["missing_in_kernel"] == "IPv4"
    assert one.routes() == before


def test_taking_it_back_leaves_nothing(nodes: list[Speaker]) -> None:
    one = nodes[0]
    before = _picture(one)
    _mesh(nodes, password=PASSWORD)
    predicted = one.module("bgp", state="absent", check=True)
    said = one.module("bgp", state="absent")
    assert said["before"] == predicted["before"]
    assert said["after"] == predicted["after"] == {"routes": [], "secrets": [], "files": [], "instances": []}
    assert one.birds() == []
    assert _picture(one) == before


def test_what_a_killed_bird_left_goes_with_a_purge(nodes: list[Speaker]) -> None:
    one = nodes[0]
    before = _picture(one)
    _mesh(nodes)
    (pid,) = one.birds()
    os.kill(pid, signal.SIGKILL)
    assert len(one.routes()) == 4
    assert one.module("purge")["changed"]
    assert _picture(one) == before


def test_routes_of_another_dataplane_give_way_when_birds_are_there(nodes: list[Speaker]) -> None:
    one, two, _three = nodes
    for node in nodes:
        for peer in nodes:
            if peer is not node:
                node.run("ip", "route", "add", peer.blocks[0], "via", peer.local, "proto", "84")
                node.run("ip", "route", "add", peer.blocks[1], "via", peer.second, "proto", "84")
    one.run("ip", "route", "add", "10.244.77.0/24", "via", two.local, "proto", "84")
    _mesh(nodes, standby=True)
    assert len(one.routes()) == 4
    assert len(one.run("ip", "route", "show", "proto", "84").splitlines()) == 3
    # In front of BIRD's until it is told to carry.
    assert "proto 84" in one.run("ip", "-N", "route", "get", "fibmatch", "10.244.3.1")
    predicted = one.bgp(nodes, check=True)
    said = one.bgp(nodes)
    assert said["operations"] == predicted["operations"] == {"routes": {"delete": 4}}
    assert "proto bird" in one.run("ip", "route", "get", "fibmatch", "10.244.3.1")
    # One that BIRD knows nothing of stays.
    assert one.run("ip", "route", "show", "proto", "84").split()[0] == "10.244.77.0/24"
    assert not one.bgp(nodes)["changed"]


def test_preflight_takes_the_port_of_our_bird_for_ours(nodes: list[Speaker]) -> None:
    one = nodes[0]

    def taken(**params: Any) -> list[str]:
        findings = one.module("node_facts", dataplane="bgp", pools=POOLS, **params)["ansible_facts"]["podnet_node"]
        return [finding["found"] for finding in findings["findings"] if finding["check"] == "port"]

    _mesh(nodes)
    assert taken() == []
    # Its declaration and its socket are gone.
    one.run("rm", "/etc/podnet/node.d/bgp.json", SOCKET)
    assert taken() == []
    assert one.bgp(nodes)["operations"]["instances"] == {"replace": 1}
    one.module("bgp", state="absent")
    one.write("/etc/bird/other.conf", OTHER + LISTENS)
    one.run("bird", "-c", "/etc/bird/other.conf", "-s", "/run/other.ctl")
    assert taken() == ["TCP port 179 is taken by another program"]
    assert taken(tcp_port=1179) == []


def _picture(node: Speaker) -> list[str]:
    shown = [node.run("ip", family, "route", "show", "table", "all") for family in ("-4", "-6")]
    files = node.run("find", "/etc", "/run", "-xdev", "-path", "*podnet*", "-not", "-name", "lock", "-type", "f")
    # A link-local address is on trial for its first second, and in the table only then.
    routes = [line for line in "".join(shown).splitlines() if "fe80:" not in line]
    return sorted(routes) + files.splitlines()


def test_a_bad_configuration_never_reaches_the_running_bird(nodes: list[Speaker]) -> None:
    one = nodes[0]
    _mesh(nodes)
    text = one.read(CONFIG)
    with pytest.raises(Failed) as failed:
        one.bgp(nodes, neighbours=[{"name": "router", "address": "fe80::1", "asn": 64513}])
    assert failed.value.message.startswith(f"files: BIRD refuses the new {CONFIG}, the former one stays: bird: ")
    assert one.read(CONFIG) == text
    states = {session["peer"]: session["state"] for session in one.info()["sessions"]}
    assert states == {"node2": "Established", "node3": "Established", "router": "absent"}


def test_another_bird_on_the_node_is_left_alone(nodes: list[Speaker]) -> None:
    one = nodes[0]
    one.write("/etc/bird/other.conf", OTHER)
    one.run("bird", "-c", "/etc/bird/other.conf", "-s", "/run/other.ctl")
    (other,) = one.birds()
    _mesh(nodes)
    assert len(one.birds()) == 2
    assert one.routes()["10.99.0.0/24"]
    one.module("bgp", state="absent")
    assert one.birds() == [other]
    assert list(one.routes()) == ["10.99.0.0/24"]
    assert "up" in one.run("birdc", "-s", "/run/other.ctl", "show", "protocols")


OTHER = """
router id 192.0.2.99;
protocol device {}
protocol kernel { scan time 1; ipv4 { export all; }; }
protocol static { ipv4; route 10.99.0.0/24 via 192.0.2.250; }
"""
LISTENS = "protocol bgp { local as 1; neighbor 192.0.2.250 as 2; ipv4 { import all; export none; }; }\n"


def test_another_speaker_of_bgp_is_named(nodes: list[Speaker]) -> None:
    one = nodes[0]
    one.write("/etc/bird/other.conf", OTHER + LISTENS)
    one.run("bird", "-c", "/etc/bird/other.conf", "-s", "/run/other.ctl")
    (other,) = one.birds()
    with pytest.raises(Failed) as failed:
        one.bgp(nodes)
    assert failed.value.message == (
        f"bird (process {other}) listens on port 179, where BGP neighbours call; end it, or set another podnet_bgp.port"
    )
    assert one.birds() == [other]
    _mesh(nodes, port=1179)
    assert len(one.birds()) == 2


def test_no_output_and_no_open_file_holds_a_password(nodes: list[Speaker]) -> None:
    one, two, _three = nodes
    said = [
        one.bgp(nodes, password=PASSWORD, check=True),
        one.bgp(nodes, password=PASSWORD),
        two.bgp(nodes, password=PASSWORD),
        one.info(),
        one.bgp(nodes, password=PASSWORD + "2"),
        one.bgp(nodes, passwords={two.local: PASSWORD + "3"}),
    ]
    assert PASSWORD not in json.dumps(said)
    assert (said[0]["after"]["secrets"], said[1]["after"]["secrets"]) == (
        [{"path": SECRETS, "mode": "0600", "owner": "bird", "names": "podnet_password"}],
    ) * 2
    # A changed password is a change, though its lines look the same.
    assert said[4]["operations"] == {"secrets": {"replace": 1}, "instances": {"replace": 1}}
    assert said[5]["after"]["secrets"][0]["names"] == f"podnet_password_{two.local.replace('.', '_')}"
    assert PASSWORD in one.read(SECRETS)
    holders = one.run("grep", "-rl", PASSWORD, "/etc/podnet", "/run/podnet").splitlines()
    assert holders == [SECRETS]
    assert one.run("stat", "-c", "%a %U", SECRETS).split() == ["600", "bird"]
    for pid in one.birds():
        assert PASSWORD not in one.read(f"/proc/{pid}/cmdline")


def test_a_bad_password_is_refused_without_telling_it(nodes: list[Speaker]) -> None:
    with pytest.raises(Failed) as failed:
        nodes[0].bgp(nodes, password=f'{PASSWORD}"')
    assert failed.value.message == (
        "password: a quotation mark or a control character; BIRD takes neither in a password"
    )
    assert PASSWORD not in json.dumps(failed.value.result)


def test_nodes_with_different_passwords_do_not_speak(nodes: list[Speaker]) -> None:
    one, two, three = nodes
    one.bgp(nodes, password=PASSWORD)
    two.bgp(nodes, password=PASSWORD)
    three.bgp(nodes, password="another")  # noqa: S106 - of nobody
    with pytest.raises(Failed) as failed:
        one.info(wait=6, required=True)
    lines = failed.value.message.splitlines()
    assert len(lines) == 4
    assert all("node3" in line for line in lines)
    assert set(one.routes()) == set(two.blocks)


def test_a_call_without_passwords_keeps_those_of_the_file(nodes: list[Speaker]) -> None:
    """Restoring a node from its declarations alone, which hold none."""
    one = nodes[0]
    _mesh(nodes, password=PASSWORD)
    (pid,) = one.birds()
    os.kill(pid, signal.SIGKILL)
    one.run(
        "/usr/bin/env",
        f"PYTHONPATH={os.pathsep.join(sys.path)}",
        sys.executable,
        "-c",
        RESTORE,
    )
    assert one.info(wait=40, required=True)["sessions"][0]["password"]


RESTORE = """
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import reconcile
from ansible_collections.podnet.fabric.plugins.module_utils.resources.bgp import KIND
with Host() as host:
    assert reconcile(KIND, Declarations().read("bgp"), host, Declarations()).changed
"""
