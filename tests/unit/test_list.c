/* Rings through a head: order, membership, and lists that change while they are walked. */
#include "base/list.h"

#include "base/attr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct item {
	char name;
	struct link link;
};

static struct item items[26];
static struct link head, other;

static int
set_up(void **state UNUSED)
{
	memset(items, 0, sizeof(items));
	for (size_t i = 0; i < ARRAY_LEN(items); i++)
		items[i].name = (char)('a' + i);
	list_init(&head);
	list_init(&other);
	return 0;
}

static struct link *
item(char name)
{
	return &items[name - 'a'].link;
}

static char
name_of(struct link *l)
{
	return CONTAINER_OF(l, struct item, link)->name;
}

/* The names in a list, read forwards and then backwards. */
static void
assert_list(struct link *list, const char *names)
{
	size_t n = strlen(names);
	struct link *l = list;

	for (size_t i = 0; i < n; i++) {
		l = l->next;
		assert_ptr_not_equal(l, list);
		assert_int_equal(name_of(l), names[i]);
		assert_true(link_listed(l));
	}
	assert_ptr_equal(l->next, list);
	l = list;
	for (size_t i = n; i-- > 0;) {
		l = l->prev;
		assert_int_equal(name_of(l), names[i]);
	}
	assert_ptr_equal(l->prev, list);
	assert_int_equal(list_empty(list), n == 0);
}

static void
fill(struct link *list, const char *names)
{
	for (; *names != '\0'; names++)
		list_append(list, item(*names));
}

static void
test_appended_ones_come_last_and_prepended_ones_first(void **state UNUSED)
{
	assert_list(&head, "");
	list_append(&head, item('b'));
	list_append(&head, item('c'));
	list_prepend(&head, item('a'));
	assert_list(&head, "abc");
}

static void
test_an_element_knows_whether_it_is_listed_and_leaves_twice_without_harm(void **state UNUSED)
{
	fill(&head, "abc");
	assert_false(link_listed(item('d')));
	list_remove(item('d'));
	list_remove(item('b'));
	assert_false(link_listed(item('b')));
	list_remove(item('b'));
	assert_list(&head, "ac");
	list_remove(item('a'));
	list_remove(item('c'));
	assert_list(&head, "");
	fill(&head, "b");
	assert_list(&head, "b");
}

static void
test_the_first_is_taken_until_none_is_left(void **state UNUSED)
{
	fill(&head, "ab");
	assert_ptr_equal(list_take(&head), item('a'));
	assert_false(link_listed(item('a')));
	assert_list(&head, "b");
	assert_ptr_equal(list_take(&head), item('b'));
	assert_null(list_take(&head));
	assert_list(&head, "");
}

static void
test_moving_all_appends_them_in_order_and_empties_the_source(void **state UNUSED)
{
	fill(&head, "ab");
	list_move_all(&head, &other);
	assert_list(&head, "ab");
	fill(&other, "cde");
	list_move_all(&head, &other);
	assert_list(&head, "abcde");
	assert_list(&other, "");
	list_move_all(&other, &head);
	assert_list(&other, "abcde");
	assert_list(&head, "");
	fill(&head, "f");
	assert_list(&head, "f");
}

static void
test_the_element_at_hand_may_leave_during_a_safe_walk(void **state UNUSED)
{
	char seen[27] = "";
	size_t n = 0;

	fill(&head, "abcdef");
	LIST_EACH_SAFE (l, &head) {
		seen[n++] = name_of(l);
		if (n % 2 == 1)
			list_remove(l);
	}
	assert_string_equal(seen, "abcdef");
	assert_list(&head, "bdf");
	n = 0;
	LIST_EACH (l, &head)
		n++;
	assert_int_equal(n, 3);
	LIST_EACH_SAFE (l, &other)
		fail();
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, set_up)
	const struct CMUnitTest tests[] = {
	    TEST(test_appended_ones_come_last_and_prepended_ones_first),
	    TEST(test_an_element_knows_whether_it_is_listed_and_leaves_twice_without_harm),
	    TEST(test_the_first_is_taken_until_none_is_left),
	    TEST(test_moving_all_appends_them_in_order_and_empties_the_source),
	    TEST(test_the_element_at_hand_may_leave_during_a_safe_walk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
