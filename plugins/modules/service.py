#!/usr/bin/python
# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module podnet.fabric.service."""

from __future__ import annotations

DOCUMENTATION = r"""
module: service
short_description: Give pods virtual addresses with load balancing by Kubernetes Service documents
version_added: "0.2.0"
author: podnet.fabric authors (@podnet)
description:
  - Declares the services of a cluster on a node, which sends connections to their addresses and ports on to their
    backends.
  - The documents are those of Kubernetes (C(v1) Service), and mean what kube-proxy in its nftables mode makes of them
    (KEP-3866). Connections are shared out evenly at random. A service without backends, and a port that a cluster
    address does not have, are rejected at once (TCP reset, ICMP unreachable); what nobody has in O(ranges) is dropped.
    With C(externalTrafficPolicy) or C(internalTrafficPolicy) V(Local) connections go to backends of this node, and are
    dropped where it has none but others do; C(externalTrafficPolicy) does not count for this node and its own pods.
    Backends that terminate get connections where none is ready.
  - Backends see the address of a pod that connects, but where it reaches itself, or comes over a node port, an external
    address or a load balancer's with C(externalTrafficPolicy) V(Cluster). They see this node's address instead of those
    that are not in O(pods).
  - A connection that stands goes on as long as its backend does, whatever changes. UDP flows to a backend that has gone
    are forgotten, so that the next datagram goes to another one.
  - With O(backend=nftables) it lives in the nftables table C(inet podnet), which is ours, in chains, sets and maps
    C(service-*). Services and backends are elements of maps, so that a connection costs the same at any number of them,
    and a change is one transaction that touches what differs only. No mark is set on packets. What
    it has left there it notes down in C(/run/podnet/nft-seen.json); the next run reads all elements again only when
    anybody has had a transaction since.
  - With O(backend=iptables) it lives in chains C(PODNET-SERVICE-*) of the tables C(nat) and C(filter), in either
    flavour, and in IP sets C(podnet-service-*). What a connection costs grows with the logarithm of the number of
    services, and of that of backends; with C(sessionAffinity) a set is looked into for each backend. A packet whose
    source is to be hidden bears the mark 0x1000 on its way through the node.
  - With O(backend=ebpf), programs at the host's end of the pods' interfaces (tcx) send on what this node's pods connect
    to, at cluster addresses and at all others where backends see their client. All else is left to the maps of
    nftables, to which a pod without such programs comes as well, and what the node itself sends. A pod that reaches
    itself then sees the service's address instead of this node's.
  - Policies see the backend that a connection is sent on to. Those by eBPF are at the pods' interfaces, too, so they do
    with O(backend=ebpf) or O(programs=true).
  - Headless services and those of C(type=ExternalName) are taken and come to nothing.
extends_documentation_fragment:
  - podnet.fabric.attributes
requirements:
  - nftables 1.0.6 or newer, Linux 5.6 or newer
  - iptables 1.8 and ipset for O(backend=iptables)
  - for O(backend=ebpf) Linux 6.6 or newer, and a BPF file system on C(/sys/fs/bpf)
options:
  name:
    description: A name for this declaration. There is one on a node; declaring another one takes it back.
    type: str
    default: podnet
  node:
    description: The name of this node; backends with this name in C(node) or C(nodeName) are local.
    type: str
    required: true
  pods:
    description: The prefixes that pods of all nodes have their addresses from.
    type: list
    elements: str
    default: []
  blocks:
    description: The prefixes that this node's own pods have their addresses from. Left out, those in O(pods).
    type: list
    elements: str
  ranges:
    description: The prefixes that cluster addresses are from.
    type: list
    elements: str
    default: []
  services:
    description:
      - The documents, each with C(metadata), C(spec) and, for addresses of load balancers, C(status). All that is wrong
        is reported at once, with its path.
      - Cluster addresses and node ports have to be in them; the role C(podnet.fabric.services) gives them out.
      - A C(readinessProbe) in the C(spec) has M(podnet.fabric.service_health) check the backends. Those that it has
        found to be dead get no connections; a warning names them.
    type: raw
    default: []
  slices:
    description:
      - EndpointSlice documents (C(discovery.k8s.io/v1)) that list backends besides the pods that a service's selector
        selects, each with the label C(kubernetes.io/service-name). An endpoint may have a C(weight) from 0 to 100, by
        default 1.
    type: raw
    default: []
  endpoints:
    description:
      - The pods of the whole cluster, as M(podnet.fabric.policy) takes them. Those that a service's selector selects
        are its backends, at the port C(targetPort), or that of their C(ports) which has its name.
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
      What sends the connections on; they mean the same with each. A change of it is one without a gap, for connections
      that stand and for new ones; but where it is from V(ebpf), TCP connections of pods to services end.
    type: str
    choices: [nftables, iptables, ebpf]
    default: nftables
  iptables_flavour:
    description:
      - The flavour of iptables, with O(backend=iptables).
      - V(auto) takes the one that holds rules, in any table, other than ours; where both do or neither does, the one
        that was taken before, or else that of the program C(iptables).
    type: str
    choices: [auto, nft, legacy]
    default: auto
  programs:
    description:
      - Whether the programs of O(backend=ebpf) do beside another backend what they do beside nftables. That is for
        nodes with policies by eBPF. TCP connections of pods to services end when programs go; those that stand when
        they come go on, and policies by eBPF see the service's address of these.
      - A kernel before Linux 6.6 goes without, and a warning says so.
    type: bool
    default: false
  bypass:
    description:
      - Whether what pods say to each other by TCP and UDP goes past this node's bridge, routing and netfilter, with
        O(backend=ebpf) or O(programs=true). Whoever counts, logs, limits or drops such packets by nftables or iptables
        of their own then misses them; connection tracking knows nothing of them. Policies by eBPF judge them as ever.
        It is refused where other policies are declared, and those where it is.
      - Packets go to the next device by the kernel's own routes and neighbours, between this node's pods and those of
        O(pods) at other nodes. Devices on the way are those of Ethernet (VXLAN, the underlay itself) by which routes of
        the main table lead there at the time; Geneve, WireGuard and IP in IP stay the kernel's.
      - The kernel keeps what is not plain. That is all but TCP and UDP, UDP to a pod's own address, fragments, IP
        options and extension headers, VLAN tags, what is too long for the next device, has come to the end of its hops
        or has a neighbour that is not known yet, a pod that reaches itself, and connections to a backend that several
        addresses or ports of services lead to.
      - A connection is past the host in both directions or not at all. A TCP connection that stands when this comes
        stays where it is, one that stands when it goes is the kernel's from then on. Where the first answer comes back
        by another way, the connection is the kernel's from its second SYN on, a second later.
    type: bool
    default: false
  bridge:
    description: The bridge of the node's pods. Programs stand before each of its ports that exist at the time.
    type: str
    default: podnet0
  flows:
    description: >-
      How many ends of flows the programs remember, of about 130 bytes each, where a flow has two, and as many
      clients that come back. Beyond that those go that have had no packet for the longest time.
    type: int
    default: 131072
  connect:
    description:
      - Whether TCP connections of the node's own processes, those in its network namespace, get a backend's address as
        they connect, by programs at the root of control groups of version 2, which stand beside those of others.
        Netfilter has nothing to translate then, and rules of the operator for what the node sends see the backend's
        address. A process is told the address that it has asked for, as long as it is among the last 65,536 of its
        node. Connections that stand are as they were.
      - It goes with O(backend=ebpf) and O(programs=true), for the services that their programs know, but for such with
        C(sessionAffinity). The rest is left to what does without.
      - Where nothing is mounted that takes such programs, the node goes without, and a warning says so.
    type: bool
    default: false
  state:
    description: V(present) declares and applies, V(absent) takes back what was declared.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: podnet.fabric.policy
  - module: podnet.fabric.endpoint_info
  - module: podnet.fabric.service_health
  - module: podnet.fabric.service_update
"""

