#include "relay/route.h"

#include "base/text.h"
#include "relay/config.h"
#include "relay/conn.h"
#include "relay/publisher.h"
#include "relay/relay.h"
#include "relay/request.h"
#include "relay/response.h"
#include "relay/statistics.h"
#include "relay/subscriber.h"
#include "relay/worker.h"

#include <assert.h>
#include <string.h>

/* A body that nobody asked for is read and dropped up to this (PROTOCOL, section 7). */
#define DROPPED_BODY_MAX (1024 * 1024)

static const char subscriber_methods[] = "GET, OPTIONS";

/* Of a publisher location, by allow_delete and by whether preflights are answered. */
static const char *
publisher_methods(bool deletes, bool has_cors)
{
	if (deletes)
		return has_cors ? "GET, PUT, POST, DELETE, OPTIONS" : "GET, PUT, POST, DELETE";
	return has_cors ? "GET, PUT, POST, OPTIONS" : "GET, PUT, POST";
}

static struct verdict
check_publisher(const struct request *req, const struct location *loc, bool origin_allowed)
{
	const bool has_cors = loc->cors.n_origins > 0;
	const char *methods = publisher_methods(loc->allow_delete, has_cors);

	if (!origin_allowed)
		return (struct verdict){
		    403, "this origin may not publish here (see `allow_origin`)", NULL};
	switch (request_method(req)) {
	case METHOD_DELETE:
		if (!loc->allow_delete)
			return (struct verdict){
			    405, "nothing is deleted here (see `allow_delete`)", methods};
		return (struct verdict){0, NULL, NULL};
	case METHOD_GET:
	case METHOD_PUT:
	case METHOD_POST:
		return (struct verdict){0, NULL, NULL};
	case METHOD_OPTIONS:
		if (has_cors)
			return (struct verdict){200, "", methods};
		break;
	case METHOD_HEAD:
	case METHOD_OTHER:
		break;
	}
	return (struct verdict){405, "a publisher location has GET, PUT, POST and DELETE", methods};
}

/* Subscriber locations, and those of statistics. */
static struct verdict
check_reader(const struct request *req, const char *why)
{
	switch (request_method(req)) {
	case METHOD_GET:
		return (struct verdict){0, NULL, NULL};
	case METHOD_OPTIONS:
		return (struct verdict){200, "", subscriber_methods};
	case METHOD_PUT:
	case METHOD_POST:
	case METHOD_DELETE:
	case METHOD_HEAD:
	case METHOD_OTHER:
		break;
	}
	return (struct verdict){405, why, subscriber_methods};
}

/* The keys of what the request names. */
static void
find_keys(const struct conn *conn, struct route *route)
{
	struct worker *w = conn->worker;
	const bool subscribes = route->loc->type == LOCATION_SUBSCRIBER;
	struct channel *last = conn->channel;

	assert(conn->exchange == EXCHANGE_NONE);
	route->keys = w->keys;
	route->n_keys = w->ids.n;
	if (last != NULL && subscribes && w->ids.n == 1 &&
	    channel_is(last, route->store, w->ids.ids[0].bytes, w->ids.ids[0].len)) {
		w->keys[0] = last->id->key;
		route->channel = last;
		return;
	}
	for (unsigned i = 0; i < w->ids.n; i++) {
		w->keys[i] = channel_key(w->ids.ids[i].bytes, w->ids.ids[i].len);
		if (!subscribes)
			store_expect(route->store, &w->keys[i]);
	}
}

/* Finds the location of a request, and whether it may be asked so. */
static struct verdict
find_route(struct conn *conn, const struct request *req, struct route *route)
{
	struct worker *w = conn->worker;
	struct slice path = request_path(req), query = request_query(req);
	struct slice origin = request_header(req, HEADER_ORIGIN);
	enum location_answer answer;
	bool allowed;

	*route = (struct route){.loc = NULL};
	if (path.len == 1 && path.p[0] == '*' && request_method(req) == METHOD_OPTIONS)
		return (struct verdict){200, "", publisher_methods(true, true)};
	answer = location_match(
	    w->config, w->match_data, path.p, path.len, query.p, query.len, &route->loc, &w->ids);
	if (answer == LOCATION_NONE) {
		route->loc = NULL;
		return (struct verdict){404, "no location has this path", NULL};
	}
	route->cors_block = cors_match(&route->loc->cors, origin.p, origin.len, &allowed);
	route->foreign_origin = !allowed;
	if (!allowed)
		relay_foreign_origin(w->relay, route->loc, origin.p, origin.len);
	if (!location_allows(route->loc, &conn->peer, conn->unix_peer))
		return (struct verdict){403,
		    route->loc->type == LOCATION_PUBLISHER
			? "this address may not publish here (see `allow` of the location)"
			: "this address may not read here (see `allow` of the location)",
		    NULL};
	if (answer == LOCATION_NO_ID)
		return (struct verdict){
		    400, "the query names no channel (see `channel_argument`)", NULL};
	if (answer == LOCATION_TOO_MANY) {
		route->too_many =
		    route->loc->type == LOCATION_SUBSCRIBER && request_method(req) == METHOD_GET;
		return (struct verdict){403,
		    route->loc->type == LOCATION_PUBLISHER ? "more than one channel id"
							   : "more than max_channels ids",
		    NULL};
	}
	if (answer == LOCATION_BAD_ENCODING)
		return (struct verdict){400, "the channel id is badly percent-encoded", NULL};
	if (answer == LOCATION_ID_TOO_LONG)
		return (struct verdict){400, "the channel id is over limits.id_length", NULL};
	route->store = w->relay->stores[route->loc->store];
	find_keys(conn, route);
	switch (route->loc->type) {
	case LOCATION_PUBLISHER:
		return check_publisher(req, route->loc, allowed);
	case LOCATION_SUBSCRIBER:
		return check_reader(req, "a subscriber location has GET only");
	case LOCATION_STATISTICS:
		break;
	}
	return check_reader(req, "a statistics location has GET only");
}

