/* fdb.c: sluiced's half of the forwarding database; the data plane (bpf/fdb.h) learns. Between the model's static stations,
 * the interfaces' own MACs and the map `fdb`.
 *
 * A static station whose port waits is entered when the port attaches. Learned stations go when they age out (802.1Q-2018
 * 8.8.3), when their port is detached or goes down, and when the port no longer carries their VLAN. Ageing looks at a slice of
 * the table each second, so that the event loop is never held up: a station lives at most AGEING_ROUND_S seconds longer than
 * configured.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "clock.h"
#include "hash.h"
#include "log.h"
#include "loop.h"
#include "slices.h"
#include "sw.h"

#define AGEING_ROUND_S 8
#define SLICE_MIN      4096
#define SLICE_NS       2000000
#define STEP	       128 /* stations of a listing or a flush between two looks at the clock */

struct fixed {
	struct fdb_key key;
	struct fdb_entry e;
};

struct fdb {
	struct table *t;
	struct event *tick;
	void *cursor; /* where ageing stands */
	/* What must stand in the table, sorted by key, and the walk that takes out what may not: in slices after an event. */
	struct fixed *fixed;
	size_t n_fixed;
	struct event *more;
	void *sift_cursor;
	uint64_t signature; /* of what decides it, as of the last walk */
};

static void on_more(evutil_socket_t fd, short what, void *arg);

static bool is_learned(const struct fdb_entry *e)
{
	return !(e->flags & (FDB_F_STATIC | FDB_F_OWN));
}

/* Can a station of this VLAN be behind this port? */
static bool is_possible(const struct sw *sw, uint16_t vlan, uint16_t port)
{
	const struct port *p = port_entry(sw, port);

	return p && p->ifindex && vlan < VLAN_IDS && p->mode != PORT_ROUTED && p->mode != PORT_OBSERVE &&
	       (p->vlans[vlan / 64] >> (vlan % 64) & 1);
}

static bool is_down(const struct sw *sw, uint16_t port)
{
	const struct port *p = port_entry(sw, port);

	return !p || p->flags & PORT_F_DOWN;
}

uint16_t fdb_port_of(const struct sw *sw, const uint8_t mac[6], uint16_t vlan)
{
	struct fdb_key key = {.vlan = vlan};
	struct fdb_entry e;

	memcpy(key.mac, mac, sizeof(key.mac));
	return table_lookup(sw->fdb->t, &key, &e) ? 0 : e.port;
}

/* ---- ageing */

struct ageing {
	struct table *t;
	uint64_t now, limit_ns;
	bool ended; /* somebody's entry */
};

static int age_one(const void *key, void *value, void *arg)
{
	const struct fdb_entry *e = value;
	struct ageing *a = arg;

	if (is_learned(e) && e->seen_ns < a->now && a->now - e->seen_ns > a->limit_ns)
		a->ended |= !table_delete(a->t, key);
	return 0;
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct sw *sw = arg;
	struct ageing a = {
		.t = sw->fdb->t, .now = clock_now_ns(), .limit_ns = (uint64_t)sw->model->settings.fdb_ageing_s * CLOCK_SECOND_NS};
	size_t slice = table_capacity(a.t) / AGEING_ROUND_S;

	loop_doing("ageing stations");
	/* A walk that fails begins again at the next tick. */
	if (a.limit_ns)
		table_each_some(a.t, &sw->fdb->cursor, slice > SLICE_MIN ? slice : SLICE_MIN, age_one, &a);
	/* Flows name the port: a station that comes back elsewhere is new then, and not known to have moved. */
	if (a.ended)
		sw_epoch(sw);
}

