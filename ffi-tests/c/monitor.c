/* The monitor in C: every function with real figures, misuse, and threads that record while a monitor is released.
 * `monitor bench` measures the cost of recording. */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#include "check.h"

#define NUL CORELANE_NUL_TERMINATED
#define SECOND UINT64_C(1000000000)
#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

static const corelane_monitor no_monitor;

static corelane_monitor start(const char *config) {
  corelane_error error = CORELANE_ERROR_INIT;
  corelane_monitor monitor;
  if (corelane_monitor_start(config, NUL, &monitor, &error) != CORELANE_OK) {
    fprintf(stderr, "start: %s\n", error.message);
    exit(1);
  }
  return monitor;
}

/* Without a thread: the tests call the ticks, so that nothing depends on time. */
static corelane_monitor driven(const char *config) {
  corelane_error error = CORELANE_ERROR_INIT;
  corelane_monitor monitor;
  if (corelane_monitor_new(config, NUL, &monitor, &error) != CORELANE_OK) {
    fprintf(stderr, "new: %s\n", error.message);
    exit(1);
  }
  return monitor;
}

static corelane_series series_of(corelane_monitor monitor, const char *protocol, const char *type, const char *application) {
  corelane_series series = {0};
  CHECK(corelane_monitor_series(monitor, protocol, NUL, type, NUL, application, NUL, &series) == CORELANE_OK);
  return series;
}

static corelane_sample sample_of(corelane_series series, corelane_client client, uint64_t bytes, uint64_t service) {
  corelane_sample sample = CORELANE_SAMPLE_INIT;
  sample.series = series;
  sample.client = client;
  sample.bytes = bytes;
  sample.queue_wait_ns = 1000;
  sample.service_ns = service;
  return sample;
}

static int contains(const char *text, const char *part) { return strstr(text, part) != NULL; }

static void configurations(void) {
  static const struct {
    const char *config, *told;
    int status;
  } refused[] = {
      {"workers = 2", "line 1: workers has no effect in a monitor without a router", CORELANE_CONFIG_VALUE},
      {"max_recorders=2\nmax_message=9", "line 2: max_message has no effect", CORELANE_CONFIG_VALUE},
      {"high_queue_depth_threshold=9", "high_queue_depth_threshold has no effect", CORELANE_CONFIG_VALUE},
      {"credit_bytes=9000000", "credit_bytes has no effect", CORELANE_CONFIG_VALUE},
      {"max_recoders=2", "nearest: max_recorders", CORELANE_CONFIG_KEY},
      {"max_recorders=-2", "0 to 1024", CORELANE_CONFIG_VALUE},
      {"a\xff", "config is not UTF-8", CORELANE_INVALID},
  };
  corelane_monitor monitor = {7};
  size_t at;
  for (at = 0; at < COUNT_OF(refused); at++) {
    corelane_error error = CORELANE_ERROR_INIT;
    CHECK(corelane_monitor_start(refused[at].config, NUL, &monitor, &error) == refused[at].status);
    CHECK(error.code == refused[at].status && contains(error.message, refused[at].told));
    CHECK(corelane_monitor_new(refused[at].config, NUL, &monitor, NULL) == refused[at].status);
    CHECK(monitor.value == 7);
  }
  CHECK(corelane_monitor_start(NULL, 0, NULL, NULL) == CORELANE_NULL);
  CHECK(corelane_monitor_new(NULL, 0, NULL, NULL) == CORELANE_NULL);
  CHECK(corelane_monitor_start(NULL, 5, &monitor, NULL) == CORELANE_NULL);
  monitor = start("preset=small");
  CHECK(corelane_monitor_release(monitor) == CORELANE_OK);
  CHECK(corelane_monitor_release(monitor) == CORELANE_STALE);
}

