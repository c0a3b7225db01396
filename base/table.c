#include "base/table.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define FIRST_SLOTS 64

static uint64_t seed[2] = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};

int
table_seed(void)
{
	return getrandom(seed, sizeof(seed), 0) == (ssize_t)sizeof(seed) ? 0 : -1;
}

static inline uint64_t
rotl(uint64_t x, unsigned n)
{
	return x << n | x >> (64 - n);
}

#define SIP_ROUND                                                         \
	do {                                                              \
		v0 += v1, v1 = rotl(v1, 13), v1 ^= v0, v0 = rotl(v0, 32); \
		v2 += v3, v3 = rotl(v3, 16), v3 ^= v2;                    \
		v0 += v3, v3 = rotl(v3, 21), v3 ^= v0;                    \
		v2 += v1, v1 = rotl(v1, 17), v1 ^= v2, v2 = rotl(v2, 32); \
	} while (0)

struct sip {
	uint64_t v0, v1, v2, v3;
};

/* All that comes before the end. variant tells apart what is hashed to 64 and to 128 bits. */
static inline struct sip
sip_take(const void *key, size_t len, uint64_t variant)
{
	const unsigned char *p = key;
	uint64_t v0 = seed[0] ^ 0x736f6d6570736575u, v1 = seed[1] ^ 0x646f72616e646f6du ^ variant;
	uint64_t v2 = seed[0] ^ 0x6c7967656e657261u, v3 = seed[1] ^ 0x7465646279746573u;
	uint64_t word, last = (uint64_t)len << 56;
	size_t left = len;

	for (; left >= 8; p += 8, left -= 8) {
		memcpy(&word, p, 8);
		v3 ^= word;
		SIP_ROUND;
		v0 ^= word;
	}
	while (left > 0) {
		left--;
		last |= (uint64_t)p[left] << (8 * left);
	}
	v3 ^= last;
	SIP_ROUND;
	v0 ^= last;
	return (struct sip){v0, v1, v2, v3};
}

/* The three rounds at the end. */
static inline uint64_t
sip_end(struct sip *s)
{
	uint64_t v0 = s->v0, v1 = s->v1, v2 = s->v2, v3 = s->v3;

	SIP_ROUND;
	SIP_ROUND;
	SIP_ROUND;
	*s = (struct sip){v0, v1, v2, v3};
	return v0 ^ v1 ^ v2 ^ v3;
}

/* SipHash-1-3: one round a word, three at the end (Aumasson and Bernstein, 2012). */
uint64_t
table_hash(const void *key, size_t len)
{
	struct sip s = sip_take(key, len, 0);

	s.v2 ^= 0xff;
	return sip_end(&s);
}

/* SipHash-128 with the same numbers of rounds. */
struct table_digest
table_digest(const void *key, size_t len)
{
	struct sip s = sip_take(key, len, 0xee);
	struct table_digest d;

	s.v2 ^= 0xee;
	d.halves[0] = sip_end(&s);
	s.v1 ^= 0xdd;
	d.halves[1] = sip_end(&s);
	return d;
}

int
table_init(struct table *t)
{
	t->slots = calloc(FIRST_SLOTS, sizeof(*t->slots));
	if (t->slots == NULL)
		return -1;
	t->mask = FIRST_SLOTS - 1;
	t->count = 0;
	return 0;
}

void
table_reset(struct table *t)
{
	free(t->slots);
	t->slots = NULL;
	t->mask = 0;
	t->count = 0;
}

/*
 * Resizes to n slots. Out of memory leaves the table as it is: it gets slower, not
 * wrong.
 */
static void
resize(struct table *t, size_t n)
{
	struct table_entry **slots = calloc(n, sizeof(*slots));

	if (slots == NULL)
		return;
	for (size_t i = 0; i <= t->mask; i++) {
		struct table_entry *e = t->slots[i], *next;

		for (; e != NULL; e = next) {
			next = e->next;
			e->next = slots[e->hash & (n - 1)];
			slots[e->hash & (n - 1)] = e;
		}
	}
	free(t->slots);
	t->slots = slots;
	t->mask = n - 1;
}

struct table_entry *
table_find(const struct table *t, uint64_t hash, const void *key, size_t len)
{
	struct table_entry *e = t->slots[hash & t->mask];

	for (; e != NULL; e = e->next)
		if (e->hash == hash && e->key_len == len && memcmp(e->key, key, len) == 0)
			return e;
	return NULL;
}

void
table_add(struct table *t, struct table_entry *e)
{
	struct table_entry **slot;

	if (t->count > t->mask)
		resize(t, (t->mask + 1) * 2);
	slot = &t->slots[e->hash & t->mask];
	e->next = *slot;
	*slot = e;
	t->count++;
}

void
table_remove(struct table *t, struct table_entry *e)
{
	struct table_entry **slot = &t->slots[e->hash & t->mask];

	while (*slot != e)
		slot = &(*slot)->next;
	*slot = e->next;
	e->next = NULL;
	t->count--;
	/* A flood of ids that has passed gives its slots back; a quarter leaves room to grow. */
	if (t->mask >= FIRST_SLOTS * 2 && t->count < t->mask / 8)
		resize(t, (t->mask + 1) / 4);
}

struct table_entry *
table_next(const struct table *t, const struct table_entry *e)
{
	size_t i = 0;

	if (e != NULL) {
		if (e->next != NULL)
			return e->next;
		i = (e->hash & t->mask) + 1;
	}
	for (; i <= t->mask; i++)
		if (t->slots[i] != NULL)
			return t->slots[i];
	return NULL;
}

static uint64_t
reversed(uint64_t x)
{
	x = (x & 0x5555555555555555u) << 1 | (x >> 1 & 0x5555555555555555u);
	x = (x & 0x3333333333333333u) << 2 | (x >> 2 & 0x3333333333333333u);
	x = (x & 0x0f0f0f0f0f0f0f0fu) << 4 | (x >> 4 & 0x0f0f0f0f0f0f0f0fu);
	return __builtin_bswap64(x);
}

/* All of a slot are next to each other in the walk's order: they have its low bits. */
struct table_entry *
table_walk_next(const struct table *t, struct table_walk *walk, size_t *steps)
{
	while (!walk->ended && *steps > 0) {
		struct table_entry *e = t->slots[reversed(walk->at) & t->mask], *first = NULL;

		--*steps;
		for (; e != NULL; e = e->next) {
			*steps -= *steps > 0;
			if (reversed(e->hash) >= walk->at &&
			    (first == NULL || reversed(e->hash) < reversed(first->hash)))
				first = e;
		}
		if (first != NULL)
			return first;
		/* To where the next slot begins. */
		walk->at = (walk->at | ~reversed(t->mask)) + 1;
		walk->ended = walk->at == 0;
	}
	return NULL;
}

struct table_entry *
table_same(const struct table_entry *e)
{
	struct table_entry *same = e->next;

	while (same != NULL && same->hash != e->hash)
		same = same->next;
	return same;
}

void
table_walk_past(struct table_walk *walk, const struct table_entry *e)
{
	walk->at = reversed(e->hash) + 1;
	walk->ended = walk->at == 0;
}
