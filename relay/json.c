#include "relay/json.h"

#include "relay/transport.h"
#include "store/message.h"

/* Length of the UTF-8 character at p, of at most len bytes (RFC 3629, 4); 0: it is none. */
static size_t
utf8_len(const unsigned char *p, size_t len)
{
	static const struct {
		unsigned char first, last;             /* of the first byte */
		unsigned char second_low, second_high; /* of the second */
		unsigned char n;
	} forms[] = {
	    {0xc2, 0xdf, 0x80, 0xbf, 2},
	    {0xe0, 0xe0, 0xa0, 0xbf, 3},
	    {0xe1, 0xec, 0x80, 0xbf, 3},
	    {0xed, 0xed, 0x80, 0x9f, 3},
	    {0xee, 0xef, 0x80, 0xbf, 3},
	    {0xf0, 0xf0, 0x90, 0xbf, 4},
	    {0xf1, 0xf3, 0x80, 0xbf, 4},
	    {0xf4, 0xf4, 0x80, 0x8f, 4},
	};

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		if (p[0] < forms[i].first || p[0] > forms[i].last)
			continue;
		if (len < forms[i].n || p[1] < forms[i].second_low || p[1] > forms[i].second_high)
			return 0;
		for (size_t k = 2; k < forms[i].n; k++)
			if (p[k] < 0x80 || p[k] > 0xbf)
				return 0;
		return forms[i].n;
	}
	return 0;
}

static void
add_escape(struct text *t, unsigned code)
{
	static const char hex[] = "0123456789abcdef";
	const char escape[6] = {'\\', 'u', hex[code >> 12 & 15], hex[code >> 8 & 15],
	    hex[code >> 4 & 15], hex[code & 15]};

	text_add(t, escape, sizeof(escape));
}

void
json_string(struct text *t, const char *p, size_t len)
{
	const unsigned char *u = (const unsigned char *)p;

	TEXT_LIT(t, "\"");
	for (size_t i = 0; i < len;) {
		size_t n = 1;

		if (u[i] == '"' || u[i] == '\\') {
			TEXT_LIT(t, "\\");
			text_add(t, p + i, 1);
		} else if (u[i] == '\n') {
			TEXT_LIT(t, "\\n");
		} else if (u[i] < 0x20 || u[i] == '<' || u[i] == 0x7f) {
			add_escape(t, u[i]);
		} else if (u[i] < 0x80) {
			text_add(t, p + i, 1);
		} else if ((n = utf8_len(u + i, len - i)) == 0) {
			add_escape(t, 0xfffd);
			n = 1;
		} else if (n == 2 && u[i] == 0xc2 && u[i + 1] < 0xa0) {
			add_escape(t, u[i + 1]);
		} else if (n == 3 && u[i] == 0xef && u[i + 1] == 0xbf && u[i + 2] >= 0xbe) {
			add_escape(t, 0xffc0u + (u[i + 2] & 0x3f));
		} else if (n == 3 && u[i] == 0xe2 && u[i + 1] == 0x80 && (u[i + 2] | 1) == 0xa9) {
			add_escape(t, 0x2000u + (u[i + 2] & 0x3f));
		} else {
			text_add(t, p + i, n);
		}
		i += n;
	}
	TEXT_LIT(t, "\"");
}

size_t
json_message_room(const struct message *msg, size_t len)
{
	return JSON_ROOM(len) + JSON_ROOM(msg->content_type_len) + 3 * msg->channel->key.len + 128;
}

void
json_message(
    struct text *t, const struct message *msg, const char *body, size_t len, bool say_channel)
{
	TEXT_LIT(t, "{\"id\": \"");
	transport_add_id(t, msg);
	if (say_channel) {
		TEXT_LIT(t, "\", \"channel\": \"");
		transport_add_channel(t, msg);
	}
	if (msg->has_content_type) {
		TEXT_LIT(t, "\", \"content_type\": ");
		json_string(t, message_content_type(msg), msg->content_type_len);
		TEXT_LIT(t, ", \"text\": ");
	} else {
		TEXT_LIT(t, "\", \"text\": ");
	}
	json_string(t, body, len);
	TEXT_LIT(t, "}");
}
