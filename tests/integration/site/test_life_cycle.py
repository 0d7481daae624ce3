# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes that come, rest, move, go and change their name: each event changes on its peers exactly what it implies.

One lab for all: node1 in one subnet, node3 and node5 in the other one; node2 and node4 have left it. What a test does
to the lab is there for the next one.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from .test_site import TOP, Run, Site, differences
from .test_way_back import configuration

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PEERS = ("node1", "node3")
BLOCKS = ("10.244.2.0/24", "fd00:10:244:2::/64")
POD = {"name": "web", "netns": "web"}
FORMER, ADDRESS = "192.168.102.15", "192.168.102.55"


class Life(NamedTuple):
    """The lab with inventories of its own, written anew when the operator would write his."""

    site: Site
    folder: Path

    def inventory(self, name: str, address: str, **node3: Any) -> None:
        """The node that things happen to, and variables of node3."""
        host = {
            "ansible_host": "node5",
            "podnet_underlay": {"address": address},
            "lab_addresses": [f"{FORMER}/24", "fd00:102::15/64"],
        }
        content = {
            "podnet": {"hosts": {name: host, "node3": node3}},
            "lab_subnet_b": {"hosts": {name: None}},
            "podnet_removed": {"hosts": {"node2": None, "node4": None}},
        }
        (self.folder / "life.json").write_text(json.dumps({"all": {"children": content}}), encoding="utf-8")

    def play(self, playbook: str, *arguments: str, check: bool = True) -> Run:
        """A playbook with that inventory."""
        return self.site.play(playbook, "-i", str(self.folder / "life.json"), *arguments, check=check)

    def ledger(self) -> str:
        return (self.folder / "ledger.json").read_text(encoding="utf-8")

    def pictures(self, *nodes: str) -> dict[str, list[str]]:
        """Of several nodes at once: each takes half a second."""
        with ThreadPoolExecutor() as pool:
            found = pool.map(self.site.pictures, nodes or PEERS)
        return {node: configuration(lines) for one in found for node, lines in one.items()}

    def pod(self, node: str, state: str = "present") -> subprocess.CompletedProcess[str]:
        command = ["ansible", node, "-i", "inventories/lab/hosts.yml", "-i", str(self.folder / "life.json")]
        command += ["-e", f"lab_prefix={self.site.prefix}", "-m", "podnet.fabric.pod"]
        command += ["-a", json.dumps({"pods": [POD], "state": state})]
        environment = {**os.environ, "ANSIBLE_CONFIG": str(TOP / "ansible.cfg")}
        return subprocess.run(
            command, cwd=TOP, env=environment, capture_output=True, text=True, check=False, timeout=60
        )

    def bare(self, node: str) -> bool:
        """Whether a node has nothing of the network."""
        links = self.site.inside(node, "ip", "-brief", "link")
        return "podnet0" not in links and "podnet-vx" not in links

    def reaches(self, process: int) -> bool:
        """Whether the node of this process reaches node1 through the tunnel."""
        ping = ["ping", "-c", "2", "-i", "0.2", "-W", "1", "-I", "10.244.2.1", "10.244.0.1"]
        command = ["nsenter", "--target", str(process), "--all", "--", *ping]
        return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode == 0

    def told(self, node: str) -> dict[str, Any]:
        """What the node's tunnel end is known by."""
        (link,) = json.loads(self.site.inside(node, "ip", "-json", "-details", "link", "show", "podnet-vx"))
        return {"mac": link["address"], "local": link["linkinfo"]["info_data"]["local"]}


def essence(found: dict[str, tuple[list[str], list[str]]]) -> dict[str, tuple[list[str], list[str]]]:
    """Differences without hashes of files, and of the ruleset only the addresses."""
    return {node: (_essence(gone), _essence(new)) for node, (gone, new) in found.items()}


def _essence(lines: Sequence[str]) -> list[str]:
    kept = [line for line in lines if not line.startswith(("content: ", "nft: ", "file: "))]
    return sorted(kept)


def entries(mac: str) -> list[str]:
    """What a peer has of node5, as a picture shows it."""
    octets = [int(text, 16) for text in mac.split(":")]
    # RFC 4291, appendix A: an interface identifier of a hardware address.
    words = [octets[0] ^ 2, *octets[1:3], 0xFF, 0xFE, *octets[3:]]
    link_local = ip_address(b"\xfe\x80" + bytes(6) + bytes(words))
    return [
        f"fdb: {mac} dev podnet-vx dst {ADDRESS} self permanent",
        f"neighbour: 10.244.2.0 dev podnet-vx lladdr {mac} PERMANENT",
        f"neighbour: {link_local} dev podnet-vx lladdr {mac} PERMANENT",
        "nexthop: id N via 10.244.2.0 dev podnet-vx scope link proto podnet onlink",
        f"nexthop: id N via {link_local} dev podnet-vx scope link proto podnet onlink",
        "route: 10.244.2.0/24 nhid N via 10.244.2.0 dev podnet-vx proto podnet onlink",
        f"route: fd00:10:244:2::/64 nhid N via {link_local} dev podnet-vx proto podnet metric 1024 onlink pref medium",
    ]


