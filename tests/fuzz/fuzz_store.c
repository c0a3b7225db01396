/*
 * The memory store: store/memory.c against a model that keeps plain arrays.
 *
 * The input is a program: publish, ask, wait, leave, delete, sweep, let time pass, over a
 * few channels, workers and places. Promises, after every step: ids increase over the
 * whole store, whatever the clock does; what is stored, said to be gone and counted is what
 * the model has; max_messages, message_timeout and max_memory are kept; each worker gets
 * exactly the notes that the model expects, in their order, so that who waits misses
 * nothing that came after it began to; the store's books agree with a recount; and when
 * all channels are gone they stand at zero.
 *
 * The store is included, not linked: the books are its own.
 */
#include "fuzz.h"

/* NOLINTNEXTLINE(bugprone-suspicious-include) */
#include "store/memory.c"

#include <event2/event.h>

#define CHANNELS     4
#define WORKERS      3
#define WAITERS      6 /* of one worker in one channel */
#define PLACES       2
#define STEPS_MAX    1500
#define MESSAGES_MAX (STEPS_MAX + 1)

static const char *const key_texts[CHANNELS] = {"a", "a/b", "another one, which is longer", "\n"};

struct sim_message {
	struct msgid id;
	uint64_t born_ms;
	size_t cost, body_len;
};

struct sim_channel {
	bool exists, was_requested, has_last;
	enum channel_maker maker;
	struct sim_message messages[MESSAGES_MAX];
	size_t n;
	struct msgid last, dropped;
	uint64_t requested_ms, used_ms; /* with a message or a waiter, or made */
	struct {
		bool taken;
		unsigned worker;
		uint64_t ticket;
	} places[PLACES];
};

enum fate {
	FATE_WAITS,
	FATE_MESSAGE,
	FATE_DROPPED,
	FATE_DISPLACED,
};

struct sim_waiter {
	bool held, has_place;
	struct msgid begin;
	struct store_hold hold;
	enum fate fate; /* as the first note that is for it will say */
	struct msgid fate_at;
};

struct sim_note {
	enum note_kind kind;
	unsigned channel;
	struct msgid at;
	uint64_t ticket;
	size_t body_len;
	void *reply;
};

struct sim_watch {
	struct store_watch watch;
	bool attached;
	struct sim_waiter waiters[WAITERS];
};

struct sim_worker {
	struct event_base *base;
	struct mailbox *mailbox;
	struct sim_watch watches[CHANNELS];
	struct sim_note expected[STEPS_MAX * 2];
	size_t n_expected;
	struct store_note *got[STEPS_MAX * 2];
	size_t n_got;
};

static struct {
	struct memory *m;
	struct retention keep;
	struct sim_channel channels[CHANNELS];
	struct sim_worker workers[WORKERS];
	struct msgid last, forgotten;
	uint64_t now_ms;
	int64_t wall_s;
	uint64_t tickets;
	size_t body_sizes[4];
} sim;

static struct channel_key
key_of(unsigned c)
{
	return channel_key(key_texts[c], strlen(key_texts[c]));
}

static size_t
cost_of_channel(unsigned c)
{
	return channel_cost(strlen(key_texts[c]));
}

/* ---- the model --------------------------------------------------------------------- */

static void
sim_drop_oldest(struct sim_channel *ch)
{
	PROMISE(msgid_cmp(ch->dropped, ch->messages[0].id) < 0, "the model dropped in disorder");
	ch->dropped = ch->messages[0].id;
	memmove(ch->messages, ch->messages + 1, --ch->n * sizeof(ch->messages[0]));
	if (ch->n == 0)
		ch->used_ms = sim.now_ms;
}

static void
sim_expire(struct sim_channel *ch)
{
	while (sim.keep.max_messages > 0 && ch->n > sim.keep.max_messages)
		sim_drop_oldest(ch);
	while (ch->n > sim.keep.min_messages && sim.keep.age_ms > 0 &&
	       sim.now_ms - ch->messages[0].born_ms >= sim.keep.age_ms)
		sim_drop_oldest(ch);
}

