# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of a declaration, written and taken apart.

An entry of a list of objects, of which there may be tens of thousands, has a line of its own. What a run declares again
is mostly what it has read, so for each entry that it has read the line is kept and written as it was.
"""

from __future__ import annotations

import json
from itertools import groupby
from typing import Any

from ansible_collections.podnet.fabric.plugins.module_utils.errors import MALFORMED

VERSION = 1

_encode = json.JSONEncoder(sort_keys=True).encode
_decode = json.JSONDecoder().raw_decode
# Before an entry; and what stands for a list's entries while the text around them is taken apart.
_MARGIN, _MARK = "    ", "\0entries "

Lines = dict[int, str]
"""The texts of entries by their id()."""


def render(kind: str, items: dict[str, dict[str, Any]], lines: Lines | None = None) -> str:
    """The file's text: sorted, a line per value, and a line per entry of a list of objects (a peer, a route).

    :param lines: the texts that are known of entries that nobody has changed since
    """
    known = lines or {}
    found = ["{", f' "podnet": {json.dumps({"kind": kind, "version": VERSION})},', ' "items": {']
    for position, name in enumerate(sorted(items)):
        fields = [f"   {json.dumps(key)}: {_value(value, known)}" for key, value in sorted(items[name].items())]
        end = "  }" if position == len(items) - 1 else "  },"
        found += [f"  {json.dumps(name)}: {{", ",\n".join(fields), end]
    return "\n".join([*found, " }", "}", ""])


def parse(text: str) -> tuple[Any, Lines]:
    """What a text says, and the lines of its entries; none where somebody has written it in another way.

    :raises ValueError, RecursionError: it is no JSON
    """
    try:
        return _by_lines(text)
    except MALFORMED:
        return json.loads(text), {}


def _value(value: Any, known: Lines) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        entries = [known.get(id(entry)) or _encode(entry) for entry in value]
        return f"[\n{_MARGIN}" + f",\n{_MARGIN}".join(entries) + "\n   ]"
    return _encode(value)


def _by_lines(text: str) -> tuple[Any, Lines]:
    if json.dumps(_MARK)[1:-1] in text:
        raise ValueError("what is to stand for entries")
    around: list[str] = []
    lists: dict[str, list[str]] = {}
    for is_entry, part in groupby(text.split("\n"), lambda line: line.startswith(_MARGIN + "{")):
        if is_entry:
            mark = f"{_MARK}{len(lists)}"
            *entries, last = (line[len(_MARGIN) :] for line in part)
            if not all(entry.endswith(",") for entry in entries):
                raise ValueError("no comma between entries")
            lists[mark] = [*(entry[:-1] for entry in entries), last]
            around.append(json.dumps(mark))
        else:
            around += part
    document = json.loads("\n".join(around))
    known: Lines = {}
    for item in document["items"].values() if lists else ():
        for key, value in item.items():
            if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str) and value[0] in lists:
                entries = lists.pop(value[0])
                item[key] = [_entry(each) for each in entries]
                known.update(zip(map(id, item[key]), entries))
    if lists:
        raise ValueError("entries that stand elsewhere")
    return document, known


def _entry(line: str) -> Any:
    entry, end = _decode(line)
    if end != len(line):
        raise ValueError("more than an entry in a line")
    return entry
