#include "relay/response.h"

#include "relay/cors.h"
#include "relay/location.h"
#include "relay/position.h"
#include "relay/render.h"
#include "relay/worker.h"

#include <stdio.h>

static const struct {
	unsigned status;
	const char *reason;
} reasons[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {304, "Not Modified"},
    {400, "Bad Request"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {417, "Expectation Failed"},
    {426, "Upgrade Required"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {503, "Service Unavailable"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
};

const char *
response_reason(unsigned status)
{
	for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
		if (reasons[i].status == status)
			return reasons[i].reason;
	return "Unknown";
}

void
response_number(struct text *t, int64_t n)
{
	char digits[NUMBER_TEXT_MAX];

	text_add(t, digits, number_format(n, digits));
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

	TEXT_LIT(t, "HTTP/1.1 ");
	response_number(t, status);
	TEXT_LIT(t, " ");
	text_str(t, response_reason(status));
	TEXT_LIT(t, "\r\n");
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
response_cors(struct text *t, const struct cors *cors, unsigned block, const char *vary_too)
{
	const char *vary = cors->vary_other;

	text_add(t, cors->blocks[block].text, cors->blocks[block].len);
	if (vary == NULL && vary_too == NULL)
		return;
	TEXT_LIT(t, "Vary: ");
	if (vary_too != NULL)
		text_str(t, vary_too);
	if (vary != NULL && vary_too != NULL)
		TEXT_LIT(t, ", ");
	if (vary != NULL)
		text_str(t, vary);
	TEXT_LIT(t, "\r\n");
}

void
response_position(struct text *t, struct msgid id)
{
	char date[HTTP_DATE_LEN];

	http_date_format(id.second, date);
	TEXT_LIT(t, "Last-Modified: ");
	text_add(t, date, sizeof(date));
	if (id.tag >= 0) {
		TEXT_LIT(t, "\r\nEtag: \"");
		response_number(t, id.tag);
		/* etag= last: old clients read it with /etag=(\S+)/ where Etag is hidden. */
		TEXT_LIT(t, "\"\r\nCache-Control: no-cache, etag=\"");
		response_number(t, id.tag);
		TEXT_LIT(t, "\"\r\n");
	} else {
		TEXT_LIT(t, "\r\nCache-Control: no-cache\r\n");
	}
}

void
response_poll_fields(struct text *t, struct msgid id, const struct render_variant *variant)
{
	const struct cors *cors = &variant->loc->cors;
	const struct cors_block *block = &cors->blocks[variant->cors_block];

	response_position(t, id);
	response_field(t, "Vary", cors->vary);
	text_add(t, block->text, block->len);
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
		if (answer->body_len > 0)
			response_field(t, "Content-Type", answer->type);
		TEXT_LIT(t, "Content-Length: ");
		response_number(t, (int64_t)answer->body_len);
		TEXT_LIT(t, "\r\n");
	}
	response_connection(t, conn);
	TEXT_LIT(t, "\r\n");
	if (!conn->head_only)
		text_add(t, answer->body, answer->body_len);
}
