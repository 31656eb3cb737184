/* A program that was compiled with an earlier header, frozen.h, works with the library of today: with the structs of then,
 * with smaller ones of an even earlier header, and with larger ones of a later header, one by one and in arrays.
 * ffi-tests/header.py checks that each struct of frozen.h is the beginning of today's. */
#define _GNU_SOURCE
#include "frozen.h" /* In place of corelane.h, whose guard it has. */

#include "host.h"

#define TO_BOB "{\"type\":\"offer\",\"to\":\"bob\"}"
#define UNTOUCHED UINT64_C(0xa5a5a5a5a5a5a5a5)

/* Structs of an earlier header, that end sooner. */
typedef struct older_event {
  uint32_t size, kind;
  corelane_client client;
  uint64_t token;
} older_event;

typedef struct older_options {
  uint32_t size, credit_policy;
  const char *name;
  size_t name_length;
  const char *protocol;
  size_t protocol_length;
} older_options;

typedef struct older_submission {
  uint32_t size, flags;
  corelane_client client;
  const uint8_t *message;
  size_t length;
} older_submission;

typedef struct older_send {
  uint32_t size, flags;
  corelane_client client;
  corelane_room room;
  const uint8_t *message;
  size_t length;
} older_send;

typedef struct older_written {
  uint32_t size, messages;
  corelane_client client;
} older_written;

/* Structs of a later header, that have more fields. */
#define LATER(name)            \
  typedef struct later_##name { \
    corelane_##name then;      \
    uint64_t more[3];          \
  } later_##name
LATER(event);
LATER(connect_options);
LATER(submission);
LATER(send);
LATER(written);
LATER(outstanding);
LATER(routed);
LATER(text);
LATER(error);
LATER(port_options);

/* Fills a struct of a later header: everything after the size is what nobody has set. */
#define NOT_SET(value)                              \
  do {                                              \
    memset(&(value), 0xa5, sizeof(value));          \
    *(uint32_t *)(void *)&(value) = sizeof(value);  \
  } while (0)

#define IS_UNTOUCHED(value) \
  CHECK((value).then.size == sizeof(value) && (value).more[0] == UNTOUCHED && (value).more[2] == UNTOUCHED)

typedef struct host {
  corelane_router router;
  loop loop;
  corelane_client ann, bob;
} host;

static host begin(void) {
  host self;
  memset(&self, 0, sizeof self);
  self.router = start("workers=1\npin=off\nidle=park");
  self.loop.port = open_port(self.router, 0);
  self.ann = join(self.loop.port, "ann", 1);
  self.bob = join(self.loop.port, "bob", 2);
  return self;
}

static void finish(host *self) {
  IS(corelane_port_release(self->loop.port), CORELANE_OK);
  end_router(self->router);
}

static void send_some(host *self, int count) {
  int at;
  for (at = 0; at < count; at++) {
    IS(submit(self->loop.port, self->ann, TO_BOB, 100 + (uint64_t)at), CORELANE_OK);
  }
  IS(corelane_port_publish(self->loop.port), CORELANE_OK);
}

/* As this header has it. */
static void check_same(void) {
  host self = begin();
  corelane_outstanding outstanding = CORELANE_OUTSTANDING_INIT;
  corelane_routed routed = CORELANE_ROUTED_INIT;
  const corelane_event *event;
  send_some(&self, 1);
  event = await_kind(&self.loop, CORELANE_EVENT_MESSAGE);
  CHECK(event->token == 2 && event->correlation == 100 && event->sender.value == self.ann.value);
  CHECK(event->length > strlen(TO_BOB) && event->bytes[0] == '{');
  IS(corelane_port_outstanding(self.loop.port, self.bob, &outstanding), CORELANE_OK);
  CHECK(outstanding.messages == 1 && outstanding.size == sizeof outstanding);
  IS(corelane_port_route(self.loop.port, self.ann, BYTES(TO_BOB), 20 * SECOND, &routed), CORELANE_OK);
  CHECK(routed.outcome == CORELANE_ROUTED_DELIVERED);
  IS(corelane_port_disconnect(self.loop.port, self.bob), CORELANE_OK);
  CHECK(await_kind(&self.loop, CORELANE_EVENT_CLOSED)->token == 2);
  finish(&self);
}

