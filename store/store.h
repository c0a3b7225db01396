/*
 * store.h - bounded message stores: the contract, and the table a store fills in.
 *
 * A store keeps channels and their messages, gives out ids, and tells the workers that
 * watch a channel of what happens there, by notes to their mailboxes. It is shared by
 * all workers; any of them may call it.
 *
 * Every call answers now or later, never both:
 *   STORE_DONE     *result is filled in
 *   STORE_PENDING  fn(arg, answer, result) comes once, from the loop of the worker that
 *                  asked, after the call has returned, with result and all that is in it
 *                  borrowed; until then *op may be given to store_cancel(), after which
 *                  fn does not come
 *   STORE_FAILED   out of reach or out of memory; logged, nothing is pending
 * A store that knows at once never answers STORE_PENDING, one behind a network always
 * does: a callback that sometimes runs inside the call would free callers under their
 * own feet.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/attr.h"
#include "base/mailbox.h"
#include "store/message.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;
struct store_channel;
struct store_op;

/* At most this many workers watch one channel. */
#define STORE_WATCHES_MAX 64
/* At most this many use one store. */
#define STORE_TOTALS STORE_WATCHES_MAX
/* At most this many channels in one store_next(). */
#define STORE_CHANNELS_MAX 255
/* A start counted over several channels: more than this counts as this. */
#define STORE_START_MAX 1000
/* At most this many channels in one answer of store_list(). */
#define STORE_LIST_MAX 256

/* What a store keeps. 0 means no such bound, but for max_memory. */
struct retention {
	uint32_t min_messages; /* of a channel, kept whatever their age */
	uint32_t max_messages; /* of a channel */
	uint32_t age_ms;       /* of a message, while more than min_messages are kept */
	uint32_t channel_ms;   /* a channel made by POST without message and waiter */
	uint64_t max_memory;   /* bytes of the whole store, channels included */
};

enum store_answer {
	STORE_DONE,
	STORE_PENDING,
	STORE_FAILED,
};

enum store_status {
	STORE_OK,
	STORE_NO_CHANNEL,
	STORE_NOTHING_NEWER, /* next: and watched, where that was asked for */
	STORE_CONFLICT,      /* next: the place is held by one who stays */
	STORE_FULL,          /* next: the channel has max_subscribers */
	STORE_TOO_LARGE,     /* append: larger than the whole store may be */
	STORE_NO_ROOM,       /* append, create: no message is left to make room */
};

/* Channel information (PROTOCOL, section 4). */
struct store_info {
	uint64_t messages;    /* stored, after the request */
	uint64_t published;   /* ever, stored or not, after the request */
	uint64_t subscribers; /* held, before the request */
	int64_t requested_s;  /* since the last subscriber request; -1 never */
	bool has_last;        /* last is the id of a message */
	struct msgid last;    /* of the last message, stored or not */
};

/* Filled in: status, and what has the call's name beside or above it. */
struct store_result {
	enum store_status status;
	struct store_info info; /* create, info, append, drop; where status is OK */
	unsigned notes;         /* append, drop: workers that were told, who all answer reply */

	/* next */
	unsigned which;        /* NO_CHANNEL, CONFLICT, FULL: the first key that it is so of */
	struct message *msg;   /* counted, now the caller's; NULL for none */
	struct message **more; /* likewise: query->more; to fn, an array of the store's */
	unsigned n_more;
	struct msgid newest; /* the store's newest id, where a waiter begins */
	uint64_t number;     /* one channel: its messages so far, where a waiter begins */
	uint64_t lost;       /* how many messages the gap is; 0: that is not known */
	bool gap;            /* messages before msg were dropped, or may have been */
	bool rest;           /* there is more up to newest than msg and more hold, or a gap */

	unsigned n_listed; /* list */
};

typedef void store_fn(void *arg, enum store_answer answer, struct store_result *result);

/*
 * One worker's interest in one channel: embedded in the worker's own channel. Notes go
 * to mailbox while anyone is held. It must outlive the notes that name it: its owner may
 * free it after store_unwatch(), once noted is 0.
 */
