/*
 * notices.h - what Django is told of subscriptions, and by which worker.
 *
 * Between subscriber and passthrough: chooses the headers that go along (PROTOCOL,
 * section 6). Where the location has no passthrough_linger each held request has its pair
 * of notices, in the order of its connection. With it the subscriber is an attendee
 * (attendance.h) of the worker that its identity and the channel's id give, and what the
 * others know of it is posted there.
 */
#ifndef RELAY_NOTICES_H
#define RELAY_NOTICES_H

#include "base/attr.h"

#include <stdbool.h>

struct channel;
struct conn;
struct location;
struct note;
struct request;
struct worker;

/*
 * A subscriber of a location with passthrough begins to be held in a channel. True if
 * notices_unsubscribe() is to be called when that ends; false, logged, where there is no
 * memory, or where too many notices wait: then it goes without notices.
 */
bool notices_subscribe(struct conn *conn, const struct location *loc, const struct channel *channel,
    const struct request *req) MUST_CHECK;
void notices_unsubscribe(
    struct conn *conn, const struct location *loc, const struct channel *channel);

/* After notices_subscribe() of a stream, whose connection is not likely to ask again: no
 * headers are kept for a next request. */
void notices_ask_no_more(struct conn *conn, const struct location *loc);

/* The connection closes: what is queued still goes out. */
void notices_end(struct conn *conn);

/* Works a note of another worker's subscriber, NOTE_JOINED or NOTE_LEFT, and frees it. */
void notices_work_note(struct worker *w, struct note *note);
/* Frees one that is worked no more. */
void notices_forget_note(struct note *note);

#endif
