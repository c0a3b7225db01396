/*
 * longpoll.c - long and interval polling: a message, or a batch, is a response.
 */
#include "relay/bytes.h"
#include "relay/json.h"
#include "relay/multipart.h"
#include "relay/position.h"
#include "relay/render.h"
#include "relay/response.h"
#include "relay/transport.h"
#include "relay/worker.h"
#include "store/message.h"

#include <string.h>

/*
 * All but the location's lines, the Content-Type, the channel and the body: 333 at
 * most. Not much more, for malloc() takes ten times as long above 1,032 bytes.
 */
#define HEAD_ROOM 400

/* The length of a batch's body, at most. */
static size_t
batch_room(struct message *const *msgs, const struct payload *payloads, unsigned n,
    const struct render_variant *variant)
{
	size_t room = 2 * BOUNDARY_LEN;

	for (unsigned i = 0; i < n; i++) {
		switch (variant->loc->batch) {
		case BATCH_MULTIPART:
			room += multipart_headers_room(msgs[i], variant) + payloads[i].len +
				BOUNDARY_LEN + 8;
			break;
		case BATCH_JSON:
			room += json_message_room(msgs[i], payloads[i].len);
			break;
		case BATCH_OFF:
		case BATCH_RAW:
			room += payloads[i].len;
			break;
		}
	}
	return room;
}

static void
add_batch(struct text *t, const char *boundary, struct message *const *msgs,
    const struct payload *payloads, unsigned n, const struct render_variant *variant)
{
	for (unsigned i = 0; i < n; i++) {
		switch (variant->loc->batch) {
		case BATCH_MULTIPART:
			multipart_add_boundary(t, boundary);
			TEXT_LIT(t, "\r\n");
			multipart_add_headers(t, msgs[i], &payloads[i], variant);
			text_add(t, payloads[i].p, payloads[i].len);
			TEXT_LIT(t, "\r\n");
			break;
		case BATCH_JSON:
			text_str(t, i == 0 ? "[" : ",\n ");
			json_message(
			    t, msgs[i], payloads[i].p, payloads[i].len, variant->say_channel);
			break;
		case BATCH_OFF:
		case BATCH_RAW:
			text_add(t, payloads[i].p, payloads[i].len);
			break;
		}
	}
	if (variant->loc->batch == BATCH_MULTIPART) {
		multipart_add_boundary(t, boundary);
		TEXT_LIT(t, "--\r\n");
	} else if (variant->loc->batch == BATCH_JSON) {
		TEXT_LIT(t, "]\n");
	}
}

static void
add_content_type(
    struct text *t, const char *boundary, const struct message *msg, const struct location *loc)
{
	if (loc->batch == BATCH_MULTIPART) {
		TEXT_LIT(t, "Content-Type: multipart/mixed; boundary=");
		text_add(t, boundary, BOUNDARY_LEN);
	} else if (loc->batch == BATCH_JSON) {
		TEXT_LIT(t, "Content-Type: application/json");
	} else if (loc->content_type != NULL) {
		TEXT_LIT(t, "Content-Type: ");
		text_str(t, loc->content_type);
	} else if (msg->has_content_type) {
		TEXT_LIT(t, "Content-Type: ");
		text_add(t, message_content_type(msg), msg->content_type_len);
	} else {
		return;
	}
	TEXT_LIT(t, "\r\n");
}

/* Status line and headers; boundary is of a multipart batch; a batch's position is that of its last
 * message. */
static void
add_head(struct text *t, struct worker *w, const char *boundary, const struct message *first,
    const struct message *last, size_t body_len, const struct render_variant *variant)
{
	const struct location *loc = variant->loc;

	response_begin(t, w, 200);
	add_content_type(t, boundary, first, loc);
	TEXT_LIT(t, "Content-Length: ");
	response_number(t, (int64_t)body_len);
	TEXT_LIT(t, "\r\n");
	response_poll_fields(t, last->id, variant);
	if (variant->say_channel && loc->batch == BATCH_OFF) {
		TEXT_LIT(t, "X-Push-Channel: ");
		transport_add_channel(t, last);
		TEXT_LIT(t, "\r\n");
	}
	if (variant->gap)
		response_gap(t, variant->lost);
	TEXT_LIT(t, "\r\n");
}

static size_t
head_room(const struct worker *w, const struct message *first, const struct message *last,
    const struct render_variant *variant)
{
	const struct location *loc = variant->loc;

	return HEAD_ROOM + w->head_lines_len +
	       loc->cors.blocks[variant->cors_block].lines[CORS_VARY_POSITION].len +
	       first->content_type_len +
	       (loc->content_type != NULL ? strlen(loc->content_type) : 0) +
	       (variant->say_channel ? 3 * last->channel->key.len : 0);
}

/* The answer of one message, whose body goes straight into it. */
static struct bytes *
render_one(struct worker *w, const struct message *msg, const struct render_variant *variant)
{
	struct payload payload;
	struct rendering r;

	if (payload_of(&payload, msg, variant->loc) < 0)
		return NULL;
	if (rendering_begin(&r, head_room(w, msg, msg, variant) + payload.len)) {
		add_head(&r.t, w, NULL, msg, msg, payload.len, variant);
		text_add(&r.t, payload.p, payload.len);
	}
	payload_free(&payload);
	return r.bytes == NULL ? NULL : rendering_end(&r);
}

static struct bytes *
render_batch(
    struct worker *w, struct message *const *msgs, unsigned n, const struct render_variant *variant)
{
	struct payload payloads[RENDER_AT_ONCE_MAX];
	struct bytes *body = NULL, *bytes = NULL;
	char boundary[BOUNDARY_LEN] = "";
	struct rendering r;
	unsigned made = 0;

	if (variant->loc->batch == BATCH_MULTIPART)
		multipart_make_boundary(boundary);
	for (; made < n; made++)
		if (payload_of(&payloads[made], msgs[made], variant->loc) < 0)
			goto out;
	if (!rendering_begin(&r, batch_room(msgs, payloads, n, variant)))
		goto out;
	add_batch(&r.t, boundary, msgs, payloads, n, variant);
	body = rendering_end(&r);
	if (body == NULL)
		goto out;
	if (!rendering_begin(&r, head_room(w, msgs[0], msgs[n - 1], variant) + body->len))
		goto out;
	add_head(&r.t, w, boundary, msgs[0], msgs[n - 1], body->len, variant);
	text_add(&r.t, body->data, body->len);
	bytes = rendering_end(&r);
out:
	bytes_unref(body);
	while (made > 0)
		payload_free(&payloads[--made]);
	return bytes;
}

static struct bytes *
longpoll_render(
    struct worker *w, struct message *const *msgs, unsigned n, const struct render_variant *variant)
{
	if (variant->loc->batch == BATCH_OFF)
		return render_one(w, msgs[0], variant);
	return render_batch(w, msgs, n, variant);
}

const struct transport longpoll_transport = {
    .name = "longpoll",
    .kind = TRANSPORT_LONGPOLL,
    .render = longpoll_render,
};
