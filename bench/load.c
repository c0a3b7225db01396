/*
 * load.c - subscribers and publishers by the thousand, which check what they get and ask
 * what it cost the server.
 *
 * One thread and one epoll. Each message's body begins with its number, its channel and the
 * moment at which it was due, and is compared to the last byte; each subscriber knows the
 * number that comes next for it. A message that is missing, repeated, out of order or not
 * whole ends the program with 1 and a sentence. So does a server that makes no progress.
 *
 * To spend next to nothing on an event, what has come is compared with what the subscriber
 * before got; where it is the same, and was wanted by both, it has been checked already, and
 * the next poll is the same too.
 *
 * Prints one line of JSON: what was counted and what the server used for it.
 */
#include "bench/reader.h"
#include "bench/usage.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS         512
#define IN_SIZE        (256u << 10)
#define REQUEST_MAX    2048
#define PREFIX_MAX     200 /* of a URL, without the channel's number */
#define POSITION_MAX   512 /* of an answer's headers */
#define FULL_SOCKET_MS 30000
/* Of a body: "NUMBER CHANNEL MOMENT ", with 10, 10 and 20 digits; then letters. */
#define STAMP_LEN      43
#define CHURN_MESSAGES 2
#define CHURN_READINGS 10

enum mode {
	FANOUT,
	CYCLE,
	CHURN,
};

struct options {
	struct sockaddr_in address;
	enum mode mode;
	enum transport transport;
	bool browser; /* a browser's headers */
	bool aside;
	unsigned subscribers, channels, messages, warmup, publishers, cycles, batch;
	unsigned patience_s; /* how long nothing may happen */
	unsigned rate;       /* messages a second, whatever the server does; 0: as fast as it can */
	size_t size;
	const char *sub, *pub; /* where URLs begin */
};

struct peer {
	int fd;
	uint32_t channel;
	uint32_t expected; /* the number of the message that comes next */
	bool publisher, busy, aside;
	uint32_t posts_left; /* of a publisher, in its channel */
	uint64_t posted_ns;
	struct reader reader;
};

/* A request, around the channel's number. */
struct form {
	char before[PREFIX_MAX + 8], behind[REQUEST_MAX / 2];
	size_t before_len, behind_len;
};

struct samples {
	uint64_t *ns;
	size_t n, cap;
};

struct load {
	struct options o;
	struct usage usage;
	int epoll;
	struct peer *subs, *pubs, aside;
	uint32_t *numbers; /* of each channel: its next message's */
	char *in, *body, *request;
	struct form get, post;
	uint64_t deliveries, answers, heads, retries;
	uint32_t posts_a_channel; /* in this round */
	struct samples latency, answer_times, aside_times;
	/* What came last as one whole message, and the next poll of who got it. */
	struct {
		char *bytes;
		size_t len;
		uint32_t channel, number;
		uint64_t due_ns;
		char request[REQUEST_MAX];
		size_t request_len;
	} last;
};

static const char *const transport_names[TRANSPORTS] = {
    [LONGPOLL] = "longpoll",
    [EVENTSOURCE] = "eventsource",
    [WEBSOCKET] = "websocket",
    [STREAM] = "stream",
};

static const char *const mode_names[] = {
    [FANOUT] = "fanout",
    [CYCLE] = "cycle",
    [CHURN] = "churn",
};

/* What a browser's script adds to a poll; with a position such a request is about 550 bytes. */
#define BROWSER_HEADERS                                                                          \
	"Connection: keep-alive\r\n"                                                             \
	"Accept: */*\r\n"                                                                        \
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n" \
	"Origin: http://site.example\r\n"                                                        \
	"Referer: http://site.example/page/with/updates\r\n"                                     \
	"Accept-Encoding: gzip, deflate\r\n"                                                     \
	"Accept-Language: en-GB,en;q=0.9\r\n"                                                    \
	"Cookie: sessionid=k3v9x0q2m7c1z8b4n6h5j3l2p0o9i8u7; "                                   \
	"csrftoken=Qw3rTy7uIoP1aSdF5gHjKl9zXcVbNm2Q\r\n"