/* Records by number and by name, and reads the figures back. */
static void recording(void) {
  corelane_monitor monitor = driven("slow_message_threshold_ms=100"), other = driven(NULL);
  corelane_series offer = series_of(monitor, "peerjs", "OFFER", "phone"), answer = series_of(monitor, "peerjs", "ANSWER", "phone");
  corelane_series foreign = series_of(other, "peerjs", "OFFER", "phone"), forged = {1};
  corelane_client none = {0}, ann = {0}, found = {0};
  corelane_sample batch[3], bad;
  corelane_message message = CORELANE_MESSAGE_INIT;
  corelane_stats stats = CORELANE_STATS_INIT;
  corelane_series_stats types[4] = {CORELANE_SERIES_STATS_INIT};
  corelane_client_stats clients[4] = {CORELANE_CLIENT_STATS_INIT};
  corelane_slow_message slow[4] = {CORELANE_SLOW_MESSAGE_INIT};
  corelane_application_stats applications[4] = {CORELANE_APPLICATION_STATS_INIT};
  corelane_error error = CORELANE_ERROR_INIT;
  int count, at, seen = 0;

  CHECK(foreign.value != offer.value);
  CHECK(corelane_monitor_connect(monitor, "ann", NUL, "phone", 5, &ann, &error) == CORELANE_OK);
  batch[0] = sample_of(offer, ann, 100, 2000000);
  batch[1] = sample_of(offer, ann, 200, 200000000);
  batch[2] = sample_of(answer, none, 300, 7000000);
  batch[2].reason = CORELANE_REASON_UNKNOWN_RECIPIENT;
  CHECK(corelane_monitor_record(monitor, batch, 3) == 3);
  batch[2].reason = CORELANE_REASON_EXPIRED;
  CHECK(corelane_monitor_record(monitor, &batch[2], 1) == 1);
  CHECK(corelane_monitor_record(monitor, NULL, 0) == 0);
  message.client = "ben";
  message.protocol = "peerjs";
  message.message_type = "OFFER and more";
  message.message_type_length = 5;
  message.application = "web";
  message.bytes = 50;
  message.service_ns = 3000000;
  CHECK(corelane_monitor_record_message(monitor, &message, &error) == CORELANE_OK);
  message.reason = CORELANE_REASON_REPORTED;
  CHECK(corelane_monitor_record_message(monitor, &message, NULL) == CORELANE_OK);
  bad = sample_of((corelane_series){0}, none, 1, UINT64_C(1) << 63);
  CHECK(corelane_monitor_record(monitor, &bad, 1) == 1);
  CHECK(corelane_monitor_record_sent(monitor, ann, 77) == CORELANE_OK);

  /* Nothing of a batch is counted if one of its samples is wrong. */
  batch[2].reason = 9999;
  CHECK(corelane_monitor_record(monitor, batch, 3) == CORELANE_INVALID);
  batch[2].reason = CORELANE_REASON_RING_FULL;
  CHECK(corelane_monitor_record(monitor, batch, 3) == CORELANE_INVALID);
  batch[2].reason = 0;
  batch[2].series = foreign;
  CHECK(corelane_monitor_record(monitor, batch, 3) == CORELANE_INVALID);
  batch[2].series = forged;
  CHECK(corelane_monitor_record(monitor, batch, 3) == CORELANE_INVALID);

  CHECK(corelane_monitor_series_stats(monitor, 0, CORELANE_SERIES_TYPES, types, 4) == CORELANE_STATE);
  CHECK(corelane_monitor_snapshot(monitor, &stats) == CORELANE_OK);
  CHECK(stats.size == sizeof stats && stats.snapshot == 1 && stats.has_router == 0);
  CHECK(stats.messages == 6 && stats.succeeded == 3 && stats.failed == 2 && stats.expired == 1);
  CHECK(stats.failures[CORELANE_REASON_UNKNOWN_RECIPIENT] == 1 && stats.failures[CORELANE_REASON_REPORTED] == 1);
  CHECK(stats.success_rate == 0.5 && stats.slow == 1 && stats.bytes_in == 1000 && stats.bytes_out == 77);
  CHECK(stats.impossible == 1 && stats.slow_threshold_ns == 100000000 && stats.slow_unlisted == 0);
  CHECK(stats.service.count == 6 && stats.service.maximum == 200000000 && stats.service.minimum == 2000000);
  CHECK(stats.service.p50 >= 3000000 && stats.service.p50 <= 7300000);
  CHECK(stats.ranges[1] == 3 && stats.ranges[2] == 2 && stats.ranges[5] == 1 && stats.ranges[0] == 0);
  CHECK(stats.minute.latency.count == 6 && stats.minute.errors == 3 && stats.minute.error_rate == 0.5);
  CHECK(stats.hour.latency.count == 6 && stats.day.latency.count == 6 && stats.day.bytes == 1000);
  CHECK(stats.queue_wait.count == 6 && stats.queue_wait_minute.latency.count == 6);
  CHECK(stats.held.count == 0 && stats.held.average == CORELANE_UNKNOWN && stats.submitted == CORELANE_UNKNOWN);
  CHECK(stats.connects == 1 && stats.connections == 1 && stats.connections_peak == 1 && stats.healthy == 1);
  CHECK(stats.clients_tracked == 2 && stats.error_clients_minute == 2);
  CHECK(isnan(stats.messages_per_second) && isnan(stats.cpu_share) && stats.resident_bytes == CORELANE_UNKNOWN);

  count = corelane_monitor_series_stats(monitor, stats.snapshot, CORELANE_SERIES_TYPES, types, 4);
  CHECK(count == 3 && strcmp(types[0].name, "other") == 0);
  for (at = 0; at < count; at++) {
    CHECK(types[at].size == sizeof types[at]);
    if (strcmp(types[at].name, "OFFER") == 0) {
      CHECK(strcmp(types[at].protocol, "peerjs") == 0 && types[at].messages == 4 && types[at].failed == 1);
      CHECK(types[at].bytes == 400 && types[at].slow == 1 && types[at].service.maximum == 200000000);
      CHECK(types[at].has_windows == 1 && types[at].minute.latency.count == 4 && types[at].total_ns == 208000000);
      seen++;
    }
  }
  CHECK(seen == 1);
  CHECK(corelane_monitor_series_stats(monitor, 0, CORELANE_SERIES_TYPES, NULL, 0) == 3);
  memset(types, 0, sizeof types);
  types[0].size = sizeof types[0];
  CHECK(corelane_monitor_series_stats(monitor, 0, CORELANE_SERIES_TYPES, types, 1) == 3 && types[1].size == 0);
  CHECK(corelane_monitor_series_stats(monitor, 0, CORELANE_SERIES_PROTOCOLS, types, 4) == 2 && types[1].messages == 6);
  CHECK(types[1].received == CORELANE_UNKNOWN);
  CHECK(corelane_monitor_series_stats(monitor, 0, CORELANE_SERIES_APPLICATIONS, types, 4) == 3);
  CHECK(strcmp(types[1].name, "phone") == 0 && types[1].messages == 4 && types[2].messages == 2);
  CHECK(corelane_monitor_series_stats(monitor, 0, 4, types, 4) == CORELANE_INVALID);
  CHECK(corelane_monitor_client_stats(monitor, 0, CORELANE_TOP_MESSAGES, clients, 4) == 2);
  CHECK(corelane_monitor_client_stats(monitor, 0, CORELANE_TOP_MAXIMUM, clients, 4) == 2);
  CHECK(strcmp(clients[0].name, "ann") == 0 && strcmp(clients[0].application, "phone") == 0);
  CHECK(clients[0].client.value == ann.value && clients[0].kind == CORELANE_CLIENT_RECORDED && clients[0].connected == 1);
  CHECK(clients[0].messages == 2 && clients[0].bytes_in == 300 && clients[0].bytes_out == 77 && clients[0].protocol[0] == 0);
  CHECK(clients[0].maximum_ns == 200001000 && clients[0].healthy == 1 && clients[1].connected == 0);
  CHECK(corelane_monitor_client_stats(monitor, 0, CORELANE_TOP_ERRORS, clients, 4) == 1 && clients[0].errors == 1);
  for (at = CORELANE_TOP_BYTES_IN; at <= (int)CORELANE_TOP_UNDELIVERED; at++) {
    CHECK(corelane_monitor_client_stats(monitor, 0, (uint32_t)at, clients, 4) >= 0);
  }
  CHECK(corelane_monitor_client_stats(monitor, 0, 0, clients, 4) == CORELANE_INVALID);
  CHECK(corelane_monitor_slow_messages(monitor, stats.snapshot, slow, 4) == 1);
  CHECK(slow[0].count == 1 && strcmp(slow[0].client, "ann") == 0 && strcmp(slow[0].message_type, "OFFER") == 0);
  CHECK(slow[0].succeeded == 1 && slow[0].bytes == 200 && slow[0].slowest_ns == 200001000 && slow[0].worker == CORELANE_UNKNOWN);
  CHECK(corelane_monitor_application_stats(monitor, 0, applications, 4) == 3);
  CHECK(strcmp(applications[1].name, "phone") == 0 && applications[1].connects == 1 && applications[1].connections == 1);

  CHECK(corelane_monitor_client(monitor, "ben", NUL, &found) == CORELANE_OK && found.value != 0);
  CHECK(corelane_monitor_client(monitor, "eve", NUL, &found) == CORELANE_NOT_FOUND);
  CHECK(corelane_monitor_connect(monitor, "ann", NUL, NULL, 0, &found, &error) == CORELANE_EXISTS);
  CHECK(corelane_monitor_connect(monitor, "", 0, NULL, 0, &found, &error) == CORELANE_INVALID);
  CHECK(corelane_monitor_record_reconnect(monitor) == CORELANE_OK);
  CHECK(corelane_monitor_mark(monitor, ann, CORELANE_CLIENT_RECORDED, 0) == CORELANE_OK);
  CHECK(corelane_monitor_mark(monitor, ann, CORELANE_CLIENT_ROUTED, 0) == CORELANE_STALE);
  CHECK(corelane_monitor_mark(monitor, ann, 3, 0) == CORELANE_INVALID);
  CHECK(corelane_monitor_idle_clients(monitor, 0, clients, 4) == 1 && clients[0].healthy == 0);
  CHECK(clients[0].client.value == ann.value);
  CHECK(corelane_monitor_idle_clients(monitor, 3600 * SECOND, NULL, 0) == 0);
  CHECK(corelane_monitor_client_figures(monitor, "nobody", NUL, clients, 4) == 0);
  {
    char name[sizeof clients[0].name];
    memcpy(name, clients[0].name, sizeof name);
    CHECK(corelane_monitor_client_figures(monitor, name, NUL, clients, 4) == 1);
    CHECK(strcmp(clients[0].name, name) == 0);
  }
  CHECK(corelane_monitor_snapshot(monitor, &stats) == CORELANE_OK && stats.unhealthy == 1 && stats.reconnects == 2);
  CHECK(corelane_monitor_series_stats(monitor, stats.snapshot - 1, CORELANE_SERIES_TYPES, types, 4) == CORELANE_STALE);
  CHECK(corelane_monitor_mark(monitor, ann, CORELANE_CLIENT_RECORDED, 1) == CORELANE_OK);
  CHECK(corelane_monitor_disconnect(monitor, ann) == CORELANE_OK);
  CHECK(corelane_monitor_disconnect(monitor, ann) == CORELANE_STALE);
  CHECK(corelane_monitor_record_sent(monitor, ann, 1) == CORELANE_STALE);
  CHECK(corelane_monitor_record_sent(monitor, none, 1) == CORELANE_STALE);

  /* A reset shows what came before it, and nothing afterwards. */
  CHECK(corelane_monitor_record(monitor, batch, 2) == 2);
  CHECK(corelane_monitor_reset(monitor, &stats) == CORELANE_OK && stats.messages == 8 && stats.folded_clients == 2);
  CHECK(corelane_monitor_series_stats(monitor, stats.snapshot, CORELANE_SERIES_TYPES, NULL, 0) == 3);
  CHECK(corelane_monitor_reset(monitor, NULL) == CORELANE_OK);
  CHECK(corelane_monitor_record(monitor, batch, 1) == 1);
  CHECK(corelane_monitor_snapshot(monitor, &stats) == CORELANE_OK && stats.messages == 1 && stats.resets == 2);
  CHECK(corelane_monitor_release(monitor) == CORELANE_OK && corelane_monitor_release(other) == CORELANE_OK);
}

