/* What becomes of messages, seen from C: every refusal of a submit and of a send, batches, notices, credit, routed messages,
 * views, and the ends of clients and routers. A port with a local worker decides when its worker runs, so that most of the
 * outcomes here are exact. */
#define _GNU_SOURCE
#include "host.h"

#include "memory.h"
#include <errno.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define TO_BOB "{\"type\":\"offer\",\"to\":\"bob\"}"
#define HELD "{\"type\":\"OFFER\",\"dst\":\"nobody\"}"
#define LOCAL "workers=1\nlocal_workers=1\nidle=park\n"
#define THREADED "workers=1\npin=off\nidle=park\n"

static const corelane_message_type plain = {0};
static char large[9000]; /* A message to bob that does not fit a record in a ring of 4096 bytes. */

static int32_t batch_submit(corelane_port port, corelane_client client, const char *message, uint32_t flags, int32_t accepted) {
  corelane_submission one = CORELANE_SUBMISSION_INIT;
  int32_t status = 99;
  one.flags = flags;
  one.client = client;
  one.message = (const uint8_t *)message;
  one.length = strlen(message);
  IS(corelane_port_submit_batch(port, &one, 1, &status), accepted);
  return status;
}

static int32_t batch_send(corelane_port port, corelane_client client, corelane_room room, const char *message, uint32_t flags,
                          int32_t accepted) {
  corelane_send one = CORELANE_SEND_INIT;
  int32_t status = 99;
  one.flags = flags;
  one.client = client;
  one.room = room;
  one.message = (const uint8_t *)message;
  one.length = strlen(message);
  IS(corelane_port_send_batch(port, &one, 1, &status), accepted);
  return status;
}

static void all_refuse(corelane_port port, corelane_client client, corelane_room room, const char *message, int32_t as_submit,
                       int32_t as_send) {
  const corelane_client nobody = {0};
  const corelane_room nowhere = {0};
  IS(submit(port, client, message, 0), as_submit);
  CHECK(batch_submit(port, client, message, 0, 0) == as_submit);
  CHECK(batch_submit(port, client, message, CORELANE_TELL_FAILED, 0) == as_submit);
  IS(corelane_port_send(port, client, BYTES(message), plain, 0), as_send);
  IS(corelane_port_send_to_room(port, room, BYTES(message), plain, 0), as_send);
  CHECK(batch_send(port, client, nowhere, message, 0, 0) == as_send);
  CHECK(batch_send(port, nobody, room, message, 0, 0) == as_send);
}

typedef struct bench {
  corelane_router router;
  loop loop;
  corelane_client ann, bob;
  corelane_room room;
} bench;

static int32_t submit_told(bench *self, corelane_client client, const char *message, uint64_t correlation);

static bench begin(const char *config, const char *more, uint32_t flags) {
  bench self;
  char text[512];
  corelane_connect_options ann = peer("ann", "generic", 1);
  memset(&self, 0, sizeof self);
  snprintf(text, sizeof text, "%s%s", config, more);
  self.router = start(text);
  self.loop.port = open_port(self.router, flags);
  self.ann = join_as(self.loop.port, &ann);
  self.bob = join(self.loop.port, "bob", 2);
  IS(corelane_port_join(self.loop.port, self.ann, TEXT("room"), &self.room, NULL), CORELANE_OK);
  return self;
}

static void finish(bench *self) {
  IS(corelane_port_release(self->loop.port), CORELANE_OK);
  end_router(self->router);
}

/* Runs the local worker until it has nothing to do. The events stay in the ring. */
static void run(bench *self) {
  int32_t work;
  while ((work = corelane_port_cycle(self->loop.port)) > 0) {
  }
  CHECK(work == 0 || work == CORELANE_CLOSED);
}

/* Polls everything and acknowledges it. Returns how many messages came. */
static int drain(bench *self) {
  int messages = 0, at;
  run(self);
  while (poll_into(&self->loop) > 0) {
    corelane_written written[MOST];
    size_t count = 0;
    for (at = 0; at < self->loop.count; at++) {
      const corelane_event *event = &self->loop.events[at];
      if (event->kind == CORELANE_EVENT_MESSAGE) {
        const corelane_written one = CORELANE_WRITTEN_INIT;
        written[count] = one;
        written[count].client = event->client;
        written[count].messages = 1;
        written[count++].bytes = (uint32_t)event->length;
        messages++;
      }
    }
    IS(corelane_port_acknowledge_batch(self->loop.port, written, count), CORELANE_OK);
    IS(corelane_port_release_views(self->loop.port), CORELANE_OK);
    run(self);
  }
  return messages;
}

static uint64_t refused_as(const bench *self, const char *reason) {
  return figure(self->router, "corelane_messages_refused_total", reason);
}