/* Gathers `count` events into an array with this distance. The array stays as it is behind the last event. */
static void gather(host *self, unsigned char *array, size_t stride, int count) {
  int got = 0, turn;
  for (turn = 0; turn < 2000 && got < count; turn++) {
    unsigned char *place = array + (size_t)got * stride;
    const uint32_t size = (uint32_t)stride;
    int32_t now;
    memcpy(place, &size, sizeof size);
    now = corelane_port_poll(self->loop.port, (corelane_event *)(void *)place, (size_t)(count - got));
    NEED(now >= 0);
    got += now;
    if (now == 0) {
      (void)corelane_port_wait(self->loop.port, SECOND);
    }
  }
  NEED(got == count);
}

static void check_smaller(void) {
  enum { COUNT = 5 };
  host self = begin();
  union {
    older_event events[COUNT + 1];
    unsigned char bytes[(COUNT + 1) * sizeof(older_event)];
  } all;
  older_submission submissions[COUNT];
  older_send sends[COUNT];
  older_written written[COUNT];
  older_options options = {sizeof options, 0, "carl", 4, "generic", 7};
  corelane_client carl = {0};
  struct {
    uint32_t size, messages;
    uint64_t behind;
  } outstanding = {8, 77, UNTOUCHED};
  struct {
    uint32_t size;
    int32_t code, os_errno;
    uint32_t reserved;
    char message[8];
    uint64_t behind;
  } error = {24, 0, 0, 0, "", UNTOUCHED};
  int32_t status = 99;
  int at;
  send_some(&self, COUNT);
  memset(&all, 0xa5, sizeof all);
  gather(&self, all.bytes, sizeof(older_event), COUNT);
  for (at = 0; at < COUNT; at++) {
    CHECK(all.events[at].size == sizeof(older_event) && all.events[at].kind == CORELANE_EVENT_MESSAGE);
    CHECK(all.events[at].token == 2 && all.events[at].client.value == self.bob.value);
  }
  CHECK(all.events[COUNT].size == 0xa5a5a5a5 && all.events[COUNT].token == UNTOUCHED);
  for (at = 0; at < COUNT; at++) {
    const older_submission one = {sizeof one, 0, self.ann, (const uint8_t *)TO_BOB, strlen(TO_BOB)};
    const older_send other = {sizeof other, 0, self.bob, {0}, (const uint8_t *)"hello", 5};
    const older_written part = {sizeof part, 1, self.bob};
    submissions[at] = one;
    sends[at] = other;
    written[at] = part;
  }
  IS(corelane_port_submit_batch(self.loop.port, (const corelane_submission *)(const void *)submissions, COUNT, &status), COUNT);
  CHECK(status == CORELANE_OK);
  IS(corelane_port_send_batch(self.loop.port, (const corelane_send *)(const void *)sends, COUNT, &status), COUNT);
  CHECK(status == CORELANE_OK);
  for (at = 0; at < 2 * COUNT; at++) {
    CHECK(await_kind(&self.loop, CORELANE_EVENT_MESSAGE)->correlation == 0); /* Not in the struct, so not set. */
  }
  IS(corelane_port_acknowledge_batch(self.loop.port, (const corelane_written *)(const void *)written, COUNT), CORELANE_OK);
  IS(corelane_port_outstanding(self.loop.port, self.bob, (corelane_outstanding *)(void *)&outstanding), CORELANE_OK);
  CHECK(outstanding.size == 8 && outstanding.messages == 3 * COUNT - COUNT && outstanding.behind == UNTOUCHED);
  IS(corelane_port_connect(self.loop.port, (const corelane_connect_options *)(const void *)&options, &carl, NULL), CORELANE_OK);
  IS(corelane_port_connect(self.loop.port, (const corelane_connect_options *)(const void *)&options, &carl,
                           (corelane_error *)(void *)&error), CORELANE_EXISTS);
  CHECK(error.code == CORELANE_EXISTS && memchr(error.message, 0, sizeof error.message) != NULL && error.behind == UNTOUCHED);
  finish(&self);
}

