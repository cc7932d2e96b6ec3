/* maps.c: brings the maps of the two objects together with what an earlier life has pinned.
 *
 * Every map exists once, is pinned as maps/NAME and shared by both programs; only maps named *_scratch belong to a program
 * alone. A pinned map is adopted when its layout is ours, refused with words when it is not, and never misread. The word
 * control.abi_version is written last at the first creation, so an instance without it is half made and is made anew.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>
#include <sluice/abi.h>
#include <sluice/drop.h>
#include "datapath_priv.h"
#include "fib.h"
#include "flowtab.h"
#include "nattab.h"

#define MAPS_MAX 96

/* What sluiced itself keeps in control.reserved. */
enum { CONTROL_DROPS_HASH, CONTROL_STATS_HASH, CONTROL_NETNS, CONTROL_NEXT /* maps/NAME.next are in force */ };

struct map_spec {
	char name[64]; /* a copy: bpf_map__reuse_fd() replaces the map's own */
	struct bpf_map *map[PROGS];
	int fd; /* the pinned map that is adopted, or -1 */
};

struct map_set {
	struct map_spec v[MAPS_MAX];
	size_t n;
	bool adopt; /* the instance is whole */
	uint64_t netns, drops, stats;
};

static uint32_t words4(const struct settings_cfg *s)
{
	return flowtab_buckets(2 * s->max_flows);
}

static uint32_t words6(const struct settings_cfg *s)
{
	return flowtab_buckets(2 * s->max_flows6);
}

static uint32_t flows4(const struct settings_cfg *s)
{
	return words4(s) * BUCKET_SLOTS;
}

static uint32_t flows6(const struct settings_cfg *s)
{
	return words6(s) * BUCKET_SLOTS;
}

/* A pair has one mapping at most, and one remote end. */
static uint32_t peers(const struct settings_cfg *s)
{
	return s->max_flows + s->max_flows6;
}

static uint32_t nat_words(const struct settings_cfg *s)
{
	return nattab_buckets(s->max_flows + s->max_flows6);
}

static uint32_t mappings(const struct settings_cfg *s)
{
	return nat_words(s) * BUCKET_SLOTS;
}

static uint32_t nat_ways(const struct settings_cfg *s)
{
	return nattab_lines(s->max_flows + s->max_flows6);
}

static uint32_t stations(const struct settings_cfg *s)
{
	return s->max_fdb;
}

static uint32_t neighbors(const struct settings_cfg *s)
{
	return s->max_neighbors;
}

static uint32_t fib_units(const struct settings_cfg *s)
{
	return fib_units_for(s->max_routes4, s->max_routes6);
}

/* Pairs that wait for an answer take half of the IPv4 table, unless the setting says otherwise: a number rounded up to whole
 * lines. */
static uint32_t half_lines(const struct settings_cfg *s)
{
	return ((s->max_half ? s->max_half : s->max_flows / 2) + HALF_SLOTS - 1) / HALF_SLOTS;
}

/* The maps whose size is a setting, or is made of some. */
static const struct map_size {
	const char *map, *key;
	uint32_t (*size)(const struct settings_cfg *s);
} map_sizes[] = {
	{"fdb", "tables.fdb", stations},
	{"neighbors", "tables.neighbors", neighbors},
	{"half_open", "tables.half-open or tables.flows", half_lines},
	{"fib", "tables.routes4 or tables.routes6", fib_units},
	{"flow_words4", "tables.flows", words4},
	{"flow_words6", "tables.flows6", words6},
	{"flows4", "tables.flows", flows4},
	{"flows6", "tables.flows6", flows6},
	{"nat_words", "tables.flows", nat_words},
	{"nat_mappings", "tables.flows", mappings},
	{"nat_ways", "tables.flows", nat_ways},
	{"nat_peers", "tables.flows", peers},
};

