/*
 * The configuration: what is read, what is refused and how that is said; and that the
 * documents, the defaults and the dump agree with the table. Run from the top of the
 * tree, where the documents are.
 */
#include "relay/config.h"

#include "relay/template.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define DEFAULT_FILE "config/pushserver.yaml"
#define MAN_PAGE     "docs/pushserver.yaml.5"

/* A subscriber and a publisher location, to which more keys can be added. */
#define SUBSCRIBER "locations:\n- type: subscriber\n  prefix: /s/\n"
#define PUBLISHER  "locations:\n- type: publisher\n  prefix: /p/\n"
#define STATISTICS "locations:\n- type: statistics\n  prefix: /t/\n"

static struct config *
load(const char *yaml)
{
	char error[CONFIG_ERROR_SIZE] = "";
	struct config *config = config_load_string(yaml, strlen(yaml), "test", error);

	assert_string_equal(error, "");
	assert_non_null(config);
	return config;
}

/* yaml is refused with exactly this line. */
static void
assert_error(const char *yaml, const char *expected)
{
	char error[CONFIG_ERROR_SIZE] = "";

	assert_null(config_load_string(yaml, strlen(yaml), "test", error));
	assert_string_equal(error, expected);
}

/* yaml is refused with a line that begins so. */
static void
assert_error_begins(const char *yaml, const char *expected)
{
	char error[CONFIG_ERROR_SIZE] = "";

	assert_null(config_load_string(yaml, strlen(yaml), "test", error));
	if (strncmp(error, expected, strlen(expected)) != 0)
		assert_string_equal(error, expected);
}

/* Returns new (free). */
static char *
dump(const struct config *config)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	config_dump(config, out);
	assert_int_equal(fclose(out), 0);
	return text;
}

/* What is loaded from yaml is what is loaded from other. */
static void
assert_same(const char *yaml, const char *other)
{
	struct config *a = load(yaml), *b = load(other);
	char *dump_a = dump(a), *dump_b = dump(b);

	assert_string_equal(dump_a, dump_b);
	free(dump_a);
	free(dump_b);
	config_unref(a);
	config_unref(b);
}

/* Returns new (free). */
static char *
read_file(const char *path)
{
	FILE *in = fopen(path, "r");
	char *text = NULL;
	size_t len = 0;

	if (in == NULL)
		fail_msg("%s: %s", path, strerror(errno));
	if (getdelim(&text, &len, '\0', in) < 0)
		fail_msg("%s cannot be read", path);
	fclose(in);
	return text;
}

/* ---- what is read ---- */

static void
test_nothing_at_all_means_the_defaults(void **state UNUSED)
{
	struct config *config = load("");
	const struct location *sub = &config->locations[0], *pub = &config->locations[1];

	assert_int_equal(config->n_listens, 1);
	assert_string_equal(config->listens[0].text, "127.0.0.1:8001");
	assert_int_equal(strncmp(config->servername, "pushserver/", 11), 0);
	assert_in_range(config->workers, 1, 64);
	assert_int_equal(config->log, LOG_LEVEL_INFO);
	assert_int_equal(config->limits.connections, 0);
	assert_int_equal(config->limits.target_size, 8192);
	assert_int_equal(config->limits.header_size, 16384);
	assert_int_equal(config->limits.id_length, 255);
	assert_int_equal(config->limits.header_timeout_ms, 30000);
	assert_int_equal(config->limits.body_timeout_ms, 30000);
	assert_int_equal(config->limits.send_timeout_ms, 60000);
	assert_int_equal(config->limits.keepalive_timeout_ms, 75000);
	assert_int_equal(config->limits.notices, 16384);
	assert_int_equal(config->limits.notice_connections, 8);
	assert_int_equal(config->limits.notice_timeout_ms, 10000);
	assert_int_equal(config->limits.notice_retry_ms, 10000);
	assert_int_equal(config->limits.lingering, 100000);

	assert_int_equal(config->n_stores, 1);
	assert_string_equal(config->stores[0].name, "default");
	assert_string_equal(config->stores[0].type, "memory");
	assert_int_equal(config->stores[0].min_messages, 0);
	assert_int_equal(config->stores[0].max_messages, 0);
	assert_int_equal(config->stores[0].message_timeout_ms, 0);
	assert_int_equal(config->stores[0].max_memory, 64 << 20);
	assert_int_equal(config->stores[0].channel_timeout_ms, 60000);

	assert_int_equal(config->n_locations, 2);
	assert_int_equal(sub->type, LOCATION_SUBSCRIBER);
	assert_string_equal(sub->prefix, "/subscriber/");
	assert_int_equal(sub->prefix_len, 12);
	assert_null(sub->url);
	assert_int_equal(sub->polling, POLLING_LONG);
	assert_false(sub->create_on_get);
	assert_int_equal(sub->concurrency, CONCURRENCY_BROADCAST);
	assert_int_equal(sub->cors.n_origins, 1);
	assert_string_equal(sub->cors.origins[0], "*");
	assert_false(sub->cors.allow_credentials);
	assert_false(sub->cors.publisher);
	assert_null(sub->passthrough);
	assert_int_equal(sub->passthrough_linger_ms, 5000);
	assert_int_equal(sub->n_identity, 1);
	assert_string_equal(sub->identity[0], "sessionid");
	assert_int_equal(sub->transports, 0x3f & ~TRANSPORT_BIT(TRANSPORT_JSONP));
	assert_int_equal(sub->timeout_ms[TRANSPORT_LONGPOLL], 55000);
	assert_int_equal(sub->timeout_ms[TRANSPORT_JSONP], 55000);
	assert_int_equal(sub->timeout_ms[TRANSPORT_EVENTSOURCE], 0);
	assert_int_equal(sub->timeout_ms[TRANSPORT_WEBSOCKET], 0);
	assert_int_equal(sub->timeout_ms[TRANSPORT_STREAM], 0);
	assert_int_equal(sub->timeout_ms[TRANSPORT_MULTIPART], 0);
	assert_int_equal(sub->timeout_status, 304);
	assert_null(sub->content_type);
	assert_null(sub->channel_argument);
	assert_int_equal(sub->split, 0);
	assert_int_equal(sub->max_channels, 255);
	assert_int_equal(sub->max_subscribers, 0);
	assert_true(sub->allow_all);
	assert_int_equal(sub->first_message.from, STORE_FROM_OLDEST);
	assert_null(sub->message_template);
	assert_false(sub->say_channel);
	assert_int_equal(sub->batch, BATCH_OFF);
	assert_true(sub->gap_event);
	assert_int_equal(sub->on_slow, ON_SLOW_GAP);
	assert_int_equal(sub->ping_interval_ms, 25000);
	assert_int_equal(sub->ping_timeout_ms, 20000);
	assert_null(sub->ping_message);
	assert_null(sub->event);
	assert_false(sub->has_retry);
	assert_int_equal(sub->n_padding, 0);
	assert_string_equal(sub->stream_separator, "\n");
	assert_int_equal(sub->stream_separator_len, 1);
	assert_null(sub->header_template);
	assert_null(sub->footer_template);
	assert_null(sub->heartbeat_in);
	assert_false(sub->deflate);
	assert_false(sub->allow_publish);
	assert_int_equal(sub->max_body, 1 << 20);

	assert_int_equal(pub->type, LOCATION_PUBLISHER);
	assert_int_equal(pub->index, 1);
	assert_string_equal(pub->prefix, "/publisher/");
	assert_true(pub->create_on_post);
	assert_true(pub->store_messages);
	assert_true(pub->allow_delete);
	assert_int_equal(pub->max_channels, 1);
	assert_false(pub->allow_all);
	assert_int_equal(pub->n_allow, 2);
	assert_true(pub->allow_unix);
	assert_int_equal(pub->cors.n_origins, 0);
	assert_true(pub->cors.publisher);
	assert_int_equal(pub->max_body, 1 << 20);
	config_unref(config);

	assert_same("", "# a comment\n");
	assert_same("", "---\n...\n");
	assert_same("", "limits:\nstore:\n");
	assert_same("", "limits: {}\nstore: {}\n");
}

static void
test_documented_example_loads_as_printed(void **state UNUSED)
{
	struct config *config = load(
	    "port: 8001\n"
	    "address: 127.0.0.1\n"
	    "store: {type: memory, min_messages: 0, max_messages: 100, message_timeout: 10}\n"
	    "locations:\n"
	    "  - {type: subscriber, url: '/updates/([^/]+)', polling: long, create_on_get: true,\n"
	    "     allow_origin: 'http://127.0.0.1:8000', allow_credentials: true,\n"
	    "     passthrough: 'http://127.0.0.1:8000/passthrough'}\n"
	    "  - {type: publisher, url: '/send-update/([^/]+)'}\n");
	const struct location *sub = &config->locations[0];

	assert_string_equal(config->listens[0].text, "127.0.0.1:8001");
	assert_int_equal(config->stores[0].max_messages, 100);
	assert_int_equal(config->stores[0].message_timeout_ms, 10000);
	assert_string_equal(sub->url, "/updates/([^/]+)");
	assert_non_null(sub->pattern);
	assert_int_equal(sub->line, 5);
	assert_true(sub->create_on_get);
	assert_true(sub->cors.allow_credentials);
	assert_string_equal(sub->cors.origins[0], "http://127.0.0.1:8000");
	assert_string_equal(sub->passthrough, "http://127.0.0.1:8000/passthrough");
	assert_string_equal(config->locations[1].url, "/send-update/([^/]+)");
	config_unref(config);
}

