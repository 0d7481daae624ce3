# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of what the node must have: rights, kernel features, tools, CNI plugins."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.podnet.fabric.plugins.module_utils.preflight.carrier import CARRIERS
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.seen import Finding, Seen, Wanted

# Link kind or facility -> the modules that bring it, in Debian's and most kernels, where they have other names.
_MODULES = {"ip6tnl": "ip6_tunnel", "nftables": "nf_tables nft_chain_nat nft_masq"}
# Link kind -> the option of the kernel's configuration, for those who build their own.
_OPTIONS = {
    "bridge": "CONFIG_BRIDGE",
    "veth": "CONFIG_VETH",
    "vxlan": "CONFIG_VXLAN",
    "geneve": "CONFIG_GENEVE",
    "ipip": "CONFIG_NET_IPIP",
    "ip6tnl": "CONFIG_IPV6_TUNNEL",
    "wireguard": "CONFIG_WIREGUARD",
}
_TOOL_PACKAGES = {"ip": "iproute2", "nft": "nftables", "bird": "bird2", "iptables": "iptables", "ipset": "ipset"}
# Tools that only one dataplane, or one backend of the policies, runs.
_TOOLS_OF = {"bird": "bgp", "iptables": "iptables", "ipset": "iptables"}
_CNI_PACKAGE = "containernetworking-plugins"


def check_root(seen: Seen, wanted: Wanted) -> Iterator[Finding]:
    """Links, routes and nftables belong to root."""
    if not seen.root:
        yield Finding(
            "root",
            "error",
            "an ordinary user",
            "root",
            "set become: true in the play (or ansible_become in the inventory)",
        )


def check_kernel(seen: Seen, wanted: Wanted) -> Iterator[Finding]:
    """What the kernel must do, by what it did in a scratch namespace."""
    for feature, trial in seen.trials.items():
        if feature == "nftables" and not seen.tools.get("nft"):
            continue  # without the tool it could not be tried; check_tools tells
        if trial.works is None and seen.root:
            yield Finding(
                "kernel",
                "error",
                f"no scratch namespace to try {feature} in: {trial.reason}",
                "leave to make network namespaces (CAP_SYS_ADMIN)",
                "run on the host itself, or give the container the capability",
            )
        elif trial.works is False and feature == "nexthop":
            if wanted.nexthop_objects == "never":
                continue
            yield Finding(
                "kernel",
                "error" if wanted.nexthop_objects == "always" else "info",
                f"no nexthop objects: {trial.reason}",
                "nexthop objects (Linux 5.3 or newer)",
                "set podnet_nexthop_objects to auto: routes then use plain gateways, which are slow beyond 1,000 peers",
            )
        elif trial.works is False:
            option = f" ({_OPTIONS[feature]})" if feature in _OPTIONS else ""
            cure = f"modprobe {_MODULES.get(feature, feature)}, or install a kernel that has it{option}"
            if feature in CARRIERS[wanted.dataplane].kinds.values():
                cure += ", or set another podnet_dataplane"
            yield Finding(
                "kernel", "error", f"{feature} does not work: {trial.reason}", f"a kernel with {feature}", cure
            )


def check_tools(seen: Seen, wanted: Wanted) -> Iterator[Finding]:
    """The tools that are run on the node."""
    used = (wanted.dataplane, wanted.policy_backend, wanted.service_backend)
    for tool, path in seen.tools.items():
        needed = tool in _TOOL_PACKAGES and _TOOLS_OF.get(tool, wanted.dataplane) in used
        if path is None and needed:
            package = _TOOL_PACKAGES[tool]
            yield Finding("tools", "error", f"no {tool} on PATH", f"{tool}", f"install {package}", package)


def check_cni(seen: Seen, wanted: Wanted) -> Iterator[Finding]:
    """The CNI plugins of the network, and that they speak its version of the specification."""
    missing = [name for name in wanted.cni_plugins if name not in seen.cni.plugins]
    if missing:
        where = wanted.cni_bin_dir if wanted.cni_bin_dir != "auto" else "/opt/cni/bin and /usr/lib/cni"
        # Debian's package fills only its own folder.
        packaged = wanted.cni_bin_dir in ("auto", "/usr/lib/cni")
        yield Finding(
            "cni",
            "error",
            f"no CNI plugin {', '.join(missing)} in {where}",
            f"the plugins {', '.join(wanted.cni_plugins)}",
            f"install {_CNI_PACKAGE}" if packaged else f"put the plugins into {where}",
            _CNI_PACKAGE if packaged else "",
        )
    for name, versions in sorted(seen.cni.versions.items()):
        if wanted.cni_version not in versions:
            yield Finding(
                "cni",
                "error",
                f"{seen.cni.plugins.get(name, name)} speaks CNI {', '.join(versions) or 'no version'}",
                f"CNI {wanted.cni_version}",
                f"set podnet_cni_version to one of these, or install a newer {name}",
            )
