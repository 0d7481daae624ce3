#!/usr/bin/python
# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module podnet.fabric.bgp_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bgp_info
short_description: Read how the BGP sessions of a node are
version_added: "0.1.0"
author: podnet.fabric authors (@podnet)
description:
  - Reads the state of each session that M(podnet.fabric.bgp) has declared on the node, the routes that BIRD has heard,
    and which peers' blocks have no route by BGP in the kernel.
  - Reads only.
extends_documentation_fragment: [podnet.fabric.attributes]
attributes:
  check_mode:
    description: Reads only, so check mode makes no difference.
  diff_mode:
    description: Changes nothing.
    support: none
options:
  wait:
    description: Seconds to wait, at most, until every session is established and every peer's block has a route.
    type: int
    default: 0
  required:
    description: Fail, naming each, when after the waiting something is not as declared.
    type: bool
    default: false
seealso:
  - module: podnet.fabric.bgp
"""

EXAMPLES = r"""
- name: How are the sessions?
  podnet.fabric.bgp_info:
  register: bgp

- name: Wait for them, and stop where one does not come up
  podnet.fabric.bgp_info:
    wait: 30
    required: true
"""

RETURN = r"""
declared:
  description: Whether BGP is declared on the node.
  returned: success
  type: bool
  sample: true
running:
  description: Whether our BIRD runs.
  returned: success
  type: bool
  sample: true
router_id:
  description: The node's router id. Null when BGP is not declared.
  returned: success
  type: str
  sample: 192.0.2.11
asn:
  description: The node's AS number. Null when BGP is not declared.
  returned: success
  type: int
  sample: 64512
sessions:
  description: The declared sessions. C(state) is BIRD's, or V(absent) when BIRD does not know it.
  returned: success
  type: list
  elements: dict
  sample:
    - name: node2.v4
      peer: node2
      neighbour: 192.0.2.12
      family: 4
      asn: 64512
      relation: internal
      state: Established
      since: "12:01:07.113"
      imported: 1
      exported: 1
      password: true
      error: null
routes:
  description: The routes that were heard in them.
  returned: success
  type: list
  elements: dict
  sample:
    - dst: 10.244.1.0/24
      type: unicast
      session: node2.v4
      best: true
      via: [{via: 192.0.2.12, dev: eth0}]
missing:
  description: Blocks of peers to which no route by BGP is in the kernel.
  returned: success
  type: list
  elements: dict
  sample: []
problems:
  description: All that is not as declared, a line each.
  returned: success
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podnet.fabric.plugins.module_utils.bgp import sessions
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.resource_module import refuse, require_root


def main() -> None:
    """Parse, look, exit."""
    module = AnsibleModule(
        argument_spec={"wait": {"type": "int", "default": 0}, "required": {"type": "bool", "default": False}},
        supports_check_mode=True,
    )
    try:
        require_root()
        with Host() as host:
            seen = sessions.wait(host, Declarations(), module.params["wait"])
    except (PodnetError, OSError) as error:
        refuse(module, error)
    else:
        if module.params["required"] and seen["problems"]:
            module.fail_json(msg="\n".join(seen["problems"]), **seen)
        module.exit_json(changed=False, **seen)


if __name__ == "__main__":
    main()
