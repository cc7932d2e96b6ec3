/* parse.c: between argv and the table of commands: which command is meant, and its parameters as JSON.
 */
#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "cli.h"
#include "confirm.h"
#include "state.h"

#define CANDIDATES 64
#define WORD	   32
#define REST_MAX   4096 /* of PARAM_REST: what fits into a request */

static int say(char why[CLI_ERROR], const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int say(char why[CLI_ERROR], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, CLI_ERROR, fmt, ap);
	va_end(ap);
	return -1;
}

/* ---- words and their abbreviations ---- */

struct words {
	char v[CANDIDATES][WORD];
	size_t n;
};

static void words_add(struct words *w, const char *word, size_t len)
{
	for (size_t i = 0; i < w->n; i++) {
		if (strlen(w->v[i]) == len && strncmp(w->v[i], word, len) == 0)
			return;
	}
	if (w->n < CANDIDATES)
		snprintf(w->v[w->n++], WORD, "%.*s", (int)len, word);
}

static void words_text(const struct words *w, const char *prefix, char *buf, size_t size)
{
	size_t len = 0;

	*buf = '\0';
	for (size_t i = 0; i < w->n && len < size; i++) {
		if (strncmp(w->v[i], prefix, strlen(prefix)) != 0)
			continue;
		len += (size_t)snprintf(buf + len, size - len, "%s%s", len ? ", " : "", w->v[i]);
	}
}

/* The exact word, or the only one that it abbreviates. `what` names the kind in the error. */
static const char *words_match(const struct words *w, const char *word, const char *what, char why[CLI_ERROR])
{
	const char *found = NULL;
	size_t n = 0, len = strlen(word);
	char list[320];

	for (size_t i = 0; i < w->n; i++) {
		if (strcmp(w->v[i], word) == 0)
			return w->v[i];
		if (len && strncmp(w->v[i], word, len) == 0) {
			found = w->v[i];
			n++;
		}
	}
	if (n == 1)
		return found;
	words_text(w, n ? word : "", list, sizeof(list));
	if (n)
		say(why, "'%.40s' is ambiguous: %s", word, list);
	else
		say(why, "'%.40s' is no %s: %s", word, what, list);
	return NULL;
}

/* ---- global options ---- */

static int take_value(int argc, char **argv, int *i, const char **ret, char why[CLI_ERROR])
{
	if (*i + 1 >= argc)
		return say(why, "%s wants a value", argv[*i]);
	*ret = argv[++*i];
	return 0;
}

int cli_globals(struct cli *cli, int *argc, char **argv, bool *ret_help, bool *ret_version, char why[CLI_ERROR])
{
	int kept = 1, r = 0;

	for (int i = 1; i < *argc && !r; i++) {
		const char *a = argv[i];

		if (strcmp(a, "-i") == 0 || strcmp(a, "--instance") == 0)
			r = take_value(*argc, argv, &i, &cli->instance, why);
		else if (strcmp(a, "-s") == 0 || strcmp(a, "--socket") == 0)
			r = take_value(*argc, argv, &i, &cli->socket, why);
		else if (strcmp(a, "-j") == 0 || strcmp(a, "--json") == 0)
			cli->json = true;
		else if (strcmp(a, "-p") == 0 || strcmp(a, "--pretty") == 0)
			cli->json = cli->pretty = true;
		else if (strcmp(a, "-jp") == 0 || strcmp(a, "-pj") == 0)
			cli->json = cli->pretty = true;
		else if (strcmp(a, "-h") == 0 || strcmp(a, "--help") == 0)
			*ret_help = true;
		else if (strcmp(a, "--version") == 0)
			*ret_version = true;
		else
			argv[kept++] = argv[i];
	}
	argv[kept] = NULL;
	*argc = kept;
	if (!r && !state_instance_ok(cli->instance))
		r = say(why, "'%.40s' is no name of an instance: letters, digits, '-', '_', '.', at most 32", cli->instance);
	return r;
}

/* ---- the path ---- */

