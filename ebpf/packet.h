/* SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026, the podnet.fabric authors
 *
 * Reads a packet down to its ports. Whatever is cut short or malformed is refused.
 */
#pragma once
#include "kernel.h"

#define ETH_HEADER 14
#define ETH_IPV4 0x0800
#define ETH_ARP 0x0806
#define ETH_IPV6 0x86dd
#define ETH_VLAN 0x8100
#define ETH_QINQ 0x88a8

#define ICMP 1
#define IGMP 2
#define TCP 6
#define UDP 17
#define ICMPV6 58
#define DCCP 33
#define SCTP 132
#define UDPLITE 136

/* Extension headers of IPv6 (RFC 8200); a packet with more of them than this is refused. */
#define HOP_BY_HOP 0
#define ROUTING 43
#define FRAGMENT 44
#define AUTHENTICATION 51
#define DESTINATION 60
#define MOBILITY 135
#define EXTENSIONS 8

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

/* What becomes of a packet. */
#define PASS -1 /* TCX_NEXT, TC_ACT_UNSPEC: whoever comes next may look at it */
#define DROP 2	/* TCX_DROP, TC_ACT_SHOT */

/* Where a packet is looked at, and so which of its ends is the pod. */
#define SENDS 0	   /* the pod is the source: policies of egress */
#define RECEIVES 1 /* the pod is the destination: policies of ingress */

/* A flow, as its first packet has it. An IPv4 address is in the first four bytes, the rest is zero. */
struct flow_key {
	u32 src[4];
	u32 dst[4];
	u16 sport; /* of an ICMP question: its id */
	u16 dport;
	u8 protocol;
	u8 ipv6;
	u8 hook;
	u8 unused;
};

enum fragment { WHOLE, FIRST, LATER };

/* What a packet can be to a flow. */
enum role {
	BEGINS,	  /* it may be the first one */
	CONTINUES, /* it may not: a TCP packet that is not a SYN, an answer to an echo */
	FAILS,	  /* an ICMP error, with the beginning of the packet that it is about */
	ALWAYS,	  /* neighbour discovery: without it there is no IPv6 (RFC 4861, RFC 2710, RFC 3810) */
};

struct packet {
	u32 offset; /* of what follows the headers of IP */
	u32 end;    /* of what IP carries, as its header says */
	u32 id;	    /* of a fragmented packet */
	enum fragment fragment;
	enum role role;
	u8 flags;    /* of TCP */
	u8 question; /* a SYN or an ICMP question: never an answer */
};

/* The headers of IP, in the order of the network. */
struct ipv4 {
	u8 version;
	u8 tos;
	u16 length;
	u16 id;
	u16 fragment;
	u8 ttl;
	u8 protocol;
	u16 checksum;
	u32 src;
	u32 dst;
};
struct ipv6 {
	u8 flow[4];
	u16 length;
	u8 next;
	u8 hops;
	u32 src[4];
	u32 dst[4];
};

INLINE int read_ipv4(struct __sk_buff *skb, struct packet *packet, struct flow_key *key)
{
	struct ipv4 header;

	if (skb_load_bytes(skb, packet->offset, &header, sizeof(header)))
		return -1;
	if (header.version >> 4 != 4 || (header.version & 15) < 5)
		return -1;
	key->src[0] = header.src;
	key->dst[0] = header.dst;
	key->protocol = header.protocol;
	packet->end = packet->offset + ntohs(header.length);
	packet->offset += (header.version & 15) * 4;
	packet->id = header.id;
	if (header.fragment & htons(0x1fff))
		packet->fragment = LATER;
	else if (header.fragment & htons(0x2000))
		packet->fragment = FIRST;
	return 0;
}

