#include "relay/subscriber.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "relay/asked.h"
#include "relay/channel.h"
#include "relay/config.h"
#include "relay/conn.h"
#include "relay/jsonp.h"
#include "relay/notices.h"
#include "relay/position.h"
#include "relay/relay.h"
#include "relay/render.h"
#include "relay/request.h"
#include "relay/response.h"
#include "relay/route.h"
#include "relay/transport.h"
#include "relay/websocket.h"
#include "relay/worker.h"
#include "relay/wshandshake.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Messages that one who is behind is given in one send, and in one turn of the loop. */
#define AT_ONCE_MAX       RENDER_AT_ONCE_MAX
#define AT_ONCE_BYTES_MAX ((size_t)256 * 1024)

static_assert(CONN_PARTS_MAX >= AT_ONCE_MAX, "what is read at once is sent at once");

/* ---- coming and going -------------------------------------------------------------- */

/*
 * Out of one channel, before its answer is sent: its client's next request, on whatever
 * worker, must find it gone.
 */
static void
leave_channel(struct subscription *s)
{
	struct subscriber *sub = s->sub;
	struct channel *ch = s->channel;

	if (!link_listed(&s->waiter))
		return;
	channel_leave(ch, s);
	if (sub->loc->concurrency != CONCURRENCY_BROADCAST) {
		struct store_hold hold = {.place = sub->loc->index, .ticket = sub->ticket};

		store_release(ch->store, &ch->watch, &hold);
	}
	if (s->noticed)
		notices_unsubscribe(sub->conn, sub->loc, ch);
	s->noticed = false;
}

static void
leave(struct subscriber *sub)
{
	for (unsigned i = 0; i < sub->n_subs; i++)
		leave_channel(&sub->subs[i]);
}

/* It is no longer the connection's, nor on any list. */
static void
free_subscriber(struct subscriber *sub)
{
	struct conn *conn = sub->conn;
	struct worker *w = conn->worker;

	conn_end_exchange(conn);
	for (unsigned i = 0; i < sub->n_subs; i++) {
		struct channel *ch = sub->subs[i].channel;

		if (ch == NULL)
			continue;
		if (sub->pending != NULL) {
			store_cancel(ch->store, sub->pending);
			sub->pending = NULL;
		}
		if (sub->n_subs == 1 && !sub->transport->stream)
			conn->channel = channel_remember(ch);
		channel_unuse(w, ch);
	}
	if (sub->subs != &sub->one)
		free(sub->subs);
	if (sub->transport == &websocket_transport)
		websocket_free(sub);
	else if (sub->own != NULL)
		free(sub->own);
	slab_put(&w->subscriber_slab, sub);
}

void
subscriber_end(struct conn *conn)
{
	struct subscriber *sub = conn->subscriber;

	leave(sub);
	free_subscriber(sub);
}

/* ---- answers of polls, and refusals ------------------------------------------------ */

/* A status and a sentence, in place of messages. */
static void
answer_refusal(struct subscriber *sub, unsigned status, const char *why)
{
	struct conn *conn = sub->conn;
	char fields[RESPONSE_FIELDS_SIZE];
	struct text t = text_in(fields, sizeof(fields));

	response_cors(&t, &sub->loc->cors, sub->cors_block, CORS_VARY_NONE);
	response_field(&t, "X-Push-Explain", why);
	if (status == 426) /* RFC 9110, 15.5.22, and RFC 6455, 4.4 */
		TEXT_LIT(
		    &t, "Upgrade: websocket\r\nConnection: Upgrade\r\n" WSHANDSHAKE_VERSION_LINE);
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
	char body[JSONP_NOTHING_MAX];

	if (sub->has_asked)
		response_position(&t, sub->asked);
	response_cors(&t, &sub->loc->cors, sub->cors_block, CORS_VARY_POSITION);
	assert(text_ok(&t));
	answer.fields_len = text_len(&t);
	if (sub->transport == &jsonp_transport) {
		/* A script element cannot read a status. */
		answer.status = 200;
		answer.type = JSONP_TYPE;
		answer.body = body;
		answer.body_len = jsonp_nothing(sub, body);
	}
	leave(sub);
	free_subscriber(sub);
	conn_answer(conn, &answer);
}

