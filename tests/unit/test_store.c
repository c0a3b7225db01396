/*
 * The memory store against the contract in store/store.h. The clock is the test's; notes
 * are read out of mailboxes of the test's own, which stand for workers.
 */
#include "store/store.h"

#include "base/attr.h"
#include "base/clock.h"
#include "base/mailbox.h"

#include <event2/event.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WORKERS   4
#define NOTES_MAX 65536

/* One worker as the store sees it. */
struct worker {
	struct event_base *base;
	struct mailbox *mailbox;
	struct store_note *notes[NOTES_MAX]; /* in the order in which they were worked */
	size_t n_notes;
};

static struct {
	struct store *store;
	uint64_t now_ms;
	int64_t wall_s;
	struct worker workers[WORKERS];
} t;

/* The watches of a query for one channel. */
#define ONE(watch) ((struct store_watch *[]){watch})

/* A bound that no test reaches unless it means to. */
#define ROOMY (64 * 1024 * 1024)

static bool
on_note(void *arg, struct note *note)
{
	struct worker *w = arg;

	if (w->n_notes == NOTES_MAX)
		abort();
	w->notes[w->n_notes++] = CONTAINER_OF(note, struct store_note, note);
	return true;
}

static void
forget_note(struct note *note)
{
	store_note_free(CONTAINER_OF(note, struct store_note, note));
}

static void
open_store(struct retention keep)
{
	if (keep.max_memory == 0)
		keep.max_memory = ROOMY;
	store_close(t.store);
	t.store = store_open("memory", 0, &keep);
	assert_non_null(t.store);
}

static int
set_up(void **state UNUSED)
{
	memset(&t, 0, sizeof(t));
	t.now_ms = 1000000;
	t.wall_s = 1763690000;
	clock_set(t.now_ms, t.wall_s);
	for (size_t i = 0; i < WORKERS; i++) {
		struct worker *w = &t.workers[i];

		w->base = event_base_new();
		w->mailbox = mailbox_new(w->base, on_note, NULL, w);
		if (w->mailbox == NULL)
			return -1;
	}
	open_store((struct retention){.max_messages = 0});
	return 0;
}

static int
tear_down(void **state UNUSED)
{
	store_close(t.store);
	for (size_t i = 0; i < WORKERS; i++) {
		struct worker *w = &t.workers[i];

		mailbox_free(w->mailbox, forget_note);
		event_base_free(w->base);
		while (w->n_notes > 0)
			store_note_free(w->notes[--w->n_notes]);
	}
	return 0;
}

static void
pass_ms(uint64_t ms)
{
	t.now_ms += ms;
	t.wall_s += (int64_t)(t.now_ms / 1000 - (t.now_ms - ms) / 1000);
	clock_set(t.now_ms, t.wall_s);
}

/* The wall clock jumps; the monotonic one does not. */
static void
step_wall(int64_t seconds)
{
	t.wall_s += seconds;
	clock_set(t.now_ms, t.wall_s);
}

static struct channel_key
key(const char *channel)
{
	return channel_key(channel, strlen(channel));
}

/* What a memory store must not do: answer later. */
static void
never(UNUSED void *arg, UNUSED enum store_answer answer, UNUSED struct store_result *result)
{
	abort();
}

static struct message *
new_message(const char *type, const void *body, size_t body_len)
{
	return message_new(&(struct message_parts){
	    .content_type = {type, type == NULL ? 0 : strlen(type)}, .body = {body, body_len}});
}

struct posted {
	enum store_status status;
	struct msgid id;
	struct store_info info;
	unsigned notes;
};

static struct posted
append_bytes(const char *channel, const void *body, size_t len, unsigned flags, void *reply)
{
	struct message *msg = new_message("text/plain", body, len);
	struct channel_key k = key(channel);
	struct store_result result;
	struct posted posted;

	memset(&result, 0xee, sizeof(result));
	assert_int_equal(
	    store_append(t.store, &k, msg, flags, reply, &result, never, NULL, NULL), STORE_DONE);
	posted = (struct posted){result.status, msg->id, result.info, result.notes};
	message_unref(msg);
	return posted;
}

/* A POST with the usual settings; it must be taken. */
static struct msgid
post(const char *channel, const char *body)
{
	struct posted posted = append_bytes(
	    channel, body, strlen(body), STORE_APPEND_CREATE | STORE_APPEND_KEEP, NULL);

	assert_int_equal(posted.status, STORE_OK);
	return posted.id;
}

/* store_messages: false */
static struct msgid
post_foregone(const char *channel, const char *body)
{
	struct posted posted = append_bytes(channel, body, strlen(body), STORE_APPEND_CREATE, NULL);

	assert_int_equal(posted.status, STORE_OK);
	return posted.id;
}

static struct store_result
next(const char *channel, const struct store_query *query)
{
	struct channel_key k = key(channel);
	struct store_result result;

	memset(&result, 0xee, sizeof(result));
	assert_int_equal(store_next(t.store, &k, 1, query, &result, never, NULL, NULL), STORE_DONE);
	if (result.status != STORE_OK)
		assert_null(result.msg);
	else
		assert_non_null(result.msg);
	return result;
}

static void
assert_message(struct store_result result, const char *body)
{
	assert_int_equal(result.status, STORE_OK);
	assert_int_equal(result.msg->body_len, strlen(body));
	assert_memory_equal(message_body(result.msg), body, strlen(body));
	message_unref(result.msg);
}

static struct store_result
next_after(const char *channel, struct msgid after)
{
	return next(channel, &(struct store_query){.has_after = true, .after = after});
}

static struct store_result
oldest(const char *channel)
{
	return next(channel, &(struct store_query){.has_after = false});
}

static bool
gap_after(const char *channel, struct msgid after)
{
	struct store_result result = next_after(channel, after);

	message_unref(result.msg);
	return result.gap;
}

/* Bodies of the channel's messages, as one who reads on from the beginning gets them. */
static const char *
contents(const char *channel)
{
	static char text[4096];
	struct store_result result = oldest(channel);
	size_t len = 0;

	text[0] = '\0';
	while (result.status == STORE_OK) {
		struct msgid id = result.msg->id;

		assert_true(len + result.msg->body_len + 2 < sizeof(text));
		if (len > 0)
			text[len++] = ' ';
		memcpy(text + len, message_body(result.msg), result.msg->body_len);
		len += result.msg->body_len;
		text[len] = '\0';
		message_unref(result.msg);
		result = next_after(channel, id);
		assert_false(result.gap);
	}
	return result.status == STORE_NO_CHANNEL ? "(no channel)" : text;
}

static enum store_status
create(const char *channel)
{
	struct channel_key k = key(channel);
	struct store_result result;

	assert_int_equal(store_create(t.store, &k, &result, never, NULL, NULL), STORE_DONE);
	return result.status;
}

static struct store_result
info(const char *channel)
{
	struct channel_key k = key(channel);
	struct store_result result;

	memset(&result, 0xee, sizeof(result));
	assert_int_equal(store_info(t.store, &k, &result, never, NULL, NULL), STORE_DONE);
	return result;
}

static bool
exists(const char *channel)
{
	return info(channel).status == STORE_OK;
}

static struct store_result
drop(const char *channel, void *reply)
{
	struct channel_key k = key(channel);
	struct store_result result;

	memset(&result, 0xee, sizeof(result));
	assert_int_equal(store_drop(t.store, &k, reply, &result, never, NULL, NULL), STORE_DONE);
	return result;
}

static void
sweep(void)
{
	int n = 0;

	while (store_sweep(t.store))
		assert_true(++n < 100000);
}

/* A worker's watch of one channel. */
static struct store_watch
watch_of(unsigned worker)
{
	return (struct store_watch){.mailbox = t.workers[worker].mailbox};
}

/* A subscriber begins to wait, after everything there is; its position is returned. */
static struct msgid
wait_in(const char *channel, struct store_watch *watch)
{
	struct store_result result = next(channel,
	    &(struct store_query){
		.has_after = true, .after = {INT64_MAX, 0}, .create = true, .watches = ONE(watch)});

	assert_int_equal(result.status, STORE_NOTHING_NEWER);
	return result.newest;
}

static void
stop_waiting(struct store_watch *watch)
{
	store_leave(watch, clock_ms());
}

/* How many notes a worker has got in all. */
static size_t
notes_of(unsigned worker)
{
	struct worker *w = &t.workers[worker];

	mailbox_own(w->mailbox);
	for (size_t before = SIZE_MAX; before != w->n_notes;) {
		before = w->n_notes;
		event_base_loop(w->base, EVLOOP_NONBLOCK);
	}
	mailbox_own(NULL);
	return w->n_notes;
}

static const struct store_note *
note(unsigned worker, size_t i)
{
	assert_true(i < notes_of(worker));
	return t.workers[worker].notes[i];
}

static bool
id_below(struct msgid a, struct msgid b)
{
	return msgid_cmp(a, b) < 0;
}

/* ---- ids ------------------------------------------------------------------------- */

static void
test_ids_increase_over_all_channels(void **state UNUSED)
{
	static const char *const channels[] = {"a", "b", "c"};
	struct msgid last = {0, 0};

	for (int i = 0; i < 300; i++) {
		struct msgid id =
		    i % 5 == 0 ? post_foregone(channels[i % 3], "x") : post(channels[i % 3], "x");

		assert_true(id_below(last, id));
		last = id;
		if (i % 7 == 0)
			pass_ms(700);
	}
}

static void
test_ids_go_on_increasing_when_the_clock_steps_back(void **state UNUSED)
{
	struct msgid before, id;
	int64_t second;

	post("a", "1");
	pass_ms(1000);
	before = post("a", "2");
	second = before.second;
	assert_int_equal(second, t.wall_s);
	for (int i = 0; i < 20; i++) {
		step_wall(i % 2 == 0 ? -3600 : 10);
		id = post(i % 3 ? "a" : "b", "x");
		assert_true(id_below(before, id));
		/* The second stands still and the tags go on. */
		assert_int_equal(id.second, second);
		before = id;
	}
	step_wall(1000000);
	id = post("a", "x");
	assert_int_equal(id.second, t.wall_s);
	assert_true(id_below(before, id));
}

static void
test_no_id_comes_again_after_delete(void **state UNUSED)
{
	struct msgid before = post("a", "1"), id;

	for (int i = 0; i < 10; i++) {
		assert_int_equal(drop("a", NULL).status, STORE_OK);
		id = i % 2 ? post("a", "2") : post_foregone("a", "2");
		assert_true(id_below(before, id));
		before = id;
	}
}

static void
test_messages_that_are_not_stored_have_ids_of_their_own(void **state UNUSED)
{
	struct msgid first = post_foregone("a", "1"), second = post_foregone("a", "2"),
		     third = post("a", "3");

	assert_true(id_below(first, second));
	assert_true(id_below(second, third));
	assert_string_equal(contents("a"), "3");
}

static void *
ids_over_a_restart(void *arg)
{
	struct msgid *ids = arg;
	struct retention keep = {.max_memory = ROOMY};

	/* In the real time of this thread. */
	for (int i = 0; i < 2; i++) {
		struct message *msg = new_message(NULL, "x", 1);
		struct channel_key k = key("a");
		struct store_result result;
		struct store *s;

		clock_turn();
		s = store_open("memory", 0, &keep);
		if (s == NULL || store_append(s, &k, msg, STORE_APPEND_CREATE, NULL, &result, never,
				     NULL, NULL) != STORE_DONE)
			abort();
		ids[i] = msg->id;
		message_unref(msg);
		store_close(s);
	}
	return NULL;
}

static void
test_a_restart_within_the_same_second_repeats_no_id(void **state UNUSED)
{
	for (int i = 0; i < 20; i++) {
		struct msgid ids[2];
		pthread_t thread;

		assert_int_equal(pthread_create(&thread, NULL, ids_over_a_restart, ids), 0);
		pthread_join(thread, NULL);
		assert_true(id_below(ids[0], ids[1]));
	}
}

static void
test_the_first_message_of_a_new_second_begins_its_tags(void **state UNUSED)
{
	post("a", "1");
	pass_ms(1000);
	assert_int_equal(post("a", "2").second, t.wall_s);
	assert_int_equal(msgid_cmp(post("b", "3"), (struct msgid){t.wall_s, 1}), 0);
}

/* ---- reading --------------------------------------------------------------------- */

static void
test_a_reader_gets_every_message_once_and_in_order(void **state UNUSED)
{
	post("a", "1");
	post("b", "other");
	post("a", "2");
	pass_ms(5000);
	post("a", "3");
	assert_string_equal(contents("a"), "1 2 3");
	assert_string_equal(contents("b"), "other");
	assert_int_equal(
	    next_after("a", (struct msgid){t.wall_s + 1, 0}).status, STORE_NOTHING_NEWER);
	assert_int_equal(oldest("c").status, STORE_NO_CHANNEL);
}

static void
test_a_second_alone_means_its_first_message(void **state UNUSED)
{
	struct msgid first;

	post("a", "before");
	pass_ms(1000);
	first = post("a", "1");
	post("a", "2");
	assert_message(next_after("a", (struct msgid){first.second, -1}), "1");
	assert_message(next_after("a", (struct msgid){first.second - 1, INT64_MAX}), "1");
	assert_message(next_after("a", first), "2");
}

static void
test_a_message_comes_as_it_was_given(void **state UNUSED)
{
	struct store_result result;
	struct msgid first =
	    append_bytes("a", "\0\r\n\xff", 4, STORE_APPEND_CREATE | STORE_APPEND_KEEP, NULL).id;

	append_bytes("a", "", 0, STORE_APPEND_CREATE | STORE_APPEND_KEEP, NULL);
	result = oldest("a");
	assert_int_equal(result.msg->body_len, 4);
	assert_memory_equal(message_body(result.msg), "\0\r\n\xff", 4);
	assert_memory_equal(message_content_type(result.msg), "text/plain", 10);
	assert_int_equal(result.msg->channel->key.len, 1);
	assert_memory_equal(result.msg->channel->key.bytes, "a", 1);
	message_unref(result.msg);
	result = next_after("a", first);
	assert_int_equal(result.status, STORE_OK);
	assert_int_equal(result.msg->body_len, 0);
	message_unref(result.msg);
}

static void
test_ids_of_channels_are_bytes(void **state UNUSED)
{
	struct message *msg = new_message(NULL, "x", 1);
	struct channel_key odd = channel_key("a\0b/", 4), other = channel_key("a\0c/", 4);
	struct store_result result;

	assert_int_equal(store_append(t.store, &odd, msg, STORE_APPEND_CREATE | STORE_APPEND_KEEP,
			     NULL, &result, never, NULL, NULL),
	    STORE_DONE);
	message_unref(msg);
	assert_int_equal(store_info(t.store, &other, &result, never, NULL, NULL), STORE_DONE);
	assert_int_equal(result.status, STORE_NO_CHANNEL);
	assert_int_equal(store_info(t.store, &odd, &result, never, NULL, NULL), STORE_DONE);
	assert_int_equal(result.status, STORE_OK);
	assert_false(exists("a"));
}

static void
test_newest_is_the_newest_id_of_the_whole_store(void **state UNUSED)
{
	struct msgid id;

	post("a", "1");
	id = post("b", "2");
	assert_int_equal(msgid_cmp(next_after("a", id).newest, id), 0);
	id = post_foregone("b", "3");
	assert_int_equal(msgid_cmp(next_after("a", id).newest, id), 0);
}

/* ---- limits ---------------------------------------------------------------------- */

static void
test_max_messages_keeps_the_newest_of_each_channel(void **state UNUSED)
{
	char body[16];

	open_store((struct retention){.max_messages = 3});
	for (int i = 1; i <= 20; i++) {
		struct posted posted;

		snprintf(body, sizeof(body), "%d", i);
		posted = append_bytes(
		    "a", body, strlen(body), STORE_APPEND_CREATE | STORE_APPEND_KEEP, NULL);
		/* Counted after the request. */
		assert_int_equal(posted.info.messages, i < 3 ? i : 3);
	}
	post("b", "1");
	assert_string_equal(contents("a"), "18 19 20");
	assert_string_equal(contents("b"), "1");
	/* What is not stored pushes nothing out. */
	post_foregone("a", "21");
	assert_string_equal(contents("a"), "18 19 20");
}

