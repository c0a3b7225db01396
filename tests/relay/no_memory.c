/*
 * Preloaded into the daemon by test_cors.py: there is no memory for blocks of the one size
 * that stands in the file which NO_MEMORY_SIZE names, for a block of it alone.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static volatile uint64_t *refused;

__attribute__((constructor)) static void
map_size(void)
{
	const char *path = getenv("NO_MEMORY_SIZE");
	int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	void *map;

	if (fd == -1)
		return;
	map = mmap(NULL, sizeof *refused, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		abort();
	refused = map;
}

void *
malloc(size_t size)
{
	static void *(*next)(size_t);

	if (next == NULL)
		next = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
	if (refused != NULL && *refused == size) {
		errno = ENOMEM;
		return NULL;
	}
	return next(size);
}