int fdb_open(struct sw *sw, struct errs *errs)
{
	const struct timeval second = {.tv_sec = 1};

	sw->fdb = calloc(1, sizeof(*sw->fdb));
	if (!sw->fdb)
		return errs_fail(errs, ENOMEM, "out of memory");
	sw->fdb->t = table_get(sw->dp, "fdb");
	if (!sw->fdb->t)
		return errs_fail(errs, ENOENT, "the map fdb is missing");
	sw->fdb->tick = event_new(sw->base, -1, EV_PERSIST, on_tick, sw);
	sw->fdb->more = evtimer_new(sw->base, on_more, sw);
	if (!sw->fdb->tick || !sw->fdb->more || event_add(sw->fdb->tick, &second))
		return errs_fail(errs, ENOMEM, "out of memory");
	return 0;
}

void fdb_close(struct sw *sw)
{
	if (!sw->fdb)
		return;
	if (sw->fdb->tick)
		event_free(sw->fdb->tick);
	if (sw->fdb->more)
		event_free(sw->fdb->more);
	table_cursor_free(sw->fdb->cursor);
	table_cursor_free(sw->fdb->sift_cursor);
	free(sw->fdb->fixed);
	free(sw->fdb);
	sw->fdb = NULL;
}

/* ---- reconciliation */

struct pass {
	struct sw *sw;
	struct fixed *v; /* sorted by key */
	size_t n;
	bool changed;
};

static int by_key(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct fdb_key));
}

static void add_fixed(struct pass *p, const uint8_t mac[6], uint16_t vlan, uint16_t port, uint16_t flags)
{
	struct fixed *f = &p->v[p->n];

	memset(f, 0, sizeof(*f));
	memcpy(f->key.mac, mac, 6);
	f->key.vlan = vlan;
	f->e.port = port;
	f->e.flags = flags;
	p->n++;
}

/* The switch's own comes first: a static station of the same MAC does not override it. */
static int by_key_own_first(const void *a, const void *b)
{
	const struct fixed *x = a, *y = b;
	int order = by_key(a, b);

	return order ? order : (y->e.flags & FDB_F_OWN) - (x->e.flags & FDB_F_OWN);
}

/* What must stand in the table. */
static int gather(struct pass *p)
{
	const struct sw *sw = p->sw;
	const struct model *m = sw->model;
	struct iface i;
	size_t kept = 0;
	uint16_t id;

	p->v = calloc(m->n_ifaces + m->n_fdbs + 1, sizeof(*p->v));
	if (!p->v)
		return -ENOMEM;
	for (size_t k = 0; k < m->n_ifaces; k++)
		if (m->ifaces[k].vlan && !iface_get(sw, iface_id(sw, m->ifaces[k].name), &i) && i.port)
			add_fixed(p, i.mac, i.vlan, i.port, FDB_F_OWN | FDB_F_STATIC);
	for (size_t k = 0; k < m->n_fdbs; k++) {
		id = port_id(sw, m->fdbs[k].port);
		if (is_possible(sw, m->fdbs[k].vlan, id))
			add_fixed(p, m->fdbs[k].mac, m->fdbs[k].vlan, id, FDB_F_STATIC);
	}
	qsort(p->v, p->n, sizeof(*p->v), by_key_own_first);
	for (size_t k = 0; k < p->n; k++)
		if (!kept || by_key(&p->v[kept - 1], &p->v[k]))
			p->v[kept++] = p->v[k];
	p->n = kept;
	return 0;
}

static int sift(const void *key, void *value, void *arg)
{
	const struct fdb_entry *e = value;
	const struct fdb_key *k = key;
	struct pass *p = arg;
	bool fixed = bsearch(k, p->v, p->n, sizeof(*p->v), by_key);

	/* A station that sits behind a dead port may have moved: it is looked for, and found wherever it is now. */
	if (fixed || (is_learned(e) && is_possible(p->sw, k->vlan, e->port) && !is_down(p->sw, e->port)))
		return 0;
	p->changed = true;
	table_delete(p->sw->fdb->t, key);
	return 0;
}

static int delete_learned(const void *key, void *value, void *arg)
{
	if (!is_learned(value))
		return 0;
	table_delete(arg, key);
	return 1;
}

