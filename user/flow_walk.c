/* flow_walk.c: walks the flow table in slices (flow_walk.h); lists and ends connections by order. flow_count.c counts them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <event2/buffer.h>
#include "clock.h"
#include "flow_text.h"
#include "flow_walk.h"

#define SLICE_NS    2000000u	/* of work in one turn */
#define PIECE_BYTES (512 << 10) /* of a listing */
#define CHUNK	    8192	/* slots between looks at the clock, */
#define CHUNK_LOOKS 64		/* or connections of which both directions were looked up for the filter */

/* ---- names */

static int find_vrf(void *arg, const char *name)
{
	struct sw *sw = arg;

	return model_vrf(sw->model, name) ? vrf_id(sw, name) : -1;
}

static int find_iface(void *arg, const char *name)
{
	uint16_t id = iface_id(arg, name);

	return id ? id : -1;
}

static int find_rule(void *arg, const char *name)
{
	uint16_t id = nat_rule_id(arg, name) ?: nat_rule_former_id(arg, name);

	return id ? id : -1;
}

int flow_walk_filter(struct sw *sw, const char *text, struct flow_filter **ret, struct errs *errs)
{
	const struct flow_names names = {find_vrf, find_iface, find_rule, sw};
	struct flow_filter_error why;
	int err;

	*ret = NULL;
	if (!text || !text[strspn(text, " \t\n")])
		return 0;
	err = flow_filter_parse(text, &names, ret, &why);
	if (err == -EINVAL)
		return errs_column(errs, "filter", why.column, why.text);
	return err;
}

/* ---- walking */

int flow_walk_open(struct flow_walk *w, struct sw *sw, const char *filter, struct errs *errs)
{
	memset(w, 0, sizeof(*w));
	w->flows = sw->flows;
	w->begin_ns = clock_now_ns();
	memcpy(w->was, sw->flows->tab, sizeof(w->was));
	return flow_walk_filter(sw, filter, &w->filter, errs);
}

void flow_walk_close(struct flow_walk *w)
{
	flow_filter_free(w->filter);
}

/* An entry's place among the slots is that of its hash among all hashes, so the same part of a table of another size has about
 * the same entries. */
bool flow_walk_moved(struct flow_walk *w, bool restart)
{
	const struct flowtab *now = w->flows->tab;

	if (now[0].entry == w->was[0].entry && now[1].entry == w->was[1].entry)
		return false;
	if (restart) {
		w->tab = 0;
		w->next = w->n = w->given = 0;
	} else if (w->tab < 2) {
		w->next = (uint32_t)((uint64_t)w->next * now[w->tab].n / w->was[w->tab].n);
	}
	memcpy(w->was, now, sizeof(w->was));
	return true;
}

/* Looks at some slots, or at some more if they are empty; what is meant goes into the batch. */
static void gather(struct flow_walk *w)
{
	struct flowtab *tab = &w->flows->tab[w->tab];
	struct flow_tuple key;
	struct flow_key6 raw;
	unsigned looked = 0;

	w->n = w->given = 0;
	for (unsigned i = 0; i < CHUNK && w->next < tab->n && w->n < FLOW_WALK_BATCH && looked < CHUNK_LOOKS; i++) {
		uint32_t slot = w->next++, word = flowtab_word(tab, slot);
		struct flow_pair *p = &w->pair[w->n];
		struct flow *f = &w->flow[w->n];

		if (!flowtab_is_live(word) || flowtab_entry(tab, slot)->flags & FLOW_F_REPLY ||
		    !flowtab_read(tab, slot, word, &raw, f))
			continue;
		flow_tuple_from_key(tab->family, &raw, &key);
		flow_pair_of(w->flows, &key, f, w->now_ns, p);
		if (flow_filter_match(w->filter, p)) {
			w->n++;
			if (w->whole && !p->whole)
				flow_prefetch(w->flows, &p->back);
		}
		looked += p->whole;
	}
	if (w->next < tab->n)
		return;
	w->tab++;
	w->next = 0;
}

bool flow_walk_some(struct flow_walk *w, bool (*fn)(struct flow_pair *p, const struct flow *f, void *arg), void *arg)
{
	w->now_ns = clock_now_ns();
	do {
		for (; w->given < w->n; w->given++)
			if (!fn(&w->pair[w->given], &w->flow[w->given], arg)) {
				w->given++;
				return true;
			}
		if (w->tab == 2)
			return false;
		gather(w);
	} while (clock_now_ns() - w->now_ns < SLICE_NS);
	return true;
}

/* ---- listing */

struct listing {
	struct flow_walk walk;
	uint32_t limit, n;
	bool cells, begun, more; /* there are more than the limit lets through */
	struct evbuffer *out;	 /* of this turn */
	struct line line;
};

