/*
 * A client's frames: bytes of a connection through relay/wsframe.c.
 *
 * Promises: where a packet ends means nothing, so the same bytes whole, byte by byte and cut
 * anywhere give the same events and the same close code, under wide and under narrow limits,
 * with compression and without; wslay, a reader of its own, finds the same in them; and a
 * message that was read comes back from the frames and the compression that are made of it.
 */
#include "fuzz.h"

#include "relay/wsdeflate.h"
#include "tests/fuzz/ws_reading.h"

/* wslay reads 4 KB at a time, and of a close reason that it reads twice forgets the first. */
#define INPUT_MAX 4000

struct setting {
	struct wsframe_limits limits;
	/*
	 * It has one limit for plain and compressed messages, and another one for control
	 * frames than we: 125 at the least.
	 */
	bool as_wslay;
};

static const struct setting settings[] = {
    {{.message_max = 65536, .keep_max = 65536, .deflate = false}, true},
    {{.message_max = 65536, .keep_max = 65536, .deflate = true}, true},
    {{.message_max = 150, .keep_max = 20, .deflate = false}, true},
    {{.message_max = 30, .keep_max = 10, .deflate = true}, false},
    {{.message_max = 5, .keep_max = 0, .deflate = false}, false},
};

/* ---- compressed messages that wslay hands on ------------------------------------------------ */

struct inflated {
	char *data;
	size_t len, cap;
};

static bool
on_inflated(void *arg, const char *data, size_t len)
{
	struct inflated *in = arg;

	if (in->len + len > in->cap) {
		in->cap = (in->len + len) * 2;
		in->data = realloc(in->data, in->cap);
		if (in->data == NULL)
			abort();
	}
	memcpy(in->data + in->len, data, len);
	in->len += len;
	return true;
}

/* All of it at once, and only then whether it is text. fuzz_wsdeflate.c looks at inflating. */
static unsigned
say_inflated(struct ws_transcript *tr, enum wsframe_type type, const uint8_t *data, size_t len)
{
	const uint64_t max = settings[1].limits.message_max;
	struct inflated in = {.data = NULL};
	unsigned error = 0;

	switch (wsdeflate_inflate((const char *)data, len, max, on_inflated, &in)) {
	case WSDEFLATE_OK:
		if (type == WSFRAME_TEXT && !utf8_valid(in.data, in.len))
			error = WSFRAME_BAD_PAYLOAD;
		else
			ws_say_data(tr, ws_type_name(type), in.len > 0 ? in.data : "", in.len);
		break;
	case WSDEFLATE_TOO_BIG: {
		struct utf8 u = {0};

		/* Whichever shows first. */
		error = type == WSFRAME_TEXT && !utf8_feed(&u, in.data, in.len)
			    ? WSFRAME_BAD_PAYLOAD
			    : WSFRAME_TOO_BIG;
		break;
	}
	case WSDEFLATE_BROKEN:
		error = WSFRAME_BAD_PAYLOAD;
		break;
	default:
		abort();
	}
	free(in.data);
	return error;
}

static void
compare_with_wslay(
    const uint8_t *data, size_t size, const struct setting *set, const struct ws_transcript *ours)
{
	static struct ws_transcript theirs;
	struct ws_by_wslay wslay = {.inflated = set->limits.deflate ? say_inflated : NULL,
	    .keep_max = set->limits.keep_max};

	ws_read_by_wslay(&wslay, data, size, ours, &set->limits, &theirs);
	/* Compressed, a message may be longer on its way than wslay is told it may be. */
	if (set->limits.deflate && theirs.error == WSFRAME_TOO_BIG && ours->error == 0 &&
	    ours->code == 0)
		return;
	PROMISE(ws_agree(ours, &theirs), "read:\n%.*s(%s)\nbut by wslay:\n%.*s", (int)ours->len,
	    ours->text, ours->why, (int)theirs.len, theirs.text);
}

/* ---- what is sent ---------------------------------------------------------------------------- */

