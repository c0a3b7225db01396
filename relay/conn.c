/*
 * conn.c - reading, answering and closing a connection.
 *
 * Edge-triggered: who stops before the socket says EAGAIN sets conn->unread, and goes
 * on unasked (conn_resume) when it may. While a subscriber is held nothing is read, but
 * what a WebSocket's client sends: that it left shows by EV_CLOSED, or, after a reset,
 * by SO_ERROR.
 */
#include "relay/conn.h"

#include "base/log.h"
#include "relay/config.h"
#include "relay/notices.h"
#include "relay/publisher.h"
#include "relay/relay.h"
#include "relay/request.h"
#include "relay/response.h"
#include "relay/route.h"
#include "relay/statistics.h"
#include "relay/subscriber.h"
#include "relay/worker.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static_assert(sizeof(struct conn) <= 256, "an idle connection must stay small");

/* Reads of one connection in a row, so that one that never stops does not starve others. */
#define READS_IN_A_ROW 4
/* How long what still comes is dropped after our FIN, so that no reset overtakes the
 * answer (PROTOCOL, section 7). */
#define LINGER_MS 2000
/* The rest of a request that has begun when the relay ends must come in this time. */
#define DRAIN_REQUEST_MS 1500

static void conn_read(struct conn *conn);

static int
conn_fd(const struct conn *conn)
{
	return conn->event.ev_fd; /* event_get_fd() is a call into libevent, for each send */
}

const char *
conn_peer(const struct conn *conn, char *buf, size_t size)
{
	char addr[INET6_ADDRSTRLEN];

	if (conn->unix_peer) {
		snprintf(buf, size, "unix");
	} else if (IN6_IS_ADDR_V4MAPPED(&conn->peer)) {
		inet_ntop(AF_INET, &conn->peer.s6_addr[12], addr, sizeof(addr));
		snprintf(buf, size, "%s:%u", addr, conn->peer_port);
	} else {
		inet_ntop(AF_INET6, &conn->peer, addr, sizeof(addr));
		snprintf(buf, size, "[%s]:%u", addr, conn->peer_port);
	}
	return buf;
}

static void
log_conn(const struct conn *conn, const char *what)
{
	char peer[CONN_PEER_SIZE];

	if (log_enabled(LOG_LEVEL_DEBUG))
		log_debug("conn %u.%u %s: %s", conn->worker->index, conn->number,
		    conn_peer(conn, peer, sizeof(peer)), what);
}

void
conn_set_state(struct conn *conn, enum conn_state state)
{
	assert(state < CONN_STATES);
	if (conn->worker->last_asked == &conn->link)
		conn->worker->last_asked = conn->link.prev;
	list_remove(&conn->link);
	list_append(&conn->worker->conns[state], &conn->link);
	conn->state = (uint8_t)state;
}

static void
set_deadline(struct conn *conn, uint32_t ms)
{
	wheel_set(conn->worker->wheel, &conn->timer, ms);
}

/*
 * libevent reports a reset as readable, not as EV_CLOSED, so one that comes together with
 * a request is not seen by reading that: a short read does not show the error behind it,
 * and no new edge will tell. So who waits for more of a request asks here, and who is held
 * is asked about by conns_ask_waiting().
 */
static bool
conn_is_reset(const struct conn *conn)
{
	int error = 0;
	socklen_t len = sizeof(error);

	getsockopt(conn_fd(conn), SOL_SOCKET, SO_ERROR, &error, &len);
	return error != 0;
}

void
conns_ask_waiting(struct worker *w)
{
	const struct link *waiting = &w->conns[CONN_WAITING];

	while (w->last_asked->next != waiting) {
		struct conn *conn = CONTAINER_OF(w->last_asked->next, struct conn, link);

		w->last_asked = &conn->link;
		if (conn_is_reset(conn))
			conn_close(conn, "reset by the peer");
	}
}

