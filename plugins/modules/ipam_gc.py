#!/usr/bin/python
# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module podnet.fabric.ipam_gc."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ipam_gc
short_description: Free the pod addresses of a node whose pods are gone
version_added: "0.2.0"
author: podnet.fabric authors (@podnet)
description:
  - Frees what M(podnet.fabric.ipam_info) calls leaked, judged anew under the lock of host-local. What is held or
    unknown stays, and so do the networks of others.
extends_documentation_fragment: [podnet.fabric.attributes]
options:
  grace:
    description: Seconds for which a new reservation counts as that of a pod on its way. It is never freed.
    type: float
    default: 60
seealso:
  - module: podnet.fabric.ipam_info
"""

EXAMPLES = r"""
- name: Free the addresses of pods that are gone
  podnet.fabric.ipam_gc:
"""

RETURN = r"""
freed:
  description: The addresses that were freed, in check mode those that would be.
  returned: success
  type: list
  elements: dict
  sample:
    - network: podnet
      address: 10.244.1.2
      container_id: default_web
      ifname: eth0
      pod: web
      namespace: default
      verdict: leaked
      reason: no network namespace has it
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podnet.fabric.plugins.module_utils.cni import leaks
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.resource_module import in_turn, refuse, require_root


def main() -> None:
    """Parse, free, exit."""
    module = AnsibleModule(argument_spec={"grace": {"type": "float", "default": 60}}, supports_check_mode=True)
    check, grace = module.check_mode, module.params["grace"]
    freed = []
    try:
        require_root()
        with in_turn(module, check):
            for name, item in Declarations().read("cni_network").items():
                if not leaks.store(name, item).is_dir():
                    continue
                if check:
                    freed += leaks.leaked(leaks.survey(name, item, leaks.look(), grace))
                else:
                    freed += leaks.free(name, item, grace)[1]
    except (PodnetError, OSError) as error:
        refuse(module, error)
    else:
        before = "".join(f"{one['network']}: {one['address']} {one['container_id']}\n" for one in freed)
        diff = {"before": before, "after": "", "before_header": "leaked", "after_header": "leaked"}
        module.exit_json(changed=bool(freed), freed=freed, **({"diff": diff} if module._diff and freed else {}))


if __name__ == "__main__":
    main()
