# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses of services are read as they are written, with every error at once; IPVS' list is read as recorded."""

from __future__ import annotations

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils.errors import InvalidInput
from ansible_collections.podnet.fabric.plugins.module_utils.evidence import vips
from ansible_collections.podnet.fabric.plugins.module_utils.evidence.vips import Vip

# The form of ip_vs_info_seq_show (net/netfilter/ipvs/ip_vs_ctl.c).
IP_VS = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A600001:01BB rr
  -> C0000202:192B      Masq    1      0          0
UDP  [fd00:0010:0096:0000:0000:0000:0000:000a]:0035 wrr
"""


def test_every_way_to_write_an_address_is_read() -> None:
    texts = ["10.96.0.10", "10.96.0.10:53", "10.96.0.10:53/UDP", "fd00:10:96::0a", "[fd00:10:96::a]:443/tcp", "[::1]"]
    assert vips.read(texts) == [
        Vip(texts[0], "10.96.0.10"),
        Vip(texts[1], "10.96.0.10", 53),
        Vip(texts[2], "10.96.0.10", 53, "udp"),
        Vip(texts[3], "fd00:10:96::a"),
        Vip(texts[4], "fd00:10:96::a", 443, "tcp"),
        Vip(texts[5], "::1"),
    ]


def test_every_address_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        vips.read(["10.96.0.10", "10.96.0.1000", "10.96.0.10:70000", "10.96.0.10:53/icmp", "a b/c/d", ""])
    told = str(caught.value)
    assert [f"vips[{position}]" in told for position in range(6)] == [False, True, True, True, True, True]


def test_virtual_services_of_ipvs_are_read() -> None:
    four, six = vips.virtual_services(IP_VS)
    assert four[:5] == ("ipvs", "somebody", "10.96.0.1", 443, "tcp")
    assert four.text == "10.96.0.1:443/tcp in /proc/net/ip_vs, scheduler rr"
    assert six[2:5] == ("fd00:10:96::a", 53, "udp")
