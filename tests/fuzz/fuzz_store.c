/*
 * The memory store: store/memory.c against a model that keeps plain arrays.
 *
 * The input is a program: publish, ask for one or several channels, wait, open a stream
 * and read on, leave, delete, list, sweep, let time pass, over a few channels, workers and
 * places. Promises, after every step: ids increase over the whole store, whatever the
 * clock does; what is stored, said to be gone and counted is what the model has;
 * max_messages, message_timeout, max_memory and max_subscribers are kept; each worker gets
 * exactly the notes that the model expects, in their order, so that who waits misses
 * nothing that came after it began to; a stream gets each message of its channels in
 * order, or was told a gap before the one that follows, and where it counts is told how
 * many; a list has each channel that stays once; the store's books agree with a recount;
 * and when all channels are gone they stand at zero.
 *
 * The store is included, not linked: the books are its own.
 */
#include "fuzz.h"

/* NOLINTNEXTLINE(bugprone-suspicious-include) */
#include "store/memory.c"

#include <event2/event.h>

#define CHANNELS     4
#define WORKERS      3
#define WAITERS      8 /* of one worker */
#define PLACES       2
#define STEPS_MAX    1500
#define MESSAGES_MAX (STEPS_MAX + 1)
#define MORE_MAX     7

static const char *const key_texts[CHANNELS] = {"a", "a/b", "another one, which is longer", "\n"};

struct sim_message {
	struct msgid id;
	uint64_t number, born_ms;
	size_t cost, body_len;
};

/* Of all messages that a channel has had since it was made. */
struct sim_trace {
	struct msgid id;
	bool kept;
};

struct sim_channel {
	bool exists, was_requested, has_last;
	enum channel_maker maker;
	struct sim_message messages[MESSAGES_MAX];
	size_t n;
	struct sim_trace traces[MESSAGES_MAX];
	uint64_t published; /* traces */
	struct msgid last, dropped, made;
	uint64_t requested_ms, used_ms; /* with a message or a waiter, or made */
	struct {
		bool taken;
		unsigned worker;
		uint64_t ticket;
	} places[PLACES];
};

enum fate {
	FATE_WAITS,
	FATE_MESSAGE, /* a poll's alone */
	FATE_DROPPED, /* all that it waited in */
	FATE_DISPLACED,
};

struct sim_waiter {
	bool held, stream, has_place;
	unsigned channels; /* a bit for each in which it is held, as its worker knows */
	unsigned alive;    /* those of them that are not deleted */
	struct msgid position, joined;
	struct store_hold hold;
	enum fate fate; /* as the first note that ends it will say */
	struct msgid fate_at;

	/* A stream's. */
	bool busy; /* it was given messages and has not asked since */
	/* Of each channel: the last message it got or could not have, and whether it was told
	 * a gap since. */
	uint64_t seen[CHANNELS];
	bool told[CHANNELS];
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
};

struct sim_worker {
	struct event_base *base;
	struct mailbox *mailbox;
	struct sim_watch watches[CHANNELS];
	struct sim_waiter waiters[WAITERS];
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
	uint64_t tickets, published;
	size_t body_sizes[4];

	/* A list under way. */
	struct store_cursor cursor;
	bool stays[CHANNELS]; /* since it began */
	unsigned listed[CHANNELS];
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
	ch->published = 0;
	ch->made = sim.last;
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
	sim.stays[c] = false;
	for (unsigned w = 0; w < WORKERS; w++)
		sim.workers[w].watches[c].attached = false;
}

