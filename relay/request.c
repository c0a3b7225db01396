/*
 * request.c - the head guard, the chunk guard, and http-parser behind them.
 *
 * http-parser as Debian builds it lets pass: blanks in and after header names,
 * obs-fold, bare LF, chunk data that is not followed by CRLF, `chunked` in HTTP/1.0,
 * versions 0.9 and 9.9. It refuses a tab after the digits of Content-Length and before a
 * chunk extension, which RFC 9110 and 9112 allow, and methods that it does not know. It is
 * blind to `close` behind a tab in Connection, and takes a header whose name only begins
 * with Transfer-Encoding for that one, and a Content-Length in a trailer for the body's. It
 * ends its work at any Upgrade.
 *
 * Each is put right here. Two readers of one request must never disagree about where
 * it ends, or a proxy in front of us can be made to smuggle a second one.
 */
#include "relay/request.h"

#include "relay/fastrequest.h"
#include "relay/head.h"

#include <assert.h>
#include <http_parser.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Bytes of extensions in chunk sizes and of trailers, together. */
#define CHUNK_NOISE_MAX 16384
/* The first line beside its target: a method, two spaces and the version. */
#define REQUEST_LINE_EXTRA 64

enum phase {
	PHASE_HEAD,
	PHASE_DECIDE, /* the head is complete, its reader decides on the body */
	PHASE_BODY,
	PHASE_DONE,
	PHASE_BAD,
};

/* Where in the framing of a chunked body the next byte is (RFC 9112, 7.1). */
enum chunk_state {
	CHUNK_SIZE_FIRST, /* at least one digit */
	CHUNK_SIZE,
	CHUNK_SIZE_BLANK, /* blanks before the ';' of an extension */
	CHUNK_EXTENSION,
	CHUNK_SIZE_LF,
	CHUNK_DATA,
	CHUNK_DATA_CR,
	CHUNK_DATA_LF,
	CHUNK_TRAILER_FIRST, /* at the beginning of a line */
	CHUNK_TRAILER_NAME,
	CHUNK_TRAILER_VALUE,
	CHUNK_TRAILER_LF,
	CHUNK_END_LF,
	CHUNK_END,
};

struct request {
	struct head head; /* what it says, once it is there */
	http_parser parser;
	const struct request_limits *limits;
	enum phase phase;
	unsigned error;
	const char *why;

	char *copy; /* of the head; else it lies in the reader's buffer */
	size_t copy_len, copy_cap;
	size_t scanned;      /* bytes known to be whole lines, all but the last CRLF found */
	size_t line_start;   /* of the line at hand */
	size_t fields_start; /* behind the request line; 0 while that is incomplete */

	uint32_t target, target_len;
	bool has_coding; /* a Transfer-Encoding header has come */

	bool chunked;
	uint64_t body_left; /* of Content-Length */
	enum chunk_state chunk;
	uint64_t chunk_left;
	size_t chunk_noise;
	bool keep_body;
	uint64_t body_max, body_seen;
	const char *body; /* in the reader's buffer or in body_buf */
	char *body_buf;
	size_t body_len, body_cap;
};

static_assert(offsetof(struct request, head) == 0, "request_head() takes the one for the other");

void
request_global_init(void)
{
	/* It counts all bytes of a head, and is 80 KiB as Debian builds it. */
	http_parser_set_max_header_size(UINT32_MAX);
}

struct request *
request_new(const struct request_limits *limits)
{
	struct request *req = calloc(1, sizeof(*req));

	if (req == NULL)
		return NULL;
	if (head_init(&req->head) < 0) {
		free(req);
		return NULL;
	}
	req->limits = limits;
	request_reset(req);
	return req;
}

void
request_free(struct request *req)
{
	if (req == NULL)
		return;
	free(req->copy);
	free(req->body_buf);
	head_free(&req->head);
	free(req);
}

