/*
 * memory.c - the memory store: a table of channels, each a ring of messages, under one
 * lock.
 *
 * The critical sections are short and allocate little; waking the workers and freeing
 * what was dropped come after them.
 *
 * Two things keep every id in order: ids are given and notes posted inside one
 * critical section, and messages leave a ring only at its old end.
 */
#include "store/store.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/table.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* What malloc(3) adds to a block, about; bytes are accounted for, not measured. */
#define MALLOC_OVERHEAD 16
/* Messages that a ring has room for, at least. */
#define RING_MIN 4
/* Messages and channels looked at in one critical section of a sweep. */
#define SWEEP_STEPS 512

/* Who made a channel decides how long it lives; the strongest of its makers counts. */
enum channel_maker {
	MADE_BY_GET,  /* goes with its last waiter, unless there is a message */
	MADE_BY_POST, /* goes after channel_ms without message and waiter */
	MADE_BY_PUT,  /* stays until it is dropped */
};

/* A message where it is stored. */
struct slot {
	struct link order; /* in struct memory: by_age, or kept */
	struct message *msg;
	struct store_channel *channel;
	uint64_t born_ms;
};

struct holder {
	struct holder *next;
	unsigned place;
	uint64_t ticket;
	struct mailbox *mailbox;
};

struct store_channel {
	struct table_entry entry;
	struct channel_id *id;
	enum channel_maker maker;

	/* Sorted by id: next() bisects. ring[(first + i) & (cap - 1)], i < count. */
	struct slot **ring;
	uint32_t cap, first, count;

	bool has_last, was_requested;
	struct msgid last;     /* of all messages, stored or not */
	struct msgid dropped;  /* highest id that is gone: a position below it has a gap */
	uint64_t requested_ms; /* last subscriber request */

	struct link empty; /* in struct memory while it was made by POST and count is 0 */
	uint64_t idle_ms;  /* when it was last seen with a message or a waiter */
	struct store_watch *watches;
	struct holder *holders;
};

struct memory {
	struct store store;
	struct retention keep;

	pthread_mutex_t lock; /* guards all below */
	struct table channels;
	struct msgid last;             /* newest id given */
	struct msgid forgotten;        /* highest dropped id of the channels that are gone */
	uint64_t bytes, message_bytes; /* of all, and what of it are messages */
	/*
	 * All slots by id, the oldest first. Those over age that min_messages still keeps
	 * are moved to kept, so that a sweep does not walk over them again.
	 */
	struct link by_age, kept;
	struct link empty; /* channels without a message, the longest idle first */
};

static struct memory *
memory_of(struct store *s)
{
	return (struct memory *)s;
}

/* What a critical section leaves to be done after it. */
struct aftermath {
	struct link dropped; /* slots to free */
	struct mailbox *wake[STORE_WATCHES_MAX];
	unsigned n_wake;
};

static void
enter(struct memory *m, struct aftermath *after)
{
	list_init(&after->dropped);
	after->n_wake = 0;
	pthread_mutex_lock(&m->lock);
}

static void
leave(struct memory *m, struct aftermath *after)
{
	pthread_mutex_unlock(&m->lock);
	for (unsigned i = 0; i < after->n_wake; i++)
		mailbox_wake(after->wake[i]);
	LIST_EACH_SAFE (l, &after->dropped) {
		struct slot *slot = CONTAINER_OF(l, struct slot, order);

		message_unref(slot->msg);
		free(slot);
	}
}

static size_t
message_cost(const struct message *msg)
{
	/* Four pointers: a ring is a quarter full at least. */
	return sizeof(*msg) + msg->content_type_len + msg->body_len + sizeof(struct slot) +
	       4 * sizeof(struct slot *) + 2 * MALLOC_OVERHEAD;
}

static size_t
channel_cost(size_t id_len)
{
	return sizeof(struct store_channel) + sizeof(struct channel_id) + id_len + sizeof(void *) +
	       3 * MALLOC_OVERHEAD;
}

static struct slot *
slot_at(const struct store_channel *ch, uint32_t i)
{
	assert(ch->ring != NULL && i < ch->count);
	return ch->ring[(ch->first + i) & (ch->cap - 1)];
}

/*
 * The next id: never the same again, not for another channel, not when the clock steps
 * back (then the second stands still and the tags go on).
 */
static struct msgid
give_id(struct memory *m)
{
	int64_t now = clock_wall_s();

	if (now > m->last.second)
		m->last = (struct msgid){now, 0};
	else
		m->last.tag++;
	return m->last;
}