static void
test_max_messages_of_one_keeps_one(void **state UNUSED)
{
	open_store((struct retention){.max_messages = 1, .min_messages = 1, .age_ms = 10});
	post("a", "1");
	post("a", "2");
	assert_string_equal(contents("a"), "2");
	pass_ms(1000);
	assert_string_equal(contents("a"), "2");
}

static void
test_messages_go_at_their_age_to_the_millisecond(void **state UNUSED)
{
	open_store((struct retention){.age_ms = 5000});
	post("a", "1");
	pass_ms(1);
	post("a", "2");
	pass_ms(4998);
	assert_string_equal(contents("a"), "1 2");
	pass_ms(1);
	assert_string_equal(contents("a"), "2");
	assert_int_equal(info("a").info.messages, 1);
	pass_ms(1);
	assert_string_equal(contents("a"), "");
	assert_int_equal(info("a").info.messages, 0);
}

static void
test_age_is_not_of_the_wall_clock(void **state UNUSED)
{
	open_store((struct retention){.age_ms = 5000});
	post("a", "1");
	step_wall(3600);
	assert_string_equal(contents("a"), "1");
	step_wall(-7200);
	pass_ms(4999);
	assert_string_equal(contents("a"), "1");
	pass_ms(1);
	assert_string_equal(contents("a"), "");
}

static void
test_min_messages_are_kept_whatever_their_age(void **state UNUSED)
{
	open_store((struct retention){.min_messages = 2, .age_ms = 1000});
	post("a", "1");
	post("a", "2");
	pass_ms(500);
	post("a", "3");
	pass_ms(499);
	assert_string_equal(contents("a"), "1 2 3");
	pass_ms(1);
	assert_string_equal(contents("a"), "2 3");
	pass_ms(100000);
	assert_string_equal(contents("a"), "2 3");
	sweep();
	assert_string_equal(contents("a"), "2 3");
	/* A new one takes the place of an old one, at once. */
	post("a", "4");
	assert_string_equal(contents("a"), "3 4");
}

static void
test_messages_that_min_messages_kept_go_when_others_take_their_place(void **state UNUSED)
{
	open_store((struct retention){.min_messages = 1, .age_ms = 1000});
	post("a", "1");
	post("b", "1");
	pass_ms(5000);
	sweep();
	post("a", "2");
	assert_string_equal(contents("a"), "2");
	assert_string_equal(contents("b"), "1");
	pass_ms(5000);
	sweep();
	post("a", "3");
	post("b", "2");
	post("b", "3");
	pass_ms(1000);
	sweep();
	assert_string_equal(contents("a"), "3");
	assert_string_equal(contents("b"), "3");
}

static void
test_the_count_bounds_what_age_does_not(void **state UNUSED)
{
	open_store((struct retention){.min_messages = 2, .max_messages = 3, .age_ms = 1000});
	for (int i = 0; i < 3; i++)
		post("a", "old");
	pass_ms(2000);
	assert_string_equal(contents("a"), "old old");
	post("a", "new");
	assert_string_equal(contents("a"), "old new");
	post("a", "new");
	post("a", "new");
	post("a", "new");
	assert_string_equal(contents("a"), "new new new");
}

static void
test_without_limits_all_is_kept(void **state UNUSED)
{
	for (int i = 0; i < 5000; i++)
		post("a", "x");
	pass_ms(1000u * 3600 * 24 * 365);
	sweep();
	assert_int_equal(info("a").info.messages, 5000);
}

/* ---- memory ---------------------------------------------------------------------- */

static char block[1 << 20];

static enum store_status
post_block(const char *channel, size_t len)
{
	return append_bytes(channel, block, len, STORE_APPEND_CREATE | STORE_APPEND_KEEP, NULL)
	    .status;
}

/*
 * How many bytes the store would still take in one message, to the byte. There must be
 * no messages, for these would make room.
 */
static size_t
room(void)
{
	size_t low = 0, high = sizeof(block) - 1;

	if (post_block("room", 0) != STORE_OK)
		return 0;
	drop("room", NULL);
	while (low < high) {
		size_t len = low + (high - low + 1) / 2;

		if (post_block("room", len) == STORE_OK) {
			drop("room", NULL);
			low = len;
		} else {
			high = len - 1;
		}
	}
	return low;
}

static void
test_the_oldest_messages_of_the_store_make_room(void **state UNUSED)
{
	open_store((struct retention){.max_memory = 64 * 1024, .min_messages = 5});
	assert_int_equal(post_block("a", 15000), STORE_OK);
	assert_int_equal(post_block("b", 15000), STORE_OK);
	assert_int_equal(post_block("a", 15000), STORE_OK);
	assert_int_equal(post_block("c", 15000), STORE_OK);
	/* Full. min_messages does not hold against it. */
	assert_int_equal(post_block("c", 10000), STORE_OK);
	assert_int_equal(info("a").info.messages, 1);
	assert_int_equal(info("b").info.messages, 1);
	assert_int_equal(post_block("c", 20000), STORE_OK);
	assert_int_equal(info("a").info.messages, 1);
	assert_int_equal(info("b").info.messages, 0);
	assert_int_equal(info("c").info.messages, 3);
	/* Channels stay that have lost their messages so. */
	assert_int_equal(post_block("d", 60000), STORE_OK);
	assert_true(exists("a") && exists("b") && exists("c"));
	assert_int_equal(
	    info("a").info.messages + info("b").info.messages + info("c").info.messages, 0);
	assert_int_equal(info("d").info.messages, 1);
}

static void
test_messages_over_age_that_min_messages_keeps_make_room_first(void **state UNUSED)
{
	open_store((struct retention){.max_memory = 64 * 1024, .min_messages = 1, .age_ms = 1000});
	post_block("old", 15000);
	pass_ms(2000);
	sweep();
	post_block("a", 15000);
	post_block("b", 15000);
	post_block("c", 15000);
	assert_int_equal(info("old").info.messages, 1);
	post_block("d", 15000);
	assert_int_equal(info("old").info.messages, 0);
	assert_int_equal(info("a").info.messages, 1);
	post_block("e", 15000);
	assert_int_equal(info("a").info.messages, 0);
	assert_int_equal(info("b").info.messages, 1);
}

static void
test_a_message_that_alone_is_too_large_is_refused_and_costs_nothing(void **state UNUSED)
{
	struct msgid before, after;

	open_store((struct retention){.max_memory = 64 * 1024});
	before = post("a", "1");
	assert_int_equal(post_block("a", 64 * 1024), STORE_TOO_LARGE);
	assert_int_equal(post_block("new", 64 * 1024), STORE_TOO_LARGE);
	assert_int_equal(post_block("new", sizeof(block)), STORE_TOO_LARGE);
	assert_false(exists("new"));
	assert_string_equal(contents("a"), "1");
	after = post("a", "2");
	assert_true(id_below(before, after));
	assert_string_equal(contents("a"), "1 2");
}

static void
test_what_is_not_stored_needs_no_room(void **state UNUSED)
{
	open_store((struct retention){.max_memory = 64 * 1024});
	post("a", "1");
	assert_int_equal(
	    append_bytes("a", block, sizeof(block), STORE_APPEND_CREATE, NULL).status, STORE_OK);
	assert_string_equal(contents("a"), "1");
}

/* PUTs channels until the store is full; how many. */
static int
fill_with_channels(void)
{
	char channel[32];
	int n = 0;

	for (;; n++) {
		snprintf(channel, sizeof(channel), "channel-%d", n);
		if (create(channel) != STORE_OK)
			break;
		assert_true(n < 100000);
	}
	assert_int_equal(create(channel), STORE_NO_ROOM);
	assert_false(exists(channel));
	return n;
}

static void
test_channels_count_as_well_and_with_no_room_post_and_put_are_refused(void **state UNUSED)
{
	struct store_watch watch = watch_of(0);
	int n;

	open_store((struct retention){.max_memory = 64 * 1024});
	n = fill_with_channels();
	/* Each costs more than its id and not more than a kilobyte. */
	assert_in_range(n, 64, 64 * 1024 / 16);
	assert_int_equal(post_block("new", 100), STORE_NO_ROOM);
	assert_int_equal(
	    append_bytes("new", "x", 1, STORE_APPEND_CREATE, NULL).status, STORE_NO_ROOM);
	assert_false(exists("new"));
	assert_int_equal(post_block("channel-1", 60000), STORE_NO_ROOM);
	/* Those that are there stay as they are. */
	assert_int_equal(create("channel-0"), STORE_OK);
	assert_int_equal(append_bytes("channel-0", "x", 1, 0, NULL).status, STORE_OK);
	/* A subscriber is never refused for what publishers have stored. */
	wait_in("held", &watch);
	assert_true(exists("held"));
	stop_waiting(&watch);
	store_unwatch(t.store, &watch);
	/* Deleting one makes room for one. */
	assert_int_equal(drop("channel-3", NULL).status, STORE_OK);
	assert_int_equal(create("channel-9999"), STORE_OK);
	assert_int_equal(create("another"), STORE_NO_ROOM);
}

/* Nothing may be lost for a message that is not taken. */
static void
test_a_message_for_which_there_is_no_room_drops_no_other(void **state UNUSED)
{
	char channel[32];
	int n;

	open_store((struct retention){.max_memory = 64 * 1024});
	n = fill_with_channels();
	for (int i = 1; i <= 20; i++) {
		snprintf(channel, sizeof(channel), "channel-%d", n - i);
		drop(channel, NULL);
	}
	post("channel-0", "1");
	post("channel-0", "2");
	post("channel-1", "3");
	assert_int_equal(post_block("channel-2", 30000), STORE_NO_ROOM);
	assert_string_equal(contents("channel-0"), "1 2");
	assert_string_equal(contents("channel-1"), "3");
}

static void
test_messages_make_room_for_channels(void **state UNUSED)
{
	open_store((struct retention){.max_memory = 64 * 1024});
	post_block("a", 30000);
	post_block("b", 30000);
	for (int i = 0; i < 20; i++) {
		char channel[32];

		snprintf(channel, sizeof(channel), "channel-%d", i);
		assert_int_equal(create(channel), STORE_OK);
	}
	assert_int_equal(info("a").info.messages, 0);
	assert_int_equal(info("b").info.messages, 1);
}

/* Whatever was done to it, an empty store has the room that it began with. */
static void
test_all_ways_to_lose_messages_and_channels_give_their_memory_back(void **state UNUSED)
{
	struct store_watch watch = watch_of(0);
	struct store_hold hold = {.mode = STORE_HOLD_LAST, .place = 3, .ticket = 1};
	size_t at_first;

	open_store((struct retention){.max_memory = 256 * 1024,
	    .max_messages = 3,
	    .age_ms = 1000,
	    .channel_ms = 2000,
	    .min_messages = 1});
	at_first = room();
	assert_in_range(at_first, 250 * 1024, 256 * 1024);
	for (int round = 0; round < 3; round++) {
		/* By count, by age, by memory, by DELETE. */
		for (int i = 0; i < 50; i++) {
			post_block("by-count", (size_t)i * 13);
			post_block(i % 2 ? "by-age-1" : "by-age-2", (size_t)i * 17);
		}
		for (int i = 0; i < 10; i++) {
			post_block("by-memory-1", 100000);
			post_block("by-memory-2", 50000);
		}
		create("put");
		post("put", "x");
		post_foregone("foregone", "x");
		wait_in("got", &watch);
		next("got",
		    &(struct store_query){.create = true, .watches = ONE(&watch), .hold = &hold});
		stop_waiting(&watch);
		stop_waiting(&watch);
		store_unwatch(t.store, &watch);
		assert_false(exists("got"));
		append_bytes("absent", "x", 1, STORE_APPEND_KEEP, NULL);
		assert_int_equal(post_block("too-large", 256 * 1024), STORE_TOO_LARGE);
		pass_ms(5000);
		sweep();
		/* min_messages keeps one in each; these go by DELETE. */
		drop("by-count", NULL);
		drop("by-age-1", NULL);
		drop("by-age-2", NULL);
		drop("by-memory-1", NULL);
		drop("by-memory-2", NULL);
		drop("put", NULL);
		pass_ms(5000);
		sweep();
		assert_false(exists("foregone"));
		assert_int_equal(room(), at_first);
	}
}

/* ---- gaps ------------------------------------------------------------------------ */

static void
test_a_gap_is_said_when_messages_after_the_position_were_dropped_by_count(void **state UNUSED)
{
	struct store_result result;
	struct msgid ids[5];

	open_store((struct retention){.max_messages = 2});
	post("other", "x");
	for (int i = 0; i < 5; i++)
		ids[i] = post("a", "x");
	/* 0, 1 and 2 are gone. */
	assert_true(gap_after("a", (struct msgid){ids[0].second, -1}));
	assert_true(gap_after("a", ids[0]));
	assert_true(gap_after("a", ids[1]));
	assert_false(gap_after("a", ids[2]));
	assert_false(gap_after("a", ids[3]));
	assert_false(gap_after("a", ids[4]));
	/* It comes with the oldest there is. */
	result = next_after("a", ids[0]);
	assert_int_equal(msgid_cmp(result.msg->id, ids[3]), 0);
	message_unref(result.msg);
}

static void
test_a_gap_is_said_when_messages_after_the_position_were_dropped_by_age(void **state UNUSED)
{
	struct msgid first, second;

	open_store((struct retention){.age_ms = 1000});
	first = post("a", "1");
	pass_ms(10);
	second = post("a", "2");
	assert_false(gap_after("a", first));
	pass_ms(1000);
	/* Also where nothing is left to be delivered, and whoever notices it first. */
	assert_true(gap_after("a", first));
	assert_false(gap_after("a", second));
	post("a", "3");
	assert_true(gap_after("a", first));
	assert_false(gap_after("a", second));
}

static void
test_a_gap_is_said_when_messages_after_the_position_were_dropped_for_memory(void **state UNUSED)
{
	const unsigned flags = STORE_APPEND_CREATE | STORE_APPEND_KEEP;
	struct msgid first, second;

	open_store((struct retention){.max_memory = 64 * 1024});
	first = append_bytes("a", block, 1000, flags, NULL).id;
	second = append_bytes("a", block, 1000, flags, NULL).id;
	assert_int_equal(post_block("b", 64000), STORE_OK);
	assert_int_equal(info("a").info.messages, 0);
	assert_true(gap_after("a", (struct msgid){first.second, -1}));
	assert_true(gap_after("a", first));
	assert_false(gap_after("a", second));
}

static void
test_a_gap_is_said_after_delete(void **state UNUSED)
{
	struct msgid first = post("a", "1"), second = post("a", "2"), third;

	drop("a", NULL);
	third = post("a", "3");
	assert_true(gap_after("a", first));
	assert_false(gap_after("a", second));
	assert_false(gap_after("a", third));
	assert_message(next_after("a", first), "3");
}

static void
test_a_gap_is_said_after_a_channel_was_forgotten(void **state UNUSED)
{
	struct msgid first, second;

	open_store((struct retention){.age_ms = 1000, .channel_ms = 1000});
	first = post("a", "1");
	second = post("a", "2");
	pass_ms(1000);
	sweep();
	pass_ms(1000);
	sweep();
	assert_false(exists("a"));
	post("a", "3");
	assert_true(gap_after("a", first));
	assert_false(gap_after("a", second));
}

static void
test_a_gap_is_said_of_what_may_have_been_before_the_start(void **state UNUSED)
{
	struct msgid id = post("a", "1");

	assert_true(gap_after("a", (struct msgid){1, 0}));
	assert_true(gap_after("a", (struct msgid){t.wall_s - 1, 999999}));
	/* All ids of this store are after its start. */
	assert_false(gap_after("a", id));
	create("b");
	assert_true(gap_after("b", (struct msgid){t.wall_s - 1, 0}));
	assert_false(gap_after("b", id));
}

