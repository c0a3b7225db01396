/*
 * The fast reader of requests: what it takes, what it leaves to request.c and http-parser,
 * and that what it takes is the same to them.
 */
#include "base/attr.h"
#include "tests/fuzz/two_readers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct request_limits limits = {.target_size = 8192, .header_size = 16384};

#define HOST "Host: push.example\r\n"
#define GET  "GET /sub/room HTTP/1.1\r\n" HOST
#define POST "POST /pub/room HTTP/1.1\r\n" HOST

#define BROWSER                                                                          \
	"GET /sub/lobby?_=1700000000000 HTTP/1.1\r\n"                                    \
	"Host: push.example.org:8080\r\n"                                                \
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101\r\n"       \
	"Accept: application/json, text/javascript, */*; q=0.01\r\n"                     \
	"Accept-Language: en-US,en;q=0.5\r\n"                                            \
	"Accept-Encoding: gzip, deflate, br, zstd\r\n"                                   \
	"If-Modified-Since: Tue, 14 Nov 2023 22:13:20 GMT\r\n"                           \
	"If-None-Match: \"7\"\r\n"                                                       \
	"X-Requested-With: XMLHttpRequest\r\n"                                           \
	"Connection: keep-alive\r\n"                                                     \
	"Referer: https://push.example.org/lobby\r\n"                                    \
	"Cookie: csrftoken=abcdefghijklmnopqrstuvwxyz012345; sessionid=0123456789ab\r\n" \
	"Sec-Fetch-Dest: empty\r\n"                                                      \
	"Sec-Fetch-Mode: cors\r\n"                                                       \
	"Sec-Fetch-Site: same-origin\r\n\r\n"

static const char *const ordinary[] = {
    GET "\r\n",
    BROWSER,
    "GET / HTTP/1.1\r\nHost:x\r\n\r\n",
    "GET /?a?b/c HTTP/1.1\r\nHost:   x   \r\n\r\n",
    "GET /a%2Fb? HTTP/1.1\r\nhOST: x\r\nACCEPT:\r\nx-empty:   \r\n\r\n",
    GET "Connection: Keep-Alive\r\n\r\n",
    GET "Connection: close\r\n\r\n",
    GET "connection:CLOSE  \r\n\r\n",
    GET "Cookie: na\xc3\xafve=\xff\r\nX-Forwarded-For: 10.0.0.1\r\nX-B3-TraceId: 80f1\r\n\r\n",
    GET "Accept: text/event-stream\r\nLast-Event-ID: 1700000000:3\r\nTE: trailers\r\n"
	"Origin: https://push.example\r\nUser-Agent: x\r\nX-EventSource-Event: y\r\n"
	"Event-Id: 1\r\nEvent-Type: t\r\n\r\n",
    GET "Cookie: a=1\r\nCookie: b=2\r\n\r\n",
    /* Names that only begin or end like one that is known. */
    GET "Transfer-Encodings: chunked\r\nContent-Lengths: 7\r\nUpgrades: x\r\nHosts: y\r\n"
	"XHost: z\r\nTransfer-Encodin: chunked\r\nConnections: close\r\nExpects: y\r\n\r\n",
    /* As long as one that is known, and with its first letter. */
    GET "Hast: x\r\nContent-Langth: 7\r\nTransfer-Encodimg: chunked\r\nUpgrads: x\r\n"
	"Tz: x\r\nX-EventSource-Evens: x\r\nIf-Modified-Sinca: x\r\n\r\n",
    GET "\r\nGET /sub/next HTTP/1.1\r\n" HOST "\r\n",
    GET "\r\nwhatever lies behind it\x01",
    POST "Content-Length: 5\r\n\r\nhello",
    POST "Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nhello",
    POST "Content-Length: 0\r\n\r\n",
    POST "Content-Length: 000000000000000003\r\nConnection: close\r\n\r\nabc",
    POST "Content-Length: 16\r\n\r\nGET / HTTP/1.1\r\n",
};

static void
test_ordinary_requests_are_taken(void **state UNUSED)
{
	for (size_t i = 0; i < ARRAY_LEN(ordinary); i++) {
		const size_t head_len = (size_t)(strstr(ordinary[i], "\r\n\r\n") - ordinary[i]) + 4;

		assert_int_equal(
		    taken_at_once(ordinary[i], strlen(ordinary[i]), &limits), head_len);
	}
}