def files(found: dict[str, tuple[list[str], list[str]]], node: str) -> list[str]:
    """The files whose content has changed."""
    return sorted({line.split()[-1] for part in found[node] for line in part if line.startswith("content: ")})


def declarations(*kinds: str) -> list[str]:
    return [f"/etc/podnet/node.d/{kind}.json" for kind in kinds]


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    folder = tmp_path_factory.mktemp("site")
    lab = Life(Site(f"l{os.getpid() % 100000}-", folder), folder)
    lab.inventory("node5", FORMER, podnet_drained=True)
    try:
        lab.play("lab")
        # The proof goes through a drained node, too. Its pods, the first ones, change a bridge for good.
        made = lab.play("site", "-e", '{"podnet_verify": true}')
        # Hosts of the group podnet_removed are in no run.
        assert sorted(made.changed()) == ["node1", "node3", "node5"]
        assert "node2" not in lab.ledger()
        yield lab
    finally:
        lab.inventory("node5", FORMER)
        lab.play("lab", "-e", "lab_state=absent", check=False)


IMPOSSIBLE = {
    ("rename_node", "node=node5", "to=node3", "podnet_mtu=3"): [
        "3 errors in the inventory; nothing has been changed:",
        "podnet_mtu: found 3",
        "node5: found a node of the inventory, wanted the former name to be gone from the inventory",
        "node3: found 10.244.1.0/24 and fd00:10:244:1::/64, owned by node3 in ",
    ],
    ("remove_node", "node=node9"): ["node: found 'node9', wanted a node of the inventory (node1, node3 and node5)"],
    ("add_node", "node=node2"): ["node: found 'node2', a host of the group podnet_removed"],
    ("drain", "node=node3", "drained=false"): [
        "node3: found podnet_drained: true in the inventory, wanted false or auto"
    ],
}


def test_what_cannot_be_is_refused_as_a_whole(life: Life) -> None:
    before, ledger = life.pictures(), life.ledger()
    for (playbook, *arguments), messages in IMPOSSIBLE.items():
        refused = life.play(playbook, *(word for argument in arguments for word in ("-e", argument)), check=False)
        assert refused.status != 0, playbook
        assert [message for message in messages if message not in refused.output] == [], refused.output[-4000:]
        assert "Traceback" not in refused.output
    assert (differences(before, life.pictures()), life.ledger()) == ({}, ledger)


def test_a_drained_node_stays_so_and_a_node_installed_anew_is_the_same_to_its_peers(life: Life) -> None:
    assert "this node is drained and takes no new pods" in life.pod("node3").stdout
    # Where the inventory does not decide it, the operator does.
    life.inventory("node5", FORMER)
    ended = life.play("drain", "-e", "node=node3", "-e", "drained=false")
    assert "node3 takes new pods again; 0 pods are there" in ended.output
    assert life.pod("node3").returncode == 0
    late = life.play("drain", "-e", "node=node3", "-e", "drain_timeout=1", check=False)
    assert re.search(r"node3 takes no new pods; 1 pods are there: default/web: 10\.244\.1\.\d+, fd00:", late.output)
    assert "node3: found 1 pods after 1 s, wanted none; move them, and run it again" in late.output
    assert life.pod("node3", "absent").returncode == 0

    known, peers, ledger = life.told("node5"), life.pictures(), life.ledger()
    for state in ("absent", "present"):
        life.play("lab", "-e", "lab_hosts=node5", "-e", f"lab_state={state}")
    assert life.bare("node5")
    changed = life.play("site").changed()
    assert (changed["node1"], changed["node3"]) == (0, 0)
    assert changed["node5"] > 0
    assert differences(peers, life.pictures()) == {}
    assert (life.told("node5"), life.ledger()) == (known, ledger)
    assert "this node is drained and takes no new pods" in life.pod("node3").stdout


def test_a_node_with_another_address_is_one_forwarding_entry_to_each_peer(life: Life) -> None:
    before, known = life.pictures(), life.told("node5")
    for words in (
        f"address del {FORMER}/24 dev eth0",
        f"address add {ADDRESS}/24 dev eth0",
        "route add default via 192.168.102.1",
    ):
        life.site.inside("node5", "ip", *words.split())
    life.inventory("node5", ADDRESS)
    assert not life.reaches(life.site.process("node5"))
    life.play("site")
    assert life.reaches(life.site.process("node5"))
    found = differences(before, life.pictures())
    entry = f"fdb: {known['mac']} dev podnet-vx dst {{}} self permanent"
    for peer in PEERS:
        assert essence(found)[peer] == ([entry.format(FORMER)], [entry.format(ADDRESS)]), peer
        assert files(found, peer) == declarations("tunnel_filter", "vxlan")
        of_rules = [[line for line in part if line.startswith("nft: ")] for part in found[peer]]
        assert [FORMER in " ".join(of_rules[0]), FORMER in " ".join(of_rules[1])] == [True, False]
        assert [ADDRESS in " ".join(of_rules[0]), ADDRESS in " ".join(of_rules[1])] == [False, True]
    assert life.told("node5") == {"mac": known["mac"], "local": ADDRESS}


