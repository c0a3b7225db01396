#include "relay/relay.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "base/table.h"
#include "passthrough/passthrough.h"
#include "passthrough/trouble.h"
#include "relay/config.h"
#include "relay/listener.h"
#include "relay/location.h"
#include "relay/request.h"
#include "relay/worker.h"
#include "store/store.h"

#include <errno.h>
#include <event2/event.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* Descriptors kept back from clients: the log, event loops, notices, listening. */
#define RESERVED_FDS 64

/* Signals that drain the relay. */
static const int drain_signals[] = {SIGTERM, SIGINT, SIGHUP};

struct signals {
	struct relay *relay;
	int fd; /* a signalfd; -1: none */
	struct event *event;
	struct event *deadline;
	bool draining;
};

static void
tell_all(struct relay *relay, enum note_kind kind)
{
	for (unsigned i = 0; i < relay->n_workers; i++) {
		struct mailbox *mailbox = relay->workers[i]->mailbox;
		struct note *note = malloc(sizeof(*note));

		if (note == NULL) {
			log_errorx("out of memory: ending at once");
			_exit(RELAY_EXIT_START);
		}
		note->kind = kind;
		mailbox_post(mailbox, note);
		mailbox_wake(mailbox);
	}
}

void
relay_worker_empty(struct relay *relay)
{
	if (atomic_fetch_sub(&relay->workers_in_use, 1) == 1)
		tell_all(relay, NOTE_EMPTY);
}

void
relay_worker_drained(struct relay *relay)
{
	if (atomic_fetch_sub(&relay->draining_workers, 1) == 1)
		tell_all(relay, NOTE_STOP);
}

static void
on_drain_deadline(UNUSED evutil_socket_t fd, UNUSED short what, void *arg)
{
	struct signals *signals = arg;

	log_warnx("the drain takes too long: what is left is given up");
	tell_all(signals->relay, NOTE_STOP);
}

static void
on_drain_signal(evutil_socket_t fd, UNUSED short what, void *arg)
{
	const struct timeval deadline = {RELAY_DRAIN_MS / 1000, RELAY_DRAIN_MS % 1000 * 1000};
	struct signals *signals = arg;
	struct signalfd_siginfo info;

	if (read(fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (signals->draining)
		return; /* it ends within seconds anyway */
	signals->draining = true;
	log_info("%s: draining", strsignal((int)info.ssi_signo));
	evtimer_add(signals->deadline, &deadline);
	tell_all(signals->relay, NOTE_DRAIN);
}

/*
 * From here on they are read from a descriptor by the first worker: no code ever runs in
 * the middle of other code. They are blocked in every thread, and stay so: one more of
 * them, to a process that ends, would be its death.
 */
static int
signals_init(struct signals *signals, struct relay *relay)
{
	struct event_base *base = relay->workers[0]->base;
	sigset_t set;

	signals->relay = relay;
	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_LEN(drain_signals); i++) {
		sigaddset(&set, drain_signals[i]);
		/* One that whoever started us ignores would never be read: a shell does
		 * so with SIGINT for what runs in its background. */
		signal(drain_signals[i], SIG_DFL);
	}
	signals->deadline = evtimer_new(base, on_drain_deadline, signals);
	if (signals->deadline == NULL || pthread_sigmask(SIG_BLOCK, &set, NULL) != 0)
		return -1;
	signals->fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (signals->fd < 0)
		return -1;
	signals->event =
	    event_new(base, signals->fd, EV_READ | EV_PERSIST, on_drain_signal, signals);
	return signals->event == NULL ? -1 : event_add(signals->event, NULL);
}

static void
signals_reset(struct signals *signals)
{
	if (signals->event != NULL)
		event_free(signals->event);
	if (signals->fd >= 0)
		close(signals->fd);
	if (signals->deadline != NULL)
		event_free(signals->deadline);
}

/* As many descriptors as we may have; returns how many. */
static rlim_t
raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 1024;
	if (limit.rlim_cur < limit.rlim_max) {
		struct rlimit raised = {limit.rlim_max, limit.rlim_max};

		if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
			return raised.rlim_cur;
		log_warn("cannot raise the limit of descriptors from %llu",
		    (unsigned long long)limit.rlim_cur);
	}
	return limit.rlim_cur;
}

