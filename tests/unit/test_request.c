/*
 * Requests as bytes. Each is fed whole, byte by byte, and cut in two at every position,
 * and what is found must be the same: where a packet ends means nothing.
 */
#include "relay/request.h"

#include "base/attr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct request_limits limits;
static struct {
	bool keep;
	uint64_t max;
} bodies;

static int
set_up(void **state UNUSED)
{
	limits = (struct request_limits){.target_size = 8192, .header_size = 16384};
	bodies.keep = true;
	bodies.max = 1 << 20;
	return 0;
}

/* ---- what was found, as text ------------------------------------------------------ */

struct transcript {
	char text[1 << 17];
	size_t len;
	unsigned status; /* of the refusal, or 0 */
	size_t complete; /* requests */
};

static void
say_bytes(struct transcript *tr, const char *p, size_t len)
{
	if (tr->len + len >= sizeof(tr->text))
		abort();
	if (len > 0)
		memcpy(tr->text + tr->len, p, len);
	tr->len += len;
	tr->text[tr->len] = '\0';
}

static void
say(struct transcript *tr, const char *s)
{
	say_bytes(tr, s, strlen(s));
}

static void
say_slice(struct transcript *tr, struct slice s)
{
	if (s.p == NULL)
		say(tr, "(absent)");
	else
		say_bytes(tr, s.p, s.len);
}

static const char *const method_names[] = {
    [METHOD_GET] = "GET",
    [METHOD_PUT] = "PUT",
    [METHOD_POST] = "POST",
    [METHOD_DELETE] = "DELETE",
    [METHOD_OPTIONS] = "OPTIONS",
    [METHOD_HEAD] = "HEAD",
    [METHOD_OTHER] = "OTHER",
};

/* "GET /path?query 1.1 keep|name=value|name=value" */
static void
say_head(struct transcript *tr, const struct request *req)
{
	struct slice query = request_query(req), name, value;

	say(tr, method_names[request_method(req)]);
	say(tr, " ");
	say_slice(tr, request_path(req));
	if (query.p != NULL) {
		say(tr, "?");
		say_slice(tr, query);
	}
	say(tr, request_http10(req) ? " 1.0" : " 1.1");
	say(tr, request_keep_alive(req) ? " keep" : " close");
	for (size_t i = 0; request_header_at(req, i, &name, &value); i++) {
		say(tr, "|");
		say_slice(tr, name);
		say(tr, "=");
		say_slice(tr, value);
	}
}

/* " body:abc", where there is one or one was kept. */
static void
say_body(struct transcript *tr, const struct request *req)
{
	struct slice body = request_body(req);

	if (request_has_body(req)) {
		say(tr, " body:");
		say_slice(tr, body);
	} else if (body.len > 0) {
		say(tr, " body out of nowhere");
	}
	say(tr, "\n");
}

/* What a connection does with bytes that came; false after a refusal. */
static bool
feed_part(struct request *req, const char *bytes, size_t len, struct transcript *tr)
{
	/* A block of its own, which is gone afterwards: nothing may be found in it later. */
	char *data = malloc(len > 0 ? len : 1), *at = data;
	bool ok = true;

	memcpy(data, bytes, len);
	while (ok && len > 0) {
		size_t used = SIZE_MAX;
		enum request_event event = request_feed(req, at, len, &used);
		const char *why = NULL;

		assert_true(used <= len);
		if (event == REQUEST_HEAD) {
			struct transcript before = {.len = 0};

			at += used;
			len -= used;
			assert_true(request_in_body(req));
			say_head(&before, req);
			request_expect_body(req, bodies.keep, bodies.max);
			event = request_feed(req, at, len, &used);
			/* The head stays what it was while its body comes. */
			if (event != REQUEST_ERROR)
				say_head(tr, req);
			else
				say(tr, before.text);
			assert_string_equal(tr->text + tr->len - before.len, before.text);
		}
		at += used;
		len -= used;
		switch (event) {
		case REQUEST_MORE:
			assert_true(used > 0 || len == 0);
			if (!request_is_empty(req))
				assert_int_equal(request_keep(req), 0);
			break;
		case REQUEST_COMPLETE:
			say_body(tr, req);
			tr->complete++;
			request_reset(req);
			assert_true(request_is_empty(req));
			break;
		case REQUEST_ERROR:
			tr->status = request_error(req, &why);
			assert_non_null(why);
			assert_in_range(strlen(why), 1, 150);
			assert_in_range(tr->status, 400, 599);
			/* It stays refused. */
			assert_int_equal(request_feed(req, at, 0, &used), REQUEST_ERROR);
			ok = false;
			break;
		case REQUEST_HEAD:
			fail_msg("two heads of one request");
		}
	}
	free(data);
	return ok;
}

/* In pieces that end at each of the cuts, which are in order, and at the end. */
static void
feed(const char *bytes, size_t len, const size_t *cuts, size_t n_cuts, struct transcript *tr)
{
	struct request *req = request_new(&limits);
	size_t from = 0;

	tr->len = 0;
	tr->text[0] = '\0';
	tr->status = 0;
	tr->complete = 0;
	for (size_t i = 0; i <= n_cuts; i++) {
		/* cppcheck-suppress nullPointer ; NULL comes with 0 cuts */
		size_t to = i < n_cuts ? cuts[i] : len;

		if (!feed_part(req, bytes + from, to - from, tr))
			break;
		from = to;
	}
	/* What has not become a request is left over. */
	if (tr->status == 0 && !request_is_empty(req))
		say(tr, request_in_body(req) ? "(body unfinished)" : "(head unfinished)");
	request_free(req);
}

static struct transcript whole, parts;

static void
assert_same(const char *how, size_t at)
{
	if (strcmp(whole.text, parts.text) != 0 || whole.status != parts.status)
		fail_msg("fed %s (%zu):\n%s[%u]\nbut whole:\n%s[%u]", how, at, parts.text,
		    parts.status, whole.text, whole.status);
}

/* Feeds bytes in all ways; whole is what was found. */
static void
feed_all_ways(const char *bytes, size_t len)
{
	size_t *every = malloc((len + 1) * sizeof(*every));

	for (size_t i = 0; i < len; i++)
		every[i] = i + 1;
	feed(bytes, len, NULL, 0, &whole);
	if (len > 0) {
		feed(bytes, len, every, len - 1, &parts);
		assert_same("byte by byte", 0);
	}
	for (size_t cut = 1; cut < len; cut++) {
		feed(bytes, len, &cut, 1, &parts);
		assert_same("in two, cut", cut);
	}
	free(every);
}

#define H "Host: x\r\n"

static void
assert_found_bytes(const char *bytes, size_t len, const char *expected)
{
	feed_all_ways(bytes, len);
	if (whole.status != 0)
		fail_msg("refused with %u:\n%s", whole.status, bytes);
	assert_string_equal(whole.text, expected);
}

static void
assert_found(const char *bytes, const char *expected)
{
	assert_found_bytes(bytes, strlen(bytes), expected);
}

static void
assert_refused_bytes(const char *bytes, size_t len, unsigned status)
{
	feed_all_ways(bytes, len);
	if (whole.status != status)
		fail_msg(
		    "status %u, not %u:\n%s\n(found: %s)", whole.status, status, bytes, whole.text);
	assert_int_equal(whole.complete, 0);
}

