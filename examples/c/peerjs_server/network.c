/* A network thread: libwebsockets' loop around the port's worker. Between two rounds of the loop the worker routes what
 * the sockets have submitted, and the deliveries go to the sockets' queues. One descriptor wakes the loop for the port.
 */

#include "server.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EVENTS 256
/* Rounds of the worker before the sockets are served again. */
#define ROUNDS 8
#define LOOK_US 300000
#define STOP_GRACE_MS 1000

struct thread threads[MAX_THREADS];

struct corelane_port network_port(struct thread *thread) {
    if (thread->is_armed) {
        thread->is_armed = false;
        corelane_port_awake(thread->port, 0);
    }
    return thread->port;
}

int network_pump(struct thread *thread) {
    struct corelane_event events[EVENTS];
    int32_t done = corelane_port_cycle(thread->port);
    events[0].size = sizeof events[0];
    int32_t count = corelane_port_poll(thread->port, events, EVENTS);
    for (int32_t at = 0; at < count; at++)
        on_event(thread, &events[at]);
    return (done > 0 ? done : 0) + (count > 0 ? count : 0);
}

void network_send(unsigned index, struct command command) {
    struct thread *thread = &threads[index];
    struct command *sent = need(malloc(sizeof *sent));
    *sent = command;
    sent->next = NULL;
    pthread_mutex_lock(&thread->lock);
    *thread->last_command = sent;
    thread->last_command = &sent->next;
    if (thread->context) lws_cancel_service(thread->context);
    pthread_mutex_unlock(&thread->lock);
}

void network_wake(struct thread *thread) {
    pthread_mutex_lock(&thread->lock);
    if (thread->context) lws_cancel_service(thread->context);
    pthread_mutex_unlock(&thread->lock);
}

static void carry_out_commands(struct thread *thread) {
    pthread_mutex_lock(&thread->lock);
    struct command *command = thread->commands, *next;
    thread->commands = NULL;
    thread->last_command = &thread->commands;
    pthread_mutex_unlock(&thread->lock);
    for (; command; command = next) {
        next = command->next;
        switch (command->kind) {
        case RELEASE: on_release(thread, command->number, command->successor); break;
        case REST: on_rest(thread, command->number, &command->rest, command->claim); break;
        case ANSWER: on_answer(thread, command->number, command->claim, command->status); break;
        case LOSE: on_lost(thread, command->number, command->claim, command->status != CORELANE_OK); break;
        }
        free(command);
    }
}

/* -------------------------------------------------------------------------------------------------- libwebsockets */

/* Of the public sockets, as HTTP and as WebSockets. */
static int on_socket(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t length) {
    struct visitor *visitor = wsi ? lws_get_opaque_user_data(wsi) : NULL;
    struct thread *thread = wsi ? lws_context_user(lws_get_context(wsi)) : NULL;
    (void)user;
    switch (reason) {
    case LWS_CALLBACK_HTTP: return http_page(wsi, in);
    case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE: return http_upgrades(wsi, visitor);
    case LWS_CALLBACK_ESTABLISHED: socket_opens(thread, wsi, visitor); return 0;
    case LWS_CALLBACK_RECEIVE: return socket_receives(visitor->connection, in, length);
    case LWS_CALLBACK_RECEIVE_PONG: visitor->connection->heard_ms = now_ms(); return 0;
    case LWS_CALLBACK_SERVER_WRITEABLE: return visitor->connection ? socket_writes(visitor->connection) : 0;
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE: visitor->connection->why = "closed by the client"; return 0;
    case LWS_CALLBACK_CLOSED:
        if (visitor->connection) socket_closed(visitor->connection);
        visitor->connection = NULL;
        return 0;
    case LWS_CALLBACK_WSI_DESTROY:
        if (visitor) visitor_ends(visitor);
        return 0;
    default: return lws_callback_http_dummy(wsi, reason, user, in, length);
    }
}

/* Of the descriptors that are no sockets of clients. */
static int on_port(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t length) {
    (void)user, (void)in, (void)length;
    if (reason == LWS_CALLBACK_RAW_RX_FILE)
        ((struct thread *)lws_context_user(lws_get_context(wsi)))->is_reported = true;
    return 0;
}

static int on_listener(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t length) {
    (void)user, (void)in, (void)length;
    if (reason == LWS_CALLBACK_RAW_RX_FILE && !atomic_load(&stopping))
        listener_accept(&((struct thread *)lws_context_user(lws_get_context(wsi)))->listener);
    return 0;
}

static const struct lws_protocols PROTOCOLS[] = {
    {.name = "peerjs", .callback = on_socket, .tx_packet_size = 1 << 20},
    {.name = "port", .callback = on_port},
    {.name = "listener", .callback = on_listener},
    {0},
};

