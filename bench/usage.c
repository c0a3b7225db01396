#include "bench/usage.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SETTLE_STEP_NS 1000000L
#define SETTLE_STEPS   20000

bool
usage_init(struct usage *u, const char *pids)
{
	const char *p = pids;

	memset(u, 0, sizeof(*u));
	while (*p != '\0') {
		char *end;
		long pid = strtol(p, &end, 10);

		if (end == p || pid <= 0 || u->n_pids == USAGE_PROCESSES_MAX ||
		    (*end != ',' && *end != '\0'))
			return false;
		u->pids[u->n_pids++] = (pid_t)pid;
		p = *end == ',' ? end + 1 : end;
	}
	return u->n_pids > 0;
}

static void
gone(const char *path)
{
	fprintf(stderr, "load: the server is gone: cannot read %s\n", path);
	exit(1);
}

/* All that is in a small file of /proc; false if it is not there. */
static bool
slurp(const char *path, char *buf, size_t size)
{
	FILE *f = fopen(path, "re");
	size_t n;

	if (f == NULL)
		return false;
	n = fread(buf, 1, size - 1, f);
	buf[n] = '\0';
	fclose(f);
	return n > 0;
}

/* The time of all threads, and whether one of them is running or ready to. */
static uint64_t
look(const struct usage *u, bool *busy)
{
	uint64_t sum = 0;

	*busy = false;
	for (size_t i = 0; i < u->n_pids; i++) {
		char path[300], text[1024];
		struct dirent *entry;
		DIR *dir;

		snprintf(path, sizeof(path), "/proc/%ld/task", (long)u->pids[i]);
		dir = opendir(path);
		if (dir == NULL)
			gone(path);
		while ((entry = readdir(dir)) != NULL) {
			const char *state;

			if (entry->d_name[0] == '.')
				continue;
			/* A thread may end between the two; its time is then lost to us. */
			snprintf(path, sizeof(path), "/proc/%ld/task/%s/stat", (long)u->pids[i],
			    entry->d_name);
			if (slurp(path, text, sizeof(text))) {
				/* The name, in brackets, may hold anything. */
				state = strrchr(text, ')');
				if (state != NULL && strncmp(state, ") S", 3) != 0)
					*busy = true;
			}
			snprintf(path, sizeof(path), "/proc/%ld/task/%s/schedstat",
			    (long)u->pids[i], entry->d_name);
			if (slurp(path, text, sizeof(text)))
				sum += strtoull(text, NULL, 10);
		}
		closedir(dir);
	}
	return sum;
}

uint64_t
usage_cpu_ns(const struct usage *u)
{
	bool busy;

	return look(u, &busy);
}

uint64_t
usage_pss(const struct usage *u)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < u->n_pids; i++) {
		char path[64], text[4096];
		const char *pss;

		snprintf(path, sizeof(path), "/proc/%ld/smaps_rollup", (long)u->pids[i]);
		if (!slurp(path, text, sizeof(text)) || (pss = strstr(text, "\nPss:")) == NULL)
			gone(path);
		else
			sum += strtoull(pss + 5, NULL, 10) * 1024;
	}
	return sum;
}

bool
usage_settle(const struct usage *u)
{
	const struct timespec step = {0, SETTLE_STEP_NS};
	uint64_t before = 0, now;
	bool busy;

	for (int i = 0; i < SETTLE_STEPS; i++) {
		now = look(u, &busy);
		if (!busy && i > 0 && now == before)
			return true;
		before = now;
		nanosleep(&step, NULL);
	}
	return false;
}