static const char *const transport_headers[TRANSPORTS] = {
    [LONGPOLL] = "",
    [EVENTSOURCE] = "Accept: text/event-stream\r\n",
    [WEBSOCKET] = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
		  "Sec-WebSocket-Key: " WEBSOCKET_KEY "\r\n",
    [STREAM] = "TE: chunked\r\nConnection: TE\r\n",
};

static void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

static void
fail(const char *format, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("load: ", stderr);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

static void *
allocate(size_t n, size_t size)
{
	void *p = calloc(n > 0 ? n : 1, size);

	if (p == NULL)
		fail("out of memory");
	return p;
}

static uint64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void
sample(struct samples *s, uint64_t ns)
{
	if (s->n == s->cap) {
		s->cap = s->cap > 0 ? 2 * s->cap : 4096;
		s->ns = realloc(s->ns, s->cap * sizeof(*s->ns));
		if (s->ns == NULL)
			fail("out of memory");
	}
	s->ns[s->n++] = ns;
}

/* ---- messages ----------------------------------------------------------------------- */

static char
padding(size_t i)
{
	return (char)('a' + i % 26);
}

/* Writes n in so many digits, and a blank; snprintf() was a quarter of the load's user time. */
static char *
put_number(char *at, uint64_t n, unsigned digits)
{
	at += digits;
	*at = ' ';
	for (char *p = at; digits > 0; digits--, n /= 10)
		*--p = (char)('0' + n % 10);
	return at + 1;
}

static void
stamp(char *body, uint32_t number, uint32_t channel, uint64_t due_ns)
{
	put_number(put_number(put_number(body, number, 10), channel, 10), due_ns, 20);
}

static uint64_t
moment_of(const char *body)
{
	uint64_t ns = 0;

	/* What is no digit is seen when the body is compared. */
	for (const char *p = body + STAMP_LEN - 21; p < body + STAMP_LEN - 1; p++)
		ns = ns * 10 + (uint64_t)(*p - '0');
	return ns;
}

/* Ends the program if this is not the message that p is to get now; gives its moment. */
static uint64_t
check_message(struct load *l, const struct peer *p, const char *body, size_t len)
{
	uint64_t due_ns;

	if (len != l->o.size)
		fail("message %" PRIu32 " of channel %" PRIu32 " has %zu bytes, not %zu",
		    p->expected, p->channel, len, l->o.size);
	due_ns = moment_of(body);
	stamp(l->body, p->expected, p->channel, due_ns);
	if (memcmp(body, l->body, len) != 0)
		fail("wanted message %" PRIu32 " of channel %" PRIu32 ", got '%.*s'", p->expected,
		    p->channel, STAMP_LEN, body);
	return due_ns;
}

static void
count_delivery(struct load *l, struct peer *p, uint64_t due_ns)
{
	p->expected++;
	l->deliveries++;
	if (l->o.rate > 0)
		sample(&l->latency, now_ns() - due_ns);
}

/* ---- connections -------------------------------------------------------------------- */

static void
send_all(const struct peer *p, const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t n = send(p->fd, bytes, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN) {
			struct pollfd writable = {.fd = p->fd, .events = POLLOUT};

			if (poll(&writable, 1, FULL_SOCKET_MS) == 0)
				fail("the server does not read");
			continue;
		}
		if (n < 0)
			fail("cannot send to the server: %s", strerror(errno));
		bytes += n;
		len -= (size_t)n;
	}
}

static void
peer_open(struct load *l, struct peer *p, enum transport transport)
{
	const int on = 1;
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = p};

	p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (p->fd < 0)
		fail("socket: %s", strerror(errno));
	/* Connected before it is non-blocking: what comes next may then be sent at once. */
	if (connect(p->fd, (struct sockaddr *)&l->o.address, sizeof(l->o.address)) < 0)
		fail("connect: %s", strerror(errno));
	if (setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
	    fcntl(p->fd, F_SETFL, O_NONBLOCK) < 0 ||
	    epoll_ctl(l->epoll, EPOLL_CTL_ADD, p->fd, &event) < 0)
		fail("cannot set up a connection: %s", strerror(errno));
	reader_init(&p->reader, transport, l->o.size);
}

