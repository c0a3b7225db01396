#include "relay/statistics.h"

#include "base/clock.h"
#include "relay/bytes.h"
#include "relay/config.h"
#include "relay/conn.h"
#include "relay/relay.h"
#include "relay/request.h"
#include "relay/response.h"
#include "relay/route.h"
#include "relay/tally.h"
#include "relay/worker.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A body is not made longer than this: about 100,000 channels of push-stream's usual ids. */
#define BODY_MAX (16 * 1024 * 1024)
/* The status line and what response_answer() adds, beside Server, Date and the fields. */
#define HEAD_ROOM 512

enum asked {
	ASKED_SUMMARY,
	ASKED_CHANNEL,
	ASKED_CHANNELS,
	ASKED_BEGINNING, /* all whose ids begin with the one key */
};

/* A request that is being answered: conn->statistics. Its worker's alone. */
struct statistics {
	struct conn *conn;
	struct store *store;
	struct store_op *pending; /* of the call under way */
	const struct location *loc;
	unsigned cors_block;
	enum asked asked;
	struct store_stats stats;

	/* The body as far as it is written. */
	struct tally tally;
	char *body;
	size_t body_len, body_size;

	struct store_cursor cursor;
	unsigned n_listed;
	bool truncated;
	struct store_listed listed[STORE_LIST_MAX]; /* the store's, while a call is under way */

	unsigned n_keys;
	struct channel_key keys[]; /* their bytes are behind them */
};

/* Off its connection, and away. */
static void
forget(struct statistics *st)
{
	conn_end_exchange(st->conn);
	free(st->body);
	free(st);
}

void
statistics_end(struct conn *conn)
{
	struct statistics *st = conn->statistics;

	if (st->pending != NULL)
		store_cancel(st->store, st->pending);
	forget(st);
}

/* ---- the answer ---- */

static void
refuse(struct statistics *st, unsigned status, const char *why)
{
	struct conn *conn = st->conn;
	char fields[RESPONSE_FIELDS_SIZE];
	struct text t = text_in(fields, sizeof(fields));

	response_cors(&t, &st->loc->cors, st->cors_block, CORS_VARY_NONE);
	assert(text_ok(&t));
	forget(st);
	conn_answer_text(conn, status, fields, text_len(&t), why);
}

/* Sends the body. It may be longer than what conn_answer() has room for. */
static void
send_body(struct statistics *st)
{
	struct conn *conn = st->conn;
	struct worker *w = conn->worker;
	char fields[RESPONSE_FIELDS_SIZE];
	struct text f = text_in(fields, sizeof(fields)), t;
	struct answer answer = {
	    .status = 200,
	    .fields = fields,
	    .type = info_content_type(st->tally.format),
	    .body = st->body,
	    .body_len = st->body_len,
	};
	struct bytes *bytes;

	response_cors(&f, &st->loc->cors, st->cors_block, CORS_VARY_ACCEPT);
	response_field(&f, "Cache-Control", "no-cache");
	if (st->truncated)
		response_field(&f, "X-Push-Truncated", "1");
	assert(text_ok(&f));
	answer.fields_len = text_len(&f);
	bytes = bytes_new(HEAD_ROOM + w->head_lines_len + answer.fields_len + answer.body_len);
	if (bytes == NULL) {
		conn_close(conn, "out of memory");
		return;
	}
	if (w->draining)
		conn->close_after = true;
	t = text_in(bytes->data, bytes->len);
	response_answer(&t, conn, &answer);
	assert(text_ok(&t));
	bytes->len = text_len(&t);
	forget(st);
	conn_send(conn, bytes);
	bytes_unref(bytes);
}

/* ---- the body ---- */

/* Makes room for a piece of it. 0, or -1 when out of memory. */
static int
begin_piece(struct statistics *st, size_t room)
{
	size_t size = st->body_size;
	char *body;

	if (size - st->body_len < room) {
		size = 2 * size > st->body_len + room ? 2 * size : st->body_len + room;
		body = realloc(st->body, size);
		if (body == NULL)
			return -1;
		st->body = body;
		st->body_size = size;
	}
	st->tally.t = text_in(st->body + st->body_len, st->body_size - st->body_len);
	return 0;
}

static void
end_piece(struct statistics *st)
{
	assert(text_ok(&st->tally.t));
	st->body_len += text_len(&st->tally.t);
}

static struct tally_head
head_of(const struct statistics *st, char hostname[HOST_NAME_MAX + 1])
{
	if (gethostname(hostname, HOST_NAME_MAX) < 0)
		hostname[0] = '\0';
	hostname[HOST_NAME_MAX] = '\0';
	return (struct tally_head){
	    .hostname = hostname,
	    .now_s = clock_wall_s(),
	    .uptime_s = (clock_ms() - st->conn->worker->relay->started_ms) / 1000,
	    .channels = st->stats.channels,
	};
}