struct store_watch {
	struct mailbox *mailbox; /* set by the owner, constant */
	/*
	 * Waiters of this worker. Raised by the store inside its critical section, so that
	 * an append either finds it raised or is found by the waiter; lowered by the worker
	 * alone, without the lock: store_leave().
	 */
	_Atomic uint32_t held;
	/* Notes on their way that name it. Raised by the store, lowered by the worker. */
	_Atomic uint32_t noted;
	_Atomic uint64_t left_ms; /* when the last one left */
	/*
	 * As it was when one last began to be held: the channel lives only by its waiters.
	 * Written in the owner's calls, so that it may read it.
	 */
	bool transient;

	/* The store's, under its lock; but store_expect_watched() looks where channel is. */
	_Atomic uint64_t *total;               /* of held in the store; constant once someone was */
	struct store_channel *_Atomic channel; /* NULL: not watching */
	struct store_watch *next;
};

/* A place that one waiter has at a time (concurrency last, first). */
enum store_hold_mode {
	STORE_HOLD_LAST,  /* who comes displaces who is there */
	STORE_HOLD_FIRST, /* who is there stays */
};

struct store_hold {
	enum store_hold_mode mode;
	unsigned place;  /* which one in the channel: the location's index */
	uint64_t ticket; /* names the waiter in its worker */
};

/* Where one begins who has no position: counted over all its channels together. */
enum store_start_from {
	STORE_FROM_OLDEST,
	STORE_FROM_NEWEST, /* only what comes */
	STORE_FROM_NTH,    /* the nth oldest that is stored, from 1; if there is none: NEWEST */
	STORE_FROM_LAST,   /* the nth newest that is stored, from 1; if there is none: OLDEST */
};

struct store_start {
	enum store_start_from from;
	uint32_t n; /* with several channels at most STORE_START_MAX */
};

/* What a subscriber asks for. All zero: the oldest message, and not to wait. */
struct store_query {
	bool has_after; /* else start */
	struct msgid after;
	struct store_start start;

	bool create; /* what is absent is as if it were empty, and made if one is held in it */
	/*
	 * To be held: a watch for each key. A poll is held where nothing is newer; a stream
	 * also where a message is returned.
	 */
	struct store_watch *const *watches; /* NULL: it is not held */
	bool stream;
	uint32_t max_subscribers;      /* of each channel; 0: no bound */
	const struct store_hold *hold; /* a place in each channel, in all or in none */

	/*
	 * It is held by watches since an earlier call, which answered joined as newest:
	 * nothing is counted again, and what has been deleted since is passed over, for its
	 * note is on the way. Messages that were not stored since it joined it has missed,
	 * so they too make a gap.
	 */
	bool held;
	struct msgid joined;
	/*
	 * One channel, held: the number of its last message up to after; or an earlier one, to
	 * count as lost what came between, too.
	 */
	bool has_after_number;
	uint64_t after_number;

	/*
	 * Room for the messages that follow the first, in the order of their ids and up to
	 * the next gap. more_bytes bounds the bodies of all, but the first comes whatever its
	 * size. 0: none.
	 */
	struct message **more;
	unsigned more_max;
	size_t more_bytes;
};

/* A store as a whole. */
struct store_stats {
	uint64_t channels;
	uint64_t published;   /* ever, in channels that are gone too */
	uint64_t stored;      /* now */
	uint64_t subscribers; /* held; one who is held in several channels counts in each */
	uint64_t bytes;       /* as max_memory counts them */
	/* Of the subscribers, those of each worker; worker is NULL behind the last. */
	struct {
		const struct mailbox *worker;
		uint64_t subscribers;
	} by_worker[STORE_TOTALS];
};

/* One channel of a list. */
struct store_listed {
	struct channel_id *id; /* counted, the caller's */
	uint64_t published, stored, subscribers;
};

/* How far a list has got. All zero at first; the store's but for done. */
struct store_cursor {
	uint64_t at;
	bool done;
};