static void
variant_of(const struct subscriber *sub, struct render_variant *variant)
{
	*variant = (struct render_variant){
	    .loc = sub->loc,
	    .transport = sub->transport,
	    .own = sub->transport == &websocket_transport ? NULL : sub->own,
	    .http10 = sub->conn->http10,
	    .padding = sub->padding,
	    .say_channel = sub->loc->say_channel,
	};
	variant->gap = sub->gap;
	/* Headers are passed over by who does not know them; fields of streams are not. */
	if (!sub->transport->stream || sub->transport == &multipart_transport)
		variant->say_channel |= sub->n_subs > 1;
	if (sub->transport->stream) {
		variant->deflate_bits = sub->deflate_bits;
		variant->meta = sub->meta;
		return;
	}
	variant->cors_block = sub->cors_block;
	variant->close = sub->conn->close_after;
	variant->second = clock_wall_s();
}

/*
 * Whether it is sent the same bytes as the last one: nearly always all are of one kind,
 * and none has missed anything. To streams the last two do not matter any more.
 */
static bool
is_as_the_last(
    const struct subscriber *sub, const struct message *msg, const struct render_cache *cache)
{
	return cache->last != NULL && cache->last_kind == sub->kind &&
	       cache->last_loc == sub->loc && cache->msg == msg && !sub->gap &&
	       (sub->transport->stream || (cache->last_cors_block == sub->cors_block &&
					      cache->last_close == sub->conn->close_after));
}

/* What one who waits is sent of a message; borrowed, NULL when out of memory. */
static struct bytes *
shared_bytes(struct subscriber *sub, struct message *msg, struct render_cache *cache)
{
	struct render_variant variant;
	struct bytes *bytes;

	if (is_as_the_last(sub, msg, cache))
		return cache->last;
	variant_of(sub, &variant);
	/* What it missed while it was behind, and has not been told of. */
	if (sub->gap && sub->has_number)
		variant.lost = msg->number - sub->number - 1;
	bytes = render_cached(cache, sub->conn->worker, msg, &variant);
	if (!sub->gap && variant.own == NULL) {
		cache->last = bytes;
		cache->last_loc = sub->loc;
		cache->last_kind = sub->kind;
		cache->last_cors_block = sub->cors_block;
		cache->last_close = sub->conn->close_after;
	}
	return bytes;
}

/*
 * Ends a poll with its answer, borrowed, NULL when out of memory. False if the connection
 * is closed.
 */
static bool
answer_bytes(struct subscriber *sub, struct bytes *bytes)
{
	struct conn *conn = sub->conn;

	if (bytes == NULL) {
		conn_close(conn, "out of memory");
		return false;
	}
	leave(sub);
	free_subscriber(sub);
	return conn_send(conn, bytes);
}

/* What there is for a poll that has not waited. */
static void
answer_at_once(struct subscriber *sub, struct message *const *msgs, unsigned n)
{
	struct render_variant variant;
	struct bytes *bytes;

	assert(n > 0);
	variant_of(sub, &variant);
	bytes = sub->transport->render(sub->conn->worker, msgs, n, &variant);
	answer_bytes(sub, bytes);
	bytes_unref(bytes);
}

/* ---- streams ----------------------------------------------------------------------- */

static struct text
own_text(struct worker *w)
{
	return text_in(w->text_buf, w->text_size);
}

void
subscriber_finish(struct subscriber *sub, const char *data, size_t len)
{
	struct conn *conn = sub->conn;

	assert(conn->out == NULL);
	if (sub->transport == &websocket_transport || conn->http10)
		conn->close_after = true;
	leave(sub);
	free_subscriber(sub);
	conn_finish(conn, data, len);
}

