/* SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026, the podnet.fabric authors
 *
 * Services for the node's own processes, as they connect: the socket gets a backend's address, so that no packet of the
 * connection is translated. That is for TCP; what these leave, nftables translates as ever: services that clients come
 * back to, whose address a socket may not have yet, and all that is not in the maps. `make ebpf` builds connect.o.
 */
#include "frontends.h"
#include "kernel.h"
#include "packet.h"

#define SOCK_STREAM 1
#define MAPPED __builtin_bswap32(0xffff) /* ::ffff:a.b.c.d (RFC 4291) */
#define GO_ON 1
#define TRIES 8

/* The beginning of the kernel's struct of this name. Addresses and ports are as in a packet. */
struct bpf_sock_addr {
	u32 user_family;
	u32 user_ip4;
	u32 user_ip6[4];
	u32 user_port;
	u32 family;
	u32 type;
	u32 protocol;
};

/* Numbers of enum bpf_func_id. */
static u64 (*get_netns_cookie)(struct bpf_sock_addr *ctx) = (void *)122;

/* The network namespace of the node: pods, and other nodes of a test, are below the same control group. */
struct map SECTION("maps") node = {BPF_MAP_TYPE_ARRAY, 4, sizeof(u64), 1, 0};

INLINE int is_ours(struct bpf_sock_addr *ctx)
{
	u32 slot = 0;
	u64 *cookie;

	if (ctx->type != SOCK_STREAM || ctx->protocol != TCP)
		return 0;
	cookie = map_lookup(&node, &slot);
	return cookie && *cookie == get_netns_cookie(ctx);
}

/* A backend of the service that a socket connects to, any of them; anything else than 0 says that there is none. */
INLINE int choose(const struct flow_key *key, struct backend *to)
{
	/* When its list is gone by now, the frontend has another one. */
	for (int each = 0; each < TRIES; each++) {
		struct frontend *frontend = frontend_of(key);
		struct slot_key wanted = {};
		struct backend *slot;
		u32 count;

		if (!frontend || frontend->affinity)
			return -1;
		count = frontend->count;
		if (!count)
			return -1;
		wanted.list = frontend->list;
		wanted.place = prandom() % count;
		slot = map_lookup(&slots, &wanted);
		if (slot) {
			__builtin_memcpy(to, slot, sizeof(*to));
			return 0;
		}
	}
	return -1;
}

SECTION("cgroup/connect4") int connect4(struct bpf_sock_addr *ctx)
{
	struct flow_key key = {.protocol = TCP};
	struct backend to;

	if (!is_ours(ctx))
		return GO_ON;
	key.dst[0] = ctx->user_ip4;
	key.dport = ctx->user_port;
	if (!choose(&key, &to)) {
		ctx->user_ip4 = to.address[0];
		ctx->user_port = to.port;
	}
	return GO_ON;
}

SECTION("cgroup/connect6") int connect6(struct bpf_sock_addr *ctx)
{
	struct flow_key key = {.protocol = TCP, .ipv6 = 1};
	struct backend to;

	if (!is_ours(ctx))
		return GO_ON;
	key.dst[0] = ctx->user_ip6[0];
	key.dst[1] = ctx->user_ip6[1];
	key.dst[2] = ctx->user_ip6[2];
	key.dst[3] = ctx->user_ip6[3];
	key.dport = ctx->user_port;
	if (!key.dst[0] && !key.dst[1] && key.dst[2] == MAPPED) {
		key.ipv6 = 0;
		key.dst[0] = key.dst[3];
		key.dst[2] = key.dst[3] = 0;
	}
	if (choose(&key, &to))
		return GO_ON;
	if (key.ipv6) {
		ctx->user_ip6[0] = to.address[0];
		ctx->user_ip6[1] = to.address[1];
		ctx->user_ip6[2] = to.address[2];
		ctx->user_ip6[3] = to.address[3];
	} else {
		ctx->user_ip6[3] = to.address[0];
	}
	ctx->user_port = to.port;
	return GO_ON;
}

/* What the kernel asks for before it lends a GPL program its helpers. */
char SECTION("license") permission[] = "GPL";
