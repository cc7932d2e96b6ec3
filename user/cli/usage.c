/* usage.c: --help on every level, and completion: both are the table of commands, read aloud.
 */
#include <stdlib.h>
#include <string.h>
#include "cli.h"

#define NAME_COLUMN 22

static bool is_param(const struct param *p)
{
	return p && (p->key || p->value);
}

static void print_synopsis(FILE *to, const struct command *cmd)
{
	fprintf(to, "sluice %s", cmd->path);
	for (const struct param *p = cmd->params; is_param(p); p++) {
		bool required = p->flags & PARAM_REQUIRED;

		fprintf(to, " %s%s%s", required ? "" : "[", p->key ? p->key : "", p->key && p->value ? " " : "");
		if (p->value && p->choices && !(p->flags & PARAM_REST)) {
			for (const char *c = p->choices; *c; c++)
				fputc(*c == ' ' ? '|' : *c, to);
		} else if (p->value) {
			fputs(p->value, to);
		}
		fputs(required ? "" : "]", to);
	}
	fputc('\n', to);
}

/* How many spaces fill the column of the parameters: characters of UTF-8 are counted, not bytes. */
static int pad(const char *name)
{
	int n = NAME_COLUMN;

	for (; *name; name++)
		n -= (*name & 0xc0) != 0x80;
	return n > 0 ? n : 0;
}

void usage_command(FILE *to, const struct command *cmd)
{
	char name[80];

	fputs("usage: ", to);
	print_synopsis(to, cmd);
	fprintf(to, "\n%s.\n", cmd->help);
	if (is_param(cmd->params))
		fputc('\n', to);
	for (const struct param *p = cmd->params; is_param(p); p++) {
		snprintf(name, sizeof(name), "%s%s%s", p->key ? p->key : "", p->key && p->value ? " " : "",
			 p->value ? p->value : "");
		fprintf(to, "  %s%*s %s%s%s\n", name, pad(name), "", p->help ? p->help : "", p->help && p->choices ? ": " : "",
			p->choices ? p->choices : "");
	}
	if (cmd->example)
		fprintf(to, "\nexample: %s\n", cmd->example);
}

void usage_prefix(FILE *to, const char *prefix)
{
	size_t len = strlen(prefix);

	for (size_t i = 0; i < n_commands; i++) {
		const struct command *c = &commands[i];

		if (strcmp(c->path, prefix) == 0) {
			usage_command(to, c);
			return;
		}
	}
	fprintf(to, "usage: sluice %s ...\n\n", prefix);
	for (size_t i = 0; i < n_commands; i++) {
		const struct command *c = &commands[i];

		if (strncmp(c->path, prefix, len) == 0 && c->path[len] == ' ')
			fprintf(to, "  %-18s %s\n", c->path, c->help);
	}
	fprintf(to, "\n`sluice %s VERB --help` says more.\n", prefix);
}

void usage_all(FILE *to)
{
	fputs("usage: sluice [-i INSTANCE] [-s SOCKET] [-j] [-p] NOUN [VERB] ...\n"
	      "       sluice [-i INSTANCE] [-s SOCKET] [-j] [-p] COMMAND ...\n\n",
	      to);
	for (size_t i = 0; i < n_commands; i++)
		fprintf(to, "  %-18s %s\n", commands[i].path, commands[i].help);
	fputs("\n"
	      "  -i, --instance NAME  which switch (default)\n"
	      "  -s, --socket PATH    socket of sluiced (/run/sluice/INSTANCE/api.sock)\n"
	      "  -j, --json           JSON, errors too\n"
	      "  -p, --pretty         the same, indented\n"
	      "      --version        say the version\n"
	      "  -h, --help           say this; after a noun or a command: more about it\n"
	      "\n"
	      "Without a verb, `show` is meant (`list`, of flows); `show NOUN` is the same. Words may be abbreviated.\n"
	      "Exit codes: 0 done, 1 refused or failed, 2 usage, 3 sluiced cannot be reached.\n",
	      to);
}

/* ---- completion ---- */

static void offer(const char *word, size_t len, const char *start)
{
	if (len >= strlen(start) && strncmp(word, start, strlen(start)) == 0)
		printf("%.*s\n", (int)len, word);
}

/* Each word of the paths once; commands of one noun stand together. `shown`: only of what can be shown. */
static void offer_path(const char *prefix, const char *start, bool shown)
{
	size_t len = strlen(prefix), last_len = 0;
	const char *last = "";

	for (size_t i = 0; i < n_commands; i++) {
		const char *p = commands[i].path;
		size_t n;

		if (strncmp(p, prefix, len) != 0 || (len && p[len] != ' ') ||
		    (shown && (!commands[i].method || strcmp(commands[i].method, "GET") != 0)))
			continue;
		p += len + (len > 0);
		n = strcspn(p, " ");
		if (n == last_len && strncmp(p, last, n) == 0)
			continue;
		offer(p, n, start);
		last = p;
		last_len = n;
	}
	if (!len && !shown)
		offer("show", 4, start);
}

static void offer_names(struct cli *cli, const char *url, const char *start)
{
	struct answer answer = {0};
	char why[CLI_ERROR];
	const json_t *rows, *row;
	size_t i;

	if (client_request(cli, "GET", url, NULL, NULL, 0, &answer, why))
		return;
	rows = json_object_get(answer.json, "rules"); /* of NAT, with what else there is to say of it */
	json_array_foreach (rows ? rows : answer.json, i, row) {
		const char *name = json_string_value(json_object_get(row, "name"));

		if (name)
			offer(name, strlen(name), start);
	}
	answer_free(&answer);
}

static void offer_value(struct cli *cli, const struct param *p, const char *start)
{
	if (p->choices) {
		for (const char *c = p->choices; *c; c += strcspn(c, " "), c += *c == ' ')
			offer(c, strcspn(c, " "), start);
	} else if (p->names) {
		offer_names(cli, p->names, start);
	} else if (p->type == VALUE_FILE) {
		puts("<file>");
	}
}

static void offer_params(struct cli *cli, const struct command *cmd, int argc, char **argv, const char *start)
{
	const struct param *positional;
	char why[CLI_ERROR];
	struct parser p;
	int r = parser_open(&p, cmd, why);

	for (int i = 0; i < argc && !r; i++)
		r = parser_feed(&p, argv[i], why);
	if (!r && p.pending) {
		offer_value(cli, p.pending, start);
	} else if (!r) {
		positional = parser_positional(&p);
		if (positional)
			offer_value(cli, positional, start);
		for (const struct param *q = cmd->params;
		     is_param(q) && (!positional || !(positional->flags & PARAM_REQUIRED) || param_given(&p, positional)); q++) {
			if (q->key && !param_given(&p, q))
				offer(q->key, strlen(q->key), start);
		}
	}
	parser_close(&p);
}

int complete(struct cli *cli, int argc, char **argv)
{
	const char *start = argc ? argv[argc - 1] : "";
	char why[CLI_ERROR], prefix[64] = "";
	const struct command *cmd;
	int used = 0, words = argc ? argc - 1 : 0;

	if (words && strcmp(argv[0], "show") == 0) { /* then nouns that can be shown */
		if (words == 1)
			offer_path("", start, true);
		return EXIT_OK;
	}
	cmd = cli_walk(words, argv, &used, prefix, why);
	if (cmd)
		offer_params(cli, cmd, words - used, argv + used, start);
	else if (!*why)
		offer_path(prefix, start, false);
	return EXIT_OK;
}
