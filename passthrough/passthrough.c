#include "passthrough/passthrough.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "passthrough/curl_loop.h"
#include "passthrough/trouble.h"

#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * A notice waits in its chain; a chain whose turn it is waits in its server's ready
 * list; a server has a few slots, each an easy handle that carries the first notice
 * of one chain. So a chain has one transfer at a time, and the chains take turns:
 * one that has more goes to the end of the list. libcurl's own queue has no bound,
 * so it is never given more than there are slots.
 */

/* Of an answer, head and body, so much is read; then the connection is cut. */
#define ANSWER_MAX 16384

/* A server that refuses is tried again after so long, doubling. */
#define PROBE_FIRST_MS 100
#define PROBE_LAST_MS  1000

/* Passthrough URLs by string: there are as many as subscriber locations, at most. */
struct target {
	struct link link; /* in passthrough.targets */
	char *url;
	char *shown; /* without user and password, for the log */
	char *host;
	struct server *server; /* NULL: not a URL we can speak to */
	struct trouble *trouble;
};

/* One notice. It stays the first of its chain while it is under way. */
struct notice {
	struct notice *next;
	struct target *target;
	struct notice_headers *headers;
	uint64_t queued_ms;
	enum passthrough_event event;
	size_t channel_len; /* of body, what it begins with: "channel_id=…" */
	size_t body_len;
	char body[];
};

/* There is one for each connection, idle ones too: keep it small. */
struct notice_chain {
	struct link ready; /* in server.ready: there is a notice, and none under way */
	struct passthrough *p;
	struct notice *first, **end; /* end: the last one's next, or first */
	struct notice *untold; /* subscribes that never left: their unsubscribes are left out */
	void *owner;           /* is told when the last notice is gone; NULL: nobody */
	bool ended;            /* freed when the last notice is gone */
};

/* One easy handle; chain tells whether it is in use. */
struct slot {
	struct server *server;
	CURL *easy; /* made when first used, reset for each notice */
	struct notice_chain *chain;
	struct curl_slist *lines;
	size_t answer_len;
	int local_port; /* of the connection in use */
	bool probe;     /* the server was refusing when it began */
	bool sent;      /* a request went out: it may have arrived */
	bool unread;    /* but the server's kernel said that nobody had read it */
	char error[CURL_ERROR_SIZE];
};

/* Scheme, host and port. */
struct server {
	struct link link; /* in passthrough.servers */
	struct passthrough *p;
	char *key;
	struct link ready; /* chains whose first notice is for this server, in turn */
	unsigned in_flight;
	bool refusing;
	bool probe_due; /* refusing, and it is time for another try */
	uint64_t refusing_since_ms;
	uint32_t probe_ms; /* the wait before that try */
	struct event *probe;
	struct slot slots[]; /* limits.connections */
};

struct passthrough {
	struct event_base *base;
	struct passthrough_limits limits;
	struct troubles *troubles;
	struct curl_loop *loop;
	struct link servers, targets;
	unsigned n_servers;
	size_t pending;    /* notices queued or under way */
	size_t subscribes; /* of these, subscribes */
	size_t sending;    /* of the subscribes, those under way */
	size_t chains;     /* not yet freed */
	bool draining;
	notice_chain_idle_fn *idle;
	void *idle_arg;
	struct passthrough_counters counters;
};

int
passthrough_global_init(void)
{
	const curl_version_info_data *info;

	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
		log_errorx("libcurl cannot be initialised");
		return -1;
	}
	info = curl_version_info(CURLVERSION_NOW);
	if ((info->features & CURL_VERSION_ASYNCHDNS) == 0)
		log_warnx("this libcurl resolves names in the calling thread: a slow name server "
			  "will delay subscribers; give passthrough URLs by address");
	/* CURLOPT_NOSIGNAL leaves to us what a TLS connection's write to a closed socket does. */
	signal(SIGPIPE, SIG_IGN);
	return 0;
}

/* --- headers --- */

