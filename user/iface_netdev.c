/* iface_netdev.c: the veth pairs of VLAN interfaces: the host's end is called after the interface, the switch's end
 * sw-INTERFACE. Between the configuration and netlink.h.
 *
 * Both ends bear the alias sluice:INSTANCE:INTERFACE. By it a later life knows its own, and never touches or deletes a netdev of
 * somebody else that happens to have the name. The host's end has a MAC that does not change when the pair is made anew, so
 * that nobody's ARP table goes stale. IPv6 is off on the switch's end: it is a port, and a link-local address there would
 * make the kernel a second station on the VLAN, in duplicate address detection with itself.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cut.h"
#include "iface_priv.h"
#include "sysctl.h"

#define ALIAS_SIZE 128

static void alias_of(char buf[ALIAS_SIZE], const struct sw *sw, const char *iface)
{
	snprintf(buf, ALIAS_SIZE, "sluice:%s:%s", sw->instance, iface);
}

static void switch_name(char buf[IFNAMSIZ], const char *iface)
{
	snprintf(buf, IFNAMSIZ, SWITCH_END "%.12s", iface);
}

/* Stable for an interface's name in an instance; locally administered, unicast. */
static void derive_mac(const struct sw *sw, const char *iface, uint8_t mac[6])
{
	char text[ALIAS_SIZE];
	uint64_t h = 0xcbf29ce484222325ull;

	alias_of(text, sw, iface);
	for (const char *p = text; *p; p++)
		h = (h ^ (unsigned char)*p) * 0x100000001b3ull;
	h ^= h >> 32;
	mac[0] = 0x02;
	for (int i = 1; i < 6; i++)
		mac[i] = (uint8_t)(h >> (8 * i));
}

static bool is_ours(const struct sw *sw, int ifindex, const char *iface)
{
	char want[ALIAS_SIZE], have[256] = "";

	alias_of(want, sw, iface);
	return netlink_link_alias_get(sw->nl, ifindex, have, sizeof(have)) >= 0 && !strcmp(want, have);
}

int iface_link_set(struct sw *sw, int ifindex, bool raise, const uint8_t *mac, uint32_t mtu, struct errs *errs)
{
	const struct link *l = mirror_link(sw->mirror, ifindex);
	bool up = l && (l->flags & IFF_UP);

	/* A pair made a moment ago has its MAC and MTU; what the mirror does not know yet must not be set down by mistake. */
	if (!l || (mac && !memcmp(l->mac, mac, 6)))
		mac = NULL;
	if (!l || mtu == l->mtu)
		mtu = 0;
	if (!mac && !mtu && (!raise || up))
		return 0;
	return netlink_link_set(sw->nl, ifindex, raise || up, mac, mtu, errs);
}

static int refuse_foreign(const struct iface_cfg *cfg, const char *netdev, struct errs *errs)
{
	char key[64];

	snprintf(key, sizeof(key), "interfaces.%s", cfg->name);
	errs_add(errs, cfg->where, key, "a netdev `%s` exists that is not this switch's: choose another name, or remove it",
		 netdev);
	return -EEXIST;
}

/* What stands under the two names: taken over when it is ours and whole, removed when it is ours and half. */
static int find_pair(struct sw *sw, struct iface_slot *s, const struct iface_cfg *cfg, struct errs *errs)
{
	char other[IFNAMSIZ];
	int host, sw_end, err = 0;

	switch_name(other, cfg->name);
	host = (int)if_nametoindex(cfg->name);
	sw_end = (int)if_nametoindex(other);
	if (host && host == s->host_ifindex && sw_end == s->switch_ifindex)
		return 0;
	if (host != s->host_ifindex)
		iface_valid_mark(sw, s, false);
	s->host_ifindex = s->switch_ifindex = 0;
	if (host && !is_ours(sw, host, cfg->name))
		return refuse_foreign(cfg, cfg->name, errs);
	if (sw_end && !is_ours(sw, sw_end, cfg->name))
		return refuse_foreign(cfg, other, errs);
	if (host && sw_end) {
		s->host_ifindex = host;
		s->switch_ifindex = sw_end;
	} else if (host || sw_end) {
		err = netlink_link_delete(sw->nl, host ? host : sw_end, errs);
	}
	return err;
}

