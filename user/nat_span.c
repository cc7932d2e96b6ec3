/* nat_span.c: see nat_span.h. */
#include <errno.h>
#include <stdlib.h>
#include "nat_plan_priv.h"
#include "nat_span.h"

uint64_t span_overlap(const struct span *a, const struct span *b)
{
	uint64_t from = span_low(&a->first) > span_low(&b->first) ? span_low(&a->first) : span_low(&b->first);
	uint64_t end = span_end(a) < span_end(b) ? span_end(a) : span_end(b);

	return span_beside(a, b) && end > from ? end - from : 0;
}

int span_add(struct spans *s, struct span one)
{
	struct span *v = plan_grow(s->v, s->n, sizeof(*v));

	if (!v)
		return -ENOMEM;
	s->v = v;
	v[s->n++] = one;
	return 0;
}

static int by_place(const void *a, const void *b)
{
	const struct span *x = a, *y = b;

	return x->vrf != y->vrf ? (x->vrf < y->vrf ? -1 : 1) : memcmp(&x->first, &y->first, sizeof(x->first));
}

void spans_merge(struct spans *s)
{
	size_t n = 0;

	if (s->n)
		qsort(s->v, s->n, sizeof(*s->v), by_place);
	for (size_t i = 0; i < s->n; i++) {
		struct span *last = n ? &s->v[n - 1] : NULL;

		if (last && span_overlap(last, &s->v[i])) {
			if (span_end(&s->v[i]) > span_end(last))
				last->n = span_end(&s->v[i]) - span_low(&last->first);
			continue;
		}
		s->v[n++] = s->v[i];
	}
	s->n = n;
}

/* The first address of the next /96. */
static struct addr next_first(struct addr a)
{
	for (int i = 11; i >= 0; i--)
		if (++a.a8[i])
			break;
	return span_at(a, 0);
}

int spans_add_range(struct spans *s, const struct addr_range *r, uint16_t vrf, bool routed)
{
	struct span one = {.first = r->first, .vrf = vrf};
	uint64_t left = POOL_RUN_MAX;
	int err = 0;

	for (bool last = false; !err && left && !last; one.first = next_first(one.first)) {
		last = !memcmp(&one.first, &r->last, 12);
		one.n = (last ? span_low(&r->last) + 1 : 1ull << 32) - span_low(&one.first);
		if (routed && r->family == 6 && !one.first.a64[1] && memcmp(&r->first, &r->last, sizeof(r->first))) {
			one.first = span_at(one.first, 1);
			one.n--;
		}
		/* Of IPv4 all, in as many runs as it takes. */
		if (r->family == 6 && one.n > left)
			one.n = left;
		left -= one.n < left ? one.n : left;
		err = one.n ? span_add(s, one) : 0;
	}
	return err;
}

void spans_free(struct spans *s)
{
	free(s->v);
	*s = (struct spans){NULL, 0};
}
