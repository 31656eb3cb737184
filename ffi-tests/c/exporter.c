/* Exporters from C: what a server gets, what the figures say, and each status of their calls. */
#define _POSIX_C_SOURCE 200809L

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>

#include "check.h"

#define NUL CORELANE_NUL_TERMINATED
#define SECOND UINT64_C(1000000000)

/* A server that stores every document and every data point. It serves one connection at a time. */
static struct {
  int file;
  char url[64];
  char seen[1 << 20]; /* The latest request that was no installation of a template. */
  pthread_mutex_t lock;
} server = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Reads one request. Returns its length, or 0 at the end of the connection. */
static size_t read_request(int file, char *request, size_t room) {
  size_t length = 0, all = 0;
  ssize_t count;
  while (all == 0 || length < all) {
    char *end, *body_length;
    if (length + 1 >= room || (count = read(file, request + length, room - 1 - length)) <= 0) return 0;
    length += (size_t)count;
    request[length] = 0;
    end = strstr(request, "\r\n\r\n");
    if (all == 0 && end != NULL) {
      body_length = strstr(request, "content-length: ");
      NEED(body_length != NULL && body_length < end);
      all = (size_t)(end + 4 - request) + strtoul(body_length + 16, NULL, 10);
    }
  }
  return length;
}

/* The answer to a bulk request: each document is stored. */
static void bulk_answer(const char *body, char *answer, size_t room) {
  size_t lines = 0, at, used;
  for (; *body != 0; body++) lines += *body == '\n';
  used = (size_t)snprintf(answer, room, "{\"items\":[");
  for (at = 0; at < lines / 2; at++) {
    used += (size_t)snprintf(answer + used, room - used, "%s{\"create\":{\"status\":201}}", at == 0 ? "" : ",");
  }
  snprintf(answer + used, room - used, "]}");
}

static void *serve(void *argument) {
  static char request[1 << 20], answer[1 << 16], head[256];
  (void)argument;
  for (;;) {
    const int file = accept(server.file, NULL, NULL);
    size_t length;
    if (file < 0) return NULL;
    while ((length = read_request(file, request, sizeof request)) > 0) {
      answer[0] = 0;
      if (strncmp(request, "PUT ", 4) == 0) {
        strcpy(answer, "{}");
      } else {
        pthread_mutex_lock(&server.lock);
        memcpy(server.seen, request, length + 1);
        pthread_mutex_unlock(&server.lock);
        if (strncmp(request, "POST /_bulk", 11) == 0) bulk_answer(strstr(request, "\r\n\r\n") + 4, answer, sizeof answer);
      }
      snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\ncontent-length: %zu\r\n\r\n", strlen(answer));
      if (write(file, head, strlen(head)) < 0 || write(file, answer, strlen(answer)) < 0) break;
    }
    close(file);
  }
}

static void start_server(void) {
  struct sockaddr_in at = {0};
  socklen_t length = sizeof at;
  pthread_t thread;
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  server.file = socket(AF_INET, SOCK_STREAM, 0);
  NEED(server.file >= 0 && bind(server.file, (struct sockaddr *)&at, sizeof at) == 0 && listen(server.file, 16) == 0);
  NEED(getsockname(server.file, (struct sockaddr *)&at, &length) == 0);
  snprintf(server.url, sizeof server.url, "http://127.0.0.1:%d", ntohs(at.sin_port));
  NEED(pthread_create(&thread, NULL, serve, NULL) == 0 && pthread_detach(thread) == 0);
}

/* Whether the latest request has this text. */
static int has(const char *part) {
  int found;
  pthread_mutex_lock(&server.lock);
  found = strstr(server.seen, part) != NULL;
  pthread_mutex_unlock(&server.lock);
  return found;
}

static corelane_elasticsearch_options documents_to(const char *url) {
  corelane_elasticsearch_options options = CORELANE_ELASTICSEARCH_OPTIONS_INIT;
  options.url = url;
  return options;
}

static corelane_otlp_options points_to(const char *url) {
  corelane_otlp_options options = CORELANE_OTLP_OPTIONS_INIT;
  options.url = url;
  return options;
}

