/* nat_top.c: how many mappings there are, and which inside hosts have most of them.
 *
 * Stands between the sweep, which is shown every mapping in each pass, and `nat show`, which has what the last whole pass found.
 * Hosts beyond TOP_HOSTS, or whose places in the table are all taken, count as mappings but cannot be among the first.
 */
#include <stdlib.h>
#include <string.h>
#include "hash.h"
#include "nat_priv.h"

#define TOP_HOSTS 65536 /* a power of two */
#define TOP_TRIES 16
#define TOP_SHOWN 10

struct top_host {
	struct addr addr;
	uint16_t vrf;
	uint32_t n; /* 0: a free place */
};

struct nat_top {
	struct top_host *table; /* of the pass under way */
	uint64_t salt, counting, total;
	struct top_host first[TOP_SHOWN]; /* by number, descending */
	size_t n_hosts, hosts;
};

int nat_top_open(struct nat *nat)
{
	struct hash h;

	nat->top = calloc(1, sizeof(*nat->top));
	if (!nat->top)
		return -ENOMEM;
	hash_init(&h, NULL);
	nat->top->salt = h.salt;
	nat->top->table = calloc(TOP_HOSTS, sizeof(*nat->top->table));
	return nat->top->table ? 0 : -ENOMEM;
}

void nat_top_close(struct nat *nat)
{
	if (!nat->top)
		return;
	free(nat->top->table);
	free(nat->top);
	nat->top = NULL;
}

void nat_top_begin(struct nat *nat)
{
	if (nat->top->counting)
		memset(nat->top->table, 0, TOP_HOSTS * sizeof(*nat->top->table));
	nat->top->counting = nat->top->n_hosts = 0;
}

void nat_top_add(struct nat *nat, const struct addr *inside, uint16_t vrf)
{
	struct nat_top *t = nat->top;
	uint32_t at = hash_end(hash_mix_bytes(t->salt ^ vrf, inside, sizeof(*inside)));

	t->counting++;
	for (int i = 0; i < TOP_TRIES; i++) {
		struct top_host *h = &t->table[(at + (uint32_t)i) % TOP_HOSTS];

		if (h->n && (h->vrf != vrf || memcmp(&h->addr, inside, sizeof(*inside))))
			continue;
		if (!h->n) {
			*h = (struct top_host){.addr = *inside, .vrf = vrf};
			t->n_hosts++;
		}
		h->n++;
		return;
	}
}

void nat_top_end(struct nat *nat)
{
	struct nat_top *t = nat->top;

	memset(t->first, 0, sizeof(t->first));
	t->total = t->counting;
	t->hosts = t->n_hosts;
	for (size_t i = 0; t->counting && i < TOP_HOSTS; i++) {
		const struct top_host *h = &t->table[i];
		size_t at = TOP_SHOWN;

		while (at && t->first[at - 1].n < h->n)
			at--;
		if (at == TOP_SHOWN)
			continue;
		memmove(&t->first[at + 1], &t->first[at], (TOP_SHOWN - 1 - at) * sizeof(*h));
		t->first[at] = *h;
	}
}

uint64_t nat_mappings(const struct sw *sw)
{
	return sw->nat->top->total;
}

json_t *nat_top_show(const struct sw *sw)
{
	const struct nat_top *t = sw->nat->top;
	json_t *list = json_array();
	char text[ADDR_TEXT];

	for (size_t i = 0; i < TOP_SHOWN && t->first[i].n; i++) {
		const struct top_host *h = &t->first[i];
		const char *vrf = h->vrf < sw->model->n_vrfs ? sw->model->vrfs[h->vrf].name : "";

		json_array_append_new(list, json_pack("{s:s, s:s, s:i}", "address", addr_text(&h->addr, text), "vrf", vrf,
						      "mappings", (int)h->n));
	}
	return json_pack("{s:I, s:I, s:o}", "total", (json_int_t)t->total, "hosts", (json_int_t)t->hosts, "top", list);
}
