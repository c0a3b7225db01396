/* From a path to a location and a channel id, and who may publish there. */
#include "relay/location.h"

#include "base/log.h"
#include "relay/config.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A configuration that must load. */
static struct config *
config_of(const char *yaml)
{
	char error[CONFIG_ERROR_SIZE] = "";
	struct config *config = config_load_string(yaml, strlen(yaml), "test", error);

	assert_string_equal(error, "");
	assert_non_null(config);
	return config;
}

/* One id, copied out of what location_match() found. */
struct found {
	unsigned n, index;
	unsigned char id[LOCATION_ID_MAX];
	size_t id_len;
};

/* A copy of exactly its size, so that the sanitizer sees a read behind it. */
static char *
exact(const char *bytes, size_t len)
{
	char *copy = malloc(len);

	assert_non_null(copy);
	memcpy(copy, bytes, len);
	return copy;
}

/* What a path of len bytes and a query (NULL: none) lead to; the ids are asked with ids. */
static enum location_answer
match_ids(const struct config *config, const char *path, size_t len, const char *query,
    const struct location **loc, struct location_ids *ids)
{
	struct pcre2_real_match_data_8 *match_data = location_match_new();
	char *path_copy = exact(path, len);
	char *query_copy = query != NULL ? exact(query, strlen(query)) : NULL;
	enum location_answer answer;

	assert_non_null(match_data);
	*loc = NULL;
	answer = location_match(config, match_data, path_copy, len, query_copy,
	    query != NULL ? strlen(query) : 0, loc, ids);
	location_match_free(match_data);
	free(path_copy);
	free(query_copy);
	if (answer == LOCATION_NONE)
		assert_null(*loc);
	else
		assert_non_null(*loc);
	return answer;
}

/* What a path of len bytes leads to, without a query. */
static enum location_answer
match(const struct config *config, const char *path, size_t len, struct found *found)
{
	struct location_ids ids = {.buf = malloc(location_ids_room(config))};
	const struct location *loc;
	enum location_answer answer;

	assert_non_null(ids.buf);
	answer = match_ids(config, path, len, NULL, &loc, &ids);
	if (loc != NULL)
		found->index = loc->index;
	if (answer == LOCATION_FOUND) {
		found->n = ids.n;
		found->id_len = ids.ids[0].len;
		memcpy(found->id, ids.ids[0].bytes, ids.ids[0].len);
	}
	free(ids.buf);
	return answer;
}

static void
assert_found(const struct config *config, const char *path, unsigned index, const char *id)
{
	struct found found = {.index = 99};

	assert_int_equal(match(config, path, strlen(path), &found), LOCATION_FOUND);
	assert_int_equal(found.index, index);
	assert_int_equal(found.n, 1);
	assert_int_equal(found.id_len, strlen(id));
	assert_memory_equal(found.id, id, found.id_len);
}

static void
assert_answer(const struct config *config, const char *path, enum location_answer answer)
{
	struct found found = {.n = 0};

	assert_int_equal(match(config, path, strlen(path), &found), answer);
}

static void
test_url_matches_the_whole_path_and_its_group_is_the_id(void **state UNUSED)
{
	struct config *config = config_of("locations:\n"
					  "- {type: subscriber, url: '/updates/([^/]+)'}\n"
					  "- {type: publisher, url: '/send-update/([^/]+)'}\n");

	assert_found(config, "/updates/room", 0, "room");
	assert_found(config, "/send-update/room", 1, "room");
	assert_answer(config, "/updates/room/more", LOCATION_NONE);
	assert_answer(config, "/x/updates/room", LOCATION_NONE);
	assert_answer(config, "/updates/", LOCATION_NONE);
	assert_answer(config, "/updates/room\n", LOCATION_FOUND);
	assert_answer(config, "/Updates/room", LOCATION_NONE);
	assert_answer(config, "/", LOCATION_NONE);
	config_unref(config);
}

