/* cost_line.c: sends frames through namespaces inside a virtual machine that counts instructions as nanoseconds.
 *
 *	cost_line DIR NAME NETDEV PACKETS
 *
 * Stands between bench/cost_forward.py and the pinned programs of bench/bpf/gen_xdp.bpf.c (at PINS): sends live frames out of
 *NETDEV of the namespace that it runs in, as DIR/NAME.gen and DIR/NAME.order say, once all of DIR/NAME.warm have gone. All the
 *work of a packet is done on the one CPU before the system call returns, so the time that the kernel says it took is that of the
 *whole way. Prints the least of several runs, how many frames came out at the far end, and some of them.
 */
#include <net/if.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <linux/bpf.h>

#include "cost.h"

#define PINS	"/sys/fs/bpf/gen"
#define RUNS	5
#define BATCH	64
#define SAMPLES 64

/* As gen_xdp.bpf.c has it. */
struct sample {
	uint32_t len;
	uint8_t head[96];
};

static int pinned(const char *name)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), PINS "/%s", name);
	fd = bpf_obj_get(path);
	if (fd < 0)
		die("no pin", path);
	return fd;
}

static void *mapped(const char *name, size_t size)
{
	void *m = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, pinned(name), 0);

	if (m == MAP_FAILED)
		die("mmap", name);
	return m;
}

/* Instructions for one of `n` frames. */
static uint32_t send_frames(int fd, uint32_t ifindex, uint32_t n)
{
	static uint8_t in[FRAME];
	struct xdp_md xdp = {.data_end = FRAME, .ingress_ifindex = ifindex};
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = in, .data_size_in = FRAME, .ctx_in = &xdp, .ctx_size_in = sizeof(xdp),
		    .repeat = (int)n, .flags = BPF_F_TEST_XDP_LIVE_FRAMES, .batch_size = BATCH);

	if (bpf_prog_test_run_opts(fd, &o))
		die("cannot", "send");
	usleep(20000);
	return o.duration;
}

/* One CPU: the map's only value. */
static uint64_t received(int map)
{
	uint64_t n = 0;
	uint32_t zero = 0;

	if (bpf_map_lookup_elem(map, &zero, &n))
		die("map", "received");
	return n;
}

static void print_samples(int map)
{
	for (uint32_t i = 0; i < SAMPLES; i++) {
		struct sample s, none = {};

		if (bpf_map_lookup_elem(map, &i, &s) || !s.len)
			continue;
		printf(" frame=");
		for (size_t b = 0; b < sizeof(s.head); b++)
			printf("%02x", s.head[b]);
		bpf_map_update_elem(map, &i, &none, BPF_ANY);
	}
}

int main(int argc, char **argv)
{
	uint32_t least = UINT32_MAX, packets, ifindex;
	uint64_t before;
	struct gen *gen;
	uint64_t *seq;
	int fd, arrived;
	size_t n;

	if (argc != 5) {
		fprintf(stderr, "usage: cost_line DIR NAME NETDEV PACKETS\n");
		return 2;
	}
	packets = strtoul(argv[4], NULL, 10);
	ifindex = if_nametoindex(argv[3]);
	if (!ifindex)
		die("no netdev", argv[3]);
	fd = pinned("progs/gen_send");
	arrived = pinned("maps/received");
	gen = mapped("maps/gen", sizeof(*gen));
	seq = mapped("maps/seq", SEQ * sizeof(*seq));
	memset(gen, 0, sizeof(*gen));
	read_file(argv[1], argv[2], "gen", gen, sizeof(*gen));
	n = read_file(argv[1], argv[2], "warm", seq, SEQ * sizeof(*seq)) / sizeof(*seq);
	gen->mask = n - 1;
	send_frames(fd, ifindex, n < BATCH ? BATCH : n);
	gen->mask = read_file(argv[1], argv[2], "order", seq, SEQ * sizeof(*seq)) / sizeof(*seq) - 1;
	before = received(arrived);
	for (int i = 0; i < RUNS; i++) {
		uint32_t took;

		gen->next = 0;
		took = send_frames(fd, ifindex, packets);
		least = took < least ? took : least;
	}
	printf("line %s sent=%u arrived=%llu least=%u", argv[2], RUNS * packets, (unsigned long long)(received(arrived) - before),
	       least);
	print_samples(pinned("maps/samples"));
	printf("\n");
	return 0;
}
