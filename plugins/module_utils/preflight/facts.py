# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the options of the module to the facts that it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Any

from ansible_collections.podnet.fabric.plugins.module_utils.cni import occupancy
from ansible_collections.podnet.fabric.plugins.module_utils.errors import Finding as InputFinding
from ansible_collections.podnet.fabric.plugins.module_utils.errors import InvalidInput
from ansible_collections.podnet.fabric.plugins.module_utils.overhead import overhead
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.carrier import CARRIERS
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.checks import examine, missing_packages
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.gather import gather
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.seen import IPAddress, Seen, Wanted
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.underlay import Choice, Underlay

# What the bridge plugin needs beside itself: it asks host-local for the addresses.
_PLUGINS = ("bridge", "host-local")


def node_facts(options: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of this node, findings included.

    :raises InvalidInput: an option that cannot be used
    """
    wanted = wanted_of(options)
    seen = gather(wanted)
    choice, findings = examine(seen, wanted)
    return {
        "underlay": _underlay(choice, wanted),
        "dataplanes": list(seen.dataplanes),
        "ra_uplinks": list(seen.ra_uplinks),
        "features": {feature: trial.works for feature, trial in sorted(seen.trials.items())},
        "tools": dict(seen.tools),
        "python": {"executable": seen.executable, "version": seen.python},
        "cni": _cni(seen),
        "blocks": occupancy.blocks() if seen.root else [],
        "sysctl": dict(seen.sysctl),
        "findings": [{**finding._asdict(), "text": str(finding)} for finding in findings],
        "missing_packages": missing_packages(findings),
    }


def wanted_of(options: Mapping[str, Any]) -> Wanted:
    """The options as the checks want them.

    :raises InvalidInput: every value that is no address or no network
    """
    refused: list[InputFinding] = []

    def address(path: str, value: str) -> IPAddress | None:
        try:
            return ip_address(value)
        except ValueError:
            refused.append(InputFinding(path, f"{value!r} is no IP address", "write it as 192.0.2.1 or 2001:db8::1"))
            return None

    carrier = CARRIERS[options["dataplane"]]
    underlay = options["underlay"] or {}
    held = underlay.get("address") or "auto"
    second = underlay.get("second_address") or "auto"
    if held != "auto":
        address("underlay.address", held)
    if second not in ("auto", "none"):
        address("underlay.second_address", second)
    towards = [address(f"towards[{nth}]", value) for nth, value in enumerate(options["towards"])]
    for nth, pool in enumerate(options["pools"]):
        try:
            ip_network(pool, strict=False)
        except ValueError:
            refused.append(InputFinding(f"pools[{nth}]", f"{pool!r} is no network", "write it as 10.244.0.0/16"))
    if refused:
        raise InvalidInput(refused)
    return Wanted(
        interface=underlay.get("interface") or "auto",
        address=held,
        second=second,
        towards=tuple(each for each in towards if each is not None),
        bridge_name=options["bridge_name"],
        dataplane=options["dataplane"],
        devices=tuple(options["devices"] or carrier.devices),
        port=options["port"] or carrier.port,
        tcp_port=options["tcp_port"] or carrier.tcp_port,
        vni=options["vni"] or carrier.vni,
        mtu=0 if options["mtu"] == "auto" else int(options["mtu"]),
        pools=tuple(options["pools"]),
        nexthop_objects=options["nexthop_objects"],
        forward_accept=options["forward_accept"],
        policy_backend=options["policy_backend"],
        service_backend=options["service_backend"],
        cni_bin_dir=options["cni_bin_dir"],
        cni_conf_dir=options["cni_conf_dir"],
        cni_conf_file=f"10-{options['cni_network']}.conflist",
        cni_version=options["cni_version"],
        cni_plugins=(*_PLUGINS, *(name for name in options["cni_plugins"] if name not in _PLUGINS)),
    )


def _underlay(choice: Choice, wanted: Wanted) -> dict[str, Any] | None:
    if not isinstance(choice, Underlay):
        return None
    second = None if choice.second is None else choice.second._asdict()
    taken = overhead(wanted.dataplane, choice.family, wanted.families)
    return {**choice._asdict(), "second": second, "overhead": taken}


def _cni(seen: Seen) -> dict[str, Any]:
    return {
        "bin_dir": seen.cni.path,
        "plugins": dict(seen.cni.plugins),
        "versions": {name: list(versions) for name, versions in seen.cni.versions.items()},
        "conflists": list(seen.cni.conflists),
    }