static uint64_t
sim_bytes(bool with_messages)
{
	uint64_t bytes = 0;

	for (unsigned c = 0; c < CHANNELS; c++) {
		if (!sim.channels[c].exists)
			continue;
		bytes += cost_of_channel(c);
		for (size_t i = 0; with_messages && i < sim.channels[c].n; i++)
			bytes += sim.channels[c].messages[i].cost;
	}
	return bytes;
}

static bool
sim_make_room(size_t cost)
{
	uint64_t bytes = sim_bytes(true);

	if (sim_bytes(false) + cost > sim.keep.max_memory)
		return false;
	while (bytes + cost > sim.keep.max_memory) {
		struct sim_channel *oldest = NULL;

		for (unsigned c = 0; c < CHANNELS; c++) {
			struct sim_channel *ch = &sim.channels[c];

			if (ch->exists && ch->n > 0 &&
			    (oldest == NULL ||
				msgid_cmp(ch->messages[0].id, oldest->messages[0].id) < 0))
				oldest = ch;
		}
		bytes -= oldest->messages[0].cost;
		sim_drop_oldest(oldest);
	}
	return true;
}

static void
sim_make(unsigned c, enum channel_maker maker)
{
	struct sim_channel *ch = &sim.channels[c];

	ch->exists = true;
	ch->was_requested = ch->has_last = false;
	ch->maker = maker;
	ch->n = 0;
	ch->dropped = sim.forgotten;
	ch->used_ms = sim.now_ms;
	memset(ch->places, 0, sizeof(ch->places));
}

static void
sim_forget(unsigned c)
{
	struct sim_channel *ch = &sim.channels[c];

	if (ch->n > 0)
		ch->dropped = ch->messages[ch->n - 1].id;
	if (msgid_cmp(ch->dropped, sim.forgotten) > 0)
		sim.forgotten = ch->dropped;
	ch->exists = false;
	ch->n = 0;
	for (unsigned w = 0; w < WORKERS; w++)
		sim.workers[w].watches[c].attached = false;
}

static uint32_t
sim_held(unsigned w, unsigned c)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < WAITERS; i++)
		n += sim.workers[w].watches[c].waiters[i].held;
	return n;
}

static uint64_t
sim_subscribers(unsigned c)
{
	uint64_t n = 0;

	for (unsigned w = 0; w < WORKERS; w++)
		if (sim.workers[w].watches[c].attached)
			n += sim_held(w, c);
	return n;
}

static struct msgid
sim_next_id(void)
{
	if (sim.wall_s > sim.last.second)
		sim.last = (struct msgid){sim.wall_s, 0};
	else
		sim.last.tag++;
	return sim.last;
}

static void
sim_expect(unsigned w, struct sim_note note)
{
	struct sim_worker *worker = &sim.workers[w];

	PROMISE(worker->n_expected < sizeof(worker->expected) / sizeof(worker->expected[0]),
	    "more notes than steps");
	worker->expected[worker->n_expected++] = note;
}

/* Tells all workers with waiters; returns how many. */
static unsigned
sim_tell(unsigned c, struct sim_note note)
{
	unsigned n = 0;

	for (unsigned w = 0; w < WORKERS; w++) {
		struct sim_watch *watch = &sim.workers[w].watches[c];

		if (!watch->attached || sim_held(w, c) == 0)
			continue;
		n++;
		sim_expect(w, note);
		for (unsigned i = 0; i < WAITERS; i++) {
			struct sim_waiter *waiter = &watch->waiters[i];

			if (!waiter->held || waiter->fate != FATE_WAITS ||
			    msgid_cmp(waiter->begin, note.at) >= 0)
				continue;
			waiter->fate = note.kind == NOTE_APPENDED ? FATE_MESSAGE : FATE_DROPPED;
			waiter->fate_at = note.at;
		}
	}
	return n;
}

/* ---- the store's answers ------------------------------------------------------------ */

static void
check_info(unsigned c, const struct store_info *info, size_t messages, uint64_t subscribers)
{
	const struct sim_channel *ch = &sim.channels[c];
	int64_t requested =
	    ch->was_requested ? (int64_t)((sim.now_ms - ch->requested_ms) / 1000) : -1;

	PROMISE(info->messages == messages, "%llu messages, not %zu",
	    (unsigned long long)info->messages, messages);
	PROMISE(info->subscribers == subscribers, "%llu subscribers, not %llu",
	    (unsigned long long)info->subscribers, (unsigned long long)subscribers);
	PROMISE(info->requested_s == requested, "requested %lld s ago, not %lld",
	    (long long)info->requested_s, (long long)requested);
	PROMISE(info->has_last == ch->has_last &&
		    (!ch->has_last || msgid_cmp(info->last, ch->last) == 0),
	    "another last id");
}

