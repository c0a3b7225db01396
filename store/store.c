#include "store/store.h"

#include "base/log.h"

#include <stdlib.h>
#include <string.h>

struct store *
store_open(const char *type, unsigned index, const struct retention *retention)
{
	struct store *s = NULL;

	if (strcmp(type, "memory") != 0) {
		log_errorx("unknown store type \"%s\"", type);
		return NULL;
	}
	s = memory_store_open(index, retention);
	if (s == NULL)
		log_error("cannot open a %s store", type);
	return s;
}

void
store_close(struct store *s)
{
	if (s != NULL)
		s->ops->close(s);
}

enum store_answer
store_create(struct store *s, const struct channel_key *key, struct store_result *result,
    store_fn *fn, void *arg, struct store_op **op)
{
	return s->ops->create(s, key, result, fn, arg, op);
}

enum store_answer
store_info(struct store *s, const struct channel_key *key, struct store_result *result,
    store_fn *fn, void *arg, struct store_op **op)
{
	return s->ops->info(s, key, result, fn, arg, op);
}

enum store_answer
store_append(struct store *s, const struct channel_key *key, struct message *msg, unsigned flags,
    void *reply, struct store_result *result, store_fn *fn, void *arg, struct store_op **op)
{
	return s->ops->append(s, key, msg, flags, reply, result, fn, arg, op);
}

enum store_answer
store_next(struct store *s, const struct channel_key *keys, unsigned n_keys,
    const struct store_query *query, struct store_result *result, store_fn *fn, void *arg,
    struct store_op **op)
{
	return s->ops->next(s, keys, n_keys, query, result, fn, arg, op);
}

enum store_answer
store_drop(struct store *s, const struct channel_key *key, void *reply, struct store_result *result,
    store_fn *fn, void *arg, struct store_op **op)
{
	return s->ops->drop(s, key, reply, result, fn, arg, op);
}

enum store_answer
store_stats(struct store *s, struct store_stats *stats, struct store_result *result, store_fn *fn,
    void *arg, struct store_op **op)
{
	return s->ops->stats(s, stats, result, fn, arg, op);
}

enum store_answer
store_list(struct store *s, const struct store_selection *selection, struct store_cursor *cursor,
    struct store_listed *listed, unsigned max, struct store_result *result, store_fn *fn, void *arg,
    struct store_op **op)
{
	return s->ops->list(s, selection, cursor, listed, max, result, fn, arg, op);
}

void
store_unwatch(struct store *s, struct store_watch *watch)
{
	s->ops->unwatch(s, watch);
}

void
store_release(struct store *s, struct store_watch *watch, const struct store_hold *hold)
{
	s->ops->release(s, watch, hold);
}

void
store_cancel(struct store *s, struct store_op *op)
{
	s->ops->cancel(s, op);
}

bool
store_sweep(struct store *s)
{
	return s->ops->sweep(s);
}

void
store_note_free(struct store_note *note)
{
	message_unref(note->msg);
	free(note);
}
