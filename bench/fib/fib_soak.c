/* fib_soak.c: `make soak`: is any packet routed by a half-made change of the FIB? One process looks addresses up inside the
 * kernel without a pause, another changes the table under it with the code of sluiced: a covering route flips between two
 * results, a longer one comes and goes, and routes around them come and go so that nodes change their form all the time.
 * For each address it is known which results are right at any moment; another one is a misrouted packet.
 *
 * A commit that finds no memory but what packets may still read happens later, with what was changed until then: with little
 * memory that is most of them. With less, some find none at all (they are without room, and the next one tries again).
 *
 * fib_soak OBJECT [SECONDS [UNITS]]; status 1 when there was one, or nothing was looked up.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../bpfkit.h"
#include "fib.h"

#define TARGETS 4096
#define UNITS	(1u << 15) /* as a rule: small, so that memory is used again often */
#define CROWD	160	   /* routes that come and go in a scene */

struct target {
	struct addr addr;
	uint32_t vrf, family, allowed, pad;
};

enum { COVER_A = 1, COVER_B, LONGER, CROWDED, STEADY, DEFAULT };

/* One place where it happens. `cover` flips; `longer`, `steady` and `crowd` lie in it, apart from each other. */
static const struct scene {
	uint16_t vrf;
	const char *all, *cover, *longer, *steady, *crowd;
	uint8_t lens[4]; /* of the crowd */
} scenes[] = {
	{0, "0.0.0.0/0", "10.1.0.0/16", "10.1.5.0/24", "10.1.6.0/24", "10.1.128.0/17", {20, 24, 28, 32}},
	{0, "0.0.0.0/0", "20.0.0.0/12", "20.1.5.128/25", "20.1.5.0/25", "20.1.128.0/17", {18, 23, 24, 30}},
	{1, "0.0.0.0/0", "10.0.0.0/8", "10.1.5.0/24", "10.1.6.0/28", "10.128.0.0/9", {16, 24, 24, 32}},
	{0, "::/0", "2001:db8::/32", "2001:db8:5::/48", "2001:db8:6::/48", "2001:db8:8000::/33", {36, 44, 48, 64}},
	{0, "::/0", "2a00::/20", "2a00:5::/32", "2a00:6::/64", "2a00:800::/21", {32, 40, 48, 128}},
	{2, "::/0", "fd00::/8", "fd00:1:2:3::/64", "fd00:1:2:4::5/128", "fd00:1:2:8000::/49", {56, 64, 112, 128}},
};

#define N_SCENES (sizeof(scenes) / sizeof(scenes[0]))

static struct bpf_object *obj;
static struct fib *fib;
static struct prefix crowd[N_SCENES][CROWD];
static bool there[N_SCENES][CROWD];
static uint64_t put_off, no_room, refused;

static uint32_t rnd(void)
{
	return bpfkit_random() >> 20;
}

static struct prefix pfx(const char *text)
{
	struct prefix p;

	if (prefix_parse(text, 0, true, &p)) {
		errno = EINVAL;
		bpfkit_die(text);
	}
	return p;
}

static struct addr inside(const struct prefix *p)
{
	struct addr a = p->addr;

	for (unsigned i = prefix_mapped_len(p); i < 128; i++)
		if (rnd() & 1)
			a.a8[i / 8] ^= 0x80 >> i % 8;
	return a;
}

/* One for which the memory is too small is not there. */
static void set(uint16_t vrf, const struct prefix *p, uint32_t value)
{
	int r = value ? fib_set(fib, vrf, p, value) : fib_delete(fib, vrf, p);

	refused += r == -E2BIG;
	if (r && r != -ENOENT && r != -E2BIG) {
		errno = -r;
		bpfkit_die("a route");
	}
}

static void commit(void)
{
	int r = fib_commit(fib);

	put_off += r == -EAGAIN;
	no_room += r == -E2BIG;
	if (r && r != -EAGAIN && r != -E2BIG) {
		errno = -r;
		bpfkit_die("commit");
	}
}