static bool list_one(struct flow_pair *p, const struct flow *f, void *arg)
{
	struct listing *l = arg;

	l->line.len = 0;
	if (l->limit && l->n == l->limit) {
		l->more = true;
		return false;
	}
	if (l->cells) {
		flow_text_cells(l->walk.flows->sw, p, &l->line);
		line_put(&l->line, "\n");
	} else {
		line_put(&l->line, l->n ? ",\n{" : "{");
		flow_text_json(l->walk.flows->sw, p, &l->line);
		line_put(&l->line, "}");
	}
	evbuffer_add(l->out, l->line.text, l->line.len);
	l->n++;
	return (l->n != l->limit || l->cells) && evbuffer_get_length(l->out) < PIECE_BYTES;
}

static int list_next(void *arg, struct evbuffer *out)
{
	struct listing *l = arg;
	bool more;

	l->out = out;
	l->line.len = 0;
	if (!l->begun && l->cells)
		flow_text_titles(l->walk.flows->sw, &l->line);
	if (!l->begun)
		line_put(&l->line, l->cells ? "\n" : "[");
	evbuffer_add(out, l->line.text, l->line.len);
	l->begun = true;
	flow_walk_moved(&l->walk, false);
	/* People are told that there are more, which one more has to be found for; who asks for JSON has counted. */
	more = flow_walk_some(&l->walk, list_one, l) && !l->more && (!l->limit || l->n < l->limit || l->cells);
	if (!more && !l->cells)
		evbuffer_add(out, "]\n", 2);
	if (l->more)
		evbuffer_add_printf(out, "there are more than these %u\n", l->limit);
	return more ? HTTP_MORE : HTTP_END;
}

static void list_free(void *arg)
{
	struct listing *l = arg;

	flow_walk_close(&l->walk);
	free(l);
}

int flow_list(struct sw *sw, const struct flow_query *q, struct http_stream *ret, struct errs *errs)
{
	struct listing *l = calloc(1, sizeof(*l));
	int err = l ? flow_walk_open(&l->walk, sw, q->filter, errs) : -ENOMEM;

	if (err) {
		free(l);
		return err;
	}
	l->limit = q->limit;
	l->cells = q->cells;
	l->walk.whole = true;
	*ret = (struct http_stream){list_next, list_free, l, q->cells ? "text/tab-separated-values; charset=utf-8" : NULL};
	return 0;
}

/* ---- ending */

struct flush {
	struct flow_walk walk;
	uint64_t n, n6; /* ended, and those of IPv6 among them */
};

/* Those that have begun since may be the same ones again. */
static bool flush_one(struct flow_pair *p, const struct flow *f, void *arg)
{
	struct flush *fl = arg;

	if (p->created_ns < fl->walk.begin_ns && flow_end(fl->walk.flows, &p->key, f, FLOW_WHY_FLUSH)) {
		fl->n++;
		fl->n6 += p->key.family == 6;
	}
	return true;
}

/* How many there are, until a pass has counted them again. */
static void count_less(struct flows *flows, uint64_t n4, uint64_t n6)
{
	uint64_t had6 = flows->counted6, had4 = flows->counted - had6;

	flows->counted6 = had6 > n6 ? had6 - n6 : 0;
	flows->counted = flows->counted6 + (had4 > n4 ? had4 - n4 : 0);
}

static int flush_next(void *arg, struct evbuffer *out)
{
	struct flush *fl = arg;

	flow_walk_moved(&fl->walk, true);
	if (flow_walk_some(&fl->walk, flush_one, fl))
		return HTTP_MORE;
	count_less(fl->walk.flows, fl->n - fl->n6, fl->n6);
	/* Mappings and ports that nobody uses any more go with the next pass. */
	flow_age_soon(fl->walk.flows);
	evbuffer_add_printf(out, "{\"flushed\":%llu}\n", (unsigned long long)fl->n);
	return HTTP_END;
}

static void flush_free(void *arg)
{
	struct flush *fl = arg;

	flow_walk_close(&fl->walk);
	free(fl);
}

int flow_flush(struct sw *sw, const struct flow_query *q, struct http_stream *ret, struct errs *errs)
{
	struct flush *fl = calloc(1, sizeof(*fl));
	int err = fl ? flow_walk_open(&fl->walk, sw, q->filter, errs) : -ENOMEM;

	if (!err && !fl->walk.filter)
		err = errs_fail(errs, EINVAL, "which ones? a filter, or `all`");
	if (err) {
		free(fl);
		return err;
	}
	fl->walk.whole = true;
	*ret = (struct http_stream){.next = flush_next, .free = flush_free, .arg = fl};
	return 0;
}