struct notice_headers *
notice_headers_new(const char *lines, size_t len)
{
	struct notice_headers *h;

	assert(len > 0 && lines[len - 1] == '\0');
	h = malloc(sizeof(*h) + len);
	if (h == NULL)
		return NULL;
	atomic_init(&h->refs, 1);
	memcpy(h->lines, lines, len);
	return h;
}

struct notice_headers *
notice_headers_ref(struct notice_headers *h)
{
	atomic_fetch_add_explicit(&h->refs, 1, memory_order_relaxed);
	return h;
}

void
notice_headers_unref(struct notice_headers *h)
{
	if (h != NULL && atomic_fetch_sub_explicit(&h->refs, 1, memory_order_acq_rel) == 1)
		free(h);
}

/* Appends a copy of line. False when out of memory, with *list as it was. */
static bool
add_line(struct curl_slist **list, const char *line)
{
	struct curl_slist *longer = curl_slist_append(*list, line);

	if (longer == NULL)
		return false;
	*list = longer;
	return true;
}

/* "Name:" would tell libcurl to leave Name out; with an empty value it goes "Name;". */
static bool
add_header(struct curl_slist **list, const char *line)
{
	const char *colon = strchr(line, ':');
	char *empty;
	bool added;

	if (colon == NULL || colon[1 + strspn(colon + 1, " \t\v\f")] != '\0')
		return add_line(list, line);
	empty = strndup(line, (size_t)(colon - line) + 1);
	if (empty == NULL)
		return false;
	empty[colon - line] = ';';
	added = add_line(list, empty);
	free(empty);
	return added;
}

/* Returns new (curl_slist_free_all), or NULL when out of memory. */
static struct curl_slist *
header_list(const struct notice_headers *h)
{
	struct curl_slist *list = NULL;

	/* What libcurl would add by itself; where the subscriber sent one, that one goes. */
	if (!add_line(&list, "Accept:") || !add_line(&list, "Expect:"))
		goto err;
	if (h != NULL)
		for (const char *line = h->lines; *line != '\0'; line += strlen(line) + 1)
			if (!add_header(&list, line))
				goto err;
	return list;

err:
	curl_slist_free_all(list);
	return NULL;
}

/* --- notices and chains --- */

/* Form encoding, as Python's quote_plus has it. Returns the bytes written. */
static size_t
form_encode(char *out, const unsigned char *bytes, size_t len)
{
	static const char hex[] = "0123456789ABCDEF";
	char *o = out;

	for (size_t i = 0; i < len; i++) {
		unsigned char c = bytes[i];

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		    (c != '\0' && strchr("-._~", c) != NULL)) {
			*o++ = (char)c;
		} else if (c == ' ') {
			*o++ = '+';
		} else {
			*o++ = '%';
			*o++ = hex[c >> 4];
			*o++ = hex[c & 15];
		}
	}
	return (size_t)(o - out);
}

/* Returns new (notice_free), or NULL when out of memory. */
static struct notice *
notice_new(enum passthrough_event event, struct target *target, const void *id, size_t id_len,
    struct notice_headers *headers)
{
	static const char start[] = "channel_id=";
	const char *end = event == PASSTHROUGH_SUBSCRIBE ? "&subscribe=1" : "&unsubscribe=1";
	size_t end_len = strlen(end), len = sizeof(start) - 1;
	struct notice *n, *smaller;

	n = malloc(sizeof(*n) + len + 3 * id_len + end_len);
	if (n == NULL)
		return NULL;
	memcpy(n->body, start, len);
	len += form_encode(n->body + len, id, id_len);
	n->channel_len = len;
	memcpy(n->body + len, end, end_len);
	n->body_len = len + end_len;
	smaller = realloc(n, sizeof(*n) + n->body_len);
	if (smaller != NULL)
		n = smaller;
	n->next = NULL;
	n->target = target;
	n->headers = headers != NULL ? notice_headers_ref(headers) : NULL;
	n->queued_ms = clock_ms();
	n->event = event;
	return n;
}

static void
notice_free(struct notice *n)
{
	notice_headers_unref(n->headers);
	free(n);
}

