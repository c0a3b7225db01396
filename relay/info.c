#include "relay/info.h"

#include "relay/position.h"
#include "relay/response.h"

#include <strings.h>

/* Media types of each format; the first is what we answer with. */
static const struct {
	enum info_format format;
	const char *type, *subtype;
} types[] = {
    {INFO_PLAIN, "text", "plain"},
    {INFO_JSON, "application", "json"},
    {INFO_JSON, "text", "json"},
    {INFO_XML, "application", "xml"},
    {INFO_XML, "text", "xml"},
    {INFO_YAML, "application", "yaml"},
    {INFO_YAML, "application", "x-yaml"},
    {INFO_YAML, "text", "yaml"},
    {INFO_YAML, "text", "x-yaml"},
};

struct range {
	const char *type, *subtype;
	size_t type_len, subtype_len;
	int q; /* thousandths */
};

static bool
is(const char *s, size_t len, const char *name)
{
	return strlen(name) == len && strncasecmp(s, name, len) == 0;
}

/* 2: this very type, 1: "text/…" of it, 0: anything, -1: not this one. */
static int
specificity(const struct range *r, const char *type, const char *subtype)
{
	if (is(r->type, r->type_len, "*"))
		return is(r->subtype, r->subtype_len, "*") ? 0 : -1;
	if (!is(r->type, r->type_len, type))
		return -1;
	if (is(r->subtype, r->subtype_len, "*"))
		return 1;
	return is(r->subtype, r->subtype_len, subtype) ? 2 : -1;
}

static const char *
skip_blanks(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	return p;
}

/* A weight such as "0.5", in thousandths; what is malformed counts as 1. */
static int
read_weight(const char *p, const char *end)
{
	int q, digit = 100;

	if (p == end || (*p != '0' && *p != '1'))
		return 1000;
	q = (*p++ - '0') * 1000;
	if (p < end && *p == '.')
		for (p++; p < end && *p >= '0' && *p <= '9'; p++, digit /= 10)
			q += (*p - '0') * digit;
	return q > 1000 ? 1000 : q;
}

/* Reads one element of the list, from p to end. False: it is no media range. */
static bool
read_range(const char *p, const char *end, struct range *r)
{
	const char *slash, *stop;

	p = skip_blanks(p, end);
	stop = memchr(p, ';', (size_t)(end - p));
	if (stop == NULL)
		stop = end;
	slash = memchr(p, '/', (size_t)(stop - p));
	if (slash == NULL)
		return false;
	r->type = p;
	r->type_len = (size_t)(slash - p);
	r->subtype = slash + 1;
	r->subtype_len = (size_t)(stop - slash) - 1;
	while (r->subtype_len > 0 &&
	       (r->subtype[r->subtype_len - 1] == ' ' || r->subtype[r->subtype_len - 1] == '\t'))
		r->subtype_len--;
	r->q = 1000;
	while (stop < end) {
		const char *param = skip_blanks(stop + 1, end);

		stop = memchr(param, ';', (size_t)(end - param));
		if (stop == NULL)
			stop = end;
		if (stop - param >= 2 && (param[0] | 0x20) == 'q' && param[1] == '=')
			r->q = read_weight(param + 2, stop);
	}
	return true;
}

