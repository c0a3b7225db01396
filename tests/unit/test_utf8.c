/* Which bytes are UTF-8: held against what RFC 3629 says of code points, and counted. */
#include "relay/utf8.h"

#include "base/attr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A character by the table of RFC 3629, section 3; returns its length. */
static size_t
encode(uint32_t c, unsigned char out[4])
{
	if (c < 0x80) {
		out[0] = (unsigned char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (unsigned char)(0xc0 | c >> 6);
		out[1] = (unsigned char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (unsigned char)(0xe0 | c >> 12);
		out[1] = (unsigned char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (unsigned char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (unsigned char)(0xf0 | c >> 18);
	out[1] = (unsigned char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (unsigned char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (unsigned char)(0x80 | (c & 0x3f));
	return 4;
}

static bool
is_character(uint32_t c)
{
	return c <= 0x10ffff && !(c >= 0xd800 && c <= 0xdfff);
}

/* In a block of exactly its length, whose end is watched; in two pieces cut at each place. */
static bool
valid(const void *bytes, size_t len)
{
	char *copy = malloc(len > 0 ? len : 1);
	bool whole;

	memcpy(copy, bytes, len);
	whole = utf8_valid(copy, len);
	for (size_t cut = 0; cut <= len; cut++) {
		struct utf8 u = {0};
		bool both = utf8_feed(&u, copy, cut) && utf8_feed(&u, copy + cut, len - cut) &&
			    utf8_whole(&u);

		if (both != whole)
			fail_msg("cut at %zu of %zu it is %s", cut, len, both ? "valid" : "not");
	}
	free(copy);
	return whole;
}

static void
test_every_character_is_valid_and_no_part_of_it(void **state UNUSED)
{
	for (uint32_t c = 0; c < 0x110000; c++) {
		unsigned char bytes[4];
		size_t len = encode(c, bytes);
		struct utf8 u = {0};

		if (utf8_valid((const char *)bytes, len) != is_character(c))
			fail_msg("U+%04X is %s", c, is_character(c) ? "refused" : "taken");
		if (!is_character(c))
			continue;
		for (size_t part = 1; part < len; part++) {
			assert_true(utf8_feed(&u, (const char *)bytes + part - 1, 1));
			assert_false(utf8_whole(&u));
			assert_false(utf8_valid((const char *)bytes, part));
			/* Nor does one begin in the middle. */
			assert_false(utf8_valid((const char *)bytes + part, len - part));
		}
	}
}

/*
 * There are 128 characters of one byte, 1920 of two, 61440 of three (without surrogates):
 * so many strings of three bytes are valid, and all are tried.
 */
static void
test_of_all_strings_of_three_bytes_so_many_are_valid_as_there_are_characters(void **state UNUSED)
{
	const unsigned one = 128, two = 1920, three = 61440;
	unsigned of_1 = 0, of_2 = 0, of_3 = 0;
	char bytes[3];

	for (unsigned i = 0; i < 1u << 24; i++) {
		bytes[0] = (char)(i >> 16);
		bytes[1] = (char)(i >> 8);
		bytes[2] = (char)i;
		of_3 += utf8_valid(bytes, 3);
		if ((i & 0xff) == 0)
			of_2 += utf8_valid(bytes, 2);
		if ((i & 0xffff) == 0)
			of_1 += utf8_valid(bytes, 1);
	}
	assert_int_equal(of_1, one);
	assert_int_equal(of_2, one * one + two);
	assert_int_equal(of_3, one * one * one + 2 * one * two + three);
}

/* The same for four: those that begin with 0xf0 or above, all of one character. */
static void
test_of_all_strings_that_begin_as_one_of_four_bytes_so_many_are_valid(void **state UNUSED)
{
	unsigned found = 0;
	char bytes[4];

	for (unsigned i = 0xf00000; i <= 0xffffff; i++)
		for (unsigned last = 0x7e; last <= 0xc1; last++) {
			bytes[0] = (char)(i >> 16);
			bytes[1] = (char)(i >> 8);
			bytes[2] = (char)i;
			bytes[3] = (char)last;
			/* Most are refused at their second byte; the others are counted. */
			if (((i >> 8 & 0xc0) == 0x80 || last == 0x80))
				found += utf8_valid(bytes, 4);
		}
	assert_int_equal(found, 0x110000 - 0x10000);
}

static void
test_what_looks_like_utf8_is_refused_at_the_first_byte_that_shows_it(void **state UNUSED)
{
	static const struct {
		const char *what, *bytes;
		size_t len, good; /* bytes that still could become something */
	} cases[] = {
	    {"a continuation", "\x80", 1, 0},
	    {"the last continuation", "\xbf", 1, 0},
	    {"an overlong slash of two", "\xc0\xaf", 2, 0},
	    {"an overlong slash of three", "\xe0\x80\xaf", 3, 1},
	    {"an overlong slash of four", "\xf0\x80\x80\xaf", 4, 1},
	    {"the largest overlong of two", "\xc1\xbf", 2, 0},
	    {"the largest overlong of three", "\xe0\x9f\xbf", 3, 1},
	    {"the largest overlong of four", "\xf0\x8f\xbf\xbf", 4, 1},
	    {"a NUL of two", "\xc0\x80", 2, 0},
	    {"a high surrogate", "\xed\xa0\x80", 3, 1},
	    {"a low surrogate", "\xed\xbf\xbf", 3, 1},
	    {"a pair of surrogates", "\xed\xa0\x80\xed\xb0\x80", 6, 1},
	    {"beyond U+10FFFF", "\xf4\x90\x80\x80", 4, 1},
	    {"far beyond it", "\xf5\x80\x80\x80", 4, 0},
	    {"five bytes", "\xf8\x88\x80\x80\x80", 5, 0},
	    {"six bytes", "\xfc\x84\x80\x80\x80\x80", 6, 0},
	    {"0xfe", "\xfe", 1, 0},
	    {"0xff", "\xff", 1, 0},
	    {"an ASCII byte too early", "\xe2\x82x", 3, 2},
	    {"a beginning too early", "\xf0\x9f\x98\xf0", 4, 3},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct utf8 u = {0};
		size_t at = 0;

		assert_false(valid(cases[i].bytes, cases[i].len));
		while (at < cases[i].len && utf8_feed(&u, cases[i].bytes + at, 1))
			at++;
		if (at != cases[i].good)
			fail_msg("%s: refused at byte %zu", cases[i].what, at);
	}
}

static void
test_texts_of_all_lengths_are_valid_with_a_character_anywhere(void **state UNUSED)
{
	static const char *const characters[] = {"\xc3\xbc", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
	char text[80];

	assert_true(valid("", 0));
	assert_true(utf8_valid(NULL, 0));
	for (size_t len = 0; len < 40; len++)
		for (size_t at = 0; at <= len; at++)
			for (size_t c = 0; c < ARRAY_LEN(characters); c++) {
				size_t n = strlen(characters[c]);

				memset(text, 'x', sizeof(text));
				memcpy(text + at, characters[c], n);
				assert_true(valid(text, len + n));
				text[at + n - 1] = 'x';
				assert_false(valid(text, len + n));
			}
}

static void
test_a_prefix_ends_between_two_characters(void **state UNUSED)
{
	const char text[] = "a\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80z";
	const size_t len = sizeof(text) - 1;
	const size_t prefix[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11};

	for (size_t max = 0; max < ARRAY_LEN(prefix); max++) {
		assert_int_equal(utf8_prefix(text, len, max), prefix[max]);
		assert_int_equal(utf8_prefix(text, max, 1000), prefix[max]);
	}
	assert_int_equal(utf8_prefix(NULL, 0, 10), 0);
	assert_int_equal(utf8_prefix("ab\xff"
				     "cd",
			     5, 5),
	    2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_character_is_valid_and_no_part_of_it),
	    cmocka_unit_test(
		test_of_all_strings_of_three_bytes_so_many_are_valid_as_there_are_characters),
	    cmocka_unit_test(test_of_all_strings_that_begin_as_one_of_four_bytes_so_many_are_valid),
	    cmocka_unit_test(test_what_looks_like_utf8_is_refused_at_the_first_byte_that_shows_it),
	    cmocka_unit_test(test_texts_of_all_lengths_are_valid_with_a_character_anywhere),
	    cmocka_unit_test(test_a_prefix_ends_between_two_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
