#include "relay/render.h"

#include "relay/location.h"
#include "relay/position.h"
#include "relay/response.h"
#include "relay/worker.h"
#include "store/message.h"

#include <string.h>

/* All but the location's CORS block, the Content-Type and the body. */
#define HEAD_ROOM 512

struct bytes *
render_poll(struct worker *w, const struct message *msg, const struct render_variant *variant)
{
	const struct cors *cors = &variant->loc->cors;
	const struct cors_block *block = &cors->blocks[variant->cors_block];
	const char *type = message_content_type(msg);
	size_t type_len = msg->content_type_len, room;
	bool has_type = msg->has_content_type;
	struct bytes *bytes;
	struct text t;

	if (variant->loc->content_type != NULL) {
		type = variant->loc->content_type;
		type_len = strlen(type);
		has_type = true;
	}
	room = HEAD_ROOM + w->head_lines_len + block->len + type_len + msg->body_len;
	bytes = bytes_new(room);
	if (bytes == NULL)
		return NULL;
	t = text_in(bytes->data, room);
	response_begin(&t, w, 200);
	if (has_type) {
		TEXT_LIT(&t, "Content-Type: ");
		text_add(&t, type, type_len);
		TEXT_LIT(&t, "\r\n");
	}
	TEXT_LIT(&t, "Content-Length: ");
	response_number(&t, (int64_t)msg->body_len);
	TEXT_LIT(&t, "\r\n");
	response_position(&t, msg->id);
	response_field(&t, "Vary", cors->vary);
	text_add(&t, block->text, block->len);
	if (variant->gap)
		TEXT_LIT(&t, "X-Push-Gap: 1\r\n");
	if (variant->close)
		TEXT_LIT(&t, "Connection: close\r\n");
	else if (variant->http10)
		TEXT_LIT(&t, "Connection: keep-alive\r\n");
	TEXT_LIT(&t, "\r\n");
	text_add(&t, message_body(msg), msg->body_len);
	if (!text_ok(&t)) {
		/* HEAD_ROOM is too small: our mistake, and nothing half may go out. */
		bytes_unref(bytes);
		return NULL;
	}
	bytes->len = text_len(&t);
	return bytes;
}

static bool
same(const struct render_variant *a, const struct render_variant *b)
{
	return a->loc == b->loc && a->cors_block == b->cors_block && a->gap == b->gap &&
	       a->close == b->close && a->http10 == b->http10 && a->second == b->second;
}

struct bytes *
render_cached(struct render_cache *cache, struct worker *w, const struct message *msg,
    const struct render_variant *variant)
{
	struct bytes *bytes;

	if (cache->msg != msg)
		render_cache_clear(cache);
	for (unsigned i = 0; i < cache->n; i++)
		if (same(&cache->entries[i].variant, variant))
			return cache->entries[i].bytes;
	bytes = render_poll(w, msg, variant);
	if (bytes == NULL)
		return NULL;
	/* More kinds at once than this are rare: the oldest makes room. */
	if (cache->n == RENDER_CACHE_SIZE) {
		bytes_unref(cache->entries[0].bytes);
		memmove(&cache->entries[0], &cache->entries[1],
		    (RENDER_CACHE_SIZE - 1) * sizeof(cache->entries[0]));
		cache->n--;
	}
	cache->msg = msg;
	cache->entries[cache->n].variant = *variant;
	cache->entries[cache->n].bytes = bytes;
	cache->n++;
	return bytes;
}

void
render_cache_clear(struct render_cache *cache)
{
	for (unsigned i = 0; i < cache->n; i++)
		bytes_unref(cache->entries[i].bytes);
	cache->n = 0;
	cache->msg = NULL;
}
