/* Every function of corelane.h with bad arguments. The calls are generated from the header (ffi-tests/header.py), so that
 * a new function is covered as soon as it stands there: NULL in each pointer position, structs of every size, texts that
 * are not UTF-8, handles that are not valid, ports that another thread
 * waits with, and all of them in a child of fork. */
#define _GNU_SOURCE
#include "host.h"

#include <pthread.h>
#include <sys/wait.h>

typedef struct generated_good generated_good;

static int generated_context;




static void expect(const char *what, int32_t status, int32_t expected) {
  if (status != expected) {
    fprintf(stderr, "%s: %d (%s), not %s\n", what, status, corelane_status_name(status), corelane_status_name(expected));
    checks_failed++;
  }
}

static int unknown_handles; /* How many calls were refused because of a handle that this program does not know how to make. */

static void expect_or_stale(const char *what, int32_t status, int32_t expected) {
  static const char *const kinds[] = {"router_", "port_", "builder_", "monitor_"};
  int known = 0;
  size_t at;
  for (at = 0; at < sizeof kinds / sizeof kinds[0]; at++) {
    known |= strncmp(what + strlen("corelane_"), kinds[at], strlen(kinds[at])) == 0;
  }
  if (status == CORELANE_STALE && !known) {
    unknown_handles++;
  } else {
    expect(what, status, expected);
  }
}

static void generated_null(const char *what, int32_t status) { expect_or_stale(what, status, CORELANE_NULL); }
static void generated_invalid(const char *what, int32_t status) { expect_or_stale(what, status, CORELANE_INVALID); }
static void generated_stale(const char *what, int32_t status) { expect(what, status, CORELANE_STALE); }
static void generated_stale_or_null(const char *what, int32_t status) {
  if (status != CORELANE_NULL && status != CORELANE_INVALID) {
    expect(what, status, CORELANE_STALE);
  }
}
static void generated_forked(const char *what, int32_t status) { expect(what, status, CORELANE_FORKED); }

static void generated_busy(const char *what, int32_t status) { expect(what, status, CORELANE_BUSY); }

/* The state of the router or port may be found first. */
static void generated_busy_or_state(const char *what, int32_t status) {
  if (status != CORELANE_STATE) {
    expect(what, status, CORELANE_BUSY);
  }
}

/* NULL is allowed there: the call does what it does without. */
static void generated_may_pass(const char *what, int32_t status) {
  if (status == CORELANE_PANIC || (strstr(what, "error NULL") == NULL && status == CORELANE_NULL)) {
    fprintf(stderr, "%s: %d\n", what, status);
    checks_failed++;
  }
}

/* A struct of this size, not set, in a larger array that must stay as it is. */
static union {
  uint64_t aligned;
  unsigned char bytes[16384];
} sized;

static void *generated_sized(size_t size) {
  const uint32_t number = (uint32_t)size;
  NEED(size + 64 <= sizeof sized.bytes);
  memset(sized.bytes, 0xa5, sizeof sized.bytes);
  memset(sized.bytes, 0, size);
  memcpy(sized.bytes, &number, sizeof number);
  return sized.bytes;
}

static uint32_t size_now(void) {
  uint32_t size;
  memcpy(&size, sized.bytes, sizeof size);
  return size;
}

static void generated_size(const char *what, int32_t status) {
  const uint32_t size = size_now();
  if (size < 8 || size % 8 != 0) {
    expect_or_stale(what, status, CORELANE_INVALID);
  } else if (status == CORELANE_PANIC) {
    expect(what, status, CORELANE_OK);
  }
}

static void generated_rest(size_t size) {
  size_t at;
  CHECK(size_now() == size); /* The caller's size stays. */
  for (at = size < 4 ? 4 : size; at < sizeof sized.bytes; at++) {
    if (sized.bytes[at] != 0xa5) {
      CHECK(!"nothing behind the struct is written");
      return;
    }
  }
}

#include "generated.h"

static void *wait_until_released(void *argument) {
  const corelane_port *port = argument;
  wait_until_stale(*port);
  return NULL;
}

