#!/usr/bin/python
# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module podnet.fabric.endpoint_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: endpoint_info
short_description: Tell which pods are attached to the pod network on a node
version_added: "0.2.0"
author: podnet.fabric authors (@podnet)
description:
  - Reads the attachments that M(podnet.fabric.pod) and the chained plugin C(podnet-attach) have recorded, and those
    that container runtimes have left in the cache of libcni (C(/var/lib/cni/results)).
  - The cache knows no labels. Namespace and name are those of C(K8S_POD_NAMESPACE) and C(K8S_POD_NAME); without these
    the namespace is C(default) and the name is the container's.
extends_documentation_fragment: [podnet.fabric.attributes]
attributes:
  check_mode:
    description: Reads only, so check mode makes no difference.
  diff_mode:
    description: Changes nothing.
    support: none
options:
  network:
    description: The name of the CNI network.
    type: str
    default: podnet
seealso:
  - module: podnet.fabric.policy
"""

EXAMPLES = r"""
- name: Look at the pods of this node
  podnet.fabric.endpoint_info:
  register: attached
"""

RETURN = r"""
endpoints:
  description: The pods, by namespace and name.
  returned: success
  type: list
  elements: dict
  sample:
    - namespace: shop
      name: db
      labels: {app: database}
      addresses: [10.244.1.2, "fd00:10:244:1::2"]
      interfaces: [podnet0, veth2f0c1d6a]
      mac: 0a:58:0a:f4:01:02
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.policy.attached import endpoints
from ansible_collections.podnet.fabric.plugins.module_utils.resource_module import refuse, require_root


def main() -> None:
    """Parse, look, exit."""
    module = AnsibleModule(argument_spec={"network": {"type": "str", "default": "podnet"}}, supports_check_mode=True)
    try:
        require_root()
        found = endpoints({module.params["network"]})
    except (PodnetError, OSError) as error:
        refuse(module, error)
    else:
        module.exit_json(changed=False, endpoints=found)


if __name__ == "__main__":
    main()