static void
test_json_is_read_like_yaml(void **state UNUSED)
{
	assert_same(
	    "{\"port\": 8002, \"store\": {\"message_timeout\": 0.5, \"max_memory\": \"1M\"},"
	    "\"locations\":[{\"type\":\"subscriber\",\"url\":\"\\/u\\/([^\\/]+)\","
	    "\"create_on_get\":true,\"passthrough\":null,\"allow_origin\":"
	    "[\"http://a\",\"http://b\"]}]}",
	    "port: 8002\nstore:\n  message_timeout: 0.5\n  max_memory: 1M\nlocations:\n"
	    "- type: subscriber\n  url: /u/([^/]+)\n  create_on_get: true\n"
	    "  allow_origin: [http://a, http://b]\n");
}

static void
test_sizes_have_units_of_1024_and_times_have_decimals(void **state UNUSED)
{
	struct config *config =
	    load("limits: {target_size: 1000, header_size: 2k, header_timeout: 0.25, "
		 "body_timeout: 1.5000, notice_retry: 0}\n"
		 "store: {max_memory: 3G, message_timeout: 4294967, channel_timeout: '0.001'}\n"
		 "port: '8002'\n");

	assert_int_equal(config->limits.target_size, 1000);
	assert_int_equal(config->limits.header_size, 2048);
	assert_int_equal(config->limits.header_timeout_ms, 250);
	assert_int_equal(config->limits.body_timeout_ms, 1500);
	assert_int_equal(config->limits.notice_retry_ms, 0);
	assert_int_equal(config->stores[0].max_memory, 3ull << 30);
	assert_int_equal(config->stores[0].message_timeout_ms, 4294967000u);
	assert_int_equal(config->stores[0].channel_timeout_ms, 1);
	assert_string_equal(config->listens[0].text, "127.0.0.1:8002");
	config_unref(config);
}

static void
test_booleans_are_those_of_yaml_and_not_quoted(void **state UNUSED)
{
	static const char *const words[][2] = {
	    {"true", "false"}, {"True", "False"}, {"yes", "no"}, {"on", "off"}, {"YES", "OFF"}};
	char yaml[200];

	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		snprintf(yaml, sizeof(yaml), SUBSCRIBER "  create_on_get: %s\n", words[i][0]);
		assert_same(yaml, SUBSCRIBER "  create_on_get: true\n");
		snprintf(yaml, sizeof(yaml), PUBLISHER "  create_on_post: %s\n", words[i][1]);
		assert_same(yaml, PUBLISHER "  create_on_post: false\n");
	}
	assert_error(SUBSCRIBER "  create_on_get: 'false'\n",
	    "test:4: locations[0].create_on_get: must be true or false, not the string \"false\"");
	assert_error(SUBSCRIBER "  create_on_get: 1\n",
	    "test:4: locations[0].create_on_get: must be true or false, not \"1\"");
}

static void
test_null_takes_a_default_away_where_that_has_a_meaning(void **state UNUSED)
{
	struct config *config = load("servername: null\naddress:\n");

	assert_null(config->servername);
	assert_int_equal(config->n_listens, 2);
	config_unref(config);
	assert_error(
	    "port:\n", "test:1: port: has no value; must be a whole number from 0 to 65535");
	assert_error_begins(
	    SUBSCRIBER "  allow_origin: ~\n", "test:4: locations[0].allow_origin: has no value");
	/* In quotes it is a word like others. */
	config = load("servername: 'null'\n");
	assert_string_equal(config->servername, "null");
	config_unref(config);
}

static void
test_aliases_stand_for_values_and_merge_keys_are_refused(void **state UNUSED)
{
	assert_same("locations:\n- {type: subscriber, prefix: /a/, allow_origin: &o [http://a]}\n"
		    "- {type: subscriber, prefix: /b/, allow_origin: *o}\n",
	    "locations:\n- {type: subscriber, prefix: /a/, allow_origin: http://a}\n"
	    "- {type: subscriber, prefix: /b/, allow_origin: http://a}\n");
	assert_error_begins("limits: {<<: {notices: 1}}\n", "test:1: limits.<<: merge keys");
	/* A tree that holds itself. */
	assert_error_begins("locations: &l [*l]\n", "test:1: locations[0]: must be a mapping");
	assert_error_begins(
	    "limits: &l {connections: *l}\n", "test:1: limits.connections: must be");
}

static void
test_words_stand_for_their_values(void **state UNUSED)
{
	struct config *config =
	    load("log: warning\nworkers: 3\nlocations:\n"
		 "- {type: subscriber, prefix: /a/, polling: interval, timeout_status: 408}\n"
		 "- {type: subscriber, prefix: /b/, concurrency: last, timeout_status: '204'}\n"
		 "- {type: subscriber, prefix: /c/, concurrency: first, timeout: 0}\n");

	assert_int_equal(config->log, LOG_LEVEL_WARN);
	assert_int_equal(config->workers, 3);
	assert_int_equal(config->locations[0].polling, POLLING_INTERVAL);
	assert_int_equal(config->locations[0].timeout_status, 408);
	assert_int_equal(config->locations[1].concurrency, CONCURRENCY_LAST);
	assert_int_equal(config->locations[1].timeout_status, 204);
	assert_int_equal(config->locations[2].concurrency, CONCURRENCY_FIRST);
	assert_int_equal(config->locations[2].timeout_ms[TRANSPORT_LONGPOLL], 0);
	config_unref(config);
}

static void
test_origins_are_one_or_a_list_and_normalised(void **state UNUSED)
{
	struct config *config = load(SUBSCRIBER "  allow_origin: [HTTP://A:80, 'null']\n");

	assert_int_equal(config->locations[0].cors.n_origins, 2);
	assert_string_equal(config->locations[0].cors.origins[0], "http://a");
	assert_string_equal(config->locations[0].cors.origins[1], "null");
	assert_true(config->locations[0].cors.by_origin);
	config_unref(config);
	config = load(SUBSCRIBER "  allow_origin: []\n");
	assert_int_equal(config->locations[0].cors.n_origins, 0);
	config_unref(config);
}

/* ---- where to listen ---- */

static void
test_address_and_port_make_one_socket_or_all_addresses_two(void **state UNUSED)
{
	static const char *const all[] = {"address: '*'\n", "address: ''\n", "address: null\n"};
	struct config *config = load("address: '::1'\nport: 0\n");
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&config->listens[0].addr;

	assert_int_equal(config->n_listens, 1);
	assert_string_equal(config->listens[0].text, "[::1]:0");
	assert_int_equal(config->listens[0].addr_len, sizeof(*v6));
	assert_int_equal(v6->sin6_family, AF_INET6);
	assert_true(IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr));
	config_unref(config);

	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		const struct sockaddr_in *v4;

		config = load(all[i]);
		assert_int_equal(config->n_listens, 2);
		v4 = (const struct sockaddr_in *)&config->listens[0].addr;
		assert_string_equal(config->listens[0].text, "0.0.0.0:8001");
		assert_int_equal(v4->sin_addr.s_addr, INADDR_ANY);
		assert_int_equal(ntohs(v4->sin_port), 8001);
		assert_false(config->listens[0].optional);
		assert_string_equal(config->listens[1].text, "[::]:8001");
		assert_true(config->listens[1].optional);
		config_unref(config);
	}
}

static void
test_listen_takes_addresses_and_unix_sockets(void **state UNUSED)
{
	struct config *config =
	    load("listen: ['10.0.0.1:80', '[2001:db8::1]:81', 'unix:/run/p.sock', '*:82']\n");
	const struct config_listen *l = config->listens;

	assert_int_equal(config->n_listens, 5);
	assert_string_equal(l[0].text, "10.0.0.1:80");
	assert_string_equal(l[1].text, "[2001:db8::1]:81");
	assert_string_equal(l[2].text, "unix:/run/p.sock");
	assert_int_equal(l[2].addr.ss_family, AF_UNIX);
	assert_string_equal(((const struct sockaddr_un *)&l[2].addr)->sun_path, "/run/p.sock");
	assert_string_equal(l[3].text, "0.0.0.0:82");
	assert_true(l[4].optional);
	config_unref(config);
}

static void
test_listen_refuses_names_and_halves(void **state UNUSED)
{
	static const char *const bad[] = {"127.0.0.1", "127.0.0.1:", ":8001", "localhost:8001",
	    "::1:8001", "[::1]", "[127.0.0.1]:1", "127.0.0.1:65536", "127.0.0.1:http",
	    "127.0.0.1:-1", "unix:", "unix:p.sock", "127.1:1", "[]:1", "*"};
	char yaml[300], path[200];

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		snprintf(yaml, sizeof(yaml), "listen:\n- '%s'\n", bad[i]);
		assert_error_begins(yaml, "test:2: listen[0]: must ");
	}
	memset(path, 'a', sizeof(path));
	path[108] = '\0';
	snprintf(yaml, sizeof(yaml), "listen: ['unix:/%s']\n", path);
	assert_error(yaml, "test:1: listen[0]: must be a path of at most 107 bytes, not 109");
	assert_error("listen: []\n", "test:1: listen: must name at least one address");
	assert_error("listen: ['127.0.0.1:1', '127.0.0.1:1']\n",
	    "test:1: listen[1]: \"127.0.0.1:1\" is given twice");
	assert_error("address: localhost\n",
	    "test:1: address: must be an IP address, or \"*\" for all, not \"localhost\"; "
	    "names are not looked up (this one is 127.0.0.1)");
}

