/* attach.c: the programs on their netdevs: tcx where the kernel has it, else clsact; XDP as a link.
 *
 * Links are pinned as links/tc-NETDEV and links/xdp-NETDEV and outlive sluiced; a filter of clsact lives by itself, and the pin
 * links/clsact-NETDEV of its program only tells a later life whose it is. A pinned link is taken over when its netdev is
 * still the one meant (by ifindex), else it is thrown away. What somebody else attached is left alone. The clsact qdisc
 * stays behind on detach: others may have filters on it.
 */
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "datapath_priv.h"
#include "netlink.h"

#define ATTACH_TCX_INGRESS 46 /* BPF_TCX_INGRESS: linux/bpf.h of Debian 12 does not know it */
#define FILTER_HANDLE	   1
#define FILTER_PRIORITY	   1

/* The ifindex of a link, 0 when its netdev is gone, or -errno. tcx and XDP have it at the same place. */
static int link_ifindex(int fd)
{
	struct bpf_link_info info = {0};
	__u32 len = sizeof(info);
	int err = bpf_obj_get_info_by_fd(fd, &info, &len);

	return err ? err : (int)info.xdp.ifindex;
}

static void link_path(char *buf, size_t size, const char *root, const char *kind, const char *netdev)
{
	char name[64];

	snprintf(name, sizeof(name), "%s-%s", kind, netdev);
	pin_path(buf, size, root, "links", name);
}

/* The pinned link of a kind, if it is attached to this ifindex; one that is not is detached and unpinned. -ENOENT: none. */
static int link_open(const char *root, const char *kind, const char *netdev, int ifindex)
{
	char path[PATH_MAX];
	int fd;

	link_path(path, sizeof(path), root, kind, netdev);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return fd;
	if (link_ifindex(fd) == ifindex)
		return fd;
	bpf_link_detach(fd);
	close(fd);
	return unlink(path) && errno != ENOENT ? -errno : -ENOENT;
}

static int link_drop(const char *root, const char *kind, const char *netdev)
{
	char path[PATH_MAX];
	int fd, err = 0;

	link_path(path, sizeof(path), root, kind, netdev);
	fd = bpf_obj_get(path);
	if (fd == -ENOENT)
		return 0;
	if (fd >= 0) {
		/* -ENOLINK: the netdev went away first. */
		err = bpf_link_detach(fd);
		if (err == -ENOLINK)
			err = 0;
		close(fd);
	}
	return unlink(path) && errno != ENOENT ? -errno : err;
}

static int link_pin(const char *root, const char *kind, const char *netdev, int fd)
{
	char path[PATH_MAX];

	link_path(path, sizeof(path), root, kind, netdev);
	return bpf_obj_pin(fd, path);
}

/* "program NAME (id N)" */
static void prog_words(char *buf, size_t size, uint32_t id)
{
	struct bpf_prog_info info = {0};
	__u32 len = sizeof(info);
	int fd = bpf_prog_get_fd_by_id(id);

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len))
		snprintf(info.name, sizeof(info.name), "?");
	if (fd >= 0)
		close(fd);
	snprintf(buf, size, "program %s (id %u)", info.name, id);
}

/* ---- clsact */

/* Does the program use the map with this id? */
static bool prog_uses_map(uint32_t prog_id, uint32_t map_id)
{
	__u32 ids[128] = {0};
	struct bpf_prog_info info = {.nr_map_ids = 128, .map_ids = (__u64)(uintptr_t)ids};
	__u32 len = sizeof(info);
	bool uses = false;
	int fd = bpf_prog_get_fd_by_id(prog_id);

	if (fd < 0)
		return false;
	if (!bpf_obj_get_info_by_fd(fd, &info, &len))
		for (__u32 i = 0; i < info.nr_map_ids && i < 128; i++)
			uses |= ids[i] == map_id;
	close(fd);
	return uses;
}

/* The program at our place in clsact's ingress; 0: none. */
static uint32_t filter_prog(int ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = FILTER_HANDLE, .priority = FILTER_PRIORITY);

	return bpf_tc_query(&hook, &opts) ? 0 : opts.prog_id;
}

