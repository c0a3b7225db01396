/*
 * scan.h - how far the bytes of one kind go: the parts of a request's head.
 *
 * Each is there twice: 16 bytes at a time where there is SSE2, which any x86-64 has, and
 * byte by byte; tests/unit/test_scan.c holds them together. Nothing is read at or behind
 * end, so the last bytes are looked at one by one.
 */
#ifndef BASE_SCAN_H
#define BASE_SCAN_H

#include <stdint.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

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

/* Goes on from p while no byte of 16 is marked in other, an expression of v. */
#define SCAN_WHILE_NONE(p, end, v, other)                                              \
	while ((end) - (p) >= 16) {                                                    \
		const __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p)); \
		const unsigned marked = (unsigned)_mm_movemask_epi8(other);            \
                                                                                       \
		if (marked != 0)                                                       \
			return (p) + __builtin_ctz(marked);                            \
		(p) += 16;                                                             \
	}

/* 0xff where a byte, taken as unsigned, is at most max. */
static inline __m128i
scan_at_most(__m128i v, char max)
{
	return _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(max)), v);
}

static inline __m128i
scan_is(__m128i v, char c)
{
	return _mm_cmpeq_epi8(v, _mm_set1_epi8(c));
}

static inline __m128i
scan_name_bytes(__m128i v)
{
	const __m128i lower = _mm_or_si128(v, _mm_set1_epi8(0x20));
	const __m128i letter = scan_at_most(_mm_sub_epi8(lower, _mm_set1_epi8('a')), 25);
	const __m128i digit = scan_at_most(_mm_sub_epi8(v, _mm_set1_epi8('0')), 9);

	return _mm_or_si128(_mm_or_si128(letter, digit), scan_is(v, '-'));
}

static inline const char *
scan_name(const char *p, const char *end)
{
	SCAN_WHILE_NONE(p, end, v, _mm_andnot_si128(scan_name_bytes(v), _mm_set1_epi8(-1)))
	return scan_name_plain(p, end);
}

static inline const char *
scan_value(const char *p, const char *end)
{
	SCAN_WHILE_NONE(p, end, v, _mm_or_si128(scan_at_most(v, 0x1f), scan_is(v, 0x7f)))
	return scan_value_plain(p, end);
}

static inline const char *
scan_target(const char *p, const char *end, char mark)
{
	/* Compared as signed numbers, so that bytes above 127 are below the blank. */
	SCAN_WHILE_NONE(p, end, v,
	    _mm_or_si128(_mm_or_si128(_mm_cmplt_epi8(v, _mm_set1_epi8('!')), scan_is(v, 0x7f)),
		_mm_or_si128(scan_is(v, '#'), scan_is(v, mark))))
	return scan_target_plain(p, end, mark);
}

#undef SCAN_WHILE_NONE

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
