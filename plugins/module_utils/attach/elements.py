# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a new pod adds to sets: to those that lead to its guards, to those of its peers' guards, and to those that say
what comes out of its interface.

The last is what policy/senders.py and packetfilter/nftables_senders.py make of the same pod, without their imports.
"""

from __future__ import annotations

import _socket
from _struct import pack

from ansible_collections.podnet.fabric.plugins.module_utils.attach import transaction, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.attach.record import Attached
    from ansible_collections.podnet.fabric.plugins.module_utils.attach.table import Element

PORTS, ANY_LINK_LOCAL = "senders-known", "senders-any-link-local"
ADDRESSES4, ADDRESSES6, ADVERTISE = "senders-addresses4", "senders-addresses6", "senders-advertised6"
NAME_BYTES = 16  # IFNAMSIZ
GET_LINK, MASTER = 18, 10  # RTM_GETLINK, IFLA_MASTER


def add(told: Sequence[Element], pod: Attached | None, bridge: str | None) -> None:
    """Add what the policies make of pods by one transaction.

    :param pod: the one that it is of, where that is one of this node
    :param bridge: where it sends from its own addresses only; None where nothing sees to that
    :raises OSError: the kernel has refused, and nothing has changed
    :raises ValueError: something of the pod has no form
    """
    made = [(transaction.INET, name, packed(address), chain) for name, address, chain in told]
    if pod is not None and bridge is not None and pod.addresses:
        made += ((transaction.BRIDGE, name, key, "") for name, key in _origin(pod, bridge))
    if made:
        transaction.add(made)


def packed(address: str) -> bytes:
    """An address as the kernel has it."""
    return _socket.inet_pton(_socket.AF_INET6 if ":" in address else _socket.AF_INET, address)


def ports(pod: Attached, bridge: str) -> list[str]:
    """The node's ends of a pod's interfaces, as far as they are on a bridge.

    :raises OSError: one of them is not there, or no such bridge
    """
    names = {str(each["name"]) for each in pod.wiring if each.get("name") and not each.get("sandbox")}
    return [name for name in sorted(names) if name != bridge and _is_on(name, bridge)]


def sources(pod: Attached) -> tuple[set[bytes], set[bytes], bool]:
    """The addresses that a pod may send from, of IPv4 and of IPv6, and whether its link-local one is not known."""
    macs = {str(each["mac"]) for each in pod.wiring if each.get("mac") and each.get("sandbox")}
    four = {packed(each) for each in pod.addresses if ":" not in each}
    six = {packed(each) for each in pod.addresses if ":" in each}
    if len(macs) == 1:
        six.add(_link_local(macs.pop()))
        return four, six, False
    return four, six, True


def _origin(pod: Attached, bridge: str) -> list[tuple[str, bytes]]:
    four, six, unsure = sources(pod)
    found: list[tuple[str, bytes]] = []
    for name in ports(pod, bridge):
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
