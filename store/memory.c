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
/* Channels and slots of the table looked at in one critical section of a list. */
#define LIST_STEPS 512

/* Who made a channel decides how long it lives; the strongest of its makers counts. */
enum channel_maker {
	MADE_BY_GET,  /* goes with its last waiter, unless there is a message */
	MADE_BY_POST, /* goes after channel_ms without message and waiter */
	MADE_BY_PUT,  /* stays until it is dropped */
};

struct holder {
	struct holder *next;
	unsigned place;
	uint64_t ticket;
	struct store_watch *watch;
};

/*
 * What an append and a poll need comes first: with thousands of channels none of it is in a
 * cache, and each line is waited for.
 */
struct store_channel {
	struct table_entry entry;
	struct channel_id *id;
	struct store_watch *watches;

	/* Sorted by id: next() bisects. ring[(first + i) & (cap - 1)], i < count. */
	struct message **ring;
	uint32_t cap, first, count;

	uint8_t maker; /* enum channel_maker */
	bool has_last, was_requested;
	uint64_t oldest_ms;    /* when the first in the ring was stored */
	uint64_t published;    /* messages ever, stored or not */
	uint64_t requested_ms; /* last subscriber request */
	struct msgid last;     /* of all messages, stored or not */
	struct msgid foregone; /* of the last message that was not stored */

	struct msgid dropped; /* highest id that is gone: a position below it has a gap */
	struct msgid made;    /* the store's newest id then */
	struct link empty;    /* in struct memory while it was made by POST and count is 0 */
	uint64_t idle_ms;     /* when it was last seen with a message or a waiter */
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
	uint64_t stored, published;    /* messages now, and ever */
	/*
	 * All messages by id, the oldest first. Those over age that min_messages still keeps
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
	struct link dropped; /* messages, by place.order: to be given back */
	struct mailbox *wake[STORE_WATCHES_MAX];
	unsigned n_wake;
};

/* By its link in a list. */
static struct message *
message_of(struct link *order)
{
	return CONTAINER_OF(order, struct message, place.order);
}

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
	LIST_EACH_SAFE (l, &after->dropped)
		message_unref(message_of(l));
}

static size_t
message_cost(const struct message *msg)
{
	/* Four pointers: a ring is a quarter full at least. */
	return sizeof(*msg) + msg->content_type_len + msg->event_len + msg->event_id_len +
	       msg->body_len + 4 * sizeof(struct message *) + MALLOC_OVERHEAD;
}

static size_t
channel_cost(size_t id_len)
{
	return sizeof(struct store_channel) + sizeof(struct channel_id) + id_len + sizeof(void *) +
	       3 * MALLOC_OVERHEAD;
}

static struct message *
message_at(const struct store_channel *ch, uint32_t i)
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
	struct message **ring = malloc(cap * sizeof(*ring));

	if (ring == NULL)
		return false;
	for (uint32_t i = 0; i < ch->count; i++)
		ring[i] = message_at(ch, i);
	free(ch->ring);
	ch->ring = ring;
	ch->cap = cap;
	ch->first = 0;
	return true;
}

static void
drop_oldest(struct memory *m, struct store_channel *ch, struct aftermath *after)
{
	struct message *msg = message_at(ch, 0);
	const size_t cost = message_cost(msg);

	ch->first = (ch->first + 1) & (ch->cap - 1);
	ch->count--;
	ch->dropped = msg->id;
	m->stored--;
	m->bytes -= cost;
	m->message_bytes -= cost;
	list_remove(&msg->place.order);
	list_append(&after->dropped, &msg->place.order);
	if (ch->count == 0) {
		/* An empty channel costs its own struct only: 100,000 of them may have
		 * held a message each. */
		free(ch->ring);
		ch->ring = NULL;
		ch->cap = ch->first = 0;
		note_empty(m, ch);
		return;
	}
	ch->oldest_ms = message_at(ch, 0)->place.born_ms;
	/* A burst that has passed; without memory for it the ring stays as it is. */
	if (ch->cap > RING_MIN && ch->count < ch->cap / 4)
		(void)resize_ring(ch, ch->cap / 2);
}

