# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our table read from the kernel without nft: sets may have tens of thousands of elements.

What we make is read here. Anything else in our table, a set of another type or an element with a timeout, is left to
nft, which knows all there is; so what somebody else has put there is seen all the same.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.facilities import nft_joined, nft_objects, nft_seen
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_objects import (
    MARK,
    TABLE,
    NftChain,
    NftMap,
    NftSet,
    NftTable,
)
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.nft_packed import bundles, head, without_value
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import IP_TEXTS, packed_ip
from ansible_collections.podnet.fabric.plugins.module_utils.netlink import nf_tables
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
# enum nf_inet_hooks
HOOKS = ("prerouting", "input", "forward", "output", "postrouting", "ingress")
_ATTEMPTS = 5
MANY = 1000
"""Elements of a change from which on to look all up anew is as good as to look each up."""
MOST_MESSAGES = 500
"""Of a transaction, which are some 30 million bytes."""
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
        return nft_objects.observe(table)
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
    found = [_set(nl, each) for each in nf_tables.dump_sets(nl, NAME) if each.flags & nf_tables.EVAL]
    return {**objects, **{(sort, obj.name): obj for sort, obj in found}}


def _by_nft(nl: Netlink, table: str) -> Objects:
    # Most nodes have no such table, each run asks, and nft takes a hundred times as long to say so.
    family, _space, name = table.partition(" ")
    if not nf_tables.has_table(nl, FAMILIES[family], name):
        return {}
    found, conflicts = nft_objects.observe(table)
    if conflicts:
        raise UnknownForm(table)
    return found


def change(before: Sequence[NftSet | NftMap], after: Sequence[NftSet | NftMap]) -> bool:
    """Change the elements of sets of plain addresses and of what is packed, all in one transaction.

    What was changed is looked up afterwards, unless it is much. Then, when nobody else had a transaction since the
    table was read, the rest is known to be as it was, and is not read again.

    :returns: False when that is left to nft
    :raises NetlinkError: refused; nothing of it holds
    """
    global _known  # noqa: PLW0603
    steps = [step for had, obj in zip(before, after) for step in _steps(had, obj)]
    count = sum(len(elements) for _obj, _add, elements in steps)
    if not steps or not all(isinstance(each, bytes) for _obj, _add, elements in steps for each in elements):
        return False
    messages = [
        each
        for obj, add, elements in steps
        for each in nf_tables.encode_elements(NAME, obj.name, bundles(elements), add=add)
    ]
    if len(messages) > MOST_MESSAGES:
        return False
    with open_netfilter() as nl:
        former, generation = _known, nf_tables.generation(nl)
        for error in nf_tables.transact(nl, messages):
            raise error
        if count > MANY or not former or former[:2] != (nl.namespace(), generation) or TABLE not in former.tables:
            return True
        took = all(nf_tables.held(nl, NAME, name, key) == wanted for (name, key), wanted in _outcome(steps).items())
        if took and nf_tables.generation(nl) == generation + 1:
            objects = {**former.tables[TABLE], **{_key_of(obj): obj for obj in after}}
            _known = former._replace(generation=generation + 1, tables={**former.tables, TABLE: objects})
    return True


def fill(objects: Sequence[NftSet | NftMap]) -> None:
    """Put their elements into new sets and maps of what is packed, which nothing leads to yet.

    :raises NetlinkError: refused
    """
    with open_netfilter() as nl:
        for obj in objects:
            messages = nf_tables.encode_elements(NAME, obj.name, bundles(list(obj.elements)), add=True)
            for first in range(0, len(messages), MOST_MESSAGES):
                for error in nf_tables.transact(nl, messages[first : first + MOST_MESSAGES]):
                    raise error


def _steps(had: NftSet | NftMap, obj: NftSet | NftMap) -> Iterator[tuple[NftSet | NftMap, bool, list[Any]]]:
    """What goes from a set or a map and what comes: which, whether it comes, and the elements by which that is told."""
    lost, new = had.elements - obj.elements, obj.elements - had.elements
    if not nft_objects.is_packed(obj):
        lost, new = (frozenset(_element(text) for text in texts) for texts in (lost, new))
    elif isinstance(obj, NftMap):
        lost = frozenset(without_value(obj.type, each) if isinstance(each, bytes) else each for each in lost)
    for add, elements in ((False, lost), (True, new)):
        if elements:
            yield obj, add, list(elements)


def _element(text: str) -> bytes:
    packed = packed_ip(text) or b""
    return head(len(packed)) + packed


def _outcome(
    steps: Iterable[tuple[NftSet | NftMap, bool, list[bytes]]],
) -> dict[tuple[str, bytes], bytes]:
    """What is there afterwards under each key, by the name of its set: an element, or nothing."""
    found: dict[tuple[str, bytes], bytes] = {}
    for obj, add, elements in steps:
        for element in elements:
            found[obj.name, without_value(obj.type, element)] = element if add else b""
    return found


def _key_of(obj: NftSet | NftMap) -> tuple[str, str]:
    return ("map" if isinstance(obj, NftMap) else "set", obj.name)


def changed() -> None:
    """This run changes something: when it has looked at that, it notes it down."""
    global _changed  # noqa: PLW0603
    _changed = True


def forget() -> None:
    """Read everything at the next look."""
    global _known  # noqa: PLW0603
    _known = None


def _read(nl: Netlink, known: Objects) -> Objects:
    if not nf_tables.has_table(nl, nf_tables.INET, NAME):
        return {}
    chains = nf_tables.dump_chains(nl, NAME)
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
    keys = nf_tables.dump_keys(nl, NAME, told.name, size)
    return "set", NftSet(told.name, name, frozenset(map(IP_TEXTS.__getitem__, keys)), interval=False)


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
