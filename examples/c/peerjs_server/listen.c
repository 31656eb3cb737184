/* Listeners, the sockets that they accept, and what is counted of both. libwebsockets gets each socket after its
 * accept, so that every thread can have a listener on the same port, and a failure is told in plain words. */

#include "server.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>


static const char *const REASONS[REFUSALS] = {
    "missing_parameters",
    "wrong_key",
    "id_too_long",
    "id_taken",
    "server_full",
    "router",
    "origin",
    "bad_upgrade",
    "too_many_connections",
    "too_many_of_address",
    "no_descriptor",
    "not_read",
    "frame_too_large",
    "draining",
    "cluster_busy",
    "cluster_unavailable",
};
static const char *const STATES[PLACES] = {"http", "websocket", "closing"};

static struct corelane_counter refusals[REFUSALS];
static struct corelane_gauge places[PLACES];
static atomic_uint_fast64_t open_sockets;
/* Held while a thread accepts, so that no other thread takes the spare descriptor's number. */
static pthread_mutex_t accepting = PTHREAD_MUTEX_INITIALIZER;
/* Given up for a moment when no descriptor is left, to accept and close a client. */
static int spare = -1;

void counts_start(struct corelane_monitor monitor) {
    corelane_error error = CORELANE_ERROR_INIT;
    corelane_metric metric = CORELANE_METRIC_INIT;
    const char *label = "reason";
    metric.name = "peerjs_refused_total";
    metric.help = "Connections and clients refused";
    metric.labels = &label;
    metric.label_count = 1;
    /* Every series starts with 0, so that a first refusal is visible as a step. */
    for (int at = 0; at < REFUSALS; at++)
        if (corelane_monitor_counter(monitor, &metric, &REASONS[at], 1, &refusals[at], &error) < 0)
            fail(1, "cannot count refusals: %s", error.message);
    label = "state";
    metric.name = "peerjs_sockets";
    metric.help = "Sockets by state";
    for (int at = 0; at < PLACES; at++)
        if (corelane_monitor_gauge(monitor, &metric, &STATES[at], 1, &places[at], &error) < 0)
            fail(1, "cannot count sockets: %s", error.message);
}

void refuse(enum refusal reason, const char *address, const char *id) {
    char shown[NAME_BYTES + 1];
    size_t length = strlen(id);
    if (length > NAME_BYTES) {
        length = NAME_BYTES;
        while (length && ((unsigned char)id[length] & 0xc0) == 0x80)
            length--; /* not inside a character */
    }
    snprintf(shown, sizeof shown, "%.*s", (int)length, id);
    corelane_counter_add(refusals[reason], 1);
    log_event(LEVEL_WARN, "refused", "address", address, "id", shown, "reason", REASONS[reason], NULL);
}

bool is_crowded(void) {
    return atomic_load(&open_sockets) >= options.max_connections;
}

/* Writes the numeric address, and the port behind a colon if `port` is not NULL. */
static void show_address(const struct sockaddr_storage *address, char *into, size_t size, uint64_t *port) {
    char host[ADDRESS_BYTES] = "";
    const struct sockaddr_in *v4 = (const void *)address;
    const struct sockaddr_in6 *v6 = (const void *)address;
    bool is_v6 = address->ss_family == AF_INET6;
    if (is_v6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
        inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], host, sizeof host);
        is_v6 = false;
    } else {
        inet_ntop(address->ss_family, is_v6 ? (const void *)&v6->sin6_addr : &v4->sin_addr, host, sizeof host);
    }
    if (!port) {
        snprintf(into, size, "%s", host);
        return;
    }
    *port = ntohs(address->ss_family == AF_INET6 ? v6->sin6_port : v4->sin_port);
    snprintf(into, size, is_v6 ? "[%s]:%llu" : "%s:%llu", host, (unsigned long long)*port);
}

static bool listen_at(struct listener *listener, const struct addrinfo *at, uint64_t *port) {
    int on = 1, off = 0, descriptor = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_storage bound;
    socklen_t length = sizeof bound;
    if (descriptor < 0) return false;
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    /* Threads share the port: the kernel spreads the connections. */
    if (options.threads > 1) setsockopt(descriptor, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (at->ai_family == AF_INET6) setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(descriptor, at->ai_addr, at->ai_addrlen) || listen(descriptor, 1024) ||
        getsockname(descriptor, (struct sockaddr *)&bound, &length)) {
        int error = errno;
        close(descriptor);
        errno = error;
        return false;
    }
    listener->descriptor = descriptor;
    show_address(&bound, listener->name, sizeof listener->name, port);
    return true;
}

bool listener_open(struct listener *listener, const char *host, uint64_t *port) {
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found;
    char service[8];
    bool is_open = false;
    snprintf(service, sizeof service, "%u", (unsigned)*port);
    const char *first = host ? host : "::"; /* IPv6 sockets serve IPv4 as well */
    int failure = getaddrinfo(first, service, &hints, &found);
    if (failure) {
        errno = failure == EAI_SYSTEM ? errno : EADDRNOTAVAIL;
        return false;
    }
    for (struct addrinfo *at = found; at && !is_open; at = at->ai_next)
        is_open = listen_at(listener, at, port);
    freeaddrinfo(found);
    if (!is_open && !host && errno == EAFNOSUPPORT) return listener_open(listener, "0.0.0.0", port);
    if (spare < 0) spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    listener->everywhere = !strncmp(listener->name, "[::]", 4) || !strncmp(listener->name, "0.0.0.0", 7);
    return is_open;
}