static void
answer_verdict(struct conn *conn, const struct route *route, const struct verdict *verdict)
{
	char fields[RESPONSE_FIELDS_SIZE];
	struct text t = text_in(fields, sizeof(fields));

	if (route->loc != NULL)
		response_cors(&t, &route->loc->cors, route->cors_block, CORS_VARY_NONE);
	if (verdict->allow != NULL)
		response_field(&t, "Allow", verdict->allow);
	assert(text_ok(&t));
	if (verdict->status == 200) {
		struct answer answer = {
		    .status = 200, .fields = fields, .fields_len = text_len(&t)};

		conn_answer(conn, &answer);
	} else {
		conn_answer_text(conn, verdict->status, fields, text_len(&t), verdict->why);
	}
}

void
route_refuse(struct conn *conn, unsigned status, const char *why)
{
	conn->close_after = true;
	conn->head_only = false; /* of the request before */
	conn_answer_text(conn, status, NULL, 0, why);
}

void
route_error(struct conn *conn, struct request *req)
{
	const char *why;
	unsigned status = request_error(req, &why);

	conn->head_only = false;
	route_refuse(conn, status, why);
}

bool
route_head(struct conn *conn, struct request *req, bool more)
{
	struct routed *routed = &conn->worker->routed;
	struct verdict verdict;
	uint64_t max = DROPPED_BODY_MAX;
	bool keep = false;

	conn->http10 = request_http10(req);
	conn->close_after = !request_keep_alive(req) || conn->worker->draining;
	conn->head_only = request_method(req) == METHOD_HEAD;
	routed->verdict = find_route(conn, req, &routed->route);
	routed->req = req;
	if (!request_has_body(req))
		return true; /* it is complete as it is */

	verdict = routed->verdict;
	if (verdict.status == 0 && request_method(req) == METHOD_POST) {
		keep = true;
		max = routed->route.loc->max_body;
	}
	request_expect_body(req, keep, max);
	if (request_content_length(req) > 0 && (uint64_t)request_content_length(req) > max) {
		verdict = (struct verdict){
		    413, keep ? "the body is over max_body" : "the body is too large", NULL};
	} else if (!request_expects_continue(req)) {
		return true;
	} else if (verdict.status == 0) {
		/* It waits for this before it sends; unless the body is here already. */
		if (!more)
			conn_send_interim(conn, "HTTP/1.1 100 Continue\r\n\r\n", 25);
		return conn->state == CONN_READING;
	}
	/* Refused before its body came: whether it still comes is not known, so that this
	 * connection cannot go on. */
	conn->close_after = true;
	answer_verdict(conn, &routed->route, &verdict);
	return false;
}

void
route_complete(struct conn *conn, struct request *req)
{
	struct routed *routed = &conn->worker->routed;
	const struct route *route = &routed->route;
	struct channel *last = conn->channel;

	assert(conn->exchange == EXCHANGE_NONE);
	/* Where its body came later, others have been looked at since. */
	if (routed->req != req)
		routed->verdict = find_route(conn, req, &routed->route);
	routed->req = NULL;
	/* In its place comes what the request is. */
	conn->channel = NULL;
	if (conn->worker->draining)
		conn->close_after = true;
	if (route->too_many)
		subscriber_refuse_request(
		    conn, req, route, routed->verdict.status, routed->verdict.why);
	else if (routed->verdict.status != 0)
		answer_verdict(conn, route, &routed->verdict);
	else if (route->loc->type == LOCATION_PUBLISHER)
		publisher_request(conn, req, route);
	else if (route->loc->type == LOCATION_STATISTICS)
		statistics_request(conn, req, route);
	else
		subscriber_request(conn, req, route);
	channel_forget(last);
}
