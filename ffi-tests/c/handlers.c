/* Routers of the host's own: protocols, handlers, a base route, tasks on workers that the host drives, messages whose bytes
 * are given away, and messages that the host has read itself. */
#define _DEFAULT_SOURCE
#include "check.h"
#include <pthread.h>
#include <stdatomic.h>

#define SECOND UINT64_C(1000000000)
#define TEXT(text) (text), CORELANE_NUL_TERMINATED

static const char protocol[] =
    "{\"name\":\"game\",\"type\":\"kind\",\"recipient\":\"to\",\"room\":\"room\","
    "\"types\":{\"move\":\"handler\",\"chat\":\"relay\",\"save\":\"host\"}}";

static atomic_int frees, calls;

static void count_free(void *context) {
  atomic_fetch_add(&frees, 1);
  CHECK(context == &frees);
}

static corelane_client connect_as(corelane_port port, const char *name, const char *speaks, uint64_t token) {
  corelane_connect_options options = CORELANE_CONNECT_OPTIONS_INIT;
  corelane_error error = CORELANE_ERROR_INIT;
  corelane_client client = {0};
  options.name = name;
  options.protocol = speaks;
  options.application = "tests";
  options.token = token;
  if (corelane_port_connect(port, &options, &client, &error) != CORELANE_OK) {
    fprintf(stderr, "connect %s: %d %s\n", name, error.code, error.message);
    exit(1);
  }
  return client;
}

/* Polls until an event of this kind comes. Its view is valid until the next call. */
static corelane_event await(corelane_port port, uint32_t kind) {
  static corelane_event events[16] = {CORELANE_EVENT_INIT};
  int turn, at;
  for (turn = 0; turn < 1000; turn++) {
    int32_t count = corelane_port_poll(port, events, 16);
    NEED(count >= 0);
    for (at = 0; at < count; at++) {
      if (events[at].kind == kind) {
        return events[at];
      }
    }
    corelane_port_wait(port, SECOND);
  }
  NEED(!"the event came");
  return events[0];
}

static int32_t submit(corelane_port port, corelane_client client, const char *message, uint64_t correlation) {
  int32_t status = corelane_port_submit(port, client, (const uint8_t *)message, strlen(message), correlation);
  CHECK(corelane_port_publish(port) >= 0);
  return status;
}

static int is(const char *text, size_t length, const char *expected) {
  return length == strlen(expected) && memcmp(text, expected, length) == 0;
}

static corelane_request last_request;

/* Answers the sender, relays, sends by name, joins and leaves; its return value depends on the message. */
static int32_t handle(void *context, corelane_request request) {
  corelane_request_view view = CORELANE_REQUEST_VIEW_INIT, small = CORELANE_REQUEST_VIEW_INIT;
  corelane_room room = {0}, rooms[4], again;
  uint32_t reason = 77;
  CHECK(context == &frees);
  atomic_fetch_add(&calls, 1);
  last_request = request;
  CHECK(corelane_request_read(request, NULL) == CORELANE_NULL);
  CHECK(corelane_request_read((corelane_request){request.value + 1}, &view) == CORELANE_STALE);
  NEED(corelane_request_read(request, &view) == CORELANE_OK);
  small.size = 16; /* Of an older version: only the prefix is written. */
  CHECK(corelane_request_read(request, &small) == CORELANE_OK && small.client.value == view.client.value && small.token == 0);
  CHECK(view.token == 1 && is(view.name, view.name_length, "ann") && is(view.protocol, view.protocol_length, "game"));
  CHECK(is(view.message_type, view.message_type_length, "move") && is(view.application, view.application_length, "tests"));
  if (view.correlation == 1) {
    CHECK(is(view.recipient, view.recipient_length, "ben"));
    CHECK(corelane_request_relay(request, &reason) == 0 && corelane_request_relay(request, NULL) == 0 && reason == 77);
    CHECK(corelane_request_send(request, (corelane_client){0}, (const uint8_t *)"echo", 4, NULL) == CORELANE_OK);
    CHECK(corelane_request_send_to_name(request, TEXT("ben"), (const uint8_t *)"named", 5, NULL) == CORELANE_OK);
    CHECK(corelane_request_send_to_name(request, TEXT("zoe"), (const uint8_t *)"x", 1, &reason) == CORELANE_FAILED);
    CHECK(reason == CORELANE_REASON_UNKNOWN_RECIPIENT);
    CHECK(corelane_request_send_to_name(request, TEXT("\xff"), (const uint8_t *)"x", 1, &reason) == CORELANE_INVALID);
    CHECK(corelane_request_send(request, (corelane_client){UINT64_C(1) << 40}, (const uint8_t *)"x", 1, &reason) == CORELANE_FAILED);
    CHECK(corelane_request_send(request, view.client, NULL, 1, NULL) == CORELANE_NULL);
    CHECK(corelane_request_join(request, TEXT("lobby"), NULL) == CORELANE_NULL);
    NEED(corelane_request_join(request, TEXT("lobby"), &room) == CORELANE_OK);
    CHECK(corelane_request_rooms(request, rooms, 4) == 1 && rooms[0].value == room.value);
    CHECK(corelane_request_rooms(request, NULL, 0) == 1 && corelane_request_rooms(request, NULL, 1) == CORELANE_NULL);
    CHECK(corelane_request_join(request, TEXT("second"), &again) == CORELANE_OK);
    CHECK(corelane_request_leave(request, again) == CORELANE_OK && corelane_request_leave(request, again) == CORELANE_STALE);
    CHECK(corelane_request_join(request, TEXT(""), &again) == CORELANE_INVALID);
    return 0;
  }
  if (view.correlation == 2) {
    CHECK(corelane_request_relay(request, &reason) == CORELANE_FAILED && reason == CORELANE_REASON_UNKNOWN_RECIPIENT);
    return CORELANE_REASON_NOT_A_MEMBER;
  }
  return 12345; /* No reason: handler_failed. */
}

