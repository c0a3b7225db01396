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

static void
format_date(int64_t second, char *out)
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

void
http_date_format(int64_t second, char *out)
{
	/* What is asked for is nearly always the second of now, thousands of times. */
	static _Thread_local struct {
		bool made;
		int64_t second;
		char text[HTTP_DATE_LEN];
	} last;

	if (!last.made || last.second != second) {
		format_date(second, last.text);
		last.second = second;
		last.made = true;
	}
	memcpy(out, last.text, HTTP_DATE_LEN);
}

struct date {
	int year, month, day, hour, minute, second; /* month from 0, day from 1 */
};

/* Days before a month, in a year that is no leap year. */
static const int days_before[12] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
/* 477 of the years 1 to 1969 were leap years. */
#define DAYS_TO_1970 (365 * 1970 + 477)

/*
 * Seconds since 1970 by the Gregorian calendar, of the year 0 or later. A day that is over its
 * month, or an hour over its day, goes on into the next.
 */
static inline int64_t
second_of(const struct date *d)
{
	/* Leap days from the year 1 to the last February that is over; 97 are those of the 400
	 * years that keep the number above 0. */
	const unsigned year = (unsigned)(d->year + 400 - (d->month < 2));
	const int leap_days = (int)(year / 4 - year / 100 + year / 400) - 97;
	const int day = 365 * d->year + leap_days + days_before[d->month] + d->day - 1;

	return (int64_t)(day - DAYS_TO_1970) * 86400 + d->hour * 3600 + d->minute * 60 + d->second;
}

