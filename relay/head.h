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

/* Which header a name of len bytes, a token, stands for; HEADER_COUNT if it is none of them. */
enum request_header head_known(const char *name, size_t len);

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
