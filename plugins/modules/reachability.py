#!/usr/bin/python
# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Proves with packets that pods reach each other as they should."""

from __future__ import annotations

DOCUMENTATION = r"""
module: reachability
short_description: Prove with packets that pods reach each other
version_added: "0.1.0"
description:
  - Sends packets from network namespaces of this node to responders in other ones, here or on other nodes, and reports
    what became of them.
  - For each pod and target it finds out whether UDP and TCP arrive, which source address the receiver saw, whether a
    full-size packet with DF passes and one byte more does not, and how the packets travelled on the underlay.
  - Needs nothing on the node but Python; every pod and every target is asked at once.
  - A run takes three calls, O(state=responding) on all nodes, O(state=probed) on all nodes, O(state=absent) on all
    nodes.
  - Responders end by themselves after O(lifetime), whatever happens to the run.
author: podnet.fabric authors (@podnet)
extends_documentation_fragment: [podnet.fabric.attributes]
attributes:
  check_mode:
    description: With O(state=probed) packets are sent in check mode too, as this changes nothing.
  diff_mode:
    description: Processes that come and go within a run have no state worth a diff.
    support: none
options:
  state:
    description:
      - V(responding) starts a responder in the network namespace of each pod.
      - V(probed) asks every target from every pod. Unreachable targets are reported in RV(failures); they do not fail
        the module.
      - V(absent) ends responders that this module started, those of O(pods), or all on the node without O(pods).
    type: str
    choices: [responding, probed, absent]
    default: probed
  pods:
    description: The network namespaces on this node.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name in results and of the responder.
        type: str
        required: true
      netns:
        description: Its network namespace as a path, as a name below C(/run/netns), or V(-) for the node's own.
        type: str
        default: "-"
      addresses:
        description:
          - The pod's addresses, with or without prefix length; used with O(state=probed).
          - A pod asks targets of the address families that it has.
        type: list
        elements: str
        default: []
  targets:
    description: Whom to ask with O(state=probed). A target that is one of the pod's own addresses is passed over.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name in results.
        type: str
        required: true
      address:
        description: Its address.
        type: str
        required: true
      port:
        description: Port of its responder, if it is not O(port).
        type: int
      from:
        description: Names of the pods that ask it; all of them without this.
        type: list
        elements: str
      source:
        description:
          - Which source address it should see. V(kept) is the pod's own (no NAT), V(node) is one of this node's
            (outgoing NAT), V(any) does not matter.
        type: str
        choices: [kept, node, any]
        default: kept
      check_mtu:
        description: Whether sizes count with O(check_mtu). The way to a target outside the pod network may take less.
        type: bool
        default: true
      encapsulation:
        description: How packets to it should leave O(underlay_interface).
        type: dict
        suboptions:
          type:
            description:
              - V(vxlan), V(geneve), V(ipip) and V(ip6ip6) are in this tunnel, V(direct) is as they are, V(local) is not
                at all, V(plain) is in no tunnel, if they leave by this interface, V(any) does not matter.
              - V(wireguard) is in this tunnel, of which only the outside can be seen. That it carried the packets
                follows from the answers, from data having left to the peer's address meanwhile, and from none of the
                packets having been seen outside of it.
            type: str
            choices: [vxlan, geneve, ipip, ip6ip6, wireguard, direct, plain, local, any]
            default: any
          vni:
            description: The network identifier.
            type: int
          outer_src:
            description: Source address of the tunnel's packets.
            type: str
          outer_dst:
            description: Destination address of the tunnel's packets.
            type: str
          port:
            description: Destination port of the tunnel's packets.
            type: int
  port:
    description: UDP and TCP port of the responders.
    type: int
    default: 8484
  run:
    description: Name of the run. Responders answer only those of their own; the same on all nodes.
    type: str
    default: podnet
  lifetime:
    description: Seconds after which a responder ends by itself.
    type: int
    default: 300
  timeout:
    description:
      - Seconds in which a target must have answered, and again in which a full-size packet must have passed.
      - All targets are asked at once, so this is about the time for all of them (for each 400 questions).
    type: float
    default: 5
  mtu:
    description:
      - Size of a full-size packet with its IP header, 576 to 65535.
      - Without it, what the pod's route to the target takes.
    type: int
  check_mtu:
    description: Whether results about sizes count as failures.
    type: bool
    default: true
  underlay_interface:
    description: Interface to watch while probing. Without it, nothing is said about encapsulation.
    type: str
notes:
  - The underlay is watched with a packet socket on this node, so O(state=probed) with O(underlay_interface) sees what
    leaves the node, and fragments in both directions.
seealso:
  - module: podnet.fabric.pod
  - module: podnet.fabric.dataplane_info
"""

