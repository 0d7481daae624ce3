/* SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026, the podnet.fabric authors
 *
 * Services for pods, at the host's end of their interfaces: `requests` sends what comes out of a pod on to a backend,
 * `replies` gives what goes into it the address that the pod has asked. What they do not touch is the business of
 * nftables, which knows all services: what is to be rejected or to come from another address, the ports of nodes.
 * With bypass.h, what goes between pods needs no netfilter at all.
 * `make ebpf` builds service.o.
 */
#include "bypass.h"
#include "frontends.h"
#include "kernel.h"
#include "lifetime.h"
#include "packet.h"
#include "rewriting.h"
#include "sctp.h"
#include "translations.h"
#include "writing.h"

/* A packet down to its ports; anything else than 0 says that it is none of ours. */
INLINE int read(struct __sk_buff *skb, struct packet *packet, struct flow_key *key)
{
	u32 type = skb->protocol;

	if (skb->vlan_present)
		return -1;
	if (type == htons(ETH_IPV4) ? read_ipv4(skb, packet, key) : type != htons(ETH_IPV6) || read_ipv6(skb, packet, key))
		return -1;
	if (packet->fragment == LATER)
		return 0;
	if (!is_translated(key->protocol) && key->protocol != (key->ipv6 ? ICMPV6 : ICMP))
		return -1;
	if (read_transport(skb, packet, key, 1))
		return -1;
	if (key->protocol == SCTP)
		read_chunks(skb, packet);
	return 0;
}

/* The first fragment has the ports; the later ones go where it went. */
INLINE int follow(struct __sk_buff *skb, const struct packet *packet, const struct flow_key *key, u64 now)
{
	struct fragment_key piece = {};
	struct moved *moved;
	u32 end = key->hook == SENDS ? ITS_DESTINATION : ITS_SOURCE;
	u32 address[4];

	piece_of(&piece, key, packet->id);
	moved = map_lookup(&pieces, &piece);
	if (!moved || moved->expires <= now)
		return PASS;
	__builtin_memcpy(address, moved->address, sizeof(address));
	return put_address(skb, ETH_HEADER, key->ipv6, end, end ? key->dst : key->src, address) ? DROP : PASS;
}

/* An ICMP error about a packet that went the other way. */
INLINE int correct(struct __sk_buff *skb, const struct packet *packet, const struct flow_key *key, u64 now)
{
	struct packet inner = {.offset = packet->offset + 8};
	struct flow_key about = {.hook = !key->hook}, wanted;
	struct translation *found;
	struct backend end;

	if ((key->ipv6 ? read_ipv6(skb, &inner, &about) : read_ipv4(skb, &inner, &about)) || inner.fragment == LATER ||
	    !is_translated(about.protocol) || read_transport(skb, &inner, &about, 0))
		return PASS;
	turn(&wanted, &about);
	found = find(&wanted, now);
	if (!found || found->state & LEFT)
		return PASS;
	__builtin_memcpy(&end, &found->end, sizeof(end));
	return put_quoted(skb, packet->offset, inner.offset, key, &about, key->hook == SENDS ? ITS_DESTINATION : ITS_SOURCE,
			  end.address, end.port)
		       ? DROP
		       : PASS;
}

INLINE int move(struct __sk_buff *skb, const struct packet *packet, const struct flow_key *key,
		const struct backend *end, u64 now)
{
	if (packet->fragment == FIRST) {
		struct fragment_key piece = {};
		struct moved moved = {.expires = now + 30 * SECONDS};

		piece_of(&piece, key, packet->id);
		__builtin_memcpy(moved.address, end->address, sizeof(moved.address));
		map_update(&pieces, &piece, &moved, BPF_ANY);
	}
	return put_end(skb, packet, key, key->hook == SENDS ? ITS_DESTINATION : ITS_SOURCE, end->address, end->port)
		       ? DROP
		       : PASS;
}

/* A backend for a new flow: the one that the client had, or any. */
INLINE int choose(const struct flow_key *key, const struct frontend *frontend, struct backend *to, u64 now)
{
	struct client_key who = {.frontend = {.port = key->dport, .protocol = key->protocol, .ipv6 = key->ipv6}};
	struct client *known, fresh = {.when = now};
	u32 affinity = frontend->affinity;
	struct backend *slot;

	if (affinity) {
		__builtin_memcpy(who.client, key->src, sizeof(who.client));
		__builtin_memcpy(who.frontend.address, key->dst, sizeof(who.frontend.address));
		known = map_lookup(&clients, &who);
		if (known && now - known->when < affinity * SECONDS) {
			__builtin_memcpy(to, &known->backend, sizeof(*to));
			if (is_member(frontend->list, to->address, to->port)) {
				known->when = now;
				return 0;
			}
		}
	}
	slot = any_of(frontend);
	if (!slot)
		return -1;
	__builtin_memcpy(to, slot, sizeof(*to));
	if (affinity) {
		__builtin_memcpy(&fresh.backend, to, sizeof(*to));
		map_update(&clients, &who, &fresh, BPF_ANY);
	}
	return 0;
}

