/*
 * The request path: bytes of a connection through relay/request.c.
 *
 * Promises: where a packet ends means nothing, so the same bytes whole, byte by byte and
 * cut anywhere give the same requests and the same refusal; and what is taken for a
 * request is one for a strict reader too, with the same end, method, target, headers and
 * body. That strict reader is below, and shares nothing with the one under test: two that
 * disagree about where a request ends are what smuggling is made of.
 */
#include "fuzz.h"

#include "relay/request.h"

#include <stdbool.h>
#include <strings.h>

/* The bodies that a reader wants, and its limits. */
struct setting {
	struct request_limits limits;
	bool keep;
	uint64_t body_max;
	bool roomy; /* the limits are not met by inputs of this size */
};

static const struct setting settings[] = {
    {{8192, 16384}, true, 1 << 20, true},
    {{8192, 16384}, false, 1 << 20, true},
    {{40, 120}, true, 20, false},
};

/* Inputs are shorter than the limits above, so that these are not met by chance. */
#define INPUT_MAX 8000

/* ---- what was found, as bytes that can be compared -------------------------------- */

enum outcome {
	OUTCOME_EMPTY,   /* between two requests */
	OUTCOME_HEAD,    /* in a head */
	OUTCOME_BODY,    /* in a body */
	OUTCOME_REFUSED, /* by the relay: with a status; by the reference: malformed */
};

#define REQUESTS_MAX (INPUT_MAX / 16)

struct transcript {
	char *text;
	size_t len, cap;
	size_t ends[REQUESTS_MAX]; /* of the text of each whole request */
	size_t n;                  /* whole requests */
	enum outcome outcome;
	unsigned status;
	/* The reference: the last whole request's target is a path, or "*". */
	bool plain_target[REQUESTS_MAX];
};

static void
say_bytes(struct transcript *tr, const void *bytes, size_t len)
{
	if (tr->len + len > tr->cap) {
		tr->cap = (tr->len + len) * 2 + 256;
		tr->text = realloc(tr->text, tr->cap);
		if (tr->text == NULL)
			abort();
	}
	if (len > 0)
		memcpy(tr->text + tr->len, bytes, len);
	tr->len += len;
}

static void
say_number(struct transcript *tr, const char *what, size_t n)
{
	char text[64];
	int len = snprintf(text, sizeof(text), " %s%zu", what, n);

	say_bytes(tr, text, (size_t)len);
}

static void
say_slice(struct transcript *tr, const char *what, const char *p, size_t len)
{
	say_number(tr, what, len);
	say_bytes(tr, ":", 1);
	say_bytes(tr, p, len);
}

static void
end_request(struct transcript *tr)
{
	PROMISE(tr->n < REQUESTS_MAX, "more requests than bytes");
	tr->ends[tr->n++] = tr->len;
}

static void
clear(struct transcript *tr)
{
	tr->len = tr->n = 0;
	tr->status = 0;
	tr->outcome = OUTCOME_EMPTY;
}

/* ---- the relay's reader ------------------------------------------------------------ */

static const char *const known[HEADER_COUNT] = {
    [HEADER_ACCEPT] = "accept",
    [HEADER_CONTENT_LENGTH] = "content-length",
    [HEADER_CONTENT_TYPE] = "content-type",
    [HEADER_EXPECT] = "expect",
    [HEADER_HOST] = "host",
    [HEADER_IF_MODIFIED_SINCE] = "if-modified-since",
    [HEADER_IF_NONE_MATCH] = "if-none-match",
    [HEADER_LAST_EVENT_ID] = "last-event-id",
    [HEADER_ORIGIN] = "origin",
    [HEADER_TRANSFER_ENCODING] = "transfer-encoding",
};

static bool
same(struct slice s, const char *text)
{
	return s.p != NULL && strlen(text) == s.len && strncasecmp(s.p, text, s.len) == 0;
}

