# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The network configuration list of the pod network: rendered, recognised, and held against the plugins installed.

A configuration list is JSON, which knows no comments, so ownership is a top-level key ``podnet``. Runtimes read such a
list with libcni, which takes the keys it knows and leaves the others alone, and hands a plugin only its own entry of
``plugins``; so no plugin ever sees our key.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.attach.pod import CAPABILITY
from ansible_collections.podnet.fabric.plugins.module_utils.cni.plugin import CniError, Plugin, probe
from ansible_collections.podnet.fabric.plugins.module_utils.errors import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MARK = "podnet"
NOTE = "Written by podnet.fabric; changes made here are lost. Other networks belong into files of their own."
DRAINED = (
    "This node is drained: no new pod gets an address, since the only one in each range is the bridge's own. End it by "
    "playbooks/drain.yml with drained=false."
)

# On a file system that a reboot empties: host-local would keep the addresses of pods that are no more.
DATA_DIR = "/run/podnet/ipam"

# Their CHECK reports faults that are none: portmap looks for the rules of each family among those of the other one
# (https://github.com/containernetworking/plugins/issues/819, in 1.1.1).
CHECK_UNRELIABLE = frozenset({"portmap"})

ATTACH = "podnet-attach"
"""Our own plugin (attach/plugin.py), which comes last."""

# Numbers with dots, and no more than the integers of any system hold.
_VERSION = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6}){0,3}")

ANYWHERE = {4: "0.0.0.0/0", 6: "::/0"}


class Block(NamedTuple):
    """A block of pod addresses that this node owns, and the bridge's address in it."""

    cidr: str
    gateway: str

    @property
    def family(self) -> int:
        return 6 if ":" in self.cidr else 4


class Network(NamedTuple):
    """Everything that the list is rendered from. ``plugins`` are chained behind the bridge plugin, as given.

    ``attach`` has our own plugin put each new pod under its policies.
    """

    name: str
    bridge: str
    blocks: tuple[Block, ...]
    mtu: int | None = None
    version: str = "1.0.0"
    plugins: tuple[Mapping[str, Any], ...] = ()
    data_dir: str = DATA_DIR
    disable_check: bool | None = None
    drained: bool = False
    attach: bool = False

    @property
    def check_disabled(self) -> bool:
        """Whether runtimes are told not to call CHECK; by default where it cannot be relied upon."""
        if self.disable_check is not None:
            return self.disable_check
        return any(plugin["type"] in CHECK_UNRELIABLE for plugin in self.plugins)


def render(network: Network) -> dict[str, Any]:
    """The configuration list, with the bridge plugin on a bridge that is ours already.

    isGateway and ipMasq are off: the bridge's addresses and outgoing NAT belong to the bridge role, for all pods alike.
    hairpinMode is on, so that a pod reaches itself by the address of a service, and because with it the plugin turns
    duplicate address detection off, which would see its own packets come back.
    """
    bridge: dict[str, Any] = {
        "type": "bridge",
        "bridge": network.bridge,
        "isGateway": False,
        "ipMasq": False,
        "hairpinMode": True,
    }
    # A runtime may then ask for addresses (podman --ip), and a pod keeps its own when its attachment is repaired.
    bridge["capabilities"] = {"ips": True}
    if network.mtu is not None:
        bridge["mtu"] = network.mtu
    bridge["ipam"] = _host_local(network)
    conflist: dict[str, Any] = {
        MARK: {"kind": "cni_network", "note": NOTE, **({"drained": DRAINED} if network.drained else {})},
        "cniVersion": network.version,
        "name": network.name,
    }
    if network.check_disabled:
        conflist["disableCheck"] = True
    last = [{"type": ATTACH, "capabilities": {CAPABILITY: True}}] if network.attach else []
    return {**conflist, "plugins": [bridge, *network.plugins, *last]}


def _host_local(network: Network) -> dict[str, Any]:
    """host-local gives a pod one address out of each range *set*, so all the blocks of a family make one set.

    On a drained node each range is the gateway alone, which host-local gives to nobody: ADD says "no IP addresses
    available in range set". Without the list, containerd would not run DEL for the pods that are there
    (go-cni, Remove).
    """
    families = [family for family in (4, 6) if any(block.family == family for block in network.blocks)]
    return {
        "type": "host-local",
        "dataDir": network.data_dir,
        "ranges": [
            [_range(block, network.drained) for block in network.blocks if block.family == family]
            for family in families
        ],
        "routes": [{"dst": ANYWHERE[family]} for family in families],
    }


