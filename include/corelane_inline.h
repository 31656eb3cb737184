/* corelane: an inline port, whose host pushes and polls without a call, by the layout from corelane_port_layout.
 * Connect, disconnect and acknowledge remain calls; the first two are wrapped here, because they push as well.
 * Messages, deliveries, sleep and wake need no call as long as every worker runs. docs/layout.md says what the host
 * counts and in which order. The accounting then holds as for corelane_submit and corelane_poll.
 *
 *   corelane_inline_open        makes the port inline, for good; the caller provides one lane per worker
 *   corelane_inline_claim/commit, or corelane_inline_submit; corelane_inline_publish once per batch
 *   corelane_inline_poll        fills events; their views are valid until corelane_inline_release or the next poll
 *   corelane_inline_arm         0: wait for port.layout.port_fd; otherwise there is something to poll
 *   before corelane_port_release: publish what was committed
 *
 * Only one thread at a time may use the struct, as for the port itself. */
#ifndef CORELANE_INLINE_H
#define CORELANE_INLINE_H

#include "corelane_ring.h"

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#define CORELANE_INGRESS_BYTES 56u
#define CORELANE_INGRESS_MESSAGE 1u
#define CORELANE_DELIVERY_BYTES 56u
#define CORELANE_DELIVERY_BESIDE 1u /* the payload is out of line; the record has its {number, length} */
#define CORELANE_CREDIT_MESSAGE_SHIFT 31
#define CORELANE_CREDIT_GENERATION_SHIFT 47
#define CORELANE_CREDIT_CLOSE_SENT (UINT64_C(1) << 62)
#define CORELANE_PHASE_OPEN 1u
#define CORELANE_PHASE_CLOSING 2u

/* The rings to and from one worker. */
typedef struct corelane_lane {
  corelane_producer to;
  corelane_consumer from;
  corelane_record_view record; /* the record that is being handed out */
  uint32_t recipient;          /* index of the next recipient */
  uint32_t recipients;
  const unsigned char *payload; /* the record's payload, in the record or out of line */
  uint32_t length;
  bool lost;                   /* the out-of-line payload is missing */
  bool dirty, stalled;
  bool closed; /* a poll has seen that the worker closed the ring */
} corelane_lane;

typedef struct corelane_inline {
  corelane_port port;
  corelane_layout layout; /* the last worker's; only the rings and the worker's wake word differ between workers */
  corelane_lane *lanes;
  uint32_t workers, first;
  bool armed;
  bool over;   /* a poll has returned CORELANE_CLOSED */
  bool beside; /* out-of-line payloads were handed out and not released */
  corelane_lane *claimed; /* lane of the last claim */
  unsigned char *slot;    /* slot of the last claim's client */
} corelane_inline;

/* Makes a port inline. `lanes` has room for `capacity` workers. CORELANE_LIMIT: the router has more workers. */
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

/* Adds `count` to a cell that only this port writes. Release: a reader that sees the new count also sees what this
 * thread did before it counted. */
static inline void corelane_count(uint64_t *cell, uint64_t count) {
  __atomic_store_n(cell, __atomic_load_n(cell, __ATOMIC_RELAXED) + count, __ATOMIC_RELEASE);
}

static inline uint64_t *corelane_slot_u64(const unsigned char *slot, uint32_t offset) {
  return (uint64_t *)(void *)(uintptr_t)(slot + offset);
}

/* Returns a client's slot and its state, or NULL if the slot is another client's. One load yields generation and
 * state, so no reuse of the slot can come between them. */
static inline unsigned char *corelane_slot_of(const corelane_inline *self, corelane_client client, uint64_t *state) {
  const corelane_slots *slots = &self->layout.slots;
  uint32_t index = (uint32_t)client.value;
  unsigned char *slot;
  if (index >= slots->count) {
    return NULL;
  }
  slot = slots->base + (size_t)index * slots->stride;
  *state = __atomic_load_n(corelane_slot_u64(slot, slots->state), __ATOMIC_ACQUIRE);
  return *state >> 32 == client.value >> 32 ? slot : NULL;
}

static inline uint32_t corelane_state_phase(uint64_t state) {
  return (uint32_t)state & 0xffffu;
}

