/* SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026, the podnet.fabric authors
 *
 * What SCTP (RFC 9260) tells of an association, and its ports: they are covered by a CRC of all that IP carries. No
 * address is, and those that an INIT lists stay as they are.
 */
#pragma once
#include "kernel.h"
#include "packet.h"

#define SCTP_CRC 8
#define SCTP_CHUNKS 12

#define INIT 1
#define INIT_ACK 2
#define ABORT 6
#define SHUTDOWN 7
#define SHUTDOWN_ACK 8
#define SHUTDOWN_COMPLETE 14

/* An ABORT or a SHUTDOWN may come after others that control, such as a SACK; data come after all of these. */
#define CONTROLS 4

/* The flags that say the same of TCP. */
INLINE void read_chunks(struct __sk_buff *skb, struct packet *packet)
{
	u32 offset = packet->offset + SCTP_CHUNKS;
	struct {
		u8 type;
		u8 flags;
		u16 length;
	} chunk;

	for (int each = 0; each < CONTROLS; each++) {
		if (offset >= packet->end || skb_load_bytes(skb, offset, &chunk, sizeof(chunk)) ||
		    ntohs(chunk.length) < sizeof(chunk))
			return;
		/* An INIT is alone in its packet. */
		if (chunk.type == INIT && !each)
			packet->question = 1;
		if (chunk.type == INIT || chunk.type == INIT_ACK)
			packet->flags |= TCP_SYN;
		else if (chunk.type == ABORT)
			packet->flags |= TCP_RST;
		else if (chunk.type == SHUTDOWN || chunk.type == SHUTDOWN_ACK || chunk.type == SHUTDOWN_COMPLETE)
			packet->flags |= TCP_FIN;
		offset += (ntohs(chunk.length) + 3) & ~3;
	}
}

/* x^(8 * 2^n) modulo the polynomial of CRC-32C, the lowest power in the highest bit: what 2^n more bytes multiply by. */
static const u32 powers[16] = {
	0x00800000, 0x00008000, 0x82f63b78, 0x6ea2d55c, 0x18b8ea18, 0x510ac59a, 0xb82be955, 0xb8fdb1e7,
	0x88e56f72, 0x74c360a4, 0xe4172b16, 0x0d65762a, 0x35d73a62, 0x28461564, 0xbf455269, 0xe2ea32dc,
};

/* How a CRC-32C changes with four bytes, which so many are there with and after: it is linear. */
INLINE u32 crc_change(u32 diff, u32 length)
{
#pragma unroll
	for (int nth = 0; nth < 16; nth++) {
		u32 product = 0, power = powers[nth];

		if (!(length & 1 << nth))
			continue;
#pragma nounroll
		for (int bit = 0; bit < 32; bit++) {
			product ^= diff & -(power >> 31);
			power <<= 1;
			diff = diff >> 1 ^ (0x82f63b78 & -(diff & 1));
		}
		diff = product;
	}
	return diff;
}

/* Whether the kernel has yet to fill the CRC in, after all that is done here (CHECKSUM_PARTIAL). It is zero until then
 * (net/sctp/output.c), as one in 2^32 is. No helper tells; but one that keeps a sum of TCP right leaves it alone then.
 */
INLINE int is_awaited(struct __sk_buff *skb, u32 place)
{
	u32 zero = 0, found;

	return !l4_csum_replace(skb, place, 0, 1, sizeof(u16)) && !skb_load_bytes(skb, place, &found, sizeof(found)) &&
	       (!found || skb_store_bytes(skb, place, &zero, sizeof(zero), 0));
}

/* Another port at one end. Of a fragment it cannot be: the last one tells how long the whole is. */
INLINE int put_sctp_port(struct __sk_buff *skb, const struct packet *packet, u32 end, u16 had, u16 port)
{
	u32 place = packet->offset + SCTP_CRC, crc;

	if (packet->fragment != WHOLE || skb_load_bytes(skb, place, &crc, sizeof(crc)))
		return -1;
	if (crc || !is_awaited(skb, place)) {
		crc ^= crc_change((u32)(u16)(had ^ port) << 16 * end, packet->end - packet->offset);
		if (skb_store_bytes(skb, place, &crc, sizeof(crc), BPF_F_RECOMPUTE_CSUM))
			return -1;
	}
	return skb_store_bytes(skb, packet->offset + 2 * end, &port, sizeof(port), BPF_F_RECOMPUTE_CSUM) != 0;
}
