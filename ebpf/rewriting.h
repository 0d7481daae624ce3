/* SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026, the podnet.fabric authors
 *
 * Puts other addresses and ports into a packet, with the checksums that cover them. What fails leaves a packet that
 * nobody must get: all of these tell it by something other than zero.
 */
#pragma once
#include "kernel.h"
#include "packet.h"
#include "sctp.h"

/* Which end of a packet. */
#define ITS_SOURCE 0
#define ITS_DESTINATION 1

/* An address in the header of IP at an offset, without what a checksum behind that header says. */
INLINE int put_address(struct __sk_buff *skb, u32 header, int ipv6, u32 end, const u32 *from, const u32 *to)
{
	if (ipv6)
		/* With the checksum of the transport, which changes the other way, the sum of all is what it was. */
		return skb_store_bytes(skb, header + 8 + 16 * end, to, 16, BPF_F_RECOMPUTE_CSUM) != 0;
	return l3_csum_replace(skb, header + 10, *from, *to, 4) || skb_store_bytes(skb, header + 12 + 4 * end, to, 4, 0);
}

/* One end of a TCP, UDP or SCTP packet. */
INLINE int put_end(struct __sk_buff *skb, const struct packet *packet, const struct flow_key *key, u32 end,
		   const u32 *address, u16 port)
{
	const u32 *from = end == ITS_SOURCE ? key->src : key->dst;
	u16 had = end == ITS_SOURCE ? key->sport : key->dport;
	u32 transport = packet->offset, check = transport + (key->protocol == TCP ? 16 : 6);
	u64 flags = key->protocol == UDP ? BPF_F_MARK_MANGLED_0 : 0;
	long diff;

	if (key->protocol == SCTP)
		return (had != port && put_sctp_port(skb, packet, end, had, port)) ||
		       put_address(skb, ETH_HEADER, key->ipv6, end, from, address);
	diff = csum_diff(from, 16, address, 16, 0);
	return diff < 0 || l4_csum_replace(skb, check, 0, diff, flags | BPF_F_PSEUDO_HDR) ||
	       (had != port && (l4_csum_replace(skb, check, had, port, flags | sizeof(port)) ||
				skb_store_bytes(skb, transport + 2 * end, &port, sizeof(port), 0))) ||
	       put_address(skb, ETH_HEADER, key->ipv6, end, from, address);
}

/* Into an ICMP error: the other end of what is quoted than ``end`` of the error's own header, and that too, where both
 * are one. The checksum of what is quoted stays wrong, as not all that it covers is there.
 */
INLINE int put_quoted(struct __sk_buff *skb, u32 icmp, u32 transport, const struct flow_key *outer,
		      const struct flow_key *about, u32 end, const u32 *address, u16 port)
{
	const u32 *from = end == ITS_SOURCE ? about->dst : about->src, *far = end == ITS_SOURCE ? outer->src : outer->dst;
	u16 had = end == ITS_SOURCE ? about->dport : about->sport;
	long diff = csum_diff(from, 16, address, 16, 0);

	if (diff < 0)
		return -1;
	/* In IPv4 the checksum of the quoted header makes up for the address in it. */
	if (outer->ipv6 && l4_csum_replace(skb, icmp + 2, 0, diff, 0))
		return -1;
	if (had != port && (l4_csum_replace(skb, icmp + 2, had, port, sizeof(port)) ||
			    skb_store_bytes(skb, transport + 2 * !end, &port, sizeof(port), 0)))
		return -1;
	if (outer->ipv6 ? skb_store_bytes(skb, icmp + 8 + 8 + 16 * !end, address, 16, 0)
			: put_address(skb, icmp + 8, 0, !end, from, address))
		return -1;
	if (far[0] != from[0] || far[1] != from[1] || far[2] != from[2] || far[3] != from[3])
		return 0;
	if (outer->ipv6 && l4_csum_replace(skb, icmp + 2, 0, diff, BPF_F_PSEUDO_HDR))
		return -1;
	return put_address(skb, ETH_HEADER, outer->ipv6, end, from, address);
}
