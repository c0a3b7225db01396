#include "relay/utf8.h"

#include <string.h>

/* The top bit of each of eight bytes: one that is not ASCII. */
#define NOT_ASCII UINT64_C(0x8080808080808080)

/*
 * The first byte of a character beyond ASCII: how many follow, and what the next one may
 * be. These bounds are all there is to overlong forms, surrogates and what is beyond
 * U+10FFFF (RFC 3629, section 4).
 */
static bool
begin(struct utf8 *u, unsigned char c)
{
	u->low = 0x80;
	u->high = 0xbf;
	if (c >= 0xc2 && c <= 0xdf) {
		u->missing = 1;
	} else if (c >= 0xe0 && c <= 0xef) {
		u->missing = 2;
		if (c == 0xe0)
			u->low = 0xa0;
		else if (c == 0xed)
			u->high = 0x9f;
	} else if (c >= 0xf0 && c <= 0xf4) {
		u->missing = 3;
		if (c == 0xf0)
			u->low = 0x90;
		else if (c == 0xf4)
			u->high = 0x8f;
	} else {
		return false;
	}
	return true;
}

/* A character goes on. */
static bool
go_on(struct utf8 *u, unsigned char c)
{
	if (c < u->low || c > u->high)
		return false;
	u->missing--;
	u->low = 0x80;
	u->high = 0xbf;
	return true;
}

bool
utf8_feed(struct utf8 *u, const char *p, size_t len)
{
	const char *end = len > 0 ? p + len : p; /* p of nothing may be NULL */
	uint64_t eight;

	while (p < end) {
		if (u->missing > 0) {
			if (!go_on(u, (unsigned char)*p++))
				return false;
			continue;
		}
		while (end - p >= 8) {
			memcpy(&eight, p, 8);
			if ((eight & NOT_ASCII) != 0)
				break;
			p += 8;
		}
		while (p < end && (unsigned char)*p < 0x80)
			p++;
		if (p < end && !begin(u, (unsigned char)*p++))
			return false;
	}
	return true;
}

bool
utf8_valid(const char *p, size_t len)
{
	struct utf8 u = {0};

	return utf8_feed(&u, p, len) && utf8_whole(&u);
}

size_t
utf8_prefix(const char *p, size_t len, size_t max)
{
	struct utf8 u = {0};
	size_t whole = 0;

	if (len > max)
		len = max;
	for (size_t i = 0; i < len && utf8_feed(&u, p + i, 1); i++)
		if (utf8_whole(&u))
			whole = i + 1;
	return whole;
}
