#!/usr/bin/python
# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module podnet.fabric.vxlan."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vxlan
short_description: A VXLAN tunnel to all peers of a node
version_added: "0.1.0"
author: podnet.fabric authors (@podnet)
description:
  - Declares a VXLAN device (RFC 7348) with all its peers on the node and brings the kernel to it in one call.
  - Adds 50 bytes to a pod's packet over IPv4 and 70 over IPv6.
  - For each peer there is one FDB entry and, per address family, one permanent neighbour, one nexthop object and one
    route for each of its blocks. Nothing is learned and nothing is flooded.
  - The neighbours and FDB entries on the device, and the routes of protocol 84 through it, are all in its charge.
  - A change of VNI, port, local address or underlay interface makes the device anew.
extends_documentation_fragment:
  - podnet.fabric.attributes
  - podnet.fabric.dataplane
options:
  name:
    description: The device's name, at most 15 bytes.
    type: str
    default: podnet-vx
  vni:
    description: VXLAN network identifier, 1 to 16777215.
    type: int
    default: 84
  port:
    description: UDP port of the tunnel.
    type: int
    default: 4789
  mac:
    description: MAC address of the VTEP, which the peers know. Left out, one is derived from the node's host name.
    type: str
  addresses:
    description: >-
      The device's own addresses, the first address of the node's first block of each family, as /32 and /128.
    type: list
    elements: str
    default: []
seealso:
  - name: RFC 7348
    description: Virtual eXtensible Local Area Network.
    link: https://www.rfc-editor.org/rfc/rfc7348
"""

EXAMPLES = r"""
- name: A tunnel to two peers
  podnet.fabric.vxlan:
    local: 192.0.2.11
    mac: "02:5e:10:00:00:11"
    addresses:
      - 10.244.0.0/32
      - fd00:10:244::/128
    peers:
      - name: node2
        underlay: 192.0.2.12
        mac: "02:5e:10:00:00:12"
        blocks:
          - 10.244.1.0/24
          - fd00:10:244:1::/64
      - name: node3
        underlay: 192.0.2.13
        mac: "02:5e:10:00:00:13"
        blocks:
          - 10.244.2.0/24
          - fd00:10:244:2::/64

- name: Take the tunnel away
  podnet.fabric.vxlan:
    state: absent
"""

RETURN = r"""
before:
  description: What was in the charge of this module on the node, facility to a list of objects.
  returned: success
  type: dict
  sample:
    links: []
after:
  description: The same after the change; in check mode as predicted.
  returned: success
  type: dict
  sample:
    links:
      - {name: podnet-vx, type: vxlan, address: "02:5e:10:00:00:11", mtu: 1450, dev: eth0, id: 84, port: 4789}
    neighbours:
      - {dst: 10.244.1.0, lladdr: "02:5e:10:00:00:12", dev: podnet-vx, nud: permanent}
    fdb:
      - {mac: "02:5e:10:00:00:12", dst: 192.0.2.12, dev: podnet-vx, self: true, permanent: true}
    nexthops:
      - {id: 1409286144, via: 10.244.1.0, dev: podnet-vx, onlink: true, proto: podnet}
    routes:
      - {dst: 10.244.1.0/24, nhid: 1409286144, proto: podnet}
operations:
  description: How many objects were changed, facility to verb to count.
  returned: success
  type: dict
  sample:
    links: {create: 1}
    routes: {create: 1}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podnet.fabric.plugins.module_utils.resource_module import DATAPLANE_OPTIONS, run_dataplane
from ansible_collections.podnet.fabric.plugins.module_utils.resources.vxlan import KIND


def main() -> None:
    """Parse, call the resource, exit."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "default": "podnet-vx"},
            "vni": {"type": "int", "default": 84},
            "port": {"type": "int", "default": 4789},
            "mac": {"type": "str"},
            "addresses": {"type": "list", "elements": "str", "default": []},
            **DATAPLANE_OPTIONS,
        },
        required_if=[("state", "present", ["local"])],
        supports_check_mode=True,
    )
    run_dataplane(module, KIND, module.params["name"])


if __name__ == "__main__":
    main()
