#!/usr/bin/python
# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module podnet.fabric.host_gw."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_gw
short_description: Routes to all peers of a node through the peers' own addresses
version_added: "0.2.0"
author: podnet.fabric authors (@podnet)
description:
  - Declares routes to the blocks of all peers, whose underlay addresses are the gateways, and brings the kernel to it
    in one call. There is no device and no header, so pods have the MTU of the underlay.
  - Every peer has to be on the node's own L2 subnet (C(direct)), which the kernel's route lookup confirms. IPv4 blocks
    need IPv4 underlay addresses at both ends, IPv6 blocks IPv6 ones (C(second)).
extends_documentation_fragment:
  - podnet.fabric.attributes
  - podnet.fabric.dataplane
seealso:
  - module: podnet.fabric.route
  - module: podnet.fabric.vxlan
"""

EXAMPLES = r"""
- name: Routes to a peer, both families
  podnet.fabric.host_gw:
    local: 192.0.2.11
    second_local: 2001:db8::11
    peers:
      - name: node2
        underlay: 192.0.2.12
        second: 2001:db8::12
        direct: true
        mac: "02:5e:10:00:00:12"
        blocks: [10.244.1.0/24, "fd00:10:244:1::/64"]

- name: Take the routes away
  podnet.fabric.host_gw:
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
    nexthops:
      - {id: 1409286144, via: 192.0.2.12, dev: eth0, proto: podnet}
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
from ansible_collections.podnet.fabric.plugins.module_utils.resources.host_gw import KIND


def main() -> None:
    """Parse, call the resource, exit."""
    module = AnsibleModule(
        argument_spec=DATAPLANE_OPTIONS,
        required_if=[("state", "present", ["local"])],
        supports_check_mode=True,
    )
    run_dataplane(module, KIND, "host_gw")


if __name__ == "__main__":
    main()
