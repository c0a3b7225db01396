/*
 * The notices as a server on loopback sees them. Server and passthrough share one loop
 * and one thread, so a test decides what happens in which order. Nothing sleeps: the
 * loop runs until a condition holds, or the test fails at a deadline.
 */
#include "passthrough/passthrough.h"
#include "passthrough/trouble.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define DEADLINE_MS  20000
#define MAX_REQUESTS 5000
#define OK_ANSWER    "HTTP/1.1 204 No Content\r\n\r\n"
#define STATUS(line) "HTTP/1.1 " line "\r\nContent-Length: 0\r\n\r\n"

/* --- a server that does as it is told --- */

enum behaviour {
	ANSWER,      /* with server.answer */
	HOLD,        /* read the request and leave it without an answer */
	HANG_UP,     /* read the request, then close */
	ANSWER_LAST, /* answer, then close the connection that is now idle */
};

struct client {
	struct link link; /* in server.clients */
	struct server *server;
	struct bufferevent *bev;
	bool held; /* a request waits for release() */
};

struct server {
	struct env *env;
	struct evconnlistener *listener;
	uint16_t port;
	struct link clients;
	enum behaviour behaviour;
	const char *answer;
	bool deaf; /* connections that have answered close at the next byte, unread */
	unsigned accepted, open, most_open;
	unsigned holding;
	unsigned n_requests;
	char *requests[MAX_REQUESTS]; /* head and body as they came */
};

struct env {
	struct event_base *base;
	struct event *tick; /* the loop comes back to look at the condition */
	struct server server;
	struct troubles *troubles;
	struct passthrough *p;
	char url[64];
	int log, stderr_was;
};

static void
client_close(struct client *c)
{
	list_remove(&c->link);
	c->server->open--;
	if (c->held)
		c->server->holding--;
	bufferevent_free(c->bev);
	free(c);
}

static void
on_deaf_byte(evutil_socket_t fd, short what UNUSED, void *arg)
{
	struct client *c = arg;

	(void)fd;
	client_close(c);
}

static void
client_answer(struct client *c)
{
	bufferevent_write(c->bev, c->server->answer, strlen(c->server->answer));
}

/* Takes one whole request out of the input. NULL: it is not all there. */
static char *
take_request(struct evbuffer *in)
{
	struct evbuffer_ptr end = evbuffer_search(in, "\r\n\r\n", 4, NULL);
	size_t head, body = 0;
	char *text;
	const char *length;

	if (end.pos < 0)
		return NULL;
	head = (size_t)end.pos + 4;
	text = calloc(1, evbuffer_get_length(in) + 1);
	assert_non_null(text);
	evbuffer_copyout(in, text, evbuffer_get_length(in));
	length = strcasestr(text, "\r\nContent-Length: ");
	if (length != NULL)
		body = strtoul(length + 18, NULL, 10);
	if (evbuffer_get_length(in) < head + body) {
		free(text);
		return NULL;
	}
	text[head + body] = '\0';
	evbuffer_drain(in, head + body);
	return text;
}

static void
on_client_read(struct bufferevent *bev, void *arg)
{
	struct client *c = arg;
	struct server *s = c->server;
	char *text;

	while ((text = take_request(bufferevent_get_input(bev))) != NULL) {
		assert_true(s->n_requests < MAX_REQUESTS);
		s->requests[s->n_requests++] = text;
		switch (s->behaviour) {
		case ANSWER:
			client_answer(c);
			break;
		case HOLD:
			c->held = true;
			s->holding++;
			break;
		case HANG_UP:
			client_close(c);
			return;
		case ANSWER_LAST:
			assert_int_equal(send(bufferevent_getfd(bev), s->answer, strlen(s->answer),
					     MSG_NOSIGNAL),
			    strlen(s->answer));
			client_close(c);
			return;
		}
		if (s->deaf) {
			/* From here on the kernel takes bytes that nobody reads. */
			bufferevent_disable(bev, EV_READ);
			event_base_once(
			    s->env->base, bufferevent_getfd(bev), EV_READ, on_deaf_byte, c, NULL);
		}
	}
}

static void
on_client_event(struct bufferevent *bev UNUSED, short what, void *arg)
{
	if ((what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) != 0)
		client_close(arg);
}

static void
on_accept(struct evconnlistener *l UNUSED, evutil_socket_t fd, struct sockaddr *addr UNUSED,
    int len UNUSED, void *arg)
{
	struct server *s = arg;
	struct client *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	c->server = s;
	c->bev = bufferevent_socket_new(s->env->base, fd, BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setcb(c->bev, on_client_read, NULL, on_client_event, c);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
	list_append(&s->clients, &c->link);
	s->accepted++;
	s->open++;
	if (s->open > s->most_open)
		s->most_open = s->open;
}

/* Listens, at the port it had before if there was one. */
static void
server_up(struct server *s)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(s->port)};
	socklen_t len = sizeof(addr);

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	s->listener = evconnlistener_new_bind(s->env->base, on_accept, s,
	    LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE, 512, (struct sockaddr *)&addr, sizeof(addr));
	assert_non_null(s->listener);
	getsockname(evconnlistener_get_fd(s->listener), (struct sockaddr *)&addr, &len);
	s->port = ntohs(addr.sin_port);
}

/* No one listens any more; connections stay. */
static void
server_down(struct server *s)
{
	if (s->listener != NULL)
		evconnlistener_free(s->listener);
	s->listener = NULL;
}

static void
server_close_clients(struct server *s)
{
	LIST_EACH_SAFE (l, &s->clients)
		client_close(CONTAINER_OF(l, struct client, link));
}

/* Answers what is held, and what comes from now on. */
static void
server_release(struct server *s)
{
	s->behaviour = ANSWER;
	LIST_EACH_SAFE (l, &s->clients) {
		struct client *c = CONTAINER_OF(l, struct client, link);

		if (c->held) {
			c->held = false;
			s->holding--;
			client_answer(c);
		}
	}
}

/* The body of the nth request, in order of arrival. */
static const char *
body_of(const struct server *s, unsigned n)
{
	assert_true(n < s->n_requests);
	return strstr(s->requests[n], "\r\n\r\n") + 4;
}

/* --- a name server that does not answer --- */

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned asking; /* threads inside getaddrinfo() */
	bool released;
} resolver = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/*
 * Takes the C library's place, for libcurl too: no test asks a real name server. Not
 * for ever, so that a loop that waits for it fails the test instead of hanging.
 */
int
getaddrinfo(const char *name UNUSED, const char *service UNUSED,
    const struct addrinfo *hints UNUSED, struct addrinfo **result UNUSED)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += DEADLINE_MS / 1000;
	pthread_mutex_lock(&resolver.lock);
	resolver.asking++;
	while (!resolver.released &&
	       pthread_cond_timedwait(&resolver.changed, &resolver.lock, &until) == 0)
		;
	resolver.asking--;
	pthread_mutex_unlock(&resolver.lock);
	return EAI_NONAME;
}

static void
resolver_release(bool released)
{
	pthread_mutex_lock(&resolver.lock);
	resolver.released = released;
	pthread_cond_broadcast(&resolver.changed);
	pthread_mutex_unlock(&resolver.lock);
}

