# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One plugin run: what it is told, and what is made of its answer."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.cni import plugin
from ansible_collections.podnet.fabric.plugins.module_utils.cni.plugin import CniError

if TYPE_CHECKING:
    from pathlib import Path


def script(directory: Path, body: str, name: str = "fake") -> list[str]:
    path = directory / name
    path.write_text("#!/bin/sh\n" + body, encoding="utf-8")
    path.chmod(0o755)
    return [str(directory)]


def test_a_plugin_gets_its_variables_and_its_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNI_ARGS", "LEFT=OVER")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    told = (
        'printf \'{"config": %s, "env": "%s|%s|%s|%s", "path": "%s"}\' '
        '"$(cat)" "$CNI_COMMAND" "$CNI_PATH" "$CNI_NETNS" "$CNI_ARGS" "$PATH"'
    )
    execute = plugin.executor(script(tmp_path, told))
    result = execute("fake", "ADD", {"name": "n"}, {"CNI_NETNS": "/run/netns/x"})
    assert result["config"] == {"name": "n"}
    assert result["env"] == f"ADD|{tmp_path}|/run/netns/x|"
    assert "/usr/sbin" in result["path"].split(":")


def test_an_error_object_is_read_whole() -> None:
    output = json.dumps({"cniVersion": "1.0.0", "code": 11, "msg": "busy", "details": "lease pending"})
    error = plugin.parse_error("dhcp", "ADD", 1, output, "log line")
    assert (error.code, error.message, error.details) == (11, "busy", "lease pending")
    assert str(error) == "CNI plugin dhcp, ADD: busy: lease pending [code 11 (try again later)]"


def test_a_plugins_own_code_is_shown_as_a_number() -> None:
    assert (
        str(plugin.parse_error("bridge", "DEL", 1, '{"code": 999, "msg": "no"}', ""))
        == "CNI plugin bridge, DEL: no [code 999]"
    )


@pytest.mark.parametrize("output", ["", "garbage", "[]", '{"msg": "no code"}', "null"])
def test_a_crash_is_reported_by_its_last_words(output: str) -> None:
    error = plugin.parse_error("bridge", "ADD", 2, output, "panic: oh\n")
    assert error.code is None
    assert str(error) == "CNI plugin bridge, ADD: exit status 2 without an error object: panic: oh"


def test_a_signal_is_named() -> None:
    assert "killed by signal 9" in str(plugin.parse_error("bridge", "ADD", -9, "", ""))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("cat >/dev/null", "printed no result"),
        ("cat >/dev/null; echo hello", "not JSON"),
        ("cat >/dev/null; echo '[1]'", "not a JSON object"),
        ("sleep 5", "no end within 0.2 s"),
    ],
)
def test_an_add_without_a_result_is_an_error(tmp_path: Path, body: str, said: str) -> None:
    with pytest.raises(CniError, match=said):
        plugin.executor(script(tmp_path, body), timeout=0.2)("fake", "ADD", {}, {})


def test_check_and_del_may_print_nothing(tmp_path: Path) -> None:
    execute = plugin.executor(script(tmp_path, "cat >/dev/null"))
    assert execute("fake", "DEL", {}, {}) == execute("fake", "CHECK", {}, {}) == {}


def test_a_plugin_that_cannot_be_run_or_found_is_named(tmp_path: Path) -> None:
    where = script(tmp_path, "")
    (tmp_path / "fake").write_bytes(b"\x00\x01")
    with pytest.raises(CniError, match="fake cannot be run: Exec format error"):
        plugin.executor(where)("fake", "ADD", {}, {})
    with pytest.raises(CniError, match=f"not found in {tmp_path}"):
        plugin.executor(where)("absent", "ADD", {}, {})


def test_a_file_that_is_not_executable_is_no_plugin(tmp_path: Path) -> None:
    where = script(tmp_path, "")
    (tmp_path / "fake").chmod(0o644)
    assert plugin.locate("fake", where) is None


def test_the_first_directory_wins(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for directory in ("a", "b"):
        script(tmp_path / directory, "")
    assert plugin.locate("fake", [str(tmp_path / "a"), str(tmp_path / "b")]) == str(tmp_path / "a" / "fake")


def test_a_lock_stays_held_for_as_long_as_a_plugin_runs(tmp_path: Path) -> None:
    descriptor = os.open(str(tmp_path / "lock"), os.O_CREAT | os.O_RDWR)
    seen = (
        f"cat >/dev/null; test -e /proc/self/fd/{descriptor} && echo '{{\"open\": true}}' || echo '{{\"open\": false}}'"
    )
    where = script(tmp_path, seen)
    assert plugin.executor(where, keep_open=[descriptor])("fake", "ADD", {}, {}) == {"open": True}
    assert plugin.executor(where)("fake", "ADD", {}, {}) == {"open": False}
    os.close(descriptor)


def test_a_plugin_older_than_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CniError, match="does not list supportedVersions"):
        plugin.probe("fake", script(tmp_path, 'cat >/dev/null; echo \'{"cniVersion": "0.1.0"}\''))
    assert plugin.probe("absent", [str(tmp_path)]) is None