static void
assert_readers_agree(const char *bytes, size_t len, size_t head_len)
{
	const char *differ = readers_differ(bytes, len, head_len, &limits);

	if (differ != NULL)
		fail_msg("the readers differ in %s of:\n%.*s", differ, (int)len, bytes);
}

static void
test_what_is_taken_is_the_same_to_http_parser(void **state UNUSED)
{
	for (size_t i = 0; i < ARRAY_LEN(ordinary); i++) {
		const size_t len = strlen(ordinary[i]);

		assert_readers_agree(ordinary[i], len, taken_at_once(ordinary[i], len, &limits));
	}
}

static void
test_a_request_with_any_byte_changed_is_left_or_the_same_to_http_parser(void **state UNUSED)
{
	static const char *const requests[] = {
	    "GET /s?q=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept: a\r\n\r\n",
	    "POST /p HTTP/1.1\r\nhost: y\r\nContent-Length: 2\r\nTE: a\r\n\r\nabc",
	};
	size_t taken = 0, left = 0;

	for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
		const size_t len = strlen(requests[i]);
		char *bytes = malloc(len);

		memcpy(bytes, requests[i], len);
		for (size_t at = 0; at < len; at++) {
			for (int c = 0; c < 256; c++) {
				size_t head_len;

				bytes[at] = (char)c;
				head_len = taken_at_once(bytes, len, &limits);
				if (head_len == 0) {
					left++;
					continue;
				}
				taken++;
				assert_readers_agree(bytes, len, head_len);
			}
			bytes[at] = requests[i][at];
		}
		free(bytes);
	}
	/* So both have been seen. */
	assert_true(taken > 1000);
	assert_true(left > 1000);
}

static void
test_a_request_is_not_taken_before_its_last_byte(void **state UNUSED)
{
	static const char *const requests[] = {
	    BROWSER,
	    POST "Content-Type: text/plain\r\nContent-Length: 20\r\n\r\n01234567890123456789",
	};

	for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
		const size_t len = strlen(requests[i]);

		for (size_t cut = 0; cut < len; cut++) {
			/* A block of its own, so that a read behind the cut is found. */
			char *part = malloc(cut);

			memcpy(part, requests[i], cut);
			assert_int_equal(taken_at_once(part, cut, &limits), 0);
			free(part);
		}
		assert_int_not_equal(taken_at_once(requests[i], len, &limits), 0);
	}
}

