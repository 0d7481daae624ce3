#!/usr/bin/python
# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module podnet.fabric.bridge."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bridge
short_description: The pod bridge of a node
version_added: "0.1.0"
author: podnet.fabric authors (@podnet)
description:
  - Declares a Linux bridge with its MTU, MAC and gateway addresses on the node and brings the kernel to it.
  - The addresses of the bridge are all in its charge, but for the link-local ones that the kernel makes.
extends_documentation_fragment:
  - podnet.fabric.attributes
options:
  name:
    description: The bridge's name, at most 15 bytes.
    type: str
    default: podnet0
  mtu:
    description: Its MTU in bytes, 1280 to 65535. Required when O(state=present).
    type: int
  mac:
    description: Its MAC address, in any case of letters. Left out, one is derived from the node's host name.
    type: str
  addresses:
    description: The gateway addresses of the node's blocks in CIDR notation, IPv4 and IPv6.
    type: list
    elements: str
    default: []
  exclusive:
    description: >-
      With O(state=present), take back every other bridge that this module has declared on the node. The role
      P(podnet.fabric.bridge#role) sets it, so that a new C(podnet_bridge_name) leaves nothing of the former one.
    type: bool
    default: false
  force:
    description: With O(state=absent), remove the bridge although interfaces of pods are still attached to it.
    type: bool
    default: false
  state:
    description: V(present) declares and applies, V(absent) takes back what was declared.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: The pod bridge with both families
  podnet.fabric.bridge:
    mtu: 1450
    addresses:
      - 10.244.1.1/24
      - fd00:10:244:1::1/64

- name: Take it away again
  podnet.fabric.bridge:
    state: absent
"""

RETURN = r"""
before:
  description: What was in the charge of this module on the node, facility to a list of objects.
  returned: success
  type: dict
  sample:
    links: []
    addresses: []
after:
  description: The same after the change; in check mode as predicted.
  returned: success
  type: dict
  sample:
    links:
      - {name: podnet0, type: bridge, address: "02:7c:1e:aa:00:01", mtu: 1450, alias: "podnet:bridge", state: up}
    addresses:
      - {address: 10.244.1.1/24, dev: podnet0}
operations:
  description: How many objects were changed, facility to verb to count.
  returned: success
  type: dict
  sample:
    links: {create: 1}
    addresses: {create: 1}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podnet.fabric.plugins.module_utils.resource_module import run
from ansible_collections.podnet.fabric.plugins.module_utils.resources.bridge import KIND


def main() -> None:
    """Parse, call the resource, exit."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "default": "podnet0"},
            "mtu": {"type": "int"},
            "mac": {"type": "str"},
            "addresses": {"type": "list", "elements": "str", "default": []},
            "exclusive": {"type": "bool", "default": False},
            "force": {"type": "bool", "default": False},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ["mtu"])],
        supports_check_mode=True,
    )
    wanted = module.params if module.params["state"] == "present" else None
    run(module, KIND, module.params["name"], wanted, force=module.params["force"], exclusive=module.params["exclusive"])


if __name__ == "__main__":
    main()