static void settings_and_reports(void) {
  corelane_monitor monitor = driven(NULL);
  corelane_text text = CORELANE_TEXT_INIT;
  corelane_stats stats = CORELANE_STATS_INIT;
  corelane_runtime runtime = CORELANE_RUNTIME_INIT;
  corelane_error error = CORELANE_ERROR_INIT;
  corelane_client client;
  static const char *const starts[] = {"", "{", "<!"};
  uint32_t format;

  runtime.goroutines = 12;
  runtime.gc_count = 3;
  runtime.gc_cpu_fraction = 0.25;
  runtime.heap_bytes = 1 << 20;
  CHECK(corelane_monitor_push_runtime(monitor, &runtime) == CORELANE_OK);
  runtime.gc_cpu_fraction = 1.5;
  CHECK(corelane_monitor_push_runtime(monitor, &runtime) == CORELANE_INVALID);
  CHECK(corelane_monitor_connect(monitor, "ann", NUL, "a", NUL, &client, &error) == CORELANE_OK);
  CHECK(corelane_monitor_tick(monitor) == CORELANE_OK);
  CHECK(corelane_monitor_snapshot(monitor, &stats) == CORELANE_OK);
  CHECK(stats.goroutines == 12 && stats.gc_count == 3 && stats.runtime_heap_bytes == 1 << 20 && stats.runtime_age_ms < 60000);
  CHECK(stats.resident_bytes > 1 << 20 && stats.resident_bytes < stats.machine_bytes && stats.cores > 0);
  CHECK(stats.threads >= 1 && stats.cpu_ns > 0 && stats.cores_allowed > 0 && stats.memory_share > 0);
  CHECK(stats.connection_pool_use > 0 && isnan(stats.worker_pool_use) && stats.collections >= 2 && stats.monitor_bytes > 0);
  for (format = CORELANE_REPORT_TEXT; format <= CORELANE_REPORT_PROMETHEUS; format++) {
    CHECK(corelane_monitor_report(monitor, format, &text) == CORELANE_OK && text.length > 100 && strlen(text.data) == text.length);
    if (format <= CORELANE_REPORT_HTML) {
      const char *begin = starts[format - 1];
      CHECK(strncmp(text.data, begin, strlen(begin)) == 0);
    } else {
      CHECK(contains(text.data, "\ncorelane_connections_open 1\n"));
    }
    CHECK(corelane_text_free(&text) == CORELANE_OK && text.data == NULL);
  }
  CHECK(corelane_monitor_report(monitor, 0, &text) == CORELANE_INVALID && text.data == NULL);
  CHECK(corelane_monitor_report(monitor, 1, NULL) == CORELANE_NULL);
  {
    uint64_t bytes = 0;
    corelane_text names = CORELANE_TEXT_INIT, history = CORELANE_TEXT_INIT;
    CHECK(corelane_monitor_bytes(monitor, &bytes) == CORELANE_OK && bytes > 100000);
    CHECK(corelane_monitor_bytes(monitor, NULL) == CORELANE_NULL);
    CHECK(corelane_monitor_history_names(monitor, &names) == CORELANE_OK && strstr(names.data, "\"messages\"") != NULL);
    CHECK(corelane_monitor_history_names(monitor, NULL) == CORELANE_NULL);
    CHECK(corelane_monitor_history(monitor, "messages", NUL, CORELANE_SPAN_MINUTE, &history) == CORELANE_OK);
    CHECK(strstr(history.data, "\"slots\":[{") != NULL);
    CHECK(corelane_text_free(&history) == CORELANE_OK);
    CHECK(corelane_monitor_history(monitor, "nothing", NUL, CORELANE_SPAN_HOUR, &history) == CORELANE_NOT_FOUND);
    CHECK(corelane_monitor_history(monitor, "messages", NUL, 4, &history) == CORELANE_INVALID && history.data == NULL);
    CHECK(corelane_monitor_history(monitor, NULL, 1, CORELANE_SPAN_DAY, &history) == CORELANE_NULL);
    CHECK(corelane_text_free(&names) == CORELANE_OK);
  }

  CHECK(corelane_monitor_set(monitor, "slow_message_threshold_ms", NUL, "250", NUL, &error) == CORELANE_OK);
  CHECK(corelane_monitor_set(monitor, "slow_message_threshold_ms", NUL, "-1", NUL, &error) == CORELANE_CONFIG_VALUE);
  CHECK(corelane_monitor_set(monitor, "slow_mesage_threshold_ms", NUL, "1", NUL, &error) == CORELANE_CONFIG_KEY);
  CHECK(contains(error.message, "slow_message_threshold_ms"));
  CHECK(corelane_monitor_set(monitor, "workers", NUL, "1", NUL, &error) == CORELANE_CONFIG_VALUE);
  CHECK(corelane_monitor_set(monitor, "high_queue_depth_threshold", NUL, "1", NUL, &error) == CORELANE_CONFIG_VALUE);
  CHECK(contains(error.message, "no effect in a monitor without a router"));
  CHECK(corelane_monitor_set(monitor, "\xff", NUL, "1", NUL, NULL) == CORELANE_INVALID);
  CHECK(corelane_monitor_snapshot(monitor, &stats) == CORELANE_OK && stats.slow_threshold_ns == 250000000);
  CHECK(corelane_monitor_stop(monitor, SECOND) == CORELANE_OK);
  CHECK(corelane_monitor_release(monitor) == CORELANE_OK);
}

static void own_metrics(void) {
  corelane_monitor monitor = driven(NULL);
  static const char *const labels[] = {"region", "kind"}, *const europe[] = {"eu", "audio"}, *const holes[] = {"eu", NULL};
  static const char *const wrong[] = {"eu", "\xff"};
  corelane_metric joins = CORELANE_METRIC_INIT, depth = CORELANE_METRIC_INIT, wait = CORELANE_METRIC_INIT;
  corelane_counter counter = {0}, same = {0};
  corelane_gauge gauge = {0};
  corelane_histogram histogram = {0};
  corelane_error error = CORELANE_ERROR_INIT;
  corelane_text text = CORELANE_TEXT_INIT;
  joins.name = "conference_joins_total";
  joins.help = "Joins of conferences";
  joins.labels = labels;
  joins.label_count = 2;
  depth.name = "depth";
  depth.help = "Depth of a queue";
  wait.name = "wait_seconds";
  wait.help = "Waits";
  wait.unit = "seconds";
  CHECK(corelane_monitor_counter(monitor, &joins, europe, 2, &counter, &error) == CORELANE_OK);
  CHECK(corelane_monitor_counter(monitor, &joins, europe, 2, &same, &error) == CORELANE_OK);
  CHECK(corelane_monitor_gauge(monitor, &depth, NULL, 0, &gauge, &error) == CORELANE_OK);
  CHECK(corelane_monitor_histogram(monitor, &wait, NULL, 0, &histogram, &error) == CORELANE_OK);
  CHECK(corelane_monitor_counter(monitor, &joins, europe, 1, &same, &error) == CORELANE_INVALID);
  CHECK(contains(error.message, "2 labels"));
  CHECK(corelane_monitor_counter(monitor, &joins, holes, 2, &same, &error) == CORELANE_NULL);
  CHECK(corelane_monitor_counter(monitor, &joins, wrong, 2, &same, &error) == CORELANE_INVALID);
  CHECK(corelane_monitor_counter(monitor, &joins, NULL, 2, &same, &error) == CORELANE_NULL);
  CHECK(corelane_monitor_counter(monitor, &joins, europe, 2, NULL, &error) == CORELANE_NULL);
  CHECK(corelane_monitor_counter(monitor, NULL, europe, 2, &same, &error) == CORELANE_NULL);
  CHECK(corelane_monitor_counter(monitor, &depth, NULL, 0, &same, &error) == CORELANE_INVALID);
  CHECK(corelane_monitor_gauge(monitor, &joins, europe, 2, &gauge, &error) == CORELANE_INVALID);
  CHECK(corelane_monitor_gauge(monitor, &depth, NULL, 0, NULL, &error) == CORELANE_NULL);
  CHECK(corelane_monitor_histogram(monitor, &wait, NULL, 0, NULL, &error) == CORELANE_NULL);
  CHECK(corelane_counter_add(counter, 2) == CORELANE_OK && corelane_counter_add(same, 3) == CORELANE_OK);
  CHECK(corelane_gauge_set(gauge, 2.5) == CORELANE_OK && corelane_gauge_add(gauge, -1) == CORELANE_OK);
  CHECK(corelane_gauge_set(gauge, NAN) == CORELANE_OK);
  CHECK(corelane_histogram_record(histogram, SECOND) == CORELANE_OK);
  CHECK(corelane_histogram_record_all(histogram, NULL, 0) == CORELANE_OK);
  CHECK(corelane_histogram_record_all(histogram, NULL, 1) == CORELANE_NULL);
  CHECK(corelane_monitor_report(monitor, CORELANE_REPORT_PROMETHEUS, &text) == CORELANE_OK);
  CHECK(contains(text.data, "conference_joins_total{region=\"eu\",kind=\"audio\"} 5\n"));
  CHECK(contains(text.data, "\ndepth 1.5\n") && contains(text.data, "\nwait_seconds_sum 1\n"));
  CHECK(corelane_text_free(&text) == CORELANE_OK);
  CHECK(corelane_counter_release(counter) == CORELANE_OK && corelane_counter_release(counter) == CORELANE_STALE);
  CHECK(corelane_counter_add(counter, 1) == CORELANE_STALE && corelane_counter_add(same, 1) == CORELANE_OK);
  CHECK(corelane_counter_add((corelane_counter){0}, 1) == CORELANE_STALE);
  CHECK(corelane_monitor_release(monitor) == CORELANE_OK);
  CHECK(corelane_counter_add(same, 1) == CORELANE_OK && corelane_counter_release(same) == CORELANE_OK);
  CHECK(corelane_gauge_release(gauge) == CORELANE_OK && corelane_gauge_set(gauge, 1) == CORELANE_STALE);
  CHECK(corelane_gauge_release(gauge) == CORELANE_STALE && corelane_gauge_add(gauge, 1) == CORELANE_STALE);
  CHECK(corelane_histogram_release(histogram) == CORELANE_OK && corelane_histogram_release(histogram) == CORELANE_STALE);
  CHECK(corelane_histogram_record(histogram, 1) == CORELANE_STALE);
  CHECK(corelane_histogram_record_all(histogram, NULL, 0) == CORELANE_STALE);
}

