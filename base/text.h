/*
 * text.h - text put together in a buffer of fixed size, without printf.
 *
 * What does not fit is left out and remembered: text_ok() before the result is used.
 */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct text {
	char *start, *at, *end;
	bool full;
};

static inline struct text
text_in(char *buf, size_t size)
{
	return (struct text){buf, buf, buf + size, false};
}

static inline void
text_add(struct text *t, const char *s, size_t len)
{
	if (len > (size_t)(t->end - t->at)) {
		t->full = true;
		return;
	}
	if (len > 0)
		memcpy(t->at, s, len);
	t->at += len;
}

/* A string literal, whose length the compiler knows. */
#define TEXT_LIT(t, lit) text_add((t), "" lit, sizeof(lit) - 1)

static inline void
text_str(struct text *t, const char *s)
{
	text_add(t, s, strlen(s));
}

static inline size_t
text_len(const struct text *t)
{
	return (size_t)(t->at - t->start);
}

static inline bool
text_ok(const struct text *t)
{
	return !t->full;
}

#endif