void
request_reset(struct request *req)
{
	/* A head buffer that was needed once will be needed again; a large body will not. */
	if (req->body_buf != NULL) {
		free(req->body_buf);
		req->body_buf = NULL;
		req->body_cap = 0;
	}
	req->phase = PHASE_HEAD;
	req->error = 0;
	req->why = NULL;
	req->head.base = NULL;
	req->copy_len = req->scanned = req->line_start = req->fields_start = 0;
	head_reset(&req->head);
	req->has_coding = false;
	req->chunked = false;
	req->body_left = 0;
	req->keep_body = false;
	req->body_max = 0;
	req->body_seen = 0;
	req->body = NULL;
	req->body_len = 0;
}

static enum request_event
refuse(struct request *req, unsigned status, const char *why)
{
	req->phase = PHASE_BAD;
	req->error = status;
	req->why = why;
	return REQUEST_ERROR;
}

/* token of RFC 9110, 5.6.2 */
static bool
is_token_byte(unsigned char c)
{
	static const char others[] = "!#$%&'*+-.^_`|~";

	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c != 0 && strchr(others, c) != NULL);
}

/* What may stand in a field value: no control byte but the tab. */
static bool
is_value_byte(unsigned char c)
{
	return c == '\t' || (c >= ' ' && c != 0x7f);
}

static const struct {
	const char *name;
	enum request_method method;
} methods[] = {
    {"GET", METHOD_GET},
    {"POST", METHOD_POST},
    {"PUT", METHOD_PUT},
    {"DELETE", METHOD_DELETE},
    {"OPTIONS", METHOD_OPTIONS},
    {"HEAD", METHOD_HEAD},
};

static const char request_line_form[] = "the request line must be: method, target, version";

/* method SP target SP version, exactly; 0 or a status. *method_len for the parser. */
static unsigned
check_request_line(
    struct request *req, const char *line, size_t len, size_t *method_len, const char **why)
{
	size_t i = 0, target;

	while (i < len && is_token_byte((unsigned char)line[i]))
		i++;
	*method_len = i;
	if (i == 0 || i == len || line[i] != ' ') {
		*why = request_line_form;
		return 400;
	}
	target = ++i;
	while (i < len && (unsigned char)line[i] > ' ' && line[i] != 0x7f)
		i++;
	if (i == target || i == len || line[i] != ' ') {
		*why = request_line_form;
		return 400;
	}
	if (i - target > req->limits->target_size) {
		*why = "the request target is over limits.target_size";
		return 414;
	}
	/* RFC 9112, 3.2: no form of a target has one. Cut off, it would name something else. */
	if (memchr(line + target, '#', i - target) != NULL) {
		*why = "a request target has no fragment; a # in a path is %23";
		return 400;
	}
	i++;
	if (len - i != 8 || memcmp(line + i, "HTTP/", 5) != 0 || line[i + 6] != '.' ||
	    line[i + 5] < '0' || line[i + 5] > '9' || line[i + 7] < '0' || line[i + 7] > '9') {
		*why = "the request line must end in HTTP/1.1 or HTTP/1.0";
		return 400;
	}
	if (line[i + 5] != '1' || line[i + 7] > '1') {
		*why = "only HTTP/1.0 and HTTP/1.1 are spoken here";
		return 505;
	}
	req->head.http10 = line[i + 7] == '0';
	req->head.method = METHOD_OTHER;
	for (size_t m = 0; m < ARRAY_LEN(methods); m++)
		if (strlen(methods[m].name) == *method_len &&
		    memcmp(methods[m].name, line, *method_len) == 0)
			req->head.method = methods[m].method;
	return 0;
}

/* name ":" value; 0 or a status. Tabs at its end become spaces, which http-parser likes. */
static unsigned
check_field_line(char *line, size_t len, const char **why)
{
	size_t i = 0;

	if (line[0] == ' ' || line[0] == '\t') {
		*why = "a header goes on in a second line (obs-fold)";
		return 400;
	}
	while (i < len && is_token_byte((unsigned char)line[i]))
		i++;
	if (i == 0 || i == len || line[i] != ':') {
		*why = "a header name must be a token, with ':' right behind it";
		return 400;
	}
	for (size_t v = i + 1; v < len; v++) {
		if (!is_value_byte((unsigned char)line[v])) {
			*why = "a header value has a control character";
			return 400;
		}
	}
	for (size_t v = len; v > i + 1 && (line[v - 1] == ' ' || line[v - 1] == '\t'); v--)
		line[v - 1] = ' ';
	return 0;
}

