/*
 * relay.h - the relay as a whole: configuration, stores, workers; start, drain, stop.
 *
 * All state hangs from struct relay, so that two fit into one process.
 */
#ifndef RELAY_RELAY_H
#define RELAY_RELAY_H

#include "base/attr.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config;
struct location;
struct store;
struct troubles;
struct worker;

/* What has happened at one location since the start. */
struct location_counters {
	_Atomic uint64_t foreign_origins; /* requests with an Origin that is not allowed */
	_Atomic uint64_t slow_gaps;       /* streams that were so slow that messages went */
	_Atomic uint64_t slow_closes;     /* of these, ended for it: on_slow */
};

struct relay {
	struct config *config;
	struct store **stores; /* as in config */
	unsigned n_stores;
	struct worker **workers; /* the first runs in the main thread */
	unsigned n_workers;
	struct troubles *troubles; /* of passthrough URLs */
	unsigned max_conns;        /* limits.connections, or what the descriptors allow */
	uint64_t started_ms;
	_Atomic unsigned n_conns; /* of all workers */

	_Atomic unsigned workers_in_use;    /* not yet draining, or with connections */
	_Atomic unsigned draining_workers;  /* that still have something to end */
	struct location_counters *counters; /* one a location */
};

/* How the process ends (pushserver.8, "EXIT STATUS"). */
enum relay_exit {
	RELAY_EXIT_OK = 0,
	RELAY_EXIT_CONFIG = 1,
	RELAY_EXIT_USAGE = 2,
	RELAY_EXIT_BIND = 3,
	RELAY_EXIT_START = 4,
};

/*
 * Runs a relay in the calling thread and as many more as it has workers, until SIGTERM,
 * SIGINT or SIGHUP, and then drains it. config is borrowed.
 */
enum relay_exit relay_run(struct config *config);

/* A draining worker's: its last connection is gone. When all say so, all hear NOTE_EMPTY,
 * behind whatever these connections have sent to their mailboxes. */
void relay_worker_empty(struct relay *relay);
/* A worker's: it has nothing left to end. When all say so, all stop. */
void relay_worker_drained(struct relay *relay);

/* A stream was so slow that messages were dropped before it could read them. */
void relay_slow(struct relay *relay, const struct location *loc);
/* Logs the first of these at each location, and counts. */
void relay_foreign_origin(
    struct relay *relay, const struct location *loc, const char *origin, size_t len);

/* Seconds that a drain may take in all (DESIGN: exit within 5). */
#define RELAY_DRAIN_MS 4700

#endif
