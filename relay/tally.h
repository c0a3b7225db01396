/*
 * tally.h - statistics as text: plain, JSON, XML or YAML, with push-stream's names.
 *
 * An answer comes in pieces, so that a long list can be put together over several turns of
 * the loop: the caller sets tally.t to where the next piece goes.
 */
#ifndef RELAY_TALLY_H
#define RELAY_TALLY_H

#include "base/attr.h"
#include "base/text.h"
#include "relay/info.h"
#include "store/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeros at first, but for format. */
struct tally {
	struct text t;
	enum info_format format;
	unsigned depth; /* of indentation */
	bool began;     /* something stands in the innermost object or list */
};

/* What heads a list, and the summary. */
struct tally_head {
	const char *hostname;
	int64_t now_s;     /* since 1970 */
	uint64_t uptime_s; /* of the relay */
	uint64_t channels; /* of the store, not of the list */
};

struct tally_worker {
	int64_t pid;
	uint64_t subscribers;
};

struct tally_summary {
	uint64_t published, stored, subscribers;
	uint64_t memory; /* bytes of the store */
	uint64_t slow_gaps, slow_closes;
	const struct tally_worker *workers;
	unsigned n_workers;
};

/* Room that a piece needs at most. */
#define TALLY_HEAD_ROOM(hostname_len) (6 * (hostname_len) + 512)
#define TALLY_CHANNEL_ROOM(id_len)    (6 * (id_len) + 256)
#define TALLY_END_ROOM                128
#define TALLY_SUMMARY_ROOM            1024 /* behind the head */
#define TALLY_WORKER_ROOM             160  /* for each of its workers */

/* One channel, as a whole answer. */
void tally_channel(struct tally *y, const struct store_listed *channel);

/* A list: its beginning, each channel, its end. truncated: there are more than these. */
void tally_list_begin(struct tally *y, const struct tally_head *head);
void tally_list_channel(struct tally *y, const struct store_listed *channel);
void tally_list_end(struct tally *y, bool truncated);

/* A whole answer. */
void tally_summary(
    struct tally *y, const struct tally_head *head, const struct tally_summary *summary);

#endif
