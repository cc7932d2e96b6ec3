/* route_filter.h: the routes that a listing is asked for: between the API's queries and route_list.c, route_page.c. */
#ifndef SLUICE_ROUTE_FILTER_H
#define SLUICE_ROUTE_FILTER_H

#include "page.h"
#include "route_priv.h"

enum { ROUTE_EXACT, ROUTE_WITHIN, ROUTE_AROUND };

/* What is added here is compared by route_filter_same(). */
struct route_filter {
	const char *protocol, *type; /* constants; NULL: any */
	struct prefix to;	     /* family 0: any */
	bool to_default;	     /* `to` is 0.0.0.0/0 and ::/0 */
	uint8_t how;		     /* ROUTE_*: of `to` itself, of the prefixes within it, of those around it */
	bool has_vrf;
	uint16_t vrf;
	bool active, inactive; /* only those that are in force, or are not */
	uint8_t family;	       /* 0: both */
	struct addr via;
	uint8_t via_family; /* 0: any */
	uint16_t iface;	    /* 0: any */
	uint32_t table;	    /* of the kernel; 0: any */
	uint32_t limit;	    /* 0: all, in no order */
	const char *after;  /* the cursor of the page before; of the request, as long as that is there */
};

/* -EINVAL, -ENOENT with words. */
int route_filter_parse(struct sw *sw, const struct http_request *rq, struct route_filter *ret, struct errs *errs);
bool route_filter_holds(struct routes *rs, const struct route_filter *f, const struct rib_view *v);

/* Do they choose the same routes? Pages of one listing differ in `limit` and `after` alone. */
bool route_filter_same(const struct route_filter *a, const struct route_filter *b);

/* route_page.c: `limit` routes in order, behind the one that `after` names (NULL: from the first). -EINVAL with words. */
int route_page(struct sw *sw, const struct route_filter *f, struct http_stream *ret, struct errs *errs);

#endif
