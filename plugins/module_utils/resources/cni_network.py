# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pod network as container runtimes see it: a CNI configuration list in their directory."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.podnet.fabric.plugins.module_utils.attach import installed
from ansible_collections.podnet.fabric.plugins.module_utils.cni import conflist
from ansible_collections.podnet.fabric.plugins.module_utils.cni.conflist import Block, Network
from ansible_collections.podnet.fabric.plugins.module_utils.cni.plugin import directories
from ansible_collections.podnet.fabric.plugins.module_utils.facilities import files
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.address_stores import (
    ADDRESS_STORES,
    standing,
    taken,
)
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.files import FILES, File
from ansible_collections.podnet.fabric.plugins.module_utils.facilities.programs import PROGRAMS
from ansible_collections.podnet.fabric.plugins.module_utils.inspection import Inspection, network, packed_ip
from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Target

if TYPE_CHECKING:
    from collections.abc import Container, Hashable, Mapping, Sequence

    from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Items
    from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
    from ansible_collections.podnet.fabric.plugins.module_utils.reconcile import Facility

# CNI specification 1.0.0, section 1: the key "name".
NETWORK_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*\Z")
# What libcni reads as a configuration (libcni/conf.go).
SUFFIXES = (".conf", ".conflist", ".json")
IPV4_MIN_MTU = 68
MAX_MTU = 65535
# Containers that an error names before it only counts.
SHOWN_PODS = 4


class CniNetwork:
    """See the module's documentation for the parameters."""

    name = "cni_network"
    rank = 60
    # A list that names our plugin comes after it and goes before it.
    facilities: Sequence[Facility] = (PROGRAMS, FILES, ADDRESS_STORES)

    def normalise(
        self, name: str, params: Mapping[str, Any], former: dict[str, Any] | None, host: Host
    ) -> dict[str, Any]:
        inspection = Inspection()
        if not NETWORK_NAME.match(name):
            inspection.refuse("name", f"{name!r} is no network name", "letters, digits, '_', '.' and '-' make one")
        inspection.interface("bridge", params["bridge"])
        if params.get("mtu") is not None:
            inspection.integer("mtu", params["mtu"], IPV4_MIN_MTU, MAX_MTU)
        for key in ("conf_dir", "bin_dir"):
            if not params[key].startswith("/") and (key, params[key]) != ("bin_dir", "auto"):
                inspection.refuse(key, params[key], "give an absolute path")
        blocks = _inspect_blocks(inspection, params["blocks"])
        plugins = _inspect_plugins(inspection, params.get("plugins") or [])
        inspection.conclude()
        path = f"{params['conf_dir'].rstrip('/')}/10-{name}.conflist"
        made = files.missing_directories(path)
        item = {"path": path, "bridge": params["bridge"], "mtu": params.get("mtu"), "blocks": blocks}
        item.update(plugins=plugins, cni_version=params["cni_version"], disable_check=params.get("disable_check"))
        item["data_dir"] = conflist.DATA_DIR
        # What nobody decides stays as it is, also under another name: a node is drained until somebody ends it.
        known = {**host.declarations.read(self.name), **({name: former} if former else {})}
        wanted = params.get("drained")
        if any(is_drained(other) for other in known.values()) if wanted is None else wanted:
            item["drained"] = True
        item["made"] = former["made"] if former and former["path"] == path else made
        item.update(installed.wanted(params.get("attach", False), directories(params["bin_dir"]), known.values()))
        if params.get("verify_plugins", True):
            inspection.findings += conflist.missing(_rendered(name, item), directories(params["bin_dir"]))
            inspection.conclude()
        return item

    def target(self, items: Items, former: Items, host: Host) -> Target:
        every = [*former.items(), *items.items()]
        paths = {item["path"]: item["made"] for dummy, item in every}
        desired: dict[Hashable, Any] = {
            item["path"]: File(item["path"], conflist.text(_rendered(name, item)), 0o644, tuple(item["made"]))
            for name, item in items.items()
        }
        conflicts = files.conflicts([item["path"] for item in items.values()]) + installed.conflicts(items.values())
        notes = []
        for name, item in items.items():
            same, earlier = _neighbours(name, item["path"], paths)
            conflicts += [
                f"{path}: defines a network named {name} too, and a runtime may read that one; remove it or rename one"
                for path in same
            ]
            if earlier:
                notes.append(
                    f"{', '.join(earlier)}: read before {Path(item['path']).name}; containerd and CRI-O attach pods to "
                    "the first network of the directory, which is then not ours"
                )
        wanted = {_store(name, item) for name, item in items.items()}
        stores = standing(sorted({_store(name, item) for name, item in every}))
        if not host.force:
            conflicts += [
                _in_use(path, addresses)
                for path in stores
                if path not in wanted
                and (addresses := {ip: who for ip, who in taken(Path(path)).items() if ip not in host.leaving})
            ]
        return Target(
            {
                "programs": installed.observe(item for dummy, item in every),
                "files": files.observe(paths),
                "address_stores": dict(stores),
            },
            {
                "programs": installed.desired(items.values()),
                "files": desired,
                "address_stores": {path: path for path in stores if path in wanted},
            },
            conflicts,
            notes,
        )


