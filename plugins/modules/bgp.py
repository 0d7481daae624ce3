#!/usr/bin/python
# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module podnet.fabric.bgp."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bgp
short_description: Routes to the pods of other nodes by BGP
version_added: "0.1.0"
author: podnet.fabric authors (@podnet)
description:
  - Runs a BIRD 2 of its own on the node, which tells the node's blocks to its neighbours and puts those that it hears
    into the kernel. The configuration is C(/etc/podnet/bird/bird.conf), the control socket C(/run/podnet/bird.ctl). The
    BIRD of the distribution, its service and C(/etc/bird) are left alone.
  - There is one session per neighbour and address family, between addresses of that family.
  - A configuration is tried (C(bird -p)) before it replaces the former one, and read by the running BIRD; sessions that
    stay the same go on. After a crash BIRD is started with graceful restart (RFC 4724), and no route is lost meanwhile.
  - Only blocks inside O(pools) that are not the node's own are taken from a neighbour. Routes have the protocol V(bird)
    and the metric 2084, behind all other routes of this collection.
  - Passwords (RFC 2385) are written to C(/etc/podnet/bird/secrets.conf), which only BIRD can read. They are in no
    result, no diff and no declaration; a change of a password alone shows no lines in a diff.
extends_documentation_fragment:
  - podnet.fabric.attributes
requirements:
  - BIRD 2.0.8 or newer (Debian's package bird2)
options:
  name:
    description: Name of the declaration. A node has one BIRD.
    type: str
    default: bird
  mode:
    description:
      - V(mesh) has a session with every peer, V(reflectors) with those that are route reflectors (RFC 4456), or with
        all of them on a reflector itself, V(top_of_rack) only with O(neighbours).
    type: str
    choices: [mesh, reflectors, top_of_rack]
    default: mesh
  asn:
    description: The node's AS number, 1 to 4294967295.
    type: int
    default: 64512
  router_id:
    description: >-
      Four numbers such as V(192.0.2.1). Left out, the IPv4 underlay address, or a number made out of the IPv6 one.
    type: str
  reflector:
    description: Whether this node is a route reflector, with O(mode=reflectors).
    type: bool
    default: false
  cluster_id:
    description: The route reflector's cluster id. Left out, its router id.
    type: str
  local:
    description: The node's own underlay address, IPv4 or IPv6. Required when O(state=present).
    type: str
  second_local:
    description: Its address of the other family. Needed where the node has blocks of that family.
    type: str
  blocks:
    description: The node's own blocks, which it tells.
    type: list
    elements: str
    default: []
  pools:
    description: The pools, outside of which nothing is taken from a neighbour.
    type: list
    elements: str
    default: []
  peers:
    description:
      - The other nodes, each a dictionary with C(name), C(underlay), C(second) (underlay address of the other family),
        C(blocks) and, where they differ, C(asn) and C(reflector). C(mac) and C(direct) are passed over.
      - It is not checked option by option, since there may be thousands; what is wrong is reported all at once.
    type: raw
    default: []
  neighbours:
    description: Routers to speak with, in any mode. A router with two addresses is named twice, as V(tor) both times.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: A name for people.
        type: str
        required: true
      address:
        description: Its address; the family is that of the blocks that are told.
        type: str
        required: true
      asn:
        description: Its AS number.
        type: int
        required: true
      port:
        description: Its TCP port.
        type: int
        default: 179
  password:
    description: >-
      Password of all sessions for which O(passwords) has none, at most 80 bytes. Needs C(TCP_MD5SIG) in the kernel.
    type: str
  passwords:
    description: Passwords by the neighbour's address. An empty one says that the session has none.
    type: dict
  port:
    description: TCP port on which this node and its peers listen.
    type: int
    default: 179
  routed:
    description:
      - Whether the routers between the nodes have routes to all blocks, so that peers in other subnets can be reached
        through them. Otherwise such peers are refused, except with O(mode=top_of_rack).
    type: bool
    default: false
  standby:
    description:
      - Leave routes of other dataplanes as they are. Otherwise those to blocks that BIRD has a route to are taken away,
        and BIRD's take over.
    type: bool
    default: false
  state:
    description: V(present) declares and applies, V(absent) ends our BIRD and takes its files and routes away.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: podnet.fabric.bgp_info
  - name: BIRD
    description: The BIRD Internet Routing Daemon.
    link: https://bird.network.cz/
"""

EXAMPLES = r"""
- name: A session with every other node
  podnet.fabric.bgp:
    local: 192.0.2.11
    second_local: 2001:db8::11
    blocks: [10.244.0.0/24, "fd00:10:244::/64"]
    pools: [10.244.0.0/16, "fd00:10:244::/48"]
    peers:
      - name: node2
        underlay: 192.0.2.12
        second: 2001:db8::12
        blocks: [10.244.1.0/24, "fd00:10:244:1::/64"]
    password: "{{ vault_bgp_password }}"

- name: Tell the router of the rack
  podnet.fabric.bgp:
    mode: top_of_rack
    local: 192.0.2.11
    blocks: [10.244.0.0/24]
    pools: [10.244.0.0/16]
    neighbours:
      - {name: tor, address: 192.0.2.1, asn: 64513}

- name: No BGP any more
  podnet.fabric.bgp:
    state: absent
"""

RETURN = r"""
before:
  description: What was in the charge of this module on the node, facility to a list of objects, without passwords.
  returned: success
  type: dict
  sample:
    instances: []
after:
  description: The same after the change; in check mode as predicted.
  returned: success
  type: dict
  sample:
    secrets:
      - {path: /etc/podnet/bird/secrets.conf, mode: "0600", owner: bird, names: podnet_password}
    files:
      - {path: /etc/podnet/bird/bird.conf, mode: "0644", text: "# Managed by podnet.fabric ..."}
    instances:
      - {config: /etc/podnet/bird/bird.conf, state: running, configuration: current}
    routes: []
operations:
  description: How many objects were changed, facility to verb to count.
  returned: success
  type: dict
  sample:
    files: {create: 1}
    instances: {create: 1}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podnet.fabric.plugins.module_utils.resource_module import run
from ansible_collections.podnet.fabric.plugins.module_utils.resources.bgp import Bgp, secrets_of

NEIGHBOUR = {
    "name": {"type": "str", "required": True},
    "address": {"type": "str", "required": True},
    "asn": {"type": "int", "required": True},
    "port": {"type": "int", "default": 179},
}


def main() -> None:
    """Parse, call the resource, exit."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "default": "bird"},
            "mode": {"type": "str", "choices": ["mesh", "reflectors", "top_of_rack"], "default": "mesh"},
            "asn": {"type": "int", "default": 64512},
            "router_id": {"type": "str"},
            "reflector": {"type": "bool", "default": False},
            "cluster_id": {"type": "str"},
            "local": {"type": "str"},
            "second_local": {"type": "str"},
            "blocks": {"type": "list", "elements": "str", "default": []},
            "pools": {"type": "list", "elements": "str", "default": []},
            "peers": {"type": "raw", "default": []},
            "neighbours": {"type": "list", "elements": "dict", "default": [], "options": NEIGHBOUR},
            "password": {"type": "str", "no_log": True},
            "passwords": {"type": "dict", "no_log": True},
            "port": {"type": "int", "default": 179},
            "routed": {"type": "bool", "default": False},
            "standby": {"type": "bool", "default": False},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ["local"])],
        supports_check_mode=True,
    )
    wanted = module.params if module.params["state"] == "present" else None
    run(module, Bgp(secrets_of(module.params)), module.params["name"], wanted, exclusive=True)


if __name__ == "__main__":
    main()
