#include "passthrough/attendance.h"

#include "base/clock.h"
#include "base/list.h"
#include "passthrough/passthrough.h"

#include <assert.h>
#include <event2/event.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

/* Departures in one turn of the loop, about a millisecond of notices. */
#define DEPARTURES_PER_TURN 256

/* An entry's key is place and who, and behind them the channel id, of at most so much. */
#define KEY_HEAD   (sizeof(uint32_t) + sizeof(struct table_digest))
#define ID_LEN_MAX 4096

/* Which list an attendee is on. */
enum state {
	PRESENT,   /* attendance.present: held > 0 */
	LINGERING, /* stay.lingering */
	/* attendance.departed: its unsubscribe notice is queued. Who comes back must not
	 * overtake it, so the entry stays until its chain is idle. */
	DEPARTED,
};

struct entry {
	struct table_entry entry; /* attendance.table */
	struct link link;         /* by state, changed in set_state() alone */
	enum state state;
	unsigned held; /* its requests that are held */
	struct stay *stay;
	struct notice_chain *chain;
	struct notice_headers *headers; /* of both notices; NULL: it has not arrived yet */
	bool taken;                     /* its subscribe notice was: else it has no other */
	uint64_t left_ms;               /* when it began to linger */
	const char *url;                /* behind the key */
	char key[];
};

/*
 * All attendees with one linger: they end it in the order in which they began it, so one
 * timer serves them, and none is touched before its time. There are as many as different
 * values in the configuration.
 */
struct stay {
	struct link link; /* attendance.stays */
	struct attendance *a;
	uint32_t linger_ms;
	struct link lingering; /* the first who began first */
	struct event *timer;
};

struct attendance {
	struct event_base *base;
	struct passthrough *p;
	struct table table;
	struct link stays, present, departed;
	unsigned lingering, lingering_max;
	bool draining;
};

/* The first on a list of entries, or NULL. */
static struct entry *
first_of(const struct link *list)
{
	return list_empty(list) ? NULL : CONTAINER_OF(list->next, struct entry, link);
}

static void
set_state(struct attendance *a, struct entry *e, enum state state)
{
	/* One that is to depart may have been taken off its list already. */
	list_remove(&e->link);
	a->lingering -= e->state == LINGERING;
	e->state = state;
	switch (state) {
	case PRESENT:
		list_append(&a->present, &e->link);
		return;
	case LINGERING:
		list_append(&e->stay->lingering, &e->link);
		a->lingering++;
		return;
	case DEPARTED:
		list_append(&a->departed, &e->link);
		return;
	}
}

static void
free_entry(struct attendance *a, struct entry *e)
{
	list_remove(&e->link);
	table_remove(&a->table, &e->entry);
	notice_chain_end(e->chain);
	notice_headers_unref(e->headers);
	free(e);
}

static bool
notify(struct entry *e, enum passthrough_event event)
{
	return passthrough_notify(
	    e->chain, event, e->url, e->key + KEY_HEAD, e->entry.key_len - KEY_HEAD, e->headers);
}

/* Nobody of it is held any more, nor waited for. */
static void
depart(struct attendance *a, struct entry *e)
{
	if (e->taken)
		notify(e, PASSTHROUGH_UNSUBSCRIBE);
	/* After it: the chain may have become idle within, but e was not to be freed there. */
	set_state(a, e, DEPARTED);
	if (notice_chain_idle(e->chain))
		free_entry(a, e);
}

static void
on_chain_idle(void *arg, void *owner)
{
	struct entry *e = owner;

	if (e->state == DEPARTED)
		free_entry(arg, e);
}

/* --- lingering --- */

/* For the first who lingers; should that fail, the next who begins to tries again. */
static void
arm(struct stay *stay)
{
	const struct entry *first = first_of(&stay->lingering);
	uint64_t gone = clock_ms() - first->left_ms;
	uint64_t ms = gone < stay->linger_ms ? stay->linger_ms - gone : 0;
	struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};

	(void)event_add(stay->timer, &tv);
}

static void
on_timer(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
	struct stay *stay = arg;
	struct link *l;

	for (int n = 0; n < DEPARTURES_PER_TURN; n++) {
		struct entry *e;

		if ((l = list_take(&stay->lingering)) == NULL)
			return;
		e = CONTAINER_OF(l, struct entry, link);
		if (clock_ms() - e->left_ms < stay->linger_ms) {
			list_prepend(&stay->lingering, l);
			break;
		}
		depart(stay->a, e);
	}
	if (!list_empty(&stay->lingering))
		arm(stay);
}

static void
linger(struct attendance *a, struct entry *e)
{
	struct stay *stay = e->stay;

	e->left_ms = clock_ms();
	set_state(a, e, LINGERING);
	if (!event_pending(stay->timer, EV_TIMEOUT, NULL))
		arm(stay);
}

static void
depart_longest(struct attendance *a)
{
	struct entry *longest = NULL;

	LIST_EACH (l, &a->stays) {
		struct entry *e = first_of(&CONTAINER_OF(l, struct stay, link)->lingering);

		if (e == NULL)
			continue;
		if (longest == NULL || e->left_ms < longest->left_ms)
			longest = e;
	}
	assert(longest != NULL);
	depart(a, longest);
}