const char *const maps_resized[] = {"flow_table",   "flow_words4", "flow_words6", "flows4",    "flows6", "nat_words",
				    "nat_mappings", "nat_ways",	   "nat_peers",	  "half_open", NULL};

static const struct map_size *size_of(const char *map)
{
	for (size_t i = 0; i < sizeof(map_sizes) / sizeof(map_sizes[0]); i++)
		if (!strcmp(map_sizes[i].map, map))
			return &map_sizes[i];
	return NULL;
}

static bool is_resized(const char *map)
{
	for (size_t i = 0; maps_resized[i]; i++)
		if (!strcmp(maps_resized[i], map))
			return true;
	return false;
}

/* 1 where the map has one element whatever the settings are. */
uint32_t maps_size(const char *map, const struct settings_cfg *sizes)
{
	const struct map_size *s = size_of(map);

	return s ? s->size(sizes) : 1;
}

static uint64_t hash_text(uint64_t h, const char *s)
{
	/* FNV-1a, 64 bits; the terminating 0 is hashed too, so that names do not run into each other. */
	do {
		h = (h ^ (unsigned char)*s) * 0x100000001b3ull;
	} while (*s++);
	return h;
}

#define HASH_START 0xcbf29ce484222325ull

static uint64_t drops_hash(void)
{
	uint64_t h = hash_text(HASH_START, "by port"); /* how they stand in the map */

#define X(id, name, text) h = hash_text(h, name);
	SLUICE_DROP_REASONS(X)
#undef X
	return h;
}

static uint64_t stats_hash(void)
{
	uint64_t h = HASH_START;

#define X(id, name, text) h = hash_text(h, name);
	SLUICE_STATS(X)
#undef X
	return h;
}

/* A number that the kernel gives a network namespace and never gives again. */
static uint64_t netns_cookie(void)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return 0;
	if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len))
		cookie = 0;
	close(fd);
	return cookie;
}

static bool ends_with(const char *name, const char *tail)
{
	size_t len = strlen(name), n = strlen(tail);

	return len > n && !strcmp(name + len - n, tail);
}

/* A map that is not shared: of a program alone, or of another size (next.c). */
static bool is_apart(const char *name)
{
	return ends_with(name, "_scratch") || ends_with(name, NEXT_TAIL);
}

static struct map_spec *spec_find(struct map_set *ms, const char *name)
{
	for (size_t i = 0; i < ms->n; i++)
		if (!strcmp(ms->v[i].name, name))
			return &ms->v[i];
	return NULL;
}

static bool same_definition(const struct bpf_map *a, const struct bpf_map *b)
{
	return bpf_map__type(a) == bpf_map__type(b) && bpf_map__key_size(a) == bpf_map__key_size(b) &&
	       bpf_map__value_size(a) == bpf_map__value_size(b) && bpf_map__map_flags(a) == bpf_map__map_flags(b) &&
	       bpf_map__max_entries(a) == bpf_map__max_entries(b);
}

static int gather(struct map_set *ms, struct bpf_object *objs[PROGS], struct errs *errs)
{
	struct bpf_map *map;
	struct map_spec *s;

	for (int p = 0; p < PROGS; p++) {
		bpf_object__for_each_map(map, objs[p])
		{
			const char *name = load_map_name(map);

			if (!name || is_apart(name))
				continue;
			s = spec_find(ms, name);
			if (!s && ms->n == MAPS_MAX)
				return errs_fail(errs, E2BIG, "the programs have more than %d maps", MAPS_MAX);
			if (!s) {
				s = &ms->v[ms->n++];
				snprintf(s->name, sizeof(s->name), "%s", name);
				s->fd = -1;
			}
			s->map[p] = map;
			if (s->map[0] && s->map[1] && !same_definition(s->map[0], s->map[1]))
				return errs_fail(errs, EINVAL, "map %s: the two programs were built with different layouts",
						 s->name);
		}
	}
	return 0;
}

