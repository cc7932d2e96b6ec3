/* model_check.c: what no single key shows (model.h): the order of the checks, and what several nouns need for theirs.
 *
 * Stands above the nouns' own checks. Lists may be long (100,000 static routes), so what is compared with everything else is
 * sorted first.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "model_priv.h"

int check_bad(struct checker *c, struct where where, const char *key, const char *fmt, ...)
{
	va_list ap;
	char *text;
	int n;

	c->failed = true;
	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0)
		return check_oom(c);
	errs_add(c->errs, where, key, "%s", text);
	free(text);
	return -EINVAL;
}

int check_oom(struct checker *c)
{
	c->failed = true;
	return errs_fail(c->errs, ENOMEM, "out of memory");
}

const char *line_text(struct where where, char buf[LINE_TEXT])
{
	buf[0] = '\0';
	if (where.line > 0)
		snprintf(buf, LINE_TEXT, " (line %d)", where.line);
	return buf;
}

void *sorted_pointers(const void *list, size_t n, size_t size, int (*cmp)(const void *, const void *))
{
	const char **v = n ? malloc(n * sizeof(*v)) : NULL;

	if (!v)
		return NULL;
	for (size_t i = 0; i < n; i++)
		v[i] = (const char *)list + i * size;
	qsort(v, n, sizeof(*v), cmp);
	return v;
}

/* Of one name the first one listed is the lesser. */
static int cmp_named(const void *a, const void *b)
{
	const struct named *x = *(const struct named *const *)a, *y = *(const struct named *const *)b;
	int d = strcmp(x->name, y->name);

	return d ? d : (x > y) - (x < y);
}

void names_check(struct checker *c, const void *list, size_t n, size_t size,
		 void (*twice)(struct checker *c, const struct named *later, const struct named *first))
{
	const struct named **v = sorted_pointers(list, n, size, cmp_named);

	if (!v && n)
		check_oom(c);
	for (size_t i = 1; v && i < n; i++) {
		if (!strcmp(v[i]->name, v[i - 1]->name))
			twice(c, v[i], v[i - 1]);
	}
	free(v);
}

size_t check_vrf(struct checker *c, struct where where, const char *key, const char *name)
{
	const struct vrf_cfg *vrf = model_vrf(c->m, name);

	if (vrf)
		return vrf - c->m->vrfs;
	check_bad(c, where, key, "no VRF is called `%s`: list it under `vrfs`", name);
	return c->m->n_vrfs;
}

static int cmp_subnet(const void *a, const void *b)
{
	const struct subnet *x = a, *y = b;
	int d;

	if (x->vrf != y->vrf)
		return x->vrf < y->vrf ? -1 : 1;
	d = memcmp(&x->net.addr, &y->net.addr, sizeof(struct addr));
	if (!d)
		d = (int)prefix_mapped_len(&x->net) - (int)prefix_mapped_len(&y->net);
	return d ? d : memcmp(&x->addr, &y->addr, sizeof(struct addr));
}

static int cmp_own(const void *a, const void *b)
{
	const struct subnet *x = *(struct subnet *const *)a, *y = *(struct subnet *const *)b;

	if (x->vrf != y->vrf)
		return x->vrf < y->vrf ? -1 : 1;
	return memcmp(&x->addr, &y->addr, sizeof(struct addr));
}

static bool around(const struct subnet *outer, const struct subnet *inner)
{
	return outer->vrf == inner->vrf && prefix_overlaps(&outer->net, &inner->net) && outer->net.len <= inner->net.len;
}

