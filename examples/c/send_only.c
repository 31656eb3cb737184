/* A server that keeps its own logic and uses corelane only to send. It is a ticker: everyone who connects gets each
 * line of its standard input. corelane bounds what each connection may leave unread, measures it, and delivers. A
 * connection that does not read loses lines, and delays nobody.
 *
 * cc send_only.c $(pkg-config --cflags --libs corelane) -o send_only && ./send_only 7000 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <corelane.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST 64
#define LINE_BYTES (64 << 10)

/* A subscriber. Its place in the array is its token. */
static struct subscriber {
    int socket; /* -1 once it is closed, 0 if the place is free */
    corelane_client client;
    char *out;
    size_t length;
    uint32_t messages, bytes; /* in `out` */
} subscribers[MOST];

static corelane_port port;
static unsigned long long failed;

static void check(const char *what, int32_t status, const corelane_error *error) {
    if (status >= 0) return;
    fprintf(stderr, "%s: %s: %s\n", what, corelane_status_text(status), error ? error->message : "");
    exit(1);
}

static void hang_up(struct subscriber *one) {
    if (one->socket < 0) return;
    close(one->socket);
    one->socket = -1;
    corelane_port_disconnect(port, one->client); /* CORELANE_EVENT_CLOSED frees the place */
}

