/*
 * Accept: info_negotiate() of relay/info.c, and what info_write() makes of the answer.
 *
 * Promises: the choice is the one that the reading of RFC 9110, 12.5.1, below makes, which
 * first cuts the whole header into a list; it does not depend on the case of letters; and
 * every format's text fits in its room, for any numbers.
 */
#include "fuzz.h"

#include "relay/info.h"

#include <ctype.h>
#include <stdbool.h>
#include <strings.h>

static const struct {
	enum info_format format;
	const char *range; /* "application/json"; its type alone and "*" are made of it */
} offers[] = {
    {INFO_PLAIN, "text/plain"},
    {INFO_JSON, "application/json"},
    {INFO_JSON, "text/json"},
    {INFO_XML, "application/xml"},
    {INFO_XML, "text/xml"},
    {INFO_YAML, "application/yaml"},
    {INFO_YAML, "application/x-yaml"},
    {INFO_YAML, "text/yaml"},
    {INFO_YAML, "text/x-yaml"},
};

#define RANGES_MAX 600

struct range {
	char name[32]; /* lower case; too long ones match nothing */
	int q;
};

static size_t
trim(const char **s, size_t len)
{
	while (len > 0 && (**s == ' ' || **s == '\t')) {
		(*s)++;
		len--;
	}
	while (len > 0 && ((*s)[len - 1] == ' ' || (*s)[len - 1] == '\t'))
		len--;
	return len;
}

/* "0.5" in thousandths; what begins with neither 0 nor 1 is no weight and counts as 1. */
static int
weight(const char *s, size_t len)
{
	char digits[8] = "0000";
	size_t n = 1;

	if (len == 0 || (s[0] != '0' && s[0] != '1'))
		return 1000;
	digits[0] = s[0];
	if (len > 1 && s[1] == '.')
		for (; n < 4 && n + 1 < len && isdigit((unsigned char)s[n + 1]); n++)
			digits[n] = s[n + 1];
	return atoi(digits) > 1000 ? 1000 : atoi(digits);
}

/* One element of the list. */
static struct range
read_range(const char *s, size_t len)
{
	struct range r = {"", 1000};
	bool first = true;

	for (size_t from = 0, i = 0; i <= len; i++) {
		const char *part = s + from;
		size_t n;

		if (i < len && s[i] != ';')
			continue;
		n = i - from;
		from = i + 1;
		if (first) {
			n = trim(&part, n);
			for (size_t c = 0; n < sizeof(r.name) && c < n; c++)
				r.name[c] = (char)tolower((unsigned char)part[c]);
			if (n < sizeof(r.name) && strlen(r.name) < n)
				r.name[0] = '\0'; /* a NUL is part of no name */
			first = false;
			continue;
		}
		while (n > 0 && (*part == ' ' || *part == '\t')) {
			part++;
			n--;
		}
		if (n >= 2 && (part[0] == 'q' || part[0] == 'Q') && part[1] == '=')
			r.q = weight(part + 2, n - 2);
	}
	return r;
}

/* 3 the very type, 2 the type with any subtype, 1 all, 0 none. */
static int
fits(const struct range *r, const char *offer)
{
	char any[32];

	if (strcmp(r->name, offer) == 0)
		return 3;
	snprintf(any, sizeof(any), "%.*s/*", (int)(strchr(offer, '/') - offer), offer);
	return strcmp(r->name, any) == 0 ? 2 : strcmp(r->name, "*/*") == 0;
}

/* The type that each format is answered with. */
static bool
is_own(size_t offer)
{
	return offer == 0 || offers[offer].format != offers[offer - 1].format;
}

static enum info_format
choose(const char *s, size_t len, enum info_format usual)
{
	static struct range ranges[RANGES_MAX];
	size_t n = 0, from = 0, best_at = 0;
	enum info_format best = usual;
	int best_q = 0, best_fit = 0;

	for (size_t i = 0; i <= len; i++)
		if (i == len || s[i] == ',') {
			ranges[n++] = read_range(s + from, i - from);
			from = i + 1;
		}
	for (size_t o = 0; o < sizeof(offers) / sizeof(offers[0]); o++) {
		int fit = 0;
		size_t at = 0;

		for (size_t i = 0; i < n; i++)
			if (fits(&ranges[i], offers[o].range) > fit) {
				fit = fits(&ranges[i], offers[o].range);
				at = i;
			}
		if (fit == 0 || ranges[at].q == 0)
			continue;
		/* The weight, then who named it best, then who named it first, then what is
		 * usual, then our order. */
		if (ranges[at].q > best_q || (ranges[at].q == best_q && fit > best_fit) ||
		    (ranges[at].q == best_q && fit == best_fit && at < best_at) ||
		    (ranges[at].q == best_q && fit == best_fit && at == best_at &&
			offers[o].format == usual && is_own(o))) {
			best = offers[o].format;
			best_q = ranges[at].q;
			best_fit = fit;
			best_at = at;
		}
	}
	return best;
}

static void
check_choice(const char *s, size_t size, enum info_format usual)
{
	const enum info_format found = info_negotiate(s, size, usual);
	const enum info_format strict = choose(s, size, usual);
	char *upper;

	PROMISE(found == strict, "\"%.*s\" is format %d, not %d", (int)size, s, strict, found);
	PROMISE(info_content_type(found) != NULL, "format %d", found);
	upper = fuzz_copy((const uint8_t *)s, size);
	for (size_t i = 0; i < size; i++)
		upper[i] = (char)toupper((unsigned char)s[i]);
	PROMISE(info_negotiate(upper, size, usual) == found,
	    "another case, another format: \"%.*s\"", (int)size, s);
	free(upper);
}

static void
check_writing(const uint8_t *data, size_t size)
{
	struct store_info info = {.messages = 0};
	uint8_t bytes[sizeof(info)] = {0};
	char buf[INFO_TEXT_MAX];

	memcpy(bytes, data, size < sizeof(bytes) ? size : sizeof(bytes));
	memcpy(&info.messages, bytes, 8);
	memcpy(&info.subscribers, bytes + 8, 8);
	memcpy(&info.requested_s, bytes + 16, 8);
	memcpy(&info.last.second, bytes + 24, 8);
	memcpy(&info.last.tag, bytes + 32, 8);
	info.has_last = bytes[0] & 1;
	for (int f = INFO_PLAIN; f <= INFO_YAML; f++) {
		struct text t = text_in(buf, sizeof(buf));

		info_write(&t, (enum info_format)f, &info);
		PROMISE(text_ok(&t) && text_len(&t) > 0, "format %d is too long", f);
		PROMISE(memchr(buf, '\0', text_len(&t)) == NULL, "format %d has a NUL", f);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *s;

	if (size >= RANGES_MAX)
		return 0;
	s = fuzz_copy(data, size);
	for (int f = INFO_PLAIN; f <= INFO_YAML; f++)
		check_choice(s, size, (enum info_format)f);
	check_writing(data, size);
	free(s);
	return 0;
}
