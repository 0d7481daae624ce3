# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods that a runtime starts after the playbook has run are under its policies before their first packet."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import threading
from typing import TYPE_CHECKING, Any
from unittest.mock import ANY

import pytest

from tests.integration.cni.guarded import (
    BACKENDS,
    DB,
    OTHER,
    POLICY,
    TABLE,
    WEB,
    Guarded,
    Listener,
    Ping,
    addresses,
    policy,
    prepared,
    send,
)
from tests.integration.cni.runtime import CONFLIST, PluginFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.cni.node import FakePlugins, Node


def honest(guarded: Guarded) -> None:
    """Beside others, a pod that no policy selects needs no nft to send from its own addresses only."""
    node, runtime = guarded.node, guarded.runtime
    node.run("mount", "--bind", "/bin/false", "/usr/sbin/nft")
    quiet = runtime.add("quiet", OTHER)
    # One that the policies of others mean is besides an element of their sets.
    runtime.add("beside", WEB)
    node.run("umount", "/usr/sbin/nft")
    assert guarded.differences() == []
    told = node.run("nft", "list", "table", "bridge", "podnet")
    port = next(each["name"] for each in quiet["interfaces"] if each["name"].startswith("veth"))
    assert {f'"{port}" . {address}' for address in addresses(quiet)} <= set(re.findall(r'"\S+" \. [\d.a-f:]+', told))
    before = guarded.state()
    assert guarded.declare()["operations"] == {}
    assert guarded.state() == before
    runtime.delete("quiet", quiet)
    runtime.delete("beside")
    guarded.declare()
    assert guarded.differences() == []
    assert port not in guarded.state()


@pytest.fixture(params=BACKENDS)
def guarded(node: Node, fakes: FakePlugins, request: pytest.FixtureRequest) -> Guarded:
    made = prepared(node, fakes, request.param)
    made.declare()
    return made


def test_a_new_pod_is_under_its_policies_at_its_first_packet(guarded: Guarded) -> None:
    node, runtime = guarded.node, guarded.runtime
    first = runtime.add("db", DB)
    assert first["cniVersion"] == "1.0.0"
    assert first["interfaces"][-1]["sandbox"] == "/run/netns/db"
    listener = Listener(node, "db", addresses(first))
    try:
        # The first of its set of policies, then others: strangers, and one that is a peer.
        for name, labels in (("other", OTHER), ("web", WEB), ("more", OTHER), ("last", WEB)):
            runtime.add(name, labels)
            send(node, name, name, addresses(first))
        heard = listener.heard_until({f"{name} {family}" for name in ("web", "last") for family in (4, 6)})
        assert not {word for word in heard if word.startswith(("other", "more"))}
        # A second database is under them as well, by elements alone where the backend can.
        second = runtime.add("db2", DB)
        late = Listener(node, "db2", addresses(second))
        try:
            send(node, "other", "other", addresses(second))
            send(node, "web", "web", addresses(second))
            assert late.heard_until({"web 4", "web 6"}) == {"web 4", "web 6"}
        finally:
            late.close()
    finally:
        listener.close()
    assert guarded.differences() == []
    before = guarded.state()
    if guarded.backend["backend"] != "ebpf":
        # What stands with a pod that goes does not with the next one that has its address.
        stood = node.run("conntrack", "-L").count(f"dst={addresses(second)[0]} ")
        runtime.delete("db2", second)
        assert stood
        assert node.run("conntrack", "-L").count(f"dst={addresses(second)[0]} ") == 0
        second = runtime.add("db2", DB)
        before = guarded.state()
    # The playbook declares what is there already.
    assert guarded.declare()["operations"] == {}
    assert guarded.state() == before
    if guarded.backend["backend"] == "nftables":
        honest(guarded)
    assert not guarded.declare()["changed"]
    # Pods that go, declared or not, leave nothing, and those that come with their addresses have what is theirs.
    for name, result in (("web", None), ("db2", second), ("db", first)):
        runtime.delete(name, result)
        assert guarded.differences() == []
    left = guarded.state()
    assert not any(address in left.split() for address in addresses(first))
    runtime.run("CHECK", guarded.plugin(), "other", runtime.attach_again("other", OTHER))
    for name in ("last", "other", "more"):
        runtime.delete(name)
    assert [name for name in guarded.records() if "@eth0@" in name] == []
    assert guarded.declare()["operations"] == ({} if guarded.backend["backend"] != "ebpf" else ANY)
    assert guarded.differences() == []


