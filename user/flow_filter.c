/* flow_filter.c: reads a filter (flow_filter.h): a recursive parser, and a tree that becomes a list of tests.
 *
 * The tree is laid out backwards: the parts behind a test are placed first, so each test knows where to go on when it holds and
 * when it does not. Asking is then one loop without a stack (flow_filter_match.c).
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "flow_filter_priv.h"

/* ---- the tree */

static int add_node(struct filter_parser *p, enum filter_node_kind kind, unsigned left, unsigned right)
{
	if (p->n_nodes == sizeof(p->node) / sizeof(p->node[0]))
		return filter_fail(p, "too much: a filter has at most %d tests", FLOW_FILTER_TESTS);
	p->node[p->n_nodes] = (struct filter_node){kind, (uint16_t)left, (uint16_t)right};
	return (int)p->n_nodes++;
}

static int add_test(struct filter_parser *p, const struct filter_test *t)
{
	if (p->n_tests == FLOW_FILTER_TESTS)
		return filter_fail(p, "too much: a filter has at most %d tests", FLOW_FILTER_TESTS);
	p->test[p->n_tests] = *t;
	return add_node(p, NODE_TEST, p->n_tests++, 0);
}

/* ---- tests */

#define COMPARED (1 << 0) /* takes <, >= and the like */
#define BARE	 (1 << 1) /* takes no value */

struct keyword {
	const char *word;
	int (*read)(struct filter_parser *p, struct filter_test *t);
	enum filter_op op, or_op; /* with two of them: either holds */
	unsigned flags;
	uint8_t number; /* BARE: its value */
};

static const struct keyword keywords[] = {
	{"proto", filter_read_proto, FILTER_PROTO, FILTER_NONE, 0, 0},
	{"src", filter_read_addr, FILTER_SRC, FILTER_NONE, 0, 0},
	{"dst", filter_read_addr, FILTER_DST, FILTER_NONE, 0, 0},
	{"host", filter_read_addr, FILTER_SRC, FILTER_DST, 0, 0},
	{"net", filter_read_addr, FILTER_SRC, FILTER_DST, 0, 0},
	{"sport", filter_read_port, FILTER_SPORT, FILTER_NONE, COMPARED, 0},
	{"dport", filter_read_port, FILTER_DPORT, FILTER_NONE, COMPARED, 0},
	{"port", filter_read_port, FILTER_SPORT, FILTER_DPORT, COMPARED, 0},
	{"state", filter_read_state, FILTER_STATE, FILTER_NONE, 0, 0},
	{"rule", filter_read_rule, FILTER_RULE, FILTER_NONE, 0, 0},
	{"vrf", filter_read_vrf, FILTER_VRF, FILTER_OUT_VRF, 0, 0},
	{"in", filter_read_iface, FILTER_IN, FILTER_NONE, 0, 0},
	{"out", filter_read_iface, FILTER_OUT, FILTER_NONE, 0, 0},
	{"iface", filter_read_iface, FILTER_IN, FILTER_OUT, 0, 0},
	{"family", filter_read_family, FILTER_FAMILY, FILTER_NONE, 0, 0},
	{"age", filter_read_time, FILTER_AGE, FILTER_NONE, COMPARED, 0},
	{"idle", filter_read_time, FILTER_IDLE, FILTER_NONE, COMPARED, 0},
	{"expires", filter_read_time, FILTER_EXPIRES, FILTER_NONE, COMPARED, 0},
	{"packets", filter_read_count, FILTER_PACKETS, FILTER_NONE, COMPARED, 0},
	{"bytes", filter_read_count, FILTER_BYTES, FILTER_NONE, COMPARED, 0},
	{"nat", NULL, FILTER_NONE, FILTER_NONE, 0, 0}, /* as a prefix: see nat_keywords */
	{"snat", NULL, FILTER_SNAT, FILTER_NONE, BARE, 1},
	{"dnat", NULL, FILTER_DNAT, FILTER_NONE, BARE, 1},
	{"ip", NULL, FILTER_FAMILY, FILTER_NONE, BARE, 4},
	{"ip6", NULL, FILTER_FAMILY, FILTER_NONE, BARE, 6},
	{"all", NULL, FILTER_ALL, FILTER_NONE, BARE, 0},
};

