/* Dates, Etags and ids as text, both ways: all that a stranger may send. */
#include "relay/position.h"

#include "base/attr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* Sun, 06 Nov 1994 08:49:37 GMT, the date of RFC 9110. */
#define EXAMPLE INT64_C(784111777)

/* Always the same numbers, so that a failure comes again. */
static uint64_t
next_random(void)
{
	static uint64_t x = 88172645463325252u;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

/* Parsed from a block of exactly its length, whose end is watched. */
static bool
parse_date(const char *text, int64_t *second)
{
	size_t len = strlen(text);
	char *copy = malloc(len > 0 ? len : 1);
	bool ok;

	memcpy(copy, text, len);
	ok = http_date_parse(copy, len, second);
	free(copy);
	return ok;
}

static void
assert_date(const char *text, int64_t expected)
{
	int64_t second = -7;

	if (!parse_date(text, &second))
		fail_msg("\"%s\" was refused", text);
	if (second != expected)
		fail_msg("\"%s\" was read as %lld, not as %lld", text, (long long)second,
		    (long long)expected);
}

static void
assert_no_date(const char *text)
{
	int64_t second;

	if (parse_date(text, &second))
		fail_msg("\"%s\" was read as %lld", text, (long long)second);
}

static void
test_the_three_forms_of_a_date_are_read(void **state UNUSED)
{
	assert_date("Sun, 06 Nov 1994 08:49:37 GMT", EXAMPLE);
	assert_date("Sunday, 06-Nov-94 08:49:37 GMT", EXAMPLE);
	assert_date("Sun Nov  6 08:49:37 1994", EXAMPLE);
	/* A day of two digits in asctime's form. */
	assert_date("Wed Nov 16 08:49:37 1994", EXAMPLE + 10 * 86400);
}

static void
test_the_old_clients_first_date_is_read(void **state UNUSED)
{
	assert_date("Thu, 1 Jan 1970 00:00:00 GMT", 0);
	assert_date("Thu, 01 Jan 1970 00:00:00 GMT", 0);
	assert_date("Sun, 6 Nov 1994 08:49:37 GMT", EXAMPLE);
}

static void
test_numeric_zones_are_read(void **state UNUSED)
{
	assert_date("Sun, 06 Nov 1994 08:49:37 +0000", EXAMPLE);
	assert_date("Sun, 06 Nov 1994 08:49:37 -0000", EXAMPLE);
	assert_date("Sun, 06 Nov 1994 08:49:37 UTC", EXAMPLE);
	assert_date("Sun, 06 Nov 1994 09:49:37 +0100", EXAMPLE);
	assert_date("Sun, 06 Nov 1994 14:19:37 +0530", EXAMPLE);
	assert_date("Sun, 06 Nov 1994 00:49:37 -0800", EXAMPLE);
	/* It changes the day. */
	assert_date("Mon, 07 Nov 1994 00:19:37 +1530", EXAMPLE);
}

static void
test_dates_before_1970_are_0(void **state UNUSED)
{
	assert_date("Wed, 31 Dec 1969 23:59:59 GMT", 0);
	assert_date("Thu, 01 Jan 1970 00:30:00 +0100", 0);
	assert_date("Mon, 01 Jan 0001 00:00:00 GMT", 0);
	assert_date("Fri, 31 Dec 1999 23:59:59 GMT", 946684799);
}

static void
test_dates_beyond_32_bits_are_read(void **state UNUSED)
{
	assert_date("Tue, 19 Jan 2038 03:14:08 GMT", INT64_C(2147483648));
	assert_date("Sun, 07 Feb 2106 06:28:16 GMT", INT64_C(4294967296));
	assert_date("Fri, 31 Dec 9999 23:59:59 GMT", INT64_C(253402300799));
}

static void
test_days_that_a_month_does_not_have_are_no_dates(void **state UNUSED)
{
	assert_date("Tue, 29 Feb 2000 00:00:00 GMT", 951782400);
	assert_no_date("Tue, 29 Feb 2100 00:00:00 GMT");
	assert_no_date("Tue, 29 Feb 2001 00:00:00 GMT");
	assert_no_date("Tue, 30 Feb 2000 00:00:00 GMT");
	assert_no_date("Tue, 31 Apr 2000 00:00:00 GMT");
	assert_no_date("Tue, 32 Jan 2000 00:00:00 GMT");
	assert_no_date("Tue, 00 Jan 2000 00:00:00 GMT");
	assert_no_date("Tue Feb 30 00:00:00 2000");
	assert_no_date("Sunday, 31-Nov-94 08:49:37 GMT");
}

static void
test_a_leap_second_is_the_second_before(void **state UNUSED)
{
	assert_date("Sat, 31 Dec 2016 23:59:60 GMT", 1483228799);
	assert_no_date("Sat, 31 Dec 2016 23:59:61 GMT");
}

static void
test_what_is_malformed_is_no_date(void **state UNUSED)
{
	static const char *const bad[] = {
	    "",
	    " ",
	    "0",
	    "yesterday",
	    "784111777",
	    "1994-11-06T08:49:37Z",
	    "Sun",
	    "Sun,",
	    "Sun, 06 Nov 1994",
	    "Sun, 06 Nov 1994 08:49:37",
	    "Sun, 06 Nov 1994 08:49:37 ",
	    "Sun, 06 Nov 1994 08:49:37 G",
	    "Sun, 06 Nov 1994 08:49:37 GMTx",
	    "Sun, 06 Nov 1994 08:49:37 GMT ",
	    " Sun, 06 Nov 1994 08:49:37 GMT",
	    "Sun, 06 Nov 1994 08:49:37  GMT",
	    "Sun, 06 Nov 1994 08:49:37GMT",
	    "Sun, 06 Nov 1994 08:49 GMT",
	    "Sun, 06 Nov 1994 8:49:37 GMT",
	    "Sun, 06 Nov 1994 24:00:00 GMT",
	    "Sun, 06 Nov 1994 08:60:37 GMT",
	    "Sun, 06 Nov 1994 08:49:-7 GMT",
	    "Sun, 06 Nov 94 08:49:37 GMT",
	    "Sun, 06 Nov 19940 08:49:37 GMT",
	    "Sun, 006 Nov 1994 08:49:37 GMT",
	    "Sun, -6 Nov 1994 08:49:37 GMT",
	    "Sun, 06 November 1994 08:49:37 GMT",
	    "Sun, 06 Nuv 1994 08:49:37 GMT",
	    "Sun, 06-Nov-94 08:49:37 GMT",
	    "Sunday, 06 Nov 1994 08:49:37 GMT",
	    "Sunday, 06-Nov-1994 08:49:37 GMT",
	    "Som, 06 Nov 1994 08:49:37 GMT",
	    ", 06 Nov 1994 08:49:37 GMT",
	    "06 Nov 1994 08:49:37 GMT",
	    "Sun, 06 Nov 1994 08:49:37 CET",
	    "Sun, 06 Nov 1994 08:49:37 0100",
	    "Sun, 06 Nov 1994 08:49:37 +01",
	    "Sun, 06 Nov 1994 08:49:37 +01:00",
	    "Sun, 06 Nov 1994 08:49:37 +00100",
	    "Sun, 06 Nov 1994 08:49:37 +2400",
	    "Sun, 06 Nov 1994 08:49:37 +0060",
	    "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
	    "Sun, 06 Nov 1994 08:49:37 GMT; length=123",
	    "Sun Nov 6 08:49:37 94",
	    "Sun Nov  6 08:49:37 1994 GMT",
	    "Sun Nov   6 08:49:37 1994",
	    "Sun Nov 06 08:49:37",
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_no_date(bad[i]);
}

static void
test_a_nul_ends_no_date(void **state UNUSED)
{
	int64_t second;

	assert_false(http_date_parse("Sun, 06 Nov 1994 08:49:37 GMT\0", 30, &second));
	assert_false(http_date_parse("Sun, 06 Nov\0001994 08:49:37 GMT", 29, &second));
}

static void
test_no_beginning_of_a_date_is_one(void **state UNUSED)
{
	static const char *const whole[] = {"Sun, 06 Nov 1994 08:49:37 +0100",
	    "Wednesday, 09-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"};

	for (size_t i = 0; i < ARRAY_LEN(whole); i++)
		for (size_t len = 0; len < strlen(whole[i]); len++) {
			char *part = strndup(whole[i], len);

			assert_no_date(part);
			free(part);
		}
}

/* The year that two digits mean: never more than 50 years ahead (RFC 9110, 5.6.7). */
static void
test_two_digits_of_a_year_mean_the_nearest_past_or_the_next_50_years(void **state UNUSED)
{
	time_t now = time(NULL);
	struct tm today;

	gmtime_r(&now, &today);
	for (int ahead = -49; ahead <= 49; ahead++) {
		struct tm tm = {.tm_year = today.tm_year + ahead, .tm_mday = 1};
		int64_t expected = timegm(&tm);
		char text[64];

		strftime(text, sizeof(text), "%A, %d-%b-", &tm);
		snprintf(text + strlen(text), 32, "%02d 00:00:00 GMT", tm.tm_year % 100);
		assert_date(text, expected < 0 ? 0 : expected);
	}
}

static void
test_random_times_are_written_as_strftime_does_and_read_back(void **state UNUSED)
{
	for (int i = 0; i < 20000; i++) {
		/* Up to the end of 9999, and every other one within 140 years. */
		time_t t = (time_t)(next_random() %
				    (i % 2 ? UINT64_C(253402300800) : UINT64_C(4400000000)));
		char text[64], written[HTTP_DATE_LEN + 1] = "";
		struct tm tm;

		gmtime_r(&t, &tm);
		http_date_format(t, written);
		strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &tm);
		assert_string_equal(written, text);
		assert_date(text, t);
		strftime(text, sizeof(text), "%a %b %e %H:%M:%S %Y", &tm);
		assert_date(text, t);
		strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S +0000", &tm);
		assert_date(text, t);
	}
}

/* The ends of February and of the year decide; and all days of some centuries. */
static void
test_every_day_of_the_calendar_is_read_as_timegm_does(void **state UNUSED)
{
	for (int year = 1970; year <= 9999; year++) {
		const bool all = year < 2110 || year % 400 < 2;

		for (int day = 0; day < 366; day += all || (day > 55 && day < 63) ? 1 : 5) {
			struct tm tm = {.tm_year = year - 1900, .tm_mday = 1 + day, .tm_hour = 23};
			const time_t t = timegm(&tm);
			char text[64];

			strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &tm);
			if (tm.tm_year + 1900 == year)
				assert_date(text, t);
		}
	}
}

