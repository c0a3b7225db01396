/*
 * websocket.h - a WebSocket's conversation (RFC 6455): what is its own beside a stream.
 *
 * Frames and the handshake are read in wsframe.h and wshandshake.h, without sockets.
 */
#ifndef RELAY_WEBSOCKET_H
#define RELAY_WEBSOCKET_H

#include <stdbool.h>
#include <stddef.h>

struct conn;
struct subscriber;

/* What goes before a message, by the subprotocol. */
enum ws_meta {
	WS_META_NONE,
	WS_META_NCHAN,      /* ws+meta.nchan: id, content-type */
	WS_META_PUSHSERVER, /* ws+meta.pushserver: channel, event and gap as well */
};

/* Bytes came from the client: how many are dealt with. */
size_t websocket_input(struct subscriber *sub, char *data, size_t len);
/* A message of the client is on its way to the store and the workers: nothing more is
 * read until they have answered. */
bool websocket_is_publishing(const struct subscriber *sub);
/* They have, as a POST would have been answered. */
void websocket_published(struct conn *conn, unsigned status);
/* The subscriber goes. */
void websocket_free(struct subscriber *sub);

#endif
