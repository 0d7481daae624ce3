/* SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026, the podnet.fabric authors
 *
 * Packets between pods, sent on past the host's bridge, routing and netfilter: `forwards` takes what comes out of a pod
 * after all that translates and judges it, `arrives` what a tunnel or the underlay brings. Both give it to a device, at
 * whose end the programs of a pod look at it as ever.
 *
 * A flow goes past in both directions or in none, for the kernel's connection tracking makes nothing good of a half. TCP
 * does from a SYN that went past on, and as long as its answers do, too; UDP where this node has translated it, since
 * of other datagrams nobody can tell whether the kernel has. What is none of these, and whatever is not plain, is left
 * to the kernel.
 */
#pragma once
#include "kernel.h"
#include "lifetime.h"
#include "packet.h"
#include "plain.h"
#include "translations.h"
#include "ways.h"

static u64 (*ktime_get_coarse_ns)(void) = (void *)160; /* some milliseconds late, and many times as fast */

/* States of what becomes of a backend's answers. */
#define SHARED 0x400   /* other frontends lead there, too: the kernel keeps their flows apart, of which it has to see all */
#define PASSED 0x800   /* what is asked goes past the host */
#define ANSWERED 0x1000 /* and so has an answer */

/* TCP connections that go past the host and are not translated here, under what their SYN had. */
struct past {
	u64 expires; /* ns, CLOCK_MONOTONIC */
	u32 state;
	u32 unused;
};
struct map SECTION("maps") past = {BPF_MAP_TYPE_LRU_HASH, sizeof(struct flow_key), sizeof(struct past), 0, 0};

/* What becomes of the answers to a packet, where it has been sent on to a backend; what becomes of a packet, where it
 * is an answer.
 */
INLINE struct translation *of_request(const struct flow_key *key, u64 now)
{
	struct flow_key answer;

	turn(&answer, key);
	answer.hook = RECEIVES;
	return find(&answer, now);
}
INLINE struct translation *of_answer(const struct flow_key *key, u64 now)
{
	struct flow_key answer;

	__builtin_memcpy(&answer, key, sizeof(answer));
	answer.hook = RECEIVES;
	return find(&answer, now);
}

/* Whether a packet that does not begin a connection goes past, with what is translated here. Whoever has begun one has
 * nothing to say before the answer: when that has not come past, the rest is the kernel's.
 */
INLINE int request_passes(struct translation *found, const struct plain *packet)
{
	if (packet->key.protocol == UDP) {
		if (found->state & (LEFT | AGAIN | SHARED))
			return 0;
		if (!(found->state & PASSED)) {
			if (!is_pod(&packet->key, packet->key.dst))
				return 0;
			found->state |= PASSED;
		}
		return 1;
	}
	if (!(found->state & PASSED))
		return 0;
	if (!(found->state & ANSWERED)) {
		found->state &= ~PASSED;
		return 0;
	}
	return 1;
}
INLINE int answer_passes(struct translation *found, const struct plain *packet)
{
	if (!(found->state & PASSED))
		return 0;
	if (packet->flags & TCP_SYN && (found->state & STANDS || is_over(found))) {
		found->state &= ~PASSED;
		return 0;
	}
	if (!(found->state & ANSWERED))
		found->state |= ANSWERED;
	return 1;
}

/* A connection that is not translated, from what either end sends. */
INLINE struct past *past_of(const struct flow_key *key, int *reply)
{
	struct past *flow = map_lookup(&past, key);
	struct flow_key other;

	*reply = !flow;
	if (flow)
		return flow;
	turn(&other, key);
	other.hook = 0;
	return map_lookup(&past, &other);
}

/* The same without a translation. */
INLINE int goes_on(const struct plain *packet, u64 now)
{
	int reply;
	struct past *flow = past_of(&packet->key, &reply);
	u64 expires;
	u32 state;

	if (!flow || flow->expires <= now)
		return 0;
	state = flow->state;
	if (reply ? packet->flags & TCP_SYN && state & (STANDS | RESET | FIN_THERE | FIN_BACK) : !(state & REPLIED)) {
		flow->expires = 0;
		return 0;
	}
	state |= reply ? REPLIED : STANDS;
	if (packet->flags & TCP_FIN)
		state |= reply ? FIN_BACK : FIN_THERE;
	if (packet->flags & TCP_RST)
		state |= RESET;
	expires = now + patience(TCP, state) * SECONDS;
	/* Not every packet writes: the processors share this line. */
	if (state != flow->state || expires > flow->expires + SECONDS) {
		flow->state = state;
		flow->expires = expires;
	}
	return 1;
}

