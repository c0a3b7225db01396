/*
 * A client's frames, by the sections of RFC 6455. Each input is read whole, byte by byte
 * and cut in two at every position, from blocks of exactly its length, with the same
 * events; and by wslay, which must agree.
 */
#include "relay/wsframe.h"

#include "base/attr.h"
#include "tests/fuzz/ws_reading.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

/* AddressSanitizer's; gcc comes without its header. */
size_t __sanitizer_get_current_allocated_bytes(void);

/* The first byte of a frame. */
#define FIN      0x80
#define RSV1     0x40
#define RSV2     0x20
#define RSV3     0x10
#define CONTINUE 0
#define TEXT     WSFRAME_TEXT
#define BINARY   WSFRAME_BINARY
#define CLOSE    WSFRAME_CLOSE
#define PING     WSFRAME_PING
#define PONG     WSFRAME_PONG

static struct wsframe_limits limits;
/* What a client sends. */
static struct ws_transcript in;
/* wslay is known to see it another way; why is said where it is set. */
static bool not_as_wslay;

static void
begin(void)
{
	ws_clear(&in);
	not_as_wslay = false;
}

static int
set_up(void **state UNUSED)
{
	limits = (struct wsframe_limits){.message_max = 1 << 20, .keep_max = 1 << 20};
	begin();
	return 0;
}

/* Always the same numbers, so that a failure comes again. */
static uint32_t
next_random(void)
{
	static uint64_t x = 88172645463325252u;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (uint32_t)(x >> 16);
}

/* ---- a client, written from RFC 6455, 5.2 ------------------------------------------------ */

static void
put_byte(unsigned byte)
{
	unsigned char c = (unsigned char)byte;

	ws_say_bytes(&in, &c, 1);
}

static void
put_head(unsigned first, uint64_t len, bool masked)
{
	unsigned mask = masked ? 0x80 : 0;

	put_byte(first);
	if (len < 126) {
		put_byte(mask | (unsigned)len);
		return;
	}
	put_byte(mask | (len < 65536 ? 126 : 127));
	for (int shift = len < 65536 ? 8 : 56; shift >= 0; shift -= 8)
		put_byte((unsigned)(len >> shift) & 0xff);
}

/* All but the last bytes of a frame, which is announced whole. */
static void
put_part(unsigned first, const void *payload, size_t len, uint64_t announced)
{
	unsigned char mask[4];
	uint32_t random = next_random();

	memcpy(mask, &random, sizeof(mask));
	put_head(first, announced, true);
	for (size_t i = 0; i < sizeof(mask); i++)
		put_byte(mask[i]);
	for (size_t i = 0; i < len; i++)
		put_byte(((const unsigned char *)payload)[i] ^ mask[i % 4]);
}

static void
put(unsigned first, const void *payload, size_t len)
{
	put_part(first, payload, len, len);
}

static void
put_text(unsigned first, const char *text)
{
	put(first, text, strlen(text));
}

static void
put_close(unsigned code, const char *reason, size_t len)
{
	unsigned char payload[200];

	payload[0] = (unsigned char)(code >> 8);
	payload[1] = (unsigned char)code;
	memcpy(payload + 2, reason, len);
	put(FIN | CLOSE, payload, 2 + len);
}

/* Compressed as a client may do it (RFC 7692, 7.2.1); returns its length, *out to be freed. */
static size_t
deflate_as(const void *data, size_t len, int level, int window_bits, int strategy, char **out)
{
	size_t room = len + len / 4 + 100;
	z_stream z = {.next_in = (Bytef *)data, .avail_in = (uInt)len};

	*out = malloc(room);
	z.next_out = (Bytef *)*out;
	z.avail_out = (uInt)room;
	assert_int_equal(deflateInit2(&z, level, Z_DEFLATED, -window_bits, 8, strategy), Z_OK);
	assert_int_equal(deflate(&z, Z_SYNC_FLUSH), Z_OK);
	room -= z.avail_out;
	(void)deflateEnd(&z);
	assert_memory_equal(*out + room - 4, "\x00\x00\xff\xff", 4);
	return room - 4;
}

/* A compressed message in so many fragments, the last of which has these bits. */
static void
put_deflated(unsigned first, unsigned last, const void *data, size_t len, size_t fragments)
{
	char *compressed;
	size_t n = deflate_as(data, len, 6, 15, Z_DEFAULT_STRATEGY, &compressed), at = 0;

	for (size_t i = 0; i < fragments; i++) {
		size_t part = i + 1 < fragments ? n / fragments : n - at;

		put((i == 0 ? first : CONTINUE) | (i + 1 == fragments ? last : 0), compressed + at,
		    part);
		at += part;
	}
	free(compressed);
}

/* ---- reading it ---------------------------------------------------------------------------- */

/* The longest inputs are not cut everywhere: each cut reads all of it. */
#define CUT_EVERYWHERE 3000

static void
compare(const struct ws_transcript *got, const char *expected, const char *how, size_t at)
{
	if (strcmp(got->text, expected) != 0)
		fail_msg("%s %zu, of %zu:\n%.500s\nbut should be\n%.500s", how, at, in.len,
		    got->text, expected);
}

static void
compare_with_wslay(const struct ws_transcript *ours, const char *expected)
{
	struct ws_by_wslay wslay = {.keep_max = UINT64_MAX};
	static struct ws_transcript theirs;
	size_t len = strlen(expected);

	ws_read_by_wslay(&wslay, in.text, in.len, ours, &limits, &theirs);
	/* It does not say whether something is incomplete. */
	if (len >= 5 && strcmp(expected + len - 5, "idle\n") == 0)
		ws_say_bytes(&theirs, "idle\n", 5);
	if (len >= 11 && strcmp(expected + len - 11, "incomplete\n") == 0)
		ws_say_bytes(&theirs, "incomplete\n", 11);
	compare(&theirs, expected, "wslay", 0);
}

static void
assert_read(const char *expected)
{
	static struct ws_transcript got;
	static size_t cuts[CUT_EVERYWHERE];
	size_t n = 0;

	ws_read(in.text, in.len, NULL, 0, &limits, &got);
	compare(&got, expected, "whole", 0);
	if (!not_as_wslay && !limits.deflate && limits.keep_max >= limits.message_max)
		compare_with_wslay(&got, expected);
	if (in.len <= CUT_EVERYWHERE) {
		for (size_t i = 1; i < in.len; i++)
			cuts[n++] = i;
		ws_read(in.text, in.len, cuts, n, &limits, &got);
		compare(&got, expected, "byte by byte", 0);
	}
	for (size_t i = 1; i < in.len; i++) {
		size_t at = i;

		/* Where heads are, and some places between. */
		if (in.len > CUT_EVERYWHERE && i > 40 && in.len - i > 40) {
			at = i + next_random() % (in.len / 30);
			i = at;
			if (at >= in.len)
				break;
		}
		ws_read(in.text, in.len, &at, 1, &limits, &got);
		compare(&got, expected, "cut at", at);
	}
}

