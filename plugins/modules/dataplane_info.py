#!/usr/bin/python
# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module podnet.fabric.dataplane_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: dataplane_info
short_description: Read how a node is connected to the pod network
version_added: "0.1.0"
author: podnet.fabric authors (@podnet)
description:
  - Reads what the node declares (C(/etc/podnet/node.d)) and what of it the kernel has, our links, addresses, nexthop
    objects, routes, neighbours and FDB entries.
  - Follows addresses of one's choice the way a packet would go, the route the kernel takes, the dataplane that it
    means, and in a tunnel the gateway's MAC address and the underlay address behind it. What is missing on that way is
    said.
  - Gathers the evidence of which dataplane the node uses, what is declared, what the kernel's tables say, what packets
    look like when they leave (with O(probe)), and says in a sentence for each peer whether these agree.
  - Recognises the pod networks and the service proxies of others by their traces, with or without one of ours.
  - Reads only. With O(probe) it sends a few packets.
extends_documentation_fragment: [podnet.fabric.attributes]
attributes:
  check_mode:
    description: Reads only, so check mode makes no difference.
  diff_mode:
    description: Changes nothing.
    support: none
options:
  to:
    description: Addresses to look up, with or without prefix length.
    type: list
    elements: str
    default: []
  vips:
    description:
      - Addresses of services to look for, each as C(ADDRESS), C(ADDRESS:PORT) or C(ADDRESS:PORT/PROTOCOL), IPv6 in
        brackets before a port. Everything that could send them on is read for entries that name them, so with ten
        thousands of services this takes seconds.
    type: list
    elements: str
    default: []
  probe:
    description:
      - Send real packets, three to each address, and watch them through the interfaces of the node. An empty dictionary
        takes all the defaults. They go to UDP port 9, where nobody listens.
      - Not given, no packet is sent.
    type: dict
    suboptions:
      to:
        description:
          - Addresses to send to, with or without prefix length, at most 48. Those of the bridges of the declared peers
            (of the first 48 blocks) when none is given.
        type: list
        elements: str
        default: []
      source:
        description:
          - Addresses of the node to send from, one for each address family. Those of its own pod bridge when not given.
        type: list
        elements: str
        default: []
      seconds:
        description: How long to watch, at most. It ends sooner when the packets to all addresses have left.
        type: float
        default: 2
      underlay:
        description: The interface to watch, or V(auto) for all of them.
        type: str
        default: auto
seealso:
  - module: podnet.fabric.reachability
  - module: podnet.fabric.node_facts
"""

EXAMPLES = r"""
- name: How would a packet get to this pod?
  podnet.fabric.dataplane_info:
    to: [10.244.1.2, "fd00:10:244:1::2"]
  register: dataplane

- name: Stop where it would not
  ansible.builtin.assert:
    that: dataplane.lookups | selectattr('problem') | length == 0

- name: Which dataplane do the packets to the other nodes use?
  podnet.fabric.dataplane_info:
    probe: {}
  register: dataplane

- name: Show what they look like, and whether that is what is declared
  ansible.builtin.debug:
    msg: "{{ [dataplane.verdict.summary] + dataplane.verdict.findings | map(attribute='text') | list }}"

- name: Who handles the cluster's name service here?
  podnet.fabric.dataplane_info:
    vips: ["10.96.0.10:53/udp", "[fd00:10:96::a]:53/udp"]
  register: dataplane

- name: Look at a node with somebody else's network
  podnet.fabric.dataplane_info:
    probe: {to: [10.42.1.1], source: [10.42.0.1]}
"""

RETURN = r"""
dataplane:
  description: The dataplane that the node declares, or that is there although none is declared. Null for none.
  returned: success
  type: str
  sample: vxlan
declared:
  description: The declarations, by kind and name.
  returned: success
  type: dict
  sample: {bridge: {podnet0: {addresses: [10.244.0.1/24], mac: "06:aa:bb:cc:dd:ee", mtu: 1450}}}
blocks:
  description: The node's blocks of pod addresses.
  returned: success
  type: list
  elements: str
  sample: [10.244.0.0/24, "fd00:10:244::/64"]
mtu:
  description: The smallest MTU of our links. Null when there are none.
  returned: success
  type: int
  sample: 1450
links:
  description: Our links.
  returned: success
  type: list
  elements: dict
  sample:
    - {name: podnet0, type: bridge, address: "06:aa:bb:cc:dd:ee", mtu: 1450, alias: "podnet:bridge", state: up}