static void
assert_refused(const char *bytes, unsigned status)
{
	assert_refused_bytes(bytes, strlen(bytes), status);
}

#define REFUSED(lit, status) assert_refused_bytes(lit, sizeof(lit) - 1, status)

/* ---- what is taken ---------------------------------------------------------------- */

static void
test_a_get_is_a_method_a_target_and_headers(void **state UNUSED)
{
	assert_found("GET /updates/a%2Fb?_=123&x HTTP/1.1\r\nHost: x:8001\r\nAccept: */*\r\n\r\n",
	    "GET /updates/a%2Fb?_=123&x 1.1 keep|Host=x:8001|Accept=*/*\n");
}

static void
test_bodies_come_by_their_length(void **state UNUSED)
{
	assert_found("POST /a HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nab\r\nc",
	    "POST /a 1.1 keep|Host=x|Content-Length=5 body:ab\r\nc\n");
	assert_found("POST /a HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n",
	    "POST /a 1.1 keep|Host=x|Content-Length=0\n");
	assert_found("POST /a HTTP/1.1\r\n" H "\r\n", "POST /a 1.1 keep|Host=x\n");
	assert_found("PUT /a HTTP/1.1\r\n" H "content-length: 003\r\n\r\nabc",
	    "PUT /a 1.1 keep|Host=x|content-length=003 body:abc\n");
	/* Unfinished ones are not complete. */
	assert_found("POST /a HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nabc",
	    "POST /a 1.1 keep|Host=x|Content-Length=5(body unfinished)");
	assert_found("POST /a HTTP/1.1\r\n" H "Content-Le", "(head unfinished)");
}

static void
test_a_body_is_never_taken_for_a_request(void **state UNUSED)
{
	/* Of methods that want none, too. */
	static const char *const methods[] = {"GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"};

	for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
		char bytes[512], expected[512];

		snprintf(bytes, sizeof(bytes),
		    "%s /a HTTP/1.1\r\n" H "Content-Length: 25\r\n\r\n"
		    "GET /evil HTTP/1.1\r\n" H "\r\n"
		    "GET /next HTTP/1.1\r\n" H "\r\n",
		    methods[i]);
		memcpy(strstr(bytes, "25"), "31", 2);
		snprintf(expected, sizeof(expected),
		    "%s /a 1.1 keep|Host=x|Content-Length=31 body:GET /evil HTTP/1.1\r\n" H "\r\n\n"
		    "GET /next 1.1 keep|Host=x\n",
		    strcmp(methods[i], "PATCH") == 0 ? "OTHER" : methods[i]);
		assert_found(bytes, expected);
	}
}

static void
test_chunks_become_one_body(void **state UNUSED)
{
	static const char head[] = "POST /a HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n";
	static const struct {
		const char *chunks, *body;
	} cases[] = {
	    {"0\r\n\r\n", ""},
	    {"3\r\nabc\r\n0\r\n\r\n", "abc"},
	    {"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", "abc"},
	    {"A\r\n0123456789\r\na\r\nabcdefghij\r\n0\r\n\r\n", "0123456789abcdefghij"},
	    {"0003\r\nabc\r\n000\r\n\r\n", "abc"},
	    /* What looks like framing inside of a chunk is data. */
	    {"9\r\n\r\n0\r\n\r\nxx\r\n0\r\n\r\n", "\r\n0\r\n\r\nxx"},
	    /* Extensions. */
	    {"3;name=value\r\nabc\r\n0;last\r\n\r\n", "abc"},
	    {"3;a=\"q;\\\"uoted\";b\r\nabc\r\n0\r\n\r\n", "abc"},
	    {"3 ; a = b\r\nabc\r\n0\r\n\r\n", "abc"},
	    {"3;\xc3\xa4\r\nabc\r\n0\r\n\r\n", "abc"},
	    /* Trailers. */
	    {"3\r\nabc\r\n0\r\nX-Sum: 1\r\nEmpty:\r\n\r\n", "abc"},
	    {"0\r\nTransfer-Encoding: gzip\r\nHost: y\r\n\r\n", ""},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char bytes[512], expected[512];

		snprintf(bytes, sizeof(bytes), "%s%sGET /next HTTP/1.1\r\n" H "\r\n", head,
		    cases[i].chunks);
		snprintf(expected, sizeof(expected),
		    "POST /a 1.1 keep|Host=x|Transfer-Encoding=chunked body:%s\n"
		    "GET /next 1.1 keep|Host=x\n",
		    cases[i].body);
		assert_found(bytes, expected);
	}
	assert_found("PUT /a HTTP/1.1\r\ntransfer-encoding: Chunked \r\n" H
		     "\r\n1\r\nx\r\n0\r\n\r\n",
	    "PUT /a 1.1 keep|transfer-encoding=Chunked|Host=x body:x\n");
}

static void
test_pipelined_requests_come_one_after_another(void **state UNUSED)
{
	assert_found("GET /1 HTTP/1.1\r\n" H "\r\n"
		     "POST /2 HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc"
		     "POST /3 HTTP/1.1\r\n" H
		     "Transfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\n"
		     "DELETE /4 HTTP/1.0\r\n\r\n"
		     "GET /5 HTTP/1.1\r\n" H,
	    "GET /1 1.1 keep|Host=x\n"
	    "POST /2 1.1 keep|Host=x|Content-Length=3 body:abc\n"
	    "POST /3 1.1 keep|Host=x|Transfer-Encoding=chunked body:de\n"
	    "DELETE /4 1.0 close\n"
	    "(head unfinished)");
}

static void
test_empty_lines_before_a_request_are_passed_over(void **state UNUSED)
{
	assert_found("\r\n\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n",
	    "GET / 1.1 keep|Host=x\nGET / 1.1 keep|Host=x\n");
	assert_found("\r\n", "");
	assert_found("\r\n\r\n\r\n", "");
	assert_found("POST / HTTP/1.1\r\n" H
		     "Content-Length: 1\r\n\r\nx\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n",
	    "POST / 1.1 keep|Host=x|Content-Length=1 body:x\nGET / 1.1 keep|Host=x\n");
}

static void
test_absolute_targets_lose_scheme_and_authority(void **state UNUSED)
{
	assert_found("GET http://h:81/a?b HTTP/1.1\r\n" H "\r\n", "GET /a?b 1.1 keep|Host=x\n");
	assert_found("GET HTTPS://h/a HTTP/1.1\r\n" H "\r\n", "GET /a 1.1 keep|Host=x\n");
	assert_found("GET http://h HTTP/1.1\r\n" H "\r\n", "GET / 1.1 keep|Host=x\n");
	assert_found("GET http://h/ HTTP/1.1\r\n" H "\r\n", "GET / 1.1 keep|Host=x\n");
	assert_found("GET http://h?q HTTP/1.1\r\n" H "\r\n", "GET /?q 1.1 keep|Host=x\n");
	assert_found("GET http://[::1]:8/a HTTP/1.1\r\n" H "\r\n", "GET /a 1.1 keep|Host=x\n");
	assert_found("GET http://h/a?u=http://k/b HTTP/1.1\r\n" H "\r\n",
	    "GET /a?u=http://k/b 1.1 keep|Host=x\n");
	/* In a path it is a path. */
	assert_found("GET /http://h/a HTTP/1.1\r\n" H "\r\n", "GET /http://h/a 1.1 keep|Host=x\n");
	assert_found("GET //h/a HTTP/1.1\r\n" H "\r\n", "GET //h/a 1.1 keep|Host=x\n");
	assert_found("OPTIONS * HTTP/1.1\r\n" H "\r\n", "OPTIONS * 1.1 keep|Host=x\n");
}

