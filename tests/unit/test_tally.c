/* Statistics as text: the names in each format, and any bytes as an id. */
#include "relay/tally.h"

#include "base/table.h"
#include "relay/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct store_listed
channel_of(const void *id, size_t len, uint64_t number)
{
	const struct channel_key key = channel_key(id, len);
	struct store_listed channel = {
	    .id = channel_id_new(&key),
	    .published = number,
	    .stored = number,
	    .subscribers = number,
	};

	assert_non_null(channel.id);
	return channel;
}

/* One channel as an answer; exactly the room it may need, for the sanitizer to watch. */
static char *
channel_text(enum info_format format, const void *id, size_t len, uint64_t number)
{
	struct store_listed channel = channel_of(id, len, number);
	char *buf = malloc(TALLY_CHANNEL_ROOM(len) + 1);
	struct tally y = {.t = text_in(buf, TALLY_CHANNEL_ROOM(len)), .format = format};

	tally_channel(&y, &channel);
	assert_true(text_ok(&y.t));
	assert_null(memchr(buf, '\0', text_len(&y.t)));
	assert_true(utf8_valid(buf, text_len(&y.t)));
	buf[text_len(&y.t)] = '\0';
	channel_id_unref(channel.id);
	return buf;
}

static void
assert_channel(enum info_format format, const char *id, const char *expected)
{
	char *text = channel_text(format, id, strlen(id), 3);

	assert_string_equal(text, expected);
	free(text);
}

static void
test_one_channel_has_push_streams_fields_in_each_format(void **state UNUSED)
{
	assert_channel(INFO_JSON, "c",
	    "{\"channel\": \"c\", \"published_messages\": 3, \"stored_messages\": 3, "
	    "\"subscribers\": 3}\n");
	assert_channel(INFO_PLAIN, "c",
	    "channel: c\npublished_messages: 3\nstored_messages: 3\nsubscribers: 3\n");
	assert_channel(INFO_YAML, "c",
	    "---\nchannel: \"c\"\npublished_messages: 3\nstored_messages: 3\nsubscribers: 3\n");
	assert_channel(INFO_XML, "c",
	    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<channel>\n  <name>c</name>\n"
	    "  <published_messages>3</published_messages>\n"
	    "  <stored_messages>3</stored_messages>\n"
	    "  <subscribers>3</subscribers>\n</channel>\n");
}

static const struct tally_head a_head = {
    .hostname = "h",
    .now_s = 1795234747,
    .uptime_s = 9,
    .channels = 2,
};

/* A list of these channels, each piece in exactly its room. */
static void
assert_list(enum info_format format, const char *ids, bool truncated, const char *expected)
{
	struct tally y = {.format = format};
	char all[4096], piece[TALLY_HEAD_ROOM(1)];
	size_t len = 0;

	y.t = text_in(piece, TALLY_HEAD_ROOM(1));
	tally_list_begin(&y, &a_head);
	for (const char *id = ids;; id++) {
		assert_true(text_ok(&y.t));
		assert_true(len + text_len(&y.t) < sizeof(all));
		memcpy(all + len, piece, text_len(&y.t));
		len += text_len(&y.t);
		if (*id == '\0')
			break;
		struct store_listed channel = channel_of(id, 1, 1);

		y.t = text_in(piece, TALLY_CHANNEL_ROOM(1));
		tally_list_channel(&y, &channel);
		channel_id_unref(channel.id);
	}
	y.t = text_in(piece, TALLY_END_ROOM);
	tally_list_end(&y, truncated);
	assert_true(text_ok(&y.t));
	memcpy(all + len, piece, text_len(&y.t));
	all[len + text_len(&y.t)] = '\0';
	assert_string_equal(all, expected);
}

