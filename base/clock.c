#include "base/clock.h"

#include "base/attr.h"

#include <stdbool.h>
#include <time.h>

static _Thread_local struct {
	bool ms_read, wall_read; /* in this turn */
	bool fixed;              /* set by a test */
	uint64_t ms;
	int64_t wall_s;
} now;

/* Apart from its callers, which are called many times a request and read it once a turn. */
static NOINLINE void
read_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now.ms = (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
	now.ms_read = true;
}

static NOINLINE void
read_wall(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	now.wall_s = ts.tv_sec;
	now.wall_read = true;
}

void
clock_turn(void)
{
	now.ms_read = now.wall_read = now.fixed;
}

uint64_t
clock_ms(void)
{
	if (!now.ms_read)
		read_ms();
	return now.ms;
}

int64_t
clock_wall_s(void)
{
	if (!now.wall_read)
		read_wall();
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
	now.fixed = now.ms_read = now.wall_read = true;
	now.ms = ms;
	now.wall_s = wall_s;
}
