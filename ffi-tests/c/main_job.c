/* A complete C host: two PeerJS clients on two ports exchange an offer and an answer through the router, and the
 * Prometheus text is printed. Then the failures of each call are tested. */
#define _DEFAULT_SOURCE
#include "corelane_inline.h"

#include "check.h"
#include <poll.h>
#include <pthread.h>
#include <sys/wait.h>

/* Exported only with the feature ffi-test: see src/ffi/testing.rs. */
int32_t corelane_test_panic(void);

#define TEXT(text) (text), sizeof(text) - 1
#define SECOND UINT64_C(1000000000)

static corelane_event events[16];

/* Polls until an event of this kind comes, as an event loop does: arm, wait for the descriptor, poll. */
static const corelane_event *await(corelane_port port, uint32_t kind) {
  int turn, at;
  for (turn = 0; turn < 1000; turn++) {
    struct pollfd descriptor;
    int32_t count;
    events[0].size = sizeof events[0];
    count = corelane_poll(port, events, 16);
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
  corelane_client client = {0};
  corelane_error error = {.size = sizeof error};
  if (corelane_connect(port, name, strlen(name), TEXT("peerjs"), TEXT("calls"), token, &client, &error) != CORELANE_OK) {
    fprintf(stderr, "connect %s: %d %s\n", name, error.code, error.message);
    exit(1);
  }
  return client;
}

static void exchange(corelane_port from, corelane_client sender, corelane_port to, corelane_client recipient,
                     const char *message, const char *expected, uint64_t token, uint64_t correlation) {
  const corelane_event *event;
  CHECK(corelane_submit(from, sender, (const uint8_t *)message, strlen(message), correlation) == CORELANE_OK);
  CHECK(corelane_publish(from) == CORELANE_OK);
  event = await(to, CORELANE_EVENT_MESSAGE);
  CHECK(event->client.value == recipient.value && event->sender.value == sender.value);
  CHECK(event->token == token && event->correlation == correlation);
  CHECK(event->length == strlen(expected) && memcmp(event->bytes, expected, event->length) == 0);
  CHECK(corelane_acknowledge(to, event->client, 1, (uint32_t)event->length) == CORELANE_OK);
  CHECK(corelane_release(to) == CORELANE_OK);
}

static char *metrics(corelane_router router) {
  int64_t needed = corelane_prometheus(router, NULL, 0), written;
  char *text;
  NEED(needed > 0);
  text = malloc((size_t)needed + 4096); /* Figures may grow between the calls. */
  NEED(text != NULL);
  text[0] = 'x';
  CHECK(corelane_prometheus(router, text, 10) > 10 && text[0] == 'x'); /* Too small: nothing is written. */
  written = corelane_prometheus(router, text, (size_t)needed + 4096);
  NEED(written > 0 && text[written] == 0 && strlen(text) == (size_t)written);
  return text;
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
    CHECK(corelane_start(wrong[at].text, strlen(wrong[at].text), &router, &error) == wrong[at].status);
    CHECK(error.code == wrong[at].status && strstr(error.message, wrong[at].says) != NULL);
    CHECK(router.value == 7); /* Outputs are written only on success. */
  }
  error.size = 8; /* The size of another version: nothing is written. */
  error.code = 99;
  CHECK(corelane_start(TEXT("workers=100"), &router, &error) == CORELANE_CONFIG_VALUE && error.code == 99);
  CHECK(corelane_start(TEXT("workers=100"), &router, NULL) == CORELANE_CONFIG_VALUE);
  CHECK(corelane_start(TEXT("workers=1"), NULL, NULL) == CORELANE_NULL);
  CHECK(corelane_start(NULL, 5, &router, NULL) == CORELANE_NULL);
}

