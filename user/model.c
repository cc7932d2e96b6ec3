/* model.c: the model as data: made, copied, freed, looked up (model.h).
 *
 * Stands below everything else of the model; knows nothing of text or JSON.
 */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "globs.h"
#include "model_priv.h"

#define FLOWS_DEFAULT	  (1u << 20)
#define FLOWS_DEFAULT_MIN (1u << 14)

size_t list_room(size_t n)
{
	size_t room = 1;

	while (room < n)
		room *= 2;
	return n ? room : 0;
}

void *list_add(void *list, size_t *n, size_t size)
{
	char *v;

	memcpy(&v, list, sizeof(v));
	if (list_room(*n) == *n) {
		v = reallocarray(v, list_room(*n + 1), size);
		if (!v)
			return NULL;
		memcpy(list, &v, sizeof(v));
	}
	return memset(v + size * (*n)++, 0, size);
}

void list_remove(void *list, size_t *n, size_t size, size_t i)
{
	char *v;

	memcpy(&v, list, sizeof(v));
	memmove(v + i * size, v + (i + 1) * size, (*n - i - 1) * size);
	--*n;
}

/* A copy of a list of n elements into *ret; false: out of memory. */
static bool list_copy(void *ret, const void *list, size_t n, size_t size)
{
	void *v = NULL;

	if (n) {
		v = reallocarray(NULL, list_room(n), size);
		if (!v)
			return false;
		memcpy(v, list, n * size);
	}
	memcpy(ret, &v, sizeof(v));
	return true;
}

/* A pair takes 331 bytes of an IPv4 table, 491 of an IPv6 one (docs/flow-table.md), and an IPv6 one has a quarter of the pairs.
 */
uint32_t model_flows_default(uint64_t memory)
{
	uint32_t n = FLOWS_DEFAULT;

	while (n > FLOWS_DEFAULT_MIN && (uint64_t)n * (331 + 491 / 4) > memory / 16)
		n /= 2;
	return n;
}

uint32_t model_flows6_default(uint32_t flows)
{
	return flows / 4 > TABLE_MIN ? flows / 4 : TABLE_MIN;
}

static uint64_t memory_bytes(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);

	return pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : 0;
}

struct model *model_new(void)
{
	struct model *m = calloc(1, sizeof(*m));
	struct vrf_cfg *vrf;

	if (!m)
		return NULL;
	m->settings = (struct settings_cfg){
		.fdb_ageing_s = 300,
		.icmp_rate = 1000,
		.neighbor_rate = 64,
		.ecmp_idle_s = 120,
		.frag_held = FRAG_HELD_MAX,
		.frag_hold_s = 2,
		.tcp_established_s = 7440,
		.tcp_transitory_s = 240,
		.udp_s = 300,
		.icmp_s = 60,
		.other_s = 600,
		.max_flows = model_flows_default(memory_bytes()),
		.max_fdb = 65536,
		.max_neighbors = 65536,
		.max_routes4 = 1048576,
		.max_routes6 = 262144,
	};
	m->settings.max_flows6 = model_flows6_default(m->settings.max_flows);
	vrf = list_add(&m->vrfs, &m->n_vrfs, sizeof(*vrf));
	if (!vrf) {
		free(m);
		return NULL;
	}
	vrf_make_default(vrf);
	return m;
}

void vrf_cfg_free(void *item)
{
	struct vrf_cfg *c = item;

	free(c->imports);
	free(c->prefixes);
}

void iface_cfg_free(void *item)
{
	struct iface_cfg *c = item;

	free(c->addrs);
}

void route_cfg_free(void *item)
{
	struct route_cfg *c = item;

	if (!*c->nexthop)
		free(c->nexthops);
}

void named_cfg_free(void *item)
{
	struct named_cfg *c = item;

	free(c->members);
	free(c->ways);
}

void nat_cfg_free(void *item)
{
	struct nat_cfg *c = item;

	free(c->out);
	free(c->pool);
}

void model_free(struct model *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->n_vrfs; i++)
		vrf_cfg_free(&m->vrfs[i]);
	for (size_t i = 0; i < m->n_ifaces; i++)
		iface_cfg_free(&m->ifaces[i]);
	for (size_t i = 0; i < m->n_routes; i++)
		route_cfg_free(&m->routes[i]);
	for (size_t i = 0; i < m->n_nexthops; i++)
		named_cfg_free(&m->nexthops[i]);
	for (size_t i = 0; i < m->n_nats; i++)
		nat_cfg_free(&m->nats[i]);
	free(m->ports);
	free(m->vlans);
	free(m->ifaces);
	free(m->vrfs);
	free(m->nexthops);
	free(m->routes);
	free(m->nats);
	free(m->fdbs);
	free(m->neighbors);
	free(m);
}