addresses:
  description: The addresses of our links.
  returned: success
  type: list
  elements: dict
  sample: [{address: 10.244.0.1/24, dev: podnet0}]
nexthops:
  description: Our nexthop objects.
  returned: success
  type: list
  elements: dict
  sample: [{id: 1409286144, via: 10.244.1.0, dev: podnet-vx, onlink: true, proto: podnet}]
routes:
  description: Our routes.
  returned: success
  type: list
  elements: dict
  sample: [{dst: 10.244.1.0/24, nhid: 1409286144, proto: podnet}]
neighbours:
  description: The neighbours on our links, permanent and found out.
  returned: success
  type: list
  elements: dict
  sample: [{dst: 10.244.1.0, lladdr: "02:aa:bb:cc:dd:ee", dev: podnet-vx, nud: permanent}]
fdb:
  description: The FDB entries of our tunnels.
  returned: success
  type: list
  elements: dict
  sample: [{mac: "02:aa:bb:cc:dd:ee", dst: 192.0.2.12, dev: podnet-vx, self: true, permanent: true}]
lookups:
  description: The way to each of the addresses in O(to).
  returned: success
  type: list
  elements: dict
  contains:
    to:
      description: The address.
      type: str
    dataplane:
      description:
        - V(vxlan), V(geneve), V(ipip), V(wireguard), V(host_gw) or V(bgp) to a pod of another node, V(bridge) to one of
          this node, V(local) for the node itself, V(other) for a way that is not ours, null for nowhere.
      type: str
    dev:
      description: The interface.
      type: str
    via:
      description: The gateway.
      type: str
    lladdr:
      description: In a tunnel, the gateway's MAC address.
      type: str
    underlay:
      description: In a tunnel, the underlay address of the node behind it.
      type: str
    peer:
      description: In a tunnel, the name of that node.
      type: str
    route:
      description: The route that the kernel takes.
      type: dict
    problem:
      description: What is missing on the way. Null when nothing is.
      type: str
  sample:
    - to: 10.244.1.2
      dataplane: vxlan
      dev: podnet-vx
      via: 10.244.1.0
      lladdr: "02:aa:bb:cc:dd:ee"
      underlay: 192.0.2.12
      peer: node2
      route: {dst: 10.244.1.0/24, nhid: 1409286144, proto: podnet}
      problem: null
declarations:
  description: The dataplanes that the node declares, in short.
  returned: success
  type: list
  elements: dict
  sample:
    - {kind: vxlan, name: podnet-vx, standby: false, peers: 1, vni: 84, port: 4789, underlay: eth0, local: 192.0.2.11}
kernel:
  description:
    - What the kernel's tables say of packets to the peers' bridges, and to the addresses of O(to) and O(probe.to).
  returned: success
  type: dict
  contains:
    carriers:
      description:
        - The number of ways by address family and by what carries them. V(vxlan), V(geneve), V(ipip), V(ip6ip6),
          V(wireguard) and V(gre) are tunnels. V(host_gw) is a direct route of ours, V(bgp) one of BIRD or FRR,
          V(routed) one of anybody else. V(on-link), V(bridge), V(local) and V(none) need no node in between.
      type: dict
    ways:
      description: Each way. C(outer) is where the outer packet goes, or without a tunnel the next hop.
      type: list
      elements: dict
    left_out:
      description: The number of the peers' blocks that were not looked up; 256 are.
      type: int
    tunnels:
      description: The tunnel devices, ours and others'.
      type: list
      elements: dict
  sample:
    carriers: {ipv4: {vxlan: 1}}
    ways:
      - to: 10.244.1.1
        carrier: vxlan
        ours: true
        owner: podnet
        dev: podnet-vx
        kind: vxlan
        via: 10.244.1.0
        lladdr: "02:aa:bb:cc:dd:ee"
        outer: 192.0.2.12
        vni: 84
        port: 4789
        protocol: 84
        route: {dst: 10.244.1.0/24, nhid: 1409286144, proto: podnet}
        several: false
        problem: null
    left_out: 0
    tunnels: [{name: podnet-vx, kind: vxlan, ours: true, vni: 84, port: 4789, up: true}]