/* What is found by number is what the list has first under that name. */
static void
check_known_headers(const struct request *req)
{
	for (unsigned h = 0; h < HEADER_COUNT; h++) {
		struct slice name, value, found = request_header(req, h), first = {NULL, 0};
		unsigned n = 0;

		if (known[h] == NULL)
			continue;
		for (size_t i = 0; request_header_at(req, i, &name, &value); i++)
			if (same(name, known[h]) && n++ == 0)
				first = value;
		PROMISE(found.p == first.p && found.len == first.len, "header %s", known[h]);
		PROMISE(
		    request_header_twice(req, h) == (n > 1), "header %s, %u times", known[h], n);
	}
}

static void
say_head(struct transcript *tr, const struct request *req)
{
	struct slice path = request_path(req), query = request_query(req), name, value;

	say_number(tr, "method ", request_method(req));
	say_slice(tr, "path ", path.p, path.len);
	if (query.p != NULL)
		say_slice(tr, "query ", query.p, query.len);
	say_number(tr, "http1.", request_http10(req) ? 0 : 1);
	say_number(tr, "keep ", request_keep_alive(req));
	for (size_t i = 0; request_header_at(req, i, &name, &value); i++) {
		say_slice(tr, "name ", name.p, name.len);
		say_slice(tr, "value ", value.p, value.len);
	}
}

/* The head is still what it was when text had from bytes. */
static void
check_head(struct transcript *tr, const struct request *req, size_t from)
{
	size_t len = tr->len;

	say_head(tr, req);
	PROMISE(
	    tr->len - len == len - from && memcmp(tr->text + from, tr->text + len, len - from) == 0,
	    "the head changed while its body came");
	tr->len = len;
}

/* One piece of a connection's bytes, which are gone afterwards; false after a refusal. */
static bool
feed_piece(struct request *req, const uint8_t *bytes, size_t len, const struct setting *set,
    struct transcript *tr, size_t *head_from, size_t *head_end, size_t offset)
{
	char *data = fuzz_copy(bytes, len), *at = data;
	size_t left = len, used;
	bool ok = true;

	while (ok && left > 0) {
		enum request_event event;
		const char *why = NULL;

		used = SIZE_MAX;
		event = request_feed(req, at, left, &used);
		PROMISE(event == REQUEST_ERROR || used <= left, "took more than there is");
		if (event == REQUEST_HEAD) {
			at += used;
			left -= used;
			PROMISE(request_in_body(req), "a head, but no body to decide on");
			check_known_headers(req);
			*head_from = tr->len;
			say_head(tr, req);
			*head_end = tr->len;
			request_expect_body(req, set->keep, set->body_max);
			event = request_feed(req, at, left, &used);
			PROMISE(event != REQUEST_HEAD, "two heads of one request");
			PROMISE(event == REQUEST_ERROR || used <= left, "took more than there is");
		}
		switch (event) {
		case REQUEST_MORE:
			/* One exception: an empty line that came in two pieces ends a piece early.
			 */
			PROMISE(used > 0 || left == 0, "more is wanted while %zu bytes lie there",
			    left);
			if (!request_is_empty(req) && request_keep(req) < 0)
				abort();
			break;
		case REQUEST_COMPLETE: {
			struct slice body = request_body(req), path;

			check_head(tr, req, *head_from);
			if (set->keep)
				PROMISE(body.len <= set->body_max, "a body over its limit");
			else
				PROMISE(body.len == 0, "a body that nobody wanted was kept");
			say_slice(tr, "body ", body.p, body.len);
			say_number(tr, "end ", offset + (size_t)(at + used - data));
			/* A held request is kept while the bytes behind it are dealt with. */
			if (request_keep(req) < 0)
				abort();
			path = request_path(req);
			PROMISE(path.p + path.len <= data || path.p >= data + len,
			    "what was kept lies in the reader's bytes");
			end_request(tr);
			request_reset(req);
			PROMISE(request_is_empty(req), "a request left something behind");
			break;
		}
		case REQUEST_ERROR:
			tr->status = request_error(req, &why);
			PROMISE(why != NULL && tr->status >= 400 && tr->status <= 505, "status %u",
			    tr->status);
			PROMISE(request_feed(req, at, 0, &used) == REQUEST_ERROR, "forgiven");
			ok = false;
			break;
		case REQUEST_HEAD:
			break;
		}
		if (ok) {
			at += used;
			left -= used;
		}
	}
	free(data);
	return ok;
}

