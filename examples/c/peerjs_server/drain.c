/* The drain before a stop: each network thread closes its clients one after another, so that they connect to another
 * server. Idle clients come first. */

#include "server.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Interval between the steps of a drain. */
#define STEP_MS 50
/* A client is idle once it has neither sent nor got a message for this time. A call is set up in less. */
#define IDLE_MS 3000
/* The last part of a drain, in which clients that are not idle are closed too, and in which all settle. */
#define LAST_MS 2000

atomic_bool draining;
static atomic_uint drained;

static bool can_close(const struct connection *connection) {
    return connection->is_connected && connection->state == STATE_OPEN;
}

static int by_activity(const void *one, const void *other) {
    const struct connection *first = *(struct connection *const *)one, *second = *(struct connection *const *)other;
    return (first->active_ms > second->active_ms) - (first->active_ms < second->active_ms);
}

/* Closes so many clients that all are closed when the last part of the drain begins. */
static void step(lws_sorted_usec_list_t *sul) {
    struct thread *thread = lws_container_of(sul, struct thread, drain);
    uint64_t now = now_ms(), elapsed = now - thread->drains_since_ms, time = options.drain_seconds * 1000;
    uint64_t last = time - (LAST_MS < time / 2 ? LAST_MS : time / 2), left = elapsed < last ? last - elapsed : 0;
    size_t count = 0, at = 0;
    if (!thread->sockets) {
        if (!thread->is_drained) atomic_fetch_add(&drained, 1);
        thread->is_drained = true;
        return;
    }
    for (struct connection *one = thread->connections; one; one = one->next)
        count += can_close(one);
    struct connection **open = need(calloc(count + 1, sizeof *open));
    for (struct connection *one = thread->connections; one; one = one->next)
        if (can_close(one)) open[at++] = one;
    qsort(open, count, sizeof *open, by_activity);
    size_t steps = 1 + (size_t)left / STEP_MS, most = (count + steps - 1) / steps;
    for (at = 0; at < most; at++)
        if (now - open[at]->active_ms >= IDLE_MS || elapsed >= last) socket_drains(open[at]);
    free(open);
    lws_sul_schedule(thread->context, 0, sul, step, STEP_MS * 1000);
}

void drain_look(struct thread *thread) {
    if (thread->drains_since_ms || !atomic_load(&draining)) return;
    thread->drains_since_ms = now_ms();
    lws_sul_schedule(thread->context, 0, &thread->drain, step, 1);
}

void drain_all(const sigset_t *signals) {
    const struct timespec pause = {0, STEP_MS * 1000000};
    uint64_t end = now_ms() + options.drain_seconds * 1000;
    char clients[24], seconds[24];
    atomic_store(&draining, true);
    cluster_drain();
    watch_look();
    snprintf(clients, sizeof clients, "%zu", registry_count());
    snprintf(seconds, sizeof seconds, "%llu", (unsigned long long)options.drain_seconds);
    log_event(LEVEL_INFO, "draining", "clients", clients, "seconds", seconds, NULL);
    for (unsigned at = 0; at < options.threads; at++)
        network_wake(&threads[at]);
    while (atomic_load(&drained) < options.threads && now_ms() < end) {
        int number = sigtimedwait(signals, NULL, &pause);
        if (number != SIGINT && number != SIGTERM) continue;
        log_event(LEVEL_INFO, "a second signal ends the drain", NULL);
        break;
    }
    snprintf(clients, sizeof clients, "%zu", registry_count());
    log_event(LEVEL_INFO, "drained", "clients", clients, NULL);
}
