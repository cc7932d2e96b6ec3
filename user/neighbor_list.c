/* neighbor_list.c: `neighbor show`: those that a query asks for, in the order of interfaces and addresses, whole or by pages. */
#include "neighbor_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "clock.h"
#include "page.h"

#define STEP 64 /* buckets */

static const char *state_name(const struct neighbor_entry *e)
{
	static const struct {
		uint16_t state;
		const char *name;
	} names[] = {{NUD_PERMANENT, "permanent"},  {NUD_REACHABLE, "reachable"}, {NUD_NOARP, "noarp"},
		     {NUD_DELAY, "delay"},	    {NUD_PROBE, "probe"},	  {NUD_STALE, "stale"},
		     {NUD_INCOMPLETE, "incomplete"}};
	size_t i;

	if (e->fixed.wanted)
		return "static";
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (e->state & names[i].state)
			return names[i].name;
	if (e->flags & NEIGHBOR_F_ASKED)
		return "incomplete";
	return e->failed_s || e->state & NUD_FAILED ? "failed" : "none";
}

static json_t *show_one(struct neighbors *ns, const struct neighbor_entry *e)
{
	const char *name = iface_name(ns->sw, e->key.iface);
	char text[ADDR_TEXT], mac[MAC_TEXT];
	json_t *o = json_object();
	struct neighbor n;

	json_object_set_new(o, "address", json_string(addr_text(&e->key.addr, text)));
	if (name)
		json_object_set_new(o, "interface", json_string(name));
	if (e->fixed.wanted || e->state & NUD_USABLE)
		json_object_set_new(o, "mac", json_string(mac_text(e->fixed.wanted ? e->fixed.mac : e->mac, mac)));
	json_object_set_new(o, "state", json_string(state_name(e)));
	json_object_set_new(o, "offloaded", json_boolean(e->stored));
	if (e->stored && !table_lookup(ns->table, &e->key, &n) && n.flags & NEIGHBOR_F_VALID && n.used_ns)
		json_object_set_new(o, "used_s",
				    json_integer((json_int_t)(clock_now_ns() / CLOCK_SECOND_NS - n.used_ns / CLOCK_SECOND_NS)));
	return o;
}

/* ---- which */

struct filter {
	struct prefix to; /* family 0: any */
	uint16_t iface;	  /* 0: any */
	bool has_vrf;
	uint16_t vrf;
	uint8_t family;	   /* 0: any */
	const char *state; /* a constant; NULL: any */
};

/* Entries come and go while the list is told, and some may be met twice: page.h tells them once. */
struct listing {
	struct neighbors *ns;
	struct filter filter;
	bool has_after;
	struct neighbor_key after;
	size_t at; /* the next bucket */
};

static bool wanted(const struct listing *l, const struct neighbor_entry *e)
{
	const struct filter *f = &l->filter;
	struct iface iface;

	if (!iface_name(l->ns->sw, (uint16_t)e->key.iface)) /* the interface went, and it goes next */
		return false;
	if (f->iface && e->key.iface != f->iface)
		return false;
	if (f->has_vrf && (iface_get(l->ns->sw, (uint16_t)e->key.iface, &iface) || iface.vrf != f->vrf))
		return false;
	if ((f->family && addr_family(&e->key.addr) != f->family) || (f->to.family && !prefix_contains(&f->to, &e->key.addr)))
		return false;
	return !f->state || !strcmp(f->state, state_name(e));
}

static int compare(const void *x, const void *y)
{
	const struct neighbor_key *a = x, *b = y;

	if (a->iface != b->iface)
		return a->iface < b->iface ? -1 : 1;
	if (addr_family(&a->addr) != addr_family(&b->addr))
		return addr_family(&a->addr) < addr_family(&b->addr) ? -1 : 1;
	return memcmp(&a->addr, &b->addr, sizeof(a->addr));
}

static int gather(void *arg, struct page *p)
{
	struct listing *l = arg;
	const struct hash *h = &l->ns->entries;
	const struct hash_node *node;

	for (int i = 0; i < STEP && l->at < h->n_buckets; i++, l->at++)
		for (node = h->buckets[l->at]; node; node = node->next) {
			const struct neighbor_entry *e = hash_entry(node, const struct neighbor_entry, node);

			if ((!l->has_after || compare(&e->key, &l->after) > 0) && wanted(l, e))
				page_offer(p, &e->key);
		}
	return l->at < h->n_buckets;
}

