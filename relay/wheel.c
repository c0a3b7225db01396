#include "relay/wheel.h"

#include "base/clock.h"

#include <event2/event.h>
#include <stdlib.h>

/* 131 s: keep-alive and the usual polls fit; what is later is looked at once more. */
#define SLOTS 4096

struct wheel {
	struct event *timer;
	wheel_fn *fn;
	void *arg;
	uint32_t done;  /* the last tick whose slot was worked */
	uint32_t armed; /* the tick for which the timer is set; 0: it is not */
	struct link slots[SLOTS];
	uint64_t used[SLOTS / 64]; /* a bit per slot that may hold something */
};

/* One ahead, as 0 means none. Wraps after four years of uptime, which == and the signed
 * difference survive. */
static uint32_t
tick_of(uint64_t ms)
{
	return (uint32_t)(ms >> WHEEL_TICK_SHIFT) + 1;
}

static int32_t
ticks_until(uint32_t tick, uint32_t now)
{
	return (int32_t)(tick - now);
}

static void
arm(struct wheel *w, uint32_t tick)
{
	const uint64_t now = clock_ms();
	const int64_t in_tick = (int64_t)(now & ((1u << WHEEL_TICK_SHIFT) - 1));
	int64_t wait = ((int64_t)ticks_until(tick, tick_of(now)) << WHEEL_TICK_SHIFT) - in_tick;
	struct timeval tv;

	if (wait < 1)
		wait = 1;
	tv.tv_sec = (time_t)(wait / 1000);
	tv.tv_usec = (suseconds_t)(wait % 1000 * 1000);
	w->armed = tick;
	evtimer_add(w->timer, &tv);
}

static void
place(struct wheel *w, struct wheel_entry *e, uint32_t now)
{
	uint32_t slot = e->deadline;

	if (ticks_until(slot, w->done) <= 0)
		slot = w->done + 1;
	if (ticks_until(slot, now) >= SLOTS)
		slot = now + SLOTS - 1;
	e->slot = slot;
	list_append(&w->slots[slot % SLOTS], &e->link);
	w->used[slot % SLOTS / 64] |= UINT64_C(1) << slot % 64;
	if (w->armed == 0 || ticks_until(slot, w->armed) < 0)
		arm(w, slot);
}

/* Sets the timer for the next slot in use. */
static void
arm_next(struct wheel *w)
{
	w->armed = 0;
	for (uint32_t n = 1; n <= SLOTS;) {
		uint32_t tick = w->done + n;
		uint64_t bits = w->used[tick % SLOTS / 64] >> tick % 64;

		if (bits != 0) {
			arm(w, tick + (uint32_t)__builtin_ctzll(bits));
			return;
		}
		n += 64 - tick % 64;
	}
}

static void
on_timer(UNUSED evutil_socket_t fd, UNUSED short what, void *arg)
{
	struct wheel *w = arg;
	const uint32_t now = tick_of(clock_ms());
	struct link due;

	list_init(&due);
	while (ticks_until(now, w->done) > 0) {
		uint32_t slot = ++w->done % SLOTS;

		if (w->used[slot / 64] >> slot % 64 & 1) {
			list_move_all(&due, &w->slots[slot]);
			w->used[slot / 64] &= ~(UINT64_C(1) << slot % 64);
		}
	}
	/* Through a list of our own: what is called may remove any entry, also from it. */
	while (!list_empty(&due)) {
		struct wheel_entry *e = CONTAINER_OF(due.next, struct wheel_entry, link);

		list_remove(&e->link);
		if (e->deadline == 0)
			continue;
		if (ticks_until(e->deadline, now) > 0) {
			place(w, e, now);
			continue;
		}
		e->deadline = 0;
		w->fn(w->arg, e);
	}
	arm_next(w);
}

struct wheel *
wheel_new(struct event_base *base, wheel_fn *fn, void *arg)
{
	struct wheel *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return NULL;
	w->timer = evtimer_new(base, on_timer, w);
	if (w->timer == NULL) {
		free(w);
		return NULL;
	}
	w->fn = fn;
	w->arg = arg;
	w->done = tick_of(clock_ms()) - 1;
	for (size_t i = 0; i < SLOTS; i++)
		list_init(&w->slots[i]);
	return w;
}

void
wheel_free(struct wheel *w)
{
	if (w == NULL)
		return;
	event_free(w->timer);
	free(w);
}

void
wheel_set(struct wheel *w, struct wheel_entry *e, uint64_t ms)
{
	const uint64_t now_ms = clock_ms();
	const uint32_t now = tick_of(now_ms), deadline = tick_of(now_ms + ms);

	e->deadline = deadline == 0 ? 1 : deadline;
	if (link_listed(&e->link)) {
		if (ticks_until(e->slot, e->deadline) <= 0)
			return; /* its slot comes up in time */
		list_remove(&e->link);
	}
	place(w, e, now);
}

void
wheel_clear(struct wheel_entry *e)
{
	e->deadline = 0;
}

void
wheel_remove(struct wheel_entry *e)
{
	list_remove(&e->link);
	e->deadline = 0;
}
