/*
 * usage.h - what a server's processes have used, as the kernel counts it: CPU time by
 * /proc/PID/task/TID/schedstat (nanoseconds on a processor, of every thread), memory by
 * /proc/PID/smaps_rollup.
 */
#ifndef BENCH_USAGE_H
#define BENCH_USAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define USAGE_PROCESSES_MAX 64

struct usage {
	pid_t pids[USAGE_PROCESSES_MAX];
	size_t n_pids;
};

/* Reads "PID,PID,...". False if that is not what it is. */
bool usage_init(struct usage *u, const char *pids);

/* CPU time of all threads so far; ends the program if a process is gone. */
uint64_t usage_cpu_ns(const struct usage *u);

/* Proportional set size of all processes, in bytes. */
uint64_t usage_pss(const struct usage *u);

/*
 * Waits until all threads sleep and have used nothing for a millisecond: on loopback, where
 * what is sent has arrived, the server has then done all that it was asked for. This costs
 * the server nothing. False if it has not come to rest in 20 s.
 */
bool usage_settle(const struct usage *u);

#endif
