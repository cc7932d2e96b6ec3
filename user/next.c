/* next.c: the maps of another size and the programs around them; see next.h.
 *
 * Maps are pinned as maps/NAME.next before they come into force, and the word CONTROL_NEXT of `control` says that they are: one
 * store, so that whoever finds the pins after a crash knows which tables are whole.
 */
#include <errno.h>
#include <linux/membarrier.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <sluice/abi.h>
#include "datapath_priv.h"
#include "flowtab.h"
#include "next.h"

#define NEXT_MAX 16

struct next {
	struct datapath *dp;
	const bool *stop; /* while it is made */
	struct table tables[NEXT_MAX];
	size_t n_tables;
	struct prog both[PROGS], alone[PROGS]; /* as those in force are replaced, they stand here in their place */
};

static void progs_close(struct prog progs[PROGS])
{
	for (int p = 0; p < PROGS; p++) {
		if (progs[p].fd >= 0)
			close(progs[p].fd);
		progs[p].fd = -1;
	}
}

void next_free(struct next *n)
{
	if (!n)
		return;
	for (size_t i = 0; i < n->n_tables; i++)
		table_done(&n->tables[i]);
	progs_close(n->both);
	progs_close(n->alone);
	free(n);
}

struct table *next_table(struct next *n, const char *map)
{
	for (size_t i = 0; i < n->n_tables; i++)
		if (!strcmp(n->tables[i].name, map))
			return &n->tables[i];
	return NULL;
}

/* ---- made */

static int check_stop(const struct next *n, struct errs *errs)
{
	return __atomic_load_n(n->stop, __ATOMIC_RELAXED) ? errs_fail(errs, ECANCELED, "another change came") : 0;
}

/* As the table is, with another number of elements. */
static int make_map(struct next *n, const char *name, const struct settings_cfg *sizes, struct errs *errs)
{
	const struct table *t = table_get(n->dp, name);
	uint32_t size = maps_size(name, sizes);
	int fd, err;

	if (!t || n->n_tables == NEXT_MAX)
		return errs_fail(errs, ENOENT, "there is no map %s", name);
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = t->flags);
	fd = bpf_map_create(t->type, name, t->key_size, t->value_size, size, &opts);
	if (fd < 0)
		return errs_fail(errs, -fd, "map %s cannot be made with %u elements: %s", name, size, strerror(-fd));
	err = table_init(&n->tables[n->n_tables++], name, fd);
	if (!err && t->flags & BPF_F_MMAPABLE && !table_map(&n->tables[n->n_tables - 1]))
		err = -ENOMEM;
	return err ? errs_fail(errs, -err, "map %s cannot be used: %s", name, strerror(-err)) : 0;
}

/* The maps of the next size, under their own names (`tail` "") or as those beside the others. */
static int reuse_next(struct next *n, struct bpf_object *obj, const char *tail, struct errs *errs)
{
	char name[80];

	for (size_t i = 0; i < n->n_tables; i++) {
		struct bpf_map *map;
		int err;

		snprintf(name, sizeof(name), "%s%s", n->tables[i].name, tail);
		map = load_find_map(obj, name);
		if (!map && *tail && !strcmp(n->tables[i].name, "half_open"))
			continue; /* who waits is noted in the former one until the switch; flow_copy.c moves the notes */
		err = map ? bpf_map__reuse_fd(map, n->tables[i].fd) : -ENOENT;
		if (err)
			return errs_fail(errs, -err, "map %s cannot be used: %s", name, strerror(-err));
	}
	return 0;
}

static int load(struct next *n, bool both, struct prog ret[PROGS], struct errs *errs)
{
	struct load l;
	int err = load_begin(&l, &n->dp->features, both, errs);

	for (int p = 0; !err && p < PROGS; p++) {
		err = load_reuse_tables(n->dp, l.objs[p], errs);
		if (!err)
			err = reuse_next(n, l.objs[p], both ? NEXT_TAIL : "", errs);
	}
	for (int p = 0; !err && p < PROGS; p++) {
		err = check_stop(n, errs);
		if (!err)
			err = load_one(&l, p, errs);
	}
	for (int p = 0; !err && p < PROGS; p++) {
		ret[p] = l.progs[p];
		l.progs[p].fd = -1;
	}
	load_done(&l);
	return err;
}

/* The same secret numbers: entries keep their hash. */
static void fill_head(struct next *n)
{
	struct flow_table *t = table_map(next_table(n, "flow_table"));

	*t = *(struct flow_table *)table_map(table_get(n->dp, "flow_table"));
	flowtab_size(t, table_capacity(next_table(n, "flow_words4")), table_capacity(next_table(n, "flow_words6")));
	t->half_lines = table_capacity(next_table(n, "half_open"));
	t->nat_buckets = table_capacity(next_table(n, "nat_words"));
	t->nat_lines = table_capacity(next_table(n, "nat_ways"));
}

