# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cases of cyclonus as worlds, step by step, with the tables of who reaches whom."""

from __future__ import annotations

import copy
import ipaddress
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FILE = Path(__file__).with_name("cyclonus_cases.json")
FIRST = {4: ipaddress.ip_address("10.244.1.10"), 6: ipaddress.ip_address("fd00:10:244:1::a")}
# The prefixes that the policies name, and what stands for each in an IPv6 world.
IPV6 = {
    "10.244.1.0/24": "fd00:10:244:1::/120",
    "10.244.1.0/28": "fd00:10:244:1::/124",
    "0.0.0.0/0": "::/0",
    "0.0.0.0/31": "::/127",
}
PORTS = {f"serve-{number}-{protocol}": (protocol, number) for number in (80, 81) for protocol in ("tcp", "udp", "sctp")}


class Pod(NamedTuple):
    """A pod of a world; all serve the same ports."""

    namespace: str
    name: str
    labels: dict[str, str]
    addresses: dict[int, str]

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class World(NamedTuple):
    """What stands after a step, and the table that is expected: (source, destination) by protocol and port."""

    case: int
    step: int
    description: str
    namespaces: dict[str, dict[str, str]]
    pods: list[Pod]
    policies: list[dict[str, Any]]
    expected: dict[tuple[str, int], dict[tuple[str, str], bool]]


def worlds(family: int = 4) -> Iterator[World]:
    """Every step of every case. For IPv6 the prefixes in the policies are mapped."""
    for case in json.loads(FILE.read_text(encoding="utf-8")):
        state = _State(family)
        for number, step in enumerate(case["Steps"]):
            for action in step["Actions"] or ():
                for name, arguments in action.items():
                    if arguments is not None:
                        state.act(name, arguments)
            expected = {_port(name): dict(_table(text)) for name, text in step["Matrix"].items()}
            yield World(
                case["Index"],
                number,
                case["Description"],
                copy.deepcopy(state.namespaces),
                list(state.pods.values()),
                copy.deepcopy(list(state.policies.values())),
                expected,
            )


class _State:
    """The world that the actions of a case change."""

    def __init__(self, family: int) -> None:
        self.family = family
        self.namespaces: dict[str, dict[str, str]] = {}
        self.pods: dict[tuple[str, str], Pod] = {}
        self.policies: dict[tuple[str, str], dict[str, Any]] = {}
        self.made = 0
        for namespace in "xyz":
            self.namespaces[namespace] = {"ns": namespace}
            for pod in "abc":
                self.create_pod(namespace, pod, {"pod": pod})

    def create_pod(self, namespace: str, name: str, labels: dict[str, str]) -> None:
        addresses = {family: str(first + self.made) for family, first in FIRST.items()}
        self.pods[namespace, name] = Pod(namespace, name, labels, addresses)
        self.made += 1

    def act(self, action: str, given: dict[str, Any]) -> None:
        acts: dict[str, Callable[[], None]] = {
            "CreatePolicy": lambda: self.put(given["Policy"]),
            "UpdatePolicy": lambda: self.put(given["Policy"]),
            "DeletePolicy": lambda: self.drop(self.policies, given["Namespace"], given["Name"]),
            "CreateNamespace": lambda: self.namespaces.update({given["Namespace"]: given["Labels"]}),
            "SetNamespaceLabels": lambda: self.namespaces.update({given["Namespace"]: given["Labels"]}),
            "DeleteNamespace": lambda: self.delete_namespace(given["Namespace"]),
            "CreatePod": lambda: self.create_pod(given["Namespace"], given["Pod"], given["Labels"]),
            "DeletePod": lambda: self.drop(self.pods, given["Namespace"], given["Pod"]),
            "SetPodLabels": lambda: self.label(given["Namespace"], given["Pod"], given["Labels"]),
        }
        acts[action]()

    def put(self, policy: dict[str, Any]) -> None:
        text = json.dumps(policy)
        if self.family == 6:
            for four, six in IPV6.items():
                text = text.replace(f'"{four}"', f'"{six}"')
        self.policies[policy["metadata"]["namespace"], policy["metadata"]["name"]] = json.loads(text)

    def drop(self, known: dict[tuple[str, str], Any], namespace: str, name: str) -> None:
        del known[namespace, name]

    def label(self, namespace: str, name: str, labels: dict[str, str]) -> None:
        self.pods[namespace, name] = self.pods[namespace, name]._replace(labels=labels)

    def delete_namespace(self, namespace: str) -> None:
        del self.namespaces[namespace]
        for known in (self.pods, self.policies):
            for key in [key for key in known if key[0] == namespace]:
                del known[key]


def _port(name: str) -> tuple[str, int]:
    protocol, _slash, number = name.partition("/")
    return protocol.lower(), int(number)


def _table(text: str) -> Iterator[tuple[tuple[str, str], bool]]:
    rows = [line.split() for line in text.splitlines()]
    names = [name for name, _cells in rows]
    for source, cells in rows:
        for destination, cell in zip(names, cells, strict=True):
            yield (source, destination), cell == "."
