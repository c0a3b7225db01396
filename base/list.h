/*
 * list.h - intrusive doubly linked lists: a ring through a head.
 *
 * An element embeds a struct link. Being on no list is link.next == NULL, so an
 * element can be asked, and unlinking twice does no harm.
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct link {
	struct link *next, *prev;
};

static inline void
list_init(struct link *head)
{
	head->next = head->prev = head;
}

static inline bool
list_empty(const struct link *head)
{
	return head->next == head;
}

static inline bool
link_listed(const struct link *l)
{
	return l->next != NULL;
}

static inline void
list_append(struct link *head, struct link *l)
{
	l->prev = head->prev;
	l->next = head;
	head->prev->next = l;
	head->prev = l;
}

static inline void
list_prepend(struct link *head, struct link *l)
{
	l->next = head->next;
	l->prev = head;
	head->next->prev = l;
	head->next = l;
}

static inline void
list_remove(struct link *l)
{
	if (l->next == NULL)
		return;
	l->prev->next = l->next;
	l->next->prev = l->prev;
	l->next = l->prev = NULL;
}

/* Takes the first off the list; NULL: it is empty. */
static inline struct link *
list_take(struct link *head)
{
	struct link *l = head->next;

	if (l == head)
		return NULL;
	head->next = l->next;
	l->next->prev = head;
	l->next = l->prev = NULL;
	return l;
}

/* All of from goes to the end of to; from is empty afterwards. */
static inline void
list_move_all(struct link *to, struct link *from)
{
	if (list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}

/* Walk a list; the SAFE form allows that the element at hand is removed. */
#define LIST_EACH(l, head) for (struct link *l = (head)->next; l != (head); l = l->next)
#define LIST_EACH_SAFE(l, head)                                               \
	for (struct link *l = (head)->next, *l##_next = l->next; l != (head); \
	     l = l##_next, l##_next = l->next)

#endif
