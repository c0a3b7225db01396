/*
 * worker.h - one thread: its loop, connections, channels and mailbox.
 *
 * All in it belongs to its thread alone; what comes from other threads comes by its
 * mailbox. With one worker all runs in the main thread.
 */
#ifndef RELAY_WORKER_H
#define RELAY_WORKER_H

#include "base/attr.h"
#include "base/list.h"
#include "base/mailbox.h"
#include "base/slab.h"
#include "relay/channel.h"
#include "relay/conn.h"
#include "relay/request.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config;
struct event;
struct event_base;
struct listener;
struct passthrough;
struct relay;
struct wheel;

/* Bytes read from a socket in one go. A held connection keeps at most one of these. */
#define WORKER_READ_SIZE 65536
