/*
 * floor.c - the least that a server can do for the load program, to compare with: epoll, one
 * recv() and a trivial scan for a request, one send() of ready bytes for a delivery.
 *
 * It checks nothing, has no time-outs, keeps one message a channel, and believes that every
 * request comes whole. Channels are small numbers at the end of the path. Answers are as long
 * as the relay's, for bytes cost as well. Do not let anyone near it but bench/load.c.
 */
#include "bench/transport.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS       512
#define CHANNELS_MAX 100000
#define CONNS_MAX    100000
#define IN_SIZE      (512u << 10)
#define HEAD_MAX     1024

struct conn {
	struct conn *next, *prev; /* in its channel, while it waits */
	int fd;
	uint32_t channel;
	uint8_t transport;
	bool waiting;
	/* A request of which only a part has come; only large messages do that. */
	char *part;
	size_t part_len;
};

struct channel {
	struct conn waiters; /* a ring through this head */
	uint32_t number;     /* of the last message; 0: none */
	/* The last message as it was sent, for polls that ask for it late; all messages of a run
	 * have one length. */
	char *ready;
	size_t ready_len;
};

static struct conn *conns[CONNS_MAX];
static struct channel channels[CHANNELS_MAX];
static int epoll_fd;
static char in[IN_SIZE];

#define LITERAL(s) (s), sizeof(s) - 1

/* What the relay's answers to a subscriber have, whatever they are. */
#define CORS                                                                                \
	"Access-Control-Allow-Origin: *\r\n"                                                \
	"Access-Control-Allow-Headers: If-Modified-Since, If-None-Match, X-Cookie, "        \
	"Last-Event-ID, Content-Type, Etag\r\n"                                             \
	"Access-Control-Expose-Headers: Last-Modified, Etag, Cache-Control, X-Push-Gap\r\n" \
	"Access-Control-Max-Age: 864000\r\n"
#define COMMON "Server: pushserver/0.0.0\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"

#define STREAM_HEAD(type)                                                                    \
	"HTTP/1.1 200 OK\r\n" COMMON "Content-Type: " type "\r\nCache-Control: no-cache\r\n" \
	"Transfer-Encoding: chunked\r\n" CORS "\r\n"
static const char eventsource_head[] = STREAM_HEAD("text/event-stream; charset=utf-8");
static const char stream_head[] = STREAM_HEAD("application/octet-stream");
static const char websocket_head[] =
    "HTTP/1.1 101 Switching Protocols\r\n" COMMON "Connection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Accept: " WEBSOCKET_ACCEPT "\r\n\r\n";
static const char posted[] =
    "HTTP/1.1 %s\r\n" COMMON "Content-Type: text/plain\r\nContent-Length: 112\r\n\r\n"
    "queued messages: 1\nlast requested: 0 sec. ago\n"
    "active subscribers: %08u\nlast message id: 1700000000:%08u\n";

static void
die(const char *what)
{
	perror(what);
	exit(1);
}

/* A full socket makes the whole floor wait: it happens with the largest messages only. */
static void
send_whole(struct conn *c, const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t n = send(c->fd, bytes, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN) {
			struct pollfd writable = {.fd = c->fd, .events = POLLOUT};

			poll(&writable, 1, 10000);
			continue;
		}
		if (n < 0)
			return;
		bytes += n;
		len -= (size_t)n;
	}
}

static void
wait_in(struct channel *ch, struct conn *c)
{
	c->next = &ch->waiters;
	c->prev = ch->waiters.prev;
	c->prev->next = c;
	ch->waiters.prev = c;
	c->waiting = true;
}

static void
leave(struct conn *c)
{
	if (!c->waiting)
		return;
	c->next->prev = c->prev;
	c->prev->next = c->next;
	c->waiting = false;
}

static struct channel *
channel(uint32_t number)
{
	struct channel *ch = &channels[number];

	if (number >= CHANNELS_MAX)
		die("too many channels");
	if (ch->waiters.next == NULL)
		ch->waiters.next = ch->waiters.prev = &ch->waiters;
	return ch;
}

