/*
 * worker.h - one thread: its loop, connections, channels and mailbox.
 *
 * All in it belongs to its thread alone; what comes from other threads comes by its
 * mailbox. With one worker all runs in the main thread.
 */
#ifndef RELAY_WORKER_H
#define RELAY_WORKER_H

#include "base/attr.h"
#include "base/list.h"
#include "base/mailbox.h"
#include "base/slab.h"
#include "relay/channel.h"
#include "relay/conn.h"
#include "relay/location.h"
#include "relay/request.h"
#include "relay/route.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct attendance;
struct config;
struct event;
struct event_base;
struct listener;
struct passthrough;
struct relay;
struct wheel;

/* Bytes read from a socket in one go. A held connection keeps at most one of these. */
#define WORKER_READ_SIZE 65536

struct worker {
	struct relay *relay;
	unsigned index;
	const struct config *config;
	struct event_base *base;
	struct mailbox *mailbox;
	struct wheel *wheel;
	struct passthrough *passthrough;
	struct attendance *attendance;
	struct pcre2_real_match_data_8 *match_data;
	struct listener *listener;

	struct slab conn_slab, subscriber_slab, publication_slab;
	struct link conns[CONN_STATES];           /* by state */
	unsigned n_conns;                         /* all but the closed ones */
	uint64_t next_conn;                       /* numbers connections in the log */
	uint64_t next_ticket;                     /* numbers waiters: struct store_hold */
	uint64_t jitter;                          /* pseudo-random: by how much polls end earlier */
	struct conn *resume_first, **resume_last; /* with more to do, by conn.resume_next */
	struct event *resume_event;
	struct event *reap_event; /* frees what is CONN_CLOSED, when the stack has unwound */

	struct channels channels;

	/* Scratch: valid until the next request, or the next answer. */
	struct request *scratch; /* takes requests that come whole */
	char *read_buf;
	char *text_buf; /* for any head we answer with, and for the lines of a notice */
	size_t text_size;
	struct location_ids ids; /* what a path and its query name */
	struct channel_key keys[LOCATION_CHANNELS_MAX];
	struct routed routed;

	/* "Server: …" and "Date: …", good for head_second. */
	char *head_lines;
	size_t head_lines_len, server_line_len;
	int64_t head_second;

	struct link *last_asked;    /* in conns[CONN_WAITING]: conns_ask_waiting() */
	struct event *second_event; /* sweeps, once a second */
	unsigned events_in_turn;    /* of connections, since the loop last waited */
	struct request_limits request_limits;
	_Atomic int thread_id; /* as the kernel has it; 0: the thread is not there yet */
	bool draining, stopped;
	bool empty;     /* draining, and the last connection is gone: told to the relay */
	bool all_empty; /* of all workers, and what they told of it has been worked */
	struct event *drain_event;
};

/* Returns new (worker_free), or NULL, logged. */
struct worker *worker_new(struct relay *relay, unsigned index);
/* All have stopped: closes its connections, so that what it shared with other workers
 * refers to none of them. Before the first worker_free(). */
void worker_close(struct worker *w);
void worker_free(struct worker *w);
/* Runs the loop in the calling thread until NOTE_STOP. */
void worker_run(struct worker *w);

const struct request_limits *worker_request_limits(const struct worker *w);

/* The lines Server and Date, of worker's head_lines_len bytes. */
const char *worker_head_lines(struct worker *w);

/* conn_resume()'s: go on with this connection in this turn of the loop, unasked. */
void worker_resume(struct worker *w, struct conn *conn);
/* A connection was closed: free it once the call stack has unwound. */
void worker_reap(struct worker *w);
/* A descriptor has become free. */
void worker_conn_gone(struct worker *w);

#endif
