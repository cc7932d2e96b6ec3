/* flow_fill.c: fills the flow table of a running switch with connections that nobody made: `flow_fill INSTANCE N RULE IN OUT
 * [6]`.
 *
 * N connections of TCP, established, through the memory that sluiced and the data plane share; RULE, IN and OUT are the numbers
 * of a NAT rule and of two interfaces. Connection i is from 10.(i % 250).0.1 to 198.18.0.0 + i % 65536, port 443, its source
 * becomes 203.0.113.(i / 65536), with port 1024 + i / 65536 throughout; with 6 the same behind 64:ff9b::/96. It has i % 100 + 1
 * packets there and 1 back, of 100 bytes each, and began i % 1000 seconds ago. Prints how many were made and in what time.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "clock.h"
#include "flowtab.h"
#include "text.h"

static void *map_of(const char *instance, const char *name, uint32_t *ret_n)
{
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info);
	size_t size;
	char path[256];
	void *at;
	int fd;

	snprintf(path, sizeof(path), "/sys/fs/bpf/sluice/%s/maps/%s", instance, name);
	fd = bpf_obj_get(path);
	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len)) {
		fprintf(stderr, "flow_fill: %s: %s\n", path, strerror(errno));
		exit(1);
	}
	size = (size_t)info.max_entries * ((info.value_size + 7) & ~7u);
	at = mmap(NULL, (size + 4095) & ~4095ul, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED) {
		fprintf(stderr, "flow_fill: %s: %s\n", path, strerror(errno));
		exit(1);
	}
	*ret_n = info.max_entries;
	return at;
}

static int map_fd(const char *instance, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "/sys/fs/bpf/sluice/%s/maps/%s", instance, name);
	return bpf_obj_get(path);
}

/* The pool that has the address as its own single one, and the address's slot there: flows of none would be ended. */
static void pool_of(const char *instance, int family, const struct addr *a, uint16_t *ret_pool, uint32_t *ret_slot)
{
	int addrs = map_fd(instance, "pool_addrs"), pools = map_fd(instance, "pools"), members = map_fd(instance, "pool_members");
	struct pool_addr at;
	struct pool pool;
	uint32_t member;

	for (uint32_t id = 1; !bpf_map_lookup_elem(pools, &id, &pool); id++)
		for (uint32_t i = 0; i < (family == 4 ? pool.count4 : pool.count6); i++) {
			uint32_t k = (family == 4 ? pool.first4 : pool.first6) + i;

			if (bpf_map_lookup_elem(members, &k, &member) || bpf_map_lookup_elem(addrs, &member, &at))
				continue;
			if (memcmp(&at.addr, a, sizeof(*a)))
				continue;
			*ret_pool = (uint16_t)id;
			*ret_slot = member;
			return;
		}
	fprintf(stderr, "flow_fill: no pool has the outside address\n");
	exit(1);
}

static uint16_t pool_id[16];
static uint32_t pool_slot[16];

static struct addr addr_of(int family, uint32_t v4)
{
	struct addr a = addr_v4(htonl(v4));

	if (family == 6) {
		a.a32[0] = htonl(0x0064ff9b);
		a.a32[2] = 0;
	}
	return a;
}

struct ends {
	struct addr src, dst;
	uint16_t sport, dport;
};

static void insert(struct flowtab *t, const struct ends *from, const struct ends *to, struct flow *f)
{
	struct flow_key4 k4 = {from->src.a32[3], from->dst.a32[3], htons(from->sport), htons(from->dport), 0, IPPROTO_TCP, 0};
	struct flow_key6 k6 = {from->src, from->dst, htons(from->sport), htons(from->dport), 0, IPPROTO_TCP, 0};
	int err;

	if (t->family == 4) {
		f->saddr4 = to->src.a32[3];
		f->daddr4 = to->dst.a32[3];
	} else {
		f->saddr6 = to->src;
		f->daddr6 = to->dst;
	}
	f->sport = htons(to->sport);
	f->dport = htons(to->dport);
	err = flowtab_insert(t, t->family == 4 ? (void *)&k4 : (void *)&k6, f, clock_now_ns());
	if (err) {
		fprintf(stderr, "flow_fill: %s\n", strerror(-err));
		exit(1);
	}
}

static void add(struct flowtab *t, uint32_t i, uint16_t rule, uint16_t in, uint16_t out)
{
	uint16_t port = (uint16_t)(1024 + i / 65536);
	struct ends inside = {addr_of(t->family, 0x0a000001 | i % 250 << 16), addr_of(t->family, 0xc6120000 + i % 65536), port,
			      443};
	struct ends outside = {addr_of(t->family, 0xcb007110 + i / 65536), inside.dst, port, 443};
	struct ends back = {outside.dst, outside.src, 443, port}, back_to = {inside.dst, inside.src, 443, port};
	uint64_t now = clock_now_ns(), created = now - i % 1000 * 1000000000ull;
	struct flow f = {.flags = FLOW_F_DNAT | FLOW_F_REPLY, .seen = FLOW_SEEN_ANY | FLOW_SEEN_SYNACK | FLOW_SEEN_ACK};

	f.rule = rule;
	f.used = (uint32_t)(now >> FLOW_USED_SHIFT);
	f.created_ns = now; /* it may be looked at before it has its other half */
	f.packets = 1;
	f.bytes = 100;
	f.in_iface = out;
	f.out_iface = in;
	insert(t, &back, &back_to, &f);
	f.created_ns = created;
	f.flags = FLOW_F_SNAT;
	f.pool = pool_id[i / 65536];
	f.pool_addr = pool_slot[i / 65536];
	f.seen = FLOW_SEEN_ANY | FLOW_SEEN_SYN | FLOW_SEEN_ACK;
	f.packets = i % 100 + 1;
	f.bytes = 100 * f.packets;
	f.in_iface = in;
	f.out_iface = out;
	insert(t, &inside, &outside, &f);
}

int main(int argc, char **argv)
{
	struct flowtab t = {.family = argc > 6 ? 6 : 4};
	uint64_t begin;
	uint32_t n, one, buckets, entries;

	if (argc < 6) {
		fprintf(stderr, "usage: flow_fill INSTANCE N RULE IN OUT [6]\n");
		return 2;
	}
	t.head = map_of(argv[1], "flow_table", &one);
	t.bucket = map_of(argv[1], t.family == 4 ? "flow_words4" : "flow_words6", &buckets);
	t.entry = map_of(argv[1], t.family == 4 ? "flows4" : "flows6", &entries);
	t.n = buckets * BUCKET_SLOTS;
	n = (uint32_t)strtoul(argv[2], NULL, 10);
	for (uint32_t i = 0; i <= (n - 1) / 65536; i++) {
		struct addr a = addr_of(t.family, 0xcb007110 + i);

		pool_of(argv[1], t.family, &a, &pool_id[i], &pool_slot[i]);
	}
	begin = clock_now_ns();
	for (uint32_t i = 0; i < n; i++)
		add(&t, i, (uint16_t)atoi(argv[3]), (uint16_t)atoi(argv[4]), (uint16_t)atoi(argv[5]));
	printf("%u connections in %.2f s\n", n, (double)(clock_now_ns() - begin) / 1e9);
	return 0;
}