/* Accepts a client and closes it at once: otherwise the listener would be reported again and again. */
static void refuse_without_descriptor(struct listener *listener) {
    static uint64_t told_ms;
    uint64_t now = now_ms();
    if (now - told_ms >= 1000) {
        told_ms = now;
        log_event(LEVEL_ERROR, "cannot accept connections: no descriptor is left", NULL);
    }
    if (spare < 0) return;
    close(spare);
    int descriptor = accept(listener->descriptor, NULL, NULL);
    if (descriptor >= 0) close(descriptor);
    spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (descriptor >= 0) refuse(NO_DESCRIPTOR, "unknown", "");
}

/* Accepts one socket. Returns -1 if there is none. */
static int accept_one(struct listener *listener, struct sockaddr_storage *address) {
    socklen_t length = sizeof *address;
    pthread_mutex_lock(&accepting);
    if (spare < 0) spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int descriptor = accept4(listener->descriptor, (struct sockaddr *)address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (descriptor < 0 && (errno == EMFILE || errno == ENFILE)) refuse_without_descriptor(listener);
    pthread_mutex_unlock(&accepting);
    return descriptor;
}

/* The sockets of one address. */
struct group {
    char address[ADDRESS_BYTES];
    uint64_t sockets;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void *groups;

static int compare(const void *one, const void *other) {
    return strcmp(((const struct group *)one)->address, ((const struct group *)other)->address);
}

bool visitor_counts(struct visitor *visitor) {
    struct group key = {0};
    struct in6_addr v6;
    if (!options.max_per_address || *visitor->counted) return true;
    snprintf(key.address, sizeof key.address, "%s", visitor->address);
    if (inet_pton(AF_INET6, visitor->address, &v6) == 1) { /* a client has a whole /64 network */
        memset(v6.s6_addr + 8, 0, 8);
        inet_ntop(AF_INET6, &v6, key.address, sizeof key.address);
    }
    pthread_mutex_lock(&lock);
    struct group **found = tfind(&key, &groups, compare);
    bool has_room = !found || (*found)->sockets < options.max_per_address;
    if (!found) {
        struct group *group = need(malloc(sizeof *group));
        *group = key;
        found = need(tsearch(group, &groups, compare));
    }
    if (has_room) {
        (*found)->sockets++;
        memcpy(visitor->counted, key.address, sizeof key.address);
    }
    pthread_mutex_unlock(&lock);
    if (!has_room) refuse(TOO_MANY_OF_ADDRESS, visitor->address, "");
    return has_room;
}

static void leave_group(struct visitor *visitor) {
    struct group key;
    if (!*visitor->counted) return;
    memcpy(key.address, visitor->counted, sizeof key.address);
    pthread_mutex_lock(&lock);
    struct group **found = tfind(&key, &groups, compare), *group = found ? *found : NULL;
    if (group && !--group->sockets) {
        tdelete(&key, &groups, compare);
        free(group);
    }
    pthread_mutex_unlock(&lock);
}

/* Why a socket is refused before its first byte; REFUSALS if it is not. */
static enum refusal objection(void) {
    return is_crowded() ? TOO_MANY_CONNECTIONS : REFUSALS;
}

void listener_accept(struct listener *listener) {
    for (int round = 0; round < 64; round++) {
        struct sockaddr_storage address;
        int on = 1, descriptor = accept_one(listener, &address);
        if (descriptor < 0) return;
        struct visitor *visitor = need(calloc(1, sizeof *visitor));
        visitor->listener = listener;
        visitor->place = AT_HTTP;
        show_address(&address, visitor->peer, sizeof visitor->peer, NULL);
        snprintf(visitor->address, sizeof visitor->address, "%s", visitor->peer);
        enum refusal objects = objection();
        /* Behind a proxy the client's address is known only with its request. */
        bool counts = objects != REFUSALS || options.proxied || visitor_counts(visitor);
        if (objects != REFUSALS || !counts) {
            if (counts) refuse(objects, visitor->peer, "");
            close(descriptor);
            free(visitor);
            continue;
        }
        atomic_fetch_add(&open_sockets, 1);
        corelane_gauge_add(places[AT_HTTP], 1);
        watch_look();
        /* Without TCP_NODELAY a small frame may wait for the acknowledgement of the previous one. */
        setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        lws_adopt_desc_t adopted = {.vh = listener->vhost,
                                    .type = LWS_ADOPT_SOCKET | LWS_ADOPT_HTTP | LWS_ADOPT_ALLOW_SSL,
                                    .fd.sockfd = descriptor,
                                    .opaque = visitor};
        /* If this fails, libwebsockets has closed the socket, and may have told its end. */
        lws_adopt_descriptor_vhost_via_info(&adopted);
    }
}

void visitor_moves(struct visitor *visitor, enum place place) {
    corelane_gauge_add(places[visitor->place], -1);
    corelane_gauge_add(places[place], 1);
    visitor->place = place;
}

void visitor_ends(struct visitor *visitor) {
    corelane_gauge_add(places[visitor->place], -1);
    atomic_fetch_sub(&open_sockets, 1);
    leave_group(visitor);
    free(visitor);
    watch_look();
}
