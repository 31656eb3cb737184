/* Lanes, for Go. Written by `CORELANE_WRITE_DOCS=1 cargo test --test header` from src/ffi/lane.rs.
 * Conventions: corelane.h. Memory: docs/layout.md. */

#ifndef CORELANE_LANE_H
#define CORELANE_LANE_H

#include <stddef.h>
#include <stdint.h>
#include "corelane.h"

// A lane. Valid until `corelane_lane_release`. The value 0 is never a valid handle. Copy it freely.
typedef struct corelane_lane {
  // The library's own number.
  uint64_t value;
} corelane_lane;

// One ring. Offsets are from `base`; docs/layout.md describes the memory.
typedef struct corelane_lane_ring {
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
  // uint32_t, written only by the producer: 1 while the producer waits for space.
  uint32_t need_space;
  // uint32_t: 1 once the ring is closed.
  uint32_t closed;
  // uint32_t: 1 once the ring was found corrupt.
  uint32_t corrupt;
  // Always 0.
  uint32_t reserved;
} corelane_lane_ring;

// The memory that a lane and one worker share, and the limits that the host keeps.
typedef struct corelane_lane_layout {
  // `sizeof(corelane_lane_layout)`, set by the caller.
  uint32_t size;
  // The version of docs/layout.md that the memory follows.
  uint32_t layout_version;
  // Feature bits. A reader must refuse a layout with bits that it does not know.
  uint64_t features;
  // The unit of stamps: 0 nanoseconds of CLOCK_MONOTONIC, 1 the cycle counter (x86-64: the TSC; aarch64:
  // CNTVCT_EL0).
  uint64_t stamp_source;
  // Lane to worker: the host is the producer.
  struct corelane_lane_ring ingress;
  // Worker to lane: the host is the consumer.
  struct corelane_lane_ring egress;
  // The worker's wake word: 0 awake, 1 asleep on `worker_fd`, or in FUTEX_WAIT_PRIVATE on this word if that is -1.
  uint32_t *worker_wake;
  // The lane's wake word, the same in the layouts of all workers: 0 awake, 1 asleep on `lane_fd`.
  uint32_t *lane_wake;
  // The lane's eventfd.
  int32_t lane_fd;
  // Number of the lane's layouts: of workers with threads of their own, or of local workers if the router has no others.
  uint32_t workers;
  // Maximum size of a message in bytes; the worker refuses larger messages.
  uint32_t max_message;
  // Number of client slots: an index is below it.
  uint32_t max_clients;
  // The most records that may wait in an ingress ring; 0: no limit besides its bytes.
  uint64_t queue_messages;
  // What a client may have outstanding.
  uint64_t credit_messages;
  // As `credit_messages`, in bytes.
  uint64_t credit_bytes;
  // The worker's eventfd; -1 for a worker with a thread of its own.
  int32_t worker_fd;
  // 1 if the worker is local: `corelane_lane_cycle` can run its cycles.
  uint32_t local;
} corelane_lane_layout;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Opens a lane: two rings to each worker with a thread of its own; or, if the router has only local workers, to each of them.
//
// Any thread. The call may block for up to 100 ms if a port or lane was released just before. CORELANE_LIMIT (`max_ports`;
// 1024 lanes in a process), CORELANE_STATE (the router has stopped; `enable_concurrent_routing` is
// off), CORELANE_SYSTEM, CORELANE_STALE, CORELANE_NULL.
int32_t corelane_lane_open(corelane_router router,
                           struct corelane_lane *out_lane);

// Describes the memory that a lane shares with worker number `worker` (from 0). Valid until `corelane_lane_release`.
//
// Any thread. CORELANE_INVALID (no such worker; `size`), CORELANE_NULL, CORELANE_STALE.
int32_t corelane_lane_describe(struct corelane_lane lane,
                               uint32_t worker,
                               struct corelane_lane_layout *out_layout);

