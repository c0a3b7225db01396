/*
 * ws_reading.h - what a client's bytes mean, as text that can be compared: read by
 * relay/wsframe.c in pieces, and by wslay. For the fuzz target and the unit test.
 *
 * A line for each event, such as "text 5:Hello", and one for how it ended: "idle",
 * "incomplete", "closed" or "error 1002".
 */
#ifndef FUZZ_WS_READING_H
#define FUZZ_WS_READING_H

#include "fuzz.h"

#include "relay/utf8.h"
#include "relay/wsframe.h"

#include <stdbool.h>
#include <wslay/wslay.h>

struct ws_transcript {
	char *text;
	size_t len, cap;
	size_t before_last; /* length of text before the last event */
	size_t events;
	size_t used;     /* bytes read, up to an end */
	unsigned error;  /* the close code, or 0 */
	const char *why; /* with it */
	unsigned code;   /* of the peer's close frame, or 0 */
	bool incomplete; /* with no error, there is no end */
	bool in_close;   /* wslay: it was reading a close frame */
};

static inline void
ws_say_bytes(struct ws_transcript *tr, const void *bytes, size_t len)
{
	if (tr->len + len + 1 > tr->cap) {
		tr->cap = (tr->len + len) * 2 + 256;
		tr->text = realloc(tr->text, tr->cap);
		if (tr->text == NULL)
			abort();
	}
	if (len > 0)
		memcpy(tr->text + tr->len, bytes, len);
	tr->len += len;
	tr->text[tr->len] = '\0';
}

static inline void
ws_say(struct ws_transcript *tr, const char *what, long long number)
{
	char text[64];

	snprintf(text, sizeof(text), "%s %lld\n", what, number);
	ws_say_bytes(tr, text, strlen(text));
}

/* data is NULL for a message that was not given out. */
static inline void
ws_say_data(struct ws_transcript *tr, const char *what, const char *data, size_t len)
{
	char text[64];

	if (data == NULL) {
		snprintf(text, sizeof(text), "%s not kept\n", what);
		ws_say_bytes(tr, text, strlen(text));
		return;
	}
	snprintf(text, sizeof(text), "%s %zu:", what, len);
	ws_say_bytes(tr, text, strlen(text));
	ws_say_bytes(tr, data, len);
	ws_say_bytes(tr, "\n", 1);
}

static inline void
ws_clear(struct ws_transcript *tr)
{
	tr->len = tr->before_last = tr->events = tr->used = 0;
	tr->error = tr->code = 0;
	tr->incomplete = tr->in_close = false;
	tr->why = NULL;
	ws_say_bytes(tr, "", 0);
}

static inline bool
ws_same(const struct ws_transcript *a, const struct ws_transcript *b)
{
	return a->len == b->len && a->error == b->error && memcmp(a->text, b->text, a->len) == 0;
}

static inline const char *
ws_type_name(enum wsframe_type type)
{
	return type == WSFRAME_TEXT     ? "text"
	       : type == WSFRAME_BINARY ? "binary"
	       : type == WSFRAME_PING   ? "ping"
	       : type == WSFRAME_PONG   ? "pong"
	       : type == WSFRAME_CLOSE  ? "close"
					: "(no type)";
}

/* What every event promises, whatever came. */
static inline void
ws_check_event(
    enum wsframe_type type, const struct wsframe_event *ev, const struct wsframe_limits *limits)
{
	switch (type) {
	case WSFRAME_TEXT:
	case WSFRAME_BINARY:
		PROMISE(ev->len <= limits->keep_max && ev->len <= limits->message_max, "%zu bytes",
		    ev->len);
		PROMISE(type == WSFRAME_BINARY || ev->data == NULL || utf8_valid(ev->data, ev->len),
		    "a text that is not UTF-8");
		PROMISE(ev->code == 0 && ev->why == NULL, "a message with %u", ev->code);
		break;
	case WSFRAME_PING:
	case WSFRAME_PONG:
		PROMISE(ev->data != NULL && ev->len <= WSFRAME_CONTROL_MAX, "%zu bytes", ev->len);
		PROMISE(ev->code == 0 && ev->why == NULL, "a ping or pong with %u", ev->code);
		break;
	case WSFRAME_CLOSE:
		PROMISE(ev->data != NULL && ev->len <= WSFRAME_REASON_MAX, "%zu bytes", ev->len);
		PROMISE(utf8_valid(ev->data, ev->len), "a reason that is not UTF-8");
		PROMISE(ev->code >= 1000 && ev->code < 5000 && ev->why == NULL, "%u", ev->code);
		PROMISE(ev->code != WSFRAME_NO_CODE || ev->len == 0, "a reason without a code");
		break;
	case WSFRAME_ERROR:
		PROMISE(ev->data == NULL && ev->len == 0, "an error with %zu bytes", ev->len);
		PROMISE(ev->why != NULL && strlen(ev->why) > 0 && strlen(ev->why) <= 100, "%s",
		    ev->why);
		PROMISE(ev->code == WSFRAME_PROTOCOL_ERROR || ev->code == WSFRAME_BAD_PAYLOAD ||
			    ev->code == WSFRAME_TOO_BIG || ev->code == WSFRAME_OUR_FAULT,
		    "%u", ev->code);
		break;
	case WSFRAME_MORE:
		PROMISE(
		    ev->data == NULL && ev->code == 0 && ev->why == NULL, "more with %u", ev->code);
		break;
	}
}

