/*
 * A store that answers later, for tests of what the relay does meanwhile: the memory
 * store, asked a moment after the relay asks. So no answer is known at once, clients come
 * and go while one is awaited, and calls are cancelled.
 *
 * It is linked into a daemon of its own by --wrap: memory_store_open() opens this one in
 * front of the memory store, and event_base_loop() tells whose loop a call is made in.
 */
#include "base/attr.h"
#include "base/list.h"
#include "store/store.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

/* Most calls are answered in the next turn of the loop; one in so many after a while, in
 * which a client may go. */
#define SLOW_EVERY 8
#define SLOW_US    3000

/* The linker's names. */
struct store *__real_memory_store_open(unsigned index, const struct retention *retention);
struct store *__wrap_memory_store_open(unsigned index, const struct retention *retention);
int __real_event_base_loop(struct event_base *base, int flags);
int __wrap_event_base_loop(struct event_base *base, int flags);

/* The loop of this thread, and how often it has called. */
static _Thread_local struct event_base *loop;
static _Thread_local unsigned calls;

struct later {
	struct store store;
	struct store *memory;
};

enum call {
	CALL_CREATE,
	CALL_INFO,
	CALL_APPEND,
	CALL_NEXT,
	CALL_DROP,
	CALL_STATS,
	CALL_LIST,
};

/* A call that is under way, with copies of all that it borrowed. */
struct store_op {
	struct store *memory;
	enum call call;
	struct event *timer;
	store_fn *fn;
	void *arg;

	unsigned n_keys;
	struct channel_key *keys;
	struct message *msg;
	unsigned flags;
	void *reply;
	struct store_query query;
	struct store_watch **watches;
	struct store_hold hold;
	struct message **more;
	struct store_stats *stats;
	struct store_selection selection;
	void *prefix;
	struct store_cursor *cursor;
	struct store_listed *listed;
	unsigned max;
};

/* NULL when out of memory. */
static void *
copy(const void *bytes, size_t len)
{
	void *p = malloc(len > 0 ? len : 1);

	if (p != NULL && len > 0)
		memcpy(p, bytes, len);
	return p;
}

static void
free_op(struct store_op *op)
{
	for (unsigned i = 0; i < op->n_keys; i++)
		free((void *)op->keys[i].bytes);
	free(op->keys);
	message_unref(op->msg);
	free(op->watches);
	free(op->more);
	free(op->prefix);
	if (op->timer != NULL)
		event_free(op->timer);
	free(op);
}

/* Asks the memory store, which never answers later. */
static enum store_answer
ask(struct store_op *op, struct store_result *result)
{
	struct store *m = op->memory;

	switch (op->call) {
	case CALL_CREATE:
		return store_create(m, op->keys, result, NULL, NULL, NULL);
	case CALL_INFO:
		return store_info(m, op->keys, result, NULL, NULL, NULL);
	case CALL_APPEND:
		return store_append(
		    m, op->keys, op->msg, op->flags, op->reply, result, NULL, NULL, NULL);
	case CALL_NEXT:
		return store_next(m, op->keys, op->n_keys, &op->query, result, NULL, NULL, NULL);
	case CALL_DROP:
		return store_drop(m, op->keys, op->reply, result, NULL, NULL, NULL);
	case CALL_STATS:
		return store_stats(m, op->stats, result, NULL, NULL, NULL);
	case CALL_LIST:
		return store_list(
		    m, &op->selection, op->cursor, op->listed, op->max, result, NULL, NULL, NULL);
	}
	abort();
}

static void
on_time(UNUSED evutil_socket_t fd, UNUSED short what, void *arg)
{
	struct store_op *op = arg;
	struct store_result result;
	enum store_answer answer;

	memset(&result, 0, sizeof(result));
	answer = ask(op, &result);
	op->fn(op->arg, answer, &result);
	if (op->call == CALL_NEXT && answer == STORE_DONE) {
		message_unref(result.msg);
		for (unsigned i = 0; i < result.n_more; i++)
			message_unref(op->more[i]);
	}
	free_op(op);
}

/* Returns new, or NULL when out of memory. */
static struct store_op *
new_op(struct store *s, enum call call, const struct channel_key *keys, unsigned n_keys,
    store_fn *fn, void *arg)
{
	struct store_op *op = calloc(1, sizeof(*op));

	if (op == NULL)
		return NULL;
	op->memory = ((struct later *)s)->memory;
	op->call = call;
	op->fn = fn;
	op->arg = arg;
	op->timer = evtimer_new(loop, on_time, op);
	op->keys = copy(keys, n_keys * sizeof(*keys));
	if (op->timer == NULL || op->keys == NULL)
		goto failed;
	for (; op->n_keys < n_keys; op->n_keys++) {
		void *bytes = copy(keys[op->n_keys].bytes, keys[op->n_keys].len);

		if (bytes == NULL)
			goto failed;
		op->keys[op->n_keys].bytes = bytes;
	}
	return op;
failed:
	free_op(op);
	return NULL;
}

/* The call is complete, and goes to the caller as pending; op is NULL when out of memory. */
static enum store_answer
later(struct store_op *op, struct store_op **pending)
{
	const struct timeval tv = {0, ++calls % SLOW_EVERY == 0 ? SLOW_US : 0};

	if (op == NULL)
		return STORE_FAILED;
	if (evtimer_add(op->timer, &tv) < 0) {
		free_op(op);
		return STORE_FAILED;
	}
	*pending = op;
	return STORE_PENDING;
}

