/*
 * multipart.h - multipart/mixed (RFC 2046, 5.1.3): a stream of parts, or a poll's batch.
 */
#ifndef RELAY_MULTIPART_H
#define RELAY_MULTIPART_H

#include "base/text.h"

#include <stddef.h>

struct message;
struct payload;
struct render_variant;

/*
 * 128 random bits, of one response alone: who knows it is who reads that, so that nobody
 * can publish a message that another's client would take for several parts.
 */
#define BOUNDARY_LEN 32
void multipart_make_boundary(char boundary[BOUNDARY_LEN]);

/* "--" and the boundary */
void multipart_add_boundary(struct text *t, const char boundary[BOUNDARY_LEN]);
/* A part's headers with the empty line behind them, at most this long. */
size_t multipart_headers_room(const struct message *msg, const struct render_variant *variant);
void multipart_add_headers(struct text *t, const struct message *msg, const struct payload *payload,
    const struct render_variant *variant);

#endif