/* Since a time that another worker may have read from a clock ahead of ours. */
static uint64_t
elapsed_ms(uint64_t since_ms)
{
	const uint64_t now = clock_ms();

	return now > since_ms ? now - since_ms : 0;
}

/* To be called when a channel is empty, or may be of another maker than it was. */
static void
note_empty(struct memory *m, struct store_channel *ch)
{
	ch->idle_ms = clock_ms();
	list_remove(&ch->empty);
	if (ch->count == 0 && ch->maker == MADE_BY_POST)
		list_append(&m->empty, &ch->empty);
}

/* Gives the ring this capacity, a power of two with room for what is in it. */
static bool
resize_ring(struct store_channel *ch, uint32_t cap)
{
	struct slot **ring = malloc(cap * sizeof(*ring));

	if (ring == NULL)
		return false;
	for (uint32_t i = 0; i < ch->count; i++)
		ring[i] = slot_at(ch, i);
	free(ch->ring);
	ch->ring = ring;
	ch->cap = cap;
	ch->first = 0;
	return true;
}

static void
drop_oldest(struct memory *m, struct store_channel *ch, struct aftermath *after)
{
	struct slot *slot = slot_at(ch, 0);

	ch->first = (ch->first + 1) & (ch->cap - 1);
	ch->count--;
	ch->dropped = slot->msg->id;
	m->bytes -= message_cost(slot->msg);
	m->message_bytes -= message_cost(slot->msg);
	list_remove(&slot->order);
	list_append(&after->dropped, &slot->order);
	if (ch->count == 0) {
		/* An empty channel costs its own struct only: 100,000 of them may have
		 * held a message each. */
		free(ch->ring);
		ch->ring = NULL;
		ch->cap = ch->first = 0;
		note_empty(m, ch);
	} else if (ch->cap > RING_MIN && ch->count < ch->cap / 4) {
		/* A burst that has passed; without memory for it the ring stays as it is. */
		(void)resize_ring(ch, ch->cap / 2);
	}
}

static bool
over_age(const struct memory *m, const struct slot *slot)
{
	return m->keep.age_ms > 0 && elapsed_ms(slot->born_ms) >= m->keep.age_ms;
}

/* Drops what a channel holds over age or over the count. */
static void
expire(struct memory *m, struct store_channel *ch, struct aftermath *after)
{
	while (m->keep.max_messages > 0 && ch->count > m->keep.max_messages)
		drop_oldest(m, ch, after);
	while (ch->count > m->keep.min_messages && over_age(m, slot_at(ch, 0)))
		drop_oldest(m, ch, after);
}

/* Makes room for cost bytes by dropping the oldest messages of the store. */
static bool
make_room(struct memory *m, size_t cost, struct aftermath *after)
{
	/* What cannot be made must not cost the messages that are there. */
	if (m->bytes - m->message_bytes + cost > m->keep.max_memory)
		return false;
	while (m->bytes + cost > m->keep.max_memory) {
		struct slot *oldest = NULL;

		if (!list_empty(&m->kept))
			oldest = CONTAINER_OF(m->kept.next, struct slot, order);
		if (!list_empty(&m->by_age)) {
			struct slot *slot = CONTAINER_OF(m->by_age.next, struct slot, order);

			if (oldest == NULL || msgid_cmp(slot->msg->id, oldest->msg->id) < 0)
				oldest = slot;
		}
		if (oldest == NULL)
			return false;
		drop_oldest(m, oldest->channel, after);
	}
	return true;
}

static struct store_channel *
find(struct memory *m, const struct channel_key *key)
{
	struct table_entry *e = table_find(&m->channels, key->hash, key->bytes, key->len);

	return e == NULL ? NULL : CONTAINER_OF(e, struct store_channel, entry);
}

/* NULL when out of memory. */
static struct store_channel *
make(struct memory *m, const struct channel_key *key, enum channel_maker maker)
{
	struct store_channel *ch = calloc(1, sizeof(*ch));

	if (ch == NULL)
		return NULL;
	ch->id = channel_id_new(key);
	if (ch->id == NULL) {
		free(ch);
		return NULL;
	}
	ch->maker = maker;
	ch->dropped = m->forgotten;
	ch->entry.hash = key->hash;
	ch->entry.key = ch->id->bytes;
	ch->entry.key_len = key->len;
	table_add(&m->channels, &ch->entry);
	m->bytes += channel_cost(key->len);
	note_empty(m, ch);
	return ch;
}