static void
test_listen_stands_alone(void **state UNUSED)
{
	assert_error("port: 1\nlisten: ['127.0.0.1:2']\n",
	    "test:2: listen: cannot be given together with port (line 1); it says all by itself");
	assert_error("listen: ['127.0.0.1:2']\naddress: 127.0.0.1\n",
	    "test:1: listen: cannot be given together with address (line 2); it says all by "
	    "itself");
}

/* ---- stores ---- */

static void
test_several_stores_go_by_their_names(void **state UNUSED)
{
	struct config *config =
	    load("locations:\n- {type: subscriber, prefix: /a/, store: chat}\n"
		 "- {type: publisher, prefix: /b/}\n"
		 "store:\n  chat: {max_messages: 5, type: memory}\n  default:\n");

	assert_int_equal(config->n_stores, 2);
	assert_string_equal(config->stores[0].name, "chat");
	assert_int_equal(config->stores[0].max_messages, 5);
	assert_int_equal(config->stores[0].line, 5);
	assert_string_equal(config->stores[1].name, "default");
	assert_int_equal(config->stores[1].max_messages, 0);
	assert_int_equal(config->locations[0].store, 0);
	assert_int_equal(config->locations[1].store, 1);
	config_unref(config);
}

static void
test_location_without_a_store_needs_one_called_default(void **state UNUSED)
{
	assert_error("store: {chat: {}}\n" PUBLISHER,
	    "test:3: locations[0]: must name its store: there is none called default");
	assert_error("store: {chat: {}}\n",
	    "test:1: locations[0]: must name its store: there is none called default");
	assert_error("store: {chat: {}}\n" PUBLISHER "  store: caht\n",
	    "test:5: locations[0].store: there is no store called \"caht\"");
	config_unref(load("store: {chat: {}}\n" PUBLISHER "  store: chat\n"));
}

static void
test_store_is_one_or_several_and_not_both(void **state UNUSED)
{
	assert_error_begins(
	    "store: {chat: {}, type: memory}\n", "test:1: store: holds \"type\" beside");
	assert_error(
	    "store: {chat: {}, news: 5}\n", "test:1: store.news: must be a mapping, not \"5\"");
	assert_error(
	    "store:\n  a: {}\n  a: {}\n", "test:3: store.a: is given twice, first in line 2");
	assert_error_begins("store: {a/b: {}}\n", "test:1: store: the name of a store must be");
	assert_error("store: {type: redis}\n", "test:1: store.type: must be memory, not \"redis\"");
}

static void
test_what_is_kept_for_sure_cannot_be_more_than_what_is_kept_at_most(void **state UNUSED)
{
	assert_error("store:\n  max_messages: 4\n  min_messages: 5\n",
	    "test:3: store.min_messages: must not be above max_messages: 5 are kept whatever "
	    "their age, but no more than 4");
	config_unref(load("store: {min_messages: 5}\n"));
	config_unref(load("store: {min_messages: 5, max_messages: 5}\n"));
}

/* ---- what is refused, and how that is said ---- */

static void
test_unknown_key_is_told_with_line_and_nearest_key(void **state UNUSED)
{
	assert_error("prot: 1\n", "test:1: prot: unknown key; did you mean port?");
	assert_error("limits:\n  header_tiemout: 1\n",
	    "test:2: limits.header_tiemout: unknown key; did you mean header_timeout?");
	assert_error("store: {max_mesages: 1}\n",
	    "test:1: store.max_mesages: unknown key; did you mean max_messages?");
	assert_error(SUBSCRIBER "  creat_on_get: true\n",
	    "test:4: locations[0].creat_on_get: unknown key; did you mean create_on_get?");
	assert_error("locations:\n- {tpye: publisher, prefix: /p/}\n",
	    "test:2: locations[0].tpye: unknown key; did you mean type?");
	assert_error("something_else: 1\n", "test:1: something_else: unknown key");
	assert_error("max_messages: 1\n",
	    "test:1: max_messages: unknown key; a key of that name belongs below store");
	assert_error("store: {port: 1}\n",
	    "test:1: store.port: unknown key; a key of that name belongs to the top level");
	assert_error_begins("publisher_host: {}\n", "test:1: publisher_host: is read by Django");
}

static void
test_key_of_the_other_type_of_location_is_told_so(void **state UNUSED)
{
	assert_error(PUBLISHER "  polling: long\n",
	    "test:4: locations[0].polling: is a key of subscriber locations; this is a publisher "
	    "location");
	assert_error(SUBSCRIBER "  allow_delete: true\n",
	    "test:4: locations[0].allow_delete: is a key of publisher locations; this is a "
	    "subscriber location");
	assert_error(PUBLISHER "  split: ','\n",
	    "test:4: locations[0].split: is a key of subscriber and statistics locations; this is "
	    "a publisher location");
	assert_error(STATISTICS "  max_body: 1\n",
	    "test:4: locations[0].max_body: is a key of subscriber and publisher locations; this "
	    "is a statistics location");
}

static void
test_each_key_is_given_once(void **state UNUSED)
{
	assert_error(
	    "port: 1\nlog: info\nport: 1\n", "test:3: port: is given twice, first in line 1");
	assert_error(SUBSCRIBER "  prefix: /s/\n",
	    "test:4: locations[0].prefix: is given twice, first in line 3");
	assert_error("{\"port\": 1, \"port\": 2}", "test:1: port: is given twice, first in line 1");
}

static void
test_value_out_of_bounds_is_told_with_the_bounds(void **state UNUSED)
{
	assert_error(
	    "port: 65536\n", "test:1: port: must be a whole number from 0 to 65535, not \"65536\"");
	assert_error(
	    "log: loud\n", "test:1: log: must be error, warning, info or debug, not \"loud\"");
	assert_error("workers: 65\n",
	    "test:1: workers: must be auto or a whole number from 1 to 64, not \"65\"");
	assert_error("limits:\n  header_size: 2M\n",
	    "test:2: limits.header_size: must be bytes, or a whole number with K, M or G, from "
	    "256 to 1M, not \"2M\"");
	assert_error("limits:\n  send_timeout: 0\n",
	    "test:2: limits.send_timeout: must be seconds from 0.001 to 4294967, with at most "
	    "three decimals, not \"0\"");
	assert_error("store: {max_memory: 63K}\n",
	    "test:1: store.max_memory: must be bytes, or a whole number with K, M or G, from 64K "
	    "to 1024G, not \"63K\"");
	assert_error(SUBSCRIBER "  polling: lnog\n",
	    "test:4: locations[0].polling: must be long or interval, not \"lnog\"");
	assert_error(SUBSCRIBER "  polling: [long]\n",
	    "test:4: locations[0].polling: must be long or interval, not a list");
}

static void
test_what_is_no_number_size_or_time_is_refused(void **state UNUSED)
{
	static const char *const numbers[] = {"-1", "+1", "1.0", "1e3", "0x10", "010", "1_000",
	    "one", "1 2", "9999999999999999999999"};
	static const char *const sizes[] = {
	    "1.5M", "1T", "K", "1KB", "64 K", "-1K", "999999999999999G", "08K"};
	static const char *const times[] = {"-1", "1s", "1.", ".5", "1.2345", "1e1", "4294968",
	    "1:30", ".inf", "99999999999999999999", "0.0001"};
	char yaml[100];

	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		snprintf(yaml, sizeof(yaml), "store:\n  max_messages: %s\n", numbers[i]);
		assert_error_begins(yaml, "test:2: store.max_messages: must be a whole number");
	}
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		snprintf(yaml, sizeof(yaml), "store:\n  max_memory: %s\n", sizes[i]);
		assert_error_begins(yaml, "test:2: store.max_memory: must be bytes");
	}
	for (size_t i = 0; i < ARRAY_LEN(times); i++) {
		snprintf(yaml, sizeof(yaml), "limits:\n  body_timeout: %s\n", times[i]);
		assert_error_begins(yaml, "test:2: limits.body_timeout: must be seconds");
	}
}

static void
test_locations_are_a_list_of_at_least_one_with_a_path_each(void **state UNUSED)
{
	assert_error(
	    "locations: []\n", "test:1: locations: must be a list of at least one location");
	assert_error("locations:\n", "test:1: locations: must be a list of at least one location");
	assert_error_begins("locations: [publisher]\n", "test:1: locations[0]: must be a mapping");
	assert_error("locations:\n- prefix: /p/\n",
	    "test:2: locations[0]: has no type; it must be subscriber, publisher or statistics");
	assert_error(
	    "locations:\n- type: publisher\n", "test:2: locations[0]: has neither url nor prefix");
	assert_error("locations:\n- {type: publisher, prefix: p}\n",
	    "test:2: locations[0].prefix: must begin with \"/\", not \"p\"");
	assert_error_begins("locations:\n- {type: publisher, prefix: '/p?x='}\n",
	    "test:2: locations[0].prefix: must be the beginning of a path");
	assert_error("locations:\n- {type: publisher, prefix: ''}\n",
	    "test:2: locations[0].prefix: must not be empty");
}

