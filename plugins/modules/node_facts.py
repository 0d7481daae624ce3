#!/usr/bin/python
# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module podnet.fabric.node_facts."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_facts
short_description: What a node brings along for a pod network, and what is in the way
version_added: "0.1.0"
author: podnet.fabric authors (@podnet)
description:
  - Looks at a node before a pod network is built on it. Which of its addresses carries the tunnels, what its kernel can
    do, which tools and CNI plugins it has, and what else on it would disturb the network or be disturbed by it.
  - Every finding says what was found, what is wanted, and how to get from the one to the other.
  - Kernel features are found out by having the kernel do them, in a network namespace that exists for that moment only.
    The kernel may load the modules that it needs for it.
  - Nothing on the node is changed, in check mode or out of it.
extends_documentation_fragment:
  - podnet.fabric.attributes
attributes:
  diff_mode:
    description: There is no difference to show, as nothing is changed.
    support: none
options:
  underlay:
    description: The node's own address that carries the tunnels.
    type: dict
    suboptions:
      interface:
        description: Name of the interface, or V(auto) for the one that has the address.
        type: str
        default: auto
      address:
        description: The address, or V(auto) for the one that packets to the peers leave from.
        type: str
        default: auto
      second_address:
        description:
          - The address of the other family on the same interface, V(none) for none, or V(auto) for the first one that
            lasts (no temporary one), those with a subnet going before others.
        type: str
        default: auto
  towards:
    description:
      - Addresses of the peers, as far as they are known. With V(auto) as address, the routes to them tell which of the
        node's addresses is meant; without any, the default route does.
    type: list
    elements: str
    default: []
  pools:
    description: The ranges of the network's address pools, of either family.
    type: list
    elements: str
    default: []
  bridge_name:
    description: Name that the pod bridge will have.
    type: str
    default: podnet0
  dataplane:
    description: How packets will travel between nodes. The kernel is asked for the kinds of devices that it needs.
    type: str
    choices: [vxlan, geneve, ipip, wireguard, host_gw, bgp]
    default: vxlan
  devices:
    description:
      - Names that the dataplane's devices will have, V(ipip)'s for IPv4 before the one for IPv6. Without this, those
        that the collection's variables have by default.
    type: list
    elements: str
    default: []
  port:
    description: UDP port of the dataplane, if it has one and it is not the default of the collection's variables.
    type: int
  tcp_port:
    description: TCP port of the dataplane, if it has one and it is not the default.
    type: int
  vni:
    description: Network identifier of the dataplane, if it has one and it is not the default of the variables.
    type: int
  mtu:
    description: MTU that the pods shall have, or V(auto).
    type: str
    default: auto
  nexthop_objects:
    description: Whether routes to peers use nexthop objects.
    type: str
    choices: [auto, always, never]
    default: auto
  forward_accept:
    description: Whether M(podnet.fabric.forward_accept) will let pods through where iptables drops what is forwarded.
    type: str
    choices: [auto, always, never]
    default: auto
    version_added: "0.2.0"
  policy_backend:
    description: What enforces network policies; V(none) where there are none.
    type: str
    choices: [nftables, iptables, ebpf, none]
    default: nftables
  service_backend:
    description: What sends connections to services on; V(none) where there are none.
    type: str
    choices: [nftables, iptables, ebpf, none]
    default: none
    version_added: "0.2.0"
  cni_bin_dir:
    description:
      - Folder of the CNI plugins, or V(auto) for the first of C(/opt/cni/bin) and C(/usr/lib/cni) that has them.
    type: str
    default: auto
  cni_conf_dir:
    description: Folder of the CNI configurations.
    type: path
    default: /etc/cni/net.d
  cni_network:
    description: Name of the pod network, of which the file of its configuration has its name.
    type: str
    default: podnet
  cni_version:
    description: Version of the CNI specification that the plugins must speak.
    type: str
    default: 1.0.0
  cni_plugins:
    description: CNI plugins that the network needs beside C(bridge) and C(host-local).
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Look at the node
  podnet.fabric.node_facts:
    pools: [10.244.0.0/16, "fd00:10:244::/48"]

- name: Show what is in the way
  ansible.builtin.debug:
    msg: "{{ ansible_facts['podnet_node']['findings'] | selectattr('severity', 'eq', 'error') }}"
