/*
 * Who attends, as a server on loopback hears of it. The clock stands still until a test
 * sets it, so nobody leaves but when the test says so. Nothing sleeps: the loop runs until
 * a condition holds, or the test fails at a deadline.
 */
#include "passthrough/attendance.h"

#include "base/clock.h"
#include "passthrough/passthrough.h"
#include "passthrough/trouble.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <cmocka.h>

#define DEADLINE_MS 20000
#define EVENTS_MAX  4000
#define CLIENTS_MAX 64
#define START_MS    1000000
/* Header lines as a notice has them, with who it is. */
#define LINES(who) "X-Who: " who "\0"

static struct {
	struct event_base *base;
	struct event *tick; /* the loop comes back to look at the condition */
	struct evconnlistener *listener;
	struct bufferevent *clients[CLIENTS_MAX];
	unsigned n_clients;
	bool holds; /* requests are read and not answered */
	unsigned held;
	char url[64];
	struct troubles *troubles;
	struct passthrough *p;
	struct attendance *a;
	/* What came: "+c anna", "-c anna". */
	char events[EVENTS_MAX][40];
	unsigned n_events;
} env;

static void
answer(struct bufferevent *bev)
{
	static const char text[] = "HTTP/1.1 204 No Content\r\n\r\n";

	bufferevent_write(bev, text, sizeof(text) - 1);
}

/* Takes one whole request out of the input; false: it is not all there. */
static bool
take_request(struct evbuffer *in)
{
	struct evbuffer_ptr end = evbuffer_search(in, "\r\n\r\n", 4, NULL);
	char text[1024], channel[16], who[16] = "", *at;
	size_t len, body_len;

	if (end.pos < 0)
		return false;
	len = (size_t)evbuffer_copyout(in, text, sizeof(text) - 1);
	text[len] = '\0';
	at = strcasestr(text, "\r\nContent-Length: ");
	assert_non_null(at);
	body_len = strtoul(at + 18, NULL, 10);
	if (len < (size_t)end.pos + 4 + body_len)
		return false;
	at = strstr(text, "\r\nX-Who: ");
	if (at != NULL)
		sscanf(at + 9, "%15s", who);
	at = text + end.pos + 4;
	assert_int_equal(sscanf(at, "channel_id=%15[^&]", channel), 1);
	assert_true(env.n_events < EVENTS_MAX);
	snprintf(env.events[env.n_events++], sizeof(env.events[0]), "%c%s %s",
	    strstr(at, "&subscribe=1") != NULL ? '+' : '-', channel, who);
	evbuffer_drain(in, (size_t)end.pos + 4 + body_len);
	return true;
}

static void
on_read(struct bufferevent *bev, void *arg UNUSED)
{
	while (take_request(bufferevent_get_input(bev))) {
		if (env.holds)
			env.held++;
		else
			answer(bev);
	}
}

static void
on_accept(struct evconnlistener *l UNUSED, evutil_socket_t fd, struct sockaddr *addr UNUSED,
    int addr_len UNUSED, void *arg UNUSED)
{
	struct bufferevent *bev = bufferevent_socket_new(env.base, fd, BEV_OPT_CLOSE_ON_FREE);

	assert_true(env.n_clients < CLIENTS_MAX);
	env.clients[env.n_clients++] = bev;
	bufferevent_setcb(bev, on_read, NULL, NULL, NULL);
	bufferevent_enable(bev, EV_READ | EV_WRITE);
}

/* Answers what is held, and from now on at once. All connections have one, or none. */
static void
release(void)
{
	env.holds = false;
	assert_int_equal(env.held, env.n_clients);
	env.held = 0;
	for (unsigned i = 0; i < env.n_clients; i++)
		answer(env.clients[i]);
}

static void
on_tick(evutil_socket_t fd UNUSED, short what UNUSED, void *arg UNUSED)
{
}