/* "text 5:Hello\nidle\n" and the like, for data of any length. */
static void
assert_read_one(const char *type, const void *data, size_t len)
{
	struct ws_transcript expected = {.text = NULL};

	ws_clear(&expected);
	ws_say_data(&expected, type, data, len);
	ws_say_bytes(&expected, "idle\n", 5);
	assert_read(expected.text);
	free(expected.text);
}

static void
assert_error(unsigned code)
{
	char expected[32];

	snprintf(expected, sizeof(expected), "error %u\n", code);
	assert_read(expected);
}

/* ---- framing (5.2) ------------------------------------------------------------------------- */

static void
test_the_examples_of_the_rfc_are_read(void **state UNUSED)
{
	/* 5.7; frames to a server are masked. */
	ws_say_bytes(&in, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 11);
	assert_read("text 5:Hello\nidle\n");
	begin();
	ws_say_bytes(&in, "\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 11);
	assert_read("pong 5:Hello\nidle\n");
}

static void
test_messages_of_all_forms_of_length_are_read(void **state UNUSED)
{
	static const size_t lengths[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 100, 124, 125, 126,
	    127, 128, 129, 255, 256, 257, 1000, 4095, 65534, 65535, 65536, 65537, 200000};

	for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
		char *data = malloc(lengths[i] + 1);

		memset(data, '*', lengths[i]);
		begin();
		put(FIN | TEXT, data, lengths[i]);
		assert_read_one("text", data, lengths[i]);
		for (size_t b = 0; b < lengths[i]; b++)
			data[b] = (char)next_random();
		begin();
		put(FIN | BINARY, data, lengths[i]);
		assert_read_one("binary", data, lengths[i]);
		free(data);
	}
}

static void
test_messages_behind_each_other_are_read_one_by_one(void **state UNUSED)
{
	put_text(FIN | TEXT, "one");
	put(FIN | BINARY, "\x01\xff", 2);
	put_text(FIN | TEXT, "");
	put_text(FIN | TEXT, "four");
	assert_read("text 3:one\nbinary 2:\x01\xff\ntext 0:\ntext 4:four\nidle\n");
}

static void
test_one_call_ends_at_the_first_event(void **state UNUSED)
{
	struct wsframe_reader *reader = NULL;
	struct wsframe_event ev;
	size_t used, first;

	put_text(FIN | TEXT, "one");
	first = in.len;
	put_text(FIN | TEXT, "two");
	assert_int_equal(wsframe_read(&reader, &limits, in.text, in.len, &used, &ev), WSFRAME_TEXT);
	assert_int_equal(used, first);
	/* In one piece it is not copied, and nothing is allocated for it. */
	assert_true(ev.data > in.text && ev.data < in.text + first);
	assert_null(reader);
	assert_int_equal(wsframe_read(&reader, &limits, in.text + used, in.len - used, &used, &ev),
	    WSFRAME_TEXT);
	assert_memory_equal(ev.data, "two", 3);
	assert_int_equal(wsframe_read(&reader, &limits, NULL, 0, &used, &ev), WSFRAME_MORE);
	assert_null(reader);
}

static void
test_a_frame_that_is_not_masked_is_an_error(void **state UNUSED)
{
	put_head(FIN | TEXT, 5, false);
	ws_say_bytes(&in, "Hello", 5);
	assert_error(1002);
	begin();
	put_head(FIN | PING, 0, false);
	assert_error(1002);
	/* Also behind one that is. */
	begin();
	put_text(FIN | TEXT, "x");
	put_head(FIN | TEXT, 0, false);
	assert_read("text 1:x\nerror 1002\n");
}

static void
put_length(unsigned second, uint64_t len, int bytes)
{
	put_byte(FIN | BINARY);
	put_byte(0x80 | second);
	for (int i = bytes - 1; i >= 0; i--)
		put_byte((unsigned)(len >> (8 * i)) & 0xff);
	/* The mask, and what some would take for the payload. */
	for (int i = 0; i < 200; i++)
		put_byte(0);
}

static void
test_a_length_has_its_shortest_form(void **state UNUSED)
{
	static const uint64_t long_forms[] = {0, 1, 125, 126, 127, 65535};

	for (size_t i = 0; i < ARRAY_LEN(long_forms); i++) {
		begin();
		put_length(127, long_forms[i], 8);
		assert_error(1002);
		if (long_forms[i] >= 126)
			continue;
		begin();
		put_length(126, long_forms[i], 2);
		assert_error(1002);
	}
}

static void
test_a_length_has_63_bits(void **state UNUSED)
{
	limits.message_max = limits.keep_max = UINT64_MAX;
	put_length(127, UINT64_MAX, 8);
	assert_error(1002);
	begin();
	put_length(127, (uint64_t)1 << 63, 8);
	assert_error(1002);
	/* One less is a length; wslay takes memory for all of it at once. */
	begin();
	not_as_wslay = true;
	put_length(127, INT64_MAX, 8);
	assert_read("incomplete\n");
}

/* ---- pings and pongs (5.5.2, 5.5.3) -------------------------------------------------------- */

static void
test_pings_are_read_with_their_data(void **state UNUSED)
{
	char longest[126];

	memset(longest, 0xfe, sizeof(longest));
	put(FIN | PING, "", 0);
	assert_read_one("ping", "", 0);
	begin();
	put_text(FIN | PING, "Hello, world!");
	assert_read_one("ping", "Hello, world!", 13);
	begin();
	put(FIN | PING, "\x00\xff\xfe\xfd\xfc\xfb\x00\xff", 8);
	assert_read_one("ping", "\x00\xff\xfe\xfd\xfc\xfb\x00\xff", 8);
	begin();
	put(FIN | PING, longest, 125);
	assert_read_one("ping", longest, 125);
	begin();
	put(FIN | PING, longest, 126);
	assert_error(1002);
	begin();
	for (int i = 0; i < 10; i++)
		put_text(FIN | PING, "p");
	assert_read("ping 1:p\nping 1:p\nping 1:p\nping 1:p\nping 1:p\n"
		    "ping 1:p\nping 1:p\nping 1:p\nping 1:p\nping 1:p\nidle\n");
}

static void
test_pongs_are_read_whether_asked_for_or_not(void **state UNUSED)
{
	put(FIN | PONG, "", 0);
	put_text(FIN | PONG, "unasked");
	put_text(FIN | PING, "ping");
	assert_read("pong 0:\npong 7:unasked\nping 4:ping\nidle\n");
}

/* ---- reserved bits and opcodes (5.2) ------------------------------------------------------- */

static void
test_reserved_bits_are_an_error_on_every_kind_of_frame(void **state UNUSED)
{
	static const unsigned opcodes[] = {CONTINUE, TEXT, BINARY, CLOSE, PING, PONG};

	for (size_t i = 0; i < ARRAY_LEN(opcodes); i++)
		for (unsigned rsv = 1; rsv < 8; rsv++) {
			begin();
			put_text(FIN | TEXT, "before");
			put_text(FIN | rsv << 4 | opcodes[i], "");
			assert_read("text 6:before\nerror 1002\n");
			begin();
			put_text(TEXT, "before");
			put_text(FIN | rsv << 4 | opcodes[i], "Hello");
			assert_error(1002);
		}
}

