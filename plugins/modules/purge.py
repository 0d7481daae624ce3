#!/usr/bin/python
# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module podnet.fabric.purge."""

from __future__ import annotations

DOCUMENTATION = r"""
module: purge
short_description: Take everything of the pod network off a node
version_added: "0.1.0"
author: podnet.fabric authors (@podnet)
description:
  - Removes every kernel object, file and declaration of this collection from the node and puts back the kernel settings
    that it found. What does not carry its mark stays as it is.
  - It works from the marks as well as from the declarations, so a half-done set-up is removed too.
extends_documentation_fragment:
  - podnet.fabric.attributes
options:
  force:
    description: Remove the pod bridge although interfaces of pods that we did not attach are still on it.
    type: bool
    default: false
  kinds:
    description: >-
      Take only these dataplanes off, with what belongs to them, and leave all else. Left out, everything goes.
    type: list
    elements: str
    choices: [vxlan, geneve, ipip, wireguard, host_gw, bgp]
    version_added: "0.2.0"
  replaced:
    description: >-
      With O(kinds), blocks to which the dataplane that comes has routes. It has replaced those of the other in place,
      so that they are not there to be removed. Check mode, in which they still are, does not foretell their removal.
    type: list
    elements: str
    default: []
    version_added: "0.2.0"
"""

EXAMPLES = r"""
- name: See what would go
  podnet.fabric.purge:
  check_mode: true
  diff: true

- name: Take the pod network off this node
  podnet.fabric.purge:

- name: Take off what carried the packets before
  podnet.fabric.purge:
    kinds: [vxlan]
    replaced: [10.244.1.0/24, 10.244.2.0/24]
"""

RETURN = r"""
kinds:
  description: For each kind that lost something, its objects before and after, and the operations.
  returned: success
  type: dict
  sample:
    bridge:
      before:
        links: [{name: podnet0, type: bridge}]
      after:
        links: []
      operations:
        links: {delete: 1}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.ownership import DATAPLANES
from ansible_collections.podnet.fabric.plugins.module_utils.purge import purge
from ansible_collections.podnet.fabric.plugins.module_utils.resource_module import (
    differences,
    in_turn,
    refuse,
    report,
    require_root,
)


def main() -> None:
    """Parse, purge, exit."""
    module = AnsibleModule(
        argument_spec={
            "force": {"type": "bool", "default": False},
            "kinds": {"type": "list", "elements": "str", "choices": list(DATAPLANES)},
            "replaced": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    try:
        require_root()
        with in_turn(module, module.check_mode), Host(module.params["force"]) as host:
            results = [
                (kind, result)
                for kind, result in purge(host, module.check_mode, module.params["kinds"], module.params["replaced"])
                if result.changed
            ]
    except (PodnetError, OSError) as error:
        refuse(module, error)
    else:
        kinds = {kind.name: report(kind, result, diff=False) for kind, result in results}
        diff = [entry for kind, result in results for entry in differences(kind, result)]
        module.exit_json(changed=bool(results), kinds=kinds, diff=diff)


if __name__ == "__main__":
    main()
