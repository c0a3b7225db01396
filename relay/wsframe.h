/*
 * wsframe.h - WebSocket frames (RFC 6455, section 5): bytes in, messages out, and heads
 * of frames to send. No sockets.
 *
 * A reader is memory only while a frame or a message is incomplete: an idle subscriber's
 * is NULL. That is why wslay is not used here: its event context is 9.4 KB a connection,
 * 4.2 KB its frame context alone, and all that an idle subscriber may take is 512 bytes.
 * The tests hold this module against it.
 */
#ifndef RELAY_WSFRAME_H
#define RELAY_WSFRAME_H

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wsframe_reader;

/* What a frame is, by its opcode, and what else reading can come to. */
enum wsframe_type {
	WSFRAME_TEXT = 1,
	WSFRAME_BINARY = 2,
	WSFRAME_CLOSE = 8,
	WSFRAME_PING = 9,
	WSFRAME_PONG = 10,
	WSFRAME_MORE = 16, /* all bytes are used: what comes next goes on from there */
	WSFRAME_ERROR,     /* close with wsframe_event.code, and read no more */
};

/* Close codes that we send (RFC 6455, 7.4.1). */
enum wsframe_code {
	WSFRAME_NORMAL = 1000,
	WSFRAME_GOING_AWAY = 1001,
	WSFRAME_PROTOCOL_ERROR = 1002,
	WSFRAME_UNSUPPORTED = 1003,
	WSFRAME_NO_CODE = 1005, /* never on the wire: the close frame was empty */
	WSFRAME_BAD_PAYLOAD = 1007,
	WSFRAME_REFUSED = 1008,
	WSFRAME_TOO_BIG = 1009,
	WSFRAME_OUR_FAULT = 1011,
};

struct wsframe_limits {
	/* Longest message, inflated; WSFRAME_TOO_BIG beyond. */
	uint64_t message_max;
	/*
	 * Longest message that is given out. A longer one, up to message_max, is checked
	 * like all others, and dropped as it comes; only compressed it is kept until its
	 * end. 0: none but empty ones.
	 */
	uint64_t keep_max;
	/* permessage-deflate was agreed upon: wshandshake.h. */
	bool deflate;
};

struct wsframe_event {
	/*
	 * TEXT, BINARY: the message, NULL where it is longer than keep_max. PING, PONG: the
	 * application data. CLOSE: the reason, in valid UTF-8. Else NULL.
	 */
	const char *data;
	size_t len;      /* of data */
	uint16_t code;   /* CLOSE: the peer's; WSFRAME_NO_CODE without. ERROR: ours */
	const char *why; /* ERROR: in a few words, ASCII, at most 100 bytes */
};

/*
 * Reads what a client sent, up to the end of the first message or control frame; *used
 * tells how many bytes that were. Call again with the rest, even if there is none, until
 * it says WSFRAME_MORE: only then *reader, which the first call finds NULL, is NULL again
 * if nothing is incomplete. What is incomplete then has its peer to wait for.
 *
 * data is borrowed and written to (unmasked in place); the event's is valid until the next
 * call, and so long as data is. Where packets end means nothing: the same bytes give the
 * same events in any pieces.
 *
 * Memory grows with what has come, not with what a frame announces, and is never more
 * than 4 * message_max + 64 KB. Between two calls it is no more than twice what has come.
 *
 * After WSFRAME_CLOSE and WSFRAME_ERROR nothing more is read, and the reader is to be freed.
 * When memory runs out that is WSFRAME_ERROR with WSFRAME_OUR_FAULT.
 */
enum wsframe_type wsframe_read(struct wsframe_reader **reader, const struct wsframe_limits *limits,
    char *data, size_t len, size_t *used, struct wsframe_event *event) MUST_CHECK;

void wsframe_reader_free(struct wsframe_reader *reader); /* NULL does nothing */

/* Longest head of a frame to a client, which is not masked. */
#define WSFRAME_HEAD_MAX 10
/* Longest payload of a control frame, and longest reason in a close frame. */
#define WSFRAME_CONTROL_MAX 125
#define WSFRAME_REASON_MAX  123

/*
 * Writes the head of an unfragmented frame with len bytes of payload behind it; returns
 * how long it is. compressed: they are what wsdeflate_message() made.
 */
size_t wsframe_head(
    enum wsframe_type type, uint64_t len, bool compressed, char out[WSFRAME_HEAD_MAX]);

/*
 * A whole ping, pong or close frame; returns how long it is. No more than
 * WSFRAME_CONTROL_MAX bytes of data are sent.
 */
size_t wsframe_control(
    enum wsframe_type type, const char *data, size_t len, char out[2 + WSFRAME_CONTROL_MAX]);

/*
 * A whole close frame. A code that must not be on the wire (WSFRAME_NO_CODE) makes an
 * empty one; a reason that is too long is cut between two characters, one that is not
 * UTF-8 before the first that is not.
 */
size_t wsframe_close(
    uint16_t code, const char *reason, size_t len, char out[2 + WSFRAME_CONTROL_MAX]);

#endif