static void
test_reserved_opcodes_are_an_error(void **state UNUSED)
{
	static const unsigned opcodes[] = {3, 4, 5, 6, 7, 11, 12, 13, 14, 15};

	for (size_t i = 0; i < ARRAY_LEN(opcodes); i++)
		for (unsigned fin = 0; fin <= FIN; fin += FIN) {
			begin();
			put_text(fin | opcodes[i], "");
			assert_error(1002);
			begin();
			put_text(FIN | TEXT, "before");
			put_text(fin | opcodes[i], "reserved");
			put_text(FIN | PING, "");
			assert_read("text 6:before\nerror 1002\n");
		}
}

/* ---- fragmentation (5.4) ------------------------------------------------------------------- */

static void
test_control_frames_are_never_fragmented(void **state UNUSED)
{
	put_text(PING, "frag");
	put_text(FIN | CONTINUE, "ment");
	assert_error(1002);
	begin();
	put_text(PONG, "frag");
	assert_error(1002);
	begin();
	put_text(CLOSE, "");
	assert_error(1002);
}

static void
test_fragments_are_put_together(void **state UNUSED)
{
	put_text(TEXT, "frag");
	put_text(FIN | CONTINUE, "ment");
	assert_read("text 8:fragment\nidle\n");
	begin();
	put_text(TEXT, "");
	put_text(CONTINUE, "");
	put_text(FIN | CONTINUE, "");
	assert_read("text 0:\nidle\n");
	begin();
	put_text(BINARY, "a");
	put_text(CONTINUE, "");
	put_text(CONTINUE, "b");
	put_text(FIN | CONTINUE, "");
	put_text(TEXT, "c");
	assert_read("binary 2:ab\nincomplete\n");
	begin();
	for (int i = 0; i < 300; i++)
		put_text(i == 0 ? BINARY : CONTINUE, "123");
	put_text(FIN | CONTINUE, "");
	assert_int_equal(in.len, 301 * 6 + 900);
	limits.message_max = limits.keep_max = 900;
	{
		char whole[901];

		for (int i = 0; i < 300; i++)
			memcpy(whole + 3 * i, "123", 4);
		assert_read_one("binary", whole, 900);
	}
}

static void
test_control_frames_come_between_fragments(void **state UNUSED)
{
	put_text(TEXT, "frag");
	put_text(FIN | PING, "one");
	put_text(CONTINUE, "men");
	put_text(FIN | PONG, "two");
	put_text(FIN | PING, "");
	put_text(FIN | CONTINUE, "t");
	assert_read("ping 3:one\npong 3:two\nping 0:\ntext 8:fragment\nidle\n");
	begin();
	put_text(TEXT, "frag");
	put_close(1000, "enough", 6);
	put_text(FIN | CONTINUE, "ment");
	assert_read("close 6:enough\ncode 1000\nclosed\n");
}

static void
test_a_continuation_of_nothing_is_an_error(void **state UNUSED)
{
	put_text(FIN | CONTINUE, "of nothing");
	assert_error(1002);
	begin();
	put_text(CONTINUE, "of nothing");
	put_text(FIN | TEXT, "x");
	assert_error(1002);
	begin();
	put_text(FIN | TEXT, "whole");
	put_text(FIN | CONTINUE, "no more");
	assert_read("text 5:whole\nerror 1002\n");
	begin();
	put_text(TEXT, "a");
	put_text(FIN | CONTINUE, "b");
	put_text(CONTINUE, "c");
	assert_read("text 2:ab\nerror 1002\n");
}

static void
test_a_message_within_a_message_is_an_error(void **state UNUSED)
{
	static const unsigned second[] = {FIN | TEXT, TEXT, FIN | BINARY, BINARY};

	for (size_t i = 0; i < ARRAY_LEN(second); i++) {
		begin();
		put_text(TEXT, "first");
		put_text(FIN | PING, "p");
		put_text(second[i], "second");
		assert_read("ping 1:p\nerror 1002\n");
	}
}

/* ---- UTF-8 (8.1) --------------------------------------------------------------------------- */

/* Greek with accents, as the tests of other implementations have it: characters of 3 bytes. */
static const char kosme[] = "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5";
#define KOSME_LEN (sizeof(kosme) - 1)

static void
test_texts_are_utf8_whole_and_in_fragments(void **state UNUSED)
{
	put(FIN | TEXT, kosme, KOSME_LEN);
	assert_read_one("text", kosme, KOSME_LEN);
	/* Fragments may end within a character; frames between them change nothing. */
	for (size_t cut = 0; cut <= KOSME_LEN; cut++) {
		begin();
		put(TEXT, kosme, cut);
		put_text(FIN | PONG, "\xff");
		put(FIN | CONTINUE, kosme + cut, KOSME_LEN - cut);
		assert_read("pong 1:\xff\ntext 11:\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\n"
			    "idle\n");
	}
	begin();
	for (size_t i = 0; i < KOSME_LEN; i++)
		put(i == 0 ? TEXT : CONTINUE, kosme + i, 1);
	put(FIN | CONTINUE, "", 0);
	assert_read_one("text", kosme, KOSME_LEN);
}

static void
test_a_text_that_is_not_utf8_is_an_error_wherever_it_is_cut(void **state UNUSED)
{
	static const char *const bad[] = {"\x80", "\xbf", "\xc0\xaf", "\xc1\xbf", "\xe0\x80\xaf",
	    "\xe0\x9f\xbf", "\xed\xa0\x80", "\xed\xbf\xbf", "\xed\xa0\x80\xed\xb0\x80",
	    "\xf0\x80\x80\xaf", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
	    "\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80", "\xfe", "\xff", "\xe2\x82x",
	    "\xf0\x9f\x98x"};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char text[64];
		size_t len = (size_t)snprintf(text, sizeof(text), "%s%sedited", kosme, bad[i]);

		begin();
		put(FIN | TEXT, text, len);
		assert_error(1007);
		for (size_t cut = 0; cut <= len; cut++) {
			begin();
			put(TEXT, text, cut);
			put(FIN | CONTINUE, text + cut, len - cut);
			assert_error(1007);
		}
		/* Binary messages may hold anything. */
		begin();
		put(FIN | BINARY, text, len);
		assert_read_one("binary", text, len);
	}
}

static void
test_a_text_must_not_end_within_a_character(void **state UNUSED)
{
	static const char *const open[] = {
	    "\xce", "\xe1", "\xe1\xbd", "\xf0", "\xf0\x9f", "\xf0\x9f\x98"};

	for (size_t i = 0; i < ARRAY_LEN(open); i++) {
		begin();
		put_text(FIN | TEXT, open[i]);
		assert_error(1007);
		begin();
		put_text(TEXT, "x");
		put_text(FIN | CONTINUE, open[i]);
		assert_error(1007);
		/* The next message does not go on with it. */
		begin();
		put_text(FIN | BINARY, open[i]);
		put_text(FIN | TEXT, "\xbf");
		assert_true(in.len > 0);
		{
			struct ws_transcript expected = {.text = NULL};

			ws_clear(&expected);
			ws_say_data(&expected, "binary", open[i], strlen(open[i]));
			ws_say(&expected, "error", 1007);
			assert_read(expected.text);
			free(expected.text);
		}
	}
}