/* One piece; false when it has ended. */
static inline bool
ws_read_piece(struct wsframe_reader **reader, const struct wsframe_limits *limits,
    const void *bytes, size_t len, struct ws_transcript *tr)
{
	/* A block of its own, which is gone afterwards: nothing may be found in it later. */
	char *copy = fuzz_copy(bytes, len), *at = copy;
	enum wsframe_type type;

	do {
		struct wsframe_event ev;
		size_t used = SIZE_MAX;

		type = wsframe_read(reader, limits, at, len, &used, &ev);
		PROMISE(used <= len, "%zu of %zu bytes", used, len);
		at += used;
		len -= used;
		tr->used += used;
		ws_check_event(type, &ev, limits);
		tr->before_last = tr->len;
		if (type == WSFRAME_MORE) {
			PROMISE(len == 0, "%zu bytes are left", len);
		} else if (type == WSFRAME_ERROR) {
			PROMISE(*reader == NULL, "a reader is left over");
			tr->error = ev.code;
			tr->why = ev.why;
			ws_say(tr, "error", ev.code);
		} else {
			tr->events++;
			ws_say_data(tr, ws_type_name(type), ev.data, ev.len);
			if (type == WSFRAME_CLOSE) {
				tr->code = ev.code;
				ws_say(tr, "code", ev.code);
			}
		}
	} while (type != WSFRAME_MORE && type != WSFRAME_ERROR && type != WSFRAME_CLOSE);
	free(copy);
	if (type == WSFRAME_CLOSE)
		ws_say_bytes(tr, "closed\n", 7);
	return type == WSFRAME_MORE;
}

/* Cut at these places, in their order. */
static inline void
ws_read(const void *bytes, size_t len, const size_t *cuts, size_t n_cuts,
    const struct wsframe_limits *limits, struct ws_transcript *tr)
{
	struct wsframe_reader *reader = NULL;
	size_t from = 0;
	bool more = true;

	ws_clear(tr);
	for (size_t i = 0; more && i <= n_cuts; i++) {
		size_t to = cuts != NULL && i < n_cuts ? cuts[i] : len;

		more = ws_read_piece(&reader, limits, (const uint8_t *)bytes + from, to - from, tr);
		from = to;
	}
	tr->incomplete = more && reader != NULL;
	if (more)
		ws_say_bytes(
		    tr, reader == NULL ? "idle\n" : "incomplete\n", reader == NULL ? 5 : 11);
	wsframe_reader_free(reader);
}

/* ---- wslay ------------------------------------------------------------------------------ */

/*
 * A reader of its own, of which nothing is shared. It does not inflate; what is compressed
 * it gives as it is: whoever is handed it here makes it readable, or says an error's code.
 */
struct ws_by_wslay {
	const uint8_t *at;
	size_t left;
	struct ws_transcript *tr;
	/* NULL, or adds a compressed message to tr; returns 0, or the error's code. */
	unsigned (*inflated)(
	    struct ws_transcript *tr, enum wsframe_type type, const uint8_t *data, size_t len);
	uint64_t keep_max; /* messages beyond are said as not kept */
	bool closed;
	unsigned error; /* of inflated */
};