static unsigned
resolver_asking(void)
{
	unsigned n;

	pthread_mutex_lock(&resolver.lock);
	n = resolver.asking;
	pthread_mutex_unlock(&resolver.lock);
	return n;
}

/* --- the surroundings of a test --- */

static void
on_tick(evutil_socket_t fd UNUSED, short what UNUSED, void *arg UNUSED)
{
}

static uint64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Runs the loop until the condition holds. */
#define RUN_UNTIL(env, condition)                                        \
	do {                                                             \
		uint64_t deadline_ = now_ms() + DEADLINE_MS;             \
                                                                         \
		while (!(condition)) {                                   \
			if (now_ms() > deadline_)                        \
				fail_msg("not in time: %s", #condition); \
			clock_turn();                                    \
			event_base_loop((env)->base, EVLOOP_ONCE);       \
		}                                                        \
		clock_turn();                                            \
	} while (0)

static const struct passthrough_limits ordinary = {
    .notices = 10000,
    .connections = 8,
    .timeout_ms = 5000,
    .retry_ms = 5000,
};

static int
set_up(void **state)
{
	static const struct timeval tick = {.tv_usec = 5000};
	struct event_config *config = event_config_new();
	struct env *env = calloc(1, sizeof(*env));

	event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
	env->base = event_base_new_with_config(config);
	event_config_free(config);
	env->tick = event_new(env->base, -1, EV_PERSIST, on_tick, NULL);
	event_add(env->tick, &tick);
	env->log = memfd_create("log", 0);
	env->stderr_was = dup(STDERR_FILENO);
	dup2(env->log, STDERR_FILENO);
	env->troubles = troubles_new();
	env->server.env = env;
	env->server.answer = OK_ANSWER;
	list_init(&env->server.clients);
	server_up(&env->server);
	snprintf(env->url, sizeof(env->url), "http://127.0.0.1:%u/passthrough", env->server.port);
	*state = env;
	return 0;
}

static int
tear_down(void **state)
{
	struct env *env = *state;

	server_down(&env->server);
	server_close_clients(&env->server);
	for (unsigned i = 0; i < env->server.n_requests; i++)
		free(env->server.requests[i]);
	troubles_free(env->troubles);
	event_free(env->tick);
	event_base_free(env->base);
	dup2(env->stderr_was, STDERR_FILENO);
	close(env->stderr_was);
	close(env->log);
	free(env);
	return 0;
}

static void
begin(struct env *env, struct passthrough_limits limits)
{
	clock_turn();
	env->p = passthrough_new(env->base, &limits, env->troubles);
	assert_non_null(env->p);
}

static bool
subscribe(struct notice_chain *chain, const struct env *env, const char *id)
{
	return passthrough_notify(chain, PASSTHROUGH_SUBSCRIBE, env->url, id, strlen(id), NULL);
}

static void
unsubscribe(struct notice_chain *chain, const struct env *env, const char *id)
{
	passthrough_notify(chain, PASSTHROUGH_UNSUBSCRIBE, env->url, id, strlen(id), NULL);
}

/* A connection that was held once and is gone. */
static void
come_and_go(const struct env *env, const char *id)
{
	struct notice_chain *chain = notice_chain_new(env->p);

	assert_non_null(chain);
	if (subscribe(chain, env, id))
		unsubscribe(chain, env, id);
	notice_chain_end(chain);
}

static void
assert_counted(
    const struct env *env, uint64_t delivered, uint64_t refused, uint64_t failed, uint64_t dropped)
{
	const struct passthrough_counters *c = passthrough_counters(env->p);

	assert_int_equal(c->delivered, delivered);
	assert_int_equal(c->refused, refused);
	assert_int_equal(c->failed, failed);
	assert_int_equal(c->dropped, dropped);
}

/* What was logged so far; static, until the next call. */
static const char *
logged(const struct env *env)
{
	static char text[65536];
	ssize_t n = pread(env->log, text, sizeof(text) - 1, 0);

	assert_true(n >= 0);
	text[n] = '\0';
	return text;
}

static unsigned
times_logged(const struct env *env, const char *what)
{
	unsigned n = 0;

	for (const char *s = logged(env); (s = strstr(s, what)) != NULL; s += strlen(what))
		n++;
	return n;
}

/* --- what goes over the wire --- */

static void
test_request_has_the_given_header_lines_and_nothing_of_libcurls(void **state)
{
	static const char lines[] = "Cookie: sessionid=abc; a=\"\xc3\xa9\"\0"
				    "X-Empty: \0"
				    "X-None:\0"
				    "X-Forwarded-For: 192.0.2.1, 127.0.0.1\0"
				    "X-Blank-Inside:  two  blanks \0"
				    "Authorization: Basic Zm9vOmJhcg==\0"
				    "X-Twice: 1\0"
				    "X-Twice: 2\0";
	struct env *env = *state;
	struct notice_headers *headers = notice_headers_new(lines, sizeof(lines));
	struct notice_chain *chain;
	char expected[2048];

	begin(env, ordinary);
	chain = notice_chain_new(env->p);
	passthrough_notify(chain, PASSTHROUGH_SUBSCRIBE, env->url, "chat", 4, headers);
	passthrough_notify(chain, PASSTHROUGH_UNSUBSCRIBE, env->url, "chat", 4, headers);
	notice_headers_unref(headers);
	notice_chain_end(chain);
	RUN_UNTIL(env, passthrough_idle(env->p));

	for (unsigned i = 0; i < 2; i++) {
		snprintf(expected, sizeof(expected),
		    "POST /passthrough HTTP/1.1\r\n"
		    "Host: 127.0.0.1:%u\r\n"
		    "Cookie: sessionid=abc; a=\"\xc3\xa9\"\r\n"
		    "X-Empty:\r\n"
		    "X-None:\r\n"
		    "X-Forwarded-For: 192.0.2.1, 127.0.0.1\r\n"
		    "X-Blank-Inside:  two  blanks \r\n"
		    "Authorization: Basic Zm9vOmJhcg==\r\n"
		    "X-Twice: 1\r\n"
		    "X-Twice: 2\r\n"
		    "Content-Length: %d\r\n"
		    "Content-Type: application/x-www-form-urlencoded\r\n"
		    "\r\n"
		    "channel_id=chat&%s=1",
		    env->server.port, i == 0 ? 27 : 29, i == 0 ? "subscribe" : "unsubscribe");
		assert_string_equal(env->server.requests[i], expected);
	}
	assert_int_equal(env->server.n_requests, 2);
	passthrough_free(env->p);
}

static void
test_accept_and_user_agent_of_the_subscriber_go_out_as_they_came(void **state)
{
	static const char lines[] =
	    "Accept: text/html;q=0.9\0User-Agent: Browser/1\0Accept-Language: \0";
	struct env *env = *state;
	struct notice_headers *headers = notice_headers_new(lines, sizeof(lines));
	struct notice_chain *chain;

	begin(env, ordinary);
	chain = notice_chain_new(env->p);
	passthrough_notify(chain, PASSTHROUGH_SUBSCRIBE, env->url, "a", 1, headers);
	notice_headers_unref(headers);
	notice_chain_end(chain);
	RUN_UNTIL(env, passthrough_idle(env->p));

	assert_non_null(strstr(env->server.requests[0], "\r\nAccept: text/html;q=0.9\r\n"
							"User-Agent: Browser/1\r\n"
							"Accept-Language:\r\n"));
	assert_null(strstr(env->server.requests[0], "*/*"));
	passthrough_free(env->p);
}

static void
test_channel_ids_are_form_encoded_bytes(void **state)
{
	static const char id[] = "\0%&\xc3\xa9 =+/?#az_AZ-09.~\xff\r\n";
	struct env *env = *state;
	struct notice_chain *chain;

	begin(env, ordinary);
	chain = notice_chain_new(env->p);
	passthrough_notify(chain, PASSTHROUGH_SUBSCRIBE, env->url, id, sizeof(id) - 1, NULL);
	passthrough_notify(chain, PASSTHROUGH_UNSUBSCRIBE, env->url, "", 0, NULL);
	notice_chain_end(chain);
	RUN_UNTIL(env, passthrough_idle(env->p));

	assert_string_equal(body_of(&env->server, 0),
	    "channel_id=%00%25%26%C3%A9+%3D%2B%2F%3F%23az_AZ-09.~%FF%0D%0A&subscribe=1");
	assert_string_equal(body_of(&env->server, 1), "channel_id=&unsubscribe=1");
	passthrough_free(env->p);
}

static void
test_proxies_of_the_environment_are_ignored(void **state)
{
	struct env *env = *state;

	setenv("http_proxy", "http://127.0.0.1:1", 1);
	setenv("all_proxy", "http://127.0.0.1:1", 1);
	setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
	begin(env, ordinary);
	come_and_go(env, "a");
	RUN_UNTIL(env, passthrough_idle(env->p));
	unsetenv("http_proxy");
	unsetenv("all_proxy");
	unsetenv("ALL_PROXY");

	assert_counted(env, 2, 0, 0, 0);
	assert_non_null(strstr(env->server.requests[0], "POST /passthrough "));
	passthrough_free(env->p);
}

/* --- order and concurrency --- */

static void
test_notices_of_a_chain_arrive_one_after_another_in_order(void **state)
{
	struct env *env = *state;
	struct notice_chain *chain;
	char id[16], expected[64];

	begin(env, ordinary);
	chain = notice_chain_new(env->p);
	for (int i = 0; i < 20; i++) {
		snprintf(id, sizeof(id), "c%d", i);
		subscribe(chain, env, id);
		unsubscribe(chain, env, id);
	}
	notice_chain_end(chain);
	assert_int_equal(passthrough_pending(env->p), 40);
	env->server.behaviour = HOLD;
	for (unsigned i = 0; i < 40; i++) {
		RUN_UNTIL(env, env->server.holding > 0);
		/* Nothing else comes while this one is not answered. */
		for (int turn = 0; turn < 5; turn++)
			event_base_loop(env->base, EVLOOP_ONCE);
		assert_int_equal(env->server.n_requests, i + 1);
		server_release(&env->server);
		env->server.behaviour = HOLD;
	}
	server_release(&env->server);
	RUN_UNTIL(env, passthrough_idle(env->p));

	for (unsigned i = 0; i < 40; i++) {
		snprintf(expected, sizeof(expected), "channel_id=c%u&%s=1", i / 2,
		    i % 2 == 0 ? "subscribe" : "unsubscribe");
		assert_string_equal(body_of(&env->server, i), expected);
	}
	assert_int_equal(env->server.accepted, 1);
	passthrough_free(env->p);
}

static void
test_a_server_sees_no_more_connections_than_the_limit(void **state)
{
	struct env *env = *state;
	struct passthrough_limits limits = ordinary;
	char id[16];

	limits.connections = 3;
	begin(env, limits);
	env->server.behaviour = HOLD;
	for (int i = 0; i < 50; i++) {
		snprintf(id, sizeof(id), "c%d", i);
		come_and_go(env, id);
	}
	RUN_UNTIL(env, env->server.holding == 3);
	for (int turn = 0; turn < 5; turn++)
		event_base_loop(env->base, EVLOOP_ONCE);
	assert_int_equal(env->server.n_requests, 3);
	server_release(&env->server);
	RUN_UNTIL(env, passthrough_idle(env->p));

	assert_int_equal(env->server.n_requests, 100);
	assert_int_equal(env->server.most_open, 3);
	/* Kept and used again. */
	assert_int_equal(env->server.accepted, 3);
	passthrough_free(env->p);
}

static void
test_chains_take_turns(void **state)
{
	struct env *env = *state;
	struct passthrough_limits limits = ordinary;
	struct notice_chain *busy;

	limits.connections = 1;
	begin(env, limits);
	busy = notice_chain_new(env->p);
	for (int i = 0; i < 10; i++) {
		subscribe(busy, env, "busy");
		unsubscribe(busy, env, "busy");
	}
	notice_chain_end(busy);
	come_and_go(env, "other");
	RUN_UNTIL(env, passthrough_idle(env->p));

	assert_string_equal(body_of(&env->server, 0), "channel_id=busy&subscribe=1");
	assert_string_equal(body_of(&env->server, 1), "channel_id=other&subscribe=1");
	assert_string_equal(body_of(&env->server, 2), "channel_id=busy&unsubscribe=1");
	assert_string_equal(body_of(&env->server, 3), "channel_id=other&unsubscribe=1");
	assert_int_equal(env->server.n_requests, 22);
	passthrough_free(env->p);
}

static void
test_two_thousand_at_once_are_all_delivered_in_order(void **state)
{
	enum {
		CHAINS = 2000
	};
	static unsigned char seen[CHAINS]; /* 1: subscribed, 2: and unsubscribed */
	struct env *env = *state;
	unsigned number;
	char id[16], event[16];

	memset(seen, 0, sizeof(seen));
	begin(env, ordinary);
	for (unsigned i = 0; i < CHAINS; i++) {
		snprintf(id, sizeof(id), "%u", i);
		come_and_go(env, id);
	}
	RUN_UNTIL(env, passthrough_idle(env->p));

	assert_int_equal(env->server.n_requests, 2 * CHAINS);
	for (unsigned i = 0; i < 2 * CHAINS; i++) {
		assert_int_equal(
		    sscanf(body_of(&env->server, i), "channel_id=%u&%15[a-z]=1", &number, event),
		    2);
		assert_true(number < CHAINS);
		assert_string_equal(event, seen[number] == 0 ? "subscribe" : "unsubscribe");
		assert_true(++seen[number] <= 2);
	}
	assert_true(env->server.most_open <= 8);
	assert_counted(env, 2 * CHAINS, 0, 0, 0);
	passthrough_free(env->p);
}

static void
test_two_servers_do_not_wait_for_each_other(void **state)
{
	static struct server other;
	struct env *env = *state;
	struct notice_chain *chain;
	char url[64];

	memset(&other, 0, sizeof(other));
	other.env = env;
	other.answer = OK_ANSWER;
	list_init(&other.clients);
	server_up(&other);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/elsewhere", other.port);
	begin(env, ordinary);
	env->server.behaviour = HOLD;
	for (int i = 0; i < 20; i++)
		come_and_go(env, "slow");
	chain = notice_chain_new(env->p);
	passthrough_notify(chain, PASSTHROUGH_SUBSCRIBE, url, "quick", 5, NULL);
	/* The same connection, by another location: the next notice is for the slow one. */
	passthrough_notify(chain, PASSTHROUGH_UNSUBSCRIBE, env->url, "quick", 5, NULL);
	notice_chain_end(chain);
	RUN_UNTIL(env, other.n_requests == 1);
	server_release(&env->server);
	RUN_UNTIL(env, passthrough_idle(env->p));
	/* The other way round, and nothing else is there to get it going. */
	chain = notice_chain_new(env->p);
	passthrough_notify(chain, PASSTHROUGH_SUBSCRIBE, env->url, "a", 1, NULL);
	passthrough_notify(chain, PASSTHROUGH_UNSUBSCRIBE, url, "a", 1, NULL);
	notice_chain_end(chain);
	RUN_UNTIL(env, passthrough_idle(env->p));

	assert_non_null(strstr(other.requests[0], "POST /elsewhere "));
	assert_counted(env, 44, 0, 0, 0);
	assert_int_equal(other.n_requests, 2);
	passthrough_free(env->p);
	server_down(&other);
	server_close_clients(&other);
	free(other.requests[0]);
	free(other.requests[1]);
}

/* --- refused --- */

static void
test_refused_notice_arrives_when_the_server_is_back(void **state)
{
	struct env *env = *state;

	server_down(&env->server);
	begin(env, ordinary);
	for (int i = 0; i < 100; i++)
		come_and_go(env, "a");
	RUN_UNTIL(env, times_logged(env, "tried again") == 1);
	assert_int_equal(passthrough_pending(env->p), 200);
	server_up(&env->server);
	RUN_UNTIL(env, passthrough_idle(env->p));

	assert_counted(env, 200, 0, 0, 0);
	assert_int_equal(env->server.n_requests, 200);
	assert_int_equal(times_logged(env, "warning"), 1);
	assert_int_equal(times_logged(env, "answered with 2xx again"), 1);
	passthrough_free(env->p);
}

/* Two addresses, of which only one will ever listen. */
static void
test_refused_by_all_addresses_of_localhost_is_refused(void **state)
{
	struct env *env = *state;

	server_down(&env->server);
	begin(env, ordinary);
	snprintf(env->url, sizeof(env->url), "http://localhost:%u/passthrough", env->server.port);
	come_and_go(env, "a");
	RUN_UNTIL(env, times_logged(env, "tried again") == 1);
	server_up(&env->server);
	RUN_UNTIL(env, passthrough_idle(env->p));
	assert_counted(env, 2, 0, 0, 0);
	passthrough_free(env->p);
}

static void
test_server_that_comes_back_is_given_all_connections_again(void **state)
{
	struct env *env = *state;

	server_down(&env->server);
	begin(env, ordinary);
	for (int i = 0; i < 20; i++)
		come_and_go(env, "a");
	RUN_UNTIL(env, times_logged(env, "tried again") == 1);
	env->server.behaviour = HOLD;
	server_up(&env->server);
	/* One probes, for all it knows the server might refuse the next. */
	RUN_UNTIL(env, env->server.holding == 1);
	for (int turn = 0; turn < 5; turn++)
		event_base_loop(env->base, EVLOOP_ONCE);
	assert_int_equal(env->server.n_requests, 1);
	server_release(&env->server);
	env->server.behaviour = HOLD;
	RUN_UNTIL(env, env->server.holding == 8);
	server_release(&env->server);
	RUN_UNTIL(env, passthrough_idle(env->p));
	assert_counted(env, 40, 0, 0, 0);
	passthrough_free(env->p);
}

static void
test_refused_notices_are_given_up_together_after_the_retry_time(void **state)
{
	struct env *env = *state;
	struct passthrough_limits limits = ordinary;
	uint64_t began = now_ms();

	limits.retry_ms = 400;
	server_down(&env->server);
	begin(env, limits);
	for (int i = 0; i < 500; i++)
		come_and_go(env, "a");
	RUN_UNTIL(env, passthrough_idle(env->p));

	/* Each waited as long as the others, not one after another. */
	assert_true(now_ms() - began >= 400);
	assert_true(now_ms() - began < 10000);
	/* What never arrived does not leave. */
	assert_counted(env, 0, 0, 500, 500);
	passthrough_free(env->p);
}

static void
test_no_unsubscribe_is_sent_for_a_subscribe_that_never_left(void **state)
{
	struct env *env = *state;
	struct passthrough_limits limits = ordinary;
	struct notice_chain *chain;

	limits.retry_ms = 0;
	server_down(&env->server);
	begin(env, limits);
	chain = notice_chain_new(env->p);
	subscribe(chain, env, "lost");
	RUN_UNTIL(env, passthrough_idle(env->p));
	server_up(&env->server);
	unsubscribe(chain, env, "lost");
	assert_true(passthrough_idle(env->p));
	subscribe(chain, env, "next");
	unsubscribe(chain, env, "next");
	notice_chain_end(chain);
	RUN_UNTIL(env, passthrough_idle(env->p));

	assert_int_equal(env->server.n_requests, 2);
	assert_string_equal(body_of(&env->server, 0), "channel_id=next&subscribe=1");
	assert_string_equal(body_of(&env->server, 1), "channel_id=next&unsubscribe=1");
	assert_counted(env, 2, 0, 1, 1);
	passthrough_free(env->p);
}

static void
test_refused_unsubscribe_is_given_up_and_the_next_pair_goes_on(void **state)
{
	struct env *env = *state;
	struct passthrough_limits limits = ordinary;
	struct notice_chain *chain;

	limits.retry_ms = 150;
	begin(env, limits);
	chain = notice_chain_new(env->p);
	subscribe(chain, env, "a");
	RUN_UNTIL(env, passthrough_idle(env->p));
	server_down(&env->server);
	server_close_clients(&env->server);
	unsubscribe(chain, env, "a");
	RUN_UNTIL(env, passthrough_idle(env->p));
	server_up(&env->server);
	subscribe(chain, env, "b");
	unsubscribe(chain, env, "b");
	notice_chain_end(chain);
	RUN_UNTIL(env, passthrough_idle(env->p));

	assert_counted(env, 3, 0, 1, 0);
	assert_string_equal(body_of(&env->server, 2), "channel_id=b&unsubscribe=1");
	passthrough_free(env->p);
}

static void
test_draining_gives_up_what_is_refused(void **state)
{
	struct env *env = *state;
	struct passthrough_limits limits = ordinary;

	limits.retry_ms = 10 * DEADLINE_MS;
	server_down(&env->server);
	begin(env, limits);
	for (int i = 0; i < 100; i++)
		come_and_go(env, "a");
	RUN_UNTIL(env, times_logged(env, "tried again") == 1);
	passthrough_drain(env->p);
	RUN_UNTIL(env, passthrough_idle(env->p));
	assert_counted(env, 0, 0, 100, 100);
	passthrough_free(env->p);
}

static void
test_draining_delivers_what_is_queued(void **state)
{
	struct env *env = *state;

	begin(env, ordinary);
	for (int i = 0; i < 100; i++)
		come_and_go(env, "a");
	passthrough_drain(env->p);
	RUN_UNTIL(env, passthrough_idle(env->p));
	assert_counted(env, 200, 0, 0, 0);
	passthrough_free(env->p);
}

static void
test_draining_does_not_wait_for_a_probe_to_tell_that_the_server_is_back(void **state)
{
	struct env *env = *state;

	server_down(&env->server);
	begin(env, ordinary);
	for (int i = 0; i < 20; i++)
		come_and_go(env, "a");
	RUN_UNTIL(env, times_logged(env, "tried again") == 1);
	env->server.behaviour = HOLD;
	server_up(&env->server);
	passthrough_drain(env->p);
	/* A probe would be alone until it is answered. */
	RUN_UNTIL(env, env->server.holding == 8);
	server_release(&env->server);
	RUN_UNTIL(env, passthrough_idle(env->p));
	assert_counted(env, 40, 0, 0, 0);
	passthrough_free(env->p);
}

/* --- kept connections that are closed --- */

static void
test_kept_connections_that_were_closed_lose_no_notice(void **state)
{
	struct env *env = *state;

	begin(env, ordinary);
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 20; i++)
			come_and_go(env, "a");
		RUN_UNTIL(env, passthrough_idle(env->p));
		server_close_clients(&env->server);
	}
	assert_counted(env, 200, 0, 0, 0);
	assert_int_equal(env->server.n_requests, 200);
	passthrough_free(env->p);
}

