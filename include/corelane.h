/* corelane: the library's functions. Written by `CORELANE_WRITE_DOCS=1 cargo test --test header` from src/ffi.
 * Conventions: src/ffi.rs. Without calls: corelane_ring.h, corelane_inline.h. Memory: docs/layout.md. */

#ifndef CORELANE_H
#define CORELANE_H

#include <stddef.h>
#include <stdint.h>

// Success.
#define CORELANE_OK 0

// Nothing to read, or, in a call that precedes a wait, something to read already. Not an error.
#define CORELANE_AGAIN -1

// The ring is full. Poll, then retry the message or drop it. Not an error.
#define CORELANE_FULL -2

// A required pointer is NULL or not aligned.
#define CORELANE_NULL -10

// An argument is not valid: not UTF-8, a wrong struct size, a client of another port.
#define CORELANE_INVALID -11

// The message is larger than `max_message`, or does not fit a ring.
#define CORELANE_TOO_LARGE -12

// Nothing has this name or number.
#define CORELANE_NOT_FOUND -13

// The handle was released or was never valid, or the client is not connected.
#define CORELANE_STALE -14

// Another client is connected under this name.
#define CORELANE_EXISTS -15

// A limit of the configuration or of this process is reached.
#define CORELANE_LIMIT -16

// Not possible in the present state of the router or port.
#define CORELANE_STATE -17

// Another thread is inside a call with this handle.
#define CORELANE_BUSY -18

// The time-out expired first.
#define CORELANE_TIMEOUT -19

// The router is draining or has stopped.
#define CORELANE_CLOSED -20

// Reserved: called from a thread that must not make this call.
#define CORELANE_THREAD -21

// Called in a child of fork whose parent has started a router. The child has none of the router's threads. Use exec.
#define CORELANE_FORKED -22

// The header and the library have different versions.
#define CORELANE_ABI -23

// No configuration key has this name.
#define CORELANE_CONFIG_KEY -24

// A configuration value is not allowed, or conflicts with other values.
#define CORELANE_CONFIG_VALUE -25

// Reserved: out of memory.
#define CORELANE_NOMEM -26

// The operating system refused a call; `os_errno` has its error number.
#define CORELANE_SYS -27

// Reserved: not available on this platform.
#define CORELANE_UNSUPPORTED -28

// A ring contains values that neither end can have written. It cannot be used any more.
#define CORELANE_CORRUPT -29

// A defect in the library: please report it. The handle can be released.
#define CORELANE_PANIC -30

// Size of an error's text in bytes, including the closing NUL.
#define CORELANE_MESSAGE_BYTES 240

// Write `bytes` to the client, then acknowledge them. `sender` and `correlation` are those of the submitted message.
#define CORELANE_EVENT_MESSAGE 1

// A held message of this client expired: no client connected under the name in `bytes`. Sent once per name, with the
// `correlation` of the first such message. Acknowledge the event like a message of `length` bytes.
#define CORELANE_EVENT_EXPIRED 2

// The client has sent a message that gives up its name. Call `corelane_release_name` if others may use the name. The
// client stays connected.
#define CORELANE_EVENT_LEFT 3

// Close this client's connection, then call `corelane_disconnect`. `reason` is a CORELANE_CLOSE_ value.
#define CORELANE_EVENT_CLOSE 4

// The last event for this client. Memory that its token refers to may be freed.
#define CORELANE_EVENT_CLOSED 5

// A message of this client has not been delivered: the recipient has no credit left (`credit_policy` refuse), or the
// message had ingress flag 2 set and failed or expired. `sender` is the recipient at which it failed, or 0,
// `correlation` is the message's, `reason` is a CORELANE_FAILED_ value, or 0 for a reason without one. Do not
// acknowledge this event.
#define CORELANE_EVENT_UNDELIVERED 6

// A message that the host itself has sent to `client` has not been delivered. `correlation` is the message's, `reason`
// is a CORELANE_FAILED_ value, or 0 for a reason without one. There is no token. Do not acknowledge this event.
#define CORELANE_EVENT_SEND_FAILED 7

// The client has used up its credit: it has not acknowledged its deliveries.
#define CORELANE_CLOSE_CREDIT 1

// A ring of the client's port is corrupt.
#define CORELANE_CLOSE_CORRUPT 2