static void
test_the_query_begins_at_the_first_question_mark(void **state UNUSED)
{
	assert_found(
	    "GET /a?b?c=%00&d HTTP/1.1\r\n" H "\r\n", "GET /a?b?c=%00&d 1.1 keep|Host=x\n");
	/* An empty one is not an absent one. */
	assert_found("GET /a? HTTP/1.1\r\n" H "\r\n", "GET /a? 1.1 keep|Host=x\n");
}

static void
test_http_1_0_is_served_and_closes_unless_asked(void **state UNUSED)
{
	assert_found("GET /a HTTP/1.0\r\n\r\n", "GET /a 1.0 close\n");
	assert_found("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
	    "GET /a 1.0 keep|Connection=keep-alive\n");
	assert_found("GET /a HTTP/1.0\r\n" H "Connection: Keep-Alive\r\n\r\n",
	    "GET /a 1.0 keep|Host=x|Connection=Keep-Alive\n");
	assert_found("POST /a HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi",
	    "POST /a 1.0 close|Content-Length=2 body:hi\n");
}

static void
test_connection_close_is_heard_in_any_form(void **state UNUSED)
{
	assert_found("GET / HTTP/1.1\r\n" H "Connection: close\r\n\r\n",
	    "GET / 1.1 close|Host=x|Connection=close\n");
	assert_found("GET / HTTP/1.1\r\n" H "Connection: TE, Close\r\n\r\n",
	    "GET / 1.1 close|Host=x|Connection=TE, Close\n");
	assert_found("GET / HTTP/1.1\r\n" H "Connection: close \t\r\n\r\n",
	    "GET / 1.1 close|Host=x|Connection=close\n");
	assert_found("GET / HTTP/1.1\r\n" H "Connection: closed\r\n\r\n",
	    "GET / 1.1 keep|Host=x|Connection=closed\n");
}

static void
test_methods_that_nobody_knows_are_requests_all_the_same(void **state UNUSED)
{
	static const char *const methods[] = {"PATCH", "PROPFIND", "M-SEARCH", "get", "Get", "GETT",
	    "GE", "BREW", "X!#$%&'*+-.^_`|~1", "SOURCE", "TRACE", "LINK", "a"};

	for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
		char bytes[512];

		snprintf(bytes, sizeof(bytes),
		    "%s /a HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nhi"
		    "GET / HTTP/1.1\r\n" H "\r\n",
		    methods[i]);
		assert_found(bytes,
		    "OTHER /a 1.1 keep|Host=x|Content-Length=2 body:hi\nGET / 1.1 keep|Host=x\n");
	}
}

static void
test_blanks_around_a_value_are_cut_off_also_tabs_behind_a_length(void **state UNUSED)
{
	assert_found("POST /a HTTP/1.1\r\nHost:x\r\nContent-Length: \t 2 \t\t\r\nA:  b \t c\t \r\n"
		     "\r\nhi",
	    "POST /a 1.1 keep|Host=x|Content-Length=2|A=b \t c body:hi\n");
	assert_found("POST /a HTTP/1.1\r\n" H "Content-Length:2\t\r\n\r\nhi",
	    "POST /a 1.1 keep|Host=x|Content-Length=2 body:hi\n");
	assert_found("POST /a HTTP/1.1\r\n" H "Transfer-Encoding:\tchunked\t\r\n\r\n0\r\n\r\n",
	    "POST /a 1.1 keep|Host=x|Transfer-Encoding=chunked body:\n");
}

static void
test_empty_values_and_bytes_above_127_are_values(void **state UNUSED)
{
	assert_found("GET / HTTP/1.1\r\nHost:\r\nA:\r\nB: \t \r\nC: \xff\x80\xc3\xa4\r\n\r\n",
	    "GET / 1.1 keep|Host=|A=|B=|C=\xff\x80\xc3\xa4\n");
}

static void
test_an_upgrade_does_not_end_the_work(void **state UNUSED)
{
	assert_found("GET /a HTTP/1.1\r\n" H "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
		     "GET /b HTTP/1.1\r\n" H "\r\n",
	    "GET /a 1.1 keep|Host=x|Connection=Upgrade|Upgrade=websocket\n"
	    "GET /b 1.1 keep|Host=x\n");
	assert_found("POST /a HTTP/1.1\r\n" H
		     "Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nhi"
		     "GET /b HTTP/1.1\r\n" H "\r\n",
	    "POST /a 1.1 keep|Host=x|Connection=Upgrade|Upgrade=h2c|Content-Length=2 body:hi\n"
	    "GET /b 1.1 keep|Host=x\n");
	assert_found("POST /a HTTP/1.1\r\n" H "Connection: Upgrade\r\nUpgrade: h2c\r\n"
		     "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
		     "GET /b HTTP/1.1\r\n" H "\r\n",
	    "POST /a 1.1 keep|Host=x|Connection=Upgrade|Upgrade=h2c|Transfer-Encoding=chunked "
	    "body:hi\n"
	    "GET /b 1.1 keep|Host=x\n");
}

/* ---- what is refused (PROTOCOL, section 7) ---------------------------------------- */

static void
test_a_length_beside_a_transfer_coding_is_refused(void **state UNUSED)
{
	assert_refused("POST / HTTP/1.1\r\n" H
		       "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	    400);
	assert_refused("POST / HTTP/1.1\r\n" H
		       "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
	    400);
	assert_refused("GET / HTTP/1.1\r\n" H
		       "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
	    400);
	assert_refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400);
	assert_refused("GET / HTTP/1.0\r\nTransfer-Encoding: identity\r\n\r\n", 400);
}

static void
test_lengths_that_are_not_one_number_are_refused(void **state UNUSED)
{
	static const char *const lengths[] = {"", " ", "-1", "+5", "-0", "5,5", "5, 5", "5,6",
	    "5 5", "5\t5", "0x5", "5h", "h5", "5.0", "5;", "\"5\"", "five", "5\xb2",
	    "18446744073709551615", "18446744073709551616", "18446744073709551621",
	    "9223372036854775808", "99999999999999999999", "1000000000000000000000000000005"};
	char bytes[512];

	for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
		snprintf(bytes, sizeof(bytes),
		    "POST / HTTP/1.1\r\n" H "Content-Length: %s\r\n\r\nabcde", lengths[i]);
		assert_refused(bytes, 400);
	}
	assert_refused(
	    "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde", 400);
	assert_refused(
	    "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\ncontent-length: 5\r\n\r\nabcde", 400);
	assert_refused(
	    "POST / HTTP/1.1\r\n" H "Content-Length: 0\r\nContent-Length: 0\r\n\r\n", 400);
}

#define CHUNKED "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"