static void
check_books(bool thoroughly)
{
	struct memory *m = sim.m;
	struct msgid before = {0, 0};
	size_t n_channels = 0, n_messages = 0, n_slots = 0;

	PROMISE(m->bytes == sim_bytes(true), "%llu bytes in the books, %llu by recount",
	    (unsigned long long)m->bytes, (unsigned long long)sim_bytes(true));
	PROMISE(m->bytes - m->message_bytes == sim_bytes(false), "%llu bytes of channels, not %llu",
	    (unsigned long long)(m->bytes - m->message_bytes),
	    (unsigned long long)sim_bytes(false));
	PROMISE(msgid_cmp(m->last, sim.last) == 0, "another newest id");
	for (unsigned c = 0; c < CHANNELS; c++) {
		const struct channel_key key = key_of(c);
		const struct store_channel *ch = find(m, &key);
		const struct sim_channel *right = &sim.channels[c];

		PROMISE((ch != NULL) == right->exists, "channel %u %s", c,
		    ch != NULL ? "is there" : "is gone");
		if (ch == NULL)
			continue;
		n_channels++;
		n_messages += right->n;
		PROMISE(ch->count == right->n && ch->maker == right->maker, "channel %u", c);
		PROMISE(msgid_cmp(ch->dropped, right->dropped) == 0,
		    "channel %u: gone up to %lld:%lld", c, (long long)ch->dropped.second,
		    (long long)ch->dropped.tag);
		for (uint32_t i = 0; thoroughly && i < ch->count; i++)
			PROMISE(msgid_cmp(slot_at(ch, i)->msg->id, right->messages[i].id) == 0 &&
				    slot_at(ch, i)->msg->body_len == right->messages[i].body_len,
			    "channel %u: message %u", c, i);
	}
	PROMISE(m->channels.count == n_channels, "%zu channels", m->channels.count);
	for (unsigned w = 0; w < WORKERS; w++)
		for (unsigned c = 0; c < CHANNELS; c++) {
			const struct sim_watch *watch = &sim.workers[w].watches[c];

			PROMISE(
			    (watch->watch.channel != NULL) == watch->attached, "watch %u %u", w, c);
			PROMISE(watch->watch.held == sim_held(w, c), "held %u %u", w, c);
		}
	if (!thoroughly)
		return;
	LIST_EACH_SAFE (l, &m->kept)
		n_slots++;
	LIST_EACH_SAFE (l, &m->by_age) {
		const struct slot *slot = CONTAINER_OF(l, struct slot, order);

		n_slots++;
		PROMISE(msgid_cmp(before, slot->msg->id) < 0, "by_age is in disorder");
		before = slot->msg->id;
	}
	PROMISE(n_slots == n_messages, "%zu slots of %zu messages", n_slots, n_messages);
}

/* ---- the steps ---------------------------------------------------------------------- */

