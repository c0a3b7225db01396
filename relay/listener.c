#include "relay/listener.h"

#include "base/log.h"
#include "relay/config.h"
#include "relay/conn.h"
#include "relay/relay.h"
#include "relay/worker.h"

#include <errno.h>
#include <event2/event.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 4096
/* A paused listener looks again after this, if no connection of its own has ended. */
#define PAUSE_MS 1000
/* Dead peers are found by TCP where a poll may be held for ever: probes after a minute,
 * and given up, like data that is not acknowledged, after two. */
#define KEEPALIVE_IDLE_S     60
#define KEEPALIVE_INTERVAL_S 15
#define KEEPALIVE_PROBES     4
#define USER_TIMEOUT_MS      120000

struct socket {
	struct listener *listener;
	struct event *event;
	int fd;
	bool owned; /* closed with the listener */
};

struct listener {
	struct worker *worker;
	struct event *pause_timer;
	bool paused;
	bool warned; /* of this pause */
	unsigned n_sockets;
	struct socket sockets[];
};

static int
set_option(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value));
}

/* A bound socket, not listening yet; -1 with errno. */
static int
bind_to(const struct sockaddr *addr, socklen_t addr_len, bool reuse_port)
{
	int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), error;

	if (fd < 0)
		return -1;
	if (addr->sa_family != AF_UNIX) {
		/* Past connections in TIME_WAIT do not keep the port. */
		if (set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) < 0)
			goto err;
		if (reuse_port && set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1) < 0)
			goto err;
	}
	if (addr->sa_family == AF_INET6 && set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1) < 0)
		goto err;
	if (bind(fd, addr, addr_len) < 0)
		goto err;
	return fd;
err:
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

/* A Unix socket's file outlives a relay that was killed: it is removed if nobody
 * listens there. */
static void
remove_stale(const struct sockaddr *addr, socklen_t addr_len)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)(const void *)addr;
	struct stat st;
	int fd;

	/* connect() refuses a plain file just as a stale socket. */
	if (lstat(un->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (connect(fd, addr, addr_len) < 0 && errno == ECONNREFUSED)
		unlink(un->sun_path);
	close(fd);
}

static uint16_t *
port_of(struct sockaddr_storage *addr)
{
	if (addr->ss_family == AF_INET6)
		return &((struct sockaddr_in6 *)(void *)addr)->sin6_port;
	return &((struct sockaddr_in *)(void *)addr)->sin_port;
}

/* The address as the log shows it, with the port that the kernel chose for 0. */
static void
log_listening(const struct bound *b)
{
	const char *text = b->listen->text;
	const char *colon = strrchr(text, ':');

	if (b->addr.ss_family == AF_UNIX || colon == NULL)
		log_info("listening on %s", text);
	else
		log_info("listening on %.*s:%u", (int)(colon - text), text,
		    ntohs(*port_of((struct sockaddr_storage *)&b->addr)));
}

int
listener_bind(const struct config_listen *listen_at, struct bound *b)
{
	const struct sockaddr *addr = (const struct sockaddr *)&listen_at->addr;
	int fd;

	*b = (struct bound){.listen = listen_at, .addr_len = listen_at->addr_len, .fd = -1};
	memcpy(&b->addr, &listen_at->addr, sizeof(b->addr));
	if (addr->sa_family == AF_UNIX)
		remove_stale(addr, listen_at->addr_len);
	fd = bind_to(addr, listen_at->addr_len, false);
	if (fd < 0) {
		if (listen_at->optional && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL)) {
			b->addr_len = 0;
			return 0;
		}
		if (errno == EADDRINUSE)
			log_errorx("cannot listen on %s: another process serves it already",
			    listen_at->text);
		else
			log_error("cannot listen on %s", listen_at->text);
		return -1;
	}
	/* Binding alone is not refused by a socket that has SO_REUSEPORT off but listens:
	 * listening as well makes sure that it is ours. */
	if (listen(fd, BACKLOG) < 0) {
		if (errno == EADDRINUSE)
			log_errorx("cannot listen on %s: another process serves it already",
			    listen_at->text);
		else
			log_error("cannot listen on %s", listen_at->text);
		close(fd);
		return -1;
	}
	if (addr->sa_family == AF_UNIX) {
		b->fd = fd;
		return 0;
	}
	if (getsockname(fd, (struct sockaddr *)&b->addr, &b->addr_len) < 0) {
		log_error("cannot listen on %s", listen_at->text);
		close(fd);
		return -1;
	}
	/* The workers bind it for themselves, each with SO_REUSEPORT. */
	close(fd);
	return 0;
}

void
listener_unbind(struct bound *b)
{
	if (b->fd < 0)
		return;
	unlink(((struct sockaddr_un *)&b->addr)->sun_path);
	close(b->fd);
	b->fd = -1;
}

static void
pause_accepting(struct listener *l, const char *why)
{
	const struct timeval tv = {PAUSE_MS / 1000, PAUSE_MS % 1000 * 1000};

	if (!l->warned)
		log_warnx("%s: new connections wait until others end; there are %u", why,
		    atomic_load(&l->worker->relay->n_conns));
	l->warned = true;
	l->paused = true;
	/* In a drain those that were emptied before have none any more. */
	for (unsigned i = 0; i < l->n_sockets; i++)
		if (l->sockets[i].event != NULL)
			event_del(l->sockets[i].event);
	evtimer_add(l->pause_timer, &tv);
}

