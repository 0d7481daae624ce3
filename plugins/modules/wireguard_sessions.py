#!/usr/bin/python
# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module podnet.fabric.wireguard_sessions."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wireguard_sessions
short_description: Tell how a node stands with its WireGuard peers
version_added: "0.2.0"
author: podnet.fabric authors (@podnet)
description:
  - Tells for each peer of our WireGuard devices where it is, when the last handshake was, and how many bytes went to
    and fro. It tells no private and no preshared key.
  - With O(timeout) it also has a session with every peer before it returns, so that the packets that are sent there
    next wait for nothing. Peers without a session are asked for a handshake. The configuration stays as it is.
extends_documentation_fragment: [podnet.fabric.attributes]
attributes:
  check_mode:
    description: In check mode nobody is asked for a handshake.
  diff_mode:
    description: Changes nothing.
    support: none
options:
  name:
    description: Look at this device only. Left out, all of our WireGuard devices.
    type: str
  timeout:
    description: >-
      Seconds in which a session with every peer must stand; the module fails and names the peers where it does not.
      With 0 it only looks.
    type: int
    default: 0
seealso:
  - module: podnet.fabric.wireguard
"""

EXAMPLES = r"""
- name: How are the tunnels?
  podnet.fabric.wireguard_sessions:
  register: tunnels

- name: Have a session with every peer
  podnet.fabric.wireguard_sessions:
    timeout: 30
"""

RETURN = r"""
sessions:
  description: The peers, by device and name.
  returned: success
  type: list
  elements: dict
  contains:
    dev:
      description: Our device.
      type: str
    name:
      description: The node, or the peer's public key where the declaration does not know it.
      type: str
    public_key:
      description: The peer's public key.
      type: str
    endpoint:
      description: Where packets to it go. Null for nowhere.
      type: str
    handshake_age:
      description: Seconds since the last handshake. Null for never.
      type: float
    session:
      description: Whether that handshake's session still carries packets, which it does for 180 seconds.
      type: bool
    rx_bytes:
      description: Bytes received from it.
      type: int
    tx_bytes:
      description: Bytes sent to it.
      type: int
  sample:
    - dev: podnet-wg
      name: node2
      public_key: bJ1bU0Z9yRlOdP1SgB3WjFqJYd8yRzqYhQkxhkq1Wn8=
      endpoint: 192.0.2.12:51820
      handshake_age: 12.3
      session: true
      rx_bytes: 18442
      tx_bytes: 20114
"""

from typing import TYPE_CHECKING, Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.links import owned
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.wireguard import endpoint_text
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.resource_module import in_turn, refuse, require_root
from ansible_collections.podnet.fabric.plugins.module_utils.resources.wireguard import NAME
from ansible_collections.podnet.fabric.plugins.module_utils.wireguard_sessions import establish, sessions, text_of

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.plugins.module_utils.wireguard_sessions import Session


def main() -> None:
    """Parse, look, exit."""
    module = AnsibleModule(
        argument_spec={"name": {"type": "str"}, "timeout": {"type": "int", "default": 0}},
        supports_check_mode=True,
    )
    seconds = 0 if module.check_mode else module.params["timeout"]
    try:
        require_root()
        with in_turn(module, not seconds), Host() as host:
            wanted = module.params["name"]
            names = [name for name in owned(host, NAME) if wanted in (None, name)]
            items = Declarations().read(NAME)
            found = establish(names, items, seconds) if seconds else sessions(names, items)
    except (PodnetError, OSError) as error:
        refuse(module, error)
    else:
        module.exit_json(changed=False, sessions=[_shown(session) for session in found])


def _shown(session: Session) -> dict[str, Any]:
    peer = session.peer
    return {
        "dev": session.dev,
        "name": session.name,
        "public_key": text_of(peer),
        "endpoint": endpoint_text(peer.endpoint, peer.port) or None,
        "handshake_age": None if session.age is None else round(session.age, 3),
        "session": session.stands,
        "rx_bytes": peer.rx_bytes,
        "tx_bytes": peer.tx_bytes,
    }


if __name__ == "__main__":
    main()
