/* corelane: the library's functions. Written by `CORELANE_WRITE_DOCS=1 cargo test --test header` from src/ffi.
 * Conventions: src/ffi.rs. Without calls: corelane_ring.h, corelane_inline.h. Memory: docs/layout.md. */

#ifndef CORELANE_H
#define CORELANE_H

#include <stddef.h>
#include <stdint.h>

// Done.
#define CORELANE_OK 0

// Nothing to read, or something is there already where the call was about to wait. Not an error.
#define CORELANE_AGAIN -1

// The ring is full: poll, then retry, or drop. Not an error.
#define CORELANE_FULL -2

// A pointer that is needed is NULL.
#define CORELANE_NULL -10

// An argument is impossible: not UTF-8, a size of another struct, a client of another port.
#define CORELANE_INVALID -11

// Larger than `max_message`, or than a ring takes.
#define CORELANE_TOO_LARGE -12

// Nothing of that name.
#define CORELANE_NOT_FOUND -13

// The handle was released, was never valid, or its client is not connected any more.
#define CORELANE_STALE -14

// The name is connected.
#define CORELANE_EXISTS -15

// A bound of the configuration or of this process is reached.
#define CORELANE_LIMIT -16

// Not possible in the router's present state.
#define CORELANE_STATE -17

// Another thread is inside a call with this handle.
#define CORELANE_BUSY -18

// Not done in the time given.
#define CORELANE_TIMEOUT -19

// The router drains or has stopped.
#define CORELANE_CLOSED -20

// Reserved: called from a thread that must not.
#define CORELANE_THREAD -21

// Called in a child of fork whose parent has started a router: it has none of the threads. Use exec.
#define CORELANE_FORKED -22

// Header and library are of different versions.
#define CORELANE_ABI -23

// No configuration key has this name.
#define CORELANE_CONFIG_KEY -24

// A configuration value is not allowed, or does not fit the others.
#define CORELANE_CONFIG_VALUE -25

// Reserved: no memory.
#define CORELANE_NOMEM -26

// The operating system refused something; `os_errno` says what.
#define CORELANE_SYS -27

// Reserved: not on this platform.
#define CORELANE_UNSUPPORTED -28

// A ring holds what nobody may write; it is of no further use.
#define CORELANE_CORRUPT -29

// A defect of the library: report it. The handle can be released.
#define CORELANE_PANIC -30

// Bytes of an error's text, its closing zero included.
#define CORELANE_MESSAGE_BYTES 240

// Write `bytes` to the client, then acknowledge them. `sender` and `correlation` are the submitter's.
#define CORELANE_EVENT_MESSAGE 1

// What the client sent to the name in `bytes` has expired: nobody of that name connected. `correlation` is that of the
// first such message. Acknowledge it like a message.
#define CORELANE_EVENT_EXPIRED 2

// The client has left its name: `corelane_release_name` if others may have it. It stays connected.
#define CORELANE_EVENT_LEFT 3

// Close this client's connection, then disconnect it; `reason` is one of CORELANE_CLOSE_.
#define CORELANE_EVENT_CLOSE 4

// The last event for this client: what its token points at may be freed.
#define CORELANE_EVENT_CLOSED 5

// What the client sent was refused: the recipient's credit is used up (`credit_policy` refuse). `sender` is that recipient,
// `correlation` the message's, `reason` one of CORELANE_FAILED_. Nothing to acknowledge.
#define CORELANE_EVENT_REFUSED 6

// It has not acknowledged what it was given.
#define CORELANE_CLOSE_CREDIT 1

// Its port's ring was corrupt.
#define CORELANE_CLOSE_CORRUPT 2

// The recipient has not acknowledged what it was given.
#define CORELANE_FAILED_CREDIT 1

// Why a message was refused: cells of `corelane_counts.refused`.
#define CORELANE_REFUSED_FULL 0

// The router stops, or has stopped.
#define CORELANE_REFUSED_CLOSED 1

// The router drains.
#define CORELANE_REFUSED_DRAINING 2

// The client is not connected, or no longer.
#define CORELANE_REFUSED_STALE 3

// The client is another port's.
#define CORELANE_REFUSED_WRONG_PORT 4

// Larger than `max_message`, or than a ring takes.
#define CORELANE_REFUSED_TOO_LARGE 5

// The ring holds what nobody may write.
#define CORELANE_REFUSED_CORRUPT 6

// A router. 0 is none. Copy it freely; it is valid until `corelane_router_release`.
typedef struct corelane_router {
  // Index in the lower half, generation in the upper.
  uint64_t value;
} corelane_router;

