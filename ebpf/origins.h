/* SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026, the podnet.fabric authors
 *
 * Whether what comes out of an interface may: a pod sends from its own addresses only.
 */
#pragma once
#include "kernel.h"
#include "packet.h"
#include "table.h"

/* Whether an address belongs to the pod behind an interface; to one that is not known it does. */
INLINE int is_origin(void *policy, u32 index, u32 ipv6, const u32 *address)
{
	struct entry entry = {.space = {ORIGINS + ipv6, index}};

	entry.prefixlen = SPACE_BITS + (ipv6 ? 128 : 32);
	__builtin_memcpy(entry.data, address, sizeof(entry.data));
	if (map_lookup(policy, &entry))
		return 1;
	entry.prefixlen = SPACE_BITS;
	entry.space[0] = KNOWN;
	return !map_lookup(policy, &entry);
}

INLINE int is_spoofed(struct __sk_buff *skb, void *policy, const struct packet *packet, const struct flow_key *key)
{
	u32 target[4];
	u8 type = 0;

	if (key->ipv6 && key->protocol == ICMPV6 && packet->fragment != LATER &&
	    skb_load_bytes(skb, packet->offset, &type, sizeof(type)))
		return 1;
	/* What has no address yet: is this one free (RFC 4862), who listens to what (RFC 3810). */
	if ((type == 131 || type == 133 || type == 135 || type == 143) &&
	    !(key->src[0] | key->src[1] | key->src[2] | key->src[3]))
		return 0;
	/* An advertisement says where its target is (RFC 4861, 4.4). */
	if (type == 136 && (skb_load_bytes(skb, packet->offset + 8, target, sizeof(target)) ||
			    !is_origin(policy, skb->ifindex, 1, target)))
		return 1;
	return !is_origin(policy, skb->ifindex, key->ipv6, key->src);
}

/* ARP says where its sender is; one that has no address yet asks whether an address is free (RFC 5227). */
INLINE int is_spoofed_arp(struct __sk_buff *skb, void *policy)
{
	u32 sender[4] = {};

	if (skb_load_bytes(skb, ETH_HEADER + 14, sender, sizeof(*sender)))
		return 1;
	return sender[0] && !is_origin(policy, skb->ifindex, 0, sender);
}

