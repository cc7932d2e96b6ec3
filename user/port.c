/* port.c: netdevs as ports of the switch: which ones, under which id, and how they are attached. Between the mirror's links
 * and the model on one side, the maps `ports`, `port_ids`, `xdp_ports` and datapath.h on the other.
 *
 * A port's id is kept as long as its name is configured, attached or not, so that a container that restarts is the same
 * port; ids of netdevs that only a glob matches are given away when no other is free. Order, so that no packet is lost: a port's
 * entry is in the tables before its programs are attached, and is taken out after they are detached. Whatever pointed to
 * a port that is gone (learned stations, lists of members) is forgotten before its id is given to another.
 *
 * A port that is set down or loses its carrier keeps its entry with PORT_F_DOWN; first the entry says so, then vlan.c takes it
 * out of the lists of members and fdb.c forgets the stations behind it. When the carrier is back the same steps, in the same
 * order, make it a port as before.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "cut.h"
#include "port_priv.h"

static bool is_configured(const struct sw *sw, const char *name, bool *ret_exact)
{
	const struct port_cfg *other, *cfg = model_port_for(sw->model, name, &other);

	*ret_exact = iface_of_host_port(sw, name) || cut_is_end(sw, name) || (cfg && !cfg->glob);
	return *ret_exact || cfg;
}

/* ---- the tables */

static int write_entry(struct sw *sw, uint16_t id, const struct port *e)
{
	uint32_t key = id;

	return table_set(table_get(sw->dp, "ports"), &key, e);
}

static void slot_set(struct port_slot *s, const struct port *e)
{
	s->e = *e;
	snprintf(s->shown, sizeof(s->shown), "%s", e->name);
	err_plain(s->shown);
}

static void set_entry(struct sw *sw, uint16_t id, const struct port *e)
{
	struct port_slot *s = &sw->ports->slot[id];

	if (!memcmp(&s->e, e, sizeof(*e)))
		return;
	slot_set(s, e);
	write_entry(sw, id, e);
	sw_epoch(sw); /* what packets have remembered of it ends with it */
}

static void set_flags(struct sw *sw, uint16_t id, uint8_t clear, uint8_t set)
{
	struct port e = sw->ports->slot[id].e;

	e.flags = (uint8_t)((e.flags & ~clear) | set);
	set_entry(sw, id, &e);
}

/* A name that is new on this id starts at zero. */
static void zero_counters(struct sw *sw, uint16_t id)
{
	table_zero_percpu(table_get(sw->dp, "port_counters"), id);
	table_zero_percpu(table_get(sw->dp, "drop_counters"), id);
}

/* `devmap`: XDP may redirect frames to this port. */
static int set_xdp_target(struct sw *sw, uint16_t id, int ifindex, bool devmap)
{
	struct bpf_devmap_target {
		uint32_t ifindex;
		uint32_t prog_fd;
	} to = {.ifindex = (uint32_t)ifindex};
	struct table *t = table_get(sw->dp, "xdp_ports");
	struct bpf_devmap_target have = {0};
	uint32_t key = id;

	if (!t)
		return devmap ? -ENOENT : 0;
	/* The kernel takes the old element out before it puts the new one in: what is right is left alone. */
	if (devmap && !table_lookup(t, &key, &have) && have.ifindex == to.ifindex)
		return 0;
	return devmap ? table_set(t, &key, &to) : table_delete(t, &key);
}

/* First nobody is sent there any more, nor by what was found before: a frame that finds no target is lost without a reason. */
static void end_xdp_target(struct sw *sw, uint16_t id)
{
	set_flags(sw, id, PORT_F_XDP, 0);
	set_xdp_target(sw, id, 0, false);
}

/* Sets or clears IFF_PROMISC, under whatever name the netdev has by now. 1: changed, 0: it was so already; -errno. */
static int set_promisc(uint32_t ifindex, bool on)
{
	struct ifreq r = {0};
	int err = 0, fd;

	if (!if_indextoname(ifindex, r.ifr_name))
		return -ENODEV;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (ioctl(fd, SIOCGIFFLAGS, &r)) {
		err = -errno;
	} else if (!!(r.ifr_flags & IFF_PROMISC) != on) {
		r.ifr_flags ^= IFF_PROMISC;
		err = ioctl(fd, SIOCSIFFLAGS, &r) ? -errno : 1;
	}
	close(fd);
	return err;
}

