#include "store/message.h"

#include "base/table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct channel_key
channel_key(const void *bytes, size_t len)
{
	return (struct channel_key){.hash = table_hash(bytes, len), .bytes = bytes, .len = len};
}

struct channel_id *
channel_id_new(const struct channel_key *key)
{
	struct channel_id *id = malloc(sizeof(*id) + key->len);

	if (id == NULL)
		return NULL;
	atomic_init(&id->refs, 1);
	memcpy(id->bytes, key->bytes, key->len);
	id->key = (struct channel_key){.hash = key->hash, .bytes = id->bytes, .len = key->len};
	return id;
}

struct channel_id *
channel_id_ref(struct channel_id *id)
{
	atomic_fetch_add_explicit(&id->refs, 1, memory_order_relaxed);
	return id;
}

void
channel_id_unref(struct channel_id *id)
{
	if (id != NULL && atomic_fetch_sub_explicit(&id->refs, 1, memory_order_acq_rel) == 1)
		free(id);
}

struct message *
message_new(const char *content_type, size_t content_type_len, const void *body, size_t body_len)
{
	struct message *msg = malloc(sizeof(*msg) + content_type_len + body_len);

	assert(content_type != NULL || content_type_len == 0);
	if (msg == NULL)
		return NULL;
	atomic_init(&msg->refs, 1);
	msg->has_content_type = content_type != NULL;
	msg->content_type_len = (uint32_t)content_type_len;
	msg->body_len = body_len;
	msg->id = (struct msgid){0, 0};
	msg->channel = NULL;
	if (content_type_len > 0)
		memcpy(msg->data, content_type, content_type_len);
	if (body_len > 0)
		memcpy(msg->data + content_type_len, body, body_len);
	return msg;
}

struct message *
message_ref(struct message *msg)
{
	atomic_fetch_add_explicit(&msg->refs, 1, memory_order_relaxed);
	return msg;
}

void
message_unref(struct message *msg)
{
	if (msg != NULL && atomic_fetch_sub_explicit(&msg->refs, 1, memory_order_acq_rel) == 1) {
		channel_id_unref(msg->channel);
		free(msg);
	}
}
