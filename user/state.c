/* state.c: between commit.c, which decides what is in force, and the files that say so after a crash.
 *
 * The header of a file is one comment line `# sluice: KEY=VALUE ...`, so that the rest stays plain YAML for the parser.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "clock.h"
#include "file.h"
#include "state.h"

#define BASE_HEADER "# sluice: the model of the configuration file\n"

uint64_t state_now_s(void)
{
	return clock_read_ns(CLOCK_BOOTTIME) / CLOCK_SECOND_NS;
}

bool state_instance_ok(const char *instance)
{
	size_t n = strlen(instance);

	if (!n || n > 32 || *instance == '.' || *instance == '-')
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!isalnum((unsigned char)instance[i]) && !strchr("-_.", instance[i]))
			return false;
	}
	return true;
}

void state_path(const struct state *s, const char *name, char buf[FILE_PATH])
{
	snprintf(buf, FILE_PATH, "%s/%s", s->dir, name);
}

/* `yaml` NULL: there was no memory for it. */
static int write_text(struct state *s, const char *name, const char *header, const char *yaml, struct errs *errs)
{
	char path[FILE_PATH];
	int r;

	if (!yaml)
		return errs_fail(errs, ENOMEM, "out of memory");
	state_path(s, name, path);
	r = file_write(path, header, yaml, 0640);
	if (r)
		return errs_fail(errs, -r, "%s cannot be written: %s", path, strerror(-r));
	return 0;
}

static int write_model(struct state *s, const char *name, const char *header, const struct model *m, struct errs *errs)
{
	char *yaml = model_yaml(m);
	int r = write_text(s, name, header, yaml, errs);

	free(yaml);
	return r;
}

static void written_free(struct state_written *w)
{
	free(w->yaml);
	*w = (struct state_written){0};
}

/* The value after " KEY=" in the header line. */
static bool header_u64(const char *text, const char *key, int base, uint64_t *ret)
{
	static const char start[] = "# sluice:";
	char line[256], pattern[32];
	char *at, *end;

	if (strncmp(text, start, strlen(start)) != 0)
		return false;
	snprintf(line, sizeof(line), "%.*s", (int)strcspn(text, "\n"), text);
	snprintf(pattern, sizeof(pattern), " %s=", key);
	at = strstr(line, pattern);
	if (!at)
		return false;
	at += strlen(pattern);
	errno = 0;
	*ret = strtoull(at, &end, base);
	return end != at && !errno;
}

/* NULL when the file is absent (no words) or not a model (with words). *ret_text, if not NULL, is the caller's. */
static struct model *read_model(struct state *s, const char *name, char **ret_text, struct errs *errs)
{
	char path[FILE_PATH];
	struct model *m;
	char *text;
	size_t len;
	int r;

	state_path(s, name, path);
	r = file_read(path, &text, &len);
	if (r == -ENOENT)
		return NULL;
	if (r) {
		errs_fail(errs, -r, "%s cannot be read: %s", path, strerror(-r));
		return NULL;
	}
	m = model_parse(text, len, path, errs);
	if (m && ret_text)
		*ret_text = text;
	else
		free(text);
	return m;
}

static int make_dir(const char *path, struct errs *errs)
{
	int r = file_make_dir(path, 0755);

	return r ? errs_fail(errs, -r, "%s cannot be made: %s", path, strerror(-r)) : 0;
}

static int take_lock(struct state *s, const char *instance, struct errs *errs)
{
	char path[FILE_PATH];
	pid_t owner = 0;
	int r;

	state_path(s, "lock", path);
	r = file_lock(path, &s->lock_fd, &owner);
	if (r == -EWOULDBLOCK)
		return errs_fail(errs, EBUSY, "instance '%s' is already run by process %d (another one needs -i NAME)", instance,
				 (int)owner);
	return r ? errs_fail(errs, -r, "%s cannot be locked: %s", path, strerror(-r)) : 0;
}

int state_open(const char *run, const char *instance, const char *config, struct state **ret, struct errs *errs)
{
	struct state *s;
	int r;

	if (!state_instance_ok(instance))
		return errs_fail(errs, EINVAL, "'%s' is no name of an instance: letters, digits, '-', '_', '.', at most 32",
				 instance);
	s = calloc(1, sizeof(*s));
	if (!s)
		return errs_fail(errs, ENOMEM, "out of memory");
	s->lock_fd = -1;
	s->config = strdup(config);
	if (!s->config)
		r = errs_fail(errs, ENOMEM, "out of memory");
	else if (snprintf(s->dir, sizeof(s->dir), "%s/%s", run, instance) >= (int)sizeof(s->dir))
		r = errs_fail(errs, ENAMETOOLONG, "the path %s is too long", run);
	else
		r = make_dir(run, errs);
	if (!r)
		r = make_dir(s->dir, errs);
	if (!r)
		r = take_lock(s, instance, errs);
	if (r) {
		state_close(s);
		return r;
	}
	*ret = s;
	return 0;
}