def test_a_node_that_is_removed_and_added_again(life: Life) -> None:
    with_it, ledger, known = life.pictures(), life.ledger(), life.told("node5")
    assert life.pod("node5").returncode == 0
    refused = life.play("remove_node", "-e", "node=node5", check=False)
    assert "node5: found 1 pods, wanted none: default/web." in refused.output
    foretold = life.play("remove_node", "-e", "node=node5", "-e", "force=true", "--check")
    assert "node5 would be no peer of the 2 others any more" in foretold.output
    assert (differences(with_it, life.pictures()), life.ledger()) == ({}, ledger)

    removed = life.play("remove_node", "-e", "node=node5", "-e", "force=true")
    assert f"node5 is no peer of the 2 others any more; its blocks {', '.join(BLOCKS)} rest" in removed.output
    resting = [line for line in life.ledger().splitlines() if "node5" in line]
    assert [len(resting), *("released" in line for line in resting)] == [2, True, True]
    assert life.bare("node5")
    found = differences(with_it, life.pictures())
    for peer in PEERS:
        gone, new = essence(found)[peer]
        assert ([re.sub(r"(?<=id )\d+", "N", line) for line in gone], new) == (entries(known["mac"]), []), peer
        assert files(found, peer) == declarations("tunnel_filter", "vxlan")

    added = life.play("add_node", "-e", "node=node5")
    assert f"node5 is a node with {', '.join(BLOCKS)}, and a peer of 2 others" in added.output
    assert differences(with_it, life.pictures()) == {}
    assert (life.ledger(), life.told("node5")) == (ledger, known)


def test_a_node_under_another_name_loses_nothing_not_even_a_packet(life: Life) -> None:
    streams = ("--limit", "node1,node5", "-e", "streams_rate=200")
    life.play("../molecule/resources/streams_start", *streams)
    carrying = life.pictures(*PEERS, "node5")

    life.inventory("web5", ADDRESS)
    arguments = ("-e", "node=node5", "-e", "to=web5")
    renamed = life.play("rename_node", *arguments)
    assert f"web5 has what node5 had: {', '.join(BLOCKS)}" in renamed.output
    found = differences(carrying, life.pictures(*PEERS, "node5"))
    # Of the whole node and its peers only the peers' declarations say another name.
    assert essence(found) == dict.fromkeys(PEERS, ([], []))
    for peer in PEERS:
        assert files(found, peer) == declarations("vxlan")
    blocks = json.loads(life.ledger())["blocks"]
    assert [(blocks[block]["node"], blocks[block]["identity"]) for block in BLOCKS] == [("web5", "node5")] * 2

    life.inventory("node5", ADDRESS)
    life.play("../molecule/resources/streams_stop", *streams)
    life.inventory("web5", ADDRESS)


def test_a_dead_node_is_asked_for_nothing_and_heard_no_more(life: Life) -> None:
    before, ledger = life.pictures(), life.ledger()
    process, mac = life.site.process("node5"), life.told("node5")["mac"]
    assert life.reaches(process)

    # Nobody finds the node any more, which goes on sending.
    record = Path(f"/run/podnet-lab/{life.site.prefix}node5.json")
    away = life.folder / record.name
    away.write_text(record.read_text(encoding="utf-8"), encoding="utf-8")
    record.unlink()
    try:
        silent = life.play("remove_node", "-e", "node=web5", check=False)
        assert "web5: found no answer (" in silent.output
        assert "say -e dead=true" in silent.output
        assert (differences(before, life.pictures()), life.ledger()) == ({}, ledger)

        gone = life.play("remove_node", "-e", "node=web5", "-e", "dead=true")
        assert "run teardown.yml with --limit web5 before anything else" in gone.output
        found = essence(differences(before, life.pictures()))
        for peer in PEERS:
            lost, new = found[peer]
            assert ([re.sub(r"(?<=id )\d+", "N", line) for line in lost], new) == (entries(mac), []), peer

        dropped = _dropped(life)
        assert not life.reaches(process)
        assert _dropped(life) == dropped + 2
    finally:
        record.write_text(away.read_text(encoding="utf-8"), encoding="utf-8")
    life.play("teardown", "--limit", "web5")
    assert life.bare("node5")


def _dropped(life: Life) -> int:
    """Packets that node1 took from no peer."""
    rules = life.site.inside("node1", "nft", "list", "table", "inet", "podnet")
    return sum(int(count) for count in re.findall(r"4789.*counter packets (\d+)", rules))