static json_t *show(void *arg, const void *key)
{
	const struct neighbor_key *k = key;
	struct listing *l = arg;
	const struct neighbor_entry *e = neighbor_find(l->ns, (uint16_t)k->iface, &k->addr);

	return e ? show_one(l->ns, e) : NULL;
}

/* The interface's id, and the address. */
static void cursor_text(const void *key, char buf[PAGE_CURSOR])
{
	const struct neighbor_key *k = key;
	char text[ADDR_TEXT];

	snprintf(buf, PAGE_CURSOR, "%u,%s", k->iface, addr_text(&k->addr, text));
}

static int cursor_parse(const char *text, struct neighbor_key *ret)
{
	const char *comma = strchr(text, ',');
	char id[8] = "";
	uint32_t iface;
	uint8_t family;

	if (!comma || comma - text >= (int)sizeof(id))
		return -EINVAL;
	memcpy(id, text, (size_t)(comma - text));
	memset(ret, 0, sizeof(*ret));
	if (u32_parse(id, 0, UINT16_MAX, &iface) || addr_parse(comma + 1, &ret->addr, &family))
		return -EINVAL;
	ret->iface = iface;
	return 0;
}

static int begin_after(void *arg, const char *cursor)
{
	struct listing *l = arg;

	l->has_after = true;
	return cursor_parse(cursor, &l->after);
}

/* ---- the words of a request */

static int parse_state(const char *name, const char **ret, struct errs *errs)
{
	static const char *const names[] = {"permanent", "reachable",  "noarp",	 "delay", "probe",
					    "stale",	 "incomplete", "failed", "none",  "static"};
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(name, names[i])) {
			*ret = names[i];
			return 0;
		}
	return errs_fail(errs, EINVAL, "'%.32s' is no state of a neighbour: reachable, stale, failed, permanent …", name);
}

static int parse(struct sw *sw, const struct http_request *rq, struct filter *f, struct errs *errs)
{
	const char *address = http_query(rq, "address"), *to = http_query(rq, "to"), *iface = http_query(rq, "interface"),
		   *vrf = http_query(rq, "vrf"), *family = http_query(rq, "family"), *state = http_query(rq, "state");

	if (address && to)
		return errs_fail(errs, EINVAL, "one of `address` and `to`, not both");
	if (address && addr_parse(address, &f->to.addr, &f->to.family))
		return errs_fail(errs, EINVAL, "'%.64s' is no address: 192.0.2.1 or 2001:db8::1 would be one", address);
	if (address)
		f->to.len = f->to.family == 4 ? 32 : 128;
	if (to && prefix_parse(to, 0, false, &f->to))
		return errs_fail(errs, EINVAL, "'%.64s' is no prefix: 192.0.2.0/24 or 2001:db8::/32 would be one", to);
	if (iface && !(f->iface = iface_id(sw, iface)))
		return errs_fail(errs, ENOENT, "there is no interface '%.32s'", iface);
	if (vrf && !model_vrf(sw->model, vrf))
		return errs_fail(errs, ENOENT, "there is no VRF '%.32s'", vrf);
	f->has_vrf = vrf;
	f->vrf = vrf ? vrf_id(sw, vrf) : 0;
	if (family && family_parse(family, &f->family))
		return errs_fail(errs, EINVAL, "family: '%.32s' is not 4 or 6", family);
	return state ? parse_state(state, &f->state, errs) : 0;
}

/* The address of the filter is known behind one interface at least that is asked for. */
static bool any_wanted(const struct listing *l)
{
	const struct neighbor_entry *e;

	for (uint16_t iface = 1; iface < IFACE_MAX; iface++) {
		e = neighbor_find(l->ns, iface, &l->filter.to.addr);
		if (e && wanted(l, e))
			return true;
	}
	return false;
}

int neighbor_list(struct sw *sw, const struct http_request *rq, struct http_stream *ret, struct errs *errs)
{
	static const struct page_source source = {.noun = "neighbors",
						  .size = sizeof(struct neighbor_key),
						  .compare = compare,
						  .gather = gather,
						  .show = show,
						  .cursor = cursor_text,
						  .after = begin_after,
						  .free = free};
	struct listing *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return errs_fail(errs, ENOMEM, "out of memory");
	r = parse(sw, rq, &l->filter, errs);
	if (r) {
		free(l);
		return r;
	}
	l->ns = sw->neighbors;
	if (http_query(rq, "address") && !any_wanted(l)) {
		free(l);
		return errs_fail(errs, ENOENT, "there is no such neighbour: %.64s", http_query(rq, "address"));
	}
	return page_answer(&source, l, rq, ret, errs);
}