/* Returns the stay of this length, new or known, or NULL when out of memory. */
static struct stay *
stay_of(struct attendance *a, uint32_t linger_ms)
{
	struct stay *stay;

	LIST_EACH (l, &a->stays) {
		stay = CONTAINER_OF(l, struct stay, link);
		if (stay->linger_ms == linger_ms)
			return stay;
	}
	stay = calloc(1, sizeof(*stay));
	if (stay == NULL)
		return NULL;
	stay->timer = evtimer_new(a->base, on_timer, stay);
	if (stay->timer == NULL) {
		free(stay);
		return NULL;
	}
	stay->a = a;
	stay->linger_ms = linger_ms;
	list_init(&stay->lingering);
	list_append(&a->stays, &stay->link);
	return stay;
}

/* --- attendees --- */

struct key {
	size_t len;
	uint64_t hash;
	char bytes[KEY_HEAD + ID_LEN_MAX];
};

static void
make_key(struct key *key, const struct attendee *who)
{
	assert(who->id_len <= ID_LEN_MAX);
	memcpy(key->bytes, &who->place, sizeof(who->place));
	memcpy(key->bytes + sizeof(who->place), &who->who, sizeof(who->who));
	memcpy(key->bytes + KEY_HEAD, who->id, who->id_len);
	key->len = KEY_HEAD + who->id_len;
	/* Two keyed hashes of what strangers choose; places are told apart by their number. */
	key->hash = who->who.halves[0] ^ who->id_hash ^ who->place;
}

static struct entry *
find(const struct attendance *a, const struct key *key)
{
	struct table_entry *e = table_find(&a->table, key->hash, key->bytes, key->len);

	return e == NULL ? NULL : CONTAINER_OF(e, struct entry, entry);
}

/* Returns new, in the table, or NULL when out of memory. */
static struct entry *
new_entry(struct attendance *a, const struct key *key, const struct attendee *who)
{
	const size_t url_size = strlen(who->url) + 1;
	struct entry *e = calloc(1, sizeof(*e) + key->len + url_size);

	if (e == NULL)
		return NULL;
	e->stay = stay_of(a, who->linger_ms);
	e->chain = e->stay == NULL ? NULL : notice_chain_new(a->p);
	if (e->chain == NULL) {
		free(e);
		return NULL;
	}
	notice_chain_set_owner(e->chain, e);
	memcpy(e->key, key->bytes, key->len);
	/* A copy, for it may outlive the configuration. */
	memcpy(e->key + key->len, who->url, url_size);
	e->url = e->key + key->len;
	e->entry.hash = key->hash;
	e->entry.key = e->key;
	e->entry.key_len = key->len;
	table_add(&a->table, &e->entry);
	return e;
}

/* It has arrived, and Django is to hear of it. */
static void
arrive(struct attendance *a, struct entry *e, struct notice_headers *headers)
{
	notice_headers_unref(e->headers);
	e->headers = notice_headers_ref(headers);
	/* Before the notice, within which the chain may become idle. */
	set_state(a, e, PRESENT);
	e->taken = notify(e, PASSTHROUGH_SUBSCRIBE);
}

/* One more request of an attendee that Django knows of; false: it does not. */
static bool
rejoin(struct attendance *a, struct entry *e)
{
	if (e == NULL || e->state == DEPARTED || !e->taken || notice_chain_untold(e->chain))
		return false;
	if (e->state == LINGERING)
		set_state(a, e, PRESENT);
	e->held++;
	return true;
}

bool
attendance_rejoin(struct attendance *a, const struct attendee *who)
{
	struct key key;

	make_key(&key, who);
	return rejoin(a, find(a, &key));
}

int
attendance_join(struct attendance *a, const struct attendee *who, struct notice_headers *headers)
{
	struct entry *e;
	struct key key;

	make_key(&key, who);
	e = find(a, &key);
	if (rejoin(a, e))
		return 0;
	if (e == NULL)
		e = new_entry(a, &key, who);
	if (e == NULL)
		return -1;
	arrive(a, e, headers);
	e->held++;
	return 0;
}

void
attendance_leave(struct attendance *a, const struct attendee *who)
{
	struct entry *e;
	struct key key;

	make_key(&key, who);
	e = find(a, &key);
	/* It joined without memory. */
	if (e == NULL || e->held == 0)
		return;
	if (--e->held > 0)
		return;
	if (a->draining) {
		depart(a, e);
		return;
	}
	linger(a, e);
	if (a->lingering > a->lingering_max)
		depart_longest(a);
}

/* --- the whole --- */

struct attendance *
attendance_new(struct event_base *base, struct passthrough *p, unsigned lingering)
{
	struct attendance *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return NULL;
	if (table_init(&a->table) < 0) {
		free(a);
		return NULL;
	}
	a->base = base;
	a->p = p;
	a->lingering_max = lingering;
	list_init(&a->stays);
	list_init(&a->present);
	list_init(&a->departed);
	passthrough_on_idle(p, on_chain_idle, a);
	return a;
}

static void
depart_all(struct attendance *a, struct link *list)
{
	struct link *l;

	while ((l = list_take(list)) != NULL)
		depart(a, CONTAINER_OF(l, struct entry, link));
}

void
attendance_drain(struct attendance *a)
{
	a->draining = true;
	LIST_EACH (l, &a->stays)
		depart_all(a, &CONTAINER_OF(l, struct stay, link)->lingering);
}

void
attendance_free(struct attendance *a)
{
	struct link *l;

	if (a == NULL)
		return;
	attendance_drain(a);
	depart_all(a, &a->present);
	while ((l = list_take(&a->departed)) != NULL)
		free_entry(a, CONTAINER_OF(l, struct entry, link));
	while ((l = list_take(&a->stays)) != NULL) {
		struct stay *stay = CONTAINER_OF(l, struct stay, link);

		event_free(stay->timer);
		free(stay);
	}
	table_reset(&a->table);
	free(a);
}