static void
test_server_that_closes_after_each_answer_gets_each_notice_once(void **state)
{
	struct env *env = *state;

	begin(env, ordinary);
	env->server.behaviour = ANSWER_LAST;
	for (int i = 0; i < 100; i++)
		come_and_go(env, "a");
	RUN_UNTIL(env, passthrough_idle(env->p));
	assert_counted(env, 200, 0, 0, 0);
	assert_int_equal(env->server.n_requests, 200);
	passthrough_free(env->p);
}

static void
test_notice_that_a_closing_connection_did_not_read_is_sent_again(void **state)
{
	static const char lines[] = "Cookie: sessionid=abc\0";
	struct env *env = *state;
	struct notice_headers *headers = notice_headers_new(lines, sizeof(lines));
	struct notice_chain *chain;

	begin(env, ordinary);
	env->server.deaf = true;
	chain = notice_chain_new(env->p);
	passthrough_notify(chain, PASSTHROUGH_SUBSCRIBE, env->url, "a", 1, headers);
	RUN_UNTIL(env, passthrough_idle(env->p));
	passthrough_notify(chain, PASSTHROUGH_UNSUBSCRIBE, env->url, "a", 1, headers);
	notice_headers_unref(headers);
	notice_chain_end(chain);
	RUN_UNTIL(env, passthrough_idle(env->p));

	assert_counted(env, 2, 0, 0, 0);
	assert_int_equal(env->server.accepted, 2);
	assert_int_equal(env->server.n_requests, 2);
	assert_non_null(strstr(env->server.requests[1], "\r\nCookie: sessionid=abc\r\n"));
	assert_string_equal(body_of(&env->server, 1), "channel_id=a&unsubscribe=1");
	passthrough_free(env->p);
}

