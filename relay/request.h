/*
 * request.h - one HTTP request: bytes in, what they ask for out. No sockets.
 *
 * The only module that knows http-parser. A head is collected until it is complete,
 * within limits, checked line by line for what http-parser lets pass (it is built
 * lenient in Debian), and only then parsed, so that nothing is decided on a piece of a
 * header. The ordinary request, whole, is read by fastrequest.c instead.
 * docs/architecture.md, "How a request is refused".
 */
#ifndef RELAY_REQUEST_H
#define RELAY_REQUEST_H

#include "base/attr.h"
#include "relay/head.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct request;

enum request_event {
	REQUEST_MORE,     /* the request goes on; bytes that are left are to be fed again */
	REQUEST_HEAD,     /* the head is there: decide on the body, feed on (even nothing) */
	REQUEST_COMPLETE, /* the whole request is there */
	REQUEST_ERROR,    /* refuse with request_error() and close */
};

struct request_limits {
	uint32_t target_size;
	uint32_t header_size;
};

/* Lifts http-parser's own limit of a head, below ours. Call once, before the first thread. */
void request_global_init(void);

/* Returns new, or NULL when out of memory. limits are borrowed as long as it lives. */
struct request *request_new(const struct request_limits *limits);
void request_free(struct request *req);
/* Ready for the next one. */
void request_reset(struct request *req);

/*
 * Takes bytes; *used tells how many. data is written to (blanks only) and must stay
 * until the request is dealt with or request_keep() was called.
 */
enum request_event request_feed(struct request *req, char *data, size_t len, size_t *used);

/*
 * Copies the head if it still lies in data, which is about to be used again. A body that
 * is complete is not copied: it is to be used at once. -1: out of memory.
 */
int request_keep(struct request *req) MUST_CHECK;

/* Nothing but empty lines has come so far. */
bool request_is_empty(const struct request *req);
/* The head is complete, the body is on its way. */
bool request_in_body(const struct request *req);

/* After REQUEST_ERROR: the status, and why in a few words. */
unsigned request_error(const struct request *req, const char **why);

/*
 * After REQUEST_HEAD. A request begins with its head, so that what is asked for a dozen
 * times a request costs no calls.
 */
static inline const struct head *
request_head(const struct request *req)
{
	return (const struct head *)(const void *)req;
}

static inline enum request_method
request_method(const struct request *req)
{
	return request_head(req)->method;
}

static inline bool
request_http10(const struct request *req)
{
	return request_head(req)->http10;
}

static inline bool
request_keep_alive(const struct request *req)
{
	return request_head(req)->keep_alive;
}

/* The target's path, without scheme and authority, as it came. */
static inline struct slice
request_path(const struct request *req)
{
	const struct head *h = request_head(req);

	/* "http://host" asks for "/" (RFC 9112, 3.2.2). */
	if (h->path_len == 0)
		return (struct slice){"/", 1};
	return (struct slice){h->base + h->path, h->path_len};
}

/* p is NULL where there is none. */
static inline struct slice
request_query(const struct request *req)
{
	const struct head *h = request_head(req);

	if (!h->has_query)
		return (struct slice){NULL, 0};
	return (struct slice){h->base + h->query, h->query_len};
}

/* Blanks around a value are cut off. p is NULL where the header is absent. */
static inline struct slice
request_header(const struct request *req, enum request_header header)
{
	const struct head *h = request_head(req);
	const struct field *f = head_field(h, header);

	if (f == NULL)
		return (struct slice){NULL, 0};
	return (struct slice){h->base + f->value, f->value_len};
}

/* The header came more than once. */
static inline bool
request_header_twice(const struct request *req, enum request_header header)
{
	return (request_head(req)->twice & 1u << header) != 0;
}

/* All headers in their order; false at the end. */
static inline bool
request_header_at(const struct request *req, size_t i, struct slice *name, struct slice *value)
{
	const struct head *h = request_head(req);
	const struct field *f;

	if (i >= h->n_fields)
		return false;
	f = &h->fields[i];
	*name = (struct slice){h->base + f->name, f->name_len};
	*value = (struct slice){h->base + f->value, f->value_len};
	return true;
}

/* The value of a query parameter as it came, percent-encoded; p is NULL where it is absent. */
struct slice request_query_value(const struct request *req, const char *name);

/*
 * The options in Connection headers (RFC 9110, 7.6.1), one after another from a cursor of
 * zeros on, without blanks around them. False at the end.
 */
struct connection_cursor {
	size_t field, at;
};
bool request_next_option(
    const struct request *req, struct connection_cursor *cursor, struct slice *option);

/* The length of the body, where Content-Length says it, else -1. */
static inline int64_t
request_content_length(const struct request *req)
{
	return request_head(req)->content_length;
}

/* A body follows. */
static inline bool
request_has_body(const struct request *req)
{
	return request_content_length(req) > 0 ||
	       head_has(request_head(req), HEADER_TRANSFER_ENCODING);
}

static inline bool
request_expects_continue(const struct request *req)
{
	return !request_http10(req) && head_has(request_head(req), HEADER_EXPECT);
}

/*
 * What to do with the body, at REQUEST_HEAD: keep it, or read and drop it; more than
 * max bytes are a 413.
 */
void request_expect_body(struct request *req, bool keep, uint64_t max);
/* After REQUEST_COMPLETE: the body, where it was kept. */
struct slice request_body(const struct request *req);

#endif
