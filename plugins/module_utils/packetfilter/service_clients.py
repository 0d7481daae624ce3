# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of the clients that a packet filter remembers may come back to their backend."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_packed import JOINED
from ansible_collections.podnet.fabric.plugins.module_utils.policy.ranges import holds
from ansible_collections.podnet.fabric.plugins.module_utils.service.compiler import Backend, Frontend

if TYPE_CHECKING:
    from ansible_collections.podnet.fabric.plugins.module_utils.policy.ranges import Ranges
    from ansible_collections.podnet.fabric.plugins.module_utils.service.compiler import Table


class Clients(NamedTuple):
    """The clients of a family: the node itself and its pods are inside."""

    table: Table
    blocks: Ranges
    own: frozenset[bytes]
    family: int

    def may_stay(self, key: str, value: str) -> bool:
        """Whether a client may come back to its backend.

        :param key: the client, and what it connected to, as the map of clients holds it
        :param value: the backend
        """
        client, address, protocol, port = key.split(JOINED)
        frontend = Frontend(self.family, int(ipaddress.ip_address(address)), protocol, int(port))
        frontends = self.table.frontends
        handling = frontends.get(frontend) or frontends.get(frontend._replace(address=None))
        if handling is None or not handling.affinity:
            return False
        source = ipaddress.ip_address(client)
        inside = holds(self.blocks, int(source)) or source.packed in self.own
        host, number = value.split(JOINED)
        answer = handling.inside if inside else handling.outside
        return Backend(int(ipaddress.ip_address(host)), int(number)) in answer.backends
