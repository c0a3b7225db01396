#include "relay/position.h"

#include <string.h>
#include <strings.h>
#include <time.h>

/* 9999-12-31 23:59:59: the last second that an HTTP date can say. */
#define SECOND_MAX INT64_C(253402300799)

static const char months[12][4] = {
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
static const char days[7][10] = {
    "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};

static void
put2(char *out, int n)
{
	out[0] = (char)('0' + n / 10 % 10);
	out[1] = (char)('0' + n % 10);
}

void
http_date_format(int64_t second, char *out)
{
	time_t t = (time_t)second;
	struct tm tm;

	gmtime_r(&t, &tm);
	memcpy(out, days[tm.tm_wday], 3);
	memcpy(out + 3, ", ", 2);
	put2(out + 5, tm.tm_mday);
	out[7] = ' ';
	memcpy(out + 8, months[tm.tm_mon], 3);
	out[11] = ' ';
	put2(out + 12, (tm.tm_year + 1900) / 100);
	put2(out + 14, (tm.tm_year + 1900) % 100);
	out[16] = ' ';
	put2(out + 17, tm.tm_hour);
	out[19] = ':';
	put2(out + 20, tm.tm_min);
	out[22] = ':';
	put2(out + 23, tm.tm_sec);
	memcpy(out + 25, " GMT", 4);
}

/* What is left to be read. */
struct cursor {
	const char *p, *end;
};

static bool
skip(struct cursor *c, const char *text)
{
	size_t len = strlen(text);

	if ((size_t)(c->end - c->p) < len || memcmp(c->p, text, len) != 0)
		return false;
	c->p += len;
	return true;
}

/* A number of min to max digits. */
static bool
digits(struct cursor *c, int min, int max, int *out)
{
	int n = 0, count = 0;

	for (; count < max && c->p < c->end && *c->p >= '0' && *c->p <= '9'; count++)
		n = n * 10 + (*c->p++ - '0');
	*out = n;
	return count >= min;
}

/* The name of a day: whole, or its first three letters. */
static bool
weekday(struct cursor *c, bool whole)
{
	for (size_t i = 0; i < 7; i++) {
		size_t len = whole ? strlen(days[i]) : 3;

		if ((size_t)(c->end - c->p) >= len && strncasecmp(c->p, days[i], len) == 0) {
			c->p += len;
			return true;
		}
	}
	return false;
}

static bool
month(struct cursor *c, int *out)
{
	for (int i = 0; i < 12; i++) {
		if (c->end - c->p >= 3 && strncasecmp(c->p, months[i], 3) == 0) {
			c->p += 3;
			*out = i;
			return true;
		}
	}
	return false;
}

static bool
time_of_day(struct cursor *c, struct tm *tm)
{
	return digits(c, 2, 2, &tm->tm_hour) && skip(c, ":") && digits(c, 2, 2, &tm->tm_min) &&
	       skip(c, ":") && digits(c, 2, 2, &tm->tm_sec);
}

/* " GMT", or " UTC", or a numeric zone such as " +0100", whose seconds go to *offset. */
static bool
zone(struct cursor *c, int64_t *offset)
{
	int hours, minutes, sign;

	*offset = 0;
	if (skip(c, " GMT") || skip(c, " UTC"))
		return true;
	if (skip(c, " +"))
		sign = 1;
	else if (skip(c, " -"))
		sign = -1;
	else
		return false;
	if (!digits(c, 2, 2, &hours) || !digits(c, 2, 2, &minutes) || hours > 23 || minutes > 59)
		return false;
	*offset = sign * (hours * 3600 + minutes * 60);
	return true;
}

/* Sun, 06 Nov 1994 08:49:37 GMT */
static bool
imf_fixdate(struct cursor c, struct tm *tm, int64_t *offset)
{
	if (!weekday(&c, false) || !skip(&c, ", ") || !digits(&c, 1, 2, &tm->tm_mday) ||
	    !skip(&c, " ") || !month(&c, &tm->tm_mon) || !skip(&c, " ") ||
	    !digits(&c, 4, 4, &tm->tm_year) || !skip(&c, " ") || !time_of_day(&c, tm) ||
	    !zone(&c, offset))
		return false;
	tm->tm_year -= 1900;
	return c.p == c.end;
}

/* Sunday, 06-Nov-94 08:49:37 GMT */
static bool
rfc850_date(struct cursor c, struct tm *tm, int64_t *offset)
{
	time_t now = time(NULL);
	struct tm today, ahead;

	if (!weekday(&c, true) || !skip(&c, ", ") || !digits(&c, 1, 2, &tm->tm_mday) ||
	    !skip(&c, "-") || !month(&c, &tm->tm_mon) || !skip(&c, "-") ||
	    !digits(&c, 2, 2, &tm->tm_year) || !skip(&c, " ") || !time_of_day(&c, tm) ||
	    !zone(&c, offset))
		return false;
	/* More than 50 years ahead is the same two digits in the past (RFC 9110, 5.6.7). */
	gmtime_r(&now, &today);
	tm->tm_year += today.tm_year / 100 * 100;
	ahead = *tm;
	today.tm_year += 50;
	if (timegm(&ahead) > timegm(&today))
		tm->tm_year -= 100;
	return c.p == c.end;
}

/* Sun Nov  6 08:49:37 1994 */
static bool
asctime_date(struct cursor c, struct tm *tm, int64_t *offset)
{
	*offset = 0;
	if (!weekday(&c, false) || !skip(&c, " ") || !month(&c, &tm->tm_mon) || !skip(&c, " "))
		return false;
	(void)skip(&c, " ");
	if (!digits(&c, 1, 2, &tm->tm_mday) || !skip(&c, " ") || !time_of_day(&c, tm) ||
	    !skip(&c, " ") || !digits(&c, 4, 4, &tm->tm_year))
		return false;
	tm->tm_year -= 1900;
	return c.p == c.end;
}

bool
http_date_parse(const char *s, size_t len, int64_t *second)
{
	const struct cursor c = {s, s + len};
	struct tm tm = {0};
	int64_t offset, t;
	int mday;

	if (!imf_fixdate(c, &tm, &offset) && !rfc850_date(c, &tm, &offset) &&
	    !asctime_date(c, &tm, &offset))
		return false;
	/* 60 is a leap second. */
	if (tm.tm_mday < 1 || tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60)
		return false;
	/* timegm() counts February 31 on into March, which is no date. */
	mday = tm.tm_mday;
	if (tm.tm_sec == 60)
		tm.tm_sec = 59;
	t = timegm(&tm);
	if (tm.tm_mday != mday)
		return false;
	t -= offset;
	*second = t < 0 ? 0 : t > SECOND_MAX ? SECOND_MAX : t;
	return true;
}

/* A decimal number without sign, up to what an int64_t holds. */
static bool
number_parse(const char *s, size_t len, int64_t *out)
{
	int64_t n = 0;

	if (len == 0 || len > 18)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		n = n * 10 + (s[i] - '0');
	}
	*out = n;
	return true;
}

bool
etag_parse(const char *s, size_t len, int64_t *tag)
{
	static const char gzip[] = "-gzip";
	const size_t gzip_len = sizeof(gzip) - 1;
	bool quoted;

	if (len >= 2 && memcmp(s, "W/", 2) == 0) {
		s += 2;
		len -= 2;
		if (len == 0 || s[0] != '"')
			return false;
	}
	quoted = len >= 2 && s[0] == '"' && s[len - 1] == '"';
	if (quoted) {
		s++;
		len -= 2;
		/* What nginx and Apache make of an Etag when they compress. */
		if (len > gzip_len && memcmp(s + len - gzip_len, gzip, gzip_len) == 0)
			len -= gzip_len;
	}
	return number_parse(s, len, tag);
}

bool
msgid_parse(const char *s, size_t len, struct msgid *id)
{
	const char *colon = memchr(s, ':', len);
	size_t second_len;

	if (colon == NULL)
		return false;
	second_len = (size_t)(colon - s);
	return number_parse(s, second_len, &id->second) && id->second <= SECOND_MAX &&
	       number_parse(colon + 1, len - second_len - 1, &id->tag);
}

size_t
number_format(int64_t n, char *out)
{
	char digit[NUMBER_TEXT_MAX];
	uint64_t left = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
	size_t len = 0, count = 0;

	if (n < 0)
		out[len++] = '-';
	do {
		digit[count++] = (char)('0' + left % 10);
		left /= 10;
	} while (left > 0);
	while (count > 0)
		out[len++] = digit[--count];
	return len;
}

size_t
msgid_format(struct msgid id, char *out)
{
	size_t len = number_format(id.second, out);

	out[len++] = ':';
	return len + number_format(id.tag, out + len);
}
