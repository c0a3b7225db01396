/*
 * render.h - a message as a transport sends it: made once, counted, shared by all its
 * readers of one kind.
 */
#ifndef RELAY_RENDER_H
#define RELAY_RENDER_H

#include "base/attr.h"
#include "relay/bytes.h"

#include <stdbool.h>
#include <stdint.h>

struct location;
struct message;
struct worker;

/* What makes two renderings of one message differ. */
struct render_variant {
	const struct location *loc;
	unsigned cors_block;
	bool gap;       /* X-Push-Gap: 1 */
	bool close;     /* Connection: close */
	bool http10;    /* Connection: keep-alive, where it is kept */
	int64_t second; /* of the Date in it */
};

/* Returns new (bytes_unref), or NULL when out of memory. */
struct bytes *render_poll(
    struct worker *w, const struct message *msg, const struct render_variant *variant);

/* The renderings of one message while it is given to those who wait. */
#define RENDER_CACHE_SIZE 8
struct render_cache {
	const struct message *msg; /* borrowed as long as there is anything in it */
	unsigned n;
	struct {
		struct render_variant variant;
		struct bytes *bytes;
	} entries[RENDER_CACHE_SIZE];
};

/* As render_poll(), out of the cache; borrowed until render_cache_clear(). */
struct bytes *render_cached(struct render_cache *cache, struct worker *w, const struct message *msg,
    const struct render_variant *variant);
void render_cache_clear(struct render_cache *cache);

#endif
