#include "relay/wsframe.h"

#include "relay/utf8.h"
#include "relay/wsdeflate.h"

#include <stdlib.h>
#include <string.h>

/* The first byte of a frame, and a bit of the second (RFC 6455, 5.2). */
#define FIN       0x80
#define RSV1      0x40
#define RSV2_RSV3 0x30
#define OPCODE    0x0f
#define MASKED    0x80
#define CONTROL   0x08 /* of an opcode */

#define CONTINUATION 0

/* Longest head of a client's frame: two bytes, a length of eight, the mask. */
#define HEAD_MAX 14
#define MASK_LEN 4

/* Smallest block for a message. */
#define BLOCK_MIN 256

struct block {
	char *p;
	size_t len, cap;
};

/*
 * Where a connection's input stands. What is zero has not begun, so that a reader that is
 * between two messages is all zeros, and need not be there.
 */
struct wsframe_reader {
	/* The frame. Its head is collected, then its payload is dealt with as it comes. */
	unsigned char head[HEAD_MAX];
	uint8_t head_len;
	bool in_payload;
	uint64_t payload_len, payload_left;
	/* The payload of a control frame that did not come in one piece. */
	uint8_t control_len;
	char control[WSFRAME_CONTROL_MAX];
	/* The message: of frames between which control frames may come. */
	enum wsframe_type type; /* 0: none */
	bool compressed;
	bool dropping;        /* it is longer than what is kept */
	uint64_t message_len; /* of the frames whose heads are complete */
	struct utf8 utf8;
	struct block block; /* what is kept, compressed as it came */
	/* The event that was returned points into this reader, until the next call. */
	bool given;
};

/* ---- blocks ---------------------------------------------------------------------------- */

static void
block_free(struct block *b)
{
	free(b->p);
	*b = (struct block){NULL, 0, 0};
}

/* Doubles it, but not beyond limit, which what is in it never exceeds. */
static int MUST_CHECK
block_add(struct block *b, const char *p, size_t len, uint64_t limit)
{
	size_t cap = b->cap < BLOCK_MIN ? BLOCK_MIN : b->cap;
	char *grown;

	if (len > SIZE_MAX / 4 - b->len)
		return -1;
	if (b->p == NULL || len > b->cap - b->len) {
		while (cap < b->len + len)
			cap *= 2;
		if (cap > limit && limit >= BLOCK_MIN)
			cap = (size_t)limit;
		grown = realloc(b->p, cap);
		if (grown == NULL)
			return -1;
		b->p = grown;
		b->cap = cap;
	}
	if (len > 0)
		memcpy(b->p + b->len, p, len);
	b->len += len;
	return 0;
}

/* ---- errors ---------------------------------------------------------------------------- */

static int
fail(struct wsframe_event *event, enum wsframe_code code, const char *why)
{
	event->code = (uint16_t)code;
	event->why = why;
	return -1;
}

static int
out_of_memory(struct wsframe_event *event)
{
	return fail(event, WSFRAME_OUR_FAULT, "out of memory");
}

/* ---- the head of a frame --------------------------------------------------------------- */

static uint8_t
opcode_of(const struct wsframe_reader *r)
{
	return r->head[0] & OPCODE;
}

static bool
is_control(const struct wsframe_reader *r)
{
	return (r->head[0] & CONTROL) != 0;
}

/* How many bytes of length follow the second byte. */
static size_t
length_bytes(const struct wsframe_reader *r)
{
	unsigned len = r->head[1] & 0x7f;

	return len == 126 ? 2 : len == 127 ? 8 : 0;
}

