/*
 * wheel.h - coarse time-outs for very many entries: setting one writes four bytes.
 *
 * A deadline is a number in the entry. An entry lies in the slot of some time not
 * after its deadline; when that slot comes up it is moved on, or its time is up. The
 * timer sleeps until the next slot that is not empty.
 */
#ifndef RELAY_WHEEL_H
#define RELAY_WHEEL_H

#include "base/attr.h"
#include "base/list.h"

#include <stdint.h>

struct event_base;
struct wheel;

/* A tick is 32 ms: deadlines are rounded down to one, so nothing comes later. */
#define WHEEL_TICK_SHIFT 5

struct wheel_entry {
	struct link link;
	uint32_t deadline; /* ticks; 0: none */
	uint32_t slot;     /* the tick in whose slot it lies */
};

/* The deadline of this entry has passed; it lies in no slot now. */
typedef void wheel_fn(void *arg, struct wheel_entry *e);

/* Returns new, or NULL when out of memory. */
struct wheel *wheel_new(struct event_base *base, wheel_fn *fn, void *arg);
void wheel_free(struct wheel *w);

/* In ms from now. 0 means the next tick. */
void wheel_set(struct wheel *w, struct wheel_entry *e, uint64_t ms);
/* No deadline; it may stay in its slot until that comes up. */
void wheel_clear(struct wheel_entry *e);
/* To be called before the entry's memory goes. */
void wheel_remove(struct wheel_entry *e);

#endif