static void
peer_close(struct peer *p)
{
	close(p->fd);
	p->fd = -1;
	reader_reset(&p->reader);
}

static char *
add(char *at, const char *bytes, size_t len)
{
	memcpy(at, bytes, len);
	return at + len;
}

/* The request line, whose target ends with the channel's number, and what is the same in all. */
static char *
begin_request(char *at, const struct form *form, uint32_t channel)
{
	char digits[10], *p = digits + sizeof(digits);

	do
		*--p = (char)('0' + channel % 10);
	while ((channel /= 10) > 0);
	at = add(at, form->before, form->before_len);
	at = add(at, p, (size_t)(digits + sizeof(digits) - p));
	return add(at, form->behind, form->behind_len);
}

/* A subscriber's request; position is what the last answer gave, or NULL. */
static size_t
subscribe_request(
    const struct load *l, const struct peer *p, const struct piece *position, char *buf)
{
	static const char since[] = "If-Modified-Since: ", match[] = "\r\nIf-None-Match: ",
			  ends[] = "\r\n\r\n";
	char *at = begin_request(buf, &l->get, p->channel);

	if (position != NULL && position->last_modified != NULL && position->etag != NULL) {
		if (position->last_modified_len + position->etag_len > POSITION_MAX)
			fail("a position of more than %d bytes", POSITION_MAX);
		at = add(at, since, sizeof(since) - 1);
		at = add(at, position->last_modified, position->last_modified_len);
		at = add(at, match, sizeof(match) - 1);
		at = add(at, position->etag, position->etag_len);
		at = add(at, ends, 2);
	}
	return (size_t)(add(at, ends, 2) - buf);
}

static void
subscribe(struct load *l, struct peer *p, uint32_t channel, uint32_t expected)
{
	char request[REQUEST_MAX];

	p->channel = channel;
	p->expected = expected;
	peer_open(l, p, l->o.transport);
	send_all(p, request, subscribe_request(l, p, NULL, request));
}

static void
post(struct load *l, struct peer *p, uint64_t due_ns)
{
	char *body = begin_request(l->request, &l->post, p->channel);

	memcpy(body + STAMP_LEN, l->body + STAMP_LEN, l->o.size - STAMP_LEN);
	stamp(body, l->numbers[p->channel]++, p->channel, due_ns);
	p->busy = true;
	p->posted_ns = now_ns();
	send_all(p, l->request, (size_t)(body - l->request) + l->o.size);
}

/* The publisher's next message of this round, if there is one. */
static void
post_next(struct load *l, struct peer *p)
{
	if (p->posts_left == 0 && p->channel + l->o.publishers < l->o.channels) {
		p->channel += l->o.publishers;
		p->posts_left = l->posts_a_channel;
	}
	if (p->posts_left > 0) {
		p->posts_left--;
		post(l, p, now_ns());
	}
}

static void
on_publisher_answer(struct load *l, struct peer *p, const struct piece *answer)
{
	if (answer->status != 201 && answer->status != 202)
		fail("a message was answered with %u", answer->status);
	p->busy = false;
	if (p->aside) {
		sample(&l->aside_times, now_ns() - p->posted_ns);
		peer_close(p);
		return;
	}
	sample(&l->answer_times, now_ns() - p->posted_ns);
	l->answers++;
	if (l->o.rate == 0)
		post_next(l, p);
}

static void
poll_again(struct load *l, struct peer *p, const struct piece *answer)
{
	l->last.request_len = subscribe_request(l, p, answer, l->last.request);
	send_all(p, l->last.request, l->last.request_len);
}

static void
on_poll_answer(struct load *l, struct peer *p, const struct piece *answer)
{
	if (answer->status == 200) {
		l->last.due_ns = check_message(l, p, answer->body, answer->body_len);
		count_delivery(l, p, l->last.due_ns);
	} else if (answer->status == 304) {
		l->retries++;
	} else {
		fail("a poll was answered with %u", answer->status);
	}
	poll_again(l, p, answer);
}

static void
send_pong(const struct peer *p, const struct piece *ping)
{
	/* Masked with zeros, which leaves the payload as it is. */
	char frame[6 + 125] = {(char)0x8a, (char)(0x80 | ping->body_len)};

	if (ping->body_len > 125)
		fail("a ping of more than 125 bytes");
	memcpy(frame + 6, ping->body, ping->body_len);
	send_all(p, frame, 6 + ping->body_len);
}