static int
check_first_byte(
    const struct wsframe_reader *r, const struct wsframe_limits *limits, struct wsframe_event *ev)
{
	unsigned char first = r->head[0];
	uint8_t opcode = opcode_of(r);

	if ((first & RSV2_RSV3) != 0)
		return fail(ev, WSFRAME_PROTOCOL_ERROR, "a reserved bit is set");
	if ((first & RSV1) != 0 && !limits->deflate)
		return fail(ev, WSFRAME_PROTOCOL_ERROR,
		    "a reserved bit is set, and no compression was agreed upon");
	if ((first & RSV1) != 0 && opcode != WSFRAME_TEXT && opcode != WSFRAME_BINARY)
		return fail(ev, WSFRAME_PROTOCOL_ERROR,
		    "only the first frame of a message can say that it is compressed");
	switch (opcode) {
	case CONTINUATION:
		if (r->type == 0)
			return fail(ev, WSFRAME_PROTOCOL_ERROR, "there is nothing to continue");
		return 0;
	case WSFRAME_TEXT:
	case WSFRAME_BINARY:
		if (r->type != 0)
			return fail(ev, WSFRAME_PROTOCOL_ERROR,
			    "a message begins before the last one is complete");
		return 0;
	case WSFRAME_CLOSE:
	case WSFRAME_PING:
	case WSFRAME_PONG:
		if ((first & FIN) == 0)
			return fail(ev, WSFRAME_PROTOCOL_ERROR, "a control frame is fragmented");
		return 0;
	default:
		return fail(ev, WSFRAME_PROTOCOL_ERROR, "a reserved opcode");
	}
}

static int
check_second_byte(const struct wsframe_reader *r, struct wsframe_event *ev)
{
	if ((r->head[1] & MASKED) == 0)
		return fail(ev, WSFRAME_PROTOCOL_ERROR, "a client's frame is not masked");
	if (is_control(r) && (r->head[1] & 0x7f) > WSFRAME_CONTROL_MAX)
		return fail(ev, WSFRAME_PROTOCOL_ERROR, "a control frame is too long");
	return 0;
}

/*
 * The longest that a message of max bytes may be when it is compressed: deflate's fixed
 * codes, the worst that a compressor needs to make of any bytes, are of 9 bits at most.
 */
static uint64_t
compressed_max(uint64_t max)
{
	uint64_t more = max / 8 + 64;

	return more < UINT64_MAX - max ? max + more : UINT64_MAX;
}

/* The longest that the message may be as it comes. */
static uint64_t
payload_max(const struct wsframe_reader *r, const struct wsframe_limits *limits)
{
	return r->compressed ? compressed_max(limits->message_max) : limits->message_max;
}

/* The first frame of a message, or its next; its length is known. */
static int
enter_message(
    struct wsframe_reader *r, const struct wsframe_limits *limits, struct wsframe_event *ev)
{
	if (r->type == 0) {
		r->type = (enum wsframe_type)opcode_of(r);
		r->compressed = (r->head[0] & RSV1) != 0;
	}
	if (r->payload_len > payload_max(r, limits) - r->message_len)
		return fail(ev, WSFRAME_TOO_BIG, "the message is too long");
	r->message_len += r->payload_len;
	if (!r->compressed && r->message_len > limits->keep_max) {
		r->dropping = true;
		block_free(&r->block);
	}
	return 0;
}

/* The bytes of length are there. */
static int
check_length(
    struct wsframe_reader *r, const struct wsframe_limits *limits, struct wsframe_event *ev)
{
	size_t n = length_bytes(r);
	uint64_t len = n > 0 ? 0 : r->head[1] & 0x7f;

	for (size_t i = 0; i < n; i++)
		len = len << 8 | r->head[2 + i];
	if ((n == 2 && len < 126) || (n == 8 && len <= UINT16_MAX))
		return fail(ev, WSFRAME_PROTOCOL_ERROR, "a length is not in its shortest form");
	if (len > INT64_MAX)
		return fail(ev, WSFRAME_PROTOCOL_ERROR, "a length has its top bit set");
	if (opcode_of(r) == WSFRAME_CLOSE && len == 1)
		return fail(ev, WSFRAME_PROTOCOL_ERROR, "half a close code");
	r->payload_len = r->payload_left = len;
	return is_control(r) ? 0 : enter_message(r, limits, ev);
}

