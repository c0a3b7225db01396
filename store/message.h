/*
 * message.h - an immutable counted message, message ids and their order, channel ids.
 */
#ifndef STORE_MESSAGE_H
#define STORE_MESSAGE_H

#include "base/attr.h"
#include "base/list.h"
#include "base/table.h"

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

/* The highest tag of a position; 18 digits are all that is read of one (position.c). */
#define MSGID_TAG_MAX INT64_C(999999999999999999)

/* The position right before a message: whoever reads on from there gets it next. */
static inline struct msgid
msgid_before(struct msgid id)
{
	if (id.tag > 0)
		return (struct msgid){id.second, id.tag - 1};
	return (struct msgid){id.second - 1, MSGID_TAG_MAX};
}

struct store_channel;

/* A channel id as it came: opaque bytes with their hash (table_hash()). Borrowed. */
struct channel_key {
	uint64_t hash;
	const unsigned char *bytes;
	size_t len;
};

static inline struct channel_key
channel_key(const void *bytes, size_t len)
{
	return (struct channel_key){.hash = table_hash(bytes, len), .bytes = bytes, .len = len};
}

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

/* What puts an element into a table under this id, which must outlast it there. */
static inline struct table_entry
channel_id_entry(const struct channel_id *id)
{
	return (struct table_entry){
	    .hash = id->key.hash, .key = id->key.bytes, .key_len = id->key.len};
}

/* Where a store keeps a message: the memory store's, under its lock. */
struct message_place {
	struct link order; /* in struct memory: by_age, or kept */
	struct store_channel *channel;
	uint64_t born_ms;
	struct msgid foregone; /* the channel's then: of the last before it not stored */
};

/*
 * A message: nothing in it changes once a store has taken it, but its count and place.
 * Any thread may hold one.
 */
struct message {
	atomic_uint refs;
	bool has_content_type;
	bool stored; /* given by the store: who is behind will find it there */
	uint32_t content_type_len;
	uint32_t event_len, event_id_len; /* 0: the publisher named none */
	size_t body_len;
	struct msgid id;            /* given by the store */
	uint64_t number;            /* given by the store: the channel's how-manieth, from 1 */
	struct channel_id *channel; /* given by the store; counted */
	struct message_place place;
	char data[]; /* content type, event, event id, body */
};

struct message_part {
	const char *p;
	size_t len;
};

/* What a publisher sent. An empty event or event id is none. */
struct message_parts {
	struct message_part content_type; /* p is NULL: none */
	struct message_part event;        /* of the event stream: X-EventSource-Event */
	struct message_part event_id;     /* the publisher's own: Event-Id */
	struct message_part body;
};

/* Returns new with a count of one, or NULL when out of memory. parts are borrowed. */
struct message *message_new(const struct message_parts *parts);
struct message *message_ref(struct message *msg);
void message_unref(struct message *msg); /* NULL does nothing */

static inline const char *
message_content_type(const struct message *msg)
{
	return msg->data;
}

static inline const char *
message_event(const struct message *msg)
{
	return msg->data + msg->content_type_len;
}

static inline const char *
message_event_id(const struct message *msg)
{
	return message_event(msg) + msg->event_len;
}

static inline const char *
message_body(const struct message *msg)
{
	return message_event_id(msg) + msg->event_id_len;
}

#endif
