/* flow_filter.h: which connections are meant: `proto tcp and dst 10.0.0.0/8 and state established`.
 *
 * Stands between text that people type and struct flow_pair. The grammar is in the manual page, sluice-flow(7). A filter is read
 * once into a list of tests with two ways on from each, and costs some nanoseconds for every connection it is asked about.
 */
#ifndef SLUICE_FLOW_FILTER_H
#define SLUICE_FLOW_FILTER_H

#include "flow_pair.h"

#define FLOW_FILTER_TEXT  4096 /* bytes */
#define FLOW_FILTER_TESTS 256
#define FLOW_FILTER_DEPTH 32 /* of parentheses and `not` */

/* Names to numbers: -1 when there is none of this name. */
struct flow_names {
	int (*vrf)(void *arg, const char *name);
	int (*iface)(void *arg, const char *name);
	int (*rule)(void *arg, const char *name);
	void *arg;
};

struct flow_filter_error {
	unsigned column; /* 1.. */
	char text[512];	 /* what is wrong there, and what is allowed */
};

struct flow_filter;

/* 0; -EINVAL with *ret_error; -ENOMEM. */
int flow_filter_parse(const char *text, const struct flow_names *names, struct flow_filter **ret,
		      struct flow_filter_error *ret_error);
void flow_filter_free(struct flow_filter *f); /* takes NULL */
/* NULL matches every connection. May complete the pair. */
bool flow_filter_match(const struct flow_filter *f, struct flow_pair *p);

#endif
