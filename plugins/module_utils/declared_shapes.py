# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in the items of each kind's declaration: a file that somebody has edited is refused before it is used.

A shape is a type; a range, for a whole number in it; a list of one shape, for lists of such; a dict from names to
shapes, for objects with at least these keys, or from ``str`` to a shape, for mappings; or a tuple of shapes, for
one of them. What a value means is known to its kind, which says so where it takes the value apart.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES = {
    str: "text",
    bool: "true or false",
    dict: "an object",
    list: "a list",
    type(None): "null",
}

_MTU = range(68, 65536)
_TEXTS = {str: str}
_DATAPLANE = {
    "local": str,
    "underlay": str,
    "mtu": _MTU,
    "nexthop_objects": str,
    "peers": list,  # there may be many thousands, which are checked while they are packed (resources/peers.py)
}
_ETHERNET = {**_DATAPLANE, "vni": range(1, 2**24), "port": range(1, 65536), "mac": str, "addresses": [str]}
_ENDPOINT = {
    "namespace": str,
    "name": str,
    "node": str,
    "labels": _TEXTS,
    "addresses": [str],
    "ports": [{"name": str, "protocol": str, "port": range(1, 65536)}],
}

SHAPES: dict[str, dict[str, Any]] = {
    "bgp": {
        "router_id": str,
        "asn": range(1, 2**32),
        "mode": str,
        "reflector": bool,
        "cluster_id": str,
        "port": range(1, 65536),
        "routed": bool,
        "standby": bool,
        "blocks": [str],
        "pools": [str],
        "sessions": [
            {
                "name": str,
                "peer": str,
                "local": str,
                "address": str,
                "asn": range(1, 2**32),
                "relation": str,
                "on_link": bool,
                "secret": str,
                "port": range(1, 65536),
            }
        ],
        "peers": [{"name": str, "blocks": [str]}],
        "made": [str],
    },
    "bridge": {"mtu": _MTU, "mac": str, "addresses": [str]},
    "cni_network": {
        "path": str,
        "bridge": str,
        "mtu": (_MTU, type(None)),
        "blocks": [{"cidr": str, "gateway": str}],
        "plugins": [{"type": str}],
        "cni_version": str,
        "disable_check": (bool, type(None)),
        "data_dir": str,
        "made": [str],
    },
    "forward_accept": {"mode": str, "pools": [str]},
    "host_policy": {
        "node": str,
        "bridge": str,
        "interfaces": [str],
        "failsafe": {"inbound": [str], "outbound": [str]},
        "needs": [str],
        "policies": list,  # documents, which are taken apart by policy/hosts.py
        "namespaces": {str: _TEXTS},
        "nodes": [{"name": str, "labels": _TEXTS, "addresses": [str]}],
        "endpoints": [_ENDPOINT],
    },
    "ipam_block": {"blocks": [str], "made": [str]},
    "ipam_pool": {"pools": [{"name": str, "cidr": str, "nat_outgoing": bool}]},
    "persist": {
        "interfaces": [str],
        "self_heal": range(86401),
        "systemd": bool,
        "network_manager": bool,
        "made": {str: [str]},
    },
    "policy": {
        "node": str,
        "backend": str,
        "bridge": str,
        "flows": range(1, 2**24 + 1),
        "fragments": range(1, 2**24 + 1),
        "policies": list,  # documents, which are taken apart by policy/documents.py
        "namespaces": {str: _TEXTS},
        "endpoints": [_ENDPOINT],
    },
    "pod": {
        "name": str,
        "namespace": str,
        "network": str,
        "netns": str,
        "ifname": str,
        "labels": _TEXTS,
        "args": _TEXTS,
        "runtime_config": dict,
        "conf_dir": str,
        "bin_dir": str,
    },
    "route": {
        "routes": [
            {"dst": str, "via": str, "dev": str, "onlink": bool, "metric": range(2**32), "table": range(1, 2**32)}
        ],
        "nexthop_objects": str,
    },
    "service": {
        "node": str,
        "backend": str,
        "blocks": [str],
        "pods": [str],
        "ranges": [str],
        "services": list,  # documents, which are taken apart by service/documents.py
        "slices": list,
        "endpoints": [_ENDPOINT],
    },
    "sysctl": {"settings": _TEXTS, "former": _TEXTS, "made": [str]},
    "tunnel_filter": {"protocol": str, "port": (range(1, 65536), type(None)), "bridge": str, "peers": [str]},
    "vxlan": _ETHERNET,
    "geneve": _ETHERNET,
    "ipip": {**_DATAPLANE, "device6": str, "addresses": [str]},
    "wireguard": {
        **_DATAPLANE,
        "port": range(1, 65536),
        "generation": range(1, 2**31),
        "standby": bool,
        "addresses": [str],
    },
    "host_gw": _DATAPLANE,
}


def deviations(kind: str, items: dict[str, Any]) -> list[str]:
    """A line for each value that is not of its shape: where it stands, what it is, what it should be."""
    shape = SHAPES.get(kind)
    if shape is None:
        return []
    return [line for name in sorted(items) for line in _deviations(f"items.{name}", items[name], shape)]


def _deviations(path: str, value: Any, shape: Any) -> list[str]:
    if _fit([value], shape):
        return []
    inner: list[tuple[str, Any, Any]] = []
    if isinstance(shape, list) and isinstance(value, list):
        inner = [(f"{path}[{position}]", entry, shape[0]) for position, entry in enumerate(value)]
    elif isinstance(shape, dict) and isinstance(value, dict):
        wanted = dict.fromkeys(value, shape[str]) if str in shape else shape
        inner = [(f"{path}.{key}", value.get(key, _MISSING), one) for key, one in wanted.items()]
    else:
        return [f"{path}: {_shown(value)} where {_named(shape)} should be"]
    return [line for entry in inner for line in _deviations(*entry)]


def _fit(values: Sequence[Any], shape: Any) -> bool:
    """Whether all values are of one shape, without words, as nearly everything fits.

    Of many objects, whose values have the same shape by key, those of a key are looked at together.
    """
    if isinstance(shape, tuple):
        return all(any(_fit([value], one) for one in shape) for value in values)
    if isinstance(shape, range):
        return all(isinstance(value, int) and not isinstance(value, bool) and value in shape for value in values)
    if not _are(values, shape if isinstance(shape, type) else type(shape)):
        return False
    inner: list[tuple[Sequence[Any], Any]] = []
    if isinstance(shape, list):
        inner = [(list(chain.from_iterable(values)), shape[0])]
    elif isinstance(shape, dict) and str in shape:
        inner = [([one for value in values for one in value.values()], shape[str])]
    elif isinstance(shape, dict):
        inner = [([value.get(key, _MISSING) for value in values], one) for key, one in shape.items()]
    return all(_fit(*each) for each in inner)


def _are(values: Sequence[Any], sort: type) -> bool:
    return all(issubclass(each, sort) for each in set(map(type, values)))


_MISSING = object()


def _shown(value: Any) -> str:
    return "nothing" if value is _MISSING else repr(value)[:60]


def _named(shape: Any) -> str:
    if isinstance(shape, tuple):
        return " or ".join(map(_named, shape))
    if isinstance(shape, range):
        return f"a whole number from {shape.start} to {shape.stop - 1}"
    return NAMES[shape if isinstance(shape, type) else type(shape)]