/* Nothing is in force that this directory would tell of: the start was refused. Only the holder of the lock may remove it, and
 * only while it is the file of that name: state_remove() may have been here, and the next sluiced after it. */
static void leave_nothing(struct state *s)
{
	char running[FILE_PATH], lock[FILE_PATH];
	struct stat here, there;

	state_path(s, "running.yaml", running);
	state_path(s, "lock", lock);
	if (!access(running, F_OK) || fstat(s->lock_fd, &here) || stat(lock, &there) || here.st_ino != there.st_ino)
		return;
	unlink(lock);
	rmdir(s->dir);
}

void state_close(struct state *s)
{
	if (!s)
		return;
	if (s->lock_fd >= 0) {
		leave_nothing(s);
		close(s->lock_fd);
	}
	model_free(s->base);
	written_free(&s->written);
	written_free(&s->former);
	free(s->config);
	free(s);
}

pid_t state_running_pid(const char *run, const char *instance)
{
	char path[FILE_PATH];

	snprintf(path, sizeof(path), "%s/%s/lock", run, instance);
	return file_lock_owner(path);
}

static void load_history(struct state *s, struct state_saved *saved, struct errs *errs)
{
	char name[32], *text;

	for (int i = 0; i < STATE_HISTORY; i++) {
		snprintf(name, sizeof(name), "history-%d.yaml", i + 1);
		saved->history[i] = read_model(s, name, &text, errs);
		if (!saved->history[i])
			return;
		if (!header_u64(text, "replaced", 10, &saved->replaced_s[i]))
			saved->replaced_s[i] = 0;
		free(text);
	}
}

int state_load(struct state *s, struct state_saved *ret, struct errs *errs)
{
	char *text = NULL;

	memset(ret, 0, sizeof(*ret));
	ret->running = read_model(s, "running.yaml", &text, errs);
	if (!ret->running)
		return 0;
	ret->has_hash = header_u64(text, "config-hash", 16, &ret->hash);
	free(text);
	s->has_hash = ret->has_hash;
	s->hash = ret->hash;
	s->base = read_model(s, "base.yaml", NULL, errs);

	text = NULL;
	ret->pending = read_model(s, "pending.yaml", &text, errs);
	if (ret->pending && !header_u64(text, "deadline", 10, &ret->deadline_s))
		ret->deadline_s = 0;
	free(text);
	load_history(s, ret, errs);
	return 0;
}

void state_saved_free(struct state_saved *saved)
{
	model_free(saved->running);
	model_free(saved->pending);
	for (int i = 0; i < STATE_HISTORY; i++)
		model_free(saved->history[i]);
	memset(saved, 0, sizeof(*saved));
}

/* How many changes lead from the base to the running model; negative: there is no base, or no memory. */
static int runtime_changes(const struct state *s, const struct model *running)
{
	json_t *diff = s->base ? model_diff(s->base, running) : NULL;
	int n = diff ? (int)json_array_size(diff) : -1;

	json_decref(diff);
	return n;
}

static int write_running(struct state *s, const char *yaml, struct errs *errs)
{
	char header[256], text[40] = "";

	if (s->has_hash)
		snprintf(text, sizeof(text), " config-hash=%016" PRIx64, s->hash);
	snprintf(header, sizeof(header), "# sluice: running model%s changed-at-run-time=%s\n", text, s->changes ? "yes" : "no");
	return write_text(s, "running.yaml", header, yaml, errs);
}

int state_write(struct state *s, const struct model *running, const struct model *base, uint64_t hash, struct errs *errs)
{
	struct state_written now = {model_yaml(running), running};
	struct model *copy = base ? model_copy(base) : NULL;
	struct state was = *s;
	int r = 0;

	if (base && !copy) {
		free(now.yaml);
		return errs_fail(errs, ENOMEM, "out of memory");
	}
	if (base) {
		s->base = copy;
		s->hash = hash;
		s->has_hash = true;
		r = base == running ? write_text(s, "base.yaml", BASE_HEADER, now.yaml, errs)
				    : write_model(s, "base.yaml", BASE_HEADER, base, errs);
	}
	s->changes = runtime_changes(s, running);
	if (!r)
		r = write_running(s, now.yaml, errs);
	if (r) {
		model_free(copy);
		free(now.yaml);
		*s = was;
		return r;
	}
	if (base)
		model_free(was.base);
	written_free(&s->former);
	s->former = was.written;
	s->written = now;
	return 0;
}