/* Which channels to list. */
struct store_selection {
	const struct channel_key *keys; /* these, where they exist; NULL: by prefix */
	unsigned n_keys;                /* up to STORE_LIST_MAX */
	const void *prefix;             /* those whose ids begin so */
	size_t prefix_len;              /* 0: all */
};

/* A note from a store to a worker. The worker lowers watch->noted and frees it. */
struct store_note {
	struct note note;          /* NOTE_APPENDED, NOTE_DROPPED or NOTE_DISPLACED */
	struct store_watch *watch; /* of the worker it is for */
	struct msgid at;           /* counts for waiters whose position is below */
	struct message *msg;       /* APPENDED: counted */
	void *reply;               /* APPENDED, DROPPED: as it was given; NULL for none */
	uint64_t ticket;           /* DISPLACED: who */
};

void store_note_free(struct store_note *note);

struct store_ops {
	void (*expect)(struct store *s, const struct channel_key *key); /* NULL: of no use */
	enum store_answer (*create)(struct store *s, const struct channel_key *key,
	    struct store_result *result, store_fn *fn, void *arg, struct store_op **op);
	enum store_answer (*info)(struct store *s, const struct channel_key *key,
	    struct store_result *result, store_fn *fn, void *arg, struct store_op **op);
	enum store_answer (*append)(struct store *s, const struct channel_key *key,
	    struct message *msg, unsigned flags, void *reply, struct store_result *result,
	    store_fn *fn, void *arg, struct store_op **op);
	enum store_answer (*next)(struct store *s, const struct channel_key *keys, unsigned n_keys,
	    const struct store_query *query, struct store_result *result, store_fn *fn, void *arg,
	    struct store_op **op);
	enum store_answer (*drop)(struct store *s, const struct channel_key *key, void *reply,
	    struct store_result *result, store_fn *fn, void *arg, struct store_op **op);
	enum store_answer (*stats)(struct store *s, struct store_stats *stats,
	    struct store_result *result, store_fn *fn, void *arg, struct store_op **op);
	enum store_answer (*list)(struct store *s, const struct store_selection *selection,
	    struct store_cursor *cursor, struct store_listed *listed, unsigned max,
	    struct store_result *result, store_fn *fn, void *arg, struct store_op **op);
	void (*unwatch)(struct store *s, struct store_watch *watch);
	void (*release)(struct store *s, struct store_watch *watch, const struct store_hold *hold);
	void (*cancel)(struct store *s, struct store_op *op);
	bool (*sweep)(struct store *s);
	void (*close)(struct store *s);
};

/*
 * A worker's waiters in all channels together. Each has its own, so that they do not take
 * a cache line from each other at each poll.
 */
struct store_total {
	_Atomic uint64_t held;
	const struct mailbox *worker; /* NULL: nobody's yet */
	char apart[64 - sizeof(uint64_t) - sizeof(void *)];
};

/* What all stores begin with. */
struct store {
	const struct store_ops *ops;
	unsigned index; /* in the relay's configuration */
	struct store_total totals[STORE_TOTALS];
};

/*
 * Opens a store of this type ("memory"). Returns new (store_close), or NULL, logged.
 */
struct store *store_open(const char *type, unsigned index, const struct retention *retention)
    MUST_CHECK;
/* All workers have ended. Frees the store. */
void store_close(struct store *s);

/*
 * A call for this key follows soon: the store begins to fetch into the cache what it will
 * look at first. Says and changes nothing.
 */
static inline void
store_expect(struct store *s, const struct channel_key *key)
{
	if (s->ops->expect != NULL)
		s->ops->expect(s, key);
}

/* The same for a call with this watch, by its owner. */
static inline void
store_expect_watched(const struct store_watch *watch)
{
	const struct store_channel *ch =
	    atomic_load_explicit(&watch->channel, memory_order_relaxed);

	/* Its first lines, whatever a store has there. */
	for (size_t at = 0; ch != NULL && at < 192; at += 64)
		__builtin_prefetch((const char *)ch + at);
}

/* Makes the channel, or leaves it as it is: it then stays until it is dropped (PUT). */
enum store_answer store_create(struct store *s, const struct channel_key *key,
    struct store_result *result, store_fn *fn, void *arg, struct store_op **op) MUST_CHECK;

