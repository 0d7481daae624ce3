# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is remembered of each attachment, one file each: DEL must be given the configuration and the result of ADD.

The file is written before ADD, without a result, and again after it. One without a result tells the next run that
something may have been made that nobody reported: it runs DEL before anything else.
"""

from __future__ import annotations

import fcntl
import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils import stored
from ansible_collections.podnet.fabric.plugins.module_utils.cni import conflist
from ansible_collections.podnet.fabric.plugins.module_utils.cni.network import Runtime
from ansible_collections.podnet.fabric.plugins.module_utils.cni.result import entries, flaw
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import RUN, remove_empty, write_atomically
from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

DIRECTORY = RUN / "attachments"
VERSION = 1


class RecordError(PodnetError):
    """An attachment's record that cannot be read or written."""


class NewerRecord(Exception):
    """A record of a newer version."""


class Record(NamedTuple):
    """An attachment as ADD was asked for it; (network, namespace, name) is its key.

    ``result`` is None until ADD has succeeded. ``netns_made`` tells whether the network namespace goes with it.
    ``args`` and ``capability_args`` hold what the plugins were given, ``kept`` the addresses that a repair asked for
    again, ``conflist`` the list as it was then.
    """

    network: str
    namespace: str
    name: str
    netns: str
    netns_made: bool
    ifname: str
    labels: Mapping[str, str]
    args: Mapping[str, str]
    capability_args: Mapping[str, Any]
    conflist: Mapping[str, Any]
    conf_dir: str
    bin_dir: str
    kept: Sequence[str] = ()
    result: Mapping[str, Any] | None = None

    @property
    def container_id(self) -> str:
        """Names of Kubernetes hold no underscore, so this is unique."""
        return f"{self.namespace}_{self.name}"

    def runtime(self, netns: str) -> Runtime:
        """What the plugins are told: names of the pod as the kubelet gives them, and the arguments of its own.

        :param netns: the path of its network namespace; empty when that is gone
        """
        # Without the first one the reference plugins refuse arguments that they do not know.
        pod = {"IgnoreUnknown": "1", "K8S_POD_NAMESPACE": self.namespace, "K8S_POD_NAME": self.name}
        values = {**({"ips": list(self.kept)} if self.kept else {}), **self.capability_args}
        return Runtime(self.container_id, netns, self.ifname, tuple({**pod, **self.args}.items()), values)

    @property
    def ips(self) -> list[Mapping[str, Any]]:
        """The entries of the result that belong to the pod's interface: address in CIDR notation, gateway."""
        position, _dummy = self._interface()
        return [ip for ip in entries(self.result, "ips") if ip.get("interface", position) == position]

    @property
    def mac(self) -> str:
        """The MAC address of the pod's interface, empty when the plugins told none."""
        return str(self._interface()[1].get("mac", ""))

    @property
    def host_interfaces(self) -> list[str]:
        """The interfaces on the node that the plugins reported, the bridge among them."""
        return [entry["name"] for entry in entries(self.result, "interfaces") if not entry.get("sandbox")]

    def _interface(self) -> tuple[int, Mapping[str, Any]]:
        for position, entry in enumerate(entries(self.result, "interfaces")):
            if entry.get("sandbox") and entry.get("name") == self.ifname:
                return position, entry
        return -1, {}


_TYPES: stored.Types = {
    **dict.fromkeys(("network", "namespace", "name", "netns", "ifname", "conf_dir", "bin_dir"), str),
    **dict.fromkeys(("labels", "args", "capability_args", "conflist"), dict),
    "netns_made": bool,
    "kept": list,
    "result": (dict, type(None)),
}
_OPTIONAL = frozenset(("kept", "result"))


def path(record: Record) -> Path:
    """Where a record stands."""
    return DIRECTORY / f"{record.container_id}@{record.network}.json"


def write(record: Record) -> None:
    """Write or replace a record.

    :raises RecordError:
    """
    document = {"podnet": {"kind": "attachment", "version": VERSION}, **record._asdict()}
    try:
        write_atomically(path(record), json.dumps(document, indent=1, sort_keys=True) + "\n", 0o600)
    except OSError as error:
        raise RecordError(f"{path(record)}: {error.strerror}") from error


def remove(record: Record) -> None:
    """Forget an attachment, with the last one the directory too.

    :raises RecordError:
    """
    try:
        path(record).unlink(missing_ok=True)
    except OSError as error:
        raise RecordError(f"{path(record)}: {error.strerror}") from error
    remove_empty(DIRECTORY)


def read_all() -> list[Record]:
    """All attachments of this node, in the order of their files' names.

    :raises RecordError: damaged, or written by a newer version
    """
    return [_read(found) for found in sorted(DIRECTORY.glob("*.json"))]


def parse(text: str) -> Record:
    """The attachment that a record tells of.

    :raises NewerRecord: written by a newer version
    :raises ValueError: not a record
    """
    document = stored.load(text)
    head = document.pop("podnet", None)
    version = head.get("version") if isinstance(head, dict) else None
    if not isinstance(version, int):
        raise ValueError("it does not say in which format it is")  # noqa: TRY004
    if version > VERSION:
        raise NewerRecord(f"written in format {version}, this version of podnet.fabric knows up to {VERSION}")
    stored.checked(document, _TYPES, _OPTIONAL)
    texts = [*document["labels"].values(), *document["args"].values(), *document.get("kept", ())]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("labels, args or kept: not texts")
    wrong = flaw(document["result"]) if document.get("result") is not None else ""
    wrong = wrong or conflist.flaw(document["conflist"])
    if wrong:
        raise ValueError(f"result or conflist: {wrong}")
    return Record(**document)


def _read(found: Path) -> Record:
    try:
        text = found.read_text(encoding="utf-8")
    except OSError as error:
        raise RecordError(f"{found}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        text = ""
    try:
        return parse(text)
    except NewerRecord as error:
        raise RecordError(f"{found}: {error}") from None
    except ValueError as error:
        raise RecordError(
            f"{found}: not the record of an attachment ({error}); detach that pod by hand "
            "(delete its interface and its address below /run/podnet/ipam), then remove the file"
        ) from error


@contextmanager
def plugins_lock(timeout: float = 120.0) -> Iterator[int]:
    """Held while plugins change something. Gives a file descriptor for the plugins to inherit.

    A plugin whose starter was killed thereby keeps the lock until it ends, so that no DEL runs beside its ADD.

    :param timeout: seconds to wait
    :raises RecordError: a plugin of an earlier run is still at work
    """
    RUN.mkdir(mode=0o755, parents=True, exist_ok=True)
    lock = RUN / "plugins.lock"
    with lock.open("w", encoding="utf-8") as handle:
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise RecordError(
                        f"{lock}: a CNI plugin of an earlier run has not ended for {timeout:g} s (see: fuser -v {lock})"
                    ) from None
                time.sleep(0.02)
        yield handle.fileno()
        if not DIRECTORY.exists():
            # Nobody else waits for it: runs that change something take the node's lock first.
            lock.unlink()
