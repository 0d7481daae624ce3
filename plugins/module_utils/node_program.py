# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``podnet-node``: what a node does by itself, without a controller. See node_archive for how it gets there.

Exit status: 0 all is as declared, or was brought there; 1 something differs, or could not be brought there; 2 wrong
usage, or something could not be looked at.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.plugins.module_utils.checkpoint import armed, describe
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations, node_lock
from ansible_collections.podnet.fabric.plugins.module_utils.difference import sentence
from ansible_collections.podnet.fabric.plugins.module_utils.drift import drift
from ansible_collections.podnet.fabric.plugins.module_utils.errors import PodnetError
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from ansible_collections.podnet.fabric.plugins.module_utils.purge import purge
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import line
from ansible_collections.podnet.fabric.plugins.module_utils.restore import restore
from ansible_collections.podnet.fabric.plugins.module_utils.service_health import check_backends, told

if TYPE_CHECKING:
    from collections.abc import Sequence

AS_DECLARED, DIFFERS, UNKNOWN = 0, 1, 2
PAUSE = 2.0
"""Seconds between two attempts to restore, while the underlay is on its way up."""


def main(arguments: Sequence[str], version: str) -> int:
    """Run one of the commands; the exit status."""
    options = _parser(version).parse_args(arguments)
    if os.geteuid() != 0:
        _say(f"podnet-node: running as user id {os.geteuid()}; run it as root", error=True)
        return UNKNOWN
    try:
        return int(options.command(options))
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNKNOWN
    except (PodnetError, OSError) as error:
        _say(*(f"podnet-node: {text}" for text in str(error).splitlines()), error=True)
        return UNKNOWN


def _parser(version: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="podnet-node", description="The pod network of this node, as it is declared.")
    parser.add_argument("--version", action="version", version=f"podnet-node {version}")
    commands = parser.add_subparsers(dest="name", required=True, metavar="COMMAND")
    restoring = commands.add_parser("restore", help="bring the node to what it declares")
    restoring.add_argument("--check", action="store_true", help="only say what would change")
    restoring.add_argument(
        "--wait", type=float, default=0, metavar="SECONDS", help="try again so long while something is missing"
    )
    restoring.set_defaults(command=_restore)
    status = commands.add_parser("status", help="say in a few lines how the node is")
    status.add_argument("--json", action="store_true", help="for a program")
    status.set_defaults(command=_status)
    diff = commands.add_parser("diff", help="list what differs from what is declared, by object and field")
    diff.set_defaults(command=_diff)
    checking = commands.add_parser("health", help="check the backends of services once, and take out those that fail")
    checking.add_argument("--check", action="store_true", help="check them, but only say what would change")
    checking.add_argument("--now", action="store_true", help="also those whose period has not passed")
    checking.set_defaults(command=_health)
    purging = commands.add_parser("purge", help="take everything of the pod network off the node")
    purging.add_argument("--yes", action="store_true", help="do it; without this it only says what would go")
    purging.add_argument("--force", action="store_true", help="although pods of others are on the bridge")
    purging.set_defaults(command=_purge)
    return parser


def _restore(options: argparse.Namespace) -> int:
    declarations = Declarations()
    if not declarations.kinds():
        _say("nothing is declared on this node")
        return AS_DECLARED
    if options.check:
        return _diff(options)
    limit = time.monotonic() + options.wait
    while True:
        with node_lock(check=False), Host() as host:
            done = restore(host, declarations, declarations)
        _say(*done.changes)
        if not done.problems or time.monotonic() >= limit:
            break
        time.sleep(PAUSE)
    _say(*(f"not restored: {text}" for text in done.problems), error=True)
    _say(f"{len(done.changes)} changes, {len(done.problems)} problems")
    return DIFFERS if done.problems else AS_DECLARED


def _status(options: argparse.Namespace) -> int:
    declarations = Declarations()
    with Host() as host:
        differences, problems = drift(host, declarations)
    unhealthy = [] if problems else told(declarations)
    found = {
        "kinds": declarations.kinds(),
        "differences": len(differences),
        "problems": problems,
        "unhealthy": unhealthy,
        "checkpoint": describe(armed()),
    }
    if options.json:
        _say(json.dumps(found, sort_keys=True))
    else:
        _say(f"declared: {', '.join(declarations.kinds()) or 'nothing'}")
        _say(f"differences: {len(differences)}" + (", see podnet-node diff" if differences else ""))
        _say(*(f"problem: {text}" for text in problems), *unhealthy)
        if armed():
            _say("a change is on its way: its checkpoint is armed")
    return UNKNOWN if problems else DIFFERS if differences else AS_DECLARED


def _diff(_options: argparse.Namespace) -> int:
    with Host() as host:
        differences, problems = drift(host, Declarations())
    _say(*map(sentence, differences))
    _say(*(f"podnet-node: cannot compare {text}" for text in problems), error=True)
    return UNKNOWN if problems else DIFFERS if differences else AS_DECLARED


def _health(options: argparse.Namespace) -> int:
    done = check_backends(Declarations(), options.now, settle=False, check=options.check)
    _say(*done.after, *(f"{text} no more" for text in done.before if text not in done.after))
    _say(f"{done.checks} checks, {len(done.after)} backends fail")
    return AS_DECLARED


def _purge(options: argparse.Namespace) -> int:
    with node_lock(check=not options.yes), Host(options.force) as host:
        gone = purge(host, check=not options.yes)
    for kind, result in gone:
        facilities = {facility.name: facility for facility in kind.facilities}
        for operation in result.operations:
            gone_line = line(facilities[operation.facility], operation.before or operation.after)
            _say(f"{operation.verb} {operation.facility}: {gone_line}")
    if not options.yes:
        _say("nothing was removed; say --yes to remove it")
    return AS_DECLARED


def _say(*texts: str, error: bool = False) -> None:
    stream = sys.stderr if error else sys.stdout
    for text in texts:
        stream.write(f"{text}\n")
    stream.flush()
