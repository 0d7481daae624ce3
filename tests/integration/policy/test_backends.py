# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backends that come and go: runs that are killed, flavours that are chosen, tools that are not there."""

from __future__ import annotations

import os
import shutil
import signal
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import reconcile
from ansible_collections.podnet.fabric.plugins.module_utils.resources.policy import KIND

from .filtered import FAMILIES, WORLD, Filtered

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.resources.conftest import Node

KILLING = """#!/bin/sh
# Runs the tool; at the call whose turn it is, ends who called it, before the tool has run or after.
count=$(($(cat {counter}) + 1))
echo $count >{counter}
[ $count = {turn} ] && [ {when} = before ] && kill -9 $PPID && exit 1
{tool} "$@"
status=$?
[ $count = {turn} ] && kill -9 $PPID
exit $status
"""


def killed(node: Node, folder: Path, world: dict[str, Any], turn: int, when: str) -> bool:
    """Declare in a process that is killed at its ``turn``-th call of a tool that changes something."""
    counter = folder / "counter"
    counter.write_text("0", encoding="ascii")
    flavours = [f"{program}-{flavour}-restore" for program in FAMILIES for flavour in ("nft", "legacy")]
    for name in ("nft", "ipset", *flavours):
        wrapper = folder / "bin" / name
        wrapper.parent.mkdir(exist_ok=True)
        text = KILLING.format(counter=counter, turn=turn, when=when, tool=shutil.which(name))
        wrapper.write_text(text, encoding="ascii")
        wrapper.chmod(0o755)
    pid = os.fork()
    if pid == 0:
        os.environ["PATH"] = f"{folder / 'bin'}:{os.environ['PATH']}"
        try:
            node.declare(KIND, "podnet", world)
        finally:
            os._exit(int(counter.read_text(encoding="ascii")) < turn)
    status = os.waitpid(pid, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 1, "it came to its end and was not killed"
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def test_a_run_that_is_killed_anywhere_is_finished_by_the_next(node: Node, tmp_path: Path) -> None:
    filtered = Filtered(node, "nft")
    worlds = [filtered.world, {**WORLD, "backend": "nftables"}]

    def state() -> tuple[list[str], list[str], str]:
        return filtered.rules(), filtered.sets(), node.namespace.run("nft", "-s", "list", "table", "inet", "podnet")

    node.namespace.run("nft", "add table inet podnet { chain podnet.fabric { }; chain others { }; }")
    states = []
    for world in worlds:
        node.declare(KIND, "podnet", world)
        states.append(state())
    turn = 0
    alive = True
    while alive:
        alive = False
        for world, wanted in zip(worlds, states, strict=True):
            # Before the first call the declaration alone has changed.
            alive |= killed(node, tmp_path, world, max(turn, 1), "after" if turn else "before")
            node.declare(KIND, "podnet", world)
            assert state() == wanted
        turn += 1
    assert turn > 6


def chosen(node: Node, **params: str) -> str:
    """The backend that would be declared."""
    with Host() as host:
        former = node.declarations.read(KIND.name).get("podnet")
        params = {"backend": "iptables", **params}
        return str(KIND.normalise("podnet", {**WORLD, **params}, former, host)["backend"])


def test_the_flavour_that_holds_rules_is_taken(node: Node) -> None:
    default = "nft" if "nf_tables" in node.namespace.run("iptables", "-V") else "legacy"
    other = "legacy" if default == "nft" else "nft"
    assert chosen(node) == f"iptables-{default}"
    # Ours are no reason for a flavour, but it is kept where nothing speaks for another.
    node.declare(KIND, "podnet", {**WORLD, "backend": "iptables", "iptables_flavour": other})
    assert chosen(node) == f"iptables-{other}"
    node.namespace.run(f"ip6tables-{default}", "-t", "nat", "-A", "POSTROUTING", "-j", "MASQUERADE")
    assert chosen(node) == f"iptables-{default}"
    assert chosen(node, iptables_flavour=other) == f"iptables-{other}"
    # It follows, and leaves nothing behind.
    node.declare(KIND, "podnet", {**WORLD, "backend": "iptables"})
    assert "PODNET" not in node.namespace.run(f"iptables-{other}-save")
    assert "PODNET" in node.namespace.run(f"iptables-{default}-save")
    node.namespace.run(f"iptables-{other}", "-A", "INPUT", "-j", "ACCEPT")
    assert chosen(node) == f"iptables-{default}"


def test_a_flavour_that_cannot_be_read_is_not_the_one_in_use(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.namespace.run("iptables-legacy", "-A", "INPUT", "-j", "ACCEPT")
    failing = tmp_path / "iptables-nft-save"
    failing.write_text(
        "#!/bin/sh\necho 'Failed to initialize nft: Protocol not supported' >&2; exit 1\n", encoding="ascii"
    )
    failing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert chosen(node) == "iptables-legacy"
    node.declare(KIND, "podnet", {**WORLD, "backend": "iptables"})
    assert not node.declare(KIND, "podnet", {**WORLD, "backend": "iptables"}).changed


def only(folder: Path, *tools: str) -> str:
    """A folder for PATH with these tools alone."""
    folder.mkdir()
    for name in tools:
        (folder / name).symlink_to(str(shutil.which(name)))
    return str(folder)


def test_the_tools_of_a_backend_that_was_never_used_need_not_be_there(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    iptables = [f"{program}-{verb}" for program in FAMILIES for verb in ("nft-save", "nft-restore")]
    with monkeypatch.context() as patch:
        patch.setenv("PATH", only(tmp_path / "iptables", "ipset", *iptables))
        by_iptables = {**WORLD, "backend": "iptables", "antispoofing": False}
        node.declare(KIND, "podnet", {**by_iptables, "iptables_flavour": "nft"})
        with pytest.raises(PodnetError, match=r"ip6?tables-legacy-restore is not installed"):
            node.declare(KIND, "podnet", {**by_iptables, "iptables_flavour": "legacy"})
        with pytest.raises(PodnetError, match=r"nft is not installed.*set antispoofing: false"):
            node.declare(KIND, "podnet", {**by_iptables, "iptables_flavour": "nft", "antispoofing": True})
    node.declare(KIND, "podnet", {**WORLD, "backend": "iptables", "iptables_flavour": "nft"})
    node.withdraw(KIND, "podnet")
    with monkeypatch.context() as patch:
        patch.setenv("PATH", only(tmp_path / "nft", "nft"))
        node.declare(KIND, "podnet", {**WORLD, "backend": "nftables"})
        with pytest.raises(PodnetError, match="ipset is not installed"):
            node.declare(KIND, "podnet", {**WORLD, "backend": "iptables"})
        with Host() as host:
            assert reconcile(KIND, {}, host, node.declarations).changed
