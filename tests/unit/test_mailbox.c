/* Notes between threads: in order, each once, none lost, and woken when it matters. */
#include "base/mailbox.h"

#include "base/attr.h"

#include <event2/event.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define NOTES_MAX  8192
#define DEADLINE_S 60

struct numbered {
	struct note note;
	unsigned thread, n;
};

static struct {
	struct event_base *base;
	struct mailbox *mailbox;
	unsigned seen[NOTES_MAX]; /* numbers, in the order in which they were worked */
	unsigned n_seen, calls;
	unsigned refuse;      /* so many calls from now on have used up their turn */
	bool stop;            /* … and then leave the loop */
	unsigned answer_with; /* so many notes are posted by the handler itself */
	unsigned forgotten;
} t;

static struct numbered *
numbered(unsigned thread, unsigned n)
{
	struct numbered *it = calloc(1, sizeof(*it));

	it->note.kind = NOTE_APPENDED;
	it->thread = thread;
	it->n = n;
	return it;
}

static void
post(unsigned n)
{
	mailbox_post(t.mailbox, &numbered(0, n)->note);
}

static bool
on_note(void *arg, struct note *note)
{
	struct numbered *it = CONTAINER_OF(note, struct numbered, note);

	/* No assertion in here: it would jump out of the loop. */
	if (arg != &t || note->kind != NOTE_APPENDED)
		abort();
	t.calls++;
	if (t.refuse > 0) {
		t.refuse--;
		if (t.stop)
			event_base_loopbreak(t.base);
		return false;
	}
	if (t.answer_with > 0) {
		t.answer_with--;
		post(it->n + 1);
		mailbox_wake(t.mailbox);
	}
	t.seen[t.n_seen++ % NOTES_MAX] = it->n;
	free(it);
	return true;
}

/* How far ahead each note was looked at, one digit a look, the first in front. */
static unsigned looks[NOTES_MAX];

static void
on_ahead(const struct note *note, unsigned ahead)
{
	const unsigned n = CONTAINER_OF(note, struct numbered, note)->n;

	if (ahead > 9)
		abort();
	looks[n] = looks[n] * 10 + ahead;
}

static void
forget(struct note *note)
{
	t.forgotten++;
	free(CONTAINER_OF(note, struct numbered, note));
}

static int
set_up(void **state UNUSED)
{
	memset(&t, 0, sizeof(t));
	t.base = event_base_new();
	t.mailbox = mailbox_new(t.base, on_note, NULL, &t);
	if (t.base == NULL || t.mailbox == NULL)
		return -1;
	mailbox_own(t.mailbox);
	return 0;
}

static int
tear_down(void **state UNUSED)
{
	mailbox_free(t.mailbox, forget);
	event_base_free(t.base);
	return 0;
}

/* One turn of the loop, without waiting. */
static void
turn(void)
{
	event_base_loop(t.base, EVLOOP_NONBLOCK | EVLOOP_ONCE);
}

static void
turns(unsigned n)
{
	while (n-- > 0)
		turn();
}

static void
test_notes_are_worked_in_the_order_of_their_posting(void **state UNUSED)
{
	for (unsigned i = 0; i < 10; i++)
		post(i);
	mailbox_wake(t.mailbox);
	turns(3);
	assert_int_equal(t.n_seen, 10);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(t.seen[i], i);
}

static void
test_who_is_worked_soon_is_looked_at_first_from_further_to_nearer(void **state UNUSED)
{
	const unsigned expected[] = {0, 1, 21, 321, 321, 321};

	mailbox_free(t.mailbox, forget);
	t.mailbox = mailbox_new(t.base, on_note, on_ahead, &t);
	assert_non_null(t.mailbox);
	mailbox_own(t.mailbox);
	memset(looks, 0, sizeof(looks));
	for (unsigned i = 0; i < ARRAY_LEN(expected); i++)
		post(i);
	mailbox_wake(t.mailbox);
	turns(3);
	assert_int_equal(t.n_seen, ARRAY_LEN(expected));
	for (unsigned i = 0; i < ARRAY_LEN(expected); i++)
		assert_int_equal(looks[i], expected[i]);
}

static void
test_posting_alone_wakes_nobody(void **state UNUSED)
{
	post(1);
	turns(3);
	assert_int_equal(t.n_seen, 0);
	mailbox_wake(t.mailbox);
	turns(3);
	assert_int_equal(t.n_seen, 1);
	/* Waking without a note, and twice, does no harm. */
	mailbox_wake(t.mailbox);
	mailbox_wake(t.mailbox);
	turns(3);
	post(2);
	mailbox_wake(t.mailbox);
	turns(3);
	assert_int_equal(t.n_seen, 2);
}

static void
test_a_note_whose_turn_was_used_up_comes_again_before_any_other(void **state UNUSED)
{
	post(1);
	post(2);
	mailbox_wake(t.mailbox);
	t.refuse = 3;
	t.stop = true;
	for (unsigned i = 1; i <= 3; i++) {
		turn();
		assert_int_equal(t.calls, i);
		assert_int_equal(t.n_seen, 0);
		post(2 + i);
		mailbox_wake(t.mailbox);
	}
	turns(10);
	assert_int_equal(t.n_seen, 5);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(t.seen[i], i + 1);
}

