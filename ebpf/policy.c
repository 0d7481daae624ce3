/* SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026, the podnet.fabric authors
 *
 * Network policies before a pod, at the host's end of its interface: `sends` sees what comes out of the pod, `receives`
 * what goes into it. Both look up the pod by its address in the packet. `make ebpf` builds policy.o.
 */
#include "kernel.h"
#include "packet.h"
#include "counts.h"
#include "flows.h"
#include "origins.h"
#include "table.h"
#include "writing.h"

/* Whether a destination is nobody's own: broadcast, multicast, or IPv6's link-local, which every interface has. What
 * listens on all addresses of a pod hears these too, and no policy knows them.
 */
INLINE int is_shared(const struct flow_key *key)
{
	const u8 *to = (const u8 *)key->dst;

	if (key->ipv6)
		return to[0] == 0xff || (to[0] == 0xfe && (to[1] & 0xc0) == 0x80);
	return (to[0] & 0xf0) == 0xe0 || key->dst[0] == 0xffffffff;
}

INLINE int judge(struct __sk_buff *skb, u32 hook)
{
	struct packet packet = {.offset = ETH_HEADER};
	struct flow_key key = {.hook = hook}, other;
	struct fragment_key fragment = {.hook = hook};
	u32 zero = 0, era, *counted;
	u64 now, guard, own;
	struct flow *flow;
	void *policy;
	u16 type, port;
	int reply = 0, passes, node;

	/* A tag would hide the packet from us, and the receiver takes tag 0 off. */
	if (skb->vlan_present || skb_load_bytes(skb, 12, &type, sizeof(type)))
		return DROP;
	if (type == htons(ETH_VLAN) || type == htons(ETH_QINQ))
		return DROP;
	/* Before the table: what is judged by the next one counts as judged by this. */
	counted = map_lookup(&generation, &zero);
	if (!counted)
		return DROP;
	era = *(volatile u32 *)counted;
	policy = map_lookup(&table, &zero);
	if (!policy)
		return DROP;
	if (type == htons(ETH_IPV4)) {
		if (read_ipv4(skb, &packet, &key))
			return DROP;
		fragment.protocol = key.protocol;
	} else if (type == htons(ETH_IPV6)) {
		if (read_ipv6(skb, &packet, &key))
			return DROP;
	} else {
		return hook == SENDS && type == htons(ETH_ARP) && is_spoofed_arp(skb, policy) ? DROP : PASS;
	}
	if (hook == SENDS && is_spoofed(skb, policy, &packet, &key))
		return DROP;
	own = guard_of(policy, &key, hook);
	/* Nobody has received what the node itself sends. */
	node = hook == RECEIVES && !skb->ingress_ifindex;
	if (!own) {
		if (hook == SENDS || node || key.protocol == (key.ipv6 ? ICMPV6 : IGMP))
			return PASS;
		return is_shared(&key) ? DROP : PASS;
	}
	if (node)
		own = NODE;
	now = ktime_get_ns();
	if (packet.fragment != WHOLE) {
		__builtin_memcpy(fragment.src, key.src, sizeof(fragment.src));
		__builtin_memcpy(fragment.dst, key.dst, sizeof(fragment.dst));
		fragment.id = packet.id;
		if (packet.fragment == LATER)
			return own == OPEN || own == NODE ? PASS : later(&fragment, now);
	}
	if (read_transport(skb, &packet, &key, 1))
		return DROP;
	if (packet.role == ALWAYS)
		return PASS;

	guard = own;
	port = key.dport;
	flow = 0;
	if (packet.role == FAILS) {
		if (node)
			return PASS;
		/* About a packet that went the other way: the flow is that one's. */
		struct packet inner = {.offset = packet.offset + 8};
		struct flow_key about = {.hook = !hook};

		if (!(key.ipv6 ? read_ipv6(skb, &inner, &about) : read_ipv4(skb, &inner, &about)) &&
		    inner.fragment != LATER && !read_transport(skb, &inner, &about, 0) &&
		    same(about.src, key.dst)) {
			flow = find(&about, now);
			if (flow) {
				guard = guard_of(policy, &about, !hook);
			} else {
				turn(&other, &about);
				flow = find(&other, now);
				reply = 1;
			}
			if (flow) {
				__builtin_memcpy(&key, &about, sizeof(key));
				port = reply ? key.sport : key.dport;
			}
		}
		if (!flow)
			key.sport = key.dport = port = 0;
	} else {
		flow = find(&key, now);
		if (flow && flow->guard == NODE && !node) {
			flow = 0; /* somebody else with the node's address */
			packet.role = CONTINUES;
		}
		if (flow && packet.question && key.protocol == TCP && flow->state & (RESET | FIN_THERE | FIN_BACK))
			flow = 0; /* another connection with the same ports */
		if (!packet.question && (!flow || flow->state & DENIED)) {
			struct flow *back;

			turn(&other, &key);
			back = find(&other, now);
			/* What was denied may be an answer to what was not. */
			if (back && !(flow && back->state & DENIED)) {
				flow = back;
				reply = 1;
				guard = guard_of(policy, &key, !hook);
				port = key.sport;
			}
		}
	}
	if (flow && flow->guard == NODE && (reply || packet.role == FAILS))
		guard = NODE;

	if (flow && stands(flow, guard, era)) {
		passes = !(flow->state & DENIED);
	} else {
		passes = allows(policy, guard, &key, port);
		if (flow) {
			flow->guard = guard;
			flow->generation = era;
			if (passes) {
				flow->state &= ~DENIED;
			} else {
				flow->state |= DENIED;
				flow->expires = now + patience(key.protocol, DENIED) * SECONDS;
			}
		}
	}
	if (!passes) {
		struct count_key denied = {.hook = guard == own ? hook : !hook, .ipv6 = key.ipv6};

		__builtin_memcpy(denied.pod, key.hook == SENDS ? key.src : key.dst, sizeof(denied.pod));
		add(&denied, skb->len);
		remember(&key, now);
		return DROP;
	}
	if (flow) {
		advance(flow, &packet, key.protocol, reply, now);
	} else if (packet.role == BEGINS) {
		struct flow fresh = {
			.expires = now + patience(key.protocol, 0) * SECONDS, .guard = guard, .generation = era};

		map_update(&flows, &key, &fresh, BPF_ANY);
		if (guard > NODE) {
			struct count_key allowed = {.guard = guard};

			add(&allowed, skb->len);
		}
	}
	if (packet.fragment == FIRST) {
		u64 expires = now + 30 * SECONDS;

		map_update(&fragments, &fragment, &expires, BPF_ANY);
	}
	return PASS;
}

SECTION("tc/sends") int sends(struct __sk_buff *skb)
{
	return judge(skb, SENDS);
}

SECTION("tc/receives") int receives(struct __sk_buff *skb)
{
	return judge(skb, RECEIVES);
}

INLINE long carry_out(const struct change *change)
{
	u32 zero = 0;
	void *policy = map_lookup(&table, &zero);

	return policy ? change_map(policy, change) : -ENOENT;
}

SECTION("tc/writes") int writes(struct __sk_buff *skb)
{
	return write_with(skb, carry_out);
}

/* What the kernel asks for before it lends a GPL program its helpers. */
char SECTION("license") permission[] = "GPL";