@pytest.mark.parametrize("guarded", ["nftables"], indirect=True)
def test_add_fails_closed_and_del_never_fails(guarded: Guarded) -> None:
    node, runtime, plugin = guarded.node, guarded.runtime, guarded.plugin()
    guarded.declare(antispoofing=False)
    runtime.add("db", DB)
    before = guarded.state()
    # The table is somebody else's by all that it shows.
    node.run("rm", "-f", TABLE)
    node.run("nft", "rename", "chain", "inet", "podnet", "podnet.fabric", "foreign")
    with pytest.raises(PluginFailed) as caught:
        runtime.add("web", {"app": "web", "other": "x"})
    assert caught.value.error["code"] == 100
    assert "default/web" in caught.value.error["msg"]
    assert "inet podnet" in caught.value.error["msg"]
    assert [name for name in guarded.records() if "id-web" in name] == []
    node.run("nft", "rename", "chain", "inet", "podnet", "foreign", "podnet.fabric")
    assert guarded.state() == before
    declaration = node.read("/etc/podnet/node.d/policy.json")
    for number, damage in enumerate(
        (
            "echo '{' >/etc/podnet/node.d/policy.json",
            "rm /etc/podnet/node.d/policy.json",
            "nft delete table inet podnet",
            f"echo damaged >{TABLE}",
            f'sed -i \'s/"peers": /"others": /\' {TABLE}',
            "for f in /run/podnet/attached/id-pod*; do echo '[' >$f; done",
            "rm -rf /run/podnet/code /usr/local/lib/podnet/attach.pyz",
            "rm -rf /run/podnet",
            "mount -t tmpfs -o ro tmpfs /run/podnet",
        )
    ):
        name = f"pod{number}"
        result = runtime.add(name, DB)
        node.run("sh", "-c", damage)
        for _twice in range(2):
            assert runtime.run("DEL", plugin, name, result) == {}
        if "policy.json" in damage:
            node.write("/etc/podnet/node.d/policy.json", declaration)
        if "code" in damage:
            with pytest.raises(PluginFailed) as caught:
                runtime.add("none", DB)
            assert caught.value.error["code"] == 50
            guarded.network()
        if "mount" not in damage:
            runtime.delete(name, result)


@contextlib.contextmanager
def without_tools(node: Node) -> Iterator[None]:
    """Whatever reconciles fails."""
    tools = [f"/usr/sbin/{name}" for name in ("nft", "ipset", "xtables-nft-multi", "xtables-legacy-multi")]
    for tool in tools:
        node.run("mount", "--bind", "/bin/false", tool)
    yield
    for tool in tools:
        node.run("umount", tool)


MORE = ("third", "fourth", "fifth")
"""Policies of their own that select a pod with such a label; of five rules stand ready for no pod."""


