#include "relay/tally.h"

#include "relay/json.h"
#include "relay/location.h"
#include "relay/position.h"
#include "relay/response.h"
#include "relay/utf8.h"

#include <string.h>
#include <time.h>

/* ---- what each format is made of ---- */

static void
indent(struct tally *y)
{
	for (unsigned i = 0; i < y->depth; i++)
		TEXT_LIT(&y->t, "  ");
}

static void
tag(struct tally *y, const char *before, const char *name, const char *after)
{
	text_str(&y->t, before);
	text_str(&y->t, name);
	text_str(&y->t, after);
}

/* How many bytes at p, which begins a character, are one that XML cannot hold. */
static size_t
not_xml(const char *p, size_t len)
{
	if ((unsigned char)p[0] < ' ')
		return p[0] != '\t' && p[0] != '\n' && p[0] != '\r';
	/* U+FFFE and U+FFFF */
	return len >= 3 && memcmp(p, "\xef\xbf", 2) == 0 && (p[2] & 0x3e) == 0x3e ? 3 : 0;
}

/* What XML cannot hold, not even as a reference, becomes U+FFFD (XML 1.0, 2.2). */
static void
xml_text(struct text *t, const char *p, size_t len)
{
	static const char replacement[] = "\xef\xbf\xbd";
	size_t valid = utf8_prefix(p, len, len), n;

	for (; len > 0; p += n, len -= n, valid = valid > n ? valid - n : 0) {
		if (valid == 0)
			valid = utf8_prefix(p, len, len);
		n = valid == 0 ? 1 : not_xml(p, valid);
		if (n > 0) {
			text_str(t, replacement);
			continue;
		}
		n = 1;
		if (*p == '&')
			TEXT_LIT(t, "&amp;");
		else if (*p == '<')
			TEXT_LIT(t, "&lt;");
		else if (*p == '>')
			TEXT_LIT(t, "&gt;");
		else if (*p == '\r') /* which alone would be read as a newline */
			TEXT_LIT(t, "&#13;");
		else
			text_add(t, p, 1);
	}
}

static void
document_begin(struct tally *y, const char *root)
{
	switch (y->format) {
	case INFO_PLAIN:
		break;
	case INFO_JSON:
		TEXT_LIT(&y->t, "{");
		break;
	case INFO_XML:
		tag(y, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<", root, ">\n");
		y->depth = 1;
		break;
	case INFO_YAML:
		TEXT_LIT(&y->t, "---\n");
		break;
	}
}

static void
document_end(struct tally *y, const char *root)
{
	if (y->format == INFO_JSON)
		TEXT_LIT(&y->t, "}\n");
	else if (y->format == INFO_XML)
		tag(y, "</", root, ">\n");
}

static void
field_begin(struct tally *y, const char *name)
{
	if (y->format == INFO_JSON) {
		tag(y, y->began ? ", \"" : "\"", name, "\": ");
	} else {
		indent(y);
		if (y->format == INFO_XML)
			tag(y, "<", name, ">");
		else
			tag(y, "", name, ": ");
	}
	y->began = true;
}

static void
field_end(struct tally *y, const char *name)
{
	if (y->format == INFO_XML)
		tag(y, "</", name, ">\n");
	else if (y->format != INFO_JSON)
		TEXT_LIT(&y->t, "\n");
}

/* Counters that go beyond are not read by everyone, nor reached. */
static void
count(struct tally *y, const char *name, uint64_t n)
{
	field_begin(y, name);
	response_number(&y->t, n > INT64_MAX ? INT64_MAX : (int64_t)n);
	field_end(y, name);
}

/* A word of ours: nothing in it needs an escape. */
static void
word(struct tally *y, const char *name, const char *p, size_t len)
{
	/* In YAML too: a time, or digits, would be read as what they look like. */
	const bool quoted = y->format == INFO_JSON || y->format == INFO_YAML;

	field_begin(y, name);
	if (quoted)
		TEXT_LIT(&y->t, "\"");
	text_add(&y->t, p, len);
	if (quoted)
		TEXT_LIT(&y->t, "\"");
	field_end(y, name);
}

/* Any bytes. */
static void
bytes(struct tally *y, const char *name, const char *p, size_t len)
{
	field_begin(y, name);
	switch (y->format) {
	case INFO_PLAIN:
		/* As other answers name a channel: one line, whatever is in it. */
		percent_encode(&y->t, p, len);
		break;
	case INFO_JSON:
	case INFO_YAML: /* whose strings in double quotes JSON's are */
		json_string(&y->t, p, len);
		break;
	case INFO_XML:
		xml_text(&y->t, p, len);
		break;
	}
	field_end(y, name);
}

static void
items_begin(struct tally *y, const char *name)
{
	switch (y->format) {
	case INFO_PLAIN:
		tag(y, "", name, ":\n");
		break;
	case INFO_JSON:
		tag(y, ", \"", name, "\": [");
		break;
	case INFO_XML:
		indent(y);
		tag(y, "<", name, ">\n");
		break;
	case INFO_YAML:
		tag(y, "", name, ":");
		break;
	}
	y->depth++;
	y->began = false;
}

static void
item_begin(struct tally *y, const char *name)
{
	switch (y->format) {
	case INFO_PLAIN:
		TEXT_LIT(&y->t, "\n");
		break;
	case INFO_JSON:
		text_str(&y->t, y->began ? ",\n{" : "\n{");
		break;
	case INFO_XML:
		indent(y);
		tag(y, "<", name, ">\n");
		break;
	case INFO_YAML:
		text_str(&y->t, y->began ? "  -\n" : "\n  -\n");
		break;
	}
	y->depth++;
	y->began = false;
}

static void
item_end(struct tally *y, const char *name)
{
	y->depth--;
	y->began = true;
	if (y->format == INFO_JSON) {
		TEXT_LIT(&y->t, "}");
	} else if (y->format == INFO_XML) {
		indent(y);
		tag(y, "</", name, ">\n");
	}
}

static void
items_end(struct tally *y, const char *name)
{
	y->depth--;
	switch (y->format) {
	case INFO_PLAIN:
		TEXT_LIT(&y->t, "\n");
		break;
	case INFO_JSON:
		text_str(&y->t, y->began ? "\n]" : "]");
		break;
	case INFO_XML:
		indent(y);
		tag(y, "</", name, ">\n");
		break;
	case INFO_YAML:
		text_str(&y->t, y->began ? "" : " []\n");
		break;
	}
	y->began = true;
}

/* ---- what is told ---- */

static void
channel_fields(struct tally *y, const struct store_listed *channel)
{
	const struct channel_key *key = &channel->id->key;

	bytes(y, y->format == INFO_XML ? "name" : "channel", (const char *)key->bytes, key->len);
	count(y, "published_messages", channel->published);
	count(y, "stored_messages", channel->stored);
	count(y, "subscribers", channel->subscribers);
}

static void
head_fields(struct tally *y, const struct tally_head *head)
{
	const time_t now = (time_t)head->now_s;
	char text[sizeof("2026-11-21T04:25:00Z") + 16]; /* for a year of more digits */
	struct tm tm;

	bytes(y, "hostname", head->hostname, strlen(head->hostname));
	word(y, "time", text,
	    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm)));
	count(y, "channels", head->channels);
	count(y, "wildcard_channels", 0);
}