/* As forget(), but it is left in the table. */
static void
end_channel(struct memory *m, struct store_channel *ch, struct aftermath *after)
{
	struct store_watch *w, *next_watch;
	struct holder *h, *next_holder;

	while (ch->count > 0)
		drop_oldest(m, ch, after);
	if (msgid_cmp(ch->dropped, m->forgotten) > 0)
		m->forgotten = ch->dropped;
	for (w = ch->watches; w != NULL; w = next_watch) {
		next_watch = w->next;
		w->channel = NULL;
		w->next = NULL;
	}
	for (h = ch->holders; h != NULL; h = next_holder) {
		next_holder = h->next;
		free(h);
	}
	list_remove(&ch->empty);
	m->bytes -= channel_cost(ch->entry.key_len);
	channel_id_unref(ch->id);
	free(ch);
}

/* Its messages are dropped, its watches and places ended. */
static void
forget(struct memory *m, struct store_channel *ch, struct aftermath *after)
{
	table_remove(&m->channels, &ch->entry);
	end_channel(m, ch, after);
}

static uint64_t
held(const struct store_channel *ch)
{
	uint64_t n = 0;

	for (const struct store_watch *w = ch->watches; w != NULL; w = w->next)
		n += atomic_load_explicit(&w->held, memory_order_acquire);
	return n;
}

static struct store_info
info_of(const struct store_channel *ch)
{
	return (struct store_info){
	    .messages = ch->count,
	    .subscribers = held(ch),
	    .requested_s = ch->was_requested ? (int64_t)(elapsed_ms(ch->requested_ms) / 1000) : -1,
	    .has_last = ch->has_last,
	    .last = ch->last,
	};
}

/* Posts a note, and wakes its reader after the critical section. False: out of memory. */
static bool
post(struct memory *m, struct store_channel *ch, struct mailbox *mailbox, enum note_kind kind,
    struct msgid at, struct message *msg, void *reply, uint64_t ticket, struct aftermath *after)
{
	struct store_note *note = malloc(sizeof(*note));

	if (note == NULL)
		return false;
	*note = (struct store_note){
	    .note = {.kind = kind},
	    .store = &m->store,
	    .channel = channel_id_ref(ch->id),
	    .at = at,
	    .msg = msg == NULL ? NULL : message_ref(msg),
	    .reply = reply,
	    .ticket = ticket,
	};
	mailbox_post(mailbox, &note->note);
	after->wake[after->n_wake++] = mailbox;
	return true;
}

/* Tells each worker with waiters in the channel; returns how many there are. */
static unsigned
tell(struct memory *m, struct store_channel *ch, enum note_kind kind, struct msgid at,
    struct message *msg, void *reply, struct aftermath *after)
{
	unsigned n = 0;

	for (struct store_watch *w = ch->watches; w != NULL; w = w->next) {
		if (atomic_load_explicit(&w->held, memory_order_acquire) == 0)
			continue;
		if (post(m, ch, w->mailbox, kind, at, msg, reply, 0, after))
			n++;
		else
			log_errorx("out of memory: a worker was not told of a message");
	}
	return n;
}

static enum store_answer
memory_create(struct store *s, const struct channel_key *key, struct store_result *result,
    UNUSED store_fn *fn, UNUSED void *arg, UNUSED struct store_op **op)
{
	struct memory *m = memory_of(s);
	struct store_channel *ch;
	struct aftermath after;
	enum store_answer answer = STORE_DONE;

	*result = (struct store_result){.status = STORE_OK};
	enter(m, &after);
	ch = find(m, key);
	if (ch == NULL) {
		if (!make_room(m, channel_cost(key->len), &after))
			result->status = STORE_NO_ROOM;
		else if ((ch = make(m, key, MADE_BY_PUT)) == NULL)
			answer = STORE_FAILED;
	}
	if (ch != NULL) {
		ch->maker = MADE_BY_PUT;
		expire(m, ch, &after);
		note_empty(m, ch);
		result->info = info_of(ch);
	}
	leave(m, &after);
	if (answer == STORE_FAILED)
		log_errorx("out of memory: a channel was not made");
	return answer;
}

