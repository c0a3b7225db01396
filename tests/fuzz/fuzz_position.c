/*
 * Dates, tags and ids as a client sends them: relay/position.c.
 *
 * Promises: a date is taken exactly if it has one of the forms of PROTOCOL, section 2, and
 * means what the calendar below says; a tag and an id likewise; and what was taken can be
 * written and is then read as the same, for that is what a client does with it.
 */
#include "fuzz.h"

#include "relay/position.h"

#include <stdbool.h>
#include <strings.h>
#include <time.h>

/* 9999-12-31 23:59:59: behind it a date has no four digits for its year. */
#define LAST_SECOND 253402300799

static const char *const month_names[] = {
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"};
static const char *const day_names[] = {
    "sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"};

/*
 * Reads text by a pattern: in it, D is a whole weekday, d its first three letters, M a
 * month, 1 one digit or two, 2 and 4 that many digits, ~ a space that may be missing; all
 * else stands for itself. Months and numbers go to out in their order.
 */
struct fields {
	int n;
	int64_t value[8];
};

static bool
match(const char *pattern, const char *s, size_t len, struct fields *out)
{
	size_t at = 0;

	out->n = 0;
	for (const char *p = pattern; *p != '\0'; p++) {
		bool found = false;

		if (*p == 'D' || *p == 'd' || *p == 'M') {
			for (int i = 0; !found && i < (*p == 'M' ? 12 : 7); i++) {
				const char *name = *p == 'M' ? month_names[i] : day_names[i];
				size_t n = *p == 'D' ? strlen(name) : 3;

				if (len - at >= n && strncasecmp(s + at, name, n) == 0) {
					found = true;
					at += n;
					if (*p == 'M')
						out->value[out->n++] = i;
				}
			}
			if (!found)
				return false;
		} else if (*p >= '1' && *p <= '4') {
			size_t least = (size_t)(*p - '0'), most = *p == '1' ? 2 : least, n = 0;
			int64_t value = 0;

			while (n < most && at < len && s[at] >= '0' && s[at] <= '9') {
				value = value * 10 + (s[at++] - '0');
				n++;
			}
			if (n < least)
				return false;
			out->value[out->n++] = value;
		} else if (*p == '~') {
			at += at < len && s[at] == ' ';
		} else if (at == len || s[at++] != *p) {
			return false;
		}
	}
	return at == len;
}

/* Days since 1970, by counting years and months. */
static int64_t
days_before(int64_t year, int64_t month)
{
	static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int64_t days = (year - 1970) * 365;

	/* Leap days of the years before this one, less those before 1970. */
	days += (year + 3) / 4 - (year + 99) / 100 + (year + 399) / 400 -
		(1973 / 4 - 2069 / 100 + 2369 / 400);
	for (int m = 0; m < month; m++)
		days +=
		    lengths[m] + (m == 1 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
	return days;
}

static int64_t
seconds(int64_t year, int64_t month, int64_t day, int64_t hour, int64_t minute, int64_t second)
{
	return (days_before(year, month) + day - 1) * 86400 + hour * 3600 + minute * 60 + second;
}

static bool
strict_date(const char *s, size_t len, int64_t *second)
{
	static const struct {
		const char *pattern;
		/* places of day, month, year, hour, minute, second */
		int at[6];
		bool short_year, zoned;
	} forms[] = {
	    {"d, 1 M 4 2:2:2", {0, 1, 2, 3, 4, 5}, false, true},
	    {"D, 1-M-2 2:2:2", {0, 1, 2, 3, 4, 5}, true, true},
	    {"d M ~1 2:2:2 4", {1, 0, 5, 2, 3, 4}, false, false},
	};

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		int64_t day, month, year, hour, minute, sec, offset = 0;
		struct fields f, zone;
		size_t body = len;

		if (forms[i].zoned && len >= 4 &&
		    (memcmp(s + len - 4, " GMT", 4) == 0 || memcmp(s + len - 4, " UTC", 4) == 0)) {
			body = len - 4;
		} else if (forms[i].zoned) {
			if (len < 6)
				continue;
			body = len - 6;
			if (match(" +22", s + body, 6, &zone))
				offset = 1;
			else if (match(" -22", s + body, 6, &zone))
				offset = -1;
			else
				continue;
			if (zone.value[0] > 23 || zone.value[1] > 59)
				continue;
			offset *= zone.value[0] * 3600 + zone.value[1] * 60;
		}
		if (!match(forms[i].pattern, s, body, &f))
			continue;
		day = f.value[forms[i].at[0]];
		month = f.value[forms[i].at[1]];
		year = f.value[forms[i].at[2]];
		hour = f.value[forms[i].at[3]];
		minute = f.value[forms[i].at[4]];
		sec = f.value[forms[i].at[5]];
		if (forms[i].short_year) {
			time_t now = time(NULL);
			struct tm today;

			/* 50 years and a second ahead is the past (RFC 9110, 5.6.7). */
			gmtime_r(&now, &today);
			year += (today.tm_year + 1900) / 100 * 100;
			if (seconds(year, month, day, hour, minute, sec) >
			    seconds(today.tm_year + 1900 + 50, today.tm_mon, today.tm_mday,
				today.tm_hour, today.tm_min, today.tm_sec))
				year -= 100;
		}
		if (day < 1 || day > days_before(year + (month == 11), (month + 1) % 12) -
					 days_before(year, month))
			return false;
		if (hour > 23 || minute > 59 || sec > 60)
			return false;
		if (sec == 60)
			sec = 59;
		*second = seconds(year, month, day, hour, minute, sec) - offset;
		if (*second < 0)
			*second = 0;
		if (*second > LAST_SECOND)
			*second = LAST_SECOND;
		return true;
	}
	return false;
}

static bool
strict_number(const char *s, size_t len, int64_t *n)
{
	*n = 0;
	for (size_t i = 0; i < len; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		/* What 18 digits hold; more are refused, whatever they are. */
		if (i == 18)
			return false;
		*n = *n * 10 + (s[i] - '0');
	}
	return len > 0;
}

static bool
strict_tag(const char *s, size_t len, int64_t *tag)
{
	bool weak = len >= 2 && s[0] == 'W' && s[1] == '/';

	if (weak) {
		s += 2;
		len -= 2;
	}
	if (len >= 2 && s[0] == '"' && s[len - 1] == '"') {
		s++;
		len -= 2;
		if (len > 5 && memcmp(s + len - 5, "-gzip", 5) == 0)
			len -= 5;
	} else if (weak) {
		return false;
	}
	return strict_number(s, len, tag);
}

/* Of every second there may be a date is written that is a date, and the same one. */
static void
check_writing(int64_t second, const char *what)
{
	char text[HTTP_DATE_LEN + 1] = "";
	int64_t again = -1;

	http_date_format(second, text);
	PROMISE(http_date_parse(text, HTTP_DATE_LEN, &again) && again == second,
	    "%s: second %lld is written \"%s\", which is read as %lld", what, (long long)second,
	    text, (long long)again);
}

static void
check_number(int64_t n)
{
	char text[NUMBER_TEXT_MAX + 8], right[NUMBER_TEXT_MAX + 8];
	int right_len = snprintf(right, sizeof(right), "%lld", (long long)n);
	size_t len = number_format(n, text);

	PROMISE(len == (size_t)right_len && memcmp(text, right, len) == 0, "%s is written \"%.*s\"",
	    right, (int)len, text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int64_t n, strict_n, second, strict_second;
	struct msgid id;
	const char *colon;
	char *s;
	bool ok;

	if (size > 256)
		return 0;
	s = fuzz_copy(data, size);

	ok = http_date_parse(s, size, &second);
	PROMISE(ok == strict_date(s, size, &strict_second), "date \"%.*s\": %s", (int)size, s,
	    ok ? "taken" : "refused");
	if (ok) {
		PROMISE(second == strict_second, "date \"%.*s\" is %lld, not %lld", (int)size, s,
		    (long long)strict_second, (long long)second);
		check_writing(second, "date");
	}

	ok = etag_parse(s, size, &n);
	PROMISE(ok == strict_tag(s, size, &strict_n), "tag '%.*s': %s", (int)size, s,
	    ok ? "taken" : "refused");
	PROMISE(!ok || n == strict_n, "tag '%.*s'", (int)size, s);

	ok = msgid_parse(s, size, &id);
	colon = memchr(s, ':', size);
	PROMISE(ok == (colon != NULL && strict_number(s, (size_t)(colon - s), &strict_second) &&
			  strict_second <= LAST_SECOND &&
			  strict_number(colon + 1, size - (size_t)(colon - s) - 1, &strict_n)),
	    "id \"%.*s\": %s", (int)size, s, ok ? "taken" : "refused");
	if (ok) {
		char text[MSGID_TEXT_MAX];
		struct msgid again;
		size_t len = msgid_format(id, text);

		PROMISE(
		    id.second == strict_second && id.tag == strict_n, "id \"%.*s\"", (int)size, s);
		PROMISE(len <= MSGID_TEXT_MAX && msgid_parse(text, len, &again) &&
			    msgid_cmp(id, again) == 0,
		    "id \"%.*s\" is written \"%.*s\"", (int)size, s, (int)len, text);
		/* A request's position is repeated in the answer to a time-out. */
		check_writing(id.second, "id");
	}

	if (size >= sizeof(n)) {
		memcpy(&n, s, sizeof(n));
		check_number(n);
	}
	free(s);
	return 0;
}
