#include "relay/websocket.h"

#include "base/log.h"
#include "relay/bytes.h"
#include "relay/channel.h"
#include "relay/conn.h"
#include "relay/json.h"
#include "relay/publisher.h"
#include "relay/render.h"
#include "relay/request.h"
#include "relay/response.h"
#include "relay/route.h"
#include "relay/subscriber.h"
#include "relay/transport.h"
#include "relay/utf8.h"
#include "relay/worker.h"
#include "relay/wsdeflate.h"
#include "relay/wsframe.h"
#include "relay/wshandshake.h"
#include "store/message.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* What is under way; there is none while the client is silent. */
struct conversation {
	struct wsframe_reader *reader;   /* a frame, or a message in several, is not whole yet */
	struct publication *publication; /* is not answered yet */
};

/* A small message is not made smaller by as much as its deflating costs. */
#define DEFLATE_MIN 64

/* ---- the handshake ----------------------------------------------------------------- */

/* "http://host:port" or "https://host:port" of the request itself. */
static bool
is_own_origin(const struct request *req)
{
	struct slice origin = request_header(req, HEADER_ORIGIN);
	struct slice host = request_header(req, HEADER_HOST);
	const char *colon = origin.p == NULL ? NULL : memchr(origin.p, ':', origin.len);
	size_t scheme_len;

	if (colon == NULL || host.len == 0)
		return false;
	scheme_len = (size_t)(colon - origin.p) + 3;
	return origin.len == scheme_len + host.len && memcmp(colon, "://", 3) == 0 &&
	       strncasecmp(origin.p + scheme_len, host.p, host.len) == 0;
}

/* By enum ws_meta, but for the first. */
static const char *const protocols[] = {"ws+meta.nchan", "ws+meta.pushserver", NULL};

/* What the request says of WebSockets, and what of it this location does. */
static struct wshandshake
handshake_of(const struct subscriber *sub, const struct request *req)
{
	struct wshandshake hs = {.protocols = protocols};
	struct slice name, value;

	for (size_t i = 0; request_header_at(req, i, &name, &value); i++)
		wshandshake_field(&hs, name, value);
	hs.deflate &= sub->loc->deflate;
	return hs;
}

static unsigned
websocket_accept(
    struct subscriber *sub, const struct request *req, const struct route *route, const char **why)
{
	const struct wshandshake hs = handshake_of(sub, req);
	unsigned status;

	if (sub->conn->http10 || !wshandshake_asked(&hs)) {
		*why = "a WebSocket is asked for by a GET of HTTP/1.1 with Upgrade and Connection";
		return 400;
	}
	status = wshandshake_check(&hs, why);
	if (status != 101)
		return status;
	/* Cookies may go with a handshake from any page, and CORS does not apply to it. */
	if (sub->loc->cors.allow_credentials && route->foreign_origin && !is_own_origin(req)) {
		*why = "this origin may not open a WebSocket here (see `allow_origin`)";
		return 403;
	}
	sub->deflate_bits = hs.deflate ? hs.window_bits : 0;
	sub->meta = hs.protocol == NULL           ? WS_META_NONE
		    : hs.protocol == protocols[0] ? WS_META_NCHAN
						  : WS_META_PUSHSERVER;
	return 0;
}

static void
websocket_begin(struct subscriber *sub, const struct request *req, struct text *t)
{
	const struct wshandshake hs = handshake_of(sub, req);
	struct worker *w = sub->conn->worker;
	char lines[WSHANDSHAKE_LINES_MAX];
	int len = wshandshake_lines(&hs, lines);

	TEXT_LIT(t, "HTTP/1.1 101 Switching Protocols\r\n");
	text_add(t, worker_head_lines(w), w->head_lines_len);
	/* Without libcrypto's SHA-1 clients refuse what has no Sec-WebSocket-Accept. */
	text_add(t, lines, len < 0 ? 0 : (size_t)len);
	TEXT_LIT(t, "\r\n");
}

/* ---- what the client gets ---------------------------------------------------------- */

