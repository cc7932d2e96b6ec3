/* ethtool.c: what netlink.h asks of drivers: their names, that VLAN tags stay in the data where XDP sees them, and that the
 * kernel takes packets of several datagrams apart.
 *
 * By the ioctls, which every driver answers since long before ethtool's netlink family.
 */
#include "netlink.h" /* before linux/ethtool.h, which has a macro PORT_NONE of its own */
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <net/if.h>

#define FEATURES_MAX  1024 /* more than any kernel has; what a driver says is checked against it */
#define FEATURE_WORDS (FEATURES_MAX / 32)

static int ethtool(const char *netdev, void *request)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), r;
	struct ifreq ifr = {.ifr_data = request};

	if (fd < 0)
		return -errno;
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", netdev);
	r = ioctl(fd, SIOCETHTOOL, &ifr) < 0 ? -errno : 0;
	close(fd);
	return r;
}

int netlink_driver(const char *netdev, char *buf, size_t size)
{
	struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
	int r = ethtool(netdev, &info);

	if (r < 0)
		return r;
	if (strnlen(info.driver, sizeof(info.driver)) >= size)
		return -ENOSPC;
	snprintf(buf, size, "%.*s", (int)sizeof(info.driver), info.driver);
	return 0;
}

#define NAMES_MAX 10

/* The numbers of these features, of which NULL is none, and which a kernel need not have. Returns how many were found, or -errno.
 */
static int feature_numbers(const char *netdev, const char *const names[NAMES_MAX], unsigned ret[NAMES_MAX])
{
	struct {
		struct ethtool_sset_info h;
		uint32_t count;
	} info = {.h = {.cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1ULL << ETH_SS_FEATURES}};
	struct ethtool_gstrings *s;
	int r = ethtool(netdev, &info), n = 0;

	if (r < 0)
		return r;
	if (!info.h.sset_mask || info.count > FEATURES_MAX)
		return -EOPNOTSUPP;
	s = calloc(1, sizeof(*s) + info.count * ETH_GSTRING_LEN);
	if (!s)
		return -ENOMEM;
	*s = (struct ethtool_gstrings){.cmd = ETHTOOL_GSTRINGS, .string_set = ETH_SS_FEATURES, .len = info.count};
	r = ethtool(netdev, s);
	for (unsigned i = 0; r == 0 && i < s->len && i < info.count && n < NAMES_MAX; i++) {
		const char *name = (const char *)s->data + i * ETH_GSTRING_LEN;

		for (int k = 0; k < NAMES_MAX && n < NAMES_MAX; k++)
			if (names[k] && strncmp(name, names[k], ETH_GSTRING_LEN) == 0)
				ret[n++] = i;
	}
	free(s);
	return r < 0 ? r : n;
}

/* Which of the features are on, as bits; *ret_words: how many words of bits the kernel has. 1: some are, 0: none; -errno. */
static int features_active(const char *netdev, const unsigned *feature, int n, uint32_t active[FEATURE_WORDS],
			   uint32_t *ret_words)
{
	struct {
		struct ethtool_gfeatures h;
		struct ethtool_get_features_block block[FEATURE_WORDS];
	} get = {.h = {.cmd = ETHTOOL_GFEATURES, .size = FEATURE_WORDS}};
	int r = ethtool(netdev, &get), any = 0;

	if (r < 0)
		return r;
	if (get.h.size > FEATURE_WORDS)
		return -EOPNOTSUPP;
	*ret_words = get.h.size;
	memset(active, 0, FEATURE_WORDS * sizeof(*active));
	for (int i = 0; i < n; i++) {
		uint32_t bit = 1U << feature[i] % 32;

		if (feature[i] / 32 < get.h.size && (get.block[feature[i] / 32].active & bit)) {
			active[feature[i] / 32] |= bit;
			any = 1;
		}
	}
	return any;
}

static int features_off(const char *netdev, const char *const names[NAMES_MAX])
{
	struct {
		struct ethtool_sfeatures h;
		struct ethtool_set_features_block block[FEATURE_WORDS];
	} set = {.h = {.cmd = ETHTOOL_SFEATURES}};
	uint32_t active[FEATURE_WORDS];
	unsigned feature[NAMES_MAX] = {};
	int n = feature_numbers(netdev, names, feature), r;

	if (n < 0)
		return n;
	r = features_active(netdev, feature, n, active, &set.h.size);
	if (r <= 0)
		return r;
	for (uint32_t i = 0; i < set.h.size; i++)
		set.block[i].valid = active[i];
	r = ethtool(netdev, &set);
	if (r < 0)
		return r;
	r = features_active(netdev, feature, n, active,
			    &set.h.size); /* what the driver cannot switch stays on, without an error */
	return r > 0 ? -EOPNOTSUPP : r;
}

int netlink_rxvlan_off(const char *netdev)
{
	static const char *const names[NAMES_MAX] = {"rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"}; /* 802.1Q and 802.1ad */

	return features_off(netdev, names);
}

/* Of a tunnel's packet the kernel looks at the features of the inner and of the outer one: without the outer one's it takes the
 * whole apart, down to single packets. */
int netlink_offloads_off(const char *netdev)
{
	static const char *const names[NAMES_MAX] = {
		"tx-udp-segmentation",	    "tx-udp_tnl-segmentation", "tx-udp_tnl-csum-segmentation", "tx-gre-segmentation",
		"tx-gre-csum-segmentation", "tx-ipxip4-segmentation",  "tx-ipxip6-segmentation",       "tx-sctp-segmentation",
		"tx-checksum-ip-generic",   "tx-checksum-sctp"};

	return features_off(netdev, names);
}