/* Ends it now: nothing is queued. */
static void
finish_stream(struct subscriber *sub, unsigned status, const char *why)
{
	struct text t = own_text(sub->conn->worker);

	sub->transport->end(sub, status, why, &t);
	assert(text_ok(&t));
	subscriber_finish(sub, t.start, text_len(&t));
}

static void
end_stream(struct subscriber *sub, unsigned status, const char *why)
{
	if (sub->conn->out == NULL) {
		finish_stream(sub, status, why);
	} else if (sub->ending == 0) {
		sub->ending = (uint16_t)status;
		/* It is handed nothing more, so that it is not held. */
		leave(sub);
	}
}

/*
 * Instead of holding it. A browser's WebSocket is not shown a status, so that one is
 * opened and closed at once.
 */
static void
refuse(struct subscriber *sub, const struct request *req, unsigned status, const char *why)
{
	struct text t;

	if (sub->transport != &websocket_transport) {
		answer_refusal(sub, status, why);
		return;
	}
	t = own_text(sub->conn->worker);
	sub->transport->begin(sub, req, &t);
	sub->transport->end(sub, status, why, &t);
	assert(text_ok(&t));
	subscriber_finish(sub, t.start, text_len(&t));
}

void
subscriber_refuse(struct subscriber *sub, unsigned status, const char *why)
{
	if (sub->transport->stream)
		end_stream(sub, status, why);
	else
		answer_refusal(sub, status, why);
}

/* Up to a tick of the wheel earlier: what it wakes then must not take it for a ping. */
static bool
time_is_up(const struct subscriber *sub)
{
	return sub->ends_ms > 0 && clock_ms() + (1u << WHEEL_TICK_SHIFT) > sub->ends_ms;
}

static void
set_stream_timer(struct subscriber *sub)
{
	struct conn *conn = sub->conn;
	uint64_t ms = sub->pinged ? sub->loc->ping_timeout_ms : sub->loc->ping_interval_ms;

	if (sub->ends_ms > 0) {
		const uint64_t now = clock_ms();
		const uint64_t left = sub->ends_ms > now ? sub->ends_ms - now : 0;

		if (ms == 0 || left < ms)
			ms = left + 1;
	}
	if (ms > 0)
		wheel_set(conn->worker->wheel, &conn->timer, ms);
	else
		wheel_clear(&conn->timer);
}

/*
 * It has read all up to the store's newest id, and been told of a gap before that, unless
 * that goes out with the next message: it is then counted up to there, from where it stood
 * before, if it can be.
 */
static void
come_up(struct subscriber *sub, const struct store_result *result)
{
	sub->position = result->newest;
	if (!sub->gap) {
		sub->number = result->number;
		sub->has_number = sub->n_subs == 1;
	} else if (result->gap && result->lost == 0) {
		sub->has_number = false;
	}
}

static void
begin_to_wait(struct subscriber *sub)
{
	struct conn *conn = sub->conn;

	conn_set_state(conn, CONN_WAITING);
	set_stream_timer(sub);
	if (subscriber_reads(conn) && (conn->unread || conn->backlog != NULL))
		worker_resume(conn->worker, conn);
}

static void
given(struct subscriber *sub, const struct message *msg)
{
	sub->position = msg->id;
	sub->number = msg->number;
	sub->has_number = sub->n_subs == 1;
	sub->gap = false;
}

/*
 * Sends messages to a stream, and before them that some were lost. False if the
 * connection is closed. What the socket has no room for is left for later, all but the
 * first: its position is that of the last one taken.
 */