/* The form of our own dates is read in another way than one with a numeric zone. */
static void
test_a_date_with_any_byte_changed_is_the_same_in_either_zone(void **state UNUSED)
{
	static const char zoned[] = "Sun, 06 Nov 1994 08:49:37 +0000";
	static const char own[] = "Sun, 06 Nov 1994 08:49:37 GMT";
	const size_t own_len = sizeof(own) - 1, zoned_len = sizeof(zoned) - 1;
	unsigned read = 0;

	for (size_t at = 0; at < strlen("Sun, 06 Nov 1994 08:49:37 "); at++) {
		for (int c = 0; c < 256; c++) {
			char *one = malloc(own_len), *other = malloc(zoned_len);
			int64_t second = -1, other_second = -1;
			bool ok;

			memcpy(one, own, own_len);
			memcpy(other, zoned, zoned_len);
			one[at] = other[at] = (char)c;
			ok = http_date_parse(one, own_len, &second);
			assert_int_equal(ok, http_date_parse(other, zoned_len, &other_second));
			assert_int_equal(second, other_second);
			read += ok;
			free(one);
			free(other);
		}
	}
	/* Each byte as it was, other digits, letters in the other case. */
	assert_in_range(read, 26 + 30, 26 * 11);
}

static void
test_random_zones_are_what_timegm_says(void **state UNUSED)
{
	for (int i = 0; i < 2000; i++) {
		int64_t t = (int64_t)(next_random() % UINT64_C(4400000000)) + 86400;
		int minutes = (int)(next_random() % (2 * 1439)) - 1439;
		time_t local = (time_t)(t + minutes * 60);
		char text[64], zone[16];
		struct tm tm;

		gmtime_r(&local, &tm);
		strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S ", &tm);
		snprintf(zone, sizeof(zone), "%c%02d%02d", minutes < 0 ? '-' : '+',
		    abs(minutes) / 60, abs(minutes) % 60);
		strcat(text, zone);
		assert_date(text, t);
	}
}