static void check_port_failures(corelane_router router, corelane_port port, corelane_client client) {
  corelane_port forged = {port.value + (UINT64_C(1) << 32)}, none = {0}, wild = {UINT64_MAX}, second;
  corelane_client stale = {client.value + (UINT64_C(1) << 32)}, other;
  corelane_error error = {.size = sizeof error};
  static char long_name[100];
  static uint8_t large[1 << 20];
  CHECK(corelane_port_open(router, NULL, NULL) == CORELANE_NULL);
  CHECK(corelane_port_open((corelane_router){99}, &second, &error) == CORELANE_STALE && error.code == CORELANE_STALE);
  CHECK(corelane_connect(port, NULL, 3, TEXT("peerjs"), NULL, 0, 0, &other, NULL) == CORELANE_NULL);
  CHECK(corelane_connect(port, TEXT("x"), TEXT("peerjs"), NULL, 0, 0, NULL, NULL) == CORELANE_NULL);
  CHECK(corelane_connect(port, TEXT("\xc3"), TEXT("peerjs"), NULL, 0, 0, &other, &error) == CORELANE_INVALID);
  CHECK(strstr(error.message, "name is not UTF-8") != NULL);
  CHECK(corelane_connect(port, TEXT("bob"), TEXT("peerjs"), NULL, 0, 0, &other, NULL) == CORELANE_EXISTS);
  CHECK(corelane_connect(port, TEXT("x"), TEXT("smtp"), NULL, 0, 0, &other, &error) == CORELANE_NOT_FOUND);
  CHECK(strstr(error.message, "smtp") != NULL);
  memset(long_name, 'x', sizeof long_name);
  CHECK(corelane_connect(port, long_name, sizeof long_name, TEXT("peerjs"), NULL, 0, 0, &other, NULL) == CORELANE_INVALID);
  CHECK(corelane_connect(forged, TEXT("x"), TEXT("peerjs"), NULL, 0, 0, &other, NULL) == CORELANE_STALE);
  CHECK(corelane_submit(port, client, NULL, 5, 0) == CORELANE_NULL);
  CHECK(corelane_submit(port, stale, large, 1, 0) == CORELANE_STALE);
  CHECK(corelane_submit(port, client, large, sizeof large, 0) == CORELANE_TOO_LARGE);
  CHECK(corelane_submit(wild, client, large, 1, 0) == CORELANE_STALE);
  CHECK(corelane_poll(port, NULL, 4) == CORELANE_NULL);
  events[0].size = 8;
  CHECK(corelane_poll(port, events, 4) == CORELANE_INVALID);
  events[0].size = sizeof events[0];
  CHECK(corelane_poll(port, events, 0) == CORELANE_INVALID);
  CHECK(corelane_poll(none, events, 1) == CORELANE_STALE);
  CHECK(corelane_acknowledge(port, stale, 1, 1) == CORELANE_OK); /* Late acknowledgements are not an error. */
  CHECK(corelane_acknowledge(none, client, 1, 1) == CORELANE_STALE);
  CHECK(corelane_disconnect(port, stale) == CORELANE_STALE);
  CHECK(corelane_release_name(port, stale) == CORELANE_STALE);
  CHECK(corelane_publish(none) == CORELANE_STALE && corelane_release(wild) == CORELANE_STALE);
  CHECK(corelane_port_fd(none) == CORELANE_STALE && corelane_port_arm(none) == CORELANE_STALE);
  CHECK(corelane_port_wait(none, 1) == CORELANE_STALE && corelane_port_release(none) == CORELANE_STALE);
  CHECK(corelane_port_wait(port, SECOND / 100) == CORELANE_TIMEOUT);
  CHECK(corelane_prometheus(router, NULL, 10) == CORELANE_NULL);
  CHECK(corelane_prometheus((corelane_router){0}, NULL, 0) == CORELANE_STALE);
  CHECK(corelane_stop((corelane_router){12345}, 1) == CORELANE_STALE);
  CHECK(corelane_test_panic() == CORELANE_PANIC);
}