/* cuts are in order. */
static void
feed(const uint8_t *bytes, size_t len, const size_t *cuts, size_t n_cuts, const struct setting *set,
    struct transcript *tr)
{
	struct request *req = request_new(&set->limits);
	size_t from = 0, head_from = 0, head_end = 0;
	bool ok = true;

	if (req == NULL)
		abort();
	clear(tr);
	for (size_t i = 0; ok && i <= n_cuts; i++) {
		size_t to = i < n_cuts ? cuts[i] : len;

		ok = feed_piece(req, bytes + from, to - from, set, tr, &head_from, &head_end, from);
		from = to;
	}
	tr->outcome = !ok                     ? OUTCOME_REFUSED
		      : request_is_empty(req) ? OUTCOME_EMPTY
		      : request_in_body(req)  ? OUTCOME_BODY
					      : OUTCOME_HEAD;
	request_free(req);
}

/* ---- the strict reader ------------------------------------------------------------- */

struct reference {
	const uint8_t *p;
	size_t len;
};

static bool
ref_token(uint8_t c)
{
	if (c >= 0x80 || c <= ' ' || c == 0x7f)
		return false;
	return strchr("\"(),/:;<=>?@[\\]{}", c) == NULL;
}

static bool
ref_text(uint8_t c)
{
	return c >= ' ' ? c != 0x7f : c == '\t';
}

struct line {
	const uint8_t *p;
	size_t len;
};

/* The next line without its CR LF: 1, 0 (not all there), -1 (an LF without a CR). */
static int
ref_line(const struct reference *r, size_t *at, struct line *line)
{
	size_t i = *at;

	while (i < r->len && r->p[i] != '\n')
		i++;
	if (i == r->len)
		return 0;
	if (i == *at || r->p[i - 1] != '\r')
		return -1;
	line->p = r->p + *at;
	line->len = i - 1 - *at;
	*at = i + 1;
	return 1;
}

/* name ":" OWS value OWS */
static bool
ref_field(struct line line, struct line *name, struct line *value)
{
	size_t colon = 0;

	while (colon < line.len && ref_token(line.p[colon]))
		colon++;
	if (colon == 0 || colon == line.len || line.p[colon] != ':')
		return false;
	*name = (struct line){line.p, colon};
	*value = (struct line){line.p + colon + 1, line.len - colon - 1};
	for (size_t i = 0; i < value->len; i++)
		if (!ref_text(value->p[i]))
			return false;
	while (value->len > 0 && (value->p[0] == ' ' || value->p[0] == '\t')) {
		value->p++;
		value->len--;
	}
	while (
	    value->len > 0 && (value->p[value->len - 1] == ' ' || value->p[value->len - 1] == '\t'))
		value->len--;
	return true;
}

static bool
line_is(struct line line, const char *text)
{
	return line.len == strlen(text) && strncasecmp((const char *)line.p, text, line.len) == 0;
}

/* A list has this element (RFC 9110, 5.6.1). */
static bool
list_has(struct line list, const char *text)
{
	size_t from = 0;

	for (size_t i = 0; i <= list.len; i++) {
		struct line item;

		if (i < list.len && list.p[i] != ',')
			continue;
		item = (struct line){list.p + from, i - from};
		while (item.len > 0 && (item.p[0] == ' ' || item.p[0] == '\t')) {
			item.p++;
			item.len--;
		}
		while (
		    item.len > 0 && (item.p[item.len - 1] == ' ' || item.p[item.len - 1] == '\t'))
			item.len--;
		if (line_is(item, text))
			return true;
		from = i + 1;
	}
	return false;
}

