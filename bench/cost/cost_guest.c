/* cost_guest.c: counts instructions inside a virtual machine whose time stamp counter counts them (qemu -icount shift=0).
 *
 *	cost_guest DIR JOBS PINS
 *
 * Stands between bench/cost.py, which makes the jobs and judges what came out, and the programs that sluiced has pinned at PINS.
 * DIR/JOBS has lines of "NAME HOOK TARGET NETDEV PACKETS REPEATS", and DIR for each NAME.gen, NAME.warm and NAME.order. The
 * generator of bench/bpf writes a packet and goes on to the pinned program by a tail call; each packet is a system call of its
 * own, and the least of its repeats is the one that no interrupt fell into. What the same packet costs with a program that does
 * nothing is subtracted. Prints a line for each job, with one packet before and after.
 */
#include <net/if.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>
#include <x86intrin.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>

#include "cost.h"

#define ALONE_REPEATS 5
#define PACKETS_MAX   1024
#define PROFILED      1024
#define FRAME_MAX     256

enum { BARE, REAL, FLOOR };

struct hook {
	const char *name;
	struct bpf_object *obj;
	struct gen *gen;
	uint64_t *seq;
	int run_fd;
};

/* For the profile: a page of empty functions at an address that cost_plugin.c knows. Who calls number N begins phase N of the
 * counting there; 0 ends it. NULL: there is no profile.
 */
static const uint8_t *marks;
static int phase;

#define MARKS ((void *)0x7e57000000)

static void mark(int n)
{
	void (*f)(void) = (void (*)(void))(marks + 16 * n);

	if (marks)
		f();
}

static void make_marks(void)
{
	uint8_t *m = mmap(MARKS, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (m != MARKS)
		die("marks", "");
	memset(m, 0xc3, 4096); /* ret */
	if (mprotect(m, 4096, PROT_READ | PROT_EXEC))
		die("marks", "");
	marks = m;
}

struct job {
	char name[64], hook[8], netdev[IF_NAMESIZE];
	uint32_t target, packets, repeats; /* repeats 1: every packet is new to the switch */
	uint32_t ifindex;
};

static int map_fd(const struct hook *h, const char *name)
{
	int fd = bpf_object__find_map_fd_by_name(h->obj, name);

	if (fd < 0)
		die("no map", name);
	return fd;
}

static int prog_fd(const struct hook *h, const char *name)
{
	struct bpf_program *p = bpf_object__find_program_by_name(h->obj, name);

	if (!p)
		die("no program", name);
	return bpf_program__fd(p);
}

static void set_target(const struct hook *h, uint32_t slot, int fd)
{
	if (bpf_map_update_elem(map_fd(h, "targets"), &slot, &fd, BPF_ANY))
		die("target of", h->name);
}

/* The generator's object, with the pinned program among its targets. */
static void hook_open(struct hook *h, const char *dir, const char *pins)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/gen_%s.bpf.o", dir, h->name);
	h->obj = bpf_object__open_file(path, NULL);
	if (!h->obj || bpf_object__load(h->obj))
		die("cannot load", path);
	h->run_fd = prog_fd(h, "gen_run");
	h->gen = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, map_fd(h, "gen"), 0);
	h->seq = mmap(NULL, SEQ * sizeof(*h->seq), PROT_READ | PROT_WRITE, MAP_SHARED, map_fd(h, "seq"), 0);
	if (h->gen == MAP_FAILED || h->seq == MAP_FAILED)
		die("mmap", path);
	snprintf(path, sizeof(path), "%s/%s", pins, h->name);
	fd = bpf_obj_get(path);
	if (fd < 0)
		die("no pin", path);
	set_target(h, BARE, prog_fd(h, "gen_bare"));
	set_target(h, REAL, fd);
	set_target(h, FLOOR, prog_fd(h, "gen_floor"));
	close(fd);
}

/* gen_floor redirects to this netdev. */
static void set_way_out(const struct hook *h, const char *netdev)
{
	struct bpf_devmap_val v = {.ifindex = if_nametoindex(netdev)};
	uint32_t slot = 0;

	if (bpf_map_update_elem(map_fd(h, "out"), &slot, &v, BPF_ANY))
		die("way out", netdev);
}

/* The sequence of one of the job's files; positions start anew. How many values it has: a power of two. */
static uint32_t set_order(struct hook *h, const char *dir, const struct job *j, const char *suffix)
{
	uint32_t n = read_file(dir, j->name, suffix, h->seq, SEQ * sizeof(*h->seq)) / sizeof(*h->seq);

	h->gen->mask = n - 1;
	h->gen->next = 0;
	return n;
}

