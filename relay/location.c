#define PCRE2_CODE_UNIT_WIDTH 8

#include "relay/location.h"

#include "base/log.h"
#include "base/text.h"
#include "relay/config.h"
#include "relay/template.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * What one match may cost. An honest pattern needs a few steps for a byte of the path,
 * so 300,000 serve the longest target there may be (64 KiB); a catastrophic one is
 * given up after some milliseconds. The heap is for patterns that need more than
 * PCRE2's own 32 KiB of stack, such as "((?:[^/]|x)+)": 350 bytes for a byte of the path.
 */
#define MATCH_STEPS_MAX    300000
#define MATCH_HEAP_MAX_KIB 32768

/*
 * Bytes, not characters: a path is percent-encoded, and what is not may be any bytes.
 * Therefore a pattern must not switch to UTF-8 either, "(*UTF)", or matching a path
 * that is none would fail.
 */
#define PATTERN_OPTIONS (PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_UTF | PCRE2_NEVER_UCP)
#define WHOLE_PATH      (PCRE2_ANCHORED | PCRE2_ENDANCHORED)

/*
 * Pieces of one request, repeated and empty ones included, each of which is held against
 * the ids before it: more than a request of LOCATION_CHANNELS_MAX ids has reason to send.
 */
#define PIECES_MAX 1024

static int
compile(const char *text, uint32_t options, pcre2_code **pattern, pcre2_match_context **limits,
    char *error, size_t error_size)
{
	PCRE2_SIZE offset;
	unsigned char reason[120];
	int code;

	*pattern = pcre2_compile(
	    (PCRE2_SPTR)text, strlen(text), PATTERN_OPTIONS | options, &code, &offset, NULL);
	if (*pattern == NULL) {
		pcre2_get_error_message(code, reason, sizeof(reason));
		snprintf(error, error_size, "is no regular expression: %s (behind byte %zu)",
		    (char *)reason, (size_t)offset);
		return -1;
	}
	*limits = pcre2_match_context_create(NULL);
	if (*limits == NULL) {
		snprintf(error, error_size, "%s", strerror(ENOMEM));
		return -1;
	}
	pcre2_set_match_limit(*limits, MATCH_STEPS_MAX);
	pcre2_set_heap_limit(*limits, MATCH_HEAP_MAX_KIB);
	/* Where there is no compiler for this machine, or it may not make executable
	 * pages, pcre2_match() interprets the pattern instead. */
	(void)pcre2_jit_compile(*pattern, PCRE2_JIT_COMPLETE);
	return 0;
}

static uint32_t
group_count(const struct location *loc)
{
	uint32_t groups;

	pcre2_pattern_info(loc->pattern, PCRE2_INFO_CAPTURECOUNT, &groups);
	return groups;
}

static int
check_groups(const struct location *loc, char *error, size_t error_size)
{
	uint32_t groups = group_count(loc);

	if (loc->channel_argument != NULL) {
		if (groups == 0)
			return 0;
		snprintf(error, error_size,
		    "must have no group, for channel_argument says where the channel ids are; "
		    "others are written (?:...)");
	} else if (loc->type == LOCATION_PUBLISHER) {
		if (groups == 1)
			return 0;
		snprintf(error, error_size,
		    "must have exactly one group, which is the channel id, not %u%s", groups,
		    groups > 1 ? "; others are written (?:...)" : "");
	} else {
		if (groups >= 1 && groups <= LOCATION_CHANNELS_MAX)
			return 0;
		snprintf(error, error_size,
		    "must have 1 to %d groups, each a channel id, not %u; others are written "
		    "(?:...)",
		    LOCATION_CHANNELS_MAX, groups);
	}
	return -1;
}

int
padding_prepare(struct padding *padding, char *error, size_t error_size)
{
	return compile(
	    padding->user_agent, 0, &padding->pattern, &padding->match_limits, error, error_size);
}

static bool
network_is_ipv4(const struct network *n)
{
	return n->prefix_len >= 96 && IN6_IS_ADDR_V4MAPPED(&n->addr);
}

/* So that most subscribers' addresses need not be looked at. */
static bool
allows_all(const struct location *loc)
{
	bool v4 = false, v6 = false;

	for (size_t i = 0; i < loc->n_allow; i++) {
		v4 = v4 || (loc->allow[i].prefix_len == 96 && network_is_ipv4(&loc->allow[i]));
		v6 = v6 || loc->allow[i].prefix_len == 0;
	}
	return v4 && v6 && loc->allow_unix;
}

