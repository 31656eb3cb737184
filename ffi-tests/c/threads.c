/* Many threads at once: on a shared port, on handles that are released meanwhile, on handles that were never valid.
 * threads [MESSAGES]: each of 8 threads sends so many messages through the shared port. */
#define _GNU_SOURCE
#include "host.h"

#include <pthread.h>
#include <sched.h>

#define THREADS 8
#define TO_SINK "{\"type\":\"offer\",\"to\":\"sink\"}"

static const corelane_message_type plain = {0};

typedef struct shared_run {
  corelane_router router;
  corelane_port port;
  corelane_client sink;
  uint64_t messages;
  int running; /* How many threads still submit. */
} shared_run;

typedef struct sender {
  shared_run *run;
  int number;
  uint64_t submitted, sent, in_batches, connected;
} sender;

/* Repeats a call that finds no room. Each refusal is counted by the router as well. */
#define UNTIL_ROOM(call)                                                            \
  do {                                                                              \
    int32_t room_status;                                                            \
    while ((room_status = (call)) == CORELANE_FULL || room_status == CORELANE_LIMIT) { \
      sched_yield();                                                                \
    }                                                                               \
    IS(room_status, CORELANE_OK);                                                   \
  } while (0)

static void *submit_send_connect(void *argument) {
  sender *self = argument;
  shared_run *run = self->run;
  char name[32];
  uint64_t at;
  corelane_client own = {0};
  corelane_connect_options options = peer(name, "generic", 1000);
  snprintf(name, sizeof name, "sender %d", self->number);
  UNTIL_ROOM(corelane_port_connect(run->port, &options, &own, NULL));
  for (at = 0; at < run->messages; at++) {
    const uint64_t correlation = (uint64_t)self->number << 32 | at;
    if (at % 8 == 0) {
      corelane_client guest = {0};
      snprintf(name, sizeof name, "guest %d", self->number);
      UNTIL_ROOM(corelane_port_connect(run->port, &options, &guest, NULL));
      IS(corelane_port_disconnect(run->port, guest), CORELANE_OK);
      self->connected++;
    }
    if (at % 8 == 1) {
      UNTIL_ROOM(corelane_port_send(run->port, run->sink, BYTES("sent"), plain, correlation));
      self->sent++;
    } else if (at % 8 == 2) {
      corelane_submission three[3];
      int which, done = 0;
      for (which = 0; which < 3; which++) {
        const corelane_submission one = CORELANE_SUBMISSION_INIT;
        three[which] = one;
        three[which].client = own;
        three[which].flags = CORELANE_TRY;
        three[which].message = (const uint8_t *)TO_SINK;
        three[which].length = strlen(TO_SINK);
        three[which].correlation = correlation;
      }
      while (done < 3) {
        int32_t status = 99;
        const int32_t accepted = corelane_port_submit_batch(run->port, three + done, (size_t)(3 - done), &status);
        NEED(accepted >= 0);
        done += accepted;
        CHECK(done == 3 ? status == CORELANE_OK : status == CORELANE_FULL);
        sched_yield();
      }
      self->in_batches += 3;
    } else {
      UNTIL_ROOM(corelane_port_submit(run->port, own, BYTES(TO_SINK), correlation));
      self->submitted++;
    }
  }
  IS(corelane_port_disconnect(run->port, own), CORELANE_OK);
  self->connected++;
  __atomic_sub_fetch(&run->running, 1, __ATOMIC_ACQ_REL);
  return NULL;
}

/* How many events the threads have asked for, once they have ended. */
static uint64_t asked_for(const sender *senders) {
  uint64_t sum = 0;
  int at;
  for (at = 0; at < THREADS; at++) {
    sum += senders[at].submitted + senders[at].in_batches + senders[at].sent + senders[at].connected;
  }
  return sum;
}

/* 8 threads submit, send, connect and disconnect while this one polls: nothing is lost or doubled, and each thread's messages
 * come in order. */