struct notice_chain *
notice_chain_new(struct passthrough *p)
{
	struct notice_chain *chain = calloc(1, sizeof(*chain));

	if (chain == NULL)
		return NULL;
	chain->p = p;
	chain->end = &chain->first;
	p->chains++;
	return chain;
}

/* Takes the notice that *at points to out of its list. */
static struct notice *
take(struct notice **at)
{
	struct notice *n = *at;

	*at = n->next;
	n->next = NULL;
	return n;
}

static void
chain_free(struct notice_chain *chain)
{
	while (chain->untold != NULL)
		notice_free(take(&chain->untold));
	chain->p->chains--;
	free(chain);
}

void
notice_chain_end(struct notice_chain *chain)
{
	if (chain == NULL)
		return;
	chain->owner = NULL;
	if (chain->first == NULL)
		chain_free(chain);
	else
		chain->ended = true;
}

void
notice_chain_set_owner(struct notice_chain *chain, void *owner)
{
	chain->owner = owner;
}

bool
notice_chain_idle(const struct notice_chain *chain)
{
	return chain->first == NULL;
}

bool
notice_chain_untold(const struct notice_chain *chain)
{
	return chain->untold != NULL;
}

/* Takes one out of the queue. */
static struct notice *
chain_take(struct notice_chain *chain, struct notice **at)
{
	struct notice *n = *at;

	if (chain->end == &n->next)
		chain->end = at;
	take(at);
	chain->p->pending--;
	if (n->event == PASSTHROUGH_SUBSCRIBE)
		chain->p->subscribes--;
	return n;
}

/* The first notice is answered or given up: away with it. */
static void
chain_pop(struct notice_chain *chain)
{
	notice_free(chain_take(chain, &chain->first));
}

/* Where in the list the first notice of n's channel and URL is, or where the list ends. */
static struct notice **
find_same(struct notice **list, const struct notice *n)
{
	for (; *list != NULL; list = &(*list)->next)
		if ((*list)->target == n->target && (*list)->channel_len == n->channel_len &&
		    memcmp((*list)->body, n->body, n->channel_len) == 0)
			break;
	return list;
}

/*
 * A subscribe, which is the caller's no more, never left. Its unsubscribe is the next of
 * its channel: it may be queued already.
 */
static void
chain_forgo(struct notice_chain *chain, struct notice *n)
{
	struct notice **at = find_same(&chain->first, n);

	if (*at != NULL) {
		chain->p->counters.dropped++;
		notice_free(chain_take(chain, at));
		notice_free(n);
		return;
	}
	notice_headers_unref(n->headers);
	n->headers = NULL;
	n->next = chain->untold;
	chain->untold = n;
}

/* The first notice waits for a slot of its server. */
static void
chain_ready(struct notice_chain *chain, bool in_front)
{
	struct server *s = chain->first->target->server;

	if (in_front)
		list_prepend(&s->ready, &chain->ready);
	else
		list_append(&s->ready, &chain->ready);
}

/*
 * Goes on when the first notice is gone: the next takes its turn, or the chain ends.
 * Callers see to it that servers_pump() follows.
 */
static void
chain_advance(struct notice_chain *chain)
{
	if (chain->first != NULL)
		chain_ready(chain, false);
	else if (chain->ended)
		chain_free(chain);
	else if (chain->owner != NULL)
		chain->p->idle(chain->p->idle_arg, chain->owner);
}

/* Gives up the first notice, which is not under way; sent: it may have arrived all the same. */
static void
chain_fail(struct notice_chain *chain, bool sent)
{
	struct notice *n = chain_take(chain, &chain->first);

	chain->p->counters.failed++;
	if (!sent && n->event == PASSTHROUGH_SUBSCRIBE)
		chain_forgo(chain, n);
	else
		notice_free(n);
	chain_advance(chain);
}

/* --- a transfer --- */

/*
 * libcurl sends a request again by itself when a kept connection ends before a byte of
 * the answer came. That is wanted where the server had closed the connection while it
 * was idle. But a server that took the request and died of it would be told twice, up
 * to five times in a row: on_close_socket() sees which of both it was, and
 * on_request() forbids the second.
 */
