/* nat_host_test.c: with whom the gateway itself speaks, and its sockets, as sluiced reads them; what becomes of the marks. The
 * kernel's socket for IPsec states is the test's.
 */
#include "../../user/nat_own.c"
#undef SHARE
#include "nat_tables.h"
#include <sys/resource.h>
#include <libmnl/libmnl.h>
#include <linux/xfrm.h>

/* ---- the kernel's IPsec states: one, or an error at one of the steps; of the last an error in its answer. */

enum state_step { AT_NONE, AT_SOCKET, AT_BIND, AT_SEND, AT_RECEIVE, AT_ANSWER };

static enum state_step fails_at;
static int fails_with;
static bool answered;

static int at_step(enum state_step at, int ok)
{
	if (fails_at != at)
		return ok;
	errno = fails_with;
	return -1;
}

struct mnl_socket *mnl_socket_open2(int bus, int flags)
{
	answered = false;
	return at_step(AT_SOCKET, 0) ? NULL : (struct mnl_socket *)&answered;
}

int mnl_socket_bind(struct mnl_socket *s, unsigned groups, pid_t pid)
{
	return at_step(AT_BIND, 0);
}

ssize_t mnl_socket_sendto(const struct mnl_socket *s, const void *buf, size_t len)
{
	return at_step(AT_SEND, (int)len);
}

int mnl_socket_close(struct mnl_socket *s)
{
	return 0;
}

/* The state: ESP between the gateway and 192.0.2.1. */
ssize_t mnl_socket_recvfrom(const struct mnl_socket *s, void *buf, size_t size)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct xfrm_usersa_info *sa;

	if (answered) {
		nlh->nlmsg_type = NLMSG_DONE;
	} else if (fails_at == AT_ANSWER) {
		nlh->nlmsg_type = NLMSG_ERROR;
		((struct nlmsgerr *)mnl_nlmsg_put_extra_header(nlh, sizeof(struct nlmsgerr)))->error = -fails_with;
	} else {
		nlh->nlmsg_type = XFRM_MSG_NEWSA;
		sa = mnl_nlmsg_put_extra_header(nlh, sizeof(*sa));
		sa->family = AF_INET;
		sa->saddr.a4 = wan4;
		sa->id.daddr.a4 = inet_addr("192.0.2.1");
		sa->id.proto = IPPROTO_ESP;
	}
	answered = true;
	return at_step(AT_RECEIVE, (int)nlh->nlmsg_len);
}

static int setup_host(void **state)
{
	tunnel = (struct link){};
	fails_at = AT_NONE;
	if (setup(state))
		return -1;
	use("  - {name: out, type: snat, source: 10.0.0.0/24, to: masquerade, out: [wan]}\n");
	return nat_reconcile(&sw, NULL);
}

/* ---- */

static unsigned host_marks(void)
{
	struct table *t = table_get(NULL, "dnat_rules");
	unsigned n = 0;

	for (size_t i = 0; i < t->n; i++)
		n += nat_host_is_mark((struct dnat_key *)(t->v + i * (t->key + t->value)));
	return n;
}

/* A tunnel of the gateway's is marked, through reconciliations, until it is gone; a later life finds the mark. */
static void tunnels_of_the_host(void **state)
{
	struct nat_host_list none = {.n = 0};
	const struct addr own = addr_v4(wan4), peer = v4("192.0.2.1"), other = v4("192.0.2.2"), elsewhere = v4("198.51.100.1");

	tunnel = (struct link){.flags = IFF_UP, .tunnel = {IPPROTO_GRE}, .tunnel_peer = peer};
	nat_host_settle(sw.nat, &none, 0);
	assert_int_equal(host_marks(), 1);
	assert_true(nat_host_wants(sw.nat, IPPROTO_GRE, &own, 0, &peer));
	assert_false(nat_host_wants(sw.nat, IPPROTO_GRE, &own, 0, &other));
	assert_false(nat_host_wants(sw.nat, IPPROTO_ESP, &own, 0, &peer));
	assert_false(nat_host_wants(sw.nat, IPPROTO_GRE, &elsewhere, 0, &peer));
	assert_int_equal(nat_reconcile(&sw, NULL), 0);
	assert_int_equal(host_marks(), 1);
	tunnel.tunnel_peer = addr_v4(0);
	none.n = 0;
	nat_host_settle(sw.nat, &none, 0);
	assert_int_equal(host_marks(), 1);
	assert_true(nat_host_wants(sw.nat, IPPROTO_GRE, &own, 0, &other));
	nat_host_close(sw.nat);
	sw.nat->host_known = false;
	tunnel.flags = 0;
	none.n = 0;
	nat_host_settle(sw.nat, &none, 0);
	assert_int_equal(host_marks(), 0);
	assert_false(nat_host_wants(sw.nat, IPPROTO_GRE, &own, 0, &other));
	free(none.v);
}

