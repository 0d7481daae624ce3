#!/usr/bin/python
# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module podnet.fabric.sysctl."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sysctl
short_description: Kernel settings of the network, with an exact undo
version_added: "0.1.0"
author: podnet.fabric authors (@podnet)
description:
  - Sets values below C(net.), keeps them in C(/etc/sysctl.d/84-podnet.conf) for the next boot, and remembers what they
    were, together with every setting that the kernel changes along with them, so that O(state=absent) puts all back.
  - Other modules for sysctls know no former value, which is why this collection has one of its own.
extends_documentation_fragment:
  - podnet.fabric.attributes
options:
  settings:
    description: Setting to value. Required when O(state=present).
    type: dict
  state:
    description: V(present) declares and applies, V(absent) takes back what was declared.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: Forward packets
  podnet.fabric.sysctl:
    settings:
      net.ipv4.ip_forward: 1
      net.ipv6.conf.all.forwarding: 1

- name: Put back what was
  podnet.fabric.sysctl:
    state: absent
"""

RETURN = r"""
before:
  description: What was in the charge of this module on the node, facility to a list of objects.
  returned: success
  type: dict
  sample:
    sysctls:
      - {key: net.ipv4.ip_forward, "=": "0"}
after:
  description: The same after the change; in check mode as predicted.
  returned: success
  type: dict
  sample:
    sysctls:
      - {key: net.ipv4.ip_forward, "=": "1"}
operations:
  description: How many objects were changed, facility to verb to count.
  returned: success
  type: dict
  sample:
    sysctls: {replace: 1}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podnet.fabric.plugins.module_utils.resource_module import run
from ansible_collections.podnet.fabric.plugins.module_utils.resources.sysctl import KIND


def main() -> None:
    """Parse, call the resource, exit."""
    module = AnsibleModule(
        argument_spec={
            "settings": {"type": "dict"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ["settings"])],
        supports_check_mode=True,
    )
    wanted = module.params if module.params["state"] == "present" else None
    run(module, KIND, "node", wanted)


if __name__ == "__main__":
    main()
