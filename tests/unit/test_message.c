/* Messages, message ids and channel ids: bytes as they came, counted, in order. */
#include "store/message.h"

#include "base/attr.h"
#include "base/table.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct message *
new_message(const char *type, const void *body, size_t body_len)
{
	return message_new(&(struct message_parts){
	    .content_type = {type, type == NULL ? 0 : strlen(type)}, .body = {body, body_len}});
}

static void
test_a_message_keeps_its_bytes_whatever_they_are(void **state UNUSED)
{
	struct message *msg = new_message("text/plain", "a\0b\r\n\xff", 6);

	assert_non_null(msg);
	assert_true(msg->has_content_type);
	assert_int_equal(msg->content_type_len, 10);
	assert_memory_equal(message_content_type(msg), "text/plain", 10);
	assert_int_equal(msg->body_len, 6);
	assert_memory_equal(message_body(msg), "a\0b\r\n\xff", 6);
	message_unref(msg);
}

static void
test_a_message_keeps_the_event_and_its_id_apart_from_the_rest(void **state UNUSED)
{
	struct message *msg = message_new(&(struct message_parts){
	    .content_type = {"text/plain", 10},
	    .event = {"news", 4},
	    .event_id = {"i\0d", 3},
	    .body = {"body", 4},
	});
	struct message *none = new_message(NULL, "body", 4);

	assert_int_equal(msg->event_len, 4);
	assert_memory_equal(message_event(msg), "news", 4);
	assert_int_equal(msg->event_id_len, 3);
	assert_memory_equal(message_event_id(msg), "i\0d", 3);
	assert_memory_equal(message_content_type(msg), "text/plain", 10);
	assert_int_equal(msg->body_len, 4);
	assert_memory_equal(message_body(msg), "body", 4);
	assert_int_equal(none->event_len + none->event_id_len, 0);
	assert_memory_equal(message_body(none), "body", 4);
	message_unref(msg);
	message_unref(none);
}

static void
test_an_empty_content_type_is_not_an_absent_one(void **state UNUSED)
{
	struct message *empty = new_message("", "x", 1), *absent = new_message(NULL, "x", 1);

	assert_true(empty->has_content_type);
	assert_int_equal(empty->content_type_len, 0);
	assert_false(absent->has_content_type);
	assert_memory_equal(message_body(absent), "x", 1);
	message_unref(empty);
	message_unref(absent);
}

static void
test_an_empty_body_is_a_message(void **state UNUSED)
{
	struct message *msg = new_message(NULL, NULL, 0);

	assert_non_null(msg);
	assert_int_equal(msg->body_len, 0);
	message_unref(msg);
	message_unref(NULL);
}

static void *
count_up_and_down(void *arg)
{
	for (int i = 0; i < 100000; i++)
		message_unref(message_ref(arg));
	return NULL;
}

/* The sanitizers tell if it goes too early, or never. */
static void
test_a_message_lives_until_its_last_holder_in_any_thread(void **state UNUSED)
{
	struct channel_key key = channel_key("room", 4);
	struct message *msg = new_message(NULL, "x", 1);
	struct channel_id *id = channel_id_new(&key);
	pthread_t threads[3];

	msg->channel = channel_id_ref(id);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		assert_int_equal(
		    pthread_create(&threads[i], NULL, count_up_and_down, message_ref(msg)), 0);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
		pthread_join(threads[i], NULL);
		message_unref(msg);
	}
	assert_int_equal(msg->refs, 1);
	assert_int_equal(id->refs, 2);
	message_unref(msg);
	/* It gave its channel's id back. */
	assert_int_equal(id->refs, 1);
	channel_id_unref(id);
	channel_id_unref(NULL);
}

static void
test_a_channel_id_outlives_the_bytes_it_was_made_from(void **state UNUSED)
{
	char bytes[] = "a\0/b";
	struct channel_key key = channel_key(bytes, 4);
	struct channel_id *id = channel_id_new(&key);

	assert_true(key.hash == table_hash(bytes, 4));
	memset(bytes, 'x', sizeof(bytes));
	assert_int_equal(id->key.len, 4);
	assert_memory_equal(id->key.bytes, "a\0/b", 4);
	assert_true(id->key.hash == table_hash("a\0/b", 4));
	assert_ptr_equal(id->key.bytes, id->bytes);
	channel_id_unref(id);
}

static void
test_ids_are_ordered_by_second_and_then_by_tag(void **state UNUSED)
{
	/* In order; -1 stands before all messages of its second. */
	const struct msgid ids[] = {{0, -1}, {0, 0}, {0, 1}, {1, -1}, {1, 0}, {1, 999999},
	    {1, INT64_MAX}, {2, -1}, {4000000000, 0}, {INT64_MAX, 0}, {INT64_MAX, INT64_MAX}};

	for (size_t a = 0; a < ARRAY_LEN(ids); a++)
		for (size_t b = 0; b < ARRAY_LEN(ids); b++) {
			int cmp = msgid_cmp(ids[a], ids[b]);

			assert_int_equal(cmp < 0, a < b);
			assert_int_equal(cmp > 0, a > b);
			assert_int_equal(cmp == 0, a == b);
		}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_message_keeps_its_bytes_whatever_they_are),
	    cmocka_unit_test(test_a_message_keeps_the_event_and_its_id_apart_from_the_rest),
	    cmocka_unit_test(test_an_empty_content_type_is_not_an_absent_one),
	    cmocka_unit_test(test_an_empty_body_is_a_message),
	    cmocka_unit_test(test_a_message_lives_until_its_last_holder_in_any_thread),
	    cmocka_unit_test(test_a_channel_id_outlives_the_bytes_it_was_made_from),
	    cmocka_unit_test(test_ids_are_ordered_by_second_and_then_by_tag),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
