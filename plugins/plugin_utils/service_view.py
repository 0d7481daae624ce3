# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Some of the plan's services, by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.service import documents
from ansible_collections.podnet.fabric.plugins.plugin_utils.endpoint_view import DEFAULT_NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class NoNames(Exception):
    """What is given are no names of services."""


def named(services: Sequence[Mapping[str, Any]], names: Any) -> dict[str, list[Any]]:
    """The documents of the services of these names that are ``there``, and the metadata of those that have ``gone``.

    :param names: "namespace/name", or the name of one in the namespace "default"
    """
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise NoNames(
            f"service_names: found {names!r}, wanted a list of services, each as namespace/name; give it to the "
            'run: -e \'{"service_names": ["shop/web"]}\''
        )
    known = {documents.key_of(document): document for document in services}
    found: dict[str, list[Any]] = {"there": [], "gone": []}
    for name in dict.fromkeys(names):
        namespace, _slash, last = name.rpartition("/")
        whose = (namespace or DEFAULT_NAMESPACE, last)
        if whose in known:
            found["there"].append(known[whose])
        else:
            found["gone"].append({"metadata": {"namespace": whose[0], "name": whose[1]}})
    return found
