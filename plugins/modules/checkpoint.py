#!/usr/bin/python
# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module podnet.fabric.checkpoint."""

from __future__ import annotations

DOCUMENTATION = r"""
module: checkpoint
short_description: A way back before a change of the pod network
version_added: "0.2.0"
author: podnet.fabric authors (@podnet)
description:
  - Armed before the first change, it keeps the node's declarations and starts a watchdog on the node. When no
    confirmation arrives before its deadline, the watchdog brings the node back to them, whether or not the controller,
    the connection or the module that armed it are still alive. It needs no init system.
  - A checkpoint that a former run left armed keeps nobody from arming another. The declarations from before that run
    are kept then, as nobody has confirmed the ones since.
  - Where nothing was declared, going back takes everything of the pod network off the node.
  - Pods that were attached meanwhile stay, unless the network goes that they are attached to.
  - What was done is in C(/var/log/podnet-checkpoint.log) on the node.
extends_documentation_fragment: [podnet.fabric.attributes]
attributes:
  check_mode:
    description: Nothing is armed, confirmed or brought back.
  diff_mode:
    description: The lines of RV(changes) say it.
    support: none
options:
  state:
    description:
      - V(armed) starts a checkpoint. It is no change of the network, so it reports none.
      - V(confirmed) keeps what has changed since. Send it over a fresh connection, or it proves little.
      - V(rolled_back) goes back at once.
    type: str
    choices: [armed, confirmed, rolled_back]
    default: armed
  id:
    description: Which checkpoint, as returned when it was armed. Needed unless O(state=armed).
    type: str
  timeout:
    description: Seconds from arming to the deadline, at least 1.
    type: int
    default: 900
"""

EXAMPLES = r"""
- name: Keep a way back
  podnet.fabric.checkpoint:
    timeout: 300
  register: way_back

- name: A change that may cut the node off
  podnet.fabric.route:
    name: elsewhere
    routes: [{dst: 10.20.0.0/16, via: 192.0.2.1, dev: eth0}]

- name: Come back over a fresh connection
  ansible.builtin.meta: reset_connection

- name: Keep the change
  podnet.fabric.checkpoint:
    state: confirmed
    id: "{{ way_back.id }}"
"""

RETURN = r"""
id:
  description: The checkpoint; empty in check mode.
  returned: success
  type: str
  sample: 5f0c9d6b1a2e
armed:
  description: Whether a checkpoint is armed now.
  returned: success
  type: bool
  sample: true
seconds_left:
  description: Until its deadline; 0 where none is armed.
  returned: success
  type: int
  sample: 900
changes:
  description: What going back changed, a line for each object.
  returned: O(state=rolled_back)
  type: list
  elements: str
  sample: ["delete routes: 10.20.0.0/16 via 192.0.2.1 proto podnet"]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podnet.fabric.plugins.module_utils import checkpoint
from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.resource_module import in_turn, refuse, require_root


def main() -> None:
    """Parse, arm or decide, exit."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["armed", "confirmed", "rolled_back"], "default": "armed"},
            "id": {"type": "str"},
            "timeout": {"type": "int", "default": 900},
        },
        required_if=[("state", "confirmed", ["id"]), ("state", "rolled_back", ["id"])],
        supports_check_mode=True,
    )
    state, identity, timeout = (module.params[key] for key in ("state", "id", "timeout"))
    if timeout < 1:
        module.fail_json(msg=f"timeout: {timeout}; give whole seconds, at least 1")
    changes: list[str] = []
    if module.check_mode:
        module.exit_json(changed=False, changes=changes, **checkpoint.describe(None))
    try:
        require_root()
        with in_turn(module, check=False):
            if state == "armed":
                checkpoint.arm(timeout)
            elif state == "confirmed":
                checkpoint.confirm(identity)
            else:
                changes, problems = checkpoint.roll_back(identity)
                if problems:
                    raise checkpoint.CheckpointError("\n".join(f"not brought back: {text}" for text in problems))
    except (PodnetError, OSError) as error:
        refuse(module, error)
    else:
        module.exit_json(changed=bool(changes), changes=changes, **checkpoint.describe(checkpoint.armed()))


if __name__ == "__main__":
    main()