static void
on_event(UNUSED evutil_socket_t fd, short what, void *arg)
{
	struct conn *conn = arg;

	conn->worker->events_in_turn++;
	if (what & EV_CLOSED)
		conn->peer_done = true;
	switch ((enum conn_state)conn->state) {
	case CONN_READING:
		/* What was set aside comes before what has just arrived, and may leave no time for
		 * that: no other edge will tell of it. */
		if (what & EV_READ)
			conn->unread = true;
		if (what & (EV_READ | EV_CLOSED))
			conn_resume(conn);
		break;
	case CONN_WAITING:
	case CONN_ANSWERING:
		if ((what & (EV_READ | EV_CLOSED)) && subscriber_converses(conn)) {
			/* What came before a FIN is read first; then recv() tells of that. */
			conn->unread = true;
			if (subscriber_reads(conn))
				conn_resume(conn);
			break;
		}
		if ((what & EV_CLOSED) && conn_subscribes(conn)) {
			conn_close(conn, "the subscriber has left");
			break;
		}
		if (what & EV_READ) {
			conn->unread = true;
			if (conn_is_reset(conn))
				conn_close(conn, "reset by the peer");
		}
		break;
	case CONN_SENDING:
		if ((what & EV_CLOSED) && conn_subscribes(conn)) {
			conn_close(conn, "the subscriber has left");
			break;
		}
		if (what & EV_READ) {
			conn->unread = true;
			/* A stream that has sent all goes on to wait, and no new edge tells it. */
			if (conn_is_reset(conn)) {
				conn_close(conn, "reset by the peer");
				break;
			}
		}
		if (what & EV_WRITE)
			conn_resume(conn);
		break;
	case CONN_LINGERING:
		conn_resume(conn);
		break;
	case CONN_CLOSED:
		break;
	}
}

static void
set_peer(struct conn *conn, const struct sockaddr *peer)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)peer;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)peer;

	switch (peer->sa_family) {
	case AF_INET:
		conn->peer.s6_addr[10] = conn->peer.s6_addr[11] = 0xff;
		memcpy(&conn->peer.s6_addr[12], &in->sin_addr, 4);
		conn->peer_port = ntohs(in->sin_port);
		break;
	case AF_INET6:
		conn->peer = in6->sin6_addr;
		conn->peer_port = ntohs(in6->sin6_port);
		break;
	default:
		conn->unix_peer = true;
	}
}

struct conn *
conn_new(struct worker *w, int fd, const struct sockaddr *peer)
{
	struct conn *conn = slab_get(&w->conn_slab);

	if (conn == NULL)
		goto err_close;
	conn->worker = w;
	conn->number = (uint32_t)++w->next_conn;
	set_peer(conn, peer);
	if (event_assign(&conn->event, w->base, fd,
		EV_READ | EV_WRITE | EV_CLOSED | EV_ET | EV_PERSIST, on_event, conn) < 0 ||
	    event_add(&conn->event, NULL) < 0)
		goto err_put;
	w->n_conns++;
	atomic_fetch_add_explicit(&w->relay->n_conns, 1, memory_order_relaxed);
	conn_set_state(conn, CONN_READING);
	set_deadline(conn, w->config->limits.header_timeout_ms);
	log_conn(conn, "accepted");
	return conn;

err_put:
	slab_put(&w->conn_slab, conn);
err_close:
	close(fd);
	return NULL;
}

void
conn_close(struct conn *conn, const char *reason)
{
	struct worker *w = conn->worker;
	int fd;

	if (conn->state == CONN_CLOSED)
		return;
	log_conn(conn, reason);
	/* First out of all lists: what follows may deliver to others, never to us. */
	conn_set_state(conn, CONN_CLOSED);
	switch ((enum conn_exchange)conn->exchange) {
	case EXCHANGE_NONE:
		break;
	case EXCHANGE_SUBSCRIBER:
		subscriber_end(conn);
		break;
	case EXCHANGE_PUBLICATION:
		publisher_end(conn);
		break;
	case EXCHANGE_STATISTICS:
		statistics_end(conn);
		break;
	}
	channel_forget(conn->channel);
	conn->channel = NULL;
	notices_end(conn);
	wheel_remove(&conn->timer);
	request_free(conn->request);
	conn->request = NULL;
	bytes_unref(conn->out);
	conn->out = NULL;
	free(conn->backlog);
	conn->backlog = NULL;
	fd = conn_fd(conn);
	event_del(&conn->event);
	close(fd);
	w->n_conns--;
	atomic_fetch_sub_explicit(&w->relay->n_conns, 1, memory_order_relaxed);
	worker_reap(w);
	worker_conn_gone(w);
}

