/* The opening handshake: which header fields ask for a WebSocket, and what is agreed upon. */
#include "relay/wshandshake.h"

#include "base/attr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KEY "dGhlIHNhbXBsZSBub25jZQ=="

static const char *const protocols[] = {"ws+meta.nchan", "other", NULL};

/* A request's fields, each name and value in a block of exactly its length. */
struct fields {
	struct wshandshake h;
	char *blocks[64];
	size_t n;
};

static struct fields f;

static struct slice
block(const char *text)
{
	size_t len = strlen(text);
	char *copy = malloc(len > 0 ? len : 1);

	memcpy(copy, text, len);
	assert_in_range(f.n, 0, ARRAY_LEN(f.blocks) - 1);
	f.blocks[f.n++] = copy;
	return (struct slice){copy, len};
}

static void
clear(void)
{
	for (size_t i = 0; i < f.n; i++)
		free(f.blocks[i]);
	memset(&f, 0, sizeof(f));
	f.h.protocols = protocols;
}

static void
field(const char *name, const char *value)
{
	wshandshake_field(&f.h, block(name), block(value));
}

/* What a browser sends, but for the key, and what a test is about. */
static void
ask(void)
{
	clear();
	field("Host", "example.com");
	field("Upgrade", "websocket");
	field("Connection", "Upgrade");
	field("Sec-WebSocket-Version", "13");
}

static void
ask_with_key(void)
{
	ask();
	field("Sec-WebSocket-Key", KEY);
}

static int
tear_down(void **state UNUSED)
{
	clear();
	return 0;
}

static void
assert_refused(unsigned status, const char *why_part)
{
	const char *why = NULL;

	assert_true(wshandshake_asked(&f.h));
	assert_int_equal(wshandshake_check(&f.h, &why), status);
	assert_non_null(why);
	if (strstr(why, why_part) == NULL)
		fail_msg("\"%s\" says nothing of \"%s\"", why, why_part);
}

static void
assert_accepted(void)
{
	const char *why = "?";

	assert_true(wshandshake_asked(&f.h));
	if (wshandshake_check(&f.h, &why) != 101)
		fail_msg("refused: %s", why);
	assert_null(why);
}

static void
assert_lines(const char *expected)
{
	char *out = malloc(WSHANDSHAKE_LINES_MAX);
	int len = wshandshake_lines(&f.h, out);

	assert_int_equal(len, strlen(expected));
	assert_memory_equal(out, expected, (size_t)len);
	free(out);
}

#define LINES                     \
	"Upgrade: websocket\r\n"  \
	"Connection: Upgrade\r\n" \
	"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"

/* ---- asking, key and version --------------------------------------------------------------- */

static void
test_the_example_of_the_rfc_is_accepted(void **state UNUSED)
{
	/* RFC 6455, 1.2. */
	clear();
	field("Host", "server.example.com");
	field("Upgrade", "websocket");
	field("Connection", "Upgrade");
	field("Sec-WebSocket-Key", KEY);
	field("Origin", "http://example.com");
	field("Sec-WebSocket-Protocol", "chat, superchat");
	field("Sec-WebSocket-Version", "13");
	assert_accepted();
	assert_lines(LINES);
}

static void
test_names_and_what_upgrade_says_are_read_in_any_case(void **state UNUSED)
{
	clear();
	field("upgrade", "WebSocket");
	field("CONNECTION", "keep-alive, upgrade");
	field("sec-websocket-KEY", KEY);
	field("sec-WEBSOCKET-version", "13");
	assert_accepted();
}