static void
test_no_gap_is_said_without_a_position_or_to_second_0(void **state UNUSED)
{
	struct store_result result;

	open_store((struct retention){.max_messages = 1});
	post("a", "1");
	post("a", "2");
	result = oldest("a");
	assert_false(result.gap);
	assert_message(result, "2");
	assert_false(gap_after("a", (struct msgid){0, 0}));
	assert_false(gap_after("a", (struct msgid){0, -1}));
	assert_false(gap_after("a", (struct msgid){0, 999}));
	assert_true(gap_after("a", (struct msgid){1, -1}));
}

static void
test_no_gap_is_said_of_messages_that_were_not_stored(void **state UNUSED)
{
	struct msgid id;

	open_store((struct retention){.max_messages = 1});
	id = post("a", "1");
	for (int i = 0; i < 5; i++)
		post_foregone("a", "x");
	assert_false(gap_after("a", id));
	post("a", "2");
	assert_false(gap_after("a", id));
	assert_message(next_after("a", id), "2");
}

static void
test_what_other_channels_dropped_is_no_gap_of_this_one(void **state UNUSED)
{
	struct msgid id;

	open_store((struct retention){.max_messages = 1});
	id = post("a", "1");
	post("b", "1");
	post("b", "2");
	drop("b", NULL);
	assert_false(gap_after("a", id));
}

static void
test_a_position_in_the_future_waits_and_has_no_gap(void **state UNUSED)
{
	struct store_watch watch = watch_of(0);
	struct store_result result;
	struct msgid id, future = {t.wall_s + 1000000, 5};

	open_store((struct retention){.max_messages = 1});
	post("a", "1");
	id = post("a", "2");
	result = next(
	    "a", &(struct store_query){.has_after = true, .after = future, .watches = ONE(&watch)});
	assert_int_equal(result.status, STORE_NOTHING_NEWER);
	assert_false(result.gap);
	/* It begins to wait at the newest id, so that the next message is above it. */
	assert_int_equal(msgid_cmp(result.newest, id), 0);
	post("a", "3");
	assert_int_equal(notes_of(0), 1);
	assert_true(id_below(result.newest, note(0, 0)->at));
	stop_waiting(&watch);
	store_unwatch(t.store, &watch);
}

/* ---- watching, and who is held --------------------------------------------------- */

static void
test_an_append_tells_who_waits_and_brings_the_message(void **state UNUSED)
{
	struct store_watch watch = watch_of(0);
	int reply;
	struct msgid position = wait_in("a", &watch);
	struct posted posted =
	    append_bytes("a", "x", 1, STORE_APPEND_CREATE | STORE_APPEND_KEEP, &reply);
	const struct store_note *n;

	assert_int_equal(posted.notes, 1);
	assert_int_equal(posted.info.subscribers, 1);
	assert_int_equal(notes_of(0), 1);
	n = note(0, 0);
	assert_int_equal(n->note.kind, NOTE_APPENDED);
	assert_ptr_equal(n->watch, &watch);
	assert_int_equal(watch.noted, 1);
	assert_int_equal(msgid_cmp(n->at, posted.id), 0);
	assert_int_equal(msgid_cmp(n->msg->id, posted.id), 0);
	assert_memory_equal(message_body(n->msg), "x", 1);
	assert_ptr_equal(n->reply, &reply);
	assert_true(id_below(position, n->at));
	stop_waiting(&watch);
	store_unwatch(t.store, &watch);
}

static void
test_messages_that_are_not_stored_go_to_those_who_wait_and_no_one_else(void **state UNUSED)
{
	struct store_watch watch = watch_of(0);
	struct msgid position = wait_in("a", &watch), id = post_foregone("a", "now");

	assert_int_equal(notes_of(0), 1);
	assert_memory_equal(message_body(note(0, 0)->msg), "now", 3);
	assert_int_equal(next_after("a", position).status, STORE_NOTHING_NEWER);
	assert_int_equal(info("a").info.messages, 0);
	assert_int_equal(msgid_cmp(info("a").info.last, id), 0);
	stop_waiting(&watch);
	store_unwatch(t.store, &watch);
}

static void
test_notes_come_in_the_order_of_their_ids(void **state UNUSED)
{
	struct store_watch a = watch_of(0), b = watch_of(0);

	wait_in("a", &a);
	wait_in("b", &b);
	for (int i = 0; i < 100; i++) {
		post(i % 3 ? "a" : "b", "x");
		if (i == 50)
			drop("b", NULL);
		if (i == 60)
			step_wall(-100);
	}
	for (size_t i = 1; i < notes_of(0); i++)
		assert_true(id_below(note(0, i - 1)->at, note(0, i)->at));
	assert_true(notes_of(0) > 80);
	stop_waiting(&a);
	stop_waiting(&b);
	store_unwatch(t.store, &a);
	store_unwatch(t.store, &b);
}

static void
test_no_note_is_posted_when_nobody_is_held(void **state UNUSED)
{
	struct store_watch watch = watch_of(0), other = watch_of(1);
	struct posted posted;

	wait_in("a", &watch);
	wait_in("b", &other);
	stop_waiting(&watch);
	posted = append_bytes("a", "x", 1, STORE_APPEND_KEEP, NULL);
	assert_int_equal(posted.notes, 0);
	assert_int_equal(posted.info.subscribers, 0);
	store_unwatch(t.store, &watch);
	posted = append_bytes("a", "x", 1, STORE_APPEND_CREATE | STORE_APPEND_KEEP, NULL);
	assert_int_equal(posted.notes, 0);
	assert_int_equal(drop("a", NULL).notes, 0);
	assert_int_equal(notes_of(0), 0);
	assert_int_equal(notes_of(1), 0);
	stop_waiting(&other);
	store_unwatch(t.store, &other);
}

static void
test_a_request_that_is_answered_at_once_is_not_held(void **state UNUSED)
{
	struct store_watch watch = watch_of(0);

	post("a", "1");
	assert_message(next("a", &(struct store_query){.watches = ONE(&watch)}), "1");
	assert_int_equal(watch.held, 0);
	assert_null(watch.channel);
	assert_int_equal(info("a").info.subscribers, 0);
	post("a", "2");
	assert_int_equal(notes_of(0), 0);
	/* Nor is one that does not wait: interval polling. */
	assert_int_equal(
	    next_after("a", (struct msgid){t.wall_s + 1, 0}).status, STORE_NOTHING_NEWER);
	assert_int_equal(info("a").info.subscribers, 0);
}

static void
test_the_held_of_all_workers_are_added_up(void **state UNUSED)
{
	struct store_watch watches[WORKERS];
	struct posted posted;

	for (unsigned i = 0; i < WORKERS; i++) {
		watches[i] = watch_of(i);
		for (unsigned n = 0; n <= i; n++)
			wait_in("a", &watches[i]);
		assert_int_equal(watches[i].held, i + 1);
	}
	assert_int_equal(info("a").info.subscribers, 10);
	stop_waiting(&watches[3]);
	stop_waiting(&watches[0]);
	assert_int_equal(info("a").info.subscribers, 8);
	posted = append_bytes("a", "x", 1, STORE_APPEND_KEEP, NULL);
	assert_int_equal(posted.info.subscribers, 8);
	/* One note a worker, whatever the number of its waiters; none to who has none. */
	assert_int_equal(posted.notes, 3);
	assert_int_equal(notes_of(0), 0);
	for (unsigned i = 1; i < WORKERS; i++)
		assert_int_equal(notes_of(i), 1);
	assert_int_equal(create("a"), STORE_OK);
	assert_int_equal(drop("a", NULL).info.subscribers, 8);
	for (unsigned i = 0; i < WORKERS; i++)
		store_unwatch(t.store, &watches[i]);
}

static void
test_requested_is_the_time_since_the_last_subscriber_request(void **state UNUSED)
{
	assert_int_equal(create("a"), STORE_OK);
	pass_ms(5000);
	assert_int_equal(info("a").info.requested_s, -1);
	post("a", "1");
	assert_int_equal(info("a").info.requested_s, -1);
	message_unref(oldest("a").msg);
	assert_int_equal(info("a").info.requested_s, 0);
	pass_ms(2999);
	assert_int_equal(info("a").info.requested_s, 2);
	step_wall(-100);
	pass_ms(1);
	assert_int_equal(info("a").info.requested_s, 3);
	/* A publisher's requests are none. */
	post("a", "2");
	create("a");
	assert_int_equal(info("a").info.requested_s, 3);
	next_after("a", (struct msgid){t.wall_s + 1000, 0});
	assert_int_equal(info("a").info.requested_s, 0);
}

static void
test_the_last_id_is_that_of_the_last_message_stored_or_not(void **state UNUSED)
{
	struct msgid id;

	create("a");
	assert_false(info("a").info.has_last);
	id = post("a", "1");
	post("b", "1");
	assert_true(info("a").info.has_last);
	assert_int_equal(msgid_cmp(info("a").info.last, id), 0);
	id = post_foregone("a", "2");
	assert_int_equal(msgid_cmp(info("a").info.last, id), 0);
	assert_int_equal(info("a").info.messages, 1);
	drop("a", NULL);
	create("a");
	assert_false(info("a").info.has_last);
}

/* ---- deleting -------------------------------------------------------------------- */

static void
test_delete_tells_who_waits_with_an_id_of_the_same_order(void **state UNUSED)
{
	struct store_watch watch = watch_of(0), again = watch_of(0);
	int reply;
	struct msgid before = post("a", "1"), position, after;
	struct store_result result;
	const struct store_note *n;

	assert_message(oldest("a"), "1");
	position = wait_in("a", &watch);
	result = drop("a", &reply);
	assert_int_equal(result.status, STORE_OK);
	assert_int_equal(result.notes, 1);
	assert_int_equal(result.info.messages, 0);
	assert_int_equal(result.info.subscribers, 1);
	assert_false(exists("a"));
	n = note(0, 0);
	assert_int_equal(n->note.kind, NOTE_DROPPED);
	assert_ptr_equal(n->reply, &reply);
	assert_null(n->msg);
	assert_ptr_equal(n->watch, &watch);
	/* It ends all who joined before, and no one who joins a new channel of the name. */
	assert_true(id_below(before, n->at));
	assert_true(id_below(position, n->at));
	create("a");
	assert_false(id_below(wait_in("a", &again), n->at));
	after = post("a", "2");
	assert_true(id_below(n->at, after));
	stop_waiting(&watch);
	store_unwatch(t.store, &watch);
	stop_waiting(&again);
	store_unwatch(t.store, &again);
}

static void
test_delete_of_what_is_absent_says_so_also_the_second_time(void **state UNUSED)
{
	assert_int_equal(drop("a", NULL).status, STORE_NO_CHANNEL);
	post("a", "1");
	assert_int_equal(drop("a", NULL).status, STORE_OK);
	assert_int_equal(drop("a", NULL).status, STORE_NO_CHANNEL);
	assert_int_equal(oldest("a").status, STORE_NO_CHANNEL);
}

static void
test_a_watch_of_a_deleted_channel_can_be_used_for_its_successor(void **state UNUSED)
{
	struct store_watch watch = watch_of(0);

	wait_in("a", &watch);
	drop("a", NULL);
	assert_int_equal(notes_of(0), 1);
	stop_waiting(&watch);
	/* Another waiter of this worker, in a new channel of the name. */
	wait_in("a", &watch);
	post("a", "1");
	assert_int_equal(notes_of(0), 2);
	assert_int_equal(note(0, 1)->note.kind, NOTE_APPENDED);
	assert_int_equal(info("a").info.subscribers, 1);
	stop_waiting(&watch);
	store_unwatch(t.store, &watch);
	/* Giving up a watch twice, or one of a channel that is gone, does no harm. */
	store_unwatch(t.store, &watch);
	wait_in("b", &watch);
	drop("b", NULL);
	stop_waiting(&watch);
	store_unwatch(t.store, &watch);
}

/* ---- the life of a channel ------------------------------------------------------- */

static void
test_a_channel_made_by_get_goes_with_its_last_waiter(void **state UNUSED)
{
	struct store_watch one = watch_of(0), two = watch_of(1);
	struct store_result result =
	    next("a", &(struct store_query){.create = true, .watches = ONE(&one)});

	assert_int_equal(result.status, STORE_NOTHING_NEWER);
	assert_true(one.transient);
	(void)next("a", &(struct store_query){.create = true, .watches = ONE(&two)});
	assert_true(two.transient);
	stop_waiting(&one);
	store_unwatch(t.store, &one);
	assert_true(exists("a"));
	stop_waiting(&two);
	store_unwatch(t.store, &two);
	assert_false(exists("a"));
}

static void
test_a_channel_made_by_get_stays_with_a_message(void **state UNUSED)
{
	struct store_watch watch = watch_of(0);

	wait_in("a", &watch);
	post("a", "1");
	stop_waiting(&watch);
	store_unwatch(t.store, &watch);
	assert_string_equal(contents("a"), "1");
}

static void
test_a_channel_made_by_get_and_posted_to_goes_as_one_made_by_post(void **state UNUSED)
{
	struct store_watch watch = watch_of(0);

	open_store((struct retention){.channel_ms = 1000, .age_ms = 1000});
	wait_in("a", &watch);
	post("a", "1");
	stop_waiting(&watch);
	store_unwatch(t.store, &watch);
	pass_ms(1000);
	sweep();
	assert_true(exists("a"));
	assert_int_equal(info("a").info.messages, 0);
	pass_ms(1000);
	sweep();
	assert_false(exists("a"));
}

static void
test_a_get_makes_no_channel_unless_it_may(void **state UNUSED)
{
	struct store_watch watch = watch_of(0);

	assert_int_equal(
	    next("a", &(struct store_query){.watches = ONE(&watch)}).status, STORE_NO_CHANNEL);
	assert_false(exists("a"));
	assert_int_equal(watch.held, 0);
}

/* create: "what is absent is as if it were empty, and made if one is held in it". */
static void
test_a_get_that_does_not_wait_makes_no_channel(void **state UNUSED)
{
	assert_int_equal(
	    next("a", &(struct store_query){.create = true}).status, STORE_NOTHING_NEWER);
	assert_false(exists("a"));
}

static void
test_a_channel_made_by_post_goes_when_it_was_unused_for_its_time(void **state UNUSED)
{
	struct store_watch watch = watch_of(0);

	open_store((struct retention){.channel_ms = 60000, .age_ms = 10000});
	post("a", "1");
	post_foregone("b", "1");
	pass_ms(9000);
	sweep();
	assert_true(exists("a") && exists("b"));
	pass_ms(50999);
	sweep();
	/* a had a message for the first 10 seconds. */
	assert_true(exists("a") && exists("b"));
	pass_ms(1);
	sweep();
	assert_true(exists("a"));
	assert_false(exists("b"));
	/* A waiter keeps it, and its leaving is when the time begins. */
	wait_in("a", &watch);
	for (int i = 0; i < 200; i++) {
		pass_ms(1000);
		sweep();
	}
	assert_true(exists("a"));
	stop_waiting(&watch);
	for (int i = 0; i < 59; i++) {
		pass_ms(1000);
		sweep();
		if (i == 5)
			store_unwatch(t.store, &watch);
	}
	assert_true(exists("a"));
	for (int i = 0; i < 62; i++) {
		pass_ms(1000);
		sweep();
	}
	assert_false(exists("a"));
}

static void
test_a_channel_made_by_post_lives_for_ever_without_a_time(void **state UNUSED)
{
	open_store((struct retention){.age_ms = 1000});
	post("a", "1");
	pass_ms(1000000);
	sweep();
	pass_ms(1000000);
	sweep();
	assert_true(exists("a"));
	assert_int_equal(info("a").info.messages, 0);
}

static void
test_a_channel_with_a_message_stays_whatever_its_time(void **state UNUSED)
{
	open_store((struct retention){.channel_ms = 1000});
	post("a", "1");
	pass_ms(1000000);
	sweep();
	assert_string_equal(contents("a"), "1");
}

