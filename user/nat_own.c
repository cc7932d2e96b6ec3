/* nat_own.c: the gateway's own ports on an address that it shares with those it masquerades: they are never given out.
 *
 * Stands between the kernel's lists of sockets (/proc/net/{tcp,udp}{,6} of sluiced's network namespace, where the addresses are)
 * and the sweep, which keeps a port that somebody holds. Where a rule lets others in than those a flow has sent to, an answer to
 * the host's own UDP socket could be taken for such a one; there the ports that the kernel chooses for sockets are kept as well.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "nat_priv.h"

#define OWN_LINES 65536 /* of one list: beyond it a machine is no gateway, and the event loop has other work */

/* The address as /proc/net has it: words of wire order, printed as numbers of this machine. */
static int own_addr(const char *hex, struct addr *ret)
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

static void own_port(struct nat *nat, const struct addr *a, uint8_t proto, uint16_t port)
{
	static const struct addr any6;
	const struct addr any4 = addr_v4(0);
	bool all6 = !memcmp(a, &any6, sizeof(any6)), all4 = all6 || !memcmp(a, &any4, sizeof(any4));

	/* A socket on :: mostly takes IPv4 as well. */
	for (uint32_t slot = 0; slot < POOL_ADDR_MAX; slot++) {
		const struct addr *s = &nat->addrs[slot].addr;

		if (nat->own[slot] && ((addr_family(s) == 4 ? all4 : all6) || !memcmp(s, a, sizeof(*a))))
			nat_sweep_flow(nat, slot, proto, port);
	}
}

static void own_sockets(struct nat *nat, const char *path, uint8_t proto)
{
	FILE *f = fopen(path, "re");
	char line[512], hex[33];
	unsigned port;
	struct addr a;

	/* No such protocol: no socket of it. */
	if (!f)
		return;
	for (unsigned n = 0; n < OWN_LINES && fgets(line, sizeof(line), f); n++)
		if (sscanf(line, " %*u: %32[0-9A-Fa-f]:%4x", hex, &port) == 2 && port && !own_addr(hex, &a))
			own_port(nat, &a, proto, (uint16_t)port);
	fclose(f);
}

static void own_chosen(struct nat *nat)
{
	FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
	unsigned low, high;

	if (!f)
		return;
	if (fscanf(f, "%u %u", &low, &high) == 2 && high <= 65535)
		for (uint32_t slot = 0; slot < POOL_ADDR_MAX; slot++)
			for (unsigned port = low; nat->own[slot] && port <= high; port++)
				nat_sweep_flow(nat, slot, IPPROTO_UDP, (uint16_t)port);
	fclose(f);
}

void nat_own_hold(struct nat *nat)
{
	bool any = false;

	for (uint32_t slot = 0; slot < POOL_ADDR_MAX; slot++)
		any = any || nat->own[slot];
	if (!any)
		return;
	own_sockets(nat, "/proc/net/tcp", IPPROTO_TCP);
	own_sockets(nat, "/proc/net/tcp6", IPPROTO_TCP);
	own_sockets(nat, "/proc/net/udp", IPPROTO_UDP);
	own_sockets(nat, "/proc/net/udp6", IPPROTO_UDP);
	if (nat->own_is_open)
		own_chosen(nat);
}