/* Behind `nat`: of what the packets are translated to. */
static const struct keyword nat_keywords[] = {
	{"src", filter_read_addr, FILTER_NAT_SRC, FILTER_NONE, 0, 0},
	{"dst", filter_read_addr, FILTER_NAT_DST, FILTER_NONE, 0, 0},
	{"host", filter_read_addr, FILTER_NAT_SRC, FILTER_NAT_DST, 0, 0},
	{"sport", filter_read_port, FILTER_NAT_SPORT, FILTER_NONE, COMPARED, 0},
	{"dport", filter_read_port, FILTER_NAT_DPORT, FILTER_NONE, COMPARED, 0},
	{"port", filter_read_port, FILTER_NAT_SPORT, FILTER_NAT_DPORT, COMPARED, 0},
};

#define N(a) (sizeof(a) / sizeof((a)[0]))

static const struct keyword *find_keyword(const struct filter_parser *p, const struct keyword *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (filter_is(p, list[i].word))
			return &list[i];
	return NULL;
}

/* The words of a list, for who has to be told. */
static const char *words_of(const struct keyword *list, size_t n, char *buf, size_t size)
{
	size_t len = 0;

	for (size_t i = 0; i < n && len < size; i++)
		len += (size_t)snprintf(buf + len, size - len, "%s%s", i ? ", " : "", list[i].word);
	return buf;
}

enum relation { REL_EQ, REL_NE, REL_LT, REL_LE, REL_GT, REL_GE };

/* An operator, or the word that a shell does not take for a redirection. */
static bool read_relation(const struct filter_parser *p, enum relation *ret)
{
	static const struct {
		const char *word, *sign, *sign2;
		enum relation relation;
	} list[] = {{"eq", "=", "==", REL_EQ}, {"ne", "!=", "", REL_NE}, {"lt", "<", "", REL_LT},
		    {"le", "<=", "", REL_LE},  {"gt", ">", "", REL_GT},	 {"ge", ">=", "", REL_GE}};

	for (size_t i = 0; i < N(list); i++) {
		if (!filter_is_end(p) &&
		    (filter_is(p, list[i].word) || filter_is(p, list[i].sign) || filter_is(p, list[i].sign2))) {
			*ret = list[i].relation;
			return true;
		}
	}
	return false;
}

static int compare(struct filter_parser *p, struct filter_test *t, enum relation relation)
{
	if (relation != REL_EQ && relation != REL_NE && t->lo != t->hi)
		return filter_fail(p, "'%s' is a range, which is greater or less than nothing: one number is wanted", p->word);
	switch (relation) {
	case REL_EQ:
	case REL_NE:
		break;
	case REL_LT:
		if (!t->lo)
			return filter_fail(p, "nothing is less than 0");
		t->hi = t->lo - 1;
		t->lo = 0;
		break;
	case REL_LE:
		t->lo = 0;
		break;
	case REL_GT:
		if (t->lo == UINT64_MAX)
			return filter_fail(p, "nothing is greater than this");
		t->lo++;
		t->hi = UINT64_MAX;
		break;
	case REL_GE:
		t->hi = UINT64_MAX;
		break;
	}
	return 0;
}

/* One value of a keyword: one test, or two of which one must hold. */
static int read_value(struct filter_parser *p, const struct keyword *k, enum relation relation)
{
	struct filter_test t = {.op = k->op};
	int err = k->read(p, &t), left, right;

	if (!err)
		err = compare(p, &t, relation);
	if (err)
		return err;
	left = add_test(p, &t);
	if (left < 0 || k->or_op == FILTER_NONE)
		return left;
	t.op = k->or_op;
	right = add_test(p, &t);
	return right < 0 ? right : add_node(p, NODE_OR, (unsigned)left, (unsigned)right);
}

