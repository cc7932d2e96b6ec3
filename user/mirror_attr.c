/* mirror_attr.c: netlink attributes to values, with sizes checked, for the parts of the mirror and netlink.c. */
#include <netinet/in.h>
#include <sys/socket.h>
#include "mirror_impl.h"

/* A row of attributes in `size` bytes: libmnl's own loops round the size up, beyond the end of a message that was cut off. */
static void row_parse(const void *row, int size, const struct nlattr **tb, unsigned max)
{
	memset(tb, 0, (max + 1) * sizeof(*tb));
	for (const struct nlattr *a = row; mnl_attr_ok(a, size); size -= MNL_ALIGN(a->nla_len), a = mnl_attr_next(a)) {
		if (mnl_attr_get_type(a) <= max)
			tb[mnl_attr_get_type(a)] = a;
	}
}

void attrs_parse(const struct nlmsghdr *nlh, size_t header, const struct nlattr **tb, unsigned max)
{
	row_parse(mnl_nlmsg_get_payload_offset(nlh, header), (int)mnl_nlmsg_get_payload_len(nlh) - (int)MNL_ALIGN(header), tb,
		  max);
}

void attrs_parse_nested(const struct nlattr *nest, const struct nlattr **tb, unsigned max)
{
	row_parse(mnl_attr_get_payload(nest), mnl_attr_get_payload_len(nest), tb, max);
}

uint32_t attr_u32(const struct nlattr *a)
{
	return a && mnl_attr_get_payload_len(a) == sizeof(uint32_t) ? mnl_attr_get_u32(a) : 0;
}

uint8_t family_of_af(int af)
{
	return af == AF_INET ? 4 : af == AF_INET6 ? 6 : 0;
}

int af_of_family(uint8_t family)
{
	return family == 4 ? AF_INET : family == 6 ? AF_INET6 : AF_UNSPEC;
}

static bool bytes_to_addr(const void *p, size_t size, uint8_t family, struct addr *ret)
{
	__be32 ip;

	if (family == 4 && size == sizeof(ip)) {
		memcpy(&ip, p, sizeof(ip));
		*ret = addr_v4(ip);
		return true;
	}
	if (family == 6 && size == sizeof(*ret)) {
		memcpy(ret, p, sizeof(*ret));
		return true;
	}
	return false;
}

bool attr_addr(const struct nlattr *a, uint8_t family, struct addr *ret)
{
	return a && bytes_to_addr(mnl_attr_get_payload(a), mnl_attr_get_payload_len(a), family, ret);
}

bool attr_via(const struct nlattr *a, struct addr *ret, uint8_t *ret_family)
{
	const struct rtvia *via = a ? mnl_attr_get_payload(a) : NULL;
	uint8_t family;

	if (!via || mnl_attr_get_payload_len(a) < sizeof(*via))
		return false;
	family = family_of_af(via->rtvia_family);
	if (!bytes_to_addr(via->rtvia_addr, mnl_attr_get_payload_len(a) - sizeof(*via), family, ret))
		return false;
	*ret_family = family;
	return true;
}