/* Each refusal is told apart, and counted under its reason. */
static void check_refusals(void) {
  const corelane_client stale = {UINT64_C(77) << 32};
  const corelane_room nowhere = {0};
  bench self;
  int accepted;
  uint64_t submitted;

  /* FULL: the ring, and that CORELANE_TRY counts nothing. */
  self = begin(LOCAL, "ring_bytes=4096\nmax_message=1000\n", CORELANE_PORT_LOCAL);
  for (accepted = 0; accepted < 1000 && submit(self.loop.port, self.ann, TO_BOB, 0) == CORELANE_OK; accepted++) {
  }
  CHECK(accepted > 5 && accepted < 1000 && refused_as(&self, "ring_full") == 1);
  all_refuse(self.loop.port, self.ann, self.room, TO_BOB, CORELANE_FULL, CORELANE_FULL);
  CHECK(refused_as(&self, "ring_full") == 8);
  submitted = figure(self.router, "corelane_messages_submitted_total", "");
  CHECK(batch_submit(self.loop.port, self.ann, TO_BOB, CORELANE_TRY, 0) == CORELANE_FULL);
  CHECK(batch_submit(self.loop.port, self.ann, TO_BOB, CORELANE_TRY | CORELANE_TELL_FAILED, 0) == CORELANE_FULL);
  CHECK(batch_send(self.loop.port, self.bob, nowhere, TO_BOB, CORELANE_TRY, 0) == CORELANE_FULL);
  CHECK(refused_as(&self, "ring_full") == 8 && figure(self.router, "corelane_messages_submitted_total", "") == submitted);
  CHECK(submitted == (uint64_t)accepted + 8);
  IS(corelane_port_arm(self.loop.port), CORELANE_AGAIN); /* The local worker has work. */
  CHECK(drain(&self) == accepted);
  CHECK(batch_submit(self.loop.port, self.ann, TO_BOB, CORELANE_TRY, 1) == 0 && drain(&self) == 1);
  IS(submit(self.loop.port, self.ann, TO_BOB, 0), CORELANE_OK);
  CHECK(drain(&self) == 1);
  /* Flags, recipients and types that are not valid. */
  CHECK(batch_submit(self.loop.port, self.ann, TO_BOB, 4, 0) == CORELANE_INVALID);
  CHECK(batch_send(self.loop.port, self.ann, nowhere, TO_BOB, CORELANE_TELL_FAILED, 0) == CORELANE_INVALID);
  CHECK(batch_send(self.loop.port, self.ann, self.room, TO_BOB, 0, 0) == CORELANE_INVALID); /* Both. */
  IS(corelane_port_send(self.loop.port, (corelane_client){0}, BYTES("x"), plain, 0), CORELANE_INVALID);
  IS(corelane_port_send(self.loop.port, self.bob, BYTES("x"), (corelane_message_type){UINT32_MAX}, 0), CORELANE_INVALID);
  IS(corelane_port_send_to_room(self.loop.port, self.room, BYTES("x"), (corelane_message_type){UINT32_MAX}, 0), CORELANE_INVALID);
  IS(corelane_port_send(self.loop.port, stale, BYTES("x"), plain, 0), CORELANE_STALE);
  CHECK(batch_submit(self.loop.port, stale, TO_BOB, 0, 0) == CORELANE_STALE);
  CHECK(batch_send(self.loop.port, stale, nowhere, TO_BOB, 0, 0) == CORELANE_STALE);
  all_refuse(self.loop.port, self.ann, self.room, large, CORELANE_TOO_LARGE, CORELANE_TOO_LARGE);
  finish(&self);

  /* The client's rate. Sends are the host's own and have no rate. */
  self = begin(LOCAL, "client_rate=1\nclient_burst=2\n", CORELANE_PORT_LOCAL);
  CHECK(submit(self.loop.port, self.ann, TO_BOB, 0) == CORELANE_OK && submit(self.loop.port, self.ann, TO_BOB, 0) == CORELANE_OK);
  IS(submit(self.loop.port, self.ann, TO_BOB, 0), CORELANE_RATE_LIMITED);
  CHECK(batch_submit(self.loop.port, self.ann, TO_BOB, 0, 0) == CORELANE_RATE_LIMITED && refused_as(&self, "rate_limited") == 2);
  IS(submit(self.loop.port, self.bob, TO_BOB, 0), CORELANE_OK); /* The other client is not affected. */
  CHECK(drain(&self) == 3);
  finish(&self);

  /* A client's messages on the way. */
  self = begin(LOCAL, "max_in_flight=1\n", CORELANE_PORT_LOCAL);
  IS(submit(self.loop.port, self.ann, TO_BOB, 0), CORELANE_OK);
  IS(submit(self.loop.port, self.ann, TO_BOB, 0), CORELANE_IN_FLIGHT);
  CHECK(batch_submit(self.loop.port, self.ann, TO_BOB, 0, 0) == CORELANE_IN_FLIGHT);
  CHECK(refused_as(&self, "in_flight_limit") == 2 && drain(&self) == 1);
  IS(submit(self.loop.port, self.ann, TO_BOB, 0), CORELANE_OK);
  finish(&self);

  /* All clients' messages on the way. */
  self = begin(LOCAL, "max_concurrent_messages=1\n", CORELANE_PORT_LOCAL);
  IS(submit(self.loop.port, self.bob, TO_BOB, 0), CORELANE_OK);
  all_refuse(self.loop.port, self.ann, self.room, TO_BOB, CORELANE_CONCURRENCY, CORELANE_CONCURRENCY);
  CHECK(refused_as(&self, "concurrency_limit") == 7 && drain(&self) == 1);
  IS(submit(self.loop.port, self.ann, TO_BOB, 0), CORELANE_OK);
  finish(&self);

  /* The memory for large messages. */
  self = begin(LOCAL, "ring_bytes=4096\nmax_message=10000\npayloads=2\n", CORELANE_PORT_LOCAL);
  IS(corelane_port_send(self.loop.port, self.bob, BYTES(large), plain, 0), CORELANE_OK);
  IS(corelane_port_send(self.loop.port, self.bob, BYTES(large), plain, 0), CORELANE_OK);
  all_refuse(self.loop.port, self.ann, self.room, large, CORELANE_PAYLOADS, CORELANE_PAYLOADS);
  CHECK(refused_as(&self, "payloads_full") == 7);
  IS(submit(self.loop.port, self.ann, TO_BOB, 0), CORELANE_OK); /* A small one needs none of that memory. */
  CHECK(drain(&self) == 3);
  IS(submit_told(&self, self.ann, large, 7), CORELANE_OK);
  CHECK(poll_into(&self.loop) == 1 && self.loop.events[0].kind == CORELANE_EVENT_MESSAGE);
  finish(&self);
}

/* A batch stops at the first refusal, and what came before it is handled. */
static void check_batches(void) {
  bench self = begin(LOCAL, "max_message=1000\n", CORELANE_PORT_LOCAL);
  corelane_submission submissions[4];
  corelane_send sends[4];
  corelane_written written = CORELANE_WRITTEN_INIT;
  int32_t status = 99;
  int at;
  for (at = 0; at < 4; at++) {
    const corelane_submission one = CORELANE_SUBMISSION_INIT;
    const corelane_send send = CORELANE_SEND_INIT;
    submissions[at] = one;
    submissions[at].client = self.ann;
    submissions[at].message = (const uint8_t *)(at == 2 ? large : TO_BOB);
    submissions[at].length = at == 2 ? strlen(large) : strlen(TO_BOB);
    submissions[at].correlation = (uint64_t)at + 100;
    submissions[at].waited_ns = 1000;
    sends[at] = send;
    sends[at].message = (const uint8_t *)"hello";
    sends[at].length = 5;
    sends[at].correlation = (uint64_t)at + 200;
  }
  IS(corelane_port_submit_batch(self.loop.port, submissions, 4, &status), 2);
  CHECK(status == CORELANE_TOO_LARGE);
  run(&self);
  for (at = 0; at < 2; at++) {
    CHECK(await_kind(&self.loop, CORELANE_EVENT_MESSAGE)->correlation == (uint64_t)at + 100);
  }
  CHECK(poll_into(&self.loop) == 0);
  IS(corelane_port_submit_batch(self.loop.port, submissions, 2, &status), 2);
  CHECK(status == CORELANE_OK);
  IS(corelane_port_submit_batch(self.loop.port, submissions, 4, NULL), 2);
  IS(corelane_port_submit_batch(self.loop.port, submissions, SIZE_MAX, NULL), CORELANE_INVALID);
  CHECK(drain(&self) == 4);
  sends[0].client = self.bob;
  sends[1].room = self.room;
  sends[2].client.value = self.bob.value + (UINT64_C(1) << 32);
  sends[3].client = self.bob;
  IS(corelane_port_send_batch(self.loop.port, sends, 4, &status), 2);
  CHECK(status == CORELANE_STALE);
  IS(corelane_port_send_batch(self.loop.port, sends, SIZE_MAX, &status), CORELANE_INVALID);
  CHECK(drain(&self) == 2);
  IS(corelane_port_send_batch(self.loop.port, sends, 2, NULL), 2);
  CHECK(drain(&self) == 2);
  IS(corelane_port_acknowledge_batch(self.loop.port, &written, SIZE_MAX), CORELANE_INVALID);
  finish(&self);
}

static void is_told(const corelane_event *event, uint32_t kind, corelane_client client, corelane_client sender,
                    uint64_t correlation, uint32_t reason) {
  CHECK(event->kind == kind && event->client.value == client.value && event->sender.value == sender.value);
  CHECK(event->correlation == correlation && event->reason == reason && event->bytes == NULL && event->length == 0);
  if (event->reason != reason) {
    fprintf(stderr, "%s, not %s\n", corelane_reason_name(event->reason), corelane_reason_name(reason));
  }
}