/* The data as a client would send it, masked with zeros, so that our own reader takes it. */
static void
check_way_back(enum wsframe_type type, const char *data, size_t len, bool compressed,
    const char *message, size_t message_len)
{
	const struct wsframe_limits limits = {
	    .message_max = 65536, .keep_max = 65536, .deflate = compressed};
	char *frame = calloc(1, WSFRAME_HEAD_MAX + 4 + len);
	struct wsframe_reader *reader = NULL;
	struct wsframe_event ev;
	enum wsframe_type got;
	size_t head, used;

	if (frame == NULL)
		abort();
	head = wsframe_head(type, len, compressed, frame);
	PROMISE(head <= WSFRAME_HEAD_MAX, "a head of %zu bytes", head);
	frame[1] = (char)(frame[1] | '\x80');
	if (len > 0)
		memcpy(frame + head + 4, data, len);
	got = wsframe_read(&reader, &limits, frame, head + 4 + len, &used, &ev);
	PROMISE(got == type && used == head + 4 + len, "type %d became %d: %s", type, got, ev.why);
	PROMISE(ev.len == message_len &&
		    (message_len == 0 || memcmp(ev.data, message, message_len) == 0),
	    "%zu bytes became %zu", message_len, ev.len);
	wsframe_reader_free(reader);
	free(frame);
}

static void
send_back(const uint8_t *data, size_t size)
{
	char *copy = fuzz_copy(data, size), *out = fuzz_copy(data, size), close[127];
	enum wsframe_type type = utf8_valid(copy, size) ? WSFRAME_TEXT : WSFRAME_BINARY;
	size_t len, made;

	check_way_back(type, copy, size, false, copy, size);
	for (unsigned bits = WSDEFLATE_WINDOW_MIN; bits <= WSDEFLATE_WINDOW_MAX; bits += 3) {
		made = wsdeflate_message(copy, size, bits, out);
		PROMISE(made == 0 || made < size, "%zu bytes became %zu", size, made);
		if (made > 0)
			check_way_back(type, out, made, true, copy, size);
	}
	len = wsframe_close(WSFRAME_REFUSED, copy, size, close);
	PROMISE(len >= 4 && len <= sizeof(close) && len == 2 + (size_t)close[1], "%zu bytes", len);
	PROMISE(utf8_valid(close + 4, len - 4) && memcmp(close + 4, copy, len - 4) == 0,
	    "a reason of %zu bytes", len - 4);
	free(copy);
	free(out);
}

/* ---- the target ------------------------------------------------------------------------------ */

static void
compare(const struct ws_transcript *whole, const struct ws_transcript *parts, const char *how)
{
	PROMISE(ws_same(whole, parts), "%s:\n%.*s(%s)\nbut whole:\n%.*s(%s)", how, (int)parts->len,
	    parts->text, parts->why, (int)whole->len, whole->text, whole->why);
	PROMISE(whole->why == parts->why, "%s: %s, but whole: %s", how, parts->why, whole->why);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct ws_transcript whole, parts;
	static size_t cuts[INPUT_MAX];
	uint64_t random = 14695981039346656037u;

	if (size > INPUT_MAX)
		return 0;
	for (size_t i = 0; i < size; i++)
		random = (random ^ data[i]) * 1099511628211u;
	send_back(data, size);
	for (size_t s = 0; s < sizeof(settings) / sizeof(settings[0]); s++) {
		const struct setting *set = &settings[s];

		ws_read(data, size, NULL, 0, &set->limits, &whole);
		if (set->as_wslay)
			compare_with_wslay(data, size, set, &whole);
		for (size_t i = 0; i + 1 < size; i++)
			cuts[i] = i + 1;
		ws_read(data, size, cuts, size > 0 ? size - 1 : 0, &set->limits, &parts);
		compare(&whole, &parts, "byte by byte");
		/* Cut at random, coarse and fine; the input is the seed, so it repeats. */
		for (unsigned coarse = 2; coarse <= 128; coarse *= 8) {
			size_t n = 0;

			for (size_t i = 1; i < size; i++) {
				random = random * 6364136223846793005u + 1442695040888963407u;
				if ((random >> 33) % coarse == 0)
					cuts[n++] = i;
			}
			ws_read(data, size, cuts, n, &set->limits, &parts);
			compare(&whole, &parts, "in random pieces");
		}
	}
	return 0;
}
