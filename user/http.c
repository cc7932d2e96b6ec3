/* http.c: between libevent's HTTP server and api.c.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <event2/listener.h>
#include "http.h"
#include "loop.h"

#define HEADERS_MAX (16 << 10)
#define IDLE_S	    60

struct http {
	struct evhttp *server;
	http_handler fn;
	void *arg;
	char *path;
};

const char *http_query(const struct http_request *rq, const char *name)
{
	return evhttp_find_header(rq->query, name);
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
		evbuffer_add(out, text, strlen(text));
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
	struct evhttp_request *req;
	struct http_stream stream;
	struct event *timer;
};

static void streaming_free(struct streaming *s)
{
	if (s->timer)
		event_free(s->timer);
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

static void piece_later(struct evhttp_connection *con, void *arg)
{
	struct timeval at_once = {0};
	struct streaming *s = arg;

	evtimer_add(s->timer, &at_once);
}

static void on_piece(evutil_socket_t fd, short what, void *arg)
{
	struct streaming *s = arg;
	struct evhttp_connection *con = evhttp_request_get_connection(s->req);
	struct evbuffer *out = evbuffer_new();
	bool some;
	int more;

	loop_doing("a listing");
	more = out ? s->stream.next(s->stream.arg, out) : 0;
	some = out && evbuffer_get_length(out);

	if (some && more)
		evhttp_send_reply_chunk_with_cb(s->req, out, piece_later, s);
	else if (some)
		evhttp_send_reply_chunk(s->req, out);
	else if (more)
		piece_later(con, s);
	if (out)
		evbuffer_free(out);
	if (more)
		return;
	evhttp_connection_set_closecb(con, NULL, NULL);
	evhttp_send_reply_end(s->req);
	streaming_free(s);
}

static void send_stream(struct evhttp_request *req, struct http_reply *reply)
{
	struct evhttp_connection *con = evhttp_request_get_connection(req);
	struct streaming *s = calloc(1, sizeof(*s));

	if (s)
		s->timer = evtimer_new(evhttp_connection_get_base(con), on_piece, s);
	if (!s || !s->timer) {
		free(s);
		reply->stream.free(reply->stream.arg);
		evhttp_send_error(req, HTTP_INTERNAL, NULL);
		return;
	}
	s->req = req;
	s->stream = reply->stream;
	evhttp_connection_set_closecb(con, on_gone, s);
	evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Type", "application/json");
	evhttp_send_reply_start(req, reply->status, NULL);
	piece_later(con, s);
}

static json_t *refusal(const char *text)
{
	return json_pack("{s:[{s:n, s:i, s:n, s:s, s:s}]}", "errors", "file", "line", 0, "key", "message", text, "text", text);
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

static void on_request(struct evhttp_request *req, void *arg)
{
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
	struct evbuffer *in = evhttp_request_get_input_buffer(req);
	const char *raw = uri ? evhttp_uri_get_path(uri) : NULL, *query = uri ? evhttp_uri_get_query(uri) : NULL;
	struct http_request rq = {.method = method_name(req)};
	struct http_reply reply = {.status = HTTP_OK};
	struct evkeyvalq params = {0};
	struct http *h = arg;
	size_t path_len = 0;
	char *path, *body;

	if (!rq.method || !raw) {
		refuse(req, HTTP_BADMETHOD, "only GET, POST and DELETE of a path are understood");
		return;
	}
	/* Some versions of libevent leave the body of a DELETE unread: it must not be taken for the next request. */
	if (announces_body(req) && (strcmp(rq.method, "GET") == 0 || !evbuffer_get_length(in))) {
		refuse(req, HTTP_BADREQUEST, "a body is for POST and DELETE (which takes ?item=JSON as well)");
		return;
	}
	if (query && evhttp_parse_query_str(query, &params)) {
		refuse(req, HTTP_BADREQUEST, "the query after `?` cannot be read");
		return;
	}
	rq.query = &params;
	path = evhttp_uridecode(raw, 0, &path_len);
	rq.body_len = evbuffer_get_length(in);
	body = malloc(rq.body_len + 1);
	if (path && strlen(path) != path_len) {
		reply.status = HTTP_BADREQUEST;
		reply.json = refusal("the path has a zero byte");
	} else if (path && body) {
		evbuffer_copyout(in, body, rq.body_len);
		body[rq.body_len] = '\0';
		rq.path = path;
		rq.body = body;
		h->fn(h->arg, &rq, &reply);
	}
	if (reply.stream.next)
		send_stream(req, &reply);
	else
		send_reply(req, &reply);
	evhttp_clear_headers(&params);
	free(body);
	free(path);
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

int http_open(struct event_base *base, const char *path, http_handler fn, void *arg, struct http **ret, struct errs *errs)
{
	struct http *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return errs_fail(errs, ENOMEM, "out of memory");
	h->fn = fn;
	h->arg = arg;
	h->server = evhttp_new(base);
	if (!h->server) {
		free(h);
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
	evhttp_free(h->server);
	free(h);
	return errs_fail(errs, -r, "the socket %s cannot be opened: %s", path, strerror(-r));
}

void http_close(struct http *h)
{
	if (!h)
		return;
	evhttp_free(h->server);
	if (h->path)
		unlink(h->path);
	free(h->path);
	free(h);
}
