# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The packet filters that can enforce compiled policies, by the names under which they are declared.

Each says what it has in its charge on the node and what it should have; of one that is not chosen that is nothing. One
that was chosen before is found by what it has left, not by what somebody remembers: a run may have been killed, or a
declaration lost. Of one that has left nothing, and whose tools need not be there, no more than that is found out.

Which addresses pods may send from is for all but eBPF the table ``bridge podnet``: IP sets cannot ask out of which port
of a bridge a packet came, and iptables sees nothing of ARP.

The facilities of all come in the order in which they are set up, and go in the reverse: what takes over is in force
before anything of what it takes over from goes. While both are, a packet passes where both let it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.facilities import (
    ebpf,
    ebpf_pins,
    ipsets,
    iptables_objects,
)
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ebpf import EBPF
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.ipsets import IPSETS
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.iptables import IPTABLES
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.iptables_tools import FLAVOURS
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_objects import BRIDGE_TABLE, TABLE
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nftables import NFTABLES, NFTABLES_BRIDGE, part
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import ebpf as ebpf_renderer
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter import (
    iptables,
    iptables_sets,
    nftables,
    nftables_senders,
)
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.bridged import ports
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.choice import DEFAULT, EBPF_NAME
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.iptables_words import Rendering
from ansible_collections.podnet.fabric.plugins.module_utils.packetfilter.several import (
    left_iptables,
    left_nftables,
    merged,
    taking_part,
)
from ansible_collections.podnet.fabric.plugins.module_utils.policy.compiler import Compiled, Endpoint
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Facility, State, Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_objects import Objects
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
    from ansible_collections.podnet.fabric.plugins.module_utils.policy.denials import Log
    from ansible_collections.podnet.fabric.plugins.module_utils.policy.senders import Sender


class Settings(NamedTuple):
    """What eBPF has to know besides: the bridge of the pods, and how much is remembered."""

    bridge: str
    flows: int
    fragments: int


@dataclass(frozen=True, eq=False)
class Enforced:
    """What shall be enforced, and before which pods; what may come out of these, and what of the rest is logged.

    With ``expecting`` pods may come of which it is told then what may come out of them.

    It is rendered once, for observing before and after a change.
    """

    compiled: Compiled
    guarded: Sequence[Endpoint]
    settings: Settings
    senders: Sequence[Sender] = ()
    log: Log | None = None
    expecting: bool = False
    _made: dict[Any, Any] = field(default_factory=dict)

    def rendered(self, render: Callable[..., Any], *further: Any) -> Any:
        """What a renderer makes of it, with what it has to know further."""
        return self.once(render, lambda: render(self.compiled, self.guarded, *further))

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """What is made of it, and is called by a key."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


class Backend(NamedTuple):
    """``target`` says what is and, where something shall be enforced, what should be; ``left``, at little cost and
    without an error, whether there may be anything of it on the node.
    """

    target: Callable[[Enforced | None, Host], Target]
    left: Callable[[], bool]


FACILITIES: tuple[Facility, ...] = (NFTABLES, NFTABLES_BRIDGE, IPSETS, IPTABLES, EBPF)


def _nftables(wanted: Enforced | None, _host: Host) -> Target:
    desired = wanted.rendered(nftables.render, wanted.log) if wanted else {}
    return part(lambda key: key[1].startswith(nftables.PREFIX), desired)


def _iptables(flavour: str, wanted: Enforced | None, _host: Host) -> Target:
    sets, rules = ipsets.observe(iptables_sets.SETS), iptables_objects.observe(flavour, iptables.CHAINS)
    desired = Rendering({}, {}, {})
    if wanted and not wanted.compiled.prepared:
        desired = iptables.render(flavour, wanted.compiled, wanted.guarded, wanted.log)
    elif wanted:
        desired = iptables_sets.fitting(partial(in_roles, flavour, wanted), sets, rules)
    current: State = {IPSETS.name: sets, IPTABLES.name: rules}
    return Target(current, {IPSETS.name: desired.sets, IPTABLES.name: desired.rules})


def in_roles(flavour: str, wanted: Enforced, called: iptables_sets.Names) -> Rendering:
    """A rendering for iptables that pods come to one by one."""
    what = (wanted.compiled, wanted.guarded, wanted.log, called)
    made: Rendering = wanted.once((flavour, called), lambda: iptables.render(flavour, *what))
    return made


def _ebpf(wanted: Enforced | None, host: Host) -> Target:
    """At the ports of the pods' bridge."""
    if wanted is None:
        return ebpf.part({}, host)
    bridge, flows, fragments = wanted.settings
    notes = []
    if bridge not in host.links:
        notes.append(f"policy: there is no bridge {bridge}, so nothing is enforced; run again when there is")
    origin = ebpf_renderer.render_senders(wanted.senders, host.index)
    elements = wanted.once(origin, lambda: wanted.rendered(ebpf_renderer.render) + origin)
    return ebpf.part(ebpf.wanted(elements, ports(bridge, host), flows, fragments, host), host)._replace(notes=notes)


def _origin(wanted: Mapping[str, Enforced]) -> Target:
    found: Objects = {}
    for name, each in wanted.items():
        if name != EBPF_NAME:
            found.update(nftables_senders.render(each.senders, each.expecting))
    # The table holds nothing else; where it is neither wanted nor there, nothing of nftables is needed.
    if not found and not left_nftables((BRIDGE_TABLE, "")):
        return Target({}, {})
    return part(lambda key: key[1].startswith(nftables_senders.PREFIX), found, NFTABLES_BRIDGE)


BACKENDS: Mapping[str, Backend] = {
    DEFAULT: Backend(_nftables, partial(left_nftables, (TABLE, nftables.PREFIX))),
    **{
        f"iptables-{flavour}": Backend(
            partial(_iptables, flavour), partial(left_iptables, flavour, iptables_sets.SETS, iptables.CHAINS)
        )
        for flavour in FLAVOURS
    },
    EBPF_NAME: Backend(_ebpf, ebpf_pins.FOLDER.exists),
}


def target(wanted: Mapping[str, Enforced], former: Iterable[str], host: Host) -> Target:
    """What is and what should be.

    :param wanted: what shall be enforced, by the names of the backends
    :param former: the names of those that enforced something before
    :raises DeclarationError: there is no such backend
    """
    used = taking_part({name: backend.left for name, backend in BACKENDS.items()}, {*wanted, *former})
    return merged([*(BACKENDS[name].target(wanted.get(name), host) for name in used), _origin(wanted)])