static int make_pair(struct sw *sw, struct iface_slot *s, const char *name, struct errs *errs)
{
	char other[IFNAMSIZ], alias[ALIAS_SIZE];
	int err;

	switch_name(other, name);
	err = netlink_veth_add(sw->nl, name, other, s->mac, s->mtu, errs);
	if (err)
		return err;
	/* A kernel without IPv6 has no such switches. */
	sysctl_set("1", "ipv6/conf/%s/disable_ipv6", other);
	sysctl_set("0", "ipv6/conf/%s/accept_ra", name);
	/* Taking away one address must not take others of its subnet with it. */
	sysctl_set("1", "ipv4/conf/%s/promote_secondaries", name);
	s->host_ifindex = (int)if_nametoindex(name);
	s->switch_ifindex = (int)if_nametoindex(other);
	s->raised = false;
	alias_of(alias, sw, name);
	err = netlink_link_alias(sw->nl, s->host_ifindex, alias, errs);
	if (!err)
		err = netlink_link_alias(sw->nl, s->switch_ifindex, alias, errs);
	/* Without its mark a later life would take it for somebody else's. */
	if (err)
		iface_pair_delete(sw, s, NULL);
	return err;
}

int iface_pair_set(struct sw *sw, struct iface_slot *s, const struct iface_cfg *cfg, struct errs *errs)
{
	int err;

	s->is_vlan = true;
	s->mtu = cfg->mtu ? cfg->mtu : VETH_MTU;
	if (cfg->has_mac)
		memcpy(s->mac, cfg->mac, 6);
	else
		derive_mac(sw, cfg->name, s->mac);
	err = find_pair(sw, s, cfg, errs);
	if (err)
		return err;
	if (!s->host_ifindex)
		return make_pair(sw, s, cfg->name, errs);
	err = iface_link_set(sw, s->switch_ifindex, false, NULL, s->mtu, errs);
	return err ? err : iface_link_set(sw, s->host_ifindex, false, s->mac, s->mtu, errs);
}

int iface_pair_delete(struct sw *sw, struct iface_slot *s, struct errs *errs)
{
	int err = s->host_ifindex ? netlink_link_delete(sw->nl, s->host_ifindex, errs) : 0;

	s->host_ifindex = s->switch_ifindex = 0;
	return err;
}

void iface_valid_mark(struct sw *sw, struct iface_slot *s, bool on)
{
	char netdev[IFNAMSIZ];

	/* Noted by a former life, it may not have been set. */
	if (on ? s->valid_mark && s->mark_set : !s->valid_mark)
		return;
	if (if_indextoname((unsigned)s->host_ifindex, netdev)) {
		/* Set by somebody else, it stays. */
		if (on && !s->valid_mark && sysctl_get("ipv4/conf/%s/src_valid_mark", netdev) != '0')
			return;
		if (on) {
			sysctl_note(true, "ipv4/conf/%s/src_valid_mark", netdev);
			iface_note_valid_mark(sw, s, true);
		}
		sysctl_set(on ? "1" : "0", "ipv4/conf/%s/src_valid_mark", netdev);
		if (!on)
			sysctl_note(false, "ipv4/conf/%s/src_valid_mark", netdev);
	}
	s->mark_set = on;
	if (!on)
		iface_note_valid_mark(sw, s, false);
}

struct sweep {
	struct sw *sw;
	int *ifindexes;
	size_t n;
};

static int find_left_over(const struct link *l, void *arg)
{
	char alias[256] = "", mark[ALIAS_SIZE];
	struct sweep *w = arg;
	const struct iface_cfg *cfg;

	alias_of(mark, w->sw, "");
	if (strcmp(l->kind, "veth") || netlink_link_alias_get(w->sw->nl, l->ifindex, alias, sizeof(alias)) < 0 ||
	    strncmp(alias, mark, strlen(mark)))
		return 0;
	if (!strcmp(alias + strlen(mark), CUT_ALIAS))
		return 0;
	cfg = model_iface(w->sw->model, alias + strlen(mark));
	if (cfg && cfg->vlan)
		return 0;
	if (w->n % 64 == 0) {
		int *v = realloc(w->ifindexes, (w->n + 64) * sizeof(*v));

		if (!v)
			return -ENOMEM;
		w->ifindexes = v;
	}
	w->ifindexes[w->n++] = l->ifindex;
	return 0;
}

int iface_pairs_sweep(struct sw *sw, struct errs *errs)
{
	struct sweep w = {.sw = sw};
	int err, r;

	err = mirror_each_link(sw->mirror, find_left_over, &w);
	if (err)
		errs_fail(errs, -err, "out of memory");
	/* The second end of a pair is gone with the first, which is no error. */
	for (size_t i = 0; i < w.n; i++) {
		r = netlink_link_delete(sw->nl, w.ifindexes[i], errs);
		err = err ? err : r;
	}
	free(w.ifindexes);
	return err;
}