@pytest.mark.parametrize("guarded", ["nftables", "iptables-nft", "iptables-legacy"], indirect=True)
def test_a_pod_that_policies_select_is_some_elements(guarded: Guarded) -> None:
    node, runtime = guarded.node, guarded.runtime
    # No pod is there yet. Whoever has "tier: front" may be reached by a block and by pods that nobody has seen.
    peers: list[dict[str, Any]] = [
        {"ipBlock": {"cidr": "192.0.2.0/24"}},
        {"podSelector": {"matchLabels": {"app": "far"}}},
    ]
    several = [
        POLICY,
        {"metadata": {"name": "isolated"}, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}},
        policy("front", {"tier": "front"}, peers),
        policy("named", {"tier": "named"}, peers[1:], ports=[{"port": "http", "protocol": "UDP"}]),
        *(policy(name, {name: "yes"}, peers[1:]) for name in MORE),
    ]
    http = [{"name": "http", "port": 8484, "protocol": "UDP"}, {"name": "admin", "port": 9}]
    stated = {"name": "stated", "node": "here", "addresses": [], "ports": http}

    def declare() -> dict[str, Any]:
        given = guarded.policies(policies=several)
        # As the role brings together what nodes and the inventory tell.
        found = {each["name"]: each for each in given["endpoints"]}
        found["stated"] = {**stated, **found.get("stated", {})}
        return node.module("policy", **{**given, "endpoints": list(found.values())})

    declare()
    empty = guarded.state()
    kinds = {"db": DB, "web": WEB, "far": {"app": "far"}, "both": {"app": "db", "tier": "front"}}
    with without_tools(node):
        results = {name: runtime.add(name, labels) for name, labels in kinds.items()}
        # The inventory has told which of its ports has a name that a policy asks for.
        results["stated"] = runtime.add("stated", {"tier": "named"})
        # Whom no policy selects sends from its own addresses, too.
        runtime.add("stranger", OTHER, namespace="elsewhere")
        # Such a combination nobody has thought of.
        with pytest.raises(PluginFailed):
            runtime.add("odd", {**kinds["both"], **dict.fromkeys(MORE, "yes")})
    for target, peers_of in (("both", ("web", "far")), ("stated", ("far",))):
        told = addresses(results[target])
        listener = Listener(node, target, told)
        try:
            for name in ("db", "web", "far"):
                send(node, name, name, told)
            expected = {f"{name} {family}" for name in peers_of for family in (4, 6)}
            assert listener.heard_until(expected) == expected
        finally:
            listener.close()
    counted = node.module("policy_info")
    allowed = {",".join(each["policies"]): each["packets"] for each in counted["allowed"]}
    assert allowed == {"default/database": 2, "default/front": 2, "default/isolated": 0, "default/named": 2}
    denied = {each["endpoint"]: each["packets"] for each in counted["denied"]}
    assert denied == {
        "default/both": 2,
        "default/stated": 4,
        **dict.fromkeys(["default/db", "default/far", "default/web"], 0),
    }
    # The failed ones have been taken out again, and a playbook has nothing to add.
    assert guarded.differences() == []
    before = guarded.state()
    assert declare()["operations"] == {}
    assert not declare()["changed"]
    assert guarded.state() == before
    # Now declared pods come back, and go.
    runtime.delete("stranger", namespace="elsewhere")
    for name, result in results.items():
        runtime.delete(name, result)
    with without_tools(node):
        again = runtime.add("both", kinds["both"])
    assert guarded.differences() == []
    runtime.delete("both", again)
    for _turn in range(10):
        runtime.delete("db", runtime.add("db", DB))
    assert guarded.state() == empty
    assert [name for name in guarded.records() if "@eth0@" in name] == []
    declare()
    assert guarded.state() == empty


@pytest.mark.parametrize("guarded", ["nftables"], indirect=True)
def test_a_ping_that_began_before_the_policies_came_is_judged(guarded: Guarded) -> None:
    node, runtime = guarded.node, guarded.runtime
    runtime.add("web", WEB)
    runtime.add("other", OTHER)
    node.run("ip", "netns", "add", "db")
    first, plugin = runtime.conflist()["plugins"][0], guarded.plugin()
    result = runtime.run("ADD", first, "db")
    to = addresses(result)
    pings = {(name, each): Ping(node, name, each) for name in ("web", "other") for each in to}
    try:
        # The pod has its addresses, and its kernel answers.
        assert all(ping.is_answered() for ping in pings.values())
        with without_tools(node):
            runtime.run("ADD", plugin, "db", result, DB)
        assert {key[0] for key, ping in pings.items() if ping.is_answered()} == {"web"}
    finally:
        for ping in pings.values():
            ping.close()
    denied = {each["endpoint"]: each["packets"] for each in node.module("policy_info")["denied"]}
    assert denied == {"default/db": 2}
    # The next reconcile has the kernel forget them, too.
    assert {each["facility"] for each in guarded.differences()} == {"flows"}
    guarded.declare()
    assert guarded.differences() == []