static int32_t base_route(void *context, corelane_client client, const uint8_t *message, size_t length) {
  CHECK(context == &frees && client.value != 0);
  atomic_fetch_add(&calls, 1);
  return is((const char *)message, length, "{\"kind\":\"chat\"}") ? 0 : 1;
}

static corelane_builder build(const char *config) {
  corelane_builder builder = {0};
  corelane_error error = CORELANE_ERROR_INIT;
  if (corelane_builder_new(TEXT(config), &builder, &error) != CORELANE_OK ||
      corelane_builder_protocol(builder, TEXT(protocol), &error) != CORELANE_OK) {
    fprintf(stderr, "builder: %s\n", error.message);
    exit(1);
  }
  return builder;
}

static corelane_handler handler_of(const char *message_type) {
  corelane_handler handler = CORELANE_HANDLER_INIT;
  handler.protocol = "game";
  handler.message_type = message_type;
  handler.function = handle;
  handler.context = &frees;
  handler.free_context = count_free;
  return handler;
}

static void check_builders(void) {
  corelane_error error = CORELANE_ERROR_INIT;
  corelane_builder builder = {7}, none = {0};
  corelane_handler handler = handler_of("move");
  corelane_router router = {9};
  corelane_worker workers[2];
  uint64_t bytes = 0;
  CHECK(corelane_builder_new(TEXT("wrokers=1"), &builder, &error) == CORELANE_CONFIG_KEY && builder.value == 7);
  CHECK(corelane_builder_new(TEXT("workers=99"), &builder, &error) == CORELANE_CONFIG_VALUE);
  CHECK(corelane_builder_new(TEXT("workers=1"), NULL, NULL) == CORELANE_NULL);
  builder = build("workers=2\npin=off");
  CHECK(corelane_builder_protocol(builder, TEXT("janus"), &error) == CORELANE_OK);
  CHECK(corelane_builder_protocol(builder, TEXT("smtp"), &error) == CORELANE_NOT_FOUND && strstr(error.message, "janus"));
  CHECK(corelane_builder_protocol(builder, TEXT("{\"name\":1}"), &error) == CORELANE_CONFIG_VALUE);
  CHECK(corelane_builder_protocol(builder, NULL, 3, &error) == CORELANE_NULL);
  CHECK(corelane_builder_handler(builder, NULL) == CORELANE_NULL && corelane_builder_handler(none, &handler) == CORELANE_STALE);
  handler.function = NULL;
  CHECK(corelane_builder_handler(builder, &handler) == CORELANE_NULL);
  handler = handler_of("move");
  handler.flags = 2;
  CHECK(corelane_builder_handler(builder, &handler) == CORELANE_INVALID);
  CHECK(atomic_load(&frees) == 0); /* A call that fails has not taken the context. */
  CHECK(corelane_builder_bytes(builder, &bytes, NULL) == CORELANE_OK && bytes > 100000);
  CHECK(corelane_builder_bytes(builder, NULL, NULL) == CORELANE_NULL);
  handler = handler_of("moove"); /* Not listed: found at the start. The context is freed with the builder. */
  CHECK(corelane_builder_handler(builder, &handler) == CORELANE_OK);
  CHECK(corelane_builder_build(builder, &router, workers, 2, &error) == CORELANE_CONFIG_VALUE && strstr(error.message, "moove"));
  CHECK(router.value == 9 && atomic_load(&frees) == 1);
  CHECK(corelane_builder_release(builder) == CORELANE_STALE);
  builder = build("workers=2\npin=off");
  handler = handler_of("move");
  CHECK(corelane_builder_handler(builder, &handler) == CORELANE_OK);
  CHECK(corelane_builder_build(builder, &router, workers, 1, &error) == CORELANE_LIMIT && strstr(error.message, "2 workers"));
  CHECK(corelane_builder_base_route(builder, NULL, NULL, NULL) == CORELANE_NULL);
  CHECK(corelane_builder_base_route(builder, base_route, &frees, count_free) == CORELANE_OK);
  CHECK(corelane_builder_release(builder) == CORELANE_OK && atomic_load(&frees) == 3);
  CHECK(corelane_builder_start(builder, &router, NULL) == CORELANE_STALE);
  CHECK(corelane_builder_base_route(builder, base_route, &frees, count_free) == CORELANE_STALE && atomic_load(&frees) == 3);
  atomic_store(&frees, 0);
}

