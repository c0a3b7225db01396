#include "store/message.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

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

static char *
put(char *at, const struct message_part *part)
{
	if (part->len > 0)
		memcpy(at, part->p, part->len);
	return at + part->len;
}

struct message *
message_new(const struct message_parts *parts)
{
	struct message *msg = malloc(sizeof(*msg) + parts->content_type.len + parts->event.len +
				     parts->event_id.len + parts->body.len);
	char *at;

	assert(parts->content_type.p != NULL || parts->content_type.len == 0);
	if (msg == NULL)
		return NULL;
	atomic_init(&msg->refs, 1);
	msg->has_content_type = parts->content_type.p != NULL;
	msg->content_type_len = (uint32_t)parts->content_type.len;
	msg->event_len = (uint32_t)parts->event.len;
	msg->event_id_len = (uint32_t)parts->event_id.len;
	msg->body_len = parts->body.len;
	msg->id = (struct msgid){0, 0};
	msg->number = 0;
	msg->channel = NULL;
	at = put(msg->data, &parts->content_type);
	at = put(at, &parts->event);
	at = put(at, &parts->event_id);
	(void)put(at, &parts->body);
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