void
conn_free(struct conn *conn)
{
	assert(conn->state == CONN_CLOSED);
	list_remove(&conn->link);
	slab_put(&conn->worker->conn_slab, conn);
}

/* The answer is with the kernel: what comes next? */
static void
answered(struct conn *conn)
{
	if (conn->close_after) {
		shutdown(conn_fd(conn), SHUT_WR);
		conn_set_state(conn, CONN_LINGERING);
		set_deadline(conn, LINGER_MS);
		/* Bytes may lie there already, for which no edge will come. */
		worker_resume(conn->worker, conn);
		return;
	}
	if (conn->exchange == EXCHANGE_PUBLICATION) {
		/* Answered by the first worker that sent it; others are still to be heard. */
		conn_set_state(conn, CONN_ANSWERING);
		wheel_clear(&conn->timer);
		return;
	}
	conn_next(conn);
}

void
conn_next(struct conn *conn)
{
	conn_set_state(conn, CONN_READING);
	set_deadline(conn, conn->worker->config->limits.keepalive_timeout_ms);
	/* While the relay drains, conn_resume() closes what is idle. */
	if ((!conn->in_process && (conn->unread || conn->backlog != NULL || conn->peer_done)) ||
	    conn->worker->draining)
		worker_resume(conn->worker, conn);
}

/* Hands len bytes to the kernel; how many it took, or -1: the connection is closed. */
static ptrdiff_t
push(struct conn *conn, const char *data, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = send(conn_fd(conn), data + done, len - done, MSG_NOSIGNAL);

		if (n >= 0) {
			done += (size_t)n;
		} else if (errno == EAGAIN) {
			break;
		} else if (errno != EINTR) {
			conn_close(conn, "the peer is gone");
			return -1;
		}
	}
	return (ptrdiff_t)done;
}

/* The rest of bytes, from at on, follows as the socket takes it. Takes bytes. */
static void
send_later(struct conn *conn, struct bytes *bytes, size_t at)
{
	conn->out = bytes;
	conn->out_at = (uint32_t)at;
	conn_set_state(conn, CONN_SENDING);
	conn_set_send_deadline(conn);
}

void
conn_set_send_deadline(struct conn *conn)
{
	set_deadline(conn, conn->worker->config->limits.send_timeout_ms);
}

bool
conn_send(struct conn *conn, struct bytes *bytes)
{
	ptrdiff_t n = push(conn, bytes->data, bytes->len);

	if (n < 0)
		return false;
	if ((size_t)n < bytes->len)
		send_later(conn, bytes_ref(bytes), (size_t)n);
	else
		answered(conn);
	return true;
}

