/* bpfkit.c: see bpfkit.h. */
#include "bpfkit.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

void bpfkit_die(const char *what)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
	exit(1);
}

/* xorshift64 (Marsaglia 2003). */
uint64_t bpfkit_random(void)
{
	static uint64_t seed = 0x2545f4914f6cdd1d;

	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

int bpfkit_map_fd(struct bpf_object *obj, const char *name)
{
	int fd = bpf_object__find_map_fd_by_name(obj, name);

	if (fd < 0)
		bpfkit_die(name);
	return fd;
}

void *bpfkit_map_memory(struct bpf_object *obj, const char *name, size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, bpfkit_map_fd(obj, name), 0);

	if (p == MAP_FAILED)
		bpfkit_die(name);
	return p;
}

void bpfkit_run(struct bpf_object *obj, void *job)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	struct bpf_program *prog = bpf_object__find_program_by_name(obj, "bench");
	int fd = bpfkit_map_fd(obj, "job");
	char frame[64] = {0};
	uint32_t zero = 0;

	opts.data_in = frame;
	opts.data_size_in = sizeof(frame);
	if (!prog || bpf_map_update_elem(fd, &zero, job, 0) || bpf_prog_test_run_opts(bpf_program__fd(prog), &opts) ||
	    bpf_map_lookup_elem(fd, &zero, job))
		bpfkit_die("run");
}
