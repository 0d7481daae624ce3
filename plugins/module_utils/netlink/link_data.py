# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What links of each kind are made of: IFLA_INFO_DATA, to read and to write (linux/if_link.h, linux/if_tunnel.h)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.netlink.attributes import attribute, number, number_of

if TYPE_CHECKING:
    from collections.abc import Mapping

# IFLA_IPTUN_FLAGS of an ip6tnl: no limit of nested tunnels travels in the packets (linux/ip6_tunnel.h).
IP6_TNL_F_IGN_ENCAP_LIMIT = 0x1
# The flags above these are what the kernel has found out (IP6_TNL_F_CAP_...).
_IP6_TNL_SETTABLE = 0xFFFF


class Sort(NamedTuple):
    """How an attribute is read out of its payload, and written; an address has a size in bytes as well."""

    read: Callable[[bytes], Any]
    write: Callable[[int, Any], bytes]
    size: int = 0


def _octet(kind: int, value: Any) -> bytes:
    return attribute(kind, bytes((value,)))


def _short(kind: int, value: int) -> bytes:
    # In host byte order, which is the one that the first bytes of a 32-bit number tell.
    return attribute(kind, value.to_bytes(2, "little" if number(0, 1)[4] else "big"))


def _swapped(kind: int, value: int) -> bytes:
    return attribute(kind, value.to_bytes(2, "big"))


def _settable(payload: bytes) -> int:
    return number_of(payload) & _IP6_TNL_SETTABLE


def _present(_payload: bytes) -> bool:
    return True


def _presence(kind: int, value: bool) -> bytes:
    return attribute(kind) if value else b""


OCTET = Sort(number_of, _octet)
SHORT = Sort(number_of, _short)
NUMBER = Sort(number_of, number)
TUNNEL_FLAGS = Sort(_settable, number)
SWAPPED = Sort(lambda payload: int.from_bytes(payload, "big"), _swapped)
FLAG = Sort(lambda payload: bool(number_of(payload)), _octet)
# An attribute without a payload (NLA_FLAG): that it is there is what it says.
PRESENCE = Sort(_present, _presence)
IPV4 = Sort(bytes, attribute, 4)
IPV6 = Sort(bytes, attribute, 16)

# Kind -> attribute of IFLA_INFO_DATA -> (name, sort); names as in `ip -details link`.
KINDS: Mapping[str, Mapping[int, tuple[str, Sort]]] = {
    "vxlan": {
        1: ("id", NUMBER),
        2: ("remote", IPV4),
        3: ("link", NUMBER),
        4: ("local", IPV4),
        5: ("ttl", OCTET),
        6: ("tos", OCTET),
        7: ("learning", FLAG),
        8: ("ageing", NUMBER),
        11: ("proxy", FLAG),
        12: ("rsc", FLAG),
        13: ("l2miss", FLAG),
        14: ("l3miss", FLAG),
        15: ("port", SWAPPED),
        16: ("remote", IPV6),
        17: ("local", IPV6),
        18: ("udp_csum", FLAG),
        19: ("udp_zero_csum6_tx", FLAG),
        20: ("udp_zero_csum6_rx", FLAG),
        23: ("gbp", PRESENCE),
        25: ("external", FLAG),
        28: ("ttl_inherit", FLAG),
        29: ("df", OCTET),
        30: ("vnifilter", FLAG),
    },
    "geneve": {
        1: ("id", NUMBER),
        2: ("remote", IPV4),
        3: ("ttl", OCTET),
        4: ("tos", OCTET),
        5: ("port", SWAPPED),
        6: ("external", PRESENCE),
        7: ("remote", IPV6),
        8: ("udp_csum", FLAG),
        9: ("udp_zero_csum6_tx", FLAG),
        10: ("udp_zero_csum6_rx", FLAG),
        12: ("ttl_inherit", FLAG),
        13: ("df", OCTET),
    },
    "ipip": {
        1: ("link", NUMBER),
        2: ("local", IPV4),
        3: ("remote", IPV4),
        4: ("ttl", OCTET),
        5: ("tos", OCTET),
        9: ("proto", OCTET),
        10: ("pmtudisc", FLAG),
        19: ("external", PRESENCE),
    },
    "ip6tnl": {
        1: ("link", NUMBER),
        2: ("local", IPV6),
        3: ("remote", IPV6),
        4: ("ttl", OCTET),
        6: ("encap_limit", OCTET),
        8: ("flags", TUNNEL_FLAGS),
        9: ("proto", OCTET),
        19: ("external", PRESENCE),
    },
    "bridge": {
        1: ("forward_delay", NUMBER),
        2: ("hello_time", NUMBER),
        3: ("max_age", NUMBER),
        4: ("ageing_time", NUMBER),
        5: ("stp_state", NUMBER),
        6: ("priority", SHORT),
        7: ("vlan_filtering", FLAG),
        22: ("mcast_router", OCTET),
        23: ("mcast_snooping", FLAG),
        36: ("nf_call_iptables", FLAG),
        37: ("nf_call_ip6tables", FLAG),
        39: ("vlan_default_pvid", SHORT),
    },
}


def read_data(kind: str, had: Mapping[int, bytes]) -> dict[str, Any]:
    """The attributes of a link's kind by name, those that we know."""
    known = KINDS.get(kind, {})
    return {known[number][0]: known[number][1].read(payload) for number, payload in had.items() if number in known}


def write_data(kind: str, data: Mapping[str, Any]) -> bytes:
    """The attributes of a link's kind. Addresses are packed, and their size tells which attribute carries them."""
    encoded = b""
    for name, value in data.items():
        size = len(value) if isinstance(value, bytes) else 0
        for attribute_number, (known, sort) in KINDS.get(kind, {}).items():
            if known == name and sort.size == size:
                encoded += sort.write(attribute_number, value)
                break
        else:
            raise ValueError(f"links of kind {kind} have no {name} like {value!r}")
    return encoded