static void
test_what_is_not_utf8_is_said_before_the_message_is_complete(void **state UNUSED)
{
	/* A fragment, and none behind it; a frame of which the rest has not come. */
	put_text(TEXT, "Hello \xf4\x90");
	assert_error(1007);
	begin();
	put_part(FIN | TEXT, "Hello \xf4\x90", 8, 100000);
	assert_error(1007);
	begin();
	put_part(FIN | TEXT, "Hello \xf4\x8f", 8, 100000);
	assert_read("incomplete\n");
}

/* ---- closing (5.5.1, 7.4) ------------------------------------------------------------------ */

static void
test_close_frames_are_read_with_code_and_reason(void **state UNUSED)
{
	char reason[124];

	memset(reason, '*', sizeof(reason));
	put(FIN | CLOSE, "", 0);
	assert_read("close 0:\ncode 1005\nclosed\n");
	begin();
	put_close(1000, "", 0);
	assert_read("close 0:\ncode 1000\nclosed\n");
	begin();
	put_close(1001, "going away", 10);
	assert_read("close 10:going away\ncode 1001\nclosed\n");
	begin();
	put_close(1000, "\xc3\xbc", 2);
	assert_read("close 2:\xc3\xbc\ncode 1000\nclosed\n");
	begin();
	put_close(3000, reason, 123);
	{
		struct ws_transcript expected = {.text = NULL};

		ws_clear(&expected);
		ws_say_data(&expected, "close", reason, 123);
		ws_say_bytes(&expected, "code 3000\nclosed\n", 17);
		assert_read(expected.text);
		free(expected.text);
	}
	begin();
	put_close(1000, reason, 124);
	assert_error(1002);
}

static void
test_half_a_close_code_is_an_error(void **state UNUSED)
{
	put(FIN | CLOSE, "\x03", 1);
	assert_error(1002);
}

static void
test_close_codes_are_those_that_may_be_sent(void **state UNUSED)
{
	for (unsigned code = 0; code <= 5100; code++) {
		/* As the RFC has them, and the registry since: 1012 to 1014. */
		bool registered = code >= 1012 && code <= 1014;
		bool good = (code >= 1000 && code <= 1015 && code != 1004 && code != 1005 &&
				code != 1006 && code != 1015) ||
			    (code >= 3000 && code <= 4999);
		char expected[64];

		/* All are tried, most without cutting them. */
		if (code > 1020 && code % 500 > 1 && code % 500 < 499) {
			static struct ws_transcript got;

			begin();
			put_close(code, "x", 1);
			ws_read(in.text, in.len, NULL, 0, &limits, &got);
			assert_int_equal(got.error, good ? 0 : 1002);
			continue;
		}
		begin();
		not_as_wslay = registered;
		put_close(code, "x", 1);
		snprintf(expected, sizeof(expected), "close 1:x\ncode %u\nclosed\n", code);
		assert_read(good ? expected : "error 1002\n");
	}
	begin();
	put_close(65535, "", 0);
	assert_error(1002);
}

static void
test_a_close_reason_is_utf8(void **state UNUSED)
{
	put_close(1000, "\xce\xba\xe1\xbd\xb9\xed\xa0\x80", 8);
	assert_error(1007);
	begin();
	put_close(1000, "\xce", 1);
	assert_error(1007);
}

static void
test_nothing_is_read_behind_a_close_frame(void **state UNUSED)
{
	put_text(FIN | TEXT, "before");
	put_close(1000, "", 0);
	put_text(FIN | TEXT, "behind");
	ws_say_bytes(&in, "\xff\xff\xff\xff", 4);
	assert_read("text 6:before\nclose 0:\ncode 1000\nclosed\n");
}

/* ---- limits -------------------------------------------------------------------------------- */

static void
test_a_message_over_the_limit_is_refused_by_its_length_alone(void **state UNUSED)
{
	char data[201];

	limits.message_max = limits.keep_max = 200;
	memset(data, 'x', sizeof(data));
	put(FIN | TEXT, data, 200);
	assert_read_one("text", data, 200);
	begin();
	put_part(FIN | TEXT, "", 0, 201);
	assert_error(1009);
	begin();
	put_part(FIN | BINARY, "", 0, INT64_MAX);
	assert_error(1009);
	/* The sum of the fragments counts. */
	begin();
	put(TEXT, data, 150);
	put(CONTINUE, data, 50);
	put(FIN | CONTINUE, "", 0);
	assert_read_one("text", data, 200);
	begin();
	put(TEXT, data, 150);
	put(CONTINUE, data, 50);
	put_part(FIN | CONTINUE, "", 0, 1);
	assert_error(1009);
	/* Each message begins anew, and control frames are not part of one. */
	begin();
	put(TEXT, data, 200);
	put(FIN | PING, data, 1);
	put(FIN | CONTINUE, "", 0);
	put(FIN | TEXT, data, 1);
	{
		struct ws_transcript expected = {.text = NULL};

		ws_clear(&expected);
		ws_say_data(&expected, "ping", data, 1);
		ws_say_data(&expected, "text", data, 200);
		ws_say_data(&expected, "text", data, 1);
		ws_say_bytes(&expected, "idle\n", 5);
		assert_read(expected.text);
		free(expected.text);
	}
}

static void
test_a_limit_of_zero_lets_empty_messages_through(void **state UNUSED)
{
	limits.message_max = limits.keep_max = 0;
	/* To wslay a ping is longer than that too. */
	not_as_wslay = true;
	put_text(FIN | TEXT, "");
	put_text(FIN | PING, "ping");
	put_text(FIN | TEXT, "x");
	assert_read("text 0:\nping 4:ping\nerror 1009\n");
}

static void
test_messages_that_are_not_wanted_are_checked_and_not_kept(void **state UNUSED)
{
	limits.keep_max = 3;
	put_text(FIN | TEXT, "abc");
	put_text(FIN | TEXT, "abcd");
	put_text(BINARY, "ab");
	put_text(CONTINUE, "c");
	put_text(FIN | PING, "p");
	put_text(FIN | CONTINUE, "d");
	put_text(FIN | TEXT, "abc");
	assert_read("text 3:abc\ntext not kept\nping 1:p\nbinary not kept\ntext 3:abc\nidle\n");
	limits.keep_max = 0;
	begin();
	put_text(FIN | TEXT, "");
	put_text(FIN | TEXT, "a");
	put_text(TEXT, "\xe1\xbd");
	put_text(FIN | CONTINUE, "\xb9");
	put_text(TEXT, "\xe1\xbd");
	put_text(FIN | CONTINUE, "b");
	assert_read("text 0:\ntext not kept\ntext not kept\nerror 1007\n");
	begin();
	limits.message_max = 4;
	put_text(FIN | TEXT, "abcd");
	put_text(FIN | TEXT, "abcde");
	assert_read("text not kept\nerror 1009\n");
}

/* ---- memory -------------------------------------------------------------------------------- */

