/*
 * transport.h - the ways in which a subscriber is served, as load, floor and reader name them.
 */
#ifndef BENCH_TRANSPORT_H
#define BENCH_TRANSPORT_H

enum transport {
	LONGPOLL,
	EVENTSOURCE,
	WEBSOCKET,
	STREAM,
	TRANSPORTS,
};

/* The example of RFC 6455, section 1.3: the load always sends this key, so the answer to it
 * is known to both sides. */
#define WEBSOCKET_KEY    "dGhlIHNhbXBsZSBub25jZQ=="
#define WEBSOCKET_ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

#endif
