/*
 * config.c - YAML to struct config.
 *
 * What a key is stands in its row of keys[]: where it belongs, how it is read and
 * written, its field, bounds and default. A default is YAML too and is read like what
 * a user wrote, so there is one way to a field, and none around the bounds.
 *
 * libyaml makes a tree of the text, with anchors resolved; aliases are therefore just
 * other ways to a node. How deep we follow it is given by the table, so a tree that
 * contains itself does no harm.
 */
#include "relay/config.h"

#include "relay/template.h"

#include <arpa/inet.h>
#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>
#include <unistd.h>
#include <yaml.h>

#ifndef PUSHSERVER_VERSION
#define PUSHSERVER_VERSION "dev"
#endif

/* Entries of one list, and locations, which are tried one after the other. */
#define LIST_MAX    1000
#define LISTENS_MAX 64
#define STORES_MAX  64
#define PADDING_MAX 16
/* Each cookie of a request is held against each of these. */
#define IDENTITY_MAX 16
/* Rows of keys[]. */
#define KEYS_MAX    128
#define WORKERS_MAX 64
/* Mappings and lists in each other; the vocabulary needs four. */
#define DEPTH_MAX 16
/* What 32 bits of milliseconds hold, in whole seconds: 49 days. */
#define TIME_MAX_MS 4294967000u

#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)
#define GIB(n) ((uint64_t)(n) << 30)

struct key;

/* The state of one load. */
struct reader {
	const char *name;     /* of the file, for messages */
	yaml_document_t *doc; /* in which list entries and keys are looked up */
	unsigned line;        /* of what is being read; 0 where there is no line */
	char path[200];       /* "locations[1].polling" */
	size_t path_len;
	char *error; /* CONFIG_ERROR_SIZE bytes */
	struct config *config;
	/* address and port, until it is known that there is no listen. */
	char *address;
	uint32_t port;
	/* A default is being read: its lines are not the user's, so line stays as it is. */
	bool initial;
};

/* How the values of one kind are read and written. */
struct kind {
	/* Takes a node to a field: 0, or -1 after fail(). */
	int (*read)(struct reader *r, const struct key *key, yaml_node_t *node, void *field);
	/* Behind "key: ", without a newline. NULL: config_dump() sees to it. */
	void (*write)(FILE *out, const struct key *key, const void *field);
};

/* A word that stands for a value; lists of them end with a NULL name. */
struct word {
	const char *name;
	unsigned value;
};

enum {
	OF_SUBSCRIBER = 1 << LOCATION_SUBSCRIBER,
	OF_PUBLISHER = 1 << LOCATION_PUBLISHER,
	OF_STATISTICS = 1 << LOCATION_STATISTICS,
	OF_ALL = OF_SUBSCRIBER | OF_PUBLISHER | OF_STATISTICS,
};

struct key {
	const char *mapping;
	const char *name;
	unsigned of; /* in locations: which types have it; elsewhere OF_ALL */
	const struct kind *kind;
	size_t offset;
	const char *initial;      /* YAML; NULL: none, the field stays zero */
	uint64_t min, max;        /* in the field's unit */
	const struct word *words; /* instead of bounds */
	bool nullable;            /* a text that null takes away */
	bool may_be_empty;        /* a text */
	bool secret;              /* a text that no message shows, for a password may be in it */
	/* What is wrong with a text; NULL: nothing. Not for null. */
	const char *(*check)(const char *text);
};

static const struct key *key_find(const char *mapping, const char *name, unsigned of);
static size_t key_index(const char *mapping, const char *name);
static int read_initial(struct reader *r, const struct key *key, void *field);
static int read_mapping(struct reader *r, const char *mapping, unsigned of, yaml_node_t *node,
    void *base, unsigned *lines);
static int fail_unknown(struct reader *r, const char *mapping, unsigned of, const char *name);

/* ---- messages ---- */

static int PRINTF(2, 3) fail(struct reader *r, const char *fmt, ...)
{
	size_t name_len = strlen(r->name), len;
	va_list ap;

	/* The message matters more than all of a long path. */
	len = (size_t)snprintf(r->error, CONFIG_ERROR_SIZE, "%s%s", name_len > 160 ? "..." : "",
	    name_len > 160 ? r->name + name_len - 157 : r->name);
	if (r->line > 0)
		len += (size_t)snprintf(r->error + len, CONFIG_ERROR_SIZE - len, ":%u", r->line);
	len += (size_t)snprintf(r->error + len, CONFIG_ERROR_SIZE - len, ": %s%s", r->path,
	    r->path_len > 0 ? ": " : "");
	va_start(ap, fmt);
	vsnprintf(r->error + len, CONFIG_ERROR_SIZE - len, fmt, ap);
	va_end(ap);
	/* It goes to a terminal, and part of it came from the file. */
	for (char *p = r->error; *p != '\0'; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	return -1;
}

static int
fail_memory(struct reader *r)
{
	return fail(r, "%s", strerror(ENOMEM));
}

/* Goes one step down; the result is for path_leave(). */
static size_t PRINTF(2, 3) path_enter(struct reader *r, const char *fmt, ...)
{
	size_t before = r->path_len;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r->path + before, sizeof(r->path) - before, fmt, ap);
	va_end(ap);
	r->path_len = strlen(r->path);
	return before;
}

static void
path_leave(struct reader *r, size_t before)
{
	r->path_len = before;
	r->path[before] = '\0';
}

static size_t
path_enter_key(struct reader *r, const char *name)
{
	return path_enter(r, "%s%s", r->path_len > 0 ? "." : "", name);
}

struct shown {
	char text[80];
};

/* A node as a message names it: "lnog" in quotes, or what it is. */
static struct shown
show(const yaml_node_t *node)
{
	struct shown s;
	const char *text = (const char *)node->data.scalar.value;

	if (node->type == YAML_SEQUENCE_NODE)
		strcpy(s.text, "a list");
	else if (node->type == YAML_MAPPING_NODE)
		strcpy(s.text, "a mapping");
	else
		snprintf(
		    s.text, sizeof(s.text), "\"%.60s%s\"", text, strlen(text) > 60 ? "..." : "");
	return s;
}

/* ---- nodes ---- */

static unsigned
node_line(const struct reader *r, const yaml_node_t *node)
{
	return r->initial ? r->line : (unsigned)node->start_mark.line + 1;
}

static bool
is_plain(const yaml_node_t *node)
{
	return node->type == YAML_SCALAR_NODE && node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

static bool
is_null(const yaml_node_t *node)
{
	static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};

	if (!is_plain(node))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(nulls); i++)
		if (strcmp((const char *)node->data.scalar.value, nulls[i]) == 0)
			return true;
	return false;
}

/* The tag a node of its type has when none is written. */
static bool
has_default_tag(const yaml_node_t *node)
{
	const char *tag = node->type == YAML_SCALAR_NODE     ? YAML_DEFAULT_SCALAR_TAG
			  : node->type == YAML_SEQUENCE_NODE ? YAML_DEFAULT_SEQUENCE_TAG
							     : YAML_DEFAULT_MAPPING_TAG;

	return node->tag == NULL || strcmp((const char *)node->tag, tag) == 0;
}

/* The text of a scalar, borrowed from the document; NULL after fail(). */
static const char *
scalar(struct reader *r, const yaml_node_t *node, const char *must)
{
	const char *text;

	if (node->type != YAML_SCALAR_NODE) {
		fail(r, "%s, not %s", must, show(node).text);
		return NULL;
	}
	if (is_null(node)) {
		fail(r, "has no value; %s", must);
		return NULL;
	}
	text = (const char *)node->data.scalar.value;
	if (strlen(text) != node->data.scalar.length) {
		fail(r, "holds a NUL byte");
		return NULL;
	}
	return text;
}

static yaml_node_t *
item(const struct reader *r, const yaml_node_t *list, size_t i)
{
	return yaml_document_get_node(r->doc, list->data.sequence.items.start[i]);
}

static size_t
n_items(const yaml_node_t *list)
{
	return (size_t)(list->data.sequence.items.top - list->data.sequence.items.start);
}

/*
 * A string or a list of strings, as "a list of one". Calls add for each, with the path
 * at the entry.
 */
static int
each_text(struct reader *r, yaml_node_t *node, const char *must,
    int (*add)(struct reader *r, const char *text, void *field), void *field)
{
	const char *text;

	if (node->type != YAML_SEQUENCE_NODE) {
		text = scalar(r, node, must);
		return text != NULL ? add(r, text, field) : -1;
	}
	if (n_items(node) > LIST_MAX)
		return fail(r, "has more than %d entries", LIST_MAX);
	for (size_t i = 0; i < n_items(node); i++) {
		size_t before = path_enter(r, "[%zu]", i);
		yaml_node_t *entry = item(r, node, i);

		r->line = node_line(r, entry);
		if (!has_default_tag(entry))
			return fail(r, "has a tag (%s); tags are not read", entry->tag);
		text = scalar(r, entry, must);
		if (text == NULL || add(r, text, field) < 0)
			return -1;
		path_leave(r, before);
	}
	return 0;
}

/* ---- numbers, sizes, times ---- */

/* Plain digits; a leading zero is octal to some readers of YAML, so it is refused. */
static bool
parse_digits(const char *text, size_t len, uint64_t *out)
{
	uint64_t n = 0;

	if (len == 0 || len > 15 || (text[0] == '0' && len > 1))
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		n = n * 10 + (uint64_t)(text[i] - '0');
	}
	*out = n;
	return true;
}

static unsigned
unit_shift(char unit)
{
	switch (unit) {
	case 'K':
	case 'k':
		return 10;
	case 'M':
	case 'm':
		return 20;
	case 'G':
	case 'g':
		return 30;
	default:
		return 0;
	}
}

static bool
parse_size(const char *text, uint64_t *out)
{
	size_t len = strlen(text);
	unsigned shift = len > 0 ? unit_shift(text[len - 1]) : 0;

	if (!parse_digits(text, shift > 0 ? len - 1 : len, out))
		return false;
	/* 15 digits are 50 bits. */
	if (*out >> (63 - shift) != 0)
		return false;
	*out <<= shift;
	return true;
}

/* Seconds with at most three decimals, to milliseconds. */
static bool
parse_time(const char *text, uint64_t *out)
{
	const char *point = strchr(text, '.');
	size_t whole_len = point != NULL ? (size_t)(point - text) : strlen(text);
	uint64_t unit = 100;

	if (!parse_digits(text, whole_len, out) || *out > UINT32_MAX)
		return false;
	*out *= 1000;
	if (point == NULL)
		return true;
	if (point[1] == '\0')
		return false;
	for (const char *p = point + 1; *p != '\0'; p++, unit /= 10) {
		if (*p < '0' || *p > '9')
			return false;
		/* More zeros lose nothing. */
		if (unit == 0 && *p != '0')
			return false;
		*out += (uint64_t)(*p - '0') * unit;
	}
	return true;
}

/* The largest unit that divides it. */
static struct shown
size_text(uint64_t size)
{
	struct shown s;
	unsigned i = 0;

	for (; i < 3 && size != 0 && size % 1024 == 0; i++)
		size /= 1024;
	snprintf(s.text, sizeof(s.text), "%llu%.1s", (unsigned long long)size, &"\0KMG"[i]);
	return s;
}

