#include "relay/notices.h"

#include "base/log.h"
#include "base/mailbox.h"
#include "base/table.h"
#include "base/text.h"
#include "passthrough/attendance.h"
#include "passthrough/passthrough.h"
#include "relay/channel.h"
#include "relay/conn.h"
#include "relay/location.h"
#include "relay/relay.h"
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

/* One connection's. Its requests are held one after another, so these are all there is. */
struct notices {
	/* Where there is no passthrough_linger; NULL until there is none. */
	struct notice_chain *chain;
	struct table_digest who; /* where there is: the attendee of the latest subscribe */
	/* Of the latest whose headers were needed; kept, for those of the next poll are the same
	 * mostly, and shared with the notices or the attendee that they go along with. */
	struct notice_headers *headers;
	struct table_digest of; /* headers: of what they were put together from */
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
fits(struct slice name, const char *pattern)
{
	size_t len = strlen(pattern);

	if (pattern[len - 1] == '*')
		return name.len >= len - 1 && strncasecmp(name.p, pattern, len - 1) == 0;
	return name.len == len && strncasecmp(name.p, pattern, len) == 0;
}

/* In line, for text is a literal, whose length the compiler knows. */
static inline bool
name_is(struct slice name, const char *text)
{
	return name.len == strlen(text) && strncasecmp(name.p, text, name.len) == 0;
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
		if (fits(name, left_out[i]))
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

static void
add_part(struct text *t, struct slice part)
{
	text_add(t, part.p, part.len);
	text_add(t, "", 1);
}

/* All that collect() goes by, but for the peer, which stays. A poll's position, which does not
 * stay, is in conditions (If-*), and these are not passed on. */
static struct table_digest
digest_headers(const struct conn *conn, const struct request *req)
{
	struct text t = text_in(conn->worker->text_buf, conn->worker->text_size);
	struct slice name, value;

	for (size_t i = 0; request_header_at(req, i, &name, &value); i++) {
		if (fits(name, "If-*"))
			continue;
		add_part(&t, name);
		add_part(&t, value);
	}
	assert(text_ok(&t)); /* less than the request's own */
	return table_digest(t.start, text_len(&t));
}

/* The headers that go along with a notice of this request, borrowed; NULL: out of memory. */
static struct notice_headers *
headers_of(const struct conn *conn, const struct request *req)
{
	const struct table_digest of = digest_headers(conn, req);
	struct notices *n = conn->notices;
	struct text t;

	if (n->headers != NULL && memcmp(&n->of, &of, sizeof(of)) == 0)
		return n->headers;
	t = text_in(conn->worker->text_buf, conn->worker->text_size);
	collect(&t, conn, req);
	assert(text_ok(&t)); /* text_size is made for it */
	notice_headers_unref(n->headers);
	n->headers = notice_headers_new(t.start, text_len(&t));
	n->of = of;
	return n->headers;
}

/* --- who the subscriber is --- */

static struct slice
trimmed(struct slice s)
{
	while (s.len > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
		s = (struct slice){s.p + 1, s.len - 1};
	while (s.len > 0 && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\t'))
		s.len--;
	return s;
}

/* Takes the next "name=value" of a Cookie header; false at its end. */
static bool
next_cookie(struct slice *rest, struct slice *name, struct slice *value)
{
	while (rest->len > 0) {
		const char *semicolon = memchr(rest->p, ';', rest->len), *equals;
		struct slice pair = {
		    rest->p, semicolon == NULL ? rest->len : (size_t)(semicolon - rest->p)};
		const size_t taken = pair.len + (semicolon != NULL);

		*rest = (struct slice){rest->p + taken, rest->len - taken};
		equals = memchr(pair.p, '=', pair.len);
		if (equals == NULL)
			continue;
		*name = trimmed((struct slice){pair.p, (size_t)(equals - pair.p)});
		*value =
		    trimmed((struct slice){equals + 1, pair.len - (size_t)(equals - pair.p) - 1});
		return true;
	}
	return false;
}

static bool
is_identity(const struct location *loc, struct slice cookie)
{
	for (size_t i = 0; i < loc->n_identity; i++)
		if (strlen(loc->identity[i]) == cookie.len &&
		    memcmp(loc->identity[i], cookie.p, cookie.len) == 0)
			return true;
	return false;
}

/*
 * The Authorization and the cookies that say who a subscriber is; where it has none, where
 * it comes from and all that it sends to be known by. Digested, for a held subscriber keeps
 * it until it leaves. Parts are told apart by NUL, which no header holds.
 */
static struct table_digest
identify(const struct conn *conn, const struct location *loc, const struct request *req)
{
	struct text t = text_in(conn->worker->text_buf, conn->worker->text_size);
	struct slice name, value, cookie;

	for (size_t i = 0; request_header_at(req, i, &name, &value); i++) {
		if (name_is(name, "Authorization") && value.len > 0) {
			TEXT_LIT(&t, "a");
			add_part(&t, value);
		}
		if (!name_is(name, "Cookie"))
			continue;
		while (next_cookie(&value, &name, &cookie))
			if (cookie.len > 0 && is_identity(loc, name)) {
				TEXT_LIT(&t, "c");
				add_part(&t, name);
				add_part(&t, cookie);
			}
	}
	if (text_len(&t) == 0) {
		TEXT_LIT(&t, "p");
		text_add(&t, (const char *)&conn->peer, sizeof(conn->peer));
		for (size_t i = 0; request_header_at(req, i, &name, &value); i++)
			if (name_is(name, "X-Forwarded-For") || name_is(name, "User-Agent") ||
			    name_is(name, "Cookie")) {
				add_part(&t, name);
				add_part(&t, value);
			}
	}
	assert(text_ok(&t)); /* less than the lines of a notice */
	return table_digest(t.start, text_len(&t));
}

/* --- with passthrough_linger: attendees --- */

/* What another worker is told: NOTE_JOINED or NOTE_LEFT. */
struct attendance_note {
	struct note note;
	const struct location *loc;
	struct channel_id *id; /* counted */
	struct table_digest who;
	struct notice_headers *headers; /* counted; NULL where it left */
};

static struct attendee
attendee(const struct location *loc, const struct channel_id *id, struct table_digest who)
{
	return (struct attendee){
	    .place = loc->index,
	    .who = who,
	    .id = id->key.bytes,
	    .id_len = id->key.len,
	    .id_hash = id->key.hash,
	    .url = loc->passthrough,
	    .linger_ms = loc->passthrough_linger_ms,
	};
}

/* The worker that an attendee belongs to: the high bits, for tables use the low ones. */
static struct worker *
owner(const struct relay *relay, const struct channel_id *id, struct table_digest who)
{
	const uint64_t hash = (id->key.hash ^ who.halves[0]) >> 32;

	return relay->workers[hash * relay->n_workers >> 32];
}

static int
post(struct worker *to, enum note_kind kind, const struct location *loc, struct channel_id *id,
    struct table_digest who, struct notice_headers *headers)
{
	struct attendance_note *an = malloc(sizeof(*an));

	if (an == NULL)
		return -1;
	an->note.kind = kind;
	an->loc = loc;
	an->id = channel_id_ref(id);
	an->who = who;
	an->headers = headers == NULL ? NULL : notice_headers_ref(headers);
	mailbox_post(to->mailbox, &an->note);
	mailbox_wake(to->mailbox);
	return 0;
}

void
notices_forget_note(struct note *note)
{
	struct attendance_note *an = CONTAINER_OF(note, struct attendance_note, note);

	channel_id_unref(an->id);
	notice_headers_unref(an->headers);
	free(an);
}

static int
join(
    struct conn *conn, const struct location *loc, struct channel_id *id, const struct request *req)
{
	struct worker *w = conn->worker;
	const struct table_digest who = identify(conn, loc, req);
	const struct attendee a = attendee(loc, id, who);
	struct worker *to = owner(w->relay, id, who);
	struct notice_headers *headers;

	conn->notices->who = who;
	if (to == w && attendance_rejoin(w->attendance, &a))
		return 0;
	headers = headers_of(conn, req);
	if (headers == NULL)
		return -1;
	if (to == w)
		return attendance_join(w->attendance, &a, headers);
	return post(to, NOTE_JOINED, loc, id, who, headers);
}

static void
leave(const struct conn *conn, const struct location *loc, struct channel_id *id)
{
	const struct table_digest who = conn->notices->who;
	struct worker *w = conn->worker, *to = owner(w->relay, id, who);

	if (to == w) {
		const struct attendee a = attendee(loc, id, who);

		attendance_leave(w->attendance, &a);
	} else if (post(to, NOTE_LEFT, loc, id, who, NULL) < 0) {
		log_errorx("out of memory: that a subscriber left will not be told");
	}
}

static void
log_no_memory(void)
{
	log_errorx("out of memory: a subscriber goes without passthrough notices");
}

void
notices_work_note(struct worker *w, struct note *note)
{
	struct attendance_note *an = CONTAINER_OF(note, struct attendance_note, note);
	const struct attendee a = attendee(an->loc, an->id, an->who);

	if (note->kind == NOTE_LEFT)
		attendance_leave(w->attendance, &a);
	else if (attendance_join(w->attendance, &a, an->headers) < 0)
		log_no_memory();
	notices_forget_note(note);
}

/* --- without it: a pair for each held request --- */

/* 0; 1: the notice was not taken, which is logged; -1: out of memory. */
static int
subscribe(struct conn *conn, const struct location *loc, const struct channel_id *id,
    const struct request *req)
{
	struct notices *n = conn->notices;

	if (n->chain == NULL)
		n->chain = notice_chain_new(conn->worker->passthrough);
	if (n->chain == NULL || headers_of(conn, req) == NULL)
		return -1;
	return passthrough_notify(n->chain, PASSTHROUGH_SUBSCRIBE, loc->passthrough, id->key.bytes,
		   id->key.len, n->headers)
		   ? 0
		   : 1;
}

static void
unsubscribe(const struct notices *n, const struct location *loc, const struct channel_id *id)
{
	passthrough_notify(n->chain, PASSTHROUGH_UNSUBSCRIBE, loc->passthrough, id->key.bytes,
	    id->key.len, n->headers);
}

/* --- both --- */

bool
notices_subscribe(struct conn *conn, const struct location *loc, const struct channel *channel,
    const struct request *req)
{
	int rc = -1;

	if (conn->notices == NULL)
		conn->notices = calloc(1, sizeof(*conn->notices));
	if (conn->notices != NULL)
		rc = loc->passthrough_linger_ms > 0 ? join(conn, loc, channel->id, req)
						    : subscribe(conn, loc, channel->id, req);
	if (rc < 0)
		log_no_memory();
	return rc == 0;
}

void
notices_unsubscribe(struct conn *conn, const struct location *loc, const struct channel *channel)
{
	if (loc->passthrough_linger_ms > 0)
		leave(conn, loc, channel->id);
	else
		unsubscribe(conn->notices, loc, channel->id);
}

void
notices_ask_no_more(struct conn *conn, const struct location *loc)
{
	struct notices *n = conn->notices;

	/* Without passthrough_linger its unsubscribe needs them. */
	if (n == NULL || loc->passthrough_linger_ms == 0)
		return;
	notice_headers_unref(n->headers);
	n->headers = NULL;
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
