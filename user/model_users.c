/* model_users.c: who needs an item of the configuration, for the refusal to take it away.
 *
 * Stands between model_edit.c and the lists of a model. What is found here is what model_check() would miss, were the item gone:
 * in words of the item that was to go, instead of one for every line that names it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "model_priv.h"

/* Users of one kind. */
struct users {
	const char *word; /* of one: "route" */
	size_t n;
	char first[64]; /* what the first one is called; "": no names are told */
};

static void note(struct users *u, const char *name)
{
	if (!u->n++)
		snprintf(u->first, sizeof(u->first), "%s", name ? name : "");
}

/* "2 routes, 1 NAT rule (lan) and 2 interfaces (vlan10 …)"; caller frees. NULL: there are none (or no memory for the words). */
static char *users_text(const struct users *u, size_t n_kinds)
{
	size_t kinds = 0, told = 0, len;
	char *ret = NULL;
	FILE *f;

	for (size_t i = 0; i < n_kinds; i++)
		kinds += u[i].n > 0;
	f = kinds ? open_memstream(&ret, &len) : NULL;
	if (!f)
		return NULL;
	for (size_t i = 0; i < n_kinds; i++) {
		if (!u[i].n)
			continue;
		fprintf(f, "%s%zu %s%s",
			!told		    ? ""
			: told + 1 == kinds ? " and "
					    : ", ",
			u[i].n, u[i].word, u[i].n == 1 ? "" : "s");
		if (*u[i].first)
			fprintf(f, " (%s%s)", u[i].first, u[i].n == 1 ? "" : " …");
		told++;
	}
	if (!fclose(f))
		return ret;
	free(ret);
	return NULL;
}

static void note_route(struct users *u, const struct route_cfg *route)
{
	char to[PREFIX_TEXT];

	note(u, route->to.family ? prefix_text(&route->to, to) : "default");
}

char *named_users(const struct model *m, const void *item)
{
	const struct named_cfg *c = item;
	struct users u[] = {{.word = "route"}, {.word = "group"}};

	for (size_t i = 0; i < m->n_routes; i++)
		if (!strcmp(m->routes[i].nexthop, c->name))
			note(&u[0], NULL);
	for (size_t i = 0; i < m->n_nexthops; i++)
		for (size_t k = 0; k < m->nexthops[i].n_members; k++)
			if (!strcmp(m->nexthops[i].members[k].name, c->name))
				note(&u[1], m->nexthops[i].name);
	return users_text(u, N_OF(u));
}

char *vrf_users(const struct model *m, const void *item)
{
	const struct vrf_cfg *c = item;
	struct users u[] = {{.word = "interface"}, {.word = "route"}, {.word = "NAT rule"}, {.word = "import"}};

	if (!strcmp(c->name, VRF_DEFAULT))
		return NULL; /* it stays, and gives back what was added to it */
	for (size_t i = 0; i < m->n_ifaces; i++)
		if (!strcmp(m->ifaces[i].vrf, c->name))
			note(&u[0], m->ifaces[i].name);
	for (size_t i = 0; i < m->n_routes; i++)
		if (!strcmp(m->routes[i].vrf, c->name))
			note_route(&u[1], &m->routes[i]);
	for (size_t i = 0; i < m->n_nats; i++)
		if (!strcmp(m->nats[i].vrf, c->name) || !strcmp(m->nats[i].to_vrf, c->name))
			note(&u[2], m->nats[i].name);
	for (size_t i = 0; i < m->n_vrfs; i++)
		for (size_t k = 0; k < m->vrfs[i].n_imports; k++)
			if (strcmp(m->vrfs[i].name, c->name) && !strcmp(m->vrfs[i].imports[k].vrf, c->name))
				note(&u[3], m->vrfs[i].name);
	return users_text(u, N_OF(u));
}

static bool reaches(const struct iface_cfg *iface, const struct addr *gateway)
{
	for (size_t i = 0; i < iface->n_addrs; i++)
		if (prefix_contains(&iface->addrs[i], gateway))
			return true;
	return false;
}

/* Whether a nexthop of a VRF names the interface, or has a gateway that no other one reaches. */
static bool leads_by(const struct model *m, const struct nexthop_cfg *h, const char *vrf, const struct iface_cfg *iface)
{
	if (*h->iface)
		return !strcmp(h->iface, iface->name);
	if (h->recursive || strcmp(vrf, iface->vrf) || !reaches(iface, &h->gateway))
		return false;
	for (size_t i = 0; i < m->n_ifaces; i++)
		if (&m->ifaces[i] != iface && !strcmp(m->ifaces[i].vrf, vrf) && reaches(&m->ifaces[i], &h->gateway))
			return false;
	return true;
}

static bool route_leads_by(const struct model *m, const struct route_cfg *route, const struct iface_cfg *iface)
{
	for (size_t i = 0; i < route->n_nexthops; i++)
		if (leads_by(m, &route->nexthops[i], route->vrf, iface))
			return true;
	return false;
}

static bool rule_names(const struct nat_cfg *rule, const char *iface)
{
	for (size_t i = 0; i < rule->n_out; i++)
		if (!strcmp(rule->out[i], iface))
			return true;
	return !strcmp(rule->dest_iface, iface);
}

char *iface_users(const struct model *m, const void *item)
{
	const struct iface_cfg *c = item;
	struct users u[] = {{.word = "route"}, {.word = "nexthop"}, {.word = "NAT rule"}, {.word = "neighbor"}};
	char addr[ADDR_TEXT];

	for (size_t i = 0; i < m->n_routes; i++)
		if (route_leads_by(m, &m->routes[i], c))
			note_route(&u[0], &m->routes[i]);
	for (size_t i = 0; i < m->n_nexthops; i++)
		if (!strcmp(m->nexthops[i].own.iface, c->name))
			note(&u[1], m->nexthops[i].name);
	for (size_t i = 0; i < m->n_nats; i++)
		if (rule_names(&m->nats[i], c->name))
			note(&u[2], m->nats[i].name);
	for (size_t i = 0; i < m->n_neighbors; i++)
		if (!strcmp(m->neighbors[i].iface, c->name))
			note(&u[3], addr_text(&m->neighbors[i].addr, addr));
	return users_text(u, N_OF(u));
}
