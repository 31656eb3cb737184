/* corelane: a lock-free, thread-per-core message router with a performance monitor, for WebRTC signaling servers.
 *
 * Generated from src/ffi by `CORELANE_WRITE_DOCS=1 cargo test --test header`. docs/c.md is the guide.
 *
 * Conventions, the same for every call:
 *
 * - A call returns an int32_t: 0 or a count if it succeeds, otherwise a negative CORELANE_ status. Each call lists the
 *   statuses that it can return. Every call can also return CORELANE_FORKED and CORELANE_PANIC.
 * - Setup calls take a corelane_error, which may be NULL. If the call fails, it has the status and a text that says what to
 *   change. It is filled by the call itself, so no other thread changes it.
 * - Structs that you allocate begin with their size. Initialize them with their INIT macro, then set what you need:
 *       corelane_connect_options options = CORELANE_CONNECT_OPTIONS_INIT;
 *   In an array only the first one's size counts. Later versions of the library add fields at the end: a program that was
 *   compiled with an older header continues to work.
 * - Outputs are written only if the call succeeds. Every pointer is checked for NULL; NULL is allowed only where a call
 *   says so, and for empty texts and arrays.
 * - Texts are UTF-8 with a length in bytes, or with the length CORELANE_NUL_TERMINATED if they end with a NUL. The library
 *   copies what it needs during the call.
 * - Handles are numbers in small structs. A handle that was released, or never was one, gives CORELANE_STALE; nothing
 *   else happens.
 * - "Any thread": any number of threads may make the call at once. "The port's owner": one thread at a time; threads may take
 *   turns under a lock of the host. A second thread gets CORELANE_BUSY, and its call changes nothing.
 * - A call blocks only if its documentation says "waits".
 * - A release never fails because others use the object: the handle becomes stale at once, and the last thread that is
 *   inside a call with it does the rest.
 * - Errors of the library never unwind into C. Callbacks must not unwind into the library.
 * - After fork the child must not use the library, because it has none of the library's threads: each call returns
 *   CORELANE_FORKED. exec is fine.
 */

#ifndef CORELANE_H
#define CORELANE_H

#include <stddef.h>
#include <stdint.h>

// The version of this header.
#define CORELANE_VERSION_MAJOR 0
#define CORELANE_VERSION_MINOR 1
#define CORELANE_VERSION_PATCH 0
// The same in one number, as corelane_version returns it.
#define CORELANE_VERSION_NUMBER \
  (((uint32_t)CORELANE_VERSION_MAJOR << 24) | ((uint32_t)CORELANE_VERSION_MINOR << 16) | ((uint32_t)CORELANE_VERSION_PATCH << 8))

// As a text's length: the text ends with a NUL.
#define CORELANE_NUL_TERMINATED SIZE_MAX

// Size of an error's text in bytes, including the closing NUL.
#define CORELANE_MESSAGE_BYTES 1008



// As `corelane_handler.flags`: the function never blocks and always returns within microseconds. It may then also run on
// the thread of a local port's event loop. Clients of a protocol with any other handler, or with tasks, are placed on workers
// with threads of their own.
#define CORELANE_HANDLER_SHORT 1

// Room for a client's name with a closing NUL.
#define CORELANE_NAME_BYTES 72

// As `corelane_port_options.flags`: the port has a local worker, for a thread that is an event loop. The loop calls
// `corelane_port_cycle` and `corelane_port_poll` between reading and writing its sockets. The messages of the port's clients
// to each other never leave the thread. The configuration key `local_workers` says how many such ports there can be. After
// the release of the port a thread of the router drives the worker until the next port is opened with it.
#define CORELANE_PORT_LOCAL 1

// As `corelane_port_options.flags`: any number of threads may connect, submit, send and disconnect at once. These calls wait
// for each other briefly, and publish by themselves. Poll, acknowledge, rebind, arm, wait and cycle keep one owner.
#define CORELANE_PORT_SHARED 2

// As `corelane_connect_options.credit_policy`: as the configuration says.
#define CORELANE_CREDIT_DEFAULT 0

// The client stays connected. The message fails, and its sender gets CORELANE_EVENT_UNDELIVERED.
#define CORELANE_CREDIT_REFUSE 1

// The client stays connected if the message's type is droppable. Otherwise as CORELANE_CREDIT_DISCONNECT.
#define CORELANE_CREDIT_DROP 2

// The client's port gets CORELANE_EVENT_CLOSE once, and should close the connection.
#define CORELANE_CREDIT_DISCONNECT 3

// As a flag of a message: if it fails or expires, the port gets CORELANE_EVENT_UNDELIVERED. For `corelane_submission`.
#define CORELANE_TELL_FAILED 1

// As a flag of a message: the host keeps the message and tries again if there is no room now. Such an attempt counts neither
// as a message nor as refused. The statuses are the same.
#define CORELANE_TRY 2

// As `corelane_routed.outcome`: a worker has handled the message.
#define CORELANE_ROUTED_DELIVERED 1

// The recipient is not connected. The message is held, and is delivered or expires later.
#define CORELANE_ROUTED_HELD 2

// A worker has handled the message, and it failed.
#define CORELANE_ROUTED_FAILED 3

// The message has waited too long, and nothing has handled it.
#define CORELANE_ROUTED_EXPIRED 4

// The host's base route has handled the message instead.
#define CORELANE_ROUTED_TAKEN_OVER 5

// Write `bytes` to the client, then acknowledge them. `sender` and `correlation` are those of the submitted message.
#define CORELANE_EVENT_MESSAGE 1

// A held message of this client expired: no client connected under the name in `bytes`. Sent once per name, with the
// `correlation` of the first such message. Acknowledge the event like a message of `length` bytes.
#define CORELANE_EVENT_EXPIRED 2

// The client has sent a message that gives up its name. Call `corelane_port_release_name` if others may use the name. The
// client stays connected.
#define CORELANE_EVENT_LEFT 3

// Close this client's connection, then call `corelane_port_disconnect`. `reason` says why.
#define CORELANE_EVENT_CLOSE 4

// The last event for this client. Memory that its token refers to may be freed.
#define CORELANE_EVENT_CLOSED 5

// A message of this client has not been delivered: the recipient has no credit left (`credit_policy` refuse), or the
// message was submitted with CORELANE_TELL_FAILED and has failed or expired. `sender` is the recipient at which it failed,
// or 0, `correlation` is the message's, `reason` says why. Do not acknowledge this event.
#define CORELANE_EVENT_UNDELIVERED 6

// A message that the host itself has sent has not been delivered to `client`, or to any member of `room`. `correlation` is
// the message's, `reason` says why. There is no token. Do not acknowledge this event.
#define CORELANE_EVENT_SEND_FAILED 7

// As the format of a report: text for a terminal or a log.
#define CORELANE_REPORT_TEXT 1

// JSON with every figure, under a `schema_version`; see docs/schema.json.
#define CORELANE_REPORT_JSON 2

// The dashboard with the figures inside: a self-contained HTML page.
#define CORELANE_REPORT_HTML 3

// The Prometheus text format 0.0.4, for GET /metrics with the content type `text/plain; version=0.0.4; charset=utf-8`. Its
// figures count from the start, whatever was reset. Not for periodic reports.
#define CORELANE_REPORT_PROMETHEUS 4

// OpenMetrics 1.0, for GET /metrics with the content type
// `application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores`. Otherwise as CORELANE_REPORT_PROMETHEUS.
#define CORELANE_REPORT_OPENMETRICS 5

// To be added to one of the last two: with the process_ families, which are left out otherwise, because the host's own metrics
// library may have them, and they must not be there twice.
#define CORELANE_REPORT_PROCESS 256

// As the span of a history: the last 60 seconds, in slots of a second.
#define CORELANE_SPAN_MINUTE 1

// The last 60 minutes, in slots of a minute.
#define CORELANE_SPAN_HOUR 2

// The last `stats_retention_hours`, in slots of a quarter of an hour.
#define CORELANE_SPAN_DAY 3

// A figure that has no value: nothing was recorded, it could not be read, or it is not kept (`enable_metrics` or
// `detailed_stats` is off; there is no router). A figure of type double is NAN instead.
#define CORELANE_UNKNOWN 18446744073709551615ull

// Number of ranges of handling times: below 1, 5, 10, 50, 100, 500 ms, 1 s, 5 s, and above.
#define CORELANE_RANGES 9

// Length of the array of failures, whose index is a CORELANE_REASON_ value.
#define CORELANE_REASONS 64

// The kind of a list of series: by message type.
#define CORELANE_SERIES_TYPES 1

// By protocol.
#define CORELANE_SERIES_PROTOCOLS 2

// By application.
#define CORELANE_SERIES_APPLICATIONS 3

// As the kind of a client: the host has connected it with `corelane_monitor_connect`.
#define CORELANE_CLIENT_RECORDED 1

// The client belongs to a port of the monitor's router.
#define CORELANE_CLIENT_ROUTED 2

// The order of a list of clients: by messages sent.
#define CORELANE_TOP_MESSAGES 1

// By errors.
#define CORELANE_TOP_ERRORS 2

// By bytes sent.
#define CORELANE_TOP_BYTES_IN 3

// By bytes written to the client.
#define CORELANE_TOP_BYTES_OUT 4

// By mean time.
#define CORELANE_TOP_AVERAGE 5

// By the slowest single message.
#define CORELANE_TOP_MAXIMUM 6

// By unacknowledged bytes.
#define CORELANE_TOP_OUTSTANDING 7

// By the largest number of unacknowledged messages.
#define CORELANE_TOP_OUTSTANDING_PEAK 8

// By deliveries to the client that were given up.
#define CORELANE_TOP_UNDELIVERED 9

// As a rule's severity: as if it were not set, a warning.
#define CORELANE_SEVERITY_DEFAULT 0

// For information.
#define CORELANE_SEVERITY_INFO 1

// Needs attention.
#define CORELANE_SEVERITY_WARNING 2

// Needs immediate action.
#define CORELANE_SEVERITY_CRITICAL 3

// As a rule's flag: an alert is raised if the metric is below the trigger, not above it.
#define CORELANE_RULE_BELOW 1

// As a rule's flag: `clear` is set. Otherwise it is the trigger.
#define CORELANE_RULE_CLEAR 2

// As a rule's flag: `repeat_ns` is set. Otherwise it is 4 hours.
#define CORELANE_RULE_REPEAT 4

// As a rule's flag: `cooldown_ns` is set. Otherwise it is a minute.
#define CORELANE_RULE_COOLDOWN 8

// As an alert's state: the metric is beyond the trigger, but not yet for long enough to raise the alert.
#define CORELANE_ALERT_PENDING 1

// The alert is raised.
#define CORELANE_ALERT_FIRING 2

// The alert is raised, and the metric is past the clear value, but not yet for long enough to resolve it.
#define CORELANE_ALERT_RECOVERING 3

// The alert is over.
#define CORELANE_ALERT_RESOLVED 4

// As an alert's notification: none yet.
#define CORELANE_NOTIFICATION_NONE 0

// The alert fires.
#define CORELANE_NOTIFICATION_RAISED 1

// The alert still fires.
#define CORELANE_NOTIFICATION_REPEATED 2

// The alert is over.
#define CORELANE_NOTIFICATION_RESOLVED 3

// As the kind of a list of alerts: those that are raised.
#define CORELANE_ALERTS_CURRENT 1

// Those that are pending.
#define CORELANE_ALERTS_PENDING 2

// Those that are resolved, newest first; at most 256.
#define CORELANE_ALERTS_PAST 3

// Size of the path of a metric in bytes, with the closing NUL.
#define CORELANE_METRIC_BYTES 776

// Size of a label set in bytes, with the closing NUL.
#define CORELANE_LABEL_SET_BYTES 264

// Size of an alert's sentence in bytes, with the closing NUL.
#define CORELANE_SENTENCE_BYTES 1024

// As a flag of a door: /metrics has the process_ families too. Without it they are left out, because a host whose own metrics
// library has them must not have them twice.
#define CORELANE_DOOR_PROCESS_METRICS 1

// As a flag of a request: it may change something (POST /api/reset and /api/set).
#define CORELANE_HTTP_CHANGEABLE 1

// As a flag of a request: /metrics has the process_ families too.
#define CORELANE_HTTP_PROCESS_METRICS 2

// As a flag of an export to Elasticsearch: connects and disconnects become no documents.
#define CORELANE_ELASTICSEARCH_NO_CONNECTIONS 1

// The exporter installs no index templates. Install the files of src/elasticsearch/templates yourself: the credentials
// then need no rights but to create documents.
#define CORELANE_ELASTICSEARCH_NO_TEMPLATES 2

// As the kind of a cluster's event: the answer to `corelane_cluster_claim_start`, in `status`.
#define CORELANE_CLUSTER_CLAIMED 1

// The claim's name is lost, for `reason`. Close the client, and release the claim after the client's CORELANE_EVENT_CLOSED.
#define CORELANE_CLUSTER_LOST 2

// As the reason of a loss: the same client, by its token, has connected elsewhere.
#define CORELANE_LOST_REPLACED 1

// Another client has the name: this machine was cut off from the cluster for too long.
#define CORELANE_LOST_TAKEN 2

// What a call returns: 0 or a count if it succeeds, otherwise one of these negative numbers. A number is never reused for
// another meaning. New statuses may be added: treat an unknown one as a failure.
enum corelane_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Success.
  CORELANE_OK = 0,
  // Nothing to read, or, in a call that precedes a wait, something to read already. Not an error.
  CORELANE_AGAIN = -1,
  // The ring has no room. Poll, wait with `corelane_port_wait` or for the port's descriptor, then retry the
  // message or drop it. Not an error.
  CORELANE_FULL = -2,
  // A required pointer is NULL or not aligned.
  CORELANE_NULL = -10,
  // An argument is not valid: not UTF-8, a wrong struct size, a client of another port.
  CORELANE_INVALID = -11,
  // The message is larger than `max_message`, or does not fit a ring.
  CORELANE_TOO_LARGE = -12,
  // Nothing has this name or number.
  CORELANE_NOT_FOUND = -13,
  // The handle was released or was never valid, or the client is not connected.
  CORELANE_STALE = -14,
  // The name is taken.
  CORELANE_EXISTS = -15,
  // A limit of the configuration or of this process is reached; the error says which.
  CORELANE_LIMIT = -16,
  // Not possible in the present state of the router, port or monitor.
  CORELANE_STATE = -17,
  // In use: another thread is inside a call with this handle, or a name cannot be claimed now. Retry later.
  CORELANE_BUSY = -18,
  // The time-out expired first.
  CORELANE_TIMEOUT = -19,
  // The router or the cluster is draining or has stopped.
  CORELANE_CLOSED = -20,
  // Called from a thread that must not make this call, because the call would wait for that thread.
  CORELANE_THREAD = -21,
  // Called in a child of fork whose parent has used the library. The child has none of the library's
  // threads. Use exec.
  CORELANE_FORKED = -22,
  // The program was compiled with the header of another version that this library does not support.
  CORELANE_ABI = -23,
  // No configuration key has this name. The error names the nearest keys.
  CORELANE_CONFIG_KEY = -24,
  // A configuration value is not allowed, or conflicts with other values.
  CORELANE_CONFIG_VALUE = -25,
  // Reserved: out of memory.
  CORELANE_NO_MEMORY = -26,
  // The operating system refused a call; `os_errno` has its error number.
  CORELANE_SYSTEM = -27,
  // Not in this build of the library.
  CORELANE_UNSUPPORTED = -28,
  // A ring contains values that neither end can have written. It cannot be used any more.
  CORELANE_CORRUPT = -29,
  // A defect in the library: please report it. The handle can be released.
  CORELANE_PANIC = -30,
  // The time-out expired while a worker was already handling the message. The message may still be
  // delivered.
  CORELANE_TIMEOUT_STARTED = -31,
  // The client sends more than `client_rate` messages in a second.
  CORELANE_RATE_LIMITED = -32,
  // The client has `max_in_flight` messages on the way. Wait until some are handled.
  CORELANE_IN_FLIGHT = -33,
  // `max_concurrent_messages` messages are on the way. Wait until some are handled.
  CORELANE_CONCURRENCY = -34,
  // The memory for large messages, `payload_bytes`, is in use. Wait until some are delivered.
  CORELANE_PAYLOADS = -35,
  // A handler's send or relay has failed; the reason is told beside.
  CORELANE_FAILED = -36,
  // The cluster does not answer. Local routing goes on.
  CORELANE_UNAVAILABLE = -37,
  // This machine is cut off from its cluster, and owns no name until it has joined again.
  CORELANE_FENCED = -38,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum corelane_status corelane_status;