/* What has come for p, in l->in, piece by piece. */
static void
take_apart(struct load *l, struct peer *p, size_t len)
{
	bool whole = reader_at_boundary(&p->reader);
	uint32_t before = p->expected;
	struct piece piece;
	enum reader_kind kind;

	if (!reader_add(&p->reader, l->in, len))
		fail("what the server sends has no end");
	while (p->fd >= 0 && (kind = reader_next(&p->reader, &piece)) != READER_MORE)
		switch (kind) {
		case READER_ANSWER:
			if (p->publisher)
				on_publisher_answer(l, p, &piece);
			else if (l->o.transport == LONGPOLL)
				on_poll_answer(l, p, &piece);
			else
				l->heads++;
			break;
		case READER_MESSAGE:
			l->last.due_ns = check_message(l, p, piece.body, piece.body_len);
			count_delivery(l, p, l->last.due_ns);
			break;
		case READER_PING:
			send_pong(p, &piece);
			break;
		case READER_END:
			fail("the server ended a stream before message %" PRIu32, p->expected);
		case READER_BAD:
			fail("the server sent %s: '%.*s'", piece.what, (int)(len < 200 ? len : 200),
			    l->in);
		case READER_MORE:
			break;
		}
	if (!reader_keep(&p->reader))
		fail("out of memory");
	if (!p->publisher && whole && p->expected == before + 1 && reader_at_boundary(&p->reader)) {
		char *bytes = l->last.bytes;

		l->last.bytes = l->in;
		l->in = bytes;
		l->last.len = len;
		l->last.channel = p->channel;
		l->last.number = before;
	}
}

static void
on_readable(struct load *l, struct peer *p)
{
	ssize_t n = recv(p->fd, l->in, IN_SIZE, 0);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0)
		fail("the server closed the connection of a %s: %s",
		    p->publisher ? "publisher" : "subscriber", n < 0 ? strerror(errno) : "end");
	if (!p->publisher && (size_t)n == l->last.len && p->channel == l->last.channel &&
	    p->expected == l->last.number && reader_at_boundary(&p->reader) &&
	    memcmp(l->in, l->last.bytes, (size_t)n) == 0) {
		count_delivery(l, p, l->last.due_ns);
		if (l->o.transport == LONGPOLL)
			send_all(p, l->last.request, l->last.request_len);
	} else {
		take_apart(l, p, (size_t)n);
	}
}

/* One turn: what is ready now, or within timeout_ns. Returns the number of events. */
static int
turn(struct load *l, uint64_t timeout_ns)
{
	struct epoll_event events[EVENTS];
	const struct timespec timeout = {
	    (time_t)(timeout_ns / 1000000000u), (long)(timeout_ns % 1000000000u)};
	int n = epoll_pwait2(l->epoll, events, EVENTS, &timeout, NULL);

	if (n < 0 && errno != EINTR)
		fail("epoll_pwait2: %s", strerror(errno));
	for (int i = 0; i < n; i++)
		on_readable(l, events[i].data.ptr);
	return n;
}

static void
wait_for(struct load *l, const char *what, const uint64_t *counter, uint64_t target)
{
	const uint64_t patience_ns = l->o.patience_s * 1000000000ull;
	uint64_t seen = *counter, deadline = now_ns() + patience_ns;

	while (*counter < target) {
		turn(l, 100000000u);
		if (*counter != seen) {
			seen = *counter;
			deadline = now_ns() + patience_ns;
		} else if (now_ns() > deadline) {
			fail("%" PRIu64 " of %" PRIu64 " %s, and no more for %u s", *counter,
			    target, what, l->o.patience_s);
		}
	}
	if (*counter > target)
		fail("%" PRIu64 " %s instead of %" PRIu64, *counter, what, target);
}

/* The server has done all that was asked of it, and what it sent has been read. */
static void
settle(struct load *l)
{
	do {
		if (!usage_settle(&l->usage))
			fail("the server does not come to rest");
	} while (turn(l, 0) > 0);
}

