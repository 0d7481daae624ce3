# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node that is told of pods of other nodes has what a run that knows of them has made."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.tests.integration.cni.node import Failed
from tests.integration.cni.guarded import (
    BACKENDS,
    DB,
    OTHER,
    TABLE,
    WEB,
    Guarded,
    Listener,
    addresses,
    policy,
    prepared,
    send,
)

if TYPE_CHECKING:
    from tests.integration.cni.node import FakePlugins, Node

FAR = ("10.244.4.9", "fd00:10:244:4::9")
FOLDER = "/etc/podnet/told"


@pytest.fixture(params=BACKENDS)
def guarded(node: Node, fakes: FakePlugins, request: pytest.FixtureRequest) -> Guarded:
    """A node with a way to another one, which is a namespace that has a pod's address."""
    made = prepared(node, fakes, request.param)
    made.declare()
    for command in (
        "netns add far",
        "link add far0 type veth peer name eth0 netns far",
        "address add 10.244.4.1/24 dev far0",
        "address add fd00:10:244:4::1/64 dev far0 nodad",
        "link set far0 up",
        "-n far link set lo up",
        "-n far address add 10.244.4.9/24 dev eth0",
        "-n far address add fd00:10:244:4::9/64 dev eth0 nodad",
        "-n far link set eth0 up",
        "-n far route add default via 10.244.4.1",
        "-n far route add default via fd00:10:244:4::1",
    ):
        node.run("ip", *command.split())
    # What the datapath's roles see to.
    node.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
    return made


def pod(name: str = "far", labels: dict[str, str] = WEB, **more: Any) -> dict[str, Any]:
    return {"name": name, "node": "there", "labels": labels, "addresses": list(FAR), **more}


def tell(guarded: Guarded, *endpoints: Any, **more: Any) -> dict[str, Any]:
    return guarded.node.module("policy_endpoint", **{"node": "here", "endpoints": list(endpoints), **more})


def gone(guarded: Guarded, *names: str) -> dict[str, Any]:
    return tell(guarded, *({"name": name} for name in names), state="absent")


def is_heard(guarded: Guarded, listener: Listener, target: list[str], word: str) -> bool:
    """Whether what the far pod sends reaches one here, over both families or over none; the node itself always does."""
    send(guarded.node, "far", word, target)
    last = f"last{word}"
    for address in target:
        family = 6 if ":" in address else 4
        guarded.node.run(
            "python3",
            "-c",
            "import socket, sys; socket.socket(int(sys.argv[1]), socket.SOCK_DGRAM)"
            ".sendto(sys.argv[3].encode(), (sys.argv[2], 8484))",
            "10" if family == 6 else "2",
            address,
            f"{last} {family}",
        )
    heard = {each for each in listener.heard_until({f"{last} 4", f"{last} 6"}) if not each.startswith("last")}
    assert heard in (set(), {f"{word} 4", f"{word} 6"})
    return bool(heard)


def records(guarded: Guarded) -> list[dict[str, Any]]:
    """What is kept of what was told."""
    found = guarded.node.run("sh", "-c", f"cat {FOLDER}/*.json 2>/dev/null; true")
    return [json.loads(each) for each in re.findall(r"\{\"version.*?\}(?=\{\"version|$)", found, re.DOTALL)]


