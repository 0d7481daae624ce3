# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declarations on disk: whole or not at all, readable, and refused when they are not ours to read."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.declared_text import parse, render
from ansible_collections.podnet.fabric.plugins.module_utils.errors import DeclarationError

if TYPE_CHECKING:
    from pathlib import Path

ITEMS = {
    "podnet-vx": {
        "vni": 84,
        "port": 4789,
        "local": "192.0.2.1",
        "underlay": "eth0",
        "mac": "02:00:00:00:00:01",
        "mtu": 1450,
        "addresses": [],
        "nexthop_objects": "auto",
        "peers": [{"name": "node2", "blocks": ["10.244.1.0/24"]}, {"name": "node3"}],
    }
}


@pytest.fixture
def declarations(tmp_path: Path) -> Declarations:
    return Declarations(tmp_path / "etc" / "node.d")


def test_what_was_written_is_read(declarations: Declarations) -> None:
    declarations.write("vxlan", ITEMS)
    assert declarations.read("vxlan") == ITEMS
    assert declarations.kinds() == ["vxlan"]
    assert declarations.path("vxlan").stat().st_mode & 0o777 == 0o600


def test_a_peer_stands_on_a_line_of_its_own() -> None:
    assert '    {"blocks": ["10.244.1.0/24"], "name": "node2"},\n' in render("vxlan", ITEMS)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), st.dictionaries(st.text(), values, max_size=4), max_size=4))
def test_every_declaration_is_json(items: dict[str, dict[str, Any]]) -> None:
    assert json.loads(render("any", items)) == {"podnet": {"kind": "any", "version": 1}, "items": items}


entries = st.lists(st.dictionaries(st.text(), values, max_size=3), max_size=3)


@given(st.dictionaries(st.text(), st.dictionaries(st.text(), values | entries, max_size=4), max_size=4))
def test_a_declaration_is_read_by_its_lines_as_it_was_written(items: dict[str, dict[str, Any]]) -> None:
    text = render("any", items)
    document, lines = parse(text)
    assert document == json.loads(text)
    assert render("any", document["items"], lines) == text
    assert all(key in map(id, _entries(document)) for key in lines)
    # Where all has another object's id, nothing is known.
    assert render("any", items, lines) == text


@pytest.mark.parametrize(
    ("written", "edited"),
    [
        ('{"name": "node3"}', '{"name":\n    "node3"}'),
        ('{"name": "node3"}', '{"name": "node3"}, {"name": "node4"}'),
        ('{"name": "node3"}', '{"name": "node3", "inner": [{}\n,\n    {}]}'),
        ('{"name": "node3"}', '"\\u0000entries 0"'),
        ('{"name": "node3"}', '{"name": "\\u0000entries 0"}'),
        ('{"name": "node3"}', '3,\n    {"name": "node3"}'),
    ],
)
def test_a_declaration_that_somebody_has_edited_is_read_as_json(written: str, edited: str) -> None:
    text = render("vxlan", ITEMS).replace(written, edited)
    document, lines = parse(text)
    assert document == json.loads(text)
    assert not lines
    assert json.loads(render("vxlan", document["items"], lines)) == document


def test_what_stands_in_a_declaration_is_written_again_as_it_is(declarations: Declarations) -> None:
    declarations.write("vxlan", ITEMS)
    text = declarations.text("vxlan").replace('"name": "node3"', '"name" : "node3"')
    declarations.path("vxlan").write_text(text)
    item = declarations.read("vxlan")["podnet-vx"]
    assert declarations.rendered("vxlan", {"podnet-vx": item}) == text
    peers = [*item["peers"], {"name": "node4"}]
    declarations.write("vxlan", {"podnet-vx": {**item, "peers": peers}})
    assert declarations.read("vxlan")["podnet-vx"]["peers"] == peers


def _entries(document: Any) -> list[Any]:
    return [
        entry
        for item in document["items"].values()
        for value in item.values()
        if isinstance(value, list)
        for entry in value
    ]


def test_the_last_declaration_takes_its_directories_along(declarations: Declarations) -> None:
    declarations.write("vxlan", ITEMS)
    declarations.write("bridge", ITEMS)
    declarations.write("vxlan", {})
    assert declarations.kinds() == ["bridge"]
    declarations.write("bridge", {})
    assert not declarations.directory.parent.exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not a declaration"),
        ("[]", "not a declaration"),
        ('{"podnet": {"kind": "bridge", "version": 1}, "items": {}}', "not a declaration of kind vxlan"),
        ('{"podnet": {"kind": "vxlan", "version": 1}, "items": {"a": 1}}', "not a declaration of kind vxlan"),
        ('{"podnet": {"kind": "vxlan", "version": 2}, "items": {}}', "written in format 2"),
        ("[" * 100000, "not a declaration"),
    ],
)
def test_a_damaged_or_newer_file_is_refused_and_kept(declarations: Declarations, text: str, said: str) -> None:
    declarations.directory.mkdir(parents=True)
    declarations.path("vxlan").write_text(text, encoding="utf-8")
    with pytest.raises(DeclarationError, match=said):
        declarations.read("vxlan")
    assert declarations.path("vxlan").read_text(encoding="utf-8") == text


def test_a_writer_killed_at_any_system_call_leaves_the_old_text_or_the_new(declarations: Declarations) -> None:
    new = {"podnet-vx": {**ITEMS["podnet-vx"], "vni": 85}}
    for call in ("open", "fchmod", "fdopen", "fsync", "close"):
        declarations.write("vxlan", ITEMS)
        child = os.fork()
        if child == 0:
            setattr(os, call, lambda *_args, **_kwargs: os.kill(os.getpid(), signal.SIGKILL))
            declarations.write("vxlan", new)
            os._exit(0)
        _pid, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), call
        assert declarations.read("vxlan") in (ITEMS, new)
        declarations.write("vxlan", {})
        assert not declarations.directory.exists(), "a killed writer's file stays behind"
