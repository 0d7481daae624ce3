/* SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026, the podnet.fabric authors
 *
 * Network policies before a pod, at the host's end of its interface: `sends` sees what comes out of the pod, `receives`
 * what goes into it. Both look up the pod by its address in the packet. `make ebpf` builds policy.o.
 */
#include "kernel.h"
#include "packet.h"
#include "counts.h"

#define PASS -1 /* TCX_NEXT, TC_ACT_UNSPEC: whoever comes next may look at it */
#define DROP 2	/* TCX_DROP, TC_ACT_SHOT */

/* The table that says everything: one trie, so that all of it changes at once. Its key begins with a space; each of
 *   0..3       (hook * 2 + ipv6)   holds the pods of the node: address -> guard
 *   4..5       (+ 1 for IPv6), with the index of an interface in the second word, what may come out of it
 *   6          with that, too: this one is known, and nothing else may
 *   a guard    (+ 1 for IPv6)      holds its peers: prefix -> ports
 *   a set of ports                 holds protocol and prefix of port -> nothing
 * Guards and sets of ports are called by digests of what they allow.
 */
struct entry {
	u32 prefixlen;
	u32 space[2];
	u32 data[4];
};
#define SPACE_BITS 64
#define ORIGINS 4
#define KNOWN 6
#define OPEN 1ULL  /* the guard of a pod that no policy selects */
#define NODE 2ULL  /* the guard of what the node itself sends to its pods: it passes */
#define EVERY 1ULL /* the set of every protocol and port */

struct flow {
	u64 expires; /* ns, CLOCK_MONOTONIC */
	u64 guard;   /* that has judged it; when the pod has another one by now, it is judged again */
	u32 state;
	u32 unused;
};
#define REPLIED 0x01
#define STANDS 0x02 /* TCP: the third packet was seen */
#define FIN_THERE 0x04
#define FIN_BACK 0x08
#define RESET 0x10
#define DENIED 0x20

#define SECONDS 1000000000ULL

struct fragment_key {
	u32 src[4];
	u32 dst[4];
	u32 id;
	u16 hook;
	u16 protocol; /* of IPv4: its ids count per protocol */
};

/* One slot, with the table in it. */
struct map SECTION("maps") table = {BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, 1, 0};
/* The loader puts the sizes of these in. */
struct map SECTION("maps") flows = {BPF_MAP_TYPE_LRU_HASH, sizeof(struct flow_key), sizeof(struct flow), 0, 0};
struct map SECTION("maps") fragments = {BPF_MAP_TYPE_LRU_HASH, sizeof(struct fragment_key), sizeof(u64), 0, 0};

/* Seconds that a flow is remembered after its last packet, as Linux has them for the same states. */
INLINE u64 patience(u8 protocol, u32 state)
{
	if (state & DENIED)
		return 60;
	if (protocol != TCP)
		return protocol != ICMP && protocol != ICMPV6 && state & REPLIED ? 120 : 30;
	if (state & RESET)
		return 10;
	if (state & (FIN_THERE | FIN_BACK))
		return 120;
	return state & STANDS ? 86400 : 60;
}

INLINE u64 guard_of(void *policy, const struct flow_key *key, u32 hook)
{
	struct entry entry = {};
	u64 *guard;

	entry.prefixlen = SPACE_BITS + (key->ipv6 ? 128 : 32);
	entry.space[0] = hook * 2 + key->ipv6;
	__builtin_memcpy(entry.data, key->hook == SENDS ? key->src : key->dst, sizeof(entry.data));
	guard = map_lookup(policy, &entry);
	return guard ? *guard : 0;
}

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

INLINE int allows(void *policy, u64 guard, const struct flow_key *key, u16 port)
{
	struct entry entry = {};
	u64 *ports;

	if (guard <= NODE)
		return 1;
	entry.prefixlen = SPACE_BITS + (key->ipv6 ? 128 : 32);
	guard += key->ipv6;
	__builtin_memcpy(entry.space, &guard, sizeof(entry.space));
	__builtin_memcpy(entry.data, key->hook == SENDS ? key->dst : key->src, sizeof(entry.data));
	ports = map_lookup(policy, &entry);
	if (!ports)
		return 0;
	if (*ports == EVERY)
		return 1;
	__builtin_memcpy(entry.space, ports, sizeof(entry.space));
	entry.prefixlen = SPACE_BITS + 32;
	/* Protocol, a zero, port: in this order in memory. */
	entry.data[0] = key->protocol | (u32)port << 16;
	return map_lookup(policy, &entry) != 0;
}

INLINE int same(const u32 *one, const u32 *other)
{
	return one[0] == other[0] && one[1] == other[1] && one[2] == other[2] && one[3] == other[3];
}

INLINE struct flow *find(const struct flow_key *key, u64 now)
{
	struct flow *flow = map_lookup(&flows, key);

	return flow && flow->expires > now ? flow : 0;
}

INLINE void turn(struct flow_key *to, const struct flow_key *key)
{
	__builtin_memcpy(to->src, key->dst, sizeof(to->src));
	__builtin_memcpy(to->dst, key->src, sizeof(to->dst));
	to->sport = key->dport;
	to->dport = key->sport;
	to->protocol = key->protocol;
	to->ipv6 = key->ipv6;
	to->hook = !key->hook;
	to->unused = 0;
}

INLINE void advance(struct flow *flow, const struct packet *packet, u8 protocol, int reply, u64 now)
{
	u32 state = flow->state;
	u64 expires;

	if (packet->role != FAILS) {
		if (reply)
			state |= REPLIED;
		else if (state & REPLIED)
			state |= STANDS;
		if (packet->flags & TCP_FIN)
			state |= reply ? FIN_BACK : FIN_THERE;
		if (packet->flags & TCP_RST)
			state |= RESET;
	}
	expires = now + patience(protocol, state) * SECONDS;
	/* Not every packet writes: the processors share this line. */
	if (state != flow->state || expires > flow->expires + SECONDS) {
		flow->state = state;
		flow->expires = expires;
	}
}

/* The first fragment has the ports; the later ones go where it went, those that come before it nowhere. */
INLINE int later(const struct fragment_key *key, u64 now)
{
	u64 *expires = map_lookup(&fragments, key);

	return expires && *expires > now ? PASS : DROP;
}

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
	u32 zero = 0;
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
		if (!packet.question && (!flow || (flow->state & DENIED && flow->guard == own))) {
			struct flow *back;

			turn(&other, &key);
			back = find(&other, now);
			if (back) {
				flow = back;
				reply = 1;
				guard = guard_of(policy, &key, !hook);
				port = key.sport;
			}
		}
	}
	if (flow && flow->guard == NODE && (reply || packet.role == FAILS))
		guard = NODE;

	if (flow && flow->guard == guard) {
		passes = !(flow->state & DENIED);
	} else {
		passes = allows(policy, guard, &key, port);
		if (flow) {
			flow->guard = guard;
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
		struct flow fresh = {.expires = now + patience(key.protocol, 0) * SECONDS, .guard = guard};

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

/* What the kernel asks for before it lends a GPL program its helpers. */
char SECTION("license") permission[] = "GPL";