static void
test_url_reads_named_groups_anchors_and_alternatives(void **state UNUSED)
{
	struct config *config =
	    config_of("locations:\n"
		      "- {type: subscriber, url: '^/a/(?P<channel_id>\\w+)/$'}\n"
		      "- {type: subscriber, url: '/(?:b|c)/(\\d+)|/d'}\n"
		      "- {type: subscriber, url: '/f/(x?)'}\n");

	assert_found(config, "/a/room_1/", 0, "room_1");
	assert_answer(config, "/a/room_1/\n", LOCATION_NONE);
	assert_found(config, "/b/1", 1, "1");
	assert_found(config, "/c/23", 1, "23");
	/* Matches, but without its group, so there is no id. */
	assert_answer(config, "/d", LOCATION_NONE);
	assert_answer(config, "/f/", LOCATION_NONE);
	assert_found(config, "/f/x", 2, "x");
	config_unref(config);
}

static void
test_prefix_leaves_the_rest_as_the_id_and_the_rest_is_not_empty(void **state UNUSED)
{
	struct config *config = config_of("locations:\n"
					  "- {type: subscriber, prefix: /s/}\n"
					  "- {type: publisher, prefix: /p}\n");

	assert_found(config, "/s/a/b", 0, "a/b");
	assert_found(config, "/pa", 1, "a");
	assert_answer(config, "/s/", LOCATION_NONE);
	assert_answer(config, "/s", LOCATION_NONE);
	assert_answer(config, "", LOCATION_NONE);
	assert_answer(config, "/S/a", LOCATION_NONE);
	config_unref(config);
}

static void
test_url_goes_before_prefix_of_the_same_location(void **state UNUSED)
{
	struct config *config =
	    config_of("locations: [{type: subscriber, prefix: /p/, url: '/u/(.+)'}]");

	assert_found(config, "/u/a", 0, "a");
	assert_answer(config, "/p/a", LOCATION_NONE);
	config_unref(config);
}

static void
test_first_matching_location_wins(void **state UNUSED)
{
	struct config *config = config_of("locations:\n"
					  "- {type: publisher, prefix: /a/b/}\n"
					  "- {type: subscriber, prefix: /a/}\n"
					  "- {type: subscriber, url: '/(.+)'}\n");

	assert_found(config, "/a/b/c", 0, "c");
	assert_found(config, "/a/x", 1, "x");
	assert_found(config, "/b", 2, "b");
	config_unref(config);
}

/* ---- several channels ---- */

/* The ids of a path and a query (NULL: none), joined by blanks, are these. */
static void
assert_ids(const struct config *config, const char *path, const char *query, const char *expected)
{
	struct location_ids ids = {.buf = malloc(location_ids_room(config))};
	const struct location *loc;
	char text[4096] = "";

	assert_non_null(ids.buf);
	assert_int_equal(match_ids(config, path, strlen(path), query, &loc, &ids), LOCATION_FOUND);
	for (unsigned i = 0; i < ids.n; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%.*s",
		    i > 0 ? " " : "", (int)ids.ids[i].len, (const char *)ids.ids[i].bytes);
	assert_string_equal(text, expected);
	free(ids.buf);
}

/* What is wrong with a path and a query. */
static void
assert_ids_answer(
    const struct config *config, const char *path, const char *query, enum location_answer answer)
{
	struct location_ids ids = {.buf = malloc(location_ids_room(config))};
	const struct location *loc;

	assert_non_null(ids.buf);
	assert_int_equal(match_ids(config, path, strlen(path), query, &loc, &ids), answer);
	free(ids.buf);
}

static void
test_each_group_that_took_part_is_an_id_in_the_order_of_the_pattern(void **state UNUSED)
{
	struct config *config =
	    config_of("locations: [{type: subscriber, url: '/g/(\\w+)(?:/(\\w*))?(?:/(\\w+))?'}]");

	assert_ids(config, "/g/b/a/c", NULL, "b a c");
	assert_ids(config, "/g/b", NULL, "b");
	assert_ids(config, "/g/b/", NULL, "b");
	assert_ids(config, "/g/b//c", NULL, "b c");
	assert_ids(config, "/g/b/b/b", NULL, "b");
	config_unref(config);
}