// What went wrong, for people. Filled only by calls that fail.
typedef struct corelane_error {
  // `sizeof(corelane_error)`, set by the caller. Smaller: nothing is written.
  uint32_t size;
  // The status that the call returned.
  int32_t code;
  // The system's error number, or 0.
  int32_t os_errno;
  // What to change, in UTF-8; ends with a zero.
  char message[CORELANE_MESSAGE_BYTES];
} corelane_error;

// A port. 0 is none. Copy it freely; it is valid until `corelane_port_release`.
typedef struct corelane_port {
  // Index in the lower half, generation in the upper.
  uint64_t value;
} corelane_port;

// A client. 0 is none. Valid from `corelane_connect` until its CORELANE_EVENT_CLOSED.
typedef struct corelane_client {
  // Index in the lower half, generation in the upper.
  uint64_t value;
} corelane_client;

// What a poll hands out.
typedef struct corelane_event {
  // `sizeof(corelane_event)`. The caller sets that of the first event; a poll sets the others'.
  uint32_t size;
  // One of CORELANE_EVENT_. Pass over what you do not know.
  uint32_t kind;
  // Whom it is for.
  struct corelane_client client;
  // That client's token, as given to `corelane_connect`.
  uint64_t token;
  // Who sent it, or 0; in CORELANE_EVENT_REFUSED who could not take it.
  struct corelane_client sender;
  // The submitter's value, or 0.
  uint64_t correlation;
  // A view, valid until the next `corelane_poll`, `corelane_release` or `corelane_port_release`; NULL where `length` is 0.
  const uint8_t *bytes;
  // Bytes of the view.
  size_t length;
  // Why, in CORELANE_EVENT_CLOSE and CORELANE_EVENT_REFUSED; otherwise 0. Take a value that you do not know for some other reason.
  uint32_t reason;
  // 0.
  uint32_t reserved;
} corelane_event;

// What of a client's deliveries was written.
typedef struct corelane_written {
  // Whose.
  struct corelane_client client;
  // How many messages.
  uint32_t messages;
  // How many bytes.
  uint32_t bytes;
} corelane_written;

// One ring. Offsets are from `base`; docs/layout.md says what lies there.
typedef struct corelane_ring {
  // The header's first byte.
  uint8_t *base;
  // Bytes of data, a power of two.
  uint64_t capacity;
  // The first record; a multiple of 64.
  uint32_t data;
  // uint64_t, written by the producer: behind the last published record.
  uint32_t tail;
  // uint64_t, written by the producer: records pushed.
  uint32_t pushed;
  // uint64_t, written by the producer: claims that found no room.
  uint32_t refused_full;
  // uint64_t, written by the consumer: behind the last record given back.
  uint32_t head;
  // uint64_t, written by the consumer: records taken.
  uint32_t popped;
  // uint64_t, written by the host of an inline port's egress ring: behind the last record that was handed out to all of its
  // recipients.
  uint32_t taken;
  // uint64_t, written by the same: recipients that the record there was handed out to already.
  uint32_t handed;
  // uint32_t, written by the producer alone: 1 while it waits for space.
  uint32_t need_space;
  // uint32_t: 1 once closed.
  uint32_t closed;
  // uint32_t: 1 once found corrupt.
  uint32_t corrupt;
  // 0.
  uint32_t reserved;
} corelane_ring;

// What a port counts: uint64_t cells that the host of an inline port writes, each with release, nobody else.
typedef struct corelane_counts {
  // Messages given to the port, refused ones included; before they are published.
  uint64_t *submitted;
  // Of these refused, one cell for each of CORELANE_REFUSED_.
  uint64_t *refused;
  // Cells of `refused`.
  uint32_t refused_count;
  // 0.
  uint32_t reserved;
  // Deliveries handed out, in recipients.
  uint64_t *consumed;
  // Deliveries taken whose client was closed, in recipients.
  uint64_t *undeliverable_closed;
  // Deliveries taken whose payload beside the ring was gone, in recipients.
  uint64_t *undeliverable_payload_lost;
  // Polls.
  uint64_t *polls;
  // The most messages that one client had been handed and had not acknowledged.
  uint64_t *outstanding_messages_maximum;
  // As messages, in bytes.
  uint64_t *outstanding_bytes_maximum;
} corelane_counts;