static const struct bpf_map *spec_map(const struct map_spec *s)
{
	return s->map[0] ? s->map[0] : s->map[1];
}

static int set_sizes(struct map_set *ms, const struct settings_cfg *sizes)
{
	int err = 0;

	for (size_t i = 0; i < sizeof(map_sizes) / sizeof(map_sizes[0]); i++) {
		struct map_spec *s = spec_find(ms, map_sizes[i].map);

		for (int p = 0; s && !err && p < PROGS; p++)
			if (s->map[p])
				err = bpf_map__set_max_entries(s->map[p], map_sizes[i].size(sizes));
	}
	return err;
}

static int is_used(const void *key, void *value, void *arg)
{
	const struct table *t = arg;
	const char *v = value;

	if (t->type != BPF_MAP_TYPE_ARRAY && t->type != BPF_MAP_TYPE_PERCPU_ARRAY)
		return 1;
	for (uint32_t i = 0; i < t->value_size; i++)
		if (v[i])
			return 1;
	return 0;
}

/* 0: adopt; 1: make it anew (it is empty, and only its size differs); -errno with words. */
static int check_layout(const struct map_spec *s, struct table *t, struct errs *errs)
{
	const struct bpf_map *m = spec_map(s);
	const struct map_size *size = size_of(s->name);
	/* The kernel adds this one to device maps by itself. */
	uint32_t flags = t->flags & ~(uint32_t)BPF_F_RDONLY_PROG;
	int r;

	if (t->type != bpf_map__type(m) || t->key_size != bpf_map__key_size(m) || t->value_size != bpf_map__value_size(m) ||
	    flags != (bpf_map__map_flags(m) & ~(uint32_t)BPF_F_RDONLY_PROG) ||
	    (t->max_entries != bpf_map__max_entries(m) && !size))
		return errs_fail(
			errs, EPROTO,
			"map %s was made by a version with another layout (type %u, key %u, value %u, size %u; here %u, %u, %u, "
			"%u): start that version again, or run `sluiced --destroy` and lose its tables",
			s->name, t->type, t->key_size, t->value_size, t->max_entries, bpf_map__type(m), bpf_map__key_size(m),
			bpf_map__value_size(m), bpf_map__max_entries(m));
	/* Those of the flows are brought to their size by resize.c, with what is in them. */
	if (t->max_entries == bpf_map__max_entries(m))
		return 0;
	if (!strcmp(s->name, "half_open"))
		return 1; /* who is forgotten ends by its timeout */
	if (is_resized(s->name))
		return 0;
	if (!strcmp(s->name, "fib") && t->max_entries > bpf_map__max_entries(m))
		return 0; /* memory, not a number of entries: what is there serves smaller tables too */
	r = table_each(t, is_used, t);
	if (r == 0)
		return 1;
	if (r < 0)
		return errs_fail(errs, -r, "map %s cannot be read: %s", s->name, strerror(-r));
	return errs_fail(errs, EPROTO,
			 "map %s has a size of %u, %s now asks for %u, and it is in use: restore the setting, or run `sluiced "
			 "--destroy` and lose its entries",
			 s->name, t->max_entries, size->key, bpf_map__max_entries(m));
}

/* The counters start again when the tables of their names have changed. The ports' sums go with their reasons, or the two
 * would not add up. New maps take their place at the swap of each link, so every port's books are consistent. */
static bool outdated(const struct map_set *ms, const char *name, const struct control *c)
{
	if (!strcmp(name, "drop_counters") || !strcmp(name, "port_counters"))
		return c->reserved[CONTROL_DROPS_HASH] != ms->drops;
	return !strcmp(name, "stats") && c->reserved[CONTROL_STATS_HASH] != ms->stats;
}