static corelane_exporter_stats figures_now(corelane_exporter exporter) {
  corelane_exporter_stats figures = CORELANE_EXPORTER_STATS_INIT;
  IS(corelane_exporter_figures(exporter, &figures), CORELANE_OK);
  return figures;
}

/* Whether a monitor's report, or its text for Prometheus, has this part. */
static int reports(corelane_monitor monitor, uint32_t format, const char *part) {
  corelane_text text = CORELANE_TEXT_INIT;
  int found;
  NEED(corelane_monitor_report(monitor, format, &text) == CORELANE_OK);
  found = strstr(text.data, part) != NULL;
  IS(corelane_text_free(&text), CORELANE_OK);
  return found;
}

static void sends_documents(corelane_monitor monitor) {
  corelane_elasticsearch_options options = documents_to(server.url);
  corelane_error error = CORELANE_ERROR_INIT;
  corelane_text why = CORELANE_TEXT_INIT, wrong = CORELANE_TEXT_INIT;
  corelane_exporter_stats figures = CORELANE_EXPORTER_STATS_INIT;
  corelane_exporter exporter;
  options.api_key = "a2V5OnNlY3JldA==";
  options.stream_namespace = "test";
  options.service = "c-tests";
  options.queue_bytes = 1 << 20;
  options.request_timeout_ns = 30 * SECOND;
  IS(corelane_monitor_export_elasticsearch(monitor, &options, &exporter, &error), CORELANE_OK);
  figures.size = 7;
  IS(corelane_exporter_figures(exporter, &figures), CORELANE_INVALID);
  IS(corelane_exporter_figures(exporter, NULL), CORELANE_NULL);
  wrong.size = 1;
  IS(corelane_exporter_error(exporter, &wrong), CORELANE_INVALID);
  IS(corelane_exporter_error(exporter, NULL), CORELANE_NULL);
  IS(corelane_exporter_stop(exporter, 30 * SECOND), CORELANE_OK);
  IS(corelane_exporter_stop(exporter, 30 * SECOND), CORELANE_OK); /* Does nothing. */
  figures = figures_now(exporter);
  CHECK(figures.sent > 0 && figures.dropped == 0 && figures.waiting == 0 && figures.failed_requests == 0);
  CHECK(figures.failing == 0 && figures.rejected == 0 && figures.repeated == 0 && figures.missed == 0);
  CHECK(has("\r\nauthorization: ApiKey a2V5OnNlY3JldA==\r\n") && has("\"c-tests\""));
  CHECK(has("\"metrics-corelane.summary-test\""));
  IS(corelane_exporter_error(exporter, &why), CORELANE_OK);
  CHECK(why.length == 0);
  IS(corelane_text_free(&why), CORELANE_OK);
  IS(corelane_exporter_release(exporter), CORELANE_OK);
  IS(corelane_exporter_release(exporter), CORELANE_STALE);
  IS(corelane_exporter_stop(exporter, 0), CORELANE_STALE);
  IS(corelane_exporter_figures(exporter, &figures), CORELANE_STALE);
  IS(corelane_exporter_error(exporter, &why), CORELANE_STALE);
  /* The counts outlive the exporter. */
  CHECK(reports(monitor, CORELANE_REPORT_PROMETHEUS, "\ncorelane_exporters_running{exporter=\"elasticsearch\"} 0\n"));
  CHECK(!reports(monitor, CORELANE_REPORT_PROMETHEUS, "\ncorelane_exporter_sent_total{exporter=\"elasticsearch\"} 0\n"));
  CHECK(reports(monitor, CORELANE_REPORT_JSON, "\"exporters\":[{\"name\":\"elasticsearch\",\"running\":0,"));
}

/* Without connections, without templates, with a user. */
static void sends_less(corelane_monitor monitor) {
  corelane_elasticsearch_options options = documents_to(server.url);
  corelane_exporter exporter;
  options.flags = CORELANE_ELASTICSEARCH_NO_CONNECTIONS | CORELANE_ELASTICSEARCH_NO_TEMPLATES;
  options.user = "ann";
  options.password = "secret";
  options.interval_ns = SECOND;
  IS(corelane_monitor_export_elasticsearch(monitor, &options, &exporter, NULL), CORELANE_OK);
  IS(corelane_exporter_stop(exporter, 30 * SECOND), CORELANE_OK);
  CHECK(has("\r\nauthorization: Basic YW5uOnNlY3JldA==\r\n") && has("\"metrics-corelane.summary-default\""));
  IS(corelane_exporter_release(exporter), CORELANE_OK);
}