static void
step_append(struct tape *tape)
{
	unsigned how = tape_byte(tape), c = how % CHANNELS;
	bool keeps = how & 4, create = how & 8, typed = how & 16, existed;
	size_t body_len = sim.body_sizes[how >> 5 & 3], cost, needed;
	struct sim_channel *ch = &sim.channels[c];
	struct channel_key key = key_of(c);
	enum store_status right = STORE_OK;
	struct store_result result;
	void *reply = &sim.channels[how >> 7];
	struct message *msg;
	char *body = calloc(1, body_len + 1);
	uint64_t subscribers = sim_subscribers(c);

	msg = message_new(&(struct message_parts){
	    .content_type = {typed ? "text/plain" : NULL, typed ? 10 : 0},
	    .body = {body, body_len},
	});
	free(body);
	if (msg == NULL)
		abort();
	cost = keeps ? message_cost(msg) : 0;
	existed = ch->exists;
	needed = cost + (existed ? 0 : cost_of_channel(c));
	if (!existed && !create)
		right = STORE_NO_CHANNEL;
	else if (cost + cost_of_channel(c) > sim.keep.max_memory)
		right = STORE_TOO_LARGE;
	else if (needed > 0 && !sim_make_room(needed))
		right = STORE_NO_ROOM;

	PROMISE(store_append(&sim.m->store, &key, msg,
		    (keeps ? STORE_APPEND_KEEP : 0) | (create ? STORE_APPEND_CREATE : 0), reply,
		    &result, NULL, NULL, NULL) == STORE_DONE,
	    "append");
	PROMISE(result.status == right, "append: status %d, not %d", result.status, right);
	if (right == STORE_OK) {
		if (!existed)
			sim_make(c, MADE_BY_POST);
		if (ch->maker == MADE_BY_GET && keeps)
			ch->maker = MADE_BY_POST;
		ch->last = sim_next_id();
		ch->has_last = true;
		ch->used_ms = sim.now_ms;
		PROMISE(msgid_cmp(msg->id, ch->last) == 0, "id %lld:%lld, not %lld:%lld",
		    (long long)msg->id.second, (long long)msg->id.tag, (long long)ch->last.second,
		    (long long)ch->last.tag);
		if (keeps)
			ch->messages[ch->n++] =
			    (struct sim_message){msg->id, sim.now_ms, cost, body_len};
		sim_expire(ch);
		PROMISE(result.notes == sim_tell(c, (struct sim_note){NOTE_APPENDED, c, msg->id, 0,
							body_len, reply}),
		    "%u workers were told", result.notes);
		check_info(c, &result.info, ch->n, subscribers);
		PROMISE(needed == 0 || sim.m->bytes <= sim.keep.max_memory, "over max_memory");
		PROMISE(sim.keep.max_messages == 0 || ch->n <= sim.keep.max_messages,
		    "over max_messages");
	}
	message_unref(msg);
}

static void
step_create(struct tape *tape)
{
	unsigned c = tape_byte(tape) % CHANNELS;
	struct sim_channel *ch = &sim.channels[c];
	struct channel_key key = key_of(c);
	bool room = ch->exists || sim_make_room(cost_of_channel(c));
	uint64_t subscribers = sim_subscribers(c);
	struct store_result result;

	PROMISE(
	    store_create(&sim.m->store, &key, &result, NULL, NULL, NULL) == STORE_DONE, "create");
	PROMISE(
	    result.status == (room ? STORE_OK : STORE_NO_ROOM), "create: status %d", result.status);
	if (!room)
		return;
	if (!ch->exists)
		sim_make(c, MADE_BY_PUT);
	ch->maker = MADE_BY_PUT;
	ch->used_ms = sim.now_ms;
	sim_expire(ch);
	check_info(c, &result.info, ch->n, subscribers);
}

static void
step_info(struct tape *tape)
{
	unsigned c = tape_byte(tape) % CHANNELS;
	struct sim_channel *ch = &sim.channels[c];
	struct channel_key key = key_of(c);
	struct store_result result;

	PROMISE(store_info(&sim.m->store, &key, &result, NULL, NULL, NULL) == STORE_DONE, "info");
	PROMISE(result.status == (ch->exists ? STORE_OK : STORE_NO_CHANNEL), "info: status %d",
	    result.status);
	if (!ch->exists)
		return;
	sim_expire(ch);
	check_info(c, &result.info, ch->n, sim_subscribers(c));
}

static struct msgid
position(const struct sim_channel *ch, unsigned kind, unsigned which)
{
	switch (kind) {
	case 0:
		return (struct msgid){0, -1};
	case 1:
	case 2:
		return ch->exists && ch->n > 0 ? ch->messages[which % ch->n].id : sim.last;
	case 3:
		return ch->dropped;
	case 4:
		return (struct msgid){sim.last.second - which % 4, -1};
	case 5:
		return (struct msgid){sim.last.second + 1000, which};
	case 6:
		return ch->last;
	default:
		return sim.last;
	}
}