/* The message as this transport sends it, into buf; returns its length. */
static size_t
render(enum transport transport, uint32_t number, const char *body, size_t len, char *buf)
{
	size_t n = 0;

	switch (transport) {
	case LONGPOLL:
		n = (size_t)sprintf(buf,
		    "HTTP/1.1 200 OK\r\n" COMMON
		    "Content-Type: text/plain\r\nContent-Length: %zu\r\n"
		    "Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT\r\nEtag: \"%" PRIu32 "\"\r\n"
		    "Cache-Control: no-cache, etag=\"%" PRIu32 "\"\r\n"
		    "Vary: If-Modified-Since, If-None-Match\r\n" CORS "\r\n",
		    len, number, number);
		break;
	case EVENTSOURCE:
		/* "id: ...\n" and "data: ", and two line ends. */
		n = (size_t)sprintf(
		    buf, "%zx\r\nid: 1700000000:%08" PRIu32 "\ndata: ", 24 + 6 + len + 2, number);
		break;
	case STREAM:
		n = (size_t)sprintf(buf, "%zx\r\n", len + 1);
		break;
	case WEBSOCKET:
		buf[0] = (char)0x81;
		if (len < 126) {
			buf[1] = (char)len;
			n = 2;
		} else if (len < 65536) {
			buf[1] = 126;
			buf[2] = (char)(len >> 8);
			buf[3] = (char)len;
			n = 4;
		} else {
			buf[1] = 127;
			for (int i = 0; i < 8; i++)
				buf[2 + i] = (char)((uint64_t)len >> (56 - 8 * i));
			n = 10;
		}
		break;
	case TRANSPORTS:
		break;
	}
	memcpy(buf + n, body, len);
	n += len;
	if (transport == EVENTSOURCE) {
		memcpy(buf + n, "\n\n\r\n", 4);
		n += 4;
	} else if (transport == STREAM) {
		memcpy(buf + n, "\n\r\n", 3);
		n += 3;
	}
	return n;
}

static void
publish(struct conn *c, struct channel *ch, const char *body, size_t len)
{
	char answer[HEAD_MAX];
	unsigned n_waiters = 0;
	struct conn *w, *next;
	int n;

	ch->number++;
	if (ch->ready == NULL && (ch->ready = malloc(len + HEAD_MAX)) == NULL)
		die("malloc");
	/* All waiters of a channel here have one transport, so it is rendered once. */
	w = ch->waiters.next;
	ch->ready_len =
	    render(w == &ch->waiters ? LONGPOLL : w->transport, ch->number, body, len, ch->ready);
	for (; w != &ch->waiters; w = next, n_waiters++) {
		next = w->next;
		if (w->transport == LONGPOLL)
			leave(w);
		send_whole(w, ch->ready, ch->ready_len);
	}
	n = sprintf(
	    answer, posted, n_waiters > 0 ? "201 Created" : "202 Accepted", n_waiters, ch->number);
	send_whole(c, answer, (size_t)n);
}

/* A whole request: GET /.../N or POST /.../N, as the load writes them. */
static void
serve(struct conn *c, char *request, size_t len)
{
	char *p = memchr(request + 5, ' ', len - 5), *digits = p;
	struct channel *ch;

	while (digits[-1] != '/')
		digits--;
	c->channel = (uint32_t)strtoul(digits, NULL, 10);
	ch = channel(c->channel);
	if (request[0] == 'P') {
		char *body = memmem(p, len - (size_t)(p - request), "\r\n\r\n", 4);

		body += 4;
		publish(c, ch, body, len - (size_t)(body - request));
		return;
	}
	/* The first header behind Host tells the transport; the last one, where a poll stands. */
	p = memchr(p, '\n', 64);
	p = memchr(p + 1, '\n', 64);
	c->transport = LONGPOLL;
	if (p != NULL && p[1] == 'A' && p[9] == 't') {
		c->transport = EVENTSOURCE;
		send_whole(c, LITERAL(eventsource_head));
	} else if (p != NULL && p[1] == 'T') {
		c->transport = STREAM;
		send_whole(c, LITERAL(stream_head));
	} else if (p != NULL && p[1] == 'U' && p[2] == 'p') {
		c->transport = WEBSOCKET;
		send_whole(c, LITERAL(websocket_head));
	} else if (ch->number > 0 && request[len - 5] == '"') {
		for (p = request + len - 6; p[-1] != '"'; p--)
			;
		if (strtoul(p, NULL, 10) != ch->number) {
			send_whole(c, ch->ready, ch->ready_len);
			return;
		}
	}
	wait_in(ch, c);
}

