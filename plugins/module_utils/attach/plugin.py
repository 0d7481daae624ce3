# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CNI plugin ``podnet-attach``, chained last: a pod is under its policies before ADD returns.

It gives the result of the plugins before it on as it is. Where policies are declared on the node and cannot be put in
force for the pod, ADD fails. DEL succeeds whatever is missing or damaged: what could not be taken out of the packet
filter then is taken out by the next ADD, or by the next run of a playbook.

Python takes some milliseconds to start, and each of its larger packages takes as long again. So what an ADD mostly
needs is written with none of them, and what reconciles a node as the module policy does is imported when it must be.

CNI specification 1.1.0: https://github.com/containernetworking/cni/blob/spec-v1.1.0/SPEC.md
"""

from __future__ import annotations

import os
import sys

from ansible_collections.podnet.fabric.plugins.module_utils.attach import pod, record, table, text
from ansible_collections.podnet.fabric.plugins.module_utils.attach.lock import Busy, NodeLock
from ansible_collections.podnet.fabric.plugins.module_utils.attach.pod import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

VERSIONS = ("0.3.1", "0.4.0", "1.0.0", "1.1.0")

# Codes of the specification, and of our own from 100 on.
INCOMPATIBLE, BAD_ENVIRONMENT, BAD_JSON, LATER, UNAVAILABLE, NOT_ENFORCED, NOT_AS_ADDED = 1, 4, 6, 11, 50, 100, 101


def main() -> int:
    """Do what CNI_COMMAND says; the exit status."""
    command = os.environ.get("CNI_COMMAND", "")
    version = VERSIONS[-1]
    try:
        given = sys.stdin.read()
        if command == "DEL":
            _delete(os.environ)
            return 0
        conf = _configuration(given)
        version = str(conf.get("cniVersion") or "0.3.1")
        sys.stdout.write(_command(command, version)(conf, os.environ))
    except BaseException as error:  # noqa: BLE001 - a runtime understands nothing but an error object
        if command == "DEL":
            return 0
        code = error.code if isinstance(error, Fault) else LATER if isinstance(error, Busy) else NOT_ENFORCED
        said = str(error) or type(error).__name__
        sys.stdout.write(text.dumps({"cniVersion": version, "code": code, "msg": f"podnet-attach: {said}"}) + "\n")
        return 1
    return 0


def _command(name: str, version: str) -> Callable[[Mapping[str, Any], Mapping[str, str]], str]:
    found = _COMMANDS.get(name)
    if found is None:
        raise Fault(BAD_ENVIRONMENT, f"CNI_COMMAND is {name!r}; give ADD, CHECK, DEL, GC, STATUS or VERSION")
    if name != "VERSION" and version not in VERSIONS:
        raise Fault(INCOMPATIBLE, f"cniVersion {version} is none of {', '.join(VERSIONS)}")
    return found


def _configuration(given: str) -> dict[str, Any]:
    try:
        conf = text.loads(given or "{}")
    except ValueError as error:
        raise Fault(BAD_JSON, f"the configuration cannot be read: {error}") from error
    if not isinstance(conf, dict):
        raise Fault(BAD_JSON, "the configuration is no JSON object")
    return conf


def _add(conf: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    result = text.dumps(conf.get("prevResult")) + "\n"
    whom = pod.described(conf, environment)
    with NodeLock():
        if not record.is_declared():
            record.write(whom)
        elif not _quickly(whom):
            _thoroughly(whom)
    return result


def _quickly(whom: record.Attached) -> bool:
    """Attach a pod for which some elements are all there is to do; whether that was so, and all went well."""
    known = table.read()
    told = table.elements(known, whom)
    if told is None:
        return False
    if not told and table.bridge(known) is None and table.programs(known) is None:
        record.write(whom)
        return True
    return table.carry_out(known, told, lambda: record.write(whom), whom)


def _thoroughly(whom: record.Attached) -> None:
    """Put a pod under its policies by reconciling; where that fails, nothing is left of it."""
    table.put_aside()
    try:
        record.write(whom)
        _reconcile()
    except BaseException as error:
        record.forget(whom.container, whom.ifname)
        _try(_reconcile)
        if isinstance(error, Exception):
            told = f"the policies cannot be put in force for pod {whom.namespace}/{whom.name}: {error}"
            raise Fault(NOT_ENFORCED, told) from error
        raise


def _delete(environment: Mapping[str, str]) -> None:
    """Errors are the caller's to swallow."""
    container, ifname = environment.get("CNI_CONTAINERID", ""), environment.get("CNI_IFNAME", "")
    if not record.of(container, ifname):
        return
    try:
        with NodeLock():
            if not record.is_declared():
                _gone(container, ifname)
                return
            nobody = _is_nobody(container, ifname)
            if not nobody:
                table.put_aside()
            addresses = _gone(container, ifname)
            if not nobody:
                _try(_reconcile)
            from ansible_collections.podnet.fabric.plugins.module_utils.attach import enforcement

            enforcement.end_flows(addresses)
    except Busy:
        # Whoever has the lock finds the pod gone, or the next one does.
        _gone(container, ifname)