static void
test_pattern_compiles_and_has_a_group_for_each_channel(void **state UNUSED)
{
	assert_error_begins("locations:\n- type: publisher\n  url: /p/(\n",
	    "test:3: locations[0].url: is no regular expression: missing closing parenthesis");
	assert_error("locations:\n- type: publisher\n  url: /p/.+\n",
	    "test:3: locations[0].url: must have exactly one group, which is the channel id, not "
	    "0");
	assert_error("locations:\n- type: publisher\n  url: /(p)/(.+)\n",
	    "test:3: locations[0].url: must have exactly one group, which is the channel id, not "
	    "2; others are written (?:...)");
	assert_error_begins("locations:\n- type: publisher\n  url: (*UTF)/p/(.+)\n",
	    "test:3: locations[0].url: is no regular expression");
	assert_error("locations:\n- type: subscriber\n  url: /s/.+\n  split: ','\n",
	    "test:3: locations[0].url: must have 1 to 255 groups, each a channel id, not 0; "
	    "others are written (?:...)");
	for (unsigned n = 255; n <= 256; n++) {
		char yaml[256 * 3 + 100] = "locations:\n- type: subscriber\n  url: /s/.", *end;
		char error[CONFIG_ERROR_SIZE] = "";
		struct config *config;

		end = yaml + strlen(yaml);
		for (unsigned i = 0; i < n; i++)
			end = stpcpy(end, "(a)");
		config = config_load_string(yaml, strlen(yaml), "test", error);
		if (n == 255)
			assert_non_null(config);
		else
			assert_string_equal(error,
			    "test:3: locations[0].url: must have 1 to 255 groups, each a channel "
			    "id, not 256; others are written (?:...)");
		config_unref(config);
	}
}

static void
test_channels_are_in_the_path_or_in_the_query(void **state UNUSED)
{
	static const char *const taken[] = {"_", "backtrack", "callback", "lastEventId",
	    "last_event_id", "tag", "time", "a b", "a=b", "ż"};
	struct config *config = load(SUBSCRIBER "  channel_argument: channel\n  split: /\n");
	char yaml[200];

	assert_string_equal(config->locations[0].channel_argument, "channel");
	assert_int_equal(config->locations[0].split, '/');
	config_unref(config);
	config_unref(load("locations: [{type: publisher, url: /p, channel_argument: id}]"));
	assert_error("locations:\n- type: subscriber\n  url: /s/(.+)\n  channel_argument: id\n",
	    "test:3: locations[0].url: must have no group, for channel_argument says where the "
	    "channel ids are; others are written (?:...)");
	for (size_t i = 0; i < ARRAY_LEN(taken); i++) {
		snprintf(yaml, sizeof(yaml), SUBSCRIBER "  channel_argument: %s\n", taken[i]);
		assert_error_begins(yaml, "test:4: locations[0].channel_argument: must");
	}
}

static void
test_split_is_a_character_that_no_proxy_rewrites(void **state UNUSED)
{
	static const char *const bad[] = {"a", "1", "'-'", ".", "_", "'~'", "'%'", "'?'", "'#'",
	    "'&'", "' '", "',,'", "''", "ż", "[',']"};
	char yaml[200];

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		snprintf(yaml, sizeof(yaml), SUBSCRIBER "  split: %s\n", bad[i]);
		assert_error_begins(yaml,
		    "test:4: locations[0].split: must be \",\" or \"/\", or one of ; : ! $ ' ( ) * "
		    "+ = @ |, not ");
	}
	for (const char *p = ",/;:!$'()*+=@|"; *p != '\0'; p++) {
		struct config *config;

		snprintf(yaml, sizeof(yaml), SUBSCRIBER "  split: \"%c\"\n", *p);
		config = load(yaml);
		assert_int_equal(config->locations[0].split, *p);
		config_unref(config);
	}
}

static void
test_transports_are_a_list_and_jsonp_must_be_named(void **state UNUSED)
{
	struct config *config = load(SUBSCRIBER "  transports: [jsonp, stream]\n");

	assert_int_equal(config->locations[0].transports,
	    TRANSPORT_BIT(TRANSPORT_JSONP) | TRANSPORT_BIT(TRANSPORT_STREAM));
	config_unref(config);
	config = load(SUBSCRIBER "  transports: websocket\n");
	assert_int_equal(config->locations[0].transports, TRANSPORT_BIT(TRANSPORT_WEBSOCKET));
	config_unref(config);
	assert_error(SUBSCRIBER "  transports: []\n",
	    "test:4: locations[0].transports: must name at least one transport");
	assert_error(SUBSCRIBER "  transports: [longpoll, sse]\n",
	    "test:4: locations[0].transports[1]: must be longpoll, eventsource, websocket, stream, "
	    "multipart or jsonp, not \"sse\"");
	assert_error(SUBSCRIBER "  transports: [stream, longpoll, stream]\n",
	    "test:4: locations[0].transports[2]: \"stream\" is given twice");
	assert_error(SUBSCRIBER "  transports: [jsonp]\n  allow_origin: http://a\n",
	    "test:4: locations[0].transports: jsonp cannot be there while allow_origin is not "
	    "\"*\": any site can read it");
}

static void
test_timeout_is_one_or_by_transport(void **state UNUSED)
{
	struct config *config = load(SUBSCRIBER "  timeout: 1.5\n");
	const uint32_t *ms = config->locations[0].timeout_ms;

	for (unsigned i = 0; i < TRANSPORTS; i++)
		assert_int_equal(ms[i], 1500);
	config_unref(config);
	config = load(SUBSCRIBER "  timeout:\n    websocket: 3600\n    longpoll: 0\n");
	ms = config->locations[0].timeout_ms;
	assert_int_equal(ms[TRANSPORT_WEBSOCKET], 3600000);
	assert_int_equal(ms[TRANSPORT_LONGPOLL], 0);
	/* What is not named has its default. */
	assert_int_equal(ms[TRANSPORT_JSONP], 55000);
	assert_int_equal(ms[TRANSPORT_EVENTSOURCE], 0);
	config_unref(config);
	assert_same(SUBSCRIBER "  timeout: {}\n", SUBSCRIBER);
	assert_error(SUBSCRIBER "  timeout:\n    websocket: 1\n    sse: 2\n",
	    "test:6: locations[0].timeout: must be longpoll, eventsource, websocket, stream, "
	    "multipart or jsonp, not \"sse\"");
	assert_error(SUBSCRIBER "  timeout:\n    stream: 1\n    stream: 2\n",
	    "test:6: locations[0].timeout.stream: is given twice");
	assert_error_begins(SUBSCRIBER "  timeout: {stream: soon}\n",
	    "test:4: locations[0].timeout.stream: must be seconds from 0 to 4294967");
	assert_error_begins(SUBSCRIBER "  timeout: [1]\n", "test:4: locations[0].timeout: must be");
	assert_error_begins(SUBSCRIBER "  timeout: {stream: !!int 1}\n",
	    "test:4: locations[0].timeout.stream: has a tag");
}

static void
test_first_message_is_a_word_or_counts_from_either_end(void **state UNUSED)
{
	static const struct {
		const char *text;
		enum store_start_from from;
		uint32_t n;
	} starts[] = {
	    {"oldest", STORE_FROM_OLDEST, 0},
	    {"newest", STORE_FROM_NEWEST, 0},
	    {"0", STORE_FROM_NEWEST, 0},
	    {"1", STORE_FROM_OLDEST, 0},
	    {"2", STORE_FROM_NTH, 2},
	    {"1000", STORE_FROM_NTH, 1000},
	    {"-1", STORE_FROM_LAST, 1},
	    {"-1000", STORE_FROM_LAST, 1000},
	};
	static const char *const bad[] = {"first", "-0", "+1", "1001", "-1001", "1.5", "--1", "''"};
	char yaml[200];

	for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
		struct config *config, *again;
		char *text;

		snprintf(yaml, sizeof(yaml), SUBSCRIBER "  first_message: %s\n", starts[i].text);
		config = load(yaml);
		assert_int_equal(config->locations[0].first_message.from, starts[i].from);
		assert_int_equal(config->locations[0].first_message.n, starts[i].n);
		text = dump(config);
		again = load(text);
		assert_int_equal(again->locations[0].first_message.from, starts[i].from);
		assert_int_equal(again->locations[0].first_message.n, starts[i].n);
		free(text);
		config_unref(config);
		config_unref(again);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		snprintf(yaml, sizeof(yaml), SUBSCRIBER "  first_message: %s\n", bad[i]);
		assert_error_begins(yaml,
		    "test:4: locations[0].first_message: must be oldest, newest, or a whole number "
		    "from -1000 to 1000, not ");
	}
}