struct strict_head {
	unsigned method;
	struct line path, query;
	bool has_query, plain, http10, close, keep_alive;
	unsigned hosts, lengths, codings, types;
	struct line length, coding;
};

static bool
ref_request_line(struct line line, struct strict_head *h)
{
	static const struct {
		const char *name;
		enum request_method method;
	} names[] = {{"GET", METHOD_GET}, {"PUT", METHOD_PUT}, {"POST", METHOD_POST},
	    {"DELETE", METHOD_DELETE}, {"OPTIONS", METHOD_OPTIONS}, {"HEAD", METHOD_HEAD}};
	size_t method = 0, i;
	struct line target;

	while (method < line.len && ref_token(line.p[method]))
		method++;
	if (method == 0 || method == line.len || line.p[method] != ' ')
		return false;
	h->method = METHOD_OTHER;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strlen(names[i].name) == method && memcmp(line.p, names[i].name, method) == 0)
			h->method = names[i].method;
	if (line.len < method + 1 + 1 + 9)
		return false;
	target = (struct line){line.p + method + 1, line.len - method - 1 - 9};
	if (memcmp(line.p + line.len - 9, " HTTP/1.", 8) != 0 ||
	    (line.p[line.len - 1] != '0' && line.p[line.len - 1] != '1'))
		return false;
	h->http10 = line.p[line.len - 1] == '0';
	for (i = 0; i < target.len; i++)
		if (target.p[i] <= ' ' || target.p[i] == 0x7f || target.p[i] == '#')
			return false;
	h->plain = target.p[0] == '/' || line_is(target, "*");
	if (!h->plain) {
		/* absolute-form: scheme "://" authority path; RFC 3986, 3.1. */
		bool letter = (target.p[0] | 0x20) >= 'a' && (target.p[0] | 0x20) <= 'z';

		for (i = 0; i < target.len &&
			    (((target.p[i] | 0x20) >= 'a' && (target.p[i] | 0x20) <= 'z') ||
				(target.p[i] >= '0' && target.p[i] <= '9') ||
				strchr("+-.", target.p[i]) != NULL);
		     i++)
			;
		if (!letter || target.len - i < 3 || memcmp(target.p + i, "://", 3) != 0)
			return false;
		i += 3;
		while (i < target.len && strchr("/?", target.p[i]) == NULL)
			i++;
		target.p += i;
		target.len -= i;
	}
	for (i = 0; i < target.len && target.p[i] != '?'; i++)
		;
	h->path = i > 0 ? (struct line){target.p, i} : (struct line){(const uint8_t *)"/", 1};
	h->has_query = i < target.len && target.p[i] == '?';
	if (h->has_query)
		h->query = (struct line){target.p + i + 1, target.len - i - 1};
	return true;
}

