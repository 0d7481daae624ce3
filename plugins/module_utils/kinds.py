# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind that a node can have a declaration of."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Kind
from ansible_collections.podnet.fabric.plugins.module_utils.resources import (
    bgp,
    bridge,
    cni_network,
    forward_accept,
    geneve,
    host_gw,
    host_policy,
    ipam_block,
    ipam_pool,
    ipip,
    persist,
    pod,
    policy,
    route,
    service,
    sysctl,
    tunnel_filter,
    vxlan,
    wireguard,
)

_MODULES = (
    *(bridge, cni_network, forward_accept, ipam_block, ipam_pool, persist, pod, policy, route, service),
    *(sysctl, tunnel_filter),
    *(bgp, geneve, host_gw, host_policy, ipip, vxlan, wireguard),
)
KINDS: Sequence[Kind] = sorted((module.KIND for module in _MODULES), key=lambda kind: -kind.rank)
"""In the order in which they are taken down."""