/* The lines before a message, by the subprotocol. */
static void
add_meta(struct text *t, const struct message *msg, const struct render_variant *variant)
{
	const bool ours = variant->meta == WS_META_PUSHSERVER;

	TEXT_LIT(t, "id: ");
	transport_add_id(t, msg);
	TEXT_LIT(t, "\n");
	if (msg->has_content_type) {
		TEXT_LIT(t, "content-type: ");
		text_add(t, message_content_type(msg), msg->content_type_len);
		TEXT_LIT(t, "\n");
	}
	if (ours || variant->say_channel) {
		TEXT_LIT(t, "channel: ");
		transport_add_channel(t, msg);
		TEXT_LIT(t, "\n");
	}
	if (ours && msg->event_len > 0) {
		TEXT_LIT(t, "event: ");
		text_add(t, message_event(msg), msg->event_len);
		TEXT_LIT(t, "\n");
	}
	if (ours && variant->gap) {
		TEXT_LIT(t, "gap: ");
		response_number(t, variant->lost > 0 ? (int64_t)variant->lost : 1);
		TEXT_LIT(t, "\n");
	}
	TEXT_LIT(t, "\n");
}

static bool
is_octet_stream(const struct message *msg)
{
	static const char name[] = "application/octet-stream";
	const size_t len = sizeof(name) - 1;

	return msg->content_type_len >= len &&
	       strncasecmp(message_content_type(msg), name, len) == 0 &&
	       (msg->content_type_len == len || message_content_type(msg)[len] == ';' ||
		   message_content_type(msg)[len] == ' ');
}

/* A frame around bytes, deflated where that makes them fewer. */
static struct bytes *
frame(enum wsframe_type type, const char *p, size_t len, unsigned deflate_bits)
{
	char head[WSFRAME_HEAD_MAX];
	char *deflated = NULL;
	size_t shorter = 0, head_len;
	struct rendering r;

	if (deflate_bits > 0 && len >= DEFLATE_MIN && (deflated = malloc(len)) != NULL)
		shorter = wsdeflate_message(p, len, deflate_bits, deflated);
	if (shorter > 0) {
		p = deflated;
		len = shorter;
	}
	head_len = wsframe_head(type, len, shorter > 0, head);
	if (rendering_begin(&r, head_len + len)) {
		text_add(&r.t, head, head_len);
		text_add(&r.t, p, len);
	}
	free(deflated);
	return r.bytes == NULL ? NULL : rendering_end(&r);
}

static struct bytes *
websocket_render(struct worker *w UNUSED, struct message *const *msgs, unsigned n UNUSED,
    const struct render_variant *variant)
{
	const struct message *msg = msgs[0];
	struct bytes *bytes = NULL;
	struct payload payload;
	enum wsframe_type type;
	struct rendering r;

	if (payload_of(&payload, msg, variant->loc) < 0)
		return NULL;
	type = is_octet_stream(msg) || !utf8_valid(payload.p, payload.len) ? WSFRAME_BINARY
									   : WSFRAME_TEXT;
	if (variant->meta == WS_META_NONE) {
		bytes = frame(type, payload.p, payload.len, variant->deflate_bits);
		goto out;
	}
	if (!rendering_begin(&r, 256 + msg->content_type_len + 3 * msg->channel->key.len +
				     msg->event_len + payload.len))
		goto out;
	add_meta(&r.t, msg, variant);
	/* A header's value need not be UTF-8, and a text must be. */
	if (type == WSFRAME_TEXT && !utf8_valid(r.t.start, text_len(&r.t)))
		type = WSFRAME_BINARY;
	text_add(&r.t, payload.p, payload.len);
	r.bytes = rendering_end(&r);
	if (r.bytes != NULL)
		bytes = frame(type, r.bytes->data, r.bytes->len, variant->deflate_bits);
	bytes_unref(r.bytes);
out:
	payload_free(&payload);
	return bytes;
}

static void
add_frame(struct text *t, enum wsframe_type type, const char *p, size_t len)
{
	char head[WSFRAME_HEAD_MAX];

	text_add(t, head, wsframe_head(type, len, false, head));
	text_add(t, p, len);
}

static void
websocket_ping(struct subscriber *sub, struct text *t)
{
	/* A frame that clients answer by themselves; a text too, for who reads in scripts. */
	add_frame(t, WSFRAME_PING, "", 0);
	if (sub->loc->ping_message != NULL)
		add_frame(t, WSFRAME_TEXT, sub->loc->ping_message, strlen(sub->loc->ping_message));
	sub->pinged = sub->loc->ping_timeout_ms > 0;
}

