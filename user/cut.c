/* cut.c: the veth pair on which the kernel finishes what the data plane cannot, so that it can be cut: a packet of several
 * datagrams (UDP GSO), of several of a tunnel's packets or of SCTP's goes in at its one end and comes out of the other as single
 * ones, and a checksum inside of a tunnel that is left to a device is whole then. For the end says that it knows nothing of all
 * that, and so the kernel does it. Between the model and netlink.h; bpf/fragment.h sends there, and takes back by port.c's port
 * of mode PORT_CUT.
 *
 * There is one only where a packet can be too large for its way out: interfaces of more than one MTU, or a route with an MTU.
 * Both ends bear the alias sluice:INSTANCE:/cut, which no interface's can be, and are called after a hash of the instance's name.
 * IPv6 is off on both: nobody shall speak there.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cut.h"
#include "events.h"
#include "sysctl.h"

#define CUT_MTU 65535

struct cut {
	char in[IFNAMSIZ], out[IFNAMSIZ]; /* where packets go in, and where they come out: a port */
	char alias[64];
	int in_ifindex, out_ifindex; /* of a pair that takes packets apart; 0: there is none */
	bool route_mtu;
};

int cut_open(struct sw *sw, struct errs *errs)
{
	struct cut *c = calloc(1, sizeof(*c));
	uint32_t h = 0x811c9dc5;

	if (!c)
		return errs_fail(errs, ENOMEM, "out of memory");
	for (const char *p = sw->instance; *p; p++)
		h = (h ^ (unsigned char)*p) * 0x01000193;
	snprintf(c->in, sizeof(c->in), "cut-%08x-i", h);
	snprintf(c->out, sizeof(c->out), "cut-%08x-o", h);
	snprintf(c->alias, sizeof(c->alias), "sluice:%s:" CUT_ALIAS, sw->instance);
	sw->cut = c;
	return 0;
}

void cut_close(struct sw *sw)
{
	free(sw->cut);
	sw->cut = NULL;
}

void cut_route_mtu(struct sw *sw)
{
	if (sw->cut->route_mtu)
		return;
	sw->cut->route_mtu = true;
	if (sw->events)
		events_again_links(sw->events);
}

bool cut_is_end(const struct sw *sw, const char *netdev)
{
	return !strcmp(netdev, sw->cut->in) || !strcmp(netdev, sw->cut->out);
}

int cut_port(const struct sw *sw, const char **ret_name, uint32_t *ret_mtu)
{
	*ret_name = sw->cut->out;
	*ret_mtu = CUT_MTU;
	return sw->cut->out_ifindex;
}

static bool is_wanted(const struct sw *sw)
{
	const struct model *m = sw->model;
	uint32_t first = 0;

	for (size_t i = 0; i < m->n_ifaces; i++) {
		const struct link *l = mirror_link_by_name(sw->mirror, m->ifaces[i].vlan ? m->ifaces[i].name : m->ifaces[i].port);
		uint32_t mtu = m->ifaces[i].mtu ? m->ifaces[i].mtu : l ? l->mtu : 0;

		if (mtu && first && mtu != first)
			return true;
		first = mtu ? mtu : first;
	}
	return m->n_ifaces && sw->cut->route_mtu;
}

static bool is_ours(const struct sw *sw, int ifindex)
{
	char have[256] = "";

	/* None yet: of a sluiced that was killed before it had set it; the name is a hash of the instance's. */
	return netlink_link_alias_get(sw->nl, ifindex, have, sizeof(have)) >= 0 && (!*have || !strcmp(sw->cut->alias, have));
}

/* Half of a pair is taken away: *ends are 0 then, as when there was none. */
static int check(struct sw *sw, int ends[2], struct errs *errs)
{
	struct cut *c = sw->cut;
	int err = 0;

	for (int i = 0; i < 2; i++)
		if (ends[i] && !is_ours(sw, ends[i]))
			return errs_fail(errs, EEXIST, "a netdev `%s` exists that is not this switch's: remove it",
					 i ? c->out : c->in);
	if (!ends[0] != !ends[1]) {
		err = netlink_link_delete(sw->nl, ends[0] ? ends[0] : ends[1], errs);
		ends[0] = ends[1] = 0;
	}
	return err;
}

/* One end takes the other one along. */
static int take_away(struct sw *sw, const int ends[2], struct errs *errs)
{
	for (int i = 0; i < 2; i++)
		if (ends[i] && is_ours(sw, ends[i]))
			return netlink_link_delete(sw->nl, ends[i], errs);
	return 0;
}

static int make(struct sw *sw, int ret[2], struct errs *errs)
{
	struct cut *c = sw->cut;
	int err = netlink_veth_add(sw->nl, c->in, c->out, NULL, CUT_MTU, errs);

	if (err)
		return err;
	ret[0] = (int)if_nametoindex(c->in);
	ret[1] = (int)if_nametoindex(c->out);
	return 0;
}

static int settle(struct sw *sw, const int ends[2], struct errs *errs)
{
	int err = 0;

	sysctl_set("1", "ipv6/conf/%s/disable_ipv6", sw->cut->in);
	sysctl_set("1", "ipv6/conf/%s/disable_ipv6", sw->cut->out);
	for (int i = 0; i < 2 && !err; i++)
		err = netlink_link_alias(sw->nl, ends[i], sw->cut->alias, errs);
	if (err)
		return err;
	err = netlink_offloads_off(sw->cut->in);
	if (err)
		return errs_fail(errs, -err, "%s: its offloads cannot be switched off: %s", sw->cut->in, strerror(-err));
	return netlink_link_set(sw->nl, ends[0], true, NULL, 0, errs);
}

/* Nothing is sent there before packets are taken apart and the other end is a port: what came back whole would go round for ever,
 * and what comes out where nobody waits is lost. The pair of a former life is in use all the while. */
int cut_reconcile(struct sw *sw, struct errs *errs)
{
	struct cut *c = sw->cut;
	int ends[2] = {(int)if_nametoindex(c->in), (int)if_nametoindex(c->out)}, err;
	bool wanted = is_wanted(sw);

	if (wanted && c->out_ifindex && ends[0] == c->in_ifindex && ends[1] == c->out_ifindex)
		return 0;
	c->in_ifindex = c->out_ifindex = 0;
	if (!wanted || !ends[1] || (int)sw->control->cut_ifindex != ends[0])
		sw->control->cut_ifindex = 0;
	if (!wanted)
		return take_away(sw, ends, errs);
	err = check(sw, ends, errs);
	if (!err && !ends[0])
		err = make(sw, ends, errs);
	if (!err)
		err = settle(sw, ends, errs);
	if (err) {
		sw->control->cut_ifindex = 0;
		return err;
	}
	c->in_ifindex = ends[0];
	c->out_ifindex = ends[1];
	return 0;
}

void cut_attached(struct sw *sw, bool attached)
{
	sw->control->cut_ifindex = attached ? (uint32_t)sw->cut->in_ifindex : 0;
}
