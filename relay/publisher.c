#include "relay/publisher.h"

#include "base/log.h"
#include "base/text.h"
#include "relay/config.h"
#include "relay/conn.h"
#include "relay/request.h"
#include "relay/response.h"
#include "relay/route.h"
#include "relay/websocket.h"
#include "relay/worker.h"

#include <assert.h>
#include <stdlib.h>

static void
release(struct publication *pub)
{
	message_unref(pub->msg);
	slab_put(&pub->worker->publication_slab, pub);
}

/* A status with a sentence. */
static void
refuse(struct publication *pub, unsigned status, const char *why)
{
	char fields[RESPONSE_FIELDS_SIZE];
	struct text t = text_in(fields, sizeof(fields));

	pub->answered = true;
	pub->status = status;
	if (pub->frame)
		return;
	response_cors(&t, &pub->loc->cors, pub->cors_block, CORS_VARY_NONE);
	assert(text_ok(&t));
	conn_answer_text(pub->conn, status, fields, text_len(&t), why);
}

static void
answer_info(struct publication *pub, unsigned status)
{
	char fields[RESPONSE_FIELDS_SIZE], body[INFO_TEXT_MAX];
	struct text t = text_in(fields, sizeof(fields));
	struct text b = text_in(body, sizeof(body));
	struct answer answer = {
	    .status = status,
	    .fields = fields,
	    .type = info_content_type(pub->format),
	    .body = body,
	};

	pub->answered = true;
	pub->status = status;
	if (pub->frame)
		return;
	response_cors(&t, &pub->loc->cors, pub->cors_block, CORS_VARY_ACCEPT);
	info_write(&b, pub->format, &pub->info);
	assert(text_ok(&t) && text_ok(&b));
	answer.fields_len = text_len(&t);
	answer.body_len = text_len(&b);
	conn_answer(pub->conn, &answer);
}

static void
await(struct conn *conn)
{
	conn_set_state(conn, CONN_ANSWERING);
	wheel_clear(&conn->timer);
}

/* All that was to be heard is heard, and answered. */
static void
finish(struct publication *pub)
{
	struct conn *conn = pub->conn;

	if (pub->at_once != NULL) {
		*pub->at_once = pub->status;
	} else if (conn != NULL && pub->frame) {
		websocket_published(conn, pub->status);
	} else if (conn != NULL) {
		conn_end_exchange(conn);
		/* Where the socket is full, what follows the sending takes it up. */
		if (conn->state == CONN_ANSWERING)
			conn_next(conn);
	}
	release(pub);
}

void
publisher_heard(struct publication *pub, bool sent)
{
	pub->outstanding--;
	pub->sent |= sent;
	if ((pub->conn != NULL || pub->frame) && !pub->answered) {
		if (pub->method == METHOD_POST && pub->sent)
			answer_info(pub, 201);
		else if (pub->outstanding == 0)
			answer_info(pub, pub->method == METHOD_POST ? 202 : 200);
	}
	if (pub->outstanding == 0)
		finish(pub);
}

void
publisher_tell(struct worker *w, struct publication *pub, bool sent)
{
	struct reply_note *note;
	struct mailbox *mailbox;

	if (pub == NULL)
		return;
	if (pub->worker == w) {
		publisher_heard(pub, sent);
		return;
	}
	note = malloc(sizeof(*note));
	if (note == NULL) {
		log_errorx("out of memory: a publisher will not be answered");
		return;
	}
	*note =
	    (struct reply_note){.note = {.kind = NOTE_ANSWERED}, .publication = pub, .sent = sent};
	/* Once posted, this may be the last answer, and pub gone. */
	mailbox = pub->worker->mailbox;
	mailbox_post(mailbox, &note->note);
	mailbox_wake(mailbox);
}

void
publisher_forget(struct publication *pub)
{
	pub->conn = NULL;
	if (pub->pending != NULL) {
		store_cancel(pub->store, pub->pending);
		release(pub);
	} else if (pub->outstanding == 0) {
		/* conn_answer() found the peer gone; its caller still holds pub and
		 * finishes it. */
		pub->answered = true;
	}
}

void
publisher_end(struct conn *conn)
{
	struct publication *pub = conn->publication;

	conn_end_exchange(conn);
	publisher_forget(pub);
}

