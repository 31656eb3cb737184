/* Clusters from C, over a nats-server that NATS_SERVER names: messages between two routers, claims, take-over, a server that is
 * cut off, and each status of the calls. Without NATS_SERVER only what needs no server. */
#define _GNU_SOURCE
#include "host.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define NUL CORELANE_NUL_TERMINATED
#define LONG (10 * SECOND)
#define CONFIG "workers=1\npin=off\nhold_ms=2000"

static const char *program;
static char folder[] = "/tmp/corelane-nats-XXXXXX", url[64], port_text[8];
static pid_t server;

/* Started by vfork and exec, so that no child uses the library. */
static void run_server(void) {
  struct sockaddr_in at = {0};
  int turn, file;
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  at.sin_port = htons((uint16_t)atoi(port_text));
  server = vfork();
  NEED(server >= 0);
  if (server == 0) {
    execl(program, program, "-a", "127.0.0.1", "-p", port_text, "-js", "-sd", folder, "-l", "/dev/null", (char *)NULL);
    _exit(127);
  }
  for (turn = 0; turn < 3000; turn++) {
    file = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(file, (struct sockaddr *)&at, sizeof at) == 0) {
      close(file);
      return;
    }
    close(file);
    usleep(20000);
  }
  NEED(!"nats-server listens");
}

static void end_server(void) {
  if (server > 0) {
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    server = 0;
  }
}

static void remove_folder(void) {
  char command[128];
  end_server();
  snprintf(command, sizeof command, "rm -rf '%s'", folder);
  if (system(command) != 0) perror(folder);
}

static void start_server(void) {
  struct sockaddr_in at = {0};
  socklen_t length = sizeof at;
  const int file = socket(AF_INET, SOCK_STREAM, 0);
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  NEED(file >= 0 && bind(file, (struct sockaddr *)&at, sizeof at) == 0);
  NEED(getsockname(file, (struct sockaddr *)&at, &length) == 0);
  close(file);
  snprintf(port_text, sizeof port_text, "%d", ntohs(at.sin_port));
  snprintf(url, sizeof url, "nats://127.0.0.1:%s", port_text);
  NEED(mkdtemp(folder) != NULL);
  atexit(remove_folder);
  run_server();
}

static corelane_cluster_options machine(const char *name) {
  corelane_cluster_options options = CORELANE_CLUSTER_OPTIONS_INIT;
  options.servers = url;
  options.cluster = "c-tests";
  options.machine = name;
  options.secret = (const uint8_t *)"secret";
  options.secret_length = 6;
  options.names = 1000;
  return options;
}

static corelane_cluster join_cluster(corelane_router router, const char *name) {
  const corelane_cluster_options options = machine(name);
  corelane_error error = CORELANE_ERROR_INIT;
  corelane_cluster cluster = {0};
  if (corelane_router_join_cluster(router, &options, &cluster, &error) != CORELANE_OK) {
    fprintf(stderr, "join: %d %s\n", error.code, error.message);
    exit(1);
  }
  return cluster;
}

static int status_has(corelane_cluster cluster, const char *part) {
  corelane_text text = CORELANE_TEXT_INIT;
  int found;
  NEED(corelane_cluster_status(cluster, &text) == CORELANE_OK);
  found = strstr(text.data, part) != NULL;
  IS(corelane_text_free(&text), CORELANE_OK);
  return found;
}

static void await_status(corelane_cluster cluster, const char *part) {
  int turn;
  for (turn = 0; turn < 3000 && !status_has(cluster, part); turn++) usleep(20000);
  if (!status_has(cluster, part)) {
    corelane_text text = CORELANE_TEXT_INIT;
    corelane_cluster_status(cluster, &text);
    fprintf(stderr, "the status has no %s: %s\n", part, text.data);
    exit(1);
  }
}

static int32_t claim_it(corelane_cluster cluster, const char *name, const char *token, uint64_t correlation, corelane_claim *claim) {
  corelane_error error = CORELANE_ERROR_INIT;
  const int32_t status = corelane_cluster_claim(cluster, name, NUL, token, NUL, correlation, LONG, claim, &error);
  CHECK(status == CORELANE_OK || (error.code == status && error.message[0] != 0));
  return status;
}

