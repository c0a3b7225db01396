/*
 * location.h - a configured URL and what it does: the target of a request becomes a
 * location and channel ids.
 *
 * Locations are immutable once the configuration is loaded and shared by all workers.
 * PROTOCOL, section 1: tried in the order of the file, the first match wins; matching
 * is done on the path before percent-decoding, and what the pattern's groups (or the
 * rest behind the prefix, or the parameters of the query) hold is cut where the location
 * says so, then decoded once and is then opaque bytes.
 */
#ifndef RELAY_LOCATION_H
#define RELAY_LOCATION_H

#include "base/attr.h"
#include "relay/cors.h"
#include "store/store.h"

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config;
struct pcre2_real_code_8;
struct pcre2_real_match_context_8;
struct pcre2_real_match_data_8;
struct template;
struct text;

enum location_type {
	LOCATION_SUBSCRIBER,
	LOCATION_PUBLISHER,
	LOCATION_STATISTICS,
};

/* How messages reach a subscriber. */
enum transport_kind {
	TRANSPORT_LONGPOLL, /* interval polling as well */
	TRANSPORT_JSONP,
	TRANSPORT_EVENTSOURCE,
	TRANSPORT_WEBSOCKET,
	TRANSPORT_STREAM, /* the HTTP stream: messages one behind the other in one body */
	TRANSPORT_MULTIPART,
};
#define TRANSPORTS          6
#define TRANSPORT_BIT(kind) (1u << (kind))
/* The two that end with a message; the others stay open. */
#define TRANSPORTS_POLLS (TRANSPORT_BIT(TRANSPORT_LONGPOLL) | TRANSPORT_BIT(TRANSPORT_JSONP))

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

/* What a long poll is answered with where several messages wait. */
enum batch {
	BATCH_OFF, /* the first of them */
	BATCH_MULTIPART,
	BATCH_JSON,
	BATCH_RAW,
};

/* What becomes of a stream whose reader is so slow that the store has dropped messages. */
enum on_slow {
	ON_SLOW_GAP, /* it goes on behind them */
	ON_SLOW_CLOSE,
};

/* Blanks for user agents that show nothing of a stream until so many bytes have come. */
struct padding {
	char *user_agent; /* a pattern, searched for in the header */
	uint32_t head;    /* bytes that the head of the body has at least */
	uint32_t message; /* and each message */

	/* from padding_prepare() */
	struct pcre2_real_code_8 *pattern;
	struct pcre2_real_match_context_8 *match_limits;
};

/* An address or a network that is allowed. IPv4 is held as ::ffff:a.b.c.d. */
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
	/*
	 * The query's parameter that holds the ids; NULL: the path does. Then url has no
	 * group, and prefix is the whole path.
	 */
	char *channel_argument;
	char split;            /* between the ids of one group or parameter; 0: it is one id */
	uint32_t max_channels; /* of one request, 1 to LOCATION_CHANNELS_MAX */
	struct network *allow; /* besides these Unix sockets where allow_unix */
	size_t n_allow;
	bool allow_unix;
	bool allow_all; /* from location_prepare(): the networks and Unix sockets are everyone */
	unsigned store; /* index in config->stores */
	char *store_name;
	struct cors cors;

	/* subscriber */
	enum polling polling;
	enum concurrency concurrency;
	bool create_on_get;
	char *passthrough;              /* a URL, or NULL */
	uint32_t passthrough_linger_ms; /* 0: a pair of notices for each held request */
	char **identity;                /* names of cookies that say who a subscriber is */
	size_t n_identity;
	unsigned transports;             /* TRANSPORT_BIT() of each that is allowed */
	uint32_t timeout_ms[TRANSPORTS]; /* 0: for ever */
	unsigned timeout_status;         /* 304, 408 or 204 */
	char *content_type;              /* instead of the publisher's, or NULL */
	struct store_start first_message;
	uint32_t max_subscribers; /* of one channel; 0: no limit */
	enum on_slow on_slow;
	bool gap_event;   /* streams say a gap */
	bool say_channel; /* each message says its channel */
	enum batch batch;
	uint32_t ping_interval_ms;         /* of streams; 0: never */
	uint32_t ping_timeout_ms;          /* for a WebSocket's answer; 0: for ever */
	char *ping_message;                /* one line, or NULL: what the transport has */
	struct template *message_template; /* NULL: a message is its body */

	/* subscriber: event streams */
	char *event; /* of messages whose publisher gave none, or NULL */
	uint32_t retry_ms;
	bool has_retry;
	struct padding *padding;
	size_t n_padding;

	/* subscriber: HTTP streams */
	char *stream_separator; /* behind each message; may be empty */
	size_t stream_separator_len;
	char *header_template, *footer_template; /* or NULL */

	/* subscriber: WebSockets */
	char *heartbeat_in, *heartbeat_out; /* that text is answered with this; or both NULL */
	bool deflate;                       /* permessage-deflate */
	bool allow_publish;

	/* publisher */
	bool create_on_post;
	bool store_messages;
	bool allow_delete;
	uint64_t max_body; /* bytes of a message, also of a WebSocket's */

	/* statistics */
	uint32_t max_listed; /* channels in one answer that lists them by how they begin */

	/* from location_prepare() */
	struct pcre2_real_code_8 *pattern;
	struct pcre2_real_match_context_8 *match_limits;
	bool several; /* not just the one id in the path: several, or in the query */

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

