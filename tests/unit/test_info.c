/* Channel information: the form that Accept asks for, and each form whole. */
#include "relay/info.h"

#include "base/attr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const format_names[] = {
    [INFO_PLAIN] = "plain", [INFO_JSON] = "JSON", [INFO_XML] = "XML", [INFO_YAML] = "YAML"};

static void
assert_answers(const char *accept, enum info_format expected)
{
	size_t len = strlen(accept);
	char *copy = malloc(len > 0 ? len : 1);
	enum info_format format;

	memcpy(copy, accept, len);
	format = info_negotiate(copy, len, INFO_PLAIN);
	free(copy);
	if (format != expected)
		fail_msg("Accept: %s is answered with %s, not with %s", accept,
		    format_names[format], format_names[expected]);
}

static void
test_without_accept_it_is_plain_text(void **state UNUSED)
{
	assert_int_equal(info_negotiate(NULL, 0, INFO_PLAIN), INFO_PLAIN);
	assert_answers("", INFO_PLAIN);
	assert_answers("*/*", INFO_PLAIN);
	assert_answers("text/*", INFO_PLAIN);
}

static enum info_format
negotiated(const char *accept, enum info_format usual)
{
	return info_negotiate(accept, strlen(accept), usual);
}

static void
test_what_is_usual_is_the_answer_where_accept_leaves_the_choice(void **state UNUSED)
{
	for (int f = INFO_PLAIN; f <= INFO_YAML; f++) {
		const enum info_format usual = (enum info_format)f;

		assert_int_equal(info_negotiate(NULL, 0, usual), usual);
		assert_int_equal(negotiated("", usual), usual);
		assert_int_equal(negotiated("*/*", usual), usual);
		assert_int_equal(negotiated("text/html, */*;q=0.1", usual), usual);
		assert_int_equal(negotiated("image/png", usual), usual);
		assert_int_equal(negotiated("application/xml, */*", usual), INFO_XML);
		assert_int_equal(negotiated("text/*", usual), INFO_PLAIN);
	}
	assert_int_equal(negotiated("application/*", INFO_PLAIN), INFO_JSON);
	assert_int_equal(negotiated("application/*", INFO_YAML), INFO_YAML);
	assert_int_equal(negotiated("application/json;q=0, */*", INFO_JSON), INFO_PLAIN);
}

static void
test_a_named_type_is_met(void **state UNUSED)
{
	assert_answers("text/plain", INFO_PLAIN);
	assert_answers("application/json", INFO_JSON);
	assert_answers("text/json", INFO_JSON);
	assert_answers("application/xml", INFO_XML);
	assert_answers("text/xml", INFO_XML);
	assert_answers("application/yaml", INFO_YAML);
	assert_answers("application/x-yaml", INFO_YAML);
	assert_answers("text/yaml", INFO_YAML);
	assert_answers("text/x-yaml", INFO_YAML);
	assert_answers("Application/JSON", INFO_JSON);
	assert_answers("application/json; charset=utf-8", INFO_JSON);
	assert_answers("  application/json  ", INFO_JSON);
	assert_answers("\tapplication/json\t;q=1", INFO_JSON);
}

static void
test_the_greatest_weight_decides(void **state UNUSED)
{
	assert_answers("application/json;q=0.5, application/xml;q=0.6", INFO_XML);
	assert_answers("application/json;q=0.6, application/xml;q=0.5", INFO_JSON);
	assert_answers("application/json; q=0.123 , application/xml; q=0.124", INFO_XML);
	assert_answers("application/xml;q=0.9,*/*;q=0.8", INFO_XML);
	assert_answers("text/plain;q=0.1,application/yaml;Q=0.2", INFO_YAML);
	assert_answers("application/json;q=0.999,application/xml;q=1.000", INFO_XML);
	assert_answers("application/json;version=1;q=0.2,application/xml;q=0.3", INFO_XML);
}

static void
test_of_equal_weight_the_first_named_comes_first(void **state UNUSED)
{
	assert_answers("application/xml, application/json", INFO_XML);
	assert_answers("application/json, application/xml", INFO_JSON);
	assert_answers("text/yaml;q=0.5, text/xml;q=0.5", INFO_YAML);
	/* Who names a type meant it more than who names a wildcard. */
	assert_answers("*/*, application/json", INFO_JSON);
	assert_answers("text/*, application/xml", INFO_XML);
}

static void
test_the_most_specific_range_weighs_a_type(void **state UNUSED)
{
	assert_answers("*/*, text/plain;q=0.1, application/json;q=0.2, application/xml;q=0.1, "
		       "text/xml;q=0.1, text/json;q=0.1, application/*;q=0.1, text/*;q=0.1",
	    INFO_JSON);
	assert_answers("text/*;q=0.9, text/plain;q=0.1, text/json;q=0.8", INFO_XML);
	assert_answers("application/*", INFO_JSON);
	assert_answers("application/*;q=0.5, application/json;q=0.1", INFO_XML);
}

static void
test_weight_0_excludes(void **state UNUSED)
{
	assert_answers("text/plain;q=0, application/json", INFO_JSON);
	assert_answers("application/json;q=0, application/xml;q=0.1", INFO_XML);
	assert_answers("application/json;q=0.000, */*;q=0.1", INFO_PLAIN);
	assert_answers("*/*;q=0, application/yaml;q=0.001", INFO_YAML);
	assert_answers("text/plain;q=0, */*;q=0.5", INFO_JSON);
}

