/*
 * mailbox.h - notes from one thread to another, in order, woken by an eventfd.
 *
 * Each worker has one. Posting is for any thread; the owner's loop works the notes
 * strictly in the order in which they were posted. A note posted by the owner itself
 * costs no system call.
 */
#ifndef BASE_MAILBOX_H
#define BASE_MAILBOX_H

#include "base/attr.h"

#include <stdbool.h>

struct event_base;
struct mailbox;

/* What a note is about; the struct that embeds it has the rest. */
enum note_kind {
	NOTE_APPENDED,  /* struct store_note: a channel has a new message */
	NOTE_DROPPED,   /* struct store_note: a channel was deleted */
	NOTE_DISPLACED, /* struct store_note: a waiter lost its place to a newer one */
	NOTE_ANSWERED,  /* struct reply_note: a worker has done what a publisher waits for */
	NOTE_JOINED,    /* struct attendance_note: a subscriber of another worker is held */
	NOTE_LEFT,      /* struct attendance_note: it is no longer */
	NOTE_DRAIN,     /* struct note: end what is held and close */
	NOTE_EMPTY,     /* struct note: no worker has a connection left, nor makes notes */
	NOTE_STOP,      /* struct note: leave the loop */
};

struct note {
	struct note *next; /* the mailbox's */
	enum note_kind kind;
};

/*
 * Works one note. True when it is done with, and then the note is the handler's, to
 * free; false when its turn is used up: the same note comes again in the next turn of
 * the loop, before any other.
 */
typedef bool mailbox_fn(void *arg, struct note *note);

/*
 * Looks at a note that is to be worked after `ahead` others, from MAILBOX_AHEAD to 1, to
 * fetch into the cache what it will need. Changes nothing: the note may yet be worked
 * sooner, later or never.
 */
typedef void mailbox_ahead_fn(const struct note *note, unsigned ahead);
#define MAILBOX_AHEAD 3

/*
 * Returns new (mailbox_free), or NULL with errno. ahead may be NULL. Any thread may make
 * it; the thread that runs base calls mailbox_own() before it does.
 */
struct mailbox *mailbox_new(
    struct event_base *base, mailbox_fn *fn, mailbox_ahead_fn *ahead, void *arg);
void mailbox_own(struct mailbox *mb);
/* Takes the notes that are left to forget, which frees what they hold. */
void mailbox_free(struct mailbox *mb, void (*forget)(struct note *note));

/*
 * Takes note. Any thread may call it, also inside a critical section, for it does not
 * wake the owner: that is mailbox_wake()'s, once per batch and outside of it.
 */
void mailbox_post(struct mailbox *mb, struct note *note);
void mailbox_wake(struct mailbox *mb);

#endif
