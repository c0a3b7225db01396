/*
 * transport.h - the small table that each way of delivering fills in.
 *
 * A subscriber holds a position, whatever its transport (subscriber.c); a transport
 * knows how a message, a gap and an end look on the wire. What it renders is shared by
 * all readers of one kind (render.h); what it writes to a struct text is one
 * subscriber's own.
 */
#ifndef RELAY_TRANSPORT_H
#define RELAY_TRANSPORT_H

#include "base/attr.h"
#include "base/text.h"
#include "relay/location.h"
#include "store/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bytes;
struct render_variant;
struct request;
struct route;
struct subscriber;
struct worker;

struct transport {
	const char *name; /* as in `transports` */
	enum transport_kind kind;
	bool stream; /* stays open after a message; else that is the answer */

	/*
	 * Looks at what is its own in a request, and keeps it with the subscriber. 0, or a
	 * status with why. NULL: there is nothing to look at.
	 */
	unsigned (*accept)(struct subscriber *sub, const struct request *req,
	    const struct route *route, const char **why);

	/*
	 * Messages as readers of one kind get them: n is 1 but for a poll's batch. Returns
	 * new (bytes_unref), or NULL when out of memory.
	 */
	struct bytes *(*render)(struct worker *w, struct message *const *msgs, unsigned n,
	    const struct render_variant *variant);

	/* Streams. Room in t is at least TRANSPORT_ROOM. */

	/* The head, and what comes before the first message. */
	void (*begin)(struct subscriber *sub, const struct request *req, struct text *t);
	/*
	 * Messages up to at were lost, and none follows so far; lost is 0 where it is not
	 * known how many. NULL: it is said with the next message, or not at all.
	 */
	void (*gap)(const struct subscriber *sub, uint64_t lost, struct msgid at, struct text *t);
	/* Something that shows that the connection lives; may write nothing. */
	void (*ping)(struct subscriber *sub, struct text *t);
	/* The end, for a reason that polls are told as a status. */
	void (*end)(struct subscriber *sub, unsigned status, const char *why, struct text *t);
};

/* Any head or end, without the location's CORS block and texts. */
#define TRANSPORT_ROOM 16384

extern const struct transport longpoll_transport, jsonp_transport, eventstream_transport,
    websocket_transport, httpstream_transport, multipart_transport;

const struct transport *transport_of(enum transport_kind kind);

/*
 * Which transport a GET asks for (PROTOCOL, section 9). 0 and *kind, or a status with
 * why, for an answer that refuses it.
 */
unsigned transport_choose(const struct location *loc, const struct request *req,
    enum transport_kind *kind, const char **why);

/* What a message says where it is put into a text: its body, or the template's result. */
struct payload {
	const char *p;
	size_t len;
	char *made; /* payload_free()'s */
};

/* 0, or -1 when out of memory. */
int payload_of(struct payload *payload, const struct message *msg, const struct location *loc)
    MUST_CHECK;
void payload_free(struct payload *payload);

/*
 * What is written to t between these two is one chunk (RFC 9112, 7.1), and nothing if it
 * is empty; without framing, for HTTP/1.0, it stays as it is.
 */
#define CHUNK_ROOM 20 /* beside the content */
size_t chunk_open(struct text *t, bool framed);
void chunk_close(struct text *t, size_t mark, bool framed);

/* Bytes with room for a text. bytes is NULL when out of memory. */
struct rendering {
	struct bytes *bytes;
	struct text t;
};

bool rendering_begin(struct rendering *r, size_t room) MUST_CHECK;
/* Returns new (bytes_unref); NULL, and frees, if the room was too small. */
struct bytes *rendering_end(struct rendering *r);

/* A channel id as a header's or a field's value: all but RFC 3986's unreserved encoded. */
void transport_add_channel(struct text *t, const struct message *msg);
/* "SECOND:TAG" */
void transport_add_id(struct text *t, const struct message *msg);
/* n blanks. */
void transport_add_blanks(struct text *t, size_t n);
/* Status line and what all streams' heads have in common; the empty line is the caller's. */
void transport_head(struct subscriber *sub, const char *content_type, struct text *t);

#endif