static struct shown
time_text(uint64_t ms)
{
	struct shown s;
	int len;

	len = snprintf(s.text, sizeof(s.text), "%llu", (unsigned long long)(ms / 1000));
	if (ms % 1000 != 0) {
		len += snprintf(
		    s.text + len, sizeof(s.text) - (size_t)len, ".%03u", (unsigned)(ms % 1000));
		while (s.text[len - 1] == '0')
			s.text[--len] = '\0';
	}
	return s;
}

/*
 * Numbers, sizes and times may be quoted: JSON has no other way to write 64M, and
 * 8001 in quotes can mean nothing else.
 */
static int
read_bounded(struct reader *r, const struct key *key, yaml_node_t *node, uint64_t *out,
    bool (*parse)(const char *, uint64_t *), const char *must)
{
	const char *text = scalar(r, node, must);

	if (text == NULL)
		return -1;
	if (!parse(text, out) || *out < key->min || *out > key->max)
		return fail(r, "%s, not %s", must, show(node).text);
	return 0;
}

static bool
parse_number(const char *text, uint64_t *out)
{
	return parse_digits(text, strlen(text), out);
}

static int
read_number(struct reader *r, const struct key *key, yaml_node_t *node, void *field)
{
	char must[120];
	uint64_t n;

	snprintf(must, sizeof(must), "must be a whole number from %llu to %llu",
	    (unsigned long long)key->min, (unsigned long long)key->max);
	if (read_bounded(r, key, node, &n, parse_number, must) < 0)
		return -1;
	*(uint32_t *)field = (uint32_t)n;
	return 0;
}

static void
write_number(FILE *out, const struct key *key UNUSED, const void *field)
{
	fprintf(out, "%u", *(const uint32_t *)field);
}

static int
read_size_u64(struct reader *r, const struct key *key, yaml_node_t *node, void *field)
{
	char must[240];

	snprintf(must, sizeof(must),
	    "must be bytes, or a whole number with K, M or G, from %s to %s",
	    size_text(key->min).text, size_text(key->max).text);
	return read_bounded(r, key, node, field, parse_size, must);
}

static int
read_size_u32(struct reader *r, const struct key *key, yaml_node_t *node, void *field)
{
	uint64_t n;

	if (read_size_u64(r, key, node, &n) < 0)
		return -1;
	*(uint32_t *)field = (uint32_t)n;
	return 0;
}

static void
write_size_u64(FILE *out, const struct key *key UNUSED, const void *field)
{
	fputs(size_text(*(const uint64_t *)field).text, out);
}

static void
write_size_u32(FILE *out, const struct key *key UNUSED, const void *field)
{
	fputs(size_text(*(const uint32_t *)field).text, out);
}

static int
read_time(struct reader *r, const struct key *key, yaml_node_t *node, void *field)
{
	char must[240];
	uint64_t ms = 0;

	snprintf(must, sizeof(must), "must be seconds from %s to %s, with at most three decimals",
	    time_text(key->min).text, time_text(key->max).text);
	if (read_bounded(r, key, node, &ms, parse_time, must) < 0)
		return -1;
	*(uint32_t *)field = (uint32_t)ms;
	return 0;
}

static void
write_time(FILE *out, const struct key *key UNUSED, const void *field)
{
	fputs(time_text(*(const uint32_t *)field).text, out);
}

/* ---- booleans, words, texts ---- */

/*
 * Not quoted: a string "false" in a JSON that was made by a program is a mistake which
 * that program's language would take for true.
 */
static int
read_bool(struct reader *r, const struct key *key UNUSED, yaml_node_t *node, void *field)
{
	static const char *const yes[] = {"true", "yes", "on"}, *const no[] = {
								    "false", "no", "off"};
	const char *text = scalar(r, node, "must be true or false");

	if (text == NULL)
		return -1;
	for (size_t i = 0; is_plain(node) && i < ARRAY_LEN(yes); i++)
		if (strcasecmp(text, yes[i]) == 0 || strcasecmp(text, no[i]) == 0) {
			*(bool *)field = strcasecmp(text, yes[i]) == 0;
			return 0;
		}
	return fail(r, "must be true or false, not %s%s", is_plain(node) ? "" : "the string ",
	    show(node).text);
}

static void
write_bool(FILE *out, const struct key *key UNUSED, const void *field)
{
	fputs(*(const bool *)field ? "true" : "false", out);
}

/* "must be long or interval", "must be 304, 408 or 204". */
static void
must_be_word(const struct word *words, char *out, size_t size)
{
	size_t len = (size_t)snprintf(out, size, "must be %s", words[0].name);

	for (const struct word *w = words + 1; w->name != NULL && len < size; w++)
		len += (size_t)snprintf(
		    out + len, size - len, "%s%s", w[1].name != NULL ? ", " : " or ", w->name);
}

static int
read_word(struct reader *r, const struct key *key, yaml_node_t *node, void *field)
{
	char must[120];
	const char *text;

	must_be_word(key->words, must, sizeof(must));
	text = scalar(r, node, must);
	if (text == NULL)
		return -1;
	for (const struct word *w = key->words; w->name != NULL; w++)
		if (strcmp(w->name, text) == 0) {
			*(unsigned *)field = w->value;
			return 0;
		}
	return fail(r, "%s, not %s", must, show(node).text);
}

static void
write_word(FILE *out, const struct key *key, const void *field)
{
	for (const struct word *w = key->words; w->name != NULL; w++)
		if (w->value == *(const unsigned *)field)
			fputs(w->name, out);
}

static int
read_text(struct reader *r, const struct key *key, yaml_node_t *node, void *field)
{
	const char *text, *problem = NULL;
	char **out = field;

	if (key->nullable && is_null(node))
		return 0;
	text = scalar(r, node, "must be a string");
	if (text == NULL)
		return -1;
	if (text[0] == '\0' && !key->may_be_empty)
		return fail(r, "must not be empty%s", key->nullable ? "; none is null" : "");
	if (key->check != NULL)
		problem = key->check(text);
	if (problem != NULL && key->secret)
		return fail(r, "%s", problem);
	if (problem != NULL)
		return fail(r, "%s, not %s", problem, show(node).text);
	*out = strdup(text);
	return *out != NULL ? 0 : fail_memory(r);
}

/*
 * Double-quoted, for of all YAML's styles only this one can hold any text. Letters of
 * other scripts stay readable; what a YAML reader would refuse or fold is escaped.
 */
static void
write_quoted(FILE *out, const char *text)
{
	const unsigned char *p = (const unsigned char *)text;

	putc('"', out);
	while (*p != '\0') {
		unsigned c = *p;
		size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

		/* The text came through libyaml, so it is UTF-8. */
		if (n > 1) {
			c &= 0x7fu >> n;
			for (size_t i = 1; i < n; i++)
				c = c << 6 | (p[i] & 0x3fu);
		}
		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", (int)c);
		else if (c < ' ' || (c >= 0x7f && c <= 0xa0))
			fprintf(out, "\\x%02X", c);
		else if ((c >= 0x2000 && c <= 0x206f) || c == 0xfeff ||
			 (c >= 0xfff0 && c <= 0xffff))
			fprintf(out, "\\u%04X", c);
		else
			fwrite(p, 1, n, out);
		p += n;
	}
	putc('"', out);
}

static void
write_text(FILE *out, const struct key *key UNUSED, const void *field)
{
	const char *text = *(char *const *)field;

	if (text == NULL)
		fputs("null", out);
	else
		write_quoted(out, text);
}

