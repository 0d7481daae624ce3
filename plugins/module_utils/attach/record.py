# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the chained plugin remembers of each pod that it has seen: a file each, which a reboot takes with the pods.

/run/podnet/attached/
    <container>@<interface>@<digest>@<address>_<address>     a pod that is there; the digest is of namespace and name
    gone/<namespace>@<name>     one that has gone, though the declaration of the policies still names it
"""

from __future__ import annotations

import os
from binascii import crc32

from ansible_collections.podnet.fabric.plugins.module_utils.attach import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

FOLDER = "/run/podnet/attached"
GONE = f"{FOLDER}/gone"
NEW = ".new"
DECLARED = "/etc/podnet/node.d/policy.json"
VERSION = 1


class Attached:
    """A pod's interface. ``addresses`` without a length, as the plugins before gave them."""

    def __init__(
        self,
        container: str,
        ifname: str,
        network: str,
        netns: str,
        namespace: str,
        name: str,
        labels: Mapping[str, str],
        addresses: Sequence[str],
        *,
        wiring: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self.container = container
        self.ifname = ifname
        self.network = network
        self.netns = netns
        self.namespace = namespace
        self.name = name
        self.labels = labels
        self.addresses = addresses
        self.wiring = wiring

    @property
    def path(self) -> str:
        return f"{FOLDER}/{self.container}@{self.ifname}@{self.digest}@{'_'.join(self.addresses)}"

    @property
    def digest(self) -> str:
        """Tells pods of other names apart, mostly."""
        return f"{crc32(f'{self.namespace}/{self.name}'.encode()):08x}"


class Damaged(ValueError):
    """A record that is none; the text says which and what to do."""


def paths() -> list[str]:
    """The files of all pods that are there."""
    try:
        return [f"{FOLDER}/{name}" for name in sorted(os.listdir(FOLDER)) if "@" in name and not name.endswith(NEW)]
    except FileNotFoundError:
        return []


def of(container: str, ifname: str) -> list[str]:
    """The files of one pod's interface: one, or none."""
    begin = f"{FOLDER}/{container}@{ifname}@"
    return [path for path in paths() if path.startswith(begin)]


def rivals(pod: Attached) -> list[str]:
    """The files of others that may have any of a pod's addresses or its name, and of its own with others."""
    addresses = set(pod.addresses)
    found = []
    for path in paths():
        words = path.rpartition("/")[2].split("@")
        if path != pod.path and (
            words[-2] == pod.digest
            or not addresses.isdisjoint(words[-1].split("_"))
            or words[:-2] == [pod.container, pod.ifname]
        ):
            found.append(path)
    return found


def read(path: str) -> Attached:
    """:raises Damaged:"""
    try:
        with open(path, encoding="utf-8") as file:
            return _attached(text.loads(file.read()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(
            f"{path}: not the record of a pod ({error}); detach that pod by its runtime, or remove the file"
        ) from error


def _attached(document: dict[str, Any]) -> Attached:
    if document.pop("version") > VERSION:
        raise ValueError("written by a newer version")
    found = Attached(**document)
    names = (found.container, found.ifname, found.network, found.netns, found.namespace, found.name)
    if not all(isinstance(each, str) for each in (*names, *found.addresses, *found.labels, *found.labels.values())):
        raise TypeError("something other than text")
    if not all(isinstance(each, dict) for each in found.wiring):
        raise TypeError("wiring that is none")
    return found


def read_all() -> list[Attached]:
    """The pods that are there, but for those whose network namespace has gone without a word.

    :raises Damaged:
    """
    return [found for found in map(read, paths()) if is_alive(found.netns)]


def is_alive(netns: str) -> bool:
    """Whether a namespace stands there."""
    try:
        return os.stat(netns).st_dev == os.stat("/proc/self/ns/net").st_dev
    except OSError:
        return False


def write(pod: Attached) -> None:
    """Remember a pod; what was known of its interface is forgotten."""
    former = [path for path in of(pod.container, pod.ifname) if path != pod.path]
    put(pod.path, text.dumps({"version": VERSION, **pod.__dict__}))
    for path in former:
        _remove(path)


def forget(container: str, ifname: str) -> None:
    """Forget a pod; with the last one the folder."""
    for path in of(container, ifname):
        _remove(path)
    tidy()


def is_declared() -> bool:
    """Whether policies are declared on this node."""
    return os.path.exists(DECLARED)


def declaration_stamp() -> list[int]:
    """What tells a declaration of policies from any other."""
    return stamp_of(DECLARED)


def stamp_of(path: str | os.PathLike[str]) -> list[int]:
    """What tells a file that is replaced as a whole from any other that was there. Zeros without one."""
    try:
        seen = os.stat(path)
    except FileNotFoundError:
        return [0, 0, 0]
    return [seen.st_ino, seen.st_mtime_ns, seen.st_size]


def bury(namespace: str, name: str, addresses: Sequence[str]) -> None:
    """Remember that a pod with these addresses has gone, for as long as the declaration is what it is now.

    One that comes back with others and goes again has none of them.
    """
    known = gone().get((namespace, name), set())
    document = {"declaration": declaration_stamp(), "addresses": sorted(known.union(addresses))}
    put(_gone(namespace, name), text.dumps(document))


def gone() -> dict[tuple[str, str], set[str]]:
    """The addresses of the pods that have gone, by namespace and name; of those of another declaration none."""
    found: dict[tuple[str, str], set[str]] = {}
    try:
        names = [name for name in os.listdir(GONE) if "@" in name and not name.endswith(NEW)]
    except FileNotFoundError:
        return {}
    stamp = declaration_stamp()
    for each in names:
        namespace, _at, name = each.partition("@")
        try:
            with open(f"{GONE}/{each}", encoding="utf-8") as file:
                document = text.loads(file.read())
            same = document["declaration"] == stamp
            found[namespace, name] = set(map(str, document["addresses"])) if same else set()
        except (OSError, ValueError, TypeError, KeyError):
            # Then it counts as there, which is what the declaration says.
            found[namespace, name] = set()
    return found


def dig_up(namespace: str, name: str) -> None:
    """Forget that a pod has gone: the declaration does not name it any more."""
    _remove(_gone(namespace, name))


def tidy() -> None:
    """Remove the folders when nothing is in them."""
    for folder in (GONE, FOLDER):
        try:
            os.rmdir(folder)
        except OSError:
            continue


def _gone(namespace: str, name: str) -> str:
    return f"{GONE}/{namespace}@{name}"


def put(path: str, content: str) -> None:
    """Write a file. Readers see the old text or the new; after a crash of the machine it may be empty or not there.

    :raises OSError:
    """
    new = path + NEW
    try:
        descriptor = _open_new(new)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        descriptor = _open_new(new)
    try:
        os.fchmod(descriptor, 0o600)
        left = content.encode()
        while left:
            left = left[os.write(descriptor, left) :]
    finally:
        os.close(descriptor)
    os.rename(new, path)


def _open_new(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
