#!/usr/bin/python
# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module podnet.fabric.ipam_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ipam_info
short_description: Read who has which pod addresses of a node, and which are leaked
version_added: "0.2.0"
author: podnet.fabric authors (@podnet)
description:
  - Reads the addresses that host-local holds for the networks of M(podnet.fabric.cni_network), and looks for each of
    them into the network namespaces of the node.
  - Reads only. Networks of others are left alone.
extends_documentation_fragment: [podnet.fabric.attributes]
attributes:
  check_mode:
    description: Reads only, so check mode makes no difference.
  diff_mode:
    description: Changes nothing.
    support: none
options:
  grace:
    description: Seconds for which a new reservation counts as that of a pod on its way.
    type: float
    default: 60
seealso:
  - module: podnet.fabric.ipam_gc
"""

EXAMPLES = r"""
- name: Who has which address?
  podnet.fabric.ipam_info:
  register: ipam
"""

RETURN = r"""
networks:
  description:
    - The networks with their blocks and addresses. The C(verdict) on an address is V(held), V(leaked) or V(unknown).
      C(pod) and C(namespace) are null for pods that M(podnet.fabric.pod) did not attach.
  returned: success
  type: list
  elements: dict
  sample:
    - network: podnet
      bridge: podnet0
      blocks:
        - block: 10.244.1.0/24
          capacity: 253
          used: 1
          percent: 0.4
          addresses:
            - address: 10.244.1.2
              container_id: default_web
              ifname: eth0
              pod: web
              namespace: default
              verdict: held
              reason: an interface in /run/netns/web has it
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podnet.fabric.plugins.module_utils.cni import leaks
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.resource_module import refuse, require_root


def main() -> None:
    """Parse, look, exit."""
    module = AnsibleModule(argument_spec={"grace": {"type": "float", "default": 60}}, supports_check_mode=True)
    try:
        require_root()
        items, grace = Declarations().read("cni_network"), module.params["grace"]
        sight = leaks.look()
        networks = [leaks.survey(name, item, sight, grace) for name, item in items.items()]
    except (PodnetError, OSError) as error:
        refuse(module, error)
    else:
        module.exit_json(changed=False, networks=networks)


if __name__ == "__main__":
    main()