def test_what_is_told_is_what_a_run_makes_of_it(guarded: Guarded) -> None:
    target = addresses(guarded.runtime.add("db", DB))
    listener = Listener(guarded.node, "db", target)
    try:
        assert not is_heard(guarded, listener, target, "nobody")
        foretold = tell(guarded, pod(), check=True)
        assert (foretold["changed"], foretold["after"][0]["addresses"], records(guarded)) == (True, list(FAR), [])
        assert "10.244.4.9" in foretold["diff"]["after"]
        stamp = guarded.node.run("stat", "-c", "%.9Y", TABLE)
        told = tell(guarded, pod(), pod("other", OTHER, addresses=["10.244.4.10"]))
        assert (told["changed"], told["before"], told["reconciled"]) == (True, [], False)
        assert guarded.node.run("stat", "-c", "%.9Y", TABLE) == stamp
        assert guarded.differences() == []
        assert is_heard(guarded, listener, target, "come")
        assert not tell(guarded, pod())["changed"]
        # Other labels: it is no peer any more.
        assert tell(guarded, pod(labels=OTHER))["reconciled"]
        assert not is_heard(guarded, listener, target, "other")
        assert guarded.differences() == []
        again = tell(guarded, pod())
        assert [each["labels"] for each in (*again["before"], *again["after"])] == [OTHER, WEB]
        assert is_heard(guarded, listener, target, "again")
        went = gone(guarded, "far", "other", "nobody")
        assert (went["changed"], len(went["before"]), went["after"]) == (True, 2, [])
        assert not is_heard(guarded, listener, target, "gone")
        assert not gone(guarded, "far")["changed"]
        assert guarded.differences() == []
        assert records(guarded) == []
        assert "told" not in guarded.node.run("ls", "/etc/podnet")
        assert guarded.declare()["operations"] == {}
    finally:
        listener.close()


def test_a_run_that_declares_anew_knows_better(guarded: Guarded) -> None:
    target = addresses(guarded.runtime.add("db", DB))
    listener = Listener(guarded.node, "db", target)

    def declare(*more: dict[str, Any], **given: Any) -> dict[str, Any]:
        params = guarded.policies(**given)
        return guarded.node.module("policy", **{**params, "endpoints": [*params["endpoints"], *more]})

    try:
        declare(pod())
        assert is_heard(guarded, listener, target, "declared")
        # One that is declared has gone, and another has its address.
        assert gone(guarded, "far")["reconciled"]
        assert guarded.differences() == []
        assert not is_heard(guarded, listener, target, "gone")
        assert [each["endpoint"] for each in records(guarded)] == [None]
        # Whose node is not asked stays as it was told; its record is in the declaration then.
        assert not declare(asked=["here"])["operations"]
        assert records(guarded) == []
        assert not is_heard(guarded, listener, target, "asked")
        assert tell(guarded, pod())["changed"]
        assert not declare(asked=["here"])["operations"]
        assert (records(guarded), guarded.differences()) == ([], [])
        assert is_heard(guarded, listener, target, "stays")
        assert not tell(guarded, pod())["changed"]
        # Who has an address now is told, who had it then is known.
        heir = tell(guarded, pod("heir", OTHER))
        assert heir["reconciled"]
        assert not is_heard(guarded, listener, target, "heir")
        assert tell(guarded, asked=["there"])["changed"]
        assert guarded.differences() == []
        declare(pod(), asked=["here", "there"])
        assert is_heard(guarded, listener, target, "back")
        # All of the nodes that were asked.
        assert not tell(guarded, pod(), asked=["there", "elsewhere"])["changed"]
        assert tell(guarded, pod("more", OTHER, addresses=["10.244.4.8"]), pod(), asked=["there"])["changed"]
        left = tell(guarded, pod(), asked=["there"])
        assert [each["name"] for each in left["before"]] == ["more"]
        assert is_heard(guarded, listener, target, "all")
    finally:
        listener.close()
    tell(guarded, pod("late", addresses=["10.244.4.7"]))
    guarded.node.module("policy", node="here", state="absent")
    assert records(guarded) == []
    # Where nothing is declared nothing is to be told.
    assert not tell(guarded, pod())["changed"]
    assert records(guarded) == []