static void
test_streams_have_their_texts_and_times(void **state UNUSED)
{
	struct config *config = load(SUBSCRIBER "  ping_interval: 0.5\n"
						"  ping_timeout: 0\n"
						"  ping_message: 'still: here'\n"
						"  event: message\n"
						"  retry: 0\n"
						"  stream_separator: ''\n"
						"  header_template: \"<html>\\n\"\n"
						"  footer_template: </html>\n"
						"  heartbeat: [ping, pong]\n"
						"  message_template: '{\"id\":~id~}'\n"
						"  on_slow: close\n"
						"  batch: json\n"
						"  gap_event: off\n"
						"  say_channel: on\n"
						"  deflate: on\n"
						"  allow_publish: on\n"
						"  max_body: 2K\n"
						"  max_subscribers: 10\n");
	const struct location *sub = &config->locations[0];

	assert_int_equal(sub->ping_interval_ms, 500);
	assert_int_equal(sub->ping_timeout_ms, 0);
	assert_string_equal(sub->ping_message, "still: here");
	assert_string_equal(sub->event, "message");
	assert_true(sub->has_retry);
	assert_int_equal(sub->retry_ms, 0);
	assert_string_equal(sub->stream_separator, "");
	assert_int_equal(sub->stream_separator_len, 0);
	assert_string_equal(sub->header_template, "<html>\n");
	assert_string_equal(sub->footer_template, "</html>");
	assert_string_equal(sub->heartbeat_in, "ping");
	assert_string_equal(sub->heartbeat_out, "pong");
	assert_string_equal(template_source(sub->message_template), "{\"id\":~id~}");
	assert_int_equal(sub->on_slow, ON_SLOW_CLOSE);
	assert_int_equal(sub->batch, BATCH_JSON);
	assert_false(sub->gap_event);
	assert_true(sub->say_channel);
	assert_true(sub->deflate);
	assert_true(sub->allow_publish);
	assert_int_equal(sub->max_body, 2048);
	assert_int_equal(sub->max_subscribers, 10);
	config_unref(config);
	assert_error(SUBSCRIBER "  ping_message: \"a\\nevent: b\"\n",
	    "test:4: locations[0].ping_message: must be one line, not \"a?event: b\"");
	assert_error_begins(SUBSCRIBER "  event: \"a\\nid: 1\"\n",
	    "test:4: locations[0].event: must be without control characters");
	assert_error(SUBSCRIBER "  heartbeat: [ping]\n",
	    "test:4: locations[0].heartbeat: must be a list of two texts, what comes and what is "
	    "answered");
	assert_error(SUBSCRIBER "  heartbeat: [ping, '']\n",
	    "test:4: locations[0].heartbeat[1]: must be 1 to 1000 bytes long");
	assert_error_begins(SUBSCRIBER "  heartbeat: [ping, null]\n",
	    "test:4: locations[0].heartbeat[1]: has no value");
	assert_error(SUBSCRIBER "  message_template: ''\n",
	    "test:4: locations[0].message_template: must not be empty; none is null");
}

static void
test_templates_are_bounded(void **state UNUSED)
{
	char yaml[20000] = SUBSCRIBER "  message_template: \"", *start = yaml + strlen(yaml);
	char error[CONFIG_ERROR_SIZE];
	char *end = start;

	for (int i = 0; i < 65; i++)
		end = stpcpy(end, "~text~");
	strcpy(end, "\"\n");
	assert_error(
	    yaml, "test:4: locations[0].message_template: has more than 64 tokens such as ~text~");
	/* One token less is read. */
	strcpy(end - 6, "\"\n");
	config_unref(load(yaml));
	memset(start, 'x', 16385);
	strcpy(start + 16385, "\"\n");
	assert_null(config_load_string(yaml, strlen(yaml), "test", error));
	assert_non_null(strstr(error, "message_template: must be at most 16 KiB long"));
	strcpy(start + 16384, "\"\n");
	config_unref(load(yaml));
}

static void
test_padding_goes_by_patterns_of_user_agents(void **state UNUSED)
{
	struct config *config =
	    load(SUBSCRIBER "  padding:\n"
			    "  - {user_agent: '(?i)trident', head: 2K}\n"
			    "  - {user_agent: '^Mozilla/[45]', head: 1, message: 512}\n");
	struct pcre2_real_match_data_8 *match_data = location_match_new();
	const struct location *sub = &config->locations[0];

	assert_int_equal(sub->n_padding, 2);
	assert_int_equal(sub->padding[0].head, 2048);
	assert_int_equal(sub->padding[0].message, 0);
	/* Found anywhere, unless it is anchored; the first that fits. */
	assert_ptr_equal(
	    location_padding(sub, match_data, "Mozilla/4.0 (TRIDENT)", 21), &sub->padding[0]);
	assert_ptr_equal(location_padding(sub, match_data, "Mozilla/5.0", 11), &sub->padding[1]);
	assert_null(location_padding(sub, match_data, "x Mozilla/5.0", 13));
	assert_null(location_padding(sub, match_data, "", 0));
	assert_null(location_padding(sub, match_data, NULL, 0));
	location_match_free(match_data);
	config_unref(config);
	assert_error(SUBSCRIBER "  padding:\n  - user_agent: x\n  - head: 1\n",
	    "test:6: locations[0].padding[1]: has no user_agent");
	assert_error_begins(SUBSCRIBER "  padding:\n  - head: 1\n    user_agent: (\n",
	    "test:6: locations[0].padding[0].user_agent: is no regular expression");
	assert_error(SUBSCRIBER "  padding:\n  - user_agent: x\n    heads: 1\n",
	    "test:6: locations[0].padding[0].heads: unknown key; did you mean head?");
	assert_error_begins(SUBSCRIBER "  padding:\n  - {user_agent: x, head: 65K}\n",
	    "test:5: locations[0].padding[0].head: must be bytes");
	assert_error(SUBSCRIBER "  padding: {user_agent: x}\n",
	    "test:4: locations[0].padding: must be a list of mappings, not a mapping");
	assert_error(SUBSCRIBER "  padding: [{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}]\n",
	    "test:4: locations[0].padding: has more than 16 entries");
}

/* What says nothing is a mistake of who wrote it; but a dump writes every default. */
static void
test_key_that_says_nothing_here_is_refused_unless_it_has_its_default(void **state UNUSED)
{
	static const struct {
		const char *transport, *key, *value, *lacks;
	} keys[] = {
	    {"stream", "polling", "interval", "longpoll, jsonp"},
	    {"eventsource", "timeout_status", "408", "longpoll, jsonp"},
	    {"eventsource", "batch", "raw", "longpoll"},
	    {"longpoll", "ping_interval", "5", "eventsource, websocket, stream, multipart"},
	    {"multipart", "ping_message", "hello", "eventsource, websocket, stream"},
	    {"eventsource", "ping_timeout", "1", "websocket"},
	    {"longpoll", "on_slow", "close", "eventsource, websocket, stream, multipart"},
	    {"multipart", "gap_event", "false", "eventsource"},
	    {"websocket", "event", "x", "eventsource"},
	    {"websocket", "retry", "1", "eventsource"},
	    {"websocket", "padding", "[{user_agent: x}]", "eventsource"},
	    {"eventsource", "stream_separator", "x", "stream"},
	    {"multipart", "header_template", "x", "stream"},
	    {"multipart", "footer_template", "x", "stream"},
	    {"stream", "heartbeat", "[a, b]", "websocket"},
	    {"stream", "deflate", "true", "websocket"},
	    {"stream", "allow_publish", "true", "websocket"},
	};
	char yaml[300], expected[300];
	struct config_key row;

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		snprintf(yaml, sizeof(yaml), SUBSCRIBER "  transports: [%s]\n  %s: %s\n",
		    keys[i].transport, keys[i].key, keys[i].value);
		snprintf(expected, sizeof(expected),
		    "test:5: locations[0].%s: says nothing here: transports lacks %s", keys[i].key,
		    keys[i].lacks);
		assert_error(yaml, expected);
		for (size_t k = 0; config_key(k, &row); k++) {
			if (!row.subscriber || strcmp(row.name, keys[i].key) != 0)
				continue;
			snprintf(yaml, sizeof(yaml), SUBSCRIBER "  transports: [%s]\n  %s: %s\n",
			    keys[i].transport, row.name, row.initial);
			config_unref(load(yaml));
		}
		snprintf(yaml, sizeof(yaml), SUBSCRIBER "  %s: %s\n", keys[i].key, keys[i].value);
		config_unref(load(yaml));
	}
	assert_error(SUBSCRIBER "  max_body: 2M\n",
	    "test:4: locations[0].max_body: says nothing here without allow_publish: true");
	assert_error(SUBSCRIBER "  max_channels: 2\n",
	    "test:4: locations[0].max_channels: says nothing here: a request names several "
	    "channels "
	    "by several groups in url, by split or by channel_argument");
	config_unref(load(SUBSCRIBER "  max_channels: 2\n  split: /\n"));
	config_unref(load(SUBSCRIBER "  max_channels: 2\n  channel_argument: id\n"));
	config_unref(load(
	    "locations: [{type: subscriber, url: '/(a)(b)', max_channels: 2, max_body: 1048576}]"));
}

static void
test_statistics_are_for_this_host_alone_by_default(void **state UNUSED)
{
	struct config *config = load(STATISTICS "  split: /\n");
	const struct location *loc = &config->locations[0];

	assert_int_equal(loc->type, LOCATION_STATISTICS);
	assert_int_equal(loc->n_allow, 2);
	assert_true(loc->allow_unix);
	assert_false(loc->allow_all);
	assert_int_equal(loc->cors.n_origins, 0);
	assert_int_equal(loc->max_channels, 255);
	config_unref(config);
}