static int32_t submit_told(bench *self, corelane_client client, const char *message, uint64_t correlation) {
  corelane_submission one = CORELANE_SUBMISSION_INIT;
  int32_t status = 99;
  one.flags = CORELANE_TELL_FAILED;
  one.client = client;
  one.message = (const uint8_t *)message;
  one.length = strlen(message);
  one.correlation = correlation;
  IS(corelane_port_submit_batch(self->loop.port, &one, 1, &status), 1);
  run(self);
  return status;
}

/* The host is told of failed sends; a client of failed messages, if it asks. Types, and what a send delivers. */
static void check_notices(void) {
  static const struct {
    const char *message;
    uint32_t reason;
  } failing[] = {
      {"", CORELANE_REASON_EMPTY},
      {"{", CORELANE_REASON_NOT_JSON},
      {"[]", CORELANE_REASON_NOT_AN_OBJECT},
      {"{\"to\":\"bob\"}", CORELANE_REASON_MISSING_TYPE},
      {"{\"type\":\"offer\"}", CORELANE_REASON_NO_RECIPIENT},
      {"{\"type\":\"offer\",\"to\":\"nobody\"}", CORELANE_REASON_UNKNOWN_RECIPIENT},
      {"{\"type\":\"offer\",\"to\":7}", CORELANE_REASON_WRONG_TYPE},
      {"{\"type\":\"offer\",\"to\":\"bob\",\"to\":\"bob\"}", CORELANE_REASON_DUPLICATE_FIELD},
      {"{\"type\":\"offer\",\"room\":\"empty\"}", CORELANE_REASON_UNKNOWN_ROOM},
      {"\xff", CORELANE_REASON_NOT_UTF8},
  };
  bench self = begin(LOCAL, "credit_messages=2\ncredit_policy=refuse\n", CORELANE_PORT_LOCAL);
  corelane_message_type offer = {0}, unknown = {99};
  const corelane_client nobody = {0};
  const corelane_event *event;
  corelane_room gone, other;
  size_t at;
  for (at = 0; at < sizeof failing / sizeof failing[0]; at++) {
    IS(submit_told(&self, self.ann, failing[at].message, at + 1), CORELANE_OK);
    event = await_kind(&self.loop, CORELANE_EVENT_UNDELIVERED);
    is_told(event, CORELANE_EVENT_UNDELIVERED, self.ann, nobody, at + 1, failing[at].reason);
    CHECK(event->token == 1);
    IS(submit(self.loop.port, self.ann, failing[at].message, 0), CORELANE_OK); /* Who does not ask is not told. */
    run(&self);
    CHECK(poll_into(&self.loop) == 0);
  }
  /* Sends: to a client with a type, to a room, and the statuses of looking a type up. */
  IS(corelane_port_message_type(self.loop.port, TEXT("generic"), TEXT("offer"), &offer), CORELANE_OK);
  CHECK(offer.value != 0);
  IS(corelane_port_message_type(self.loop.port, TEXT("smtp"), TEXT("offer"), &unknown), CORELANE_NOT_FOUND);
  CHECK(unknown.value == 99);
  IS(corelane_port_message_type(self.loop.port, TEXT("generic"), TEXT("nothing"), &unknown), CORELANE_OK); /* "send" */
  IS(corelane_port_send(self.loop.port, self.bob, BYTES("raw \xff bytes"), offer, 31), CORELANE_OK);
  IS(corelane_port_join(self.loop.port, self.bob, TEXT("room"), &other, NULL), CORELANE_OK);
  CHECK(other.value == self.room.value);
  IS(corelane_port_send_to_room(self.loop.port, self.room, BYTES("to all"), plain, 32), CORELANE_OK);
  run(&self);
  event = await_kind(&self.loop, CORELANE_EVENT_MESSAGE);
  CHECK(event->client.value == self.bob.value && event->sender.value == 0 && event->correlation == 31);
  CHECK(event->length == 11 && memcmp(event->bytes, "raw \xff bytes", 11) == 0);
  for (at = 0; at < 2; at++) {
    event = await_kind(&self.loop, CORELANE_EVENT_MESSAGE);
    CHECK(event->correlation == 32 && event->length == 6 && event->sender.value == 0);
  }
  CHECK(figure(self.router, "corelane_messages_delivered_total", "message_type=\"offer\"") == 1);
  CHECK(figure(self.router, "corelane_messages_delivered_total", "message_type=\"send\"") == 1);
  /* bob has no credit left: the send and the message fail, the room's other member gets its own. */
  IS(corelane_port_send(self.loop.port, self.bob, BYTES("x"), plain, 33), CORELANE_OK);
  IS(corelane_port_send_to_room(self.loop.port, self.room, BYTES("x"), plain, 34), CORELANE_OK);
  IS(submit(self.loop.port, self.ann, TO_BOB, 35), CORELANE_OK);
  run(&self);
  CHECK(poll_into(&self.loop) == 4);
  for (at = 0; at < 4; at++) {
    event = &self.loop.events[at];
    if (event->kind == CORELANE_EVENT_MESSAGE) {
      CHECK(event->client.value == self.ann.value && event->correlation == 34);
    } else if (event->kind == CORELANE_EVENT_UNDELIVERED) {
      is_told(event, CORELANE_EVENT_UNDELIVERED, self.ann, self.bob, 35, CORELANE_REASON_CREDIT_EXHAUSTED);
    } else {
      CHECK(event->correlation == 33 || event->correlation == 34);
      is_told(event, CORELANE_EVENT_SEND_FAILED, self.bob, nobody, event->correlation, CORELANE_REASON_CREDIT_EXHAUSTED);
      CHECK(event->token == 0 && event->room.value == 0);
    }
  }
  self.loop.at = self.loop.count;
  /* A room that is gone. */
  IS(corelane_port_join(self.loop.port, self.ann, TEXT("short"), &gone, NULL), CORELANE_OK);
  IS(corelane_port_leave(self.loop.port, self.ann, gone), CORELANE_OK);
  IS(corelane_port_send_to_room(self.loop.port, gone, BYTES("x"), plain, 36), CORELANE_OK);
  run(&self);
  event = await_kind(&self.loop, CORELANE_EVENT_SEND_FAILED);
  is_told(event, CORELANE_EVENT_SEND_FAILED, nobody, nobody, 36, CORELANE_REASON_UNKNOWN_ROOM);
  CHECK(event->room.value == gone.value);
  finish(&self);
}