static enum store_answer
memory_info(struct store *s, const struct channel_key *key, struct store_result *result,
    UNUSED store_fn *fn, UNUSED void *arg, UNUSED struct store_op **op)
{
	struct memory *m = memory_of(s);
	struct store_channel *ch;
	struct aftermath after;

	*result = (struct store_result){.status = STORE_NO_CHANNEL};
	enter(m, &after);
	ch = find(m, key);
	if (ch != NULL) {
		expire(m, ch, &after);
		result->status = STORE_OK;
		result->info = info_of(ch);
	}
	leave(m, &after);
	return STORE_DONE;
}

static bool
keep(struct memory *m, struct store_channel *ch, struct message *msg, struct slot *slot)
{
	if (ch->count == ch->cap && !resize_ring(ch, ch->cap == 0 ? RING_MIN : ch->cap * 2))
		return false;
	*slot = (struct slot){.msg = message_ref(msg), .channel = ch, .born_ms = clock_ms()};
	ch->ring[(ch->first + ch->count) & (ch->cap - 1)] = slot;
	ch->count++;
	list_append(&m->by_age, &slot->order);
	m->bytes += message_cost(msg);
	m->message_bytes += message_cost(msg);
	return true;
}

static enum store_answer
memory_append(struct store *s, const struct channel_key *key, struct message *msg, unsigned flags,
    void *reply, struct store_result *result, UNUSED store_fn *fn, UNUSED void *arg,
    UNUSED struct store_op **op)
{
	struct memory *m = memory_of(s);
	const bool keeps = flags & STORE_APPEND_KEEP;
	const size_t cost = keeps ? message_cost(msg) : 0;
	size_t needed;
	struct slot *slot = NULL;
	struct store_channel *ch;
	struct aftermath after;
	enum store_answer answer = STORE_DONE;

	*result = (struct store_result){.status = STORE_OK};
	if (keeps && (slot = malloc(sizeof(*slot))) == NULL) {
		log_errorx("out of memory: a message was not stored");
		return STORE_FAILED;
	}
	enter(m, &after);
	ch = find(m, key);
	if (ch == NULL && !(flags & STORE_APPEND_CREATE)) {
		result->status = STORE_NO_CHANNEL;
		goto out;
	}
	if (cost + channel_cost(key->len) > m->keep.max_memory) {
		result->status = STORE_TOO_LARGE;
		goto out;
	}
	needed = cost + (ch == NULL ? channel_cost(key->len) : 0);
	if (needed > 0 && !make_room(m, needed, &after)) {
		result->status = STORE_NO_ROOM;
		goto out;
	}
	if (ch == NULL && (ch = make(m, key, MADE_BY_POST)) == NULL)
		goto failed;
	if (ch->maker == MADE_BY_GET && keeps)
		ch->maker = MADE_BY_POST;

	msg->id = give_id(m);
	msg->channel = channel_id_ref(ch->id);
	if (keeps) {
		if (!keep(m, ch, msg, slot))
			goto failed;
		slot = NULL;
	}
	ch->last = msg->id;
	ch->has_last = true;
	note_empty(m, ch);
	expire(m, ch, &after);
	result->info = info_of(ch);
	result->notes = tell(m, ch, NOTE_APPENDED, msg->id, msg, reply, &after);
	goto out;
failed:
	answer = STORE_FAILED;
out:
	leave(m, &after);
	free(slot);
	if (answer == STORE_FAILED)
		log_errorx("out of memory: a message was not stored");
	return answer;
}

/* The first message above a position, or NULL. */
static struct message *
first_after(const struct store_channel *ch, struct msgid position)
{
	uint32_t low = 0, high = ch->count;

	/* Nearly every poll is at the newest message. */
	if (high == 0 || msgid_cmp(slot_at(ch, high - 1)->msg->id, position) <= 0)
		return NULL;
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (msgid_cmp(slot_at(ch, mid)->msg->id, position) <= 0)
			low = mid + 1;
		else
			high = mid;
	}
	return slot_at(ch, low)->msg;
}

/*
 * Takes the place for the one who asks, or says that it cannot be had. STORE_FAILED:
 * out of memory.
 */
static enum store_answer
take_place(struct memory *m, struct store_channel *ch, const struct store_query *query,
    enum store_status *status, struct aftermath *after)
{
	const struct store_hold *hold = query->hold;
	struct holder *h = ch->holders;

