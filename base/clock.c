#include "base/clock.h"

#include "base/attr.h"

#include <stdbool.h>
#include <time.h>

static _Thread_local struct {
	bool fresh; /* ms and wall_s were read in this turn */
	bool fixed; /* set by a test */
	uint64_t ms;
	int64_t wall_s;
} now;

/* Apart from its callers, which are called many times a request and read it once a turn. */
static NOINLINE void
read_clock(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now.ms = (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
	clock_gettime(CLOCK_REALTIME, &ts);
	now.wall_s = ts.tv_sec;
	now.fresh = true;
}

void
clock_turn(void)
{
	now.fresh = now.fixed;
}

uint64_t
clock_ms(void)
{
	if (!now.fresh)
		read_clock();
	return now.ms;
}

int64_t
clock_wall_s(void)
{
	if (!now.fresh)
		read_clock();
	return now.wall_s;
}

void
clock_wall_now(int64_t *second, int64_t *us)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	*second = now.fixed ? now.wall_s : ts.tv_sec;
	*us = ts.tv_nsec / 1000;
}

void
clock_set(uint64_t ms, int64_t wall_s)
{
	now.fixed = true;
	now.fresh = true;
	now.ms = ms;
	now.wall_s = wall_s;
}
