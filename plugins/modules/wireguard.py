#!/usr/bin/python
# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module podnet.fabric.wireguard."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wireguard
short_description: An encrypted WireGuard tunnel to all peers of a node
version_added: "0.2.0"
author: podnet.fabric authors (@podnet)
description:
  - Declares a WireGuard device with all its peers on the node and brings the kernel to it in one call.
  - Adds 60 bytes to a pod's packet over IPv4 and 80 over IPv6. Every packet is encrypted (ChaCha20-Poly1305), and only
    packets from a peer's own blocks are let in from that peer.
  - The private key is the one that M(podnet.fabric.wireguard_key) has made on the node; where there is none, this
    module makes one. It is in no parameter, no result, no diff and no declaration.
  - The peers on the device and the routes of protocol 84 through it are all in its charge. A peer whose endpoint or
    blocks change keeps its session; a block that moves from one peer to another is never without a peer.
  - A peer whose public key is not known is left out with a warning, since packets to it would have no way.
  - O(nexthop_objects) makes no difference here, for all routes share the device as their one next hop. Every peer
    gets its packets through the tunnel, so none may be C(direct).
extends_documentation_fragment:
  - podnet.fabric.attributes
  - podnet.fabric.dataplane
options:
  name:
    description:
      - The device's name, at most 14 bytes. Devices of odd O(generation) bear it, those of even one bear it with a 2
        behind.
    type: str
    default: podnet-wg
  port:
    description: UDP port of the tunnel; devices of even O(generation) take the next one.
    type: int
    default: 51820
  generation:
    description:
      - Which generation of keys this is, counted from 1. While keys are changed there are the devices of two
        generations, and the highest one that does not stand by carries the packets. It must be the same on all nodes.
    type: int
    default: 1
  public_keys:
    description:
      - The public keys of the peers in base64, as a mapping from node name to key or its JSON text. Names that are no
        peer's are ignored.
      - A peer that is not among them keeps the key that this node knew of it before.
    type: raw
    default: {}
  addresses:
    description: >-
      The device's own addresses, the first address of the node's first block of each family, as /32 and /128.
    type: list
    elements: str
    default: []
seealso:
  - module: podnet.fabric.wireguard_key
  - module: podnet.fabric.wireguard_sessions
"""

EXAMPLES = r"""
- name: Have a key
  podnet.fabric.wireguard_key:

- name: A tunnel to a peer
  podnet.fabric.wireguard:
    local: 192.0.2.11
    addresses:
      - 10.244.0.0/32
      - fd00:10:244::/128
    public_keys:
      node2: "{{ hostvars.node2.ansible_facts.podnet_wireguard.public_key }}"
    peers:
      - name: node2
        underlay: 192.0.2.12
        mac: "02:5e:10:00:00:12"
        blocks:
          - 10.244.1.0/24
          - fd00:10:244:1::/64

- name: Take the tunnel away, and its key
  podnet.fabric.wireguard:
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
  description: The same after the change; in check mode as predicted, without the keys that are not made yet.
  returned: success
  type: dict
  sample:
    wireguard_keys:
      - path: /etc/podnet/wireguard/podnet-wg.key
        mode: "0600"
        public_key: 7K8QOAFPVb3Pt0Hx0gDgPSxZ0W9qKrWjGJzLwYkvqzE=
    links:
      - {name: podnet-wg, type: wireguard, mtu: 1440, alias: "podnet:wireguard", state: up}
    wireguard:
      - {interface: podnet-wg, public_key: 7K8QOAFPVb3Pt0Hx0gDgPSxZ0W9qKrWjGJzLwYkvqzE=, listen_port: 51820}
    wireguard_peers:
      - peer: bJ1bU0Z9yRlOdP1SgB3WjFqJYd8yRzqYhQkxhkq1Wn8=
        dev: podnet-wg
        endpoint: 192.0.2.12:51820
        allowed_ips: 10.244.1.0/24,fd00:10:244:1::/64
    routes:
      - {dst: 10.244.1.0/24, dev: podnet-wg, proto: podnet}
operations:
  description: How many objects were changed, facility to verb to count.
  returned: success
  type: dict
  sample:
    links: {create: 1}
    wireguard_peers: {create: 1}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podnet.fabric.plugins.module_utils.resource_module import DATAPLANE_OPTIONS, run_dataplane
from ansible_collections.podnet.fabric.plugins.module_utils.resources.wireguard import KIND, device_of, port_of


def main() -> None:
    """Parse, call the resource, exit."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "default": "podnet-wg"},
            "port": {"type": "int", "default": 51820},
            "generation": {"type": "int", "default": 1},
            "public_keys": {"type": "raw", "default": {}, "no_log": False},
            "addresses": {"type": "list", "elements": "str", "default": []},
            **DATAPLANE_OPTIONS,
        },
        required_if=[("state", "present", ["local"])],
        supports_check_mode=True,
    )
    generation = module.params["generation"]
    module.params["port"] = port_of(module.params["port"], generation)
    run_dataplane(module, KIND, device_of(module.params["name"], generation))


if __name__ == "__main__":
    main()