#define COPY(to, from, list, n)                                                                                                  \
	(list_copy(&(to)->list, (from)->list, (from)->n, sizeof(*(from)->list)) && ((to)->n = (from)->n, true))

static bool copy_vrfs(struct model *to, const struct model *from)
{
	if (!list_copy(&to->vrfs, from->vrfs, from->n_vrfs, sizeof(*to->vrfs)))
		return false;
	for (size_t i = 0; i < from->n_vrfs; i++, to->n_vrfs++) {
		to->vrfs[i].prefixes = NULL;
		if (!COPY(&to->vrfs[i], &from->vrfs[i], imports, n_imports))
			return false;
		if (!COPY(&to->vrfs[i], &from->vrfs[i], prefixes, n_prefixes)) {
			free(to->vrfs[i].imports);
			return false;
		}
	}
	return true;
}

static bool copy_named(struct model *to, const struct model *from)
{
	if (!list_copy(&to->nexthops, from->nexthops, from->n_nexthops, sizeof(*to->nexthops)))
		return false;
	for (size_t i = 0; i < from->n_nexthops; i++, to->n_nexthops++) {
		to->nexthops[i].ways = NULL;
		to->nexthops[i].n_ways = 0;
		if (!COPY(&to->nexthops[i], &from->nexthops[i], members, n_members))
			return false;
	}
	return true;
}

/* The lists whose elements own memory: n counts only those elements that are whole, so that model_free() may follow. */
static bool copy_owners(struct model *to, const struct model *from)
{
	if (!list_copy(&to->ifaces, from->ifaces, from->n_ifaces, sizeof(*to->ifaces)))
		return false;
	for (size_t i = 0; i < from->n_ifaces; i++, to->n_ifaces++)
		if (!COPY(&to->ifaces[i], &from->ifaces[i], addrs, n_addrs))
			return false;
	if (!list_copy(&to->routes, from->routes, from->n_routes, sizeof(*to->routes)))
		return false;
	for (size_t i = 0; i < from->n_routes; i++, to->n_routes++)
		if (!*from->routes[i].nexthop && !COPY(&to->routes[i], &from->routes[i], nexthops, n_nexthops))
			return false;
	if (!list_copy(&to->nats, from->nats, from->n_nats, sizeof(*to->nats)))
		return false;
	for (size_t i = 0; i < from->n_nats; i++, to->n_nats++) {
		to->nats[i].pool = NULL;
		if (!COPY(&to->nats[i], &from->nats[i], out, n_out))
			return false;
		if (!COPY(&to->nats[i], &from->nats[i], pool, n_pool)) {
			free(to->nats[i].out);
			return false;
		}
	}
	return true;
}

struct model *model_copy(const struct model *m)
{
	struct model *ret = calloc(1, sizeof(*ret));

	if (!ret)
		return NULL;
	ret->settings = m->settings;
	if (COPY(ret, m, ports, n_ports) && COPY(ret, m, vlans, n_vlans) && COPY(ret, m, fdbs, n_fdbs) &&
	    COPY(ret, m, neighbors, n_neighbors) && copy_vrfs(ret, m) && copy_named(ret, m) && copy_owners(ret, m) &&
	    !model_link(ret))
		return ret;
	model_free(ret);
	return NULL;
}

const struct port_cfg *model_port_for(const struct model *m, const char *netdev, const struct port_cfg **ret_other)
{
	const struct port_cfg *found = NULL, *other = NULL;

	for (size_t i = 0; i < m->n_ports; i++) {
		const struct port_cfg *p = &m->ports[i];

		if (!p->glob && !strcmp(p->name, netdev)) {
			found = p;
			other = NULL;
			break;
		}
		if (!p->glob || !glob_match(p->name, netdev))
			continue;
		if (!found)
			found = p;
		else if (!other)
			other = p;
	}
	if (ret_other)
		*ret_other = other;
	return found;
}

const struct iface_cfg *model_iface(const struct model *m, const char *name)
{
	for (size_t i = 0; i < m->n_ifaces; i++)
		if (!strcmp(m->ifaces[i].name, name))
			return &m->ifaces[i];
	return NULL;
}

const struct vrf_cfg *model_vrf(const struct model *m, const char *name)
{
	for (size_t i = 0; i < m->n_vrfs; i++)
		if (!strcmp(m->vrfs[i].name, name))
			return &m->vrfs[i];
	return NULL;
}

const struct named_cfg *model_nexthop(const struct model *m, const char *name)
{
	for (size_t i = 0; i < m->n_nexthops; i++)
		if (!strcmp(m->nexthops[i].name, name))
			return &m->nexthops[i];
	return NULL;
}

const char *model_nat_vrf_outside(const struct model *m, const struct nat_cfg *rule)
{
	const struct iface_cfg *out = rule->type == NAT_SNAT && rule->n_out ? model_iface(m, rule->out[0]) : NULL;

	return out ? out->vrf : rule->vrf;
}