/* Whether a packet goes past that neither begins a connection nor is a request to a service. */
INLINE int continues(const struct plain *packet, u64 now)
{
	struct translation *found = of_answer(&packet->key, now);

	return found ? answer_passes(found, packet) : packet->key.protocol == TCP && goes_on(packet, now);
}

/* Whether an ICMP error is about a packet of a flow that goes past. */
INLINE int is_about_past(struct __sk_buff *skb, const struct flow_key *key, u64 now)
{
	u32 icmp = ETH_HEADER + (key->ipv6 ? sizeof(struct ipv6) : sizeof(struct ipv4));
	struct packet header = {.offset = icmp}, inner = {.offset = icmp + 8};
	struct flow_key unused = {.ipv6 = key->ipv6, .protocol = key->protocol}, about = {};
	struct translation *found;
	struct past *flow;
	int reply;

	if (read_icmp(skb, &header, &unused) || header.role != FAILS)
		return 0;
	if ((key->ipv6 ? read_ipv6(skb, &inner, &about) : read_ipv4(skb, &inner, &about)) || inner.fragment == LATER ||
	    (about.protocol != TCP && about.protocol != UDP) || read_transport(skb, &inner, &about, 0) ||
	    !same(about.src, key->dst))
		return 0;
	found = of_request(&about, now);
	if (!found)
		found = of_answer(&about, now);
	if (found)
		return found->state & PASSED;
	flow = past_of(&about, &reply);
	return flow && flow->expires > now;
}

/* Whether a SYN may go past: not one that is sent again, as the answer may have gone another way. */
INLINE int may_begin(struct translation *found, const struct plain *packet, u32 from, u64 now)
{
	struct past *flow;
	int again;

	if (found) {
		again = (found->state & (PASSED | ANSWERED)) == PASSED;
		found->state &= ~(PASSED | ANSWERED);
		if (again || found->state & (LEFT | AGAIN | SHARED) || !is_pod(&packet->key, packet->key.dst))
			return 0;
		/* One of before that has ended without a word is over. */
		found->state &= ~(STANDS | FIN_THERE | FIN_BACK | RESET);
		return 1;
	}
	flow = map_lookup(&past, &packet->key);
	again = flow && flow->expires > now && !(flow->state & REPLIED);
	if (flow)
		flow->expires = 0;
	return !again && place_of(&packet->key, packet->key.src) == from &&
	       (from == HERE ? is_pod(&packet->key, packet->key.dst) : place_of(&packet->key, packet->key.dst) == HERE);
}

INLINE void begin(struct translation *found, const struct plain *packet, u64 now)
{
	struct past fresh = {.expires = now + patience(TCP, 0) * SECONDS};

	if (found)
		found->state |= PASSED;
	else
		map_update(&past, &packet->key, &fresh, BPF_ANY);
}

/* Whether the kernel would send it on to one of the ways, and has a neighbour there. */
INLINE int find_route(struct __sk_buff *skb, const struct plain *packet, u32 device, struct route *route)
{
	const struct flow_key *key = &packet->key;
	/* As the MTU counts it: the largest piece of what will be cut to pieces. */
	u32 length = skb->gso_size ? packet->length + skb->gso_size : skb->len - ETH_HEADER;

	if (length > 0xffff || packet->hops <= 1)
		return 0;
	route->family = key->ipv6 ? INET6 : INET;
	route->protocol = key->protocol;
	route->sport = key->sport;
	route->dport = key->dport;
	route->length = length;
	route->device = device;
	route->flow = packet->flow;
	__builtin_memcpy(route->src, key->src, sizeof(route->src));
	__builtin_memcpy(route->dst, key->dst, sizeof(route->dst));
	return !fib_lookup(skb, route, sizeof(*route), 0) && map_lookup(&ways, &route->device);
}

/* Counts down as a router does, and has the kernel put on the addresses of the next hop, which it looks after.
 *
 * A device or a tunnel may have summed up the whole packet. A router forgets that sum (skb_forward_csum). Here the kernel
 * leaves in it the MACs that the packet came with (bpf_push_mac_rcsum), and a pod's interface takes off those that it has
 * by then: so the sum has to have these, or a pod drops datagrams whose checksums are right.
 */
