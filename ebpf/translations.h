/* SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026, the podnet.fabric authors
 *
 * Which flows are sent where, and which clients come back. A flow has two entries: the one under what its client sends
 * says what its destination becomes, the other, under what the backend answers, what the answer's source becomes. That
 * of a pod to itself has two more.
 */
#pragma once
#include "frontends.h"
#include "kernel.h"
#include "lifetime.h"
#include "packet.h"

#define LEFT 0x100  /* nftables sends it on */
#define AGAIN 0x200 /* what a pod answers itself: no frontend is there */

struct translation {
	u64 expires; /* ns, CLOCK_MONOTONIC */
	u64 list;    /* that the backend was last found in */
	struct backend end;
	u32 state;
};

/* Whom a client has been sent to, and when. */
struct client_key {
	u32 client[4];
	struct frontend_key frontend;
};
struct client {
	u64 when; /* ns, CLOCK_MONOTONIC */
	struct backend backend;
	u32 unused;
};

struct moved {
	u64 expires;
	u32 address[4];
};

/* The loader puts the sizes in. */
struct map SECTION("maps")
translations = {BPF_MAP_TYPE_LRU_HASH, sizeof(struct flow_key), sizeof(struct translation), 0, 0};
struct map SECTION("maps") clients = {BPF_MAP_TYPE_LRU_HASH, sizeof(struct client_key), sizeof(struct client), 0, 0};
struct map SECTION("maps") pieces = {BPF_MAP_TYPE_LRU_HASH, sizeof(struct fragment_key), sizeof(struct moved), 4096, 0};

INLINE struct translation *find(const struct flow_key *key, u64 now)
{
	struct translation *found = map_lookup(&translations, key);

	return found && found->expires > now ? found : 0;
}

INLINE int is_translated(u8 protocol)
{
	return protocol == TCP || protocol == UDP || protocol == SCTP;
}

/* As Linux has them (net/netfilter/nf_conntrack_proto_sctp.c): closed, shutdown sent, established, cookie wait. */
INLINE u64 lasts(u8 protocol, u32 state)
{
	if (protocol != SCTP)
		return patience(protocol, state);
	if (state & RESET)
		return 10;
	return state & STANDS && !(state & (FIN_THERE | FIN_BACK)) ? 210 : 3;
}

INLINE int is_over(const struct translation *found)
{
	return found->state & (RESET | FIN_THERE | FIN_BACK);
}

/* Not every packet writes: the processors share this line. Tells whether this one did. */
INLINE int advance(struct translation *found, const struct packet *packet, const struct flow_key *key, u64 now)
{
	u32 state = found->state;
	u64 expires;

	if (key->protocol == UDP)
		state |= REPLIED; /* two minutes for all, as nobody looks at both ends together */
	else if (!packet->question && !(packet->flags & TCP_SYN))
		state |= STANDS;
	if (packet->flags & TCP_FIN)
		state |= FIN_THERE;
	if (packet->flags & TCP_RST)
		state |= RESET;
	expires = now + lasts(key->protocol, state) * SECONDS;
	if (state == found->state && expires <= found->expires + SECONDS)
		return 0;
	found->state = state;
	found->expires = expires;
	return 1;
}

/* What an answer of a backend to this client comes as. */
INLINE void answer_of(struct flow_key *to, const struct flow_key *key, const struct backend *backend)
{
	turn(to, key);
	__builtin_memcpy(to->src, backend->address, sizeof(to->src));
	to->sport = backend->port;
}

INLINE long put(const struct flow_key *key, const u32 *address, u16 port, u32 state, u64 now)
{
	struct translation fresh = {.state = state, .end = {.port = port}};

	fresh.expires = now + lasts(key->protocol, state) * SECONDS;
	__builtin_memcpy(fresh.end.address, address, sizeof(fresh.end.address));
	return map_update(&translations, key, &fresh, BPF_ANY);
}

/* A pod that is its own backend. It would take a packet from its own address for one that has strayed, so what goes
 * into it comes from the service, at the port that it has asked from; and what it answers there goes to itself.
 */
INLINE long put_self(const struct flow_key *answer, const struct flow_key *key, u32 state, u64 now)
{
	struct flow_key seen;

	turn(&seen, answer);
	seen.hook = RECEIVES;
	if (put(&seen, key->dst, key->sport, state, now))
		return -1;
	__builtin_memcpy(&seen, answer, sizeof(seen));
	seen.hook = SENDS;
	__builtin_memcpy(seen.dst, key->dst, sizeof(seen.dst));
	return put(&seen, key->src, key->sport, state | AGAIN, now);
}

/* Have answers come from where the client has asked. */
INLINE long put_back(const struct flow_key *answer, const struct flow_key *key, u32 state, u64 now)
{
	if (same(answer->src, key->src) && put_self(answer, key, state, now))
		return -1;
	return put(answer, key->dst, key->dport, state, now);
}

/* The end of a connection that only its client tells: answers to what comes next from its port are not of it. */
INLINE void end_answers(const struct flow_key *answer, const struct packet *packet, u64 now)
{
	struct translation *back;

	if (!(packet->flags & (TCP_RST | TCP_FIN)))
		return;
	back = find(answer, now);
	if (back)
		advance(back, packet, answer, now);
}

/* Whoever goes straight to a backend gets its answers from there, but for as long as a connection of the same port to a
 * service stands.
 */
INLINE void go_straight(const struct flow_key *key)
{
	struct flow_key answer;
	struct translation *back;

	turn(&answer, key);
	back = map_lookup(&translations, &answer);
	if (back && (key->protocol == UDP || is_over(back)))
		map_delete(&translations, &answer);
}

INLINE void piece_of(struct fragment_key *to, const struct flow_key *key, u32 id)
{
	__builtin_memcpy(to->src, key->src, sizeof(to->src));
	__builtin_memcpy(to->dst, key->dst, sizeof(to->dst));
	to->id = id;
	to->hook = key->hook;
	to->protocol = key->ipv6 ? 0 : key->protocol;
}