enum info_format
info_negotiate(const char *accept, size_t len, enum info_format usual)
{
	enum info_format best = usual;
	int best_q = 0, best_specificity = -1;
	size_t best_order = 0, first = 0;

	if (accept == NULL)
		return usual;
	while (types[first].format != usual)
		first++;
	for (size_t n = 0; n < ARRAY_LEN(types); n++) {
		/* What is usual comes before the others where all are equal. */
		const size_t i = n == 0 ? first : n <= first ? n - 1 : n;
		const char *p = accept, *end = accept + len;
		int q = 0, found = -1;
		size_t order = 0, found_order = 0;

		/* The most specific range that fits decides on this type. */
		for (; p < end; order++) {
			const char *comma = memchr(p, ',', (size_t)(end - p));
			const char *stop = comma == NULL ? end : comma;
			struct range r;
			int s;

			if (read_range(p, stop, &r)) {
				s = specificity(&r, types[i].type, types[i].subtype);
				if (s > found) {
					found = s;
					q = r.q;
					found_order = order;
				}
			}
			p = comma == NULL ? end : comma + 1;
		}
		/* Of equal weight: who named a type meant it more than who named a
		 * wildcard; then the order of the header, then ours. */
		if (found < 0 || q == 0)
			continue;
		if (q > best_q ||
		    (q == best_q && (found > best_specificity ||
					(found == best_specificity && found_order < best_order)))) {
			best = types[i].format;
			best_q = q;
			best_specificity = found;
			best_order = found_order;
		}
	}
	return best;
}

const char *
info_content_type(enum info_format format)
{
	switch (format) {
	case INFO_JSON:
		return "application/json";
	case INFO_XML:
		return "application/xml";
	case INFO_YAML:
		return "application/yaml";
	case INFO_PLAIN:
		break;
	}
	return "text/plain; charset=utf-8";
}

/* before and after are string literals. */
#define ADD_COUNT(t, before, n, after) \
	do {                           \
		TEXT_LIT(t, before);   \
		response_number(t, n); \
		TEXT_LIT(t, after);    \
	} while (0)

void
info_write(struct text *t, enum info_format format, const struct store_info *info)
{
	const int64_t messages = (int64_t)info->messages, held = (int64_t)info->subscribers;
	char id[MSGID_TEXT_MAX];
	const size_t id_len = info->has_last ? msgid_format(info->last, id) : 0;

	switch (format) {
	case INFO_PLAIN:
		ADD_COUNT(t, "queued messages: ", messages, "\n");
		ADD_COUNT(t, "last requested: ", info->requested_s, " sec. ago\n");
		ADD_COUNT(t, "active subscribers: ", held, "\n");
		TEXT_LIT(t, "last message id: ");
		if (info->has_last)
			text_add(t, id, id_len);
		else
			TEXT_LIT(t, "none");
		TEXT_LIT(t, "\n");
		break;
	case INFO_JSON:
		ADD_COUNT(t, "{\"messages\": ", messages, "");
		ADD_COUNT(t, ", \"requested\": ", info->requested_s, "");
		ADD_COUNT(t, ", \"subscribers\": ", held, ", \"last_message_id\": ");
		if (info->has_last) {
			TEXT_LIT(t, "\"");
			text_add(t, id, id_len);
			TEXT_LIT(t, "\"");
		} else {
			TEXT_LIT(t, "null");
		}
		TEXT_LIT(t, "}\n");
		break;
	case INFO_XML:
		TEXT_LIT(t, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<channel>\n");
		ADD_COUNT(t, "  <messages>", messages, "</messages>\n");
		ADD_COUNT(t, "  <requested>", info->requested_s, "</requested>\n");
		ADD_COUNT(t, "  <subscribers>", held, "</subscribers>\n");
		TEXT_LIT(t, "  <last_message_id>");
		text_add(t, id, id_len);
		TEXT_LIT(t, "</last_message_id>\n</channel>\n");
		break;
	case INFO_YAML:
		ADD_COUNT(t, "---\nmessages: ", messages, "\n");
		ADD_COUNT(t, "requested: ", info->requested_s, "\n");
		ADD_COUNT(t, "subscribers: ", held, "\n");
		TEXT_LIT(t, "last_message_id: ");
		/* Quoted: two numbers with a colon are a number to base 60 in YAML 1.1. */
		if (info->has_last) {
			TEXT_LIT(t, "\"");
			text_add(t, id, id_len);
			TEXT_LIT(t, "\"\n");
		} else {
			TEXT_LIT(t, "null\n");
		}
		break;
	}
}