static void
test_without_upgrade_in_both_fields_no_websocket_is_asked_for(void **state UNUSED)
{
	static const struct {
		const char *upgrade, *connection;
		bool asked;
	} cases[] = {
	    {"websocket", "Upgrade", true},
	    {"websocket", "keep-alive, Upgrade", true},
	    {"websocket", "Upgrade,keep-alive", true},
	    {"websocket", " , Upgrade ,", true},
	    {"h2c, websocket", "Upgrade", true},
	    {"websocket , h2c", "upgrade", true},
	    {"h2c/1.0,\twebsocket", "Upgrade", true},
	    {"websocket", "keep-alive", false},
	    {"websocket", "close", false},
	    {"websocket", "", false},
	    {"websocket", "Upgraded", false},
	    {"websocket", "Upgrade now", false},
	    {"", "Upgrade", false},
	    {"h2c", "Upgrade", false},
	    {"websockets", "Upgrade", false},
	    {"web socket", "Upgrade", false},
	    {"websocket/13", "Upgrade", false},
	    {"\"websocket\"", "Upgrade", false},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		clear();
		field("Upgrade", cases[i].upgrade);
		field("Connection", cases[i].connection);
		if (wshandshake_asked(&f.h) != cases[i].asked)
			fail_msg("%s; %s", cases[i].upgrade, cases[i].connection);
	}
	clear();
	field("Upgrade", "websocket");
	assert_false(wshandshake_asked(&f.h));
	/* Several fields are one list. */
	field("Upgrade", "h2c");
	field("Connection", "keep-alive");
	assert_false(wshandshake_asked(&f.h));
	field("Connection", "Upgrade");
	assert_true(wshandshake_asked(&f.h));
	field("Connection", "X-Hop");
	assert_true(wshandshake_asked(&f.h));
}

static void
test_any_version_but_13_is_426(void **state UNUSED)
{
	static const char *const versions[] = {
	    "8", "7", "0", "12", "14", "013", "13.0", "13, 8", "", "thirteen", "\"13\""};

	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		clear();
		field("Upgrade", "websocket");
		field("Connection", "Upgrade");
		field("Sec-WebSocket-Key", KEY);
		field("Sec-WebSocket-Version", versions[i]);
		assert_refused(426, "13");
	}
	clear();
	field("Upgrade", "WebSocket");
	field("Connection", "Upgrade");
	field("Sec-WebSocket-Key1", "4 @1  46546xW%0l 1 5");
	assert_refused(426, "13");
	ask_with_key();
	field("Sec-WebSocket-Version", "13");
	assert_refused(400, "more than one");
	assert_string_equal(WSHANDSHAKE_VERSION_LINE, "Sec-WebSocket-Version: 13\r\n");
}

static void
test_a_key_is_16_bytes_in_base64(void **state UNUSED)
{
	static const char *const good[] = {KEY, "AAAAAAAAAAAAAAAAAAAAAA==",
	    "//////////////////////==", "++++++++++++++++++++/w==", "x3JJHMbDL1EzLkh9GBhXDw==",
	    /* The last character has bits to spare. */
	    "AAAAAAAAAAAAAAAAAAAAAB=="};
	static const char *const bad[] = {"", "=",
	    "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQ",
	    "dGhlIHNhbXBsZSBub25jZQ===", "dGhlIHNhbXBsZSBub25jZQ= =", "dGhlIHNhbXBsZSBub25jZ===",
	    "dGhlIHNhbXBsZSBub25jZQA=", "dGhlIHNhbXBsZSBub25jZQAA",
	    "dGhlIHNhbXBsZSBub25 ZQ==", "dGhlIHNhbXBsZSBub25-ZQ==", "dGhlIHNhbXBsZSBub25_ZQ==",
	    "dGhlIHNhbXBsZSBub25j\xc3\xbc==", "dGhlIHNhbXBs",
	    "=========================", "dGhlIHNhbXBsZSBub25jZQ==dGhlIHNhbXBsZSBub25jZQ=="};

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		ask();
		field("Sec-WebSocket-Key", good[i]);
		assert_accepted();
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		ask();
		field("Sec-WebSocket-Key", bad[i]);
		assert_refused(400, "16 bytes in base64");
	}
	ask();
	assert_refused(400, "no Sec-WebSocket-Key");
	ask_with_key();
	field("Sec-WebSocket-Key", KEY);
	assert_refused(400, "more than one");
}