/*
 * The next byte of the head. Each is checked as it comes, so that the same head ends in the
 * same error however it is cut.
 */
static int
take_head_byte(struct wsframe_reader *r, const struct wsframe_limits *limits, unsigned char c,
    struct wsframe_event *ev)
{
	r->head[r->head_len++] = c;
	if (r->head_len == 1)
		return check_first_byte(r, limits, ev);
	if (r->head_len == 2 && check_second_byte(r, ev) < 0)
		return -1;
	if (r->head_len == 2 + length_bytes(r) && check_length(r, limits, ev) < 0)
		return -1;
	r->in_payload = r->head_len == 2 + length_bytes(r) + MASK_LEN;
	return 0;
}

/* ---- payloads -------------------------------------------------------------------------- */

/* Of the payload's bytes from its byte number at on. */
static void
unmask(const struct wsframe_reader *r, uint64_t at, char *p, size_t len)
{
	const unsigned char *mask = r->head + r->head_len - MASK_LEN;
	unsigned char turned[8];
	uint64_t key, eight;

	for (size_t i = 0; i < sizeof(turned); i++)
		turned[i] = mask[(at + i) % MASK_LEN];
	memcpy(&key, turned, 8);
	for (; len >= 8; p += 8, len -= 8) {
		memcpy(&eight, p, 8);
		eight ^= key;
		memcpy(p, &eight, 8);
	}
	for (size_t i = 0; i < len; i++)
		p[i] = (char)((unsigned char)p[i] ^ turned[i]);
}

/*
 * What a peer may say in a close frame: RFC 6455, 7.4, and of what has been registered
 * since, 1012 to 1014. 1004 to 1006 and 1015 are never sent.
 */
static bool
code_valid(unsigned code)
{
	return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
	       (code >= 3000 && code <= 4999);
}

/* A control frame is complete. */
static int
end_control(uint8_t opcode, const char *p, size_t len, struct wsframe_event *ev)
{
	if (opcode != WSFRAME_CLOSE) {
		ev->data = p;
		ev->len = len;
		return opcode;
	}
	ev->code = WSFRAME_NO_CODE;
	if (len > 0) {
		ev->code = (uint16_t)((unsigned char)p[0] << 8 | (unsigned char)p[1]);
		p += 2;
		len -= 2;
		if (!code_valid(ev->code))
			return fail(
			    ev, WSFRAME_PROTOCOL_ERROR, "a close code that must not be sent");
		if (!utf8_valid(p, len))
			return fail(ev, WSFRAME_BAD_PAYLOAD, "a close reason is not UTF-8");
	}
	ev->data = p;
	ev->len = len;
	return WSFRAME_CLOSE;
}

static void
end_frame(struct wsframe_reader *r)
{
	r->head_len = 0;
	r->in_payload = false;
	r->payload_len = 0;
	r->control_len = 0;
}

/* n bytes of a control frame's payload. The event's type, 0 if there is none yet, or -1. */
static int
take_control(struct wsframe_reader *r, const char *p, size_t n, struct wsframe_event *ev)
{
	uint8_t opcode = opcode_of(r);
	size_t len = (size_t)r->payload_len;

	if (n < len) {
		memcpy(r->control + r->control_len, p, n);
		r->control_len = (uint8_t)(r->control_len + n);
		p = r->control;
		r->given = r->payload_left == 0;
	}
	if (r->payload_left > 0)
		return 0;
	end_frame(r);
	return end_control(opcode, p, len, ev);
}

struct inflated {
	const struct wsframe_limits *limits;
	bool text;
	struct utf8 utf8;
	uint64_t len;
	struct block block;
	enum {
		STOPPED_BY_NOTHING,
		STOPPED_BY_TEXT,
		STOPPED_BY_MEMORY
	} stopped;
};

