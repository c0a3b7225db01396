#include "passthrough/curl_loop.h"

#include "base/log.h"

#include <event2/event.h>
#include <stdlib.h>

struct curl_loop {
	struct event_base *base;
	CURLM *multi;
	struct event *timer; /* libcurl's next time-out */
	curl_loop_fn *done;
	void *arg;
};

/* Hands out what has ended. A message is gone with the next call, so it is copied. */
static void
finish_transfers(struct curl_loop *loop)
{
	CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(loop->multi, &left)) != NULL) {
		CURL *easy = msg->easy_handle;
		CURLcode result = msg->data.result;

		if (msg->msg != CURLMSG_DONE)
			continue;
		curl_multi_remove_handle(loop->multi, easy);
		loop->done(loop->arg, easy, result);
	}
}

static void
run(struct curl_loop *loop, curl_socket_t fd, int what)
{
	CURLMcode rc;
	int running;

	rc = curl_multi_socket_action(loop->multi, fd, what, &running);
	if (rc != CURLM_OK)
		log_errorx("libcurl: %s", curl_multi_strerror(rc));
	finish_transfers(loop);
}

static void
on_socket(evutil_socket_t fd, short what, void *arg)
{
	run(arg, fd,
	    ((what & EV_READ) != 0 ? CURL_CSELECT_IN : 0) |
		((what & EV_WRITE) != 0 ? CURL_CSELECT_OUT : 0));
}

static void
on_timer(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
	run(arg, CURL_SOCKET_TIMEOUT, 0);
}

/*
 * CURLMOPT_SOCKETFUNCTION. The event is what libcurl keeps with the socket for us. A
 * socket that cannot be watched is left to the transfer's time-out: -1 would make
 * libcurl give up all transfers, for ever.
 */
static int
on_socket_wanted(CURL *easy UNUSED, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	struct curl_loop *loop = arg;
	struct event *event = socket_arg;
	short flags = EV_PERSIST;

	if (event != NULL)
		event_free(event);
	if (what == CURL_POLL_REMOVE)
		return 0;
	if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
		flags |= EV_READ;
	if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
		flags |= EV_WRITE;
	event = event_new(loop->base, fd, flags, on_socket, loop);
	if (event == NULL || event_add(event, NULL) < 0) {
		log_errorx("libcurl's socket cannot be watched: out of memory");
		if (event != NULL)
			event_free(event);
		event = NULL;
	}
	curl_multi_assign(loop->multi, fd, event);
	return 0;
}

/*
 * CURLMOPT_TIMERFUNCTION. Also for 0 only the timer is set: libcurl may not be entered
 * again from inside itself.
 */
static int
on_timer_wanted(CURLM *multi UNUSED, long timeout_ms, void *arg)
{
	struct curl_loop *loop = arg;
	struct timeval tv;

	if (timeout_ms < 0) {
		event_del(loop->timer);
		return 0;
	}
	tv.tv_sec = timeout_ms / 1000;
	tv.tv_usec = timeout_ms % 1000 * 1000;
	event_add(loop->timer, &tv);
	return 0;
}

struct curl_loop *
curl_loop_new(struct event_base *base, curl_loop_fn *done, void *arg)
{
	struct curl_loop *loop = calloc(1, sizeof(*loop));

	if (loop == NULL)
		goto err;
	loop->base = base;
	loop->done = done;
	loop->arg = arg;
	loop->timer = evtimer_new(base, on_timer, loop);
	if (loop->timer == NULL)
		goto err_free;
	loop->multi = curl_multi_init();
	if (loop->multi == NULL)
		goto err_timer;
	curl_multi_setopt(loop->multi, CURLMOPT_SOCKETFUNCTION, on_socket_wanted);
	curl_multi_setopt(loop->multi, CURLMOPT_SOCKETDATA, loop);
	curl_multi_setopt(loop->multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted);
	curl_multi_setopt(loop->multi, CURLMOPT_TIMERDATA, loop);
	return loop;

err_timer:
	event_free(loop->timer);
err_free:
	free(loop);
err:
	log_errorx("libcurl's loop: out of memory");
	return NULL;
}

void
curl_loop_free(struct curl_loop *loop)
{
	if (loop == NULL)
		return;
	/* Before the timer, for closing the kept connections still calls our callbacks. */
	curl_multi_cleanup(loop->multi);
	event_free(loop->timer);
	free(loop);
}

void
curl_loop_set_kept(struct curl_loop *loop, long connections)
{
	curl_multi_setopt(loop->multi, CURLMOPT_MAXCONNECTS, connections);
}

int
curl_loop_add(struct curl_loop *loop, CURL *easy)
{
	CURLMcode rc = curl_multi_add_handle(loop->multi, easy);

	if (rc == CURLM_OK)
		return 0;
	log_errorx("libcurl: %s", curl_multi_strerror(rc));
	return -1;
}

void
curl_loop_remove(struct curl_loop *loop, CURL *easy)
{
	curl_multi_remove_handle(loop->multi, easy);
}