// The recipient has used up its credit: it has not acknowledged its deliveries.
#define CORELANE_FAILED_CREDIT 1

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

// A router. The value 0 is never a valid handle. Copy it freely; it is valid until `corelane_router_release`.
typedef struct corelane_router {
  // Index in the lower half, generation in the upper.
  uint64_t value;
} corelane_router;

// The description of a failure, for people. Written only by calls that fail.
typedef struct corelane_error {
  // `sizeof(corelane_error)`, set by the caller. If it is smaller, nothing is written.
  uint32_t size;
  // The status that the call returned.
  int32_t code;
  // The operating system's error number, or 0.
  int32_t os_errno;
  // What is wrong and what to change, in UTF-8 with a closing NUL.
  char message[CORELANE_MESSAGE_BYTES];
} corelane_error;

// A port. The value 0 is never a valid handle. Copy it freely; it is valid until `corelane_port_release`.
typedef struct corelane_port {
  // Index in the lower half, generation in the upper.
  uint64_t value;
} corelane_port;

// A client. The value 0 is never a valid handle. Valid from `corelane_connect` until its CORELANE_EVENT_CLOSED.
typedef struct corelane_client {
  // Index in the lower half, generation in the upper.
  uint64_t value;
} corelane_client;

// One event that a poll hands out.
typedef struct corelane_event {
  // `sizeof(corelane_event)`. The caller sets it in the first event; a poll sets it in the others.
  uint32_t size;
  // A CORELANE_EVENT_ value. Ignore events of a kind that you do not know.
  uint32_t kind;
  // The client that the event is for.
  struct corelane_client client;
  // That client's token, as passed to `corelane_connect` or `corelane_rebind`.
  uint64_t token;
  // The message's sender, or 0. In CORELANE_EVENT_UNDELIVERED the recipient.
  struct corelane_client sender;
  // The host's value from the submitted message, or 0.
  uint64_t correlation;
  // A view, valid until the next `corelane_poll`, `corelane_release` or `corelane_port_release`. NULL if `length`
  // is 0.
  const uint8_t *bytes;
  // Length of the view in bytes.
  size_t length;
  // The reason in CORELANE_EVENT_CLOSE, CORELANE_EVENT_UNDELIVERED and CORELANE_EVENT_SEND_FAILED, otherwise 0. Treat an unknown value as an
  // unspecified reason.
  uint32_t reason;
  // Always 0.
  uint32_t reserved;
} corelane_event;

// The part of a client's deliveries that the host has written.
typedef struct corelane_written {
  // The client.
  struct corelane_client client;
  // Number of messages.
  uint32_t messages;
  // Number of bytes.
  uint32_t bytes;
} corelane_written;

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
  // uint64_t: the token of `corelane_connect`.
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

// The library's version: major << 24 | minor << 16 | patch << 8. Any thread.
uint32_t corelane_version(void);

// The text of a status: static, never NULL. Any thread.
const char *corelane_status_text(int32_t status);

// Starts a router with its worker threads. `config` is a text of `config_length` bytes with one `key=value` per
// line. A `#` begins a comment. A key that is not set has its default (docs/configuration.md); no key may be set
// twice. NULL with length 0 is an empty text. The workers block all signals.
//
// Any thread. CORELANE_CONFIG_KEY (the error names the line and the nearest keys), CORELANE_CONFIG_VALUE (line, key,
// value and range), CORELANE_INVALID, CORELANE_LIMIT (64 routers), CORELANE_SYS.
int32_t corelane_start(const char *config,
                       size_t config_length,
                       struct corelane_router *out_router,
                       struct corelane_error *error);

// Writes the router's figures in the Prometheus text format 0.0.4. Returns their length in bytes without the closing
// NUL. The text and the NUL are written only if `capacity` is larger than that length; otherwise nothing is written:
// call again with more room. `buffer` may be NULL if `capacity` is 0.
//
// Any thread. CORELANE_NULL, CORELANE_STALE, CORELANE_BUSY (being released).
int64_t corelane_prometheus(struct corelane_router router,
                            char *buffer,
                            size_t capacity);

