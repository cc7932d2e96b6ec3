/* datapath.c: loads the two programs on the instance's maps, keeps them pinned, and swaps in new ones.
 *
 * Programs are loaded, then maps and programs are pinned, then (attach.c) links are made or taken over: a failure before
 * the last step leaves what runs as it was. libbpf's own messages are not printed: its last words go into the error.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sluice/abi.h>
#include "clock.h"
#include "datapath_priv.h"
#include "tc.skel.h"
#include "xdp.skel.h"

#define LOG_SIZE  (8u << 20) /* only what the verifier writes is ever touched */
#define LOG_LINES 8

static const char *const prog_names[PROGS] = {"sluice_xdp", "sluice_tc"};
static const char *const prog_pins[PROGS] = {"xdp", "tc"};

static _Thread_local char last_words[1024]; /* two threads may load programs */

static int keep_words(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	char line[512], *end;

	if (level != LIBBPF_WARN)
		return 0;
	vsnprintf(line, sizeof(line), fmt, ap);
	end = strchr(line, '\n');
	if (end)
		*end = 0;
	/* The verifier's log comes separately, and what libbpf guesses after the cause is no cause. */
	if (!strstr(line, "PROG LOAD LOG") && !strstr(line, "failed to load object"))
		snprintf(last_words, sizeof(last_words), "%s", line[0] ? line : "no reason given");
	return 0;
}

/* The end of the verifier's log, a line each: the last of them say what is wrong. */
static void log_tail(struct errs *errs, const char *log)
{
	const char *p = log + strlen(log);

	for (int lines = 0; p > log; p--)
		if (p[-1] == '\n' && p[0] && ++lines == LOG_LINES)
			break;
	for (size_t n; *p; p += n + (p[n] == '\n')) {
		n = strcspn(p, "\n");
		errs_fail(errs, EINVAL, "verifier: %.*s", (int)n, p);
	}
}

void load_done(struct load *l)
{
	xdp_bpf__destroy(l->xdp);
	tc_bpf__destroy(l->tc);
	for (int p = 0; p < PROGS; p++) {
		free(l->log[p]);
		if (l->progs[p].fd >= 0)
			close(l->progs[p].fd);
	}
}

const char *load_map_name(const struct bpf_map *map)
{
	const char *name = bpf_map__name(map);
	size_t one = strlen(SLUICE_ONE_SECTION);

	if (!bpf_map__is_internal(map))
		return name;
	return strncmp(name, SLUICE_ONE_SECTION, one) ? NULL : name + one;
}

struct bpf_map *load_find_map(struct bpf_object *obj, const char *name)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, obj)
	{
		const char *have = load_map_name(map);

		if (have && !strcmp(have, name))
			return map;
	}
	return NULL;
}

static bool is_next(const struct bpf_map *map)
{
	const char *name = load_map_name(map);
	size_t len = name ? strlen(name) : 0, tail = strlen(NEXT_TAIL);

	return len > tail && !strcmp(name + len - tail, NEXT_TAIL);
}

/* Programs that know only one size of tables have no maps for another. */
static int without_next(struct bpf_object *obj)
{
	struct bpf_map *map;
	int err = 0;

	bpf_object__for_each_map(map, obj)
	{
		if (!err && is_next(map))
			err = bpf_map__set_autocreate(map, false);
	}
	return err;
}

int load_begin(struct load *l, const struct datapath_features *f, bool resize, struct errs *errs)
{
	int err = 0;

	memset(l, 0, sizeof(*l));
	l->progs[PROG_XDP].fd = l->progs[PROG_TC].fd = -1;
	libbpf_set_print(keep_words);
	l->xdp = xdp_bpf__open();
	l->tc = tc_bpf__open();
	if (!l->xdp || !l->tc)
		return errs_fail(errs, errno ? errno : EINVAL, "the BPF objects cannot be opened: %s", last_words);
	l->xdp->rodata->cfg_ipv6 = l->tc->rodata->cfg_ipv6 = f->ipv6;
	l->xdp->rodata->cfg_l3 = l->tc->rodata->cfg_l3 = f->l3;
	l->xdp->rodata->cfg_nat = l->tc->rodata->cfg_nat = f->nat;
	l->xdp->rodata->cfg_nat_log = l->tc->rodata->cfg_nat_log = f->nat_log;
	l->xdp->rodata->cfg_account = l->tc->rodata->cfg_account = !f->uncounted;
	l->xdp->rodata->cfg_rpf = l->tc->rodata->cfg_rpf = f->rpf;
	l->xdp->rodata->cfg_mss = l->tc->rodata->cfg_mss = f->mss;
	l->xdp->rodata->cfg_inner = l->tc->rodata->cfg_inner = f->inner;
	l->xdp->rodata->cfg_trace = l->tc->rodata->cfg_trace = f->trace;
	l->xdp->rodata->cfg_resize = l->tc->rodata->cfg_resize = resize;
	l->objs[PROG_XDP] = l->xdp->obj;
	l->objs[PROG_TC] = l->tc->obj;
	for (int p = 0; !resize && !err && p < PROGS; p++)
		err = without_next(l->objs[p]);
	return err ? errs_fail(errs, -err, "the BPF objects cannot be prepared: %s", strerror(-err)) : 0;
}