#else
typedef int32_t corelane_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Why a message was not delivered, or why a client must be closed. New reasons may be added: treat an unknown one as an
// unspecified reason.
enum corelane_reason
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // No reason.
  CORELANE_REASON_NONE = 0,
  // The message waited in the queue for longer than `max_queue_wait_ms`, or was held for longer than
  // `hold_ms`.
  CORELANE_REASON_EXPIRED = 1,
  // The recipient, or the client to close, has used up its credit: it has not acknowledged its deliveries.
  CORELANE_REASON_CREDIT_EXHAUSTED = 2,
  // A ring of the client's port contains values that neither end can have written.
  CORELANE_REASON_CORRUPT = 3,
  // The ingress ring to the client's worker is full. Retry after the next poll, or drop the message.
  CORELANE_REASON_RING_FULL = 4,
  // The router is stopping or stopped, or the worker closed the ingress ring before it took the message.
  CORELANE_REASON_CLOSED = 5,
  // The router is draining: it finishes accepted messages and accepts no new ones.
  CORELANE_REASON_DRAINING = 6,
  // The client is not connected, or does not belong to the port.
  CORELANE_REASON_STALE_CLIENT = 7,
  // The client belongs to another port.
  CORELANE_REASON_WRONG_PORT = 8,
  // The message is larger than `max_message`, or too large for a ring.
  CORELANE_REASON_TOO_LARGE = 9,
  // The client has `max_in_flight` messages that have no outcome yet.
  CORELANE_REASON_IN_FLIGHT_LIMIT = 10,
  // The client sends faster than `client_rate` and `client_burst` allow.
  CORELANE_REASON_RATE_LIMITED = 11,
  // The router has `max_concurrent_messages` messages in flight.
  CORELANE_REASON_CONCURRENCY_LIMIT = 12,
  // The message is too large for a ring, and `payloads` or `payload_bytes` is reached.
  CORELANE_REASON_PAYLOADS_FULL = 13,
  // `max_calls` callers are already waiting for results on this port.
  CORELANE_REASON_TOO_MANY_CALLS = 14,
  // The message has no bytes.
  CORELANE_REASON_EMPTY = 15,
  // The message is not UTF-8.
  CORELANE_REASON_NOT_UTF8 = 16,
  // The message is not JSON, or bytes follow the JSON value.
  CORELANE_REASON_NOT_JSON = 17,
  // The message is JSON, but not an object.
  CORELANE_REASON_NOT_AN_OBJECT = 18,
  // The JSON is nested too deeply.
  CORELANE_REASON_TOO_DEEP = 19,
  // The message contains a field of the protocol twice.
  CORELANE_REASON_DUPLICATE_FIELD = 20,
  // A field of the protocol has the wrong JSON type.
  CORELANE_REASON_WRONG_TYPE = 21,
  // The message has no type.
  CORELANE_REASON_MISSING_TYPE = 22,
  // The protocol does not list the message type.
  CORELANE_REASON_UNKNOWN_TYPE = 23,
  // A field of the protocol, or the recipient's name, is longer than the limit.
  CORELANE_REASON_FIELD_TOO_LONG = 24,
  // The message contains a key that some readers could mistake for the sender key.
  CORELANE_REASON_AMBIGUOUS_SENDER = 25,
  // The message needs a recipient and names none.
  CORELANE_REASON_NO_RECIPIENT = 26,
  // The recipient is not connected, and messages of this type are not held.
  CORELANE_REASON_UNKNOWN_RECIPIENT = 27,
  // The recipient is not connected, and a hold limit is reached: of the recipient's name, of the sender, or
  // of the worker.
  CORELANE_REASON_HOLD_FULL = 28,
  // The recipient is closing.
  CORELANE_REASON_RECIPIENT_CLOSED = 29,
  // The egress ring to the recipient's port and the backlog behind it are full.
  CORELANE_REASON_EGRESS_FULL = 30,
  // The recipient's port has been released.
  CORELANE_REASON_PORT_GONE = 31,
  // The record is not one that a host may write.
  CORELANE_REASON_BAD_RECORD = 32,
  // The router stopped while it held the message.
  CORELANE_REASON_STOPPED = 33,
  // No room of that name has members.
  CORELANE_REASON_UNKNOWN_ROOM = 34,
  // The sender is not a member of the room.
  CORELANE_REASON_NOT_A_MEMBER = 35,
  // The handler returned a failure.
  CORELANE_REASON_HANDLER_FAILED = 36,
  // The handler panicked, or the value that the host gave away as the message did.
  CORELANE_REASON_HANDLER_PANICKED = 37,
  // The worker was still inside a handler when the stop time-out ended.
  CORELANE_REASON_STUCK = 38,
  // The host handled the message itself and recorded it as failed.
  CORELANE_REASON_REPORTED = 39,
  // The client set a field that only the server may set: the sender.
  CORELANE_REASON_FORGED_SENDER = 40,
  // The worker ended before it handled the message: the worker's thread panicked, or the host dropped the
  // worker.
  CORELANE_REASON_WORKER_LOST = 41,
  // The recipient is on another machine, and too many messages to that machine are not acknowledged yet.
  CORELANE_REASON_LINK_FULL = 42,
  // The recipient is on another machine, and the link to it is down.
  CORELANE_REASON_LINK_DOWN = 43,
  // The link to the recipient's machine was lost before that machine acknowledged the message.
  CORELANE_REASON_LINK_LOST = 44,
  // The recipient has moved to another machine, and earlier messages to its old one are not acknowledged yet.
  CORELANE_REASON_MOVED = 45,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum corelane_reason corelane_reason;
#else
typedef uint32_t corelane_reason;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// A text of the library, in UTF-8. Free it with `corelane_text_free`.
typedef struct corelane_text {
  // `sizeof(corelane_text)`, set by the caller: CORELANE_TEXT_INIT.
  uint32_t size;
  // Always 0.
  uint32_t reserved;
  // The text with a closing NUL. NULL if there is none.
  char *data;
  // Its length in bytes without the NUL.
  size_t length;
} corelane_text;

// The initial value of a corelane_text.
#define CORELANE_TEXT_INIT {sizeof(corelane_text), 0, NULL, 0}

// A router. Valid until `corelane_router_release`. The value 0 is never a valid handle. Copy it freely.
typedef struct corelane_router {
  // The library's own number.
  uint64_t value;
} corelane_router;

// The description of a failure, for people. Written only by calls that fail.
typedef struct corelane_error {
  // `sizeof(corelane_error)`, set by the caller: CORELANE_ERROR_INIT.
  uint32_t size;
  // The status that the call returned.
  int32_t code;
  // The operating system's error number, or 0.
  int32_t os_errno;
  // Always 0.
  uint32_t reserved;
  // What is wrong and what to change, in UTF-8 with a closing NUL.
  char message[CORELANE_MESSAGE_BYTES];
} corelane_error;

// The initial value of a corelane_error.
#define CORELANE_ERROR_INIT {sizeof(corelane_error), 0, 0, 0, {0}}

// A router to be. Valid until `corelane_builder_start`, `corelane_builder_build` or `corelane_builder_release`. The value 0
// is never a valid handle. Copy it freely.
typedef struct corelane_builder {
  // The library's own number.
  uint64_t value;
} corelane_builder;

// A message that a handler is handling. Valid only inside the handler, on its thread; elsewhere it gives CORELANE_STALE.
typedef struct corelane_request {
  // The library's own number.
  uint64_t value;
} corelane_request;

// Handles a message. Runs on a worker's thread, on several at the same time. It must not block, because the other clients of
// its worker wait until it returns, and it must not stop or release its router. Returns 0 if the message is handled, or
// the CORELANE_REASON_ number with which it failed; any other value counts as handler_failed.
typedef int32_t (*corelane_handler_fn)(void *context, struct corelane_request request);

// Frees what a callback's `context` refers to. Called exactly once, on any thread, when the library needs the context no
// more. It must not call the library.
typedef void (*corelane_free_fn)(void *context);

// A function that handles the messages of a type.
typedef struct corelane_handler {
  // `sizeof(corelane_handler)`, set by the caller: CORELANE_HANDLER_INIT.
  uint32_t size;
  // CORELANE_HANDLER_SHORT or 0.
  uint32_t flags;
  // The protocol.
  const char *protocol;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t protocol_length;
  // The message type. The protocol must list it.
  const char *message_type;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t message_type_length;
  // The function.
  corelane_handler_fn function;
  // Passed to the function.
  void *context;
  // Frees the context when the router, or the builder, is gone. May be NULL.
  corelane_free_fn free_context;
} corelane_handler;

// The initial value of a corelane_handler.
#define CORELANE_HANDLER_INIT {sizeof(corelane_handler), 0, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, 0, NULL, 0}

// A client. Valid from `corelane_port_connect` until its CORELANE_EVENT_CLOSED, or from
// `corelane_monitor_connect` until `corelane_monitor_disconnect`. The value 0 is never a valid handle. Copy it freely.
typedef struct corelane_client {
  // The library's own number.
  uint64_t value;
} corelane_client;

// The base route: handles a message that the router cannot handle (`route_fallback`, `enable_concurrent_routing`), on the
// thread of the caller. Returns 0 if it has succeeded. It must not route or submit with the same port.
typedef int32_t (*corelane_base_route_fn)(void *context,
                                          struct corelane_client client,
                                          const uint8_t *message,
                                          size_t length);

// A worker that the host drives, from `corelane_builder_build`. Valid until `corelane_worker_release`. The value 0 is never
// a valid handle. Copy it freely.
typedef struct corelane_worker {
  // The library's own number.
  uint64_t value;
} corelane_worker;

// What a message says. The views are valid until the handler returns; they have no closing NUL.
typedef struct corelane_request_view {
  // `sizeof(corelane_request_view)`, set by the caller: CORELANE_REQUEST_VIEW_INIT.
  uint32_t size;
  // Always 0.
  uint32_t reserved;
  // The sender.
  struct corelane_client client;
  // The sender's token.
  uint64_t token;
  // The correlation of the submitted message.
  uint64_t correlation;
  // How long the message has waited for its worker, in nanoseconds.
  uint64_t queue_wait_ns;
  // The message as it was submitted.
  const uint8_t *message;
  // Its length in bytes.
  size_t length;
  // The sender's name.
  const char *name;
  // Its length in bytes.
  size_t name_length;
  // The recipient that the message names; NULL if it names none.
  const char *recipient;
  // Its length in bytes.
  size_t recipient_length;
  // The sender's protocol.
  const char *protocol;
  // Its length in bytes.
  size_t protocol_length;
  // The message's type.
  const char *message_type;
  // Its length in bytes.
  size_t message_type_length;
  // The sender's application.
  const char *application;
  // Its length in bytes.
  size_t application_length;
} corelane_request_view;

// The initial value of a corelane_request_view.
#define CORELANE_REQUEST_VIEW_INIT {sizeof(corelane_request_view), 0, {0}, 0, 0, 0, NULL, 0, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED}

// A room. Valid as long as it has members. The value 0 is never a valid handle. Copy it freely.
typedef struct corelane_room {
  // The library's own number.
  uint64_t value;
} corelane_room;

// A message that the host handles: its type has the action `host`. The views are valid until the task is done, or the worker
// is released; they have no closing NUL.
typedef struct corelane_task {
  // `sizeof(corelane_task)`. The caller sets it in the first task of an array; a take sets it in the others.
  uint32_t size;
  // Always 0.
  uint32_t reserved;
  // The task's number, for `corelane_worker_done`.
  uint64_t id;
  // The sender.
  struct corelane_client client;
  // The correlation of the submitted message.
  uint64_t correlation;
  // How long the message has waited for its worker, in nanoseconds.
  uint64_t queue_wait_ns;
  // The message as it was submitted.
  const uint8_t *message;
  // Its length in bytes.
  size_t length;
  // The sender's protocol.
  const char *protocol;
  // Its length in bytes.
  size_t protocol_length;
  // The message's type.
  const char *message_type;
  // Its length in bytes.
  size_t message_type_length;
  // The sender's application.
  const char *application;
  // Its length in bytes.
  size_t application_length;
  // The sender's name with a closing NUL. Empty if the sender is gone.
  char name[CORELANE_NAME_BYTES];
} corelane_task;

// The initial value of a corelane_task.
#define CORELANE_TASK_INIT {sizeof(corelane_task), 0, 0, {0}, 0, 0, NULL, 0, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, {0}}

// The outcome of a task.
typedef struct corelane_done {
  // `sizeof(corelane_done)`, set by the caller: CORELANE_DONE_INIT.
  uint32_t size;
  // 0 if the message is handled, or the CORELANE_REASON_ number with which it failed.
  int32_t reason;
  // The task's number.
  uint64_t id;
  // How long the host has worked on it, in nanoseconds.
  uint64_t service_ns;
  // If not NULL: answers the message, called once during this call. It may send and relay as a handler does, and its result
  // replaces `reason`.
  corelane_handler_fn answer;
  // Passed to `answer`.
  void *context;
} corelane_done;

// The initial value of a corelane_done.
#define CORELANE_DONE_INIT {sizeof(corelane_done), 0, 0, 0, 0, NULL}

// Options of a port. NULL in place of the options means none of them.
typedef struct corelane_port_options {
  // `sizeof(corelane_port_options)`, set by the caller: CORELANE_PORT_OPTIONS_INIT.
  uint32_t size;
  // Any of CORELANE_PORT_LOCAL and CORELANE_PORT_SHARED.
  uint32_t flags;
} corelane_port_options;

// The initial value of a corelane_port_options.
#define CORELANE_PORT_OPTIONS_INIT {sizeof(corelane_port_options), 0}

// A port. Valid until `corelane_port_release`. The value 0 is never a valid handle. Copy it freely.
typedef struct corelane_port {
  // The library's own number.
  uint64_t value;
} corelane_port;

// A client to connect. Set the texts' pointers; their lengths are CORELANE_NUL_TERMINATED after
// CORELANE_CONNECT_OPTIONS_INIT.
typedef struct corelane_connect_options {
  // `sizeof(corelane_connect_options)`, set by the caller: CORELANE_CONNECT_OPTIONS_INIT.
  uint32_t size;
  // A CORELANE_CREDIT_ value.
  uint32_t credit_policy;
  // The client's name, 1 to 64 bytes. Other clients send to this name.
  const char *name;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t name_length;
  // The protocol that the client speaks, such as "peerjs" or "generic".
  const char *protocol;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t protocol_length;
  // The client's application, for the figures. May be NULL.
  const char *application;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t application_length;
  // The host's own value, such as a socket's index. Every event for the client carries it.
  uint64_t token;
} corelane_connect_options;

// The initial value of a corelane_connect_options.
#define CORELANE_CONNECT_OPTIONS_INIT {sizeof(corelane_connect_options), 0, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, 0}

// What a client has outstanding: deliveries that use its credit.
typedef struct corelane_outstanding {
  // `sizeof(corelane_outstanding)`, set by the caller: CORELANE_OUTSTANDING_INIT.
  uint32_t size;
  // Messages that use credit: in rings, in a backlog, or handed out and not acknowledged.
  uint32_t messages;
  // Bytes of these messages.
  uint32_t bytes;
  // Messages that were handed out and are not acknowledged.
  uint32_t handed_messages;
  // Bytes of these messages.
  uint32_t handed_bytes;
  // The most messages that were handed out and not acknowledged at one time, since the client connected.
  uint32_t handed_messages_maximum;
  // The most bytes that were handed out and not acknowledged at one time, since the client connected.
  uint32_t handed_bytes_maximum;
  // Always 0.
  uint32_t reserved;
} corelane_outstanding;

// The initial value of a corelane_outstanding.
#define CORELANE_OUTSTANDING_INIT {sizeof(corelane_outstanding), 0, 0, 0, 0, 0, 0, 0}

// A message type of a protocol, from `corelane_port_message_type`. The value 0 is no type.
typedef struct corelane_message_type {
  // The library's own number.
  uint32_t value;
} corelane_message_type;

// A message that a client has sent, with all its options.
typedef struct corelane_submission {
  // `sizeof(corelane_submission)`, set by the caller: CORELANE_SUBMISSION_INIT.
  uint32_t size;
  // Any of CORELANE_TELL_FAILED and CORELANE_TRY.
  uint32_t flags;
  // The client that has sent the message.
  struct corelane_client client;
  // The message. The bytes are copied.
  const uint8_t *message;
  // Its length in bytes.
  size_t length;
  // The host's value for the message. Every event that the message causes carries it.
  uint64_t correlation;
  // How long ago the host has read the message from its socket, in nanoseconds. Counts as queue wait.
  uint64_t waited_ns;
  // For a host that has read the message itself: the recipient. The router then does not read the message: it delivers the
  // bytes unchanged, without holding them and without a handler. 0 lets the router read the message by the rules of the
  // client's protocol.
  struct corelane_client recipient;
  // With `recipient` the type under which the message counts; 0 is the type "send" of the sender's protocol.
  struct corelane_message_type message_type;
  // Always 0.
  uint32_t reserved;
} corelane_submission;

// The initial value of a corelane_submission.
#define CORELANE_SUBMISSION_INIT {sizeof(corelane_submission), 0, {0}, NULL, 0, 0, 0, {0}, {0}, 0}

// A message that the host sends itself, with all its options.
typedef struct corelane_send {
  // `sizeof(corelane_send)`, set by the caller: CORELANE_SEND_INIT.
  uint32_t size;
  // CORELANE_TRY or 0.
  uint32_t flags;
  // The recipient. 0 if the message goes to a room.
  struct corelane_client client;
  // The room whose members get the message. 0 if it goes to a client.
  struct corelane_room room;
  // The message. The bytes are copied, and delivered unchanged.
  const uint8_t *message;
  // Its length in bytes.
  size_t length;
  // The host's value for the message. Its deliveries, and CORELANE_EVENT_SEND_FAILED, carry it.
  uint64_t correlation;
  // The type under which the message counts. 0 is the type "send" of the recipient's protocol.
  struct corelane_message_type message_type;
  // Always 0.
  uint32_t reserved;
} corelane_send;

// The initial value of a corelane_send.
#define CORELANE_SEND_INIT {sizeof(corelane_send), 0, {0}, {0}, NULL, 0, 0, {0}, 0}

// What has become of a routed message.
typedef struct corelane_routed {
  // `sizeof(corelane_routed)`, set by the caller: CORELANE_ROUTED_INIT.
  uint32_t size;
  // A CORELANE_ROUTED_ value.
  uint32_t outcome;
  // With CORELANE_ROUTED_FAILED a CORELANE_REASON_ value, otherwise 0.
  uint32_t reason;
  // With CORELANE_ROUTED_TAKEN_OVER whether the base route has succeeded: 1 or 0.
  uint32_t success;
} corelane_routed;

// The initial value of a corelane_routed.
#define CORELANE_ROUTED_INIT {sizeof(corelane_routed), 0, 0, 0}

