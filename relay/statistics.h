/*
 * statistics.h - GET on a statistics location: what push-stream tells of its channels.
 *
 * Without an id it is the summary; for one id, that channel; for several, these; for one
 * that ends with '*', all that begin so; for "ALL", all. A list is put together a slice at
 * a time, over turns of the loop, so that it delays nobody, and is cut at the location's
 * max_listed.
 */
#ifndef RELAY_STATISTICS_H
#define RELAY_STATISTICS_H

#include "base/attr.h"

struct conn;
struct request;
struct route;

void statistics_request(struct conn *conn, struct request *req, const struct route *route);

/* A turn of the loop for the next slice: conn_resume()'s. */
void statistics_resume(struct conn *conn);
/* The connection closes. conn_close()'s alone. */
void statistics_end(struct conn *conn);

#endif
