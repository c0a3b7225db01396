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

/* What of a request, besides its Origin, decides on an answer: caches are told by Vary. */
enum cors_vary {
	CORS_VARY_NONE,
	CORS_VARY_POSITION, /* If-Modified-Since, If-None-Match */
	CORS_VARY_ACCEPT,
};
#define CORS_VARIES 3

/* Ready header lines, each ended by CRLF: Access-Control-, and Vary where there is one. */
struct cors_lines {
	char *text;
	size_t len;
};

/* Those of one origin, by what else decides. */
struct cors_block {
	struct cors_lines lines[CORS_VARIES];
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
