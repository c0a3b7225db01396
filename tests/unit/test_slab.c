/*
 * Objects of one size. Under AddressSanitizer, with which these tests are built, the slab
 * is malloc; so the form that the daemon has is compiled here a second time, under other
 * names, and both keep the same promises.
 */
#undef __SANITIZE_ADDRESS__
#define slab_init  dense_slab_init
#define slab_reset dense_slab_reset
#define slab_get   dense_slab_get
#define slab_put   dense_slab_put
#include "base/slab.c" /* NOLINT(bugprone-suspicious-include): on purpose, as said above */
#undef slab_init
#undef slab_reset
#undef slab_get
#undef slab_put

void slab_init(struct slab *s, size_t size);
void slab_reset(struct slab *s);
void *slab_get(struct slab *s);
void slab_put(struct slab *s, void *object);

#include "base/attr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct form {
	void (*init)(struct slab *s, size_t size);
	void (*reset)(struct slab *s);
	void *(*get)(struct slab *s);
	void (*put)(struct slab *s, void *object);
} forms[] = {
    {dense_slab_init, dense_slab_reset, dense_slab_get, dense_slab_put},
    {slab_init, slab_reset, slab_get, slab_put},
};

#define EACH_FORM(f) for (const struct form *f = forms; f < forms + ARRAY_LEN(forms); f++)

static const size_t sizes[] = {8, 16, 24, 40, 256, 1000};

static bool
all_bytes_are(const unsigned char *p, size_t len, unsigned char c)
{
	for (size_t i = 0; i < len; i++)
		if (p[i] != c)
			return false;
	return true;
}

static void
test_objects_are_zero_aligned_and_do_not_overlap(void **state UNUSED)
{
	EACH_FORM(f)
	{
		for (size_t k = 0; k < ARRAY_LEN(sizes); k++) {
			unsigned char *objects[200];
			struct slab s;

			f->init(&s, sizes[k]);
			for (size_t i = 0; i < ARRAY_LEN(objects); i++) {
				objects[i] = f->get(&s);
				assert_non_null(objects[i]);
				assert_int_equal((uintptr_t)objects[i] % 16, 0);
				assert_true(all_bytes_are(objects[i], sizes[k], 0));
				memset(objects[i], (int)i + 1, sizes[k]);
			}
			for (size_t i = 0; i < ARRAY_LEN(objects); i++) {
				assert_true(
				    all_bytes_are(objects[i], sizes[k], (unsigned char)(i + 1)));
				f->put(&s, objects[i]);
			}
			f->reset(&s);
		}
	}
}

static void
test_objects_that_were_given_back_come_zeroed_again(void **state UNUSED)
{
	EACH_FORM(f)
	{
		unsigned char *objects[70];
		struct slab s;

		f->init(&s, 40);
		for (int round = 0; round < 3; round++) {
			for (size_t i = 0; i < ARRAY_LEN(objects); i++) {
				objects[i] = f->get(&s);
				assert_true(all_bytes_are(objects[i], 40, 0));
				memset(objects[i], 0xff, 40);
			}
			/* Not in the order in which they were taken. */
			for (size_t i = 0; i < ARRAY_LEN(objects); i++)
				f->put(&s, objects[i * 33 % ARRAY_LEN(objects)]);
		}
		f->reset(&s);
	}
}

static void
test_objects_that_were_given_back_are_used_before_memory_is_taken(void **state UNUSED)
{
	void *objects[500], *chunks;
	struct slab s;

	dense_slab_init(&s, 24);
	for (size_t i = 0; i < ARRAY_LEN(objects); i++)
		objects[i] = dense_slab_get(&s);
	while (s.free != NULL)
		dense_slab_get(&s);
	chunks = s.chunks;
	for (int round = 0; round < 10; round++) {
		for (size_t i = 0; i < ARRAY_LEN(objects); i++)
			dense_slab_put(&s, objects[i]);
		for (size_t i = 0; i < ARRAY_LEN(objects); i++)
			objects[i] = dense_slab_get(&s);
	}
	assert_ptr_equal(s.chunks, chunks);
	/* The leak checker tells if a chunk stays behind. */
	dense_slab_reset(&s);
	assert_non_null(dense_slab_get(&s));
	dense_slab_reset(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_objects_are_zero_aligned_and_do_not_overlap),
	    cmocka_unit_test(test_objects_that_were_given_back_come_zeroed_again),
	    cmocka_unit_test(test_objects_that_were_given_back_are_used_before_memory_is_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