static uint32_t
sim_held(unsigned w, unsigned c)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < WAITERS; i++)
		n += sim.workers[w].waiters[i].held && sim.workers[w].waiters[i].channels >> c & 1;
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
			struct sim_waiter *waiter = &sim.workers[w].waiters[i];

			if (!waiter->held || !(waiter->alive >> c & 1))
				continue;
			if (note.kind == NOTE_DROPPED)
				waiter->alive &= ~(1u << c);
			if (waiter->fate != FATE_WAITS)
				continue;
			if (note.kind == NOTE_APPENDED && !waiter->stream)
				waiter->fate = FATE_MESSAGE;
			else if (waiter->alive == 0)
				waiter->fate = FATE_DROPPED;
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
	PROMISE(info->published == ch->published, "%llu published, not %llu",
	    (unsigned long long)info->published, (unsigned long long)ch->published);
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
	size_t n_channels = 0, n_messages = 0, n_places = 0;

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
		PROMISE(ch->count == right->n && ch->maker == right->maker &&
			    ch->published == right->published,
		    "channel %u", c);
		PROMISE(msgid_cmp(ch->dropped, right->dropped) == 0,
		    "channel %u: gone up to %lld:%lld", c, (long long)ch->dropped.second,
		    (long long)ch->dropped.tag);
		for (uint32_t i = 0; thoroughly && i < ch->count; i++)
			PROMISE(msgid_cmp(message_at(ch, i)->id, right->messages[i].id) == 0 &&
				    message_at(ch, i)->number == right->messages[i].number &&
				    message_at(ch, i)->body_len == right->messages[i].body_len,
			    "channel %u: message %u", c, i);
	}
	PROMISE(m->channels.count == n_channels, "%zu channels", m->channels.count);
	PROMISE(m->stored == n_messages, "%llu messages", (unsigned long long)m->stored);
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
		n_places++;
	LIST_EACH_SAFE (l, &m->by_age) {
		const struct message *msg = message_of(l);

		n_places++;
		PROMISE(msgid_cmp(before, msg->id) < 0, "by_age is in disorder");
		before = msg->id;
	}
	PROMISE(n_places == n_messages, "%zu places of %zu messages", n_places, n_messages);
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
	    .event = {"news", how & 32 ? 4 : 0},
	    .event_id = {"17", how & 64 ? 2 : 0},
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
		PROMISE(msg->number == ch->published + 1, "number %llu",
		    (unsigned long long)msg->number);
		ch->traces[ch->published++] = (struct sim_trace){msg->id, keeps};
		sim.published++;
		PROMISE(msgid_cmp(msg->id, ch->last) == 0, "id %lld:%lld, not %lld:%lld",
		    (long long)msg->id.second, (long long)msg->id.tag, (long long)ch->last.second,
		    (long long)ch->last.tag);
		if (keeps)
			ch->messages[ch->n++] =
			    (struct sim_message){msg->id, msg->number, sim.now_ms, cost, body_len};
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

/* What the model has for one who asks. */
struct sim_found {
	const struct sim_message *messages[1 + MORE_MAX]; /* the first, and those that follow */
	unsigned n;
	bool gap;
};

/* The first stored message of a channel above a position. */
static const struct sim_message *
sim_first(const struct sim_channel *ch, struct msgid position)
{
	for (size_t i = 0; i < ch->n; i++)
		if (msgid_cmp(ch->messages[i].id, position) > 0)
			return &ch->messages[i];
	return NULL;
}

/*
 * The highest id lost above a position, of those before the channel's next message; else
 * the position. Messages not stored are lost for one who was held when they came: since
 * joined, NULL for one who is not.
 */
static struct msgid
sim_loss(unsigned c, struct msgid position, const struct msgid *joined)
{
	const struct sim_channel *ch = &sim.channels[c];
	const struct sim_message *next = ch->exists ? sim_first(ch, position) : NULL;
	struct msgid loss = position, dropped = ch->exists ? ch->dropped : sim.forgotten;

	if (msgid_cmp(dropped, loss) > 0)
		loss = dropped;
	for (uint64_t i = 0; joined != NULL && i < ch->published; i++)
		if (!ch->traces[i].kept && msgid_cmp(ch->traces[i].id, loss) > 0 &&
		    msgid_cmp(ch->traces[i].id, *joined) > 0 &&
		    (next == NULL || msgid_cmp(ch->traces[i].id, next->id) < 0))
			loss = ch->traces[i].id;
	return loss;
}

/* Whether one who reads from a position to a message, or to the end, passes a loss. */
static bool
sim_passes(
    unsigned channels, struct msgid from, const struct sim_message *to, const struct msgid *joined)
{
	for (unsigned c = 0; c < CHANNELS; c++) {
		struct msgid loss;

		if (!(channels >> c & 1))
			continue;
		loss = sim_loss(c, from, joined);
		if (msgid_cmp(loss, from) > 0 && (to == NULL || msgid_cmp(loss, to->id) < 0))
			return true;
	}
	return false;
}