/* The next event, after the descriptor has said that there is one. */
static corelane_cluster_event await_event(corelane_cluster cluster) {
  corelane_cluster_event event = CORELANE_CLUSTER_EVENT_INIT;
  struct pollfd one = {corelane_cluster_fd(cluster), POLLIN, 0};
  NEED(one.fd >= 0 && poll(&one, 1, 60000) == 1);
  IS(corelane_cluster_wait(cluster, 0), 1);
  IS(corelane_cluster_next(cluster, &event), CORELANE_OK);
  return event;
}

static void is_quiet(corelane_cluster cluster) {
  corelane_cluster_event event = CORELANE_CLUSTER_EVENT_INIT;
  struct pollfd one = {corelane_cluster_fd(cluster), POLLIN, 0};
  CHECK(poll(&one, 1, 0) == 0);
  IS(corelane_cluster_next(cluster, &event), CORELANE_AGAIN);
  IS(corelane_cluster_wait(cluster, SECOND / 100), 0);
}

static uint64_t number_after(const char *text, const char *name) {
  const char *at = strstr(text, name);
  NEED(at != NULL);
  return strtoull(at + strlen(name), NULL, 10);
}

/* Each message that was sent over the only link has an end, once all are quiet. */
static void link_adds_up(corelane_cluster cluster) {
  int turn, is_still = 0;
  for (turn = 0; turn < 1000 && !is_still; turn++) {
    corelane_text text = CORELANE_TEXT_INIT;
    const char *link;
    NEED(corelane_cluster_status(cluster, &text) == CORELANE_OK);
    link = strstr(text.data, "\"links\":[");
    NEED(link != NULL);
    is_still = number_after(link, "\"in_flight\":") == 0 && number_after(link, "\"sent\":") > 1 &&
               number_after(link, "\"sent\":") == number_after(link, "\"delivered\":") + number_after(link, "\"gone\":") +
                                                     number_after(link, "\"lost\":") + number_after(link, "\"rejected\":");
    IS(corelane_text_free(&text), CORELANE_OK);
    if (!is_still) usleep(20000);
  }
  CHECK(is_still);
}

/* Says something in a room until the port of another machine has got it. A machine tells the others of its rooms' members within a
 * tenth of a second, and nothing waits for that. `room` is 0: the client says it. */
static void is_heard(corelane_port from, corelane_client client, corelane_room room, loop *to, const char *message, const char *part) {
  const corelane_message_type plain = {0};
  const corelane_event *event = NULL;
  int turn, is_there = 0;
  for (turn = 0; turn < 1200 && !is_there; turn++) {
    if (room.value != 0)
      IS(corelane_port_send_to_room(from, room, BYTES(message), plain, 0), CORELANE_OK);
    else
      IS(submit(from, client, message, 0), CORELANE_OK);
    IS(corelane_port_publish(from), CORELANE_OK);
    while (!is_there && (event = next_within(to, 50)) != NULL) {
      if (event->kind != CORELANE_EVENT_MESSAGE) continue;
      is_there = memmem(event->bytes, event->length, part, strlen(part)) != NULL;
      IS(corelane_port_acknowledge(to->port, event->client, 1, (uint32_t)event->length), CORELANE_OK);
    }
  }
  if (!is_there) fprintf(stderr, "nobody has got %s\n", message);
  CHECK(is_there);
}