static void
test_location_that_is_never_reached_is_refused(void **state UNUSED)
{
	assert_error(
	    "locations:\n- {type: subscriber, prefix: /a/}\n- {type: publisher, prefix: /a/b/}\n",
	    "test:3: locations[1].prefix: is never reached: locations[0] takes all such paths "
	    "before it");
	assert_error(
	    "locations:\n- {type: subscriber, url: /(.+)}\n- {type: publisher, url: /(.+)}\n",
	    "test:3: locations[1].url: is never reached: locations[0] takes all such paths before "
	    "it");
	config_unref(load(
	    "locations:\n- {type: subscriber, prefix: /a/b/}\n- {type: publisher, prefix: /a/}\n"));
}

static void
test_location_that_takes_one_path_shadows_that_alone(void **state UNUSED)
{
	/* Of two prefixes, with channel_argument or without: whether the second is reached. */
	static const struct {
		const char *first, *second;
		bool reached;
	} pairs[] = {
	    {"subscriber, prefix: /a, channel_argument: c", "publisher, prefix: /a/", true},
	    {"subscriber, prefix: /a, channel_argument: c",
		"publisher, prefix: /a, channel_argument: d", false},
	    {"subscriber, prefix: /a", "publisher, prefix: /a, channel_argument: d", true},
	    {"subscriber, prefix: /a", "publisher, prefix: /a/, channel_argument: d", false},
	    {"statistics, prefix: /a", "publisher, prefix: /a, channel_argument: d", false},
	    {"statistics, prefix: /a", "statistics, prefix: /a", false},
	    /* "/a" itself is the summary. */
	    {"subscriber, prefix: /a", "statistics, prefix: /a", true},
	    {"subscriber, url: /a(.*)", "statistics, url: /a(.*)", true},
	    {"statistics, url: /a(.*)", "subscriber, url: /a(.*)", false},
	    {"subscriber, url: /a, channel_argument: c", "statistics, url: /a, channel_argument: c",
		false},
	};
	char yaml[300], error[CONFIG_ERROR_SIZE];

	for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
		struct config *config;

		snprintf(yaml, sizeof(yaml), "locations:\n- {type: %s}\n- {type: %s}\n",
		    pairs[i].first, pairs[i].second);
		error[0] = '\0';
		config = config_load_string(yaml, strlen(yaml), "test", error);
		if (pairs[i].reached)
			assert_string_equal(error, "");
		else
			assert_non_null(strstr(error, "is never reached"));
		config_unref(config);
	}
}

static void
test_credentials_go_with_named_origins_alone(void **state UNUSED)
{
	assert_error_begins(SUBSCRIBER "  allow_credentials: true\n",
	    "test:4: locations[0].allow_credentials: cannot be true while allow_origin is \"*\", "
	    "its default: any site could read");
	assert_error_begins(SUBSCRIBER "  allow_credentials: true\n  allow_origin: '*'\n",
	    "test:4: locations[0].allow_credentials: cannot be true while allow_origin is \"*\": "
	    "any site could read");
	assert_error_begins(SUBSCRIBER
	    "  allow_origin: [http://a, 'null']\n  allow_credentials: yes\n",
	    "test:5: locations[0].allow_credentials: cannot be true while allow_origin is "
	    "\"null\"");
	config_unref(load(SUBSCRIBER "  allow_origin: http://a\n  allow_credentials: true\n"));
	assert_error(SUBSCRIBER "  allow_origin: [http://a, '*']\n",
	    "test:4: locations[0].allow_origin: \"*\" stands for all origins; it cannot be one of "
	    "several");
	assert_error(SUBSCRIBER "  allow_origin:\n  - http://a\n  - http://A:80\n",
	    "test:6: locations[0].allow_origin[1]: \"http://A:80\" is given twice");
	assert_error(SUBSCRIBER "  allow_origin: http://a/\n",
	    "test:4: locations[0].allow_origin: must be an origin: it ends behind host and port, "
	    "without a path, not \"http://a/\"");
}

static void
test_passthrough_is_a_whole_http_url_and_its_password_is_not_shown(void **state UNUSED)
{
	static const char *const bad[] = {"/passthrough", "ftp://a/", "127.0.0.1:8000/p", "a",
	    "http://", "http://a b/", "\"http://a/\\r\\nX: y\"", "file:///etc/passwd"};
	char yaml[200];

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		snprintf(yaml, sizeof(yaml), SUBSCRIBER "  passthrough: %s\n", bad[i]);
		assert_error(yaml,
		    "test:4: locations[0].passthrough: must be a whole URL, with http:// or "
		    "https://");
	}
	assert_error(SUBSCRIBER "  passthrough: http://me:secret@a/\n",
	    "test:4: locations[0].passthrough: must be without user name and password");
	config_unref(load(SUBSCRIBER "  passthrough: https://a.example:8443/passthrough?x=1\n"));
	config_unref(load(SUBSCRIBER "  passthrough: http://[::1]:8000/passthrough\n"));
}

static void
test_cookies_that_tell_who_it_is_are_a_list_of_names(void **state UNUSED)
{
	struct config *config = load(SUBSCRIBER "  passthrough_identity: [a, __Host-b]\n");

	assert_int_equal(config->locations[0].n_identity, 2);
	assert_string_equal(config->locations[0].identity[1], "__Host-b");
	config_unref(config);
	config = load(SUBSCRIBER "  passthrough_identity: []\n");
	assert_int_equal(config->locations[0].n_identity, 0);
	config_unref(config);
	assert_error(SUBSCRIBER "  passthrough_identity: [a, 'b c']\n",
	    "test:4: locations[0].passthrough_identity[1]: must be the name of a cookie, not "
	    "\"b c\"");
	assert_error(SUBSCRIBER "  passthrough_identity: ['']\n",
	    "test:4: locations[0].passthrough_identity[0]: must be the name of a cookie, not "
	    "\"\"");
	assert_error(SUBSCRIBER "  passthrough_identity: [a, a]\n",
	    "test:4: locations[0].passthrough_identity[1]: \"a\" is given twice");
	assert_error(SUBSCRIBER
	    "  passthrough_identity: [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q]\n",
	    "test:4: locations[0].passthrough_identity[16]: has more than 16 names");
}

static void
test_header_values_cannot_end_their_line(void **state UNUSED)
{
	assert_error("servername: \"a\\r\\nX: b\"\n",
	    "test:1: servername: must be without control characters, not \"a??X: b\"");
	assert_error(SUBSCRIBER "  content_type: \"a\\tb\"\n",
	    "test:4: locations[0].content_type: must be without control characters, not \"a?b\"");
	assert_error("servername: \"a\\0b\"\n", "test:1: servername: holds a NUL byte");
	assert_error("servername: ''\n", "test:1: servername: must not be empty; none is null");
}

static void
test_who_may_publish_is_told_by_addresses(void **state UNUSED)
{
	assert_error_begins(PUBLISHER "  allow:\n  - unix\n  - localhost\n",
	    "test:6: locations[0].allow[1]: must be an IP address, a network");
	assert_error(PUBLISHER "  allow: 10.0.0.1/8\n",
	    "test:4: locations[0].allow: has bits set behind its /8; the network is "
	    "\"10.0.0.0/8\", not \"10.0.0.1/8\"");
}

static void
test_what_is_no_yaml_is_told_with_its_line(void **state UNUSED)
{
	assert_error_begins("port: 1\nlog: [info\n", "test:3: is not YAML: ");
	assert_error_begins("limits:\n\tnotices: 1\n", "test:2: is not YAML: ");
	assert_error_begins("port: 1\n# \xff\n", "test:2: is not text in UTF-8: ");
	assert_error_begins("a: \x01\n", "test:1: is not text in UTF-8: ");
	assert_error("port: *p\n", "test:1: is not YAML: found undefined alias");
	assert_error("- port\n", "test:1: must be a mapping, not a list");
	assert_error("port\n", "test:1: must be a mapping, not \"port\"");
	assert_error("? [a]\n: b\n", "test:1: a key must be a word, not a list");
	assert_error("port: !!int 1\n",
	    "test:1: port: has a tag (tag:yaml.org,2002:int); tags are not read");
	assert_error(
	    "port: 1\n---\nport: 2\n", "test:3: a second document begins here; one is read");
}

static void
test_deep_and_tangled_texts_are_refused_at_once(void **state UNUSED)
{
	size_t len = CONFIG_FILE_MAX;
	char *text = malloc(len + 1), error[CONFIG_ERROR_SIZE];

	assert_non_null(text);
	memset(text, '[', len);
	assert_null(config_load_string(text, len, "test", error));
	assert_string_equal(error, "test:1: is nested deeper than anything this file can hold");
	strcpy(text, "port: [");
	for (size_t i = 0; i < 1001; i++)
		sprintf(text + strlen(text), "&a%zu x, ", i);
	strcat(text, "]");
	assert_null(config_load_string(text, strlen(text), "test", error));
	assert_string_equal(error, "test:1: has more than 1000 anchors");
	strcpy(text, PUBLISHER "  allow: [");
	for (size_t i = 0; i < 1001; i++)
		strcat(text, "unix, ");
	strcat(text, "]");
	assert_null(config_load_string(text, strlen(text), "test", error));
	assert_string_equal(error, "test:4: locations[0].allow: has more than 1000 entries");
	free(text);
}

