/*
 * passthrough.h - subscribe and unsubscribe notices to Django.
 *
 * When a subscriber begins and ends to be held, its original request headers are
 * POSTed to the location's passthrough URL (PROTOCOL, section 6). Each worker has one
 * struct passthrough on its own loop; threads share headers alone. A slow, dead or
 * broken server delays no subscriber and no publisher: connections, time and the queue
 * are bounded, and what is given up is counted and logged.
 */
#ifndef PASSTHROUGH_PASSTHROUGH_H
#define PASSTHROUGH_PASSTHROUGH_H

#include "base/attr.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_base;
struct passthrough;
struct troubles;

/* Shares of one worker. */
struct passthrough_limits {
	unsigned notices;     /* subscribe notices that may wait; more are given up */
	unsigned connections; /* at once to one server (scheme, host and port) */
	uint32_t timeout_ms;  /* for one notice, its answer included */
	uint32_t retry_ms;    /* how long a refused connection is tried again */
};

enum passthrough_event {
	PASSTHROUGH_SUBSCRIBE,
	PASSTHROUGH_UNSUBSCRIBE,
};

/*
 * Monotonic counters, for the log and the status page. Each notice is counted once:
 * delivered, failed and dropped with what is pending make up all that were notified.
 */
struct passthrough_counters {
	uint64_t delivered; /* answered, with whatever status */
	uint64_t refused;   /* of these, not with 2xx */
	uint64_t failed;    /* given up: no answer, or no connection */
	/* Given up unsent: the queue was full, the relay ended, or it is an unsubscribe
	 * whose subscribe was taken and never left. */
	uint64_t dropped;
};

/* curl_global_init(), SIGPIPE ignored: what must happen before the first thread. 0 or -1. */
int passthrough_global_init(void) MUST_CHECK;

/*
 * Returns new (passthrough_free), or NULL, logged. base and troubles (trouble.h: what the
 * log says, shared by all workers) must outlive it.
 */
struct passthrough *passthrough_new(
    struct event_base *base, const struct passthrough_limits *limits, struct troubles *troubles);
/* Gives up what is left, which is logged. Every chain has been ended before. */
void passthrough_free(struct passthrough *p);

/*
 * Header lines that go along with a notice: "Name: value" strings, each ended by NUL, the
 * whole ended by an empty string. Immutable, counted, for all threads. The caller has left
 * out what is not passed on and added X-Forwarded-*: here the values go out byte for byte.
 */
struct notice_headers {
	atomic_uint refs;
	char lines[];
};

/* Returns new with a count of one and len bytes of lines copied, the final NUL included, or
 * NULL when out of memory. */
struct notice_headers *notice_headers_new(const char *lines, size_t len);
struct notice_headers *notice_headers_ref(struct notice_headers *h);
void notice_headers_unref(struct notice_headers *h); /* NULL does nothing */

/*
 * Notices that must keep their order: one connection's, or one attendee's (attendance.h).
 * They go out one after another, each when the one before is answered or given up, for
 * two transfers at once overtake each other. They may be of several channels: of each, a
 * subscribe and an unsubscribe take turns. An unsubscribe whose subscribe never left is
 * not sent either.
 */
struct notice_chain;

/* Returns new, or NULL when out of memory. */
struct notice_chain *notice_chain_new(struct passthrough *p);
/* The connection is gone: what is queued still goes out, then the chain frees itself.
 * NULL does nothing. */
void notice_chain_end(struct notice_chain *chain);

/*
 * The chain's last notice has been answered or given up. Also called from within
 * passthrough_notify(), where memory is used up; it may end the chain.
 */
typedef void notice_chain_idle_fn(void *arg, void *owner);
/* For all chains of p that have an owner. */
void passthrough_on_idle(struct passthrough *p, notice_chain_idle_fn *idle, void *arg);
void notice_chain_set_owner(struct notice_chain *chain, void *owner);

/* Nothing of it is queued or under way. */
bool notice_chain_idle(const struct notice_chain *chain);
/* A subscribe was taken and never left, and its unsubscribe has not come yet. */
bool notice_chain_untold(const struct notice_chain *chain);

/*
 * Queues a notice. url (borrowed: http or https, as the configuration has checked), id
 * (borrowed, id_len opaque bytes, form-encoded here), headers (counted by us, may be
 * NULL). Never blocks, never calls back.
 *
 * True if it was taken. A subscribe that finds limits.notices waiting is not: it is
 * dropped and counted, and must have no unsubscribe. One whose subscribe was taken always
 * is, unless that never left, for a Django that was told of an arrival must hear of the
 * leaving: there are at most as many as subscriptions and those who linger
 * (limits.lingering).
 */
bool passthrough_notify(struct notice_chain *chain, enum passthrough_event event, const char *url,
    const void *id, size_t id_len, struct notice_headers *headers);

/* A drain begins: refused connections are not tried again from now on. */
void passthrough_drain(struct passthrough *p);
/* Nothing is queued or under way. */
bool passthrough_idle(const struct passthrough *p);
/* Notices queued or under way. */
size_t passthrough_pending(const struct passthrough *p);
const struct passthrough_counters *passthrough_counters(const struct passthrough *p);

#endif