	while (h != NULL && h->place != hold->place)
		h = h->next;
	if (h != NULL && hold->mode == STORE_HOLD_FIRST) {
		*status = STORE_CONFLICT;
		return STORE_DONE;
	}
	if (h == NULL) {
		h = malloc(sizeof(*h));
		if (h == NULL)
			return STORE_FAILED;
		h->place = hold->place;
		h->next = ch->holders;
		ch->holders = h;
	} else if (!post(
		       m, ch, h->mailbox, NOTE_DISPLACED, m->last, NULL, NULL, h->ticket, after)) {
		return STORE_FAILED;
	}
	h->ticket = hold->ticket;
	h->mailbox = query->watch->mailbox;
	return STORE_DONE;
}

static enum store_answer
memory_next(struct store *s, const struct channel_key *key, const struct store_query *query,
    struct store_result *result, UNUSED store_fn *fn, UNUSED void *arg, UNUSED struct store_op **op)
{
	struct memory *m = memory_of(s);
	struct store_watch *watch = query->watch;
	struct store_channel *ch;
	struct aftermath after;
	enum store_answer answer = STORE_DONE;

	*result = (struct store_result){.status = STORE_NO_CHANNEL};
	enter(m, &after);
	ch = find(m, key);
	if (ch == NULL) {
		if (!query->create || watch == NULL)
			goto out;
		/* Over max_memory too: a subscriber is bounded by the number of connections,
		 * and is never refused for what publishers have stored. */
		(void)make_room(m, channel_cost(key->len), &after);
		ch = make(m, key, MADE_BY_GET);
		if (ch == NULL) {
			answer = STORE_FAILED;
			goto out;
		}
	}
	assert(ch != NULL);
	ch->was_requested = true;
	ch->requested_ms = clock_ms();
	expire(m, ch, &after);
	if (query->has_after) {
		result->msg = first_after(ch, query->after);
		result->gap = query->after.second > 0 && msgid_cmp(query->after, ch->dropped) < 0;
	} else if (ch->count > 0) {
		result->msg = slot_at(ch, 0)->msg;
	}
	result->newest = m->last;
	if (result->msg != NULL) {
		message_ref(result->msg);
		result->status = STORE_OK;
		goto out;
	}
	result->status = STORE_NOTHING_NEWER;
	if (watch == NULL)
		goto out;
	if (query->hold != NULL) {
		answer = take_place(m, ch, query, &result->status, &after);
		if (answer == STORE_FAILED || result->status == STORE_CONFLICT)
			goto out;
	}
	if (watch->channel == NULL) {
		watch->channel = ch;
		watch->next = ch->watches;
		ch->watches = watch;
	}
	atomic_fetch_add_explicit(&watch->held, 1, memory_order_relaxed);
	result->transient = ch->maker == MADE_BY_GET;
out:
	leave(m, &after);
	if (answer == STORE_FAILED)
		log_errorx("out of memory: a subscriber was not held");
	return answer;
}

static enum store_answer
memory_drop(struct store *s, const struct channel_key *key, void *reply,
    struct store_result *result, UNUSED store_fn *fn, UNUSED void *arg, UNUSED struct store_op **op)
{
	struct memory *m = memory_of(s);
	struct store_channel *ch;
	struct aftermath after;

	*result = (struct store_result){.status = STORE_NO_CHANNEL};
	enter(m, &after);
	ch = find(m, key);
	if (ch != NULL) {
		result->status = STORE_OK;
		result->info = info_of(ch);
		result->info.messages = 0;
		/* An id of the same order: it ends all who began to wait before it, and no
		 * one who comes to a new channel of this name. */
		result->notes = tell(m, ch, NOTE_DROPPED, give_id(m), NULL, reply, &after);
		forget(m, ch, &after);
	}
	leave(m, &after);
	return STORE_DONE;
}

static void
memory_unwatch(struct store *s, struct store_watch *watch)
{
	struct memory *m = memory_of(s);
	struct store_channel *ch;
	struct store_watch **w;
	struct aftermath after;
	uint64_t left_ms = atomic_load_explicit(&watch->left_ms, memory_order_relaxed);

	enter(m, &after);
	ch = watch->channel;
	if (ch != NULL) {
		for (w = &ch->watches; *w != watch; w = &(*w)->next)
			;
		*w = watch->next;
		watch->channel = NULL;
		watch->next = NULL;
		if (left_ms > ch->idle_ms) {
			ch->idle_ms = left_ms;
			/* The sweep stops at the first that is not due. */
			if (link_listed(&ch->empty)) {
				list_remove(&ch->empty);
				list_append(&m->empty, &ch->empty);
			}
		}
		if (ch->maker == MADE_BY_GET && ch->count == 0 && held(ch) == 0)
			forget(m, ch, &after);
	}
	leave(m, &after);
}

