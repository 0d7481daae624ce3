#!/usr/bin/python
# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module podnet.fabric.tunnel_filter."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tunnel_filter
short_description: Tunnel packets come from peers only, and pods send none of their own
version_added: "0.2.0"
author: podnet.fabric authors (@podnet)
description:
  - Declares from which addresses a node takes the packets of a tunnel. What arrives from any other one is dropped
    before the tunnel sees it. The node's own packets, over the loopback interface, are not looked at.
  - Pods may not send such packets themselves. Whatever their destination is, they are dropped where they come in from
    the pod bridge; outgoing NAT would else give them the node's own address, which all its peers trust. So a pod cannot
    use the tunnel's UDP port of any host, nor IP in IP, for purposes of its own.
  - What passes between pods of one node is only bridged. Rules do not see it unless C(br_netfilter) hands it over
    (C(bridge-nf-call-iptables)), and this module does not need that, since no tunnel of a node receives it.
  - It lives in the nftables table C(inet podnet), which is ours. Peers are elements of hashed sets, so a packet costs
    the same at any number of them, and a change of peers is one transaction that touches the changed ones only.
  - Each rule counts what it drops; C(nft list table inet podnet) shows it.
extends_documentation_fragment:
  - podnet.fabric.attributes
requirements:
  - nftables 0.9.7 or newer
options:
  name:
    description:
      - The tunnel's name, 1 to 32 letters, digits, C(-) and C(_). Several tunnels stand side by side, as they do while
        a cluster moves from one dataplane to another.
    type: str
    required: true
  protocol:
    description:
      - What its packets look like from outside. V(udp) is for VXLAN, Geneve and WireGuard.
      - V(ipip) is IP in IP, protocol 4 over IPv4, protocols 4 and 41 over IPv6. Tunnels of IPv6 in IPv4, which the pod
        network does not use, are left to the node, but not to pods.
    type: str
    choices: [udp, ipip]
    default: udp
  port:
    description: >-
      Its UDP port. Required with O(protocol=udp) when O(state=present), and not allowed with O(protocol=ipip).
    type: int
  peers:
    description:
      - Who may send. Each entry is an address, IPv4 or IPv6, or a dictionary with C(underlay) and, where the peer has
        an address of the other family as well, C(second); other keys of it are not read, so the peers of
        M(podnet.fabric.vxlan) fit as they are.
      - A peer sends from one of these addresses or is not heard. One that is behind NAT has the address that it bears
        on arrival.
      - It is not checked option by option, since there may be thousands; what is wrong is reported all at once.
    type: raw
    default: []
  bridge:
    description: The bridge that pods hang on.
    type: str
    default: podnet0
  exclusive:
    description: With O(state=present), take back every other tunnel that this module has declared on the node.
    type: bool
    default: false
  state:
    description: V(present) declares and applies, V(absent) takes back what was declared.
    type: str
    choices: [present, absent]
    default: present
notes:
  - Every tunnel on this port is meant. A VXLAN or Geneve device of somebody else that uses it too is an error
    that names it, and so is an IP in IP device of somebody else that is up with O(protocol=ipip). Devices in other
    network namespaces are not seen (those of Docker's overlay networks, which use port 4789).
seealso:
  - module: podnet.fabric.vxlan
"""

EXAMPLES = r"""
- name: VXLAN from two peers only
  podnet.fabric.tunnel_filter:
    name: vxlan
    port: 4789
    peers:
      - 192.0.2.12
      - 192.0.2.13

- name: IP in IP over both families, from peers that have an address of each
  podnet.fabric.tunnel_filter:
    name: ipip
    protocol: ipip
    peers:
      - {name: node2, underlay: 192.0.2.12, second: "2001:db8::12"}

- name: Take one back
  podnet.fabric.tunnel_filter:
    name: vxlan
    state: absent
"""

RETURN = r"""
before:
  description: What was in the charge of this module on the node, facility to a list of objects.
  returned: success
  type: dict
  sample:
    nftables: []
after:
  description: The same after the change; in check mode as predicted.
  returned: success
  type: dict
  sample:
    nftables:
      - chain: chain tunnel-input
        type: filter
        hook: input
        priority: -300
        rules: 'iifname != "lo" udp dport 4789 ip saddr != @tunnel-vxlan-peers4 counter drop'
      - {set: set tunnel-vxlan-peers4, type: ipv4_addr, elements: "192.0.2.12,192.0.2.13"}
operations:
  description: How many objects were changed, facility to verb to count.
  returned: success
  type: dict
  sample:
    nftables: {create: 5}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podnet.fabric.plugins.module_utils.resource_module import run
from ansible_collections.podnet.fabric.plugins.module_utils.resources.tunnel_filter import KIND


def main() -> None:
    """Parse, call the resource, exit."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "protocol": {"type": "str", "choices": ["udp", "ipip"], "default": "udp"},
            "port": {"type": "int"},
            "peers": {"type": "raw", "default": []},
            "bridge": {"type": "str", "default": "podnet0"},
            "exclusive": {"type": "bool", "default": False},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    wanted = module.params if module.params["state"] == "present" else None
    run(module, KIND, module.params["name"], wanted, exclusive=module.params["exclusive"])


if __name__ == "__main__":
    main()