static void
step_next(struct tape *tape)
{
	unsigned how = tape_byte(tape), more = tape_byte(tape), c = how % CHANNELS;
	unsigned w = (how >> 2) % WORKERS, kind = more & 7, place = how >> 7;
	struct sim_channel *ch = &sim.channels[c];
	struct sim_watch *watch = &sim.workers[w].watches[c];
	struct sim_waiter *waiter = NULL;
	struct channel_key key = key_of(c);
	struct store_watch *watches[] = {&watch->watch};
	struct store_hold hold = {
	    .mode = more & 64 ? STORE_HOLD_LAST : STORE_HOLD_FIRST, .place = place};
	struct store_query query = {.has_after = more & 8, .create = more & 16};
	enum store_status right;
	struct store_result result;
	const struct sim_message *next = NULL;
	bool waits = more & 32, gap = false;

	for (unsigned i = 0; waits && waiter == NULL && i < WAITERS; i++)
		if (!watch->waiters[i].held)
			waiter = &watch->waiters[i];
	if (query.has_after)
		query.after = position(ch, kind, how >> 4);
	if (waiter != NULL) {
		query.watches = watches;
		hold.ticket = ++sim.tickets;
		if (more & 128)
			query.hold = &hold;
	}

	PROMISE(store_next(&sim.m->store, &key, 1, &query, &result, NULL, NULL, NULL) == STORE_DONE,
	    "next");
	if (!ch->exists) {
		if (!query.create || query.watches == NULL) {
			PROMISE(result.msg == NULL &&
				    result.status ==
					(query.create ? STORE_NOTHING_NEWER : STORE_NO_CHANNEL),
			    "next: status %d without a channel", result.status);
			return;
		}
		(void)sim_make_room(cost_of_channel(c));
		sim_make(c, MADE_BY_GET);
	}
	ch->was_requested = true;
	ch->requested_ms = sim.now_ms;
	sim_expire(ch);
	for (size_t i = 0; next == NULL && i < ch->n; i++)
		if (!query.has_after || msgid_cmp(ch->messages[i].id, query.after) > 0)
			next = &ch->messages[i];
	if (query.has_after)
		gap = query.after.second > 0 && msgid_cmp(query.after, ch->dropped) < 0;
	right = next != NULL ? STORE_OK : STORE_NOTHING_NEWER;
	if (next == NULL && query.hold != NULL && ch->places[place].taken &&
	    hold.mode == STORE_HOLD_FIRST)
		right = STORE_CONFLICT;
	PROMISE(result.status == right, "next: status %d, not %d", result.status, right);
	PROMISE(result.gap == gap, "next: gap %d", result.gap);
	PROMISE(msgid_cmp(result.newest, sim.last) == 0, "next: another newest id");
	PROMISE((result.msg != NULL) == (next != NULL), "next: message");
	if (next != NULL) {
		PROMISE(msgid_cmp(result.msg->id, next->id) == 0 &&
			    result.msg->body_len == next->body_len && result.msg->channel != NULL,
		    "next: another message");
		message_unref(result.msg);
		return;
	}
	if (waiter == NULL || right == STORE_CONFLICT)
		return;
	if (query.hold != NULL) {
		if (ch->places[place].taken) {
			struct sim_watch *from = &sim.workers[ch->places[place].worker].watches[c];

			sim_expect(
			    ch->places[place].worker, (struct sim_note){NOTE_DISPLACED, c, sim.last,
							  ch->places[place].ticket, 0, NULL});
			for (unsigned i = 0; i < WAITERS; i++)
				if (from->waiters[i].held &&
				    from->waiters[i].hold.ticket == ch->places[place].ticket &&
				    from->waiters[i].fate == FATE_WAITS)
					from->waiters[i].fate = FATE_DISPLACED;
		}
		ch->places[place].taken = true;
		ch->places[place].worker = w;
		ch->places[place].ticket = hold.ticket;
	}
	PROMISE(watch->watch.transient == (ch->maker == MADE_BY_GET), "next: transient %d",
	    watch->watch.transient);
	watch->attached = true;
	*waiter = (struct sim_waiter){.held = true,
	    .has_place = query.hold != NULL,
	    .begin = result.newest,
	    .hold = hold,
	    .fate = FATE_WAITS};
}

