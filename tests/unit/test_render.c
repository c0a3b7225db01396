/* A message as a poll is answered with it, in every variant, and the renderings shared. */
#include "relay/render.h"

#include "base/attr.h"
#include "base/clock.h"
#include "relay/bytes.h"
#include "relay/location.h"
#include "relay/transport.h"
#include "relay/worker.h"
#include "store/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Sun, 06 Nov 1994 08:49:37 GMT */
#define NOW    INT64_C(784111777)
#define SERVER "Server: test\r\n"
#define DATE   "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"

static struct worker worker;
static struct location any, either;
static struct message *msg;

static struct message *
new_message(const char *type, const void *body, size_t body_len)
{
	return message_new(&(struct message_parts){
	    .content_type = {type, type == NULL ? 0 : strlen(type)}, .body = {body, body_len}});
}

static void
prepare(struct location *loc, size_t n, const char *const *origins)
{
	memset(loc, 0, sizeof(*loc));
	loc->cors.n_origins = n;
	loc->cors.origins = calloc(n, sizeof(*loc->cors.origins));
	for (size_t i = 0; i < n; i++)
		loc->cors.origins[i] = strdup(origins[i]);
	assert_int_equal(cors_prepare(&loc->cors), 0);
}

static int
set_up(void **state UNUSED)
{
	static const char *const all[] = {"*"}, *const two[] = {"http://a", "http://b"};
	static char head_lines[128];

	memset(&worker, 0, sizeof(worker));
	/* As a worker with the servername "test" makes them: the date is filled in. */
	strcpy(head_lines, SERVER "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n");
	worker.head_lines = head_lines;
	worker.head_lines_len = strlen(head_lines);
	worker.server_line_len = strlen(SERVER);
	worker.head_second = -1;
	clock_set(1000, NOW);
	prepare(&any, 1, all);
	prepare(&either, 2, two);
	msg = new_message("application/json", "{\"a\": 1}\0\r\n", 11);
	/* Older than the date of the answer. */
	msg->id = (struct msgid){NOW - 37, 5};
	return 0;
}

static int
tear_down(void **state UNUSED)
{
	message_unref(msg);
	cors_reset(&any.cors);
	cors_reset(&either.cors);
	return 0;
}

/* The whole rendering; borrowed until the next call. */
static const char *
rendered(struct message *m, struct render_variant variant, size_t *len)
{
	static char text[8192];
	struct bytes *b;

	variant.second = NOW;
	b = longpoll_transport.render(&worker, &m, 1, &variant);
	assert_non_null(b);
	assert_int_equal(b->refs, 1);
	assert_true(b->len < sizeof(text));
	memcpy(text, b->data, b->len);
	text[b->len] = '\0';
	*len = b->len;
	bytes_unref(b);
	return text;
}

static size_t
count_of(const char *text, const char *what)
{
	size_t n = 0;

	for (; (text = strstr(text, what)) != NULL; text++)
		n++;
	return n;
}

static void
test_a_poll_is_answered_with_the_message_and_its_position(void **state UNUSED)
{
	size_t len;
	const char *text = rendered(msg,
	    (struct render_variant){.transport = &longpoll_transport, .loc = &any, .cors_block = 1},
	    &len);
	char expected[2048];

	snprintf(expected, sizeof(expected),
	    "HTTP/1.1 200 OK\r\n" SERVER DATE "Content-Type: application/json\r\n"
	    "Content-Length: 11\r\n"
	    "Last-Modified: Sun, 06 Nov 1994 08:49:00 GMT\r\nEtag: \"5\"\r\n"
	    "Cache-Control: no-cache, etag=\"5\"\r\n"
	    "%s\r\n{\"a\": 1}",
	    any.cors.blocks[1].lines[CORS_VARY_POSITION].text);
	assert_string_equal(text, expected);
	assert_int_equal(len, strlen(expected) + 3);
	assert_memory_equal(text + strlen(expected), "\0\r\n", 3);
}

