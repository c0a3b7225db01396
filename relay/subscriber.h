/*
 * subscriber.h - where a subscriber stands: fetch or wait, deliver, end.
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
struct location;
struct render_cache;
struct request;
struct route;

/* A request that asks for the next message, until it is answered. */
struct subscriber {
	struct conn *conn;
	const struct location *loc;
	struct channel *channel;  /* used: channel_unuse() */
	struct link waiter;       /* channel->waiters, while it is held */
	struct store_op *pending; /* NULL: no store call is */
	struct msgid position;    /* the store's newest id when it began to wait */
	struct msgid asked;       /* the request's own, for a 304 */
	uint64_t ticket;          /* names it in its worker */
	uint16_t cors_block;
	bool has_asked : 1;
	bool may_wait : 1; /* the store counts it as held, if nothing is newer */
	bool gap : 1;
	bool noticed : 1; /* notices_unsubscribe() is due */
};

/* A GET on a subscriber location. */
void subscriber_request(struct conn *conn, struct request *req, const struct route *route);

/*
 * Gives it a message that it waits for; msg is borrowed. True if it was sent, or what
 * the socket did not take is certain to follow.
 */
bool subscriber_deliver(struct subscriber *sub, struct message *msg, struct render_cache *cache);
/* Ends one that waits with this status: 409, 410. */
void subscriber_refuse(struct subscriber *sub, unsigned status, const char *why);
/* Its time is up, or the relay ends. */
void subscriber_timed_out(struct conn *conn);
/* The connection closes: it waits no more. conn_close()'s alone. */
void subscriber_end(struct conn *conn);

#endif
