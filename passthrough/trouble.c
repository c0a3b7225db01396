#include "passthrough/trouble.h"

#include "base/clock.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>

#define MINUTE_MS 60000

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
		if (now - t->kinds[i].said_ms < MINUTE_MS || !t->recovered ||
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
	if (t->more > 0 && now - t->said_ms >= MINUTE_MS) {
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

	if (!note(t, (int)status, 1))
		return;
	explain(cause, sizeof(cause), t, status, relay);
	log_warnx("passthrough %s: a notice was answered with status %ld: %s; further ones are "
		  "counted",
	    t->url, status, cause);
}

void
trouble_failure(struct trouble *t, int kind, const char *words, uint64_t notices)
{
	if (!note(t, kind, notices))
		return;
	log_warnx("passthrough %s: %s; further ones are counted", t->url, words);
}

/*
 * Said at once, but not twice within a minute: a server that fails now and then would
 * fill the log with its recoveries.
 */
void
trouble_over(struct trouble *t)
{
	uint64_t now;

	if (!t->ill)
		return;
	now = clock_ms();
	if (t->recovered && now - t->well_ms < MINUTE_MS)
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
