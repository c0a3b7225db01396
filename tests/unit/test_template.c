/* Templates: which words are tokens, and what stands for them. */
#include "relay/template.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PART(s)                            \
	{                                  \
		.p = (s), .len = strlen(s) \
	}

/* text with these values becomes expected, in exactly the room that was measured. */
static void
assert_becomes(const char *text, const struct template_values *values, const char *expected)
{
	const char *problem;
	struct template *t = template_new(text, &problem);
	size_t len;
	char *buf;
	struct text out;

	assert_non_null(t);
	assert_string_equal(template_source(t), text);
	len = template_length(t, values);
	assert_int_equal(len, strlen(expected));
	buf = malloc(len + 1);
	assert_non_null(buf);
	out = text_in(buf, len);
	template_write(t, values, &out);
	assert_true(text_ok(&out));
	assert_int_equal(text_len(&out), len);
	assert_memory_equal(buf, expected, len);
	free(buf);
	template_free(t);
}

static void
test_each_token_stands_for_its_value(void **state UNUSED)
{
	const struct template_values values = {
	    .number = 12,
	    .id = {784111777, 3},
	    .channel = PART("room"),
	    .text = PART("hello"),
	    .event_id = PART("ev-1"),
	    .event_type = PART("news"),
	};

	assert_becomes("~id~", &values, "12");
	assert_becomes("~channel~", &values, "room");
	assert_becomes("~text~", &values, "hello");
	assert_becomes("~tag~", &values, "3");
	assert_becomes("~time~", &values, "Sun, 06 Nov 1994 08:49:37 GMT");
	assert_becomes("~size~", &values, "5");
	assert_becomes("~event-id~", &values, "ev-1");
	assert_becomes("~event-type~", &values, "news");
	assert_becomes("{\"id\":~id~,\"channel\":\"~channel~\",\"text\":~text~}\r\n", &values,
	    "{\"id\":12,\"channel\":\"room\",\"text\":hello}\r\n");
	assert_becomes("~text~~text~", &values, "hellohello");
}

static void
test_what_is_no_token_stays_as_it_is(void **state UNUSED)
{
	static const char *const texts[] = {"x", "~", "~~", "~ID~", "~text", "text~", "~ text~",
	    "~texts~", "~event_id~", "a~b~c", "~~~", "~time ~"};
	const struct template_values values = {.text = PART("hello")};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		assert_becomes(texts[i], &values, texts[i]);
	/* The tilde behind an unknown word begins the next one. */
	assert_becomes("~what~text~", &values, "~whathello");
	assert_becomes("~~text~~", &values, "~hello~");
}

static void
test_values_go_in_as_they_are_and_are_not_looked_at_again(void **state UNUSED)
{
	const struct template_values values = {
	    .channel = PART("~text~"),
	    .text = PART("\"~id~\r\n~"),
	};

	assert_becomes("~channel~|~text~|", &values, "~text~|\"~id~\r\n~|");
}

static void
test_value_that_is_not_there_leaves_nothing(void **state UNUSED)
{
	const struct template_values values = {.number = UINT64_C(9223372036854775807)};

	assert_becomes("[~text~~event-id~~event-type~~channel~]", &values, "[]");
	assert_becomes("~size~", &values, "0");
	assert_becomes("~id~", &values, "9223372036854775807");
	assert_becomes("~time~", &values, "Thu, 01 Jan 1970 00:00:00 GMT");
	assert_becomes("", &values, "");
}

static void
test_body_of_any_bytes_goes_in_whole(void **state UNUSED)
{
	const struct template_values values = {.text = {.p = "a\0b", .len = 3}};
	const char *problem;
	struct template *t = template_new("<~text~>", &problem);
	char buf[5];
	struct text out = text_in(buf, sizeof(buf));

	assert_non_null(t);
	assert_int_equal(template_length(t, &values), 5);
	template_write(t, &values, &out);
	assert_true(text_ok(&out));
	assert_memory_equal(buf, "<a\0b>", 5);
	template_free(t);
	template_free(NULL);
}

static void
test_too_many_tokens_are_refused(void **state UNUSED)
{
	char text[65 * 6 + 1] = "";
	const char *problem = NULL;
	struct template *t;

	for (int i = 0; i < 64; i++)
		strcat(text, "~text~");
	t = template_new(text, &problem);
	assert_non_null(t);
	template_free(t);
	strcat(text, "~text~");
	assert_null(template_new(text, &problem));
	assert_string_equal(problem, "has more than 64 tokens such as ~text~");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_each_token_stands_for_its_value),
	    cmocka_unit_test(test_what_is_no_token_stays_as_it_is),
	    cmocka_unit_test(test_values_go_in_as_they_are_and_are_not_looked_at_again),
	    cmocka_unit_test(test_value_that_is_not_there_leaves_nothing),
	    cmocka_unit_test(test_body_of_any_bytes_goes_in_whole),
	    cmocka_unit_test(test_too_many_tokens_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
