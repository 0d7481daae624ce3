# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""All the checks, in the order in which an operator would want to read them."""

from __future__ import annotations

from ansible_collections.podnet.fabric.plugins.module_utils.preflight import (
    addressing,
    other_networks,
    packet_filters,
    requirements,
    surroundings,
)
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.seen import Finding, Seen, Wanted
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.underlay import Choice, choose

_OF_NODE = (
    requirements.check_root,
    requirements.check_kernel,
    requirements.check_tools,
    requirements.check_cni,
    addressing.check_names,
    addressing.check_port,
    addressing.check_tcp_port,
    addressing.check_pools,
    other_networks.check_routes,
)
_OF_UNDERLAY = (
    addressing.check_underlay,
    addressing.check_mtu,
    surroundings.check_ipv6,
    surroundings.check_accept_ra,
    surroundings.check_rp_filter,
    surroundings.check_managers,
    surroundings.check_foreign_routes,
    packet_filters.check_firewalls,
    packet_filters.check_packet_filters,
    other_networks.check_other_networks,
    surroundings.check_forwarding,
)
_ORDER = ("error", "warning", "info")


def examine(seen: Seen, wanted: Wanted) -> tuple[Choice, list[Finding]]:
    """The underlay (or why there is none) and every finding, errors first."""
    choice = choose(seen, wanted)
    findings = [finding for check in _OF_NODE for finding in check(seen, wanted)]
    findings += [finding for check in _OF_UNDERLAY for finding in check(seen, wanted, choice)]
    return choice, sorted(findings, key=lambda finding: _ORDER.index(finding.severity))


def missing_packages(findings: list[Finding]) -> list[str]:
    """The Debian packages that would cure findings."""
    return sorted({finding.package for finding in findings if finding.package})