static void check_handlers(void) {
  corelane_builder builder = build("workers=1\npin=off");
  corelane_handler handler = handler_of("move");
  corelane_error error = CORELANE_ERROR_INIT;
  corelane_router router;
  corelane_port port;
  corelane_client ann, ben;
  corelane_submission one = CORELANE_SUBMISSION_INIT;
  corelane_event event;
  corelane_request_view view = CORELANE_REQUEST_VIEW_INIT;
  static uint8_t large[50000];
  int32_t status = 77;

  handler.flags = CORELANE_HANDLER_SHORT;
  CHECK(corelane_builder_handler(builder, &handler) == CORELANE_OK);
  NEED(corelane_builder_start(builder, &router, &error) == CORELANE_CONFIG_VALUE); /* Tasks need a host that drives the workers. */
  CHECK(strstr(error.message, "save") != NULL && atomic_load(&frees) == 1);
  builder = build("workers=1\npin=off");
  CHECK(corelane_builder_protocol(builder,
                                  TEXT("{\"name\":\"game\",\"type\":\"kind\",\"recipient\":\"to\",\"room\":\"room\","
                                       "\"types\":{\"move\":\"handler\",\"chat\":\"relay\"}}"),
                                  &error) == CORELANE_OK);
  CHECK(corelane_builder_handler(builder, &handler) == CORELANE_OK);
  NEED(corelane_builder_start(builder, &router, &error) == CORELANE_OK);
  NEED(corelane_port_open(router, NULL, &port, &error) == CORELANE_OK);
  ann = connect_as(port, "ann", "game", 1);
  ben = connect_as(port, "ben", "game", 2);
  atomic_store(&calls, 0);

  CHECK(submit(port, ann, "{\"kind\":\"move\",\"to\":\"ben\"}", 1) == CORELANE_OK);
  event = await(port, CORELANE_EVENT_MESSAGE);
  CHECK(event.client.value == ben.value && event.sender.value == ann.value && event.correlation == 1);
  CHECK(atomic_load(&calls) == 1 && corelane_request_read(last_request, &view) == CORELANE_STALE);
  CHECK(corelane_request_relay(last_request, NULL) == CORELANE_STALE);
  one.client = ann;
  one.message = (const uint8_t *)"{\"kind\":\"move\",\"to\":\"zoe\"}";
  one.length = strlen((const char *)one.message);
  one.flags = CORELANE_TELL_FAILED;
  one.correlation = 2;
  CHECK(corelane_port_submit_batch(port, &one, 1, &status) == 1 && status == CORELANE_OK);
  event = await(port, CORELANE_EVENT_UNDELIVERED);
  CHECK(event.correlation == 2 && event.reason == CORELANE_REASON_NOT_A_MEMBER);
  one.correlation = 3;
  CHECK(corelane_port_submit_batch(port, &one, 1, NULL) == 1);
  event = await(port, CORELANE_EVENT_UNDELIVERED);
  CHECK(event.correlation == 3 && event.reason == CORELANE_REASON_HANDLER_FAILED);

  /* The host has read the message: any bytes, to ben. */
  one.recipient = ben;
  one.message = (const uint8_t *)"\xff any";
  one.length = 5;
  one.correlation = 4;
  one.waited_ns = 1000000;
  CHECK(corelane_port_message_type(port, TEXT("game"), TEXT("chat"), &one.message_type) == CORELANE_OK);
  CHECK(corelane_port_submit_batch(port, &one, 1, NULL) == 1);
  do {
    event = await(port, CORELANE_EVENT_MESSAGE);
  } while (event.correlation != 4);
  CHECK(event.length == 5 && memcmp(event.bytes, "\xff any", 5) == 0 && event.sender.value == ann.value && event.token == 2);

  /* Bytes that are given away are freed once; refused ones are the caller's. */
  atomic_store(&frees, 0);
  memset(large, 'x', sizeof large);
  one.message = large;
  one.length = sizeof large;
  one.correlation = 5;
  CHECK(corelane_port_submit_owned(port, &one, NULL, NULL) == CORELANE_NULL);
  CHECK(corelane_port_submit_owned(port, NULL, count_free, &frees) == CORELANE_NULL);
  one.client.value += UINT64_C(1) << 32;
  CHECK(corelane_port_submit_owned(port, &one, count_free, &frees) == CORELANE_STALE && atomic_load(&frees) == 0);
  one.client = ann;
  NEED(corelane_port_submit_owned(port, &one, count_free, &frees) == CORELANE_OK);
  CHECK(corelane_port_publish(port) == CORELANE_OK);
  event = await(port, CORELANE_EVENT_MESSAGE);
  CHECK(event.length == sizeof large && event.bytes[49999] == 'x' && event.correlation == 5);
  CHECK(corelane_port_release_views(port) == CORELANE_OK);
  {
    int turn;
    for (turn = 0; turn < 20000 && atomic_load(&frees) == 0; turn++) {
      usleep(1000);
    }
  }
  CHECK(atomic_load(&frees) == 1);
  one.flags = CORELANE_TRY;
  CHECK(corelane_port_submit_owned(port, &one, count_free, &frees) == CORELANE_INVALID);

  CHECK(corelane_router_stop(router, 10 * SECOND) == CORELANE_OK && corelane_port_release(port) == CORELANE_OK);
  CHECK(corelane_router_release(router) == CORELANE_OK);
  CHECK(atomic_load(&frees) == 2); /* The handler's context. */
}