static bool
send_messages(struct subscriber *sub, struct message *const *msgs, unsigned n, uint64_t lost)
{
	struct conn *conn = sub->conn;
	struct worker *w = conn->worker;
	struct bytes *parts[AT_ONCE_MAX];
	struct render_variant variant;
	unsigned n_parts = 0;
	int taken = -1;

	variant_of(sub, &variant);
	variant.lost = lost;
	while (n_parts < n) {
		parts[n_parts] = sub->transport->render(w, &msgs[n_parts], 1, &variant);
		if (parts[n_parts] == NULL)
			break;
		n_parts++;
		variant.gap = false;
		variant.lost = 0;
	}
	if (n_parts > 0)
		taken = conn_write(conn, parts, n_parts);
	else
		conn_close(conn, "out of memory");
	for (unsigned i = 0; i < n_parts; i++)
		bytes_unref(parts[i]);
	if (taken < 0)
		return false;
	given(sub, msgs[taken - 1]);
	return true;
}

/* What the store has for a stream that is behind. */
static void
go_on(struct subscriber *sub, const struct store_result *result, struct message *const *msgs,
    unsigned n)
{
	struct conn *conn = sub->conn;

	sub->gap |= result->gap;
	if (n > 0) {
		if (!send_messages(sub, msgs, n, result->lost))
			return;
		if (conn->out != NULL)
			return;
		if (!result->rest && msgid_cmp(sub->position, msgs[n - 1]->id) == 0) {
			/* That was all up to newest, and of what came since notes are on the way:
			 * whoever has read it is held at once. */
			come_up(sub, result);
			begin_to_wait(sub);
			return;
		}
		/* There is more: others come first. */
		conn_set_state(conn, CONN_SENDING);
		conn_set_send_deadline(conn);
		worker_resume(conn->worker, conn);
		return;
	}
	if (sub->gap && sub->transport->gap != NULL) {
		struct text t = own_text(conn->worker);

		sub->transport->gap(sub, result->lost, result->newest, &t);
		sub->gap = false;
		if (conn_write_own(conn, t.start, text_len(&t)) < 0)
			return;
	}
	come_up(sub, result);
	if (conn->out == NULL)
		begin_to_wait(sub);
}

/* ---- asking the store -------------------------------------------------------------- */

/* A query with the room it needs. */
struct question {
	struct store_query query;
	struct store_hold hold;
	struct message *msgs[AT_ONCE_MAX]; /* the first is the result's */
	struct channel_key keys[LOCATION_CHANNELS_MAX];
	struct store_watch *watches[LOCATION_CHANNELS_MAX];
	unsigned n;
};

static void on_next(void *arg, enum store_answer answer, struct store_result *result);

/* query is to be filled in by the caller, but for what it says of the channels. */
static enum store_answer
ask(struct subscriber *sub, struct question *q, struct store_result *result)
{
	struct store *store = NULL;

	q->n = 0;
	for (unsigned i = 0; i < sub->n_subs; i++) {
		struct subscription *s = &sub->subs[i];

		if (s->channel == NULL)
			continue; /* it was deleted */
		store = s->channel->store;
		q->keys[q->n] = s->channel->id->key;
		q->watches[q->n++] = &s->channel->watch;
	}
	assert(store != NULL);
	if (sub->may_wait)
		q->query.watches = q->watches;
	return store_next(store, q->keys, q->n, &q->query, result, on_next, sub, &sub->pending);
}

/* The result's messages in one array; n of them, all counted. */
static unsigned
messages_of(struct question *q, const struct store_result *result)
{
	q->msgs[0] = result->msg;
	return result->msg == NULL ? 0 : 1 + result->n_more;
}

static void
unref_messages(struct message *const *msgs, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		message_unref(msgs[i]);
}

static void
ask_for_more(struct question *q)
{
	q->query.more = q->msgs + 1;
	q->query.more_max = AT_ONCE_MAX - 1;
	q->query.more_bytes = AT_ONCE_BYTES_MAX;
}

