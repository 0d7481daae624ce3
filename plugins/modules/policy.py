#!/usr/bin/python
# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module podnet.fabric.policy."""

from __future__ import annotations

DOCUMENTATION = r"""
module: policy
short_description: Say by Kubernetes NetworkPolicy documents what pods may send and receive
version_added: "0.2.0"
author: podnet.fabric authors (@podnet)
description:
  - Declares the network policies of a cluster on a node, which enforces them for its own pods by nftables, by iptables
    or by eBPF. They mean the same with each.
  - The documents are those of C(networking.k8s.io/v1) and mean what they mean there. A pod that no policy selects in a
    direction may do everything in it. One that is selected may do what one of the policies allows. Replies, and ICMP
    errors that belong to a flow, always pass, and so does what a node sends to its own pods.
  - What goes from pod to pod on one bridge is looked at as well; with nftables where C(br_netfilter) hands it over
    (C(net.bridge.bridge-nf-call-iptables) and C(bridge-nf-call-ip6tables)).
  - With O(backend=nftables) it lives in the nftables table C(inet podnet), which is ours. Pods and prefixes are
    elements of sets, so a packet costs the same at any number of them, and a change is one transaction that touches
    what differs only.
  - With O(backend=iptables) it lives in chains C(PODNET-POLICY-*) of the table C(filter), to which one rule each of
    C(FORWARD) and C(INPUT) leads, before all others, and in IP sets C(podnet-policy-*). A change is one transaction for
    each family. What a policy allows is handed back to the node's other rules, which may still drop it. The table and
    the built-in chains that iptables makes for the first rule go with ours, where nobody else uses them by then.
  - A change of the backend removes what the former one had after the new one is in force.
  - With O(backend=ebpf) it lives in programs at the host's ends of the pods' interfaces and in what is pinned below
    C(/sys/fs/bpf/podnet/policy). Its time per packet does not depend on the number of pods or policies either, and a
    change puts another table into the place of the one that stands, in one step. A flow that a later policy denies is
    cut, and its remains are dropped. A TCP connection begins with its SYN; one that ran before the programs came is
    judged packet by packet. A fragment passes when the first one of its packet has, within 30 seconds; one that
    arrives before the first is dropped. Frames with a VLAN tag are dropped, and so is
    what pods send to broadcast, multicast and link-local addresses of each other, but for ICMPv6 and IGMP.
  - With O(antispoofing) a pod sends from its own addresses only, whether policies select it or not. With
    O(backend=nftables) and O(backend=iptables) that is in nftables' table C(bridge podnet), which sees what comes out
    of a port of the bridge.
extends_documentation_fragment:
  - podnet.fabric.attributes
requirements:
  - nftables 0.9.7 or newer, for O(backend=nftables), and for O(antispoofing) with O(backend=iptables)
  - iptables 1.6.2 or newer and ipset, for O(backend=iptables)
  - Linux 5.11 or newer and a BPF file system on C(/sys/fs/bpf), for O(backend=ebpf); tcx from Linux 6.6 on, and
    clsact
options:
  name:
    description: A name for this declaration.
    type: str
    default: podnet
  node:
    description: The name of this node; endpoints with this name in C(node) are guarded here.
    type: str
    required: true
  bridge:
    description:
      - The bridge of the node's pods. O(backend=ebpf) stands before each of its ports, those that exist at the time.
    type: str
    default: podnet0
  flows:
    description:
      - How many flows O(backend=ebpf) remembers. Beyond that those go that have had no packet for the longest time.
        Each takes about 130 bytes. Other numbers here or in O(fragments) take what is remembered along.
    type: int
    default: 131072
  fragments:
    description: How many packets that came in fragments O(backend=ebpf) remembers.
    type: int
    default: 8192
  antispoofing:
    description:
      - Whether what comes out of a pod is dropped where its source is not an address of this pod. IPv6 addresses are
        asked for from C(::), and the link-local address that belongs to the pod's MAC address is its own as well.
      - The sender of ARP and the target of a neighbour advertisement count, too. Frames with a VLAN tag are dropped.
      - It concerns interfaces on O(bridge) of which an endpoint says that they are its own. What comes out of others is
        left alone.
    type: bool
    default: true
  attach:
    description:
      - Whether the node is prepared for pods that the CNI plugin C(podnet-attach) is going to attach (see
        M(podnet.fabric.cni_network)), so that each comes under its policies within milliseconds.
      - The rules are then there beforehand for up to 64 sets of policies that may select such a pod together, those
        that select a pod of the cluster by now first, with up to 16384 peers in all. A pod that another set of them
        selects takes as long as a run of this module. Where policies ask for the names of ports, each set counts once
        without any, and once with those that O(endpoints) tell of each pod of the namespace.
    type: bool
    default: true
  log:
    description:
      - Has packets logged that policies deny, C(rate) of them, by default C(10/second), after a C(burst), by default
        C(5), for each set of policies that select the same pods. Left out or empty, nothing is logged.
      - With C(group) they go to this group of nfnetlink_log, where ulogd and C(tcpdump -i nflog:GROUP) read them, or
        else to the kernel's log, in the network namespace of the host alone unless C(net.netfilter.nf_log_all_netns)
        is set. Each line begins with C(podnet-denied-ingress:) or C(podnet-denied-egress:).
      - O(backend=ebpf) logs nothing and needs no setting; M(podnet.fabric.policy_info) tells the last flows it denied.
    type: dict
  policies:
    description:
      - The documents, each with C(metadata) and C(spec). All that is wrong is reported at once, with its path.
    type: raw
    default: []
  namespaces:
    description: >-
      The labels of the namespaces, by name. Each also has the label C(kubernetes.io/metadata.name), and one that is not
      named here has no other.
    type: dict
    default: {}
  endpoints:
    description:
      - The pods of the whole cluster, each a dictionary with C(name), C(addresses), C(node) and, optionally,
        C(namespace), by default C(default), C(labels), and C(ports), a list of dictionaries with C(name), C(port) and
        C(protocol), by default C(TCP), which policies may refer to by name.
      - C(stated) holds those of the labels that are the name's, whichever pod has it; the plugin C(podnet-attach) adds
        them to a pod's own. Pods of this node that it has attached or detached since count as it has seen them.
      - For O(antispoofing) C(interfaces) are the interfaces of the node that belong to the pod, and C(mac) is the
        hardware address of its own one. Without C(mac) it may have any link-local address. Whoever sends from further
        addresses has them in C(addresses).
    type: raw
    default: []
  asked:
    description: >-
      The nodes of which O(endpoints) tells all; endpoints that have been declared before on other nodes stay as they
      are. Left out, O(endpoints) tells all of every node.
    type: list
    elements: str
  backend:
    description: >-
      What enforces the policies. They mean the same with each. V(ebpf) takes C(programs) of M(podnet.fabric.service) to
      see what services send on to their backends; a warning says when the services of the node were declared without.
    type: str
    choices: [nftables, iptables, ebpf]
    default: nftables
  iptables_flavour:
    description:
      - The flavour of iptables, with O(backend=iptables). Each flavour has rules of its own, and both are in force.
      - V(auto) takes the one that holds rules, in any table, other than ours; where both do or neither does, the one
        that was taken before, or else that of the program C(iptables).
    type: str
    choices: [auto, nft, legacy]
    default: auto
  state:
    description: V(present) declares and applies, V(absent) takes back what was declared.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: podnet.fabric.pod
"""

