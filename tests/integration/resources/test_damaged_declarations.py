# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A declaration that is no declaration any more, of every kind: one error that names the file and the cure."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.declaration import LARGEST
from ansible_collections.podnet.fabric.plugins.module_utils.declared_text import render
from ansible_collections.podnet.fabric.plugins.module_utils.errors import DeclarationError
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.kinds import KINDS
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import reconcile
from ansible_collections.podnet.fabric.plugins.module_utils.resources import bridge

from .test_kinds import BRIDGE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Kind

    from .conftest import Node

GOOD = render("x", {"item": {}})


def _sparse(path: Path) -> None:
    with path.open("wb") as handle:
        handle.truncate(LARGEST + 1)


DAMAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "cut off": (lambda path: path.write_text(GOOD[:-9]), "not a declaration"),
    "another shape": (lambda path: path.write_text("[1, 2]"), "not a declaration"),
    "another kind": (lambda path: path.write_text(GOOD), "not a declaration of kind"),
    "NUL bytes": (lambda path: path.write_bytes(bytes(4096)), "not a declaration"),
    "no text": (lambda path: path.write_bytes(b"{\xff"), "no text in UTF-8 from byte 1 on"),
    "deep": (lambda path: path.write_text("[" * 100_000), "not a declaration"),
    "a number without end": (lambda path: path.write_text("9" * 10_000), "not a declaration"),
    "a folder": (lambda path: path.mkdir(), "something other than a file"),
    "a pipe": (os.mkfifo, "something other than a file"),
    "huge": (_sparse, f"{LARGEST + 1} bytes are no declaration"),
    "unreadable": (lambda path: path.symlink_to(path), "cannot be read: Too many levels of symbolic links"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_it_is_named_with_its_cure_and_nothing_changes(node: Node, damage: str) -> None:
    before = node.snapshot()
    make, words = DAMAGES[damage]
    node.declarations.directory.mkdir(parents=True)
    for kind in KINDS:
        path = node.declarations.path(kind.name)
        make(path)
        wanted: list[dict[str, dict[str, Any]]] = [{}, {"item": {}}]
        for items in wanted:
            refused = _refused(kind, items, node)
            assert refused.startswith(f"{path}: "), refused
            assert words in refused
            assert refused.endswith("; move the file away and run the playbook again: it declares everything anew")
        path.rename(path.with_name(f"{kind.name}.damaged"))
    assert node.snapshot() == before


def _refused(kind: Kind, items: dict[str, dict[str, Any]], node: Node) -> str:
    with Host() as host, pytest.raises(DeclarationError) as caught:
        reconcile(kind, items, host, node.declarations)
    return str(caught.value)


def test_the_cure_works(node: Node) -> None:
    node.declare(bridge.KIND, "podnet0", BRIDGE)
    whole, path = node.snapshot(), node.declarations.path("bridge")
    path.write_text("{")
    with pytest.raises(DeclarationError):
        node.withdraw(bridge.KIND, "podnet0")
    assert node.snapshot() == whole
    path.rename(path.with_name("bridge.damaged"))
    assert node.declare(bridge.KIND, "podnet0", BRIDGE).operations == []
    assert node.withdraw(bridge.KIND, "podnet0").changed