/* The next message of several channels. */
static const struct sim_message *
sim_next(unsigned channels, struct msgid position)
{
	const struct sim_message *next = NULL;

	for (unsigned c = 0; c < CHANNELS; c++) {
		const struct sim_message *m = NULL;

		if (channels >> c & 1 && sim.channels[c].exists)
			m = sim_first(&sim.channels[c], position);
		if (m != NULL && (next == NULL || msgid_cmp(m->id, next->id) < 0))
			next = m;
	}
	return next;
}

/* Where one begins who has no position. */
static struct msgid
sim_start(unsigned channels, const struct store_start *start)
{
	struct msgid before = {0, -1};
	size_t total = 0, skipped;

	for (unsigned c = 0; c < CHANNELS; c++)
		total += channels >> c & 1 && sim.channels[c].exists ? sim.channels[c].n : 0;
	switch (start->from) {
	case STORE_FROM_OLDEST:
		return before;
	case STORE_FROM_NTH:
		skipped = start->n > 0 ? start->n - 1 : 0;
		break;
	case STORE_FROM_LAST:
		skipped = start->n < total ? total - start->n : 0;
		break;
	default:
		skipped = total;
	}
	for (; skipped > 0; skipped--) {
		const struct sim_message *next = sim_next(channels, before);

		if (next == NULL)
			break;
		before = next->id;
	}
	return before;
}

static struct sim_found
sim_find(unsigned channels, const struct store_query *query)
{
	struct msgid position =
	    query->has_after ? query->after : sim_start(channels, &query->start);
	const bool losses = query->has_after && query->after.second > 0;
	struct sim_found found = {.n = 0};
	size_t bytes = 0;

	while (found.n < 1 + query->more_max) {
		const struct sim_message *next = sim_next(channels, position);
		const bool passes = losses && sim_passes(channels, position, next,
						  query->held ? &query->joined : NULL);

		if (found.n == 0)
			found.gap = passes;
		else if (next != NULL && (passes || bytes + next->body_len > query->more_bytes))
			break;
		if (next == NULL)
			break;
		bytes += next->body_len;
		position = next->id;
		found.messages[found.n++] = next;
	}
	return found;
}

static unsigned
channel_of(const struct message *msg)
{
	for (unsigned c = 0; c < CHANNELS; c++)
		if (msg->channel->key.len == strlen(key_texts[c]) &&
		    memcmp(msg->channel->key.bytes, key_texts[c], msg->channel->key.len) == 0)
			return c;
	PROMISE(false, "a message of no channel");
	return 0;
}

static void
check_message(const struct message *msg, const struct sim_message *right)
{
	PROMISE(msgid_cmp(msg->id, right->id) == 0 && msg->number == right->number &&
		    msg->body_len == right->body_len,
	    "message %lld:%lld, not %lld:%lld", (long long)msg->id.second, (long long)msg->id.tag,
	    (long long)right->id.second, (long long)right->id.tag);
}

/* The number of a channel's last message up to a position, stored or not. */
static uint64_t
sim_number_at(unsigned c, struct msgid position)
{
	const struct sim_channel *ch = &sim.channels[c];
	uint64_t number = 0;

	while (number < ch->published && msgid_cmp(ch->traces[number].id, position) <= 0)
		number++;
	return number;
}

/* What came between two numbers of a channel were messages not stored, before it was held. */
static bool
sim_came_before(const struct sim_waiter *waiter, unsigned c, uint64_t from, uint64_t to)
{
	const struct sim_trace *traces = sim.channels[c].traces;

	for (uint64_t i = from; i < to; i++)
		if (traces[i].kept || msgid_cmp(traces[i].id, waiter->joined) > 0)
			return false;
	return true;
}

/*
 * Messages that were not stored before it was held are among what it has not been given;
 * or those of a channel of this name may be that was there before this one was made.
 */