/* libcurl by itself has enough of it after five times in the life of a handle. */
static void
test_server_that_is_gone_from_each_kept_connection_gets_each_notice_once(void **state)
{
	struct env *env = *state;
	struct passthrough_limits limits = ordinary;

	limits.connections = 1;
	begin(env, limits);
	env->server.deaf = true;
	for (int i = 0; i < 20; i++)
		come_and_go(env, "a");
	RUN_UNTIL(env, passthrough_idle(env->p));
	assert_counted(env, 40, 0, 0, 0);
	assert_int_equal(env->server.n_requests, 40);
	assert_int_equal(times_logged(env, "warning"), 0);
	passthrough_free(env->p);
}

static void
test_server_that_is_gone_from_all_kept_connections_at_once_gets_the_next_notice(void **state)
{
	struct env *env = *state;
	struct notice_chain *chain = NULL;

	begin(env, ordinary);
	env->server.deaf = true;
	env->server.behaviour = HOLD;
	for (int i = 0; i < 8; i++) {
		chain = notice_chain_new(env->p);
		subscribe(chain, env, "a");
		notice_chain_end(chain);
	}
	RUN_UNTIL(env, env->server.holding == 8);
	server_release(&env->server);
	RUN_UNTIL(env, passthrough_idle(env->p));
	assert_int_equal(env->server.open, 8);
	come_and_go(env, "b");
	RUN_UNTIL(env, passthrough_idle(env->p));

	assert_counted(env, 10, 0, 0, 0);
	assert_int_equal(env->server.n_requests, 10);
	assert_int_equal(times_logged(env, "warning"), 0);
	passthrough_free(env->p);
}

