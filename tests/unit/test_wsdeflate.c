/* Messages compressed for all readers of one window, and back by zlib and by ourselves. */
#include "relay/wsdeflate.h"

#include "base/attr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

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

/* Text of words that come again at all distances. */
static char *
text_of(size_t len)
{
	char *text = malloc(len > 0 ? len : 1);

	for (size_t i = 0; i < len;) {
		size_t n = 3 + next_random() % 30, back;

		if (n > len - i)
			n = len - i;
		if (i > 0 && next_random() % 3 > 0) {
			back = 1 + next_random() % i;
			for (size_t k = 0; k < n; k++)
				text[i + k] = text[i + k - back];
		} else {
			for (size_t k = 0; k < n; k++)
				text[i + k] = (char)('a' + next_random() % 26);
		}
		i += n;
	}
	return text;
}

/*
 * As a client does it that has no more window than was agreed upon: zlib refuses what
 * reaches back further. Returns the length, or -1.
 */
static ptrdiff_t
inflate_with_window(const char *data, size_t len, int window_bits, char *out, size_t room)
{
	static const char tail[4] = {0, 0, (char)0xff, (char)0xff};
	char *all = malloc(len + sizeof(tail));
	z_stream z = {.next_out = (Bytef *)out, .avail_out = (uInt)room};
	int rc;

	memcpy(all, data, len);
	memcpy(all + len, tail, sizeof(tail));
	z.next_in = (Bytef *)all;
	z.avail_in = (uInt)(len + sizeof(tail));
	assert_int_equal(inflateInit2(&z, -window_bits), Z_OK);
	rc = inflate(&z, Z_SYNC_FLUSH);
	free(all);
	(void)inflateEnd(&z);
	return rc == Z_OK && z.avail_in == 0 ? (ptrdiff_t)(room - z.avail_out) : -1;
}

/* Compressed into a block of exactly the room that there is; NULL: it does not pay. */
static char *
compress_message(const char *data, size_t len, unsigned window_bits, size_t *made)
{
	char *out = malloc(len > 0 ? len : 1);

	*made = wsdeflate_message(data, len, window_bits, out);
	if (*made == 0) {
		free(out);
		return NULL;
	}
	assert_true(*made < len);
	return out;
}

static void
test_every_window_makes_what_a_reader_with_no_more_can_inflate(void **state UNUSED)
{
	static const size_t lengths[] = {
	    100, 250, 251, 300, 513, 762, 763, 1000, 5000, 16384, 33000, 65535, 65536, 200000};

	for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
		char *text = text_of(lengths[i]), *back = malloc(lengths[i] + 1);
		size_t smallest = 0, made;

		for (unsigned bits = 9; bits <= 15; bits++) {
			char *out = compress_message(text, lengths[i], bits, &made);

			assert_non_null(out);
			/* Into a window of its own and each larger one. */
			for (unsigned reader = bits; reader <= 15; reader++) {
				assert_int_equal(inflate_with_window(
						     out, made, (int)reader, back, lengths[i] + 1),
				    lengths[i]);
				assert_memory_equal(back, text, lengths[i]);
			}
			free(out);
			if (bits == 15)
				assert_true(made <= smallest);
			if (smallest == 0)
				smallest = made;
		}
		free(text);
		free(back);
	}
}

/* A long text whose repetitions lie far back needs the window it was given. */
static void
test_a_larger_window_finds_what_lies_further_back(void **state UNUSED)
{
	char *text = malloc(40000);
	size_t small, large;

	for (size_t i = 0; i < 20000; i++)
		text[i] = (char)next_random();
	memcpy(text + 20000, text, 20000);
	free(compress_message(text, 40000, 15, &large));
	assert_in_range(large, 20000, 21000);
	free(compress_message(text, 40000, 14, &small));
	assert_int_equal(small, 0);
	free(text);
}

/* zlib looks for nothing in the last 262 bytes of its window: that of a short message, which
 * is chosen by its length, is larger than the message by so much. */