static void
test_a_channel_made_by_put_stays_until_it_is_deleted(void **state UNUSED)
{
	struct store_watch watch = watch_of(0);

	open_store((struct retention){.channel_ms = 1000, .age_ms = 1000});
	create("a");
	post_foregone("b", "x");
	create("b");
	wait_in("c", &watch);
	create("c");
	stop_waiting(&watch);
	store_unwatch(t.store, &watch);
	post("d", "x");
	create("d");
	pass_ms(100000);
	sweep();
	pass_ms(100000);
	sweep();
	assert_true(exists("a") && exists("b") && exists("c") && exists("d"));
	/* A POST does not take that back. */
	post("a", "x");
	pass_ms(100000);
	sweep();
	pass_ms(100000);
	sweep();
	assert_true(exists("a"));
	drop("a", NULL);
	assert_false(exists("a"));
	/* What comes back is another channel. */
	post_foregone("a", "x");
	pass_ms(1000);
	sweep();
	assert_false(exists("a"));
}

static void
test_put_leaves_messages_and_waiters_untouched(void **state UNUSED)
{
	struct store_watch watch = watch_of(0);

	post("a", "1");
	wait_in("a", &watch);
	assert_int_equal(create("a"), STORE_OK);
	assert_string_equal(contents("a"), "1");
	assert_int_equal(info("a").info.subscribers, 1);
	assert_int_equal(notes_of(0), 0);
	post("a", "2");
	assert_int_equal(notes_of(0), 1);
	stop_waiting(&watch);
	store_unwatch(t.store, &watch);
}

static void
test_a_post_without_create_needs_a_channel(void **state UNUSED)
{
	assert_int_equal(
	    append_bytes("a", "x", 1, STORE_APPEND_KEEP, NULL).status, STORE_NO_CHANNEL);
	assert_int_equal(append_bytes("a", "x", 1, 0, NULL).status, STORE_NO_CHANNEL);
	assert_false(exists("a"));
	create("a");
	assert_int_equal(append_bytes("a", "x", 1, STORE_APPEND_KEEP, NULL).status, STORE_OK);
}

static void
test_info_creates_nothing(void **state UNUSED)
{
	assert_int_equal(info("a").status, STORE_NO_CHANNEL);
	assert_int_equal(oldest("a").status, STORE_NO_CHANNEL);
}

static void
test_a_sweep_frees_a_bounded_amount_and_says_that_there_is_more(void **state UNUSED)
{
	char channel[16];
	int sweeps = 1;

	open_store((struct retention){.age_ms = 1000, .channel_ms = 1000});
	for (int i = 0; i < 5000; i++) {
		snprintf(channel, sizeof(channel), "%d", i);
		post(channel, "x");
	}
	assert_false(store_sweep(t.store));
	pass_ms(1000);
	for (; store_sweep(t.store); sweeps++)
		assert_true(sweeps < 5000);
	assert_in_range(sweeps, 2, 1000);
	for (int i = 0; i < 5000; i += 100) {
		snprintf(channel, sizeof(channel), "%d", i);
		assert_true(exists(channel));
		assert_int_equal(info(channel).info.messages, 0);
	}
	pass_ms(1000);
	sweep();
	for (int i = 0; i < 5000; i++) {
		snprintf(channel, sizeof(channel), "%d", i);
		assert_false(exists(channel));
	}
}

/* ---- places (concurrency last, first) -------------------------------------------- */

static struct store_result
take_place(const char *channel, struct store_watch *watch, enum store_hold_mode mode,
    unsigned place, uint64_t ticket)
{
	const struct store_hold hold = {.mode = mode, .place = place, .ticket = ticket};

	return next(channel, &(struct store_query){.has_after = true,
				 .after = {t.wall_s + 1000000, 0},
				 .create = true,
				 .watches = ONE(watch),
				 .hold = &hold});
}

static void
give_place(struct store_watch *watch, unsigned place, uint64_t ticket)
{
	const struct store_hold hold = {.place = place, .ticket = ticket};

	stop_waiting(watch);
	store_release(t.store, watch, &hold);
}

static void
test_the_first_stays_and_the_others_are_a_conflict(void **state UNUSED)
{
	struct store_watch one = watch_of(0), two = watch_of(1);

	assert_int_equal(take_place("a", &one, STORE_HOLD_FIRST, 0, 1).status, STORE_NOTHING_NEWER);
	assert_int_equal(take_place("a", &one, STORE_HOLD_FIRST, 0, 2).status, STORE_CONFLICT);
	assert_int_equal(take_place("a", &two, STORE_HOLD_FIRST, 0, 1).status, STORE_CONFLICT);
	/* They are not held. */
	assert_int_equal(info("a").info.subscribers, 1);
	assert_int_equal(two.held, 0);
	assert_int_equal(notes_of(0), 0);
	/* Another location has a place of its own; another channel as well. */
	assert_int_equal(take_place("a", &two, STORE_HOLD_FIRST, 1, 2).status, STORE_NOTHING_NEWER);
	give_place(&two, 1, 2);
	/* Its place given up, the next one may have it. */
	give_place(&one, 0, 1);
	assert_int_equal(take_place("a", &two, STORE_HOLD_FIRST, 0, 3).status, STORE_NOTHING_NEWER);
	assert_int_equal(take_place("a", &one, STORE_HOLD_FIRST, 0, 4).status, STORE_CONFLICT);
	give_place(&two, 0, 3);
	store_unwatch(t.store, &one);
	store_unwatch(t.store, &two);
}

static void
test_the_last_displaces_who_was_there_by_a_note_that_names_it(void **state UNUSED)
{
	struct store_watch one = watch_of(0), two = watch_of(1);
	struct store_result result;

	take_place("a", &one, STORE_HOLD_LAST, 0, 11);
	result = take_place("a", &two, STORE_HOLD_LAST, 0, 22);
	assert_int_equal(result.status, STORE_NOTHING_NEWER);
	assert_int_equal(notes_of(0), 1);
	assert_int_equal(notes_of(1), 0);
	assert_int_equal(note(0, 0)->note.kind, NOTE_DISPLACED);
	assert_int_equal(note(0, 0)->ticket, 11);
	assert_ptr_equal(note(0, 0)->watch, &one);
	assert_null(note(0, 0)->msg);
	/* Who was displaced gives up a place that it has no more: nothing happens. */
	give_place(&one, 0, 11);
	take_place("a", &one, STORE_HOLD_LAST, 0, 33);
	assert_int_equal(notes_of(1), 1);
	assert_int_equal(note(1, 0)->ticket, 22);
	give_place(&two, 0, 22);
	/* In the same worker. */
	take_place("a", &one, STORE_HOLD_LAST, 0, 44);
	assert_int_equal(notes_of(0), 2);
	assert_int_equal(note(0, 1)->ticket, 33);
	give_place(&one, 0, 33);
	give_place(&one, 0, 44);
	/* Nobody is there, nobody is told. */
	take_place("a", &two, STORE_HOLD_LAST, 0, 55);
	assert_int_equal(notes_of(0), 2);
	assert_int_equal(notes_of(1), 1);
	give_place(&two, 0, 55);
	store_unwatch(t.store, &one);
	store_unwatch(t.store, &two);
}

/* Two workers number their waiters alike. */
static void
test_a_ticket_of_another_worker_gives_up_nothing(void **state UNUSED)
{
	struct store_watch one = watch_of(0), two = watch_of(1);
	const struct store_hold hold = {.place = 0, .ticket = 1};

	take_place("a", &one, STORE_HOLD_FIRST, 0, 1);
	wait_in("a", &two);
	store_release(t.store, &two, &hold);
	assert_int_equal(take_place("a", &two, STORE_HOLD_FIRST, 0, 5).status, STORE_CONFLICT);
	store_release(t.store, &one, &(struct store_hold){.place = 1, .ticket = 1});
	store_release(t.store, &one, &(struct store_hold){.place = 0, .ticket = 2});
	assert_int_equal(take_place("a", &two, STORE_HOLD_FIRST, 0, 5).status, STORE_CONFLICT);
	give_place(&one, 0, 1);
	assert_int_equal(take_place("a", &two, STORE_HOLD_FIRST, 0, 5).status, STORE_NOTHING_NEWER);
	give_place(&two, 0, 5);
	stop_waiting(&two);
	store_unwatch(t.store, &one);
	store_unwatch(t.store, &two);
}

static void
test_a_request_that_is_answered_at_once_conflicts_with_nobody(void **state UNUSED)
{
	struct store_watch one = watch_of(0), two = watch_of(1);
	const struct store_hold hold = {.mode = STORE_HOLD_LAST, .place = 0, .ticket = 9};

	take_place("a", &one, STORE_HOLD_FIRST, 0, 1);
	post("a", "x");
	assert_message(next("a", &(struct store_query){.watches = ONE(&two), .hold = &hold}), "x");
	for (size_t i = 0; i < notes_of(0); i++)
		assert_int_not_equal(note(0, i)->note.kind, NOTE_DISPLACED);
	give_place(&one, 0, 1);
	store_unwatch(t.store, &one);
}

static void
test_places_end_with_their_channel(void **state UNUSED)
{
	struct store_watch one = watch_of(0), two = watch_of(1);

	take_place("a", &one, STORE_HOLD_FIRST, 0, 1);
	drop("a", NULL);
	/* The first one was not told yet. */
	assert_int_equal(take_place("a", &two, STORE_HOLD_FIRST, 0, 2).status, STORE_NOTHING_NEWER);
	give_place(&one, 0, 1);
	assert_int_equal(take_place("a", &one, STORE_HOLD_FIRST, 0, 3).status, STORE_CONFLICT);
	give_place(&two, 0, 2);
	store_unwatch(t.store, &one);
	store_unwatch(t.store, &two);
}

/* ---- several channels at one position --------------------------------------------- */

#define SEVERAL_MAX STORE_CHANNELS_MAX

/* A request for these channels; names ends with NULL. */
static struct store_result
next_of(const char *const *names, const struct store_query *query)
{
	struct channel_key keys[SEVERAL_MAX];
	struct store_result result;
	unsigned n = 0;

	for (; names[n] != NULL; n++)
		keys[n] = key(names[n]);
	memset(&result, 0xee, sizeof(result));
	assert_int_equal(
	    store_next(t.store, keys, n, query, &result, never, NULL, NULL), STORE_DONE);
	if (result.status != STORE_OK)
		assert_null(result.msg);
	else
		assert_non_null(result.msg);
	return result;
}

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

static void
test_several_channels_are_read_in_the_order_of_their_ids(void **state UNUSED)
{
	static const char *const order[] = {"b", "a", "a", "c", "b", "c", "a"};
	struct store_result result;
	struct msgid after = {0, -1};

	for (size_t i = 0; i < ARRAY_LEN(order); i++) {
		post(order[i], (char[]){(char)('0' + i), '\0'});
		post("another", "not for us");
		if (i % 3 == 2)
			pass_ms(1000);
	}
	for (size_t i = 0; i < ARRAY_LEN(order); i++) {
		result = next_of(NAMES("a", "b", "c"),
		    &(struct store_query){.has_after = i > 0, .after = after});
		assert_int_equal(result.status, STORE_OK);
		assert_memory_equal(result.msg->channel->key.bytes, order[i], 1);
		after = result.msg->id;
		assert_message(result, (char[]){(char)('0' + i), '\0'});
	}
	result =
	    next_of(NAMES("a", "b", "c"), &(struct store_query){.has_after = true, .after = after});
	assert_int_equal(result.status, STORE_NOTHING_NEWER);
}

static void
test_one_who_waits_in_several_channels_hears_of_each(void **state UNUSED)
{
	struct store_watch a = watch_of(0), b = watch_of(0), c = watch_of(1);
	struct store_result result;
	struct msgid id;

	post("a", "old");
	create("b");
	result =
	    next_of(NAMES("a", "b", "c"), &(struct store_query){.has_after = true,
					      .after = post("b", "old"),
					      .create = true,
					      .watches = (struct store_watch *[]){&a, &b, &c}});
	assert_int_equal(result.status, STORE_NOTHING_NEWER);
	assert_int_equal(a.held + b.held * 10 + c.held * 100, 111);
	assert_true(c.transient);
	assert_false(a.transient || b.transient);
	id = post("b", "new");
	assert_int_equal(notes_of(0), 1);
	assert_int_equal(msgid_cmp(note(0, 0)->at, id), 0);
	assert_true(id_below(result.newest, id));
	post("c", "newer");
	assert_int_equal(notes_of(1), 1);
	stop_waiting(&a);
	stop_waiting(&b);
	stop_waiting(&c);
	post("a", "nobody");
	assert_int_equal(notes_of(0), 1);
	store_unwatch(t.store, &a);
	store_unwatch(t.store, &b);
	store_unwatch(t.store, &c);
}

static void
test_without_create_one_absent_channel_refuses_all_and_is_named(void **state UNUSED)
{
	struct store_watch a = watch_of(0), b = watch_of(0);
	struct store_result result;

	create("a");
	result = next_of(
	    NAMES("a", "b"), &(struct store_query){.watches = (struct store_watch *[]){&a, &b}});
	assert_int_equal(result.status, STORE_NO_CHANNEL);
	assert_int_equal(result.which, 1);
	assert_int_equal(a.held + b.held, 0);
	assert_int_equal(info("a").info.subscribers, 0);
	post("a", "x");
	assert_int_equal(next_of(NAMES("b", "a"), &(struct store_query){.has_after = false}).status,
	    STORE_NO_CHANNEL);
	assert_false(exists("b"));
}

static void
test_with_create_absent_channels_are_made_only_for_one_who_waits(void **state UNUSED)
{
	struct store_watch a = watch_of(0), b = watch_of(0);
	struct store_watch *watches[] = {&a, &b};
	struct store_result result;

	post("a", "x");
	/* What there is comes, though another is absent: to one who may wait or not. */
	assert_message(
	    next_of(NAMES("a", "b"), &(struct store_query){.create = true, .watches = watches}),
	    "x");
	assert_message(next_of(NAMES("a", "b"), &(struct store_query){.create = true}), "x");
	assert_false(exists("b"));
	assert_int_equal(a.held + b.held, 0);
	result = next_of(NAMES("a", "b"),
	    &(struct store_query){
		.create = true, .start = {.from = STORE_FROM_NEWEST}, .watches = watches});
	assert_int_equal(result.status, STORE_NOTHING_NEWER);
	assert_true(exists("b"));
	assert_int_equal(info("b").info.requested_s, 0);
	stop_waiting(&a);
	stop_waiting(&b);
	store_unwatch(t.store, &a);
	store_unwatch(t.store, &b);
	assert_false(exists("b"));
	assert_true(exists("a"));
}

static void
test_as_many_channels_as_there_may_be(void **state UNUSED)
{
	static struct store_watch watches[SEVERAL_MAX];
	struct store_watch *pointers[SEVERAL_MAX];
	static char names[SEVERAL_MAX][8];
	const char *list[SEVERAL_MAX + 1] = {NULL};
	struct message *more[SEVERAL_MAX] = {NULL};
	struct msgid before;
	struct store_result result;

	for (size_t i = 0; i < SEVERAL_MAX; i++) {
		snprintf(names[i], sizeof(names[i]), "n%zu", i);
		list[i] = names[i];
		watches[i] = watch_of((unsigned)i % WORKERS);
		pointers[i] = &watches[i];
	}
	result = next_of(list, &(struct store_query){.create = true, .watches = pointers});
	assert_int_equal(result.status, STORE_NOTHING_NEWER);
	for (size_t i = 0; i < SEVERAL_MAX; i++)
		post(names[(i * 7) % SEVERAL_MAX], "x");
	for (unsigned w = 0; w < WORKERS; w++)
		assert_true(notes_of(w) >= SEVERAL_MAX / WORKERS);
	result = next_of(
	    list, &(struct store_query){.more = more, .more_max = SEVERAL_MAX, .more_bytes = 1000});
	assert_int_equal(result.n_more, SEVERAL_MAX - 1);
	before = result.msg->id;
	message_unref(result.msg);
	for (size_t i = 0; i < SEVERAL_MAX - 1; i++) {
		assert_true(id_below(before, more[i]->id));
		before = more[i]->id;
		message_unref(more[i]);
	}
	for (size_t i = 0; i < SEVERAL_MAX; i++) {
		assert_int_equal(watches[i].held, 1);
		stop_waiting(&watches[i]);
		store_unwatch(t.store, &watches[i]);
	}
}

