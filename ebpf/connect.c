/* SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026, the podnet.fabric authors
 *
 * Services for the node's own processes, as they connect: the socket gets a backend's address, so that no packet of the
 * connection is translated, and its process is told the one that it has asked for. That is for TCP; what these leave,
 * nftables translates as ever: services that clients come back to, whose address a socket may not have yet, and all that
 * is not in the maps. `make ebpf` builds connect.o.
 */
#include "frontends.h"
#include "kernel.h"
#include "packet.h"

#define SOCK_STREAM 1
#define MAPPED __builtin_bswap32(0xffff) /* ::ffff:a.b.c.d (RFC 4291) */
#define GO_ON 1

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
static u64 (*get_socket_cookie)(struct bpf_sock_addr *ctx) = (void *)46;
static u64 (*get_netns_cookie)(struct bpf_sock_addr *ctx) = (void *)122;

/* The network namespace of the node: pods, and other nodes of a test, are below the same control group. */
struct map SECTION("maps") node = {BPF_MAP_TYPE_ARRAY, 4, sizeof(u64), 1, 0};

/* What a socket has asked for and what it was given, by its cookie, each as its family has it. One that has connected to
 * something else since has another peer than that.
 */
struct answer {
	u32 asked[4];
	u32 given[4];
	u32 asked_port;
	u32 given_port;
};

struct map SECTION("maps") asked = {BPF_MAP_TYPE_LRU_HASH, sizeof(u64), sizeof(struct answer), 65536, 0};

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
	for (int each = 0; each < TRIES; each++) {
		struct frontend *frontend = frontend_of(key);
		struct backend *slot;

		if (!frontend || frontend->affinity)
			return -1;
		slot = any_of(frontend);
		if (slot) {
			__builtin_memcpy(to, slot, sizeof(*to));
			return 0;
		}
	}
	return -1;
}

INLINE void put_address(struct bpf_sock_addr *ctx, const u32 *address, u32 port)
{
	ctx->user_ip6[0] = address[0];
	ctx->user_ip6[1] = address[1];
	ctx->user_ip6[2] = address[2];
	ctx->user_ip6[3] = address[3];
	ctx->user_port = port;
}

SECTION("cgroup/connect4") int connect4(struct bpf_sock_addr *ctx)
{
	struct flow_key key = {.protocol = TCP};
	struct answer answer = {};
	struct backend to;
	u64 cookie;

	if (!is_ours(ctx))
		return GO_ON;
	key.dst[0] = ctx->user_ip4;
	key.dport = ctx->user_port;
	if (!choose(&key, &to)) {
		ctx->user_ip4 = to.address[0];
		ctx->user_port = to.port;
		answer.asked[0] = key.dst[0];
		answer.asked_port = key.dport;
		answer.given[0] = to.address[0];
		answer.given_port = to.port;
		cookie = get_socket_cookie(ctx);
		map_update(&asked, &cookie, &answer, BPF_ANY);
	}
	return GO_ON;
}

SECTION("cgroup/connect6") int connect6(struct bpf_sock_addr *ctx)
{
	struct flow_key key = {.protocol = TCP, .ipv6 = 1};
	struct answer answer = {};
	struct backend to;
	u64 cookie;

	if (!is_ours(ctx))
		return GO_ON;
	key.dst[0] = ctx->user_ip6[0];
	key.dst[1] = ctx->user_ip6[1];
	key.dst[2] = ctx->user_ip6[2];
	key.dst[3] = ctx->user_ip6[3];
	key.dport = ctx->user_port;
	__builtin_memcpy(answer.asked, key.dst, sizeof(answer.asked));
	answer.asked_port = key.dport;
	if (!key.dst[0] && !key.dst[1] && key.dst[2] == MAPPED) {
		key.ipv6 = 0;
		key.dst[0] = key.dst[3];
		key.dst[2] = key.dst[3] = 0;
	}
	if (choose(&key, &to))
		return GO_ON;
	if (key.ipv6) {
		__builtin_memcpy(answer.given, to.address, sizeof(answer.given));
	} else {
		answer.given[2] = MAPPED;
		answer.given[3] = to.address[0];
	}
	answer.given_port = to.port;
	put_address(ctx, answer.given, answer.given_port);
	cookie = get_socket_cookie(ctx);
	map_update(&asked, &cookie, &answer, BPF_ANY);
	return GO_ON;
}

SECTION("cgroup/peer4") int peer4(struct bpf_sock_addr *ctx)
{
	u64 cookie = get_socket_cookie(ctx);
	struct answer *answer = map_lookup(&asked, &cookie);

	if (answer && ctx->user_ip4 == answer->given[0] && ctx->user_port == answer->given_port) {
		ctx->user_ip4 = answer->asked[0];
		ctx->user_port = answer->asked_port;
	}
	return GO_ON;
}

SECTION("cgroup/peer6") int peer6(struct bpf_sock_addr *ctx)
{
	u64 cookie = get_socket_cookie(ctx);
	struct answer *answer = map_lookup(&asked, &cookie);

	if (answer && ctx->user_ip6[0] == answer->given[0] && ctx->user_ip6[1] == answer->given[1] &&
	    ctx->user_ip6[2] == answer->given[2] && ctx->user_ip6[3] == answer->given[3] &&
	    ctx->user_port == answer->given_port)
		put_address(ctx, answer->asked, answer->asked_port);
	return GO_ON;
}

/* What the kernel asks for before it lends a GPL program its helpers. */
char SECTION("license") permission[] = "GPL";
