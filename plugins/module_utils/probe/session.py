# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The three parts that a node plays in a run: it answers, it asks, it ends what it started."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.errors import Finding, InvalidInput
from ansible_collections.podnet.fabric.plugins.module_utils.probe import prober, process, question, verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

_PORTS = range(1, 65536)
_SIZES = range(576, 65536)


def respond(params: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Starts a responder in each pod; returns the module's result."""
    _validate(params)
    wanted = [
        process.Wanted(pod["name"], pod["netns"], params["port"], params["run"], float(params["lifetime"]))
        for pod in params["pods"]
    ]
    started = process.ensure(wanted, check)
    return {"changed": bool(started), "responders": started}


def end(params: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Ends responders; returns the module's result."""
    names = None if params["pods"] is None else [pod["name"] for pod in params["pods"]]
    gone = process.remove(names, check)
    return {"changed": bool(gone), "responders": gone}


def ask(params: Mapping[str, Any], check: bool) -> dict[str, Any]:  # noqa: ARG001 packets change nothing
    """Asks every target from every pod; returns the module's result."""
    _validate(params)
    watch_on, timeout = params["underlay_interface"], params["timeout"]
    answers = prober.probe(
        question.questions(params["pods"], params["targets"], params["port"]),
        run=params["run"],
        timeout=timeout,
        mtu=params["mtu"],
        watch_on=watch_on,
    )
    results = [verdict.judge(answer, is_own, timeout, watch_on, params["check_mtu"]) for answer in answers]
    return {
        "changed": False,
        "results": results,
        "failures": [text for result in results for text in result["failures"]],
    }


def is_own(address: str) -> bool:
    """Whether an address is one of this node's: only those can be bound to."""
    family = question.family_of(address)
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as attempt:
            attempt.bind((address, 0))
    except OSError:
        return False
    return True


def _validate(params: Mapping[str, Any]) -> None:
    findings = []
    if params["port"] not in _PORTS:
        findings.append(Finding("port", str(params["port"]), "wanted 1 to 65535"))
    if params["lifetime"] < 1:
        findings.append(Finding("lifetime", str(params["lifetime"]), "wanted at least 1 second"))
    if params["timeout"] <= 0:
        findings.append(Finding("timeout", str(params["timeout"]), "wanted more than 0 seconds"))
    if params["mtu"] is not None and params["mtu"] not in _SIZES:
        findings.append(Finding("mtu", str(params["mtu"]), f"wanted {_SIZES.start} to {_SIZES.stop - 1} bytes"))
    places = [
        (f"pods[{number}].addresses[{place}]", text)
        for number, pod in enumerate(params["pods"])
        for place, text in enumerate(pod["addresses"])
    ]
    for number, target in enumerate(params["targets"]):
        places.append((f"targets[{number}].address", target["address"]))
        for end_of_tunnel in ("outer_src", "outer_dst"):
            text = (target["encapsulation"] or {}).get(end_of_tunnel)
            if text is not None:
                places.append((f"targets[{number}].encapsulation.{end_of_tunnel}", text))
    findings += [Finding(path, repr(text), "wanted an IP address") for path, text in places if not _is_address(text)]
    if findings:
        raise InvalidInput(findings)


def _is_address(text: str) -> bool:
    try:
        ip_address(text.partition("/")[0])
    except ValueError:
        return False
    return True
