/*
 * Compressed messages: relay/wsdeflate.c, both ways.
 *
 * Promises: bytes are inflated exactly if they are a message by a slow reading of RFC 1951
 * and RFC 7692 below, which shares nothing with zlib, to the same bytes, and never to more
 * than the limit; what is compressed for a window becomes shorter, is written within its
 * room, reaches back no further than that window, and is the same again.
 */
#include "fuzz.h"

#include "relay/wsdeflate.h"

#include <stdbool.h>

#define MAX ((size_t)1 << 16)

/* ---- RFC 1951, bit by bit ---------------------------------------------------------------- */

struct bits {
	const uint8_t *p;
	size_t n, at; /* bits */
	bool missing; /* more were asked for than there are */
};

/* From the lowest bit of each byte on (3.1.1). */
static unsigned
take(struct bits *b, unsigned count)
{
	unsigned value = 0;

	for (unsigned i = 0; i < count; i++, b->at++) {
		if (b->at >= b->n) {
			b->missing = true;
			return 0;
		}
		value |= ((unsigned)b->p[b->at / 8] >> (b->at % 8) & 1u) << i;
	}
	return value;
}

struct slow {
	struct bits in;
	uint8_t *out;
	size_t len;
	size_t begin;     /* nothing reaches back to before this */
	size_t reach_max; /* furthest that anything may */
	bool too_big;
};

static bool
give(struct slow *s, uint8_t byte)
{
	if (s->len == MAX) {
		s->too_big = true;
		return false;
	}
	s->out[s->len++] = byte;
	return true;
}

#define CODE_BITS 15
#define SYMBOLS   288

/* Codes from lengths (3.2.2): how many there are of each length, and their symbols in order. */
struct codes {
	unsigned count[CODE_BITS + 1];
	unsigned symbol[SYMBOLS];
};

/* How much of the codes is not given away: less than nothing if there are too many. */
static int
make_codes(struct codes *c, const uint8_t *lengths, unsigned n)
{
	unsigned next = 0;
	int left = 1;

	memset(c, 0, sizeof(*c));
	for (unsigned i = 0; i < n; i++)
		c->count[lengths[i]]++;
	c->count[0] = 0;
	for (unsigned len = 1; len <= CODE_BITS; len++) {
		for (unsigned i = 0; i < n; i++)
			if (lengths[i] == len)
				c->symbol[next++] = i;
		left = 2 * left - (int)c->count[len];
		if (left < 0)
			return left;
	}
	return left;
}

/* One code alone, of one bit, is let pass; no other that leaves codes over is. */
static bool
is_complete(const struct codes *c, int left, bool may_be_one)
{
	unsigned total = 0;

	for (unsigned len = 1; len <= CODE_BITS; len++)
		total += c->count[len];
	if (left == 0 || total == 0)
		return true;
	return left > 0 && may_be_one && total == 1 && c->count[1] == 1;
}

static int
decode(struct bits *in, const struct codes *c)
{
	unsigned code = 0, first = 0, index = 0;

	for (unsigned len = 1; len <= CODE_BITS; len++) {
		code |= take(in, 1);
		if (in->missing)
			return -1;
		if (code < first + c->count[len])
			return (int)c->symbol[index + code - first];
		index += c->count[len];
		first = (first + c->count[len]) << 1;
		code <<= 1;
	}
	return -1;
}