/*
 * Subscribers from to to, a batch at a time: no more wait to be accepted than a server's
 * backlog holds. That a poll is held shows by the server being at rest.
 */
static void
subscribe_many(struct load *l, unsigned from, unsigned to)
{
	uint64_t heads = l->heads;

	while (from < to) {
		unsigned end = to - from > l->o.batch ? from + l->o.batch : to;

		for (; from < end; from++, heads++)
			subscribe(l, &l->subs[from], from % l->o.channels, 0);
		if (l->o.transport == LONGPOLL)
			settle(l);
		else
			wait_for(l, "streams began", &l->heads, heads);
	}
	settle(l);
}

static void
open_publishers(struct load *l)
{
	for (unsigned i = 0; i < l->o.publishers; i++) {
		l->pubs[i].publisher = true;
		peer_open(l, &l->pubs[i], LONGPOLL);
	}
	settle(l);
}

/* ---- what is measured --------------------------------------------------------------- */

struct measured {
	uint64_t cpu_ns, wall_ns, deliveries, answers;
};

static void
begin(struct load *l, struct measured *m)
{
	settle(l);
	m->cpu_ns = usage_cpu_ns(&l->usage);
	m->deliveries = l->deliveries;
	m->answers = l->answers;
	m->wall_ns = now_ns();
}

/* Wall time ends with the last message, CPU time when the server is at rest. */
static void
end(struct load *l, struct measured *m)
{
	m->wall_ns = now_ns() - m->wall_ns;
	settle(l);
	m->cpu_ns = usage_cpu_ns(&l->usage) - m->cpu_ns;
	m->deliveries = l->deliveries - m->deliveries;
	m->answers = l->answers - m->answers;
}

static int
compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void
print_samples(const char *name, struct samples *s)
{
	size_t middle = s->n / 2, late = s->n - 1 - s->n / 100;

	if (s->n == 0)
		return;
	qsort(s->ns, s->n, sizeof(*s->ns), compare);
	printf(", \"%s\": {\"p50\": %.1f, \"p99\": %.1f, \"max\": %.1f, \"n\": %zu}", name,
	    (double)s->ns[middle] / 1e3, (double)s->ns[late] / 1e3, (double)s->ns[s->n - 1] / 1e3,
	    s->n);
}

static void
print_measured(const struct load *l, const struct measured *m)
{
	printf("{\"mode\": \"%s\", \"transport\": \"%s\", \"browser\": %s, \"subscribers\": %u, "
	       "\"channels\": %u, \"size\": %zu, \"cpu_ns\": %" PRIu64 ", \"wall_ns\": %" PRIu64
	       ", \"deliveries\": %" PRIu64 ", \"publishes\": %" PRIu64 ", \"retries\": %" PRIu64,
	    mode_names[l->o.mode], transport_names[l->o.transport], l->o.browser ? "true" : "false",
	    l->o.subscribers, l->o.channels, l->o.size, m->cpu_ns, m->wall_ns, m->deliveries,
	    m->answers, l->retries);
}

/* A message of each channel (n where nobody hears them), and all that comes of it. */
static void
one_round(struct load *l, unsigned n)
{
	uint64_t answers = l->answers, deliveries = l->deliveries;

	l->posts_a_channel = n;
	for (unsigned i = 0; i < l->o.publishers && i < l->o.channels; i++) {
		struct peer *p = &l->pubs[i];

		p->channel = i;
		p->posts_left = n;
		post_next(l, p);
	}
	if (l->o.aside) {
		l->aside.channel = l->o.channels;
		l->aside.publisher = l->aside.aside = true;
		peer_open(l, &l->aside, LONGPOLL);
		post(l, &l->aside, now_ns());
	}
	wait_for(l, "deliveries", &l->deliveries, deliveries + (uint64_t)n * l->o.subscribers);
	wait_for(l, "answers to publishers", &l->answers, answers + (uint64_t)n * l->o.channels);
	while (l->aside.busy)
		turn(l, 100000000u);
}

static void
closed_loop(struct load *l, unsigned messages)
{
	if (l->o.subscribers == 0) {
		one_round(l, messages);
		return;
	}
	for (unsigned i = 0; i < messages; i++)
		one_round(l, 1);
}

