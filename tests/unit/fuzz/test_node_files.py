# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files on a node, of runtimes, plugins and our own, are read or named as damaged: anybody may have edited them."""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ansible_collections.podnet.fabric.plugins.module_utils import checkpoint
from ansible_collections.podnet.fabric.plugins.module_utils.cni import conflist, leaks, network, plugin, record
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.declared_shapes import SHAPES
from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.files import is_our_text
from ansible_collections.podnet.fabric.plugins.module_utils.policy import attached
from ansible_collections.podnet.fabric.plugins.module_utils.probe import process
from ansible_collections.podnet.fabric.plugins.module_utils.stream import process as stream_process

from .damage import DEEP, VALUES, damaged, written
from .raw import raw, text

if TYPE_CHECKING:
    from collections.abc import Callable

CONFLIST: dict[str, Any] = {
    "cniVersion": "1.0.0",
    "name": "podnet",
    "plugins": [
        {"type": "bridge", "bridge": "podnet0", "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.0.0.0/24"}]]}}
    ],
}
CACHED: dict[str, Any] = {
    "kind": "cniCacheV1",
    "containerId": "one",
    "networkName": "podnet",
    "cniArgs": [["K8S_POD_NAME", "a"]],
    "result": {"ips": [{"address": "10.0.0.1/24"}]},
}
RESULT: dict[str, Any] = {
    "cniVersion": "1.0.0",
    "interfaces": [{"name": "veth1"}, {"name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": "/run/netns/a"}],
    "ips": [{"address": "10.0.0.2/24", "gateway": "10.0.0.1", "interface": 1}],
}
ATTACHED: dict[str, Any] = {
    "podnet": {"kind": "attachment", "version": 1},
    "network": "podnet",
    "namespace": "default",
    "name": "a",
    "netns": "/run/netns/a",
    "netns_made": True,
    "ifname": "eth0",
    "labels": {"a": "b"},
    "args": {},
    "capability_args": {"ips": ["10.0.0.2/24"]},
    "conflist": CONFLIST,
    "conf_dir": "/etc/cni/net.d",
    "bin_dir": "auto",
    "kept": ["10.0.0.2/24"],
    "result": RESULT,
}
RESPONDER = {"name": "a", "pid": 7, "start": 9, "namespace": "x", "port": 7, "digest": "00", "expires": 1.5}
STREAM = {"role": "sender", "name": "a", "pid": 7, "start": 9, "settings": "x"}


@given(st.one_of(st.text(), damaged(CONFLIST).map(written)))
def test_network_configurations(said: str) -> None:
    conflist.name_of(said)
    is_our_text(said)
    found = conflist.parse(said)
    if found is not None:
        assert all(isinstance(name, str) for name, _path in conflist.executables(found))
        assert all(isinstance(name, str) for name in conflist.bridges(found))
        network.capabilities(found)
        network.has_check(found)
        conflist.undrained(found)


@given(
    st.one_of(st.text(), damaged(RESULT).map(written), damaged({"code": 7, "msg": "no", "details": "x"}).map(written))
)
def test_what_plugins_print(said: str) -> None:
    for command in ("ADD", "DEL", "VERSION"):
        with contextlib.suppress(PodnetError):
            plugin._parse_result("bridge", command, said)
        assert str(plugin.parse_error("bridge", command, 1, said, ""))


@given(damaged(CACHED), st.booleans())
def test_the_cache_of_runtimes(document: Any, cut: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "podnet-one-eth0").write_text(written(document)[: 40 if cut else None], encoding="utf-8")
        (Path(folder) / "a-folder").mkdir()
        for pod in attached._cached({"podnet"}, Path(folder)):
            assert all(isinstance(address, str) for address in pod["addresses"])


