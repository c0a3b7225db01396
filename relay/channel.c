#include "relay/channel.h"

#include "base/clock.h"
#include "relay/publisher.h"
#include "relay/relay.h"
#include "relay/render.h"
#include "relay/subscriber.h"
#include "relay/worker.h"

#include <stdlib.h>
#include <string.h>

/*
 * Waiters served in one turn of the loop: about a millisecond of sends, so that
 * publishers and new connections get their turn in between.
 */
#define WAITERS_PER_TURN 256

/* A long-polling client is back within milliseconds; its channel is kept for these. */
#define IDLE_MS 5000

int
channels_init(struct channels *c, unsigned n_stores)
{
	list_init(&c->idle);
	list_init(&c->walk.todo);
	c->n_tables = 0;
	c->tables = calloc(n_stores, sizeof(*c->tables));
	if (c->tables == NULL)
		return -1;
	for (; c->n_tables < n_stores; c->n_tables++)
		if (table_init(&c->tables[c->n_tables]) < 0)
			return -1;
	return 0;
}

/* Into the cache: what a note, and what a search by key looks at. */
static void
fetch(const struct channel *ch)
{
	__builtin_prefetch(ch);
	__builtin_prefetch(&ch->gone);
	__builtin_prefetch(&ch->entry);
}

/* Frees one that is out of the table, once no connection remembers it and no note names it. */
static void
free_gone(struct channel *ch)
{
	if (!ch->gone || ch->remembered > 0 ||
	    atomic_load_explicit(&ch->watch.noted, memory_order_relaxed) > 0)
		return;
	channel_id_unref(ch->id);
	free(ch);
}

static void
let_go(struct channels *c, struct channel *ch)
{
	list_remove(&ch->idle);
	table_remove(&c->tables[ch->store->index], &ch->entry);
	if (ch->watched)
		store_unwatch(ch->store, &ch->watch);
	ch->gone = true;
	free_gone(ch);
}

void
channels_reset(struct worker *w)
{
	struct channels *c = &w->channels;

	LIST_EACH_SAFE (l, &c->idle)
		let_go(c, CONTAINER_OF(l, struct channel, idle));
	for (unsigned i = 0; i < c->n_tables; i++)
		table_reset(&c->tables[i]);
	free(c->tables);
}

void
channels_sweep(struct channels *c)
{
	LIST_EACH_SAFE (l, &c->idle) {
		struct channel *ch = CONTAINER_OF(l, struct channel, idle);

		if (clock_ms() - ch->idle_ms < IDLE_MS)
			break;
		let_go(c, ch);
	}
}

/* NULL when out of memory. */
static struct channel *
find_or_make(struct worker *w, struct store *store, const struct channel_key *key)
{
	struct table *t = &w->channels.tables[store->index];
	struct table_entry *e = table_find(t, key->hash, key->bytes, key->len);
	struct channel *ch;

	if (e != NULL)
		return CONTAINER_OF(e, struct channel, entry);
	ch = calloc(1, sizeof(*ch));
	if (ch == NULL)
		return NULL;
	ch->id = channel_id_new(key);
	if (ch->id == NULL) {
		free(ch);
		return NULL;
	}
	ch->store = store;
	ch->watch.mailbox = w->mailbox;
	list_init(&ch->waiters);
	ch->entry = channel_id_entry(ch->id);
	table_add(t, &ch->entry);
	return ch;
}

struct channel *
channel_use(struct worker *w, struct store *store, const struct channel_key *key,
    struct channel *remembered)
{
	struct channel *ch = remembered;

	if (ch == NULL || ch->gone)
		ch = find_or_make(w, store, key);
	if (ch == NULL)
		return NULL;
	list_remove(&ch->idle);
	ch->users++;
	return ch;
}

struct channel *
channel_remember(struct channel *ch)
{
	ch->remembered++;
	return ch;
}

void
channel_forget(struct channel *ch)
{
	if (ch == NULL)
		return;
	ch->remembered--;
	free_gone(ch);
}

bool
channel_is(const struct channel *ch, const struct store *store, const void *name, size_t len)
{
	return ch->store == store && !ch->gone && ch->entry.key_len == len &&
	       memcmp(ch->entry.key, name, len) == 0;
}

