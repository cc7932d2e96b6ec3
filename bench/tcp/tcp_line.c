/* tcp_line.c: what TCP between two network namespaces costs, switch included.
 *
 *	tcp_line NAMESPACE NAMESPACE ADDRESS PORT stream|ask|connect COUNT ROUNDS [CPU]
 *
 * Stands between bench/part_tcp.py and the kernel. Client and server are one thread, which writes on one side and reads on the
 * other; the packets are carried in the softirqs of its own system calls. So no scheduler decides what is measured, and the sum
 *of CPU time is the cost from end to end: of 64 KiB of a stream, of a request of 64 bytes and its response, of a connection from
 *its handshake to its end. With CPU the server is a thread of its own there, and they wait for each other as two programs do.
 * Everything that arrives is compared with what was sent, in a round before those that are timed.
 * Prints a line for each round: for one of COUNT, ns of CPU time of all threads and ns on the wall; ns that known work takes
 *before and after (bench/turns.py); and of requests with CPU the round trips' 50th, 99th and 99.9th percentile in ns.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CHUNK	65536
#define REQUEST 64
#define ASKED	65536 /* requests of a round whose time is kept */

static struct sockaddr_in address = {.sin_family = AF_INET};
static int listener;
static char sent[CHUNK], got[CHUNK];
static atomic_bool compare;

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "tcp_line: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void in_namespace(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || setns(fd, CLONE_NEWNET))
		die(path);
	close(fd);
}

/* A connection: the client's end, and in *ret_server the server's. */
static int opened(int *ret_server)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) ||
	    connect(fd, (struct sockaddr *)&address, sizeof(address)))
		die("connect");
	*ret_server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (*ret_server < 0 || setsockopt(*ret_server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)))
		die("accept");
	return fd;
}

/* All n bytes from one socket to the other; what the window holds back is written when something was read. */
static void carry(int from, int to, size_t n)
{
	size_t out = 0, in = 0;
	ssize_t r;

	while (in < n) {
		r = out < n ? send(from, sent + out, n - out, MSG_DONTWAIT) : 0;
		if (r < 0 && errno != EAGAIN)
			die("send");
		out += r > 0 ? (size_t)r : 0;
		r = recv(to, got + in, n - in, r <= 0 ? 0 : MSG_DONTWAIT);
		if (!r || (r < 0 && errno != EAGAIN))
			die("recv");
		in += r > 0 ? (size_t)r : 0;
	}
	if (compare && memcmp(sent, got, n)) {
		errno = EBADMSG;
		die("what arrived");
	}
}

static void stream(int client, int server, uint64_t count)
{
	while (count--)
		carry(client, server, CHUNK);
}

static void ask(int client, int server, uint64_t count)
{
	while (count--) {
		carry(client, server, REQUEST);
		carry(server, client, REQUEST);
	}
}

static void connections(uint64_t count)
{
	int client, server;
	char c;

	while (count--) {
		client = opened(&server);
		close(server);
		if (recv(client, &c, 1, 0))
			die("the end of a connection");
		close(client);
	}
}

/* ---- with a server of its own */

struct service {
	const char *what;
	int fd;	 /* its end of the connection */
	int cpu; /* -1: there is none */
	uint64_t count, rounds;
};

static uint32_t trips[ASKED];

static void all_of(int fd, void *to, size_t n)
{
	if (recv(fd, to, n, MSG_WAITALL) != (ssize_t)n)
		die("recv");
	if (compare && memcmp(sent, to, n)) {
		errno = EBADMSG;
		die("what arrived");
	}
}

static void put(int fd, size_t n)
{
	if (send(fd, sent, n, 0) != (ssize_t)n)
		die("send");
}

/* The server's half of a round; the last byte of a stream is answered by one. */
static void serve(const struct service *s)
{
	static char here[CHUNK];
	int fd;

	for (uint64_t i = 0; i < s->count; i++) {
		if (!strcmp(s->what, "stream")) {
			all_of(s->fd, here, CHUNK);
		} else if (!strcmp(s->what, "ask")) {
			all_of(s->fd, here, REQUEST);
			put(s->fd, REQUEST);
		} else {
			fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
			if (fd < 0)
				die("accept");
			close(fd);
		}
	}
	if (!strcmp(s->what, "stream"))
		put(s->fd, 1);
}