static bool
compressed_block(struct slow *s, const struct codes *literals, const struct codes *distances)
{
	static const unsigned length_base[] = {3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27,
	    31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
	static const unsigned length_extra[] = {
	    0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};

	for (;;) {
		int symbol = decode(&s->in, literals), code;
		size_t length, distance, base;

		if (symbol < 0 || symbol > 285)
			return false;
		if (symbol == 256)
			return true;
		if (symbol < 256) {
			if (!give(s, (uint8_t)symbol))
				return false;
			continue;
		}
		length = length_base[symbol - 257] + take(&s->in, length_extra[symbol - 257]);
		code = decode(&s->in, distances);
		if (code < 0 || code > 29)
			return false;
		/* 1, 2, 3, 4, then two codes for each bit more (3.2.5). */
		if (code < 4) {
			distance = (size_t)code + 1;
		} else {
			unsigned extra = (unsigned)code / 2 - 1;

			base = (((size_t)code & 1) + 2) << extra;
			distance = base + take(&s->in, extra) + 1;
		}
		if (s->in.missing || distance > s->len - s->begin || distance > s->reach_max)
			return false;
		for (; length > 0; length--)
			if (!give(s, s->out[s->len - distance]))
				return false;
	}
}

static bool
stored_block(struct slow *s)
{
	unsigned length, complement;

	s->in.at = (s->in.at + 7) / 8 * 8;
	length = take(&s->in, 16);
	complement = take(&s->in, 16);
	if (s->in.missing || (length ^ complement) != 0xffff)
		return false;
	for (; length > 0; length--) {
		unsigned byte = take(&s->in, 8);

		if (s->in.missing || !give(s, (uint8_t)byte))
			return false;
	}
	return true;
}

static bool
fixed_block(struct slow *s)
{
	struct codes literals, distances;
	uint8_t lengths[SYMBOLS];

	for (unsigned i = 0; i < SYMBOLS; i++)
		lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
	(void)make_codes(&literals, lengths, SYMBOLS);
	memset(lengths, 5, 32);
	(void)make_codes(&distances, lengths, 32);
	return compressed_block(s, &literals, &distances);
}

static bool
dynamic_block(struct slow *s)
{
	static const uint8_t order[19] = {
	    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
	struct codes literals, distances;
	uint8_t lengths[320] = {0};
	unsigned n_literals = take(&s->in, 5) + 257, n_distances = take(&s->in, 5) + 1;
	unsigned n_codes = take(&s->in, 4) + 4, n = 0;
	int left;

	if (s->in.missing || n_literals > 286 || n_distances > 30)
		return false;
	for (unsigned i = 0; i < n_codes; i++)
		lengths[order[i]] = (uint8_t)take(&s->in, 3);
	left = make_codes(&literals, lengths, 19);
	if (s->in.missing || !is_complete(&literals, left, false))
		return false;
	memset(lengths, 0, sizeof(lengths));
	while (n < n_literals + n_distances) {
		int symbol = decode(&s->in, &literals);
		unsigned repeat = 1;
		uint8_t length = (uint8_t)symbol;

		if (symbol < 0)
			return false;
		if (symbol >= 16) {
			if (symbol == 16 && n == 0)
				return false;
			length = symbol == 16 ? lengths[n - 1] : 0;
			repeat = symbol == 16   ? 3 + take(&s->in, 2)
				 : symbol == 17 ? 3 + take(&s->in, 3)
						: 11 + take(&s->in, 7);
		}
		if (s->in.missing || repeat > n_literals + n_distances - n)
			return false;
		while (repeat-- > 0)
			lengths[n++] = length;
	}
	/* Without an end the block would have none. */
	if (lengths[256] == 0)
		return false;
	left = make_codes(&literals, lengths, n_literals);
	if (!is_complete(&literals, left, true))
		return false;
	left = make_codes(&distances, lengths + n_literals, n_distances);
	if (!is_complete(&distances, left, true))
		return false;
	return compressed_block(s, &literals, &distances);
}

/*
 * A message: the tail behind it that was not sent, then blocks up to its end exactly. Behind
 * a block that is marked as the last the next byte begins anew.
 */
static enum wsdeflate_result
inflate_slowly(const uint8_t *data, size_t len, size_t reach_max, struct slow *s)
{
	uint8_t *all = malloc(len + 4);
	bool good = true;

	if (all == NULL)
		abort();
	memcpy(all, data, len);
	memcpy(all + len, "\x00\x00\xff\xff", 4);
	*s = (struct slow){
	    .in = {.p = all, .n = 8 * (len + 4)}, .out = malloc(MAX), .reach_max = reach_max};
	if (s->out == NULL)
		abort();
	while (good && s->in.at < s->in.n) {
		unsigned last = take(&s->in, 1), type = take(&s->in, 2);

		good = !s->in.missing && type != 3 &&
		       (type == 0      ? stored_block(s)
			   : type == 1 ? fixed_block(s)
				       : dynamic_block(s));
		if (!good || last == 0)
			continue;
		s->in.at = (s->in.at + 7) / 8 * 8;
		s->begin = s->len;
		/* One may leave out the empty block behind it. */
		if (s->in.at == 8 * len)
			break;
	}
	free(all);
	return s->too_big ? WSDEFLATE_TOO_BIG : good ? WSDEFLATE_OK : WSDEFLATE_BROKEN;
}

/* ---- the target ------------------------------------------------------------------------------ */

struct sink {
	uint8_t *out;
	size_t len, max;
};

static bool
on_piece(void *arg, const char *data, size_t len)
{
	struct sink *sink = arg;

	PROMISE(len > 0 && len <= 16384 && len <= sink->max - sink->len,
	    "%zu bytes behind %zu of %zu", len, sink->len, sink->max);
	memcpy(sink->out + sink->len, data, len);
	sink->len += len;
	return true;
}

static enum wsdeflate_result
inflate(const uint8_t *data, size_t len, size_t max, struct sink *sink)
{
	char *copy = fuzz_copy(data, len);
	enum wsdeflate_result result;

	*sink = (struct sink){.out = malloc(max > 0 ? max : 1), .max = max};
	if (sink->out == NULL)
		abort();
	result = wsdeflate_inflate(copy, len, max, on_piece, sink);
	free(copy);
	return result;
}

static void
check_inflating(const uint8_t *data, size_t size)
{
	enum wsdeflate_result fast, slow;
	struct sink sink;
	struct slow s;

	slow = size > 0 ? inflate_slowly(data, size, 32768, &s) : WSDEFLATE_OK;
	fast = inflate(data, size, MAX, &sink);
	PROMISE(fast == slow, "%zu bytes: %d, but slowly %d", size, fast, slow);
	if (fast == WSDEFLATE_OK && size > 0) {
		PROMISE(sink.len == s.len && memcmp(sink.out, s.out, s.len) == 0,
		    "%zu bytes, slowly %zu", sink.len, s.len);
		if (s.len > 0) {
			free(sink.out);
			fast = inflate(data, size, s.len - 1, &sink);
			PROMISE(fast == WSDEFLATE_TOO_BIG, "%d", fast);
		}
	}
	free(sink.out);
	if (size > 0)
		free(s.out);
}

static void
check_compressing(const uint8_t *data, size_t size)
{
	char *copy = fuzz_copy(data, size), *out = NULL;

	/* The smallest window, and one that the length chooses: all of them would take long. */
	for (unsigned i = 0; i < 2; i++) {
		unsigned bits = WSDEFLATE_WINDOW_MIN + (i == 0 ? 0 : (unsigned)(size % 7));
		struct slow s;
		size_t made;

		free(out);
		out = malloc(size > 0 ? size : 1);
		if (out == NULL)
			abort();
		made = wsdeflate_message(copy, size, bits, out);
		if (made == 0)
			continue;
		PROMISE(made < size, "%zu bytes became %zu", size, made);
		PROMISE(inflate_slowly((const uint8_t *)out, made, (size_t)1 << bits, &s) ==
			    WSDEFLATE_OK,
		    "with a window of %u bits", bits);
		PROMISE(s.len == size && memcmp(s.out, data, size) == 0,
		    "%zu bytes came back as %zu", size, s.len);
		free(s.out);
	}
	free(out);
	free(copy);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > MAX)
		return 0;
	check_inflating(data, size);
	check_compressing(data, size);
	return 0;
}
