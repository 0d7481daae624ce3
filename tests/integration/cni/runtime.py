# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container runtime on a node, as far as pods' networks go: it runs the plugins of the node's list as libcni does."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from tests.integration.cni.node import Node

CONFLIST = "/etc/cni/net.d/10-podnet.conflist"


class PluginFailed(AssertionError):
    """A plugin that ended with an error, and its error object, if it has printed one."""

    def __init__(self, plugin: str, output: str, said: str) -> None:
        super().__init__(f"{plugin}: {output} {said}")
        self.error: dict[str, Any] = json.loads(output) if output.strip() else {}


class Runtime(NamedTuple):
    """``bin_dir`` is where the plugins are."""

    node: Node
    bin_dir: str

    def conflist(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.node.read(CONFLIST))
        return found

    def add(self, name: str, labels: dict[str, str] | None = None, namespace: str = "default") -> dict[str, Any]:
        """Make a pod's network namespace and attach it: the result of the last plugin."""
        self.node.run("ip", "netns", "add", name)
        self.node.run("ip", "-n", name, "link", "set", "lo", "up")
        return self.attach(name, labels, namespace)

    def attach(self, name: str, labels: dict[str, str] | None = None, namespace: str = "default") -> dict[str, Any]:
        """Run ADD of all plugins, and where one fails DEL of all."""
        result: dict[str, Any] | None = None
        try:
            for plugin in self.conflist()["plugins"]:
                result = self.run("ADD", plugin, name, result, labels, namespace)
        except PluginFailed:
            self.delete(name, namespace=namespace)
            raise
        assert result is not None
        return result

    def attach_again(self, name: str, labels: dict[str, str]) -> dict[str, Any]:
        """Run DEL and ADD of all plugins."""
        self.delete(name)
        return self.add(name, labels)

    def delete(self, name: str, result: dict[str, Any] | None = None, namespace: str = "default") -> None:
        """Run DEL of all plugins and remove the network namespace."""
        for plugin in reversed(self.conflist()["plugins"]):
            self.run("DEL", plugin, name, result, None, namespace)
        self.node.run("ip", "netns", "delete", name)

    def run(self, command: str, plugin: dict[str, Any], *given: Any, **more: Any) -> dict[str, Any]:
        """Run a plugin; it is given what ``request`` makes of the parameters."""
        started = self.start(command, plugin, *given, **more)
        output, said = started.communicate(timeout=60)
        if started.returncode != 0:
            raise PluginFailed(plugin["type"], output, said)
        found: dict[str, Any] = json.loads(output) if output.strip() else {}
        return found

    def start(self, command: str, plugin: dict[str, Any], *given: Any, **more: Any) -> subprocess.Popen[str]:
        """Start a plugin, with its configuration on its standard input."""
        variables, conf = self.request(command, plugin, *given, **more)
        argv = [*self.node.enter, "env", *(f"{key}={value}" for key, value in variables.items())]
        started = subprocess.Popen(
            [*argv, f"{self.bin_dir}/{plugin['type']}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert started.stdin is not None
        started.stdin.write(json.dumps(conf))
        started.stdin.close()
        started.stdin = None
        return started

    def request(
        self,
        command: str,
        plugin: dict[str, Any],
        name: str = "",
        result: dict[str, Any] | None = None,
        labels: dict[str, str] | None = None,
        namespace: str = "default",
        **more: Any,
    ) -> tuple[dict[str, str], dict[str, Any]]:
        """What a plugin is given: variables, and its configuration."""
        known = self.conflist()
        conf = {**plugin, "name": known["name"], "cniVersion": known["cniVersion"], **more}
        if labels and "podnet.labels" in plugin.get("capabilities", ()):
            conf["runtimeConfig"] = {"podnet.labels": labels}
        if result is not None:
            conf["prevResult"] = result
        variables = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": f"id-{name}",
            "CNI_NETNS": f"/run/netns/{name}",
            "CNI_IFNAME": "eth0",
            "CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name}",
            "CNI_PATH": self.bin_dir,
        }
        return variables, conf
