/* move.c: `sluice flow save FILE` and `sluice flow restore FILE`: between a file and sluiced, which takes and gives it in pieces.
 *
 * A file that is saved appears whole or not at all. One that is restored is read twice: checked to its last line, then sent.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli.h"
#include "errjson.h"
#include "flow_file.h"

#define BUSY_TRIES    300
#define BUSY_US	      200000
#define REFUSED_SHOWN 100

/* ---- save */

struct saving {
	FILE *to;
	const char *name; /* of the file */
	int failed;	  /* errno of the first line that could not be written */
	struct flow_file_check check;
	struct errs errs;
};

static void save_line(char *text, void *arg)
{
	struct saving *s = arg;
	size_t len = strlen(text);

	if (s->failed || s->errs.n || flow_file_check_line(&s->check, text, len, &s->errs))
		return;
	errno = 0;
	if (fprintf(s->to, "%s\n", text) < 0)
		s->failed = errno ? errno : EIO;
}

static int words(struct cli *cli, struct errs *errs)
{
	json_t *json = errs_json(errs);
	int code = cli_refused(cli, json, NULL);

	json_decref(json);
	errs_free(errs);
	return code;
}

static int cannot_write(struct cli *cli, const char *file, int err)
{
	char why[CLI_ERROR];

	snprintf(why, sizeof(why), "%s cannot be written: %s", file, strerror(err));
	return cli_fail(cli, EXIT_REFUSED, why);
}

/* All lines that sluiced has. While the tables change their size, it gives none: that passes. */
static int ask(struct cli *cli, const struct command *cmd, struct saving *s, struct answer *ret, char why[CLI_ERROR])
{
	for (int tries = 0; tries < BUSY_TRIES; tries++) {
		answer_free(ret);
		*ret = (struct answer){0};
		if (client_lines(cli, cmd->url, NULL, save_line, s, ret, why))
			return -1;
		if (ret->status != 409)
			break;
		usleep(BUSY_US);
	}
	return 0;
}

/* What came must be whole: counted and summed up while it is written. */
static int save_to(struct cli *cli, const struct command *cmd, struct saving *s)
{
	struct answer answer = {0};
	char why[CLI_ERROR];
	int code = EXIT_OK;

	if (ask(cli, cmd, s, &answer, why))
		code = cli_fail(cli, EXIT_UNREACHABLE, why);
	else if (answer.status >= 400)
		code = cli_refused(cli, answer.json, NULL);
	else if (s->errs.n || (!s->failed && flow_file_check_end(&s->check, &s->errs)))
		code = words(cli, &s->errs);
	else if (s->failed)
		code = cannot_write(cli, s->name, s->failed);
	answer_free(&answer);
	return code;
}

static void print_saved(const struct cli *cli, const struct flow_file_check *c, const char *file)
{
	json_t *json;

	if (cli->json) {
		json = json_pack("{s:s, s:I, s:I, s:I}", "saved", file, "flows", (json_int_t)c->n[RECORD_FLOW], "mappings",
				 (json_int_t)c->n[RECORD_MAPPING], "peers", (json_int_t)c->n[RECORD_PEER]);
		cli_json(cli, json);
		json_decref(json);
	} else {
		printf("%s: %llu flows, %llu mappings\n", file, (unsigned long long)c->n[RECORD_FLOW],
		       (unsigned long long)c->n[RECORD_MAPPING]);
	}
}

/* A device, a pipe: there is nothing to put in its place. */
static int save_into(struct cli *cli, const struct command *cmd, const char *file)
{
	struct saving s = {.to = fopen(file, "w"), .name = file, .check = {.name = "what sluiced sent", .trusted = true}};
	int code = s.to ? save_to(cli, cmd, &s) : EXIT_OK;

	if ((!s.to || fclose(s.to)) && code == EXIT_OK)
		code = cannot_write(cli, file, errno);
	return code;
}