static void
test_notes_that_a_note_causes_are_worked_without_another_wake(void **state UNUSED)
{
	t.answer_with = 500;
	post(0);
	mailbox_wake(t.mailbox);
	turns(600);
	assert_int_equal(t.n_seen, 501);
	for (unsigned i = 0; i <= 500; i++)
		assert_int_equal(t.seen[i], i);
}

static void
on_pipe(UNUSED evutil_socket_t fd, UNUSED short what, void *arg)
{
	unsigned *seen_before = arg;

	if (*seen_before == 0)
		*seen_before = t.n_seen;
}

static void
test_sockets_get_their_turn_between_very_many_notes(void **state UNUSED)
{
	unsigned seen_before = 0;
	struct event *event;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
	event = event_new(t.base, fds[0], EV_READ | EV_PERSIST, on_pipe, &seen_before);
	for (unsigned i = 0; i < 2000; i++)
		post(i);
	mailbox_wake(t.mailbox);
	turn();
	event_add(event, NULL);
	turns(200);
	assert_int_equal(t.n_seen, 2000);
	for (unsigned i = 0; i < 2000; i++)
		assert_int_equal(t.seen[i], i);
	assert_in_range(seen_before, 1, 1999);
	event_free(event);
	close(fds[0]);
	close(fds[1]);
}

static void
test_freeing_forgets_what_is_left_taken_out_or_not(void **state UNUSED)
{
	post(1);
	post(2);
	mailbox_wake(t.mailbox);
	t.refuse = 1;
	t.stop = true;
	turn();
	post(3);
	mailbox_free(t.mailbox, forget);
	assert_int_equal(t.forgotten, 3);
	assert_int_equal(t.n_seen, 0);
	mailbox_free(NULL, forget);
	t.mailbox = mailbox_new(t.base, on_note, NULL, &t);
	assert_non_null(t.mailbox);
}

#define THREADS 4
#define EACH    20000

struct poster {
	pthread_t thread;
	unsigned number;
};

static struct {
	unsigned next[THREADS], total;
	bool in_order;
} many;

static bool
on_many(UNUSED void *arg, struct note *note)
{
	struct numbered *it = CONTAINER_OF(note, struct numbered, note);

	if (it->n != many.next[it->thread]++)
		many.in_order = false;
	many.total++;
	free(it);
	return true;
}

static void *
post_many(void *arg)
{
	struct poster *p = arg;

	for (unsigned i = 0; i < EACH; i++) {
		mailbox_post(t.mailbox, &numbered(p->number, i)->note);
		/* Now for one, now for a batch: no note may wait for the next batch. */
		if (i % 7 != 3 || i == EACH - 1)
			mailbox_wake(t.mailbox);
	}
	return NULL;
}

static void
on_tick(UNUSED evutil_socket_t fd, UNUSED short what, UNUSED void *arg)
{
}

/* The last wake-up of each thread must be heard, or this would wait until its deadline. */
static void
test_no_note_of_several_threads_is_lost_or_overtaken(void **state UNUSED)
{
	struct poster posters[THREADS];
	const struct timeval second = {1, 0};
	struct event *tick;
	time_t end = time(NULL) + DEADLINE_S;

	mailbox_free(t.mailbox, forget);
	t.mailbox = mailbox_new(t.base, on_many, NULL, &t);
	mailbox_own(t.mailbox);
	memset(&many, 0, sizeof(many));
	many.in_order = true;
	tick = event_new(t.base, -1, EV_PERSIST, on_tick, NULL);
	event_add(tick, &second);
	for (unsigned i = 0; i < THREADS; i++) {
		posters[i].number = i;
		assert_int_equal(
		    pthread_create(&posters[i].thread, NULL, post_many, &posters[i]), 0);
	}
	while (many.total < THREADS * EACH && time(NULL) < end)
		event_base_loop(t.base, EVLOOP_ONCE);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(posters[i].thread, NULL);
	event_free(tick);
	assert_int_equal(many.total, THREADS * EACH);
	assert_true(many.in_order);
	turns(3);
	assert_int_equal(many.total, THREADS * EACH);
}

static void *
wake_once(UNUSED void *arg)
{
	post(9);
	mailbox_wake(t.mailbox);
	return NULL;
}

static void
test_a_loop_that_sleeps_is_woken_by_another_thread(void **state UNUSED)
{
	const struct timeval limit = {DEADLINE_S, 0};
	pthread_t thread;

	event_base_loopexit(t.base, &limit);
	assert_int_equal(pthread_create(&thread, NULL, wake_once, NULL), 0);
	while (t.n_seen == 0 && !event_base_got_exit(t.base))
		event_base_loop(t.base, EVLOOP_ONCE);
	pthread_join(thread, NULL);
	assert_int_equal(t.n_seen, 1);
	assert_int_equal(t.seen[0], 9);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(test_notes_are_worked_in_the_order_of_their_posting),
	    TEST(test_who_is_worked_soon_is_looked_at_first_from_further_to_nearer),
	    TEST(test_posting_alone_wakes_nobody),
	    TEST(test_a_note_whose_turn_was_used_up_comes_again_before_any_other),
	    TEST(test_notes_that_a_note_causes_are_worked_without_another_wake),
	    TEST(test_sockets_get_their_turn_between_very_many_notes),
	    TEST(test_freeing_forgets_what_is_left_taken_out_or_not),
	    TEST(test_no_note_of_several_threads_is_lost_or_overtaken),
	    TEST(test_a_loop_that_sleeps_is_woken_by_another_thread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