def _is_nobody(container: str, ifname: str) -> bool:
    """Whether no policy knows a pod, and nothing else either, so that nothing goes with it."""
    try:
        (path,) = record.of(container, ifname)
        known = table.read()
        return table.elements(known, record.read(path)) == [] and not (table.bridge(known) or table.programs(known))
    except (record.Damaged, OSError, ValueError):
        return False


def _gone(container: str, ifname: str) -> list[str]:
    """Forget a pod, and remember that it has gone where it may be declared; its addresses."""
    addresses: list[str] = []
    for path in record.of(container, ifname):
        try:
            whom = record.read(path)
            addresses += whom.addresses
            if record.is_declared():
                record.bury(whom.namespace, whom.name, whom.addresses)
        except (record.Damaged, OSError):
            continue
    record.forget(container, ifname)
    return addresses


def _check(conf: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    whom = pod.described(conf, environment)
    if not os.path.exists(whom.path):
        raise Fault(NOT_AS_ADDED, f"nothing is known of pod {whom.namespace}/{whom.name}; detach and attach it")
    return ""


def _collect(conf: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    """GC: forget all of this network that the runtime does not name."""
    valid = {
        (str(each.get("containerID")), str(each.get("ifname")))
        for each in conf.get("cni.dev/valid-attachments") or conf.get("cni.dev/attachments") or ()
    }
    network = conf.get("name")
    with NodeLock():
        known = [record.read(path) for path in record.paths()]
        stale = [each for each in known if each.network == network and (each.container, each.ifname) not in valid]
        if stale:
            table.put_aside()
        for each in stale:
            _gone(each.container, each.ifname)
        if stale and record.is_declared():
            _reconcile()
    return ""


def _status(conf: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    """Whether an ADD would find what it needs."""
    if record.is_declared():
        from ansible_collections.podnet.fabric.plugins.module_utils.attach import enforcement

        problem = enforcement.problem()
        if problem:
            raise Fault(UNAVAILABLE, problem)
    return ""


def _version(conf: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    return (
        text.dumps({"cniVersion": conf.get("cniVersion") or VERSIONS[-1], "supportedVersions": list(VERSIONS)}) + "\n"
    )


def _reconcile() -> None:
    from ansible_collections.podnet.fabric.plugins.module_utils.attach import enforcement

    enforcement.enforce()


def _try(call: Callable[[], None]) -> None:
    try:
        call()
    except Exception:  # noqa: BLE001 - the first error is the one to tell
        return


_COMMANDS: dict[str, Callable[[Mapping[str, Any], Mapping[str, str]], str]] = {
    "ADD": _add,
    "CHECK": _check,
    "GC": _collect,
    "STATUS": _status,
    "VERSION": _version,
}
