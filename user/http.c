/* http.c: between libevent's HTTP server and api.c.
 */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <event2/listener.h>
#include "http.h"
#include "loop.h"

#define HEADERS_MAX (16 << 10)
#define IDLE_S	    60
#define PATIENCE_S  600
#define STREAMS_MAX 64
#define REST_US	    50000
#define WRITE_MAX   (256 << 10)

struct http {
	struct evhttp *server;
	struct event *turn;
	TAILQ_HEAD(, streaming) ready; /* answers whose next piece can be made */
	unsigned streams;
	http_handler fn;
	void *arg;
	char *path;
};

const char *http_query(const struct http_request *rq, const char *name)
{
	return evhttp_find_header(rq->query, name);
}

static void free_text(const void *text, size_t len, void *arg)
{
	free((void *)text);
}

static void send_reply(struct evhttp_request *req, struct http_reply *reply)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(req);
	struct evbuffer *out = evbuffer_new();
	char *text = reply->text;

	if (!text && reply->json)
		text = json_dumps(reply->json, JSON_COMPACT | JSON_ENCODE_ANY);
	if (!out || !text) {
		evhttp_send_error(req, HTTP_INTERNAL, NULL);
	} else {
		evhttp_add_header(headers, "Content-Type", reply->text ? reply->type : "application/json");
		if (!evbuffer_add_reference(out, text, strlen(text), free_text, NULL))
			text = NULL;
		evbuffer_add(out, "\n", reply->text ? 0 : 1);
		evhttp_send_reply(req, reply->status, NULL, out);
	}
	if (out)
		evbuffer_free(out);
	free(text);
	json_decref(reply->json);
}

/* ---- answers in pieces */

struct streaming {
	TAILQ_ENTRY(streaming) link;
	struct http *http;
	struct evhttp_request *req;
	struct http_stream stream;
	struct event *timer; /* ends a rest */
	bool ready;	     /* stands in the queue */
};

static void bounds(struct evhttp_connection *con, const struct timeval *read, const struct timeval *write)
{
	bufferevent_set_timeouts(evhttp_connection_get_bufferevent(con), read, write);
}

static void streaming_free(struct streaming *s)
{
	if (s->ready)
		TAILQ_REMOVE(&s->http->ready, s, link);
	if (s->timer)
		event_free(s->timer);
	s->http->streams--;
	s->stream.free(s->stream.arg);
	free(s);
}

/* The client went: the request is ours to free. Or the server is closing: libevent frees it with the connection. */
static void on_gone(struct evhttp_connection *con, void *arg)
{
	struct streaming *s = arg;

	loop_doing("the end of a listing");
	if (!evhttp_request_get_connection(s->req))
		evhttp_request_free(s->req);
	streaming_free(s);
}

static void make_ready(struct streaming *s)
{
	struct timeval at_once = {0};

	if (!s->ready)
		TAILQ_INSERT_TAIL(&s->http->ready, s, link);
	s->ready = true;
	evtimer_add(s->http->turn, &at_once);
}

static void on_taken(struct evhttp_connection *con, void *arg)
{
	make_ready(arg);
}

static void on_rested(evutil_socket_t fd, short what, void *arg)
{
	make_ready(arg);
}

static void rest(struct streaming *s)
{
	struct timeval moment = {.tv_usec = REST_US};

	evtimer_add(s->timer, &moment);
}

static void streaming_end(struct streaming *s)
{
	struct evhttp_connection *con = evhttp_request_get_connection(s->req);
	struct timeval idle = {.tv_sec = IDLE_S};

	evhttp_connection_set_closecb(con, NULL, NULL);
	bounds(con, &idle, &idle);
	evhttp_send_reply_end(s->req);
	streaming_free(s);
}

static void piece(struct streaming *s)
{
	struct evbuffer *out = evbuffer_new();
	bool some;
	int more;

	loop_doing("a listing");
	more = out ? s->stream.next(s->stream.arg, out) : HTTP_END;
	some = out && evbuffer_get_length(out);

	if (some && more)
		evhttp_send_reply_chunk_with_cb(s->req, out, on_taken, s);
	else if (some)
		evhttp_send_reply_chunk(s->req, out);
	else if (more == HTTP_REST)
		rest(s);
	else if (more)
		make_ready(s);
	if (out)
		evbuffer_free(out);
	if (!more)
		streaming_end(s);
}

/* One piece, of whoever has waited longest. */
static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct timeval at_once = {0};
	struct http *h = arg;
	struct streaming *s = TAILQ_FIRST(&h->ready);

	if (!s)
		return;
	TAILQ_REMOVE(&h->ready, s, link);
	s->ready = false;
	piece(s);
	if (!TAILQ_EMPTY(&h->ready))
		evtimer_add(h->turn, &at_once);
}