// Runs one cycle of a local worker on this thread: it takes what the lane has published, and what comes of it is in the lane's
// ring when the call returns. Publish before without a wake, and poll afterwards: the cycle does not wake the lane for what it
// emits. Returns how much work was done.
//
// Any thread. Does not block. CORELANE_BUSY: another thread runs a cycle, or a port has the worker, or it has ended, or it has
// a thread of its own; wake it as after every publication. CORELANE_STALE.
int32_t corelane_lane_cycle(struct corelane_lane lane,
                            uint32_t worker);

// The first step of a connect: takes a slot on a worker. Nobody can find the client yet. Fill your own table, then call
// `corelane_lane_enter` or `corelane_lane_cancel`. `policy` is -1 for the configured one, or a CORELANE_CREDIT_ value.
//
// Any thread. Does not block. CORELANE_EXISTS (the name is taken), CORELANE_INVALID (length of the name; not UTF-8; policy),
// CORELANE_NOT_FOUND (no such protocol), CORELANE_LIMIT (`max_clients`), CORELANE_CLOSED, CORELANE_NULL, CORELANE_STALE.
int32_t corelane_lane_reserve(struct corelane_lane lane,
                              const char *name,
                              size_t name_length,
                              const char *protocol,
                              size_t protocol_length,
                              const char *application,
                              size_t application_length,
                              int32_t policy,
                              corelane_client *out_client,
                              uint32_t *out_worker,
                              corelane_error *error);

// The second step: inserts the name and tells the workers, which then deliver what they hold for it. If the call fails, the
// reservation is given back.
//
// Any thread. Does not block. CORELANE_EXISTS (the name is taken meanwhile), CORELANE_CLOSED (the client's worker has left),
// CORELANE_STALE (lane; or the client is not reserved).
int32_t corelane_lane_enter(struct corelane_lane lane,
                            corelane_client client,
                            corelane_error *error);

// Instead of `corelane_lane_enter`: gives the reservation back.
//
// Any thread. Does not block. CORELANE_STALE (lane; or the client is not reserved).
int32_t corelane_lane_cancel(struct corelane_lane lane, corelane_client client);

// Starts a disconnect: the client loses its name and its rooms, and gets no more deliveries. After this call push the record
// DISCONNECT behind the client's messages; CLIENT_CLOSED answers it.
//
// Any thread. Does not block. CORELANE_STALE (lane; or the client is not connected, or closing already), CORELANE_INVALID
// (another port's or lane's client).
int32_t corelane_lane_disconnect(struct corelane_lane lane,
                                 corelane_client client);

// Ends a client whose worker has left: its egress ring is closed, and all its records are taken. No CLIENT_CLOSED comes.
//
// Any thread. Does not block. CORELANE_STATE (the client's worker has not left, or the client is only reserved),
// CORELANE_STALE (lane; or the client is closed).
int32_t corelane_lane_closed(struct corelane_lane lane,
                             corelane_client client);

// Frees a client's name for other clients. The client stays connected.
//
// Any thread. Does not block. Errors as for `corelane_lane_disconnect`.
int32_t corelane_lane_release_name(struct corelane_lane lane, corelane_client client);

// As `corelane_port_join`.
//
// Any thread. Waits at most for another thread's join or leave. CORELANE_LIMIT (`max_rooms`, `max_room_members`,
// `max_client_rooms`; or member lists are in use: retry), CORELANE_INVALID (length of the name; not UTF-8; another port's
// client), CORELANE_STALE (lane, client), CORELANE_NULL.
int32_t corelane_lane_join(struct corelane_lane lane,
                           corelane_client client,
                           const char *room,
                           size_t length,
                           corelane_room *out_room,
                           corelane_error *error);

// As `corelane_port_leave`.
//
// Any thread. Waits at most for another thread's join or leave. CORELANE_NOT_FOUND (not a member), CORELANE_STALE (lane,
// client, room), CORELANE_INVALID (another port's client), CORELANE_LIMIT (member lists are in use: retry).
int32_t corelane_lane_leave(struct corelane_lane lane,
                            corelane_client client,
                            corelane_room room);