static void *server(void *service)
{
	const struct service *s = service;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(s->cpu, &set);
	if (pthread_setaffinity_np(pthread_self(), sizeof(set), &set))
		die("the server's CPU");
	for (uint64_t i = 0; i <= s->rounds; i++)
		serve(s);
	return NULL;
}

static void connect_once(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char c;

	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) || recv(fd, &c, 1, 0))
		die("a connection");
	close(fd);
}

/* The client's half. */
static void use(const char *what, int fd, uint64_t count)
{
	uint64_t began;

	for (uint64_t i = 0; i < count; i++) {
		if (!strcmp(what, "stream")) {
			put(fd, CHUNK);
		} else if (!strcmp(what, "ask")) {
			began = now(CLOCK_MONOTONIC);
			put(fd, REQUEST);
			all_of(fd, got, REQUEST);
			trips[i % ASKED] = now(CLOCK_MONOTONIC) - began;
		} else {
			connect_once();
		}
	}
	if (!strcmp(what, "stream"))
		all_of(fd, got, 1);
}

static int by_time(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void print_trips(uint64_t count)
{
	uint64_t n = count < ASKED ? count : ASKED;

	qsort(trips, n, sizeof(*trips), by_time);
	printf(" %u %u %u", trips[n / 2], trips[n * 99 / 100], trips[n * 999 / 1000]);
}

/* ---- both */

/* ns: some additions and multiplications that no memory is asked for. */
static double known_work(void)
{
	uint64_t a = address.sin_port, b = a + 1, c = a + 2, d = a + 3, began = now(CLOCK_MONOTONIC);

	for (int i = 0; i < 5000; i++) {
		a = (a * 3) ^ (a >> 7);
		b = (b + 0x51ed) ^ (b << 3);
		c = (c * 5) + (c >> 9);
		d = (d - 0x2545) ^ (d >> 5);
		__asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d));
	}
	return now(CLOCK_MONOTONIC) - began;
}

static void round_of(const char *what, int client, int server, uint64_t count)
{
	if (!strcmp(what, "stream"))
		stream(client, server, count);
	else if (!strcmp(what, "ask"))
		ask(client, server, count);
	else
		connections(count);
}

static void listen_in(const char *path)
{
	int one = 1;

	in_namespace(path);
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(listener, (struct sockaddr *)&(struct sockaddr_in){.sin_family = AF_INET, .sin_port = address.sin_port},
		 sizeof(address)) ||
	    listen(listener, 16))
		die("listen");
}

static void timed_round(const struct service *s, int client)
{
	double before = known_work();
	uint64_t cpu, wall;

	cpu = now(CLOCK_PROCESS_CPUTIME_ID);
	wall = now(CLOCK_MONOTONIC);
	if (s->cpu >= 0)
		use(s->what, client, s->count);
	else
		round_of(s->what, client, s->fd, s->count);
	wall = now(CLOCK_MONOTONIC) - wall;
	cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	printf("%.1f %.1f %.0f %.0f", (double)cpu / s->count, (double)wall / s->count, before, known_work());
	if (s->cpu >= 0 && !strcmp(s->what, "ask"))
		print_trips(s->count);
	putchar('\n');
}

int main(int argc, char **argv)
{
	struct service s = {.cpu = -1};
	pthread_t thread;
	int client;

	if ((argc != 8 && argc != 9) || inet_pton(AF_INET, argv[3], &address.sin_addr) != 1)
		return 2;
	address.sin_port = htons(strtoul(argv[4], NULL, 10));
	s.what = argv[5];
	s.count = strtoull(argv[6], NULL, 10);
	s.rounds = strtoull(argv[7], NULL, 10);
	for (size_t i = 0; i < CHUNK; i++)
		sent[i] = (char)(i * 7 + i / 251);
	listen_in(argv[2]);
	in_namespace(argv[1]);
	client = opened(&s.fd);
	compare = true;
	if (argc == 9) {
		s.cpu = atoi(argv[8]);
		if (pthread_create(&thread, NULL, server, &s))
			die("thread");
		use(s.what, client, s.count);
	} else {
		round_of(s.what, client, s.fd, s.count);
	}
	compare = false;
	for (uint64_t i = 0; i < s.rounds; i++)
		timed_round(&s, client);
	if (s.cpu >= 0)
		pthread_join(thread, NULL);
	return 0;
}