static int
on_request(void *arg, char *remote_ip UNUSED, char *local_ip UNUSED, int remote_port UNUSED,
    int local_port)
{
	struct slot *slot = arg;

	if (slot->sent && !slot->unread)
		return CURL_PREREQFUNC_ABORT;
	slot->sent = true;
	slot->unread = false;
	slot->local_port = local_port;
	return CURL_PREREQFUNC_OK;
}

/* 0 if it cannot be told. */
static int
local_port_of(int fd)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} addr = {0};
	socklen_t len = sizeof(addr);

	if (getsockname(fd, &addr.any, &len) < 0)
		return 0;
	return ntohs(addr.any.sa_family == AF_INET6 ? addr.v6.sin6_port : addr.v4.sin_port);
}

/*
 * Whether what was sent last on a connection that the server has ended reached no one:
 * the kernel over there did not even acknowledge it, or it sent a reset, as it does for
 * data that come after a close or were unread at the close. A server that had read all
 * sends a FIN that acknowledges all. (With TLS our own close_notify may be what is not
 * acknowledged; there libcurl sends again in more cases than it should.)
 */
static bool
went_unread(int fd)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
		return false;
	return info.tcpi_state == TCP_CLOSE ||
	       (info.tcpi_state != TCP_ESTABLISHED && info.tcpi_unacked > 0);
}

/*
 * CURLOPT_CLOSESOCKETFUNCTION. Connections of one server are used by all of its slots,
 * and libcurl does not say by which; the local port does.
 */
static int
on_close_socket(void *arg, curl_socket_t fd)
{
	struct server *s = arg;
	int port = local_port_of(fd);

	for (unsigned i = 0; port != 0 && i < s->p->limits.connections; i++) {
		struct slot *slot = &s->slots[i];

		if (slot->chain != NULL && slot->sent && slot->local_port == port)
			slot->unread = went_unread(fd);
	}
	return close(fd);
}

/* Head and body alike: nobody reads them, and no one shall send us without end. */
static size_t
on_answer(char *data UNUSED, size_t size, size_t n, void *arg)
{
	struct slot *slot = arg;

	slot->answer_len += size * n;
	return slot->answer_len > ANSWER_MAX ? 0 : size * n;
}

/* Any option of the easy handle at hand; err is where there is no memory for it. */
#define SET(option, value)                                             \
	do {                                                           \
		if (curl_easy_setopt(easy, option, value) != CURLE_OK) \
			goto err;                                      \
	} while (0)

/* What is the same for all notices. 0, or -1 when out of memory. */
static int
slot_set_up(struct slot *slot, CURL *easy)
{
	const struct passthrough_limits *limits = &slot->server->p->limits;

	SET(CURLOPT_PRIVATE, slot);
	SET(CURLOPT_ERRORBUFFER, slot->error);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_PROXY, ""); /* not NULL: that would ask the environment */
	SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_POST, 1L);
	SET(CURLOPT_TIMEOUT_MS, (long)limits->timeout_ms);
	SET(CURLOPT_CONNECTTIMEOUT_MS, (long)limits->timeout_ms);
	/* Or a time-out would wait for the thread that is still resolving a name. */
	SET(CURLOPT_QUICK_EXIT, 1L);
	SET(CURLOPT_HEADERFUNCTION, on_answer);
	SET(CURLOPT_HEADERDATA, slot);
	SET(CURLOPT_WRITEFUNCTION, on_answer);
	SET(CURLOPT_WRITEDATA, slot);
	SET(CURLOPT_PREREQFUNCTION, on_request);
	SET(CURLOPT_PREREQDATA, slot);
	SET(CURLOPT_CLOSESOCKETFUNCTION, on_close_socket);
	SET(CURLOPT_CLOSESOCKETDATA, slot->server);
	return 0;

err:
	return -1;
}

