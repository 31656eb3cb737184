/* The memory of a port, for Go. Written by `CORELANE_WRITE_DOCS=1 cargo test --test header` from src/ffi/layout.rs.
 * Conventions: corelane.h. Memory: docs/layout.md. */

#ifndef CORELANE_MEMORY_H
#define CORELANE_MEMORY_H

#include <stddef.h>
#include <stdint.h>
#include "corelane.h"

// Index of `corelane_counts.refused`: the ring is full.
#define CORELANE_REFUSED_FULL 0

// The router is stopping or has stopped.
#define CORELANE_REFUSED_CLOSED 1

// The router is draining.
#define CORELANE_REFUSED_DRAINING 2

// The client is not connected.
#define CORELANE_REFUSED_STALE 3

// The client belongs to another port.
#define CORELANE_REFUSED_WRONG_PORT 4

// The message is larger than `max_message`, or does not fit a ring.
#define CORELANE_REFUSED_TOO_LARGE 5

// The ring contains values that neither end can have written.
#define CORELANE_REFUSED_CORRUPT 6

// One ring. Offsets are from `base`; docs/layout.md describes the memory.
typedef struct corelane_ring {
  // The first byte of the header.
  uint8_t *base;
  // Size of the data in bytes, a power of two.
  uint64_t capacity;
  // Offset of the first record; a multiple of 64.
  uint32_t data;
  // uint64_t, written by the producer: the position after the last published record.
  uint32_t tail;
  // uint64_t, written by the producer: records pushed.
  uint32_t pushed;
  // uint64_t, written by the producer: claims refused because the ring was full.
  uint32_t refused_full;
  // uint64_t, written by the consumer: the position after the last released record.
  uint32_t head;
  // uint64_t, written by the consumer: records taken.
  uint32_t popped;
  // uint64_t, egress ring of an inline port, written by the host: the position after the last record that was
  // handed out to all of its recipients.
  uint32_t taken;
  // uint64_t, written by the same host: how many recipients of the record at `taken` have it already.
  uint32_t handed;
  // uint32_t, written only by the producer: 1 while the producer waits for space.
  uint32_t need_space;
  // uint32_t: 1 once the ring is closed.
  uint32_t closed;
  // uint32_t: 1 once the ring was found corrupt.
  uint32_t corrupt;
  // Always 0.
  uint32_t reserved;
} corelane_ring;

// A port's counters: uint64_t cells. On an inline port only the host writes them.
typedef struct corelane_counts {
  // Messages given to the port, including refused ones; counted before they are published.
  uint64_t *submitted;
  // Refused messages, one cell for each CORELANE_REFUSED_ value.
  uint64_t *refused;
  // Number of cells in `refused`.
  uint32_t refused_count;
  // Always 0.
  uint32_t reserved;
  // Deliveries handed out, one per recipient.
  uint64_t *consumed;
  // Undeliverable: deliveries taken for a client that was closed, one per recipient.
  uint64_t *undeliverable_closed;
  // Undeliverable: deliveries taken whose out-of-line payload was missing, one per recipient.
  uint64_t *undeliverable_payload_lost;
  // Polls.
  uint64_t *polls;
  // The maximum number of messages that one client had outstanding: handed out and not acknowledged.
  uint64_t *outstanding_messages_maximum;
  // The maximum number of bytes that one client had outstanding.
  uint64_t *outstanding_bytes_maximum;
} corelane_counts;

// The client table. A slot is at `base` + index × `stride`; offsets are from there. Each field says what the host of
// an inline port may write. Of another port's slot the host reads only `place`, `state` and `credit`, and writes
// nothing.
typedef struct corelane_slots {
  // The first slot.
  uint8_t *base;
  // Number of slots.
  uint32_t count;
  // Distance between two slots in bytes.
  uint32_t stride;
  // uint64_t, read with acquire: generation << 32 | port << 16 | the worker that the client connected to.
  uint32_t place;
  // uint64_t, read with acquire: generation << 32 | worker << 16 | phase. Phases: 0 free, 1 open, 2 closing
  // (disconnect was called), 3 closed. One load yields the generation, the phase, and the worker that handles the
  // client's messages.
  uint32_t state;
  // uint64_t: the token of `corelane_port_connect`.
  uint32_t token;
  // uint64_t, written by the host: incremented for each message, before the message is published.
  uint32_t submitted;
  // uint64_t, written by the host: handed out and not acknowledged, messages << 32 | bytes.
  uint32_t handed;
  // uint64_t, written by the host: messages to acknowledge up to the sampled one << 48 | maximum of messages << 32
  // | maximum of bytes handed out and not acknowledged.
  uint32_t track;
  // uint64_t, written by the host: the stamp of the sampled delivery.
  uint32_t sampled_at;
  // uint64_t, changed by compare-exchange with acquire and release: closing << 63 | a CLOSE is on its way << 62 |
  // the low 15 bits of the generation << 47 | messages << 31 | bytes. If a delivery reaches no client, the host
  // subtracts its message and its bytes, but no field goes below 0. For a CLOSE the host clears bit 62. If the
  // generation differs, it changes nothing.
  uint32_t credit;
} corelane_slots;