/* Is a program of the instance? By its map `control`, or, where the instance has lost that, by the pinned marker. */
static bool filter_is_ours(const char *root, uint32_t control_id, const char *netdev, uint32_t prog_id)
{
	struct bpf_prog_info info = {0};
	__u32 len = sizeof(info);
	char path[PATH_MAX];
	bool ours;
	int fd;

	if (control_id && prog_uses_map(prog_id, control_id))
		return true;
	link_path(path, sizeof(path), root, "clsact", netdev);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return false;
	ours = !bpf_obj_get_info_by_fd(fd, &info, &len) && info.id == prog_id;
	close(fd);
	return ours;
}

static int clsact_set(struct datapath *dp, int ifindex, const char *netdev, int prog_fd)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = FILTER_HANDLE, .priority = FILTER_PRIORITY, .prog_fd = prog_fd,
		    .flags = BPF_TC_F_REPLACE);
	char path[PATH_MAX];
	int err;

	err = bpf_tc_hook_create(&hook);
	if (err && err != -EEXIST)
		return err;
	err = bpf_tc_attach(&hook, &opts);
	if (err)
		return err;
	link_path(path, sizeof(path), dp->root, "clsact", netdev);
	return pin_replace(path, prog_fd);
}

static int clsact_attach(struct datapath *dp, int ifindex, const char *netdev, struct errs *errs)
{
	uint32_t other = filter_prog(ifindex);
	char who[64];
	int err;

	if (other && !filter_is_ours(dp->root, dp->control_id, netdev, other)) {
		prog_words(who, sizeof(who), other);
		return errs_fail(errs, EBUSY,
				 "port %s: the first place of its clsact ingress is taken by %s: `tc filter del dev %s ingress`",
				 netdev, who, netdev);
	}
	err = clsact_set(dp, ifindex, netdev, dp->progs[PROG_TC].fd);
	return err ? errs_fail(errs, -err, "port %s: the tc program cannot be attached by clsact: %s", netdev, strerror(-err))
		   : 0;
}

static int clsact_drop(const char *root, uint32_t control_id, int ifindex, const char *netdev)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = FILTER_HANDLE, .priority = FILTER_PRIORITY);
	char path[PATH_MAX];
	uint32_t prog;
	int err = 0;

	link_path(path, sizeof(path), root, "clsact", netdev);
	if (access(path, F_OK))
		return 0;
	prog = ifindex ? filter_prog(ifindex) : 0;
	if (prog && filter_is_ours(root, control_id, netdev, prog))
		err = bpf_tc_detach(&hook, &opts);
	return unlink(path) && errno != ENOENT ? -errno : err;
}

/* ---- tc */

static int tc_attach(struct datapath *dp, int ifindex, const char *netdev, struct attachment *ret, struct errs *errs)
{
	int err, fd = link_open(dp->root, "tc", netdev, ifindex);

	ret->tc = ATTACHED_TCX;
	if (fd >= 0) {
		err = bpf_link_update(fd, dp->progs[PROG_TC].fd, NULL);
		close(fd);
		return err ? errs_fail(errs, -err, "port %s: the pinned tc link cannot be taken over: %s", netdev, strerror(-err))
			   : 0;
	}
	if (fd != -ENOENT)
		return errs_fail(errs, -fd, "port %s: the pinned tc link cannot be opened: %s", netdev, strerror(-fd));
	fd = bpf_link_create(dp->progs[PROG_TC].fd, ifindex, ATTACH_TCX_INGRESS, NULL);
	if (fd == -EINVAL) {
		ret->tc = ATTACHED_CLSACT;
		return clsact_attach(dp, ifindex, netdev, errs);
	}
	if (fd < 0)
		return errs_fail(errs, -fd, "port %s: the tc program cannot be attached: %s", netdev, strerror(-fd));
	err = link_pin(dp->root, "tc", netdev, fd);
	close(fd);
	return err ? errs_fail(errs, -err, "port %s: the tc link cannot be pinned: %s", netdev, strerror(-err)) : 0;
}