def test_what_was_killed_in_the_middle_is_made_good(guarded: Guarded) -> None:
    target = addresses(guarded.runtime.add("db", DB))
    listener = Listener(guarded.node, "db", target)
    try:
        tell(guarded, pod())
        kept = guarded.node.run("sh", "-c", f"cat {FOLDER}/*.json")
        name = guarded.node.run("ls", FOLDER).strip()
        gone(guarded, "far")
        # It had noted the pod down, and put nothing into the kernel.
        guarded.node.run("mv", TABLE, f"{TABLE}.aside")
        guarded.node.run("mkdir", "-p", FOLDER)
        guarded.node.run("tee", f"{FOLDER}/{name}", stdin=kept)
        assert not is_heard(guarded, listener, target, "killed")
        assert tell(guarded, pod())["changed"]
        assert is_heard(guarded, listener, target, "again")
        assert not tell(guarded, pod())["changed"]
        assert guarded.differences() == []
        # A crash of the machine may leave it empty; what somebody has made of it is told.
        guarded.node.run("tee", f"{FOLDER}/{name}", stdin="")
        assert guarded.differences()
        tell(guarded, pod())
        assert guarded.differences() == []
        guarded.node.run("tee", f"{FOLDER}/{name}", stdin="{}")
        with pytest.raises(Failed, match="remove the file"):
            tell(guarded, pod("more"))
    finally:
        listener.close()


def test_who_is_killed_at_any_moment_leaves_what_the_next_one_makes_good(guarded: Guarded) -> None:
    guarded.runtime.add("db", DB)
    # As many moments as there are in what takes some 20 ms; the lock goes with who held it.
    for number in range(8):
        given = pod(f"far{number}", addresses=[f"10.244.4.{20 + number}", f"fd00:10:244:4::{20 + number}"])
        run = guarded.node.start("policy_endpoint", node="here", endpoints=[given])
        time.sleep(0.003 * number)
        run.kill()
        tell(guarded, given)
        assert guarded.differences() == []
    assert len(records(guarded)) == 8
    assert guarded.declare()["operations"]
    assert (records(guarded), guarded.differences()) == ([], [])


@pytest.mark.parametrize("guarded", ["nftables"], indirect=True)
def test_the_way_back_leads_to_what_was_told(guarded: Guarded) -> None:
    node = guarded.node
    target = addresses(guarded.runtime.add("db", DB))
    listener = Listener(node, "db", target)
    try:
        tell(guarded, pod())
        armed = node.module("checkpoint", timeout=60)
        # All anew, and without it.
        guarded.declare()
        assert not is_heard(guarded, listener, target, "declared")
        node.module("checkpoint", state="rolled_back", id=armed["id"])
        assert guarded.differences() == []
        assert is_heard(guarded, listener, target, "back")
    finally:
        listener.close()


@pytest.mark.parametrize("guarded", ["nftables"], indirect=True)
def test_pods_that_nobody_foresees_and_bad_ones(guarded: Guarded) -> None:
    named = policy("named", {"app": "db"}, [{"podSelector": {"matchLabels": {"app": "far"}}}], ports=[{"port": "http"}])
    block = policy("block", {"app": "db"}, [{"ipBlock": {"cidr": "10.244.4.0/24"}}, *_peers("far")])
    guarded.runtime.add("db", DB)
    guarded.declare(policies=[named, block])
    # A port by its name, and an address that is in a block already, whatever that takes.
    tell(guarded, pod(labels={"app": "far"}))
    assert guarded.differences() == []
    with pytest.raises(Failed) as failed:
        tell(guarded, {"name": "Bad", "addresses": ["10.0.0"]}, {"name": "far", "labels": 5}, "nothing")
    assert [each.partition(":")[0] for each in failed.value.result["errors"]] == [
        "endpoints[0].name",
        "endpoints[0].addresses[0]",
        "endpoints[1].labels",
        "endpoints[2]",
    ]
    with pytest.raises(Failed, match="asked"):
        tell(guarded, {"name": "far"}, state="absent", asked=["there"])
    # Its own pods are its attachments' matter.
    assert not tell(guarded, pod("mine", node="here", addresses=["10.244.3.77"]))["changed"]


def _peers(name: str) -> list[dict[str, Any]]:
    return [{"podSelector": {"matchLabels": {"app": name}}}]
