#!/usr/bin/python
# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module podnet.fabric.persist."""

from __future__ import annotations

DOCUMENTATION = r"""
module: persist
short_description: Have a node bring its pod network back after a reboot
version_added: "0.2.0"
author: podnet.fabric authors (@podnet)
description:
  - Puts the program C(podnet-node) on the node, one file that needs nothing but Python. It is built there from the code
    of this collection, and C(podnet-node restore) brings the node to what it declares.
  - Where the node has systemd, a unit runs it at boot, before container runtimes start and after packet filters have
    been loaded. Other init systems run C(/usr/local/sbin/podnet-node restore --wait 120) from a script of their own.
  - Tells systemd-networkd, udev and NetworkManager, each where it is there, to leave the interfaces of the pod network
    alone, and systemd-networkd not to remove routes and rules that it has not made. They read that when they start.
extends_documentation_fragment:
  - podnet.fabric.attributes
options:
  interfaces:
    description: The interfaces of the pod network.
    type: list
    elements: str
    default: [podnet0]
  self_heal:
    description: >-
      Seconds after which a timer has the node look again and bring back what is not as declared; V(0) is never.
    type: int
    default: 0
  service_health:
    description: >-
      Seconds after which a timer has the node check the backends of services that ask for it with a
      C(readinessProbe), see M(podnet.fabric.service_health); V(0) is never.
    type: int
    default: 0
  state:
    description: V(present) declares and applies, V(absent) takes back what was declared.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: podnet.fabric.drift_info
  - module: podnet.fabric.service_health
"""

EXAMPLES = r"""
- name: Come back after a reboot
  podnet.fabric.persist:
    interfaces: [podnet0, podnet-vx]

- name: And look every five minutes
  podnet.fabric.persist:
    interfaces: [podnet0, podnet-vx]
    self_heal: 300
"""

RETURN = r"""
before:
  description: What was in the charge of this module on the node, facility to a list of objects.
  returned: success
  type: dict
  sample:
    programs: []
    files: []
    enablements: []
after:
  description: The same after the change; in check mode as predicted.
  returned: success
  type: dict
  sample:
    programs:
      - path: /usr/local/sbin/podnet-node
        mode: "0755"
        sha256: 9b7e62a1e8a2a1bb0b0ad3a1bfb3d0f6d2d3b2b3a1a1e8a2a1bb0b0ad3a1bfb3
operations:
  description: How many objects were changed, facility to verb to count.
  returned: success
  type: dict
  sample:
    programs: {create: 1}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podnet.fabric.plugins.module_utils.resource_module import run
from ansible_collections.podnet.fabric.plugins.module_utils.resources.persist import KIND


def main() -> None:
    """Parse, call the resource, exit."""
    module = AnsibleModule(
        argument_spec={
            "interfaces": {"type": "list", "elements": "str", "default": ["podnet0"]},
            "self_heal": {"type": "int", "default": 0},
            "service_health": {"type": "int", "default": 0},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    wanted = module.params if module.params["state"] == "present" else None
    run(module, KIND, "node", wanted)


if __name__ == "__main__":
    main()
