/* port_want.c: which netdevs are to be ports, and what the table says of each: those that the configuration names or matches, the
 * switch's ends of the interfaces of VLANs, and that of cut.c. Between the model and the mirror's links on one side and port.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include "cut.h"
#include "port_priv.h"

void port_refuse(struct ports *ps, const char *name, int ifindex, const char *reason)
{
	struct port_refusal *v;

	if (ps->n_refused % 16 == 0) {
		v = realloc(ps->refused, (ps->n_refused + 16) * sizeof(*v));
		if (!v)
			return;
		ps->refused = v;
	}
	v = &ps->refused[ps->n_refused++];
	snprintf(v->name, sizeof(v->name), "%s", name);
	err_plain(v->name);
	snprintf(v->reason, sizeof(v->reason), "%s", reason);
	v->ifindex = ifindex;
}

static struct port_want *want_add(struct port_wants *w)
{
	struct port_want *v;

	if (w->n % 64 == 0) {
		v = realloc(w->v, (w->n + 64) * sizeof(*v));
		if (!v)
			return NULL;
		w->v = v;
	}
	v = &w->v[w->n++];
	memset(v, 0, sizeof(*v));
	return v;
}

static int want_link(const struct link *l, void *arg)
{
	struct port_wants *w = arg;
	const struct port_cfg *other = NULL, *cfg = model_port_for(w->sw->model, l->name, &other);
	const struct iface_cfg *i = model_iface(w->sw->model, l->name);
	struct port_want *v;
	char why[160];

	/* The host's own ends of the interfaces are where the switch hands packets to, not where they come from. */
	if (!cfg || (l->flags & IFF_LOOPBACK) || (i && i->vlan) || iface_of_host_port(w->sw, l->name) ||
	    cut_is_end(w->sw, l->name))
		return 0;
	if (other) {
		snprintf(why, sizeof(why), "both ports.%s and ports.%s match: name the port itself", cfg->name, other->name);
		port_refuse(w->sw->ports, l->name, l->ifindex, why);
		return 0;
	}
	v = want_add(w);
	if (!v)
		return -ENOMEM;
	v->ifindex = l->ifindex;
	v->mtu = l->mtu;
	v->down = !link_usable(l);
	v->peer = l->peer_away && l->queueless;
	memcpy(v->mac, l->mac, sizeof(v->mac));
	v->cfg = cfg;
	snprintf(v->name, sizeof(v->name), "%s", l->name);
	v->iface = cfg->mode == PORT_ROUTED ? iface_id(w->sw, l->name) : 0;
	return 0;
}

static int want_hosts(struct port_wants *w)
{
	const struct model *m = w->sw->model;
	const struct link *l;
	char name[IFNAMSIZ];
	struct port_want *v;
	uint32_t mtu;
	int ifindex;

	for (size_t i = 0; i < m->n_ifaces; i++) {
		ifindex = m->ifaces[i].vlan ? iface_switch_end(w->sw, m->ifaces[i].name, name, &mtu) : 0;
		if (!ifindex)
			continue;
		v = want_add(w);
		if (!v)
			return -ENOMEM;
		v->ifindex = ifindex;
		v->mtu = mtu;
		l = mirror_link(w->sw->mirror, ifindex); /* NULL: made a moment ago */
		v->down = l && !link_usable(l);
		v->host_vlan = m->ifaces[i].vlan;
		v->iface = iface_id(w->sw, m->ifaces[i].name);
		snprintf(v->name, sizeof(v->name), "%s", name);
	}
	return 0;
}

static int want_cut(struct port_wants *w)
{
	struct port_want *v;
	const char *name;
	uint32_t mtu;
	int ifindex = cut_port(w->sw, &name, &mtu);

	if (!ifindex)
		return 0;
	v = want_add(w);
	if (!v)
		return -ENOMEM;
	v->ifindex = ifindex;
	v->mtu = mtu;
	v->cut = true;
	snprintf(v->name, sizeof(v->name), "%s", name);
	return 0;
}

void port_entry_of(const struct port_want *w, struct port *e)
{
	e->ifindex = (uint32_t)w->ifindex;
	e->iface = w->iface;
	e->mtu = w->mtu;
	e->flags =
		(uint8_t)((e->flags & ~(PORT_F_DOWN | PORT_F_PEER)) | (w->down ? PORT_F_DOWN : 0) | (w->peer ? PORT_F_PEER : 0));
	memset(e->name, 0, sizeof(e->name));
	memcpy(e->name, w->name, strnlen(w->name, sizeof(e->name) - 1));
	if (w->cfg) {
		e->mode = w->cfg->mode;
		e->tpid = w->cfg->tpid ? w->cfg->tpid : htons(ETH_P_8021Q);
		e->native = w->cfg->native;
		memcpy(e->vlans, w->cfg->vlans, sizeof(e->vlans));
	} else {
		e->mode = w->cut ? PORT_CUT : PORT_HOST;
		e->tpid = htons(ETH_P_8021Q);
		e->native = w->host_vlan;
		memset(e->vlans, 0, sizeof(e->vlans));
		if (!w->cut)
			e->vlans[w->host_vlan / 64] |= 1ull << (w->host_vlan % 64);
	}
}

int port_wants(struct port_wants *w)
{
	int err = mirror_each_link(w->sw->mirror, want_link, w);

	if (!err)
		err = want_hosts(w);
	return err ? err : want_cut(w);
}