/* The words that may follow `prefix` ("", "nat", "nat add"). Returns the command of exactly this path, if there is one. */
static const struct command *next_words(const char *prefix, struct words *ret)
{
	const struct command *whole = NULL;
	size_t len = strlen(prefix);

	ret->n = 0;
	for (size_t i = 0; i < n_commands; i++) {
		const char *p = commands[i].path;

		if (strncmp(p, prefix, len) != 0)
			continue;
		if (!p[len] && len) {
			whole = &commands[i];
		} else if (!len || p[len] == ' ') {
			p += len + (len > 0);
			words_add(ret, p, strcspn(p, " "));
		}
	}
	return whole;
}

static void append_word(char prefix[64], const char *word)
{
	size_t len = strlen(prefix);

	snprintf(prefix + len, 64 - len, "%s%s", len ? " " : "", word);
}

/* What stands for a verb that was not given: `show`, or `list`. */
static const char *default_word(const char *prefix, const struct words *words, char why[CLI_ERROR])
{
	char list[320];

	for (size_t i = 0; i < words->n && *prefix; i++) {
		if (strcmp(words->v[i], "show") == 0 || strcmp(words->v[i], "list") == 0)
			return words->v[i];
	}
	words_text(words, "", list, sizeof(list));
	say(why, "what is wanted? %s", list);
	return NULL;
}

const struct command *cli_walk(int argc, char **argv, int *used, char prefix[64], char why[CLI_ERROR])
{
	const struct command *whole;
	struct words words;
	const char *word;

	*why = '\0';
	for (;;) {
		whole = next_words(prefix, &words);
		if (!words.n)
			return whole;
		if (*used >= argc || (*prefix && argv[*used][0] == '-')) /* `counters --check`: an option is no verb */
			return NULL;
		word = words_match(&words, argv[*used], *prefix ? "verb" : "noun or command", why);
		if (!word)
			return NULL;
		append_word(prefix, word);
		++*used;
	}
}

/* `show NOUN` is `NOUN show`. -1 with words when the first word is nothing at all. */
static int take_show(int argc, char **argv, bool *ret_show, char why[CLI_ERROR])
{
	struct words words;
	const char *word = NULL;

	next_words("", &words);
	words_add(&words, "show", 4);
	if (argc)
		word = words_match(&words, argv[0], "noun or command", why);
	if (!word)
		return argc ? -1 : 0;
	*ret_show = strcmp(word, "show") == 0;
	return 0;
}

const struct command *cli_find(int argc, char **argv, int *ret_used, char prefix[64], char why[CLI_ERROR])
{
	const struct command *cmd;
	struct words words;
	const char *word;
	bool show = false;
	int used = 0;

	*prefix = '\0';
	if (take_show(argc, argv, &show, why))
		return NULL;
	used = show;
	cmd = cli_walk(show && argc > 2 ? 2 : argc, argv, &used, prefix, why);
	if (!cmd && !*why) {
		next_words(prefix, &words);
		word = default_word(prefix, &words, why);
		if (word) {
			append_word(prefix, word);
			cmd = cli_walk(0, NULL, &(int){0}, prefix, why);
		}
	}
	if (show && cmd && (!cmd->method || strcmp(cmd->method, "GET") != 0)) {
		snprintf(why, CLI_ERROR, "'%s' is nothing to show", prefix);
		return NULL;
	}
	*ret_used = used;
	return cmd;
}

/* ---- the parameters ---- */

int parser_open(struct parser *p, const struct command *cmd, char why[CLI_ERROR])
{
	*p = (struct parser){.cmd = cmd, .args = json_object()};
	return p->args ? 0 : say(why, "out of memory");
}

void parser_close(struct parser *p)
{
	json_decref(p->args);
}

const struct param *parser_positional(const struct parser *p)
{
	unsigned n = 0;

	for (const struct param *q = p->cmd->params; q && (q->key || q->value); q++) {
		if (!q->key && n++ == p->positional)
			return q;
	}
	return NULL;
}

static const json_t *target(const struct parser *p, const struct param *param)
{
	return param->flags & PARAM_HOP ? p->hop : p->args;
}