/* In a full table a station that was learned makes room. */
static int put(struct pass *p, const struct fixed *f)
{
	struct table *t = p->sw->fdb->t;
	struct fdb_entry have;
	int err;

	if (!table_lookup(t, &f->key, &have) && have.port == f->e.port && have.flags == f->e.flags)
		return 0;
	p->changed = true;
	err = table_set(t, &f->key, &f->e);
	if (err == -E2BIG && table_each(t, delete_learned, t) == 1)
		err = table_set(t, &f->key, &f->e);
	return err;
}

/* Of all that fixed() and is_possible() and is_down() look at. */
static uint64_t signature_of(const struct pass *p)
{
	uint64_t s = hash_mix_bytes(1, p->v, p->n * sizeof(*p->v));
	const struct port *port;

	for (uint16_t id = 1; id < PORT_MAX; id++) {
		port = port_entry(p->sw, id);
		s = port ? hash_mix_bytes(s, port, sizeof(*port)) : hash_mix(s, id);
	}
	return s;
}

static int begin(struct pass *p)
{
	struct fdb *fdb = p->sw->fdb;
	int err = gather(p);

	if (err) {
		free(p->v);
		return err;
	}
	free(fdb->fixed);
	fdb->fixed = p->v;
	fdb->n_fixed = p->n;
	return 0;
}

/* The walk begins anew: one under way is over. */
static void sift_begin(struct fdb *fdb, uint64_t signature)
{
	table_cursor_free(fdb->sift_cursor);
	fdb->sift_cursor = NULL;
	fdb->signature = signature;
	evtimer_del(fdb->more);
}

static int put_all(struct pass *p)
{
	int err = 0;

	for (size_t i = 0; !err && i < p->n; i++)
		err = put(p, &p->v[i]);
	return err;
}

static int end(struct pass *p, int err, struct errs *errs)
{
	if (p->changed)
		sw_epoch(p->sw);
	if (err == -E2BIG)
		return errs_fail(errs, E2BIG, "fdb: %zu static stations do not fit: tables.fdb is %u", p->n,
				 table_capacity(p->sw->fdb->t));
	return err ? errs_fail(errs, -err, "fdb: %s", strerror(-err)) : 0;
}

int fdb_reconcile(struct sw *sw, struct errs *errs)
{
	struct pass p = {.sw = sw};
	int err = begin(&p);

	if (!err)
		err = table_each(sw->fdb->t, sift, &p);
	sift_begin(sw->fdb, err ? 0 : signature_of(&p));
	if (!err)
		err = put_all(&p);
	return end(&p, err, errs);
}

static int sift_on(struct sw *sw, struct errs *errs)
{
	struct pass p = {.sw = sw, .v = sw->fdb->fixed, .n = sw->fdb->n_fixed};
	const struct timeval at_once = {0};
	uint64_t begun = clock_now_ns();
	int err;

	do
		err = table_each_some(sw->fdb->t, &sw->fdb->sift_cursor, STEP, sift, &p);
	while (!err && sw->fdb->sift_cursor && clock_now_ns() - begun < SLICE_NS);
	if (sw->fdb->sift_cursor)
		evtimer_add(sw->fdb->more, &at_once);
	if (err) /* from the beginning, with the next event */
		sw->fdb->signature = 0;
	return end(&p, err, errs);
}

static void on_more(evutil_socket_t fd, short what, void *arg)
{
	struct errs errs = {0};

	loop_doing("stations whose port changed");
	if (sift_on(arg, &errs))
		log_errs("stations", &errs);
	errs_free(&errs);
}

int fdb_settle(struct sw *sw, struct errs *errs)
{
	struct pass p = {.sw = sw};
	uint64_t signature;
	int err = begin(&p), r;

	if (err)
		return end(&p, err, errs);
	signature = signature_of(&p);
	r = end(&p, put_all(&p), errs);
	if (r || signature == sw->fdb->signature)
		return r;
	sift_begin(sw->fdb, signature);
	return sift_on(sw, errs);
}

