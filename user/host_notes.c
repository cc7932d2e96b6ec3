/* host_notes.c: see host_notes.h. Records of one size, one after another; the last one of a route says how it is. Whoever writes
 * makes a new file when this one has become long.
 */
#include "host_notes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "file.h"

#define BUFFER (1u << 16)

struct record {
	uint8_t there; /* 1: put, 0: gone */
	uint8_t family, len, pad;
	uint32_t table, metric, zero; /* no byte of it is the compiler's: records are compared as they are */
	struct addr addr;
};
_Static_assert(sizeof(struct record) == 32, "struct record");

struct host_notes {
	char file[FILE_PATH], tmp[FILE_PATH];
	FILE *out;
	bool in_use;
	size_t written;
};

static int by_route(const struct record *a, const struct record *b)
{
	return memcmp(&a->family, &b->family, sizeof(*a) - 1);
}

/* Of one route in the order of the file. */
static int in_order(const void *x, const void *y)
{
	const struct record *a = *(const struct record *const *)x, *b = *(const struct record *const *)y;
	int d = by_route(a, b);

	return d ? d : (a > b) - (a < b);
}

static bool is_sound(const struct record *r)
{
	return (r->family == 4 && r->len <= 32) || (r->family == 6 && r->len <= 128);
}

int host_notes_read(const char *file, int (*fn)(const struct host_note *note, void *arg), void *arg)
{
	const struct record *rec, **order;
	size_t len, n;
	char *text;
	int r = file_read(file, &text, &len);

	if (r)
		return r;
	/* One that a crash of the machine cut short was of a route that is gone as well. */
	n = len / sizeof(*rec);
	rec = (const struct record *)(const void *)text;
	order = malloc((n + 1) * sizeof(*order));
	if (!order)
		r = -ENOMEM;
	for (size_t i = 0; i < n && !r; i++)
		order[i] = &rec[i];
	if (n && !r)
		qsort(order, n, sizeof(*order), in_order);
	for (size_t i = 0; i < n && !r; i++) {
		struct host_note note = {.table = order[i]->table, .metric = order[i]->metric};

		if ((i + 1 < n && !by_route(order[i], order[i + 1])) || !order[i]->there || !is_sound(order[i]))
			continue;
		note.to = (struct prefix){.addr = order[i]->addr, .family = order[i]->family, .len = order[i]->len};
		r = fn(&note, arg);
	}
	free(order);
	free(text);
	return r;
}

struct host_notes *host_notes_new(const char *file, struct errs *errs)
{
	struct host_notes *n = calloc(1, sizeof(*n));
	int err = ENOMEM;

	if (n) {
		snprintf(n->file, sizeof(n->file), "%s", file);
		err = snprintf(n->tmp, sizeof(n->tmp), "%s" FILE_TMP, file) < (int)sizeof(n->tmp) ? 0 : ENAMETOOLONG;
	}
	if (!err) {
		n->out = fopen(n->tmp, "we");
		err = n->out ? 0 : errno;
	}
	if (!err) {
		setvbuf(n->out, NULL, _IOFBF, BUFFER);
		return n;
	}
	free(n);
	errs_fail(errs, err, "%s cannot be written: %s", file, strerror(err));
	return NULL;
}

int host_notes_use(struct host_notes *n, struct errs *errs)
{
	if (fflush(n->out) || rename(n->tmp, n->file))
		return errs_fail(errs, errno, "%s cannot be written: %s", n->file, strerror(errno));
	n->in_use = true;
	return 0;
}

void host_notes_close(struct host_notes *n)
{
	if (!n)
		return;
	fclose(n->out);
	if (!n->in_use)
		unlink(n->tmp);
	free(n);
}

/* In one write: the kernel has it as a whole, or not at all. */
static int put(struct host_notes *n, const struct host_note *note, bool there)
{
	struct record r = {.there = there,
			   .family = note->to.family,
			   .len = note->to.len,
			   .table = note->table,
			   .metric = note->metric,
			   .addr = note->to.addr};

	n->written++;
	if (fwrite(&r, sizeof(r), 1, n->out) == 1 && (!n->in_use || !fflush(n->out)))
		return 0;
	clearerr(n->out);
	return -EIO;
}

int host_notes_put(struct host_notes *n, const struct host_note *note)
{
	return put(n, note, true);
}

int host_notes_drop(struct host_notes *n, const struct host_note *note)
{
	return put(n, note, false);
}

size_t host_notes_written(const struct host_notes *n)
{
	return n->written;
}
