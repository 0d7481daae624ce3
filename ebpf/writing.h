/* SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026, the podnet.fabric authors
 *
 * How what the programs go by is changed in place. Its maps are frozen once they are filled: from then on no process
 * can write to them, neither ours nor anybody's, but for this program, which no packet meets: a run has it carry out
 * a list of changes. They are counted where no process can write, either. So a run that finds the number that the last
 * one has left knows what stands without reading it.
 */
#pragma once
#include "kernel.h"

#define CHANGES 54  /* in a list: it is a packet to the kernel, and has to fit into a page */
#define CHANGE_AT 16 /* where the list begins: a packet has a header */

#define REMOVE 0
#define PUT 1
#define ADD 2 /* what must not be there yet */

/* As facilities/ebpf_sealed.py packs it. */
struct change {
	u32 map;
	u32 what;
	u8 key[32];
	u8 value[24];
};

struct map SECTION("maps") changes = {BPF_MAP_TYPE_ARRAY, 4, sizeof(u64), 1, 0};

INLINE long change_map(void *map, const struct change *change)
{
	if (change->what == REMOVE)
		return map_delete(map, change->key);
	return map_update(map, change->key, change->value, change->what == ADD ? BPF_NOEXIST : BPF_ANY);
}

/* What a program that writes does. It gives 0, or the number of the error that has ended the list.
 *
 * carry_out: gives 0, or that number as a negative one
 */
INLINE int write_with(struct __sk_buff *skb, long (*carry_out)(const struct change *))
{
	struct change change;
	u32 slot = 0;
	u64 *counted = map_lookup(&changes, &slot);
	long failed = 0;

	if (!counted)
		return ENOENT;
	__sync_fetch_and_add(counted, 1);
	for (u32 each = 0; !failed && each < CHANGES; each++) {
		if (skb_load_bytes(skb, CHANGE_AT + each * sizeof(change), &change, sizeof(change)))
			break;
		failed = carry_out(&change);
	}
	return -failed;
}