void
listener_resume(struct listener *l)
{
	if (l == NULL || !l->paused)
		return;
	l->paused = false;
	evtimer_del(l->pause_timer);
	for (unsigned i = 0; i < l->n_sockets; i++)
		event_add(l->sockets[i].event, NULL);
}

static void
on_pause_over(UNUSED evutil_socket_t fd, UNUSED short what, void *arg)
{
	listener_resume(arg);
}

/* Accepts one; false if there is nothing more to accept now. */
static bool
accept_one(struct socket *s)
{
	struct listener *l = s->listener;
	struct worker *w = l->worker;
	struct sockaddr_storage peer;
	socklen_t peer_len = sizeof(peer);
	int fd;

	if (atomic_load_explicit(&w->relay->n_conns, memory_order_relaxed) >= w->relay->max_conns) {
		pause_accepting(l, w->config->limits.connections > 0
				       ? "limits.connections is reached"
				       : "no descriptors are left for clients");
		return false;
	}
	fd = accept4(s->fd, (struct sockaddr *)&peer, &peer_len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd >= 0) {
		if (peer_len == 0)
			peer.ss_family = AF_UNIX;
		if (conn_new(w, fd, (struct sockaddr *)&peer) == NULL)
			log_errorx("out of memory: a connection was not accepted");
		return true;
	}
	switch (errno) {
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
		pause_accepting(
		    l, errno == EMFILE ? "no descriptors are left for clients" : strerror(errno));
		return false;
	case EAGAIN:
		/* Quiet: what was wrong is over. */
		l->warned = false;
		return false;
	case EINTR:
	case ECONNABORTED:
		return true;
	default:
		log_warn("cannot accept a connection");
		return false;
	}
}

/*
 * One connection per event, and one more for each eight events of connections in this
 * turn: an accept4() that finds nothing costs about 3 us, so the queue is not emptied
 * for its own sake, and a busy loop still keeps up.
 */
static void
on_accept(UNUSED evutil_socket_t fd, UNUSED short what, void *arg)
{
	struct socket *s = arg;
	unsigned n = 1 + s->listener->worker->events_in_turn / 8;

	while (n-- > 0 && accept_one(s))
		;
}

/* A socket of this worker's own, listening; -1, logged. */
static int
open_socket(const struct bound *b)
{
	int fd = bind_to((const struct sockaddr *)&b->addr, b->addr_len, true);

	if (fd < 0)
		goto err;
	/* What is set here, accepted sockets inherit. */
	set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	/* A byte out of band would end a recv() early, and no edge tell of the rest. */
	set_option(fd, SOL_SOCKET, SO_OOBINLINE, 1);
	set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
	set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
	set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
	set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS);
	if (listen(fd, BACKLOG) < 0)
		goto err;
	return fd;
err:
	log_error("cannot listen on %s", b->listen->text);
	if (fd >= 0)
		close(fd);
	return -1;
}

struct listener *
listener_new(struct worker *w, const struct bound *bound, unsigned n_bound)
{
	struct listener *l = calloc(1, sizeof(*l) + n_bound * sizeof(l->sockets[0]));

	if (l == NULL)
		return NULL;
	l->worker = w;
	l->pause_timer = evtimer_new(w->base, on_pause_over, l);
	if (l->pause_timer == NULL)
		goto err;
	for (unsigned i = 0; i < n_bound; i++) {
		struct socket *s = &l->sockets[l->n_sockets];

		if (bound[i].addr_len == 0)
			continue;
		s->listener = l;
		s->owned = bound[i].fd < 0;
		s->fd = s->owned ? open_socket(&bound[i]) : bound[i].fd;
		if (s->fd < 0)
			goto err;
		l->n_sockets++;
		s->event = event_new(w->base, s->fd, EV_READ | EV_PERSIST, on_accept, s);
		if (s->event == NULL || event_add(s->event, NULL) < 0)
			goto err;
		if (w->index == 0)
			log_listening(&bound[i]);
	}
	return l;
err:
	listener_free(l);
	return NULL;
}

void
listener_drain(struct listener *l)
{
	for (unsigned i = 0; i < l->n_sockets; i++) {
		struct socket *s = &l->sockets[i];

		/* Whoever is in the queue was told that it is connected. */
		while (s->fd >= 0 && !l->paused && accept_one(s))
			;
		if (s->event != NULL)
			event_free(s->event);
		s->event = NULL;
		if (s->owned && s->fd >= 0)
			close(s->fd);
		s->fd = -1;
	}
	l->n_sockets = 0;
	evtimer_del(l->pause_timer);
	l->paused = false;
}

void
listener_free(struct listener *l)
{
	if (l == NULL)
		return;
	for (unsigned i = 0; i < l->n_sockets; i++) {
		if (l->sockets[i].event != NULL)
			event_free(l->sockets[i].event);
		if (l->sockets[i].owned && l->sockets[i].fd >= 0)
			close(l->sockets[i].fd);
	}
	if (l->pause_timer != NULL)
		event_free(l->pause_timer);
	free(l);
}
