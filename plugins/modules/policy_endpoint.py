#!/usr/bin/python
# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module podnet.fabric.policy_endpoint."""

from __future__ import annotations

DOCUMENTATION = r"""
module: policy_endpoint
short_description: Tell the policies of a node of pods that have come or gone on other nodes
version_added: "0.2.0"
author: podnet.fabric authors (@podnet)
description:
  - M(podnet.fabric.policy) declares the policies of a cluster with all its pods. This tells a node where it has done so
    of pods that came or went since, without the documents and pods of the cluster.
  - A pod that nobody knew is some elements of sets, or of eBPF's table, within milliseconds, where the node has the
    table that C(podnet-attach) goes by as well. What changes or goes takes the node as long as M(podnet.fabric.policy)
    does, and so does a pod that this node's guards do not foresee.
  - It is kept below C(/etc/podnet/told), also over a restart of the machine, until M(podnet.fabric.policy) declares the
    policies anew.
  - Pods of the node itself are left alone; their attachments tell of them. Where no policies are declared, nothing is
    done. Policies of the nodes themselves (M(podnet.fabric.host_policy)) and services (M(podnet.fabric.service)) know
    pods from their own declarations.
extends_documentation_fragment:
  - podnet.fabric.attributes
options:
  node:
    description: The name of this node.
    type: str
    required: true
  endpoints:
    description:
      - The pods, as in O(podnet.fabric.policy#module:endpoints). With O(state=absent) C(name) and C(namespace) are
        enough. All that is wrong is reported at once, with its path.
    type: raw
    required: true
  asked:
    description:
      - The nodes of which O(endpoints) tells all pods. Others that are known there have gone. Only with
        O(state=present).
    type: list
    elements: str
    default: []
  state:
    description: V(present) for pods that are there, V(absent) for some that are not any more.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: podnet.fabric.policy
  - module: podnet.fabric.endpoint_info
"""

EXAMPLES = r"""
- name: A pod has come on node2
  podnet.fabric.policy_endpoint:
    node: node1
    endpoints:
      - {name: web2, namespace: shop, node: node2, labels: {app: web}, addresses: [10.244.2.9, "fd00:10:244:2::9"]}

- name: It has gone
  podnet.fabric.policy_endpoint:
    node: node1
    endpoints:
      - {name: web2, namespace: shop}
    state: absent

- name: These are all pods of two nodes
  podnet.fabric.policy_endpoint:
    node: node1
    asked: [node2, node3]
    endpoints: "{{ my_endpoints }}"
"""

RETURN = r"""
before:
  description: The pods that are not as they were known, as they were known before; nothing of those that are new.
  returned: success
  type: list
  elements: dict
  sample: []
after:
  description: The same as they are known now; nothing of those that have gone.
  returned: success
  type: list
  elements: dict
  sample:
    - {namespace: shop, name: web2, node: node2, labels: {app: web}, addresses: [10.244.2.9], ports: []}
reconciled:
  description: >-
    Whether it took as long as M(podnet.fabric.policy). In check mode whether that is certain; for a new pod it is not.
  returned: success
  type: bool
  sample: false
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection
from ansible_collections.podnet.fabric.plugins.module_utils.policy.endpoints import inspect_endpoints
from ansible_collections.podnet.fabric.plugins.module_utils.policy.telling import tell
from ansible_collections.podnet.fabric.plugins.module_utils.resource_module import run_telling
from ansible_collections.podnet.fabric.plugins.module_utils.told_records import Outcome


def main() -> None:
    """Parse, tell, exit."""
    module = AnsibleModule(
        argument_spec={
            "node": {"type": "str", "required": True},
            "endpoints": {"type": "raw", "required": True},
            "asked": {"type": "list", "elements": "str", "default": []},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    params = module.params
    is_there = params["state"] == "present"

    def inspected() -> list[dict[str, Any]]:
        inspection = Inspection()
        given = inspect_endpoints(inspection, "endpoints", params["endpoints"])
        if params["asked"] and not is_there:
            inspection.refuse("asked", str(params["asked"]), "leave it out with state: absent")
        inspection.conclude()
        return given

    def told(given: list[dict[str, Any]]) -> Outcome:
        gone = [] if is_there else [(each["namespace"], each["name"]) for each in given]
        return tell(given if is_there else [], gone, params["node"], params["asked"], module.check_mode)

    run_telling(module, inspected, told)


if __name__ == "__main__":
    main()