/* The routes of all scenes, and addresses in each part of them. */
static void prepare(void)
{
	for (uint32_t i = 0; i < N_SCENES; i++) {
		const struct scene *s = &scenes[i];
		struct prefix all = pfx(s->all), cover = pfx(s->cover), longer = pfx(s->longer), steady = pfx(s->steady),
			      space = pfx(s->crowd);

		set(s->vrf, &all, DEFAULT);
		set(s->vrf, &cover, COVER_A);
		set(s->vrf, &steady, STEADY);
		for (uint32_t k = 0; k < CROWD; k++) {
			crowd[i][k] = (struct prefix){.family = space.family, .len = s->lens[k % 4], .addr = inside(&space)};
			crowd[i][k] = prefix_masked(&crowd[i][k]);
		}
		for (uint32_t k = i; k < TARGETS; k += N_SCENES) {
			struct target t = {.vrf = s->vrf, .family = cover.family};
			const struct prefix *in[] = {&longer, &steady, &crowd[i][rnd() % CROWD], &space};
			static const uint32_t allowed[] = {1 << COVER_A | 1 << COVER_B | 1 << LONGER, 1 << STEADY,
							   1 << COVER_A | 1 << COVER_B | 1 << CROWDED,
							   1 << COVER_A | 1 << COVER_B | 1 << CROWDED};
			uint32_t part = rnd() % 4;

			t.addr = inside(in[part]);
			t.allowed = allowed[part];
			if (bpf_map_update_elem(bpfkit_map_fd(obj, "targets"), &k, &t, 0))
				bpfkit_die("targets");
		}
	}
	commit();
}

static void on_cpu(int cpu)
{
	cpu_set_t set_of;

	CPU_ZERO(&set_of);
	CPU_SET(cpu, &set_of);
	sched_setaffinity(0, sizeof(set_of), &set_of); /* on a machine with one CPU they take turns */
}

static pid_t start_packets(void)
{
	struct bpf_program *prog = bpf_object__find_program_by_name(obj, "soak");
	pid_t pid = fork();
	char frame[64] = {0};

	if (pid)
		return pid;
	on_cpu(0);
	for (;;) {
		LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame));

		if (bpf_prog_test_run_opts(bpf_program__fd(prog), &opts))
			_exit(1);
	}
}

/* Some changes of one scene, in one commit. In turns the crowd grows and shrinks. */
static unsigned change(uint32_t round)
{
	uint32_t i = rnd() % N_SCENES, n = 1 + rnd() % 8, k;
	const struct scene *s = &scenes[i];
	struct prefix cover = pfx(s->cover), longer = pfx(s->longer);

	set(s->vrf, &cover, rnd() % 2 ? COVER_A : COVER_B);
	set(s->vrf, &longer, rnd() % 2 ? LONGER : 0);
	for (uint32_t j = 0; j < n; j++) {
		k = rnd() % CROWD;
		there[i][k] = rnd() % 8 < (round / 1000 % 2 ? 6 : 2);
		set(s->vrf, &crowd[i][k], there[i][k] ? CROWDED : 0);
	}
	commit();
	return n + 2;
}

static uint64_t counted(uint32_t what)
{
	uint64_t n = 0;

	if (bpf_map_lookup_elem(bpfkit_map_fd(obj, "counts"), &what, &n))
		bpfkit_die("counts");
	return n;
}

int main(int argc, char **argv)
{
	int seconds = argc > 2 ? atoi(argv[2]) : 60, status;
	uint64_t changes = 0;
	uint32_t round = 0;
	uint32_t units = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : UNITS;
	time_t end;
	pid_t pid;

	obj = argc > 1 ? bpf_object__open(argv[1]) : NULL;
	if (!obj || bpf_map__set_max_entries(bpf_object__find_map_by_name(obj, "fib"), units) || bpf_object__load(obj))
		bpfkit_die("load");
	if (fib_open(bpfkit_map_memory(obj, "fib", (size_t)units * sizeof(struct fib_unit)), units,
		     bpfkit_map_memory(obj, "fib_roots", VRF_MAX * 8), &fib, NULL))
		bpfkit_die("fib_open");
	prepare();
	pid = start_packets();
	if (pid < 0)
		bpfkit_die("fork");
	on_cpu(1);
	for (end = time(NULL) + seconds; time(NULL) < end; round++)
		changes += change(round);
	if (waitpid(pid, &status, WNOHANG) == 0) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
	} else {
		bpfkit_die("the lookups ended early");
	}
	fib_close(fib);
	printf("%d s: %" PRIu64 " changes in %" PRIu32 " commits (%" PRIu64 " put off, %" PRIu64 " without room, %" PRIu64
	       " routes refused) under %" PRIu64 " lookups: %" PRIu64 " misrouted\n",
	       seconds, changes, round, put_off, no_room, refused, counted(0), counted(1));
	if (counted(1))
		printf("the last: result %" PRIu64 " for target %" PRIu64 "\n", counted(2), counted(3));
	status = counted(1) || !counted(0);
	bpf_object__close(obj);
	return status;
}
