#!/usr/bin/python
# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module podnet.fabric.pod."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pod
short_description: Attach network namespaces to the pod network
version_added: "0.1.0"
author: podnet.fabric authors (@podnet)
description:
  - Attaches the network namespaces of a node to a CNI network by running the network's plugins, as a container runtime
    does by the CNI specification. C(ADD) runs in the order of the list, C(DEL) in reverse. When one fails, all of it is
    undone.
  - A pod that is attached already is examined with C(CHECK). When something of it is gone (its interface, an address, a
    route, its reservation, the namespace itself) it is detached and attached again. It keeps its addresses as long as
    the network's configuration is the same.
  - Each attachment is recorded below C(/run/podnet/attachments) with the configuration that made it, so that it can be
    taken down after that configuration has changed.
  - Pods are declared one by one. Those that the call does not name stay as they are declared.
extends_documentation_fragment:
  - podnet.fabric.attributes
requirements:
  - The network's CNI plugins (Debian package containernetworking-plugins)
  - iproute2, where a network namespace has to be made
options:
  pods:
    description:
      - The pods, each a dictionary with C(name) and, optionally, the following.
      - C(namespace), its namespace in the sense of Kubernetes, by default C(default).
      - C(netns), its network namespace, by name (below C(/run/netns)) or by path. By default the pod's name, or
        C(NAMESPACE_NAME) in another namespace than C(default). One given by name is made when there is none, with the
        loopback interface up and IPv6 duplicate address detection off, and is removed with the pod.
      - C(ifname), the interface to make in it, by default C(eth0).
      - C(labels), a dictionary, recorded for policies and services.
      - C(args), a dictionary of arguments for the plugins (C(CNI_ARGS)).
      - C(port_mappings), a list of dictionaries with C(host_port), C(container_port) and, optionally, C(protocol) and
        C(host_ip). It takes a plugin with the capability C(portMappings) in the network.
      - C(runtime_config), a dictionary of values for other capabilities of the network's plugins, such as C(bandwidth),
        or C(ips) for addresses of one's own choice.
      - With O(state=absent), C(name) and C(namespace) are enough.
    type: list
    elements: dict
    required: true
  network:
    description: The CNI network.
    type: str
    default: podnet
  conf_dir:
    description: Directory of the network configurations.
    type: path
    default: /etc/cni/net.d
  bin_dir:
    description: Directory of the CNI plugins; V(auto) looks in C(/opt/cni/bin), then in C(/usr/lib/cni).
    type: path
    default: auto
  force:
    description: Attach although the node is drained (M(podnet.fabric.drain)).
    type: bool
    default: false
    version_added: "0.2.0"
  state:
    description: V(present) attaches, V(absent) detaches.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: podnet.fabric.cni_network
"""

EXAMPLES = r"""
- name: Two pods, whose network namespaces are made if need be
  podnet.fabric.pod:
    pods:
      - name: web
        labels: {app: web}
      - name: db
        namespace: shop
        netns: shop-db
  register: attached

- name: Show where they are
  ansible.builtin.debug:
    msg: "{{ attached.pods | items2dict(key_name='name', value_name='addresses') }}"

- name: A port of the node leads to a pod
  podnet.fabric.pod:
    pods:
      - name: web
        port_mappings:
          - {host_port: 8080, container_port: 80}

- name: Detach one of them
  podnet.fabric.pod:
    pods:
      - {name: db, namespace: shop}
    state: absent
"""

RETURN = r"""
pods:
  description:
    - The pods of the call that are attached, in its order.
    - In check mode those that are attached already, since plugins alone give addresses.
  returned: success
  type: list
  elements: dict
  sample:
    - name: web
      namespace: default
      network: podnet
      labels: {app: web}
      netns: /run/netns/web
      interface: eth0
      mac: "7a:0c:6d:11:22:33"
      addresses: [10.244.1.2/24, "fd00:10:244:1::2/64"]
      gateways: [10.244.1.1, "fd00:10:244:1::1"]
before:
  description: The attachments of the node before the call, and in C(state) how they were found.
  returned: success
  type: dict
  sample:
    attachments: []
after:
  description: The same after the change; in check mode as predicted.
  returned: success
  type: dict
  sample:
    attachments:
      - {pod: default/web, network: podnet, netns: /run/netns/web, dev: eth0, labels: app=web, state: attached}
operations:
  description: How many attachments were changed, facility to verb to count.
  returned: success
  type: dict
  sample:
    attachments: {create: 1}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import reconcile
from ansible_collections.podnet.fabric.plugins.module_utils.resource_module import (
    in_turn,
    refuse,
    report,
    require_root,
)
from ansible_collections.podnet.fabric.plugins.module_utils.resources.pod import Pod, items_of, outcome


def main() -> None:
    """Parse, call the resource, exit."""
    module = AnsibleModule(
        argument_spec={
            "pods": {"type": "list", "elements": "dict", "required": True},
            "network": {"type": "str", "default": "podnet"},
            "conf_dir": {"type": "path", "default": "/etc/cni/net.d"},
            "bin_dir": {"type": "path", "default": "auto"},
            "force": {"type": "bool", "default": False},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    check, kind = module.check_mode, Pod(predict=module.check_mode)
    try:
        require_root()
        named = items_of(module.params["pods"], {key: module.params[key] for key in ("network", "conf_dir", "bin_dir")})
        with in_turn(module, check), Host(module.params["force"]) as host:
            declarations = Declarations()
            items = {name: item for name, item in declarations.read(kind.name).items() if name not in named}
            if module.params["state"] == "present":
                items.update(named)
            result = reconcile(kind, items, host, declarations, check)
            attached = outcome(named)
    except (PodnetError, OSError) as error:
        refuse(module, error)
    else:
        for note in result.notes:
            module.warn(note)
        module.exit_json(pods=attached, **report(kind, result, module._diff))


if __name__ == "__main__":
    main()
