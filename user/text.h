/* text.h: addresses, prefixes, MACs, VLAN sets, times and sizes to text and back.
 *
 * Parsers return 0, or -EINVAL with *ret untouched. Formatters write into the caller's buffer and return it. A `struct addr`
 * holds IPv4 as IPv4-mapped IPv6; prefix lengths in `struct prefix` are the family's own (0..32, 0..128).
 */
#ifndef SLUICE_TEXT_H
#define SLUICE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sluice/abi.h>

struct prefix {
	struct addr addr;
	uint8_t family; /* 4 or 6; 0: none, unset */
	uint8_t len;
};

/* The prefixes within `to` that are `ge` to `le` bits long, as an entry of a router's prefix list. */
struct prefix_filter {
	struct prefix to;
	uint8_t ge, le;
	bool deny; /* those not */
};

#define ADDR_TEXT   46
#define PREFIX_TEXT 50
#define MAC_TEXT    18

int addr_parse(const char *s, struct addr *ret, uint8_t *ret_family);
const char *addr_text(const struct addr *a, char buf[ADDR_TEXT]); /* an IPv4-mapped one as dotted quad */
uint8_t addr_family(const struct addr *a);			  /* 4 or 6 */
bool addr_is_link_local(const struct addr *a); /* of IPv6: fe80::/10, which no router passes on (RFC 4291 2.5.6) */
struct addr addr_v4(__be32 ip);
static inline bool addr_same(const struct addr *a, const struct addr *b)
{
	return !memcmp(a, b, sizeof(*a));
}
/* "10.0.0.0/8", "default" needs want_family 4 or 6; a bare address is a host prefix. `strict`: host bits must be 0. */
int prefix_parse(const char *s, uint8_t want_family, bool strict, struct prefix *ret);
const char *prefix_text(const struct prefix *p, char buf[PREFIX_TEXT]);
bool prefix_contains(const struct prefix *p, const struct addr *a);
bool prefix_filter_holds(const struct prefix_filter *f, const struct prefix *p);
bool prefix_overlaps(const struct prefix *a, const struct prefix *b);
struct prefix prefix_masked(const struct prefix *p); /* host bits to 0 */
unsigned prefix_mapped_len(const struct prefix *p);  /* length on the IPv4-mapped address: +96 for IPv4 */
int mac_parse(const char *s, uint8_t ret[6]);
const char *mac_text(const uint8_t mac[6], char buf[MAC_TEXT]);
const char *proto_text(uint8_t proto, char buf[4]);			 /* "tcp", "udp"…, or its number */
int u32_parse(const char *s, uint32_t min, uint32_t max, uint32_t *ret); /* decimal, whole string */
int family_parse(const char *s, uint8_t *ret);				 /* "4" or "6" */
int seconds_parse(const char *s, uint32_t *ret);			 /* "300", "300s", "5m", "2h" */

#endif