/* Whatever a date is made of, parsing it must end, and within its bytes. */
static void
test_damaged_dates_are_read_or_refused_within_their_bytes(void **state UNUSED)
{
	static const char *const whole[] = {"Sun, 06 Nov 1994 08:49:37 +0100",
	    "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"};

	for (int i = 0; i < 60000; i++) {
		const char *from = whole[i % 3];
		size_t len = strlen(from);
		char *copy = malloc(len);
		int64_t second = 0;

		memcpy(copy, from, len);
		for (uint64_t n = next_random() % 3; n-- > 0;)
			copy[next_random() % len] = (char)next_random();
		if (http_date_parse(copy, len, &second))
			assert_true(second >= 0);
		free(copy);
	}
}

static bool
parse_etag(const char *text, int64_t *tag)
{
	size_t len = strlen(text);
	char *copy = malloc(len > 0 ? len : 1);
	bool ok;

	memcpy(copy, text, len);
	ok = etag_parse(copy, len, tag);
	free(copy);
	return ok;
}

static void
test_the_forms_of_an_etag_are_read(void **state UNUSED)
{
	static const char *const good[] = {
	    "7", "\"7\"", "W/\"7\"", "\"7-gzip\"", "W/\"7-gzip\"", "007"};
	int64_t tag;

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		tag = -2;
		if (!parse_etag(good[i], &tag) || tag != 7)
			fail_msg("%s was refused, or is %lld", good[i], (long long)tag);
	}
	assert_true(parse_etag("0", &tag) && tag == 0);
	assert_true(parse_etag("\"999999\"", &tag) && tag == 999999);
	assert_true(
	    parse_etag("\"123456789012345678\"", &tag) && tag == INT64_C(123456789012345678));
}