/* Whether len bytes of a head are too many already. 0, or a status. */
static unsigned
check_limits(const struct request *req, size_t len, const char **why)
{
	const size_t line_len = req->fields_start == 0 ? len : req->fields_start;

	if (line_len > (size_t)req->limits->target_size + REQUEST_LINE_EXTRA) {
		*why = "the request target is over limits.target_size";
		return 414;
	}
	if (req->fields_start > 0 &&
	    len - req->fields_start > (size_t)req->limits->header_size + 2) {
		*why = "the headers are over limits.header_size";
		return 431;
	}
	return 0;
}

/*
 * Looks for the end of the head in its first len bytes, going on where it stopped.
 * 0 with *end: behind the empty line, or 0 if there is none yet; else a status.
 */
static unsigned
find_head_end(struct request *req, const char *head, size_t len, size_t *end, const char **why)
{
	const char *lf;
	unsigned status;

	*end = 0;
	while ((lf = memchr(head + req->scanned, '\n', len - req->scanned)) != NULL) {
		size_t at = (size_t)(lf - head);

		if (at == req->line_start || head[at - 1] != '\r') {
			/* Not what is wrong first, if the limit was passed before. */
			status = check_limits(req, at, why);
			if (status == 0) {
				*why = "a line must end in CR LF";
				status = 400;
			}
			return status;
		}
		req->scanned = at + 1;
		if (at - 1 == req->line_start) {
			*end = at + 1;
			break;
		}
		if (req->fields_start == 0)
			req->fields_start = at + 1;
		req->line_start = at + 1;
	}
	if (*end == 0)
		req->scanned = lf == NULL ? len : req->scanned;
	status = check_limits(req, *end > 0 ? *end : len, why);
	if (status != 0)
		*end = 0;
	return status;
}

static bool
name_is(const struct request *req, const struct field *f, const char *name)
{
	return strlen(name) == f->name_len &&
	       strncasecmp(req->head.base + f->name, name, f->name_len) == 0;
}

static int
on_header_field(http_parser *parser, const char *at, size_t len)
{
	struct request *req = parser->data;
	struct field *f;

	if (req->phase != PHASE_HEAD)
		return 0; /* a trailer: checked by the chunk guard, and of no use here */
	if (req->head.n_fields == req->head.fields_cap) {
		size_t cap = req->head.fields_cap * 2;
		struct field *fields = realloc(req->head.fields, cap * sizeof(*fields));

		if (fields == NULL)
			return 1;
		req->head.fields = fields;
		req->head.fields_cap = cap;
	}
	/* The head is fed in one piece, so a name comes in one piece. */
	f = &req->head.fields[req->head.n_fields++];
	f->name = (uint32_t)(at - req->head.base);
	f->name_len = (uint32_t)len;
	f->value = 0;
	f->value_len = 0;
	/* http-parser takes a header whose name goes on behind Transfer-Encoding for that one,
	 * and would then refuse the Content-Length beside it. */
	req->has_coding |= name_is(req, f, "Transfer-Encoding");
	if (!req->has_coding)
		parser->uses_transfer_encoding = 0;
	return 0;
}

static int
on_header_value(http_parser *parser, const char *at, size_t len)
{
	struct request *req = parser->data;
	struct field *f;

	if (req->phase != PHASE_HEAD)
		return 0;
	f = &req->head.fields[req->head.n_fields - 1];
	while (len > 0 && at[len - 1] == ' ')
		len--;
	f->value = (uint32_t)(at - req->head.base);
	f->value_len = (uint32_t)len;
	return 0;
}

static int
on_url(http_parser *parser, const char *at, size_t len)
{
	struct request *req = parser->data;

	req->target = (uint32_t)(at - req->head.base);
	req->target_len = (uint32_t)len;
	return 0;
}

