#include "base/slab.h"

#include <stdlib.h>
#include <string.h>

#define OBJECTS_PER_CHUNK 64
/* Objects begin at a cache line's quarter. */
#define ALIGN 16

void
slab_init(struct slab *s, size_t size)
{
	s->size = (size + ALIGN - 1) / ALIGN * ALIGN;
	s->free = NULL;
	s->chunks = NULL;
}

#ifdef __SANITIZE_ADDRESS__

void
slab_reset(struct slab *s)
{
	(void)s;
}

void *
slab_get(struct slab *s)
{
	return calloc(1, s->size);
}

void
slab_put(struct slab *s, void *object)
{
	(void)s;
	free(object);
}

#else

void
slab_reset(struct slab *s)
{
	void *chunk, *next;

	for (chunk = s->chunks; chunk != NULL; chunk = next) {
		memcpy(&next, chunk, sizeof(next));
		free(chunk);
	}
	s->free = s->chunks = NULL;
}

void *
slab_get(struct slab *s)
{
	void *object;

	if (s->free == NULL) {
		char *chunk = malloc(ALIGN + OBJECTS_PER_CHUNK * s->size);

		if (chunk == NULL)
			return NULL;
		memcpy(chunk, &s->chunks, sizeof(s->chunks));
		s->chunks = chunk;
		for (size_t i = 0; i < OBJECTS_PER_CHUNK; i++)
			slab_put(s, chunk + ALIGN + i * s->size);
	}
	object = s->free;
	memcpy(&s->free, object, sizeof(s->free));
	memset(object, 0, s->size);
	return object;
}

void
slab_put(struct slab *s, void *object)
{
	memcpy(object, &s->free, sizeof(s->free));
	s->free = object;
}

#endif
