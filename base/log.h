/*
 * log.h - the log: one line a call, one write(2) a line, to standard error.
 *
 * A line is "2026-11-21 01:22:43.123 warning: text". Safe from any thread, as a
 * line is written whole. All functions preserve errno. Bodies, cookies and
 * authorization values never go into the log.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/attr.h"

#include <stdbool.h>

/* How loud: each level includes those before it. */
enum log_level {
	LOG_LEVEL_ERROR, /* someone must act */
	LOG_LEVEL_WARN,  /* someone should look */
	LOG_LEVEL_INFO,  /* the daemon's life */
	LOG_LEVEL_DEBUG, /* a connection's life */
};

/* Lines above this level are dropped. Info until it is called. */
void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);

/* The forms without x add ": " and the text of errno. */
void log_error(const char *fmt, ...) PRINTF(1, 2);
void log_errorx(const char *fmt, ...) PRINTF(1, 2);
void log_warn(const char *fmt, ...) PRINTF(1, 2);
void log_warnx(const char *fmt, ...) PRINTF(1, 2);
void log_info(const char *fmt, ...) PRINTF(1, 2);
void log_debug(const char *fmt, ...) PRINTF(1, 2);

#endif
