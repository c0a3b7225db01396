/* The hash table against a plain array, and its hash against the paper's words. */
#include "base/table.h"

#include "base/attr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct item {
	struct table_entry entry;
	char key[24];
	bool in_table;
	unsigned walked;
};

static struct table table;

static int
set_up(void **state UNUSED)
{
	return table_init(&table);
}

static int
tear_down(void **state UNUSED)
{
	table_reset(&table);
	return 0;
}

static void
add(struct item *it, const void *key, size_t len, uint64_t hash)
{
	memcpy(it->key, key, len);
	it->entry.key = it->key;
	it->entry.key_len = len;
	it->entry.hash = hash;
	table_add(&table, &it->entry);
	it->in_table = true;
}

static struct table_entry *
find(const void *key, size_t len)
{
	return table_find(&table, table_hash(key, len), key, len);
}

/* Always the same numbers, so that a failure comes again. */
static uint32_t
next_random(uint32_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	*x ^= *x << 5;
	return *x;
}

static void
test_keys_are_bytes_of_their_whole_length(void **state UNUSED)
{
	struct item a = {.walked = 0}, ab = {.walked = 0}, nul = {.walked = 0},
		    empty = {.walked = 0};

	add(&a, "a", 1, table_hash("a", 1));
	add(&ab, "ab", 2, table_hash("ab", 2));
	add(&nul, "a\0b", 3, table_hash("a\0b", 3));
	add(&empty, "", 0, table_hash("", 0));
	assert_ptr_equal(find("a", 1), &a.entry);
	assert_ptr_equal(find("ab", 2), &ab.entry);
	assert_ptr_equal(find("a\0b", 3), &nul.entry);
	assert_ptr_equal(find("", 0), &empty.entry);
	assert_null(find("a\0c", 3));
	assert_null(find("a\0", 2));
	assert_null(find("b", 1));
	assert_null(find("abc", 3));
}

static void
test_keys_of_one_hash_are_told_apart(void **state UNUSED)
{
	static struct item items[200];

	memset(items, 0, sizeof(items));
	for (size_t i = 0; i < ARRAY_LEN(items); i++) {
		char key[8];
		int len = snprintf(key, sizeof(key), "%zu", i);

		add(&items[i], key, (size_t)len, 42);
	}
	for (size_t i = 0; i < ARRAY_LEN(items); i += 2)
		table_remove(&table, &items[i].entry);
	for (size_t i = 0; i < ARRAY_LEN(items); i++)
		assert_ptr_equal(table_find(&table, 42, items[i].entry.key, items[i].entry.key_len),
		    i % 2 == 0 ? NULL : &items[i].entry);
	/* The same key under another hash is absent: who asks has computed it. */
	assert_null(table_find(&table, 43, "1", 1));
}

static void
test_a_walk_meets_each_element_once(void **state UNUSED)
{
	static struct item items[1000];

	memset(items, 0, sizeof(items));
	assert_null(table_next(&table, NULL));
	for (size_t i = 0; i < ARRAY_LEN(items); i++) {
		char key[8];
		int len = snprintf(key, sizeof(key), "k%zu", i);

		add(&items[i], key, (size_t)len, table_hash(key, (size_t)len));
	}
	for (struct table_entry *e = NULL; (e = table_next(&table, e)) != NULL;)
		CONTAINER_OF(e, struct item, entry)->walked++;
	for (size_t i = 0; i < ARRAY_LEN(items); i++)
		assert_int_equal(items[i].walked, 1);
}

/* Each call goes a little further; the table doubles and halves several times meanwhile. */
static void
test_a_walk_in_pieces_meets_each_element_that_stays_once(void **state UNUSED)
{
	static struct item stay[500], others[8000];
	uint32_t x = 7;

	for (size_t pieces = 1; pieces <= 64; pieces *= 8) {
		struct table_walk walk = {.ended = false};
		size_t n_others = 0;
		bool adding = true;

		table_reset(&table);
		assert_int_equal(table_init(&table), 0);
		memset(stay, 0, sizeof(stay));
		memset(others, 0, sizeof(others));
		for (size_t i = 0; i < ARRAY_LEN(stay); i++) {
			char key[8];
			int len = snprintf(key, sizeof(key), "s%zu", i);

			/* Some share a hash. */
			add(&stay[i], key, (size_t)len, table_hash(key, i % 5 ? (size_t)len : 1));
		}
		while (!walk.ended) {
			size_t steps = pieces;
			struct table_entry *e = table_walk_next(&table, &walk, &steps);

			if (e != NULL)
				table_walk_past(&walk, e);
			for (; e != NULL; e = table_same(e))
				CONTAINER_OF(e, struct item, entry)->walked++;
			for (uint32_t i = next_random(&x) % 100; i > 0; i--) {
				char key[8];
				int len;

				if (n_others == (adding ? ARRAY_LEN(others) : 0))
					adding = !adding;
				if (!adding) {
					table_remove(&table, &others[--n_others].entry);
					continue;
				}
				len = snprintf(key, sizeof(key), "o%zu", n_others);
				others[n_others].walked = 0;
				add(&others[n_others++], key, (size_t)len,
				    table_hash(key, (size_t)len));
			}
		}
		for (size_t i = 0; i < ARRAY_LEN(stay); i++)
			assert_int_equal(stay[i].walked, 1);
		for (size_t i = 0; i < n_others; i++)
			assert_in_range(others[i].walked, 0, 1);
	}
}