/* ---- XDP */

/* Netdevs without a wire: XDP gains nothing there, or takes the peer's offloads away. */
static bool is_virtual(const char *netdev, char driver[32])
{
	static const char *const virt[] = {"veth",   "tun",   "bridge", "macvlan", "ipvlan", "vxlan",
					   "geneve", "dummy", "ifb",	"netkit",  "vrf",    "802.1Q VLAN Support"};

	if (netlink_driver(netdev, driver, 32) < 0 || !driver[0]) {
		snprintf(driver, 32, "?");
		return true;
	}
	for (size_t i = 0; i < sizeof(virt) / sizeof(virt[0]); i++)
		if (!strcmp(driver, virt[i]))
			return true;
	return false;
}

/* The mode in force on a netdev, an enum attach_kind, and whose program it is. */
static uint8_t xdp_in_force(int ifindex, uint32_t *ret_prog)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, q);

	*ret_prog = 0;
	if (bpf_xdp_query(ifindex, 0, &q))
		return ATTACHED_NONE;
	*ret_prog = q.drv_prog_id ? q.drv_prog_id : q.skb_prog_id ? q.skb_prog_id : q.hw_prog_id;
	return q.drv_prog_id ? ATTACHED_XDP_NATIVE : q.skb_prog_id ? ATTACHED_XDP_GENERIC : ATTACHED_NONE;
}

static int xdp_create(struct datapath *dp, int ifindex, const char *netdev, uint32_t mode)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = mode);
	int err, fd = bpf_link_create(dp->progs[PROG_XDP].fd, ifindex, BPF_XDP, &opts);

	if (fd < 0)
		return fd;
	err = link_pin(dp->root, "xdp", netdev, fd);
	close(fd);
	return err;
}

/* Takes the pinned link over when it is in the mode that is wanted. 0; -ENOENT: there is none (any more). */
static int xdp_adopt(struct datapath *dp, int ifindex, const char *netdev, bool native, struct attachment *ret)
{
	int err, fd = link_open(dp->root, "xdp", netdev, ifindex);
	uint32_t prog;

	if (fd < 0)
		return fd;
	ret->xdp = xdp_in_force(ifindex, &prog);
	err = bpf_link_update(fd, dp->progs[PROG_XDP].fd, NULL);
	close(fd);
	if (!err && (ret->xdp == ATTACHED_XDP_NATIVE) == native)
		return 0;
	/* tc does the work until the other mode is in force. */
	ret->xdp = ATTACHED_NONE;
	err = link_drop(dp->root, "xdp", netdev);
	return err ? err : -ENOENT;
}

static void xdp_note(char note[160], int ifindex, const char *driver, int err)
{
	char who[64];
	uint32_t prog;

	xdp_in_force(ifindex, &prog);
	if ((err == -EBUSY || err == -EEXIST) && prog) {
		prog_words(who, sizeof(who), prog);
		snprintf(note, 160, "XDP is taken by %s: tc does all the work", who);
	} else {
		snprintf(note, 160, "XDP cannot be attached (driver %s: %s): tc does all the work", driver, strerror(-err));
	}
}

/* XDP is only the fast path: whatever fails here becomes a note. */
static void xdp_attach(struct datapath *dp, int ifindex, const char *netdev, enum xdp_want want, struct attachment *ret,
		       char note[160])
{
	bool native = want != XDP_WANT_GENERIC;
	char driver[32];
	bool virt = is_virtual(netdev, driver);
	int err, why = 0;

	if (want == XDP_WANT_OFF || (want == XDP_WANT_AUTO && virt)) {
		link_drop(dp->root, "xdp", netdev);
		return;
	}
	err = xdp_adopt(dp, ifindex, netdev, native, ret);
	if (!err)
		return;
	if (native) {
		why = xdp_create(dp, ifindex, netdev, XDP_FLAGS_DRV_MODE);
		if (!why) {
			ret->xdp = ATTACHED_XDP_NATIVE;
			return;
		}
		if (why == -EBUSY || why == -EEXIST) {
			xdp_note(note, ifindex, driver, why);
			return;
		}
	}
	err = xdp_create(dp, ifindex, netdev, XDP_FLAGS_SKB_MODE);
	if (err) {
		xdp_note(note, ifindex, driver, err);
		return;
	}
	ret->xdp = ATTACHED_XDP_GENERIC;
	if (native)
		snprintf(note, 160, "no native XDP (driver %s: %s): generic XDP, which is slower", driver, strerror(-why));
}