def _range(block: Block, drained: bool) -> dict[str, str]:
    nothing = {"rangeStart": block.gateway, "rangeEnd": block.gateway}
    return {"subnet": block.cidr, "gateway": block.gateway, **(nothing if drained else {})}


def is_drained(conflist: Mapping[str, Any]) -> bool:
    """Whether a list gives no new addresses."""
    mark = conflist.get(MARK)
    return isinstance(mark, dict) and "drained" in mark


def undrained(conflist: Mapping[str, Any]) -> dict[str, Any]:
    """A list of ours as it is while the node is not drained; whatever else somebody has made of it stays."""
    if not is_drained(conflist):
        return dict(conflist)
    mark = {key: value for key, value in conflist[MARK].items() if key != "drained"}
    return {**conflist, MARK: mark, "plugins": _without(conflist["plugins"], ("rangeStart", "rangeEnd"))}


def _without(value: Any, keys: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        return {key: _without(inner, keys) for key, inner in value.items() if key not in keys}
    return [_without(inner, keys) for inner in value] if isinstance(value, list) else value


def text(conflist: Mapping[str, Any]) -> str:
    """The file's text."""
    return json.dumps(conflist, indent=2) + "\n"


def parse(content: str) -> dict[str, Any] | None:
    """A configuration list out of a file's text; None when it is none."""
    found = _mapping(content)
    return None if flaw(found) else found


def flaw(found: Mapping[str, Any]) -> str:
    """Why this is no configuration list; empty when it is one."""
    plugins, version = found.get("plugins"), found.get("cniVersion")
    if not isinstance(found.get("name"), str):
        return "it has no name"
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        return "its cniVersion is no version"
    if not isinstance(plugins, list) or not plugins or not all(map(_is_plugin, plugins)):
        return "its plugins are none"
    return ""


def _is_plugin(plugin: Any) -> bool:
    """Whether what names things in a plugin's configuration is text; the rest is the plugin's own."""
    if not isinstance(plugin, dict) or not isinstance(plugin.get("type"), str):
        return False
    ipam = plugin.get("ipam")
    ipam_type = ipam.get("type", "") if isinstance(ipam, dict) else ""
    capabilities = plugin.get("capabilities")
    named = isinstance(ipam_type, str) and isinstance(plugin.get("bridge", ""), str)
    return named and (capabilities is None or isinstance(capabilities, dict))


def name_of(content: str) -> str:
    """The network's name in a file's text, list or single configuration; empty when there is none."""
    return str(_mapping(content).get("name", ""))


def _mapping(content: str) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def executables(conflist: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The executables that a list names, IPAM plugins too, each with the path to its name, in order and once."""
    named: dict[str, str] = {}
    for position, plugin in enumerate(conflist["plugins"]):
        named.setdefault(plugin["type"], f"plugins[{position}].type")
        ipam = plugin.get("ipam")
        if isinstance(ipam, dict) and ipam.get("type"):
            named.setdefault(ipam["type"], f"plugins[{position}].ipam.type")
    return list(named.items())


def bridges(conflist: Mapping[str, Any]) -> list[str]:
    """The bridges to which a list attaches pods; cni0 is the plugin's own default."""
    return [plugin.get("bridge", "cni0") for plugin in conflist["plugins"] if plugin["type"] == "bridge"]


def missing(conflist: Mapping[str, Any], where: Sequence[str]) -> list[Finding]:
    """What keeps the plugins installed from carrying out this list: all of it, each with its cure."""
    findings = []
    for name, path in executables(conflist):
        if name == ATTACH:  # which comes with the list
            continue
        try:
            plugin = probe(name, where)
        except CniError as error:
            findings.append(
                Finding(path, str(error), f"install a working {name} plugin (Debian: containernetworking-plugins)")
            )
            continue
        finding = _unsuitable(name, path, plugin, conflist["cniVersion"], where)
        if finding is not None:
            findings.append(finding)
    return findings


def _unsuitable(name: str, path: str, plugin: Plugin | None, version: str, where: Sequence[str]) -> Finding | None:
    if plugin is None:
        looked = ", ".join(where)
        cure = "install it (Debian: apt-get install containernetworking-plugins) or set bin_dir to where it is"
        return Finding(path, f"CNI plugin {name} is not in {looked}", cure)
    if version not in plugin.versions:
        spoken = ", ".join(plugin.versions) or "none"
        return Finding(
            path,
            f"{plugin.path} does not speak CNI {version}, only {spoken}",
            "set cni_version to one of them or update the plugin",
        )
    return None
