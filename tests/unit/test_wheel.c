/*
 * Coarse time-outs, in a time of the test's own: event_add() is ours here, so that what
 * the wheel asks its timer for is known to the millisecond, and hours pass in no time.
 * One test runs in real time, through libevent.
 */
#include "relay/wheel.h"

#include "base/attr.h"
#include "base/clock.h"

#include <dlfcn.h>
#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define TICK_MS 32
#define NEVER   UINT64_MAX

struct entry {
	struct wheel_entry wheel;
	uint64_t set_ms;      /* when */
	uint64_t deadline_ms; /* NEVER: none */
	unsigned fired;
};

static struct {
	bool real_time;
	struct event_base *base;
	struct wheel *wheel;
	struct event *timer;
	uint64_t timer_ms; /* when it is due, NEVER: it is not set */
	uint64_t now_ms;
	uint64_t lag_ms; /* a turn of the loop may take this long */
	unsigned turns;  /* of the timer */

	unsigned fired, wrong;         /* entries; those that came when they should not */
	void (*then)(struct entry *e); /* what the callback does besides */
} t;

/* In the place of libevent's, for this program. */
int
event_add(struct event *ev, const struct timeval *tv)
{
	static int (*real)(struct event *, const struct timeval *);

	if (t.real_time) {
		if (real == NULL)
			*(void **)&real = dlsym(RTLD_NEXT, "event_add");
		return real(ev, tv);
	}
	t.timer = ev;
	t.timer_ms = t.now_ms + (uint64_t)tv->tv_sec * 1000 + (uint64_t)tv->tv_usec / 1000;
	return 0;
}

static uint32_t
next_random(uint32_t below)
{
	static uint32_t x = 2463534242;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return x % below;
}

static void
on_deadline(void *arg, struct wheel_entry *we)
{
	struct entry *e = CONTAINER_OF(we, struct entry, wheel);
	const uint64_t now = t.real_time ? clock_ms() : t.now_ms;
	uint64_t at_latest = e->deadline_ms;

	/* No assertion in here: it would jump out of the loop. */
	if (arg != &t || link_listed(&we->link) || we->deadline != 0)
		abort();
	t.fired++;
	e->fired++;
	/* Less than a tick from now is the next tick at the latest. */
	if (at_latest != NEVER && at_latest < e->set_ms + TICK_MS)
		at_latest = e->set_ms + TICK_MS;
	if (e->deadline_ms == NEVER || now > at_latest + t.lag_ms ||
	    now / TICK_MS < e->deadline_ms / TICK_MS)
		t.wrong++;
	e->deadline_ms = NEVER;
	if (t.then != NULL)
		t.then(e);
}

static void
begin_at(uint64_t ms)
{
	wheel_free(t.wheel);
	t.now_ms = ms;
	t.timer_ms = NEVER;
	clock_set(ms, 1763690000);
	t.wheel = wheel_new(t.base, on_deadline, &t);
	assert_non_null(t.wheel);
}

static int
set_up(void **state UNUSED)
{
	memset(&t, 0, sizeof(t));
	t.base = event_base_new();
	begin_at(123456789);
	return 0;
}

static int
tear_down(void **state UNUSED)
{
	wheel_free(t.wheel);
	event_base_free(t.base);
	return 0;
}

/* Time goes on, and the timer runs whenever it is due. */
static void
pass_ms(uint64_t ms)
{
	const uint64_t end = t.now_ms + ms;

	while (t.timer_ms <= end) {
		/* A loop that was busy comes to it late. */
		uint64_t at = t.timer_ms + (t.lag_ms > 0 ? next_random((uint32_t)t.lag_ms) : 0);

		t.now_ms = at > t.now_ms ? at : t.now_ms;
		t.timer_ms = NEVER;
		clock_set(t.now_ms, 1763690000);
		event_active(t.timer, EV_TIMEOUT, 1);
		event_base_loop(t.base, EVLOOP_NONBLOCK | EVLOOP_ONCE);
		t.turns++;
	}
	if (end > t.now_ms)
		t.now_ms = end;
	clock_set(t.now_ms, 1763690000);
}

