#include "relay/multipart.h"

#include "relay/bytes.h"
#include "relay/conn.h"
#include "relay/position.h"
#include "relay/render.h"
#include "relay/response.h"
#include "relay/subscriber.h"
#include "relay/transport.h"
#include "store/message.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Names of headers, dates, numbers: all but the texts. */
#define HEADERS_ROOM 384

void
multipart_make_boundary(char boundary[BOUNDARY_LEN])
{
	static const char hex[] = "0123456789abcdef";
	unsigned char random_bytes[BOUNDARY_LEN / 2];

	/* So few bytes always come at once, since the machine has started long ago. */
	while (getrandom(random_bytes, sizeof(random_bytes), 0) != (ssize_t)sizeof(random_bytes))
		;
	for (size_t i = 0; i < sizeof(random_bytes); i++) {
		boundary[2 * i] = hex[random_bytes[i] >> 4];
		boundary[2 * i + 1] = hex[random_bytes[i] & 15];
	}
}

void
multipart_add_boundary(struct text *t, const char boundary[BOUNDARY_LEN])
{
	TEXT_LIT(t, "--");
	text_add(t, boundary, BOUNDARY_LEN);
}

size_t
multipart_headers_room(const struct message *msg, const struct render_variant *variant)
{
	const char *type = variant->loc->content_type;

	return HEADERS_ROOM + msg->content_type_len + (type == NULL ? 0 : strlen(type)) +
	       3 * msg->channel->key.len;
}

void
multipart_add_headers(struct text *t, const struct message *msg, const struct payload *payload,
    const struct render_variant *variant)
{
	char date[HTTP_DATE_LEN];

	http_date_format(msg->id.second, date);
	TEXT_LIT(t, "Last-Modified: ");
	text_add(t, date, sizeof(date));
	TEXT_LIT(t, "\r\nEtag: \"");
	response_number(t, msg->id.tag);
	TEXT_LIT(t, "\"\r\n");
	if (variant->say_channel) {
		TEXT_LIT(t, "X-Push-Channel: ");
		transport_add_channel(t, msg);
		TEXT_LIT(t, "\r\n");
	}
	if (variant->gap && variant->transport->stream)
		response_gap(t, variant->lost);
	TEXT_LIT(t, "Content-Length: ");
	response_number(t, (int64_t)payload->len);
	TEXT_LIT(t, "\r\n");
	if (variant->loc->content_type != NULL) {
		response_field(t, "Content-Type", variant->loc->content_type);
	} else if (msg->has_content_type) {
		TEXT_LIT(t, "Content-Type: ");
		text_add(t, message_content_type(msg), msg->content_type_len);
		TEXT_LIT(t, "\r\n");
	}
	TEXT_LIT(t, "\r\n");
}

static unsigned
multipart_accept(struct subscriber *sub, const struct request *req UNUSED,
    const struct route *route UNUSED, const char **why)
{
	sub->own = malloc(BOUNDARY_LEN);
	if (sub->own == NULL) {
		*why = "out of memory";
		return 503;
	}
	multipart_make_boundary(sub->own);
	return 0;
}

/*
 * The delimiter comes behind each part, not before it: so a client knows that the part
 * is whole when it has come, and need not wait for the next.
 */
static struct bytes *
multipart_render(struct worker *w UNUSED, struct message *const *msgs, unsigned n UNUSED,
    const struct render_variant *variant)
{
	const struct message *msg = msgs[0];
	const bool framed = !variant->http10;
	struct payload payload;
	struct rendering r;
	size_t mark;

	if (payload_of(&payload, msg, variant->loc) < 0)
		return NULL;
	if (!rendering_begin(&r, CHUNK_ROOM + multipart_headers_room(msg, variant) + payload.len +
				     BOUNDARY_LEN + 6)) {
		payload_free(&payload);
		return NULL;
	}
	mark = chunk_open(&r.t, framed);
	TEXT_LIT(&r.t, "\r\n");
	multipart_add_headers(&r.t, msg, &payload, variant);
	text_add(&r.t, payload.p, payload.len);
	TEXT_LIT(&r.t, "\r\n");
	multipart_add_boundary(&r.t, variant->own);
	chunk_close(&r.t, mark, framed);
	payload_free(&payload);
	return rendering_end(&r);
}

static void
multipart_begin(struct subscriber *sub, const struct request *req UNUSED, struct text *t)
{
	static const char start[] = "multipart/mixed; boundary=";
	const bool framed = !sub->conn->http10;
	char type[sizeof(start) + BOUNDARY_LEN];
	size_t mark;

	memcpy(type, start, sizeof(start) - 1);
	memcpy(type + sizeof(start) - 1, sub->own, BOUNDARY_LEN);
	type[sizeof(type) - 1] = '\0';
	transport_head(sub, type, t);
	TEXT_LIT(t, "\r\n");
	mark = chunk_open(t, framed);
	multipart_add_boundary(t, sub->own);
	chunk_close(t, mark, framed);
}

static void
multipart_ping(struct subscriber *sub UNUSED, struct text *t UNUSED)
{
	/* Whatever is between two parts belongs to one of them. */
}

static void
multipart_end(
    struct subscriber *sub, unsigned status UNUSED, const char *why UNUSED, struct text *t)
{
	const bool framed = !sub->conn->http10;
	const size_t mark = chunk_open(t, framed);

	TEXT_LIT(t, "--\r\n");
	chunk_close(t, mark, framed);
	if (framed)
		TEXT_LIT(t, "0\r\n\r\n");
}

const struct transport multipart_transport = {
    .name = "multipart",
    .kind = TRANSPORT_MULTIPART,
    .stream = true,
    .accept = multipart_accept,
    .render = multipart_render,
    .begin = multipart_begin,
    .ping = multipart_ping,
    .end = multipart_end,
};
