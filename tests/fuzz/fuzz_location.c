/*
 * Location matching: location_match() of relay/location.c over several patterns.
 *
 * Promises: the first location in the order of the file that matches the whole path is the
 * one, as told by a matcher written out by hand for each pattern; the ids are what its
 * groups or the query's parameters hold, cut, decoded, each once, never empty, never over
 * limits.id_length and no more than max_channels; and a pattern that takes too long is
 * given up, counted, and the rest still tried.
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
			   "  - {type: publisher, prefix: /updates}\n"
			   "  - {type: subscriber, url: '/g/(\\w+)?/(?:(\\w*)/)?(=([^=]*))',"
			   " max_channels: 3}\n"
			   "  - {type: subscriber, prefix: /s/, split: ',', max_channels: 3}\n"
			   "  - {type: statistics, url: '/t/?([^/]*)', split: ','}\n"
			   "  - {type: subscriber, prefix: /q, channel_argument: c, split: /}\n"
			   "  - {type: publisher, url: '/q/?', channel_argument: c}\n"
			   "  - {type: statistics, prefix: /z, channel_argument: c}\n"
			   "  - {type: publisher, prefix: /s}\n";

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

/* What is to be cut and decoded; of a whole query, at most a parameter every other byte. */
struct raws {
	size_t n;
	struct span spans[2048];
};

static void
raws_add(struct raws *raws, const char *p, size_t len)
{
	raws->spans[raws->n++] = (struct span){p, len};
}

static size_t
word_length(struct span s)
{
	size_t n = 0;

	while (n < s.len && (isalnum((unsigned char)s.p[n]) || s.p[n] == '_'))
		n++;
	return n;
}

static bool
by_groups(struct span s, struct raws *raws)
{
	size_t n;

	if (!begins(s, "/g/"))
		return false;
	s = behind(s, 3);
	n = word_length(s);
	raws_add(raws, s.p, n);
	s = behind(s, n);
	if (!begins(s, "/"))
		return false;
	s = behind(s, 1);
	n = word_length(s);
	if (n < s.len && s.p[n] == '/') {
		raws_add(raws, s.p, n);
		s = behind(s, n + 1);
	}
	if (!begins(s, "="))
		return false;
	raws_add(raws, s.p, s.len);
	raws_add(raws, s.p + 1, s.len - 1);
	return memchr(s.p + 1, '=', s.len - 1) == NULL;
}

static bool
by_statistics(struct span s, struct raws *raws)
{
	if (!begins(s, "/t"))
		return false;
	s = behind(s, begins(s, "/t/") ? 3 : 2);
	raws_add(raws, s.p, s.len);
	return s.len == 0 || memchr(s.p, '/', s.len) == NULL;
}

/* The values of c, byte by byte. */
static void
by_query(struct span q, struct raws *raws)
{
	size_t start = 0;

	for (size_t i = 0; i <= q.len; i++) {
		if (i < q.len && q.p[i] != '&')
			continue;
		if (i - start > 2 && q.p[start] == 'c' && q.p[start + 1] == '=')
			raws_add(raws, q.p + start + 2, i - start - 2);
		start = i + 1;
	}
}

static bool
is(struct span s, const char *path)
{
	return s.len == strlen(path) && begins(s, path);
}

