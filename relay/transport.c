#include "relay/transport.h"

#include "relay/bytes.h"
#include "relay/conn.h"
#include "relay/position.h"
#include "relay/render.h"
#include "relay/request.h"
#include "relay/response.h"
#include "relay/subscriber.h"
#include "relay/template.h"
#include "relay/worker.h"
#include "store/message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* "ffffffffffffffff\r\n": the longest chunk size. */
#define CHUNK_SIZE_MAX 18

const struct transport *
transport_of(enum transport_kind kind)
{
	static const struct transport *const transports[TRANSPORTS] = {
	    [TRANSPORT_LONGPOLL] = &longpoll_transport,
	    [TRANSPORT_JSONP] = &jsonp_transport,
	    [TRANSPORT_EVENTSOURCE] = &eventstream_transport,
	    [TRANSPORT_WEBSOCKET] = &websocket_transport,
	    [TRANSPORT_STREAM] = &httpstream_transport,
	    [TRANSPORT_MULTIPART] = &multipart_transport,
	};

	return transports[kind];
}

/* ---- the choice -------------------------------------------------------------------- */

static bool
slice_is(struct slice s, const char *text)
{
	return s.len == strlen(text) && strncasecmp(s.p, text, s.len) == 0;
}

static struct slice
trimmed(struct slice s)
{
	while (s.len > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
		s = (struct slice){s.p + 1, s.len - 1};
	while (s.len > 0 && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\t'))
		s.len--;
	return s;
}

/* "q=0", "q=0.000": not wanted (RFC 9110, 12.4.2). */
static bool
is_unwanted(struct slice parameter)
{
	if (parameter.len < 3 || (parameter.p[0] | 0x20) != 'q' || parameter.p[1] != '=')
		return false;
	for (size_t i = 2; i < parameter.len; i++)
		if (parameter.p[i] != '0' && parameter.p[i] != '.')
			return false;
	return true;
}

/* Cuts s at the first c; *rest is what is behind it, NULL if there is none. */
static struct slice
cut(struct slice s, char c, struct slice *rest)
{
	const char *at = s.p == NULL ? NULL : memchr(s.p, c, s.len);

	if (at == NULL) {
		*rest = (struct slice){NULL, 0};
		return s;
	}
	*rest = (struct slice){at + 1, s.len - (size_t)(at - s.p) - 1};
	return (struct slice){s.p, (size_t)(at - s.p)};
}

/* Whether a list names this, and does not say that it is unwanted. */
static bool
list_names(struct slice list, const char *what)
{
	struct slice element, parameter;

	while (list.p != NULL) {
		element = cut(list, ',', &list);
		if (!slice_is(trimmed(cut(element, ';', &parameter)), what))
			continue;
		while (parameter.p != NULL && !is_unwanted(trimmed(cut(parameter, ';', &element))))
			parameter = element;
		if (parameter.p == NULL)
			return true;
	}
	return false;
}

/* Whether any of the headers of this name names this. */
static bool
any_names(const struct request *req, const char *header_name, const char *what)
{
	struct slice name, value;

	for (size_t i = 0; request_header_at(req, i, &name, &value); i++)
		if (slice_is(name, header_name) && list_names(value, what))
			return true;
	return false;
}

static inline bool
names(const struct request *req, enum request_header header, const char *header_name,
    const char *what)
{
	struct slice value = request_header(req, header);

	if (value.p == NULL)
		return false;
	return request_header_twice(req, header) ? any_names(req, header_name, what)
						 : list_names(value, what);
}

static bool
allows(const struct location *loc, enum transport_kind kind)
{
	return (loc->transports & 1u << kind) != 0;
}

static bool
is_only(const struct location *loc, enum transport_kind *only)
{
	if ((loc->transports & (loc->transports - 1)) != 0)
		return false;
	for (unsigned kind = 0; kind < TRANSPORTS; kind++) {
		if (loc->transports == 1u << kind) {
			*only = (enum transport_kind)kind;
			return true;
		}
	}
	return false;
}

unsigned
transport_choose(const struct location *loc, const struct request *req, enum transport_kind *kind,
    const char **why)
{
	if (names(req, HEADER_UPGRADE, "Upgrade", "websocket")) {
		*kind = TRANSPORT_WEBSOCKET;
	} else if (is_only(loc, kind)) {
		if (*kind != TRANSPORT_WEBSOCKET)
			return 0;
		*why = "this location has WebSockets alone: Upgrade is missing";
		return 426;
	} else if (names(req, HEADER_ACCEPT, "Accept", "text/event-stream")) {
		*kind = TRANSPORT_EVENTSOURCE;
	} else if (names(req, HEADER_ACCEPT, "Accept", "multipart/mixed")) {
		*kind = TRANSPORT_MULTIPART;
	} else if (names(req, HEADER_TE, "TE", "chunked")) {
		*kind = TRANSPORT_STREAM;
	} else if (allows(loc, TRANSPORT_JSONP) && request_query_value(req, "callback").p != NULL) {
		*kind = TRANSPORT_JSONP;
	} else {
		*kind = TRANSPORT_LONGPOLL;
	}
	if (allows(loc, *kind))
		return 0;
	*why = "this location does not have the transport asked for (see `transports`)";
	return 406;
}

/* ---- what transports have in common ------------------------------------------------ */

int
payload_of(struct payload *payload, const struct message *msg, const struct location *loc)
{
	struct template_values values;
	struct text t;

	*payload = (struct payload){.p = message_body(msg), .len = msg->body_len};
	if (loc->message_template == NULL)
		return 0;
	values = (struct template_values){
	    .number = msg->number,
	    .id = msg->id,
	    .channel = {(const char *)msg->channel->key.bytes, msg->channel->key.len},
	    .text = {message_body(msg), msg->body_len},
	    .event_id = {message_event_id(msg), msg->event_id_len},
	    .event_type = {message_event(msg), msg->event_len},
	};
	payload->len = template_length(loc->message_template, &values);
	payload->p = payload->made = malloc(payload->len + 1);
	if (payload->made == NULL)
		return -1;
	t = text_in(payload->made, payload->len);
	template_write(loc->message_template, &values, &t);
	return 0;
}

void
payload_free(struct payload *payload)
{
	free(payload->made);
}

/* "1a" */
static size_t
format_chunk_size(size_t size, char out[CHUNK_SIZE_MAX])
{
	static const char hex[] = "0123456789abcdef";
	unsigned shift = 0;
	size_t len = 0;

	while (shift + 4 < sizeof(size) * 8 && size >> (shift + 4) != 0)
		shift += 4;
	for (;; shift -= 4) {
		out[len++] = hex[size >> shift & 15];
		if (shift == 0)
			break;
	}
	out[len++] = '\r';
	out[len++] = '\n';
	return len;
}

size_t
chunk_open(struct text *t, bool framed)
{
	const size_t mark = text_len(t);

	/* The size is not known yet: what follows is moved up to it. */
	if (framed)
		transport_add_blanks(t, CHUNK_SIZE_MAX);
	return mark;
}

void
chunk_close(struct text *t, size_t mark, bool framed)
{
	char *const at = t->start + mark, *const content = at + CHUNK_SIZE_MAX;
	char size[CHUNK_SIZE_MAX];
	size_t size_len, len;

	if (!framed || !text_ok(t))
		return;
	len = (size_t)(t->at - content);
	if (len == 0) {
		t->at = at; /* it would be the last one */
		return;
	}
	size_len = format_chunk_size(len, size);
	memmove(at + size_len, content, len);
	memcpy(at, size, size_len);
	t->at = at + size_len + len;
	TEXT_LIT(t, "\r\n");
}

bool
rendering_begin(struct rendering *r, size_t room)
{
	/* struct conn.out_at counts what is sent of it. */
	r->bytes = room <= UINT32_MAX ? bytes_new(room) : NULL;
	if (r->bytes == NULL)
		return false;
	r->t = text_in(r->bytes->data, room);
	return true;
}

struct bytes *
rendering_end(struct rendering *r)
{
	/* Too little room is our mistake, and nothing half may go out. */
	if (!text_ok(&r->t)) {
		bytes_unref(r->bytes);
		return NULL;
	}
	r->bytes->len = text_len(&r->t);
	return r->bytes;
}

void
transport_add_blanks(struct text *t, size_t n)
{
	if (n > (size_t)(t->end - t->at)) {
		t->full = true;
		return;
	}
	memset(t->at, ' ', n);
	t->at += n;
}

void
transport_add_channel(struct text *t, const struct message *msg)
{
	const struct channel_key *key = &msg->channel->key;

	percent_encode(t, (const char *)key->bytes, key->len);
}

void
transport_add_id(struct text *t, const struct message *msg)
{
	char id[MSGID_TEXT_MAX];

	text_add(t, id, msgid_format(msg->id, id));
}

void
transport_head(struct subscriber *sub, const char *content_type, struct text *t)
{
	struct conn *conn = sub->conn;

	response_begin(t, conn->worker, 200);
	response_field(t, "Content-Type", content_type);
	TEXT_LIT(t, "Cache-Control: no-cache, no-transform\r\nX-Accel-Buffering: no\r\n");
	response_cors(t, &sub->loc->cors, sub->cors_block, CORS_VARY_NONE);
	if (conn->http10) {
		conn->close_after = true;
		TEXT_LIT(t, "Connection: close\r\n");
	} else {
		TEXT_LIT(t, "Transfer-Encoding: chunked\r\n");
		if (conn->close_after)
			TEXT_LIT(t, "Connection: close\r\n");
	}
}
