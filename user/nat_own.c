/* nat_own.c: the gateway's own ports (and identifiers of echoes) on an address that it shares with those it masquerades: they are
 * never given out.
 *
 * Stands between the kernel's lists of sockets (/proc/net/{tcp,udp,icmp}{,6} of sluiced's network namespace, where the addresses
 * are) and the sweep, which keeps a port that somebody holds. Where a rule lets others in than those a flow has sent to, an
 * answer to the host's own UDP socket could be taken for such a one; there the ports that the kernel chooses for sockets are kept
 * as well.
 *
 * The kernel goes over all its buckets for connections to show the few there are, some 20 ms each for a quarter of a million: so
 * a thread reads the lists, now and then. A sweep goes by what was read last, which may be some seconds old: the data plane
 * itself looks whether a port is a socket's before it gives it out (bpf/own.h).
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "clock.h"
#include "flow_priv.h"
#include "job.h"
#include "nat_priv.h"

#define OWN_LINES 65536		  /* of one list: beyond it a machine is no gateway */
#define EVERY_NS  CLOCK_SECOND_NS /* from the end of one reading to the next, at least, */
#define SHARE	  50		  /* and this many times what that one took */

/* No hole in it: such are compared byte by byte. An address begins where 64 bits do. */
struct own_port {
	struct addr addr;
	uint32_t port, proto;
};

struct own_list {
	struct own_port *v; /* sorted, each once */
	size_t n, room;
};

struct nat_own {
	struct nat *nat;
	struct job *job;	   /* reads; NULL: nobody does */
	struct own_list now, next; /* what was read last; the job's */
	struct nat_host_list host; /* the job's: nat_host.c's */
	bool known;		   /* it was read */
	int err, host_err;	   /* the job's: its lists are not whole */
	uint64_t took_ns, due_ns;  /* by the job; when it is to be read again */
	unsigned low, high;	   /* ports that the kernel chooses for sockets, and that are held; low > high: they are not */
};

int nat_own_addr(const char *hex, struct addr *ret)
{
	size_t n = strlen(hex) / 8;
	char word[9] = "";

	if (strlen(hex) != 8 && strlen(hex) != 32)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		memcpy(word, hex + 8 * i, 8);
		ret->a32[i] = (uint32_t)strtoul(word, NULL, 16);
	}
	if (n == 1)
		*ret = addr_v4(ret->a32[0]);
	return 0;
}

static int own_add(struct own_list *l, const struct own_port *o)
{
	struct own_port *v;

	if (l->n == l->room) {
		v = realloc(l->v, (l->room + 1024) * sizeof(*v));
		if (!v)
			return -ENOMEM;
		l->v = v;
		l->room += 1024;
	}
	l->v[l->n++] = *o;
	return 0;
}

/* `may_lack`: there need be no such protocol, of which then there is no socket. */
static int own_read(struct own_list *l, const char *path, uint8_t proto, bool may_lack)
{
	FILE *f = fopen(path, "re");
	char line[512], hex[33];
	unsigned port;
	struct addr a;
	int err = 0;

	if (!f)
		return errno == ENOENT && may_lack ? 0 : -errno;
	for (unsigned n = 0; !err && n < OWN_LINES && fgets(line, sizeof(line), f); n++)
		if (sscanf(line, " %*u: %32[0-9A-Fa-f]:%4x", hex, &port) == 2 && port && !nat_own_addr(hex, &a))
			err = own_add(l, &(struct own_port){a, port, proto});
	fclose(f);
	return err;
}

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct own_port));
}

/* In a thread. */
static void read_all(void *arg)
{
	struct nat_own *o = arg;
	struct own_list *l = &o->next;
	uint64_t begin_ns = clock_now_ns();
	size_t n = 0;

	l->n = 0;
	o->err = own_read(l, "/proc/net/tcp", IPPROTO_TCP, false) ?: own_read(l, "/proc/net/tcp6", IPPROTO_TCP, true);
	o->err = o->err ?: own_read(l, "/proc/net/udp", IPPROTO_UDP, false) ?: own_read(l, "/proc/net/udp6", IPPROTO_UDP, true);
	o->err = o->err ?: own_read(l, "/proc/net/icmp", IPPROTO_ICMP, true) ?: own_read(l, "/proc/net/icmp6", IPPROTO_ICMPV6, true);
	o->host_err = nat_host_read(&o->host);
	if (l->n)
		qsort(l->v, l->n, sizeof(*l->v), compare);
	for (size_t i = 0; i < l->n; i++)
		if (!n || compare(&l->v[n - 1], &l->v[i]))
			l->v[n++] = l->v[i];
	l->n = n;
	o->took_ns = clock_now_ns() - begin_ns;
}

static void was_read(void *arg)
{
	struct nat_own *o = arg;
	struct own_list was = o->now;

	o->job = NULL;
	o->due_ns = clock_now_ns() + (o->took_ns * SHARE > EVERY_NS ? o->took_ns * SHARE : EVERY_NS);
	nat_host_sockets(o->nat, o->err);
	if (!o->err) {
		o->now = o->next;
		o->next = was;
		o->known = true;
	}
	nat_host_settle(o->nat, &o->host, o->host_err);
}

int nat_own_open(struct nat *nat)
{
	nat->sockets = calloc(1, sizeof(*nat->sockets));
	if (!nat->sockets)
		return -ENOMEM;
	nat->sockets->nat = nat;
	return 0;
}

void nat_own_close(struct nat *nat)
{
	struct nat_own *o = nat->sockets;

	if (!o)
		return;
	job_join(o->job);
	free(o->now.v);
	free(o->next.v);
	free(o->host.v);
	free(o);
	nat->sockets = NULL;
}

/* ---- into a sweep */

/* A socket on :: mostly takes IPv4 as well. */
static void own_port(struct nat *nat, uint32_t slot, const struct own_port *o)
{
	static const struct addr any6;
	const struct addr any4 = addr_v4(0), *s = &nat->addrs[slot].addr;
	bool all6 = addr_same(&o->addr, &any6), all4 = all6 || addr_same(&o->addr, &any4);

	if ((addr_family(s) == 4 ? all4 : all6) || addr_same(s, &o->addr))
		nat_sweep_flow(nat, slot, (uint8_t)o->proto, (uint16_t)o->port);
}

void nat_own_begin(struct nat *nat)
{
	struct nat_own *o = nat->sockets;
	bool any = false;
	FILE *f;

	for (uint32_t slot = 0; slot < POOL_ADDR_MAX; slot++)
		any = any || nat->own[slot];
	o->low = 1;
	o->high = 0;
	f = any && nat->own_is_open ? fopen("/proc/sys/net/ipv4/ip_local_port_range", "re") : NULL;
	if (f && (fscanf(f, "%u %u", &o->low, &o->high) != 2 || o->high > 65535))
		o->high = 0;
	if (f)
		fclose(f);
	/* One that cannot be begun is tried at the next sweep. */
	if (any && !o->job && clock_now_ns() >= o->due_ns)
		job_start(nat->sw->base, read_all, was_read, o, &o->job);
}

void nat_own_hold(struct nat *nat, uint32_t slot)
{
	struct nat_own *o = nat->sockets;

	if (!nat->own[slot])
		return;
	if (!o->known)
		nat_sweep_hold(nat, slot);
	for (size_t i = 0; i < o->now.n; i++)
		own_port(nat, slot, &o->now.v[i]);
	for (unsigned port = o->low; port <= o->high; port++)
		nat_sweep_flow(nat, slot, IPPROTO_UDP, (uint16_t)port);
}
