# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our table read from the kernel without nft: sets may have tens of thousands of elements.

What we make is read here. Anything else in our table, a set of another type or an element with a timeout, is left to
nft, which knows all there is; so what somebody else has put there is seen all the same.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.facilities import nft_joined, nft_objects, nft_seen
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_objects import (
    MARK,
    TABLE,
    NftChain,
    NftMap,
    NftSet,
    NftTable,
)
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import IP_TEXTS
from ansible_collections.podnet.fabric.plugins.module_utils.netlink import nf_tables
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.attributes import attributes, walk
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.conntrack import open_netfilter
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.errors import NetlinkError
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.nf_tables import UnknownForm

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_objects import Objects
    from ansible_collections.podnet.fabric.plugins.module_utils.netlink.connection import Netlink

NAME = TABLE.partition(" ")[2]
# enum nfproto
FAMILIES = {"inet": 1, "bridge": 7}
# nft's numbers of types (enum datatypes in its datatype.h), and the bytes of a key.
TYPES = {7: ("ipv4_addr", 4), 8: ("ipv6_addr", 16)}
COUNTER = "counter"
# enum nf_inet_hooks
HOOKS = ("prerouting", "input", "forward", "output", "postrouting", "ingress")
_ATTEMPTS = 5
# The table is not there, or nf_tables is not.
_NOTHING = {errno.ENOENT, errno.EOPNOTSUPP, errno.EINVAL, errno.EPROTONOSUPPORT}


class _Known(NamedTuple):
    """What stood in tables of a network namespace after a transaction, by the kernel's numbers of both."""

    namespace: int
    generation: int
    tables: dict[str, Objects]


_known: _Known | None = None
# Whether this run has changed anything, so that what it has come to is worth a note.
_changed = False


def observe(table: str = TABLE, expected: Objects | None = None) -> tuple[Objects, list[str]]:
    """A table of ours, its sets and its chains by (sort, name), and a line when it is somebody else's.

    One other than ``inet podnet`` holds little, and is left to nft where it is there at all.

    :param expected: what is likely to be there; of that not all need be read (nft_seen.py)
    """
    try:
        with open_netfilter() as nl:
            return dict(read(nl, table, expected)), []
    except UnknownForm:
        return nft_objects.observe(table, there=True)
    except NetlinkError as error:
        if error.errno not in _NOTHING:
            raise
    return nft_objects.observe(table)


def read(nl: Netlink, table: str = TABLE, expected: Objects | None = None) -> Objects:
    """What stands in a table of ours, all of one moment.

    As long as there was no other transaction, of whomever, it is what has been read before; but for what packets put
    into maps, which makes no other generation.

    :raises UnknownForm: nft has to be asked
    """
    global _known, _changed  # noqa: PLW0603 - what one run has read
    for _attempt in range(_ATTEMPTS):
        namespace, generation = nl.namespace(), nf_tables.generation(nl)
        before = _known.tables if _known is not None and _known[:2] == (namespace, generation) else {}
        if table in before:
            found = _refreshed(nl, before[table])
        elif table == TABLE:
            found = _read(nl, nft_seen.known(namespace, generation, expected or {}))
        else:
            found = _by_nft(nl, table)
        if nf_tables.generation(nl) == generation:
            _known = _Known(namespace, generation, {**before, table: found}) if namespace else None
            if _changed and table == TABLE and expected is not None:
                nft_seen.note(namespace, generation, expected, found)
                _changed = False
            return found
    raise UnknownForm(table)


def _refreshed(nl: Netlink, objects: Objects) -> Objects:
    """The same with what packets have put into maps meanwhile."""
    if not any(isinstance(obj, NftMap) and obj.dynamic for obj in objects.values()):
        return objects
    told = (each for each in nf_tables.dump_sets(nl, NAME) if each.flags & nf_tables.EVAL)
    return {**objects, **dict(read_set(nl, each) for each in told)}


def _by_nft(nl: Netlink, table: str) -> Objects:
    # Most nodes have no such table, each run asks, and nft takes a hundred times as long to say so.
    family, _space, name = table.partition(" ")
    if not nf_tables.has_table(nl, FAMILIES[family], name):
        return {}
    found, conflicts = nft_objects.observe(table, there=True)
    if conflicts:
        raise UnknownForm(table)
    return found


def changed() -> None:
    """This run changes something: when it has looked at that, it notes it down."""
    global _changed  # noqa: PLW0603
    _changed = True


def learn(nl: Netlink, generation: int, objects: Sequence[NftSet | NftMap]) -> None:
    """After a transaction of ours, whose outcome has been looked up: the rest is as it was when it was read.

    :param generation: the number of before it; when somebody else had one, too, or nothing was read, nothing is known
    """
    global _known  # noqa: PLW0603
    if _known is None or _known[:2] != (nl.namespace(), generation) or TABLE not in _known.tables:
        return
    if nf_tables.generation(nl) == generation + 1:
        of_table = {**_known.tables[TABLE], **{key_of(obj): obj for obj in objects}}
        _known = _known._replace(generation=generation + 1, tables={**_known.tables, TABLE: of_table})