static void
test_notice_that_went_unread_is_tried_again_while_the_server_refuses(void **state)
{
	struct env *env = *state;
	struct notice_chain *chain;

	begin(env, ordinary);
	env->server.deaf = true;
	come_and_go(env, "first");
	RUN_UNTIL(env, passthrough_idle(env->p));
	chain = notice_chain_new(env->p);
	server_down(&env->server);
	subscribe(chain, env, "a");
	RUN_UNTIL(env, times_logged(env, "tried again") == 1);
	server_up(&env->server);
	unsubscribe(chain, env, "a");
	notice_chain_end(chain);
	RUN_UNTIL(env, passthrough_idle(env->p));

	assert_counted(env, 4, 0, 0, 0);
	assert_int_equal(env->server.n_requests, 4);
	passthrough_free(env->p);
}

static void
test_notice_that_was_read_but_not_answered_is_not_sent_again(void **state)
{
	struct env *env = *state;
	struct notice_chain *chain;

	begin(env, ordinary);
	come_and_go(env, "first");
	RUN_UNTIL(env, passthrough_idle(env->p));
	chain = notice_chain_new(env->p);
	env->server.behaviour = HANG_UP;
	subscribe(chain, env, "a");
	RUN_UNTIL(env, passthrough_idle(env->p));
	assert_int_equal(env->server.n_requests, 3);
	assert_counted(env, 2, 0, 1, 0);

	/* It may have arrived, so Django hears of the leaving. */
	env->server.behaviour = ANSWER;
	unsubscribe(chain, env, "a");
	notice_chain_end(chain);
	RUN_UNTIL(env, passthrough_idle(env->p));
	assert_int_equal(env->server.n_requests, 4);
	assert_string_equal(body_of(&env->server, 3), "channel_id=a&unsubscribe=1");
	assert_counted(env, 3, 0, 1, 0);
	passthrough_free(env->p);
}