/* A credit policy for each client, whatever the configuration says. */
static void check_credit(void) {
  static const uint32_t policies[] = {CORELANE_CREDIT_REFUSE, CORELANE_CREDIT_DROP, CORELANE_CREDIT_DISCONNECT,
                                      CORELANE_CREDIT_DEFAULT};
  static const char *const names[] = {"refuse", "drop", "disconnect", "default"};
  bench self = begin(LOCAL, "credit_messages=1\ncredit_policy=refuse\n", CORELANE_PORT_LOCAL);
  size_t at;
  for (at = 0; at < 4; at++) {
    corelane_connect_options options = peer(names[at], "generic", 10 + at);
    const uint32_t closes = policies[at] == CORELANE_CREDIT_DROP || policies[at] == CORELANE_CREDIT_DISCONNECT;
    corelane_client client;
    const corelane_event *event;
    char message[64];
    options.credit_policy = policies[at];
    client = join_as(self.loop.port, &options);
    snprintf(message, sizeof message, "{\"type\":\"offer\",\"to\":\"%s\"}", names[at]);
    IS(submit(self.loop.port, self.ann, message, 1), CORELANE_OK);
    IS(submit(self.loop.port, self.ann, message, 2), CORELANE_OK);
    run(&self);
    CHECK(await_kind(&self.loop, CORELANE_EVENT_MESSAGE)->client.value == client.value);
    event = next_within(&self.loop, 1000);
    NEED(event != NULL);
    if (closes) { /* No type of this protocol is droppable. */
      CHECK(event->kind == CORELANE_EVENT_CLOSE && event->token == 10 + at);
      CHECK(event->reason == CORELANE_REASON_CREDIT_EXHAUSTED);
    } else {
      is_told(event, CORELANE_EVENT_UNDELIVERED, self.ann, client, 2, CORELANE_REASON_CREDIT_EXHAUSTED);
    }
    /* An acknowledgement gives the credit back, but never more than was handed out. */
    IS(corelane_port_acknowledge(self.loop.port, client, 100, 100000), CORELANE_OK);
    IS(submit(self.loop.port, self.ann, message, 3), CORELANE_OK);
    run(&self);
    if (!closes) {
      CHECK(await_kind(&self.loop, CORELANE_EVENT_MESSAGE)->correlation == 3);
    }
    IS(corelane_port_disconnect(self.loop.port, client), CORELANE_OK);
    run(&self);
    CHECK(await_kind(&self.loop, CORELANE_EVENT_CLOSED)->token == 10 + at);
  }
  finish(&self);
}

/* Every call that names a client, with a client of another port. */
static void check_foreign(corelane_port port, corelane_client foreign, corelane_room room) {
  corelane_outstanding outstanding = CORELANE_OUTSTANDING_INIT;
  corelane_routed routed = CORELANE_ROUTED_INIT;
  corelane_room joined = {7};
  IS(corelane_port_disconnect(port, foreign), CORELANE_INVALID);
  IS(corelane_port_release_name(port, foreign), CORELANE_INVALID);
  IS(corelane_port_rebind(port, foreign, 1), CORELANE_INVALID);
  IS(corelane_port_outstanding(port, foreign, &outstanding), CORELANE_INVALID);
  IS(corelane_port_join(port, foreign, TEXT("room"), &joined, NULL), CORELANE_INVALID);
  IS(corelane_port_leave(port, foreign, room), CORELANE_INVALID);
  IS(submit(port, foreign, TO_BOB, 0), CORELANE_INVALID);
  CHECK(batch_submit(port, foreign, TO_BOB, 0, 0) == CORELANE_INVALID && joined.value == 7);
  IS(corelane_port_acknowledge(port, foreign, 1, 1), CORELANE_OK);
  (void)routed;
}