/* ---- detaching */

static void detach(struct sw *sw, uint16_t id)
{
	struct port_slot *s = &sw->ports->slot[id];
	uint32_t ifindex = s->e.ifindex;
	struct port e = s->e;

	datapath_detach(sw->dp, (int)ifindex, e.name);
	/* A netdev that is in another namespace by now is as it was made: remembered, in case it comes back. */
	if (e.flags & PORT_F_PROMISC && set_promisc(ifindex, false) != -ENODEV)
		e.flags &= (uint8_t)~PORT_F_PROMISC;
	end_xdp_target(sw, id);
	table_delete(table_get(sw->dp, "port_ids"), &ifindex);
	e.ifindex = 0;
	e.flags &= PORT_F_PROMISC;
	set_entry(sw, id, &e);
	s->attached = false;
	s->att = (struct attachment){0};
	s->note[0] = 0;
}

static void free_slot(struct sw *sw, uint16_t id)
{
	static const struct port none;

	vlan_leave(sw, id, &none);
	set_entry(sw, id, &none);
	memset(&sw->ports->slot[id], 0, sizeof(sw->ports->slot[id]));
}

/* Detaches what is not wanted any more, and frees the ids of names that are not configured. */
static void release(struct sw *sw)
{
	struct ports *ps = sw->ports;
	uint64_t gone[PORT_MAX / 64] = {0};
	bool any = false, exact;

	for (uint16_t id = 1; id < PORT_MAX; id++) {
		struct port_slot *s = &ps->slot[id];

		if (s->e.mode == PORT_NONE)
			continue;
		if (s->e.ifindex && (!s->want || (uint32_t)s->want->ifindex != s->e.ifindex)) {
			detach(sw, id);
			gone[id / 64] |= 1ull << (id % 64);
			any = true;
		}
		if (!s->want && !is_configured(sw, s->e.name, &exact))
			free_slot(sw, id);
	}
	if (any)
		fdb_forget_ports(sw, gone);
}

/* ---- ids */

static uint16_t slot_by_name(const struct ports *ps, const char *name)
{
	for (uint16_t id = 1; id < PORT_MAX; id++)
		if (ps->slot[id].e.mode != PORT_NONE && !strcmp(ps->slot[id].e.name, name))
			return id;
	return 0;
}

static uint16_t slot_new(struct sw *sw)
{
	struct ports *ps = sw->ports;
	bool exact;

	for (uint16_t id = 1; id < PORT_MAX; id++)
		if (ps->slot[id].e.mode == PORT_NONE && !ps->slot[id].want)
			return id;
	for (uint16_t id = 1; id < PORT_MAX; id++) {
		if (ps->slot[id].e.ifindex || ps->slot[id].want)
			continue;
		if (is_configured(sw, ps->slot[id].e.name, &exact) && exact)
			continue;
		free_slot(sw, id);
		return id;
	}
	return 0;
}

static int assign_ids(struct sw *sw, struct port_wants *w, struct errs *errs)
{
	struct ports *ps = sw->ports;
	int err = 0;

	for (size_t i = 0; i < w->n; i++) {
		struct port_want *v = &w->v[i];

		if (v->id)
			continue;
		v->id = slot_new(sw);
		if (!v->id) {
			port_refuse(ps, v->name, v->ifindex, "the table of ports is full");
			err = errs_fail(errs, E2BIG, "port %s: the table of ports is full (%d)", v->name, PORT_MAX - 1);
			continue;
		}
		ps->slot[v->id].want = v;
		zero_counters(sw, v->id);
	}
	return err;
}

/* ---- attaching */

/* XDP must see every tag. The driver's stripping is turned off; where that fails, XDP leaves untagged frames to tc. A veth hides
 * the tags of its own machine's senders whatever is set: on a trunk that would put frames into the wrong VLAN, on other ports a
 * tag means nothing but a drop. */
