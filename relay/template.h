/*
 * template.h - what a message is wrapped in on its way to a subscriber.
 *
 * A template is text with tokens, in nginx-push-stream's notation: ~id~ ~channel~
 * ~text~ ~tag~ ~time~ ~size~ ~event-id~ ~event-type~. Anything else between tildes, and
 * a lone tilde, stays as it is. Values go in as they are: whether the result is JSON is
 * up to who writes the template and to who publishes.
 */
#ifndef RELAY_TEMPLATE_H
#define RELAY_TEMPLATE_H

#include "base/attr.h"
#include "base/text.h"
#include "store/message.h"

#include <stddef.h>
#include <stdint.h>

/* Most tokens of one template: each may be a copy of the whole message. */
#define TEMPLATE_TOKENS_MAX 64

/* What a message has. Borrowed; len is 0 where there is none. */
struct template_values {
	uint64_t number; /* ~id~: the message's in its channel */
	struct msgid id; /* ~tag~; and ~time~ as an IMF-fixdate */
	struct message_part channel;
	struct message_part text; /* ~text~; and ~size~, in bytes */
	struct message_part event_id, event_type;
};

struct template;

/*
 * Returns new (template_free), immutable. NULL with what is wrong, as "must ..." or
 * "has ...", in *problem, which is NULL when out of memory.
 */
struct template *template_new(const char *text, const char **problem) MUST_CHECK;
void template_free(struct template *t); /* NULL does nothing */

/* What it was made from. */
const char *template_source(const struct template *t);

/* Bytes that template_write() adds with these values. */
size_t template_length(const struct template *t, const struct template_values *values);
void template_write(
    const struct template *t, const struct template_values *values, struct text *out);

#endif