/* Tokens, names, rooms, and what a client has outstanding. */
static void check_clients(void) {
  static const char two_local[] = "workers=2\nlocal_workers=2\nidle=park\nmax_clients=4\nmax_rooms=2\nmax_client_rooms=2\n"
                                  "room_retired_lists=1\nmax_ports=2\nhold_ms=50\ncredit_messages=10\n";
  bench self = begin(two_local, "", CORELANE_PORT_LOCAL);
  const corelane_port port = self.loop.port;
  loop far = {.port = open_port(self.router, CORELANE_PORT_LOCAL)};
  corelane_outstanding outstanding = CORELANE_OUTSTANDING_INIT;
  corelane_text name = CORELANE_TEXT_INIT;
  corelane_connect_options options = peer("eve", "peerjs", 5);
  corelane_client eve = join_as(far.port, &options), other = {7}, clients[2], members[4];
  corelane_room rooms[2], room = {7};
  corelane_port third = {7};
  corelane_port_options local = CORELANE_PORT_OPTIONS_INIT;
  const corelane_event *event;
  corelane_error error = CORELANE_ERROR_INIT;
  int turn, at;
  check_foreign(port, eve, self.room);
  /* Limits. */
  local.flags = CORELANE_PORT_LOCAL;
  IS(corelane_port_open(self.router, &local, &third, &error), CORELANE_LIMIT);
  IS(corelane_port_open(self.router, NULL, &third, &error), CORELANE_STATE); /* Each worker is local. */
  local.flags = 4;
  IS(corelane_port_open(self.router, &local, &third, &error), CORELANE_INVALID);
  CHECK(third.value == 7 && strstr(error.message, "flags") != NULL);
  options = peer("dan", "generic", 6);
  (void)join_as(far.port, &options);
  options = peer("fay", "generic", 6);
  IS(corelane_port_connect(far.port, &options, &other, &error), CORELANE_LIMIT);
  CHECK(other.value == 7 && strstr(error.message, "max_clients") != NULL);
  /* Names. */
  IS(corelane_port_client_name(port, eve, &name), CORELANE_OK); /* Of any port. */
  CHECK(name.length == 3 && strcmp(name.data, "eve") == 0);
  IS(corelane_text_free(&name), CORELANE_OK);
  IS(corelane_text_free((corelane_text *)(void *)((char *)&name + 1)), CORELANE_NULL); /* Not aligned. */
  IS(corelane_port_client_name(port, (corelane_client){eve.value + (UINT64_C(1) << 32)}, &name), CORELANE_STALE);
  /* Rooms. */
  IS(corelane_port_join(port, self.ann, TEXT("second"), &rooms[1], &error), CORELANE_OK);
  IS(corelane_port_join(port, self.ann, TEXT("second"), &rooms[0], &error), CORELANE_OK); /* Twice. */
  CHECK(rooms[0].value == rooms[1].value);
  IS(corelane_port_join(port, self.ann, TEXT("third"), &room, &error), CORELANE_LIMIT);
  IS(corelane_port_join(port, self.bob, TEXT("third"), &room, &error), CORELANE_LIMIT);
  CHECK(room.value == 7 && error.code == CORELANE_LIMIT);
  IS(corelane_port_join(port, self.bob, NULL, 0, &room, &error), CORELANE_INVALID); /* An empty name. */
  IS(corelane_port_join(port, (corelane_client){1}, TEXT("x"), &room, &error), CORELANE_STALE);
  IS(corelane_port_rooms_of(far.port, self.ann, rooms, 1), 2); /* Of any port; more than there is room for. */
  CHECK(rooms[0].value == self.room.value);
  IS(corelane_port_rooms_of(port, self.ann, rooms, 2), 2);
  IS(corelane_port_rooms_of(port, (corelane_client){1}, rooms, 2), CORELANE_STALE);
  IS(corelane_port_leave(port, self.bob, rooms[1]), CORELANE_NOT_FOUND);
  IS(corelane_port_leave(port, self.bob, (corelane_room){1}), CORELANE_STALE);
  IS(corelane_port_leave(port, (corelane_client){1}, rooms[1]), CORELANE_STALE);
  IS(corelane_port_members(port, self.room, members, 4), 1);
  CHECK(members[0].value == self.ann.value);
  IS(corelane_port_members(port, (corelane_room){1}, members, 4), CORELANE_STALE);
  IS(corelane_port_leave(port, self.ann, rooms[1]), CORELANE_OK);
  /* What is outstanding, and tokens. */
  for (turn = 0; turn < 3; turn++) {
    IS(submit(port, self.ann, TO_BOB, (uint64_t)turn), CORELANE_OK);
  }
  run(&self);
  IS(corelane_port_outstanding(port, self.bob, &outstanding), CORELANE_OK);
  CHECK(outstanding.messages == 3 && outstanding.handed_messages == 0 && outstanding.reserved == 0);
  IS(corelane_port_rebind(port, self.bob, 222), CORELANE_OK);
  CHECK(poll_into(&self.loop) == 3);
  for (at = 0; at < 3; at++) {
    CHECK(self.loop.events[at].token == 222 && self.loop.events[at].size == sizeof self.loop.events[at]);
  }
  IS(corelane_port_outstanding(port, self.bob, &outstanding), CORELANE_OK);
  CHECK(outstanding.messages == 3 && outstanding.handed_messages == 3 && outstanding.handed_messages_maximum == 3);
  CHECK(outstanding.bytes == outstanding.handed_bytes && outstanding.handed_bytes == 3 * self.loop.events[0].length);
  IS(corelane_port_acknowledge(port, self.bob, 2, 2 * (uint32_t)self.loop.events[0].length), CORELANE_OK);
  IS(corelane_port_outstanding(port, self.bob, &outstanding), CORELANE_OK);
  CHECK(outstanding.handed_messages == 1 && outstanding.messages == 1 && outstanding.handed_messages_maximum == 3);
  IS(corelane_port_rebind(port, (corelane_client){1}, 1), CORELANE_STALE);
  IS(corelane_port_outstanding(port, (corelane_client){1}, &outstanding), CORELANE_STALE);
  /* A client that leaves gives up its name when the host says so. */
  IS(submit(far.port, eve, "{\"type\":\"LEAVE\"}", 0), CORELANE_OK);
  IS(corelane_port_cycle(far.port) >= 0, 1);
  CHECK(await_kind(&far, CORELANE_EVENT_LEFT)->token == 5);
  IS(corelane_port_release_name(far.port, eve), CORELANE_OK);
  IS(corelane_port_release_name(far.port, (corelane_client){1}), CORELANE_STALE);
  /* A message for a name that is not connected is held, and its sender is told when it expires. */
  IS(submit(far.port, eve, HELD, 77), CORELANE_OK);
  for (turn = 0; turn < 20000 && poll_into(&far) == 0; turn++) {
    IS(corelane_port_cycle(far.port) >= 0, 1);
    usleep(1000);
  }
  event = next_within(&far, 1);
  NEED(event != NULL);
  CHECK(event->kind == CORELANE_EVENT_EXPIRED && event->correlation == 77 && event->token == 5);
  CHECK(event->length == 6 && memcmp(event->bytes, "nobody", 6) == 0);
  /* A disconnect: the name is free at once, the last event comes once. */
  clients[0] = self.bob;
  IS(corelane_port_disconnect(port, self.bob), CORELANE_OK);
  IS(corelane_port_disconnect(port, self.bob), CORELANE_STALE);
  IS(corelane_port_rebind(port, clients[0], 1), CORELANE_STALE);
  run(&self);
  CHECK(await_kind(&self.loop, CORELANE_EVENT_CLOSED)->token == 222);
  CHECK(poll_into(&self.loop) == 0);
  IS(submit(port, self.bob, TO_BOB, 0), CORELANE_STALE);
  /* Calls that would wait for this thread, which drives the workers. */
  {
    corelane_routed routed = CORELANE_ROUTED_INIT;
    IS(corelane_port_route(port, self.ann, BYTES(TO_BOB), SECOND, &routed), CORELANE_THREAD);
    IS(corelane_router_drain(self.router, SECOND), CORELANE_THREAD);
    IS(corelane_router_stop(self.router, SECOND), CORELANE_THREAD);
  }
  IS(corelane_router_request_stop(self.router), CORELANE_OK);
  for (turn = 0; turn < 100 && corelane_port_cycle(far.port) != CORELANE_CLOSED; turn++) {
    (void)corelane_port_cycle(port);
  }
  IS(corelane_port_cycle(far.port), CORELANE_CLOSED);
  IS(corelane_port_release(far.port), CORELANE_OK);
  finish(&self);
}

#define is_routed(port, client, message, outcome, reason) is_routed_at(__LINE__, port, client, message, outcome, reason)
static void is_routed_at(int line, corelane_port port, corelane_client client, const char *message, uint32_t outcome, uint32_t reason) {
  corelane_routed routed = CORELANE_ROUTED_INIT;
  IS(corelane_port_route(port, client, BYTES(message), 10 * SECOND, &routed), CORELANE_OK);
  if (routed.outcome != outcome || routed.reason != reason || routed.success != 0) {
    fprintf(stderr, "%d: outcome %u, reason %s\n", line, routed.outcome, corelane_reason_name(routed.reason));
    checks_failed++;
  }
}

static int32_t route(corelane_port port, corelane_client client, const char *message, uint64_t timeout_ns, uint32_t *outcome) {
  corelane_routed routed = CORELANE_ROUTED_INIT;
  const int32_t status = corelane_port_route(port, client, BYTES(message), timeout_ns, &routed);
  CHECK(status == CORELANE_OK || routed.outcome == 0); /* Outputs are written only on success. */
  *outcome = routed.outcome;
  return status;
}

#define HUGE_BYTES 2000000
static char *huge; /* Keeps a worker busy for some milliseconds. */

/* A second port whose message occupies the worker. */
static void occupy(corelane_port port, corelane_client client) {
  int32_t status;
  int turn;
  loop own = {.port = port};
  (void)poll_into(&own);
  for (turn = 0; turn < 5000; turn++) {
    status = corelane_port_submit(port, client, (const uint8_t *)huge, HUGE_BYTES, 0);
    if (status == CORELANE_OK) {
      break;
    }
    NEED(status == CORELANE_FULL || status == CORELANE_PAYLOADS);
    usleep(1000);
  }
  IS(corelane_port_publish(port), CORELANE_OK);
  usleep(200);
}

typedef struct caller {
  corelane_port port;
  corelane_client client;
  int limits, started;
  const int *stop;
} caller;

static void *route_all_the_time(void *argument) {
  caller *self = argument;
  uint32_t outcome;
  while (!__atomic_load_n(self->stop, __ATOMIC_ACQUIRE)) {
    const int32_t status = route(self->port, self->client, huge, 10 * SECOND, &outcome);
    CHECK(status == CORELANE_OK || status == CORELANE_LIMIT);
    if (status == CORELANE_LIMIT) {
      __atomic_add_fetch(&self->limits, 1, __ATOMIC_ACQ_REL);
    }
  }
  return NULL;
}

