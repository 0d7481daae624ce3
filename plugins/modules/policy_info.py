#!/usr/bin/python
# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module podnet.fabric.policy_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: policy_info
short_description: Read what each network policy of a node has let through, and what was denied to each pod
version_added: "0.2.0"
author: podnet.fabric authors (@podnet)
description:
  - Reads what the rules of M(podnet.fabric.policy) have counted, whichever packet filter enforces them.
  - Of what policies allow the first packets of each flow are counted, up to the first reply, and with eBPF the very
    first one alone. A flow that several policies allow is counted of the first of them. Of what is denied every packet
    is counted, by the pod whose policies deny it.
  - With nftables the counts of a policy stay while others, or pods, come and go; those of pods stay as long as the pod
    is under policies. With iptables they begin anew when a pod comes to the policy or goes. With eBPF they stay as long
    as the policies that select the same pod, and what they resolve to, stay.
  - With eBPF, and where more than 16 policies select a pod, these have one count together.
  - Reads only.
extends_documentation_fragment: [podnet.fabric.attributes]
attributes:
  check_mode:
    description: Reads only, so check mode makes no difference.
  diff_mode:
    description: Changes nothing.
    support: none
seealso:
  - module: podnet.fabric.policy
"""

EXAMPLES = r"""
- name: What have the policies done?
  podnet.fabric.policy_info:
  register: counted
"""

RETURN = r"""
backends:
  description: What enforces the policies, by the name of the declaration.
  returned: success
  type: dict
  sample: {podnet: nftables}
allowed:
  description: By policies and direction the first packets of flows that they allowed, and the bytes of these.
  returned: success
  type: list
  elements: dict
  sample:
    - {policies: [shop/database], direction: Ingress, packets: 12, bytes: 720}
denied:
  description: By pod and direction the packets that were denied, and their bytes.
  returned: success
  type: list
  elements: dict
  sample:
    - {endpoint: shop/db, direction: Ingress, packets: 3, bytes: 180}
last_denied:
  description: >-
    With eBPF the last flows that were denied, at most 1024, those with the newest packets first; with other backends
    nothing, but O(podnet.fabric.policy#module:log).
  returned: success
  type: list
  elements: dict
  sample:
    - direction: Ingress
      protocol: tcp
      source: 10.244.1.7
      source_port: 40112
      destination: 10.244.1.2
      destination_port: 22
      packets: 3
      seconds_ago: 1.2
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.policy.counters import read
from ansible_collections.podnet.fabric.plugins.module_utils.resource_module import refuse, require_root
from ansible_collections.podnet.fabric.plugins.module_utils.resources.policy import KIND


def main() -> None:
    """Parse, look, exit."""
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    try:
        require_root()
        with Host() as host:
            found = read(Declarations().read(KIND.name), host)
    except (PodnetError, OSError) as error:
        refuse(module, error)
    else:
        module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
