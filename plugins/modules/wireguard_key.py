#!/usr/bin/python
# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module podnet.fabric.wireguard_key."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wireguard_key
short_description: Make a node's WireGuard key, and tell the public one
version_added: "0.2.0"
author: podnet.fabric authors (@podnet)
description:
  - Makes a private key for a WireGuard device where it has none, in C(/etc/podnet/wireguard/DEVICE.key), mode 0600.
  - The private key is made on the node and stays there. No result, no diff and no log holds it. What is returned is the
    public key that belongs to it, as the kernel works it out.
  - The key is used by M(podnet.fabric.wireguard), which removes it together with the device.
  - A key is changed by a next generation, which has a device and a key of its own beside those in use.
extends_documentation_fragment: [podnet.fabric.attributes]
options:
  name:
    description: >-
      The device's name as M(podnet.fabric.wireguard) has it. A device of even generation bears a 2 behind it.
    type: str
    default: podnet-wg
  generation:
    description:
      - Which generation of keys is asked for, counted from 1. Left out, it is the one that the node's declaration sends
        by, and 1 where there is none.
    type: int
  rotate:
    description: Ask for the generation that follows the one in use, whose key is then made without using it yet.
    type: bool
    default: false
seealso:
  - module: podnet.fabric.wireguard
"""

EXAMPLES = r"""
- name: Have a key
  podnet.fabric.wireguard_key:
  register: key

- name: Tell it
  ansible.builtin.debug:
    msg: "{{ key.public_key }}"
"""

RETURN = r"""
public_key:
  description: The public key in base64. Null in check mode where there is no key yet.
  returned: success
  type: str
  sample: 7K8QOAFPVb3Pt0Hx0gDgPSxZ0W9qKrWjGJzLwYkvqzE=
device:
  description: The device that it belongs to.
  returned: success
  type: str
  sample: podnet-wg
generation:
  description: The generation that it is of.
  returned: success
  type: int
  sample: 1
in_use:
  description: The generation that carries the packets, by the node's declaration. 0 for none.
  returned: success
  type: int
  sample: 1
ansible_facts:
  description: The same four, for the other nodes of the run.
  returned: success
  type: dict
  contains:
    podnet_wireguard:
      description: The key.
      type: dict
      sample:
        device: podnet-wg
        generation: 1
        in_use: 1
        public_key: 7K8QOAFPVb3Pt0Hx0gDgPSxZ0W9qKrWjGJzLwYkvqzE=
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podnet.fabric.plugins.module_utils import wireguard_keys
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.resource_module import in_turn, refuse, require_root
from ansible_collections.podnet.fabric.plugins.module_utils.resources.wireguard import NAME, carrying, own_key


def main() -> None:
    """Parse, make, tell the public key."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "default": "podnet-wg"},
            "generation": {"type": "int"},
            "rotate": {"type": "bool", "default": False},
        },
        mutually_exclusive=[("generation", "rotate")],
        supports_check_mode=True,
    )
    generation = module.params["generation"]
    try:
        require_root()
        with in_turn(module, module.check_mode):
            items = Declarations().read(NAME)
            in_use = carrying(items)[1].get("generation", 0)
            if module.params["rotate"]:
                generation = in_use + 1
            changed, generation, key = own_key(module.params["name"], generation, items, module.check_mode)
    except (PodnetError, OSError) as error:
        refuse(module, error)
    else:
        told = {"device": key.name, "generation": generation, "in_use": in_use, "public_key": key.public_key or None}
        path = str(wireguard_keys.path(key.name))
        after = f"public key {key.public_key or 'not known before it is made'}\n"
        diff = {"before": "", "after": after, "before_header": path, "after_header": path}
        module.exit_json(
            changed=changed,
            ansible_facts={"podnet_wireguard": told},
            **told,
            **({"diff": diff} if module._diff and changed else {}),
        )


if __name__ == "__main__":
    main()