static void
test_the_accept_of_a_key_is_as_rfc_6455_has_it(void **state UNUSED)
{
	/* The RFC's; the others by Python's hashlib. */
	static const struct {
		const char *key, *accept;
	} pairs[] = {
	    {KEY, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="},
	    {"x3JJHMbDL1EzLkh9GBhXDw==", "HSmrc0sMlYUkAGmm5OPpG2HaGWk="},
	    {"AAAAAAAAAAAAAAAAAAAAAA==", "ICX+Yqv66kxgM0FcWaLWlFLwTAI="},
	};
	char accept[WSHANDSHAKE_ACCEPT_LEN];

	for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
		assert_int_equal(wshandshake_accept(block(pairs[i].key), accept), 0);
		assert_memory_equal(accept, pairs[i].accept, sizeof(accept));
	}
	assert_int_equal(wshandshake_accept(block("short"), accept), -1);
}

/* ---- subprotocols -------------------------------------------------------------------------- */

static void
test_the_first_subprotocol_that_we_know_is_chosen(void **state UNUSED)
{
	static const struct {
		const char *offered, *chosen;
	} cases[] = {
	    {"ws+meta.nchan", "ws+meta.nchan"},
	    {"chat, ws+meta.nchan", "ws+meta.nchan"},
	    {"other,ws+meta.nchan", "other"},
	    {"ws+meta.nchan , other", "ws+meta.nchan"},
	    {", ,ws+meta.nchan,,", "ws+meta.nchan"},
	    {"chat", NULL},
	    {"WS+META.NCHAN", NULL},
	    {"ws+meta.nchan2, ws+meta", NULL},
	    {"", NULL},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		ask_with_key();
		field("Sec-WebSocket-Protocol", cases[i].offered);
		assert_accepted();
		if (cases[i].chosen == NULL) {
			/* Without one it goes on: the client decides whether that will do. */
			assert_null(f.h.protocol);
			assert_lines(LINES);
		} else {
			char expected[256];

			snprintf(expected, sizeof(expected), LINES "Sec-WebSocket-Protocol: %s\r\n",
			    cases[i].chosen);
			assert_lines(expected);
		}
	}
	/* Over several fields. */
	ask_with_key();
	field("Sec-WebSocket-Protocol", "chat");
	field("Sec-WebSocket-Protocol", "ws+meta.nchan");
	field("Sec-WebSocket-Protocol", "other");
	assert_lines(LINES "Sec-WebSocket-Protocol: ws+meta.nchan\r\n");
	/* Where none is known. */
	ask_with_key();
	f.h.protocols = NULL;
	field("Sec-WebSocket-Protocol", "ws+meta.nchan");
	assert_lines(LINES);
}

static void
test_a_malformed_list_of_subprotocols_is_400(void **state UNUSED)
{
	static const char *const bad[] = {"a b", "a;b", "\"chat\"", "chat, su per", "a/b", "(a)",
	    "caf\xc3\xa9", "ws+meta.nchan x"};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		ask_with_key();
		field("Sec-WebSocket-Protocol", bad[i]);
		assert_refused(400, "Sec-WebSocket-Protocol");
	}
}

/* ---- permessage-deflate -------------------------------------------------------------------- */

#define AGREED                                           \
	"Sec-WebSocket-Extensions: permessage-deflate; " \
	"server_no_context_takeover; client_no_context_takeover"

/* window 0: declined; asked: the answer names it. */
static void
assert_agreed(const char *offered, unsigned window, bool asked)
{
	char expected[320];

	ask_with_key();
	field("Sec-WebSocket-Extensions", offered);
	assert_accepted();
	if (f.h.deflate != (window > 0))
		fail_msg("\"%s\" was %s", offered, window > 0 ? "declined" : "agreed to");
	if (window == 0) {
		assert_lines(LINES);
		return;
	}
	assert_int_equal(f.h.window_bits, window);
	if (asked)
		snprintf(expected, sizeof(expected), LINES AGREED "; server_max_window_bits=%u\r\n",
		    window);
	else
		snprintf(expected, sizeof(expected), LINES AGREED "\r\n");
	assert_lines(expected);
}