static void
test_what_is_not_ordinary_is_left_to_the_other_reader(void **state UNUSED)
{
	static const char *const others[] = {
	    /* Methods, versions, targets. */
	    "PUT /pub/room HTTP/1.1\r\n" HOST "\r\n",
	    "HEAD /sub/room HTTP/1.1\r\n" HOST "\r\n",
	    "get /sub/room HTTP/1.1\r\n" HOST "\r\n",
	    "GET  /sub/room HTTP/1.1\r\n" HOST "\r\n",
	    "GET /sub/room  HTTP/1.1\r\n" HOST "\r\n",
	    "GET /sub/room HTTP/1.1 \r\n" HOST "\r\n",
	    "GET /sub/room HTTP/1.0\r\n" HOST "\r\n",
	    "GET /sub/room HTTP/2.0\r\n" HOST "\r\n",
	    "GET /sub/room http/1.1\r\n" HOST "\r\n",
	    "GET /sub/room\r\n" HOST "\r\n",
	    "GET * HTTP/1.1\r\n" HOST "\r\n",
	    "GET http://push.example/sub HTTP/1.1\r\n" HOST "\r\n",
	    "GET /sub#part HTTP/1.1\r\n" HOST "\r\n",
	    "GET /sub?q#part HTTP/1.1\r\n" HOST "\r\n",
	    "GET /s\xc3\xbc HTTP/1.1\r\n" HOST "\r\n",
	    "\r\nGET /sub/room HTTP/1.1\r\n" HOST "\r\n",
	    /* Host. */
	    "GET /sub/room HTTP/1.1\r\n\r\n",
	    "GET /sub/room HTTP/1.1\r\nHosts: x\r\n\r\n",
	    GET HOST "\r\n",
	    /* Lines. */
	    "GET /sub/room HTTP/1.1\nHost: x\n\n",
	    "GET /sub/room HTTP/1.1\r\n" HOST "\n",
	    GET "Accept: a\n\r\n",
	    GET "Accept: a\r\r\n\r\n",
	    GET "Accept: a\r\n b\r\n\r\n",
	    GET " Accept: a\r\n\r\n",
	    GET "Accept : a\r\n\r\n",
	    GET "Accept\r\n\r\n",
	    GET ": a\r\n\r\n",
	    GET "X_Y: a\r\n\r\n",
	    GET "X!Y: a\r\n\r\n",
	    GET "X\xc3: a\r\n\r\n",
	    GET "Accept:\ta\r\n\r\n",
	    GET "Accept: a\tb\r\n\r\n",
	    GET "Accept: a\t\r\n\r\n",
	    GET "Accept: a\x01\r\n\r\n",
	    GET "Accept: a\x7f\r\n\r\n",
	    /* What frames a body, or the connection. */
	    GET "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	    POST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	    POST "Transfer-Encoding: identity\r\nContent-Length: 1\r\n\r\na",
	    POST "\r\n",
	    POST "Content-Length:\r\n\r\n",
	    POST "Content-Length: -1\r\n\r\n",
	    POST "Content-Length: +1\r\n\r\na",
	    POST "Content-Length: 1a\r\n\r\na",
	    POST "Content-Length: 1,1\r\n\r\na",
	    POST "Content-Length: 1 1\r\n\r\na",
	    POST "Content-Length: 0x1\r\n\r\na",
	    POST "Content-Length: 0000000000000000001\r\n\r\na",
	    POST "Content-Length: 99999999999999999999\r\n\r\na",
	    POST "Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
	    GET "Content-Length: 0\r\n\r\n",
	    GET "Content-Length: 1\r\n\r\na",
	    GET "Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
	    GET "Upgrade: h2c\r\n\r\n",
	    GET "Expect: 100-continue\r\n\r\n",
	    GET "Connection: keep-alive, Upgrade\r\n\r\n",
	    GET "Connection: X-Mine\r\n\r\n",
	    GET "Connection:\r\n\r\n",
	    GET "Connection: close, close\r\n\r\n",
	    GET "Connection: keep-alive\r\nConnection: keep-alive\r\n\r\n",
	    GET "Connection: keep-alive\r\nConnection: close\r\n\r\n",
	    /* What is looked up by number comes once. */
	    GET "Accept: a\r\nAccept: b\r\n\r\n",
	};

	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		if (taken_at_once(others[i], strlen(others[i]), &limits) != 0)
			fail_msg("taken:\n%s", others[i]);
	/* The NUL of a string says nothing of one in a request. */
	assert_int_equal(
	    taken_at_once(GET "A: \0\r\n\r\n", sizeof(GET "A: \0\r\n\r\n") - 1, &limits), 0);
	assert_int_equal(taken_at_once("GET /\0 HTTP/1.1\r\n" HOST "\r\n",
			     sizeof("GET /\0 HTTP/1.1\r\n" HOST "\r\n") - 1, &limits),
	    0);
}

static void
test_what_is_not_taken_leaves_nothing_behind(void **state UNUSED)
{
	static const char spoilt[] =
	    POST "Accept: a\r\nContent-Length: 3\r\nOrigin: b\r\n\tc\r\n\r\n";
	struct head head;

	assert_int_equal(head_init(&head), 0);
	assert_int_equal(fastrequest_read(&head, spoilt, sizeof(spoilt) - 1, &limits), 0);
	assert_int_equal(head.n_fields, 0);
	assert_int_equal(head.content_length, -1);
	assert_int_equal(head.twice, 0);
	for (unsigned h = 0; h < HEADER_COUNT; h++)
		assert_false(head_has(&head, h));
	head_free(&head);
}

static void
test_what_is_over_a_limit_is_left_to_be_refused(void **state UNUSED)
{
	static const char request[] = "GET /twelve-bytes HTTP/1.1\r\nHost: a\r\nAccept: b\r\n\r\n";
	const uint32_t target = sizeof("/twelve-bytes") - 1;
	const uint32_t fields = sizeof("Host: a\r\nAccept: b\r\n") - 1;
	const size_t len = sizeof(request) - 1;

	for (uint32_t less = 0; less < 2; less++) {
		const struct request_limits of_target = {target - less, 16384};
		const struct request_limits of_fields = {8192, fields - less};

		assert_int_equal(taken_at_once(request, len, &of_target), less == 0 ? len : 0);
		assert_int_equal(taken_at_once(request, len, &of_fields), less == 0 ? len : 0);
	}
}

