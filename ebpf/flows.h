/* SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026, the podnet.fabric authors
 *
 * What is remembered of flows, and of datagrams in fragments.
 */
#pragma once
#include "kernel.h"
#include "lifetime.h"
#include "packet.h"

struct flow {
	u64 expires; /* ns, CLOCK_MONOTONIC */
	u64 guard;   /* that has judged it */
	u32 state;
	u32 generation; /* of the table that it was judged by */
};

/* The loader puts the sizes of these in. */
struct map SECTION("maps") flows = {BPF_MAP_TYPE_LRU_HASH, sizeof(struct flow_key), sizeof(struct flow), 0, 0};
struct map SECTION("maps") fragments = {BPF_MAP_TYPE_LRU_HASH, sizeof(struct fragment_key), sizeof(u64), 0, 0};

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