static size_t
allocated_by(const void *bytes, size_t len, bool in_pieces)
{
	struct wsframe_reader *reader = NULL;
	size_t before = __sanitizer_get_current_allocated_bytes(), now;
	struct wsframe_event ev;
	char piece[1024];
	size_t used;

	for (size_t at = 0; at < len;) {
		size_t n = in_pieces ? 1 : len - at;

		if (n > sizeof(piece))
			n = sizeof(piece);
		memcpy(piece, (const char *)bytes + at, n);
		at += n;
		for (size_t from = 0; from < n; from += used)
			if (wsframe_read(&reader, &limits, piece + from, n - from, &used, &ev) ==
			    WSFRAME_ERROR)
				fail_msg("%s", ev.why);
		/* To the end of the last event. */
		assert_int_equal(wsframe_read(&reader, &limits, NULL, 0, &used, &ev), WSFRAME_MORE);
	}
	now = __sanitizer_get_current_allocated_bytes();
	assert_true((reader == NULL) == (now == before));
	wsframe_reader_free(reader);
	assert_int_equal(__sanitizer_get_current_allocated_bytes(), before);
	return now - before;
}

static void
test_between_messages_no_memory_is_held(void **state UNUSED)
{
	for (int pieces = 0; pieces < 2; pieces++) {
		begin();
		put_text(FIN | TEXT, "whole");
		put_text(TEXT, "frag");
		put_text(FIN | PING, "ping");
		put_text(FIN | CONTINUE, "ment");
		put_text(FIN | PONG, "pong");
		assert_int_equal(allocated_by(in.text, in.len, pieces == 1), 0);
	}
}

static void
test_memory_grows_with_what_came_not_with_what_was_announced(void **state UNUSED)
{
	char data[5000];

	limits.message_max = limits.keep_max = INT64_MAX;
	memset(data, 'x', sizeof(data));
	for (int pieces = 0; pieces < 2; pieces++) {
		begin();
		put_part(FIN | TEXT, "x", 1, INT64_MAX);
		assert_in_range(allocated_by(in.text, in.len, pieces == 1), 1, 1024);
		begin();
		put_part(FIN | TEXT, data, sizeof(data), INT64_MAX);
		assert_in_range(allocated_by(in.text, in.len, pieces == 1), sizeof(data),
		    2 * sizeof(data) + 1024);
		/* Of what is not wanted none is held, and of a mere head next to none. */
		limits.keep_max = 0;
		assert_in_range(allocated_by(in.text, in.len, pieces == 1), 1, 512);
		limits.keep_max = INT64_MAX;
		assert_in_range(allocated_by("\x81", 1, false), 1, 512);
	}
}

/* Calls of malloc() and realloc() that are yet to come; then one fails. -1: never. */
static int allocations_left = -1;
void *__real_malloc(size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_realloc(void *p, size_t size);

void *
__wrap_malloc(size_t size)
{
	if (allocations_left == 0)
		return NULL;
	allocations_left -= allocations_left > 0;
	return __real_malloc(size);
}

void *
__wrap_realloc(void *p, size_t size)
{
	if (allocations_left == 0)
		return NULL;
	allocations_left -= allocations_left > 0;
	return __real_realloc(p, size);
}

static void
test_memory_is_no_more_than_the_limit_and_none_of_what_is_dropped(void **state UNUSED)
{
	char data[1000];
	size_t head;

	memset(data, 'x', sizeof(data));
	limits.message_max = limits.keep_max = sizeof(data);
	put_part(FIN | TEXT, "", 0, sizeof(data));
	head = allocated_by(in.text, in.len, false);
	begin();
	put_part(FIN | TEXT, data, sizeof(data) - 1, sizeof(data));
	assert_in_range(allocated_by(in.text, in.len, true), sizeof(data), sizeof(data) + head);
	/* What has been kept of a message goes when it turns out to be too long to be kept. */
	limits.keep_max = 600;
	begin();
	put(TEXT, data, 500);
	put(CONTINUE, data, 101);
	assert_int_equal(allocated_by(in.text, in.len, false), head);
	assert_int_equal(allocated_by(in.text, in.len, true), head);
}

/* Read in pieces, of which the n-th allocation fails. False: it did not come to that. */
static bool
fails_at_allocation(int n)
{
	const size_t piece_len = 100;
	struct wsframe_reader *reader = NULL;
	enum wsframe_type type = WSFRAME_MORE;
	struct wsframe_event ev;
	size_t used;

	for (size_t at = 0; at < in.len && type != WSFRAME_ERROR; at += used) {
		size_t len = in.len - at < piece_len ? in.len - at : piece_len;
		char *piece = fuzz_copy(in.text + at, len);

		allocations_left = n;
		type = wsframe_read(&reader, &limits, piece, len, &used, &ev);
		n = allocations_left;
		allocations_left = -1;
		free(piece);
	}
	if (type == WSFRAME_ERROR) {
		assert_int_equal(ev.code, 1011);
		assert_null(reader);
	}
	wsframe_reader_free(reader);
	return type == WSFRAME_ERROR;
}

/* What is not freed then is reported at the end. */
static void
test_when_memory_runs_out_it_is_our_fault_and_nothing_is_left(void **state UNUSED)
{
	char data[3000];
	int failed = 0;

	memset(data, 'x', sizeof(data));
	put(TEXT, data, sizeof(data));
	put_text(FIN | PING, "ping");
	put(FIN | CONTINUE, data, sizeof(data));
	while (fails_at_allocation(failed))
		assert_in_range(++failed, 1, 50);
	/* The reader, and its block from 256 bytes to 6000. */
	assert_int_equal(failed, 1 + 6);
	limits.deflate = true;
	begin();
	put_deflated(RSV1 | TEXT, FIN, data, sizeof(data), 10);
	for (failed = 0; fails_at_allocation(failed); failed++)
		assert_in_range(failed, 0, 50);
	assert_true(failed > 2);
}

/* ---- permessage-deflate (RFC 7692) --------------------------------------------------------- */

static void
test_the_examples_of_rfc_7692_are_read(void **state UNUSED)
{
	static const struct {
		const char *what, *bytes;
		size_t len;
	} examples[] = {
	    {"7.2.3.1, one block", "\xf2\x48\xcd\xc9\xc9\x07\x00", 7},
	    {"7.2.3.3, a block that is not compressed",
		"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", 11},
	    {"7.2.3.4, a block that is marked as the last", "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", 8},
	    {"7.2.3.5, two blocks", "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", 13},
	    /* Not there, but what some make of it. */
	    {"the last block, and nothing behind", "\xf3\x48\xcd\xc9\xc9\x07\x00", 7},
	};

	limits.deflate = true;
	for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
		begin();
		put(FIN | RSV1 | TEXT, examples[i].bytes, examples[i].len);
		assert_read("text 5:Hello\nidle\n");
		/* In two fragments: only the first says that they are compressed. */
		for (size_t cut = 0; cut <= examples[i].len; cut++) {
			begin();
			put(RSV1 | TEXT, examples[i].bytes, cut);
			put_text(FIN | PING, "p");
			put(FIN | CONTINUE, examples[i].bytes + cut, examples[i].len - cut);
			assert_read("ping 1:p\ntext 5:Hello\nidle\n");
		}
	}
	/* 7.2.3.6: an empty message, and as others send it. */
	begin();
	put(FIN | RSV1 | TEXT, "\x00", 1);
	put(FIN | RSV1 | TEXT, "\x02\x00", 2);
	put(FIN | RSV1 | TEXT, "\x01", 1);
	put(FIN | RSV1 | BINARY, "", 0);
	assert_read("text 0:\ntext 0:\ntext 0:\nbinary 0:\nidle\n");
}