/* ---- where one begins without a position ------------------------------------------- */

/* The bodies that one gets who begins so, up to the newest. */
static const char *
from(const char *const *names, enum store_start_from where, uint32_t n)
{
	static char text[8192];
	struct message *more[2000];
	struct store_result result = next_of(names, &(struct store_query){.create = true,
							.start = {where, n},
							.more = more,
							.more_max = ARRAY_LEN(more),
							.more_bytes = sizeof(text)});
	size_t len = 0;

	text[0] = '\0';
	assert_false(result.gap);
	if (result.status == STORE_NOTHING_NEWER)
		return text;
	memcpy(text, message_body(result.msg), len = result.msg->body_len);
	message_unref(result.msg);
	for (unsigned i = 0; i < result.n_more; i++) {
		assert_true(len + more[i]->body_len < sizeof(text));
		memcpy(text + len, message_body(more[i]), more[i]->body_len);
		len += more[i]->body_len;
		message_unref(more[i]);
	}
	text[len] = '\0';
	return text;
}

static void
test_a_start_is_counted_from_the_oldest_or_the_newest(void **state UNUSED)
{
	open_store((struct retention){.max_messages = 5});
	for (int i = 1; i <= 9; i++)
		post("a", (char[]){(char)('0' + i), '\0'});
	assert_string_equal(from(NAMES("a"), STORE_FROM_OLDEST, 0), "56789");
	assert_string_equal(from(NAMES("a"), STORE_FROM_NEWEST, 0), "");
	assert_string_equal(from(NAMES("a"), STORE_FROM_NTH, 1), "56789");
	assert_string_equal(from(NAMES("a"), STORE_FROM_NTH, 2), "6789");
	assert_string_equal(from(NAMES("a"), STORE_FROM_NTH, 5), "9");
	assert_string_equal(from(NAMES("a"), STORE_FROM_NTH, 6), "");
	assert_string_equal(from(NAMES("a"), STORE_FROM_NTH, UINT32_MAX), "");
	assert_string_equal(from(NAMES("a"), STORE_FROM_LAST, 1), "9");
	assert_string_equal(from(NAMES("a"), STORE_FROM_LAST, 5), "56789");
	assert_string_equal(from(NAMES("a"), STORE_FROM_LAST, UINT32_MAX), "56789");
	assert_string_equal(from(NAMES("a"), STORE_FROM_LAST, 0), "");
}

static void
test_a_start_is_counted_over_all_channels_together(void **state UNUSED)
{
	const char *const *both = NAMES("a", "empty", "b", "c");

	create("empty");
	for (int i = 0; i < 9; i++)
		post((char[]){"aabcbacca"[i], '\0'}, (char[]){(char)('1' + i), '\0'});
	assert_string_equal(from(both, STORE_FROM_OLDEST, 0), "123456789");
	assert_string_equal(from(both, STORE_FROM_NEWEST, 0), "");
	assert_string_equal(from(both, STORE_FROM_NTH, 1), "123456789");
	assert_string_equal(from(both, STORE_FROM_NTH, 4), "456789");
	assert_string_equal(from(both, STORE_FROM_NTH, 9), "9");
	assert_string_equal(from(both, STORE_FROM_NTH, 10), "");
	assert_string_equal(from(both, STORE_FROM_LAST, 1), "9");
	assert_string_equal(from(both, STORE_FROM_LAST, 4), "6789");
	assert_string_equal(from(both, STORE_FROM_LAST, 9), "123456789");
	assert_string_equal(from(both, STORE_FROM_LAST, 10), "123456789");
	assert_string_equal(from(NAMES("empty", "absent"), STORE_FROM_NEWEST, 0), "");
}

static void
test_a_start_over_several_channels_goes_no_further_than_it_may(void **state UNUSED)
{
	for (unsigned i = 0; i < STORE_START_MAX + 5; i++)
		post(i % 2 ? "a" : "b", i == 5 ? "5" : i == STORE_START_MAX - 1 ? "N" : "");
	assert_string_equal(from(NAMES("a", "b"), STORE_FROM_LAST, UINT32_MAX), "5N");
	assert_string_equal(from(NAMES("a", "b"), STORE_FROM_LAST, STORE_START_MAX - 1), "N");
	assert_string_equal(from(NAMES("a", "b"), STORE_FROM_NTH, STORE_START_MAX), "N");
	assert_string_equal(from(NAMES("a", "b"), STORE_FROM_NTH, STORE_START_MAX + 1), "");
}

static void
test_one_who_begins_at_the_newest_waits_for_what_comes(void **state UNUSED)
{
	struct store_watch watch = watch_of(0);
	struct store_result result;

	post("a", "old");
	result = next("a",
	    &(struct store_query){.start = {.from = STORE_FROM_NEWEST}, .watches = ONE(&watch)});
	assert_int_equal(result.status, STORE_NOTHING_NEWER);
	assert_false(result.gap);
	assert_int_equal(result.number, 1);
	post("a", "new");
	assert_int_equal(notes_of(0), 1);
	stop_waiting(&watch);
	store_unwatch(t.store, &watch);
}

/* ---- streams ------------------------------------------------------------------------ */

/* What a stream keeps between its calls. */
struct stream {
	struct store_watch watch;
	struct msgid position, joined;
	uint64_t number;
};

/* It begins; the message it got is taken. */
static struct store_result
open_stream(struct stream *st, const char *channel, const struct store_start *start)
{
	struct store_result result;

	st->watch = watch_of(0);
	result = next(channel,
	    &(struct store_query){
		.create = true, .start = *start, .stream = true, .watches = ONE(&st->watch)});
	st->joined = result.newest;
	st->position = result.msg != NULL ? result.msg->id : result.newest;
	st->number = result.msg != NULL ? result.msg->number : result.number;
	return result;
}

static struct store_result
read_on(struct stream *st, const char *channel)
{
	struct store_result result = next(channel, &(struct store_query){.has_after = true,
						       .after = st->position,
						       .held = true,
						       .joined = st->joined,
						       .has_after_number = true,
						       .after_number = st->number,
						       .watches = ONE(&st->watch)});

	st->position = result.msg != NULL ? result.msg->id : result.newest;
	st->number = result.msg != NULL ? result.msg->number : result.number;
	return result;
}

static void
close_stream(struct stream *st)
{
	stop_waiting(&st->watch);
	store_unwatch(t.store, &st->watch);
}

static const struct store_start oldest_first = {.from = STORE_FROM_OLDEST};
static const struct store_start newest_only = {.from = STORE_FROM_NEWEST};

static void
test_a_stream_is_held_also_while_there_are_messages_and_counted_once(void **state UNUSED)
{
	struct stream st;

	post("a", "1");
	post("a", "2");
	assert_message(open_stream(&st, "a", &oldest_first), "1");
	assert_int_equal(st.watch.held, 1);
	post("a", "3");
	assert_int_equal(notes_of(0), 1);
	assert_message(read_on(&st, "a"), "2");
	assert_message(read_on(&st, "a"), "3");
	assert_int_equal(read_on(&st, "a").status, STORE_NOTHING_NEWER);
	assert_int_equal(st.watch.held, 1);
	assert_int_equal(info("a").info.subscribers, 1);
	close_stream(&st);
	assert_int_equal(info("a").info.subscribers, 0);
}

static void
test_a_stream_that_comes_back_to_its_position_is_held_too(void **state UNUSED)
{
	struct store_watch watch = watch_of(0);
	struct msgid position = post("a", "1");
	struct store_query query = {
	    .has_after = true, .after = position, .stream = true, .watches = ONE(&watch)};

	post("a", "2");
	assert_message(next("a", &query), "2");
	assert_int_equal(watch.held, 1);
	post("a", "3");
	assert_int_equal(notes_of(0), 1);
	stop_waiting(&watch);
	store_unwatch(t.store, &watch);
}

static void
test_a_stream_that_reads_on_is_no_new_request(void **state UNUSED)
{
	struct stream st;

	open_stream(&st, "a", &newest_only);
	pass_ms(5000);
	assert_int_equal(read_on(&st, "a").status, STORE_NOTHING_NEWER);
	assert_int_equal(info("a").info.requested_s, 5);
	close_stream(&st);
}

static void
test_what_was_deleted_is_over_for_a_stream_though_there_is_a_new_one(void **state UNUSED)
{
	struct stream st, other;

	post("a", "1");
	assert_message(open_stream(&st, "a", &oldest_first), "1");
	drop("a", NULL);
	assert_int_equal(read_on(&st, "a").status, STORE_NOTHING_NEWER);
	st.position = st.joined;
	/* Someone of the same worker waits in the new channel: by the same watch. */
	post("a", "of the new one");
	assert_message(next("a", &(struct store_query){.stream = true, .watches = ONE(&st.watch)}),
	    "of the new one");
	assert_non_null(st.watch.channel);
	assert_int_equal(read_on(&st, "a").status, STORE_NOTHING_NEWER);
	/* Who came to the new one reads it. */
	assert_message(open_stream(&other, "a", &oldest_first), "of the new one");
	close_stream(&other);
	stop_waiting(&st.watch);
	close_stream(&st);
}

static void
test_of_several_channels_the_deleted_one_is_passed_over(void **state UNUSED)
{
	struct store_watch a = watch_of(0), b = watch_of(0);
	struct store_watch *watches[] = {&a, &b};
	struct store_query query = {.create = true, .stream = true, .watches = watches};
	struct store_result result;

	result = next_of(NAMES("a", "b"), &query);
	query = (struct store_query){.has_after = true,
	    .after = result.newest,
	    .held = true,
	    .joined = result.newest,
	    .watches = watches};
	drop("a", NULL);
	post("a", "of another");
	post("b", "2");
	assert_message(next_of(NAMES("a", "b"), &query), "2");
	drop("b", NULL);
	result = next_of(NAMES("a", "b"), &query);
	assert_int_equal(result.status, STORE_NOTHING_NEWER);
	assert_false(result.gap);
	stop_waiting(&a);
	stop_waiting(&b);
	store_unwatch(t.store, &a);
	store_unwatch(t.store, &b);
}

/* ---- what was lost ------------------------------------------------------------------ */

static void
test_messages_are_numbered_in_their_channel_stored_or_not(void **state UNUSED)
{
	struct store_result result;

	post_foregone("a", "1");
	post("b", "x");
	post("a", "2");
	result = oldest("a");
	assert_int_equal(result.msg->number, 2);
	assert_int_equal(result.number, 2);
	assert_message(result, "2");
	assert_int_equal(info("a").info.published, 2);
	drop("a", NULL);
	post("a", "1");
	result = oldest("a");
	assert_int_equal(result.msg->number, 1);
	message_unref(result.msg);
}

static void
test_a_stream_that_fell_behind_is_told_how_many_it_lost(void **state UNUSED)
{
	struct store_result result;
	struct stream st;

	open_store((struct retention){.max_messages = 2});
	post("a", "1");
	assert_message(open_stream(&st, "a", &oldest_first), "1");
	for (int i = 2; i <= 10; i++)
		post("a", i == 9 ? "9" : i == 10 ? "10" : "x");
	result = read_on(&st, "a");
	assert_true(result.gap);
	assert_int_equal(result.lost, 7);
	assert_message(result, "9");
	result = read_on(&st, "a");
	assert_false(result.gap);
	assert_int_equal(result.lost, 0);
	assert_message(result, "10");
	close_stream(&st);
}

static void
test_a_stream_has_lost_what_was_not_stored_while_it_was_busy(void **state UNUSED)
{
	struct store_result result;
	struct stream st;

	open_stream(&st, "a", &newest_only);
	post_foregone("a", "1");
	post_foregone("a", "2");
	post("a", "3");
	post_foregone("a", "4");
	post("a", "5");
	result = read_on(&st, "a");
	assert_true(result.gap);
	assert_int_equal(result.lost, 2);
	assert_message(result, "3");
	result = read_on(&st, "a");
	assert_int_equal(result.lost, 1);
	assert_message(result, "5");
	post_foregone("a", "6");
	result = read_on(&st, "a");
	assert_int_equal(result.status, STORE_NOTHING_NEWER);
	assert_true(result.gap);
	assert_int_equal(result.lost, 1);
	result = read_on(&st, "a");
	assert_false(result.gap);
	close_stream(&st);
}

static void
test_what_a_stream_has_lost_and_not_been_told_is_counted_with_what_follows(void **state UNUSED)
{
	struct store_result result;
	struct stream st;

	open_stream(&st, "a", &newest_only);
	post_foregone("a", "1");
	post_foregone("a", "2");
	assert_int_equal(read_on(&st, "a").lost, 2);
	st.number = 0;
	result = read_on(&st, "a");
	assert_int_equal(result.status, STORE_NOTHING_NEWER);
	assert_true(result.gap);
	assert_int_equal(result.lost, 2);
	st.number = 0;
	post_foregone("a", "3");
	post("a", "4");
	result = read_on(&st, "a");
	assert_true(result.gap);
	assert_int_equal(result.lost, 3);
	assert_message(result, "4");
	close_stream(&st);
}

static void
test_what_a_channel_may_have_had_before_it_was_made_is_a_gap_to_one_who_counts(void **state UNUSED)
{
	struct store_result result;
	struct stream st;
	struct msgid position;

	position = post("a", "1");
	post("gone", "2");
	drop("gone", NULL);
	open_stream(&st, "b", &newest_only);
	st.position = position;
	result = read_on(&st, "b");
	assert_int_equal(result.status, STORE_NOTHING_NEWER);
	assert_true(result.gap);
	assert_int_equal(result.lost, 0);
	assert_false(read_on(&st, "b").gap);
	close_stream(&st);
}

static void
test_what_was_not_stored_before_a_stream_came_is_not_lost_to_it(void **state UNUSED)
{
	struct store_result result;
	struct stream st;

	open_store((struct retention){.max_messages = 3});
	post("a", "1");
	post_foregone("a", "2");
	post("a", "3");
	post_foregone("a", "4");
	assert_message(open_stream(&st, "a", &oldest_first), "1");
	result = read_on(&st, "a");
	assert_false(result.gap);
	assert_int_equal(result.lost, 0);
	assert_message(result, "3");
	/* What is not stored now is; the two together nobody has counted. */
	post_foregone("a", "5");
	post("a", "6");
	result = read_on(&st, "a");
	assert_true(result.gap);
	assert_int_equal(result.lost, 0);
	assert_message(result, "6");
	post_foregone("a", "7");
	post("a", "8");
	result = read_on(&st, "a");
	assert_int_equal(result.lost, 1);
	assert_message(result, "8");
	close_stream(&st);
}

static void
test_what_was_dropped_is_lost_whatever_was_not_stored_before_a_stream_came(void **state UNUSED)
{
	struct store_result result;
	struct stream st;

	open_store((struct retention){.max_messages = 2});
	post("a", "1");
	post_foregone("a", "2");
	post("a", "3");
	assert_message(open_stream(&st, "a", &oldest_first), "1");
	post("a", "4");
	post("a", "5");
	result = read_on(&st, "a");
	assert_true(result.gap);
	assert_int_equal(result.lost, 0);
	assert_message(result, "4");
	close_stream(&st);
}

static void
test_a_stream_that_does_not_count_is_told_a_gap_once_as_it_passes_it(void **state UNUSED)
{
	struct store_watch a = watch_of(0), b = watch_of(0);
	struct store_watch *watches[] = {&a, &b};
	struct store_query query = {.has_after = true, .held = true, .watches = watches};
	struct store_result result;

	result = next_of(NAMES("a", "b"),
	    &(struct store_query){.create = true, .stream = true, .watches = watches});
	query.after = query.joined = result.newest;
	post("a", "1");
	post_foregone("b", "2");
	post("a", "3");
	post("b", "4");
	for (int i = 0; i < 3; i++) {
		static const char *const bodies[] = {"1", "3", "4"};

		result = next_of(NAMES("a", "b"), &query);
		assert_int_equal(result.gap, i == 1);
		assert_int_equal(result.lost, 0);
		query.after = result.msg->id;
		assert_message(result, bodies[i]);
	}
	post_foregone("a", "5");
	result = next_of(NAMES("a", "b"), &query);
	assert_int_equal(result.status, STORE_NOTHING_NEWER);
	assert_true(result.gap);
	query.after = result.newest;
	assert_false(next_of(NAMES("a", "b"), &query).gap);
	stop_waiting(&a);
	stop_waiting(&b);
	store_unwatch(t.store, &a);
	store_unwatch(t.store, &b);
}

