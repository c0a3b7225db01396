#include "relay/cors.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * A subscriber's GET needs no Access-Control-Allow-Methods: a preflight always lets
 * the simple methods pass. A publisher's PUT and DELETE do. Etag is of answers, but
 * NchanSubscriber's long poll sends it as well.
 */
#define SUBSCRIBER_LINES                                                                  \
	"Access-Control-Allow-Headers: If-Modified-Since, If-None-Match, X-Cookie, "      \
	"Last-Event-ID, Content-Type, Etag\r\n"                                           \
	"Access-Control-Expose-Headers: Last-Modified, Etag, Cache-Control, X-Push-Gap, " \
	"X-Push-Channel, X-Push-Explain\r\n"                                              \
	"Access-Control-Max-Age: 864000\r\n"
#define PUBLISHER_LINES                                            \
	"Access-Control-Allow-Methods: GET, PUT, POST, DELETE\r\n" \
	"Access-Control-Allow-Headers: Content-Type\r\n"           \
	"Access-Control-Max-Age: 864000\r\n"

/* Longest origin: a scheme, a DNS name of 253 bytes and a port fit in. */
#define ORIGIN_MAX 300

static bool
is_any(const struct cors *cors)
{
	return cors->n_origins == 1 && strcmp(cors->origins[0], "*") == 0;
}

/* A locale has no say here, so not ctype.h. */
static bool
is_lower_or_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool
scheme_valid(const char *scheme)
{
	if (!(scheme[0] >= 'a' && scheme[0] <= 'z'))
		return false;
	for (const char *p = scheme; *p != '\0'; p++)
		if (!is_lower_or_digit(*p) && strchr("+-.", *p) == NULL)
			return false;
	return true;
}

static bool
host_valid(const char *host)
{
	if (host[0] == '\0')
		return false;
	for (const char *p = host; *p != '\0'; p++)
		if (!is_lower_or_digit(*p) && strchr("-._", *p) == NULL)
			return false;
	return true;
}

/* 1 to 65535 in plain digits, or -1. */
static long
port_number(const char *text)
{
	long port = 0;

	if (text[0] == '\0' || text[0] == '0' || strlen(text) > 5)
		return -1;
	for (const char *p = text; *p != '\0'; p++) {
		if (*p < '0' || *p > '9')
			return -1;
		port = port * 10 + (*p - '0');
	}
	return port <= 65535 ? port : -1;
}