bool param_given(const struct parser *p, const struct param *param)
{
	return param->json && json_object_get(target(p, param), param->json) && !(param->flags & PARAM_REPEAT);
}

/* A key by its word, its alias, or an abbreviation. NULL and no words: it is none. */
static const struct param *find_key(const struct parser *p, const char *word, bool exact, bool *ret_ambiguous,
				    char why[CLI_ERROR])
{
	const struct param *found = NULL;
	struct words words = {0};
	size_t n = 0, len = strlen(word);
	char list[320];

	for (const struct param *q = p->cmd->params; q && (q->key || q->value); q++) {
		if (!q->key)
			continue;
		if (strcmp(q->key, word) == 0 || (q->alias && strcmp(q->alias, word) == 0))
			return q;
		if (exact || !len)
			continue;
		if (strncmp(q->key, word, len) == 0 || (q->alias && strncmp(q->alias, word, len) == 0)) {
			words_add(&words, q->key, strlen(q->key));
			found = q;
			n++;
		}
	}
	if (n < 2)
		return found;
	words_text(&words, "", list, sizeof(list));
	say(why, "'%.40s' is ambiguous: %s", word, list);
	*ret_ambiguous = true;
	return NULL;
}

static bool all_digits(const char *s)
{
	size_t n = strspn(s, "0123456789");

	return n && n < 18 && !s[n];
}

static json_t *number_or_text(const char *s)
{
	return all_digits(s) ? json_integer(strtoll(s, NULL, 10)) : json_string(s);
}

static json_t *list_of(const char *word, bool numbers)
{
	json_t *list = json_array();
	char *copy = strdup(word), *at = copy, *item;

	while (copy && (item = strsep(&at, ",")))
		json_array_append_new(list, numbers ? number_or_text(item) : json_string(item));
	free(copy);
	return list;
}

/* NULL: not of the form K=V. */
static json_t *members_of(const char *word)
{
	char *copy = strdup(word), *at = copy, *item, *value;
	json_t *o = json_object();

	while (copy && o && (item = strsep(&at, ","))) {
		value = strchr(item, '=');
		if (!value || value == item || !value[1]) {
			json_decref(o);
			o = NULL;
			break;
		}
		*value++ = '\0';
		json_object_set_new(o, item, number_or_text(value));
	}
	free(copy);
	return o;
}

/* "a,3/b": [{"nexthop": "a", "weight": 3}, "b"], as the configuration has it. NULL: not of the form. */
static json_t *group_of(const char *word)
{
	char *copy = strdup(word), *at = copy, *item, *weight;
	json_t *list = json_array(), *one;

	while (copy && list && (item = strsep(&at, "/"))) {
		weight = strchr(item, ',');
		if (weight)
			*weight++ = '\0';
		if (!*item || (weight && !*weight)) {
			json_decref(list);
			list = NULL;
			break;
		}
		one = weight ? json_pack("{s:s, s:o}", "nexthop", item, "weight", number_or_text(weight)) : json_string(item);
		json_array_append_new(list, one);
	}
	free(copy);
	return list;
}

static json_t *value_of(const struct param *param, const char *word)
{
	switch (param->type) {
	case VALUE_NUMBER:
	case VALUE_NUMBER_OR_TEXT:
		return number_or_text(word);
	case VALUE_LIST:
	case VALUE_FILTERS:
		return list_of(word, true);
	case VALUE_MEMBERS:
		return members_of(word);
	case VALUE_GROUP:
		return group_of(word);
	case VALUE_ONE_OR_LIST:
		return strchr(word, ',') ? list_of(word, false) : json_string(word);
	default:
		return json_string(word);
	}
}

static bool is_choice(const char *choices, const char *word)
{
	size_t len = strlen(word);

	for (const char *c = choices; *c; c += strcspn(c, " "), c += *c == ' ') {
		if (strcspn(c, " ") == len && strncmp(c, word, len) == 0)
			return true;
	}
	return false;
}

static const char *param_name(const struct param *param)
{
	return param->key ? param->key : param->value;
}

