#!/usr/bin/python
# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module podnet.fabric.forward_accept."""

from __future__ import annotations

DOCUMENTATION = r"""
module: forward_accept
short_description: Let pods' packets pass where iptables drops what is forwarded
version_added: "0.2.0"
author: podnet.fabric authors (@podnet)
description:
  - Docker sets the policy of iptables' C(FORWARD) to DROP, and firewalls end it with a rule that rejects everything.
    An accept in another table does not overrule that. This module declares a chain C(PODNET-FORWARD) of ours, and one
    rule in C(FORWARD) that leads there. It accepts what comes from the pod bridge with an address of a pool, what goes
    to it, and what passes from pod to pod.
  - The rule stands after the rules of others and before one that drops everything, so what others forbid to pods stays
    forbidden. Each change is one transaction of C(iptables-restore --noflush).
  - Each time it asks the host anew where C(FORWARD) drops. So M(podnet.fabric.drift_info) tells when Docker was started
    after the last run, or when a firewall has flushed the chain, and the next run mends it.
  - A flavour of iptables (nft or legacy) that holds nothing of others is never written to.
extends_documentation_fragment:
  - podnet.fabric.attributes
options:
  bridge:
    description: The bridge that pods hang on.
    type: str
    default: podnet0
  pools:
    description: The address pools of the pods, of both families. Required with O(state=present).
    type: list
    elements: str
  mode:
    description:
      - V(auto) accepts in each flavour and family of iptables whose C(FORWARD) drops what nobody accepts.
      - V(always) does so in each whose table C(filter) holds a rule, a chain or a policy of somebody else.
      - V(never) accepts nowhere and takes back what was accepted.
    type: str
    choices: [auto, always, never]
    default: auto
  exclusive:
    description: With O(state=present), take back what this module has declared for other bridges on the node.
    type: bool
    default: false
  state:
    description: V(present) declares and applies, V(absent) takes back what was declared.
    type: str
    choices: [present, absent]
    default: present
notes:
  - Chains that drop in nftables' own tables, firewalld's for one, cannot be overruled from iptables;
    M(podnet.fabric.node_facts) names each with the command that opens it.
seealso:
  - module: podnet.fabric.bridge
"""

EXAMPLES = r"""
- name: Let pods through Docker's FORWARD
  podnet.fabric.forward_accept:
    bridge: podnet0
    pools:
      - 10.244.0.0/16
      - "fd00:10:244::/48"

- name: Take it back
  podnet.fabric.forward_accept:
    state: absent
"""

RETURN = r"""
before:
  description: What was in the charge of this module on the node, facility to a list of objects.
  returned: success
  type: dict
  sample:
    iptables: []
after:
  description: The same after the change; in check mode as predicted.
  returned: success
  type: dict
  sample:
    iptables:
      - chain: iptables-nft chain PODNET-FORWARD
        rules: -s 10.244.0.0/16 -i podnet0 -j ACCEPT; -d 10.244.0.0/16 -o podnet0 -j ACCEPT
      - {jump: iptables-nft -A FORWARD -j PODNET-FORWARD, place: before what drops all}
operations:
  description: How many objects were changed, facility to verb to count.
  returned: success
  type: dict
  sample:
    iptables: {create: 2}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podnet.fabric.plugins.module_utils.resource_module import run
from ansible_collections.podnet.fabric.plugins.module_utils.resources.forward_accept import KIND


def main() -> None:
    """Parse, call the resource, exit."""
    module = AnsibleModule(
        argument_spec={
            "bridge": {"type": "str", "default": "podnet0"},
            "pools": {"type": "list", "elements": "str"},
            "mode": {"type": "str", "choices": ["auto", "always", "never"], "default": "auto"},
            "exclusive": {"type": "bool", "default": False},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ("pools",))],
        supports_check_mode=True,
    )
    wanted = module.params if module.params["state"] == "present" else None
    run(module, KIND, module.params["bridge"], wanted, exclusive=module.params["exclusive"])


if __name__ == "__main__":
    main()