/* The store's answer. True: the publication has ended, for no worker is to be heard. */
static bool
on_answer(struct publication *pub, enum store_answer answer, const struct store_result *result)
{
	message_unref(pub->msg);
	pub->msg = NULL;
	pub->info = result->info;
	if (answer == STORE_FAILED) {
		refuse(pub, 503, "the store has failed; the log says why");
		finish(pub);
		return true;
	}
	switch (result->status) {
	case STORE_OK:
		break;
	case STORE_NO_CHANNEL:
		refuse(pub, 404, "there is no such channel");
		finish(pub);
		return true;
	case STORE_TOO_LARGE:
		refuse(pub, 413, "the message alone is larger than the store's max_memory");
		finish(pub);
		return true;
	case STORE_NO_ROOM:
		refuse(pub, 507, "the store is full (see max_memory)");
		finish(pub);
		return true;
	case STORE_NOTHING_NEWER:
	case STORE_CONFLICT:
	case STORE_FULL:
		assert(false && "an answer to subscribers");
	}
	pub->outstanding = result->notes;
	if (pub->outstanding > 0) {
		if (!pub->frame)
			await(pub->conn);
		return false;
	}
	answer_info(pub, pub->method == METHOD_POST ? 202 : 200);
	finish(pub);
	return true;
}

static void
on_store(void *arg, enum store_answer answer, struct store_result *result)
{
	struct publication *pub = arg;

	pub->pending = NULL;
	on_answer(pub, answer, result);
}

/* A header's value; an empty one says no more than none. */
static struct message_part
part_of(struct slice s)
{
	return (struct message_part){s.len > 0 ? s.p : NULL, s.len};
}

/* Nchan's header, or push-stream's. */
static struct slice
event_of(const struct request *req)
{
	struct slice event = request_header(req, HEADER_X_EVENTSOURCE_EVENT);

	return event.len > 0 ? event : request_header(req, HEADER_EVENT_TYPE);
}

static enum store_answer
ask_store(struct publication *pub, struct request *req, const struct route *route,
    struct store_result *result)
{
	unsigned flags = 0;

	switch (pub->method) {
	case METHOD_GET:
		return store_info(
		    route->store, &route->keys[0], result, on_store, pub, &pub->pending);
	case METHOD_PUT:
		return store_create(
		    route->store, &route->keys[0], result, on_store, pub, &pub->pending);
	case METHOD_DELETE:
		return store_drop(
		    route->store, &route->keys[0], pub, result, on_store, pub, &pub->pending);
	default:
		break;
	}
	pub->msg = message_new(&(struct message_parts){
	    .content_type = part_of(request_header(req, HEADER_CONTENT_TYPE)),
	    .event = part_of(event_of(req)),
	    .event_id = part_of(request_header(req, HEADER_EVENT_ID)),
	    .body = part_of(request_body(req)),
	});
	if (pub->msg == NULL) {
		log_errorx("out of memory: a message was not taken");
		return STORE_FAILED;
	}
	if (route->loc->create_on_post)
		flags |= STORE_APPEND_CREATE;
	if (route->loc->store_messages)
		flags |= STORE_APPEND_KEEP;
	return store_append(route->store, &route->keys[0], pub->msg, flags, pub, result, on_store,
	    pub, &pub->pending);
}

void
publisher_request(struct conn *conn, struct request *req, const struct route *route)
{
	struct slice accept = request_header(req, HEADER_ACCEPT);
	struct publication *pub = slab_get(&conn->worker->publication_slab);
	struct store_result result = {.status = STORE_OK};
	enum store_answer answer;

	if (pub == NULL) {
		conn_close(conn, "out of memory");
		return;
	}
	pub->worker = conn->worker;
	pub->conn = conn;
	pub->store = route->store;
	pub->loc = route->loc;
	pub->method = request_method(req);
	pub->cors_block = route->cors_block;
	pub->format = info_negotiate(accept.p, accept.len, INFO_PLAIN);
	conn->exchange = EXCHANGE_PUBLICATION;
	conn->publication = pub;
	answer = ask_store(pub, req, route, &result);
	if (answer == STORE_PENDING)
		await(conn);
	else
		on_answer(pub, answer, &result);
}

unsigned
publisher_publish(struct conn *conn, const struct location *loc, struct store *store,
    const struct channel_key *key, const struct message_parts *parts, struct publication **pending)
{
	struct publication *pub = slab_get(&conn->worker->publication_slab);
	struct store_result result = {.status = STORE_OK};
	enum store_answer answer;
	unsigned status = 0;

	*pending = NULL;
	if (pub == NULL)
		return 503;
	pub->msg = message_new(parts);
	if (pub->msg == NULL) {
		slab_put(&conn->worker->publication_slab, pub);
		return 503;
	}
	pub->worker = conn->worker;
	pub->store = store;
	pub->loc = loc;
	pub->method = METHOD_POST;
	pub->frame = true;
	pub->at_once = &status;
	answer = store_append(store, key, pub->msg, STORE_APPEND_CREATE | STORE_APPEND_KEEP, pub,
	    &result, on_store, pub, &pub->pending);
	if (answer != STORE_PENDING && on_answer(pub, answer, &result))
		return status; /* pub is gone */
	pub->at_once = NULL;
	pub->conn = conn;
	*pending = pub;
	return 0;
}
