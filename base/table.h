/*
 * table.h - a seeded hash table with byte-string keys.
 *
 * Intrusive: an element embeds a struct table_entry and owns its key. The hash is
 * SipHash-1-3 under a key drawn at the start of the process, for channel ids are
 * chosen by strangers. The table doubles when it is full, in one go.
 */
#ifndef BASE_TABLE_H
#define BASE_TABLE_H

#include "base/attr.h"

#include <stddef.h>
#include <stdint.h>

struct table_entry {
	struct table_entry *next;
	uint64_t hash;
	const void *key; /* the element's; must not change while it is in a table */
	size_t key_len;
};

struct table {
	struct table_entry **slots;
	size_t mask; /* number of slots - 1 */
	size_t count;
};

/* Draws the process's hash key. Call once, before the first thread. */
int table_seed(void) MUST_CHECK;
uint64_t table_hash(const void *key, size_t len);

/* 0, or -1 when out of memory. */
int table_init(struct table *t) MUST_CHECK;
/* Frees the slots, not the elements. */
void table_reset(struct table *t);

/* The element with this key, or NULL; hash is table_hash() of the key. */
struct table_entry *table_find(const struct table *t, uint64_t hash, const void *key, size_t len);
/* Adds e, whose key must be absent. e->key, key_len and hash are set by the caller. */
void table_add(struct table *t, struct table_entry *e);
void table_remove(struct table *t, struct table_entry *e);
/* The first element after e in no particular order; the first of all after NULL. */
struct table_entry *table_next(const struct table *t, const struct table_entry *e);

#endif