static void check_larger(void) {
  enum { COUNT = 5 };
  host self = begin();
  union {
    later_event events[COUNT + 1];
    unsigned char bytes[(COUNT + 1) * sizeof(later_event)];
  } all;
  later_submission submissions[COUNT];
  later_send sends[COUNT];
  later_written written[COUNT];
  later_connect_options options;
  later_outstanding outstanding;
  later_routed routed;
  later_text text;
  later_error error;
  later_port_options port_options;
  corelane_port second = {0};
  corelane_client carl = {0};
  int32_t status = 99;
  int at;
  send_some(&self, COUNT);
  memset(&all, 0xa5, sizeof all);
  gather(&self, all.bytes, sizeof(later_event), COUNT);
  for (at = 0; at < COUNT; at++) {
    IS_UNTOUCHED(all.events[at]);
    CHECK(all.events[at].then.token == 2 && all.events[at].then.correlation == 100 + (uint64_t)at);
    CHECK(all.events[at].then.reserved == 0 && all.events[at].then.room.value == 0);
  }
  CHECK(all.events[COUNT].then.size == 0xa5a5a5a5);
  for (at = 0; at < COUNT; at++) { /* What a later header has besides is ignored. */
    const corelane_submission one = CORELANE_SUBMISSION_INIT;
    const corelane_send other = CORELANE_SEND_INIT;
    const corelane_written part = CORELANE_WRITTEN_INIT;
    NOT_SET(submissions[at]);
    NOT_SET(sends[at]);
    NOT_SET(written[at]);
    submissions[at].then = one;
    submissions[at].then.size = sizeof submissions[at];
    submissions[at].then.client = self.ann;
    submissions[at].then.message = (const uint8_t *)TO_BOB;
    submissions[at].then.length = strlen(TO_BOB);
    submissions[at].then.correlation = 200 + (uint64_t)at;
    sends[at].then = other;
    sends[at].then.size = sizeof sends[at];
    sends[at].then.client = self.bob;
    sends[at].then.message = (const uint8_t *)"hello";
    sends[at].then.length = 5;
    sends[at].then.correlation = 200 + COUNT + (uint64_t)at;
    written[at].then = part;
    written[at].then.size = sizeof written[at];
    written[at].then.client = self.bob;
    written[at].then.messages = 1;
  }
  IS(corelane_port_submit_batch(self.loop.port, &submissions[0].then, COUNT, &status), COUNT);
  CHECK(status == CORELANE_OK);
  IS(corelane_port_send_batch(self.loop.port, &sends[0].then, COUNT, &status), COUNT);
  CHECK(status == CORELANE_OK);
  for (at = 0; at < 2 * COUNT; at++) {
    CHECK(await_kind(&self.loop, CORELANE_EVENT_MESSAGE)->correlation == 200 + (uint64_t)at);
  }
  IS(corelane_port_acknowledge_batch(self.loop.port, &written[0].then, COUNT), CORELANE_OK);
  NOT_SET(outstanding);
  IS(corelane_port_outstanding(self.loop.port, self.bob, &outstanding.then), CORELANE_OK);
  IS_UNTOUCHED(outstanding);
  CHECK(outstanding.then.messages == 2 * COUNT && outstanding.then.reserved == 0);
  NOT_SET(routed);
  IS(corelane_port_route(self.loop.port, self.ann, BYTES(TO_BOB), 20 * SECOND, &routed.then), CORELANE_OK);
  IS_UNTOUCHED(routed);
  CHECK(routed.then.outcome == CORELANE_ROUTED_DELIVERED && routed.then.reason == 0);
  NOT_SET(options);
  options.then = peer("carl", "generic", 3);
  options.then.size = sizeof options;
  NOT_SET(error);
  IS(corelane_port_connect(self.loop.port, &options.then, &carl, &error.then), CORELANE_OK);
  CHECK(error.more[0] == UNTOUCHED && error.then.code == (int32_t)0xa5a5a5a5); /* Written only by calls that fail. */
  IS(corelane_port_connect(self.loop.port, &options.then, &carl, &error.then), CORELANE_EXISTS);
  IS_UNTOUCHED(error);
  CHECK(error.then.code == CORELANE_EXISTS && strlen(error.then.message) > 10);
  NOT_SET(text);
  IS(corelane_port_client_name(self.loop.port, carl, &text.then), CORELANE_OK);
  IS_UNTOUCHED(text);
  CHECK(strcmp(text.then.data, "carl") == 0 && corelane_text_free(&text.then) == CORELANE_OK && text.then.data == NULL);
  NOT_SET(port_options);
  port_options.then.flags = CORELANE_PORT_SHARED;
  IS(corelane_port_open(self.router, &port_options.then, &second, NULL), CORELANE_OK);
  IS(corelane_port_release(second), CORELANE_OK);
  finish(&self);
}

int main(void) {
  alarm(240);
  CHECK(corelane_version() >> 16 == CORELANE_VERSION_NUMBER >> 16);
  check_same();
  check_smaller();
  check_larger();
  return checks_failed == 0 ? 0 : 1;
}
