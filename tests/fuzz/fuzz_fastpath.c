/*
 * The fast reader of requests: relay/fastrequest.c.
 *
 * Promises: what it takes is a request for request.c and http-parser as well, with the same
 * end, method, target, version, headers in their order and by number, keep-alive and body; it
 * takes nothing that is over the limits; a request cut short is not taken; and what is
 * not taken leaves nothing behind.
 */
#include "fuzz.h"
#include "two_readers.h"

static const struct request_limits limits[] = {{8192, 16384}, {40, 120}};

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	request_global_init();
	return 0;
}

static void
check_nothing_is_left(const struct head *h)
{
	PROMISE(h->n_fields == 0 && h->twice == 0 && h->content_length == -1, "left behind");
	for (unsigned i = 0; i < HEADER_COUNT; i++)
		PROMISE(!head_has(h, i), "header %u was left behind", i);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct head head;
	char *bytes;

	/* One for all inputs, so that what is left of one would be found in the next. */
	if (head.fields == NULL && head_init(&head) < 0)
		abort();
	bytes = fuzz_copy(data, size);
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		const size_t taken = fastrequest_read(&head, bytes, size, &limits[i]);
		const char *differ;
		size_t whole;

		if (taken == 0) {
			check_nothing_is_left(&head);
			continue;
		}
		PROMISE(taken <= size && memcmp(bytes + taken - 4, "\r\n\r\n", 4) == 0,
		    "a head of %zu bytes", taken);
		differ = readers_differ(bytes, size, taken, &limits[i]);
		PROMISE(differ == NULL, "not the same: %s", differ);
		whole = taken + (head.content_length > 0 ? (size_t)head.content_length : 0);
		head_reset(&head);
		PROMISE(whole <= size, "%zu bytes of %zu", whole, size);
		for (size_t cut = 0; cut < whole; cut += 1 + whole / 16) {
			char *part = fuzz_copy(bytes, cut);

			PROMISE(fastrequest_read(&head, part, cut, &limits[i]) == 0,
			    "taken, though only %zu of %zu bytes are there", cut, whole);
			free(part);
		}
		/* What lies behind it changes nothing. */
		PROMISE(fastrequest_read(&head, bytes, whole, &limits[i]) == taken,
		    "not taken without what lies behind it");
		head_reset(&head);
	}
	free(bytes);
	return 0;
}