int
location_prepare(struct location *loc, char *error, size_t error_size)
{
	if (loc->type == LOCATION_PUBLISHER)
		loc->max_channels = 1;
	else if (loc->type == LOCATION_STATISTICS)
		loc->max_channels = LOCATION_CHANNELS_MAX;
	if (loc->stream_separator != NULL)
		loc->stream_separator_len = strlen(loc->stream_separator);
	if (loc->url != NULL) {
		if (compile(loc->url, WHOLE_PATH, &loc->pattern, &loc->match_limits, error,
			error_size) < 0 ||
		    check_groups(loc, error, error_size) < 0)
			return -1;
	} else {
		loc->prefix_len = strlen(loc->prefix);
	}
	loc->several = loc->split != 0 || loc->channel_argument != NULL ||
		       (loc->pattern != NULL && group_count(loc) > 1);
	loc->allow_all = allows_all(loc);
	loc->cors.publisher = loc->type == LOCATION_PUBLISHER;
	if (cors_prepare(&loc->cors) < 0) {
		snprintf(error, error_size, "%s", strerror(ENOMEM));
		return -1;
	}
	return 0;
}

void
location_reset(struct location *loc)
{
	pcre2_code_free(loc->pattern);
	pcre2_match_context_free(loc->match_limits);
	cors_reset(&loc->cors);
	free(loc->url);
	free(loc->prefix);
	free(loc->store_name);
	free(loc->passthrough);
	for (size_t i = 0; i < loc->n_identity; i++)
		free(loc->identity[i]);
	free(loc->identity);
	free(loc->content_type);
	free(loc->allow);
	free(loc->channel_argument);
	free(loc->ping_message);
	template_free(loc->message_template);
	free(loc->event);
	for (size_t i = 0; i < loc->n_padding; i++) {
		pcre2_code_free(loc->padding[i].pattern);
		pcre2_match_context_free(loc->padding[i].match_limits);
		free(loc->padding[i].user_agent);
	}
	free(loc->padding);
	free(loc->stream_separator);
	free(loc->header_template);
	free(loc->footer_template);
	free(loc->heartbeat_in);
	free(loc->heartbeat_out);
	memset(loc, 0, sizeof(*loc));
}

struct pcre2_real_match_data_8 *
location_match_new(void)
{
	/* The whole and the groups. */
	return pcre2_match_data_create(1 + LOCATION_CHANNELS_MAX, NULL);
}

void
location_match_free(struct pcre2_real_match_data_8 *match_data)
{
	pcre2_match_data_free(match_data);
}

/*
 * Whether a path matches url. Its groups are then in match_data, the first *groups of
 * them: those behind took no part.
 */
static bool
match_url(struct location *loc, pcre2_match_data *match_data, const char *path, size_t path_len,
    unsigned *groups)
{
	unsigned char reason[120];
	int rc;

	rc = pcre2_match(
	    loc->pattern, (PCRE2_SPTR)path, path_len, 0, 0, match_data, loc->match_limits);
	if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
		rc = pcre2_match(loc->pattern, (PCRE2_SPTR)path, path_len, 0, PCRE2_NO_JIT,
		    match_data, loc->match_limits);
	if (rc == PCRE2_ERROR_NOMATCH)
		return false;
	if (rc < 0) {
		if (atomic_fetch_add_explicit(&loc->given_up, 1, memory_order_relaxed) == 0) {
			pcre2_get_error_message(rc, reason, sizeof(reason));
			log_warnx("locations[%u] (line %u): its url was given up on a path of %zu "
				  "bytes, which is taken as no match, and so will be others: %s",
			    loc->index, loc->line, path_len, (char *)reason);
		}
		return false;
	}
	/* rc is 1 where no group took part: "/a|/b/(.+)" on "/a". */
	*groups = (unsigned)rc - 1;
	return true;
}