def _in_use(store: str, addresses: Mapping[str, str]) -> str:
    pods: dict[str, list[str]] = {}
    for address, container in addresses.items():
        pods.setdefault(container, []).append(address)
    some = "; ".join(f"{container}: {', '.join(ips)}" for container, ips in list(pods.items())[:SHOWN_PODS])
    if len(pods) > SHOWN_PODS:
        some += f"; and {len(pods) - SHOWN_PODS} more"
    return (
        f"{store}: addresses are still taken ({some}); detach these pods first (module pod, or their container "
        "runtime), or say podnet_teardown_force: true"
    )


def _rendered(name: str, item: Mapping[str, Any]) -> dict[str, Any]:
    blocks = tuple(Block(block["cidr"], block["gateway"]) for block in item["blocks"])
    return conflist.render(
        Network(
            name,
            item["bridge"],
            blocks,
            item["mtu"],
            item["cni_version"],
            tuple(item["plugins"]),
            item["data_dir"],
            item["disable_check"],
            is_drained(item),
            installed.is_chained(item),
        )
    )


def is_drained(item: Mapping[str, Any]) -> bool:
    """Whether a declared network gives no new addresses; the key is there only where it does not."""
    return item.get("drained") is True


def with_drain(items: Items, drained: bool) -> Items:
    """The declared networks, giving new addresses or not."""
    return {
        name: {
            **{key: value for key, value in item.items() if key != "drained"},
            **({"drained": True} if drained else {}),
        }
        for name, item in items.items()
    }


def _store(name: str, item: Mapping[str, Any]) -> str:
    """host-local keeps a directory per network."""
    return f"{item['data_dir']}/{name}"


def _neighbours(name: str, path: str, ours: Container[str]) -> tuple[list[str], list[str]]:
    """The others' configurations of the directory: with our network's name, and those that are read before ours."""
    same, earlier = [], []
    for other in sorted(Path(path).parent.glob("*")):
        if str(other) in ours or other.suffix not in SUFFIXES or not other.is_file():
            continue
        if conflist.name_of(other.read_text(encoding="utf-8", errors="replace")) == name:
            same.append(str(other))
        elif other.name < Path(path).name:
            earlier.append(str(other))
    return same, earlier


def _inspect_blocks(inspection: Inspection, blocks: Any) -> list[dict[str, str]]:
    """Blocks as they come out of the plan (further keys are the plan's own), each with its gateway."""
    if not blocks:
        inspection.refuse("blocks", "none", "give at least one block of pod addresses, as cidr and gateway")
    accepted: dict[int, dict[str, str]] = {}
    for position, block in enumerate(blocks):
        path = f"blocks[{position}]"
        if not isinstance(block, dict) or not {"cidr", "gateway"} <= block.keys():
            inspection.refuse(path, repr(block), "give cidr and gateway")
            continue
        prefix = inspection.network(f"{path}.cidr", block["cidr"])
        gateway = inspection.ip(f"{path}.gateway", block["gateway"])
        if prefix is None or gateway is None:
            continue
        if prefix.prefixlen > 8 * len(prefix.address) - 2:
            # plugins/ipam/host-local/backend/allocator/range.go, Canonicalize
            inspection.refuse(f"{path}.cidr", block["cidr"], "too small: host-local wants two bits for addresses")
        if not _holds(block["cidr"], block["gateway"]):
            inspection.refuse(f"{path}.gateway", block["gateway"], f"give an address in {block['cidr']}")
        for earlier, other in accepted.items():
            if _holds(other["cidr"], block["cidr"]) or _holds(block["cidr"], other["cidr"]):
                inspection.refuse(f"{path}.cidr", block["cidr"], f"overlaps blocks[{earlier}].cidr {other['cidr']}")
        accepted[position] = {"cidr": block["cidr"], "gateway": block["gateway"]}
    return list(accepted.values())


def _holds(cidr: str, other: str) -> bool:
    """Whether a prefix holds an address, or the first address of another prefix."""
    prefix, address = network(cidr), packed_ip(other.partition("/")[0])
    if prefix is None or address is None or len(address) != len(prefix.address):
        return False
    spare = 8 * len(address) - prefix.prefixlen
    return int.from_bytes(address, "big") >> spare == int.from_bytes(prefix.address, "big") >> spare


def _inspect_plugins(inspection: Inspection, plugins: Any) -> list[dict[str, Any]]:
    for position, plugin in enumerate(plugins):
        kind = plugin.get("type") if isinstance(plugin, dict) else None
        if not isinstance(kind, str) or not kind or "/" in kind:
            inspection.refuse(f"plugins[{position}].type", repr(kind), "give the name of a CNI plugin, such as portmap")
    return list(plugins)


KIND = CniNetwork()
