/* Shared by the C programs: what a host does all the time, with few arguments. Every wait is bounded. */
#ifndef HOST_H
#define HOST_H

#include "check.h"

#define SECOND UINT64_C(1000000000)
#define TEXT(text) (text), sizeof(text) - 1
#define BYTES(text) (const uint8_t *)(text), strlen(text)
#define MOST 64

static inline corelane_router start(const char *config) {
  corelane_router router = {0};
  corelane_error error = CORELANE_ERROR_INIT;
  if (corelane_router_start(config, CORELANE_NUL_TERMINATED, &router, &error) != CORELANE_OK) {
    fprintf(stderr, "start: %d %s\n", error.code, error.message);
    exit(1);
  }
  return router;
}

/* Opens a port. Workers may still use the place of a port that was just released. */
static inline corelane_port open_port(corelane_router router, uint32_t flags) {
  corelane_port_options options = CORELANE_PORT_OPTIONS_INIT;
  corelane_port port = {0};
  corelane_error error = CORELANE_ERROR_INIT;
  int32_t status = CORELANE_LIMIT;
  int turn;
  options.flags = flags;
  for (turn = 0; turn < 20000 && status == CORELANE_LIMIT; turn++) {
    status = corelane_port_open(router, &options, &port, &error);
    if (status == CORELANE_LIMIT) {
      usleep(1000);
    }
  }
  if (status != CORELANE_OK) {
    fprintf(stderr, "open: %d %s\n", error.code, error.message);
    exit(1);
  }
  return port;
}

static inline corelane_connect_options peer(const char *name, const char *protocol, uint64_t token) {
  corelane_connect_options options = CORELANE_CONNECT_OPTIONS_INIT;
  options.name = name;
  options.protocol = protocol;
  options.token = token;
  return options;
}

/* Connects once a slot is free: the worker frees the slot of a client that has just left. */
static inline corelane_client join_as(corelane_port port, const corelane_connect_options *options) {
  corelane_client client = {0};
  corelane_error error = CORELANE_ERROR_INIT;
  int32_t status = CORELANE_LIMIT;
  int turn;
  for (turn = 0; turn < 20000 && status == CORELANE_LIMIT; turn++) {
    status = corelane_port_connect(port, options, &client, &error);
    if (status == CORELANE_LIMIT) {
      usleep(1000);
    }
  }
  if (status != CORELANE_OK) {
    fprintf(stderr, "connect %s: %d %s\n", options->name, error.code, error.message);
    exit(1);
  }
  return client;
}

static inline corelane_client join(corelane_port port, const char *name, uint64_t token) {
  const corelane_connect_options options = peer(name, "generic", token);
  return join_as(port, &options);
}

static inline int32_t submit(corelane_port port, corelane_client client, const char *message, uint64_t correlation) {
  return corelane_port_submit(port, client, BYTES(message), correlation);
}

/* A port's loop: keeps the events of the last poll. */
typedef struct loop {
  corelane_port port;
  corelane_event events[MOST];
  int32_t count;
  int32_t at;
} loop;

static inline int32_t poll_into(loop *self) {
  self->events[0].size = sizeof self->events[0];
  self->at = 0;
  self->count = corelane_port_poll(self->port, self->events, MOST);
  return self->count;
}

/* The next event, or NULL if none comes within `milliseconds`. Its view is valid until the next call. */
static inline const corelane_event *next_within(loop *self, uint32_t milliseconds) {
  while (self->at >= self->count) {
    if (poll_into(self) == CORELANE_CLOSED) {
      return NULL;
    }
    NEED(self->count >= 0);
    if (self->count == 0 && corelane_port_wait(self->port, milliseconds * (SECOND / 1000)) != CORELANE_OK) {
      return NULL;
    }
  }
  return &self->events[self->at++];
}

/* The next event of this kind. The others before it are skipped. */
static inline const corelane_event *await_kind(loop *self, uint32_t kind) {
  const corelane_event *event;
  do {
    event = next_within(self, 60000);
    NEED(event != NULL);
  } while (event->kind != kind);
  return event;
}

/* Waits for the port until its release ends the wait. Another thread may be inside for a moment. */
static inline void wait_until_stale(corelane_port port) {
  int32_t status;
  do {
    status = corelane_port_wait(port, 60 * SECOND);
  } while (status == CORELANE_BUSY);
  IS(status, CORELANE_STALE);
}

/* Stops the router and releases it. */
static inline void end_router(corelane_router router) {
  IS(corelane_router_stop(router, 10 * SECOND), CORELANE_OK);
  IS(corelane_router_release(router), CORELANE_OK);
}

/* Waits until every message and every delivery has ended exactly once. */
static inline void check_conservation(corelane_router router) {
  uint64_t submitted = 1, ended = 0;
  int turn;
  for (turn = 0; turn < 20000; turn++) { /* A worker that leaves a released port updates its counts last. */
    submitted = figure(router, "corelane_messages_submitted_total", "");
    ended = figure(router, "corelane_messages_refused_total", "") + figure(router, "corelane_messages_failed_total", "") +
            figure(router, "corelane_messages_delivered_total", "") + figure(router, "corelane_messages_expired_total", "");
    if (submitted == ended && figure(router, "corelane_deliveries_queued", "") == 0) {
      break;
    }
    usleep(1000);
  }
  CHECK(submitted == ended && turn < 20000);
}

#endif