/* Channel information; never creates (GET). */
enum store_answer store_info(struct store *s, const struct channel_key *key,
    struct store_result *result, store_fn *fn, void *arg, struct store_op **op) MUST_CHECK;

enum store_append_flags {
	STORE_APPEND_CREATE = 1, /* make the channel if it is absent */
	STORE_APPEND_KEEP = 2,   /* else it goes to those who wait now, and to no one else */
};

/*
 * Takes msg into the channel: gives it its id and posts a note to each worker with
 * waiters there, in the order of the ids. msg is borrowed; the store counts it where it
 * keeps it. reply comes back in each note.
 */
enum store_answer store_append(struct store *s, const struct channel_key *key, struct message *msg,
    unsigned flags, void *reply, struct store_result *result, store_fn *fn, void *arg,
    struct store_op **op) MUST_CHECK;

/*
 * Finds the first message after a position in any of 1 to STORE_CHANNELS_MAX channels, or
 * waits in all of them, in one critical section: where the caller begins to be held (see
 * struct store_query), notes of all that follows go to its watches' mailbox, and each
 * watch->held counts one more. Where it may not be, it is held in none, and no channel is
 * made.
 *
 * A gap is said to the one who passes it: a message after the position, and before msg if
 * there is one, was dropped or may have been.
 *
 * The keys are all different. They, query, and hold and watches in it are borrowed; each
 * watch is kept until store_unwatch(). No note for it comes before the answer.
 */
enum store_answer store_next(struct store *s, const struct channel_key *keys, unsigned n_keys,
    const struct store_query *query, struct store_result *result, store_fn *fn, void *arg,
    struct store_op **op) MUST_CHECK;

/* Removes the channel with its messages; each worker with waiters there gets a note. */
enum store_answer store_drop(struct store *s, const struct channel_key *key, void *reply,
    struct store_result *result, store_fn *fn, void *arg, struct store_op **op) MUST_CHECK;

/* Fills in *stats, which is kept until the answer. */
enum store_answer store_stats(struct store *s, struct store_stats *stats,
    struct store_result *result, store_fn *fn, void *arg, struct store_op **op) MUST_CHECK;

/*
 * Lists channels, up to max (at most STORE_LIST_MAX) and a slice of the store at a time:
 * to be called again with the same selection and cursor until cursor->done, also after an
 * answer without any. In no particular order; a channel that exists all the time is
 * listed once, whatever comes and goes between the calls. What is over age and not yet
 * swept counts as stored. The selection is borrowed; cursor and listed are kept until the
 * answer.
 */
enum store_answer store_list(struct store *s, const struct store_selection *selection,
    struct store_cursor *cursor, struct store_listed *listed, unsigned max,
    struct store_result *result, store_fn *fn, void *arg, struct store_op **op) MUST_CHECK;

/* A waiter that store_next() counted is none any more. No lock, no call into the store. */
static inline void
store_leave(struct store_watch *watch, uint64_t now_ms)
{
	atomic_store_explicit(&watch->left_ms, now_ms, memory_order_relaxed);
	atomic_fetch_sub_explicit(&watch->held, 1, memory_order_release);
	atomic_fetch_sub_explicit(watch->total, 1, memory_order_relaxed);
}

/* No notes for this watch any more; those already posted still come. */
void store_unwatch(struct store *s, struct store_watch *watch);

/* The waiter gives up its place, if it still has it. Before its answer is sent. */
void store_release(struct store *s, struct store_watch *watch, const struct store_hold *hold);

/*
 * What the call would have done for who waits is undone, a watch's count too. What it was
 * to make, append or drop may be made, appended or dropped, with no reply in the notes.
 */
void store_cancel(struct store *s, struct store_op *op);

/*
 * Frees what is over age and forgets unused channels, a bounded amount: true if there
 * is more to do now. To be called about once a second by one worker.
 */
bool store_sweep(struct store *s);

/* The store of this module's name: see store_open(). */
struct store *memory_store_open(unsigned index, const struct retention *retention);

#endif