static void
test_all_other_etags_are_malformed(void **state UNUSED)
{
	static const char *const bad[] = {"", "\"", "\"\"", "\"\"\"", "*", "\"*\"", "7, 8",
	    "\"7\", \"8\"", "\"7\",\"8\"", "\"7", "7\"", "'7'", "W/7", "W/", "W", "w/\"7\"",
	    "W/ \"7\"", "W/W/\"7\"", "W/\"7", "W/\"\"", "7-gzip", "W/7-gzip", "\"-gzip\"",
	    "\"7-gzip-gzip\"", "\"7-GZIP\"", "\"7-br\"", "\"7\"-gzip", "-1", "\"-1\"", "+7",
	    "\"+7\"", " 7", "7 ", "\" 7\"", "\"7 \"", "7.0", "7e1", "0x7", "seven", "\"a\"",
	    "99999999999999999999", "\"99999999999999999999\"", "\"18446744073709551616\"",
	    "9223372036854775808"};
	int64_t tag;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (parse_etag(bad[i], &tag))
			fail_msg("%s was read as %lld", bad[i], (long long)tag);
	assert_false(etag_parse("7\0", 2, &tag));
	assert_false(etag_parse("\"7\0\"", 4, &tag));
}

static bool
parse_msgid(const char *text, struct msgid *id)
{
	size_t len = strlen(text);
	char *copy = malloc(len > 0 ? len : 1);
	bool ok;

	memcpy(copy, text, len);
	ok = msgid_parse(copy, len, id);
	free(copy);
	return ok;
}

static void
test_the_id_of_event_streams_is_two_numbers(void **state UNUSED)
{
	static const char *const bad[] = {"", ":", "1", "1:", ":1", "1:2:3", "1::2", "-1:2", "1:-2",
	    " 1:2", "1:2 ", "1 :2", "1: 2", "+1:2", "a:b", "1:2a", "1,2", "1;2", "\"1:2\"",
	    "99999999999999999999:0", "0:99999999999999999999"};
	struct msgid id;

	assert_true(parse_msgid("0:0", &id) && id.second == 0 && id.tag == 0);
	assert_true(parse_msgid("1763690000:12", &id));
	assert_true(id.second == 1763690000 && id.tag == 12);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (parse_msgid(bad[i], &id))
			fail_msg("%s was read as %lld:%lld", bad[i], (long long)id.second,
			    (long long)id.tag);
	assert_false(msgid_parse("1:2\0", 4, &id));
	assert_false(msgid_parse("1\0:2", 4, &id));
}