static void watch(struct thread *thread, int descriptor, const char *protocol) {
    lws_sock_file_fd_type watched = {.filefd = descriptor};
    if (descriptor < 0 ||
        !lws_adopt_descriptor_vhost(thread->listener.vhost, LWS_ADOPT_RAW_FILE_DESC, watched, protocol, NULL))
        fail(1, "cannot watch a descriptor");
}

static void look(lws_sorted_usec_list_t *sul) {
    struct thread *thread = lws_container_of(sul, struct thread, look);
    look_for_silent_clients(thread);
    catch_up(thread);
    lws_sul_schedule(thread->context, 0, sul, look, LOOK_US);
}

/* The loop goes round, and so does the worker. */
static void worker_is_due(lws_sorted_usec_list_t *sul) {
    (void)sul;
}

/* -------------------------------------------------------------------------------------------------- the loop */

static void turn(struct thread *thread) {
    int done = 1, wait = -1;
    for (int round = 0; round < ROUNDS && done; round++)
        done = network_pump(thread);
    if (!done && corelane_port_arm(thread->port) == CORELANE_OK) {
        int32_t due = -1;
        thread->is_armed = true;
        corelane_port_next_due(thread->port, &due);
        if (due >= 0)
            lws_sul_schedule(thread->context, 0, &thread->due, worker_is_due, (lws_usec_t)due * 1000);
        else
            lws_sul_cancel(&thread->due);
        wait = 0; /* until something happens: libwebsockets knows no time-out, but its own timers */
    }
    lws_service(thread->context, wait);
    if (thread->is_armed || thread->is_reported) corelane_port_awake(thread->port, thread->is_reported);
    thread->is_armed = thread->is_reported = false;
    carry_out_commands(thread);
    drain_look(thread);
}

/* Closes every socket and waits for them, for at most a while. */
static void stop(struct thread *thread) {
    uint64_t end = now_ms() + STOP_GRACE_MS;
    lws_sul_cancel(&thread->drain);
    for (struct connection *connection = thread->connections; connection; connection = connection->next) {
        lws_sul_cancel(&connection->grace);
        if (connection->state != STATE_WAITING) socket_ends(connection, STATE_CLOSING, "the server stops");
    }
    while (thread->sockets && now_ms() < end)
        turn(thread);
    corelane_port_release(thread->port);
    struct lws_context *context = thread->context;
    pthread_mutex_lock(&thread->lock);
    thread->context = NULL; /* other threads still send commands */
    pthread_mutex_unlock(&thread->lock);
    lws_context_destroy(context);
}

static void *run(void *given) {
    struct thread *thread = given;
    lws_sul_schedule(thread->context, 0, &thread->look, look, LOOK_US);
    while (!atomic_load(&stopping))
        turn(thread);
    stop(thread);
    return NULL;
}

void network_start(struct thread *thread, unsigned index, struct corelane_router router) {
    struct lws_context_creation_info info = {0};
    corelane_port_options options_of_port = CORELANE_PORT_OPTIONS_INIT;
    corelane_error error = CORELANE_ERROR_INIT;
    thread->index = index;
    thread->last_command = &thread->commands;
    pthread_mutex_init(&thread->lock, NULL);
    options_of_port.flags = CORELANE_PORT_LOCAL;
    if (corelane_port_open(router, &options_of_port, &thread->port, &error) < 0)
        fail(1, "cannot open a port: %s", error.message);

    int seconds = (int)(options.socket_timeout + 999) / 1000;
    info.port = CONTEXT_PORT_NO_LISTEN_SERVER;
    info.protocols = PROTOCOLS;
    info.user = thread;
    info.alpn = "http/1.1";
    info.timeout_secs = (unsigned)seconds;
    info.timeout_secs_ah_idle = (unsigned)seconds;
    info.keepalive_timeout = seconds;
    info.pt_serv_buf_size = 64 << 10;
    info.max_http_header_data = 8 << 10;
    info.max_http_header_pool = 64;
    info.options = LWS_SERVER_OPTION_VALIDATE_UTF8 | LWS_SERVER_OPTION_EXPLICIT_VHOSTS;
    if (options.ssl_key) {
        info.options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
        info.ssl_cert_filepath = options.ssl_certificate;
        info.ssl_private_key_filepath = options.ssl_key;
    }
    thread->context = lws_create_context(&info);
    thread->listener.thread = thread;
    thread->listener.vhost = thread->context ? lws_create_vhost(thread->context, &info) : NULL;
    if (!thread->listener.vhost)
        fail(1, "cannot start libwebsockets%s", options.ssl_key ? "; check --sslkey and --sslcert" : "");
    /* libwebsockets closes what it watches, and the port's descriptor belongs to the port: watch a copy. */
    watch(thread, dup(corelane_port_fd(thread->port)), "port");
    watch(thread, thread->listener.descriptor, "listener");
    if (pthread_create(&thread->handle, NULL, run, thread)) fail(1, "cannot start a thread");
    thread->is_started = true;
}