/* The figures that a host reports about messages that it routes itself, separate from those that were routed. */
static void check_record(corelane_router router) {
  char *text;
  CHECK(corelane_record(router, TEXT("sip"), TEXT("INVITE"), TEXT("phones"), 1, 700, 1500000) == CORELANE_OK);
  CHECK(corelane_record(router, TEXT("sip"), TEXT("INVITE"), TEXT("phones"), 0, 300, 2500000) == CORELANE_OK);
  CHECK(corelane_record(router, NULL, 1, TEXT("x"), NULL, 0, 1, 0, 0) == CORELANE_NULL);
  CHECK(corelane_record(router, TEXT("sip"), TEXT("\xff"), NULL, 0, 1, 0, 0) == CORELANE_INVALID);
  CHECK(corelane_record((corelane_router){3}, TEXT("sip"), TEXT("x"), NULL, 0, 1, 0, 0) == CORELANE_STALE);
  text = metrics(router);
  CHECK(strstr(text, "corelane_recorded_messages_total{message_type=\"INVITE\",protocol=\"sip\",outcome=\"ok\"} 1\n"));
  CHECK(strstr(text, "corelane_recorded_messages_total{message_type=\"INVITE\",protocol=\"sip\",outcome=\"failed\"} 1\n"));
  CHECK(strstr(text, "corelane_recorded_bytes_total{message_type=\"INVITE\",protocol=\"sip\"} 1000\n"));
  CHECK(strstr(text, "corelane_recorded_duration_seconds_sum{message_type=\"INVITE\",protocol=\"sip\"} 0.004\n"));
  CHECK(strstr(text, "corelane_recorded_app_messages_total{app=\"phones\",outcome=\"ok\"} 1\n"));
  CHECK(strstr(text, "corelane_messages_in_flight 0\n"));
  free(text);
}

/* The layout of a port: the tail moves when messages are submitted. */
static void check_layout(corelane_port port, corelane_client client) {
  static const char heartbeat[] = "{\"type\":\"HEARTBEAT\"}";
  corelane_layout layout = {0};
  uint64_t before;
  CHECK(corelane_port_layout(port, 0, NULL) == CORELANE_NULL);
  CHECK(corelane_port_layout(port, 0, &layout) == CORELANE_ABI);
  layout.size = sizeof layout;
  CHECK(corelane_port_layout(port, 64, &layout) == CORELANE_INVALID);
  NEED(corelane_port_layout(port, 0, &layout) == CORELANE_OK);
  CHECK(corelane_ring_check(&layout, &layout.ingress) == CORELANE_OK);
  CHECK(corelane_ring_check(&layout, &layout.egress) == CORELANE_OK);
  CHECK(*corelane_ring_u64(&layout.ingress, 32) == layout.stamp_source);
  CHECK(layout.port_fd == corelane_port_fd(port));
  before = *corelane_ring_u64(&layout.ingress, layout.ingress.tail);
  CHECK(corelane_submit(port, client, (const uint8_t *)heartbeat, sizeof heartbeat - 1, 0) == CORELANE_OK);
  CHECK(*corelane_ring_u64(&layout.ingress, layout.ingress.tail) == before);
  CHECK(corelane_publish(port) == CORELANE_OK);
  CHECK(*corelane_ring_u64(&layout.ingress, layout.ingress.tail) == before + 128); /* 56 + 20 bytes in lines of 64 */
}

