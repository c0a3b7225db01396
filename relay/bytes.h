/*
 * bytes.h - bytes ready to be sent, counted: one copy for all whose sockets get them.
 *
 * Owned by one worker's thread, so the count is a plain number.
 */
#ifndef RELAY_BYTES_H
#define RELAY_BYTES_H

#include "base/attr.h"

#include <stddef.h>
#include <stdlib.h>

struct bytes {
	unsigned refs;
	size_t len;
	char data[];
};

/* Returns new with a count of one and data not set, or NULL when out of memory. */
static inline struct bytes *
bytes_new(size_t len)
{
	struct bytes *b = malloc(sizeof(*b) + len);

	if (b != NULL) {
		b->refs = 1;
		b->len = len;
	}
	return b;
}

static inline struct bytes *
bytes_ref(struct bytes *b)
{
	b->refs++;
	return b;
}

static inline void
bytes_unref(struct bytes *b)
{
	if (b != NULL && --b->refs == 0)
		free(b);
}

#endif
