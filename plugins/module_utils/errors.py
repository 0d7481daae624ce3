# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong on a node, each with a text for the operator."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MALFORMED = (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError)
"""What Python raises where text or JSON of others is taken apart that does not have the shape that it should."""


class Finding(NamedTuple):
    """One wrong value: where it stands, what was found, what is wanted or what to do."""

    path: str
    found: str
    wanted: str

    def __str__(self) -> str:
        return f"{self.path}: {self.found}; {self.wanted}"


class PodnetError(Exception):
    """Base of the errors that reach the operator as a message, never as a traceback."""


class HostError(PodnetError):
    """Something of the host that cannot be read or reached, so that nobody knows how it stands."""


@contextmanager
def taking_apart(source: str) -> Iterator[None]:
    """Inside, or in a function that it decorates, something that others wrote is taken apart.

    :param source: what it is and where it comes from
    :raises HostError: it does not have the shape that it should
    """
    try:
        yield
    except MALFORMED as error:
        raise HostError(
            f"{source}: this cannot be understood ({type(error).__name__}: {str(error)[:80]}); see whether what wrote "
            "it is the distribution's own and not newer than what podnet.fabric knows"
        ) from error


def in_words(error: OSError) -> str:
    """What an error of the operating system is about and what it says, without Python's words."""
    text = str(error.strerror or error)
    # Those of netlink say themselves what was asked of the kernel.
    if not error.filename:
        return str(error) if error.strerror is None or hasattr(error, "extack") else text
    return f"{error.filename}: {text}"


class InvalidInput(PodnetError):
    """Input that cannot be used. Carries every finding, raised before anything has changed."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = list(findings)
        super().__init__("\n".join(str(finding) for finding in self.findings))


class Conflict(PodnetError):
    """Something on the host that is not ours is in the way. Carries every conflict; nothing has changed."""

    def __init__(self, conflicts: Iterable[str]) -> None:
        self.conflicts = list(conflicts)
        super().__init__("\n".join(self.conflicts))


class ApplyError(PodnetError):
    """The kernel or a tool refused operations. Carries a line for each: object, operation, the kernel's words."""

    def __init__(self, failures: Iterable[str]) -> None:
        self.failures = list(failures)
        super().__init__("\n".join(self.failures))


class VerificationError(PodnetError):
    """What was read back after an apply is not what was declared."""

    def __init__(self, differences: Iterable[str]) -> None:
        self.differences = list(differences)
        super().__init__("read back after the change, these are not as declared:\n" + "\n".join(self.differences))


class DeclarationError(PodnetError):
    """A file of declared state that cannot be read or written."""
