/* Regression tests for inline ports: inputs that once failed, each with the right result. tests/faults has those of
 * the library itself. Every wait is bounded. */
#define _GNU_SOURCE
#include "corelane_inline.h"

#include "check.h"
#include <pthread.h>

#define TEXT(text) (text), (uint32_t)(sizeof(text) - 1)
#define SECOND UINT64_C(1000000000)
#define WORKERS 2
#define EVENTS 64

typedef struct bench {
  corelane_router router;
  corelane_port handle;
  corelane_inline port;
  corelane_lane lanes[WORKERS];
  corelane_event events[EVENTS];
} bench;

static const char to_b[] = "{\"type\":\"offer\",\"to\":\"b\"}";
static const char nobody[] = "{\"type\":\"x\"}";
/* Does not fit a record in a ring of 8192 bytes. */
static char large[3000];

static void start(bench *self, const char *config) {
  corelane_error error = {.size = sizeof error};
  char text[512];
  memset(self, 0, sizeof *self);
  /* No key may be set twice. */
  const char *sizes = strstr(config, "max_message=") ? "" : "max_message=4000\npayload_bytes=1000000\n";
  snprintf(text, sizeof text, "pin=off\nidle=park\n%s%s", sizes, config);
  if (corelane_start(text, strlen(text), &self->router, &error) != CORELANE_OK) {
    fprintf(stderr, "start: %s\n", error.message);
    exit(1);
  }
}

static void open_plain(bench *self) {
  int32_t status = CORELANE_LIMIT;
  int turn;
  for (turn = 0; turn < 1000 && status == CORELANE_LIMIT; turn++) { /* Workers may still use a port just released. */
    status = corelane_port_open(self->router, &self->handle, NULL);
  }
  NEED(status == CORELANE_OK);
}

static void open_inline(bench *self) {
  open_plain(self);
  NEED(corelane_inline_open(&self->port, self->handle, self->lanes, WORKERS) == CORELANE_OK);
}

/* Connects once a slot is free: the worker frees the slot of a client that has just left. */
static corelane_client join(bench *self, const char *name, uint64_t token) {
  corelane_client client = {0};
  int32_t status = CORELANE_LIMIT;
  int turn;
  for (turn = 0; turn < 2000 && status == CORELANE_LIMIT; turn++) {
    status = corelane_inline_connect(&self->port, name, strlen(name), TEXT("generic"), NULL, 0, token, &client, NULL);
    if (status == CORELANE_LIMIT) {
      usleep(1000);
    }
  }
  if (status != CORELANE_OK) {
    fprintf(stderr, "connect %s: %d\n", name, status);
    exit(1);
  }
  return client;
}

/* Waits until a figure has at least this value. */
static void await_figure(bench *self, const char *family, uint64_t value) {
  int turn;
  for (turn = 0; turn < 5000 && figure(self->router, family, "") < value; turn++) {
    usleep(1000);
  }
  NEED(figure(self->router, family, "") >= value);
}

/* Polls, `limit` events at a time, until `wanted` events have come or none can come. Does not acknowledge them. */
static uint32_t take(bench *self, uint32_t wanted, uint32_t limit) {
  uint32_t got = 0;
  int turn;
  for (turn = 0; turn < 5000 && got < wanted; turn++) {
    int32_t count = corelane_inline_poll(&self->port, self->events, limit);
    if (count == CORELANE_CLOSED) {
      break;
    }
    NEED(count >= 0);
    got += (uint32_t)count;
    if (count == 0) {
      usleep(1000);
    }
  }
  return got;
}

/* Checks that every message and every delivery has ended exactly once. Compares totals, because the difference
 * figures are clamped at 0. */
static void check_conservation(bench *self) {
  const corelane_router router = self->router;
  uint64_t refused, ended;
  int turn = 0;
  do { /* A worker that leaves a released port updates its counts last. */
    usleep(1000);
    refused = figure(router, "corelane_messages_refused_total", "");
    ended = figure(router, "corelane_messages_failed_total", "") + figure(router, "corelane_messages_delivered_total", "") +
            figure(router, "corelane_messages_expired_total", "");
  } while ((figure(router, "corelane_messages_submitted_total", "") != refused + ended ||
            figure(router, "corelane_deliveries_queued", "") != 0) && ++turn < 5000);
  CHECK(figure(router, "corelane_messages_submitted_total", "") == refused + ended);
  CHECK(figure(router, "corelane_messages_in_flight", "") == 0);
  CHECK(figure(router, "corelane_deliveries_queued", "") == 0);
}

static void end(bench *self) {
  CHECK(corelane_port_release(self->handle) == CORELANE_OK);
  check_conservation(self);
  CHECK(corelane_stop(self->router, 5 * SECOND) == CORELANE_OK);
  CHECK(corelane_router_release(self->router) == CORELANE_OK);
}

/* Fills `large` with a message like `message` with additional data. */
static void fill_large(const char *message) {
  const char *more = ",\"data\":\"";
  const size_t head = strlen(message) - 1;
  memset(large, 'x', sizeof large);
  memcpy(large, message, head);
  memcpy(large + head, more, strlen(more));
  memcpy(large + sizeof large - 2, "\"}", 2);
}

