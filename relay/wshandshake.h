/*
 * wshandshake.h - the opening handshake of a WebSocket (RFC 6455, 4.2), and what is agreed
 * upon in it: header fields in, header lines out. No sockets.
 */
#ifndef RELAY_WSHANDSHAKE_H
#define RELAY_WSHANDSHAKE_H

#include "base/attr.h"
#include "relay/request.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What a request says of WebSockets. Begin with zeros but for protocols, show it each of
 * the request's header fields in their order, then ask. The key borrows the request's bytes.
 */
struct wshandshake {
	/* Subprotocols that we know, NULL behind the last; NULL itself for none. */
	const char *const *protocols;
	bool upgrade;    /* Upgrade names websocket */
	bool connection; /* Connection names upgrade */
	/*
	 * What becomes of it if it is accepted: the first of the offered subprotocols that
	 * is among protocols, or NULL (the socket has none then, whatever was offered).
	 */
	const char *protocol;
	bool deflate;        /* permessage-deflate was offered in a form that we can do */
	uint8_t window_bits; /* the largest window with which we may compress then, 9 to 15 */
	/* Of use inside only. */
	bool window_asked;      /* the offer named a window: the answer repeats it */
	uint8_t keys, versions; /* fields of that name; counted no further than 2 */
	bool version_13;
	struct slice key;
	const char *malformed; /* what does not conform to RFC 6455's grammar */
};

/* One header field. Those that have nothing to do with it are passed over. */
void wshandshake_field(struct wshandshake *h, struct slice name, struct slice value);

/*
 * After all fields: a WebSocket is asked for. Only a GET of HTTP/1.1 can; else Upgrade is
 * as if it were not there (RFC 9110, 7.8).
 */
bool wshandshake_asked(const struct wshandshake *h);

/*
 * After all fields, where one is asked for: 101, or the status of a refusal with its reason
 * in *why. 426 is sent with WSHANDSHAKE_VERSION_LINE.
 */
unsigned wshandshake_check(const struct wshandshake *h, const char **why);

#define WSHANDSHAKE_VERSION_LINE "Sec-WebSocket-Version: 13\r\n"

/* Longest text of wshandshake_lines(), for subprotocols of up to 64 bytes. */
#define WSHANDSHAKE_LINES_MAX 320

/*
 * After 101: writes the header lines of the answer, Upgrade and Connection among them, and
 * returns how many bytes they are. It agrees to h->deflate and h->protocol: clear before
 * what the location does not do. -1: libcrypto failed.
 */
int wshandshake_lines(const struct wshandshake *h, char out[WSHANDSHAKE_LINES_MAX]) MUST_CHECK;

/* Length of a Sec-WebSocket-Accept. */
#define WSHANDSHAKE_ACCEPT_LEN 28

/* Sec-WebSocket-Accept for a Sec-WebSocket-Key; no NUL. -1: libcrypto failed. */
int wshandshake_accept(struct slice key, char out[WSHANDSHAKE_ACCEPT_LEN]) MUST_CHECK;

#endif
