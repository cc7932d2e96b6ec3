/* cli.h: the program `sluice`: one table of commands (commands.c) that parsing, usage and completion read.
 *
 * A command line is words of a command's path (`nat add snat`), then its parameters: positional ones in order, and keys with
 * a value or bare words in any order. Words of the path and keys may be abbreviated as long as one candidate is left. What
 * was given becomes a JSON object: members whose name starts with `?` go into the query of the request, the others are the
 * item that is sent.
 */
#ifndef SLUICE_CLI_H
#define SLUICE_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum exit_code { EXIT_OK = 0, EXIT_REFUSED = 1, EXIT_USAGE = 2, EXIT_UNREACHABLE = 3 };

enum value_type {
	VALUE_STRING = 0,
	VALUE_NUMBER,	      /* decimal */
	VALUE_NUMBER_OR_TEXT, /* a number where it looks like one: `80` or `8000-8010` */
	VALUE_LIST,	      /* A,B,C: an array, numbers as numbers */
	VALUE_ONE_OR_LIST,    /* a string, or an array when there are several */
	VALUE_FILE,	      /* a file's name; `-` is stdin */
	VALUE_MEMBERS,	      /* K=V,K=V: an object, numbers as numbers */
	VALUE_GROUP,	      /* NAME,WEIGHT/NAME: members of a group of nexthops */
	VALUE_FILTERS,	      /* [deny] PREFIX [ge N] [le N]: a word each; or as VALUE_LIST */
	VALUE_TIME,	      /* 60, 60s, 5m, 2h: of a confirmation */
};

#define PARAM_REQUIRED (1 << 0)
#define PARAM_REPEAT   (1 << 1) /* may come again: lists grow */
#define PARAM_HOP      (1 << 2) /* belongs to the item of a list (a nexthop) that is being described */
#define PARAM_NEW_HOP  (1 << 3) /* starts the next one */
#define PARAM_REST     (1 << 4) /* positional: all the words that are no key, with spaces between them */

struct param {
	const char *key;   /* NULL: positional */
	const char *alias; /* another word for the key, or NULL */
	const char *value; /* what the usage calls the value; NULL: a bare word */
	const char *json;  /* member of the JSON object */
	enum value_type type;
	unsigned flags;	     /* PARAM_* */
	const char *fixed;   /* bare word: its JSON value as text; NULL: true */
	const char *choices; /* "access trunk": the only values there are (PARAM_REST: words it may have); NULL: any */
	const char *names;   /* endpoint whose items' "name" can be completed here, or NULL */
	const char *help;
};

struct cli;
struct command {
	const char *path; /* "route add" */
	const char *help;
	const struct param *params;					      /* ends with an empty one; NULL: none */
	int (*run)(struct cli *cli, const struct command *cmd, json_t *args); /* exit code */
	const char *method, *url;
	void (*print)(const json_t *answer); /* for people */
	const char *example;
	const char *type; /* the item's `type`, where the path says it already */
	const char *hops; /* the list that PARAM_HOP means; NULL: `via` */
};

extern const struct command commands[];
extern const size_t n_commands;

struct cli {
	const char *instance;
	const char *socket; /* NULL: by instance */
	bool json, pretty;
};

/* ---- parse.c ---- */

#define CLI_ERROR 512

/* Global options (-i, -s, -j, -p) are taken out of argv wherever they stand; *argc is what is left. -1: words in `why`. */
int cli_globals(struct cli *cli, int *argc, char **argv, bool *ret_help, bool *ret_version, char why[CLI_ERROR]);
/* Takes words of the path. *ret_used: how many. NULL when they lead nowhere, with words; `prefix` is then the part
 * of the path that was understood, for the usage. A noun alone means its `show`. */
const struct command *cli_find(int argc, char **argv, int *ret_used, char prefix[64], char why[CLI_ERROR]);
/* Words of the path alone, from `prefix` on; `used` counts them. NULL and an empty `why`: argv ended before the path did. */
const struct command *cli_walk(int argc, char **argv, int *used, char prefix[64], char why[CLI_ERROR]);
/* The parameters of a command as a JSON object; NULL with words in `why`. */
json_t *cli_params(const struct command *cmd, int argc, char **argv, char why[CLI_ERROR]);

/* Parameters word by word: for cli_params(), and for completion, which stops in the middle. */
#define WORDS_MAX 32

struct parser {
	const struct command *cmd;
	json_t *args;
	json_t *hop;		     /* the nexthop that is being described; borrowed */
	const struct param *pending; /* a key was given, its value comes next */
	const struct param *begun;   /* a word that begins an item was given, and nothing of it so far */
	unsigned positional;	     /* how many of them are filled */
	const struct param *filter;  /* VALUE_FILTERS: the last word belonged to one; */
	char words[WORDS_MAX];	     /* what is to stand before the next word in it, with a blank behind; "": nothing */
};