/* While a thread waits with a port, others get CORELANE_BUSY, and their calls change nothing. A release ends the wait. */
static void busy(const generated_good *like, uint32_t flags) {
  generated_good good = *like;
  pthread_t thread;
  int turn;
  good.corelane_port = open_port(good.corelane_router, flags);
  good.corelane_client = join(good.corelane_port, "busy", 3);
  NEED(pthread_create(&thread, NULL, wait_until_released, &good.corelane_port) == 0);
  for (turn = 0; turn < 30000 && corelane_port_fd(good.corelane_port) != CORELANE_BUSY; turn++) {
    usleep(1000);
  }
  if (flags == 0) {
    generated_busies(&good);
  } else {
    generated_owner_busies(&good); /* The others would succeed. */
  }
  IS(corelane_port_release(good.corelane_port), CORELANE_OK);
  IS(corelane_port_release(good.corelane_port), CORELANE_STALE);
  NEED(pthread_join(thread, NULL) == 0);
}

static void in_child(const generated_good *good) {
  int status = -1;
  const pid_t child = fork();
  NEED(child >= 0);
  if (child == 0) {
    checks_failed = 0;
    generated_in_child(good);
    /* What needs none of the library's threads still answers. */
    CHECK(corelane_version() == CORELANE_VERSION_NUMBER && strcmp(corelane_status_name(CORELANE_FULL), "CORELANE_FULL") == 0);
    CHECK(strcmp(corelane_reason_name(CORELANE_REASON_CORRUPT), "corrupt") == 0);
    if (checks_failed == 0) {
      execl("/bin/true", "true", (char *)NULL); /* exec is allowed. */
    }
    _exit(1);
  }
  NEED(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Texts and messages that structs point at. */
static void inside_structs(const generated_good *good) {
  corelane_client client = {7};
  corelane_connect_options options = peer("\xff", "generic", 0);
  corelane_submission submission = CORELANE_SUBMISSION_INIT;
  corelane_send send = CORELANE_SEND_INIT;
  corelane_error error = CORELANE_ERROR_INIT;
  int32_t status = 99;
  IS(corelane_port_connect(good->corelane_port, &options, &client, &error), CORELANE_INVALID);
  CHECK(strstr(error.message, "name") != NULL && strstr(error.message, "UTF-8") != NULL && error.code == CORELANE_INVALID);
  options = peer("x", "\xff", 0);
  IS(corelane_port_connect(good->corelane_port, &options, &client, &error), CORELANE_INVALID);
  CHECK(strstr(error.message, "protocol") != NULL);
  options = peer("x", "generic", 0);
  options.application = "\xc3\x28";
  IS(corelane_port_connect(good->corelane_port, &options, &client, &error), CORELANE_INVALID);
  CHECK(strstr(error.message, "application") != NULL && client.value == 7);
  options = peer(NULL, "generic", 0);
  options.name_length = 4;
  IS(corelane_port_connect(good->corelane_port, &options, &client, &error), CORELANE_NULL);
  submission.client = good->corelane_client;
  submission.length = 5;
  IS(corelane_port_submit_batch(good->corelane_port, &submission, 1, &status), 0);
  CHECK(status == CORELANE_NULL);
  submission.message = (const uint8_t *)"{}";
  submission.length = SIZE_MAX;
  IS(corelane_port_submit_batch(good->corelane_port, &submission, 1, &status), 0);
  CHECK(status == CORELANE_INVALID);
  IS(corelane_port_submit_batch(good->corelane_port, &submission, SIZE_MAX / 8, &status), CORELANE_INVALID);
  send.client = good->corelane_client;
  send.length = 5;
  IS(corelane_port_send_batch(good->corelane_port, &send, 1, &status), 0);
  CHECK(status == CORELANE_NULL);
  /* Not aligned. */
  IS(corelane_port_send_batch(good->corelane_port, (const corelane_send *)(const void *)(sized.bytes + 1), 1, NULL), CORELANE_NULL);
  /* Empty arrays may be NULL. */
  IS(corelane_port_submit_batch(good->corelane_port, NULL, 0, NULL), 0);
  IS(corelane_port_send_batch(good->corelane_port, NULL, 0, NULL), 0);
  IS(corelane_port_acknowledge_batch(good->corelane_port, NULL, 0), CORELANE_OK);
  IS(corelane_port_members(good->corelane_port, good->corelane_room, NULL, 0), 1);
  IS(corelane_port_rooms_of(good->corelane_port, good->corelane_client, NULL, 0), 1);
}

/* What is wrong with a configuration's text, and what the error says to change. */
static void configurations(void) {
  static const struct {
    const char *text;
    int32_t status;
    const char *says[3];
  } wrong[] = {
      {"workers=1\npin=off\nworkers=2", CORELANE_CONFIG_VALUE, {"line 3", "workers is set twice", "line 1: remove one"}},
      {"workers=1;pin=off", CORELANE_CONFIG_VALUE, {"line 1", "a line of its own", "\";\""}},
      {"pin=off\nwrokers=1", CORELANE_CONFIG_KEY, {"line 2", "wrokers", "nearest: workers"}},
      {"workers=x", CORELANE_CONFIG_VALUE, {"line 1", "workers = x", "0 to 64 threads"}},
      {"workers: 1", CORELANE_CONFIG_VALUE, {"line 1", "\"=\" in place of \":\"", ""}},
      {"idle=sometimes", CORELANE_CONFIG_VALUE, {"idle = sometimes", "spin, backoff, park", ""}},
      {"[limits]\nmax_clients=1", CORELANE_CONFIG_VALUE, {"line 1", "no sections", "remove this line"}},
      {"workers", CORELANE_CONFIG_VALUE, {"line 1", "key=value", ""}},
  };
  corelane_router router = {7};
  size_t at, which;
  for (at = 0; at < sizeof wrong / sizeof wrong[0]; at++) {
    corelane_error error = CORELANE_ERROR_INIT;
    IS(corelane_router_start(wrong[at].text, CORELANE_NUL_TERMINATED, &router, &error), wrong[at].status);
    CHECK(error.code == wrong[at].status && router.value == 7);
    for (which = 0; which < 3; which++) {
      if (strstr(error.message, wrong[at].says[which]) == NULL) {
        fprintf(stderr, "%s: \"%s\" does not say %s\n", wrong[at].text, error.message, wrong[at].says[which]);
        checks_failed++;
      }
    }
  }
}

/* A cluster that never finds its server. None if the library has no clusters. */
static corelane_cluster cluster_of(corelane_router router) {
  corelane_cluster_options options = CORELANE_CLUSTER_OPTIONS_INIT;
  corelane_cluster cluster = {0};
  options.servers = "nats://127.0.0.1:1";
  options.machine = "a";
  (void)corelane_router_join_cluster(router, &options, &cluster, NULL);
  return cluster;
}

int main(void) {
  generated_good good;
  corelane_port_options shared = CORELANE_PORT_OPTIONS_INIT;
  corelane_port second;
  alarm(240);
  shared.flags = CORELANE_PORT_SHARED;
  memset(&good, 0, sizeof good);
  (void)generated_context;
  configurations();
  good.corelane_router = start("workers=1\npin=off\nmax_ports=64\nmax_clients=100");
  good.corelane_port = open_port(good.corelane_router, 0);
  good.corelane_client = join(good.corelane_port, "good", 1);
  IS(corelane_port_message_type(good.corelane_port, TEXT("generic"), TEXT("offer"), &good.corelane_message_type), CORELANE_OK);
  IS(corelane_port_join(good.corelane_port, good.corelane_client, TEXT("room"), &good.corelane_room, NULL), CORELANE_OK);
  IS(corelane_monitor_new(NULL, 0, &good.corelane_monitor, NULL), CORELANE_OK);
  IS(corelane_builder_new(NULL, 0, &good.corelane_builder, NULL), CORELANE_OK);
  good.corelane_cluster = cluster_of(good.corelane_router);
  inside_structs(&good);
  generated_nulls(&good);
  generated_sizes(&good);
  generated_not_utf8(&good);
  generated_stales(&good);
  busy(&good, 0);
  busy(&good, CORELANE_PORT_SHARED);
  second = good.corelane_port;
  IS(corelane_port_open(good.corelane_router, &shared, &good.corelane_port, NULL), CORELANE_OK);
  generated_stales(&good);
  in_child(&good);
  good.corelane_port = second;
  in_child(&good);
  /* The parent continues. */
  IS(corelane_port_submit(good.corelane_port, good.corelane_client, BYTES("{\"type\":\"offer\",\"to\":\"good\"}"), 0), CORELANE_OK);
  {
    loop own = {.port = good.corelane_port};
    CHECK(await_kind(&own, CORELANE_EVENT_MESSAGE)->token == 1);
  }
  (void)corelane_cluster_release(good.corelane_cluster);
  end_router(good.corelane_router);
  IS(corelane_port_release(good.corelane_port), CORELANE_OK);
  IS(corelane_monitor_release(good.corelane_monitor), CORELANE_OK);
  IS(corelane_builder_release(good.corelane_builder), CORELANE_OK);
  if (unknown_handles > 0) {
    printf("%d calls were only refused as stale: give calls.c a good handle\n", unknown_handles);
  }
  return checks_failed == 0 ? 0 : 1;
}
