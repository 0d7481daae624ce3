/* SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026, the podnet.fabric authors
 *
 * What the programs go by: the pods of the node, whom their policies allow what, and what may come out of an interface.
 */
#pragma once
#include "kernel.h"
#include "packet.h"

/* The table that says everything: one trie, so that all of it can change at once. Its key begins with a space; each of
 *   0..3       (hook * 2 + ipv6)   holds the pods of the node: address -> guard
 *   4..5       (+ 1 for IPv6), with the index of an interface in the second word, what may come out of it
 *   6          with that, too: this one is known, and nothing else may
 *   a guard    (+ 1 for IPv6)      holds its peers: prefix -> ports
 *   a set of ports                 holds protocol and prefix of port -> nothing
 * A guard is called by a digest of the policies that it stands for, so that its peers can come and go one by one; a set of
 * ports by a digest of all of them, so that it never changes.
 */
struct entry {
	u32 prefixlen;
	u32 space[2];
	u32 data[4];
};
#define SPACE_BITS 64
#define ORIGINS 4
#define KNOWN 6
#define OPEN 1ULL  /* the guard of a pod that no policy selects */
#define NODE 2ULL  /* the guard of what the node itself sends to its pods: it passes */
#define EVERY 1ULL /* the set of every protocol and port */

/* One slot, with the table in it. */
struct map SECTION("maps") table = {BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, 1, 0};
/* Which change of the table was the last; odd as long as one is under way. Whoever writes the table makes it odd before
 * and even after, so that no verdict of a table that stands no more is taken for one of this.
 */
struct map SECTION("maps") generation = {BPF_MAP_TYPE_ARRAY, 4, sizeof(u32), 1, 0};

INLINE u64 guard_of(void *policy, const struct flow_key *key, u32 hook)
{
	struct entry entry = {};
	u64 *guard;

	entry.prefixlen = SPACE_BITS + (key->ipv6 ? 128 : 32);
	entry.space[0] = hook * 2 + key->ipv6;
	__builtin_memcpy(entry.data, key->hook == SENDS ? key->src : key->dst, sizeof(entry.data));
	guard = map_lookup(policy, &entry);
	return guard ? *guard : 0;
}

INLINE int allows(void *policy, u64 guard, const struct flow_key *key, u16 port)
{
	struct entry entry = {};
	u64 *ports;

	if (guard <= NODE)
		return 1;
	entry.prefixlen = SPACE_BITS + (key->ipv6 ? 128 : 32);
	guard += key->ipv6;
	__builtin_memcpy(entry.space, &guard, sizeof(entry.space));
	__builtin_memcpy(entry.data, key->hook == SENDS ? key->dst : key->src, sizeof(entry.data));
	ports = map_lookup(policy, &entry);
	if (!ports)
		return 0;
	if (*ports == EVERY)
		return 1;
	__builtin_memcpy(entry.space, ports, sizeof(entry.space));
	entry.prefixlen = SPACE_BITS + 32;
	/* Protocol, a zero, port: in this order in memory. */
	entry.data[0] = key->protocol | (u32)port << 16;
	return map_lookup(policy, &entry) != 0;
}

