/*
 * json.h - messages as JSON (RFC 8259), for batches and JSONP.
 */
#ifndef RELAY_JSON_H
#define RELAY_JSON_H

#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>

struct message;

/* The longest that len bytes can become as a string: each "\u001f", and the quotes. */
#define JSON_ROOM(len) (6 * (len) + 2)

/*
 * A string. What is not UTF-8 becomes U+FFFD, one for each byte; '<' is escaped too, and
 * U+2028 and U+2029, so that the result may stand in a script; and what YAML does not
 * print, so that it may stand there.
 */
void json_string(struct text *t, const char *p, size_t len);

/*
 * {"id": "SECOND:TAG", "channel": "…", "content_type": "…", "text": "…"}: channel where
 * asked for, percent-encoded; content_type where the publisher gave one.
 */
size_t json_message_room(const struct message *msg, size_t len);
void json_message(
    struct text *t, const struct message *msg, const char *body, size_t len, bool say_channel);

#endif
