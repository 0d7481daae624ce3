# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host as a reconcile sees it: one netlink socket and the table of links, read once until something changes."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.connection import Netlink
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.conntrack import keep_netfilter, let_netfilter_go
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.link import Link, dump_links
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.nexthop import supports_nexthops

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self


class Host:
    """Opened lazily in the network namespace of the process; a context manager.

    :param force: carry out what otherwise needs the operator's explicit word (removing a bridge with pods on it)

    ``declarations`` are the node's, of all kinds: routes through an interface that is not ours are told apart by them.
    ``leaving`` names the interfaces and addresses that go, before anything else, with pods of ours that are detached.
    """

    def __init__(self, force: bool = False) -> None:
        self.force = force
        self.leaving: frozenset[str] = frozenset()
        self.declarations = Declarations()
        self._collecting = False
        self._netlink: Netlink | None = None
        self._links: dict[str, Link] | None = None
        self._nexthops: bool | None = None

    def __enter__(self) -> Self:
        # Tens of thousands of tuples without a cycle among them: the collector would walk them again and again, at
        # 10,000 peers for half of the time that finding nothing to do takes.
        self._collecting = gc.isenabled()
        gc.disable()
        keep_netfilter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._collecting:
            # Nor now: what is left is the answer, and the process ends with it.
            gc.freeze()
            gc.enable()
        let_netfilter_go()
        if self._netlink is not None:
            self._netlink.close()

    @property
    def netlink(self) -> Netlink:
        if self._netlink is None:
            self._netlink = Netlink()
        return self._netlink

    @property
    def links(self) -> dict[str, Link]:
        """The links by name."""
        if self._links is None:
            self._links = {link.name: link for link in dump_links(self.netlink)}
        return self._links

    @property
    def names(self) -> dict[int, str]:
        """Interface index to name."""
        return {link.index: name for name, link in self.links.items()}

    @property
    def index(self) -> dict[str, int]:
        """Name to interface index."""
        return {name: link.index for name, link in self.links.items()}

    @property
    def has_nexthop_objects(self) -> bool:
        """Whether the kernel has nexthop objects (Linux 5.3)."""
        if self._nexthops is None:
            self._nexthops = supports_nexthops(self.netlink)
        return self._nexthops

    def forget(self) -> None:
        """Read the links anew at the next look: something has changed."""
        self._links = None