static void
memory_release(struct store *s, struct store_watch *watch, const struct store_hold *hold)
{
	struct memory *m = memory_of(s);
	struct holder **h, *gone = NULL;

	pthread_mutex_lock(&m->lock);
	if (watch->channel != NULL) {
		for (h = &watch->channel->holders; *h != NULL; h = &(*h)->next) {
			if ((*h)->place == hold->place && (*h)->ticket == hold->ticket &&
			    (*h)->mailbox == watch->mailbox) {
				gone = *h;
				*h = gone->next;
				break;
			}
		}
	}
	pthread_mutex_unlock(&m->lock);
	free(gone);
}

static void
memory_cancel(UNUSED struct store *s, UNUSED struct store_op *op)
{
	/* Nothing is ever pending here. */
}

/* When a channel was last in use, by what its watches know. */
static void
update_idle(struct store_channel *ch)
{
	if (held(ch) > 0)
		ch->idle_ms = clock_ms();
	for (const struct store_watch *w = ch->watches; w != NULL; w = w->next) {
		uint64_t left_ms = atomic_load_explicit(&w->left_ms, memory_order_relaxed);

		if (left_ms > ch->idle_ms)
			ch->idle_ms = left_ms;
	}
}

static bool
memory_sweep(struct store *s)
{
	struct memory *m = memory_of(s);
	struct aftermath after;
	int steps = 0;

	enter(m, &after);
	for (; steps < SWEEP_STEPS && !list_empty(&m->by_age); steps++) {
		struct slot *slot = CONTAINER_OF(m->by_age.next, struct slot, order);

		if (!over_age(m, slot))
			break;
		if (slot->channel->count > m->keep.min_messages) {
			drop_oldest(m, slot->channel, &after);
		} else {
			list_remove(&slot->order);
			list_append(&m->kept, &slot->order);
		}
	}
	for (; m->keep.channel_ms > 0 && steps < SWEEP_STEPS && !list_empty(&m->empty); steps++) {
		struct store_channel *ch = CONTAINER_OF(m->empty.next, struct store_channel, empty);

		/* The list is in the order of idle_ms as it was known: the rest is younger.
		 * One whose waiters have left since goes to its end, and so may live up to
		 * twice as long. */
		if (elapsed_ms(ch->idle_ms) < m->keep.channel_ms)
			break;
		update_idle(ch);
		if (elapsed_ms(ch->idle_ms) >= m->keep.channel_ms) {
			forget(m, ch, &after);
		} else {
			list_remove(&ch->empty);
			list_append(&m->empty, &ch->empty);
		}
	}
	leave(m, &after);
	return steps == SWEEP_STEPS;
}

static void
memory_close(struct store *s)
{
	struct memory *m = memory_of(s);
	struct table_entry *e, *next;
	struct aftermath after;

	enter(m, &after);
	/* Not out of the table one by one: each search would begin at its first slot. */
	for (e = table_next(&m->channels, NULL); e != NULL; e = next) {
		next = table_next(&m->channels, e);
		end_channel(m, CONTAINER_OF(e, struct store_channel, entry), &after);
	}
	leave(m, &after);
	table_reset(&m->channels);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

static const struct store_ops memory_ops = {
    .create = memory_create,
    .info = memory_info,
    .append = memory_append,
    .next = memory_next,
    .drop = memory_drop,
    .unwatch = memory_unwatch,
    .release = memory_release,
    .cancel = memory_cancel,
    .sweep = memory_sweep,
    .close = memory_close,
};

struct store *
memory_store_open(unsigned index, const struct retention *retention)
{
	struct memory *m = calloc(1, sizeof(*m));

	if (m == NULL)
		return NULL;
	if (table_init(&m->channels) < 0) {
		free(m);
		return NULL;
	}
	m->store = (struct store){.ops = &memory_ops, .index = index};
	m->keep = *retention;
	pthread_mutex_init(&m->lock, NULL);
	list_init(&m->by_age);
	list_init(&m->kept);
	list_init(&m->empty);
	/*
	 * The tags of the first second begin at the microsecond of the start, so that a
	 * restart within one second repeats no id; whatever came before the start is
	 * gone, so a position from then has a gap.
	 */
	clock_wall_now(&m->last.second, &m->last.tag);
	m->forgotten = m->last;
	return &m->store;
}
