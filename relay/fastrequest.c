#include "relay/fastrequest.h"

#include "base/scan.h"
#include "relay/head.h"
#include "relay/request.h"

#include <string.h>
#include <strings.h>

/* What changes how a request is framed or answered, or is no request's business. */
#define NOT_ORDINARY (1u << HEADER_EXPECT | 1u << HEADER_TRANSFER_ENCODING | 1u << HEADER_UPGRADE)

/* Longer bodies than any limit have more digits than this, and no number overflows. */
#define LENGTH_DIGITS_MAX 18

/* The rest of the request line, behind the method and its blank; NULL: not ordinary. */
static const char *
read_target(struct head *h, const char *data, const char *p, const char *end, size_t target_max)
{
	static const char version[] = " HTTP/1.1\r\n";
	const size_t version_len = sizeof(version) - 1;
	const char *target = p;

	if (*p != '/')
		return NULL;
	p = scan_target(p, end, '?');
	h->path = (uint32_t)(target - data);
	h->path_len = (uint32_t)(p - target);
	h->has_query = p < end && *p == '?';
	if (h->has_query) {
		const char *query = p + 1;

		p = scan_target(query, end, '#');
		h->query = (uint32_t)(query - data);
		h->query_len = (uint32_t)(p - query);
	}
	if ((size_t)(p - target) > target_max || (size_t)(end - p) < version_len ||
	    memcmp(p, version, version_len) != 0)
		return NULL;
	return p + version_len;
}

/* The headers, up to the empty line behind them; NULL: not ordinary. */
static const char *
read_fields(struct head *h, const char *data, const char *p, const char *end)
{
	struct field *f = h->fields, *const fields_end = f + h->fields_cap;
	const char *name_end, *value, *value_end, *next;
	uint32_t seen = 0, twice = 0;
	enum request_header known;

	for (; (name_end = scan_name(p, end)) > p; p = next, f++) {
		if (name_end == end || *name_end != ':' || f == fields_end)
			return NULL;
		value = name_end + 1;
		while (value < end && *value == ' ')
			value++;
		value_end = scan_value(value, end);
		if (end - value_end < 2 || memcmp(value_end, "\r\n", 2) != 0)
			return NULL;
		f->name = (uint32_t)(p - data);
		f->name_len = (uint32_t)(name_end - p);
		f->value = (uint32_t)(value - data);
		next = value_end + 2;
		while (value_end > value && value_end[-1] == ' ')
			value_end--;
		f->value_len = (uint32_t)(value_end - value);
		known = head_known(p, (size_t)(name_end - p));
		if (known != HEADER_COUNT) {
			twice |= seen & 1u << known;
			seen |= 1u << known;
			h->known[known] = (uint32_t)(f - h->fields);
		}
	}
	if (twice != 0 || (seen & NOT_ORDINARY) != 0)
		return NULL;
	h->n_fields = (size_t)(f - h->fields);
	h->seen = seen;
	return p;
}

static bool
read_connection(struct head *h, const char *data)
{
	const struct field *f = head_field(h, HEADER_CONNECTION);

	h->keep_alive = true;
	if (f == NULL ||
	    (f->value_len == 10 && strncasecmp(data + f->value, "keep-alive", 10) == 0))
		return true;
	h->keep_alive = false;
	return f->value_len == 5 && strncasecmp(data + f->value, "close", 5) == 0;
}

/* Whether the body, if there is to be one, lies in the room bytes behind the head. */
static bool
read_length(struct head *h, const char *data, size_t room)
{
	const struct field *f = head_field(h, HEADER_CONTENT_LENGTH);
	int64_t n = 0;

	if (h->method == METHOD_GET)
		return f == NULL;
	if (f == NULL || f->value_len == 0 || f->value_len > LENGTH_DIGITS_MAX)
		return false;
	for (const char *p = data + f->value; p < data + f->value + f->value_len; p++) {
		if (*p < '0' || *p > '9')
			return false;
		n = n * 10 + (*p - '0');
	}
	h->content_length = n;
	return (uint64_t)n <= room;
}

size_t
fastrequest_read(struct head *h, const char *data, size_t len, const struct request_limits *limits)
{
	const char *end = data + len, *p, *fields;

	/* The shortest has 25: "GET / HTTP/1.1", "Host:" and the ends of three lines. */
	if (len < SCAN_MIN)
		return 0;
	if (memcmp(data, "GET ", 4) == 0) {
		h->method = METHOD_GET;
		p = data + 4;
	} else if (memcmp(data, "POST ", 5) == 0) {
		h->method = METHOD_POST;
		p = data + 5;
	} else {
		return 0;
	}
	fields = read_target(h, data, p, end, limits->target_size);
	if (fields == NULL)
		return 0;
	h->http10 = false;
	p = read_fields(h, data, fields, end);
	if (p == NULL || end - p < 2 || memcmp(p, "\r\n", 2) != 0)
		goto other;
	p += 2;
	if ((size_t)(p - fields) > (size_t)limits->header_size + 2 || !head_has(h, HEADER_HOST) ||
	    !read_connection(h, data) || !read_length(h, data, (size_t)(end - p)))
		goto other;
	return (size_t)(p - data);

other:
	head_reset(h);
	return 0;
}
