# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a runtime tells the plugin of a pod: who it is, its labels, and the addresses that others have given it."""

from __future__ import annotations

from ansible_collections.podnet.fabric.plugins.module_utils.attach import text
from ansible_collections.podnet.fabric.plugins.module_utils.attach.record import Attached

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

BAD_ENVIRONMENT, BAD_CONFIGURATION = 4, 7
CAPABILITY = "podnet.labels"
"""Under which a runtime may give labels, a mapping, by runtimeConfig."""

LABELS = "/etc/podnet/labels.json"
"""Labels by "namespace/name", for pods whose runtime gives none."""

MADE_BY_US = "/run/podnet/attachments"
"""Where the module pod keeps what it attaches (cni/record.py), under the container's name and the network's."""


class Fault(Exception):
    """What the runtime is told: a code of the specification, or of ours, and a text."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def described(conf: Mapping[str, Any], environment: Mapping[str, str]) -> Attached:
    """The pod of a call.

    :raises Fault:
    """
    container, netns, ifname = (_variable(environment, f"CNI_{name}") for name in ("CONTAINERID", "NETNS", "IFNAME"))
    arguments = dict(_arguments(environment.get("CNI_ARGS", "")))
    name = arguments.get("K8S_POD_NAME") or container
    namespace = arguments.get("K8S_POD_NAMESPACE") or "default"
    network = conf.get("name")
    if not isinstance(network, str) or not network:
        raise Fault(BAD_CONFIGURATION, "the configuration has no name of a network")
    for what, value in (("container", container), ("interface", ifname), ("namespace", namespace), ("name", name)):
        if "/" in value or "\0" in value or (what == "container" and "@" in value):
            raise Fault(BAD_ENVIRONMENT, f"the {what} is called {value!r}, which cannot be")
    addresses = tuple(_addresses(conf.get("prevResult"), ifname))
    labels = _labels(conf, container, network, f"{namespace}/{name}")
    wiring = (conf.get("prevResult") or {}).get("interfaces") or ()
    return Attached(container, ifname, network, netns, namespace, name, labels, addresses, wiring=wiring)


def _variable(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise Fault(BAD_ENVIRONMENT, f"{name} is not set")
    return value


def _arguments(given: str) -> Iterator[tuple[str, str]]:
    for pair in given.split(";"):
        key, equals, value = pair.partition("=")
        if equals:
            yield key, value


def _addresses(result: Any, ifname: str) -> Iterator[str]:
    """Those of the pod's interface; of plugins that do not say whose they are, all."""
    if not isinstance(result, dict):
        raise Fault(BAD_CONFIGURATION, "there is no prevResult; chain podnet-attach behind what gives pods addresses")
    try:
        interfaces = result.get("interfaces") or []
        own = [
            number for number, each in enumerate(interfaces) if each.get("sandbox") and each.get("name") == ifname
        ] or [-1]
        for ip in result.get("ips") or ():
            if ip.get("interface", own[0]) in own:
                yield ip["address"].partition("/")[0]
    except (AttributeError, KeyError, TypeError) as error:
        raise Fault(BAD_CONFIGURATION, f"prevResult is no result of CNI ({type(error).__name__}: {error})") from error


def _labels(conf: Mapping[str, Any], container: str, network: str, name: str) -> dict[str, str]:
    """From all who tell some; who comes later counts more."""
    found: dict[str, str] = {}
    try:
        found.update(_texts((_file(LABELS) or {}).get(name)))
        found.update(_texts(((conf.get("args") or {}).get("cni") or {}).get("labels")))
        found.update(_texts((conf.get("runtimeConfig") or {}).get(CAPABILITY)))
        found.update(_texts((_file(f"{MADE_BY_US}/{container}@{network}.json") or {}).get("labels")))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Fault(BAD_CONFIGURATION, f"the labels of {name} cannot be read: {error}") from error
    return found


def _file(path: str) -> Any:
    try:
        with open(path, encoding="utf-8") as file:
            return text.loads(file.read())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def _texts(labels: Any) -> dict[str, str]:
    """Labels as a mapping, or as pairs of key and value as in the conventions of CNI (CONVENTIONS.md, labels)."""
    if isinstance(labels, list):
        labels = {each["key"]: each["value"] for each in labels}
    return {str(key): str(value) for key, value in (labels or {}).items()}