int state_write_pending(struct state *s, const struct model *back, uint64_t deadline_s, struct errs *errs)
{
	char header[96];

	snprintf(header, sizeof(header), "# sluice: goes back to this unless confirmed, deadline=%" PRIu64 "\n", deadline_s);
	return write_model(s, "pending.yaml", header, back, errs);
}

static int remove_file(struct state *s, const char *name, struct errs *errs)
{
	char path[FILE_PATH];
	int r;

	state_path(s, name, path);
	if (!unlink(path) || errno == ENOENT)
		return 0;
	r = errno;
	return errs_fail(errs, r, "%s cannot be removed: %s", path, strerror(r));
}

int state_clear_pending(struct state *s, struct errs *errs)
{
	return remove_file(s, "pending.yaml", errs);
}

int state_push_history(struct state *s, const struct model *former, uint64_t replaced_s, struct errs *errs)
{
	char from[FILE_PATH], to[FILE_PATH], name[32], header[80];
	int r;

	for (int i = STATE_HISTORY - 1; i >= 1; i--) {
		snprintf(name, sizeof(name), "history-%d.yaml", i);
		state_path(s, name, from);
		snprintf(name, sizeof(name), "history-%d.yaml", i + 1);
		state_path(s, name, to);
		if (rename(from, to) && errno != ENOENT) {
			int code = errno;

			return errs_fail(errs, code, "%s cannot be renamed: %s", from, strerror(code));
		}
	}
	snprintf(header, sizeof(header), "# sluice: a former model replaced=%" PRIu64 "\n", replaced_s);
	r = s->former.of == former ? write_text(s, "history-1.yaml", header, s->former.yaml, errs)
				   : write_model(s, "history-1.yaml", header, former, errs);
	written_free(&s->former);
	return r;
}

int state_save_config(struct state *s, const struct model *running, struct errs *errs)
{
	static const char header[] = "# Written by `sluice save`. The former file is beside this one, as .bak.\n";
	char bak[FILE_PATH];
	char *yaml = model_yaml(running), *whole = NULL;
	int r;

	if (!yaml || asprintf(&whole, "%s%s", header, yaml) < 0) {
		r = errs_fail(errs, ENOMEM, "out of memory");
		goto out;
	}
	snprintf(bak, sizeof(bak), "%s.bak", s->config);
	if ((unlink(bak) && errno != ENOENT) || (link(s->config, bak) && errno != ENOENT)) {
		r = errno;
		errs_fail(errs, r, "%s cannot be written: %s", bak, strerror(r));
		r = -r;
		goto out;
	}
	r = file_write(s->config, "", whole, file_mode(s->config, 0640));
	if (r) {
		errs_fail(errs, -r, "%s cannot be written: %s", s->config, strerror(-r));
		goto out;
	}
	r = state_write(s, running, running, file_hash(whole, strlen(whole)), errs);
out:
	free(whole);
	free(yaml);
	return r;
}

/* With what a kill left of its being written. */
static int remove_written(struct state *s, const char *name, struct errs *errs)
{
	char tmp[40];
	int r = remove_file(s, name, errs), r2;

	snprintf(tmp, sizeof(tmp), "%s" FILE_TMP, name);
	r2 = remove_file(s, tmp, errs);
	return r ? r : r2;
}

int state_remove(struct state *s, struct errs *errs)
{
	char name[32];
	int r = 0, one;

	for (int i = 0; i < STATE_HISTORY; i++) {
		snprintf(name, sizeof(name), "history-%d.yaml", i + 1);
		one = remove_written(s, name, errs);
		r = r ? r : one;
	}
	/* The lock goes last: whoever opened it before finds that it is not the file of that name any more. */
	for (const char *const *n =
		     (const char *const[]){"running.yaml", "base.yaml", "pending.yaml", STATE_SYSCTLS, STATE_NAT_OWED,
					   STATE_NAT_RULES, STATE_ROUTES, "api.sock", "lock", NULL};
	     *n; n++) {
		one = remove_written(s, *n, errs);
		r = r ? r : one;
	}
	rmdir(s->dir); /* stays when somebody else put a file there */
	return r;
}
