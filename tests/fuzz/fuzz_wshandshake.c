/*
 * The opening handshake: header fields through relay/wshandshake.c.
 *
 * The input is lines "Name: value". Promises: what is asked for, refused and agreed upon is
 * what a slow reading of RFC 6455 and RFC 7692 below finds; and the answer's lines are
 * those, with the Accept of a SHA-1 written from RFC 3174.
 */
#include "fuzz.h"

#include "relay/wshandshake.h"

#include <stdbool.h>
#include <strings.h>

#define INPUT_MAX 4000

static const char *const protocols[] = {"ws+meta.nchan", "b", NULL};

/* ---- a slow reading: of copies of texts, in pieces ---------------------------------------------
 */

struct text {
	char s[INPUT_MAX + 1];
	size_t len;
};

static struct text
trim(const char *p, size_t len)
{
	struct text t = {.len = 0};

	while (len > 0 && (p[len - 1] == ' ' || p[len - 1] == '\t'))
		len--;
	while (len > 0 && (*p == ' ' || *p == '\t')) {
		p++;
		len--;
	}
	memcpy(t.s, p, len);
	t.len = len;
	return t;
}

static bool
is_token(const struct text *t)
{
	for (size_t i = 0; i < t->len; i++) {
		unsigned char c = (unsigned char)t->s[i];

		if (c <= ' ' || c >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", c) != NULL)
			return false;
	}
	return t->len > 0;
}

static bool
is_text(const struct text *t, const char *s)
{
	return t->len == strlen(s) && memcmp(t->s, s, t->len) == 0;
}

/* The next piece up to a separator that is not quoted; false behind the last. */
static bool
next_piece(const struct text *t, char separator, size_t *at, struct text *piece)
{
	size_t from = *at;
	bool quoted = false;

	if (from > t->len)
		return false;
	for (; *at < t->len && (quoted || t->s[*at] != separator); ++*at) {
		if (quoted && t->s[*at] == '\\' && *at + 1 < t->len)
			++*at;
		else if (t->s[*at] == '"')
			quoted = !quoted;
	}
	*piece = trim(t->s + from, *at - from);
	++*at;
	return true;
}

struct slow {
	bool upgrade, connection, malformed;
	unsigned keys, versions;
	struct text key, version;
	const char *protocol;
	bool deflate;
	long window; /* 0: not asked for */
};

static bool
names(const struct text *value, const char *name)
{
	struct text element;

	/* No quotes in these lists. */
	for (const char *p = value->s, *end = value->s + value->len; p <= end;) {
		const char *comma = memchr(p, ',', (size_t)(end - p));

		if (comma == NULL)
			comma = end;
		element = trim(p, (size_t)(comma - p));
		if (element.len == strlen(name) && strncasecmp(element.s, name, element.len) == 0)
			return true;
		p = comma + 1;
	}
	return false;
}

static void
read_protocols(struct slow *s, const struct text *value)
{
	struct text element;
	size_t at = 0;

	while (next_piece(value, ',', &at, &element)) {
		if (element.len == 0)
			continue;
		if (!is_token(&element))
			s->malformed = true;
		for (size_t i = 0; protocols[i] != NULL; i++)
			if (s->protocol == NULL && is_text(&element, protocols[i]))
				s->protocol = protocols[i];
	}
}

/* -1: malformed, 0: one that we cannot do, else the window, or 1 where there is none. */
static long
read_parameter(const struct text *parameter, unsigned *seen)
{
	static const char *const known[] = {"server_no_context_takeover",
	    "client_no_context_takeover", "server_max_window_bits", "client_max_window_bits"};
	const char *equals = memchr(parameter->s, '=', parameter->len);
	size_t name_len = equals != NULL ? (size_t)(equals - parameter->s) : parameter->len;
	struct text name = trim(parameter->s, name_len), value = {.len = 0};
	unsigned which = 0;
	long number = 0;

	if (!is_token(&name))
		return -1;
	if (equals != NULL) {
		value = trim(equals + 1, parameter->len - name_len - 1);
		if (value.len >= 2 && value.s[0] == '"' && value.s[value.len - 1] == '"') {
			struct text plain = {.len = 0};

			for (size_t i = 1; i + 1 < value.len; i++) {
				if (value.s[i] == '\\' && ++i + 1 == value.len)
					return -1;
				plain.s[plain.len++] = value.s[i];
			}
			value = plain;
		}
		if (!is_token(&value))
			return -1;
		value.s[value.len] = '\0';
		for (number = 8; number <= 15; number++) {
			char text[24];

			snprintf(text, sizeof(text), "%ld", number);
			if (strcmp(text, value.s) == 0)
				break;
		}
	}
	while (which < 4 && !is_text(&name, known[which]))
		which++;
	if (which == 4 || (*seen & 1u << which) != 0)
		return 0;
	*seen |= 1u << which;
	if (which < 2)
		return equals == NULL;
	if (which == 2)
		return number >= 9 && number <= 15 ? number : 0;
	return number <= 15;
}

static void
read_extensions(struct slow *s, const struct text *value)
{
	struct text offer, piece;
	size_t at = 0;

	while (next_piece(value, ',', &at, &offer)) {
		size_t in_offer = 0;
		bool can = true, first = true;
		unsigned seen = 0;
		long window = 0;

		if (offer.len == 0)
			continue;
		while (next_piece(&offer, ';', &in_offer, &piece)) {
			long parameter;

			if (first) {
				first = false;
				s->malformed |= !is_token(&piece);
				can = is_text(&piece, "permessage-deflate");
				continue;
			}
			parameter = read_parameter(&piece, &seen);
			s->malformed |= parameter < 0;
			can &= parameter > 0;
			if (parameter > 1)
				window = parameter;
		}
		if (can && !s->malformed && !s->deflate) {
			s->deflate = true;
			s->window = window;
		}
	}
}

static void
read_field(struct slow *s, const struct text *name, const struct text *value)
{
	if (name->len == 7 && strncasecmp(name->s, "upgrade", 7) == 0) {
		s->upgrade |= names(value, "websocket");
	} else if (name->len == 10 && strncasecmp(name->s, "connection", 10) == 0) {
		s->connection |= names(value, "upgrade");
	} else if (name->len == 17 && strncasecmp(name->s, "sec-websocket-key", 17) == 0) {
		s->keys++;
		s->key = *value;
	} else if (name->len == 21 && strncasecmp(name->s, "sec-websocket-version", 21) == 0) {
		s->versions++;
		s->version = *value;
	} else if (name->len == 22 && strncasecmp(name->s, "sec-websocket-protocol", 22) == 0) {
		read_protocols(s, value);
	} else if (name->len == 24 && strncasecmp(name->s, "sec-websocket-extensions", 24) == 0) {
		read_extensions(s, value);
	}
}

static bool
key_good(const struct text *key)
{
	static const char alphabet[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < 22; i++)
		if (i >= key->len || key->s[i] == '\0' || strchr(alphabet, key->s[i]) == NULL)
			return false;
	return key->len == 24 && key->s[22] == '=' && key->s[23] == '=';
}

static unsigned
status_of(const struct slow *s)
{
	if (s->versions > 1)
		return 400;
	if (s->versions == 0 || !is_text(&s->version, "13"))
		return 426;
	return s->keys == 1 && key_good(&s->key) && !s->malformed ? 101 : 400;
}

/* ---- SHA-1 by RFC 3174, of less than 119 bytes
 * --------------------------------------------------- */

static uint32_t
turn(uint32_t x, unsigned n)
{
	return x << n | x >> (32 - n);
}

static void
sha1(const char *data, size_t len, uint8_t hash[20])
{
	uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
	uint8_t blocks[128] = {0};
	size_t n = len < 56 ? 64 : 128;

	memcpy(blocks, data, len);
	blocks[len] = 0x80;
	blocks[n - 2] = (uint8_t)(len * 8 >> 8);
	blocks[n - 1] = (uint8_t)(len * 8);
	for (size_t at = 0; at < n; at += 64) {
		uint32_t w[80], v[5];

		for (unsigned t = 0; t < 16; t++)
			w[t] = (uint32_t)blocks[at + 4 * t] << 24 |
			       (uint32_t)blocks[at + 4 * t + 1] << 16 |
			       (uint32_t)blocks[at + 4 * t + 2] << 8 | blocks[at + 4 * t + 3];
		for (unsigned t = 16; t < 80; t++)
			w[t] = turn(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
		memcpy(v, h, sizeof(v));
		for (unsigned t = 0; t < 80; t++) {
			uint32_t f, k, next;

			if (t < 20) {
				f = (v[1] & v[2]) | (~v[1] & v[3]);
				k = 0x5a827999;
			} else if (t < 40) {
				f = v[1] ^ v[2] ^ v[3];
				k = 0x6ed9eba1;
			} else if (t < 60) {
				f = (v[1] & v[2]) | (v[1] & v[3]) | (v[2] & v[3]);
				k = 0x8f1bbcdc;
			} else {
				f = v[1] ^ v[2] ^ v[3];
				k = 0xca62c1d6;
			}
			next = turn(v[0], 5) + f + v[4] + w[t] + k;
			v[4] = v[3];
			v[3] = v[2];
			v[2] = turn(v[1], 30);
			v[1] = v[0];
			v[0] = next;
		}
		for (unsigned i = 0; i < 5; i++)
			h[i] += v[i];
	}
	for (unsigned i = 0; i < 20; i++)
		hash[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}

static void
expected_lines(const struct slow *s, char *out, size_t size)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char both[64], accept[29] = "", window[64] = "";
	uint8_t hash[21] = {0};

	snprintf(both, sizeof(both), "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", s->key.s);
	sha1(both, strlen(both), hash);
	for (size_t i = 0; i < 7; i++) {
		uint32_t three =
		    (uint32_t)hash[3 * i] << 16 | (uint32_t)hash[3 * i + 1] << 8 | hash[3 * i + 2];

		for (size_t k = 0; k < 4; k++)
			accept[4 * i + k] = digits[three >> (18 - 6 * k) & 63];
	}
	accept[27] = '=';
	if (s->window > 0)
		snprintf(window, sizeof(window), "; server_max_window_bits=%ld", s->window);
	snprintf(out, size,
	    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n"
	    "%s%s%s%s%s%s",
	    accept, s->protocol != NULL ? "Sec-WebSocket-Protocol: " : "",
	    s->protocol != NULL ? s->protocol : "", s->protocol != NULL ? "\r\n" : "",
	    s->deflate ? "Sec-WebSocket-Extensions: permessage-deflate; "
			 "server_no_context_takeover; client_no_context_takeover"
		       : "",
	    s->deflate ? window : "", s->deflate ? "\r\n" : "");
}

/* ---- the target --------------------------------------------------------------------------------
 */

static void
check(const struct wshandshake *h, const struct slow *s)
{
	char *lines = malloc(WSHANDSHAKE_LINES_MAX), expected[512];
	const char *why = "?";
	unsigned status = wshandshake_check(h, &why);
	int len;

	if (lines == NULL)
		abort();
	PROMISE(wshandshake_asked(h) == (s->upgrade && s->connection), "asked: %d",
	    wshandshake_asked(h));
	PROMISE(status == status_of(s), "%u (%s), but should be %u", status, why, status_of(s));
	PROMISE((status == 101) == (why == NULL), "%u: %s", status, why);
	if (status == 101) {
		PROMISE(h->deflate == s->deflate && h->protocol == s->protocol, "%d, %s",
		    h->deflate, h->protocol);
		PROMISE(!h->deflate || h->window_bits == (s->window > 0 ? s->window : 15), "%u",
		    h->window_bits);
		len = wshandshake_lines(h, lines);
		expected_lines(s, expected, sizeof(expected));
		PROMISE(len == (int)strlen(expected) && memcmp(lines, expected, (size_t)len) == 0,
		    "%.*s\nbut should be\n%s", len, lines, expected);
	}
	free(lines);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wshandshake h = {.protocols = protocols};
	static struct slow s;
	char *copies[2 * INPUT_MAX];
	size_t n = 0;

	if (size > INPUT_MAX)
		return 0;
	memset(&s, 0, sizeof(s));
	for (size_t at = 0; at < size;) {
		const uint8_t *line = data + at, *end = memchr(line, '\n', size - at), *colon;
		struct text name, value;
		size_t len = end != NULL ? (size_t)(end - line) : size - at;

		at += len + 1;
		colon = memchr(line, ':', len);
		if (colon == NULL)
			continue;
		name = trim((const char *)line, (size_t)(colon - line));
		value = trim((const char *)colon + 1, len - (size_t)(colon - line) - 1);
		read_field(&s, &name, &value);
		copies[n] = fuzz_copy(name.s, name.len);
		copies[n + 1] = fuzz_copy(value.s, value.len);
		wshandshake_field(&h, (struct slice){copies[n], name.len},
		    (struct slice){copies[n + 1], value.len});
		n += 2;
	}
	check(&h, &s);
	while (n > 0)
		free(copies[--n]);
	return 0;
}
