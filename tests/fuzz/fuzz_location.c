/*
 * Location matching: location_match() of relay/location.c over several patterns.
 *
 * Promises: the first location in the order of the file that matches the whole path is the
 * one, as told by a matcher written out by hand for each pattern; the id is what its group
 * holds, decoded, never empty, never over limits.id_length; and a pattern that takes too
 * long is given up, counted, and the rest still tried.
 */
#include "fuzz.h"

#include "base/log.h"
#include "relay/config.h"
#include "relay/location.h"

#include <ctype.h>
#include <stdbool.h>
#include <strings.h>

static const char text[] = "limits: {id_length: 12}\n"
			   "locations:\n"
			   "  - {type: subscriber, url: '/updates/([^/]+)'}\n"
			   "  - {type: publisher, prefix: /send/}\n"
			   "  - {type: subscriber, url: '/a|/b/(.+)'}\n"
			   "  - {type: subscriber, url: '/n/(\\d*)/?'}\n"
			   "  - {type: subscriber, url: '(?i)/case/(x.?)y'}\n"
			   "  - {type: subscriber, url: '/slow/((?:a+)+)b'}\n"
			   "  - {type: subscriber, url: '/end/([^?]+)$'}\n"
			   "  - {type: publisher, prefix: /updates}\n";

static struct config *config;
static struct pcre2_real_match_data_8 *match_data;

struct span {
	const char *p;
	size_t len;
};

static bool
begins(struct span s, const char *with)
{
	return s.len >= strlen(with) && memcmp(s.p, with, strlen(with)) == 0;
}

static struct span
behind(struct span s, size_t n)
{
	return (struct span){s.p + n, s.len - n};
}

static bool
by_updates(struct span s, struct span *id)
{
	if (!begins(s, "/updates/"))
		return false;
	*id = behind(s, 9);
	return id->len > 0 && memchr(id->p, '/', id->len) == NULL;
}

static bool
by_prefix(struct span s, const char *prefix, struct span *id)
{
	if (!begins(s, prefix))
		return false;
	*id = behind(s, strlen(prefix));
	return id->len > 0;
}

/* '.' is every byte but a newline. */
static bool
by_b(struct span s, struct span *id)
{
	if (!begins(s, "/b/"))
		return false;
	*id = behind(s, 3);
	return id->len > 0 && memchr(id->p, '\n', id->len) == NULL;
}

static bool
by_number(struct span s, struct span *id)
{
	if (!begins(s, "/n/"))
		return false;
	*id = behind(s, 3);
	if (id->len > 0 && id->p[id->len - 1] == '/')
		id->len--;
	for (size_t i = 0; i < id->len; i++)
		if (id->p[i] < '0' || id->p[i] > '9')
			return false;
	return id->len > 0;
}

static bool
by_case(struct span s, struct span *id)
{
	if (s.len < 8 || s.len > 9 || strncasecmp(s.p, "/case/x", 7) != 0)
		return false;
	if ((s.p[s.len - 1] | 0x20) != 'y' || (s.len == 9 && s.p[7] == '\n'))
		return false;
	*id = (struct span){s.p + 6, s.len - 7};
	return true;
}

static bool
by_slow(struct span s, struct span *id)
{
	if (!begins(s, "/slow/") || s.len < 8 || s.p[s.len - 1] != 'b')
		return false;
	*id = (struct span){s.p + 6, s.len - 7};
	for (size_t i = 0; i < id->len; i++)
		if (id->p[i] != 'a')
			return false;
	return true;
}

static bool
by_end(struct span s, struct span *id)
{
	if (!begins(s, "/end/"))
		return false;
	*id = behind(s, 5);
	return id->len > 0 && memchr(id->p, '?', id->len) == NULL;
}

/* The location's index, or -1. */
static int
find_slowly(struct span s, struct span *id)
{
	return by_updates(s, id)              ? 0
	       : by_prefix(s, "/send/", id)   ? 1
	       : by_b(s, id)                  ? 2
	       : by_number(s, id)             ? 3
	       : by_case(s, id)               ? 4
	       : by_slow(s, id)               ? 5
	       : by_end(s, id)                ? 6
	       : by_prefix(s, "/updates", id) ? 7
					      : -1;
}

static int
hex(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

static enum location_answer
decode_slowly(struct span in, unsigned char *out, size_t *len)
{
	*len = 0;
	for (size_t i = 0; i < in.len; i++) {
		if (in.p[i] == '%') {
			if (in.len - i < 3 || !isxdigit((unsigned char)in.p[i + 1]) ||
			    !isxdigit((unsigned char)in.p[i + 2]))
				return LOCATION_BAD_ENCODING;
			out[*len] = (unsigned char)(hex(in.p[i + 1]) * 16 + hex(in.p[i + 2]));
			i += 2;
		} else {
			out[*len] = (unsigned char)in.p[i];
		}
		/* One that is broken behind the limit may be called too long. */
		if (++*len > config->limits.id_length)
			return LOCATION_ID_TOO_LONG;
	}
	return LOCATION_FOUND;
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char error[CONFIG_ERROR_SIZE];

	(void)argc;
	(void)argv;
	log_set_level(LOG_LEVEL_ERROR);
	config = config_load_string(text, strlen(text), "text", error);
	PROMISE(config != NULL, "%s", error);
	match_data = location_match_new();
	PROMISE(match_data != NULL, "out of memory");
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct location_ids ids;
	static unsigned char slow_id[LOCATION_ID_MAX];
	struct span path, group;
	const struct location *loc = NULL;
	enum location_answer answer, right;
	size_t slow_len = 0;
	unsigned long given_up;
	int index;

	if (size == 0 || size > 4000)
		return 0;
	if (ids.buf == NULL)
		ids.buf = malloc(location_ids_room(config));
	path = (struct span){fuzz_copy(data, size), size};
	given_up = config->locations[5].given_up;
	answer = location_match(config, match_data, path.p, path.len, NULL, 0, &loc, &ids);
	index = find_slowly(path, &group);
	right = index < 0 ? LOCATION_NONE : decode_slowly(group, slow_id, &slow_len);
	/* Only the one that is made to be slow may be, and only on what it does not match:
	 * then the next ones decide, which none of its paths reaches. */
	for (size_t i = 0; i < config->n_locations; i++)
		PROMISE(
		    i == 5 || config->locations[i].given_up == 0, "locations[%zu] was given up", i);
	if (config->locations[5].given_up == given_up || index != 5) {
		PROMISE(answer == right, "\"%.*s\": answer %d, not %d", (int)size, path.p, answer,
		    right);
		PROMISE(index < 0 || (loc != NULL && loc->index == (unsigned)index),
		    "\"%.*s\": not locations[%d]", (int)size, path.p, index);
	}
	if (answer == LOCATION_FOUND)
		PROMISE(ids.n == 1 && ids.ids[0].len == slow_len &&
			    memcmp(ids.ids[0].bytes, slow_id, slow_len) == 0,
		    "\"%.*s\": another id of %zu bytes, not %zu", (int)size, path.p, ids.ids[0].len,
		    slow_len);
	free((char *)path.p);
	return 0;
}
