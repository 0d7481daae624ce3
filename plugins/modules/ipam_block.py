#!/usr/bin/python
# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module podnet.fabric.ipam_block."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ipam_block
short_description: The address blocks of a node
version_added: "0.1.0"
author: podnet.fabric authors (@podnet)
description:
  - Declares the blocks that a node owns. Behind each stands a blackhole route of metric 65535, so that a packet to an
    address that no pod has ends at the node and does not travel in circles.
  - It also names protocol 84 C(podnet) for C(ip route) by a file in C(/etc/iproute2/rt_protos.d).
extends_documentation_fragment:
  - podnet.fabric.attributes
options:
  blocks:
    description: The node's blocks in CIDR notation. Required when O(state=present).
    type: list
    elements: str
  state:
    description: V(present) declares and applies, V(absent) takes back what was declared.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: A block of each family
  podnet.fabric.ipam_block:
    blocks:
      - 10.244.1.0/24
      - fd00:10:244:1::/64

- name: Take them back
  podnet.fabric.ipam_block:
    state: absent
"""

RETURN = r"""
before:
  description: What was in the charge of this module on the node, facility to a list of objects.
  returned: success
  type: dict
  sample:
    files: []
    routes: []
after:
  description: The same after the change; in check mode as predicted.
  returned: success
  type: dict
  sample:
    files:
      - {path: /etc/iproute2/rt_protos.d/podnet.conf, mode: "0644"}
    routes:
      - {dst: 10.244.1.0/24, type: blackhole, metric: 65535, proto: podnet}
operations:
  description: How many objects were changed, facility to verb to count.
  returned: success
  type: dict
  sample:
    files: {create: 1}
    routes: {create: 1}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podnet.fabric.plugins.module_utils.resource_module import run
from ansible_collections.podnet.fabric.plugins.module_utils.resources.ipam_block import KIND


def main() -> None:
    """Parse, call the resource, exit."""
    module = AnsibleModule(
        argument_spec={
            "blocks": {"type": "list", "elements": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ["blocks"])],
        supports_check_mode=True,
    )
    wanted = module.params if module.params["state"] == "present" else None
    run(module, KIND, "node", wanted)


if __name__ == "__main__":
    main()