/* `A,B,C` behind a keyword, and with COMPARED what it is compared by. */
static int read_values(struct filter_parser *p, const struct keyword *k)
{
	enum relation relation = REL_EQ;
	int all = -1, one, err = 0;

	if (k->flags & COMPARED && read_relation(p, &relation))
		err = filter_next(p);
	for (;;) {
		if (err)
			return err;
		one = read_value(p, k, relation);
		all = all < 0 || one < 0 ? one : add_node(p, NODE_OR, (unsigned)all, (unsigned)one);
		if (all < 0)
			return all;
		err = filter_next(p);
		if (err || !filter_is(p, ","))
			break;
		err = filter_next(p);
	}
	if (err)
		return err;
	return relation == REL_NE ? add_node(p, NODE_NOT, (unsigned)all, 0) : all;
}

/* ---- expressions */

static int read_or(struct filter_parser *p);

/* What a word begins: `src`, `src port`, `src host`, `nat src`, `tcp`. The current word is then the one behind it. */
static int read_keyword(struct filter_parser *p, const struct keyword **ret, struct keyword *buf)
{
	const struct keyword *k = find_keyword(p, keywords, N(keywords));
	char list[256], at[FILTER_WORD + 2];
	uint8_t proto;
	int err;

	if (!k && !p->quoted && filter_proto(p->word, &proto)) {
		*buf = (struct keyword){p->word, NULL, FILTER_PROTO, FILTER_NONE, BARE, proto};
		*ret = buf;
		return filter_next(p);
	}
	if (!k)
		return filter_fail(p, "a test is wanted, not %s: not, (, tcp, udp, icmp, %s", filter_here(p, at),
				   words_of(keywords, N(keywords), list, sizeof(list)));
	err = filter_next(p);
	if (!err && !strcmp(k->word, "nat")) {
		k = find_keyword(p, nat_keywords, N(nat_keywords));
		if (!k)
			return filter_fail(p, "behind 'nat' is wanted what of the translation is meant, not %s: %s",
					   filter_here(p, at), words_of(nat_keywords, N(nat_keywords), list, sizeof(list)));
		err = filter_next(p);
	}
	if (!err && k->read == filter_read_addr && k->or_op == FILTER_NONE && (filter_is(p, "host") || filter_is(p, "net"))) {
		err = filter_next(p);
	} else if (!err && k->read == filter_read_addr && k->or_op == FILTER_NONE && filter_is(p, "port")) {
		*buf = *k;
		buf->read = filter_read_port;
		buf->flags = COMPARED;
		buf->op = k->op == FILTER_SRC	    ? FILTER_SPORT
			  : k->op == FILTER_DST	    ? FILTER_DPORT
			  : k->op == FILTER_NAT_SRC ? FILTER_NAT_SPORT
						    : FILTER_NAT_DPORT;
		k = buf;
		err = filter_next(p);
	}
	*ret = k;
	return err;
}

static int read_test(struct filter_parser *p)
{
	const struct keyword *k = NULL;
	struct keyword buf;
	int err = read_keyword(p, &k, &buf);

	if (err)
		return err;
	if (k->flags & BARE)
		return add_test(p, &(struct filter_test){.op = k->op, .lo = k->number, .hi = k->number});
	return read_values(p, k);
}