static int
month_len(const struct date *d)
{
	if (d->month == 1)
		return d->year % 4 == 0 && (d->year % 100 != 0 || d->year % 400 == 0) ? 29 : 28;
	return d->month == 11 ? 31 : days_before[d->month + 1] - days_before[d->month];
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
time_of_day(struct cursor *c, struct date *d)
{
	return digits(c, 2, 2, &d->hour) && skip(c, ":") && digits(c, 2, 2, &d->minute) &&
	       skip(c, ":") && digits(c, 2, 2, &d->second);
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
imf_fixdate(struct cursor c, struct date *d, int64_t *offset)
{
	return weekday(&c, false) && skip(&c, ", ") && digits(&c, 1, 2, &d->day) && skip(&c, " ") &&
	       month(&c, &d->month) && skip(&c, " ") && digits(&c, 4, 4, &d->year) &&
	       skip(&c, " ") && time_of_day(&c, d) && zone(&c, offset) && c.p == c.end;
}

/* Sunday, 06-Nov-94 08:49:37 GMT */
static bool
rfc850_date(struct cursor c, struct date *d, int64_t *offset)
{
	time_t now = time(NULL);
	struct date ahead;
	struct tm today;

	if (!weekday(&c, true) || !skip(&c, ", ") || !digits(&c, 1, 2, &d->day) || !skip(&c, "-") ||
	    !month(&c, &d->month) || !skip(&c, "-") || !digits(&c, 2, 2, &d->year) ||
	    !skip(&c, " ") || !time_of_day(&c, d) || !zone(&c, offset))
		return false;
	/* More than 50 years ahead is the same two digits in the past (RFC 9110, 5.6.7). */
	gmtime_r(&now, &today);
	d->year += (today.tm_year + 1900) / 100 * 100;
	ahead = (struct date){today.tm_year + 1900 + 50, today.tm_mon, today.tm_mday, today.tm_hour,
	    today.tm_min, today.tm_sec};
	if (second_of(d) > second_of(&ahead))
		d->year -= 100;
	return c.p == c.end;
}

/* Sun Nov  6 08:49:37 1994 */
static bool
asctime_date(struct cursor c, struct date *d, int64_t *offset)
{
	*offset = 0;
	if (!weekday(&c, false) || !skip(&c, " ") || !month(&c, &d->month) || !skip(&c, " "))
		return false;
	(void)skip(&c, " ");
	return digits(&c, 1, 2, &d->day) && skip(&c, " ") && time_of_day(&c, d) && skip(&c, " ") &&
	       digits(&c, 4, 4, &d->year) && c.p == c.end;
}

#define WORD(a, b, c, d) \
	((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)

static inline uint32_t
word(const char *s)
{
	const unsigned char *u = (const unsigned char *)s;

	return WORD(u[0], u[1], u[2], u[3]);
}

static bool
own_weekday(uint32_t name)
{
	switch (name) {
	case WORD('S', 'u', 'n', ','):
	case WORD('M', 'o', 'n', ','):
	case WORD('T', 'u', 'e', ','):
	case WORD('W', 'e', 'd', ','):
	case WORD('T', 'h', 'u', ','):
	case WORD('F', 'r', 'i', ','):
	case WORD('S', 'a', 't', ','):
		return true;
	default:
		return false;
	}
}

/* -1: it is none. */
static int
own_month(uint32_t name)
{
	switch (name) {
	case WORD('J', 'a', 'n', ' '):
		return 0;
	case WORD('F', 'e', 'b', ' '):
		return 1;
	case WORD('M', 'a', 'r', ' '):
		return 2;
	case WORD('A', 'p', 'r', ' '):
		return 3;
	case WORD('M', 'a', 'y', ' '):
		return 4;
	case WORD('J', 'u', 'n', ' '):
		return 5;
	case WORD('J', 'u', 'l', ' '):
		return 6;
	case WORD('A', 'u', 'g', ' '):
		return 7;
	case WORD('S', 'e', 'p', ' '):
		return 8;
	case WORD('O', 'c', 't', ' '):
		return 9;
	case WORD('N', 'o', 'v', ' '):
		return 10;
	case WORD('D', 'e', 'c', ' '):
		return 11;
	default:
		return -1;
	}
}

/* Above 99 if they are no digits. */
static inline unsigned
two_digits(const char *s)
{
	const unsigned tens = (unsigned char)s[0] - (unsigned)'0';
	const unsigned ones = (unsigned char)s[1] - (unsigned)'0';

	return tens > 9 || ones > 9 ? 100 : tens * 10 + ones;
}

/*
 * What http_date_format() writes, to the letter, as nearly all clients send it back. The
 * forms above are taken apart piece by piece, at many times the cost.
 */
static inline bool
own_date(const char *s, size_t len, struct date *d)
{
	unsigned century, year, day, hour, minute, second;
	int month;

	if (len != HTTP_DATE_LEN || !own_weekday(word(s)) ||
	    word(s + 25) != WORD(' ', 'G', 'M', 'T') || s[4] != ' ' || s[7] != ' ' ||
	    s[16] != ' ' || s[19] != ':' || s[22] != ':')
		return false;
	month = own_month(word(s + 8));
	day = two_digits(s + 5);
	century = two_digits(s + 12);
	year = two_digits(s + 14);
	hour = two_digits(s + 17);
	minute = two_digits(s + 20);
	second = two_digits(s + 23);
	if (month < 0 || day > 99 || century > 99 || year > 99 || hour > 99 || minute > 99 ||
	    second > 99)
		return false;
	*d = (struct date){
	    (int)(century * 100 + year), month, (int)day, (int)hour, (int)minute, (int)second};
	return true;
}

/* Whether there is such a time; *second is it, offset seconds less. */
static inline bool
date_second(struct date d, int64_t offset, int64_t *second)
{
	int64_t t;

	/* 60 is a leap second. */
	if (d.day < 1 || d.day > month_len(&d) || d.hour > 23 || d.minute > 59 || d.second > 60)
		return false;
	if (d.second == 60)
		d.second = 59;
	t = second_of(&d) - offset;
	*second = t < 0 ? 0 : t > SECOND_MAX ? SECOND_MAX : t;
	return true;
}

/* Apart from its caller, which needs no stack without it. */
static NOINLINE bool
parse_other_date(const char *s, size_t len, int64_t *second)
{
	const struct cursor c = {s, s + len};
	int64_t offset = 0;
	struct date d;

	return (imf_fixdate(c, &d, &offset) || rfc850_date(c, &d, &offset) ||
		   asctime_date(c, &d, &offset)) &&
	       date_second(d, offset, second);
}

bool
http_date_parse(const char *s, size_t len, int64_t *second)
{
	struct date d;

	return own_date(s, len, &d) ? date_second(d, 0, second) : parse_other_date(s, len, second);
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

static size_t
count_digits(uint64_t n)
{
	for (size_t count = 1;; count += 4, n /= 10000) {
		if (n < 10)
			return count;
		if (n < 100)
			return count + 1;
		if (n < 1000)
			return count + 2;
		if (n < 10000)
			return count + 3;
	}
}

size_t
number_format(int64_t n, char *out)
{
	/* "00" to "99", one behind the other. */
	static const char pairs[] = "0001020304050607080910111213141516171819"
				    "2021222324252627282930313233343536373839"
				    "4041424344454647484950515253545556575859"
				    "6061626364656667686970717273747576777879"
				    "8081828384858687888990919293949596979899";
	uint64_t large = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
	size_t len, at;
	uint32_t left;

	if (large < 10 && n >= 0) {
		out[0] = (char)('0' + large);
		return 1;
	}
	at = len = count_digits(large) + (n < 0);
	out[0] = '-';
	/* Dividing is cheaper in 32 bits. */
	for (; large > UINT32_MAX; large /= 100) {
		at -= 2;
		memcpy(out + at, pairs + large % 100 * 2, 2);
	}
	for (left = (uint32_t)large; left >= 10; left /= 100) {
		at -= 2;
		memcpy(out + at, pairs + left % 100 * 2, 2);
	}
	if (at > (n < 0))
		out[at - 1] = (char)('0' + left);
	return len;
}

size_t
msgid_format(struct msgid id, char *out)
{
	size_t len = number_format(id.second, out);

	out[len++] = ':';
	return len + number_format(id.tag, out + len);
}
