/* What the log says, minute by minute: the clock is the test's. */
#include "passthrough/trouble.h"

#include "base/attr.h"
#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define URL "http://127.0.0.1:8000/passthrough"

static struct {
	int log, stderr_was;
	uint64_t now_ms;
	struct trouble trouble;
} t;

static int
set_up(void **state UNUSED)
{
	memset(&t, 0, sizeof(t));
	t.trouble.url = URL;
	t.trouble.host = "127.0.0.1";
	t.now_ms = 1000;
	clock_set(t.now_ms, 0);
	t.log = memfd_create("log", 0);
	t.stderr_was = dup(STDERR_FILENO);
	dup2(t.log, STDERR_FILENO);
	return 0;
}

static int
tear_down(void **state UNUSED)
{
	dup2(t.stderr_was, STDERR_FILENO);
	close(t.stderr_was);
	close(t.log);
	return 0;
}

static void
pass(unsigned seconds)
{
	t.now_ms += seconds * 1000;
	clock_set(t.now_ms, 0);
}

/* What was logged since the last call. */
static const char *
news(void)
{
	static char text[8192];
	ssize_t n = pread(t.log, text, sizeof(text) - 1, 0);

	assert_true(n >= 0);
	text[n] = '\0';
	assert_int_equal(ftruncate(t.log, 0), 0);
	lseek(t.log, 0, SEEK_SET);
	return text;
}

static void
assert_says(const char *what)
{
	const char *text = news();

	if (strstr(text, what) == NULL)
		fail_msg("\"%s\" is not in: %s", what, text);
}

static void
assert_silent(void)
{
	assert_string_equal(news(), "");
}

static void
test_first_of_each_kind_is_said_at_once_and_names_the_url(void **state UNUSED)
{
	trouble_status(&t.trouble, 403, "192.0.2.7");
	assert_says(
	    "warning: passthrough " URL ": a notice was answered with status 403: the relay's "
	    "address 192.0.2.7 is probably not in INTERNAL_IPS");
	trouble_status(&t.trouble, 403, "192.0.2.7");
	assert_silent();
	trouble_status(&t.trouble, 500, "192.0.2.7");
	assert_says("status 500");
	trouble_failure(&t.trouble, -28, "Timeout was reached", 1);
	assert_says("warning: passthrough " URL ": Timeout was reached");
	trouble_status(&t.trouble, 403, "");
	trouble_status(&t.trouble, 500, "");
	trouble_failure(&t.trouble, -28, "Timeout was reached", 1);
	assert_silent();
}

static void
test_further_ones_are_a_count_once_a_minute(void **state UNUSED)
{
	trouble_status(&t.trouble, 403, "");
	news();
	for (int i = 0; i < 59; i++) {
		pass(1);
		trouble_status(&t.trouble, 403, "");
	}
	assert_silent();
	pass(1);
	trouble_status(&t.trouble, 403, "");
	assert_says(
	    ": 60 more notices failed or were not answered with 2xx, the last with status 403");
	pass(59);
	trouble_status(&t.trouble, 403, "");
	assert_silent();
	pass(1);
	trouble_status(&t.trouble, 403, "");
	assert_says(": 2 more notices");
}

static void
test_recovery_is_said_once(void **state UNUSED)
{
	trouble_over(&t.trouble);
	assert_silent();
	trouble_status(&t.trouble, 403, "");
	trouble_status(&t.trouble, 403, "");
	news();
	trouble_over(&t.trouble);
	assert_says("info: passthrough " URL ": notices are answered with 2xx again; 2 were not");
	trouble_over(&t.trouble);
	assert_silent();
}

static void
test_refused_notice_that_may_still_arrive_is_not_counted(void **state UNUSED)
{
	trouble_failure(&t.trouble, TROUBLE_REFUSED, "refused", 0);
	assert_says("refused");
	pass(90);
	trouble_failure(&t.trouble, TROUBLE_REFUSED, "refused", 0);
	assert_silent();
	trouble_over(&t.trouble);
	assert_says("answered with 2xx again, none was lost");
}

static void
test_server_that_fails_now_and_then_does_not_fill_the_log(void **state UNUSED)
{
	trouble_status(&t.trouble, 500, "");
	assert_says("status 500");
	trouble_over(&t.trouble);
	assert_says("again");
	for (int i = 0; i < 59; i++) {
		pass(1);
		trouble_status(&t.trouble, 500, "");
		trouble_over(&t.trouble);
	}
	assert_silent();
	pass(1);
	trouble_over(&t.trouble);
	assert_says("; 59 were not");
	trouble_over(&t.trouble);
	assert_silent();
}

static void
test_trouble_that_comes_back_after_a_recovery_is_explained_again(void **state UNUSED)
{
	trouble_status(&t.trouble, 403, "");
	trouble_over(&t.trouble);
	news();
	pass(61);
	trouble_status(&t.trouble, 403, "");
	assert_says("INTERNAL_IPS");
	trouble_over(&t.trouble);
	assert_says("; 1 were not");
}

static void
test_more_kinds_than_are_remembered_are_said_and_break_nothing(void **state UNUSED)
{
	for (int status = 400; status < 400 + 3 * TROUBLE_KINDS; status++) {
		trouble_status(&t.trouble, status, "");
		assert_says("a notice was answered with status 4");
		trouble_status(&t.trouble, status, "");
		assert_silent();
	}
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(test_first_of_each_kind_is_said_at_once_and_names_the_url),
	    TEST(test_further_ones_are_a_count_once_a_minute),
	    TEST(test_recovery_is_said_once),
	    TEST(test_refused_notice_that_may_still_arrive_is_not_counted),
	    TEST(test_server_that_fails_now_and_then_does_not_fill_the_log),
	    TEST(test_trouble_that_comes_back_after_a_recovery_is_explained_again),
	    TEST(test_more_kinds_than_are_remembered_are_said_and_break_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
