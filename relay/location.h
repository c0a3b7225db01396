/*
 * location.h - a configured URL and what it does: the target of a request becomes a
 * location and a channel id.
 *
 * Locations are immutable once the configuration is loaded and shared by all workers.
 * PROTOCOL, section 1: tried in the order of the file, the first match wins; matching
 * is done on the path before percent-decoding, and what the pattern's one group (or
 * the rest behind the prefix) holds is decoded once and is then opaque bytes.
 */
#ifndef RELAY_LOCATION_H
#define RELAY_LOCATION_H

#include "base/attr.h"
#include "relay/cors.h"

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config;
struct pcre2_real_code_8;
struct pcre2_real_match_context_8;
struct pcre2_real_match_data_8;

enum location_type {
	LOCATION_SUBSCRIBER,
	LOCATION_PUBLISHER,
};

enum polling {
	POLLING_LONG,
	POLLING_INTERVAL,
};

/* Who stays when two are held in one channel of one location; the others get 409. */
enum concurrency {
	CONCURRENCY_BROADCAST, /* all */
	CONCURRENCY_LAST,      /* the newest */
	CONCURRENCY_FIRST,     /* the oldest */
};

/* An address or a network that may publish. IPv4 is held as ::ffff:a.b.c.d. */
struct network {
	struct in6_addr addr;
	unsigned prefix_len; /* 0 to 128 */
};

struct location {
	enum location_type type;
	unsigned index; /* in the configuration, from 0 */
	unsigned line;  /* in the file, for messages */
	char *url;      /* the pattern, or NULL */
	char *prefix;   /* where url is NULL */
	size_t prefix_len;
	unsigned store; /* index in config->stores */
	char *store_name;
	struct cors cors;

	/* subscriber */
	enum polling polling;
	enum concurrency concurrency;
	bool create_on_get;
	char *passthrough;              /* a URL, or NULL */
	uint32_t passthrough_linger_ms; /* only 0 so far */
	uint32_t timeout_ms;            /* 0: held for ever */
	unsigned timeout_status;        /* 304, 408 or 204 */
	char *content_type;             /* instead of the publisher's, or NULL */

	/* publisher */
	bool create_on_post;
	bool store_messages;
	struct network *allow; /* besides these Unix sockets where allow_unix */
	size_t n_allow;
	bool allow_unix;
	uint64_t max_body; /* bytes */

	/* from location_prepare() */
	struct pcre2_real_code_8 *pattern;
	struct pcre2_real_match_context_8 *match_limits;

	/*
	 * Paths on which the pattern was given up, for it took too long: the one field that
	 * changes once the location is in use. The first is logged.
	 */
	atomic_ulong given_up;
};

/* The longest text of a network: an IPv6 address, "/128" and a NUL. */
#define NETWORK_TEXT_SIZE (INET6_ADDRSTRLEN + 4)

/* Longest id that limits.id_length may allow, in bytes, decoded. */
#define LOCATION_ID_MAX 4096

/*
 * Compiles the pattern and makes what depends on the options; the fields above must be
 * set. 0, or -1 with a message for the user, without line or key, in error; then, too,
 * location_reset() frees.
 */
int location_prepare(struct location *loc, char *error, size_t error_size) MUST_CHECK;
/* Frees what a location holds, not the struct. */
void location_reset(struct location *loc);

/* What location_match() found. */
enum location_answer {
	LOCATION_FOUND,
	LOCATION_NONE,         /* outside of all locations: 404 */
	LOCATION_BAD_ENCODING, /* the id's percent-encoding is broken: 400 */
	LOCATION_ID_TOO_LONG,  /* 400 */
};

/*
 * Finds the location of a path. match_data is the worker's own (location_match_new).
 * id is written decoded to id_buf, of at least LOCATION_ID_MAX bytes; its length to
 * *id_len. *loc is borrowed from the configuration; it is set for every answer but
 * LOCATION_NONE. An id is never empty: a pattern whose group holds nothing, or took no
 * part, does not match.
 */
enum location_answer location_match(const struct config *config,
    struct pcre2_real_match_data_8 *match_data, const char *path, size_t path_len,
    const struct location **loc, unsigned char *id_buf, size_t *id_len);

/* A worker's scratch space for matching; returns new, NULL when out of memory. */
struct pcre2_real_match_data_8 *location_match_new(void);
void location_match_free(struct pcre2_real_match_data_8 *match_data);

/* Whether a peer may publish; unix_peer: it came by a Unix socket, and addr is not read. */
bool location_allows(const struct location *loc, const struct in6_addr *addr, bool unix_peer);

/*
 * An address ("::1", "10.1.2.3") or a network ("10.0.0.0/8"). 0, or -1 with what it
 * must be in error.
 */
int network_parse(const char *text, struct network *out, char *error, size_t error_size) MUST_CHECK;
/* As network_parse() reads it; a single address has no prefix length. */
void network_text(const struct network *network, char text[NETWORK_TEXT_SIZE]);

/*
 * Percent-decodes len bytes of in to out, which has room for as many; returns the
 * decoded length, or -1 for a '%' without two hexadecimal digits (RFC 3986, 2.1).
 */
ptrdiff_t percent_decode(const char *in, size_t len, unsigned char *out);

#endif