static uint64_t *cell_of(const bench *self, corelane_client client, uint32_t offset) {
  const corelane_slots *slots = &self->port.layout.slots;
  return corelane_slot_u64(slots->base + (size_t)(uint32_t)client.value * slots->stride, offset);
}

static uint64_t worker_of(const bench *self, corelane_client client) {
  return *cell_of(self, client, self->port.layout.slots.state) >> 16 & 0xffff;
}

static void send_plain(bench *self, corelane_client client, int count) {
  static const char to_y[] = "{\"type\":\"offer\",\"to\":\"y\"}";
  for (; count > 0; count--) {
    NEED(corelane_submit(self->handle, client, (const uint8_t *)to_y, sizeof to_y - 1, 0) == CORELANE_OK);
  }
}

/* A client of an inline port stays on its worker, by whatever way it submits: on the worker that it had moved to
 * before. */
static void clients_stay(void) {
  enum { CLIENTS = 8, ROUNDS = 1000 };
  static bench self;
  static const char to_y[] = "{\"type\":\"offer\",\"to\":\"y\"}", to_z[] = "{\"type\":\"offer\",\"to\":\"z\"}";
  corelane_client clients[CLIENTS], on[3], sender, filler, other;
  char name[2] = "a";
  uint64_t before, worker, sent = 0, got = 0, expected = 0;
  int round, at, found = 0, workers[2] = {0, 0};
  start(&self, "workers=2\nmax_ports=1\nmax_clients=64\nring_bytes=8192\n");
  open_plain(&self);
  NEED(corelane_connect(self.handle, "y", 1, TEXT("generic"), NULL, 0, 0, &other, NULL) == CORELANE_OK);
  NEED(corelane_connect(self.handle, "z", 1, TEXT("generic"), NULL, 0, 0, &other, NULL) == CORELANE_OK);
  for (at = 0; at < CLIENTS; at++) {
    name[0] = (char)('a' + at);
    NEED(corelane_connect(self.handle, name, 1, TEXT("generic"), NULL, 0, 0, &clients[at], NULL) == CORELANE_OK);
  }
  self.port.layout.size = sizeof self.port.layout;
  NEED(corelane_port_layout(self.handle, 0, &self.port.layout) == CORELANE_OK);
  for (at = 0; at < CLIENTS; at++) {
    workers[worker_of(&self, clients[at])]++;
  }
  before = workers[0] > workers[1] ? 0 : 1;
  for (at = 0; at < CLIENTS && found < 3; at++) {
    if (worker_of(&self, clients[at]) == before) {
      on[found++] = clients[at];
    }
  }
  NEED(found == 3);
  /* Once both workers are idle, the client with many messages stays, and the other two move away from it. */
  for (at = 0; at < 5000 && (figure(self.router, "corelane_worker_load_records", "") > 0 ||
                             figure(self.router, "corelane_worker_queue_messages", "") > 0); at++) {
    usleep(1000);
  }
  sender = on[0];
  filler = on[1];
  send_plain(&self, on[2], 40);
  send_plain(&self, sender, 1);
  send_plain(&self, filler, 1);
  worker = worker_of(&self, sender);
  NEED(worker != before && worker == worker_of(&self, filler));
  NEED(corelane_inline_open(&self.port, self.handle, self.lanes, WORKERS) == CORELANE_OK);
  NEED(take(&self, 42, EVENTS) == 42);
  fill_large(to_z);
  for (round = 0; round < ROUNDS; round++) {
    int turn;
    /* Keep the sender's worker busy while the sender is quiet. */
    for (at = 0; at < 8; at++) {
      (void)corelane_inline_submit(&self.port, filler, TEXT(to_y), 0);
    }
    corelane_inline_publish(&self.port);
    for (at = 0; at < 4; at++) {
      const bool is_large = at == 0 || at == 3;
      const uint32_t length = is_large ? sizeof large : sizeof to_z - 1;
      sent += corelane_inline_submit(&self.port, sender, is_large ? large : to_z, length, sent) == CORELANE_OK;
    }
    corelane_inline_publish(&self.port);
    for (turn = 0; turn < 2000 && got < sent; turn++) {
      int32_t count = corelane_inline_poll(&self.port, self.events, EVENTS);
      NEED(count >= 0);
      for (at = 0; at < count; at++) {
        const corelane_event *event = &self.events[at];
        CHECK(corelane_acknowledge(self.handle, event->client, 1, (uint32_t)event->length) == CORELANE_OK);
        if (event->sender.value == sender.value) {
          NEED(event->correlation == expected);
          expected++;
          got++;
        }
      }
      if (count == 0) {
        usleep(20);
      }
    }
    NEED(got == sent && worker_of(&self, sender) == worker);
    /* Nothing of the sender is in flight, and its worker has seen that. */
    corelane_inline_release(&self.port);
    usleep(round % 10 == 0 ? 1000 : 0);
  }
  CHECK(figure(self.router, "corelane_placement_moves_total", "") == 2);
  end(&self);
}

