# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: plan
short_description: Validates the inventory, gives out address blocks and makes the plan of the pod network
version_added: "0.1.0"
description:
  - Checks the C(podnet_) variables of all nodes, against their schema and against each other, and reports everything
    that is wrong at once.
  - Gives each node a block of every address family that the pools have, and writes that down in the ledger. No block is
    given twice; a node keeps its blocks; those of a node that left the inventory rest for C(podnet_block_rest) seconds
    before another node may have them.
  - Gives services the cluster addresses and node ports that they do not name themselves, which is written down in the
    ledger likewise.
  - Returns the plan as the fact C(podnet_plan). Roles take their node's part out of it with the filters
    P(podnet.fabric.node#filter) and P(podnet.fabric.peers#filter).
  - The nodes are the hosts of the group C(podnet), or all hosts of the inventory when there is no such group, without
    those of the group C(podnet_removed). C(--limit) does not make them fewer.
  - A node's hardware addresses come from its name and the cluster's. One that was renamed keeps those of its first
    name.
  - Runs on the controller and opens no connection. Use it with C(run_once), so that it runs for one host and the fact
    reaches all of them.
author:
  - podnet.fabric authors (@podnet)
extends_documentation_fragment:
  - podnet.fabric.attributes
options:
  allocate:
    description:
      - Whether the ledger is written. With V(false), as in check mode, the plan holds the blocks that nodes would get,
        and the ledger stays as it is.
    type: bool
    default: true
  expected:
    description: Names that have to be among the nodes. One that is not is an error, reported with all others.
    type: list
    elements: str
    default: []
    version_added: "0.2.0"
  renamed:
    description:
      - Nodes that have another name in the inventory than before, as a dictionary of former to new names.
      - Their blocks, and the name that their hardware addresses come from, go to the new name in the same transaction
        of the ledger in which blocks are given out. When that has been done before, nothing happens.
    type: dict
    default: {}
    version_added: "0.2.0"
attributes:
  action:
    description: Runs on the controller.
    support: full
  diff_mode:
    description: Shows the ledger before and after.
    support: full
requirements:
  - jsonschema (on the controller)
  - etcd3gw (on the controller), when C(podnet_ledger.store) is V(etcd)
notes:
  - The addresses come from C(podnet_underlay.address), else from the fact C(podnet_node) that
    M(podnet.fabric.node_facts) sets, else from C(ansible_host) when it is an IP address. The MTU is known only when the
    nodes have been asked, or C(podnet_mtu) is set.
  - The variables are described in C(docs/variables.md).
seealso:
  - module: podnet.fabric.node_facts
"""

EXAMPLES = r"""
- name: Give out blocks and plan
  podnet.fabric.plan:
  run_once: true

- name: See what would be planned, without writing the ledger
  podnet.fabric.plan:
    allocate: false
  run_once: true

- name: Let web1 have what node1 had
  podnet.fabric.plan:
    renamed:
      node1: web1
  run_once: true

- name: Show this node's blocks
  ansible.builtin.debug:
    msg: "{{ (ansible_facts['podnet_plan'] | podnet.fabric.node(inventory_hostname)).blocks }}"
"""

RETURN = r"""
ansible_facts:
  description: Facts for all hosts of the play.
  returned: success
  type: dict
  contains:
    podnet_plan:
      description: The plan of the whole cluster.
      type: dict
      contains:
        cluster:
          description: Name of the cluster.
          type: str
          sample: podnet
        settings:
          description: >-
            The cluster-wide C(podnet_) variables without the prefix, defaults filled in, but for C(podnet_services) and
            C(podnet_endpoint_slices).
          type: dict
          sample: {vxlan_vni: 84, vxlan_port: 4789, bridge_name: podnet0}
        pools:
          description: The pools, with the numbers of blocks that they have, that nodes own, that
            rest, and that are reserved.
          type: list
          elements: dict
          sample:
            - name: default
              cidr: 10.244.0.0/16
              family: 4
              block_size: 24
              nat_outgoing: true
              blocks: {total: 256, held: 4, resting: 0, reserved: 0}
        mtu:
          description: MTU of the pod network; null as long as no node has been asked and C(podnet_mtu) is V(auto).
          type: int
          sample: 1450
        overhead:
          description: Bytes that the dataplane adds to a packet.
          type: int
          sample: 50
        ledger:
          description: Path of the ledger, or the endpoints and the key of etcd.
          type: str
          sample: inventories/lab/.podnet-ledger.json
        services:
          description: The services with all their addresses and node ports, as JSON text.
          type: str
        endpoint_slices:
          description: The EndpointSlices of the inventory, as JSON text.
          type: str
        peers:
          description: The nodes again, as JSON text for the filter P(podnet.fabric.peers#filter).
          type: str
        nodes:
          description: The nodes by name.
          type: dict
          sample:
            node1:
              name: node1
              underlay:
                address: 192.0.2.11
                interface: eth0
                source: node
                second: {address: "2001:db8::11", prefixlen: 64}
              subnets: [192.0.2.0/24, "2001:db8::/64"]
              family: 4
              vtep_mac: 02:aa:bb:cc:dd:ee
              bridge_mac: 06:aa:bb:cc:dd:ee
              blocks:
                - {cidr: 10.244.0.0/24, pool: default, family: 4, gateway: 10.244.0.1}
"""
