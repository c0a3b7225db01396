/*
 * utf8.h - whether bytes are UTF-8 (RFC 3629), also piece by piece.
 */
#ifndef RELAY_UTF8_H
#define RELAY_UTF8_H

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a text stands between two pieces; zeros at its beginning. */
struct utf8 {
	uint8_t missing;   /* bytes of the character that is not complete */
	uint8_t low, high; /* what the next of them may be */
};

/*
 * The next piece of a text; fast where it is ASCII. False as soon as no continuation can
 * make it valid.
 */
bool utf8_feed(struct utf8 *u, const char *p, size_t len) MUST_CHECK;

/* No character is incomplete. */
static inline bool
utf8_whole(const struct utf8 *u)
{
	return u->missing == 0;
}

bool utf8_valid(const char *p, size_t len) MUST_CHECK;

/* How many bytes of p, at most max, are whole valid characters from the beginning on. */
size_t utf8_prefix(const char *p, size_t len, size_t max);

#endif
