#include "relay/wshandshake.h"

#include "base/text.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <string.h>
#include <strings.h>

/* What a server puts behind a client's key (RFC 6455, 1.3). */
static const char server_guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/* 16 bytes in base64: 22 characters and two of padding. */
#define KEY_LEN     24
#define KEY_PADDING 2

/* ---- the grammar of lists (RFC 9110, 5.6) ----------------------------------------------- */

struct cursor {
	const char *p, *end;
};

static bool
is_token_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static void
skip_blanks(struct cursor *c)
{
	while (c->p < c->end && (*c->p == ' ' || *c->p == '\t'))
		c->p++;
}

static bool
skip_char(struct cursor *c, char wanted)
{
	if (c->p == c->end || *c->p != wanted)
		return false;
	c->p++;
	return true;
}

/* A token may be empty only where its grammar says so: that is the caller's to look at. */
static struct slice
token(struct cursor *c)
{
	struct slice t = {c->p, 0};

	while (c->p < c->end && is_token_char(*c->p)) {
		c->p++;
		t.len++;
	}
	return t;
}

static bool
slice_is(struct slice s, const char *text)
{
	return s.len == strlen(text) && memcmp(s.p, text, s.len) == 0;
}

/* Without regard to the case of letters, for names that HTTP compares so. */
static bool
slice_is_name(struct slice s, const char *text)
{
	return s.len == strlen(text) && strncasecmp(s.p, text, s.len) == 0;
}

/* One of the elements of a list is this name. */
static bool
list_names(struct slice list, const char *name)
{
	struct cursor c = {list.p, list.p + list.len};

	while (c.p < c.end) {
		struct slice element;

		skip_blanks(&c);
		element = token(&c);
		skip_blanks(&c);
		if (slice_is_name(element, name) && (c.p == c.end || *c.p == ','))
			return true;
		while (c.p < c.end && *c.p != ',')
			c.p++;
		(void)skip_char(&c, ',');
	}
	return false;
}

/* ---- subprotocols ----------------------------------------------------------------------- */

static const char *
known_protocol(const struct wshandshake *h, struct slice name)
{
	if (h->protocols != NULL)
		for (const char *const *p = h->protocols; *p != NULL; p++)
			if (slice_is(name, *p))
				return *p;
	return NULL;
}

/* 1#token; empty elements are let pass, as in every list (RFC 9110, 5.6.1.2). */
static void
read_protocols(struct wshandshake *h, struct slice value)
{
	struct cursor c = {value.p, value.p + value.len};

	do {
		struct slice name;

		skip_blanks(&c);
		name = token(&c);
		skip_blanks(&c);
		if (name.len > 0 && h->protocol == NULL)
			h->protocol = known_protocol(h, name);
	} while (skip_char(&c, ','));
	if (c.p < c.end)
		h->malformed = "malformed Sec-WebSocket-Protocol";
}

/* ---- permessage-deflate (RFC 7692, 7.1) ------------------------------------------------- */

enum parameter {
	SERVER_NO_CONTEXT_TAKEOVER,
	CLIENT_NO_CONTEXT_TAKEOVER,
	SERVER_MAX_WINDOW_BITS,
	CLIENT_MAX_WINDOW_BITS,
	PARAMETERS,
};

static const char *const parameter_names[PARAMETERS] = {
    [SERVER_NO_CONTEXT_TAKEOVER] = "server_no_context_takeover",
    [CLIENT_NO_CONTEXT_TAKEOVER] = "client_no_context_takeover",
    [SERVER_MAX_WINDOW_BITS] = "server_max_window_bits",
    [CLIENT_MAX_WINDOW_BITS] = "client_max_window_bits",
};

/* One of the extensions that are offered. */
struct offer {
	bool deflate;    /* permessage-deflate, all of whose parameters we can do */
	unsigned seen;   /* a bit for each parameter */
	unsigned window; /* server_max_window_bits, 0 without */
};

/* Longest value of a parameter that is of any interest. */
#define VALUE_MAX 2

struct value {
	bool there;
	char text[VALUE_MAX];
	size_t len; /* also of what is not in text */
};