static void sends_points(corelane_monitor monitor) {
  corelane_otlp_options options = points_to(server.url);
  corelane_error error = CORELANE_ERROR_INIT;
  corelane_exporter exporter;
  corelane_exporter_stats figures;
  options.headers = "authorization: Bearer of-the-c-tests\n\nx-tenant: signaling\n";
  options.attributes = "deployment.environment.name=tests";
  options.service = "c-tests";
  IS(corelane_monitor_export_otlp(monitor, &options, &exporter, &error), CORELANE_OK);
  IS(corelane_exporter_stop(exporter, 30 * SECOND), CORELANE_OK);
  figures = figures_now(exporter);
  CHECK(figures.sent > 10 && figures.dropped == 0 && figures.failed_requests == 0 && figures.failing == 0);
  CHECK(has("POST /v1/metrics HTTP/1.1\r\n") && has("\r\nauthorization: Bearer of-the-c-tests\r\n") && has("\r\nx-tenant: signaling\r\n"));
  IS(corelane_exporter_release(exporter), CORELANE_OK);
}

/* A server that is not there: everything is lost, and counted. */
static void counts_losses(corelane_monitor monitor) {
  corelane_elasticsearch_options documents = documents_to("http://127.0.0.1:1");
  corelane_otlp_options points = points_to("http://127.0.0.1:1");
  corelane_exporter exporters[2];
  size_t at;
  IS(corelane_monitor_export_elasticsearch(monitor, &documents, &exporters[0], NULL), CORELANE_OK);
  IS(corelane_monitor_export_otlp(monitor, &points, &exporters[1], NULL), CORELANE_OK);
  CHECK(reports(monitor, CORELANE_REPORT_PROMETHEUS, "\ncorelane_exporters_running{exporter=\"otlp\"} 1\n"));
  for (at = 0; at < 2; at++) {
    corelane_text why = CORELANE_TEXT_INIT;
    corelane_exporter_stats figures;
    IS(corelane_exporter_stop(exporters[at], 2 * SECOND), CORELANE_OK);
    figures = figures_now(exporters[at]);
    CHECK(figures.sent == 0 && figures.dropped > 0 && figures.failed_requests > 0 && figures.failing == 1 && figures.waiting == 0);
    IS(corelane_exporter_error(exporters[at], &why), CORELANE_OK);
    CHECK(why.length > 0);
    IS(corelane_text_free(&why), CORELANE_OK);
    IS(corelane_exporter_release(exporters[at]), CORELANE_OK);
  }
  CHECK(reports(monitor, CORELANE_REPORT_TEXT, "The exporter otlp could not send: "));
}

static void documents_refused(corelane_monitor monitor, const corelane_elasticsearch_options *options, const char *says) {
  corelane_error error = CORELANE_ERROR_INIT;
  corelane_exporter exporter = {7};
  IS(corelane_monitor_export_elasticsearch(monitor, options, &exporter, &error), CORELANE_INVALID);
  CHECK(strstr(error.message, says) != NULL && strstr(error.message, "secret") == NULL && exporter.value == 7);
}

static void points_refused(corelane_monitor monitor, const corelane_otlp_options *options, const char *says) {
  corelane_error error = CORELANE_ERROR_INIT;
  corelane_exporter exporter = {7};
  IS(corelane_monitor_export_otlp(monitor, options, &exporter, &error), CORELANE_INVALID);
  CHECK(strstr(error.message, says) != NULL && strstr(error.message, "secret") == NULL && exporter.value == 7);
}