static void
test_messages_compressed_in_any_way_are_read(void **state UNUSED)
{
	static char text[20000];

	limits.deflate = true;
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = "{\"id\": 0123456789, \"text\"}"[next_random() % 26];
	for (int level = 0; level <= 9; level++)
		for (int bits = 9; bits <= 15; bits += 3)
			for (int strategy = Z_DEFAULT_STRATEGY; strategy <= Z_FIXED; strategy++) {
				static struct ws_transcript got;
				char *compressed;
				size_t len;

				begin();
				len = deflate_as(
				    text, sizeof(text), level, bits, strategy, &compressed);
				put(FIN | RSV1 | TEXT, compressed, len);
				free(compressed);
				ws_read(in.text, in.len, NULL, 0, &limits, &got);
				assert_int_equal(got.error, 0);
				assert_int_equal(got.len, 11 + sizeof(text) + 1 + 5);
				assert_memory_equal(got.text + 11, text, sizeof(text));
			}
	begin();
	put_deflated(RSV1 | TEXT, FIN, text, sizeof(text), 7);
	assert_read_one("text", text, sizeof(text));
}

static void
test_compressed_and_plain_messages_come_in_any_order(void **state UNUSED)
{
	limits.deflate = true;
	put_deflated(RSV1 | TEXT, FIN, "one one one one", 15, 1);
	put_text(FIN | TEXT, "two");
	put_deflated(RSV1 | BINARY, FIN, "three three three", 17, 3);
	put_text(FIN | BINARY, "four");
	assert_read("text 15:one one one one\ntext 3:two\nbinary 17:three three three\n"
		    "binary 4:four\nidle\n");
}

static void
test_only_the_first_frame_of_a_message_says_that_it_is_compressed(void **state UNUSED)
{
	limits.deflate = true;
	put(RSV1 | TEXT, "\xf2\x48\xcd", 3);
	put(FIN | RSV1 | CONTINUE, "\xc9\xc9\x07\x00", 4);
	assert_error(1002);
	begin();
	put_text(TEXT, "a");
	put(FIN | RSV1 | CONTINUE, "\x00", 1);
	assert_error(1002);
	begin();
	put(FIN | RSV1 | PING, "", 0);
	assert_error(1002);
	begin();
	put(FIN | RSV1 | CLOSE, "", 0);
	assert_error(1002);
	begin();
	put(FIN | RSV1 | RSV2 | TEXT, "\x00", 1);
	assert_error(1002);
}

static void
test_compression_that_was_not_agreed_upon_is_an_error(void **state UNUSED)
{
	put(FIN | RSV1 | TEXT, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7);
	assert_error(1002);
}

static void
test_what_cannot_be_inflated_is_an_error(void **state UNUSED)
{
	static const struct {
		const char *bytes;
		size_t len;
	} broken[] = {
	    {"\x06", 1},                                      /* a reserved kind of block */
	    {"\xff\xff\xff\xff", 4},                          /* the same */
	    {"\x00\x05\x00\x05\x00Hello\x00", 11},            /* a length without its complement */
	    {"\xf2\x48\xcd\xc9\xc9", 5},                      /* its end is missing */
	    {"\xf2\x48\xcd", 3},                              /* the same */
	    {"\x00\x05\x00\xfa\xffHel", 8},                   /* the same */
	    {"\x02\x02\x00", 3},                              /* back to before its beginning */
	    {"\xf3\x48\xcd\xc9\xc9\x07\x00\x06", 8},          /* behind the last block */
	    {"\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x48\xcd", 10}, /* its end is missing there */
	    {"\xf2\x48\xcd\xc9\xc9\x07\x00\x01", 8},          /* one bit too many */
	};

	limits.deflate = true;
	for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
		begin();
		put(FIN | RSV1 | TEXT, broken[i].bytes, broken[i].len);
		assert_error(1007);
		/* Also where it is not kept. */
		limits.keep_max = 0;
		assert_error(1007);
		limits.keep_max = limits.message_max;
	}
}

static void
test_a_compressed_text_is_utf8_too(void **state UNUSED)
{
	static char text[40000];

	limits.deflate = true;
	put_deflated(RSV1 | TEXT, FIN, kosme, KOSME_LEN, 2);
	assert_read_one("text", kosme, KOSME_LEN);
	begin();
	put_deflated(RSV1 | TEXT, FIN, kosme, KOSME_LEN - 1, 1);
	assert_error(1007);
	begin();
	put_deflated(RSV1 | TEXT, FIN, "Hello \xf4\x90", 8, 1);
	assert_error(1007);
	begin();
	put_deflated(RSV1 | BINARY, FIN, "\xff\xfe", 2, 1);
	assert_read_one("binary", "\xff\xfe", 2);
	/* Where the pieces end in which it is inflated there is a character in the middle. */
	for (size_t shift = 0; shift < 3; shift++) {
		static struct ws_transcript got;

		size_t end = shift + 3 * ((39000 - shift) / 3);

		memset(text, 'x', sizeof(text));
		for (size_t i = shift; i < end; i += 3)
			memcpy(text + i, "\xe2\x82\xac", 3);
		begin();
		put_deflated(RSV1 | TEXT, FIN, text, sizeof(text), 1);
		ws_read(in.text, in.len, NULL, 0, &limits, &got);
		assert_int_equal(got.error, 0);
	}
}

static void
test_a_bomb_is_given_up_at_the_limit(void **state UNUSED)
{
	size_t size = 20 << 20, before = __sanitizer_get_current_allocated_bytes();
	char *zeros = calloc(1, size);

	limits.deflate = true;
	limits.message_max = limits.keep_max = 100000;
	put_deflated(RSV1 | BINARY, FIN, zeros, size, 1);
	free(zeros);
	assert_true(in.len < 25000);
	assert_error(1009);
	/* Exactly so much is let through, and one byte more is not. */
	zeros = calloc(1, 100001);
	begin();
	put_deflated(RSV1 | BINARY, FIN, zeros, 100000, 1);
	assert_read_one("binary", zeros, 100000);
	begin();
	put_deflated(RSV1 | BINARY, FIN, zeros, 100001, 1);
	assert_error(1009);
	free(zeros);
	assert_in_range(__sanitizer_get_current_allocated_bytes(), before, before + (2 << 20));
}