/* An inline port: the calls that it refuses, and its messages between calls that push. */
static void check_inline(corelane_router router) {
  static const char offer[] = "{\"type\":\"OFFER\",\"dst\":\"erin\",\"payload\":1}";
  corelane_port handle, plain;
  corelane_client dave, erin, other;
  corelane_inline port;
  corelane_lane lanes[1];
  static const char large_head[] = "{\"type\":\"OFFER\",\"dst\":\"erin\",\"payload\":\"";
  static char large[50000];
  int turn, seen = 0, closed = 0;
  NEED(corelane_port_open(router, &plain, NULL) == CORELANE_OK);
  NEED(corelane_port_open(router, &handle, NULL) == CORELANE_OK);
  other = connect_peer(plain, "other", 3);
  dave = connect_peer(handle, "dave", 1);
  CHECK(corelane_port_inline((corelane_port){0}) == CORELANE_STALE);
  CHECK(corelane_inline_open(&port, handle, lanes, 0) == CORELANE_LIMIT);
  CHECK(corelane_inline_open(&port, handle, lanes, 1) == CORELANE_OK);
  CHECK(corelane_inline_connect(&port, TEXT("erin"), TEXT("peerjs"), NULL, 0, 2, &erin, NULL) == CORELANE_OK);
  CHECK(corelane_inline_connect(&port, TEXT("erin"), TEXT("peerjs"), NULL, 0, 2, &other, NULL) == CORELANE_EXISTS);
  events[0].size = sizeof events[0];
  CHECK(corelane_payload_take(handle, 1, NULL, NULL) == CORELANE_NULL);
  CHECK(corelane_payload_release((corelane_port){0}) == CORELANE_STALE && corelane_payload_release(plain) == CORELANE_OK);
  CHECK(corelane_poll(handle, events, 1) == CORELANE_STATE && corelane_release(handle) == CORELANE_STATE);
  CHECK(corelane_port_arm(handle) == CORELANE_STATE && corelane_port_wait(handle, 1) == CORELANE_STATE);
  CHECK(corelane_client_closed(handle, erin) == CORELANE_STALE); /* The client is connected, not closing. */
  CHECK(corelane_client_closed(handle, other) == CORELANE_INVALID);
  CHECK(corelane_client_closed(plain, other) == CORELANE_STATE);
  CHECK(corelane_inline_submit(&port, other, TEXT(offer), 0) == CORELANE_INVALID);
  CHECK(corelane_inline_submit(&port, (corelane_client){dave.value + (UINT64_C(1) << 32)}, TEXT(offer), 0) == CORELANE_STALE);
  CHECK(corelane_inline_submit(&port, (corelane_client){UINT64_MAX}, TEXT(offer), 0) == CORELANE_STALE);
  CHECK(corelane_inline_submit(&port, dave, offer, port.layout.max_message + 1, 0) == CORELANE_TOO_LARGE);
  CHECK(corelane_inline_submit(&port, dave, TEXT(offer), 7) == CORELANE_OK);
  /* A message that does not fit a ring, between messages that do. */
  memset(large, 'x', sizeof large);
  memcpy(large, large_head, sizeof large_head - 1);
  memcpy(large + sizeof large - 2, "\"}", 2);
  CHECK(corelane_inline_submit(&port, dave, large, sizeof large, 7) == CORELANE_OK);
  CHECK(corelane_inline_submit(&port, dave, TEXT(offer), 7) == CORELANE_OK);
  CHECK(corelane_inline_disconnect(&port, dave) == CORELANE_OK);
  CHECK(corelane_inline_disconnect(&port, dave) == CORELANE_STALE);
  CHECK(corelane_inline_push_waiting(&port) == 0);
  for (turn = 0; turn < 1000 && (seen < 3 || closed == 0); turn++) {
    int32_t count = corelane_inline_poll(&port, events, 16), at;
    NEED(count >= 0);
    for (at = 0; at < count; at++) {
      if (events[at].kind == CORELANE_EVENT_MESSAGE) {
        CHECK(events[at].token == 2 && events[at].sender.value == dave.value && events[at].correlation == 7);
        CHECK(events[at].client.value == erin.value && closed == 0);
        CHECK(corelane_acknowledge(handle, erin, 1, (uint32_t)events[at].length) == CORELANE_OK);
        CHECK((events[at].length > sizeof large) == (seen == 1) && events[at].bytes[events[at].length - 1] == '}');
        seen++;
      } else {
        CHECK(events[at].kind == CORELANE_EVENT_CLOSED && events[at].client.value == dave.value);
        CHECK(corelane_client_closed(handle, dave) == CORELANE_STALE); /* The poll has called it already. */
        closed++;
      }
    }
    if (count == 0 && corelane_inline_arm(&port) == CORELANE_OK) {
      corelane_wake_sleep(corelane_port_wake_of(&port.layout), 10000);
    }
  }
  CHECK(seen == 3 && closed == 1);
  /* Impossible values in words that the port writes yield a status, and the port can be released. */
  __atomic_store_n(corelane_ring_u64(&lanes[0].to.ring, lanes[0].to.ring.tail), UINT64_C(12345), __ATOMIC_SEQ_CST);
  CHECK(corelane_connect(handle, TEXT("fay"), TEXT("peerjs"), NULL, 0, 3, &dave, NULL) == CORELANE_CORRUPT);
  CHECK(corelane_disconnect(handle, erin) == CORELANE_CORRUPT && corelane_publish(handle) == CORELANE_CORRUPT);
  CHECK(corelane_port_release(handle) == CORELANE_OK && corelane_port_release(plain) == CORELANE_OK);
  CHECK(corelane_port_inline(handle) == CORELANE_STALE && corelane_client_closed(handle, erin) == CORELANE_STALE);
}

