/* datapath_priv.h: what datapath.c, pin.c, attach.c, host.c and table.c share, and nobody else sees. */
#ifndef SLUICE_DATAPATH_PRIV_H
#define SLUICE_DATAPATH_PRIV_H

#include <limits.h>
#include <linux/bpf.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include "datapath.h"
#include "table.h"

#define BPFFS	 "/sys/fs/bpf"
#define PROG_XDP 0
#define PROG_TC	 1
#define PROGS	 2

struct table {
	char name[64];
	int fd;
	uint32_t type, key_size, value_size, max_entries, flags;
	void *mapped;
	size_t mapped_len;
};

/* One program of the running switch. */
struct prog {
	int fd;
	uint32_t id;
	uint64_t load_ns; /* how long the verifier and the JIT took, beside the other program's at a start */
};

struct datapath {
	char instance[33];
	char root[PATH_MAX / 4]; /* <bpffs>/sluice/<instance> */
	int lock_fd;		 /* the root directory, flock-ed: one sluiced an instance */
	struct prog progs[PROGS];
	struct table *tables;
	size_t n_tables;
	uint32_t control_id; /* kernel's id of map `control`: a program that uses it is ours */
	struct settings_cfg sizes;
	struct datapath_features features; /* of the programs */
	unsigned exchanges;		   /* how often tables took the places of others */
};

/* ---- datapath.c: the two objects on their way into the kernel. */
struct load {
	struct xdp_bpf *xdp;
	struct tc_bpf *tc;
	struct bpf_object *objs[PROGS];
	char *log[PROGS];
	struct prog progs[PROGS];
};

#define NEXT_TAIL "_next" /* of the maps of another size, in the objects */

/* Opens the objects; `resize`: programs that know two sizes of tables. In any case load_done() afterwards. */
int load_begin(struct load *l, const struct datapath_features *f, bool resize, struct errs *errs);
/* What sluiced calls a map of an object. NULL: it is not shared, it has the object's constants. */
const char *load_map_name(const struct bpf_map *map);
/* NULL: there is none. */
struct bpf_map *load_find_map(struct bpf_object *obj, const char *name);
int load_reuse_tables(struct datapath *dp, struct bpf_object *obj, struct errs *errs);
int load_one(struct load *l, int p, struct errs *errs);
void load_done(struct load *l);
int datapath_pin_progs(const struct datapath *dp, const struct prog progs[PROGS], struct errs *errs);

/* ---- table.c */
/* Takes over `fd`. */
int table_init(struct table *t, const char *name, int fd);
void table_done(struct table *t);

/* ---- host.c */
int host_mount_bpffs(struct errs *errs);
int host_check_instance(const char *instance, struct errs *errs);

/* ---- pin.c: the directories of an instance */
/* <root>/<dir>/<name>; a '.' in `name` (bpffs forbids it) is written as ':' (which no netdev's name has). */
void pin_path(char *buf, size_t size, const char *root, const char *dir, const char *name);
int pin_mkdirs(struct datapath *dp, struct errs *errs);
int pin_lock(struct datapath *dp, struct errs *errs);
/* Pins, in place of what is pinned there, with no moment without a pin. */
int pin_replace(const char *path, int fd);
/* Every name in <root>/<dir>, ':' turned back to '.'. The callback may unlink the pin. Stops at non-zero and returns it. */
int pin_each(const char *root, const char *dir, int (*fn)(const char *name, void *arg), void *arg);
/* Unlinks everything in <root>/<dir>. */
int pin_clear(const char *root, const char *dir);

/* ---- maps.c: the maps of the two objects, brought together with what is pinned */
struct map_set;
int maps_prepare(struct datapath *dp, struct bpf_object *objs[PROGS], struct map_set **ret, struct errs *errs);
/* `maker` will make, when it is loaded, the maps of its that are not there; afterwards the objects take them. */
int maps_lend(struct map_set *ms, struct bpf_object *maker, struct errs *errs);
int maps_take(struct map_set *ms, struct bpf_object *maker, struct errs *errs);
/* After both are loaded: pins what is new, makes the tables, writes `control`. */
int maps_commit(struct datapath *dp, struct map_set *ms, struct errs *errs);
void maps_free(struct map_set *ms);
/* The maps whose size changes while sluiced runs, all at once; NULL behind the last. */
extern const char *const maps_resized[];
/* How many elements such a map has by these settings. */
uint32_t maps_size(const char *map, const struct settings_cfg *sizes);
/* From here on maps/NAME.next are the tables in force, also for a sluiced that starts anew (or not: back to maps/NAME). */
void maps_next_in_force(struct datapath *dp, bool yes);

/* ---- next.c */
/* Pins NAME.next, which a former life put into force, take their places. */
int next_settle(const char *root);

/* ---- attach.c */
/* Puts the programs into every pinned link in place of `old` ones; on failure puts the old ones back. */
int attach_swap(struct datapath *dp, const struct prog old[PROGS], struct errs *errs);
/* Detaches everything that is pinned under links/. control_id 0: the instance has no `control`. */
void attach_clear(const char *root, uint32_t control_id);
/* Is a link of the instance attached to a netdev that still lives? */
bool attach_any_alive(const char *root);

#endif