static uint64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Runs the loop until the condition holds. */
#define RUN_UNTIL(condition)                                             \
	do {                                                             \
		uint64_t deadline_ = now_ms() + DEADLINE_MS;             \
                                                                         \
		while (!(condition)) {                                   \
			if (now_ms() > deadline_)                        \
				fail_msg("not in time: %s", #condition); \
			event_base_loop(env.base, EVLOOP_ONCE);          \
		}                                                        \
	} while (0)

static int
set_up(void **state UNUSED)
{
	static const struct timeval tick = {.tv_usec = 2000};
	struct sockaddr_in addr = {
	    .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(addr);

	memset(&env, 0, sizeof(env));
	env.base = event_base_new();
	env.tick = event_new(env.base, -1, EV_PERSIST, on_tick, NULL);
	event_add(env.tick, &tick);
	env.listener = evconnlistener_new_bind(env.base, on_accept, NULL, LEV_OPT_CLOSE_ON_FREE, -1,
	    (struct sockaddr *)&addr, sizeof(addr));
	assert_non_null(env.listener);
	getsockname(evconnlistener_get_fd(env.listener), (struct sockaddr *)&addr, &len);
	snprintf(env.url, sizeof(env.url), "http://127.0.0.1:%u/passthrough", ntohs(addr.sin_port));
	env.troubles = troubles_new();
	clock_set(START_MS, 1);
	return 0;
}

static void
begin_with(unsigned lingering, struct passthrough_limits limits)
{
	env.p = passthrough_new(env.base, &limits, env.troubles);
	assert_non_null(env.p);
	env.a = attendance_new(env.base, env.p, lingering);
	assert_non_null(env.a);
}

static void
begin(unsigned lingering)
{
	begin_with(lingering,
	    (struct passthrough_limits){.notices = 10000, .connections = 8, .timeout_ms = 10000});
}

static int
tear_down(void **state UNUSED)
{
	attendance_free(env.a);
	passthrough_free(env.p);
	troubles_free(env.troubles);
	for (unsigned i = 0; i < env.n_clients; i++)
		bufferevent_free(env.clients[i]);
	evconnlistener_free(env.listener);
	event_free(env.tick);
	event_base_free(env.base);
	return 0;
}

static struct attendee
attendee(const char *channel, const char *who, uint32_t linger_ms)
{
	return (struct attendee){
	    .place = 1,
	    .who = table_digest(who, strlen(who)),
	    .id = channel,
	    .id_len = strlen(channel),
	    .id_hash = table_hash(channel, strlen(channel)),
	    .url = env.url,
	    .linger_ms = linger_ms,
	};
}

static int
join_with(const struct attendee *a, const char *lines, size_t len)
{
	struct notice_headers *headers = notice_headers_new(lines, len);
	int rc = attendance_join(env.a, a, headers);

	notice_headers_unref(headers);
	return rc;
}

static void
join(const char *channel, const char *who, uint32_t linger_ms)
{
	const struct attendee a = attendee(channel, who, linger_ms);
	char lines[64];
	int len = snprintf(lines, sizeof(lines), "X-Who: %s", who);

	lines[len + 1] = '\0';
	if (!attendance_rejoin(env.a, &a))
		assert_int_equal(join_with(&a, lines, (size_t)len + 2), 0);
}

static void
leave(const char *channel, const char *who, uint32_t linger_ms)
{
	const struct attendee a = attendee(channel, who, linger_ms);

	attendance_leave(env.a, &a);
}

static void
come_and_go(const char *channel, const char *who, uint32_t linger_ms)
{
	join(channel, who, linger_ms);
	leave(channel, who, linger_ms);
}

/* Waits until so much has come, in this order. */
static void
assert_events(const char *const *expected, unsigned n)
{
	RUN_UNTIL(env.n_events >= n && passthrough_idle(env.p));
	assert_int_equal(env.n_events, n);
	for (unsigned i = 0; i < n; i++)
		assert_string_equal(env.events[i], expected[i]);
}
#define ASSERT_EVENTS(...)                                \
	assert_events((const char *const[]){__VA_ARGS__}, \
	    sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

/* --- */

static void
test_who_is_back_before_its_time_is_over_never_left(void **state UNUSED)
{
	begin(100);
	come_and_go("c", "anna", 50);
	clock_set(START_MS + 49, 1);
	ASSERT_EVENTS("+c anna");
	come_and_go("c", "anna", 50);
	/* The time that it had begun at first has no meaning any more. */
	clock_set(START_MS + 98, 1);
	come_and_go("d", "ben", 60000);
	ASSERT_EVENTS("+c anna", "+d ben");
	clock_set(START_MS + 99, 1);
	ASSERT_EVENTS("+c anna", "+d ben", "-c anna");
}

static void
test_who_is_held_many_times_has_left_with_the_last(void **state UNUSED)
{
	begin(100);
	for (int i = 0; i < 3; i++)
		join("c", "anna", 10);
	leave("c", "anna", 10);
	leave("c", "anna", 10);
	clock_set(START_MS + 100000, 1);
	join("d", "ben", 10);
	ASSERT_EVENTS("+c anna", "+d ben");
	leave("c", "anna", 10);
	clock_set(START_MS + 100010, 1);
	ASSERT_EVENTS("+c anna", "+d ben", "-c anna");
}

/* What is known is the same whether lines come along or not. */
static void
test_who_is_known_needs_no_lines_and_who_has_left_does(void **state UNUSED)
{
	const struct attendee a = attendee("c", "anna", 10);
	static const char lines[] = "X-Who: anna\0";

	begin(100);
	assert_false(attendance_rejoin(env.a, &a));
	assert_int_equal(join_with(&a, lines, sizeof(lines)), 0);
	ASSERT_EVENTS("+c anna");
	assert_int_equal(join_with(&a, lines, sizeof(lines)), 0);
	assert_true(attendance_rejoin(env.a, &a));
	for (int held = 3; held > 0; held--)
		attendance_leave(env.a, &a);
	clock_set(START_MS + 9, 1);
	assert_true(attendance_rejoin(env.a, &a));
	clock_set(START_MS + 100, 1);
	attendance_leave(env.a, &a);
	clock_set(START_MS + 110, 1);
	ASSERT_EVENTS("+c anna", "-c anna");
	assert_false(attendance_rejoin(env.a, &a));
}

static void
test_each_leaves_when_its_own_linger_is_over(void **state UNUSED)
{
	begin(100);
	come_and_go("long", "anna", 90);
	ASSERT_EVENTS("+long anna");
	come_and_go("short", "anna", 10);
	ASSERT_EVENTS("+long anna", "+short anna");
	clock_set(START_MS + 10, 1);
	ASSERT_EVENTS("+long anna", "+short anna", "-short anna");
	clock_set(START_MS + 90, 1);
	ASSERT_EVENTS("+long anna", "+short anna", "-short anna", "-long anna");
}

static void
test_more_than_may_linger_push_out_who_began_first_whatever_its_linger(void **state UNUSED)
{
	begin(2);
	come_and_go("long", "anna", 90000);
	ASSERT_EVENTS("+long anna");
	clock_set(START_MS + 1, 1);
	come_and_go("short", "ben", 5000);
	ASSERT_EVENTS("+long anna", "+short ben");
	clock_set(START_MS + 2, 1);
	come_and_go("short", "cyril", 5000);
	ASSERT_EVENTS("+long anna", "+short ben", "+short cyril", "-long anna");
	come_and_go("long", "anna", 90000);
	ASSERT_EVENTS(
	    "+long anna", "+short ben", "+short cyril", "-long anna", "+long anna", "-short ben");
}

static void
test_a_thousand_whose_time_is_over_together_have_all_left(void **state UNUSED)
{
	char who[16];

	begin(2000);
	for (int i = 0; i < 1000; i++) {
		snprintf(who, sizeof(who), "%d", i);
		come_and_go("c", who, 50);
	}
	RUN_UNTIL(env.n_events == 1000);
	clock_set(START_MS + 50, 1);
	RUN_UNTIL(env.n_events == 2000);
	for (unsigned i = 0; i < 2000; i++)
		assert_int_equal(env.events[i][0], i < 1000 ? '+' : '-');
}

static void
test_who_returns_does_not_overtake_its_leaving(void **state UNUSED)
{
	begin(100);
	env.holds = true;
	come_and_go("c", "anna", 10);
	RUN_UNTIL(env.held == 1);
	clock_set(START_MS + 10, 1);
	/* The leaving waits for the answer to the arrival, and is all that is left of it. */
	RUN_UNTIL(passthrough_pending(env.p) == 2);
	join("c", "anna", 10);
	assert_int_equal(env.n_events, 1);
	release();
	ASSERT_EVENTS("+c anna", "-c anna", "+c anna");
}

static void
test_who_leaves_again_before_anything_was_told_is_told_of_in_pairs(void **state UNUSED)
{
	begin(100);
	env.holds = true;
	for (unsigned i = 1; i <= 3; i++) {
		come_and_go("c", "anna", 10);
		clock_set(START_MS + i * 10, 1);
		RUN_UNTIL(passthrough_pending(env.p) == 2 * i);
	}
	RUN_UNTIL(env.held == 1);
	release();
	ASSERT_EVENTS("+c anna", "-c anna", "+c anna", "-c anna", "+c anna", "-c anna");
}

static void
test_an_arrival_that_found_no_room_is_told_when_it_polls_again(void **state UNUSED)
{
	begin_with(
	    100, (struct passthrough_limits){.notices = 1, .connections = 1, .timeout_ms = 10000});
	env.holds = true;
	join("c", "under-way", 10);
	RUN_UNTIL(env.held == 1);
	join("c", "waiting", 10);
	join("c", "anna", 10);
	join("c", "ben", 10);
	assert_int_equal(passthrough_counters(env.p)->dropped, 2);
	release();
	ASSERT_EVENTS("+c under-way", "+c waiting");
	/* A second request of it, while the first is held. */
	join("c", "anna", 10);
	ASSERT_EVENTS("+c under-way", "+c waiting", "+c anna");
	leave("c", "anna", 10);
	leave("c", "anna", 10);
	/* Of him Django has not heard, so neither does it that he left. */
	leave("c", "ben", 10);
	clock_set(START_MS + 10, 1);
	ASSERT_EVENTS("+c under-way", "+c waiting", "+c anna", "-c anna");
	come_and_go("c", "ben", 10);
	ASSERT_EVENTS("+c under-way", "+c waiting", "+c anna", "-c anna", "+c ben");
}

static void
test_nobody_lingers_once_a_drain_has_begun(void **state UNUSED)
{
	begin(100);
	come_and_go("c", "anna", 1000000);
	join("c", "ben", 1000000);
	ASSERT_EVENTS("+c anna", "+c ben");
	attendance_drain(env.a);
	ASSERT_EVENTS("+c anna", "+c ben", "-c anna");
	leave("c", "ben", 1000000);
	ASSERT_EVENTS("+c anna", "+c ben", "-c anna", "-c ben");
	come_and_go("c", "anna", 1000000);
	ASSERT_EVENTS("+c anna", "+c ben", "-c anna", "-c ben", "+c anna", "-c anna");
}

static void
test_who_did_not_join_does_not_leave(void **state UNUSED)
{
	begin(100);
	leave("c", "anna", 10);
	come_and_go("c", "anna", 10);
	leave("c", "anna", 10);
	clock_set(START_MS + 10, 1);
	ASSERT_EVENTS("+c anna", "-c anna");
}

static void
test_place_channel_and_identity_tell_attendees_apart(void **state UNUSED)
{
	struct attendee elsewhere = attendee("c", "anna", 10);

	begin(100);
	elsewhere.url = env.url;
	elsewhere.place = 2;
	join("c", "anna", 10);
	join("c", "ben", 10);
	join("cc", "anna", 10);
	assert_int_equal(join_with(&elsewhere, LINES("anna"), sizeof(LINES("anna"))), 0);
	RUN_UNTIL(env.n_events == 4 && passthrough_idle(env.p));
	leave("c", "anna", 10);
	clock_set(START_MS + 10, 1);
	RUN_UNTIL(env.n_events == 5 && passthrough_idle(env.p));
	assert_string_equal(env.events[4], "-c anna");
}

/* What is there, lingers, or has left and is not yet told of; the sanitizer looks. */
static void
test_the_end_frees_all_whatever_they_do(void **state UNUSED)
{
	begin(100);
	env.holds = true;
	join("c", "anna", 10);
	come_and_go("c", "ben", 1000);
	come_and_go("c", "cyril", 10);
	RUN_UNTIL(env.held == 3);
	clock_set(START_MS + 10, 1);
	RUN_UNTIL(passthrough_pending(env.p) == 4);
	attendance_free(env.a);
	env.a = NULL;
	assert_int_equal(passthrough_pending(env.p), 6);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(test_who_is_back_before_its_time_is_over_never_left),
	    TEST(test_who_is_held_many_times_has_left_with_the_last),
	    TEST(test_who_is_known_needs_no_lines_and_who_has_left_does),
	    TEST(test_each_leaves_when_its_own_linger_is_over),
	    TEST(test_more_than_may_linger_push_out_who_began_first_whatever_its_linger),
	    TEST(test_a_thousand_whose_time_is_over_together_have_all_left),
	    TEST(test_who_returns_does_not_overtake_its_leaving),
	    TEST(test_who_leaves_again_before_anything_was_told_is_told_of_in_pairs),
	    TEST(test_an_arrival_that_found_no_room_is_told_when_it_polls_again),
	    TEST(test_nobody_lingers_once_a_drain_has_begun),
	    TEST(test_who_did_not_join_does_not_leave),
	    TEST(test_place_channel_and_identity_tell_attendees_apart),
	    TEST(test_the_end_frees_all_whatever_they_do),
	};

	if (passthrough_global_init() < 0 || table_seed() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
