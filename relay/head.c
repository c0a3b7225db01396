#include "relay/head.h"

#include <stdlib.h>
#include <string.h>

/* More than browsers send; the list grows if need be. */
#define FIELDS_AT_FIRST 32

int
head_init(struct head *h)
{
	h->fields = calloc(FIELDS_AT_FIRST, sizeof(*h->fields));
	if (h->fields == NULL)
		return -1;
	h->fields_cap = FIELDS_AT_FIRST;
	head_reset(h);
	return 0;
}

void
head_free(struct head *h)
{
	free(h->fields);
	h->fields = NULL;
}

void
head_reset(struct head *h)
{
	h->content_length = -1;
	h->n_fields = 0;
	h->seen = h->twice = 0;
}

/* A place that two of them would take is one initialised twice, of which the compiler warns. */
#define KNOWN(letter, n, id) [HEAD_PLACE(sizeof(n) - 1, letter)] = {n, sizeof(n) - 1, id}

const struct known_header head_known_headers[HEAD_PLACES] = {
    KNOWN('a', "accept", HEADER_ACCEPT),
    KNOWN('c', "connection", HEADER_CONNECTION),
    KNOWN('c', "content-length", HEADER_CONTENT_LENGTH),
    KNOWN('c', "content-type", HEADER_CONTENT_TYPE),
    KNOWN('e', "event-id", HEADER_EVENT_ID),
    KNOWN('e', "event-type", HEADER_EVENT_TYPE),
    KNOWN('e', "expect", HEADER_EXPECT),
    KNOWN('h', "host", HEADER_HOST),
    KNOWN('i', "if-modified-since", HEADER_IF_MODIFIED_SINCE),
    KNOWN('i', "if-none-match", HEADER_IF_NONE_MATCH),
    KNOWN('l', "last-event-id", HEADER_LAST_EVENT_ID),
    KNOWN('o', "origin", HEADER_ORIGIN),
    KNOWN('t', "te", HEADER_TE),
    KNOWN('t', "transfer-encoding", HEADER_TRANSFER_ENCODING),
    KNOWN('u', "upgrade", HEADER_UPGRADE),
    KNOWN('u', "user-agent", HEADER_USER_AGENT),
    KNOWN('x', "x-eventsource-event", HEADER_X_EVENTSOURCE_EVENT),
};
