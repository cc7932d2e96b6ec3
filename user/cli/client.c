/* client.c: between the commands and sluiced's socket: one HTTP request by libcurl.
 */
#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include "cli.h"

#define CONNECT_S    5L
#define ANSWER_S     300L /* of an answer in one piece */
#define LINES_BUFFER (256L << 10)

struct buffer {
	char *text;
	size_t len;
	CURL *curl; /* of a list that is told line by line: `line` gets what is whole */
	void (*line)(char *text, void *arg);
	void *arg;
};

/* Hands on the whole lines, and keeps the rest. */
static void tell_lines(struct buffer *b)
{
	char *at = b->text, *end;
	long status = 0;

	curl_easy_getinfo(b->curl, CURLINFO_RESPONSE_CODE, &status);
	if (status >= 400)
		return;
	while ((end = strchr(at, '\n'))) {
		*end = '\0';
		b->line(at, b->arg);
		at = end + 1;
	}
	b->len -= (size_t)(at - b->text);
	memmove(b->text, at, b->len + 1);
}

static size_t receive(char *data, size_t size, size_t n, void *arg)
{
	struct buffer *b = arg;
	size_t len = size * n;
	char *more = realloc(b->text, b->len + len + 1);

	if (!more)
		return 0;
	memcpy(more + b->len, data, len);
	b->text = more;
	b->len += len;
	b->text[b->len] = '\0';
	if (b->line) {
		tell_lines(b);
		if (fflush(stdout) || ferror(stdout))
			return 0;
	}
	return len;
}

/* URL?name=value&…: the members of `query`, escaped. */
static char *make_url(CURL *curl, const char *url, const json_t *query)
{
	char *all = NULL, *next, *escaped, number[32];
	const char *name, *text;
	bool first = true;
	json_t *value;

	if (asprintf(&all, "http://sluice%s", url) < 0)
		return NULL;
	json_object_foreach ((json_t *)query, name, value) {
		snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(value));
		text = json_is_string(value) ? json_string_value(value) : number;
		escaped = curl_easy_escape(curl, text, 0);
		if (!escaped || asprintf(&next, "%s%c%s=%s", all, first ? '?' : '&', name + (*name == '?'), escaped) < 0)
			next = NULL;
		curl_free(escaped);
		free(all);
		all = next;
		if (!all)
			return NULL;
		first = false;
	}
	return all;
}

static void explain(struct cli *cli, CURL *curl, CURLcode code, const char *path, char why[CLI_ERROR])
{
	long os = 0;

	curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &os);
	if (ferror(stdout))
		snprintf(why, CLI_ERROR, "what sluiced answers cannot be written to the output");
	else if (code != CURLE_COULDNT_CONNECT)
		snprintf(why, CLI_ERROR, "sluiced at %s gave no answer: %s", path, curl_easy_strerror(code));
	else if (os == EACCES || os == EPERM)
		snprintf(why, CLI_ERROR, "%s may not be opened by this user: be root, or in the group of the socket", path);
	else
		snprintf(why, CLI_ERROR,
			 "no sluiced of instance '%s' listens on %s%s%s; to start it: systemctl start sluiced, or sluiced -i %s "
			 "-c FILE",
			 cli->instance, path, os ? ": " : "", os ? strerror((int)os) : "", cli->instance);
}

static CURL *prepare(const char *method, const char *path, const char *body, size_t body_len, struct buffer *into)
{
	CURL *curl = curl_easy_init();

	if (!curl)
		return NULL;
	curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, path);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_S);
	if (into->line)
		curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, LINES_BUFFER);
	else
		curl_easy_setopt(curl, CURLOPT_TIMEOUT, ANSWER_S);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, into);
	if (strcmp(method, "POST") == 0) {
		curl_easy_setopt(curl, CURLOPT_POST, 1L);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body_len);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body ? body : "");
	} else {
		curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
	}
	return curl;
}

static int perform(struct cli *cli, const char *method, const char *url, const json_t *query, const char *body, size_t body_len,
		   struct buffer into, struct answer *ret, char why[CLI_ERROR])
{
	/* No `Expect: 100-continue`: the answer would wait for it. */
	struct curl_slist *headers = curl_slist_append(NULL, "Expect:");
	char path[256], *whole = NULL;
	CURL *curl;
	CURLcode code;
	int r = -1;

	if (cli->socket)
		snprintf(path, sizeof(path), "%s", cli->socket);
	else
		snprintf(path, sizeof(path), "/run/sluice/%s/api.sock", cli->instance);
	curl = prepare(method, path, body, body_len, &into);
	into.curl = curl;
	if (curl)
		whole = make_url(curl, url, query);
	if (!whole || !headers) {
		snprintf(why, CLI_ERROR, "out of memory");
		goto out;
	}
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_URL, whole);
	code = curl_easy_perform(curl);
	if (code != CURLE_OK) {
		explain(cli, curl, code, path, why);
		goto out;
	}
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &ret->status);
	ret->text = into.text;
	ret->json = into.text && into.len ? json_loadb(into.text, into.len, JSON_DECODE_ANY, NULL) : NULL;
	into.text = NULL;
	r = 0;
out:
	free(into.text);
	free(whole);
	curl_easy_cleanup(curl);
	curl_slist_free_all(headers);
	return r;
}

int client_request(struct cli *cli, const char *method, const char *url, const json_t *query, const char *body, size_t body_len,
		   struct answer *ret, char why[CLI_ERROR])
{
	return perform(cli, method, url, query, body, body_len, (struct buffer){0}, ret, why);
}

int client_lines(struct cli *cli, const char *url, const json_t *query, void (*line)(char *text, void *arg), void *arg,
		 struct answer *ret, char why[CLI_ERROR])
{
	return perform(cli, "GET", url, query, NULL, 0, (struct buffer){.line = line, .arg = arg}, ret, why);
}

void answer_free(struct answer *a)
{
	json_decref(a->json);
	free(a->text);
}
