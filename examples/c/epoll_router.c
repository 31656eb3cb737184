/* An event loop that routes. Each client connects by TCP, sends its name on the first line, then one JSON message on
 * each line: {"type":"offer","to":"ben","payload":1}. It gets messages for it, one on each line, with "from" set by the
 * router.
 *
 * One thread does everything: the port is local, so its worker routes between reading and writing the sockets.
 *
 * cc epoll_router.c $(pkg-config --cflags --libs corelane) -o epoll_router && ./epoll_router 7000 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <corelane.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINE_BYTES (64 << 10)

static struct peer {
    struct peer *next;
    int socket; /* -1 once it is closed */
    bool is_client, ends;
    corelane_client client;
    char in[LINE_BYTES];
    size_t in_length;
    char *out; /* what the socket has not taken; the client's credit bounds it */
    size_t out_length;
    uint32_t messages, bytes; /* in `out`, to acknowledge once it is written */
} * peers;

static corelane_port port;
static int epoll;
static volatile sig_atomic_t stopped;

static void fail(const char *what, const corelane_error *error) {
    if (error) fprintf(stderr, "%s: %s\n", what, error->message);
    if (!error) perror(what);
    exit(1);
}

static void on_signal(int number) {
    (void)number;
    stopped = 1;
}

static void forget(struct peer *peer) {
    struct peer **place = &peers;
    while (*place != peer)
        place = &(*place)->next;
    *place = peer->next;
    free(peer->out);
    free(peer);
}

/* Closes the socket. The peer is freed by CORELANE_EVENT_CLOSED, which follows the messages that it has sent. */
static void hang_up(struct peer *peer) {
    if (peer->socket >= 0) close(peer->socket);
    peer->socket = -1;
    if (peer->is_client && !peer->ends) corelane_port_disconnect(port, peer->client);
    peer->ends = true;
    if (!peer->is_client) forget(peer);
}

/* Writes as much as the socket takes, and returns the credit when all is written. */
static void write_out(struct peer *peer) {
    ssize_t written = send(peer->socket, peer->out, peer->out_length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (written > 0) {
        peer->out_length -= (size_t)written;
        memmove(peer->out, peer->out + written, peer->out_length);
    }
    if (!peer->out_length) {
        corelane_port_acknowledge(port, peer->client, peer->messages, peer->bytes);
        peer->messages = peer->bytes = 0;
    }
    struct epoll_event event = {.events = EPOLLIN | (peer->out_length ? EPOLLOUT : 0), .data.ptr = peer};
    epoll_ctl(epoll, EPOLL_CTL_MOD, peer->socket, &event);
}

static void on_event(const corelane_event *event) {
    struct peer *peer = (struct peer *)(uintptr_t)event->token;
    if (event->kind == CORELANE_EVENT_CLOSED) {
        forget(peer);
    } else if (event->kind == CORELANE_EVENT_CLOSE) { /* it has left too much unread */
        fprintf(stderr, "closed: %s\n", corelane_reason_name(event->reason));
        hang_up(peer);
    } else if (event->kind == CORELANE_EVENT_MESSAGE && !peer->ends) {
        peer->out = realloc(peer->out, peer->out_length + event->length + 1);
        if (!peer->out) abort();
        memcpy(peer->out + peer->out_length, event->bytes, event->length);
        peer->out[peer->out_length + event->length] = '\n';
        peer->out_length += event->length + 1;
        peer->messages++;
        peer->bytes += (uint32_t)event->length;
        write_out(peer);
    }
}

/* One cycle of the worker, and one poll of what it has delivered. Returns how much was done. */
static int pump(void) {
    corelane_event events[64] = {CORELANE_EVENT_INIT};
    int32_t done = corelane_port_cycle(port), count = corelane_port_poll(port, events, 64);
    for (int32_t at = 0; at < count; at++)
        on_event(&events[at]);
    return (done > 0 ? done : 0) + (count > 0 ? count : 0);
}

/* The first line is the client's name, each other one a message. Returns false if the client must go. */
static bool on_line(struct peer *peer, const char *line, size_t length) {
    corelane_error error = CORELANE_ERROR_INIT;
    if (peer->is_client) {
        /* The ring is that of this thread's own worker: a pump makes room. Other refusals are counted by the router. */
        while (corelane_port_submit(port, peer->client, (const uint8_t *)line, length, 0) == CORELANE_FULL)
            pump();
        return !peer->ends;
    }
    corelane_connect_options options = CORELANE_CONNECT_OPTIONS_INIT;
    options.name = line;
    options.name_length = length;
    options.protocol = "generic";
    options.token = (uintptr_t)peer;
    int32_t status = corelane_port_connect(port, &options, &peer->client, &error);
    if (status < 0) fprintf(stderr, "refused: %s\n", error.message);
    return peer->is_client = status >= 0;
}

static void read_in(struct peer *peer) {
    ssize_t count = recv(peer->socket, peer->in + peer->in_length, LINE_BYTES - peer->in_length, MSG_DONTWAIT);
    bool goes_on = count > 0;
    char *line = peer->in, *end = peer->in + peer->in_length + (goes_on ? count : 0);
    for (char *stop; goes_on && (stop = memchr(line, '\n', (size_t)(end - line))); line = stop + 1)
        goes_on = on_line(peer, line, (size_t)(stop - line));
    peer->in_length = (size_t)(end - line);
    memmove(peer->in, line, peer->in_length);
    if (!goes_on || peer->in_length == LINE_BYTES) hang_up(peer);
}

static void accept_one(int listener) {
    int socket = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct peer *peer = socket >= 0 ? calloc(1, sizeof *peer) : NULL;
    if (!peer) return;
    peer->socket = socket;
    peer->next = peers;
    peers = peer;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = peer};
    epoll_ctl(epoll, EPOLL_CTL_ADD, socket, &event);
}