void
tally_channel(struct tally *y, const struct store_listed *channel)
{
	document_begin(y, "channel");
	channel_fields(y, channel);
	document_end(y, "channel");
}

void
tally_list_begin(struct tally *y, const struct tally_head *head)
{
	document_begin(y, "root");
	head_fields(y, head);
	count(y, "uptime", head->uptime_s);
	items_begin(y, "infos");
}

void
tally_list_channel(struct tally *y, const struct store_listed *channel)
{
	item_begin(y, "channel");
	channel_fields(y, channel);
	item_end(y, "channel");
}

void
tally_list_end(struct tally *y, bool truncated)
{
	items_end(y, "infos");
	field_begin(y, "truncated");
	text_str(&y->t, truncated ? "true" : "false");
	field_end(y, "truncated");
	document_end(y, "root");
}

void
tally_summary(struct tally *y, const struct tally_head *head, const struct tally_summary *summary)
{
	document_begin(y, "infos");
	head_fields(y, head);
	count(y, "published_messages", summary->published);
	count(y, "stored_messages", summary->stored);
	/* What push-stream has put aside before it frees it; here it is freed at once. */
	count(y, "messages_in_trash", 0);
	count(y, "channels_in_delete", 0);
	count(y, "channels_in_trash", 0);
	count(y, "subscribers", summary->subscribers);
	count(y, "uptime", head->uptime_s);
	count(y, "memory", summary->memory);
	count(y, "slow_gaps", summary->slow_gaps);
	count(y, "slow_closes", summary->slow_closes);
	items_begin(y, "by_worker");
	for (unsigned i = 0; i < summary->n_workers; i++) {
		const struct tally_worker *w = &summary->workers[i];
		char pid[NUMBER_TEXT_MAX];

		item_begin(y, "worker");
		word(y, "pid", pid, number_format(w->pid, pid));
		count(y, "subscribers", w->subscribers);
		count(y, "uptime", head->uptime_s); /* they all began with the relay */
		item_end(y, "worker");
	}
	items_end(y, "by_worker");
	document_end(y, "infos");
}
