# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inspects how a service has its backends checked, in the words of the kubelet's probes (``v1`` Probe)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.policy.documents import MAX_PORT
from ansible_collections.podnet.fabric.plugins.module_utils.policy.inspection import (
    inspect_items,
    inspect_mapping,
    shown,
)
from ansible_collections.podnet.fabric.plugins.module_utils.service.documents import (
    HTTP_GET,
    PROBE_DEFAULTS,
    TCP_SOCKET,
    programmed,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection

HANDLERS = {TCP_SOCKET: ("port",), HTTP_GET: ("path", "port", "httpHeaders")}
MOST = {"periodSeconds": 86400, "timeoutSeconds": 60, "failureThreshold": 100, "successThreshold": 100}
PATH = re.compile(r"/[!-~]{0,1023}\Z")
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}\Z")
"""A token of RFC 9110, section 5.6.2."""
HEADER_VALUE = re.compile(r"[ -~]{0,1024}\Z")


def inspect_probe(inspection: Inspection, path: str, spec: Mapping[str, Any]) -> None:
    """The ``readinessProbe`` of a service's ``spec``, where there is one.

    :param path: that of the spec
    """
    probe = spec.get("readinessProbe")
    path = f"{path}.readinessProbe"
    if probe is None or not inspect_mapping(inspection, path, probe, (*HANDLERS, *PROBE_DEFAULTS)):
        return
    try:
        idle = "a service that has no addresses" if not programmed(spec) else ""
    except TypeError:  # what is wrong with the addresses is told where they are looked at
        idle = ""
    idle = idle or ("publishNotReadyAddresses true" if spec.get("publishNotReadyAddresses") is True else "")
    if idle:
        inspection.refuse(path, f"given with {idle}, where nothing comes of it", "leave one of the two out")
    for key, most in MOST.items():
        if probe.get(key) is not None:
            inspection.integer(f"{path}.{key}", probe[key], 1, most)
    given = [key for key in HANDLERS if probe.get(key) is not None]
    if len(given) != 1:
        inspection.refuse(path, f"{' and '.join(given) or 'no handler'} given", f"give {' or '.join(HANDLERS)}")
    for key in given:
        if inspect_mapping(inspection, f"{path}.{key}", probe[key], HANDLERS[key]):
            _inspect_handler(inspection, f"{path}.{key}", probe[key], spec)


def _inspect_handler(inspection: Inspection, path: str, handler: Mapping[str, Any], spec: Mapping[str, Any]) -> None:
    ports = spec.get("ports")
    others = [
        port["protocol"]
        for port in (ports if isinstance(ports, list) else ())
        if isinstance(port, dict) and port.get("protocol") not in (None, "", "TCP")
    ]
    if handler.get("port") is not None:
        inspection.integer(f"{path}.port", handler["port"], 1, MAX_PORT)
    elif others:
        found = f"nothing, but a port of the service is {shown(others[0])}"
        inspection.refuse(f"{path}.port", found, "give the TCP port that answers for all of them")
    wanted = handler.get("path")
    if wanted is not None and not (isinstance(wanted, str) and PATH.match(wanted)):
        inspection.refuse(f"{path}.path", shown(wanted), "give a path that begins with / and has no spaces")
    for here, header in inspect_items(inspection, f"{path}.httpHeaders", handler.get("httpHeaders")):
        if inspect_mapping(inspection, here, header, ("name", "value")):
            for key, allowed in (("name", HEADER_NAME), ("value", HEADER_VALUE)):
                text = header.get(key)
                if not (isinstance(text, str) and allowed.match(text)):
                    inspection.refuse(f"{here}.{key}", shown(text), f"give the header's {key} in ASCII")
