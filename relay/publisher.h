/*
 * publisher.h - GET, PUT, POST and DELETE on a publisher location.
 *
 * Whether a POST is 201 or 202 is known by the workers that hold the channel's
 * subscribers: each answers the note it got. A POST is answered when one has sent it
 * or all have not, a DELETE when all have ended theirs; the connection's next request
 * is taken up when all have answered, so that no mailbox is longer than there are
 * publishers.
 */
#ifndef RELAY_PUBLISHER_H
#define RELAY_PUBLISHER_H

#include "base/attr.h"
#include "relay/info.h"
#include "store/store.h"

#include <stdbool.h>

struct conn;
struct location;
struct request;
struct route;
struct worker;

/*
 * A request that waits for the store, or for workers. It outlives its connection until
 * all have answered. Touched by the publisher's worker alone; others only pass the
 * pointer back, in a note to worker's mailbox.
 */
struct publication {
	struct worker *worker; /* constant: others read it */
	struct conn *conn;     /* NULL: it has closed */
	struct store *store;
	struct store_op *pending;
	const struct location *loc;
	struct message *msg; /* counted, while the store is to be heard */
	unsigned method;     /* enum request_method */
	unsigned cors_block;
	enum info_format format;
	struct store_info info;
	unsigned outstanding; /* workers that have not answered */
	bool sent, answered;
	bool frame;        /* a WebSocket client's: websocket_published() is told */
	unsigned status;   /* what it is told */
	unsigned *at_once; /* while publisher_publish() runs: status goes here instead */
};

/* From a worker that has worked a publication's note, to the publisher's worker. */
struct reply_note {
	struct note note; /* NOTE_ANSWERED */
	struct publication *publication;
	bool sent; /* to one waiter at least */
};

/*
 * Publishes what a WebSocket's client has sent. Returns the status that a POST would have
 * got; or 0, and websocket_published() is told once, unless publisher_forget() was called
 * with *pending.
 */
unsigned publisher_publish(struct conn *conn, const struct location *loc, struct store *store,
    const struct channel_key *key, const struct message_parts *parts, struct publication **pending);
/* The connection is no longer to be told. */
void publisher_forget(struct publication *pub);

void publisher_request(struct conn *conn, struct request *req, const struct route *route);

/*
 * A worker has worked the note of a publication (NULL does nothing): tells the
 * publisher's worker, which may be this one.
 */
void publisher_tell(struct worker *w, struct publication *pub, bool sent);
/* The publisher's worker hears of it. */
void publisher_heard(struct publication *pub, bool sent);

/* The connection closes. conn_close()'s alone. */
void publisher_end(struct conn *conn);

#endif