static void check_shared(uint64_t messages) {
  shared_run run = {{0}, {0}, {0}, messages, THREADS};
  sender senders[THREADS];
  pthread_t threads[THREADS];
  uint64_t relayed = 0, sent = 0, closed = 0, expected_relayed = 0, expected_sent = 0, expected_closed = 0, last[THREADS];
  int at, quiet, missing;
  loop own;
  run.router = start("workers=2\npin=off\nring_bytes=16384\nmax_message=2000\nmax_clients=40\ncredit_messages=60000\n"
                     "credit_bytes=100000000\nmax_queue_wait_ms=3600000");
  run.port = open_port(run.router, CORELANE_PORT_SHARED);
  run.sink = join(run.port, "sink", 7);
  memset(&own, 0, sizeof own);
  memset(senders, 0, sizeof senders);
  memset(last, 0, sizeof last);
  own.port = run.port;
  for (at = 0; at < THREADS; at++) {
    senders[at].run = &run;
    senders[at].number = at;
    NEED(pthread_create(&threads[at], NULL, submit_send_connect, &senders[at]) == 0);
  }
  /* Three quiet times end this. A worker that gets no processor is quiet too: while events are missing, half a minute of them. */
  for (quiet = missing = 0; quiet < (missing ? 1500 : 3);) {
    const int done = __atomic_load_n(&run.running, __ATOMIC_ACQUIRE) == 0;
    uint32_t count = 0, bytes = 0;
    NEED(poll_into(&own) >= 0);
    for (at = 0; at < own.count; at++) {
      const corelane_event *event = &own.events[at];
      if (event->kind == CORELANE_EVENT_MESSAGE) {
        const uint64_t thread = event->correlation >> 32, number = (event->correlation & 0xffffffff) + 1;
        NEED(event->token == 7 && thread < THREADS);
        relayed += event->sender.value != 0;
        sent += event->sender.value == 0;
        if (event->sender.value != 0) { /* The order of one client's messages; sends have an order of their own. */
          CHECK(number >= last[thread]);
          last[thread] = number;
        }
        count++;
        bytes += (uint32_t)event->length;
      } else {
        CHECK(event->kind == CORELANE_EVENT_CLOSED && event->token == 1000);
        closed++;
      }
    }
    if (count > 0) {
      IS(corelane_port_acknowledge(run.port, run.sink, count, bytes), CORELANE_OK);
    }
    if (own.count == 0) {
      const int32_t status = corelane_port_wait(run.port, SECOND / 50);
      quiet = done && status == CORELANE_TIMEOUT && figure(run.router, "corelane_messages_in_flight", "") == 0 ? quiet + 1 : 0;
      missing = done && relayed + sent + closed < asked_for(senders);
    }
  }
  for (at = 0; at < THREADS; at++) {
    NEED(pthread_join(threads[at], NULL) == 0);
    expected_relayed += senders[at].submitted + senders[at].in_batches;
    expected_sent += senders[at].sent;
    expected_closed += senders[at].connected;
  }
  CHECK(relayed == expected_relayed && sent == expected_sent && closed == expected_closed);
  CHECK(figure(run.router, "corelane_messages_delivered_total", "") == expected_relayed + expected_sent);
  check_conservation(run.router);
  IS(corelane_port_release(run.port), CORELANE_OK);
  end_router(run.router);
}

typedef struct late {
  corelane_port port;
  corelane_client client;
  uint64_t accepted;
  int started;
} late;

static void *submit_until_stale(void *argument) {
  late *self = argument;
  int32_t status = CORELANE_OK;
  __atomic_store_n(&self->started, 1, __ATOMIC_RELEASE);
  while (status == CORELANE_OK || status == CORELANE_FULL) {
    status = submit(self->port, self->client, TO_SINK, 0);
    self->accepted += status == CORELANE_OK;
  }
  IS(status, CORELANE_STALE);
  return NULL;
}

/* A port is released while 8 threads submit and one waits with it: each of them finds the handle stale, and every accepted
 * message has its outcome. */
static void check_release_during_submits(int rounds) {
  corelane_router router = start("workers=1\npin=off\nmax_ports=2\nmax_clients=100\nmax_queue_wait_ms=3600000");
  uint64_t accepted = 0;
  int round, at;
  for (round = 0; round < rounds; round++) {
    corelane_port port = open_port(router, CORELANE_PORT_SHARED);
    corelane_client client = join(port, "late", 1);
    late threads[THREADS];
    pthread_t ids[THREADS];
    for (at = 0; at < THREADS; at++) {
      const late one = {port, client, 0, 0};
      threads[at] = one;
      NEED(pthread_create(&ids[at], NULL, submit_until_stale, &threads[at]) == 0);
    }
    while (!__atomic_load_n(&threads[round % THREADS].started, __ATOMIC_ACQUIRE)) {
      sched_yield();
    }
    usleep((useconds_t)(round % 5) * 300);
    IS(corelane_port_release(port), CORELANE_OK);
    IS(corelane_port_release(port), CORELANE_STALE);
    for (at = 0; at < THREADS; at++) {
      NEED(pthread_join(ids[at], NULL) == 0);
      accepted += threads[at].accepted;
    }
  }
  check_conservation(router);
  CHECK(figure(router, "corelane_messages_submitted_total", "") >= accepted);
  end_router(router);
}

typedef struct waiter {
  corelane_router router;
  corelane_port port;
  corelane_client client;
  int which, inside;
  int32_t status;
} waiter;