/* How many of the subscribers are this worker's. */
static uint64_t
subscribers_of(const struct statistics *st, const struct worker *w)
{
	for (size_t i = 0; i < ARRAY_LEN(st->stats.by_worker); i++)
		if (st->stats.by_worker[i].worker == w->mailbox)
			return st->stats.by_worker[i].subscribers;
	return 0;
}

static int
write_summary(struct statistics *st)
{
	const struct relay *relay = st->conn->worker->relay;
	struct tally_worker workers[STORE_TOTALS];
	char hostname[HOST_NAME_MAX + 1];
	const struct tally_head head = head_of(st, hostname);
	struct tally_summary summary = {
	    .published = st->stats.published,
	    .stored = st->stats.stored,
	    .subscribers = st->stats.subscribers,
	    .memory = st->stats.bytes,
	    .workers = workers,
	    .n_workers = relay->n_workers,
	};

	assert(relay->n_workers <= ARRAY_LEN(workers));
	for (unsigned i = 0; i < relay->n_workers; i++)
		workers[i] = (struct tally_worker){
		    .pid = atomic_load(&relay->workers[i]->thread_id),
		    .subscribers = subscribers_of(st, relay->workers[i]),
		};
	for (size_t i = 0; i < relay->config->n_locations; i++) {
		if (relay->config->locations[i].store != st->loc->store)
			continue;
		summary.slow_gaps += atomic_load(&relay->counters[i].slow_gaps);
		summary.slow_closes += atomic_load(&relay->counters[i].slow_closes);
	}
	if (begin_piece(st, TALLY_HEAD_ROOM(strlen(hostname)) + TALLY_SUMMARY_ROOM +
				relay->n_workers * (size_t)TALLY_WORKER_ROOM) < 0)
		return -1;
	tally_summary(&st->tally, &head, &summary);
	end_piece(st);
	return 0;
}

static int
write_list_begin(struct statistics *st)
{
	char hostname[HOST_NAME_MAX + 1];
	const struct tally_head head = head_of(st, hostname);

	if (begin_piece(st, TALLY_HEAD_ROOM(strlen(hostname))) < 0)
		return -1;
	tally_list_begin(&st->tally, &head);
	end_piece(st);
	return 0;
}

static int
write_channel(struct statistics *st, const struct store_listed *channel)
{
	const size_t room = TALLY_CHANNEL_ROOM(channel->id->key.len);

	if (st->truncated)
		return 0;
	if (st->asked == ASKED_BEGINNING &&
	    (st->n_listed == st->loc->max_listed || st->body_len + room > BODY_MAX)) {
		st->truncated = true;
		return 0;
	}
	if (begin_piece(st, room) < 0)
		return -1;
	if (st->asked == ASKED_CHANNEL)
		tally_channel(&st->tally, channel);
	else
		tally_list_channel(&st->tally, channel);
	end_piece(st);
	st->n_listed++;
	return 0;
}

static int
write_list_end(struct statistics *st)
{
	if (begin_piece(st, TALLY_END_ROOM) < 0)
		return -1;
	tally_list_end(&st->tally, st->truncated);
	end_piece(st);
	return 0;
}

/* ---- what the store says ---- */

static void
failed(struct statistics *st)
{
	refuse(st, 503, "the store has failed; the log says why");
}

/* All that is told of is written. */
static void
list_complete(struct statistics *st)
{
	if (st->asked == ASKED_CHANNEL && st->n_listed == 0)
		refuse(st, 404, "there is no such channel");
	else if (st->asked != ASKED_CHANNEL && write_list_end(st) < 0)
		conn_close(st->conn, "out of memory");
	else
		send_body(st);
}

static void
heard_list(struct statistics *st, enum store_answer answer, const struct store_result *result)
{
	int error = 0;

	if (answer == STORE_FAILED) {
		failed(st);
		return;
	}
	for (unsigned i = 0; i < result->n_listed; i++) {
		error |= error < 0 ? -1 : write_channel(st, &st->listed[i]);
		channel_id_unref(st->listed[i].id);
	}
	if (error < 0)
		conn_close(st->conn, "out of memory");
	else if (st->cursor.done || st->truncated)
		list_complete(st);
	else
		worker_resume(st->conn->worker, st->conn);
}

static void
on_list(void *arg, enum store_answer answer, struct store_result *result)
{
	struct statistics *st = arg;

	st->pending = NULL;
	heard_list(st, answer, result);
}

