/* datapath.h: the programs and maps in the kernel: opened, loaded, pinned, attached, adopted again after a restart.
 *
 * Only datapath.c and table.c call libbpf. Pins: <bpffs>/sluice/<instance>/maps/NAME, progs/{xdp,tc}, links/xdp-NETDEV,
 * links/tc-NETDEV. A new sluiced re-uses the pinned maps when their layout is its own (names, sizes, SLUICE_ABI_VERSION),
 * loads its programs on them, and swaps them into the pinned links: no packet is lost and no table is emptied.
 */
#ifndef SLUICE_DATAPATH_H
#define SLUICE_DATAPATH_H

#include <stdbool.h>
#include <stdint.h>
#include "err.h"
#include "model.h"

struct datapath;

/* What the programs are compiled for: const volatile globals of the objects. */
struct datapath_features {
	bool ipv6, l3, nat, nat_log, uncounted, rpf, mss, inner, trace;
};

/* Checks the host first (kernel >= 6.1, CAP_BPF/NET_ADMIN/PERFMON or root, bpffs mounted or mountable), one error line
 * each saying what is missing and what to do. */
int datapath_check_host(struct errs *errs);
int datapath_open(const char *instance, const struct settings_cfg *sizes, const struct datapath_features *features,
		  struct datapath **ret, struct errs *errs);
/* Forgets the handles; pins, links and traffic stay. */
void datapath_close(struct datapath *dp);
/* Detaches every link and removes every pin of the instance: the switch is gone. */
int datapath_destroy(const char *instance, struct errs *errs);
/* Programs with other features, in three steps: opened for the tables as they are; into the kernel, which verifies them for half
 * a second or more, wherefore this step touches nothing of the datapath's and may be done in a thread; in force, in place of
 * those of now, by link update. The last one: -EAGAIN without words when the tables have been exchanged meanwhile. */
struct datapath_programs;
int datapath_programs_open(struct datapath *dp, const struct datapath_features *features, struct datapath_programs **ret,
			   struct errs *errs);
int datapath_programs_load(struct datapath_programs *p, struct errs *errs);
int datapath_programs_use(struct datapath *dp, struct datapath_programs *p, struct errs *errs);
void datapath_programs_free(struct datapath_programs *p); /* takes NULL; those of before when they are in force, without them */

enum attach_kind { ATTACHED_NONE = 0, ATTACHED_TCX, ATTACHED_CLSACT, ATTACHED_XDP_NATIVE, ATTACHED_XDP_GENERIC };

struct attachment {
	uint8_t tc;  /* enum attach_kind */
	uint8_t xdp; /* enum attach_kind */
};

/* Attaches, or adopts what is pinned for this netdev (by ifindex: a netdev that came back under its name is a new one).
 * xdp AUTO: native on NICs, off on veth, tap, tun, bridge. Where XDP was asked for and cannot be had, *ret says what is in
 * force and `note` (caller's buffer) why; tc failing is the only error. */
int datapath_attach(struct datapath *dp, int ifindex, const char *netdev, enum xdp_want xdp, struct attachment *ret,
		    char note[160], struct errs *errs);
/* Detaches and unpins; the netdev may be gone already. */
int datapath_detach(struct datapath *dp, int ifindex, const char *netdev);
/* Netdevs with pinned links that `keep` does not name are detached (left over from a former life). */
int datapath_detach_others(struct datapath *dp, bool (*keep)(const char *netdev, void *arg), void *arg);

/* Verified instructions, JITed bytes, load time of each program: for `sluice show status` and the tests. */
json_t *datapath_show(struct datapath *dp);

#endif