static void
end_waiter(unsigned w, unsigned c, struct sim_waiter *waiter)
{
	struct sim_watch *watch = &sim.workers[w].watches[c];
	struct sim_channel *ch = &sim.channels[c];
	unsigned place = waiter->hold.place;

	if (waiter->has_place) {
		store_release(&sim.m->store, &watch->watch, &waiter->hold);
		if (watch->attached && ch->places[place].taken && ch->places[place].worker == w &&
		    ch->places[place].ticket == waiter->hold.ticket)
			ch->places[place].taken = false;
	}
	store_leave(&watch->watch, sim.now_ms);
	waiter->held = false;
	if (watch->attached)
		ch->used_ms = sim.now_ms;
}

static void
work_note(unsigned w, const struct store_note *note, const struct sim_note *right)
{
	struct sim_watch *watch = &sim.workers[w].watches[right->channel];

	PROMISE(note->note.kind == right->kind && note->store == &sim.m->store,
	    "note of kind %d, not %d", note->note.kind, right->kind);
	PROMISE(msgid_cmp(note->at, right->at) == 0, "note at %lld:%lld",
	    (long long)note->at.second, (long long)note->at.tag);
	PROMISE(note->channel->key.len == strlen(key_texts[right->channel]) &&
		    memcmp(note->channel->bytes, key_texts[right->channel],
			note->channel->key.len) == 0,
	    "note of another channel");
	if (note->note.kind == NOTE_DISPLACED) {
		PROMISE(note->ticket == right->ticket, "note for another waiter");
		for (unsigned i = 0; i < WAITERS; i++) {
			struct sim_waiter *waiter = &watch->waiters[i];

			if (waiter->held && waiter->hold.ticket == note->ticket) {
				PROMISE(waiter->fate == FATE_DISPLACED, "displaced, not %d",
				    waiter->fate);
				end_waiter(w, right->channel, waiter);
			}
		}
		return;
	}
	PROMISE(note->reply == right->reply, "another reply");
	PROMISE((note->msg != NULL) == (note->note.kind == NOTE_APPENDED), "message of a note");
	PROMISE(note->msg == NULL || (msgid_cmp(note->msg->id, note->at) == 0 &&
					 note->msg->body_len == right->body_len),
	    "another message");
	for (unsigned i = 0; i < WAITERS; i++) {
		struct sim_waiter *waiter = &watch->waiters[i];

		if (!waiter->held || msgid_cmp(waiter->begin, note->at) >= 0)
			continue;
		PROMISE(waiter->fate ==
				(note->note.kind == NOTE_APPENDED ? FATE_MESSAGE : FATE_DROPPED) &&
			    msgid_cmp(waiter->fate_at, note->at) == 0,
		    "a waiter was to get %d at %lld:%lld", waiter->fate,
		    (long long)waiter->fate_at.second, (long long)waiter->fate_at.tag);
		end_waiter(w, right->channel, waiter);
	}
}

/* The worker's loop runs until it has the notes it is to have; then they are worked. */
static void
deliver(unsigned w)
{
	struct sim_worker *worker = &sim.workers[w];

	worker->n_got = 0;
	for (size_t turn = 0; turn <= worker->n_expected; turn++)
		event_base_loop(worker->base, EVLOOP_NONBLOCK);
	PROMISE(worker->n_got == worker->n_expected, "worker %u has %zu notes, not %zu", w,
	    worker->n_got, worker->n_expected);
	for (size_t i = 0; i < worker->n_got; i++) {
		work_note(w, worker->got[i], &worker->expected[i]);
		store_note_free(worker->got[i]);
	}
	worker->n_expected = worker->n_got = 0;
}

/* A client goes away by itself. */
static void
step_leave(struct tape *tape)
{
	unsigned how = tape_byte(tape), c = how % CHANNELS, w = (how >> 2) % WORKERS;
	struct sim_waiter *waiter = &sim.workers[w].watches[c].waiters[(how >> 4) % WAITERS];

	if (waiter->held)
		end_waiter(w, c, waiter);
}

static void
unwatch(unsigned w, unsigned c)
{
	struct sim_watch *watch = &sim.workers[w].watches[c];
	struct sim_channel *ch = &sim.channels[c];

	if (sim_held(w, c) > 0)
		return; /* a worker never does */
	store_unwatch(&sim.m->store, &watch->watch);
	if (!watch->attached)
		return;
	watch->attached = false;
	if (ch->maker == MADE_BY_GET && ch->n == 0 && sim_subscribers(c) == 0)
		sim_forget(c);
}