static int adopt_one(struct datapath *dp, struct map_set *ms, struct map_spec *s, const struct control *c, struct errs *errs)
{
	char path[PATH_MAX];
	struct table t;
	int r;

	if (outdated(ms, s->name, c))
		return 0;
	pin_path(path, sizeof(path), dp->root, "maps", s->name);
	r = bpf_obj_get(path);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return errs_fail(errs, -r, "%s cannot be opened: %s", path, strerror(-r));
	s->fd = r;
	r = table_init(&t, s->name, s->fd);
	if (r)
		return errs_fail(errs, -r, "%s is no map: %s", path, strerror(-r));
	r = check_layout(s, &t, errs);
	if (r == 1) {
		close(s->fd);
		s->fd = -1;
		r = 0;
	}
	for (int p = 0; !r && s->fd >= 0 && p < PROGS; p++)
		if (s->map[p])
			r = bpf_map__reuse_fd(s->map[p], s->fd);
	return r;
}

/* The pinned `control`. 0 and *ret; -ENOENT: there is no whole instance; other errors with words. */
static int read_control(struct datapath *dp, struct control *ret, struct errs *errs)
{
	char path[PATH_MAX], value[4096] = {0};
	uint32_t zero = 0, version;
	struct table t;
	int fd, err;

	pin_path(path, sizeof(path), dp->root, "maps", "control");
	fd = bpf_obj_get(path);
	if (fd == -ENOENT)
		return fd;
	if (fd < 0)
		return errs_fail(errs, -fd, "%s cannot be opened: %s", path, strerror(-fd));
	err = table_init(&t, "control", fd);
	if (!err && (t.type != BPF_MAP_TYPE_ARRAY || t.value_size < sizeof(version) || t.value_size > sizeof(value)))
		err = -EPROTO;
	if (!err)
		err = bpf_map_lookup_elem(fd, &zero, value);
	close(fd);
	if (err)
		return errs_fail(errs, -err, "%s cannot be read: %s", path, strerror(-err));
	memcpy(&version, value, sizeof(version));
	if (!version)
		return -ENOENT;
	if (version < SLUICE_ABI_OLDEST || version > SLUICE_ABI_VERSION || t.value_size != sizeof(*ret))
		return errs_fail(
			errs, EPROTO,
			"instance '%s' was made by a version with table layout %u, this one has %u: start that version again, or "
			"run `sluiced --destroy` and lose its tables",
			dp->instance, version, SLUICE_ABI_VERSION);
	memcpy(ret, value, sizeof(*ret));
	return 0;
}

static int adopt(struct datapath *dp, struct map_set *ms, struct errs *errs)
{
	struct control c;
	int err = read_control(dp, &c, errs);

	if (err == -ENOENT) {
		attach_clear(dp->root, 0);
		err = pin_clear(dp->root, "progs");
		if (!err)
			err = pin_clear(dp->root, "maps");
		if (err)
			return errs_fail(errs, -err, "%s is half made and cannot be cleared: %s", dp->root, strerror(-err));
		return 0;
	}
	if (err)
		return err;
	if (c.reserved[CONTROL_NETNS] != ms->netns && attach_any_alive(dp->root))
		return errs_fail(
			errs, EBUSY,
			"instance '%s' has its ports in another network namespace: give this one another name, or run `sluiced "
			"--destroy` for that one",
			dp->instance);
	ms->adopt = true;
	if (c.reserved[CONTROL_NEXT])
		err = next_settle(dp->root);
	if (err)
		return errs_fail(errs, -err, "%s: tables of another size cannot be taken over: %s", dp->root, strerror(-err));
	for (size_t i = 0; !err && i < ms->n; i++)
		err = adopt_one(dp, ms, &ms->v[i], &c, errs);
	return err;
}

/* Variables of the programs: libbpf would make their maps under the sections' names, which say nothing once they are cut to the
 * kernel's 15 characters, and by which no version knows them that has no such variables. */