static int save_file(struct cli *cli, const struct command *cmd, const char *file)
{
	struct saving s = {.name = file, .check = {.name = "what sluiced sent", .trusted = true}};
	char temporary[4096];
	struct stat there;
	int code, fd;

	if (!stat(file, &there) && !S_ISREG(there.st_mode))
		return save_into(cli, cmd, file);
	if ((size_t)snprintf(temporary, sizeof(temporary), "%s.XXXXXX", file) >= sizeof(temporary))
		return cli_fail(cli, EXIT_REFUSED, "the file's name is too long");
	fd = mkstemp(temporary);
	s.to = fd >= 0 ? fdopen(fd, "w") : NULL;
	if (!s.to)
		return cannot_write(cli, file, errno);
	code = save_to(cli, cmd, &s);
	if (code == EXIT_OK && (fflush(s.to) || fsync(fd) || rename(temporary, file)))
		code = cannot_write(cli, file, errno);
	fclose(s.to);
	if (code != EXIT_OK)
		unlink(temporary);
	else
		print_saved(cli, &s.check, file);
	return code;
}

int run_flow_save(struct cli *cli, const struct command *cmd, json_t *args)
{
	const char *file = json_string_value(json_object_get(args, "file"));
	struct saving s = {.to = stdout, .name = "stdout", .check = {.name = "what sluiced sent", .trusted = true}};
	int code;

	if (strcmp(file, "-"))
		return save_file(cli, cmd, file);
	code = save_to(cli, cmd, &s);
	return code == EXIT_OK && fflush(stdout) ? cannot_write(cli, s.name, errno) : code;
}

/* ---- restore */

struct restoring {
	struct cli *cli;
	const struct command *cmd;
	const char *name;
	FILE *from;
	char line[FLOW_FILE_LINE];
	char body[FLOW_FILE_BODY];
	size_t len;
	int first, next; /* numbers of lines */
	json_int_t restored[3], there, refused;
	json_t *reasons;
};

static const char *const kinds[3] = {"flows", "mappings", "peers"};

/* The next line without its end, or as much of it as shows that it is too long; -1: there are no more, or it cannot be read. */
static ssize_t read_line(struct restoring *r)
{
	size_t len = 0;
	int c = 0;

	while (len < FLOW_FILE_LINE && (c = getc_unlocked(r->from)) != EOF && c != '\n')
		r->line[len++] = (char)c;
	return c == EOF && !len ? -1 : (ssize_t)len;
}

static int check_file(struct restoring *r)
{
	struct flow_file_check c = {.name = r->name};
	struct errs errs = {0};
	ssize_t len;
	int err = 0;

	while (!err && (len = read_line(r)) >= 0)
		err = flow_file_check_line(&c, r->line, (size_t)len, &errs);
	if (!err && ferror(r->from))
		err = errs_fail(&errs, EIO, "%s cannot be read: %s", r->name, strerror(errno));
	if (!err)
		err = flow_file_check_end(&c, &errs);
	return err ? words(r->cli, &errs) : EXIT_OK;
}

static void take_answer(struct restoring *r, const json_t *answer)
{
	const json_t *restored = json_object_get(answer, "restored"), *refused = json_object_get(answer, "refused"), *one;
	size_t i;

	for (int k = 0; k < 3; k++)
		r->restored[k] += json_integer_value(json_object_get(restored, kinds[k]));
	r->there += json_integer_value(json_object_get(answer, "there"));
	json_array_foreach (refused, i, one) {
		if (r->cli->json)
			json_array_append(r->reasons, (json_t *)one);
		else if (r->refused < REFUSED_SHOWN)
			fprintf(stderr, "%s:%lld: %s: %s\n", r->name, (long long)json_integer_value(json_object_get(one, "line")),
				json_string_value(json_object_get(one, "what")),
				json_string_value(json_object_get(one, "reason")));
		r->refused++;
	}
}

