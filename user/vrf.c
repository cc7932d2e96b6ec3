/* vrf.c: the noun `vrf`: which id a VRF's name has, and which of the kernel's tables belong to it.
 *
 * Between the model and everything whose keys hold a VRF's id. An id stays with its name as long as the VRF is in the
 * configuration, also over restarts: the map `vrfs` holds both. When a VRF goes, its id drains: flows, NAT's mappings and the
 * ports of fragments that remember it end in the next whole pass over the flows (flow_age.c), and only then may another VRF have
 * it. Until then the name finds its id again, so that a change that is rolled back loses nothing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "rules_other.h"

struct vrf_table {
	uint32_t table;
	uint16_t vrf;
	uint8_t rank;
};

struct vrfs {
	struct vrf *slot;	  /* the map, VRF_MAX elements, mmap-ed */
	struct table *fragments;  /* what is known of datagrams that come in fragments, by VRF and datagram */
	struct vrf_table *tables; /* sorted by table */
	size_t n_tables;
	bool passing[VRF_MAX]; /* drained when the pass under way began */
};

int vrf_open(struct sw *sw, struct errs *errs)
{
	struct table *t = table_get(sw->dp, "vrfs");
	struct vrfs *vs = calloc(1, sizeof(*vs));

	if (!vs)
		return errs_fail(errs, ENOMEM, "vrfs: no memory");
	sw->vrfs = vs;
	vs->slot = t ? table_map(t) : NULL;
	vs->fragments = table_get(sw->dp, "frag_datagrams");
	if (!vs->slot)
		return errs_fail(errs, ENODEV, "the map `vrfs` is missing or cannot be mapped");
	return vs->fragments ? 0 : errs_fail(errs, ENODEV, "the map `frag_datagrams` is missing");
}

void vrf_close(struct sw *sw)
{
	if (!sw->vrfs)
		return;
	free(sw->vrfs->tables);
	free(sw->vrfs);
	sw->vrfs = NULL;
}

void vrf_adopt(struct sw *sw, const struct model *former)
{
	struct vrfs *vs = sw->vrfs;

	if (vs->slot[0].flags)
		return;
	for (size_t i = former->n_vrfs; i-- > 0;) { /* slot 0 last: it says that the ids are known */
		snprintf(vs->slot[i].name, sizeof(vs->slot[i].name), "%s", former->vrfs[i].name);
		__atomic_store_n(&vs->slot[i].flags, VRF_F_USED, __ATOMIC_RELEASE);
	}
}

/* ---- what others ask */

uint16_t vrf_id(const struct sw *sw, const char *name)
{
	/* Most often, and asked for each of thousands of rules. */
	if (!strcmp(name, "default"))
		return 0;
	for (uint16_t id = 1; id < VRF_MAX; id++)
		if ((sw->vrfs->slot[id].flags & VRF_F_USED) && !strcmp(sw->vrfs->slot[id].name, name))
			return id;
	return 0;
}

const char *vrf_name(const struct sw *sw, uint16_t id)
{
	return id < VRF_MAX && sw->vrfs->slot[id].flags ? sw->vrfs->slot[id].name : NULL;
}

bool vrf_alive(const struct sw *sw, uint16_t id)
{
	return id < VRF_MAX && (sw->vrfs->slot[id].flags & VRF_F_USED);
}

uint32_t vrf_mark_get(const struct sw *sw, uint16_t id)
{
	return id && id < VRF_MAX ? sw->vrfs->slot[id].mark : 0;
}

void vrf_mark_set(struct sw *sw, uint16_t id, uint32_t mark)
{
	__atomic_store_n(&sw->vrfs->slot[id].mark, mark, __ATOMIC_RELAXED);
}

static int by_table(const void *a, const void *b)
{
	const struct vrf_table *x = a, *y = b;

	return (x->table > y->table) - (x->table < y->table);
}

bool vrf_of_table(const struct sw *sw, uint32_t table, uint16_t *ret_vrf, uint8_t *ret_rank)
{
	struct vrf_table key = {.table = table};
	const struct vrf_table *t = bsearch(&key, sw->vrfs->tables, sw->vrfs->n_tables, sizeof(key), by_table);

	if (!t)
		return false;
	*ret_vrf = t->vrf;
	*ret_rank = t->rank;
	return true;
}

/* ---- reconciliation */

static int read_tables(struct sw *sw)
{
	const struct model *m = sw->model;
	struct vrf_table *v = calloc(m->n_vrfs * VRF_TABLES + 1, sizeof(*v));
	size_t n = 0;

	if (!v)
		return -ENOMEM;
	for (size_t i = 0; i < m->n_vrfs; i++)
		for (size_t k = 0; k < m->vrfs[i].n_tables; k++)
			v[n++] = (struct vrf_table){m->vrfs[i].tables[k], i ? vrf_id(sw, m->vrfs[i].name) : 0, (uint8_t)k};
	qsort(v, n, sizeof(*v), by_table);
	free(sw->vrfs->tables);
	sw->vrfs->tables = v;
	sw->vrfs->n_tables = n;
	rules_other_changed(sw);
	return 0;
}

