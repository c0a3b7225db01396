/* The log: one line a call, whole, whatever is in it. Standard error is a file here. */
#include "base/log.h"

#include "base/attr.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static int log_fd, stderr_was;

static int
set_up(void **state UNUSED)
{
	log_fd = memfd_create("log", 0);
	/* A memfd's offset, unlike a file's, is not locked by write(2). */
	fcntl(log_fd, F_SETFL, O_APPEND);
	stderr_was = dup(STDERR_FILENO);
	dup2(log_fd, STDERR_FILENO);
	return log_fd < 0 || stderr_was < 0 ? -1 : 0;
}

static int
tear_down(void **state UNUSED)
{
	dup2(stderr_was, STDERR_FILENO);
	close(stderr_was);
	close(log_fd);
	log_set_level(LOG_LEVEL_INFO);
	return 0;
}

/* What was logged since the last call. */
static const char *
news(void)
{
	static char text[1 << 20];
	ssize_t n = pread(log_fd, text, sizeof(text) - 1, 0);

	assert_true(n >= 0);
	text[n] = '\0';
	assert_int_equal(ftruncate(log_fd, 0), 0);
	lseek(log_fd, 0, SEEK_SET);
	return text;
}

/* The text behind "2026-11-21 01:22:43.123 ", whose form is checked. */
static const char *
behind_the_time(const char *line)
{
	static const char form[] = "0000-00-00 00:00:00.000 ";

	for (size_t i = 0; i < sizeof(form) - 1; i++) {
		if (form[i] == '0')
			assert_in_range(line[i], '0', '9');
		else
			assert_int_equal(line[i], form[i]);
	}
	return line + sizeof(form) - 1;
}

static void
test_a_line_is_time_level_and_text(void **state UNUSED)
{
	log_errorx("no %s", "room");
	assert_string_equal(behind_the_time(news()), "error: no room\n");
	log_warnx("%d left", 3);
	assert_string_equal(behind_the_time(news()), "warning: 3 left\n");
	log_info("up");
	assert_string_equal(behind_the_time(news()), "info: up\n");
	log_set_level(LOG_LEVEL_DEBUG);
	log_debug("conn 0.1");
	assert_string_equal(behind_the_time(news()), "debug: conn 0.1\n");
}

static void
test_each_level_includes_those_before_it(void **state UNUSED)
{
	const enum log_level levels[] = {
	    LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG};

	for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
		const char *text;
		size_t lines = 0;

		log_set_level(levels[i]);
		for (size_t k = 0; k < ARRAY_LEN(levels); k++)
			assert_int_equal(log_enabled(levels[k]), k <= i);
		log_errorx("x");
		log_warnx("x");
		log_info("x");
		log_debug("x");
		for (text = news(); (text = strchr(text, '\n')) != NULL; text++)
			lines++;
		assert_int_equal(lines, i + 1);
	}
}

static void
test_the_forms_without_x_say_what_errno_says(void **state UNUSED)
{
	errno = ENOENT;
	log_error("cannot open %s", "a.yaml");
	assert_string_equal(
	    behind_the_time(news()), "error: cannot open a.yaml: No such file or directory\n");
	errno = EMFILE;
	log_warn("accept");
	assert_string_equal(behind_the_time(news()), "warning: accept: Too many open files\n");
	errno = 0;
	log_warn("nothing");
	assert_non_null(strstr(news(), "warning: nothing"));
}

static void
test_errno_stays_as_it_was(void **state UNUSED)
{
	void (*const forms[])(const char *fmt, ...) = {
	    log_error, log_errorx, log_warn, log_warnx, log_info, log_debug};

	/* The second time the line cannot be written. */
	for (int closed = 0; closed < 2; closed++) {
		int found[ARRAY_LEN(forms)];

		if (closed)
			close(STDERR_FILENO);
		for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
			errno = EBUSY;
			forms[i]("x");
			found[i] = errno;
		}
		if (closed)
			dup2(log_fd, STDERR_FILENO);
		for (size_t i = 0; i < ARRAY_LEN(forms); i++)
			assert_int_equal(found[i], EBUSY);
	}
}

static void
test_control_bytes_of_strangers_begin_no_line(void **state UNUSED)
{
	const char *text;

	log_warnx("id \"%s\"", "a\r\n2026-11-21 01:22:43.123 error: forged\x1b[2J\x7f\t.");
	text = behind_the_time(news());
	assert_string_equal(
	    text, "warning: id \"a??2026-11-21 01:22:43.123 error: forged?[2J??.\"\n");
}

static void
test_text_that_is_not_ascii_stays_as_it_is(void **state UNUSED)
{
	log_info("%s", "K\xc3\xa4se");
	assert_string_equal(behind_the_time(news()), "info: K\xc3\xa4se\n");
}

static void
test_long_lines_are_cut_and_say_so(void **state UNUSED)
{
	char text[2000];
	size_t cut = 0, whole = 0;

	for (size_t len = 900; len < 1100; len++) {
		const char *line;
		size_t n;

		memset(text, 'x', len);
		text[len] = '\0';
		errno = EINVAL;
		if (len % 2 == 0)
			log_warnx("%s", text);
		else
			log_warn("%s", text);
		line = behind_the_time(news());
		n = strlen(line);
		assert_in_range(n, 100, 1025);
		assert_ptr_equal(strchr(line, '\n'), line + n - 1);
		if (strncmp(line + n - 4, "...\n", 4) == 0) {
			cut++;
			continue;
		}
		whole++;
		/* Nothing of it is missing. */
		assert_int_equal(strspn(line + strlen("warning: "), "x"), len);
		if (len % 2 == 0)
			assert_int_equal(line[strlen("warning: ") + len], '\n');
		else
			assert_string_equal(
			    line + strlen("warning: ") + len, ": Invalid argument\n");
	}
	assert_true(cut > 20);
	assert_true(whole > 20);
}

#define THREADS 4
#define LINES   500

static void *
log_lines(void *arg)
{
	const char *name = arg;

	for (int i = 0; i < LINES; i++)
		log_info("%s %d %s", name, i, "0123456789012345678901234567890123456789");
	return NULL;
}

static void
test_lines_of_several_threads_stay_whole(void **state UNUSED)
{
	static char names[THREADS][2] = {"a", "b", "c", "d"};
	pthread_t threads[THREADS];
	int next[THREADS] = {0}, n;
	const char *line;

	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, log_lines, names[i]), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (line = news(); *line != '\0'; line = strchr(line, '\n') + 1) {
		char name, rest[64];

		assert_int_equal(
		    sscanf(behind_the_time(line), "info: %c %d %60[^\n]", &name, &n, rest), 3);
		assert_string_equal(rest, "0123456789012345678901234567890123456789");
		assert_in_range(name, 'a', 'a' + THREADS - 1);
		assert_int_equal(n, next[name - 'a']++);
	}
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(next[i], LINES);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(test_a_line_is_time_level_and_text),
	    TEST(test_each_level_includes_those_before_it),
	    TEST(test_the_forms_without_x_say_what_errno_says),
	    TEST(test_errno_stays_as_it_was),
	    TEST(test_control_bytes_of_strangers_begin_no_line),
	    TEST(test_text_that_is_not_ascii_stays_as_it_is),
	    TEST(test_long_lines_are_cut_and_say_so),
	    TEST(test_lines_of_several_threads_stay_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