static void
test_split_cuts_before_decoding_and_leaves_empty_pieces_out(void **state UNUSED)
{
	struct config *config = config_of("locations:\n"
					  "- {type: subscriber, url: '/c/([^/]+)', split: ','}\n"
					  "- {type: subscriber, prefix: /p/, split: /}\n"
					  "- {type: publisher, prefix: /}\n");

	assert_ids(config, "/c/a,b,c", NULL, "a b c");
	assert_ids(config, "/c/a%2Cb,c", NULL, "a,b c");
	assert_ids(config, "/c/,a,,b,", NULL, "a b");
	assert_ids(config, "/c/b,a,b,%61", NULL, "b a");
	assert_ids(config, "/p/a/b", NULL, "a b");
	assert_ids(config, "/p/a%2fb//c/", NULL, "a/b c");
	/* Nothing but separators is no id, so the next location is asked. */
	assert_ids(config, "/c/,,", NULL, "c/,,");
	assert_ids(config, "/p//", NULL, "p//");
	config_unref(config);
}

static void
test_ids_come_from_the_query_where_the_location_says_so(void **state UNUSED)
{
	struct config *config =
	    config_of("locations:\n"
		      "- {type: subscriber, prefix: /sub, channel_argument: channel, split: ','}\n"
		      "- {type: publisher, url: '/(?:pub|send)', channel_argument: id}\n"
		      "- {type: statistics, prefix: /stats, channel_argument: id}\n");

	assert_ids(config, "/sub", "channel=b&x=1&channel=a", "b a");
	assert_ids(config, "/sub", "channel=b,a&channel=a%2Cb&channel=c+d", "b a a,b c+d");
	assert_ids(config, "/sub", "&&channel=&channel&channel==&channels=x&Channel=y&", "=");
	assert_ids(config, "/send", "_=12&id=a/b?c&id=", "a/b?c");
	assert_ids(config, "/stats", NULL, "");
	assert_ids(config, "/stats", "id=", "");
	assert_ids(config, "/stats", "id=p*", "p*");
	assert_ids_answer(config, "/sub", NULL, LOCATION_NO_ID);
	assert_ids_answer(config, "/sub", "", LOCATION_NO_ID);
	assert_ids_answer(config, "/sub", "channel=,", LOCATION_NO_ID);
	assert_ids_answer(config, "/pub", "channel=a", LOCATION_NO_ID);
	assert_ids_answer(config, "/pub", "id=a&id=b", LOCATION_TOO_MANY);
	assert_ids(config, "/pub", "id=a&id=%61", "a");
	assert_ids_answer(config, "/sub", "channel=a&channel=%4", LOCATION_BAD_ENCODING);
	/* The prefix is the whole path. */
	assert_ids_answer(config, "/sub/", "channel=a", LOCATION_NONE);
	assert_ids_answer(config, "/su", "channel=a", LOCATION_NONE);
	assert_ids_answer(config, "/pub/", "id=a", LOCATION_NONE);
	config_unref(config);
}

static void
test_more_ids_than_max_channels_are_too_many(void **state UNUSED)
{
	struct config *config =
	    config_of("locations:\n"
		      "- {type: subscriber, prefix: /two/, split: ',', max_channels: 2}\n"
		      "- {type: subscriber, prefix: /all/, split: ','}\n");
	char path[8000] = "/all/";

	assert_ids(config, "/two/a,b", NULL, "a b");
	assert_ids(config, "/two/a,b,a,b,a", NULL, "a b");
	assert_ids_answer(config, "/two/a,b,c", NULL, LOCATION_TOO_MANY);
	for (unsigned i = 0; i < 255; i++)
		snprintf(path + strlen(path), sizeof(path) - strlen(path), "c%u,", i);
	assert_ids_answer(config, path, NULL, LOCATION_FOUND);
	strcat(path, "c255");
	assert_ids_answer(config, path, NULL, LOCATION_TOO_MANY);
	config_unref(config);
}