/* One packet; what came out stays in `out`, its verdict in `ret_verdict`. Instructions, the system call's too. */
static uint64_t run(struct hook *h, const struct job *j, uint32_t target, uint8_t *out, uint32_t *ret_len, uint32_t *ret_verdict)
{
	static uint8_t in[FRAME];
	struct xdp_md xdp = {.data_end = FRAME, .ingress_ifindex = j->ifindex};
	struct __sk_buff skb = {.ingress_ifindex = j->ifindex, .ifindex = j->ifindex};
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = in, .data_size_in = FRAME, .data_out = out,
		    .data_size_out = out ? FRAME_MAX : 0, .repeat = 1);
	uint64_t began, ended;

	o.ctx_in = strcmp(h->name, "xdp") ? (void *)&skb : (void *)&xdp;
	o.ctx_size_in = strcmp(h->name, "xdp") ? sizeof(skb) : sizeof(xdp);
	h->gen->target = target;
	mark(phase);
	began = __rdtsc();
	if (bpf_prog_test_run_opts(h->run_fd, &o))
		die("cannot run", j->name);
	ended = __rdtsc();
	mark(0);
	if (ret_len)
		*ret_len = o.data_size_out;
	if (ret_verdict)
		*ret_verdict = o.retval;
	return ended - began;
}

/* The least that each packet took: what no timer interrupted. Packets of one flow after the other take the same path. */
static void least(struct hook *h, const struct job *j, uint32_t target, uint32_t repeats, uint32_t *best)
{
	for (uint32_t s = 0; s < repeats; s++) {
		h->gen->next = 1;
		for (uint32_t i = 0; i < j->packets; i++) {
			uint64_t took = run(h, j, target, NULL, NULL, NULL);

			if (!s || took < best[i])
				best[i] = took;
		}
	}
}

/* The same packets in phase 1 without the target, in phase 2 with it; other ones than those that were measured. */
static void profile(struct hook *h, const struct job *j)
{
	for (phase = 1; phase <= 2; phase++) {
		h->gen->next = PROFILED + 1;
		for (uint32_t i = 0; i < PROFILED; i++)
			run(h, j, phase == 1 ? BARE : j->target, NULL, NULL, NULL);
	}
	phase = 0;
}

static void hex(const char *what, const uint8_t *data, uint32_t len)
{
	printf(" %s=", what);
	for (uint32_t i = 0; i < len; i++)
		printf("%02x", data[i]);
}

static void look(struct hook *h, const struct job *j)
{
	uint8_t out[FRAME_MAX];
	uint32_t len, verdict, at = h->gen->next;

	run(h, j, BARE, out, &len, NULL);
	hex("before", out, len);
	h->gen->next = at;
	run(h, j, j->target, out, &len, &verdict);
	hex("out", out, len);
	printf(" verdict=%u", verdict);
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void measure(struct hook *h, const char *dir, struct job *j)
{
	static uint32_t alone[PACKETS_MAX], both[PACKETS_MAX];
	uint64_t sum = 0;
	uint32_t n;

	j->ifindex = if_nametoindex(j->netdev);
	if (!j->ifindex)
		die("no netdev", j->netdev);
	memset(h->gen, 0, sizeof(*h->gen));
	read_file(dir, j->name, "gen", h->gen, sizeof(*h->gen));
	for (n = set_order(h, dir, j, "warm"); n && j->repeats > 1; n--)
		run(h, j, j->target, NULL, NULL, NULL);
	set_order(h, dir, j, "order");
	printf("job %s", j->name);
	look(h, j);
	least(h, j, BARE, ALONE_REPEATS, alone);
	least(h, j, j->target, j->repeats, both);
	for (n = 0; n < j->packets; n++)
		sum += both[n] = both[n] > alone[n] ? both[n] - alone[n] : 0;
	if (marks)
		profile(h, j);
	qsort(both, j->packets, sizeof(*both), by_value);
	printf(" packets=%u sum=%llu least=%u middle=%u most=%u alone=%u\n", j->packets, (unsigned long long)sum, both[0],
	       both[j->packets / 2], both[j->packets - 1], alone[0]);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct hook hooks[] = {{.name = "xdp"}, {.name = "tc"}};
	struct job j;
	char path[256];
	FILE *f;

	if (argc != 4) {
		fprintf(stderr, "usage: cost_guest DIR JOBS PINS\n");
		return 2;
	}
	if (getenv("COST_PROFILE"))
		make_marks();
	for (size_t i = 0; i < 2; i++)
		hook_open(&hooks[i], argv[1], argv[3]);
	set_way_out(&hooks[0], "wan1");
	snprintf(path, sizeof(path), "%s/%s", argv[1], argv[2]);
	f = fopen(path, "r");
	if (!f)
		die("cannot read", path);
	while (fscanf(f, "%63s %7s %u %15s %u %u", j.name, j.hook, &j.target, j.netdev, &j.packets, &j.repeats) == 6)
		measure(&hooks[strcmp(j.hook, "xdp") ? 1 : 0], argv[1], &j);
	fclose(f);
	printf("cost_guest: done\n");
	return 0;
}