/* Sends the chain's first notice. 0, or -1 when out of memory. */
static int
slot_start(struct slot *slot, struct notice_chain *chain)
{
	const struct notice *n = chain->first;
	struct server *s = slot->server;
	CURL *easy = slot->easy;

	/*
	 * The reset is for a count that libcurl keeps with the handle: in all its life it
	 * sends no more than five requests again that a closed connection did not take.
	 */
	if (easy != NULL)
		curl_easy_reset(easy);
	else
		easy = slot->easy = curl_easy_init();
	if (easy == NULL)
		return -1;
	slot->lines = header_list(n->headers);
	if (slot->lines == NULL || slot_set_up(slot, easy) < 0)
		goto err;
	/* The body stays where it is, so that libcurl can send it again. */
	SET(CURLOPT_URL, n->target->url);
	SET(CURLOPT_HTTPHEADER, slot->lines);
	SET(CURLOPT_POSTFIELDSIZE, (long)n->body_len);
	SET(CURLOPT_POSTFIELDS, &n->body[0]);
	slot->error[0] = '\0';
	slot->answer_len = 0;
	slot->local_port = 0;
	slot->sent = slot->unread = false;
	slot->probe = s->refusing;
	if (curl_loop_add(s->p->loop, easy) < 0)
		goto err;
	slot->chain = chain;
	s->in_flight++;
	if (n->event == PASSTHROUGH_SUBSCRIBE)
		s->p->sending++;
	return 0;

err:
	curl_easy_reset(easy);
	curl_slist_free_all(slot->lines);
	slot->lines = NULL;
	return -1;
}
#undef SET

/* The transfer is over. Returns the chain, which is on no list. */
static struct notice_chain *
slot_release(struct slot *slot)
{
	struct notice_chain *chain = slot->chain;

	curl_easy_setopt(slot->easy, CURLOPT_HTTPHEADER, NULL);
	curl_slist_free_all(slot->lines);
	slot->lines = NULL;
	slot->chain = NULL;
	slot->server->in_flight--;
	if (chain->first->event == PASSTHROUGH_SUBSCRIBE)
		slot->server->p->sending--;
	return chain;
}

/* --- servers --- */

/* How many transfers the server may have now. A drain has no time to wait for a probe. */
static unsigned
server_allowed(const struct server *s)
{
	if (!s->refusing || s->p->draining)
		return s->p->limits.connections;
	return s->probe_due ? 1 : 0;
}

static struct slot *
server_free_slot(struct server *s)
{
	struct slot *slot = s->slots;

	while (slot->chain != NULL)
		slot++;
	return slot;
}

static void
server_pump(struct server *s)
{
	while (!list_empty(&s->ready) && s->in_flight < server_allowed(s)) {
		struct notice_chain *chain =
		    CONTAINER_OF(s->ready.next, struct notice_chain, ready);

		list_remove(&chain->ready);
		if (slot_start(server_free_slot(s), chain) == 0)
			continue;
		trouble_failure(
		    chain->first->target->trouble, -CURLE_OUT_OF_MEMORY, "out of memory", 1);
		chain_fail(chain, false);
	}
}

/* All of them, for the next notice of a chain may be for another server. They are few. */
static void
servers_pump(struct passthrough *p)
{
	LIST_EACH (l, &p->servers)
		server_pump(CONTAINER_OF(l, struct server, link));
}

/*
 * Gives up what has waited for a refusing server for retry_ms. What waited for other
 * reasons before does not count: else a server that was slow, then down, would lose all
 * at once.
 */
static void
server_expire(struct server *s)
{
	const struct passthrough *p = s->p;
	uint64_t now = clock_ms();

	LIST_EACH_SAFE (l, &s->ready) {
		struct notice_chain *chain = CONTAINER_OF(l, struct notice_chain, ready);
		struct notice *n = chain->first;
		uint64_t since =
		    n->queued_ms > s->refusing_since_ms ? n->queued_ms : s->refusing_since_ms;

		if (now - since < p->limits.retry_ms)
			continue;
		list_remove(&chain->ready);
		trouble_failure(n->target->trouble, TROUBLE_REFUSED, "connection refused", 1);
		chain_fail(chain, false);
	}
}