static void
set(struct entry *e, uint64_t ms)
{
	e->set_ms = t.now_ms;
	e->deadline_ms = t.now_ms + ms;
	wheel_set(t.wheel, &e->wheel, ms);
}

static void
test_an_entry_comes_once_within_its_tick_and_never_later(void **state UNUSED)
{
	static const uint64_t times[] = {32, 33, 64, 100, 1000, 4999, 55000, 75000, 131000, 131072,
	    131073, 140000, 262144, 262200, 3600000, 86400000};

	for (size_t i = 0; i < ARRAY_LEN(times); i++) {
		struct entry e = {.fired = 0};

		set(&e, times[i]);
		pass_ms(times[i] - TICK_MS);
		assert_int_equal(e.fired, 0);
		pass_ms(TICK_MS);
		assert_int_equal(e.fired, 1);
		pass_ms(300000);
		assert_int_equal(e.fired, 1);
	}
	assert_int_equal(t.wrong, 0);
}

static void
test_now_is_the_next_tick(void **state UNUSED)
{
	for (uint64_t ms = 0; ms < TICK_MS; ms++) {
		struct entry e = {.fired = 0};

		set(&e, ms);
		/* Not from within the call. */
		assert_int_equal(e.fired, 0);
		pass_ms(TICK_MS);
		assert_int_equal(e.fired, 1);
		pass_ms(next_random(100));
	}
	assert_int_equal(t.wrong, 0);
}

static void
test_an_entry_that_was_cleared_or_removed_does_not_come(void **state UNUSED)
{
	struct entry cleared = {.fired = 0}, removed = {.fired = 0}, again = {.fired = 0};

	set(&cleared, 500);
	set(&removed, 500);
	set(&again, 500);
	wheel_clear(&cleared.wheel);
	wheel_remove(&removed.wheel);
	wheel_remove(&removed.wheel);
	assert_false(link_listed(&removed.wheel.link));
	wheel_clear(&again.wheel);
	set(&again, 800);
	pass_ms(700);
	assert_int_equal(t.fired, 0);
	pass_ms(100);
	assert_int_equal(again.fired, 1);
	set(&cleared, 100);
	set(&removed, 100);
	pass_ms(100);
	assert_int_equal(cleared.fired, 1);
	assert_int_equal(removed.fired, 1);
	assert_int_equal(t.wrong, 0);
}

static void
test_an_entry_moved_earlier_or_later_comes_at_its_last_time(void **state UNUSED)
{
	static const uint64_t times[] = {50, 500, 5000, 50000, 130000, 500000};

	for (size_t a = 0; a < ARRAY_LEN(times); a++)
		for (size_t b = 0; b < ARRAY_LEN(times); b++) {
			struct entry e = {.fired = 0};
			uint64_t between = next_random(40);

			set(&e, times[a]);
			pass_ms(between < times[a] - TICK_MS ? between : 0);
			set(&e, times[b]);
			pass_ms(times[b]);
			assert_int_equal(e.fired, 1);
			pass_ms(600000);
			assert_int_equal(e.fired, 1);
		}
	assert_int_equal(t.wrong, 0);
}

static void
test_a_wheel_that_slept_for_long_goes_on(void **state UNUSED)
{
	for (uint64_t sleep = 1000; sleep < UINT64_C(100000000); sleep *= 7) {
		struct entry a = {.fired = 0}, b = {.fired = 0};

		pass_ms(sleep);
		set(&a, 100);
		set(&b, 100000);
		pass_ms(100);
		assert_int_equal(a.fired, 1);
		pass_ms(99900);
		assert_int_equal(b.fired, 1);
	}
	assert_int_equal(t.wrong, 0);
}

static void
test_the_timer_sleeps_while_nothing_is_due(void **state UNUSED)
{
	struct entry entries[10];

	memset(entries, 0, sizeof(entries));
	pass_ms(10000000);
	assert_int_equal(t.turns, 0);
	for (size_t i = 0; i < ARRAY_LEN(entries); i++)
		set(&entries[i], 50000 + i * 5000);
	pass_ms(200000);
	assert_int_equal(t.fired, ARRAY_LEN(entries));
	/* One turn for each, and perhaps a few more; not one for each tick. */
	assert_in_range(t.turns, 1, 3 * ARRAY_LEN(entries));
}