static void
step_drop(struct tape *tape)
{
	unsigned how = tape_byte(tape), c = how % CHANNELS;
	struct sim_channel *ch = &sim.channels[c];
	struct channel_key key = key_of(c);
	uint64_t subscribers = sim_subscribers(c);
	void *reply = &sim.channels[how >> 7];
	struct store_result result;

	PROMISE(store_drop(&sim.m->store, &key, reply, &result, NULL, NULL, NULL) == STORE_DONE,
	    "drop");
	PROMISE(result.status == (ch->exists ? STORE_OK : STORE_NO_CHANNEL), "drop: status %d",
	    result.status);
	if (!ch->exists)
		return;
	check_info(c, &result.info, 0, subscribers);
	PROMISE(result.notes ==
		    sim_tell(c, (struct sim_note){NOTE_DROPPED, c, sim_next_id(), 0, 0, reply}),
	    "%u workers were told", result.notes);
	sim_forget(c);
}

static void
step_sweep(void)
{
	unsigned calls = 0;

	while (store_sweep(&sim.m->store))
		PROMISE(++calls < 100, "a sweep without end");
	for (unsigned c = 0; c < CHANNELS; c++)
		if (sim.channels[c].exists)
			sim_expire(&sim.channels[c]);
	for (unsigned c = 0; c < CHANNELS; c++) {
		struct sim_channel *ch = &sim.channels[c];
		struct channel_key key = key_of(c);

		if (!ch->exists || find(sim.m, &key) != NULL)
			continue;
		PROMISE(ch->maker == MADE_BY_POST && ch->n == 0 && sim_subscribers(c) == 0 &&
			    sim.keep.channel_ms > 0 &&
			    sim.now_ms - ch->used_ms >= sim.keep.channel_ms,
		    "channel %u was in use %llu ms ago", c,
		    (unsigned long long)(sim.now_ms - ch->used_ms));
		sim_forget(c);
	}
}

static void
pass(uint64_t ms, int64_t wall_s)
{
	sim.now_ms += ms;
	sim.wall_s += wall_s;
	clock_set(sim.now_ms, sim.wall_s);
}

static void
step(struct tape *tape)
{
	static const uint32_t times_ms[] = {1, 20, 500, 999, 1000, 5000, 60000, 600000};
	unsigned op = tape_byte(tape), how;

	switch (op % 16) {
	case 0:
	case 1:
	case 2:
	case 3:
		step_append(tape);
		break;
	case 4:
		step_create(tape);
		break;
	case 5:
		step_info(tape);
		break;
	case 6:
	case 7:
	case 8:
		step_next(tape);
		break;
	case 9:
		step_drop(tape);
		break;
	case 10:
		deliver((op >> 4) % WORKERS);
		break;
	case 11:
		step_leave(tape);
		break;
	case 12:
		how = tape_byte(tape);
		unwatch((how >> 2) % WORKERS, how % CHANNELS);
		break;
	case 13:
		step_sweep();
		break;
	case 14:
		how = tape_byte(tape);
		pass(times_ms[how & 7], times_ms[how & 7] / 1000);
		break;
	case 15:
		pass(0, (int8_t)tape_byte(tape));
		break;
	}
}

/* ---- the run ------------------------------------------------------------------------ */

