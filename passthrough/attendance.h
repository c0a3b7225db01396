/*
 * attendance.h - who attends which channel, told to Django once though their requests
 * come and go.
 *
 * An attendee is a subscriber of a channel in a location, whatever connections its
 * requests come by. It arrives with the first request that is held, and has left when
 * none of it has been held for `passthrough_linger`: one subscribe and one unsubscribe
 * notice (PROTOCOL, section 6). Each attendee belongs to one worker, to which the others
 * post; nothing here is shared between threads.
 */
#ifndef PASSTHROUGH_ATTENDANCE_H
#define PASSTHROUGH_ATTENDANCE_H

#include "base/attr.h"
#include "base/table.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct attendance;
struct event_base;
struct notice_headers;
struct passthrough;

/* All borrowed. */
struct attendee {
	uint32_t place;          /* tells locations apart */
	struct table_digest who; /* tells subscribers apart */
	const void *id;          /* the channel's */
	size_t id_len;
	uint64_t id_hash;   /* of it: table_hash() */
	const char *url;    /* where to its notices go */
	uint32_t linger_ms; /* above 0 */
};

/*
 * Returns new (attendance_free), or NULL when out of memory. base and p must outlive it,
 * and p has no other owners of chains. At most `lingering` attendees linger: beyond, the
 * one that has lingered longest has left.
 */
struct attendance *attendance_new(
    struct event_base *base, struct passthrough *p, unsigned lingering) MUST_CHECK;
/* All who are there have left; what that tells is given up with p. NULL does nothing. */
void attendance_free(struct attendance *a);

/*
 * A request of the attendee is held; headers (counted by us) go along with its notices if
 * it arrives with this one, or if its arrival was given up unsent and is now told again.
 * 0, or -1 when out of memory: then nothing has joined.
 *
 * Nearly all are of an attendee that Django knows of, which needs no headers: who has them
 * still to be put together asks first whether it has rejoined. False: nothing has joined.
 */
bool attendance_rejoin(struct attendance *a, const struct attendee *who) MUST_CHECK;
int attendance_join(
    struct attendance *a, const struct attendee *who, struct notice_headers *headers) MUST_CHECK;
/* One that has joined is no longer held; one that could not is passed over. */
void attendance_leave(struct attendance *a, const struct attendee *who);

/* The relay ends: nobody lingers any more, now and from now on. */
void attendance_drain(struct attendance *a);

#endif