static int make_ones(struct map_set *ms, struct errs *errs)
{
	for (size_t i = 0; i < ms->n; i++) {
		const struct map_spec *s = &ms->v[i];
		const struct bpf_map *m = spec_map(s);
		int fd, err = 0;

		if (s->fd >= 0 || !bpf_map__is_internal(m))
			continue;
		LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = bpf_map__map_flags(m));
		fd = bpf_map_create(bpf_map__type(m), s->name, bpf_map__key_size(m), bpf_map__value_size(m),
				    bpf_map__max_entries(m), &opts);
		if (fd < 0)
			return errs_fail(errs, -fd, "map %s cannot be made: %s", s->name, strerror(-fd));
		for (int p = 0; !err && p < PROGS; p++)
			if (s->map[p])
				err = bpf_map__reuse_fd(s->map[p], fd);
		close(fd);
		if (err)
			return errs_fail(errs, -err, "map %s cannot be used: %s", s->name, strerror(-err));
	}
	return 0;
}

int maps_prepare(struct datapath *dp, struct bpf_object *objs[PROGS], struct map_set **ret, struct errs *errs)
{
	struct map_set *ms = calloc(1, sizeof(*ms));
	int err;

	*ret = ms;
	if (!ms)
		return errs_fail(errs, ENOMEM, "out of memory");
	ms->netns = netns_cookie();
	ms->drops = drops_hash();
	ms->stats = stats_hash();
	err = gather(ms, objs, errs);
	if (err)
		return err;
	err = set_sizes(ms, &dp->sizes);
	if (err)
		return errs_fail(errs, -err, "the sizes of the tables cannot be set: %s", strerror(-err));
	err = adopt(dp, ms, errs);
	return err ? err : make_ones(ms, errs);
}

int maps_lend(struct map_set *ms, struct bpf_object *maker, struct errs *errs)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, maker)
	{
		const char *name = load_map_name(map);
		const struct map_spec *s = name ? spec_find(ms, name) : NULL;
		const struct bpf_map *m = s ? spec_map(s) : NULL;
		int fd = m ? bpf_map__fd(m) : -1, err = 0;

		if (fd >= 0)
			err = bpf_map__reuse_fd(map, fd);
		else if (m)
			err = bpf_map__set_max_entries(map, bpf_map__max_entries(m));
		if (err)
			return errs_fail(errs, -err, "map %s cannot be made: %s", s->name, strerror(-err));
	}
	return 0;
}

int maps_take(struct map_set *ms, struct bpf_object *maker, struct errs *errs)
{
	struct bpf_map *map;
	int err = 0;

	bpf_object__for_each_map(map, maker)
	{
		const char *name = load_map_name(map);
		struct map_spec *s = name ? spec_find(ms, name) : NULL;

		for (int p = 0; s && !err && p < PROGS; p++)
			if (s->map[p] && bpf_map__fd(s->map[p]) < 0)
				err = bpf_map__reuse_fd(s->map[p], bpf_map__fd(map));
		if (err)
			return errs_fail(errs, -err, "map %s cannot be used: %s", s->name, strerror(-err));
	}
	return 0;
}

struct stale {
	const char *root;
	struct map_set *ms;
};

/* Maps of another version, and what a crash in pin_replace() left. */
static int unpin_unknown(const char *name, void *arg)
{
	struct stale *st = arg;
	char path[PATH_MAX];

	if (spec_find(st->ms, name))
		return 0;
	pin_path(path, sizeof(path), st->root, "maps", name);
	return unlink(path) && errno != ENOENT ? -errno : 0;
}

