/*
 * fastrequest.h - the ordinary request, read in one go.
 *
 * It takes a whole GET without a body, or POST with its whole body, of HTTP/1.1, with one
 * Host and not one byte that is out of the ordinary, and what it takes means what request.c
 * and http-parser find in it: tests/unit/test_fastrequest.c and the fuzz target `fastpath`
 * hold the two together. It refuses nothing: what it does not take is read by them, from
 * the first byte on.
 */
#ifndef RELAY_FASTREQUEST_H
#define RELAY_FASTREQUEST_H

#include "base/attr.h"

#include <stddef.h>

struct head;
struct request_limits;

/*
 * Reads a request at the beginning of len bytes of data into h, which is as head_reset()
 * leaves it. Returns the length of its head, behind which lies its body; or 0, and h as it
 * was: it is not for here.
 */
size_t fastrequest_read(
    struct head *h, const char *data, size_t len, const struct request_limits *limits) MUST_CHECK;

#endif
