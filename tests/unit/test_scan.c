/* How far bytes of one kind go: 16 at a time, and held against one at a time. */
#include "base/scan.h"

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

/* More than three times what is looked at at once. */
#define LONGEST 50

enum kind {
	NAME,
	VALUE,
	PATH,
	QUERY,
	KINDS,
};

static const char *
scan(enum kind kind, const char *p, const char *end)
{
	switch (kind) {
	case NAME:
		return scan_name(p, end);
	case VALUE:
		return scan_value(p, end);
	case PATH:
		return scan_target(p, end, '?');
	default:
		return scan_target(p, end, '#');
	}
}

static const char *
scan_plain(enum kind kind, const char *p, const char *end)
{
	switch (kind) {
	case NAME:
		return scan_name_plain(p, end);
	case VALUE:
		return scan_value_plain(p, end);
	case PATH:
		return scan_target_plain(p, end, '?');
	default:
		return scan_target_plain(p, end, '#');
	}
}

/* Written down once more, in another way. */
static bool
belongs(enum kind kind, int c)
{
	static const char name[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-";

	switch (kind) {
	case NAME:
		return c != 0 && strchr(name, c) != NULL;
	case VALUE:
		return c > 31 && c != 127;
	case PATH:
		return c > 32 && c < 127 && c != '#' && c != '?';
	default:
		return c > 32 && c < 127 && c != '#';
	}
}

static void
test_each_byte_ends_what_it_does_not_belong_to_wherever_it_stands(void **state UNUSED)
{
	for (int kind = 0; kind < KINDS; kind++) {
		for (size_t len = 1; len <= LONGEST; len++) {
			/* Blocks of their own, so that a read behind the end is found. */
			char *block = malloc(SCAN_MIN + len), *bytes = block + SCAN_MIN;

			memset(block, 'x', SCAN_MIN + len);
			for (size_t at = 0; at < len; at++) {
				for (int c = 0; c < 256; c++) {
					const size_t run = belongs(kind, c) ? len : at;

					bytes[at] = (char)c;
					assert_int_equal(
					    scan(kind, bytes, bytes + len) - bytes, run);
					assert_int_equal(
					    scan_plain(kind, bytes, bytes + len) - bytes, run);
				}
				bytes[at] = 'x';
			}
			free(block);
		}
	}
}

static void
test_the_first_of_several_ends_it(void **state UNUSED)
{
	char bytes[LONGEST];

	for (int kind = 0; kind < KINDS; kind++) {
		for (size_t first = 0; first < LONGEST; first++) {
			for (size_t second = first; second < LONGEST; second++) {
				memset(bytes, 'x', LONGEST);
				bytes[first] = bytes[second] = '\r';
				assert_ptr_equal(scan(kind, bytes, bytes + LONGEST), bytes + first);
			}
		}
	}
}

/* Which is read again where the last bytes are looked at. */
static void
test_what_lies_before_does_not_count(void **state UNUSED)
{
	for (int kind = 0; kind < KINDS; kind++) {
		for (size_t len = SCAN_MIN; len <= LONGEST; len++) {
			char *bytes = malloc(len);

			for (size_t from = 0; from <= len; from++) {
				memset(bytes, '\r', from);
				memset(bytes + from, 'x', len - from);
				assert_ptr_equal(
				    scan(kind, bytes + from, bytes + len), bytes + len);
				if (from == len)
					continue;
				bytes[len - 1] = '\n';
				assert_ptr_equal(
				    scan(kind, bytes + from, bytes + len), bytes + len - 1);
			}
			free(bytes);
		}
	}
}

static void
test_nothing_has_no_length(void **state UNUSED)
{
	for (int kind = 0; kind < KINDS; kind++) {
		char *bytes = malloc(SCAN_MIN), *end = bytes + SCAN_MIN;

		memset(bytes, 'x', SCAN_MIN);
		assert_ptr_equal(scan(kind, end, end), end);
		assert_ptr_equal(scan_plain(kind, end, end), end);
		free(bytes);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_each_byte_ends_what_it_does_not_belong_to_wherever_it_stands),
	    cmocka_unit_test(test_the_first_of_several_ends_it),
	    cmocka_unit_test(test_what_lies_before_does_not_count),
	    cmocka_unit_test(test_nothing_has_no_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
