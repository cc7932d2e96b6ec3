/* model_priv.h: what the files of the model (model*.c) share, and nobody else includes.
 *
 * One file per noun (model_port.c, model_iface.c, model_route.c, model_nat.c …) holds that noun's reading from the tree of
 * parse.h, its checks and its JSON; model_read.c has the means of reading, model_check.c and model_json.c those of the
 * others.
 */
#ifndef SLUICE_MODEL_PRIV_H
#define SLUICE_MODEL_PRIV_H

#include "model.h"
#include "parse.h"

#define N_OF(array) (sizeof(array) / sizeof((array)[0]))

#define METRIC_DEFAULT	 0
#define DISTANCE_DEFAULT 1
#define POOL_PORT_MIN	 1024
#define POOL_PORT_MAX	 65535
#define NEXTHOPS_MAX	 256
#define NAMED_MAX	 4096
#define MTU_MIN4	 576  /* RFC 1122 3.3.2 */
#define MTU_MIN6	 1280 /* RFC 8200 5 */
#define MTU_MAX		 65535
#define TABLE_MAIN	 254
#define VRF_DEFAULT	 "default"

/* ---- lists (model.c) ---- */

/* Room for one more element, zeroed, at the end of the list at *list; NULL: out of memory. Lists grow by doubling and
 * remember only their length: whoever allocates one otherwise gives it list_room() elements. */
void *list_add(void *list, size_t *n, size_t size);
size_t list_room(size_t n);
/* Takes element i out; what it owns is the caller's to free before. */
void list_remove(void *list, size_t *n, size_t size, size_t i);
void vrf_cfg_free(void *item);
void iface_cfg_free(void *item);
void route_cfg_free(void *item);
void named_cfg_free(void *item);
/* What routes and groups call by name is put where they look for it. After every change of either, before the checks. -ENOMEM. */
int model_link(struct model *m);
void nat_cfg_free(void *item);

#define ROUTE_TYPES 4

/* ---- reading (model_read.c) ---- */

/* The state of turning a tree into a model. `path` is the key path of the item at hand. */
struct reader {
	const char *file;
	bool lines;   /* false: the text was made from JSON, and its lines mean nothing */
	bool partial; /* only what identifies an item is given (removal): nothing is required */
	bool failed;
	struct errs *errs;
	struct model *m;
	char path[192];
	size_t len;
};