/* Compiles its pattern. As location_prepare(). */
int padding_prepare(struct padding *padding, char *error, size_t error_size) MUST_CHECK;

/*
 * Compiles the pattern and makes what depends on the options; the fields above must be
 * set. 0, or -1 with a message for the user, without line or key, in error; then, too,
 * location_reset() frees.
 */
int location_prepare(struct location *loc, char *error, size_t error_size) MUST_CHECK;
/* Frees what a location holds, not the struct. */
void location_reset(struct location *loc);

/* Most ids of one request. */
#define LOCATION_CHANNELS_MAX 255

/* The ids of one request, in its order, each once. */
struct location_ids {
	unsigned n;
	struct {
		const unsigned char *bytes; /* decoded, in buf */
		size_t len;                 /* never 0 */
	} ids[LOCATION_CHANNELS_MAX];
	unsigned char *buf; /* of location_ids_room() bytes, the caller's */
};

/* What any request of this configuration needs. */
size_t location_ids_room(const struct config *config);

/* What location_match() found. */
enum location_answer {
	LOCATION_FOUND,
	LOCATION_NONE,         /* outside of all locations: 404 */
	LOCATION_NO_ID,        /* channel_argument is not in the query: 400 */
	LOCATION_BAD_ENCODING, /* an id's percent-encoding is broken: 400 */
	LOCATION_ID_TOO_LONG,  /* 400 */
	LOCATION_TOO_MANY,     /* more than max_channels: 403 */
};

/*
 * Finds the location of a path, and the ids in it or in the query. match_data is the
 * worker's own (location_match_new). *loc is borrowed from the configuration; it is set
 * for every answer but LOCATION_NONE. ids is complete with LOCATION_FOUND alone; it then
 * holds at least one, but in a statistics location, where none means the summary.
 *
 * Ids come from each group that took part and is not empty; a pattern of which none is so
 * does not match. Empty pieces beside a separator, and empty parameters, are left out.
 */
enum location_answer location_match(const struct config *config,
    struct pcre2_real_match_data_8 *match_data, const char *path, size_t path_len,
    const char *query, size_t query_len, const struct location **loc, struct location_ids *ids);

/*
 * What a subscriber with this User-Agent (NULL: none) is padded with: the first entry
 * whose pattern is found in it, or NULL.
 */
const struct padding *location_padding(const struct location *loc,
    struct pcre2_real_match_data_8 *match_data, const char *user_agent, size_t len);

/* A worker's scratch space for matching; returns new, NULL when out of memory. */
struct pcre2_real_match_data_8 *location_match_new(void);
void location_match_free(struct pcre2_real_match_data_8 *match_data);

/* Whether `allow` names a peer; unix_peer: it came by a Unix socket, and addr is not read. */
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
/* The way back: all but unreserved characters (RFC 3986, 2.3) are encoded. */
void percent_encode(struct text *t, const char *p, size_t len);

#endif