// The client table. A slot is at `base` + index × `stride`; offsets are from there. What a port's host may write is said by
// each; of slots of other ports it reads nothing but `place`.
typedef struct corelane_slots {
  // The first slot.
  uint8_t *base;
  // Slots.
  uint32_t count;
  // Bytes from one to the next.
  uint32_t stride;
  // uint64_t, read with acquire: generation << 32 | port << 16 | the worker at its connect.
  uint32_t place;
  // uint64_t, read with acquire: generation << 32 | worker << 16 | phase. Phases: 0 free, 1 open, 2 closing (disconnect was
  // called), 3 closed. One load tells whose the slot is, in which phase, and where the client's messages go.
  uint32_t state;
  // uint64_t: the token of `corelane_connect`.
  uint32_t token;
  // uint64_t, written by the host: one more for each message, before it is published.
  uint32_t submitted;
  // uint64_t, written by the host: handed out and not acknowledged, messages << 32 | bytes.
  uint32_t handed;
  // uint64_t, written by the host: sample left << 48 | most messages << 32 | most bytes handed out and not acknowledged.
  uint32_t track;
  // uint64_t, written by the host: the stamp of the sampled delivery.
  uint32_t sampled_at;
  // uint64_t, changed by compare-exchange with acquire and release: closing << 63 | a CLOSE is on its way << 62 | the low 15
  // bits of the generation << 47 | messages << 31 | bytes. Of a delivery that nobody gets the host subtracts its message and
  // its bytes, each no further than to 0; of a CLOSE it clears bit 62; where the generation is another nothing.
  uint32_t credit;
} corelane_slots;

// What a port and one worker share.
typedef struct corelane_layout {
  // `sizeof(corelane_layout)`, set by the caller.
  uint32_t size;
  // Version of docs/layout.md that the memory follows.
  uint32_t layout_version;
  // Feature bits; a reader refuses those it does not know.
  uint64_t features;
  // What stamps count: 0 nanoseconds of CLOCK_MONOTONIC, 1 the cycle counter (the TSC on x86-64, CNTVCT_EL0 on aarch64).
  uint64_t stamp_source;
  // To the worker: the port produces.
  struct corelane_ring ingress;
  // From the worker: the port consumes.
  struct corelane_ring egress;
  // The worker's wake word: 0 awake, 1 asleep in FUTEX_WAIT (private) on the word.
  uint32_t *worker_wake;
  // The port's wake word: 0 awake, 1 asleep on `port_fd`.
  uint32_t *port_wake;
  // The port's eventfd.
  int32_t port_fd;
  // Workers of the router; the port has a layout for each.
  uint32_t workers;
  // The port's number, as in `place`.
  uint32_t port;
  // Largest message; larger ones are refused.
  uint32_t max_message;
  // uint8_t: 1 once the router drains; then messages are refused.
  const uint8_t *draining;
  // The same in the layout of every worker.
  struct corelane_counts counts;
  // The same in every layout of the router.
  struct corelane_slots slots;
} corelane_layout;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The library's version: major << 24 | minor << 16 | patch << 8. Any thread.
uint32_t corelane_version(void);

// A status in words: static text, never NULL. Any thread.
const char *corelane_status_text(int32_t status);

// Starts a router with its worker threads. `config` is text of `config_length` bytes, a `key=value` in each line; empty
// lines and lines that start with `#` are passed over, and what is not set has its default (docs/configuration.md).
// NULL with length 0 is an empty text. Workers have all signals blocked.
//
// Any thread. CORELANE_CONFIG_KEY and CORELANE_CONFIG_VALUE name key, value and range; CORELANE_INVALID, CORELANE_LIMIT (64
// routers), CORELANE_SYS.
int32_t corelane_start(const char *config,
                       size_t config_length,
                       struct corelane_router *out_router,
                       struct corelane_error *error);

// The router's figures in the Prometheus text format 0.0.4. Returns how many bytes they take without the closing zero.
// With more than that in `capacity` they are written, with the zero; otherwise nothing is: call again with more.
// `buffer` may be NULL where `capacity` is 0.
//
// Any thread. CORELANE_NULL, CORELANE_STALE, CORELANE_BUSY (being released).
int64_t corelane_prometheus(struct corelane_router router,
                            char *buffer,
                            size_t capacity);

// Stops the workers and waits for them up to `timeout_ns`. What was published before is handled, what is published later
// is refused, messages held for absent names fail. Ports can still be polled: they say CORELANE_CLOSED at the end.
// Calling it again waits again.
//
// Any thread; waits. CORELANE_TIMEOUT (the workers still stop), CORELANE_STALE, CORELANE_BUSY (being released).
int32_t corelane_stop(struct corelane_router router,
                      uint64_t timeout_ns);

// Releases a router; a running one is stopped first, and its workers are waited for. Its ports stay valid and say
// CORELANE_CLOSED; release them as well.
//
// Any thread; waits. CORELANE_BUSY while another thread is inside a call with it, CORELANE_STALE the second time.
int32_t corelane_router_release(struct corelane_router router);