// One event that a poll hands out.
typedef struct corelane_event {
  // `sizeof(corelane_event)`. The caller sets it in the first event of an array; a poll sets it in the others.
  uint32_t size;
  // A CORELANE_EVENT_ value. Ignore events of a kind that you do not know.
  uint32_t kind;
  // The client that the event is for.
  struct corelane_client client;
  // That client's token, as passed to `corelane_port_connect` or `corelane_port_rebind`.
  uint64_t token;
  // The message's sender, or 0. In CORELANE_EVENT_UNDELIVERED the recipient.
  struct corelane_client sender;
  // The host's value from the submitted message, or 0.
  uint64_t correlation;
  // A view, valid until the next `corelane_port_poll` or `corelane_port_release_views` with this port, or until the port is
  // released, whatever else is called in between. NULL if `length` is 0.
  const uint8_t *bytes;
  // Length of the view in bytes.
  size_t length;
  // Why, a CORELANE_REASON_ value, in CORELANE_EVENT_CLOSE, CORELANE_EVENT_UNDELIVERED and CORELANE_EVENT_SEND_FAILED,
  // otherwise 0. Treat an unknown value as an unspecified reason.
  uint32_t reason;
  // Always 0.
  uint32_t reserved;
  // In CORELANE_EVENT_SEND_FAILED the room that the message went to, otherwise 0.
  struct corelane_room room;
} corelane_event;

// The initial value of a corelane_event.
#define CORELANE_EVENT_INIT {sizeof(corelane_event), 0, {0}, 0, {0}, 0, NULL, 0, 0, 0, {0}}

// The part of a client's deliveries that the host has written.
typedef struct corelane_written {
  // `sizeof(corelane_written)`, set by the caller in the first one of an array: CORELANE_WRITTEN_INIT.
  uint32_t size;
  // Number of messages.
  uint32_t messages;
  // The client.
  struct corelane_client client;
  // Number of bytes.
  uint32_t bytes;
  // Always 0.
  uint32_t reserved;
} corelane_written;

// The initial value of a corelane_written.
#define CORELANE_WRITTEN_INIT {sizeof(corelane_written), 0, {0}, 0, 0}

// A monitor. Valid until `corelane_monitor_release`. The value 0 is never a valid handle. Copy it freely.
typedef struct corelane_monitor {
  // The library's own number.
  uint64_t value;
} corelane_monitor;

// A distribution of times in nanoseconds. Percentiles are upper bounds, at most 3.13 % too high. CORELANE_UNKNOWN if
// nothing was recorded. This struct does not grow.
typedef struct corelane_latency {
  // Number of values.
  uint64_t count;
  // Mean, rounded down.
  uint64_t average;
  // Smallest value.
  uint64_t minimum;
  // Largest value.
  uint64_t maximum;
  // 50th percentile.
  uint64_t p50;
  // 90th percentile.
  uint64_t p90;
  // 95th percentile.
  uint64_t p95;
  // 99th percentile.
  uint64_t p99;
  // 99.9th percentile.
  uint64_t p999;
} corelane_latency;

// A series over a sliding window. This struct does not grow.
typedef struct corelane_window {
  // Start of the figures, in milliseconds since 1970.
  uint64_t start_ms;
  // End of the figures: the last collection.
  uint64_t end_ms;
  // The times.
  struct corelane_latency latency;
  // Messages that failed or expired.
  uint64_t errors;
  // Messages above the threshold for slow messages.
  uint64_t slow;
  // Payload bytes.
  uint64_t bytes;
  // Sum of the times, in nanoseconds.
  uint64_t total_ns;
  // Values above 68.7 s, whose percentiles are the maximum.
  uint64_t overflows;
  // Messages per second.
  double per_second;
  // Errors ÷ messages, at most 1.
  double error_rate;
  // Slow ÷ messages, at most 1.
  double slow_rate;
} corelane_window;

// All figures of a monitor at one moment, apart from its lists. They count from `since_ms`: the start, or the last reset.
// Those of routing, alerts, the system and the monitor itself count from `started_ms`. Times of day are milliseconds since
// 1970.
typedef struct corelane_stats {
  // `sizeof(corelane_stats)`, set by the caller: CORELANE_STATS_INIT.
  uint32_t size;
  // 1 if the monitor has a router, otherwise 0.
  uint32_t has_router;
  // The snapshot's number, for the lists. Never 0.
  uint64_t snapshot;
  // When the figures were read.
  uint64_t time_ms;
  // Time since the monitor was created, in nanoseconds.
  uint64_t uptime_ns;
  // When the figures began.
  uint64_t since_ms;
  // When the figures that are never reset began.
  uint64_t started_ms;
  // Number of resets so far.
  uint64_t resets;
  // Messages that have ended: `succeeded` + `failed` + `expired`.
  uint64_t messages;
  // Messages that succeeded.
  uint64_t succeeded;
  // Messages that failed.
  uint64_t failed;
  // Messages that waited too long.
  uint64_t expired;
  // Messages that took longer than `slow_threshold_ns`.
  uint64_t slow;
  // Payload bytes received.
  uint64_t bytes_in;
  // Payload bytes written to clients.
  uint64_t bytes_out;
  // `succeeded` ÷ `messages`.
  double success_rate;
  // Failed messages by CORELANE_REASON_ value.
  uint64_t failures[CORELANE_REASONS];
  // Messages by handling time: below 1 ms, 1 to 5, 5 to 10, 10 to 50, 50 to 100, 100 to 500 ms, 500 ms to 1 s, 1 to 5 s, 5 s
  // and above. Exact.
  uint64_t ranges[CORELANE_RANGES];
  // Handling times.
  struct corelane_latency service;
  // Times that messages waited in a queue.
  struct corelane_latency queue_wait;
  // Times that held messages were held. Only with a router.
  struct corelane_latency held;
  // Times from the poll that hands a delivery out to its acknowledgement. Only with a router.
  struct corelane_latency write;
  // Handling times of the last minute.
  struct corelane_window minute;
  // Handling times of the last hour.
  struct corelane_window hour;
  // Handling times of the last `stats_retention_hours`, 24 by default.
  struct corelane_window day;
  // Queue waits of the last minute.
  struct corelane_window queue_wait_minute;
  // Queue waits of the last hour.
  struct corelane_window queue_wait_hour;
  // Queue waits of the last `stats_retention_hours`.
  struct corelane_window queue_wait_day;
  // Number of clients that caused the last minute's errors.
  uint64_t error_clients_minute;
  // A message that takes longer than this is slow.
  uint64_t slow_threshold_ns;
  // Slow messages that are not in the list.
  uint64_t slow_unlisted;
  // Lookups of types without figures of their own.
  uint64_t folded_types;
  // Lookups of protocols without figures of their own.
  uint64_t folded_protocols;
  // Lookups of applications without figures of their own.
  uint64_t folded_applications;
  // Recorded messages whose client has no figures.
  uint64_t folded_clients;
  // Series without windows.
  uint64_t folded_windows;
  // Recorded messages with an impossible time, which are counted nowhere else.
  uint64_t impossible;
  // Connects.
  uint64_t connects;
  // Connections that are open at present.
  uint64_t connections;
  // The most connections at once.
  uint64_t connections_peak;
  // Mean duration of the connections that have ended, in milliseconds.
  uint64_t connection_average_ms;
  // Connects in the last minute.
  uint64_t connects_minute;
  // Disconnects in the last minute.
  uint64_t disconnects_minute;
  // Connects under the name of a connected client, and attempts to reconnect that the host recorded.
  uint64_t reconnects;
  // Connected clients that are healthy.
  uint64_t healthy;
  // Connected clients that are silent for longer than `unhealthy_after_ms` or marked as unhealthy.
  uint64_t unhealthy;
  // Clients that have figures.
  uint64_t clients_tracked;
  // Memory of the process that is in RAM, in bytes. This and the following figures are of the last look at the system.
  uint64_t resident_bytes;
  // Addresses that the process has mapped.
  uint64_t virtual_bytes;
  // Memory allocated by `malloc` and not freed.
  uint64_t heap_bytes;
  // RAM of the machine.
  uint64_t machine_bytes;
  // RAM of the machine that is available without swapping.
  uint64_t machine_available_bytes;
  // The memory limit of the process's control groups.
  uint64_t memory_limit_bytes;
  // `resident_bytes` ÷ `high_memory_threshold_bytes`.
  double memory_share;
  // Processor time of the process so far, in nanoseconds.
  uint64_t cpu_ns;
  // Share of the available processor time that the process has used since the look before, from 0 to 1.
  double cpu_share;
  // Share of all cores' time that all processes have used, from 0 to 1.
  double machine_cpu_share;
  // Cores that the process may use; may be a fraction.
  double cores_allowed;
  // Cores of the machine.
  uint64_t cores;
  // The machine's load average over a minute.
  double load_one;
  // Over five minutes.
  double load_five;
  // Over fifteen minutes.
  double load_fifteen;
  // Threads of the process.
  uint64_t threads;
  // Open descriptors of the process.
  uint64_t descriptors;
  // The most descriptors that the process may have open.
  uint64_t descriptor_limit;
  // Time since the process was started, in seconds.
  uint64_t process_uptime_s;
  // Messages that wait in queues.
  uint64_t queue_messages;
  // Connections ÷ allowed connections, for the limit that refuses first.
  double connection_pool_use;
  // Share of the workers' time that they spent on messages, from 0 to 1.
  double worker_pool_use;
  // Age of the figures of `corelane_monitor_push_runtime`, in milliseconds.
  uint64_t runtime_age_ms;
  // Goroutines, as pushed.
  uint64_t goroutines;
  // Completed garbage collections, as pushed.
  uint64_t gc_count;
  // Heap of the host's runtime, as pushed.
  uint64_t runtime_heap_bytes;
  // Messages submitted to the router's ports. This and the following figures are of the router.
  uint64_t submitted;
  // Submitted messages that were refused.
  uint64_t refused;
  // Messages accepted and without an outcome, including held messages.
  uint64_t in_flight;
  // Messages held for a name.
  uint64_t held_messages;
  // Deliveries emitted, one per recipient.
  uint64_t deliveries;
  // Deliveries handed out by polls.
  uint64_t consumed;
  // Deliveries acknowledged as written.
  uint64_t acknowledged;
  // Deliveries given up.
  uint64_t undeliverable;
  // Deliveries in rings and backlogs.
  uint64_t queued;
  // Messages with an outcome, per second, between the last two looks.
  double messages_per_second;
  // Messages that failed or expired, per second, between the last two looks.
  double failures_per_second;
  // Workers.
  uint64_t workers;
  // Workers that have spent more than `processing_timeout_ms` on one message.
  uint64_t workers_stalled;
  // Workers that ended without a stop.
  uint64_t workers_lost;
  // Alerts that are raised.
  uint64_t alerts;
  // Alerts that are pending.
  uint64_t alerts_pending;
  // Alerts raised so far.
  uint64_t alerts_raised;
  // Alerts resolved so far.
  uint64_t alerts_resolved;
  // Notifications that a slow listener missed.
  uint64_t notifications_dropped;
  // Periodic reports made.
  uint64_t reports;
  // Reports that a listener missed.
  uint64_t reports_dropped;
  // Reports that could not be written to their file.
  uint64_t reports_failed;
  // Processor time of the monitor so far, in nanoseconds.
  uint64_t monitor_cpu_ns;
  // Memory that the monitor holds, in bytes.
  uint64_t monitor_bytes;
  // Collections so far.
  uint64_t collections;
  // Duration of the last collection, in nanoseconds.
  uint64_t collection_ns;
  // Duration of the longest collection, in nanoseconds.
  uint64_t collection_maximum_ns;
} corelane_stats;

// The initial value of a corelane_stats.
#define CORELANE_STATS_INIT {sizeof(corelane_stats), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, {0}, {0}, {0, 0, 0, 0, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 0, 0, 0, 0, 0}, {0, 0, {0, 0, 0, 0, 0, 0, 0, 0, 0}, 0, 0, 0, 0, 0, 0, 0, 0}, {0, 0, {0, 0, 0, 0, 0, 0, 0, 0, 0}, 0, 0, 0, 0, 0, 0, 0, 0}, {0, 0, {0, 0, 0, 0, 0, 0, 0, 0, 0}, 0, 0, 0, 0, 0, 0, 0, 0}, {0, 0, {0, 0, 0, 0, 0, 0, 0, 0, 0}, 0, 0, 0, 0, 0, 0, 0, 0}, {0, 0, {0, 0, 0, 0, 0, 0, 0, 0, 0}, 0, 0, 0, 0, 0, 0, 0, 0}, {0, 0, {0, 0, 0, 0, 0, 0, 0, 0, 0}, 0, 0, 0, 0, 0, 0, 0, 0}, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

// A protocol, a type and an application, looked up by `corelane_monitor_series`. Valid as long as its monitor. The value 0
// is the series of everything without names: `other`. Copy it freely.
typedef struct corelane_series {
  // The library's own number.
  uint64_t value;
} corelane_series;

// One message that the host has handled, by numbers. All zeros: a message without names that succeeded.
typedef struct corelane_sample {
  // `sizeof(corelane_sample)`, set by the caller: CORELANE_SAMPLE_INIT.
  uint32_t size;
  // 0 if the message succeeded, otherwise a CORELANE_REASON_ value: CORELANE_REASON_EXPIRED if it waited too long,
  // CORELANE_REASON_REPORTED if no other reason fits.
  uint32_t reason;
  // Protocol, type and application, from `corelane_monitor_series` of the same monitor; 0 for `other`.
  struct corelane_series series;
  // The sender, from `corelane_monitor_connect` or `corelane_monitor_client`; 0 for none. A client that has disconnected
  // is counted in the figure `folded_clients`, and the message otherwise as usual.
  struct corelane_client client;
  // Size in bytes.
  uint64_t bytes;
  // Nanoseconds from the message's arrival to the start of its handling.
  uint64_t queue_wait_ns;
  // Nanoseconds that handling took. A message with either time at 2^62 or more is counted as `impossible` and nowhere
  // else: such a time is a negative difference.
  uint64_t service_ns;
} corelane_sample;

// The initial value of a corelane_sample.
#define CORELANE_SAMPLE_INIT {sizeof(corelane_sample), 0, {0}, {0}, 0, 0, 0}

// One message that the host has handled, by names.
typedef struct corelane_message {
  // `sizeof(corelane_message)`, set by the caller: CORELANE_MESSAGE_INIT.
  uint32_t size;
  // As in corelane_sample.
  uint32_t reason;
  // Name of the sender, which need not be connected. Empty for none.
  const char *client;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t client_length;
  // Type of the message. Empty counts as `other`.
  const char *message_type;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t message_type_length;
  // Protocol. May be empty.
  const char *protocol;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t protocol_length;
  // Application of the client. May be empty.
  const char *application;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t application_length;
  // Size in bytes.
  uint64_t bytes;
  // As in corelane_sample.
  uint64_t queue_wait_ns;
  // As in corelane_sample.
  uint64_t service_ns;
} corelane_message;

// The initial value of a corelane_message.
#define CORELANE_MESSAGE_INIT {sizeof(corelane_message), 0, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, 0, 0, 0}

// One client. The figures count from its connect or from the last reset, whichever is later.
typedef struct corelane_client_stats {
  // `sizeof(corelane_client_stats)`, set by the caller in the first one of an array: CORELANE_CLIENT_STATS_INIT.
  uint32_t size;
  // Where the client is connected: a CORELANE_CLIENT_ value.
  uint32_t kind;
  // 1 if it is connected; 0 if it only had messages recorded.
  uint32_t connected;
  // 1 unless it has been silent for longer than `unhealthy_after_ms` or is marked as unhealthy.
  uint32_t healthy;
  // The client.
  struct corelane_client client;
  // Its name.
  char name[CORELANE_NAME_BYTES];
  // Its application.
  char application[CORELANE_NAME_BYTES];
  // Its protocol. Empty for a client that the host connected.
  char protocol[CORELANE_NAME_BYTES];
  // Messages that it sent.
  uint64_t messages;
  // Messages that failed or expired.
  uint64_t errors;
  // Payload bytes that it sent.
  uint64_t bytes_in;
  // Payload bytes written to it.
  uint64_t bytes_out;
  // Mean time of its messages: queue wait, handling and hold together.
  uint64_t average_ns;
  // The longest of these times.
  uint64_t maximum_ns;
  // When its last message was handled, or when it connected, in milliseconds since 1970.
  uint64_t last_ms;
  // Time since it connected, in milliseconds.
  uint64_t connected_ms;
  // Time since its last activity, in milliseconds.
  uint64_t idle_ms;
  // Messages for it that are not acknowledged as written.
  uint64_t outstanding_messages;
  // Bytes of these messages.
  uint64_t outstanding_bytes;
  // The most messages that were handed out and not acknowledged at once.
  uint64_t outstanding_peak;
  // Deliveries to it that were given up.
  uint64_t undelivered;
} corelane_client_stats;

// The initial value of a corelane_client_stats.
#define CORELANE_CLIENT_STATS_INIT {sizeof(corelane_client_stats), 0, 0, 0, {0}, {0}, {0}, {0}, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

// Figures of a garbage-collected runtime, such as Go's, which only the host knows.
typedef struct corelane_runtime {
  // `sizeof(corelane_runtime)`, set by the caller: CORELANE_RUNTIME_INIT.
  uint32_t size;
  // Always 0.
  uint32_t reserved;
  // Number of goroutines.
  uint64_t goroutines;
  // Number of completed garbage collections.
  uint64_t gc_count;
  // Duration of the last pause.
  uint64_t gc_last_pause_ns;
  // Mean duration of a pause.
  uint64_t gc_average_pause_ns;
  // Sum of all pauses so far.
  uint64_t gc_total_pause_ns;
  // Share of the processor time since the start that garbage collection has taken, from 0 to 1.
  double gc_cpu_fraction;
  // Heap memory in use.
  uint64_t heap_bytes;
  // Stack memory.
  uint64_t stack_bytes;
} corelane_runtime;

// The initial value of a corelane_runtime.
#define CORELANE_RUNTIME_INIT {sizeof(corelane_runtime), 0, 0, 0, 0, 0, 0, 0, 0, 0}

