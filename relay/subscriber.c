#include "relay/subscriber.h"

#include "base/clock.h"
#include "base/text.h"
#include "relay/channel.h"
#include "relay/config.h"
#include "relay/conn.h"
#include "relay/notices.h"
#include "relay/position.h"
#include "relay/relay.h"
#include "relay/render.h"
#include "relay/request.h"
#include "relay/response.h"
#include "relay/route.h"
#include "relay/worker.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Where a request stands, by its headers or its query. */
enum asked {
	ASKED_NOTHING,
	ASKED_POSITION,
	ASKED_MALFORMED,
};

/* The value of a query parameter; p is NULL where it is absent. */
static struct slice
query_value(struct slice query, const char *name)
{
	const char *p = query.p, *end = query.p + query.len;
	const size_t name_len = strlen(name);

	while (p != NULL && p < end) {
		const char *amp = memchr(p, '&', (size_t)(end - p));
		const char *next = amp == NULL ? end : amp;

		if ((size_t)(next - p) > name_len && p[name_len] == '=' &&
		    memcmp(p, name, name_len) == 0)
			return (struct slice){p + name_len + 1, (size_t)(next - p) - name_len - 1};
		p = amp == NULL ? NULL : amp + 1;
	}
	return (struct slice){NULL, 0};
}

/* An id in a query may have its colon percent-encoded. */
static bool
parse_query_id(struct slice value, struct msgid *id)
{
	unsigned char decoded[3 * MSGID_TEXT_MAX];
	ptrdiff_t len;

	if (value.len > sizeof(decoded))
		return false;
	len = percent_decode(value.p, value.len, decoded);
	return len >= 0 && msgid_parse((const char *)decoded, (size_t)len, id);
}

/*
 * If-Modified-Since goes before Last-Event-ID, a header before the query; empty is
 * absent. A malformed one is never passed over in silence (PROTOCOL, section 2).
 */
static enum asked
read_position(const struct request *req, struct msgid *id)
{
	struct slice since = request_header(req, HEADER_IF_MODIFIED_SINCE);
	struct slice match = request_header(req, HEADER_IF_NONE_MATCH);
	struct slice event = request_header(req, HEADER_LAST_EVENT_ID);
	struct slice query = query_value(request_query(req), "last_event_id");
	struct msgid event_id = {0, 0}, query_id = {0, 0};

	*id = (struct msgid){0, -1};
	if (request_header_twice(req, HEADER_IF_MODIFIED_SINCE) ||
	    request_header_twice(req, HEADER_IF_NONE_MATCH) ||
	    request_header_twice(req, HEADER_LAST_EVENT_ID) ||
	    (since.len > 0 && !http_date_parse(since.p, since.len, &id->second)) ||
	    (match.len > 0 && !etag_parse(match.p, match.len, &id->tag)) ||
	    (event.len > 0 && !msgid_parse(event.p, event.len, &event_id)) ||
	    (query.len > 0 && !parse_query_id(query, &query_id)))
		return ASKED_MALFORMED;
	if (since.len > 0)
		return ASKED_POSITION;
	if (event.len > 0)
		*id = event_id;
	else if (query.len > 0)
		*id = query_id;
	else
		return ASKED_NOTHING;
	return ASKED_POSITION;
}

/* It is no longer the connection's, nor on any list. */
static void
free_subscriber(struct subscriber *sub)
{
	struct conn *conn = sub->conn;
	struct worker *w = conn->worker;

	conn->is_subscriber = false;
	conn->subscriber = NULL;
	if (sub->channel != NULL) {
		if (sub->pending != NULL)
			store_cancel(sub->channel->store, sub->pending);
		channel_unuse(w, sub->channel);
	}
	slab_put(&w->subscriber_slab, sub);
}

/*
 * Out of the channel, before its answer is sent: its client's next request, on whatever
 * worker, must find it gone.
 */