int load_one(struct load *l, int p, struct errs *errs)
{
	struct bpf_program *prog = bpf_object__find_program_by_name(l->objs[p], prog_names[p]);
	struct bpf_prog_info info = {0};
	__u32 len = sizeof(info);
	uint64_t start;
	int err;

	l->log[p] = malloc(LOG_SIZE);
	if (!prog || !l->log[p])
		return errs_fail(errs, prog ? ENOMEM : ENOENT, "program %s is not there", prog_names[p]);
	l->log[p][0] = 0;
	last_words[0] = 0;
	bpf_program__set_log_buf(prog, l->log[p], LOG_SIZE);
	start = clock_now_ns();
	err = bpf_object__load(l->objs[p]);
	l->progs[p].load_ns = clock_now_ns() - start;
	if (err && l->log[p][0]) {
		errs_fail(errs, -err, "program %s does not load: %s; the verifier's last words follow", prog_names[p],
			  strerror(-err));
		log_tail(errs, l->log[p]);
		return err;
	}
	if (err)
		return errs_fail(errs, -err, "program %s does not load: %s", prog_names[p],
				 last_words[0] ? last_words : strerror(-err));
	l->progs[p].fd = dup(bpf_program__fd(prog));
	if (l->progs[p].fd < 0)
		return errs_fail(errs, errno, "program %s: %s", prog_names[p], strerror(errno));
	err = bpf_obj_get_info_by_fd(l->progs[p].fd, &info, &len);
	l->progs[p].id = info.id;
	return err ? errs_fail(errs, -err, "program %s: %s", prog_names[p], strerror(-err)) : 0;
}

/* For the time in which nothing else is to be done: the two do not wait for each other. */
struct other {
	struct load *l;
	struct errs errs;
	int err;
};

static void *load_other(void *arg)
{
	struct other *o = arg;

	o->err = load_one(o->l, PROG_TC, &o->errs);
	return NULL;
}

static int load_both(struct load *l, struct errs *errs)
{
	struct other o = {.l = l};
	sigset_t all, before;
	pthread_t thread;
	int err, beside;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	beside = pthread_create(&thread, NULL, load_other, &o);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	err = load_one(l, PROG_XDP, errs);
	if (beside)
		load_other(&o);
	else
		pthread_join(thread, NULL);
	for (size_t i = 0; i < o.errs.n; i++)
		errs_fail(errs, -o.err, "%s", o.errs.v[i].text ? o.errs.v[i].text : "out of memory");
	errs_free(&o.errs);
	return err ? err : o.err;
}

/* The maps that both have must be there before either is loaded: those of tc's object, without its program. */
static int make_maps(struct map_set *maps, struct errs *errs)
{
	struct tc_bpf *maker = tc_bpf__open();
	int err;

	if (!maker)
		return errs_fail(errs, errno ? errno : EINVAL, "the BPF objects cannot be opened: %s", last_words);
	err = bpf_program__set_autoload(maker->progs.sluice_tc, false);
	if (!err)
		err = without_next(maker->obj);
	if (err)
		errs_fail(errs, -err, "the BPF objects cannot be prepared: %s", strerror(-err));
	if (!err)
		err = maps_lend(maps, maker->obj, errs);
	if (!err) {
		last_words[0] = 0;
		err = bpf_object__load(maker->obj);
		if (err)
			errs_fail(errs, -err, "the maps cannot be made: %s", last_words[0] ? last_words : strerror(-err));
	}
	if (!err)
		err = maps_take(maps, maker->obj, errs);
	tc_bpf__destroy(maker);
	return err;
}