static void
test_what_clients_offer_is_agreed_to(void **state UNUSED)
{
	/* RFC 7692, 7.1; browsers; the usual libraries. */
	assert_agreed("permessage-deflate", 15, false);
	assert_agreed("permessage-deflate; client_max_window_bits", 15, false);
	assert_agreed(
	    "permessage-deflate; client_max_window_bits; server_max_window_bits=10", 10, true);
	assert_agreed("permessage-deflate; server_no_context_takeover; client_no_context_takeover",
	    15, false);
	assert_agreed(
	    "permessage-deflate; client_max_window_bits=15; server_max_window_bits=15", 15, true);
	assert_agreed(
	    "permessage-deflate;client_max_window_bits=8;server_max_window_bits=9", 9, true);
	/* What the client compresses with is up to it. */
	for (unsigned bits = 8; bits <= 15; bits++) {
		char offer[80];

		snprintf(
		    offer, sizeof(offer), "permessage-deflate; client_max_window_bits=%u", bits);
		assert_agreed(offer, 15, false);
		snprintf(
		    offer, sizeof(offer), "permessage-deflate; server_max_window_bits=%u", bits);
		assert_agreed(offer, bits == 8 ? 0 : bits, true);
	}
}

static void
test_values_may_be_quoted_and_blanks_are_anywhere(void **state UNUSED)
{
	assert_agreed("permessage-deflate; server_max_window_bits=\"10\"", 10, true);
	assert_agreed("permessage-deflate; server_max_window_bits=\"1\\0\"", 10, true);
	assert_agreed(" permessage-deflate\t;\tserver_max_window_bits = 12 ", 12, true);
	assert_agreed("permessage-deflate; client_max_window_bits=\"\\9\"", 15, false);
}

static void
test_of_several_offers_the_first_that_we_can_do_is_taken(void **state UNUSED)
{
	/* RFC 7692, 7.1.3 and 5.1. */
	assert_agreed(
	    "permessage-deflate; server_max_window_bits=10, permessage-deflate", 10, true);
	assert_agreed(
	    "permessage-deflate; server_max_window_bits=8, permessage-deflate", 15, false);
	assert_agreed(
	    "permessage-deflate; unknown, permessage-deflate; server_max_window_bits=11", 11, true);
	assert_agreed(
	    "permessage-bzip2; x=\"y\", x-webkit-deflate-frame, permessage-deflate", 15, false);
	assert_agreed(",, permessage-deflate ,,", 15, false);
	/* Over several fields. */
	ask_with_key();
	field("Sec-WebSocket-Extensions", "permessage-deflate; server_max_window_bits=8");
	field("Sec-WebSocket-Extensions", "permessage-deflate; server_max_window_bits=13");
	field("Sec-WebSocket-Extensions", "permessage-deflate");
	assert_lines(LINES AGREED "; server_max_window_bits=13\r\n");
}

static void
test_an_offer_that_we_do_not_understand_is_declined(void **state UNUSED)
{
	static const char *const declined[] = {
	    "",
	    ",",
	    "permessage-bzip2",
	    "permessage-deflate2",
	    "PERMESSAGE-DEFLATE",
	    "x-webkit-deflate-frame",
	    "permessage-deflate; unknown",
	    "permessage-deflate; unknown=1",
	    "permessage-deflate; Server_No_Context_Takeover",
	    /* Twice. */
	    "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
	    "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
	    "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
	    "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
	    /* A value where there is none, and the other way round. */
	    "permessage-deflate; server_no_context_takeover=1",
	    "permessage-deflate; client_no_context_takeover=true",
	    "permessage-deflate; server_max_window_bits",
	    /* No number from 8 to 15. */
	    "permessage-deflate; server_max_window_bits=0",
	    "permessage-deflate; server_max_window_bits=7",
	    "permessage-deflate; server_max_window_bits=16",
	    "permessage-deflate; server_max_window_bits=20",
	    "permessage-deflate; server_max_window_bits=010",
	    "permessage-deflate; server_max_window_bits=100",
	    "permessage-deflate; server_max_window_bits=10.0",
	    "permessage-deflate; server_max_window_bits=-9",
	    "permessage-deflate; server_max_window_bits=1x",
	    "permessage-deflate; server_max_window_bits=x",
	    "permessage-deflate; server_max_window_bits=18446744073709551626",
	    "permessage-deflate; client_max_window_bits=7",
	    "permessage-deflate; client_max_window_bits=16",
	    "permessage-deflate; client_max_window_bits=08",
	    "permessage-deflate; client_max_window_bits=\"16\"",
	};

	for (size_t i = 0; i < ARRAY_LEN(declined); i++)
		assert_agreed(declined[i], 0, false);
}

