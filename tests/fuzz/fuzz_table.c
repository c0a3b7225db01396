/*
 * The hash table: base/table.c against an array.
 *
 * The input is a program of adding and removing, one by one and in runs long enough to
 * make the table grow and shrink, of keys whose hashes collide as the input says.
 * Promises: what was added and not removed is found, nothing else is; a walk meets each
 * once, and one in pieces, between which the table changes, each that stays; the count is
 * right; and a table that has been emptied has given its slots back.
 */
#include "fuzz.h"

#include "base/table.h"

#include <stdbool.h>

#define KEYS 1024
/* Where all hashes are the same, each step walks over all: fewer keys do. */
#define KEYS_COLLIDING 96
/* Walks over everything in one program. */
#define WALKS_MAX 8

struct element {
	unsigned char key[8]; /* exactly key_len of them count */
	struct table_entry entry;
	bool in_table, met;
	/* In the walk that goes on in pieces. */
	bool stays, walked;
};

static struct element elements[KEYS];

/* How much of the hash is left: all of it, a few bits, or none. */
static const uint64_t masks[] = {UINT64_MAX, 0xff, 0x3, 0, UINT64_MAX << 32};

static void
make_elements(uint64_t mask)
{
	for (unsigned i = 0; i < KEYS; i++) {
		struct element *e = &elements[i];

		/* Four keys that begin alike and go on with NULs: only their length tells. */
		memset(e, 0, sizeof(*e));
		e->key[0] = (unsigned char)(i / 4 >> 8);
		e->key[1] = (unsigned char)(i / 4);
		e->entry.key = e->key;
		e->entry.key_len = 2 + i % 4;
		e->entry.hash = table_hash(e->key, e->entry.key_len) & mask;
	}
}

static struct element *
element_of(struct table_entry *entry)
{
	return (struct element *)((char *)entry - offsetof(struct element, entry));
}

/* key: the bytes of its key, here or in a copy. */
static void
check_one(const struct table *t, const struct element *e, const void *key)
{
	struct table_entry *found = table_find(t, e->entry.hash, key, e->entry.key_len);

	PROMISE((const void *)found == (e->in_table ? &e->entry : NULL), "key %02x%02x", e->key[0],
	    e->key[1]);
}

/* A key is compared by its bytes, wherever they lie, and no more of them. */
static void
check_copy(const struct table *t, const struct element *e)
{
	char *key = fuzz_copy(e->key, e->entry.key_len);

	check_one(t, e, key);
	free(key);
}

static void
change(struct table *t, struct element *e, bool add, size_t *count)
{
	if (e->in_table == add)
		return;
	if (add)
		table_add(t, &e->entry);
	else
		table_remove(t, &e->entry);
	e->in_table = add;
	e->stays = false;
	*count += add ? 1 : (size_t)-1;
	PROMISE(t->count == *count, "count %zu, not %zu", t->count, *count);
}

static void
check_all(const struct table *t, size_t count)
{
	struct table_entry *entry = NULL;
	size_t met = 0;

	while ((entry = table_next(t, entry)) != NULL) {
		struct element *e = element_of(entry);

		PROMISE(e->in_table && !e->met, "a walk met one %s", e->met ? "twice" : "removed");
		e->met = true;
		met++;
	}
	PROMISE(met == count, "a walk met %zu of %zu", met, count);
	for (unsigned i = 0; i < KEYS; i++) {
		elements[i].met = false;
		check_one(t, &elements[i], elements[i].key);
	}
}

static void
walk_on(const struct table *t, struct table_walk *walk, size_t steps)
{
	while (steps > 0 && !walk->ended) {
		struct table_entry *entry = table_walk_next(t, walk, &steps);

		if (entry == NULL)
			break;
		table_walk_past(walk, entry);
		for (; entry != NULL; entry = table_same(entry)) {
			struct element *e = element_of(entry);

			PROMISE(e->in_table && !e->walked, "a walk in pieces met one %s",
			    e->walked ? "twice" : "removed");
			e->walked = true;
		}
	}
	if (!walk->ended)
		return;
	for (unsigned i = 0; i < KEYS; i++) {
		PROMISE(!elements[i].stays || elements[i].walked, "a walk in pieces left one out");
		elements[i].stays = elements[i].in_table;
		elements[i].walked = false;
	}
	*walk = (struct table_walk){.ended = false};
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tape tape = {data, data + size};
	struct table_walk walk = {.ended = false};
	struct table t;
	size_t count = 0, slots;
	unsigned steps = 0, keys, walks = 0;
	uint64_t mask;

	if (table_init(&t) < 0)
		abort();
	slots = t.mask + 1;
	mask = masks[tape_byte(&tape) % (sizeof(masks) / sizeof(masks[0]))];
	keys = (mask & 0xff) < 0xff ? KEYS_COLLIDING : KEYS;
	make_elements(mask);
	while (tape.at < tape.end && steps < 4 * KEYS) {
		unsigned op = tape_byte(&tape), high = tape_byte(&tape);
		unsigned first = (high << 8 | tape_byte(&tape)) % keys, n = 1, stride = 1;

		if (op & 2) {
			n = (tape_byte(&tape) + 1) * 4;
			stride = op >> 4 | 1;
		}
		steps += n;
		for (unsigned i = 0; i < n; i++)
			change(&t, &elements[(first + i * stride) % keys], op & 1, &count);
		check_copy(&t, &elements[first]);
		PROMISE((t.mask & (t.mask + 1)) == 0, "%zu slots", t.mask + 1);
		PROMISE(count <= t.mask + 1, "%zu in %zu slots", count, t.mask + 1);
		if (op & 4)
			walk_on(&t, &walk, (size_t)1 << (op >> 5));
		if (op & 4 && op & 8 && walks++ < WALKS_MAX)
			check_all(&t, count);
	}
	check_all(&t, count);
	for (unsigned i = 0; i < KEYS; i++)
		change(&t, &elements[i], false, &count);
	PROMISE(table_next(&t, NULL) == NULL, "an empty table has an element");
	PROMISE(t.mask + 1 <= 2 * slots, "an empty table keeps %zu slots", t.mask + 1);
	table_reset(&t);
	return 0;
}