static void
test_bad_chunk_sizes_are_refused(void **state UNUSED)
{
	REFUSED(CHUNKED "\r\n", 400);
	REFUSED(CHUNKED "g\r\n", 400);
	REFUSED(CHUNKED "-1\r\n", 400);
	REFUSED(CHUNKED "+1\r\n", 400);
	REFUSED(CHUNKED " 1\r\n", 400);
	REFUSED(CHUNKED "\t1\r\n", 400);
	REFUSED(CHUNKED "0x1\r\n", 400);
	REFUSED(CHUNKED "1h\r\n", 400);
	REFUSED(CHUNKED "1\n", 400);
	REFUSED(CHUNKED "1\rX", 400);
	REFUSED(CHUNKED "1\0\r\n", 400);
	REFUSED(CHUNKED ";a\r\n", 400);
	REFUSED(CHUNKED "1 1\r\nx\r\n0\r\n\r\n", 400);
	REFUSED(CHUNKED "1 a=b\r\nx\r\n0\r\n\r\n", 400);
	REFUSED(CHUNKED "\"1\"\r\n", 400);
	REFUSED(CHUNKED "10000000000000000\r\n", 400);
	REFUSED(CHUNKED "ffffffffffffffff\r\n", 400);
	REFUSED(CHUNKED "fffffffffffffffff\r\n", 400);
	REFUSED(CHUNKED "10000000000000001\r\nx\r\n0\r\n\r\n", 400);
	REFUSED(CHUNKED "1\r\na\r\n\r\n", 400);
	REFUSED(CHUNKED "1\r\na\r\nx\r\n", 400);
}

static void
test_chunk_data_must_end_in_cr_lf(void **state UNUSED)
{
	REFUSED(CHUNKED "3\r\nabcd\r\n0\r\n\r\n", 400);
	REFUSED(CHUNKED "3\r\nabc0\r\n\r\n", 400);
	REFUSED(CHUNKED "3\r\nabc\n0\r\n\r\n", 400);
	REFUSED(CHUNKED "3\r\nabc\r0\r\n\r\n", 400);
	REFUSED(CHUNKED "3\r\nabc\r\r\n0\r\n\r\n", 400);
	REFUSED(CHUNKED "3\r\nabcXX0\r\n\r\n", 400);
	REFUSED(CHUNKED "3\r\nabc\0\n0\r\n\r\n", 400);
}

static void
test_control_bytes_in_chunk_extensions_and_trailers_are_refused(void **state UNUSED)
{
	REFUSED(CHUNKED "1;a\nb\r\nx\r\n0\r\n\r\n", 400);
	REFUSED(CHUNKED "1;a\rb\r\nx\r\n0\r\n\r\n", 400);
	REFUSED(CHUNKED "1;a\0b\r\nx\r\n0\r\n\r\n", 400);
	REFUSED(CHUNKED "1;a\x7f\r\nx\r\n0\r\n\r\n", 400);
	REFUSED(CHUNKED "0\r\nA: b\n\r\n", 400);
	REFUSED(CHUNKED "0\r\nA: b\rc\r\n\r\n", 400);
	REFUSED(CHUNKED "0\r\nA: \0\r\n\r\n", 400);
	REFUSED(CHUNKED "0\r\nA : b\r\n\r\n", 400);
	REFUSED(CHUNKED "0\r\nA b\r\n\r\n", 400);
	REFUSED(CHUNKED "0\r\nA\r\n\r\n", 400);
	REFUSED(CHUNKED "0\r\n: b\r\n\r\n", 400);
	REFUSED(CHUNKED "0\r\nA: b\r\n c\r\n\r\n", 400);
	REFUSED(CHUNKED "0\r\n A: b\r\n\r\n", 400);
	REFUSED(CHUNKED "0\r\n\n", 400);
	REFUSED(CHUNKED "0\r\n\rX", 400);
	REFUSED(CHUNKED "0\n\n", 400);
}

static void
test_headers_that_go_on_in_a_second_line_are_refused(void **state UNUSED)
{
	assert_refused("GET / HTTP/1.1\r\n" H "A: b\r\n c\r\n\r\n", 400);
	assert_refused("GET / HTTP/1.1\r\n" H "A: b\r\n\tc\r\n\r\n", 400);
	assert_refused("GET / HTTP/1.1\r\n" H "A: b\r\n \r\n\r\n", 400);
	assert_refused("GET / HTTP/1.1\r\n " H "\r\n", 400);
	assert_refused("GET / HTTP/1.1\r\n" H " \r\n\r\n", 400);
	assert_refused("POST / HTTP/1.1\r\n" H "Content-Length:\r\n 5\r\n\r\nabcde", 400);
	assert_refused(
	    "POST / HTTP/1.1\r\n" H "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400);
}

static void
test_header_names_must_be_tokens_with_the_colon_right_behind(void **state UNUSED)
{
	static const char *const lines[] = {"A : b", "A\t: b", "A b: c", "A\tb: c", ": b", " : b",
	    ":", "A", "A b", "\"A\": b", "A(: b", "A/: b", "A@b: c", "A{}: b", "A\x80: b",
	    "K\xc3\xa4se: b", "A,B: c", "A;: b", "Content-Length : 5",
	    "Transfer-Encoding : chunked", "Host : y"};
	char bytes[256];

	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		snprintf(bytes, sizeof(bytes), "GET / HTTP/1.1\r\n" H "%s\r\n\r\n", lines[i]);
		assert_refused(bytes, 400);
		snprintf(bytes, sizeof(bytes), "GET / HTTP/1.1\r\n%s\r\n" H "\r\n", lines[i]);
		assert_refused(bytes, 400);
	}
}

static void
test_host_comes_once_and_in_1_1_always(void **state UNUSED)
{
	assert_refused("GET / HTTP/1.1\r\n\r\n", 400);
	assert_refused("GET / HTTP/1.1\r\nAccept: */*\r\n\r\n", 400);
	assert_refused("GET / HTTP/1.1\r\nHosts: x\r\n\r\n", 400);
	assert_refused("GET http://x/ HTTP/1.1\r\n\r\n", 400);
	assert_refused("GET / HTTP/1.1\r\n" H "Host: x\r\n\r\n", 400);
	assert_refused("GET / HTTP/1.1\r\n" H "A: b\r\nHOST: y\r\n\r\n", 400);
	assert_refused("GET / HTTP/1.0\r\n" H "Host: y\r\n\r\n", 400);
}

static void
test_two_content_types_are_refused(void **state UNUSED)
{
	assert_refused("POST / HTTP/1.1\r\n" H
		       "Content-Type: a/b\r\ncontent-type: a/b\r\nContent-Length: 0\r\n\r\n",
	    400);
}