/* Whether a flow that may begin anew stays where it was: the next connection from a port does not, a datagram as long
 * as the service has its backend.
 */
INLINE int stands(struct translation *found, const struct frontend *frontend, const struct packet *packet)
{
	if (packet->question)
		return found->list == frontend->list && !is_over(found);
	if (found->list == frontend->list || found->state & LEFT)
		return 1;
	if (!is_member(frontend->list, found->end.address, found->end.port))
		return 0;
	found->list = frontend->list;
	return 1;
}

SECTION("tc/requests") int requests(struct __sk_buff *skb)
{
	struct packet packet = {.offset = ETH_HEADER};
	struct flow_key key = {.hook = SENDS}, answer;
	struct translation fresh = {}, *found, *back;
	struct frontend *frontend = 0;
	struct backend to = {};
	u64 now;

	if (read(skb, &packet, &key))
		return PASS;
	if (packet.fragment == LATER)
		return follow(skb, &packet, &key, ktime_get_ns());
	if (packet.role == FAILS)
		return correct(skb, &packet, &key, ktime_get_ns());
	if (!is_translated(key.protocol))
		return PASS;
	/* A connection goes on whatever has become of its service. */
	if (key.protocol == UDP || packet.question)
		frontend = frontend_of(&key);
	found = map_lookup(&translations, &key);
	/* Most packets are of no service, and a look at the clock takes a fifth of the time. */
	if (!found && !frontend && key.protocol != UDP && !packet.question)
		return PASS;
	now = ktime_get_ns();
	if (found && found->expires <= now)
		found = 0;
	if (!frontend && (packet.question || (key.protocol == UDP && !(found && found->state & AGAIN)))) {
		go_straight(&key);
		return PASS;
	}
	if (found && frontend && !stands(found, frontend, &packet))
		found = 0;
	if (!found) {
		if (!frontend || !is_inside(&key))
			return PASS;
		/* When its list is gone by now, the frontend has another one. */
		for (int each = 0; choose(&key, frontend, &to, now); each++) {
			if (each == TRIES)
				return DROP;
			frontend = frontend_of(&key);
			if (!frontend)
				return PASS;
		}
		fresh.list = frontend->list;
		fresh.state = key.protocol == UDP ? REPLIED : 0;
		if (to.shared)
			fresh.state |= SHARED;
		__builtin_memcpy(&fresh.end, &to, sizeof(to));
		answer_of(&answer, &key, &to);
		back = find(&answer, now);
		/* Answers of one backend to one port of a pod come from one address. */
		if (back && !is_over(back) && !(back->end.port == key.dport && same(back->end.address, key.dst))) {
			fresh.state |= LEFT;
			back->state = (back->state & ~PASSED) | SHARED;
		} else if (put_back(&answer, &key, fresh.state, now)) {
			return DROP;
		}
		fresh.expires = now + lasts(key.protocol, fresh.state) * SECONDS;
		if (map_update(&translations, &key, &fresh, BPF_ANY))
			return DROP;
		return fresh.state & LEFT ? PASS : move(skb, &packet, &key, &to, now);
	}
	__builtin_memcpy(&to, &found->end, sizeof(to));
	if (found->state & LEFT) {
		advance(found, &packet, &key, now);
		return PASS;
	}
	if ((advance(found, &packet, &key, now) || key.protocol == UDP) && !(found->state & AGAIN)) {
		answer_of(&answer, &key, &to);
		/* The kernel may have taken it for another flow, or the pod have gone straight to the backend. */
		if (!find(&answer, now) && put_back(&answer, &key, found->state, now))
			return DROP;
		end_answers(&answer, &packet, now);
	}
	return move(skb, &packet, &key, &to, now);
}

SECTION("tc/replies") int replies(struct __sk_buff *skb)
{
	struct packet packet = {.offset = ETH_HEADER};
	struct flow_key key = {.hook = RECEIVES};
	struct translation *found;
	struct backend from = {};
	u64 now;

	if (read(skb, &packet, &key))
		return PASS;
	if (packet.fragment == LATER)
		return follow(skb, &packet, &key, ktime_get_ns());
	if (packet.role == FAILS)
		return correct(skb, &packet, &key, ktime_get_ns());
	if (!is_translated(key.protocol))
		return PASS;
	found = map_lookup(&translations, &key);
	if (!found)
		return PASS;
	now = ktime_get_ns();
	if (found->expires <= now)
		return PASS;
	__builtin_memcpy(&from, &found->end, sizeof(from));
	advance(found, &packet, &key, now);
	return move(skb, &packet, &key, &from, now);
}

/* Maps by their numbers, as packetfilter/service_ebpf.py has them in a row. */
INLINE long carry_out(const struct change *change)
{
	if (change->map == 0)
		return change_map(&slots, change);
	if (change->map == 1)
		return change_map(&members, change);
	if (change->map == 2)
		return change_map(&inside, change);
	return change_map(&frontends, change);
}

SECTION("tc/writes") int writes(struct __sk_buff *skb)
{
	return write_with(skb, carry_out);
}

/* What the kernel asks for before it lends a GPL program its helpers. */
char SECTION("license") permission[] = "GPL";