/* For a header value, whose line it would otherwise end. */
static const char *
check_header_value(const char *text)
{
	for (const char *p = text; *p != '\0'; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return "must be without control characters";
	if (text[0] == ' ' || text[strlen(text) - 1] == ' ')
		return "must not begin or end with a space";
	if (strlen(text) > 200)
		return "must be at most 200 bytes long";
	return NULL;
}

/* For a line of an event stream, which it would otherwise end. */
static const char *
check_line(const char *text)
{
	if (strpbrk(text, "\r\n") != NULL)
		return "must be one line";
	return strlen(text) > 1000 ? "must be at most 1000 bytes long" : NULL;
}

static const char *
check_separator(const char *text)
{
	return strlen(text) > 1000 ? "must be at most 1000 bytes long" : NULL;
}

static const char *
check_template(const char *text)
{
	return strlen(text) > KIB(16) ? "must be at most 16 KiB long" : NULL;
}

/* Not one that has a meaning of its own in a subscriber's query. */
static const char *
check_argument(const char *text)
{
	static const char *const taken[] = {
	    "_", "backtrack", "callback", "lastEventId", "last_event_id", "tag", "time"};

	for (size_t i = 0; i < ARRAY_LEN(taken); i++)
		if (strcmp(text, taken[i]) == 0)
			return "must not be _, backtrack, callback, lastEventId, last_event_id, "
			       "tag or time, which say something else";
	if (strlen(text) > 64 ||
	    strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") !=
		strlen(text))
		return "must be 1 to 64 of A-Z a-z 0-9 _ - .";
	return NULL;
}

static const char *
check_store_type(const char *text)
{
	return strcmp(text, "memory") == 0 ? NULL : "must be memory";
}

static const char *
check_prefix(const char *text)
{
	if (text[0] != '/')
		return "must begin with \"/\"";
	for (const char *p = text; *p != '\0'; p++)
		if ((unsigned char)*p <= ' ' || *p == 0x7f || *p == '?' || *p == '#')
			return "must be the beginning of a path, as it is sent: without blanks, "
			       "\"?\" and \"#\"";
	return NULL;
}

/* What libcurl can send a notice to, without looking anything up. */
static const char *
check_passthrough(const char *text)
{
	const char *problem = "must be a whole URL, with http:// or https://";
	CURLU *url = curl_url();
	char *scheme = NULL, *user = NULL;

	if (url == NULL)
		return "cannot be checked, for memory is used up";
	if (curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK &&
	    curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
	    (strcasecmp(scheme, "http") == 0 || strcasecmp(scheme, "https") == 0))
		problem = NULL;
	/* It would take the place of the Authorization header that the subscriber sent. */
	if (problem == NULL && curl_url_get(url, CURLUPART_USER, &user, 0) == CURLUE_OK)
		problem = "must be without user name and password";
	curl_free(scheme);
	curl_free(user);
	curl_url_cleanup(url);
	return problem;
}

/* ---- lists ---- */

static int
add_origin(struct reader *r, const char *text, void *field)
{
	struct cors *cors = field;
	const char *problem;
	char *origin = cors_origin(text, &problem), **more;

	if (origin == NULL && problem == NULL)
		return fail_memory(r);
	if (origin == NULL)
		return fail(r, "%s, not \"%.80s\"", problem, text);
	for (size_t i = 0; i < cors->n_origins; i++)
		if (strcmp(cors->origins[i], origin) == 0) {
			free(origin);
			return fail(r, "\"%.80s\" is given twice", text);
		}
	more = reallocarray(cors->origins, cors->n_origins + 1, sizeof(*more));
	if (more == NULL) {
		free(origin);
		return fail_memory(r);
	}
	cors->origins = more;
	cors->origins[cors->n_origins++] = origin;
	return 0;
}

static int
read_origins(struct reader *r, const struct key *key UNUSED, yaml_node_t *node, void *field)
{
	struct cors *cors = field;

	if (each_text(r, node,
		"must be an origin such as \"https://example.com\", \"*\", or a list "
		"of origins",
		add_origin, cors) < 0)
		return -1;
	for (size_t i = 0; i < cors->n_origins; i++)
		if (cors->n_origins > 1 && strcmp(cors->origins[i], "*") == 0)
			return fail(r, "\"*\" stands for all origins; it cannot be one of several");
	return 0;
}

static void
write_origins(FILE *out, const struct key *key UNUSED, const void *field)
{
	const struct cors *cors = field;

	putc('[', out);
	for (size_t i = 0; i < cors->n_origins; i++) {
		fputs(i > 0 ? ", " : "", out);
		write_quoted(out, cors->origins[i]);
	}
	putc(']', out);
}

/* A token (RFC 6265, 4.1.1), by which requests carry it. */
static bool
cookie_name_valid(const char *name)
{
	for (const char *p = name; *p != '\0'; p++)
		if (*p <= ' ' || *p >= 0x7f || strchr("()<>@,;:\\\"/[]?={}", *p) != NULL)
			return false;
	return name[0] != '\0';
}

static int
add_cookie(struct reader *r, const char *text, void *field)
{
	struct location *loc = field;
	char **more;

	if (!cookie_name_valid(text))
		return fail(r, "must be the name of a cookie, not \"%.80s\"", text);
	for (size_t i = 0; i < loc->n_identity; i++)
		if (strcmp(loc->identity[i], text) == 0)
			return fail(r, "\"%.80s\" is given twice", text);
	if (loc->n_identity == IDENTITY_MAX)
		return fail(r, "has more than %d names", IDENTITY_MAX);
	more = reallocarray(loc->identity, loc->n_identity + 1, sizeof(*more));
	if (more == NULL)
		return fail_memory(r);
	loc->identity = more;
	more[loc->n_identity] = strdup(text);
	if (more[loc->n_identity] == NULL)
		return fail_memory(r);
	loc->n_identity++;
	return 0;
}

static int
read_cookies(struct reader *r, const struct key *key UNUSED, yaml_node_t *node, void *field)
{
	return each_text(r, node, "must be a list of cookies' names", add_cookie, field);
}

static void
write_cookies(FILE *out, const struct key *key UNUSED, const void *field)
{
	const struct location *loc = field;

	putc('[', out);
	for (size_t i = 0; i < loc->n_identity; i++) {
		fputs(i > 0 ? ", " : "", out);
		write_quoted(out, loc->identity[i]);
	}
	putc(']', out);
}

static int
add_allow(struct reader *r, const char *text, void *field)
{
	struct location *loc = field;
	struct network network, *more;
	char problem[160];

	if (strcmp(text, "unix") == 0) {
		loc->allow_unix = true;
		return 0;
	}
	if (network_parse(text, &network, problem, sizeof(problem)) < 0)
		return fail(r, "%s, not \"%.80s\"", problem, text);
	more = reallocarray(loc->allow, loc->n_allow + 1, sizeof(*more));
	if (more == NULL)
		return fail_memory(r);
	loc->allow = more;
	loc->allow[loc->n_allow++] = network;
	return 0;
}

static int
read_allow(struct reader *r, const struct key *key UNUSED, yaml_node_t *node, void *field)
{
	return each_text(
	    r, node, "must be a list of addresses, networks and \"unix\"", add_allow, field);
}

static void
write_allow(FILE *out, const struct key *key UNUSED, const void *field)
{
	const struct location *loc = field;
	char text[NETWORK_TEXT_SIZE];

	putc('[', out);
	for (size_t i = 0; i < loc->n_allow; i++) {
		network_text(&loc->allow[i], text);
		fprintf(out, "%s\"%s\"", i > 0 ? ", " : "", text);
	}
	if (loc->allow_unix)
		fprintf(out, "%s\"unix\"", loc->n_allow > 0 ? ", " : "");
	putc(']', out);
}

/* ---- what subscriber locations alone have ---- */

static const struct word transport_words[] = {{"longpoll", TRANSPORT_LONGPOLL},
    {"eventsource", TRANSPORT_EVENTSOURCE}, {"websocket", TRANSPORT_WEBSOCKET},
    {"stream", TRANSPORT_STREAM}, {"multipart", TRANSPORT_MULTIPART}, {"jsonp", TRANSPORT_JSONP},
    {NULL, 0}};

/* 0 and the word's value, or -1 after fail(). */
static int
find_word(struct reader *r, const struct word *words, const char *text, unsigned *value)
{
	char must[120];

	for (const struct word *w = words; w->name != NULL; w++)
		if (strcmp(w->name, text) == 0) {
			*value = w->value;
			return 0;
		}
	must_be_word(words, must, sizeof(must));
	return fail(r, "%s, not \"%.60s\"", must, text);
}

static int
add_transport(struct reader *r, const char *text, void *field)
{
	unsigned *transports = field, kind = 0;

	if (find_word(r, transport_words, text, &kind) < 0)
		return -1;
	if ((*transports & TRANSPORT_BIT(kind)) != 0)
		return fail(r, "\"%s\" is given twice", text);
	*transports |= TRANSPORT_BIT(kind);
	return 0;
}

static int
read_transports(struct reader *r, const struct key *key UNUSED, yaml_node_t *node, void *field)
{
	if (node->type == YAML_SEQUENCE_NODE && n_items(node) == 0)
		return fail(r, "must name at least one transport");
	return each_text(r, node, "must be a list of transports", add_transport, field);
}

static void
write_transports(FILE *out, const struct key *key UNUSED, const void *field)
{
	const char *between = "[";

	for (const struct word *w = transport_words; w->name != NULL; w++)
		if ((*(const unsigned *)field & TRANSPORT_BIT(w->value)) != 0) {
			fprintf(out, "%s%s", between, w->name);
			between = ", ";
		}
	putc(']', out);
}

/* One time for all transports, or a mapping of some of them; the others have the default. */
static int
read_timeouts(struct reader *r, const struct key *key, yaml_node_t *node, void *field)
{
	const unsigned line = r->line;
	uint32_t *ms = field, one = 0;
	unsigned seen = 0, kind = 0;

	if (node->type != YAML_MAPPING_NODE) {
		if (read_time(r, key, node, &one) < 0)
			return -1;
		for (unsigned i = 0; i < TRANSPORTS; i++)
			ms[i] = one;
		return 0;
	}
	if (!r->initial && read_initial(r, key, field) < 0)
		return -1;
	for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top;
	     p++) {
		yaml_node_t *name = yaml_document_get_node(r->doc, p->key);
		yaml_node_t *value = yaml_document_get_node(r->doc, p->value);
		const char *text;
		size_t before;

		r->line = node_line(r, name);
		text = scalar(r, name, "must name transports");
		if (text == NULL || find_word(r, transport_words, text, &kind) < 0)
			return -1;
		before = path_enter_key(r, text);
		if ((seen & TRANSPORT_BIT(kind)) != 0)
			return fail(r, "is given twice");
		seen |= TRANSPORT_BIT(kind);
		if (!has_default_tag(value))
			return fail(r, "has a tag (%s); tags are not read", value->tag);
		if (read_time(r, key, value, &ms[kind]) < 0)
			return -1;
		path_leave(r, before);
	}
	r->line = line;
	return 0;
}

static void
write_timeouts(FILE *out, const struct key *key UNUSED, const void *field)
{
	const uint32_t *ms = field;

	for (const struct word *w = transport_words; w->name != NULL; w++)
		fprintf(out, "%s%s: %s", w == transport_words ? "{" : ", ", w->name,
		    time_text(ms[w->value]).text);
	putc('}', out);
}

static int
read_first(struct reader *r, const struct key *key UNUSED, yaml_node_t *node, void *field)
{
	const char *must = "must be oldest, newest, or a whole number from -1000 to 1000";
	const char *text = scalar(r, node, must);
	struct store_start *start = field;
	bool last;
	uint64_t n;

	static_assert(STORE_START_MAX == 1000, "as the message and the documents say");
	if (text == NULL)
		return -1;
	if (strcmp(text, "oldest") == 0 || strcmp(text, "newest") == 0) {
		start->from = text[0] == 'o' ? STORE_FROM_OLDEST : STORE_FROM_NEWEST;
		return 0;
	}
	last = text[0] == '-';
	if (!parse_number(text + last, &n) || n > STORE_START_MAX || (last && n == 0))
		return fail(r, "%s, not %s", must, show(node).text);
	start->from = last     ? STORE_FROM_LAST
		      : n == 0 ? STORE_FROM_NEWEST
		      : n == 1 ? STORE_FROM_OLDEST
			       : STORE_FROM_NTH;
	start->n = last || n > 1 ? (uint32_t)n : 0;
	return 0;
}

static void
write_first(FILE *out, const struct key *key UNUSED, const void *field)
{
	const struct store_start *start = field;

	switch (start->from) {
	case STORE_FROM_OLDEST:
		fputs("oldest", out);
		break;
	case STORE_FROM_NEWEST:
		fputs("newest", out);
		break;
	case STORE_FROM_NTH:
		fprintf(out, "%u", start->n);
		break;
	case STORE_FROM_LAST:
		fprintf(out, "-%u", start->n);
		break;
	}
}

static int
read_retry(struct reader *r, const struct key *key, yaml_node_t *node, void *field)
{
	struct location *loc = field;

	if (is_null(node))
		return 0;
	loc->has_retry = true;
	return read_time(r, key, node, &loc->retry_ms);
}

static void
write_retry(FILE *out, const struct key *key, const void *field)
{
	const struct location *loc = field;

	if (loc->has_retry)
		write_time(out, key, &loc->retry_ms);
	else
		fputs("null", out);
}

static int
add_heartbeat(struct reader *r, const char *text, void *field)
{
	struct location *loc = field;
	char **out = loc->heartbeat_in == NULL ? &loc->heartbeat_in : &loc->heartbeat_out;

	if (text[0] == '\0' || strlen(text) > 1000)
		return fail(r, "must be 1 to 1000 bytes long");
	*out = strdup(text);
	return *out != NULL ? 0 : fail_memory(r);
}

static int
read_heartbeat(struct reader *r, const struct key *key UNUSED, yaml_node_t *node, void *field)
{
	const char *must = "must be a list of two texts, what comes and what is answered";

	if (is_null(node))
		return 0;
	if (node->type != YAML_SEQUENCE_NODE || n_items(node) != 2)
		return fail(r, "%s", must);
	return each_text(r, node, must, add_heartbeat, field);
}

static void
write_heartbeat(FILE *out, const struct key *key UNUSED, const void *field)
{
	const struct location *loc = field;

	if (loc->heartbeat_in == NULL) {
		fputs("null", out);
		return;
	}
	putc('[', out);
	write_quoted(out, loc->heartbeat_in);
	fputs(", ", out);
	write_quoted(out, loc->heartbeat_out);
	putc(']', out);
}