/* The present time as a stamp. */
static inline uint64_t corelane_stamp(const corelane_layout *layout) {
  struct timespec now;
#if defined(__x86_64__)
  if (layout->stamp_source == 1) {
    return __rdtsc();
  }
#elif defined(__aarch64__)
  if (layout->stamp_source == 1) {
    uint64_t count;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(count));
    return count;
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

/* Claims space for a client's message of `length` bytes. The caller writes the message to `*payload` (or reads it
 * there from a socket) and commits. Statuses as for corelane_submit; each refusal is counted by its reason. A claim
 * that is not committed is discarded and not counted, by the next claim for the same worker or by the next call that
 * pushes. */
static inline int32_t corelane_inline_claim(corelane_inline *self, corelane_client client, uint32_t length,
                                            uint64_t correlation, uint64_t stamp, unsigned char **payload) {
  const corelane_layout *layout = &self->layout;
  uint64_t state = 0, place, worker;
  unsigned char *slot = corelane_slot_of(self, client, &state), *record;
  const uint32_t no_type = UINT32_MAX, unused = 0;
  const uint64_t no_recipient = 0;
  int32_t status;
  if (slot == NULL) {
    return corelane_inline_refuse(self, CORELANE_REFUSED_STALE, CORELANE_STALE);
  }
  place = __atomic_load_n(corelane_slot_u64(slot, layout->slots.place), __ATOMIC_ACQUIRE);
  if (place >> 32 == client.value >> 32 && (place >> 16 & 0xffff) != layout->port) {
    return corelane_inline_refuse(self, CORELANE_REFUSED_WRONG_PORT, CORELANE_INVALID);
  }
  /* An open client of this port stays open: only this thread closes it. */
  if (place >> 32 != client.value >> 32 || corelane_state_phase(state) != CORELANE_PHASE_OPEN) {
    return corelane_inline_refuse(self, CORELANE_REFUSED_STALE, CORELANE_STALE);
  }
  if (length > layout->max_message) {
    return corelane_inline_refuse(self, CORELANE_REFUSED_TOO_LARGE, CORELANE_TOO_LARGE);
  }
  if (__atomic_load_n(layout->draining, __ATOMIC_RELAXED) != 0) {
    return corelane_inline_refuse(self, CORELANE_REFUSED_DRAINING, CORELANE_CLOSED);
  }
  worker = state >> 16 & 0xffff;
  self->claimed = &self->lanes[worker < self->workers ? worker : 0];
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

/* Submits the last claim as a message. It is counted before it becomes visible. CORELANE_CLOSED, counted as such: the
 * worker has ended since the claim. */
static inline int32_t corelane_inline_commit(corelane_inline *self) {
  uint64_t *submitted;
  if (self->claimed == NULL || self->claimed->to.claimed == 0) {
    return CORELANE_OK;
  }
  if (corelane_ring_closed(&self->claimed->to.ring)) { /* The ring may be settled: a record would be lost. */
    self->claimed->to.claimed = 0;
    return corelane_inline_refuse(self, CORELANE_REFUSED_CLOSED, CORELANE_CLOSED);
  }
  submitted = corelane_slot_u64(self->slot, self->layout.slots.submitted);
  corelane_count(self->layout.counts.submitted, 1);
  __atomic_store_n(submitted, __atomic_load_n(submitted, __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED);
  corelane_ring_commit(&self->claimed->to);
  self->claimed->dirty = true;
  return CORELANE_OK;
}

/* Makes all committed messages visible and wakes workers that sleep. Call it once per batch. */
static inline void corelane_inline_publish(corelane_inline *self) {
  uint32_t worker;
  for (worker = 0; worker < self->workers; worker++) {
    if (self->lanes[worker].dirty) {
      self->lanes[worker].dirty = false;
      (void)corelane_ring_publish(&self->lanes[worker].to);
    }
  }
}

/* Before a call that pushes: publishes, and loads the heads for corelane_producer_resume. If a refusal already waits
 * for space, the head that the refusal saw is kept. */
static inline void corelane_inline_suspend(corelane_inline *self) {
  uint32_t worker;
  corelane_inline_publish(self);
  for (worker = 0; worker < self->workers; worker++) {
    if (!self->lanes[worker].stalled) {
      (void)corelane_producer_look(&self->lanes[worker].to); /* If it is corrupt, the call that follows returns that. */
    }
  }
}

/* After a call that pushes: takes over the positions, and notes the rings in which the call found no space. */
static inline int32_t corelane_inline_resume(corelane_inline *self) {
  uint32_t worker;
  int32_t status = CORELANE_OK;
  for (worker = 0; worker < self->workers && status == CORELANE_OK; worker++) {
    corelane_lane *lane = &self->lanes[worker];
    status = corelane_producer_resume(&lane->to);
    lane->stalled = lane->stalled || lane->to.needs_space;
  }
  return status;
}

/* After a call that pushes disconnects: disconnects that wait for space may wait for any lane. */
static inline int32_t corelane_inline_pushed(corelane_inline *self, int32_t status) {
  uint32_t worker = 0;
  int32_t resumed = corelane_inline_resume(self);
  for (; status > 0 && worker < self->workers; worker++) {
    self->lanes[worker].stalled = true;
  }
  return resumed < 0 ? resumed : status;
}

/* Copies and commits one message, stamped with the present time. A message that does not fit a ring is submitted with
 * a call and is visible at once. */
static inline int32_t corelane_inline_submit(corelane_inline *self, corelane_client client, const void *message,
                                             uint32_t length, uint64_t correlation) {
  unsigned char *payload = NULL;
  int32_t status, resumed;
  if (CORELANE_INGRESS_BYTES + (uint64_t)length > self->lanes[0].to.ring.capacity / 4) {
    corelane_inline_suspend(self);
    status = corelane_submit(self->port, client, (const uint8_t *)message, length, correlation);
    resumed = corelane_inline_resume(self);
    return status < 0 ? status : resumed;
  }
  status = corelane_inline_claim(self, client, length, correlation, corelane_stamp(&self->layout), &payload);
  if (status == CORELANE_OK) {
    memcpy(payload, message, length);
    status = corelane_inline_commit(self);
  }
  return status;
}

/* As corelane_connect. */
static inline int32_t corelane_inline_connect(corelane_inline *self, const char *name, size_t name_length,
                                              const char *protocol, size_t protocol_length, const char *application,
                                              size_t application_length, uint64_t token, corelane_client *client,
                                              corelane_error *error) {
  int32_t status, resumed;
  corelane_inline_suspend(self);
  status = corelane_connect(self->port, name, name_length, protocol, protocol_length, application, application_length, token,
                            client, error);
  resumed = corelane_inline_resume(self);
  return status < 0 ? status : resumed;
}

/* As corelane_disconnect. A result above 0 is the number of disconnects that wait for space: call
 * corelane_inline_push_waiting after a wake. */
static inline int32_t corelane_inline_disconnect(corelane_inline *self, corelane_client client) {
  corelane_inline_suspend(self);
  return corelane_inline_pushed(self, corelane_disconnect(self->port, client));
}

/* Pushes the disconnects that wait for space; returns how many still wait. */
static inline int32_t corelane_inline_push_waiting(corelane_inline *self) {
  corelane_inline_suspend(self);
  return corelane_inline_pushed(self, corelane_publish(self->port));
}

/* Releases the ring space of the events that the last poll handed out. Their views become invalid. */
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

/* Raises a maximum in a cell that only this port writes. */
static inline void corelane_raise(uint64_t *cell, uint64_t value) {
  if (value > __atomic_load_n(cell, __ATOMIC_RELAXED)) {
    __atomic_store_n(cell, value, __ATOMIC_RELAXED);
  }
}

/* A delivery that counts against credit is handed out: it is outstanding until it is acknowledged. It becomes the
 * client's sampled delivery, whose write is timed, if the client has none. */
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

/* Gives back what one recipient's share of a delivery holds of its client: the credit of a message, or the slot that
 * a CLOSE on its way keeps in use. Nothing changes if another client uses the slot by now, and no field goes below
 * 0. */
static inline void corelane_inline_give_back(const corelane_inline *self, corelane_client client, uint32_t kind,
                                             uint32_t length) {
  const corelane_slots *slots = &self->layout.slots;
  const uint64_t one = UINT64_C(1) << CORELANE_CREDIT_MESSAGE_SHIFT;
  uint64_t *credit, word;
  if ((uint32_t)client.value >= slots->count) {
    return;
  }
  credit = corelane_slot_u64(slots->base + (size_t)(uint32_t)client.value * slots->stride, slots->credit);
  word = __atomic_load_n(credit, __ATOMIC_ACQUIRE);
  while (((word >> CORELANE_CREDIT_GENERATION_SHIFT ^ client.value >> 32) & 0x7fff) == 0) {
    uint64_t next = word, bytes = word & (one - 1);
    if (kind == CORELANE_EVENT_CLOSE) {
      next &= ~CORELANE_CREDIT_CLOSE_SENT;
    } else if (kind == CORELANE_EVENT_MESSAGE || kind == CORELANE_EVENT_EXPIRED) {
      next -= ((word >> CORELANE_CREDIT_MESSAGE_SHIFT & 0xffff) != 0 ? one : 0) + (length < bytes ? length : bytes);
    }
    if (next == word || __atomic_compare_exchange_n(credit, &word, next, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
      return;
    }
  }
}

/* The reason in a notice. Credit is the only one that has a number in C so far; 15 is its number in the record. */
static inline uint32_t corelane_inline_reason(const corelane_lane *lane) {
  const bool is_notice =
      lane->record.kind == CORELANE_EVENT_UNDELIVERED || lane->record.kind == CORELANE_EVENT_SEND_FAILED;
  return is_notice && lane->record.flags == 15 ? CORELANE_FAILED_CREDIT : 0;
}

/* Fills the event for one recipient of a lane's record. Returns false if the recipient does not get it. */
static inline bool corelane_inline_hand_out(corelane_inline *self, corelane_lane *lane, corelane_event *event) {
  const corelane_slots *slots = &self->layout.slots;
  const unsigned char *record = lane->record.bytes;
  const uint32_t length = lane->length;
  uint64_t state = 0;
  unsigned char *slot;
  uint32_t phase;
  memset(event, 0, sizeof *event);
  event->size = sizeof *event;
  event->kind = lane->record.kind;
  memcpy(&event->client.value, record + CORELANE_DELIVERY_BYTES + 8 * (size_t)lane->recipient++, 8);
  if (lane->lost) {
    corelane_inline_give_back(self, event->client, event->kind, length);
    corelane_count(self->layout.counts.undeliverable_payload_lost, 1);
    return false;
  }
  if (event->kind == CORELANE_EVENT_SEND_FAILED) {
    /* The port's event: the client may be gone, or another port's. */
    memcpy(&event->correlation, record + 24, 8);
    event->reason = corelane_inline_reason(lane);
    corelane_count(self->layout.counts.consumed, 1);
    return true;
  }
  slot = corelane_slot_of(self, event->client, &state);
  phase = slot == NULL ? 0 : corelane_state_phase(state);
  /* A client that the host has disconnected needs no CLOSE. */
  if (phase != CORELANE_PHASE_OPEN && (phase != CORELANE_PHASE_CLOSING || event->kind == CORELANE_EVENT_CLOSE)) {
    corelane_inline_give_back(self, event->client, event->kind, length);
    corelane_count(self->layout.counts.undeliverable_closed, 1);
    return false;
  }
  if (event->kind == CORELANE_EVENT_MESSAGE || event->kind == CORELANE_EVENT_EXPIRED) {
    corelane_inline_track(self, slot, length);
  } else if (event->kind == CORELANE_EVENT_CLOSE) {
    corelane_inline_give_back(self, event->client, event->kind, 0);
  }
  event->token = __atomic_load_n(corelane_slot_u64(slot, slots->token), __ATOMIC_RELAXED);
  memcpy(&event->sender.value, record + 8, 8);
  memcpy(&event->correlation, record + 24, 8);
  event->bytes = length == 0 ? NULL : lane->payload;
  event->length = length;
  event->reason = event->kind == CORELANE_EVENT_CLOSE     ? lane->record.flags + 1u
                  : event->kind == CORELANE_EVENT_MESSAGE ? 0
                                                          : corelane_inline_reason(lane);
  if (event->kind == CORELANE_EVENT_CLOSED) {
    (void)corelane_client_closed(self->port, event->client);
  }
  corelane_count(self->layout.counts.consumed, 1);
  return true;
}

/* Takes a lane's next record. Returns 1 if its recipients are to be handed out, 0 if there is no record, or
 * CORELANE_CORRUPT. */
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
  lane->lost = false;
  if (lane->record.kind == CORELANE_EVENT_MESSAGE && (lane->record.flags & CORELANE_DELIVERY_BESIDE) != 0) {
    size_t length = 0;
    uint64_t reference[2] = {0, 0};
    if (lane->length >= sizeof reference) {
      memcpy(reference, lane->payload, sizeof reference);
    }
    lane->lost = corelane_payload_take(self->port, reference[0], &lane->payload, &length) != CORELANE_OK;
    lane->length = (uint32_t)(lane->lost ? reference[1] : length);
    self->beside = self->beside || !lane->lost;
  }
  lane->recipient = 0;
  lane->recipients = recipients;
  return 1;
}

/* After a worker has ended: hands out the last events of clients that it will not close. Statuses as for
 * corelane_port_closings. Publishes first, because that call settles what the worker has left in its ring. */
static inline int32_t corelane_inline_closings(corelane_inline *self, corelane_event *events, uint32_t capacity) {
  corelane_inline_publish(self);
  if (capacity > 0) {
    events->size = sizeof *events;
  }
  return corelane_port_closings(self->port, events, capacity);
}

/* As corelane_poll, into events of this header's size. CORELANE_CORRUPT: a worker's ring cannot be trusted. */
static inline int32_t corelane_inline_poll(corelane_inline *self, corelane_event *events, uint32_t capacity) {
  uint32_t count = 0, offset;
  int32_t failed = CORELANE_OK;
  bool ended = false;
  if (self->armed) {
    self->armed = false;
    corelane_wake_disarm(corelane_port_wake_of(&self->layout));
    corelane_wake_drain(corelane_port_wake_of(&self->layout));
  }
  corelane_inline_release(self);
  corelane_count(self->layout.counts.polls, 1);
  self->first = (self->first + 1) % self->workers;
  for (offset = 0; offset < self->workers && failed == CORELANE_OK; offset++) {
    corelane_lane *lane = &self->lanes[(self->first + offset) % self->workers];
    int32_t status;
    /* Load `closed` before the tail: then the poll sees every record published before the ring was closed. */
    lane->closed = corelane_ring_closed(&lane->from.ring);
    status = corelane_ring_refresh(&lane->from);
    while (status >= 0 && count < capacity) {
      if (lane->recipient == lane->recipients) {
        status = corelane_inline_next(self, lane);
        if (status != 1) {
          break;
        }
      }
      count += corelane_inline_hand_out(self, lane, &events[count]);
    }
    failed = status < 0 ? status : CORELANE_OK;
    ended = ended || lane->closed;
    if (lane->recipient == lane->recipients) {
      corelane_ring_tell(&lane->from, lane->from.head, 0);
    } else {
      const uint64_t length = lane->record.length + CORELANE_RING_ALIGNMENT - 1;
      corelane_ring_tell(&lane->from, lane->from.head - (length & ~(CORELANE_RING_ALIGNMENT - 1)), lane->recipient);
    }
  }
  if (ended && count < capacity && failed == CORELANE_OK) {
    int32_t closings = corelane_inline_closings(self, events + count, capacity - count);
    count += closings > 0 ? (uint32_t)closings : 0;
    self->over = count == 0 && closings == CORELANE_CLOSED;
    failed = self->over ? CORELANE_CLOSED : CORELANE_OK;
  }
  return count > 0 ? (int32_t)count : failed;
}

/* Prepares a wait for the descriptor. Returns 0, or CORELANE_AGAIN if there is something to poll. After CORELANE_FULL
 * or with disconnects that wait for space, it asks for space as well. The end of a worker counts as something to poll
 * until a poll has seen it. */
static inline int32_t corelane_inline_arm(corelane_inline *self) {
  uint32_t worker;
  bool news = false, ended = false;
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
    news = news || corelane_ring_has_more(&lane->from) || lane->recipient != lane->recipients ||
           (!lane->closed && corelane_ring_closed(&lane->from.ring));
    ended = ended || lane->closed;
  }
  if (ended && !news) {
    int32_t closings = corelane_inline_closings(self, NULL, 0);
    news = closings == CORELANE_AGAIN || (closings == CORELANE_CLOSED && !self->over);
  }
  return news ? CORELANE_AGAIN : CORELANE_OK;
}

#endif