// One message type, protocol or application. The first one of a list has the messages without figures of their own.
typedef struct corelane_series_stats {
  // `sizeof(corelane_series_stats)`, set by the caller in the first one of an array: CORELANE_SERIES_STATS_INIT.
  uint32_t size;
  // 1 if `minute`, `hour` and `day` are kept, otherwise 0: `detailed_stats`, `max_windowed_series`.
  uint32_t has_windows;
  // The protocol of a type. Empty in other lists.
  char protocol[CORELANE_NAME_BYTES];
  // Name of the type, protocol or application.
  char name[CORELANE_NAME_BYTES];
  // Messages taken or recorded. Types only.
  uint64_t received;
  // Messages that have ended.
  uint64_t messages;
  // Messages that succeeded.
  uint64_t succeeded;
  // Messages that failed.
  uint64_t failed;
  // Messages that waited too long.
  uint64_t expired;
  // Slow messages.
  uint64_t slow;
  // Payload bytes.
  uint64_t bytes;
  // Sum of all handling times, in nanoseconds.
  uint64_t total_ns;
  // When the last message was handled, in milliseconds since 1970.
  uint64_t last_ms;
  // Handling times.
  struct corelane_latency service;
  // Queue waits. Types only.
  struct corelane_latency queue_wait;
  // Handling times of the last minute.
  struct corelane_window minute;
  // Handling times of the last hour.
  struct corelane_window hour;
  // Handling times of the last `stats_retention_hours`.
  struct corelane_window day;
} corelane_series_stats;

// The initial value of a corelane_series_stats.
#define CORELANE_SERIES_STATS_INIT {sizeof(corelane_series_stats), 0, {0}, {0}, 0, 0, 0, 0, 0, 0, 0, 0, 0, {0, 0, 0, 0, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 0, 0, 0, 0, 0}, {0, 0, {0, 0, 0, 0, 0, 0, 0, 0, 0}, 0, 0, 0, 0, 0, 0, 0, 0}, {0, 0, {0, 0, 0, 0, 0, 0, 0, 0, 0}, 0, 0, 0, 0, 0, 0, 0, 0}, {0, 0, {0, 0, 0, 0, 0, 0, 0, 0, 0}, 0, 0, 0, 0, 0, 0, 0, 0}}

// Slow messages of one type, application and client.
typedef struct corelane_slow_message {
  // `sizeof(corelane_slow_message)`, set by the caller in the first one of an array: CORELANE_SLOW_MESSAGE_INIT.
  uint32_t size;
  // 1 if the last message succeeded, otherwise 0.
  uint32_t succeeded;
  // Number of messages.
  uint64_t count;
  // When the first message ended, in milliseconds since 1970.
  uint64_t first_ms;
  // When the last message ended.
  uint64_t last_ms;
  // The client that sent the messages. Empty for messages without a client.
  char client[CORELANE_NAME_BYTES];
  // Protocol of the messages.
  char protocol[CORELANE_NAME_BYTES];
  // Type of the messages.
  char message_type[CORELANE_NAME_BYTES];
  // Application of the messages.
  char application[CORELANE_NAME_BYTES];
  // The worker that handled the last message; CORELANE_UNKNOWN if the host handled it.
  uint64_t worker;
  // Payload bytes of the last message.
  uint64_t bytes;
  // Queue wait of the last message.
  uint64_t queue_wait_ns;
  // Handling time of the last message.
  uint64_t service_ns;
  // Time that the last message was held.
  uint64_t held_ns;
  // The longest time of any of the messages: queue wait, handling and hold together.
  uint64_t slowest_ns;
} corelane_slow_message;

// The initial value of a corelane_slow_message.
#define CORELANE_SLOW_MESSAGE_INIT {sizeof(corelane_slow_message), 0, 0, 0, 0, {0}, {0}, {0}, {0}, 0, 0, 0, 0, 0, 0}

// One application's connections.
typedef struct corelane_application_stats {
  // `sizeof(corelane_application_stats)`, set by the caller in the first one of an array:
  // CORELANE_APPLICATION_STATS_INIT.
  uint32_t size;
  // Always 0.
  uint32_t reserved;
  // Its name.
  char name[CORELANE_NAME_BYTES];
  // Number of connects.
  uint64_t connects;
  // Connections that are open at present.
  uint64_t connections;
  // When the last connect, disconnect or message happened, in milliseconds since 1970.
  uint64_t last_ms;
} corelane_application_stats;

// The initial value of a corelane_application_stats.
#define CORELANE_APPLICATION_STATS_INIT {sizeof(corelane_application_stats), 0, {0}, 0, 0, 0}

// An alert rule. Set name, metric and trigger; all zeros elsewhere are the defaults.
typedef struct corelane_rule {
  // `sizeof(corelane_rule)`, set by the caller: CORELANE_RULE_INIT.
  uint32_t size;
  // Any of CORELANE_RULE_.
  uint32_t flags;
  // A CORELANE_SEVERITY_ value.
  uint32_t severity;
  // Always 0.
  uint32_t reserved;
  // The rule's name, which is the type of its alerts: 1 to 64 of a to z, 0 to 9 and _.
  const char *name;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t name_length;
  // The path of a number in the JSON report, such as "messages.windows.last_minute.p99" (docs/guide.md). A * stands for
  // every element of a list; each element has its own alert.
  const char *metric;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t metric_length;
  // The metric's unit. Values in "bytes", "nanoseconds" and "share" are written in a readable form.
  const char *unit;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t unit_length;
  // The subject of the alerts' sentence, such as "Resident memory of the process". Empty: the metric.
  const char *text;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t text_length;
  // The value beyond which an alert is raised.
  double trigger;
  // The value past which an alert is resolved, if CORELANE_RULE_CLEAR is set.
  double clear;
  // How long the metric must be beyond the trigger before an alert is raised: at least three looks.
  uint64_t pending_ns;
  // How long the metric must be past the clear value before an alert is resolved.
  uint64_t keep_ns;
  // Readings that rest on fewer samples raise no alert.
  uint64_t min_samples;
  // Readings whose errors come from fewer clients raise no alert.
  uint64_t min_clients;
  // The interval at which the notification of a firing alert repeats, 0 for never, if CORELANE_RULE_REPEAT is set.
  uint64_t repeat_ns;
  // How long after a resolution no new alert is notified, if CORELANE_RULE_COOLDOWN is set.
  uint64_t cooldown_ns;
} corelane_rule;

// The initial value of a corelane_rule.
#define CORELANE_RULE_INIT {sizeof(corelane_rule), 0, 0, 0, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, 0, 0, 0, 0, 0, 0, 0, 0}

// An alert: the state of one rule over one label set. Times are milliseconds since 1970.
typedef struct corelane_alert {
  // `sizeof(corelane_alert)`, set by the caller in the first one of an array: CORELANE_ALERT_INIT.
  uint32_t size;
  // A CORELANE_SEVERITY_ value.
  uint32_t severity;
  // A CORELANE_ALERT_ value.
  uint32_t state;
  // The last notification that listeners received; in an alert given to a listener, the one that it carries. A
  // CORELANE_NOTIFICATION_ value.
  uint32_t notification;
  // The rule's name.
  char name[CORELANE_NAME_BYTES];
  // The name of the list element that the alert is about. Empty if the metric has a single value. Rule and label set
  // together identify an alert.
  char label_set[CORELANE_LABEL_SET_BYTES];
  // The path of the rule's metric.
  char metric[CORELANE_METRIC_BYTES];
  // A sentence with the value, the threshold and the label set.
  char sentence[CORELANE_SENTENCE_BYTES];
  // The trigger that the metric passed.
  double threshold;
  // The last value seen.
  double value;
  // When the metric passed the trigger.
  uint64_t since_ms;
  // When the alert was raised, or CORELANE_UNKNOWN.
  uint64_t raised_ms;
  // When the alert was resolved, or CORELANE_UNKNOWN.
  uint64_t resolved_ms;
} corelane_alert;

// The initial value of a corelane_alert.
#define CORELANE_ALERT_INIT {sizeof(corelane_alert), 0, 0, 0, {0}, {0}, {0}, {0}, 0, 0, 0, 0, 0}

// One rule and its figures.
typedef struct corelane_rule_stats {
  // `sizeof(corelane_rule_stats)`, set by the caller in the first one of an array: CORELANE_RULE_STATS_INIT.
  uint32_t size;
  // A CORELANE_SEVERITY_ value.
  uint32_t severity;
  // The rule's name.
  char name[CORELANE_NAME_BYTES];
  // The path of its metric.
  char metric[CORELANE_METRIC_BYTES];
  // Why the metric has no value, such as "there is no router". Empty if it can have one.
  char unavailable[CORELANE_NAME_BYTES];
  // The value beyond which an alert is raised.
  double trigger;
  // The value past which an alert is resolved.
  double clear;
  // Label sets that are pending.
  uint64_t pending;
  // Label sets whose alert is raised.
  uint64_t firing;
  // Alerts raised since the rule was added.
  uint64_t raised;
  // Alerts resolved since the rule was added.
  uint64_t resolved;
  // Readings beyond the trigger that could not get an alert, because the rule had no place left.
  uint64_t folded;
} corelane_rule_stats;

// The initial value of a corelane_rule_stats.
#define CORELANE_RULE_STATS_INIT {sizeof(corelane_rule_stats), 0, {0}, {0}, {0}, 0, 0, 0, 0, 0, 0, 0}

// Gets an alert, which is valid during the call. Runs on a thread of its own.
typedef void (*corelane_alert_fn)(void *context, const struct corelane_alert *alert);

// A callback of a monitor. Valid until it is removed or the monitor is released. The value 0 is never a valid handle. Copy
// it freely.
typedef struct corelane_callback {
  // The library's own number.
  uint64_t value;
} corelane_callback;

// Gets a report, valid during the call, with a closing NUL after `length` bytes. Runs on a thread of its own.
typedef void (*corelane_report_fn)(void *context, const char *report, size_t length);

// A queue of alerts. Valid until `corelane_alert_poll_release`. The value 0 is never a valid handle. Copy it freely.
typedef struct corelane_alert_poll {
  // The library's own number.
  uint64_t value;
} corelane_alert_poll;

// The answer of a page of the host. The function fills in what it needs; the rest is zero.
typedef struct corelane_page {
  // The size of this struct, set by the library.
  uint32_t size;
  // Always 0.
  uint32_t reserved;
  // JSON, or why the query is refused. The library copies it when the function has returned.
  const char *text;
  // Its length; CORELANE_NUL_TERMINATED unless the function sets it.
  size_t text_length;
  // Frees the text after that, called with `text`. NULL: the text stays the host's.
  corelane_free_fn free_text;
} corelane_page;

// The initial value of a corelane_page.
#define CORELANE_PAGE_INIT {sizeof(corelane_page), 0, NULL, CORELANE_NUL_TERMINATED, 0}

// Writes a page of the host. `query` is what follows the question mark of the address, as it was sent: it ends with a NUL, and
// its length does not include it. Returns 0 for JSON; any other value is a refusal (400), whose reason is the text. Runs on the
// door's thread, which serves nobody meanwhile. It must not release its door.
typedef int32_t (*corelane_page_fn)(void *context,
                                    const char *query,
                                    size_t query_length,
                                    struct corelane_page *page);

// A page of the host. /api/info lists its address.
typedef struct corelane_door_page {
  // `sizeof(corelane_door_page)`, set by the caller: CORELANE_DOOR_PAGE_INIT.
  uint32_t size;
  // Always 0.
  uint32_t reserved;
  // The address: /api/ and letters, digits, and / _ - or a period.
  const char *path;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t path_length;
  // Writes the page.
  corelane_page_fn function;
  // Passed to the function. It must be valid until `corelane_door_release` has returned.
  void *context;
} corelane_door_page;

// The initial value of a corelane_door_page.
#define CORELANE_DOOR_PAGE_INIT {sizeof(corelane_door_page), 0, NULL, CORELANE_NUL_TERMINATED, 0, NULL}

// What a door serves, where, and to whom. Everything but the size may be 0 or NULL.
typedef struct corelane_door_options {
  // `sizeof(corelane_door_options)`, set by the caller: CORELANE_DOOR_OPTIONS_INIT.
  uint32_t size;
  // CORELANE_DOOR_ flags.
  uint32_t flags;
  // The address, as "HOST:PORT". Port 0 takes a free one. NULL: "127.0.0.1:9090".
  const char *address;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t address_length;
  // Names that a request's Host header may have besides IP addresses, localhost and the host of `address`: separated by
  // commas.
  const char *names;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t names_length;
  // The token that a request needs, as `Authorization: Bearer TOKEN`: 16 to 256 visible ASCII characters. NULL: everybody
  // may read, and nothing can be changed.
  const char *token;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t token_length;
  // PEM file of the private key, for HTTPS. It and the next file are read again when they change. NULL: HTTP.
  const char *key_file;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t key_file_length;
  // PEM file of the certificate chain.
  const char *chain_file;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t chain_file_length;
  // Why /readyz answers 503 at first; `corelane_door_set_ready` changes it. NULL: it answers 200.
  const char *not_ready;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t not_ready_length;
  // The most connections at once; 0: 128.
  uint32_t connections;
  // The most of them that may be streams of events; 0: 16.
  uint32_t streams;
  // The time limit for a TLS handshake, for a request, for reading an answer, and between two requests; 0: 10 seconds.
  uint64_t patience_ns;
  // Pages of the host. The size in the first one is the distance between two.
  const struct corelane_door_page *pages;
  // How many.
  size_t page_count;
} corelane_door_options;

// The initial value of a corelane_door_options.
#define CORELANE_DOOR_OPTIONS_INIT {sizeof(corelane_door_options), 0, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, 0, 0, 0, NULL, 0}

// The HTTP door of a monitor. Valid until `corelane_door_release`. The value 0 is never a valid handle. Copy it freely.
typedef struct corelane_door {
  // The library's own number.
  uint64_t value;
} corelane_door;

// A request that a host has received itself.
typedef struct corelane_http_request {
  // `sizeof(corelane_http_request)`, set by the caller: CORELANE_HTTP_REQUEST_INIT.
  uint32_t size;
  // CORELANE_HTTP_ flags.
  uint32_t flags;
  // The method. NULL: "GET".
  const char *method;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t method_length;
  // The path below the place where the host serves the monitor, with the query: "/api/history?name=messages".
  const char *target;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t target_length;
  // The header Accept, or NULL.
  const char *accept;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t accept_length;
  // The header Last-Event-ID, or NULL.
  const char *last_event;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t last_event_length;
  // The body of a POST.
  const uint8_t *body;
  // Its length.
  size_t body_length;
} corelane_http_request;

// The initial value of a corelane_http_request.
#define CORELANE_HTTP_REQUEST_INIT {sizeof(corelane_http_request), 0, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, 0}

// What to answer, besides the body.
typedef struct corelane_http_reply {
  // `sizeof(corelane_http_reply)`, set by the caller: CORELANE_HTTP_REPLY_INIT.
  uint32_t size;
  // The status: 200.
  uint32_t status;
  // For /api/events: the id of the event that the body is. 0 for any other answer.
  uint64_t event;
  // The header Content-Type, with a closing NUL.
  char content_type[96];
  // The header Content-Security-Policy, with a closing NUL; empty for none.
  char policy[256];
} corelane_http_reply;

// The initial value of a corelane_http_reply.
#define CORELANE_HTTP_REPLY_INIT {sizeof(corelane_http_reply), 0, 0, {0}, {0}}

// Where documents are sent. Everything but the size and `url` may be 0 or NULL.
typedef struct corelane_elasticsearch_options {
  // `sizeof(corelane_elasticsearch_options)`, set by the caller: CORELANE_ELASTICSEARCH_OPTIONS_INIT.
  uint32_t size;
  // CORELANE_ELASTICSEARCH_ flags.
  uint32_t flags;
  // The server, such as `https://search.example.org:9200`. A path in it is kept.
  const char *url;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t url_length;
  // The user of HTTP basic authentication. NULL: none.
  const char *user;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t user_length;
  // The user's password.
  const char *password;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t password_length;
  // An API key, in the encoded form that Elasticsearch returns. NULL: none. Not together with a user.
  const char *api_key;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t api_key_length;
  // A file of PEM certificates: only servers that these certificates vouch for are trusted. NULL: the certificates of
  // Mozilla's list, which the library contains.
  const char *certificates;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t certificates_length;
  // The last part of the data streams' names, 1 to 64 characters of a-z, 0-9, _ and a period. NULL: "default".
  const char *stream_namespace;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t stream_namespace_length;
  // The value of service.name in each document. NULL: the name of the program.
  const char *service;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t service_length;
  // Time between two documents of figures, from 1 second to 1 hour; 0: 10 seconds.
  uint64_t interval_ns;
  // The time limit of one request, from 1 second to 5 minutes; 0: 10 seconds.
  uint64_t request_timeout_ns;
  // Bytes of documents that may wait, from 64 KiB to 1 GiB; 0: 8 MiB.
  uint64_t queue_bytes;
} corelane_elasticsearch_options;

// The initial value of a corelane_elasticsearch_options.
#define CORELANE_ELASTICSEARCH_OPTIONS_INIT {sizeof(corelane_elasticsearch_options), 0, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, 0, 0, 0}

// An exporter of a monitor's figures. Valid until `corelane_exporter_release`. The value 0 is never a valid handle. Copy it
// freely.
typedef struct corelane_exporter {
  // The library's own number.
  uint64_t value;
} corelane_exporter;

// The collector that figures are sent to. Everything but the size and `url` may be 0 or NULL.
typedef struct corelane_otlp_options {
  // `sizeof(corelane_otlp_options)`, set by the caller: CORELANE_OTLP_OPTIONS_INIT.
  uint32_t size;
  // Set it to 0.
  uint32_t flags;
  // The collector, such as "http://127.0.0.1:4318". Requests go to /v1/metrics below it.
  const char *url;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t url_length;
  // Headers of each request, one on each line, such as "authorization: Bearer TOKEN".
  const char *headers;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t headers_length;
  // A file of PEM certificates: only servers that these certificates vouch for are trusted. NULL: the certificates of
  // Mozilla's list, which the library contains.
  const char *certificates;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t certificates_length;
  // The value of service.name. NULL: the name of the program.
  const char *service;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t service_length;
  // Further attributes of the resource, one on each line, such as "deployment.environment.name=production".
  const char *attributes;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t attributes_length;
  // Time between two requests, from 1 second to 1 hour; 0: 15 seconds.
  uint64_t interval_ns;
  // The time limit of one request, from 1 second to 5 minutes; 0: 10 seconds.
  uint64_t request_timeout_ns;
} corelane_otlp_options;