/* Some bytes of the body; -1: it is over its limit, or memory is out. */
static int
take_body(struct request *req, const char *at, size_t len)
{
	req->body_seen += len;
	if (req->body_seen > req->body_max)
		return -1;
	if (!req->keep_body)
		return 0;
	if (req->body_len == 0 && !req->chunked && (int64_t)len == req->head.content_length) {
		req->body = at; /* whole and in place: the message takes it from here */
		req->body_len = len;
		return 0;
	}
	if (req->body_len + len > req->body_cap) {
		size_t cap = req->body_cap == 0 ? 4096 : req->body_cap;
		char *buf;

		while (cap < req->body_len + len)
			cap *= 2;
		buf = realloc(req->body_buf, cap);
		if (buf == NULL)
			return -1;
		req->body_buf = buf;
		req->body_cap = cap;
	}
	memcpy(req->body_buf + req->body_len, at, len);
	req->body_len += len;
	req->body = req->body_buf;
	return 0;
}

static int
on_body(http_parser *parser, const char *at, size_t len)
{
	return take_body(parser->data, at, len);
}

static const http_parser_settings settings = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_body = on_body,
};

static bool
slice_is(struct slice s, const char *text)
{
	return s.p != NULL && strlen(text) == s.len && strncasecmp(s.p, text, s.len) == 0;
}

static void
index_fields(struct request *req)
{
	for (size_t i = 0; i < req->head.n_fields; i++) {
		const struct field *f = &req->head.fields[i];
		const enum request_header h = head_known(req->head.base + f->name, f->name_len);

		if (h != HEADER_COUNT)
			head_index(&req->head, h, i);
	}
}

bool
request_next_option(
    const struct request *req, struct connection_cursor *cursor, struct slice *option)
{
	for (; cursor->field < req->head.n_fields; cursor->field++, cursor->at = 0) {
		const struct field *f = &req->head.fields[cursor->field];
		const char *p, *end, *comma;

		if (cursor->at >= f->value_len || !name_is(req, f, "Connection"))
			continue;
		p = req->head.base + f->value + cursor->at;
		end = req->head.base + f->value + f->value_len;
		comma = memchr(p, ',', (size_t)(end - p));
		if (comma != NULL)
			end = comma;
		cursor->at = (size_t)(end - (req->head.base + f->value)) + 1;
		while (p < end && (*p == ' ' || *p == '\t'))
			p++;
		while (p < end && (end[-1] == ' ' || end[-1] == '\t'))
			end--;
		*option = (struct slice){p, (size_t)(end - p)};
		return true;
	}
	return false;
}

/* Whether the connection goes on behind this request (RFC 9112, 9.3). */
static bool
is_kept_alive(const struct request *req)
{
	struct connection_cursor cursor = {0, 0};
	struct slice option;
	bool keep = !req->head.http10;

	while (request_next_option(req, &cursor, &option)) {
		if (slice_is(option, "close"))
			return false;
		if (slice_is(option, "keep-alive"))
			keep = true;
	}
	return keep;
}

/* RFC 3986, 3.1 */
static bool
is_scheme(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		const char c = s[i];
		const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

		if (!letter && (i == 0 || !((c >= '0' && c <= '9') || strchr("+-.", c) != NULL)))
			return false;
	}
	return len > 0;
}

/* The target as origin-form: absolute-form loses its scheme and authority. */
static bool
split_target(struct request *req)
{
	const char *t = req->head.base + req->target;
	size_t len = req->target_len, start = 0, i;

	if (len == 1 && t[0] == '*') {
		req->head.path = req->target;
		req->head.path_len = 1;
		req->head.query_len = 0;
		req->head.has_query = false;
		return true;
	}
	if (t[0] != '/') {
		const char *sep = memmem(t, len, "://", 3);

		if (sep == NULL || !is_scheme(t, (size_t)(sep - t)))
			return false;
		start = (size_t)(sep - t) + 3;
		while (start < len && t[start] != '/' && t[start] != '?')
			start++;
	}
	i = start;
	while (i < len && t[i] != '?')
		i++;
	req->head.path = req->target + (uint32_t)start;
	req->head.path_len = (uint32_t)(i - start);
	req->head.has_query = i < len && t[i] == '?';
	req->head.query = req->target + (uint32_t)i + 1;
	req->head.query_len = req->head.has_query ? (uint32_t)(len - i - 1) : 0;
	return true;
}