/* What a callback has seen. */
struct seen {
  corelane_monitor monitor;
  atomic_ullong handle;
  atomic_int calls, freed, removed, block, raised, signals;
};

static void wait_for(atomic_int *word, int least) {
  struct timespec pause = {0, 1000000};
  int patience = 60000;
  while (atomic_load(word) < least && patience-- > 0) nanosleep(&pause, NULL);
  CHECK(atomic_load(word) >= least);
}

static void on_free(void *context) { atomic_fetch_add(&((struct seen *)context)->freed, 1); }

/* Calls the monitor again, as any callback may. */
static void on_alert(void *context, const corelane_alert *alert) {
  struct seen *seen = context;
  corelane_stats stats = CORELANE_STATS_INIT;
  sigset_t blocked;
  CHECK(strcmp(alert->name, "crowd") == 0 && alert->size == sizeof *alert && contains(alert->sentence, "threshold"));
  CHECK(corelane_monitor_snapshot(seen->monitor, &stats) == CORELANE_OK);
  CHECK(corelane_monitor_alerts(seen->monitor, CORELANE_ALERTS_CURRENT, NULL, 0) >= 0);
  if (alert->notification == CORELANE_NOTIFICATION_RAISED) atomic_fetch_add(&seen->raised, 1);
  if (pthread_sigmask(SIG_SETMASK, NULL, &blocked) == 0 && sigismember(&blocked, SIGINT)) atomic_store(&seen->signals, 1);
  atomic_fetch_add(&seen->calls, 1);
  while (atomic_load(&seen->block)) nanosleep(&(struct timespec){0, 1000000}, NULL);
}

static void removes_itself(void *context, const corelane_alert *alert) {
  struct seen *seen = context;
  corelane_callback own;
  (void)alert;
  wait_for(&seen->block, 1); /* Until the handle is there. */
  own.value = atomic_load(&seen->handle);
  CHECK(corelane_monitor_remove_callback(seen->monitor, own, SECOND) == CORELANE_TIMEOUT);
  CHECK(corelane_monitor_remove_callback(seen->monitor, own, 0) == CORELANE_TIMEOUT);
  atomic_fetch_add(&seen->calls, 1);
}

static void releases_the_monitor(void *context, const corelane_alert *alert) {
  struct seen *seen = context;
  (void)alert;
  CHECK(corelane_monitor_release(seen->monitor) == CORELANE_OK);
  atomic_fetch_add(&seen->calls, 1);
}

static void on_report(void *context, const char *report, size_t length) {
  struct seen *seen = context;
  CHECK(strlen(report) == length && report[0] == '{');
  atomic_fetch_add(&seen->calls, 1);
}

static corelane_rule crowd(void) {
  corelane_rule rule = CORELANE_RULE_INIT;
  rule.name = "crowd";
  rule.metric = "connections.active";
  rule.flags = CORELANE_RULE_CLEAR | CORELANE_RULE_COOLDOWN | CORELANE_RULE_REPEAT;
  rule.severity = CORELANE_SEVERITY_CRITICAL;
  rule.trigger = 0.5;
  rule.clear = 0.5;
  return rule;
}

static void sleep_ms(long ms) { nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL); }

