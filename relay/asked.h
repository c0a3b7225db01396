/*
 * asked.h - where a subscriber's request wants to read on, or to begin.
 */
#ifndef RELAY_ASKED_H
#define RELAY_ASKED_H

#include "store/store.h"

struct request;

enum asked {
	ASKED_NOTHING,
	ASKED_POSITION,
	ASKED_TIME,  /* a position that is no message's: ?time= */
	ASKED_START, /* such as ?backtrack=3 */
	ASKED_MALFORMED,
};

/*
 * If-Modified-Since goes before Last-Event-ID, a header before the query, a position
 * before a start; empty is absent. A malformed one is never passed over in silence
 * (PROTOCOL, section 2). *id is set where a position or a time is asked for, *start where a start
 * is.
 */
enum asked asked_of(const struct request *req, struct msgid *id, struct store_start *start);

#endif
