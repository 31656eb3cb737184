/* Only the monitor: a server keeps its own routing, and records what it does. This program plays such a server.
 *
 * cc monitor.c $(pkg-config --cflags --libs corelane) -o monitor */

#include <corelane.h>
#include <stdio.h>
#include <stdlib.h>

#define MS 1000000u
#define TEXT CORELANE_NUL_TERMINATED

static corelane_error error = CORELANE_ERROR_INIT;

/* Setup calls say in the error what to change. */
static void check(int32_t status) {
    if (status >= 0) return;
    fprintf(stderr, "%s: %s\n", corelane_status_name(status), error.message);
    exit(1);
}

int main(void) {
    corelane_monitor monitor;
    corelane_series offers, candidates; /* protocol, type and application, looked up once */
    corelane_client ann;
    check(corelane_monitor_start("monitor_interval_ms=100\nslow_message_threshold_ms=50", TEXT, &monitor, &error));
    check(corelane_monitor_series(monitor, "sip", TEXT, "offer", TEXT, "web", TEXT, &offers));
    check(corelane_monitor_series(monitor, "sip", TEXT, "candidate", TEXT, "web", TEXT, &candidates));
    check(corelane_monitor_connect(monitor, "ann", TEXT, "web", TEXT, &ann, &error));

    /* An alert of this server's own, on a figure of the JSON report. Alerts come through a queue with a descriptor. */
    corelane_alert_poll alerts;
    corelane_alert alert = CORELANE_ALERT_INIT;
    corelane_rule rule = CORELANE_RULE_INIT;
    rule.name = "many_offers";
    rule.metric = "messages.total";
    rule.text = "Messages so far";
    rule.trigger = 1000;
    check(corelane_monitor_alert_poll(monitor, &alerts, &error));
    check(corelane_monitor_add_rule(monitor, &rule, &error));

    /* Two messages of every round succeed; every hundredth round is slow, and its candidate fails. */
    for (unsigned round = 0; round < 1000; round++) {
        corelane_sample samples[2] = {CORELANE_SAMPLE_INIT, CORELANE_SAMPLE_INIT};
        samples[0].series = offers;
        samples[1].series = candidates;
        samples[1].reason = round % 100 ? CORELANE_REASON_NONE : CORELANE_REASON_REPORTED;
        for (int at = 0; at < 2; at++) {
            samples[at].client = ann;
            samples[at].bytes = 300;
            samples[at].queue_wait_ns = round * 1000;
            samples[at].service_ns = round % 100 ? 2 * MS : 80 * MS;
        }
        check(corelane_monitor_record(monitor, samples, 2));
    }

    corelane_stats stats = CORELANE_STATS_INIT;
    check(corelane_monitor_snapshot(monitor, &stats));
    printf("%llu messages, %llu failed; p50 %.1f ms, p99 %.1f ms, at most %.1f ms\n",
           (unsigned long long)stats.messages, (unsigned long long)stats.failed, (double)stats.service.p50 / MS,
           (double)stats.service.p99 / MS, (double)stats.service.maximum / MS);

    corelane_slow_message slow[8] = {CORELANE_SLOW_MESSAGE_INIT};
    int32_t count = corelane_monitor_slow_messages(monitor, stats.snapshot, slow, 8);
    check(count);
    for (int32_t at = 0; at < count && at < 8; at++)
        printf("slow: %llu times %s/%s of %s\n", (unsigned long long)slow[at].count, slow[at].protocol,
               slow[at].message_type, slow[at].client);

    check(corelane_alert_poll_wait(alerts, 10000ull * MS));
    if (corelane_alert_poll_next(alerts, &alert) == CORELANE_OK) printf("alert: %s\n", alert.sentence);

    corelane_text metrics = CORELANE_TEXT_INIT; /* the answer to GET /metrics */
    check(corelane_monitor_report(monitor, CORELANE_REPORT_PROMETHEUS, &metrics));
    printf("%s", metrics.data);
    corelane_text_free(&metrics);

    check(corelane_monitor_disconnect(monitor, ann));
    check(corelane_alert_poll_release(alerts));
    check(corelane_monitor_release(monitor));
    return 0;
}
