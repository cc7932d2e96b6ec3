/* nat_plan_prefix.c: the part of the plan that says by which prefixes a packet from outside finds the run that its destination is
 * in.
 *
 * Stands between nat_plan_run.c, which has made members of runs, and nat_apply.c, which puts the prefixes into the map
 * `nat_statics` beside those of static rules. What does not fit there is refused here, before any table is touched.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "nat_plan_priv.h"
#include "nat_span.h"

/* Addresses of a run, by where they stand in it. */
struct piece {
	size_t addr; /* index in nat_plan.addrs */
	uint64_t at, end;
};

static int by_place(const void *a, const void *b)
{
	const struct piece *x = a, *y = b;

	if (x->addr != y->addr)
		return x->addr < y->addr ? -1 : 1;
	return x->at == y->at ? 0 : x->at < y->at ? -1 : 1;
}

/* Members from `first` on, those that overlap or follow each other as one: pools share addresses, and a pool's are cut into
 * members where no prefix ends. NULL: no memory. */
static struct piece *pieces_of(const struct nat_plan *o, size_t first, size_t n_members, size_t *ret_n)
{
	struct piece *v = calloc(n_members + 1, sizeof(*v));
	size_t n = 0, merged = 0;

	for (size_t i = first; v && i < first + n_members; i++) {
		const struct nat_plan_member *m = &o->members[i];

		if (m->at)
			v[n++] = (struct piece){.addr = m->addr, .at = m->at, .end = (uint64_t)m->at + m->n};
	}
	if (n)
		qsort(v, n, sizeof(*v), by_place);
	for (size_t i = 0; i < n; i++) {
		if (merged && v[merged - 1].addr == v[i].addr && v[i].at <= v[merged - 1].end) {
			if (v[i].end > v[merged - 1].end)
				v[merged - 1].end = v[i].end;
			continue;
		}
		v[merged++] = v[i];
	}
	*ret_n = merged;
	return v;
}

/* How many bits of [from, end) are behind the longest prefix that begins there. */
static unsigned host_bits(uint64_t from, uint64_t end)
{
	unsigned bits = from ? (unsigned)__builtin_ctzll(from) : 31;

	while (1ull << bits > end - from)
		bits--;
	return bits;
}

static size_t prefixes_count(const struct nat_plan *o, const struct piece *v, size_t n)
{
	size_t count = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t origin = span_low(&o->addrs[v[i].addr].origin) - 1, from = origin + v[i].at, end = origin + v[i].end;

		for (; from < end; from += 1ull << host_bits(from, end))
			count++;
	}
	return count;
}

static int prefixes_add(struct nat_plan *o, const struct piece *piece)
{
	const struct nat_plan_addr *a = &o->addrs[piece->addr];
	uint64_t origin = span_low(&a->origin) - 1, from = origin + piece->at, end = origin + piece->end;

	while (from < end) {
		struct nat_plan_run *v = plan_grow(o->runs, o->n_runs, sizeof(*v));
		unsigned bits = host_bits(from, end);

		if (!v)
			return -ENOMEM;
		o->runs = v;
		v[o->n_runs++] = (struct nat_plan_run){
			.key = {.len = 32 + 128 - bits, .vrf = a->vrf, .addr = span_at(a->addr, from)}, .addr = piece->addr};
		from += 1ull << bits;
	}
	return 0;
}

/* Said of the pool that takes most. */
static int too_many(struct plan *p, size_t total, uint32_t room)
{
	const struct nat_plan *o = p->out;
	size_t most = 0, n;
	char text[160];

	for (size_t i = 0; i < o->n_pools; i++) {
		struct piece *v = o->pools[i].runs ? pieces_of(o, o->pools[i].first, o->pools[i].n, &n) : NULL;
		size_t count = v ? prefixes_count(o, v, n) : 0;

		free(v);
		if (count <= most)
			continue;
		most = count;
		p->cfg = o->pools[i].runs;
	}
	if (!most)
		p->cfg = o->statics[o->n_statics - 1].cfg;
	snprintf(text, sizeof(text),
		 "%zu, of which at most %u are allowed; ranges that begin and end at round addresses take few", total, room);
	return plan_bad(p, most ? "to" : NULL, "with this, static rules (2 each) and the ranges of large pools are prefixes: %s",
			text);
}

static int by_prefix(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct nat_static_key));
}

int plan_prefixes(struct plan *p)
{
	struct nat_plan *o = p->out;
	uint32_t room = table_capacity(p->sw->nat->statics);
	struct piece *v;
	size_t n, total;
	int err = 0;

	v = pieces_of(o, 0, o->n_members, &n);
	if (!v)
		return -ENOMEM;
	total = 2 * o->n_statics + prefixes_count(o, v, n);
	if (total > room)
		err = too_many(p, total, room);
	for (size_t i = 0; !err && i < n; i++)
		err = prefixes_add(o, &v[i]);
	if (o->n_runs)
		qsort(o->runs, o->n_runs, sizeof(*o->runs), by_prefix);
	free(v);
	return err;
}