static void
test_read_but_not_answered_and_then_refused_is_not_sent_again(void **state)
{
	struct env *env = *state;

	begin(env, ordinary);
	come_and_go(env, "first");
	RUN_UNTIL(env, passthrough_idle(env->p));
	server_down(&env->server);
	env->server.behaviour = HANG_UP;
	come_and_go(env, "a");
	RUN_UNTIL(env, times_logged(env, "tried again") == 1);
	env->server.behaviour = ANSWER;
	server_up(&env->server);
	RUN_UNTIL(env, passthrough_idle(env->p));

	assert_counted(env, 3, 0, 1, 0);
	assert_int_equal(env->server.n_requests, 4);
	assert_string_equal(body_of(&env->server, 2), "channel_id=a&subscribe=1");
	assert_string_equal(body_of(&env->server, 3), "channel_id=a&unsubscribe=1");
	passthrough_free(env->p);
}

/* --- slow servers, long answers --- */

static void
test_slow_server_fails_notices_in_time_and_still_hears_of_the_leaving(void **state)
{
	struct env *env = *state;
	struct passthrough_limits limits = ordinary;

	limits.timeout_ms = 200;
	begin(env, limits);
	env->server.behaviour = HOLD;
	come_and_go(env, "a");
	RUN_UNTIL(env, passthrough_idle(env->p));

	assert_counted(env, 0, 0, 2, 0);
	assert_int_equal(env->server.n_requests, 2);
	assert_string_equal(body_of(&env->server, 1), "channel_id=a&unsubscribe=1");
	assert_int_equal(times_logged(env, "warning"), 1);
	assert_int_equal(times_logged(env, "timed out"), 1);
	passthrough_free(env->p);
}

static void
test_long_answers_are_cut_off_and_count_by_their_status(void **state)
{
	static char answer[300000];
	struct env *env = *state;
	struct passthrough_limits limits = ordinary;
	int n = snprintf(
	    answer, sizeof(answer), "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");

	memset(answer + n, 'x', sizeof(answer) - (size_t)n - 1);
	/* It is not the time-out that ends it. */
	limits.timeout_ms = 10 * DEADLINE_MS;
	begin(env, limits);
	env->server.answer = answer;
	come_and_go(env, "a");
	RUN_UNTIL(env, passthrough_idle(env->p));
	assert_counted(env, 2, 0, 0, 0);
	passthrough_free(env->p);
}

static void
test_endless_heads_are_cut_off(void **state)
{
	static char answer[300000];
	struct env *env = *state;
	struct passthrough_limits limits = ordinary;
	size_t n = (size_t)snprintf(answer, sizeof(answer), "HTTP/1.1 200 OK\r\n");

	while (n < sizeof(answer) - 100)
		n += (size_t)snprintf(
		    answer + n, sizeof(answer) - n, "X-Header: 12345678901234567890\r\n");
	/* It is not the time-out that ends it. */
	limits.timeout_ms = 10 * DEADLINE_MS;
	begin(env, limits);
	env->server.answer = answer;
	come_and_go(env, "a");
	RUN_UNTIL(env, passthrough_idle(env->p));
	assert_counted(env, 2, 0, 0, 0);
	passthrough_free(env->p);
}

static void
test_answer_that_is_no_http_is_a_failure(void **state)
{
	struct env *env = *state;

	begin(env, ordinary);
	env->server.answer = "SSH-2.0-something\r\n\r\n";
	come_and_go(env, "a");
	RUN_UNTIL(env, passthrough_idle(env->p));
	assert_counted(env, 0, 0, 2, 0);
	assert_int_equal(times_logged(env, "warning"), 1);
	passthrough_free(env->p);
}

static void
test_redirects_are_not_followed(void **state)
{
	struct env *env = *state;
	char answer[256];

	snprintf(answer, sizeof(answer),
	    "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%u/login\r\nContent-Length: "
	    "0\r\n\r\n",
	    env->server.port);
	begin(env, ordinary);
	env->server.answer = answer;
	come_and_go(env, "a");
	RUN_UNTIL(env, passthrough_idle(env->p));

	assert_int_equal(env->server.n_requests, 2);
	assert_counted(env, 2, 2, 0, 0);
	assert_int_equal(times_logged(env, "/login"), 0);
	passthrough_free(env->p);
}

/* --- bounds --- */

static void
test_subscribe_that_finds_the_queue_full_is_dropped(void **state)
{
	struct env *env = *state;
	struct passthrough_limits limits = ordinary;
	struct notice_chain *one, *two, *three;

	limits.connections = 1;
	limits.notices = 1;
	begin(env, limits);
	env->server.behaviour = HOLD;
	one = notice_chain_new(env->p);
	two = notice_chain_new(env->p);
	three = notice_chain_new(env->p);
	assert_true(subscribe(one, env, "one"));      /* under way */
	assert_true(subscribe(two, env, "two"));      /* waits */
	assert_false(subscribe(three, env, "three")); /* too many */
	assert_counted(env, 0, 0, 0, 1);
	/* Whose subscribe was taken is told to leave, however full it is. */
	unsubscribe(one, env, "one");
	unsubscribe(two, env, "two");
	assert_counted(env, 0, 0, 0, 1);
	assert_int_equal(passthrough_pending(env->p), 4);
	server_release(&env->server);
	RUN_UNTIL(env, passthrough_idle(env->p));
	subscribe(three, env, "three-again");
	unsubscribe(three, env, "three-again");
	notice_chain_end(one);
	notice_chain_end(two);
	notice_chain_end(three);
	RUN_UNTIL(env, passthrough_idle(env->p));

	assert_int_equal(env->server.n_requests, 6);
	assert_string_equal(body_of(&env->server, 4), "channel_id=three-again&subscribe=1");
	assert_counted(env, 6, 0, 0, 1);
	assert_int_equal(times_logged(env, "too many are waiting"), 1);
	passthrough_free(env->p);
}

/* --- several channels on one connection --- */

static void
test_channel_whose_subscribe_was_not_taken_leaves_the_pairs_of_the_others_whole(void **state)
{
	struct env *env = *state;
	struct passthrough_limits limits = ordinary;
	struct notice_chain *chain;

	limits.connections = 1;
	limits.notices = 1;
	begin(env, limits);
	env->server.behaviour = HOLD;
	chain = notice_chain_new(env->p);
	assert_true(subscribe(chain, env, "a")); /* under way */
	assert_true(subscribe(chain, env, "b")); /* waits */
	assert_false(subscribe(chain, env, "c"));
	unsubscribe(chain, env, "a");
	unsubscribe(chain, env, "b");
	notice_chain_end(chain);
	server_release(&env->server);
	RUN_UNTIL(env, passthrough_idle(env->p));

	assert_int_equal(env->server.n_requests, 4);
	assert_string_equal(body_of(&env->server, 2), "channel_id=a&unsubscribe=1");
	assert_string_equal(body_of(&env->server, 3), "channel_id=b&unsubscribe=1");
	assert_counted(env, 4, 0, 0, 1);
	passthrough_free(env->p);
}