/* Messages go to a name on the other machine, and back. The same client takes its name over. */
static void two_machines(void) {
  const corelane_router here = start(CONFIG), there = start(CONFIG);
  loop near = {.port = open_port(here, 0)}, far = {.port = open_port(there, 0)};
  corelane_cluster a = join_cluster(here, "a"), b = join_cluster(there, "b");
  corelane_cluster_event event;
  corelane_claim ann, ben, none = {7}, again;
  corelane_client ann_client, ben_client;
  corelane_room lobby = {0}, far_lobby;
  const corelane_room nowhere = {0};
  const corelane_event *message;
  corelane_text text = CORELANE_TEXT_INIT;
  int32_t status;
  await_status(a, "\"up\":true");
  await_status(b, "\"up\":true");
  IS(corelane_cluster_is_joined(a), 1);
  CHECK(status_has(a, "\"cluster\":\"c-tests\",\"machine\":\"a\"") && status_has(a, "\"state\":\"joined\""));
  IS(claim_it(a, "ann", "her token", 1, &ann), CORELANE_OK);
  ann_client = join(near.port, "ann", 1);
  IS(corelane_cluster_claim_start(b, "ben", NUL, "his token", NUL, 2, &ben), CORELANE_OK);
  event = await_event(b);
  CHECK(event.kind == CORELANE_CLUSTER_CLAIMED && event.claim.value == ben.value && event.correlation == 2 && event.status == 0);
  is_quiet(b);
  ben_client = join(far.port, "ben", 2);
  await_status(a, "\"names_known\":2");
  IS(corelane_cluster_names(a, 10, LONG, &text), CORELANE_OK);
  CHECK(!strcmp(text.data, "[\"ann\",\"ben\"]") || !strcmp(text.data, "[\"ben\",\"ann\"]"));
  IS(corelane_text_free(&text), CORELANE_OK);
  IS(corelane_cluster_names(a, 1, LONG, &text), CORELANE_OK);
  CHECK(text.length == strlen("[\"ann\"]"));
  IS(corelane_text_free(&text), CORELANE_OK);
  /* The cluster's thread may be faster than no time at all. */
  for (status = CORELANE_OK; status == CORELANE_OK;)
    if ((status = corelane_cluster_names(a, 1, 0, &text)) == CORELANE_OK) IS(corelane_text_free(&text), CORELANE_OK);
  CHECK(status == CORELANE_TIMEOUT);
  IS(submit(near.port, ann_client, "{\"type\":\"offer\",\"to\":\"ben\",\"payload\":1}", 0), CORELANE_OK);
  IS(corelane_port_publish(near.port), CORELANE_OK);
  message = await_kind(&far, CORELANE_EVENT_MESSAGE);
  CHECK(message->token == 2 && memmem(message->bytes, message->length, "\"from\":\"ann\"", 12) != NULL);
  IS(corelane_port_acknowledge(far.port, ben_client, 1, (uint32_t)message->length), CORELANE_OK);
  await_status(b, "\"names_known\":2");
  IS(submit(far.port, ben_client, "{\"type\":\"answer\",\"to\":\"ann\",\"payload\":2}", 0), CORELANE_OK);
  IS(corelane_port_publish(far.port), CORELANE_OK);
  message = await_kind(&near, CORELANE_EVENT_MESSAGE);
  CHECK(message->token == 1 && memmem(message->bytes, message->length, "\"from\":\"ben\"", 12) != NULL);
  IS(corelane_port_acknowledge(near.port, ann_client, 1, (uint32_t)message->length), CORELANE_OK);

  /* A room with members on both machines: messages of clients, and of the host. */
  IS(corelane_port_join(near.port, ann_client, TEXT("lobby"), &lobby, NULL), CORELANE_OK);
  IS(corelane_port_join(far.port, ben_client, TEXT("lobby"), &far_lobby, NULL), CORELANE_OK);
  is_heard(near.port, ann_client, nowhere, &far, "{\"type\":\"broadcast\",\"room\":\"lobby\",\"text\":1}", "\"from\":\"ann\"");
  is_heard(far.port, ben_client, nowhere, &near, "{\"type\":\"broadcast\",\"room\":\"lobby\",\"text\":2}", "\"from\":\"ben\"");
  is_heard(near.port, ann_client, lobby, &far, "{\"from\":\"the host\"}", "the host");
  link_adds_up(a);
  link_adds_up(b);

  /* Another client does not get the name; the same one does. */
  IS(claim_it(b, "ann", "another token", 3, &none), CORELANE_EXISTS);
  CHECK(none.value == 7);
  IS(corelane_cluster_claim_start(b, "ann", NUL, "another token", NUL, 4, &again), CORELANE_OK);
  event = await_event(b);
  CHECK(event.correlation == 4 && event.status == CORELANE_EXISTS);
  IS(corelane_claim_release(b, again), CORELANE_STALE);
  IS(claim_it(b, "ann", "her token", 5, &again), CORELANE_OK);
  event = await_event(a);
  CHECK(event.kind == CORELANE_CLUSTER_LOST && event.claim.value == ann.value && event.correlation == 1);
  CHECK(event.reason == CORELANE_LOST_REPLACED && event.status == 0);
  is_quiet(a);
  IS(corelane_port_disconnect(near.port, ann_client), CORELANE_OK);
  await_kind(&near, CORELANE_EVENT_CLOSED);
  IS(corelane_claim_release(a, ann), CORELANE_OK);
  IS(corelane_claim_release(a, ann), CORELANE_STALE);
  IS(corelane_claim_release(a, again), CORELANE_STALE); /* The other cluster's. */
  IS(corelane_claim_release(b, again), CORELANE_OK);
  IS(corelane_claim_release(b, ben), CORELANE_OK);

  /* A name that is no name; a claim that is given up before its answer. */
  IS(claim_it(a, "", "t", 0, &none), CORELANE_INVALID);
  IS(corelane_cluster_claim_start(a, "cat", NUL, "t", NUL, 6, &again), CORELANE_OK);
  IS(corelane_claim_release(a, again), CORELANE_OK);
  usleep(200000);
  is_quiet(a);

  /* Draining: no claims. */
  IS(corelane_cluster_drain(a), CORELANE_OK);
  IS(claim_it(a, "cat", "t", 0, &none), CORELANE_CLOSED);
  IS(corelane_cluster_claim_start(a, "cat", NUL, "t", NUL, 7, &again), CORELANE_OK);
  event = await_event(a);
  CHECK(event.correlation == 7 && event.status == CORELANE_CLOSED && event.claim.value == again.value);
  IS(corelane_claim_release(a, again), CORELANE_STALE);
  await_status(b, "\"draining\":true");
  IS(corelane_cluster_release(a), CORELANE_OK);
  IS(corelane_cluster_release(a), CORELANE_STALE);
  a = join_cluster(here, "a"); /* Again. */
  IS(corelane_cluster_release(a), CORELANE_OK);
  IS(corelane_cluster_release(b), CORELANE_OK);
  end_router(here);
  end_router(there);
  IS(corelane_port_release(near.port), CORELANE_OK);
  IS(corelane_port_release(far.port), CORELANE_OK);
}

