/*
 * main.c - arguments and exit codes; nothing else.
 */
#include "base/log.h"
#include "relay/config.h"
#include "relay/relay.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef PUSHSERVER_VERSION
#error "the Makefile defines PUSHSERVER_VERSION"
#endif

/* Where the configuration is looked for without -c, in this order. */
static const char *const default_paths[] = {
    "config/pushserver.yaml", "/etc/pushserver/pushserver.yaml"};

static void
usage(FILE *out)
{
	fputs("usage: pushserver [-c FILE] [-t] [--dump-config]\n"
	      "       pushserver -V | -h\n"
	      "  -c, --config FILE  the configuration; - is standard input. Without it\n"
	      "                     config/pushserver.yaml, then /etc/pushserver/pushserver.yaml\n"
	      "  -t, --test         check the configuration and exit\n"
	      "      --dump-config  print the whole configuration in force and exit\n"
	      "  -V, --version      print the version and exit\n"
	      "  -h, --help         print this and exit\n",
	    out);
}

static const char *
find_config(void)
{
	for (size_t i = 0; i < ARRAY_LEN(default_paths); i++)
		if (access(default_paths[i], F_OK) == 0)
			return default_paths[i];
	return NULL;
}

int
main(int argc, char **argv)
{
	enum {
		OPT_DUMP = 256
	};
	static const struct option options[] = {
	    {"config", required_argument, NULL, 'c'},
	    {"test", no_argument, NULL, 't'},
	    {"dump-config", no_argument, NULL, OPT_DUMP},
	    {"version", no_argument, NULL, 'V'},
	    {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0},
	};
	const char *path = NULL;
	bool test = false, dump = false;
	char error[CONFIG_ERROR_SIZE];
	struct config *config;
	enum relay_exit status = RELAY_EXIT_OK;
	int c;

	while ((c = getopt_long(argc, argv, "c:tVh", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			path = optarg;
			break;
		case 't':
			test = true;
			break;
		case OPT_DUMP:
			dump = true;
			break;
		case 'V':
			puts("pushserver " PUSHSERVER_VERSION);
			return RELAY_EXIT_OK;
		case 'h':
			usage(stdout);
			return RELAY_EXIT_OK;
		default:
			usage(stderr);
			return RELAY_EXIT_USAGE;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "pushserver: what is \"%s\" for?\n", argv[optind]);
		usage(stderr);
		return RELAY_EXIT_USAGE;
	}
	if (path == NULL && (path = find_config()) == NULL) {
		fprintf(stderr,
		    "pushserver: no configuration: neither %s nor %s is there; "
		    "name one with -c\n",
		    default_paths[0], default_paths[1]);
		return RELAY_EXIT_CONFIG;
	}
	config = config_load(path, error);
	if (config == NULL) {
		fprintf(stderr, "pushserver: %s\n", error);
		return RELAY_EXIT_CONFIG;
	}
	if (dump)
		config_dump(config, stdout);
	else if (test)
		fprintf(stderr, "pushserver: %s is fine\n",
		    strcmp(path, "-") == 0 ? "standard input" : path);
	else {
		log_set_level(config->log);
		log_info("pushserver " PUSHSERVER_VERSION ", %u worker%s, configuration %s",
		    config->workers, config->workers == 1 ? "" : "s",
		    strcmp(path, "-") == 0 ? "from standard input" : path);
		status = relay_run(config);
	}
	config_unref(config);
	return status;
}