/*
 * Messages at a fixed rate, whether the server keeps up or not: a message that had to wait
 * for the one before is as late as it would be to who sent it. One publisher, since between
 * two the order is open.
 */
static void
open_loop(struct load *l, unsigned messages)
{
	uint64_t start = now_ns(), answers = l->answers, deliveries = l->deliveries;
	struct peer *p = &l->pubs[0];
	unsigned sent = 0;

	while (sent < messages) {
		uint64_t due = start + (uint64_t)sent * 1000000000u / l->o.rate, now = now_ns();

		if (!p->busy && now >= due) {
			p->channel = sent % l->o.channels;
			post(l, p, due);
			sent++;
			continue;
		}
		turn(l, p->busy ? 100000000u : due - now);
		if (now > due + l->o.patience_s * 1000000000ull)
			fail("the server is %u s behind", l->o.patience_s);
	}
	wait_for(l, "answers to publishers", &l->answers, answers + messages);
	wait_for(l, "deliveries", &l->deliveries,
	    deliveries + (uint64_t)messages * (l->o.subscribers / l->o.channels));
}

static void
fanout(struct load *l)
{
	uint64_t pss_before, pss_idle, connect_ns, total;
	struct measured m;

	open_publishers(l);
	pss_before = usage_pss(&l->usage);
	connect_ns = now_ns();
	subscribe_many(l, 0, l->o.subscribers);
	connect_ns = now_ns() - connect_ns;
	pss_idle = usage_pss(&l->usage);
	if (l->o.warmup > 0)
		closed_loop(l, l->o.warmup);
	l->latency.n = l->answer_times.n = l->aside_times.n = 0;
	begin(l, &m);
	if (l->o.rate > 0)
		open_loop(l, l->o.messages);
	else if (l->o.messages > 0)
		closed_loop(l, l->o.messages);
	end(l, &m);
	/* Nothing may come behind the last one: a repetition, say. */
	total = l->deliveries;
	settle(l);
	if (l->deliveries != total)
		fail("messages came that were sent already");
	print_measured(l, &m);
	printf(", \"pss_before\": %" PRIu64 ", \"pss_idle\": %" PRIu64 ", \"pss_end\": %" PRIu64
	       ", \"connect_ns\": %" PRIu64,
	    pss_before, pss_idle, usage_pss(&l->usage), connect_ns);
	print_samples("latency_us", &l->latency);
	print_samples("publish_us", &l->answer_times);
	print_samples("aside_us", &l->aside_times);
	puts("}");
}

static void
leave(struct load *l)
{
	for (unsigned i = 0; i < l->o.batch; i++)
		peer_close(&l->subs[i]);
}

/* Subscribers who come and go, a batch at a time; the first tenth is not counted. */
static void
cycle(struct load *l)
{
	unsigned batches = l->o.cycles / l->o.batch, warmup = batches / 10 + 1;
	struct measured m = {0};

	for (unsigned i = 0; i < warmup + batches; i++) {
		if (i == warmup)
			begin(l, &m);
		subscribe_many(l, 0, l->o.batch);
		leave(l);
		settle(l);
	}
	end(l, &m);
	print_measured(l, &m);
	printf(", \"cycles\": %u}\n", batches * l->o.batch);
}

/*
 * Each batch has a channel of its own, comes, gets its messages, and goes. What is left of it
 * all is the server's memory, read ten times on the way.
 */
static void
churn(struct load *l)
{
	unsigned batches = l->o.cycles / l->o.batch;
	struct peer *p = &l->pubs[0];
	struct measured m;
	uint64_t pss[CHURN_READINGS];
	unsigned readings = 0;

	open_publishers(l);
	begin(l, &m);
	for (unsigned b = 0; b < batches; b++) {
		for (unsigned i = 0; i < l->o.batch; i++)
			subscribe(l, &l->subs[i], b, 0);
		for (unsigned n = 0; n < CHURN_MESSAGES; n++) {
			uint64_t answers = l->answers, deliveries = l->deliveries;

			p->channel = b;
			post(l, p, now_ns());
			wait_for(l, "deliveries", &l->deliveries, deliveries + l->o.batch);
			wait_for(l, "answers to publishers", &l->answers, answers + 1);
		}
		leave(l);
		if ((b + 1) * CHURN_READINGS / batches > readings) {
			settle(l);
			pss[readings++] = usage_pss(&l->usage);
		}
	}
	end(l, &m);
	print_measured(l, &m);
	printf(", \"cycles\": %u, \"pss\": [", batches * l->o.batch);
	for (unsigned i = 0; i < readings; i++)
		printf("%s%" PRIu64, i > 0 ? ", " : "", pss[i]);
	puts("]}");
}