/*
 * token or quoted-string, which must be a token when its quotes and backslashes are gone
 * (RFC 6455, 9.1).
 */
static bool
read_value(struct cursor *c, struct value *v)
{
	bool quoted = skip_char(c, '"');

	v->there = true;
	v->len = 0;
	for (; c->p < c->end && *c->p != '"'; c->p++) {
		if (quoted && *c->p == '\\' && ++c->p == c->end)
			return false;
		if (!is_token_char(*c->p))
			break;
		if (v->len < VALUE_MAX)
			v->text[v->len] = *c->p;
		v->len++;
	}
	return v->len > 0 && (!quoted || skip_char(c, '"'));
}

/* 8 to 15 in decimal without a leading zero (RFC 7692, 7.1.2.1); else 0. */
static unsigned
window_of(const struct value *v)
{
	if (v->len == 1 && (v->text[0] == '8' || v->text[0] == '9'))
		return (unsigned)(v->text[0] - '0');
	if (v->len == 2 && v->text[0] == '1' && v->text[1] >= '0' && v->text[1] <= '5')
		return 10 + (unsigned)(v->text[1] - '0');
	return 0;
}

/* What an offer asks for; what is unknown, named twice or out of bounds declines it. */
static void
take_parameter(struct offer *offer, struct slice name, const struct value *v)
{
	bool good = false;
	unsigned i;

	for (i = 0; i < PARAMETERS && !slice_is(name, parameter_names[i]); i++)
		;
	switch (i) {
	case SERVER_NO_CONTEXT_TAKEOVER:
	case CLIENT_NO_CONTEXT_TAKEOVER:
		good = !v->there;
		break;
	case SERVER_MAX_WINDOW_BITS:
		offer->window = v->there ? window_of(v) : 0;
		/* Of 8 zlib can make none. */
		good = offer->window > 8;
		break;
	case CLIENT_MAX_WINDOW_BITS:
		good = !v->there || window_of(v) > 0;
		break;
	default:
		break;
	}
	if (!good || (offer->seen & 1u << i) != 0)
		offer->deflate = false;
	offer->seen |= 1u << i;
}

/* extension-token *( ";" extension-param ); false: malformed. */
static bool
read_offer(struct cursor *c, struct offer *offer)
{
	struct slice name = token(c);
	struct value value;

	if (name.len == 0)
		return false;
	*offer = (struct offer){.deflate = slice_is(name, "permessage-deflate")};
	for (;;) {
		skip_blanks(c);
		if (!skip_char(c, ';'))
			return true;
		skip_blanks(c);
		name = token(c);
		if (name.len == 0)
			return false;
		skip_blanks(c);
		value.there = false;
		if (skip_char(c, '=')) {
			skip_blanks(c);
			if (!read_value(c, &value))
				return false;
		}
		take_parameter(offer, name, &value);
	}
}

/* Of several offers that we can do the first one is the client's favourite (7.1). */
static void
read_extensions(struct wshandshake *h, struct slice value)
{
	struct cursor c = {value.p, value.p + value.len};
	struct offer offer;

	do {
		skip_blanks(&c);
		/* An empty element. */
		if (c.p == c.end || *c.p == ',')
			continue;
		if (!read_offer(&c, &offer)) {
			h->malformed = "malformed Sec-WebSocket-Extensions";
			return;
		}
		if (offer.deflate && !h->deflate) {
			h->deflate = true;
			h->window_asked = offer.window > 0;
			h->window_bits = (uint8_t)(offer.window > 0 ? offer.window : 15);
		}
	} while (skip_char(&c, ','));
	if (c.p < c.end)
		h->malformed = "malformed Sec-WebSocket-Extensions";
}

/* ---- the handshake ---------------------------------------------------------------------- */

