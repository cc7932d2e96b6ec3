/* model_note.c: what a good model does that who wrote it may not expect: told beside the answer, and not refused.
 *
 * Stands between a model that is good by model_check() and those who show it: `sluice check`, and the answer to a change.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include "model.h"

#define NOTE_TEXT 256

static bool takes_tcp(const struct nat_cfg *c)
{
	bool tcp = !c->n_protocols;

	for (size_t i = 0; i < c->n_protocols; i++)
		tcp = tcp || c->protocols[i] == IPPROTO_TCP;
	return tcp;
}

static bool is_own(const struct model *m, const struct nat_cfg *c)
{
	bool own = false;

	for (size_t i = 0; i < m->n_ifaces; i++)
		for (size_t k = 0; !own && k < m->ifaces[i].n_addrs && !strcmp(m->ifaces[i].vrf, c->vrf); k++)
			own = addr_same(&m->ifaces[i].addrs[k].addr, &c->destination.addr);
	return own;
}

/* A forward of several ports, or of all, at an address of the gateway's own; what one of a single port takes is plain to see.
 * False: nothing is to be said. */
static bool note_wide(const struct model *m, const struct nat_cfg *c, char ret[NOTE_TEXT])
{
	char where[ADDR_TEXT + 64], addr[ADDR_TEXT], ports[32] = "every port";

	if (c->type != NAT_DNAT || (c->dport_min && c->dport_max == c->dport_min) || !takes_tcp(c))
		return false;
	if (!*c->dest_iface && !is_own(m, c))
		return false;
	if (*c->dest_iface)
		snprintf(where, sizeof(where), "the addresses of its interface `%s`", c->dest_iface);
	else
		snprintf(where, sizeof(where), "its address %s", addr_text(&c->destination.addr, addr));
	if (c->dport_min)
		snprintf(ports, sizeof(ports), "ports %u-%u", c->dport_min, c->dport_max);
	snprintf(ret, NOTE_TEXT, "takes what the gateway itself listens on at %s: TCP, %s%s", where, ports,
		 c->dport_min || c->n_protocols ? "" : ", and pings");
	return true;
}

static bool was_said(const struct model *running, const struct nat_cfg *c, const char *note)
{
	char text[NOTE_TEXT];

	for (size_t i = 0; running && i < running->n_nats; i++)
		if (!strcmp(running->nats[i].name, c->name))
			return note_wide(running, &running->nats[i], text) && !strcmp(text, note);
	return false;
}

void model_notes(const struct model *m, const struct model *running, struct errs *ret)
{
	char text[NOTE_TEXT], key[SLUICE_LABEL + 8];

	for (size_t i = 0; i < m->n_nats; i++) {
		const struct nat_cfg *c = &m->nats[i];

		if (!note_wide(m, c, text) || was_said(running, c, text))
			continue;
		snprintf(key, sizeof(key), "nat.%s", c->name);
		errs_add(ret, c->where, key, "%s", text);
	}
}