/* The name's id, of now or of just before; 0: none. */
static uint16_t slot_of(const struct vrfs *vs, const char *name)
{
	for (uint16_t id = 1; id < VRF_MAX; id++)
		if (vs->slot[id].flags && !strcmp(vs->slot[id].name, name))
			return id;
	return 0;
}

/* Which slots the model's VRFs have; new ones get free slots. */
static int assign(const struct vrfs *vs, const struct model *m, const char *ret[VRF_MAX], struct errs *errs)
{
	uint16_t id, free_id = 1;

	ret[0] = m->vrfs[0].name;
	for (size_t i = 1; i < m->n_vrfs; i++) {
		id = slot_of(vs, m->vrfs[i].name);
		if (id)
			ret[id] = m->vrfs[i].name;
	}
	for (size_t i = 1; i < m->n_vrfs; i++) {
		if (slot_of(vs, m->vrfs[i].name))
			continue;
		while (free_id < VRF_MAX && (ret[free_id] || vs->slot[free_id].flags))
			free_id++;
		if (free_id == VRF_MAX)
			return errs_fail(
				errs, EBUSY,
				"vrfs: no id is left for `%s` while flows of VRFs that are gone are being ended: try again "
				"in some seconds",
				m->vrfs[i].name);
		ret[free_id] = m->vrfs[i].name;
	}
	return 0;
}

int vrf_reconcile(struct sw *sw, struct errs *errs)
{
	const char *name[VRF_MAX] = {NULL};
	struct vrfs *vs = sw->vrfs;
	int r = assign(vs, sw->model, name, errs);

	if (r)
		return r;
	for (int id = 0; id < VRF_MAX; id++) {
		struct vrf *v = &vs->slot[id];

		if (name[id]) {
			if (!v->flags)
				snprintf(v->name, sizeof(v->name), "%s", name[id]);
			__atomic_store_n(&v->flags, VRF_F_USED, __ATOMIC_RELEASE);
			vs->passing[id] = false;
		} else if (v->flags & VRF_F_USED) {
			__atomic_store_n(&v->flags, VRF_F_DRAIN, __ATOMIC_RELEASE);
		}
	}
	r = read_tables(sw);
	return r ? errs_fail(errs, -r, "vrfs: %s", strerror(-r)) : 0;
}

/* ---- showing */

static json_t *show_interfaces(const struct model *m, const char *vrf)
{
	json_t *list = json_array();

	for (size_t i = 0; i < m->n_ifaces; i++)
		if (!strcmp(m->ifaces[i].vrf, vrf))
			json_array_append_new(list, json_string(m->ifaces[i].name));
	return list;
}

static json_t *show_one(struct sw *sw, const struct vrf_cfg *cfg, uint16_t id)
{
	json_t *tables = json_array(), *imports = model_vrf_imports(cfg);

	for (size_t i = 0; i < cfg->n_tables; i++)
		json_array_append_new(tables, json_integer(cfg->tables[i]));
	return json_pack("{s:s, s:i, s:s, s:o, s:o, s:o, s:o}", "name", cfg->name, "id", id, "state", "active", "tables", tables,
			 "interfaces", show_interfaces(sw->model, cfg->name), "routes", route_vrf_show(sw, id), "import",
			 imports);
}

json_t *vrf_show(struct sw *sw)
{
	const struct model *m = sw->model;
	json_t *list = json_array();

	for (size_t i = 0; i < m->n_vrfs; i++)
		json_array_append_new(list, show_one(sw, &m->vrfs[i], i ? vrf_id(sw, m->vrfs[i].name) : 0));
	for (int id = 1; id < VRF_MAX; id++)
		if (sw->vrfs->slot[id].flags & VRF_F_DRAIN)
			json_array_append_new(list, json_pack("{s:s, s:i, s:s}", "name", sw->vrfs->slot[id].name, "id", id,
							      "state", "draining"));
	return list;
}

/* ---- draining */

bool vrf_draining(const struct sw *sw)
{
	for (int id = 1; id < VRF_MAX; id++)
		if (sw->vrfs->slot[id].flags & VRF_F_DRAIN)
			return true;
	return false;
}

void vrf_pass_begin(struct sw *sw)
{
	for (int id = 1; id < VRF_MAX; id++)
		sw->vrfs->passing[id] = sw->vrfs->slot[id].flags & VRF_F_DRAIN;
}

static int forget_fragment(const void *key, void *value, void *arg)
{
	const struct frag_key *k = key;
	struct sw *sw = arg;

	if (!vrf_alive(sw, k->vrf))
		table_delete(sw->vrfs->fragments, key); /* one that is gone already is as good */
	return 0;
}

int vrf_pass_fragments(struct sw *sw, void **cursor, size_t max)
{
	return table_each_some(sw->vrfs->fragments, cursor, max, forget_fragment, sw);
}

void vrf_pass_end(struct sw *sw)
{
	for (uint16_t id = 1; id < VRF_MAX; id++) {
		struct vrf *v = &sw->vrfs->slot[id];

		if (!sw->vrfs->passing[id] || !(v->flags & VRF_F_DRAIN) || !route_vrf_empty(sw, id))
			continue;
		v->flags = 0;
		v->mark = 0;
		memset(v->name, 0, sizeof(v->name));
	}
}