static void settle_tags(struct sw *sw, const struct port_want *w)
{
	struct port_slot *s = &sw->ports->slot[w->id];
	char driver[32] = "";
	bool veth = netlink_driver(w->name, driver, sizeof(driver)) >= 0 && !strcmp(driver, "veth");

	if (s->att.xdp == ATTACHED_NONE || (veth && s->e.mode != PORT_TRUNK)) {
		set_flags(sw, w->id, PORT_F_TAG_HIDDEN, 0);
		return;
	}
	if (!veth && !netlink_rxvlan_off(w->name))
		set_flags(sw, w->id, PORT_F_TAG_HIDDEN, 0);
	else if (!s->note[0])
		snprintf(s->note, sizeof(s->note), "the driver (%s) may hide VLAN tags: XDP leaves untagged frames to tc",
			 driver);
}

static void settle_promisc(struct sw *sw, const struct port_want *w)
{
	struct port_slot *s = &sw->ports->slot[w->id];
	bool ours = s->e.flags & PORT_F_PROMISC, want = s->e.mode == PORT_ACCESS || s->e.mode == PORT_TRUNK;

	if (want && set_promisc(s->e.ifindex, true) == 1)
		set_flags(sw, w->id, 0, PORT_F_PROMISC);
	if (!want && ours) {
		set_promisc(s->e.ifindex, false);
		set_flags(sw, w->id, PORT_F_PROMISC, 0);
	}
}

static enum xdp_want xdp_wanted(const struct port_want *w)
{
	/* Nothing is forwarded from an observed port, and a host port is a veth of sluiced's own. */
	return !w->cfg || w->cfg->mode == PORT_OBSERVE ? XDP_WANT_OFF : w->cfg->xdp;
}

static int attach(struct sw *sw, const struct port_want *w, struct errs *errs)
{
	struct port_slot *s = &sw->ports->slot[w->id];
	bool native;
	int err;

	err = datapath_attach(sw->dp, w->ifindex, w->name, xdp_wanted(w), &s->att, s->note, errs);
	if (err)
		return err;
	native = s->att.xdp == ATTACHED_XDP_NATIVE;
	if (native && set_xdp_target(sw, w->id, w->ifindex, true))
		native = false;
	if (native)
		set_flags(sw, w->id, PORT_F_XDP, PORT_F_XDP);
	else
		end_xdp_target(sw, w->id);
	settle_tags(sw, w);
	settle_promisc(sw, w);
	if (s->e.mode != PORT_OBSERVE)
		err = netlink_link_set(sw->nl, w->ifindex, true, NULL, 0, errs);
	s->attached = !err;
	s->xdp = xdp_wanted(w);
	return err;
}

/* Is the netdev the one that was this port before? Without a MAC to compare, in a new life, its name must do. */
static bool is_former(const struct port_slot *s, const struct port_want *w)
{
	static const uint8_t unknown[6];

	return !memcmp(s->mac, unknown, 6) || !memcmp(s->mac, w->mac, 6);
}

/* The entry, then the programs. */
static int apply(struct sw *sw, const struct port_want *w, struct errs *errs)
{
	struct port_slot *s = &sw->ports->slot[w->id];
	bool again = !s->attached || s->xdp != xdp_wanted(w);
	struct port e = s->e;
	bool adopted; /* a former life attached it, and its programs have worked ever since */
	uint32_t key = (uint32_t)w->ifindex, id = w->id;
	int err;

	if (!e.ifindex && !is_former(s, w))
		e.flags &= (uint8_t)~PORT_F_PROMISC;
	memcpy(s->mac, w->mac, sizeof(s->mac));
	port_entry_of(w, &e);
	again |= e.mode != s->e.mode;
	adopted = !s->attached && e.ifindex == s->e.ifindex && e.mode == s->e.mode && e.flags & PORT_F_XDP;
	if (again && !adopted && xdp_wanted(w) != XDP_WANT_OFF)
		e.flags |= PORT_F_TAG_HIDDEN;
	err = vlan_leave(sw, w->id, &e);
	if (err)
		return errs_fail(errs, -err, "port %s: the lists of members cannot be written: %s", w->name, strerror(-err));
	set_entry(sw, w->id, &e);
	if (!again)
		return 0;
	err = table_set(table_get(sw->dp, "port_ids"), &key, &id);
	if (err)
		return errs_fail(errs, -err, "port %s: the table port_ids refuses it: %s", w->name, strerror(-err));
	return attach(sw, w, errs);
}