def key_of(obj: NftSet | NftMap) -> tuple[str, str]:
    """Under what a set or a map stands among the objects."""
    return ("map" if isinstance(obj, NftMap) else "set", obj.name)


def read_set(nl: Netlink, told: nf_tables.Set) -> tuple[tuple[str, str], NftSet | NftMap]:
    """A set or a map, and what it stands under.

    :raises UnknownForm: nft has to be asked
    """
    sort, obj = _set(nl, told)
    return (sort, told.name), obj


def forget() -> None:
    """Read everything at the next look."""
    global _known  # noqa: PLW0603
    _known = None


def _read(nl: Netlink, known: Objects) -> Objects:
    chains = nf_tables.dump_chains(nl, NAME)
    # Two answers have to agree on that there is nothing: rules that are taken for missing would be added once more.
    if not chains and not nf_tables.has_table(nl, nf_tables.INET, NAME):
        return {}
    if not any(chain.name == MARK for chain in chains) or nf_tables.has_objects(nl, NAME):
        # Not ours, or more in it than we make.
        raise UnknownForm(NAME)
    found: Objects = {("table", TABLE): NftTable(TABLE)}
    for each in nf_tables.dump_sets(nl, NAME):
        if not each.flags & nf_tables.ANONYMOUS:
            key = ("map" if each.flags & nf_tables.MAP else "set", each.name)
            found[key] = known[key] if key in known else _set(nl, each)[1]
    rules = _in_order(nf_tables.dump_rules(nl, NAME))
    for chain in chains:
        if chain.name != MARK:
            hook = HOOKS[chain.hook] if 0 <= chain.hook < len(HOOKS) else ""
            comments = tuple(rules.get(chain.name, ()))
            found["chain", chain.name] = NftChain(
                chain.name, chain.type if hook else "", hook, chain.priority, comments
            )
    return found


def _set(nl: Netlink, told: nf_tables.Set) -> tuple[str, NftSet | NftMap]:
    if told.expressions not in ((), (COUNTER,)) or (told.expressions and told.flags):
        raise UnknownForm(told.name)
    if told.type not in TYPES or told.size != TYPES[told.type][1]:
        return nft_joined.read(nl, NAME, told)
    name, size = TYPES[told.type]
    if told.flags == nf_tables.MAP:
        elements = list(nf_tables.dump_elements(nl, NAME, told.name))
        if any(each.code != nf_tables.JUMP or each.flags for each in elements):
            raise UnknownForm(told.name)
        pairs = frozenset((IP_TEXTS[each.key], f"jump {each.chain}") for each in elements)
        return "map", NftMap(told.name, name, pairs)
    if told.flags == nf_tables.INTERVAL:
        begins, ends = nf_tables.dump_bounds(nl, NAME, told.name, size)
        return "set", NftSet(told.name, name, frozenset(_prefixes(begins, ends, size)))
    if told.flags:
        raise UnknownForm(told.name)
    if told.expressions:
        counted = frozenset(map(IP_TEXTS.__getitem__, _counted_keys(nl, told.name)))
        return "set", NftSet(told.name, name, counted, interval=False, counted=True)
    keys = nf_tables.dump_keys(nl, NAME, told.name, size)
    return "set", NftSet(told.name, name, frozenset(map(IP_TEXTS.__getitem__, keys)), interval=False)


def _counted_keys(nl: Netlink, name: str) -> Iterator[bytes]:
    """The keys of a set whose elements have a counter each, and nothing else."""
    for data in nf_tables.element_lists(nl, NAME, name):
        for _kind, offset, size in walk(data, 0, len(data)):
            fields = attributes(data, offset, offset + size)
            if fields.keys() != {nf_tables.KEY, nf_tables.EXPRESSION}:
                raise UnknownForm(name)
            yield attributes(fields[nf_tables.KEY])[1]


def _prefixes(begins: Iterable[bytes], ends: Iterable[bytes], size: int) -> Iterator[str]:
    """The prefixes of an interval set, of which the kernel tells where each begins and where it has ended.

    Where the next begins at once, or where the addresses end, no end is told.
    """
    bits = 8 * size
    ordered = [int.from_bytes(key, "big") << 1 | 1 for key in begins] + [
        int.from_bytes(key, "big") << 1 for key in ends
    ]
    ordered.sort()
    begin: int | None = None
    for bound in (*ordered, 1 << (bits + 1)):
        if begin is not None:
            span = (bound >> 1) - begin
            if span & (span - 1) or begin & (span - 1):
                raise UnknownForm("a range that is no prefix")
            yield f"{IP_TEXTS[begin.to_bytes(size, 'big')]}/{bits - span.bit_length() + 1}"
        begin = bound >> 1 if bound & 1 else None


def _in_order(rules: Iterable[nf_tables.Rule]) -> dict[str, list[str]]:
    """The comments by chain, in the order of the rules: each tells which one it comes after."""
    following: dict[tuple[str, int], nf_tables.Rule] = {(rule.chain, rule.after): rule for rule in rules}
    found: dict[str, list[str]] = {}
    for chain in {chain for chain, _after in following}:
        rule = following.get((chain, 0))
        while rule is not None:
            found.setdefault(chain, []).append("(no comment)" if rule.comment is None else rule.comment)
            rule = following.get((chain, rule.handle))
    return found
