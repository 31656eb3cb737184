/* The server as one of several machines, which NATS connects (--cluster). Before a client connects, its id is claimed
 * for this machine. A thread takes what the cluster tells of the claims, and passes it to the network threads. */

#include "server.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The most claims that wait for an answer. Beyond, clients are refused before their upgrade; the library has the same limit. */
#define CLAIMS 256
/* How long the thread sleeps if nothing happens. Readiness is looked at in between. */
#define LOOK_NS 100000000u
/* Interval between two lists of the names of all machines, and the most names in one. */
#define LIST_MS 1000
#define LISTED 100000
#define LIST_NS 1000000000u

struct claim {
    struct corelane_claim handle;
    struct owner owner;
    bool is_waiting; /* for its answer; counted in `waiting` */
    bool is_held;    /* the id belongs to this machine, as far as it knows */
    bool is_lost, is_taken;
    char id[NAME_BYTES + 1];
    char mark[5]; /* of the token */
};

static struct corelane_cluster cluster; /* its value is 0 if there is none */
static pthread_t handle;
static atomic_bool is_over;
static atomic_uint waiting;
/* Held while an event is taken and passed on, so that no event finds a claim that was freed, and none goes to a connection that
 * has just handed its claim over. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t listing = PTHREAD_MUTEX_INITIALIZER;
static struct corelane_text names = CORELANE_TEXT_INIT; /* of all machines, as JSON */

bool cluster_is_on(void) {
    return cluster.value;
}

/* -------------------------------------------------------------------------------------------------- claims */

static void tell(const struct claim *claim, const char *what) {
    char number[24];
    snprintf(number, sizeof number, "%llu", (unsigned long long)claim->handle.value);
    log_event(LEVEL_DEBUG, what, "id", claim->id, "claim", number, "token", claim->mark, NULL);
}

/* A mark of a client's token for the log, the same in all servers: FNV-1a of 32 bits, folded to 16. It tells two clients apart, and
 * too little of the token to guess it. */
static void mark(const char *token, char into[5]) {
    uint32_t hash = 0x811c9dc5u;
    for (; *token; token++)
        hash = (hash ^ (unsigned char)*token) * 0x01000193u;
    snprintf(into, 5, "%04x", (unsigned)((hash >> 16 ^ hash) & 0xffff));
}

/* Called with the lock. */
static void is_answered(struct claim *claim) {
    if (claim->is_waiting) atomic_fetch_sub(&waiting, 1);
    claim->is_waiting = false;
}

struct claim *claim_start(const char *id, const char *token, struct owner owner) {
    struct claim *claim = need(calloc(1, sizeof *claim));
    snprintf(claim->id, sizeof claim->id, "%s", id);
    mark(token, claim->mark);
    claim->owner = owner;
    claim->is_waiting = true;
    atomic_fetch_add(&waiting, 1);
    /* The answer may come before the handle is stored. It passes through the lock. */
    pthread_mutex_lock(&lock);
    bool is_sent = corelane_cluster_claim_start(cluster, id, CORELANE_NUL_TERMINATED, token, CORELANE_NUL_TERMINATED,
                                                (uintptr_t)claim, &claim->handle) >= 0;
    if (!is_sent) is_answered(claim);
    pthread_mutex_unlock(&lock);
    if (is_sent) return claim;
    free(claim); /* the id is not UTF-8, or the cluster has stopped */
    return NULL;
}

bool claim_moves(struct claim *claim, struct owner owner) {
    pthread_mutex_lock(&lock);
    bool is_good = claim->is_held && !claim->is_lost;
    claim->owner = owner;
    pthread_mutex_unlock(&lock);
    return is_good;
}

void claim_release(struct claim *claim) {
    if (!claim) return;
    pthread_mutex_lock(&lock);
    /* Told before another machine can tell that it has claimed the id. */
    if (claim->is_held && !claim->is_lost) tell(claim, "id released");
    corelane_claim_release(cluster, claim->handle); /* stale if it was refused, or the cluster has stopped */
    is_answered(claim);
    pthread_mutex_unlock(&lock);
    free(claim);
}

static void pass_on(const struct corelane_cluster_event *event) {
    struct claim *claim = (struct claim *)(uintptr_t)event->correlation;
    struct command command = {.number = claim->owner.number};
    if (event->kind == CORELANE_CLUSTER_CLAIMED) {
        is_answered(claim);
        claim->is_held = event->status == CORELANE_OK;
        if (claim->is_held) tell(claim, "id claimed");
        command.kind = ANSWER;
        command.status = event->status;
    } else if (event->kind == CORELANE_CLUSTER_LOST) {
        claim->is_lost = true;
        tell(claim, "id lost");
        command.kind = LOSE;
        command.status = event->reason == CORELANE_LOST_TAKEN ? CORELANE_EXISTS : CORELANE_OK;
    } else {
        return;
    }
    command.claim = claim;
    network_send(claim->owner.thread, command);
}

/* -------------------------------------------------------------------------------------------------- names */

static void refresh_names(void) {
    static uint64_t listed_ms;
    struct corelane_text fresh = CORELANE_TEXT_INIT;
    if (!options.allow_discovery || now_ms() - listed_ms < LIST_MS) return;
    listed_ms = now_ms();
    if (corelane_cluster_names(cluster, LISTED, LIST_NS, &fresh) < 0) return;
    pthread_mutex_lock(&listing);
    struct corelane_text before = names;
    names = fresh;
    pthread_mutex_unlock(&listing);
    corelane_text_free(&before);
}

/* Decodes the JSON string that begins at `at`, behind its quote. The library escapes quotes, backslashes and control
 * characters. Returns the end of the string, behind its closing quote. */
