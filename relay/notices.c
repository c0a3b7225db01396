#include "relay/notices.h"

#include "base/log.h"
#include "base/text.h"
#include "passthrough/passthrough.h"
#include "relay/channel.h"
#include "relay/conn.h"
#include "relay/location.h"
#include "relay/request.h"
#include "relay/worker.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Names that Connection headers may add; no client sends more than a few. */
#define HOP_BY_HOP_MAX 32

struct notices {
	struct notice_chain *chain;
	struct notice_headers *headers; /* of the latest subscribe */
};

/* Names that are not passed on; a '*' at the end stands for any rest. */
static const char *const left_out[] = {
    "Connection",
    "Content-*",
    "Expect",
    "Host",
    "If-*",
    "Accept-Encoding",
    "Keep-Alive",
    "Proxy-Authorization",
    "Proxy-Connection",
    "Range",
    "Sec-WebSocket-*",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
};

static bool
name_is(struct slice name, const char *text)
{
	size_t len = strlen(text);

	if (len > 0 && text[len - 1] == '*')
		return name.len >= len - 1 && strncasecmp(name.p, text, len - 1) == 0;
	return name.len == len && strncasecmp(name.p, text, len) == 0;
}

/* Names in Connection headers (RFC 9110, 7.6.1). */
struct hop_by_hop {
	struct slice names[HOP_BY_HOP_MAX];
	size_t n;
};

static void
collect_hop_by_hop(struct hop_by_hop *hop, const struct request *req)
{
	struct connection_cursor cursor = {0, 0};

	for (hop->n = 0; hop->n < HOP_BY_HOP_MAX; hop->n++)
		if (!request_next_option(req, &cursor, &hop->names[hop->n]))
			break;
}

static bool
is_passed_on(const struct hop_by_hop *hop, struct slice name)
{
	/* "_" and "-" are one to WSGI: X_Forwarded_For would pass for X-Forwarded-For. */
	if (memchr(name.p, '_', name.len) != NULL)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(left_out); i++)
		if (name_is(name, left_out[i]))
			return false;
	for (size_t i = 0; i < hop->n; i++)
		if (hop->names[i].len == name.len &&
		    strncasecmp(hop->names[i].p, name.p, name.len) == 0)
			return false;
	return true;
}

static void
add_line(struct text *t, struct slice name, struct slice value)
{
	text_add(t, name.p, name.len);
	TEXT_LIT(t, ": ");
	text_add(t, value.p, value.len);
	text_add(t, "", 1);
}

static bool
is_loopback(const struct conn *conn)
{
	return conn->unix_peer || IN6_IS_ADDR_LOOPBACK(&conn->peer) ||
	       (IN6_IS_ADDR_V4MAPPED(&conn->peer) && conn->peer.s6_addr[12] == 127);
}

/* The peer's address behind what came in X-Forwarded-For. */
static void
add_forwarded_for(struct text *t, const struct conn *conn, const struct request *req)
{
	struct slice name, value;
	char addr[INET6_ADDRSTRLEN];
	bool any = false;

	TEXT_LIT(t, "X-Forwarded-For: ");
	for (size_t i = 0; request_header_at(req, i, &name, &value); i++) {
		if (!name_is(name, "X-Forwarded-For") || value.len == 0)
			continue;
		if (any)
			TEXT_LIT(t, ", ");
		text_add(t, value.p, value.len);
		any = true;
	}
	if (!conn->unix_peer) {
		if (IN6_IS_ADDR_V4MAPPED(&conn->peer))
			inet_ntop(AF_INET, &conn->peer.s6_addr[12], addr, sizeof(addr));
		else
			inet_ntop(AF_INET6, &conn->peer, addr, sizeof(addr));
		if (any)
			TEXT_LIT(t, ", ");
		text_str(t, addr);
	}
	text_add(t, "", 1);
}

/* All lines that go along with a notice, as struct notice_headers has them. */
static void
collect(struct text *t, const struct conn *conn, const struct request *req)
{
	const bool trusted = is_loopback(conn);
	bool has_proto = false, has_host = false;
	struct hop_by_hop hop;
	struct slice name, value;

	collect_hop_by_hop(&hop, req);
	for (size_t i = 0; request_header_at(req, i, &name, &value); i++) {
		if (!is_passed_on(&hop, name) || name_is(name, "X-Forwarded-For"))
			continue;
		/* Only a proxy on this host is believed: a stranger could say https. */
		if (name_is(name, "X-Forwarded-Proto")) {
			if (!trusted)
				continue;
			has_proto = true;
		} else if (name_is(name, "X-Forwarded-Host")) {
			if (!trusted)
				continue;
			has_host = true;
		}
		add_line(t, name, value);
	}
	add_forwarded_for(t, conn, req);
	if (!has_proto)
		text_add(t, "X-Forwarded-Proto: http", sizeof("X-Forwarded-Proto: http"));
	if (!has_host) {
		struct slice host = request_header(req, HEADER_HOST);

		if (host.p != NULL)
			add_line(t, (struct slice){"X-Forwarded-Host", 16}, host);
	}
	text_add(t, "", 1);
}

static struct notices *
notices_of(struct conn *conn)
{
	if (conn->notices == NULL) {
		struct notices *n = calloc(1, sizeof(*n));

		if (n == NULL)
			return NULL;
		n->chain = notice_chain_new(conn->worker->passthrough);
		if (n->chain == NULL) {
			free(n);
			return NULL;
		}
		conn->notices = n;
	}
	return conn->notices;
}

struct notice_headers *
notices_subscribe(struct conn *conn, const struct location *loc, const struct channel *channel,
    const struct request *req)
{
	struct text t = text_in(conn->worker->text_buf, conn->worker->text_size);
	struct notices *n = notices_of(conn);

	if (n == NULL)
		goto err;
	collect(&t, conn, req);
	assert(text_ok(&t)); /* text_size is made for it */
	/* The same as with the last poll, mostly: then nothing is copied. */
	if (n->headers == NULL || n->headers->len != text_len(&t) ||
	    memcmp(n->headers->lines, t.start, text_len(&t)) != 0) {
		notice_headers_unref(n->headers);
		n->headers = notice_headers_new(t.start, text_len(&t));
		if (n->headers == NULL)
			goto err;
	}
	passthrough_notify(n->chain, PASSTHROUGH_SUBSCRIBE, loc->passthrough,
	    channel->id->key.bytes, channel->id->key.len, n->headers);
	return notice_headers_ref(n->headers);
err:
	log_errorx("out of memory: a subscriber goes without passthrough notices");
	return NULL;
}

void
notices_unsubscribe(struct conn *conn, const struct location *loc, const struct channel *channel,
    struct notice_headers *headers)
{
	if (headers == NULL)
		return;
	passthrough_notify(conn->notices->chain, PASSTHROUGH_UNSUBSCRIBE, loc->passthrough,
	    channel->id->key.bytes, channel->id->key.len, headers);
	notice_headers_unref(headers);
}

void
notices_end(struct conn *conn)
{
	struct notices *n = conn->notices;

	if (n == NULL)
		return;
	conn->notices = NULL;
	notice_chain_end(n->chain);
	notice_headers_unref(n->headers);
	free(n);
}
