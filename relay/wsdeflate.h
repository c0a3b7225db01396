/*
 * wsdeflate.h - permessage-deflate (RFC 7692): a message compressed, and back.
 *
 * Without context takeover on both sides: each message stands for itself, so that a
 * compressed one is made once for all its readers, and no connection keeps any state.
 */
#ifndef RELAY_WSDEFLATE_H
#define RELAY_WSDEFLATE_H

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* zlib has no raw deflate with a window of 2^8. */
#define WSDEFLATE_WINDOW_MIN 9
#define WSDEFLATE_WINDOW_MAX 15

/*
 * Compresses a message into out, which has room for len bytes; returns how many were
 * written. 0 where it would not become shorter, or when memory ran out: then it is sent as
 * it is. What was made for a window is right for every larger one too.
 */
size_t wsdeflate_message(const char *data, size_t len, unsigned window_bits, char *out);

enum wsdeflate_result {
	WSDEFLATE_OK,
	WSDEFLATE_BROKEN,  /* not what a compressor makes, or its end is missing */
	WSDEFLATE_TOO_BIG, /* would be longer than max */
	WSDEFLATE_NO_MEMORY,
	WSDEFLATE_STOPPED, /* sink said so */
};

/* Gets what has been inflated, piece by piece; false stops. */
typedef bool wsdeflate_sink(void *arg, const char *data, size_t len);

/*
 * Inflates a whole message, compressed with any window, piece by piece into sink. No more
 * than max bytes are given out, and no piece holds more than 16 KB, whatever the message
 * would become.
 */
enum wsdeflate_result wsdeflate_inflate(
    const char *data, size_t len, uint64_t max, wsdeflate_sink *sink, void *arg) MUST_CHECK;

#endif