static void
test_malformed_extensions_are_400(void **state UNUSED)
{
	static const char *const bad[] = {
	    "permessage-deflate;",
	    "permessage-deflate; ",
	    "permessage-deflate;;server_no_context_takeover",
	    "; server_no_context_takeover",
	    "=",
	    "permessage-deflate=1",
	    "permessage deflate",
	    "permessage-deflate server_no_context_takeover",
	    "permessage-deflate; server_max_window_bits=",
	    "permessage-deflate; server_max_window_bits=,x",
	    "permessage-deflate; server_max_window_bits=\"\"",
	    "permessage-deflate; server_max_window_bits=\"10",
	    "permessage-deflate; server_max_window_bits=\"10\\",
	    "permessage-deflate; server_max_window_bits=\"1 0\"",
	    "permessage-deflate; server_max_window_bits=\"10\"0",
	    "permessage-deflate; server_max_window_bits=10\"",
	    "permessage-deflate; server_max_window_bits=1\"0\"",
	    "permessage-deflate; server_max_window_bits=\"1,0\"",
	    "permessage-deflate; server_max_window_bits=10=10",
	    "permessage-deflate, \"quoted\"",
	    "\"permessage-deflate\"",
	    "permessage-deflate, caf\xc3\xa9",
	    "permessage-deflate \\",
	    "permessage-deflate, (x)",
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		ask_with_key();
		field("Sec-WebSocket-Extensions", bad[i]);
		assert_refused(400, "Sec-WebSocket-Extensions");
	}
	/* Also where an earlier offer would do. */
	ask_with_key();
	field("Sec-WebSocket-Extensions", "permessage-deflate");
	field("Sec-WebSocket-Extensions", "per message");
	assert_refused(400, "Sec-WebSocket-Extensions");
}

static void
test_what_a_location_does_not_do_is_cleared_before_the_answer(void **state UNUSED)
{
	ask_with_key();
	field("Sec-WebSocket-Extensions", "permessage-deflate; server_max_window_bits=10");
	field("Sec-WebSocket-Protocol", "ws+meta.nchan");
	assert_lines(LINES "Sec-WebSocket-Protocol: ws+meta.nchan\r\n" AGREED
			   "; server_max_window_bits=10\r\n");
	f.h.deflate = false;
	assert_lines(LINES "Sec-WebSocket-Protocol: ws+meta.nchan\r\n");
	f.h.protocol = NULL;
	assert_lines(LINES);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(test_the_example_of_the_rfc_is_accepted, tear_down),
	    cmocka_unit_test_teardown(
		test_names_and_what_upgrade_says_are_read_in_any_case, tear_down),
	    cmocka_unit_test_teardown(
		test_without_upgrade_in_both_fields_no_websocket_is_asked_for, tear_down),
	    cmocka_unit_test_teardown(test_any_version_but_13_is_426, tear_down),
	    cmocka_unit_test_teardown(test_a_key_is_16_bytes_in_base64, tear_down),
	    cmocka_unit_test_teardown(test_the_accept_of_a_key_is_as_rfc_6455_has_it, tear_down),
	    cmocka_unit_test_teardown(test_the_first_subprotocol_that_we_know_is_chosen, tear_down),
	    cmocka_unit_test_teardown(test_a_malformed_list_of_subprotocols_is_400, tear_down),
	    cmocka_unit_test_teardown(test_what_clients_offer_is_agreed_to, tear_down),
	    cmocka_unit_test_teardown(test_values_may_be_quoted_and_blanks_are_anywhere, tear_down),
	    cmocka_unit_test_teardown(
		test_of_several_offers_the_first_that_we_can_do_is_taken, tear_down),
	    cmocka_unit_test_teardown(
		test_an_offer_that_we_do_not_understand_is_declined, tear_down),
	    cmocka_unit_test_teardown(test_malformed_extensions_are_400, tear_down),
	    cmocka_unit_test_teardown(
		test_what_a_location_does_not_do_is_cleared_before_the_answer, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