/* A request with n headers beside Host; free() it. */
static char *
with_headers(unsigned n)
{
	char *text = malloc(64 + (size_t)n * 16), *p = text;

	p += sprintf(p, GET);
	for (unsigned i = 0; i < n; i++)
		p += sprintf(p, "X-%u: %u\r\n", i, i);
	sprintf(p, "\r\n");
	return text;
}

static void
test_more_headers_than_there_is_room_for_are_left_until_there_is(void **state UNUSED)
{
	char *few = with_headers(10), *many = with_headers(100), *copy = strdup(many);
	struct request *req = request_new(&limits);
	struct slice name = {NULL, 0}, value = {NULL, 0};
	size_t used;

	assert_int_not_equal(taken_at_once(few, strlen(few), &limits), 0);
	assert_int_equal(taken_at_once(many, strlen(many), &limits), 0);
	/* The other reader has made room. */
	for (int i = 0; i < 2; i++) {
		assert_int_equal(request_feed(req, copy, strlen(copy), &used), REQUEST_HEAD);
		assert_int_equal(used, strlen(many));
		assert_true(request_header_at(req, 100, &name, &value));
		assert_int_equal(name.len, 4);
		assert_memory_equal(name.p, "X-99", 4);
		assert_memory_equal(value.p, "99", 2);
		assert_false(request_header_at(req, 101, &name, &value));
		request_reset(req);
	}
	request_free(req);
	free(few);
	free(many);
	free(copy);
}

static void
test_known_headers_are_known_in_any_case_and_no_others(void **state UNUSED)
{
	static const struct {
		const char *name;
		enum request_header header;
	} names[] = {
	    {"Accept", HEADER_ACCEPT},
	    {"Connection", HEADER_CONNECTION},
	    {"Content-Length", HEADER_CONTENT_LENGTH},
	    {"Content-Type", HEADER_CONTENT_TYPE},
	    {"Event-Id", HEADER_EVENT_ID},
	    {"Event-Type", HEADER_EVENT_TYPE},
	    {"Expect", HEADER_EXPECT},
	    {"Host", HEADER_HOST},
	    {"If-Modified-Since", HEADER_IF_MODIFIED_SINCE},
	    {"If-None-Match", HEADER_IF_NONE_MATCH},
	    {"Last-Event-ID", HEADER_LAST_EVENT_ID},
	    {"Origin", HEADER_ORIGIN},
	    {"TE", HEADER_TE},
	    {"Transfer-Encoding", HEADER_TRANSFER_ENCODING},
	    {"Upgrade", HEADER_UPGRADE},
	    {"User-Agent", HEADER_USER_AGENT},
	    {"X-EventSource-Event", HEADER_X_EVENTSOURCE_EVENT},
	};

	assert_int_equal(ARRAY_LEN(names), HEADER_COUNT);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const size_t len = strlen(names[i].name);
		/* Blocks of their own, so that a read behind the name is found. */
		char *name = malloc(len), *shorter = malloc(len);

		assert_int_equal(names[i].header, i);
		memcpy(name, names[i].name, len);
		assert_int_equal(head_known(name, len), i);
		for (size_t at = 0; at < len; at++) {
			const char was = name[at];

			if (was == '-')
				continue;
			name[at] = (char)(was ^ 0x20);
			assert_int_equal(head_known(name, len), i);
			/* Each letter counts. */
			name[at] = was == 'q' ? 'j' : 'q';
			assert_int_equal(head_known(name, len), HEADER_COUNT);
			name[at] = was;
		}
		memcpy(shorter, name, len - 1);
		if (len > 2)
			assert_int_equal(head_known(shorter, len - 1), HEADER_COUNT);
		free(name);
		free(shorter);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_ordinary_requests_are_taken),
	    cmocka_unit_test(test_what_is_taken_is_the_same_to_http_parser),
	    cmocka_unit_test(
		test_a_request_with_any_byte_changed_is_left_or_the_same_to_http_parser),
	    cmocka_unit_test(test_a_request_is_not_taken_before_its_last_byte),
	    cmocka_unit_test(test_what_is_not_ordinary_is_left_to_the_other_reader),
	    cmocka_unit_test(test_what_is_not_taken_leaves_nothing_behind),
	    cmocka_unit_test(test_what_is_over_a_limit_is_left_to_be_refused),
	    cmocka_unit_test(test_more_headers_than_there_is_room_for_are_left_until_there_is),
	    cmocka_unit_test(test_known_headers_are_known_in_any_case_and_no_others),
	};

	request_global_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