@given(damaged(ATTACHED).map(written))
def test_records_of_attachments(said: str) -> None:
    with contextlib.suppress(ValueError, record.NewerRecord):
        found = record.parse(said)
        assert all(isinstance(name, str) for name in found.host_interfaces)
        assert isinstance(found.mac, str)
        for ip in found.ips:
            ip["address"].partition("/")
        found.runtime(found.netns)
        network.environment(found.runtime(""))


@example('{"id": "x", "deadline": 1' + "0" * 400 + ', "pid": 7, "start": 9}', "{}", "{}")
@given(
    damaged({"id": "x", "deadline": 5.0, "pid": 7, "start": 9}).map(written),
    damaged(RESPONDER).map(written),
    damaged(STREAM).map(written),
)
def test_records_of_processes(armed: str, responder: str, stream: str) -> None:
    with contextlib.suppress(ValueError):
        checkpoint.describe(checkpoint.read(armed))
    with contextlib.suppress(ValueError):
        assert process.read(responder).pid + 1
    with contextlib.suppress(ValueError):
        assert stream_process.read(stream).name + "x"


SEEDS = [json.dumps(each).encode() for each in (CONFLIST, RESULT, ATTACHED, RESPONDER, STREAM)]


@raw(*SEEDS, DEEP.encode(), b'{"a":' * 50_000)
def test_texts_of_json(data: bytes) -> None:
    """All that reads JSON out of files of a node, by any bytes."""
    said = text(data)
    test_network_configurations.hypothesis.inner_test(said)  # type: ignore[attr-defined]
    test_what_plugins_print.hypothesis.inner_test(said)  # type: ignore[attr-defined]
    test_records_of_attachments.hypothesis.inner_test(said)  # type: ignore[attr-defined]
    test_records_of_processes.hypothesis.inner_test(said, said, said)  # type: ignore[attr-defined]


@raw(b"containerid\r\neth0", b"\xff\0")
def test_stores_of_addresses(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "10.0.0.2").write_bytes(data)
        (found,) = leaks.reservations(Path(folder))
        assert found.address == "10.0.0.2"


def test_stores_of_addresses_with_odd_things_in_them(tmp_path: Path) -> None:
    (tmp_path / "10.0.0.1").mkdir()
    (tmp_path / "10.0.0.2").write_bytes(b"\xff\0")
    (tmp_path / "10.0.0.3").symlink_to("/nowhere")
    assert [entry.address for entry in leaks.reservations(tmp_path)] == ["10.0.0.2"]


def test_json_that_is_nested_too_deep() -> None:
    with pytest.raises(PodnetError):
        plugin._parse_result("bridge", "ADD", DEEP)
    assert str(plugin.parse_error("bridge", "ADD", 1, DEEP, ""))
    assert conflist.parse(DEEP) is None
    with tempfile.TemporaryDirectory() as folder:
        declarations = Declarations(Path(folder))
        declarations.path("bridge").write_text(DEEP, encoding="utf-8")
        with pytest.raises(PodnetError):
            declarations.read("bridge")


@given(st.one_of(st.text(), VALUES.map(written)), st.sampled_from(sorted(SHAPES)))
def test_declarations(text: str, kind: str) -> None:
    _declared(kind, lambda path: path.write_text(text, encoding="utf-8", errors="surrogatepass"))


@given(st.binary(max_size=100), st.sampled_from(sorted(SHAPES)))
def test_declarations_that_are_no_text(data: bytes, kind: str) -> None:
    _declared(kind, lambda path: path.write_bytes(data))


@given(VALUES, st.sampled_from(sorted(SHAPES)))
def test_declarations_with_other_items(value: Any, kind: str) -> None:
    document = {"podnet": {"kind": kind, "version": 1}, "items": {"one": value}}
    _declared(kind, lambda path: path.write_text(written(document), encoding="utf-8"))


def _declared(kind: str, write: Callable[[Path], Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        declarations = Declarations(Path(folder))
        write(declarations.path(kind))
        with contextlib.suppress(PodnetError):
            declarations.read(kind)
