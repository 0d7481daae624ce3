# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store that the inventory chooses for its ledger."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.plugin_utils.etcd_gateway import Access
from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger_etcd import EtcdStore
from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger_file import FileStore
from ansible_collections.podnet.fabric.plugins.plugin_utils.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.podnet.fabric.plugins.plugin_utils.ledger import Store

# Hidden: an inventory may be a folder, of which Ansible reads every file that is not.
LEDGER_NAME = ".podnet-ledger.json"
CREDENTIALS = ("ca_file", "cert_file", "key_file")


def choose(cluster: Mapping[str, Any], folder: str | None) -> tuple[Store | None, list[Problem]]:
    """Return the store by the cluster-wide variables; relative paths begin at the inventory's folder.

    Raises MissingLibrary.
    """
    settings, name = cluster.get("podnet_ledger"), cluster.get("podnet_cluster")
    if settings is None or name is None:
        return None, []  # the schema's problem already
    if settings["store"] == "etcd":
        return _etcd(settings, cluster.get("podnet_ledger_password", ""), name, folder)
    text = LEDGER_NAME if settings["path"] == "auto" else settings["path"]
    path = _absolute(text, folder)
    if path is None:
        cure = "set podnet_ledger.path, or keep the inventory in a file"
        return None, [_no_folder("path", settings["path"], cure)]
    return FileStore(path, name), []


def _etcd(
    settings: Mapping[str, Any], password: str, cluster: str, folder: str | None
) -> tuple[Store | None, list[Problem]]:
    problems = []
    if not settings["endpoints"]:
        cure = "write the URLs of etcd's members"
        problems.append(Problem("podnet_ledger.endpoints", "an empty list", "one URL or more", cure))
    if bool(settings["username"]) != bool(password):
        given, lacking = ("a username", "password") if settings["username"] else ("a password", "username")
        path = "podnet_ledger_password" if lacking == "password" else "podnet_ledger.username"
        problems.append(Problem(path, f"nothing, but {given}", f"the {lacking} too", "set both of them, or neither"))
    if bool(settings["cert_file"]) != bool(settings["key_file"]):
        lacking = "key_file" if settings["cert_file"] else "cert_file"
        cure = "set cert_file and key_file, or neither"
        problems.append(Problem(f"podnet_ledger.{lacking}", "nothing", "the other half of the pair", cure))
    files = {}
    for key in CREDENTIALS:
        path_of_file = _absolute(settings[key], folder) if settings[key] else None
        files[key] = str(path_of_file or "")
        if not settings[key]:
            continue
        if path_of_file is None:
            problems.append(_no_folder(key, settings[key], "write an absolute path, or keep the inventory in a file"))
        elif not path_of_file.is_file():
            cure = "mend the path, or put the file there"
            problems.append(Problem(f"podnet_ledger.{key}", f"no file {path_of_file}", "a file in PEM format", cure))
    if problems:
        return None, problems
    access = Access(tuple(settings["endpoints"]), settings["username"], password, **files)
    return EtcdStore(access, settings["prefix"], cluster), []


def left_behind(cluster: Mapping[str, Any], folder: str | None) -> list[Problem]:
    """Return what keeps a new store from beginning empty: a ledger in the file that the default store would use."""
    if cluster["podnet_ledger"]["store"] == "file" or not folder:
        return []
    file = FileStore(Path(folder) / LEDGER_NAME, cluster["podnet_cluster"])
    if not file.path.exists() or not file.read().entries:
        return []
    found = f"etcd without a ledger, and one in {file.path}"
    cure = "copy it (etcdctl put, see the README), or remove the file if it is of no use"
    return [Problem("podnet_ledger.store", found, "one ledger", cure)]


def _absolute(text: str, folder: str | None) -> Path | None:
    path = Path(text).expanduser()
    if not path.is_absolute():
        return Path(folder) / path if folder else None
    return path


def _no_folder(key: str, text: str, cure: str) -> Problem:
    found = f"'{text}', while the inventory has no folder"
    return Problem(f"podnet_ledger.{key}", found, "an absolute path", cure)