static void alerts(void) {
  corelane_monitor monitor = driven("monitor_interval_ms=100");
  corelane_rule rule = crowd();
  corelane_error error = CORELANE_ERROR_INIT;
  static corelane_alert found[8];
  static corelane_rule_stats rules[32];
  corelane_alert_poll queue = {0};
  corelane_callback callback = {0}, own = {0}, third = {0};
  corelane_client ann;
  corelane_stats stats = CORELANE_STATS_INIT;
  static struct seen seen, self;
  struct pollfd watched = {0, POLLIN, 0};
  int count, at, mine = -1;

  found[0].size = sizeof found[0];
  rules[0].size = sizeof rules[0];
  seen.monitor = self.monitor = monitor;
  CHECK(corelane_monitor_add_rule(monitor, &rule, &error) == CORELANE_OK);
  CHECK(corelane_monitor_add_rule(monitor, &rule, &error) == CORELANE_EXISTS);
  rule.name = "other";
  rule.metric = "connections.activ";
  CHECK(corelane_monitor_add_rule(monitor, &rule, &error) == CORELANE_INVALID && contains(error.message, "connections.active"));
  rule.metric = "connections.active";
  rule.severity = 4;
  CHECK(corelane_monitor_add_rule(monitor, &rule, &error) == CORELANE_INVALID);
  rule.severity = 0;
  rule.flags = 64;
  CHECK(corelane_monitor_add_rule(monitor, &rule, &error) == CORELANE_INVALID);
  rule.flags = CORELANE_RULE_BELOW;
  rule.trigger = NAN;
  CHECK(corelane_monitor_add_rule(monitor, &rule, &error) == CORELANE_INVALID && contains(error.message, "finite"));
  CHECK(corelane_monitor_add_rule(monitor, NULL, &error) == CORELANE_NULL);
  CHECK(corelane_monitor_set_threshold(monitor, "crowd", NUL, 0.25, 0.5) == CORELANE_INVALID);
  CHECK(corelane_monitor_set_threshold(monitor, "crowd", NUL, 0.25, 0.125) == CORELANE_OK);
  CHECK(corelane_monitor_set_threshold(monitor, "nobody", NUL, 1, 1) == CORELANE_NOT_FOUND);
  count = corelane_monitor_rules(monitor, rules, 32);
  for (at = 0; at < count; at++) {
    if (strcmp(rules[at].name, "crowd") == 0) mine = at;
    if (strcmp(rules[at].name, "queue_depth") == 0) CHECK(strcmp(rules[at].unavailable, "there is no router") == 0);
  }
  CHECK(mine >= 0 && rules[mine].trigger == 0.25 && rules[mine].clear == 0.125 && rules[mine].unavailable[0] == 0);
  CHECK(strcmp(rules[mine].metric, "connections.active") == 0 && rules[mine].severity == CORELANE_SEVERITY_CRITICAL);

  CHECK(corelane_monitor_alert_poll(monitor, &queue, &error) == CORELANE_OK);
  CHECK(corelane_monitor_alert_poll(monitor, NULL, &error) == CORELANE_NULL);
  watched.fd = corelane_alert_poll_fd(queue);
  CHECK(watched.fd >= 0 && poll(&watched, 1, 0) == 0);
  CHECK(corelane_alert_poll_next(queue, found) == CORELANE_AGAIN && corelane_alert_poll_wait(queue, 0) == 0);
  CHECK(corelane_monitor_on_alert(monitor, on_alert, &seen, on_free, &callback, &error) == CORELANE_OK);
  CHECK(corelane_monitor_on_alert(monitor, removes_itself, &self, on_free, &own, &error) == CORELANE_OK);
  CHECK(corelane_monitor_on_alert(monitor, on_alert, &seen, NULL, &third, NULL) == CORELANE_OK);
  CHECK(corelane_monitor_remove_callback(monitor, third, SECOND) == CORELANE_OK);
  CHECK(corelane_monitor_remove_callback(monitor, third, SECOND) == CORELANE_STALE);
  atomic_store(&self.handle, own.value);
  atomic_store(&self.block, 1);

  CHECK(corelane_monitor_connect(monitor, "ann", NUL, NULL, 0, &ann, NULL) == CORELANE_OK);
  atomic_store(&seen.block, 1);
  CHECK(corelane_monitor_tick(monitor) == CORELANE_OK);
  CHECK(corelane_alert_poll_wait(queue, 60 * SECOND) == 1 && poll(&watched, 1, 0) == 1);
  CHECK(corelane_alert_poll_next(queue, found) == CORELANE_OK);
  CHECK(strcmp(found[0].name, "crowd") == 0 && found[0].notification == CORELANE_NOTIFICATION_RAISED);
  CHECK(found[0].state == CORELANE_ALERT_FIRING && found[0].value == 1 && found[0].threshold == 0.25);
  CHECK(found[0].raised_ms >= found[0].since_ms && found[0].resolved_ms == CORELANE_UNKNOWN && found[0].label_set[0] == 0);
  CHECK(poll(&watched, 1, 0) == 0);
  CHECK(corelane_monitor_alerts(monitor, CORELANE_ALERTS_CURRENT, found, 8) == 1);
  CHECK(corelane_monitor_alerts(monitor, CORELANE_ALERTS_PENDING, found, 8) == 0);
  CHECK(corelane_monitor_alerts(monitor, 0, found, 8) == CORELANE_INVALID);
  /* A call is in progress: its removal times out, waits again, and frees the context. */
  wait_for(&seen.calls, 1);
  CHECK(atomic_load(&seen.signals) == 1);
  CHECK(corelane_monitor_remove_callback(monitor, callback, 1000000) == CORELANE_TIMEOUT && atomic_load(&seen.freed) == 0);
  atomic_store(&seen.block, 0);
  CHECK(corelane_monitor_remove_callback(monitor, callback, 60 * SECOND) == CORELANE_OK && atomic_load(&seen.freed) == 1);
  CHECK(atomic_load(&seen.calls) == 1 && atomic_load(&seen.raised) == 1);
  wait_for(&self.freed, 1);
  CHECK(atomic_load(&self.calls) == 1);
  CHECK(corelane_monitor_remove_callback(monitor, own, 60 * SECOND) == CORELANE_OK);
  CHECK(corelane_monitor_remove_callback(monitor, (corelane_callback){0}, 0) == CORELANE_STALE);

  CHECK(corelane_monitor_disconnect(monitor, ann) == CORELANE_OK);
  sleep_ms(120);
  CHECK(corelane_monitor_tick(monitor) == CORELANE_OK);
  CHECK(corelane_alert_poll_next(queue, found) == CORELANE_OK && found[0].notification == CORELANE_NOTIFICATION_RESOLVED);
  CHECK(corelane_monitor_alerts(monitor, CORELANE_ALERTS_PAST, found, 8) == 1 && found[0].state == CORELANE_ALERT_RESOLVED);
  CHECK(found[0].resolved_ms != CORELANE_UNKNOWN);
  CHECK(corelane_monitor_snapshot(monitor, &stats) == CORELANE_OK && stats.alerts_raised == 1 && stats.alerts_resolved == 1);
  CHECK(stats.alerts == 0 && stats.alerts_pending == 0);
  CHECK(corelane_monitor_remove_rule(monitor, "crowd", 5) == CORELANE_OK);
  CHECK(corelane_monitor_remove_rule(monitor, "crowd", 5) == CORELANE_NOT_FOUND);

  /* After a failed registration the context is still ours. */
  atomic_store(&seen.freed, 0);
  CHECK(corelane_monitor_on_alert(monitor, NULL, &seen, on_free, &callback, NULL) == CORELANE_NULL);
  CHECK(corelane_monitor_on_alert(monitor, on_alert, &seen, on_free, NULL, NULL) == CORELANE_NULL);
  CHECK(corelane_monitor_on_alert(no_monitor, on_alert, &seen, on_free, &callback, NULL) == CORELANE_STALE);
  CHECK(corelane_monitor_on_report(monitor, 9, on_report, &seen, on_free, &callback, NULL) == CORELANE_INVALID);
  CHECK(corelane_monitor_on_report(monitor, 2, NULL, &seen, on_free, &callback, NULL) == CORELANE_NULL);
  CHECK(corelane_monitor_on_report(monitor, 4, on_report, &seen, on_free, &callback, NULL) == CORELANE_INVALID);
  {
    corelane_callback all[17];
    for (at = 0; at < 16; at++) {
      CHECK(corelane_monitor_on_alert(monitor, on_alert, &seen, on_free, &all[at], &error) == CORELANE_OK);
    }
    CHECK(corelane_monitor_on_alert(monitor, on_alert, &seen, on_free, &all[16], &error) == CORELANE_LIMIT);
    CHECK(atomic_load(&seen.freed) == 0);
    for (at = 0; at < 16; at++) CHECK(corelane_monitor_remove_callback(monitor, all[at], 60 * SECOND) == CORELANE_OK);
    CHECK(atomic_load(&seen.freed) == 16);
  }

  CHECK(corelane_monitor_release(monitor) == CORELANE_OK);
  CHECK(poll(&watched, 1, 0) == 1 && corelane_alert_poll_next(queue, found) == CORELANE_CLOSED);
  CHECK(corelane_alert_poll_wait(queue, 5 * SECOND) == 0);
  CHECK(corelane_alert_poll_release(queue) == CORELANE_OK && corelane_alert_poll_release(queue) == CORELANE_STALE);
  CHECK(corelane_alert_poll_fd(queue) == CORELANE_STALE && corelane_alert_poll_next(queue, found) == CORELANE_STALE);
  CHECK(corelane_alert_poll_wait(queue, 0) == CORELANE_STALE);
}

/* A started monitor raises by itself, and its own callback releases it. */
static void release_inside_a_callback(void) {
  static struct seen seen;
  corelane_monitor monitor = start("monitor_interval_ms=100");
  corelane_rule rule = crowd();
  corelane_callback callback;
  corelane_client ann;
  seen.monitor = monitor;
  CHECK(corelane_monitor_add_rule(monitor, &rule, NULL) == CORELANE_OK);
  CHECK(corelane_monitor_on_alert(monitor, releases_the_monitor, &seen, on_free, &callback, NULL) == CORELANE_OK);
  CHECK(corelane_monitor_connect(monitor, "ann", NUL, NULL, 0, &ann, NULL) == CORELANE_OK);
  wait_for(&seen.freed, 1);
  CHECK(atomic_load(&seen.calls) == 1 && corelane_monitor_tick(monitor) == CORELANE_STALE);
}

