/* The header of an earlier day, without its comments: written by `ffi-tests/header.py --freeze`. */
#ifndef CORELANE_H
#define CORELANE_H
#include <stddef.h>
#include <stdint.h>
#define CORELANE_VERSION_MAJOR 0
#define CORELANE_VERSION_MINOR 1
#define CORELANE_VERSION_PATCH 0
#define CORELANE_VERSION_NUMBER \
  (((uint32_t)CORELANE_VERSION_MAJOR << 24) | ((uint32_t)CORELANE_VERSION_MINOR << 16) | ((uint32_t)CORELANE_VERSION_PATCH << 8))
#define CORELANE_NUL_TERMINATED SIZE_MAX
#define CORELANE_MESSAGE_BYTES 1008
#define CORELANE_HANDLER_SHORT 1
#define CORELANE_NAME_BYTES 72
#define CORELANE_PORT_LOCAL 1
#define CORELANE_PORT_SHARED 2
#define CORELANE_CREDIT_DEFAULT 0
#define CORELANE_CREDIT_REFUSE 1
#define CORELANE_CREDIT_DROP 2
#define CORELANE_CREDIT_DISCONNECT 3
#define CORELANE_TELL_FAILED 1
#define CORELANE_TRY 2
#define CORELANE_ROUTED_DELIVERED 1
#define CORELANE_ROUTED_HELD 2
#define CORELANE_ROUTED_FAILED 3
#define CORELANE_ROUTED_EXPIRED 4
#define CORELANE_ROUTED_TAKEN_OVER 5
#define CORELANE_EVENT_MESSAGE 1
#define CORELANE_EVENT_EXPIRED 2
#define CORELANE_EVENT_LEFT 3
#define CORELANE_EVENT_CLOSE 4
#define CORELANE_EVENT_CLOSED 5
#define CORELANE_EVENT_UNDELIVERED 6
#define CORELANE_EVENT_SEND_FAILED 7
#define CORELANE_REPORT_TEXT 1
#define CORELANE_REPORT_JSON 2
#define CORELANE_REPORT_HTML 3
#define CORELANE_REPORT_PROMETHEUS 4
#define CORELANE_UNKNOWN 18446744073709551615ull
#define CORELANE_RANGES 9
#define CORELANE_REASONS 64
#define CORELANE_SERIES_TYPES 1
#define CORELANE_SERIES_PROTOCOLS 2
#define CORELANE_SERIES_APPLICATIONS 3
#define CORELANE_CLIENT_RECORDED 1
#define CORELANE_CLIENT_ROUTED 2
#define CORELANE_TOP_MESSAGES 1
#define CORELANE_TOP_ERRORS 2
#define CORELANE_TOP_BYTES_IN 3
#define CORELANE_TOP_BYTES_OUT 4
#define CORELANE_TOP_AVERAGE 5
#define CORELANE_TOP_MAXIMUM 6
#define CORELANE_TOP_OUTSTANDING 7
#define CORELANE_TOP_OUTSTANDING_PEAK 8
#define CORELANE_TOP_UNDELIVERED 9
#define CORELANE_SEVERITY_DEFAULT 0
#define CORELANE_SEVERITY_INFO 1
#define CORELANE_SEVERITY_WARNING 2
#define CORELANE_SEVERITY_CRITICAL 3
#define CORELANE_RULE_BELOW 1
#define CORELANE_RULE_CLEAR 2
#define CORELANE_RULE_REPEAT 4
#define CORELANE_RULE_COOLDOWN 8
#define CORELANE_ALERT_PENDING 1
#define CORELANE_ALERT_FIRING 2
#define CORELANE_ALERT_RECOVERING 3
#define CORELANE_ALERT_RESOLVED 4
#define CORELANE_NOTIFICATION_NONE 0
#define CORELANE_NOTIFICATION_RAISED 1
#define CORELANE_NOTIFICATION_REPEATED 2
#define CORELANE_NOTIFICATION_RESOLVED 3
#define CORELANE_ALERTS_CURRENT 1
#define CORELANE_ALERTS_PENDING 2
#define CORELANE_ALERTS_PAST 3
#define CORELANE_METRIC_BYTES 776
#define CORELANE_LABEL_SET_BYTES 264
#define CORELANE_SENTENCE_BYTES 1024
enum corelane_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif
 {
  CORELANE_OK = 0,
  CORELANE_AGAIN = -1,
  CORELANE_FULL = -2,
  CORELANE_NULL = -10,
  CORELANE_INVALID = -11,
  CORELANE_TOO_LARGE = -12,
  CORELANE_NOT_FOUND = -13,
  CORELANE_STALE = -14,
  CORELANE_EXISTS = -15,
  CORELANE_LIMIT = -16,
  CORELANE_STATE = -17,
  CORELANE_BUSY = -18,
  CORELANE_TIMEOUT = -19,
  CORELANE_CLOSED = -20,
  CORELANE_THREAD = -21,
  CORELANE_FORKED = -22,
  CORELANE_ABI = -23,
  CORELANE_CONFIG_KEY = -24,
  CORELANE_CONFIG_VALUE = -25,
  CORELANE_NO_MEMORY = -26,
  CORELANE_SYSTEM = -27,
  CORELANE_UNSUPPORTED = -28,
  CORELANE_CORRUPT = -29,
  CORELANE_PANIC = -30,
  CORELANE_TIMEOUT_STARTED = -31,
  CORELANE_RATE_LIMITED = -32,
  CORELANE_IN_FLIGHT = -33,
  CORELANE_CONCURRENCY = -34,
  CORELANE_PAYLOADS = -35,
  CORELANE_FAILED = -36,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum corelane_status corelane_status;
#else
typedef int32_t corelane_status;
#endif
#endif
enum corelane_reason
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif
 {
  CORELANE_REASON_NONE = 0,
  CORELANE_REASON_EXPIRED = 1,
  CORELANE_REASON_CREDIT_EXHAUSTED = 2,
  CORELANE_REASON_CORRUPT = 3,
  CORELANE_REASON_RING_FULL = 4,
  CORELANE_REASON_CLOSED = 5,
  CORELANE_REASON_DRAINING = 6,
  CORELANE_REASON_STALE_CLIENT = 7,
  CORELANE_REASON_WRONG_PORT = 8,
  CORELANE_REASON_TOO_LARGE = 9,
  CORELANE_REASON_IN_FLIGHT_LIMIT = 10,
  CORELANE_REASON_RATE_LIMITED = 11,
  CORELANE_REASON_CONCURRENCY_LIMIT = 12,
  CORELANE_REASON_PAYLOADS_FULL = 13,
  CORELANE_REASON_TOO_MANY_CALLS = 14,
  CORELANE_REASON_EMPTY = 15,
  CORELANE_REASON_NOT_UTF8 = 16,
  CORELANE_REASON_NOT_JSON = 17,
  CORELANE_REASON_NOT_AN_OBJECT = 18,
  CORELANE_REASON_TOO_DEEP = 19,
  CORELANE_REASON_DUPLICATE_FIELD = 20,
  CORELANE_REASON_WRONG_TYPE = 21,
  CORELANE_REASON_MISSING_TYPE = 22,
  CORELANE_REASON_UNKNOWN_TYPE = 23,
  CORELANE_REASON_FIELD_TOO_LONG = 24,
  CORELANE_REASON_AMBIGUOUS_SENDER = 25,
  CORELANE_REASON_NO_RECIPIENT = 26,
  CORELANE_REASON_UNKNOWN_RECIPIENT = 27,
  CORELANE_REASON_HOLD_FULL = 28,
  CORELANE_REASON_RECIPIENT_CLOSED = 29,
  CORELANE_REASON_EGRESS_FULL = 30,
  CORELANE_REASON_PORT_GONE = 31,
  CORELANE_REASON_BAD_RECORD = 32,
  CORELANE_REASON_STOPPED = 33,
  CORELANE_REASON_UNKNOWN_ROOM = 34,
  CORELANE_REASON_NOT_A_MEMBER = 35,
  CORELANE_REASON_HANDLER_FAILED = 36,
  CORELANE_REASON_HANDLER_PANICKED = 37,
  CORELANE_REASON_STUCK = 38,
  CORELANE_REASON_REPORTED = 39,
  CORELANE_REASON_FORGED_SENDER = 40,
  CORELANE_REASON_WORKER_LOST = 41,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum corelane_reason corelane_reason;
#else
typedef uint32_t corelane_reason;
#endif
#endif
typedef struct corelane_text {
  uint32_t size;
  uint32_t reserved;
  char *data;
  size_t length;
} corelane_text;
#define CORELANE_TEXT_INIT {sizeof(corelane_text), 0, NULL, 0}
typedef struct corelane_router {
  uint64_t value;
} corelane_router;
typedef struct corelane_error {
  uint32_t size;
  int32_t code;
  int32_t os_errno;
  uint32_t reserved;
  char message[CORELANE_MESSAGE_BYTES];
} corelane_error;
#define CORELANE_ERROR_INIT {sizeof(corelane_error), 0, 0, 0, {0}}
typedef struct corelane_builder {
  uint64_t value;
} corelane_builder;
typedef struct corelane_request {
  uint64_t value;
} corelane_request;
typedef int32_t (*corelane_handler_fn)(void *context, struct corelane_request request);
typedef void (*corelane_free_fn)(void *context);
typedef struct corelane_handler {
  uint32_t size;
  uint32_t flags;
  const char *protocol;
  size_t protocol_length;
  const char *message_type;
  size_t message_type_length;
  corelane_handler_fn function;
  void *context;
  corelane_free_fn free_context;
} corelane_handler;
#define CORELANE_HANDLER_INIT {sizeof(corelane_handler), 0, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, 0, NULL, 0}
typedef struct corelane_client {
  uint64_t value;
} corelane_client;
typedef int32_t (*corelane_base_route_fn)(void *context,
                                          struct corelane_client client,
                                          const uint8_t *message,
                                          size_t length);
typedef struct corelane_worker {
  uint64_t value;
} corelane_worker;
typedef struct corelane_request_view {
  uint32_t size;
  uint32_t reserved;
  struct corelane_client client;
  uint64_t token;
  uint64_t correlation;
  uint64_t queue_wait_ns;
  const uint8_t *message;
  size_t length;
  const char *name;
  size_t name_length;
  const char *recipient;
  size_t recipient_length;
  const char *protocol;
  size_t protocol_length;
  const char *message_type;
  size_t message_type_length;
  const char *application;
  size_t application_length;
} corelane_request_view;
#define CORELANE_REQUEST_VIEW_INIT {sizeof(corelane_request_view), 0, {0}, 0, 0, 0, NULL, 0, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED}
typedef struct corelane_room {
  uint64_t value;
} corelane_room;
typedef struct corelane_task {
  uint32_t size;
  uint32_t reserved;
  uint64_t id;
  struct corelane_client client;
  uint64_t correlation;
  uint64_t queue_wait_ns;
  const uint8_t *message;
  size_t length;
  const char *protocol;
  size_t protocol_length;
  const char *message_type;
  size_t message_type_length;
  const char *application;
  size_t application_length;
  char name[CORELANE_NAME_BYTES];
} corelane_task;
#define CORELANE_TASK_INIT {sizeof(corelane_task), 0, 0, {0}, 0, 0, NULL, 0, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, {0}}
typedef struct corelane_done {
  uint32_t size;
  int32_t reason;
  uint64_t id;
  uint64_t service_ns;
  corelane_handler_fn answer;
  void *context;
} corelane_done;
#define CORELANE_DONE_INIT {sizeof(corelane_done), 0, 0, 0, 0, NULL}
typedef struct corelane_port_options {
  uint32_t size;
  uint32_t flags;
} corelane_port_options;
#define CORELANE_PORT_OPTIONS_INIT {sizeof(corelane_port_options), 0}
typedef struct corelane_port {
  uint64_t value;
} corelane_port;
typedef struct corelane_connect_options {
  uint32_t size;
  uint32_t credit_policy;
  const char *name;
  size_t name_length;
  const char *protocol;
  size_t protocol_length;
  const char *application;
  size_t application_length;
  uint64_t token;
} corelane_connect_options;
#define CORELANE_CONNECT_OPTIONS_INIT {sizeof(corelane_connect_options), 0, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, 0}
typedef struct corelane_outstanding {
  uint32_t size;
  uint32_t messages;
  uint32_t bytes;
  uint32_t handed_messages;
  uint32_t handed_bytes;
  uint32_t handed_messages_maximum;
  uint32_t handed_bytes_maximum;
  uint32_t reserved;
} corelane_outstanding;
#define CORELANE_OUTSTANDING_INIT {sizeof(corelane_outstanding), 0, 0, 0, 0, 0, 0, 0}
typedef struct corelane_message_type {
  uint32_t value;
} corelane_message_type;
typedef struct corelane_submission {
  uint32_t size;
  uint32_t flags;
  struct corelane_client client;
  const uint8_t *message;
  size_t length;
  uint64_t correlation;
  uint64_t waited_ns;
  struct corelane_client recipient;
  struct corelane_message_type message_type;
  uint32_t reserved;
} corelane_submission;
#define CORELANE_SUBMISSION_INIT {sizeof(corelane_submission), 0, {0}, NULL, 0, 0, 0, {0}, {0}, 0}
typedef struct corelane_send {
  uint32_t size;
  uint32_t flags;
  struct corelane_client client;
  struct corelane_room room;
  const uint8_t *message;
  size_t length;
  uint64_t correlation;
  struct corelane_message_type message_type;
  uint32_t reserved;
} corelane_send;
#define CORELANE_SEND_INIT {sizeof(corelane_send), 0, {0}, {0}, NULL, 0, 0, {0}, 0}
typedef struct corelane_routed {
  uint32_t size;
  uint32_t outcome;
  uint32_t reason;
  uint32_t success;
} corelane_routed;
#define CORELANE_ROUTED_INIT {sizeof(corelane_routed), 0, 0, 0}
typedef struct corelane_event {
  uint32_t size;
  uint32_t kind;
  struct corelane_client client;
  uint64_t token;
  struct corelane_client sender;
  uint64_t correlation;
  const uint8_t *bytes;
  size_t length;
  uint32_t reason;
  uint32_t reserved;
  struct corelane_room room;
} corelane_event;
#define CORELANE_EVENT_INIT {sizeof(corelane_event), 0, {0}, 0, {0}, 0, NULL, 0, 0, 0, {0}}
typedef struct corelane_written {
  uint32_t size;
  uint32_t messages;
  struct corelane_client client;
  uint32_t bytes;
  uint32_t reserved;
} corelane_written;
#define CORELANE_WRITTEN_INIT {sizeof(corelane_written), 0, {0}, 0, 0}
typedef struct corelane_monitor {
  uint64_t value;
} corelane_monitor;
typedef struct corelane_latency {
  uint64_t count;
  uint64_t average;
  uint64_t minimum;
  uint64_t maximum;
  uint64_t p50;
  uint64_t p90;
  uint64_t p95;
  uint64_t p99;
  uint64_t p999;
} corelane_latency;
typedef struct corelane_window {
  uint64_t start_ms;
  uint64_t end_ms;
  struct corelane_latency latency;
  uint64_t errors;
  uint64_t slow;
  uint64_t bytes;
  uint64_t total_ns;
  uint64_t overflows;
  double per_second;
  double error_rate;
  double slow_rate;
} corelane_window;
typedef struct corelane_stats {
  uint32_t size;
  uint32_t has_router;
  uint64_t snapshot;
  uint64_t time_ms;
  uint64_t uptime_ns;
  uint64_t since_ms;
  uint64_t started_ms;
  uint64_t resets;
  uint64_t messages;
  uint64_t succeeded;
  uint64_t failed;
  uint64_t expired;
  uint64_t slow;
  uint64_t bytes_in;
  uint64_t bytes_out;
  double success_rate;
  uint64_t failures[CORELANE_REASONS];
  uint64_t ranges[CORELANE_RANGES];
  struct corelane_latency service;
  struct corelane_latency queue_wait;
  struct corelane_latency held;
  struct corelane_latency write;
  struct corelane_window minute;
  struct corelane_window hour;
  struct corelane_window day;
  struct corelane_window queue_wait_minute;
  struct corelane_window queue_wait_hour;
  struct corelane_window queue_wait_day;
  uint64_t error_clients_minute;
  uint64_t slow_threshold_ns;
  uint64_t slow_unlisted;
  uint64_t folded_types;
  uint64_t folded_protocols;
  uint64_t folded_applications;
  uint64_t folded_clients;
  uint64_t folded_windows;
  uint64_t impossible;
  uint64_t connects;
  uint64_t connections;
  uint64_t connections_peak;
  uint64_t connection_average_ms;
  uint64_t connects_minute;
  uint64_t disconnects_minute;
  uint64_t reconnects;
  uint64_t healthy;
  uint64_t unhealthy;
  uint64_t clients_tracked;
  uint64_t resident_bytes;
  uint64_t virtual_bytes;
  uint64_t heap_bytes;
  uint64_t machine_bytes;
  uint64_t machine_available_bytes;
  uint64_t memory_limit_bytes;
  double memory_share;
  uint64_t cpu_ns;
  double cpu_share;
  double machine_cpu_share;
  double cores_allowed;
  uint64_t cores;
  double load_one;
  double load_five;
  double load_fifteen;
  uint64_t threads;
  uint64_t descriptors;
  uint64_t descriptor_limit;
  uint64_t process_uptime_s;
  uint64_t queue_messages;
  double connection_pool_use;
  double worker_pool_use;
  uint64_t runtime_age_ms;
  uint64_t goroutines;
  uint64_t gc_count;
  uint64_t runtime_heap_bytes;
  uint64_t submitted;
  uint64_t refused;
  uint64_t in_flight;
  uint64_t held_messages;
  uint64_t deliveries;
  uint64_t consumed;
  uint64_t acknowledged;
  uint64_t undeliverable;
  uint64_t queued;
  double messages_per_second;
  double failures_per_second;
  uint64_t workers;
  uint64_t workers_stalled;
  uint64_t workers_lost;
  uint64_t alerts;
  uint64_t alerts_pending;
  uint64_t alerts_raised;
  uint64_t alerts_resolved;
  uint64_t notifications_dropped;
  uint64_t reports;
  uint64_t reports_dropped;
  uint64_t reports_failed;
  uint64_t monitor_cpu_ns;
  uint64_t monitor_bytes;
  uint64_t collections;
  uint64_t collection_ns;
  uint64_t collection_maximum_ns;
} corelane_stats;
#define CORELANE_STATS_INIT {sizeof(corelane_stats), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, {0}, {0}, {0}, {0}, {0}, {0}, {0}, {0}, {0}, {0}, {0}, {0}, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
typedef struct corelane_series {
  uint64_t value;
} corelane_series;
typedef struct corelane_sample {
  uint32_t size;
  uint32_t reason;
  struct corelane_series series;
  struct corelane_client client;
  uint64_t bytes;
  uint64_t queue_wait_ns;
  uint64_t service_ns;
} corelane_sample;
#define CORELANE_SAMPLE_INIT {sizeof(corelane_sample), 0, {0}, {0}, 0, 0, 0}
typedef struct corelane_message {
  uint32_t size;
  uint32_t reason;
  const char *client;
  size_t client_length;
  const char *message_type;
  size_t message_type_length;
  const char *protocol;
  size_t protocol_length;
  const char *application;
  size_t application_length;
  uint64_t bytes;
  uint64_t queue_wait_ns;
  uint64_t service_ns;
} corelane_message;
#define CORELANE_MESSAGE_INIT {sizeof(corelane_message), 0, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, 0, 0, 0}
typedef struct corelane_client_stats {
  uint32_t size;
  uint32_t kind;
  uint32_t connected;
  uint32_t healthy;
  struct corelane_client client;
  char name[CORELANE_NAME_BYTES];
  char application[CORELANE_NAME_BYTES];
  char protocol[CORELANE_NAME_BYTES];
  uint64_t messages;
  uint64_t errors;
  uint64_t bytes_in;
  uint64_t bytes_out;
  uint64_t average_ns;
  uint64_t maximum_ns;
  uint64_t last_ms;
  uint64_t connected_ms;
  uint64_t idle_ms;
  uint64_t outstanding_messages;
  uint64_t outstanding_bytes;
  uint64_t outstanding_peak;
  uint64_t undelivered;
} corelane_client_stats;
#define CORELANE_CLIENT_STATS_INIT {sizeof(corelane_client_stats), 0, 0, 0, {0}, {0}, {0}, {0}, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
typedef struct corelane_runtime {
  uint32_t size;
  uint32_t reserved;
  uint64_t goroutines;
  uint64_t gc_count;
  uint64_t gc_last_pause_ns;
  uint64_t gc_average_pause_ns;
  uint64_t gc_total_pause_ns;
  double gc_cpu_fraction;
  uint64_t heap_bytes;
  uint64_t stack_bytes;
} corelane_runtime;
#define CORELANE_RUNTIME_INIT {sizeof(corelane_runtime), 0, 0, 0, 0, 0, 0, 0, 0, 0}
typedef struct corelane_series_stats {
  uint32_t size;
  uint32_t has_windows;
  char protocol[CORELANE_NAME_BYTES];
  char name[CORELANE_NAME_BYTES];
  uint64_t received;
  uint64_t messages;
  uint64_t succeeded;
  uint64_t failed;
  uint64_t expired;
  uint64_t slow;
  uint64_t bytes;
  uint64_t total_ns;
  uint64_t last_ms;
  struct corelane_latency service;
  struct corelane_latency queue_wait;
  struct corelane_window minute;
  struct corelane_window hour;
  struct corelane_window day;
} corelane_series_stats;
#define CORELANE_SERIES_STATS_INIT {sizeof(corelane_series_stats), 0, {0}, {0}, 0, 0, 0, 0, 0, 0, 0, 0, 0, {0}, {0}, {0}, {0}, {0}}
typedef struct corelane_slow_message {
  uint32_t size;
  uint32_t succeeded;
  uint64_t count;
  uint64_t first_ms;
  uint64_t last_ms;
  char client[CORELANE_NAME_BYTES];
  char protocol[CORELANE_NAME_BYTES];
  char message_type[CORELANE_NAME_BYTES];
  char application[CORELANE_NAME_BYTES];
  uint64_t worker;
  uint64_t bytes;
  uint64_t queue_wait_ns;
  uint64_t service_ns;
  uint64_t held_ns;
  uint64_t slowest_ns;
} corelane_slow_message;
#define CORELANE_SLOW_MESSAGE_INIT {sizeof(corelane_slow_message), 0, 0, 0, 0, {0}, {0}, {0}, {0}, 0, 0, 0, 0, 0, 0}
typedef struct corelane_application_stats {
  uint32_t size;
  uint32_t reserved;
  char name[CORELANE_NAME_BYTES];
  uint64_t connects;
  uint64_t connections;
  uint64_t last_ms;
} corelane_application_stats;
#define CORELANE_APPLICATION_STATS_INIT {sizeof(corelane_application_stats), 0, {0}, 0, 0, 0}
typedef struct corelane_rule {
  uint32_t size;
  uint32_t flags;
  uint32_t severity;
  uint32_t reserved;
  const char *name;
  size_t name_length;
  const char *metric;
  size_t metric_length;
  const char *unit;
  size_t unit_length;
  const char *text;
  size_t text_length;
  double trigger;
  double clear;
  uint64_t pending_ns;
  uint64_t keep_ns;
  uint64_t min_samples;
  uint64_t min_clients;
  uint64_t repeat_ns;
  uint64_t cooldown_ns;
} corelane_rule;
#define CORELANE_RULE_INIT {sizeof(corelane_rule), 0, 0, 0, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, 0, 0, 0, 0, 0, 0, 0, 0}
typedef struct corelane_alert {
  uint32_t size;
  uint32_t severity;
  uint32_t state;
  uint32_t notification;
  char name[CORELANE_NAME_BYTES];
  char label_set[CORELANE_LABEL_SET_BYTES];
  char metric[CORELANE_METRIC_BYTES];
  char sentence[CORELANE_SENTENCE_BYTES];
  double threshold;
  double value;
  uint64_t since_ms;
  uint64_t raised_ms;
  uint64_t resolved_ms;
} corelane_alert;
#define CORELANE_ALERT_INIT {sizeof(corelane_alert), 0, 0, 0, {0}, {0}, {0}, {0}, 0, 0, 0, 0, 0}
typedef struct corelane_rule_stats {
  uint32_t size;
  uint32_t severity;
  char name[CORELANE_NAME_BYTES];
  char metric[CORELANE_METRIC_BYTES];
  char unavailable[CORELANE_NAME_BYTES];
  double trigger;
  double clear;
  uint64_t pending;
  uint64_t firing;
  uint64_t raised;
  uint64_t resolved;
  uint64_t folded;
} corelane_rule_stats;
#define CORELANE_RULE_STATS_INIT {sizeof(corelane_rule_stats), 0, {0}, {0}, {0}, 0, 0, 0, 0, 0, 0, 0}
typedef void (*corelane_alert_fn)(void *context, const struct corelane_alert *alert);
typedef struct corelane_callback {
  uint64_t value;
} corelane_callback;
typedef void (*corelane_report_fn)(void *context, const char *report, size_t length);
typedef struct corelane_alert_poll {
  uint64_t value;
} corelane_alert_poll;
typedef struct corelane_metric {
  uint32_t size;
  uint32_t max_series;
  const char *name;
  size_t name_length;
  const char *help;
  size_t help_length;
  const char *unit;
  size_t unit_length;
  const char *const *labels;
  size_t label_count;
} corelane_metric;
#define CORELANE_METRIC_INIT {sizeof(corelane_metric), 0, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, CORELANE_NUL_TERMINATED, NULL, 0}
typedef struct corelane_counter {
  uint64_t value;
} corelane_counter;
typedef struct corelane_gauge {
  uint64_t value;
} corelane_gauge;
typedef struct corelane_histogram {
  uint64_t value;
} corelane_histogram;
#ifdef __cplusplus
extern "C" {
#endif
uint32_t corelane_version(void);
const char *corelane_status_text(int32_t status);
const char *corelane_status_name(int32_t status);
const char *corelane_reason_name(uint32_t reason);
int32_t corelane_text_free(struct corelane_text *text);
int32_t corelane_router_start(const char *config,
                              size_t config_length,
                              struct corelane_router *out_router,
                              struct corelane_error *error);
int32_t corelane_router_prometheus(struct corelane_router router,
                                   struct corelane_text *out_text);
int32_t corelane_router_drain(struct corelane_router router,
                              uint64_t timeout_ns);
int32_t corelane_router_stop(struct corelane_router router,
                             uint64_t timeout_ns);
int32_t corelane_router_request_stop(struct corelane_router router);
int32_t corelane_router_set_active_workers(struct corelane_router router,
                                           size_t workers);
int32_t corelane_router_release(struct corelane_router router);
int32_t corelane_builder_new(const char *config,
                             size_t config_length,
                             struct corelane_builder *out_builder,
                             struct corelane_error *error);
int32_t corelane_builder_protocol(struct corelane_builder builder,
                                  const char *protocol,
                                  size_t protocol_length,
                                  struct corelane_error *error);
int32_t corelane_builder_handler(struct corelane_builder builder,
                                 const struct corelane_handler *handler);
int32_t corelane_builder_base_route(struct corelane_builder builder,
                                    corelane_base_route_fn function,
                                    void *context,
                                    corelane_free_fn free_context);
int32_t corelane_builder_bytes(struct corelane_builder builder,
                               uint64_t *out_bytes,
                               struct corelane_error *error);
int32_t corelane_builder_start(struct corelane_builder builder,
                               struct corelane_router *out_router,
                               struct corelane_error *error);
int32_t corelane_builder_build(struct corelane_builder builder,
                               struct corelane_router *out_router,
                               struct corelane_worker *out_workers,
                               size_t capacity,
                               struct corelane_error *error);
int32_t corelane_builder_release(struct corelane_builder builder);
int32_t corelane_request_read(struct corelane_request request, struct corelane_request_view *out_view);
int32_t corelane_request_send(struct corelane_request request,
                              struct corelane_client client,
                              const uint8_t *bytes,
                              size_t length,
                              uint32_t *out_reason);
int32_t corelane_request_send_to_name(struct corelane_request request,
                                      const char *name,
                                      size_t name_length,
                                      const uint8_t *bytes,
                                      size_t length,
                                      uint32_t *out_reason);
int32_t corelane_request_relay(struct corelane_request request,
                               uint32_t *out_reason);
int32_t corelane_request_join(struct corelane_request request,
                              const char *name,
                              size_t name_length,
                              struct corelane_room *out_room);
int32_t corelane_request_leave(struct corelane_request request,
                               struct corelane_room room);
int32_t corelane_request_rooms(struct corelane_request request,
                               struct corelane_room *out_rooms,
                               size_t capacity);
int32_t corelane_worker_cycle(struct corelane_worker worker);
int32_t corelane_worker_take(struct corelane_worker worker,
                             struct corelane_task *tasks,
                             size_t capacity);
int32_t corelane_worker_done(struct corelane_worker worker,
                             const struct corelane_done *done);
int32_t corelane_worker_flush(struct corelane_worker worker);
int32_t corelane_worker_wait(struct corelane_worker worker,
                             uint64_t timeout_ns);
int32_t corelane_worker_release(struct corelane_worker worker);
int32_t corelane_port_open(struct corelane_router router,
                           const struct corelane_port_options *options,
                           struct corelane_port *out_port,
                           struct corelane_error *error);
int32_t corelane_port_release(struct corelane_port port);
int32_t corelane_port_wait(struct corelane_port port,
                           uint64_t timeout_ns);
int32_t corelane_port_fd(struct corelane_port port);
int32_t corelane_port_arm(struct corelane_port port);
int32_t corelane_port_awake(struct corelane_port port,
                            int32_t reported);
int32_t corelane_port_cycle(struct corelane_port port);
int32_t corelane_port_next_due(struct corelane_port port,
                               int32_t *out_milliseconds);
int32_t corelane_port_connect(struct corelane_port port,
                              const struct corelane_connect_options *options,
                              struct corelane_client *out_client,
                              struct corelane_error *error);
int32_t corelane_port_disconnect(struct corelane_port port,
                                 struct corelane_client client);
int32_t corelane_port_release_name(struct corelane_port port, struct corelane_client client);
int32_t corelane_port_rebind(struct corelane_port port,
                             struct corelane_client client,
                             uint64_t token);
int32_t corelane_port_outstanding(struct corelane_port port,
                                  struct corelane_client client,
                                  struct corelane_outstanding *out_outstanding);
int32_t corelane_port_client_name(struct corelane_port port,
                                  struct corelane_client client,
                                  struct corelane_text *out_name);
int32_t corelane_port_submit(struct corelane_port port,
                             struct corelane_client client,
                             const uint8_t *message,
                             size_t length,
                             uint64_t correlation);
int32_t corelane_port_submit_batch(struct corelane_port port,
                                   const struct corelane_submission *submissions,
                                   size_t count,
                                   int32_t *out_status);
int32_t corelane_port_send(struct corelane_port port,
                           struct corelane_client client,
                           const uint8_t *message,
                           size_t length,
                           struct corelane_message_type message_type,
                           uint64_t correlation);
int32_t corelane_port_send_to_room(struct corelane_port port,
                                   struct corelane_room room,
                                   const uint8_t *message,
                                   size_t length,
                                   struct corelane_message_type message_type,
                                   uint64_t correlation);
int32_t corelane_port_send_batch(struct corelane_port port,
                                 const struct corelane_send *sends,
                                 size_t count,
                                 int32_t *out_status);
int32_t corelane_port_publish(struct corelane_port port);
int32_t corelane_port_message_type(struct corelane_port port,
                                   const char *protocol,
                                   size_t protocol_length,
                                   const char *name,
                                   size_t name_length,
                                   struct corelane_message_type *out_type);
int32_t corelane_port_route(struct corelane_port port,
                            struct corelane_client client,
                            const uint8_t *message,
                            size_t length,
                            uint64_t timeout_ns,
                            struct corelane_routed *out_routed);
int32_t corelane_port_submit_owned(struct corelane_port port,
                                   const struct corelane_submission *submission,
                                   corelane_free_fn free_message,
                                   void *context);
int32_t corelane_port_poll(struct corelane_port port,
                           struct corelane_event *events,
                           size_t capacity);
int32_t corelane_port_release_views(struct corelane_port port);
int32_t corelane_port_acknowledge(struct corelane_port port,
                                  struct corelane_client client,
                                  uint32_t messages,
                                  uint32_t byte_count);
int32_t corelane_port_acknowledge_batch(struct corelane_port port,
                                        const struct corelane_written *written,
                                        size_t count);
int32_t corelane_port_join(struct corelane_port port,
                           struct corelane_client client,
                           const char *name,
                           size_t name_length,
                           struct corelane_room *out_room,
                           struct corelane_error *error);
int32_t corelane_port_leave(struct corelane_port port,
                            struct corelane_client client,
                            struct corelane_room room);
int32_t corelane_port_members(struct corelane_port port,
                              struct corelane_room room,
                              struct corelane_client *out_clients,
                              size_t capacity);
int32_t corelane_port_rooms_of(struct corelane_port port,
                               struct corelane_client client,
                               struct corelane_room *out_rooms,
                               size_t capacity);
int32_t corelane_monitor_start(const char *config,
                               size_t config_length,
                               struct corelane_monitor *out_monitor,
                               struct corelane_error *error);
int32_t corelane_monitor_new(const char *config,
                             size_t config_length,
                             struct corelane_monitor *out_monitor,
                             struct corelane_error *error);
int32_t corelane_router_monitor(struct corelane_router router,
                                struct corelane_monitor *out_monitor,
                                struct corelane_error *error);
int32_t corelane_monitor_tick(struct corelane_monitor monitor);
int32_t corelane_monitor_stop(struct corelane_monitor monitor,
                              uint64_t timeout_ns);
int32_t corelane_monitor_report(struct corelane_monitor monitor,
                                uint32_t format,
                                struct corelane_text *out_text);
int32_t corelane_monitor_reset(struct corelane_monitor monitor,
                               struct corelane_stats *out_stats);
int32_t corelane_monitor_set(struct corelane_monitor monitor,
                             const char *key,
                             size_t key_length,
                             const char *value,
                             size_t value_length,
                             struct corelane_error *error);
int32_t corelane_monitor_release(struct corelane_monitor monitor);
int32_t corelane_monitor_series(struct corelane_monitor monitor,
                                const char *protocol,
                                size_t protocol_length,
                                const char *message_type,
                                size_t message_type_length,
                                const char *application,
                                size_t application_length,
                                struct corelane_series *out_series);
int32_t corelane_monitor_record(struct corelane_monitor monitor,
                                const struct corelane_sample *samples,
                                size_t count);
int32_t corelane_monitor_record_message(struct corelane_monitor monitor,
                                        const struct corelane_message *message,
                                        struct corelane_error *error);
int32_t corelane_monitor_connect(struct corelane_monitor monitor,
                                 const char *name,
                                 size_t name_length,
                                 const char *application,
                                 size_t application_length,
                                 struct corelane_client *out_client,
                                 struct corelane_error *error);
int32_t corelane_monitor_disconnect(struct corelane_monitor monitor,
                                    struct corelane_client client);
int32_t corelane_monitor_client(struct corelane_monitor monitor,
                                const char *name,
                                size_t name_length,
                                struct corelane_client *out_client);
int32_t corelane_monitor_record_sent(struct corelane_monitor monitor,
                                     struct corelane_client client,
                                     uint64_t bytes);
int32_t corelane_monitor_record_reconnect(struct corelane_monitor monitor);
int32_t corelane_monitor_mark(struct corelane_monitor monitor,
                              struct corelane_client client,
                              uint32_t kind,
                              int32_t healthy);
int32_t corelane_monitor_idle_clients(struct corelane_monitor monitor,
                                      uint64_t longer_than_ns,
                                      struct corelane_client_stats *clients,
                                      size_t capacity);
int32_t corelane_monitor_push_runtime(struct corelane_monitor monitor,
                                      const struct corelane_runtime *runtime);
int32_t corelane_monitor_snapshot(struct corelane_monitor monitor,
                                  struct corelane_stats *out_stats);
int32_t corelane_monitor_series_stats(struct corelane_monitor monitor,
                                      uint64_t snapshot,
                                      uint32_t kind,
                                      struct corelane_series_stats *series,
                                      size_t capacity);
int32_t corelane_monitor_client_stats(struct corelane_monitor monitor,
                                      uint64_t snapshot,
                                      uint32_t order,
                                      struct corelane_client_stats *clients,
                                      size_t capacity);
int32_t corelane_monitor_slow_messages(struct corelane_monitor monitor,
                                       uint64_t snapshot,
                                       struct corelane_slow_message *messages,
                                       size_t capacity);
int32_t corelane_monitor_application_stats(struct corelane_monitor monitor,
                                           uint64_t snapshot,
                                           struct corelane_application_stats *applications,
                                           size_t capacity);
int32_t corelane_monitor_add_rule(struct corelane_monitor monitor,
                                  const struct corelane_rule *rule,
                                  struct corelane_error *error);
int32_t corelane_monitor_remove_rule(struct corelane_monitor monitor,
                                     const char *name,
                                     size_t name_length);
int32_t corelane_monitor_set_threshold(struct corelane_monitor monitor,
                                       const char *name,
                                       size_t name_length,
                                       double trigger,
                                       double clear);
int32_t corelane_monitor_alerts(struct corelane_monitor monitor,
                                uint32_t kind,
                                struct corelane_alert *alerts,
                                size_t capacity);
int32_t corelane_monitor_rules(struct corelane_monitor monitor,
                               struct corelane_rule_stats *rules,
                               size_t capacity);
int32_t corelane_monitor_on_alert(struct corelane_monitor monitor,
                                  corelane_alert_fn callback,
                                  void *context,
                                  corelane_free_fn free_context,
                                  struct corelane_callback *out_callback,
                                  struct corelane_error *error);
int32_t corelane_monitor_on_report(struct corelane_monitor monitor,
                                   uint32_t format,
                                   corelane_report_fn callback,
                                   void *context,
                                   corelane_free_fn free_context,
                                   struct corelane_callback *out_callback,
                                   struct corelane_error *error);
int32_t corelane_monitor_report_to(struct corelane_monitor monitor,
                                   uint32_t format,
                                   const char *path,
                                   size_t path_length,
                                   struct corelane_callback *out_callback,
                                   struct corelane_error *error);
int32_t corelane_monitor_remove_callback(struct corelane_monitor monitor,
                                         struct corelane_callback callback,
                                         uint64_t timeout_ns);
int32_t corelane_monitor_alert_poll(struct corelane_monitor monitor,
                                    struct corelane_alert_poll *out_poll,
                                    struct corelane_error *error);
int32_t corelane_alert_poll_fd(struct corelane_alert_poll poll);
int32_t corelane_alert_poll_next(struct corelane_alert_poll poll,
                                 struct corelane_alert *out_alert);
int32_t corelane_alert_poll_wait(struct corelane_alert_poll poll,
                                 uint64_t timeout_ns);
int32_t corelane_alert_poll_release(struct corelane_alert_poll poll);
int32_t corelane_monitor_counter(struct corelane_monitor monitor,
                                 const struct corelane_metric *metric,
                                 const char *const *values,
                                 size_t value_count,
                                 struct corelane_counter *out_counter,
                                 struct corelane_error *error);
int32_t corelane_monitor_gauge(struct corelane_monitor monitor,
                               const struct corelane_metric *metric,
                               const char *const *values,
                               size_t value_count,
                               struct corelane_gauge *out_gauge,
                               struct corelane_error *error);
int32_t corelane_monitor_histogram(struct corelane_monitor monitor,
                                   const struct corelane_metric *metric,
                                   const char *const *values,
                                   size_t value_count,
                                   struct corelane_histogram *out_histogram,
                                   struct corelane_error *error);
int32_t corelane_counter_add(struct corelane_counter counter, uint64_t count);
int32_t corelane_gauge_set(struct corelane_gauge gauge, double value);
int32_t corelane_gauge_add(struct corelane_gauge gauge, double value);
int32_t corelane_histogram_record(struct corelane_histogram histogram,
                                  uint64_t value);
int32_t corelane_counter_release(struct corelane_counter counter);
int32_t corelane_gauge_release(struct corelane_gauge gauge);
int32_t corelane_histogram_release(struct corelane_histogram histogram);
#ifdef __cplusplus
}
#endif
#endif