static corelane_cluster waited_with;
static int waits;

static void *wait_for_claim(void *argument) {
  corelane_claim claim;
  (void)argument;
  __atomic_store_n(&waits, 1, __ATOMIC_RELEASE);
  IS(corelane_cluster_claim(waited_with, "fay", NUL, "t", NUL, 0, 60 * SECOND, &claim, NULL), CORELANE_CLOSED);
  return NULL;
}

/* A server that does not answer, then one that is gone, then one that is back. */
static void cut_off(void) {
  const corelane_router router = start(CONFIG);
  corelane_cluster cluster = join_cluster(router, "a");
  corelane_claim claim = {7}, many[300], kept;
  corelane_cluster_event event;
  pthread_t thread;
  int at, busy = 0, turn, fenced = 0, state;
  await_status(cluster, "\"state\":\"joined\"");
  IS(claim_it(cluster, "dan", "t", 9, &kept), CORELANE_OK);
  NEED(kill(server, SIGSTOP) == 0);
  NEED(waitpid(server, &state, WUNTRACED) == server && WIFSTOPPED(state)); /* All its threads have stopped. */
  IS(corelane_cluster_claim(cluster, "eve", NUL, "t", NUL, 0, SECOND / 20, &claim, NULL), CORELANE_TIMEOUT);
  CHECK(claim.value == 7);
  for (at = 0; at < 300; at++) {
    char name[16];
    snprintf(name, sizeof name, "herd%d", at);
    IS(corelane_cluster_claim_start(cluster, name, NUL, "t", NUL, (uint64_t)at, &many[at]), CORELANE_OK);
  }
  IS(claim_it(cluster, "late", "t", 0, &claim), CORELANE_BUSY);
  while (busy < 40) {
    event = await_event(cluster);
    CHECK(event.status == CORELANE_BUSY || event.status == CORELANE_UNAVAILABLE);
    busy += event.status == CORELANE_BUSY;
  }
  for (at = 0; at < 300; at++) (void)corelane_claim_release(cluster, many[at]);
  NEED(kill(server, SIGCONT) == 0);
  end_server();
  for (turn = 0; turn < 3000 && !fenced; turn++) {
    const int32_t status = corelane_cluster_claim(cluster, "eve", NUL, "t", NUL, 0, LONG, &claim, NULL);
    fenced = status == CORELANE_FENCED;
    CHECK(fenced || status == CORELANE_UNAVAILABLE || status == CORELANE_BUSY);
    usleep(20000);
  }
  CHECK(fenced);
  await_status(cluster, "\"state\":\"fenced\"");
  IS(corelane_cluster_is_joined(cluster), 0);
  run_server();
  await_status(cluster, "\"state\":\"joined\"");

  /* A release ends the wait of another thread. */
  NEED(kill(server, SIGSTOP) == 0);
  NEED(waitpid(server, &state, WUNTRACED) == server && WIFSTOPPED(state));
  waited_with = cluster;
  NEED(pthread_create(&thread, NULL, wait_for_claim, NULL) == 0);
  for (turn = 0; turn < 60000 && !__atomic_load_n(&waits, __ATOMIC_ACQUIRE); turn++) usleep(1000);
  usleep(200000);
  IS(corelane_cluster_release(cluster), CORELANE_OK);
  NEED(pthread_join(thread, NULL) == 0);
  NEED(kill(server, SIGCONT) == 0);
  end_router(router);
}