static bool
sim_has_uncounted(const struct sim_waiter *waiter, unsigned c)
{
	const struct sim_channel *ch = &sim.channels[c];
	const struct sim_message *next = sim_first(ch, waiter->position);

	if (msgid_cmp(waiter->position, waiter->joined) >= 0)
		return false;
	if (msgid_cmp(waiter->position, ch->made) < 0)
		return true;
	for (uint64_t i = 0; i < ch->published; i++)
		if (!ch->traces[i].kept && msgid_cmp(ch->traces[i].id, waiter->position) > 0 &&
		    (next == NULL || msgid_cmp(ch->traces[i].id, next->id) < 0))
			return true;
	return false;
}

/* A stream gets a message: nothing of its channel was left out, unless it was told. */
static void
take_message(struct sim_waiter *waiter, const struct message *msg)
{
	const unsigned c = channel_of(msg);

	PROMISE(msgid_cmp(waiter->position, msg->id) < 0, "a stream goes back");
	PROMISE(
	    msg->number > waiter->seen[c] &&
		(waiter->told[c] || sim_came_before(waiter, c, waiter->seen[c], msg->number - 1)),
	    "a stream got number %llu after %llu", (unsigned long long)msg->number,
	    (unsigned long long)waiter->seen[c]);
	waiter->position = msg->id;
	waiter->seen[c] = msg->number;
	waiter->told[c] = false;
}

/* A stream gets what an answer has. It waits, if that is nothing. */
static void
take_answer(
    struct sim_waiter *waiter, const struct store_query *query, const struct store_result *result)
{
	if (result->gap)
		for (unsigned c = 0; c < CHANNELS; c++)
			waiter->told[c] = true;
	if (result->msg == NULL) {
		/* Whatever was before is behind it; what was lost it was told. */
		for (unsigned c = 0; c < CHANNELS; c++) {
			PROMISE(!(waiter->alive >> c & 1) || waiter->told[c] ||
				    sim_came_before(
					waiter, c, waiter->seen[c], sim.channels[c].published),
			    "a stream was not told that it lost something");
			waiter->seen[c] = sim.channels[c].published;
			waiter->told[c] = false;
		}
		waiter->position = result->newest;
		waiter->busy = false;
		return;
	}
	waiter->busy = true;
	take_message(waiter, result->msg);
	for (unsigned i = 0; i < result->n_more; i++)
		take_message(waiter, query->more[i]);
}

static void
release_answer(const struct store_query *query, struct store_result *result)
{
	message_unref(result->msg);
	for (unsigned i = 0; i < result->n_more; i++)
		message_unref(query->more[i]);
}

/* Takes the place in a channel for a waiter, from whoever has it. */
static void
sim_take_place(unsigned c, unsigned w, const struct store_hold *hold)
{
	struct sim_channel *ch = &sim.channels[c];
	unsigned place = hold->place;

	if (ch->places[place].taken) {
		struct sim_worker *from = &sim.workers[ch->places[place].worker];

		sim_expect(ch->places[place].worker, (struct sim_note){NOTE_DISPLACED, c, sim.last,
							 ch->places[place].ticket, 0, NULL});
		for (unsigned i = 0; i < WAITERS; i++)
			if (from->waiters[i].held && from->waiters[i].has_place &&
			    from->waiters[i].hold.ticket == ch->places[place].ticket &&
			    from->waiters[i].fate == FATE_WAITS)
				from->waiters[i].fate = FATE_DISPLACED;
	}
	ch->places[place].taken = true;
	ch->places[place].worker = w;
	ch->places[place].ticket = hold->ticket;
}