/* A chunked body from *at: 1 whole, 0 not all there, -1 malformed. */
static int
ref_chunks(const struct reference *r, size_t *at, struct transcript *body)
{
	struct line line, name, value;
	int rc;

	for (;;) {
		uint64_t size = 0;
		size_t digits = 0;

		rc = ref_line(r, at, &line);
		if (rc <= 0) {
			/* What is there may be wrong before it is a line. */
			return rc;
		}
		for (; digits < line.len &&
		       strchr("0123456789abcdefABCDEF", line.p[digits]) != NULL &&
		       line.p[digits] != '\0';
		     digits++) {
			uint8_t c = line.p[digits];

			if (size >> 60 != 0)
				return -1;
			size = size * 16 + (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
		}
		if (digits == 0)
			return -1;
		for (size_t i = digits; i < line.len; i++)
			if (!ref_text(line.p[i]))
				return -1;
		while (digits < line.len && (line.p[digits] == ' ' || line.p[digits] == '\t'))
			digits++;
		if (digits < line.len ? line.p[digits] != ';' : line.p[line.len - 1] <= ' ')
			return -1;
		if (size == 0)
			break;
		if (r->len - *at < size)
			return 0;
		say_bytes(body, r->p + *at, (size_t)size);
		*at += (size_t)size;
		if (*at < r->len && r->p[*at] != '\r')
			return -1;
		if (*at + 1 < r->len && r->p[*at + 1] != '\n')
			return -1;
		if (r->len - *at < 2)
			return 0;
		*at += 2;
	}
	while ((rc = ref_line(r, at, &line)) > 0 && line.len > 0)
		if (!ref_field(line, &name, &value))
			return -1;
	return rc;
}

/* One request from *at; the outcome if there is none whole and well-formed. */
static bool
ref_request(const struct reference *r, size_t *at, bool keep, struct transcript *tr,
    struct transcript *body)
{
	struct strict_head h = {.method = 0};
	struct line line, name, value;
	size_t start;
	int rc;

	while (r->len - *at >= 2 && r->p[*at] == '\r' && r->p[*at + 1] == '\n')
		*at += 2;
	if (*at == r->len) {
		tr->outcome = OUTCOME_EMPTY;
		return false;
	}
	/* The whole head first: what is in it counts only when its end is there. */
	start = *at;
	while ((rc = ref_line(r, at, &line)) > 0 && line.len > 0)
		;
	if (rc <= 0) {
		tr->outcome = rc < 0 ? OUTCOME_REFUSED : OUTCOME_HEAD;
		return false;
	}
	*at = start;
	tr->outcome = OUTCOME_REFUSED;
	(void)ref_line(r, at, &line);
	if (!ref_request_line(line, &h))
		return false;
	start = *at;
	while (ref_line(r, at, &line) > 0 && line.len > 0) {
		if (!ref_field(line, &name, &value))
			return false;
		h.hosts += line_is(name, "host");
		h.types += line_is(name, "content-type");
		if (line_is(name, "content-length")) {
			h.lengths++;
			h.length = value;
		} else if (line_is(name, "transfer-encoding")) {
			h.codings++;
			h.coding = value;
		} else if (line_is(name, "connection")) {
			h.close |= list_has(value, "close");
			h.keep_alive |= list_has(value, "keep-alive");
		}
	}
	if (h.hosts > 1 || (h.hosts == 0 && !h.http10) || h.types > 1)
		return false;
	if (h.lengths > 1 || h.codings > 1 || h.lengths + h.codings > 1)
		return false;
	if (h.codings > 0 && (h.http10 || !line_is(h.coding, "chunked")))
		return false;
	say_number(tr, "method ", h.method);
	say_slice(tr, "path ", (const char *)h.path.p, h.path.len);
	if (h.has_query)
		say_slice(tr, "query ", (const char *)h.query.p, h.query.len);
	say_number(tr, "http1.", h.http10 ? 0 : 1);
	say_number(tr, "keep ", !h.close && (!h.http10 || h.keep_alive));
	for (size_t f = start; ref_line(r, &f, &line) > 0 && line.len > 0;) {
		(void)ref_field(line, &name, &value);
		say_slice(tr, "name ", (const char *)name.p, name.len);
		say_slice(tr, "value ", (const char *)value.p, value.len);
	}
	body->len = 0;
	if (h.codings > 0) {
		rc = ref_chunks(r, at, body);
		if (rc <= 0) {
			tr->outcome = rc < 0 ? OUTCOME_REFUSED : OUTCOME_BODY;
			return false;
		}
	} else if (h.lengths > 0) {
		uint64_t n = 0;

		if (h.length.len == 0)
			return false;
		for (size_t i = 0; i < h.length.len; i++) {
			if (h.length.p[i] < '0' || h.length.p[i] > '9' || n > INT64_MAX / 10)
				return false;
			n = n * 10 + (h.length.p[i] - '0');
			if (n > INT64_MAX)
				return false;
		}
		if (r->len - *at < n) {
			tr->outcome = OUTCOME_BODY;
			return false;
		}
		say_bytes(body, r->p + *at, (size_t)n);
		*at += (size_t)n;
	}
	say_slice(tr, "body ", body->text, keep ? body->len : 0);
	say_number(tr, "end ", *at);
	tr->plain_target[tr->n] = h.plain;
	return true;
}

static void
read_strictly(const uint8_t *data, size_t size, bool keep, struct transcript *tr)
{
	static struct transcript body;
	const struct reference r = {data, size};
	size_t at = 0;

	clear(tr);
	while (ref_request(&r, &at, keep, tr, &body))
		end_request(tr);
}

/* ---- the target -------------------------------------------------------------------- */

static void
compare_with_reference(
    const struct transcript *relay, const struct transcript *strict, const struct setting *set)
{
	size_t len = relay->n > 0 ? relay->ends[relay->n - 1] : 0;

	PROMISE(strict->n >= relay->n && (relay->n == 0 || strict->ends[relay->n - 1] == len) &&
		    (len == 0 || memcmp(relay->text, strict->text, len) == 0),
	    "taken:\n%.*s\nbut strictly:\n%.*s", (int)len, relay->text, (int)strict->len,
	    strict->text);
	if (relay->outcome == OUTCOME_REFUSED) {
		/* What is well-formed may be refused for what it asks, not for its form. */
		if (set->roomy && strict->n > relay->n)
			PROMISE(relay->status == 417 || !strict->plain_target[relay->n],
			    "well-formed, but refused with %u, behind %zu requests", relay->status,
			    relay->n);
		return;
	}
	PROMISE(
	    strict->n == relay->n, "%zu requests were found, strictly %zu", relay->n, strict->n);
	PROMISE(strict->outcome == relay->outcome, "after %zu requests outcome %d, strictly %d",
	    relay->n, relay->outcome, strict->outcome);
}

static void
compare(const struct transcript *whole, const struct transcript *parts, const char *how)
{
	size_t len = whole->n > 0 ? whole->ends[whole->n - 1] : 0;

	PROMISE(whole->n == parts->n && whole->outcome == parts->outcome &&
		    whole->status == parts->status &&
		    (whole->n == 0 || parts->ends[parts->n - 1] == len) &&
		    (len == 0 || memcmp(whole->text, parts->text, len) == 0),
	    "%s: %zu requests, outcome %d, status %u:\n%.*s\nbut whole %zu, %d, %u:\n%.*s", how,
	    parts->n, parts->outcome, parts->status, (int)parts->len, parts->text, whole->n,
	    whole->outcome, whole->status, (int)whole->len, whole->text);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	request_global_init();
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct transcript whole, parts, strict;
	static size_t cuts[INPUT_MAX];
	uint64_t random = 14695981039346656037u;

	if (size >= INPUT_MAX)
		return 0;
	for (size_t i = 0; i < size; i++)
		random = (random ^ data[i]) * 1099511628211u;
	for (size_t s = 0; s < sizeof(settings) / sizeof(settings[0]); s++) {
		const struct setting *set = &settings[s];

		feed(data, size, NULL, 0, set, &whole);
		read_strictly(data, size, set->keep, &strict);
		compare_with_reference(&whole, &strict, set);
		for (size_t i = 0; i + 1 < size; i++)
			cuts[i] = i + 1;
		feed(data, size, cuts, size > 0 ? size - 1 : 0, set, &parts);
		compare(&whole, &parts, "byte by byte");
		/* Cut at random, coarse and fine; the input is the seed, so it repeats. */
		for (unsigned coarse = 2; coarse <= 128; coarse *= 8) {
			size_t n = 0;

			for (size_t i = 1; i < size; i++) {
				random = random * 6364136223846793005u + 1442695040888963407u;
				if ((random >> 33) % coarse == 0)
					cuts[n++] = i;
			}
			feed(data, size, cuts, n, set, &parts);
			compare(&whole, &parts, "in random pieces");
		}
	}
	return 0;
}
