/*
 * render.h - a message as a transport sends it: made once, counted, shared by all its
 * readers of one kind.
 */
#ifndef RELAY_RENDER_H
#define RELAY_RENDER_H

#include "base/attr.h"
#include "relay/bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct location;
struct message;
struct transport;
struct worker;

/* Messages of one batch. */
#define RENDER_AT_ONCE_MAX 32

/* What makes two renderings of one message differ. */
struct render_variant {
	const struct location *loc;
	const struct transport *transport;
	const char *own;     /* one subscriber's, borrowed: JSONP's callback, a stream's boundary */
	int64_t second;      /* polls: of the Date in it */
	uint64_t lost;       /* how many messages the gap is; 0: not known */
	uint16_t cors_block; /* polls */
	bool gap;            /* messages were lost before this one */
	bool close;          /* polls: Connection: close */
	bool http10; /* polls: Connection: keep-alive, where it is kept; streams: no chunks */
	bool say_channel;
	uint8_t padding;      /* event streams: index + 1 in loc->padding, or 0 */
	uint8_t deflate_bits; /* WebSocket */
	uint8_t meta;         /* WebSocket: enum ws_meta */
};

/* The renderings of one message while it is given to those who wait. */
#define RENDER_CACHE_SIZE 8
struct render_cache {
	const struct message *msg; /* borrowed as long as there is anything in it */
	unsigned n;
	/* What the last one was sent, found without a look at its variant; or NULL. */
	struct bytes *last;
	const struct location *last_loc;
	uint32_t last_kind; /* struct subscriber.kind */
	uint16_t last_cors_block;
	bool last_close;
	struct {
		struct render_variant variant;
		struct bytes *bytes;
	} entries[RENDER_CACHE_SIZE];
};

/* Empty; entries are not touched. */
static inline void
render_cache_init(struct render_cache *cache)
{
	cache->msg = NULL;
	cache->n = 0;
	cache->last = NULL;
}

/*
 * The message as its transport renders it, out of the cache; borrowed until
 * render_cache_clear(). NULL when out of memory.
 */
struct bytes *render_cached(struct render_cache *cache, struct worker *w, struct message *msg,
    const struct render_variant *variant);
void render_cache_clear(struct render_cache *cache);

#endif