static int
read_padding(struct reader *r, const struct key *key UNUSED, yaml_node_t *node, void *field)
{
	struct location *loc = field;
	char problem[256];

	if (node->type != YAML_SEQUENCE_NODE)
		return fail(r, "must be a list of mappings, not %s", show(node).text);
	if (n_items(node) > PADDING_MAX)
		return fail(r, "has more than %d entries", PADDING_MAX);
	if (n_items(node) == 0)
		return 0;
	loc->padding = calloc(n_items(node), sizeof(*loc->padding));
	if (loc->padding == NULL)
		return fail_memory(r);
	for (size_t i = 0; i < n_items(node); i++) {
		size_t before = path_enter(r, "[%zu]", i);
		struct padding *padding = &loc->padding[loc->n_padding++];
		unsigned lines[KEYS_MAX] = {0};
		yaml_node_t *entry = item(r, node, i);

		r->line = node_line(r, entry);
		if (read_mapping(r, "padding", OF_ALL, entry, padding, lines) < 0)
			return -1;
		if (padding->user_agent == NULL)
			return fail(r, "has no user_agent");
		if (padding_prepare(padding, problem, sizeof(problem)) < 0) {
			r->line = lines[key_index("padding", "user_agent")];
			path_enter_key(r, "user_agent");
			return fail(r, "%s", problem);
		}
		path_leave(r, before);
	}
	return 0;
}

static void write_padding(FILE *out, const struct key *key, const void *field);

/*
 * What may lie between two ids: no unreserved character, which on its way may be written
 * either way (RFC 3986, 2.3), and nothing that has a meaning in any target.
 */
static int
read_split(struct reader *r, const struct key *key UNUSED, yaml_node_t *node, void *field)
{
	const char *must = "must be \",\" or \"/\", or one of ; : ! $ ' ( ) * + = @ |";
	const char *text;

	if (is_null(node))
		return 0;
	text = scalar(r, node, must);
	if (text == NULL)
		return -1;
	if (strlen(text) != 1 || strchr(",/;:!$'()*+=@|", text[0]) == NULL)
		return fail(r, "%s, not %s", must, show(node).text);
	*(char *)field = text[0];
	return 0;
}

static void
write_split(FILE *out, const struct key *key UNUSED, const void *field)
{
	const char split = *(const char *)field;

	if (split == 0)
		fputs("null", out);
	else
		fprintf(out, "\"%c\"", split);
}

static int
read_template(struct reader *r, const struct key *key, yaml_node_t *node, void *field)
{
	struct template **out = field;
	const char *problem;
	char *text = NULL;

	if (read_text(r, key, node, &text) < 0)
		return -1;
	if (text == NULL)
		return 0;
	*out = template_new(text, &problem);
	free(text);
	if (*out != NULL)
		return 0;
	return problem != NULL ? fail(r, "%s", problem) : fail_memory(r);
}

static void
write_template(FILE *out, const struct key *key UNUSED, const void *field)
{
	const struct template *t = *(struct template *const *)field;

	if (t == NULL)
		fputs("null", out);
	else
		write_quoted(out, template_source(t));
}

/* ---- where to listen ---- */

/* Takes nothing; text and addr are copied. */
static int
add_listen(struct reader *r, const char *text, const void *addr, socklen_t addr_len, bool optional)
{
	struct config *config = r->config;
	struct config_listen *more, *l;

	for (size_t i = 0; i < config->n_listens; i++)
		if (strcmp(config->listens[i].text, text) == 0)
			return fail(r, "\"%.120s\" is given twice", text);
	if (config->n_listens == LISTENS_MAX)
		return fail(r, "has more than %d addresses", LISTENS_MAX);
	more = reallocarray(config->listens, config->n_listens + 1, sizeof(*more));
	if (more == NULL)
		return fail_memory(r);
	config->listens = more;
	l = &more[config->n_listens];
	memset(l, 0, sizeof(*l));
	l->text = strdup(text);
	if (l->text == NULL)
		return fail_memory(r);
	memcpy(&l->addr, addr, addr_len);
	l->addr_len = addr_len;
	l->optional = optional;
	config->n_listens++;
	return 0;
}

/*
 * host is an address, in which no name is looked up, and port a number. 1 when host is
 * no address.
 */
static int
add_listen_inet(struct reader *r, const char *host, uint64_t port, bool optional)
{
	struct addrinfo hints = {.ai_family = AF_INET6, .ai_socktype = SOCK_STREAM}, *found;
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	char shown[NI_MAXHOST], service[8], text[NI_MAXHOST + 16];
	int rc;

	if (inet_pton(AF_INET, host, &v4.sin_addr) == 1) {
		snprintf(text, sizeof(text), "%s:%llu", host, (unsigned long long)port);
		return add_listen(r, text, &v4, sizeof(v4), optional);
	}
	hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
	snprintf(service, sizeof(service), "%llu", (unsigned long long)port);
	/* And not inet_pton(), for "fe80::1%eth0". */
	if (strchr(host, ':') == NULL || getaddrinfo(host, service, &hints, &found) != 0)
		return 1;
	rc = getnameinfo(
	    found->ai_addr, found->ai_addrlen, shown, sizeof(shown), NULL, 0, NI_NUMERICHOST);
	if (rc == 0) {
		snprintf(text, sizeof(text), "[%s]:%llu", shown, (unsigned long long)port);
		rc = add_listen(r, text, found->ai_addr, found->ai_addrlen, optional);
	} else {
		rc = 1;
	}
	freeaddrinfo(found);
	return rc;
}

static int
add_listen_all(struct reader *r, uint64_t port)
{
	if (add_listen_inet(r, "0.0.0.0", port, false) != 0)
		return -1;
	return add_listen_inet(r, "::", port, true) != 0 ? -1 : 0;
}

static int
add_listen_unix(struct reader *r, const char *text, const char *path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	size_t len = strlen(path);

	if (path[0] != '/')
		return fail(r,
		    "must name the socket by its whole path, as in \"unix:/run/name.sock\", "
		    "not \"%.80s\"",
		    text);
	if (len >= sizeof(un.sun_path))
		return fail(r, "must be a path of at most %zu bytes, not %zu",
		    sizeof(un.sun_path) - 1, len);
	memcpy(un.sun_path, path, len + 1);
	return add_listen(r, text, &un, sizeof(un), false);
}

/* field is not used: the socket addresses go to the reader's configuration. */
static int
add_listen_text(struct reader *r, const char *text, void *field UNUSED)
{
	const char *colon = strrchr(text, ':');
	char host[NI_MAXHOST];
	size_t len;
	uint64_t port;
	int rc = 1;

	if (strncmp(text, "unix:", 5) == 0)
		return add_listen_unix(r, text, text + 5);
	if (colon != NULL && (size_t)(colon - text) < sizeof(host) &&
	    parse_number(colon + 1, &port) && port <= 65535) {
		len = (size_t)(colon - text);
		memcpy(host, text, len);
		host[len] = '\0';
		if (strcmp(host, "*") == 0) {
			rc = add_listen_all(r, port);
		} else if (len > 2 && host[0] == '[' && host[len - 1] == ']') {
			host[len - 1] = '\0';
			rc = strchr(host, ':') != NULL ? add_listen_inet(r, host + 1, port, false)
						       : 1;
		} else if (strchr(host, ':') == NULL) {
			rc = add_listen_inet(r, host, port, false);
		}
	}
	if (rc != 1)
		return rc;
	return fail(r,
	    "must be \"ADDRESS:PORT\", \"[IPV6]:PORT\", \"*:PORT\" or \"unix:/PATH\", with an "
	    "IP address and no name, not \"%.80s\"",
	    text);
}

static int
read_listen(struct reader *r, const struct key *key UNUSED, yaml_node_t *node, void *field UNUSED)
{
	if (node->type == YAML_SEQUENCE_NODE && n_items(node) == 0)
		return fail(r, "must name at least one address");
	return each_text(
	    r, node, "must be a list of addresses with their ports", add_listen_text, NULL);
}

static int
read_address(struct reader *r, const struct key *key UNUSED, yaml_node_t *node, void *field UNUSED)
{
	const char *must = "must be an IP address, or \"*\" for all", *text = "*";
	struct in6_addr v6;
	struct in_addr v4;

	if (!is_null(node)) {
		text = scalar(r, node, must);
		if (text == NULL)
			return -1;
		if (text[0] == '\0')
			text = "*";
	}
	/* With a zone, it is for the system to say whether there is such an interface. */
	if (strcmp(text, "*") != 0 && strchr(text, '%') == NULL &&
	    inet_pton(AF_INET, text, &v4) != 1 && inet_pton(AF_INET6, text, &v6) != 1)
		return fail(r, "%s, not %s; names are not looked up%s", must, show(node).text,
		    strcasecmp(text, "localhost") == 0 ? " (this one is 127.0.0.1)" : "");
	r->address = strdup(text);
	return r->address != NULL ? 0 : fail_memory(r);
}

static int
read_port(struct reader *r, const struct key *key, yaml_node_t *node, void *field UNUSED)
{
	return read_number(r, key, node, &r->port);
}

/* What address and port say, where there is no listen. */
static int
listen_by_address(struct reader *r)
{
	int rc;

	if (strcmp(r->address, "*") == 0)
		return add_listen_all(r, r->port);
	rc = add_listen_inet(r, r->address, r->port, false);
	if (rc == 1)
		return fail(r, "address: there is no address \"%.80s\" here", r->address);
	return rc;
}

/* ---- workers ---- */

static unsigned
processors(void)
{
	cpu_set_t set;
	int n;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return 1;
	n = CPU_COUNT(&set);
	return n < 1 ? 1 : n > WORKERS_MAX ? WORKERS_MAX : (unsigned)n;
}

static int
read_workers(struct reader *r, const struct key *key, yaml_node_t *node, void *field)
{
	const char *must = "must be auto or a whole number from 1 to 64";
	uint64_t n = 0;

	if (node->type == YAML_SCALAR_NODE &&
	    strcmp((const char *)node->data.scalar.value, "auto") == 0) {
		*(unsigned *)field = processors();
		return 0;
	}
	if (read_bounded(r, key, node, &n, parse_number, must) < 0)
		return -1;
	*(unsigned *)field = (unsigned)n;
	return 0;
}

/* ---- the mappings below the top ---- */

static int
read_limits(struct reader *r, const struct key *key UNUSED, yaml_node_t *node, void *field)
{
	return read_mapping(r, "limits", OF_ALL, node, &((struct config *)field)->limits, NULL);
}

/* Takes name. */
static int
add_store(struct reader *r, char *name, yaml_node_t *node)
{
	struct config *config = r->config;
	struct config_store *s, *more;
	unsigned lines[KEYS_MAX] = {0};

	more =
	    name == NULL ? NULL : reallocarray(config->stores, config->n_stores + 1, sizeof(*more));
	if (more == NULL) {
		free(name);
		return fail_memory(r);
	}
	config->stores = more;
	s = &more[config->n_stores++];
	memset(s, 0, sizeof(*s));
	s->name = name;
	s->line = r->line;
	if (read_mapping(r, "store", OF_ALL, node, s, lines) < 0)
		return -1;
	if (s->max_messages > 0 && s->min_messages > s->max_messages) {
		r->line = lines[key_index("store", "min_messages")];
		path_enter_key(r, "min_messages");
		return fail(r,
		    "must not be above max_messages: %u are kept whatever their age, but no "
		    "more than %u",
		    s->min_messages, s->max_messages);
	}
	return 0;
}

/* Several by name: where a value is a mapping, which no key of a store has. */
static bool
has_mapping_inside(const struct reader *r, const yaml_node_t *node)
{
	if (node->type != YAML_MAPPING_NODE)
		return false;
	for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top;
	     p++)
		if (yaml_document_get_node(r->doc, p->value)->type == YAML_MAPPING_NODE)
			return true;
	return false;
}