/* A stream that is behind has heard from the store. */
static void
on_behind(struct subscriber *sub, enum store_answer answer, const struct store_result *result,
    struct message *const *msgs, unsigned n)
{
	if (answer == STORE_FAILED) {
		end_stream(sub, 503, "the store has failed");
		return;
	}
	if (result->gap) {
		relay_slow(sub->conn->worker->relay, sub->loc);
		if (sub->loc->on_slow == ON_SLOW_CLOSE) {
			end_stream(
			    sub, 413, "too slow: messages were dropped before they were read");
			return;
		}
	}
	go_on(sub, result, msgs, n);
}

/* A stream reads on from its position. */
static void
read_on(struct subscriber *sub)
{
	struct question q;
	struct store_result result;
	enum store_answer answer;
	unsigned n;

	q.query = (struct store_query){
	    .has_after = true,
	    .after = sub->position,
	    .held = true,
	    .joined = sub->joined,
	    .has_after_number = sub->has_number,
	    .after_number = sub->number,
	};
	ask_for_more(&q);
	answer = ask(sub, &q, &result);
	if (answer == STORE_PENDING)
		return;
	n = answer == STORE_DONE ? messages_of(&q, &result) : 0;
	on_behind(sub, answer, &result, q.msgs, n);
	unref_messages(q.msgs, n);
}

void
subscriber_sent(struct conn *conn)
{
	struct subscriber *sub = conn->subscriber;

	if (sub->ending != 0)
		finish_stream(sub, sub->ending, "");
	else if (time_is_up(sub))
		finish_stream(sub, 408, "time is up");
	else if (sub->pending == NULL)
		read_on(sub);
}

/* The store has counted it in these channels, so from here on leave() must find it. */
static void
join(struct subscriber *sub, const struct store_result *result)
{
	for (unsigned i = 0; i < sub->n_subs; i++)
		channel_join(sub->subs[i].channel, &sub->subs[i]);
	sub->joined = result->newest;
}

static void
tell_django(struct subscriber *sub, const struct request *req)
{
	if (sub->loc->passthrough == NULL)
		return;
	for (unsigned i = 0; i < sub->n_subs; i++)
		sub->subs[i].noticed =
		    notices_subscribe(sub->conn, sub->loc, sub->subs[i].channel, req);
	if (sub->transport->stream)
		notices_ask_no_more(sub->conn, sub->loc);
}

/*
 * Up to a tenth earlier, never later: polls that began together do not end together.
 * The wheel rounds down to its tick, which is a part of that tenth.
 */
static uint32_t
jittered(struct worker *w, uint32_t ms)
{
	const uint32_t tenth = ms / 10, tick = 1u << WHEEL_TICK_SHIFT;

	if (tenth <= tick)
		return ms;
	/* Knuth's MMIX generator, whose high bits are good: random() takes a lock. */
	w->jitter = w->jitter * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return ms - (uint32_t)((w->jitter >> 32) * (tenth - tick) >> 32);
}

/* Joined: its head may go out now, for who has seen it counts for the next POST. */
static void
begin_stream(struct subscriber *sub, const struct store_result *result, struct message *const *msgs,
    unsigned n, const struct request *req)
{
	struct conn *conn = sub->conn;
	const uint32_t timeout_ms = sub->loc->timeout_ms[sub->transport->kind];
	struct text t;

	/* Where it would read on from, if the socket had no room for its head. */
	sub->position = sub->has_asked ? sub->asked
			: n > 0        ? msgid_before(msgs[0]->id)
				       : result->newest;
	sub->ends_ms = timeout_ms == 0 ? 0 : clock_ms() + jittered(conn->worker, timeout_ms);
	sub->begun = true;
	tell_django(sub, req);
	t = own_text(conn->worker);
	sub->transport->begin(sub, req, &t);
	assert(text_ok(&t));
	if (conn_write_own(conn, t.start, text_len(&t)) < 0)
		return;
	if (conn->worker->draining)
		end_stream(sub, 503, "the relay ends");
	else if (conn->out == NULL)
		go_on(sub, result, msgs, n);
}