/* The numbers that hashes are made with stay as long as the flows do. */
static int write_flow_table(struct datapath *dp, const struct map_set *ms, struct errs *errs)
{
	struct table *head = table_get(dp, "flow_table"), *words4 = table_get(dp, "flow_words4"),
		     *words6 = table_get(dp, "flow_words6"), *half = table_get(dp, "half_open"),
		     *nat = table_get(dp, "nat_words"), *ways = table_get(dp, "nat_ways");
	struct flow_table *t = head ? table_map(head) : NULL;
	int err;

	if (!t || !words4 || !words6 || !half || !nat || !ways)
		return errs_fail(errs, EINVAL, "map flow_table is missing or cannot be mapped into memory");
	err = ms->adopt ? 0 : flowtab_seed(t, dp->sizes.hash_seed);
	if (err)
		return errs_fail(errs, -err, "no random numbers: %s", strerror(-err));
	if (!ms->adopt)
		flowtab_size(t, table_capacity(words4), table_capacity(words6));
	t->half_lines = table_capacity(half);
	t->nat_buckets = table_capacity(nat);
	t->nat_lines = table_capacity(ways);
	return 0;
}

static int write_control(struct datapath *dp, const struct map_set *ms, struct errs *errs)
{
	struct table *t = table_get(dp, "control");
	struct control *c = t ? table_map(t) : NULL;

	if (!c)
		return errs_fail(errs, EINVAL, "map control is missing or cannot be mapped into memory");
	c->reserved[CONTROL_DROPS_HASH] = ms->drops;
	c->reserved[CONTROL_STATS_HASH] = ms->stats;
	c->reserved[CONTROL_NETNS] = ms->netns;
	c->reserved[CONTROL_NEXT] = 0;
	if (!ms->adopt) {
		c->epoch = 1;
		c->hash_seed = dp->sizes.hash_seed;
		if (!c->hash_seed && getrandom(&c->hash_seed, sizeof(c->hash_seed), 0) != sizeof(c->hash_seed))
			return errs_fail(errs, errno, "no random numbers: %s", strerror(errno));
		__atomic_store_n(&c->abi_version, SLUICE_ABI_VERSION, __ATOMIC_RELEASE);
	}
	return 0;
}

void maps_next_in_force(struct datapath *dp, bool yes)
{
	struct control *c = table_map(table_get(dp, "control"));

	__atomic_store_n(&c->reserved[CONTROL_NEXT], yes, __ATOMIC_SEQ_CST);
}

static int commit_one(struct datapath *dp, const struct map_spec *s)
{
	char path[PATH_MAX];
	int fd, err = 0;

	fd = bpf_map__fd(spec_map(s));
	pin_path(path, sizeof(path), dp->root, "maps", s->name);
	if (s->fd < 0)
		err = pin_replace(path, fd);
	if (err)
		return err;
	fd = dup(fd);
	if (fd < 0)
		return -errno;
	return table_init(&dp->tables[dp->n_tables++], s->name, fd);
}

int maps_commit(struct datapath *dp, struct map_set *ms, struct errs *errs)
{
	struct stale st = {dp->root, ms};
	struct bpf_map_info info = {0};
	__u32 len = sizeof(info);
	int err = 0;

	dp->tables = calloc(ms->n ? ms->n : 1, sizeof(*dp->tables));
	if (!dp->tables)
		return errs_fail(errs, ENOMEM, "out of memory");
	for (size_t i = 0; i < ms->n; i++) {
		err = commit_one(dp, &ms->v[i]);
		if (err)
			return errs_fail(errs, -err, "map %s cannot be pinned: %s", ms->v[i].name, strerror(-err));
	}
	err = pin_each(dp->root, "maps", unpin_unknown, &st);
	if (err)
		return errs_fail(errs, -err, "a pin of another version cannot be removed: %s", strerror(-err));
	err = write_flow_table(dp, ms, errs);
	if (!err)
		err = write_control(dp, ms, errs);
	if (err)
		return err;
	err = bpf_obj_get_info_by_fd(table_get(dp, "control")->fd, &info, &len);
	dp->control_id = info.id;
	return err;
}

void maps_free(struct map_set *ms)
{
	if (!ms)
		return;
	for (size_t i = 0; i < ms->n; i++)
		if (ms->v[i].fd >= 0)
			close(ms->v[i].fd);
	free(ms);
}