/* A child has the parent's handles but none of its threads. */
static void check_fork(corelane_router router, corelane_port port) {
  int status = -1;
  pid_t child = fork();
  NEED(child >= 0);
  if (child == 0) {
    corelane_error error = {.size = sizeof error};
    _exit(corelane_publish(port) == CORELANE_FORKED && corelane_stop(router, 1) == CORELANE_FORKED &&
                  corelane_start(NULL, 0, &router, &error) == CORELANE_FORKED && error.code == CORELANE_FORKED
              ? 0
              : 1);
  }
  NEED(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  CHECK(corelane_publish(port) == CORELANE_OK);
}

static void *wait_long(void *argument) {
  corelane_port *port = argument;
  int32_t status = corelane_port_wait(*port, SECOND / 2);
  CHECK(status == CORELANE_OK || status == CORELANE_TIMEOUT);
  return NULL;
}

/* A second thread gets BUSY, and its call changes nothing. */
static void check_busy(corelane_router router) {
  corelane_port port;
  pthread_t thread;
  int turn, busy = 0;
  NEED(corelane_port_open(router, &port, NULL) == CORELANE_OK);
  NEED(pthread_create(&thread, NULL, wait_long, &port) == 0);
  for (turn = 0; turn < 1000 && !busy; turn++) {
    usleep(1000);
    busy = corelane_publish(port) == CORELANE_BUSY;
  }
  CHECK(busy && corelane_port_release(port) == CORELANE_BUSY);
  pthread_join(thread, NULL);
  CHECK(corelane_port_release(port) == CORELANE_OK);
  CHECK(corelane_port_release(port) == CORELANE_STALE);
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
      corelane_layout layout = {.size = sizeof layout};
      int turn;
      NEED(corelane_start(TEXT("workers=1\npin=off\nmax_message=1000\nring_bytes=8192\nmax_clients=10\nmax_ports=1\n"), &router,
                          NULL) == CORELANE_OK);
      NEED(corelane_port_open(router, &port, NULL) == CORELANE_OK);
      alice = connect_peer(port, "alice", 1);
      bob = connect_peer(port, "bob", 2);
      for (turn = 0; turn < 3; turn++) {
        CHECK(corelane_submit(port, alice, offer, sizeof offer - 1, 0) == CORELANE_OK);
      }
      CHECK(corelane_publish(port) == CORELANE_OK);
      CHECK(await(port, CORELANE_EVENT_MESSAGE)->token == 2);
      NEED(corelane_port_layout(port, 0, &layout) == CORELANE_OK);
      {
        const corelane_ring *in = &layout.ingress, *from = &layout.egress;
        uint64_t *words[10];
        words[0] = corelane_ring_u64(in, in->tail);
        words[1] = corelane_ring_u64(in, in->head);
        words[2] = corelane_ring_u64(in, in->data + 64);
        words[3] = corelane_ring_u64(in, in->closed);
        words[4] = corelane_ring_u64(in, 400); /* the seal */
        words[5] = corelane_ring_u64(from, from->tail);
        words[6] = corelane_ring_u64(from, from->head);
        words[7] = corelane_ring_u64(from, from->data);
        words[8] = corelane_ring_u64(from, from->data + 40); /* the number of recipients */
        words[9] = corelane_ring_u64(from, 400);
        for (turn = 0; turn < 3; turn++) {
          __atomic_store_n(words[where], values[value], __ATOMIC_SEQ_CST);
          CHECK(corelane_submit(port, alice, offer, sizeof offer - 1, 0) != CORELANE_PANIC);
          CHECK(corelane_publish(port) != CORELANE_PANIC);
          CHECK(corelane_port_wait(port, SECOND / 500) != CORELANE_PANIC);
          events[0].size = sizeof events[0];
          CHECK(corelane_poll(port, events, 2) != CORELANE_PANIC);
        }
        CHECK(corelane_disconnect(port, bob) != CORELANE_PANIC);
        if (value % 2 == 0) {
          CHECK(corelane_stop(router, 5 * SECOND) == CORELANE_OK);
          __atomic_store_n(words[where], values[value], __ATOMIC_SEQ_CST);
          CHECK(corelane_poll(port, events, 2) != CORELANE_PANIC);
        } else {
          __atomic_store_n(words[where], values[value], __ATOMIC_SEQ_CST);
        }
      }
      CHECK(corelane_port_release(port) == CORELANE_OK);
      CHECK(corelane_stop(router, 5 * SECOND) == CORELANE_OK);
      free(metrics(router));
      CHECK(corelane_router_release(router) == CORELANE_OK);
    }
  }
}