/* If a worker ends between the last poll and arming, arming reports news. */
static void closed_is_news(void) {
  static bench self;
  start(&self, "workers=1\nmax_ports=2\nmax_clients=10\nring_bytes=8192\n");
  open_inline(&self);
  CHECK(corelane_inline_poll(&self.port, self.events, EVENTS) == 0);
  CHECK(corelane_inline_arm(&self.port) == CORELANE_OK);
  CHECK(corelane_inline_poll(&self.port, self.events, EVENTS) == 0);
  CHECK(corelane_stop(self.router, 5 * SECOND) == CORELANE_OK); /* The port is not armed, so nothing wakes it. */
  CHECK(corelane_inline_arm(&self.port) == CORELANE_AGAIN);
  CHECK(corelane_inline_poll(&self.port, self.events, EVENTS) == CORELANE_CLOSED);
  CHECK(corelane_inline_arm(&self.port) == CORELANE_OK); /* The end is reported only once. */
  CHECK(corelane_inline_poll(&self.port, self.events, EVENTS) == CORELANE_CLOSED);
  end(&self);
}

/* Arms, and sleeps if arming allows it. The sleep must end before its limit, because space becomes free. */
static void wait_for_room(bench *self) {
  struct timespec before, after;
  if (corelane_inline_arm(&self->port) == CORELANE_OK) {
    clock_gettime(CLOCK_MONOTONIC, &before);
    corelane_wake_sleep(corelane_port_wake_of(&self->port.layout), 5000);
    clock_gettime(CLOCK_MONOTONIC, &after);
    CHECK(after.tv_sec - before.tv_sec < 4);
  }
}

#define ROOM \
  "workers=1\nmax_ports=2\nmax_clients=10\nring_bytes=8192\nmax_message=8000000\n" \
  "payload_bytes=40000000\ncredit_bytes=10000000\n"

/* A second port that keeps the worker busy for some milliseconds with a message of several megabytes. */
typedef struct occupier {
  corelane_port handle;
  corelane_client client;
} occupier;

static occupier open_occupier(bench *self) {
  occupier other;
  NEED(corelane_port_open(self->router, &other.handle, NULL) == CORELANE_OK);
  NEED(corelane_connect(other.handle, "o", 1, TEXT("generic"), NULL, 0, 9, &other.client, NULL) == CORELANE_OK);
  return other;
}

static void occupy(const occupier *other) {
  static uint8_t huge[8000000];
  const char *head = "{\"type\":\"x\",\"data\":\"";
  memset(huge, 'x', sizeof huge);
  memcpy(huge, head, strlen(head));
  memcpy(huge + sizeof huge - 2, "\"}", 2);
  NEED(corelane_submit(other->handle, other->client, huge, sizeof huge, 0) == CORELANE_OK);
  NEED(corelane_publish(other->handle) == CORELANE_OK);
  usleep(300);
}

static uint64_t head_of(const bench *self) {
  return __atomic_load_n(corelane_ring_u64(&self->lanes[0].to.ring, self->lanes[0].to.ring.head), __ATOMIC_SEQ_CST);
}

/* Waits until the worker has taken all records from the ring. */
static void await_empty(const bench *self) {
  const uint64_t *tail = corelane_ring_u64(&self->lanes[0].to.ring, self->lanes[0].to.ring.tail);
  int turn;
  for (turn = 0; turn < 5000 && head_of(self) != *tail; turn++) {
    usleep(1000);
  }
  NEED(head_of(self) == *tail);
}

/* Commits up to `most` messages; the worker sees them at the next call. If the ring is full, the port asks for space
 * itself. */
static void crowd(bench *self, corelane_client client, int most) {
  unsigned char *payload;
  for (; most > 0 && corelane_inline_claim(&self->port, client, 2, 0, corelane_stamp(&self->port.layout), &payload) == 0; most--) {
    memcpy(payload, "{}", 2);
    NEED(corelane_inline_commit(&self->port) == CORELANE_OK);
  }
}

