#!/usr/bin/python
# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module podnet.fabric.route."""

from __future__ import annotations

DOCUMENTATION = r"""
module: route
short_description: Routes through gateways
version_added: "0.1.0"
author: podnet.fabric authors (@podnet)
description:
  - Declares a named group of unicast routes on the node and brings the kernel to it in one call.
  - The routes carry protocol 84. Those of that protocol that no group declares any more are removed; a route of another
    protocol with the same destination, metric and table is an error that names it.
extends_documentation_fragment:
  - podnet.fabric.attributes
options:
  name:
    description: The group's name.
    type: str
    required: true
  routes:
    description:
      - The routes, each a dictionary with C(dst) (prefix), C(via) (gateway) and C(dev), and at will C(onlink) (bool),
        C(metric) and C(table).
    type: raw
    default: []
  nexthop_objects:
    description:
      - Whether routes use nexthop objects (Linux 5.3), which keeps adding routes linear in their number.
      - V(auto) uses them where the kernel has them and says so where it has not; V(always) fails there;
        V(never) writes the gateway into each route.
    type: str
    choices: [auto, always, never]
    default: auto
  state:
    description: V(present) declares and applies, V(absent) takes back what was declared.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: The block of a node on the same subnet
  podnet.fabric.route:
    name: peers
    routes:
      - {dst: 10.244.1.0/24, via: 192.0.2.12, dev: eth0}
      - {dst: "fd00:10:244:1::/64", via: "2001:db8::12", dev: eth0}

- name: Take the group back
  podnet.fabric.route:
    name: peers
    state: absent
"""

RETURN = r"""
before:
  description: What was in the charge of this module on the node, facility to a list of objects.
  returned: success
  type: dict
  sample:
    nexthops: []
    routes: []
after:
  description: The same after the change; in check mode as predicted.
  returned: success
  type: dict
  sample:
    nexthops:
      - {id: 1409286144, via: 192.0.2.12, dev: eth0, proto: podnet}
    routes:
      - {dst: 10.244.1.0/24, nhid: 1409286144, proto: podnet}
operations:
  description: How many objects were changed, facility to verb to count.
  returned: success
  type: dict
  sample:
    nexthops: {create: 1}
    routes: {create: 1}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podnet.fabric.plugins.module_utils.resource_module import run
from ansible_collections.podnet.fabric.plugins.module_utils.resources.route import KIND


def main() -> None:
    """Parse, call the resource, exit."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "routes": {"type": "raw", "default": []},
            "nexthop_objects": {"type": "str", "choices": ["auto", "always", "never"], "default": "auto"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    wanted = module.params if module.params["state"] == "present" else None
    run(module, KIND, module.params["name"], wanted)


if __name__ == "__main__":
    main()