static void
test_channel_whose_subscribe_never_left_is_the_only_one_that_is_not_told_to_leave(void **state)
{
	struct env *env = *state;
	struct passthrough_limits limits = ordinary;
	struct notice_chain *chain;

	limits.retry_ms = 0;
	begin(env, limits);
	chain = notice_chain_new(env->p);
	subscribe(chain, env, "a");
	RUN_UNTIL(env, passthrough_idle(env->p));
	server_down(&env->server);
	server_close_clients(&env->server);
	subscribe(chain, env, "b");
	subscribe(chain, env, "ab");
	RUN_UNTIL(env, passthrough_idle(env->p));
	assert_counted(env, 1, 0, 2, 0);
	assert_true(notice_chain_untold(chain));
	server_up(&env->server);
	unsubscribe(chain, env, "a");
	unsubscribe(chain, env, "b");
	assert_true(notice_chain_untold(chain));
	unsubscribe(chain, env, "ab");
	assert_false(notice_chain_untold(chain));
	/* Next time it is told again, with its leaving. */
	subscribe(chain, env, "b");
	unsubscribe(chain, env, "b");
	notice_chain_end(chain);
	RUN_UNTIL(env, passthrough_idle(env->p));

	assert_int_equal(env->server.n_requests, 4);
	assert_string_equal(body_of(&env->server, 1), "channel_id=a&unsubscribe=1");
	assert_string_equal(body_of(&env->server, 2), "channel_id=b&subscribe=1");
	assert_string_equal(body_of(&env->server, 3), "channel_id=b&unsubscribe=1");
	assert_counted(env, 4, 0, 2, 2);
	passthrough_free(env->p);
}

static void
test_unsubscribe_that_is_queued_behind_others_goes_with_its_subscribe(void **state)
{
	static const char nowhere[] = "http://django.invalid/passthrough";
	struct env *env = *state;
	struct notice_chain *chain;

	resolver_release(false);
	begin(env, ordinary);
	chain = notice_chain_new(env->p);
	subscribe(chain, env, "a");
	passthrough_notify(chain, PASSTHROUGH_SUBSCRIBE, nowhere, "b", 1, NULL);
	subscribe(chain, env, "b"); /* of another URL */
	unsubscribe(chain, env, "a");
	unsubscribe(chain, env, "b");
	passthrough_notify(chain, PASSTHROUGH_UNSUBSCRIBE, nowhere, "b", 1, NULL);
	RUN_UNTIL(env, resolver_asking() == 1);
	resolver_release(true);
	RUN_UNTIL(env, passthrough_idle(env->p));
	assert_false(notice_chain_untold(chain));
	/* The queue's end is where it was. */
	subscribe(chain, env, "c");
	unsubscribe(chain, env, "c");
	notice_chain_end(chain);
	RUN_UNTIL(env, passthrough_idle(env->p));

	assert_int_equal(env->server.n_requests, 6);
	assert_string_equal(body_of(&env->server, 1), "channel_id=b&subscribe=1");
	assert_string_equal(body_of(&env->server, 2), "channel_id=a&unsubscribe=1");
	assert_string_equal(body_of(&env->server, 3), "channel_id=b&unsubscribe=1");
	assert_string_equal(body_of(&env->server, 5), "channel_id=c&unsubscribe=1");
	assert_counted(env, 6, 0, 1, 1);
	passthrough_free(env->p);
}

static void
test_chain_that_ends_without_an_unsubscribe_forgets_what_never_left(void **state)
{
	struct env *env = *state;
	struct passthrough_limits limits = ordinary;
	struct notice_chain *chain;

	limits.retry_ms = 0;
	server_down(&env->server);
	begin(env, limits);
	chain = notice_chain_new(env->p);
	subscribe(chain, env, "a");
	RUN_UNTIL(env, passthrough_idle(env->p));
	assert_true(notice_chain_untold(chain));
	notice_chain_end(chain);
	passthrough_free(env->p); /* which asserts that no chain is left */
}

static void
test_chain_that_ends_while_under_way_still_sends_what_is_queued(void **state)
{
	struct env *env = *state;

	begin(env, ordinary);
	env->server.behaviour = HOLD;
	come_and_go(env, "a");
	RUN_UNTIL(env, env->server.holding == 1);
	server_release(&env->server);
	RUN_UNTIL(env, passthrough_idle(env->p));
	assert_int_equal(env->server.n_requests, 2);
	passthrough_free(env->p);
}

static void
test_freeing_gives_up_what_is_under_way_and_queued(void **state)
{
	struct env *env = *state;

	begin(env, ordinary);
	env->server.behaviour = HOLD;
	for (int i = 0; i < 50; i++)
		come_and_go(env, "a");
	RUN_UNTIL(env, env->server.holding == 8);
	passthrough_free(env->p);
	assert_int_equal(times_logged(env, "100 notices given up at the end"), 1);
	RUN_UNTIL(env, env->server.open == 0);
}

static void
test_freeing_while_the_server_refuses(void **state)
{
	struct env *env = *state;

	server_down(&env->server);
	begin(env, ordinary);
	come_and_go(env, "a");
	RUN_UNTIL(env, times_logged(env, "tried again") == 1);
	passthrough_free(env->p);
}

/* --- the log --- */

static void
test_first_notice_that_is_not_answered_with_2xx_is_logged_with_its_likely_cause(void **state)
{
	static const struct {
		const char *answer, *said;
	} cases[] = {
	    {STATUS("301 Moved Permanently"),
		"SECURE_SSL_REDIRECT, PREPEND_WWW or a login redirect"},
	    {STATUS("302 Found"), "SECURE_SSL_REDIRECT, PREPEND_WWW or a login redirect"},
	    {STATUS("400 Bad Request"),
		"status 400: the host of the URL, 127.0.0.1, is probably not in "
		"ALLOWED_HOSTS"},
	    {STATUS("403 Forbidden"),
		"status 403: the relay's address 127.0.0.1 is probably not in "
		"INTERNAL_IPS"},
	    {STATUS("404 Not Found"), "include('pushserver.urls')"},
	    {STATUS("405 Method Not Allowed"), "status 405: POST is not allowed"},
	    {STATUS("500 Internal Server Error"), "status 500: the view or a receiver failed"},
	};
	struct env *env = *state;
	char url[96];

	begin(env, ordinary);
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		struct notice_chain *chain = notice_chain_new(env->p);

		env->server.answer = cases[i].answer;
		snprintf(url, sizeof(url), "%s/%u", env->url, i);
		for (int n = 0; n < 10; n++) {
			passthrough_notify(chain, PASSTHROUGH_SUBSCRIBE, url, "a", 1, NULL);
			passthrough_notify(chain, PASSTHROUGH_UNSUBSCRIBE, url, "a", 1, NULL);
		}
		notice_chain_end(chain);
		RUN_UNTIL(env, passthrough_idle(env->p));
		assert_int_equal(times_logged(env, "warning"), i + 1);
		assert_int_equal(times_logged(env, url), 1);
		if (strstr(logged(env), cases[i].said) == NULL)
			fail_msg("not logged: %s\n%s", cases[i].said, logged(env));
	}
	assert_counted(env, 20 * ARRAY_LEN(cases), 20 * ARRAY_LEN(cases), 0, 0);
	env->server.answer = OK_ANSWER;
	passthrough_free(env->p);
}