/* Writes what the socket takes, and acknowledges when all is written: the subscriber gets its credit back. */
static void write_out(struct subscriber *one) {
    ssize_t written = send(one->socket, one->out, one->length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (written < 0 && errno != EAGAIN) {
        hang_up(one);
        return;
    }
    if (written > 0) memmove(one->out, one->out + written, one->length -= (size_t)written);
    if (one->length) return;
    corelane_port_acknowledge(port, one->client, one->messages, one->bytes);
    one->messages = one->bytes = 0;
}

static void on_event(const corelane_event *event) {
    struct subscriber *one = &subscribers[event->token];
    switch (event->kind) {
    case CORELANE_EVENT_MESSAGE:
        if (one->socket < 0) return;
        one->out = realloc(one->out, one->length + event->length);
        if (!one->out) abort();
        memcpy(one->out + one->length, event->bytes, event->length);
        one->length += event->length;
        one->messages++;
        one->bytes += (uint32_t)event->length;
        if (one->length == event->length) write_out(one); /* otherwise the socket is full */
        break;
    case CORELANE_EVENT_SEND_FAILED: /* `correlation` says which line, `client` who did not get it */
        if (!failed++)
            printf("line %llu lost: %s\n", (unsigned long long)event->correlation, corelane_reason_name(event->reason));
        break;
    case CORELANE_EVENT_CLOSED:
        free(one->out);
        *one = (struct subscriber){0};
        break;
    }
}

static void poll_port(void) {
    corelane_event events[64] = {CORELANE_EVENT_INIT};
    int32_t count;
    while ((count = corelane_port_poll(port, events, 64)) > 0)
        for (int32_t at = 0; at < count; at++)
            on_event(&events[at]);
}

static void subscribe(int listener) {
    static unsigned number;
    char name[16];
    corelane_error error = CORELANE_ERROR_INIT;
    int socket = accept(listener, NULL, NULL);
    for (uint64_t at = 0; socket >= 0 && at < MOST; at++) {
        if (subscribers[at].socket) continue;
        corelane_connect_options options = CORELANE_CONNECT_OPTIONS_INIT;
        snprintf(name, sizeof name, "reader %u", ++number);
        options.name = name;
        options.protocol = "generic";
        options.token = at;
        options.credit_policy = CORELANE_CREDIT_REFUSE; /* it stays, and what it has no credit for fails */
        check("cannot connect", corelane_port_connect(port, &options, &subscribers[at].client, &error), &error);
        subscribers[at].socket = socket;
        return;
    }
    if (socket >= 0) close(socket);
}

/* This server's own logic: who gets what. */
static void publish(const char *line, size_t length, uint64_t number, corelane_message_type type) {
    for (size_t at = 0; at < MOST; at++) {
        int32_t status;
        if (subscribers[at].socket <= 0) continue;
        while ((status = corelane_port_send(port, subscribers[at].client, (const uint8_t *)line, length, type,
                                            number)) == CORELANE_FULL) {
            corelane_port_wait(port, 10000000); /* the worker makes room */
            poll_port();
        }
        if (status < 0 && status != CORELANE_STALE)
            fprintf(stderr, "line %llu: %s\n", (unsigned long long)number, corelane_status_text(status));
    }
    corelane_port_publish(port); /* once for all of them */
}

/* Reads the standard input. Returns 0 at its end. */
static int read_lines(corelane_message_type type) {
    static char in[LINE_BYTES];
    static size_t length;
    static uint64_t number;
    ssize_t count = read(STDIN_FILENO, in + length, sizeof in - length);
    if (count <= 0) return 0;
    char *line = in, *end = in + length + count;
    for (char *stop; (stop = memchr(line, '\n', (size_t)(end - line))); line = stop + 1)
        publish(line, (size_t)(stop + 1 - line), ++number, type);
    length = (size_t)(end - line);
    memmove(in, line, length);
    return length < sizeof in;
}

int main(int count, char **values) {
    corelane_router router;
    corelane_message_type type; /* the lines count under this type */
    corelane_error error = CORELANE_ERROR_INIT;
    check("cannot start", corelane_router_start("workers=1", CORELANE_NUL_TERMINATED, &router, &error), &error);
    check("cannot open a port", corelane_port_open(router, NULL, &port, &error), &error);
    check("no such type",
          corelane_port_message_type(port, "generic", CORELANE_NUL_TERMINATED, "offer", CORELANE_NUL_TERMINATED, &type),
          NULL);

    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_port = htons((uint16_t)atoi(count > 1 ? values[1] : "0"));
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 16) ||
        getsockname(listener, (struct sockaddr *)&address, &size)) {
        perror("cannot listen");
        return 1;
    }
    printf("listening on 127.0.0.1:%u\n", ntohs(address.sin_port));
    fflush(stdout);

    for (int goes_on = 1; goes_on;) {
        struct pollfd watched[MOST + 3] = {{.fd = corelane_port_fd(port), .events = POLLIN},
                                           {.fd = listener, .events = POLLIN},
                                           {.fd = STDIN_FILENO, .events = POLLIN}};
        for (size_t at = 0; at < MOST; at++) {
            struct subscriber *one = &subscribers[at];
            watched[at + 3] = (struct pollfd){.fd = one->socket > 0 ? one->socket : -1,
                                              .events = (short)(one->length ? POLLIN | POLLOUT : POLLIN)};
        }
        int32_t armed = corelane_port_arm(port); /* it publishes too; otherwise there is something to poll */
        poll(watched, MOST + 3, armed == CORELANE_OK ? -1 : 0);
        if (armed == CORELANE_OK) corelane_port_awake(port, watched[0].revents != 0);
        poll_port();
        if (watched[1].revents) subscribe(listener);
        for (size_t at = 0; at < MOST; at++) {
            char byte;
            struct subscriber *one = &subscribers[at];
            if (watched[at + 3].revents & POLLOUT && one->socket > 0 && one->length) write_out(one);
            /* Subscribers send nothing, so a readable socket is at its end. */
            if (watched[at + 3].revents & ~POLLOUT && one->socket > 0 && recv(one->socket, &byte, 1, MSG_DONTWAIT) == 0)
                hang_up(one);
        }
        if (watched[2].revents) goes_on = read_lines(type);
    }

    /* What has been sent is handled, and handed out. */
    corelane_router_stop(router, 1000000000);
    poll_port();
    printf("%llu lines lost\n", failed);
    corelane_port_release(port);
    corelane_router_release(router);
    return 0;
}
