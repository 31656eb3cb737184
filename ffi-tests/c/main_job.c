/* A complete C host: two PeerJS clients on two ports exchange an offer and an answer through the router, and the
 * Prometheus text is printed. Then the failures of each call are tested. */
#define _DEFAULT_SOURCE
#include "host.h"

#include "memory.h"
#include <poll.h>
#include <pthread.h>
#include <sys/wait.h>

/* Exported only with the feature ffi-test: see src/ffi/testing.rs. */
int32_t corelane_test_panic(void);

static corelane_event events[16];

/* Polls until an event of this kind comes, as an event loop does: arm, wait for the descriptor, poll. */
static const corelane_event *await(corelane_port port, uint32_t kind) {
  int turn, at;
  for (turn = 0; turn < 1000; turn++) {
    struct pollfd descriptor;
    int32_t count;
    events[0].size = sizeof events[0];
    count = corelane_port_poll(port, events, 16);
    NEED(count >= 0);
    for (at = 0; at < count; at++) {
      if (events[at].kind == kind) {
        return &events[at];
      }
    }
    descriptor.fd = corelane_port_fd(port);
    descriptor.events = POLLIN;
    if (corelane_port_arm(port) == CORELANE_OK) {
      NEED(poll(&descriptor, 1, 10000) == 1);
    }
  }
  NEED(!"the event came");
  return NULL;
}

static corelane_client connect_peer(corelane_port port, const char *name, uint64_t token) {
  corelane_connect_options options = peer(name, "peerjs", token);
  options.application = "calls";
  return join_as(port, &options);
}

static void exchange(corelane_port from, corelane_client sender, corelane_port to, corelane_client recipient,
                     const char *message, const char *expected, uint64_t token, uint64_t correlation) {
  const corelane_event *event;
  CHECK(corelane_port_submit(from, sender, (const uint8_t *)message, strlen(message), correlation) == CORELANE_OK);
  CHECK(corelane_port_publish(from) == CORELANE_OK);
  event = await(to, CORELANE_EVENT_MESSAGE);
  CHECK(event->client.value == recipient.value && event->sender.value == sender.value);
  CHECK(event->token == token && event->correlation == correlation);
  CHECK(event->length == strlen(expected) && memcmp(event->bytes, expected, event->length) == 0);
  CHECK(corelane_port_acknowledge(to, event->client, 1, (uint32_t)event->length) == CORELANE_OK);
  CHECK(corelane_port_release_views(to) == CORELANE_OK);
}

static void check_configuration(void) {
  static const struct {
    const char *text;
    int32_t status;
    const char *says;
  } wrong[] = {
      {"wrokers=1", CORELANE_CONFIG_KEY, "workers"},
      {"workers=100", CORELANE_CONFIG_VALUE, "workers = 100 is not valid; allowed: 0 to 64 threads"},
      {"ring_bytes=5000", CORELANE_CONFIG_VALUE, "ring_bytes = 5000"},
      {"credit_bytes=1000", CORELANE_CONFIG_VALUE, "at least"},
      {"payload_bytes=1000", CORELANE_CONFIG_VALUE, "at least"},
      {"workers", CORELANE_CONFIG_VALUE, "key=value"},
      {"workers=\xff", CORELANE_INVALID, "UTF-8"},
  };
  corelane_router router = {7};
  corelane_error error;
  size_t at;
  for (at = 0; at < sizeof wrong / sizeof wrong[0]; at++) {
    memset(&error, 0, sizeof error);
    error.size = sizeof error;
    CHECK(corelane_router_start(wrong[at].text, strlen(wrong[at].text), &router, &error) == wrong[at].status);
    CHECK(error.code == wrong[at].status && strstr(error.message, wrong[at].says) != NULL);
    CHECK(router.value == 7); /* Outputs are written only on success. */
  }
  /* A smaller struct gets what fits. */
  error.size = 8;
  error.code = 99;
  error.os_errno = 99;
  CHECK(corelane_router_start(TEXT("workers=100"), &router, &error) == CORELANE_CONFIG_VALUE);
  CHECK(error.size == 8 && error.code == CORELANE_CONFIG_VALUE && error.os_errno == 99);
  error.size = 0;
  CHECK(corelane_router_start(TEXT("wrokers=1"), &router, &error) == CORELANE_CONFIG_KEY && error.code == CORELANE_CONFIG_VALUE);
  CHECK(corelane_router_start(TEXT("workers=100"), &router, NULL) == CORELANE_CONFIG_VALUE);
  CHECK(corelane_router_start(TEXT("workers=1"), NULL, NULL) == CORELANE_NULL);
  CHECK(corelane_router_start(NULL, 5, &router, NULL) == CORELANE_NULL);
}

