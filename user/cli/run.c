/* run.c: what the commands do: a request made of the parameters, and the answer printed.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cli.h"
#include "errjson.h"
#include "file.h"
#include "model.h"

#define STDIN_MAX    (16u << 20)
#define CARET_LINE   100
#define CARET_BEFORE 70

void cli_json(const struct cli *cli, const json_t *json)
{
	json_dumpf(json, stdout, JSON_ENCODE_ANY | (cli->pretty ? JSON_INDENT(2) : JSON_COMPACT));
	putchar('\n');
}

int cli_fail(const struct cli *cli, int code, const char *text)
{
	json_t *json;

	if (cli->json) {
		json = json_pack("{s:[{s:n, s:i, s:n, s:s, s:s}]}", "errors", "file", "line", 0, "key", "message", text, "text",
				 text);
		cli_json(cli, json);
		json_decref(json);
	} else {
		fprintf(stderr, "sluice: %s\n", text);
	}
	return code;
}

/* The text that was asked, and a caret below the column; of a long one what stands around it. */
static void point_at(const char *text, json_int_t column)
{
	size_t at = (size_t)column - 1, len = strlen(text), from = at > CARET_BEFORE ? at - CARET_BEFORE : 0;

	if (column < 1 || at > len)
		return;
	fputs("  ", stderr);
	for (size_t i = from; i < len && i < from + CARET_LINE; i++)
		fputc(isprint((unsigned char)text[i]) ? text[i] : ' ', stderr);
	fprintf(stderr, "\n  %*s^\n", (int)(at - from), "");
}

int cli_refused(const struct cli *cli, const json_t *answer, const json_t *query)
{
	const char *key, *text;
	const json_t *e;
	char name[32];
	size_t i;

	if (!json_object_get(answer, "errors"))
		return cli_fail(cli, EXIT_REFUSED, "sluiced refused, without words");
	if (cli->json) {
		cli_json(cli, answer);
		return EXIT_REFUSED;
	}
	json_array_foreach (json_object_get(answer, "errors"), i, e) {
		fprintf(stderr, "sluice: %s\n", json_string_value(json_object_get(e, "text")));
		key = json_string_value(json_object_get(e, "key"));
		snprintf(name, sizeof(name), "?%s", key ? key : "");
		text = json_string_value(json_object_get(query, name));
		if (text)
			point_at(text, json_integer_value(json_object_get(e, "column")));
	}
	return EXIT_REFUSED;
}

json_t *cli_query(json_t *args)
{
	json_t *query = json_object(), *value;
	const char *name;
	void *next;

	json_object_foreach_safe(args, next, name, value)
	{
		if (*name != '?')
			continue;
		json_object_set(query, name, value);
		json_object_del(args, name);
	}
	return query;
}

/* Sends, and prints what came: exit code. The answer is left for the caller when `ret` is not NULL and the request succeeded. */
static int request(struct cli *cli, const struct command *cmd, const json_t *query, const char *body, size_t len,
		   struct answer *ret)
{
	struct answer answer = {0};
	char why[CLI_ERROR];
	int code = EXIT_OK;

	if (client_request(cli, cmd->method, cmd->url, query, body, len, &answer, why))
		return cli_fail(cli, EXIT_UNREACHABLE, why);
	if (answer.status >= 400) {
		code = cli_refused(cli, answer.json, query);
	} else if (ret) {
		*ret = answer;
		return EXIT_OK;
	} else if (cli->json || !cmd->print) {
		cli_json(cli, answer.json);
	} else {
		cmd->print(answer.json);
	}
	answer_free(&answer);
	return code;
}

/* What is left of the parameters is the item: the body of a POST, `?item=` of a DELETE. */
int run_request(struct cli *cli, const struct command *cmd, json_t *args)
{
	json_t *query = cli_query(args);
	char *item = json_object_size(args) ? json_dumps(args, JSON_COMPACT) : NULL;
	bool post = strcmp(cmd->method, "POST") == 0;
	int code;

	if (item)
		json_object_set_new(query, "?source", json_string("command line"));
	if (item && !post)
		json_object_set_new(query, "?item", json_string(item));
	code = request(cli, cmd, query, post ? item : NULL, post && item ? strlen(item) : 0, NULL);
	free(item);
	json_decref(query);
	return code;
}

static int read_stdin(char **ret, size_t *ret_len)
{
	char *buf = malloc(STDIN_MAX + 1);
	size_t len;
	int r = 0;

	if (!buf)
		return -ENOMEM;
	errno = 0;
	len = fread(buf, 1, STDIN_MAX, stdin);
	if (ferror(stdin))
		r = errno ? -errno : -EIO;
	else if (!feof(stdin))
		r = -EFBIG;
	if (r) {
		free(buf);
		return r;
	}
	buf[len] = '\0';
	*ret = buf;
	*ret_len = len;
	return 0;
}

