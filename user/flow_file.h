/* flow_file.h: flows and NAT's mappings as text, one JSON object a line: what `sluice flow save` writes and `flow restore` reads.
 *
 * The file comes from another machine: what has a number there (rules, pools, interfaces, VRFs) stands by its name, and times are
 * ages. First line {"header": …} with the version, then {"mapping": …}, {"peer": …} and {"flow": …} in this order, last {"end":
 * …} with how many there were and the FNV-1a hash of all lines before. docs/flow-table.md says what each member means. Known to
 * sluiced, which takes each line as a stranger's, to the CLI, which checks a whole file before it sends a line, and to the
 * fuzzer.
 */
#ifndef SLUICE_FLOW_FILE_H
#define SLUICE_FLOW_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sluice/abi.h>
#include "err.h"

#define FLOW_FILE_VERSION 2	       /* is written; 1, which has no flag "keep", is read as well */
#define FLOW_FILE_LINE	  2048	       /* bytes, the end of the line included */
#define FLOW_FILE_BODY	  (128u << 10) /* bytes that one request of a restore may have: some milliseconds' parsing */

enum flow_record_kind { RECORD_HEADER, RECORD_MAPPING, RECORD_PEER, RECORD_FLOW, RECORD_END, RECORD_KINDS };

/* Which members count depends on the kind. Ports are in host order. */
struct flow_record {
	enum flow_record_kind kind;
	uint8_t proto;
	uint16_t flags;	   /* FLOW_F_SNAT, FLOW_F_DNAT, FLOW_F_TRACK, FLOW_F_VRF, FLOW_F_KEEP */
	uint8_t filtering; /* enum nat_filtering */
	uint8_t seen, reply_seen;
	bool shared;		    /* the port is another mapping's: it was overloaded */
	bool inbound;		    /* the destination is that of a mapping */
	struct addr src, dst;	    /* as the first packet had them */
	struct addr to_src, to_dst; /* and as it left */
	uint16_t sport, dport, to_sport, to_dport;
	char vrf[SLUICE_LABEL], to_vrf[SLUICE_LABEL]; /* where the first packet came in, and where the answers do */
	char rule[SLUICE_LABEL], pool[SLUICE_LABEL];  /* pool "": none has a part */
	char in[SLUICE_NAME], out[SLUICE_NAME];	      /* interfaces; "": none */
	uint32_t remote;			      /* of the mapping's key */
	uint64_t age_ms, idle_ms, reply_idle_ms;
	uint64_t packets, bytes, reply_packets, reply_bytes;
	/* header, end */
	uint32_t version;
	uint64_t saved_s; /* since 1970 */
	uint64_t mappings, peers, flows;
	uint64_t check;
};

/* The line of a record, with its end. Returns its length; 0: it does not fit, which no record of a running switch does. */
size_t flow_file_print(const struct flow_record *r, char buf[FLOW_FILE_LINE]);
/* One line, without its end. -EINVAL with words: not JSON, members that are missing, unknown, or out of range. */
int flow_file_parse(const char *line, size_t len, struct where where, struct flow_record *ret, struct errs *errs);
/* "tcp flow, 10.0.0.1 port 4000 to 192.0.2.1 port 80", for messages; a protocol without a name is a number. */
#define FLOW_FILE_NAME 128
const char *flow_file_name(const struct flow_record *r, char buf[FLOW_FILE_NAME]);

/* The hash of the end line, begun with FLOW_FILE_HASH and continued line by line. */
#define FLOW_FILE_HASH 0xcbf29ce484222325ull
uint64_t flow_file_hash(uint64_t hash, const void *data, size_t len);

/* A whole file, line by line. -EINVAL with words. Zero at the beginning, but for `name` and `trusted`. */
struct flow_file_check {
	const char *name; /* for messages */
	int line;
	bool trusted; /* comes from sluiced itself: the lines between header and end are counted and summed up only */
	bool begun, ended;
	uint64_t hash; /* of the lines up to now */
	enum flow_record_kind last;
	uint64_t n[RECORD_KINDS];
};
int flow_file_check_line(struct flow_file_check *c, const char *line, size_t len, struct errs *errs);
int flow_file_check_end(struct flow_file_check *c, struct errs *errs);

#endif
