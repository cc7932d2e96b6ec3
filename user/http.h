/* http.h: HTTP/1.1 on a Unix socket: takes a request apart, hands it to one function, writes the answer.
 *
 * Knows nothing of the switch. Limits: 16 MiB of body, 16 KiB of headers, GET, POST and DELETE only. A body that libevent
 * leaves unread (which methods have one depends on its version) is refused and its connection closed. What is no HTTP at all,
 * beyond the limits, or a method that no RFC knows, libevent (2.1) answers by itself, with 400, 413 or 501 and a page of HTML.
 * At most 64 answers are made in pieces at a time; who asks for one more is refused with 503.
 */
#ifndef SLUICE_HTTP_H
#define SLUICE_HTTP_H

#include <event2/event.h>
#include <event2/keyvalq_struct.h>
#include <jansson.h>
#include "err.h"

#define HTTP_BODY_MAX (16u << 20)

struct evbuffer;

struct http_request {
	const char *method; /* "GET", "POST", "DELETE" */
	const char *path;   /* decoded, without the query */
	const char *body;   /* NUL-terminated; "" when there is none */
	size_t body_len;
	struct evkeyvalq *query;
};

/* What http_stream.next() returns. */
enum http_more {
	HTTP_END = 0,  /* that was all */
	HTTP_MORE = 1, /* there is more */
	HTTP_REST = 2, /* there may be more in a moment */
};

/* An answer that is made in pieces, each in a turn of the event loop of its own, and none before the last one was taken. Pieces
 * of several answers are made by turns, one a turn. A client may take its time: it is given up after ten minutes in which it took
 * nothing. */
struct http_stream {
	/* Adds the next piece: some milliseconds' work. enum http_more. */
	int (*next)(void *arg, struct evbuffer *out);
	void (*free)(void *arg); /* at the end, or when the client has gone */
	void *arg;
	const char *type; /* NULL: JSON */
};

/* One of `json` (the server drops the reference) , `text` (the server frees it) and `stream`. */
struct http_reply {
	int status;
	json_t *json;
	char *text;
	const char *type;	   /* of `text` */
	struct http_stream stream; /* `next` NULL: none */
};

/* An answer that takes its time: called by the handler, which then leaves the reply empty. The request stays valid until
 * http_answer(), to be called once, in the loop, also when the client went away or the server was closed meanwhile. */
struct http_later;
struct http_later *http_later(const struct http_request *rq);
void http_answer(struct http_later *later, struct http_reply *reply);

typedef void (*http_handler)(void *arg, const struct http_request *rq, struct http_reply *reply);

struct http;

/* Listens on `path` (mode 0660); an old socket in its place is removed: the caller holds the instance's lock. */
int http_open(struct event_base *base, const char *path, http_handler fn, void *arg, struct http **ret, struct errs *errs);
void http_close(struct http *h); /* removes the socket; accepts NULL */

const char *http_query(const struct http_request *rq, const char *name); /* NULL: absent; "" for `?name` */

#endif
