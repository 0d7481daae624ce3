# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration of a node's BIRD 2 as text, out of what the node has to say and to whom.

https://bird.network.cz/doc-20/bird.html has the language. Passwords stand in a file of their own, as constants, so that
this text can be shown to anybody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.podnet.fabric.plugins.module_utils.ownership import FILE_HEADER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

METRIC = 2084
"""Metric of BIRD's routes in the kernel: behind every route of protocol 84, which so wins while a cluster moves."""

PORT = 179
"""RFC 4271, section 8."""

INTERNAL, CLIENT, EXTERNAL = "internal", "client", "external"
"""What a neighbour is to the node: in its own AS, a client of this route reflector (RFC 4456), in another AS."""

GRACEFUL_RESTART_WAIT = 30
"""Seconds that a restarted BIRD waits for its neighbours before it changes the kernel's routes."""


class Session(NamedTuple):
    """A session with a neighbour; the family of its addresses is the family of the prefixes that it carries."""

    name: str  # of the protocol in BIRD, see symbol()
    local: str
    address: str
    asn: int
    relation: str = INTERNAL
    on_link: bool = True  # else some hops away
    secret: str = ""  # name of the constant that holds the password; empty for none
    port: int = PORT


class Speaker(NamedTuple):
    """What a node says, and to whom."""

    router_id: str
    asn: int
    blocks: tuple[str, ...]
    pools: tuple[str, ...]
    sessions: tuple[Session, ...]
    reflector: bool = False
    cluster_id: str = ""  # of a route reflector; empty for its router id
    port: int = PORT
    # Whether next hops may lie behind routers, so that they have to be looked up in the kernel's other routes.
    routed: bool = False
    secrets_file: str = ""  # to be read before the sessions; empty when there are no passwords


def symbol(name: str, family: int) -> str:
    """A name as BIRD takes it between apostrophes: letters, digits, '_', '-' and '.' (CF_SYM in conf/cf-lex.l)."""
    plain = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "_-.") else "_" for letter in name)
    return f"{plain}.v{family}"


def families(prefixes: Sequence[str]) -> list[int]:
    """The address families of prefixes or addresses, 4 before 6."""
    return sorted({family_of(text) for text in prefixes})


def family_of(text: str) -> int:
    """4 or 6."""
    return 6 if ":" in text else 4


def render(speaker: Speaker) -> str:
    """The text of the configuration file."""
    parts = [_head(speaker), "protocol device {\n  scan time 10;\n}\n"]
    if speaker.routed:
        parts.append(_connected(speaker))
    parts += [_family(speaker, family) for family in families(speaker.blocks)]
    parts.append(_TEMPLATE)
    parts += [_session(speaker, session) for session in speaker.sessions]
    return "\n".join(parts)


def render_secrets(secrets: Mapping[str, str]) -> str:
    """The text of the file with the passwords, by the names of their constants."""
    return FILE_HEADER + "".join(f'define {name} = "{secrets[name]}";\n' for name in sorted(secrets))


def _head(speaker: Speaker) -> str:
    lines = [
        FILE_HEADER.rstrip("\n"),
        'log syslog name "podnet-bird" all;',
        f"router id {speaker.router_id};",
        # Neighbours that stay away for good must not keep the kernel's routes from following the others.
        f"graceful restart wait {GRACEFUL_RESTART_WAIT};",
    ]
    if speaker.secrets_file:
        lines.append(f'include "{speaker.secrets_file}";')
    return "\n".join(lines) + "\n"


def _connected(speaker: Speaker) -> str:
    channels = " ".join(f"ipv{family};" for family in families(speaker.blocks))
    return f"protocol direct podnet_connected {{\n  {channels}\n}}\n"


def _family(speaker: Speaker, family: int) -> str:
    own = [block for block in speaker.blocks if family_of(block) == family]
    pools = [pool for pool in speaker.pools if family_of(pool) == family]
    routes = "\n".join(f"  route {block} blackhole;" for block in own)
    # Routes of the kernel that are not the network's own serve to find next hops, and go nowhere else.
    kernel_import = f"import where !(net ~ PODNET_POOLS{family})" if speaker.routed else "import none"
    learn = "\n  learn on;" if speaker.routed else ""
    told = "source = RTS_BGP || proto" if speaker.reflector else "proto"
    return f"""\
define PODNET_POOLS{family} = [ {_prefixes(pools)} ];
define PODNET_BLOCKS{family} = [ {_prefixes(own)} ];

# Blocks of other nodes and nothing else, whatever a neighbour tells.
filter podnet_heard{family} {{
  if net ~ PODNET_POOLS{family} && !(net ~ PODNET_BLOCKS{family}) then accept;
  reject;
}}

filter podnet_told{family} {{
  if {told} = "podnet_blocks{family}" then accept;
  reject;
}}

# To be told to others; in the kernel the bridge has the blocks.
protocol static podnet_blocks{family} {{
  ipv{family};
{routes}
}}

protocol kernel podnet_kernel{family} {{
  metric {METRIC};
  scan time 10;
  merge paths on;
  graceful restart on;{learn}
  ipv{family} {{
    {kernel_import};
    export where source = RTS_BGP;
  }};
}}
"""


def _prefixes(prefixes: Sequence[str]) -> str:
    return ", ".join(f"{prefix}+" for prefix in prefixes)


# An address may be away for a moment, as while systemd-networkd starts again: a session that begins anew just then, and
# cannot bind, would never try again.
_TEMPLATE = """\
template bgp podnet {
  strict bind on;
  free bind on;
  graceful restart on;
  hold time 90;
  connect delay time 1;
  connect retry time 5;
  error wait time 2, 30;
}
"""


def _session(speaker: Speaker, session: Session) -> str:
    family = family_of(session.address)
    lines = [
        f"local {session.local} port {speaker.port} as {speaker.asn};",
        f"neighbor {session.address} port {session.port} as {session.asn};",
        "direct;" if session.on_link else "multihop;",
    ]
    if session.relation == CLIENT:
        lines.append("rr client;")
    if speaker.reflector and speaker.cluster_id and session.relation != EXTERNAL:
        lines.append(f"rr cluster id {speaker.cluster_id};")
    if session.relation == EXTERNAL:
        # All nodes may have one AS number, and then a router tells one what it heard of another.
        lines.append("allow local as 1;")
    if session.secret:
        lines.append(f"password {session.secret};")
    channel = [f"import filter podnet_heard{family};", f"export filter podnet_told{family};"]
    if speaker.routed:
        channel.insert(0, "gateway recursive;")
    body = "\n".join(f"  {line}" for line in lines)
    inner = "\n".join(f"    {line}" for line in channel)
    return f"protocol bgp '{session.name}' from podnet {{\n{body}\n  ipv{family} {{\n{inner}\n  }};\n}}\n"