// The initial value of a corelane_otlp_options.
#define CORELANE_OTLP_OPTIONS_INIT {sizeof(corelane_otlp_options), 0, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, 0, 0}

// What an exporter has sent and lost. An item is a document of Elasticsearch, or a data point of OpenTelemetry.
typedef struct corelane_exporter_stats {
  // `sizeof(corelane_exporter_stats)`, set by the caller: CORELANE_EXPORTER_STATS_INIT.
  uint32_t size;
  // Whether the last request failed: 1 or 0. `corelane_exporter_error` says why.
  uint32_t failing;
  // Items that the server has stored.
  uint64_t sent;
  // Items that the server had stored already: the answer to an earlier request was lost.
  uint64_t repeated;
  // Items that the server has refused for good. The log has the reason.
  uint64_t rejected;
  // Items that were given up. Documents: the queue was full, or the exporter ended. Data points: their request failed; the
  // next one has the same series, and newer values.
  uint64_t dropped;
  // Connection events that came too fast to become documents.
  uint64_t missed;
  // Requests that failed.
  uint64_t failed_requests;
  // Documents that wait.
  uint64_t waiting;
  // Bytes of these documents.
  uint64_t waiting_bytes;
} corelane_exporter_stats;

// The initial value of a corelane_exporter_stats.
#define CORELANE_EXPORTER_STATS_INIT {sizeof(corelane_exporter_stats), 0, 0, 0, 0, 0, 0, 0, 0, 0}

// Name and description of a metric. Its name follows the conventions of Prometheus: the name of a counter, and no other,
// ends in _total, and a unit is part of the name.
typedef struct corelane_metric {
  // `sizeof(corelane_metric)`, set by the caller: CORELANE_METRIC_INIT.
  uint32_t size;
  // How many label sets may have a series of their own; 0 for 64. Further label sets share one series, in which every
  // label is `other`.
  uint32_t max_series;
  // The name, such as "conference_joins_total".
  const char *name;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t name_length;
  // What it counts.
  const char *help;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t help_length;
  // The unit: seconds, bytes, ratio or another base unit. May be empty.
  const char *unit;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t unit_length;
  // The names of the labels, each with a closing NUL. NULL if there are none.
  const char *const *labels;
  // Number of labels, at most 8.
  size_t label_count;
} corelane_metric;

// The initial value of a corelane_metric.
#define CORELANE_METRIC_INIT {sizeof(corelane_metric), 0, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, 0}

// One series of a counter. Valid until `corelane_counter_release`. The value 0 is never a valid handle. Copy it freely.
typedef struct corelane_counter {
  // The library's own number.
  uint64_t value;
} corelane_counter;

// One series of a gauge. Valid until `corelane_gauge_release`. The value 0 is never a valid handle. Copy it freely.
typedef struct corelane_gauge {
  // The library's own number.
  uint64_t value;
} corelane_gauge;

// One series of a histogram. Valid until `corelane_histogram_release`. The value 0 is never a valid handle. Copy it freely.
typedef struct corelane_histogram {
  // The library's own number.
  uint64_t value;
} corelane_histogram;

// How a machine takes part in a cluster. Set `machine`; everything else but the size may be 0 or NULL.
typedef struct corelane_cluster_options {
  // `sizeof(corelane_cluster_options)`, set by the caller: CORELANE_CLUSTER_OPTIONS_INIT.
  uint32_t size;
  // How many NATS servers keep what the machines know, 1 to 5. 0: three in a cluster of servers, one otherwise.
  uint32_t replicas;
  // The addresses of NATS servers, separated by commas. NULL: "nats://127.0.0.1:4222".
  const char *servers;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t servers_length;
  // The cluster's name, the same on all machines: 1 to 64 letters, digits, - or _. NULL: "corelane".
  const char *cluster;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t cluster_length;
  // This machine's name, of the same form. Each machine has its own.
  const char *machine;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t machine_length;
  // A file with credentials of NATS (JWT and seed). NULL: none.
  const char *credentials_file;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t credentials_file_length;
  // The user at NATS. NULL: none.
  const char *user;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t user_length;
  // The user's password.
  const char *password;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t password_length;
  // PEM file of the authorities that the servers' certificates are checked with. With it, TLS is required.
  const char *ca_file;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t ca_file_length;
  // PEM file of this machine's certificate. NULL: none.
  const char *certificate_file;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t certificate_file_length;
  // PEM file of its private key.
  const char *key_file;
  // Its length, or CORELANE_NUL_TERMINATED.
  size_t key_file_length;
  // The secret with which clients' tokens are hidden from who can read what NATS keeps. The same on all machines. NULL: the
  // cluster's name, which hides nothing from who guesses tokens.
  const uint8_t *secret;
  // Its length in bytes.
  size_t secret_length;
  // The most names on other machines, 1 to 100,000,000. 0: the library's default, as for the next three.
  size_t names;
  // The most rooms with members on other machines, 1 to 10,000,000.
  size_t rooms;
  // The most messages that a worker may have under way to one machine: 16 or more, and 1,048,576 at most for all workers of the
  // router together.
  uint32_t link_messages;
  // The most bytes of their names and payloads, 65,536 to 268,435,456.
  uint32_t link_bytes;
} corelane_cluster_options;

// The initial value of a corelane_cluster_options.
#define CORELANE_CLUSTER_OPTIONS_INIT {sizeof(corelane_cluster_options), 0, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, 0, 0, 0, 0, 0}

// A router's part in a cluster. Valid until `corelane_cluster_release`. The value 0 is never a valid handle. Copy it freely.
typedef struct corelane_cluster {
  // The library's own number.
  uint64_t value;
} corelane_cluster;

// A claimed name. Valid until `corelane_claim_release`, or until its cluster is released. The value 0 is never a valid handle.
// Copy it freely.
typedef struct corelane_claim {
  // The library's own number.
  uint64_t value;
} corelane_claim;

// What a cluster tells about a claim.
typedef struct corelane_cluster_event {
  // `sizeof(corelane_cluster_event)`, set by the caller: CORELANE_CLUSTER_EVENT_INIT.
  uint32_t size;
  // A CORELANE_CLUSTER_ value. Ignore events of a kind that you do not know.
  uint32_t kind;
  // The claim.
  struct corelane_claim claim;
  // The host's value from the claim.
  uint64_t correlation;
  // In CORELANE_CLUSTER_CLAIMED: 0 if the name belongs to the client now; otherwise a status that `corelane_cluster_claim`
  // lists, and the claim is over: its handle is stale.
  int32_t status;
  // In CORELANE_CLUSTER_LOST a CORELANE_LOST_ value, otherwise 0.
  uint32_t reason;
} corelane_cluster_event;

// The initial value of a corelane_cluster_event.
#define CORELANE_CLUSTER_EVENT_INIT {sizeof(corelane_cluster_event), 0, {0}, 0, 0, 0}

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Returns the version of the library that the program runs with: major << 24 | minor << 16 | patch << 8. Compare it with
// CORELANE_VERSION_NUMBER, the version of the header. A library of the same major and minor version works with an older
// header.
//
// Any thread. Never fails, never blocks.
uint32_t corelane_version(void);

// Returns what a status means, in a few words: a static text, never NULL. A status of 0 or more is "ok".
//
// Any thread. Never fails, never blocks.
const char *corelane_status_text(int32_t status);

// Returns the name of a status in this header, such as "CORELANE_FULL": a static text, never NULL.
//
// Any thread. Never fails, never blocks.
const char *corelane_status_name(int32_t status);

// Returns the name of a CORELANE_REASON_ number, such as "unknown_recipient": a static text, never NULL. Metrics and
// reports use the same names.
//
// Any thread. Never fails, never blocks.
const char *corelane_reason_name(uint32_t reason);

// Frees a text of the library, and sets its `data` to NULL and its `length` to 0, so that a second call does nothing.
// NULL is allowed.
//
// Any thread. Does not block. CORELANE_INVALID (`size`), CORELANE_NULL (not aligned).
int32_t corelane_text_free(struct corelane_text *text);

// Starts a router with its worker threads. `config` has one `key=value` per line; a `#` begins a
// comment. A key that is not set has its default (docs/configuration.md); no key may be set twice. NULL is an empty text.
// The router has the protocols `generic` and `peerjs`; for others, and for handlers, use `corelane_builder_new`. The
// workers block all signals.
//
// Any thread. Does not block. CORELANE_CONFIG_KEY (the error names the line and the nearest keys), CORELANE_CONFIG_VALUE
// (line, key, value and range), CORELANE_INVALID, CORELANE_LIMIT (64 routers), CORELANE_SYSTEM, CORELANE_NULL.
int32_t corelane_router_start(const char *config,
                              size_t config_length,
                              struct corelane_router *out_router,
                              struct corelane_error *error);

// Writes the router's figures in the Prometheus text format 0.0.4, from the router alone. `corelane_monitor_report` has
// more. Free the text with `corelane_text_free`.
//
// Any thread. Does not block. CORELANE_NULL, CORELANE_INVALID (`size`), CORELANE_STALE.
int32_t corelane_router_prometheus(struct corelane_router router,
                                   struct corelane_text *out_text);

// Refuses new messages and waits at most `timeout_ns` until every accepted message has its outcome. Ports must be polled
// meanwhile. The router goes on draining after CORELANE_TIMEOUT: stop it.
//
// Any thread; waits. CORELANE_TIMEOUT, CORELANE_THREAD (this thread drives a local worker, for which the call would wait),
// CORELANE_STALE.
int32_t corelane_router_drain(struct corelane_router router,
                              uint64_t timeout_ns);

// Stops the workers and waits for them for at most `timeout_ns`. Messages published before the call are handled.
// Messages published later are refused. Held messages fail. Ports can still be polled; when everything was handed
// out, polls return CORELANE_CLOSED. A second call waits again.
//
// Any thread; waits. CORELANE_TIMEOUT (the workers go on stopping), CORELANE_THREAD (this thread drives a local worker, for
// which the call would wait), CORELANE_STALE.
int32_t corelane_router_stop(struct corelane_router router,
                             uint64_t timeout_ns);

// Asks the workers to stop and returns at once. For hosts whose event loops drive local workers: each loop continues
// until its poll returns CORELANE_CLOSED. `corelane_router_stop` also waits, on another thread.
//
// Any thread. Does not block. CORELANE_STALE.
int32_t corelane_router_request_stop(struct corelane_router router);

// Sets how many workers get new clients, from 1 to the number of workers. Clients that are connected stay where they are
// until their worker has nothing of theirs.
//
// Any thread. Does not block. CORELANE_CONFIG_VALUE (the range), CORELANE_STALE.
int32_t corelane_router_set_active_workers(struct corelane_router router,
                                           size_t workers);

// Releases a router. A running router is stopped first, and the call waits for its workers. The router's ports stay
// valid, and return CORELANE_CLOSED when everything was handed out; release them as well. If other threads are inside calls
// with the router, its handle becomes stale at once, and the last of these threads does the rest when its call ends.
//
// Any thread; waits for the workers. CORELANE_STALE the second time.
int32_t corelane_router_release(struct corelane_router router);

// Begins a router. `config` is a configuration as for `corelane_router_start`.
//
// Any thread. Does not block. CORELANE_CONFIG_KEY, CORELANE_CONFIG_VALUE, CORELANE_INVALID, CORELANE_LIMIT (64 builders),
// CORELANE_NULL.
int32_t corelane_builder_new(const char *config,
                             size_t config_length,
                             struct corelane_builder *out_builder,
                             struct corelane_error *error);

// Adds a protocol: the name of one that comes with the library (docs/protocols.md), or the JSON text of the host's own, which
// begins with `{`. It replaces a protocol of the same name.
//
// Any thread, one at a time. Does not block. CORELANE_NOT_FOUND (no protocol of this name comes with the library),
// CORELANE_CONFIG_VALUE (what is wrong in the text), CORELANE_INVALID (not UTF-8), CORELANE_NULL, CORELANE_STALE,
// CORELANE_BUSY.
int32_t corelane_builder_protocol(struct corelane_builder builder,
                                  const char *protocol,
                                  size_t protocol_length,
                                  struct corelane_error *error);

// Runs a function on every message of a listed type, whatever the type's action. The function can call
// `corelane_request_relay` to run that action. The context is the library's from now on, unless the call fails.
//
// Any thread, one at a time. Does not block. CORELANE_NULL (also: no function), CORELANE_INVALID (`size`, flags, not UTF-8),
// CORELANE_STALE, CORELANE_BUSY. Whether the protocol lists the type is checked when the router starts.
int32_t corelane_builder_handler(struct corelane_builder builder,
                                 const struct corelane_handler *handler);

// Sets the base route. The context is the library's from now on, unless the call fails.
//
// Any thread, one at a time. Does not block. CORELANE_NULL (no function), CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_builder_base_route(struct corelane_builder builder,
                                    corelane_base_route_fn function,
                                    void *context,
                                    corelane_free_fn free_context);

// Writes the most memory that the router can need, in bytes. Nothing is reserved yet.
//
// Any thread, one at a time. Does not block. CORELANE_CONFIG_VALUE (values that do not fit together), CORELANE_NULL,
// CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_builder_bytes(struct corelane_builder builder,
                               uint64_t *out_bytes,
                               struct corelane_error *error);

// Starts the router with its worker threads. The builder is released, also if the call fails.
//
// Any thread. Does not block. CORELANE_CONFIG_VALUE (values that do not fit together, a handler of a type that is not
// listed), CORELANE_NOT_FOUND (a handler of a protocol that the router does not have), CORELANE_LIMIT (64 routers),
// CORELANE_SYSTEM, CORELANE_NULL, CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_builder_start(struct corelane_builder builder,
                               struct corelane_router *out_router,
                               struct corelane_error *error);

// Builds the router without worker threads: the host drives the workers, with `corelane_worker_cycle` or
// `corelane_worker_take`. Writes the handles of the workers, and returns their number. If `capacity` is smaller, the call
// fails with CORELANE_LIMIT, and the error says the number. The builder is released, also if the call fails, except then.
//
// Any thread. Does not block. As `corelane_builder_start`; CORELANE_LIMIT also for `capacity` and for more than 1024 workers
// in the process.
int32_t corelane_builder_build(struct corelane_builder builder,
                               struct corelane_router *out_router,
                               struct corelane_worker *out_workers,
                               size_t capacity,
                               struct corelane_error *error);

// Releases a builder that is not to be started. Contexts of its handlers are freed.
//
// Any thread. Does not block. CORELANE_STALE.
int32_t corelane_builder_release(struct corelane_builder builder);

// Writes what the message says, and who has sent it.
//
// Inside a handler. Does not block. CORELANE_STALE, CORELANE_NULL, CORELANE_INVALID (`size`).
int32_t corelane_request_read(struct corelane_request request, struct corelane_request_view *out_view);

// Sends bytes to a client, or to the sender if `client` is 0. The delivery's sender is the sender of this message.
//
// Inside a handler. Does not block. CORELANE_FAILED (nothing was sent: the client is gone, has no credit left, or its port is
// full or gone; `out_reason`, which may be NULL, gets the CORELANE_REASON_ number), CORELANE_STALE, CORELANE_NULL.
int32_t corelane_request_send(struct corelane_request request,
                              struct corelane_client client,
                              const uint8_t *bytes,
                              size_t length,
                              uint32_t *out_reason);

// Sends bytes to the client with this name, if it is connected here or on another machine of the cluster. The bytes are not
// held. CORELANE_OK for a client on another machine means that they are on their way there.
//
// Inside a handler. Does not block. As `corelane_request_send`, and CORELANE_INVALID (not UTF-8). For another machine the
// reason may also be link_full, link_down or moved.
int32_t corelane_request_send_to_name(struct corelane_request request,
                                      const char *name,
                                      size_t name_length,
                                      const uint8_t *bytes,
                                      size_t length,
                                      uint32_t *out_reason);

// Runs the action of the message's type, as if the type had no handler. Returns 0 if the message was delivered, 1 if it is
// held: it then ends with the hold, whatever the handler returns. Only the first call has an effect; later calls return the
// same.
//
// Inside a handler. Does not block. CORELANE_FAILED (the message would have failed without a handler; `out_reason`, which may
// be NULL, gets the CORELANE_REASON_ number), CORELANE_STALE.
int32_t corelane_request_relay(struct corelane_request request,
                               uint32_t *out_reason);

// Puts the sender into a room, as `corelane_port_join`.
//
// Inside a handler. Does not block. CORELANE_LIMIT (a limit of rooms; or another thread changes rooms at this moment: retry),
// CORELANE_INVALID (length of the name; not UTF-8), CORELANE_STALE (also: the sender has disconnected), CORELANE_NULL.
int32_t corelane_request_join(struct corelane_request request,
                              const char *name,
                              size_t name_length,
                              struct corelane_room *out_room);

// Takes the sender out of a room, as `corelane_port_leave`.
//
// Inside a handler. Does not block. CORELANE_NOT_FOUND (not a member), CORELANE_LIMIT (another thread changes rooms at this
// moment: retry), CORELANE_STALE (also: the room).
int32_t corelane_request_leave(struct corelane_request request,
                               struct corelane_room room);

// Writes up to `capacity` rooms of the sender, in the order of its joins, and returns how many rooms there are.
//
// Inside a handler. Does not block. CORELANE_LIMIT (another thread changes rooms at this moment: retry), CORELANE_STALE,
// CORELANE_NULL.
int32_t corelane_request_rooms(struct corelane_request request,
                               struct corelane_room *out_rooms,
                               size_t capacity);