static void
test_one_id_written_a_thousand_times_is_one_and_no_more_are_looked_at(void **state UNUSED)
{
	struct config *config =
	    config_of("locations: [{type: subscriber, prefix: /p/, split: ','}]");
	char path[3 + 2 * 1025] = "/p/";

	for (unsigned i = 0; i < 1024; i++)
		memcpy(path + 3 + 2 * i, "a,", 2);
	path[3 + 2 * 1024] = '\0';
	assert_ids(config, path, NULL, "a");
	strcat(path, "a");
	assert_ids_answer(config, path, NULL, LOCATION_TOO_MANY);
	config_unref(config);
}

static void
test_nested_groups_and_look_aheads_have_room_for_all_their_ids(void **state UNUSED)
{
	struct config *config = config_of("limits: {id_length: 4096}\nlocations:\n"
					  "- {type: subscriber, url: '/n/(?=(.*))(a((.)(.*)))'}\n");
	struct location_ids ids;
	const struct location *loc;
	char path[3 + LOCATION_ID_MAX] = "/n/";

	memset(path + 3, 'a', sizeof(path) - 3);
	path[4] = 'b';
	assert_true(location_ids_room(config) >= 5 * sizeof(path));
	ids.buf = malloc(location_ids_room(config));
	assert_non_null(ids.buf);
	assert_int_equal(match_ids(config, path, sizeof(path), NULL, &loc, &ids), LOCATION_FOUND);
	/* The look-ahead and the group around it all are the same. */
	assert_int_equal(ids.n, 4);
	assert_int_equal(ids.ids[0].len, LOCATION_ID_MAX);
	assert_int_equal(ids.ids[1].len, LOCATION_ID_MAX - 1);
	assert_int_equal(ids.ids[2].len, 1);
	assert_int_equal(ids.ids[3].len, LOCATION_ID_MAX - 2);
	free(ids.buf);
	config_unref(config);
}

static void
test_statistics_need_no_id(void **state UNUSED)
{
	struct config *config = config_of("locations:\n"
					  "- {type: statistics, url: '/u/?(.*)', split: /}\n"
					  "- {type: statistics, prefix: /p/}\n"
					  "- {type: subscriber, prefix: /}\n");

	assert_ids(config, "/u", NULL, "");
	assert_ids(config, "/u//", NULL, "");
	assert_ids(config, "/u/a/b", NULL, "a b");
	assert_ids(config, "/p/", NULL, "");
	assert_ids(config, "/p/a", NULL, "a");
	assert_ids(config, "/p", NULL, "p");
	config_unref(config);
}

/* ---- the bytes of an id ---- */

static void
test_id_is_decoded_once_and_is_opaque_bytes(void **state UNUSED)
{
	struct config *config = config_of("locations: [{type: subscriber, url: '/u/([^/]+)'}]");
	struct found found = {.n = 0};

	assert_int_equal(match(config, "/u/a%2Fb%00%0a%25%32%35+%fF", 28, &found), LOCATION_FOUND);
	assert_int_equal(found.id_len, 11);
	assert_memory_equal(found.id, "a/b\0\n%25+\xff", 11);
	/* Raw bytes that are no UTF-8 are as good. */
	assert_int_equal(match(config, "/u/\xff\x80", 5, &found), LOCATION_FOUND);
	assert_int_equal(found.id_len, 2);
	assert_memory_equal(found.id, "\xff\x80", 2);
	config_unref(config);
}

