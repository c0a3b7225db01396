/* The loop's time. Each test runs in a thread of its own, for each thread has a clock. */
#include "base/clock.h"

#include "base/attr.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

/* What a thread found; cmocka's assertions are for the main thread. */
struct reading {
	uint64_t ms[4];
	int64_t wall_s[4];
	int64_t us;
	int64_t wall_now_s;
};

static void
in_a_thread(void *(*fn)(void *), struct reading *r)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, fn, r), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

static uint64_t
kernel_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void *
read_over_two_turns(void *arg)
{
	struct reading *r = arg;
	uint64_t start;

	r->ms[0] = clock_ms();
	start = kernel_ms();
	while (kernel_ms() < start + 3)
		;
	r->ms[1] = clock_ms();
	r->wall_s[0] = clock_wall_s();
	clock_turn();
	r->ms[2] = clock_ms();
	r->wall_s[1] = clock_wall_s();
	clock_wall_now(&r->wall_now_s, &r->us);
	return NULL;
}

static void
test_time_stands_still_within_a_turn_and_goes_on_with_the_next(void **state UNUSED)
{
	struct reading r;
	uint64_t before = kernel_ms(), after;

	in_a_thread(read_over_two_turns, &r);
	after = kernel_ms();
	assert_in_range(r.ms[0], before, after);
	assert_true(r.ms[1] == r.ms[0]);
	assert_in_range(r.ms[2], r.ms[0] + 3, after);
}

static void
test_wall_time_is_the_kernels(void **state UNUSED)
{
	struct reading r;
	int64_t before = time(NULL), after;

	in_a_thread(read_over_two_turns, &r);
	after = time(NULL);
	/* time() of glibc may lag behind by a tick of the kernel. */
	assert_in_range(r.wall_s[0], before, after + 1);
	assert_in_range(r.wall_s[1], r.wall_s[0], after + 1);
	assert_in_range(r.us, 0, 999999);
}

static void *
set_and_turn(void *arg)
{
	struct reading *r = arg;

	clock_set(5000, 1000000000);
	r->ms[0] = clock_ms();
	clock_turn();
	r->ms[1] = clock_ms();
	r->wall_s[1] = clock_wall_s();
	clock_set(4000, 999999990);
	clock_turn();
	r->ms[2] = clock_ms();
	r->wall_s[2] = clock_wall_s();
	return NULL;
}

static void
test_a_set_clock_stands_until_it_is_set_again(void **state UNUSED)
{
	struct reading r;

	in_a_thread(set_and_turn, &r);
	assert_true(r.ms[0] == 5000 && r.ms[1] == 5000);
	assert_true(r.wall_s[1] == 1000000000);
	assert_true(r.ms[2] == 4000);
	assert_true(r.wall_s[2] == 999999990);
}

static void
test_setting_the_clock_of_one_thread_leaves_the_others(void **state UNUSED)
{
	struct reading r;
	uint64_t before;

	clock_set(7, 8);
	before = kernel_ms();
	in_a_thread(read_over_two_turns, &r);
	assert_in_range(r.ms[0], before, kernel_ms());
	in_a_thread(set_and_turn, &r);
	assert_true(clock_ms() == 7);
	assert_true(clock_wall_s() == 8);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_time_stands_still_within_a_turn_and_goes_on_with_the_next),
	    cmocka_unit_test(test_wall_time_is_the_kernels),
	    cmocka_unit_test(test_a_set_clock_stands_until_it_is_set_again),
	    cmocka_unit_test(test_setting_the_clock_of_one_thread_leaves_the_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
