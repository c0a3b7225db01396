#include "relay/worker.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/table.h"
#include "base/text.h"
#include "passthrough/attendance.h"
#include "passthrough/passthrough.h"
#include "relay/config.h"
#include "relay/listener.h"
#include "relay/location.h"
#include "relay/notices.h"
#include "relay/position.h"
#include "relay/publisher.h"
#include "relay/relay.h"
#include "relay/request.h"
#include "relay/subscriber.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What an answer has beside Server: a CORS block, a position, a sentence. */
#define ANSWER_ROOM 16384

/* How often a draining worker looks whether it is done. */
#define DRAIN_TICK_MS 10

static void
on_wheel(UNUSED void *arg, struct wheel_entry *e)
{
	conn_timed_out(CONTAINER_OF(e, struct conn, timer));
}

static void
on_resume(UNUSED evutil_socket_t fd, UNUSED short what, void *arg)
{
	struct worker *w = arg;
	struct conn *conn = w->resume_first, *next;

	/* Those that ask again while we are here get their turn in the next round. */
	w->resume_first = NULL;
	w->resume_last = &w->resume_first;
	for (; conn != NULL; conn = next) {
		next = conn->resume_next;
		conn->resume_next = NULL;
		conn->in_resume = false;
		if (conn->state == CONN_CLOSED)
			worker_reap(w); /* it was waiting for this */
		else
			conn_resume(conn);
	}
}

void
worker_resume(struct worker *w, struct conn *conn)
{
	/* A timer, not event_active(): that one would run before the kernel is asked again. */
	static const struct timeval at_once = {0, 0};

	if (conn->in_resume)
		return;
	if (w->resume_first == NULL)
		evtimer_add(w->resume_event, &at_once);
	conn->in_resume = true;
	conn->resume_next = NULL;
	*w->resume_last = conn;
	w->resume_last = &conn->resume_next;
}

static void
on_reap(UNUSED evutil_socket_t fd, UNUSED short what, void *arg)
{
	struct worker *w = arg;

	LIST_EACH_SAFE (l, &w->conns[CONN_CLOSED]) {
		struct conn *conn = CONTAINER_OF(l, struct conn, link);

		if (!conn->in_resume)
			conn_free(conn);
	}
}

void
worker_reap(struct worker *w)
{
	event_active(w->reap_event, EV_TIMEOUT, 0);
}

void
worker_conn_gone(struct worker *w)
{
	listener_resume(w->listener);
}

const struct request_limits *
worker_request_limits(const struct worker *w)
{
	return &w->request_limits;
}

const char *
worker_head_lines(struct worker *w)
{
	const int64_t now = clock_wall_s();

	if (now != w->head_second) {
		w->head_second = now;
		http_date_format(now, w->head_lines + w->server_line_len + strlen("Date: "));
	}
	return w->head_lines;
}

static int
make_head_lines(struct worker *w)
{
	const char *name = w->config->servername;
	const size_t size = (name == NULL ? 0 : strlen(name)) + 64;
	struct text t;

	w->head_lines = malloc(size);
	if (w->head_lines == NULL)
		return -1;
	t = text_in(w->head_lines, size);
	if (name != NULL) {
		TEXT_LIT(&t, "Server: ");
		text_str(&t, name);
		TEXT_LIT(&t, "\r\n");
	}
	w->server_line_len = text_len(&t);
	TEXT_LIT(&t, "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n");
	w->head_lines_len = text_len(&t);
	w->head_second = -1;
	return 0;
}

static void
on_second(UNUSED evutil_socket_t fd, UNUSED short what, void *arg)
{
	struct worker *w = arg;
	const struct timeval second = {1, 0}, soon = {0, 10000};
	bool more = false;

	conns_ask_waiting(w);
	channels_sweep(&w->channels);
	if (w->index == 0)
		for (unsigned i = 0; i < w->relay->n_stores; i++)
			more |= store_sweep(w->relay->stores[i]);
	evtimer_add(w->second_event, more ? &soon : &second);
}

/* Nothing is left but the loop itself, nor will anything come from another worker. */
static bool
has_drained(const struct worker *w)
{
	return w->all_empty && passthrough_idle(w->passthrough);
}

static void
on_drain(UNUSED evutil_socket_t fd, UNUSED short what, void *arg)
{
	struct worker *w = arg;
	const struct timeval tick = {0, DRAIN_TICK_MS * 1000};

	if (!w->empty && w->n_conns == 0) {
		w->empty = true;
		relay_worker_empty(w->relay);
	}
	if (has_drained(w))
		relay_worker_drained(w->relay);
	else
		evtimer_add(w->drain_event, &tick);
}