static void check_routes(void) {
  static const char big[] = "max_message=8000000\npayload_bytes=100000000\ncredit_bytes=1000000000\n";
  corelane_routed routed = CORELANE_ROUTED_INIT;
  corelane_connect_options options = peer("paul", "peerjs", 3);
  corelane_client paul, second;
  corelane_port other;
  uint32_t outcome = 0;
  int turn, seen[3];
  bench self = begin(THREADED, "hold_ms=60000\nmax_message=1000\n", 0);

  is_routed(self.loop.port, self.ann, TO_BOB, CORELANE_ROUTED_DELIVERED, 0);
  is_routed(self.loop.port, self.ann, "[]", CORELANE_ROUTED_FAILED, CORELANE_REASON_NOT_AN_OBJECT);
  is_routed(self.loop.port, self.ann, "", CORELANE_ROUTED_FAILED, CORELANE_REASON_EMPTY);
  is_routed(self.loop.port, self.ann, "{\"type\":\"offer\",\"to\":\"nobody\"}", CORELANE_ROUTED_FAILED,
            CORELANE_REASON_UNKNOWN_RECIPIENT);
  paul = join_as(self.loop.port, &options);
  is_routed(self.loop.port, paul, HELD, CORELANE_ROUTED_HELD, 0);
  IS(route(self.loop.port, self.ann, large, SECOND, &outcome), CORELANE_TOO_LARGE);
  IS(route(self.loop.port, (corelane_client){1}, TO_BOB, SECOND, &outcome), CORELANE_STALE);
  other = open_port(self.router, 0);
  IS(route(other, self.ann, TO_BOB, SECOND, &outcome), CORELANE_INVALID);
  IS(corelane_port_route(self.loop.port, self.ann, NULL, 4, SECOND, &routed), CORELANE_NULL);
  IS(corelane_port_cycle(self.loop.port), CORELANE_STATE); /* No local worker. */
  IS(corelane_port_next_due(self.loop.port, &turn), CORELANE_STATE);
  IS(corelane_port_release(other), CORELANE_OK);
  /* After a stop. */
  IS(corelane_router_stop(self.router, 10 * SECOND), CORELANE_OK);
  IS(route(self.loop.port, self.ann, TO_BOB, SECOND, &outcome), CORELANE_CLOSED);
  all_refuse(self.loop.port, self.ann, self.room, TO_BOB, CORELANE_CLOSED, CORELANE_CLOSED);
  options = peer("late", "generic", 0);
  IS(corelane_port_connect(self.loop.port, &options, &second, NULL), CORELANE_CLOSED);
  IS(corelane_port_open(self.router, NULL, &other, NULL), CORELANE_STATE);
  finish(&self);

  self = begin(THREADED, "client_rate=1\nclient_burst=1\n", 0);
  IS(submit(self.loop.port, self.ann, TO_BOB, 0), CORELANE_OK);
  IS(route(self.loop.port, self.ann, TO_BOB, SECOND, &outcome), CORELANE_RATE_LIMITED);
  finish(&self);

  /* A held message is on the way. */
  options = peer("paul", "peerjs", 3);
  self = begin(THREADED, "hold_ms=60000\nmax_in_flight=1\n", 0);
  paul = join_as(self.loop.port, &options);
  is_routed(self.loop.port, paul, HELD, CORELANE_ROUTED_HELD, 0);
  IS(route(self.loop.port, paul, TO_BOB, SECOND, &outcome), CORELANE_IN_FLIGHT);
  finish(&self);
  self = begin(THREADED, "hold_ms=60000\nmax_concurrent_messages=1\n", 0);
  paul = join_as(self.loop.port, &options);
  is_routed(self.loop.port, paul, HELD, CORELANE_ROUTED_HELD, 0);
  IS(route(self.loop.port, self.ann, TO_BOB, SECOND, &outcome), CORELANE_CONCURRENCY);
  finish(&self);

  /* A delivery that was not polled keeps its payload. */
  self = begin(THREADED, "ring_bytes=4096\nmax_message=10000\npayloads=1\n", 0);
  IS(corelane_port_send(self.loop.port, self.bob, BYTES(large), plain, 0), CORELANE_OK);
  IS(route(self.loop.port, self.ann, large, SECOND, &outcome), CORELANE_PAYLOADS);
  finish(&self);

  /* While the worker is busy with another port's message. */
  self = begin(THREADED, big, 0);
  memset(seen, 0, sizeof seen);
  other = open_port(self.router, 0);
  second = join(other, "second", 9);
  for (turn = 0; turn < 3000 && (seen[0] < 1 || seen[1] < 1); turn++) {
    int32_t status;
    occupy(other, second);
    status = route(self.loop.port, self.ann, TO_BOB, 1000, &outcome);
    CHECK(status == CORELANE_TIMEOUT || status == CORELANE_TIMEOUT_STARTED || status == CORELANE_OK);
    seen[0] += status == CORELANE_TIMEOUT;
    status = route(self.loop.port, self.ann, huge, SECOND / 4000 * (uint64_t)(2 + turn % 80), &outcome);
    /* On a busy machine the worker may be many messages behind. */
    CHECK(status == CORELANE_TIMEOUT || status == CORELANE_TIMEOUT_STARTED || status == CORELANE_OK ||
          status == CORELANE_PAYLOADS || status == CORELANE_FULL);
    seen[1] += status == CORELANE_TIMEOUT_STARTED;
    usleep(status == CORELANE_PAYLOADS || status == CORELANE_FULL ? 100000 : 5000);
    (void)poll_into(&self.loop);
  }
  if (seen[0] < 1 || seen[1] < 1) {
    fprintf(stderr, "%d: only seen %d and %d times\n", __LINE__, seen[0], seen[1]);
    checks_failed++;
  }
  IS(corelane_port_release(other), CORELANE_OK);
  finish(&self);

  self = begin(THREADED "queue_messages=1\nmax_queue_wait_ms=1\n", big, 0);
  other = open_port(self.router, 0);
  second = join(other, "second", 9);
  memset(seen, 0, sizeof seen);
  for (turn = 0; turn < 3000 && (seen[0] < 1 || seen[1] < 1); turn++) {
    int32_t status;
    occupy(other, second);
    status = route(self.loop.port, self.ann, TO_BOB, 10 * SECOND, &outcome); /* Waits for longer than a message may. */
    seen[0] += status == CORELANE_OK && outcome == CORELANE_ROUTED_EXPIRED;
    occupy(other, second);
    if (submit(self.loop.port, self.ann, TO_BOB, 0) == CORELANE_OK && corelane_port_publish(self.loop.port) == CORELANE_OK) {
      status = route(self.loop.port, self.ann, TO_BOB, 10 * SECOND, &outcome);
      CHECK(status == CORELANE_OK || status == CORELANE_FULL);
      seen[1] += status == CORELANE_FULL;
    }
    (void)poll_into(&self.loop);
  }
  if (seen[0] < 1 || seen[1] < 1) {
    fprintf(stderr, "%d: only seen %d and %d times\n", __LINE__, seen[0], seen[1]);
    checks_failed++;
  }
  IS(corelane_port_release(other), CORELANE_OK);
  finish(&self);

  /* More callers than `max_calls`. */
  self = begin(THREADED "max_calls=1\n", big, CORELANE_PORT_SHARED);
  {
    int stop = 0, at;
    caller callers[2] = {{self.loop.port, self.ann, 0, 0, &stop}, {self.loop.port, self.ann, 0, 0, &stop}};
    pthread_t threads[2];
    for (at = 0; at < 2; at++) {
      NEED(pthread_create(&threads[at], NULL, route_all_the_time, &callers[at]) == 0);
    }
    for (turn = 0; turn < 5000; turn++) {
      usleep(1000);
      (void)poll_into(&self.loop);
      if (__atomic_load_n(&callers[0].limits, __ATOMIC_ACQUIRE) + __atomic_load_n(&callers[1].limits, __ATOMIC_ACQUIRE) > 0) {
        break;
      }
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    for (at = 0; at < 2; at++) {
      pthread_join(threads[at], NULL);
    }
    CHECK(callers[0].limits + callers[1].limits > 0);
  }
  finish(&self);
}

/* Disconnects during and after a stop still end with the client's last event, and then the port is over. */
static void check_ends(void) {
  int when;
  for (when = 0; when < 4; when++) {
    bench self = begin(THREADED, "", when % 2 == 0 ? 0 : CORELANE_PORT_SHARED);
    int ann = 0, bob = 0;
    const corelane_event *event;
    CHECK(submit(self.loop.port, self.ann, TO_BOB, 0) == CORELANE_OK);
    if (when < 2) {
      IS(corelane_router_request_stop(self.router), CORELANE_OK);
      IS(corelane_port_disconnect(self.loop.port, self.ann), CORELANE_OK);
    }
    IS(corelane_router_stop(self.router, 10 * SECOND), CORELANE_OK);
    IS(corelane_router_stop(self.router, SECOND), CORELANE_OK); /* A second time. */
    if (when >= 2) {
      IS(corelane_port_disconnect(self.loop.port, self.ann), CORELANE_OK);
    }
    IS(corelane_port_disconnect(self.loop.port, self.bob), CORELANE_OK);
    while ((event = next_within(&self.loop, 10000)) != NULL) {
      ann += event->kind == CORELANE_EVENT_CLOSED && event->token == 1;
      bob += event->kind == CORELANE_EVENT_CLOSED && event->token == 2;
    }
    CHECK(ann == 1 && bob == 1 && self.loop.count == CORELANE_CLOSED);
    IS(poll_into(&self.loop), CORELANE_CLOSED);
    IS(corelane_port_wait(self.loop.port, SECOND), CORELANE_CLOSED);
    IS(corelane_port_arm(self.loop.port), CORELANE_CLOSED);
    IS(corelane_router_release(self.router), CORELANE_OK);
    IS(corelane_router_release(self.router), CORELANE_STALE);
    IS(poll_into(&self.loop), CORELANE_CLOSED);
    IS(corelane_port_release(self.loop.port), CORELANE_OK);
    IS(corelane_port_release(self.loop.port), CORELANE_STALE);
  }
  /* A drain waits for held messages, and a stop fails them. */
  {
    bench self = begin(THREADED, "hold_ms=60000\n", 0);
    corelane_connect_options options = peer("paul", "peerjs", 3);
    corelane_client paul = join_as(self.loop.port, &options);
    is_routed(self.loop.port, paul, HELD, CORELANE_ROUTED_HELD, 0);
    IS(corelane_router_drain(self.router, SECOND / 50), CORELANE_TIMEOUT);
    IS(submit(self.loop.port, self.ann, TO_BOB, 0), CORELANE_CLOSED);
    IS(corelane_router_set_active_workers(self.router, 0), CORELANE_CONFIG_VALUE);
    IS(corelane_router_set_active_workers(self.router, 2), CORELANE_CONFIG_VALUE);
    IS(corelane_router_set_active_workers(self.router, 1), CORELANE_OK);
    finish(&self);
  }
  {
    bench self = begin(THREADED, "", 0);
    IS(corelane_router_drain(self.router, 20 * SECOND), CORELANE_OK);
    finish(&self);
  }
}

/* A stop that must wait for a worker that is busy. */
static void check_stop_timeout(void) {
  static const char big[] = "max_message=8000000\npayload_bytes=100000000\ncredit_bytes=1000000000\n";
  int turn, seen = 0;
  for (turn = 0; turn < 200 && seen == 0; turn++) {
    bench self = begin(THREADED, big, 0);
    occupy(self.loop.port, self.ann);
    seen += corelane_router_stop(self.router, 1000) == CORELANE_TIMEOUT;
    finish(&self);
  }
  CHECK(seen > 0);
}

/* Limits of the process, and a system that refuses. */
static void check_resources(void) {
  corelane_router routers[65], none = {7};
  corelane_port ports[64], refused = {7};
  corelane_port_options shared = CORELANE_PORT_OPTIONS_INIT;
  corelane_error error = CORELANE_ERROR_INIT;
  struct rlimit before, low;
  const char *small = "workers=1\npin=off\nidle=park\nmax_clients=2\nmax_ports=64\nring_bytes=4096\nmax_message=500\nbacklog_bytes=4096\n"
                      "detailed_stats=off";
  int at, opened = 0;
  routers[64] = start(small);
  NEED(getrlimit(RLIMIT_NOFILE, &before) == 0);
  low = before;
  low.rlim_cur = 3;
  NEED(setrlimit(RLIMIT_NOFILE, &low) == 0);
  IS(corelane_port_open(routers[64], NULL, &refused, &error), CORELANE_SYSTEM);
  CHECK(error.os_errno != 0 && refused.value == 7);
  NEED(setrlimit(RLIMIT_NOFILE, &before) == 0);
  for (at = 0; at < 63; at++) {
    routers[at] = start(small);
  }
  IS(corelane_router_start(TEXT("workers=1\npin=off"), &none, &error), CORELANE_LIMIT);
  CHECK(none.value == 7 && strstr(error.message, "64") != NULL);
  for (at = 0; at < 63; at++) {
    end_router(routers[at]);
  }
  shared.flags = CORELANE_PORT_SHARED;
  for (at = 0; at < 64; at++) {
    opened += corelane_port_open(routers[64], &shared, &ports[at], NULL) == CORELANE_OK;
  }
  IS(corelane_port_open(routers[64], &shared, &refused, &error), CORELANE_LIMIT);
  CHECK(opened == 64 && strstr(error.message, "max_ports") != NULL);
  for (at = 0; at < 64; at++) {
    IS(corelane_port_release(ports[at]), CORELANE_OK);
  }
  end_router(routers[64]);
}

/* The system refuses threads. In a child, because only an ordinary user can be refused; before the library is used. */
static void check_no_threads(void) {
  int status = -1;
  const pid_t child = fork();
  NEED(child >= 0);
  if (child == 0) {
    const struct rlimit none = {0, 0};
    corelane_router router = {7};
    corelane_error error = CORELANE_ERROR_INIT;
    if (geteuid() == 0) {
      NEED(setuid(65534) == 0);
    }
    NEED(setrlimit(RLIMIT_NPROC, &none) == 0);
    IS(corelane_router_start(TEXT("workers=1"), &router, &error), CORELANE_SYSTEM);
    CHECK(error.os_errno == EAGAIN && router.value == 7);
    _exit(checks_failed == 0 ? 0 : 1);
  }
  NEED(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* What the last poll handed out stays valid whatever else is called, until the next poll. */
static void check_views(void) {
  static char copies[MOST][10000];
  static const char *const messages[] = {TO_BOB, "{\"type\":\"offer\",\"to\":\"bob\",\"n\":1}", large};
  int flags, at, turn;
  for (flags = 0; flags <= (int)CORELANE_PORT_SHARED; flags += CORELANE_PORT_SHARED) {
    bench self = begin(THREADED, "ring_bytes=4096\nmax_message=10000\npayloads=64\n", (uint32_t)flags);
    loop other = {.port = open_port(self.router, 0)};
    const corelane_client carl = join(other.port, "carl", 4);
    int32_t got = 0;
    for (turn = 0; turn < 3; turn++) {
      IS(submit(self.loop.port, self.ann, messages[turn], 0), CORELANE_OK);
    }
    IS(corelane_port_publish(self.loop.port), CORELANE_OK);
    for (turn = 0; turn < 20000 && figure(self.router, "corelane_deliveries_total", "") < 3; turn++) {
      usleep(1000);
    }
    usleep(100000); /* The worker publishes at the end of its round. */
    for (turn = 0; turn < 20000 && (got = poll_into(&self.loop)) == 0; turn++) {
      usleep(1000);
    }
    CHECK(got == 3);
    for (at = 0; at < got; at++) {
      memcpy(copies[at], self.loop.events[at].bytes, self.loop.events[at].length);
    }
    /* Everything else: calls with this port, with its clients, with another port, and with the router. */
    for (turn = 0; turn < 200; turn++) {
      const corelane_connect_options options = peer("guest", "generic", 8);
      corelane_client guest;
      if (submit(self.loop.port, self.ann, messages[turn % 3], 0) != CORELANE_OK) {
        IS(corelane_port_publish(self.loop.port), CORELANE_OK);
      }
      (void)corelane_port_send(self.loop.port, carl, BYTES("hello"), plain, 0);
      if (corelane_port_connect(self.loop.port, &options, &guest, NULL) == CORELANE_OK) {
        IS(corelane_port_disconnect(self.loop.port, guest), CORELANE_OK);
      }
      (void)submit(other.port, carl, TO_BOB, 0);
      IS(corelane_port_publish(other.port), CORELANE_OK);
      (void)poll_into(&other);
    }
    IS(corelane_port_acknowledge(self.loop.port, self.bob, 3, 20000), CORELANE_OK);
    IS(corelane_port_rebind(self.loop.port, self.bob, 9), CORELANE_OK);
    IS(corelane_port_disconnect(self.loop.port, self.bob), CORELANE_OK);
    (void)corelane_port_wait(self.loop.port, SECOND / 100);
    IS(corelane_port_release(other.port), CORELANE_OK);
    IS(corelane_router_stop(self.router, 10 * SECOND), CORELANE_OK);
    IS(corelane_router_release(self.router), CORELANE_OK);
    for (at = 0; at < got; at++) {
      CHECK(memcmp(copies[at], self.loop.events[at].bytes, self.loop.events[at].length) == 0);
    }
    IS(corelane_port_release_views(self.loop.port), CORELANE_OK);
    IS(corelane_port_release(self.loop.port), CORELANE_OK);
  }
}

/* Each of the two clients gets CLOSE once. */
static void check_cut_off(bench *self) {
  int closes[3] = {0, 0, 0}, turn, at;
  for (turn = 0; turn < 20000 && (turn < 10 || closes[1] + closes[2] < 2); turn++) {
    NEED(poll_into(&self->loop) >= 0);
    for (at = 0; at < self->loop.count; at++) {
      const corelane_event *event = &self->loop.events[at];
      CHECK(event->kind == CORELANE_EVENT_CLOSE && event->reason == CORELANE_REASON_CORRUPT);
      NEED(event->token == 1 || event->token == 2);
      closes[event->token]++;
    }
    usleep(1000);
  }
  CHECK(closes[1] == 1 && closes[2] == 1);
}

/* Rings with values that neither end can have written: each call says so, and the ring's clients are to be closed. */
static void check_corruption(void) {
  uint8_t *in = NULL, *from = NULL;
  bench self = begin(THREADED, "ring_bytes=4096\nmax_message=1000\n", 0);
  uint32_t outcome;
  int turn;
  int32_t status = CORELANE_OK;
  size_t at;
  NEED(corelane_test_ring(self.loop.port, 0, 0, &in) == CORELANE_OK && corelane_test_ring(self.loop.port, 0, 1, &from) == CORELANE_OK);
  IS(corelane_port_publish(self.loop.port), CORELANE_OK);
  /* The next record has an impossible length when its worker takes it. */
  at = *word(in, RING_TAIL) % *word(in, RING_CAPACITY);
  IS(submit(self.loop.port, self.ann, TO_BOB, 0), CORELANE_OK);
  *word(in, RING_DATA + at) |= 0xeeeeeeee;
  IS(corelane_port_publish(self.loop.port), CORELANE_OK);
  /* The ring may be full before the worker gets a processor. */
  for (turn = 0; turn < 20000 && (status == CORELANE_OK || status == CORELANE_FULL); turn++) {
    usleep(1000);
    status = submit(self.loop.port, self.ann, TO_BOB, 0);
  }
  CHECK(status == CORELANE_CORRUPT);
  all_refuse(self.loop.port, self.ann, self.room, TO_BOB, CORELANE_CORRUPT, CORELANE_CORRUPT);
  IS(route(self.loop.port, self.ann, TO_BOB, SECOND, &outcome), CORELANE_CORRUPT);
  check_cut_off(&self);
  IS(corelane_port_release(self.loop.port), CORELANE_OK);
  end_router(self.router);

  self = begin(THREADED, "ring_bytes=4096\nmax_message=1000\n", 0);
  NEED(corelane_test_ring(self.loop.port, 0, 0, &in) == CORELANE_OK && corelane_test_ring(self.loop.port, 0, 1, &from) == CORELANE_OK);
  usleep(200000); /* The worker has nothing more to publish. */
  __atomic_store_n(word(from, RING_TAIL), UINT64_MAX, __ATOMIC_SEQ_CST);
  check_cut_off(&self);
  IS(corelane_port_disconnect(self.loop.port, self.ann), CORELANE_OK);
  finish(&self);
}

int main(void) {
  size_t length;
  static const char head[] = "{\"type\":\"offer\",\"to\":\"bob\",\"data\":\"";
  alarm(240);
  check_no_threads();
  memset(large, 'x', sizeof large - 1);
  memcpy(large, head, sizeof head - 1);
  memcpy(large + sizeof large - 3, "\"}", 2);
  huge = malloc(HUGE_BYTES + 1);
  NEED(huge != NULL);
  /* Many short fields: a long string would be read too fast on a good machine. */
  length = (size_t)sprintf(huge, "{\"type\":\"other\"");
  for (; length + 8 < HUGE_BYTES; length += 6) {
    memcpy(huge + length, ",\"x\":0", 6);
  }
  memset(huge + length, ' ', HUGE_BYTES - length);
  memcpy(huge + HUGE_BYTES - 1, "}", 2);
  check_refusals();
  check_batches();
  check_notices();
  check_credit();
  check_clients();
  check_routes();
  check_ends();
  check_stop_timeout();
  check_resources();
  check_views();
  check_corruption();
  free(huge);
  return checks_failed == 0 ? 0 : 1;
}
