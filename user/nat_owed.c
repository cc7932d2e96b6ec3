/* nat_owed.c: see nat_owed.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "nat_owed.h"

#define MAGIC 0x3164776f74616e73ull /* with a number for the layout */
#define STEP  8192		    /* notes by which it grows: a megabyte */

enum owed_state { OWED_FREE, OWED_NOTED, OWED_WRITTEN, OWED_LEFT };

struct note {
	uint64_t gone_ns;
	uint32_t state; /* enum owed_state; stored last */
	uint32_t next;	/* in the list of those that are free, or written */
	struct nat_event begin;
};

struct head {
	uint64_t magic, word, pad[6];
};

struct nat_owed {
	int fd;
	struct head *head; /* the notes stand behind it */
	uint32_t n, used;  /* notes that there is room for, and that are not free */
	uint32_t free, written;
};

static struct note *at(const struct nat_owed *o, uint32_t number)
{
	return (struct note *)(o->head + 1) + number - 1;
}

static size_t bytes(uint32_t notes)
{
	return sizeof(struct head) + notes * sizeof(struct note);
}

static void put_free(struct nat_owed *o, uint32_t number)
{
	__atomic_store_n(&at(o, number)->state, OWED_FREE, __ATOMIC_RELEASE);
	at(o, number)->next = o->free;
	o->free = number;
}

/* Room for `n` notes. The memory is taken here: where a tmpfs is full that is an error, and no signal later. */
static int resize(struct nat_owed *o, uint32_t n)
{
	void *to;
	int err = n > o->n ? posix_fallocate(o->fd, 0, (off_t)bytes(n)) : 0;

	if (err)
		return -err;
	if (n < o->n && ftruncate(o->fd, (off_t)bytes(n)))
		return -errno;
	to = o->head ? mremap(o->head, bytes(o->n), bytes(n), MREMAP_MAYMOVE)
		     : mmap(NULL, bytes(n), PROT_READ | PROT_WRITE, MAP_SHARED, o->fd, 0);
	if (to == MAP_FAILED)
		return -errno;
	o->head = to;
	o->n = n;
	return 0;
}

/* Of a file that is there; what is no such file is begun anew. */
static int read_back(struct nat_owed *o)
{
	off_t size = lseek(o->fd, 0, SEEK_END);
	uint32_t n = size > (off_t)bytes(STEP) ? (uint32_t)(((size_t)size - sizeof(struct head)) / sizeof(struct note)) : STEP;
	int err = resize(o, n);

	if (err)
		return err;
	if (o->head->magic != MAGIC) {
		memset(o->head, 0, bytes(n));
		*o->head = (struct head){.magic = MAGIC, .word = UINT64_MAX};
	}
	for (uint32_t i = n; i; i--) {
		if (at(o, i)->state == OWED_FREE) {
			put_free(o, i);
			continue;
		}
		at(o, i)->state = OWED_LEFT;
		o->used++;
	}
	return 0;
}

int nat_owed_open(const char *path, struct nat_owed **ret)
{
	struct nat_owed *o = calloc(1, sizeof(*o));
	int err;

	*ret = NULL;
	if (!o)
		return -ENOMEM;
	o->fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : memfd_create("nat-owed", MFD_CLOEXEC);
	err = o->fd < 0 ? -errno : read_back(o);
	if (!err) {
		*ret = o;
		return 0;
	}
	nat_owed_close(o);
	return err;
}

void nat_owed_close(struct nat_owed *o)
{
	if (!o)
		return;
	if (o->head)
		munmap(o->head, bytes(o->n));
	if (o->fd >= 0)
		close(o->fd);
	free(o);
}

bool nat_owed_left(struct nat_owed *o, uint32_t *from, uint32_t max,
		   void (*fn)(uint32_t number, const struct nat_event *begin, uint64_t gone_ns, void *arg), void *arg)
{
	for (uint32_t k = 0; k < max && *from < o->n; k++) {
		uint32_t i = ++*from;

		if (at(o, i)->state == OWED_LEFT)
			fn(i, &at(o, i)->begin, at(o, i)->gone_ns, arg);
	}
	return o->used && *from < o->n;
}

uint32_t nat_owed_add(struct nat_owed *o, const struct nat_event *begin, uint64_t gone_ns)
{
	uint32_t n = o->n, number;

	if (!o->free) {
		if (n > UINT32_MAX - STEP || resize(o, n + STEP))
			return 0;
		for (uint32_t i = n + STEP; i > n; i--)
			put_free(o, i);
	}
	number = o->free;
	o->free = at(o, number)->next;
	o->used++;
	at(o, number)->begin = *begin;
	at(o, number)->gone_ns = gone_ns;
	__atomic_store_n(&at(o, number)->state, OWED_NOTED, __ATOMIC_RELEASE);
	return number;
}

void nat_owed_gone(struct nat_owed *o, uint32_t number, uint64_t gone_ns)
{
	if (number)
		__atomic_store_n(&at(o, number)->gone_ns, gone_ns, __ATOMIC_RELEASE);
}

void nat_owed_written(struct nat_owed *o, uint32_t number)
{
	if (!number)
		return;
	at(o, number)->state = OWED_WRITTEN;
	at(o, number)->next = o->written;
	o->written = number;
}

void nat_owed_forget(struct nat_owed *o, uint32_t number)
{
	if (!number)
		return;
	put_free(o, number);
	o->used--;
	if (o->used || o->n == STEP || resize(o, STEP))
		return;
	o->free = 0;
	for (uint32_t i = STEP; i; i--)
		put_free(o, i);
}

void nat_owed_flushed(struct nat_owed *o)
{
	uint32_t next;

	for (uint32_t i = o->written; i; i = next) {
		next = at(o, i)->next;
		o->written = next;
		nat_owed_forget(o, i);
	}
}

uint64_t nat_owed_word(const struct nat_owed *o)
{
	return o->head->word;
}

void nat_owed_set_word(struct nat_owed *o, uint64_t word)
{
	o->head->word = word;
}