static void
test_error_is_one_line_whatever_the_names(void **state UNUSED)
{
	char name[1000], yaml[2000], error[CONFIG_ERROR_SIZE];
	static const char *const keys[] = {"\\e[31m", "a\\nb", "\\x7f"};

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	memset(yaml, 'k', 1000);
	strcpy(yaml + 1000, ": 1\n");
	assert_null(config_load_string(yaml, strlen(yaml), name, error));
	assert_non_null(strstr(error, "unknown key"));
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		snprintf(yaml, sizeof(yaml), "\"%s\": 1\n", keys[i]);
		assert_null(config_load_string(yaml, strlen(yaml), "test", error));
		for (const char *p = error; *p != '\0'; p++)
			assert_true((unsigned char)*p >= ' ' && *p != 0x7f);
	}
}

/* ---- files ---- */

/* A file of this text; returns new (unlink and free). */
static char *
file_of(const char *text, size_t len)
{
	char *path = strdup("/tmp/test_config.XXXXXX");
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), len);
	close(fd);
	return path;
}

static void
test_file_is_read_and_named_in_errors(void **state UNUSED)
{
	char *path = file_of("port: 8002\n", 11), error[CONFIG_ERROR_SIZE], expected[200];
	struct config *config = config_load(path, error);

	assert_non_null(config);
	assert_string_equal(config->listens[0].text, "127.0.0.1:8002");
	config_unref(config);
	unlink(path);
	assert_null(config_load(path, error));
	snprintf(
	    expected, sizeof(expected), "%s: cannot be opened: No such file or directory", path);
	assert_string_equal(error, expected);
	free(path);
	assert_null(config_load("/", error));
	assert_string_equal(error, "/: cannot be read: Is a directory");
	path = file_of("\nprot: 1\n", 9);
	assert_null(config_load(path, error));
	snprintf(expected, sizeof(expected), "%s:2: prot: unknown key; did you mean port?", path);
	assert_string_equal(error, expected);
	unlink(path);
	free(path);
}

static void
test_file_over_1_mib_is_refused_and_one_of_1_mib_is_read(void **state UNUSED)
{
	char *text = malloc(CONFIG_FILE_MAX + 1), *path, error[CONFIG_ERROR_SIZE];
	struct config *config;

	assert_non_null(text);
	memset(text, '\n', CONFIG_FILE_MAX + 1);
	path = file_of(text, CONFIG_FILE_MAX);
	config = config_load(path, error);
	assert_non_null(config);
	config_unref(config);
	unlink(path);
	free(path);
	path = file_of(text, CONFIG_FILE_MAX + 1);
	assert_null(config_load(path, error));
	assert_non_null(strstr(error, ": is larger than 1048576 bytes"));
	unlink(path);
	free(path);
	free(text);
}

static void
test_dash_is_standard_input(void **state UNUSED)
{
	char *path = file_of("prot: 1\n", 8), error[CONFIG_ERROR_SIZE];
	int saved = dup(STDIN_FILENO), fd = open(path, O_RDONLY);

	assert_true(saved >= 0 && fd >= 0);
	assert_int_equal(dup2(fd, STDIN_FILENO), STDIN_FILENO);
	assert_null(config_load("-", error));
	assert_string_equal(error, "standard input:1: prot: unknown key; did you mean port?");
	assert_int_equal(dup2(saved, STDIN_FILENO), STDIN_FILENO);
	close(saved);
	close(fd);
	unlink(path);
	free(path);
}

static void
test_configuration_lives_until_its_last_user_is_gone(void **state UNUSED)
{
	struct config *config = load("");

	assert_ptr_equal(config_ref(config), config);
	config_unref(config);
	assert_string_equal(config->stores[0].name, "default");
	config_unref(config);
	config_unref(NULL);
}

/* ---- the dump ---- */

static void
test_dump_is_read_back_and_dumped_the_same(void **state UNUSED)
{
	static const char *const yamls[] = {
	    "",
	    "address: '*'\nport: 0\nservername: null\nlog: debug\nworkers: 7\n",
	    "listen: ['unix:/run/\"p\"\\.sock', '[::]:1', '*:2', '127.0.0.1:3']\n",
	    "limits: {connections: 9, target_size: 1000, header_size: 1M, header_timeout: 0.001, "
	    "body_timeout: 1.25, send_timeout: 4294967}\n",
	    "store: {a: {max_memory: 65537}, default: {max_memory: 1024G, message_timeout: 0.5}}\n",
	    SUBSCRIBER
	    "  content_type: \"a \\\"b\\\" \\\\ \xc5\xbc\xc3\xb3\xc5\x82w \xf0\x9f\x90\xa2\"\n",
	    SUBSCRIBER "  content_type: \"\\u2028\\ufeff\\x85\\xa0x\"\n",
	    SUBSCRIBER "  allow_origin: [http://a, 'null']\n  concurrency: first\n  timeout: 0\n",
	    "locations:\n- {type: subscriber, url: '/\\w+/(?P<id>\"[^/\\\\]+)', prefix: /s/}\n",
	    PUBLISHER "  allow: []\n  allow_origin: http://a\n  max_body: 1\n",
	    PUBLISHER "  allow: ['::/0', unix, 10.0.0.0/8, 10.1.2.3]\n  create_on_post: no\n",
	    PUBLISHER "  allow_delete: no\n  channel_argument: id\n",
	    SUBSCRIBER "  transports: [jsonp, stream]\n  timeout: {stream: 0.5}\n  split: ':'\n",
	    SUBSCRIBER "  transports: longpoll\n  timeout: 7\n  batch: multipart\n",
	    SUBSCRIBER "  ping_message: 'x'\n  event: y\n  retry: 2.5\n  stream_separator: ''\n"
		       "  heartbeat: [\"a\\n\", \"\\\\\"]\n  header_template: \"\\r\\n\"\n"
		       "  message_template: \"~text~\\n~\"\n",
	    SUBSCRIBER "  padding: [{user_agent: 'a\"b', head: 1}, {user_agent: c, message: 2K}]\n",
	    STATISTICS "  allow: 10.0.0.1\n  split: ','\n",
	};

	for (size_t i = 0; i < ARRAY_LEN(yamls); i++) {
		struct config *config = load(yamls[i]), *again;
		char *first = dump(config), *second;

		again = load(first);
		second = dump(again);
		assert_string_equal(first, second);
		/* Which it would also be if the dump lost something: what cannot be told
		 * from the text is compared here. */
		assert_int_equal(again->n_listens, config->n_listens);
		for (size_t j = 0; j < config->n_listens; j++) {
			assert_string_equal(again->listens[j].text, config->listens[j].text);
			assert_int_equal(again->listens[j].optional, config->listens[j].optional);
		}
		assert_memory_equal(&again->limits, &config->limits, sizeof(config->limits));
		assert_int_equal(again->stores[0].max_memory, config->stores[0].max_memory);
		for (size_t j = 0; j < config->n_locations; j++) {
			const struct location *a = &again->locations[j], *b = &config->locations[j];

			assert_string_equal(a->content_type != NULL ? a->content_type : "-",
			    b->content_type != NULL ? b->content_type : "-");
			assert_string_equal(a->url != NULL ? a->url : a->prefix,
			    b->url != NULL ? b->url : b->prefix);
			assert_int_equal(a->n_allow, b->n_allow);
			assert_int_equal(a->allow_unix, b->allow_unix);
		}
		free(first);
		free(second);
		config_unref(config);
		config_unref(again);
	}
}

/* Whether a line of text is key and a colon, behind blanks and indent. */
static bool
has_line_of(const char *text, const char *key)
{
	size_t len = strlen(key);

	for (const char *p = text; p != NULL; p = strchr(p, '\n')) {
		p += strspn(p, "\n -#");
		if (strncmp(p, key, len) == 0 && p[len] == ':')
			return true;
	}
	return false;
}

static void
test_dump_holds_every_key(void **state UNUSED)
{
	struct config *config =
	    load("locations:\n- {type: publisher, prefix: /p/}\n"
		 "- {type: statistics, url: '/t/(.*)'}\n"
		 "- {type: subscriber, prefix: /s/, padding: [{user_agent: x}]}\n");
	char *text = dump(config);
	struct config_key key;

	for (size_t i = 0; config_key(i, &key); i++) {
		char name[40];

		/* listen says what they say. */
		if (strcmp(key.name, "address") == 0 || strcmp(key.name, "port") == 0)
			continue;
		snprintf(name, sizeof(name), "%s: ", key.name);
		if (strcmp(key.mapping, "padding") == 0 ? strstr(text, name) == NULL
							: !has_line_of(text, key.name))
			fail_msg("the dump lacks %s", key.name);
	}
	free(text);
	config_unref(config);
}

/* ---- the documents ---- */

static void
test_installed_file_means_the_defaults(void **state UNUSED)
{
	char *text = read_file(DEFAULT_FILE);

	assert_same(text, "");
	free(text);
}

/* The part of text from the line start to the next line that begins with end. */
static char *
section(const char *text, const char *start, const char *end)
{
	const char *from = strstr(text, start), *to;

	if (from == NULL) {
		fail_msg("there is no \"%s\"", start);
		return NULL; /* never: fail_msg() does not say that it does not return */
	}
	from += strlen(start);
	to = strstr(from, end);
	return to != NULL ? strndup(from, (size_t)(to - from)) : strdup(from);
}

