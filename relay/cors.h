/*
 * cors.h - cross-origin requests: whose scripts may read what a location answers.
 *
 * A location's header lines are made once, when the configuration is loaded: one
 * block for each way an answer can differ (PROTOCOL, section 5). They go out on every
 * status, for a script must be able to see a 304 or a 410 as well.
 */
#ifndef RELAY_CORS_H
#define RELAY_CORS_H

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>

/* Ready header lines, each ended by CRLF. Vary is not among them: see struct cors. */
struct cors_block {
	char *text;
	size_t len;
};

/*
 * What allow_origin and allow_credentials of a location say. origins, which are as
 * cors_origin() makes them, allow_credentials and publisher come from the
 * configuration, the rest from cors_prepare().
 */
struct cors {
	char **origins; /* one "*" allows all */
	size_t n_origins;
	bool allow_credentials;
	bool publisher; /* a publisher location: other methods and headers are allowed */

	/*
	 * blocks[0] is for an origin that is not allowed, or for none; blocks[i + 1] for
	 * origins[i]. With "*" or a single origin all requests get blocks[1].
	 */
	struct cors_block *blocks;
	/* The value of Vary of a message; with several origins it names Origin as well. */
	const char *vary;
	/* The value of Vary of all else; NULL where there is nothing to say. */
	const char *vary_other;
	bool by_origin; /* several: the answer depends on the request's Origin */
};

/*
 * An origin as browsers send it, from one as people write it: scheme and host in lower
 * case, without the scheme's own port. "*" and "null" stay as they are. Returns new
 * (free), or NULL with what it must be in *problem (NULL there: out of memory).
 */
char *cors_origin(const char *text, const char **problem);

/* Makes the blocks. 0, or -1 when out of memory. */
int cors_prepare(struct cors *cors) MUST_CHECK;
void cors_reset(struct cors *cors);

/*
 * Which block answers a request with this Origin (borrowed; NULL for none).
 * *allowed tells whether the location's configuration allows it; true for none.
 */
unsigned cors_match(const struct cors *cors, const char *origin, size_t len, bool *allowed);

#endif
