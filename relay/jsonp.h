/*
 * jsonp.h - polls for a script element: callback({"id": …, "messages": […]});
 *
 * A script element shows neither a status nor headers, so that the position is in the
 * answer, and a time-out is an answer without messages.
 */
#ifndef RELAY_JSONP_H
#define RELAY_JSONP_H

#include <stddef.h>

struct subscriber;

#define JSONP_TYPE         "application/javascript; charset=utf-8"
#define JSONP_CALLBACK_MAX 128
#define JSONP_NOTHING_MAX  256

/* The answer of a poll for which nothing has come; returns its length. */
size_t jsonp_nothing(const struct subscriber *sub, char body[JSONP_NOTHING_MAX]);

#endif
