#!/usr/bin/python
# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module podnet.fabric.host_policy."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_policy
short_description: Say by policies what a node itself may be sent and may send
version_added: "0.2.0"
author: podnet.fabric authors (@podnet)
description:
  - Declares policies of nodes on a node, which enforces them for what is addressed to itself and for what it sends
    itself. What it forwards, to pods or others, they do not concern.
  - The documents are NetworkPolicies without a namespace, whose C(podSelector) selects nodes by their labels. Each node
    has the label C(kubernetes.io/hostname), its name. A node that no policy selects in a direction may do everything in
    it. One that is selected may do what one of the policies allows.
  - Peers are an C(ipBlock); pods by a C(namespaceSelector), with or without a C(podSelector); or, beyond what
    NetworkPolicies have, nodes by a C(nodeSelector), which stands alone and selects them with their underlay addresses.
  - Whatever the policies say, these pass. O(failsafe) ports; O(needs) between the nodes; what goes by the loopback
    interface; replies and ICMP errors that belong to a flow; IPv6 neighbour discovery, MLD and IGMP; and what the node
    sends to its own pods.
  - Connections that stand when a policy comes go on until they end. Which of them could not begin any more is told in a
    warning, in check mode as well.
  - It lives in chains and sets C(host-*) of the nftables table C(inet podnet), whichever packet filter enforces the
    policies of pods (M(podnet.fabric.policy)).
extends_documentation_fragment:
  - podnet.fabric.attributes
requirements:
  - nftables 0.9.7 or newer
options:
  name:
    description: A name for this declaration.
    type: str
    default: podnet
  node:
    description: The name of this node, one of O(nodes).
    type: str
    required: true
  nodes:
    description:
      - The nodes of the cluster, each a dictionary with C(name), C(labels) and C(addresses), those on the underlay.
        This one is among them.
    type: raw
    default: []
  interfaces:
    description: The interfaces at which policies hold; without any named, all of them.
    type: list
    elements: str
    default: []
  bridge:
    description: The bridge of the node's pods. What the node sends there always passes.
    type: str
    default: podnet0
  failsafe:
    description:
      - Ports that no policy closes, as lists in C(inbound), those of the node, and C(outbound), those of whom it speaks
        to. Each is a protocol (C(tcp), C(udp), C(sctp)) and a port, as in C(tcp/22).
      - A list that is left out is C([tcp/22, udp/68, udp/546]) for C(inbound) and C([tcp/53, udp/53, udp/67, udp/547,
        udp/123]) for C(outbound). A list without ports is refused; the word C(none) in its place is not.
    type: dict
    default: {}
  needs:
    description: >-
      What the network itself needs between O(nodes), in both directions and whatever O(failsafe) is; ports such as
      C(udp/4789), and C(ipip) for IP in IP.
    type: list
    elements: str
    default: []
  policies:
    description: The documents. All that is wrong is reported at once, with its path, and nothing changes.
    type: raw
    default: []
  namespaces:
    description: The labels of the namespaces, by name, as in M(podnet.fabric.policy).
    type: dict
    default: {}
  endpoints:
    description: The pods of the whole cluster, as in M(podnet.fabric.policy).
    type: raw
    default: []
  asked:
    description: >-
      The nodes of which O(endpoints) tells all; endpoints that have been declared before on other nodes stay as they
      are. Left out, O(endpoints) tells all of every node.
    type: list
    elements: str
  state:
    description: V(present) declares and applies, V(absent) takes back what was declared.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: podnet.fabric.policy
"""

EXAMPLES = r"""
- name: Nodes answer each other and the monitoring, and SSH, and nobody else
  podnet.fabric.host_policy:
    node: node1
    nodes:
      - {name: node1, labels: {role: worker}, addresses: [192.0.2.1]}
      - {name: node2, labels: {role: worker}, addresses: [192.0.2.2]}
    needs: [udp/4789]
    policies:
      - metadata: {name: workers}
        spec:
          podSelector: {matchLabels: {role: worker}}
          policyTypes: [Ingress]
          ingress:
            - from:
                - nodeSelector: {}
            - from:
                - ipBlock: {cidr: 203.0.113.0/28}
              ports:
                - {protocol: TCP, port: 9100}

- name: Take them back
  podnet.fabric.host_policy:
    node: node1
    state: absent
"""

RETURN = r"""
before:
  description: What was in the charge of this module on the node, as a list of objects.
  returned: success
  type: dict
  sample:
    nftables: []
after:
  description: The same after the change; in check mode as predicted.
  returned: success
  type: dict
  sample:
    nftables:
      - {set: set host-nodes4, type: ipv4_addr, elements: "192.0.2.1,192.0.2.2"}
operations:
  description: How many objects were changed, facility to verb to count.
  returned: success
  type: dict
  sample:
    nftables: {create: 5}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podnet.fabric.plugins.module_utils.resource_module import run
from ansible_collections.podnet.fabric.plugins.module_utils.resources.host_policy import KIND


def main() -> None:
    """Parse, call the resource, exit."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "default": "podnet"},
            "node": {"type": "str", "required": True},
            "nodes": {"type": "raw", "default": []},
            "interfaces": {"type": "list", "elements": "str", "default": []},
            "bridge": {"type": "str", "default": "podnet0"},
            "failsafe": {"type": "dict", "default": {}},
            "needs": {"type": "list", "elements": "str", "default": []},
            "policies": {"type": "raw", "default": []},
            "namespaces": {"type": "dict", "default": {}},
            "endpoints": {"type": "raw", "default": []},
            "asked": {"type": "list", "elements": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    wanted = module.params if module.params["state"] == "present" else None
    run(module, KIND, module.params["name"], wanted, exclusive=True)


if __name__ == "__main__":
    main()