// The memory that a port and one worker share.
typedef struct corelane_layout {
  // `sizeof(corelane_layout)`, set by the caller.
  uint32_t size;
  // The version of docs/layout.md that the memory follows.
  uint32_t layout_version;
  // Feature bits. A reader must refuse a layout with bits that it does not know.
  uint64_t features;
  // The unit of stamps: 0 nanoseconds of CLOCK_MONOTONIC, 1 the cycle counter (x86-64: the TSC; aarch64:
  // CNTVCT_EL0).
  uint64_t stamp_source;
  // The ingress ring: the port is the producer.
  struct corelane_ring ingress;
  // The egress ring: the port is the consumer.
  struct corelane_ring egress;
  // The worker's wake word: 0 awake, 1 asleep in FUTEX_WAIT (private) on this word.
  uint32_t *worker_wake;
  // The port's wake word: 0 awake, 1 asleep on `port_fd`.
  uint32_t *port_wake;
  // The port's eventfd.
  int32_t port_fd;
  // Number of workers of the router. The port has one layout per worker.
  uint32_t workers;
  // The port's number, as in `place`.
  uint32_t port;
  // Maximum size of a message in bytes; larger messages are refused.
  uint32_t max_message;
  // uint8_t: 1 once the router drains; messages are refused from then on.
  const uint8_t *draining;
  // The port's counters; the same in its layout of every worker.
  struct corelane_counts counts;
  // The client table; the same in every layout of the router.
  struct corelane_slots slots;
} corelane_layout;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Describes the memory that a port shares with worker number `worker` (from 0). The layout is valid until
// `corelane_port_release`. Any host may read the memory. A host that has called `corelane_port_inline` may write it
// by the rules of docs/layout.md.
//
// The port's thread. CORELANE_INVALID (no such worker), CORELANE_INVALID (`size`), CORELANE_NULL, CORELANE_STALE,
// CORELANE_BUSY.
int32_t corelane_port_layout(corelane_port port,
                             uint32_t worker,
                             struct corelane_layout *out_layout);

// Makes a port inline, for good: from now on its host pushes and polls without a call, by the layouts of
// `corelane_port_layout`. Connect, disconnect, release a name, acknowledge and `corelane_port_publish` still work;
// `corelane_port_publish` pushes disconnects that wait for space. Before each of these calls and before
// `corelane_port_release`, the host publishes what it has committed. After each of them it reloads the tails from
// the headers. Poll, release, arm and wait return CORELANE_STATE. Submit still works, for messages that do not fit a
// ring.
//
// The port's thread. CORELANE_STATE (`max_in_flight`, `client_rate` or `max_concurrent_messages` is set, since an
// inline port enforces no limits; `balance` is round_robin; `enable_concurrent_routing` is off; a delivery was
// handed out to only some of its recipients), CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_port_inline(corelane_port port);

// Tells the router that the host of an inline port has taken a client's last record (kind 5) from a ring. Nothing is
// handed out for this client any more, and its slot may be reused.
//
// The port's thread. CORELANE_STALE (port; or the client is not closing), CORELANE_INVALID (another port's client),
// CORELANE_STATE (the port is not inline), CORELANE_BUSY.
int32_t corelane_client_closed(corelane_port port,
                               corelane_client client);

// Hands out the events of an inline port that come through no ring: CORELANE_EVENT_CLOSED for disconnected clients
// whose worker has ended, and CORELANE_EVENT_CLOSE that a worker could not put into its ring. A host calls it when
// it finds a ring closed, after it has taken all records of that ring, has published, and has written `taken` and
// `handed`. Fills up to `capacity` events and returns how many; the first event's `size` is the distance between two
// events in bytes. Pushes nothing.
//
// The port's thread. CORELANE_AGAIN (there are such events, but `capacity` is 0 or records precede them),
// CORELANE_CLOSED (the router has stopped and everything was handed out), CORELANE_STATE (the port is not inline),
// CORELANE_NULL, CORELANE_INVALID (`size`), CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_port_closings(corelane_port port,
                               corelane_event *events,
                               size_t capacity);

// Takes the out-of-line payload of an inline port's delivery (kind 1, flag 1). The record has the payload's number and
// length. The view is valid until `corelane_payload_release`.
//
// The port's thread. CORELANE_NOT_FOUND (the payload was taken already, or no payload had this number),
// CORELANE_STATE (the port is not inline), CORELANE_NULL, CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_payload_take(corelane_port port,
                              uint64_t number,
                              const uint8_t **out_bytes,
                              size_t *out_length);

// Releases every payload that `corelane_payload_take` has taken for this port.
//
// The port's thread. CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_payload_release(corelane_port port);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* CORELANE_MEMORY_H */
