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
  - Reads only.
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
        - V(vxlan) to a pod of another node, V(bridge) to one of this node, V(local) for the node itself, V(other) for a
          way that is not ours, null for nowhere.
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
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podnet.fabric.plugins.module_utils import dataplane
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.resource_module import refuse


def main() -> None:
    """Parse, look, exit."""
    module = AnsibleModule(
        argument_spec={"to": {"type": "list", "elements": "str", "default": []}},
        supports_check_mode=True,
    )
    try:
        addresses = dataplane.addresses_of(module.params["to"])
        with Host() as host:
            found = dataplane.describe(host, Declarations(), addresses)
    except PodnetError as error:
        refuse(module, error)
    else:
        module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
