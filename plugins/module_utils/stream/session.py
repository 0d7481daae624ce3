# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What podnet.fabric.stream does: parameters in, the module's result out."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.errors import Finding, InvalidInput
from ansible_collections.podnet.fabric.plugins.module_utils.stream import message, process

if TYPE_CHECKING:
    from collections.abc import Mapping

# The numbers of a thousandth of a second are the finest that a process can pace.
_LIMITS = {
    "port": (1, 65535, ""),
    "lifetime": (1, 86400, " seconds"),
    "rate": (0, 10000, " packets per second"),
    # With 28 or 48 bytes of headers it still passes any path.
    "size": (message.HEADER.size, 1232, " bytes"),
    "tcp_rate": (0, 10000, " Mbit/s"),
}


def begin(params: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Starts a process for each pod."""
    _validate(params)
    started = process.start([_wanted(params, pod) for pod in params["pods"]], check)
    return {"changed": bool(started), "names": started, "flows": [], "failures": []}


def count(params: Mapping[str, Any], check: bool) -> dict[str, Any]:  # noqa: ARG001 counting changes nothing
    """Asks the processes what they have counted."""
    told = process.count(params["role"], _names(params))
    return {"changed": False, **told._asdict()}


def end(params: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Ends the processes, and collects what they have counted."""
    collect = process.count if check else process.stop
    told = collect(params["role"], _names(params))
    return {"changed": bool(told.names), **told._asdict()}


def _names(params: Mapping[str, Any]) -> list[str] | None:
    return None if params["pods"] is None else [pod["name"] for pod in params["pods"]]


def _wanted(params: Mapping[str, Any], pod: Mapping[str, Any]) -> process.Wanted:
    sending = params["role"] == "sender"
    own = {_bare(address) for address in pod["addresses"]}
    families = {ip_address(address).version for address in own}
    return process.Wanted(
        role=params["role"],
        name=pod["name"],
        netns=pod["netns"],
        targets=tuple(
            (target["name"], address)
            for target in (params["targets"] if sending else ())
            if target["from"] is None or pod["name"] in target["from"]
            for address in map(_bare, target["addresses"])
            if address not in own and (not families or ip_address(address).version in families)
        ),
        port=params["port"],
        run=params["run"],
        lifetime=float(params["lifetime"]),
        rate=float(params["rate"]) if sending else 0.0,
        size=params["size"] if sending else 0,
        tcp_rate=float(params["tcp_rate"]) if sending else 0.0,
    )


def _validate(params: Mapping[str, Any]) -> None:
    findings = [
        Finding(name, str(params[name]), f"wanted {lowest} to {highest}{unit}")
        for name, (lowest, highest, unit) in _LIMITS.items()
        if not lowest <= params[name] <= highest
    ]
    places = [
        (f"{option}[{number}].addresses[{place}]", text)
        for option in ("pods", "targets")
        for number, entry in enumerate(params[option])
        for place, text in enumerate(entry["addresses"])
    ]
    findings += [Finding(path, repr(text), "wanted an IP address") for path, text in places if not _is_address(text)]
    if params["role"] == "sender" and not findings:
        findings += [
            Finding(f"pods[{number}]", f"{pod['name']} has no target", "name one of its address family in targets")
            for number, pod in enumerate(params["pods"])
            if not _wanted(params, pod).targets
        ]
    if findings:
        raise InvalidInput(findings)


def _bare(text: str) -> str:
    return text.partition("/")[0]


def _is_address(text: str) -> bool:
    try:
        ip_address(_bare(text))
    except ValueError:
        return False
    return True
