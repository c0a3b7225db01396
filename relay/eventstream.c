/*
 * eventstream.c - server-sent events (WHATWG HTML, 9.2).
 *
 * Nothing a publisher sends can forge a field: each line of a message has its own
 * "data: ", and a line ends at CR, LF and CRLF alike.
 */
#include "relay/bytes.h"
#include "relay/conn.h"
#include "relay/position.h"
#include "relay/render.h"
#include "relay/request.h"
#include "relay/response.h"
#include "relay/subscriber.h"
#include "relay/transport.h"
#include "relay/worker.h"
#include "store/message.h"

#include <string.h>

/* Names of fields, ids, line ends: all but the texts. */
#define EVENT_ROOM 256

/* The next CR and the next LF, as far as they are known; each is looked for once. */
struct line_ends {
	const char *cr, *lf;
};

static const char *
find(const char *p, char c, const char *end)
{
	const char *found = p == end ? NULL : memchr(p, c, (size_t)(end - p));

	return found == NULL ? end : found;
}

/* Where the line ends in which p is: at CR, at LF, or at the end. p only goes forward. */
static const char *
line_end(struct line_ends *next, const char *p, const char *end)
{
	if (next->cr == NULL || next->cr < p)
		next->cr = find(p, '\r', end);
	if (next->lf == NULL || next->lf < p)
		next->lf = find(p, '\n', end);
	return next->cr < next->lf ? next->cr : next->lf;
}

/* Lines as the standard counts them; CRLF counts twice here, for there is room to spare. */
static size_t
count_lines(const char *p, size_t len)
{
	struct line_ends next = {NULL, NULL};
	const char *end = p + len;
	size_t n = 1;

	for (p = line_end(&next, p, end); p < end; p = line_end(&next, p + 1, end))
		n++;
	return n;
}

static void
add_line(struct text *t, const char *p, size_t len)
{
	TEXT_LIT(t, "data: ");
	text_add(t, p, len);
	TEXT_LIT(t, "\n");
}

static void
add_lines(struct text *t, const char *p, size_t len)
{
	struct line_ends next = {NULL, NULL};
	const char *end = p + len;

	for (;;) {
		const char *line = p;

		p = line_end(&next, p, end);
		add_line(t, line, (size_t)(p - line));
		if (p == end)
			return;
		/* What ends in a line end has an empty last line: the client gets it back. */
		p += p[0] == '\r' && p + 1 < end && p[1] == '\n' ? 2 : 1;
	}
}

/* A comment, so that what was written since start is this long. */
static void
add_padding(struct text *t, size_t start, size_t len)
{
	const size_t written = text_len(t) - start;

	if (len < written + 2)
		return;
	TEXT_LIT(t, ":");
	transport_add_blanks(t, len - written - 2);
	TEXT_LIT(t, "\n");
}

/*
 * at: the position up to which messages are missing. As the event's id it keeps a client
 * that comes back from there from being told of the same gap once more.
 */
static void
add_gap(struct text *t, const struct location *loc, uint64_t lost, struct msgid at)
{
	char id[MSGID_TEXT_MAX];

	if (!loc->gap_event)
		return;
	TEXT_LIT(t, "event: gap\nid: ");
	text_add(t, id, msgid_format(at, id));
	TEXT_LIT(t, "\ndata: ");
	if (lost > 0)
		response_number(t, (int64_t)lost);
	TEXT_LIT(t, "\n\n");
}

