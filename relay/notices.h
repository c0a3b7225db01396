/*
 * notices.h - what Django is told of one connection's subscriptions.
 *
 * Between subscriber and passthrough: chooses the headers that go along (PROTOCOL,
 * section 6) and keeps them with the connection, for a long-polling browser sends the
 * same with each poll.
 */
#ifndef RELAY_NOTICES_H
#define RELAY_NOTICES_H

#include "base/attr.h"

struct channel;
struct conn;
struct location;
struct notice_headers;
struct request;

/*
 * A subscriber of a location with passthrough begins to be held. Returns counted the
 * headers that went along, to be given to notices_unsubscribe(); NULL when out of
 * memory, logged: then no notice goes out at either end.
 */
struct notice_headers *notices_subscribe(struct conn *conn, const struct location *loc,
    const struct channel *channel, const struct request *req);
/* Takes headers; NULL does nothing. */
void notices_unsubscribe(struct conn *conn, const struct location *loc,
    const struct channel *channel, struct notice_headers *headers);

/* The connection closes: what is queued still goes out. */
void notices_end(struct conn *conn);

#endif