/* What the headers say together. 0 or a status. */
static unsigned
check_fields(struct request *req, const char **why)
{
	struct slice te = request_header(req, HEADER_TRANSFER_ENCODING);
	struct slice expect = request_header(req, HEADER_EXPECT);

	if (request_header_twice(req, HEADER_HOST) ||
	    (!req->head.http10 && !head_has(&req->head, HEADER_HOST))) {
		*why = "a request must have one Host header";
		return 400;
	}
	if (request_header_twice(req, HEADER_CONTENT_TYPE)) {
		*why = "two Content-Type headers";
		return 400;
	}
	if (request_header_twice(req, HEADER_CONTENT_LENGTH)) {
		*why = "two Content-Length headers";
		return 400;
	}
	if (te.p != NULL) {
		if (req->head.http10) {
			*why = "Transfer-Encoding in HTTP/1.0";
			return 400;
		}
		if (head_has(&req->head, HEADER_CONTENT_LENGTH)) {
			*why = "both Content-Length and Transfer-Encoding";
			return 400;
		}
		if (request_header_twice(req, HEADER_TRANSFER_ENCODING) ||
		    !slice_is(te, "chunked")) {
			*why = "the only transfer coding is chunked";
			return 501;
		}
	}
	if (expect.p != NULL && !req->head.http10 && !slice_is(expect, "100-continue")) {
		*why = "the only expectation is 100-continue";
		return 417;
	}
	return 0;
}

/* take_body() has failed. */
static enum request_event
refuse_body(struct request *req)
{
	if (req->body_seen > req->body_max)
		return refuse(req, 413, "the body is too large");
	return refuse(req, 503, "out of memory");
}

/* What http-parser found wrong, as a status. */
static enum request_event
refuse_parsed(struct request *req)
{
	switch (HTTP_PARSER_ERRNO(&req->parser)) {
	case HPE_INVALID_TRANSFER_ENCODING:
		return refuse(req, 501, "the only transfer coding is chunked");
	case HPE_CB_body:
		return refuse_body(req);
	case HPE_CB_header_field:
		return refuse(req, 503, "out of memory");
	case HPE_INVALID_CONTENT_LENGTH:
	case HPE_UNEXPECTED_CONTENT_LENGTH:
		return refuse(req, 400, "Content-Length must be one number");
	case HPE_INVALID_URL:
		return refuse(req, 400, "the request target is malformed");
	default:
		return refuse(req, 400, "the request is malformed");
	}
}

/* A whole head of len bytes at head, which is req->head.base. */
static enum request_event
parse_head(struct request *req, char *head, size_t len)
{
	const char *why = NULL;
	size_t method_len, start = req->fields_start;
	unsigned status;

	status = check_request_line(req, head, start - 2, &method_len, &why);
	if (status != 0)
		return refuse(req, status, why);
	while (start < len - 2) {
		const char *lf = memchr(head + start, '\n', len - start);
		size_t line_len = (size_t)(lf - head) - start - 1;

		status = check_field_line(head + start, line_len, &why);
		if (status != 0)
			return refuse(req, status, why);
		start += line_len + 2;
	}

	http_parser_init(&req->parser, HTTP_REQUEST);
	req->parser.data = req;
	/*
	 * The parser knows the methods of 2016 only and gives CONNECT a meaning of its own. A
	 * method that no location serves is answered with 405 whatever it means.
	 */
	if (req->head.method == METHOD_OTHER) {
		http_parser_execute(&req->parser, &settings, "POST", 4);
		start = method_len;
	} else {
		start = 0;
	}
	http_parser_execute(&req->parser, &settings, head + start, len - start);
	/* Found here before the parser's word for it: these have a status of their own. */
	index_fields(req);
	status = req->parser.http_errno == HPE_OK || head_has(&req->head, HEADER_TRANSFER_ENCODING)
		     ? check_fields(req, &why)
		     : 0;
	if (status != 0)
		return refuse(req, status, why);
	if (HTTP_PARSER_ERRNO(&req->parser) != HPE_OK)
		return refuse_parsed(req);
	if (!split_target(req))
		return refuse(req, 400, "the request target must be a path or an absolute URL");

	req->head.keep_alive = is_kept_alive(req);
	req->chunked = head_has(&req->head, HEADER_TRANSFER_ENCODING);
	if (head_has(&req->head, HEADER_CONTENT_LENGTH)) {
		if (req->parser.content_length > INT64_MAX)
			return refuse(req, 400, "Content-Length must be one number");
		/* Where there is no body, the parser has begun anew and forgotten it. */
		req->head.content_length = 0;
		if (req->parser.content_length != UINT64_MAX)
			req->head.content_length = (int64_t)req->parser.content_length;
		req->body_left = (uint64_t)req->head.content_length;
	}
	req->chunk = CHUNK_SIZE_FIRST;
	req->chunk_left = 0;
	req->chunk_noise = 0;
	req->phase = PHASE_DECIDE;
	return REQUEST_HEAD;
}

