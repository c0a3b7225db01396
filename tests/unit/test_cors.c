/* Whose scripts may read: origins, and the lines each of them gets. */
#include "relay/cors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A prepared struct cors of these origins, ended by NULL; cors_reset() frees. */
static struct cors
cors_of(bool credentials, bool publisher, const char *const *origins)
{
	struct cors cors = {.allow_credentials = credentials, .publisher = publisher};

	while (origins[cors.n_origins] != NULL)
		cors.n_origins++;
	cors.origins = calloc(cors.n_origins + 1, sizeof(*cors.origins));
	assert_non_null(cors.origins);
	for (size_t i = 0; i < cors.n_origins; i++)
		cors.origins[i] = strdup(origins[i]);
	assert_int_equal(cors_prepare(&cors), 0);
	return cors;
}

static const char *
block_for(const struct cors *cors, const char *origin, bool *allowed)
{
	size_t len = origin != NULL ? strlen(origin) : 0;
	unsigned i = cors_match(cors, origin, len, allowed);

	assert_in_range(i, 0, cors->n_origins);
	for (unsigned vary = 0; vary < CORS_VARIES; vary++)
		assert_int_equal(
		    strlen(cors->blocks[i].lines[vary].text), cors->blocks[i].lines[vary].len);
	return cors->blocks[i].lines[CORS_VARY_NONE].text;
}

/* The Vary line behind the lines for an origin, where something else decides too. */
static const char *
vary_for(const struct cors *cors, const char *origin, enum cors_vary vary)
{
	bool allowed;
	const char *block = block_for(cors, origin, &allowed);
	const char *end = strstr(block, "Vary:");
	const size_t len = end == NULL ? strlen(block) : (size_t)(end - block);
	const struct cors_block *b =
	    &cors->blocks[cors_match(cors, origin, origin != NULL ? strlen(origin) : 0, &allowed)];

	assert_memory_equal(b->lines[vary].text, block, len);
	return b->lines[vary].text + len;
}

static void
assert_origin(const char *text, const char *expected)
{
	const char *problem = "untouched";
	char *origin = cors_origin(text, &problem);

	if (expected == NULL) {
		assert_null(origin);
		assert_non_null(problem);
	} else {
		assert_non_null(origin);
		assert_null(problem);
		assert_string_equal(origin, expected);
	}
	free(origin);
}

static void
test_origin_is_written_as_browsers_send_it(void **state UNUSED)
{
	assert_origin("http://127.0.0.1:8000", "http://127.0.0.1:8000");
	assert_origin("HTTPS://WWW.Example.COM", "https://www.example.com");
	assert_origin("http://example.com:80", "http://example.com");
	assert_origin("https://example.com:443", "https://example.com");
	assert_origin("https://example.com:80", "https://example.com:80");
	assert_origin("http://[::0001]:8000", "http://[::1]:8000");
	assert_origin("http://[2001:DB8::A]", "http://[2001:db8::a]");
	assert_origin("http://my_host-1", "http://my_host-1");
	assert_origin("chrome-extension://abcdef", "chrome-extension://abcdef");
	assert_origin("http://xn--bcher-kva.example", "http://xn--bcher-kva.example");
	assert_origin("*", "*");
	assert_origin("null", "null");
}

static void
test_what_no_browser_sends_is_no_origin(void **state UNUSED)
{
	static const char *const bad[] = {"", "example.com", "http://", "http://example.com/",
	    "http://example.com/path", "http://example.com?", "http://user@example.com",
	    "http://example.com:", "http://example.com:0", "http://example.com:080",
	    "http://example.com:65536", "http://example.com:8000x", "http://exam ple.com",
	    "http://b\303\274cher.example", "https://*.example.com", "http://[::1", "http://[::1]x",
	    "http://[1.2.3.4]", "1http://x", "://x", "http://a\r\nX-Evil: 1", "http://:8000", "*.*",
	    "**"};
	char huge[1000];

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_origin(bad[i], NULL);
	memset(huge, 'a', sizeof(huge) - 1);
	huge[sizeof(huge) - 1] = '\0';
	memcpy(huge, "http://", 7);
	assert_origin(huge, NULL);
}

static void
test_any_origin_gets_the_star_whoever_asks(void **state UNUSED)
{
	struct cors cors = cors_of(false, false, (const char *const[]){"*", NULL});
	const char *expected =
	    "Access-Control-Allow-Origin: *\r\n"
	    "Access-Control-Allow-Headers: If-Modified-Since, If-None-Match, X-Cookie, "
	    "Last-Event-ID, Content-Type, Etag\r\n"
	    "Access-Control-Expose-Headers: Last-Modified, Etag, Cache-Control, X-Push-Gap, "
	    "X-Push-Channel, X-Push-Explain\r\n"
	    "Access-Control-Max-Age: 864000\r\n";
	bool allowed = false;

	assert_string_equal(block_for(&cors, NULL, &allowed), expected);
	assert_true(allowed);
	allowed = false;
	assert_string_equal(block_for(&cors, "http://evil.example", &allowed), expected);
	assert_true(allowed);
	assert_false(cors.by_origin);
	assert_string_equal(vary_for(&cors, NULL, CORS_VARY_NONE), "");
	assert_string_equal(vary_for(&cors, NULL, CORS_VARY_POSITION),
	    "Vary: If-Modified-Since, If-None-Match\r\n");
	assert_string_equal(vary_for(&cors, NULL, CORS_VARY_ACCEPT), "Vary: Accept\r\n");
	cors_reset(&cors);
}