@pytest.mark.parametrize("guarded", ["nftables"], indirect=True)
def test_two_at_once_and_one_that_is_killed(guarded: Guarded) -> None:
    runtime, plugin = guarded.runtime, guarded.plugin()
    runtime.add("db", DB)
    results: dict[str, dict[str, Any]] = {}

    def attach(name: str) -> None:
        results[name] = runtime.add(name, {"app": "db" if name[-1] in "02" else "web"})

    threads = [threading.Thread(target=attach, args=(f"pod{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    # Beside a playbook that knows of the first one only.
    guarded.node.module("policy", **guarded.policies())
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert guarded.differences() == []
    # Killed at any point of ADD: the next ADD of any pod, or DEL of this one, makes good what it has left.
    previous = results["pod0"]
    for number in range(6):
        labels = {"app": ("web", "db")[number % 2], "turn": str(number)}
        started = runtime.start("ADD", plugin, "pod0", previous, labels)
        try:
            started.communicate(timeout=0.004 * 2**number)
        except subprocess.TimeoutExpired:
            # nsenter and env become the plugin itself.
            started.kill()
            started.communicate()
        runtime.run("DEL", plugin, "pod0", previous)
        runtime.run("ADD", plugin, "pod0", previous, DB)
        assert guarded.differences() == []


@pytest.mark.parametrize("guarded", ["nftables"], indirect=True)
def test_where_labels_come_from_and_versions(guarded: Guarded) -> None:
    node, runtime, plugin = guarded.node, guarded.runtime, guarded.plugin()
    node.write("/etc/podnet/labels.json", json.dumps({"shop/cart": {"app": "db", "from": "file"}}))
    runtime.add("cart", namespace="shop")
    result = runtime.add("web", WEB, namespace="shop")
    (by_module,) = node.module("pod", pods=[{"name": "mine", "labels": DB}], bin_dir=str(guarded.fakes.directory))[
        "pods"
    ]
    told = {each["name"]: each for each in node.module("endpoint_info")["endpoints"]}
    assert told["cart"]["labels"] == {"app": "db", "from": "file"}
    assert told["cart"]["namespace"] == "shop"
    assert told["web"]["labels"] == WEB
    assert told["mine"]["labels"] == DB
    assert [f"{each}/24" for each in told["mine"]["addresses"] if "." in each] == by_module["addresses"][:1]
    # As conventions have it, and what each version of the specification says of results.
    for version in ("0.3.1", "0.4.0", "1.0.0", "1.1.0"):
        given = {**result, "cniVersion": version, "ips": [{"version": "4", **result["ips"][0]}]}
        conf: dict[str, Any] = {"args": {"cni": {"labels": [{"key": "app", "value": "web"}]}}, "cniVersion": version}
        assert runtime.run("ADD", plugin, "web", given, None, "shop", **conf) == given
    assert runtime.run("VERSION", plugin)["supportedVersions"] == ["0.3.1", "0.4.0", "1.0.0", "1.1.0"]
    assert runtime.run("STATUS", plugin, cniVersion="1.1.0") == {}
    with pytest.raises(PluginFailed) as caught:
        runtime.run("ADD", plugin, "web", result, cniVersion="0.2.0")
    assert caught.value.error["code"] == 1
    # GC forgets all that the runtime does not know any more.
    valid = [{"containerID": "id-cart", "ifname": "eth0"}]
    runtime.run("GC", {**plugin, "cni.dev/valid-attachments": valid}, cniVersion="1.1.0")
    assert [name.partition("@")[0] for name in guarded.records() if "@eth0@" in name] == ["id-cart"]
    with pytest.raises(PluginFailed, match="nothing is known of pod shop/web"):
        runtime.run("CHECK", plugin, "web", result, None, "shop")
    # Left out: it stays for the DEL of who is there, and goes then.
    guarded.network(attach=False)
    assert "podnet-attach" not in node.read(CONFLIST)
    assert runtime.run("DEL", plugin, "cart", None, None, "shop") == {}
    assert node.module("pod", pods=[{"name": "mine"}], state="absent", bin_dir=runtime.bin_dir)["changed"]
    guarded.network(attach=False)
    assert "podnet-attach" not in node.run("ls", str(guarded.fakes.directory)).split()
    assert "podnet" not in node.run("ls", "/usr/local/lib").split()