static bool
grow_head(struct request *req, size_t len)
{
	size_t cap = req->copy_cap == 0 ? 1024 : req->copy_cap;
	char *head;

	if (len <= req->copy_cap)
		return true;
	while (cap < len)
		cap *= 2;
	head = realloc(req->copy, cap);
	if (head == NULL)
		return false;
	req->copy = head;
	req->copy_cap = cap;
	return true;
}

/* Apart from its caller, which is spared its local variables for the ordinary request. */
static NOINLINE enum request_event
feed_any_head(struct request *req, char *data, size_t len, size_t *used)
{
	const char *why = NULL;
	size_t skipped = 0, end, before = req->copy_len, room, take;
	unsigned status;

	/* Empty lines before a request are passed over (RFC 9112, 2.2). */
	if (req->copy_len == 0) {
		while (skipped + 1 < len && data[skipped] == '\r' && data[skipped + 1] == '\n')
			skipped += 2;
		*used = skipped;
		data += skipped;
		len -= skipped;
		if (len == 0)
			return REQUEST_MORE;
		/* What is no request at all, such as a TLS handshake, need not go on for long. */
		if (data[0] != '\r' && !is_token_byte((unsigned char)data[0]))
			return refuse(req, 400, request_line_form);
		status = find_head_end(req, data, len, &end, &why);
		if (status != 0)
			return refuse(req, status, why);
		if (end > 0) {
			req->head.base = data;
			*used += end;
			return parse_head(req, data, end);
		}
	}
	/* In pieces: collected, never more than the limits allow. */
	room = (size_t)req->limits->target_size + REQUEST_LINE_EXTRA + req->limits->header_size + 4;
	take = len < room - before ? len : room - before;
	if (!grow_head(req, before + take))
		return refuse(req, 503, "out of memory");
	memcpy(req->copy + before, data, take);
	req->copy_len += take;
	req->head.base = req->copy;
	if (before == 0) {
		/* find_head_end() has seen these. */
		*used += take;
		/* One lone CR may still become an empty line. */
		return REQUEST_MORE;
	}
	if (before == 1 && req->copy[0] == '\r' && req->copy[1] == '\n') {
		request_reset(req);
		*used += 1;
		return REQUEST_MORE;
	}
	status = find_head_end(req, req->copy, req->copy_len, &end, &why);
	if (status != 0)
		return refuse(req, status, why);
	if (end == 0) {
		*used += take;
		return REQUEST_MORE;
	}
	*used += end - before;
	req->copy_len = end;
	return parse_head(req, req->copy, end);
}

