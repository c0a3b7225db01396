/*
 * listener.h - bind, accept, and wait when there are no descriptors left.
 */
#ifndef RELAY_LISTENER_H
#define RELAY_LISTENER_H

#include "base/attr.h"

#include <stdbool.h>
#include <sys/socket.h>

struct config_listen;
struct listener;
struct worker;

/*
 * An address to listen on, bound: shared by the workers, which each get a socket of
 * their own where the address has a port.
 */
struct bound {
	const struct config_listen *listen;
	struct sockaddr_storage addr; /* with the port that was given for 0 */
	socklen_t addr_len;
	int fd; /* a Unix socket's, shared by all workers; else -1 */
};

/*
 * Binds once, alone: an address and port that another process serves is refused here,
 * for with SO_REUSEPORT it would be shared silently. 0, or -1, logged. A listen that is
 * optional and that this host cannot have gives 0 with addr_len 0.
 */
int listener_bind(const struct config_listen *listen, struct bound *bound) MUST_CHECK;
/* Removes a Unix socket's file, closes its descriptor. */
void listener_unbind(struct bound *bound);

/* Returns new, listening in w's loop to all of bound, or NULL, logged. */
struct listener *listener_new(struct worker *w, const struct bound *bound, unsigned n_bound);
/* Accepts what is queued, then closes its sockets. */
void listener_drain(struct listener *l);
void listener_free(struct listener *l);

/* A descriptor has become free: goes on accepting, if it had paused. */
void listener_resume(struct listener *l);

#endif