static void
test_a_repetition_is_found_anywhere_in_a_short_message(void **state UNUSED)
{
	char message[1000];
	size_t made;

	for (size_t i = 0; i < sizeof(message); i++)
		message[i] = (char)next_random();
	for (size_t len = 250; len <= sizeof(message); len += 10) {
		char *copy = malloc(len);

		memcpy(copy, message, len);
		memcpy(copy + len - 100, copy, 100);
		free(compress_message(copy, len, 15, &made));
		assert_in_range(made, len - 100, len - 30);
		free(copy);
	}
}

static void
test_what_does_not_become_shorter_is_not_compressed(void **state UNUSED)
{
	char random[1000];
	size_t made;

	for (size_t i = 0; i < sizeof(random); i++)
		random[i] = (char)next_random();
	for (size_t len = 0; len <= sizeof(random); len += len < 300 ? 1 : 50)
		assert_null(compress_message(random, len, 15, &made));
	assert_null(compress_message("", 0, 15, &made));
	assert_null(compress_message("a", 1, 15, &made));
	assert_null(compress_message("Hello", 5, 15, &made));
	assert_null(compress_message("{\"type\": \"answer\"}", 18, 15, &made));
}

/* Whatever fits is right, and nothing is written behind it: AddressSanitizer watches. */
static void
test_messages_of_every_length_come_back_or_are_left_as_they_are(void **state UNUSED)
{
	unsigned compressed = 0;
	char back[700];

	for (size_t len = 0; len < 600; len++) {
		char *text = text_of(len), *out;
		size_t made;

		if (len % 2 == 1)
			memset(text, 'x', len);
		out = compress_message(text, len, 9 + (unsigned)(len % 7), &made);
		if (out != NULL) {
			assert_int_equal(
			    inflate_with_window(out, made, 9 + (int)(len % 7), back, sizeof(back)),
			    len);
			assert_memory_equal(back, text, len);
			compressed++;
			free(out);
		}
		free(text);
	}
	assert_in_range(compressed, 400, 600);
}

static void
test_windows_that_zlib_has_not_are_not_compressed_for(void **state UNUSED)
{
	char text[400], out[400];

	memset(text, 'x', sizeof(text));
	assert_int_equal(wsdeflate_message(text, sizeof(text), 0, out), 0);
	assert_int_equal(wsdeflate_message(text, sizeof(text), 8, out), 0);
	assert_true(wsdeflate_message(text, sizeof(text), 9, out) > 0);
	assert_true(wsdeflate_message(text, sizeof(text), 15, out) > 0);
	assert_true(wsdeflate_message(text, sizeof(text), 16, out) > 0);
}

/* ---- and back ------------------------------------------------------------------------------ */

struct sink {
	char *data;
	size_t len, cap, largest;
	size_t stop_at; /* 0: never */
};

static bool
on_piece(void *arg, const char *data, size_t len)
{
	struct sink *sink = arg;

	assert_in_range(len, 1, 16 * 1024);
	assert_true(len <= sink->cap - sink->len);
	memcpy(sink->data + sink->len, data, len);
	sink->len += len;
	return sink->stop_at == 0 || sink->len < sink->stop_at;
}

static void
test_what_was_compressed_here_is_inflated_here(void **state UNUSED)
{
	for (size_t len = 200; len < 300000; len = len * 3 / 2) {
		char *text = text_of(len), *out;
		struct sink sink = {.data = malloc(len), .cap = len};
		size_t made;

		out = compress_message(text, len, 12, &made);
		assert_non_null(out);
		assert_int_equal(wsdeflate_inflate(out, made, len, on_piece, &sink), WSDEFLATE_OK);
		assert_int_equal(sink.len, len);
		assert_memory_equal(sink.data, text, len);
		/* One byte less is too little, and no more than that comes. */
		sink.len = 0;
		assert_int_equal(
		    wsdeflate_inflate(out, made, len - 1, on_piece, &sink), WSDEFLATE_TOO_BIG);
		assert_true(sink.len < len);
		/* No beginning of it is a message. */
		for (size_t cut = 1; cut < made; cut += 1 + made / 50) {
			sink.len = 0;
			if (wsdeflate_inflate(out, cut, len, on_piece, &sink) == WSDEFLATE_OK)
				fail_msg("%zu of %zu bytes were taken", cut, made);
		}
		free(sink.data);
		free(out);
		free(text);
	}
}