// The worker to whose ring a SEND to a client of any port or lane goes. It stays the same while the client is connected.
//
// Any thread. Does not block. CORELANE_STALE (lane; or the client is not connected), CORELANE_NULL.
int32_t corelane_lane_worker_of(struct corelane_lane lane,
                                corelane_client client,
                                uint32_t *out_worker);

// The worker to whose ring a SEND_TO_ROOM goes. It stays the same.
//
// Any thread. Does not block. CORELANE_STALE (lane), CORELANE_NULL.
int32_t corelane_lane_worker_of_room(struct corelane_lane lane, corelane_room room, uint32_t *out_worker);

// Looks a message type up, for SEND, SEND_TO_ROOM and ADDRESSED: a record has its value minus 1 as its type label. A type
// that the protocol does not list is the protocol's type `send`.
//
// Any thread. Does not block. CORELANE_NOT_FOUND (no such protocol), CORELANE_INVALID (not UTF-8), CORELANE_STALE,
// CORELANE_NULL.
int32_t corelane_lane_message_type(struct corelane_lane lane,
                                   const char *protocol,
                                   size_t protocol_length,
                                   const char *name,
                                   size_t name_length,
                                   corelane_message_type *out_type);

// Says whether messages of a type become tasks of the host: 1 if the type's action is `host`, in the named protocol, or with an
// empty `protocol` in any; 0 if the type is listed with other actions only.
//
// Any thread. Does not block. CORELANE_NOT_FOUND (no such protocol, or none that lists the type; the error names the nearest),
// CORELANE_INVALID (not UTF-8), CORELANE_STALE.
int32_t corelane_router_is_task(corelane_router router,
                                const char *protocol,
                                size_t protocol_length,
                                const char *name,
                                size_t name_length,
                                corelane_error *error);

// Puts a payload that is too large for a record into the table, on its way to a worker. Then push its number and its length,
// with the flag OWNED. The bytes are copied. If the record is not pushed, take the payload back with `corelane_lane_take`.
//
// Any thread. Does not block. CORELANE_TOO_LARGE, CORELANE_PAYLOADS, CORELANE_CLOSED (the worker takes nothing more),
// CORELANE_STALE, CORELANE_NULL.
int32_t corelane_lane_put(struct corelane_lane lane,
                          uint32_t worker,
                          const uint8_t *data,
                          size_t length,
                          uint64_t *out_number);

// Takes the out-of-line payload of a delivery (kind 1, flag 1) from a worker, once, and copies it to `buffer`; the record has
// its number and its length. Also takes back what `corelane_lane_put` has put there. With a `capacity` of 0 the payload is
// thrown away, and `out_length` gets its length.
//
// Any thread. Does not block. CORELANE_NOT_FOUND (taken already; or the number is not of this lane and worker),
// CORELANE_INVALID (`capacity` is too small: the payload is gone), CORELANE_STALE, CORELANE_NULL.
int32_t corelane_lane_take(struct corelane_lane lane,
                           uint32_t worker,
                           uint64_t number,
                           uint8_t *buffer,
                           size_t capacity,
                           size_t *out_length);

// Counts messages that the host has refused itself, before they were in a ring: each counts as submitted and as refused for
// this reason. `reason` is CORELANE_REASON_RING_FULL, CORELANE_REASON_CLOSED, CORELANE_REASON_CORRUPT,
// CORELANE_REASON_STALE_CLIENT, CORELANE_REASON_TOO_LARGE or CORELANE_REASON_PAYLOADS_FULL.
//
// Any thread. Does not block. CORELANE_INVALID (another reason), CORELANE_STALE.
int32_t corelane_lane_refused(struct corelane_lane lane,
                              uint32_t reason,
                              uint64_t count);

// Releases a lane. The host has published, and neither pushes nor polls any more. What it has published is still handled;
// its clients are disconnected, and deliveries that it has not read become undeliverable. If another thread is inside a call
// with the lane, that thread does the rest when its call ends. The memory of `corelane_lane_describe` is gone afterwards.
//
// Any thread. Does not block. CORELANE_STALE the second time.
int32_t corelane_lane_release(struct corelane_lane lane);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* CORELANE_LANE_H */