static bool
over_age(const struct memory *m, uint64_t born_ms)
{
	return m->keep.age_ms > 0 && elapsed_ms(born_ms) >= m->keep.age_ms;
}

static NOINLINE void
drop_expired(struct memory *m, struct store_channel *ch, struct aftermath *after)
{
	while (m->keep.max_messages > 0 && ch->count > m->keep.max_messages)
		drop_oldest(m, ch, after);
	while (ch->count > m->keep.min_messages && over_age(m, ch->oldest_ms))
		drop_oldest(m, ch, after);
}

/* Drops what a channel holds over age or over the count. */
static inline void
expire(struct memory *m, struct store_channel *ch, struct aftermath *after)
{
	const bool over_count = m->keep.max_messages > 0 && ch->count > m->keep.max_messages;

	if (over_count || (ch->count > m->keep.min_messages && over_age(m, ch->oldest_ms)))
		drop_expired(m, ch, after);
}

/* Makes room for cost bytes by dropping the oldest messages of the store. */
static bool
make_room(struct memory *m, size_t cost, struct aftermath *after)
{
	/* What cannot be made must not cost the messages that are there. */
	if (m->bytes - m->message_bytes + cost > m->keep.max_memory)
		return false;
	while (m->bytes + cost > m->keep.max_memory) {
		struct message *oldest = NULL;

		if (!list_empty(&m->kept))
			oldest = message_of(m->kept.next);
		if (!list_empty(&m->by_age)) {
			struct message *msg = message_of(m->by_age.next);

			if (oldest == NULL || msgid_cmp(msg->id, oldest->id) < 0)
				oldest = msg;
		}
		if (oldest == NULL)
			return false;
		drop_oldest(m, oldest->place.channel, after);
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
	ch->maker = (uint8_t)maker;
	ch->dropped = m->forgotten;
	ch->made = m->last;
	ch->entry = channel_id_entry(ch->id);
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
	    .published = ch->published,
	    .subscribers = held(ch),
	    .requested_s = ch->was_requested ? (int64_t)(elapsed_ms(ch->requested_ms) / 1000) : -1,
	    .has_last = ch->has_last,
	    .last = ch->last,
	};
}

/* NULL when out of memory. */
static struct store_note *
new_note(struct store_watch *watch, enum note_kind kind, struct msgid at)
{
	struct store_note *note = malloc(sizeof(*note));

	if (note == NULL)
		return NULL;
	*note = (struct store_note){.note = {.kind = kind}, .watch = watch, .at = at};
	return note;
}

/* Posts a note, and has its reader woken after the critical section: once, for several
 * notes of one may be for the same worker, and wake has room for workers alone. */
static void
post(struct store_note *note, struct aftermath *after)
{
	struct mailbox *mailbox = note->watch->mailbox;

	atomic_fetch_add_explicit(&note->watch->noted, 1, memory_order_relaxed);
	mailbox_post(mailbox, &note->note);
	for (unsigned i = 0; i < after->n_wake; i++)
		if (after->wake[i] == mailbox)
			return;
	after->wake[after->n_wake++] = mailbox;
}

/* Tells each worker with waiters in the channel; returns how many there are. */
static unsigned
tell(const struct store_channel *ch, enum note_kind kind, struct msgid at, struct message *msg,
    void *reply, struct aftermath *after)
{
	unsigned n = 0;

	for (struct store_watch *w = ch->watches; w != NULL; w = w->next) {
		struct store_note *note;

		if (atomic_load_explicit(&w->held, memory_order_acquire) == 0)
			continue;
		note = new_note(w, kind, at);
		if (note == NULL) {
			log_errorx("out of memory: a worker was not told of a message");
			continue;
		}
		note->msg = msg == NULL ? NULL : message_ref(msg);
		note->reply = reply;
		post(note, after);
		n++;
	}
	return n;
}