static void
test_a_sink_can_stop_it(void **state UNUSED)
{
	char *text = calloc(1, 100000), *out;
	struct sink sink = {.data = malloc(100000), .cap = 100000, .stop_at = 20000};
	size_t made;

	out = compress_message(text, 100000, 15, &made);
	assert_int_equal(wsdeflate_inflate(out, made, 100000, on_piece, &sink), WSDEFLATE_STOPPED);
	assert_in_range(sink.len, 20000, 40000);
	free(sink.data);
	free(text);
	free(out);
}

/* Blocks marked as the last, one behind the other, as one who flushes so may send them. */
static void
test_last_blocks_behind_each_other_are_one_message(void **state UNUSED)
{
	char out[400], text[200];
	struct sink sink = {.data = text, .cap = sizeof(text)};
	size_t len = 0;

	for (int i = 0; i < 3; i++) {
		z_stream z = {.next_in = (Bytef *)"Hello, Hello, Hello!", .avail_in = 20};

		z.next_out = (Bytef *)out + len;
		z.avail_out = (uInt)(sizeof(out) - len);
		assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
		assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
		len = sizeof(out) - z.avail_out;
		(void)deflateEnd(&z);
	}
	assert_int_equal(wsdeflate_inflate(out, len, 60, on_piece, &sink), WSDEFLATE_OK);
	assert_int_equal(sink.len, 60);
	assert_memory_equal(
	    text, "Hello, Hello, Hello!Hello, Hello, Hello!Hello, Hello, Hello!", 60);
	/* Together no more than the limit. */
	sink.len = 0;
	assert_int_equal(wsdeflate_inflate(out, len, 59, on_piece, &sink), WSDEFLATE_TOO_BIG);
	/* With the byte behind them that RFC 7692, 7.2.3.4, has. */
	out[len] = 0;
	sink.len = 0;
	assert_int_equal(wsdeflate_inflate(out, len + 1, 60, on_piece, &sink), WSDEFLATE_OK);
	assert_int_equal(sink.len, 60);
}

/* Any bytes are inflated or refused: it ends, within its limit. */
static void
test_random_bytes_are_inflated_or_refused(void **state UNUSED)
{
	char data[200], text[5000];
	unsigned ok = 0;

	for (int i = 0; i < 20000; i++) {
		struct sink sink = {.data = text, .cap = sizeof(text)};
		size_t len = 1 + next_random() % (i % 2 ? sizeof(data) : 8);
		char *copy = malloc(len);

		for (size_t b = 0; b < len; b++)
			copy[b] = (char)next_random();
		ok += wsdeflate_inflate(copy, len, sizeof(text), on_piece, &sink) == WSDEFLATE_OK;
		free(copy);
	}
	assert_in_range(ok, 1, 10000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_window_makes_what_a_reader_with_no_more_can_inflate),
	    cmocka_unit_test(test_a_larger_window_finds_what_lies_further_back),
	    cmocka_unit_test(test_a_repetition_is_found_anywhere_in_a_short_message),
	    cmocka_unit_test(test_what_does_not_become_shorter_is_not_compressed),
	    cmocka_unit_test(test_messages_of_every_length_come_back_or_are_left_as_they_are),
	    cmocka_unit_test(test_windows_that_zlib_has_not_are_not_compressed_for),
	    cmocka_unit_test(test_what_was_compressed_here_is_inflated_here),
	    cmocka_unit_test(test_a_sink_can_stop_it),
	    cmocka_unit_test(test_last_blocks_behind_each_other_are_one_message),
	    cmocka_unit_test(test_random_bytes_are_inflated_or_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