/* What has been gathered. While the tables change their size, nothing is taken: that passes. */
static int send_lines(struct restoring *r)
{
	json_t *query = json_pack("{s:s, s:i}", "?source", r->name, "?line", r->first);
	struct answer answer = {0};
	char why[CLI_ERROR];
	int code = EXIT_OK;

	for (int tries = 0; tries < BUSY_TRIES; tries++) {
		answer_free(&answer);
		answer = (struct answer){0};
		if (client_request(r->cli, "POST", r->cmd->url, query, r->body, r->len, &answer, why)) {
			code = cli_fail(r->cli, EXIT_UNREACHABLE, why);
			goto out;
		}
		if (answer.status != 409)
			break;
		usleep(BUSY_US);
	}
	if (answer.status >= 400)
		code = cli_refused(r->cli, answer.json, NULL);
	else if (!json_is_object(answer.json))
		code = cli_fail(r->cli, EXIT_UNREACHABLE, "sluiced did not finish its answer");
	else
		take_answer(r, answer.json);
out:
	answer_free(&answer);
	json_decref(query);
	r->len = 0;
	r->first = r->next;
	return code;
}

static int send_file(struct restoring *r)
{
	int code = EXIT_OK;
	ssize_t len;

	rewind(r->from);
	r->first = r->next = 1;
	while (code == EXIT_OK && (len = read_line(r)) >= 0) {
		/* Longer than when it was checked: somebody writes into it. */
		if (len >= FLOW_FILE_LINE)
			return cli_fail(r->cli, EXIT_REFUSED, "the file was changed while it was read");
		if (r->len + (size_t)len + 1 > sizeof(r->body))
			code = send_lines(r);
		memcpy(r->body + r->len, r->line, (size_t)len);
		r->len += (size_t)len;
		r->body[r->len++] = '\n';
		r->next++;
	}
	return code == EXIT_OK && r->len ? send_lines(r) : code;
}

static void print_restored(const struct restoring *r)
{
	json_t *json;

	if (r->cli->json) {
		json = json_pack("{s:{s:I, s:I, s:I}, s:I, s:O}", "restored", kinds[0], r->restored[0], kinds[1], r->restored[1],
				 kinds[2], r->restored[2], "there", r->there, "refused", r->reasons);
		cli_json(r->cli, json);
		json_decref(json);
		return;
	}
	if (r->refused > REFUSED_SHOWN)
		fprintf(stderr, "%lld more were refused: -j names each\n", (long long)r->refused - REFUSED_SHOWN);
	printf("%lld flows and %lld mappings restored", (long long)r->restored[0], (long long)r->restored[1]);
	if (r->there)
		printf(", %lld were there already", (long long)r->there);
	if (r->refused)
		printf(", %lld refused", (long long)r->refused);
	putchar('\n');
}

/* stdin cannot be read twice: through a file without a name. */
static FILE *open_input(const char *file)
{
	FILE *copy;
	char buf[65536];
	size_t n;

	if (strcmp(file, "-"))
		return fopen(file, "r");
	copy = tmpfile();
	while (copy && (n = fread(buf, 1, sizeof(buf), stdin)) > 0)
		if (fwrite(buf, 1, n, copy) != n)
			break;
	if (copy)
		rewind(copy);
	return copy;
}

int run_flow_restore(struct cli *cli, const struct command *cmd, json_t *args)
{
	const char *file = json_string_value(json_object_get(args, "file"));
	struct restoring *r = calloc(1, sizeof(*r));
	char why[CLI_ERROR];
	int code;

	if (!r)
		return cli_fail(cli, EXIT_REFUSED, "out of memory");
	r->cli = cli;
	r->cmd = cmd;
	r->name = strcmp(file, "-") ? file : "stdin";
	r->reasons = json_array();
	r->from = open_input(file);
	if (!r->from) {
		snprintf(why, sizeof(why), "%s cannot be read: %s", r->name, strerror(errno));
		code = cli_fail(cli, EXIT_REFUSED, why);
	} else {
		code = check_file(r);
		if (code == EXIT_OK)
			code = send_file(r);
		if (code == EXIT_OK)
			print_restored(r);
		if (code == EXIT_OK && r->refused)
			code = EXIT_REFUSED;
		fclose(r->from);
	}
	json_decref(r->reasons);
	free(r);
	return code;
}
