#!/usr/bin/python
# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module podnet.fabric.service_health."""

from __future__ import annotations

DOCUMENTATION = r"""
module: service_health
short_description: Check the backends of a node's services, and take those out that fail
version_added: "0.2.0"
author: podnet.fabric authors (@podnet)
description:
  - Checks, from the node itself, the backends of the services that it declares and that ask for it with a
    C(readinessProbe) in their C(spec). Without one there is nothing to check, and nothing changes.
  - The probe has the words of Kubernetes. C(tcpSocket) takes a connection for success, C(httpGet) a status from 200 to
    399; both take a C(port), by default that of each backend, C(httpGet) also a C(path) and C(httpHeaders).
    C(timeoutSeconds) (by default 1), C(failureThreshold) (3) and C(successThreshold) (1) mean what they mean there, and
    C(periodSeconds) (10) is the least time between two checks.
  - A backend that fails C(failureThreshold) times in a row gets no new connections, and its UDP flows are
    forgotten, until it has been well C(successThreshold) times in a row. Connections that stand go on.
  - Where all backends that could get connections fail, all of them stay.
  - What is known of backends is in C(/run/podnet/service-health.json), not in what is declared; it ends with a reboot.
    All backends are in until checks fail.
  - This module comes to a verdict in one run. It checks all at once, and those again that answer otherwise than before,
    C(periodSeconds) later, until a threshold is reached, for at most two minutes. The timer of M(podnet.fabric.persist)
    and C(podnet-node health) check once.
extends_documentation_fragment: [podnet.fabric.attributes]
attributes:
  check_mode:
    description: Checks the backends, and says what would change.
options: {}
seealso:
  - module: podnet.fabric.service
  - module: podnet.fabric.persist
"""

EXAMPLES = r"""
- name: Check the backends of services
  podnet.fabric.service_health:
  register: health

- name: Stop where any is dead
  ansible.builtin.assert:
    that: health.unhealthy == []
"""

RETURN = r"""
checks:
  description: How many places were asked, an address and a port each.
  returned: success
  type: int
  sample: 4
unhealthy:
  description: A line for each backend that is out, or would be if another were left; in check mode as predicted.
  returned: success
  type: list
  elements: str
  sample: ["service shop/web: backend 10.244.1.2:8080 is out: Connection refused"]
operations:
  description: How many objects were changed, facility to verb to count.
  returned: success
  type: dict
  sample:
    nftables: {replace: 2}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.resource_module import refuse, report, require_root
from ansible_collections.podnet.fabric.plugins.module_utils.resources.service import KIND
from ansible_collections.podnet.fabric.plugins.module_utils.service_health import check_backends


def main() -> None:
    """Parse, check, exit."""
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    try:
        require_root()
        done = check_backends(Declarations(), everything=True, settle=True, check=module.check_mode)
    except (PodnetError, OSError) as error:
        refuse(module, error)
    else:
        for line in done.after:
            module.warn(line)
        host = {} if done.result is None else report(KIND, done.result, module._diff)
        told = {"changed": host.get("changed", False), "operations": host.get("operations", {})}
        if module._diff and done.before != done.after:
            before, after = ("".join(f"{line}\n" for line in lines) for lines in (done.before, done.after))
            told["diff"] = [{"before": before, "after": after}, *host.get("diff", [])]
        module.exit_json(checks=done.checks, unhealthy=done.after, **told)


if __name__ == "__main__":
    main()