// Runs one cycle of the worker: takes up to a batch of messages from each port, delivers, expires, publishes, wakes. Returns
// how much work was done; 0 means that the host may call `corelane_worker_wait`.
//
// The worker's thread: one at a time, threads may take turns. Does not block. CORELANE_CLOSED (the router has stopped, and
// the worker with it), CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_worker_cycle(struct corelane_worker worker);

// Runs one cycle of the worker, and hands out up to `capacity` messages whose type has the action `host`. Returns how many.
// The first task's `size` is the distance between two tasks in bytes.
//
// The worker's thread: one at a time, threads may take turns. Does not block. CORELANE_CLOSED (the worker has stopped),
// CORELANE_NULL, CORELANE_INVALID (`size`, or `capacity` is 0), CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_worker_take(struct corelane_worker worker,
                             struct corelane_task *tasks,
                             size_t capacity);

// Ends a task: counts its outcome and its time, and answers it if `answer` is set. Ports see the effect after
// `corelane_worker_flush`, or after the next take, cycle or wait. Call it for each task, then flush once.
//
// The worker's thread: one at a time, threads may take turns. Does not block. CORELANE_NOT_FOUND (the task is not out),
// CORELANE_NULL, CORELANE_INVALID (`size`), CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_worker_done(struct corelane_worker worker,
                             const struct corelane_done *done);

// Makes what was done since the last take visible to the ports, and gives the ring space back.
//
// The worker's thread: one at a time, threads may take turns. Does not block. CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_worker_flush(struct corelane_worker worker);

// Flushes, and waits until there is something to take, or something is due, or `timeout_ns` is over. Messages that only wait
// for tasks which are out do not end the wait.
//
// The worker's thread: one at a time, threads may take turns; waits. A release meanwhile takes effect when the wait ends.
// CORELANE_CLOSED (the worker has stopped), CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_worker_wait(struct corelane_worker worker,
                             uint64_t timeout_ns);

// Releases a worker. If it has not stopped, it is lost: its messages fail as worker_lost, and the router continues with the
// other workers. Stop the router first, and run cycles until they return CORELANE_CLOSED.
//
// Any thread. Does not block. CORELANE_STALE the second time.
int32_t corelane_worker_release(struct corelane_worker worker);

// Opens a port. Each host thread has its own port, and its submits and polls never wait for other threads. `options` may be
// NULL.
//
// Any thread. The call may block for up to 100 ms if a port was released just before. CORELANE_LIMIT (`max_ports`; 4096
// ports and 1024 shared ones in a process; CORELANE_PORT_LOCAL: every local worker has a port), CORELANE_STATE (the router
// has stopped; or each worker is local, and the port is not), CORELANE_THREAD (CORELANE_PORT_LOCAL on a worker's thread),
// CORELANE_INVALID (`size`, unknown flags), CORELANE_SYSTEM, CORELANE_STALE, CORELANE_NULL.
int32_t corelane_port_open(struct corelane_router router,
                           const struct corelane_port_options *options,
                           struct corelane_port *out_port,
                           struct corelane_error *error);

// Releases a port. Its clients are disconnected, deliveries that were not polled become undeliverable, and its views become
// invalid. A thread that waits with the port returns CORELANE_STALE. If another thread is inside a call with the port, its
// handle becomes stale at once, and that thread does the rest when its call ends.
//
// Any thread. Does not block. CORELANE_STALE the second time.
int32_t corelane_port_release(struct corelane_port port);

// Waits at most `timeout_ns`, with a resolution of a millisecond. Returns earlier if there may be something to poll, or for
// the local worker to do, or room after CORELANE_FULL, or if the port is released. Publishes first. For hosts without an
// event loop.
//
// The port's owner; waits. Meanwhile other calls that need the port's owner return CORELANE_BUSY. CORELANE_TIMEOUT,
// CORELANE_CLOSED (everything was handed out), CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_port_wait(struct corelane_port port,
                           uint64_t timeout_ns);

// Returns the descriptor that becomes readable when there is something to poll, or for the local worker to do, or room
// after CORELANE_FULL. It belongs to the port: watch it, but do not read, write or close it. Call `corelane_port_arm` before
// each wait.
//
// The port's owner. Does not block. Returns a descriptor, or CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_port_fd(struct corelane_port port);

// Publishes, and prepares a wait for the descriptor. 0: wait. CORELANE_AGAIN: there is something to poll, or for the
// local worker to do, or room after CORELANE_FULL, so do that first.
//
// The port's owner. Does not block. CORELANE_AGAIN, CORELANE_CLOSED (everything was handed out),
// CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_port_arm(struct corelane_port port);

// Ends a wait that `corelane_port_arm` has prepared. Call it first, whatever has ended the wait. `reported` is not 0 if
// the poller has reported the port's descriptor: it is read then, and only then. Without this call the next
// `corelane_port_poll` or `corelane_port_cycle` reads the descriptor in any case.
//
// The port's owner. Does not block. CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_port_awake(struct corelane_port port,
                            int32_t reported);

// Publishes what was submitted, and runs one cycle of the port's local worker. Returns how much work was done. If that
// and the following poll return 0, the loop may call `corelane_port_arm` and wait.
//
// The port's owner. Does not block. CORELANE_STATE (the port has no local worker), CORELANE_CLOSED (the worker has stopped:
// poll until the poll returns that too), CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_port_cycle(struct corelane_port port);

// Writes how long the loop may wait at most until it must call `corelane_port_cycle` again, in milliseconds, rounded up: the
// timeout of `poll` or `epoll_wait`. -1 if nothing is due. Ask after the poll; the answer does not undo an arm.
//
// The port's owner. Does not block. CORELANE_STATE (the port has no local worker), CORELANE_NULL, CORELANE_STALE,
// CORELANE_BUSY.
int32_t corelane_port_next_due(struct corelane_port port,
                               int32_t *out_milliseconds);

// Connects a client on this port under a name. Messages held for the name are delivered to the client.
//
// The port's owner, on a shared port any thread. Does not block. CORELANE_EXISTS (the name is taken), CORELANE_INVALID (length
// of the name; not UTF-8; `size`), CORELANE_NOT_FOUND (no such protocol), CORELANE_LIMIT (`max_clients`),
// CORELANE_CONFIG_VALUE (a local port, and the protocol's handlers may block), CORELANE_CLOSED, CORELANE_NULL,
// CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_port_connect(struct corelane_port port,
                              const struct corelane_connect_options *options,
                              struct corelane_client *out_client,
                              struct corelane_error *error);

// Starts to disconnect a client. Its name is free at once. Messages that it has submitted are still handled;
// CORELANE_EVENT_CLOSED follows them, also if the router stops meanwhile or has stopped.
//
// The port's owner, on a shared port any thread. Does not block. CORELANE_STALE (port; or the client is not connected),
// CORELANE_INVALID (another port's client), CORELANE_BUSY.
int32_t corelane_port_disconnect(struct corelane_port port,
                                 struct corelane_client client);

// Frees a client's name for other clients. The client stays connected. See CORELANE_EVENT_LEFT.
//
// The port's owner, on a shared port any thread. Does not block. Errors as for `corelane_port_disconnect`.
int32_t corelane_port_release_name(struct corelane_port port, struct corelane_client client);

// Gives a connected client another token. Events handed out after this call carry the new token. Deliveries that were
// handed out before and are not acknowledged stay outstanding.
//
// The port's owner. Does not block. CORELANE_STALE (port; or the client is not connected or is leaving), CORELANE_INVALID
// (another port's client: disconnect it there, then connect it here), CORELANE_BUSY.
int32_t corelane_port_rebind(struct corelane_port port,
                             struct corelane_client client,
                             uint64_t token);

// Writes what a client of this port has outstanding. Workers may add to it meanwhile.
//
// The port's owner. Does not block. CORELANE_STALE (port, client), CORELANE_INVALID (another port's client; `size`),
// CORELANE_NULL, CORELANE_BUSY.
int32_t corelane_port_outstanding(struct corelane_port port,
                                  struct corelane_client client,
                                  struct corelane_outstanding *out_outstanding);

// Writes the name of a connected client, of this or another port. Free it with `corelane_text_free`.
//
// The port's owner. Does not block. CORELANE_STALE (port; or the client is not connected), CORELANE_NULL, CORELANE_INVALID
// (`size`), CORELANE_BUSY.
int32_t corelane_port_client_name(struct corelane_port port,
                                  struct corelane_client client,
                                  struct corelane_text *out_name);

// Submits a message of a client. Its worker sees the message after `corelane_port_publish`; on a shared port it
// sees the message at once. The bytes are copied. Events that the message causes carry `correlation`.
//
// The port's owner, on a shared port any thread. Does not block. A message that is refused is counted by its reason.
// CORELANE_FULL (poll or wait, then retry the message, or drop it), CORELANE_TOO_LARGE, CORELANE_RATE_LIMITED,
// CORELANE_IN_FLIGHT, CORELANE_CONCURRENCY, CORELANE_PAYLOADS, CORELANE_STALE (port or client), CORELANE_INVALID (another
// port's client), CORELANE_CLOSED, CORELANE_CORRUPT, CORELANE_NULL, CORELANE_BUSY.
int32_t corelane_port_submit(struct corelane_port port,
                             struct corelane_client client,
                             const uint8_t *message,
                             size_t length,
                             uint64_t correlation);

// Submits messages of clients, in order, and publishes. Stops at the first message that is refused, so that no client's
// messages change their order. Returns how many were accepted, and writes to `out_status` the status of the message
// at that index, or 0 if all were accepted. `out_status` may be NULL. The first element's `size` is the distance between two
// elements in bytes.
//
// The port's owner, on a shared port any thread. Does not block. CORELANE_NULL, CORELANE_INVALID (`size`, `count`),
// CORELANE_STALE (port), CORELANE_BUSY. In `out_status`: as `corelane_port_submit`, and CORELANE_INVALID (flags).
int32_t corelane_port_submit_batch(struct corelane_port port,
                                   const struct corelane_submission *submissions,
                                   size_t count,
                                   int32_t *out_status);

// Sends a message of the host to a client of this or another port. Its worker sees it after `corelane_port_publish`; on a
// shared port at once. The bytes are copied, and delivered unchanged; the router does not read them. The message
// uses the client's credit, has no sender, and counts under `message_type`. If it fails after this call has accepted it, this
// port gets CORELANE_EVENT_SEND_FAILED. Sends to one client through one port arrive in order.
//
// The port's owner, on a shared port any thread. Does not block. CORELANE_FULL, CORELANE_TOO_LARGE, CORELANE_PAYLOADS,
// CORELANE_CONCURRENCY, CORELANE_STALE (port or client), CORELANE_INVALID (`message_type`), CORELANE_CLOSED,
// CORELANE_CORRUPT, CORELANE_NULL, CORELANE_BUSY.
int32_t corelane_port_send(struct corelane_port port,
                           struct corelane_client client,
                           const uint8_t *message,
                           size_t length,
                           struct corelane_message_type message_type,
                           uint64_t correlation);

// Sends a message of the host to all members of a room, as `corelane_port_send`. Each member gets it on its own credit. A
// member that cannot get it costs only its own delivery: this port gets a CORELANE_EVENT_SEND_FAILED for it. In a cluster the
// members on other machines get it too. Does not block.
//
// The port's owner, on a shared port any thread. As `corelane_port_send`; a room that is gone fails as unknown_room.
int32_t corelane_port_send_to_room(struct corelane_port port,
                                   struct corelane_room room,
                                   const uint8_t *message,
                                   size_t length,
                                   struct corelane_message_type message_type,
                                   uint64_t correlation);

// Sends messages of the host, in order, and publishes. As `corelane_port_submit_batch`, for sends; `out_status` may be NULL.
//
// The port's owner, on a shared port any thread. Does not block. CORELANE_NULL, CORELANE_INVALID (`size`, `count`),
// CORELANE_STALE (port), CORELANE_BUSY. In `out_status`: as `corelane_port_send`, and CORELANE_INVALID (flags; neither or
// both of client and room).
int32_t corelane_port_send_batch(struct corelane_port port,
                                 const struct corelane_send *sends,
                                 size_t count,
                                 int32_t *out_status);

// Publishes submitted messages to the workers and wakes workers that sleep. Call it once per batch. A shared port publishes
// by itself.
//
// The port's owner, on a shared port any thread. Does not block. CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_port_publish(struct corelane_port port);

// Looks a message type up, for sends. Do this once, at the start. A type that the protocol does not list counts as the
// protocol's type `send`.
//
// The port's owner, on a shared port any thread. Does not block. CORELANE_NOT_FOUND (the router has no such protocol),
// CORELANE_NULL, CORELANE_INVALID (not UTF-8), CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_port_message_type(struct corelane_port port,
                                   const char *protocol,
                                   size_t protocol_length,
                                   const char *name,
                                   size_t name_length,
                                   struct corelane_message_type *out_type);

// Routes a message of a client and waits at most `timeout_ns` for its outcome. If the router cannot handle it and the
// configuration's `route_fallback` says so, the base route handles it on this thread, exactly once.
//
// The port's owner, on a shared port any thread; waits. The port is held meanwhile: another call with a port that is not
// shared returns CORELANE_BUSY. CORELANE_TIMEOUT (no worker has started the message, and none will),
// CORELANE_TIMEOUT_STARTED (a worker is handling it), CORELANE_THREAD (a local port, or a handler's thread), CORELANE_LIMIT
// (`max_calls`); otherwise as `corelane_port_submit`, and CORELANE_INVALID (`size`).
int32_t corelane_port_route(struct corelane_port port,
                            struct corelane_client client,
                            const uint8_t *message,
                            size_t length,
                            uint64_t timeout_ns,
                            struct corelane_routed *out_routed);

// As `corelane_port_submit_batch` for one message, but the router takes its bytes over instead of copying them: for large
// messages. `free_message` is called exactly once, on any thread, with `context`, when nothing needs the bytes any more. If
// the call fails, the bytes are still the caller's, and `free_message` is not called. Publish afterwards.
//
// The port's owner. Does not block. As `corelane_port_submit`; CORELANE_STATE (a shared port), CORELANE_INVALID
// (`size`, flags; CORELANE_TRY is not possible), CORELANE_NULL (also: no function).
int32_t corelane_port_submit_owned(struct corelane_port port,
                                   const struct corelane_submission *submission,
                                   corelane_free_fn free_message,
                                   void *context);

// Hands out up to `capacity` events and returns how many; 0 if there are none. The first event's `size` is the
// distance between two events in bytes. The events' views are valid until the next poll or `corelane_port_release_views`.
//
// The port's owner. Does not block. CORELANE_CLOSED once the router has stopped and everything was handed out;
// CORELANE_NULL, CORELANE_INVALID (`size`, or `capacity` is 0), CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_port_poll(struct corelane_port port,
                           struct corelane_event *events,
                           size_t capacity);

// Releases the ring space of the events that the last poll handed out, so that workers that wait for space continue.
// The views of these events become invalid. The next poll does the same.
//
// The port's owner. Does not block. CORELANE_STALE, CORELANE_BUSY.
int32_t corelane_port_release_views(struct corelane_port port);

// Acknowledges that the host has written or dropped this many messages and bytes of the client's deliveries. The
// client gets that credit back, but never more than was handed out. A client that is gone is ignored.
//
// The port's owner. Does not block. CORELANE_STALE (port), CORELANE_BUSY.
int32_t corelane_port_acknowledge(struct corelane_port port,
                                  struct corelane_client client,
                                  uint32_t messages,
                                  uint32_t byte_count);

// As `corelane_port_acknowledge` for each of `count` entries. Reads the clock once for all of them. The first entry's `size`
// is the distance between two entries in bytes.
//
// The port's owner. Does not block. CORELANE_NULL, CORELANE_INVALID (`size`, `count`), CORELANE_STALE (port), CORELANE_BUSY.
int32_t corelane_port_acknowledge_batch(struct corelane_port port,
                                        const struct corelane_written *written,
                                        size_t count);

// Puts a client into a room, and creates the room if it does not exist. From now on the client gets the messages that other
// members send there. Joining twice has no further effect.
//
// The port's owner, on a shared port any thread. Waits at most for another thread's join or leave. CORELANE_LIMIT
// (`max_rooms`, `max_room_members`, `max_client_rooms`; or member lists are in use: retry), CORELANE_INVALID (length of the
// name; not UTF-8; another port's client), CORELANE_STALE (port, client), CORELANE_NULL, CORELANE_BUSY.
int32_t corelane_port_join(struct corelane_port port,
                           struct corelane_client client,
                           const char *name,
                           size_t name_length,
                           struct corelane_room *out_room,
                           struct corelane_error *error);

// Takes a client out of a room. Messages that were relayed before may still arrive. A disconnect leaves all rooms.
//
// The port's owner, on a shared port any thread. Waits at most for another thread's join or leave. CORELANE_NOT_FOUND (not a
// member), CORELANE_STALE (port, client, room), CORELANE_INVALID (another port's client), CORELANE_LIMIT (member lists are in
// use: retry), CORELANE_BUSY.
int32_t corelane_port_leave(struct corelane_port port,
                            struct corelane_client client,
                            struct corelane_room room);

// Writes up to `capacity` members of a room, of all ports, and returns how many members there are. If that is more than
// `capacity`, call again with more room. Other threads may change the room as soon as the list is made.
//
// The port's owner, on a shared port any thread. Waits at most for another thread's join or leave. CORELANE_STALE (port; or
// the room's last member has left), CORELANE_NULL, CORELANE_BUSY.
int32_t corelane_port_members(struct corelane_port port,
                              struct corelane_room room,
                              struct corelane_client *out_clients,
                              size_t capacity);

// Writes up to `capacity` rooms of a client of this or another port, in the order of its joins, and returns how many rooms
// there are. If that is more than `capacity`, call again with more room.
//
// The port's owner, on a shared port any thread. Waits at most for another thread's join or leave. CORELANE_STALE (port; or
// the client is not connected), CORELANE_NULL, CORELANE_BUSY.
int32_t corelane_port_rooms_of(struct corelane_port port,
                               struct corelane_client client,
                               struct corelane_room *out_rooms,
                               size_t capacity);