capture:
  description: What the packets looked like. Null without O(probe).
  returned: success
  type: dict
  contains:
    interface:
      description: The interface that was watched. Null for all.
      type: str
    probes:
      description:
        - For each address what was sent, whether the other side answered, how it left, and every interface that it was
          seen to leave by. The inside of WireGuard does not show, its packets are known by their lengths.
      type: list
      elements: dict
  sample:
    interface: null
    probes:
      - to: 10.244.1.1
        source: 10.244.0.1
        sent: 3
        answered: true
        error: null
        left: VXLAN, VNI 84, port 4789 to 192.0.2.12 through eth0
        sights:
          - dev: eth0
            tunnel: vxlan
            vni: 84
            port: 4789
            outer_src: 192.0.2.11
            outer_dst: 192.0.2.12
            inner_src: 10.244.0.1
            inner_dst: 10.244.1.1
            fragmented: false
foreign:
  description: Pod networks of others, with what they were recognised by, and how they carry packets where that shows.
  returned: success
  type: list
  elements: dict
  sample: [{name: flannel, evidence: ["device flannel.1 (vxlan, VNI 1, port 8472)"], dataplane: vxlan}]
services:
  description:
    - What handles the addresses of Kubernetes services, V(iptables), V(ipvs), V(nftables), V(ebpf) or V(none), by which
      traces, and what else has left some.
  returned: success
  type: dict
  sample: {implementation: iptables, evidence: [chain KUBE-SERVICES in ip nat (iptables-nft)], also: []}
vips:
  description: Who handles each of the addresses in O(vips).
  returned: success
  type: list
  elements: dict
  contains:
    to:
      description: What was asked for.
      type: str
    implementation:
      description:
        - The first of V(ebpf), V(nftables), V(iptables) and V(ipvs) that has an entry for it, which is the order in
          which packets meet them. V(none) when none has.
      type: str
    owner:
      description: Whose entries these are. Null for none.
      type: str
    evidence:
      description: The entries.
      type: list
      elements: str
    also:
      description: Entries of other implementations beside them.
      type: list
      elements: str
  sample:
    - to: 10.96.0.10:53/udp
      implementation: nftables
      owner: podnet.fabric
      evidence: ["10.96.0.10:53/udp leads to service-frontends4-2 in service-frontends4 of nft table inet podnet"]
      also: []
unknown:
  description: What could not be looked at, and why.
  returned: success
  type: list
  elements: str
  sample: ["nft is not installed, so its rules were not looked at"]
verdict:
  description: Whether declarations, tables and packets agree.
  returned: success
  type: dict
  contains:
    agreement:
      description: Whether nothing contradicts.
      type: bool
    summary:
      description: The node in a sentence.
      type: str
    contradictions:
      description: A sentence for each address where they do not.
      type: list
      elements: str
    findings:
      description: A sentence for each address, what the witnesses agree on, and who of them was asked.
      type: list
      elements: dict
  sample:
    agreement: true
    summary: VXLAN is declared; the one way looked at is without contradiction.
    contradictions: []
    findings:
      - to: 10.244.1.1
        peer: node2
        agreement: true
        how: VXLAN, VNI 84, port 4789 to 192.0.2.12
        witnesses: [declared, tables, packets]
        text: >-
          node2 (10.244.1.1): VXLAN, VNI 84, port 4789 to 192.0.2.12; declared, in the kernel's tables through podnet-vx
          and seen on eth0.
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podnet.fabric.plugins.module_utils import dataplane
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.evidence import vips
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.resource_module import refuse

PROBE = {
    "to": {"type": "list", "elements": "str", "default": []},
    "source": {"type": "list", "elements": "str", "default": []},
    "seconds": {"type": "float", "default": 2},
    "underlay": {"type": "str", "default": "auto"},
}


def main() -> None:
    """Parse, look, exit."""
    module = AnsibleModule(
        argument_spec={
            "to": {"type": "list", "elements": "str", "default": []},
            "vips": {"type": "list", "elements": "str", "default": []},
            "probe": {"type": "dict", "options": PROBE},
        },
        supports_check_mode=True,
    )
    try:
        addresses = dataplane.addresses_of(module.params["to"])
        virtual = vips.read(module.params["vips"])
        probing = dataplane.probing_of(module.params["probe"])
        with Host() as host:
            found = dataplane.describe(host, Declarations(), addresses, probing, virtual=virtual)
    except (PodnetError, OSError) as error:
        refuse(module, error)
    else:
        module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
