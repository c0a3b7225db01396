/*
 * main.c - runs every file it is given, and every file in the folders it is given, once
 * through a fuzz target: the corpora as a test, without libFuzzer.
 */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

int __attribute__((weak)) LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

static const char *running = "";
static unsigned n_run;

static void
fail(const char *what, const char *path)
{
	fprintf(stderr, "%s %s: %s\n", what, path, strerror(errno));
	exit(1);
}

/* A crash ends the process: which input it was is said before. */
static void
run_file(const char *path, size_t size)
{
	uint8_t *bytes = malloc(size > 0 ? size : 1);
	FILE *in = fopen(path, "rb");

	if (in == NULL || bytes == NULL || fread(bytes, 1, size, in) != size)
		fail("cannot read", path);
	fclose(in);
	running = path;
	LLVMFuzzerTestOneInput(bytes, size);
	free(bytes);
	n_run++;
}

static void
run_path(const char *path)
{
	struct stat st;
	struct dirent *entry;
	DIR *dir;

	if (stat(path, &st) < 0)
		fail("cannot find", path);
	if (!S_ISDIR(st.st_mode)) {
		run_file(path, (size_t)st.st_size);
		return;
	}
	dir = opendir(path);
	if (dir == NULL)
		fail("cannot open", path);
	while ((entry = readdir(dir)) != NULL) {
		char below[4096];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(below, sizeof(below), "%s/%s", path, entry->d_name);
		run_path(below);
	}
	closedir(dir);
}

/* The sanitizers' names: abort() is theirs too, and say_input() is called on the way out. */
const char *__asan_default_options(void);
void __sanitizer_set_death_callback(void (*callback)(void));

const char *
__asan_default_options(void)
{
	return "handle_abort=1";
}

static void
say_input(void)
{
	fprintf(stderr, "the input: %s\n", running);
}

int
main(int argc, char **argv)
{
	int n = argc;

	__sanitizer_set_death_callback(say_input);
	LLVMFuzzerInitialize(&argc, &argv);
	for (int i = 1; i < n; i++)
		run_path(argv[i]);
	/* An empty corpus is a mistake in a path, not a success. */
	if (n_run == 0) {
		fprintf(stderr, "%s: no inputs\n", argv[0]);
		return 1;
	}
	printf("%s: %u inputs\n", argv[0], n_run);
	return 0;
}