/* Waits before the next try, but not past the moment when the first notices expire. */
static void
server_wait(struct server *s)
{
	uint64_t now = clock_ms(), until = s->refusing_since_ms + s->p->limits.retry_ms;
	uint64_t ms = s->probe_ms;
	struct timeval tv;

	if (until > now && until - now < ms)
		ms = until - now;
	tv.tv_sec = (time_t)(ms / 1000);
	tv.tv_usec = (suseconds_t)(ms % 1000 * 1000);
	s->probe_due = false;
	if (event_add(s->probe, &tv) < 0)
		s->probe_due = true; /* out of memory: the next notice tries */
}

static void
on_probe(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
	struct server *s = arg;

	s->probe_due = true;
	server_pump(s);
}

/* No one listens, as while Django reloads its code. The notice goes back to the front. */
static void
server_refused(struct server *s, struct notice_chain *chain, bool probe, const char *error)
{
	struct passthrough *p = s->p;
	struct trouble *trouble = chain->first->target->trouble;
	char words[CURL_ERROR_SIZE + 64];

	if (p->draining || p->limits.retry_ms == 0) {
		snprintf(words, sizeof(words), "connection refused: %s", error);
		trouble_failure(trouble, TROUBLE_REFUSED, words, 1);
		chain_fail(chain, false);
		return;
	}
	if (!s->refusing) {
		s->refusing = true;
		s->refusing_since_ms = clock_ms();
		s->probe_ms = PROBE_FIRST_MS;
		snprintf(words, sizeof(words),
		    "connection refused, notices are tried again for %g s: %s",
		    p->limits.retry_ms / 1000.0, error);
		trouble_failure(trouble, TROUBLE_REFUSED, words, 0);
	} else if (probe) {
		s->probe_ms = s->probe_ms * 2 < PROBE_LAST_MS ? s->probe_ms * 2 : PROBE_LAST_MS;
	}
	chain_ready(chain, true);
	server_expire(s);
	server_wait(s);
}

/* Someone listens. */
static void
server_accepts(struct server *s)
{
	s->refusing = s->probe_due = false;
	event_del(s->probe);
}

/* What became of a transfer. */
static void
on_done(void *arg, CURL *easy, CURLcode result)
{
	struct passthrough *p = arg;
	struct slot *slot;
	struct server *s;
	struct notice_chain *chain;
	struct trouble *trouble;
	const char *error, *relay = NULL;
	char *private;
	long status = 0, os_error = 0, connects = 0;

	curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private);
	slot = (struct slot *)(void *)private;
	s = slot->server;
	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &os_error);
	curl_easy_getinfo(easy, CURLINFO_NUM_CONNECTS, &connects);
	curl_easy_getinfo(easy, CURLINFO_LOCAL_IP, &relay);
	chain = slot_release(slot);
	trouble = chain->first->target->trouble;

	/* Our own abort, in on_request(). */
	if (result == CURLE_ABORTED_BY_CALLBACK)
		result = CURLE_GOT_NOTHING;
	error = slot->error[0] != '\0' && result != CURLE_GOT_NOTHING ? slot->error
								      : curl_easy_strerror(result);

	/* A status counts also where the rest was cut off or never came. */
	if (status >= 200) {
		p->counters.delivered++;
		if (status < 300) {
			trouble_over(trouble);
		} else {
			p->counters.refused++;
			trouble_status(trouble, status, relay != NULL ? relay : "");
		}
		server_accepts(s);
		chain_pop(chain);
		chain_advance(chain);
	} else if (result == CURLE_COULDNT_CONNECT && os_error == ECONNREFUSED && !slot->sent) {
		server_refused(s, chain, slot->probe, error);
	} else if (slot->unread && connects == 0) {
		/* It met nothing but closed connections: more of them than libcurl tries, or
		 * no new one could be made. Each time there are fewer. */
		chain_ready(chain, true);
	} else {
		trouble_failure(trouble, -(int)result, error, 1);
		server_accepts(s);
		chain_fail(chain, slot->sent);
	}
	servers_pump(p);
}