/* A call that is refused because the ring or the queue is full asks for space, as the port's own refusals do. */
static void refusals_ask_for_space(const char *config, int most) {
  static bench self;
  corelane_client client;
  occupier other;
  int turn, full = 0, late = 0, twice = 0;
  start(&self, config);
  open_inline(&self);
  other = open_occupier(&self);
  client = join(&self, "a", 1);
  fill_large(nobody);
  for (turn = 0; turn < 500 && (full < 5 || late < 3 || twice < 3); turn++) {
    int32_t status, retries;
    await_empty(&self);
    NEED(corelane_inline_poll(&self.port, self.events, EVENTS) >= 0);
    occupy(&other);
    crowd(&self, client, most);
    self.lanes[0].stalled = false; /* From here on only the call asks for space. */
    if (turn % 3 == 0) {
      /* The worker frees space between the refusal and the resume: as in corelane_inline_submit, but slower. */
      corelane_inline_suspend(&self.port);
      status = corelane_submit(self.handle, client, (const uint8_t *)large, sizeof large, 0);
      await_empty(&self);
      NEED(corelane_inline_resume(&self.port) == CORELANE_OK);
      if (status == CORELANE_FULL) {
        CHECK(corelane_inline_arm(&self.port) == CORELANE_AGAIN);
        NEED(corelane_inline_poll(&self.port, self.events, EVENTS) >= 0);
        status = corelane_inline_submit(&self.port, client, large, sizeof large, 0);
        late++;
      }
    } else {
      /* While the head does not move, arming reports news at most once. */
      const uint64_t head = head_of(&self);
      int32_t again;
      status = corelane_inline_submit(&self.port, client, large, sizeof large, 0);
      (void)corelane_inline_arm(&self.port);
      NEED(corelane_inline_poll(&self.port, self.events, EVENTS) >= 0);
      again = corelane_inline_submit(&self.port, client, large, sizeof large, 0);
      if (status == CORELANE_FULL && again == CORELANE_FULL) {
        const int32_t armed = corelane_inline_arm(&self.port);
        const bool still = head_of(&self) == head;
        CHECK(armed == CORELANE_OK || !still);
        twice += still;
      }
      status = again;
    }
    full += status == CORELANE_FULL;
    for (retries = 0; retries < 1000 && status == CORELANE_FULL; retries++) {
      wait_for_room(&self);
      NEED(corelane_inline_poll(&self.port, self.events, EVENTS) >= 0);
      status = corelane_inline_submit(&self.port, client, large, sizeof large, 0);
    }
    NEED(status == CORELANE_OK);
  }
  CHECK(full >= 5 && late >= 3 && twice >= 3);
  await_empty(&self);
  /* A call that pushes nothing does not make the port forget its own refusal. */
  crowd(&self, client, 100000);
  corelane_inline_publish(&self.port);
  await_empty(&self);
  CHECK(corelane_inline_disconnect(&self.port, (corelane_client){client.value + (UINT64_C(1) << 32)}) == CORELANE_STALE);
  CHECK(corelane_inline_arm(&self.port) == CORELANE_AGAIN);
  NEED(corelane_inline_poll(&self.port, self.events, EVENTS) >= 0 && corelane_port_release(other.handle) == CORELANE_OK);
  end(&self);
}

/* The port's own pushes withdraw the request for space that a call has made. The next refusal makes the request
 * again. */
static void a_refusal_asks_again(void) {
  static bench self;
  corelane_client client;
  occupier other;
  int turn, done = 0;
  start(&self, ROOM);
  open_inline(&self);
  other = open_occupier(&self);
  client = join(&self, "a", 1);
  fill_large(nobody);
  for (turn = 0; turn < 500 && done == 0; turn++) {
    const uint32_t *asked = corelane_ring_u32(&self.lanes[0].to.ring, self.lanes[0].to.ring.need_space);
    uint64_t head;
    int32_t first, second;
    await_empty(&self);
    NEED(corelane_inline_poll(&self.port, self.events, EVENTS) >= 0);
    occupy(&other);
    head = head_of(&self);
    crowd(&self, client, 8192 / 64 - 1); /* Leaves one line: enough for a small message; a large one takes two. */
    first = corelane_inline_submit(&self.port, client, large, sizeof large, 0);
    self.lanes[0].stalled = false; /* As after arming, if the head moved before the refusal. */
    crowd(&self, client, 1);
    corelane_inline_publish(&self.port);
    CHECK(*asked == 0 || head_of(&self) != head);
    second = corelane_inline_submit(&self.port, client, large, sizeof large, 0);
    if (first == CORELANE_FULL && second == CORELANE_FULL && head_of(&self) == head) {
      CHECK(*asked == 1 && self.lanes[0].stalled);
      done++;
    }
  }
  CHECK(done == 1);
  await_empty(&self);
  NEED(corelane_inline_poll(&self.port, self.events, EVENTS) >= 0 && corelane_port_release(other.handle) == CORELANE_OK);
  end(&self);
}

/* A disconnect that waits for space asks for it, as a message does. */
static void waiting_disconnects(void) {
  static bench self;
  corelane_client client;
  occupier other;
  int turn, waited = 0;
  start(&self, ROOM);
  open_inline(&self);
  other = open_occupier(&self);
  client = join(&self, "a", 0);
  for (turn = 0; turn < 500 && waited < 5; turn++) {
    corelane_client leaving = join(&self, "b", 1);
    int32_t status, retries;
    await_empty(&self);
    occupy(&other);
    crowd(&self, client, 4096);
    self.lanes[0].stalled = false;
    status = corelane_inline_disconnect(&self.port, leaving);
    waited += status > 0;
    for (retries = 0; retries < 1000 && status > 0; retries++) {
      wait_for_room(&self);
      NEED(corelane_inline_poll(&self.port, self.events, EVENTS) >= 0);
      status = corelane_inline_push_waiting(&self.port);
    }
    NEED(status == 0 && take(&self, 1, EVENTS) == 1);
    CHECK(self.events[0].kind == CORELANE_EVENT_CLOSED && self.events[0].token == 1);
  }
  CHECK(waited == 5);
  NEED(corelane_port_release(other.handle) == CORELANE_OK);
  end(&self);
}