/* Status of a poll that ends for the same reason: close code (PROTOCOL, section 9). */
static unsigned
close_code(const struct subscriber *sub, unsigned status)
{
	switch (status) {
	case 408:
		return 1000;
	case 410:
		return 1001;
	case 413:
		return sub->begun ? 1008 : 1009;
	case 503:
		return sub->conn->worker->draining ? 1001 : 1011;
	case 507:
		return 1011;
	default:
		return 1008;
	}
}

static void
websocket_end_stream(struct subscriber *sub, unsigned status, const char *why, struct text *t)
{
	char reason[256], close[2 + WSFRAME_CONTROL_MAX];
	struct text r = text_in(reason, sizeof(reason));
	const unsigned code = close_code(sub, status);

	if (code == 1008) {
		/* As push-stream has it. */
		TEXT_LIT(&r, "{\"http_status\": ");
		response_number(&r, status);
		TEXT_LIT(&r, ", \"explain\": ");
		json_string(&r, why, strlen(why));
		TEXT_LIT(&r, "}");
	} else {
		response_number(&r, status);
		TEXT_LIT(&r, " ");
		text_str(&r, response_reason(status));
	}
	text_add(t, close, wsframe_close((uint16_t)code, reason, text_len(&r), close));
}

/* ---- what the client sends --------------------------------------------------------- */

void
websocket_free(struct subscriber *sub)
{
	struct conversation *c = sub->conversation;

	if (c == NULL)
		return;
	if (c->publication != NULL)
		publisher_forget(c->publication);
	wsframe_reader_free(c->reader);
	free(c);
	sub->conversation = NULL;
}

bool
websocket_is_publishing(const struct subscriber *sub)
{
	return sub->conversation != NULL && sub->conversation->publication != NULL;
}

/* Ends it with a close frame of this code. */
static void
close_with(struct subscriber *sub, unsigned code, const char *reason, size_t len)
{
	char close[2 + WSFRAME_CONTROL_MAX];

	subscriber_finish(sub, close, wsframe_close((uint16_t)code, reason, len, close));
}

/* What is under way, made if there is nothing yet; NULL when out of memory. */
static struct conversation *
conversation_of(struct subscriber *sub)
{
	if (sub->conversation == NULL)
		sub->conversation = calloc(1, sizeof(*sub->conversation));
	return sub->conversation;
}

/* Nothing is kept for a client that is silent. */
static void
forget_conversation(struct subscriber *sub)
{
	struct conversation *c = sub->conversation;

	if (c != NULL && c->reader == NULL && c->publication == NULL) {
		free(c);
		sub->conversation = NULL;
	}
}

/* A message of the client was taken, or not. False: the subscriber is gone. */
static bool
published(struct subscriber *sub, unsigned status)
{
	static const char too_large[] = "the message is larger than the store may be";
	static const char failed[] = "the message was not taken";

	if (status < 300)
		return true;
	if (status == 413)
		close_with(sub, 1009, too_large, sizeof(too_large) - 1);
	else
		close_with(sub, 1011, failed, sizeof(failed) - 1);
	return false;
}

void
websocket_published(struct conn *conn, unsigned status)
{
	struct subscriber *sub = conn->subscriber;

	sub->conversation->publication = NULL;
	forget_conversation(sub);
	/* While something is being sent, that goes first; it ends when it is out. */
	if (conn->out != NULL && status >= 300)
		subscriber_refuse(sub, status == 413 ? 507 : status, "the message was not taken");
	else if (published(sub, status) && subscriber_reads(conn))
		worker_resume(conn->worker, conn);
}