"""

RETURN = r"""
ansible_facts:
  description: What was found, under one name.
  returned: always
  type: dict
  contains:
    podnet_node:
      description: The node.
      type: dict
      contains:
        underlay:
          description: The node's addresses on the underlay, or none when they cannot be told (a finding says why).
          type: dict
          sample:
            interface: eth0
            address: 192.0.2.11
            family: 4
            prefixlen: 24
            mtu: 1500
            second: {address: "2001:db8::11", prefixlen: 64}
            overhead: 50
        dataplanes:
          description: The dataplanes that the node declares; two while it moves from one to the other.
          type: list
          elements: str
          sample: [vxlan]
        ra_uplinks:
          description: Interfaces whose IPv6 default route came by router advertisement.
          type: list
          elements: str
          sample: [eth0]
        features:
          description: Kernel features, and whether they work; none where that could not be tried.
          type: dict
          sample: {bridge: true, nexthop: true, nftables: true, veth: true, vxlan: true}
        tools:
          description: Tools and their paths, none for those that are missing.
          type: dict
          sample: {ip: /usr/sbin/ip, nft: /usr/sbin/nft}
        python:
          description: The interpreter that modules run in.
          type: dict
          sample: {executable: /usr/bin/python3, version: 3.11.2}
        cni:
          description: The folder of CNI plugins that will be used, what is in it, and what it speaks.
          type: dict
          sample:
            bin_dir: /usr/lib/cni
            plugins: {bridge: /usr/lib/cni/bridge}
            versions: {bridge: [1.0.0]}
            conflists: [87-podman.conflist]
        sysctl:
          description: The kernel's network settings that matter, as they are.
          type: dict
          sample: {net.ipv4.ip_forward: "0"}
        findings:
          description: What the operator should know, errors first.
          type: list
          elements: dict
          contains:
            check:
              description: Name of the check.
              type: str
              sample: tools
            severity:
              description: V(error), V(warning) or V(info).
              type: str
              sample: error
            found:
              description: What is there.
              type: str
              sample: no nft on PATH
            wanted:
              description: What should be there.
              type: str
              sample: nft
            cure:
              description: What to do about it.
              type: str
              sample: install nftables
            package:
              description: The Debian package that cures it, if one does.
              type: str
              sample: nftables
            text:
              description: All of it in one line.
              type: str
              sample: "tools: found no nft on PATH; wanted nft; cure: install nftables"
        blocks:
          description:
            - How full the node's blocks are, by the addresses that pods hold; leaked ones do not count. By it the plan
              sees which nodes are to get one more. Empty when the node declares no network, or is drained.
          type: list
          elements: dict
          sample:
            - {block: 10.244.1.0/24, used: 17, capacity: 253}
        missing_packages:
          description: Debian packages that would cure findings.
          type: list
          elements: str
          sample: [nftables]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.preflight.facts import node_facts

ARGUMENT_SPEC = {
    "underlay": {
        "type": "dict",
        "options": {
            "interface": {"type": "str", "default": "auto"},
            "address": {"type": "str", "default": "auto"},
            "second_address": {"type": "str", "default": "auto"},
        },
    },
    "towards": {"type": "list", "elements": "str", "default": []},
    "pools": {"type": "list", "elements": "str", "default": []},
    "bridge_name": {"type": "str", "default": "podnet0"},
    "dataplane": {
        "type": "str",
        "choices": ["vxlan", "geneve", "ipip", "wireguard", "host_gw", "bgp"],
        "default": "vxlan",
    },
    "devices": {"type": "list", "elements": "str", "default": []},
    "port": {"type": "int"},
    "tcp_port": {"type": "int"},
    "vni": {"type": "int"},
    "mtu": {"type": "str", "default": "auto"},
    "nexthop_objects": {"type": "str", "choices": ["auto", "always", "never"], "default": "auto"},
    "forward_accept": {"type": "str", "choices": ["auto", "always", "never"], "default": "auto"},
    "policy_backend": {"type": "str", "choices": ["nftables", "iptables", "ebpf", "none"], "default": "nftables"},
    "service_backend": {"type": "str", "choices": ["nftables", "iptables", "ebpf", "none"], "default": "none"},
    "cni_bin_dir": {"type": "str", "default": "auto"},
    "cni_conf_dir": {"type": "path", "default": "/etc/cni/net.d"},
    "cni_network": {"type": "str", "default": "podnet"},
    "cni_version": {"type": "str", "default": "1.0.0"},
    "cni_plugins": {"type": "list", "elements": "str", "default": []},
}


def main() -> None:
    """Look, and tell."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        facts = node_facts(module.params)
    except PodnetError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, ansible_facts={"podnet_node": facts})


if __name__ == "__main__":
    main()