// Stops the workers and waits for them for at most `timeout_ns`. Messages published before the call are handled.
// Messages published later are refused. Held messages fail. Ports can still be polled; when everything was handed
// out, polls return CORELANE_CLOSED. A second call waits again.
//
// Any thread; waits. CORELANE_TIMEOUT (the workers go on stopping), CORELANE_THREAD (this thread drives a local worker, for
// which the call would wait), CORELANE_STALE, CORELANE_BUSY (being released).
int32_t corelane_stop(struct corelane_router router,
                      uint64_t timeout_ns);

// Asks the workers to stop and returns at once. For hosts whose event loops drive local workers: each loop continues
// until its poll returns CORELANE_CLOSED. `corelane_stop` also waits, on another thread.
//
// Any thread. CORELANE_STALE, CORELANE_BUSY (being released).
int32_t corelane_request_stop(struct corelane_router router);

// Releases a router. A running router is stopped first, and the call waits for its workers. The router's ports stay
// valid and return CORELANE_CLOSED; release them as well.
//
// Any thread; waits. CORELANE_BUSY while another thread is inside a call with the router, CORELANE_STALE the second
// time.
int32_t corelane_router_release(struct corelane_router router);

// Opens a port. Each host thread has its own port, and its submits and polls never wait for other threads.
//
// Any thread. CORELANE_LIMIT (`max_ports`; 4096 in a process), CORELANE_STATE (the router has stopped), CORELANE_SYS,
// CORELANE_STALE. The call may wait briefly if a port was released just before.
int32_t corelane_port_open(struct corelane_router router,
                           struct corelane_port *out_port,
                           struct corelane_error *error);

// Releases a port. Its clients are disconnected, deliveries that were not polled become undeliverable, and its views
// and layouts become invalid.
//
// Any thread. CORELANE_BUSY while another thread is inside a call with the port, including waits; CORELANE_STALE the
// second time.
int32_t corelane_port_release(struct corelane_port port);

// Connects a client under a name on this port. `name`, `protocol` (such as `peerjs` or `generic`) and `application`
// (may be empty) are UTF-8. Every event for the client carries `token`. Messages held for the name are delivered to
// the client.
//
// The port's thread. CORELANE_EXISTS (the name is taken), CORELANE_INVALID (length of the name; not UTF-8),
// CORELANE_NOT_FOUND (no such protocol), CORELANE_LIMIT (`max_clients`), CORELANE_CLOSED, CORELANE_NULL,
// CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_connect(struct corelane_port port,
                         const char *name,
                         size_t name_length,
                         const char *protocol,
                         size_t protocol_length,
                         const char *application,
                         size_t application_length,
                         uint64_t token,
                         struct corelane_client *out_client,
                         struct corelane_error *error);

// Submits a message of a client. Its worker sees the message after `corelane_publish`; on an inline port it sees the
// message at once. The bytes are copied. Events that the message causes carry `correlation`.
//
// The port's thread. CORELANE_FULL (poll, then retry the message or drop it), CORELANE_TOO_LARGE, CORELANE_STALE
// (port or client), CORELANE_INVALID (another port's client), CORELANE_CLOSED, CORELANE_CORRUPT, CORELANE_NULL,
// CORELANE_BUSY. A refused message is counted by its reason.
int32_t corelane_submit(struct corelane_port port,
                        struct corelane_client client,
                        const uint8_t *message,
                        size_t length,
                        uint64_t correlation);

// Publishes submitted messages to the workers and wakes workers that sleep. Call it once per batch. On an inline
// port it pushes disconnects that wait for space, and returns how many still wait.
//
// The port's thread. CORELANE_STALE, CORELANE_BUSY, CORELANE_CORRUPT (inline).
int32_t corelane_publish(struct corelane_port port);

// Hands out up to `capacity` events and returns how many; 0 if there are none. The first event's `size` is the
// distance between two events in bytes. The events' views are valid until the next poll or `corelane_release`.
//
// The port's thread. CORELANE_CLOSED once the router has stopped and everything was handed out; CORELANE_NULL,
// CORELANE_INVALID (`size`, or `capacity` is 0), CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_poll(struct corelane_port port,
                      struct corelane_event *events,
                      size_t capacity);

// Releases the ring space of the events that the last poll handed out, so that workers that wait for space continue.
// The views of these events become invalid. The next poll does the same.
//
// The port's thread. CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_release(struct corelane_port port);