/* Keep-alive of a busy connection: setting a deadline again moves nothing. */
static void
test_setting_a_later_deadline_very_often_costs_no_turns(void **state UNUSED)
{
	struct entry e = {.fired = 0};

	for (int i = 0; i < 100000; i++) {
		set(&e, 75000);
		pass_ms(10);
	}
	assert_int_equal(e.fired, 0);
	assert_in_range(t.turns, 0, 100);
	pass_ms(75000);
	assert_int_equal(e.fired, 1);
	assert_int_equal(t.wrong, 0);
}

#define MANY 5000

static struct entry *many[MANY];

static void
free_many(void)
{
	for (size_t i = 0; i < MANY; i++) {
		if (many[i] != NULL)
			wheel_remove(&many[i]->wheel);
		free(many[i]);
		many[i] = NULL;
	}
}

static uint64_t
random_time(void)
{
	switch (next_random(6)) {
	case 0:
		return next_random(TICK_MS);
	case 1:
		return next_random(400);
	case 2:
		return 131000 + next_random(200);
	case 3:
		return next_random(1000000);
	default:
		return next_random(60000);
	}
}

static void
play_with_many(unsigned steps)
{
	unsigned expected = 0;

	for (size_t i = 0; i < MANY; i++)
		many[i] = calloc(1, sizeof(*many[i]));
	for (unsigned i = 0; i < steps; i++) {
		struct entry *e = many[next_random(MANY)];

		switch (next_random(8)) {
		case 0:
			wheel_clear(&e->wheel);
			e->deadline_ms = NEVER;
			break;
		case 1:
			wheel_remove(&e->wheel);
			e->deadline_ms = NEVER;
			break;
		case 2:
			pass_ms(next_random(100));
			break;
		case 3:
			if (next_random(100) == 0)
				pass_ms(random_time());
			break;
		default:
			set(e, random_time());
		}
	}
	for (size_t i = 0; i < MANY; i++)
		expected += many[i]->wheel.deadline != 0;
	t.fired = 0;
	pass_ms(1100000 + 10 * t.lag_ms);
	assert_int_equal(t.fired, expected);
	assert_int_equal(t.wrong, 0);
	for (size_t i = 0; i < MANY; i++) {
		assert_int_equal(many[i]->wheel.deadline, 0);
		assert_false(link_listed(&many[i]->wheel.link));
	}
}

static void
test_of_thousands_none_is_lost_late_or_early(void **state UNUSED)
{
	play_with_many(200000);
	free_many();
}

static void
test_a_busy_loop_makes_them_no_later_than_it_is_itself(void **state UNUSED)
{
	t.lag_ms = 500;
	play_with_many(100000);
	free_many();
	/* Longer than the wheel is round. */
	t.lag_ms = 300000;
	play_with_many(20000);
	free_many();
}

/* What a callback may do: end others, also those that are due now, and set any anew. */
static void
do_as_connections_do(UNUSED struct entry *e)
{
	for (int i = 0; i < 3; i++) {
		size_t n = next_random(MANY);

		switch (many[n] == NULL ? 0 : next_random(4)) {
		case 0:
			if (many[n] == NULL || many[n] == e)
				break;
			wheel_remove(&many[n]->wheel);
			free(many[n]);
			many[n] = NULL;
			break;
		case 1:
			set(many[n], random_time());
			break;
		case 2:
			wheel_clear(&many[n]->wheel);
			many[n]->deadline_ms = NEVER;
			break;
		default:
			/* Itself again. */
			set(e, 100 + random_time());
		}
	}
}

static void
test_a_callback_may_remove_and_set_any_entry(void **state UNUSED)
{
	size_t left = 0;

	for (size_t i = 0; i < MANY; i++) {
		many[i] = calloc(1, sizeof(*many[i]));
		/* Many at the same time. */
		set(many[i], next_random(20) * 100);
	}
	t.then = do_as_connections_do;
	pass_ms(400000);
	t.then = NULL;
	assert_true(t.fired > 1000);
	assert_int_equal(t.wrong, 0);
	pass_ms(1100000);
	for (size_t i = 0; i < MANY; i++) {
		left += many[i] != NULL;
		if (many[i] != NULL)
			assert_int_equal(many[i]->wheel.deadline, 0);
	}
	assert_int_equal(t.wrong, 0);
	assert_true(left > 0);
	free_many();
}

