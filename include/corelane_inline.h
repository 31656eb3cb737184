/* corelane: a port whose host pushes and polls without a call, by the layout that corelane_port_layout tells. Connect,
 * disconnect and acknowledge stay calls (the first two wrapped here, since they push as well); messages, deliveries, sleep
 * and wake need none. What is counted, in which order, is in docs/layout.md: conservation holds as for corelane_submit and
 * corelane_poll.
 *
 *   corelane_inline_open        takes the port over, for good; the caller provides a lane for each worker
 *   corelane_inline_claim/commit, or corelane_inline_submit; corelane_inline_publish once per batch
 *   corelane_inline_poll        fills events; their views stay valid until corelane_inline_release or the next poll
 *   corelane_inline_arm         0: wait for port.layout.port_fd; otherwise something is there already
 *   before corelane_port_release: publish, poll and release what is to count
 *
 * One thread at a time, as for the port itself. */
#ifndef CORELANE_INLINE_H
#define CORELANE_INLINE_H

#include "corelane_ring.h"

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#define CORELANE_INGRESS_BYTES 56u
#define CORELANE_INGRESS_MESSAGE 1u
#define CORELANE_DELIVERY_BYTES 56u
#define CORELANE_DELIVERY_BESIDE 1u /* the payload is {number, length} of one beside the ring */
#define CORELANE_CREDIT_MESSAGE_SHIFT 31

/* The way to and from one worker. */
typedef struct corelane_lane {
  corelane_producer to;
  corelane_consumer from;
  corelane_record_view record; /* whose recipients are being handed out */
  uint32_t recipient;          /* the next of them */
  uint32_t recipients;
  const unsigned char *payload; /* theirs, in the record or beside the ring */
  uint32_t length;
  bool dirty, stalled;
} corelane_lane;

typedef struct corelane_inline {
  corelane_port port;
  corelane_layout layout; /* the last worker's; all but the rings and the worker's word is the same in every one */
  corelane_lane *lanes;
  uint32_t workers, first;
  bool armed;
  bool beside; /* payloads beside the rings were handed out */
  corelane_lane *claimed; /* where the last claim lies */
  unsigned char *slot;    /* of the client that it was made for */
} corelane_inline;

/* Takes over a port. `lanes` has room for `capacity` workers. CORELANE_LIMIT: there are more. */
static inline int32_t corelane_inline_open(corelane_inline *self, corelane_port port, corelane_lane *lanes,
                                           uint32_t capacity) {
  uint32_t worker = 0;
  int32_t status;
  memset(self, 0, sizeof *self);
  self->port = port;
  self->lanes = lanes;
  self->workers = 1;
  status = corelane_port_inline(port);
  for (; status == CORELANE_OK && worker < self->workers; worker++) {
    corelane_layout layout;
    corelane_wake wake;
    memset(&layout, 0, sizeof layout);
    layout.size = sizeof layout;
    status = corelane_port_layout(port, worker, &layout);
    if (status != CORELANE_OK) {
      return status;
    }
    if (layout.workers > capacity) {
      return CORELANE_LIMIT;
    }
    self->workers = layout.workers;
    self->layout = layout;
    memset(&lanes[worker], 0, sizeof lanes[worker]);
    wake = corelane_worker_wake_of(&layout);
    status = corelane_producer_open(&lanes[worker].to, &layout, &layout.ingress, wake);
    if (status == CORELANE_OK) {
      status = corelane_consumer_open(&lanes[worker].from, &layout, &layout.egress, wake);
    }
  }
  return status;
}

/* One more, or `count` more, in a cell that this port alone writes. Release: a count that is read comes with what was
 * counted before it. */
static inline void corelane_count(uint64_t *cell, uint64_t count) {
  __atomic_store_n(cell, __atomic_load_n(cell, __ATOMIC_RELAXED) + count, __ATOMIC_RELEASE);
}

static inline uint64_t *corelane_slot_u64(const unsigned char *slot, uint32_t offset) {
  return (uint64_t *)(void *)(uintptr_t)(slot + offset);
}

