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

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct table_entry {
	struct table_entry *next;
	uint64_t hash;
	const void *key; /* the element's; must not change while it is in a table */
	size_t key_len;
};

struct table {
	/* Both are atomic for table_expect() alone, which may be called beside a change. */
	struct table_entry **_Atomic slots;
	atomic_size_t mask; /* number of slots - 1 */
	size_t count;
};

/* Draws the process's hash key. Call once, before the first thread. */
int table_seed(void) MUST_CHECK;
uint64_t table_hash(const void *key, size_t len);

/*
 * 128 bits under the same key: enough to stand for the bytes themselves, where who
 * chooses them cannot learn the key.
 */
struct table_digest {
	uint64_t halves[2];
};
struct table_digest table_digest(const void *key, size_t len);

/* 0, or -1 when out of memory. */
int table_init(struct table *t) MUST_CHECK;
/* Frees the slots, not the elements. */
void table_reset(struct table *t);

/*
 * A key of this hash will be looked for soon: begins to fetch its slot into the cache,
 * where that of a large table never is. Any thread, also while another changes the table:
 * what is fetched is then of no use, but nothing is read of it.
 */
static inline void
table_expect(const struct table *t, uint64_t hash)
{
	struct table_entry **slots = atomic_load_explicit(&t->slots, memory_order_relaxed);

	__builtin_prefetch(slots + (hash & atomic_load_explicit(&t->mask, memory_order_relaxed)));
}

/* The element with this key, or NULL; hash is table_hash() of the key. */
struct table_entry *table_find(const struct table *t, uint64_t hash, const void *key, size_t len);
/* Adds e, whose key must be absent. e->key, key_len and hash are set by the caller. */
void table_add(struct table *t, struct table_entry *e);
void table_remove(struct table *t, struct table_entry *e);
/* The first element after e in no particular order; the first of all after NULL. */
struct table_entry *table_next(const struct table *t, const struct table_entry *e);

/*
 * How far a walk has got that is cut into pieces, while elements come and go and the
 * table changes its size. All zero at first.
 *
 * It goes in the order of the hashes with their bits reversed. In this order slots are
 * split and joined where they are, so an element that stays is met exactly once.
 */
struct table_walk {
	uint64_t at;
	bool ended;
};

/*
 * The next element, and with it, by table_same(), those of the same hash; then the walk
 * is to go past them. NULL: the walk has ended, or *steps are used up. They count slots
 * and elements looked at, and may be exceeded by one slot.
 */
struct table_entry *table_walk_next(const struct table *t, struct table_walk *walk, size_t *steps);
struct table_entry *table_same(const struct table_entry *e);
void table_walk_past(struct table_walk *walk, const struct table_entry *e);

#endif