static void
test_a_list_has_its_head_its_channels_and_whether_it_was_cut(void **state UNUSED)
{
#define JSON_HEAD                                                                     \
	"{\"hostname\": \"h\", \"time\": \"2026-11-21T04:19:07Z\", \"channels\": 2, " \
	"\"wildcard_channels\": 0, \"uptime\": 9, \"infos\": ["
#define JSON_CHANNEL(id)                                                                  \
	"\n{\"channel\": \"" id "\", \"published_messages\": 1, \"stored_messages\": 1, " \
	"\"subscribers\": 1}"
	assert_list(INFO_JSON, "ab", true,
	    JSON_HEAD JSON_CHANNEL("a") "," JSON_CHANNEL("b") "\n], \"truncated\": true}\n");
	assert_list(INFO_JSON, "", false, JSON_HEAD "], \"truncated\": false}\n");
	assert_list(INFO_YAML, "ab", false,
	    "---\nhostname: \"h\"\ntime: \"2026-11-21T04:19:07Z\"\nchannels: 2\n"
	    "wildcard_channels: 0\nuptime: 9\ninfos:\n"
	    "  -\n    channel: \"a\"\n    published_messages: 1\n    stored_messages: 1\n"
	    "    subscribers: 1\n"
	    "  -\n    channel: \"b\"\n    published_messages: 1\n    stored_messages: 1\n"
	    "    subscribers: 1\ntruncated: false\n");
	assert_list(INFO_YAML, "", false,
	    "---\nhostname: \"h\"\ntime: \"2026-11-21T04:19:07Z\"\nchannels: 2\n"
	    "wildcard_channels: 0\nuptime: 9\ninfos: []\ntruncated: false\n");
	assert_list(INFO_XML, "a", true,
	    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<root>\n  <hostname>h</hostname>\n"
	    "  <time>2026-11-21T04:19:07Z</time>\n  <channels>2</channels>\n"
	    "  <wildcard_channels>0</wildcard_channels>\n  <uptime>9</uptime>\n  <infos>\n"
	    "    <channel>\n      <name>a</name>\n"
	    "      <published_messages>1</published_messages>\n"
	    "      <stored_messages>1</stored_messages>\n"
	    "      <subscribers>1</subscribers>\n    </channel>\n  </infos>\n"
	    "  <truncated>true</truncated>\n</root>\n");
	assert_list(INFO_PLAIN, "a", true,
	    "hostname: h\ntime: 2026-11-21T04:19:07Z\nchannels: 2\nwildcard_channels: 0\n"
	    "uptime: 9\ninfos:\n\n    channel: a\n    published_messages: 1\n"
	    "    stored_messages: 1\n    subscribers: 1\n\ntruncated: true\n");
}

static void
test_the_longest_summary_fits_in_its_room(void **state UNUSED)
{
	struct tally_worker workers[64];
	char hostname[65];
	struct tally_head head = {hostname, INT64_C(253402300799), UINT64_MAX, UINT64_MAX};
	const struct tally_summary summary = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX,
	    UINT64_MAX, UINT64_MAX, workers, ARRAY_LEN(workers)};
	const size_t room = TALLY_HEAD_ROOM(sizeof(hostname) - 1) + TALLY_SUMMARY_ROOM +
			    ARRAY_LEN(workers) * (size_t)TALLY_WORKER_ROOM;

	memset(hostname, '\x01', sizeof(hostname) - 1);
	hostname[sizeof(hostname) - 1] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(workers); i++)
		workers[i] = (struct tally_worker){INT32_MAX, UINT64_MAX};
	for (int f = INFO_PLAIN; f <= INFO_YAML; f++) {
		char *buf = malloc(room);
		struct tally y = {.t = text_in(buf, room), .format = (enum info_format)f};

		tally_summary(&y, &head, &summary);
		assert_true(text_ok(&y.t));
		/* So does the beginning of a list. */
		y = (struct tally){.t = text_in(buf, TALLY_HEAD_ROOM(sizeof(hostname) - 1)),
		    .format = (enum info_format)f};
		tally_list_begin(&y, &head);
		assert_true(text_ok(&y.t));
		free(buf);
	}
}

static void
assert_id(enum info_format format, const char *id, size_t len, const char *expected)
{
	static const char *const begins[] = {
	    [INFO_PLAIN] = "channel: ",
	    [INFO_JSON] = "{\"channel\": ",
	    [INFO_XML] = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<channel>\n  <name>",
	    [INFO_YAML] = "---\nchannel: ",
	};
	static const char *const ends[] = {[INFO_PLAIN] = "\npublished",
	    [INFO_JSON] = ", \"published",
	    [INFO_XML] = "</name>\n  <published",
	    [INFO_YAML] = "\npublished"};
	char *text = channel_text(format, id, len, 1), *end;
	const size_t begin_len = strlen(begins[format]);

	assert_memory_equal(text, begins[format], begin_len);
	end = strstr(text, ends[format]);
	assert_non_null(end);
	*end = '\0';
	assert_string_equal(text + begin_len, expected);
	free(text);
}

