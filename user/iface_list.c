/* iface_list.c: `interface show`: those that a query asks for, by name, whole or by pages. */
#include "iface_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "page.h"

struct listing {
	struct sw *sw;
	char name[IFNAMSIZ], state[8], after[IFNAMSIZ]; /* "": any */
	char vrf[SLUICE_LABEL];
	uint32_t vlan; /* 0: any */
};

static bool wanted(const struct listing *l, const struct iface_cfg *cfg)
{
	return (!*l->name || !strcmp(l->name, cfg->name)) && (!*l->vrf || !strcmp(l->vrf, cfg->vrf)) &&
	       (!l->vlan || cfg->vlan == l->vlan) && (!*l->state || !strcmp(l->state, iface_state(l->sw, cfg)));
}

static int compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* The model may be another one at the next step: all at once, they are no more than some thousands. */
static int gather(void *arg, struct page *p)
{
	struct listing *l = arg;
	const struct model *m = l->sw->model;
	char name[IFNAMSIZ];
	size_t i;

	for (i = 0; i < m->n_ifaces; i++)
		if (strcmp(m->ifaces[i].name, l->after) > 0 && wanted(l, &m->ifaces[i])) {
			snprintf(name, sizeof(name), "%s", m->ifaces[i].name);
			page_offer(p, name);
		}
	return 0;
}

static json_t *show(void *arg, const void *key)
{
	struct listing *l = arg;
	const struct iface_cfg *cfg = model_iface(l->sw->model, key);

	return cfg ? iface_show_one(l->sw, cfg) : NULL;
}

static void cursor_text(const void *key, char buf[PAGE_CURSOR])
{
	snprintf(buf, PAGE_CURSOR, "%s", (const char *)key);
}

static int begin_after(void *arg, const char *cursor)
{
	struct listing *l = arg;

	if (strlen(cursor) >= sizeof(l->after))
		return -EINVAL;
	strcpy(l->after, cursor);
	return 0;
}

static int parse(struct sw *sw, const struct http_request *rq, struct listing *l, struct errs *errs)
{
	const char *name = http_query(rq, "name"), *vrf = http_query(rq, "vrf"), *vlan = http_query(rq, "vlan"),
		   *state = http_query(rq, "state");

	if (name && !model_iface(sw->model, name))
		return errs_fail(errs, ENOENT, "there is no interface '%.32s'", name);
	if (vrf && !model_vrf(sw->model, vrf))
		return errs_fail(errs, ENOENT, "there is no VRF '%.32s'", vrf);
	if (vlan && u32_parse(vlan, 1, 4094, &l->vlan))
		return errs_fail(errs, EINVAL, "vlan: '%.32s' is not a number in 1..4094", vlan);
	if (state && strcmp(state, "up") && strcmp(state, "down") && strcmp(state, "absent"))
		return errs_fail(errs, EINVAL, "'%.32s' is no state of an interface: up, down or absent", state);
	snprintf(l->name, sizeof(l->name), "%s", name ? name : "");
	snprintf(l->vrf, sizeof(l->vrf), "%s", vrf ? vrf : "");
	snprintf(l->state, sizeof(l->state), "%s", state ? state : "");
	return 0;
}

int iface_list(struct sw *sw, const struct http_request *rq, struct http_stream *ret, struct errs *errs)
{
	static const struct page_source source = {.noun = "interfaces",
						  .size = IFNAMSIZ,
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
	l->sw = sw;
	r = parse(sw, rq, l, errs);
	if (r) {
		free(l);
		return r;
	}
	return page_answer(&source, l, rq, ret, errs);
}
