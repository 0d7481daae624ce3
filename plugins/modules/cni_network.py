#!/usr/bin/python
# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module podnet.fabric.cni_network."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cni_network
short_description: The pod network as a CNI configuration list
version_added: "0.1.0"
author: podnet.fabric authors (@podnet)
description:
  - Writes the CNI configuration list C(10-NAME.conflist), through which container runtimes and M(podnet.fabric.pod)
    attach pods to the node's pod bridge.
  - The list has the plugin C(bridge) on a bridge that stands already, with addresses by C(host-local) out of the
    node's blocks and a default route per family through the bridge's address. Gateway addresses and outgoing NAT are
    not the plugin's (C(isGateway) and C(ipMasq) are off), because they are the same for all pods.
  - Addresses that are taken are kept below C(/run/podnet/ipam), which a reboot empties together with the pods.
  - The file is known as ours by its top-level key C(podnet), which CNI runtimes ignore. One without it is never
    overwritten.
extends_documentation_fragment:
  - podnet.fabric.attributes
requirements:
  - The CNI plugins C(bridge) and C(host-local) (Debian package containernetworking-plugins)
  - Python 3.9 or newer as C(/usr/bin/python3), for O(attach=true)
options:
  name:
    description: The network's name.
    type: str
    default: podnet
  bridge:
    description: The bridge to which pods are attached.
    type: str
    default: podnet0
  mtu:
    description: MTU of the pods' interfaces in bytes. Left out, it is the kernel's.
    type: int
  blocks:
    description:
      - The node's blocks of pod addresses, each a dictionary with C(cidr) and C(gateway) (the bridge's address in it).
        Other keys are ignored, so that blocks of the plan can be given as they are. Required when O(state=present).
      - A pod gets one address per family, out of any block of that family.
    type: list
    elements: dict
    default: []
  plugins:
    description: Plugins to chain after C(bridge), as they stand in a CNI configuration list.
    type: list
    elements: dict
    default: []
  cni_version:
    description: Version of the CNI specification that the list asks for.
    type: str
    choices: ["0.4.0", "1.0.0", "1.1.0"]
    default: "1.0.0"
  conf_dir:
    description: Directory of the runtimes' network configurations.
    type: path
    default: /etc/cni/net.d
  bin_dir:
    description: Directory of the CNI plugins; V(auto) looks in C(/opt/cni/bin), then in C(/usr/lib/cni).
    type: path
    default: auto
  disable_check:
    description:
      - Whether runtimes are told not to use the plugins' C(CHECK). M(podnet.fabric.pod) then looks at a pod's interface
        and addresses itself.
      - Left out, it is so where C(portmap) is chained, whose C(CHECK) reports faults that are none
        (U(https://github.com/containernetworking/plugins/issues/819)).
    type: bool
  verify_plugins:
    description:
      - Whether to refuse when a plugin of the list is missing or does not speak O(cni_version).
      - Turn it off in check mode when the task that installs the plugins has not really run.
    type: bool
    default: true
  drained:
    description:
      - Whether no new pod gets an address. What is attached goes on and can be detached. See M(podnet.fabric.drain).
      - Left out, it stays as the node declares it.
    type: bool
    version_added: "0.2.0"
  attach:
    description:
      - Whether to chain the plugin C(podnet-attach) last, and to install it beside C(bridge), with its code in
        C(/usr/local/lib/podnet). It puts a new pod under the policies that M(podnet.fabric.policy) has declared on the
        node before its C(ADD) returns, and fails C(ADD) where it cannot.
      - It takes labels from M(podnet.fabric.pod), from a runtime by the capability C(podnet.labels) or by C(labels) in
        C(args.cni), and from the file C(/etc/podnet/labels.json), a JSON object from C(namespace/name) to labels.
      - When it is turned off, the plugin stays for as long as pods are there that were attached with it, for their
        C(DEL); a later run removes it.
    type: bool
    default: false
    version_added: "0.2.0"
  exclusive:
    description: >-
      With O(state=present), take back every other network that this module has declared on the node. The role
      P(podnet.fabric.cni#role) sets it, so that a new C(podnet_cni_network) leaves nothing of the former one.
    type: bool
    default: false
  force:
    description: With O(state=absent), remove the network although addresses of it are still taken.
    type: bool
    default: false
  state:
    description: V(present) declares and applies, V(absent) takes back what was declared.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: podnet.fabric.pod
  - name: CNI specification
    description: What configuration lists and plugins are.
    link: https://www.cni.dev/docs/spec/
"""

EXAMPLES = r"""
- name: The pod network for container runtimes, both families
  podnet.fabric.cni_network:
    mtu: 1450
    blocks:
      - {cidr: 10.244.1.0/24, gateway: 10.244.1.1}
      - {cidr: "fd00:10:244:1::/64", gateway: "fd00:10:244:1::1"}

- name: With port mappings and bandwidth limits for those pods that ask for them
  podnet.fabric.cni_network:
    mtu: 1450
    blocks:
      - {cidr: 10.244.1.0/24, gateway: 10.244.1.1}
    plugins:
      - {type: portmap, capabilities: {portMappings: true}}
      - {type: bandwidth, capabilities: {bandwidth: true}}

- name: Take it away again
  podnet.fabric.cni_network:
    state: absent
"""

RETURN = r"""
before:
  description: What was in the charge of this module on the node, facility to a list of objects.
  returned: success
  type: dict
  sample:
    files: []
    address_stores: []
after:
  description: The same after the change; in check mode as predicted.
  returned: success
  type: dict
  sample:
    files:
      - {path: /etc/cni/net.d/10-podnet.conflist, mode: "0644", text: "{...}"}
    address_stores: []
operations:
  description: How many objects were changed, facility to verb to count.
  returned: success
  type: dict
  sample:
    files: {create: 1}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podnet.fabric.plugins.module_utils.resource_module import run
from ansible_collections.podnet.fabric.plugins.module_utils.resources.cni_network import KIND


def main() -> None:
    """Parse, call the resource, exit."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "default": "podnet"},
            "bridge": {"type": "str", "default": "podnet0"},
            "mtu": {"type": "int"},
            "blocks": {"type": "list", "elements": "dict", "default": []},
            "plugins": {"type": "list", "elements": "dict", "default": []},
            "cni_version": {"type": "str", "choices": ["0.4.0", "1.0.0", "1.1.0"], "default": "1.0.0"},
            "conf_dir": {"type": "path", "default": "/etc/cni/net.d"},
            "bin_dir": {"type": "path", "default": "auto"},
            "disable_check": {"type": "bool"},
            "verify_plugins": {"type": "bool", "default": True},
            "drained": {"type": "bool"},
            "attach": {"type": "bool", "default": False},
            "exclusive": {"type": "bool", "default": False},
            "force": {"type": "bool", "default": False},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    wanted = module.params if module.params["state"] == "present" else None
    run(module, KIND, module.params["name"], wanted, force=module.params["force"], exclusive=module.params["exclusive"])


if __name__ == "__main__":
    main()