int next_make(struct datapath *dp, const struct settings_cfg *sizes, const bool *stop, struct next **ret, struct errs *errs)
{
	struct next *n = calloc(1, sizeof(*n));
	int err = 0;

	*ret = NULL;
	if (!n)
		return errs_fail(errs, ENOMEM, "out of memory");
	n->dp = dp;
	n->stop = stop;
	for (int p = 0; p < PROGS; p++)
		n->both[p].fd = n->alone[p].fd = -1;
	for (size_t i = 0; !err && maps_resized[i]; i++) {
		err = check_stop(n, errs);
		if (!err)
			err = make_map(n, maps_resized[i], sizes, errs);
	}
	if (!err) {
		fill_head(n);
		err = load(n, true, n->both, errs);
	}
	if (!err)
		err = load(n, false, n->alone, errs);
	if (err)
		next_free(n);
	else
		*ret = n;
	return err;
}

/* ---- in force */

static void exchange(struct prog a[PROGS], struct prog b[PROGS])
{
	struct prog tmp[PROGS];

	memcpy(tmp, a, sizeof(tmp));
	memcpy(a, b, sizeof(tmp));
	memcpy(b, tmp, sizeof(tmp));
}

/* `progs` come into force, and those that were stand in their place; or all is as it was. */
static int use(struct next *n, struct prog progs[PROGS], struct errs *errs)
{
	int err;

	exchange(n->dp->progs, progs);
	err = attach_swap(n->dp, progs, errs);
	if (!err) {
		err = datapath_pin_progs(n->dp, n->dp->progs, errs);
		if (!err)
			return 0;
		exchange(n->dp->progs, progs);
		attach_swap(n->dp, progs, errs);
		return err;
	}
	exchange(n->dp->progs, progs);
	return err;
}

int next_both(struct next *n, struct errs *errs)
{
	return use(n, n->both, errs);
}

int next_back(struct next *n, struct errs *errs)
{
	return use(n, n->both, errs);
}

static void next_path(char *buf, size_t size, const struct next *n, const char *name)
{
	char next[80];

	snprintf(next, sizeof(next), "%s.next", name);
	pin_path(buf, size, n->dp->root, "maps", next);
}

static void unpin(const struct next *n)
{
	char path[PATH_MAX];

	for (size_t i = 0; i < n->n_tables; i++) {
		next_path(path, sizeof(path), n, n->tables[i].name);
		unlink(path);
	}
}

static int pin(const struct next *n, struct errs *errs)
{
	char path[PATH_MAX];
	int err = 0;

	for (size_t i = 0; !err && i < n->n_tables; i++) {
		next_path(path, sizeof(path), n, n->tables[i].name);
		err = pin_replace(path, n->tables[i].fd);
		if (err)
			errs_fail(errs, -err, "%s cannot be pinned: %s", path, strerror(-err));
	}
	return err;
}

/* Whoever has a table's address has the other map by it from here on. */
static void exchange_tables(struct next *n)
{
	for (size_t i = 0; i < n->n_tables; i++) {
		struct table *t = table_get(n->dp, n->tables[i].name), tmp = *t;

		*t = n->tables[i];
		n->tables[i] = tmp;
	}
	n->dp->exchanges++;
}

int next_commit(struct next *n, struct errs *errs)
{
	int err = pin(n, errs);

	if (!err) {
		maps_next_in_force(n->dp, true);
		err = use(n, n->alone, errs);
		if (err)
			maps_next_in_force(n->dp, false);
	}
	if (err)
		unpin(n);
	else
		exchange_tables(n);
	return err;
}

int next_settle(const char *root)
{
	char from[PATH_MAX], to[PATH_MAX], name[80];

	for (size_t i = 0; maps_resized[i]; i++) {
		snprintf(name, sizeof(name), "%s.next", maps_resized[i]);
		pin_path(from, sizeof(from), root, "maps", name);
		pin_path(to, sizeof(to), root, "maps", maps_resized[i]);
		if (rename(from, to) && errno != ENOENT)
			return -errno;
	}
	return 0;
}

int next_finish(struct next *n, struct errs *errs)
{
	int err = next_settle(n->dp->root);

	if (err)
		return errs_fail(errs, -err, "the pins of the tables cannot be renamed: %s", strerror(-err));
	maps_next_in_force(n->dp, false);
	return 0;
}

/* The kernel's own way of asking is an RCU grace period, within which every program that ran has ended. Where it is not to be
 * had (CPUs without ticks), what flowtab.h grants a packet. */
void next_wait_cpus(void)
{
	struct timespec t = {.tv_sec = 1, .tv_nsec = 100000000};

	if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0))
		nanosleep(&t, NULL);
}