static void reports(void) {
  static struct seen seen;
  char path[] = "/tmp/corelane-monitor-XXXXXX", file[64], line[16] = "";
  corelane_monitor monitor = driven("report_interval_ms=1");
  corelane_callback callback, written;
  corelane_error error = CORELANE_ERROR_INIT;
  corelane_stats stats = CORELANE_STATS_INIT;
  FILE *stream = NULL;
  int patience = 20000;
  NEED(mkdtemp(path) != NULL);
  snprintf(file, sizeof file, "%s/report", path);
  CHECK(corelane_monitor_on_report(monitor, CORELANE_REPORT_JSON, on_report, &seen, on_free, &callback, &error) == CORELANE_OK);
  CHECK(corelane_monitor_report_to(monitor, CORELANE_REPORT_HTML, file, NUL, &written, &error) == CORELANE_OK);
  CHECK(corelane_monitor_report_to(monitor, CORELANE_REPORT_HTML, path, NUL, &written, &error) == CORELANE_SYSTEM);
  CHECK(error.os_errno == EISDIR);
  CHECK(corelane_monitor_report_to(monitor, CORELANE_REPORT_HTML, file, NUL, NULL, &error) == CORELANE_NULL);
  CHECK(corelane_monitor_report_to(monitor, 0, file, NUL, &written, &error) == CORELANE_INVALID);
  sleep_ms(5);
  CHECK(corelane_monitor_tick(monitor) == CORELANE_OK);
  wait_for(&seen.calls, 1);
  while (stream == NULL && patience-- > 0) {
    sleep_ms(1);
    stream = fopen(file, "r");
  }
  CHECK(stream != NULL && fgets(line, sizeof line, stream) != NULL && strncmp(line, "<!", 2) == 0);
  if (stream != NULL) fclose(stream);
  CHECK(corelane_monitor_remove_callback(monitor, written, 20 * SECOND) == CORELANE_OK);
  CHECK(corelane_monitor_remove_callback(monitor, callback, 20 * SECOND) == CORELANE_OK && atomic_load(&seen.freed) == 1);
  CHECK(corelane_monitor_snapshot(monitor, &stats) == CORELANE_OK && stats.reports == 1 && stats.reports_failed == 0);
  CHECK(corelane_monitor_release(monitor) == CORELANE_OK);
  unlink(file);
  rmdir(path);
}