/* A POST must not fail for what it accepts. */
static void
test_what_cannot_be_met_or_read_is_plain_text(void **state UNUSED)
{
	static const char *const others[] = {"image/png", "text/html", "*/*;q=0", "text/plain;q=0",
	    "application/json;q=0", "json", "/", "//", "*", ",", ",,,", ";", ";q=1", "/json",
	    "application/", "application/json/x", "*/json", "a/b;q=", "application", "text/htmlx"};

	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		assert_answers(others[i], INFO_PLAIN);
}

static void
test_odd_lists_do_not_hide_what_is_named(void **state UNUSED)
{
	assert_answers(",application/json", INFO_JSON);
	assert_answers("image/png,,application/json,", INFO_JSON);
	assert_answers("json, application/json;;q=1;", INFO_JSON);
	assert_answers("text/html;level=\"1,2\", application/json", INFO_JSON);
	/* What is malformed counts as 1. */
	assert_answers("application/json;q=x, application/xml;q=0.9", INFO_JSON);
	assert_answers("application/json;q=, application/xml;q=0.9", INFO_JSON);
	assert_answers("application/json;q=-1, application/xml;q=0.9", INFO_JSON);
	assert_answers("application/json;q=1.9, application/xml", INFO_JSON);
}

static void
test_each_format_has_its_content_type(void **state UNUSED)
{
	assert_string_equal(info_content_type(INFO_PLAIN), "text/plain; charset=utf-8");
	assert_string_equal(info_content_type(INFO_JSON), "application/json");
	assert_string_equal(info_content_type(INFO_XML), "application/xml");
	assert_string_equal(info_content_type(INFO_YAML), "application/yaml");
}

static void
assert_text(enum info_format format, const struct store_info *info, const char *expected)
{
	char buf[INFO_TEXT_MAX + 1];
	struct text t = text_in(buf, INFO_TEXT_MAX);

	info_write(&t, format, info);
	assert_true(text_ok(&t));
	buf[text_len(&t)] = '\0';
	assert_string_equal(buf, expected);
}

static void
test_each_format_says_the_same(void **state UNUSED)
{
	const struct store_info info = {.messages = 3,
	    .subscribers = 1,
	    .requested_s = 0,
	    .has_last = true,
	    .last = {1763690000, 12}};

	assert_text(INFO_PLAIN, &info,
	    "queued messages: 3\nlast requested: 0 sec. ago\nactive subscribers: 1\n"
	    "last message id: 1763690000:12\n");
	assert_text(INFO_JSON, &info,
	    "{\"messages\": 3, \"requested\": 0, \"subscribers\": 1, "
	    "\"last_message_id\": \"1763690000:12\"}\n");
	assert_text(INFO_XML, &info,
	    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<channel>\n  <messages>3</messages>\n"
	    "  <requested>0</requested>\n  <subscribers>1</subscribers>\n"
	    "  <last_message_id>1763690000:12</last_message_id>\n</channel>\n");
	/* In quotes: two numbers with a colon are a number to base 60 in YAML 1.1. */
	assert_text(INFO_YAML, &info,
	    "---\nmessages: 3\nrequested: 0\nsubscribers: 1\n"
	    "last_message_id: \"1763690000:12\"\n");
}

static void
test_a_channel_that_nobody_used_has_no_last_id_and_was_requested_minus_1(void **state UNUSED)
{
	const struct store_info info = {.requested_s = -1};

	assert_text(INFO_PLAIN, &info,
	    "queued messages: 0\nlast requested: -1 sec. ago\nactive subscribers: 0\n"
	    "last message id: none\n");
	assert_text(INFO_JSON, &info,
	    "{\"messages\": 0, \"requested\": -1, \"subscribers\": 0, "
	    "\"last_message_id\": null}\n");
	assert_text(INFO_XML, &info,
	    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<channel>\n  <messages>0</messages>\n"
	    "  <requested>-1</requested>\n  <subscribers>0</subscribers>\n"
	    "  <last_message_id></last_message_id>\n</channel>\n");
	assert_text(INFO_YAML, &info,
	    "---\nmessages: 0\nrequested: -1\nsubscribers: 0\nlast_message_id: null\n");
}

static void
test_the_longest_numbers_fit(void **state UNUSED)
{
	const struct store_info info = {.messages = INT64_MAX,
	    .subscribers = INT64_MAX,
	    .requested_s = INT64_MAX,
	    .has_last = true,
	    .last = {INT64_MAX, INT64_MAX}};

	for (int format = INFO_PLAIN; format <= INFO_YAML; format++) {
		char *buf = malloc(INFO_TEXT_MAX);
		struct text t = text_in(buf, INFO_TEXT_MAX);

		info_write(&t, (enum info_format)format, &info);
		assert_true(text_ok(&t));
		free(buf);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_without_accept_it_is_plain_text),
	    cmocka_unit_test(test_what_is_usual_is_the_answer_where_accept_leaves_the_choice),
	    cmocka_unit_test(test_a_named_type_is_met),
	    cmocka_unit_test(test_the_greatest_weight_decides),
	    cmocka_unit_test(test_of_equal_weight_the_first_named_comes_first),
	    cmocka_unit_test(test_the_most_specific_range_weighs_a_type),
	    cmocka_unit_test(test_weight_0_excludes),
	    cmocka_unit_test(test_what_cannot_be_met_or_read_is_plain_text),
	    cmocka_unit_test(test_odd_lists_do_not_hide_what_is_named),
	    cmocka_unit_test(test_each_format_has_its_content_type),
	    cmocka_unit_test(test_each_format_says_the_same),
	    cmocka_unit_test(
		test_a_channel_that_nobody_used_has_no_last_id_and_was_requested_minus_1),
	    cmocka_unit_test(test_the_longest_numbers_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
