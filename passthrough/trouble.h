/*
 * trouble.h - what the log says when a passthrough URL does not answer as it should.
 *
 * The first notice of each kind of trouble is logged at once, with its likely cause,
 * because a user who does not see why would look for the fault in the relay. Further
 * ones are counted; the count is logged at most once a minute while they go on, and
 * once when all is well again.
 */
#ifndef PASSTHROUGH_TROUBLE_H
#define PASSTHROUGH_TROUBLE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Kinds remembered per URL; a server has no more at a time. */
#define TROUBLE_KINDS 8

/*
 * One passthrough URL's, which the workers share: it is said once, not once by each. All
 * zero but url and host to begin with.
 */
struct trouble {
	pthread_mutex_t lock; /* guards all that changes, for the length of one call below */
	struct trouble *next; /* the list's */
	const char *url;      /* as shown: without user and password */
	const char *host;     /* of url */
	bool ill;             /* something is wrong since the last good answer */
	bool recovered;       /* well_ms is set */
	uint64_t well_ms;     /* when the log last said that all is well */
	uint64_t said_ms;     /* when it last gave a count, or ill began */
	uint64_t more;        /* notices since said_ms */
	uint64_t total;       /* notices since ill began */
	unsigned n_kinds;     /* ever said; the oldest are forgotten */
	struct {
		int kind;
		uint64_t said_ms;
	} kinds[TROUBLE_KINDS];
};

/* Those of all URLs of a relay. */
struct troubles;

/* Returns new (troubles_free), or NULL when out of memory. */
struct troubles *troubles_new(void);
/* No passthrough that was given it is left. */
void troubles_free(struct troubles *all);
/* The one of this URL, made if needed; NULL when out of memory. Any thread may ask. */
struct trouble *troubles_find(struct troubles *all, const char *url, const char *host);

/* Kinds beside HTTP statuses: negative CURLcodes, and these. */
#define TROUBLE_REFUSED    (-1001)
#define TROUBLE_QUEUE_FULL (-1002)

/* A notice was answered with a status that is not 2xx; relay: our address, may be "". */
void trouble_status(struct trouble *t, long status, const char *relay);
/* Notices (0: it may yet succeed) came to nothing for this reason. */
void trouble_failure(struct trouble *t, int kind, const char *words, uint64_t notices);
/* A notice was answered with 2xx. */
void trouble_over(struct trouble *t);

#endif
