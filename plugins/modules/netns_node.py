#!/usr/bin/python
# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: netns_node
short_description: Makes lab nodes out of namespaces
version_added: "0.1.0"
description:
  - Makes machines for labs and tests out of the namespaces of one Linux host, and the cables and switches between them.
  - A node has its own network, mounts, host name, IPC and processes. Its files are those of the host under a private
    overlay, so that C(/etc), C(/run) and C(/var/lib) are its own and what is written in it is gone when it is removed.
  - C(ip netns) on the host knows the nodes by their names. Namespaces that are made in a node are seen in it alone.
  - The connection plugin P(podnet.fabric.netns#connection) manages the nodes.
author:
  - podnet.fabric authors (@podnet)
extends_documentation_fragment:
  - podnet.fabric.attributes
options:
  state:
    description:
      - V(present) makes what is missing and mends what differs. What is not named stays as it is.
      - V(absent) removes O(nodes), whole or half-made, with every process in them and the cables that end in them.
        O(links) and O(bridges) are not looked at.
    type: str
    choices: [present, absent]
    default: present
  nodes:
    description: The nodes.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the node on the host. It is also the name of its network namespace.
        type: str
        required: true
      hostname:
        description: Name that the node gives itself. The default is O(nodes[].name).
        type: str
      sysctl:
        description:
          - Settings of the node's network, such as C(net.ipv4.ip_forward).
          - Only names below C(net) belong to a node.
        type: dict
      routes:
        description: Static routes of the node.
        type: list
        elements: dict
        suboptions:
          to:
            description: A network, or V(default).
            type: str
            required: true
          via:
            description: Address of the next router.
            type: str
            required: true
  bridges:
    description: Switches inside nodes. With several cables on it, one makes an L2 subnet out of several nodes.
    type: list
    elements: dict
    default: []
    suboptions:
      node:
        description: Node that has the bridge.
        type: str
        required: true
      name:
        description: Name of the bridge.
        type: str
        required: true
      addresses:
        description: All addresses of the bridge, each with its prefix length.
        type: list
        elements: str
  links:
    description: Cables between nodes.
    type: list
    elements: dict
    default: []
    suboptions:
      node:
        description: Node at this end.
        type: str
        required: true
      interface:
        description: Name of the interface at this end.
        type: str
        required: true
      addresses:
        description: All addresses of this end, each with its prefix length.
        type: list
        elements: str
      mtu:
        description: Bytes that a packet may have, on both ends. The default is the kernel's, 1500.
        type: int
      peer:
        description: The other end.
        type: dict
        required: true
        suboptions:
          node:
            description: Node at the other end.
            type: str
            required: true
          interface:
            description: Name of the interface at the other end.
            type: str
            required: true
          bridge:
            description: Bridge that the other end is plugged into.
            type: str
          addresses:
            description: All addresses of the other end, each with its prefix length.
            type: list
            elements: str
  run_dir:
    description: Folder for the records of the nodes.
    type: path
    default: /run/podnet-lab
notes:
  - C(kernel), C(vm) and C(fs) settings are those of the whole host, so a node can read but not write them.
  - The nodes share the host's kernel and trust it. They isolate labs from one another, not from an attacker.
seealso:
  - plugin: podnet.fabric.netns
    plugin_type: connection
"""

EXAMPLES = r"""
- name: Make two nodes on one subnet, with a router in front of them
  podnet.fabric.netns_node:
    nodes:
      - name: router
        sysctl:
          net.ipv4.ip_forward: 1
      - name: node1
        routes:
          - {to: default, via: 192.0.2.1}
      - name: node2
        routes:
          - {to: default, via: 192.0.2.1}
    bridges:
      - {node: router, name: subnet-a, addresses: [192.0.2.1/24]}
    links:
      - node: node1
        interface: eth0
        addresses: [192.0.2.11/24]
        peer: {node: router, interface: node1, bridge: subnet-a}
      - node: node2
        interface: eth0
        addresses: [192.0.2.12/24]
        peer: {node: router, interface: node2, bridge: subnet-a}

- name: Remove one of them
  podnet.fabric.netns_node:
    state: absent
    nodes:
      - name: node2
"""

RETURN = r"""
before:
  description: What the nodes, interfaces, settings and routes that the task names were like.
  type: dict
  returned: always
  sample: {}
after:
  description: What they are like now, or would be after a run without check mode.
  type: dict
  returned: always
  sample:
    node1:
      hostname: node1
      interfaces:
        eth0: {addresses: [192.0.2.11/24], end: router/node1, up: true}
      routes: [default via 192.0.2.1]
      sysctl: {}
processes:
  description:
    - Process 1 of each node, as the host numbers it.
    - C(nsenter --target NUMBER --all) gives a shell in the node.
  type: dict
  returned: always
  sample: {node1: 4242}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podnet.fabric.plugins.module_utils.lab.task import ARGUMENT_SPEC, run_task


def main() -> None:
    """Make or remove the nodes."""
    run_task(AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True))


if __name__ == "__main__":
    main()