/* Though a later one was lost since, which is the one that the channel remembers. */
static void
test_a_stream_of_several_channels_is_told_before_the_message_that_follows(void **state UNUSED)
{
	struct store_watch a = watch_of(0), b = watch_of(0);
	struct store_watch *watches[] = {&a, &b};
	struct message *more[8] = {NULL};
	struct store_query query = {.has_after = true,
	    .held = true,
	    .watches = watches,
	    .more = more,
	    .more_max = 8,
	    .more_bytes = 100};
	struct store_result result;

	result = next_of(NAMES("a", "b"),
	    &(struct store_query){.create = true, .stream = true, .watches = watches});
	query.after = query.joined = result.newest;
	post("a", "1");
	post_foregone("a", "lost");
	post("b", "2");
	post("a", "3");
	post_foregone("a", "lost");
	post("b", "4");
	post("a", "5");
	for (int i = 0; i < 3; i++) {
		/* What b has behind the loss is not read before it is said. */
		static const char *const bodies[] = {"1", "2", "4"};
		static const unsigned n_more[] = {0, 1, 1};

		result = next_of(NAMES("a", "b"), &query);
		assert_int_equal(result.gap, i > 0);
		assert_int_equal(result.n_more, n_more[i]);
		assert_memory_equal(message_body(result.msg), bodies[i], 1);
		query.after = result.n_more > 0 ? more[result.n_more - 1]->id : result.msg->id;
		while (result.n_more > 0)
			message_unref(more[--result.n_more]);
		message_unref(result.msg);
	}
	stop_waiting(&a);
	stop_waiting(&b);
	store_unwatch(t.store, &a);
	store_unwatch(t.store, &b);
}

static void
test_of_several_channels_a_gap_is_said_when_it_is_passed(void **state UNUSED)
{
	struct msgid after;
	struct store_result result;

	open_store((struct retention){.max_messages = 2});
	pass_ms(1000);
	after = post("a", "1");
	post("a", "2");
	for (int i = 0; i < 4; i++)
		post("b", i == 2 ? "b2" : i == 3 ? "b3" : "x");
	/* b has lost two after a's second message. */
	result = next_of(NAMES("a", "b"), &(struct store_query){.has_after = true, .after = after});
	assert_false(result.gap);
	after = result.msg->id;
	assert_message(result, "2");
	result = next_of(NAMES("a", "b"), &(struct store_query){.has_after = true, .after = after});
	assert_true(result.gap);
	after = result.msg->id;
	assert_message(result, "b2");
	result = next_of(NAMES("a", "b"), &(struct store_query){.has_after = true, .after = after});
	assert_false(result.gap);
	assert_message(result, "b3");
}

static void
test_an_absent_channel_may_have_had_what_the_store_has_forgotten(void **state UNUSED)
{
	struct msgid after;

	pass_ms(1000);
	after = post("a", "1");
	assert_false(next_of(
	    NAMES("b"), &(struct store_query){.create = true, .has_after = true, .after = after})
			 .gap);
	post("b", "2");
	drop("b", NULL);
	assert_true(next_of(
	    NAMES("b"), &(struct store_query){.create = true, .has_after = true, .after = after})
			.gap);
}

/* ---- the messages that follow ------------------------------------------------------- */

static void
release_more(struct store_result *result, struct message **more)
{
	message_unref(result->msg);
	while (result->n_more > 0)
		message_unref(more[--result->n_more]);
}

static void
test_more_is_bounded_by_count_and_bytes_but_the_first_always_comes(void **state UNUSED)
{
	struct message *more[10] = {NULL};
	struct store_query query = {.more = more, .more_max = 3, .more_bytes = 1000};
	struct store_result result;

	for (int i = 0; i < 8; i++)
		append_bytes("a", block, 100, STORE_APPEND_CREATE | STORE_APPEND_KEEP, NULL);
	result = next("a", &query);
	assert_int_equal(result.n_more, 3);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(more[i]->number, i + 2);
	release_more(&result, more);
	query.more_max = 10;
	query.more_bytes = 400;
	result = next("a", &query);
	assert_int_equal(result.n_more, 3);
	release_more(&result, more);
	query.more_bytes = 399;
	result = next("a", &query);
	assert_int_equal(result.n_more, 2);
	release_more(&result, more);
	query.more_bytes = 99;
	result = next("a", &query);
	assert_int_equal(result.n_more, 0);
	release_more(&result, more);
	query.more_bytes = 10000;
	result = next("a", &query);
	assert_int_equal(result.n_more, 7);
	release_more(&result, more);
}

static void
test_more_ends_before_a_gap(void **state UNUSED)
{
	struct message *more[10] = {NULL};
	struct store_query query = {
	    .has_after = true, .more = more, .more_max = 10, .more_bytes = 1000};
	struct store_result result;
	struct stream st;

	/* In one channel what was not stored is one, to one who is held. */
	open_stream(&st, "a", &newest_only);
	post("a", "1");
	post("a", "2");
	post_foregone("a", "3");
	post("a", "4");
	query.after = st.position;
	result = next("a", &query);
	assert_int_equal(result.n_more, 2);
	release_more(&result, more);
	query.held = query.has_after_number = true;
	query.joined = st.joined;
	query.watches = ONE(&st.watch);
	result = next("a", &query);
	assert_int_equal(result.n_more, 1);
	assert_false(result.gap);
	query.after = more[0]->id;
	query.after_number = more[0]->number;
	release_more(&result, more);
	result = next("a", &query);
	assert_int_equal(result.lost, 1);
	assert_message(result, "4");
	close_stream(&st);

	/* In several: what was dropped between the messages of another. */
	open_store((struct retention){.max_messages = 2});
	pass_ms(1000);
	query = (struct store_query){.has_after = true,
	    .after = post("a", "0"),
	    .more = more,
	    .more_max = 10,
	    .more_bytes = 1000};
	post("a", "1");
	post("b", "2");
	post("a", "3");
	post("b", "4");
	post("b", "5");
	result = next_of(NAMES("a", "b"), &query);
	assert_false(result.gap);
	assert_int_equal(result.n_more, 0);
	query.after = result.msg->id;
	assert_message(result, "1");
	result = next_of(NAMES("a", "b"), &query);
	assert_true(result.gap);
	assert_int_equal(result.n_more, 2);
	release_more(&result, more);
}

/* ---- bounds and places over several channels ----------------------------------------- */

static void
test_a_channel_that_is_full_takes_no_one_and_nobody_is_held_anywhere(void **state UNUSED)
{
	struct store_watch a = watch_of(0), b = watch_of(1), first = watch_of(2);
	struct store_watch *watches[] = {&a, &b};
	struct message *more[4] = {NULL};
	struct store_query query = {.create = true,
	    .watches = watches,
	    .max_subscribers = 2,
	    .more = more,
	    .more_max = 4,
	    .more_bytes = 100};
	struct store_result result;

	wait_in("b", &first);
	wait_in("b", &first);
	result = next_of(NAMES("a", "b"), &query);
	assert_int_equal(result.status, STORE_FULL);
	assert_int_equal(result.which, 1);
	assert_int_equal(a.held + b.held, 0);
	assert_false(exists("a"));
	/* A stream is not given what is there either. */
	post("b", "x");
	post("b", "y");
	query.stream = true;
	result = next_of(NAMES("a", "b"), &query);
	assert_int_equal(result.status, STORE_FULL);
	assert_int_equal(result.n_more, 0);
	/* Who is answered at once is not held. */
	query.stream = false;
	query.more_max = 0;
	assert_message(next_of(NAMES("a", "b"), &query), "x");
	stop_waiting(&first);
	query.start.from = STORE_FROM_NEWEST;
	assert_int_equal(next_of(NAMES("a", "b"), &query).status, STORE_NOTHING_NEWER);
	assert_int_equal(info("b").info.subscribers, 2);
	stop_waiting(&a);
	stop_waiting(&b);
	stop_waiting(&first);
	store_unwatch(t.store, &a);
	store_unwatch(t.store, &b);
	store_unwatch(t.store, &first);
}

/* As take_place(), in two channels. */
static struct store_result
take_both(struct store_watch *a, struct store_watch *b, enum store_hold_mode mode, uint64_t ticket)
{
	const struct store_hold hold = {.mode = mode, .place = 0, .ticket = ticket};

	return next_of(NAMES("a", "b"), &(struct store_query){.start = newest_only,
					    .create = true,
					    .watches = (struct store_watch *[]){a, b},
					    .hold = &hold});
}

static void
test_places_are_taken_in_all_channels_or_in_none(void **state UNUSED)
{
	struct store_watch a = watch_of(0), b = watch_of(0), other = watch_of(1);
	struct store_result result;

	take_place("b", &other, STORE_HOLD_FIRST, 0, 1);
	result = take_both(&a, &b, STORE_HOLD_FIRST, 2);
	assert_int_equal(result.status, STORE_CONFLICT);
	assert_int_equal(result.which, 1);
	assert_false(exists("a"));
	give_place(&other, 0, 1);
	assert_int_equal(take_both(&a, &b, STORE_HOLD_FIRST, 2).status, STORE_NOTHING_NEWER);
	assert_int_equal(take_place("a", &other, STORE_HOLD_FIRST, 0, 3).status, STORE_CONFLICT);
	assert_int_equal(take_place("b", &other, STORE_HOLD_FIRST, 0, 3).status, STORE_CONFLICT);
	give_place(&a, 0, 2);
	give_place(&b, 0, 2);
	store_unwatch(t.store, &a);
	store_unwatch(t.store, &b);
	store_unwatch(t.store, &other);
}

static void
test_the_last_displaces_in_each_channel_who_has_it(void **state UNUSED)
{
	struct store_watch a = watch_of(0), b = watch_of(2), a2 = watch_of(1), b2 = watch_of(1);

	take_place("a", &a, STORE_HOLD_LAST, 0, 1);
	take_place("b", &b, STORE_HOLD_LAST, 0, 2);
	assert_int_equal(take_both(&a2, &b2, STORE_HOLD_LAST, 3).status, STORE_NOTHING_NEWER);
	assert_int_equal(notes_of(0), 1);
	assert_int_equal(notes_of(1), 0);
	assert_int_equal(notes_of(2), 1);
	for (unsigned w = 0; w <= 2; w += 2) {
		assert_int_equal(note(w, 0)->note.kind, NOTE_DISPLACED);
		assert_int_equal(note(w, 0)->ticket, w == 0 ? 1 : 2);
		assert_ptr_equal(note(w, 0)->watch, w == 0 ? &a : &b);
	}
	give_place(&a, 0, 1);
	give_place(&b, 0, 2);
	/* Back in one of them only. */
	take_place("b", &b, STORE_HOLD_LAST, 0, 4);
	assert_int_equal(notes_of(1), 1);
	assert_int_equal(note(1, 0)->ticket, 3);
	give_place(&a2, 0, 3);
	give_place(&b2, 0, 3);
	give_place(&b, 0, 4);
	store_unwatch(t.store, &a);
	store_unwatch(t.store, &b);
	store_unwatch(t.store, &a2);
	store_unwatch(t.store, &b2);
}

/* More channels than workers: a note for each, one wake for all. */
static void
test_a_worker_may_lose_more_places_at_once_than_there_are_workers(void **state UNUSED)
{
	static struct store_watch one[SEVERAL_MAX], two[SEVERAL_MAX];
	struct store_watch *ones[SEVERAL_MAX], *twos[SEVERAL_MAX];
	static char names[SEVERAL_MAX][8];
	const char *list[SEVERAL_MAX + 1] = {NULL};
	struct store_hold hold = {.mode = STORE_HOLD_LAST, .ticket = 1};
	struct store_query query = {.create = true, .watches = ones, .hold = &hold};

	for (size_t i = 0; i < SEVERAL_MAX; i++) {
		snprintf(names[i], sizeof(names[i]), "n%zu", i);
		list[i] = names[i];
		one[i] = watch_of(0);
		two[i] = watch_of(1);
		ones[i] = &one[i];
		twos[i] = &two[i];
	}
	assert_int_equal(next_of(list, &query).status, STORE_NOTHING_NEWER);
	query.watches = twos;
	hold.ticket = 2;
	assert_int_equal(next_of(list, &query).status, STORE_NOTHING_NEWER);
	assert_int_equal(notes_of(0), SEVERAL_MAX);
	for (size_t i = 0; i < SEVERAL_MAX; i++) {
		give_place(&one[i], 0, 1);
		give_place(&two[i], 0, 2);
		store_unwatch(t.store, &one[i]);
		store_unwatch(t.store, &two[i]);
	}
}

/* ---- statistics ---------------------------------------------------------------------- */

static struct store_stats
stats(void)
{
	struct store_result result;
	struct store_stats stats;

	memset(&stats, 0xee, sizeof(stats));
	assert_int_equal(store_stats(t.store, &stats, &result, never, NULL, NULL), STORE_DONE);
	assert_int_equal(result.status, STORE_OK);
	return stats;
}

static void
test_the_store_counts_what_it_has_and_what_it_ever_had(void **state UNUSED)
{
	struct store_watch a = watch_of(0), b = watch_of(3);
	uint64_t bytes;

	open_store((struct retention){.max_messages = 2});
	assert_int_equal(stats().channels + stats().published + stats().bytes, 0);
	for (int i = 0; i < 5; i++)
		post("a", "x");
	post_foregone("b", "x");
	wait_in("a", &a);
	wait_in("a", &a);
	wait_in("b", &b);
	assert_int_equal(stats().channels, 2);
	assert_int_equal(stats().published, 6);
	assert_int_equal(stats().stored, 2);
	assert_int_equal(stats().subscribers, 3);
	assert_ptr_equal(stats().by_worker[0].worker, a.mailbox);
	assert_int_equal(stats().by_worker[0].subscribers, 2);
	assert_ptr_equal(stats().by_worker[1].worker, b.mailbox);
	assert_int_equal(stats().by_worker[1].subscribers, 1);
	assert_null(stats().by_worker[2].worker);
	bytes = stats().bytes;
	assert_true(bytes > 0);
	stop_waiting(&a);
	assert_int_equal(stats().subscribers, 2);
	/* What is gone was published all the same; who is told is held until he leaves. */
	drop("a", NULL);
	assert_int_equal(stats().channels, 1);
	assert_int_equal(stats().published, 6);
	assert_int_equal(stats().stored, 0);
	assert_int_equal(stats().subscribers, 2);
	assert_true(stats().bytes < bytes);
	stop_waiting(&a);
	stop_waiting(&b);
	store_unwatch(t.store, &a);
	store_unwatch(t.store, &b);
	assert_int_equal(stats().subscribers, 0);
}

static void
test_as_many_workers_as_there_may_be_are_counted_each(void **state UNUSED)
{
	struct store_watch watches[STORE_TOTALS];
	struct mailbox *mailboxes[ARRAY_LEN(watches)];

	for (size_t i = 0; i < ARRAY_LEN(watches); i++) {
		mailboxes[i] = mailbox_new(t.workers[0].base, on_note, NULL, &t.workers[0]);
		watches[i] = (struct store_watch){.mailbox = mailboxes[i]};
		wait_in("a", &watches[i]);
	}
	wait_in("a", &watches[5]);
	assert_int_equal(stats().subscribers, ARRAY_LEN(watches) + 1);
	for (size_t i = 0; i < ARRAY_LEN(watches); i++) {
		assert_ptr_equal(stats().by_worker[i].worker, mailboxes[i]);
		assert_int_equal(stats().by_worker[i].subscribers, i == 5 ? 2 : 1);
	}
	stop_waiting(&watches[5]);
	for (size_t i = 0; i < ARRAY_LEN(watches); i++) {
		stop_waiting(&watches[i]);
		assert_int_equal(stats().by_worker[i].subscribers, 0);
		store_unwatch(t.store, &watches[i]);
		mailbox_free(mailboxes[i], forget_note);
	}
	assert_int_equal(stats().subscribers, 0);
}