static void options_are_checked(corelane_monitor monitor) {
  corelane_elasticsearch_options documents = documents_to(NULL);
  corelane_otlp_options points = points_to("ftp://127.0.0.1");
  documents_refused(monitor, &documents, "url");
  points_refused(monitor, &points, "url");
  documents = documents_to(server.url);
  documents.flags = 64;
  documents_refused(monitor, &documents, "flags");
  documents = documents_to(server.url);
  documents.user = "ann";
  documents_refused(monitor, &documents, "user and password");
  documents.password = "secret";
  documents.api_key = "secret";
  documents_refused(monitor, &documents, "or api_key");
  documents = documents_to(server.url);
  documents.api_key = "my secret";
  documents_refused(monitor, &documents, "API key");
  documents = documents_to(server.url);
  documents.stream_namespace = "Upper";
  documents_refused(monitor, &documents, "namespace");
  documents = documents_to(server.url);
  documents.queue_bytes = 1;
  documents_refused(monitor, &documents, "64 KiB");
  documents = documents_to(server.url);
  documents.certificates = "/nowhere/ca.pem";
  documents_refused(monitor, &documents, "readable file");
  points = points_to(server.url);
  points.flags = 1;
  points_refused(monitor, &points, "flags");
  points = points_to(server.url);
  points.headers = "authorization: Bearer secret\nsecret";
  points_refused(monitor, &points, "line 2 of headers");
  points = points_to(server.url);
  points.attributes = "secret";
  points_refused(monitor, &points, "line 1 of attributes");
  points = points_to(server.url);
  points.interval_ns = 1;
  points_refused(monitor, &points, "interval");
  points = points_to(server.url);
  points.request_timeout_ns = 1;
  points_refused(monitor, &points, "request_timeout");
}

static void limits(corelane_monitor monitor) {
  const corelane_elasticsearch_options documents = documents_to(server.url);
  const corelane_otlp_options points = points_to(server.url);
  corelane_error error = CORELANE_ERROR_INIT;
  corelane_exporter all[16], none = {7};
  int at;
  IS(corelane_monitor_export_elasticsearch(monitor, &documents, NULL, &error), CORELANE_NULL);
  IS(corelane_monitor_export_elasticsearch(monitor, NULL, &none, &error), CORELANE_NULL);
  IS(corelane_monitor_export_otlp(monitor, &points, NULL, &error), CORELANE_NULL);
  IS(corelane_monitor_export_otlp(monitor, NULL, &none, &error), CORELANE_NULL);
  for (at = 0; at < 16; at++) {
    NEED(corelane_monitor_export_otlp(monitor, &points, &all[at], &error) == CORELANE_OK);
  }
  IS(corelane_monitor_export_otlp(monitor, &points, &none, &error), CORELANE_LIMIT);
  IS(corelane_monitor_export_elasticsearch(monitor, &documents, &none, &error), CORELANE_LIMIT);
  CHECK(none.value == 7 && strstr(error.message, "16 exporters") != NULL);
  for (at = 0; at < 16; at++) {
    IS(corelane_exporter_release(all[at]), CORELANE_OK);
  }
}

int main(void) {
  corelane_error error = CORELANE_ERROR_INIT;
  corelane_elasticsearch_options documents;
  corelane_otlp_options points;
  corelane_monitor monitor;
  corelane_exporter exporter;
  corelane_client ann;
  alarm(240);
  start_server();
  NEED(corelane_monitor_new(NULL, 0, &monitor, &error) == CORELANE_OK);
  NEED(corelane_monitor_connect(monitor, "ann", NUL, "app", NUL, &ann, &error) == CORELANE_OK);
  CHECK(!reports(monitor, CORELANE_REPORT_PROMETHEUS, "corelane_exporter"));
  sends_documents(monitor);
  sends_less(monitor);
  sends_points(monitor);
  counts_losses(monitor);
  options_are_checked(monitor);
  limits(monitor);
  IS(corelane_monitor_release(monitor), CORELANE_OK);
  documents = documents_to(server.url);
  points = points_to(server.url);
  IS(corelane_monitor_export_elasticsearch(monitor, &documents, &exporter, &error), CORELANE_STALE);
  IS(corelane_monitor_export_otlp(monitor, &points, &exporter, &error), CORELANE_STALE);
  return checks_failed == 0 ? 0 : 1;
}