static void *wait_in_call(void *argument) {
  waiter *self = argument;
  corelane_routed routed = CORELANE_ROUTED_INIT;
  __atomic_store_n(&self->inside, 1, __ATOMIC_RELEASE);
  switch (self->which) {
    case 0: self->status = corelane_router_drain(self->router, SECOND / 5); break;
    case 1: self->status = corelane_router_stop(self->router, 10 * SECOND); break;
    case 2: self->status = corelane_port_wait(self->port, 10 * SECOND); break;
    default:
      self->status = corelane_port_route(self->port, self->client, BYTES("{\"type\":\"offer\",\"to\":\"late\"}"), 10 * SECOND, &routed);
  }
  return NULL;
}

/* A router is released while a thread drains it, stops it, waits with a port of it, or routes a message. */
static void check_router_release(void) {
  int which;
  for (which = 0; which < 12; which++) {
    waiter self;
    loop own;
    corelane_connect_options paul = peer("paul", "peerjs", 3);
    pthread_t thread;
    int32_t status = CORELANE_OK;
    int turn;
    memset(&self, 0, sizeof self);
    memset(&own, 0, sizeof own);
    self.router = start("workers=1\npin=off\nidle=park\nhold_ms=60000");
    self.port = open_port(self.router, CORELANE_PORT_SHARED);
    self.client = join(self.port, "late", 1);
    self.which = which % 4;
    own.port = self.port;
    /* A held message: the drain does not end before its time-out. */
    IS(submit(self.port, join_as(self.port, &paul), "{\"type\":\"OFFER\",\"dst\":\"nobody\"}", 0), CORELANE_OK);
    NEED(pthread_create(&thread, NULL, wait_in_call, &self) == 0);
    while (!__atomic_load_n(&self.inside, __ATOMIC_ACQUIRE)) {
      sched_yield();
    }
    usleep(which < 8 ? 2000 : 0);
    IS(corelane_router_release(self.router), CORELANE_OK);
    IS(corelane_router_release(self.router), CORELANE_STALE);
    IS(corelane_router_stop(self.router, 1), CORELANE_STALE);
    NEED(pthread_join(thread, NULL) == 0);
    switch (self.which) {
      case 0: CHECK(self.status == CORELANE_TIMEOUT || self.status == CORELANE_STALE); break;
      case 1: CHECK(self.status == CORELANE_OK || self.status == CORELANE_STALE); break;
      case 2: CHECK(self.status == CORELANE_OK || self.status == CORELANE_CLOSED); break;
      default: CHECK(self.status == CORELANE_OK || self.status == CORELANE_CLOSED);
    }
    for (turn = 0; turn < 1000 && status != CORELANE_CLOSED; turn++) { /* The last thread inside stops the router. */
      status = poll_into(&own);
      if (status == 0) {
        (void)corelane_port_wait(self.port, SECOND / 100);
      }
    }
    IS(status, CORELANE_CLOSED);
    IS(corelane_port_release(self.port), CORELANE_OK);
  }
}

typedef struct releaser {
  corelane_router router;
  corelane_port ports[2];
  pthread_barrier_t *barrier;
  int32_t statuses[3];
} releaser;

static void *release_all(void *argument) {
  releaser *self = argument;
  pthread_barrier_wait(self->barrier);
  self->statuses[0] = corelane_port_release(self->ports[0]);
  self->statuses[1] = corelane_port_release(self->ports[1]);
  self->statuses[2] = corelane_router_release(self->router);
  return NULL;
}

/* Many threads release the same handles: exactly one release succeeds. */
static void check_releases(int rounds) {
  int round, at, which;
  for (round = 0; round < rounds; round++) {
    releaser all[THREADS];
    pthread_t ids[THREADS];
    pthread_barrier_t barrier;
    corelane_router router = start("workers=1\npin=off\nidle=park\nmax_clients=10\ndetailed_stats=off");
    const corelane_port ports[2] = {open_port(router, 0), open_port(router, CORELANE_PORT_SHARED)};
    NEED(pthread_barrier_init(&barrier, NULL, THREADS) == 0);
    for (at = 0; at < THREADS; at++) {
      const releaser one = {router, {ports[0], ports[1]}, &barrier, {0, 0, 0}};
      all[at] = one;
      NEED(pthread_create(&ids[at], NULL, release_all, &all[at]) == 0);
    }
    for (at = 0; at < THREADS; at++) {
      NEED(pthread_join(ids[at], NULL) == 0);
    }
    pthread_barrier_destroy(&barrier);
    for (which = 0; which < 3; which++) {
      int succeeded = 0;
      for (at = 0; at < THREADS; at++) {
        succeeded += all[at].statuses[which] == CORELANE_OK;
        CHECK(all[at].statuses[which] == CORELANE_OK || all[at].statuses[which] == CORELANE_STALE);
      }
      CHECK(succeeded == 1);
    }
  }
}

