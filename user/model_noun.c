/* model_noun.c: the lists of a model as one table, for what is done alike with all of them: JSON, diff, adding, removing.
 *
 * Stands between the nouns' own files and model_parse.c, model_json.c, model_diff.c and model_edit.c. A new noun is a line here.
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "model_priv.h"

static const char *port_name(const void *item, char buf[16])
{
	return ((const struct port_cfg *)item)->name;
}

static const char *vlan_name(const void *item, char buf[16])
{
	snprintf(buf, 16, "%u", ((const struct vlan_cfg *)item)->id);
	return buf;
}

static const char *iface_name(const void *item, char buf[16])
{
	return ((const struct iface_cfg *)item)->name;
}

static const char *vrf_name(const void *item, char buf[16])
{
	return ((const struct vrf_cfg *)item)->name;
}

static const char *named_name(const void *item, char buf[16])
{
	return ((const struct named_cfg *)item)->name;
}

static bool named_same(const void *a, const void *b)
{
	return !strcmp(named_name(a, NULL), named_name(b, NULL));
}

static bool port_same(const void *a, const void *b)
{
	return !strcmp(port_name(a, NULL), port_name(b, NULL));
}

static bool vlan_same(const void *a, const void *b)
{
	return ((const struct vlan_cfg *)a)->id == ((const struct vlan_cfg *)b)->id;
}

static bool iface_same(const void *a, const void *b)
{
	return !strcmp(iface_name(a, NULL), iface_name(b, NULL));
}

static bool vrf_same(const void *a, const void *b)
{
	return !strcmp(vrf_name(a, NULL), vrf_name(b, NULL));
}

static bool route_same(const void *a, const void *b)
{
	return !route_cmp(a, b);
}

static const char *nat_name(const void *item, char buf[16])
{
	return ((const struct nat_cfg *)item)->name;
}

static bool nat_same(const void *a, const void *b)
{
	return !strcmp(nat_name(a, NULL), nat_name(b, NULL));
}

static bool fdb_same(const void *a, const void *b)
{
	const struct fdb_cfg *x = a, *y = b;

	return x->vlan == y->vlan && !memcmp(x->mac, y->mac, 6);
}

static bool neighbor_same(const void *a, const void *b)
{
	const struct neighbor_cfg *x = a, *y = b;

	return !memcmp(&x->addr, &y->addr, sizeof(x->addr)) && !strcmp(x->iface, y->iface);
}

#define LIST(field, count) offsetof(struct model, field), offsetof(struct model, count), sizeof(*((struct model *)0)->field)

static const char *const route_ids[] = {"to", "vrf", "metric", "distance", NULL};
static const char *const nat_ids[] = {"name", NULL};
static const char *const fdb_ids[] = {"mac", "vlan", NULL};
static const char *const neighbor_ids[] = {"address", "interface", NULL};

#define SHORT NULL, NULL

const struct noun nouns[N_NOUNS] = {
	{"vrfs", "vrf", "name", NULL, true, LIST(vrfs, n_vrfs), true, vrf_read, vrf_json, vrf_same, vrf_name, vrf_cfg_free, SHORT,
	 vrf_users, NULL, false},
	{"ports", "port", "name", NULL, true, LIST(ports, n_ports), false, port_read, port_json, port_same, port_name, NULL,
	 SHORT, NULL, NULL, false},
	{"vlans", "vlan", "id", NULL, true, LIST(vlans, n_vlans), false, vlan_read, vlan_json, vlan_same, vlan_name, NULL, SHORT,
	 NULL, NULL, false},
	{"interfaces", "interface", "name", NULL, true, LIST(ifaces, n_ifaces), false, iface_read, iface_json, iface_same,
	 iface_name, iface_cfg_free, SHORT, iface_users, NULL, false},
	{"nexthops", "nexthop", "name", NULL, true, LIST(nexthops, n_nexthops), false, named_read, named_json, named_same,
	 named_name, named_cfg_free, SHORT, named_users, NULL, false},
	{"routes", "route", NULL, route_ids, false, LIST(routes, n_routes), false, route_read, route_json, route_same, NULL,
	 route_cfg_free, route_order, route_equal, NULL, route_complete, false},
	{"nat", "nat", NULL, nat_ids, true, LIST(nats, n_nats), false, nat_read, nat_json, nat_same, nat_name, nat_cfg_free,
	 SHORT, NULL, NULL, true},
	{"fdb", "fdb", NULL, fdb_ids, false, LIST(fdbs, n_fdbs), false, fdb_read, fdb_json, fdb_same, NULL, NULL, SHORT, NULL,
	 NULL, false},
	{"neighbors", "neighbor", NULL, neighbor_ids, false, LIST(neighbors, n_neighbors), false, neighbor_read, neighbor_json,
	 neighbor_same, NULL, NULL, SHORT, NULL, NULL, false},
};

size_t noun_n(const struct noun *noun, const struct model *m)
{
	size_t n;

	memcpy(&n, (const char *)m + noun->n, sizeof(n));
	return n;
}

const void *noun_item(const struct noun *noun, const struct model *m, size_t i)
{
	const char *list;

	memcpy(&list, (const char *)m + noun->list, sizeof(list));
	return list + i * noun->size;
}

size_t noun_first(const struct noun *noun, const struct model *m)
{
	return noun->has_default && vrf_is_plain(&m->vrfs[0]) ? 1 : 0;
}

static bool among(const char *s, const char *const *words)
{
	for (; words && *words; words++)
		if (!strcmp(s, *words))
			return true;
	return false;
}

static void words_into(FILE *f, const json_t *v, const char *const *leave)
{
	const char *key, *sep = "";
	json_t *child;
	size_t i;

	switch (json_typeof(v)) {
	case JSON_OBJECT:
		json_object_foreach ((json_t *)v, key, child) {
			if (among(key, leave))
				continue;
			fprintf(f, "%s%s ", sep, key);
			words_into(f, child, NULL);
			sep = " ";
		}
		break;
	case JSON_ARRAY:
		json_array_foreach ((json_t *)v, i, child) {
			fprintf(f, "%s%s", sep, json_is_object(child) ? "(" : "");
			words_into(f, child, NULL);
			fputs(json_is_object(child) ? ")" : "", f);
			sep = ",";
		}
		break;
	case JSON_STRING:
		fputs(json_string_value(v), f);
		break;
	case JSON_INTEGER:
		fprintf(f, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
		break;
	default:
		fputs(json_is_true(v) ? "true" : "false", f);
	}
}

char *json_words(const json_t *v, const char *const *leave)
{
	char *ret = NULL;
	size_t len;
	FILE *f = open_memstream(&ret, &len);

	if (!f)
		return NULL;
	words_into(f, v, leave);
	if (!fclose(f))
		return ret;
	free(ret);
	return NULL;
}

char *noun_item_name(const struct noun *noun, const void *item, const json_t *json)
{
	char *ret = NULL, buf[16];
	const json_t *v;
	size_t len;
	FILE *f;

	if (noun->name_key)
		return strdup(noun->name(item, buf));
	f = open_memstream(&ret, &len);
	if (!f)
		return NULL;
	for (size_t i = 0; noun->ids[i]; i++) {
		v = json_object_get(json, noun->ids[i]);
		if (!v)
			continue;
		if (i)
			fprintf(f, " %s ", noun->ids[i]);
		words_into(f, v, NULL);
	}
	if (!fclose(f))
		return ret;
	free(ret);
	return NULL;
}