static void check_port_failures(corelane_router router, corelane_port port, corelane_client client) {
  corelane_port forged = {port.value + (UINT64_C(1) << 32)}, none = {0}, wild = {UINT64_MAX}, second;
  corelane_client stale = {client.value + (UINT64_C(1) << 32)}, other;
  corelane_connect_options options = peer(NULL, "peerjs", 0);
  corelane_text text = CORELANE_TEXT_INIT;
  corelane_error error = CORELANE_ERROR_INIT;
  static char long_name[100];
  static uint8_t large[1 << 20];
  CHECK(corelane_port_open(router, NULL, NULL, NULL) == CORELANE_NULL);
  CHECK(corelane_port_open((corelane_router){99}, NULL, &second, &error) == CORELANE_STALE && error.code == CORELANE_STALE);
  options.name_length = 3;
  CHECK(corelane_port_connect(port, &options, &other, NULL) == CORELANE_NULL);
  options = peer("x", "peerjs", 0);
  CHECK(corelane_port_connect(port, &options, NULL, NULL) == CORELANE_NULL);
  CHECK(corelane_port_connect(port, NULL, &other, NULL) == CORELANE_NULL);
  options.credit_policy = 4;
  CHECK(corelane_port_connect(port, &options, &other, &error) == CORELANE_INVALID);
  CHECK(strstr(error.message, "CORELANE_CREDIT_") != NULL);
  options = peer("\xc3", "peerjs", 0);
  CHECK(corelane_port_connect(port, &options, &other, &error) == CORELANE_INVALID);
  CHECK(strstr(error.message, "name is not UTF-8") != NULL);
  options = peer("bob", "peerjs", 0);
  CHECK(corelane_port_connect(port, &options, &other, NULL) == CORELANE_EXISTS);
  options = peer("x", "smtp", 0);
  CHECK(corelane_port_connect(port, &options, &other, &error) == CORELANE_NOT_FOUND);
  CHECK(strstr(error.message, "smtp") != NULL);
  memset(long_name, 'x', sizeof long_name - 1);
  options = peer(long_name, "peerjs", 0);
  CHECK(corelane_port_connect(port, &options, &other, NULL) == CORELANE_INVALID);
  options = peer("", "peerjs", 0);
  CHECK(corelane_port_connect(port, &options, &other, NULL) == CORELANE_INVALID);
  CHECK(corelane_port_connect(forged, &options, &other, NULL) == CORELANE_STALE);
  CHECK(corelane_port_submit(port, client, NULL, 5, 0) == CORELANE_NULL);
  CHECK(corelane_port_submit(port, stale, large, 1, 0) == CORELANE_STALE);
  CHECK(corelane_port_submit(port, client, large, sizeof large, 0) == CORELANE_TOO_LARGE);
  CHECK(corelane_port_submit(wild, client, large, 1, 0) == CORELANE_STALE);
  CHECK(corelane_port_poll(port, NULL, 4) == CORELANE_NULL);
  events[0].size = 12;
  CHECK(corelane_port_poll(port, events, 4) == CORELANE_INVALID);
  events[0].size = sizeof events[0];
  CHECK(corelane_port_poll(port, events, 0) == CORELANE_INVALID);
  CHECK(corelane_port_poll(none, events, 1) == CORELANE_STALE);
  CHECK(corelane_port_acknowledge(port, stale, 1, 1) == CORELANE_OK); /* Late acknowledgements are not an error. */
  CHECK(corelane_port_acknowledge(none, client, 1, 1) == CORELANE_STALE);
  CHECK(corelane_port_disconnect(port, stale) == CORELANE_STALE);
  CHECK(corelane_port_release_name(port, stale) == CORELANE_STALE);
  CHECK(corelane_port_publish(none) == CORELANE_STALE && corelane_port_release_views(wild) == CORELANE_STALE);
  CHECK(corelane_port_fd(none) == CORELANE_STALE && corelane_port_arm(none) == CORELANE_STALE);
  CHECK(corelane_port_wait(none, 1) == CORELANE_STALE && corelane_port_release(none) == CORELANE_STALE);
  CHECK(corelane_port_wait(port, SECOND / 100) == CORELANE_TIMEOUT);
  CHECK(corelane_router_prometheus(router, NULL) == CORELANE_NULL);
  CHECK(corelane_router_prometheus((corelane_router){0}, &text) == CORELANE_STALE && text.data == NULL);
  CHECK(corelane_router_stop((corelane_router){12345}, 1) == CORELANE_STALE);
  CHECK(corelane_test_panic() == CORELANE_PANIC);
}