int datapath_pin_progs(const struct datapath *dp, const struct prog progs[PROGS], struct errs *errs)
{
	char path[PATH_MAX];
	int err = 0;

	for (int p = 0; !err && p < PROGS; p++) {
		pin_path(path, sizeof(path), dp->root, "progs", prog_pins[p]);
		err = pin_replace(path, progs[p].fd);
		if (err)
			errs_fail(errs, -err, "%s cannot be pinned: %s", path, strerror(-err));
	}
	return err;
}

/* From now on the datapath has the programs of `l`, and `l` those it had. */
static void swap_progs(struct datapath *dp, struct load *l)
{
	struct prog tmp[PROGS];

	memcpy(tmp, dp->progs, sizeof(tmp));
	memcpy(dp->progs, l->progs, sizeof(tmp));
	memcpy(l->progs, tmp, sizeof(tmp));
}

static int open_programs(struct datapath *dp, const struct datapath_features *features, struct errs *errs)
{
	struct map_set *maps = NULL;
	struct load l;
	int err;

	err = load_begin(&l, features, false, errs);
	if (!err)
		err = maps_prepare(dp, l.objs, &maps, errs);
	if (!err)
		err = make_maps(maps, errs);
	if (!err)
		err = load_both(&l, errs);
	if (!err)
		err = maps_commit(dp, maps, errs);
	if (!err)
		err = datapath_pin_progs(dp, l.progs, errs);
	if (!err) {
		swap_progs(dp, &l);
		dp->features = *features;
	}
	load_done(&l);
	maps_free(maps);
	return err;
}

/* Takes away directories in which nothing is pinned. */
static void remove_dirs(const char *root)
{
	static const char *const dirs[] = {"/maps", "/progs", "/links", ""};
	char path[PATH_MAX];

	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		snprintf(path, sizeof(path), "%s%s", root, dirs[i]);
		rmdir(path);
	}
}

static struct datapath *datapath_new(const char *instance)
{
	struct datapath *dp = calloc(1, sizeof(*dp));

	if (!dp)
		return NULL;
	dp->lock_fd = -1;
	for (int p = 0; p < PROGS; p++)
		dp->progs[p].fd = -1;
	snprintf(dp->instance, sizeof(dp->instance), "%s", instance);
	pin_path(dp->root, sizeof(dp->root), BPFFS, "sluice", instance);
	return dp;
}

int datapath_open(const char *instance, const struct settings_cfg *sizes, const struct datapath_features *features,
		  struct datapath **ret, struct errs *errs)
{
	struct datapath *dp;
	int err;

	*ret = NULL;
	err = host_check_instance(instance, errs);
	if (!err)
		err = host_mount_bpffs(errs);
	if (err)
		return err;
	dp = datapath_new(instance);
	if (!dp)
		return errs_fail(errs, ENOMEM, "out of memory");
	dp->sizes = *sizes;
	err = pin_mkdirs(dp, errs);
	if (!err)
		err = pin_lock(dp, errs);
	if (!err)
		err = open_programs(dp, features, errs);
	if (err) {
		if (err != -EBUSY)
			remove_dirs(dp->root);
		datapath_close(dp);
		return err;
	}
	*ret = dp;
	return 0;
}

void datapath_close(struct datapath *dp)
{
	if (!dp)
		return;
	for (size_t i = 0; i < dp->n_tables; i++)
		table_done(&dp->tables[i]);
	free(dp->tables);
	for (int p = 0; p < PROGS; p++)
		if (dp->progs[p].fd >= 0)
			close(dp->progs[p].fd);
	if (dp->lock_fd >= 0)
		close(dp->lock_fd);
	free(dp);
}

/* Every map of the object is one the instance has, but scratch and the next ones. */
int load_reuse_tables(struct datapath *dp, struct bpf_object *obj, struct errs *errs)
{
	struct bpf_map *map;
	struct table *t;
	int err;

	bpf_object__for_each_map(map, obj)
	{
		const char *name = load_map_name(map);

		t = name ? table_get(dp, name) : NULL;
		if (!t)
			continue;
		err = bpf_map__reuse_fd(map, t->fd);
		if (err)
			return errs_fail(errs, -err, "map %s cannot be used again: %s", t->name, strerror(-err));
	}
	return 0;
}