static int read_factor(struct filter_parser *p)
{
	bool negated = filter_is(p, "not") || filter_is(p, "!");
	char buf[FILTER_WORD + 2];
	int node, err;

	if (!negated && !filter_is(p, "("))
		return read_test(p);
	if (p->depth == FLOW_FILTER_DEPTH)
		return filter_fail(p, "too deep: parentheses and 'not' go %d deep", FLOW_FILTER_DEPTH);
	p->depth++;
	err = filter_next(p);
	node = err ? err : negated ? read_factor(p) : read_or(p);
	p->depth--;
	if (node < 0)
		return node;
	if (negated)
		return add_node(p, NODE_NOT, (unsigned)node, 0);
	if (!filter_is(p, ")"))
		return filter_fail(p, "')' is wanted, 'and', 'or' or another test, not %s", filter_here(p, buf));
	err = filter_next(p);
	return err ? err : node;
}

/* `and` may be left out. */
static int read_and(struct filter_parser *p)
{
	int left = read_factor(p), right;

	while (left >= 0 && !filter_is_end(p) && !filter_is(p, ")") && !filter_is(p, "or") && !filter_is(p, "||")) {
		if ((filter_is(p, "and") || filter_is(p, "&&")) && filter_next(p))
			return -EINVAL;
		right = read_factor(p);
		left = right < 0 ? right : add_node(p, NODE_AND, (unsigned)left, (unsigned)right);
	}
	return left;
}

static int read_or(struct filter_parser *p)
{
	int left = read_and(p), right;

	while (left >= 0 && (filter_is(p, "or") || filter_is(p, "||"))) {
		if (filter_next(p))
			return -EINVAL;
		right = read_and(p);
		left = right < 0 ? right : add_node(p, NODE_OR, (unsigned)left, (unsigned)right);
	}
	return left;
}

/* ---- from the tree to the list */

/* Places what stands below `node` in front of what is placed already; returns where it begins. */
static uint16_t place(const struct filter_parser *p, struct flow_filter *f, unsigned node, uint16_t yes, uint16_t no)
{
	const struct filter_node *n = &p->node[node];

	switch (n->kind) {
	case NODE_AND:
		return place(p, f, n->left, place(p, f, n->right, yes, no), no);
	case NODE_OR:
		return place(p, f, n->left, yes, place(p, f, n->right, yes, no));
	case NODE_NOT:
		return place(p, f, n->left, no, yes);
	case NODE_TEST:
		break;
	}
	f->start--;
	f->test[f->start] = p->test[n->left];
	f->test[f->start].yes = yes;
	f->test[f->start].no = no;
	return f->start;
}

static int read_all(struct filter_parser *p)
{
	size_t len = strnlen(p->text, FLOW_FILTER_TEXT + 1);
	int node;

	if (len > FLOW_FILTER_TEXT)
		return filter_fail_at(p, p->text + FLOW_FILTER_TEXT, "too long: a filter has at most %d characters",
				      FLOW_FILTER_TEXT);
	node = filter_next(p) ? -EINVAL : read_or(p);
	if (node >= 0 && !filter_is_end(p))
		return filter_fail(p, "')' closes nothing: 'and', 'or' or another test is wanted, or the end");
	return node;
}

int flow_filter_parse(const char *text, const struct flow_names *names, struct flow_filter **ret,
		      struct flow_filter_error *ret_error)
{
	struct filter_parser *p = malloc(sizeof(*p));
	struct flow_filter *f = NULL;
	int node = -ENOMEM;

	if (!p)
		return -ENOMEM;
	*ret_error = (struct flow_filter_error){0};
	memset(p, 0, offsetof(struct filter_parser, test));
	p->n_tests = p->n_nodes = 0;
	p->text = p->at = p->start = text;
	p->names = names;
	p->error = ret_error;
	node = read_all(p);
	if (node < 0)
		goto out;
	f = calloc(1, sizeof(*f) + p->n_tests * sizeof(f->test[0]));
	if (f) {
		f->start = (uint16_t)p->n_tests;
		place(p, f, (unsigned)node, FILTER_YES, FILTER_NO);
		*ret = f;
	}
out:
	free(p);
	return node < 0 ? node : f ? 0 : -ENOMEM;
}

void flow_filter_free(struct flow_filter *f)
{
	free(f);
}