/* A poll that nothing newer has been found for. */
static void
hold_poll(struct subscriber *sub, const struct store_result *result, const struct request *req)
{
	struct conn *conn = sub->conn;
	const uint32_t timeout_ms = sub->loc->timeout_ms[sub->transport->kind];

	sub->position = result->newest;
	conn_set_state(conn, CONN_WAITING);
	if (timeout_ms > 0)
		wheel_set(conn->worker->wheel, &conn->timer, jittered(conn->worker, timeout_ms));
	else
		wheel_clear(&conn->timer);
	tell_django(sub, req);
}

/* The store's answer to a request. msgs are borrowed. */
static void
on_answer(struct subscriber *sub, enum store_answer answer, struct store_result *result,
    struct message *const *msgs, unsigned n, const struct request *req)
{
	struct conn *conn = sub->conn;
	const struct location *loc = sub->loc;
	const bool stream = sub->transport->stream;

	if (answer == STORE_FAILED) {
		refuse(sub, req, 503, "the store has failed; the log says why");
		return;
	}
	/* Who only named a time has missed nothing. */
	if (sub->from_time)
		result->gap = false;
	sub->gap = result->gap;
	switch (result->status) {
	case STORE_OK:
		if (stream)
			break;
		answer_at_once(sub, msgs, n);
		return;
	case STORE_CONFLICT:
		refuse(sub, req, 409, "another subscriber holds this channel");
		return;
	case STORE_FULL:
		refuse(sub, req, 403, "the channel has max_subscribers already");
		return;
	case STORE_NO_CHANNEL:
		refuse(sub, req, 404, "there is no such channel");
		return;
	case STORE_NOTHING_NEWER:
		break;
	case STORE_TOO_LARGE:
	case STORE_NO_ROOM:
		assert(false && "an answer to publishers");
	}
	if (sub->may_wait)
		join(sub, result);
	if (!stream && loc->polling == POLLING_INTERVAL) {
		answer_nothing_new(sub, 304);
		return;
	}
	/* It may also have come while the store was asked. */
	if (conn->peer_done) {
		conn_close(conn, "the subscriber has left");
		return;
	}
	if (stream)
		begin_stream(sub, result, msgs, n, req);
	else if (conn->worker->draining)
		answer_nothing_new(sub, loc->timeout_status);
	else
		hold_poll(sub, result, req);
}

/* A store that did not know at once answers. */
static void
on_next(void *arg, enum store_answer answer, struct store_result *result)
{
	struct subscriber *sub = arg;
	struct conn *conn = sub->conn;
	struct message *msgs[AT_ONCE_MAX];
	unsigned n = 0;

	sub->pending = NULL;
	if (answer == STORE_DONE && result->msg != NULL) {
		msgs[n++] = result->msg;
		for (unsigned i = 0; i < result->n_more; i++)
			msgs[n++] = result->more[i];
	}
	if (sub->begun) {
		on_behind(sub, answer, result, msgs, n);
		return;
	}
	on_answer(sub, answer, result, msgs, n, conn->request);
	if (conn->state != CONN_CLOSED)
		conn_forget_request(conn);
}

/* ---- the request ------------------------------------------------------------------- */

/* Its channels, used. 0, or -1 when out of memory. */
static int
use_channels(struct subscriber *sub, const struct route *route)
{
	struct worker *w = sub->conn->worker;

	sub->subs = &sub->one;
	if (route->n_keys > 1) {
		sub->subs = calloc(route->n_keys, sizeof(*sub->subs));
		if (sub->subs == NULL) {
			sub->subs = &sub->one;
			return -1;
		}
	}
	for (unsigned i = 0; i < route->n_keys; i++) {
		struct subscription *s = &sub->subs[i];

		s->sub = sub;
		s->channel = channel_use(w, route->store, &route->keys[i], route->channel);
		if (s->channel == NULL)
			return -1;
		sub->n_subs++;
	}
	return 0;
}

