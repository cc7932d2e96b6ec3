/* cost.h: what the two programs that count in the virtual machine share: the generator's control, its files, and how they give
 * up. */
#ifndef SLUICE_BENCH_COST_H
#define SLUICE_BENCH_COST_H
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FRAME 98
#define SEQ   (1 << 20)

/* The front of bench/bpf/gen.h's struct gen; the rest is bytes here. */
struct gen {
	uint32_t flags, target, next, mask;
	uint8_t rest[4080];
};

static _Noreturn void die(const char *what, const char *which)
{
	printf("%s: %s %s: %s\n", program_invocation_short_name, what, which, strerror(errno));
	exit(1);
}

/* Bytes of DIR/NAME.SUFFIX into `to`; how many. */
static size_t read_file(const char *dir, const char *name, const char *suffix, void *to, size_t room)
{
	char path[256];
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s.%s", dir, name, suffix);
	f = fopen(path, "rb");
	if (!f)
		die("cannot read", path);
	n = fread(to, 1, room, f);
	fclose(f);
	return n;
}
#endif