/* A loop with a worker of its own. Runs until the loop would wait; returns how many messages came. */
static int turn_local(corelane_port port) {
  int turn, at, messages = 0;
  for (turn = 0; turn < 1000; turn++) {
    int32_t work = corelane_cycle(port), count;
    events[0].size = sizeof events[0];
    count = corelane_poll(port, events, 16);
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
  corelane_error error = {.size = sizeof error};
  corelane_router router;
  corelane_port near, far, none = {0};
  corelane_client alice;
  int32_t due = 77;
  NEED(corelane_start(TEXT("workers=2\nlocal_workers=2\nhold_ms=1000"), &router, &error) == CORELANE_OK);
  CHECK(corelane_port_open(router, &near, &error) == CORELANE_STATE && strstr(error.message, "local") != NULL);
  CHECK(corelane_port_open_local(router, NULL, NULL) == CORELANE_NULL);
  NEED(corelane_port_open_local(router, &near, &error) == CORELANE_OK);
  NEED(corelane_port_open_local(router, &far, &error) == CORELANE_OK);
  CHECK(corelane_port_open_local(router, &none, NULL) == CORELANE_LIMIT);
  CHECK(corelane_cycle(none) == CORELANE_STALE && corelane_port_next_due(none, &due) == CORELANE_STALE);
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
  CHECK(corelane_submit(near, alice, to_bob, sizeof to_bob - 1, 0) == CORELANE_OK);
  CHECK(turn_local(near) == 1 && readable(near, 0) == 0);
  /* One to the other loop makes one hop and one wake. */
  corelane_port_awake(far, readable(far, 0));
  CHECK(turn_local(far) == 0 && readable(far, 0) == 0);
  corelane_port_awake(near, 0);
  CHECK(corelane_submit(near, alice, to_eve, sizeof to_eve - 1, 0) == CORELANE_OK);
  CHECK(turn_local(near) == 0 && readable(far, 0) == 1);
  corelane_port_awake(far, 1);
  CHECK(readable(far, 0) == 0 && turn_local(far) == 1);

  corelane_port_awake(near, 0);
  CHECK(corelane_submit(near, alice, to_zoe, sizeof to_zoe - 1, 0) == CORELANE_OK);
  CHECK(turn_local(near) == 0 && corelane_port_next_due(near, &due) == CORELANE_OK && due > 0 && due <= 1100);
  CHECK(corelane_stop(router, SECOND) == CORELANE_THREAD && corelane_request_stop(router) == CORELANE_OK);
  CHECK(readable(near, 10000) == 1 && readable(far, 10000) == 1);
  CHECK(corelane_cycle(near) >= 0 && corelane_cycle(near) == CORELANE_CLOSED);
  CHECK(corelane_cycle(far) >= 0 && corelane_cycle(far) == CORELANE_CLOSED);
  for (due = 0; due < 10 && corelane_poll(near, events, 16) != CORELANE_CLOSED; due++) {
  }
  CHECK(due < 10 && corelane_poll(near, events, 16) == CORELANE_CLOSED);
  CHECK(corelane_stop(router, SECOND) == CORELANE_OK && corelane_request_stop(router) == CORELANE_OK);
  CHECK(corelane_port_release(near) == CORELANE_OK && corelane_router_release(router) == CORELANE_OK);
  CHECK(corelane_port_release(far) == CORELANE_OK && corelane_request_stop(router) == CORELANE_STALE);
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
  corelane_error error = {.size = sizeof error};
  char *text;
  size_t at;
  int turn, status = 0;

  alarm(60);
  CHECK(corelane_version() == 0x00010000);
  CHECK(strcmp(corelane_status_text(CORELANE_FULL), "the ring is full") == 0 && corelane_status_text(-9999) != NULL);
  check_configuration();
  check_local();
  if (corelane_start(TEXT("# one worker\n\nworkers = 1\npin=off\n"), &router, &error) != CORELANE_OK) {
    fprintf(stderr, "start: %d %s\n", error.code, error.message);
    return 1;
  }
  NEED(corelane_port_open(router, &ports[0], &error) == CORELANE_OK);
  NEED(corelane_port_open(router, &ports[1], &error) == CORELANE_OK);
  alice = connect_peer(ports[0], "alice", 1001);
  bob = connect_peer(ports[1], "bob", 1002);
  exchange(ports[0], alice, ports[1], bob, offer,
           "{\"src\":\"alice\",\"type\":\"OFFER\",\"dst\":\"bob\",\"payload\":{\"sdp\":\"v=0\"}}", 1002, 42);
  exchange(ports[1], bob, ports[0], alice, answer,
           "{\"src\":\"bob\",\"dst\":\"alice\",\"payload\":{\"sdp\":\"v=1\"},\"type\":\"ANSWER\"}", 1001, 43);
  text = metrics(router);
  for (at = 0; at < sizeof families / sizeof families[0]; at++) {
    CHECK(strstr(text, families[at]) != NULL);
  }
  fputs(text, stdout);
  free(text);

  check_port_failures(router, ports[0], alice);
  CHECK(corelane_submit(ports[1], alice, (const uint8_t *)offer, sizeof offer - 1, 0) == CORELANE_INVALID);
  check_record(router);
  check_layout(ports[0], alice);
  check_inline(router);
  check_fork(router, ports[0]);
  check_busy(router);
  check_corruption();

  /* After the client has left, its last event is CLOSED. */
  CHECK(corelane_disconnect(ports[1], bob) == CORELANE_OK);
  CHECK(corelane_disconnect(ports[1], bob) == CORELANE_STALE);
  CHECK(await(ports[1], CORELANE_EVENT_CLOSED)->token == 1002);
  CHECK(corelane_submit(ports[1], bob, (const uint8_t *)answer, sizeof answer - 1, 0) == CORELANE_STALE);

  /* The router is released first; its ports return CORELANE_CLOSED until they are released as well. */
  CHECK(corelane_stop(router, 10 * SECOND) == CORELANE_OK && corelane_stop(router, SECOND) == CORELANE_OK);
  CHECK(corelane_port_open(router, &ports[1], NULL) == CORELANE_STATE);
  CHECK(corelane_router_release(router) == CORELANE_OK);
  CHECK(corelane_router_release(router) == CORELANE_STALE);
  CHECK(corelane_submit(ports[0], alice, (const uint8_t *)offer, sizeof offer - 1, 0) == CORELANE_CLOSED);
  for (turn = 0; turn < 100 && status != CORELANE_CLOSED; turn++) {
    events[0].size = sizeof events[0];
    status = corelane_poll(ports[0], events, 16);
  }
  CHECK(status == CORELANE_CLOSED);
  CHECK(corelane_port_wait(ports[0], SECOND) == CORELANE_CLOSED && corelane_port_arm(ports[0]) == CORELANE_CLOSED);
  CHECK(corelane_port_release(ports[0]) == CORELANE_OK && corelane_port_release(ports[0]) == CORELANE_STALE);
  CHECK(corelane_port_release(ports[1]) == CORELANE_OK);
  return checks_failed == 0 ? 0 : 1;
}
