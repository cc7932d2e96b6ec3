/* lines.c: lists of any length, printed as they come: between sluiced's lines and stdout. Nothing is held but the first rows of a
 * table, which tell how wide its columns are.
 */
#include <stdlib.h>
#include <string.h>
#include "cli.h"

#define COLUMNS	   20
#define ROWS_FIRST 256 /* that the widths are taken from; what comes later may be wider, and makes its column so */

/* ---- JSON: `[ITEM,`, `ITEM,`, … `ITEM]`, or an item a line */

struct lines {
	const struct cli *cli;
	size_t n;
	void (*print)(const json_t *item);
};

static void json_line(char *text, void *arg)
{
	struct lines *l = arg;
	size_t len = strlen(text);
	json_t *item;

	if (l->cli->json && !l->cli->pretty) {
		puts(text);
		return;
	}
	if (!l->n && *text == '[') {
		text++;
		len--;
	}
	if (len)
		text[len - 1] = '\0';
	item = json_loads(text, 0, NULL);
	if (!item)
		return;
	if (l->cli->json) {
		fputs(l->n ? ",\n" : "[\n", stdout);
		json_dumpf(item, stdout, JSON_INDENT(2));
	} else {
		l->print(item);
	}
	l->n++;
	json_decref(item);
}

/* Prints what comes; exit code. */
static int run_lines(struct cli *cli, const struct command *cmd, const json_t *query, void (*line)(char *text, void *arg),
		     void *arg)
{
	struct answer answer = {0};
	char why[CLI_ERROR];
	int code = EXIT_OK;

	if (client_lines(cli, cmd->url, query, line, arg, &answer, why))
		code = cli_fail(cli, EXIT_UNREACHABLE, why);
	else if (answer.status >= 400)
		code = cli_refused(cli, answer.json, query);
	answer_free(&answer);
	return code;
}

static int run_json(struct cli *cli, const struct command *cmd, const json_t *query, void (*print)(const json_t *),
		    const char *none)
{
	struct lines l = {.cli = cli, .print = print};
	int code = run_lines(cli, cmd, query, json_line, &l);

	if (code != EXIT_OK)
		return code;
	if (cli->json && cli->pretty)
		puts(l.n ? "\n]" : "[]");
	else if (!cli->json && !l.n)
		puts(none);
	return code;
}

int run_routes(struct cli *cli, const struct command *cmd, json_t *args)
{
	json_t *query;
	int code;

	if (json_integer_value(json_object_get(args, "?limit")) > 0) /* a page is short, and has an end */
		return run_request(cli, cmd, args);
	query = cli_query(args);
	code = run_json(cli, cmd, query, print_route, "no routes");
	json_decref(query);
	return code;
}

/* ---- cells with tabs between them, below their titles */

struct cells {
	size_t width[COLUMNS];
	bool right[COLUMNS]; /* numbers */
	char *first[ROWS_FIRST + 1];
	size_t n;     /* rows, the titles among them */
	size_t holds; /* rows that are held back at the beginning */
};

static size_t split(char *text, char *ret[COLUMNS])
{
	size_t n = 0;

	while (text && n < COLUMNS)
		ret[n++] = strsep(&text, "\t");
	return n;
}

static bool is_right(const char *title)
{
	static const char *const titles[] = {"PACKETS", "BYTES", "IDLE", "ENDS IN"};

	for (size_t i = 0; i < sizeof(titles) / sizeof(titles[0]); i++)
		if (!strcmp(title, titles[i]))
			return true;
	return false;
}

static void measure(struct cells *c, char *text)
{
	for (size_t i = 0; i < COLUMNS; i++) {
		size_t len = strcspn(text, "\t");

		if (len > c->width[i])
			c->width[i] = len;
		if (!text[len])
			return;
		text += len + 1;
	}
}