/* The addresses of all interfaces as c->subnets and c->by_addr. */
static int gather(struct checker *c)
{
	const struct model *m = c->m;
	const struct subnet *open = NULL;
	const struct vrf_cfg *vrf;
	size_t n = 0;

	for (size_t i = 0; i < m->n_ifaces; i++)
		n += m->ifaces[i].n_addrs;
	c->subnets = calloc(n ? n : 1, sizeof(*c->subnets));
	if (!c->subnets)
		return check_oom(c);
	for (size_t i = 0; i < m->n_ifaces; i++) {
		const struct iface_cfg *iface = &m->ifaces[i];

		vrf = model_vrf(m, iface->vrf);
		for (size_t j = 0; j < iface->n_addrs; j++) {
			const struct prefix *p = &iface->addrs[j];

			if (p->family == 6 && addr_is_link_local(&p->addr))
				continue;
			c->subnets[c->n_subnets++] = (struct subnet){.iface = iface,
								     .vrf = vrf ? (size_t)(vrf - m->vrfs) : m->n_vrfs,
								     .net = prefix_masked(p),
								     .addr = p->addr};
		}
	}
	qsort(c->subnets, c->n_subnets, sizeof(*c->subnets), cmp_subnet);
	for (size_t i = 0; i < c->n_subnets; i++) {
		while (open && !around(open, &c->subnets[i]))
			open = open->parent;
		c->subnets[i].parent = open;
		open = &c->subnets[i];
	}
	c->by_addr = sorted_pointers(c->subnets, c->n_subnets, sizeof(*c->subnets), cmp_own);
	return c->n_subnets && !c->by_addr ? check_oom(c) : 0;
}

const struct subnet *check_subnet(const struct checker *c, size_t vrf, const struct addr *a)
{
	uint8_t family = addr_family(a);
	struct subnet key = {.vrf = vrf, .net = {*a, family, family == 4 ? 32 : 128}};
	const struct subnet *s = NULL;
	size_t lo = 0, hi = c->n_subnets, mid;

	/* The last subnet that does not begin behind the address: itself, or one of those around it, is the smallest. */
	memset(&key.addr, 0xff, sizeof(key.addr));
	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (cmp_subnet(&c->subnets[mid], &key) <= 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo && c->subnets[lo - 1].vrf == vrf)
		s = &c->subnets[lo - 1];
	while (s && !prefix_contains(&s->net, a))
		s = s->parent;
	return s;
}

const struct subnet *check_own(const struct checker *c, size_t vrf, const struct addr *a)
{
	struct subnet key = {.vrf = vrf, .addr = *a}, *k = &key, **found;

	found = c->n_subnets ? bsearch(&k, c->by_addr, c->n_subnets, sizeof(*c->by_addr), cmp_own) : NULL;
	return found ? *found : NULL;
}

const struct subnet *check_subnet_of(const struct checker *c, const struct iface_cfg *iface, const struct addr *a)
{
	const struct vrf_cfg *vrf = model_vrf(c->m, iface->vrf);
	const struct subnet *s = check_subnet(c, vrf ? (size_t)(vrf - c->m->vrfs) : c->m->n_vrfs, a);

	while (s && s->iface != iface)
		s = s->parent;
	return s;
}

int model_check_here(const struct model *m, const struct model *running, struct errs *errs)
{
	const struct settings_cfg *s = &m->settings;
	char dir[sizeof(s->nat_log_file)];
	struct stat st;

	if (!*s->nat_log_file || (running && !strcmp(s->nat_log_file, running->settings.nat_log_file)))
		return 0;
	snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(s->nat_log_file, '/') - s->nat_log_file), s->nat_log_file);
	if (!stat(*dir ? dir : "/", &st) && !S_ISDIR(st.st_mode))
		errno = ENOTDIR;
	else if (!stat(*dir ? dir : "/", &st) || errno == EACCES)
		return 0;
	return errs_add(errs, s->nat_log_where, "settings.nat-log.file", "%s: %s (sluiced makes the file, and no directory)",
			s->nat_log_file, strerror(errno));
}

int model_check(const struct model *m, struct errs *errs)
{
	struct checker c = {.m = m, .errs = errs};
	size_t before = errs ? errs->n : 0;

	if (!gather(&c)) {
		vrf_check(&c);
		port_check(&c);
		vlan_check(&c);
		iface_check(&c);
		fdb_check(&c);
		neighbor_check(&c);
		named_check(&c);
		route_check(&c);
		nat_check(&c);
	}
	free(c.by_addr);
	free(c.subnets);
	items_of_model(errs, before, m);
	return c.failed ? -EINVAL : 0;
}
