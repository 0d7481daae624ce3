#!/usr/bin/python
# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module podnet.fabric.drain."""

from __future__ import annotations

DOCUMENTATION = r"""
module: drain
short_description: Let a node take no new pods, and tell which are still there
version_added: "0.2.0"
author: podnet.fabric authors (@podnet)
description:
  - Declares the networks of M(podnet.fabric.cni_network) as giving no new addresses. A runtime that attaches a pod
    hears C(no IP addresses available in range set), and M(podnet.fabric.pod) that the node is drained.
  - Pods that are attached go on. They can be detached, by whatever runtime, since the network's configuration stays.
  - It is declared on the node, and stays until it is ended, by this module or by
    O(podnet.fabric.cni_network#module:drained). A node that declares no network has nothing to drain.
extends_documentation_fragment:
  - podnet.fabric.attributes
options:
  drained:
    description: Whether the node takes no new pods.
    type: bool
    default: true
  timeout:
    description: Seconds to wait at most until no pod is there any more. Check mode does not wait.
    type: int
    default: 0
seealso:
  - module: podnet.fabric.cni_network
  - module: podnet.fabric.ipam_info
"""

EXAMPLES = r"""
- name: No new pods here, and a minute for those that are there
  podnet.fabric.drain:
    timeout: 60
  register: drained

- name: Stop where some are left
  ansible.builtin.assert:
    that: drained.pods | length == 0

- name: New pods again
  podnet.fabric.drain:
    drained: false
"""

RETURN = r"""
networks:
  description: The networks that the node declares.
  returned: success
  type: list
  elements: str
  sample: [podnet]
pods:
  description: Pods that hold addresses of the node, of whatever runtime, when the module ended.
  returned: success
  type: list
  elements: dict
  sample:
    - {network: podnet, name: default/web, addresses: [10.244.1.2, "fd00:10:244:1::2"]}
leaked:
  description: Addresses that pods left behind; M(podnet.fabric.ipam_gc) frees them.
  returned: success
  type: list
  elements: str
  sample: []
before:
  description: What was in the charge of M(podnet.fabric.cni_network) on the node.
  returned: success
  type: dict
  sample:
    files: []
after:
  description: The same after the change; in check mode as predicted.
  returned: success
  type: dict
  sample:
    files: []
operations:
  description: How many objects were changed, facility to verb to count.
  returned: success
  type: dict
  sample:
    files: {replace: 1}
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podnet.fabric.plugins.module_utils.cni import residents
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import reconcile
from ansible_collections.podnet.fabric.plugins.module_utils.resource_module import (
    in_turn,
    refuse,
    report,
    require_root,
)
from ansible_collections.podnet.fabric.plugins.module_utils.resources.cni_network import KIND, with_drain

POLL_SECONDS = 1.0


def main() -> None:
    """Parse, declare, wait, exit."""
    module = AnsibleModule(
        argument_spec={"drained": {"type": "bool", "default": True}, "timeout": {"type": "int", "default": 0}},
        supports_check_mode=True,
    )
    check, timeout = module.check_mode, module.params["timeout"]
    try:
        require_root()
        with in_turn(module, check), Host() as host:
            declarations = Declarations()
            items = with_drain(declarations.read(KIND.name), module.params["drained"])
            result = reconcile(KIND, items, host, declarations, check)
        # Not under the lock: what is waited for may need it.
        deadline = time.monotonic() + (0 if check else timeout)
        found = residents.look(items)
        while found.pods and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            found = residents.look(items)
    except (PodnetError, OSError) as error:
        refuse(module, error)
    else:
        module.exit_json(
            networks=list(items), pods=found.pods, leaked=found.leaked, **report(KIND, result, module._diff)
        )


if __name__ == "__main__":
    main()
