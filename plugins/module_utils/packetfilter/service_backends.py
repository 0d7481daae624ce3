# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The packet filters that can program compiled services, by the names under which they are declared.

As in backends.py, of which the order is: what takes over is in force before what it takes over from goes. While both
are, a connection is sent on by one of them, and what stands stays where the kernel has sent it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Callable, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.facilities import ipsets, iptables_objects
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ipsets import IPSETS
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.iptables import IPTABLES
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.iptables_tools import FLAVOURS
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_objects import TABLE
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nftables import NFTABLES
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import (
    service_iptables,
    service_nftables,
    service_target,
)
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.choice import DEFAULT, EBPF_NAME
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.iptables_words import Rendering
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.service_iptables_objects import CHAINS, SETS
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.several import (
    left_iptables,
    left_nftables,
    merged,
    taking_part,
)
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Facility, State, Target

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.service_target import Declared


class Backend(NamedTuple):
    """``target``, given the node's own addresses, says what is and, where something shall be programmed, what should
    be; ``left``, at little cost and without an error, whether there may be anything of it on the node.
    """

    target: Callable[[Declared | None, frozenset[bytes]], Target]
    left: Callable[[], bool]


FACILITIES: tuple[Facility, ...] = (NFTABLES, IPSETS, IPTABLES)


def packet_filter(name: str) -> str:
    """The one that a declared backend takes: eBPF's programs (facilities/service_ebpf.py) leave the rest to it."""
    return DEFAULT if name == EBPF_NAME else name


def target(wanted: Mapping[str, Declared], former: Collection[str], own: frozenset[bytes]) -> Target:
    """What is and what should be.

    :param wanted: what shall be programmed, by the names of the backends
    :param former: the names of those that programmed something before
    :param own: the node's own addresses
    :raises DeclarationError: there is no such backend
    """
    used = taking_part({name: backend.left for name, backend in BACKENDS.items()}, {*wanted, *former})
    return merged(BACKENDS[name].target(wanted.get(name), own) for name in used)


def _iptables(flavour: str, wanted: Declared | None, _own: frozenset[bytes]) -> Target:
    desired = service_iptables.render(flavour, *wanted) if wanted else Rendering({}, {}, {})
    tables = (iptables_objects.NAT, iptables_objects.TABLE)
    current: State = {
        IPSETS.name: ipsets.observe(SETS),
        IPTABLES.name: iptables_objects.observe(flavour, CHAINS, tables),
    }
    return Target(current, {IPSETS.name: desired.sets, IPTABLES.name: desired.rules})


BACKENDS: Mapping[str, Backend] = {
    DEFAULT: Backend(service_target.target, partial(left_nftables, (TABLE, service_nftables.PREFIX))),
    **{
        f"iptables-{flavour}": Backend(partial(_iptables, flavour), partial(left_iptables, flavour, SETS, CHAINS))
        for flavour in FLAVOURS
    },
}