/* If a disconnect still waits for space when the workers end, its client's last event comes from the port, and then
 * the port is over. */
static void waiting_to_the_end(void) {
  static bench self;
  corelane_client client, leaving;
  occupier other;
  int32_t status = 0;
  int turn;
  for (turn = 0; turn < 50 && status <= 0; turn++) {
    start(&self, ROOM);
    open_inline(&self);
    other = open_occupier(&self);
    client = join(&self, "a", 0);
    leaving = join(&self, "b", 1);
    await_empty(&self);
    occupy(&other);
    crowd(&self, client, 4096);
    status = corelane_inline_disconnect(&self.port, leaving);
    CHECK(corelane_stop(self.router, 5 * SECOND) == CORELANE_OK);
    CHECK(take(&self, 1, EVENTS) == 1 && self.events[0].kind == CORELANE_EVENT_CLOSED && self.events[0].token == 1);
    CHECK(corelane_inline_poll(&self.port, self.events, EVENTS) == CORELANE_CLOSED);
    NEED(corelane_port_release(other.handle) == CORELANE_OK);
    end(&self);
  }
  CHECK(status > 0);
}

/* When a port is released, deliveries that were handed out and not released are settled exactly once, and so are
 * those that were not handed out. Both slots are free again, round after round. */
static void settled_once(uint32_t limit, uint32_t wanted) {
  enum { MESSAGES = 5, ROUNDS = 30 };
  static bench self;
  uint64_t round;
  start(&self, "workers=1\nmax_ports=1\nmax_clients=2\nring_bytes=8192\n");
  for (round = 1; round <= ROUNDS; round++) {
    corelane_client a;
    int at;
    open_inline(&self);
    a = join(&self, "a", 1);
    (void)join(&self, "b", 2);
    fill_large(to_b);
    for (at = 0; at < MESSAGES; at++) {
      NEED(corelane_inline_submit(&self.port, a, at == 3 ? large : to_b, at == 3 ? sizeof large : sizeof to_b - 1, 0) == 0);
    }
    corelane_inline_publish(&self.port);
    await_figure(&self, "corelane_deliveries_total", MESSAGES * round);
    CHECK(take(&self, wanted, limit) == wanted);
    CHECK(corelane_port_release(self.handle) == CORELANE_OK);
    check_conservation(&self);
    CHECK(figure(self.router, "corelane_deliveries_dropped_total", "") == (MESSAGES - wanted) * round);
    CHECK(figure(self.router, "corelane_deliveries_dropped_total", "port_gone") == (MESSAGES - wanted) * round);
    CHECK(figure(self.router, "corelane_payloads_waiting", "") == 0);
  }
  open_inline(&self);
  end(&self);
}

/* If a host writes impossible positions as its progress, its port can still be released. */
static void nonsense_is_not_believed(void) {
  const uint64_t positions[] = {1, 64, 4096, 8192 + 64, UINT64_MAX, UINT64_MAX - 63};
  size_t at;
  for (at = 0; at < sizeof positions / sizeof positions[0]; at++) {
    static bench self;
    corelane_client a;
    start(&self, "workers=1\nmax_ports=1\nmax_clients=2\nring_bytes=8192\n");
    open_inline(&self);
    a = join(&self, "a", 1);
    (void)join(&self, "b", 2);
    NEED(corelane_inline_submit(&self.port, a, TEXT(to_b), 0) == 0);
    corelane_inline_publish(&self.port);
    await_figure(&self, "corelane_deliveries_total", 1);
    corelane_ring_tell(&self.lanes[0].from, positions[at], positions[at]);
    CHECK(corelane_port_release(self.handle) == CORELANE_OK);
    CHECK(corelane_stop(self.router, 5 * SECOND) == CORELANE_OK);
    CHECK(figure(self.router, "corelane_deliveries_dropped_total", "port_gone") <= 1);
    CHECK(corelane_router_release(self.router) == CORELANE_OK);
  }
}

/* Connects after an unreadable record do not count as refused messages. */
static void only_messages_count(void) {
  int turn, posts = 0;
  for (turn = 0; turn < 50 && posts == 0; turn++) {
    static bench self;
    corelane_client client, other;
    unsigned char *payload;
    char name[8];
    int at, accepted = 0;
    start(&self, "workers=1\nmax_ports=1\nmax_clients=50\nring_bytes=1048576\n");
    open_inline(&self);
    client = join(&self, "a", 1);
    for (at = 0; at < 3000; at++) {
      NEED(corelane_inline_submit(&self.port, client, TEXT(nobody), 0) == CORELANE_OK);
    }
    NEED(corelane_inline_claim(&self.port, client, 2, 0, corelane_stamp(&self.port.layout), &payload) == CORELANE_OK);
    memset(payload - CORELANE_INGRESS_BYTES, 0xee, 4); /* an impossible length */
    NEED(corelane_inline_commit(&self.port) == CORELANE_OK);
    for (at = 0; at < 20 && accepted == at; at++) {
      snprintf(name, sizeof name, "n%d", at);
      accepted += corelane_inline_connect(&self.port, name, strlen(name), TEXT("generic"), NULL, 0, 1, &other, NULL) == CORELANE_OK;
    }
    posts = accepted;
    CHECK(corelane_port_release(self.handle) == CORELANE_OK);
    check_conservation(&self);
    CHECK(figure(self.router, "corelane_messages_refused_total", "corrupt") == 1);
    CHECK(corelane_stop(self.router, 5 * SECOND) == CORELANE_OK && corelane_router_release(self.router) == CORELANE_OK);
  }
  CHECK(posts > 0);
}