int parser_open(struct parser *p, const struct command *cmd, char why[CLI_ERROR]);
int parser_feed(struct parser *p, const char *word, char why[CLI_ERROR]);
void parser_close(struct parser *p);
const struct param *parser_positional(const struct parser *p); /* the next one; NULL: all are filled */
bool param_given(const struct parser *p, const struct param *param);

/* ---- usage.c ---- */

void usage_all(FILE *to);
/* What can follow `prefix` ("route"), or the whole of one command. */
void usage_prefix(FILE *to, const char *prefix);
void usage_command(FILE *to, const struct command *cmd);
/* `__complete WORD...`: the candidates for the last word, one a line; `<file>` asks for names of files. */
int complete(struct cli *cli, int argc, char **argv);

/* ---- client.c ---- */

struct answer {
	long status;
	json_t *json; /* NULL when the answer is text */
	char *text;
};

/* 0; -1 when sluiced cannot be reached, with words. `query` is an object of strings and numbers (member names start with
 * `?`), `body` may be NULL. */
int client_request(struct cli *cli, const char *method, const char *url, const json_t *query, const char *body, size_t body_len,
		   struct answer *ret, char why[CLI_ERROR]);
void answer_free(struct answer *a);
/* A long list, line by line as it comes (an array with one item a line, as sluiced writes it): `line` gets each, without its end,
 * and stdout is flushed whenever no more have come. When sluiced refuses, *ret has its answer, and `line` is not called. */
int client_lines(struct cli *cli, const char *url, const json_t *query, void (*line)(char *text, void *arg), void *arg,
		 struct answer *ret, char why[CLI_ERROR]);

/* ---- run.c: what the commands do ---- */

int run_request(struct cli *cli, const struct command *cmd, json_t *args);
int run_file(struct cli *cli, const struct command *cmd, json_t *args);		/* the file is the body */
int run_flow_save(struct cli *cli, const struct command *cmd, json_t *args);	/* move.c */
int run_flow_restore(struct cli *cli, const struct command *cmd, json_t *args); /* move.c */
int run_check(struct cli *cli, const struct command *cmd, json_t *args);
int run_counters_check(struct cli *cli, const struct command *cmd, json_t *args);
int run_config_show(struct cli *cli, const struct command *cmd, json_t *args);
/* Prints an error as people or, under -j, programs want it; returns `code`. */
int cli_fail(const struct cli *cli, int code, const char *text);
/* {"errors": [...]}: what sluiced, or the model library, refused. An error that has a column is shown in the text that was asked:
 * the member of `query` (may be NULL) that its key names. EXIT_REFUSED. */
int cli_refused(const struct cli *cli, const json_t *answer, const json_t *query);
/* Members that begin with `?` out of `args` into a query of their own. */
json_t *cli_query(json_t *args);
void cli_json(const struct cli *cli, const json_t *json);

/* ---- lines.c: lists that may be too long to be held, line by line ---- */

int run_routes(struct cli *cli, const struct command *cmd, json_t *args);
int run_flows(struct cli *cli, const struct command *cmd, json_t *args);
int run_flow_watch(struct cli *cli, const struct command *cmd, json_t *args);

/* ---- table.c, show.c, show_route.c, show_nat.c: for people ---- */

struct column {
	const char *title, *key;
	void (*cell)(const json_t *row, char *buf, size_t size); /* NULL: the member `key` as text */
	bool right;
};

/* Columns that are empty in every row are left out. */
void table_print(const json_t *rows, const struct column *columns, size_t n, const char *none);
/* Numbers, strings, true/false as yes/no, arrays joined with commas, objects as k=v,k=v; "" for null and absent. */
void cell_text(const json_t *value, char *buf, size_t size);

/* A member as text ("" where there is none), or as a number (0); the cell that says why something is not as it should be. */
const char *text_of(const json_t *row, const char *key);
long long member(const json_t *o, const char *key);
void cell_why(const json_t *row, char *buf, size_t size);

void print_ports(const json_t *answer);
void print_vlans(const json_t *answer);
void print_interfaces(const json_t *answer);
void print_vrfs(const json_t *answer);
void print_route(const json_t *route);
void print_routes(const json_t *answer); /* a page of them */
/* What a page is of, whole listings included; *ret_next: where to go on, NULL: nowhere. */
const json_t *page_rows(const json_t *answer, const char *noun, const char **ret_next);
void print_next(const char *next);
void print_audit(const json_t *answer);
void print_route_get(const json_t *answer);
void print_nexthops(const json_t *answer);
void print_named(const json_t *answer);
void print_nat(const json_t *answer);
void print_flow_count(const json_t *answer);
void print_fdb(const json_t *answer);
void print_neighbors(const json_t *answer);
void print_counters(const json_t *answer);
void print_check(const json_t *answer);
void print_status(const json_t *answer);
void print_change(const json_t *answer); /* of a commit: the diff as text */
void print_diff(const json_t *answer);
void print_notes(const json_t *notes);	  /* on stderr */
void print_members(const json_t *answer); /* any object: one member a line */

#endif