static void
test_bad_percent_encoding_is_told_from_no_match(void **state UNUSED)
{
	struct config *config = config_of("locations: [{type: subscriber, prefix: /s/}]");

	assert_answer(config, "/s/%", LOCATION_BAD_ENCODING);
	assert_answer(config, "/s/%4", LOCATION_BAD_ENCODING);
	assert_answer(config, "/s/a%4g", LOCATION_BAD_ENCODING);
	assert_answer(config, "/s/%g4", LOCATION_BAD_ENCODING);
	assert_answer(config, "/s/%%41", LOCATION_BAD_ENCODING);
	assert_answer(config, "/s/%u0041", LOCATION_BAD_ENCODING);
	/* Before the id it is just another path. */
	assert_answer(config, "/%73/a", LOCATION_NONE);
	config_unref(config);
}

static void
test_id_length_counts_decoded_bytes(void **state UNUSED)
{
	struct config *config =
	    config_of("limits: {id_length: 3}\nlocations: [{type: subscriber, prefix: /s/}]");

	assert_found(config, "/s/abc", 0, "abc");
	assert_found(config, "/s/%61%62%63", 0, "abc");
	assert_answer(config, "/s/abcd", LOCATION_ID_TOO_LONG);
	assert_answer(config, "/s/%61%62%63%64", LOCATION_ID_TOO_LONG);
	config_unref(config);
}

static void
test_longest_id_fills_the_buffer_and_not_more(void **state UNUSED)
{
	struct config *config =
	    config_of("limits: {id_length: 4096}\nlocations: [{type: subscriber, prefix: /s/}]");
	char path[3 + 2 * LOCATION_ID_MAX];
	struct found found = {.n = 0};

	memset(path, 'a', sizeof(path));
	memcpy(path, "/s/", 3);
	assert_int_equal(match(config, path, 3 + LOCATION_ID_MAX, &found), LOCATION_FOUND);
	assert_int_equal(found.id_len, LOCATION_ID_MAX);
	assert_int_equal(match(config, path, 4 + LOCATION_ID_MAX, &found), LOCATION_ID_TOO_LONG);
	/* Signs of percent, which could make the rest seem shorter than it is. */
	memset(path + 3 + 5000, '%', sizeof(path) - 3 - 5000);
	assert_int_not_equal(match(config, path, sizeof(path), &found), LOCATION_FOUND);
	config_unref(config);
}

static void
test_catastrophic_pattern_is_given_up_and_others_are_tried(void **state UNUSED)
{
	struct config *config = config_of("locations:\n"
					  "- {type: subscriber, url: '/a/((?:a+)+)'}\n"
					  "- {type: subscriber, url: '(*NO_JIT)/a/((?:a*)+a)'}\n"
					  "- {type: subscriber, url: '/a/.*(!)'}\n");
	char path[8000];
	struct found found = {.n = 0};

	log_set_level(LOG_LEVEL_ERROR);
	memset(path, 'a', sizeof(path));
	memcpy(path, "/a/", 3);
	path[sizeof(path) - 1] = '!';
	/* Without limits none of the first two would end before the sun does. */
	for (unsigned long i = 1; i <= 3; i++) {
		assert_int_equal(match(config, path, sizeof(path), &found), LOCATION_FOUND);
		assert_int_equal(found.index, 2);
		assert_int_equal(config->locations[0].given_up, i);
		assert_int_equal(config->locations[1].given_up, i);
		assert_int_equal(config->locations[2].given_up, 0);
	}
	/* What they match, they match still. */
	assert_found(config, "/a/aaa", 0, "aaa");
	log_set_level(LOG_LEVEL_INFO);
	config_unref(config);
}

static void
test_honest_pattern_serves_the_longest_target(void **state UNUSED)
{
	struct config *config = config_of(
	    "limits: {id_length: 1}\nlocations: [{type: subscriber, url: '/a/((?:[^/]|%2f)+)'}]");
	static char path[64 * 1024];
	struct found found = {.n = 0};

	memset(path, 'a', sizeof(path));
	memcpy(path, "/a/", 3);
	/* It needs more stack than the compiled pattern has: the interpreter takes over. */
	assert_int_equal(match(config, path, sizeof(path), &found), LOCATION_ID_TOO_LONG);
	assert_int_equal(config->locations[0].given_up, 0);
	config_unref(config);
}