static enum request_event
feed_head(struct request *req, char *data, size_t len, size_t *used)
{
	size_t head_len = 0;

	if (req->copy_len == 0)
		head_len = fastrequest_read(&req->head, data, len, req->limits);
	if (head_len == 0)
		return feed_any_head(req, data, len, used);
	req->head.base = data;
	req->scanned = *used = head_len;
	if (req->head.content_length > 0)
		req->body_left = (uint64_t)req->head.content_length;
	req->phase = PHASE_DECIDE;
	return REQUEST_HEAD;
}

static int
hex_digit(unsigned char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/*
 * Follows the framing of a chunked body over len bytes, strictly; *end: behind the last
 * byte that is the body's. *chunks: behind the last one that is no trailer's, for
 * http-parser takes a Content-Length there at its word. 0, or a status.
 */
static unsigned
guard_chunks(
    struct request *req, char *data, size_t len, size_t *end, size_t *chunks, const char **why)
{
	size_t i = 0;
	int digit;

	*why = "the chunked body is malformed";
	*chunks = 0;
	while (i < len && req->chunk != CHUNK_END) {
		const unsigned char c = (unsigned char)data[i];
		const bool in_trailers = req->chunk >= CHUNK_TRAILER_FIRST;

		switch (req->chunk) {
		case CHUNK_SIZE_FIRST:
		case CHUNK_SIZE:
			digit = hex_digit(c);
			if (digit < 0 && req->chunk == CHUNK_SIZE_FIRST)
				return 400;
			if (digit >= 0) {
				if (req->chunk_left > (UINT64_MAX >> 8)) {
					*why = "a chunk size overflows";
					return 400;
				}
				req->chunk_left = req->chunk_left << 4 | (unsigned)digit;
				req->chunk_noise++;
				req->chunk = CHUNK_SIZE;
			} else if (c == '\r') {
				req->chunk = CHUNK_SIZE_LF;
			} else if (c == ';') {
				req->chunk = CHUNK_EXTENSION;
			} else if (c == ' ' || c == '\t') {
				data[i] = ' '; /* http-parser knows no tab here */
				req->chunk = CHUNK_SIZE_BLANK;
			} else {
				return 400;
			}
			break;
		case CHUNK_SIZE_BLANK:
			req->chunk_noise++;
			if (c == ';')
				req->chunk = CHUNK_EXTENSION;
			else if (c != ' ' && c != '\t')
				return 400;
			else
				data[i] = ' ';
			break;
		case CHUNK_EXTENSION:
			req->chunk_noise++;
			if (c == '\r')
				req->chunk = CHUNK_SIZE_LF;
			else if (!is_value_byte(c))
				return 400;
			break;
		case CHUNK_SIZE_LF:
			if (c != '\n')
				return 400;
			req->chunk = req->chunk_left == 0 ? CHUNK_TRAILER_FIRST : CHUNK_DATA;
			break;
		case CHUNK_DATA: {
			size_t n = len - i < req->chunk_left ? len - i : (size_t)req->chunk_left;

			req->chunk_left -= n;
			i += n - 1;
			if (req->chunk_left == 0)
				req->chunk = CHUNK_DATA_CR;
			break;
		}
		case CHUNK_DATA_CR:
			if (c != '\r')
				return 400;
			req->chunk = CHUNK_DATA_LF;
			break;
		case CHUNK_DATA_LF:
			if (c != '\n')
				return 400;
			req->chunk = CHUNK_SIZE_FIRST;
			break;
		case CHUNK_TRAILER_FIRST:
			req->chunk_noise++;
			if (c == '\r')
				req->chunk = CHUNK_END_LF;
			else if (is_token_byte(c))
				req->chunk = CHUNK_TRAILER_NAME;
			else
				return 400;
			break;
		case CHUNK_TRAILER_NAME:
			req->chunk_noise++;
			if (c == ':')
				req->chunk = CHUNK_TRAILER_VALUE;
			else if (!is_token_byte(c))
				return 400;
			break;
		case CHUNK_TRAILER_VALUE:
			req->chunk_noise++;
			if (c == '\r')
				req->chunk = CHUNK_TRAILER_LF;
			else if (!is_value_byte(c))
				return 400;
			break;
		case CHUNK_TRAILER_LF:
			if (c != '\n')
				return 400;
			req->chunk = CHUNK_TRAILER_FIRST;
			break;
		case CHUNK_END_LF:
			if (c != '\n')
				return 400;
			req->chunk = CHUNK_END;
			break;
		case CHUNK_END:
			break;
		}
		i++;
		if (!in_trailers)
			*chunks = i;
		if (req->chunk_noise > CHUNK_NOISE_MAX) {
			*why = "too much in chunk sizes, chunk extensions and trailers";
			return 431;
		}
	}
	*end = i;
	return 0;
}

static enum request_event
feed_chunks(struct request *req, char *data, size_t len, size_t *used)
{
	const char *why = NULL;
	size_t take = 0, parse;
	unsigned status = guard_chunks(req, data, len, &take, &parse, &why);

	if (parse > 0) {
		http_parser_execute(&req->parser, &settings, data, parse);
		if (HTTP_PARSER_ERRNO(&req->parser) != HPE_OK)
			return refuse_parsed(req);
	}
	/* Behind what was in order before it, which may have been too much already. */
	if (status != 0)
		return refuse(req, status, why);
	*used = take;
	if (req->chunk != CHUNK_END)
		return REQUEST_MORE;
	req->phase = PHASE_DONE;
	return REQUEST_COMPLETE;
}

/* A body of Content-Length bytes, or none. */
static enum request_event
feed_body(struct request *req, const char *data, size_t len, size_t *used)
{
	const size_t take = len < req->body_left ? len : (size_t)req->body_left;

	if (take > 0 && take_body(req, data, take) < 0)
		return refuse_body(req);
	req->body_left -= take;
	*used = take;
	if (req->body_left > 0)
		return REQUEST_MORE;
	req->phase = PHASE_DONE;
	return REQUEST_COMPLETE;
}

enum request_event
request_feed(struct request *req, char *data, size_t len, size_t *used)
{
	*used = 0;
	switch (req->phase) {
	case PHASE_HEAD:
		return feed_head(req, data, len, used);
	case PHASE_DECIDE:
		req->phase = PHASE_BODY;
		/* fall through */
	case PHASE_BODY:
		return req->chunked ? feed_chunks(req, data, len, used)
				    : feed_body(req, data, len, used);
	case PHASE_DONE:
		return REQUEST_COMPLETE;
	case PHASE_BAD:
		break;
	}
	return REQUEST_ERROR;
}

int
request_keep(struct request *req)
{
	size_t len;

	if (req->phase == PHASE_HEAD || req->head.base == NULL || req->head.base == req->copy)
		return 0;
	len = req->scanned; /* the whole head: its end was found */
	if (!grow_head(req, len))
		return -1;
	memcpy(req->copy, req->head.base, len);
	req->copy_len = len;
	req->head.base = req->copy;
	return 0;
}

bool
request_is_empty(const struct request *req)
{
	return req->phase == PHASE_HEAD && req->copy_len == 0;
}

bool
request_in_body(const struct request *req)
{
	return req->phase == PHASE_BODY || req->phase == PHASE_DECIDE;
}

unsigned
request_error(const struct request *req, const char **why)
{
	*why = req->why;
	return req->error;
}

struct slice
request_query_value(const struct request *req, const char *name)
{
	const struct slice query = request_query(req);
	const char *p = query.p, *end = query.p + query.len;
	const size_t name_len = strlen(name);

	while (p != NULL && p < end) {
		const char *amp = memchr(p, '&', (size_t)(end - p));
		const char *next = amp == NULL ? end : amp;

		if ((size_t)(next - p) > name_len && p[name_len] == '=' &&
		    memcmp(p, name, name_len) == 0)
			return (struct slice){p + name_len + 1, (size_t)(next - p) - name_len - 1};
		p = amp == NULL ? NULL : amp + 1;
	}
	return (struct slice){NULL, 0};
}

void
request_expect_body(struct request *req, bool keep, uint64_t max)
{
	req->keep_body = keep;
	req->body_max = max;
}

struct slice
request_body(const struct request *req)
{
	return (struct slice){req->body == NULL ? "" : req->body, req->body_len};
}