static void
test_a_piece_of_a_walk_is_bounded_in_an_empty_table_too(void **state UNUSED)
{
	struct table_walk walk = {.ended = false};
	size_t pieces = 0;

	for (; !walk.ended; pieces++) {
		size_t steps = 4;

		assert_null(table_walk_next(&table, &walk, &steps));
		assert_int_equal(steps, 0);
	}
	assert_int_equal(pieces, (table.mask + 1) / 4);
}

static void
test_a_table_that_is_emptied_from_its_front_ends(void **state UNUSED)
{
	static struct item items[5000];
	struct table_entry *e;
	size_t n = 0;

	memset(items, 0, sizeof(items));
	for (size_t i = 0; i < ARRAY_LEN(items); i++) {
		char key[8];
		int len = snprintf(key, sizeof(key), "%zu", i);

		add(&items[i], key, (size_t)len, table_hash(key, (size_t)len));
	}
	while ((e = table_next(&table, NULL)) != NULL) {
		table_remove(&table, e);
		n++;
	}
	assert_int_equal(n, ARRAY_LEN(items));
	assert_int_equal(table.count, 0);
}

/* Grows to thousands and shrinks again, several times, in no order. */
static void
test_random_additions_and_removals_agree_with_a_list(void **state UNUSED)
{
	static struct item items[4000];
	uint32_t x = 1;

	memset(items, 0, sizeof(items));
	for (int step = 0; step < 60000; step++) {
		struct item *it = &items[next_random(&x) % ARRAY_LEN(items)];
		/* Waves: mostly adding, then mostly removing. */
		bool adding = next_random(&x) % 8 != 0;
		char key[24];
		int len =
		    snprintf(key, sizeof(key), "%*d", (int)(it - items) % 20, (int)(it - items));

		if (step / 10000 % 2 == 1)
			adding = !adding;
		assert_ptr_equal(find(key, (size_t)len), it->in_table ? &it->entry : NULL);
		if (adding && !it->in_table) {
			add(it, key, (size_t)len, table_hash(key, (size_t)len));
		} else if (!adding && it->in_table) {
			table_remove(&table, &it->entry);
			it->in_table = false;
			assert_null(find(key, (size_t)len));
		}
		if (step % 5000 == 0) {
			size_t n = 0, walked = 0;

			for (size_t i = 0; i < ARRAY_LEN(items); i++)
				n += items[i].in_table;
			for (struct table_entry *e = NULL; (e = table_next(&table, e)) != NULL;)
				walked++;
			assert_int_equal(table.count, n);
			assert_int_equal(walked, n);
		}
	}
}

static void
test_a_flood_that_has_passed_gives_its_slots_back(void **state UNUSED)
{
	static struct item items[20000];

	memset(items, 0, sizeof(items));
	for (size_t i = 0; i < ARRAY_LEN(items); i++) {
		char key[8];
		int len = snprintf(key, sizeof(key), "%zu", i);

		add(&items[i], key, (size_t)len, table_hash(key, (size_t)len));
	}
	assert_true(table.mask + 1 >= ARRAY_LEN(items) / 2);
	for (size_t i = 10; i < ARRAY_LEN(items); i++)
		table_remove(&table, &items[i].entry);
	assert_in_range(table.mask + 1, 1, 1000);
	for (size_t i = 0; i < 10; i++)
		assert_ptr_equal(find(items[i].key, items[i].entry.key_len), &items[i].entry);
}

