/* SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026, the podnet.fabric authors
 *
 * Where the addresses of pods are, and the ways there, as the kernel's routes have them.
 */
#pragma once
#include "frontends.h"
#include "kernel.h"
#include "packet.h"

/* Where an address is, by the most specific prefix. */
#define ELSEWHERE 1 /* a pod of another node */
#define HERE 2	    /* a pod of this node */
#define NO_POD 3    /* a service's, which the kernel sends on if anybody does */

struct map SECTION("maps")
places = {BPF_MAP_TYPE_LPM_TRIE, sizeof(struct inside_key), sizeof(u32), 65536, BPF_F_NO_PREALLOC};

/* The devices that packets may come from and go to, by index; at 0 the bridge of the pods. */
struct way {
	u32 device;
	u16 mac[3];
	u16 unused;
};
struct map SECTION("maps") ways = {BPF_MAP_TYPE_HASH, sizeof(u32), sizeof(struct way), 256, 0};

/* The kernel's struct bpf_fib_lookup. */
struct route {
	u8 family; /* of the answer: the next hop's */
	u8 protocol;
	u16 sport;
	u16 dport;
	u16 length; /* of the packet without the device's header; more than the way's MTU is refused */
	u32 device; /* that it came in by; of the answer: that it goes out by */
	u32 flow;   /* IPv4's TOS, IPv6's class and label */
	u32 src[4];
	u32 dst[4]; /* of the answer: the next hop */
	u32 vlan;
	u16 own[3]; /* of the answer: the MACs of the device and of the next hop */
	u16 mac[3];
};
struct next_hop {
	u32 family;
	u32 address[4];
};
#define INET 2
#define INET6 10

static long (*redirect)(u32 device, u64 flags) = (void *)23;
static long (*fib_lookup)(struct __sk_buff *skb, struct route *route, int size, u32 flags) = (void *)69;
static long (*redirect_neigh)(u32 device, struct next_hop *hop, int size, u64 flags) = (void *)152;
#define NO_NEIGHBOUR 7 /* BPF_FIB_LKUP_RET_NO_NEIGH */

INLINE u32 place_of(const struct flow_key *key, const u32 *address)
{
	struct inside_key wanted = {.prefixlen = key->ipv6 ? 160 : 64, .ipv6 = key->ipv6};
	u32 *found;

	__builtin_memcpy(wanted.address, address, sizeof(wanted.address));
	found = map_lookup(&places, &wanted);
	return found ? *found : 0;
}

INLINE int is_pod(const struct flow_key *key, const u32 *address)
{
	u32 place = place_of(key, address);

	return place == HERE || place == ELSEWHERE;
}

INLINE int is_mac(const u16 *one, const u16 *other)
{
	return one[0] == other[0] && one[1] == other[1] && one[2] == other[2];
}