static void
close_conn(struct conn *c)
{
	leave(c);
	conns[c->fd] = NULL;
	close(c->fd);
	free(c->part);
	free(c);
}

/* How long the request is that begins here; 0 if its head is not whole. */
static size_t
request_len(const char *request, size_t len)
{
	const char *end, *p;

	if (request[0] != 'P')
		return len;
	end = memmem(request, len, "\r\n\r\n", 4);
	p = memmem(request, len, "Length: ", 8);
	if (end == NULL || p == NULL)
		return 0;
	return (size_t)(end + 4 - request) + strtoul(p + 8, NULL, 10);
}

static void
on_readable(struct conn *c)
{
	size_t want;
	ssize_t n = recv(c->fd, in, sizeof(in), 0);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		close_conn(c);
		return;
	}
	if (c->part_len == 0) {
		want = request_len(in, (size_t)n);
		if (want == (size_t)n) {
			/* A waiting stream that says something is a pong. */
			if (!c->waiting)
				serve(c, in, (size_t)n);
			return;
		}
	}
	if (c->part == NULL && (c->part = malloc(IN_SIZE)) == NULL)
		die("malloc");
	if (c->part_len + (size_t)n > IN_SIZE)
		die("too long a request");
	memcpy(c->part + c->part_len, in, (size_t)n);
	c->part_len += (size_t)n;
	want = request_len(c->part, c->part_len);
	if (want == c->part_len) {
		c->part_len = 0;
		serve(c, c->part, want);
	}
}

static void
on_connection(int listener)
{
	/* Registered once, for as long as it lives. */
	struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET};
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return;
	if (fd >= CONNS_MAX || (conns[fd] = calloc(1, sizeof(*conns[fd]))) == NULL)
		die("too many connections");
	conns[fd]->fd = fd;
	event.data.fd = fd;
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		die("epoll_ctl");
}

static int
listen_on(uint16_t port)
{
	const struct sockaddr_in address = {.sin_family = AF_INET,
	    .sin_port = htons(port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct epoll_event event = {.events = EPOLLIN};
	const int on = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	/* What is accepted inherits TCP_NODELAY. */
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
	    bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, 4096) < 0)
		die("cannot listen");
	event.data.fd = fd;
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		die("epoll_ctl");
	return fd;
}

int
main(int argc, char **argv)
{
	struct epoll_event events[EVENTS];
	struct rlimit limit;
	int listener, n;

	if (argc != 2 || atoi(argv[1]) <= 0 || atoi(argv[1]) > 65535) {
		fputs("usage: floor PORT\n", stderr);
		return 2;
	}
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0)
		die("epoll_create1");
	listener = listen_on((uint16_t)atoi(argv[1]));
	for (;;) {
		n = epoll_wait(epoll_fd, events, EVENTS, -1);
		if (n < 0 && errno != EINTR)
			die("epoll_wait");
		for (int i = 0; i < n; i++) {
			struct conn *c = conns[events[i].data.fd];

			/* One accept4() an event, and one more for each eight of the turn: a
			 * fruitless one is not cheap. */
			if (events[i].data.fd == listener) {
				for (int k = 0; k <= n / 8; k++)
					on_connection(listener);
				continue;
			}
			if (events[i].events & EPOLLRDHUP)
				close_conn(c);
			else
				on_readable(c);
		}
	}
}