static struct bytes *
eventstream_render(struct worker *w UNUSED, struct message *const *msgs, unsigned n UNUSED,
    const struct render_variant *variant)
{
	const struct message *msg = msgs[0];
	const struct location *loc = variant->loc;
	const char *event = message_event(msg);
	size_t event_len = msg->event_len, room;
	uint32_t padding = variant->padding > 0 ? loc->padding[variant->padding - 1].message : 0;
	const bool framed = !variant->http10;
	struct payload payload;
	struct rendering r;
	size_t n_lines, mark, start;

	if (event_len == 0 && loc->event != NULL) {
		event = loc->event;
		event_len = strlen(event);
	}
	if (payload_of(&payload, msg, loc) < 0)
		return NULL;
	n_lines = count_lines(payload.p, payload.len);
	room = EVENT_ROOM + event_len + payload.len + 7 * n_lines + 3 * msg->channel->key.len +
	       padding;
	if (!rendering_begin(&r, room)) {
		payload_free(&payload);
		return NULL;
	}
	mark = chunk_open(&r.t, framed);
	start = text_len(&r.t);
	if (variant->gap)
		add_gap(&r.t, loc, variant->lost, msgid_before(msg->id));
	TEXT_LIT(&r.t, "id: ");
	transport_add_id(&r.t, msg);
	TEXT_LIT(&r.t, "\n");
	if (event_len > 0) {
		TEXT_LIT(&r.t, "event: ");
		text_add(&r.t, event, event_len);
		TEXT_LIT(&r.t, "\n");
	}
	if (variant->say_channel) {
		TEXT_LIT(&r.t, "channel: ");
		transport_add_channel(&r.t, msg);
		TEXT_LIT(&r.t, "\n");
	}
	if (n_lines == 1)
		add_line(&r.t, payload.p, payload.len);
	else
		add_lines(&r.t, payload.p, payload.len);
	add_padding(&r.t, start, padding);
	TEXT_LIT(&r.t, "\n");
	chunk_close(&r.t, mark, framed);
	payload_free(&payload);
	return rendering_end(&r);
}

static unsigned
eventstream_accept(struct subscriber *sub, const struct request *req,
    const struct route *route UNUSED, const char **why UNUSED)
{
	const struct location *loc = sub->loc;
	struct slice agent = request_header(req, HEADER_USER_AGENT);
	const struct padding *padding =
	    location_padding(loc, sub->conn->worker->match_data, agent.p, agent.len);

	if (padding != NULL)
		sub->padding = (uint8_t)(padding - loc->padding + 1);
	return 0;
}

static void
eventstream_begin(struct subscriber *sub, const struct request *req UNUSED, struct text *t)
{
	const struct location *loc = sub->loc;
	const bool framed = !sub->conn->http10;
	size_t mark;

	transport_head(sub, "text/event-stream", t);
	TEXT_LIT(t, "\r\n");
	mark = chunk_open(t, framed);
	if (loc->has_retry) {
		TEXT_LIT(t, "retry: ");
		response_number(t, loc->retry_ms);
		TEXT_LIT(t, "\n\n");
	}
	if (sub->padding > 0)
		add_padding(t, text_len(t), loc->padding[sub->padding - 1].head);
	chunk_close(t, mark, framed);
}

static void
eventstream_gap(const struct subscriber *sub, uint64_t lost, struct msgid at, struct text *t)
{
	const bool framed = !sub->conn->http10;
	const size_t mark = chunk_open(t, framed);

	add_gap(t, sub->loc, lost, at);
	chunk_close(t, mark, framed);
}

static void
eventstream_ping(struct subscriber *sub, struct text *t)
{
	const bool framed = !sub->conn->http10;
	const size_t mark = chunk_open(t, framed);

	TEXT_LIT(t, ": ");
	if (sub->loc->ping_message != NULL)
		text_str(t, sub->loc->ping_message);
	TEXT_LIT(t, "\n\n");
	chunk_close(t, mark, framed);
}

static void
eventstream_end(struct subscriber *sub, unsigned status, const char *why, struct text *t)
{
	const bool framed = !sub->conn->http10;
	const size_t mark = chunk_open(t, framed);

	/* For who looks at the stream by eye: clients pass over comments. */
	TEXT_LIT(t, ": ");
	response_number(t, status);
	TEXT_LIT(t, " ");
	text_str(t, why);
	TEXT_LIT(t, "\n\n");
	chunk_close(t, mark, framed);
	if (framed)
		TEXT_LIT(t, "0\r\n\r\n");
}

const struct transport eventstream_transport = {
    .name = "eventsource",
    .kind = TRANSPORT_EVENTSOURCE,
    .stream = true,
    .accept = eventstream_accept,
    .render = eventstream_render,
    .begin = eventstream_begin,
    .gap = eventstream_gap,
    .ping = eventstream_ping,
    .end = eventstream_end,
};
