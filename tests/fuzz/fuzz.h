/*
 * fuzz.h - what every fuzz target has: the entry that libFuzzer calls, and promises.
 *
 * A target is one file fuzz_<name>.c; its inputs lie in corpus/<name>/. Built with clang
 * it is a fuzzer, and with main.c beside it a test that runs each input once.
 */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* libFuzzer's names. 0, whatever came: only abort(), or a sanitizer, says no. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Once, before the first input; targets that need none leave it out. */
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* Ends the process with a word on what was promised. Not assert(): never compiled out. */
#define PROMISE(what, ...)                                                         \
	do {                                                                       \
		if (!(what)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what); \
			fprintf(stderr, __VA_ARGS__);                              \
			fputc('\n', stderr);                                       \
			abort();                                                   \
		}                                                                  \
	} while (0)

/* A copy of exactly len bytes, so that a read beyond them is found; free() it. */
static inline char *
fuzz_copy(const void *bytes, size_t len)
{
	char *copy = calloc(1, len > 0 ? len : 1);

	if (copy == NULL)
		abort();
	if (len > 0)
		memcpy(copy, bytes, len);
	return copy;
}

/* An input as a program: bytes are taken from its front, zeros behind its end. */
struct tape {
	const uint8_t *at, *end;
};

static inline unsigned
tape_byte(struct tape *t)
{
	return t->at < t->end ? *t->at++ : 0;
}

#endif