/* The file that the parameters name; `-` is stdin. Exit code. */
static int read_file(const struct cli *cli, const json_t *args, const char **ret_name, char **ret, size_t *ret_len)
{
	const char *file = json_string_value(json_object_get(args, "file"));
	bool is_stdin = strcmp(file, "-") == 0;
	char why[CLI_ERROR];
	int r = is_stdin ? read_stdin(ret, ret_len) : file_read(file, ret, ret_len);

	*ret_name = is_stdin ? "stdin" : file;
	if (!r)
		return EXIT_OK;
	snprintf(why, sizeof(why), "%s cannot be read: %s", *ret_name, strerror(-r));
	return cli_fail(cli, EXIT_REFUSED, why);
}

int run_file(struct cli *cli, const struct command *cmd, json_t *args)
{
	json_t *query = cli_query(args);
	const char *name;
	char *text = NULL;
	size_t len = 0;
	int code = read_file(cli, args, &name, &text, &len);

	if (code == EXIT_OK) {
		json_object_set_new(query, "?source", json_string(name));
		code = request(cli, cmd, query, text, len, NULL);
	}
	free(text);
	json_decref(query);
	return code;
}

/* By the model library itself, so that it needs no sluiced and no privilege. */
/* It may be another machine's: what this one lacks is no fault of the file. */
static void print_good(const struct cli *cli, const char *name, const struct model *m, const struct errs *here,
		       const json_t *notes)
{
	json_t *json, *errors;
	char *text;

	if (cli->json) {
		errors = errs_json(here);
		json = json_pack("{s:b, s:O, s:O}", "ok", 1, "here", json_object_get(errors, "errors"), "notes", notes);
		cli_json(cli, json);
		json_decref(json);
		json_decref(errors);
		return;
	}
	print_notes(notes);
	for (size_t i = 0; i < here->n; i++) {
		text = err_text(&here->v[i]);
		fprintf(stderr, "on this machine it would be refused: %s\n", text ?: "out of memory");
		free(text);
	}
	printf("%s is good: %zu port entries, %zu interfaces, %zu static routes, %zu NAT rules\n", name, m->n_ports, m->n_ifaces,
	       m->n_routes, m->n_nats);
}

int run_check(struct cli *cli, const struct command *cmd, json_t *args)
{
	struct errs errs = {0}, noted = {0};
	struct model *m;
	const char *name;
	char *text = NULL;
	size_t len = 0;
	json_t *json;
	int code = read_file(cli, args, &name, &text, &len);

	if (code != EXIT_OK)
		return code;
	m = model_parse(text, len, name, &errs);
	if (m) {
		model_check_here(m, NULL, &errs);
		model_notes(m, NULL, &noted);
		json = errs_json(&noted);
		print_good(cli, name, m, &errs, json_object_get(json, "errors"));
		json_decref(json);
	} else {
		json = errs_json(&errs);
		code = cli_refused(cli, json, NULL);
		json_decref(json);
	}
	model_free(m);
	errs_free(&errs);
	errs_free(&noted);
	free(text);
	return code;
}

/* Without --check a plain request; with it the exit code says whether the sums hold. */
int run_counters_check(struct cli *cli, const struct command *cmd, json_t *args)
{
	struct answer answer = {0};
	json_t *query;
	bool holds;
	int code;

	if (!json_object_get(args, "?check"))
		return run_request(cli, cmd, args);
	query = cli_query(args);
	code = request(cli, cmd, query, NULL, 0, &answer);
	json_decref(query);
	if (code != EXIT_OK)
		return code;
	holds = json_is_true(json_object_get(answer.json, "holds"));
	if (cli->json)
		cli_json(cli, answer.json);
	else
		print_check(answer.json);
	answer_free(&answer);
	return holds ? EXIT_OK : EXIT_REFUSED;
}

/* YAML for people, as a file would have it; JSON under -j. */
int run_config_show(struct cli *cli, const struct command *cmd, json_t *args)
{
	json_t *query = cli_query(args);
	const char *format = json_string_value(json_object_get(query, "?format"));
	struct answer answer = {0};
	int code;

	if (!format) {
		format = cli->json ? "json" : "yaml";
		json_object_set_new(query, "?format", json_string(format));
	}
	code = request(cli, cmd, query, NULL, 0, &answer);
	if (code == EXIT_OK && strcmp(format, "json") == 0)
		cli_json(cli, answer.json);
	else if (code == EXIT_OK && answer.text)
		fputs(answer.text, stdout);
	answer_free(&answer);
	json_decref(query);
	return code;
}