/* To the first of its channels that is left. False: the subscriber is gone. */
static bool
publish(struct subscriber *sub, enum wsframe_type type, const struct wsframe_event *event)
{
	static const char text[] = "text/plain", binary[] = "application/octet-stream";
	const bool is_text = type == WSFRAME_TEXT;
	const struct message_parts parts = {
	    .content_type = {is_text ? text : binary,
		is_text ? sizeof(text) - 1 : sizeof(binary) - 1},
	    .body = {event->data, event->len},
	};
	struct conversation *c = conversation_of(sub);
	const struct channel *ch = NULL;
	unsigned status = 503;

	for (unsigned i = 0; i < sub->n_subs && ch == NULL; i++)
		ch = sub->subs[i].channel;
	if (c != NULL && ch != NULL)
		status = publisher_publish(
		    sub->conn, sub->loc, ch->store, &ch->id->key, &parts, &c->publication);
	return status == 0 || published(sub, status);
}

/* False: the subscriber is gone. */
static bool
answer_own(struct subscriber *sub, enum wsframe_type type, const char *p, size_t len)
{
	struct worker *w = sub->conn->worker;
	struct text t = text_in(w->text_buf, w->text_size);

	add_frame(&t, type, p, len);
	return conn_write_own(sub->conn, t.start, text_len(&t)) == 0;
}

static bool
is_heartbeat(const struct location *loc, const struct wsframe_event *event)
{
	return loc->heartbeat_in != NULL && event->data != NULL &&
	       event->len == strlen(loc->heartbeat_in) &&
	       memcmp(event->data, loc->heartbeat_in, event->len) == 0;
}

/* False: the subscriber is gone. */
static bool
on_frame(struct subscriber *sub, enum wsframe_type type, const struct wsframe_event *event)
{
	const struct location *loc = sub->loc;

	switch (type) {
	case WSFRAME_MORE:
	case WSFRAME_PONG:
		break;
	case WSFRAME_PING:
		return answer_own(sub, WSFRAME_PONG, event->data, event->len);
	case WSFRAME_TEXT:
	case WSFRAME_BINARY:
		if (type == WSFRAME_TEXT && is_heartbeat(loc, event))
			return answer_own(
			    sub, WSFRAME_TEXT, loc->heartbeat_out, strlen(loc->heartbeat_out));
		if (loc->allow_publish)
			return publish(sub, type, event);
		break;
	case WSFRAME_CLOSE:
		/* The same code comes back (RFC 6455, 5.5.1). */
		close_with(sub, event->code, "", 0);
		return false;
	case WSFRAME_ERROR:
		close_with(sub, event->code, event->why, strlen(event->why));
		return false;
	}
	return true;
}

size_t
websocket_input(struct subscriber *sub, char *data, size_t len)
{
	const struct location *loc = sub->loc;
	struct conn *conn = sub->conn;
	const struct wsframe_limits limits = {
	    .message_max = loc->max_body,
	    .keep_max = loc->allow_publish          ? loc->max_body
			: loc->heartbeat_in != NULL ? strlen(loc->heartbeat_in)
						    : 0,
	    .deflate = sub->deflate_bits > 0,
	};
	enum wsframe_type type = WSFRAME_PONG;
	struct wsframe_event event;
	size_t at = 0, used;

	while (type != WSFRAME_MORE && subscriber_reads(conn)) {
		struct wsframe_reader *reader =
		    sub->conversation == NULL ? NULL : sub->conversation->reader;

		type = wsframe_read(&reader, &limits, data + at, len - at, &used, &event);
		at += used;
		if (reader != NULL && conversation_of(sub) == NULL) {
			wsframe_reader_free(reader);
			conn_close(conn, "out of memory");
			break;
		}
		if (sub->conversation != NULL)
			sub->conversation->reader = reader;
		if (!on_frame(sub, type, &event))
			break;
	}
	if (!conn_subscribes(conn))
		return at;
	/* It is not read for now, for it publishes or is behind. Asked once more the reader
	 * gives up what the event was in, which is dealt with. */
	if (type != WSFRAME_MORE && sub->conversation != NULL && sub->conversation->reader != NULL)
		(void)!wsframe_read(
		    &sub->conversation->reader, &limits, data + at, 0, &used, &event);
	forget_conversation(sub);
	return at;
}

const struct transport websocket_transport = {
    .name = "websocket",
    .kind = TRANSPORT_WEBSOCKET,
    .stream = true,
    .accept = websocket_accept,
    .render = websocket_render,
    .begin = websocket_begin,
    .ping = websocket_ping,
    .end = websocket_end_stream,
};