static bool
on_inflated(void *arg, const char *p, size_t n)
{
	struct inflated *in = arg;

	if (in->text && !utf8_feed(&in->utf8, p, n)) {
		in->stopped = STOPPED_BY_TEXT;
		return false;
	}
	in->len += n;
	if (in->len > in->limits->keep_max) {
		block_free(&in->block);
	} else if (block_add(&in->block, p, n, in->limits->message_max) < 0) {
		in->stopped = STOPPED_BY_MEMORY;
		return false;
	}
	return true;
}

/* The whole compressed message: r->block and r->utf8 become what it is inflated. */
static int
inflate_message(struct wsframe_reader *r, const struct wsframe_limits *limits, const char *p,
    size_t len, struct wsframe_event *ev)
{
	struct inflated in = {.limits = limits, .text = r->type == WSFRAME_TEXT};
	enum wsdeflate_result result =
	    wsdeflate_inflate(p, len, limits->message_max, on_inflated, &in);

	block_free(&r->block);
	r->block = in.block;
	r->utf8 = in.utf8;
	r->dropping = in.len > limits->keep_max;
	switch (result) {
	case WSDEFLATE_OK:
		return 0;
	case WSDEFLATE_TOO_BIG:
		return fail(ev, WSFRAME_TOO_BIG, "the message is too long when it is inflated");
	case WSDEFLATE_NO_MEMORY:
		return out_of_memory(ev);
	case WSDEFLATE_STOPPED:
		if (in.stopped == STOPPED_BY_MEMORY)
			return out_of_memory(ev);
		return fail(ev, WSFRAME_BAD_PAYLOAD, "a text message is not UTF-8");
	case WSDEFLATE_BROKEN:
		break;
	}
	return fail(ev, WSFRAME_BAD_PAYLOAD, "a message cannot be inflated");
}

/* All len bytes of a message are at p, in the caller's data or in r->block. */
static int
end_message(struct wsframe_reader *r, const struct wsframe_limits *limits, const char *p,
    size_t len, struct wsframe_event *ev)
{
	int type = (int)r->type;

	if (r->compressed) {
		if (inflate_message(r, limits, p, len, ev) < 0)
			return -1;
		p = r->block.p;
		len = r->block.len;
	}
	if (type == WSFRAME_TEXT && !utf8_whole(&r->utf8))
		return fail(ev, WSFRAME_BAD_PAYLOAD, "a text message ends within a character");
	if (!r->dropping) {
		ev->data = len > 0 ? p : "";
		ev->len = len;
	}
	r->given = r->block.p != NULL;
	r->type = 0;
	r->compressed = r->dropping = false;
	r->message_len = 0;
	r->utf8 = (struct utf8){0};
	return type;
}

/* n bytes of a message. The event's type, 0 if there is none yet, or -1. */
static int
take_data(struct wsframe_reader *r, const struct wsframe_limits *limits, const char *p, size_t n,
    struct wsframe_event *ev)
{
	bool frame_ends = r->payload_left == 0;
	bool message_ends = frame_ends && (r->head[0] & FIN) != 0;
	/* Only what did not come in one piece is copied. */
	bool in_one_piece = message_ends && r->message_len == n;

	if (r->type == WSFRAME_TEXT && !r->compressed && !utf8_feed(&r->utf8, p, n))
		return fail(ev, WSFRAME_BAD_PAYLOAD, "a text message is not UTF-8");
	if (!in_one_piece && !r->dropping && block_add(&r->block, p, n, payload_max(r, limits)) < 0)
		return out_of_memory(ev);
	if (frame_ends)
		end_frame(r);
	if (!message_ends)
		return 0;
	return in_one_piece ? end_message(r, limits, p, n, ev)
			    : end_message(r, limits, r->block.p, r->block.len, ev);
}

