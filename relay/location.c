#define PCRE2_CODE_UNIT_WIDTH 8

#include "relay/location.h"

#include "base/log.h"
#include "relay/config.h"

#include <arpa/inet.h>
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
#define PATTERN_OPTIONS                                                                \
	(PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_UTF | \
	    PCRE2_NEVER_UCP)

static int
pattern_compile(struct location *loc, char *error, size_t error_size)
{
	PCRE2_SIZE offset;
	unsigned char reason[120];
	uint32_t groups;
	int code;

	loc->pattern = pcre2_compile(
	    (PCRE2_SPTR)loc->url, strlen(loc->url), PATTERN_OPTIONS, &code, &offset, NULL);
	if (loc->pattern == NULL) {
		pcre2_get_error_message(code, reason, sizeof(reason));
		snprintf(error, error_size, "is no regular expression: %s (behind byte %zu)",
		    (char *)reason, (size_t)offset);
		return -1;
	}
	pcre2_pattern_info(loc->pattern, PCRE2_INFO_CAPTURECOUNT, &groups);
	if (groups != 1) {
		snprintf(error, error_size,
		    "must have exactly one group, which is the channel id, not %u%s", groups,
		    groups > 1 ? "; others are written (?:...)" : "");
		return -1;
	}
	loc->match_limits = pcre2_match_context_create(NULL);
	if (loc->match_limits == NULL) {
		snprintf(error, error_size, "%s", strerror(ENOMEM));
		return -1;
	}
	pcre2_set_match_limit(loc->match_limits, MATCH_STEPS_MAX);
	pcre2_set_heap_limit(loc->match_limits, MATCH_HEAP_MAX_KIB);
	/* Where there is no compiler for this machine, or it may not make executable
	 * pages, pcre2_match() interprets the pattern instead. */
	(void)pcre2_jit_compile(loc->pattern, PCRE2_JIT_COMPLETE);
	return 0;
}

int
location_prepare(struct location *loc, char *error, size_t error_size)
{
	if (loc->url != NULL) {
		if (pattern_compile(loc, error, error_size) < 0)
			return -1;
	} else {
		loc->prefix_len = strlen(loc->prefix);
	}
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
	free(loc->content_type);
	free(loc->allow);
	memset(loc, 0, sizeof(*loc));
}

struct pcre2_real_match_data_8 *
location_match_new(void)
{
	/* The whole and the one group. */
	return pcre2_match_data_create(2, NULL);
}

void
location_match_free(struct pcre2_real_match_data_8 *match_data)
{
	pcre2_match_data_free(match_data);
}

/* The answer of PCRE2 with the group's bytes in *id; true if there are any. */
static bool
match_url(struct location *loc, pcre2_match_data *match_data, const char *path, size_t path_len,
    const char **id, size_t *id_len)
{
	unsigned char reason[120];
	PCRE2_SIZE *ovector;
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
	ovector = pcre2_get_ovector_pointer(match_data);
	/* rc is 1 where the group took no part: "/a|/b/(.+)" on "/a". */
	if (rc < 2 || ovector[2] == PCRE2_UNSET || ovector[3] <= ovector[2])
		return false;
	*id = path + ovector[2];
	*id_len = ovector[3] - ovector[2];
	return true;
}

static bool
match_prefix(
    const struct location *loc, const char *path, size_t path_len, const char **id, size_t *id_len)
{
	if (path_len <= loc->prefix_len || memcmp(path, loc->prefix, loc->prefix_len) != 0)
		return false;
	*id = path + loc->prefix_len;
	*id_len = path_len - loc->prefix_len;
	return true;
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

enum location_answer
location_match(const struct config *config, struct pcre2_real_match_data_8 *match_data,
    const char *path, size_t path_len, const struct location **loc, unsigned char *id_buf,
    size_t *id_len)
{
	for (size_t i = 0; i < config->n_locations; i++) {
		struct location *l = &config->locations[i];
		const char *raw = NULL;
		size_t raw_len = 0;
		ptrdiff_t len;

		if (l->pattern != NULL ? !match_url(l, match_data, path, path_len, &raw, &raw_len)
				       : !match_prefix(l, path, path_len, &raw, &raw_len))
			continue;
		*loc = l;
		len = decode(raw, raw_len, id_buf, config->limits.id_length);
		if (len == DECODE_BAD)
			return LOCATION_BAD_ENCODING;
		if (len == DECODE_TOO_LONG)
			return LOCATION_ID_TOO_LONG;
		*id_len = (size_t)len;
		return LOCATION_FOUND;
	}
	return LOCATION_NONE;
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

static bool
network_is_ipv4(const struct network *n)
{
	return n->prefix_len >= 96 && IN6_IS_ADDR_V4MAPPED(&n->addr);
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

bool
location_allows(const struct location *loc, const struct in6_addr *addr, bool unix_peer)
{
	if (unix_peer)
		return loc->allow_unix;
	for (size_t i = 0; i < loc->n_allow; i++) {
		const struct network *n = &loc->allow[i];
		struct in6_addr masked = *addr;

		/* "::/0" means IPv6, though the mapped IPv4 addresses lie in it. */
		if (network_is_ipv4(n) != (bool)IN6_IS_ADDR_V4MAPPED(addr))
			continue;
		mask(&masked, n->prefix_len);
		if (memcmp(&masked, &n->addr, sizeof(masked)) == 0)
			return true;
	}
	return false;
}
