#include "bench/reader.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* More than any message here; who sends more than that without an end is broken. */
#define PENDING_MAX (16u << 20)

enum chunk_state {
	CHUNK_SIZE,   /* nothing of the next chunk's size has come */
	CHUNK_DIGITS, /* in the middle of its line */
	CHUNK_DATA,
	CHUNK_DATA_END, /* its CRLF */
	CHUNK_LAST,
};

void
reader_init(struct reader *r, enum transport transport, size_t message_size)
{
	memset(r, 0, sizeof(*r));
	r->transport = (uint8_t)transport;
	r->message_size = message_size;
}

void
reader_reset(struct reader *r)
{
	free(r->pending);
	memset(r, 0, sizeof(*r));
}

static void
consume(struct reader *r)
{
	r->start += r->drop;
	r->drop = 0;
	if (r->start == r->end)
		r->start = r->end = 0;
}

bool
reader_at_boundary(const struct reader *r)
{
	return r->start + r->drop == r->end && !r->ended &&
	       (r->headed || r->transport == LONGPOLL) && r->chunk == CHUNK_SIZE;
}

/* -1: no hexadecimal digit. */
static int
digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/*
 * Takes the framing of chunks out of what lies from `from` to the end of pending, in place.
 * A bad size ends the stream, which the caller takes for an early end.
 */
static void
dechunk(struct reader *r, size_t from)
{
	size_t in = from, out = from;

	while (in < r->end) {
		char c = r->pending[in];

		switch ((enum chunk_state)r->chunk) {
		case CHUNK_SIZE:
			r->chunk_left = 0;
			r->chunk = CHUNK_DIGITS;
			/* fall through */
		case CHUNK_DIGITS:
			in++;
			if (c == '\n')
				r->chunk = r->chunk_left > 0 ? CHUNK_DATA : CHUNK_LAST;
			else if (digit(c) >= 0 && r->chunk_left < PENDING_MAX)
				r->chunk_left = r->chunk_left * 16 + (uint64_t)digit(c);
			else if (c != '\r')
				r->chunk = CHUNK_LAST;
			break;
		case CHUNK_DATA: {
			size_t n = r->end - in;

			if (n > r->chunk_left)
				n = r->chunk_left;
			memmove(r->pending + out, r->pending + in, n);
			in += n;
			out += n;
			r->chunk_left -= n;
			if (r->chunk_left == 0)
				r->chunk = CHUNK_DATA_END;
			break;
		}
		case CHUNK_DATA_END:
			in++;
			if (c == '\n')
				r->chunk = CHUNK_SIZE;
			break;
		case CHUNK_LAST:
			in = r->end;
			break;
		}
	}
	r->end = out;
	r->ended = r->chunk == CHUNK_LAST;
}

bool
reader_add(struct reader *r, const char *bytes, size_t len)
{
	size_t from;

	consume(r);
	if (r->end + len > r->cap) {
		size_t cap = r->cap > 0 ? r->cap : 512;
		char *more;

		if (r->start > 0) {
			memmove(r->pending, r->pending + r->start, r->end - r->start);
			r->end -= r->start;
			r->start = 0;
		}
		while (cap < r->end + len)
			cap *= 2;
		if (cap > PENDING_MAX || (more = realloc(r->pending, cap)) == NULL)
			return false;
		r->pending = more;
		r->cap = cap;
	}
	from = r->end;
	memcpy(r->pending + from, bytes, len);
	r->end += len;
	if (r->chunked)
		dechunk(r, from);
	return true;
}

static enum reader_kind
bad(struct piece *out, const char *what)
{
	out->what = what;
	return READER_BAD;
}

static bool
is_field(const char *line, size_t len, const char *name)
{
	size_t n = strlen(name);

	return len > n && line[n] == ':' && strncasecmp(line, name, n) == 0;
}

static const char *
field_value(const char *line, size_t len, size_t *value_len)
{
	const char *v = memchr(line, ':', len), *end = line + len;

	v++;
	while (v < end && *v == ' ')
		v++;
	*value_len = (size_t)(end - v);
	return v;
}

static bool
value_is(const char *value, size_t len, const char *wanted)
{
	return len == strlen(wanted) && strncasecmp(value, wanted, len) == 0;
}