static void
step_next(struct tape *tape)
{
	unsigned how = tape_byte(tape), more = tape_byte(tape), what = tape_byte(tape);
	unsigned extra = tape_byte(tape), w = (how >> 4) % WORKERS;
	unsigned channels = how & 15 ? how & 15 : 1, n = 0, order[CHANNELS];
	struct sim_worker *worker = &sim.workers[w];
	struct sim_waiter *waiter = NULL;
	struct channel_key keys[CHANNELS];
	struct store_watch *watches[CHANNELS];
	struct message *messages[MORE_MAX];
	struct store_hold hold = {
	    .mode = more & 64 ? STORE_HOLD_LAST : STORE_HOLD_FIRST, .place = how >> 7};
	struct store_query query = {
	    .has_after = more & 8,
	    .create = more & 16,
	    .start = {(enum store_start_from)(what & 3), what >> 2 & 7},
	    .stream = what & 32,
	    .max_subscribers = what >> 6,
	    .more = messages,
	    .more_max = extra & 64 ? extra & 7 : 0,
	    .more_bytes = (size_t)1 << (extra >> 3 & 7) * 2,
	};
	enum store_status right;
	struct store_result result;
	struct sim_found found;
	bool joins;

	/* Half of all are for one channel. */
	if (extra & 128)
		channels &= ~channels + 1;
	for (unsigned i = 0; i < CHANNELS; i++) {
		unsigned c = more & 1 ? CHANNELS - 1 - i : i;

		if (!(channels >> c & 1))
			continue;
		order[n] = c;
		keys[n] = key_of(c);
		watches[n++] = &worker->watches[c].watch;
	}
	for (unsigned i = 0; more & 32 && waiter == NULL && i < WAITERS; i++)
		if (!worker->waiters[i].held)
			waiter = &worker->waiters[i];
	if (query.has_after)
		query.after = position(&sim.channels[order[0]], more & 7, how >> 4);
	if (waiter != NULL) {
		query.watches = watches;
		hold.ticket = ++sim.tickets;
		if (more & 128)
			query.hold = &hold;
	}

	PROMISE(store_next(&sim.m->store, keys, n, &query, &result, NULL, NULL, NULL) == STORE_DONE,
	    "next");
	for (unsigned i = 0; i < n && !query.create; i++)
		if (!sim.channels[order[i]].exists) {
			PROMISE(result.status == STORE_NO_CHANNEL && result.msg == NULL &&
				    result.n_more == 0 && result.which == i,
			    "next: status %d, channel %u, without channel %u", result.status,
			    result.which, i);
			return;
		}
	for (unsigned i = 0; i < n; i++) {
		struct sim_channel *ch = &sim.channels[order[i]];

		if (!ch->exists)
			continue;
		ch->was_requested = true;
		ch->requested_ms = sim.now_ms;
		sim_expire(ch);
	}
	found = sim_find(channels, &query);
	right = found.n > 0 ? STORE_OK : STORE_NOTHING_NEWER;
	joins = waiter != NULL && (query.stream || found.n == 0);
	for (unsigned i = 0; joins && i < n; i++) {
		const struct sim_channel *ch = &sim.channels[order[i]];

		if (!ch->exists)
			continue;
		if (query.hold != NULL && ch->places[hold.place].taken &&
		    hold.mode == STORE_HOLD_FIRST)
			right = STORE_CONFLICT;
		else if (query.max_subscribers > 0 &&
			 sim_subscribers(order[i]) >= query.max_subscribers)
			right = STORE_FULL;
		else
			continue;
		PROMISE(result.which == i, "next: channel %u, not %u", result.which, i);
		joins = false;
	}
	PROMISE(result.status == right, "next: status %d, not %d", result.status, right);
	if (right > STORE_NOTHING_NEWER) {
		PROMISE(result.msg == NULL && result.n_more == 0, "next: a message, refused");
		return;
	}
	PROMISE(result.gap == found.gap, "next: gap %d", result.gap);
	PROMISE(result.lost == 0, "next: lost %llu", (unsigned long long)result.lost);
	PROMISE(msgid_cmp(result.newest, sim.last) == 0, "next: another newest id");
	PROMISE(result.number ==
		    (n == 1 ? sim.channels[order[0]].exists * sim.channels[order[0]].published : 0),
	    "next: number %llu", (unsigned long long)result.number);
	PROMISE((result.msg != NULL) + result.n_more == found.n, "next: %u more, %u in all",
	    result.n_more, found.n);
	for (unsigned i = 0; i < found.n; i++)
		check_message(i == 0 ? result.msg : messages[i - 1], found.messages[i]);
	if (joins) {
		*waiter = (struct sim_waiter){.held = true,
		    .stream = query.stream,
		    .has_place = query.hold != NULL,
		    .channels = channels,
		    .alive = channels,
		    .busy = found.n > 0,
		    .position = found.n > 0 ? found.messages[found.n - 1]->id : result.newest,
		    .joined = result.newest,
		    .hold = hold,
		    .fate = FATE_WAITS};
		for (unsigned i = 0; i < n; i++)
			if (!sim.channels[order[i]].exists) {
				(void)sim_make_room(cost_of_channel(order[i]));
				sim_make(order[i], MADE_BY_GET);
				sim.channels[order[i]].was_requested = true;
				sim.channels[order[i]].requested_ms = sim.now_ms;
			}
		for (unsigned i = 0; i < n; i++) {
			const unsigned c = order[i];

			if (query.hold != NULL)
				sim_take_place(c, w, &hold);
			PROMISE(watches[i]->transient == (sim.channels[c].maker == MADE_BY_GET),
			    "next: transient %d", watches[i]->transient);
			worker->watches[c].attached = true;
		}
		/* From here on it is to get all, or to be told. */
		for (unsigned i = 0; i < n; i++)
			waiter->seen[order[i]] = sim_number_at(order[i], waiter->position);
	}
	release_answer(&query, &result);
}