static void
memory_expect(struct store *s, const struct channel_key *key)
{
	table_expect(&memory_of(s)->channels, key->hash);
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
keep(struct memory *m, struct store_channel *ch, struct message *msg, size_t cost)
{
	if (ch->count == ch->cap && !resize_ring(ch, ch->cap == 0 ? RING_MIN : ch->cap * 2))
		return false;
	msg->place.channel = ch;
	msg->place.born_ms = clock_ms();
	msg->place.foregone = ch->foregone;
	if (ch->count == 0)
		ch->oldest_ms = msg->place.born_ms;
	ch->ring[(ch->first + ch->count) & (ch->cap - 1)] = message_ref(msg);
	ch->count++;
	list_append(&m->by_age, &msg->place.order);
	m->stored++;
	m->bytes += cost;
	m->message_bytes += cost;
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
	struct store_channel *ch;
	struct aftermath after;
	enum store_answer answer = STORE_DONE;

	result->status = STORE_OK;
	result->notes = 0;
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

	/* Far from the channel and from each other: waited for together, not one by one. */
	__builtin_prefetch(ch->watches);
	if (ch->cap > 0)
		__builtin_prefetch(&ch->ring[(ch->first + ch->count) & (ch->cap - 1)], 1);
	msg->id = give_id(m);
	msg->number = ch->published + 1;
	msg->channel = channel_id_ref(ch->id);
	msg->stored = keeps;
	if (!keeps)
		ch->foregone = msg->id;
	else if (!keep(m, ch, msg, cost))
		goto failed;
	ch->published++;
	m->published++;
	ch->last = msg->id;
	ch->has_last = true;
	/* Else it was not empty before. */
	if (ch->count <= 1)
		note_empty(m, ch);
	expire(m, ch, &after);
	result->info = info_of(ch);
	result->notes = tell(ch, NOTE_APPENDED, msg->id, msg, reply, &after);
	goto out;
failed:
	answer = STORE_FAILED;
out:
	leave(m, &after);
	if (answer == STORE_FAILED)
		log_errorx("out of memory: a message was not stored");
	return answer;
}

/* ---- next ------------------------------------------------------------------------- */

/* Where one who asks stands in one of the channels. */
struct reading {
	struct store_channel *ch; /* NULL: absent, which is as if empty */
	uint32_t at;              /* in its ring: what comes next */
	bool made;                /* by this call */
};

/* Where in a ring the first message above a position is; count: there is none. */
static uint32_t
first_after(const struct store_channel *ch, struct msgid position)
{
	uint32_t low = 0, high = ch->count;

	/* Nearly every poll is at the newest message, and need not look at any. */
	if (high == 0 || msgid_cmp(ch->last, position) <= 0)
		return high;
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (msgid_cmp(message_at(ch, mid)->id, position) <= 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* Several channels as one sequence of messages: a heap of what each has to offer. */
struct merge {
	int sign;   /* 1: what comes next in each, the oldest on top; -1: what came before */
	unsigned n; /* heads */
	struct head {
		struct msgid id;
		struct reading *reading;
	} heads[STORE_CHANNELS_MAX];
};

static bool
set_head(const struct merge *merge, struct head *head, struct reading *r)
{
	const struct store_channel *ch = r->ch;

	if (ch == NULL || (merge->sign > 0 ? r->at == ch->count : r->at == 0))
		return false;
	head->reading = r;
	head->id = message_at(ch, merge->sign > 0 ? r->at : r->at - 1)->id;
	return true;
}

static void
sift_down(struct merge *merge, unsigned i)
{
	struct head *heads = merge->heads, head = heads[i];

	for (unsigned child; (child = 2 * i + 1) < merge->n; i = child) {
		if (child + 1 < merge->n &&
		    msgid_cmp(heads[child + 1].id, heads[child].id) * merge->sign < 0)
			child++;
		if (msgid_cmp(head.id, heads[child].id) * merge->sign <= 0)
			break;
		heads[i] = heads[child];
	}
	heads[i] = head;
}

static void
merge_begin(struct merge *merge, struct reading *readings, unsigned n, int sign)
{
	merge->sign = sign;
	merge->n = 0;
	merge->heads[0].reading = NULL;
	for (unsigned i = 0; i < n; i++)
		if (set_head(merge, &merge->heads[merge->n], &readings[i]))
			merge->n++;
	for (unsigned i = merge->n / 2; i-- > 0;)
		sift_down(merge, i);
}

/* Moves the reading on top past its message. */
static void
merge_step(struct merge *merge)
{
	struct reading *r = merge->heads[0].reading;

	r->at = merge->sign > 0 ? r->at + 1 : r->at - 1;
	if (!set_head(merge, &merge->heads[0], r))
		merge->heads[0] = merge->heads[--merge->n];
	if (merge->n > 1)
		sift_down(merge, 0);
}

/* Moves the readings n messages to and fro over all channels together. */
static void
skip(struct reading *readings, unsigned n_readings, uint32_t n, int sign)
{
	struct merge merge;

	if (n > STORE_START_MAX)
		n = STORE_START_MAX;
	merge_begin(&merge, readings, n_readings, sign);
	for (; n > 0 && merge.n > 0; n--)
		merge_step(&merge);
}

static void
begin_at(struct reading *readings, unsigned n, const struct store_start *start)
{
	const bool at_oldest = start->from == STORE_FROM_OLDEST || start->from == STORE_FROM_NTH;
	uint32_t steps = 0;

	if (start->from == STORE_FROM_NTH && start->n > 1)
		steps = start->n - 1;
	else if (start->from == STORE_FROM_LAST)
		steps = start->n;
	for (unsigned i = 0; i < n; i++) {
		const uint32_t count = readings[i].ch == NULL ? 0 : readings[i].ch->count;

		readings[i].at = at_oldest ? 0 : count;
		if (n == 1) {
			if (steps > count)
				steps = count;
			readings[i].at = at_oldest ? steps : count - steps;
		}
	}
	if (n > 1 && steps > 0)
		skip(readings, n, steps, at_oldest ? 1 : -1);
}

/* The last message that was not stored, of those before this place in the ring. */
static struct msgid
foregone_before(const struct store_channel *ch, uint32_t at)
{
	return at < ch->count ? message_at(ch, at)->place.foregone : ch->foregone;
}

/*
 * Says whether something was lost between the position and the first message. Returns the
 * lowest id at which something is known to be lost after it: who reads on past that has a
 * gap again.
 */
static struct msgid
find_gap(const struct memory *m, const struct reading *readings, unsigned n,
    const struct store_query *query, struct store_result *result)
{
	struct msgid limit = {INT64_MAX, INT64_MAX};

	/* To second 0, which is no time to have read at, nothing was lost. */
	if (!query->has_after || query->after.second <= 0)
		return limit;
	for (unsigned i = 0; i < n; i++) {
		const struct store_channel *ch = readings[i].ch;
		struct msgid lost;

		/* One that is absent may have been there; one who is held knows. */
		if (ch == NULL && query->held)
			continue;
		lost = ch == NULL ? m->forgotten : ch->dropped;
		if (query->held) {
			const struct msgid foregone = foregone_before(ch, readings[i].at);

			/* Before it was held it could not have had it. */
			if (msgid_cmp(foregone, query->joined) > 0 && msgid_cmp(foregone, lost) > 0)
				lost = foregone;
		}
		if (msgid_cmp(query->after, lost) >= 0)
			continue;
		if (result->msg == NULL || msgid_cmp(lost, result->msg->id) < 0)
			result->gap = true;
		else if (msgid_cmp(lost, limit) < 0)
			limit = lost;
	}
	return limit;
}

/*
 * One who has counted is told exactly, also of messages that were not stored. Those that
 * were not stored before it was held are not lost to it, and nobody has counted them; nor
 * what there may have been of this name before the channel was made.
 */
static void
count_lost(const struct reading *r, const struct store_query *query, struct store_result *result)
{
	const struct msgid foregone = foregone_before(r->ch, r->at);
	const uint64_t to = result->msg != NULL ? result->msg->number - 1 : r->ch->published;

	if (msgid_cmp(query->after, query->joined) < 0 && msgid_cmp(foregone, query->after) > 0)
		return;
	if (msgid_cmp(query->after, r->ch->made) < 0)
		return;
	result->lost = to > query->after_number ? to - query->after_number : 0;
	result->gap = result->lost > 0;
}

/* The messages after the first, up to the next gap. */
static void
take_more(struct reading *readings, unsigned n, const struct store_query *query, struct msgid limit,
    struct store_result *result)
{
	size_t bytes = result->msg->body_len;
	struct merge merge;

	for (merge_begin(&merge, readings, n, 1); merge.n > 0; merge_step(&merge)) {
		const struct reading *r = merge.heads[0].reading;
		struct message *msg;

		assert(r != NULL);
		msg = message_at(r->ch, r->at);
		if (msg != result->msg) {
			if (result->n_more == query->more_max || msgid_cmp(msg->id, limit) > 0 ||
			    bytes > query->more_bytes || msg->body_len > query->more_bytes - bytes)
				break;
			bytes += msg->body_len;
			result->more[result->n_more++] = message_ref(msg);
		}
		if (query->held) {
			const struct msgid lost = foregone_before(r->ch, r->at + 1);

			if (msgid_cmp(lost, query->joined) > 0 && msgid_cmp(lost, msg->id) > 0 &&
			    msgid_cmp(lost, limit) < 0)
				limit = lost;
		}
	}
	result->rest = merge.n > 0 || limit.second != INT64_MAX;
}

/* What there is for one who asks. */
static void
read_next(struct memory *m, struct reading *readings, unsigned n, const struct store_query *query,
    struct store_result *result)
{
	struct msgid limit;

	assert(!query->held || query->has_after);
	if (!query->has_after)
		begin_at(readings, n, &query->start);
	for (unsigned i = 0; i < n; i++) {
		struct reading *r = &readings[i];
		struct message *msg;

		if (r->ch == NULL)
			continue;
		if (query->has_after)
			r->at = first_after(r->ch, query->after);
		if (r->at == r->ch->count)
			continue;
		msg = message_at(r->ch, r->at);
		if (result->msg == NULL || msgid_cmp(msg->id, result->msg->id) < 0)
			result->msg = msg;
	}
	limit = find_gap(m, readings, n, query, result);
	if (n == 1 && readings[0].ch != NULL) {
		result->number = readings[0].ch->published;
		if (query->held && query->has_after_number)
			count_lost(&readings[0], query, result);
	}
	result->newest = m->last;
	result->status = result->msg != NULL ? STORE_OK : STORE_NOTHING_NEWER;
	if (result->msg == NULL)
		return;
	message_ref(result->msg);
	result->rest = true;
	if (query->more_max > 0)
		take_more(readings, n, query, limit, result);
}

static struct holder *
holder_of(const struct store_channel *ch, unsigned place)
{
	struct holder *h = ch == NULL ? NULL : ch->holders;

	while (h != NULL && h->place != place)
		h = h->next;
	return h;
}

/* Whether one may be held in all of the channels; else result says why, and where. */
static bool
may_be_held(const struct reading *readings, unsigned n, const struct store_query *query,
    struct store_result *result)
{
	const bool yields = query->hold != NULL && query->hold->mode == STORE_HOLD_FIRST;

	if (query->max_subscribers == 0 && !yields)
		return true;
	for (unsigned i = 0; i < n; i++) {
		const struct store_channel *ch = readings[i].ch;

		result->which = i;
		if (yields && holder_of(ch, query->hold->place) != NULL) {
			result->status = STORE_CONFLICT;
			return false;
		}
		if (query->max_subscribers > 0 && ch != NULL &&
		    held(ch) >= query->max_subscribers) {
			result->status = STORE_FULL;
			return false;
		}
	}
	result->which = 0;
	return true;
}

/*
 * Takes a place in each channel from whoever has it; may_be_held() has allowed it. False:
 * out of memory, and none is taken.
 */
static bool
take_places(struct memory *m, struct reading *readings, unsigned n, const struct store_query *query,
    struct aftermath *after)
{
	const struct store_hold *hold = query->hold;
	struct {
		struct holder *holder;
		struct store_note *note; /* to who has it; NULL: nobody, and holder is new */
	} places[STORE_CHANNELS_MAX];
	unsigned n_ready;

	/* All that can fail comes first. */
	for (n_ready = 0; n_ready < n; n_ready++) {
		struct store_channel *ch = readings[n_ready].ch;
		struct holder *h = holder_of(ch, hold->place);
		struct store_note *note = NULL;

		if (h == NULL)
			h = malloc(sizeof(*h));
		else if ((note = new_note(h->watch, NOTE_DISPLACED, m->last)) == NULL)
			goto failed;
		if (h == NULL)
			goto failed;
		places[n_ready].holder = h;
		places[n_ready].note = note;
	}
	for (unsigned i = 0; i < n; i++) {
		struct holder *h = places[i].holder;
		struct store_note *note = places[i].note;

		if (note != NULL) {
			note->ticket = h->ticket;
			post(note, after);
		} else {
			h->place = hold->place;
			h->next = readings[i].ch->holders;
			readings[i].ch->holders = h;
		}
		h->ticket = hold->ticket;
		h->watch = query->watches[i];
	}
	return true;
failed:
	while (n_ready-- > 0) {
		if (places[n_ready].note != NULL)
			store_note_free(places[n_ready].note);
		else
			free(places[n_ready].holder);
	}
	return false;
}

/* Where this worker's waiters are counted. */
static _Atomic uint64_t *
total_of(struct memory *m, const struct mailbox *worker)
{
	struct store_total *totals = m->store.totals;
	unsigned i = 0;

	while (totals[i].worker != NULL && totals[i].worker != worker) {
		i++;
		assert(i < STORE_TOTALS);
	}
	totals[i].worker = worker;
	return &totals[i].held;
}

static void
hold_in(struct memory *m, struct store_channel *ch, struct store_watch *watch)
{
	if (watch->channel == NULL) {
		if (watch->total == NULL)
			watch->total = total_of(m, watch->mailbox);
		watch->channel = ch;
		watch->next = ch->watches;
		ch->watches = watch;
	}
	assert(watch->channel == ch);
	watch->transient = ch->maker == MADE_BY_GET;
	atomic_fetch_add_explicit(&watch->held, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(watch->total, 1, memory_order_relaxed);
}

/* Makes what is absent. False: out of memory. */
static bool
make_absent(struct memory *m, const struct channel_key *keys, struct reading *readings, unsigned n,
    struct aftermath *after)
{
	for (unsigned i = 0; i < n; i++) {
		if (readings[i].ch != NULL)
			continue;
		/* Over max_memory too: a subscriber is bounded by the number of connections,
		 * and is never refused for what publishers have stored. */
		(void)make_room(m, channel_cost(keys[i].len), after);
		readings[i].ch = make(m, &keys[i], MADE_BY_GET);
		if (readings[i].ch == NULL)
			return false;
		readings[i].made = true;
		readings[i].ch->was_requested = true;
		readings[i].ch->requested_ms = clock_ms();
	}
	return true;
}

/* The caller begins to be held in all of the channels, or in none: see result->status. */
static enum store_answer
join(struct memory *m, const struct channel_key *keys, struct reading *readings, unsigned n,
    const struct store_query *query, struct store_result *result, struct aftermath *after)
{
	if (!may_be_held(readings, n, query, result))
		return STORE_DONE;
	if (!make_absent(m, keys, readings, n, after) ||
	    (query->hold != NULL && !take_places(m, readings, n, query, after))) {
		for (unsigned i = 0; i < n; i++)
			if (readings[i].made)
				forget(m, readings[i].ch, after);
		return STORE_FAILED;
	}
	for (unsigned i = 0; i < n; i++)
		hold_in(m, readings[i].ch, query->watches[i]);
	return STORE_DONE;
}

/*
 * The channels that are asked for. False: one is absent, and result says which.
 */
static bool
find_all(struct memory *m, const struct channel_key *keys, unsigned n,
    const struct store_query *query, struct reading *readings, struct store_result *result,
    struct aftermath *after)
{
	for (unsigned i = 0; i < n; i++) {
		struct store_channel *ch;

		if (query->held) {
			/* One of the same name that was made since is not what it waits in. */
			ch = query->watches[i]->channel;
			if (ch != NULL && msgid_cmp(ch->made, query->joined) > 0)
				ch = NULL;
		} else {
			ch = find(m, &keys[i]);
			if (ch == NULL && !query->create) {
				result->which = i;
				return false;
			}
		}
		readings[i].ch = ch;
		readings[i].made = false;
	}
	for (unsigned i = 0; i < n; i++) {
		struct store_channel *ch = readings[i].ch;

		if (ch == NULL)
			continue;
		if (!query->held) {
			ch->was_requested = true;
			ch->requested_ms = clock_ms();
		}
		expire(m, ch, after);
	}
	return true;
}

/*
 * What nearly every call is: one channel, a position, and nothing lost since. It says the
 * same as the long way round, in half the instructions. False: it is not so, and nothing
 * is done.
 */
static bool
next_of_one(struct memory *m, const struct channel_key *key, const struct store_query *query,
    struct store_result *result, struct aftermath *after)
{
	struct store_channel *ch;
	struct message *msg = NULL;
	uint32_t at;

	if (!query->has_after || query->held || query->hold != NULL || query->max_subscribers > 0 ||
	    query->more_max > 0)
		return false;
	/* A watch that is on is on the channel of this name. */
	ch = query->watches != NULL ? query->watches[0]->channel : NULL;
	if (ch == NULL && (ch = find(m, key)) == NULL)
		return false;
	expire(m, ch, after);
	if (msgid_cmp(query->after, ch->dropped) < 0)
		return false;
	ch->was_requested = true;
	ch->requested_ms = clock_ms();
	at = first_after(ch, query->after);
	if (at < ch->count)
		msg = message_ref(message_at(ch, at));
	result->status = msg != NULL ? STORE_OK : STORE_NOTHING_NEWER;
	result->msg = msg;
	result->newest = m->last;
	result->number = ch->published;
	if (query->watches != NULL && (query->stream || msg == NULL))
		hold_in(m, ch, query->watches[0]);
	return true;
}

/* Any other: several channels, one who reads on, places, bounds, gaps. */
static NOINLINE enum store_answer
next_of_any(struct memory *m, const struct channel_key *keys, unsigned n_keys,
    const struct store_query *query, struct store_result *result, struct aftermath *after)
{
	struct reading readings[STORE_CHANNELS_MAX];

	if (!find_all(m, keys, n_keys, query, readings, result, after))
		return STORE_DONE;
	read_next(m, readings, n_keys, query, result);
	if (query->watches == NULL || query->held || (result->msg != NULL && !query->stream))
		return STORE_DONE;
	return join(m, keys, readings, n_keys, query, result, after);
}

static enum store_answer
memory_next(struct store *s, const struct channel_key *keys, unsigned n_keys,
    const struct store_query *query, struct store_result *result, UNUSED store_fn *fn,
    UNUSED void *arg, UNUSED struct store_op **op)
{
	struct memory *m = memory_of(s);
	struct aftermath after;
	enum store_answer answer = STORE_DONE;

	assert(n_keys > 0 && n_keys <= STORE_CHANNELS_MAX);
	/* One by one: clearing all of it costs more than finding the channel. */
	result->status = STORE_NO_CHANNEL;
	result->which = result->n_more = 0;
	result->msg = NULL;
	result->more = query->more;
	result->newest = (struct msgid){0, 0};
	result->number = result->lost = 0;
	result->gap = false;
	enter(m, &after);
	if (n_keys > 1 || !next_of_one(m, &keys[0], query, result, &after))
		answer = next_of_any(m, keys, n_keys, query, result, &after);
	leave(m, &after);
	if (answer == STORE_FAILED)
		log_errorx("out of memory: a subscriber was not held");
	if (answer == STORE_FAILED || result->status > STORE_NOTHING_NEWER) {
		/* It is refused, so what a stream would have been given stays here. */
		message_unref(result->msg);
		result->msg = NULL;
		while (result->n_more > 0)
			message_unref(query->more[--result->n_more]);
	}
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
		result->notes = tell(ch, NOTE_DROPPED, give_id(m), NULL, reply, &after);
		forget(m, ch, &after);
	}
	leave(m, &after);
	return STORE_DONE;
}

static enum store_answer
memory_stats(struct store *s, struct store_stats *stats, struct store_result *result,
    UNUSED store_fn *fn, UNUSED void *arg, UNUSED struct store_op **op)
{
	struct memory *m = memory_of(s);

	*result = (struct store_result){.status = STORE_OK};
	*stats = (struct store_stats){.channels = 0};
	pthread_mutex_lock(&m->lock);
	stats->channels = m->channels.count;
	stats->published = m->published;
	stats->stored = m->stored;
	stats->bytes = m->bytes;
	for (unsigned i = 0; i < STORE_TOTALS && s->totals[i].worker != NULL; i++) {
		const uint64_t held =
		    atomic_load_explicit(&s->totals[i].held, memory_order_relaxed);

		stats->by_worker[i].worker = s->totals[i].worker;
		stats->by_worker[i].subscribers = held;
		stats->subscribers += held;
	}
	pthread_mutex_unlock(&m->lock);
	return STORE_DONE;
}

static struct store_listed
listed_of(const struct store_channel *ch)
{
	return (struct store_listed){
	    .id = channel_id_ref(ch->id),
	    .published = ch->published,
	    .stored = ch->count,
	    .subscribers = held(ch),
	};
}

static bool
begins_with(const struct table_entry *e, const struct store_selection *selection)
{
	return selection->prefix_len == 0 ||
	       (e->key_len >= selection->prefix_len &&
		   memcmp(e->key, selection->prefix, selection->prefix_len) == 0);
}

/* The next slice of those whose ids begin so. Returns how many. */
static unsigned
list_slice(const struct memory *m, const struct store_selection *selection, struct table_walk *walk,
    struct store_listed *listed, unsigned max)
{
	size_t steps = LIST_STEPS;
	unsigned n = 0;

	for (;;) {
		struct table_entry *first = table_walk_next(&m->channels, walk, &steps);
		unsigned n_before = n;

		if (first == NULL)
			return n;
		for (struct table_entry *e = first; e != NULL; e = table_same(e)) {
			if (!begins_with(e, selection))
				continue;
			if (n < max) {
				listed[n++] =
				    listed_of(CONTAINER_OF(e, struct store_channel, entry));
			} else if (n_before > 0) {
				/* Those of one hash go into one slice, for a walk cannot stop
				 * between them. */
				while (n > n_before)
					channel_id_unref(listed[--n].id);
				return n;
			}
		}
		table_walk_past(walk, first);
	}
}

static enum store_answer
memory_list(struct store *s, const struct store_selection *selection, struct store_cursor *cursor,
    struct store_listed *listed, unsigned max, struct store_result *result, UNUSED store_fn *fn,
    UNUSED void *arg, UNUSED struct store_op **op)
{
	struct memory *m = memory_of(s);
	struct table_walk walk = {.at = cursor->at, .ended = cursor->done};

	assert(max > 0 && max <= STORE_LIST_MAX && selection->n_keys <= max);
	*result = (struct store_result){.status = STORE_OK};
	pthread_mutex_lock(&m->lock);
	if (selection->keys == NULL) {
		result->n_listed = list_slice(m, selection, &walk, listed, max);
	} else {
		for (unsigned i = 0; i < selection->n_keys; i++) {
			const struct store_channel *ch = find(m, &selection->keys[i]);

			if (ch != NULL)
				listed[result->n_listed++] = listed_of(ch);
		}
		walk.ended = true;
	}
	pthread_mutex_unlock(&m->lock);
	*cursor = (struct store_cursor){.at = walk.at, .done = walk.ended};
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
			    (*h)->watch == watch) {
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
		struct message *msg = message_of(m->by_age.next);

		if (!over_age(m, msg->place.born_ms))
			break;
		if (msg->place.channel->count > m->keep.min_messages) {
			drop_oldest(m, msg->place.channel, &after);
		} else {
			list_remove(&msg->place.order);
			list_append(&m->kept, &msg->place.order);
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
    .expect = memory_expect,
    .create = memory_create,
    .info = memory_info,
    .append = memory_append,
    .next = memory_next,
    .drop = memory_drop,
    .stats = memory_stats,
    .list = memory_list,
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