static void is_refused(corelane_router router, const corelane_cluster_options *options, const char *says) {
  corelane_error error = CORELANE_ERROR_INIT;
  corelane_cluster cluster = {7};
  IS(corelane_router_join_cluster(router, options, &cluster, &error), CORELANE_INVALID);
  if (strstr(error.message, says) == NULL || strstr(error.message, "hidden") != NULL || cluster.value != 7) {
    fprintf(stderr, "\"%s\" does not say %s\n", error.message, says);
    checks_failed++;
  }
}

static void options_are_checked(corelane_router router) {
  corelane_cluster_options options = machine("a b");
  is_refused(router, &options, "machine");
  options = machine(NULL);
  is_refused(router, &options, "machine");
  options = machine("a");
  options.cluster = "x.y";
  is_refused(router, &options, "cluster");
  options = machine("a");
  options.user = "ann";
  is_refused(router, &options, "both of user and password");
  options = machine("a");
  options.key_file = "/nowhere/key.pem";
  is_refused(router, &options, "both of certificate_file and key_file");
  options = machine("a");
  options.credentials_file = "/nowhere/user.creds";
  is_refused(router, &options, "credentials");
  options = machine("a");
  options.link_messages = UINT32_MAX;
  is_refused(router, &options, "link_messages 4294967295: give it 16 to ");
  options = machine("a");
  options.link_bytes = 1;
  is_refused(router, &options, "link_bytes 1: give it 65536 to ");
  options = machine("a");
  options.names = SIZE_MAX;
  is_refused(router, &options, "names 18446744073709551615: give it 1 to ");
}