EXAMPLES = r"""
- name: Only the shop talks to its database
  podnet.fabric.policy:
    node: node1
    policies:
      - metadata: {name: database, namespace: shop}
        spec:
          podSelector: {matchLabels: {app: database}}
          policyTypes: [Ingress]
          ingress:
            - from:
                - podSelector: {matchLabels: {app: web}}
              ports:
                - {protocol: TCP, port: 5432}
    endpoints:
      - {name: db, namespace: shop, node: node1, labels: {app: database}, addresses: [10.244.1.2]}
      - {name: web, namespace: shop, node: node2, labels: {app: web}, addresses: [10.244.2.2]}

- name: See what another set of policies would change
  podnet.fabric.policy:
    node: node1
    policies: "{{ lookup('file', 'policies.yml') | from_yaml_all }}"
    endpoints: "{{ my_endpoints }}"
  check_mode: true
  diff: true

- name: Enforce them by iptables, on nodes that have rules of it already
  podnet.fabric.policy:
    node: node1
    backend: iptables
    policies: "{{ my_policies }}"
    endpoints: "{{ my_endpoints }}"

- name: Enforce them by eBPF instead
  podnet.fabric.policy:
    node: node1
    backend: ebpf
    policies: "{{ lookup('file', 'policies.yml') | from_yaml_all }}"
    endpoints: "{{ my_endpoints }}"

- name: Take them back
  podnet.fabric.policy:
    node: node1
    state: absent
"""

RETURN = r"""
before:
  description: >-
    What was in the charge of this module on the node, facility (C(nftables), C(nftables_bridge), C(ipsets),
    C(iptables), C(ebpf), C(flows), C(ebpf_flows)) to a list of objects.
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
      - {map: map policy-ingress4, type: ipv4_addr, elements: "10.244.1.2 : policy-5d4140be1e3c"}
operations:
  description: How many objects were changed, facility to verb to count.
  returned: success
  type: dict
  sample:
    nftables: {create: 5}
"""

from functools import partial

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podnet.fabric.plugins.module_utils.attach.enforcement import declared_anew
from ansible_collections.podnet.fabric.plugins.module_utils.resource_module import run
from ansible_collections.podnet.fabric.plugins.module_utils.resources.policy import PolicyKind
from ansible_collections.podnet.fabric.plugins.module_utils.told_records import nothing


def main() -> None:
    """Parse, call the resource, exit."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "default": "podnet"},
            "node": {"type": "str", "required": True},
            "bridge": {"type": "str", "default": "podnet0"},
            "flows": {"type": "int", "default": 131072},
            "fragments": {"type": "int", "default": 8192},
            "antispoofing": {"type": "bool", "default": True},
            "attach": {"type": "bool", "default": True},
            "log": {"type": "dict"},
            "policies": {"type": "raw", "default": []},
            "namespaces": {"type": "dict", "default": {}},
            "endpoints": {"type": "raw", "default": []},
            "asked": {"type": "list", "elements": "str"},
            "backend": {"type": "str", "choices": ["nftables", "iptables", "ebpf"], "default": "nftables"},
            "iptables_flavour": {"type": "str", "choices": ["auto", "nft", "legacy"], "default": "auto"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    wanted = module.params if module.params["state"] == "present" else None
    kind = PolicyKind(nothing)
    run(module, kind, module.params["name"], wanted, exclusive=True, afterwards=partial(declared_anew, kind=kind))


if __name__ == "__main__":
    main()
