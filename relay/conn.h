/*
 * conn.h - one client connection: its states, reading, writing, closing.
 *
 * A connection lives and dies in one worker. Its state and the list it is on are one
 * thing, changed in conn_set_state() alone. One raw event, registered once and
 * edge-triggered, serves it for life.
 */
#ifndef RELAY_CONN_H
#define RELAY_CONN_H

#include "base/attr.h"
#include "base/list.h"
#include "relay/bytes.h"
#include "relay/wheel.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

struct channel;
struct notices;
struct publication;
struct request;
struct statistics;
struct subscriber;
struct text;
struct worker;

/* Each is a list of its worker: worker->conns[state]. */
enum conn_state {
	CONN_READING,   /* a request is read, or awaited */
	CONN_ANSWERING, /* publisher or subscriber: the store or workers are to be heard */
	CONN_WAITING,   /* a subscriber is held; it is on its channel's list too */
	CONN_SENDING,   /* the socket took only a part: struct conn.out; or a stream is behind */
	CONN_LINGERING, /* FIN is sent; what still comes is read and dropped */
	CONN_CLOSED,    /* waits to be freed */
};
#define CONN_STATES 6

/* What the request at hand is; set with the member of struct conn's union that it names. */
enum conn_exchange {
	EXCHANGE_NONE, /* between requests: channel */
	EXCHANGE_SUBSCRIBER,
	EXCHANGE_PUBLICATION,
	EXCHANGE_STATISTICS,
};

/* Bytes of pipelined requests that came behind one that is not answered yet. */
struct backlog {
	size_t len;
	char data[];
};

/*
 * At most 256 bytes (checked in conn.c): this is what an idle subscriber costs, with
 * its struct subscriber. What is not idle state hangs on pointers.
 */
struct conn {
	struct event event;
	struct link link;         /* worker->conns[state] */
	struct wheel_entry timer; /* what its end means depends on the state */
	struct worker *worker;
	struct request *request; /* one that has come in part, or whose store call is pending */
	struct bytes *out;       /* CONN_SENDING: what is left is from out_at on */
	uint32_t out_at;
	uint32_t number; /* in the log */
	struct backlog *backlog;
	struct conn *resume_next; /* on the worker's list of those to go on: in_resume */
	union {
		struct subscriber *subscriber;
		struct publication *publication;
		struct statistics *statistics;
		/* Of its last poll, remembered, for the next one is likely to be of it; or NULL. */
		struct channel *channel;
	};
	struct notices *notices; /* what Django is told of it; NULL where nothing was */
	struct in6_addr peer;    /* IPv4 as ::ffff:a.b.c.d */
	uint16_t peer_port;
	uint8_t state;
	uint8_t exchange; /* enum conn_exchange */
	bool unix_peer : 1;
	bool in_process : 1; /* conn_process() is on the stack: it goes on by itself */
	bool in_resume : 1;
	bool unread : 1;      /* the socket may hold more: no new edge will tell */
	bool peer_done : 1;   /* FIN has come */
	bool close_after : 1; /* the answer at hand is the last */
	bool http10 : 1;      /* of the request at hand */
	bool head_only : 1;   /* HEAD: no body in the answer */
};

/* An answer that is not a message. */
struct answer {
	unsigned status;
	const char *fields; /* ready header lines; NULL with fields_len 0 */
	size_t fields_len;
	const char *type; /* of body */
	const char *body; /* NULL: no body and no Content-Length where the status has none */
	size_t body_len;
};

/* Takes fd, which is non-blocking. NULL, and fd closed, when out of memory. */
struct conn *conn_new(struct worker *w, int fd, const struct sockaddr *peer);

/* The request at hand is a subscriber's. */
static inline bool
conn_subscribes(const struct conn *conn)
{
	return conn->exchange == EXCHANGE_SUBSCRIBER;
}

/* The request at hand is over: no channel is remembered of it. */
static inline void
conn_end_exchange(struct conn *conn)
{
	conn->exchange = EXCHANGE_NONE;
	conn->channel = NULL;
}

/* Something will be sent soon: begins to fetch into the cache what that needs. */
static inline void
conn_expect(const struct conn *conn)
{
	__builtin_prefetch(&conn->event.ev_fd);
	__builtin_prefetch(&conn->worker);
	__builtin_prefetch(&conn->state);
}

/* Changes state and list. */
void conn_set_state(struct conn *conn, enum conn_state state);

/* Renders and sends an answer; the exchange at hand is over with it. */
void conn_answer(struct conn *conn, const struct answer *answer);
/* The same with a sentence as its body. */
void conn_answer_text(
    struct conn *conn, unsigned status, const char *fields, size_t fields_len, const char *why);
/*
 * Sends shared bytes, borrowed, as the answer. False if the socket refused them: the
 * connection is closed then.
 */
bool conn_send(struct conn *conn, struct bytes *bytes);
/*
 * Sends parts, borrowed, to a stream, in one call. Returns how many are taken: sent, or
 * certain to follow, the first always; -1: the connection is closed. What does not fit
 * makes it CONN_SENDING; subscriber_sent() is told when there is room again.
 */
#define CONN_PARTS_MAX 32
int conn_write(struct conn *conn, struct bytes *const *parts, unsigned n);
/* The same with bytes that are copied if they must wait. 0, or -1: closed. */
int conn_write_own(struct conn *conn, const char *data, size_t len);
/* Sends the last bytes of an answer or a stream; the exchange at hand is over with it. */
void conn_finish(struct conn *conn, const char *data, size_t len);
/* CONN_SENDING goes on in a later turn of the loop. */
void conn_set_send_deadline(struct conn *conn);
/* Sends an interim answer, such as 100 Continue, without ending the exchange. */
void conn_send_interim(struct conn *conn, const char *text, size_t len);

/*
 * Closes those of the worker's that were reset before they began to wait. Each is asked
 * about once, by a system call, some time after: a poll that is answered sooner costs none.
 */
void conns_ask_waiting(struct worker *w);

/* The request's store call is pending: keep what it was parsed from. */
int conn_keep_request(struct conn *conn, struct request *req) MUST_CHECK;
void conn_forget_request(struct conn *conn);

/* What was pending is over: take up the next request. */
void conn_next(struct conn *conn);

/* Ends it from anywhere, even twice; the memory goes later. reason is for the log. */
void conn_close(struct conn *conn, const char *reason);

/* The wheel's: the deadline of its state has passed. */
void conn_timed_out(struct conn *conn);
/* The worker's: goes on where it had stopped before the socket was empty. */
void conn_resume(struct conn *conn);
/* The relay ends: idle ones are closed, others answer with Connection: close. */
void conn_drain(struct conn *conn);
/* Frees it; the worker's reaper alone calls this. */
void conn_free(struct conn *conn);

/* "127.0.0.1:5555" or "unix", for the log. size is CONN_PEER_SIZE. */
#define CONN_PEER_SIZE (INET6_ADDRSTRLEN + 8)
const char *conn_peer(const struct conn *conn, char *buf, size_t size);

#endif
