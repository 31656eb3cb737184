/* The start and the end. No socket listens before the whole configuration is accepted. */

#include "server.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

atomic_bool stopping;

static void tell(void *context, const corelane_alert *alert) {
    static const char *const SEVERITIES[] = {"", "info", "warning", "critical"};
    struct text text = {0};
    (void)context;
    bool is_over = alert->notification == CORELANE_NOTIFICATION_RESOLVED;
    text_format(&text, "alert: %s: %s", is_over ? "resolved" : SEVERITIES[alert->severity & 3], alert->sentence);
    enum level level = alert->severity == CORELANE_SEVERITY_CRITICAL ? LEVEL_ERROR : LEVEL_WARN;
    log_event(is_over ? LEVEL_INFO : level, text.data, NULL);
    text_free(&text);
}

static struct corelane_monitor start_monitor(struct corelane_router router) {
    corelane_error error = CORELANE_ERROR_INIT;
    struct corelane_monitor monitor;
    struct corelane_callback callback;
    if (corelane_router_monitor(router, &monitor, &error) < 0 ||
        corelane_monitor_on_alert(monitor, tell, NULL, NULL, &callback, &error) < 0)
        fail(1, "cannot start the monitor: %s", error.message);
    if (options.report_file && corelane_monitor_report_to(monitor, options.report_format, options.report_file,
                                                          CORELANE_NUL_TERMINATED, &callback, &error) < 0)
        fail(2, "--report_file %s cannot be written: %s", options.report_file, error.message);
    corelane_rule_stats rules[32] = {CORELANE_RULE_STATS_INIT};
    int32_t count = corelane_monitor_rules(monitor, rules, 32);
    for (int32_t at = 0; at < count && at < 32; at++)
        if (*rules[at].unavailable)
            log_event(LEVEL_WARN, "this rule cannot raise an alert", "rule", rules[at].name, "reason",
                      rules[at].unavailable, NULL);
    return monitor;
}

/* Opens all listeners, and tells their addresses. */
static void open_listeners(void) {
    for (uint64_t at = 0; at < options.threads; at++)
        if (!listener_open(&threads[at].listener, options.host, &options.port))
            fail(1, "cannot listen on %s port %llu: %s", options.host ? options.host : "all addresses",
                 (unsigned long long)options.port, strerror(errno));
}

static void introduce(void) {
    const struct listener *listener = &threads[0].listener;
    char local[32];
    snprintf(local, sizeof local, "localhost:%llu", (unsigned long long)options.port);
    printf("PeerJS server on %s://%s%s%s\n", options.ssl_key ? "https" : "http",
           listener->everywhere ? local : listener->name, options.base,
           listener->everywhere ? " (all addresses of this machine)" : "");
    printf("network threads: %llu, each with a worker\n", (unsigned long long)options.threads);
}

/* Waits for SIGINT or SIGTERM, and drains after SIGTERM. Other threads block all signals. */
static void wait_for_a_signal(const sigset_t *signals) {
    int number;
    while (!sigwait(signals, &number) && number == SIGHUP)
        log_event(LEVEL_INFO, "SIGHUP ignored: there are no files to reload", NULL);
    if (number == SIGTERM && options.drain_seconds) drain_all(signals);
    log_event(LEVEL_INFO, "stopping", NULL);
}

int main(int count, char **values) {
    struct corelane_router router;
    struct rlimit descriptors;
    corelane_error error = CORELANE_ERROR_INIT;
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    options_read(count, values);
    lws_set_log_level(0, NULL);
    /* Each socket needs a descriptor. */
    if (!getrlimit(RLIMIT_NOFILE, &descriptors)) {
        descriptors.rlim_cur = descriptors.rlim_max;
        setrlimit(RLIMIT_NOFILE, &descriptors);
    }

    int32_t status = corelane_router_start(options.config.data, options.config.length, &router, &error);
    if (status < 0) fail(status == CORELANE_CONFIG_KEY || status == CORELANE_CONFIG_VALUE ? 2 : 1, "%s", error.message);
    open_listeners();
    struct corelane_monitor measured = start_monitor(router);
    uint64_t bytes = 0;
    corelane_monitor_bytes(measured, &bytes);
    introduce();
    printf("memory of the monitor: at most %.1f MiB, in addition to the router's\n", (double)bytes / (1 << 20));
    counts_start(measured);
    cluster_start(router);
    watch_start(measured);
    cluster_watch();
    fflush(stdout);
    for (unsigned at = 0; at < options.threads; at++)
        network_start(&threads[at], at, router);

    wait_for_a_signal(&signals);
    atomic_store(&stopping, true);
    watch_look();
    for (unsigned at = 0; at < options.threads; at++)
        network_wake(&threads[at]);
    for (unsigned at = 0; at < options.threads; at++)
        pthread_join(threads[at].handle, NULL);
    cluster_stop();
    corelane_router_stop(router, 10000000000u);
    watch_stop();
    corelane_monitor_release(measured);
    corelane_router_release(router);
    text_free(&options.config);
    return 0;
}
