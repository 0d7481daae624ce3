/* SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026, the podnet.fabric authors
 *
 * What the programs of services go by. A list of backends is called by a digest of it, so that it never changes: a
 * frontend goes from one list to another in one step. Whoever writes puts a list there before a frontend leads to it,
 * and takes it away after none does.
 */
#pragma once
#include "kernel.h"
#include "packet.h"

struct frontend_key {
	u32 address[4]; /* as in struct flow_key */
	u16 port;	/* as in the packet, and so in all of these */
	u8 protocol;
	u8 ipv6;
};

struct frontend {
	u64 list;
	u32 count;    /* of backends, each as often as its weight says */
	u32 affinity; /* seconds that a client comes back to its backend; 0 when it does not */
};

struct slot_key {
	u64 list;
	u32 place;
	u32 unused;
};

struct backend {
	u32 address[4];
	u16 port;
	u16 shared; /* other frontends lead there, too: told of slots, where flows go past the host (bypass.h) */
};

/* That a list has a backend. */
struct member_key {
	u64 list;
	struct backend backend;
	u32 unused;
};

/* The pods of this node, by prefix: whoever connects from another address is left to nftables. */
struct inside_key {
	u32 prefixlen;
	u32 ipv6;
	u32 address[4];
};

/* The loader puts the sizes of the first three in. They take their memory beforehand: a kernel that has to find it for
 * one element after the other may refuse many at a time.
 */
struct map SECTION("maps") frontends = {BPF_MAP_TYPE_HASH, sizeof(struct frontend_key), sizeof(struct frontend), 0, 0};
struct map SECTION("maps") slots = {BPF_MAP_TYPE_HASH, sizeof(struct slot_key), sizeof(struct backend), 0, 0};
struct map SECTION("maps") members = {BPF_MAP_TYPE_HASH, sizeof(struct member_key), sizeof(u32), 0, 0};
struct map SECTION("maps")
inside = {BPF_MAP_TYPE_LPM_TRIE, sizeof(struct inside_key), sizeof(u32), 4096, BPF_F_NO_PREALLOC};

INLINE int is_inside(const struct flow_key *key)
{
	struct inside_key wanted = {.prefixlen = key->ipv6 ? 160 : 64, .ipv6 = key->ipv6};

	__builtin_memcpy(wanted.address, key->src, sizeof(wanted.address));
	return map_lookup(&inside, &wanted) != 0;
}

INLINE int is_member(u64 list, const u32 *address, u16 port)
{
	struct member_key wanted = {.list = list, .backend = {.port = port}};

	__builtin_memcpy(wanted.backend.address, address, sizeof(wanted.backend.address));
	return map_lookup(&members, &wanted) != 0;
}

/* How often a list may be gone by the time that its frontend has led there: the frontend has another one then. */
#define TRIES 8

/* Any of a frontend's backends; 0 where it has none, or its list is gone. */
INLINE struct backend *any_of(const struct frontend *frontend)
{
	struct slot_key wanted = {.list = frontend->list};
	u32 count = frontend->count;

	if (!count)
		return 0;
	wanted.place = prandom() % count;
	return map_lookup(&slots, &wanted);
}

INLINE struct frontend *frontend_of(const struct flow_key *key)
{
	struct frontend_key wanted = {.port = key->dport, .protocol = key->protocol, .ipv6 = key->ipv6};

	__builtin_memcpy(wanted.address, key->dst, sizeof(wanted.address));
	return map_lookup(&frontends, &wanted);
}
