/* SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026, the podnet.fabric authors
 *
 * Packets that nothing is special about, read where they lie: they go past the host (bypass.h), and each look by
 * a helper takes as long as all of this.
 */
#pragma once
#include "kernel.h"
#include "lifetime.h"
#include "packet.h"

static long (*skb_pull_data)(struct __sk_buff *skb, u32 len) = (void *)39;

/* A packet that nothing is special about. */
struct plain {
	struct flow_key key;
	u32 flow;   /* as in struct route */
	u32 length; /* of the headers of IP and TCP or UDP */
	u8 hops;
	u8 flags; /* of TCP */
	u8 begins;
	u8 unused;
	u16 mac[3]; /* whom the frame is for */
};

struct tcp {
	u16 ports[2];
	u32 numbers[2];
	u8 words;
	u8 flags;
	u16 window;
	u32 rest;
};

#define UDP_HEADER 8

#define FAILURE 1

/* Whether a packet is plain: no fragment, no options, no extensions, no tag. FAILURE is an ICMP packet that may be about
 * another one; less than 0 is what is neither.
 */
INLINE int read_plain(struct __sk_buff *skb, struct plain *to)
{
	u32 type = skb->protocol, head = sizeof(struct ipv4), whole;
	u8 *data = (u8 *)(long)skb->data, *end = (u8 *)(long)skb->data_end;
	struct tcp *transport;
	u16 *mac;

	if (skb->vlan_present || (type != htons(ETH_IPV4) && type != htons(ETH_IPV6)))
		return -1;
	if (type == htons(ETH_IPV6))
		head = sizeof(struct ipv6);
	whole = ETH_HEADER + head + sizeof(*transport);
	if (data + whole > end) {
		/* A short datagram, or one that is not in one piece. */
		if (skb_pull_data(skb, skb->len < whole ? ETH_HEADER + head + UDP_HEADER : whole))
			return -1;
		data = (u8 *)(long)skb->data;
		end = (u8 *)(long)skb->data_end;
	}
	mac = (u16 *)data;
	if (head == sizeof(struct ipv4)) {
		struct ipv4 *ip = (struct ipv4 *)(data + ETH_HEADER);

		transport = (struct tcp *)(ip + 1);
		if ((u8 *)transport + UDP_HEADER > end || ip->version != 0x45 || ip->fragment & htons(0x3fff))
			return -1;
		to->key.src[0] = ip->src;
		to->key.dst[0] = ip->dst;
		to->key.protocol = ip->protocol;
		to->flow = ip->tos;
		to->hops = ip->ttl;
	} else {
		struct ipv6 *ip = (struct ipv6 *)(data + ETH_HEADER);

		transport = (struct tcp *)(ip + 1);
		if ((u8 *)transport + UDP_HEADER > end || ip->flow[0] >> 4 != 6)
			return -1;
		__builtin_memcpy(to->key.src, ip->src, sizeof(to->key.src));
		__builtin_memcpy(to->key.dst, ip->dst, sizeof(to->key.dst));
		__builtin_memcpy(&to->flow, ip->flow, sizeof(to->flow));
		to->flow &= 0xffffff0f; /* without the version, in the order of the network */
		to->key.protocol = ip->next;
		to->key.ipv6 = 1;
		to->hops = ip->hops;
	}
	to->key.sport = transport->ports[0];
	to->key.dport = transport->ports[1];
	__builtin_memcpy(to->mac, mac, sizeof(to->mac));
	to->length = head + UDP_HEADER;
	if (to->key.protocol == TCP) {
		if ((u8 *)(transport + 1) > end)
			return -1;
		to->length = head + (transport->words >> 4) * 4;
		to->flags = transport->flags;
		to->begins = (to->flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN;
	} else if (to->key.protocol == (to->key.ipv6 ? ICMPV6 : ICMP)) {
		to->key.sport = to->key.dport = 0;
		return FAILURE;
	} else if (to->key.protocol != UDP) {
		return -1;
	}
	/* A pod that reaches itself would not take a packet from its own address. */
	return same(to->key.src, to->key.dst) ? -1 : 0;
}