static void
test_percent_decode_gives_the_length_or_minus_one(void **state UNUSED)
{
	unsigned char out[8];

	assert_int_equal(percent_decode("", 0, out), 0);
	assert_int_equal(percent_decode("a%20b", 5, out), 3);
	assert_memory_equal(out, "a b", 3);
	assert_int_equal(percent_decode("%2", 2, out), -1);
	assert_int_equal(percent_decode("%zz", 3, out), -1);
	/* The digits are behind the end. */
	assert_int_equal(percent_decode("a%20", 2, out), -1);
	assert_int_equal(percent_decode("a%20", 3, out), -1);
}

/* ---- who may publish ---- */

static struct in6_addr
addr_of(const char *text)
{
	struct in6_addr addr;
	char mapped[64];

	snprintf(mapped, sizeof(mapped), "%s%s", strchr(text, ':') != NULL ? "" : "::ffff:", text);
	assert_int_equal(inet_pton(AF_INET6, mapped, &addr), 1);
	return addr;
}

static bool
allows(const struct config *config, const char *peer)
{
	struct in6_addr addr = addr_of(peer);

	return location_allows(&config->locations[0], &addr, false);
}

static void
test_by_default_this_host_alone_may_publish(void **state UNUSED)
{
	struct config *config = config_of("locations: [{type: publisher, prefix: /p/}]");

	assert_true(allows(config, "127.0.0.1"));
	assert_true(allows(config, "127.255.0.9"));
	assert_true(allows(config, "::1"));
	assert_true(location_allows(&config->locations[0], NULL, true));
	assert_false(allows(config, "128.0.0.1"));
	assert_false(allows(config, "10.0.0.1"));
	assert_false(allows(config, "::2"));
	assert_false(allows(config, "::"));
	config_unref(config);
}

static void
test_networks_are_compared_by_their_bits(void **state UNUSED)
{
	struct config *config = config_of(
	    "locations: [{type: publisher, prefix: /p/, allow: [10.64.0.0/10, 192.168.1.7, "
	    "'2001:db8::/33']}]");

	assert_true(allows(config, "10.64.0.0"));
	assert_true(allows(config, "10.127.255.255"));
	assert_false(allows(config, "10.128.0.0"));
	assert_false(allows(config, "10.63.255.255"));
	assert_true(allows(config, "192.168.1.7"));
	assert_false(allows(config, "192.168.1.6"));
	assert_true(allows(config, "2001:db8:7fff::1"));
	assert_false(allows(config, "2001:db8:8000::"));
	/* The list takes the place of the default. */
	assert_false(allows(config, "127.0.0.1"));
	assert_false(location_allows(&config->locations[0], NULL, true));
	config_unref(config);
}

static void
test_all_of_ipv6_does_not_mean_ipv4(void **state UNUSED)
{
	struct config *v6 = config_of("locations: [{type: publisher, prefix: /p/, allow: '::/0'}]");
	struct config *v4 =
	    config_of("locations: [{type: publisher, prefix: /p/, allow: [0.0.0.0/0, unix]}]");

	assert_true(allows(v6, "2001:db8::1"));
	assert_false(allows(v6, "10.0.0.1"));
	assert_true(allows(v4, "10.0.0.1"));
	assert_false(allows(v4, "2001:db8::1"));
	assert_true(location_allows(&v4->locations[0], NULL, true));
	config_unref(v6);
	config_unref(v4);
}

static void
test_everyone_may_subscribe_unless_allow_says_otherwise(void **state UNUSED)
{
	struct config *all = config_of("locations: [{type: subscriber, prefix: /s/}]");
	struct config *some =
	    config_of("locations: [{type: subscriber, prefix: /s/, allow: [0.0.0.0/0, '::/0']}]");

	assert_true(allows(all, "192.0.2.1"));
	assert_true(allows(all, "2001:db8::1"));
	assert_true(location_allows(&all->locations[0], NULL, true));
	assert_true(allows(some, "192.0.2.1"));
	assert_true(allows(some, "2001:db8::1"));
	assert_false(location_allows(&some->locations[0], NULL, true));
	config_unref(all);
	config_unref(some);
}