static int listen_on(uint16_t number) {
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(number), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 64)) fail("cannot listen", NULL);
    getsockname(listener, (struct sockaddr *)&address, &length);
    printf("listening on 127.0.0.1:%u\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

int main(int count, char **values) {
    static char of_port, of_listener; /* what epoll reports, besides a peer */
    corelane_router router;
    corelane_error error = CORELANE_ERROR_INIT;
    corelane_port_options options = CORELANE_PORT_OPTIONS_INIT;
    options.flags = CORELANE_PORT_LOCAL;
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    if (corelane_router_start("workers=1\nlocal_workers=1", CORELANE_NUL_TERMINATED, &router, &error) < 0 ||
        corelane_port_open(router, &options, &port, &error) < 0)
        fail("cannot start", &error);
    int listener = listen_on((uint16_t)atoi(count > 1 ? values[1] : "0"));
    struct epoll_event watch_listener = {.events = EPOLLIN, .data.ptr = &of_listener};
    struct epoll_event watch_port = {.events = EPOLLIN, .data.ptr = &of_port};
    epoll = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &watch_listener);
    epoll_ctl(epoll, EPOLL_CTL_ADD, corelane_port_fd(port), &watch_port);

    while (!stopped) {
        struct epoll_event events[64];
        int32_t due = 0;
        bool is_reported = false;
        /* Sleep only if there is nothing to do: an arm says so, and -1 means that no timer of the worker runs. */
        bool may_sleep = !pump() && corelane_port_arm(port) == CORELANE_OK;
        if (may_sleep) corelane_port_next_due(port, &due);
        int ready = epoll_wait(epoll, events, 64, may_sleep ? due : 0);
        for (int at = 0; at < ready; at++)
            is_reported |= events[at].data.ptr == &of_port;
        if (may_sleep) corelane_port_awake(port, is_reported);
        for (int at = 0; at < ready; at++) {
            struct peer *peer = events[at].data.ptr;
            if (events[at].data.ptr == &of_port) continue;
            if (events[at].data.ptr == &of_listener)
                accept_one(listener);
            else if (peer->socket >= 0 && events[at].events & EPOLLOUT)
                write_out(peer);
            else if (peer->socket >= 0)
                read_in(peer);
        }
    }
    /* Handle what has been accepted, hand it out, then stop. */
    for (struct peer *peer = peers, *next; peer; peer = next) {
        next = peer->next;
        hang_up(peer);
    }
    corelane_router_request_stop(router);
    while (corelane_port_cycle(port) >= 0 || pump() > 0) {
    }
    corelane_port_release(port);
    corelane_router_release(router);
    return 0;
}