/* The head of an answer, and of a poll's answer all of it. */
static enum reader_kind
next_answer(struct reader *r, struct piece *out)
{
	const char *p = r->pending + r->start, *end = r->pending + r->end, *head_end, *line;
	size_t body_len = 0, len;
	bool has_length = false, accepted = false, chunked = false;

	head_end = memmem(p, (size_t)(end - p), "\r\n\r\n", 4);
	if (head_end == NULL)
		return READER_MORE;
	head_end += 2;
	if (head_end - p < 14 || memcmp(p, "HTTP/1.1 ", 9) != 0)
		return bad(out, "not an answer of HTTP/1.1");
	out->status = (unsigned)atoi(p + 9);
	for (line = p; line < head_end; line += len + 2) {
		const char *value;
		size_t value_len;

		len = (size_t)((const char *)memmem(line, (size_t)(head_end - line), "\r\n", 2) -
			       line);
		if (line == p || memchr(line, ':', len) == NULL)
			continue;
		value = field_value(line, len, &value_len);
		if (is_field(line, len, "Content-Length")) {
			has_length = true;
			body_len = strtoul(value, NULL, 10);
		} else if (is_field(line, len, "Last-Modified")) {
			out->last_modified = value;
			out->last_modified_len = value_len;
		} else if (is_field(line, len, "Etag")) {
			out->etag = value;
			out->etag_len = value_len;
		} else if (is_field(line, len, "Transfer-Encoding")) {
			chunked = value_is(value, value_len, "chunked");
		} else if (is_field(line, len, "Sec-WebSocket-Accept")) {
			accepted = value_is(value, value_len, WEBSOCKET_ACCEPT);
		}
	}
	head_end += 2;
	r->drop = (size_t)(head_end - p);
	if (r->transport == LONGPOLL) {
		if (!has_length && out->status != 304 && out->status != 204)
			return bad(out, "an answer without Content-Length");
		if (body_len > PENDING_MAX)
			return bad(out, "a body beyond reason");
		if ((size_t)(end - head_end) < body_len) {
			r->drop = 0;
			return READER_MORE;
		}
		out->body = head_end;
		out->body_len = body_len;
		r->drop += body_len;
		return READER_ANSWER;
	}
	if (r->transport == WEBSOCKET && (out->status != 101 || !accepted))
		return bad(out, "the handshake was not answered by 101 and the right key");
	if (r->transport != WEBSOCKET && out->status != 200)
		return bad(out, "the stream was refused");
	r->headed = true;
	r->chunked = chunked;
	if (chunked)
		dechunk(r, r->start + r->drop);
	return READER_ANSWER;
}

/* Messages here have no line ends, so an event has one data line. */
static enum reader_kind
next_event(struct reader *r, struct piece *out)
{
	for (;;) {
		const char *p = r->pending + r->start, *end = r->pending + r->end;
		const char *event_end = memmem(p, (size_t)(end - p), "\n\n", 2), *line;
		bool has_data = false;

		if (event_end == NULL)
			return READER_MORE;
		event_end++;
		r->drop = (size_t)(event_end + 1 - p);
		for (line = p; line < event_end;) {
			const char *line_end = memchr(line, '\n', (size_t)(event_end - line));

			if (line_end - line >= 5 && memcmp(line, "data:", 5) == 0) {
				if (has_data)
					return bad(out, "an event of several lines");
				has_data = true;
				out->body = line + 5 + (line[5] == ' ');
				out->body_len = (size_t)(line_end - out->body);
			}
			line = line_end + 1;
		}
		if (has_data)
			return READER_MESSAGE;
		consume(r);
	}
}

static enum reader_kind
next_part(struct reader *r, struct piece *out)
{
	/* What stands between two messages, if anything. */
	while (r->start < r->end && r->pending[r->start] == '\n')
		r->start++;
	if (r->end - r->start < r->message_size) {
		consume(r);
		return READER_MORE;
	}
	out->body = r->pending + r->start;
	out->body_len = r->drop = r->message_size;
	/* The separator belongs to it if it came along, so that the boundary is behind both. */
	if (r->start + r->drop < r->end && r->pending[r->start + r->drop] == '\n')
		r->drop++;
	return READER_MESSAGE;
}

static enum reader_kind
next_frame(struct reader *r, struct piece *out)
{
	for (;;) {
		const unsigned char *p = (const unsigned char *)r->pending + r->start;
		size_t have = r->end - r->start, head = 2, len, i;

		if (have < 2)
			return READER_MORE;
		if ((p[0] & 0x70) != 0 || (p[0] & 0x80) == 0 || (p[1] & 0x80) != 0)
			return bad(out, "a frame that is compressed, masked or only a part");
		len = p[1];
		if (len >= 126) {
			head = len == 126 ? 4 : 10;
			if (have < head)
				return READER_MORE;
			for (i = 2, len = 0; i < head; i++)
				len = len << 8 | p[i];
		}
		if (len > PENDING_MAX)
			return bad(out, "a frame beyond reason");
		if (have - head < len)
			return READER_MORE;
		out->body = r->pending + r->start + head;
		out->body_len = len;
		r->drop = head + len;
		switch (p[0] & 0x0f) {
		case 1:
		case 2:
			return READER_MESSAGE;
		case 8:
			return READER_END;
		case 9:
			return READER_PING;
		case 10:
			consume(r);
			break;
		default:
			return bad(out, "a frame of an unknown kind");
		}
	}
}

enum reader_kind
reader_next(struct reader *r, struct piece *out)
{
	enum reader_kind kind = READER_MORE;

	memset(out, 0, sizeof(*out));
	consume(r);
	if (r->start == r->end)
		return r->ended ? READER_END : READER_MORE;
	if (r->transport == LONGPOLL || !r->headed)
		return next_answer(r, out);
	switch ((enum transport)r->transport) {
	case EVENTSOURCE:
		kind = next_event(r, out);
		break;
	case STREAM:
		kind = next_part(r, out);
		break;
	case WEBSOCKET:
		kind = next_frame(r, out);
		break;
	case LONGPOLL:
	case TRANSPORTS:
		break;
	}
	return kind == READER_MORE && r->ended ? READER_END : kind;
}