static bool
match_prefix(const struct location *loc, const char *path, size_t path_len)
{
	/* With ids in the query, it is the whole path. */
	return path_len >= loc->prefix_len &&
	       (loc->channel_argument == NULL || path_len == loc->prefix_len) &&
	       memcmp(path, loc->prefix, loc->prefix_len) == 0;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

enum {
	DECODE_BAD = -1,
	DECODE_TOO_LONG = -2
};

static ptrdiff_t
decode(const char *in, size_t len, unsigned char *out, size_t room)
{
	size_t n = 0;

	/* As most ids are. */
	if (memchr(in, '%', len) == NULL) {
		if (len > room)
			return DECODE_TOO_LONG;
		memcpy(out, in, len);
		return (ptrdiff_t)len;
	}
	for (size_t i = 0; i < len; i++, n++) {
		unsigned char byte = (unsigned char)in[i];

		if (byte == '%') {
			int high = i + 2 < len ? hex_digit(in[i + 1]) : -1;
			int low = i + 2 < len ? hex_digit(in[i + 2]) : -1;

			if (high < 0 || low < 0)
				return DECODE_BAD;
			byte = (unsigned char)(high << 4 | low);
			i += 2;
		}
		/* Not before: the digits of a broken one are looked at in any case. */
		if (n == room)
			return DECODE_TOO_LONG;
		out[n] = byte;
	}
	return (ptrdiff_t)n;
}

ptrdiff_t
percent_decode(const char *in, size_t len, unsigned char *out)
{
	return decode(in, len, out, len);
}

void
percent_encode(struct text *t, const char *p, size_t len)
{
	static const char hex[] = "0123456789ABCDEF";

	for (size_t i = 0; i < len; i++) {
		const unsigned char c = (unsigned char)p[i];
		const char encoded[3] = {'%', hex[c >> 4], hex[c & 15]};

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		    (c != '\0' && strchr("-._~", c) != NULL))
			text_add(t, &p[i], 1);
		else
			text_add(t, encoded, sizeof(encoded));
	}
}

size_t
location_ids_room(const struct config *config)
{
	const size_t target = config->limits.target_size;
	size_t room = target;

	/* Ids that lie one behind the other in the target are not longer than it, but groups
	 * may be nested, or look ahead. */
	for (size_t i = 0; i < config->n_locations; i++)
		if (config->locations[i].pattern != NULL &&
		    group_count(&config->locations[i]) * target > room)
			room = group_count(&config->locations[i]) * target;
	return room;
}

/* Where the ids of one request are gathered. */
struct gatherer {
	const struct location *loc;
	size_t id_max;
	struct location_ids *ids;
	size_t used; /* of ids->buf */
	unsigned pieces;
};

static bool
is_known(const struct location_ids *ids, const unsigned char *bytes, size_t len)
{
	for (unsigned i = 0; i < ids->n; i++)
		if (ids->ids[i].len == len && memcmp(ids->ids[i].bytes, bytes, len) == 0)
			return true;
	return false;
}

static enum location_answer
gather_id(struct gatherer *g, const char *raw, size_t raw_len)
{
	struct location_ids *ids = g->ids;
	unsigned char *bytes = ids->buf + g->used;
	ptrdiff_t len;

	if (++g->pieces > PIECES_MAX)
		return LOCATION_TOO_MANY;
	len = decode(raw, raw_len, bytes, g->id_max);
	if (len == DECODE_BAD)
		return LOCATION_BAD_ENCODING;
	if (len == DECODE_TOO_LONG)
		return LOCATION_ID_TOO_LONG;
	if (ids->n > 0 && is_known(ids, bytes, (size_t)len))
		return LOCATION_FOUND;
	if (ids->n == g->loc->max_channels)
		return LOCATION_TOO_MANY;
	ids->ids[ids->n].bytes = bytes;
	ids->ids[ids->n].len = (size_t)len;
	ids->n++;
	g->used += (size_t)len;
	return LOCATION_FOUND;
}

/* The ids of a group, of the rest behind a prefix, or of a parameter; it may be empty. */
static enum location_answer
gather(struct gatherer *g, const char *raw, size_t raw_len)
{
	enum location_answer answer = LOCATION_FOUND;
	const char *end = raw + raw_len, *cut;

	if (g->loc->split == 0)
		return raw_len > 0 ? gather_id(g, raw, raw_len) : LOCATION_FOUND;
	/* Before it is decoded: "%2C" stays part of an id. */
	for (; answer == LOCATION_FOUND && raw < end; raw = cut < end ? cut + 1 : end) {
		cut = memchr(raw, g->loc->split, (size_t)(end - raw));
		if (cut == NULL)
			cut = end;
		if (cut > raw)
			answer = gather_id(g, raw, (size_t)(cut - raw));
	}
	return answer;
}

