/*
 * Preloaded into the daemon by test_clock.py: shifts the wall clock, and no other, by the
 * nanoseconds in the file that WALL_CLOCK_SHIFT names. Setting the machine's own clock
 * would disturb everything else that runs on it.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int64_t
shift_ns(void)
{
	static volatile int64_t *shift;

	if (shift == NULL) {
		const char *path = getenv("WALL_CLOCK_SHIFT");
		int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
		void *map;

		if (fd == -1)
			return 0;
		map = mmap(NULL, sizeof *shift, PROT_READ, MAP_SHARED, fd, 0);
		close(fd);
		if (map == MAP_FAILED)
			abort();
		shift = map;
	}
	return *shift;
}

int
clock_gettime(clockid_t id, struct timespec *ts)
{
	int64_t ns;

	if (syscall(SYS_clock_gettime, id, ts) != 0)
		return -1;
	if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE) {
		ns = (int64_t)ts->tv_sec * 1000000000 + ts->tv_nsec + shift_ns();
		ts->tv_sec = ns / 1000000000;
		ts->tv_nsec = ns % 1000000000;
	}
	return 0;
}

int
gettimeofday(struct timeval *restrict tv, void *restrict tz)
{
	struct timespec ts;

	(void)tz;
	if (clock_gettime(CLOCK_REALTIME, &ts) != 0)
		return -1;
	tv->tv_sec = ts.tv_sec;
	tv->tv_usec = ts.tv_nsec / 1000;
	return 0;
}

time_t
time(time_t *out)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_REALTIME, &ts) != 0)
		return -1;
	if (out != NULL)
		*out = ts.tv_sec;
	return ts.tv_sec;
}