/* A stream that was given messages, or has just looked up, asks for what follows. */
static void
step_read_on(struct tape *tape)
{
	unsigned how = tape_byte(tape), extra = tape_byte(tape), w = how % WORKERS, n = 0;
	struct sim_worker *worker = &sim.workers[w];
	struct sim_waiter *waiter = &worker->waiters[(how >> 2) % WAITERS];
	struct channel_key keys[CHANNELS];
	struct store_watch *watches[CHANNELS];
	struct message *messages[MORE_MAX];
	struct store_query query = {
	    .has_after = true,
	    .after = waiter->position,
	    .watches = watches,
	    .stream = extra & 128,
	    .max_subscribers = 1,
	    .held = true,
	    .joined = waiter->joined,
	    .more = messages,
	    .more_max = extra & 64 ? extra & 7 : 0,
	    .more_bytes = (size_t)1 << (extra >> 3 & 7) * 2,
	};
	struct store_result result;
	struct sim_found found;
	unsigned only = 0;

	if (!waiter->held || !waiter->stream)
		return;
	for (unsigned c = 0; c < CHANNELS; c++)
		if (waiter->channels >> c & 1) {
			only = c;
			keys[n] = key_of(c);
			watches[n++] = &worker->watches[c].watch;
		}
	/*
	 * Not what it has seen: of several channels that it began in the others may be gone,
	 * and theirs was the last message, behind what this one had lost and was told.
	 */
	query.has_after_number = n == 1 && how & 128;
	query.after_number = sim_number_at(only, waiter->position);
	PROMISE(store_next(&sim.m->store, keys, n, &query, &result, NULL, NULL, NULL) == STORE_DONE,
	    "next");
	for (unsigned c = 0; c < CHANNELS; c++)
		if (waiter->alive >> c & 1)
			sim_expire(&sim.channels[c]);
	found = sim_find(waiter->alive, &query);
	PROMISE(result.status == (found.n > 0 ? STORE_OK : STORE_NOTHING_NEWER),
	    "reading on: status %d", result.status);
	PROMISE(result.gap == found.gap, "reading on: gap %d", result.gap);
	PROMISE(result.number == (n == 1 && waiter->alive != 0 ? sim.channels[only].published : 0),
	    "reading on: number %llu", (unsigned long long)result.number);
	PROMISE((result.msg != NULL) + result.n_more == found.n, "reading on: %u more, %u in all",
	    result.n_more, found.n);
	for (unsigned i = 0; i < found.n; i++)
		check_message(i == 0 ? result.msg : messages[i - 1], found.messages[i]);
	if (query.has_after_number && waiter->alive != 0) {
		const uint64_t to =
		    found.n > 0 ? found.messages[0]->number - 1 : sim.channels[only].published;

		PROMISE(
		    result.lost == (sim_has_uncounted(waiter, only) ? 0 : to - query.after_number),
		    "lost %llu", (unsigned long long)result.lost);
	} else {
		PROMISE(result.lost == 0, "lost %llu", (unsigned long long)result.lost);
	}
	take_answer(waiter, &query, &result);
	release_answer(&query, &result);
}

