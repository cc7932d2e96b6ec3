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
	uint64_t load_ns; /* how long the verifier and the JIT took */
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
};

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
/* After the first object was loaded: the second one takes its maps. */
int maps_share(struct map_set *ms, int loaded, int next, struct errs *errs);
/* After both: pins what is new, makes the tables, writes `control`. */
int maps_commit(struct datapath *dp, struct map_set *ms, struct errs *errs);
void maps_free(struct map_set *ms);

/* ---- attach.c */
/* Puts the programs into every pinned link in place of `old` ones; on failure puts the old ones back. */
int attach_swap(struct datapath *dp, const struct prog old[PROGS], struct errs *errs);
/* Detaches everything that is pinned under links/. control_id 0: the instance has no `control`. */
void attach_clear(const char *root, uint32_t control_id);
/* Is a link of the instance attached to a netdev that still lives? */
bool attach_any_alive(const char *root);

#endif