static void
test_single_origin_is_named_to_all_and_allowed_alone(void **state UNUSED)
{
	struct cors cors = cors_of(true, false, (const char *const[]){"http://a", NULL});
	const char *start = "Access-Control-Allow-Origin: http://a\r\n"
			    "Access-Control-Allow-Credentials: true\r\n";
	const char *for_all = cors.blocks[1].lines[CORS_VARY_NONE].text;
	bool allowed;

	assert_ptr_equal(strstr(block_for(&cors, "http://a", &allowed), start), for_all);
	assert_true(allowed);
	assert_ptr_equal(block_for(&cors, NULL, &allowed), for_all);
	assert_true(allowed);
	assert_ptr_equal(block_for(&cors, "http://b", &allowed), for_all);
	assert_false(allowed);
	/* A prefix, and one that goes on, are others. */
	block_for(&cors, "http://", &allowed);
	assert_false(allowed);
	block_for(&cors, "http://a:1", &allowed);
	assert_false(allowed);
	assert_false(cors.by_origin);
	assert_string_equal(vary_for(&cors, "http://a", CORS_VARY_NONE), "");
	cors_reset(&cors);
}

static void
test_of_several_origins_the_one_that_asks_is_named_and_caches_are_told(void **state UNUSED)
{
	struct cors cors =
	    cors_of(false, false, (const char *const[]){"http://a", "https://b:8443", NULL});
	bool allowed;

	assert_non_null(strstr(
	    block_for(&cors, "http://a", &allowed), "Access-Control-Allow-Origin: http://a\r\n"));
	assert_true(allowed);
	assert_non_null(strstr(block_for(&cors, "https://b:8443", &allowed),
	    "Access-Control-Allow-Origin: https://b:8443\r\n"));
	assert_true(allowed);
	assert_string_equal(block_for(&cors, "http://c", &allowed), "Vary: Origin\r\n");
	assert_false(allowed);
	assert_string_equal(block_for(&cors, NULL, &allowed), "Vary: Origin\r\n");
	assert_true(allowed);
	assert_true(cors.by_origin);
	assert_string_equal(vary_for(&cors, "http://a", CORS_VARY_NONE), "Vary: Origin\r\n");
	assert_string_equal(vary_for(&cors, "http://a", CORS_VARY_POSITION),
	    "Vary: If-Modified-Since, If-None-Match, Origin\r\n");
	assert_string_equal(
	    vary_for(&cors, "http://c", CORS_VARY_ACCEPT), "Vary: Accept, Origin\r\n");
	cors_reset(&cors);
}

static void
test_publisher_without_origins_allows_no_web_page(void **state UNUSED)
{
	struct cors cors = cors_of(false, true, (const char *const[]){NULL});
	bool allowed;

	assert_string_equal(block_for(&cors, NULL, &allowed), "");
	assert_true(allowed);
	assert_string_equal(block_for(&cors, "http://a", &allowed), "");
	assert_false(allowed);
	assert_string_equal(block_for(&cors, "null", &allowed), "");
	assert_false(allowed);
	cors_reset(&cors);
}

static void
test_publisher_names_its_methods_to_the_origin_it_allows(void **state UNUSED)
{
	struct cors cors = cors_of(false, true, (const char *const[]){"http://a", NULL});
	bool allowed;

	assert_string_equal(block_for(&cors, "http://a", &allowed),
	    "Access-Control-Allow-Origin: http://a\r\n"
	    "Access-Control-Allow-Methods: GET, PUT, POST, DELETE\r\n"
	    "Access-Control-Allow-Headers: Content-Type\r\n"
	    "Access-Control-Max-Age: 864000\r\n");
	assert_true(allowed);
	cors_reset(&cors);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_origin_is_written_as_browsers_send_it),
	    cmocka_unit_test(test_what_no_browser_sends_is_no_origin),
	    cmocka_unit_test(test_any_origin_gets_the_star_whoever_asks),
	    cmocka_unit_test(test_single_origin_is_named_to_all_and_allowed_alone),
	    cmocka_unit_test(
		test_of_several_origins_the_one_that_asks_is_named_and_caches_are_told),
	    cmocka_unit_test(test_publisher_without_origins_allows_no_web_page),
	    cmocka_unit_test(test_publisher_names_its_methods_to_the_origin_it_allows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