static void
test_passwords_of_a_url_and_header_values_stay_out_of_the_log(void **state)
{
	static const char lines[] = "Cookie: sessionid=secret\0";
	struct env *env = *state;
	struct notice_headers *headers = notice_headers_new(lines, sizeof(lines));
	struct notice_chain *chain;
	char url[96];

	snprintf(url, sizeof(url), "http://user:secret@127.0.0.1:%u/passthrough", env->server.port);
	begin(env, ordinary);
	env->server.answer = STATUS("403 Forbidden");
	chain = notice_chain_new(env->p);
	passthrough_notify(chain, PASSTHROUGH_SUBSCRIBE, url, "a", 1, headers);
	notice_headers_unref(headers);
	notice_chain_end(chain);
	RUN_UNTIL(env, passthrough_idle(env->p));
	assert_int_equal(times_logged(env, "INTERNAL_IPS"), 1);
	assert_int_equal(times_logged(env, "secret"), 0);
	passthrough_free(env->p);
}

static void
test_url_that_cannot_be_used_costs_only_a_warning(void **state)
{
	struct env *env = *state;
	struct notice_chain *chain;

	begin(env, ordinary);
	chain = notice_chain_new(env->p);
	passthrough_notify(chain, PASSTHROUGH_SUBSCRIBE, "ftp://127.0.0.1/x", "a", 1, NULL);
	passthrough_notify(chain, PASSTHROUGH_UNSUBSCRIBE, "ftp://127.0.0.1/x", "a", 1, NULL);
	notice_chain_end(chain);
	assert_true(passthrough_idle(env->p));
	assert_counted(env, 0, 0, 0, 2);
	assert_int_equal(times_logged(env, "warning"), 1);
	passthrough_free(env->p);
}

static void
test_names_that_do_not_resolve_are_a_failure(void **state)
{
	struct env *env = *state;
	struct notice_chain *chain;
	const char *url = "http://django.invalid/passthrough";

	resolver_release(true);
	begin(env, ordinary);
	chain = notice_chain_new(env->p);
	passthrough_notify(chain, PASSTHROUGH_SUBSCRIBE, url, "a", 1, NULL);
	passthrough_notify(chain, PASSTHROUGH_UNSUBSCRIBE, url, "a", 1, NULL);
	notice_chain_end(chain);
	RUN_UNTIL(env, passthrough_idle(env->p));
	assert_counted(env, 0, 0, 1, 1);
	assert_int_equal(times_logged(env, "resolve host"), 1);
	passthrough_free(env->p);
}

static void
test_slow_name_server_delays_nobody(void **state)
{
	struct env *env = *state;
	struct passthrough_limits limits = ordinary;
	struct notice_chain *chain;
	const char *url = "http://django.invalid/passthrough";

	resolver_release(false);
	limits.timeout_ms = 200;
	begin(env, limits);
	chain = notice_chain_new(env->p);
	passthrough_notify(chain, PASSTHROUGH_SUBSCRIBE, url, "a", 1, NULL);
	RUN_UNTIL(env, resolver_asking() == 1);
	RUN_UNTIL(env, passthrough_idle(env->p));
	/* The time-out did not wait for the name server. */
	assert_int_equal(resolver_asking(), 1);
	assert_counted(env, 0, 0, 1, 0);
	/* Nor does the end. */
	passthrough_notify(chain, PASSTHROUGH_SUBSCRIBE, url, "a", 1, NULL);
	RUN_UNTIL(env, resolver_asking() == 2);
	notice_chain_end(chain);
	passthrough_free(env->p);
	assert_int_equal(resolver_asking(), 2);
	resolver_release(true);
	RUN_UNTIL(env, resolver_asking() == 0);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(test_request_has_the_given_header_lines_and_nothing_of_libcurls),
	    TEST(test_accept_and_user_agent_of_the_subscriber_go_out_as_they_came),
	    TEST(test_channel_ids_are_form_encoded_bytes),
	    TEST(test_proxies_of_the_environment_are_ignored),
	    TEST(test_notices_of_a_chain_arrive_one_after_another_in_order),
	    TEST(test_a_server_sees_no_more_connections_than_the_limit),
	    TEST(test_chains_take_turns),
	    TEST(test_two_thousand_at_once_are_all_delivered_in_order),
	    TEST(test_two_servers_do_not_wait_for_each_other),
	    TEST(test_refused_notice_arrives_when_the_server_is_back),
	    TEST(test_refused_by_all_addresses_of_localhost_is_refused),
	    TEST(test_server_that_comes_back_is_given_all_connections_again),
	    TEST(test_refused_notices_are_given_up_together_after_the_retry_time),
	    TEST(test_no_unsubscribe_is_sent_for_a_subscribe_that_never_left),
	    TEST(test_refused_unsubscribe_is_given_up_and_the_next_pair_goes_on),
	    TEST(test_draining_gives_up_what_is_refused),
	    TEST(test_draining_delivers_what_is_queued),
	    TEST(test_draining_does_not_wait_for_a_probe_to_tell_that_the_server_is_back),
	    TEST(test_kept_connections_that_were_closed_lose_no_notice),
	    TEST(test_server_that_closes_after_each_answer_gets_each_notice_once),
	    TEST(test_notice_that_a_closing_connection_did_not_read_is_sent_again),
	    TEST(test_server_that_is_gone_from_each_kept_connection_gets_each_notice_once),
	    TEST(test_server_that_is_gone_from_all_kept_connections_at_once_gets_the_next_notice),
	    TEST(test_notice_that_went_unread_is_tried_again_while_the_server_refuses),
	    TEST(test_notice_that_was_read_but_not_answered_is_not_sent_again),
	    TEST(test_read_but_not_answered_and_then_refused_is_not_sent_again),
	    TEST(test_slow_server_fails_notices_in_time_and_still_hears_of_the_leaving),
	    TEST(test_long_answers_are_cut_off_and_count_by_their_status),
	    TEST(test_endless_heads_are_cut_off),
	    TEST(test_answer_that_is_no_http_is_a_failure),
	    TEST(test_redirects_are_not_followed),
	    TEST(test_subscribe_that_finds_the_queue_full_is_dropped),
	    TEST(test_channel_whose_subscribe_was_not_taken_leaves_the_pairs_of_the_others_whole),
	    TEST(test_channel_whose_subscribe_never_left_is_the_only_one_that_is_not_told_to_leave),
	    TEST(test_unsubscribe_that_is_queued_behind_others_goes_with_its_subscribe),
	    TEST(test_chain_that_ends_without_an_unsubscribe_forgets_what_never_left),
	    TEST(test_chain_that_ends_while_under_way_still_sends_what_is_queued),
	    TEST(test_freeing_gives_up_what_is_under_way_and_queued),
	    TEST(test_freeing_while_the_server_refuses),
	    TEST(test_first_notice_that_is_not_answered_with_2xx_is_logged_with_its_likely_cause),
	    TEST(test_passwords_of_a_url_and_header_values_stay_out_of_the_log),
	    TEST(test_url_that_cannot_be_used_costs_only_a_warning),
	    TEST(test_names_that_do_not_resolve_are_a_failure),
	    TEST(test_slow_name_server_delays_nobody),
	};

	if (passthrough_global_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