// Starts a monitor without a router, for a server that does its own routing: it shows what the server records. `config` is
// a text as for `corelane_router_start`. A key that has an effect only in a router is refused (docs/configuration.md, column
// *effect in*); a preset may be used. The monitor's thread collects once a second, looks at the system and at the alert rules
// every `monitor_interval_ms`, and blocks all signals.
//
// Any thread. Does not block. CORELANE_CONFIG_KEY (the error names the line and the nearest keys), CORELANE_CONFIG_VALUE
// (line, key, value and range; or the key has no effect without a router), CORELANE_INVALID (not UTF-8), CORELANE_LIMIT (64
// monitors), CORELANE_SYSTEM, CORELANE_NULL.
int32_t corelane_monitor_start(const char *config,
                               size_t config_length,
                               struct corelane_monitor *out_monitor,
                               struct corelane_error *error);

// As `corelane_monitor_start`, without a thread: figures are collected when the host asks for them, and rules and reports
// are looked at in `corelane_monitor_tick`.
//
// Any thread. Does not block. CORELANE_CONFIG_KEY (the error names the line and the nearest keys), CORELANE_CONFIG_VALUE
// (line, key, value and range; or the key has no effect without a router), CORELANE_INVALID (not UTF-8), CORELANE_LIMIT (64
// monitors), CORELANE_NULL.
int32_t corelane_monitor_new(const char *config,
                             size_t config_length,
                             struct corelane_monitor *out_monitor,
                             struct corelane_error *error);

// Starts the monitor of a router, with the router's configuration and a thread of its own. The host may record to it as
// well. The monitor may outlive the router. A router has one monitor at a time.
//
// Any thread. Does not block. CORELANE_EXISTS (the router has a monitor), CORELANE_LIMIT (64 monitors), CORELANE_SYSTEM,
// CORELANE_STALE, CORELANE_NULL.
int32_t corelane_router_monitor(struct corelane_router router,
                                struct corelane_monitor *out_monitor,
                                struct corelane_error *error);

// Does one tick: collects, and looks at the system, the rules and the report if they are due. For a monitor of
// `corelane_monitor_new`: call it about once a second.
//
// Any thread. Takes microseconds to milliseconds; waits for other readers of this monitor. CORELANE_STALE.
int32_t corelane_monitor_tick(struct corelane_monitor monitor);

// Ends the monitor's thread and waits for its end, for at most `timeout_ns`. The figures are kept and can be read, and
// threads may go on recording. Does nothing to a monitor without a thread.
//
// Any thread; waits. CORELANE_STALE.
int32_t corelane_monitor_stop(struct corelane_monitor monitor,
                              uint64_t timeout_ns);

// Collects, and writes all figures in a CORELANE_REPORT_ format. Free the text with `corelane_text_free`.
//
// Any thread. Takes milliseconds if there are very many clients; waits for other readers of this monitor. CORELANE_INVALID
// (`format`, `size`), CORELANE_NULL, CORELANE_STALE.
int32_t corelane_monitor_report(struct corelane_monitor monitor,
                                uint32_t format,
                                struct corelane_text *out_text);

// Collects, and writes one series over the last minute, hour or day as JSON: the slots of a series of messages, or the
// points of a number, oldest first. `corelane_monitor_history_names` lists the series; docs/schema.json describes the fields.
// Free the text with `corelane_text_free`.
//
// Any thread. Waits for other readers of this monitor. CORELANE_NOT_FOUND (no such series), CORELANE_INVALID (`span`,
// `size`, not UTF-8), CORELANE_NULL, CORELANE_STALE.
int32_t corelane_monitor_history(struct corelane_monitor monitor,
                                 const char *name,
                                 size_t name_length,
                                 uint32_t span,
                                 struct corelane_text *out_text);

// Writes the names of the series that `corelane_monitor_history` knows, as a JSON array of strings. Free the text with
// `corelane_text_free`.
//
// Any thread. Waits for other readers of this monitor. CORELANE_INVALID (`size`), CORELANE_NULL, CORELANE_STALE.
int32_t corelane_monitor_history_names(struct corelane_monitor monitor,
                                       struct corelane_text *out_text);

// Writes the most bytes that the monitor can hold, if everything that the configuration allows is in use. The memory that
// threads record into is not in it; `corelane_builder_bytes` covers that of a router.
//
// Any thread. Does not block. CORELANE_NULL, CORELANE_STALE.
int32_t corelane_monitor_bytes(struct corelane_monitor monitor,
                               uint64_t *out_bytes);

// Collects, writes the figures up to this moment to `out_stats` (unless it is NULL), and starts all figures anew, at one
// moment: nothing is lost between them. Lists show the figures up to the reset until the next snapshot. Present values
// (connections, queues), the router's accounting, alerts and the host's own metrics are not reset.
//
// Any thread. Takes as long as a snapshot. CORELANE_INVALID (`size`), CORELANE_NULL (not aligned), CORELANE_STALE.
int32_t corelane_monitor_reset(struct corelane_monitor monitor,
                               struct corelane_stats *out_stats);

// Changes a value while the monitor runs: an interval, a threshold, the level of detail, or logging. docs/configuration.md
// says which keys these are.
//
// Any thread. Waits for other readers of this monitor. CORELANE_CONFIG_KEY (no such key; the error names the nearest),
// CORELANE_CONFIG_VALUE (the range; or the key cannot be changed; or it has no effect without a router), CORELANE_INVALID
// (not UTF-8), CORELANE_NULL, CORELANE_STALE.
int32_t corelane_monitor_set(struct corelane_monitor monitor,
                             const char *key,
                             size_t key_length,
                             const char *value,
                             size_t value_length,
                             struct corelane_error *error);

// Releases a monitor and ends its thread and its callbacks. It waits up to 1 s for callbacks in progress, except for one
// that calls this function; their contexts are freed when they return. If other threads are inside calls with the monitor,
// its handle becomes stale at once, and the last of these threads does the rest when its call ends. Alert polls of the monitor
// stay valid and return CORELANE_CLOSED when they are empty: release them as well. The memory into which a thread has
// recorded is freed when the thread ends, or records to another monitor.
//
// Any thread, also from inside a callback; waits for the monitor's thread. CORELANE_STALE the second time.
int32_t corelane_monitor_release(struct corelane_monitor monitor);

// Looks up a protocol, a type and an application, once, for `corelane_monitor_record`. Unknown names get figures of their
// own while `max_recorded_types` and `max_applications` allow; then they are `other`, and the lookup is counted as folded.
//
// Any thread. May wait briefly for another thread that looks up a new name. CORELANE_INVALID (not UTF-8), CORELANE_NULL,
// CORELANE_STALE.
int32_t corelane_monitor_series(struct corelane_monitor monitor,
                                const char *protocol,
                                size_t protocol_length,
                                const char *message_type,
                                size_t message_type_length,
                                const char *application,
                                size_t application_length,
                                struct corelane_series *out_series);

// Counts messages that end now, and returns how many: all, or none if one of them is not valid. `samples` is an array; the
// first one's `size` is the distance between two. Reads the clock once. Each thread records into cells of its own, for up
// to `max_recorders` threads; further threads share cells, which is slower and just as exact.
//
// Any thread. Does not block, and allocates only at the first message of a thread, of a series and of a client.
// CORELANE_INVALID (`size`, `reason`, a series of another monitor), CORELANE_NULL, CORELANE_STALE.
int32_t corelane_monitor_record(struct corelane_monitor monitor,
                                const struct corelane_sample *samples,
                                size_t count);

// Counts a message that ends now, by names. `corelane_monitor_record` does the same at a lower cost.
//
// Any thread. May wait briefly for another thread that records a new name. CORELANE_INVALID (`size`, `reason`, not UTF-8),
// CORELANE_NULL, CORELANE_STALE.
int32_t corelane_monitor_record_message(struct corelane_monitor monitor,
                                        const struct corelane_message *message,
                                        struct corelane_error *error);

// Counts a connection that the host has opened. Clients of a router's ports are counted without this call.
//
// Any thread. May wait briefly for another thread that connects. CORELANE_EXISTS (a client of that name is connected; the
// call counts as an attempt to reconnect), CORELANE_LIMIT (`max_recorded_clients`), CORELANE_INVALID (length of a name; not
// UTF-8), CORELANE_NULL, CORELANE_STALE.
int32_t corelane_monitor_connect(struct corelane_monitor monitor,
                                 const char *name,
                                 size_t name_length,
                                 const char *application,
                                 size_t application_length,
                                 struct corelane_client *out_client,
                                 struct corelane_error *error);

// Counts the end of a connection that `corelane_monitor_connect` has counted.
//
// Any thread. May wait briefly for another thread that connects. CORELANE_STALE (monitor; or the connection has ended).
int32_t corelane_monitor_disconnect(struct corelane_monitor monitor,
                                    struct corelane_client client);

// Looks up a client that the host has connected or has recorded a message of, by its name. A client that is not connected
// may be evicted when room becomes scarce, the longest silent first; its name then has to be looked up again.
//
// Any thread. Does not block. CORELANE_NOT_FOUND, CORELANE_INVALID (not UTF-8), CORELANE_NULL, CORELANE_STALE.
int32_t corelane_monitor_client(struct corelane_monitor monitor,
                                const char *name,
                                size_t name_length,
                                struct corelane_client *out_client);

// Counts bytes that the host has written to a client that it recorded.
//
// Any thread. Does not block. CORELANE_STALE (monitor; or there is no such client).
int32_t corelane_monitor_record_sent(struct corelane_monitor monitor,
                                     struct corelane_client client,
                                     uint64_t bytes);

// Counts an attempt to reconnect that the host has observed.
//
// Any thread. Does not block. CORELANE_STALE.
int32_t corelane_monitor_record_reconnect(struct corelane_monitor monitor);

// Marks a client's connection as unhealthy (a failed probe, for example), or removes the mark if `healthy` is not 0. `kind`
// is a CORELANE_CLIENT_ value: where the client is connected. Has no effect if `detailed_stats` was off at the start.
//
// Any thread. Does not block. CORELANE_INVALID (`kind`), CORELANE_STALE (monitor; or there is no such client).
int32_t corelane_monitor_mark(struct corelane_monitor monitor,
                              struct corelane_client client,
                              uint32_t kind,
                              int32_t healthy);

// Writes the connected clients that have been silent for longer than `longer_than_ns`, so that the host can close them, and
// returns how many there are; `capacity` of them are written. None while `detailed_stats` is off.
//
// Any thread. Takes milliseconds if there are very many clients; waits for other readers of this monitor. CORELANE_INVALID
// (`size`), CORELANE_NULL, CORELANE_STALE.
int32_t corelane_monitor_idle_clients(struct corelane_monitor monitor,
                                      uint64_t longer_than_ns,
                                      struct corelane_client_stats *clients,
                                      size_t capacity);

// Writes the figures of the clients with this name, and returns how many there are: at most one of the router's clients and
// one that the host has recorded; `capacity` of them are written. None if `detailed_stats` was off at the start.
//
// Any thread. Takes milliseconds if there are very many clients; waits for other readers of this monitor. CORELANE_INVALID
// (`size`; not UTF-8), CORELANE_NULL, CORELANE_STALE.
int32_t corelane_monitor_client_figures(struct corelane_monitor monitor,
                                        const char *name,
                                        size_t name_length,
                                        struct corelane_client_stats *clients,
                                        size_t capacity);

// Stores the figures of the host's runtime. They are shown with the system's figures from the next look on, together with
// their age.
//
// Any thread. Waits for other readers of this monitor. CORELANE_INVALID (`size`; `gc_cpu_fraction`
// is not between 0 and 1), CORELANE_NULL, CORELANE_STALE.
int32_t corelane_monitor_push_runtime(struct corelane_monitor monitor,
                                      const struct corelane_runtime *runtime);

// Collects, and writes the figures of this moment. The lists of this snapshot can be read until the next one.
//
// Any thread. Takes milliseconds if there are very many clients; waits for other readers of this monitor. CORELANE_INVALID
// (`size`), CORELANE_NULL, CORELANE_STALE.
int32_t corelane_monitor_snapshot(struct corelane_monitor monitor,
                                  struct corelane_stats *out_stats);

// Writes the message types, protocols or applications of the latest snapshot, and returns how many there are; `capacity` of
// them are written. `kind` is a CORELANE_SERIES_ value. `snapshot` is the number in corelane_stats, so that all lists are of
// one collection; 0 for whichever is the latest. None while `enable_metrics` is off.
//
// Any thread. Does not block. CORELANE_STATE (no snapshot was taken), CORELANE_INVALID (`kind`, `size`), CORELANE_NULL,
// CORELANE_STALE (monitor; or another snapshot has been taken since).
int32_t corelane_monitor_series_stats(struct corelane_monitor monitor,
                                      uint64_t snapshot,
                                      uint32_t kind,
                                      struct corelane_series_stats *series,
                                      size_t capacity);

// Writes the clients with the largest figures of the latest snapshot, in descending order, and returns how many there are,
// at most `top_clients`; `capacity` of them are written. `order` is a CORELANE_TOP_ value. Clients whose figure is 0 are left
// out. None while `detailed_stats` is off.
//
// Any thread. Does not block. Errors as for `corelane_monitor_series_stats`.
int32_t corelane_monitor_client_stats(struct corelane_monitor monitor,
                                      uint64_t snapshot,
                                      uint32_t order,
                                      struct corelane_client_stats *clients,
                                      size_t capacity);

// Writes the slow messages of the latest snapshot, newest first, and returns how many entries there are, at most
// `slow_messages`; `capacity` of them are written.
//
// Any thread. Does not block. Errors as for `corelane_monitor_series_stats`.
int32_t corelane_monitor_slow_messages(struct corelane_monitor monitor,
                                       uint64_t snapshot,
                                       struct corelane_slow_message *messages,
                                       size_t capacity);

// Writes the connections by application of the latest snapshot, and returns how many applications there are; `capacity` of
// them are written.
//
// Any thread. Does not block. Errors as for `corelane_monitor_series_stats`.
int32_t corelane_monitor_application_stats(struct corelane_monitor monitor,
                                           uint64_t snapshot,
                                           struct corelane_application_stats *applications,
                                           size_t capacity);

// Adds a rule over any figure. The monitor looks at it every `monitor_interval_ms`. A metric that this monitor does not keep
// is accepted, because `detailed_stats` may be switched on later; `corelane_monitor_rules` says why it has no value.
//
// Any thread. Waits for other readers of this monitor. CORELANE_INVALID (the error says what is wrong; an unknown path: the
// nearest), CORELANE_EXISTS (a rule of that name), CORELANE_LIMIT (64 rules), CORELANE_NULL, CORELANE_STALE.
int32_t corelane_monitor_add_rule(struct corelane_monitor monitor,
                                  const struct corelane_rule *rule,
                                  struct corelane_error *error);

// Removes a rule, also one that comes with the library. An alert that it has raised is resolved at the next look.
//
// Any thread. Waits for other readers of this monitor. CORELANE_NOT_FOUND, CORELANE_INVALID (not UTF-8), CORELANE_NULL,
// CORELANE_STALE.
int32_t corelane_monitor_remove_rule(struct corelane_monitor monitor,
                                     const char *name,
                                     size_t name_length);

// Changes a rule's trigger and clear value from the next look on. If the configuration key of a rule that comes with the
// library is set later, its thresholds follow the key again.
//
// Any thread. Waits for other readers of this monitor. CORELANE_NOT_FOUND, CORELANE_INVALID (the two contradict each other;
// not finite; not UTF-8), CORELANE_NULL, CORELANE_STALE.
int32_t corelane_monitor_set_threshold(struct corelane_monitor monitor,
                                       const char *name,
                                       size_t name_length,
                                       double trigger,
                                       double clear);

// Writes the alerts of a kind, a CORELANE_ALERTS_ value, and returns how many there are; `capacity` of them are written.
//
// Any thread. Waits for other readers of this monitor. CORELANE_INVALID (`kind`, `size`), CORELANE_NULL, CORELANE_STALE.
int32_t corelane_monitor_alerts(struct corelane_monitor monitor,
                                uint32_t kind,
                                struct corelane_alert *alerts,
                                size_t capacity);

// Writes the rules, and returns how many there are; `capacity` of them are written.
//
// Any thread. Waits for other readers of this monitor. CORELANE_INVALID (`size`), CORELANE_NULL, CORELANE_STALE.
int32_t corelane_monitor_rules(struct corelane_monitor monitor,
                               struct corelane_rule_stats *rules,
                               size_t capacity);

// Calls `callback` with each alert when it is raised, repeated and resolved. Each callback has a thread of its own, with all
// signals blocked; calls of one callback never overlap. It may take long and may call any function of this library, also
// `corelane_monitor_remove_callback` for itself and `corelane_monitor_release`. Its queue holds 256 alerts; a full queue drops
// its oldest alert and counts it.
//
// The context is the library's from now on, unless the call fails: it calls `free_context`, which may be NULL, once, after
// the callback's last call.
//
// Any thread. Does not block. CORELANE_LIMIT (16 callbacks), CORELANE_SYSTEM, CORELANE_NULL (`callback` or `out_callback`),
// CORELANE_STALE.
int32_t corelane_monitor_on_alert(struct corelane_monitor monitor,
                                  corelane_alert_fn callback,
                                  void *context,
                                  corelane_free_fn free_context,
                                  struct corelane_callback *out_callback,
                                  struct corelane_error *error);

// Calls `callback` with each periodic report (`report_interval_ms`), as text, JSON or HTML. Otherwise as
// `corelane_monitor_on_alert`; the queue holds 4 reports.
//
// Any thread. Does not block. CORELANE_INVALID (`format`); otherwise as `corelane_monitor_on_alert`.
int32_t corelane_monitor_on_report(struct corelane_monitor monitor,
                                   uint32_t format,
                                   corelane_report_fn callback,
                                   void *context,
                                   corelane_free_fn free_context,
                                   struct corelane_callback *out_callback,
                                   struct corelane_error *error);

