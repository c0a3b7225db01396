/* Answers as bytes: status line, header lines, positions, and what a status may carry. */
#include "relay/response.h"

#include "base/attr.h"
#include "base/clock.h"
#include "relay/cors.h"
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
#define NOW  INT64_C(784111777)
#define HEAD "Server: test\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"

static struct worker worker;
static struct conn conn;
static char head_lines[128], buf[4096];

static int
set_up(void **state UNUSED)
{
	memset(&worker, 0, sizeof(worker));
	memset(&conn, 0, sizeof(conn));
	/* As a worker with the servername "test" makes them: the date is filled in. */
	strcpy(head_lines, "Server: test\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n");
	worker.head_lines = head_lines;
	worker.head_lines_len = strlen(head_lines);
	worker.server_line_len = strlen("Server: test\r\n");
	worker.head_second = -1;
	conn.worker = &worker;
	clock_set(1000, NOW);
	return 0;
}

static const char *
text_of(const struct text *t)
{
	assert_true(text_ok(t));
	buf[text_len(t)] = '\0';
	return buf;
}

static struct text
begin(void)
{
	return text_in(buf, sizeof(buf) - 1);
}

static void
test_every_answer_begins_with_status_server_and_date(void **state UNUSED)
{
	struct text t = begin();

	response_begin(&t, &worker, 404);
	assert_string_equal(text_of(&t), "HTTP/1.1 404 Not Found\r\n" HEAD);
	/* The date goes with the clock, second by second and both ways. */
	clock_set(2000, NOW + 1);
	t = begin();
	response_begin(&t, &worker, 200);
	assert_string_equal(text_of(&t),
	    "HTTP/1.1 200 OK\r\nServer: test\r\nDate: Sun, 06 Nov 1994 08:49:38 GMT\r\n");
	clock_set(2000, NOW - 1);
	t = begin();
	response_begin(&t, &worker, 200);
	assert_non_null(strstr(text_of(&t), "08:49:36 GMT"));
}

static void
test_statuses_that_are_used_have_their_phrase(void **state UNUSED)
{
	static const unsigned used[] = {200, 201, 202, 204, 304, 400, 403, 404, 405, 406, 408, 409,
	    410, 413, 414, 417, 426, 431, 501, 503, 505, 507};

	for (size_t i = 0; i < ARRAY_LEN(used); i++) {
		assert_string_not_equal(response_reason(used[i]), "Unknown");
		assert_true(strlen(response_reason(used[i])) > 1);
	}
	assert_string_equal(response_reason(410), "Gone");
	assert_string_equal(response_reason(999), "Unknown");
}

static void
test_connection_is_said_where_it_is_not_the_versions_own(void **state UNUSED)
{
	static const char *const expected[2][2] = {
	    {"", "Connection: close\r\n"},
	    {"Connection: keep-alive\r\n", "Connection: close\r\n"},
	};

	for (int http10 = 0; http10 < 2; http10++)
		for (int close = 0; close < 2; close++) {
			struct text t = begin();

			conn.http10 = http10;
			conn.close_after = close;
			response_connection(&t, &conn);
			assert_string_equal(text_of(&t), expected[http10][close]);
		}
}

static void
test_a_position_is_last_modified_etag_and_cache_control_for_old_clients(void **state UNUSED)
{
	struct text t = begin();
	const char *text, *etag;

	response_position(&t, (struct msgid){NOW, 7});
	text = text_of(&t);
	assert_string_equal(text, "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nEtag: \"7\"\r\n"
				  "Cache-Control: no-cache, etag=\"7\"\r\n");
	/* They read it with /etag=(\S+)/: nothing may follow. */
	etag = strstr(text, "etag=");
	assert_int_equal(strcspn(etag, " \t\r\n"), strlen("etag=\"7\""));
	t = begin();
	response_position(&t, (struct msgid){0, 0});
	assert_string_equal(text_of(&t),
	    "Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT\r\nEtag: \"0\"\r\n"
	    "Cache-Control: no-cache, etag=\"0\"\r\n");
	/* If-Modified-Since alone goes back alone. */
	t = begin();
	response_position(&t, (struct msgid){NOW, -1});
	assert_string_equal(text_of(&t),
	    "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nCache-Control: no-cache\r\n");
}

static void
test_numbers_and_fields(void **state UNUSED)
{
	struct text t = begin();

	response_number(&t, INT64_MIN);
	response_number(&t, 0);
	response_field(&t, "Allow", "GET, PUT");
	assert_string_equal(text_of(&t), "-92233720368547758080Allow: GET, PUT\r\n");
}

static struct cors
cors_of(size_t n, const char *const *origins)
{
	struct cors cors = {.n_origins = n};

	cors.origins = calloc(n, sizeof(*cors.origins));
	for (size_t i = 0; i < n; i++)
		cors.origins[i] = strdup(origins[i]);
	assert_int_equal(cors_prepare(&cors), 0);
	return cors;
}

