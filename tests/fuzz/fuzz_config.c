/*
 * The configuration loader: relay/config.c.
 *
 * Promises: any bytes are either loaded or refused with one line without control
 * characters; what was loaded can be dumped, the dump loads as the same, and dumping
 * that gives the same text again.
 */
#include "fuzz.h"

#include "base/log.h"
#include "relay/config.h"
#include "relay/template.h"

static char *
dump(const struct config *config, size_t *len)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, len);

	if (out == NULL)
		abort();
	config_dump(config, out);
	if (fclose(out) != 0)
		abort();
	return text;
}

static void
check_error(const char *error)
{
	size_t len = strnlen(error, CONFIG_ERROR_SIZE);

	PROMISE(len > 0 && len < CONFIG_ERROR_SIZE, "an error of %zu bytes", len);
	PROMISE(strncmp(error, "name:", 5) == 0, "%s", error);
	for (size_t i = 0; i < len; i++)
		PROMISE((unsigned char)error[i] >= ' ' && error[i] != 0x7f, "byte %d in: %s",
		    error[i], error);
}

#define SAME(field) PROMISE(a->field == b->field, #field " changed:\n%s", text)
#define SAME_TEXT(field)                                                   \
	PROMISE((a->field == NULL) == (b->field == NULL) &&                \
		    (a->field == NULL || strcmp(a->field, b->field) == 0), \
	    #field " changed:\n%s", text)

static void
compare_transports(const struct location *a, const struct location *b, const char *text)
{
	SAME(transports);
	for (unsigned i = 0; i < TRANSPORTS; i++)
		SAME(timeout_ms[i]);
	SAME(first_message.from);
	SAME(first_message.n);
	SAME(max_subscribers);
	SAME(on_slow);
	SAME(gap_event);
	SAME(say_channel);
	SAME(batch);
	SAME(ping_interval_ms);
	SAME(ping_timeout_ms);
	SAME_TEXT(ping_message);
	PROMISE((a->message_template == NULL) == (b->message_template == NULL) &&
		    (a->message_template == NULL || strcmp(template_source(a->message_template),
							template_source(b->message_template)) == 0),
	    "message_template changed:\n%s", text);
	SAME_TEXT(event);
	SAME(has_retry);
	SAME(retry_ms);
	SAME(n_padding);
	for (size_t i = 0; i < a->n_padding; i++) {
		SAME_TEXT(padding[i].user_agent);
		SAME(padding[i].head);
		SAME(padding[i].message);
	}
	SAME_TEXT(stream_separator);
	SAME_TEXT(header_template);
	SAME_TEXT(footer_template);
	SAME_TEXT(heartbeat_in);
	SAME_TEXT(heartbeat_out);
	SAME(deflate);
	SAME(allow_publish);
}

static void
compare_locations(const struct location *a, const struct location *b, const char *text)
{
	SAME(type);
	SAME_TEXT(url);
	SAME_TEXT(prefix);
	SAME_TEXT(channel_argument);
	SAME(split);
	SAME(max_channels);
	SAME(store);
	SAME(polling);
	SAME(concurrency);
	SAME(create_on_get);
	SAME_TEXT(passthrough);
	SAME(passthrough_linger_ms);
	SAME(timeout_status);
	SAME_TEXT(content_type);
	compare_transports(a, b, text);
	SAME(create_on_post);
	SAME(store_messages);
	SAME(allow_delete);
	SAME(allow_all);
	SAME(allow_unix);
	SAME(max_body);
	SAME(n_allow);
	for (size_t i = 0; i < a->n_allow; i++) {
		SAME(allow[i].prefix_len);
		PROMISE(memcmp(&a->allow[i].addr, &b->allow[i].addr, sizeof(a->allow[i].addr)) == 0,
		    "allow changed:\n%s", text);
	}
	SAME(cors.allow_credentials);
	SAME(cors.n_origins);
	for (size_t i = 0; i < a->cors.n_origins; i++)
		SAME_TEXT(cors.origins[i]);
}

static void
compare_stores(const struct config_store *a, const struct config_store *b, const char *text)
{
	SAME_TEXT(name);
	SAME_TEXT(type);
	SAME(min_messages);
	SAME(max_messages);
	SAME(message_timeout_ms);
	SAME(max_memory);
	SAME(channel_timeout_ms);
}

/* The same text twice may be the same mistake twice: so what it means is compared, too. */
static void
compare(const struct config *a, const struct config *b, const char *text)
{
	SAME_TEXT(servername);
	SAME(workers);
	SAME(log);
	SAME(limits.connections);
	SAME(limits.target_size);
	SAME(limits.header_size);
	SAME(limits.id_length);
	SAME(limits.header_timeout_ms);
	SAME(limits.body_timeout_ms);
	SAME(limits.send_timeout_ms);
	SAME(limits.keepalive_timeout_ms);
	SAME(limits.notices);
	SAME(limits.notice_connections);
	SAME(limits.notice_timeout_ms);
	SAME(limits.notice_retry_ms);
	SAME(n_listens);
	for (size_t i = 0; i < a->n_listens; i++) {
		SAME_TEXT(listens[i].text);
		SAME(listens[i].optional);
		SAME(listens[i].addr_len);
		PROMISE(
		    memcmp(&a->listens[i].addr, &b->listens[i].addr, a->listens[i].addr_len) == 0,
		    "an address changed:\n%s", text);
	}
	SAME(n_stores);
	for (size_t i = 0; i < a->n_stores; i++)
		compare_stores(&a->stores[i], &b->stores[i], text);
	SAME(n_locations);
	for (size_t i = 0; i < a->n_locations; i++)
		compare_locations(&a->locations[i], &b->locations[i], text);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	log_set_level(LOG_LEVEL_ERROR);
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char error[CONFIG_ERROR_SIZE] = "", *text = fuzz_copy(data, size), *first, *second;
	struct config *config = config_load_string(text, size, "name", error), *again;
	size_t first_len, second_len;

	free(text);
	if (config == NULL) {
		check_error(error);
		return 0;
	}
	PROMISE(config->n_listens > 0 && config->n_stores > 0 && config->n_locations > 0,
	    "nothing to do");
	first = dump(config, &first_len);
	again = config_load_string(first, first_len, "dump", error);
	PROMISE(again != NULL, "%s\n%s", error, first);
	second = dump(again, &second_len);
	PROMISE(first_len == second_len && memcmp(first, second, first_len) == 0,
	    "dumped:\n%s\nand again:\n%s", first, second);
	compare(config, again, first);
	free(first);
	free(second);
	config_unref(config);
	config_unref(again);
	return 0;
}