struct datapath_programs {
	struct load l;
	struct datapath_features features;
	unsigned exchanges; /* of tables, when it was opened */
};

int datapath_programs_open(struct datapath *dp, const struct datapath_features *features, struct datapath_programs **ret,
			   struct errs *errs)
{
	struct datapath_programs *p = calloc(1, sizeof(*p));
	int err;

	*ret = NULL;
	if (!p)
		return errs_fail(errs, ENOMEM, "out of memory");
	p->features = *features;
	p->exchanges = dp->exchanges;
	err = load_begin(&p->l, features, false, errs);
	for (int i = 0; !err && i < PROGS; i++)
		err = load_reuse_tables(dp, p->l.objs[i], errs);
	if (err)
		datapath_programs_free(p);
	else
		*ret = p;
	return err;
}

int datapath_programs_load(struct datapath_programs *p, struct errs *errs)
{
	int err = 0;

	for (int i = PROGS - 1; !err && i >= 0; i--)
		err = load_one(&p->l, i, errs);
	return err;
}

int datapath_programs_use(struct datapath *dp, struct datapath_programs *p, struct errs *errs)
{
	int err;

	if (p->exchanges != dp->exchanges)
		return -EAGAIN;
	swap_progs(dp, &p->l);
	err = attach_swap(dp, p->l.progs, errs);
	if (err)
		swap_progs(dp, &p->l);
	else
		err = datapath_pin_progs(dp, dp->progs, errs);
	if (!err)
		dp->features = p->features;
	return err;
}

void datapath_programs_free(struct datapath_programs *p)
{
	if (!p)
		return;
	load_done(&p->l);
	free(p);
}

/* The kernel's id of the pinned map `control`; 0: there is none. */
static uint32_t control_id(const char *root)
{
	struct bpf_map_info info = {0};
	__u32 len = sizeof(info);
	char path[PATH_MAX];
	int fd;

	pin_path(path, sizeof(path), root, "maps", "control");
	fd = bpf_obj_get(path);
	if (fd < 0)
		return 0;
	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		info.id = 0;
	close(fd);
	return info.id;
}

int datapath_destroy(const char *instance, struct errs *errs)
{
	struct datapath *dp;
	int err;

	err = host_check_instance(instance, errs);
	if (err)
		return err;
	dp = datapath_new(instance);
	if (!dp)
		return errs_fail(errs, ENOMEM, "out of memory");
	libbpf_set_print(keep_words);
	if (access(dp->root, F_OK))
		goto out;
	err = pin_lock(dp, errs);
	if (err)
		goto out;
	attach_clear(dp->root, control_id(dp->root));
	err = pin_clear(dp->root, "progs");
	if (!err)
		err = pin_clear(dp->root, "maps");
	if (err)
		errs_fail(errs, -err, "%s cannot be removed: %s", dp->root, strerror(-err));
	else
		remove_dirs(dp->root);
out:
	datapath_close(dp);
	return err;
}

static json_t *show_prog(const struct prog *p, const char *hook)
{
	struct bpf_prog_info info = {0};
	__u32 len = sizeof(info);
	char tag[2 * BPF_TAG_SIZE + 1];

	if (bpf_obj_get_info_by_fd(p->fd, &info, &len))
		return NULL;
	for (int i = 0; i < BPF_TAG_SIZE; i++)
		snprintf(tag + 2 * i, 3, "%02x", info.tag[i]);
	return json_pack("{s:s, s:s, s:I, s:s, s:I, s:I, s:I, s:f}", "name", info.name, "hook", hook, "id", (json_int_t)info.id,
			 "tag", tag, "verified_instructions", (json_int_t)info.verified_insns, "jited_bytes",
			 (json_int_t)info.jited_prog_len, "translated_bytes", (json_int_t)info.xlated_prog_len, "load_ms",
			 (double)p->load_ns / 1e6);
}

json_t *datapath_show(struct datapath *dp)
{
	json_t *list = json_array(), *item;

	for (int p = 0; p < PROGS; p++) {
		item = show_prog(&dp->progs[p], prog_pins[p]);
		if (item)
			json_array_append_new(list, item);
	}
	return list;
}
