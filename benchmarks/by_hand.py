# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A network of two nodes as a person would type it with `ip`, `bridge`, `nft` and `wg`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.podnet.fabric.benchmarks.network import POOLS, TUNNELS, Network, run

if TYPE_CHECKING:
    from collections.abc import Callable


def mac(number: int) -> str:
    return f"02:00:00:00:01:{number:02x}"


def build(network: Network, number: int) -> None:
    node, mtu = f"node{number}", network.mtu
    network.ip(
        node,
        f"link add podnet0 address 02:00:00:00:02:0{number} mtu {mtu} type bridge",
        f"address add 10.244.{number}.1/24 dev podnet0",
        f"address add fd00:10:244:{number}::1/64 dev podnet0",
        "link set podnet0 up",
    )
    rules = [
        f"{sort} saddr {pool} {sort} daddr != {pool} {sort} daddr != {multicast} masquerade fully-random"
        for sort, pool, multicast in zip(("ip", "ip6"), POOLS, ("224.0.0.0/4", "ff00::/8"), strict=True)
    ]
    chain = "type nat hook postrouting priority srcnat;\n" + "\n".join(rules)
    network.inside(node, "nft", "-f", "-", stdin=f"table inet nat {{\nchain out {{\n{chain}\n}}\n}}\n")
    _HAND[network.dataplane](network, number, 3 - number)


def filtered(network: Network, number: int) -> None:
    tunnel, other = TUNNELS[network.dataplane], 3 - number
    network.inside(
        f"node{number}",
        "nft",
        "-f",
        "-",
        stdin=f"""
        table inet tunnel {{
            set peers4 {{ type ipv4_addr; elements = {{ 192.0.2.{other} }}; }}
            set peers6 {{ type ipv6_addr; elements = {{ fd00:192::{other} }}; }}
            chain arriving {{
                type filter hook input priority raw;
                iifname != "lo" {tunnel} ip saddr != @peers4 counter drop
                iifname != "lo" {tunnel} ip6 saddr != @peers6 counter drop
            }}
            chain leaving {{
                type filter hook prerouting priority raw;
                iifname "podnet0" {tunnel} counter drop
            }}
        }}
        """,
    )


def _hand_ethernet(network: Network, number: int, device: str, link: str) -> None:
    """What VXLAN and Geneve have in common; the routes are the caller's."""
    other = 3 - number
    network.ip(
        f"node{number}",
        f"link add {device} address {mac(number)} mtu {network.mtu} type {link}",
        f"address add 10.244.{number}.0/32 dev {device}",
        f"address add fd00:10:244:{number}::/128 dev {device}",
        f"link set {device} up",
        f"neigh add 10.244.{other}.0 lladdr {mac(other)} dev {device} nud permanent",
        f"neigh add fd00:10:244:{other}:: lladdr {mac(other)} dev {device} nud permanent",
    )


def _hand_vxlan(network: Network, number: int, other: int) -> None:
    link = f"vxlan id 84 local 192.0.2.{number} dev eth0 dstport 4789 nolearning"
    _hand_ethernet(network, number, "podnet-vx", link)
    network.inside(
        f"node{number}",
        "bridge",
        "fdb",
        "add",
        mac(other),
        "dev",
        "podnet-vx",
        "dst",
        f"192.0.2.{other}",
        "self",
        "permanent",
    )
    network.ip(
        f"node{number}",
        f"route add 10.244.{other}.0/24 via 10.244.{other}.0 dev podnet-vx onlink",
        f"route add fd00:10:244:{other}::/64 via fd00:10:244:{other}:: dev podnet-vx onlink",
    )


def _hand_geneve(network: Network, number: int, other: int) -> None:
    _hand_ethernet(network, number, "podnet-gnv", "geneve external dstport 6081")
    outer = f"encap ip id 84 src 192.0.2.{number} dst 192.0.2.{other}"
    network.ip(
        f"node{number}",
        f"route add 10.244.{other}.0/24 {outer} via 10.244.{other}.0 dev podnet-gnv onlink",
        f"route add fd00:10:244:{other}::/64 {outer} via fd00:10:244:{other}:: dev podnet-gnv onlink",
    )


def _hand_ipip(network: Network, number: int, other: int) -> None:
    outer = f"encap ip6 id 0 src fd00:192::{number} dst fd00:192::{other}"
    network.ip(
        f"node{number}",
        f"link add podnet-ip4 mtu {network.mtu} type ipip mode ipip local 192.0.2.{number}",
        f"link add podnet-ip6 mtu {network.mtu} type ip6tnl mode ip6ip6 external",
        f"address add 10.244.{number}.0/32 dev podnet-ip4",
        f"address add fd00:10:244:{number}::/128 dev podnet-ip6",
        "link set podnet-ip4 up",
        "link set podnet-ip6 up",
        f"route add 10.244.{other}.0/24 via 192.0.2.{other} dev podnet-ip4 onlink",
        f"route add fd00:10:244:{other}::/64 {outer} dev podnet-ip6",
    )


def _hand_routes(network: Network, number: int, other: int) -> None:
    network.ip(
        f"node{number}",
        f"route add 10.244.{other}.0/24 via 192.0.2.{other}",
        f"route add fd00:10:244:{other}::/64 via fd00:192::{other}",
    )


def _hand_wireguard(network: Network, number: int, other: int) -> None:
    network.ip(
        f"node{number}",
        f"link add podnet-wg mtu {network.mtu} type wireguard",
        f"address add 10.244.{number}.0/32 dev podnet-wg",
        f"address add fd00:10:244:{number}::/128 dev podnet-wg",
    )
    config = (
        f"[Interface]\nPrivateKey = {key(number)}\nListenPort = 51820\n"
        f"[Peer]\nPublicKey = {public_key(other)}\nEndpoint = 192.0.2.{other}:51820\n"
        f"AllowedIPs = 10.244.{other}.0/24, fd00:10:244:{other}::/64\n"
    )
    network.inside(f"node{number}", "wg", "setconf", "podnet-wg", "/dev/stdin", stdin=config)
    network.ip(
        f"node{number}",
        "link set podnet-wg up",
        f"route add 10.244.{other}.0/24 dev podnet-wg",
        f"route add fd00:10:244:{other}::/64 dev podnet-wg",
    )


def public_key(number: int) -> str:
    return run("wg", "pubkey", stdin=key(number)).strip()


def key(number: int) -> str:
    """A key of this benchmark alone, whose traffic never leaves this machine."""
    return run("base64", stdin="podnet benchmark, of no worth   "[:31] + str(number)).strip()


_HAND: dict[str, Callable[[Network, int, int], None]] = {
    "vxlan": _hand_vxlan,
    "geneve": _hand_geneve,
    "ipip": _hand_ipip,
    "wireguard": _hand_wireguard,
    "host_gw": _hand_routes,
    "bgp": _hand_routes,
}