/* Of the installed file, what is about keys of this mapping. */
static char *
section_of_file(const char *text, const struct config_key *key)
{
	if (key->mapping[0] == '\0')
		return strdup(text);
	if (strcmp(key->mapping, "padding") == 0)
		return section(text, "#padding:\n", "\n    stream");
	return section(
	    text, strcmp(key->mapping, "limits") == 0 ? "\nlimits:\n" : "\nstore:\n", "\n#");
}

/* This part of the installed file, called name, tells of the key. */
static void
assert_shown(const char *part, const struct config_key *key, const char *name)
{
	char line[200];

	if (!has_line_of(part, key->name))
		fail_msg("%s lacks %s of %s", DEFAULT_FILE, key->name, name);
	/* Of a mapping, a list and the version the default is told otherwise. */
	if (key->initial == NULL || strchr(key->initial, '{') != NULL ||
	    strcmp(key->name, "servername") == 0)
		return;
	snprintf(line, sizeof(line), "%s: %s", key->name, key->initial);
	if (strstr(part, line) == NULL)
		fail_msg("%s does not show \"%s\" of %s", DEFAULT_FILE, line, name);
}

static void
test_installed_file_shows_every_key_with_its_default(void **state UNUSED)
{
	static const char *const types[] = {"subscriber", "publisher", "statistics"};
	char *text = read_file(DEFAULT_FILE), start[40], *part;
	struct config_key key;

	for (size_t i = 0; config_key(i, &key); i++) {
		const bool of[] = {key.subscriber, key.publisher, key.statistics};

		if (strcmp(key.mapping, "locations") != 0) {
			part = section_of_file(text, &key);
			assert_shown(part, &key, key.mapping);
			free(part);
			continue;
		}
		/* Their sections begin behind the line of the type. */
		for (size_t t = 0; t < ARRAY_LEN(types) && strcmp(key.name, "type") != 0; t++) {
			if (!of[t])
				continue;
			snprintf(start, sizeof(start), "- type: %s\n", types[t]);
			part = section(text, start, "- type: ");
			assert_shown(part, &key, types[t]);
			free(part);
		}
	}
	free(text);
}

/* The section of the man page that tells of a key. */
static const char *
man_section(const struct config_key *key)
{
	if (key->mapping[0] == '\0')
		return ".Sh TOP LEVEL\n";
	if (strcmp(key->mapping, "limits") == 0)
		return ".Sh LIMITS\n";
	if (strcmp(key->mapping, "store") == 0)
		return ".Sh STORES\n";
	if (strcmp(key->mapping, "padding") == 0)
		return ".Sh PADDING\n";
	if (key->subscriber + key->publisher + key->statistics > 1)
		return ".Sh LOCATIONS\n";
	return key->subscriber  ? ".Sh SUBSCRIBER LOCATIONS\n"
	       : key->publisher ? ".Sh PUBLISHER LOCATIONS\n"
				: ".Sh STATISTICS LOCATIONS\n";
}

static void
test_man_page_tells_every_key_with_its_default(void **state UNUSED)
{
	char *page = read_file(MAN_PAGE), start[100], expected[200];
	size_t n_keys = 0, n_entries = 0;
	struct config_key key;

	for (size_t i = 0; config_key(i, &key); i++, n_keys++) {
		char *part = section(page, man_section(&key), "\n.Sh "), *entry;

		snprintf(start, sizeof(start), ".It Ic %s : ", key.name);
		entry = section(part, start, "\n.It ");
		if (key.initial == NULL)
			snprintf(expected, sizeof(expected), "No default");
		else if (strcmp(key.name, "servername") == 0)
			snprintf(expected, sizeof(expected), ".Li pushserver/ Ns Ar version .");
		else if (strchr(key.initial, '\\') != NULL)
			/* "\n", with roff's own backslash. */
			snprintf(expected, sizeof(expected), ".Li \\(dq\\en\\(dq .");
		else if (strchr(key.initial, ' ') != NULL)
			snprintf(expected, sizeof(expected), "\n.Li \"%s\" .", key.initial);
		else
			snprintf(expected, sizeof(expected), "Default:\n.Li %s .", key.initial);
		if (strstr(entry, expected) == NULL)
			fail_msg("%s does not say \"%s\" of %s", MAN_PAGE, expected, key.name);
		free(entry);
		free(part);
	}
	/* And none that there is not. */
	for (const char *p = page; (p = strstr(p, "\n.It Ic ")) != NULL; p++)
		n_entries++;
	assert_int_equal(n_entries, n_keys);
	free(page);
}

static void
test_examples_of_the_man_page_load(void **state UNUSED)
{
	char *page = read_file(MAN_PAGE);
	size_t n = 0;

	for (const char *p = page; (p = strstr(p, ".Bd -literal")) != NULL; n++) {
		char *example;

		p = strchr(p, '\n') + 1;
		example = strndup(p, (size_t)(strstr(p, ".Ed\n") - p));
		config_unref(load(example));
		free(example);
	}
	assert_int_equal(n, 3);
	free(page);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_nothing_at_all_means_the_defaults),
	    cmocka_unit_test(test_documented_example_loads_as_printed),
	    cmocka_unit_test(test_json_is_read_like_yaml),
	    cmocka_unit_test(test_sizes_have_units_of_1024_and_times_have_decimals),
	    cmocka_unit_test(test_booleans_are_those_of_yaml_and_not_quoted),
	    cmocka_unit_test(test_null_takes_a_default_away_where_that_has_a_meaning),
	    cmocka_unit_test(test_aliases_stand_for_values_and_merge_keys_are_refused),
	    cmocka_unit_test(test_words_stand_for_their_values),
	    cmocka_unit_test(test_origins_are_one_or_a_list_and_normalised),
	    cmocka_unit_test(test_address_and_port_make_one_socket_or_all_addresses_two),
	    cmocka_unit_test(test_listen_takes_addresses_and_unix_sockets),
	    cmocka_unit_test(test_listen_refuses_names_and_halves),
	    cmocka_unit_test(test_listen_stands_alone),
	    cmocka_unit_test(test_several_stores_go_by_their_names),
	    cmocka_unit_test(test_location_without_a_store_needs_one_called_default),
	    cmocka_unit_test(test_store_is_one_or_several_and_not_both),
	    cmocka_unit_test(test_what_is_kept_for_sure_cannot_be_more_than_what_is_kept_at_most),
	    cmocka_unit_test(test_unknown_key_is_told_with_line_and_nearest_key),
	    cmocka_unit_test(test_key_of_the_other_type_of_location_is_told_so),
	    cmocka_unit_test(test_each_key_is_given_once),
	    cmocka_unit_test(test_value_out_of_bounds_is_told_with_the_bounds),
	    cmocka_unit_test(test_what_is_no_number_size_or_time_is_refused),
	    cmocka_unit_test(test_locations_are_a_list_of_at_least_one_with_a_path_each),
	    cmocka_unit_test(test_pattern_compiles_and_has_a_group_for_each_channel),
	    cmocka_unit_test(test_channels_are_in_the_path_or_in_the_query),
	    cmocka_unit_test(test_split_is_a_character_that_no_proxy_rewrites),
	    cmocka_unit_test(test_transports_are_a_list_and_jsonp_must_be_named),
	    cmocka_unit_test(test_timeout_is_one_or_by_transport),
	    cmocka_unit_test(test_first_message_is_a_word_or_counts_from_either_end),
	    cmocka_unit_test(test_streams_have_their_texts_and_times),
	    cmocka_unit_test(test_templates_are_bounded),
	    cmocka_unit_test(test_padding_goes_by_patterns_of_user_agents),
	    cmocka_unit_test(test_key_that_says_nothing_here_is_refused_unless_it_has_its_default),
	    cmocka_unit_test(test_statistics_are_for_this_host_alone_by_default),
	    cmocka_unit_test(test_location_that_takes_one_path_shadows_that_alone),
	    cmocka_unit_test(test_location_that_is_never_reached_is_refused),
	    cmocka_unit_test(test_credentials_go_with_named_origins_alone),
	    cmocka_unit_test(test_passthrough_is_a_whole_http_url_and_its_password_is_not_shown),
	    cmocka_unit_test(test_cookies_that_tell_who_it_is_are_a_list_of_names),
	    cmocka_unit_test(test_header_values_cannot_end_their_line),
	    cmocka_unit_test(test_who_may_publish_is_told_by_addresses),
	    cmocka_unit_test(test_what_is_no_yaml_is_told_with_its_line),
	    cmocka_unit_test(test_deep_and_tangled_texts_are_refused_at_once),
	    cmocka_unit_test(test_error_is_one_line_whatever_the_names),
	    cmocka_unit_test(test_file_is_read_and_named_in_errors),
	    cmocka_unit_test(test_file_over_1_mib_is_refused_and_one_of_1_mib_is_read),
	    cmocka_unit_test(test_dash_is_standard_input),
	    cmocka_unit_test(test_configuration_lives_until_its_last_user_is_gone),
	    cmocka_unit_test(test_dump_is_read_back_and_dumped_the_same),
	    cmocka_unit_test(test_dump_holds_every_key),
	    cmocka_unit_test(test_installed_file_means_the_defaults),
	    cmocka_unit_test(test_installed_file_shows_every_key_with_its_default),
	    cmocka_unit_test(test_man_page_tells_every_key_with_its_default),
	    cmocka_unit_test(test_examples_of_the_man_page_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
