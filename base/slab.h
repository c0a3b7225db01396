/*
 * slab.h - objects of one size, taken and given back by one thread.
 *
 * Saves malloc's header and time for what there are tens of thousands of. Chunks go
 * back to the system only with the slab. Under AddressSanitizer each object is a block
 * of its own, so that a use after its end is found.
 */
#ifndef BASE_SLAB_H
#define BASE_SLAB_H

#include <stddef.h>

struct slab {
	size_t size;
	void *free;   /* first free object, each points to the next */
	void *chunks; /* likewise */
};

void slab_init(struct slab *s, size_t size);
/* Frees all chunks; no object may be in use. */
void slab_reset(struct slab *s);

/* Returns an object of zero bytes, or NULL when out of memory. */
void *slab_get(struct slab *s);
void slab_put(struct slab *s, void *object);

#endif
