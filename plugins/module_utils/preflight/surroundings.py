# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of what else lives on the node: kernel settings, and daemons that take devices and routes over."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.podnet.fabric.plugins.module_utils.preflight.seen import Finding, Seen, Wanted
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.underlay import Choice, Underlay

# A daemon that takes network devices over -> how to keep it from ours.
_MANAGERS = {
    "NetworkManager": ("unmanaged-devices={matches} in section [keyfile] of a file in /etc/NetworkManager/conf.d"),
    "systemd-networkd": ("a .network file in /etc/systemd/network with [Match] Name={names} and [Link] Unmanaged=yes"),
}


def check_forwarding(seen: Seen, wanted: Wanted, choice: Choice) -> Iterator[Finding]:
    """Forwarding, which the roles switch on; told so that nobody is surprised."""
    names = {4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding"}
    for family in wanted.families:
        if seen.sysctl.get(names[family]) == "0":
            yield Finding(
                "forwarding", "info", f"{names[family]} = 0", "1", "nothing to do: the roles set it, teardown undoes it"
            )


def check_ipv6(seen: Seen, wanted: Wanted, choice: Choice) -> Iterator[Finding]:
    """IPv6 is there when pods or tunnels use it."""
    over_it = isinstance(choice, Underlay) and choice.family == 6
    if 6 not in wanted.families and not over_it:
        return
    if "net.ipv6.conf.all.disable_ipv6" not in seen.sysctl:
        yield Finding(
            "disable_ipv6",
            "error",
            "a kernel without IPv6",
            "IPv6, which podnet_pools has a pool of",
            "boot without ipv6.disable=1, or leave IPv6 pools out of podnet_pools",
        )
        return
    for scope in ("all", "default"):
        name = f"net.ipv6.conf.{scope}.disable_ipv6"
        if seen.sysctl.get(name) == "1":
            yield Finding(
                "disable_ipv6",
                "error",
                f"{name} = 1",
                "0: new devices, pods' too, take it over",
                f"sysctl -w {name}=0 (and where it is set in /etc/sysctl.d), or leave IPv6 pools out of podnet_pools",
            )


def check_accept_ra(seen: Seen, wanted: Wanted, choice: Choice) -> Iterator[Finding]:
    """A host that forwards IPv6 no longer takes its default route from router advertisements."""
    if 6 not in wanted.families:
        return
    for uplink in seen.ra_uplinks:
        name = f"net.ipv6.conf.{uplink}.accept_ra"
        if seen.sysctl.get(name) == "1":
            yield Finding(
                "accept_ra",
                "info",
                f"{name} = 1, and the IPv6 default route comes by router advertisement",
                "2: with forwarding on, the kernel would let that route expire",
                "none needed: the role bridge sets it before it turns forwarding on, and teardown puts it back",
            )


def check_rp_filter(seen: Seen, wanted: Wanted, choice: Choice) -> Iterator[Finding]:
    """Strict reverse path filtering drops what takes another way back; the kernel takes max(all, interface)."""
    if 4 not in wanted.families:
        return
    everywhere = "net.ipv4.conf.all.rp_filter"
    # New devices begin with the default; of several the first one carries IPv4.
    names = {"net.ipv4.conf.default.rp_filter": wanted.devices[0]} if wanted.devices else {}
    if isinstance(choice, Underlay) and choice.family == 4:
        names[f"net.ipv4.conf.{choice.interface.replace('.', '/')}.rp_filter"] = choice.interface
    general = _number(seen.sysctl.get(everywhere))
    strict = {name: device for name, device in names.items() if max(general, _number(seen.sysctl.get(name))) == 1}
    if strict:
        causes = [name for name in (everywhere, *strict) if _number(seen.sysctl.get(name)) == 1]
        yield Finding(
            "rp_filter",
            "warning",
            f"{' and '.join(causes)} = 1, so the filter on {' and '.join(strict.values())} is strict",
            "0 or 2: else a host's own process that talks to another node's pod from the underlay address is dropped",
            f"sysctl -w {' '.join(f'{name}=2' for name in strict)} (loose wins over strict), the same in /etc/sysctl.d",
        )


def check_managers(seen: Seen, wanted: Wanted, choice: Choice) -> Iterator[Finding]:
    """Daemons that configure or delete devices and routes that they have not made."""
    devices = [wanted.bridge_name, *wanted.devices]
    names = [*devices, "veth*"]
    for daemon, cure in _MANAGERS.items():
        if daemon in seen.processes and daemon not in seen.leaves_us_alone:
            yield Finding(
                "managers",
                "warning",
                f"{daemon} runs and is not told to leave our devices alone",
                f"{', '.join(devices)} and the pods' devices unmanaged",
                cure.format(names=" ".join(names), matches=";".join(f"interface-name:{name}" for name in names)),
            )


def check_foreign_routes(seen: Seen, wanted: Wanted, choice: Choice) -> Iterator[Finding]:
    """systemd-networkd deletes routes and rules that it has not made, each time that it starts."""
    if seen.networkd_deletes:
        settings = "".join(f"{name}=no\\n" for name in seen.networkd_deletes)
        found = ", ".join(f"{name}=yes" for name in seen.networkd_deletes)
        yield Finding(
            "managers",
            "warning",
            f"systemd-networkd deletes what it has not made: {found}",
            "the pod network's routes left alone when it starts, reloads or is reconfigured",
            f"mkdir -p /etc/systemd/networkd.conf.d; printf '[Network]\\n{settings}' "
            "> /etc/systemd/networkd.conf.d/84-podnet.conf; systemctl restart systemd-networkd",
        )


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0
