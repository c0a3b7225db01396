#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Longer lines are cut, with "..." to say so. */
#define LINE_MAX_LEN 1024

static _Atomic int current_level = LOG_LEVEL_INFO;

static const char *const level_names[] = {
    [LOG_LEVEL_ERROR] = "error",
    [LOG_LEVEL_WARN] = "warning",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_DEBUG] = "debug",
};

void
log_set_level(enum log_level level)
{
	atomic_store_explicit(&current_level, (int)level, memory_order_relaxed);
}

bool
log_enabled(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&current_level, memory_order_relaxed);
}

/* A control byte in a text that came from outside must not begin a line of its own. */
static void
defuse(char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)s[i] < ' ' || s[i] == 0x7f)
			s[i] = '?';
}

static void PRINTF(3, 0) log_line(enum log_level level, int error, const char *fmt, va_list ap)
{
	char line[LINE_MAX_LEN + 8];
	struct timespec now;
	struct tm tm;
	size_t len, start;
	int n;

	if (!log_enabled(level))
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &tm);
	len = strftime(line, LINE_MAX_LEN, "%Y-%m-%d %H:%M:%S", &tm);
	n = snprintf(line + len, LINE_MAX_LEN - len, ".%03ld %s: ", now.tv_nsec / 1000000,
	    level_names[level]);
	len += (size_t)n;
	start = len;
	n = vsnprintf(line + len, LINE_MAX_LEN - len, fmt, ap);
	if (n > 0)
		len += (size_t)n;
	if (error != 0 && len < LINE_MAX_LEN) {
		char text[128];

		n = snprintf(
		    line + len, LINE_MAX_LEN - len, ": %s", strerror_r(error, text, sizeof(text)));
		if (n > 0)
			len += (size_t)n;
	}
	if (len >= LINE_MAX_LEN) {
		len = LINE_MAX_LEN;
		memcpy(line + len - 3, "...", 3);
	}
	defuse(line + start, len - start);
	line[len++] = '\n';
	if (write(STDERR_FILENO, line, len) < 0) {
		/* Nowhere is left to say it. */
	}
}

#define DEFINE_LOG(name, level, error)           \
	void name(const char *fmt, ...)          \
	{                                        \
		int saved = errno;               \
		va_list ap;                      \
                                                 \
		va_start(ap, fmt);               \
		log_line(level, error, fmt, ap); \
		va_end(ap);                      \
		errno = saved;                   \
	}

DEFINE_LOG(log_error, LOG_LEVEL_ERROR, saved)
DEFINE_LOG(log_errorx, LOG_LEVEL_ERROR, 0)
DEFINE_LOG(log_warn, LOG_LEVEL_WARN, saved)
DEFINE_LOG(log_warnx, LOG_LEVEL_WARN, 0)
DEFINE_LOG(log_info, LOG_LEVEL_INFO, 0)
DEFINE_LOG(log_debug, LOG_LEVEL_DEBUG, 0)