void
channel_expect(const struct channel *ch, unsigned ahead)
{
	if (ahead > 1) {
		fetch(ch);
	} else {
		__builtin_prefetch(ch->id);
		store_expect_watched(&ch->watch);
	}
}

void
channel_unuse(struct worker *w, struct channel *ch)
{
	if (--ch->users > 0)
		return;
	/* What nobody waited in was only asked for; and a channel that lives by its waiters
	 * ends with the last of them, now. */
	if (!ch->watched || ch->watch.transient) {
		let_go(&w->channels, ch);
		return;
	}
	ch->idle_ms = clock_ms();
	list_append(&w->channels.idle, &ch->idle);
}

void
channel_join(struct channel *ch, struct subscription *s)
{
	ch->watched = true;
	list_append(&ch->waiters, &s->waiter);
}

void
channel_leave(struct channel *ch, struct subscription *s)
{
	list_remove(&s->waiter);
	store_leave(&ch->watch, clock_ms());
}

/* Serves the waiters of a walk; false if the slice was used up. */
static bool
walk_on(struct walk *walk, struct channel *ch, const struct store_note *note)
{
	struct render_cache cache;
	int served = 0;

	render_cache_init(&cache);
	while (!list_empty(&walk->todo) && served < WAITERS_PER_TURN) {
		struct subscription *s = CONTAINER_OF(walk->todo.next, struct subscription, waiter);

		/* Back among the waiters first: from there it leaves as always. */
		list_remove(&s->waiter);
		list_append(&ch->waiters, &s->waiter);
		if (subscriber_note(s, note, &cache))
			walk->sent = true;
		served++;
	}
	render_cache_clear(&cache);
	return list_empty(&walk->todo);
}

/* A newer waiter has taken its place, perhaps in another worker. */
static void
displace(struct channel *ch, const struct store_note *note)
{
	LIST_EACH (l, &ch->waiters) {
		struct subscription *s = CONTAINER_OF(l, struct subscription, waiter);

		if (s->sub->ticket == note->ticket) {
			subscriber_refuse(s->sub, 409, "a newer subscriber has taken this channel");
			return;
		}
	}
}

/* The channel that a note names. */
static struct channel *
named_by(const struct store_note *note)
{
	return CONTAINER_OF(note->watch, struct channel, watch);
}

void
channel_free_note(struct store_note *note)
{
	struct channel *ch = named_by(note);

	atomic_fetch_sub_explicit(&note->watch->noted, 1, memory_order_relaxed);
	store_note_free(note);
	free_gone(ch);
}

/*
 * With thousands of channels none of this is in a cache, and each is found by the one
 * before: three notes ahead the channel, two ahead its waiter, one ahead the waiter's
 * connection. Of several waiters the first is fetched; the others follow it in memory, or
 * come one by one as they do without this.
 */
void
channel_expect_note(const struct note *note, unsigned ahead)
{
	const struct channel *ch = named_by(CONTAINER_OF(note, struct store_note, note));
	const struct subscription *s;

	if (ahead > 2) {
		fetch(ch);
		return;
	}
	if (list_empty(&ch->waiters))
		return;
	s = CONTAINER_OF(ch->waiters.next, struct subscription, waiter);
	if (ahead > 1)
		subscriber_expect(s);
	else
		conn_expect(s->sub->conn);
}

bool
channel_work_note(struct worker *w, struct note *base)
{
	struct walk *walk = &w->channels.walk;
	struct store_note *note = CONTAINER_OF(base, struct store_note, note);
	struct channel *ch = named_by(note);

	if (base->kind == NOTE_DISPLACED) {
		displace(ch, note);
		channel_free_note(note);
		return true;
	}
	if (walk->note == NULL) {
		walk->note = base;
		walk->sent = false;
		list_move_all(&walk->todo, &ch->waiters);
	}
	if (!walk_on(walk, ch, note))
		return false;
	walk->note = NULL;
	publisher_tell(w, note->reply, walk->sent);
	channel_free_note(note);
	return true;
}