static void
begin(struct tape *tape)
{
	static const uint32_t mins[] = {0, 1, 2, 3}, maxs[] = {0, 1, 3, 5};
	static const uint32_t ages_ms[] = {0, 1000, 5000, 60000},
			      idles_ms[] = {0, 1000, 10000, 60000};
	static const uint64_t memories[] = {1560, 8192, 65536, 1 << 20};
	static const size_t sizes[] = {0, 10, 300, 3000, 60000};
	unsigned a = tape_byte(tape), b = tape_byte(tape);

	/* 1560: all channels and a small message, or one channel and a larger one. */
	sim.keep = (struct retention){.min_messages = mins[a & 3],
	    .max_messages = maxs[a >> 2 & 3],
	    .age_ms = ages_ms[a >> 4 & 3],
	    .channel_ms = idles_ms[a >> 6],
	    .max_memory = memories[b & 3]};
	if (sim.keep.max_messages > 0 && sim.keep.min_messages > sim.keep.max_messages)
		sim.keep.min_messages = sim.keep.max_messages; /* as a configuration must be */
	for (unsigned i = 0; i < 4; i++)
		sim.body_sizes[i] = sizes[i + (b >> 2 & 1)];
	sim.now_ms = 1000000;
	sim.wall_s = 1763690000;
	pass(0, 0);
	for (unsigned c = 0; c < CHANNELS; c++) {
		sim.channels[c].exists = false;
		sim.channels[c].n = 0;
		sim.channels[c].last = sim.channels[c].dropped = (struct msgid){1, 1};
	}
	for (unsigned w = 0; w < WORKERS; w++)
		for (unsigned c = 0; c < CHANNELS; c++) {
			memset(&sim.workers[w].watches[c], 0, sizeof(sim.workers[w].watches[c]));
			sim.workers[w].watches[c].watch.mailbox = sim.workers[w].mailbox;
		}
	sim.tickets = 0;
	sim.m = memory_of(store_open("memory", 0, &sim.keep));
	if (sim.m == NULL)
		abort();
	/* It begins at the microsecond, which is another each time. */
	sim.last = sim.forgotten = sim.m->last = sim.m->forgotten =
	    (struct msgid){sim.wall_s, 123456};
}

static void
end(void)
{
	for (unsigned w = 0; w < WORKERS; w++)
		deliver(w);
	for (unsigned w = 0; w < WORKERS; w++)
		for (unsigned c = 0; c < CHANNELS; c++) {
			for (unsigned i = 0; i < WAITERS; i++) {
				struct sim_waiter *waiter = &sim.workers[w].watches[c].waiters[i];

				if (!waiter->held)
					continue;
				PROMISE(waiter->fate == FATE_WAITS, "a waiter got nothing");
				end_waiter(w, c, waiter);
			}
			unwatch(w, c);
		}
	check_books(true);
	/* What is not to stay goes: messages over age, then channels without them. */
	for (int i = 0; i < 3; i++) {
		pass(100000, 100);
		step_sweep();
		check_books(true);
	}
	for (unsigned c = 0; c < CHANNELS; c++) {
		const struct sim_channel *ch = &sim.channels[c];

		PROMISE(!ch->exists || sim.keep.age_ms == 0 || ch->n <= sim.keep.min_messages,
		    "channel %u keeps %zu messages", c, ch->n);
		PROMISE(!ch->exists || ch->maker == MADE_BY_PUT || ch->n > 0 ||
			    sim.keep.channel_ms == 0,
		    "channel %u stays for nothing", c);
	}
	for (unsigned c = 0; c < CHANNELS; c++) {
		struct tape drop = {(const uint8_t[]){(uint8_t)c}, NULL};

		drop.end = drop.at + 1;
		step_drop(&drop);
	}
	check_books(true);
	PROMISE(sim.m->bytes == 0 && sim.m->message_bytes == 0, "%llu bytes of nothing",
	    (unsigned long long)sim.m->bytes);
	PROMISE(list_empty(&sim.m->by_age) && list_empty(&sim.m->kept) && list_empty(&sim.m->empty),
	    "a list of nothing is not empty");
	store_close(&sim.m->store);
}

static bool
on_note(void *arg, struct note *note)
{
	struct sim_worker *worker = arg;

	PROMISE(worker->n_got < sizeof(worker->got) / sizeof(worker->got[0]), "notes without end");
	worker->got[worker->n_got++] = CONTAINER_OF(note, struct store_note, note);
	return true;
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	for (unsigned w = 0; w < WORKERS; w++) {
		struct sim_worker *worker = &sim.workers[w];

		worker->base = event_base_new();
		if (worker->base == NULL)
			abort();
		worker->mailbox = mailbox_new(worker->base, on_note, worker);
		if (worker->mailbox == NULL)
			abort();
	}
	/* One is woken by its own thread, the others as by another. */
	mailbox_own(sim.workers[0].mailbox);
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tape tape = {data, data + size};

	begin(&tape);
	for (unsigned steps = 0; tape.at < tape.end && steps < STEPS_MAX; steps++) {
		step(&tape);
		check_books(steps % 16 == 0);
	}
	/* Deleting tells the waiters; so the notes are worked before and after. */
	end();
	return 0;
}