// Acknowledges that the host has written or dropped this many messages and bytes of the client's deliveries. The
// client gets that credit back, but never more than was handed out. A client that is gone is ignored.
//
// The port's thread. CORELANE_STALE (port), CORELANE_BUSY.
int32_t corelane_acknowledge(struct corelane_port port,
                             struct corelane_client client,
                             uint32_t messages,
                             uint32_t byte_count);

// Starts to disconnect a client. Its name is free at once. Messages that it has submitted are still handled;
// CORELANE_EVENT_CLOSED follows them. On an inline port the call returns how many disconnects wait for space in a
// ring; `corelane_publish` pushes them when there is space.
//
// The port's thread. CORELANE_STALE (port; or the client is not connected), CORELANE_INVALID (another port's client),
// CORELANE_BUSY.
int32_t corelane_disconnect(struct corelane_port port,
                            struct corelane_client client);

// Frees a client's name for other clients. The client stays connected. See CORELANE_EVENT_LEFT.
//
// The port's thread. Errors as for `corelane_disconnect`.
int32_t corelane_release_name(struct corelane_port port, struct corelane_client client);

// Waits at most `timeout_ns`, with a resolution of a millisecond. Returns earlier if there may be something to poll, or
// space after CORELANE_FULL. For hosts without an event loop.
//
// The port's thread; waits. Meanwhile other threads' calls with the port return CORELANE_BUSY. CORELANE_TIMEOUT,
// CORELANE_CLOSED (everything was handed out), CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_port_wait(struct corelane_port port,
                           uint64_t timeout_ns);

// Returns the descriptor that becomes readable when there is something to poll, or for the local worker to do, or space
// after CORELANE_FULL. It belongs to the port: watch it, but do not read, write or close it. Call `corelane_port_arm` before each wait.
//
// The port's thread. Returns a descriptor, or CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_port_fd(struct corelane_port port);

// Publishes, and prepares a wait for the descriptor. 0: wait. CORELANE_AGAIN: there is something to poll, or for the
// local worker to do, so do that first.
//
// The port's thread. CORELANE_CLOSED (everything was handed out), CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_port_arm(struct corelane_port port);

// As `corelane_acknowledge` for each of `count` entries. Reads the clock once for all of them.
//
// The port's thread. CORELANE_NULL, CORELANE_STALE (port), CORELANE_BUSY.
int32_t corelane_acknowledge_batch(struct corelane_port port,
                                   const struct corelane_written *written,
                                   size_t count);

// Gives a connected client another token. Events handed out after this call carry the new token. Deliveries that were
// handed out before and are not acknowledged stay outstanding.
//
// The port's thread. CORELANE_STALE (port; or the client is not connected or is leaving), CORELANE_INVALID (another
// port's client: disconnect it there, then connect it here), CORELANE_BUSY.
int32_t corelane_rebind(struct corelane_port port,
                        struct corelane_client client,
                        uint64_t token);

// Records one message that the host routed itself: its protocol and type (UTF-8, at most 64 bytes each), its
// application, whether it succeeded (not 0), its bytes, and its duration in nanoseconds. Each new pair of protocol
// and type gets its own figures, up to `max_recorded_types`; later ones count as `other`. The figures appear in
// corelane_prometheus as corelane_recorded_; messages that the router routed are counted separately.
//
// Any thread, any number at once. Only the first use of a name may wait. CORELANE_NULL, CORELANE_INVALID,
// CORELANE_STALE, CORELANE_BUSY (being released).
int32_t corelane_record(struct corelane_router router,
                        const char *protocol,
                        size_t protocol_length,
                        const char *message_type,
                        size_t message_type_length,
                        const char *application,
                        size_t application_length,
                        uint32_t success,
                        uint64_t bytes,
                        uint64_t duration_ns);

// Describes the memory that a port shares with worker number `worker` (from 0). The layout is valid until
// `corelane_port_release`. Any host may read the memory. A host that has called `corelane_port_inline` may write it
// by the rules of docs/layout.md, as include/corelane_inline.h does.
//
// The port's thread. CORELANE_INVALID (no such worker), CORELANE_ABI (`size`), CORELANE_NULL, CORELANE_STALE,
// CORELANE_BUSY.
int32_t corelane_port_layout(struct corelane_port port,
                             uint32_t worker,
                             struct corelane_layout *out_layout);

