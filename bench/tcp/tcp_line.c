/* tcp_line.c: what TCP between two network namespaces costs, all of it on one CPU: client, server and whatever switches their
 *packets.
 *
 *	tcp_line NAMESPACE NAMESPACE ADDRESS PORT stream|ask|connect COUNT ROUNDS
 *
 * Stands between bench/part_tcp.py and the kernel. Client and server are one thread, which writes on one side and reads on the
 *other; the packets are carried in the softirqs of its own system calls. So no scheduler decides what is measured, and the sum of
 *CPU time is the cost from end to end: of 64 KiB of a stream, of a request of 64 bytes and its response, of a connection from its
 * handshake to its end. Everything that arrives is compared with what was sent, in a round before those that are timed.
 * Prints a line for each round: ns of CPU time and ns on the wall, for one of COUNT.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
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

static struct sockaddr_in address = {.sin_family = AF_INET};
static int listener;
static char sent[CHUNK], got[CHUNK];
static bool compare;

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

int main(int argc, char **argv)
{
	uint64_t count, rounds, cpu, wall;
	int client, server;

	if (argc != 8 || inet_pton(AF_INET, argv[3], &address.sin_addr) != 1)
		return 2;
	address.sin_port = htons(strtoul(argv[4], NULL, 10));
	count = strtoull(argv[6], NULL, 10);
	rounds = strtoull(argv[7], NULL, 10);
	for (size_t i = 0; i < CHUNK; i++)
		sent[i] = (char)(i * 7 + i / 251);
	listen_in(argv[2]);
	in_namespace(argv[1]);
	client = opened(&server);
	compare = true;
	round_of(argv[5], client, server, count);
	compare = false;
	for (uint64_t i = 0; i < rounds; i++) {
		cpu = now(CLOCK_THREAD_CPUTIME_ID);
		wall = now(CLOCK_MONOTONIC);
		round_of(argv[5], client, server, count);
		printf("%.1f %.1f\n", (double)(now(CLOCK_THREAD_CPUTIME_ID) - cpu) / count,
		       (double)(now(CLOCK_MONOTONIC) - wall) / count);
	}
	return 0;
}