/* In this order: no one new, those who wait, those who are idle, those who linger; then
 * the rest ends by itself, publishers when they are answered, notices when they are out. */
static void
drain(struct worker *w)
{
	w->draining = true;
	listener_drain(w->listener);
	LIST_EACH_SAFE (l, &w->conns[CONN_WAITING])
		conn_drain(CONTAINER_OF(l, struct conn, link));
	LIST_EACH_SAFE (l, &w->conns[CONN_SENDING])
		conn_drain(CONTAINER_OF(l, struct conn, link));
	LIST_EACH_SAFE (l, &w->conns[CONN_READING])
		conn_drain(CONTAINER_OF(l, struct conn, link));
	attendance_drain(w->attendance);
	passthrough_drain(w->passthrough);
	on_drain(-1, 0, w);
}

static bool
on_note(void *arg, struct note *note)
{
	struct worker *w = arg;

	switch (note->kind) {
	case NOTE_APPENDED:
	case NOTE_DROPPED:
	case NOTE_DISPLACED:
		return channel_work_note(w, note);
	case NOTE_ANSWERED: {
		struct reply_note *reply = CONTAINER_OF(note, struct reply_note, note);

		publisher_heard(reply->publication, reply->sent);
		free(reply);
		return true;
	}
	case NOTE_JOINED:
	case NOTE_LEFT:
		notices_work_note(w, note);
		return true;
	case NOTE_DRAIN:
		free(note);
		drain(w);
		return true;
	case NOTE_EMPTY:
		free(note);
		w->all_empty = true;
		return true;
	case NOTE_STOP:
		free(note);
		w->stopped = true;
		event_base_loopbreak(w->base);
		return true;
	}
	return true;
}

static void
on_note_ahead(const struct note *note, unsigned ahead)
{
	if (note->kind == NOTE_APPENDED)
		channel_expect_note(note, ahead);
}

/*
 * What is still in a mailbox at the end. All connections are closed, and one thread is
 * left: what a publication still waits for is told here, so that it goes.
 */
static void
forget_note(struct note *note)
{
	switch (note->kind) {
	case NOTE_APPENDED:
	case NOTE_DROPPED:
	case NOTE_DISPLACED: {
		struct store_note *sn = CONTAINER_OF(note, struct store_note, note);

		if (sn->reply != NULL)
			publisher_heard(sn->reply, false);
		channel_free_note(sn);
		break;
	}
	case NOTE_ANSWERED: {
		struct reply_note *reply = CONTAINER_OF(note, struct reply_note, note);

		publisher_heard(reply->publication, reply->sent);
		free(reply);
		break;
	}
	case NOTE_JOINED:
	case NOTE_LEFT:
		notices_forget_note(note);
		break;
	case NOTE_DRAIN:
	case NOTE_EMPTY:
	case NOTE_STOP:
		free(note);
		break;
	}
}

static struct event_base *
new_base(void)
{
	struct event_config *cfg = event_config_new();
	struct event_base *base = NULL;

	if (cfg == NULL)
		return NULL;
	/* One thread a base: what comes from others comes by the mailbox's eventfd. */
	event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV);
	if (event_config_require_features(cfg, EV_FEATURE_ET | EV_FEATURE_EARLY_CLOSE) == 0)
		base = event_base_new_with_config(cfg);
	event_config_free(cfg);
	return base;
}

/* This worker's part of what bounds the relay as a whole. */
static unsigned
share_of(unsigned whole, unsigned n_workers)
{
	return whole / n_workers > 0 ? whole / n_workers : 1;
}

/* What of the configuration goes into an answer as it is. */
static size_t
texts_len(const struct location *loc)
{
	const char *const texts[] = {loc->header_template, loc->footer_template, loc->ping_message,
	    loc->heartbeat_out, loc->content_type};
	size_t len = loc->stream_separator_len;

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		len += texts[i] == NULL ? 0 : strlen(texts[i]);
	for (size_t i = 0; i < loc->n_padding; i++)
		len += loc->padding[i].head;
	return len;
}