EXAMPLES = r"""
- name: Answer in two pods for as long as the run may take
  podnet.fabric.reachability:
    state: responding
    pods:
      - {name: a, netns: /run/netns/a}
      - {name: b, netns: /run/netns/b}

- name: Ask a pod on another node, and a host outside through NAT
  podnet.fabric.reachability:
    pods:
      - {name: a, netns: /run/netns/a, addresses: [10.244.0.2/24]}
    targets:
      - name: node2/c
        address: 10.244.1.2
        encapsulation: {type: vxlan, vni: 84, outer_src: 192.0.2.1, outer_dst: 192.0.2.2, port: 4789}
      - name: outside
        address: 203.0.113.10
        source: node
    mtu: 1450
    underlay_interface: eth0
  register: asked
  failed_when: asked.failures | length > 0

- name: End the responders
  podnet.fabric.reachability:
    state: absent
"""

RETURN = r"""
responders:
  description: Names of the responders that were started or ended.
  returned: O(state=responding) and O(state=absent)
  type: list
  elements: str
  sample: [a, b]
results:
  description: One entry per pod and target.
  returned: O(state=probed)
  type: list
  elements: dict
  contains:
    from:
      description: Name of the pod that asked.
      type: str
    to:
      description: Name of the target.
      type: str
    address:
      description: Address that was asked.
      type: str
    family:
      description: V(ipv4) or V(ipv6).
      type: str
    reachable:
      description: Whether UDP and TCP were answered.
      type: bool
    udp:
      description: Whether UDP was answered.
      type: bool
    tcp:
      description: Whether TCP was answered.
      type: bool
    source:
      description: The pod's address from which it asked.
      type: str
    source_seen:
      description: The address that the receiver saw.
      type: str
    nat:
      description: Whether the receiver saw another address than the pod's. Null without an answer.
      type: bool
    rtt_ms:
      description: The shortest round trip on the network, in milliseconds, without the time that processes waited.
      type: float
    mtu:
      description: Size of a full-size packet with its IP header.
      type: int
    mtu_ok:
      description: Whether a full-size packet with DF passed. Null when it was not tried.
      type: bool
    over_mtu_blocked:
      description: Whether one byte more did not pass. Null when it was not tried.
      type: bool
    expected:
      description: How they should have left it, the type of the target's encapsulation.
      type: str
      sample: vxlan
    encapsulation:
      description: How the packets left the underlay interface; null when it was not in a tunnel, or not watched.
      type: dict
      sample: {type: vxlan, vni: 84, outer_src: 192.0.2.1, outer_dst: 192.0.2.2, port: 4789}
    plain_on_underlay:
      description: Whether the pod's packets left the underlay interface without a tunnel. Null when it was not watched.
      type: bool
    fragmented:
      description: Whether packets were cut in pieces on the underlay. Null when it was not watched.
      type: bool
    failures:
      description: What is not as it should be, a line each.
      type: list
      elements: str
failures:
  description: The failures of all results.
  returned: O(state=probed)
  type: list
  elements: str
  sample: ["a -> node2/c (10.244.1.2): not reached within 5 s (UDP: no answer, TCP: no answer); see whether ..."]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.probe import session

TUNNEL = {
    "type": {
        "type": "str",
        "choices": ["vxlan", "geneve", "ipip", "ip6ip6", "wireguard", "direct", "plain", "local", "any"],
        "default": "any",
    },
    "vni": {"type": "int"},
    "outer_src": {"type": "str"},
    "outer_dst": {"type": "str"},
    "port": {"type": "int"},
}
TARGET = {
    "name": {"type": "str", "required": True},
    "address": {"type": "str", "required": True},
    "port": {"type": "int"},
    "from": {"type": "list", "elements": "str"},
    "source": {"type": "str", "choices": ["kept", "node", "any"], "default": "kept"},
    "check_mtu": {"type": "bool", "default": True},
    "encapsulation": {"type": "dict", "options": TUNNEL},
}
POD = {
    "name": {"type": "str", "required": True},
    "netns": {"type": "str", "default": "-"},
    "addresses": {"type": "list", "elements": "str", "default": []},
}


def main() -> None:
    """Starts responders, asks them, or ends them."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["responding", "probed", "absent"], "default": "probed"},
            "pods": {"type": "list", "elements": "dict", "options": POD},
            "targets": {"type": "list", "elements": "dict", "options": TARGET, "default": []},
            "port": {"type": "int", "default": 8484},
            "run": {"type": "str", "default": "podnet"},
            "lifetime": {"type": "int", "default": 300},
            "timeout": {"type": "float", "default": 5.0},
            "mtu": {"type": "int"},
            "check_mtu": {"type": "bool", "default": True},
            "underlay_interface": {"type": "str"},
        },
        required_if=[("state", "responding", ["pods"]), ("state", "probed", ["pods"])],
        supports_check_mode=True,
    )
    act = {"responding": session.respond, "probed": session.ask, "absent": session.end}[module.params["state"]]
    try:
        module.exit_json(**act(module.params, module.check_mode))
    except PodnetError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
