/* port_show.c: the ports in words: attached, waiting, refused. Between port.c's state and whoever asks.
 */
#include <stdio.h>
#include <string.h>
#include "port_priv.h"
#include "show.h"

static const char *mode_name(uint8_t mode)
{
	static const char *const names[] = {
		[PORT_NONE] = "none",	    [PORT_ACCESS] = "access", [PORT_TRUNK] = "trunk", [PORT_ROUTED] = "routed",
		[PORT_OBSERVE] = "observe", [PORT_HOST] = "host",     [PORT_CUT] = "cut",
	};

	return mode < sizeof(names) / sizeof(names[0]) ? names[mode] : "unknown";
}

static const char *attach_name(uint8_t kind)
{
	static const char *const names[] = {
		[ATTACHED_NONE] = "off",
		[ATTACHED_TCX] = "tcx",
		[ATTACHED_CLSACT] = "clsact",
		[ATTACHED_XDP_NATIVE] = "native",
		[ATTACHED_XDP_GENERIC] = "generic",
	};

	return kind < sizeof(names) / sizeof(names[0]) ? names[kind] : "unknown";
}

json_t *show_vlans(const uint64_t vlans[VLAN_IDS / 64])
{
	json_t *list = json_array();
	char range[16];

	for (unsigned v = 1; v < VLAN_IDS; v++) {
		unsigned first = v;

		if (!(vlans[v / 64] >> (v % 64) & 1))
			continue;
		while (v + 1 < VLAN_IDS && vlans[(v + 1) / 64] >> ((v + 1) % 64) & 1)
			v++;
		if (v == first) {
			json_array_append_new(list, json_integer(v));
		} else {
			snprintf(range, sizeof(range), "%u-%u", first, v);
			json_array_append_new(list, json_string(range));
		}
	}
	return list;
}

static void add_vlans(json_t *o, uint8_t mode, uint16_t native, const uint64_t *vlans)
{
	if (mode == PORT_ACCESS || mode == PORT_HOST)
		json_object_set_new(o, "vlan", json_integer(native));
	if (mode != PORT_TRUNK)
		return;
	json_object_set_new(o, "vlans", show_vlans(vlans));
	if (native)
		json_object_set_new(o, "native", json_integer(native));
}

static json_t *show_attached(struct sw *sw, uint16_t id)
{
	const struct port_slot *s = &sw->ports->slot[id];
	const struct link *l = mirror_link(sw->mirror, (int)s->e.ifindex);
	uint64_t vlans[VLAN_IDS / 64];
	json_t *o = json_pack("{s:s, s:i, s:I, s:s, s:s, s:s, s:s, s:I, s:s}", "name", s->shown, "id", id, "ifindex",
			      (json_int_t)s->e.ifindex, "mode", mode_name(s->e.mode), "state", "attached", "tc",
			      attach_name(s->att.tc), "xdp", attach_name(s->att.xdp), "mtu", (json_int_t)s->e.mtu, "link",
			      link_usable(l) ? "up" : "down");

	memcpy(vlans, s->e.vlans, sizeof(vlans));
	add_vlans(o, s->e.mode, s->e.native, vlans);
	if (s->e.iface && iface_name(sw, s->e.iface))
		json_object_set_new(o, "interface", json_string(iface_name(sw, s->e.iface)));
	if (s->note[0])
		json_object_set_new(o, "note", json_string(s->note));
	json_object_set_new(o, "counters", show_port_counters(sw, id));
	return o;
}

static json_t *show_waiting(const char *name, uint8_t mode, uint16_t native, const uint64_t *vlans, const char *reason)
{
	json_t *o =
		json_pack("{s:s, s:s, s:s, s:s}", "name", name, "mode", mode_name(mode), "state", "waiting", "reason", reason);

	add_vlans(o, mode, native, vlans);
	return o;
}

static bool is_refused(const struct ports *ps, const char *name)
{
	for (size_t i = 0; i < ps->n_refused; i++)
		if (!strcmp(ps->refused[i].name, name))
			return true;
	return false;
}

/* Has a glob any netdev at the moment? */
static bool glob_in_use(struct sw *sw, const struct port_cfg *cfg)
{
	const struct port_cfg *other;

	for (uint16_t id = 1; id < PORT_MAX; id++)
		if (sw->ports->slot[id].e.ifindex && model_port_for(sw->model, sw->ports->slot[id].e.name, &other) == cfg)
			return true;
	return false;
}

json_t *port_show(struct sw *sw)
{
	const struct model *m = sw->model;
	struct ports *ps = sw->ports;
	json_t *list = json_array();

	for (uint16_t id = 1; id < PORT_MAX; id++)
		if (ps->slot[id].e.ifindex)
			json_array_append_new(list, show_attached(sw, id));
	for (size_t i = 0; i < ps->n_refused; i++)
		json_array_append_new(list,
				      json_pack("{s:s, s:i, s:s, s:s}", "name", ps->refused[i].name, "ifindex",
						ps->refused[i].ifindex, "state", "refused", "reason", ps->refused[i].reason));
	for (size_t i = 0; i < m->n_ports; i++) {
		const struct port_cfg *c = &m->ports[i];

		if (c->glob ? glob_in_use(sw, c) : port_id(sw, c->name) || is_refused(ps, c->name))
			continue;
		json_array_append_new(list, show_waiting(c->name, c->mode, c->native, c->vlans,
							 c->glob ? "no netdev matches" : "no such netdev"));
	}
	return list;
}