static int set(struct parser *p, const struct param *param, json_t *value, char why[CLI_ERROR])
{
	json_t *to = p->args, *old;

	if (param->flags & PARAM_HOP) {
		if (!p->hop) {
			const char *name = p->cmd->hops ? p->cmd->hops : "via";
			json_t *list = json_object_get(p->args, name);

			if (!list) {
				list = json_array();
				json_object_set_new(p->args, name, list);
			}
			p->hop = json_object();
			p->begun = NULL;
			json_array_append_new(list, p->hop);
		}
		to = p->hop;
	}
	old = json_object_get(to, param->json);
	if (old && param->flags & PARAM_REPEAT && json_is_array(old)) {
		json_array_extend(old, value);
		json_decref(value);
		return 0;
	}
	if (old) {
		json_decref(value);
		return say(why, "'%s' was already given%s", param_name(param),
			   param->flags & PARAM_HOP ? ": a second way out starts with 'nexthop'" : "");
	}
	json_object_set_new(to, param->json, value);
	return 0;
}

static int set_word(struct parser *p, const struct param *param, const char *word, char why[CLI_ERROR])
{
	uint32_t seconds = 0;
	json_t *value;

	if (param->type == VALUE_NUMBER && !all_digits(word))
		return say(why, "%s: '%.40s' is not a number", param_name(param), word);
	if (param->type == VALUE_TIME && (seconds_parse(word, &seconds) || !seconds || seconds > COMMIT_CONFIRM_MAX))
		return say(why, "%s: '%.40s' is not a time in 1s..%us", param_name(param), word, COMMIT_CONFIRM_MAX);
	if (param->choices && !is_choice(param->choices, word))
		return say(why, "%s: '%.40s' is not one of: %s", param_name(param), word, param->choices);
	if (!*word)
		return say(why, "%s is empty", param_name(param));
	value = value_of(param, word);
	if (!value)
		return say(why, "%s: '%.40s' is not of the form %s", param_name(param), word, param->value);
	return set(p, param, value, why);
}

static int add_word(struct parser *p, const struct param *param, const char *word, char why[CLI_ERROR])
{
	const char *before = json_string_value(json_object_get(p->args, param->json));
	char *all;

	if ((before ? strlen(before) + 1 : 0) + strlen(word) > REST_MAX)
		return say(why, "%s has more than %d characters", param_name(param), REST_MAX);
	if (asprintf(&all, "%s%s%s", before ? before : "", before ? " " : "", word) < 0)
		return say(why, "out of memory");
	json_object_set_new(p->args, param->json, json_string(all));
	free(all);
	return json_object_get(p->args, param->json) ? 0 : say(why, "'%.40s' is no text in UTF-8", word);
}

/* A word that begins another item of the list, and nothing of it. */
static int no_hop(const struct parser *p, char why[CLI_ERROR])
{
	return say(why, "'%s' wants what it begins: %s", p->begun->key, p->begun->help);
}

static int take_key(struct parser *p, const struct param *param, char why[CLI_ERROR])
{
	if (param->flags & PARAM_NEW_HOP)
		p->hop = NULL;
	if (param->flags & PARAM_NEW_HOP && !param->value) {
		if (p->begun)
			return no_hop(p, why);
		p->begun = param;
		return 0;
	}
	if (param->value) {
		p->pending = param;
		return 0;
	}
	return set(p, param, param->fixed ? json_string(param->fixed) : json_true(), why);
}

/* ---- filters of prefixes, in words of their own ---- */

static bool is_one_of(const char *word, const char *a, const char *b)
{
	return strcmp(word, a) == 0 || strcmp(word, b) == 0;
}

static void words_before(struct parser *p, const char *word)
{
	snprintf(p->words, sizeof(p->words), "%s ", word);
}