char *
cors_origin(const char *text, const char **problem)
{
	char work[ORIGIN_MAX + 1], v6[INET6_ADDRSTRLEN], out[ORIGIN_MAX + 64];
	char *host, *end;
	const char *scheme = work;
	struct in6_addr addr;
	size_t text_len;
	long port = -1;
	int len;

	*problem = NULL;
	if (strcmp(text, "*") == 0 || strcmp(text, "null") == 0)
		return strdup(text);
	*problem = "must be an origin as browsers send it, such as \"https://example.com\"";
	text_len = strlen(text);
	if (text_len > ORIGIN_MAX)
		return NULL;
	memcpy(work, text, text_len + 1);
	for (char *p = work; *p != '\0'; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
	host = strstr(work, "://");
	if (host == NULL)
		return NULL;
	*host = '\0';
	host += 3;
	if (!scheme_valid(scheme))
		return NULL;
	if (strpbrk(host, "/?#") != NULL) {
		*problem = "must be an origin: it ends behind host and port, without a path";
		return NULL;
	}
	if (strchr(host, '*') != NULL) {
		*problem = "must be whole origins: \"*\" stands for all of them, not for a part";
		return NULL;
	}
	if (host[0] == '[') {
		end = strchr(host, ']');
		if (end == NULL)
			return NULL;
		*end++ = '\0';
		if (inet_pton(AF_INET6, host + 1, &addr) != 1)
			return NULL;
		inet_ntop(AF_INET6, &addr, v6, sizeof(v6));
		host = v6;
	} else {
		v6[0] = '\0';
		end = strchr(host, ':');
		if (end == NULL)
			end = host + strlen(host);
	}
	if (*end == ':') {
		*end = '\0';
		port = port_number(end + 1);
		if (port < 0)
			return NULL;
	} else if (*end != '\0') {
		return NULL;
	}
	if (host != v6 && !host_valid(host)) {
		*problem = "must be an origin as browsers send it: the host in ASCII "
			   "(of other names the xn-- form)";
		return NULL;
	}
	/* Browsers leave it out, so with it the origin would never match. */
	if ((port == 80 && strcmp(scheme, "http") == 0) ||
	    (port == 443 && strcmp(scheme, "https") == 0))
		port = -1;
	*problem = NULL;
	len = snprintf(out, sizeof(out), host == v6 ? "%s://[%s]" : "%s://%s", scheme, host);
	if (port >= 0)
		snprintf(out + len, sizeof(out) - (size_t)len, ":%ld", port);
	return strdup(out);
}

/* The Vary line; with several origins it names Origin as well. */
static const char *
vary_line(const struct cors *cors, enum cors_vary vary)
{
	static const char *const lines[CORS_VARIES][2] = {
	    [CORS_VARY_NONE] = {"", "Vary: Origin\r\n"},
	    [CORS_VARY_POSITION] = {"Vary: If-Modified-Since, If-None-Match\r\n",
		"Vary: If-Modified-Since, If-None-Match, Origin\r\n"},
	    [CORS_VARY_ACCEPT] = {"Vary: Accept\r\n", "Vary: Accept, Origin\r\n"},
	};

	return lines[vary][cors->by_origin];
}

static int
lines_make(struct cors_lines *lines, const struct cors *cors, const char *origin, const char *vary)
{
	int len;

	if (origin == NULL)
		len = asprintf(&lines->text, "%s", vary);
	else
		len = asprintf(&lines->text, "Access-Control-Allow-Origin: %s\r\n%s%s%s", origin,
		    cors->allow_credentials ? "Access-Control-Allow-Credentials: true\r\n" : "",
		    cors->publisher ? PUBLISHER_LINES : SUBSCRIBER_LINES, vary);
	if (len < 0) {
		lines->text = NULL;
		return -1;
	}
	lines->len = (size_t)len;
	return 0;
}

int
cors_prepare(struct cors *cors)
{
	cors->by_origin = cors->n_origins > 1;
	cors->blocks = calloc(cors->n_origins + 1, sizeof(*cors->blocks));
	if (cors->blocks == NULL)
		return -1;
	/* What was made is cors_reset()'s to free, also after a failure. */
	for (size_t i = 0; i <= cors->n_origins; i++)
		for (unsigned vary = 0; vary < CORS_VARIES; vary++)
			if (lines_make(&cors->blocks[i].lines[vary], cors,
				i == 0 ? NULL : cors->origins[i - 1],
				vary_line(cors, (enum cors_vary)vary)) < 0)
				return -1;
	return 0;
}

void
cors_reset(struct cors *cors)
{
	if (cors->blocks != NULL)
		for (size_t i = 0; i <= cors->n_origins; i++)
			for (unsigned vary = 0; vary < CORS_VARIES; vary++)
				free(cors->blocks[i].lines[vary].text);
	free(cors->blocks);
	for (size_t i = 0; i < cors->n_origins; i++)
		free(cors->origins[i]);
	free(cors->origins);
	memset(cors, 0, sizeof(*cors));
}

unsigned
cors_match(const struct cors *cors, const char *origin, size_t len, bool *allowed)
{
	/* One answer for all makes it cacheable, and the browser compares it anyway. */
	unsigned otherwise = cors->n_origins == 1 ? 1 : 0;

	if (origin == NULL || is_any(cors)) {
		*allowed = true;
		return otherwise;
	}
	for (size_t i = 0; i < cors->n_origins; i++)
		if (strlen(cors->origins[i]) == len && memcmp(cors->origins[i], origin, len) == 0) {
			*allowed = true;
			return (unsigned)i + 1;
		}
	*allowed = false;
	return otherwise;
}