/* Credit is given back to the client that it was taken from, and no field borrows from its neighbour. */
static void credit_is_the_clients(void) {
  static bench self;
  corelane_client a, b, stale;
  const uint64_t one = UINT64_C(1) << CORELANE_CREDIT_MESSAGE_SHIFT;
  uint64_t *credit, before;
  start(&self, "workers=1\nmax_ports=1\nmax_clients=2\nring_bytes=8192\n");
  open_inline(&self);
  a = join(&self, "a", 1);
  b = join(&self, "b", 2);
  stale.value = b.value - (UINT64_C(1) << 32);
  NEED(corelane_inline_submit(&self.port, a, TEXT(to_b), 0) == 0);
  corelane_inline_publish(&self.port);
  CHECK(take(&self, 1, EVENTS) == 1);
  credit = cell_of(&self, b, self.port.layout.slots.credit);
  before = *credit;
  CHECK((before >> CORELANE_CREDIT_MESSAGE_SHIFT & 0xffff) == 1 && (before & (one - 1)) == self.events[0].length);
  corelane_inline_give_back(&self.port, stale, CORELANE_EVENT_MESSAGE, 5);
  corelane_inline_give_back(&self.port, b, CORELANE_EVENT_LEFT, 5);
  corelane_inline_give_back(&self.port, (corelane_client){UINT64_MAX}, CORELANE_EVENT_MESSAGE, 5);
  CHECK(*credit == before);
  corelane_inline_give_back(&self.port, b, CORELANE_EVENT_MESSAGE, UINT32_MAX);
  CHECK(*credit == before - one - self.events[0].length);
  corelane_inline_give_back(&self.port, b, CORELANE_EVENT_EXPIRED, 5);
  CHECK(*credit == before - one - self.events[0].length);
  CHECK(corelane_inline_submit(&self.port, stale, TEXT(to_b), 0) == CORELANE_STALE);
  end(&self);
}

/* A CLOSE ends when it is handed out, or when its client is already leaving and does not need it. The slot is free
 * again. */
static void a_close_ends(bool leaving) {
  static bench self;
  uint64_t round;
  start(&self, "workers=1\nmax_ports=1\nmax_clients=2\nring_bytes=8192\ncredit_messages=1\n");
  open_inline(&self);
  for (round = 1; round <= 10; round++) {
    corelane_client a = join(&self, "a", 1), b = join(&self, "b", 2);
    uint32_t got;
    NEED(corelane_inline_submit(&self.port, a, TEXT(to_b), 0) == 0 && corelane_inline_submit(&self.port, a, TEXT(to_b), 0) == 0);
    corelane_inline_publish(&self.port);
    await_figure(&self, "corelane_messages_failed_total", round); /* Afterwards the CLOSE is on its way. */
    if (!leaving) {
      NEED(take(&self, 2, EVENTS) >= 1);
      CHECK((*cell_of(&self, b, self.port.layout.slots.credit) & CORELANE_CREDIT_CLOSE_SENT) == 0);
    }
    NEED(corelane_inline_disconnect(&self.port, b) == 0 && corelane_inline_disconnect(&self.port, a) == 0);
    got = take(&self, leaving ? 3 : 2, EVENTS);
    CHECK(got == (leaving ? 3 : 2));
    CHECK(figure(self.router, "corelane_deliveries_dropped_total", "closed") == (leaving ? round : 0));
  }
  end(&self);
}