void
wshandshake_field(struct wshandshake *h, struct slice name, struct slice value)
{
	if (slice_is_name(name, "upgrade")) {
		h->upgrade |= list_names(value, "websocket");
	} else if (slice_is_name(name, "connection")) {
		h->connection |= list_names(value, "upgrade");
	} else if (slice_is_name(name, "sec-websocket-key")) {
		h->keys = h->keys == 0 ? 1 : 2;
		h->key = value;
	} else if (slice_is_name(name, "sec-websocket-version")) {
		h->versions = h->versions == 0 ? 1 : 2;
		h->version_13 = slice_is(value, "13");
	} else if (slice_is_name(name, "sec-websocket-protocol")) {
		read_protocols(h, value);
	} else if (slice_is_name(name, "sec-websocket-extensions")) {
		read_extensions(h, value);
	}
}

bool
wshandshake_asked(const struct wshandshake *h)
{
	return h->upgrade && h->connection;
}

/*
 * 16 bytes in base64. The four bits that are left over in the last character are let pass
 * whatever they are (RFC 4648, 3.5): the key is not decoded, only sent back as a hash.
 */
static bool
key_valid(struct slice key)
{
	if (key.len != KEY_LEN)
		return false;
	for (size_t i = 0; i < KEY_LEN; i++) {
		char c = key.p[i];
		bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			    (c >= '0' && c <= '9') || c == '+' || c == '/';

		if (i < KEY_LEN - KEY_PADDING ? !good : c != '=')
			return false;
	}
	return true;
}

unsigned
wshandshake_check(const struct wshandshake *h, const char **why)
{
	*why = NULL;
	if (h->versions > 1)
		*why = "more than one Sec-WebSocket-Version";
	else if (!h->version_13) {
		*why = "only version 13 of the WebSocket protocol is spoken here";
		return 426;
	} else if (h->keys != 1)
		*why = h->keys == 0 ? "no Sec-WebSocket-Key" : "more than one Sec-WebSocket-Key";
	else if (!key_valid(h->key))
		*why = "Sec-WebSocket-Key must be 16 bytes in base64";
	else
		*why = h->malformed;
	return *why == NULL ? 101 : 400;
}

int
wshandshake_accept(struct slice key, char out[WSHANDSHAKE_ACCEPT_LEN])
{
	unsigned char both[KEY_LEN + sizeof(server_guid) - 1], hash[SHA_DIGEST_LENGTH];
	unsigned char text[WSHANDSHAKE_ACCEPT_LEN + 1];

	if (key.len != KEY_LEN)
		return -1;
	memcpy(both, key.p, KEY_LEN);
	memcpy(both + KEY_LEN, server_guid, sizeof(server_guid) - 1);
	if (SHA1(both, sizeof(both), hash) == NULL)
		return -1;
	if (EVP_EncodeBlock(text, hash, sizeof(hash)) != WSHANDSHAKE_ACCEPT_LEN)
		return -1;
	memcpy(out, text, WSHANDSHAKE_ACCEPT_LEN);
	return 0;
}

int
wshandshake_lines(const struct wshandshake *h, char out[WSHANDSHAKE_LINES_MAX])
{
	struct text t = text_in(out, WSHANDSHAKE_LINES_MAX);
	char accept[WSHANDSHAKE_ACCEPT_LEN];

	if (wshandshake_accept(h->key, accept) < 0)
		return -1;
	TEXT_LIT(&t, "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ");
	text_add(&t, accept, sizeof(accept));
	TEXT_LIT(&t, "\r\n");
	if (h->protocol != NULL) {
		TEXT_LIT(&t, "Sec-WebSocket-Protocol: ");
		text_str(&t, h->protocol);
		TEXT_LIT(&t, "\r\n");
	}
	if (h->deflate) {
		TEXT_LIT(&t, "Sec-WebSocket-Extensions: permessage-deflate; "
			     "server_no_context_takeover; client_no_context_takeover");
		if (h->window_asked) {
			const char two[2] = {'1', (char)('0' + h->window_bits % 10)};

			TEXT_LIT(&t, "; server_max_window_bits=");
			text_add(
			    &t, h->window_bits < 10 ? &two[1] : two, h->window_bits < 10 ? 1 : 2);
		}
		TEXT_LIT(&t, "\r\n");
	}
	return text_ok(&t) ? (int)text_len(&t) : -1;
}