/*
 * A subscriber with the transport that the request asks for. NULL: there is none, for the
 * request was answered, or the connection closed.
 */
static struct subscriber *
new_subscriber(struct conn *conn, struct request *req, const struct route *route)
{
	struct worker *w = conn->worker;
	struct subscriber *sub = slab_get(&w->subscriber_slab);
	enum transport_kind kind;
	const char *why = NULL;
	unsigned status;

	if (sub == NULL) {
		conn_close(conn, "out of memory");
		return NULL;
	}
	sub->conn = conn;
	sub->loc = route->loc;
	sub->subs = &sub->one;
	sub->cors_block = (uint16_t)route->cors_block;
	sub->ticket = ++w->next_ticket;
	conn->exchange = EXCHANGE_SUBSCRIBER;
	conn->subscriber = sub;

	status = transport_choose(route->loc, req, &kind, &why);
	sub->transport = transport_of(status == 0 ? kind : TRANSPORT_LONGPOLL);
	if (status == 0 && sub->transport->accept != NULL)
		status = sub->transport->accept(sub, req, route, &why);
	if (status == 0) {
		sub->form = (uint8_t)(kind | (conn->http10 ? STREAM_HTTP10 : 0u) |
				      (route->n_keys > 1 ? STREAM_SEVERAL : 0u));
		return sub;
	}
	answer_refusal(sub, status, why);
	return NULL;
}

void
subscriber_refuse_request(struct conn *conn, struct request *req, const struct route *route,
    unsigned status, const char *why)
{
	struct subscriber *sub = new_subscriber(conn, req, route);

	if (sub != NULL)
		refuse(sub, req, status, why);
}

void
subscriber_request(struct conn *conn, struct request *req, const struct route *route)
{
	const struct worker *w = conn->worker;
	const struct location *loc = route->loc;
	struct subscriber *sub;
	struct store_start start = loc->first_message;
	struct store_result result;
	struct question q;
	enum store_answer answer;
	enum asked asked;
	unsigned n;

	sub = new_subscriber(conn, req, route);
	if (sub == NULL)
		return;
	asked = asked_of(req, &sub->asked, &start);
	if (asked == ASKED_MALFORMED) {
		answer_refusal(sub, 400,
		    "the position is malformed: If-Modified-Since is an HTTP date, If-None-Match "
		    "one Etag, Last-Event-ID SECOND:TAG, ?time= and ?backtrack= are numbers");
		return;
	}
	sub->has_asked = asked == ASKED_POSITION || asked == ASKED_TIME;
	sub->from_time = asked == ASKED_TIME;
	if (use_channels(sub, route) < 0) {
		refuse(sub, req, 503, "out of memory");
		return;
	}
	sub->may_wait = sub->transport->stream ||
			(loc->polling == POLLING_LONG && !conn->peer_done && !w->draining);
	q.hold = (struct store_hold){
	    .mode = loc->concurrency == CONCURRENCY_LAST ? STORE_HOLD_LAST : STORE_HOLD_FIRST,
	    .place = loc->index,
	    .ticket = sub->ticket,
	};
	q.query = (struct store_query){
	    .has_after = sub->has_asked,
	    .after = sub->asked,
	    .start = start,
	    .create = loc->create_on_get,
	    .stream = sub->transport->stream,
	    .hold = loc->concurrency == CONCURRENCY_BROADCAST ? NULL : &q.hold,
	    .max_subscribers = loc->max_subscribers,
	};
	if (sub->transport->stream || sub->transport == &jsonp_transport || loc->batch != BATCH_OFF)
		ask_for_more(&q);
	answer = ask(sub, &q, &result);
	if (answer == STORE_PENDING) {
		conn_set_state(conn, CONN_ANSWERING);
		wheel_clear(&conn->timer);
		if (conn_keep_request(conn, req) < 0)
			conn_close(conn, "out of memory");
		return;
	}
	n = answer == STORE_DONE ? messages_of(&q, &result) : 0;
	on_answer(sub, answer, &result, q.msgs, n, req);
	unref_messages(q.msgs, n);
}