static json_t *refusal(const char *text)
{
	return json_pack("{s:[{s:n, s:i, s:n, s:s, s:s}]}", "errors", "file", "line", 0, "key", "message", text, "text", text);
}

static void send_stream(struct http *h, struct evhttp_request *req, struct http_reply *reply)
{
	struct evhttp_connection *con = evhttp_request_get_connection(req);
	struct streaming *s = h->streams < STREAMS_MAX ? calloc(1, sizeof(*s)) : NULL;
	struct timeval patience = {.tv_sec = PATIENCE_S};

	if (s)
		s->timer = evtimer_new(evhttp_connection_get_base(con), on_rested, s);
	if (!s || !s->timer) {
		free(s);
		reply->stream.free(reply->stream.arg);
		reply->status = HTTP_SERVUNAVAIL;
		reply->json = refusal("too many long answers are under way: try again when one of them has ended");
		send_reply(req, reply);
		return;
	}
	s->http = h;
	s->req = req;
	s->stream = reply->stream;
	h->streams++;
	/* Nothing is expected of a client that listens. */
	bounds(con, NULL, &patience);
	bufferevent_set_max_single_write(evhttp_connection_get_bufferevent(con), WRITE_MAX);
	evhttp_connection_set_closecb(con, on_gone, s);
	evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Type",
			  reply->stream.type ? reply->stream.type : "application/json");
	evhttp_send_reply_start(req, reply->status, NULL);
	make_ready(s);
}

static void refuse(struct evhttp_request *req, int status, const char *text)
{
	struct http_reply reply = {.status = status, .json = refusal(text)};

	evhttp_add_header(evhttp_request_get_output_headers(req), "Connection", "close");
	send_reply(req, &reply);
}

static const char *method_name(struct evhttp_request *req)
{
	switch (evhttp_request_get_command(req)) {
	case EVHTTP_REQ_GET:
		return "GET";
	case EVHTTP_REQ_POST:
		return "POST";
	case EVHTTP_REQ_DELETE:
		return "DELETE";
	default:
		return NULL;
	}
}

static bool announces_body(struct evhttp_request *req)
{
	struct evkeyvalq *in = evhttp_request_get_input_headers(req);
	const char *length = evhttp_find_header(in, "Content-Length");

	return evhttp_find_header(in, "Transfer-Encoding") || (length && strtoull(length, NULL, 10) > 0);
}

/* ---- requests */

struct http_later {
	struct http_request rq;
	struct http *http;
	struct evhttp_request *req; /* NULL: nobody waits for the answer any more */
	struct evkeyvalq params;
	char *path, *body;
	struct http_reply reply;
	bool handling;	   /* the handler has not returned */
	bool asked, later; /* it has called http_later(); and the answer is not there yet */
};

static void later_free(struct http_later *l)
{
	evhttp_clear_headers(&l->params);
	free(l->body);
	free(l->path);
	free(l);
}

/* As on_gone(). */
static void on_asker_gone(struct evhttp_connection *con, void *arg)
{
	struct http_later *l = arg;

	if (!evhttp_request_get_connection(l->req))
		evhttp_request_free(l->req);
	l->req = NULL;
}

struct http_later *http_later(const struct http_request *rq)
{
	struct http_later *l = (struct http_later *)((char *)rq - offsetof(struct http_later, rq));
	struct evhttp_connection *con = evhttp_request_get_connection(l->req);
	struct timeval patience = {.tv_sec = PATIENCE_S};

	l->asked = l->later = true;
	bounds(con, NULL, &patience);
	evhttp_connection_set_closecb(con, on_asker_gone, l);
	return l;
}

/* The answer is there. */
static void respond(struct http_later *l)
{
	struct timeval idle = {.tv_sec = IDLE_S};

	loop_doing("an answer");
	if (l->req && l->asked) {
		evhttp_connection_set_closecb(evhttp_request_get_connection(l->req), NULL, NULL);
		bounds(evhttp_request_get_connection(l->req), &idle, &idle);
	}
	if (l->req && l->reply.stream.next) {
		send_stream(l->http, l->req, &l->reply);
	} else if (l->req) {
		send_reply(l->req, &l->reply);
	} else {
		if (l->reply.stream.next)
			l->reply.stream.free(l->reply.stream.arg);
		free(l->reply.text);
		json_decref(l->reply.json);
	}
	later_free(l);
}

void http_answer(struct http_later *l, struct http_reply *reply)
{
	l->later = false;
	l->reply = *reply;
	if (!l->handling)
		respond(l);
}

