/* SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026, the podnet.fabric authors
 *
 * What programs at tc and tcx use of the kernel's interface, copied out of linux/bpf.h: it never changes there, and
 * so the object depends on no header of the machine that builds it.
 */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

/* The beginning of the kernel's struct of this name, as far as it is read here. */
struct __sk_buff {
	u32 len;
	u32 pkt_type;
	u32 mark;
	u32 queue_mapping;
	u32 protocol;
	u32 vlan_present;
	u32 vlan_tci;
	u32 vlan_proto;
	u32 priority;
	u32 ingress_ifindex;
	u32 ifindex;
	u32 unread[8];
	u32 data;
	u32 data_end;
	u32 unread_too[20];
	u32 gso_segs;
	u64 socket;
	u32 gso_size;
};

/* What the loader reads of a map; a symbol in the section "maps". */
struct map {
	u32 type;
	u32 key_size;
	u32 value_size;
	u32 max_entries;
	u32 flags;
};

#define BPF_MAP_TYPE_HASH 1
#define BPF_MAP_TYPE_ARRAY 2
#define BPF_MAP_TYPE_LRU_HASH 9
#define BPF_MAP_TYPE_LPM_TRIE 11
#define BPF_MAP_TYPE_ARRAY_OF_MAPS 12
#define BPF_ANY 0
#define BPF_NOEXIST 1
#define ENOENT 2
#define BPF_F_NO_PREALLOC 1	/* of a map */
#define BPF_F_RECOMPUTE_CSUM 1	/* of storing: keep what a device has summed up over the whole packet */
#define BPF_F_PSEUDO_HDR 0x10	/* of a checksum: what changes is in its pseudo header */
#define BPF_F_MARK_MANGLED_0 0x20 /* of UDP: none stays none */

/* Numbers of enum bpf_func_id. */
static void *(*map_lookup)(const void *map, const void *key) = (void *)1;
static long (*map_update)(const void *map, const void *key, const void *value, u64 flags) = (void *)2;
static long (*map_delete)(const void *map, const void *key) = (void *)3;
static u64 (*ktime_get_ns)(void) = (void *)5;
static u32 (*prandom)(void) = (void *)7;
static long (*skb_store_bytes)(struct __sk_buff *skb, u32 offset, const void *from, u32 len, u64 flags) = (void *)9;
static long (*l3_csum_replace)(struct __sk_buff *skb, u32 offset, u64 from, u64 to, u64 size) = (void *)10;
static long (*l4_csum_replace)(struct __sk_buff *skb, u32 offset, u64 from, u64 to, u64 flags) = (void *)11;
static long (*skb_load_bytes)(const struct __sk_buff *skb, u32 offset, void *to, u32 len) = (void *)26;
static long (*csum_diff)(const u32 *from, u32 from_size, const u32 *to, u32 to_size, u32 seed) = (void *)28;
static long (*csum_update)(struct __sk_buff *skb, u32 more) = (void *)40; /* of a device's sum over the whole packet */

#define SECTION(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
#define htons(x) __builtin_bswap16(x)
#define ntohs(x) __builtin_bswap16(x)
