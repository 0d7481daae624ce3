# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The node's declared state: ``/etc/podnet/node.d/<kind>.json``, a file per kind, readable by people."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.declared_shapes import deviations
from ansible_collections.podnet.fabric.plugins.module_utils.declared_text import VERSION, Lines, parse, render
from ansible_collections.podnet.fabric.plugins.module_utils.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Items = dict[str, dict[str, Any]]

ETC = Path("/etc/podnet")
RUN = Path("/run/podnet")
LOCK = RUN / "lock"
LARGEST = 256 << 20
"""Bytes of a declaration; that of 100,000 peers has 30 million."""


_UNREAD: tuple[str, Items, Lines] = ("", {}, {})


class Declarations:
    """Reads and writes the declarations below one directory (``/etc/podnet/node.d``)."""

    def __init__(self, directory: Path = ETC / "node.d") -> None:
        self.directory = directory
        # What a kind's text says: a run reads it more than once, and that of 10,000 services has three million bytes.
        self._said: dict[str, tuple[str, Items, Lines]] = {}

    def path(self, kind: str) -> Path:
        return self.directory / f"{kind}.json"

    def kinds(self) -> list[str]:
        """The kinds that have a declaration on this node."""
        return sorted(path.stem for path in self.directory.glob("*.json"))

    def text(self, kind: str) -> str:
        """The file as it is; empty when there is none."""
        try:
            # Not to wait for a writer where somebody has put a pipe.
            descriptor = os.open(str(self.path(kind)), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise self._unusable(kind, f"cannot be read: {error.strerror}") from error
        try:
            seen = os.fstat(descriptor)
            if not stat.S_ISREG(seen.st_mode):
                raise self._unusable(kind, "something other than a file stands there")
            if seen.st_size > LARGEST:
                raise self._unusable(kind, f"{seen.st_size} bytes are no declaration")
            with os.fdopen(descriptor, "rb", closefd=False) as handle:
                return handle.read().decode()
        except OSError as error:
            raise self._unusable(kind, f"cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise self._unusable(kind, f"not a declaration (no text in UTF-8 from byte {error.start} on)") from error
        finally:
            os.close(descriptor)

    def rendered(self, kind: str, items: Items) -> str:
        """The text that ``write`` would leave; empty when no file would be left."""
        # What is known of lines holds as long as the entries are there.
        return render(kind, items, self._said.get(kind, _UNREAD)[2]) if items else ""

    def read(self, kind: str) -> Items:
        """The declared items by name. The items themselves are to be looked at only: others have them, too.

        :raises DeclarationError: damaged, edited into something else, or written by a newer version
        """
        text = self.text(kind)
        if not text:
            return {}
        said, items, lines = self._said.get(kind, _UNREAD)
        if said == text:
            return dict(items)
        try:
            document, lines = parse(text)
            header, items = document["podnet"], document["items"]
            version = header["version"]
            shaped = header["kind"] == kind and isinstance(items, dict) and isinstance(version, int)
            shaped = shaped and all(isinstance(item, dict) for item in items.values())
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise self._unusable(kind, f"not a declaration ({type(error).__name__}: {error})") from error
        if not shaped:
            raise self._unusable(kind, f"not a declaration of kind {kind}")
        if version > VERSION:
            raise DeclarationError(
                f"{self.path(kind)}: written in format {version}, this version of podnet.fabric knows up to {VERSION}; "
                "run it with the newer version that wrote it"
            )
        found = deviations(kind, items)
        if found:
            raise self._unusable(kind, ", ".join(found))
        self._said[kind] = (text, items, lines)
        return dict(items)

    def _unusable(self, kind: str, why: str) -> DeclarationError:
        return DeclarationError(
            f"{self.path(kind)}: {why}; move the file away and run the playbook again: it declares everything anew"
        )

    def write(
        self, kind: str, items: Items, meanwhile: str = "nothing was changed", rendered: str | None = None
    ) -> None:
        """Replace one kind's declaration; without items the file goes, and with the last file the directories.

        :param meanwhile: what an error says of all else
        :param rendered: what ``rendered`` gives for the items, where it is known already
        """
        try:
            if items:
                write_atomically(self.path(kind), rendered or self.rendered(kind, items), 0o600)
            else:
                # The file goes last: as long as it is there the next run knows that something is left to do.
                temporary(self.path(kind)).unlink(missing_ok=True)
                self.path(kind).unlink(missing_ok=True)
                self.tidy()
        except OSError as error:
            raise DeclarationError(f"{self.path(kind)}: cannot be written: {error.strerror}; {meanwhile}") from error

    def tidy(self) -> None:
        """Remove the directories when no declaration is in them, also those that a failed run has made or left."""
        remove_empty(self.directory, self.directory.parent)


def write_atomically(path: Path, text: str, mode: int) -> None:
    """Readers see the old text or the new, also after a crash: new file, fsync, rename, fsync of the directory."""
    write_bytes_atomically(path, (text.encode(),), mode)


def write_bytes_atomically(path: Path, content: Iterable[bytes], mode: int, lasting: bool = True) -> None:
    """As `write_atomically`, in parts; what need not be there after a crash of the machine is not waited for."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    making = temporary(path)
    descriptor = os.open(str(making), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "wb") as handle:
            os.fchmod(handle.fileno(), mode)
            handle.writelines(content)
            handle.flush()
            if lasting:
                os.fsync(handle.fileno())
        making.replace(path)
    except BaseException:
        # Where it cannot be removed either, the next attempt takes it over; the first error is the one to tell.
        with suppress(OSError):
            making.unlink()
        raise
    if not lasting:
        return
    directory = os.open(str(path.parent), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def boot_id() -> str:
    """What tells this start of the machine from all others (random(4))."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def temporary(path: Path) -> Path:
    """Where a file is written before it takes its place."""
    # The same name at every attempt: a run that was killed leaves one file, which the next one takes over.
    return path.with_name(f".{path.name}.podnet-new")


def remove_empty(*directories: Path) -> None:
    """Remove directories that hold nothing any more, in the order given."""
    for directory in directories:
        try:
            directory.rmdir()
        except OSError:
            return


@contextmanager
def node_lock(check: bool, timeout: float = 120.0) -> Iterator[float]:
    """One change at a time on a node: a second run waits for the first. Gives the seconds that it waited.

    A run in check mode reads only, so it takes no lock and leaves no file. The lock goes with its holder's process.

    :param timeout: seconds to wait
    :raises DeclarationError: another run holds the lock for longer, or the file cannot be made
    """
    if check:
        yield 0.0
        return
    begun = time.monotonic()
    while True:
        try:
            RUN.mkdir(mode=0o755, parents=True, exist_ok=True)
            descriptor = os.open(str(LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:  # a teardown removed the directory between the two calls
            continue
        except OSError as error:
            raise DeclarationError(f"{LOCK}: cannot be made: {error.strerror}; nothing was changed") from error
        try:
            if _locked(descriptor, begun + timeout):
                _HELD.append(descriptor)
                try:
                    yield time.monotonic() - begun
                finally:
                    _HELD.remove(descriptor)
                return
        finally:
            os.close(descriptor)


_HELD: list[int] = []


def held_lock() -> int | None:
    """The descriptor by which this process holds the node's lock, for processes that act under it (attach/lock.py)."""
    return _HELD[-1] if _HELD else None


def _locked(descriptor: int, deadline: float) -> bool:
    """Wait for the lock; False when the file that we then hold is no longer the one that others would open."""
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise DeclarationError(
                    f"{LOCK}: {_holder(descriptor)} is changing this node and does not end; let it end, then run again"
                ) from None
            time.sleep(0.05)
            continue
        try:
            return os.fstat(descriptor).st_ino == LOCK.stat().st_ino
        except FileNotFoundError:
            return False


def _holder(descriptor: int) -> str:
    """Who holds the lock, by /proc/locks (proc(5)); a process of another process namespace has no number there."""
    seen = os.fstat(descriptor)
    file = f"{os.major(seen.st_dev):02x}:{os.minor(seen.st_dev):02x}:{seen.st_ino}"
    try:
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            words = line.split()
            if words[1] == "FLOCK" and words[5] == file:
                command = Path(f"/proc/{int(words[4])}/comm").read_text(encoding="utf-8", errors="replace").strip()
                return f"process {words[4]} ({command})"
    except (OSError, ValueError, IndexError):
        pass
    return "another podnet run"