static int
take_payload(struct wsframe_reader *r, const struct wsframe_limits *limits, char *p, size_t len,
    size_t *used, struct wsframe_event *ev)
{
	size_t n = len < r->payload_left ? len : (size_t)r->payload_left;

	unmask(r, r->payload_len - r->payload_left, p, n);
	r->payload_left -= n;
	*used += n;
	return is_control(r) ? take_control(r, p, n, ev) : take_data(r, limits, p, n, ev);
}

/* ---- reading --------------------------------------------------------------------------- */

static bool
is_idle(const struct wsframe_reader *r)
{
	return r->head_len == 0 && r->type == 0 && !r->given;
}

enum wsframe_type
wsframe_read(struct wsframe_reader **reader, const struct wsframe_limits *limits, char *data,
    size_t len, size_t *used, struct wsframe_event *event)
{
	struct wsframe_reader fresh, *r = *reader, *kept;
	int rc = 0;

	*event = (struct wsframe_event){NULL, 0, 0, NULL};
	*used = 0;
	if (r == NULL) {
		memset(&fresh, 0, sizeof(fresh));
		r = &fresh;
	}
	r->given = false;
	if (r->type == 0)
		block_free(&r->block);
	while (rc == 0) {
		if (r->in_payload && (*used < len || r->payload_left == 0))
			rc = take_payload(r, limits, data + *used, len - *used, used, event);
		else if (*used < len)
			rc = take_head_byte(r, limits, (unsigned char)data[(*used)++], event);
		else
			rc = WSFRAME_MORE;
	}
	/* What is incomplete, or given, is kept beyond this call. */
	if (rc > 0 && r == &fresh && !is_idle(r)) {
		kept = malloc(sizeof(*kept));
		if (kept != NULL) {
			*kept = fresh;
			*reader = kept;
			return (enum wsframe_type)rc;
		}
		*event = (struct wsframe_event){NULL, 0, 0, NULL};
		rc = out_of_memory(event);
	}
	if (rc < 0 || is_idle(r)) {
		block_free(&r->block);
		free(*reader);
		*reader = NULL;
	}
	return rc < 0 ? WSFRAME_ERROR : (enum wsframe_type)rc;
}

void
wsframe_reader_free(struct wsframe_reader *reader)
{
	if (reader != NULL)
		block_free(&reader->block);
	free(reader);
}

/* ---- writing --------------------------------------------------------------------------- */

size_t
wsframe_head(enum wsframe_type type, uint64_t len, bool compressed, char out[WSFRAME_HEAD_MAX])
{
	size_t n = len <= 125 ? 0 : len <= UINT16_MAX ? 2 : 8;

	out[0] = (char)(FIN | (compressed ? RSV1 : 0) | (unsigned)type);
	out[1] = (char)(n == 0 ? len : n == 2 ? 126 : 127);
	for (size_t i = 0; i < n; i++)
		out[2 + i] = (char)(len >> (8 * (n - 1 - i)));
	return 2 + n;
}

size_t
wsframe_control(
    enum wsframe_type type, const char *data, size_t len, char out[2 + WSFRAME_CONTROL_MAX])
{
	size_t head;

	if (len > WSFRAME_CONTROL_MAX)
		len = WSFRAME_CONTROL_MAX;
	head = wsframe_head(type, len, false, out);
	if (len > 0)
		memcpy(out + head, data, len);
	return head + len;
}

size_t
wsframe_close(uint16_t code, const char *reason, size_t len, char out[2 + WSFRAME_CONTROL_MAX])
{
	char payload[WSFRAME_CONTROL_MAX];

	if (!code_valid(code))
		return wsframe_control(WSFRAME_CLOSE, NULL, 0, out);
	payload[0] = (char)(code >> 8);
	payload[1] = (char)code;
	len = utf8_prefix(reason, len, WSFRAME_REASON_MAX);
	if (len > 0)
		memcpy(payload + 2, reason, len);
	return wsframe_control(WSFRAME_CLOSE, payload, 2 + len, out);
}
