#!/usr/bin/python
# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Streams of numbered packets between pods, which show what a change of the network costs them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stream
short_description: Send numbered packets between pods while the network changes
version_added: "0.2.0"
description:
  - Runs streams between network namespaces in the background while other tasks change the network, and tells
    afterwards which packets were lost and for how long nothing came through.
  - A sender sends numbered UDP packets at a fixed rate to each address of its targets, and beside them a TCP transfer
    that goes on for as long as the sender does. A receiver counts which numbers arrived.
  - A sender begins to number only when its receiver has answered, so starting up is no loss. At its end it tells the
    last number and waits for packets that are late, for a second.
  - A run takes, each on all nodes, O(state=started) with O(role=receiver), then with O(role=sender); O(state=stopped)
    with O(role=sender), then with O(role=receiver). The filter P(podnet.fabric.stream_report#filter) puts together
    what both sides counted.
  - Needs nothing on the node but Python. Processes survive the module and the connection, and end by themselves after
    O(lifetime).
author: podnet.fabric authors (@podnet)
extends_documentation_fragment: [podnet.fabric.attributes]
attributes:
  check_mode:
    description: Counts are read in check mode too, as this changes nothing.
  diff_mode:
    description: Processes that come and go have no state worth a diff.
    support: none
options:
  role:
    description: Which end of the streams the call is about.
    type: str
    choices: [sender, receiver]
    required: true
  state:
    description:
      - V(started) starts a process for each of O(pods). One that runs already with the same settings stays; with other
        settings it is an error, as its counts would be lost.
      - V(counted) returns what has been counted so far. Ask the senders of all nodes before the receivers.
      - V(stopped) ends the processes of O(pods), or all of this role on the node without O(pods), and returns what they
        counted.
    type: str
    choices: [started, counted, stopped]
    default: started
  pods:
    description: The network namespaces on this node.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name in results. At most 63 letters, digits, dots, dashes and underscores.
        type: str
        required: true
      netns:
        description: Its network namespace as a path, as a name below C(/run/netns), or V(-) for the node's own.
        type: str
        default: "-"
      addresses:
        description:
          - The pod's addresses, with or without prefix length. A sender sends to the address families that it has, and
            not to itself; without addresses it sends to all.
        type: list
        elements: str
        default: []
  targets:
    description: Where senders send to.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name in results.
        type: str
        required: true
      addresses:
        description: Its addresses, with or without prefix length; each gets a stream.
        type: list
        elements: str
        required: true
      from:
        description: Names of the pods that send to it; all of them without this.
        type: list
        elements: str
  rate:
    description: UDP packets per second, of each stream. V(0) sends none.
    type: int
    default: 1000
  size:
    description: Bytes of payload of a UDP packet.
    type: int
    default: 128
  tcp_rate:
    description:
      - Mbit/s of the TCP transfer to each address, paced by the kernel. V(0) makes none.
    type: int
    default: 10
  port:
    description: UDP and TCP port of the receivers.
    type: int
    default: 8485
  run:
    description: Name of the run. Receivers count only senders of their own; the same on all nodes.
    type: str
    default: podnet
  lifetime:
    description:
      - Seconds after which a sender ends by itself; a receiver stays 15 seconds longer. What they counted is kept until
        O(state=stopped) collects it.
    type: int
    default: 600
notes:
  - Both ends ask the kernel for real-time priority, which needs C(CAP_SYS_NICE), and do without where it is refused. A
    pause of a sender's own is reported as such.
seealso:
  - module: podnet.fabric.reachability
  - plugin: podnet.fabric.stream_report
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Count in a pod
  podnet.fabric.stream:
    role: receiver
    pods:
      - {name: b, netns: /run/netns/b}

- name: Send to it from a pod on another node, a thousand packets a second and a TCP transfer
  podnet.fabric.stream:
    role: sender
    pods:
      - {name: a, netns: /run/netns/a, addresses: [10.244.0.2/24, "fd00:10:244::2/64"]}
    targets:
      - {name: node2/b, addresses: [10.244.1.2, "fd00:10:244:1::2"]}

- name: End the sender, when the network has changed
  podnet.fabric.stream:
    role: sender
    state: stopped
  register: sent

- name: End the receiver
  podnet.fabric.stream:
    role: receiver
    state: stopped
  register: received

- name: Nothing may be lost
  ansible.builtin.assert:
    that: report.failures | length == 0
    fail_msg: "{{ report.failures | join('\n') }}"
  vars:
    report: "{{ hostvars | podnet.fabric.stream_report(ansible_play_hosts_all, 'sent', 'received') }}"
  run_once: true
"""

RETURN = r"""
names:
  description: The pods whose processes were started, asked or ended.
  returned: success
  type: list
  elements: str
  sample: [a]
flows:
  description:
    - What was counted, one entry for each sender, address and protocol. Empty with O(state=started).
    - Those of senders have C(sent) (numbers or bytes), C(seconds), C(wanted_rate), C(pause_ms) (the longest time that
      the sender itself paused), and with UDP C(stood_ms) (for how long altogether it had no turn though it was due, of
      waits over 20 milliseconds), C(queue_full) (attempts for which a queue of this host was full, made again) and
      C(errors) (attempts that the network refused, by error; they count as sent), with TCP C(acknowledged) and
      C(error).
    - Those of receivers have C(received), and with UDP C(expected) (one more than the highest number), C(missing),
      C(holes) (first and last number of each, the first thousand), C(duplicates), C(reordered), C(gap_ms) (the longest
      time between two arrivals), C(told) (how many the sender said there were; null if it has not) and C(overflown)
      (packets that the receiver did not fetch in time), with TCP C(stall_ms) (the longest time without progress, less
      what the receiver's machine stood still in it), C(standstill_ms) (the longest of such times), C(finished) and
      C(error).
  returned: success
  type: list
  elements: dict
  sample:
    - token: 5b0e4c1d9a7f2e38
      from: a
      to: node2/b
      family: ipv4
      protocol: udp
      received: 30000
      expected: 30000
      missing: 0
      holes: []
      all_holes: true
      duplicates: 0
      reordered: 0
      gap_ms: 2.1
      gap_before: 12345
      told: 30000
      overflown: 0
failures:
  description: Processes that left no counts, a line each. They do not fail the module.
  returned: success
  type: list
  elements: str
  sample: ["sender a: process 4711 left no counts, it is gone: it was killed, or the machine ran out of memory; ..."]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.stream import session

POD = {
    "name": {"type": "str", "required": True},
    "netns": {"type": "str", "default": "-"},
    "addresses": {"type": "list", "elements": "str", "default": []},
}
TARGET = {
    "name": {"type": "str", "required": True},
    "addresses": {"type": "list", "elements": "str", "required": True},
    "from": {"type": "list", "elements": "str"},
}


def main() -> None:
    """Starts streams, asks what they counted, or ends them."""
    module = AnsibleModule(
        argument_spec={
            "role": {"type": "str", "choices": ["sender", "receiver"], "required": True},
            "state": {"type": "str", "choices": ["started", "counted", "stopped"], "default": "started"},
            "pods": {"type": "list", "elements": "dict", "options": POD},
            "targets": {"type": "list", "elements": "dict", "options": TARGET, "default": []},
            "rate": {"type": "int", "default": 1000},
            "size": {"type": "int", "default": 128},
            "tcp_rate": {"type": "int", "default": 10},
            "port": {"type": "int", "default": 8485},
            "run": {"type": "str", "default": "podnet"},
            "lifetime": {"type": "int", "default": 600},
        },
        required_if=[("state", "started", ["pods"])],
        supports_check_mode=True,
    )
    act = {"started": session.begin, "counted": session.count, "stopped": session.end}[module.params["state"]]
    try:
        module.exit_json(**act(module.params, module.check_mode))
    except PodnetError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
