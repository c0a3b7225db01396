/*
 * route.h - which location answers a request, and whether it may.
 *
 * Everything that is the same for publishers and subscribers is decided here: path,
 * origin, allowed peers, method, size of the body. What remains goes to publisher.h
 * and subscriber.h.
 */
#ifndef RELAY_ROUTE_H
#define RELAY_ROUTE_H

#include "base/attr.h"
#include "store/message.h"

#include <stdbool.h>

struct channel;
struct conn;
struct location;
struct request;
struct store;

/* What was found for a request. */
struct route {
	const struct location *loc; /* NULL: outside of all */
	struct store *store;
	const struct channel_key *keys; /* the worker's; good until the next request */
	unsigned n_keys;                /* one for a publisher, at most */
	struct channel *channel; /* the only key's, as the connection remembers it; or NULL */
	unsigned cors_block;
	bool too_many;       /* ids in a subscriber's request: its transport tells that */
	bool foreign_origin; /* an Origin that `allow_origin` does not name */
};

/* Whether a request may go on; else how it is answered. */
struct verdict {
	unsigned status; /* 0: it may */
	const char *why;
	const char *allow; /* the Allow header, where there is one */
};

/* What a worker found last: a request that comes whole is looked at twice. */
struct routed {
	const struct request *req; /* NULL: nothing */
	struct route route;
	struct verdict verdict;
};

/*
 * The head is there; more tells whether further bytes are. Says what is to be done with
 * the body. False if the request was answered, and the connection ends.
 */
bool route_head(struct conn *conn, struct request *req, bool more);
/* The whole request is there: answers it, or begins to. */
void route_complete(struct conn *conn, struct request *req);
/* It is malformed, or too large: answers and ends the connection. */
void route_error(struct conn *conn, struct request *req);
/* The same, for a status found elsewhere. */
void route_refuse(struct conn *conn, unsigned status, const char *why);

#endif