EXAMPLES = r"""
- name: One address for all pods of the shop
  podnet.fabric.service:
    node: node1
    pods: [10.244.0.0/16]
    blocks: [10.244.1.0/24]
    ranges: [10.96.0.0/16]
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

- name: A database outside, under an address of the cluster
  podnet.fabric.service:
    node: node1
    pods: [10.244.0.0/16]
    services:
      - metadata: {name: db}
        spec:
          clusterIP: 10.96.0.11
          ports:
            - {port: 5432}
    slices:
      - metadata: {name: db-1, labels: {kubernetes.io/service-name: db}}
        addressType: IPv4
        endpoints:
          - addresses: [192.0.2.50]
        ports:
          - {port: 5432}

- name: Take them back
  podnet.fabric.service:
    node: node1
    state: absent
"""

RETURN = r"""
before:
  description: >-
      What was in the charge of this module on the node, facility (C(nftables), C(ipsets), C(iptables), C(service_ebpf),
      C(flows)) to a list of objects.
  returned: success
  type: dict
  sample:
    nftables: []
    service_ebpf: []
    flows: []
after:
  description: The same after the change; in check mode as predicted.
  returned: success
  type: dict
  sample:
    nftables:
      - map: map service-frontends4
        type: ipv4_addr . inet_proto . inet_service
        elements: "10.96.0.10 . tcp . 80 : goto service-frontends4-2"
operations:
  description: How many objects were changed, facility to verb to count.
  returned: success
  type: dict
  sample:
    nftables: {replace: 3}
    flows: {delete: 1}
"""

from functools import partial

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podnet.fabric.plugins.module_utils.resource_module import run
from ansible_collections.podnet.fabric.plugins.module_utils.resources.service import ServiceKind
from ansible_collections.podnet.fabric.plugins.module_utils.service.telling import after_all, declared_all
from ansible_collections.podnet.fabric.plugins.module_utils.told_records import nothing


def main() -> None:
    """Parse, call the resource, exit."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "default": "podnet"},
            "node": {"type": "str", "required": True},
            "pods": {"type": "list", "elements": "str", "default": []},
            "blocks": {"type": "list", "elements": "str"},
            "ranges": {"type": "list", "elements": "str", "default": []},
            "services": {"type": "raw", "default": []},
            "slices": {"type": "raw", "default": []},
            "endpoints": {"type": "raw", "default": []},
            "asked": {"type": "list", "elements": "str"},
            "backend": {"type": "str", "choices": ["nftables", "iptables", "ebpf"], "default": "nftables"},
            "iptables_flavour": {"type": "str", "choices": ["auto", "nft", "legacy"], "default": "auto"},
            "programs": {"type": "bool", "default": False},
            "bypass": {"type": "bool", "default": False},
            "bridge": {"type": "str", "default": "podnet0"},
            "flows": {"type": "int", "default": 131072},
            "connect": {"type": "bool", "default": False},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    wanted = module.params if module.params["state"] == "present" else None
    kind = ServiceKind(since=nothing)
    run(
        module,
        kind,
        module.params["name"],
        wanted,
        exclusive=True,
        declared=declared_all,
        afterwards=partial(after_all, kind=kind),
    )


if __name__ == "__main__":
    main()