/* NULL in each place of a pointer, sizes that are not those of a struct, and texts that are not UTF-8. */
static void misuse(void) {
  corelane_monitor monitor = driven(NULL), forged[3] = {{0}, {UINT64_MAX}, {0}};
  corelane_series series;
  corelane_client client;
  corelane_sample sample = CORELANE_SAMPLE_INIT;
  corelane_message message = CORELANE_MESSAGE_INIT;
  corelane_stats stats = CORELANE_STATS_INIT;
  corelane_runtime runtime = CORELANE_RUNTIME_INIT;
  corelane_series_stats types = CORELANE_SERIES_STATS_INIT;
  corelane_client_stats clients = CORELANE_CLIENT_STATS_INIT;
  corelane_slow_message slow = CORELANE_SLOW_MESSAGE_INIT;
  corelane_application_stats applications = CORELANE_APPLICATION_STATS_INIT;
  corelane_alert alert = CORELANE_ALERT_INIT;
  corelane_rule_stats rules = CORELANE_RULE_STATS_INIT;
  corelane_rule rule = crowd();
  corelane_metric metric = CORELANE_METRIC_INIT;
  corelane_text text = CORELANE_TEXT_INIT;
  corelane_counter counter;
  corelane_callback callback;
  corelane_alert_poll queue;
  corelane_error error = CORELANE_ERROR_INIT;
  static const uint32_t sizes[] = {0, 1, 7, 12};
  struct {
    corelane_sample sample;
    uint64_t more;
  } larger[2] = {{CORELANE_SAMPLE_INIT, 9}, {CORELANE_SAMPLE_INIT, 9}};
  size_t at;

  CHECK(corelane_monitor_series(monitor, NULL, 0, NULL, 0, NULL, 0, NULL) == CORELANE_NULL);
  CHECK(corelane_monitor_series(monitor, NULL, 1, NULL, 0, NULL, 0, &series) == CORELANE_NULL);
  CHECK(corelane_monitor_series(monitor, NULL, 0, NULL, 1, NULL, 0, &series) == CORELANE_NULL);
  CHECK(corelane_monitor_series(monitor, NULL, 0, NULL, 0, NULL, 1, &series) == CORELANE_NULL);
  CHECK(corelane_monitor_series(monitor, "\xff", 1, NULL, 0, NULL, 0, &series) == CORELANE_INVALID);
  CHECK(corelane_monitor_series(monitor, NULL, 0, NULL, 0, NULL, 0, &series) == CORELANE_OK);
  CHECK(corelane_monitor_record(monitor, NULL, 1) == CORELANE_NULL);
  CHECK(corelane_monitor_record(monitor, &sample, SIZE_MAX / 2) == CORELANE_INVALID);
  CHECK(corelane_monitor_record_message(monitor, NULL, &error) == CORELANE_NULL);
  message.client_length = 3;
  CHECK(corelane_monitor_record_message(monitor, &message, &error) == CORELANE_NULL && contains(error.message, "client"));
  message.client = "a\xff";
  message.client_length = NUL;
  CHECK(corelane_monitor_record_message(monitor, &message, &error) == CORELANE_INVALID && contains(error.message, "byte 1"));
  message.client = NULL;
  message.reason = 77;
  CHECK(corelane_monitor_record_message(monitor, &message, NULL) == CORELANE_INVALID);
  CHECK(corelane_monitor_connect(monitor, "a", 1, NULL, 0, NULL, &error) == CORELANE_NULL);
  CHECK(corelane_monitor_connect(monitor, NULL, 1, NULL, 0, &client, &error) == CORELANE_NULL);
  CHECK(corelane_monitor_connect(monitor, "a", 1, NULL, 1, &client, &error) == CORELANE_NULL);
  CHECK(corelane_monitor_connect(monitor, "\xff", 1, NULL, 0, &client, &error) == CORELANE_INVALID);
  CHECK(corelane_monitor_client(monitor, "a", 1, NULL) == CORELANE_NULL);
  CHECK(corelane_monitor_client(monitor, NULL, 1, &client) == CORELANE_NULL);
  CHECK(corelane_monitor_client(monitor, "\xff", 1, &client) == CORELANE_INVALID);
  CHECK(corelane_monitor_push_runtime(monitor, NULL) == CORELANE_NULL);
  CHECK(corelane_monitor_snapshot(monitor, NULL) == CORELANE_NULL);
  CHECK(corelane_monitor_idle_clients(monitor, 0, NULL, 1) == CORELANE_NULL);
  CHECK(corelane_monitor_client_figures(monitor, NULL, 5, NULL, 0) == CORELANE_NULL);
  CHECK(corelane_monitor_client_figures(monitor, "\xff", 1, NULL, 0) == CORELANE_INVALID);
  CHECK(corelane_monitor_set(monitor, NULL, 1, "1", 1, NULL) == CORELANE_NULL);
  CHECK(corelane_monitor_set(monitor, "a", 1, NULL, 1, NULL) == CORELANE_NULL);
  CHECK(corelane_monitor_remove_rule(monitor, NULL, 1) == CORELANE_NULL);
  CHECK(corelane_monitor_set_threshold(monitor, NULL, 1, 1, 1) == CORELANE_NULL);
  CHECK(corelane_monitor_set_threshold(monitor, "\xff", 1, 1, 1) == CORELANE_INVALID);
  CHECK(corelane_monitor_alerts(monitor, 1, NULL, 1) == CORELANE_NULL);
  CHECK(corelane_monitor_rules(monitor, NULL, 1) == CORELANE_NULL);
  CHECK(corelane_monitor_report_to(monitor, 1, NULL, 1, &callback, NULL) == CORELANE_NULL);
  CHECK(corelane_monitor_on_report(monitor, 1, on_report, NULL, NULL, NULL, NULL) == CORELANE_NULL);
  CHECK(corelane_router_monitor((corelane_router){0}, NULL, NULL) == CORELANE_NULL);
  CHECK(corelane_router_monitor((corelane_router){0}, &monitor, NULL) == CORELANE_STALE);
  CHECK(corelane_monitor_snapshot(monitor, &stats) == CORELANE_OK && stats.messages == 0);
  CHECK(corelane_monitor_series_stats(monitor, 0, 1, NULL, 1) == CORELANE_NULL);
  CHECK(corelane_monitor_client_stats(monitor, 0, 1, NULL, 1) == CORELANE_NULL);
  CHECK(corelane_monitor_slow_messages(monitor, 0, NULL, 1) == CORELANE_NULL);
  CHECK(corelane_monitor_application_stats(monitor, 0, NULL, 1) == CORELANE_NULL);

  for (at = 0; at < COUNT_OF(sizes); at++) {
    sample.size = message.size = stats.size = runtime.size = types.size = clients.size = slow.size = sizes[at];
    applications.size = alert.size = rules.size = rule.size = metric.size = text.size = sizes[at];
    CHECK(corelane_monitor_record(monitor, &sample, 1) == CORELANE_INVALID);
    CHECK(corelane_monitor_record_message(monitor, &message, NULL) == CORELANE_INVALID);
    CHECK(corelane_monitor_snapshot(monitor, &stats) == CORELANE_INVALID);
    CHECK(corelane_monitor_reset(monitor, &stats) == CORELANE_INVALID);
    CHECK(corelane_monitor_push_runtime(monitor, &runtime) == CORELANE_INVALID);
    CHECK(corelane_monitor_series_stats(monitor, 0, 1, &types, 1) == CORELANE_INVALID);
    CHECK(corelane_monitor_client_stats(monitor, 0, 1, &clients, 1) == CORELANE_INVALID);
    CHECK(corelane_monitor_idle_clients(monitor, 0, &clients, 1) == CORELANE_INVALID);
    CHECK(corelane_monitor_slow_messages(monitor, 0, &slow, 1) == CORELANE_INVALID);
    CHECK(corelane_monitor_application_stats(monitor, 0, &applications, 1) == CORELANE_INVALID);
    CHECK(corelane_monitor_alerts(monitor, 1, &alert, 1) == CORELANE_INVALID);
    CHECK(corelane_monitor_rules(monitor, &rules, 1) == CORELANE_INVALID);
    CHECK(corelane_monitor_add_rule(monitor, &rule, NULL) == CORELANE_INVALID);
    CHECK(corelane_monitor_counter(monitor, &metric, NULL, 0, &counter, NULL) == CORELANE_INVALID);
    CHECK(corelane_monitor_report(monitor, 1, &text) == CORELANE_INVALID);
  }
  /* A newer program's struct is larger, and an older one's is smaller. */
  larger[0].sample.size = sizeof larger[0];
  larger[0].sample.bytes = 3;
  larger[1].sample.bytes = 4;
  CHECK(corelane_monitor_record(monitor, &larger[0].sample, 2) == 2);
  sample.size = 24;
  sample.bytes = 100;
  CHECK(corelane_monitor_record(monitor, &sample, 1) == 1);
  stats.size = 64;
  stats.succeeded = 99;
  CHECK(corelane_monitor_snapshot(monitor, &stats) == CORELANE_OK && stats.messages == 3 && stats.succeeded == 99);
  stats.size = sizeof stats;
  CHECK(corelane_monitor_snapshot(monitor, &stats) == CORELANE_OK && stats.bytes_in == 7);
  CHECK(corelane_monitor_release(monitor) == CORELANE_OK);

  forged[2] = monitor;
  for (at = 0; at < COUNT_OF(forged); at++) {
    corelane_monitor stale = forged[at];
    sample.size = sizeof sample;
    message = (corelane_message)CORELANE_MESSAGE_INIT;
    runtime.size = sizeof runtime;
    rule = crowd();
    metric = (corelane_metric)CORELANE_METRIC_INIT;
    text.size = sizeof text;
    CHECK(corelane_monitor_record(stale, &sample, 1) == CORELANE_STALE);
    CHECK(corelane_monitor_record_message(stale, &message, NULL) == CORELANE_STALE);
    CHECK(corelane_monitor_series(stale, NULL, 0, NULL, 0, NULL, 0, &series) == CORELANE_STALE);
    CHECK(corelane_monitor_connect(stale, "a", 1, NULL, 0, &client, NULL) == CORELANE_STALE);
    CHECK(corelane_monitor_disconnect(stale, client) == CORELANE_STALE);
    CHECK(corelane_monitor_client(stale, "a", 1, &client) == CORELANE_STALE);
    CHECK(corelane_monitor_record_sent(stale, client, 1) == CORELANE_STALE);
    CHECK(corelane_monitor_record_reconnect(stale) == CORELANE_STALE);
    CHECK(corelane_monitor_mark(stale, client, CORELANE_CLIENT_RECORDED, 1) == CORELANE_STALE);
    CHECK(corelane_monitor_idle_clients(stale, 0, NULL, 0) == CORELANE_STALE);
    CHECK(corelane_monitor_client_figures(stale, "a", 1, NULL, 0) == CORELANE_STALE);
    CHECK(corelane_monitor_push_runtime(stale, &runtime) == CORELANE_STALE);
    CHECK(corelane_monitor_snapshot(stale, &stats) == CORELANE_STALE);
    CHECK(corelane_monitor_series_stats(stale, 0, 1, NULL, 0) == CORELANE_STALE);
    CHECK(corelane_monitor_client_stats(stale, 0, 1, NULL, 0) == CORELANE_STALE);
    CHECK(corelane_monitor_slow_messages(stale, 0, NULL, 0) == CORELANE_STALE);
    CHECK(corelane_monitor_application_stats(stale, 0, NULL, 0) == CORELANE_STALE);
    CHECK(corelane_monitor_report(stale, 1, &text) == CORELANE_STALE);
    {
      uint64_t bytes;
      CHECK(corelane_monitor_bytes(stale, &bytes) == CORELANE_STALE);
      CHECK(corelane_monitor_history_names(stale, &text) == CORELANE_STALE);
      CHECK(corelane_monitor_history(stale, "messages", 8, 1, &text) == CORELANE_STALE);
    }
    CHECK(corelane_monitor_reset(stale, NULL) == CORELANE_STALE);
    CHECK(corelane_monitor_set(stale, "logging", NUL, "on", NUL, NULL) == CORELANE_STALE);
    CHECK(corelane_monitor_tick(stale) == CORELANE_STALE && corelane_monitor_stop(stale, 0) == CORELANE_STALE);
    CHECK(corelane_monitor_add_rule(stale, &rule, NULL) == CORELANE_STALE);
    CHECK(corelane_monitor_remove_rule(stale, "a", 1) == CORELANE_STALE);
    CHECK(corelane_monitor_set_threshold(stale, "a", 1, 1, 1) == CORELANE_STALE);
    CHECK(corelane_monitor_alerts(stale, 1, NULL, 0) == CORELANE_STALE && corelane_monitor_rules(stale, NULL, 0) == CORELANE_STALE);
    CHECK(corelane_monitor_alert_poll(stale, &queue, NULL) == CORELANE_STALE);
    CHECK(corelane_monitor_report_to(stale, 1, "x", 1, &callback, NULL) == CORELANE_STALE);
    CHECK(corelane_monitor_remove_callback(stale, (corelane_callback){1}, 0) == CORELANE_STALE);
    CHECK(corelane_monitor_counter(stale, &metric, NULL, 0, &counter, NULL) == CORELANE_STALE);
    CHECK(corelane_monitor_release(stale) == CORELANE_STALE);
  }
}

