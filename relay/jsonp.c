#include "relay/jsonp.h"

#include "relay/bytes.h"
#include "relay/json.h"
#include "relay/position.h"
#include "relay/render.h"
#include "relay/request.h"
#include "relay/response.h"
#include "relay/subscriber.h"
#include "relay/transport.h"
#include "relay/worker.h"
#include "store/message.h"

#include <stdlib.h>
#include <string.h>

/* All but the location's CORS block and the messages. */
#define HEAD_ROOM 592

/* What may be called: names with dots and indexes, so that nothing else can be run. */
static bool
is_callback(struct slice name)
{
	for (size_t i = 0; i < name.len; i++) {
		const char c = name.p[i];

		if ((c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') &&
		    memchr("_$.[]", c, 5) == NULL)
			return false;
	}
	return name.len > 0 && name.len <= JSONP_CALLBACK_MAX &&
	       (name.p[0] < '0' || name.p[0] > '9');
}

static unsigned
jsonp_accept(struct subscriber *sub, const struct request *req, const struct route *route UNUSED,
    const char **why)
{
	struct slice name = request_query_value(req, "callback");
	char decoded[3 * JSONP_CALLBACK_MAX] = "";
	ptrdiff_t len = -1;

	/* Brackets may come percent-encoded. */
	if (name.len <= sizeof(decoded))
		len = percent_decode(name.p, name.len, (unsigned char *)decoded);
	if (len < 0 || !is_callback((struct slice){decoded, (size_t)len})) {
		*why = "callback is a name of at most 128 letters, digits, _ $ . [ ]";
		return 400;
	}
	sub->own = strndup(decoded, (size_t)len);
	if (sub->own == NULL) {
		*why = "out of memory";
		return 503;
	}
	return 0;
}

/* A comment first, for what may take the answer for something else than a script. */
static void
add_call(struct text *t, const char *callback)
{
	TEXT_LIT(t, "/**/");
	text_str(t, callback);
	TEXT_LIT(t, "({\"id\": \"");
}

size_t
jsonp_nothing(const struct subscriber *sub, char body[JSONP_NOTHING_MAX])
{
	struct text t = text_in(body, JSONP_NOTHING_MAX);
	char id[MSGID_TEXT_MAX];

	add_call(&t, sub->own);
	/* A time alone is in the request that is repeated, and has no tag. */
	if (sub->has_asked && sub->asked.tag >= 0)
		text_add(&t, id, msgid_format(sub->asked, id));
	TEXT_LIT(&t, "\", \"messages\": []});\n");
	return text_len(&t);
}

static void
add_body(struct text *t, struct message *const *msgs, const struct payload *payloads, unsigned n,
    const struct render_variant *variant)
{
	add_call(t, variant->own);
	transport_add_id(t, msgs[n - 1]);
	TEXT_LIT(t, "\", ");
	if (variant->gap) {
		TEXT_LIT(t, "\"gap\": ");
		response_number(t, variant->lost > 0 ? (int64_t)variant->lost : 1);
		TEXT_LIT(t, ", ");
	}
	TEXT_LIT(t, "\"messages\": [");
	for (unsigned i = 0; i < n; i++) {
		if (i > 0)
			TEXT_LIT(t, ",\n ");
		json_message(t, msgs[i], payloads[i].p, payloads[i].len, variant->say_channel);
	}
	TEXT_LIT(t, "]});\n");
}

static struct bytes *
jsonp_render(
    struct worker *w, struct message *const *msgs, unsigned n, const struct render_variant *variant)
{
	const struct location *loc = variant->loc;
	struct payload payloads[RENDER_AT_ONCE_MAX];
	struct bytes *body = NULL, *bytes = NULL;
	size_t room = JSONP_CALLBACK_MAX + 256;
	struct rendering r;
	unsigned made = 0;

	for (; made < n; made++) {
		if (payload_of(&payloads[made], msgs[made], loc) < 0)
			goto out;
		room += json_message_room(msgs[made], payloads[made].len);
	}
	if (!rendering_begin(&r, room))
		goto out;
	add_body(&r.t, msgs, payloads, n, variant);
	body = rendering_end(&r);
	if (body == NULL)
		goto out;
	if (!rendering_begin(
		&r, HEAD_ROOM + w->head_lines_len +
			loc->cors.blocks[variant->cors_block].lines[CORS_VARY_POSITION].len +
			body->len))
		goto out;
	response_begin(&r.t, w, 200);
	response_field(&r.t, "Content-Type", JSONP_TYPE);
	TEXT_LIT(&r.t, "X-Content-Type-Options: nosniff\r\nContent-Length: ");
	response_number(&r.t, (int64_t)body->len);
	TEXT_LIT(&r.t, "\r\n");
	response_poll_fields(&r.t, msgs[n - 1]->id, variant);
	TEXT_LIT(&r.t, "\r\n");
	text_add(&r.t, body->data, body->len);
	bytes = rendering_end(&r);
out:
	bytes_unref(body);
	while (made > 0)
		payload_free(&payloads[--made]);
	return bytes;
}

const struct transport jsonp_transport = {
    .name = "jsonp",
    .kind = TRANSPORT_JSONP,
    .accept = jsonp_accept,
    .render = jsonp_render,
};
