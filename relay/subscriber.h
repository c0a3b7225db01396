/*
 * subscriber.h - where a subscriber stands: fetch or wait, deliver, again.
 *
 * A subscriber holds a position, not a queue. It waits in its channels (CONN_WAITING), and
 * is handed what comes; or it is behind, because its socket took only a part or it has
 * just begun: then it is handed nothing, reads on from the store as the socket takes it,
 * and waits again once it has come up to the store's newest id.
 */
#ifndef RELAY_SUBSCRIBER_H
#define RELAY_SUBSCRIBER_H

#include "base/attr.h"
#include "base/list.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

struct channel;
struct conn;
struct conversation;
struct location;
struct render_cache;
struct request;
struct route;
struct store_note;
struct subscriber;
struct transport;

/* A subscriber in one of its channels. */
struct subscription {
	struct link waiter; /* channel->waiters, while it is held */
	struct channel *channel;
	struct subscriber *sub;
	bool noticed; /* notices_unsubscribe() is due */
};

#define STREAM_HTTP10  0x80u /* without chunks */
#define STREAM_SEVERAL 0x40u /* of several channels */

/* A request for messages, until it is answered or, for a stream, ended. */
struct subscriber {
	struct store_op *pending;  /* NULL: no store call is */
	struct subscription *subs; /* &one, or n_subs of them, allocated */
	uint64_t ticket;           /* names it in its worker */
	struct msgid joined;       /* the store's newest id when it began to be held */

	/* What a delivery to a stream needs is together, in two lines of the cache. */
	struct subscription one;
	struct conn *conn;
	const struct location *loc;
	const struct transport *transport;
	struct msgid position; /* of the last message it was given, or of the store then */
	union {
		struct msgid asked;       /* a poll's: the request's own position, for a 304 */
		struct {                  /* a stream's */
			uint64_t ends_ms; /* when its time is up; 0: never */
			/* Of its only channel's last message up to position; up to a gap that it is
			 * still to be told of, if there is one. */
			uint64_t number;
		};
	};
	union {
		char *own;                         /* as in struct render_variant: new */
		struct conversation *conversation; /* WebSocket: what is under way; or NULL */
	};
	uint16_t cors_block;
	uint16_t ending; /* a stream's status, once what is being sent is sent; or 0 */
	/* A stream's kind: all of one location and one kind are sent the same bytes. */
	union {
		struct {
			uint8_t form;         /* enum transport_kind and STREAM_ bits */
			uint8_t padding;      /* index + 1 in loc->padding, or 0 */
			uint8_t deflate_bits; /* WebSocket: permessage-deflate's window; 0: none */
			uint8_t meta;         /* WebSocket: enum ws_meta */
		};
		uint32_t kind;
	};
	uint8_t n_subs;
	bool has_asked : 1; /* a position */
	bool from_time : 1; /* which is a time only */
	bool may_wait : 1;  /* the store counts it as held, if nothing is newer */
	bool begun : 1;     /* a stream's head is out */
	bool has_number : 1;
	bool gap : 1;    /* messages were lost before the next one */
	bool pinged : 1; /* WebSocket: a pong is awaited */
};

/* A GET on a subscriber location. */
void subscriber_request(struct conn *conn, struct request *req, const struct route *route);
/* One that is over a limit of its location, told so as its transport tells refusals. */
void subscriber_refuse_request(struct conn *conn, struct request *req, const struct route *route,
    unsigned status, const char *why);

/*
 * A note of one of its channels: a message, or the channel's deletion. True if the
 * message was sent, or is certain to follow, or the subscription ended.
 */
bool subscriber_note(
    struct subscription *s, const struct store_note *note, struct render_cache *cache);
/* Such a note will come soon: begins to fetch into the cache what a delivery needs. */
static inline void
subscriber_expect(const struct subscription *s)
{
	/* Who waits in one channel has it as `one`, with what a delivery needs behind it. */
	__builtin_prefetch(s);
	__builtin_prefetch((const char *)s + 64);
}

/* Ends one that waits, or as soon as what is being sent is sent, with this status. */
void subscriber_refuse(struct subscriber *sub, unsigned status, const char *why);

/* Ends a stream with these last bytes. */
void subscriber_finish(struct subscriber *sub, const char *data, size_t len);

/* The wheel's: its time is up, or a ping is due. */
void subscriber_timed_out(struct conn *conn);
/* The relay ends. */
void subscriber_drain(struct conn *conn);
/* What it was being sent is with the kernel: a stream goes on. */
void subscriber_sent(struct conn *conn);
/* Bytes came from the client of a stream: how many are dealt with. */
size_t subscriber_input(struct conn *conn, char *data, size_t len);
/* Whether what its client sends is read at all; and now. */
bool subscriber_converses(const struct conn *conn);
bool subscriber_reads(const struct conn *conn);
/* The connection closes: it waits no more. conn_close()'s alone. */
void subscriber_end(struct conn *conn);

#endif
