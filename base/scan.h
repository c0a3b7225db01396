/*
 * scan.h - how far the bytes of one kind go: the parts of a request's head.
 *
 * Each is there twice: 16 bytes at a time where there is SSE2, which any x86-64 has, and
 * byte by byte; tests/unit/test_scan.c holds them together. The SCAN_MIN bytes before end
 * may be read, also where they lie before p, and none at end or behind it.
 */
#ifndef BASE_SCAN_H
#define BASE_SCAN_H

#include "base/attr.h"

#include <stdint.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define SCAN_MIN 16

/* ASCII letters, digits and '-', as the names of nearly all header fields have. */
static inline const char *
scan_name_plain(const char *p, const char *end)
{
	for (; p < end; p++) {
		const unsigned char c = (unsigned char)*p;

		if ((unsigned char)((c | 0x20) - 'a') > 25 && (unsigned char)(c - '0') > 9 &&
		    c != '-')
			break;
	}
	return p;
}

/* All but control characters; the tab is one as well. */
static inline const char *
scan_value_plain(const char *p, const char *end)
{
	while (p < end && (unsigned char)*p >= ' ' && *p != 0x7f)
		p++;
	return p;
}

/* Visible ASCII but '#' and mark, which ends the part of a target that is read. */
static inline const char *
scan_target_plain(const char *p, const char *end, char mark)
{
	while (p<end && * p> ' ' && *p < 0x7f && *p != '#' && *p != mark)
		p++;
	return p;
}

#ifdef __SSE2__

/* 0xff where a byte of v is c. */
static inline __m128i
scan_is(__m128i v, char c)
{
	return _mm_cmpeq_epi8(v, _mm_set1_epi8(c));
}

/* 0xff where a byte of v is one of the n from c on: these are made the highest numbers. */
static inline __m128i
scan_is_from(__m128i v, char c, int n)
{
	return _mm_cmpgt_epi8(
	    _mm_add_epi8(v, _mm_set1_epi8((char)(128 - n - c))), _mm_set1_epi8((char)(127 - n)));
}

/* A bit for each of 16 bytes that ends what is scanned. */
static inline unsigned
scan_name_ends(__m128i v, UNUSED char mark)
{
	const __m128i letter = scan_is_from(_mm_or_si128(v, _mm_set1_epi8(0x20)), 'a', 26);
	const __m128i other = _mm_or_si128(scan_is_from(v, '0', 10), scan_is(v, '-'));

	return (unsigned)_mm_movemask_epi8(_mm_or_si128(letter, other)) ^ 0xffff;
}

static inline unsigned
scan_value_ends(__m128i v, UNUSED char mark)
{
	const __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);

	return (unsigned)_mm_movemask_epi8(_mm_or_si128(control, scan_is(v, 0x7f)));
}

static inline unsigned
scan_target_ends(__m128i v, char mark)
{
	/* Compared as signed numbers, so that bytes above 127 are below the blank. */
	const __m128i hidden =
	    _mm_or_si128(_mm_cmplt_epi8(v, _mm_set1_epi8('!')), scan_is(v, 0x7f));

	return (unsigned)_mm_movemask_epi8(
	    _mm_or_si128(hidden, _mm_or_si128(scan_is(v, '#'), scan_is(v, mark))));
}

/*
 * By 16 bytes, the last of which are read together with some that lie before p.
 */
static inline __attribute__((always_inline)) const char *
scan_by_16(const char *p, const char *end, unsigned (*ends)(__m128i, char), char mark)
{
	const char *const last = end - 16;
	unsigned found;

	for (; p <= last; p += 16) {
		found = ends(_mm_loadu_si128((const __m128i *)(const void *)p), mark);
		if (found != 0)
			return p + __builtin_ctz(found);
	}
	found = ends(_mm_loadu_si128((const __m128i *)(const void *)last), mark);
	found >>= 16 - (end - p);
	return found != 0 ? p + __builtin_ctz(found) : end;
}

static inline const char *
scan_name(const char *p, const char *end)
{
	return scan_by_16(p, end, scan_name_ends, 0);
}

static inline const char *
scan_value(const char *p, const char *end)
{
	return scan_by_16(p, end, scan_value_ends, 0);
}

static inline const char *
scan_target(const char *p, const char *end, char mark)
{
	return scan_by_16(p, end, scan_target_ends, mark);
}

#else

static inline const char *
scan_name(const char *p, const char *end)
{
	return scan_name_plain(p, end);
}

static inline const char *
scan_value(const char *p, const char *end)
{
	return scan_value_plain(p, end);
}

static inline const char *
scan_target(const char *p, const char *end, char mark)
{
	return scan_target_plain(p, end, mark);
}

#endif

#endif