/* The monitor of a router shows what the router does and what the host records, and outlives it. */
static void of_a_router(void) {
  corelane_router router, other;
  corelane_monitor monitor, second = {5};
  corelane_stats stats = CORELANE_STATS_INIT;
  corelane_error error = CORELANE_ERROR_INIT;
  corelane_sample sample = CORELANE_SAMPLE_INIT;
  corelane_port port;
  corelane_client client;
  corelane_connect_options options = CORELANE_CONNECT_OPTIONS_INIT;
  corelane_client_stats clients[2] = {CORELANE_CLIENT_STATS_INIT};
  NEED(corelane_router_start("workers=1\nmonitor_interval_ms=100", NUL, &router, &error) == CORELANE_OK);
  NEED(corelane_router_start("workers=1", NUL, &other, &error) == CORELANE_OK);
  CHECK(corelane_router_monitor(router, &monitor, &error) == CORELANE_OK);
  CHECK(corelane_router_monitor(router, &second, &error) == CORELANE_EXISTS && second.value == 5);
  CHECK(corelane_router_monitor(other, &second, &error) == CORELANE_OK);
  CHECK(corelane_router_release(other) == CORELANE_OK && corelane_monitor_release(second) == CORELANE_OK);
  NEED(corelane_port_open(router, NULL, &port, &error) == CORELANE_OK);
  options.name = "ann";
  options.protocol = "generic";
  CHECK(corelane_port_connect(port, &options, &client, &error) == CORELANE_OK);
  CHECK(corelane_monitor_record(monitor, &sample, 1) == 1);
  CHECK(corelane_monitor_set(monitor, "high_queue_depth_threshold", NUL, "5", NUL, &error) == CORELANE_OK);
  CHECK(corelane_monitor_set(monitor, "workers", NUL, "5", NUL, &error) == CORELANE_CONFIG_VALUE);
  CHECK(corelane_monitor_snapshot(monitor, &stats) == CORELANE_OK && stats.has_router == 1 && stats.workers == 1);
  CHECK(stats.messages == 1 && stats.submitted == 0 && stats.connections == 1 && stats.workers_lost == 0);
  CHECK(corelane_monitor_mark(monitor, client, CORELANE_CLIENT_ROUTED, 0) == CORELANE_OK);
  CHECK(corelane_monitor_idle_clients(monitor, 0, clients, 2) == 1 && clients[0].kind == CORELANE_CLIENT_ROUTED);
  CHECK(clients[0].client.value == client.value && strcmp(clients[0].protocol, "generic") == 0 && clients[0].healthy == 0);
  CHECK(corelane_port_release(port) == CORELANE_OK && corelane_router_release(router) == CORELANE_OK);
  CHECK(corelane_monitor_snapshot(monitor, &stats) == CORELANE_OK && stats.messages == 1);
  CHECK(corelane_monitor_release(monitor) == CORELANE_OK);
  CHECK(corelane_router_monitor(router, &monitor, &error) == CORELANE_STALE);
}

static atomic_ullong recorded;
static atomic_int begun, stop;

static void *record_until_stale(void *argument) {
  corelane_monitor monitor = *(corelane_monitor *)argument;
  corelane_series series = series_of(monitor, "p", "t", "a");
  corelane_sample samples[4];
  int at, status;
  uint64_t count = 0;
  for (at = 0; at < 4; at++) samples[at] = sample_of(series, (corelane_client){0}, 10, 1000);
  atomic_fetch_add(&begun, 1);
  while ((status = corelane_monitor_record(monitor, samples, 4)) > 0) {
    count += (uint64_t)status;
    if (atomic_load_explicit(&stop, memory_order_relaxed)) break;
  }
  CHECK(status == 4 || status == CORELANE_STALE);
  atomic_fetch_add(&recorded, count);
  return NULL;
}

static void *report_until_stale(void *argument) {
  corelane_monitor monitor = *(corelane_monitor *)argument;
  corelane_stats stats = CORELANE_STATS_INIT;
  uint64_t before = 0;
  int status;
  atomic_fetch_add(&begun, 1);
  while ((status = corelane_monitor_snapshot(monitor, &stats)) == CORELANE_OK && !atomic_load(&stop)) {
    CHECK(stats.messages >= before);
    before = stats.messages;
  }
  CHECK(status == CORELANE_OK || status == CORELANE_STALE);
  return NULL;
}

/* Four threads record and one reads. Nothing is lost, also beyond `max_recorders`; then a release in their midst. */
static void threads(void) {
  corelane_monitor monitor = start("max_recorders=2");
  corelane_stats stats = CORELANE_STATS_INIT;
  pthread_t all[5];
  int round, at;
  for (round = 0; round < 2; round++) {
    atomic_store(&recorded, 0);
    atomic_store(&begun, 0);
    atomic_store(&stop, 0);
    for (at = 0; at < 5; at++) {
      NEED(pthread_create(&all[at], NULL, at < 4 ? record_until_stale : report_until_stale, &monitor) == 0);
    }
    wait_for(&begun, 5);
    sleep_ms(100);
    if (round == 0) atomic_store(&stop, 1);
    else CHECK(corelane_monitor_release(monitor) == CORELANE_OK);
    for (at = 0; at < 5; at++) pthread_join(all[at], NULL);
    CHECK(atomic_load(&recorded) > 0);
    if (round == 0) {
      CHECK(corelane_monitor_snapshot(monitor, &stats) == CORELANE_OK && stats.messages == atomic_load(&recorded));
      CHECK(stats.bytes_in == 10 * stats.messages && stats.minute.latency.count == stats.messages);
    }
  }
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

/* The fastest of several rounds, in nanoseconds per record. */
#define COST(name, per_round, call)                                                                            \
  do {                                                                                                         \
    double best = 1e18;                                                                                        \
    int round, turn;                                                                                           \
    for (round = 0; round < 9; round++) {                                                                      \
      double begin = now(), took;                                                                              \
      for (turn = 0; turn < 100000; turn++) call;                                                              \
      took = (now() - begin) / (100000.0 * (per_round));                                                       \
      if (took < best) best = took;                                                                            \
    }                                                                                                          \
    printf("%-44s %6.1f ns\n", name, best);                                                                    \
  } while (0)

static void *records(void *argument) {
  corelane_monitor monitor = *(corelane_monitor *)argument;
  corelane_sample sample = sample_of(series_of(monitor, "p", "t", "a"), (corelane_client){0}, 200, 5000);
  COST("record, batch of 1, one of 2 threads", 1, corelane_monitor_record(monitor, &sample, 1));
  return NULL;
}

static void bench(void) {
  corelane_monitor monitor = driven(NULL);
  corelane_series series = series_of(monitor, "p", "t", "a");
  corelane_client ann = {0}, none = {0};
  corelane_sample samples[16], known;
  corelane_message message = CORELANE_MESSAGE_INIT;
  corelane_metric joins = CORELANE_METRIC_INIT, depth = CORELANE_METRIC_INIT, wait = CORELANE_METRIC_INIT;
  corelane_counter counter;
  corelane_gauge gauge;
  corelane_histogram histogram;
  pthread_t both[2];
  int at;
  for (at = 0; at < 16; at++) samples[at] = sample_of(series, none, 200, 5000);
  NEED(corelane_monitor_connect(monitor, "ann", NUL, "a", NUL, &ann, NULL) == CORELANE_OK);
  known = sample_of(series, ann, 200, 5000);
  COST("record, batch of 1", 1, corelane_monitor_record(monitor, samples, 1));
  COST("record, batch of 16", 16, corelane_monitor_record(monitor, samples, 16));
  COST("record, batch of 1, with a client", 1, corelane_monitor_record(monitor, &known, 1));
  message.client = "ann";
  message.message_type = "t";
  message.protocol = "p";
  message.application = "a";
  message.service_ns = 5000;
  COST("record by names", 1, corelane_monitor_record_message(monitor, &message, NULL));
  joins.name = "joins_total";
  depth.name = "depth";
  wait.name = "wait_seconds";
  wait.unit = "seconds";
  joins.help = depth.help = wait.help = "x";
  NEED(corelane_monitor_counter(monitor, &joins, NULL, 0, &counter, NULL) == CORELANE_OK);
  NEED(corelane_monitor_gauge(monitor, &depth, NULL, 0, &gauge, NULL) == CORELANE_OK);
  NEED(corelane_monitor_histogram(monitor, &wait, NULL, 0, &histogram, NULL) == CORELANE_OK);
  COST("counter_add", 1, corelane_counter_add(counter, 1));
  COST("gauge_set", 1, corelane_gauge_set(gauge, turn));
  COST("gauge_add", 1, corelane_gauge_add(gauge, 1));
  COST("histogram_record", 1, corelane_histogram_record(histogram, (uint64_t)turn));
  for (at = 0; at < 2; at++) NEED(pthread_create(&both[at], NULL, records, &monitor) == 0);
  for (at = 0; at < 2; at++) pthread_join(both[at], NULL);
  CHECK(corelane_monitor_release(monitor) == CORELANE_OK);
}

int main(int count, char **arguments) {
  if (count > 1 && strcmp(arguments[1], "bench") == 0) {
    bench();
    return checks_failed != 0;
  }
  configurations();
  recording();
  settings_and_reports();
  own_metrics();
  alerts();
  release_inside_a_callback();
  reports();
  misuse();
  of_a_router();
  threads();
  if (checks_failed == 0) printf("monitor: every check holds\n");
  return checks_failed != 0;
}