struct worker *
worker_new(struct relay *relay, unsigned index)
{
	const struct config *config = relay->config;
	struct worker *w = calloc(1, sizeof(*w));
	struct passthrough_limits limits = {
	    .notices = share_of(config->limits.notices, relay->n_workers),
	    .connections = share_of(config->limits.notice_connections, relay->n_workers),
	    .timeout_ms = config->limits.notice_timeout_ms,
	    .retry_ms = config->limits.notice_retry_ms,
	};

	if (w == NULL)
		goto err;
	w->relay = relay;
	w->index = index;
	w->config = config;
	w->jitter = table_hash(&index, sizeof(index)); /* seeded */
	w->request_limits = (struct request_limits){
	    .target_size = config->limits.target_size, .header_size = config->limits.header_size};
	w->resume_last = &w->resume_first;
	for (size_t i = 0; i < CONN_STATES; i++)
		list_init(&w->conns[i]);
	w->last_asked = &w->conns[CONN_WAITING];
	slab_init(&w->conn_slab, sizeof(struct conn));
	slab_init(&w->subscriber_slab, sizeof(struct subscriber));
	slab_init(&w->publication_slab, sizeof(struct publication));
	if (channels_init(&w->channels, relay->n_stores) < 0 || make_head_lines(w) < 0)
		goto err;
	for (size_t i = 0; i < config->n_locations; i++)
		w->text_size += texts_len(&config->locations[i]);
	/* The lines of a notice are a request's, Host and X-Forwarded-For twice. */
	w->text_size += ANSWER_ROOM + w->head_lines_len + 2 * (size_t)config->limits.header_size;
	if ((w->base = new_base()) == NULL ||
	    (w->mailbox = mailbox_new(w->base, on_note, on_note_ahead, w)) == NULL ||
	    (w->wheel = wheel_new(w->base, on_wheel, w)) == NULL ||
	    (w->passthrough = passthrough_new(w->base, &limits, relay->troubles)) == NULL ||
	    (w->attendance = attendance_new(w->base, w->passthrough,
		 share_of(config->limits.lingering, relay->n_workers))) == NULL ||
	    (w->match_data = location_match_new()) == NULL ||
	    (w->scratch = request_new(&w->request_limits)) == NULL ||
	    (w->read_buf = malloc(WORKER_READ_SIZE)) == NULL ||
	    (w->text_buf = malloc(w->text_size)) == NULL ||
	    (w->ids.buf = malloc(location_ids_room(config))) == NULL ||
	    (w->resume_event = event_new(w->base, -1, 0, on_resume, w)) == NULL ||
	    (w->reap_event = event_new(w->base, -1, 0, on_reap, w)) == NULL ||
	    (w->second_event = evtimer_new(w->base, on_second, w)) == NULL ||
	    (w->drain_event = evtimer_new(w->base, on_drain, w)) == NULL)
		goto err;
	on_second(-1, 0, w);
	return w;
err:
	log_error("cannot make worker %u", index);
	worker_free(w);
	return NULL;
}

static void
free_event(struct event *event)
{
	if (event != NULL)
		event_free(event);
}

void
worker_close(struct worker *w)
{
	for (size_t state = 0; state < CONN_CLOSED; state++)
		while (!list_empty(&w->conns[state]))
			conn_close(CONTAINER_OF(w->conns[state].next, struct conn, link),
			    "the relay ends");
	while (!list_empty(&w->conns[CONN_CLOSED]))
		conn_free(CONTAINER_OF(w->conns[CONN_CLOSED].next, struct conn, link));
}

void
worker_free(struct worker *w)
{
	if (w == NULL)
		return;
	listener_free(w->listener);
	channels_reset(w);
	attendance_free(w->attendance);
	passthrough_free(w->passthrough);
	if (w->mailbox != NULL)
		mailbox_free(w->mailbox, forget_note);
	wheel_free(w->wheel);
	location_match_free(w->match_data);
	request_free(w->scratch);
	free_event(w->resume_event);
	free_event(w->reap_event);
	free_event(w->second_event);
	free_event(w->drain_event);
	if (w->base != NULL)
		event_base_free(w->base);
	slab_reset(&w->conn_slab);
	slab_reset(&w->subscriber_slab);
	slab_reset(&w->publication_slab);
	free(w->head_lines);
	free(w->read_buf);
	free(w->text_buf);
	free(w->ids.buf);
	free(w);
}

void
worker_run(struct worker *w)
{
	mailbox_own(w->mailbox);
	atomic_store(&w->thread_id, gettid());
	while (!w->stopped) {
		/* Time is read at most once from here to the next wait. */
		clock_turn();
		w->events_in_turn = 0;
		if (event_base_loop(w->base, EVLOOP_ONCE) < 0) {
			log_error("the loop of worker %u failed", w->index);
			break;
		}
	}
}