/* ---- arguments ---------------------------------------------------------------------- */

static void __attribute__((noreturn)) usage_and_exit(void)
{
	fputs("usage: load --port N --pids PID[,PID...] [--mode fanout|cycle|churn]\n"
	      "  --transport longpoll|eventsource|websocket|stream (longpoll)\n"
	      "  --subscribers N (100)   --channels N (1): subscribers go round the channels\n"
	      "  --messages N (100)      measured, of each channel; 0: connect only\n"
	      "  --warmup N (10)         messages before that\n"
	      "  --size BYTES (64)       of a message, at least 64\n"
	      "  --publishers N (1)      connections that publish\n"
	      "  --rate N (0)            messages a second; 0: the next when all have the last\n"
	      "  --cycles N (10000)      of cycle and churn\n"
	      "  --batch N (200)         that connect at once\n"
	      "  --patience SECONDS (30) how long nothing may happen\n"
	      "  --browser               a browser's headers in requests\n"
	      "  --aside                 with each message, a new client publishes elsewhere\n"
	      "  --sub PREFIX (/sub/)    --pub PREFIX (/pub/): the channel's number follows\n"
	      "The server is on 127.0.0.1, its processes are PIDs. See docs/performance.md.\n",
	    stderr);
	exit(2);
}

static unsigned
number(const char *text, unsigned min, unsigned max)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (end == text || *end != '\0' || n < min || n > max) {
		fprintf(stderr, "load: '%s' is not a number from %u to %u\n", text, min, max);
		usage_and_exit();
	}
	return (unsigned)n;
}

static unsigned
choice(const char *text, const char *const *names, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (strcmp(text, names[i]) == 0)
			return i;
	fprintf(stderr, "load: '%s' is not known here\n", text);
	usage_and_exit();
}

