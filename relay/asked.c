#include "relay/asked.h"

#include "relay/location.h"
#include "relay/position.h"
#include "relay/request.h"

#include <string.h>

/* An id in a query may have its colon percent-encoded. */
static bool
parse_query_id(struct slice value, struct msgid *id)
{
	unsigned char decoded[3 * MSGID_TEXT_MAX];
	ptrdiff_t len;

	if (value.len > sizeof(decoded))
		return false;
	len = percent_decode(value.p, value.len, decoded);
	return len >= 0 && msgid_parse((const char *)decoded, (size_t)len, id);
}

/* ?last_event_id=, or ?lastEventId=, as event streams in place of a browser's own have it. */
static struct slice
read_query_id(const struct request *req)
{
	struct slice id = request_query_value(req, "last_event_id");

	return id.len > 0 ? id : request_query_value(req, "lastEventId");
}

/* If-None-Match; an empty tag, which curl --etag-compare sends while it has none, is absent. */
static struct slice
read_match(const struct request *req)
{
	struct slice match = request_header(req, HEADER_IF_NONE_MATCH);

	if (match.len == 2 && memcmp(match.p, "\"\"", 2) == 0)
		match.len = 0;
	return match;
}

/* Decimal digits alone. */
static bool
parse_number(struct slice value, int64_t max, int64_t *n)
{
	*n = 0;
	for (size_t i = 0; i < value.len; i++) {
		const char c = value.p[i];

		if (c < '0' || c > '9' || *n > (max - (c - '0')) / 10)
			return false;
		*n = *n * 10 + (c - '0');
	}
	return value.len > 0;
}

/*
 * Where a query starts that has no position: ?time=SECOND with or without &tag=TAG, else
 * ?backtrack=N, the last N messages.
 */
static enum asked
read_start(const struct request *req, struct msgid *id, struct store_start *start)
{
	struct slice time = request_query_value(req, "time");
	struct slice tag = request_query_value(req, "tag");
	struct slice backtrack = request_query_value(req, "backtrack");
	int64_t n;

	if (time.len > 0) {
		/* Year 9999, the last that a date can be written of. */
		if (!parse_number(time, INT64_C(253402300799), &id->second) ||
		    (tag.len > 0 && !parse_number(tag, MSGID_TAG_MAX, &id->tag)))
			return ASKED_MALFORMED;
		return tag.len > 0 ? ASKED_POSITION : ASKED_TIME;
	}
	if (backtrack.len == 0)
		return ASKED_NOTHING;
	if (!parse_number(backtrack, UINT32_MAX, &n))
		return ASKED_MALFORMED;
	*start = n == 0 ? (struct store_start){STORE_FROM_NEWEST, 0}
			: (struct store_start){STORE_FROM_LAST, (uint32_t)n};
	return ASKED_START;
}

/* As asked_of(), where there is also a query or a Last-Event-ID; since: the header says it. */
static NOINLINE enum asked
asked_also(const struct request *req, bool since, struct msgid *id, struct store_start *start)
{
	struct slice event = request_header(req, HEADER_LAST_EVENT_ID);
	struct slice query = read_query_id(req);
	struct msgid event_id, query_id, start_id = {0, -1};
	const enum asked asked = read_start(req, &start_id, start);

	if (asked == ASKED_MALFORMED ||
	    (event.len > 0 && !msgid_parse(event.p, event.len, &event_id)) ||
	    (query.len > 0 && !parse_query_id(query, &query_id)))
		return ASKED_MALFORMED;
	if (since)
		return ASKED_POSITION;
	if (event.len > 0)
		*id = event_id;
	else if (query.len > 0)
		*id = query_id;
	else {
		*id = start_id;
		return asked;
	}
	return ASKED_POSITION;
}

enum asked
asked_of(const struct request *req, struct msgid *id, struct store_start *start)
{
	struct slice since = request_header(req, HEADER_IF_MODIFIED_SINCE);
	struct slice match = read_match(req);

	*id = (struct msgid){0, -1};
	if (request_header_twice(req, HEADER_IF_MODIFIED_SINCE) ||
	    request_header_twice(req, HEADER_IF_NONE_MATCH) ||
	    request_header_twice(req, HEADER_LAST_EVENT_ID) ||
	    (since.len > 0 && !http_date_parse(since.p, since.len, &id->second)) ||
	    (match.len > 0 && !etag_parse(match.p, match.len, &id->tag)))
		return ASKED_MALFORMED;
	if (request_query(req).len > 0 || request_header(req, HEADER_LAST_EVENT_ID).p != NULL)
		return asked_also(req, since.len > 0, id, start);
	return since.len > 0 ? ASKED_POSITION : ASKED_NOTHING;
}