/* A netdev that went away meanwhile is no error: the port waits. */
static int apply_or_refuse(struct sw *sw, const struct port_want *w, struct errs *errs)
{
	struct errs why = {0};
	char *text = NULL;
	int err;

	err = apply(sw, w, &why);
	if (w->cut)
		cut_attached(sw, !err);
	if (err)
		detach(sw, w->id);
	if (err && err != -ENODEV) {
		if (why.n)
			text = err_text(&why.v[0]);
		port_refuse(sw->ports, w->name, w->ifindex, text ? text : strerror(-err));
		errs_fail(errs, -err, "%s", text ? text : strerror(-err));
		free(text);
	}
	errs_free(&why);
	return err == -ENODEV ? 0 : err;
}

/* ---- the whole */

/* An attached port's entry names its netdev: links of others are left over from a crash. */
static bool keep(const char *netdev, void *arg)
{
	struct ports *ps = arg;
	uint16_t id = slot_by_name(ps, netdev);

	return id && ps->slot[id].e.ifindex;
}

static void match_slots(struct ports *ps, struct port_wants *w)
{
	for (uint16_t id = 1; id < PORT_MAX; id++)
		ps->slot[id].want = NULL;
	for (size_t i = 0; i < w->n; i++) {
		w->v[i].id = slot_by_name(ps, w->v[i].name);
		if (w->v[i].id)
			ps->slot[w->v[i].id].want = &w->v[i];
	}
}

int port_reconcile(struct sw *sw, struct errs *errs)
{
	struct ports *ps = sw->ports;
	struct port_wants w = {.sw = sw};
	int err, r;

	ps->n_refused = 0;
	err = port_wants(&w);
	if (err) {
		free(w.v);
		return errs_fail(errs, -err, "out of memory");
	}
	match_slots(ps, &w);
	release(sw);
	if (!ps->swept)
		datapath_detach_others(sw->dp, keep, ps);
	ps->swept = true;
	err = assign_ids(sw, &w, errs);
	for (size_t i = 0; i < w.n; i++) {
		r = w.v[i].id ? apply_or_refuse(sw, &w.v[i], errs) : 0;
		if (r && !err)
			err = r;
	}
	for (uint16_t id = 1; id < PORT_MAX; id++)
		ps->slot[id].want = NULL;
	free(w.v);
	return err;
}

static int read_slot(const void *key, void *value, void *arg)
{
	uint32_t id = *(const uint32_t *)key;
	struct ports *ps = arg;

	if (id && id < PORT_MAX)
		slot_set(&ps->slot[id], value);
	return 0;
}

int port_open(struct sw *sw, struct errs *errs)
{
	struct table *t = table_get(sw->dp, "ports");
	int err;

	if (!t || !table_get(sw->dp, "port_ids"))
		return errs_fail(errs, ENOENT, "the tables of the ports are missing");
	sw->ports = calloc(1, sizeof(*sw->ports));
	if (!sw->ports)
		return errs_fail(errs, ENOMEM, "out of memory");
	err = table_each(t, read_slot, sw->ports);
	return err ? errs_fail(errs, -err, "the table of ports cannot be read: %s", strerror(-err)) : 0;
}

void port_close(struct sw *sw)
{
	if (sw->ports)
		free(sw->ports->refused);
	free(sw->ports);
	sw->ports = NULL;
}

const struct port *port_entry(const struct sw *sw, uint16_t id)
{
	if (!id || id >= PORT_MAX || sw->ports->slot[id].e.mode == PORT_NONE)
		return NULL;
	return &sw->ports->slot[id].e;
}

uint16_t port_id(const struct sw *sw, const char *netdev)
{
	uint16_t id = slot_by_name(sw->ports, netdev);

	return id && sw->ports->slot[id].e.ifindex ? id : 0;
}

const char *port_name(const struct sw *sw, uint16_t id)
{
	return port_entry(sw, id) ? sw->ports->slot[id].shown : NULL;
}