static void
leave(struct subscriber *sub)
{
	struct channel *ch = sub->channel;

	if (!link_listed(&sub->waiter))
		return;
	assert(ch != NULL);
	channel_leave(ch, sub);
	if (sub->loc->concurrency != CONCURRENCY_BROADCAST) {
		struct store_hold hold = {.place = sub->loc->index, .ticket = sub->ticket};

		store_release(ch->store, &ch->watch, &hold);
	}
	if (sub->noticed)
		notices_unsubscribe(sub->conn, sub->loc, ch);
	sub->noticed = false;
}

void
subscriber_end(struct conn *conn)
{
	struct subscriber *sub = conn->subscriber;

	leave(sub);
	free_subscriber(sub);
}

/* Ends the exchange with a status and a sentence. */
void
subscriber_refuse(struct subscriber *sub, unsigned status, const char *why)
{
	struct conn *conn = sub->conn;
	char fields[RESPONSE_FIELDS_SIZE];
	struct text t = text_in(fields, sizeof(fields));

	response_cors(&t, &sub->loc->cors, sub->cors_block, NULL);
	assert(text_ok(&t));
	leave(sub);
	free_subscriber(sub);
	conn_answer_text(conn, status, fields, text_len(&t), why);
}

/* Nothing has come: the request's own position again, so that old clients go on. */
static void
answer_nothing_new(struct subscriber *sub, unsigned status)
{
	struct conn *conn = sub->conn;
	char fields[RESPONSE_FIELDS_SIZE];
	struct text t = text_in(fields, sizeof(fields));
	struct answer answer = {.status = status, .fields = fields};

	if (sub->has_asked)
		response_position(&t, sub->asked);
	response_cors(&t, &sub->loc->cors, sub->cors_block, "If-Modified-Since, If-None-Match");
	assert(text_ok(&t));
	answer.fields_len = text_len(&t);
	leave(sub);
	free_subscriber(sub);
	conn_answer(conn, &answer);
}

void
subscriber_timed_out(struct conn *conn)
{
	if (conn->worker->draining)
		conn->close_after = true;
	answer_nothing_new(conn->subscriber, conn->subscriber->loc->timeout_status);
}

static void
variant_of(const struct subscriber *sub, struct render_variant *variant)
{
	*variant = (struct render_variant){
	    .loc = sub->loc,
	    .cors_block = sub->cors_block,
	    .gap = sub->gap,
	    .close = sub->conn->close_after,
	    .http10 = sub->conn->http10,
	    .second = clock_wall_s(),
	};
}

bool
subscriber_deliver(struct subscriber *sub, struct message *msg, struct render_cache *cache)
{
	struct conn *conn = sub->conn;
	struct render_variant variant;
	struct bytes *bytes;

	variant_of(sub, &variant);
	bytes = render_cached(cache, conn->worker, msg, &variant);
	if (bytes == NULL) {
		conn_close(conn, "out of memory");
		return false;
	}
	leave(sub);
	free_subscriber(sub);
	return conn_send(conn, bytes);
}

/*
 * Up to a tenth earlier, never later: polls that began together do not end together.
 * The wheel rounds down to its tick, which is a part of that tenth.
 */
static uint32_t
jittered(uint32_t ms)
{
	const uint32_t tenth = ms / 10, tick = 1u << WHEEL_TICK_SHIFT;

	if (tenth <= tick)
		return ms;
	return ms - (uint32_t)random() % (tenth - tick);
}