static bool
store_name_valid(const char *name)
{
	size_t len = strlen(name);

	return len > 0 && len <= 64 &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") ==
		   len;
}

static int
read_store(struct reader *r, const struct key *key UNUSED, yaml_node_t *node, void *field UNUSED)
{
	struct config *config = r->config;

	if (!has_mapping_inside(r, node))
		return add_store(r, strdup("default"), node);
	for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top;
	     p++) {
		yaml_node_t *name = yaml_document_get_node(r->doc, p->key);
		yaml_node_t *value = yaml_document_get_node(r->doc, p->value);
		const char *text;
		size_t before;

		r->line = node_line(r, name);
		text = scalar(r, name, "the name of a store must be a string");
		if (text == NULL)
			return -1;
		if (key_find("store", text, OF_ALL) != NULL)
			return fail(r,
			    "holds %s beside mappings: it is either one store, or several, "
			    "each a mapping below its name",
			    show(name).text);
		if (!store_name_valid(text))
			return fail(r,
			    "the name of a store must be 1 to 64 of A-Z a-z 0-9 _ - . and "
			    "not %s",
			    show(name).text);
		before = path_enter_key(r, text);
		for (size_t i = 0; i < config->n_stores; i++)
			if (strcmp(config->stores[i].name, text) == 0)
				return fail(
				    r, "is given twice, first in line %u", config->stores[i].line);
		if (config->n_stores == STORES_MAX)
			return fail(r, "there are more than %d stores", STORES_MAX);
		if (add_store(r, strdup(text), value) < 0)
			return -1;
		path_leave(r, before);
	}
	return 0;
}

/* Whether l takes every path that loc could, where both have prefixes. */
static bool
takes_prefix(const struct location *l, const struct location *loc)
{
	const size_t len = strlen(l->prefix);

	if (strncmp(l->prefix, loc->prefix, len) != 0)
		return false;
	/* The whole path, and that alone. */
	if (l->channel_argument != NULL)
		return loc->channel_argument != NULL && loc->prefix[len] == '\0';
	/* The prefix alone names no channel, which statistics alone take. */
	return loc->prefix[len] != '\0' || l->type == LOCATION_STATISTICS ||
	       (loc->channel_argument == NULL && loc->type != LOCATION_STATISTICS);
}

/* A location before this one by which it is never reached. */
static const struct location *
shadow(const struct config *config, const struct location *loc)
{
	for (const struct location *l = config->locations; l < loc; l++) {
		if (l->url != NULL && loc->url != NULL && strcmp(l->url, loc->url) == 0 &&
		    (l->type == LOCATION_STATISTICS || loc->type != LOCATION_STATISTICS ||
			l->channel_argument != NULL))
			return l;
		if (l->prefix != NULL && loc->prefix != NULL && takes_prefix(l, loc))
			return l;
	}
	return NULL;
}

static int
find_store(struct reader *r, struct location *loc, const unsigned *lines)
{
	const struct config *config = r->config;
	unsigned line = lines[key_index("locations", "store")];

	for (unsigned i = 0; i < config->n_stores; i++)
		if (strcmp(config->stores[i].name, loc->store_name) == 0) {
			loc->store = i;
			return 0;
		}
	if (line == 0)
		return fail(r, "must name its store: there is none called default");
	r->line = line;
	path_enter_key(r, "store");
	return fail(r, "there is no store called \"%.64s\"", loc->store_name);
}

static int
check_credentials(struct reader *r, const struct location *loc, const unsigned *lines)
{
	if (!loc->cors.allow_credentials)
		return 0;
	for (size_t i = 0; i < loc->cors.n_origins; i++) {
		const char *origin = loc->cors.origins[i];

		if (strcmp(origin, "*") != 0 && strcmp(origin, "null") != 0)
			continue;
		r->line = lines[key_index("locations", "allow_credentials")];
		path_enter_key(r, "allow_credentials");
		return fail(r,
		    "cannot be true while allow_origin is \"%s\"%s: any site could read with "
		    "a visitor's cookies; name the origins in allow_origin",
		    origin,
		    lines[key_index("locations", "allow_origin")] == 0 ? ", its default" : "");
	}
	return 0;
}

#define STREAMS                                                                      \
	(TRANSPORT_BIT(TRANSPORT_EVENTSOURCE) | TRANSPORT_BIT(TRANSPORT_WEBSOCKET) | \
	    TRANSPORT_BIT(TRANSPORT_STREAM) | TRANSPORT_BIT(TRANSPORT_MULTIPART))

/* Keys that mean something to these transports alone. */
static const struct {
	const char *key;
	unsigned transports;
} transport_keys[] = {
    {"polling", TRANSPORTS_POLLS},
    {"timeout_status", TRANSPORTS_POLLS},
    {"batch", TRANSPORT_BIT(TRANSPORT_LONGPOLL)},
    {"ping_interval", STREAMS},
    {"ping_message", STREAMS & ~TRANSPORT_BIT(TRANSPORT_MULTIPART)},
    {"ping_timeout", TRANSPORT_BIT(TRANSPORT_WEBSOCKET)},
    {"on_slow", STREAMS},
    {"gap_event", TRANSPORT_BIT(TRANSPORT_EVENTSOURCE)},
    {"event", TRANSPORT_BIT(TRANSPORT_EVENTSOURCE)},
    {"retry", TRANSPORT_BIT(TRANSPORT_EVENTSOURCE)},
    {"padding", TRANSPORT_BIT(TRANSPORT_EVENTSOURCE)},
    {"stream_separator", TRANSPORT_BIT(TRANSPORT_STREAM)},
    {"header_template", TRANSPORT_BIT(TRANSPORT_STREAM)},
    {"footer_template", TRANSPORT_BIT(TRANSPORT_STREAM)},
    {"heartbeat", TRANSPORT_BIT(TRANSPORT_WEBSOCKET)},
    {"deflate", TRANSPORT_BIT(TRANSPORT_WEBSOCKET)},
    {"allow_publish", TRANSPORT_BIT(TRANSPORT_WEBSOCKET)},
};

/* What a key of a location is, as --dump-config writes it. Returns new, or NULL. */
static char *
value_text(const struct key *key, const struct location *loc)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (out == NULL)
		return NULL;
	key->kind->write(out, key, (const char *)loc + key->offset);
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}

/*
 * Fails if a key is given another value than its default, for why. The default itself is
 * no mistake: --dump-config writes every key.
 */
static int
check_unused(struct reader *r, const struct location *loc, const unsigned *lines, const char *name,
    const char *why)
{
	const struct key *key = key_find("locations", name, 1u << loc->type);
	const unsigned line = lines[key_index("locations", name)];
	struct location initial = {.type = loc->type};
	char *is = NULL, *would_be = NULL;
	int rc;

	if (line == 0)
		return 0;
	rc = read_initial(r, key, (char *)&initial + key->offset);
	if (rc == 0) {
		is = value_text(key, loc);
		would_be = value_text(key, &initial);
		r->line = line;
		if (is == NULL || would_be == NULL) {
			rc = fail_memory(r);
		} else if (strcmp(is, would_be) != 0) {
			path_enter_key(r, name);
			rc = fail(r, "%s", why);
		}
	}
	location_reset(&initial);
	free(is);
	free(would_be);
	return rc;
}

static int
check_transports(struct reader *r, const struct location *loc, const unsigned *lines)
{
	char why[160];

	for (size_t i = 0; i < ARRAY_LEN(transport_keys); i++) {
		const char *between = "";
		size_t len;

		if ((loc->transports & transport_keys[i].transports) != 0)
			continue;
		len = (size_t)snprintf(why, sizeof(why), "says nothing here: transports lacks ");
		for (const struct word *w = transport_words; w->name != NULL; w++)
			if ((transport_keys[i].transports & TRANSPORT_BIT(w->value)) != 0) {
				len += (size_t)snprintf(
				    why + len, sizeof(why) - len, "%s%s", between, w->name);
				between = ", ";
			}
		if (check_unused(r, loc, lines, transport_keys[i].key, why) < 0)
			return -1;
	}
	if (!loc->allow_publish && check_unused(r, loc, lines, "max_body",
				       "says nothing here without allow_publish: true") < 0)
		return -1;
	/* Any page may load a script, with the visitor's cookies, and read what it does. */
	if ((loc->transports & TRANSPORT_BIT(TRANSPORT_JSONP)) != 0 &&
	    (loc->cors.n_origins != 1 || strcmp(loc->cors.origins[0], "*") != 0)) {
		r->line = lines[key_index("locations", "transports")];
		path_enter_key(r, "transports");
		return fail(r,
		    "jsonp cannot be there while allow_origin is not \"*\": any site can read it");
	}
	return 0;
}

/* The type decides which keys there are, so it is read before them. */
static int
read_location_type(struct reader *r, yaml_node_t *node, struct location *loc)
{
	const struct key *key = key_find("locations", "type", OF_ALL);

	if (node->type != YAML_MAPPING_NODE)
		return fail(r, "must be a mapping with type, url or prefix, and more");
	for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top;
	     p++) {
		yaml_node_t *name = yaml_document_get_node(r->doc, p->key);
		size_t before;

		if (name->type != YAML_SCALAR_NODE ||
		    strcmp((const char *)name->data.scalar.value, "type") != 0)
			continue;
		r->line = node_line(r, name);
		before = path_enter_key(r, "type");
		if (key->kind->read(r, key, yaml_document_get_node(r->doc, p->value), &loc->type) <
		    0)
			return -1;
		path_leave(r, before);
		return 0;
	}
	/* It may be there, but misspelt. */
	for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top;
	     p++) {
		yaml_node_t *name = yaml_document_get_node(r->doc, p->key);
		const char *text;

		r->line = node_line(r, name);
		text = scalar(r, name, "a key must be a word");
		if (text == NULL)
			return -1;
		if (key_find("locations", text, OF_ALL) == NULL) {
			path_enter(r, ".%.60s", text);
			return fail_unknown(r, "locations", OF_ALL, text);
		}
	}
	r->line = loc->line;
	return fail(r, "has no type; it must be subscriber, publisher or statistics");
}

static int
read_location(struct reader *r, yaml_node_t *node, struct location *loc)
{
	unsigned lines[KEYS_MAX] = {0};
	char problem[256];
	const struct location *other;
	size_t before;

	loc->line = r->line;
	if (read_location_type(r, node, loc) < 0)
		return -1;
	r->line = loc->line;
	if (read_mapping(r, "locations", 1u << loc->type, node, loc, lines) < 0)
		return -1;
	if (loc->url == NULL && loc->prefix == NULL)
		return fail(r, "has neither url nor prefix");
	if (loc->url != NULL) {
		/* HBPR's rule of precedence; what is not used is not kept. */
		free(loc->prefix);
		loc->prefix = NULL;
	}
	if (find_store(r, loc, lines) < 0 || check_credentials(r, loc, lines) < 0)
		return -1;
	if (loc->type == LOCATION_SUBSCRIBER && check_transports(r, loc, lines) < 0)
		return -1;
	r->line = lines[key_index("locations", loc->url != NULL ? "url" : "prefix")];
	before = path_enter_key(r, loc->url != NULL ? "url" : "prefix");
	other = shadow(r->config, loc);
	if (other != NULL)
		return fail(r, "is never reached: locations[%u] takes all such paths before it",
		    other->index);
	if (location_prepare(loc, problem, sizeof(problem)) < 0)
		return fail(r, "%s", problem);
	path_leave(r, before);
	if (loc->type == LOCATION_SUBSCRIBER && !loc->several)
		return check_unused(r, loc, lines, "max_channels",
		    "says nothing here: a request names several channels by several groups in "
		    "url, by split or by channel_argument");
	return 0;
}

