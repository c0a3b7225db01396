/*
 * The configuration loader: relay/config.c.
 *
 * Promises: any bytes are either loaded or refused with one line without control
 * characters; what was loaded can be dumped, the dump loads, and dumping that gives the
 * same text again.
 */
#include "fuzz.h"

#include "base/log.h"
#include "relay/config.h"

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
	free(first);
	free(second);
	config_unref(config);
	config_unref(again);
	return 0;
}