static void
limit_connections(struct relay *relay)
{
	const rlim_t fds = raise_descriptor_limit();
	const unsigned wanted = relay->config->limits.connections;
	unsigned all = fds > INT32_MAX ? INT32_MAX : (unsigned)fds;

	/* Half for clients at least, where there are very few. */
	all = all > 2 * RESERVED_FDS ? all - RESERVED_FDS : all / 2;
	if (wanted > all)
		log_warnx("limits.connections is %u, but the limit of descriptors allows %u",
		    wanted, all);
	relay->max_conns = wanted > 0 && wanted < all ? wanted : all;
}

static int
open_stores(struct relay *relay)
{
	const struct config *config = relay->config;

	relay->stores = calloc(config->n_stores, sizeof(*relay->stores));
	if (relay->stores == NULL)
		return -1;
	for (size_t i = 0; i < config->n_stores; i++) {
		const struct config_store *s = &config->stores[i];
		const struct retention retention = {
		    .min_messages = s->min_messages,
		    .max_messages = s->max_messages,
		    .age_ms = s->message_timeout_ms,
		    .channel_ms = s->channel_timeout_ms,
		    .max_memory = s->max_memory,
		};

		relay->stores[i] = store_open(s->type, (unsigned)i, &retention);
		if (relay->stores[i] == NULL)
			return -1;
		relay->n_stores++;
	}
	return 0;
}

static int
make_workers(struct relay *relay)
{
	const unsigned n = relay->config->workers;

	relay->workers = calloc(n, sizeof(struct worker *));
	if (relay->workers == NULL)
		return -1;
	relay->n_workers = n;
	atomic_init(&relay->workers_in_use, n);
	atomic_init(&relay->draining_workers, n);
	for (unsigned i = 0; i < n; i++) {
		relay->workers[i] = worker_new(relay, i);
		if (relay->workers[i] == NULL)
			return -1;
	}
	return 0;
}

static int
listen_all(struct relay *relay, const struct bound *bound, unsigned n_bound)
{
	for (unsigned i = relay->n_workers; i-- > 0;) {
		/* The first worker last: it logs that we are ready. */
		relay->workers[i]->listener = listener_new(relay->workers[i], bound, n_bound);
		if (relay->workers[i]->listener == NULL)
			return -1;
	}
	return 0;
}

static void *
run_worker(void *arg)
{
	worker_run(arg);
	return NULL;
}

/* Runs all workers, the first in this thread, until they stop. */
static int
run_workers(struct relay *relay)
{
	const unsigned n = relay->n_workers;
	pthread_t *threads = calloc(n, sizeof(*threads));
	unsigned started = 1;
	int error = 0;

	if (threads == NULL)
		return -1;
	for (; started < n; started++) {
		error =
		    pthread_create(&threads[started], NULL, run_worker, relay->workers[started]);
		if (error != 0)
			break;
	}
	if (error == 0) {
		worker_run(relay->workers[0]);
	} else {
		errno = error;
		log_error("cannot start worker %u", started);
		tell_all(relay, NOTE_STOP);
	}
	for (unsigned i = 1; i < started; i++)
		pthread_join(threads[i], NULL);
	free(threads);
	return error == 0 ? 0 : -1;
}

static void
relay_reset(struct relay *relay)
{
	uint64_t failed = 0;

	for (unsigned i = 0; i < relay->n_workers; i++) {
		struct worker *w = relay->workers[i];

		if (w != NULL && w->passthrough != NULL)
			failed += passthrough_pending(w->passthrough);
	}
	if (failed > 0)
		log_warnx("%llu notices were not sent", (unsigned long long)failed);
	for (unsigned i = 0; i < relay->n_workers; i++)
		if (relay->workers[i] != NULL)
			worker_close(relay->workers[i]);
	/* Workers unwatch the stores' channels, so these end last. */
	for (unsigned i = 0; i < relay->n_workers; i++)
		worker_free(relay->workers[i]);
	for (unsigned i = 0; i < relay->n_stores; i++)
		store_close(relay->stores[i]);
	troubles_free(relay->troubles);
	free(relay->workers);
	free(relay->stores);
	free(relay->counters);
}