static enum location_answer
gather_groups(struct gatherer *g, pcre2_match_data *match_data, const char *path, unsigned groups)
{
	const PCRE2_SIZE *ovector = pcre2_get_ovector_pointer(match_data);
	enum location_answer answer = LOCATION_FOUND;

	for (unsigned i = 1; answer == LOCATION_FOUND && i <= groups; i++) {
		PCRE2_SIZE from = ovector[2 * i], to = ovector[2 * i + 1];

		/* \K in a look-ahead can put the end before the start. */
		if (from != PCRE2_UNSET && to > from)
			answer = gather(g, path + from, to - from);
	}
	return answer;
}

static enum location_answer
gather_query(struct gatherer *g, const char *query, size_t query_len)
{
	const size_t name_len = strlen(g->loc->channel_argument);
	const char *end, *next;
	enum location_answer answer = LOCATION_FOUND;

	if (query == NULL)
		query = "";
	end = query + query_len;
	for (; answer == LOCATION_FOUND && query < end; query = next < end ? next + 1 : end) {
		next = memchr(query, '&', (size_t)(end - query));
		if (next == NULL)
			next = end;
		if ((size_t)(next - query) > name_len && query[name_len] == '=' &&
		    memcmp(query, g->loc->channel_argument, name_len) == 0)
			answer =
			    gather(g, query + name_len + 1, (size_t)(next - query) - name_len - 1);
	}
	if (answer == LOCATION_FOUND && g->ids->n == 0 && g->loc->type != LOCATION_STATISTICS)
		return LOCATION_NO_ID;
	return answer;
}

static enum location_answer
gather_all(const struct location *loc, size_t id_max, pcre2_match_data *match_data, unsigned groups,
    const char *path, size_t path_len, const char *query, size_t query_len,
    struct location_ids *ids)
{
	struct gatherer g = {.loc = loc, .id_max = id_max, .ids = ids};

	if (loc->channel_argument != NULL)
		return gather_query(&g, query, query_len);
	if (loc->pattern != NULL)
		return gather_groups(&g, match_data, path, groups);
	return gather(&g, path + loc->prefix_len, path_len - loc->prefix_len);
}

/* The one id of a location that has no more in its path; n is 0 if it is empty. */
static enum location_answer
gather_one(const struct location *loc, size_t id_max, pcre2_match_data *match_data, unsigned groups,
    const char *path, size_t path_len, struct location_ids *ids)
{
	size_t from = loc->prefix_len, to = path_len;
	ptrdiff_t len;

	if (loc->pattern != NULL) {
		const PCRE2_SIZE *ovector = pcre2_get_ovector_pointer(match_data);

		from = groups > 0 ? ovector[2] : 0;
		to = groups > 0 ? ovector[3] : 0;
	}
	/* \K in a look-ahead can put the end before the start. */
	if (to <= from)
		return LOCATION_FOUND;
	len = decode(path + from, to - from, ids->buf, id_max);
	if (len == DECODE_BAD)
		return LOCATION_BAD_ENCODING;
	if (len == DECODE_TOO_LONG)
		return LOCATION_ID_TOO_LONG;
	ids->n = 1;
	ids->ids[0].bytes = ids->buf;
	ids->ids[0].len = (size_t)len;
	return LOCATION_FOUND;
}

enum location_answer
location_match(const struct config *config, struct pcre2_real_match_data_8 *match_data,
    const char *path, size_t path_len, const char *query, size_t query_len,
    const struct location **loc, struct location_ids *ids)
{
	const size_t id_max = config->limits.id_length;

	ids->n = 0;
	for (size_t i = 0; i < config->n_locations; i++) {
		struct location *l = &config->locations[i];
		enum location_answer answer;
		unsigned groups = 0;

		if (l->pattern != NULL ? !match_url(l, match_data, path, path_len, &groups)
				       : !match_prefix(l, path, path_len))
			continue;
		if (l->several)
			answer = gather_all(
			    l, id_max, match_data, groups, path, path_len, query, query_len, ids);
		else
			answer = gather_one(l, id_max, match_data, groups, path, path_len, ids);
		if (answer == LOCATION_FOUND && ids->n == 0 && l->type != LOCATION_STATISTICS)
			continue;
		*loc = l;
		return answer;
	}
	return LOCATION_NONE;
}

const struct padding *
location_padding(const struct location *loc, struct pcre2_real_match_data_8 *match_data,
    const char *user_agent, size_t len)
{
	if (user_agent == NULL)
		return NULL;
	for (size_t i = 0; i < loc->n_padding; i++) {
		const struct padding *p = &loc->padding[i];

		/* A pattern that is given up pads nobody. */
		if (pcre2_match(p->pattern, (PCRE2_SPTR)user_agent, len, 0, 0, match_data,
			p->match_limits) >= 0)
			return p;
	}
	return NULL;
}