static void
test_the_content_type_is_the_publishers_unless_the_location_has_one(void **state UNUSED)
{
	struct message *none = new_message(NULL, "x", 1), *empty = new_message("", "x", 1);
	struct render_variant variant = {
	    .transport = &longpoll_transport, .loc = &any, .cors_block = 1};
	char type[] = "text/event-stream";
	size_t len;

	assert_null(strstr(rendered(none, variant, &len), "Content-Type:"));
	assert_non_null(strstr(rendered(empty, variant, &len), "\r\nContent-Type: \r\n"));
	any.content_type = type;
	assert_non_null(
	    strstr(rendered(msg, variant, &len), "\r\nContent-Type: text/event-stream\r\n"));
	assert_int_equal(count_of(rendered(msg, variant, &len), "Content-Type:"), 1);
	assert_non_null(
	    strstr(rendered(none, variant, &len), "\r\nContent-Type: text/event-stream\r\n"));
	message_unref(none);
	message_unref(empty);
}

static void
test_variants_differ_in_exactly_their_lines(void **state UNUSED)
{
	struct render_variant plain = {.transport = &longpoll_transport,
				  .loc = &any,
				  .cors_block = 1},
			      v;
	const char *text;
	size_t plain_len, len;

	rendered(msg, plain, &plain_len);
	v = plain;
	v.gap = true;
	text = rendered(msg, v, &len);
	assert_non_null(strstr(text, "\r\nX-Push-Gap: 1\r\n"));
	assert_int_equal(len, plain_len + strlen("X-Push-Gap: 1\r\n"));
	v = plain;
	v.close = true;
	text = rendered(msg, v, &len);
	assert_non_null(strstr(text, "\r\nConnection: close\r\n"));
	assert_int_equal(len, plain_len + strlen("Connection: close\r\n"));
	v.http10 = true;
	text = rendered(msg, v, &len);
	assert_non_null(strstr(text, "\r\nConnection: close\r\n"));
	assert_int_equal(count_of(text, "Connection:"), 1);
	v.close = false;
	text = rendered(msg, v, &len);
	assert_non_null(strstr(text, "\r\nConnection: keep-alive\r\n"));
	assert_int_equal(count_of(text, "Connection:"), 1);
}

static void
test_each_origin_gets_its_own_lines_and_vary_names_it(void **state UNUSED)
{
	const char *text;
	size_t len;

	text = rendered(msg,
	    (struct render_variant){
		.transport = &longpoll_transport, .loc = &either, .cors_block = 2},
	    &len);
	assert_non_null(strstr(text, "\r\nAccess-Control-Allow-Origin: http://b\r\n"));
	assert_non_null(strstr(text, "\r\nVary: If-Modified-Since, If-None-Match, Origin\r\n"));
	text = rendered(msg,
	    (struct render_variant){
		.transport = &longpoll_transport, .loc = &either, .cors_block = 0},
	    &len);
	assert_null(strstr(text, "Access-Control"));
	assert_non_null(strstr(text, "\r\nVary: If-Modified-Since, If-None-Match, Origin\r\n"));
}

/* The room that is set aside for a head must be enough for the longest. */
static void
test_messages_of_any_size_with_the_longest_numbers_are_rendered(void **state UNUSED)
{
	static char body[100000], type[4000];

	memset(body, 'b', sizeof(body));
	memset(type, 't', sizeof(type));
	for (size_t size = 0; size <= sizeof(body); size = size * 3 + 1) {
		struct message *large = message_new(&(struct message_parts){
		    .content_type = {type, sizeof(type)}, .body = {body, size}});
		struct render_variant variant = {.transport = &longpoll_transport,
		    .loc = &either,
		    .cors_block = 1,
		    .gap = true,
		    .http10 = true,
		    .second = NOW};
		struct bytes *b;

		large->id = (struct msgid){INT64_C(253402300799), INT64_MAX};
		b = longpoll_transport.render(&worker, &large, 1, &variant);
		assert_non_null(b);
		assert_memory_equal(b->data + b->len - size - 4, "\r\n\r\n", 4);
		assert_memory_equal(b->data + b->len - size, body, size);
		bytes_unref(b);
		message_unref(large);
	}
}

