/*
 * two_readers.h - a request as fastrequest.c reads it, beside request.c and http-parser.
 *
 * What comes in pieces is never read by the first, so the same bytes, cut behind the first
 * one, are read by the others.
 */
#ifndef FUZZ_TWO_READERS_H
#define FUZZ_TWO_READERS_H

#include "relay/fastrequest.h"
#include "relay/head.h"
#include "relay/request.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Whether the fast reader takes it: 0, or the length of the head. */
static inline size_t
taken_at_once(const char *bytes, size_t len, const struct request_limits *limits)
{
	struct head head;
	size_t taken;

	if (head_init(&head) < 0)
		abort();
	taken = fastrequest_read(&head, bytes, len, limits);
	head_free(&head);
	return taken;
}

static inline bool
same_bytes(struct slice a, struct slice b)
{
	if (a.p == NULL || b.p == NULL)
		return a.p == b.p;
	return a.len == b.len && memcmp(a.p, b.p, a.len) == 0;
}

/* What two requests, whose heads are there, differ in; NULL: in nothing. */
static inline const char *
heads_differ(const struct request *a, const struct request *b)
{
	struct slice name, value, other_name, other_value;
	struct connection_cursor cursor = {0, 0}, other_cursor = {0, 0};
	bool more, other_more;

	if (request_method(a) != request_method(b))
		return "method";
	if (request_http10(a) != request_http10(b))
		return "version";
	if (request_keep_alive(a) != request_keep_alive(b))
		return "keep-alive";
	if (!same_bytes(request_path(a), request_path(b)))
		return "path";
	if (!same_bytes(request_query(a), request_query(b)))
		return "query";
	for (size_t i = 0;; i++) {
		more = request_header_at(a, i, &name, &value);
		other_more = request_header_at(b, i, &other_name, &other_value);
		if (more != other_more)
			return "number of headers";
		if (!more)
			break;
		if (!same_bytes(name, other_name))
			return "a header's name";
		if (!same_bytes(value, other_value))
			return "a header's value";
	}
	for (unsigned h = 0; h < HEADER_COUNT; h++) {
		if (!same_bytes(request_header(a, h), request_header(b, h)))
			return "a header by number";
		if (request_header_twice(a, h) != request_header_twice(b, h))
			return "a header that came twice";
	}
	do {
		more = request_next_option(a, &cursor, &value);
		other_more = request_next_option(b, &other_cursor, &other_value);
		if (more != other_more || (more && !same_bytes(value, other_value)))
			return "the options of Connection";
	} while (more);
	if (request_has_body(a) != request_has_body(b))
		return "whether a body follows";
	if (request_content_length(a) != request_content_length(b))
		return "Content-Length";
	if (request_expects_continue(a) != request_expects_continue(b))
		return "Expect";
	return NULL;
}

/*
 * Reads bytes that the fast reader takes, with a head of head_len, both ways, and their body
 * as well. NULL, or what the two differ in.
 */
static inline const char *
readers_differ(const char *bytes, size_t len, size_t head_len, const struct request_limits *limits)
{
	struct request *whole = request_new(limits), *pieces = request_new(limits);
	char *data = malloc(len), *copy = malloc(len);
	const char *differ;
	size_t used, at;

	if (whole == NULL || pieces == NULL || data == NULL || copy == NULL)
		abort();
	memcpy(data, bytes, len);
	memcpy(copy, bytes, len);
	differ = "the head's end, or whether there is one";
	if (request_feed(whole, data, len, &used) != REQUEST_HEAD || used != head_len ||
	    request_feed(pieces, copy, 1, &used) != REQUEST_MORE || used != 1 ||
	    request_keep(pieces) < 0 ||
	    request_feed(pieces, copy + 1, len - 1, &used) != REQUEST_HEAD || used != head_len - 1)
		goto out;
	differ = heads_differ(whole, pieces);
	if (differ != NULL)
		goto out;
	request_expect_body(whole, true, len);
	request_expect_body(pieces, true, len);
	differ = "the body";
	if (request_feed(whole, data + head_len, len - head_len, &used) != REQUEST_COMPLETE ||
	    request_feed(pieces, copy + head_len, len - head_len, &at) != REQUEST_COMPLETE ||
	    used != at || !same_bytes(request_body(whole), request_body(pieces)))
		goto out;
	differ = heads_differ(whole, pieces);
out:
	request_free(whole);
	request_free(pieces);
	free(data);
	free(copy);
	return differ;
}

#endif