/* ---- flushing */

struct flush {
	struct sw *sw;
	void *cursor;
	uint64_t ports[PORT_MAX / 64]; /* a bit for each */
	bool of_ports;		       /* else of all */
	int vlan;		       /* 0: all */
	int n;
};

static int flush_one(const void *key, void *value, void *arg)
{
	const struct fdb_entry *e = value;
	const struct fdb_key *k = key;
	struct flush *f = arg;

	if (!is_learned(e) || (f->vlan && k->vlan != f->vlan))
		return 0;
	if (f->of_ports && (e->port >= PORT_MAX || !(f->ports[e->port / 64] >> (e->port % 64) & 1)))
		return 0;
	if (!table_delete(f->sw->fdb->t, key))
		f->n++;
	return 0;
}

void fdb_forget_ports(struct sw *sw, const uint64_t ids[PORT_MAX / 64])
{
	struct flush f = {.sw = sw, .of_ports = true};

	memcpy(f.ports, ids, sizeof(f.ports));
	table_each(sw->fdb->t, flush_one, &f);
	if (f.n)
		sw_epoch(sw);
}

static int flush_step(void *arg, json_t *list)
{
	struct flush *f = arg;
	int before = f->n, err = table_each_some(f->sw->fdb->t, &f->cursor, STEP, flush_one, f);

	if (f->n != before)
		sw_epoch(f->sw);
	return err ? err : f->cursor != NULL;
}

static json_t *flush_end(void *arg)
{
	return json_pack("{s:i}", "flushed", ((struct flush *)arg)->n);
}

static void flush_free(void *arg)
{
	struct flush *f = arg;

	table_cursor_free(f->cursor);
	free(f);
}

int fdb_flush(struct sw *sw, int vlan, const char *port, struct http_stream *ret)
{
	uint16_t id = port ? port_id(sw, port) : 0;
	struct flush *f;

	if (port && !id)
		return -ENOENT;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->sw = sw;
	f->vlan = vlan;
	f->of_ports = port;
	f->ports[id / 64] |= 1ull << (id % 64);
	return slices_stream(&(struct slices){flush_step, flush_end, flush_free, f}, ret);
}

/* ---- showing */

struct listing {
	struct sw *sw;
	void *cursor;
	uint64_t now;
	json_t *list; /* of this step */
};

static int show_one(const void *key, void *value, void *arg)
{
	const struct fdb_entry *e = value;
	const struct fdb_key *k = key;
	struct listing *l = arg;
	const char *port = port_name(l->sw, e->port);
	char mac[MAC_TEXT];
	json_t *o;

	o = json_pack("{s:s, s:i, s:s, s:s}", "mac", mac_text(k->mac, mac), "vlan", k->vlan, "port", port ? port : "none", "type",
		      e->flags & FDB_F_OWN	? "own"
		      : e->flags & FDB_F_STATIC ? "static"
						: "learned");
	if (is_learned(e))
		json_object_set_new(
			o, "age", json_integer(l->now > e->seen_ns ? (json_int_t)((l->now - e->seen_ns) / CLOCK_SECOND_NS) : 0));
	json_array_append_new(l->list, o);
	return 0;
}

static int list_step(void *arg, json_t *list)
{
	struct listing *l = arg;
	int err;

	l->now = clock_now_ns();
	l->list = list;
	err = table_each_some(l->sw->fdb->t, &l->cursor, STEP, show_one, l);
	return err ? err : l->cursor != NULL;
}

static void list_free(void *arg)
{
	struct listing *l = arg;

	table_cursor_free(l->cursor);
	free(l);
}

int fdb_list(struct sw *sw, struct http_stream *ret)
{
	struct listing *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->sw = sw;
	return slices_stream(&(struct slices){list_step, NULL, list_free, l}, ret);
}