// Writes each periodic report to a file, on a thread of its own: the file always holds a whole report. No symbolic link is
// followed. If the file cannot be written later, the alert `report_file` is raised. Ends with
// `corelane_monitor_remove_callback`.
//
// Any thread. Tries the file. CORELANE_SYSTEM (the file cannot be written), CORELANE_LIMIT (16 listeners of reports),
// CORELANE_INVALID (`format`; not UTF-8), CORELANE_NULL, CORELANE_STALE.
int32_t corelane_monitor_report_to(struct corelane_monitor monitor,
                                   uint32_t format,
                                   const char *path,
                                   size_t path_length,
                                   struct corelane_callback *out_callback,
                                   struct corelane_error *error);

// Ends a callback. No new call starts, its queue is dropped, and the call waits at most `timeout_ns` for a call in progress.
// After CORELANE_OK the callback is not called any more and its context is freed. After CORELANE_TIMEOUT a call is still in
// progress: it is the last one, its context is freed after it, and a second removal waits again.
//
// From inside the callback itself this returns CORELANE_TIMEOUT at once, and the callback ends when it returns.
//
// Any thread; waits. CORELANE_TIMEOUT, CORELANE_STALE (monitor; or the callback has ended).
int32_t corelane_monitor_remove_callback(struct corelane_monitor monitor,
                                         struct corelane_callback callback,
                                         uint64_t timeout_ns);

// Opens a queue of alerts from this moment on, for an event loop. It holds 256 alerts; a full queue drops its oldest alert
// and counts it.
//
// Any thread. Does not block. CORELANE_LIMIT (16 queues of a monitor, 256 of the process), CORELANE_SYSTEM, CORELANE_NULL,
// CORELANE_STALE.
int32_t corelane_monitor_alert_poll(struct corelane_monitor monitor,
                                    struct corelane_alert_poll *out_poll,
                                    struct corelane_error *error);

// Returns a descriptor that is readable (poll, epoll) while an alert waits, and for good when the monitor has ended. Do not
// read or close it. Valid until `corelane_alert_poll_release`.
//
// Any thread. Does not block. CORELANE_STALE.
int32_t corelane_alert_poll_fd(struct corelane_alert_poll poll);

// Takes the next alert.
//
// Any thread. Does not block. CORELANE_AGAIN (none waits), CORELANE_CLOSED (none waits, and the monitor has ended),
// CORELANE_INVALID (`size`), CORELANE_NULL, CORELANE_STALE.
int32_t corelane_alert_poll_next(struct corelane_alert_poll poll,
                                 struct corelane_alert *out_alert);

// Sleeps until an alert waits, the monitor has ended, or `timeout_ns` is over. Returns 1 if an alert waits, otherwise 0. If
// another thread releases the queue meanwhile, its descriptor stays open until this call returns.
//
// Any thread; waits. CORELANE_STALE.
int32_t corelane_alert_poll_wait(struct corelane_alert_poll poll,
                                 uint64_t timeout_ns);

// Releases a queue of alerts, and closes its descriptor: remove the descriptor from the event loop first.
//
// Any thread. Does not block. CORELANE_STALE the second time.
int32_t corelane_alert_poll_release(struct corelane_alert_poll poll);

// Serves a monitor over HTTP, on a thread of its own, which blocks all signals: / (the page), /metrics (Prometheus), /healthz,
// /readyz, /api/stats and other JSON, /api/events (server-sent events), and `pages` of the host. docs/monitor.md lists all addresses. The default address is
// on the loopback; beyond it, set a token. `options` may be NULL. The door stays open if the monitor is released; what it shows then is
// collected when somebody asks.
//
// Any thread. Does not block, unless the host of the address must be looked up. CORELANE_INVALID (an option: the error says
// what is allowed; or key or certificate cannot be used), CORELANE_SYSTEM (the address is in use, or no thread), CORELANE_LIMIT (16 doors),
// CORELANE_STALE, CORELANE_NULL (`out_door`, or the function of a page).
int32_t corelane_monitor_serve(struct corelane_monitor monitor,
                               const struct corelane_door_options *options,
                               struct corelane_door *out_door,
                               struct corelane_error *error);

// Writes the address on which the door listens, as "127.0.0.1:9090". Free the text with `corelane_text_free`.
//
// Any thread. Does not block. CORELANE_INVALID (`size`), CORELANE_NULL, CORELANE_STALE.
int32_t corelane_door_address(struct corelane_door door, struct corelane_text *out_text);

// Says whether the host is ready: /readyz answers 200 if `why_not` is NULL or empty, otherwise 503 with this text.
//
// Any thread. Does not block. CORELANE_INVALID (not UTF-8), CORELANE_NULL (a length without a text), CORELANE_STALE.
int32_t corelane_door_set_ready(struct corelane_door door,
                                const char *why_not,
                                size_t why_not_length);

// Closes a door and its connections. Waits for the page of the host that runs, and then up to a second for the door's thread. No
// page is called any more when the call has returned.
//
// Any thread; waits. CORELANE_STALE the second time, CORELANE_THREAD (inside a page of the host).
int32_t corelane_door_release(struct corelane_door door);

// Answers a request for a host that has an HTTP server of its own: the addresses of `corelane_monitor_serve`, except /healthz
// and /readyz, without a socket or a thread. The host checks who may ask. Add `Cache-Control: no-store` and
// `X-Content-Type-Options: nosniff`. /api/events is answered with one event: send it, and ask a second later for the next, with
// this event's id as `last_event`. Free the body with `corelane_text_free`.
//
// Any thread. Does not block. CORELANE_INVALID (`size`, flags, a text that is not UTF-8), CORELANE_STALE, CORELANE_NULL.
int32_t corelane_monitor_answer(struct corelane_monitor monitor,
                                const struct corelane_http_request *request,
                                struct corelane_http_reply *out_reply,
                                struct corelane_text *out_body,
                                struct corelane_error *error);

// Sends a monitor's figures and events to Elasticsearch or OpenSearch, as documents of data streams: docs/monitor.md lists
// them. Two threads of the library do all work, and block all signals; no thread that handles messages waits for them.
// Documents wait in a queue of `queue_bytes`. If the server is away or too slow, the queue drops its oldest documents and
// counts them. The server need not be there yet. The export goes on if the monitor is released.
//
// Any thread. Reads the file of certificates; does not wait for the server. CORELANE_INVALID (an option: the error says what
// is allowed), CORELANE_LIMIT (16 exporters in the process, or too many listeners of the monitor), CORELANE_SYSTEM (no thread),
// CORELANE_STALE, CORELANE_NULL (`options`, `out_exporter`).
int32_t corelane_monitor_export_elasticsearch(struct corelane_monitor monitor,
                                              const struct corelane_elasticsearch_options *options,
                                              struct corelane_exporter *out_exporter,
                                              struct corelane_error *error);

// Sends a monitor's figures to an OpenTelemetry collector, as OTLP metrics over HTTP with protobuf, from a thread of the
// library, which blocks all signals. The figures are those of CORELANE_REPORT_PROMETHEUS and CORELANE_REPORT_PROCESS. The
// collector need not be there yet. The export goes on if the monitor is released.
//
// Any thread. Reads the file of certificates; does not wait for the collector. CORELANE_INVALID (an option: the error says what
// is allowed), CORELANE_LIMIT (16 exporters in the process), CORELANE_SYSTEM (no thread), CORELANE_STALE, CORELANE_NULL
// (`options`, `out_exporter`).
int32_t corelane_monitor_export_otlp(struct corelane_monitor monitor,
                                     const struct corelane_otlp_options *options,
                                     struct corelane_exporter *out_exporter,
                                     struct corelane_error *error);

// Writes what an exporter has sent and lost so far. The monitor's report and /metrics have the sums of all exporters of a kind,
// also of those that were released.
//
// Any thread. Does not block. CORELANE_INVALID (`size`), CORELANE_NULL, CORELANE_STALE.
int32_t corelane_exporter_figures(struct corelane_exporter exporter,
                                  struct corelane_exporter_stats *out_stats);

// Writes why the last request of an exporter failed; an empty text if it succeeded, or if there was none. Free the text with
// `corelane_text_free`.
//
// Any thread. Does not block. CORELANE_INVALID (`size`), CORELANE_NULL, CORELANE_STALE.
int32_t corelane_exporter_error(struct corelane_exporter exporter,
                                struct corelane_text *out_text);

// Makes the last documents or data points, sends what waits, and ends the exporter, within `timeout_ns`. What could not be sent
// by then is dropped and counted. Does nothing the second time. The figures can be read until the release.
//
// Any thread; waits, for one request longer than `timeout_ns` if the server does not answer. CORELANE_STALE.
int32_t corelane_exporter_stop(struct corelane_exporter exporter,
                               uint64_t timeout_ns);

// Releases an exporter. It ends if it has not been stopped: what waits is dropped.
//
// Any thread. Does not block. CORELANE_STALE the second time.
int32_t corelane_exporter_release(struct corelane_exporter exporter);

// Looks up one series of a counter, and declares the counter if it is new. `values` are the values of the labels, in their
// order, each with a closing NUL; a value is cut off after 64 bytes. A label set beyond `max_series` or `max_custom_series`
// gets the series in which every label is `other`, and is counted as folded. Several handles may stand for one series.
//
// Any thread. May wait briefly for another thread that looks up a series. CORELANE_INVALID (name, unit, label, number of
// values; another metric has that name; not UTF-8; `size`), CORELANE_LIMIT (`max_custom_series`; 4,096 counters of the process
// are open), CORELANE_NULL, CORELANE_STALE.
int32_t corelane_monitor_counter(struct corelane_monitor monitor,
                                 const struct corelane_metric *metric,
                                 const char *const *values,
                                 size_t value_count,
                                 struct corelane_counter *out_counter,
                                 struct corelane_error *error);

// As `corelane_monitor_counter`, for a gauge.
//
// Any thread. Errors as for `corelane_monitor_counter`.
int32_t corelane_monitor_gauge(struct corelane_monitor monitor,
                               const struct corelane_metric *metric,
                               const char *const *values,
                               size_t value_count,
                               struct corelane_gauge *out_gauge,
                               struct corelane_error *error);

// As `corelane_monitor_counter`, for a histogram. Its unit must be seconds or bytes.
//
// Any thread. Errors as for `corelane_monitor_counter`.
int32_t corelane_monitor_histogram(struct corelane_monitor monitor,
                                   const struct corelane_metric *metric,
                                   const char *const *values,
                                   size_t value_count,
                                   struct corelane_histogram *out_histogram,
                                   struct corelane_error *error);

// Adds `count` to a counter. The value stops at the largest number. Works also after the monitor's release.
//
// Any thread. Does not block. CORELANE_STALE.
int32_t corelane_counter_add(struct corelane_counter counter, uint64_t count);

// Sets a gauge. NAN leaves it unchanged and is counted as ignored.
//
// Any thread. Does not block. CORELANE_STALE.
int32_t corelane_gauge_set(struct corelane_gauge gauge, double value);

// Adds to a gauge; a negative value subtracts. A sum of NAN leaves it unchanged and is counted as ignored.
//
// Any thread. Does not block. CORELANE_STALE.
int32_t corelane_gauge_add(struct corelane_gauge gauge, double value);

// Counts a value in a histogram: nanoseconds if its unit is seconds, otherwise bytes. A value of 2^62 or more is a negative
// difference; it is counted as ignored.
//
// Any thread. Does not block. CORELANE_STALE.
int32_t corelane_histogram_record(struct corelane_histogram histogram,
                                  uint64_t value);

// `corelane_histogram_record` of `count` values, at a lower cost for each.
//
// Any thread. Does not block. CORELANE_STALE, CORELANE_NULL (`values`).
int32_t corelane_histogram_record_all(struct corelane_histogram histogram,
                                      const uint64_t *values,
                                      size_t count);

// Releases a handle of a counter. The counter stays in the monitor's figures.
//
// Any thread. Does not block. CORELANE_STALE the second time.
int32_t corelane_counter_release(struct corelane_counter counter);

// Releases a handle of a gauge. The gauge stays in the monitor's figures.
//
// Any thread. Does not block. CORELANE_STALE the second time.
int32_t corelane_gauge_release(struct corelane_gauge gauge);

// Releases a handle of a histogram. The histogram stays in the monitor's figures.
//
// Any thread. Does not block. CORELANE_STALE the second time.
int32_t corelane_histogram_release(struct corelane_histogram histogram);

// Makes the router one of several machines that act as one, over NATS (docs/cluster.md), with a thread of its own, which
// blocks all signals. A message to a name that is on another machine goes there. Until NATS answers, claims are unavailable and
// local routing goes on. A router is in one cluster at a time. Release the cluster before the router.
//
// Any thread. Does not block: `corelane_cluster_is_joined` says when claims can succeed. CORELANE_INVALID (an option: the error
// says which), CORELANE_LIMIT (the router is in a cluster; `max_ports`; 64 clusters of the process), CORELANE_STATE (the router
// has stopped), CORELANE_SYSTEM (no descriptor, no thread), CORELANE_UNSUPPORTED (the library was built without clusters:
// docs/packaging.md), CORELANE_STALE, CORELANE_NULL.
int32_t corelane_router_join_cluster(struct corelane_router router,
                                     const struct corelane_cluster_options *options,
                                     struct corelane_cluster *out_cluster,
                                     struct corelane_error *error);

// Claims a name for a client that shows this token, and waits for the answer for at most `timeout_ns`; after CORELANE_TIMEOUT
// the claim is given up. The same client, by its token, takes its name over from wherever it was. Connect the client after the
// claim, and release the claim after the client's CORELANE_EVENT_CLOSED. `correlation` is the host's own value: a loss of the
// name is an event of `corelane_cluster_next` with it.
//
// Any thread; waits. CORELANE_EXISTS (another client has the name), CORELANE_UNAVAILABLE (NATS does not answer),
// CORELANE_FENCED (this machine is cut off), CORELANE_BUSY (not now: too many claims, or the name's owner or the bucket was lost
// and may be about to return: let the client come again later, and do not connect it without a claim),
// CORELANE_TIMEOUT, CORELANE_CLOSED (the cluster drains or has stopped), CORELANE_INVALID (the name's length; not UTF-8),
// CORELANE_NULL, CORELANE_STALE.
int32_t corelane_cluster_claim(struct corelane_cluster cluster,
                               const char *name,
                               size_t name_length,
                               const char *token,
                               size_t token_length,
                               uint64_t correlation,
                               uint64_t timeout_ns,
                               struct corelane_claim *out_claim,
                               struct corelane_error *error);

// As `corelane_cluster_claim`, without waiting: the answer is an event of `corelane_cluster_next`, whatever it is. Released
// before its answer, the claim is given up and has no event.
//
// Any thread. Does not block. CORELANE_INVALID (not UTF-8), CORELANE_NULL, CORELANE_STALE.
int32_t corelane_cluster_claim_start(struct corelane_cluster cluster,
                                     const char *name,
                                     size_t name_length,
                                     const char *token,
                                     size_t token_length,
                                     uint64_t correlation,
                                     struct corelane_claim *out_claim);

// Gives a claimed name up. What the cluster still had to tell about the claim is dropped.
//
// Any thread. Does not block. CORELANE_STALE (cluster; or the claim is over), also the second time.
int32_t corelane_claim_release(struct corelane_cluster cluster, struct corelane_claim claim);

// Returns a descriptor that is readable (poll, epoll) while an event waits. Do not read or close it. Valid until
// `corelane_cluster_release`.
//
// Any thread. Does not block. CORELANE_STALE.
int32_t corelane_cluster_fd(struct corelane_cluster cluster);

// Takes the next event: the answer to a claim, or a lost name. No event is dropped: each claim has room for its own.
//
// Any thread. Does not block. CORELANE_AGAIN (none waits), CORELANE_INVALID (`size`), CORELANE_NULL, CORELANE_STALE.
int32_t corelane_cluster_next(struct corelane_cluster cluster,
                              struct corelane_cluster_event *out_event);

// Sleeps until an event waits, the cluster is released, or `timeout_ns` is over. Returns 1 if an event waits, otherwise 0.
//
// Any thread; waits. CORELANE_STALE.
int32_t corelane_cluster_wait(struct corelane_cluster cluster,
                              uint64_t timeout_ns);

// Writes the cluster's figures, as this machine knows them, as JSON (docs/cluster.md). The cluster's thread writes them ten times
// a second, and less often when it has too much to do. Free the text with `corelane_text_free`.
//
// Any thread. Does not block. CORELANE_INVALID (`size`), CORELANE_NULL, CORELANE_STALE.
int32_t corelane_cluster_status(struct corelane_cluster cluster,
                                struct corelane_text *out_text);

// Writes the names of the clients of all machines, as this machine knows them, as a JSON array: at most `limit`, in no order.
// Copying many takes time of the cluster's thread, which does it in pieces: keep the list for a while. One list is made at a
// time. Free the text with `corelane_text_free`.
//
// Any thread; waits for the cluster's thread, for at most `timeout_ns`. CORELANE_TIMEOUT, CORELANE_INVALID (`size`),
// CORELANE_NULL, CORELANE_STALE.
int32_t corelane_cluster_names(struct corelane_cluster cluster,
                               size_t limit,
                               uint64_t timeout_ns,
                               struct corelane_text *out_text);

// Returns 1 if claims can succeed now, otherwise 0.
//
// Any thread. Does not block. CORELANE_STALE.
int32_t corelane_cluster_is_joined(struct corelane_cluster cluster);

// Takes no claims any more, and tells the other machines so. Then close the clients, paced, release their claims, and release
// the cluster.
//
// Any thread. Does not block. CORELANE_STALE.
int32_t corelane_cluster_drain(struct corelane_cluster cluster);

// Leaves the cluster, and tells the other machines so. Its claims are over, and its descriptor is closed: remove it from the
// event loop first. A thread that waits for a claim gets CORELANE_CLOSED. The router goes on alone.
//
// Any thread; waits for a few seconds at most. CORELANE_STALE the second time.
int32_t corelane_cluster_release(struct corelane_cluster cluster);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* CORELANE_H */
