# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our BIRD: its passwords, its configuration, which is tried before it is put in place, and the process itself."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from pwd import getpwuid
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.bgp import instance
from ansible_collections.podnet.fabric.plugins.module_utils.bgp.config import METRIC
from ansible_collections.podnet.fabric.plugins.module_utils.command import ToolError, run
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import remove_empty, write_atomically
from ansible_collections.podnet.fabric.plugins.module_utils.errors import ApplyError, PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.files import File, FileFacility
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import AF_INET, AF_INET6
from ansible_collections.podnet.fabric.plugins.module_utils.netlink.route import Route, dump_routes
from ansible_collections.podnet.fabric.plugins.module_utils.ownership import FILE_HEADER
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import CREATE, DELETE, Operation, Reference

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host

RTPROT_BIRD = 12  # linux/rtnetlink.h

_CONSTANT = re.compile(r'define (\w+) = "([^"\n]*)";$', re.MULTILINE)


class Secrets(NamedTuple):
    """The file with the passwords. Nothing but the names of the constants is ever shown of its text."""

    path: str
    text: str
    mode: int
    owner: str
    made: tuple[str, ...] = ()


class Instance(NamedTuple):
    """Our BIRD as it runs."""

    config: str
    answers: bool = True  # on its socket
    current: bool = True  # works by the configuration that is declared
    missing: tuple[int, ...] = ()  # address families of which the kernel lacks routes that BIRD has given it


def bird_routes(host: Host) -> dict[Hashable, Route]:
    """The routes of our BIRD in the kernel, by key: those of BIRD's protocol number that have our metric."""
    return {
        route[:6]: route
        for family in (AF_INET, AF_INET6)
        for route in dump_routes(host.netlink, host.names, family, RTPROT_BIRD)
        if route.metric == METRIC
    }


def constants(text: str) -> dict[str, str]:
    """The passwords in the text of their file, by name."""
    return dict(_CONSTANT.findall(text))


def observe_secrets(made: Sequence[str]) -> dict[Hashable, Secrets]:
    """The file with the passwords, when it is there and ours."""
    path = instance.SECRETS
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8", errors="replace")
    if not text.startswith(FILE_HEADER):
        return {}
    seen = path.stat()
    try:
        owner = getpwuid(seen.st_uid).pw_name
    except KeyError:
        owner = str(seen.st_uid)
    return {str(path): Secrets(str(path), text, seen.st_mode & 0o7777, owner, tuple(made))}


class SecretsFacility:
    """Writes the passwords for BIRD's eyes only."""

    name = "secrets"
    deletes_first = False

    def parents(self, obj: Secrets) -> Sequence[Reference]:
        return ()

    def immutable(self, before: Secrets, after: Secrets) -> bool:
        return False

    def describe(self, obj: Secrets) -> dict[str, Any]:
        names = ", ".join(sorted(constants(obj.text)))
        return {"path": obj.path, "mode": f"{obj.mode:04o}", "owner": obj.owner, "names": names}

    def apply(self, operations: Sequence[Operation], host: Host) -> None:
        for operation in operations:
            secrets = operation.after or operation.before
            path = Path(secrets.path)
            try:
                if operation.verb == DELETE:
                    path.unlink(missing_ok=True)
                    remove_empty(*map(Path, secrets.made))
                else:
                    write_atomically(path, secrets.text, secrets.mode)
                    shutil.chown(str(path), secrets.owner)
            except OSError as error:
                raise ApplyError([f"{self.name}: {operation.verb} {path}: {error.strerror}"]) from error


class BirdFileFacility(FileFacility):
    """Writes BIRD's configuration only after BIRD has read it without a complaint."""

    def apply(self, operations: Sequence[Operation], host: Host) -> None:
        for operation in operations:
            if operation.after is not None and operation.after.path == str(instance.CONFIG):
                _try(operation.after)
        super().apply(operations, host)
        if any((operation.after or operation.before).path == str(instance.UNIT) for operation in operations):
            run(["systemctl", "daemon-reload"])


def _try(file: File) -> None:
    candidate = instance.CONFIG.with_name("candidate.conf")
    try:
        write_atomically(candidate, file.text, 0o600)
        instance.check(candidate)
    except ToolError as error:
        raise ApplyError([f"files: BIRD refuses the new {file.path}, the former one stays: {error.stderr}"]) from error
    finally:
        candidate.unlink(missing_ok=True)
        remove_empty(*map(Path, file.made))


class InstanceFacility:
    """Starts BIRD, has it read, ends it."""

    name = "instances"
    deletes_first = False

    def parents(self, obj: Instance) -> Sequence[Reference]:
        return ()

    def immutable(self, before: Instance, after: Instance) -> bool:
        return False

    def describe(self, obj: Instance) -> dict[str, Any]:
        missing = ", ".join(f"IPv{family}" for family in obj.missing)
        fields = {"config": obj.config, "state": "running" if obj.answers else "does not answer"}
        fields.update(configuration="current" if obj.current else "outdated", missing_in_kernel=missing)
        return {key: value for key, value in fields.items() if value}

    def apply(self, operations: Sequence[Operation], host: Host) -> None:
        for operation in operations:
            try:
                self._carry_out(operation, host)
            except PodnetError as error:
                raise ApplyError([f"{self.name}: {operation.verb} {instance.CONFIG}: {error}"]) from error

    def _carry_out(self, operation: Operation, host: Host) -> None:
        before: Instance = operation.before
        if operation.verb == DELETE:
            instance.stop()
        elif operation.verb == CREATE:
            instance.start(recovering=bool(bird_routes(host)))
        elif not before.answers:
            instance.abandon()
            instance.start(recovering=True)
        else:
            if not before.current:
                instance.configure()
            instance.export_again(before.missing)


SECRETS = SecretsFacility()
BIRD_FILES = BirdFileFacility()
INSTANCES = InstanceFacility()