/* Out of one channel. */
static void
leave_channel(unsigned w, unsigned c, struct sim_waiter *waiter)
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
	waiter->channels &= ~(1u << c);
	if (watch->attached)
		ch->used_ms = sim.now_ms;
}

static void
end_waiter(unsigned w, struct sim_waiter *waiter)
{
	for (unsigned c = 0; c < CHANNELS; c++)
		if (waiter->channels >> c & 1)
			leave_channel(w, c, waiter);
	waiter->held = false;
}

/* A note of a message or of a deletion, to one who waits in the channel. */
static void
work_waiter(unsigned w, unsigned c, const struct store_note *note, struct sim_waiter *waiter)
{
	if (note->note.kind == NOTE_DROPPED) {
		if (msgid_cmp(waiter->joined, note->at) >= 0)
			return;
		leave_channel(w, c, waiter);
		if (waiter->channels != 0)
			return;
		PROMISE(waiter->fate == FATE_DROPPED && msgid_cmp(waiter->fate_at, note->at) == 0,
		    "all is deleted, but a waiter was to get %d", waiter->fate);
		end_waiter(w, waiter);
		return;
	}
	if (msgid_cmp(waiter->position, note->at) >= 0 || (waiter->stream && waiter->busy))
		return;
	PROMISE(note->msg != NULL, "a note without its message");
	if (waiter->stream) {
		PROMISE(note->msg->number == waiter->seen[c] + 1, "number %llu after %llu",
		    (unsigned long long)note->msg->number, (unsigned long long)waiter->seen[c]);
		take_message(waiter, note->msg);
		return;
	}
	PROMISE(waiter->fate == FATE_MESSAGE && msgid_cmp(waiter->fate_at, note->at) == 0,
	    "a waiter was to get %d at %lld:%lld", waiter->fate, (long long)waiter->fate_at.second,
	    (long long)waiter->fate_at.tag);
	end_waiter(w, waiter);
}

