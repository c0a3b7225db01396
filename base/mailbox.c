#include "base/mailbox.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Notes worked in one turn of the loop, so that sockets are served in between. */
#define NOTES_PER_TURN 64

struct mailbox {
	pthread_mutex_t lock;
	struct note *first, **last; /* guarded by lock */
	atomic_bool woken;          /* an unread wake-up is on its way to the owner */

	/* The owner's alone. */
	struct note *taken; /* taken out of the queue, to be worked first */
	int fd;
	struct event *event;
	struct event *more; /* the rest of the notes, after sockets had their turn */
	bool sliced;        /* the first of taken has used up a turn before */
	mailbox_fn *fn;
	mailbox_ahead_fn *ahead;
	void *arg;
};

/* The mailbox whose owner this thread is. */
static _Thread_local struct mailbox *mine;

static struct note *
take_next(struct mailbox *mb)
{
	struct note *note;

	if (mb->taken == NULL) {
		pthread_mutex_lock(&mb->lock);
		mb->taken = mb->first;
		mb->first = NULL;
		mb->last = &mb->first;
		pthread_mutex_unlock(&mb->lock);
	}
	note = mb->taken;
	if (note != NULL)
		mb->taken = note->next;
	return note;
}

static void
look_ahead(const struct mailbox *mb)
{
	const struct note *note = mb->taken;

	for (unsigned ahead = 1; ahead <= MAILBOX_AHEAD && note != NULL; ahead++) {
		mb->ahead(note, ahead);
		note = note->next;
	}
}

static void
on_wake(evutil_socket_t fd, short what, void *arg)
{
	/* A timer, not event_active(): that would run before the kernel is asked again. */
	static const struct timeval at_once = {0, 0};
	struct mailbox *mb = arg;
	struct note *note;
	uint64_t count;

	if (what & EV_READ)
		while (read(fd, &count, sizeof(count)) < 0 && errno == EINTR)
			;
	/* Before the queue is looked at: who posts after this wakes us again. */
	atomic_store(&mb->woken, false);
	for (int n = 0; (note = take_next(mb)) != NULL; n++) {
		if (n == NOTES_PER_TURN)
			goto later;
		if (mb->ahead != NULL)
			look_ahead(mb);
		if (!mb->fn(mb->arg, note)) {
			mb->sliced = true;
			goto later;
		}
		/* A long walk is over: who left during it must be seen to have left before
		 * the next note is worked. */
		if (mb->sliced) {
			mb->sliced = false;
			n = NOTES_PER_TURN - 1;
		}
	}
	return;
later:
	note->next = mb->taken;
	mb->taken = note;
	evtimer_add(mb->more, &at_once);
}

struct mailbox *
mailbox_new(struct event_base *base, mailbox_fn *fn, mailbox_ahead_fn *ahead, void *arg)
{
	struct mailbox *mb = calloc(1, sizeof(*mb));

	if (mb == NULL)
		return NULL;
	mb->last = &mb->first;
	mb->fn = fn;
	mb->ahead = ahead;
	mb->arg = arg;
	mb->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (mb->fd < 0)
		goto err_free;
	mb->event = event_new(base, mb->fd, EV_READ | EV_PERSIST, on_wake, mb);
	if (mb->event == NULL)
		goto err_close;
	mb->more = evtimer_new(base, on_wake, mb);
	if (mb->more == NULL)
		goto err_event;
	if (event_add(mb->event, NULL) < 0)
		goto err_more;
	pthread_mutex_init(&mb->lock, NULL);
	return mb;

err_more:
	event_free(mb->more);
err_event:
	event_free(mb->event);
err_close:
	close(mb->fd);
err_free:
	free(mb);
	return NULL;
}

void
mailbox_own(struct mailbox *mb)
{
	mine = mb;
}

void
mailbox_free(struct mailbox *mb, void (*forget)(struct note *note))
{
	struct note *note;

	if (mb == NULL)
		return;
	if (mine == mb)
		mine = NULL;
	while ((note = take_next(mb)) != NULL)
		forget(note);
	event_free(mb->event);
	event_free(mb->more);
	close(mb->fd);
	pthread_mutex_destroy(&mb->lock);
	free(mb);
}

void
mailbox_post(struct mailbox *mb, struct note *note)
{
	note->next = NULL;
	pthread_mutex_lock(&mb->lock);
	*mb->last = note;
	mb->last = &note->next;
	pthread_mutex_unlock(&mb->lock);
}

void
mailbox_wake(struct mailbox *mb)
{
	const uint64_t one = 1;

	if (atomic_exchange(&mb->woken, true))
		return;
	if (mb == mine) {
		event_active(mb->event, EV_TIMEOUT, 0);
		return;
	}
	/* The counter cannot overflow, as woken lets one write through at a time. */
	while (write(mb->fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}
