/* Statuses that only a full table, a busy handle or a system at its limits can give: builders and workers that another thread
 * uses, limits of the process and of a monitor, a system without threads or descriptors, what a handler is refused, and the
 * refusals of messages that are given away. */
#define _GNU_SOURCE
#include "host.h"

#include "memory.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define NUL CORELANE_NUL_TERMINATED
#define TO_BOB "{\"type\":\"offer\",\"to\":\"bob\"}"
#define GAME "{\"name\":\"game\",\"type\":\"kind\",\"recipient\":\"to\",\"types\":{\"move\":\"handler\"}}"
#define SMALL                                                                                                            \
  "pin=off\nidle=park\nmax_clients=2\nmax_ports=1\nring_bytes=4096\nmax_message=500\nbacklog_bytes=4096\n"               \
  "hold_messages=1\ndetailed_stats=off\n"

static atomic_int freed;

static void count_free(void *context) {
  CHECK(context == &freed);
  atomic_fetch_add(&freed, 1);
}

static corelane_builder build(const char *config) {
  corelane_builder builder = {0};
  corelane_error error = CORELANE_ERROR_INIT;
  if (corelane_builder_new(config, NUL, &builder, &error) != CORELANE_OK) {
    fprintf(stderr, "builder: %d %s\n", error.code, error.message);
    exit(1);
  }
  return builder;
}

static int32_t fail(void *context, corelane_request request) {
  (void)context;
  (void)request;
  return CORELANE_REASON_HANDLER_FAILED;
}

static corelane_handler handler_of(const char *protocol, corelane_handler_fn function, void *context) {
  corelane_handler handler = CORELANE_HANDLER_INIT;
  handler.protocol = protocol;
  handler.message_type = "move";
  handler.function = function;
  handler.context = context;
  return handler;
}

static corelane_builder game(const char *config, corelane_handler_fn function, void *context) {
  const corelane_handler handler = handler_of("game", function, context);
  const corelane_builder builder = build(config);
  IS(corelane_builder_protocol(builder, GAME, NUL, NULL), CORELANE_OK);
  IS(corelane_builder_handler(builder, &handler), CORELANE_OK);
  return builder;
}

static corelane_router start_built(corelane_builder builder) {
  corelane_router router = {0};
  corelane_error error = CORELANE_ERROR_INIT;
  if (corelane_builder_start(builder, &router, &error) != CORELANE_OK) {
    fprintf(stderr, "start: %d %s\n", error.code, error.message);
    exit(1);
  }
  return router;
}

static int32_t base_route(void *context, corelane_client client, const uint8_t *message, size_t length) {
  (void)context, (void)client, (void)message, (void)length;
  return 0;
}

/* Waits until `flag` has this value. */
static void await_flag(atomic_int *flag, int value) {
  int turn;
  for (turn = 0; turn < 60000 && atomic_load(flag) != value; turn++) {
    usleep(1000);
  }
  NEED(atomic_load(flag) == value);
}

/* What limits the number of threads: only an ordinary user can be refused. */
static void give_up_threads(void) {
  const struct rlimit none = {0, 0};
  if (geteuid() == 0) {
    NEED(setuid(65534) == 0);
  }
  NEED(setrlimit(RLIMIT_NPROC, &none) == 0);
}

static struct rlimit descriptors;

static void give_up_descriptors(void) {
  struct rlimit low;
  NEED(getrlimit(RLIMIT_NOFILE, &descriptors) == 0);
  low = descriptors;
  low.rlim_cur = 3;
  NEED(setrlimit(RLIMIT_NOFILE, &low) == 0);
}

static void take_descriptors_back(void) { NEED(setrlimit(RLIMIT_NOFILE, &descriptors) == 0); }

static void on_alert(void *context, const corelane_alert *alert) { (void)context, (void)alert; }
static void on_report(void *context, const char *report, size_t length) { (void)context, (void)report, (void)length; }