/* Returns the server of scheme, host and port, new or known, or NULL when out of memory. */
static struct server *
server_of(struct passthrough *p, const char *key)
{
	unsigned n = p->limits.connections;
	struct server *s;

	LIST_EACH (l, &p->servers) {
		s = CONTAINER_OF(l, struct server, link);
		if (strcmp(s->key, key) == 0)
			return s;
	}
	s = calloc(1, sizeof(*s) + n * sizeof(s->slots[0]));
	if (s == NULL)
		return NULL;
	s->p = p;
	s->key = strdup(key);
	s->probe = evtimer_new(p->base, on_probe, s);
	if (s->key == NULL || s->probe == NULL)
		goto err;
	list_init(&s->ready);
	for (unsigned i = 0; i < n; i++)
		s->slots[i].server = s;
	list_append(&p->servers, &s->link);
	p->n_servers++;
	curl_loop_set_kept(p->loop, (long)n * p->n_servers);
	return s;

err:
	if (s->probe != NULL)
		event_free(s->probe);
	free(s->key);
	free(s);
	return NULL;
}

static void
server_free(struct server *s)
{
	event_free(s->probe);
	free(s->key);
	free(s);
}

/* --- URLs --- */

static void
target_free(struct target *t)
{
	free(t->url);
	free(t->shown);
	free(t->host);
	free(t);
}

/* *part is a copy; the port is the scheme's where none is written. 0, or -1. */
static int
url_part(CURLU *u, CURLUPart what, char **part)
{
	unsigned flags = what == CURLUPART_PORT ? CURLU_DEFAULT_PORT : 0;
	char *text;

	if (curl_url_get(u, what, &text, flags) != CURLUE_OK)
		return -1;
	*part = strdup(text);
	curl_free(text);
	return *part != NULL ? 0 : -1;
}

/*
 * Takes the URL apart. 0 with server set, or -1: it is not a URL, or none of http or
 * https, which the configuration should have refused, or out of memory.
 */
static int
target_parse(struct passthrough *p, struct target *t)
{
	CURLU *u = curl_url();
	char *scheme = NULL, *port = NULL, *key = NULL;
	int rc = -1;

	if (u == NULL)
		return -1;
	if (curl_url_set(u, CURLUPART_URL, t->url, 0) != CURLUE_OK)
		goto out;
	if (url_part(u, CURLUPART_SCHEME, &scheme) < 0 ||
	    url_part(u, CURLUPART_HOST, &t->host) < 0 || url_part(u, CURLUPART_PORT, &port) < 0)
		goto out;
	if (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0)
		goto out;
	curl_url_set(u, CURLUPART_USER, NULL, 0);
	curl_url_set(u, CURLUPART_PASSWORD, NULL, 0);
	if (asprintf(&key, "%s://%s:%s", scheme, t->host, port) < 0) {
		key = NULL;
		goto out;
	}
	if (url_part(u, CURLUPART_URL, &t->shown) < 0)
		goto out;
	t->server = server_of(p, key);
	if (t->server != NULL)
		rc = 0;
out:
	free(scheme);
	free(port);
	free(key);
	curl_url_cleanup(u);
	return rc;
}

/* Returns the target of url, new or known, or NULL when out of memory. */
static struct target *
target_of(struct passthrough *p, const char *url)
{
	struct target *t;

	LIST_EACH (l, &p->targets) {
		t = CONTAINER_OF(l, struct target, link);
		if (strcmp(t->url, url) == 0)
			return t;
	}
	t = calloc(1, sizeof(*t));
	if (t == NULL)
		return NULL;
	t->url = strdup(url);
	if (t->url == NULL) {
		free(t);
		return NULL;
	}
	if (target_parse(p, t) < 0)
		t->server = NULL;
	/* What cannot be taken apart might show a password. */
	t->trouble = troubles_find(p->troubles, t->shown != NULL ? t->shown : "(URL not usable)",
	    t->host != NULL ? t->host : "");
	if (t->trouble == NULL) {
		target_free(t);
		return NULL;
	}
	list_append(&p->targets, &t->link);
	return t;
}

/* --- the whole --- */

struct passthrough *
passthrough_new(
    struct event_base *base, const struct passthrough_limits *limits, struct troubles *troubles)
{
	struct passthrough *p = calloc(1, sizeof(*p));

