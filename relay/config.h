/*
 * config.h - the configuration: YAML (JSON is YAML) to a struct that no one changes
 * any more.
 *
 * One row of a table per key, from which parsing, range checks and --dump-config are
 * made. A key without a row does not exist: it is an error that names the line and the
 * nearest key there is, for a misspelt limit is no limit.
 */
#ifndef RELAY_CONFIG_H
#define RELAY_CONFIG_H

#include "base/attr.h"
#include "base/log.h"
#include "relay/location.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>

/* What bounds the relay as a whole: the mapping `limits`. */
struct limits {
	unsigned connections;          /* 0: what the descriptor limit allows */
	uint32_t target_size;          /* bytes of the request target; over it 414 */
	uint32_t header_size;          /* bytes of the whole head; over it 431 */
	uint32_t id_length;            /* bytes of a channel id, decoded; over it 400 */
	uint32_t header_timeout_ms;    /* for the whole head, from its first byte */
	uint32_t body_timeout_ms;      /* for the whole body */
	uint32_t send_timeout_ms;      /* for a socket that takes nothing */
	uint32_t keepalive_timeout_ms; /* between requests */
	unsigned notices;              /* waiting to be sent to passthrough URLs, all workers */
	unsigned notice_connections;   /* at once to each passthrough server, all workers */
	uint32_t notice_timeout_ms;    /* for one notice, its answer included */
	uint32_t notice_retry_ms;      /* how long a refused connection is tried again */
	unsigned lingering;            /* subscribers, all workers; the longest leaves early */
};

/* One store: `store` itself, or one of the mappings below it. */
struct config_store {
	char *name; /* "default" where there is one without a name */
	unsigned line;
	char *type;                  /* "memory" */
	uint32_t min_messages;       /* kept whatever their age; 0 none */
	uint32_t max_messages;       /* of a channel; 0 no such limit */
	uint32_t message_timeout_ms; /* 0 never */
	uint64_t max_memory;         /* bytes of the whole store, channels included */
	uint32_t channel_timeout_ms; /* 0 never */
};

/*
 * Where to listen. "All addresses" are two: 0.0.0.0 and, optional and for IPv6 alone,
 * [::]. Port 0 is any free one, for each of them another.
 */
struct config_listen {
	char *text; /* as it is shown: "127.0.0.1:8001", "[::1]:8001", "unix:/run/p.sock" */
	struct sockaddr_storage addr;
	socklen_t addr_len;
	bool optional; /* the IPv6 half of "all addresses": a host without IPv6 may lack it */
};

struct config {
	atomic_uint refs;
	struct config_listen *listens;
	size_t n_listens;
	char *servername; /* of the Server header; NULL for none */
	unsigned workers; /* 1 to 64; `auto` is the number of processors we may use */
	enum log_level log;
	struct limits limits;
	struct config_store *stores; /* at least one */
	size_t n_stores;
	struct location *locations; /* in the order of the file, prepared */
	size_t n_locations;
};

/* Longest error message of config_load(). */
#define CONFIG_ERROR_SIZE 512
/* Longest configuration, in bytes. */
#define CONFIG_FILE_MAX (1024 * 1024)

/*
 * Loads path, or standard input for "-". Returns a configuration with a count of one
 * (config_unref), or NULL and in error one line for the user, such as
 * "pushserver.yaml:12: locations[1].polling: must be long or interval, not "lnog"".
 */
struct config *config_load(const char *path, char error[CONFIG_ERROR_SIZE]) MUST_CHECK;
/* The same from text in memory; name stands for the file in messages. */
struct config *config_load_string(
    const char *text, size_t len, const char *name, char error[CONFIG_ERROR_SIZE]) MUST_CHECK;

struct config *config_ref(struct config *config);
void config_unref(struct config *config);

/* Writes the whole effective configuration as YAML that config_load() reads back. */
void config_dump(const struct config *config, FILE *out);

/*
 * The rows of the table, for what holds the documents against it: i counts from 0.
 * False behind the last.
 */
struct config_key {
	const char *mapping; /* "", "limits", "store", "locations" or "padding" */
	const char *name;
	bool subscriber, publisher, statistics; /* of a location: whose key it is */
	const char *initial;                    /* the default, in YAML; NULL: the key has none */
};
bool config_key(size_t i, struct config_key *key);

#endif
