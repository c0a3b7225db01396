/*
 * message.h - an immutable counted message, message ids and their order, channel ids.
 */
#ifndef STORE_MESSAGE_H
#define STORE_MESSAGE_H

#include "base/attr.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A message id, and a position: the id after which a subscriber wants to read.
 * Ids increase strictly over a whole store (PROTOCOL, section 2). The tag -1 stands
 * before all messages of its second.
 */
struct msgid {
	int64_t second; /* of Last-Modified: seconds since 1970, UTC */
	int64_t tag;    /* of Etag: decides within one second */
};

static inline int
msgid_cmp(struct msgid a, struct msgid b)
{
	if (a.second != b.second)
		return a.second < b.second ? -1 : 1;
	return a.tag < b.tag ? -1 : a.tag > b.tag;
}

/* A channel id as it came: opaque bytes with their hash (table_hash()). Borrowed. */
struct channel_key {
	uint64_t hash;
	const unsigned char *bytes;
	size_t len;
};

struct channel_key channel_key(const void *bytes, size_t len);

/* A channel id that is kept: immutable, counted, for all threads. */
struct channel_id {
	atomic_uint refs;
	struct channel_key key; /* into bytes */
	unsigned char bytes[];
};

/* Returns new with a count of one, or NULL when out of memory. */
struct channel_id *channel_id_new(const struct channel_key *key);
struct channel_id *channel_id_ref(struct channel_id *id);
void channel_id_unref(struct channel_id *id);

/*
 * A message: nothing in it changes once a store has taken it, but its count. Any
 * thread may hold one.
 */
struct message {
	atomic_uint refs;
	bool has_content_type;
	uint32_t content_type_len;
	size_t body_len;
	struct msgid id;            /* given by the store */
	struct channel_id *channel; /* given by the store; counted */
	char data[];                /* the content type, then the body */
};

/*
 * Returns new with a count of one, or NULL when out of memory. content_type (borrowed)
 * may be NULL: the publisher sent none. body is borrowed.
 */
struct message *message_new(
    const char *content_type, size_t content_type_len, const void *body, size_t body_len);
struct message *message_ref(struct message *msg);
void message_unref(struct message *msg); /* NULL does nothing */

static inline const char *
message_content_type(const struct message *msg)
{
	return msg->data;
}

static inline const char *
message_body(const struct message *msg)
{
	return msg->data + msg->content_type_len;
}

#endif