/* The location as the log names it. */
static const char *
location_name(const struct location *loc)
{
	return loc->url != NULL ? loc->url : loc->prefix;
}

static void
log_count(const struct location *loc, _Atomic uint64_t *count, const char *what)
{
	const uint64_t n = atomic_load(count);

	if (n > 0)
		log_info("location at line %u (%s): %llu %s", loc->line, location_name(loc),
		    (unsigned long long)n, what);
}

static void
log_counters(const struct relay *relay)
{
	for (size_t i = 0; i < relay->config->n_locations; i++) {
		const struct location *loc = &relay->config->locations[i];
		struct location_counters *c = &relay->counters[i];

		log_count(loc, &c->foreign_origins, "requests from origins that are not allowed");
		log_count(loc, &c->slow_gaps, "gaps of streams that were too slow");
		log_count(loc, &c->slow_closes, "streams ended because they were too slow");
	}
}

static void
on_libevent_says(int severity, const char *text)
{
	if (severity >= EVENT_LOG_ERR)
		log_errorx("libevent: %s", text);
	else if (severity == EVENT_LOG_WARN)
		log_warnx("libevent: %s", text);
}

/* It has said why. By itself it would exit with 1, which is a mistake in the configuration. */
static void
on_libevent_gives_up(int status UNUSED)
{
	_exit(RELAY_EXIT_START);
}

enum relay_exit
relay_run(struct config *config)
{
	struct relay relay = {.config = config};
	struct bound *bound = calloc(config->n_listens, sizeof(*bound));
	struct signals signals = {.fd = -1};
	enum relay_exit status = RELAY_EXIT_START;
	unsigned n_bound = 0;

	signal(SIGPIPE, SIG_IGN);
	/*
	 * One heap for all threads. With one each, what a worker stored and another dropped
	 * stays with the first: the store would take max_memory as many times as there are
	 * workers, when publishers move.
	 */
	mallopt(M_ARENA_MAX, 1);
	event_set_log_callback(on_libevent_says);
	event_set_fatal_callback(on_libevent_gives_up);
	relay.started_ms = clock_ms();
	relay.counters = calloc(config->n_locations, sizeof(*relay.counters));
	relay.troubles = troubles_new();
	if (bound == NULL || relay.counters == NULL || relay.troubles == NULL) {
		log_error("cannot start");
		goto out;
	}
	request_global_init();
	if (table_seed() < 0 || passthrough_global_init() < 0) {
		log_error("cannot start");
		goto out;
	}
	for (; n_bound < config->n_listens; n_bound++) {
		if (listener_bind(&config->listens[n_bound], &bound[n_bound]) < 0) {
			status = RELAY_EXIT_BIND;
			goto out;
		}
	}
	if (open_stores(&relay) < 0 || make_workers(&relay) < 0)
		goto out;
	limit_connections(&relay);
	if (signals_init(&signals, &relay) < 0) {
		log_error("cannot catch signals");
		goto out;
	}
	if (listen_all(&relay, bound, n_bound) < 0) {
		status = RELAY_EXIT_BIND;
		goto out;
	}
	if (run_workers(&relay) == 0) {
		status = RELAY_EXIT_OK;
		log_counters(&relay);
		log_info("ended");
	}
out:
	signals_reset(&signals);
	relay_reset(&relay);
	while (n_bound-- > 0)
		listener_unbind(&bound[n_bound]);
	free(bound);
	return status;
}

void
relay_slow(struct relay *relay, const struct location *loc)
{
	struct location_counters *c = &relay->counters[loc->index];

	atomic_fetch_add_explicit(loc->on_slow == ON_SLOW_CLOSE ? &c->slow_closes : &c->slow_gaps,
	    1, memory_order_relaxed);
}

void
relay_foreign_origin(
    struct relay *relay, const struct location *loc, const char *origin, size_t len)
{
	const uint64_t before = atomic_fetch_add_explicit(
	    &relay->counters[loc->index].foreign_origins, 1, memory_order_relaxed);

	if (before > 0)
		return;
	log_warnx("location at line %u (%s): origin %.*s is not allowed, allow_origin is %s; "
		  "further ones are counted",
	    loc->line, location_name(loc), (int)len, origin,
	    loc->cors.n_origins == 0 ? "not set" : loc->cors.origins[0]);
}
