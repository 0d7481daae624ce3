/* SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026, the podnet.fabric authors
 *
 * What the programs count and remember of what they decided, for packetfilter/counting.py to read.
 */
#pragma once
#include "kernel.h"
#include "packet.h"

/* What is counted: of a guard the first packets that it let through, of a pod what was denied; the rest is zero. */
struct count_key {
	u64 guard;
	u32 pod[4];
	u32 hook;
	u32 ipv6;
};

struct count {
	u64 packets;
	u64 bytes;
};

struct map SECTION("maps") counts = {BPF_MAP_TYPE_LRU_HASH, sizeof(struct count_key), sizeof(struct count), 16384, 0};

/* The latest flows that were denied, with the time of their last packet: of whoever asks what policies did. */
struct denial {
	u64 packets;
	u64 when; /* ns, CLOCK_MONOTONIC */
};
struct map SECTION("maps") denials = {BPF_MAP_TYPE_LRU_HASH, sizeof(struct flow_key), sizeof(struct denial), 1024, 0};

INLINE void remember(const struct flow_key *key, u64 now)
{
	struct denial *known = map_lookup(&denials, key);
	struct denial fresh = {1, now};

	if (known) {
		__sync_fetch_and_add(&known->packets, 1);
		known->when = now;
	} else {
		map_update(&denials, key, &fresh, BPF_ANY);
	}
}

INLINE void add(const struct count_key *key, u32 bytes)
{
	struct count *known = map_lookup(&counts, key);

	if (known) {
		__sync_fetch_and_add(&known->packets, 1);
		__sync_fetch_and_add(&known->bytes, bytes);
	} else {
		struct count fresh = {1, bytes};

		map_update(&counts, key, &fresh, BPF_ANY);
	}
}