/* Without a server: a cluster starts, and says that it is not there. */
static void alone(void) {
  const corelane_router router = start(CONFIG "\nmax_ports=2");
  corelane_cluster_options options;
  corelane_error error = CORELANE_ERROR_INIT;
  corelane_text text = CORELANE_TEXT_INIT;
  corelane_cluster_event event = CORELANE_CLUSTER_EVENT_INIT;
  corelane_cluster cluster, none = {7};
  corelane_claim claim = {7};
  struct rlimit descriptors, low;
  snprintf(url, sizeof url, "nats://127.0.0.1:1");
  options_are_checked(router);
  options = machine("a");
  IS(corelane_router_join_cluster(router, &options, NULL, &error), CORELANE_NULL);
  NEED(getrlimit(RLIMIT_NOFILE, &descriptors) == 0);
  low = descriptors;
  low.rlim_cur = 3;
  NEED(setrlimit(RLIMIT_NOFILE, &low) == 0);
  IS(corelane_router_join_cluster(router, &options, &none, &error), CORELANE_SYSTEM);
  CHECK(none.value == 7 && error.os_errno == EMFILE);
  NEED(setrlimit(RLIMIT_NOFILE, &descriptors) == 0);
  cluster = join_cluster(router, "a");
  IS(corelane_router_join_cluster(router, &options, &none, &error), CORELANE_LIMIT);
  IS(corelane_cluster_is_joined(cluster), 0);
  IS(claim_it(cluster, "ann", "t", 0, &claim), CORELANE_UNAVAILABLE);
  CHECK(claim.value == 7);
  IS(corelane_cluster_claim(cluster, "ann", NUL, "t", NUL, 0, 0, NULL, NULL), CORELANE_NULL);
  IS(corelane_cluster_claim_start(cluster, "ann", NUL, "t", NUL, 0, NULL), CORELANE_NULL);
  IS(corelane_cluster_claim_start(cluster, "\xff", 1, "t", NUL, 0, &claim), CORELANE_INVALID);
  IS(corelane_cluster_next(cluster, NULL), CORELANE_NULL);
  IS(corelane_cluster_status(cluster, NULL), CORELANE_NULL);
  event.size = 7;
  IS(corelane_cluster_next(cluster, &event), CORELANE_INVALID);
  IS(corelane_cluster_names(cluster, 10, LONG, NULL), CORELANE_NULL);
  text.size = 1;
  IS(corelane_cluster_status(cluster, &text), CORELANE_INVALID);
  IS(corelane_cluster_names(cluster, 10, LONG, &text), CORELANE_INVALID);
  IS(corelane_cluster_release(cluster), CORELANE_OK);
  text.size = event.size = 64;
  IS(corelane_cluster_is_joined(cluster), CORELANE_STALE);
  IS(corelane_cluster_names(cluster, 10, LONG, &text), CORELANE_STALE);
  IS(corelane_cluster_drain(cluster), CORELANE_STALE);
  IS(corelane_cluster_fd(cluster), CORELANE_STALE);
  IS(corelane_cluster_wait(cluster, 0), CORELANE_STALE);
  IS(corelane_cluster_claim(cluster, "ann", NUL, "t", NUL, 0, 0, &claim, NULL), CORELANE_STALE);
  IS(corelane_cluster_claim_start(cluster, "ann", NUL, "t", NUL, 0, &claim), CORELANE_STALE);
  IS(corelane_claim_release(cluster, claim), CORELANE_STALE);
  IS(corelane_router_stop(router, LONG), CORELANE_OK);
  IS(corelane_router_join_cluster(router, &options, &none, &error), CORELANE_STATE);
  IS(corelane_router_release(router), CORELANE_OK);
  IS(corelane_router_join_cluster(router, &options, &none, &error), CORELANE_STALE);
}

int main(void) {
  const corelane_cluster_options options = machine("a");
  const corelane_router router = start(CONFIG);
  corelane_cluster cluster = {7};
  corelane_error error = CORELANE_ERROR_INIT;
  alarm(280);
  /* A library without clusters says so, and how to get them. */
  if (corelane_router_join_cluster(router, &options, &cluster, &error) == CORELANE_UNSUPPORTED) {
    CHECK(strstr(error.message, "FEATURES=nats") != NULL && cluster.value == 7);
    IS(corelane_cluster_release(cluster), CORELANE_STALE);
    end_router(router);
    return checks_failed == 0 ? 0 : 1;
  }
  IS(corelane_cluster_release(cluster), CORELANE_OK);
  end_router(router);
  alone();
  program = getenv("NATS_SERVER");
  if (program != NULL && program[0] != 0) {
    start_server();
    two_machines();
    cut_off();
  }
  return checks_failed == 0 ? 0 : 1;
}
