/*
 * head.h - what the head of a request says: the result of both of its readers.
 *
 * request.c and fastrequest.c fill it in; everybody else asks request.h.
 */
#ifndef RELAY_HEAD_H
#define RELAY_HEAD_H

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum request_method {
	METHOD_GET,
	METHOD_PUT,
	METHOD_POST,
	METHOD_DELETE,
	METHOD_OPTIONS,
	METHOD_HEAD,
	METHOD_OTHER,
};

/* Headers that are looked up by number. */
enum request_header {
	HEADER_ACCEPT,
	HEADER_CONNECTION,
	HEADER_CONTENT_LENGTH,
	HEADER_CONTENT_TYPE,
	HEADER_EVENT_ID,
	HEADER_EVENT_TYPE,
	HEADER_EXPECT,
	HEADER_HOST,
	HEADER_IF_MODIFIED_SINCE,
	HEADER_IF_NONE_MATCH,
	HEADER_LAST_EVENT_ID,
	HEADER_ORIGIN,
	HEADER_TE,
	HEADER_TRANSFER_ENCODING,
	HEADER_UPGRADE,
	HEADER_USER_AGENT,
	HEADER_X_EVENTSOURCE_EVENT,
	HEADER_COUNT,
};

/* Bytes of a request, valid until the next request_feed() or request_reset(). */
struct slice {
	const char *p; /* NULL: absent */
	size_t len;
};

/* Offsets into the head, so that it can be moved. */
struct field {
	uint32_t name, value;
	uint32_t name_len, value_len;
};

struct head {
	const char *base; /* its first byte: the offsets are from here on */
	enum request_method method;
	uint32_t path, path_len, query, query_len;
	bool has_query, http10, keep_alive;
	int64_t content_length;       /* -1: not given */
	uint32_t seen;                /* bit h: header h is there */
	uint32_t twice;               /* bit h: header h came again */
	uint32_t known[HEADER_COUNT]; /* of those that are there: index of a field */
	struct field *fields;         /* as many as limits.header_size has room for */
	size_t n_fields, fields_cap;
};

/* 0, or -1 when out of memory. */
int head_init(struct head *h) MUST_CHECK;
void head_free(struct head *h);
/* Ready for the next one. */
void head_reset(struct head *h);

/* A header that is known by number; its name is in lower case. */
struct known_header {
	char name[24];
	uint32_t len;
	enum request_header header;
};

/* By length and first letter a name can only be one of these. */
#define HEAD_PLACES             64
#define HEAD_PLACE(len, letter) (((len)*22 + (letter)) % HEAD_PLACES)
extern const struct known_header head_known_headers[HEAD_PLACES];

static inline uint32_t
head_load32(const char *p)
{
	uint32_t word;

	memcpy(&word, p, sizeof(word));
	return word;
}

static inline uint64_t
head_load64(const char *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	return word;
}

/*
 * Whether a token of as many bytes as the name of k is that name. What the bit for lower
 * case makes a letter of is that letter; what it makes a '-' of is a '-', or a CR, which
 * is no part of a token.
 */
static inline bool
head_is(const char *token, const struct known_header *k)
{
	const uint64_t lower = UINT64_C(0x2020202020202020);
	const size_t len = k->len;
	const char *name = k->name;
	size_t i = 0;

	if (len < 4) {
		for (; i < len; i++)
			if ((token[i] | 0x20) != name[i])
				return false;
		return true;
	}
	/* By words, the last of which may begin in the one before. */
	if (len < 8)
		return (head_load32(token) | (uint32_t)lower) == head_load32(name) &&
		       (head_load32(token + len - 4) | (uint32_t)lower) ==
			   head_load32(name + len - 4);
	for (; i + 8 < len; i += 8)
		if ((head_load64(token + i) | lower) != head_load64(name + i))
			return false;
	return (head_load64(token + len - 8) | lower) == head_load64(name + len - 8);
}

/* Which header a name of len bytes, a token, stands for; HEADER_COUNT if it is none of them. */
static inline enum request_header
head_known(const char *name, size_t len)
{
	const struct known_header *k =
	    &head_known_headers[HEAD_PLACE(len, (unsigned char)name[0] | 0x20u)];

	return k->len == len && head_is(name, k) ? k->header : HEADER_COUNT;
}

/* Adds a field that is in h->fields already to those that are known by number. */
static inline void
head_index(struct head *h, enum request_header header, size_t field)
{
	const uint32_t bit = 1u << header;

	h->twice |= h->seen & bit;
	if (!(h->seen & bit))
		h->known[header] = (uint32_t)field;
	h->seen |= bit;
}

static inline bool
head_has(const struct head *h, enum request_header header)
{
	return (h->seen >> header & 1) != 0;
}

/* The first field of this name, or NULL. */
static inline const struct field *
head_field(const struct head *h, enum request_header header)
{
	return head_has(h, header) ? &h->fields[h->known[header]] : NULL;
}

#endif