static int
read_locations(
    struct reader *r, const struct key *key UNUSED, yaml_node_t *node, void *field UNUSED)
{
	struct config *config = r->config;
	size_t n;

	if (node->type != YAML_SEQUENCE_NODE || n_items(node) == 0)
		return fail(r, "must be a list of at least one location");
	n = n_items(node);
	if (n > LIST_MAX)
		return fail(r, "has more than %d entries", LIST_MAX);
	config->locations = calloc(n, sizeof(*config->locations));
	if (config->locations == NULL)
		return fail_memory(r);
	for (size_t i = 0; i < n; i++) {
		yaml_node_t *entry = item(r, node, i);
		size_t before = path_enter(r, "[%zu]", i);

		r->line = node_line(r, entry);
		config->locations[i].index = (unsigned)i;
		config->n_locations++;
		if (read_location(r, entry, &config->locations[i]) < 0)
			return -1;
		path_leave(r, before);
	}
	return 0;
}

/* ---- the table ---- */

static const struct kind kind_bool = {read_bool, write_bool};
static const struct kind kind_number = {read_number, write_number};
static const struct kind kind_size_u32 = {read_size_u32, write_size_u32};
static const struct kind kind_size_u64 = {read_size_u64, write_size_u64};
static const struct kind kind_time = {read_time, write_time};
static const struct kind kind_word = {read_word, write_word};
static const struct kind kind_text = {read_text, write_text};
static const struct kind kind_origins = {read_origins, write_origins};
static const struct kind kind_cookies = {read_cookies, write_cookies};
static const struct kind kind_transports = {read_transports, write_transports};
static const struct kind kind_timeouts = {read_timeouts, write_timeouts};
static const struct kind kind_first = {read_first, write_first};
static const struct kind kind_retry = {read_retry, write_retry};
static const struct kind kind_heartbeat = {read_heartbeat, write_heartbeat};
static const struct kind kind_padding = {read_padding, write_padding};
static const struct kind kind_split = {read_split, write_split};
static const struct kind kind_template = {read_template, write_template};
static const struct kind kind_allow = {read_allow, write_allow};
static const struct kind kind_workers = {read_workers, write_number};
static const struct kind kind_address = {read_address, NULL};
static const struct kind kind_port = {read_port, NULL};
static const struct kind kind_listen = {read_listen, NULL};
static const struct kind kind_limits = {read_limits, NULL};
static const struct kind kind_store = {read_store, NULL};
static const struct kind kind_locations = {read_locations, NULL};

static const struct word log_words[] = {{"error", LOG_LEVEL_ERROR}, {"warning", LOG_LEVEL_WARN},
    {"info", LOG_LEVEL_INFO}, {"debug", LOG_LEVEL_DEBUG}, {NULL, 0}};
static const struct word type_words[] = {{"subscriber", LOCATION_SUBSCRIBER},
    {"publisher", LOCATION_PUBLISHER}, {"statistics", LOCATION_STATISTICS}, {NULL, 0}};
static const struct word polling_words[] = {
    {"long", POLLING_LONG}, {"interval", POLLING_INTERVAL}, {NULL, 0}};
static const struct word concurrency_words[] = {{"broadcast", CONCURRENCY_BROADCAST},
    {"last", CONCURRENCY_LAST}, {"first", CONCURRENCY_FIRST}, {NULL, 0}};
static const struct word batch_words[] = {{"off", BATCH_OFF}, {"multipart", BATCH_MULTIPART},
    {"json", BATCH_JSON}, {"raw", BATCH_RAW}, {NULL, 0}};
static const struct word on_slow_words[] = {
    {"gap", ON_SLOW_GAP}, {"close", ON_SLOW_CLOSE}, {NULL, 0}};
static const struct word timeout_status_words[] = {
    {"304", 304}, {"408", 408}, {"204", 204}, {NULL, 0}};

/* read_number(), read_time() and read_word() write 32 bits. */
static_assert(sizeof(unsigned) == 4 && sizeof(enum polling) == 4 && sizeof(enum log_level) == 4,
    "fields of keys[] have 32 bits");

#define TOP(n, k, f, ...)                                                                    \
	{                                                                                    \
		.mapping = "", .name = n, .of = OF_ALL, .kind = &k, .offset = f, __VA_ARGS__ \
	}
#define LIMIT(n, k, ...)                                                          \
	{                                                                         \
		.mapping = "limits", .name = #n, .of = OF_ALL, .kind = &kind_##k, \
		.offset = offsetof(struct limits, n), __VA_ARGS__                 \
	}
