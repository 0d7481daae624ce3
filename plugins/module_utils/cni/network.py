# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A network of chained CNI plugins: what a runtime does to attach a pod, to check it and to detach it.

Source of the rules: CNI specification 1.0.0, section 3 (execution of network configurations).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.cni.plugin import CniError, Execute
from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError

if TYPE_CHECKING:
    from collections.abc import Mapping

# CHECK came with this version of the specification.
FIRST_WITH_CHECK = (0, 4, 0)


class Runtime(NamedTuple):
    """What a runtime tells the plugins about one attachment; (network, container_id, ifname) is its key."""

    container_id: str
    netns: str
    ifname: str
    args: tuple[tuple[str, str], ...] = ()
    capability_args: Mapping[str, Any] = {}


class AttachError(PodnetError):
    """An ADD that failed. ``undone`` tells whether what the plugins before it had made is gone again."""

    def __init__(self, cause: CniError, left: tuple[CniError, ...]) -> None:
        self.cause = cause
        self.undone = not left
        self.left = left
        text = str(cause)
        if left:
            text += "; undoing it failed too and is tried again on the next run: " + "; ".join(map(str, left))
        super().__init__(text)


def environment(runtime: Runtime) -> dict[str, str]:
    """The CNI_ variables of one attachment."""
    return {
        "CNI_CONTAINERID": runtime.container_id,
        "CNI_NETNS": runtime.netns,
        "CNI_IFNAME": runtime.ifname,
        "CNI_ARGS": ";".join(f"{key}={value}" for key, value in runtime.args),
    }


def plugin_config(
    conflist: Mapping[str, Any],
    plugin: Mapping[str, Any],
    runtime: Runtime,
    previous: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The configuration of one execution: a plugin's own, and what the runtime adds to it.

    That is name and version of the list, values for the capabilities that the plugin declares, the result before it.
    """
    config = {**plugin, "name": conflist["name"], "cniVersion": conflist["cniVersion"]}
    wanted = plugin.get("capabilities") or {}
    values = {name: value for name, value in runtime.capability_args.items() if wanted.get(name)}
    if values:
        config["runtimeConfig"] = values
    if previous is not None:
        config["prevResult"] = previous
    return config


def capabilities(conflist: Mapping[str, Any]) -> tuple[str, ...]:
    """The capabilities that any plugin of the list takes."""
    names = {name for plugin in conflist["plugins"] for name, on in (plugin.get("capabilities") or {}).items() if on}
    return tuple(sorted(names))


def add(conflist: Mapping[str, Any], runtime: Runtime, execute: Execute) -> dict[str, Any]:
    """Attach: every plugin in order, each with the result of the one before it. All or nothing.

    :returns: the result of the last plugin
    :raises AttachError: a plugin failed; the others have been undone as far as they let us
    """
    result: dict[str, Any] | None = None
    for plugin in conflist["plugins"]:
        try:
            result = execute(
                plugin["type"], "ADD", plugin_config(conflist, plugin, runtime, result), environment(runtime)
            )
        except CniError as error:
            raise AttachError(error, _undo(conflist, runtime, result, execute)) from error
    return result or {}


def _undo(
    conflist: Mapping[str, Any], runtime: Runtime, result: Mapping[str, Any] | None, execute: Execute
) -> tuple[CniError, ...]:
    """DEL of the whole list in reverse, the failed plugin and those after it too, as the specification wants it.

    One that fails does not keep the others from being undone: a pod that never came up must not hold its addresses.
    """
    failures = []
    for plugin in reversed(conflist["plugins"]):
        try:
            execute(plugin["type"], "DEL", plugin_config(conflist, plugin, runtime, result), environment(runtime))
        except CniError as error:
            failures.append(error)
    return tuple(failures)


def check(conflist: Mapping[str, Any], runtime: Runtime, result: Mapping[str, Any], execute: Execute) -> None:
    """Ask every plugin, in order, whether the attachment is still as ADD left it.

    :param result: what ADD gave
    :raises CniError: the first plugin that finds something missing
    """
    if not has_check(conflist):
        return
    for plugin in conflist["plugins"]:
        execute(plugin["type"], "CHECK", plugin_config(conflist, plugin, runtime, result), environment(runtime))


def has_check(conflist: Mapping[str, Any]) -> bool:
    """Whether CHECK may be called for this list."""
    # Before 1.1.0 the specification wrote this boolean as a string, so both are met.
    if str(conflist.get("disableCheck", False)).lower() == "true":
        return False
    return version_key(conflist["cniVersion"]) >= FIRST_WITH_CHECK


def delete(conflist: Mapping[str, Any], runtime: Runtime, result: Mapping[str, Any] | None, execute: Execute) -> None:
    """Detach: every plugin in reverse order. Succeeds when things are gone already.

    Stops at the first failure, as the specification says: an address must not be free for another pod while, for
    example, a port mapping still leads to it.

    :param result: what ADD gave; None when it never came to an end
    :raises CniError: a plugin failed; call again when the cause is gone
    """
    for plugin in reversed(conflist["plugins"]):
        execute(plugin["type"], "DEL", plugin_config(conflist, plugin, runtime, result), environment(runtime))


def version_key(version: str) -> tuple[int, ...]:
    """A version of the specification as numbers, to compare it."""
    return tuple(int(part) for part in version.split("."))
