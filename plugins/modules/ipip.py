#!/usr/bin/python
# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module podnet.fabric.ipip."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ipip
short_description: IP in IP and IPv6 in IPv6 tunnels to all peers of a node
version_added: "0.2.0"
author: podnet.fabric authors (@podnet)
description:
  - Declares a device for IP in IP (RFC 2003) and one for IPv6 in IPv6 (RFC 2473), whichever the node has underlay
    addresses for, with all peers, and brings the kernel to it in one call. The kernel's own C(tunl0) and C(ip6tnl0) are
    left alone.
  - Adds 20 bytes to an IPv4 packet and 40 to an IPv6 packet. As pods have one MTU, it is 40 where both are in use.
  - Per peer there is one nexthop object for each family, and a route for each block. IPv4 blocks need IPv4 underlay
    addresses at both ends, IPv6 blocks IPv6 ones.
extends_documentation_fragment:
  - podnet.fabric.attributes
  - podnet.fabric.dataplane
options:
  name:
    description: Name of the IPv4 device, at most 15 bytes.
    type: str
    default: podnet-ip4
  device6:
    description: Name of the IPv6 device, at most 15 bytes.
    type: str
    default: podnet-ip6
  addresses:
    description: >-
      The devices' own addresses, the first address of the node's first block of each family, as /32 and /128.
    type: list
    elements: str
    default: []
seealso:
  - name: RFC 2003
    description: IP Encapsulation within IP.
    link: https://www.rfc-editor.org/rfc/rfc2003
  - name: RFC 2473
    description: Generic Packet Tunneling in IPv6.
    link: https://www.rfc-editor.org/rfc/rfc2473
"""

EXAMPLES = r"""
- name: Tunnels to a peer, both families
  podnet.fabric.ipip:
    local: 192.0.2.11
    second_local: 2001:db8::11
    addresses: [10.244.0.0/32, "fd00:10:244::/128"]
    peers:
      - name: node2
        underlay: 192.0.2.12
        second: 2001:db8::12
        mac: "02:5e:10:00:00:12"
        blocks: [10.244.1.0/24, "fd00:10:244:1::/64"]

- name: Take the tunnels away
  podnet.fabric.ipip:
    state: absent
"""

RETURN = r"""
before:
  description: What was in the charge of this module on the node, facility to a list of objects.
  returned: success
  type: dict
  sample:
    routes: []
after:
  description: The same after the change; in check mode as predicted.
  returned: success
  type: dict
  sample:
    links:
      - {name: podnet-ip4, type: ipip, mtu: 1460, local: 192.0.2.11}
      - {name: podnet-ip6, type: ip6tnl, mtu: 1460, external: true}
    routes:
      - {dst: 10.244.1.0/24, nhid: 1409286144, proto: podnet}
operations:
  description: How many objects were changed, facility to verb to count.
  returned: success
  type: dict
  sample:
    routes: {create: 1}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podnet.fabric.plugins.module_utils.resource_module import DATAPLANE_OPTIONS, run_dataplane
from ansible_collections.podnet.fabric.plugins.module_utils.resources.ipip import KIND


def main() -> None:
    """Parse, call the resource, exit."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "default": "podnet-ip4"},
            "device6": {"type": "str", "default": "podnet-ip6"},
            "addresses": {"type": "list", "elements": "str", "default": []},
            **DATAPLANE_OPTIONS,
        },
        required_if=[("state", "present", ["local"])],
        supports_check_mode=True,
    )
    run_dataplane(module, KIND, module.params["name"])


if __name__ == "__main__":
    main()
