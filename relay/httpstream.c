/*
 * httpstream.c - messages appended to one body, each followed by a separator.
 */
#include "relay/bytes.h"
#include "relay/conn.h"
#include "relay/render.h"
#include "relay/subscriber.h"
#include "relay/transport.h"
#include "store/message.h"

#include <string.h>

static struct bytes *
httpstream_render(struct worker *w UNUSED, struct message *const *msgs, unsigned n UNUSED,
    const struct render_variant *variant)
{
	const struct location *loc = variant->loc;
	const bool framed = !variant->http10;
	struct payload payload;
	struct rendering r;
	size_t mark;

	if (payload_of(&payload, msgs[0], loc) < 0)
		return NULL;
	if (!rendering_begin(&r, CHUNK_ROOM + payload.len + loc->stream_separator_len)) {
		payload_free(&payload);
		return NULL;
	}
	mark = chunk_open(&r.t, framed);
	text_add(&r.t, payload.p, payload.len);
	text_add(&r.t, loc->stream_separator, loc->stream_separator_len);
	chunk_close(&r.t, mark, framed);
	payload_free(&payload);
	return rendering_end(&r);
}

/* A text of the configuration, which may be absent. */
static void
add_own(const struct subscriber *sub, const char *own, const char *end, struct text *t)
{
	const bool framed = !sub->conn->http10;
	size_t mark;

	if (own == NULL)
		return;
	mark = chunk_open(t, framed);
	text_str(t, own);
	text_str(t, end);
	chunk_close(t, mark, framed);
}

static void
httpstream_begin(struct subscriber *sub, const struct request *req UNUSED, struct text *t)
{
	const char *type = sub->loc->content_type;

	transport_head(sub, type != NULL ? type : "application/octet-stream", t);
	TEXT_LIT(t, "\r\n");
	add_own(sub, sub->loc->header_template, "", t);
}

static void
httpstream_ping(struct subscriber *sub, struct text *t)
{
	add_own(sub, sub->loc->ping_message, sub->loc->stream_separator, t);
}

static void
httpstream_end(
    struct subscriber *sub, unsigned status UNUSED, const char *why UNUSED, struct text *t)
{
	add_own(sub, sub->loc->footer_template, "", t);
	if (!sub->conn->http10)
		TEXT_LIT(t, "0\r\n\r\n");
}

const struct transport httpstream_transport = {
    .name = "stream",
    .kind = TRANSPORT_STREAM,
    .stream = true,
    .render = httpstream_render,
    .begin = httpstream_begin,
    .ping = httpstream_ping,
    .end = httpstream_end,
};
