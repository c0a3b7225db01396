/*
 * Templates: relay/template.c.
 *
 * The input is a template, a NUL, and what stands for ~text~ and for the other values.
 * Promises: the result is that of a slower reader, which looks at each tilde in turn; its
 * length is the one that was measured; values are not looked at again; and a template is
 * refused for too many tokens alone.
 */
#include "fuzz.h"

#include "relay/position.h"
#include "relay/template.h"

struct result {
	char *p;
	size_t len;
	unsigned tokens;
};

static void
add(struct result *r, const char *p, size_t len)
{
	r->p = realloc(r->p, r->len + len + 1);
	if (r->p == NULL)
		abort();
	if (len > 0)
		memcpy(r->p + r->len, p, len);
	r->len += len;
}

/* What the word between two tildes stands for; false if it is none. */
static int
add_word(struct result *r, const char *word, size_t len, const struct template_values *v)
{
	char scratch[64], name[16] = "";

	if (len >= sizeof(name))
		return 0;
	memcpy(name, word, len);
	if (strcmp(name, "id") == 0)
		add(r, scratch, (size_t)sprintf(scratch, "%llu", (unsigned long long)v->number));
	else if (strcmp(name, "channel") == 0)
		add(r, v->channel.p, v->channel.len);
	else if (strcmp(name, "text") == 0)
		add(r, v->text.p, v->text.len);
	else if (strcmp(name, "tag") == 0)
		add(r, scratch, (size_t)sprintf(scratch, "%lld", (long long)v->id.tag));
	else if (strcmp(name, "size") == 0)
		add(r, scratch, (size_t)sprintf(scratch, "%zu", v->text.len));
	else if (strcmp(name, "event-id") == 0)
		add(r, v->event_id.p, v->event_id.len);
	else if (strcmp(name, "event-type") == 0)
		add(r, v->event_type.p, v->event_type.len);
	else if (strcmp(name, "time") == 0) {
		http_date_format(v->id.second, scratch);
		add(r, scratch, HTTP_DATE_LEN);
	} else
		return 0;
	r->tokens++;
	return 1;
}

static void
replace_slowly(struct result *r, const char *text, const struct template_values *v)
{
	for (const char *p = text; *p != '\0';) {
		const char *end = *p == '~' ? strchr(p + 1, '~') : NULL;

		if (end != NULL && add_word(r, p + 1, (size_t)(end - p - 1), v)) {
			p = end + 1;
		} else {
			add(r, p, 1);
			p++;
		}
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct template_values values = {.number = size, .id = {(int64_t)size * 86399, 7}};
	const uint8_t *nul = memchr(data, '\0', size);
	size_t len = nul != NULL ? (size_t)(nul - data) : size, rest, expected;
	struct result slow = {NULL, 0, 0};
	const char *problem;
	struct template *t;
	struct text out;
	char *text, *body, *buf;

	if (size > 4000)
		return 0;
	text = malloc(len + 1);
	if (text == NULL)
		abort();
	if (len > 0)
		memcpy(text, data, len);
	text[len] = '\0';
	rest = nul != NULL ? size - len - 1 : 0;
	body = fuzz_copy(nul != NULL ? nul + 1 : data, rest);
	values.text = (struct message_part){body, rest};
	values.channel = (struct message_part){body, rest / 2};
	values.event_id = (struct message_part){body, rest / 3};
	values.event_type = (struct message_part){body + rest / 2, rest - rest / 2};

	add(&slow, "", 0);
	replace_slowly(&slow, text, &values);
	t = template_new(text, &problem);
	PROMISE((t == NULL) == (slow.tokens > TEMPLATE_TOKENS_MAX), "%u tokens: %s", slow.tokens,
	    t == NULL ? problem : "read");
	if (t != NULL) {
		PROMISE(strcmp(template_source(t), text) == 0, "the source is another");
		expected = template_length(t, &values);
		buf = malloc(expected + 1);
		if (buf == NULL)
			abort();
		out = text_in(buf, expected);
		template_write(t, &values, &out);
		PROMISE(text_ok(&out) && text_len(&out) == expected, "%zu bytes, not %zu",
		    text_len(&out), expected);
		PROMISE(expected == slow.len && memcmp(buf, slow.p, expected) == 0,
		    "\"%.*s\", not \"%.*s\"", (int)expected, buf, (int)slow.len, slow.p);
		free(buf);
	}
	template_free(t);
	free(slow.p);
	free(text);
	free(body);
	return 0;
}