// Makes a port inline, for good: from now on its host pushes and polls without a call, by the layouts of
// `corelane_port_layout`. Connect, disconnect, release a name, acknowledge and `corelane_publish` still work;
// `corelane_publish` pushes disconnects that wait for space. Before each of these calls and before
// `corelane_port_release`, the host publishes what it has committed. After each of them it reloads the tails from
// the headers. Poll, release, arm and wait return CORELANE_STATE. Submit still works, for messages that do not fit a
// ring.
//
// The port's thread. CORELANE_STATE (`max_in_flight`, `client_rate` or `max_concurrent_messages` is set, since an
// inline port enforces no limits; `balance` is round_robin; `enable_concurrent_routing` is off; a delivery was
// handed out to only some of its recipients), CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_port_inline(struct corelane_port port);

// Tells the router that the host of an inline port has taken a client's last record (kind 5) from a ring. Nothing is
// handed out for this client any more, and its slot may be reused.
//
// The port's thread. CORELANE_STALE (port; or the client is not closing), CORELANE_INVALID (another port's client),
// CORELANE_STATE (the port is not inline), CORELANE_BUSY.
int32_t corelane_client_closed(struct corelane_port port,
                               struct corelane_client client);

// Hands out the events of an inline port that come through no ring: CORELANE_EVENT_CLOSED for disconnected clients
// whose worker has ended, and CORELANE_EVENT_CLOSE that a worker could not put into its ring. A host calls it when
// it finds a ring closed, after it has taken all records of that ring, has published, and has written `taken` and
// `handed`. Fills up to `capacity` events and returns how many; the first event's `size` is the distance between two
// events in bytes. Pushes nothing.
//
// The port's thread. CORELANE_AGAIN (there are such events, but `capacity` is 0 or records precede them),
// CORELANE_CLOSED (the router has stopped and everything was handed out), CORELANE_STATE (the port is not inline),
// CORELANE_NULL, CORELANE_INVALID (`size`), CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_port_closings(struct corelane_port port,
                               struct corelane_event *events,
                               size_t capacity);

// Takes the out-of-line payload of an inline port's delivery (kind 1, flag 1). The record has the payload's number and
// length. The view is valid until `corelane_payload_release`.
//
// The port's thread. CORELANE_NOT_FOUND (the payload was taken already, or no payload had this number),
// CORELANE_STATE (the port is not inline), CORELANE_NULL, CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_payload_take(struct corelane_port port,
                              uint64_t number,
                              const uint8_t **out_bytes,
                              size_t *out_length);

// Releases every payload that `corelane_payload_take` has taken for this port.
//
// The port's thread. CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_payload_release(struct corelane_port port);

// Opens a port with a local worker, for a thread that is an event loop. The loop calls `corelane_cycle` and
// `corelane_poll` between reading and writing its sockets. The messages of the port's clients to each other never leave
// the thread. The configuration key `local_workers` says how many such ports there can be. After the release of the port
// a thread of the router drives the worker until the next port is opened with it.
//
// Any thread. As `corelane_port_open`; CORELANE_LIMIT also if every local worker has a port.
int32_t corelane_port_open_local(struct corelane_router router,
                                 struct corelane_port *out_port,
                                 struct corelane_error *error);

// Publishes what was submitted, and runs one cycle of the port's local worker. Returns how much work was done. If that
// and the following poll return 0, the loop may call `corelane_port_arm` and wait.
//
// The port's thread. CORELANE_STATE (the port has no local worker), CORELANE_CLOSED (the worker has stopped: poll until
// the poll returns that too), CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_cycle(struct corelane_port port);

// Writes how long the loop may wait at most until it must call `corelane_cycle` again, in milliseconds, rounded up: the
// timeout of `poll` or `epoll_wait`. -1 if nothing is due. Ask after the poll; the answer does not undo an arm.
//
// The port's thread. CORELANE_STATE (the port has no local worker), CORELANE_NULL, CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_port_next_due(struct corelane_port port,
                               int32_t *out_milliseconds);

// Ends a wait that `corelane_port_arm` has prepared. Call it first, whatever has ended the wait. `reported` is not 0 if
// the poller has reported the port's descriptor: it is read then, and only then. Without this call the next
// `corelane_poll` or `corelane_cycle` reads the descriptor in any case.
//
// The port's thread. CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_port_awake(struct corelane_port port,
                            int32_t reported);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* CORELANE_H */