/* What the data plane has heard, at second `at`. */
static struct dnat_rule *hear(uint32_t n, unsigned at)
{
	struct dnat_key key = {.daddr.a32[0] = n, .dport = htons(DNAT_MARK_HEARD), .proto = DNAT_PROTO_MARK};
	struct dnat_rule r = {.to = v4("192.0.2.9"), .rule = IPPROTO_GRE, .vrf = (uint16_t)at};
	struct table *t = table_get(NULL, "dnat_rules");

	if (at)
		assert_int_equal(table_set(t, &key, &r), 0);
	return (struct dnat_rule *)place(t, &key);
}

static void settle_at(unsigned at)
{
	struct nat_host_list l = {.begun_ns = (uint64_t)at << 30};

	nat_host_settle(sw.nat, &l, 0);
	free(l.v);
}

/* Who has sent the gateway a packet and is none of its peers is that for a minute, however much he sends. */
static void heard_and_no_peer(void **state)
{
	hear(7, 100);
	settle_at(100); /* was read in the second in which it came: not known */
	assert_non_null(hear(7, 0));
	assert_int_equal(hear(7, 0)->flags, 0);
	settle_at(102);
	assert_non_null(hear(7, 0));
	assert_int_equal(hear(7, 0)->flags, DNAT_HEARD_NOT);
	assert_int_equal(hear(7, 0)->vrf, 102);
	settle_at(102 + DNAT_HEARD_MAX);
	assert_int_equal(hear(7, 0)->vrf, 102);
	settle_at(103 + DNAT_HEARD_MAX);
	assert_null(hear(7, 0));
	hear(7, 65535); /* the clock begins anew */
	settle_at(65536 + 1);
	assert_int_equal(hear(7, 0)->flags, DNAT_HEARD_NOT);
	assert_int_equal(hear(7, 0)->vrf, 1);
	settle_at(65536 + 2 + DNAT_HEARD_MAX);
	assert_null(hear(7, 0));
}

static size_t errors_of_the_host(char text[256])
{
	json_t *errors = json_array();
	size_t n;

	nat_host_errors(&sw, errors);
	n = json_array_size(errors);
	snprintf(text, 256, "%s", n ? json_string_value(json_array_get(errors, 0)) : "");
	json_decref(errors);
	return n;
}

/* No room for a mark: it is said, the others are written, and it is tried again. */
static void no_room_for_a_peer(void **state)
{
	struct table *t = table_get(NULL, "dnat_rules");
	const struct addr peer = v4("192.0.2.1"), own = addr_v4(wan4);
	size_t max = t->max;
	unsigned before;
	char text[256];

	assert_int_equal(errors_of_the_host(text), 0);
	tunnel = (struct link){.flags = IFF_UP, .tunnel = {IPPROTO_GRE, IPPROTO_ESP}, .tunnel_peer = peer};
	t->max = t->n + 1;
	settle_at(100);
	assert_int_equal(host_marks(), 1);
	assert_int_equal(errors_of_the_host(text), 1);
	assert_non_null(strstr(text, "1 of those"));
	assert_non_null(strstr(text, "the forwards fill their table"));
	before = walks;
	settle_at(101); /* what is there is known: the forwards are not gone over for it */
	assert_int_equal(errors_of_the_host(text), 1);
	assert_true(nat_host_wants(sw.nat, IPPROTO_ESP, &own, 0, &peer));
	tunnel.tunnel[1] = 0; /* nor is a mark missed that was never there */
	settle_at(101);
	assert_int_equal(errors_of_the_host(text), 0);
	assert_int_equal(host_marks(), 1);
	tunnel.tunnel[1] = IPPROTO_ESP;
	settle_at(101);
	assert_int_equal(errors_of_the_host(text), 1);
	t->max = max;
	settle_at(101);
	assert_int_equal(walks, before);
	assert_int_equal(host_marks(), 2);
	assert_int_equal(errors_of_the_host(text), 0);
	assert_true(nat_host_wants(sw.nat, IPPROTO_ESP, &own, 0, &peer));
	tunnel.flags = 0;
	settle_at(102);
	assert_int_equal(host_marks(), 0);
}

