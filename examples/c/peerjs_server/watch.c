/* The monitor's HTTP door: page, figures, metrics, events, health. The library serves them on a thread of its own; this
 * file says where and to whom, adds the list of clients, and tells whether the server is ready. */

#include "server.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct corelane_monitor monitor;

static struct corelane_door door; /* its value is 0 if there is none */
static struct corelane_counter dropped_lines;
static pthread_t handle;
static atomic_bool is_over;

/* -------------------------------------------------------------------------------------------------- clients */

static void decode(char *text) {
    char *into = text;
    for (; *text; text++) {
        unsigned byte;
        if (*text == '%' && sscanf(text + 1, "%2x", &byte) == 1 && byte && text[2]) {
            *into++ = (char)byte;
            text += 2;
        } else {
            *into++ = *text == '+' ? ' ' : *text;
        }
    }
    *into = 0;
}

/* Reads the query's parameters: `names` are the allowed ones, up to a NULL. A value that is not given is empty. Returns
 * false and a refusal if another one is given, or one twice. */
static bool read_parameters(char *query, const char *const *names, const char **values, struct text *refusal) {
    bool is_given[4] = {false};
    char *pair;
    for (int at = 0; names[at]; at++)
        values[at] = "";
    while ((pair = strsep(&query, "&"))) {
        int at = 0;
        if (!*pair) continue;
        char *value = pair;
        strsep(&value, "=");
        decode(pair);
        while (names[at] && strcmp(names[at], pair))
            at++;
        if (!names[at]) {
            text_format(refusal, "unknown parameter %s; allowed: %s", pair, names[0]);
            for (at = 1; names[at]; at++)
                text_format(refusal, ", %s", names[at]);
            return false;
        }
        if (is_given[at]) {
            text_format(refusal, "%s is given twice; allowed: once", names[at]);
            return false;
        }
        is_given[at] = true;
        if (value) decode(value);
        values[at] = value ? value : "";
    }
    return true;
}

/* The connected clients with their addresses: the latest ones, or one by its id. */
static int32_t peers(void *context, const char *query, size_t query_length, corelane_page *page) {
    static const char *const NAMES[] = {"id", "limit", NULL};
    const char *values[2];
    struct text shown = {0};
    char *copy = need(strndup(query, query_length)), *end = "";
    (void)context;
    bool is_valid = read_parameters(copy, NAMES, values, &shown);
    if (is_valid) {
        unsigned long limit = *values[1] ? strtoul(values[1], &end, 10) : 1000;
        is_valid = !*end && *values[1] != '-' && limit >= 1 && limit <= 100000;
        if (is_valid)
            registry_peers(&shown, *values[0] ? values[0] : NULL, limit);
        else
            text_format(&shown, "limit = %s is not valid; allowed: 1 to 100000 peers", values[1]);
    }
    free(copy);
    page->text = shown.data;
    page->text_length = shown.length;
    page->free_text = free;
    return is_valid ? 0 : 1;
}

/* -------------------------------------------------------------------------------------------------- readiness */

void watch_look(void) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static const char *told;
    if (!door.value) return;
    /* Held over the reading too, so that the last change is the last one that is told. */
    pthread_mutex_lock(&lock);
    const char *why = NULL;
    if (registry_count() >= options.concurrent_limit || is_crowded()) why = "the server is full";
    if (cluster_unready()) why = cluster_unready();
    if (atomic_load(&draining)) why = "the server drains";
    if (atomic_load(&stopping)) why = "stopping";
    if (why != told) corelane_door_set_ready(door, why, CORELANE_NUL_TERMINATED);
    told = why;
    pthread_mutex_unlock(&lock);
}

/* Counts the lines that the log has dropped. */
static void *run(void *given) {
    const struct timespec pause = {0, 100000000};
    uint64_t told = 0;
    (void)given;
    while (!atomic_load(&is_over)) {
        uint64_t dropped = log_dropped();
        corelane_counter_add(dropped_lines, dropped - told);
        told = dropped;
        nanosleep(&pause, NULL);
    }
    return NULL;
}

static void introduce(void) {
    corelane_text address = CORELANE_TEXT_INIT;
    char local[32];
    if (corelane_door_address(door, &address) < 0) fail(1, "the monitor has no address");
    const char *scheme = options.monitor_tls ? "https" : "http", *here = address.data;
    if (!strncmp(here, "0.0.0.0:", 8) || !strncmp(here, "[::]:", 5)) {
        snprintf(local, sizeof local, "localhost%s", strrchr(here, ':'));
        here = local;
    }
    printf("monitor on %s://%s/ and %s://%s/metrics\n", scheme, here, scheme, here);
    if (!options.monitor_token && strncmp(address.data, "127.", 4) && strncmp(address.data, "[::1]", 5))
        log_event(LEVEL_WARN,
                  "the monitor listens beyond the loopback without a token: anyone who reaches it can read all figures",
                  "address", address.data, NULL);
    corelane_text_free(&address);
}

void watch_start(struct corelane_monitor of) {
    corelane_door_options given = CORELANE_DOOR_OPTIONS_INIT;
    corelane_door_page pages[1] = {CORELANE_DOOR_PAGE_INIT};
    corelane_metric metric = CORELANE_METRIC_INIT;
    corelane_error error = CORELANE_ERROR_INIT;
    monitor = of;
    if (!strcmp(options.monitor, "off")) {
        puts("the monitor has no HTTP address (--monitor off)");
        return;
    }
    metric.name = "peerjs_log_lines_dropped_total";
    metric.help = "Log lines dropped";
    if (corelane_monitor_counter(monitor, &metric, NULL, 0, &dropped_lines, &error) < 0)
        fail(1, "cannot count log lines: %s", error.message);
    pages[0].path = "/api/peers";
    pages[0].function = peers;
    given.pages = pages;
    given.page_count = 1;
    given.flags = CORELANE_DOOR_PROCESS_METRICS;
    given.address = options.monitor;
    given.names = options.monitor_host;
    given.token = options.monitor_token;
    given.patience_ns = options.socket_timeout * 1000000;
    if (options.monitor_tls) {
        given.key_file = options.ssl_key;
        given.chain_file = options.ssl_certificate;
    }
    int32_t status = corelane_monitor_serve(monitor, &given, &door, &error);
    if (status < 0) fail(status == CORELANE_INVALID ? 2 : 1, "cannot open --monitor %s: %s", options.monitor, error.message);
    introduce();
    watch_look();
    if (pthread_create(&handle, NULL, run, NULL)) fail(1, "cannot start the monitor's thread");
}

void watch_stop(void) {
    if (!door.value) return;
    atomic_store(&is_over, true);
    pthread_join(handle, NULL);
    corelane_door_release(door);
}