/* If an out-of-line payload is missing, the recipient gets its credit back, and the lane continues. */
static void a_payload_is_lost(void) {
  static bench self;
  corelane_client a, b;
  const unsigned char *record, *data;
  uint64_t number;
  uint32_t recipients;
  uint16_t kind, flags;
  const uint8_t *bytes;
  size_t length;
  start(&self, "workers=1\nmax_ports=1\nmax_clients=2\nring_bytes=8192\n");
  open_inline(&self);
  a = join(&self, "a", 1);
  b = join(&self, "b", 2);
  fill_large(to_b);
  NEED(corelane_inline_submit(&self.port, a, large, sizeof large, 0) == 0);
  await_figure(&self, "corelane_deliveries_total", 1);
  CHECK((*cell_of(&self, b, self.port.layout.slots.credit) & 0x7fffffff) >= sizeof large);
  /* Take the payload before the poll does. */
  data = self.lanes[0].from.ring.base + self.lanes[0].from.ring.data;
  record = data + (self.lanes[0].from.head & (self.lanes[0].from.ring.capacity - 1));
  memcpy(&kind, record + 4, 2);
  memcpy(&flags, record + 6, 2);
  memcpy(&recipients, record + 44, 4);
  memcpy(&number, record + CORELANE_DELIVERY_BYTES + 8, 8);
  NEED(kind == CORELANE_EVENT_MESSAGE && (flags & CORELANE_DELIVERY_BESIDE) != 0 && recipients == 1);
  NEED(corelane_payload_take(self.handle, number, &bytes, &length) == CORELANE_OK && length >= sizeof large);
  CHECK(corelane_payload_take(self.handle, number, &bytes, &length) == CORELANE_NOT_FOUND);
  CHECK(corelane_inline_poll(&self.port, self.events, EVENTS) == 0);
  CHECK(figure(self.router, "corelane_deliveries_dropped_total", "payload_lost") == 1);
  CHECK((*cell_of(&self, b, self.port.layout.slots.credit) & 0x7fffffffffff) == 0);
  NEED(corelane_inline_submit(&self.port, a, TEXT(to_b), 7) == 0);
  corelane_inline_publish(&self.port);
  CHECK(take(&self, 1, EVENTS) == 1 && self.events[0].correlation == 7);
  CHECK(*corelane_ring_u32(&self.lanes[0].from.ring, self.lanes[0].from.ring.corrupt) == 0);
  end(&self);
}

/* A delivery that was handed out to only some of its recipients is recorded as such. A recipient that left before
 * gets nothing. The test overwrites a worker's record to get several recipients, because C hosts have no rooms. */
static void parts_are_told(void) {
  static bench self;
  corelane_client a, b, stale;
  unsigned char *record;
  const uint64_t *taken, *handed;
  const uint32_t three = 3;
  uint64_t start_at;
  start(&self, "workers=1\nmax_ports=1\nmax_clients=2\nring_bytes=8192\n");
  open_inline(&self);
  a = join(&self, "a", 1);
  b = join(&self, "b", 2);
  stale.value = b.value - (UINT64_C(1) << 32);
  taken = corelane_ring_u64(&self.lanes[0].from.ring, self.lanes[0].from.ring.taken);
  handed = corelane_ring_u64(&self.lanes[0].from.ring, self.lanes[0].from.ring.handed);
  NEED(corelane_inline_submit(&self.port, a, TEXT(to_b), 0) == 0 && corelane_inline_submit(&self.port, a, TEXT(to_b), 0) == 0);
  corelane_inline_publish(&self.port);
  await_figure(&self, "corelane_deliveries_total", 2);
  NEED(take(&self, 1, 1) == 1);
  start_at = *taken;
  CHECK(start_at == self.lanes[0].from.head && *handed == 0);
  /* The next delivery gets three recipients: b, an earlier client in b's slot, and b. */
  record = self.lanes[0].from.ring.base + self.lanes[0].from.ring.data + start_at;
  memcpy(record + 44, &three, 4);
  memcpy(record + CORELANE_DELIVERY_BYTES + 8, &stale.value, 8);
  memcpy(record + CORELANE_DELIVERY_BYTES + 16, &b.value, 8);
  CHECK(corelane_inline_poll(&self.port, self.events, 1) == 1 && self.events[0].client.value == b.value);
  CHECK(*taken == start_at && *handed == 1 && corelane_inline_arm(&self.port) == CORELANE_AGAIN);
  CHECK(corelane_inline_poll(&self.port, self.events, EVENTS) == 1 && self.events[0].client.value == b.value);
  CHECK(*taken == self.lanes[0].from.head && *handed == 0 && *taken > start_at);
  CHECK(figure(self.router, "corelane_deliveries_dropped_total", "closed") == 1);
  CHECK(corelane_inline_disconnect(&self.port, a) == 0 && corelane_inline_submit(&self.port, a, TEXT(to_b), 0) == CORELANE_STALE);
  CHECK(corelane_port_release(self.handle) == CORELANE_OK && corelane_stop(self.router, 5 * SECOND) == CORELANE_OK);
  CHECK(corelane_router_release(self.router) == CORELANE_OK);
}

