#include "relay/response.h"

#include "relay/cors.h"
#include "relay/location.h"
#include "relay/position.h"
#include "relay/render.h"
#include "relay/worker.h"

#include <assert.h>

#define STATUS(number, reason)                                                     \
	{                                                                          \
		number, sizeof("HTTP/1.1 " #number " " reason "\r\n") - 1, reason, \
		    "HTTP/1.1 " #number " " reason "\r\n"                          \
	}

static const struct status {
	unsigned number, line_len;
	const char *reason, *line;
} statuses[] = {
    STATUS(200, "OK"),
    STATUS(201, "Created"),
    STATUS(202, "Accepted"),
    STATUS(204, "No Content"),
    STATUS(304, "Not Modified"),
    STATUS(400, "Bad Request"),
    STATUS(403, "Forbidden"),
    STATUS(404, "Not Found"),
    STATUS(405, "Method Not Allowed"),
    STATUS(406, "Not Acceptable"),
    STATUS(408, "Request Timeout"),
    STATUS(409, "Conflict"),
    STATUS(410, "Gone"),
    STATUS(413, "Content Too Large"),
    STATUS(414, "URI Too Long"),
    STATUS(417, "Expectation Failed"),
    STATUS(426, "Upgrade Required"),
    STATUS(431, "Request Header Fields Too Large"),
    STATUS(500, "Internal Server Error"),
    STATUS(501, "Not Implemented"),
    STATUS(503, "Service Unavailable"),
    STATUS(505, "HTTP Version Not Supported"),
    STATUS(507, "Insufficient Storage"),
};

/* NULL: it is none of ours. */
static const struct status *
find_status(unsigned number)
{
	for (size_t i = 0; i < ARRAY_LEN(statuses); i++)
		if (statuses[i].number == number)
			return &statuses[i];
	return NULL;
}

const char *
response_reason(unsigned status)
{
	const struct status *s = find_status(status);

	return s == NULL ? "Unknown" : s->reason;
}

static NOINLINE void
number_at_end(struct text *t, int64_t n)
{
	char digits[NUMBER_TEXT_MAX];

	text_add(t, digits, number_format(n, digits));
}

void
response_number(struct text *t, int64_t n)
{
	/* In place where the longest has room. */
	if (t->end - t->at >= NUMBER_TEXT_MAX)
		t->at += number_format(n, t->at);
	else
		number_at_end(t, n);
}

void
response_field(struct text *t, const char *name, const char *value)
{
	text_str(t, name);
	TEXT_LIT(t, ": ");
	text_str(t, value);
	TEXT_LIT(t, "\r\n");
}

void
response_begin(struct text *t, struct worker *w, unsigned status)
{
	const char *lines = worker_head_lines(w);
	const struct status *s = find_status(status);

	assert(s != NULL);
	text_add(t, s->line, s->line_len);
	text_add(t, lines, w->head_lines_len);
}

void
response_connection(struct text *t, const struct conn *conn)
{
	if (conn->close_after)
		TEXT_LIT(t, "Connection: close\r\n");
	else if (conn->http10)
		TEXT_LIT(t, "Connection: keep-alive\r\n");
}

void
response_cors(struct text *t, const struct cors *cors, unsigned block, enum cors_vary vary)
{
	const struct cors_lines *lines = &cors->blocks[block].lines[vary];

	text_add(t, lines->text, lines->len);
}

void
response_position(struct text *t, struct msgid id)
{
	char date[HTTP_DATE_LEN];
	const char *tag;
	size_t tag_len;

	http_date_format(id.second, date);
	TEXT_LIT(t, "Last-Modified: ");
	text_add(t, date, sizeof(date));
	if (id.tag >= 0) {
		TEXT_LIT(t, "\r\nEtag: \"");
		tag = t->at;
		response_number(t, id.tag);
		tag_len = (size_t)(t->at - tag);
		/* etag= last: old clients read it with /etag=(\S+)/ where Etag is hidden. */
		TEXT_LIT(t, "\"\r\nCache-Control: no-cache, etag=\"");
		text_add(t, tag, tag_len);
		TEXT_LIT(t, "\"\r\n");
	} else {
		TEXT_LIT(t, "\r\nCache-Control: no-cache\r\n");
	}
}

void
response_poll_fields(struct text *t, struct msgid id, const struct render_variant *variant)
{
	response_position(t, id);
	response_cors(t, &variant->loc->cors, variant->cors_block, CORS_VARY_POSITION);
	if (variant->close)
		TEXT_LIT(t, "Connection: close\r\n");
	else if (variant->http10)
		TEXT_LIT(t, "Connection: keep-alive\r\n");
}

void
response_gap(struct text *t, uint64_t lost)
{
	TEXT_LIT(t, "X-Push-Gap: ");
	response_number(t, lost > 0 && lost < INT64_MAX ? (int64_t)lost : 1);
	TEXT_LIT(t, "\r\n");
}

void
response_answer(struct text *t, struct conn *conn, const struct answer *answer)
{
	response_begin(t, conn->worker, answer->status);
	text_add(t, answer->fields, answer->fields_len);
	if (answer->status != 304 && answer->status != 204) {
		if (answer->body_len > 0) {
			TEXT_LIT(t, "Content-Type: ");
			text_str(t, answer->type);
			TEXT_LIT(t, "\r\n");
		}
		TEXT_LIT(t, "Content-Length: ");
		response_number(t, (int64_t)answer->body_len);
		TEXT_LIT(t, "\r\n");
	}
	response_connection(t, conn);
	TEXT_LIT(t, "\r\n");
	if (!conn->head_only)
		text_add(t, answer->body, answer->body_len);
}