#define LIMIT_TIME(n, ...)                                                         \
	{                                                                          \
		.mapping = "limits", .name = #n, .of = OF_ALL, .kind = &kind_time, \
		.offset = offsetof(struct limits, n##_ms), __VA_ARGS__             \
	}
#define STORE(n, k, f, ...)                                              \
	{                                                                \
		.mapping = "store", .name = n, .of = OF_ALL, .kind = &k, \
		.offset = offsetof(struct config_store, f), __VA_ARGS__  \
	}
#define PADDING(n, k, ...)                                                         \
	{                                                                          \
		.mapping = "padding", .name = #n, .of = OF_ALL, .kind = &kind_##k, \
		.offset = offsetof(struct padding, n), __VA_ARGS__                 \
	}
#define LOCATION(n, types, k, f, ...)                                       \
	{                                                                   \
		.mapping = "locations", .name = n, .of = types, .kind = &k, \
		.offset = offsetof(struct location, f), __VA_ARGS__         \
	}

/*
 * In the order in which they are read and dumped: store before locations, which look
 * their stores up.
 */
static const struct key keys[] = {
    TOP("address", kind_address, 0, .initial = "127.0.0.1"),
    TOP("port", kind_port, 0, .initial = "8001", .max = 65535),
    TOP("listen", kind_listen, 0),
    TOP("servername", kind_text, offsetof(struct config, servername),
	.initial = "pushserver/" PUSHSERVER_VERSION, .nullable = true, .check = check_header_value),
    TOP("workers", kind_workers, offsetof(struct config, workers), .initial = "auto", .min = 1,
	.max = WORKERS_MAX),
    TOP("log", kind_word, offsetof(struct config, log), .initial = "info", .words = log_words),
    TOP("limits", kind_limits, 0, .initial = "{}"),
    TOP("store", kind_store, 0, .initial = "{}"),
    TOP("locations", kind_locations, 0,
	.initial =
	    "[{type: subscriber, prefix: /subscriber/}, {type: publisher, prefix: /publisher/}]"),

    LIMIT(connections, number, .initial = "0", .max = 10000000),
    /* Above 64 KiB patterns would need more steps and memory than they may take. */
    LIMIT(target_size, size_u32, .initial = "8K", .min = 128, .max = KIB(64)),
    LIMIT(header_size, size_u32, .initial = "16K", .min = 256, .max = MIB(1)),
    LIMIT(id_length, number, .initial = "255", .min = 1, .max = LOCATION_ID_MAX),
    LIMIT_TIME(header_timeout, .initial = "30", .min = 1, .max = TIME_MAX_MS),
    LIMIT_TIME(body_timeout, .initial = "30", .min = 1, .max = TIME_MAX_MS),
    LIMIT_TIME(send_timeout, .initial = "60", .min = 1, .max = TIME_MAX_MS),
    LIMIT_TIME(keepalive_timeout, .initial = "75", .min = 1, .max = TIME_MAX_MS),
    LIMIT(notices, number, .initial = "16384", .min = 1, .max = 10000000),
    LIMIT(notice_connections, number, .initial = "8", .min = 1, .max = 1024),
    LIMIT_TIME(notice_timeout, .initial = "10", .min = 1, .max = TIME_MAX_MS),
    LIMIT_TIME(notice_retry, .initial = "10", .max = TIME_MAX_MS),
    LIMIT(lingering, number, .initial = "100000", .min = 1, .max = 10000000),

    STORE("type", kind_text, type, .initial = "memory", .check = check_store_type),
    STORE("min_messages", kind_number, min_messages, .initial = "0", .max = 1000000000),
    STORE("max_messages", kind_number, max_messages, .initial = "0", .max = 1000000000),
    STORE("message_timeout", kind_time, message_timeout_ms, .initial = "0", .max = TIME_MAX_MS),
    STORE("max_memory", kind_size_u64, max_memory, .initial = "64M", .min = KIB(64),
	.max = GIB(1024)),
    STORE("channel_timeout", kind_time, channel_timeout_ms, .initial = "60", .max = TIME_MAX_MS),

    LOCATION("type", OF_ALL, kind_word, type, .words = type_words),
    LOCATION("url", OF_ALL, kind_text, url),
    LOCATION("prefix", OF_ALL, kind_text, prefix, .check = check_prefix),
    LOCATION("channel_argument", OF_ALL, kind_text, channel_argument, .initial = "null",
	.nullable = true, .check = check_argument),
    LOCATION("split", OF_SUBSCRIBER | OF_STATISTICS, kind_split, split, .initial = "null"),
    LOCATION("store", OF_ALL, kind_text, store_name, .initial = "default"),

    LOCATION("transports", OF_SUBSCRIBER, kind_transports, transports,
	.initial = "[longpoll, eventsource, websocket, stream, multipart]"),
    LOCATION(
	"polling", OF_SUBSCRIBER, kind_word, polling, .initial = "long", .words = polling_words),
    LOCATION("create_on_get", OF_SUBSCRIBER, kind_bool, create_on_get, .initial = "false"),
    LOCATION("first_message", OF_SUBSCRIBER, kind_first, first_message, .initial = "oldest"),
    LOCATION("concurrency", OF_SUBSCRIBER, kind_word, concurrency, .initial = "broadcast",
	.words = concurrency_words),
    LOCATION("max_channels", OF_SUBSCRIBER, kind_number, max_channels, .initial = "255", .min = 1,
	.max = LOCATION_CHANNELS_MAX),
    LOCATION("max_subscribers", OF_SUBSCRIBER, kind_number, max_subscribers, .initial = "0",
	.max = 10000000),
    LOCATION("allow", OF_SUBSCRIBER, kind_allow, type /* the whole struct */,
	.initial = "[0.0.0.0/0, '::/0', unix]"),
    LOCATION("allow_origin", OF_SUBSCRIBER, kind_origins, cors, .initial = "'*'"),
    LOCATION(
	"allow_credentials", OF_SUBSCRIBER, kind_bool, cors.allow_credentials, .initial = "false"),
    LOCATION("passthrough", OF_SUBSCRIBER, kind_text, passthrough, .initial = "null",
	.nullable = true, .secret = true, .check = check_passthrough),
    LOCATION("passthrough_linger", OF_SUBSCRIBER, kind_time, passthrough_linger_ms, .initial = "5",
	.max = TIME_MAX_MS),
    LOCATION("passthrough_identity", OF_SUBSCRIBER, kind_cookies, type /* the whole struct */,
	.initial = "[sessionid]"),
    LOCATION("timeout", OF_SUBSCRIBER, kind_timeouts, timeout_ms,
	.initial = "{longpoll: 55, eventsource: 0, websocket: 0, stream: 0, multipart: 0, "
		   "jsonp: 55}",
	.max = TIME_MAX_MS),
    LOCATION("timeout_status", OF_SUBSCRIBER, kind_word, timeout_status, .initial = "304",
	.words = timeout_status_words),
    LOCATION("content_type", OF_SUBSCRIBER, kind_text, content_type, .initial = "null",
	.nullable = true, .check = check_header_value),
    LOCATION("message_template", OF_SUBSCRIBER, kind_template, message_template, .initial = "null",
	.nullable = true, .check = check_template),
    LOCATION("say_channel", OF_SUBSCRIBER, kind_bool, say_channel, .initial = "false"),
    LOCATION("batch", OF_SUBSCRIBER, kind_word, batch, .initial = "off", .words = batch_words),
    LOCATION("gap_event", OF_SUBSCRIBER, kind_bool, gap_event, .initial = "true"),
    LOCATION(
	"on_slow", OF_SUBSCRIBER, kind_word, on_slow, .initial = "gap", .words = on_slow_words),
    LOCATION("ping_interval", OF_SUBSCRIBER, kind_time, ping_interval_ms, .initial = "25",
	.max = TIME_MAX_MS),
    LOCATION("ping_timeout", OF_SUBSCRIBER, kind_time, ping_timeout_ms, .initial = "20",
	.max = TIME_MAX_MS),
    LOCATION("ping_message", OF_SUBSCRIBER, kind_text, ping_message, .initial = "null",
	.nullable = true, .check = check_line),
    LOCATION("event", OF_SUBSCRIBER, kind_text, event, .initial = "null", .nullable = true,
	.check = check_header_value),
    LOCATION("retry", OF_SUBSCRIBER, kind_retry, type /* the whole struct */, .initial = "null",
	.max = TIME_MAX_MS),
    LOCATION("padding", OF_SUBSCRIBER, kind_padding, type /* the whole struct */, .initial = "[]"),
    LOCATION("stream_separator", OF_SUBSCRIBER, kind_text, stream_separator, .initial = "\"\\n\"",
	.may_be_empty = true, .check = check_separator),
    LOCATION("header_template", OF_SUBSCRIBER, kind_text, header_template, .initial = "null",
	.nullable = true, .check = check_template),
    LOCATION("footer_template", OF_SUBSCRIBER, kind_text, footer_template, .initial = "null",
	.nullable = true, .check = check_template),
    LOCATION(
	"heartbeat", OF_SUBSCRIBER, kind_heartbeat, type /* the whole struct */, .initial = "null"),
    LOCATION("deflate", OF_SUBSCRIBER, kind_bool, deflate, .initial = "false"),
    LOCATION("allow_publish", OF_SUBSCRIBER, kind_bool, allow_publish, .initial = "false"),

    LOCATION("create_on_post", OF_PUBLISHER, kind_bool, create_on_post, .initial = "true"),
    LOCATION("store_messages", OF_PUBLISHER, kind_bool, store_messages, .initial = "true"),
    LOCATION("allow_delete", OF_PUBLISHER, kind_bool, allow_delete, .initial = "true"),
    LOCATION("allow", OF_PUBLISHER, kind_allow, type /* the whole struct */,
	.initial = "[127.0.0.0/8, '::1', unix]"),
    LOCATION("allow_origin", OF_PUBLISHER, kind_origins, cors, .initial = "[]"),
    LOCATION("max_body", OF_SUBSCRIBER | OF_PUBLISHER, kind_size_u64, max_body, .initial = "1M",
	.min = 1, .max = GIB(1)),

    LOCATION("allow", OF_STATISTICS, kind_allow, type /* the whole struct */,
	.initial = "[127.0.0.0/8, '::1', unix]"),
    LOCATION("allow_origin", OF_STATISTICS, kind_origins, cors, .initial = "[]"),
    LOCATION("max_listed", OF_STATISTICS, kind_number, max_listed, .initial = "10000", .min = 1,
	.max = 1000000),

    PADDING(user_agent, text),
    PADDING(head, size_u32, .initial = "0", .max = KIB(64)),
    PADDING(message, size_u32, .initial = "0", .max = KIB(64)),
};

#define N_KEYS ARRAY_LEN(keys)
static_assert(N_KEYS <= KEYS_MAX, "the lines[] of a mapping hold every key");
static_assert(offsetof(struct location, type) == 0, "some keys fill in several fields");

static const struct key *
key_find(const char *mapping, const char *name, unsigned of)
{
	for (size_t i = 0; i < N_KEYS; i++)
		if ((keys[i].of & of) != 0 && strcmp(keys[i].mapping, mapping) == 0 &&
		    strcmp(keys[i].name, name) == 0)
			return &keys[i];
	return NULL;
}

/* Where lines[] has a key's line; of two rows of one name, the first. */
static size_t
key_index(const char *mapping, const char *name)
{
	const struct key *key = key_find(mapping, name, OF_ALL);

	assert(key != NULL);
	return (size_t)(key - keys);
}

bool
config_key(size_t i, struct config_key *key)
{
	if (i >= N_KEYS)
		return false;
	*key = (struct config_key){
	    .mapping = keys[i].mapping,
	    .name = keys[i].name,
	    .subscriber = (keys[i].of & OF_SUBSCRIBER) != 0,
	    .publisher = (keys[i].of & OF_PUBLISHER) != 0,
	    .statistics = (keys[i].of & OF_STATISTICS) != 0,
	    .initial = keys[i].initial,
	};
	return true;
}

/* ---- mappings ---- */

/* How many letters must change, come, go or be swapped with their neighbour. */
static unsigned
edit_distance(const char *a, const char *b)
{
	enum {
		LEN_MAX = 31
	};
	unsigned d[LEN_MAX + 1][LEN_MAX + 1];
	size_t la = strlen(a), lb = strlen(b);

	if (la > LEN_MAX || lb > LEN_MAX)
		return UINT32_MAX;
	for (unsigned i = 0; i <= la; i++)
		for (unsigned j = 0; j <= lb; j++) {
			unsigned best;

			if (i == 0 || j == 0) {
				d[i][j] = i + j;
				continue;
			}
			best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
			if (d[i - 1][j] + 1 < best)
				best = d[i - 1][j] + 1;
			if (d[i][j - 1] + 1 < best)
				best = d[i][j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    d[i - 2][j - 2] + 1 < best)
				best = d[i - 2][j - 2] + 1;
			d[i][j] = best;
		}
	return d[la][lb];
}

/* Says what is wrong with a key that has no row here. */
static int
fail_unknown(struct reader *r, const char *mapping, unsigned of, const char *name)
{
	const struct key *nearest = NULL;
	unsigned distance, least = UINT32_MAX;
	char owners[60] = "";
	size_t n;

	if (strcmp(name, "<<") == 0)
		return fail(
		    r, "merge keys (<<) are not read; an alias may stand for a whole value");
	for (const struct word *w = type_words; w->name != NULL; w++) {
		if (key_find(mapping, name, 1u << w->value) == NULL)
			continue;
		n = strlen(owners);
		snprintf(owners + n, sizeof(owners) - n, "%s%s", n > 0 ? " and " : "", w->name);
	}
	/* Of a mapping that is no location all types have every key, so it was found. */
	if (owners[0] != '\0')
		return fail(r, "is a key of %s locations; this is a %s location", owners,
		    of == OF_SUBSCRIBER  ? "subscriber"
		    : of == OF_PUBLISHER ? "publisher"
					 : "statistics");
	if (mapping[0] == '\0' &&
	    (strcmp(name, "publisher_host") == 0 || strcmp(name, "subscriber_host") == 0))
		return fail(r, "is read by Django alone; the relay has no such key");
	for (size_t i = 0; i < N_KEYS; i++)
		if (strcmp(keys[i].name, name) == 0)
			return fail(r, "unknown key; a key of that name belongs %s%s",
			    keys[i].mapping[0] != '\0' ? "below " : "to the top level",
			    keys[i].mapping);
	for (size_t i = 0; i < N_KEYS; i++) {
		if ((keys[i].of & of) == 0 || strcmp(keys[i].mapping, mapping) != 0)
			continue;
		distance = edit_distance(name, keys[i].name);
		if (distance < least) {
			least = distance;
			nearest = &keys[i];
		}
	}
	/* Farther off, a suggestion is a riddle. */
	if (nearest != NULL && least <= 1 + strlen(nearest->name) / 4)
		return fail(r, "unknown key; did you mean %s?", nearest->name);
	return fail(r, "unknown key");
}

/* What libyaml has to say against text. */
static int
fail_yaml(struct reader *r, const yaml_parser_t *parser, const char *text, size_t len)
{
	r->line = (unsigned)parser->problem_mark.line + 1;
	switch (parser->error) {
	case YAML_MEMORY_ERROR:
		r->line = 0;
		return fail_memory(r);
	case YAML_READER_ERROR:
		/* It knows bytes, not lines. */
		r->line = 1;
		for (size_t i = 0; i < len && i < parser->problem_offset; i++)
			r->line += text[i] == '\n';
		return fail(r, "is not text in UTF-8: %s", parser->problem);
	default:
		return fail(r, "is not YAML: %s%s%s%s", parser->problem,
		    parser->context != NULL ? " (" : "",
		    parser->context != NULL ? parser->context : "",
		    parser->context != NULL ? ")" : "");
	}
}

/*
 * Reads text once without building anything, for libyaml's time grows with the square
 * of the depth, and of the number of anchors: a megabyte of "[" would take hours.
 */
static int
check_document(struct reader *r, const char *text, size_t len)
{
	unsigned depth = 0, anchors = 0;
	yaml_parser_t parser;
	yaml_event_t event;
	bool end = false;
	int rc = 0;

	if (!yaml_parser_initialize(&parser))
		return fail_memory(r);
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
	while (rc == 0 && !end) {
		if (!yaml_parser_parse(&parser, &event)) {
			rc = fail_yaml(r, &parser, text, len);
			break;
		}
		r->line = (unsigned)event.start_mark.line + 1;
		switch (event.type) {
		case YAML_MAPPING_START_EVENT:
			depth++;
			anchors += event.data.mapping_start.anchor != NULL;
			break;
		case YAML_SEQUENCE_START_EVENT:
			depth++;
			anchors += event.data.sequence_start.anchor != NULL;
			break;
		case YAML_SCALAR_EVENT:
			anchors += event.data.scalar.anchor != NULL;
			break;
		case YAML_MAPPING_END_EVENT:
		case YAML_SEQUENCE_END_EVENT:
			depth--;
			break;
		case YAML_STREAM_END_EVENT:
			end = true;
			break;
		default:
			break;
		}
		yaml_event_delete(&event);
		if (depth > DEPTH_MAX)
			rc = fail(r, "is nested deeper than anything this file can hold");
		else if (anchors > LIST_MAX)
			rc = fail(r, "has more than %d anchors", LIST_MAX);
	}
	yaml_parser_delete(&parser);
	return rc;
}

/* Makes a tree of text, which is checked; 0, or -1 after fail(). */
static int
load_document(struct reader *r, const char *text, size_t len, yaml_document_t *doc)
{
	yaml_parser_t parser;
	yaml_document_t rest;
	yaml_node_t *second = NULL;
	int rc = 0;

	if (!yaml_parser_initialize(&parser))
		return fail_memory(r);
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
	if (!yaml_parser_load(&parser, doc)) {
		rc = fail_yaml(r, &parser, text, len);
	} else if (yaml_document_get_root_node(doc) != NULL) {
		if (!yaml_parser_load(&parser, &rest)) {
			rc = fail_yaml(r, &parser, text, len);
		} else {
			second = yaml_document_get_root_node(&rest);
			if (second != NULL) {
				r->line = node_line(r, second);
				rc = fail(r, "a second document begins here; one is read");
			}
			yaml_document_delete(&rest);
		}
		if (rc < 0)
			yaml_document_delete(doc);
	}
	yaml_parser_delete(&parser);
	return rc;
}

static int
read_initial(struct reader *r, const struct key *key, void *field)
{
	yaml_document_t doc, *outer = r->doc;
	size_t before = path_enter_key(r, key->name);
	bool was_initial = r->initial;
	unsigned line = r->line;
	int rc = -1;

	r->initial = true;
	if (load_document(r, key->initial, strlen(key->initial), &doc) == 0) {
		r->doc = &doc;
		rc = key->kind->read(r, key, yaml_document_get_root_node(&doc), field);
		r->doc = outer;
		yaml_document_delete(&doc);
	}
	r->initial = was_initial;
	if (rc == 0) {
		path_leave(r, before);
		r->line = line;
	}
	return rc;
}

/* Finds each key of the node its row; values and lines are by the rows' numbers. */
static int
sort_pairs(struct reader *r, const char *mapping, unsigned of, yaml_node_t *node,
    yaml_node_t **values, unsigned *lines)
{
	for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top;
	     p++) {
		yaml_node_t *name = yaml_document_get_node(r->doc, p->key);
		yaml_node_t *value = yaml_document_get_node(r->doc, p->value);
		const struct key *key;
		const char *text;
		size_t i, before;

		r->line = node_line(r, name);
		text = scalar(r, name, "a key must be a word");
		if (text == NULL)
			return -1;
		before = path_enter(r, "%s%.60s", r->path_len > 0 ? "." : "", text);
		key = key_find(mapping, text, of);
		if (key == NULL)
			return fail_unknown(r, mapping, of, text);
		i = (size_t)(key - keys);
		if (values[i] != NULL)
			return fail(r, "is given twice, first in line %u", lines[i]);
		if (!has_default_tag(value))
			return fail(r, "has a tag (%s); tags are not read", value->tag);
		values[i] = value;
		lines[i] = r->line;
		path_leave(r, before);
	}
	return 0;
}

