# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What policies have counted, as a person reads it."""

from __future__ import annotations

from typing import Any

from ansible_collections.podnet.fabric.plugins.filter.policy import policy_report

COUNTED: dict[str, Any] = {
    "backends": {"podnet": "nftables"},
    "allowed": [{"policies": ["shop/a", "shop/b"], "direction": "Ingress", "packets": 12, "bytes": 720}],
    "denied": [{"endpoint": "shop/db", "direction": "Egress", "packets": 3, "bytes": 180}],
    "last_denied": [
        {
            "direction": "Egress",
            "protocol": "udp",
            "source": "fd00::1",
            "source_port": 9,
            "destination": "fd00::2",
            "destination_port": 53,
            "packets": 3,
            "seconds_ago": 1.6,
        }
    ],
}
NOTHING: dict[str, Any] = {"backends": {}, "allowed": [], "denied": [], "last_denied": []}


def test_nodes_policies_and_pods_are_rows() -> None:
    hostvars = {"node1": {"counted": NOTHING}, "node2": {"counted": COUNTED}, "node3": {"counted": {"failed": True}}}
    assert policy_report(hostvars, list(hostvars), "counted") == [
        "node   verdict  by or of        direction  packets  bytes",
        "-----  -------  --------------  ---------  -------  -----",
        "node2  allowed  shop/a, shop/b  Ingress    12       720",
        "node2  denied   shop/db         Egress     3        180",
        "node2: denied 3 packets of udp from [fd00::1]:9 to [fd00::2]:53 (Egress), the last 2 s ago",
        "node3: no answer, see its errors above",
    ]


def test_nothing_is_told_as_such() -> None:
    assert policy_report({"node1": {"counted": NOTHING}}, ["node1"], "counted") == ["no policy selects a pod"]
