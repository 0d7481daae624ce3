/* SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026, the podnet.fabric authors
 *
 * How flows and datagrams in fragments are told apart, what has been seen of a flow, and how long that counts.
 */
#pragma once
#include "kernel.h"
#include "packet.h"

#define REPLIED 0x01
#define STANDS 0x02 /* TCP: the third packet was seen */
#define FIN_THERE 0x04
#define FIN_BACK 0x08
#define RESET 0x10
#define DENIED 0x20

#define SECONDS 1000000000ULL

struct fragment_key {
	u32 src[4];
	u32 dst[4];
	u32 id;
	u16 hook;
	u16 protocol; /* of IPv4: its ids count per protocol */
};

/* Seconds that a flow is remembered after its last packet, as Linux has them for the same states. */
INLINE u64 patience(u8 protocol, u32 state)
{
	if (state & DENIED)
		return 60;
	if (protocol != TCP)
		return protocol != ICMP && protocol != ICMPV6 && state & REPLIED ? 120 : 30;
	if (state & RESET)
		return 10;
	if (state & (FIN_THERE | FIN_BACK))
		return 120;
	return state & STANDS ? 86400 : 60;
}

INLINE int same(const u32 *one, const u32 *other)
{
	return one[0] == other[0] && one[1] == other[1] && one[2] == other[2] && one[3] == other[3];
}

INLINE void turn(struct flow_key *to, const struct flow_key *key)
{
	__builtin_memcpy(to->src, key->dst, sizeof(to->src));
	__builtin_memcpy(to->dst, key->src, sizeof(to->dst));
	to->sport = key->dport;
	to->dport = key->sport;
	to->protocol = key->protocol;
	to->ipv6 = key->ipv6;
	to->hook = !key->hook;
	to->unused = 0;
}