/* ---- what happens to one that is held ---------------------------------------------- */

/* Its channel is deleted, one of several perhaps. */
static void
end_subscription(struct subscription *s)
{
	struct subscriber *sub = s->sub;
	struct channel *ch = s->channel;

	leave_channel(s);
	for (unsigned i = 0; i < sub->n_subs; i++) {
		if (sub->subs[i].channel == NULL || &sub->subs[i] == s)
			continue;
		/* It goes on with the others. */
		s->channel = NULL;
		channel_unuse(sub->conn->worker, ch);
		return;
	}
	subscriber_refuse(sub, 410, "the channel was deleted");
}

bool
subscriber_note(struct subscription *s, const struct store_note *note, struct render_cache *cache)
{
	struct subscriber *sub = s->sub;
	struct conn *conn = sub->conn;
	struct bytes *bytes;

	if (note->note.kind == NOTE_DROPPED) {
		/* Who came after the deletion waits in another channel of this name. */
		if (msgid_cmp(sub->joined, note->at) >= 0)
			return false;
		end_subscription(s);
		return true;
	}
	if (msgid_cmp(sub->position, note->at) >= 0)
		/* It has read it from the store; or it came later, and was not held then. */
		return note->msg->stored && msgid_cmp(sub->joined, note->at) < 0;
	if (conn->state != CONN_WAITING)
		return note->msg->stored; /* it reads on when its socket takes more */
	bytes = shared_bytes(sub, note->msg, cache);
	if (!sub->transport->stream)
		return answer_bytes(sub, bytes);
	if (bytes == NULL) {
		conn_close(conn, "out of memory");
		return false;
	}
	given(sub, note->msg);
	return conn_write(conn, &bytes, 1) > 0;
}

/* A stream's turn to be pinged, or to end. */
static void
stream_timed_out(struct subscriber *sub)
{
	struct conn *conn = sub->conn;
	struct text t;

	if (time_is_up(sub)) {
		end_stream(sub, 408, "time is up");
		return;
	}
	if (sub->pinged) {
		conn_close(conn, "no answer to a ping");
		return;
	}
	t = own_text(conn->worker);
	sub->transport->ping(sub, &t);
	if (text_len(&t) > 0 && conn_write_own(conn, t.start, text_len(&t)) < 0)
		return;
	if (conn->out == NULL)
		set_stream_timer(sub);
}

void
subscriber_timed_out(struct conn *conn)
{
	struct subscriber *sub = conn->subscriber;

	if (sub->transport->stream)
		stream_timed_out(sub);
	else
		answer_nothing_new(sub, sub->loc->timeout_status);
}

void
subscriber_drain(struct conn *conn)
{
	struct subscriber *sub = conn->subscriber;

	conn->close_after = true;
	if (!sub->transport->stream)
		answer_nothing_new(sub, sub->loc->timeout_status);
	else if (sub->begun)
		end_stream(sub, 503, "the relay ends");
}

bool
subscriber_converses(const struct conn *conn)
{
	return conn_subscribes(conn) && conn->subscriber->transport == &websocket_transport;
}

bool
subscriber_reads(const struct conn *conn)
{
	return conn->state == CONN_WAITING && subscriber_converses(conn) &&
	       !websocket_is_publishing(conn->subscriber);
}

size_t
subscriber_input(struct conn *conn, char *data, size_t len)
{
	struct subscriber *sub = conn->subscriber;

	/* Whatever it is, the peer lives. */
	if (sub->pinged) {
		sub->pinged = false;
		set_stream_timer(sub);
	}
	return websocket_input(sub, data, len);
}