static void
assert_number(int64_t n)
{
	char *written = malloc(NUMBER_TEXT_MAX), expected[32];
	int len = snprintf(expected, sizeof(expected), "%lld", (long long)n);

	assert_int_equal(number_format(n, written), len);
	assert_memory_equal(written, expected, (size_t)len);
	free(written);
}

static void
test_numbers_are_written_as_printf_does(void **state UNUSED)
{
	const int64_t edges[] = {0, 1, 9, 10, 99, 100, -1, -10, INT64_MAX, INT64_MIN};

	for (size_t i = 0; i < ARRAY_LEN(edges); i++)
		assert_number(edges[i]);
	for (int i = 0; i < 10000; i++)
		assert_number((int64_t)next_random() >> next_random() % 64);
}

static void
test_ids_are_read_back_as_they_were_written(void **state UNUSED)
{
	char longest[MSGID_TEXT_MAX];

	for (int i = 0; i < 10000; i++) {
		struct msgid id = {(int64_t)(next_random() % UINT64_C(253402300800)),
				 (int64_t)(next_random() % UINT64_C(1000000000000))},
			     again;
		char text[MSGID_TEXT_MAX];
		size_t len = msgid_format(id, text);

		assert_in_range(len, 3, sizeof(text));
		assert_true(msgid_parse(text, len, &again));
		assert_int_equal(msgid_cmp(id, again), 0);
	}
	assert_int_equal(
	    msgid_format((struct msgid){INT64_MIN, INT64_MIN}, longest), MSGID_TEXT_MAX);
}

/*
 * A position goes back in Last-Modified when nothing new has come, so that whatever is
 * read as one must have a date.
 */
static void
test_every_second_that_is_read_can_be_written_as_a_date(void **state UNUSED)
{
	static const char *const seconds[] = {"253402300799", "253402300800", "999999999999",
	    "67767976233532799", "67768036191676799", "67768036191676800", "123456789012345678",
	    "999999999999999999"};
	const int64_t last = INT64_C(253402300799); /* Fri, 31 Dec 9999 23:59:59 GMT */

	for (size_t i = 0; i < ARRAY_LEN(seconds); i++) {
		char text[64], date[HTTP_DATE_LEN + 1] = "";
		struct msgid id;

		snprintf(text, sizeof(text), "%s:0", seconds[i]);
		if (!parse_msgid(text, &id))
			continue;
		http_date_format(id.second, date);
		assert_date(date, id.second > last ? last : id.second);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_the_three_forms_of_a_date_are_read),
	    cmocka_unit_test(test_the_old_clients_first_date_is_read),
	    cmocka_unit_test(test_numeric_zones_are_read),
	    cmocka_unit_test(test_dates_before_1970_are_0),
	    cmocka_unit_test(test_dates_beyond_32_bits_are_read),
	    cmocka_unit_test(test_days_that_a_month_does_not_have_are_no_dates),
	    cmocka_unit_test(test_a_leap_second_is_the_second_before),
	    cmocka_unit_test(test_what_is_malformed_is_no_date),
	    cmocka_unit_test(test_a_nul_ends_no_date),
	    cmocka_unit_test(test_no_beginning_of_a_date_is_one),
	    cmocka_unit_test(test_two_digits_of_a_year_mean_the_nearest_past_or_the_next_50_years),
	    cmocka_unit_test(test_random_times_are_written_as_strftime_does_and_read_back),
	    cmocka_unit_test(test_every_day_of_the_calendar_is_read_as_timegm_does),
	    cmocka_unit_test(test_a_date_with_any_byte_changed_is_the_same_in_either_zone),
	    cmocka_unit_test(test_random_zones_are_what_timegm_says),
	    cmocka_unit_test(test_damaged_dates_are_read_or_refused_within_their_bytes),
	    cmocka_unit_test(test_the_forms_of_an_etag_are_read),
	    cmocka_unit_test(test_all_other_etags_are_malformed),
	    cmocka_unit_test(test_the_id_of_event_streams_is_two_numbers),
	    cmocka_unit_test(test_numbers_are_written_as_printf_does),
	    cmocka_unit_test(test_ids_are_read_back_as_they_were_written),
	    cmocka_unit_test(test_every_second_that_is_read_can_be_written_as_a_date),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
