#!/usr/bin/python
# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module podnet.fabric.drift_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: drift_info
short_description: What differs between a node and its declarations
version_added: "0.2.0"
author: podnet.fabric authors (@podnet)
description:
  - Compares everything that the node declares (C(/etc/podnet/node.d)) with the kernel and the files, and lists what
    differs by object and field. Objects of this collection that nobody declared are listed too.
  - Needs neither the inventory nor a plan, and changes nothing.
extends_documentation_fragment: [podnet.fabric.attributes]
attributes:
  check_mode:
    description: Reads only, so check mode makes no difference.
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Compare the node with what it declares
  podnet.fabric.drift_info:
  register: drift

- name: Stop where they differ
  ansible.builtin.assert:
    that: not drift.drifted
"""

RETURN = r"""
drifted:
  description: Whether there is any difference or problem.
  returned: success
  type: bool
  sample: true
kinds:
  description: The kinds that the node declares.
  returned: success
  type: list
  elements: str
  sample: [bridge, vxlan]
differences:
  description: >-
    A line for each field that differs. For a whole object that is missing or that nobody declared, C(field) is empty
    and C(found) or C(declared) is null.
  returned: success
  type: list
  elements: dict
  sample:
    - {kind: bridge, facility: links, object: podnet0, field: mtu, declared: 1450, found: 1400}
    - {kind: vxlan, facility: routes, object: 10.244.1.0/24, field: "", declared: 10.244.1.0/24 nhid 1, found: null}
problems:
  description: What keeps a kind from being compared, a line each, a damaged declaration or an object of somebody else.
  returned: success
  type: list
  elements: str
  sample: []
unhealthy:
  description: >-
    Backends of services that fail their checks, a line each. That they are out is as it should be, and no difference.
  returned: success
  type: list
  elements: str
  sample: ["service shop/web: backend 10.244.1.2:8080 is out: Connection refused"]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.drift import drift
from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.resource_module import refuse, require_root
from ansible_collections.podnet.fabric.plugins.module_utils.service_health import told


def main() -> None:
    """Parse, compare, exit."""
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    declarations = Declarations()
    try:
        require_root()
        with Host() as host:
            differences, problems = drift(host, declarations)
        unhealthy = [] if problems else told(declarations)
    except (PodnetError, OSError) as error:
        refuse(module, error)
    else:
        module.exit_json(
            changed=False,
            drifted=bool(differences or problems),
            kinds=declarations.kinds(),
            differences=[difference._asdict() for difference in differences],
            problems=problems,
            unhealthy=unhealthy,
        )


if __name__ == "__main__":
    main()