static const char *read_string(const char *at, char id[NAME_BYTES + 1]) {
    size_t length = 0;
    for (; *at && *at != '"'; at++) {
        unsigned byte = (unsigned char)*at;
        if (byte == '\\') {
            const char *plain = "bfnrt", *found = strchr(plain, *++at);
            byte = (unsigned char)*at;
            if (*at == 'u' && sscanf(at + 1, "%4x", &byte) == 1)
                at += 4;
            else if (found)
                byte = (unsigned char)"\b\f\n\r\t"[found - plain];
        }
        if (length < NAME_BYTES) id[length++] = (char)byte;
    }
    id[length] = 0;
    return *at ? at + 1 : at;
}

void cluster_ids(struct text *into) {
    char id[NAME_BYTES + 1];
    registry_ids(into);
    if (!cluster_is_on()) return;
    into->length--; /* without the bracket */
    pthread_mutex_lock(&listing);
    for (const char *at = names.data ? strchr(names.data, '"') : NULL; at; at = strchr(at, '"')) {
        at = read_string(at + 1, id);
        if (registry_has(id)) continue;
        if (into->length > 1) text_add(into, ",", 1);
        text_quote(into, id);
    }
    pthread_mutex_unlock(&listing);
    text_add(into, "]", 1);
}

/* -------------------------------------------------------------------------------------------------- state */

const char *cluster_unready(void) {
    bool is_cut_off = cluster_is_on() && !options.cluster_local && corelane_cluster_is_joined(cluster) != 1;
    return is_cut_off ? "the server cannot reach its cluster" : NULL;
}

bool cluster_can_claim(void) {
    return cluster_is_on() && corelane_cluster_is_joined(cluster) == 1;
}

const char *cluster_refuses(enum refusal *reason) {
    *reason = DRAINING;
    if (atomic_load(&draining)) return DRAINS;
    *reason = CLUSTER_UNAVAILABLE;
    if (cluster_unready()) return CUT_OFF;
    *reason = CLUSTER_BUSY;
    return cluster_is_on() && atomic_load(&waiting) >= CLAIMS ? TOO_MANY_AT_ONCE : NULL;
}

/* -------------------------------------------------------------------------------------------------- start and end */

static void *run(void *given) {
    (void)given;
    while (!atomic_load(&is_over)) {
        struct corelane_cluster_event event = CORELANE_CLUSTER_EVENT_INIT;
        int32_t status;
        corelane_cluster_wait(cluster, LOOK_NS);
        do {
            pthread_mutex_lock(&lock);
            status = corelane_cluster_next(cluster, &event);
            if (status == CORELANE_OK) pass_on(&event);
            pthread_mutex_unlock(&lock);
        } while (status == CORELANE_OK);
        refresh_names();
        watch_look();
    }
    return NULL;
}

/* The secret of a file, without the line's end. */
static void read_secret(struct text *secret) {
    char part[4096];
    size_t length, start = 0;
    FILE *file = fopen(options.cluster_secret, "rb");
    if (!file) fail(2, "--cluster_secret %s: cannot be read: %s", options.cluster_secret, strerror(errno));
    while ((length = fread(part, 1, sizeof part, file)))
        text_add(secret, part, length);
    if (ferror(file)) fail(2, "--cluster_secret %s: cannot be read: %s", options.cluster_secret, strerror(errno));
    fclose(file);
    while (secret->length && isspace((unsigned char)secret->data[secret->length - 1]))
        secret->length--;
    while (start < secret->length && isspace((unsigned char)secret->data[start]))
        start++;
    secret->length -= start;
    if (secret->length < 16) fail(2, "--cluster_secret %s: it has fewer than 16 characters", options.cluster_secret);
    memmove(secret->data, secret->data + start, secret->length);
}

/* The host's name, with - for any character that a machine's name cannot have. */
static const char *host_name(void) {
    static char name[65];
    if (gethostname(name, sizeof name - 1) || !*name) return "machine";
    for (char *at = name; *at; at++)
        if (!isalnum((unsigned char)*at) && *at != '-' && *at != '_') *at = '-';
    return name;
}

void cluster_start(struct corelane_router router) {
    corelane_cluster_options given = CORELANE_CLUSTER_OPTIONS_INIT;
    corelane_error error = CORELANE_ERROR_INIT;
    struct text secret = {0};
    if (!options.cluster) return;
    given.servers = options.cluster;
    given.cluster = options.cluster_name;
    given.machine = options.machine ? options.machine : host_name();
    given.credentials_file = options.cluster_credentials;
    given.user = getenv("CLUSTER_USER");
    given.password = getenv("CLUSTER_PASSWORD");
    if (!given.user || !given.password) given.user = given.password = NULL;
    given.ca_file = options.cluster_ca;
    given.certificate_file = options.cluster_cert;
    given.key_file = options.cluster_key;
    if (options.cluster_secret) read_secret(&secret);
    given.secret = (const uint8_t *)secret.data;
    given.secret_length = secret.length;
    if (corelane_router_join_cluster(router, &given, &cluster, &error) < 0) fail(2, "--cluster: %s", error.message);
    text_free(&secret);
}

void cluster_watch(void) {
    if (cluster_is_on() && pthread_create(&handle, NULL, run, NULL)) fail(1, "cannot start the cluster's thread");
}

void cluster_drain(void) {
    if (cluster_is_on()) corelane_cluster_drain(cluster);
}

void cluster_stop(void) {
    if (!cluster_is_on()) return;
    atomic_store(&is_over, true);
    pthread_join(handle, NULL);
    corelane_cluster_release(cluster);
    corelane_text_free(&names);
}
