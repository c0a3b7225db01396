/* Text in a buffer of fixed size: what fits, what does not, and that it is remembered. */
#include "base/text.h"

#include "base/attr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
test_pieces_come_one_behind_another(void **state UNUSED)
{
	char buf[32];
	struct text t = text_in(buf, sizeof(buf));

	assert_int_equal(text_len(&t), 0);
	TEXT_LIT(&t, "GET ");
	text_str(&t, "/a");
	text_str(&t, "");
	text_add(&t, " \0HTTP", 6);
	text_add(&t, NULL, 0);
	assert_true(text_ok(&t));
	assert_int_equal(text_len(&t), 12);
	assert_memory_equal(buf, "GET /a \0HTTP", 12);
}

static void
test_a_buffer_may_be_filled_to_its_last_byte(void **state UNUSED)
{
	char *buf = malloc(5); /* its end is watched by AddressSanitizer */
	struct text t = text_in(buf, 5);

	TEXT_LIT(&t, "ab");
	TEXT_LIT(&t, "cde");
	assert_true(text_ok(&t));
	TEXT_LIT(&t, "");
	assert_true(text_ok(&t));
	assert_int_equal(text_len(&t), 5);
	assert_memory_equal(buf, "abcde", 5);
	free(buf);
}

static void
test_what_does_not_fit_is_left_out_and_remembered(void **state UNUSED)
{
	char *buf = malloc(5);
	struct text t = text_in(buf, 5);

	TEXT_LIT(&t, "abc");
	TEXT_LIT(&t, "def");
	assert_false(text_ok(&t));
	assert_int_equal(text_len(&t), 3);
	/* Also when something fits again. */
	TEXT_LIT(&t, "gh");
	assert_false(text_ok(&t));
	assert_in_range(text_len(&t), 0, 5);
	free(buf);
}

static void
test_a_buffer_of_no_bytes_takes_nothing(void **state UNUSED)
{
	char none[1] = "x";
	struct text t = text_in(none, 0);

	TEXT_LIT(&t, "");
	assert_true(text_ok(&t));
	TEXT_LIT(&t, "a");
	assert_false(text_ok(&t));
	assert_int_equal(none[0], 'x');
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_pieces_come_one_behind_another),
	    cmocka_unit_test(test_a_buffer_may_be_filled_to_its_last_byte),
	    cmocka_unit_test(test_what_does_not_fit_is_left_out_and_remembered),
	    cmocka_unit_test(test_a_buffer_of_no_bytes_takes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