int
conn_write(struct conn *conn, struct bytes *const *parts, unsigned n)
{
	struct iovec iov[CONN_PARTS_MAX];
	unsigned part = 0;
	size_t left;
	ssize_t sent;

	assert(n > 0 && n <= CONN_PARTS_MAX && conn->out == NULL);
	if (n == 1) {
		ptrdiff_t taken;

		/* A fan-out is this line, once for each who waits. */
		sent = send(conn_fd(conn), parts[0]->data, parts[0]->len, MSG_NOSIGNAL);
		if (sent == (ssize_t)parts[0]->len)
			return 1;
		left = sent > 0 ? (size_t)sent : 0;
		taken = push(conn, parts[0]->data + left, parts[0]->len - left);
		if (taken < 0)
			return -1;
		if (left + (size_t)taken < parts[0]->len)
			send_later(conn, bytes_ref(parts[0]), left + (size_t)taken);
		return 1;
	}
	for (unsigned i = 0; i < n; i++)
		iov[i] = (struct iovec){parts[i]->data, parts[i]->len};
	do
		sent = sendmsg(
		    conn_fd(conn), &(struct msghdr){.msg_iov = iov, .msg_iovlen = n}, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	if (sent < 0 && errno != EAGAIN) {
		conn_close(conn, "the peer is gone");
		return -1;
	}
	left = sent < 0 ? 0 : (size_t)sent;
	while (part < n && left >= parts[part]->len)
		left -= parts[part++]->len;
	/* One that has begun must follow; of those behind it nothing is kept. */
	if (part < n && (left > 0 || part == 0)) {
		send_later(conn, bytes_ref(parts[part]), left);
		part++;
	} else if (part < n) {
		conn_set_state(conn, CONN_SENDING);
		conn_set_send_deadline(conn);
	}
	return (int)part;
}

int
conn_write_own(struct conn *conn, const char *data, size_t len)
{
	ptrdiff_t n = push(conn, data, len);
	struct bytes *rest;

	assert(conn->out == NULL || n < 0);
	if (n < 0)
		return -1;
	if ((size_t)n == len)
		return 0;
	rest = bytes_new(len - (size_t)n);
	if (rest == NULL) {
		conn_close(conn, "out of memory");
		return -1;
	}
	memcpy(rest->data, data + n, rest->len);
	send_later(conn, rest, 0);
	return 0;
}

void
conn_finish(struct conn *conn, const char *data, size_t len)
{
	if (conn_write_own(conn, data, len) == 0 && conn->out == NULL)
		answered(conn);
}

static void
go_on_sending(struct conn *conn)
{
	struct bytes *out = conn->out;
	ptrdiff_t n;

	if (out == NULL) {
		/* A stream that had its part of this turn. */
		subscriber_sent(conn);
		return;
	}
	n = push(conn, out->data + conn->out_at, out->len - conn->out_at);
	if (n < 0)
		return;
	conn->out_at += (uint32_t)n;
	if (conn->out_at < out->len) {
		if (n > 0)
			set_deadline(conn, conn->worker->config->limits.send_timeout_ms);
		return;
	}
	conn->out = NULL;
	bytes_unref(out);
	if (conn_subscribes(conn))
		subscriber_sent(conn);
	else
		answered(conn);
}

void
conn_answer(struct conn *conn, const struct answer *answer)
{
	struct worker *w = conn->worker;
	struct text t = text_in(w->text_buf, w->text_size);

	if (w->draining)
		conn->close_after = true;
	response_answer(&t, conn, answer);
	assert(text_ok(&t));
	conn_finish(conn, t.start, text_len(&t));
}

void
conn_answer_text(
    struct conn *conn, unsigned status, const char *fields, size_t fields_len, const char *why)
{
	char body[256];
	int n = snprintf(body, sizeof(body), "%u %s: %s\n", status, response_reason(status), why);
	struct answer answer = {
	    .status = status,
	    .fields = fields,
	    .fields_len = fields_len,
	    .type = "text/plain; charset=utf-8",
	    .body = body,
	    .body_len = (size_t)n < sizeof(body) ? (size_t)n : sizeof(body) - 1,
	};

	conn_answer(conn, &answer);
}

void
conn_send_interim(struct conn *conn, const char *text, size_t len)
{
	/* A socket too full for 25 bytes when nothing was sent yet is as good as gone. */
	if (push(conn, text, len) < (ptrdiff_t)len)
		conn_close(conn, "the socket takes nothing");
}

int
conn_keep_request(struct conn *conn, struct request *req)
{
	struct worker *w = conn->worker;

	if (request_keep(req) < 0)
		return -1;
	if (conn->request == req)
		return 0;
	/* It was the worker's scratch: that gets a new one. */
	w->scratch = request_new(worker_request_limits(w));
	if (w->scratch == NULL) {
		w->scratch = req;
		return -1;
	}
	conn->request = req;
	return 0;
}

/* Keeps bytes of the next requests until this one is answered. */
static void
set_aside(struct conn *conn, const char *data, size_t len)
{
	struct backlog *backlog = malloc(sizeof(*backlog) + len);

	if (backlog == NULL) {
		conn_close(conn, "out of memory");
		return;
	}
	backlog->len = len;
	memcpy(backlog->data, data, len);
	assert(conn->backlog == NULL);
	conn->backlog = backlog;
}

/*
 * The request is dealt with. It was the worker's scratch, or came in part and was kept
 * by the connection (which may be closed by now, and then has freed it), or goes on
 * being kept for a store call that is pending.
 */
static void
done_with(struct conn *conn, struct request *req)
{
	if (req == conn->worker->scratch)
		request_reset(req);
	else if (conn->request == req && !(conn_subscribes(conn) && conn->state == CONN_ANSWERING))
		conn_forget_request(conn);
}

void
conn_forget_request(struct conn *conn)
{
	request_free(conn->request);
	conn->request = NULL;
}

/*
 * Works all requests in len bytes at data, until one has to wait; what is behind that
 * one is set aside.
 */
static void
conn_process(struct conn *conn, char *data, size_t len)
{
	struct worker *w = conn->worker;

	conn->in_process = true;
	while (conn->state == CONN_READING && len > 0) {
		struct request *req = conn->request != NULL ? conn->request : w->scratch;
		bool was_empty = request_is_empty(req);
		enum request_event event;
		size_t used;

		event = request_feed(req, data, len, &used);
		data += used;
		len -= used;
		if (event == REQUEST_HEAD) {
			if (!route_head(conn, req, len > 0)) {
				done_with(conn, req);
				continue;
			}
			event = request_feed(req, data, len, &used);
			data += used;
			len -= used;
			if (event == REQUEST_MORE)
				set_deadline(conn, w->config->limits.body_timeout_ms);
		} else if (event == REQUEST_MORE && was_empty && !request_is_empty(req)) {
			/* The first bytes of a head: from here on the whole of it has its time. */
			set_deadline(conn, w->config->limits.header_timeout_ms);
		}
		switch (event) {
		case REQUEST_HEAD: /* comes once a request, above */
			break;
		case REQUEST_MORE:
			if (request_is_empty(req))
				break;
			if (conn_keep_request(conn, req) < 0) {
				conn_close(conn, "out of memory");
				done_with(conn, req);
			} else if (conn_is_reset(conn)) {
				conn_close(conn, "reset by the peer");
			}
			break;
		case REQUEST_COMPLETE:
			route_complete(conn, req);
			done_with(conn, req);
			break;
		case REQUEST_ERROR:
			route_error(conn, req);
			done_with(conn, req);
			break;
		}
	}
	conn->in_process = false;
	if (len > 0 && conn->state != CONN_LINGERING && conn->state != CONN_CLOSED) {
		set_aside(conn, data, len);
		if (subscriber_reads(conn))
			worker_resume(w, conn);
	}
}

/* What a WebSocket's client sends; stops while nobody reads it. */
static void
read_stream(struct conn *conn)
{
	struct worker *w = conn->worker;

	for (int i = 0; i < READS_IN_A_ROW && subscriber_reads(conn); i++) {
		struct backlog *backlog = conn->backlog;
		char *data = w->read_buf;
		size_t used;
		ssize_t n;

		if (backlog != NULL) {
			data = backlog->data;
			n = (ssize_t)backlog->len;
			conn->backlog = NULL;
		} else {
			n = recv(conn_fd(conn), data, WORKER_READ_SIZE, 0);
		}
		if (n < 0) {
			if (errno == EINTR)
				continue;
			if (errno == EAGAIN)
				conn->unread = false;
			else
				conn_close(conn, "the peer is gone");
			return;
		}
		if (n == 0) {
			conn_close(conn, "the subscriber has left");
			return;
		}
		used = subscriber_input(conn, data, (size_t)n);
		if (used < (size_t)n && conn_subscribes(conn) && conn->state != CONN_CLOSED)
			set_aside(conn, data + used, (size_t)n - used);
		free(backlog);
		if (backlog == NULL && n < WORKER_READ_SIZE && !conn->peer_done) {
			conn->unread = false;
			return;
		}
	}
	/* Else it is taken up by who makes it read again. */
	conn->unread = true;
	if (subscriber_reads(conn))
		worker_resume(w, conn);
}

static void
conn_read(struct conn *conn)
{
	struct worker *w = conn->worker;

	for (int i = 0; i < READS_IN_A_ROW; i++) {
		ssize_t n;

		/* The next poll of a client that polls: the kernel and the parser take the time. */
		if (conn->channel != NULL)
			channel_expect(conn->channel, 2);
		n = recv(conn_fd(conn), w->read_buf, WORKER_READ_SIZE, 0);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			if (errno == EAGAIN)
				conn->unread = false;
			else
				conn_close(conn, "the peer is gone");
			return;
		}
		if (conn->channel != NULL)
			channel_expect(conn->channel, 1);
		if (n == 0) {
			conn_close(conn, conn->request != NULL ? "the peer left in a request"
							       : "the peer is done");
			return;
		}
		conn_process(conn, w->read_buf, (size_t)n);
		/* A short read has emptied the socket; but for a FIN no new edge would come. */
		conn->unread = n == WORKER_READ_SIZE;
		if (conn->state != CONN_READING || (!conn->unread && !conn->peer_done))
			return;
	}
	conn->unread = true;
	worker_resume(w, conn);
}