/* One answer; how many it has. */
static unsigned
list(const struct store_selection *selection, struct store_cursor *cursor,
    struct store_listed *listed, unsigned max)
{
	struct store_result result;

	memset(&result, 0xee, sizeof(result));
	assert_int_equal(
	    store_list(t.store, selection, cursor, listed, max, &result, never, NULL, NULL),
	    STORE_DONE);
	assert_int_equal(result.status, STORE_OK);
	assert_true(result.n_listed <= max);
	return result.n_listed;
}

static void
test_channels_are_listed_by_their_ids_with_what_they_have(void **state UNUSED)
{
	struct channel_key keys[] = {key("b"), key("absent"), key("a")};
	struct store_cursor cursor = {.done = false};
	struct store_listed listed[3];
	struct store_watch watch = watch_of(0);

	open_store((struct retention){.max_messages = 2});
	for (int i = 0; i < 3; i++)
		post("a", "x");
	wait_in("b", &watch);
	assert_int_equal(list(&(struct store_selection){.keys = keys, .n_keys = 3}, &cursor, listed,
			     ARRAY_LEN(listed)),
	    2);
	assert_true(cursor.done);
	assert_memory_equal(listed[0].id->key.bytes, "b", 1);
	assert_int_equal(listed[0].subscribers, 1);
	assert_int_equal(listed[0].published + listed[0].stored, 0);
	assert_memory_equal(listed[1].id->key.bytes, "a", 1);
	assert_int_equal(listed[1].published, 3);
	assert_int_equal(listed[1].stored, 2);
	assert_int_equal(listed[1].subscribers, 0);
	channel_id_unref(listed[0].id);
	channel_id_unref(listed[1].id);
	stop_waiting(&watch);
	store_unwatch(t.store, &watch);
}

static void
test_channels_are_listed_by_their_beginning(void **state UNUSED)
{
	static const char *const names[] = {"a", "ab", "abc", "b", "ab\n"};
	const struct store_selection selection = {.prefix = "ab", .prefix_len = 2};
	struct store_cursor cursor = {.done = false};
	struct store_listed listed[STORE_LIST_MAX];
	unsigned n = 0;

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		create(names[i]);
	while (!cursor.done) {
		unsigned got = list(&selection, &cursor, listed, STORE_LIST_MAX);

		for (unsigned i = 0; i < got; i++) {
			assert_true(listed[i].id->key.len >= 2);
			assert_memory_equal(listed[i].id->key.bytes, "ab", 2);
			channel_id_unref(listed[i].id);
		}
		n += got;
	}
	assert_int_equal(n, 3);
}

/* Two 64-bit hashes are hardly ever the same; and then the channels are listed both. */
static void
test_channels_of_one_hash_are_listed_each(void **state UNUSED)
{
	static const char *const names[] = {"a", "b", "c", "d", "e"};
	const struct store_selection all = {.prefix_len = 0};
	struct store_result result;
	unsigned seen[ARRAY_LEN(names)] = {0};
	struct store_cursor cursor = {.done = false};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct channel_key k = key(names[i]);

		k.hash = i < 3 ? 42 : i;
		assert_int_equal(store_create(t.store, &k, &result, never, NULL, NULL), STORE_DONE);
	}
	while (!cursor.done) {
		struct store_listed listed[3];
		unsigned n = list(&all, &cursor, listed, ARRAY_LEN(listed));

		for (unsigned i = 0; i < n; i++) {
			seen[listed[i].id->key.bytes[0] - 'a']++;
			channel_id_unref(listed[i].id);
		}
	}
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		assert_int_equal(seen[i], 1);
}

/* The table grows and shrinks between the answers. Those named s… stay. */
static void
test_a_channel_that_stays_is_listed_once_whatever_comes_and_goes(void **state UNUSED)
{
	enum {
		STAY = 700,
		OTHERS = 6000
	};
	const struct store_selection all = {.prefix_len = 0};

	for (unsigned i = 0; i < STAY; i++)
		create((char[]){'s', (char)('0' + i / 100), (char)('0' + i / 10 % 10),
		    (char)('0' + i % 10), '\0'});
	for (unsigned max = 1; max <= STORE_LIST_MAX; max = max * 4 + 1) {
		static unsigned seen[STAY];
		struct store_cursor cursor = {.done = false};
		struct store_listed listed[STORE_LIST_MAX];
		unsigned answers = 0, others = 0;
		bool adding = true;

		memset(seen, 0, sizeof(seen));
		for (; !cursor.done; answers++) {
			unsigned n = list(&all, &cursor, listed, max);

			for (unsigned i = 0; i < n; i++) {
				const unsigned char *id = listed[i].id->key.bytes;

				if (id[0] == 's')
					seen[(id[1] - '0') * 100 + (id[2] - '0') * 10 + id[3] -
					     '0']++;
				channel_id_unref(listed[i].id);
			}
			for (int i = 0; i < 400; i++) {
				char name[16];

				if (others == (adding ? OTHERS : 0))
					adding = !adding;
				snprintf(name, sizeof(name), "o%u", adding ? others : others - 1);
				if (adding)
					create(name);
				else
					drop(name, NULL);
				others = adding ? others + 1 : others - 1;
			}
		}
		for (unsigned i = 0; i < STAY; i++)
			assert_int_equal(seen[i], 1);
		assert_true(answers >= STAY / max);
		while (others > 0) {
			char name[16];

			snprintf(name, sizeof(name), "o%u", --others);
			drop(name, NULL);
		}
	}
}

static void
test_one_answer_of_a_list_looks_at_a_slice_of_a_large_store(void **state UNUSED)
{
	const struct store_selection none = {.prefix = "zzz", .prefix_len = 3};
	struct store_cursor cursor = {.done = false};
	struct store_listed listed[1];
	unsigned answers = 0;

	for (int i = 0; i < 20000; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%d", i);
		create(name);
	}
	for (; !cursor.done; answers++)
		assert_int_equal(list(&none, &cursor, listed, 1), 0);
	/* A thousand channels would be too many at a time, ten would be too few. */
	assert_true(answers > 20 && answers < 2000);
}

/* ---- several threads ------------------------------------------------------------- */

#define APPENDERS 4
#define APPENDS   1500
#define CHANNELS  8

static const char *const channel_names[CHANNELS] = {"0", "1", "2", "3", "4", "5", "6", "7"};

struct appender {
	pthread_t thread;
	unsigned number;
	struct msgid ids[APPENDS];
};

static void *
append_many(void *arg)
{
	struct appender *a = arg;

	for (unsigned i = 0; i < APPENDS; i++) {
		struct channel_key k = key(channel_names[(i * 7 + a->number) % CHANNELS]);
		struct message *msg = new_message(NULL, "x", 1);
		struct store_result result;

		/* Each thread's clock is its own, and steps now and then. */
		clock_set(1000 + i, 1763690000 + (i / 100) * (a->number + 1) % 7);
		if (store_append(t.store, &k, msg,
			STORE_APPEND_CREATE | (i % 3 ? STORE_APPEND_KEEP : 0), NULL, &result, never,
			NULL, NULL) != STORE_DONE ||
		    result.status != STORE_OK)
			abort();
		a->ids[i] = msg->id;
		message_unref(msg);
	}
	return NULL;
}

static int
compare_ids(const void *a, const void *b)
{
	return msgid_cmp(*(const struct msgid *)a, *(const struct msgid *)b);
}

static void
test_every_mailbox_gets_the_messages_of_several_threads_in_the_order_of_their_ids(
    void **state UNUSED)
{
	static struct appender appenders[APPENDERS];
	static struct msgid all[APPENDERS * APPENDS];
	static struct store_watch watches[WORKERS][CHANNELS];

	open_store((struct retention){.max_messages = 50});
	for (unsigned w = 0; w < WORKERS; w++)
		for (unsigned c = 0; c < CHANNELS; c++) {
			watches[w][c] = watch_of(w);
			/* Worker 0 has all channels, the last one two of them. */
			if (c % (1u << w) == 0)
				wait_in(channel_names[c], &watches[w][c]);
		}
	for (unsigned i = 0; i < APPENDERS; i++) {
		appenders[i].number = i;
		assert_int_equal(
		    pthread_create(&appenders[i].thread, NULL, append_many, &appenders[i]), 0);
	}
	for (unsigned i = 0; i < APPENDERS; i++) {
		pthread_join(appenders[i].thread, NULL);
		memcpy(all + i * APPENDS, appenders[i].ids, sizeof(appenders[i].ids));
	}
	qsort(all, ARRAY_LEN(all), sizeof(all[0]), compare_ids);
	for (size_t i = 1; i < ARRAY_LEN(all); i++)
		assert_true(id_below(all[i - 1], all[i]));
	for (unsigned w = 0; w < WORKERS; w++)
		for (size_t i = 1; i < notes_of(w); i++)
			assert_true(id_below(note(w, i - 1)->at, note(w, i)->at));
	assert_int_equal(notes_of(0), ARRAY_LEN(all));
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		assert_int_equal(msgid_cmp(note(0, i)->at, all[i]), 0);
	assert_int_equal(notes_of(1), ARRAY_LEN(all) / 2);
	for (unsigned c = 0; c < CHANNELS; c++) {
		struct msgid last = {0, 0};
		struct store_result result;
		size_t n = 0;

		for (; (result = next_after(channel_names[c], last)).status == STORE_OK; n++) {
			assert_true(id_below(last, result.msg->id));
			last = result.msg->id;
			message_unref(result.msg);
		}
		assert_int_equal(n, 50);
	}
	for (unsigned w = 0; w < WORKERS; w++)
		for (unsigned c = 0; c < CHANNELS; c++)
			store_unwatch(t.store, &watches[w][c]);
}

#define ROUNDS 1500

static struct {
	pthread_barrier_t begin, end;
	struct posted posted[ROUNDS];
} race;

static void *
append_one_each_round(UNUSED void *arg)
{
	for (int i = 0; i < ROUNDS; i++) {
		struct channel_key k = key("a");
		struct message *msg = new_message(NULL, "x", 1);
		struct store_result result;

		pthread_barrier_wait(&race.begin);
		for (volatile int spin = 0; spin < i % 97 * 20; spin++)
			;
		if (store_append(t.store, &k, msg, STORE_APPEND_KEEP, NULL, &result, never, NULL,
			NULL) != STORE_DONE)
			abort();
		race.posted[i] = (struct posted){result.status, msg->id, result.info, result.notes};
		pthread_barrier_wait(&race.end);
		message_unref(msg);
	}
	return NULL;
}

/* Watch, then ask, is one step: nobody misses what comes in between, or gets it twice. */
static void
test_a_message_that_comes_while_one_begins_to_wait_is_read_or_told_never_neither(
    void **state UNUSED)
{
	struct msgid last;
	int read = 0, told = 0;
	pthread_t thread;

	pthread_barrier_init(&race.begin, NULL, 2);
	pthread_barrier_init(&race.end, NULL, 2);
	open_store((struct retention){.max_messages = 3});
	create("a");
	last = post("a", "first");
	assert_int_equal(pthread_create(&thread, NULL, append_one_each_round, NULL), 0);
	for (int i = 0; i < ROUNDS; i++) {
		struct store_watch watch = watch_of(0);
		struct store_query query = {
		    .has_after = true, .after = last, .watches = ONE(&watch)};
		struct store_result result;
		struct channel_key k = key("a");
		size_t before = notes_of(0), after;
		bool was_told;

		pthread_barrier_wait(&race.begin);
		for (volatile int spin = 0; spin < i % 89 * 20; spin++)
			;
		if (store_next(t.store, &k, 1, &query, &result, never, NULL, NULL) != STORE_DONE)
			abort();
		pthread_barrier_wait(&race.end);
		after = notes_of(0);
		last = race.posted[i].id;
		was_told = after == before + 1;
		assert_true(after <= before + 1);
		assert_int_equal(race.posted[i].notes, was_told);
		if (result.status == STORE_OK) {
			assert_false(was_told);
			assert_int_equal(msgid_cmp(result.msg->id, last), 0);
			message_unref(result.msg);
			read++;
		} else {
			assert_int_equal(result.status, STORE_NOTHING_NEWER);
			assert_true(was_told);
			assert_int_equal(msgid_cmp(note(0, before)->at, last), 0);
			assert_true(id_below(result.newest, last));
			stop_waiting(&watch);
			told++;
		}
		store_unwatch(t.store, &watch);
	}
	pthread_join(thread, NULL);
	pthread_barrier_destroy(&race.begin);
	pthread_barrier_destroy(&race.end);
	assert_int_equal(read + told, ROUNDS);
}

struct visitor {
	pthread_t thread;
	unsigned number;
};

/* Everything at once, in no order. What it finds is checked by the sanitizers. */
static void *
visit(void *arg)
{
	struct visitor *v = arg;
	struct store_watch watches[CHANNELS];
	uint32_t x = v->number + 1;

	for (unsigned c = 0; c < CHANNELS; c++)
		watches[c] = watch_of(v->number);
	clock_set(1000, 1763690000);
	for (int i = 0; i < 4000; i++) {
		unsigned c, n;
		struct channel_key k, keys[2];
		struct store_watch *both[2];
		struct store_cursor cursor = {.done = false};
		struct store_listed listed[CHANNELS];
		struct store_stats stats;
		struct store_result result;
		struct store_hold hold;
		struct store_query query;
		struct message *msg;

		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		c = x % CHANNELS;
		k = keys[0] = key(channel_names[c]);
		keys[1] = key(channel_names[(c + 1) % CHANNELS]);
		both[0] = &watches[c];
		both[1] = &watches[(c + 1) % CHANNELS];
		n = 1 + (x >> 15 & 1);
		hold = (struct store_hold){.mode = x >> 8 & 1, .place = x >> 9 & 1, .ticket = x};
		query = (struct store_query){.has_after = x >> 10 & 1,
		    .after = {1763690000, x >> 11 & 63},
		    .create = true,
		    .watches = both,
		    .stream = x >> 16 & 1,
		    .hold = x >> 12 & 1 ? &hold : NULL};
		clock_set(1000 + (uint64_t)i, 1763690000 + (int64_t)(x % 3));
		switch (x >> 20 & 7) {
		case 0:
			(void)!store_create(t.store, &k, &result, never, NULL, NULL);
			break;
		case 1:
			(void)!store_drop(t.store, &k, NULL, &result, never, NULL, NULL);
			break;
		case 2:
			(void)!store_info(t.store, &k, &result, never, NULL, NULL);
			(void)!store_stats(t.store, &stats, &result, never, NULL, NULL);
			(void)!store_list(t.store, &(struct store_selection){.prefix_len = 0},
			    &cursor, listed, ARRAY_LEN(listed), &result, never, NULL, NULL);
			while (result.n_listed > 0)
				channel_id_unref(listed[--result.n_listed].id);
			break;
		case 3:
		case 4:
			msg = new_message(NULL, block, x % 2000);
			(void)!store_append(
			    t.store, &k, msg, x >> 13 & 3, NULL, &result, never, NULL, NULL);
			message_unref(msg);
			break;
		case 5:
		case 6:
			if (store_next(t.store, keys, n, &query, &result, never, NULL, NULL) !=
			    STORE_DONE)
				abort();
			message_unref(result.msg);
			if (result.status == STORE_NOTHING_NEWER ||
			    (result.status == STORE_OK && query.stream)) {
				if (x >> 14 & 1)
					(void)!store_append(t.store, &k,
					    msg = new_message(NULL, "y", 1), STORE_APPEND_KEEP,
					    NULL, &result, never, NULL, NULL),
					    message_unref(msg);
				for (unsigned w = 0; w < n; w++) {
					store_leave(both[w], clock_ms());
					store_release(t.store, both[w], &hold);
				}
			}
			break;
		default:
			store_unwatch(t.store, &watches[c]);
			(void)store_sweep(t.store);
		}
	}
	for (unsigned c = 0; c < CHANNELS; c++)
		store_unwatch(t.store, &watches[c]);
	return NULL;
}

