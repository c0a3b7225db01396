/*
 * curl_loop.h - libcurl's multi socket interface on a libevent loop.
 *
 * libcurl says which sockets and which time-out it waits for; here these become
 * events, and what happens on them goes back to libcurl. One thread's alone. It knows
 * nothing of notices.
 */
#ifndef PASSTHROUGH_CURL_LOOP_H
#define PASSTHROUGH_CURL_LOOP_H

#include "base/attr.h"

#include <curl/curl.h>

struct event_base;
struct curl_loop;

/*
 * A transfer has ended with result and left the loop. Called from the event loop with
 * no libcurl call on the stack, so that it may use easy again, or add others.
 */
typedef void curl_loop_fn(void *arg, CURL *easy, CURLcode result);

/* Returns new (curl_loop_free), or NULL, logged. base must outlive it. */
struct curl_loop *curl_loop_new(struct event_base *base, curl_loop_fn *done, void *arg);
/* Closes the kept connections. All transfers have ended or been removed before. */
void curl_loop_free(struct curl_loop *loop);

/* At most so many connections, idle ones included, are kept open. */
void curl_loop_set_kept(struct curl_loop *loop, long connections);

/* Begins a transfer; easy is borrowed until it is done or removed. 0, or -1, logged. */
int curl_loop_add(struct curl_loop *loop, CURL *easy) MUST_CHECK;
/* Breaks a transfer off: done is not called for it. Not from inside a libcurl callback. */
void curl_loop_remove(struct curl_loop *loop, CURL *easy);

#endif