/* As the job does it, and what comes after it. */
static void read_own(void)
{
	read_all(sw.nat->sockets);
	was_read(sw.nat->sockets);
}

/* Only of a kernel without IPsec it is known that there are no states. Whatever else fails, the marks stay, it is said, and what
 * the sockets are is known all the same. */
static void states_that_cannot_be_read(void **state)
{
	static const struct {
		enum state_step at;
		int err;
		bool none, silent;
	} rows[] = {
		{AT_SOCKET, EPROTONOSUPPORT, true, false},
		{AT_SOCKET, EAFNOSUPPORT, true, false},
		{AT_ANSWER, EOPNOTSUPP, true, false},
		{AT_ANSWER, ENOENT, true, false},
		{AT_SOCKET, EMFILE, false, false},
		{AT_SOCKET, ENFILE, false, false},
		{AT_BIND, ENOMEM, false, false},
		{AT_SEND, ENOBUFS, false, false},
		{AT_SEND, EPERM, false, false},
		{AT_RECEIVE, ENOBUFS, false, false},
		{AT_RECEIVE, EINTR, false, true},
		{AT_ANSWER, EPERM, false, false},
	};
	const struct addr own = addr_v4(wan4), peer = v4("192.0.2.1");
	char text[256];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		fails_at = AT_NONE;
		read_own();
		assert_int_equal(errors_of_the_host(text), 0);
		assert_true(nat_host_wants(sw.nat, IPPROTO_ESP, &own, 0, &peer));
		sw.nat->sockets->known = false;
		fails_at = rows[i].at;
		fails_with = rows[i].err;
		read_own();
		assert_true(sw.nat->sockets->known);
		if (nat_host_wants(sw.nat, IPPROTO_ESP, &own, 0, &peer) == rows[i].none || !host_marks() != rows[i].none)
			fail_msg("%s at step %d: %u marks", strerror(rows[i].err), rows[i].at, host_marks());
		assert_int_equal(errors_of_the_host(text), !rows[i].none && !rows[i].silent);
		if (!rows[i].none && !rows[i].silent)
			assert_non_null(strstr(text, strerror(rows[i].err)));
	}
}

/* What could be read beside them counts, and nobody is taken away before all could be. */
static void states_that_cannot_be_read_keep_nobody_out(void **state)
{
	const struct addr own = addr_v4(wan4), peer = v4("192.0.2.1"), other = v4("192.0.2.2");
	unsigned marks;

	read_own();
	hear(7, DNAT_HEARD_TIME(clock_now_ns() - 3 * CLOCK_SECOND_NS) | 1);
	marks = host_marks();
	fails_at = AT_SEND;
	fails_with = EPERM;
	tunnel = (struct link){.flags = IFF_UP, .tunnel = {IPPROTO_GRE}, .tunnel_peer = other};
	for (int i = 0; i < 2; i++) {
		read_own();
		assert_true(nat_host_wants(sw.nat, IPPROTO_GRE, &own, 0, &other));
		assert_true(nat_host_wants(sw.nat, IPPROTO_ESP, &own, 0, &peer));
		assert_int_equal(host_marks(), marks + 1);
		tunnel.flags = 0;
	}
	assert_int_equal(hear(7, 0)->flags, 0); /* he may be one of those who could not be read */
	fails_at = AT_NONE;
	read_own();
	assert_false(nat_host_wants(sw.nat, IPPROTO_GRE, &own, 0, &other));
	assert_int_equal(host_marks(), marks);
	assert_int_equal(hear(7, 0)->flags, DNAT_HEARD_NOT);
}

/* Nor are lists of sockets empty that could not be opened. */
static void lists_that_cannot_be_opened(void **state)
{
	struct rlimit was, none;
	struct own_list now;

	read_own();
	now = sw.nat->sockets->now;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	none = was;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	read_own();
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	assert_int_equal(sw.nat->sockets->err, -EMFILE);
	assert_int_equal(sw.nat->sockets->host_err, -EMFILE);
	assert_memory_equal(&sw.nat->sockets->now, &now, sizeof(now));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup_host, teardown)
	const struct CMUnitTest tests[] = {
		TEST(tunnels_of_the_host),
		TEST(heard_and_no_peer),
		TEST(no_room_for_a_peer),
		TEST(states_that_cannot_be_read),
		TEST(states_that_cannot_be_read_keep_nobody_out),
		TEST(lists_that_cannot_be_opened),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
