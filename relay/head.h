/*
 * head.h - what the head of a request says: the result of both of its readers.
 *
 * request.c and fastrequest.c fill it in, request.h shows it to everybody else.
 */
#ifndef RELAY_HEAD_H
#define RELAY_HEAD_H

#include "relay/request.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Offsets into the head, so that it can be moved. */
struct field {
	uint32_t name, value;
	uint32_t name_len, value_len;
};

struct head {
	enum request_method method;
	uint32_t path, path_len, query, query_len;
	bool has_query, http10, keep_alive;
	int64_t content_length;       /* -1: not given */
	uint32_t known[HEADER_COUNT]; /* index of a field + 1; 0: absent */
	uint32_t twice;               /* bit h: header h came again */
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

/* Whether a token of as many bytes as k's name is that name. */
bool head_is(const char *token, const struct known_header *k);

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
	if (h->known[header] != 0)
		h->twice |= 1u << header;
	else
		h->known[header] = (uint32_t)(field + 1);
}

#endif