// Opens a port: each host thread has its own, and what it submits and polls never waits for another's.
//
// Any thread. CORELANE_LIMIT (`max_ports`, 4096 in a process), CORELANE_STATE (stopped), CORELANE_SYS, CORELANE_STALE.
// May take a moment where a port was just released.
int32_t corelane_port_open(struct corelane_router router,
                           struct corelane_port *out_port,
                           struct corelane_error *error);

// Releases a port: its clients are disconnected, what it has not polled is given up, views of it end. A layout of it
// must not be used any more.
//
// Any thread. CORELANE_BUSY while another thread is inside a call with it, waits included; CORELANE_STALE the second time.
int32_t corelane_port_release(struct corelane_port port);

// Connects a client under a name, on this port: `name`, `protocol` (`peerjs`, `generic`) and `application` (may be empty)
// are UTF-8. `token` comes back with every event for the client. Messages held for the name are delivered to it.
//
// The port's thread. CORELANE_EXISTS (name), CORELANE_INVALID (name's length, not UTF-8), CORELANE_NOT_FOUND (protocol),
// CORELANE_LIMIT (`max_clients`), CORELANE_CLOSED, CORELANE_NULL, CORELANE_STALE, CORELANE_BUSY.
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

// Submits one of a client's messages; its worker sees it after `corelane_publish`, of an inline port at once. The bytes are copied. `correlation`
// comes back with what the message causes.
//
// The port's thread. CORELANE_FULL (poll, then retry, or drop), CORELANE_TOO_LARGE, CORELANE_STALE (port or client),
// CORELANE_INVALID (another port's client), CORELANE_CLOSED, CORELANE_CORRUPT, CORELANE_NULL, CORELANE_BUSY. A refused message
// is counted under its reason.
int32_t corelane_submit(struct corelane_port port,
                        struct corelane_client client,
                        const uint8_t *message,
                        size_t length,
                        uint64_t correlation);

// Makes what was submitted visible to the workers and wakes those that sleep: once per batch. Of an inline port: pushes
// disconnects that waited for room, and returns how many still do.
//
// The port's thread. CORELANE_STALE, CORELANE_BUSY, CORELANE_CORRUPT (inline).
int32_t corelane_publish(struct corelane_port port);

// Hands out up to `capacity` events and returns how many, 0 where nothing is there. The first event's `size` says how
// far one is from the next. Their views stay valid until the next poll or `corelane_release`.
//
// The port's thread. CORELANE_CLOSED once the router has stopped and everything was handed out; CORELANE_NULL,
// CORELANE_INVALID (`size`, or no capacity), CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_poll(struct corelane_port port,
                      struct corelane_event *events,
                      size_t capacity);

// Gives back the space of what the last poll handed out, so that a waiting worker goes on; its views end. The next poll
// does so as well.
//
// The port's thread. CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_release(struct corelane_port port);

// Says that so many messages and bytes of what was handed out for a client were written, or thrown away: gives its credit
// back. Never more than was handed out; a client that is gone is passed over.
//
// The port's thread. CORELANE_STALE (port), CORELANE_BUSY.
int32_t corelane_acknowledge(struct corelane_port port,
                             struct corelane_client client,
                             uint32_t messages,
                             uint32_t byte_count);

// Starts a client's disconnect: its name is free at once, what it submitted is still handled, and CORELANE_EVENT_CLOSED
// comes behind it. Of an inline port it returns how many disconnects wait for room in a ring: `corelane_publish` pushes
// them once there is.
//
// The port's thread. CORELANE_STALE (port, or not connected), CORELANE_INVALID (another port's), CORELANE_BUSY.
int32_t corelane_disconnect(struct corelane_port port,
                            struct corelane_client client);

// Frees a client's name for others while it stays connected; see CORELANE_EVENT_LEFT.
//
// The port's thread. As `corelane_disconnect`.
int32_t corelane_release_name(struct corelane_port port, struct corelane_client client);

// Waits until there may be something to poll, or space after CORELANE_FULL, or `timeout_ns` are over; to the millisecond.
// For hosts without an event loop.
//
// The port's thread; waits, and other threads' calls with the port say CORELANE_BUSY meanwhile. CORELANE_TIMEOUT,
// CORELANE_CLOSED (everything was handed out), CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_port_wait(struct corelane_port port,
                           uint64_t timeout_ns);

// The descriptor that becomes readable when there is something to poll, or space after CORELANE_FULL. It belongs to the
// port: watch it, and neither read, write nor close it. Call `corelane_port_arm` before each wait.
//
// The port's thread. Returns a descriptor, or CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_port_fd(struct corelane_port port);

