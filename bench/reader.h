/*
 * reader.h - what a server sent to one client, taken apart: answers to polls, heads of
 * streams, and the messages in them. Knows no socket.
 *
 * The bytes of a stream that have been taken are gone; of a message of which only a part
 * has come, the part is kept here.
 */
#ifndef BENCH_READER_H
#define BENCH_READER_H

#include "bench/transport.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reader {
	char *pending; /* own, or what reader_add() was given last */
	char *own;
	size_t start, end;   /* of pending: what is not taken yet */
	size_t cap;          /* of own */
	size_t drop;         /* given out by the last reader_next() */
	size_t message_size; /* of an HTTP stream, whose messages nothing else delimits */
	uint64_t chunk_left;
	uint8_t transport;
	uint8_t chunk; /* enum chunk_state in reader.c */
	bool headed;   /* of a stream: its head has been given out */
	bool chunked;
	bool ended;
};

enum reader_kind {
	READER_MORE,    /* nothing whole is here */
	READER_ANSWER,  /* a response, or the head of a stream */
	READER_MESSAGE, /* of a stream */
	READER_PING,    /* of a WebSocket; body is what the pong must repeat */
	READER_END,     /* the server ended the stream */
	READER_BAD,     /* not what such a server may send; what tells why */
};

/* A piece points into the reader, until its next call. */
struct piece {
	unsigned status;
	const char *body;
	size_t body_len;
	/* Of an answer: the values as they came, NULL if there were none. */
	const char *last_modified, *etag;
	size_t last_modified_len, etag_len;
	const char *what;
};

void reader_init(struct reader *r, enum transport transport, size_t message_size);

/* Frees what is kept; r may be used again after reader_init(). */
void reader_reset(struct reader *r);

/*
 * Takes len bytes that have come, borrowed until reader_keep(), which copies what is left of
 * them; it is to be called before the next reader_add(). False if memory ran out.
 */
bool reader_add(struct reader *r, char *bytes, size_t len);
bool reader_keep(struct reader *r);

/* The next piece of what has been added. */
enum reader_kind reader_next(struct reader *r, struct piece *out);

/* Whether all that has come has been taken, so that the next byte begins a new piece. */
bool reader_at_boundary(const struct reader *r);

#endif
