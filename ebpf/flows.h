/* SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026, the podnet.fabric authors
 *
 * What is remembered of flows, and of datagrams in fragments.
 */
#pragma once
#include "kernel.h"
#include "packet.h"

struct flow {
	u64 expires; /* ns, CLOCK_MONOTONIC */
	u64 guard;   /* that has judged it */
	u32 state;
	u32 generation; /* of the table that it was judged by */
};
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

/* The loader puts the sizes of these in. */
struct map SECTION("maps") flows = {BPF_MAP_TYPE_LRU_HASH, sizeof(struct flow_key), sizeof(struct flow), 0, 0};
struct map SECTION("maps") fragments = {BPF_MAP_TYPE_LRU_HASH, sizeof(struct fragment_key), sizeof(u64), 0, 0};

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

INLINE struct flow *find(const struct flow_key *key, u64 now)
{
	struct flow *flow = map_lookup(&flows, key);

	return flow && flow->expires > now ? flow : 0;
}

/* Whether what was said of a flow is what its guard says now; otherwise it is judged again. */
INLINE int stands(const struct flow *flow, u64 guard, u32 now)
{
	return flow->guard == guard && flow->generation == now && !(now & 1);
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

INLINE void advance(struct flow *flow, const struct packet *packet, u8 protocol, int reply, u64 now)
{
	u32 state = flow->state;
	u64 expires;

	if (packet->role != FAILS) {
		if (reply)
			state |= REPLIED;
		else if (state & REPLIED)
			state |= STANDS;
		if (packet->flags & TCP_FIN)
			state |= reply ? FIN_BACK : FIN_THERE;
		if (packet->flags & TCP_RST)
			state |= RESET;
	}
	expires = now + patience(protocol, state) * SECONDS;
	/* Not every packet writes: the processors share this line. */
	if (state != flow->state || expires > flow->expires + SECONDS) {
		flow->state = state;
		flow->expires = expires;
	}
}

/* The first fragment has the ports; the later ones go where it went, those that come before it nowhere. */
INLINE int later(const struct fragment_key *key, u64 now)
{
	u64 *expires = map_lookup(&fragments, key);

	return expires && *expires > now ? PASS : DROP;
}