typedef struct forger {
  uint64_t seed;
  corelane_router router;
  corelane_port ports[2];
  corelane_client clients[2];
  const int *stop;
  uint64_t calls;
} forger;

static uint64_t next_random(uint64_t *state) { /* xorshift64* */
  *state ^= *state >> 12;
  *state ^= *state << 25;
  *state ^= *state >> 27;
  return *state * UINT64_C(0x2545f4914f6cdd1d);
}

/* A number like a handle: near a good one, or anything. */
static uint64_t forge(uint64_t *state, uint64_t good) {
  const uint64_t random = next_random(state);
  uint64_t value;
  switch (random % 4) {
    case 0: value = good + (next_random(state) << 32); break;
    case 1: value = good ^ (UINT64_C(1) << (next_random(state) % 64)); break;
    case 2: value = next_random(state) % 5000; break;
    default: value = next_random(state);
  }
  return value == good ? 0 : value;
}

static void *use_forged(void *argument) {
  forger *self = argument;
  while (self->calls == 0 || !__atomic_load_n(self->stop, __ATOMIC_ACQUIRE)) {
    const uint64_t good = self->ports[next_random(&self->seed) % 2].value;
    const corelane_port port = {forge(&self->seed, good)};
    const corelane_router router = {forge(&self->seed, self->router.value)};
    const corelane_client client = {forge(&self->seed, self->clients[next_random(&self->seed) % 2].value)};
    corelane_event event = CORELANE_EVENT_INIT;
    corelane_text text = CORELANE_TEXT_INIT;
    if (port.value == self->ports[0].value || port.value == self->ports[1].value || client.value == self->clients[0].value ||
        client.value == self->clients[1].value) {
      continue;
    }
    IS(submit(port, client, TO_SINK, 0), CORELANE_STALE);
    IS(corelane_port_poll(port, &event, 1), CORELANE_STALE);
    IS(corelane_port_release(port), CORELANE_STALE);
    IS(corelane_port_wait(port, 1), CORELANE_STALE);
    IS(corelane_port_send(port, client, BYTES("x"), plain, 0), CORELANE_STALE);
    IS(corelane_port_send_to_room(port, (corelane_room){client.value}, BYTES("x"), plain, 0), CORELANE_STALE);
    IS(corelane_router_release(router), CORELANE_STALE);
    IS(corelane_router_stop(router, 1), CORELANE_STALE);
    IS(corelane_router_prometheus(router, &text), CORELANE_STALE);
    /* Forged clients of a good port. */
    IS(submit(self->ports[1], client, TO_SINK, 0), CORELANE_STALE);
    IS(corelane_port_disconnect(self->ports[1], client), CORELANE_STALE);
    self->calls++;
  }
  return NULL;
}

/* Threads use handles that were never valid while this one works with good ones. */
static void check_forged(int turns) {
  corelane_router router = start("workers=1\npin=off\nidle=park");
  const corelane_port ports[2] = {open_port(router, 0), open_port(router, CORELANE_PORT_SHARED)};
  corelane_client client, filler;
  forger forgers[4];
  pthread_t ids[4];
  loop own;
  int stop = 0, at, turn, got = 0;
  filler = join(ports[1], "filler", 1);
  client = join(ports[0], "sink", 2);
  memset(&own, 0, sizeof own);
  own.port = ports[0];
  for (at = 0; at < 4; at++) {
    const forger one = {UINT64_C(88172645463325252) + (uint64_t)at, router, {ports[0], ports[1]}, {client, filler}, &stop, 0};
    forgers[at] = one;
    NEED(pthread_create(&ids[at], NULL, use_forged, &forgers[at]) == 0);
  }
  for (turn = 0; turn < turns; turn++) {
    IS(submit(ports[0], client, TO_SINK, (uint64_t)turn), CORELANE_OK);
    IS(corelane_port_publish(ports[0]), CORELANE_OK);
    CHECK(await_kind(&own, CORELANE_EVENT_MESSAGE)->correlation == (uint64_t)turn);
    IS(corelane_port_acknowledge(ports[0], client, 1, 1000), CORELANE_OK);
    got++;
  }
  __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
  for (at = 0; at < 4; at++) {
    NEED(pthread_join(ids[at], NULL) == 0);
    CHECK(forgers[at].calls > 0);
  }
  CHECK(got == turns);
  IS(corelane_port_release(ports[0]), CORELANE_OK);
  IS(corelane_port_release(ports[1]), CORELANE_OK);
  end_router(router);
}

int main(int count, char **arguments) {
  const uint64_t messages = count > 1 ? strtoull(arguments[1], NULL, 10) : 10000;
  alarm(300);
  check_shared(messages);
  check_release_during_submits(100);
  check_router_release();
  check_releases(50);
  check_forged(2000);
  return checks_failed == 0 ? 0 : 1;
}