	if (p == NULL) {
		log_errorx("passthrough: out of memory");
		return NULL;
	}
	p->base = base;
	p->troubles = troubles;
	p->limits = *limits;
	if (p->limits.connections == 0)
		p->limits.connections = 1;
	list_init(&p->servers);
	list_init(&p->targets);
	p->loop = curl_loop_new(base, on_done, p);
	if (p->loop == NULL) {
		free(p);
		return NULL;
	}
	return p;
}

/* Gives up a chain that is on no list and not under way. */
static void
chain_abandon(struct notice_chain *chain)
{
	while (chain->first != NULL) {
		chain->p->counters.dropped++;
		chain_pop(chain);
	}
	if (chain->ended)
		chain_free(chain);
}

void
passthrough_free(struct passthrough *p)
{
	if (p == NULL)
		return;
	if (p->pending > 0)
		log_warnx("passthrough: %zu notices given up at the end", p->pending);
	LIST_EACH (l, &p->servers) {
		struct server *s = CONTAINER_OF(l, struct server, link);

		for (unsigned i = 0; i < p->limits.connections; i++) {
			struct slot *slot = &s->slots[i];

			if (slot->chain != NULL) {
				curl_loop_remove(p->loop, slot->easy);
				chain_abandon(slot_release(slot));
			}
			curl_easy_cleanup(slot->easy);
			slot->easy = NULL;
		}
		LIST_EACH_SAFE (r, &s->ready) {
			struct notice_chain *chain = CONTAINER_OF(r, struct notice_chain, ready);

			list_remove(&chain->ready);
			chain_abandon(chain);
		}
	}
	assert(p->pending == 0 && p->chains == 0);
	/* Before the servers: on_close_socket() still gets them. */
	curl_loop_free(p->loop);
	LIST_EACH_SAFE (l, &p->servers)
		server_free(CONTAINER_OF(l, struct server, link));
	LIST_EACH_SAFE (l, &p->targets)
		target_free(CONTAINER_OF(l, struct target, link));
	free(p);
}

bool
passthrough_notify(struct notice_chain *chain, enum passthrough_event event, const char *url,
    const void *id, size_t id_len, struct notice_headers *headers)
{
	struct passthrough *p = chain->p;
	struct target *target = target_of(p, url);
	struct notice *n, **untold;

	if (target == NULL)
		goto drop;
	if (target->server == NULL) {
		trouble_failure(target->trouble, -CURLE_URL_MALFORMAT,
		    "notices cannot be sent: not a URL of http or https", 1);
		goto drop;
	}
	if (event == PASSTHROUGH_SUBSCRIBE && p->subscribes - p->sending >= p->limits.notices) {
		trouble_failure(target->trouble, TROUBLE_QUEUE_FULL,
		    "notices are given up unsent: too many are waiting", 1);
		goto drop;
	}
	n = notice_new(event, target, id, id_len, headers);
	if (n == NULL) {
		trouble_failure(target->trouble, -CURLE_OUT_OF_MEMORY, "out of memory", 1);
		goto drop;
	}
	untold = find_same(&chain->untold, n);
	if (*untold != NULL) {
		notice_free(take(untold));
		if (event == PASSTHROUGH_UNSUBSCRIBE) {
			notice_free(n);
			goto drop;
		}
	}
	p->pending++;
	if (event == PASSTHROUGH_SUBSCRIBE)
		p->subscribes++;
	*chain->end = n;
	chain->end = &n->next;
	if (chain->first == n) {
		chain_ready(chain, false);
		server_pump(target->server);
	}
	return true;

drop:
	p->counters.dropped++;
	return false;
}

void
passthrough_on_idle(struct passthrough *p, notice_chain_idle_fn *idle, void *arg)
{
	p->idle = idle;
	p->idle_arg = arg;
}

void
passthrough_drain(struct passthrough *p)
{
	p->draining = true;
	servers_pump(p);
}

bool
passthrough_idle(const struct passthrough *p)
{
	return p->pending == 0;
}

size_t
passthrough_pending(const struct passthrough *p)
{
	return p->pending;
}

const struct passthrough_counters *
passthrough_counters(const struct passthrough *p)
{
	return &p->counters;
}