static void
test_network_text_is_read_back(void **state UNUSED)
{
	static const char *const texts[] = {"127.0.0.0/8", "::1", "0.0.0.0/0", "::/0", "10.1.2.3",
	    "10.1.2.2/31", "2001:db8::/32", "fe80::/10"};
	char text[NETWORK_TEXT_SIZE], error[200];
	struct network network;

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		assert_int_equal(network_parse(texts[i], &network, error, sizeof(error)), 0);
		network_text(&network, text);
		assert_string_equal(text, texts[i]);
	}
	/* A mapped address is the IPv4 one. */
	assert_int_equal(network_parse("::ffff:10.0.0.0/104", &network, error, sizeof(error)), 0);
	network_text(&network, text);
	assert_string_equal(text, "10.0.0.0/8");
}

static void
test_what_is_no_network_is_refused(void **state UNUSED)
{
	static const char *const bad[] = {"", "localhost", "10.0.0", "10.0.0.0/", "10.0.0.0/33",
	    "10.0.0.0/08", "10.0.0.0/8x", "10.0.0.0/-1", "10.0.0.0/255.0.0.0", "::1/129",
	    "::1/1000", "10.0.0.1/8", "::1/64", "/8", "[::1]", "*",
	    "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb"};
	struct network network;
	char error[200];

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		error[0] = '\0';
		assert_int_equal(network_parse(bad[i], &network, error, sizeof(error)), -1);
		assert_string_not_equal(error, "");
	}
	assert_int_equal(network_parse("10.1.2.3/8", &network, error, sizeof(error)), -1);
	assert_non_null(strstr(error, "\"10.0.0.0/8\""));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_url_matches_the_whole_path_and_its_group_is_the_id),
	    cmocka_unit_test(test_url_reads_named_groups_anchors_and_alternatives),
	    cmocka_unit_test(test_prefix_leaves_the_rest_as_the_id_and_the_rest_is_not_empty),
	    cmocka_unit_test(test_url_goes_before_prefix_of_the_same_location),
	    cmocka_unit_test(test_first_matching_location_wins),
	    cmocka_unit_test(test_each_group_that_took_part_is_an_id_in_the_order_of_the_pattern),
	    cmocka_unit_test(test_split_cuts_before_decoding_and_leaves_empty_pieces_out),
	    cmocka_unit_test(test_ids_come_from_the_query_where_the_location_says_so),
	    cmocka_unit_test(test_more_ids_than_max_channels_are_too_many),
	    cmocka_unit_test(test_one_id_written_a_thousand_times_is_one_and_no_more_are_looked_at),
	    cmocka_unit_test(test_nested_groups_and_look_aheads_have_room_for_all_their_ids),
	    cmocka_unit_test(test_statistics_need_no_id),
	    cmocka_unit_test(test_id_is_decoded_once_and_is_opaque_bytes),
	    cmocka_unit_test(test_bad_percent_encoding_is_told_from_no_match),
	    cmocka_unit_test(test_id_length_counts_decoded_bytes),
	    cmocka_unit_test(test_longest_id_fills_the_buffer_and_not_more),
	    cmocka_unit_test(test_catastrophic_pattern_is_given_up_and_others_are_tried),
	    cmocka_unit_test(test_honest_pattern_serves_the_longest_target),
	    cmocka_unit_test(test_percent_decode_gives_the_length_or_minus_one),
	    cmocka_unit_test(test_by_default_this_host_alone_may_publish),
	    cmocka_unit_test(test_networks_are_compared_by_their_bits),
	    cmocka_unit_test(test_all_of_ipv6_does_not_mean_ipv4),
	    cmocka_unit_test(test_everyone_may_subscribe_unless_allow_says_otherwise),
	    cmocka_unit_test(test_network_text_is_read_back),
	    cmocka_unit_test(test_what_is_no_network_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