/* Clears the bits behind the prefix; true if there were none. */
static bool
mask(struct in6_addr *addr, unsigned prefix_len)
{
	bool clean = true;

	for (unsigned i = 0; i < 16; i++) {
		unsigned bits = prefix_len >= (i + 1) * 8 ? 8
				: prefix_len > i * 8      ? prefix_len - i * 8
							  : 0;
		uint8_t kept = (uint8_t)(addr->s6_addr[i] & (0xff00 >> bits));

		clean = clean && kept == addr->s6_addr[i];
		addr->s6_addr[i] = kept;
	}
	return clean;
}

int
network_parse(const char *text, struct network *out, char *error, size_t error_size)
{
	char host[INET6_ADDRSTRLEN], right[NETWORK_TEXT_SIZE];
	const char *slash = strchr(text, '/');
	size_t len = slash != NULL ? (size_t)(slash - text) : strlen(text);
	unsigned base, bits, given = 0;
	struct in_addr v4;

	if (len >= sizeof(host))
		goto bad;
	memcpy(host, text, len);
	host[len] = '\0';
	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET, host, &v4) == 1) {
		out->addr.s6_addr[10] = out->addr.s6_addr[11] = 0xff;
		memcpy(&out->addr.s6_addr[12], &v4, sizeof(v4));
		base = 96;
	} else if (inet_pton(AF_INET6, host, &out->addr) == 1) {
		base = 0;
	} else {
		goto bad;
	}
	bits = 128 - base;
	if (slash == NULL) {
		given = bits;
	} else {
		if (slash[1] == '\0' || (slash[1] == '0' && slash[2] != '\0') || strlen(slash) > 4)
			goto bad;
		for (const char *p = slash + 1; *p != '\0'; p++) {
			if (*p < '0' || *p > '9')
				goto bad;
			given = given * 10 + (unsigned)(*p - '0');
		}
		if (given > bits)
			goto bad;
	}
	out->prefix_len = base + given;
	if (!mask(&out->addr, out->prefix_len)) {
		network_text(out, right);
		snprintf(error, error_size, "has bits set behind its /%u; the network is \"%s\"",
		    given, right);
		return -1;
	}
	return 0;
bad:
	snprintf(error, error_size,
	    "must be an IP address, a network such as \"10.0.0.0/8\", or \"unix\"");
	return -1;
}

void
network_text(const struct network *network, char text[NETWORK_TEXT_SIZE])
{
	bool v4 = network_is_ipv4(network);
	size_t len;

	if (v4)
		inet_ntop(AF_INET, &network->addr.s6_addr[12], text, NETWORK_TEXT_SIZE);
	else
		inet_ntop(AF_INET6, &network->addr, text, NETWORK_TEXT_SIZE);
	len = strlen(text);
	if (network->prefix_len < 128)
		snprintf(text + len, NETWORK_TEXT_SIZE - len, "/%u",
		    network->prefix_len - (v4 ? 96 : 0));
}

/* Half of an address as a number. */
static uint64_t
half_of(const struct in6_addr *addr, unsigned half)
{
	uint64_t bytes;

	memcpy(&bytes, addr->s6_addr + half * 8, sizeof(bytes));
	return be64toh(bytes);
}

/* Whether two numbers begin with the same bits. */
static bool
begin_alike(uint64_t a, uint64_t b, unsigned bits)
{
	return bits == 0 || (a ^ b) >> (bits < 64 ? 64 - bits : 0) == 0;
}

static bool
is_in(const struct in6_addr *addr, const struct network *n)
{
	return begin_alike(half_of(addr, 0), half_of(&n->addr, 0), n->prefix_len) &&
	       begin_alike(half_of(addr, 1), half_of(&n->addr, 1),
		   n->prefix_len > 64 ? n->prefix_len - 64 : 0);
}

bool
location_allows(const struct location *loc, const struct in6_addr *addr, bool unix_peer)
{
	if (loc->allow_all)
		return true;
	if (unix_peer)
		return loc->allow_unix;
	for (size_t i = 0; i < loc->n_allow; i++) {
		const struct network *n = &loc->allow[i];

		/* "::/0" means IPv6, though the mapped IPv4 addresses lie in it. */
		if (is_in(addr, n) && network_is_ipv4(n) == (bool)IN6_IS_ADDR_V4MAPPED(addr))
			return true;
	}
	return false;
}