static void handle(struct http_later *l, const char *raw)
{
	struct evbuffer *in = evhttp_request_get_input_buffer(l->req);
	size_t path_len = 0;

	loop_doing("a request");
	l->reply.status = HTTP_OK;
	l->path = evhttp_uridecode(raw, 0, &path_len);
	l->rq.body_len = evbuffer_get_length(in);
	l->body = malloc(l->rq.body_len + 1);
	if (l->path && strlen(l->path) != path_len) {
		l->reply.status = HTTP_BADREQUEST;
		l->reply.json = refusal("the path has a zero byte");
	} else if (l->path && l->body) {
		evbuffer_copyout(in, l->body, l->rq.body_len);
		l->body[l->rq.body_len] = '\0';
		l->rq.path = l->path;
		l->rq.body = l->body;
		l->handling = true;
		l->http->fn(l->http->arg, &l->rq, &l->reply);
		l->handling = false;
	}
	if (!l->later)
		respond(l);
}

static void on_request(struct evhttp_request *req, void *arg)
{
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
	const char *raw = uri ? evhttp_uri_get_path(uri) : NULL, *query = uri ? evhttp_uri_get_query(uri) : NULL;
	const char *method = method_name(req);
	struct http_later *l;

	if (!method || !raw) {
		refuse(req, HTTP_BADMETHOD, "only GET, POST and DELETE of a path are understood");
		return;
	}
	/* Some versions of libevent leave the body of a DELETE unread: it must not be taken for the next request. */
	if (announces_body(req) && (strcmp(method, "GET") == 0 || !evbuffer_get_length(evhttp_request_get_input_buffer(req)))) {
		refuse(req, HTTP_BADREQUEST, "a body is for POST and DELETE (which takes ?item=JSON as well)");
		return;
	}
	l = calloc(1, sizeof(*l));
	if (!l) {
		evhttp_send_error(req, HTTP_INTERNAL, NULL);
		return;
	}
	l->http = arg;
	l->req = req;
	l->rq.method = method;
	l->rq.query = &l->params;
	TAILQ_INIT(&l->params);
	if (query && evhttp_parse_query_str(query, &l->params)) {
		refuse(req, HTTP_BADREQUEST, "the query after `?` cannot be read");
		later_free(l);
		return;
	}
	handle(l, raw);
}

static int listen_on(struct http *h, struct event_base *base, const char *path)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	struct evconnlistener *listener;
	mode_t mask;
	int code;

	if (strlen(path) >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	strcpy(sa.sun_path, path);
	if (unlink(path) && errno != ENOENT)
		return -errno;
	mask = umask(0117); /* never open to others, not even between bind() and chmod() */
	listener = evconnlistener_new_bind(base, NULL, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 64,
					   (struct sockaddr *)&sa, sizeof(sa));
	code = errno;
	umask(mask);
	if (!listener)
		return code ? -code : -EIO;
	if (!evhttp_bind_listener(h->server, listener)) {
		evconnlistener_free(listener);
		return -ENOMEM;
	}
	return 0;
}

void http_close(struct http *h)
{
	if (!h)
		return;
	if (h->server)
		evhttp_free(h->server);
	if (h->turn)
		event_free(h->turn);
	if (h->path)
		unlink(h->path);
	free(h->path);
	free(h);
}

int http_open(struct event_base *base, const char *path, http_handler fn, void *arg, struct http **ret, struct errs *errs)
{
	struct http *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return errs_fail(errs, ENOMEM, "out of memory");
	h->fn = fn;
	h->arg = arg;
	TAILQ_INIT(&h->ready);
	h->server = evhttp_new(base);
	h->turn = evtimer_new(base, on_turn, h);
	if (!h->server || !h->turn) {
		http_close(h);
		return errs_fail(errs, ENOMEM, "out of memory");
	}
	evhttp_set_max_body_size(h->server, HTTP_BODY_MAX);
	evhttp_set_max_headers_size(h->server, HEADERS_MAX);
	evhttp_set_timeout(h->server, IDLE_S);
	/* Refused in on_request(), with words: libevent's own refusals are pages of HTML. */
	evhttp_set_allowed_methods(h->server, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_DELETE | EVHTTP_REQ_HEAD |
						      EVHTTP_REQ_PUT | EVHTTP_REQ_OPTIONS | EVHTTP_REQ_TRACE |
						      EVHTTP_REQ_CONNECT | EVHTTP_REQ_PATCH);
	evhttp_set_gencb(h->server, on_request, h);
	r = listen_on(h, base, path);
	if (!r) {
		h->path = strdup(path);
		*ret = h;
		return 0;
	}
	http_close(h);
	return errs_fail(errs, -r, "the socket %s cannot be opened: %s", path, strerror(-r));
}