/* After our FIN: what comes is dropped until theirs. */
static void
drop_input(struct conn *conn)
{
	for (int i = 0; i < READS_IN_A_ROW; i++) {
		ssize_t n = recv(conn_fd(conn), conn->worker->read_buf, WORKER_READ_SIZE, 0);

		if (n == 0) {
			conn_close(conn, "closed by both");
			return;
		}
		if (n < 0) {
			if (errno != EAGAIN && errno != EINTR)
				conn_close(conn, "the peer is gone");
			return;
		}
	}
	worker_resume(conn->worker, conn);
}

/* No part of a request has come; a lone CR may be the first of an empty line. */
static bool
is_idle(const struct conn *conn)
{
	return conn->request == NULL || request_is_empty(conn->request);
}

void
conn_resume(struct conn *conn)
{
	switch ((enum conn_state)conn->state) {
	case CONN_READING:
		if (conn->backlog != NULL) {
			struct backlog *backlog = conn->backlog;

			conn->backlog = NULL;
			conn_process(conn, backlog->data, backlog->len);
			free(backlog);
		}
		if (conn->state == CONN_READING)
			conn_read(conn);
		if (conn->state == CONN_READING && conn->worker->draining && is_idle(conn) &&
		    !conn->in_resume)
			conn_close(conn, "the relay ends");
		break;
	case CONN_SENDING:
		go_on_sending(conn);
		break;
	case CONN_LINGERING:
		drop_input(conn);
		break;
	case CONN_WAITING:
		if (subscriber_reads(conn))
			read_stream(conn);
		break;
	case CONN_ANSWERING:
		if (conn->exchange == EXCHANGE_STATISTICS)
			statistics_resume(conn);
		break;
	case CONN_CLOSED:
		break;
	}
}

