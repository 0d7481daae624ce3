# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One CNI plugin: an executable that takes its parameters in CNI_* variables and its configuration on standard input.

Source of the rules: CNI specification 1.0.0, sections 2 (execution protocol) and 5 (result types),
https://github.com/containernetworking/cni/blob/spec-v1.0.0/SPEC.md
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Callable, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.attach.lock import INHERITED
from ansible_collections.podnet.fabric.plugins.module_utils.cni.result import flaw
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import held_lock
from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError

# Where distributions put the plugins: upstream's tarball and most runtimes, then Debian's package.
BIN_DIRS: tuple[str, ...] = ("/opt/cni/bin", "/usr/lib/cni")

# CNI specification 1.0.0, "Error"; 50 and 51 came with STATUS in 1.1.0.
WELL_KNOWN_CODES = {
    1: "incompatible CNI version",
    2: "unsupported field in the network configuration",
    3: "container unknown or does not exist",
    4: "invalid CNI_ environment variable",
    5: "input or output failure",
    6: "content could not be decoded",
    7: "invalid network configuration",
    11: "try again later",
    50: "plugin not available",
    51: "plugin not available, and existing pods may have limited connectivity",
}

# (plugin type, command, configuration, CNI_ variables) -> the result on standard output.
Execute = Callable[[str, str, Mapping[str, Any], Mapping[str, str]], dict[str, Any]]


class CniError(PodnetError):
    """A plugin that failed: its name, the command, and the code, message and details of its error object."""

    def __init__(self, plugin: str, command: str, code: int | None, message: str, details: str = "") -> None:
        self.plugin = plugin
        self.command = command
        self.code = code
        self.message = message
        self.details = details
        known = f" ({WELL_KNOWN_CODES[code]})" if code in WELL_KNOWN_CODES else ""
        number = f" [code {code}{known}]" if code is not None else ""
        super().__init__(f"CNI plugin {plugin}, {command}: {message}{f': {details}' if details else ''}{number}")


class Plugin(NamedTuple):
    """A plugin that was found: its executable and the versions of the specification that it speaks."""

    name: str
    path: str
    versions: tuple[str, ...]


def directories(bin_dir: str = "auto") -> tuple[str, ...]:
    """Where to look for plugins: the directory given, or the usual ones for ``auto``."""
    return BIN_DIRS if bin_dir == "auto" else (bin_dir,)


def locate(name: str, where: Sequence[str]) -> str | None:
    """The first executable of that name, or None."""
    for directory in where:
        path = Path(directory, name)
        if path.is_file() and os.access(path, os.X_OK):
            return str(path)
    return None


def probe(name: str, where: Sequence[str]) -> Plugin | None:
    """Find a plugin and ask it for the versions that it speaks; None when it is not there.

    :raises CniError: it is there and does not answer
    """
    path = locate(name, where)
    if path is None:
        return None
    # VERSION takes no parameters, but a plugin may look at the version of the question (libcni sends it too).
    answer = _run(path, "VERSION", {"cniVersion": "1.0.0"}, {}, timeout=10)
    versions = answer.get("supportedVersions")
    if not isinstance(versions, list) or not all(isinstance(version, str) for version in versions):
        raise CniError(
            name, "VERSION", None, f"{path} does not list supportedVersions, so it is no CNI plugin of 0.2.0 or newer"
        )
    return Plugin(name, path, tuple(versions))


def executor(where: Sequence[str], *, timeout: float = 60, keep_open: Sequence[int] = ()) -> Execute:
    """How to run a plugin by its type.

    :param where: directories to look in, also told to the plugins (they run IPAM plugins themselves)
    :param timeout: seconds before a plugin is killed
    :param keep_open: file descriptors that plugins inherit, so that a lock outlives us for as long as a plugin runs
    """

    def execute(name: str, command: str, config: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, Any]:
        path = locate(name, where)
        if path is None:
            raise CniError(
                name,
                command,
                None,
                f"not found in {', '.join(where)}; install it there or set the directory of the plugins",
            )
        environment = {**variables, "CNI_PATH": ":".join(where)}
        held = held_lock()
        if held is None:
            return _run(path, command, config, environment, timeout=timeout, keep_open=keep_open)
        # Ours is chained, and would wait for us.
        environment[INHERITED] = str(held)
        return _run(path, command, config, environment, timeout=timeout, keep_open=[*keep_open, held])

    return execute


def _run(
    path: str,
    command: str,
    config: Mapping[str, Any],
    variables: Mapping[str, str],
    *,
    timeout: float,
    keep_open: Sequence[int] = (),
) -> dict[str, Any]:
    name = Path(path).name
    try:
        done = subprocess.run(
            [path],
            input=json.dumps(config).encode(),
            capture_output=True,
            env=_environment(command, variables),
            timeout=timeout,
            check=False,
            pass_fds=tuple(keep_open),
        )
    except subprocess.TimeoutExpired:
        raise CniError(name, command, None, f"no end within {timeout:g} s, so it was killed") from None
    except OSError as error:
        raise CniError(name, command, None, f"{path} cannot be run: {error.strerror}") from error
    output = done.stdout.decode("utf-8", "replace")
    if done.returncode != 0:
        raise parse_error(name, command, done.returncode, output, done.stderr.decode("utf-8", "replace"))
    return _parse_result(name, command, output)


def _environment(command: str, variables: Mapping[str, str]) -> dict[str, str]:
    """Ours without CNI_ variables of whoever started us; plugins such as portmap look for iptables in PATH."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("CNI_")}
    path = inherited.get("PATH", "/usr/bin:/bin").split(":")
    inherited["PATH"] = ":".join([*path, *(place for place in ("/usr/sbin", "/sbin") if place not in path)])
    return {**inherited, **variables, "CNI_COMMAND": command}


def _parse_result(name: str, command: str, output: str) -> dict[str, Any]:
    """CHECK and DEL print nothing; ADD and VERSION print an object."""
    if not output.strip():
        if command in ("ADD", "VERSION"):
            raise CniError(name, command, None, "ended well but printed no result")
        return {}
    try:
        result = json.loads(output)
    except (ValueError, RecursionError) as error:
        raise CniError(name, command, None, f"its result is not JSON ({error})", output.strip()[:200]) from error
    if not isinstance(result, dict):
        raise CniError(name, command, None, "its result is not a JSON object", output.strip()[:200])
    wrong = flaw(result) if command == "ADD" else ""
    if wrong:
        raise CniError(name, command, None, f"its result is none: {wrong}", output.strip()[:200])
    return result


def parse_error(name: str, command: str, returncode: int, output: str, stderr: str) -> CniError:
    """The error object on standard output; what a crash leaves on standard error when there is none."""
    try:
        found = json.loads(output)
        code, message = found["code"], found["msg"]
    except (ValueError, KeyError, TypeError, RecursionError):
        said = stderr.strip() or output.strip() or "said nothing"
        ended = f"killed by signal {-returncode}" if returncode < 0 else f"exit status {returncode}"
        return CniError(name, command, None, f"{ended} without an error object", said[-400:])
    details = found.get("details")
    number = code if isinstance(code, int) and not isinstance(code, bool) else None
    return CniError(name, command, number, str(message), str(details) if details else "")