/* Whether the path matches locations[i], and then what its ids are made of. */
static bool
matches_slowly(int i, struct span path, struct span query, struct raws *raws)
{
	struct span id = {NULL, 0};
	bool matches;

	raws->n = 0;
	switch (i) {
	case 0:
		matches = by_updates(path, &id);
		break;
	case 1:
		matches = by_prefix(path, "/send/", &id);
		break;
	case 2:
		matches = by_b(path, &id);
		break;
	case 3:
		matches = by_number(path, &id);
		break;
	case 4:
		matches = by_case(path, &id);
		break;
	case 5:
		matches = by_slow(path, &id);
		break;
	case 6:
		matches = by_end(path, &id);
		break;
	case 7:
		matches = by_prefix(path, "/updates", &id);
		break;
	case 8:
		return by_groups(path, raws);
	case 9:
		matches = by_prefix(path, "/s/", &id);
		break;
	case 10:
		return by_statistics(path, raws);
	case 11:
		by_query(query, raws);
		return is(path, "/q");
	case 12:
		by_query(query, raws);
		return is(path, "/q") || is(path, "/q/");
	case 13:
		by_query(query, raws);
		return is(path, "/z");
	default:
		matches = by_prefix(path, "/s", &id);
	}
	if (matches)
		raws_add(raws, id.p, id.len);
	return matches;
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

/* The ids as they are meant to be found. */
struct slow_ids {
	size_t n;
	struct {
		unsigned char bytes[16];
		size_t len;
	} ids[LOCATION_CHANNELS_MAX];
};

static enum location_answer
add_slowly(struct slow_ids *ids, struct span piece, size_t max)
{
	unsigned char bytes[LOCATION_ID_MAX];
	size_t len;
	enum location_answer answer = decode_slowly(piece, bytes, &len);

	if (answer != LOCATION_FOUND)
		return answer;
	for (size_t i = 0; i < ids->n; i++)
		if (ids->ids[i].len == len && memcmp(ids->ids[i].bytes, bytes, len) == 0)
			return LOCATION_FOUND;
	if (ids->n == max)
		return LOCATION_TOO_MANY;
	memcpy(ids->ids[ids->n].bytes, bytes, len);
	ids->ids[ids->n++].len = len;
	return LOCATION_FOUND;
}

static enum location_answer
gather_slowly(int index, const struct raws *raws, struct slow_ids *ids)
{
	static const size_t max[] = {255, 1, 255, 255, 255, 255, 255, 1, 3, 3, 255, 255, 1, 255, 1};
	static const char splits[15] = {[9] = ',', [10] = ',', [11] = '/'};
	const char split = splits[index];
	enum location_answer answer = LOCATION_FOUND;
	size_t pieces = 0;

	ids->n = 0;
	for (size_t i = 0; i < raws->n; i++) {
		struct span raw = raws->spans[i];
		size_t start = 0;

		for (size_t at = 0; at <= raw.len; at++) {
			if (at < raw.len && (split == 0 || raw.p[at] != split))
				continue;
			if (at > start) {
				if (++pieces > 1024)
					return LOCATION_TOO_MANY;
				answer = add_slowly(
				    ids, (struct span){raw.p + start, at - start}, max[index]);
				if (answer != LOCATION_FOUND)
					return answer;
			}
			start = at + 1;
		}
	}
	return answer;
}

/* The location's index, or -1; *answer is what is said of its ids. */
static int
find_slowly(struct span path, struct span query, struct slow_ids *ids, enum location_answer *answer)
{
	static struct raws raws;

	for (int i = 0; i < 15; i++) {
		bool statistics = i == 10 || i == 13, by_argument = i >= 11 && i <= 13;

		if (!matches_slowly(i, path, query, &raws))
			continue;
		*answer = gather_slowly(i, &raws, ids);
		if (*answer != LOCATION_FOUND || ids->n > 0 || statistics)
			return i;
		if (by_argument) {
			*answer = LOCATION_NO_ID;
			return i;
		}
	}
	*answer = LOCATION_NONE;
	return -1;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct location_ids ids;
	static struct slow_ids slow;
	const struct location *loc = NULL;
	enum location_answer answer, right;
	struct span path, query = {NULL, 0};
	const uint8_t *mark;
	unsigned long given_up;
	int index;

	if (size == 0 || size > 4000)
		return 0;
	if (ids.buf == NULL)
		ids.buf = malloc(location_ids_room(config));
	/* As a request's target is cut. */
	mark = memchr(data, '?', size);
	path.len = mark != NULL ? (size_t)(mark - data) : size;
	path.p = fuzz_copy(data, path.len);
	if (mark != NULL) {
		query.len = size - path.len - 1;
		query.p = fuzz_copy(mark + 1, query.len);
	}
	given_up = config->locations[5].given_up;
	answer =
	    location_match(config, match_data, path.p, path.len, query.p, query.len, &loc, &ids);
	index = find_slowly(path, query, &slow, &right);
	/* Only the one that is made to be slow may be, and only on what it does not match:
	 * then the next ones decide, which none of its paths reaches. */
	for (size_t i = 0; i < config->n_locations; i++)
		PROMISE(
		    i == 5 || config->locations[i].given_up == 0, "locations[%zu] was given up", i);
	if (config->locations[5].given_up == given_up || index != 5) {
		PROMISE(answer == right, "\"%.*s\": answer %d, not %d", (int)size,
		    (const char *)data, answer, right);
		PROMISE(index < 0 || (loc != NULL && loc->index == (unsigned)index),
		    "\"%.*s\": not locations[%d]", (int)size, (const char *)data, index);
	}
	if (answer == LOCATION_FOUND) {
		PROMISE(ids.n == slow.n, "\"%.*s\": %u ids, not %zu", (int)size, (const char *)data,
		    ids.n, slow.n);
		for (unsigned i = 0; i < ids.n; i++)
			PROMISE(
			    ids.ids[i].len == slow.ids[i].len && ids.ids[i].len > 0 &&
				memcmp(ids.ids[i].bytes, slow.ids[i].bytes, ids.ids[i].len) == 0,
			    "\"%.*s\": another id %u", (int)size, (const char *)data, i);
	}
	free((char *)path.p);
	free((char *)query.p);
	return 0;
}
