# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables and built-in chains that iptables-nft makes for our rules, and that go with the last of these.

iptables makes a table and a built-in chain with the first rule that is put there, and leaves both behind, empty. What
was not there before a change of ours is noted down before it, in /run, for one start of the machine and one network
namespace. What somebody uses by then stays: the kernel removes a chain or a table of these only where it is empty. The
legacy flavour's tables are the kernel's own and cannot be removed.
"""

from __future__ import annotations

import errno
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.declaration import RUN, boot_id, write_atomically
from ansible_collections.podnet.fabric.plugins.module_utils.errors import ApplyError, in_words
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.iptables_objects import BUILT_IN
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.iptables_tools import OURS
from ansible_collections.podnet.fabric.plugins.module_utils.netlink import nf_tables
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.conntrack import open_netfilter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.connection import Netlink

NOTE = RUN / "iptables-made.json"
# Of a family as tools know it: that of netfilter (enum nfproto).
_FAMILIES = {4: nf_tables.IPV4, 6: nf_tables.IPV6}
_TABLE = ""
"""What stands for the table itself among the chains."""


def note(family: int, tables: Iterable[str]) -> None:
    """Before a change by iptables-nft: what it may make in these tables.

    :param family: 4 or 6
    """
    with open_netfilter() as nl:
        made = _read(nl)
        before = dict(made)
        for table in tables:
            chains = nf_tables.base_chains(nl, _FAMILIES[family], table)
            known = made.get(f"{family} {table}", [])
            absent = [name for name in BUILT_IN if name not in chains]
            if not chains and not nf_tables.has_table(nl, _FAMILIES[family], table):
                absent.append(_TABLE)
            # What we have made before is noted down still.
            made[f"{family} {table}"] = sorted({*absent, *known})
        if made != before:
            _write(nl, made)


def clear() -> None:
    """After a change: remove what was made for rules of ours, where none is left and nobody else uses it.

    :raises ApplyError: the kernel refuses, or the note cannot be written
    """
    if not NOTE.exists():
        return
    try:
        _clear()
    except OSError as error:
        raise ApplyError([f"iptables: what was made for our rules cannot be removed: {in_words(error)}"]) from error


def _clear() -> None:
    with open_netfilter() as nl:
        made = _read(nl)
        left = {}
        for where, names in made.items():
            number, _space, table = where.partition(" ")
            family = _FAMILIES[int(number)]
            chains = nf_tables.chain_uses(nl, family, table)
            if any(name.startswith(OURS) for name in chains):
                left[where] = names
                continue
            gone = {name: nf_tables.delete_chain(family, table, name) for name in names if chains.get(name) == 0}
            if _TABLE in names:
                gone[_TABLE] = nf_tables.delete_table(family, table)
            for name, message in gone.items():
                for error in nf_tables.transact(nl, [message]):
                    if error.errno != errno.EBUSY and (
                        error.errno != errno.ENOENT or _is_there(nl, family, table, name)
                    ):
                        raise error
        _write(nl, left)


def _is_there(nl: Netlink, family: int, table: str, name: str) -> bool:
    if name == _TABLE:
        return nf_tables.has_table(nl, family, table)
    return name in nf_tables.chain_uses(nl, family, table)


def _read(nl: Netlink) -> dict[str, Any]:
    try:
        told = json.loads(NOTE.read_text(encoding="utf-8"))
        return dict(told["made"]) if told["at"] == _at(nl) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _write(nl: Netlink, made: dict[str, Any]) -> None:
    if not made:
        with suppress(FileNotFoundError):
            NOTE.unlink()
        return
    write_atomically(NOTE, json.dumps({"at": _at(nl), "made": made}), 0o600)


def _at(nl: Netlink) -> list[Any]:
    return [boot_id(), nl.namespace()]