static void
parse(struct load *l, int argc, char **argv)
{
	static const struct option options[] = {
	    {"port", required_argument, NULL, 'p'},
	    {"pids", required_argument, NULL, 'P'},
	    {"mode", required_argument, NULL, 'm'},
	    {"transport", required_argument, NULL, 't'},
	    {"subscribers", required_argument, NULL, 's'},
	    {"channels", required_argument, NULL, 'c'},
	    {"messages", required_argument, NULL, 'n'},
	    {"warmup", required_argument, NULL, 'w'},
	    {"size", required_argument, NULL, 'z'},
	    {"publishers", required_argument, NULL, 'u'},
	    {"rate", required_argument, NULL, 'r'},
	    {"cycles", required_argument, NULL, 'y'},
	    {"batch", required_argument, NULL, 'b'},
	    {"patience", required_argument, NULL, 'e'},
	    {"browser", no_argument, NULL, 'B'},
	    {"aside", no_argument, NULL, 'a'},
	    {"sub", required_argument, NULL, 'S'},
	    {"pub", required_argument, NULL, 'U'},
	    {NULL, 0, NULL, 0},
	};
	struct options *o = &l->o;
	int c;

	*o = (struct options){
	    .address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
	    .subscribers = 100,
	    .channels = 1,
	    .messages = 100,
	    .warmup = 10,
	    .publishers = 1,
	    .cycles = 10000,
	    .batch = 200,
	    .size = 64,
	    .patience_s = 30,
	    .sub = "/sub/",
	    .pub = "/pub/",
	};
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (c) {
		case 'p':
			o->address.sin_port = htons((uint16_t)number(optarg, 1, 65535));
			break;
		case 'P':
			if (!usage_init(&l->usage, optarg))
				usage_and_exit();
			break;
		case 'm':
			o->mode = choice(optarg, mode_names, 3);
			break;
		case 't':
			o->transport = choice(optarg, transport_names, TRANSPORTS);
			break;
		case 's':
			o->subscribers = number(optarg, 0, 100000);
			break;
		case 'c':
			o->channels = number(optarg, 1, 100000);
			break;
		case 'n':
			o->messages = number(optarg, 0, 100000000);
			break;
		case 'w':
			o->warmup = number(optarg, 0, 1000000);
			break;
		case 'z':
			o->size = number(optarg, 64, IN_SIZE / 2);
			break;
		case 'u':
			o->publishers = number(optarg, 1, 10000);
			break;
		case 'r':
			o->rate = number(optarg, 0, 1000000);
			break;
		case 'y':
			o->cycles = number(optarg, 1, 100000000);
			break;
		case 'b':
			o->batch = number(optarg, 1, 100000);
			break;
		case 'e':
			o->patience_s = number(optarg, 1, 3600);
			break;
		case 'B':
			o->browser = true;
			break;
		case 'a':
			o->aside = true;
			break;
		case 'S':
			o->sub = optarg;
			break;
		case 'U':
			o->pub = optarg;
			break;
		default:
			usage_and_exit();
		}
	if (optind != argc || o->address.sin_port == 0 || l->usage.n_pids == 0)
		usage_and_exit();
	if (strlen(o->sub) > PREFIX_MAX || strlen(o->pub) > PREFIX_MAX)
		usage_and_exit();
	if (o->subscribers % o->channels != 0) {
		fputs("load: there must be as many subscribers in each channel\n", stderr);
		usage_and_exit();
	}
	if (o->mode != FANOUT && o->cycles < CHURN_READINGS * o->batch) {
		fprintf(stderr, "load: at least %d batches of cycles\n", CHURN_READINGS);
		usage_and_exit();
	}
}

static void
make_forms(struct load *l)
{
	struct form *get = &l->get, *post = &l->post;

	get->before_len = (size_t)sprintf(get->before, "GET %s", l->o.sub);
	post->before_len = (size_t)sprintf(post->before, "POST %s", l->o.pub);
	get->behind_len = (size_t)snprintf(get->behind, sizeof(get->behind),
	    " HTTP/1.1\r\nHost: 127.0.0.1\r\n%s%s", transport_headers[l->o.transport],
	    l->o.browser ? BROWSER_HEADERS : "");
	post->behind_len = (size_t)snprintf(post->behind, sizeof(post->behind),
	    " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\n"
	    "Content-Length: %zu\r\n\r\n",
	    l->o.size);
	assert(get->behind_len < sizeof(get->behind) && post->behind_len < sizeof(post->behind));
}

static void
raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int
main(int argc, char **argv)
{
	struct load l = {.aside = {.fd = -1}};
	unsigned n_subs, n_channels;

	parse(&l, argc, argv);
	raise_descriptor_limit();
	n_subs = l.o.mode == FANOUT ? l.o.subscribers : l.o.batch;
	/* The one beyond is the channel aside; churn has one for each batch. */
	n_channels = l.o.mode == CHURN ? l.o.cycles / l.o.batch : l.o.channels + 1;
	l.subs = allocate(n_subs, sizeof(*l.subs));
	l.pubs = allocate(l.o.publishers, sizeof(*l.pubs));
	l.numbers = allocate(n_channels, sizeof(*l.numbers));
	l.in = allocate(IN_SIZE, 1);
	l.last.bytes = allocate(IN_SIZE, 1);
	l.body = allocate(l.o.size, 1);
	l.request = allocate(l.o.size + REQUEST_MAX, 1);
	make_forms(&l);
	for (size_t i = 0; i < l.o.size; i++)
		l.body[i] = padding(i);
	l.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (l.epoll < 0)
		fail("epoll_create1: %s", strerror(errno));
	switch (l.o.mode) {
	case FANOUT:
		fanout(&l);
		break;
	case CYCLE:
		cycle(&l);
		break;
	case CHURN:
		churn(&l);
		break;
	}
	/* The kernel takes back the rest, sockets included, at once. */
	return 0;
}