INLINE int send_on(struct __sk_buff *skb, const struct plain *packet, const struct route *route)
{
	struct next_hop hop = {.family = route->family};
	u8 left = packet->hops - 1;
	u32 macs[3]; /* in the order of the header, which does not matter to a sum */
	long change;

	if (skb_load_bytes(skb, 0, macs, sizeof(macs)))
		return DROP;
	change = csum_diff(macs, sizeof(macs), (const u32 *)route->own, sizeof(macs), 0);
	if (change < 0)
		return DROP;
	csum_update(skb, change); /* refused where there is no such sum */
	if (packet->key.ipv6) {
		if (skb_store_bytes(skb, ETH_HEADER + 7, &left, 1, BPF_F_RECOMPUTE_CSUM))
			return DROP;
	} else if (l3_csum_replace(skb, ETH_HEADER + 10, packet->hops, left, 2) ||
		   skb_store_bytes(skb, ETH_HEADER + 8, &left, 1, 0)) {
		return DROP;
	}
	__builtin_memcpy(hop.address, route->dst, sizeof(hop.address));
	return redirect_neigh(route->device, &hop, sizeof(hop), 0);
}

/* Whether answers to whoever has sent this go back by the device that it came from. */
INLINE int came_right(struct __sk_buff *skb, const struct flow_key *key, u32 bridge)
{
	struct route back = {.family = key->ipv6 ? INET6 : INET, .protocol = key->protocol, .device = bridge};
	long found;

	__builtin_memcpy(back.src, key->dst, sizeof(back.src));
	__builtin_memcpy(back.dst, key->src, sizeof(back.dst));
	found = fib_lookup(skb, &back, sizeof(back), 0);
	return (!found || found == NO_NEIGHBOUR) && back.device == skb->ifindex;
}

SECTION("tc/forwards") int forwards(struct __sk_buff *skb)
{
	struct translation *found;
	struct plain packet = {};
	struct route route = {};
	struct way *home;
	u32 first = 0;
	int sort;
	u64 now;

	home = map_lookup(&ways, &first);
	sort = home ? read_plain(skb, &packet) : -1;
	if (sort < 0)
		return PASS;
	now = ktime_get_coarse_ns();
	found = sort == FAILURE ? 0 : of_request(&packet.key, now);
	if (sort == FAILURE) {
		if (!is_about_past(skb, &packet.key, now))
			return PASS;
	} else if (packet.begins) {
		if (!may_begin(found, &packet, HERE, now) || !is_mac(packet.mac, home->mac))
			return PASS;
	} else if (found) {
		if (!request_passes(found, &packet))
			return PASS;
	} else if (!continues(&packet, now)) {
		return PASS;
	}
	if (!find_route(skb, &packet, home->device, &route))
		return PASS;
	if (!is_mac(packet.mac, home->mac))
		/* An answer to a neighbour on the bridge, who has asked by way of a service. */
		return route.device == home->device && is_mac(packet.mac, route.mac) ? redirect(home->device, 0) : PASS;
	if (packet.begins)
		begin(found, &packet, now);
	return send_on(skb, &packet, &route);
}

SECTION("tc/arrives") int arrives(struct __sk_buff *skb)
{
	struct plain packet = {};
	struct route route = {};
	struct way *home;
	u32 first = 0;
	int sort;
	u64 now;

	if (skb->pkt_type)
		return PASS; /* not for this node */
	home = map_lookup(&ways, &first);
	sort = home ? read_plain(skb, &packet) : -1;
	if (sort < 0)
		return PASS;
	now = ktime_get_coarse_ns();
	if (sort == FAILURE) {
		if (!is_about_past(skb, &packet.key, now))
			return PASS;
	} else if (packet.begins) {
		if (!may_begin(0, &packet, ELSEWHERE, now) || !came_right(skb, &packet.key, home->device))
			return PASS;
	} else if (!continues(&packet, now)) {
		return PASS;
	}
	if (!find_route(skb, &packet, skb->ifindex, &route) || route.device != home->device)
		return PASS;
	if (packet.begins)
		begin(0, &packet, now);
	return send_on(skb, &packet, &route);
}