static void
test_bare_cr_bare_lf_nul_and_control_bytes_in_a_head_are_refused(void **state UNUSED)
{
	REFUSED("GET / HTTP/1.1\n" H "\r\n", 400);
	REFUSED("GET / HTTP/1.1\r\nHost: x\n\r\n", 400);
	REFUSED("GET / HTTP/1.1\r\nHost: x\r\n\n", 400);
	REFUSED("GET / HTTP/1.1\r\n" H "A: b\nC: d\r\n\r\n", 400);
	REFUSED("GET / HTTP/1.1\r\n" H "\nA: b\r\n\r\n", 400);
	REFUSED("\nGET / HTTP/1.1\r\n" H "\r\n", 400);
	REFUSED("\r\n\nGET / HTTP/1.1\r\n" H "\r\n", 400);
	REFUSED("\rGET / HTTP/1.1\r\n" H "\r\n", 400);
	REFUSED("\r\n\rGET / HTTP/1.1\r\n" H "\r\n", 400);
	REFUSED("GET / HTTP/1.1\r\r\n" H "\r\n", 400);
	REFUSED("GET /\r HTTP/1.1\r\n" H "\r\n", 400);
	REFUSED("GET / HTTP/1.1\r\n" H "A: b\rc\r\n\r\n", 400);
	REFUSED("GET / HTTP/1.1\r\n" H "A: b\r\r\n\r\n", 400);
	REFUSED("GET / HTTP/1.1\r\n" H "A\r: b\r\n\r\n", 400);
	REFUSED("GET / HTTP/1.1\r\n" H "\rA: b\r\n\r\n", 400);
	REFUSED("GET / HTTP/1.1\r\n" H "\r\r\n\r\n", 400);
	REFUSED("GET / HTTP/1.1\r\n" H "A: b\0c\r\n\r\n", 400);
	REFUSED("GET / HTTP/1.1\r\n" H "A\0: b\r\n\r\n", 400);
	REFUSED("GET / HTTP/1.1\r\n" H "\0\r\n\r\n", 400);
	REFUSED("GET /\0 HTTP/1.1\r\n" H "\r\n", 400);
	REFUSED("G\0T / HTTP/1.1\r\n" H "\r\n", 400);
	REFUSED("\0GET / HTTP/1.1\r\n" H "\r\n", 400);
	/* What could split a response, or a line of a log. */
	REFUSED("POST / HTTP/1.1\r\n" H "Content-Type: a\rb\r\nContent-Length: 0\r\n\r\n", 400);
	REFUSED("POST / HTTP/1.1\r\n" H "Content-Type: a\nb\r\nContent-Length: 0\r\n\r\n", 400);
	for (int c = 0; c < 256; c++) {
		char bytes[] = "GET / HTTP/1.1\r\n" H "A: b?c\r\n\r\n";

		*strchr(bytes, '?') = (char)c;
		if (c == '\t' || (c >= ' ' && c != 0x7f))
			feed_all_ways(bytes, sizeof(bytes) - 1);
		else
			assert_refused_bytes(bytes, sizeof(bytes) - 1, 400);
		assert_int_equal(whole.complete, c == '\t' || (c >= ' ' && c != 0x7f));
	}
}

static void
test_control_bytes_blanks_and_fragments_in_a_target_are_refused(void **state UNUSED)
{
	for (int c = 0; c <= 0x7f; c++) {
		char bytes[] = "GET /a?b HTTP/1.1\r\n" H "\r\n";

		if (c > ' ' && c != '#' && c != 0x7f)
			continue;
		*strchr(bytes, '?') = (char)c;
		assert_refused_bytes(bytes, sizeof(bytes) - 1, 400);
	}
}

static void
test_request_lines_are_three_words_with_one_space_between(void **state UNUSED)
{
	static const char *const lines[] = {"GET", "GET ", "GET /", "GET / ", "GET  / HTTP/1.1",
	    "GET /  HTTP/1.1", "GET / HTTP/1.1 ", " GET / HTTP/1.1", "GET\t/ HTTP/1.1",
	    "GET /\tHTTP/1.1", "GET / HTTP/1.1\t", "GET /a b HTTP/1.1", "GET HTTP/1.1",
	    "GET / x HTTP/1.1", "GET / HTTP/1.1 x", "/ GET HTTP/1.1", "HTTP/1.1 200 OK",
	    "G(T / HTTP/1.1", "G\xc3\xa4T / HTTP/1.1", "GET / http/1.1", "GET / HTTP/11",
	    "GET / HTTP/1", "GET / HTTP/1.", "GET / HTTP/.1", "GET / HTTP/1,1", "GET / HTTP/1.1x",
	    "GET / HTTP/1.10", "GET / HTTP/01.1", "GET / HTTP/a.b", "GET / HTTP/ 1.1",
	    "GET / ICE/1.1", "GET / HTTPS/1.1", "GET a HTTP/1.1", "GET a/b HTTP/1.1",
	    "GET ?a HTTP/1.1", "GET \\ HTTP/1.1", "GET * HTTP/1.1x"};
	char bytes[256];

	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		snprintf(bytes, sizeof(bytes), "%s\r\n" H "\r\n", lines[i]);
		assert_refused(bytes, 400);
	}
}

/* It may never have the end of line for which a head would wait. */
static void
test_what_is_no_request_at_all_is_refused_at_its_first_byte(void **state UNUSED)
{
	REFUSED("\x16\x03\x01\x02\x00\x01\x00", 400);
	REFUSED("\x16", 400);
	REFUSED("{\"a\"", 400);
	REFUSED("\r\n\x80", 400);
}

static void
test_other_versions_are_505(void **state UNUSED)
{
	static const char *const versions[] = {"0.9", "1.2", "1.9", "2.0", "3.0", "9.9", "0.0"};
	char bytes[256];

	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		snprintf(bytes, sizeof(bytes), "GET / HTTP/%s\r\n" H "\r\n", versions[i]);
		assert_refused(bytes, 505);
	}
	assert_refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505);
}