static void check_base_route(void) {
  corelane_builder builder;
  corelane_error error = CORELANE_ERROR_INIT;
  corelane_router router;
  corelane_port port;
  corelane_client ann;
  corelane_routed routed = CORELANE_ROUTED_INIT;
  static const uint8_t chat[] = "{\"kind\":\"chat\"}";
  atomic_store(&frees, 0);
  atomic_store(&calls, 0);
  NEED(corelane_builder_new(TEXT("workers=1\npin=off\nenable_concurrent_routing=off"), &builder, &error) == CORELANE_OK);
  CHECK(corelane_builder_base_route(builder, base_route, &frees, count_free) == CORELANE_OK);
  NEED(corelane_builder_start(builder, &router, &error) == CORELANE_OK);
  NEED(corelane_port_open(router, NULL, &port, &error) == CORELANE_OK);
  ann = connect_as(port, "ann", "generic", 1);
  CHECK(submit(port, ann, "{\"kind\":\"chat\"}", 0) == CORELANE_OK && atomic_load(&calls) == 1);
  CHECK(corelane_port_route(port, ann, chat, sizeof chat - 1, SECOND, &routed) == CORELANE_OK);
  CHECK(routed.outcome == CORELANE_ROUTED_TAKEN_OVER && routed.success == 1 && atomic_load(&calls) == 2);
  CHECK(corelane_port_route(port, ann, chat, 2, SECOND, &routed) == CORELANE_OK && routed.success == 0);
  CHECK(corelane_port_release(port) == CORELANE_OK && corelane_router_release(router) == CORELANE_OK);
  CHECK(atomic_load(&frees) == 1);
}

static int32_t answer_task(void *context, corelane_request request) {
  CHECK(corelane_request_send(request, (corelane_client){0}, (const uint8_t *)context, strlen(context), NULL) == CORELANE_OK);
  return 0;
}

