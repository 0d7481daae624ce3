#!/usr/bin/python
# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module podnet.fabric.ipam_pool."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ipam_pool
short_description: The pools of the pod network on a node, with outgoing NAT
version_added: "0.1.0"
author: podnet.fabric authors (@podnet)
description:
  - Declares which addresses belong to the pod network, and programs outgoing NAT for what leaves it, and only for that.
  - Packets from a pool with O(pools[].nat_outgoing) to an address outside of all pools are masqueraded, multicast
    excepted. It lives in the nftables table C(inet podnet), which is ours.
extends_documentation_fragment:
  - podnet.fabric.attributes
requirements:
  - nftables 0.9.7 or newer
options:
  pools:
    description: All pools of the cluster. Required when O(state=present).
    type: list
    elements: dict
    suboptions:
      name:
        description: The pool's name.
        type: str
        required: true
      cidr:
        description: Its prefix, IPv4 or IPv6. Pools have no address in common.
        type: str
        required: true
      nat_outgoing:
        description: Whether packets from it to anywhere outside of the pools bear the node's address.
        type: bool
        default: true
  state:
    description: V(present) declares and applies, V(absent) takes back what was declared.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: A pool of each family
  podnet.fabric.ipam_pool:
    pools:
      - {name: default, cidr: 10.244.0.0/16}
      - {name: default6, cidr: "fd00:10:244::/48"}

- name: Take them back
  podnet.fabric.ipam_pool:
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
      - {set: set nat4, type: ipv4_addr, elements: 10.244.0.0/16}
      - {set: set pools4, type: ipv4_addr, elements: 10.244.0.0/16}
operations:
  description: How many objects were changed, facility to verb to count.
  returned: success
  type: dict
  sample:
    nftables: {create: 6}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podnet.fabric.plugins.module_utils.resource_module import run
from ansible_collections.podnet.fabric.plugins.module_utils.resources.ipam_pool import KIND


def main() -> None:
    """Parse, call the resource, exit."""
    module = AnsibleModule(
        argument_spec={
            "pools": {
                "type": "list",
                "elements": "dict",
                "options": {
                    "name": {"type": "str", "required": True},
                    "cidr": {"type": "str", "required": True},
                    "nat_outgoing": {"type": "bool", "default": True},
                },
            },
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ["pools"])],
        supports_check_mode=True,
    )
    wanted = module.params if module.params["state"] == "present" else None
    run(module, KIND, "node", wanted)


if __name__ == "__main__":
    main()