static void
test_other_transfer_codings_are_501(void **state UNUSED)
{
	static const char *const codings[] = {"gzip", "gzip, chunked", "chunked, gzip",
	    "chunked, chunked", "chunked,", ",chunked", "identity", "", "xchunked", "chunkedx",
	    "chunked;q=1", "\"chunked\"", "chun ked", "deflate"};
	char bytes[256];

	for (size_t i = 0; i < ARRAY_LEN(codings); i++) {
		snprintf(bytes, sizeof(bytes),
		    "POST / HTTP/1.1\r\n" H "Transfer-Encoding: %s\r\n\r\n0\r\n\r\n", codings[i]);
		assert_refused(bytes, 501);
	}
	assert_refused("POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip\r\n"
		       "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	    501);
	assert_refused("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n"
		       "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	    501);
}

static void
test_the_first_request_stands_when_the_second_is_refused(void **state UNUSED)
{
	static const char bytes[] = "POST /1 HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nhi"
				    "GET /2 HTTP/1.1\r\n" H "A : b\r\n\r\n"
				    "GET /3 HTTP/1.1\r\n" H "\r\n";

	feed_all_ways(bytes, sizeof(bytes) - 1);
	assert_string_equal(whole.text, "POST /1 1.1 keep|Host=x|Content-Length=2 body:hi\n");
	assert_int_equal(whole.status, 400);
}

/* ---- limits ----------------------------------------------------------------------- */

/* A request whose target has this many bytes. */
static size_t
with_target(char *bytes, const char *method, size_t target)
{
	size_t len = (size_t)sprintf(bytes, "%s /", method);

	memset(bytes + len, 'a', target - 1);
	len += target - 1;
	return len + (size_t)sprintf(bytes + len, " HTTP/1.1\r\n" H "\r\n");
}

static void
test_a_target_may_have_target_size_bytes_and_not_one_more(void **state UNUSED)
{
	static const char *const methods[] = {"GET", "OPTIONS", "AVERYLONGMETHODNAME"};
	char bytes[1024];

	limits.target_size = 300;
	for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
		size_t len = with_target(bytes, methods[i], 300);

		feed_all_ways(bytes, len);
		assert_int_equal(whole.status, 0);
		assert_int_equal(whole.complete, 1);
		len = with_target(bytes, methods[i], 301);
		assert_refused_bytes(bytes, len, 414);
		len = with_target(bytes, methods[i], 900);
		assert_refused_bytes(bytes, len, 414);
	}
}

static void
test_a_request_line_that_does_not_end_is_414(void **state UNUSED)
{
	char bytes[1024];

	limits.target_size = 300;
	memset(bytes, 'a', sizeof(bytes));
	assert_refused_bytes(bytes, sizeof(bytes), 414);
	memcpy(bytes, "GET /", 5);
	assert_refused_bytes(bytes, sizeof(bytes), 414);
}

/* A request whose header lines have this many bytes, without the empty one. */
static size_t
with_headers(char *bytes, size_t headers)
{
	size_t len = (size_t)sprintf(bytes, "GET / HTTP/1.1\r\n"), left = headers - strlen(H);

	len += (size_t)sprintf(bytes + len, H);
	while (left > 0) {
		/* Lines of at least five bytes, and none too short is left over. */
		size_t line = left < 205 ? left : 200;

		memcpy(bytes + len, "A: ", 3);
		memset(bytes + len + 3, 'b', line - 5);
		memcpy(bytes + len + line - 2, "\r\n", 2);
		len += line;
		left -= line;
	}
	memcpy(bytes + len, "\r\n", 2);
	return len + 2;
}

static void
test_headers_may_have_header_size_bytes_and_not_one_more(void **state UNUSED)
{
	char bytes[4096];
	size_t len;

	limits.header_size = 512;
	for (size_t size = 500; size <= 520; size++) {
		len = with_headers(bytes, size);
		if (size <= 512) {
			feed_all_ways(bytes, len);
			assert_int_equal(whole.status, 0);
			assert_int_equal(whole.complete, 1);
		} else {
			assert_refused_bytes(bytes, len, 431);
		}
	}
	len = with_headers(bytes, 3000);
	assert_refused_bytes(bytes, len, 431);
}

static void
test_headers_that_do_not_end_are_431(void **state UNUSED)
{
	char bytes[2048];
	size_t len;

	limits.header_size = 512;
	len = (size_t)sprintf(bytes, "GET / HTTP/1.1\r\n" H "A: ");
	memset(bytes + len, 'b', sizeof(bytes) - len);
	assert_refused_bytes(bytes, sizeof(bytes), 431);
	for (len = 16; len + 6 <= sizeof(bytes); len += 6)
		memcpy(bytes + len, "A: b\r\n", 6);
	assert_refused_bytes(bytes, len, 431);
}

static void
test_a_head_may_be_as_large_as_its_limit_however_large_that_is(void **state UNUSED)
{
	const size_t size = 120 * 1024;
	char *bytes = malloc(size + 1024);
	size_t len = (size_t)sprintf(bytes, "GET / HTTP/1.1\r\n" H "A: ");

	limits.header_size = (uint32_t)size;
	memset(bytes + len, 'b', size - strlen(H "A: \r\n"));
	len += size - strlen(H "A: \r\n");
	memcpy(bytes + len, "\r\n\r\n", 4);
	len += 4;
	feed(bytes, len, NULL, 0, &whole);
	assert_int_equal(whole.status, 0);
	assert_int_equal(whole.complete, 1);
	feed(bytes, len, &(size_t){len / 2}, 1, &parts);
	assert_same("in two, cut", len / 2);
	limits.header_size--;
	feed(bytes, len, NULL, 0, &whole);
	assert_int_equal(whole.status, 431);
	free(bytes);
}

static void
test_a_head_may_have_as_many_headers_as_fit(void **state UNUSED)
{
	static char bytes[20000];
	size_t len = (size_t)sprintf(bytes, "GET / HTTP/1.1\r\n"), lines = 0;

	for (; lines < 4094; lines++)
		len += (size_t)sprintf(bytes + len, "A:\r\n");
	len += (size_t)sprintf(bytes + len, "Host:\r\n\r\n");
	feed(bytes, len, NULL, 0, &whole);
	assert_int_equal(whole.status, 0);
	assert_int_equal(whole.complete, 1);
	assert_int_equal(
	    whole.len, strlen("GET / 1.1 keep\n") + lines * strlen("|A=") + strlen("|Host="));
	/* Nothing of them is left in the next request. */
	memcpy(bytes + len, "GET / HTTP/1.1\r\n" H "\r\n", 16 + strlen(H) + 2);
	feed(bytes, len + 16 + strlen(H) + 2, NULL, 0, &whole);
	assert_int_equal(whole.complete, 2);
	assert_string_equal(
	    whole.text + whole.len - strlen("GET / 1.1 keep|Host=x\n"), "GET / 1.1 keep|Host=x\n");
}

static void
test_bodies_may_have_their_maximum_and_not_one_byte_more(void **state UNUSED)
{
	for (int keep = 0; keep < 2; keep++) {
		bodies.keep = keep;
		bodies.max = 5;
		assert_found("POST / HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nabcde",
		    keep ? "POST / 1.1 keep|Host=x|Content-Length=5 body:abcde\n"
			 : "POST / 1.1 keep|Host=x|Content-Length=5 body:\n");
		assert_refused("POST / HTTP/1.1\r\n" H "Content-Length: 6\r\n\r\nabcdef", 413);
		assert_found(CHUNKED "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
		    keep ? "POST / 1.1 keep|Host=x|Transfer-Encoding=chunked body:abcde\n"
			 : "POST / 1.1 keep|Host=x|Transfer-Encoding=chunked body:\n");
		assert_refused(CHUNKED "3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n", 413);
		assert_refused(CHUNKED "6\r\nabcdef\r\n0\r\n\r\n", 413);
		bodies.max = 0;
		assert_refused("POST / HTTP/1.1\r\n" H "Content-Length: 1\r\n\r\na", 413);
		assert_found(CHUNKED "0\r\n\r\n",
		    "POST / 1.1 keep|Host=x|Transfer-Encoding=chunked body:\n");
	}
}

static void
test_large_bodies_come_whole_however_they_are_cut(void **state UNUSED)
{
	static char bytes[70000];
	size_t len =
		   (size_t)sprintf(bytes, "POST / HTTP/1.1\r\n" H "Content-Length: 60000\r\n\r\n"),
	       cuts[4000], n;

	for (size_t i = 0; i < 60000; i++)
		bytes[len + i] = (char)('a' + i % 26);
	len += 60000;
	feed(bytes, len, NULL, 0, &whole);
	assert_int_equal(whole.complete, 1);
	assert_int_equal(
	    whole.len, strlen("POST / 1.1 keep|Host=x|Content-Length=60000 body:") + 60000 + 1);
	for (size_t step = 17; step < len; step = step * 2 + 1) {
		n = 0;
		for (size_t at = step; at < len && n < ARRAY_LEN(cuts); at += step)
			cuts[n++] = at;
		feed(bytes, len, cuts, n, &parts);
		assert_same("in steps", step);
	}
}

static void
test_endless_chunk_extensions_and_trailers_are_refused(void **state UNUSED)
{
	static char bytes[200000];
	size_t len = (size_t)sprintf(bytes, CHUNKED "1;");

	memset(bytes + len, 'a', sizeof(bytes) - len);
	feed(bytes, sizeof(bytes), NULL, 0, &whole);
	assert_int_equal(whole.status, 431);
	/* In many chunks, none of which has much. */
	for (len = sizeof(CHUNKED) - 1; len + 40 < sizeof(bytes);)
		len += (size_t)sprintf(bytes + len, "1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n");
	feed(bytes, len, NULL, 0, &whole);
	assert_int_equal(whole.status, 431);
	len = (size_t)sprintf(bytes, CHUNKED "0\r\n");
	while (len + 10 < sizeof(bytes))
		len += (size_t)sprintf(bytes + len, "A: b\r\n");
	feed(bytes, len, NULL, 0, &whole);
	assert_int_equal(whole.status, 431);
	/* Nor by zeros in front of a size. */
	len = (size_t)sprintf(bytes, CHUNKED);
	memset(bytes + len, '0', sizeof(bytes) - len);
	feed(bytes, sizeof(bytes), NULL, 0, &whole);
	assert_int_equal(whole.status, 431);
}

/* ---- headers by number ------------------------------------------------------------ */

static enum request_event
feed_head_of(struct request *req, char *bytes, size_t *used)
{
	return request_feed(req, bytes, strlen(bytes), used);
}

static void
assert_slice(struct slice s, const char *expected)
{
	if (expected == NULL) {
		assert_null(s.p);
		return;
	}
	assert_non_null(s.p);
	assert_int_equal(s.len, strlen(expected));
	assert_memory_equal(s.p, expected, s.len);
}

static void
test_headers_are_found_by_number_whatever_their_case(void **state UNUSED)
{
	char bytes[] = "POST / HTTP/1.1\r\nhost: x\r\nACCEPT: a/b\r\nif-modified-since: now\r\n"
		       "If-None-Match: \"7\"\r\nlast-event-id: 1:2\r\nORIGIN: null\r\n"
		       "Content-type: c/d\r\nX: y\r\nexpect: 100-Continue\r\n"
		       "content-LENGTH: 2\r\naccept: e/f\r\n\r\nhi";
	struct request *req = request_new(&limits);
	size_t used;

	assert_int_equal(feed_head_of(req, bytes, &used), REQUEST_HEAD);
	assert_slice(request_header(req, HEADER_HOST), "x");
	/* The first of two, and that there are two. */
	assert_slice(request_header(req, HEADER_ACCEPT), "a/b");
	assert_true(request_header_twice(req, HEADER_ACCEPT));
	assert_slice(request_header(req, HEADER_IF_MODIFIED_SINCE), "now");
	assert_slice(request_header(req, HEADER_IF_NONE_MATCH), "\"7\"");
	assert_slice(request_header(req, HEADER_LAST_EVENT_ID), "1:2");
	assert_slice(request_header(req, HEADER_ORIGIN), "null");
	assert_slice(request_header(req, HEADER_CONTENT_TYPE), "c/d");
	assert_slice(request_header(req, HEADER_CONTENT_LENGTH), "2");
	assert_slice(request_header(req, HEADER_TRANSFER_ENCODING), NULL);
	assert_false(request_header_twice(req, HEADER_HOST));
	assert_false(request_header_twice(req, HEADER_TRANSFER_ENCODING));
	assert_true(request_has_body(req));
	assert_int_equal(request_content_length(req), 2);
	assert_true(request_expects_continue(req));
	request_free(req);
}

static void
test_nothing_of_a_request_is_left_in_the_next_one(void **state UNUSED)
{
	char first[] =
	    "POST /1?q HTTP/1.0\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\n"
	    "Content-Type: a/b\r\nAccept: a\r\nAccept: b\r\nContent-Length: 2\r\n\r\nhi";
	char second[] = "GET /2 HTTP/1.1\r\n" H "\r\n";
	struct request *req = request_new(&limits);
	size_t used;

	assert_int_equal(feed_head_of(req, first, &used), REQUEST_HEAD);
	/* HTTP/1.0 has no such expectation. */
	assert_false(request_expects_continue(req));
	request_expect_body(req, true, 10);
	assert_int_equal(request_feed(req, first + used, 2, &used), REQUEST_COMPLETE);
	request_reset(req);
	assert_int_equal(feed_head_of(req, second, &used), REQUEST_HEAD);
	assert_slice(request_path(req), "/2");
	assert_slice(request_query(req), NULL);
	assert_slice(request_header(req, HEADER_ACCEPT), NULL);
	assert_slice(request_header(req, HEADER_CONTENT_TYPE), NULL);
	assert_slice(request_header(req, HEADER_CONTENT_LENGTH), NULL);
	assert_false(request_header_twice(req, HEADER_ACCEPT));
	assert_false(request_http10(req));
	assert_true(request_keep_alive(req));
	assert_false(request_has_body(req));
	assert_int_equal(request_content_length(req), -1);
	assert_false(request_expects_continue(req));
	assert_int_equal(request_feed(req, second, 0, &used), REQUEST_COMPLETE);
	assert_int_equal(request_body(req).len, 0);
	request_free(req);
}

static void
test_expectations_other_than_continue_are_417(void **state UNUSED)
{
	assert_refused("POST / HTTP/1.1\r\n" H "Expect: tea\r\nContent-Length: 0\r\n\r\n", 417);
	assert_refused("POST / HTTP/1.1\r\n" H "Expect: 100-continued\r\n\r\n", 417);
	assert_found("POST / HTTP/1.0\r\nExpect: tea\r\n\r\n", "POST / 1.0 close|Expect=tea\n");
}

/* ---- keeping ---------------------------------------------------------------------- */

/* A copy that can be spoiled, as a read buffer is by the next read. */
static void
test_a_head_that_is_kept_survives_its_buffer(void **state UNUSED)
{
	static const char bytes[] = "POST /path?query HTTP/1.1\r\nHost: example\r\nA: b\r\n"
				    "Content-Length: 6\r\n\r\n";
	struct request *req = request_new(&limits);
	char *buf = malloc(sizeof(bytes) - 1);
	struct slice name = {NULL, 0}, value = {NULL, 0};
	size_t used;

	/* More than once: the second has the buffer of the first. */
	for (int round = 0; round < 3; round++) {
		char body[] = "abc";

		memcpy(buf, bytes, sizeof(bytes) - 1);
		assert_int_equal(request_feed(req, buf, sizeof(bytes) - 1, &used), REQUEST_HEAD);
		request_expect_body(req, true, 6);
		assert_int_equal(request_keep(req), 0);
		memset(buf, '#', sizeof(bytes) - 1);
		assert_slice(request_path(req), "/path");
		assert_int_equal(request_feed(req, body, 3, &used), REQUEST_MORE);
		assert_int_equal(request_keep(req), 0);
		memset(body, '#', 3);
		memcpy(body, "def", 3);
		assert_int_equal(request_feed(req, body, 3, &used), REQUEST_COMPLETE);
		memset(body, '#', 3);
		assert_slice(request_path(req), "/path");
		assert_slice(request_query(req), "query");
		assert_slice(request_header(req, HEADER_HOST), "example");
		assert_true(request_header_at(req, 1, &name, &value));
		assert_slice(name, "A");
		assert_slice(value, "b");
		assert_false(request_header_at(req, 3, &name, &value));
		assert_slice(request_body(req), "abcdef");
		request_reset(req);
	}
	free(buf);
	request_free(req);
	request_free(NULL);
}

static void
test_keeping_where_nothing_is_to_be_kept_does_no_harm(void **state UNUSED)
{
	char bytes[] = "GET / HTTP/1.1\r\n" H "\r\n";
	struct request *req = request_new(&limits);
	size_t used;

	assert_int_equal(request_keep(req), 0);
	assert_true(request_is_empty(req));
	assert_int_equal(request_feed(req, bytes, 10, &used), REQUEST_MORE);
	assert_false(request_is_empty(req));
	assert_false(request_in_body(req));
	assert_int_equal(request_keep(req), 0);
	assert_int_equal(request_keep(req), 0);
	assert_int_equal(request_feed(req, bytes + 10, sizeof(bytes) - 11, &used), REQUEST_HEAD);
	assert_int_equal(request_keep(req), 0);
	assert_int_equal(request_feed(req, bytes, 0, &used), REQUEST_COMPLETE);
	assert_int_equal(request_keep(req), 0);
	assert_slice(request_header(req, HEADER_HOST), "x");
	request_free(req);
}

/* ---- damage ------------------------------------------------------------------------ */

static uint32_t
next_random(void)
{
	static uint32_t x = 2463534242;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return x;
}

/*
 * Whatever the bytes are, the requests that are found in them do not depend on where they
 * are cut: else a proxy in front of us could be made to see others.
 */
static void
test_damaged_requests_are_found_or_refused_alike_however_they_are_cut(void **state UNUSED)
{
	static const char *const seeds[] = {
	    "GET /a?b HTTP/1.1\r\n" H "Accept: */*\r\n\r\nGET /2 HTTP/1.1\r\n" H "\r\n",
	    "\r\nPOST /a HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nabcdePUT /2 HTTP/1.0\r\n\r\n",
	    CHUNKED
	    "3;x=y\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nA: b\r\n\r\nGET / HTTP/1.1\r\n" H
	    "\r\n",
	    "DELETE http://h/a HTTP/1.1\r\nConnection: close, Upgrade\r\nUpgrade: x\r\n" H
	    "Content-Length: 2\t\r\n\r\nhiOPTIONS * HTTP/1.1\r\n" H "\r\n",
	};
	static const char spice[] = "\r\n\r\n \t:;,0123456789aAfFxX\0\x7f\xff/?#*%\"";
	size_t refused = 0, found = 0;

	for (int i = 0; i < 20000; i++) {
		const char *seed = seeds[next_random() % ARRAY_LEN(seeds)];
		char bytes[512];
		size_t len = strlen(seed), cuts[8], n = 0;

		memcpy(bytes, seed, len);
		for (uint32_t damage = next_random() % 4; damage-- > 0;) {
			size_t at = next_random() % len;
			char c = spice[next_random() % (sizeof(spice) - 1)];

			switch (next_random() % 3) {
			case 0:
				bytes[at] = c;
				break;
			case 1:
				memmove(bytes + at + 1, bytes + at, len - at);
				bytes[at] = c;
				len++;
				break;
			default:
				memmove(bytes + at, bytes + at + 1, len - at - 1);
				len--;
			}
		}
		feed(bytes, len, NULL, 0, &whole);
		for (size_t at = 0; n < ARRAY_LEN(cuts); n++) {
			at += next_random() % 40;
			if (at >= len)
				break;
			cuts[n] = at;
		}
		feed(bytes, len, cuts, n, &parts);
		assert_same("in random pieces, damaged", (size_t)i);
		refused += whole.status != 0;
		found += whole.complete;
	}
	/* The test is worth something only if there are both. */
	assert_true(refused > 2000);
	assert_true(found > 2000);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, set_up)
	const struct CMUnitTest tests[] = {
	    TEST(test_a_get_is_a_method_a_target_and_headers),
	    TEST(test_bodies_come_by_their_length),
	    TEST(test_a_body_is_never_taken_for_a_request),
	    TEST(test_chunks_become_one_body),
	    TEST(test_pipelined_requests_come_one_after_another),
	    TEST(test_empty_lines_before_a_request_are_passed_over),
	    TEST(test_absolute_targets_lose_scheme_and_authority),
	    TEST(test_the_query_begins_at_the_first_question_mark),
	    TEST(test_http_1_0_is_served_and_closes_unless_asked),
	    TEST(test_connection_close_is_heard_in_any_form),
	    TEST(test_methods_that_nobody_knows_are_requests_all_the_same),
	    TEST(test_blanks_around_a_value_are_cut_off_also_tabs_behind_a_length),
	    TEST(test_empty_values_and_bytes_above_127_are_values),
	    TEST(test_an_upgrade_does_not_end_the_work),
	    TEST(test_a_length_beside_a_transfer_coding_is_refused),
	    TEST(test_lengths_that_are_not_one_number_are_refused),
	    TEST(test_bad_chunk_sizes_are_refused),
	    TEST(test_chunk_data_must_end_in_cr_lf),
	    TEST(test_control_bytes_in_chunk_extensions_and_trailers_are_refused),
	    TEST(test_headers_that_go_on_in_a_second_line_are_refused),
	    TEST(test_header_names_must_be_tokens_with_the_colon_right_behind),
	    TEST(test_host_comes_once_and_in_1_1_always),
	    TEST(test_two_content_types_are_refused),
	    TEST(test_bare_cr_bare_lf_nul_and_control_bytes_in_a_head_are_refused),
	    TEST(test_control_bytes_blanks_and_fragments_in_a_target_are_refused),
	    TEST(test_request_lines_are_three_words_with_one_space_between),
	    TEST(test_what_is_no_request_at_all_is_refused_at_its_first_byte),
	    TEST(test_other_versions_are_505),
	    TEST(test_other_transfer_codings_are_501),
	    TEST(test_the_first_request_stands_when_the_second_is_refused),
	    TEST(test_a_target_may_have_target_size_bytes_and_not_one_more),
	    TEST(test_a_request_line_that_does_not_end_is_414),
	    TEST(test_headers_may_have_header_size_bytes_and_not_one_more),
	    TEST(test_headers_that_do_not_end_are_431),
	    TEST(test_a_head_may_be_as_large_as_its_limit_however_large_that_is),
	    TEST(test_a_head_may_have_as_many_headers_as_fit),
	    TEST(test_bodies_may_have_their_maximum_and_not_one_byte_more),
	    TEST(test_large_bodies_come_whole_however_they_are_cut),
	    TEST(test_endless_chunk_extensions_and_trailers_are_refused),
	    TEST(test_headers_are_found_by_number_whatever_their_case),
	    TEST(test_nothing_of_a_request_is_left_in_the_next_one),
	    TEST(test_expectations_other_than_continue_are_417),
	    TEST(test_a_head_that_is_kept_survives_its_buffer),
	    TEST(test_keeping_where_nothing_is_to_be_kept_does_no_harm),
	    TEST(test_damaged_requests_are_found_or_refused_alike_however_they_are_cut),
	};

	request_global_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