static void
work_note(unsigned w, const struct store_note *note, const struct sim_note *right)
{
	struct sim_waiter *waiters = sim.workers[w].waiters;

	PROMISE(note->note.kind == right->kind, "note of kind %d, not %d", note->note.kind,
	    right->kind);
	PROMISE(msgid_cmp(note->at, right->at) == 0, "note at %lld:%lld",
	    (long long)note->at.second, (long long)note->at.tag);
	PROMISE(note->watch == &sim.workers[w].watches[right->channel].watch,
	    "note of another channel");
	if (note->note.kind == NOTE_DISPLACED) {
		PROMISE(note->ticket == right->ticket, "note for another waiter");
		for (unsigned i = 0; i < WAITERS; i++) {
			if (!waiters[i].held || waiters[i].hold.ticket != note->ticket)
				continue;
			PROMISE(waiters[i].fate == FATE_DISPLACED, "displaced, not %d",
			    waiters[i].fate);
			end_waiter(w, &waiters[i]);
		}
		return;
	}
	PROMISE(note->reply == right->reply, "another reply");
	PROMISE((note->msg != NULL) == (note->note.kind == NOTE_APPENDED), "message of a note");
	PROMISE(note->msg == NULL || (msgid_cmp(note->msg->id, note->at) == 0 &&
					 note->msg->body_len == right->body_len),
	    "another message");
	for (unsigned i = 0; i < WAITERS; i++)
		if (waiters[i].held && waiters[i].channels >> right->channel & 1)
			work_waiter(w, right->channel, note, &waiters[i]);
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
	unsigned how = tape_byte(tape), w = how % WORKERS;
	struct sim_waiter *waiter = &sim.workers[w].waiters[(how >> 2) % WAITERS];

	if (waiter->held)
		end_waiter(w, waiter);
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
step_stats(void)
{
	struct store_result result;
	struct store_stats stats;
	size_t stored = 0, channels = 0;
	uint64_t subscribers = 0;

	for (unsigned c = 0; c < CHANNELS; c++) {
		channels += sim.channels[c].exists;
		stored += sim.channels[c].n;
		for (unsigned w = 0; w < WORKERS; w++)
			subscribers += sim_held(w, c);
	}
	PROMISE(store_stats(&sim.m->store, &stats, &result, NULL, NULL, NULL) == STORE_DONE &&
		    result.status == STORE_OK,
	    "stats");
	PROMISE(stats.channels == channels && stats.stored == stored &&
		    stats.published == sim.published && stats.subscribers == subscribers &&
		    stats.bytes == sim_bytes(true),
	    "stats: %llu channels, %llu stored, %llu published, %llu subscribers",
	    (unsigned long long)stats.channels, (unsigned long long)stats.stored,
	    (unsigned long long)stats.published, (unsigned long long)stats.subscribers);
}

/* Goes on with the list of all. */
static void
step_list(struct tape *tape)
{
	const struct store_selection all = {.prefix_len = 0};
	struct store_listed listed[CHANNELS + 1];
	struct store_result result;

	if (sim.cursor.done) {
		sim.cursor = (struct store_cursor){.done = false};
		for (unsigned c = 0; c < CHANNELS; c++) {
			sim.stays[c] = sim.channels[c].exists;
			sim.listed[c] = 0;
		}
	}
	PROMISE(
	    store_list(&sim.m->store, &all, &sim.cursor, listed,
		1 + tape_byte(tape) % ARRAY_LEN(listed), &result, NULL, NULL, NULL) == STORE_DONE,
	    "list");
	for (unsigned i = 0; i < result.n_listed; i++) {
		const struct channel_key *key = &listed[i].id->key;
		unsigned c = 0;

		while (c < CHANNELS && (key->len != strlen(key_texts[c]) ||
					   memcmp(key->bytes, key_texts[c], key->len) != 0))
			c++;
		PROMISE(c < CHANNELS && sim.channels[c].exists, "a channel is listed that is not");
		PROMISE(++sim.listed[c] == 1, "channel %u is listed again", c);
		PROMISE(listed[i].stored == sim.channels[c].n &&
			    listed[i].published == sim.channels[c].published &&
			    listed[i].subscribers == sim_subscribers(c),
		    "channel %u is listed with %llu of %llu messages", c,
		    (unsigned long long)listed[i].stored, (unsigned long long)listed[i].published);
		channel_id_unref(listed[i].id);
	}
	if (!sim.cursor.done)
		return;
	for (unsigned c = 0; c < CHANNELS; c++)
		PROMISE(!sim.stays[c] || sim.listed[c] == 1, "channel %u is not listed", c);
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
		if (op & 128)
			step_list(tape);
		else if (op & 64)
			step_stats();
		else
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
		if (op & 64)
			step_read_on(tape);
		else
			deliver((op >> 4) % WORKERS);
		break;
	case 11:
		if (op & 64)
			step_read_on(tape);
		else
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
		sim.channels[c].published = 0;
		sim.channels[c].last = sim.channels[c].dropped = (struct msgid){1, 1};
	}
	for (unsigned w = 0; w < WORKERS; w++) {
		memset(sim.workers[w].waiters, 0, sizeof(sim.workers[w].waiters));
		memset(sim.workers[w].watches, 0, sizeof(sim.workers[w].watches));
		for (unsigned c = 0; c < CHANNELS; c++)
			sim.workers[w].watches[c].watch.mailbox = sim.workers[w].mailbox;
	}
	sim.tickets = sim.published = 0;
	sim.cursor = (struct store_cursor){.done = true};
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
	for (unsigned w = 0; w < WORKERS; w++) {
		for (unsigned i = 0; i < WAITERS; i++) {
			struct sim_waiter *waiter = &sim.workers[w].waiters[i];

			if (!waiter->held)
				continue;
			PROMISE(waiter->fate == FATE_WAITS, "a waiter got nothing");
			for (unsigned c = 0; c < CHANNELS; c++)
				PROMISE(!waiter->stream || waiter->busy ||
					    !(waiter->channels >> c & 1) ||
					    waiter->seen[c] == sim.channels[c].published,
				    "a stream has not got all");
			end_waiter(w, waiter);
		}
		for (unsigned c = 0; c < CHANNELS; c++)
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
		worker->mailbox = mailbox_new(worker->base, on_note, NULL, worker);
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