/* The next slice. One more than may be listed tells whether the list is cut. */
static void
ask_list(struct statistics *st)
{
	const bool by_keys = st->asked != ASKED_BEGINNING;
	const struct store_selection selection = {
	    .keys = by_keys ? st->keys : NULL,
	    .n_keys = by_keys ? st->n_keys : 0,
	    .prefix = st->keys[0].bytes,
	    .prefix_len = st->keys[0].len,
	};
	struct store_result result = {.status = STORE_OK};
	unsigned max = STORE_LIST_MAX;
	enum store_answer answer;

	if (!by_keys && st->loc->max_listed - st->n_listed < max)
		max = st->loc->max_listed - st->n_listed + 1;
	answer = store_list(st->store, &selection, &st->cursor, st->listed, max, &result, on_list,
	    st, &st->pending);
	if (answer != STORE_PENDING)
		heard_list(st, answer, &result);
}

static void
heard_stats(struct statistics *st, enum store_answer answer)
{
	const bool summary = st->asked == ASKED_SUMMARY;

	if (answer == STORE_FAILED)
		failed(st);
	else if ((summary ? write_summary(st) : write_list_begin(st)) < 0)
		conn_close(st->conn, "out of memory");
	else if (summary)
		send_body(st);
	else
		ask_list(st);
}

static void
on_stats(void *arg, enum store_answer answer, UNUSED struct store_result *result)
{
	struct statistics *st = arg;

	st->pending = NULL;
	heard_stats(st, answer);
}

void
statistics_resume(struct conn *conn)
{
	if (conn->statistics->pending == NULL)
		ask_list(conn->statistics);
}

/* ---- the request ---- */

static bool
is_beginning(const struct channel_key *key)
{
	return (key->len == 3 && memcmp(key->bytes, "ALL", 3) == 0) ||
	       key->bytes[key->len - 1] == '*';
}

/* What the request asks for; false: for both a beginning and something else. */
static bool
read_keys(const struct route *route, enum asked *asked)
{
	unsigned beginnings = 0;

	for (unsigned i = 0; i < route->n_keys; i++)
		beginnings += is_beginning(&route->keys[i]);
	if (beginnings > 0)
		*asked = ASKED_BEGINNING;
	else if (route->n_keys == 0)
		*asked = ASKED_SUMMARY;
	else
		*asked = route->n_keys == 1 ? ASKED_CHANNEL : ASKED_CHANNELS;
	return beginnings == 0 || route->n_keys == 1;
}

/* Returns new, with copies of the keys, or NULL when out of memory. */
static struct statistics *
statistics_new(const struct route *route)
{
	size_t len = 0;
	struct statistics *st;
	unsigned char *bytes;

	for (unsigned i = 0; i < route->n_keys; i++)
		len += route->keys[i].len;
	st = calloc(1, sizeof(*st) + route->n_keys * sizeof(st->keys[0]) + len);
	if (st == NULL)
		return NULL;
	st->n_keys = route->n_keys;
	bytes = (unsigned char *)&st->keys[st->n_keys];
	for (unsigned i = 0; i < st->n_keys; i++) {
		st->keys[i] = route->keys[i];
		st->keys[i].bytes = memcpy(bytes, route->keys[i].bytes, route->keys[i].len);
		bytes += route->keys[i].len;
	}
	return st;
}

void
statistics_request(struct conn *conn, struct request *req, const struct route *route)
{
	const struct slice accept = request_header(req, HEADER_ACCEPT);
	struct store_result result = {.status = STORE_OK};
	struct statistics *st = statistics_new(route);
	enum store_answer answer;

	if (st == NULL) {
		conn_close(conn, "out of memory");
		return;
	}
	st->conn = conn;
	st->store = route->store;
	st->loc = route->loc;
	st->cors_block = route->cors_block;
	/* What push-stream answers where nothing is asked for. */
	st->tally.format = info_negotiate(accept.p, accept.len, INFO_JSON);
	conn->exchange = EXCHANGE_STATISTICS;
	conn->statistics = st;
	conn_set_state(conn, CONN_ANSWERING);
	wheel_clear(&conn->timer);
	if (!read_keys(route, &st->asked)) {
		refuse(st, 400, "\"ALL\" and an id that ends with \"*\" are asked for alone");
		return;
	}
	if (st->asked == ASKED_BEGINNING)
		st->keys[0].len =
		    st->keys[0].bytes[st->keys[0].len - 1] == '*' ? st->keys[0].len - 1 : 0;
	if (st->asked == ASKED_CHANNEL) {
		ask_list(st);
		return;
	}
	answer = store_stats(st->store, &st->stats, &result, on_stats, st, &st->pending);
	if (answer != STORE_PENDING)
		heard_stats(st, answer);
}