/* The value, behind `deny` if that was said. */
static int filter_begin(struct parser *p, const struct param *param, const char *word, char why[CLI_ERROR])
{
	char text[CLI_ERROR];

	if (!*p->words && is_one_of(word, "deny", "permit")) {
		words_before(p, word);
		p->pending = param;
		return 0;
	}
	if (snprintf(text, sizeof(text), "%s%s", p->words, word) >= (int)sizeof(text))
		return say(why, "'%.40s' is no prefix", word);
	*p->words = '\0';
	p->filter = param;
	return set_word(p, param, text, why);
}

/* A length's word, or its number, behind the filter that was given last. 1: it was none of these. */
static int filter_go_on(struct parser *p, const char *word, char why[CLI_ERROR])
{
	json_t *list = json_object_get(target(p, p->filter), p->filter->json), *last;
	size_t n = json_array_size(list);
	char text[CLI_ERROR];

	if (!*p->words && !is_one_of(word, "ge", "le"))
		return 1;
	if (!*p->words) {
		words_before(p, word);
		return 0;
	}
	last = n ? json_array_get(list, n - 1) : NULL;
	if (!all_digits(word) || !last ||
	    snprintf(text, sizeof(text), "%s %s%s", json_string_value(last), p->words, word) >= (int)sizeof(text))
		return say(why, "%s'%.40s' is no length of a prefix", p->words, word);
	*p->words = '\0';
	json_array_set_new(list, n - 1, json_string(text));
	return 0;
}

/* A positional parameter that is still missing takes a word before an abbreviated key does: `port add m` names a port m. */
int parser_feed(struct parser *p, const char *word, char why[CLI_ERROR])
{
	const struct param *param, *positional = parser_positional(p);
	bool ambiguous = false;
	int r;

	if (p->pending) {
		param = p->pending;
		p->pending = NULL;
		if (param->type == VALUE_FILTERS)
			return filter_begin(p, param, word, why);
		return set_word(p, param, word, why);
	}
	if (p->filter) {
		r = filter_go_on(p, word, why);
		if (r <= 0)
			return r;
		p->filter = NULL;
	}
	param = find_key(p, word, positional && (positional->flags & (PARAM_REQUIRED | PARAM_REST) || positional->names),
			 &ambiguous, why);
	if (ambiguous)
		return -1;
	if (param)
		return take_key(p, param, why);
	if (!positional || strncmp(word, "--", 2) == 0) {
		struct words keys = {0};
		char list[320];

		for (const struct param *q = p->cmd->params; q && (q->key || q->value); q++) {
			if (q->key && !param_given(p, q))
				words_add(&keys, q->key, strlen(q->key));
		}
		words_text(&keys, "", list, sizeof(list));
		return say(why, "'%.40s' does not belong to `sluice %s`%s%s", word, p->cmd->path, *list ? ", which takes: " : "",
			   list);
	}
	if (positional->flags & PARAM_REST)
		return add_word(p, positional, word, why);
	p->positional++;
	return set_word(p, positional, word, why);
}

static int check_whole(const struct parser *p, char why[CLI_ERROR])
{
	if (p->pending)
		return say(why, "'%s' wants a value: %s", p->pending->key, p->pending->value);
	if (*p->words)
		return say(why, "'%.2s' wants a length of a prefix: N", p->words);
	if (p->begun)
		return no_hop(p, why);
	for (const struct param *q = p->cmd->params; q && (q->key || q->value); q++) {
		if (q->flags & PARAM_REQUIRED && !json_object_get(p->args, q->json))
			return say(why, "%s%s%s is missing", q->key ? q->key : "", q->key && q->value ? " " : "",
				   q->value ? q->value : "");
	}
	return 0;
}

json_t *cli_params(const struct command *cmd, int argc, char **argv, char why[CLI_ERROR])
{
	struct parser p;
	json_t *args = NULL;
	int r = parser_open(&p, cmd, why);

	for (int i = 0; i < argc && !r; i++)
		r = parser_feed(&p, argv[i], why);
	if (!r)
		r = check_whole(&p, why);
	if (!r && cmd->type)
		json_object_set_new(p.args, "type", json_string(cmd->type));
	if (!r)
		args = json_incref(p.args);
	parser_close(&p);
	return args;
}