static enum store_answer
later_create(struct store *s, const struct channel_key *key, UNUSED struct store_result *result,
    store_fn *fn, void *arg, struct store_op **pending)
{
	return later(new_op(s, CALL_CREATE, key, 1, fn, arg), pending);
}

static enum store_answer
later_info(struct store *s, const struct channel_key *key, UNUSED struct store_result *result,
    store_fn *fn, void *arg, struct store_op **pending)
{
	return later(new_op(s, CALL_INFO, key, 1, fn, arg), pending);
}

static enum store_answer
later_append(struct store *s, const struct channel_key *key, struct message *msg, unsigned flags,
    void *reply, UNUSED struct store_result *result, store_fn *fn, void *arg,
    struct store_op **pending)
{
	struct store_op *op = new_op(s, CALL_APPEND, key, 1, fn, arg);

	if (op != NULL) {
		op->msg = message_ref(msg);
		op->flags = flags;
		op->reply = reply;
	}
	return later(op, pending);
}

static enum store_answer
later_next(struct store *s, const struct channel_key *keys, unsigned n_keys,
    const struct store_query *query, UNUSED struct store_result *result, store_fn *fn, void *arg,
    struct store_op **pending)
{
	struct store_op *op = new_op(s, CALL_NEXT, keys, n_keys, fn, arg);

	if (op == NULL)
		return STORE_FAILED;
	op->query = *query;
	if (query->watches != NULL) {
		op->watches = copy(query->watches, n_keys * sizeof(query->watches[0]));
		op->query.watches = op->watches;
	}
	if (query->hold != NULL) {
		op->hold = *query->hold;
		op->query.hold = &op->hold;
	}
	op->more = calloc(query->more_max + 1, sizeof(struct message *));
	op->query.more = op->more;
	if (op->more == NULL || (query->watches != NULL && op->watches == NULL)) {
		free_op(op);
		return STORE_FAILED;
	}
	return later(op, pending);
}

static enum store_answer
later_drop(struct store *s, const struct channel_key *key, void *reply,
    UNUSED struct store_result *result, store_fn *fn, void *arg, struct store_op **pending)
{
	struct store_op *op = new_op(s, CALL_DROP, key, 1, fn, arg);

	if (op != NULL)
		op->reply = reply;
	return later(op, pending);
}

static enum store_answer
later_stats(struct store *s, struct store_stats *stats, UNUSED struct store_result *result,
    store_fn *fn, void *arg, struct store_op **pending)
{
	struct store_op *op = new_op(s, CALL_STATS, NULL, 0, fn, arg);

	if (op != NULL)
		op->stats = stats;
	return later(op, pending);
}

static enum store_answer
later_list(struct store *s, const struct store_selection *selection, struct store_cursor *cursor,
    struct store_listed *listed, unsigned max, UNUSED struct store_result *result, store_fn *fn,
    void *arg, struct store_op **pending)
{
	struct store_op *op = new_op(s, CALL_LIST, selection->keys, selection->n_keys, fn, arg);

	if (op == NULL)
		return STORE_FAILED;
	op->selection = *selection;
	if (selection->keys != NULL)
		op->selection.keys = op->keys;
	op->prefix = copy(selection->prefix, selection->prefix_len);
	op->selection.prefix = op->prefix;
	op->cursor = cursor;
	op->listed = listed;
	op->max = max;
	if (op->prefix == NULL) {
		free_op(op);
		return STORE_FAILED;
	}
	return later(op, pending);
}

static void
later_unwatch(struct store *s, struct store_watch *watch)
{
	store_unwatch(((struct later *)s)->memory, watch);
}

static void
later_release(struct store *s, struct store_watch *watch, const struct store_hold *hold)
{
	store_release(((struct later *)s)->memory, watch, hold);
}

/* Nothing is done yet: what publishes is, with nobody to hear of it. */
static void
later_cancel(UNUSED struct store *s, struct store_op *op)
{
	struct store_result result;

	op->reply = NULL;
	if (op->call == CALL_CREATE || op->call == CALL_APPEND || op->call == CALL_DROP)
		(void)!ask(op, &result);
	free_op(op);
}

static bool
later_sweep(struct store *s)
{
	return store_sweep(((struct later *)s)->memory);
}

static void
later_close(struct store *s)
{
	store_close(((struct later *)s)->memory);
	free(s);
}

static const struct store_ops later_ops = {
    .create = later_create,
    .info = later_info,
    .append = later_append,
    .next = later_next,
    .drop = later_drop,
    .stats = later_stats,
    .list = later_list,
    .unwatch = later_unwatch,
    .release = later_release,
    .cancel = later_cancel,
    .sweep = later_sweep,
    .close = later_close,
};

struct store *
__wrap_memory_store_open(unsigned index, const struct retention *retention)
{
	struct later *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return NULL;
	l->store = (struct store){.ops = &later_ops, .index = index};
	l->memory = __real_memory_store_open(index, retention);
	if (l->memory == NULL) {
		free(l);
		return NULL;
	}
	return &l->store;
}

int
__wrap_event_base_loop(struct event_base *base, int flags)
{
	loop = base;
	return __real_event_base_loop(base, flags);
}