/* A client that leaves after all workers have ended gets its last event from the port itself. */
static void last_events_without_a_worker(void) {
  static bench self;
  corelane_client a, b;
  unsigned char *payload;
  start(&self, "workers=2\nmax_ports=1\nmax_clients=4\nring_bytes=8192\n");
  open_inline(&self);
  CHECK(corelane_port_closings(self.handle, NULL, 0) == 0);
  CHECK(corelane_port_closings(self.handle, NULL, 1) == CORELANE_NULL);
  self.events[0].size = 8;
  CHECK(corelane_port_closings(self.handle, self.events, 1) == CORELANE_INVALID);
  a = join(&self, "a", 1);
  b = join(&self, "b", 2);
  NEED(corelane_inline_submit(&self.port, b, TEXT(nobody), 0) == CORELANE_OK); /* Not published. */
  NEED(corelane_inline_claim(&self.port, a, 2, 0, 0, &payload) == CORELANE_OK);
  CHECK(corelane_stop(self.router, 5 * SECOND) == CORELANE_OK);
  CHECK(corelane_inline_poll(&self.port, self.events, EVENTS) == CORELANE_CLOSED);
  /* A claim made before the stop is refused: no worker would settle the message. */
  memcpy(payload, "{}", 2);
  CHECK(corelane_inline_commit(&self.port) == CORELANE_CLOSED && corelane_inline_commit(&self.port) == CORELANE_OK);
  CHECK(corelane_inline_disconnect(&self.port, b) == 0);
  CHECK(corelane_inline_arm(&self.port) == CORELANE_AGAIN);
  CHECK(corelane_inline_poll(&self.port, self.events, EVENTS) == 1);
  CHECK(self.events[0].kind == CORELANE_EVENT_CLOSED && self.events[0].token == 2 && self.events[0].client.value == b.value);
  CHECK(corelane_inline_poll(&self.port, self.events, EVENTS) == CORELANE_CLOSED);
  CHECK(corelane_inline_submit(&self.port, a, TEXT("{}"), 0) == CORELANE_CLOSED);
  CHECK(corelane_inline_disconnect(&self.port, a) == 0);
  CHECK(corelane_inline_arm(&self.port) == CORELANE_AGAIN);
  CHECK(corelane_inline_poll(&self.port, self.events, 1) == 1 && self.events[0].token == 1);
  CHECK(corelane_inline_arm(&self.port) == CORELANE_AGAIN); /* No poll has reported the end since the last event. */
  CHECK(corelane_inline_poll(&self.port, self.events, EVENTS) == CORELANE_CLOSED);
  CHECK(corelane_inline_arm(&self.port) == CORELANE_OK);
  check_conservation(&self);
  end(&self);
}

static void *stop(void *argument) {
  CHECK(corelane_stop(*(corelane_router *)argument, 5 * SECOND) == CORELANE_OK);
  return NULL;
}

/* A client that leaves while the workers end gets exactly one last event, from a worker or from the port, and no
 * sleep misses it. */
static void last_events_in_a_stop(void) {
  enum { CLIENTS = 16, ROUNDS = 100 };
  int round;
  for (round = 0; round < ROUNDS; round++) {
    static bench self;
    corelane_client clients[CLIENTS];
    pthread_t thread;
    int at, turn, gone = 0;
    int32_t status = 0;
    start(&self, "workers=2\nmax_ports=1\nmax_clients=16\nring_bytes=8192\n");
    open_inline(&self);
    for (at = 0; at < CLIENTS; at++) {
      char name[2] = "a";
      name[0] = (char)('a' + at);
      clients[at] = join(&self, name, (uint64_t)at);
    }
    for (at = 0; at < 40; at++) {
      NEED(corelane_inline_submit(&self.port, clients[at % CLIENTS], TEXT(to_b), 0) == 0);
    }
    NEED(pthread_create(&thread, NULL, stop, &self.router) == 0);
    for (at = 0; at < CLIENTS; at++) {
      usleep((useconds_t)(round % 10));
      (void)corelane_inline_submit(&self.port, clients[at], TEXT(to_b), 0);
      NEED(corelane_inline_disconnect(&self.port, clients[at]) >= 0);
    }
    for (turn = 0; turn < 1000 && status != CORELANE_CLOSED; turn++) {
      status = corelane_inline_poll(&self.port, self.events, 3);
      for (at = 0; at < status; at++) {
        gone += self.events[at].kind == CORELANE_EVENT_CLOSED;
      }
      if (status == 0 && corelane_inline_arm(&self.port) == CORELANE_OK) {
        corelane_wake_sleep(corelane_port_wake_of(&self.port.layout), 5000);
      }
    }
    CHECK(status == CORELANE_CLOSED && gone == CLIENTS);
    pthread_join(thread, NULL);
    check_conservation(&self);
    end(&self);
  }
}

/* Configurations in which a port cannot become inline. */
static void refused_inline(void) {
  static bench self;
  start(&self, "workers=2\nmax_ports=1\nmax_clients=4\nring_bytes=8192\nbalance=round_robin\n");
  open_plain(&self);
  CHECK(corelane_port_inline(self.handle) == CORELANE_STATE);
  CHECK(corelane_port_closings(self.handle, NULL, 0) == CORELANE_STATE);
  end(&self);
}

int main(void) {
  alarm(110);
  clients_stay();
  closed_is_news();
  refusals_ask_for_space(ROOM, 4096);
  refusals_ask_for_space(ROOM "queue_messages=8\n", 20);
  a_refusal_asks_again();
  waiting_disconnects();
  waiting_to_the_end();
  settled_once(EVENTS, 5);
  settled_once(2, 2);
  settled_once(4, 4);
  nonsense_is_not_believed();
  only_messages_count();
  credit_is_the_clients();
  a_close_ends(false);
  a_close_ends(true);
  a_payload_is_lost();
  parts_are_told();
  last_events_without_a_worker();
  last_events_in_a_stop();
  refused_inline();
  return checks_failed == 0 ? 0 : 1;
}