INLINE int read_ipv6(struct __sk_buff *skb, struct packet *packet, struct flow_key *key)
{
	struct ipv6 header;
	struct {
		u8 next;
		u8 length;
		u16 fragment;
		u32 id;
	} extension;

	if (skb_load_bytes(skb, packet->offset, &header, sizeof(header)))
		return -1;
	if (header.flow[0] >> 4 != 6)
		return -1;
	__builtin_memcpy(key->src, header.src, sizeof(header.src));
	__builtin_memcpy(key->dst, header.dst, sizeof(header.dst));
	key->ipv6 = 1;
	key->protocol = header.next;
	packet->offset += sizeof(header);
	packet->end = packet->offset + ntohs(header.length);
	for (int each = 0; each < EXTENSIONS; each++) {
		u8 now = key->protocol;

		if (now != HOP_BY_HOP && now != ROUTING && now != FRAGMENT && now != AUTHENTICATION &&
		    now != DESTINATION && now != MOBILITY)
			return 0;
		if (skb_load_bytes(skb, packet->offset, &extension, sizeof(extension)))
			return -1;
		key->protocol = extension.next;
		if (now == FRAGMENT) {
			packet->offset += sizeof(extension);
			packet->id = extension.id;
			if (extension.fragment & htons(0xfff8)) {
				packet->fragment = LATER;
				return 0;
			}
			if (extension.fragment & htons(1))
				packet->fragment = FIRST;
		} else if (now == AUTHENTICATION) {
			packet->offset += (extension.length + 2) * 4;
		} else {
			packet->offset += (extension.length + 1) * 8;
		}
	}
	return -1;
}

INLINE int read_icmp(struct __sk_buff *skb, struct packet *packet, struct flow_key *key)
{
	struct {
		u8 type;
		u8 code;
		u16 checksum;
		u16 id;
		u16 sequence;
	} header;

	if (skb_load_bytes(skb, packet->offset, &header, sizeof(header)))
		return -1;
	packet->role = CONTINUES;
	if (key->protocol == ICMP) {
		/* Echo, timestamp; unreachable, time exceeded, parameter problem (RFC 792). */
		if (header.type == 8 || header.type == 13)
			packet->question = 1;
		else if (header.type == 3 || header.type == 11 || header.type == 12)
			packet->role = FAILS;
		else if (header.type != 0 && header.type != 14)
			return 0;
	} else {
		/* Echo; unreachable, too big, time exceeded, parameter problem (RFC 4443). */
		if (header.type == 128)
			packet->question = 1;
		else if (header.type >= 1 && header.type <= 4)
			packet->role = FAILS;
		else if ((header.type >= 130 && header.type <= 136) || header.type == 143)
			packet->role = ALWAYS;
		else if (header.type != 129)
			return 0;
	}
	if (packet->question)
		packet->role = BEGINS;
	if (packet->role == CONTINUES)
		key->dport = header.id; /* so that turned round it is the question */
	else if (packet->role == BEGINS)
		key->sport = header.id;
	return 0;
}

/* What follows the headers of IP. ``whole`` is 0 for what an ICMP error tells: eight bytes of it at least. */
INLINE int read_transport(struct __sk_buff *skb, struct packet *packet, struct flow_key *key, int whole)
{
	u16 ports[2];

	packet->role = BEGINS;
	switch (key->protocol) {
	case TCP:
		if (whole) {
			if (skb_load_bytes(skb, packet->offset + 13, &packet->flags, 1))
				return -1;
			packet->question = (packet->flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN;
			if (!packet->question)
				packet->role = CONTINUES;
		}
		/* fall through */
	case UDP:
	case UDPLITE:
	case DCCP:
	case SCTP:
		if (skb_load_bytes(skb, packet->offset, ports, sizeof(ports)))
			return -1;
		key->sport = ports[0];
		key->dport = ports[1];
		return 0;
	case ICMP:
		return key->ipv6 ? 0 : read_icmp(skb, packet, key);
	case ICMPV6:
		return key->ipv6 ? read_icmp(skb, packet, key) : 0;
	}
	return 0;
}