void
conn_timed_out(struct conn *conn)
{
	switch ((enum conn_state)conn->state) {
	case CONN_READING:
		if (is_idle(conn)) {
			conn_close(conn, "idle");
			break;
		}
		route_refuse(conn, 408,
		    request_in_body(conn->request) ? "the body did not come in time"
						   : "the headers did not come in time");
		if (conn->state != CONN_CLOSED)
			conn_forget_request(conn);
		break;
	case CONN_WAITING:
		subscriber_timed_out(conn);
		break;
	case CONN_SENDING:
		conn_close(conn, "the socket takes nothing");
		break;
	case CONN_LINGERING:
		conn_close(conn, "lingered");
		break;
	case CONN_ANSWERING:
	case CONN_CLOSED:
		break;
	}
}

void
conn_drain(struct conn *conn)
{
	switch ((enum conn_state)conn->state) {
	case CONN_READING:
		conn_resume(conn);
		if (conn->state == CONN_READING)
			set_deadline(conn, DRAIN_REQUEST_MS);
		break;
	case CONN_WAITING:
		subscriber_drain(conn);
		break;
	case CONN_SENDING:
		if (conn_subscribes(conn))
			subscriber_drain(conn);
		break;
	case CONN_ANSWERING:
	case CONN_LINGERING:
	case CONN_CLOSED:
		break; /* these end by themselves */
	}
}
