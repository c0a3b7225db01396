#include "relay/render.h"

#include "relay/transport.h"

#include <string.h>

static bool
same(const struct render_variant *a, const struct render_variant *b)
{
	return a->loc == b->loc && a->transport == b->transport && a->own == b->own &&
	       a->second == b->second && a->lost == b->lost && a->cors_block == b->cors_block &&
	       a->gap == b->gap && a->close == b->close && a->http10 == b->http10 &&
	       a->say_channel == b->say_channel && a->padding == b->padding &&
	       a->deflate_bits == b->deflate_bits && a->meta == b->meta;
}

struct bytes *
render_cached(struct render_cache *cache, struct worker *w, struct message *msg,
    const struct render_variant *variant)
{
	struct bytes *bytes;

	if (cache->msg != msg)
		render_cache_clear(cache);
	for (unsigned i = 0; i < cache->n; i++)
		if (same(&cache->entries[i].variant, variant))
			return cache->entries[i].bytes;
	bytes = variant->transport->render(w, &msg, 1, variant);
	if (bytes == NULL)
		return NULL;
	/* More kinds at once than this are rare: the oldest makes room. */
	if (cache->n == RENDER_CACHE_SIZE) {
		cache->last = NULL;
		bytes_unref(cache->entries[0].bytes);
		memmove(&cache->entries[0], &cache->entries[1],
		    (RENDER_CACHE_SIZE - 1) * sizeof(cache->entries[0]));
		cache->n--;
	}
	cache->msg = msg;
	cache->entries[cache->n].variant = *variant;
	cache->entries[cache->n].bytes = bytes;
	cache->n++;
	/* cppcheck-suppress returnDanglingLifetime ; it holds nothing of &msg */
	return bytes;
}

void
render_cache_clear(struct render_cache *cache)
{
	for (unsigned i = 0; i < cache->n; i++)
		bytes_unref(cache->entries[i].bytes);
	render_cache_init(cache);
}