static void
test_the_lines_of_cors_go_with_vary_where_the_origin_decides(void **state UNUSED)
{
	static const char *const all[] = {"*"}, *const two[] = {"http://a", "http://b"};
	struct cors any = cors_of(1, all), either = cors_of(2, two);
	struct text t = begin();
	const char *text;

	response_cors(&t, &any, 1, CORS_VARY_NONE);
	text = text_of(&t);
	assert_ptr_equal(strstr(text, "Access-Control-Allow-Origin: *\r\n"), text);
	assert_null(strstr(text, "Vary"));
	t = begin();
	response_cors(&t, &any, 1, CORS_VARY_POSITION);
	assert_non_null(strstr(text_of(&t), "\r\nVary: If-Modified-Since, If-None-Match\r\n"));
	t = begin();
	response_cors(&t, &either, 2, CORS_VARY_NONE);
	text = text_of(&t);
	assert_ptr_equal(strstr(text, "Access-Control-Allow-Origin: http://b\r\n"), text);
	assert_non_null(strstr(text, "\r\nVary: Origin\r\n"));
	/* Who is not allowed is told so by silence, but a cache must know. */
	t = begin();
	response_cors(&t, &either, 0, CORS_VARY_NONE);
	assert_string_equal(text_of(&t), "Vary: Origin\r\n");
	t = begin();
	response_cors(&t, &either, 0, CORS_VARY_ACCEPT);
	assert_string_equal(text_of(&t), "Vary: Accept, Origin\r\n");
	cors_reset(&any);
	cors_reset(&either);
}

static void
test_an_answer_has_its_fields_type_length_and_body(void **state UNUSED)
{
	struct answer answer = {.status = 201,
	    .fields = "A: b\r\n",
	    .fields_len = 6,
	    .type = "text/plain",
	    .body = "queued\n",
	    .body_len = 7};
	struct text t = begin();

	response_answer(&t, &conn, &answer);
	assert_string_equal(text_of(&t),
	    "HTTP/1.1 201 Created\r\n" HEAD "A: b\r\nContent-Type: text/plain\r\n"
	    "Content-Length: 7\r\n\r\nqueued\n");
	conn.close_after = true;
	t = begin();
	response_answer(&t, &conn, &answer);
	assert_string_equal(text_of(&t),
	    "HTTP/1.1 201 Created\r\n" HEAD "A: b\r\nContent-Type: text/plain\r\n"
	    "Content-Length: 7\r\nConnection: close\r\n\r\nqueued\n");
}

static void
test_an_answer_to_head_has_the_length_and_no_body(void **state UNUSED)
{
	struct answer answer = {.status = 405, .type = "text/plain", .body = "no\n", .body_len = 3};
	struct text t = begin();

	conn.head_only = true;
	response_answer(&t, &conn, &answer);
	assert_string_equal(text_of(&t),
	    "HTTP/1.1 405 Method Not Allowed\r\n" HEAD "Content-Type: text/plain\r\n"
	    "Content-Length: 3\r\n\r\n");
}

static void
test_an_answer_without_a_body_says_so_unless_its_status_has_none(void **state UNUSED)
{
	struct answer answer = {.status = 200};
	struct text t = begin();

	response_answer(&t, &conn, &answer);
	assert_string_equal(text_of(&t), "HTTP/1.1 200 OK\r\n" HEAD "Content-Length: 0\r\n\r\n");
	answer.status = 304;
	t = begin();
	response_answer(&t, &conn, &answer);
	assert_string_equal(text_of(&t), "HTTP/1.1 304 Not Modified\r\n" HEAD "\r\n");
	answer.status = 204;
	t = begin();
	response_answer(&t, &conn, &answer);
	assert_string_equal(text_of(&t), "HTTP/1.1 204 No Content\r\n" HEAD "\r\n");
}

static void
test_an_answer_that_does_not_fit_is_not_ok(void **state UNUSED)
{
	struct answer answer = {.status = 200, .type = "text/plain", .body = "abc", .body_len = 3};
	struct text t = begin();
	size_t len;

	response_answer(&t, &conn, &answer);
	len = text_len(&t);
	for (size_t size = 0; size <= len; size++) {
		char *small = malloc(size > 0 ? size : 1);

		t = text_in(small, size);
		response_answer(&t, &conn, &answer);
		assert_int_equal(text_ok(&t), size == len);
		free(small);
	}
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, set_up)
	const struct CMUnitTest tests[] = {
	    TEST(test_every_answer_begins_with_status_server_and_date),
	    TEST(test_statuses_that_are_used_have_their_phrase),
	    TEST(test_connection_is_said_where_it_is_not_the_versions_own),
	    TEST(test_a_position_is_last_modified_etag_and_cache_control_for_old_clients),
	    TEST(test_numbers_and_fields),
	    TEST(test_the_lines_of_cors_go_with_vary_where_the_origin_decides),
	    TEST(test_an_answer_has_its_fields_type_length_and_body),
	    TEST(test_an_answer_to_head_has_the_length_and_no_body),
	    TEST(test_an_answer_without_a_body_says_so_unless_its_status_has_none),
	    TEST(test_an_answer_that_does_not_fit_is_not_ok),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