/* SipHash-c-d as the paper has it (Aumasson and Bernstein, 2012), byte by byte. */
static uint64_t
siphash(unsigned c, unsigned d, uint64_t k0, uint64_t k1, const unsigned char *in, size_t len)
{
	uint64_t v[4] = {k0 ^ 0x736f6d6570736575u, k1 ^ 0x646f72616e646f6du,
	    k0 ^ 0x6c7967656e657261u, k1 ^ 0x7465646279746573u};
	size_t words = len / 8 + 1;

#define ROTATE(x, n) ((x) << (n) | (x) >> (64 - (n)))
	for (size_t w = 0; w <= words; w++) {
		uint64_t m = 0;

		if (w < words) {
			for (size_t i = 0; i < 8; i++) {
				size_t at = 8 * w + i;
				uint64_t byte = at < len ? in[at] : 0;

				if (w == words - 1 && i == 7)
					byte = len & 0xff;
				m |= byte << (8 * i);
			}
			v[3] ^= m;
		} else {
			v[2] ^= 0xff;
		}
		for (unsigned round = 0; round < (w < words ? c : d); round++) {
			v[0] += v[1];
			v[2] += v[3];
			v[1] = ROTATE(v[1], 13) ^ v[0];
			v[3] = ROTATE(v[3], 16) ^ v[2];
			v[0] = ROTATE(v[0], 32);
			v[2] += v[1];
			v[0] += v[3];
			v[1] = ROTATE(v[1], 17) ^ v[2];
			v[3] = ROTATE(v[3], 21) ^ v[0];
			v[2] = ROTATE(v[2], 32);
		}
		v[0] ^= m;
	}
#undef ROTATE
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* Before the seed is drawn the key is 00 01 … 0f, which is the paper's as well. */
static void
test_the_hash_is_siphash_1_3(void **state UNUSED)
{
	const uint64_t k0 = 0x0706050403020100u, k1 = 0x0f0e0d0c0b0a0908u;
	unsigned char in[64];

	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (unsigned char)i;
	/* The test vector of the paper's appendix, for SipHash-2-4. */
	assert_true(siphash(2, 4, k0, k1, in, 15) == 0xa129ca6149be45e5u);
	for (size_t len = 0; len <= sizeof(in); len++)
		assert_true(table_hash(in, len) == siphash(1, 3, k0, k1, in, len));
}

/*
 * SipHash-1-3 with 128 bits has no published vectors. These are from a plain program that
 * gives those of SipHash-2-4-128's authors.
 */
static void
test_the_digest_is_siphash_of_128_bits(void **state UNUSED)
{
	static const struct {
		size_t len;
		uint64_t halves[2];
	} vectors[] = {
	    {0, {0xbea58827b2bc7ee7u, 0x013030dd6adb62fdu}},
	    {1, {0xa8edd36004376ffcu, 0x63f02f2bcc73055eu}},
	    {8, {0xb4dae3d5e1fe12aau, 0x99c7f935ab164f72u}},
	    {15, {0x6c52bdb205557ec1u, 0x09017e1eeccd2129u}},
	    {64, {0x36a54a4bf2de5312u, 0xc2666aba59a7c84eu}},
	};
	unsigned char in[64];

	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (unsigned char)i;
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		struct table_digest digest = table_digest(in, vectors[i].len);

		assert_memory_equal(digest.halves, vectors[i].halves, sizeof(digest.halves));
	}
}

/* The last test: the seed is the process's. */
static void
test_each_seed_gives_other_hashes(void **state UNUSED)
{
	uint64_t before = table_hash("channel", 7), after;

	assert_int_equal(table_seed(), 0);
	after = table_hash("channel", 7);
	assert_true(after != before);
	assert_true(table_hash("channel", 7) == after);
	assert_int_equal(table_seed(), 0);
	assert_true(table_hash("channel", 7) != after);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(test_keys_are_bytes_of_their_whole_length),
	    TEST(test_keys_of_one_hash_are_told_apart),
	    TEST(test_a_walk_meets_each_element_once),
	    TEST(test_a_walk_in_pieces_meets_each_element_that_stays_once),
	    TEST(test_a_piece_of_a_walk_is_bounded_in_an_empty_table_too),
	    TEST(test_a_table_that_is_emptied_from_its_front_ends),
	    TEST(test_random_additions_and_removals_agree_with_a_list),
	    TEST(test_a_flood_that_has_passed_gives_its_slots_back),
	    TEST(test_the_hash_is_siphash_1_3),
	    TEST(test_the_digest_is_siphash_of_128_bits),
	    TEST(test_each_seed_gives_other_hashes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
