/* flow_filter_priv.h: what the parts of the filter share: flow_filter.c reads expressions, flow_filter_word.c words and values,
 * flow_filter_match.c asks.
 */
#ifndef SLUICE_FLOW_FILTER_PRIV_H
#define SLUICE_FLOW_FILTER_PRIV_H

#include "flow_filter.h"

enum filter_op {
	FILTER_NONE,
	FILTER_ALL,
	FILTER_PROTO,
	FILTER_FAMILY,
	FILTER_SRC,
	FILTER_DST,
	FILTER_NAT_SRC,
	FILTER_NAT_DST,
	FILTER_SPORT,
	FILTER_DPORT,
	FILTER_NAT_SPORT,
	FILTER_NAT_DPORT,
	FILTER_SNAT,
	FILTER_DNAT,
	FILTER_RULE,
	FILTER_VRF,
	FILTER_OUT_VRF,
	FILTER_IN,
	FILTER_AGE,
	/* These need both directions. */
	FILTER_OUT,
	FILTER_STATE,
	FILTER_IDLE,
	FILTER_EXPIRES,
	FILTER_PACKETS,
	FILTER_BYTES,
};

#define FILTER_YES UINT16_MAX
#define FILTER_NO  (UINT16_MAX - 1)

/* A number in lo..hi, or an address under a mask. */
struct filter_test {
	enum filter_op op;
	uint16_t yes, no; /* the next test, or FILTER_YES, FILTER_NO */
	uint8_t family;	  /* of an address */
	union {
		struct {
			uint64_t lo, hi;
		};
		struct {
			struct addr mask, value;
		};
	};
};

struct flow_filter {
	uint16_t start;
	struct filter_test test[];
};

/* ---- reading */

#define FILTER_WORD 128

enum filter_node_kind { NODE_TEST, NODE_AND, NODE_OR, NODE_NOT };

struct filter_node {
	enum filter_node_kind kind;
	uint16_t left, right; /* NODE_TEST: left is the number of the test */
};

struct filter_parser {
	const char *text;
	const char *at;		/* behind the current word */
	const char *start;	/* of it */
	char word[FILTER_WORD]; /* "" at the end */
	bool quoted;
	unsigned depth;
	const struct flow_names *names;
	struct flow_filter_error *error;
	struct filter_test test[FLOW_FILTER_TESTS];
	struct filter_node node[3 * FLOW_FILTER_TESTS + FLOW_FILTER_DEPTH];
	unsigned n_tests, n_nodes;
};

/* -EINVAL: `where` becomes the error's column. */
int filter_fail_at(struct filter_parser *p, const char *where, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
#define filter_fail(p, ...) filter_fail_at(p, (p)->start, __VA_ARGS__)

/* The next word: an operator, something in quotes, or everything up to a space or an operator. */
int filter_next(struct filter_parser *p);
bool filter_is(const struct filter_parser *p, const char *word);
bool filter_is_end(const struct filter_parser *p);
/* "'x'", or that the filter ends here. */
const char *filter_here(const struct filter_parser *p, char buf[FILTER_WORD + 2]);

/* The current word as a value; what is wrong with it in words. */
bool filter_proto(const char *word, uint8_t *ret);
int filter_read_proto(struct filter_parser *p, struct filter_test *t);
int filter_read_family(struct filter_parser *p, struct filter_test *t);
int filter_read_addr(struct filter_parser *p, struct filter_test *t);
int filter_read_state(struct filter_parser *p, struct filter_test *t);
int filter_read_vrf(struct filter_parser *p, struct filter_test *t);
int filter_read_rule(struct filter_parser *p, struct filter_test *t);
int filter_read_iface(struct filter_parser *p, struct filter_test *t);
int filter_read_port(struct filter_parser *p, struct filter_test *t);
int filter_read_time(struct filter_parser *p, struct filter_test *t);
int filter_read_count(struct filter_parser *p, struct filter_test *t);

#endif
