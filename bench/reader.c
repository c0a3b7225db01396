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
	free(r->own);
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

/* Room for len bytes behind what is kept. */
static bool
make_room(struct reader *r, size_t len)
{
	size_t cap = r->cap > 0 ? r->cap : 512;
	char *more;

	if (r->end + len <= r->cap)
		return true;
	if (r->start > 0) {
		memmove(r->own, r->own + r->start, r->end - r->start);
		r->end -= r->start;
		r->start = 0;
	}
	while (cap < r->end + len)
		cap *= 2;
	if (cap > PENDING_MAX)
		return false;
	if (cap > r->cap) {
		if ((more = realloc(r->own, cap)) == NULL)
			return false;
		r->own = more;
		r->cap = cap;
	}
	r->pending = r->own;
	return true;
}

bool
reader_add(struct reader *r, char *bytes, size_t len)
{
	size_t from;

	consume(r);
	/* Chunks are taken out in place, which bytes are not to be changed for. */
	if (r->start == r->end && r->transport == LONGPOLL) {
		r->pending = bytes;
		r->end = len;
		return true;
	}
	if (!make_room(r, len))
		return false;
	from = r->end;
	memcpy(r->pending + from, bytes, len);
	r->end += len;
	if (r->chunked)
		dechunk(r, from);
	return true;
}

bool
reader_keep(struct reader *r)
{
	const char *rest = r->pending + r->start + r->drop;
	const size_t len = r->end - r->start - r->drop;

	if (r->pending == r->own)
		return true;
	r->pending = r->own;
	r->start = r->end = r->drop = 0;
	if (len == 0)
		return true;
	if (!make_room(r, len))
		return false;
	memcpy(r->own, rest, len);
	r->end = len;
	return true;
}

static enum reader_kind
bad(struct piece *out, const char *what)
{
	out->what = what;
	return READER_BAD;
}

/* Where the value of a line is, if it is this field's; else NULL. */
static const char *
field_value(const char *line, size_t len, const char *name, size_t name_len, size_t *value_len)
{
	const char *v = line + name_len, *end = line + len;

	if (len <= name_len || *v != ':' || (*line | 0x20) != (*name | 0x20) ||
	    strncasecmp(line, name, name_len) != 0)
		return NULL;
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
	const char *p = r->pending + r->start, *end = r->pending + r->end, *head_end = NULL, *line;
	size_t body_len = 0;
	bool has_length = false, accepted = false, chunked = false;

	for (line = p; head_end == NULL;) {
		const char *feed = memchr(line, '\n', (size_t)(end - line)), *value = NULL;
		size_t len, value_len = 0;

		if (feed == NULL)
			return READER_MORE;
		if (feed == line || feed[-1] != '\r')
			return bad(out, "a line of a head that ends without CR");
		len = (size_t)(feed - 1 - line);
#define IS_FIELD(name) \
	((value = field_value(line, len, name, sizeof(name) - 1, &value_len)) != NULL)
		if (line == p) {
			if (len < 12 || memcmp(p, "HTTP/1.1 ", 9) != 0)
				return bad(out, "not an answer of HTTP/1.1");
			out->status = (unsigned)atoi(p + 9);
		} else if (len == 0) {
			head_end = feed + 1;
		} else if (IS_FIELD("Content-Length")) {
			has_length = true;
			body_len = strtoul(value, NULL, 10);
		} else if (IS_FIELD("Last-Modified")) {
			out->last_modified = value;
			out->last_modified_len = value_len;
		} else if (IS_FIELD("Etag")) {
			out->etag = value;
			out->etag_len = value_len;
		} else if (IS_FIELD("Transfer-Encoding")) {
			chunked = value_is(value, value_len, "chunked");
		} else if (IS_FIELD("Sec-WebSocket-Accept")) {
			accepted = value_is(value, value_len, WEBSOCKET_ACCEPT);
		}
#undef IS_FIELD
		line = feed + 1;
	}
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
	const char *p = r->pending + r->start, *end = r->pending + r->end, *line = p;
	bool has_data = false;

	for (;;) {
		const char *line_end = memchr(line, '\n', (size_t)(end - line));

		if (line_end == NULL)
			return READER_MORE;
		if (line_end - line >= 5 && memcmp(line, "data:", 5) == 0) {
			if (has_data)
				return bad(out, "an event of several lines");
			has_data = true;
			out->body = line + 5 + (line[5] == ' ');
			out->body_len = (size_t)(line_end - out->body);
		} else if (line_end == line) {
			r->drop = (size_t)(line_end + 1 - p);
			if (has_data)
				return READER_MESSAGE;
			/* A comment alone, perhaps. */
			consume(r);
			if (r->start == r->end)
				return READER_MORE;
			p = r->pending + r->start;
		}
		line = line_end + 1;
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