static void print_cells(struct cells *c, char *text)
{
	static char spaces[256];
	char *cell[COLUMNS];
	size_t n;

	if (!*spaces)
		memset(spaces, ' ', sizeof(spaces));
	measure(c, text);
	n = split(text, cell);
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(cell[i]), pad = c->width[i] - len < sizeof(spaces) ? c->width[i] - len : sizeof(spaces);

		if (c->right[i])
			fwrite_unlocked(spaces, 1, pad, stdout);
		fwrite_unlocked(cell[i], 1, len, stdout);
		if (!c->right[i] && i + 1 < n)
			fwrite_unlocked(spaces, 1, pad, stdout);
		fwrite_unlocked(i + 1 < n ? "  " : "\n", 1, i + 1 < n ? 2 : 1, stdout);
	}
}

static void print_held(struct cells *c)
{
	for (size_t i = 0; i <= c->holds && i < c->n; i++)
		measure(c, c->first[i]);
	for (size_t i = 0; i <= c->holds && i < c->n; i++) {
		print_cells(c, c->first[i]);
		free(c->first[i]);
	}
}

/* What nothing can be held back for begins as wide as most connections of IPv4 and most names need. */
static size_t width_of(const char *title)
{
	static const struct {
		const char *title;
		size_t width;
	} widths[] = {{"TIME", 12},    {"EVENT", 5},	   {"PROTO", 5}, {"REASON", 7}, {"STATE", 11}, {"FROM", 21},
		      {"TO", 21},      {"TRANSLATED", 26}, {"IN", 10},	 {"OUT", 10},	{"VRF", 10},   {"RULE", 12},
		      {"PACKETS", 11}, {"BYTES", 17},	   {"IDLE", 5},	 {"ENDS IN", 7}};

	for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++)
		if (!strcmp(title, widths[i].title))
			return widths[i].width;
	return 0;
}

static void titles(struct cells *c, const char *text)
{
	char *title[COLUMNS], *at = strdup(text);
	size_t n = at ? split(at, title) : 0;

	for (size_t i = 0; i < n; i++) {
		c->right[i] = is_right(title[i]);
		if (!c->holds)
			c->width[i] = width_of(title[i]);
	}
	free(at);
}

static void cells_line(char *text, void *arg)
{
	struct cells *c = arg;
	char *copy;

	if (!c->n)
		titles(c, text);
	else if (!strchr(text, '\t')) { /* behind the rows, for people: none of them */
		if (c->n <= c->holds)
			print_held(c);
		c->n = c->holds + 1;
		fflush(stdout);
		fprintf(stderr, "%s\n", text);
		return;
	}
	if (c->n > c->holds) {
		print_cells(c, text);
		return;
	}
	copy = strdup(text);
	if (!copy)
		return;
	c->first[c->n++] = copy;
	if (c->n > c->holds)
		print_held(c);
}

int run_flows(struct cli *cli, const struct command *cmd, json_t *args)
{
	json_t *query = cli_query(args);
	struct cells c = {.holds = ROWS_FIRST};
	int code;

	if (cli->json) {
		code = run_json(cli, cmd, query, NULL, NULL);
	} else {
		json_object_set_new(query, "?format", json_string("cells"));
		code = run_lines(cli, cmd, query, cells_line, &c);
		if (c.n == 1 && code == EXIT_OK)
			puts("no flows");
		if (c.n > 1 && c.n <= c.holds)
			print_held(&c);
		else if (c.n == 1)
			free(c.first[0]);
	}
	json_decref(query);
	return code;
}

/* ---- for ever */

static void event_line(char *text, void *arg)
{
	const struct cli *cli = arg;
	json_t *event = cli->pretty ? json_loads(text, 0, NULL) : NULL;

	if (event)
		cli_json(cli, event);
	else
		puts(text);
	json_decref(event);
}

int run_flow_watch(struct cli *cli, const struct command *cmd, json_t *args)
{
	struct cells c = {0};
	json_t *query = cli_query(args);
	int code;

	if (cli->json) {
		code = run_lines(cli, cmd, query, event_line, cli);
	} else {
		json_object_set_new(query, "?format", json_string("cells"));
		code = run_lines(cli, cmd, query, cells_line, &c);
	}
	json_decref(query);
	return code;
}
