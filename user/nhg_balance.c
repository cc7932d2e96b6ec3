/* nhg_balance.c: the sharing of a group's buckets among its members (declared in nexthop.h), apart from all bookkeeping.
 */
#include "nexthop.h"

#include <string.h>

struct share {
	uint32_t have, quota;
	uint64_t rest; /* of the division, by which the last buckets are given */
};

static size_t member_of(const struct nhg_member *m, size_t n, uint32_t nexthop)
{
	size_t lo = 0, hi = n, mid;

	while (lo < hi) {
		mid = (lo + hi) / 2;
		if (m[mid].nexthop < nexthop)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < n && m[lo].nexthop == nexthop ? lo : n;
}

/* Largest remainders, but who holds one more than its floor already comes first: else a change of one member would move the
 * odd buckets of the others about. */
static void quotas(struct share *s, uint32_t n, const struct nhg_member *m, size_t n_members)
{
	uint64_t total = 0, given = 0;
	size_t i, best;

	for (i = 0; i < n_members; i++)
		total += m[i].weight;
	for (i = 0; i < n_members; i++) {
		s[i].quota = (uint64_t)n * m[i].weight / total;
		s[i].rest = (uint64_t)n * m[i].weight % total + 1;
		if (s[i].have > s[i].quota)
			s[i].rest += total;
		given += s[i].quota;
	}
	for (; given < n; given++) {
		best = 0;
		for (i = 1; i < n_members; i++)
			if (s[i].rest > s[best].rest)
				best = i;
		s[best].quota++;
		s[best].rest = 0;
	}
	/* Nobody's weight is nothing, be it too small for a bucket. */
	for (i = 0; i < n_members; i++) {
		if (s[i].quota || n < n_members)
			continue;
		best = 0;
		for (size_t k = 1; k < n_members; k++)
			if (s[k].quota > s[best].quota)
				best = k;
		s[best].quota--;
		s[i].quota++;
	}
}

bool nhg_balance(struct nhg_bucket *b, uint32_t n, const struct nhg_member *m, size_t n_members)
{
	struct share s[NHG_MEMBERS];
	size_t owner, to = 0;
	bool moved = false;
	uint32_t i;

	memset(s, 0, sizeof(s[0]) * n_members);
	for (i = 0; i < n; i++) {
		owner = member_of(m, n_members, b[i].nexthop);
		if (owner < n_members)
			s[owner].have++;
	}
	quotas(s, n, m, n_members);
	for (i = 0; i < n; i++) {
		owner = member_of(m, n_members, b[i].nexthop);
		if (owner < n_members && s[owner].have <= s[owner].quota)
			continue;
		if (owner < n_members)
			s[owner].have--;
		while (s[to].have >= s[to].quota)
			to = (to + 1) % n_members;
		s[to].have++;
		__atomic_store_n(&b[i].nexthop, m[to].nexthop, __ATOMIC_RELAXED);
		to = (to + 1) % n_members;
		moved = true;
	}
	return moved;
}
