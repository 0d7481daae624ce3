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
#include "translations.h"

/* States of what becomes of a backend's answers. */
#define SHARED 0x400   /* other frontends lead there, too: the kernel keeps their flows apart, of which it has to see all */
#define PASSED 0x800   /* what is asked goes past the host */
#define ANSWERED 0x1000 /* and so has an answer */

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

/* TCP connections that go past the host and are not translated here, under what their SYN had. */
struct past {
	u64 expires; /* ns, CLOCK_MONOTONIC */
	u32 state;
	u32 unused;
};
struct map SECTION("maps") past = {BPF_MAP_TYPE_LRU_HASH, sizeof(struct flow_key), sizeof(struct past), 0, 0};

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
	u16 macs[6];
};
struct next_hop {
	u32 family;
	u32 address[4];
};
#define INET 2
#define INET6 10

static long (*redirect)(u32 device, u64 flags) = (void *)23;
static long (*skb_pull_data)(struct __sk_buff *skb, u32 len) = (void *)39;
static long (*fib_lookup)(struct __sk_buff *skb, struct route *route, int size, u32 flags) = (void *)69;
static long (*redirect_neigh)(u32 device, struct next_hop *hop, int size, u64 flags) = (void *)152;
static u64 (*ktime_get_coarse_ns)(void) = (void *)160; /* some milliseconds late, and many times as fast */
#define NO_NEIGHBOUR 7 /* BPF_FIB_LKUP_RET_NO_NEIGH */

/* A packet that nothing is special about. */
struct plain {
	struct flow_key key;
	u32 flow;   /* as in struct route */
	u32 length; /* of the headers of IP and TCP or UDP */
	u8 hops;
	u8 flags; /* of TCP */
	u8 begins;
	u8 routed; /* the frame is for the bridge itself */
};

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
INLINE int read_plain(struct __sk_buff *skb, struct plain *to, const struct way *home)
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
	to->routed = mac[0] == home->mac[0] && mac[1] == home->mac[1] && mac[2] == home->mac[2];
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

/* The same without a translation. */
INLINE int goes_on(const struct plain *packet, u64 now)
{
	struct past *flow = map_lookup(&past, &packet->key);
	struct flow_key other;
	int reply = !flow;
	u64 expires;
	u32 state;

	if (reply) {
		turn(&other, &packet->key);
		other.hook = 0;
		flow = map_lookup(&past, &other);
		if (!flow)
			return 0;
	}
	if (flow->expires <= now)
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

/* Whether an ICMP error is about a packet of a flow that goes past. */
INLINE int is_about_past(struct __sk_buff *skb, const struct flow_key *key, u64 now)
{
	u32 icmp = ETH_HEADER + (key->ipv6 ? sizeof(struct ipv6) : sizeof(struct ipv4));
	struct packet header = {.offset = icmp}, inner = {.offset = icmp + 8};
	struct flow_key unused = {.ipv6 = key->ipv6, .protocol = key->protocol}, about = {}, other;
	struct translation *found;
	struct past *flow;

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
	flow = map_lookup(&past, &about);
	if (!flow) {
		turn(&other, &about);
		other.hook = 0;
		flow = map_lookup(&past, &other);
	}
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
		return !again && !(found->state & (LEFT | AGAIN | SHARED)) && is_pod(&packet->key, packet->key.dst);
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

/* Counts down as a router does, and has the kernel put on the addresses of the next hop, which it looks after. */
INLINE int send_on(struct __sk_buff *skb, const struct plain *packet, const struct route *route)
{
	struct next_hop hop = {.family = route->family};
	u8 left = packet->hops - 1;

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
	struct translation *found, *other;
	struct plain packet = {};
	struct route route = {};
	struct way *home;
	u32 first = 0;
	int sort;
	u64 now;

	home = map_lookup(&ways, &first);
	sort = home ? read_plain(skb, &packet, home) : -1;
	if (sort < 0)
		return PASS;
	now = ktime_get_coarse_ns();
	found = sort == FAILURE ? 0 : of_request(&packet.key, now);
	if (sort == FAILURE) {
		if (!is_about_past(skb, &packet.key, now))
			return PASS;
	} else if (packet.begins) {
		if (!may_begin(found, &packet, HERE, now) || !packet.routed)
			return PASS;
	} else if (found) {
		if (!request_passes(found, &packet))
			return PASS;
	} else {
		other = of_answer(&packet.key, now);
		if (other ? !answer_passes(other, &packet) : packet.key.protocol != TCP || !goes_on(&packet, now))
			return PASS;
	}
	if (!packet.routed)
		/* An answer to a neighbour on the bridge, who has asked by way of a service. */
		return place_of(&packet.key, packet.key.dst) == HERE ? redirect(home->device, 0) : PASS;
	if (!find_route(skb, &packet, home->device, &route))
		return PASS;
	if (packet.begins)
		begin(found, &packet, now);
	return send_on(skb, &packet, &route);
}

SECTION("tc/arrives") int arrives(struct __sk_buff *skb)
{
	struct plain packet = {};
	struct translation *found;
	struct route route = {};
	struct way *home;
	u32 first = 0;
	int sort;
	u64 now;

	if (skb->pkt_type)
		return PASS; /* not for this node */
	home = map_lookup(&ways, &first);
	sort = home ? read_plain(skb, &packet, home) : -1;
	if (sort < 0)
		return PASS;
	now = ktime_get_coarse_ns();
	if (sort == FAILURE) {
		if (!is_about_past(skb, &packet.key, now))
			return PASS;
	} else if (packet.begins) {
		if (!may_begin(0, &packet, ELSEWHERE, now) || !came_right(skb, &packet.key, home->device))
			return PASS;
	} else {
		found = of_answer(&packet.key, now);
		if (found ? !answer_passes(found, &packet) : packet.key.protocol != TCP || !goes_on(&packet, now))
			return PASS;
	}
	if (!find_route(skb, &packet, skb->ifindex, &route) || route.device != home->device)
		return PASS;
	if (packet.begins)
		begin(0, &packet, now);
	return send_on(skb, &packet, &route);
}
