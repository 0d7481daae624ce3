#!/usr/bin/python
# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module podnet.fabric.service_update."""

from __future__ import annotations

DOCUMENTATION = r"""
module: service_update
short_description: Tell a node of single services that are new, other or gone
version_added: "0.2.0"
author: podnet.fabric authors (@podnet)
description:
  - M(podnet.fabric.service) declares all services of a cluster. This tells a node where it has done so of some that
    have changed since, or whose pods have, without all others.
  - With nftables and eBPF what such a service needs is some elements of maps, within milliseconds. It takes as long as
    M(podnet.fabric.service) with iptables, where the node has nothing yet that the service asks for (such as a number
    of backends that no other one has), with C(loadBalancerSourceRanges) or a C(readinessProbe), where clients came back
    to their backend (C(sessionAffinity)), where past the host services come to share a backend, and the first time
    after the machine has started.
  - It is kept below C(/etc/podnet/told-services), also over a restart of the machine, until M(podnet.fabric.service)
    declares the services anew. Where none are declared, nothing is done.
extends_documentation_fragment:
  - podnet.fabric.attributes
options:
  services:
    description:
      - The documents, as in O(podnet.fabric.service#module:services), with all their addresses and node ports. With
        O(state=absent) C(metadata) is enough. All that is wrong is reported at once, with its path.
    type: raw
    required: true
  slices:
    description:
      - The slices of these services, as in O(podnet.fabric.service#module:slices); all of them, so that those which are
        not here have gone. Slices of other services are left aside.
    type: raw
    default: []
  endpoints:
    description:
      - The pods, as in O(podnet.fabric.service#module:endpoints); all that these services select, so that those which
        are not here have gone. Others are left aside.
    type: raw
    default: []
  asked:
    description: >-
      The nodes of which O(endpoints) tells all; pods of these services that were known before on other nodes stay.
      Where such a service was not told alone before, that takes as long as M(podnet.fabric.service). Left out,
      O(endpoints) tells all of every node. Only with O(state=present).
    type: list
    elements: str
  state:
    description: V(present) for services that are there, V(absent) for some that are not any more.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: podnet.fabric.service
  - module: podnet.fabric.policy_endpoint
"""

EXAMPLES = r"""
- name: The shop has a second pod
  podnet.fabric.service_update:
    services:
      - metadata: {name: web, namespace: shop}
        spec:
          clusterIP: 10.96.0.10
          selector: {app: web}
          ports:
            - {port: 80, targetPort: 8080}
    endpoints:
      - {name: web-1, namespace: shop, node: node1, labels: {app: web}, addresses: [10.244.1.2]}
      - {name: web-2, namespace: shop, node: node2, labels: {app: web}, addresses: [10.244.2.2]}

- name: It has gone
  podnet.fabric.service_update:
    services:
      - metadata: {name: web, namespace: shop}
    state: absent
"""

RETURN = r"""
before:
  description: >-
    What the services that are not as they were came to on this node before, an entry for each address and port;
    C(address) is V(node) for a node port. C(inside) is where this node and its pods are sent, C(outside) where others
    are; V(reject) or V(drop) for nowhere.
  returned: success
  type: list
  elements: dict
  sample: []
after:
  description: The same of what they come to now.
  returned: success
  type: list
  elements: dict
  sample:
    - service: shop/web
      family: 4
      address: 10.96.0.10
      protocol: tcp
      port: 80
      inside: ["10.244.1.2:8080", "10.244.2.2:8080"]
      outside: ["10.244.1.2:8080", "10.244.2.2:8080"]
reconciled:
  description: Whether it took as long as M(podnet.fabric.service).
  returned: success
  type: bool
  sample: false
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.conntrack import keep_netfilter
from ansible_collections.podnet.fabric.plugins.module_utils.resource_module import run_telling
from ansible_collections.podnet.fabric.plugins.module_utils.service.telling import tell
from ansible_collections.podnet.fabric.plugins.module_utils.service.update import inspected


def main() -> None:
    """Parse, tell, exit."""
    module = AnsibleModule(
        argument_spec={
            "services": {"type": "raw", "required": True},
            "slices": {"type": "raw", "default": []},
            "endpoints": {"type": "raw", "default": []},
            "asked": {"type": "list", "elements": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    params = module.params
    is_there = params["state"] == "present"
    # To close the socket takes until the kernel has thrown away what went; the answer need not wait for that.
    keep_netfilter()
    run_telling(
        module,
        lambda: inspected(*(params[each] for each in ("services", "slices", "endpoints", "asked")), is_there=is_there),
        lambda given: tell(given, Declarations(), module.check_mode, params["asked"]),
    )


if __name__ == "__main__":
    main()
