/*
 * attr.h - what we ask of the compiler, under names that say it.
 */
#ifndef BASE_ATTR_H
#define BASE_ATTR_H

#define MUST_CHECK   __attribute__((warn_unused_result))
#define PRINTF(f, a) __attribute__((format(printf, f, a)))
#define UNUSED       __attribute__((unused))
#define NOINLINE     __attribute__((noinline))

/* The struct that holds a member, from a pointer to that member. */
#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