static void check_tasks(void) {
  static char saved[] = "saved";
  corelane_builder builder = build("workers=1\npin=off");
  corelane_error error = CORELANE_ERROR_INIT;
  corelane_router router;
  corelane_worker worker, none = {0};
  corelane_port port;
  corelane_client ann;
  corelane_task tasks[4] = {CORELANE_TASK_INIT};
  corelane_done done = CORELANE_DONE_INIT;
  corelane_event event;
  corelane_handler handler = handler_of("move");
  int turn;
  atomic_store(&frees, 0);
  CHECK(corelane_builder_handler(builder, &handler) == CORELANE_OK);
  NEED(corelane_builder_build(builder, &router, &worker, 1, &error) == 1);
  NEED(corelane_port_open(router, NULL, &port, &error) == CORELANE_OK);
  ann = connect_as(port, "ann", "game", 1);
  for (turn = 1; turn <= 3; turn++) {
    CHECK(submit(port, ann, "{\"kind\":\"save\"}", (uint64_t)turn) == CORELANE_OK);
  }
  CHECK(corelane_worker_take(worker, NULL, 4) == CORELANE_NULL && corelane_worker_take(worker, tasks, 0) == CORELANE_INVALID);
  CHECK(corelane_worker_take(none, tasks, 4) == CORELANE_STALE);
  NEED(corelane_worker_take(worker, tasks, 4) == 3);
  CHECK(tasks[2].correlation == 3 && tasks[2].client.value == ann.value && strcmp(tasks[2].name, "ann") == 0);
  CHECK(is(tasks[0].message_type, tasks[0].message_type_length, "save") && is(tasks[0].protocol, tasks[0].protocol_length, "game"));
  CHECK(is((const char *)tasks[1].message, tasks[1].length, "{\"kind\":\"save\"}"));
  CHECK(is(tasks[1].application, tasks[1].application_length, "tests") && tasks[1].size == sizeof tasks[1]);
  CHECK(corelane_worker_done(worker, NULL) == CORELANE_NULL && corelane_worker_done(none, &done) == CORELANE_STALE);
  CHECK(corelane_worker_done(worker, &done) == CORELANE_NOT_FOUND);
  done.id = tasks[0].id;
  done.service_ns = 1500000;
  CHECK(corelane_worker_done(worker, &done) == CORELANE_OK && corelane_worker_done(worker, &done) == CORELANE_NOT_FOUND);
  done.id = tasks[1].id;
  done.reason = CORELANE_REASON_HANDLER_FAILED;
  CHECK(corelane_worker_done(worker, &done) == CORELANE_OK);
  done.id = tasks[2].id;
  done.answer = answer_task;
  done.context = saved;
  CHECK(corelane_worker_done(worker, &done) == CORELANE_OK && corelane_worker_flush(worker) == CORELANE_OK);
  event = await(port, CORELANE_EVENT_MESSAGE);
  CHECK(is((const char *)event.bytes, event.length, "saved") && event.correlation == 3);
  CHECK(figure(router, "corelane_messages_delivered_total", "save") == 2);
  CHECK(figure(router, "corelane_messages_failed_total", "handler_failed") == 1);
  CHECK(corelane_worker_wait(worker, SECOND / 1000) == CORELANE_OK && corelane_worker_cycle(worker) == 0);
  CHECK(corelane_worker_flush(none) == CORELANE_STALE && corelane_worker_wait(none, 0) == CORELANE_STALE);
  CHECK(corelane_worker_cycle(none) == CORELANE_STALE && corelane_worker_release(none) == CORELANE_STALE);
  CHECK(corelane_router_request_stop(router) == CORELANE_OK);
  for (turn = 0; turn < 100 && corelane_worker_cycle(worker) != CORELANE_CLOSED; turn++) {
  }
  CHECK(turn < 100 && corelane_worker_take(worker, tasks, 4) == CORELANE_CLOSED);
  CHECK(corelane_worker_wait(worker, 0) == CORELANE_CLOSED);
  CHECK(corelane_router_stop(router, SECOND) == CORELANE_OK && corelane_port_release(port) == CORELANE_OK);
  CHECK(corelane_router_release(router) == CORELANE_OK && corelane_worker_release(worker) == CORELANE_OK);
  CHECK(corelane_worker_release(worker) == CORELANE_STALE && atomic_load(&frees) == 1);
}

int main(void) {
  alarm(240);
  check_builders();
  check_handlers();
  check_base_route();
  check_tasks();
  return checks_failed == 0 ? 0 : 1;
}