/* A child has the parent's handles but none of its threads. */
static void check_fork(corelane_router router, corelane_port port) {
  int status = -1;
  pid_t child = fork();
  NEED(child >= 0);
  if (child == 0) {
    corelane_error error = CORELANE_ERROR_INIT;
    _exit(corelane_port_publish(port) == CORELANE_FORKED && corelane_router_stop(router, 1) == CORELANE_FORKED &&
                  corelane_router_start(NULL, 0, &router, &error) == CORELANE_FORKED && error.code == CORELANE_FORKED
              ? 0
              : 1);
  }
  NEED(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  CHECK(corelane_port_publish(port) == CORELANE_OK);
}

static void *wait_long(void *argument) {
  const corelane_port *port = argument;
  wait_until_stale(*port);
  return NULL;
}

/* A second thread gets BUSY, and its call changes nothing. The release ends the wait. */
static void check_busy(corelane_router router) {
  corelane_port port;
  pthread_t thread;
  int turn, busy = 0;
  NEED(corelane_port_open(router, NULL, &port, NULL) == CORELANE_OK);
  NEED(pthread_create(&thread, NULL, wait_long, &port) == 0);
  for (turn = 0; turn < 30000 && !busy; turn++) {
    usleep(1000);
    busy = corelane_port_publish(port) == CORELANE_BUSY;
  }
  CHECK(busy);
  CHECK(corelane_port_release(port) == CORELANE_OK);
  CHECK(corelane_port_release(port) == CORELANE_STALE);
  pthread_join(thread, NULL);
}

/* If a host writes impossible values into its own port's memory, calls return statuses and nothing worse happens. */
static void check_corruption(void) {
  static const uint8_t offer[] = "{\"type\":\"OFFER\",\"dst\":\"bob\",\"payload\":1}";
  const uint64_t values[] = {1, 7, 64, 4096 + 61, UINT64_MAX, UINT64_MAX - 63};
  size_t where, value;
  for (where = 0; where < 10; where++) {
    for (value = 0; value < sizeof values / sizeof values[0]; value++) {
      corelane_router router;
      corelane_port port;
      corelane_client alice, bob;
      uint8_t *in = NULL, *from = NULL;
      int turn;
      NEED(corelane_router_start(TEXT("workers=1\npin=off\nmax_message=1000\nring_bytes=8192\nmax_clients=10\nmax_ports=1\n"), &router,
                          NULL) == CORELANE_OK);
      NEED(corelane_port_open(router, NULL, &port, NULL) == CORELANE_OK);
      alice = connect_peer(port, "alice", 1);
      bob = connect_peer(port, "bob", 2);
      for (turn = 0; turn < 3; turn++) {
        CHECK(corelane_port_submit(port, alice, offer, sizeof offer - 1, 0) == CORELANE_OK);
      }
      CHECK(corelane_port_publish(port) == CORELANE_OK);
      CHECK(await(port, CORELANE_EVENT_MESSAGE)->token == 2);
      NEED(corelane_test_ring(port, 0, 0, &in) == CORELANE_OK && corelane_test_ring(port, 0, 1, &from) == CORELANE_OK);
      {
        uint64_t *words[10];
        words[0] = word(in, RING_TAIL);
        words[1] = word(in, RING_HEAD);
        words[2] = word(in, RING_DATA + 64);
        words[3] = word(in, RING_CLOSED);
        words[4] = word(in, RING_SEAL); /* the seal */
        words[5] = word(from, RING_TAIL);
        words[6] = word(from, RING_HEAD);
        words[7] = word(from, RING_DATA);
        words[8] = word(from, RING_DATA + 40); /* the number of recipients */
        words[9] = word(from, RING_SEAL);
        for (turn = 0; turn < 3; turn++) {
          __atomic_store_n(words[where], values[value], __ATOMIC_SEQ_CST);
          CHECK(corelane_port_submit(port, alice, offer, sizeof offer - 1, 0) != CORELANE_PANIC);
          CHECK(corelane_port_publish(port) != CORELANE_PANIC);
          CHECK(corelane_port_wait(port, SECOND / 500) != CORELANE_PANIC);
          events[0].size = sizeof events[0];
          CHECK(corelane_port_poll(port, events, 2) != CORELANE_PANIC);
        }
        CHECK(corelane_port_disconnect(port, bob) != CORELANE_PANIC);
        if (value % 2 == 0) {
          CHECK(corelane_router_stop(router, 5 * SECOND) == CORELANE_OK);
          __atomic_store_n(words[where], values[value], __ATOMIC_SEQ_CST);
          CHECK(corelane_port_poll(port, events, 2) != CORELANE_PANIC);
        } else {
          __atomic_store_n(words[where], values[value], __ATOMIC_SEQ_CST);
        }
      }
      CHECK(corelane_port_release(port) == CORELANE_OK);
      CHECK(corelane_router_stop(router, 5 * SECOND) == CORELANE_OK);
      CHECK(figure(router, "corelane_messages_submitted_total", "") >= 3);
      CHECK(corelane_router_release(router) == CORELANE_OK);
    }
  }
}

/* A loop with a worker of its own. Runs until the loop would wait; returns how many messages came. */
static int turn_local(corelane_port port) {
  int turn, at, messages = 0;
  for (turn = 0; turn < 1000; turn++) {
    int32_t work = corelane_port_cycle(port), count;
    events[0].size = sizeof events[0];
    count = corelane_port_poll(port, events, 16);
    NEED(work >= 0 && count >= 0);
    for (at = 0; at < count; at++) {
      messages += events[at].kind == CORELANE_EVENT_MESSAGE;
    }
    if (work + count == 0 && corelane_port_arm(port) == CORELANE_OK) {
      return messages;
    }
  }
  NEED(!"the loop rests");
  return 0;
}

static int readable(corelane_port port, int timeout) {
  struct pollfd descriptor = {.fd = corelane_port_fd(port), .events = POLLIN, .revents = 0};
  return poll(&descriptor, 1, timeout);
}

/* Two loops on one thread: cycle and poll, next due, wakes from the other loop only, and a stop in order. */
static void check_local(void) {
  static const uint8_t to_bob[] = "{\"type\":\"OFFER\",\"dst\":\"bob\",\"payload\":1}";
  static const uint8_t to_eve[] = "{\"type\":\"OFFER\",\"dst\":\"eve\",\"payload\":1}";
  static const uint8_t to_zoe[] = "{\"type\":\"OFFER\",\"dst\":\"zoe\",\"payload\":1}";
  corelane_error error = CORELANE_ERROR_INIT;
  corelane_router router;
  corelane_port near, far, none = {0};
  corelane_client alice;
  corelane_port_options local = CORELANE_PORT_OPTIONS_INIT;
  int32_t due = 77;
  local.flags = CORELANE_PORT_LOCAL;
  NEED(corelane_router_start(TEXT("workers=2\nlocal_workers=2\nhold_ms=60000"), &router, &error) == CORELANE_OK);
  CHECK(corelane_port_open(router, NULL, &near, &error) == CORELANE_STATE && strstr(error.message, "local") != NULL);
  CHECK(corelane_port_open(router, &local, NULL, NULL) == CORELANE_NULL);
  NEED(corelane_port_open(router, &local, &near, &error) == CORELANE_OK);
  NEED(corelane_port_open(router, &local, &far, &error) == CORELANE_OK);
  CHECK(corelane_port_open(router, &local, &none, NULL) == CORELANE_LIMIT);
  CHECK(corelane_port_cycle(none) == CORELANE_STALE && corelane_port_next_due(none, &due) == CORELANE_STALE);
  CHECK(corelane_port_awake(none, 1) == CORELANE_STALE && corelane_port_next_due(near, NULL) == CORELANE_NULL);
  alice = connect_peer(near, "alice", 1);
  connect_peer(near, "bob", 2);
  connect_peer(far, "eve", 3);
  CHECK(turn_local(far) == 0 && turn_local(near) == 0);
  CHECK(corelane_port_next_due(near, &due) == CORELANE_OK && due == -1);

  /* A message to a client of the same loop never leaves it: nothing is signalled. */
  corelane_port_awake(near, readable(near, 0));
  CHECK(turn_local(near) == 0);
  corelane_port_awake(near, 0);
  CHECK(corelane_port_submit(near, alice, to_bob, sizeof to_bob - 1, 0) == CORELANE_OK);
  CHECK(turn_local(near) == 1 && readable(near, 0) == 0);
  /* One to the other loop makes one hop and one wake. */
  corelane_port_awake(far, readable(far, 0));
  CHECK(turn_local(far) == 0 && readable(far, 0) == 0);
  corelane_port_awake(near, 0);
  CHECK(corelane_port_submit(near, alice, to_eve, sizeof to_eve - 1, 0) == CORELANE_OK);
  CHECK(turn_local(near) == 0 && readable(far, 0) == 1);
  corelane_port_awake(far, 1);
  CHECK(readable(far, 0) == 0 && turn_local(far) == 1);

  corelane_port_awake(near, 0);
  CHECK(corelane_port_submit(near, alice, to_zoe, sizeof to_zoe - 1, 0) == CORELANE_OK);
  CHECK(turn_local(near) == 0 && corelane_port_next_due(near, &due) == CORELANE_OK && due > 0 && due <= 60100);
  CHECK(corelane_router_stop(router, SECOND) == CORELANE_THREAD && corelane_router_request_stop(router) == CORELANE_OK);
  CHECK(readable(near, 10000) == 1 && readable(far, 10000) == 1);
  CHECK(corelane_port_cycle(near) >= 0 && corelane_port_cycle(near) == CORELANE_CLOSED);
  CHECK(corelane_port_cycle(far) >= 0 && corelane_port_cycle(far) == CORELANE_CLOSED);
  for (due = 0; due < 10 && corelane_port_poll(near, events, 16) != CORELANE_CLOSED; due++) {
  }
  CHECK(due < 10 && corelane_port_poll(near, events, 16) == CORELANE_CLOSED);
  CHECK(corelane_router_stop(router, SECOND) == CORELANE_OK && corelane_router_request_stop(router) == CORELANE_OK);
  CHECK(corelane_port_release(near) == CORELANE_OK && corelane_router_release(router) == CORELANE_OK);
  CHECK(corelane_port_release(far) == CORELANE_OK && corelane_router_request_stop(router) == CORELANE_STALE);
}

int main(void) {
  static const char offer[] = "{\"type\":\"OFFER\",\"src\":\"mallory\",\"dst\":\"bob\",\"payload\":{\"sdp\":\"v=0\"}}";
  static const char answer[] = "{\"dst\":\"alice\",\"payload\":{\"sdp\":\"v=1\"},\"type\":\"ANSWER\"}";
  static const char *const families[] = {
      "corelane_messages_delivered_total{message_type=\"OFFER\",protocol=\"peerjs\"} 1\n",
      "corelane_messages_delivered_total{message_type=\"ANSWER\",protocol=\"peerjs\"} 1\n",
      "corelane_messages_in_flight 0\n", "corelane_deliveries_queued 0\n", "corelane_connections_open 2\n"};
  corelane_router router;
  corelane_port ports[2];
  corelane_client alice, bob;
  corelane_error error = CORELANE_ERROR_INIT;
  corelane_text text;
  size_t at;
  int turn, status = 0;

  alarm(240);
  CHECK(corelane_version() == 0x00010000);
  CHECK(strcmp(corelane_status_text(CORELANE_FULL), "the ring is full") == 0 && corelane_status_text(-9999) != NULL);
  check_configuration();
  check_local();
  if (corelane_router_start(TEXT("# one worker\n\nworkers = 1\npin=off\n"), &router, &error) != CORELANE_OK) {
    fprintf(stderr, "start: %d %s\n", error.code, error.message);
    return 1;
  }
  NEED(corelane_port_open(router, NULL, &ports[0], &error) == CORELANE_OK);
  NEED(corelane_port_open(router, NULL, &ports[1], &error) == CORELANE_OK);
  alice = connect_peer(ports[0], "alice", 1001);
  bob = connect_peer(ports[1], "bob", 1002);
  exchange(ports[0], alice, ports[1], bob, offer,
           "{\"src\":\"alice\",\"type\":\"OFFER\",\"dst\":\"bob\",\"payload\":{\"sdp\":\"v=0\"}}", 1002, 42);
  exchange(ports[1], bob, ports[0], alice, answer,
           "{\"src\":\"bob\",\"dst\":\"alice\",\"payload\":{\"sdp\":\"v=1\"},\"type\":\"ANSWER\"}", 1001, 43);
  for (turn = 0;; turn++) { /* The workers may count a moment after the last message. */
    text = figures_of(router);
    for (at = 0; at < sizeof families / sizeof families[0] && strstr(text.data, families[at]) != NULL; at++) {
    }
    if (at == sizeof families / sizeof families[0] || turn == 10000) {
      break;
    }
    CHECK(corelane_text_free(&text) == CORELANE_OK);
    usleep(1000);
  }
  for (at = 0; at < sizeof families / sizeof families[0]; at++) {
    CHECK(strstr(text.data, families[at]) != NULL);
  }
  fputs(text.data, stdout);
  CHECK(corelane_text_free(&text) == CORELANE_OK && text.data == NULL && text.length == 0);
  CHECK(corelane_text_free(&text) == CORELANE_OK && corelane_text_free(NULL) == CORELANE_OK);

  check_port_failures(router, ports[0], alice);
  CHECK(corelane_port_submit(ports[1], alice, (const uint8_t *)offer, sizeof offer - 1, 0) == CORELANE_INVALID);
  check_fork(router, ports[0]);
  check_busy(router);
  check_corruption();

  /* After the client has left, its last event is CLOSED. */
  CHECK(corelane_port_disconnect(ports[1], bob) == CORELANE_OK);
  CHECK(corelane_port_disconnect(ports[1], bob) == CORELANE_STALE);
  CHECK(await(ports[1], CORELANE_EVENT_CLOSED)->token == 1002);
  CHECK(corelane_port_submit(ports[1], bob, (const uint8_t *)answer, sizeof answer - 1, 0) == CORELANE_STALE);

  /* The router is released first; its ports return CORELANE_CLOSED until they are released as well. */
  CHECK(corelane_router_stop(router, 10 * SECOND) == CORELANE_OK && corelane_router_stop(router, SECOND) == CORELANE_OK);
  CHECK(corelane_port_open(router, NULL, &ports[1], NULL) == CORELANE_STATE);
  CHECK(corelane_router_release(router) == CORELANE_OK);
  CHECK(corelane_router_release(router) == CORELANE_STALE);
  CHECK(corelane_port_submit(ports[0], alice, (const uint8_t *)offer, sizeof offer - 1, 0) == CORELANE_CLOSED);
  for (turn = 0; turn < 100 && status != CORELANE_CLOSED; turn++) {
    events[0].size = sizeof events[0];
    status = corelane_port_poll(ports[0], events, 16);
  }
  CHECK(status == CORELANE_CLOSED);
  CHECK(corelane_port_wait(ports[0], SECOND) == CORELANE_CLOSED && corelane_port_arm(ports[0]) == CORELANE_CLOSED);
  CHECK(corelane_port_release(ports[0]) == CORELANE_OK && corelane_port_release(ports[0]) == CORELANE_STALE);
  CHECK(corelane_port_release(ports[1]) == CORELANE_OK);
  return checks_failed == 0 ? 0 : 1;
}