static void
test_all_calls_of_several_threads_leave_an_empty_store_empty(void **state UNUSED)
{
	struct visitor visitors[WORKERS];
	size_t at_first;

	open_store((struct retention){
	    .max_memory = 64 * 1024, .max_messages = 5, .age_ms = 50, .channel_ms = 20});
	at_first = room();
	for (unsigned i = 0; i < WORKERS; i++) {
		visitors[i].number = i;
		assert_int_equal(pthread_create(&visitors[i].thread, NULL, visit, &visitors[i]), 0);
	}
	for (unsigned i = 0; i < WORKERS; i++)
		pthread_join(visitors[i].thread, NULL);
	for (unsigned i = 0; i < WORKERS; i++) {
		for (size_t n = 0; n < notes_of(i); n++)
			store_note_free(t.workers[i].notes[n]);
		t.workers[i].n_notes = 0;
	}
	for (unsigned c = 0; c < CHANNELS; c++) {
		if (exists(channel_names[c]))
			assert_int_equal(info(channel_names[c]).info.subscribers, 0);
		drop(channel_names[c], NULL);
	}
	assert_int_equal(room(), at_first);
}

/* ---- against a model ------------------------------------------------------------- */

#define MODEL_CHANNELS 4
#define MODEL_MESSAGES 20000

/* The clauses, written down without a thought for speed. */
static struct {
	struct retention keep;
	int64_t start_s; /* whatever was before it may have been dropped */
	bool exists[MODEL_CHANNELS];
	struct msgid last[MODEL_CHANNELS];
	bool has_last[MODEL_CHANNELS];
	struct {
		unsigned channel;
		struct msgid id;
		uint64_t born_ms;
		bool gone;
		bool deleted; /* with its channel */
	} messages[MODEL_MESSAGES];
	size_t n;
} model;

static uint32_t
model_random(uint32_t below)
{
	static uint32_t x = 2463534242;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return x % below;
}

static size_t
model_count(unsigned c)
{
	size_t n = 0;

	for (size_t i = 0; i < model.n; i++)
		n += model.messages[i].channel == c && !model.messages[i].gone;
	return n;
}

static void
model_expire(unsigned c)
{
	for (size_t i = 0; i < model.n; i++) {
		bool over_count, over_age;
		size_t count;

		if (model.messages[i].channel != c || model.messages[i].gone)
			continue;
		count = model_count(c);
		over_count = model.keep.max_messages > 0 && count > model.keep.max_messages;
		over_age = model.keep.age_ms > 0 &&
			   t.now_ms - model.messages[i].born_ms >= model.keep.age_ms &&
			   count > model.keep.min_messages;
		if (!over_count && !over_age)
			break;
		model.messages[i].gone = true;
	}
}

static void
model_check(unsigned c)
{
	const char *channel = channel_names[c];
	struct store_result found = info(channel);
	struct msgid after = {t.wall_s - (int64_t)model_random(30), (int64_t)model_random(4) - 1};
	const struct msgid *expected = NULL;
	bool dropped_after = false, deleted_after = false;
	struct store_result result;

	if (model.n > 0 && model_random(2))
		after = model
			    .messages[model.n - 1 -
				      model_random((uint32_t)(model.n < 40 ? model.n : 40))]
			    .id;
	assert_int_equal(found.status == STORE_OK, model.exists[c]);
	if (!model.exists[c])
		return;
	model_expire(c);
	assert_int_equal(found.info.messages, model_count(c));
	assert_int_equal(found.info.has_last, model.has_last[c]);
	if (model.has_last[c])
		assert_int_equal(msgid_cmp(found.info.last, model.last[c]), 0);
	for (size_t i = model.n; i-- > 0;) {
		if (model.messages[i].channel != c || msgid_cmp(model.messages[i].id, after) <= 0)
			continue;
		if (!model.messages[i].gone)
			expected = &model.messages[i].id;
		else if (model.messages[i].deleted)
			deleted_after = true;
		else
			dropped_after = true;
	}
	result = next_after(channel, after);
	if (expected == NULL) {
		assert_int_equal(result.status, STORE_NOTHING_NEWER);
	} else {
		assert_int_equal(result.status, STORE_OK);
		assert_int_equal(msgid_cmp(result.msg->id, *expected), 0);
		message_unref(result.msg);
	}
	/* What was dropped must be said. */
	if (dropped_after || deleted_after)
		assert_true(result.gap);
	/* And nothing else but what may have been, in a channel of this name before. */
	if (result.gap && !dropped_after && !deleted_after) {
		bool may_have_been = false;

		for (size_t i = 0; i < model.n; i++)
			may_have_been |=
			    model.messages[i].deleted && id_below(after, model.messages[i].id);
		assert_true(may_have_been || after.second <= model.start_s);
	}
}

static void
run_model(struct retention keep)
{
	memset(&model, 0, sizeof(model));
	model.keep = keep;
	model.start_s = t.wall_s;
	open_store(keep);
	/* Ids of the store's first second begin somewhere. */
	pass_ms(1000);
	for (int step = 0; step < 3000; step++) {
		unsigned c = model_random(MODEL_CHANNELS);
		const char *channel = channel_names[c];
		bool keeps = model_random(4) > 0;
		struct posted posted;

		switch (model_random(16)) {
		case 0:
			assert_int_equal(create(channel), STORE_OK);
			if (model.exists[c])
				model_expire(c);
			model.exists[c] = true;
			break;
		case 1:
			assert_int_equal(drop(channel, NULL).status,
			    model.exists[c] ? STORE_OK : STORE_NO_CHANNEL);
			model.exists[c] = model.has_last[c] = false;
			for (size_t i = 0; i < model.n; i++)
				if (model.messages[i].channel == c)
					model.messages[i].gone = model.messages[i].deleted = true;
			break;
		case 2:
		case 3:
			pass_ms(model_random(3000));
			break;
		case 4:
			step_wall((int64_t)model_random(7) - 3);
			break;
		case 5:
			sweep();
			for (unsigned i = 0; i < MODEL_CHANNELS; i++)
				model_expire(i);
			break;
		case 6:
		case 7:
		case 8:
			model_check(c);
			break;
		default:
			posted = append_bytes(channel, "x", 1,
			    STORE_APPEND_CREATE | (keeps ? STORE_APPEND_KEEP : 0), NULL);
			assert_int_equal(posted.status, STORE_OK);
			if (model.has_last[c])
				assert_true(id_below(model.last[c], posted.id));
			model.exists[c] = model.has_last[c] = true;
			model.last[c] = posted.id;
			if (keeps) {
				model.messages[model.n].channel = c;
				model.messages[model.n].id = posted.id;
				model.messages[model.n].born_ms = t.now_ms;
				model.n++;
			}
			model_expire(c);
			assert_int_equal(posted.info.messages, model_count(c));
		}
	}
	for (unsigned c = 0; c < MODEL_CHANNELS; c++)
		model_check(c);
}

static void
test_random_calls_answer_as_the_clauses_say(void **state UNUSED)
{
	const struct retention bounds[] = {
	    {.max_messages = 0},
	    {.max_messages = 5},
	    {.age_ms = 4000},
	    {.age_ms = 4000, .min_messages = 3},
	    {.age_ms = 4000, .min_messages = 2, .max_messages = 4},
	    {.max_messages = 1},
	};

	for (size_t i = 0; i < ARRAY_LEN(bounds); i++)
		run_model(bounds[i]);
}

static void
test_only_stores_that_exist_can_be_opened(void **state UNUSED)
{
	const struct retention keep = {.max_memory = ROOMY};
	struct store *s = store_open("memory", 7, &keep);

	assert_non_null(s);
	assert_int_equal(s->index, 7);
	store_close(s);
	store_close(NULL);
	assert_null(store_open("cloud", 0, &keep));
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(test_ids_increase_over_all_channels),
	    TEST(test_ids_go_on_increasing_when_the_clock_steps_back),
	    TEST(test_no_id_comes_again_after_delete),
	    TEST(test_messages_that_are_not_stored_have_ids_of_their_own),
	    TEST(test_a_restart_within_the_same_second_repeats_no_id),
	    TEST(test_the_first_message_of_a_new_second_begins_its_tags),
	    TEST(test_a_reader_gets_every_message_once_and_in_order),
	    TEST(test_a_second_alone_means_its_first_message),
	    TEST(test_a_message_comes_as_it_was_given),
	    TEST(test_ids_of_channels_are_bytes),
	    TEST(test_newest_is_the_newest_id_of_the_whole_store),
	    TEST(test_max_messages_keeps_the_newest_of_each_channel),
	    TEST(test_max_messages_of_one_keeps_one),
	    TEST(test_messages_go_at_their_age_to_the_millisecond),
	    TEST(test_age_is_not_of_the_wall_clock),
	    TEST(test_min_messages_are_kept_whatever_their_age),
	    TEST(test_messages_that_min_messages_kept_go_when_others_take_their_place),
	    TEST(test_the_count_bounds_what_age_does_not),
	    TEST(test_without_limits_all_is_kept),
	    TEST(test_the_oldest_messages_of_the_store_make_room),
	    TEST(test_messages_over_age_that_min_messages_keeps_make_room_first),
	    TEST(test_a_message_that_alone_is_too_large_is_refused_and_costs_nothing),
	    TEST(test_what_is_not_stored_needs_no_room),
	    TEST(test_channels_count_as_well_and_with_no_room_post_and_put_are_refused),
	    TEST(test_a_message_for_which_there_is_no_room_drops_no_other),
	    TEST(test_messages_make_room_for_channels),
	    TEST(test_all_ways_to_lose_messages_and_channels_give_their_memory_back),
	    TEST(test_a_gap_is_said_when_messages_after_the_position_were_dropped_by_count),
	    TEST(test_a_gap_is_said_when_messages_after_the_position_were_dropped_by_age),
	    TEST(test_a_gap_is_said_when_messages_after_the_position_were_dropped_for_memory),
	    TEST(test_a_gap_is_said_after_delete),
	    TEST(test_a_gap_is_said_after_a_channel_was_forgotten),
	    TEST(test_a_gap_is_said_of_what_may_have_been_before_the_start),
	    TEST(test_no_gap_is_said_without_a_position_or_to_second_0),
	    TEST(test_no_gap_is_said_of_messages_that_were_not_stored),
	    TEST(test_what_other_channels_dropped_is_no_gap_of_this_one),
	    TEST(test_a_position_in_the_future_waits_and_has_no_gap),
	    TEST(test_an_append_tells_who_waits_and_brings_the_message),
	    TEST(test_messages_that_are_not_stored_go_to_those_who_wait_and_no_one_else),
	    TEST(test_notes_come_in_the_order_of_their_ids),
	    TEST(test_no_note_is_posted_when_nobody_is_held),
	    TEST(test_a_request_that_is_answered_at_once_is_not_held),
	    TEST(test_the_held_of_all_workers_are_added_up),
	    TEST(test_requested_is_the_time_since_the_last_subscriber_request),
	    TEST(test_the_last_id_is_that_of_the_last_message_stored_or_not),
	    TEST(test_delete_tells_who_waits_with_an_id_of_the_same_order),
	    TEST(test_delete_of_what_is_absent_says_so_also_the_second_time),
	    TEST(test_a_watch_of_a_deleted_channel_can_be_used_for_its_successor),
	    TEST(test_a_channel_made_by_get_goes_with_its_last_waiter),
	    TEST(test_a_channel_made_by_get_stays_with_a_message),
	    TEST(test_a_channel_made_by_get_and_posted_to_goes_as_one_made_by_post),
	    TEST(test_a_get_makes_no_channel_unless_it_may),
	    TEST(test_a_get_that_does_not_wait_makes_no_channel),
	    TEST(test_a_channel_made_by_post_goes_when_it_was_unused_for_its_time),
	    TEST(test_a_channel_made_by_post_lives_for_ever_without_a_time),
	    TEST(test_a_channel_with_a_message_stays_whatever_its_time),
	    TEST(test_a_channel_made_by_put_stays_until_it_is_deleted),
	    TEST(test_put_leaves_messages_and_waiters_untouched),
	    TEST(test_a_post_without_create_needs_a_channel),
	    TEST(test_info_creates_nothing),
	    TEST(test_a_sweep_frees_a_bounded_amount_and_says_that_there_is_more),
	    TEST(test_the_first_stays_and_the_others_are_a_conflict),
	    TEST(test_the_last_displaces_who_was_there_by_a_note_that_names_it),
	    TEST(test_a_ticket_of_another_worker_gives_up_nothing),
	    TEST(test_a_request_that_is_answered_at_once_conflicts_with_nobody),
	    TEST(test_places_end_with_their_channel),
	    TEST(test_several_channels_are_read_in_the_order_of_their_ids),
	    TEST(test_one_who_waits_in_several_channels_hears_of_each),
	    TEST(test_without_create_one_absent_channel_refuses_all_and_is_named),
	    TEST(test_with_create_absent_channels_are_made_only_for_one_who_waits),
	    TEST(test_as_many_channels_as_there_may_be),
	    TEST(test_a_start_is_counted_from_the_oldest_or_the_newest),
	    TEST(test_a_start_is_counted_over_all_channels_together),
	    TEST(test_a_start_over_several_channels_goes_no_further_than_it_may),
	    TEST(test_one_who_begins_at_the_newest_waits_for_what_comes),
	    TEST(test_a_stream_is_held_also_while_there_are_messages_and_counted_once),
	    TEST(test_a_stream_that_comes_back_to_its_position_is_held_too),
	    TEST(test_a_stream_that_reads_on_is_no_new_request),
	    TEST(test_what_was_deleted_is_over_for_a_stream_though_there_is_a_new_one),
	    TEST(test_of_several_channels_the_deleted_one_is_passed_over),
	    TEST(test_messages_are_numbered_in_their_channel_stored_or_not),
	    TEST(test_a_stream_that_fell_behind_is_told_how_many_it_lost),
	    TEST(test_a_stream_has_lost_what_was_not_stored_while_it_was_busy),
	    TEST(test_what_a_stream_has_lost_and_not_been_told_is_counted_with_what_follows),
	    TEST(test_what_a_channel_may_have_had_before_it_was_made_is_a_gap_to_one_who_counts),
	    TEST(test_what_was_not_stored_before_a_stream_came_is_not_lost_to_it),
	    TEST(test_what_was_dropped_is_lost_whatever_was_not_stored_before_a_stream_came),
	    TEST(test_a_stream_that_does_not_count_is_told_a_gap_once_as_it_passes_it),
	    TEST(test_a_stream_of_several_channels_is_told_before_the_message_that_follows),
	    TEST(test_of_several_channels_a_gap_is_said_when_it_is_passed),
	    TEST(test_an_absent_channel_may_have_had_what_the_store_has_forgotten),
	    TEST(test_more_is_bounded_by_count_and_bytes_but_the_first_always_comes),
	    TEST(test_more_ends_before_a_gap),
	    TEST(test_a_channel_that_is_full_takes_no_one_and_nobody_is_held_anywhere),
	    TEST(test_places_are_taken_in_all_channels_or_in_none),
	    TEST(test_the_last_displaces_in_each_channel_who_has_it),
	    TEST(test_a_worker_may_lose_more_places_at_once_than_there_are_workers),
	    TEST(test_the_store_counts_what_it_has_and_what_it_ever_had),
	    TEST(test_as_many_workers_as_there_may_be_are_counted_each),
	    TEST(test_channels_are_listed_by_their_ids_with_what_they_have),
	    TEST(test_channels_are_listed_by_their_beginning),
	    TEST(test_channels_of_one_hash_are_listed_each),
	    TEST(test_a_channel_that_stays_is_listed_once_whatever_comes_and_goes),
	    TEST(test_one_answer_of_a_list_looks_at_a_slice_of_a_large_store),
	    TEST(test_every_mailbox_gets_the_messages_of_several_threads_in_the_order_of_their_ids),
	    TEST(test_a_message_that_comes_while_one_begins_to_wait_is_read_or_told_never_neither),
	    TEST(test_all_calls_of_several_threads_leave_an_empty_store_empty),
	    TEST(test_random_calls_answer_as_the_clauses_say),
	    TEST(test_only_stores_that_exist_can_be_opened),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
