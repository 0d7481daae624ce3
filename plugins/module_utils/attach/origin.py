# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a new pod adds to the sets of packetfilter/nftables_senders.py: whose addresses come out of its interface.

It is what policy/senders.py and that renderer make of the same pod, without what they import.
"""

from __future__ import annotations

import _socket
from _struct import pack

from ansible_collections.podnet.fabric.plugins.module_utils.attach import transaction, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.plugins.module_utils.attach.record import Attached

PORTS, ANY_LINK_LOCAL = "senders-known", "senders-any-link-local"
ADDRESSES4, ADDRESSES6, ADVERTISE = "senders-addresses4", "senders-addresses6", "senders-advertised6"
NAME_BYTES = 16  # IFNAMSIZ
GET_LINK, MASTER = 18, 10  # RTM_GETLINK, IFLA_MASTER


def allow(pod: Attached, bridge: str) -> None:
    """Have a pod send from its own addresses only, at its ports of the bridge.

    :raises OSError: the kernel has refused, and nothing has changed
    :raises ValueError: something of the pod has no form
    """
    elements = _elements(pod, bridge)
    if elements:
        transaction.add(elements)


def _elements(pod: Attached, bridge: str) -> list[tuple[str, bytes]]:
    names = {str(each["name"]) for each in pod.wiring if each.get("name") and not each.get("sandbox")}
    ports = [name for name in sorted(names) if name != bridge and _is_on(name, bridge)] if pod.addresses else []
    macs = {str(each["mac"]) for each in pod.wiring if each.get("mac") and each.get("sandbox")}
    four = {_socket.inet_pton(_socket.AF_INET, each) for each in pod.addresses if ":" not in each}
    six = {_socket.inet_pton(_socket.AF_INET6, each) for each in pod.addresses if ":" in each}
    if len(macs) == 1:
        six.add(_link_local(macs.pop()))
        unsure = False
    else:
        unsure = True
    found: list[tuple[str, bytes]] = []
    for name in ports:
        port = name.encode().ljust(NAME_BYTES, b"\0")
        found.append((PORTS, port))
        if unsure:
            found.append((ANY_LINK_LOCAL, port))
        found += [(ADDRESSES4, port + each) for each in sorted(four)]
        found += [(of, port + each) for each in sorted(six) for of in (ADDRESSES6, ADVERTISE)]
    return found


def _link_local(mac: str) -> bytes:
    """As link_local of policy/senders.py."""
    octets = bytes.fromhex(mac.replace(":", ""))
    if len(octets) != 6:
        raise ValueError(f"{mac!r} is no MAC address")
    return b"\xfe\x80" + bytes(6) + bytes((octets[0] ^ 2, *octets[1:3], 0xFF, 0xFE, *octets[3:]))


def _is_on(name: str, bridge: str) -> bool:
    """Whether an interface is on a bridge.

    :raises OSError: there is no such interface, or no such bridge
    """
    wanted = pack("=I", _socket.if_nametoindex(bridge))
    # struct ifinfomsg: family, padding, type, index, flags, change
    body = pack("=BxHiII", 0, 0, _socket.if_nametoindex(name), 0, 0)
    answers = wire.exchange(_socket.NETLINK_ROUTE, [wire.message(GET_LINK, wire.REQUEST, 1, body)], {1})
    return any((MASTER, wanted) in list(wire.attributes(each[16:])) for each in answers)
