# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options that the modules of all dataplanes share."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation of the shared options; their specification is in module_utils/resource_module.py."""

    DOCUMENTATION = r"""
options:
  local:
    description: The node's own underlay address, IPv4 or IPv6. Required when O(state=present).
    type: str
  second_local:
    description: >-
      The node's address of the other family on the same interface. Routes to on-link peers need it for blocks of that
      family, and so does everything that carries a family in itself only.
    type: str
  underlay:
    description: The underlay interface; V(auto) takes the one that bears O(local).
    type: str
    default: auto
  mtu:
    description: >-
      MTU in bytes, 1280 to what the underlay leaves. Left out, it is the underlay's MTU less what the dataplane adds.
    type: int
  peers:
    description:
      - The other nodes, each a dictionary with C(name), C(underlay) (its underlay address), C(mac) (of its VTEP) and
        C(blocks) (list of prefixes; the address of the first IPv4 one is a gateway in tunnels with Ethernet inside).
      - C(second) is its underlay address of the other family. With C(direct) it is on-link, which the kernel's route
        lookup has to confirm, and its blocks are routed to its underlay addresses without a tunnel.
      - It is not checked option by option, since there may be thousands; what is wrong is reported all at once.
    type: raw
    default: []
  nexthop_objects:
    description:
      - Whether routes use nexthop objects (Linux 5.3), which keeps adding routes linear in their number.
      - V(auto) uses them where the kernel has them and says so where it has not; V(always) fails there;
        V(never) writes the gateway into each route.
    type: str
    choices: [auto, always, never]
    default: auto
  standby:
    description: >-
      Be ready to receive, and leave the routes to the peers as they are, so that another dataplane goes on carrying the
      packets. The next run without it moves the routes, each in one message of the kernel's.
    type: bool
    default: false
    version_added: "0.2.0"
  exclusive:
    description: >-
      With O(state=present), take back every other item that this module has declared on the node. The roles set it, so
      that a new device name leaves nothing of the former one.
    type: bool
    default: false
  state:
    description: V(present) declares and applies, V(absent) takes back what was declared.
    type: str
    choices: [present, absent]
    default: present
"""