// Says that the host is about to wait for the descriptor. 0: wait. CORELANE_AGAIN: something is there already, poll first.
//
// The port's thread. CORELANE_CLOSED (everything was handed out), CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_port_arm(struct corelane_port port);

// As `corelane_acknowledge` for each of `count` entries, with one look at the clock for all.
//
// The port's thread. CORELANE_NULL, CORELANE_STALE (port), CORELANE_BUSY.
int32_t corelane_acknowledge_batch(struct corelane_port port,
                                   const struct corelane_written *written,
                                   size_t count);

// Gives a connected client another token: what is handed out after this call carries it. What was handed out before and
// is not acknowledged still is outstanding.
//
// The port's thread. CORELANE_STALE (port, or not connected, or leaving), CORELANE_INVALID (another port's client: disconnect
// it there, then connect it here), CORELANE_BUSY.
int32_t corelane_rebind(struct corelane_port port,
                        struct corelane_client client,
                        uint64_t token);

// Records one message that the host routed itself: its protocol and type (UTF-8, up to 64 bytes each, with figures of their
// own on first use up to `max_recorded_types`, afterwards `other`), its application, whether it went well (not 0), its
// bytes, and how long it took. It appears in corelane_prometheus as corelane_recorded_; what is routed is counted apart.
//
// Any thread, at once; nothing waits once a name was used. CORELANE_NULL, CORELANE_INVALID, CORELANE_STALE, CORELANE_BUSY (being
// released).
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

// Where what a port shares with its worker number `worker` (from 0) lies. Valid until `corelane_port_release`. Anyone may
// look; the host that calls `corelane_port_inline` may write, by docs/layout.md, as include/corelane_inline.h does.
//
// The port's thread. CORELANE_INVALID (no such worker), CORELANE_ABI (`size`), CORELANE_NULL, CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_port_layout(struct corelane_port port,
                             uint32_t worker,
                             struct corelane_layout *out_layout);

// Hands a port's rings to its host, for good: from now on it pushes and polls without a call, by the layouts of
// `corelane_port_layout`. Connect, disconnect, release a name, acknowledge and `corelane_publish` (which pushes disconnects
// that waited for room) work as before; before each of them, and before `corelane_port_release`, the host publishes what it
// has committed, and afterwards it takes the tails over from the headers. Poll, release, arm and wait say
// CORELANE_STATE; submit works, for messages that are too large for a ring.
//
// The port's thread. CORELANE_STATE (`max_in_flight`, `client_rate` or `max_concurrent_messages` is set: an inline port keeps
// no limits; `balance` is round_robin; `enable_concurrent_routing` is off; a delivery was handed out in part), CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_port_inline(struct corelane_port port);

// Says that the host of an inline port has taken a client's last record (kind 5) from a ring: nothing of it is handed out
// any more, and its slot may be used again.
//
// The port's thread. CORELANE_STALE (port; or the client is not closing), CORELANE_INVALID (another port's client),
// CORELANE_STATE (the port is not inline), CORELANE_BUSY.
int32_t corelane_client_closed(struct corelane_port port,
                               struct corelane_client client);

// The events of an inline port that come through no ring: clients that were disconnected and whose worker has ended get their
// CORELANE_EVENT_CLOSED from the port itself, and what a worker could not put into its ring comes from there: CORELANE_EVENT_CLOSE.
// For a host that has found a ring closed, once it has taken what was there, has
// published, and has written `taken` and `handed`. Fills up to `capacity` events and returns how many; the first event's `size`
// says how far one is from the next. Pushes nothing.
//
// The port's thread. CORELANE_AGAIN (there are such events, and no capacity, or records before them), CORELANE_CLOSED (the
// router has stopped and everything was handed out), CORELANE_STATE (the port is not inline), CORELANE_NULL, CORELANE_INVALID
// (`size`), CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_port_closings(struct corelane_port port,
                               struct corelane_event *events,
                               size_t capacity);

// Takes the payload of a delivery of an inline port that lies beside its ring (kind 1, flag 1: the record has number and
// length). The view stays valid until `corelane_payload_release`.
//
// The port's thread. CORELANE_NOT_FOUND (it was taken, or the number was never given), CORELANE_STATE (the port is not
// inline), CORELANE_NULL, CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_payload_take(struct corelane_port port,
                              uint64_t number,
                              const uint8_t **out_bytes,
                              size_t *out_length);

// Lets go of every payload that `corelane_payload_take` has taken for this port.
//
// The port's thread. CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_payload_release(struct corelane_port port);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* CORELANE_H */