static void
test_an_id_is_one_value_whatever_bytes_it_has(void **state UNUSED)
{
	static const char markup[] = "a\"<&>'\\]]> b";
	static const char controls[] = "\r\n\t\0\x1f\x7f";
	static const char beyond[] = "\xc3\xa9\xc2\x85\xef\xbf\xbe\xf0\x9f\x98\x80";
	static const char broken[] = "\xff\xc3(\xed\xa0\x80z\xf0\x9f";

	assert_id(INFO_PLAIN, markup, sizeof(markup) - 1, "a%22%3C%26%3E%27%5C%5D%5D%3E%20b");
	assert_id(INFO_JSON, markup, sizeof(markup) - 1, "\"a\\\"\\u003c&>'\\\\]]> b\"");
	assert_id(INFO_YAML, markup, sizeof(markup) - 1, "\"a\\\"\\u003c&>'\\\\]]> b\"");
	assert_id(INFO_XML, markup, sizeof(markup) - 1, "a\"&lt;&amp;&gt;'\\]]&gt; b");

	assert_id(INFO_PLAIN, controls, sizeof(controls) - 1, "%0D%0A%09%00%1F%7F");
	assert_id(INFO_JSON, controls, sizeof(controls) - 1,
	    "\"\\u000d\\n\\u0009\\u0000\\u001f\\u007f\"");
	assert_id(
	    INFO_XML, controls, sizeof(controls) - 1, "&#13;\n\t\xef\xbf\xbd\xef\xbf\xbd\x7f");

	/* YAML prints neither U+0085 (as other C1 controls) nor U+FFFE; XML holds no U+FFFE. */
	assert_id(
	    INFO_YAML, beyond, sizeof(beyond) - 1, "\"\xc3\xa9\\u0085\\ufffe\xf0\x9f\x98\x80\"");
	assert_id(
	    INFO_XML, beyond, sizeof(beyond) - 1, "\xc3\xa9\xc2\x85\xef\xbf\xbd\xf0\x9f\x98\x80");

	assert_id(INFO_PLAIN, broken, sizeof(broken) - 1, "%FF%C3%28%ED%A0%80z%F0%9F");
	assert_id(INFO_JSON, broken, sizeof(broken) - 1,
	    "\"\\ufffd\\ufffd(\\ufffd\\ufffd\\ufffdz\\ufffd\\ufffd\"");
	assert_id(INFO_XML, broken, sizeof(broken) - 1,
	    "\xef\xbf\xbd\xef\xbf\xbd(\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz\xef\xbf\xbd"
	    "\xef\xbf\xbd");
}

static void
test_any_bytes_fit_in_their_room_and_are_utf_8(void **state UNUSED)
{
	unsigned char id[64];

	for (unsigned c = 0; c < 256; c++) {
		memset(id, (int)c, sizeof(id));
		for (int f = INFO_PLAIN; f <= INFO_YAML; f++)
			free(channel_text((enum info_format)f, id, sizeof(id), UINT64_MAX));
	}
	srandom(1);
	for (unsigned n = 0; n < 20000; n++) {
		/* Mostly bytes that characters of several bytes are made of. */
		for (size_t i = 0; i < sizeof(id); i++)
			id[i] = (unsigned char)(random() % 4 == 0 ? random() : random() | 0x80);
		free(channel_text((enum info_format)(n % 4), id, 1 + n % sizeof(id), n));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_one_channel_has_push_streams_fields_in_each_format),
	    cmocka_unit_test(test_a_list_has_its_head_its_channels_and_whether_it_was_cut),
	    cmocka_unit_test(test_the_longest_summary_fits_in_its_room),
	    cmocka_unit_test(test_an_id_is_one_value_whatever_bytes_it_has),
	    cmocka_unit_test(test_any_bytes_fit_in_their_room_and_are_utf_8),
	};

	if (table_seed() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
