#include "relay/template.h"

#include "relay/position.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum token {
	TOKEN_NONE, /* text that stays */
	TOKEN_ID,
	TOKEN_CHANNEL,
	TOKEN_TEXT,
	TOKEN_TAG,
	TOKEN_TIME,
	TOKEN_SIZE,
	TOKEN_EVENT_ID,
	TOKEN_EVENT_TYPE,
};

static const struct {
	const char *name;
	enum token token;
} names[] = {
    {"~id~", TOKEN_ID},
    {"~channel~", TOKEN_CHANNEL},
    {"~text~", TOKEN_TEXT},
    {"~tag~", TOKEN_TAG},
    {"~time~", TOKEN_TIME},
    {"~size~", TOKEN_SIZE},
    {"~event-id~", TOKEN_EVENT_ID},
    {"~event-type~", TOKEN_EVENT_TYPE},
};

/* The text from behind the part before, and then a token. */
struct part {
	const char *text;
	size_t len;
	enum token token; /* NONE: the last part */
};

struct template
{
	unsigned n_parts;
	struct part parts[TEMPLATE_TOKENS_MAX + 1];
	char source[];
};

/* The token that text begins with, and its length. */
static enum token
token_at(const char *text, size_t *len)
{
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		*len = strlen(names[i].name);
		if (strncmp(text, names[i].name, *len) == 0)
			return names[i].token;
	}
	return TOKEN_NONE;
}

struct template *
template_new(const char *text, const char **problem)
{
	size_t size = strlen(text) + 1, token_len;
	struct template *t = calloc(1, sizeof(*t) + size);
	const char *start, *p;

	*problem = NULL;
	if (t == NULL)
		return NULL;
	memcpy(t->source, text, size);
	start = p = t->source;
	while ((p = strchr(p, '~')) != NULL) {
		enum token token = token_at(p, &token_len);

		/* The tilde that ends an unknown word may begin a known one. */
		if (token == TOKEN_NONE) {
			p++;
			continue;
		}
		if (t->n_parts == TEMPLATE_TOKENS_MAX) {
			*problem = "has more than 64 tokens such as ~text~";
			free(t);
			return NULL;
		}
		t->parts[t->n_parts++] = (struct part){start, (size_t)(p - start), token};
		start = p += token_len;
	}
	t->parts[t->n_parts++] = (struct part){start, strlen(start), TOKEN_NONE};
	return t;
}

void
template_free(struct template *t)
{
	free(t);
}

const char *
template_source(const struct template *t)
{
	return t->source;
}

/* What stands for a token: borrowed from values, or written to scratch. */
static struct message_part
value_of(enum token token, const struct template_values *v, char scratch[HTTP_DATE_LEN])
{
	switch (token) {
	case TOKEN_NONE:
		break;
	case TOKEN_ID:
		return (struct message_part){scratch, number_format((int64_t)v->number, scratch)};
	case TOKEN_CHANNEL:
		return v->channel;
	case TOKEN_TEXT:
		return v->text;
	case TOKEN_TAG:
		return (struct message_part){scratch, number_format(v->id.tag, scratch)};
	case TOKEN_TIME:
		http_date_format(v->id.second, scratch);
		return (struct message_part){scratch, HTTP_DATE_LEN};
	case TOKEN_SIZE:
		return (struct message_part){scratch, number_format((int64_t)v->text.len, scratch)};
	case TOKEN_EVENT_ID:
		return v->event_id;
	case TOKEN_EVENT_TYPE:
		return v->event_type;
	}
	return (struct message_part){"", 0};
}

size_t
template_length(const struct template *t, const struct template_values *values)
{
	char scratch[HTTP_DATE_LEN];
	size_t len = 0;

	for (unsigned i = 0; i < t->n_parts; i++)
		len += t->parts[i].len + value_of(t->parts[i].token, values, scratch).len;
	return len;
}

void
template_write(const struct template *t, const struct template_values *values, struct text *out)
{
	char scratch[HTTP_DATE_LEN];

	for (unsigned i = 0; i < t->n_parts; i++) {
		struct message_part value = value_of(t->parts[i].token, values, scratch);

		text_add(out, t->parts[i].text, t->parts[i].len);
		text_add(out, value.p, value.len);
	}
}