/* The store's answer to what a subscriber asked for. req is its request. */
static void
on_answer(struct subscriber *sub, enum store_answer answer, struct store_result *result,
    const struct request *req)
{
	struct conn *conn = sub->conn;
	const struct location *loc = sub->loc;
	struct render_cache cache = {.msg = NULL};

	if (answer == STORE_FAILED) {
		subscriber_refuse(sub, 503, "the store has failed; the log says why");
		return;
	}
	sub->gap = result->gap;
	switch (result->status) {
	case STORE_OK:
		subscriber_deliver(sub, result->msg, &cache);
		render_cache_clear(&cache);
		message_unref(result->msg);
		return;
	case STORE_CONFLICT:
		subscriber_refuse(sub, 409, "another subscriber holds this channel");
		return;
	case STORE_NO_CHANNEL:
		subscriber_refuse(sub, 404, "there is no such channel");
		return;
	case STORE_NOTHING_NEWER:
		/* The store has counted it, so from here on leave() must find it. */
		if (sub->may_wait) {
			sub->position = result->newest;
			sub->channel->transient = sub->channel->watch.transient;
			channel_join(sub->channel, sub);
		}
		break;
	case STORE_FULL:
	case STORE_TOO_LARGE:
	case STORE_NO_ROOM:
		assert(!"not an answer to this request");
	}
	if (loc->polling == POLLING_INTERVAL) {
		answer_nothing_new(sub, 304);
		return;
	}
	/* These may also have come while the store was asked. */
	if (conn->peer_done || conn_is_reset(conn)) {
		conn_close(conn, "the subscriber has left");
		return;
	}
	if (conn->worker->draining) {
		answer_nothing_new(sub, loc->timeout_status);
		return;
	}
	conn_set_state(conn, CONN_WAITING);
	if (loc->timeout_ms[TRANSPORT_LONGPOLL] > 0)
		wheel_set(conn->worker->wheel, &conn->timer,
		    jittered(loc->timeout_ms[TRANSPORT_LONGPOLL]));
	else
		wheel_clear(&conn->timer);
	if (loc->passthrough != NULL)
		sub->noticed = notices_subscribe(conn, loc, sub->channel, req);
}

static void
on_next(void *arg, enum store_answer answer, struct store_result *result)
{
	struct subscriber *sub = arg;
	struct conn *conn = sub->conn;

	sub->pending = NULL;
	on_answer(sub, answer, result, conn->request);
	if (conn->state != CONN_CLOSED)
		conn_forget_request(conn);
}

void
subscriber_request(struct conn *conn, struct request *req, const struct route *route)
{
	struct worker *w = conn->worker;
	const struct location *loc = route->loc;
	struct subscriber *sub = slab_get(&w->subscriber_slab);
	struct store_result result;
	struct store_watch *watches[1];
	struct store_hold hold;
	struct store_query query;
	enum store_answer answer;
	enum asked asked;

	if (sub == NULL) {
		conn_close(conn, "out of memory");
		return;
	}
	sub->conn = conn;
	sub->loc = loc;
	sub->cors_block = (uint16_t)route->cors_block;
	sub->ticket = ++w->next_ticket;
	conn->is_subscriber = true;
	conn->subscriber = sub;

	asked = read_position(req, &sub->asked);
	if (asked == ASKED_MALFORMED) {
		subscriber_refuse(sub, 400,
		    "the position is malformed: If-Modified-Since is an HTTP date, If-None-Match "
		    "one Etag, Last-Event-ID SECOND:TAG");
		return;
	}
	sub->has_asked = asked == ASKED_POSITION;
	sub->channel = channel_use(w, route->store, &route->keys[0]);
	if (sub->channel == NULL) {
		subscriber_refuse(sub, 503, "out of memory");
		return;
	}
	sub->may_wait = loc->polling == POLLING_LONG && !conn->peer_done && !w->draining;
	hold = (struct store_hold){
	    .mode = loc->concurrency == CONCURRENCY_LAST ? STORE_HOLD_LAST : STORE_HOLD_FIRST,
	    .place = loc->index,
	    .ticket = sub->ticket,
	};
	watches[0] = &sub->channel->watch;
	query = (struct store_query){
	    .has_after = sub->has_asked,
	    .after = sub->asked,
	    .create = loc->create_on_get,
	    .watches = sub->may_wait ? watches : NULL,
	    .hold = loc->concurrency == CONCURRENCY_BROADCAST ? NULL : &hold,
	};
	answer = store_next(
	    route->store, &route->keys[0], 1, &query, &result, on_next, sub, &sub->pending);
	if (answer == STORE_PENDING) {
		conn_set_state(conn, CONN_ANSWERING);
		wheel_clear(&conn->timer);
		if (conn_keep_request(conn, req) < 0)
			conn_close(conn, "out of memory");
		return;
	}
	on_answer(sub, answer, &result, req);
}