/* ---- all of it */

int datapath_attach(struct datapath *dp, int ifindex, const char *netdev, enum xdp_want xdp, struct attachment *ret,
		    char note[160], struct errs *errs)
{
	int err;

	*ret = (struct attachment){0};
	note[0] = 0;
	err = tc_attach(dp, ifindex, netdev, ret, errs);
	if (err) {
		ret->tc = ATTACHED_NONE;
		return err;
	}
	xdp_attach(dp, ifindex, netdev, xdp, ret, note);
	return 0;
}

static int detach(const char *root, uint32_t control_id, int ifindex, const char *netdev)
{
	int xdp = link_drop(root, "xdp", netdev), tc = link_drop(root, "tc", netdev);
	int clsact = clsact_drop(root, control_id, ifindex, netdev);

	return tc ? tc : clsact ? clsact : xdp;
}

int datapath_detach(struct datapath *dp, int ifindex, const char *netdev)
{
	return detach(dp->root, dp->control_id, ifindex, netdev);
}

struct others {
	const char *root;
	uint32_t control_id;
	bool (*keep)(const char *netdev, void *arg);
	void *arg;
};

static int detach_other(const char *name, void *arg)
{
	struct others *o = arg;
	const char *netdev = strchr(name, '-');

	if (!netdev || (o->keep && o->keep(netdev + 1, o->arg)))
		return 0;
	return detach(o->root, o->control_id, (int)if_nametoindex(netdev + 1), netdev + 1);
}

int datapath_detach_others(struct datapath *dp, bool (*keep)(const char *netdev, void *arg), void *arg)
{
	struct others o = {dp->root, dp->control_id, keep, arg};

	return pin_each(dp->root, "links", detach_other, &o);
}

void attach_clear(const char *root, uint32_t control_id)
{
	struct others o = {root, control_id, NULL, NULL};

	pin_each(root, "links", detach_other, &o);
	pin_clear(root, "links");
}

static int find_alive(const char *name, void *arg)
{
	char path[PATH_MAX];
	int fd, ifindex;

	pin_path(path, sizeof(path), arg, "links", name);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return 0;
	ifindex = strncmp(name, "clsact-", 7) ? link_ifindex(fd) : 0;
	close(fd);
	return ifindex > 0;
}

bool attach_any_alive(const char *root)
{
	return pin_each(root, "links", find_alive, (void *)root) > 0;
}

struct swap {
	struct datapath *dp;
	const struct prog *progs;
};

static int swap_one(const char *name, void *arg)
{
	struct swap *s = arg;
	char path[PATH_MAX];
	int fd, err;

	if (!strncmp(name, "clsact-", 7)) {
		int ifindex = (int)if_nametoindex(name + 7);

		return ifindex ? clsact_set(s->dp, ifindex, name + 7, s->progs[PROG_TC].fd) : 0;
	}
	pin_path(path, sizeof(path), s->dp->root, "links", name);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return fd;
	err = bpf_link_update(fd, s->progs[strncmp(name, "xdp-", 4) ? PROG_TC : PROG_XDP].fd, NULL);
	close(fd);
	return err == -ENOLINK ? 0 : err;
}

int attach_swap(struct datapath *dp, const struct prog old[PROGS], struct errs *errs)
{
	struct swap s = {dp, dp->progs};
	int err = pin_each(dp->root, "links", swap_one, &s);

	if (!err)
		return 0;
	s.progs = old;
	pin_each(dp->root, "links", swap_one, &s);
	return errs_fail(errs, -err, "the programs cannot be exchanged: %s", strerror(-err));
}