/*
 * Reads a mapping, or null for an empty one, into the struct at base: first what it
 * gives, then what it leaves out, in the order of the table. lines, of KEYS_MAX, gets the line
 * of each key that is given, under key_index(); NULL where nobody asks.
 */
static int
read_mapping(struct reader *r, const char *mapping, unsigned of, yaml_node_t *node, void *base,
    unsigned *lines)
{
	yaml_node_t *values[N_KEYS] = {NULL};
	unsigned own_lines[N_KEYS] = {0}, line = r->line;

	if (!is_null(node)) {
		if (node->type != YAML_MAPPING_NODE)
			return fail(r, "must be a mapping, not %s", show(node).text);
		if (!has_default_tag(node))
			return fail(r, "has a tag (%s); tags are not read", node->tag);
		if (sort_pairs(r, mapping, of, node, values, own_lines) < 0)
			return -1;
	}
	r->line = line;
	for (size_t i = 0; i < N_KEYS; i++) {
		const struct key *key = &keys[i];
		void *field = (char *)base + key->offset;
		size_t before;

		if (strcmp(key->mapping, mapping) != 0 || (key->of & of) == 0)
			continue;
		if (values[i] == NULL) {
			if (key->initial != NULL && read_initial(r, key, field) < 0)
				return -1;
			continue;
		}
		before = path_enter_key(r, key->name);
		/* A value of its own line is told by that; nothing has none. */
		r->line = is_null(values[i]) ? own_lines[i] : node_line(r, values[i]);
		if (key->kind->read(r, key, values[i], field) < 0)
			return -1;
		path_leave(r, before);
		r->line = line;
		if (lines != NULL)
			lines[key_index(mapping, key->name)] = own_lines[i];
	}
	return 0;
}

/* ---- the whole ---- */

static int
check_listen(struct reader *r, const unsigned *lines)
{
	unsigned listen = lines[key_index("", "listen")];
	unsigned address = lines[key_index("", "address")];
	unsigned port = lines[key_index("", "port")];

	if (listen == 0) {
		r->line = address;
		return listen_by_address(r);
	}
	if (address != 0 || port != 0) {
		r->line = listen;
		return fail(r,
		    "listen: cannot be given together with %s (line %u); it says all by itself",
		    address != 0 ? "address" : "port", address != 0 ? address : port);
	}
	return 0;
}

struct config *
config_load_string(const char *text, size_t len, const char *name, char error[CONFIG_ERROR_SIZE])
{
	struct reader r = {.name = name, .error = error};
	yaml_node_t nothing = {.type = YAML_SCALAR_NODE,
	    .data.scalar = {.value = (yaml_char_t *)"", .style = YAML_PLAIN_SCALAR_STYLE}};
	unsigned lines[KEYS_MAX] = {0};
	yaml_document_t doc;
	yaml_node_t *root;
	int rc;

	if (len > CONFIG_FILE_MAX) {
		fail(&r, "is larger than %d bytes", CONFIG_FILE_MAX);
		return NULL;
	}
	r.config = calloc(1, sizeof(*r.config));
	if (r.config == NULL) {
		fail_memory(&r);
		return NULL;
	}
	atomic_init(&r.config->refs, 1);
	rc = check_document(&r, text, len);
	r.line = 0;
	if (rc == 0)
		rc = load_document(&r, text, len, &doc);
	if (rc == 0) {
		r.doc = &doc;
		root = yaml_document_get_root_node(&doc);
		if (root == NULL) /* empty, or comments alone: all the defaults */
			root = &nothing;
		r.line = root != &nothing ? node_line(&r, root) : 0;
		rc = read_mapping(&r, "", OF_ALL, root, r.config, lines);
		if (rc == 0)
			rc = check_listen(&r, lines);
		yaml_document_delete(&doc);
	}
	free(r.address);
	if (rc < 0) {
		config_unref(r.config);
		return NULL;
	}
	return r.config;
}

/* All of it, but at most one byte more than is allowed; returns new, or NULL with errno. */
static char *
read_all(int fd, size_t *len)
{
	char *text = malloc(CONFIG_FILE_MAX + 1);
	ssize_t n;

	*len = 0;
	while (text != NULL && *len <= CONFIG_FILE_MAX) {
		n = read(fd, text + *len, CONFIG_FILE_MAX + 1 - *len);
		if (n == 0)
			break;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			free(text);
			return NULL;
		}
		*len += (size_t)n;
	}
	return text;
}

struct config *
config_load(const char *path, char error[CONFIG_ERROR_SIZE])
{
	bool is_stdin = strcmp(path, "-") == 0;
	struct reader r = {.name = is_stdin ? "standard input" : path, .error = error};
	struct config *config;
	int fd = STDIN_FILENO;
	char *text;
	size_t len;

	if (!is_stdin) {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0) {
			fail(&r, "cannot be opened: %s", strerror(errno));
			return NULL;
		}
	}
	text = read_all(fd, &len);
	if (text == NULL)
		fail(&r, "cannot be read: %s", strerror(errno));
	if (!is_stdin)
		close(fd);
	if (text == NULL)
		return NULL;
	config = config_load_string(text, len, r.name, error);
	free(text);
	return config;
}

struct config *
config_ref(struct config *config)
{
	atomic_fetch_add_explicit(&config->refs, 1, memory_order_relaxed);
	return config;
}

void
config_unref(struct config *config)
{
	if (config == NULL)
		return;
	if (atomic_fetch_sub_explicit(&config->refs, 1, memory_order_acq_rel) > 1)
		return;
	for (size_t i = 0; i < config->n_listens; i++)
		free(config->listens[i].text);
	free(config->listens);
	for (size_t i = 0; i < config->n_stores; i++) {
		free(config->stores[i].name);
		free(config->stores[i].type);
	}
	free(config->stores);
	for (size_t i = 0; i < config->n_locations; i++)
		location_reset(&config->locations[i]);
	free(config->locations);
	free(config->servername);
	free(config);
}

/* ---- the dump ---- */

static void
write_padding(FILE *out, const struct key *key UNUSED, const void *field)
{
	const struct location *loc = field;

	putc('[', out);
	for (size_t i = 0; i < loc->n_padding; i++) {
		const char *between = i > 0 ? ", {" : "{";

		for (size_t k = 0; k < N_KEYS; k++) {
			if (strcmp(keys[k].mapping, "padding") != 0)
				continue;
			fprintf(out, "%s%s: ", between, keys[k].name);
			keys[k].kind->write(
			    out, &keys[k], (const char *)&loc->padding[i] + keys[k].offset);
			between = ", ";
		}
		putc('}', out);
	}
	putc(']', out);
}

/* The keys of a mapping, one a line, behind indent; the first behind first. */
static void
dump_mapping(FILE *out, const char *mapping, unsigned of, const void *base, const char *first,
    const char *indent)
{
	for (size_t i = 0; i < N_KEYS; i++) {
		const struct key *key = &keys[i];
		const void *field = (const char *)base + key->offset;

		if (strcmp(key->mapping, mapping) != 0 || (key->of & of) == 0 ||
		    key->kind->write == NULL)
			continue;
		/* Of url and prefix one is there, and null would be no value for the other. */
		if (key->kind == &kind_text && !key->nullable && *(char *const *)field == NULL)
			continue;
		fprintf(out, "%s%s: ", first, key->name);
		key->kind->write(out, key, field);
		putc('\n', out);
		first = indent;
	}
}

void
config_dump(const struct config *config, FILE *out)
{
	fputs("listen:\n", out);
	for (size_t i = 0; i < config->n_listens; i++) {
		const struct config_listen *l = &config->listens[i];
		bool all = i + 1 < config->n_listens && l[1].optional;

		fputs("  - ", out);
		if (all) {
			char text[32];

			/* Said as two, the second would no longer be optional. */
			snprintf(text, sizeof(text), "*%s", strrchr(l->text, ':'));
			write_quoted(out, text);
			i++;
		} else {
			write_quoted(out, l->text);
		}
		putc('\n', out);
	}
	dump_mapping(out, "", OF_ALL, config, "", "");
	fputs("limits:\n", out);
	dump_mapping(out, "limits", OF_ALL, &config->limits, "  ", "  ");
	fputs("store:\n", out);
	for (size_t i = 0; i < config->n_stores; i++) {
		/* In quotes: a store may be called null, or 7. */
		fputs("  ", out);
		write_quoted(out, config->stores[i].name);
		fputs(":\n", out);
		dump_mapping(out, "store", OF_ALL, &config->stores[i], "    ", "    ");
	}
	fputs("locations:\n", out);
	for (size_t i = 0; i < config->n_locations; i++)
		dump_mapping(out, "locations", 1u << config->locations[i].type,
		    &config->locations[i], "  - ", "    ");
}
