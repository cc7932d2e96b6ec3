/* nat_limit.c: what each inside host has of the rules that set limits, counted anew in every pass over the flows.
 *
 * Stands between nat_sweep.c, which is shown every flow and mapping, and the table `nat_counted`. The data plane adds to
 * `nat_used` and takes nothing away, so nothing is lost to a race or a crash: what a host has is what was counted, and what was
 * added since the counting began (include/sluice/abi.h).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "hash.h"
#include "nat_priv.h"

struct host {
	struct hash_node node;
	struct nat_host_key key;
	struct nat_counted v;
};

static uint32_t host_hash(const struct hash *h, const struct hash_node *node)
{
	const struct host *o = hash_entry(node, const struct host, node);

	return hash_end(hash_mix_bytes(h->salt, &o->key, sizeof(o->key)));
}

static bool host_is(const struct hash_node *node, const void *key)
{
	return !memcmp(&hash_entry(node, const struct host, node)->key, key, sizeof(struct nat_host_key));
}

static struct host *host_find(struct nat *nat, const struct nat_host_key *key)
{
	return hash_find_entry(&nat->hosts, hash_end(hash_mix_bytes(nat->hosts.salt, key, sizeof(*key))), host_is, key,
			       struct host, node);
}

static int note_used(const void *key, void *value, void *arg)
{
	struct nat *nat = arg;
	struct host *h;

	/* The walk may come by an element twice. */
	if (host_find(nat, key))
		return 0;
	h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	memcpy(&h->key, key, sizeof(h->key));
	memcpy(&h->v.used_then, value, sizeof(h->v.used_then));
	if (hash_insert(&nat->hosts, &h->node)) {
		free(h);
		return -ENOMEM;
	}
	return 0;
}

void nat_limit_stop(struct nat *nat)
{
	table_cursor_free(nat->hosts_noted);
	nat->hosts_noted = NULL;
	nat->counting = false;
}

void nat_limit_open(struct nat *nat)
{
	hash_init(&nat->hosts, host_hash);
}

void nat_limit_close(struct nat *nat)
{
	hash_free_entries(&nat->hosts, struct host, node);
	nat_limit_stop(nat);
}

/* Of a pass that was given up some may be left. */
void nat_limit_begin(struct nat *nat)
{
	nat_limit_close(nat);
	nat->hosts_told = (struct hash_iter){0};
	nat->counting = nat->has_limits;
}

/* Hosts that begin to use a rule after the note are the next pass's. Without memory some hosts go uncounted once: their limits
 * hold by the last count. */
bool nat_limit_note(struct nat *nat, size_t max)
{
	if (!nat->counting)
		return false;
	if (table_each_some(nat->used, &nat->hosts_noted, max, note_used, nat))
		nat_limit_stop(nat);
	return nat->hosts_noted;
}

int nat_limit_host(struct nat *nat, uint16_t rule, const struct addr *inside, uint16_t vrf)
{
	struct nat_host_key key = {.addr = *inside, .vrf = vrf, .rule = rule};
	struct nat_used none = {0};
	int err;

	if (!rule || rule > nat->n_rules || !nat->rules[rule - 1].limits)
		return 0;
	err = table_insert(nat->used, &key, &none);
	return err == -EEXIST ? 0 : err;
}

void nat_limit_add(struct nat *nat, uint16_t rule, const struct addr *inside, uint16_t vrf, bool port)
{
	struct nat_host_key key = {.addr = *inside, .vrf = vrf, .rule = rule};
	struct host *h = nat->counting ? host_find(nat, &key) : NULL;

	if (h && port)
		h->v.counted.ports++;
	else if (h)
		h->v.counted.sessions++;
}

/* To the data plane; a full table leaves the host with what it is known to have added: too much rather than too little. */
static void tell(struct nat *nat, const struct host *h)
{
	bool idle = !h->v.counted.sessions && !h->v.counted.ports;
	struct nat_used now;

	if (idle && !table_lookup(nat->used, &h->key, &now) && !memcmp(&now, &h->v.used_then, sizeof(now))) {
		table_delete(nat->used, &h->key);
		table_delete(nat->counted, &h->key);
		return;
	}
	table_set(nat->counted, &h->key, &h->v);
}

bool nat_limit_end(struct nat *nat, size_t max)
{
	struct hash_node *node = NULL;

	for (size_t i = 0; nat->counting && i < max; i++) {
		node = hash_next(&nat->hosts, &nat->hosts_told);
		if (!node)
			break;
		tell(nat, hash_entry(node, struct host, node));
		hash_remove(&nat->hosts, node);
		free(hash_entry(node, struct host, node));
	}
	nat->counting = nat->counting && node;
	return nat->counting;
}
