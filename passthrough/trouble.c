#include "passthrough/trouble.h"

#include "base/clock.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Signed, as a worker's clock may be a turn of the loop behind another's. */
#define MINUTE_MS INT64_C(60000)

struct troubles {
	pthread_mutex_t lock;
	struct trouble *first; /* they stay until the end, so what was found may be kept */
};

struct troubles *
troubles_new(void)
{
	struct troubles *all = calloc(1, sizeof(*all));

	if (all != NULL)
		pthread_mutex_init(&all->lock, NULL);
	return all;
}

static void
trouble_free(struct trouble *t)
{
	pthread_mutex_destroy(&t->lock);
	free((char *)t->url);
	free((char *)t->host);
	free(t);
}

void
troubles_free(struct troubles *all)
{
	struct trouble *t, *next;

	if (all == NULL)
		return;
	for (t = all->first; t != NULL; t = next) {
		next = t->next;
		trouble_free(t);
	}
	pthread_mutex_destroy(&all->lock);
	free(all);
}

static struct trouble *
trouble_new(const char *url, const char *host)
{
	struct trouble *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	pthread_mutex_init(&t->lock, NULL);
	t->url = strdup(url);
	t->host = strdup(host);
	if (t->url == NULL || t->host == NULL) {
		trouble_free(t);
		return NULL;
	}
	return t;
}

struct trouble *
troubles_find(struct troubles *all, const char *url, const char *host)
{
	struct trouble *t;

	pthread_mutex_lock(&all->lock);
	for (t = all->first; t != NULL; t = t->next)
		if (strcmp(t->url, url) == 0)
			break;
	if (t == NULL && (t = trouble_new(url, host)) != NULL) {
		t->next = all->first;
		all->first = t;
	}
	pthread_mutex_unlock(&all->lock);
	return t;
}

/*
 * Whether this kind of trouble gets a line of its own: it is new, or it came back
 * after a recovery that was more than a minute ago told.
 */
static bool
is_news(struct trouble *t, int kind, uint64_t now)
{
	unsigned known = t->n_kinds < TROUBLE_KINDS ? t->n_kinds : TROUBLE_KINDS, i;

	for (i = 0; i < known; i++)
		if (t->kinds[i].kind == kind)
			break;
	if (i < known) {
		if ((int64_t)(now - t->kinds[i].said_ms) < MINUTE_MS || !t->recovered ||
		    t->well_ms < t->kinds[i].said_ms)
			return false;
	} else {
		i = t->n_kinds++ % TROUBLE_KINDS;
	}
	t->kinds[i].kind = kind;
	t->kinds[i].said_ms = now;
	return true;
}

/* Counts notices in. True when the caller says what is wrong; else the count is said. */
static bool
note(struct trouble *t, int kind, uint64_t notices)
{
	uint64_t now = clock_ms();

	if (!t->ill) {
		t->ill = true;
		t->said_ms = now;
		t->more = t->total = 0;
	}
	t->total += notices;
	if (is_news(t, kind, now))
		return true;
	t->more += notices;
	if (t->more > 0 && (int64_t)(now - t->said_ms) >= MINUTE_MS) {
		log_warnx("passthrough %s: %" PRIu64 " more notices failed or were not answered "
			  "with 2xx, the last with %s %d",
		    t->url, t->more, kind > 0 ? "status" : "error", kind > 0 ? kind : -kind);
		t->said_ms = now;
		t->more = 0;
	}
	return false;
}

/* The likely cause, for Django as people set it up. */
static void
explain(char *text, size_t size, const struct trouble *t, long status, const char *relay)
{
	switch (status) {
	case 301:
	case 302:
	case 303:
	case 307:
	case 308:
		snprintf(text, size,
		    "redirects are not followed: it is SECURE_SSL_REDIRECT, "
		    "PREPEND_WWW or a login redirect");
		return;
	case 400:
		snprintf(text, size, "the host of the URL, %s, is probably not in ALLOWED_HOSTS",
		    t->host);
		return;
	case 401:
		snprintf(
		    text, size, "a proxy or a middleware in front of the view asks for a login");
		return;
	case 403:
		snprintf(text, size, "the relay's address%s%s is probably not in INTERNAL_IPS",
		    *relay != '\0' ? " " : "", relay);
		return;
	case 404:
		snprintf(text, size, "no such URL: is include('pushserver.urls') there?");
		return;
	case 405:
		snprintf(text, size, "POST is not allowed: another view than pushserver's answers");
		return;
	case 502:
	case 503:
	case 504:
		snprintf(text, size,
		    "a proxy in front of Django has no answer from it, or the view "
		    "failed");
		return;
	default:
		if (status >= 500)
			snprintf(
			    text, size, "the view or a receiver failed: Django's log says why");
		else
			snprintf(text, size, "only 2xx means that Django has taken the notice");
	}
}

void
trouble_status(struct trouble *t, long status, const char *relay)
{
	char cause[256];

	pthread_mutex_lock(&t->lock);
	if (note(t, (int)status, 1)) {
		explain(cause, sizeof(cause), t, status, relay);
		log_warnx("passthrough %s: a notice was answered with status %ld: %s; further "
			  "ones are counted",
		    t->url, status, cause);
	}
	pthread_mutex_unlock(&t->lock);
}

void
trouble_failure(struct trouble *t, int kind, const char *words, uint64_t notices)
{
	pthread_mutex_lock(&t->lock);
	if (note(t, kind, notices))
		log_warnx("passthrough %s: %s; further ones are counted", t->url, words);
	pthread_mutex_unlock(&t->lock);
}

/*
 * Said at once, but not twice within a minute: a server that fails now and then would
 * fill the log with its recoveries.
 */
static void
note_recovery(struct trouble *t)
{
	const uint64_t now = clock_ms();

	if (t->recovered && (int64_t)(now - t->well_ms) < MINUTE_MS)
		return;
	if (t->total > 0)
		log_info("passthrough %s: notices are answered with 2xx again; %" PRIu64
			 " were not",
		    t->url, t->total);
	else
		log_info(
		    "passthrough %s: notices are answered with 2xx again, none was lost", t->url);
	t->ill = false;
	t->recovered = true;
	t->well_ms = now;
}

void
trouble_over(struct trouble *t)
{
	pthread_mutex_lock(&t->lock);
	if (t->ill)
		note_recovery(t);
	pthread_mutex_unlock(&t->lock);
}