/* A compressor may make a message longer: that is no reason to refuse it. */
static void
test_a_message_that_compression_made_longer_still_is_within_the_limit(void **state UNUSED)
{
	static const size_t lengths[] = {0, 1, 10, 100, 1000, 20000};
	char *data = malloc(20000);

	limits.deflate = true;
	for (size_t i = 0; i < 20000; i++)
		data[i] = (char)(0x90 | next_random()); /* 9 bits each in fixed codes */
	for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
		static struct ws_transcript got;
		char *compressed;
		size_t len = deflate_as(data, lengths[i], 9, 15, Z_FIXED, &compressed);

		limits.message_max = limits.keep_max = lengths[i];
		assert_true(len > lengths[i]);
		begin();
		put(FIN | RSV1 | BINARY, compressed, len);
		free(compressed);
		ws_read(in.text, in.len, NULL, 0, &limits, &got);
		assert_int_equal(got.error, 0);
	}
	/* But no more than that is taken in. */
	limits.message_max = limits.keep_max = 1000;
	begin();
	put_part(FIN | RSV1 | BINARY, "", 0, 1000 + 1000 / 8 + 64 + 1);
	assert_error(1009);
	free(data);
}

static void
test_compressed_messages_that_are_not_wanted_are_checked_and_not_kept(void **state UNUSED)
{
	limits.deflate = true;
	limits.keep_max = 3;
	put_deflated(RSV1 | TEXT, FIN, "abc", 3, 2);
	put_deflated(RSV1 | TEXT, FIN, "abcd", 4, 2);
	put_deflated(RSV1 | TEXT, FIN, "abc", 3, 1);
	put_deflated(RSV1 | TEXT, FIN, "abcd\xff", 5, 1);
	assert_read("text 3:abc\ntext not kept\ntext 3:abc\nerror 1007\n");
}

static void
test_of_a_compressed_message_no_more_is_held_than_came(void **state UNUSED)
{
	size_t size = 1 << 20, whole;
	char *zeros = calloc(1, size);

	limits.deflate = true;
	put_deflated(RSV1 | BINARY, FIN, zeros, size, 2);
	whole = in.len;
	free(zeros);
	assert_int_equal(allocated_by(in.text, whole, false), 0);
	/* Its last byte has not come. */
	assert_in_range(allocated_by(in.text, whole - 1, false), 1, 2 * whole + 1024);
	assert_in_range(allocated_by(in.text, whole - 1, true), 1, 2 * whole + 1024);
}

/* ---- writing ------------------------------------------------------------------------------- */

static void
assert_head(enum wsframe_type type, uint64_t len, bool compressed, const char *bytes, size_t n)
{
	char *out = malloc(WSFRAME_HEAD_MAX);

	assert_int_equal(wsframe_head(type, len, compressed, out), n);
	assert_memory_equal(out, bytes, n);
	free(out);
}