struct where read_where(const struct reader *r, const struct node *n);
/* Appends to the path; returns the length to give back to read_pop(). */
size_t read_push(struct reader *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void read_pop(struct reader *r, size_t len);
/* An error about the item at hand, and one about the value `n` in it (its key joins the path). Both return -EINVAL. */
int bad_item(struct reader *r, const struct node *n, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int bad(struct reader *r, const struct node *n, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int read_oom(struct reader *r);

/* The values of a mapping by their keys: ret[i] is the value under keys[i], or NULL when it is absent or null. Unknown and
 * doubled keys, and what is no mapping, are errors. */
int read_keys(struct reader *r, const struct node *n, const char *const *keys, size_t n_keys, const struct node **ret);
/* `fn` for each entry of the mapping, or element of the list, under the key `name` of the item at hand; the path names it. */
void read_entries(struct reader *r, const struct node *n, const char *name, void (*fn)(struct reader *, const struct node *));
void read_items(struct reader *r, const struct node *n, const char *name, void (*fn)(struct reader *, const struct node *));
/* A list, or a single value that stands for a list of one: `fn` is given each, the path names it. Stops at the first error. */
int read_list(struct reader *r, const struct node *n, int (*fn)(struct reader *, const struct node *, void *), void *arg);
/* Says which of the keys must be there, unless it is, or the reader is partial. */
int read_required(struct reader *r, const struct node *item, const struct node *value, const char *key, const char *what);

struct word {
	const char *text;
	int value;
};

#define ECMP_HASH_WORDS 4
extern const struct word ecmp_hash_words[ECMP_HASH_WORDS];

/* The text of a scalar that is not null; NULL after an error. */
const char *read_text(struct reader *r, const struct node *n, const char *what);
/* Scalars. 0 and *ret, or -EINVAL with an error that says what is allowed and *ret untouched. */
int read_u32(struct reader *r, const struct node *n, uint32_t min, uint32_t max, uint32_t *ret);
int read_seconds(struct reader *r, const struct node *n, uint32_t min, uint32_t max, uint32_t *ret);
int read_bool(struct reader *r, const struct node *n, bool *ret);
int read_word(struct reader *r, const struct node *n, const struct word *words, size_t n_words, int *ret);
int read_vlan(struct reader *r, const struct node *n, uint16_t *ret);
int read_vlan_text(struct reader *r, const struct node *n, const char *text, uint16_t *ret);
int read_addr(struct reader *r, const struct node *n, struct addr *ret, uint8_t *ret_family);
int read_prefix(struct reader *r, const struct node *n, struct prefix *ret); /* host bits must be 0 */
int read_mac(struct reader *r, const struct node *n, uint8_t ret[6]);	     /* of a station: not multicast, not zero */
int read_netdev(struct reader *r, const struct node *n, char ret[IFNAMSIZ]);
int read_label(struct reader *r, const struct node *n, char ret[SLUICE_LABEL]);
int read_vrf(struct reader *r, const struct node *n, char ret[SLUICE_LABEL]); /* n NULL: `default` */
/* NULL, or why `a` is no address of one host. */
const char *host_problem(const struct addr *a);
/* NULL, or why `a` is no host's address in the subnet that holds it (network and broadcast address). */
const char *subnet_problem(const struct prefix *subnet, const struct addr *a);

/* ---- the nouns (model_noun.c) ---- */

/* What the lists of the model have in common. Every item begins with its `where`. */
struct noun {
	const char *key;	/* of the section: "ports" */
	const char *word;	/* of one item: "port" */
	const char *name_key;	/* sections that are mappings: what model_add() calls their key; NULL: a list */
	const char *const *ids; /* lists: the keys that identify an item, the first one always given; NULL at the end */
	bool by_name;		/* the first of `ids` identifies alone */
	size_t list, n, size;	/* where the list and its length stand in struct model, and the size of an item */
	bool has_default;	/* the first item is always there; it is of the configuration when it says something */
	void (*read)(struct reader *, const struct node *);
	json_t *(*json)(const void *item);
	bool (*same)(const void *a, const void *b);	     /* whether two items are identified alike */
	const char *(*name)(const void *item, char buf[16]); /* mappings: the key of the item */
	void (*free)(void *item);			     /* of what the item owns; NULL: nothing */
	/* Lists that may be long: two items (pointers to them) by what identifies them; and whether they say the same. NULL:
	 * short */
	int (*order)(const void *a, const void *b);
	bool (*equal)(const void *a, const void *b);
	/* Who needs the item, and so keeps it from being taken away: in words, which the caller frees; NULL: nobody, or none
	 * ever does */
	char *(*users)(const struct model *m, const void *item);
	/* What identifies an item that was read alone, as far as it hangs on the rest of the model; NULL: in no way */
	void (*complete)(const struct model *m, void *item);
	bool ordered; /* the place in the list means something: model_add() takes `before` and `after` */
};

#define N_NOUNS 9
extern const struct noun nouns[N_NOUNS]; /* in the order of the file */
size_t noun_n(const struct noun *noun, const struct model *m);
const void *noun_item(const struct noun *noun, const struct model *m, size_t i);
/* Items before this one are not of the configuration: the VRF `default` without anything of its own. */
size_t noun_first(const struct noun *noun, const struct model *m);
/* What an item of which `json` is the JSON is called in words: "10.0.0.0/8 metric 5". Caller frees. */
char *noun_item_name(const struct noun *noun, const void *item, const json_t *json);
/* model_item.c: of the errors from `from` on that are about an item of a list, which one it is: by the text, or by the model. */
void items_of_text(struct errs *errs, size_t from, const struct noun *noun, const struct node *list);
void items_of_model(struct errs *errs, size_t from, const struct model *m);
/* A value in words: lists with commas, mappings as `key value key value`; without the keys of `leave`. Caller frees. */
char *json_words(const json_t *v, const char *const *leave);

/* The whole tree into r->m; errors set r->failed. */
void model_read(struct reader *r, const struct node *root);
void port_read(struct reader *r, const struct node *n);
void vlan_read(struct reader *r, const struct node *n);
void iface_read(struct reader *r, const struct node *n);
void vrf_read(struct reader *r, const struct node *n);
void route_read(struct reader *r, const struct node *n);
void named_read(struct reader *r, const struct node *n);
/* The keys of one nexthop: {address, interface, weight, onlink, recursive}, by their places in `v`; NULL: not given, or not
 * wanted. */
int nexthop_values_read(struct reader *r, const struct node *n, const struct node *const v[5], struct nexthop_cfg *h);
extern const struct word route_types[ROUTE_TYPES];
void nat_read(struct reader *r, const struct node *n);
void fdb_read(struct reader *r, const struct node *n);
void neighbor_read(struct reader *r, const struct node *n);
/* By what identifies a route: VRF, prefix, metric, distance. */
int route_cmp(const struct route_cfg *x, const struct route_cfg *y);
int route_order(const void *a, const void *b); /* the same of pointers to routes, for qsort() */
bool route_equal(const void *a, const void *b);

/* Who needs an item (model_users.c): see `users` of struct noun. */
char *vrf_users(const struct model *m, const void *item);
char *iface_users(const struct model *m, const void *item);
char *named_users(const struct model *m, const void *item);
void route_complete(const struct model *m, void *item); /* see `complete` there; model_nexthop.c */

/* ---- checking (model_check.c) ---- */

/* An address of an interface, as the checks look for it: by subnet, and by itself. */
struct subnet {
	const struct iface_cfg *iface;
	size_t vrf;	   /* index in the model's list; the length of the list: unknown */
	struct prefix net; /* host bits 0 */
	struct addr addr;
	const struct subnet *parent; /* the smallest subnet around this one */
};

struct checker {
	const struct model *m;
	struct errs *errs;
	bool failed;
	struct subnet *subnets;	 /* link-local ones left out; sorted by (vrf, net) */
	struct subnet **by_addr; /* the same, sorted by (vrf, addr) */
	size_t n_subnets;
};

int check_bad(struct checker *c, struct where where, const char *key, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
int check_oom(struct checker *c);
#define LINE_TEXT 20
const char *line_text(struct where where, char buf[LINE_TEXT]); /* " (line 12)", or "" */
/* The list's elements sorted, as pointers to them (caller frees); NULL: out of memory, or an empty list. */
void *sorted_pointers(const void *list, size_t n, size_t size, int (*cmp)(const void *, const void *));
/* Calls `twice` for each element whose name an earlier one has. An element begins as a `struct named`. */
struct named {
	struct where where;
	char name[];
};
void names_check(struct checker *c, const void *list, size_t n, size_t size,
		 void (*twice)(struct checker *c, const struct named *later, const struct named *first));
size_t check_vrf(struct checker *c, struct where where, const char *key, const char *name); /* index; n_vrfs: said unknown */
/* The smallest subnet of the VRF that holds the address, and the interface's own address that equals it; NULL: none. */
const struct subnet *check_subnet(const struct checker *c, size_t vrf, const struct addr *a);
const struct subnet *check_own(const struct checker *c, size_t vrf, const struct addr *a);
const struct subnet *check_subnet_of(const struct checker *c, const struct iface_cfg *iface, const struct addr *a);

void port_check(struct checker *c);
void vlan_check(struct checker *c);
void iface_check(struct checker *c); /* and the addresses: before route, nat and neighbor */
void vrf_check(struct checker *c);
void route_check(struct checker *c);
void named_check(struct checker *c);
void nat_check(struct checker *c);
void fdb_check(struct checker *c);
void neighbor_check(struct checker *c);

/* ---- JSON (model_json.c) ---- */

/* Each in the schema of the file, without the key or name that the mapping of the noun gives it. */
json_t *settings_json(const struct settings_cfg *s, bool with_defaults);
json_t *tables_json(const struct settings_cfg *s, bool with_defaults);
json_t *port_json(const void *item);
json_t *vlan_json(const void *item);
json_t *iface_json(const void *item);
json_t *vrf_json(const void *item);
/* The VRF `default` with nothing of its own, and whether it is that. */
void vrf_make_default(struct vrf_cfg *c);
bool vrf_is_plain(const struct vrf_cfg *c);
json_t *route_json(const void *item);
json_t *named_json(const void *item);
json_t *fdb_json(const void *item);
json_t *neighbor_json(const void *item);
const char *word_text(const struct word *words, size_t n_words, int value);
void json_put_text(json_t *o, const char *key, const char *value);
void json_put_number(json_t *o, const char *key, json_int_t value);

#endif
