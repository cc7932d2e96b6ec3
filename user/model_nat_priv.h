/* model_nat_priv.h: what model_nat.c (rules) and model_nat_opt.c (their options) share. */
#ifndef SLUICE_MODEL_NAT_PRIV_H
#define SLUICE_MODEL_NAT_PRIV_H

#include "model_priv.h"

/* The values of a rule's optional keys; NULL: not given. */
struct nat_options {
	const struct node *mapping, *filtering, *overload, *limit, *timeouts, *inside, *outside;
};

void nat_snat_options_read(struct reader *r, const struct nat_options *o, struct nat_cfg *c);
void nat_static_read(struct reader *r, const struct node *n, const struct nat_options *o, struct nat_cfg *c);
void nat_on_delete_read(struct reader *r, const struct node *n, struct nat_cfg *c);
void nat_timeouts_read(struct reader *r, const struct node *n, struct nat_cfg *c);
void nat_options_json(json_t *o, const struct nat_cfg *c);

#endif