static void
test_heads_are_written_as_the_rfcs_have_them(void **state UNUSED)
{
	/* RFC 6455, 5.7, and RFC 7692, 7.2.3.1. */
	assert_head(WSFRAME_TEXT, 5, false, "\x81\x05", 2);
	assert_head(WSFRAME_PING, 5, false, "\x89\x05", 2);
	assert_head(WSFRAME_PONG, 0, false, "\x8a\x00", 2);
	assert_head(WSFRAME_CLOSE, 2, false, "\x88\x02", 2);
	assert_head(WSFRAME_BINARY, 256, false, "\x82\x7e\x01\x00", 4);
	assert_head(WSFRAME_BINARY, 65536, false, "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10);
	assert_head(WSFRAME_TEXT, 7, true, "\xc1\x07", 2);
	/* The edges. */
	assert_head(WSFRAME_TEXT, 0, false, "\x81\x00", 2);
	assert_head(WSFRAME_TEXT, 125, false, "\x81\x7d", 2);
	assert_head(WSFRAME_TEXT, 126, false, "\x81\x7e\x00\x7e", 4);
	assert_head(WSFRAME_TEXT, 65535, false, "\x81\x7e\xff\xff", 4);
	assert_head(
	    WSFRAME_BINARY, INT64_MAX, true, "\xc2\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", 10);
}

static void
assert_close(uint16_t code, const char *reason, size_t len, const char *bytes, size_t n)
{
	char *out = malloc(2 + WSFRAME_CONTROL_MAX), *borrowed = fuzz_copy(reason, len);

	assert_int_equal(wsframe_close(code, borrowed, len, out), n);
	assert_memory_equal(out, bytes, n);
	free(borrowed);
	free(out);
}

static void
test_close_frames_are_written_with_code_and_reason(void **state UNUSED)
{
	char reason[200], expected[127] = "\x88\x7d\x03\xf1";

	assert_close(WSFRAME_NORMAL, "", 0, "\x88\x02\x03\xe8", 4);
	assert_close(WSFRAME_GOING_AWAY, "bye", 3,
	    "\x88\x05\x03\xe9"
	    "bye",
	    7);
	assert_close(4999, "x", 1, "\x88\x03\x13\x87x", 5);
	/* What is never on the wire. */
	assert_close(WSFRAME_NO_CODE, "", 0, "\x88\x00", 2);
	assert_close(WSFRAME_NO_CODE, "why", 3, "\x88\x00", 2);
	assert_close(1006, "", 0, "\x88\x00", 2);
	assert_close(0, "", 0, "\x88\x00", 2);
	/* The longest, and one that is cut. */
	memset(reason, 'r', sizeof(reason));
	memset(expected + 4, 'r', 123);
	assert_close(WSFRAME_TOO_BIG, reason, 123, expected, 127);
	assert_close(WSFRAME_TOO_BIG, reason, 200, expected, 127);
	/* Between two characters, never within one. */
	memcpy(reason + 121, "\xe2\x82\xac", 3);
	expected[1] = 0x7b;
	assert_close(WSFRAME_TOO_BIG, reason, 200, expected, 125);
	memcpy(reason + 120, "\xe2\x82\xac", 3);
	expected[1] = 0x7d;
	memcpy(expected + 124, "\xe2\x82\xac", 3);
	assert_close(WSFRAME_TOO_BIG, reason, 200, expected, 127);
	/* And before what is none. */
	assert_close(WSFRAME_REFUSED, "no\xff!", 4, "\x88\x04\x03\xf0no", 6);
}

static void
test_pings_and_pongs_are_written_whole(void **state UNUSED)
{
	char out[2 + WSFRAME_CONTROL_MAX], data[200];

	memset(data, 'p', sizeof(data));
	assert_int_equal(wsframe_control(WSFRAME_PING, NULL, 0, out), 2);
	assert_memory_equal(out, "\x89\x00", 2);
	assert_int_equal(wsframe_control(WSFRAME_PONG, "Hello", 5, out), 7);
	assert_memory_equal(out, "\x8a\x05Hello", 7);
	assert_int_equal(wsframe_control(WSFRAME_PONG, data, 200, out), 127);
	assert_memory_equal(out, "\x8a\x7dppp", 5);
}

/* ---- against wslay ------------------------------------------------------------------------- */

static void
flip_bit(char *byte)
{
	unsigned char c = (unsigned char)*byte;

	c = (unsigned char)(c ^ 1u << next_random() % 8);
	memcpy(byte, &c, 1);
}

/* Random frames, most of them well-formed, in any order. */
static void
put_random_frames(void)
{
	static const unsigned firsts[] = {FIN | TEXT, FIN | TEXT, FIN | BINARY, TEXT, BINARY,
	    CONTINUE, CONTINUE, FIN | CONTINUE, FIN | CONTINUE, FIN | PING, FIN | PONG};
	bool open = false;

	for (unsigned n = next_random() % 8; n > 0; n--) {
		unsigned first = firsts[next_random() % ARRAY_LEN(firsts)];
		char payload[300];
		size_t len =
		    next_random() % 4 == 0 ? next_random() % sizeof(payload) : next_random() % 12;

		/* What would be an error often is not put. */
		if ((first & 8) == 0 && ((first & 15) == CONTINUE) != open &&
		    next_random() % 8 != 0)
			continue;
		if ((first & 8) == 0)
			open = (first & FIN) == 0;
		if ((first & 8) != 0 && len > 125 && next_random() % 8 != 0)
			len = 125;
		for (size_t i = 0; i < len; i++)
			payload[i] = "abcdefghijklmnopqrstuvwxyz"[next_random() % 26];
		if (len > 0 && next_random() % 20 == 0)
			memset(payload + next_random() % len, (int)(next_random() & 0xff), 1);
		if (len > 3 && next_random() % 3 == 0)
			memcpy(payload + next_random() % (len - 2), "\xe2\x82\xac", 3);
		put(first, payload, len);
		/* A bit of damage now and then. */
		if (next_random() % 40 == 0)
			flip_bit(&in.text[next_random() % in.len]);
	}
	if (next_random() % 3 == 0)
		put_close(next_random() % 3 == 0 ? next_random() % 5000 : 1000, "bye", 3);
}

static void
test_random_frames_mean_what_they_mean_to_wslay(void **state UNUSED)
{
	static struct ws_transcript ours, theirs;
	unsigned messages = 0, errors = 0;

	for (int i = 0; i < 20000; i++) {
		struct ws_by_wslay wslay = {.keep_max = UINT64_MAX};

		begin();
		put_random_frames();
		ws_read(in.text, in.len, NULL, 0, &limits, &ours);
		ws_read_by_wslay(&wslay, in.text, in.len, &ours, &limits, &theirs);
		errors += ours.error != 0;
		messages += (unsigned)ours.events;
		if (!ws_agree(&ours, &theirs))
			fail_msg("ours:\n%s\nwslay's:\n%s", ours.text, theirs.text);
	}
	/* Both kinds have been met. */
	assert_in_range(messages, 10000, 1000000);
	assert_in_range(errors, 2000, 19999);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(test_the_examples_of_the_rfc_are_read, set_up),
	    cmocka_unit_test_setup(test_messages_of_all_forms_of_length_are_read, set_up),
	    cmocka_unit_test_setup(test_messages_behind_each_other_are_read_one_by_one, set_up),
	    cmocka_unit_test_setup(test_one_call_ends_at_the_first_event, set_up),
	    cmocka_unit_test_setup(test_a_frame_that_is_not_masked_is_an_error, set_up),
	    cmocka_unit_test_setup(test_a_length_has_its_shortest_form, set_up),
	    cmocka_unit_test_setup(test_a_length_has_63_bits, set_up),
	    cmocka_unit_test_setup(test_pings_are_read_with_their_data, set_up),
	    cmocka_unit_test_setup(test_pongs_are_read_whether_asked_for_or_not, set_up),
	    cmocka_unit_test_setup(test_reserved_bits_are_an_error_on_every_kind_of_frame, set_up),
	    cmocka_unit_test_setup(test_reserved_opcodes_are_an_error, set_up),
	    cmocka_unit_test_setup(test_control_frames_are_never_fragmented, set_up),
	    cmocka_unit_test_setup(test_fragments_are_put_together, set_up),
	    cmocka_unit_test_setup(test_control_frames_come_between_fragments, set_up),
	    cmocka_unit_test_setup(test_a_continuation_of_nothing_is_an_error, set_up),
	    cmocka_unit_test_setup(test_a_message_within_a_message_is_an_error, set_up),
	    cmocka_unit_test_setup(test_texts_are_utf8_whole_and_in_fragments, set_up),
	    cmocka_unit_test_setup(
		test_a_text_that_is_not_utf8_is_an_error_wherever_it_is_cut, set_up),
	    cmocka_unit_test_setup(test_a_text_must_not_end_within_a_character, set_up),
	    cmocka_unit_test_setup(
		test_what_is_not_utf8_is_said_before_the_message_is_complete, set_up),
	    cmocka_unit_test_setup(test_close_frames_are_read_with_code_and_reason, set_up),
	    cmocka_unit_test_setup(test_half_a_close_code_is_an_error, set_up),
	    cmocka_unit_test_setup(test_close_codes_are_those_that_may_be_sent, set_up),
	    cmocka_unit_test_setup(test_a_close_reason_is_utf8, set_up),
	    cmocka_unit_test_setup(test_nothing_is_read_behind_a_close_frame, set_up),
	    cmocka_unit_test_setup(
		test_a_message_over_the_limit_is_refused_by_its_length_alone, set_up),
	    cmocka_unit_test_setup(test_a_limit_of_zero_lets_empty_messages_through, set_up),
	    cmocka_unit_test_setup(
		test_messages_that_are_not_wanted_are_checked_and_not_kept, set_up),
	    cmocka_unit_test_setup(test_between_messages_no_memory_is_held, set_up),
	    cmocka_unit_test_setup(
		test_memory_grows_with_what_came_not_with_what_was_announced, set_up),
	    cmocka_unit_test_setup(
		test_memory_is_no_more_than_the_limit_and_none_of_what_is_dropped, set_up),
	    cmocka_unit_test_setup(
		test_when_memory_runs_out_it_is_our_fault_and_nothing_is_left, set_up),
	    cmocka_unit_test_setup(test_the_examples_of_rfc_7692_are_read, set_up),
	    cmocka_unit_test_setup(test_messages_compressed_in_any_way_are_read, set_up),
	    cmocka_unit_test_setup(test_compressed_and_plain_messages_come_in_any_order, set_up),
	    cmocka_unit_test_setup(
		test_only_the_first_frame_of_a_message_says_that_it_is_compressed, set_up),
	    cmocka_unit_test_setup(test_compression_that_was_not_agreed_upon_is_an_error, set_up),
	    cmocka_unit_test_setup(test_what_cannot_be_inflated_is_an_error, set_up),
	    cmocka_unit_test_setup(test_a_compressed_text_is_utf8_too, set_up),
	    cmocka_unit_test_setup(test_a_bomb_is_given_up_at_the_limit, set_up),
	    cmocka_unit_test_setup(
		test_a_message_that_compression_made_longer_still_is_within_the_limit, set_up),
	    cmocka_unit_test_setup(
		test_compressed_messages_that_are_not_wanted_are_checked_and_not_kept, set_up),
	    cmocka_unit_test_setup(test_of_a_compressed_message_no_more_is_held_than_came, set_up),
	    cmocka_unit_test_setup(test_heads_are_written_as_the_rfcs_have_them, set_up),
	    cmocka_unit_test_setup(test_close_frames_are_written_with_code_and_reason, set_up),
	    cmocka_unit_test_setup(test_pings_and_pongs_are_written_whole, set_up),
	    cmocka_unit_test_setup(test_random_frames_mean_what_they_mean_to_wslay, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
