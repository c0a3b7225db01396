#include "relay/wsdeflate.h"

#include <limits.h>
#include <string.h>
#include <zlib.h>

/* What a flush ends with; it is not sent (RFC 7692, 7.2.1). */
#define TAIL_LEN 4
static const char tail[TAIL_LEN] = {0x00, 0x00, (char)0xff, (char)0xff};

/* No match reaches back further than the window less this (zlib's MIN_LOOKAHEAD). */
#define LOOKAHEAD 262

/*
 * Bytes from which on the lowest level is taken: a megabyte keeps a worker for 6 to 11 ms
 * then, at the usual level for 17.
 */
#define FAST_FROM (64 * 1024)

size_t
wsdeflate_message(const char *data, size_t len, unsigned window_bits, char *out)
{
	z_stream z = {.zalloc = NULL};
	unsigned bits = WSDEFLATE_WINDOW_MAX;
	int memory, rc;
	size_t made = 0;

	if (window_bits < WSDEFLATE_WINDOW_MIN || len > UINT_MAX)
		return 0;
	if (bits > window_bits)
		bits = window_bits;
	/*
	 * zlib clears its tables, up to 256 KB, which for a short message takes longer than the
	 * message: they are no larger than that one can fill. Nor are they much larger than
	 * the window, for each time it moves on they are walked over: with the usual ones and
	 * the smallest window that takes four times as long as all else.
	 */
	while (bits > WSDEFLATE_WINDOW_MIN && ((size_t)1 << (bits - 1)) >= len + LOOKAHEAD)
		bits--;
	memory = (int)bits - 5 < 8 ? (int)bits - 5 : 8;
	while (memory > 1 && ((size_t)1 << (memory + 5)) > len)
		memory--;
	if (deflateInit2(&z, len < FAST_FROM ? 6 : 1, Z_DEFLATED, -(int)bits, memory,
		Z_DEFAULT_STRATEGY) != Z_OK)
		return 0;
	z.next_in = (Bytef *)data;
	z.avail_in = (uInt)len;
	z.next_out = (Bytef *)out;
	z.avail_out = (uInt)len;
	rc = deflate(&z, Z_SYNC_FLUSH);
	/* Only with room left over is the flush complete, and its tail in out. */
	if (rc == Z_OK && z.avail_out > 0)
		made = len - z.avail_out - TAIL_LEN;
	(void)deflateEnd(&z);
	return made;
}

/* What one inflating has and hands on. */
struct inflating {
	z_stream z;
	uint64_t left; /* may still be given out */
	wsdeflate_sink *sink;
	void *arg;
	bool ended; /* just behind a block that is marked as the last */
};

/*
 * Inflates a part of the message. A block that is marked as the last does not end it: what
 * follows begins anew at the next byte (RFC 7692, 7.2.3.5).
 */
static enum wsdeflate_result
inflate_part(struct inflating *in, const char *data, size_t len)
{
	char piece[16 * 1024];
	size_t made;
	int rc;

	in->z.next_in = (Bytef *)data;
	in->z.avail_in = (uInt)len;
	do {
		in->z.next_out = (Bytef *)piece;
		in->z.avail_out = sizeof(piece);
		rc = inflate(&in->z, Z_SYNC_FLUSH);
		made = sizeof(piece) - in->z.avail_out;
		if (made > in->left)
			return WSDEFLATE_TOO_BIG;
		in->left -= made;
		if (made > 0 && !in->sink(in->arg, piece, made))
			return WSDEFLATE_STOPPED;
		if (rc == Z_MEM_ERROR)
			return WSDEFLATE_NO_MEMORY;
		/* Z_BUF_ERROR: piece was just filled, and there is no more. */
		if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR)
			return WSDEFLATE_BROKEN;
		in->ended = rc == Z_STREAM_END;
		if (in->ended)
			(void)inflateReset(&in->z);
	} while (in->z.avail_in > 0 || (in->z.avail_out == 0 && !in->ended));
	return WSDEFLATE_OK;
}

/*
 * zlib stands between two blocks, with no bit left over, as at the beginning of the next
 * one: its data_type says so (zlib.h, at inflate()).
 */
static bool
between_blocks(const z_stream *z)
{
	return (z->data_type & 128) != 0 && (z->data_type & 7) == 0;
}

enum wsdeflate_result
wsdeflate_inflate(const char *data, size_t len, uint64_t max, wsdeflate_sink *sink, void *arg)
{
	struct inflating in = {.left = max, .sink = sink, .arg = arg};
	enum wsdeflate_result result;

	/* Not what the RFC makes of an empty message, but what some do, and clear. */
	if (len == 0)
		return WSDEFLATE_OK;
	if (len > UINT_MAX)
		return WSDEFLATE_TOO_BIG;
	if (inflateInit2(&in.z, -WSDEFLATE_WINDOW_MAX) != Z_OK)
		return WSDEFLATE_NO_MEMORY;
	result = inflate_part(&in, data, len);
	if (result == WSDEFLATE_OK && !in.ended) {
		result = inflate_part(&in, tail, TAIL_LEN);
		if (result == WSDEFLATE_OK && !in.ended && !between_blocks(&in.z))
			result = WSDEFLATE_BROKEN;
	}
	(void)inflateEnd(&in.z);
	return result;
}
