/* The HTTP door from C: what it serves, and each status of its calls. */
#define _POSIX_C_SOURCE 200809L

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "check.h"

#define NUL CORELANE_NUL_TERMINATED
#define TOKEN "token-of-the-c-tests"

static char answer[1 << 20];

/* Asks for a path and returns the status of the answer, whose text is in `answer`. */
static int ask(const char *address, const char *path, const char *header) {
  const struct timeval limit = {20, 0};
  struct sockaddr_in to = {0};
  char request[512];
  size_t length = 0;
  ssize_t count;
  const int file = socket(AF_INET, SOCK_STREAM, 0);
  to.sin_family = AF_INET;
  to.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  NEED(file >= 0 && setsockopt(file, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
  NEED(connect(file, (struct sockaddr *)&to, sizeof to) == 0);
  snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s\r\n", path, header);
  NEED(write(file, request, strlen(request)) == (ssize_t)strlen(request));
  while (length + 1 < sizeof answer && (count = read(file, answer + length, sizeof answer - 1 - length)) > 0) {
    length += (size_t)count;
  }
  answer[length] = 0;
  close(file);
  return length > 12 ? atoi(answer + 9) : 0;
}

static int contains(const char *part) { return strstr(answer, part) != NULL; }

static corelane_door_options anywhere(void) {
  corelane_door_options options = CORELANE_DOOR_OPTIONS_INIT;
  options.address = "127.0.0.1:0";
  options.address_length = NUL;
  return options;
}

static void serves(corelane_monitor monitor) {
  corelane_door_options options = anywhere();
  corelane_error error = CORELANE_ERROR_INIT;
  corelane_text address = CORELANE_TEXT_INIT, wrong = CORELANE_TEXT_INIT;
  corelane_door door;
  options.names = "watch.example, other.example";
  options.names_length = NUL;
  options.token = TOKEN;
  options.token_length = NUL;
  options.not_ready = "warming up";
  options.not_ready_length = NUL;
  options.patience_ns = UINT64_C(5000000000);
  IS(corelane_monitor_serve(monitor, &options, &door, &error), CORELANE_OK);
  IS(corelane_door_address(door, &address), CORELANE_OK);
  wrong.size = 1;
  IS(corelane_door_address(door, &wrong), CORELANE_INVALID);
  IS(corelane_door_address(door, NULL), CORELANE_NULL);
  CHECK(strncmp(address.data, "127.0.0.1:", 10) == 0);

  CHECK(ask(address.data, "/healthz", "") == 200);
  CHECK(ask(address.data, "/readyz", "") == 503 && contains("warming up"));
  IS(corelane_door_set_ready(door, NULL, 0), CORELANE_OK);
  CHECK(ask(address.data, "/readyz", "") == 200);
  IS(corelane_door_set_ready(door, "stopping", NUL), CORELANE_OK);
  IS(corelane_door_set_ready(door, "\xff", 1), CORELANE_INVALID);
  CHECK(ask(address.data, "/readyz", "") == 503 && contains("stopping"));

  CHECK(ask(address.data, "/metrics", "") == 401);
  CHECK(ask(address.data, "/metrics", "Authorization: Bearer " TOKEN "\r\n") == 200);
  CHECK(contains("\ncorelane_connections_open 1\n") && !contains("\nprocess_"));
  CHECK(ask(address.data, "/metrics", "Authorization: Bearer " TOKEN "\r\nAccept: application/openmetrics-text\r\n") == 200);
  CHECK(contains("# EOF\n") && contains("application/openmetrics-text"));
  CHECK(ask(address.data, "/api/stats", "Authorization: Bearer " TOKEN "\r\n") == 200 && contains("schema_version"));
  CHECK(ask(address.data, "/", "") == 200 && contains("<!doctype html>"));

  /* Two doors cannot have one address. */
  options.address = address.data;
  IS(corelane_monitor_serve(monitor, &options, &door, &error), CORELANE_SYSTEM);
  IS(corelane_door_release(door), CORELANE_OK);
  IS(corelane_door_release(door), CORELANE_STALE);
  IS(corelane_door_address(door, &address), CORELANE_STALE);
  IS(corelane_door_set_ready(door, NULL, 0), CORELANE_STALE);
  IS(corelane_text_free(&address), CORELANE_OK);
}

/* Pages of the host: JSON, refusals, texts that the library frees, and what a page may not do. */
typedef struct host {
  corelane_door door;
  int calls, freed;
  int32_t release;
} host;

static host the_host;

static void free_text(void *text) {
  the_host.freed++;
  free(text);
}

static int32_t echo(void *context, const char *query, size_t query_length, corelane_page *page) {
  static char text[128];
  CHECK(context == &the_host && strlen(query) == query_length && page->size == sizeof *page);
  the_host.calls++;
  the_host.release = corelane_door_release(the_host.door); /* Not inside a page. */
  if (strcmp(query, "size=0") == 0) {
    page->text = "size = 0 is not valid; allowed: more";
    return 1;
  }
  snprintf(text, sizeof text, "{\"query\":\"%s\"}", query);
  page->text = text;
  return 0;
}

static int32_t allocated(void *context, const char *query, size_t query_length, corelane_page *page) {
  char *text = malloc(5);
  (void)context, (void)query, (void)query_length;
  NEED(text != NULL);
  memcpy(text, "[17]x", 5);
  page->text = text;
  page->text_length = 4;
  page->free_text = free_text;
  return 0;
}

static int32_t nonsense(void *context, const char *query, size_t query_length, corelane_page *page) {
  (void)context, (void)query, (void)query_length;
  page->text = "\xff";
  return 0;
}

static void pages(corelane_monitor monitor) {
  corelane_door_page all[3] = {CORELANE_DOOR_PAGE_INIT};
  corelane_door_options options = anywhere();
  corelane_error error = CORELANE_ERROR_INIT;
  corelane_text address = CORELANE_TEXT_INIT;
  corelane_door none = {7};
  size_t at;
  for (at = 0; at < 3; at++) {
    all[at] = all[0];
    all[at].path = at == 0 ? "/api/echo" : at == 1 ? "/api/allocated" : "/api/nonsense";
    all[at].function = at == 0 ? echo : at == 1 ? allocated : nonsense;
    all[at].context = &the_host;
  }
  options.pages = all;
  options.page_count = 3;
  IS(corelane_monitor_serve(monitor, &options, &the_host.door, &error), CORELANE_OK);
  IS(corelane_door_address(the_host.door, &address), CORELANE_OK);
  CHECK(ask(address.data, "/api/echo?a=%20b", "") == 200 && contains("{\"query\":\"a=%20b\"}") && contains("application/json"));
  IS(the_host.release, CORELANE_THREAD);
  CHECK(ask(address.data, "/api/echo?size=0", "") == 400 && contains("allowed: more"));
  CHECK(ask(address.data, "/api/echo", "") == 200 && contains("{\"query\":\"\"}") && the_host.calls == 3);
  CHECK(ask(address.data, "/api/allocated", "") == 200 && contains("[17]") && !contains("[17]x") && the_host.freed == 1);
  CHECK(ask(address.data, "/api/nonsense", "") == 400 && contains("not UTF-8"));
  CHECK(ask(address.data, "/api/info", "") == 200 && contains("\"/api/echo\",\"/api/allocated\""));
  IS(corelane_door_release(the_host.door), CORELANE_OK);
  IS(corelane_text_free(&address), CORELANE_OK);
  all[1].path = "/elsewhere";
  IS(corelane_monitor_serve(monitor, &options, &none, &error), CORELANE_INVALID);
  all[1].path = "/api/stats";
  IS(corelane_monitor_serve(monitor, &options, &none, &error), CORELANE_INVALID);
  CHECK(strstr(error.message, "taken") != NULL);
  all[1].function = NULL;
  IS(corelane_monitor_serve(monitor, &options, &none, &error), CORELANE_NULL);
  options.pages = NULL;
  IS(corelane_monitor_serve(monitor, &options, &none, &error), CORELANE_NULL);
  CHECK(none.value == 7);
}

static void is_refused(corelane_monitor monitor, const corelane_door_options *options, const char *says) {
  corelane_error error = CORELANE_ERROR_INIT;
  corelane_door door = {7};
  IS(corelane_monitor_serve(monitor, options, &door, &error), CORELANE_INVALID);
  CHECK(strstr(error.message, says) != NULL && door.value == 7);
}

static void options_are_checked(corelane_monitor monitor) {
  corelane_door_options options = anywhere();
  options.token = "short";
  options.token_length = NUL;
  is_refused(monitor, &options, "16 to 256");
  options = anywhere();
  options.flags = 64;
  is_refused(monitor, &options, "flags");
  options = anywhere();
  options.key_file = "/nowhere/key.pem";
  options.key_file_length = NUL;
  is_refused(monitor, &options, "both, or none");
  options.chain_file = "/nowhere/chain.pem";
  options.chain_file_length = NUL;
  is_refused(monitor, &options, "/nowhere/key.pem");
  options = anywhere();
  options.streams = 200;
  is_refused(monitor, &options, "fewer streams");
}

static void limits(corelane_monitor monitor) {
  const corelane_door_options options = anywhere();
  corelane_error error = CORELANE_ERROR_INIT;
  corelane_door all[16], none = {7};
  int at;
  IS(corelane_monitor_serve(monitor, &options, NULL, &error), CORELANE_NULL);
  for (at = 0; at < 16; at++) {
    NEED(corelane_monitor_serve(monitor, &options, &all[at], &error) == CORELANE_OK);
  }
  IS(corelane_monitor_serve(monitor, &options, &none, &error), CORELANE_LIMIT);
  CHECK(none.value == 7);
  for (at = 0; at < 16; at++) {
    IS(corelane_door_release(all[at]), CORELANE_OK);
  }
}

/* The two formats of Prometheus, with and without the process. */
static void formats(corelane_monitor monitor) {
  static const uint32_t all[] = {CORELANE_REPORT_PROMETHEUS, CORELANE_REPORT_OPENMETRICS};
  corelane_text text = CORELANE_TEXT_INIT;
  size_t at;
  IS(corelane_monitor_tick(monitor), CORELANE_OK);
  for (at = 0; at < 2; at++) {
    IS(corelane_monitor_report(monitor, all[at], &text), CORELANE_OK);
    CHECK(strstr(text.data, "\nprocess_") == NULL && (strstr(text.data, "# EOF") != NULL) == (at == 1));
    IS(corelane_text_free(&text), CORELANE_OK);
    IS(corelane_monitor_report(monitor, all[at] | CORELANE_REPORT_PROCESS, &text), CORELANE_OK);
    CHECK(strstr(text.data, "\nprocess_cpu_seconds_total ") != NULL);
    IS(corelane_text_free(&text), CORELANE_OK);
  }
  IS(corelane_monitor_report(monitor, CORELANE_REPORT_TEXT | CORELANE_REPORT_PROCESS, &text), CORELANE_INVALID);
}

/* A host with a server of its own: the answers without a socket. */
static void answers(corelane_monitor monitor) {
  corelane_http_request request = CORELANE_HTTP_REQUEST_INIT;
  corelane_http_reply reply = CORELANE_HTTP_REPLY_INIT, small = CORELANE_HTTP_REPLY_INIT;
  corelane_text body = CORELANE_TEXT_INIT;
  corelane_error error = CORELANE_ERROR_INIT;
  request.target = "/api/stats";
  IS(corelane_monitor_answer(monitor, &request, &reply, &body, &error), CORELANE_OK);
  CHECK(reply.status == 200 && strstr(body.data, "schema_version") != NULL && reply.event == 0);
  CHECK(strcmp(reply.content_type, "application/json; charset=utf-8") == 0 && reply.policy[0] == 0);
  corelane_text_free(&body);
  request.target = "/";
  IS(corelane_monitor_answer(monitor, &request, &reply, &body, &error), CORELANE_OK);
  CHECK(reply.status == 200 && strstr(reply.policy, "default-src 'none'") != NULL);
  corelane_text_free(&body);
  request.target = "/api/events?parts=messages";
  IS(corelane_monitor_answer(monitor, &request, &reply, &body, &error), CORELANE_OK);
  CHECK(reply.event != 0 && strncmp(body.data, "id: ", 4) == 0);
  corelane_text_free(&body);
  request.target = "/api/set";
  request.method = "POST";
  request.body = (const uint8_t *)"slow_message_threshold_ms=7";
  request.body_length = 27;
  IS(corelane_monitor_answer(monitor, &request, &reply, &body, &error), CORELANE_OK);
  CHECK(reply.status == 403);
  corelane_text_free(&body);
  request.flags = CORELANE_HTTP_CHANGEABLE;
  IS(corelane_monitor_answer(monitor, &request, &reply, &body, &error), CORELANE_OK);
  CHECK(reply.status == 200);
  corelane_text_free(&body);
  request.flags = 1u << 30;
  IS(corelane_monitor_answer(monitor, &request, &reply, &body, &error), CORELANE_INVALID);
  request.flags = 0;
  small.size = 1;
  IS(corelane_monitor_answer(monitor, &request, &small, &body, &error), CORELANE_INVALID);
  IS(corelane_monitor_answer(monitor, NULL, &reply, &body, &error), CORELANE_NULL);
  IS(corelane_monitor_answer(monitor, &request, NULL, &body, &error), CORELANE_NULL);
}

int main(void) {
  corelane_error error = CORELANE_ERROR_INIT;
  corelane_monitor monitor;
  corelane_client ann;
  corelane_door door;
  alarm(240);
  NEED(corelane_monitor_new(NULL, 0, &monitor, &error) == CORELANE_OK);
  NEED(corelane_monitor_connect(monitor, "ann", NUL, "app", NUL, &ann, &error) == CORELANE_OK);
  serves(monitor);
  pages(monitor);
  options_are_checked(monitor);
  limits(monitor);
  formats(monitor);
  answers(monitor);
  IS(corelane_monitor_release(monitor), CORELANE_OK);
  {
    corelane_http_request request = CORELANE_HTTP_REQUEST_INIT;
    corelane_http_reply reply = CORELANE_HTTP_REPLY_INIT;
    corelane_text body = CORELANE_TEXT_INIT;
    IS(corelane_monitor_answer(monitor, &request, &reply, &body, &error), CORELANE_STALE);
  }
  IS(corelane_monitor_serve(monitor, NULL, &door, &error), CORELANE_STALE);
  return checks_failed == 0 ? 0 : 1;
}