static inline ssize_t
ws_wslay_recv(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, int flags, void *arg)
{
	struct ws_by_wslay *w = arg;

	(void)flags;
	if (w->left == 0) {
		wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	if (len > w->left)
		len = w->left;
	memcpy(buf, w->at, len);
	w->at += len;
	w->left -= len;
	return (ssize_t)len;
}

static inline ssize_t
ws_wslay_send(wslay_event_context_ptr ctx, const uint8_t *data, size_t len, int flags, void *arg)
{
	(void)ctx;
	(void)data;
	(void)flags;
	(void)arg;
	return (ssize_t)len;
}

static inline void
ws_wslay_frame(
    wslay_event_context_ptr ctx, const struct wslay_event_on_frame_recv_start_arg *frame, void *arg)
{
	struct ws_by_wslay *w = arg;

	(void)ctx;
	w->tr->in_close = frame->opcode == WSFRAME_CLOSE;
}

static inline void
ws_wslay_message(
    wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *msg, void *arg)
{
	struct ws_by_wslay *w = arg;
	enum wsframe_type type = (enum wsframe_type)msg->opcode;
	const char *data = msg->msg_length > 0 ? (const char *)msg->msg : "";
	size_t len = msg->msg_length;

	(void)ctx;
	if (w->error != 0)
		return;
	w->tr->before_last = w->tr->len;
	if (type == WSFRAME_CLOSE && len == 1) {
		/* It takes half a code for none. */
		w->error = WSFRAME_PROTOCOL_ERROR;
	} else if (type == WSFRAME_CLOSE) {
		w->closed = true;
		ws_say_data(w->tr, "close", len >= 2 ? data + 2 : "", len >= 2 ? len - 2 : 0);
		ws_say(w->tr, "code", len >= 2 ? msg->status_code : WSFRAME_NO_CODE);
		ws_say_bytes(w->tr, "closed\n", 7);
	} else if (msg->rsv != 0 && w->inflated != NULL) {
		w->error = w->inflated(w->tr, type, msg->msg, len);
	} else {
		bool kept = type >= WSFRAME_CLOSE || len <= w->keep_max;

		ws_say_data(w->tr, ws_type_name(type), kept ? data : NULL, len);
	}
	w->tr->events++;
}

/* All of a head, which wslay wants before it looks at its first byte, and a byte behind. */
#define WS_HEAD_ROOM 15

/*
 * All bytes at once, after ours has read them; up to where ours found an error, and zeros
 * from there, so that what it found in part of a head is in a whole one. How it ended is
 * "closed" or "error ...", or nothing: wslay does not tell whether something is incomplete.
 * *w is filled in but for inflated and keep_max.
 */
static inline void
ws_read_by_wslay(struct ws_by_wslay *w, const void *bytes, size_t len,
    const struct ws_transcript *ours, const struct wsframe_limits *limits, struct ws_transcript *tr)
{
	size_t given = ours->error != 0 ? ours->used + WS_HEAD_ROOM : len;
	uint8_t *copy = calloc(1, given > 0 ? given : 1);
	const struct wslay_event_callbacks callbacks = {.recv_callback = ws_wslay_recv,
	    .send_callback = ws_wslay_send,
	    .on_frame_recv_start_callback = ws_wslay_frame,
	    .on_msg_recv_callback = ws_wslay_message};
	wslay_event_context_ptr ctx;

	if (copy == NULL)
		abort();
	if (len > 0)
		memcpy(copy, bytes, ours->error != 0 ? ours->used : len);
	ws_clear(tr);
	w->at = copy;
	w->left = given;
	w->tr = tr;
	w->closed = false;
	w->error = 0;
	if (wslay_event_context_server_init(&ctx, &callbacks, w) != 0)
		abort();
	wslay_event_config_set_max_recv_msg_length(ctx, limits->message_max);
	if (limits->deflate)
		wslay_event_config_set_allowed_rsv_bits(ctx, WSLAY_RSV1_BIT);
	while (wslay_event_want_read(ctx) && w->left > 0 && w->error == 0)
		if (wslay_event_recv(ctx) != 0)
			break;
	while (wslay_event_want_write(ctx))
		if (wslay_event_send(ctx) != 0)
			break;
	tr->error = w->error;
	if (tr->error == 0 && !w->closed && wslay_event_get_close_sent(ctx))
		tr->error = wslay_event_get_status_code_sent(ctx);
	/* Of some errors in a head it sends an empty close frame. */
	if (tr->error == WSFRAME_NO_CODE)
		tr->error = WSFRAME_PROTOCOL_ERROR;
	if (tr->error != 0) {
		tr->before_last = tr->len;
		ws_say(tr, "error", tr->error);
	}
	wslay_event_context_free(ctx);
	free(copy);
}

/*
 * The same, but for whether something is incomplete, which wslay does not tell, and for
 * close frames: it knows no code that was registered after RFC 6455, looks at the reason
 * before it looks at the code, and at each of its bytes as it comes.
 */
static inline bool
ws_agree(const struct ws_transcript *ours, const struct ws_transcript *theirs)
{
	size_t len = ours->len;
	bool newer =
	    ours->code >= 1012 && ours->code <= 1014 && theirs->error == WSFRAME_PROTOCOL_ERROR;
	bool reason_first = theirs->in_close && theirs->error == WSFRAME_BAD_PAYLOAD &&
			    (ours->incomplete || (ours->error == WSFRAME_PROTOCOL_ERROR &&
						     strstr(ours->why, "close code") != NULL));

	if (newer || reason_first)
		return ours->before_last == theirs->before_last &&
		       memcmp(ours->text, theirs->text, ours->before_last) == 0;
	/* "idle" or "incomplete". */
	if (ours->error == 0 && ours->code == 0)
		len = ours->before_last;
	return len == theirs->len && memcmp(ours->text, theirs->text, len) == 0;
}

#endif