/* The system refuses threads. In a child, before the library is used. */
static void check_no_threads(void) {
  int status = -1;
  const pid_t child = fork();
  NEED(child >= 0);
  if (child == 0) {
    corelane_router router = {7}, driven;
    corelane_worker worker;
    corelane_monitor monitor = {7}, quiet;
    corelane_callback callback = {7};
    corelane_elasticsearch_options documents = CORELANE_ELASTICSEARCH_OPTIONS_INIT;
    corelane_otlp_options points = CORELANE_OTLP_OPTIONS_INIT;
    corelane_exporter exporter = {7};
    corelane_error error = CORELANE_ERROR_INIT;
    documents.url = points.url = "http://127.0.0.1:1";
    give_up_threads();
    IS(corelane_builder_start(build("workers=1"), &router, &error), CORELANE_SYSTEM);
    CHECK(error.os_errno == EAGAIN && router.value == 7);
    IS(corelane_monitor_start(NULL, 0, &monitor, &error), CORELANE_SYSTEM);
    CHECK(error.os_errno == EAGAIN && monitor.value == 7);
    NEED(corelane_builder_build(build("workers=1"), &driven, &worker, 1, &error) == 1);
    IS(corelane_router_monitor(driven, &monitor, &error), CORELANE_SYSTEM);
    CHECK(error.os_errno == EAGAIN && monitor.value == 7);
    IS(corelane_router_monitor(driven, &monitor, &error), CORELANE_SYSTEM); /* And not CORELANE_EXISTS. */
    NEED(corelane_monitor_new(NULL, 0, &quiet, &error) == CORELANE_OK);
    IS(corelane_monitor_on_alert(quiet, on_alert, &freed, count_free, &callback, &error), CORELANE_SYSTEM);
    CHECK(error.os_errno == EAGAIN);
    IS(corelane_monitor_on_report(quiet, CORELANE_REPORT_TEXT, on_report, &freed, count_free, &callback, &error), CORELANE_SYSTEM);
    CHECK(error.os_errno == EAGAIN && callback.value == 7 && atomic_load(&freed) == 0); /* The context is still the caller's. */
    IS(corelane_monitor_export_elasticsearch(quiet, &documents, &exporter, &error), CORELANE_SYSTEM);
    IS(corelane_monitor_export_otlp(quiet, &points, &exporter, &error), CORELANE_SYSTEM);
    CHECK(error.os_errno == EAGAIN && exporter.value == 7);
    IS(corelane_monitor_release(quiet), CORELANE_OK);
    _exit(checks_failed == 0 ? 0 : 1);
  }
  NEED(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* The system has no descriptors left. */
static void check_no_descriptors(void) {
  corelane_router router = {7};
  corelane_worker worker = {7};
  corelane_monitor monitor;
  corelane_alert_poll queue = {7};
  corelane_error error = CORELANE_ERROR_INIT;
  const corelane_builder builder = build("workers=1\nlocal_workers=1\n");
  NEED(corelane_monitor_new(NULL, 0, &monitor, &error) == CORELANE_OK);
  give_up_descriptors();
  IS(corelane_builder_build(builder, &router, &worker, 1, &error), CORELANE_SYSTEM); /* A local worker needs one. */
  CHECK(error.os_errno == EMFILE && router.value == 7 && worker.value == 7);
  IS(corelane_monitor_alert_poll(monitor, &queue, &error), CORELANE_SYSTEM);
  CHECK(error.os_errno == EMFILE && queue.value == 7);
  take_descriptors_back();
  IS(corelane_builder_release(builder), CORELANE_STALE); /* The failed build has released it. */
  IS(corelane_monitor_alert_poll(monitor, &queue, &error), CORELANE_OK);
  IS(corelane_alert_poll_release(queue), CORELANE_OK);
  IS(corelane_monitor_release(monitor), CORELANE_OK);
}

typedef struct shared_builder {
  corelane_builder builder;
  atomic_int step; /* 1: the builder is in use. 2: the other thread has made its calls. */
} shared_builder;

/* The library frees a context inside a call with the builder. */
static void wait_for_other_thread(void *context) {
  shared_builder *self = context;
  atomic_store(&self->step, 1);
  await_flag(&self->step, 2);
}

static void *use_busy_builder(void *argument) {
  shared_builder *self = argument;
  const corelane_builder builder = self->builder;
  corelane_handler handler = handler_of("game", fail, &freed);
  corelane_router router = {7};
  corelane_worker worker = {7};
  corelane_error error = CORELANE_ERROR_INIT;
  uint64_t bytes = 7;
  handler.free_context = count_free;
  await_flag(&self->step, 1);
  IS(corelane_builder_protocol(builder, GAME, NUL, &error), CORELANE_BUSY);
  CHECK(error.code == CORELANE_BUSY);
  IS(corelane_builder_handler(builder, &handler), CORELANE_BUSY);
  IS(corelane_builder_base_route(builder, base_route, &freed, count_free), CORELANE_BUSY);
  IS(corelane_builder_bytes(builder, &bytes, NULL), CORELANE_BUSY);
  IS(corelane_builder_start(builder, &router, NULL), CORELANE_BUSY);
  IS(corelane_builder_build(builder, &router, &worker, 1, NULL), CORELANE_BUSY);
  CHECK(bytes == 7 && router.value == 7 && worker.value == 7 && atomic_load(&freed) == 0);
  atomic_store(&self->step, 2);
  return NULL;
}

static void check_builders(void) {
  shared_builder self;
  pthread_t thread;
  corelane_builder builder, all[64], none = {7};
  corelane_handler handler = handler_of("nothing", fail, NULL);
  corelane_router router = {7};
  corelane_worker worker = {7};
  corelane_error error = CORELANE_ERROR_INIT;
  uint64_t bytes = 7;
  int at;
  /* Two threads use one builder: the second one is refused, and changes nothing. */
  self.builder = build("workers=1\n" SMALL);
  atomic_init(&self.step, 0);
  IS(corelane_builder_base_route(self.builder, base_route, &self, wait_for_other_thread), CORELANE_OK);
  NEED(pthread_create(&thread, NULL, use_busy_builder, &self) == 0);
  IS(corelane_builder_base_route(self.builder, base_route, NULL, NULL), CORELANE_OK); /* Frees the first route's context. */
  NEED(pthread_join(thread, NULL) == 0);
  IS(corelane_builder_bytes(self.builder, &bytes, NULL), CORELANE_OK);
  IS(corelane_builder_release(self.builder), CORELANE_OK);
  /* Values that do not fit together, and handlers of a protocol that the router does not have. */
  builder = build("max_message=100000\ncredit_bytes=4096\n");
  bytes = 7;
  IS(corelane_builder_bytes(builder, &bytes, &error), CORELANE_CONFIG_VALUE);
  CHECK(bytes == 7 && strstr(error.message, "credit_bytes") != NULL);
  IS(corelane_builder_release(builder), CORELANE_OK);
  builder = build("workers=1\n");
  IS(corelane_builder_handler(builder, &handler), CORELANE_OK);
  IS(corelane_builder_start(builder, &router, &error), CORELANE_NOT_FOUND);
  CHECK(strstr(error.message, "nothing") != NULL);
  builder = build("workers=1\n");
  IS(corelane_builder_handler(builder, &handler), CORELANE_OK);
  IS(corelane_builder_build(builder, &router, &worker, 1, &error), CORELANE_NOT_FOUND);
  CHECK(router.value == 7 && worker.value == 7);
  IS(corelane_builder_release(builder), CORELANE_STALE);
  /* 64 builders. */
  for (at = 0; at < 64; at++) {
    all[at] = build("workers=1\n");
  }
  IS(corelane_builder_new(NULL, 0, &none, &error), CORELANE_LIMIT);
  CHECK(none.value == 7 && strstr(error.message, "64 builders") != NULL);
  for (at = 0; at < 64; at++) {
    IS(corelane_builder_release(all[at]), CORELANE_OK);
  }
}

/* 64 routers and 1024 driven workers. A build that is refused leaves nothing behind. */
static void check_routers_and_workers(void) {
  static corelane_worker workers[64][64];
  corelane_router routers[64], none = {7};
  corelane_worker refused[2] = {{7}, {7}};
  corelane_error error = CORELANE_ERROR_INIT;
  int at, which;
  for (at = 0; at < 16; at++) {
    NEED(corelane_builder_build(build(at < 15 ? "workers=64\n" SMALL : "workers=63\n" SMALL), &routers[at], workers[at], 64, &error) ==
         (at < 15 ? 64 : 63));
  }
  for (which = 0; which < 3; which++) { /* One of the two finds a place, and must give it back. */
    IS(corelane_builder_build(build("workers=2\n" SMALL), &none, refused, 2, &error), CORELANE_LIMIT);
    CHECK(strstr(error.message, "1024 workers") != NULL && refused[0].value == 7 && none.value == 7);
  }
  NEED(corelane_builder_build(build("workers=1\n" SMALL), &routers[16], workers[16], 1, &error) == 1);
  for (at = 0; at < 17; at++) {
    const int count = at < 15 ? 64 : at < 16 ? 63 : 1;
    IS(corelane_router_release(routers[at]), CORELANE_OK);
    for (which = 0; which < count; which++) {
      IS(corelane_worker_release(workers[at][which]), CORELANE_OK);
    }
  }
  for (at = 0; at < 64; at++) {
    NEED(corelane_builder_build(build("workers=1\n" SMALL), &routers[at], workers[at], 1, &error) == 1);
  }
  IS(corelane_builder_start(build("workers=1\n" SMALL), &none, &error), CORELANE_LIMIT);
  CHECK(strstr(error.message, "64 routers") != NULL);
  IS(corelane_builder_build(build("workers=1\n" SMALL), &none, refused, 2, &error), CORELANE_LIMIT);
  CHECK(none.value == 7 && refused[0].value == 7);
  for (at = 0; at < 64; at++) {
    IS(corelane_router_release(routers[at]), CORELANE_OK);
    IS(corelane_worker_release(workers[at][0]), CORELANE_OK);
  }
}

static void *wait_with_worker(void *argument) {
  const corelane_worker worker = *(const corelane_worker *)argument;
  int32_t status;
  do {
    status = corelane_worker_wait(worker, 30 * SECOND);
  } while (status == CORELANE_BUSY); /* The other thread was inside for a moment. */
  IS(status, CORELANE_OK);
  return NULL;
}

/* A worker of one thread, while another one waits with it. */
static void check_workers(void) {
  corelane_router router;
  corelane_worker worker;
  corelane_task tasks[2] = {CORELANE_TASK_INIT};
  corelane_done done = CORELANE_DONE_INIT;
  pthread_t thread;
  int turn;
  NEED(corelane_builder_build(build("workers=1\n" SMALL), &router, &worker, 1, NULL) == 1);
  done.size = 4;
  IS(corelane_worker_done(worker, &done), CORELANE_INVALID);
  done.size = sizeof done;
  NEED(pthread_create(&thread, NULL, wait_with_worker, &worker) == 0);
  for (turn = 0; turn < 20000 && corelane_worker_flush(worker) != CORELANE_BUSY; turn++) {
    usleep(1000);
  }
  IS(corelane_worker_flush(worker), CORELANE_BUSY);
  IS(corelane_worker_cycle(worker), CORELANE_BUSY);
  IS(corelane_worker_take(worker, tasks, 2), CORELANE_BUSY);
  IS(corelane_worker_done(worker, &done), CORELANE_BUSY);
  IS(corelane_worker_wait(worker, 0), CORELANE_BUSY);
  IS(corelane_router_request_stop(router), CORELANE_OK); /* Ends the wait. */
  NEED(pthread_join(thread, NULL) == 0);
  for (turn = 0; turn < 100 && corelane_worker_cycle(worker) != CORELANE_CLOSED; turn++) {
  }
  IS(corelane_worker_cycle(worker), CORELANE_CLOSED);
  IS(corelane_router_release(router), CORELANE_OK);
  IS(corelane_worker_release(worker), CORELANE_OK);
}

enum { GUESTS = 60 };

typedef struct handled {
  corelane_router router;
  corelane_room foreign;
  atomic_int ended; /* How many messages the handler has handled. */
} handled;

/* What a handler is refused. The message's correlation says what it is about. */
static int32_t handle(void *context, corelane_request request) {
  handled *self = context;
  corelane_request_view view = CORELANE_REQUEST_VIEW_INIT;
  corelane_room room = {7};
  NEED(corelane_request_read(request, &view) == CORELANE_OK);
  if (view.correlation == 1) {
    corelane_port_options local = CORELANE_PORT_OPTIONS_INIT;
    corelane_port port = {7};
    corelane_error error = CORELANE_ERROR_INIT;
    local.flags = CORELANE_PORT_LOCAL;
    IS(corelane_port_open(self->router, &local, &port, &error), CORELANE_THREAD);
    CHECK(port.value == 7 && error.code == CORELANE_THREAD);
    IS(corelane_request_leave(request, self->foreign), CORELANE_NOT_FOUND); /* Not a member. */
    IS(corelane_request_join(request, TEXT("own"), &room), CORELANE_OK);
    IS(corelane_request_join(request, TEXT("second"), &self->foreign), CORELANE_LIMIT); /* max_client_rooms */
    CHECK(corelane_request_leave(request, room) == CORELANE_OK);
  } else {
    /* Another thread reads a long list of members all the time: a handler does not wait for it. */
    int32_t status = CORELANE_OK;
    int turn;
    for (turn = 0; turn < 2000000000 && status != CORELANE_LIMIT; turn++) {
      status = corelane_request_rooms(request, NULL, 0);
      CHECK(status == 0 || status == CORELANE_LIMIT);
    }
    IS(status, CORELANE_LIMIT);
    for (turn = 0, status = CORELANE_OK; turn < 2000000000 && status != CORELANE_LIMIT; turn++) {
      status = corelane_request_leave(request, self->foreign);
      CHECK(status == CORELANE_NOT_FOUND || status == CORELANE_LIMIT);
    }
    IS(status, CORELANE_LIMIT);
  }
  atomic_fetch_add(&self->ended, 1);
  return 0;
}

static void check_handlers(void) {
  static handled self;
  corelane_port port, local;
  corelane_client ann, none = {7};
  corelane_connect_options options = peer("ann", "game", 1);
  corelane_error error = CORELANE_ERROR_INIT;
  int at;
  self.router = start_built(game("workers=2\nlocal_workers=1\npin=off\nidle=park\nmax_clients=100\nmax_client_rooms=1\n", handle, &self));
  port = open_port(self.router, CORELANE_PORT_SHARED);
  ann = join_as(port, &options);
  for (at = 0; at < GUESTS; at++) {
    char name[16];
    snprintf(name, sizeof name, "guest %d", at);
    IS(corelane_port_join(port, join(port, name, 2), TEXT("foreign"), &self.foreign, NULL), CORELANE_OK);
  }
  IS(submit(port, ann, "{\"kind\":\"move\"}", 1), CORELANE_OK);
  await_flag(&self.ended, 1);
  IS(submit(port, ann, "{\"kind\":\"move\"}", 2), CORELANE_OK);
  for (at = 0; at < 2000000000 && atomic_load(&self.ended) < 2; at++) {
    const int32_t members = corelane_port_members(port, self.foreign, NULL, 0);
    NEED(members == GUESTS);
  }
  CHECK(atomic_load(&self.ended) == 2);
  IS(corelane_port_release(port), CORELANE_OK);
  end_router(self.router);

  /* A handler that may block cannot run on a local worker. */
  self.router = start_built(game("workers=1\nlocal_workers=1\npin=off\nidle=park\n", handle, &self));
  local = open_port(self.router, CORELANE_PORT_LOCAL);
  IS(corelane_port_connect(local, &options, &none, &error), CORELANE_CONFIG_VALUE);
  CHECK(none.value == 7 && strstr(error.message, "game") != NULL);
  IS(corelane_port_release(local), CORELANE_OK);
  end_router(self.router);
}

/* What a message costs that is given away: nothing, if it is refused. */
static int32_t give(corelane_port port, corelane_client client, const void *message, size_t length) {
  corelane_submission one = CORELANE_SUBMISSION_INIT;
  one.client = client;
  one.message = message;
  one.length = length;
  return corelane_port_submit_owned(port, &one, count_free, &freed);
}

typedef struct bench {
  corelane_router router;
  corelane_port port;
  corelane_client ann;
} bench;

static bench begin(const char *config, uint32_t flags) {
  bench self;
  self.router = start(config);
  self.port = open_port(self.router, flags);
  self.ann = join(self.port, "ann", 1);
  (void)join(self.port, "bob", 2);
  atomic_store(&freed, 0);
  return self;
}

/* Each of the `accepted` messages is freed, none before its time, and none twice. */
static void finish(bench *self, int accepted) {
  CHECK(atomic_load(&freed) <= accepted);
  IS(corelane_port_release(self->port), CORELANE_OK);
  end_router(self->router);
  IS(atomic_load(&freed), accepted);
}

#define LOCAL "workers=1\nlocal_workers=1\nidle=park\n"
#define GIVEN(self) give((self).port, (self).ann, TO_BOB, strlen(TO_BOB))

static void check_given_away(void) {
  static const struct {
    const char *config;
    int32_t status;
    int accepted;
  } refusals[] = {
      {LOCAL "client_rate=1\nclient_burst=2\n", CORELANE_RATE_LIMITED, 2},
      {LOCAL "max_in_flight=1\n", CORELANE_IN_FLIGHT, 1},
      {LOCAL "max_concurrent_messages=1\n", CORELANE_CONCURRENCY, 1},
      {LOCAL "payloads=3\n", CORELANE_PAYLOADS, 3},
      {LOCAL "ring_bytes=4096\nmax_message=1000\n", CORELANE_FULL, -1},
  };
  static const char large[2000];
  bench self;
  uint8_t *in = NULL, *from = NULL;
  int32_t status = CORELANE_OK;
  size_t at;
  int accepted, turn;
  for (at = 0; at < sizeof refusals / sizeof refusals[0]; at++) {
    self = begin(refusals[at].config, CORELANE_PORT_LOCAL);
    for (accepted = 0; accepted < 1000 && (status = GIVEN(self)) == CORELANE_OK; accepted++) {
    }
    IS(status, refusals[at].status);
    CHECK(accepted == refusals[at].accepted || (refusals[at].accepted < 0 && accepted > 5));
    finish(&self, accepted);
  }
  self = begin(LOCAL "max_message=1000\n", CORELANE_PORT_LOCAL);
  IS(give(self.port, self.ann, large, sizeof large), CORELANE_TOO_LARGE);
  finish(&self, 0);

  self = begin("workers=1\npin=off\nidle=park\n", 0);
  IS(corelane_router_stop(self.router, 10 * SECOND), CORELANE_OK);
  IS(GIVEN(self), CORELANE_CLOSED);
  finish(&self, 0);

  /* The next record has an impossible length when its worker takes it. */
  self = begin("workers=1\npin=off\nidle=park\nring_bytes=4096\nmax_message=1000\n", 0);
  NEED(corelane_test_ring(self.port, 0, 0, &in) == CORELANE_OK && corelane_test_ring(self.port, 0, 1, &from) == CORELANE_OK);
  IS(corelane_port_publish(self.port), CORELANE_OK);
  {
    uint64_t *tail = word(in, RING_TAIL);
    uint64_t *length = word(in, RING_DATA + *tail % *word(in, RING_CAPACITY));
    IS(submit(self.port, self.ann, TO_BOB, 0), CORELANE_OK);
    *length |= 0xeeeeeeee;
  }
  IS(corelane_port_publish(self.port), CORELANE_OK);
  /* The ring may be full before the worker gets a processor. */
  for (turn = accepted = 0, status = CORELANE_OK; turn < 20000 && (status == CORELANE_OK || status == CORELANE_FULL); turn++) {
    usleep(1000);
    status = GIVEN(self);
    accepted += status == CORELANE_OK;
  }
  IS(status, CORELANE_CORRUPT);
  finish(&self, accepted);
}

static corelane_monitor quiet_monitor(const char *config) {
  corelane_monitor monitor = {0};
  NEED(corelane_monitor_new(config, NUL, &monitor, NULL) == CORELANE_OK);
  return monitor;
}

/* The limits of one monitor. */
static void check_monitor(void) {
  const corelane_monitor monitor = quiet_monitor("max_recorded_clients=4\n");
  corelane_client client = {7};
  corelane_client_stats clients = CORELANE_CLIENT_STATS_INIT;
  corelane_slow_message slow = CORELANE_SLOW_MESSAGE_INIT;
  corelane_application_stats applications = CORELANE_APPLICATION_STATS_INIT;
  corelane_rule rule = CORELANE_RULE_INIT;
  corelane_callback callback = {7};
  corelane_error error = CORELANE_ERROR_INIT;
  static uint64_t aligned[sizeof(corelane_stats) / 8 + 2];
  int32_t status = CORELANE_OK;
  char name[32], folder[] = "/tmp/corelane-limits-XXXXXX", file[sizeof folder + 8];
  int at;
  NEED(mkdtemp(folder) != NULL);
  snprintf(file, sizeof file, "%s/report", folder);
  IS(corelane_monitor_client_stats(monitor, 0, CORELANE_TOP_ERRORS, &clients, 1), CORELANE_STATE); /* No snapshot was taken. */
  IS(corelane_monitor_slow_messages(monitor, 0, &slow, 1), CORELANE_STATE);
  IS(corelane_monitor_application_stats(monitor, 0, &applications, 1), CORELANE_STATE);
  IS(corelane_monitor_reset(monitor, (corelane_stats *)(void *)((char *)aligned + 1)), CORELANE_NULL);
  for (at = 0; at < 100 && status == CORELANE_OK; at++) {
    snprintf(name, sizeof name, "client_%d", at);
    status = corelane_monitor_connect(monitor, name, NUL, NULL, 0, &client, &error);
  }
  IS(status, CORELANE_LIMIT);
  rule.name = name;
  rule.metric = "connections.active";
  for (at = 0, status = CORELANE_OK; at < 100 && status == CORELANE_OK; at++) {
    snprintf(name, sizeof name, "rule_%d", at);
    status = corelane_monitor_add_rule(monitor, &rule, &error);
  }
  IS(status, CORELANE_LIMIT);
  IS(corelane_monitor_rules(monitor, NULL, 0), 64);
  /* 16 listeners of reports. */
  for (at = 0; at < 16; at++) {
    IS(corelane_monitor_on_report(monitor, CORELANE_REPORT_TEXT, on_report, NULL, NULL, &callback, &error), CORELANE_OK);
  }
  callback.value = 7;
  atomic_store(&freed, 0);
  IS(corelane_monitor_on_report(monitor, CORELANE_REPORT_TEXT, on_report, &freed, count_free, &callback, &error), CORELANE_LIMIT);
  IS(corelane_monitor_report_to(monitor, CORELANE_REPORT_TEXT, file, NUL, &callback, &error), CORELANE_LIMIT);
  NEED(rmdir(folder) == 0); /* And nothing is left there. */
  CHECK(callback.value == 7 && atomic_load(&freed) == 0);
  IS(corelane_monitor_release(monitor), CORELANE_OK);
}

#define NO_MORE(kind, handle, metric, monitor)                                                                         \
  do {                                                                                                                 \
    static handle all[4096];                                                                                           \
    handle none = {7};                                                                                                 \
    int each;                                                                                                          \
    for (each = 0; each < 4096; each++) {                                                                              \
      NEED(corelane_monitor_##kind(monitor, &metric, NULL, 0, &all[each], NULL) == CORELANE_OK);                       \
    }                                                                                                                  \
    IS(corelane_monitor_##kind(monitor, &metric, NULL, 0, &none, &error), CORELANE_LIMIT);                             \
    CHECK(none.value == 7 && strstr(error.message, "4096 " #kind "s") != NULL);                                        \
    for (each = 0; each < 4096; each++) {                                                                              \
      NEED(corelane_##kind##_release(all[each]) == CORELANE_OK);                                                       \
    }                                                                                                                  \
    IS(corelane_monitor_##kind(stale, &metric, NULL, 0, &none, &error), CORELANE_STALE);                               \
  } while (0)

/* The host's own metrics: series of a monitor, and handles of the process. */
static void check_metrics(void) {
  const corelane_monitor stale = {0}, monitor = quiet_monitor("max_custom_series=3\n");
  corelane_metric joins = CORELANE_METRIC_INIT, depth = CORELANE_METRIC_INIT, wait = CORELANE_METRIC_INIT;
  corelane_counter counter = {7};
  corelane_gauge gauge = {7};
  corelane_histogram histogram = {7};
  corelane_error error = CORELANE_ERROR_INIT;
  joins.name = "joins_total";
  depth.name = "depth";
  wait.name = "wait_seconds";
  wait.unit = "seconds";
  joins.help = depth.help = wait.help = "x";
  NO_MORE(counter, corelane_counter, joins, monitor);
  NO_MORE(gauge, corelane_gauge, depth, monitor);
  NO_MORE(histogram, corelane_histogram, wait, monitor);
  joins.name = "leaves_total";
  depth.name = "height";
  wait.name = "delay_seconds";
  IS(corelane_monitor_counter(monitor, &joins, NULL, 0, &counter, &error), CORELANE_LIMIT);
  CHECK(strstr(error.message, "max_custom_series") != NULL);
  IS(corelane_monitor_gauge(monitor, &depth, NULL, 0, &gauge, &error), CORELANE_LIMIT);
  IS(corelane_monitor_histogram(monitor, &wait, NULL, 0, &histogram, &error), CORELANE_LIMIT);
  CHECK(counter.value == 7 && gauge.value == 7 && histogram.value == 7);
  IS(corelane_monitor_release(monitor), CORELANE_OK);
}

/* 64 monitors, 16 queues of one of them, and 256 queues. */
static void check_monitors(void) {
  corelane_monitor all[64], none = {7};
  corelane_alert_poll queues[256], refused = {7};
  corelane_error error = CORELANE_ERROR_INIT;
  corelane_router router = start("workers=1\n" SMALL);
  int at;
  for (at = 0; at < 64; at++) {
    all[at] = quiet_monitor("max_recorded_clients=0\n");
  }
  IS(corelane_monitor_new(NULL, 0, &none, &error), CORELANE_LIMIT);
  CHECK(strstr(error.message, "64 monitors") != NULL);
  IS(corelane_monitor_start(NULL, 0, &none, &error), CORELANE_LIMIT);
  IS(corelane_router_monitor(router, &none, &error), CORELANE_LIMIT);
  CHECK(none.value == 7);
  for (at = 0; at < 256; at++) {
    NEED(corelane_monitor_alert_poll(all[at / 16], &queues[at], &error) == CORELANE_OK);
    if (at == 15) {
      IS(corelane_monitor_alert_poll(all[0], &refused, &error), CORELANE_LIMIT);
    }
  }
  IS(corelane_monitor_alert_poll(all[63], &refused, &error), CORELANE_LIMIT);
  CHECK(refused.value == 7 && strstr(error.message, "256 alert polls") != NULL);
  for (at = 0; at < 256; at++) {
    IS(corelane_alert_poll_release(queues[at]), CORELANE_OK);
  }
  for (at = 0; at < 64; at++) {
    IS(corelane_monitor_release(all[at]), CORELANE_OK);
  }
  IS(corelane_router_monitor(router, &none, &error), CORELANE_OK); /* The refused one is gone. */
  IS(corelane_monitor_release(none), CORELANE_OK);
  end_router(router);
}

int main(void) {
  alarm(240);
  check_no_threads();
  check_no_descriptors();
  check_builders();
  check_routers_and_workers();
  check_workers();
  check_handlers();
  check_given_away();
  check_monitor();
  check_metrics();
  check_monitors();
  return checks_failed == 0 ? 0 : 1;
}
