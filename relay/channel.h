/*
 * channel.h - one worker's waiters by channel: join, leave, deliver, end.
 *
 * A worker keeps a struct channel for what its own subscribers wait for. It hears of
 * what happens in a channel by the store's notes, and works them strictly in order: a
 * long walk is cut into slices, and finished before the next note begins.
 */
#ifndef RELAY_CHANNEL_H
#define RELAY_CHANNEL_H

#include "base/attr.h"
#include "base/list.h"
#include "base/table.h"
#include "store/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store_note;
struct subscription;
struct worker;

struct channel {
	/* What a note needs comes first, in one or two lines of the cache: with thousands of
	 * channels none of them is in it. */
	struct link waiters; /* struct subscription.waiter */
	struct store_watch watch;
	unsigned users;      /* waiters and pending store calls */
	unsigned remembered; /* by connections */
	bool watched;        /* a store_next() with the watch has been waiting */
	bool gone;           /* out of the table: goes with the last who names or remembers it */

	struct link idle; /* struct channels.idle, while there are no users */
	uint64_t idle_ms;
	struct table_entry entry; /* in struct channels, of its store */
	struct channel_id *id;    /* counted */
	struct store *store;
};

/* What a delivery that was cut into slices still has before it. */
struct walk {
	struct note *note; /* the note at hand; NULL: none is under way */
	struct link todo;  /* waiters not looked at yet */
	bool sent;         /* to one at least */
};

struct channels {
	struct table *tables; /* one a store */
	unsigned n_tables;
	struct link idle; /* the longest idle first */
	struct walk walk;
};

int channels_init(struct channels *c, unsigned n_stores) MUST_CHECK;
/* Unwatches and frees all but those that notes still name; no subscriber may be left. */
void channels_reset(struct worker *w);
/* Once a second: lets go of those that have been idle for some seconds. */
void channels_sweep(struct channels *c);

/*
 * The worker's channel for a key, made if needed, counted as used once more (give back
 * with channel_unuse()). NULL when out of memory. remembered, which may be NULL, is one
 * that channel_is() of this key: it saves the search, unless it is gone.
 */
struct channel *channel_use(struct worker *w, struct store *store, const struct channel_key *key,
    struct channel *remembered);
void channel_unuse(struct worker *w, struct channel *ch);

/*
 * Keeps a channel's memory, though not the channel: it may be gone when it is looked for
 * again. Counted; give back with channel_forget(), to which NULL is nothing.
 */
struct channel *channel_remember(struct channel *ch);
void channel_forget(struct channel *ch);
/* Whether it is the one of this name. */
bool channel_is(const struct channel *ch, const struct store *store, const void *name, size_t len);
/*
 * A poll of it may follow soon: begins to fetch into the cache what that will look at. To
 * be called with 2 and 1, some time apart: the first finds what the second one fetches.
 */
void channel_expect(const struct channel *ch, unsigned ahead);

/* A subscriber that the store has counted begins to wait; and ends to. */
void channel_join(struct channel *ch, struct subscription *s);
void channel_leave(struct channel *ch, struct subscription *s);

/*
 * Works a note of the store: NOTE_APPENDED, NOTE_DROPPED, NOTE_DISPLACED. False if the
 * slice was used up: to be called again with the same note. Frees it when done.
 */
bool channel_work_note(struct worker *w, struct note *note);
/* One that will be worked after this many others: begins to fetch what it will need. */
void channel_expect_note(const struct note *note, unsigned ahead);
/* Frees one that has been worked, or never will be. */
void channel_free_note(struct store_note *note);

#endif