static void
test_ticks_may_wrap(void **state UNUSED)
{
	/* 2^32 ticks: a host that is up for four years. */
	const uint64_t wrap = UINT64_C(1) << (32 + WHEEL_TICK_SHIFT);

	begin_at(wrap - 300000);
	play_with_many(50000);
	free_many();
	assert_true(t.now_ms > wrap);
	for (uint64_t before = 1; before < 200000; before = before * 3 + 7) {
		struct entry e = {.fired = 0};

		begin_at(wrap - before);
		set(&e, before + 50000);
		pass_ms(before + 50000 - TICK_MS);
		assert_int_equal(e.fired, 0);
		pass_ms(TICK_MS);
		assert_int_equal(e.fired, 1);
	}
	assert_int_equal(t.wrong, 0);
}

/* Also when the ticks are about to wrap. */
static void
test_the_timer_sleeps_over_the_wrap_of_the_ticks(void **state UNUSED)
{
	const uint64_t wrap = UINT64_C(1) << (32 + WHEEL_TICK_SHIFT);
	struct entry e = {.fired = 0};

	begin_at(wrap - 50000);
	set(&e, 100000);
	pass_ms(100000);
	assert_int_equal(e.fired, 1);
	assert_int_equal(t.wrong, 0);
	assert_in_range(t.turns, 1, 20);
}

static struct entry last;

static void
leave(UNUSED struct entry *e)
{
	if (e == &last)
		event_base_loopbreak(t.base);
}

static void
test_in_real_time_the_loop_is_woken(void **state UNUSED)
{
	struct entry entries[20];
	time_t end = time(NULL) + 60;

	memset(entries, 0, sizeof(entries));
	memset(&last, 0, sizeof(last));
	memset(&t, 0, sizeof(t));
	t.base = event_base_new();
	t.real_time = true;
	/* The loop's lateness is the machine's. */
	t.lag_ms = 60000;
	t.then = leave;
	t.wheel = wheel_new(t.base, on_deadline, &t);
	for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
		entries[i].set_ms = clock_ms();
		entries[i].deadline_ms = clock_ms() + 10 * i;
		wheel_set(t.wheel, &entries[i].wheel, 10 * i);
	}
	last.set_ms = clock_ms();
	last.deadline_ms = clock_ms() + 250;
	wheel_set(t.wheel, &last.wheel, 250);
	while (last.fired == 0 && time(NULL) < end) {
		clock_turn();
		event_base_loop(t.base, EVLOOP_ONCE);
	}
	assert_int_equal(last.fired, 1);
	for (size_t i = 0; i < ARRAY_LEN(entries); i++)
		assert_int_equal(entries[i].fired, 1);
	assert_int_equal(t.wrong, 0);
	wheel_free(t.wheel);
	event_base_free(t.base);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    /* The first: the others set this thread's clock. */
	    cmocka_unit_test(test_in_real_time_the_loop_is_woken),
	    TEST(test_an_entry_comes_once_within_its_tick_and_never_later),
	    TEST(test_now_is_the_next_tick),
	    TEST(test_an_entry_that_was_cleared_or_removed_does_not_come),
	    TEST(test_an_entry_moved_earlier_or_later_comes_at_its_last_time),
	    TEST(test_a_wheel_that_slept_for_long_goes_on),
	    TEST(test_the_timer_sleeps_while_nothing_is_due),
	    TEST(test_setting_a_later_deadline_very_often_costs_no_turns),
	    TEST(test_of_thousands_none_is_lost_late_or_early),
	    TEST(test_a_busy_loop_makes_them_no_later_than_it_is_itself),
	    TEST(test_a_callback_may_remove_and_set_any_entry),
	    TEST(test_ticks_may_wrap),
	    TEST(test_the_timer_sleeps_over_the_wrap_of_the_ticks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