/* A connected client's slot, or NULL. */
static inline unsigned char *corelane_slot_of(const corelane_inline *self, corelane_client client) {
  const corelane_slots *slots = &self->layout.slots;
  uint32_t index = (uint32_t)client.value;
  unsigned char *slot;
  if (index >= slots->count) {
    return NULL;
  }
  slot = slots->base + (size_t)index * slots->stride;
  return __atomic_load_n(corelane_slot_u64(slot, slots->place), __ATOMIC_ACQUIRE) >> 32 == client.value >> 32 ? slot : NULL;
}

static inline uint32_t corelane_slot_phase(const corelane_inline *self, const unsigned char *slot) {
  return __atomic_load_n((const uint32_t *)(const void *)(slot + self->layout.slots.phase), __ATOMIC_RELAXED) & 0xffffu;
}

/* Now, as stamps count. */
static inline uint64_t corelane_stamp(const corelane_layout *layout) {
  struct timespec now;
#if defined(__x86_64__)
  if (layout->stamp_source == 1) {
    return __rdtsc();
  }
#endif
  (void)layout;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static inline int32_t corelane_inline_refuse(corelane_inline *self, uint32_t reason, int32_t status) {
  corelane_count(self->layout.counts.submitted, 1);
  corelane_count(&self->layout.counts.refused[reason], 1);
  return status;
}

/* Room for a client's message of `length` bytes, to be written to `*payload` (or read there from a socket) and committed. The
 * statuses of corelane_submit, each counted under its reason; a claim without a commit is forgotten and not counted. */
static inline int32_t corelane_inline_claim(corelane_inline *self, corelane_client client, uint32_t length,
                                            uint64_t correlation, uint64_t stamp, unsigned char **payload) {
  const corelane_layout *layout = &self->layout;
  unsigned char *slot = corelane_slot_of(self, client), *record;
  const uint32_t no_type = UINT32_MAX, unused = 0;
  const uint64_t no_recipient = 0;
  uint64_t place;
  int32_t status;
  if (slot == NULL) {
    return corelane_inline_refuse(self, CORELANE_REFUSED_STALE, CORELANE_STALE);
  }
  place = __atomic_load_n(corelane_slot_u64(slot, layout->slots.place), __ATOMIC_RELAXED);
  if ((place >> 16 & 0xffff) != layout->port) {
    return corelane_inline_refuse(self, CORELANE_REFUSED_WRONG_PORT, CORELANE_INVALID);
  }
  if (corelane_slot_phase(self, slot) != 1) {
    return corelane_inline_refuse(self, CORELANE_REFUSED_STALE, CORELANE_STALE);
  }
  if (length > layout->max_message) {
    return corelane_inline_refuse(self, CORELANE_REFUSED_TOO_LARGE, CORELANE_TOO_LARGE);
  }
  if (__atomic_load_n(layout->draining, __ATOMIC_RELAXED) != 0) {
    return corelane_inline_refuse(self, CORELANE_REFUSED_DRAINING, CORELANE_CLOSED);
  }
  self->claimed = &self->lanes[(place & 0xffff) < self->workers ? place & 0xffff : 0];
  self->slot = slot;
  status = corelane_ring_claim(&self->claimed->to, CORELANE_INGRESS_BYTES + length, CORELANE_INGRESS_MESSAGE, 0, &record);
  switch (status) {
  case CORELANE_OK:
    memcpy(record + 8, &client.value, 8);
    memcpy(record + 16, &stamp, 8);
    memcpy(record + 24, &correlation, 8);
    memcpy(record + 32, &no_recipient, 8);
    memcpy(record + 40, &no_type, 4);
    memcpy(record + 44, &unused, 4);
    *payload = record + CORELANE_INGRESS_BYTES;
    return CORELANE_OK;
  case CORELANE_FULL:
    self->claimed->stalled = true;
    return corelane_inline_refuse(self, CORELANE_REFUSED_FULL, status);
  case CORELANE_CLOSED:
    return corelane_inline_refuse(self, CORELANE_REFUSED_CLOSED, status);
  case CORELANE_TOO_LARGE:
    return corelane_inline_refuse(self, CORELANE_REFUSED_TOO_LARGE, status);
  default:
    return corelane_inline_refuse(self, CORELANE_REFUSED_CORRUPT, status);
  }
}

/* Makes the last claim a message. Counted before it can be seen. */
static inline void corelane_inline_commit(corelane_inline *self) {
  uint64_t *submitted;
  if (self->claimed == NULL || self->claimed->to.claimed == 0) {
    return;
  }
  submitted = corelane_slot_u64(self->slot, self->layout.slots.submitted);
  corelane_count(self->layout.counts.submitted, 1);
  __atomic_store_n(submitted, __atomic_load_n(submitted, __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED);
  corelane_ring_commit(&self->claimed->to);
  self->claimed->dirty = true;
  self->claimed->stalled = false;
}

/* Makes what was committed visible and wakes workers that sleep: once per batch. */
static inline void corelane_inline_publish(corelane_inline *self) {
  uint32_t worker;
  for (worker = 0; worker < self->workers; worker++) {
    if (self->lanes[worker].dirty) {
      self->lanes[worker].dirty = false;
      (void)corelane_ring_publish(&self->lanes[worker].to);
    }
  }
}

/* After a call that pushes: takes over where it left the rings. */
static inline int32_t corelane_inline_resume(corelane_inline *self) {
  uint32_t worker;
  int32_t status = CORELANE_OK;
  for (worker = 0; worker < self->workers && status == CORELANE_OK; worker++) {
    status = corelane_producer_resume(&self->lanes[worker].to);
  }
  return status;
}

/* Copies and commits one message that was read just now; one that is too large for a ring goes by a call, and at once. */
static inline int32_t corelane_inline_submit(corelane_inline *self, corelane_client client, const void *message,
                                             uint32_t length, uint64_t correlation) {
  unsigned char *payload = NULL;
  int32_t status, resumed;
  if (CORELANE_INGRESS_BYTES + (uint64_t)length > self->lanes[0].to.ring.capacity / 4) {
    corelane_inline_publish(self);
    status = corelane_submit(self->port, client, (const uint8_t *)message, length, correlation);
    resumed = corelane_inline_resume(self);
    return status < 0 ? status : resumed;
  }
  status = corelane_inline_claim(self, client, length, correlation, corelane_stamp(&self->layout), &payload);
  if (status == CORELANE_OK) {
    memcpy(payload, message, length);
    corelane_inline_commit(self);
  }
  return status;
}

/* As corelane_connect. */
static inline int32_t corelane_inline_connect(corelane_inline *self, const char *name, size_t name_length,
                                              const char *protocol, size_t protocol_length, const char *application,
                                              size_t application_length, uint64_t token, corelane_client *client,
                                              corelane_error *error) {
  int32_t status, resumed;
  corelane_inline_publish(self);
  status = corelane_connect(self->port, name, name_length, protocol, protocol_length, application, application_length, token,
                            client, error);
  resumed = corelane_inline_resume(self);
  return status < 0 ? status : resumed;
}

/* As corelane_disconnect. Above 0: so many disconnects wait for room; corelane_inline_push_waiting after a wake. */
static inline int32_t corelane_inline_disconnect(corelane_inline *self, corelane_client client) {
  uint32_t worker = 0;
  int32_t status, resumed;
  corelane_inline_publish(self);
  status = corelane_disconnect(self->port, client);
  resumed = corelane_inline_resume(self);
  for (; status > 0 && worker < self->workers; worker++) {
    self->lanes[worker].stalled = true;
  }
  return resumed < 0 ? resumed : status;
}

/* Pushes the disconnects that waited for room; returns how many still do. */
static inline int32_t corelane_inline_push_waiting(corelane_inline *self) {
  int32_t status, resumed;
  corelane_inline_publish(self);
  status = corelane_publish(self->port);
  resumed = corelane_inline_resume(self);
  return resumed < 0 ? resumed : status;
}

/* Gives back the space of what the last poll handed out; its views end. */
static inline void corelane_inline_release(corelane_inline *self) {
  uint32_t worker;
  bool done = true;
  for (worker = 0; worker < self->workers; worker++) {
    if (self->lanes[worker].recipient == self->lanes[worker].recipients) {
      (void)corelane_ring_release(&self->lanes[worker].from);
    } else {
      done = false;
    }
  }
  if (self->beside && done) {
    self->beside = false;
    (void)corelane_payload_release(self->port);
  }
}

/* Keeps the larger value in a cell that this port alone writes. */
static inline void corelane_raise(uint64_t *cell, uint64_t value) {
  if (value > __atomic_load_n(cell, __ATOMIC_RELAXED)) {
    __atomic_store_n(cell, value, __ATOMIC_RELAXED);
  }
}

/* A delivery on credit is handed out: it is outstanding until it is acknowledged, and timed where no earlier one of the client
 * is. */
static inline void corelane_inline_track(corelane_inline *self, unsigned char *slot, uint32_t length) {
  const corelane_slots *slots = &self->layout.slots;
  uint64_t *handed = corelane_slot_u64(slot, slots->handed), *track = corelane_slot_u64(slot, slots->track);
  const uint64_t now = __atomic_load_n(handed, __ATOMIC_RELAXED) + (UINT64_C(1) << 32) + length;
  const uint64_t before = __atomic_load_n(track, __ATOMIC_RELAXED), messages = now >> 32, bytes = now & UINT32_MAX;
  uint64_t left = before >> 48, most_messages = before >> 32 & 0xffff, most_bytes = before & UINT32_MAX;
  __atomic_store_n(handed, now, __ATOMIC_RELAXED);
  if (left == 0) {
    left = messages < 0xffff ? messages : 0xffff;
    __atomic_store_n(corelane_slot_u64(slot, slots->sampled_at), corelane_stamp(&self->layout), __ATOMIC_RELAXED);
  }
  most_messages = messages > most_messages ? (messages < 0xffff ? messages : 0xffff) : most_messages;
  most_bytes = bytes > most_bytes ? bytes : most_bytes;
  __atomic_store_n(track, left << 48 | most_messages << 32 | most_bytes, __ATOMIC_RELAXED);
  corelane_raise(self->layout.counts.outstanding_messages_maximum, messages);
  corelane_raise(self->layout.counts.outstanding_bytes_maximum, bytes);
}

/* One recipient's event of a lane's record; false if nobody gets it. */
static inline bool corelane_inline_hand_out(corelane_inline *self, corelane_lane *lane, corelane_event *event) {
  const corelane_slots *slots = &self->layout.slots;
  const unsigned char *record = lane->record.bytes;
  const uint32_t length = lane->length;
  const bool on_credit = lane->record.kind == CORELANE_EVENT_MESSAGE || lane->record.kind == CORELANE_EVENT_EXPIRED;
  unsigned char *slot;
  uint32_t phase;
  memset(event, 0, sizeof *event);
  event->size = sizeof *event;
  event->kind = lane->record.kind;
  memcpy(&event->client.value, record + CORELANE_DELIVERY_BYTES + 8 * (size_t)lane->recipient++, 8);
  slot = corelane_slot_of(self, event->client);
  phase = slot == NULL ? 0 : corelane_slot_phase(self, slot);
  if (phase != 1 && phase != 2) {
    if (on_credit && (uint32_t)event->client.value < slots->count) {
      slot = slots->base + (size_t)(uint32_t)event->client.value * slots->stride;
      (void)__atomic_fetch_sub(corelane_slot_u64(slot, slots->credit),
                               (UINT64_C(1) << CORELANE_CREDIT_MESSAGE_SHIFT) + length, __ATOMIC_ACQ_REL);
    }
    corelane_count(self->layout.counts.undeliverable_closed, 1);
    return false;
  }
  if (on_credit) {
    corelane_inline_track(self, slot, length);
  }
  event->token = __atomic_load_n(corelane_slot_u64(slot, slots->token), __ATOMIC_RELAXED);
  memcpy(&event->sender.value, record + 8, 8);
  memcpy(&event->correlation, record + 24, 8);
  event->bytes = length == 0 ? NULL : lane->payload;
  event->length = length;
  event->reason = event->kind == CORELANE_EVENT_CLOSE     ? lane->record.flags + 1u
                  : event->kind == CORELANE_EVENT_REFUSED ? CORELANE_FAILED_CREDIT
                                                          : 0;
  if (event->kind == CORELANE_EVENT_CLOSED) {
    (void)corelane_client_closed(self->port, event->client);
  }
  corelane_count(self->layout.counts.consumed, 1);
  return true;
}

/* A lane's next record: 1, its recipients are to be handed out; 0 there is none; CORELANE_CORRUPT. */
static inline int32_t corelane_inline_next(corelane_inline *self, corelane_lane *lane) {
  uint32_t recipients = 0;
  int32_t status = corelane_ring_poll(&lane->from, &lane->record);
  if (status != 1) {
    return status;
  }
  if (lane->record.length >= CORELANE_DELIVERY_BYTES) {
    memcpy(&recipients, lane->record.bytes + 44, 4);
  }
  if (recipients == 0 || recipients > (lane->record.length - CORELANE_DELIVERY_BYTES) / 8) {
    return corelane_ring_corrupt(&lane->from.ring);
  }
  lane->payload = lane->record.bytes + CORELANE_DELIVERY_BYTES + 8 * (size_t)recipients;
  lane->length = lane->record.length - CORELANE_DELIVERY_BYTES - 8 * recipients;
  if (lane->record.kind == CORELANE_EVENT_MESSAGE && (lane->record.flags & CORELANE_DELIVERY_BESIDE) != 0) {
    size_t length = 0;
    uint64_t number = 0;
    memcpy(&number, lane->payload, lane->length < 8 ? lane->length : 8);
    if (corelane_payload_take(self->port, number, &lane->payload, &length) != CORELANE_OK) {
      return corelane_ring_corrupt(&lane->from.ring);
    }
    lane->length = (uint32_t)length;
    self->beside = true;
  }
  lane->recipient = 0;
  lane->recipients = recipients;
  return 1;
}

/* As corelane_poll, into events of this header's size. CORELANE_CORRUPT: a worker's ring is not to be trusted. */
static inline int32_t corelane_inline_poll(corelane_inline *self, corelane_event *events, uint32_t capacity) {
  uint32_t count = 0, offset;
  bool open = false;
  if (self->armed) {
    self->armed = false;
    corelane_wake_disarm(corelane_port_wake_of(&self->layout));
    corelane_wake_drain(corelane_port_wake_of(&self->layout));
  }
  corelane_inline_release(self);
  corelane_count(self->layout.counts.polls, 1);
  self->first = (self->first + 1) % self->workers;
  for (offset = 0; offset < self->workers; offset++) {
    corelane_lane *lane = &self->lanes[(self->first + offset) % self->workers];
    /* Closed is looked at before the tail: what was published before closing is then seen. */
    bool closed = corelane_ring_closed(&lane->from.ring);
    int32_t status = corelane_ring_refresh(&lane->from);
    while (status >= 0 && count < capacity) {
      if (lane->recipient == lane->recipients) {
        status = corelane_inline_next(self, lane);
        if (status != 1) {
          break;
        }
      }
      count += corelane_inline_hand_out(self, lane, &events[count]);
    }
    if (status < 0) {
      return count > 0 ? (int32_t)count : status;
    }
    open = open || !closed || corelane_ring_has_more(&lane->from) || lane->recipient != lane->recipients;
  }
  return count == 0 && !open ? CORELANE_CLOSED : (int32_t)count;
}

/* About to wait for the descriptor: 0, or CORELANE_AGAIN where something is there already. After a refusal as full, or a
 * disconnect that waits for room, this asks for space as well. */
static inline int32_t corelane_inline_arm(corelane_inline *self) {
  uint32_t worker;
  bool news = false;
  for (worker = 0; worker < self->workers; worker++) {
    if (self->lanes[worker].stalled) {
      corelane_ring_request_space(&self->lanes[worker].to);
    }
  }
  self->armed = true;
  corelane_wake_arm(corelane_port_wake_of(&self->layout));
  for (worker = 0; worker < self->workers; worker++) {
    corelane_lane *lane = &self->lanes[worker];
    if (lane->stalled && corelane_ring_space_moved(&lane->to)) {
      lane->stalled = false;
      news = true;
    }
    news = news || corelane_ring_has_more(&lane->from) || lane->recipient != lane->recipients;
  }
  return news ? CORELANE_AGAIN : CORELANE_OK;
}

#endif