static void
test_equal_variants_share_one_rendering(void **state UNUSED)
{
	struct render_cache cache = {.msg = NULL};
	struct render_variant v = {.transport = &longpoll_transport,
				  .loc = &any,
				  .cors_block = 1,
				  .second = NOW},
			      w = v;
	struct bytes *first = render_cached(&cache, &worker, msg, &v);

	assert_non_null(first);
	assert_ptr_equal(render_cached(&cache, &worker, msg, &w), first);
	assert_int_equal(first->refs, 1);
	w.gap = true;
	assert_ptr_not_equal(render_cached(&cache, &worker, msg, &w), first);
	w = v;
	w.close = true;
	assert_ptr_not_equal(render_cached(&cache, &worker, msg, &w), first);
	w = v;
	w.http10 = true;
	assert_ptr_not_equal(render_cached(&cache, &worker, msg, &w), first);
	w = v;
	w.cors_block = 0;
	assert_ptr_not_equal(render_cached(&cache, &worker, msg, &w), first);
	w = v;
	w.loc = &either;
	assert_ptr_not_equal(render_cached(&cache, &worker, msg, &w), first);
	/* The date in it is good for one second. */
	w = v;
	w.second = NOW + 1;
	assert_ptr_not_equal(render_cached(&cache, &worker, msg, &w), first);
	assert_ptr_equal(render_cached(&cache, &worker, msg, &v), first);
	render_cache_clear(&cache);
	render_cache_clear(&cache);
}

static void
test_another_message_is_never_answered_out_of_the_cache(void **state UNUSED)
{
	struct message *other = new_message(NULL, "other", 5);
	struct render_cache cache = {.msg = NULL};
	struct render_variant v = {
	    .transport = &longpoll_transport, .loc = &any, .cors_block = 1, .second = NOW};
	struct bytes *b;

	other->id = (struct msgid){NOW, 6};
	(void)render_cached(&cache, &worker, msg, &v);
	b = render_cached(&cache, &worker, other, &v);
	assert_memory_equal(b->data + b->len - 5, "other", 5);
	b = render_cached(&cache, &worker, msg, &v);
	assert_memory_equal(b->data + b->len - 3, "\0\r\n", 3);
	render_cache_clear(&cache);
	message_unref(other);
}

static void
test_more_variants_than_the_cache_has_room_for_are_right_and_those_in_use_live(void **state UNUSED)
{
	struct render_cache cache = {.msg = NULL};
	struct bytes *kept[3 * RENDER_CACHE_SIZE];

	for (unsigned i = 0; i < ARRAY_LEN(kept); i++) {
		struct render_variant v = {.transport = &longpoll_transport,
		    .loc = i % 2 ? &any : &either,
		    .cors_block = 1,
		    .gap = i / 2 % 2,
		    .close = i / 4 % 2,
		    .second = NOW + i / 8};

		clock_set(1000, v.second);
		/* A slow reader keeps it. */
		kept[i] = bytes_ref(render_cached(&cache, &worker, msg, &v));
	}
	render_cache_clear(&cache);
	for (unsigned i = 0; i < ARRAY_LEN(kept); i++) {
		char *text = strndup(kept[i]->data, kept[i]->len);

		assert_int_equal(kept[i]->refs, 1);
		assert_int_equal(strstr(text, "\r\nX-Push-Gap: 1\r\n") != NULL, i / 2 % 2);
		assert_int_equal(strstr(text, "Connection: close") != NULL, i / 4 % 2);
		assert_int_equal(strstr(text, "Origin: http://a") != NULL, i % 2 == 0);
		assert_non_null(strstr(text, i / 8 == 0   ? "08:49:37 GMT"
					     : i / 8 == 1 ? "08:49:38 GMT"
							  : "08:49:39 GMT"));
		free(text);
		bytes_unref(kept[i]);
	}
}

static void
test_bytes_live_until_their_last_user(void **state UNUSED)
{
	struct bytes *b = bytes_new(3);

	assert_int_equal(b->len, 3);
	memcpy(b->data, "abc", 3);
	assert_ptr_equal(bytes_ref(b), b);
	bytes_unref(b);
	assert_memory_equal(b->data, "abc", 3);
	bytes_unref(b);
	bytes_unref(NULL);
	b = bytes_new(0);
	assert_non_null(b);
	bytes_unref(b);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(test_a_poll_is_answered_with_the_message_and_its_position),
	    TEST(test_the_content_type_is_the_publishers_unless_the_location_has_one),
	    TEST(test_variants_differ_in_exactly_their_lines),
	    TEST(test_each_origin_gets_its_own_lines_and_vary_names_it),
	    TEST(test_messages_of_any_size_with_the_longest_numbers_are_rendered),
	    TEST(test_equal_variants_share_one_rendering),
	    TEST(test_another_message_is_never_answered_out_of_the_cache),
	    TEST(test_more_variants_than_the_cache_has_room_for_are_right_and_those_in_use_live),
	    TEST(test_bytes_live_until_their_last_user),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
